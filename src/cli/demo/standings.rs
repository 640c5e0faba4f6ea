//! What the service says of its standings, as the demo tells it.
use prost_types::Timestamp;
use tonic::transport::Channel;

use crate::grpc::pb::{self, region_service_client::RegionServiceClient};

/// Asks the service for transitions and tells each once.
pub(super) struct Standings {
    client: RegionServiceClient<Channel>,
    newest: Option<Timestamp>,
}

impl Standings {
    pub(super) fn new(channel: Channel) -> Self {
        Self { client: RegionServiceClient::new(channel), newest: None }
    }

    /// Transitions since the last time, oldest first. A service that does not answer has no news.
    pub(super) async fn news(&mut self) -> Vec<String> {
        let Ok(reply) = self.client.region_status(pb::RegionStatusRequest::default()).await else { return Vec::new() };
        let moment = |time: &Option<Timestamp>| time.as_ref().map(|time| (time.seconds, time.nanos));
        let known = moment(&self.newest);
        let mut fresh: Vec<pb::Transition> = reply.into_inner().transitions;
        fresh.retain(|transition| known.is_none() || moment(&transition.transition_time) > known);
        if let Some(newest) = fresh.first() {
            self.newest = newest.transition_time;
        }
        fresh.iter().rev().map(tell).collect()
    }
}

fn tell(transition: &pb::Transition) -> String {
    let word = |standing: pb::Standing| standing.as_str_name().trim_start_matches("STANDING_").to_lowercase();
    let (from, to) = (word(transition.from_standing()), word(transition.to_standing()));
    let change = match transition.to_standing() {
        _ if from != to => format!("{from} -> {to}: "),
        pb::Standing::Returning => format!("{to}: "),
        // A drain that began or ended: the standing stays as it is.
        _ => String::new(),
    };
    format!("{} {}: {change}{}", transition.region, transition.model, transition.reason)
}
