//! `RegionService`: what the router knows, for an on-call engineer.
use std::{pin::Pin, sync::Arc, time::Duration};

use futures_util::{Stream, StreamExt as _, stream};
use sealane_core::domain::normalise_region;
use tokio::{sync::watch, time::Instant};
use tonic::{Request, Response, Status};

use super::{
    Violations,
    deadline::stated,
    encode_region::{self, View},
    inference::InferenceRules,
    open_call::{OpenCall, headers},
    pb::{self, region_service_server::RegionService},
    status::{Refusal, draining, time_is_up, unknown_model, unknown_region},
};
use crate::{dispatch::Dispatcher, in_force::InForce, upstream::Upstream};

const REGION_STATUS: &str = "sealane.v1.RegionService/RegionStatus";
const WATCH: &str = "sealane.v1.RegionService/WatchRegionStatus";
const DEFAULT_INTERVAL: Duration = Duration::from_secs(10);
const SHORTEST_INTERVAL: Duration = Duration::from_millis(100);
const LONGEST_INTERVAL: Duration = Duration::from_secs(3600);

/// The service.
#[derive(Debug)]
pub struct Regions<U> {
    dispatcher: Arc<Dispatcher<U>>,
    rules: Arc<InferenceRules>,
    /// Watches outlast the rules they began under.
    in_force: Arc<InForce<InferenceRules>>,
}

impl<U: Upstream> Regions<U> {
    /// Shows what `dispatcher`'s router knows, to whom the rules in force let see it.
    pub fn new(dispatcher: Arc<Dispatcher<U>>, in_force: Arc<InForce<InferenceRules>>) -> Self {
        Self { dispatcher, rules: in_force.get(), in_force }
    }

    fn view(&self, region: &str, model: &str) -> Result<View, Refusal> {
        let snapshot = self.dispatcher.snapshot();
        let wanted = normalise_region(region);
        if !wanted.is_empty() && !self.rules.regions.contains(&wanted) {
            return Err(unknown_region(region));
        }
        if !model.is_empty() && !snapshot.models.iter().any(|known| *known.route.model == *model) {
            return Err(unknown_model(model));
        }
        let some = |text: String| (!text.is_empty()).then_some(text);
        Ok(View { region: some(wanted), model: some(model.to_owned()) })
    }

    fn show(&self, view: &View) -> pb::RegionStatusResponse {
        let clock = self.dispatcher.clock();
        encode_region::snapshot(&self.dispatcher.snapshot(), view, clock, &self.rules.config_revision)
    }
}

#[tonic::async_trait]
impl<U: Upstream> RegionService for Regions<U> {
    async fn region_status(
        &self,
        request: Request<pb::RegionStatusRequest>,
    ) -> Result<Response<pb::RegionStatusResponse>, Status> {
        let mut call = OpenCall::start(REGION_STATUS, &request, self.rules.trail.as_ref(), self.dispatcher.metrics());
        let view = self
            .rules
            .gate
            .watcher(&mut call, &request)
            .map_err(Refusal::from)
            .and_then(|()| self.view(&request.get_ref().region, &request.get_ref().model));
        call.finish(view.map(|view| Response::new(self.show(&view))))
    }

    type WatchRegionStatusStream = Pin<Box<dyn Stream<Item = Result<pb::WatchRegionStatusResponse, Status>> + Send>>;

    async fn watch_region_status(
        &self,
        request: Request<pb::WatchRegionStatusRequest>,
    ) -> Result<Response<Self::WatchRegionStatusStream>, Status> {
        let mut call = OpenCall::start(WATCH, &request, self.rules.trail.as_ref(), self.dispatcher.metrics());
        match self.watch(&mut call, request) {
            Ok(watching) => {
                let start = Some((watching, call));
                let views = stream::unfold(start, |watch| async move {
                    let (mut watching, mut call) = watch?;
                    match watching.next(&mut call).await {
                        Ok(status) => Some((Ok(status), Some((watching, call)))),
                        Err(refusal) => Some((Err(call.fail(refusal)), None)),
                    }
                });
                Ok(Response::new(views.boxed()))
            }
            Err(refusal) => Err(call.fail(refusal)),
        }
    }
}

/// One caller's watch.
struct Watching<U> {
    regions: Regions<U>,
    /// Its credentials, which may be rotated out while it watches.
    shown: Request<()>,
    view: View,
    changes: watch::Receiver<u64>,
    /// Longest silence.
    interval: Duration,
    /// When the caller stops listening.
    deadline: Option<Instant>,
    told: bool,
}

impl<U: Upstream> Regions<U> {
    fn watch(
        &self,
        call: &mut OpenCall,
        request: Request<pb::WatchRegionStatusRequest>,
    ) -> Result<Watching<U>, Refusal> {
        self.rules.gate.watcher(call, &request)?;
        let clock = self.dispatcher.clock();
        let patience = stated(headers(&request))?;
        let (metadata, extensions, message) = request.into_parts();
        Ok(Watching {
            regions: Self::new(Arc::clone(&self.dispatcher), Arc::clone(&self.in_force)),
            shown: Request::from_parts(metadata, extensions, ()),
            view: self.view(&message.region, &message.model)?,
            changes: self.dispatcher.changes(),
            interval: interval(message.max_interval.as_ref())?,
            deadline: patience.map(|patience| clock.instant(clock.now() + patience)),
            told: false,
        })
    }
}

impl<U: Upstream> Watching<U> {
    /// The view at once; afterwards when there is news, or when the silence has lasted long enough, and the caller may
    /// still see it.
    async fn next(&mut self, call: &mut OpenCall) -> Result<pb::WatchRegionStatusResponse, Refusal> {
        if std::mem::replace(&mut self.told, true) {
            let over = async {
                match self.deadline {
                    Some(deadline) => tokio::time::sleep_until(deadline).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                () = self.regions.rules.stopping.cancelled() => return Err(draining()),
                () = over => return Err(time_is_up("the watch has lasted as long as its caller allowed")),
                _ = tokio::time::timeout(self.interval, self.changes.changed()) => {}
            }
            self.regions.rules = self.regions.in_force.get();
            self.regions.rules.gate.watcher(call, &self.shown)?;
        }
        self.changes.mark_unchanged();
        Ok(pb::WatchRegionStatusResponse { status: Some(self.regions.show(&self.view)) })
    }
}

fn interval(stated: Option<&prost_types::Duration>) -> Result<Duration, Violations> {
    let Some(stated) = stated else { return Ok(DEFAULT_INTERVAL) };
    let interval = Duration::try_from(*stated).ok();
    match interval.filter(|interval| (SHORTEST_INTERVAL..=LONGEST_INTERVAL).contains(interval)) {
        Some(interval) => Ok(interval),
        None => {
            let mut violations = Violations::none();
            violations.add("max_interval", "must be from 0.1s to 3600s");
            Err(violations)
        }
    }
}
