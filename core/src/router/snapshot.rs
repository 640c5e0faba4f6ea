//! What an on-call engineer wants to know, as plain data.
use std::{sync::Arc, time::Duration};

use super::{Overlay, Route, Router, Standing, health::TargetHealth};
use crate::domain::{FailureKind, Moment, Quota, Target};

/// Every target and model at one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct Snapshot {
    /// When it was taken.
    pub at: Moment,
    /// By id.
    pub targets: Vec<TargetView>,
    /// In the order of the configuration.
    pub models: Vec<ModelView>,
}

/// One target.
#[derive(Clone, Debug, PartialEq)]
pub struct TargetView {
    /// The target.
    pub target: Arc<Target>,
    /// Place in its route; 1 is the primary.
    pub priority: u32,
    /// Its health.
    pub standing: Standing,
    /// Since when.
    pub since: Moment,
    /// Why it is passed over, if it is.
    pub overlay: Option<Overlay>,
    /// Attempts running.
    pub in_flight: u32,
    /// Calls served since the start.
    pub served: u64,
    /// Attempts that failed for its own reasons since the start.
    pub failed: u64,
    /// Attempts of the last minute that ended well, and badly.
    pub recent: (u64, u64),
    /// Median and 95th percentile to first content in the last minute.
    pub latency: Option<(Duration, Duration)>,
    /// Last attempt that ended well.
    pub last_success: Option<Moment>,
    /// Last attempt that failed for its own reasons.
    pub last_failure: Option<(Moment, FailureKind)>,
    /// What Azure last said of the quota.
    pub quota: Quota,
}

/// One model's route.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelView {
    /// The route.
    pub route: Arc<Route>,
    /// Where the next call of an unrestricted caller goes.
    pub active: Option<Arc<Target>>,
    /// Targets that could take over at once.
    pub ready_standbys: u32,
}

pub(super) fn take(router: &Router, now: Moment) -> Snapshot {
    let targets = router.routes.targets().iter().zip(&router.health);
    Snapshot {
        at: now,
        targets: targets.map(|(target, health)| view(router, target, health, now)).collect(),
        models: router.routes.all().iter().map(|route| model(router, route, now)).collect(),
    }
}

fn view(router: &Router, target: &Arc<Target>, health: &TargetHealth, now: Moment) -> TargetView {
    let route = router.routes.find(&target.model);
    let place = route.and_then(|route| route.targets.iter().position(|id| *id == target.id));
    TargetView {
        target: Arc::clone(target),
        priority: place.map_or(0, |place| place as u32 + 1),
        standing: health.standing,
        since: health.since,
        overlay: health.overlay.filter(|Overlay::Cooling { until }| *until > now),
        in_flight: health.in_flight,
        served: health.served,
        failed: health.failed,
        recent: health.recent.counts(now),
        latency: health.recent.latency(now),
        last_success: health.last_success,
        last_failure: health.last_failure.clone(),
        quota: health.quota,
    }
}

fn model(router: &Router, route: &Arc<Route>, now: Moment) -> ModelView {
    let ready = route.targets.iter().filter_map(|id| {
        let at = usize::from(id.0);
        let takes_calls = router.health.get(at)?.cooling_until(now).is_none();
        takes_calls.then(|| router.routes.targets().get(at)).flatten()
    });
    let ready: Vec<_> = ready.collect();
    ModelView {
        route: Arc::clone(route),
        active: ready.first().map(|target| Arc::clone(target)),
        ready_standbys: ready.len().saturating_sub(1) as u32,
    }
}
