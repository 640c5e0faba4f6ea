//! Live traffic: the demo's own gRPC client, a few calls a second of each kind, and what became of them.
use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{task::JoinSet, time::Instant};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Status, transport::Channel};

use crate::grpc::pb::{self, complete_stream_response::Event, inference_service_client::InferenceServiceClient};

/// Time between two calls of one kind.
const PACE: Duration = Duration::from_millis(250);
/// What a patient caller would wait.
const DEADLINE: Duration = Duration::from_secs(20);
/// How long a served call counts as "now".
const RECENT: Duration = Duration::from_secs(2);
/// Messages of failed calls that are kept.
const KEPT_FAILURES: usize = 3;

/// The kinds of calls that are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Complete,
    CompleteStream,
    Embed,
}

impl Kind {
    pub(super) const ALL: [Self; 3] = [Self::Complete, Self::CompleteStream, Self::Embed];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Complete => "Complete",
            Self::CompleteStream => "CompleteStream",
            Self::Embed => "Embed",
        }
    }
}

/// What became of the calls so far.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally {
    pub(super) ok: [u64; 3],
    pub(super) failed: [u64; 3],
    /// Served by another target than the first one tried.
    pub(super) rescued: u64,
    pub(super) regions: BTreeMap<String, Served>,
    pub(super) failures: Vec<String>,
}

/// What one region served.
#[derive(Clone, Debug, Default)]
pub(super) struct Served {
    pub(super) calls: u64,
    millis: Vec<u32>,
    recent: VecDeque<Instant>,
}

impl Served {
    /// Calls that ended within the last two seconds.
    pub(super) fn now(&self) -> usize {
        self.recent.iter().filter(|end| end.elapsed() < RECENT).count()
    }

    /// The latency, in milliseconds, that this share of its calls did not exceed.
    pub(super) fn percentile(&self, percent: usize) -> Option<u32> {
        let mut sorted = self.millis.clone();
        sorted.sort_unstable();
        sorted.get((sorted.len() * percent).div_ceil(100).saturating_sub(1)).copied()
    }
}

impl Tally {
    pub(super) fn calls(&self) -> u64 {
        self.all_ok() + self.all_failed()
    }

    pub(super) fn all_ok(&self) -> u64 {
        self.ok.iter().sum()
    }

    pub(super) fn all_failed(&self) -> u64 {
        self.failed.iter().sum()
    }

    fn served(&mut self, kind: Kind, by: &pb::ServedBy, took: Duration) {
        self.ok[kind as usize] += 1;
        self.rescued += u64::from(by.failed_over);
        let region = self.regions.entry(by.region.clone()).or_default();
        region.calls += 1;
        region.millis.push(u32::try_from(took.as_millis()).unwrap_or(u32::MAX));
        region.recent.retain(|end| end.elapsed() < RECENT);
        region.recent.push_back(Instant::now());
    }

    fn failed(&mut self, kind: Kind, status: &Status) {
        self.failed[kind as usize] += 1;
        if self.failures.len() < KEPT_FAILURES {
            self.failures.push(format!("{}: {}: {}", kind.name(), status.code(), status.message()));
        }
    }
}

/// Calls that go on in the background.
pub(super) struct Traffic {
    tally: Arc<Mutex<Tally>>,
    stop: CancellationToken,
    running: JoinSet<()>,
}

impl Traffic {
    pub(super) fn start(channel: &Channel) -> Self {
        let tally = Arc::<Mutex<Tally>>::default();
        let stop = CancellationToken::new();
        let mut running = JoinSet::new();
        for kind in Kind::ALL {
            running.spawn(keep_calling(kind, channel.clone(), Arc::clone(&tally), stop.clone()));
        }
        Self { tally, stop, running }
    }

    pub(super) fn tally(&self) -> Tally {
        lock(&self.tally).clone()
    }

    /// Makes no further calls and waits for those under way.
    pub(super) async fn finish(mut self) -> Tally {
        self.stop.cancel();
        while self.running.join_next().await.is_some() {}
        self.tally()
    }
}

async fn keep_calling(kind: Kind, channel: Channel, tally: Arc<Mutex<Tally>>, stop: CancellationToken) {
    let mut pace = tokio::time::interval(PACE);
    let mut calls = JoinSet::new();
    while stop.run_until_cancelled(pace.tick()).await.is_some() {
        while calls.try_join_next().is_some() {}
        let (client, tally) = (InferenceServiceClient::new(channel.clone()), Arc::clone(&tally));
        calls.spawn(async move {
            let start = Instant::now();
            let outcome = call(kind, client).await;
            let mut tally = lock(&tally);
            match outcome {
                Ok(by) => tally.served(kind, &by, start.elapsed()),
                Err(status) => tally.failed(kind, &status),
            }
        });
    }
    while calls.join_next().await.is_some() {}
}

async fn call(kind: Kind, mut client: InferenceServiceClient<Channel>) -> Result<pb::ServedBy, Status> {
    let by = match kind {
        Kind::Complete => client.complete(within(question())).await?.into_inner().served_by,
        Kind::Embed => client.embed(within(passages())).await?.into_inner().served_by,
        Kind::CompleteStream => {
            let mut events = client.complete_stream(within(question())).await?.into_inner();
            let mut end = None;
            while let Some(event) = events.message().await? {
                if let Some(Event::End(last)) = event.event {
                    end = last.served_by;
                }
            }
            end
        }
    };
    by.ok_or_else(|| Status::data_loss("the answer does not say who served it"))
}

fn within<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(DEADLINE);
    request
}

fn question() -> pb::CompleteRequest {
    let text = pb::content_part::Part::Text("Which pages of the manual describe the coolant loop?".into());
    let message = pb::Message {
        role: pb::Role::User.into(),
        content: vec![pb::ContentPart { part: Some(text) }],
        ..pb::Message::default()
    };
    // A stream that is cut in the middle starts again elsewhere: the caller asked for that.
    let routing = pb::RoutingOptions { on_interruption: pb::OnInterruption::Restart.into(), ..Default::default() };
    pb::CompleteRequest {
        model: "gpt-4o".into(),
        messages: vec![message],
        routing: Some(routing),
        ..pb::CompleteRequest::default()
    }
}

fn passages() -> pb::EmbedRequest {
    let inputs =
        (1..=8).map(|page| format!("Page {page}: the coolant loop is inspected before every start.")).collect();
    pb::EmbedRequest { model: "text-embedding-3-large".into(), inputs, ..pb::EmbedRequest::default() }
}

fn lock(tally: &Mutex<Tally>) -> MutexGuard<'_, Tally> {
    tally.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_occurred() {
        let served = |millis: &[u32]| Served { millis: millis.to_vec(), ..Served::default() };
        assert_eq!(served(&[]).percentile(50), None);
        assert_eq!(served(&[7]).percentile(95), Some(7));
        let hundred: Vec<u32> = (1..=100).rev().collect();
        assert_eq!((served(&hundred).percentile(50), served(&hundred).percentile(95)), (Some(50), Some(95)));
    }
}
