//! `RegionService`: what the router knows, for an on-call engineer.
use std::{collections::BTreeMap, pin::Pin, sync::Arc, time::Duration};

use futures_util::{Stream, StreamExt as _, stream};
use sealane_core::{
    domain::{Moment, normalise_region},
    router::{ModelView, Overlay, Snapshot, Standing, TargetView},
};
use tonic::{Request, Response, Status};

use super::{
    Violations, encode,
    inference::InferenceRules,
    open_call::{OpenCall, headers},
    pb::{self, region_service_server::RegionService},
    status::{Refusal, draining, unknown_model, unknown_region},
};
use crate::{clock::Clock, dispatch::Dispatcher, upstream::Upstream};

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
}

impl<U> Clone for Regions<U> {
    fn clone(&self) -> Self {
        Self { dispatcher: Arc::clone(&self.dispatcher), rules: Arc::clone(&self.rules) }
    }
}

/// What a request narrows the view to.
#[derive(Clone, Debug, Default)]
struct View {
    region: Option<String>,
    model: Option<String>,
}

impl View {
    fn shows(&self, target: &TargetView) -> bool {
        self.region.as_deref().is_none_or(|region| *region == *target.target.region)
            && self.shows_model(&target.target.model)
    }

    fn shows_model(&self, model: &str) -> bool {
        self.model.as_deref().is_none_or(|wanted| wanted == model)
    }
}

impl<U: Upstream> Regions<U> {
    /// Shows what `dispatcher`'s router knows.
    pub fn new(dispatcher: Arc<Dispatcher<U>>, rules: Arc<InferenceRules>) -> Self {
        Self { dispatcher, rules }
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
        encode_snapshot(&self.dispatcher.snapshot(), view, clock, &self.rules.config_revision)
    }
}

#[tonic::async_trait]
impl<U: Upstream> RegionService for Regions<U> {
    async fn region_status(
        &self,
        request: Request<pb::RegionStatusRequest>,
    ) -> Result<Response<pb::RegionStatusResponse>, Status> {
        let mut call = OpenCall::start(REGION_STATUS, &request);
        let view = self
            .rules
            .callers
            .identify(headers(&request))
            .and_then(|_| self.view(&request.get_ref().region, &request.get_ref().model));
        match view {
            Ok(view) => {
                call.succeed();
                Ok(Response::new(self.show(&view)))
            }
            Err(refusal) => Err(call.fail(refusal)),
        }
    }

    type WatchRegionStatusStream = Pin<Box<dyn Stream<Item = Result<pb::WatchRegionStatusResponse, Status>> + Send>>;

    async fn watch_region_status(
        &self,
        request: Request<pb::WatchRegionStatusRequest>,
    ) -> Result<Response<Self::WatchRegionStatusStream>, Status> {
        let mut call = OpenCall::start(WATCH, &request);
        let wanted = self.rules.callers.identify(headers(&request)).and_then(|_| {
            let message = request.get_ref();
            Ok((self.view(&message.region, &message.model)?, interval(message.max_interval.as_ref())?))
        });
        let (view, interval) = match wanted {
            Ok(wanted) => wanted,
            Err(refusal) => return Err(call.fail(refusal)),
        };
        let changes = self.dispatcher.changes();
        let start = Some((self.clone(), view, changes, true, call));
        let views = stream::unfold(start, move |watching| async move {
            let (regions, view, mut changes, first, mut call) = watching?;
            let stopping = &regions.rules.stopping;
            if !first {
                // Either is a reason to tell: something changed, or the silence has lasted long enough.
                let news = tokio::time::timeout(interval, changes.changed());
                if stopping.run_until_cancelled(news).await.is_none() {
                    return Some((Err(call.fail(draining())), None));
                }
            }
            changes.mark_unchanged();
            let status = Some(regions.show(&view));
            Some((Ok(pb::WatchRegionStatusResponse { status }), Some((regions, view, changes, false, call))))
        });
        Ok(Response::new(views.boxed()))
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

fn encode_snapshot(snapshot: &Snapshot, view: &View, clock: Clock, config_revision: &str) -> pb::RegionStatusResponse {
    let mut regions: BTreeMap<&str, pb::RegionState> = BTreeMap::new();
    for target in snapshot.targets.iter().filter(|target| view.shows(target)) {
        let state = regions.entry(&target.target.region).or_insert_with(|| pb::RegionState {
            region: target.target.region.to_string(),
            data_boundary: target.target.boundary.as_deref().unwrap_or_default().to_owned(),
            targets: Vec::new(),
        });
        state.targets.push(encode_target(target, clock));
    }
    let mut models: Vec<_> =
        snapshot.models.iter().filter(|model| view.shows_model(&model.route.model)).map(encode_model).collect();
    models.sort_by(|a, b| a.model.cmp(&b.model));
    pb::RegionStatusResponse {
        regions: regions.into_values().collect(),
        models,
        observe_time: Some(clock.calendar(snapshot.at).into()),
        config_revision: config_revision.to_owned(),
        transitions: Vec::new(),
    }
}

fn encode_model(model: &ModelView) -> pb::ModelState {
    let active = model.active.as_ref();
    pb::ModelState {
        model: model.route.model.to_string(),
        active_region: active.map(|target| target.region.to_string()).unwrap_or_default(),
        active_resource: active.map(|target| target.resource.to_string()).unwrap_or_default(),
        active_deployment: active.map(|target| target.deployment.to_string()).unwrap_or_default(),
        ready_standbys: model.ready_standbys as i32,
        pinned_workflows: 0,
    }
}

fn encode_target(view: &TargetView, clock: Clock) -> pb::TargetState {
    let time = |moment: Moment| Some(prost_types::Timestamp::from(clock.calendar(moment)));
    let (good, bad) = view.recent;
    let mut state = pb::TargetState {
        model: view.target.model.to_string(),
        resource: view.target.resource.to_string(),
        deployment: view.target.deployment.to_string(),
        priority: view.priority as i32,
        processing_scope: encode::scope(view.target.scope) as i32,
        standing: match view.standing {
            Standing::Serving => pb::Standing::Serving,
            Standing::Suspected => pb::Standing::Suspected,
            Standing::Out { .. } => pb::Standing::Out,
            Standing::Returning { .. } => pb::Standing::Returning,
        } as i32,
        standing_since_time: time(view.since),
        traffic_share: view.share,
        in_flight_calls: view.in_flight as i32,
        recent_attempts: (good + bad) as i64,
        recent_success_ratio: (good + bad > 0).then(|| good as f64 / (good + bad) as f64),
        latency_p50: view.latency.and_then(|(p50, _)| encode::duration(p50)),
        latency_p95: view.latency.and_then(|(_, p95)| encode::duration(p95)),
        last_success_time: view.last_success.and_then(time),
        last_failure_time: view.last_failure.as_ref().and_then(|(at, _)| time(*at)),
        last_failure: view.last_failure.as_ref().map(|(_, kind)| kind.as_str().to_owned()).unwrap_or_default(),
        remaining_requests: view.quota.remaining_requests.map(|left| left as i64),
        remaining_tokens: view.quota.remaining_tokens.map(|left| left as i64),
        served_calls: view.served as i64,
        failed_attempts: view.failed as i64,
        ..Default::default()
    };
    if let Some(Overlay::Cooling { until }) = view.overlay {
        state.overlay = pb::Overlay::Cooling as i32;
        state.cooling_until_time = time(until);
        state.next_step = "takes calls again".to_owned();
        state.next_step_time = time(until);
    }
    state
}
