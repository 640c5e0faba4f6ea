//! `grpc.health.v1`, written out because tonic-health's own service answers `Watch` of an unknown name with an error
//! where the protocol demands `SERVICE_UNKNOWN` and an open stream.
//!
//! The empty name, `liveness`, `readiness` and the service names speak of this process only: a load balancer must
//! not remove every replica, and with it every explanation, because Azure is down. `upstream` speaks of Azure.
use std::{pin::Pin, sync::Arc, time::Duration};

use futures_util::{Stream, StreamExt as _, stream};
use tokio::{sync::watch, time::Instant};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};
use tonic_health::pb::{
    HealthCheckRequest, HealthCheckResponse, health_check_response::ServingStatus, health_server::Health,
};

/// What this process says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Condition {
    /// Takes calls; false while draining.
    pub ready: bool,
    /// At least one target takes calls, or did so until a short while ago: see [`HoldDown`].
    pub upstream: bool,
}

/// Bad news waits, good news does not: whoever balances by it must not flap with every short trouble.
#[derive(Clone, Copy, Debug)]
pub struct HoldDown {
    span: Duration,
    lost: Option<Instant>,
}

impl HoldDown {
    /// Bad news must last for `span` before it is told.
    pub fn new(span: Duration) -> Self {
        Self { span, lost: None }
    }

    /// What to tell at `now` of something that is well or not, and when to ask again if nothing changes before.
    pub fn tell(&mut self, well: bool, now: Instant) -> (bool, Option<Instant>) {
        if well {
            self.lost = None;
            return (true, None);
        }
        let told_at = *self.lost.get_or_insert(now) + self.span;
        if now < told_at { (true, Some(told_at)) } else { (false, None) }
    }
}

/// The service. All clones share one condition.
#[derive(Clone, Debug)]
pub struct HealthService {
    names: Arc<[&'static str]>,
    condition: watch::Receiver<Condition>,
    stopping: CancellationToken,
}

impl HealthService {
    /// Answers for these service names, besides the ones that are always there. Watches end when `stopping` is
    /// cancelled, so that they do not hold up the end of the process.
    pub fn new(
        service_names: &[&'static str],
        condition: watch::Receiver<Condition>,
        stopping: CancellationToken,
    ) -> Self {
        Self { names: service_names.into(), condition, stopping }
    }

    fn status(&self, name: &str, condition: Condition) -> Option<ServingStatus> {
        let serving = match name {
            "liveness" => true,
            "" | "readiness" => condition.ready,
            "upstream" => condition.upstream,
            name if self.names.contains(&name) => condition.ready,
            _ => return None,
        };
        Some(if serving { ServingStatus::Serving } else { ServingStatus::NotServing })
    }
}

fn answer(status: ServingStatus) -> HealthCheckResponse {
    HealthCheckResponse { status: status.into() }
}

#[tonic::async_trait]
impl Health for HealthService {
    async fn check(&self, request: Request<HealthCheckRequest>) -> Result<Response<HealthCheckResponse>, Status> {
        let condition = *self.condition.borrow();
        match self.status(&request.get_ref().service, condition) {
            Some(status) => Ok(Response::new(answer(status))),
            None => Err(Status::not_found("unknown service")),
        }
    }

    type WatchStream = Pin<Box<dyn Stream<Item = Result<HealthCheckResponse, Status>> + Send>>;

    /// The current status first, then every change. An unknown name stays `SERVICE_UNKNOWN`, with the stream open.
    async fn watch(&self, request: Request<HealthCheckRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let name = request.into_inner().service;
        let condition = self.condition.clone();
        let start = (self.clone(), condition, name, None);
        let statuses = stream::unfold(start, |(service, mut condition, name, told)| async move {
            loop {
                let now = *condition.borrow_and_update();
                let status = service.status(&name, now).unwrap_or(ServingStatus::ServiceUnknown);
                if told != Some(status) {
                    return Some((Ok(answer(status)), (service, condition, name, Some(status))));
                }
                let news = service.stopping.run_until_cancelled(condition.changed()).await;
                news?.ok()?;
            }
        });
        Ok(Response::new(statuses.boxed()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bad_news_waits_and_good_news_does_not() {
        let start = Instant::now();
        let at = |seconds: u64| start + Duration::from_secs(seconds);
        let mut hold_down = HoldDown::new(Duration::from_secs(10));
        for (seconds, well, told, again) in [
            (0, true, true, None),
            (1, false, true, Some(11)),
            (5, false, true, Some(11)),
            (6, true, true, None),
            (7, false, true, Some(17)),
            (17, false, false, None),
            (18, false, false, None),
            (19, true, true, None),
            (20, false, true, Some(30)),
        ] {
            assert_eq!(hold_down.tell(well, at(seconds)), (told, again.map(at)), "at {seconds} s");
        }
    }

    #[test]
    fn without_a_span_bad_news_is_told_at_once() {
        assert_eq!(HoldDown::new(Duration::ZERO).tell(false, Instant::now()), (false, None));
    }
}
