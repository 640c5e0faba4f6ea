//! The router's snapshot -> protobuf, with the words that an on-call engineer reads.
use std::{collections::BTreeMap, sync::Arc};

use sealane_core::{
    domain::{Moment, Target},
    router::{Alarm, ModelView, Overlay, Snapshot, Standing, TargetView, Transition},
};

use super::{encode, pb};
use crate::clock::Clock;

/// What a request narrows the view to.
#[derive(Clone, Debug, Default)]
pub(super) struct View {
    /// Normalised.
    pub(super) region: Option<String>,
    pub(super) model: Option<String>,
}

impl View {
    fn shows(&self, target: &Target) -> bool {
        self.region.as_deref().is_none_or(|region| *region == *target.region) && self.shows_model(&target.model)
    }

    fn shows_model(&self, model: &str) -> bool {
        self.model.as_deref().is_none_or(|wanted| wanted == model)
    }

    fn shows_alarm(&self, alarm: &Alarm) -> bool {
        match (alarm, alarm.target()) {
            (Alarm::NoGoodTarget { model, .. }, _) => self.shows_model(model),
            (_, Some(target)) => self.shows(target),
            (_, None) => true,
        }
    }
}

/// What `snapshot` tells within `view`.
pub(super) fn snapshot(
    snapshot: &Snapshot,
    view: &View,
    clock: Clock,
    config_revision: &str,
) -> pb::RegionStatusResponse {
    let time = Time(clock);
    let mut regions: BTreeMap<&str, pb::RegionState> = BTreeMap::new();
    for shown in snapshot.targets.iter().filter(|shown| view.shows(&shown.target)) {
        let state = regions.entry(&shown.target.region).or_insert_with(|| pb::RegionState {
            region: shown.target.region.to_string(),
            data_boundary: shown.target.boundary.as_deref().unwrap_or_default().to_owned(),
            targets: Vec::new(),
            pinned_workflows: snapshot.pinned_workflows.get(&shown.target.region).map_or(0, |count| counted(*count)),
        });
        state.targets.push(target(shown, time));
    }
    let mut models: Vec<_> =
        snapshot.models.iter().filter(|shown| view.shows_model(&shown.route.model)).map(model).collect();
    models.sort_by(|a, b| a.model.cmp(&b.model));
    let transitions = snapshot.transitions.iter().filter(|one| view.shows(&one.target));
    let alarms = snapshot.alarms.iter().filter(|one| view.shows_alarm(one));
    pb::RegionStatusResponse {
        regions: regions.into_values().collect(),
        models,
        observe_time: time.of(snapshot.at),
        config_revision: config_revision.to_owned(),
        transitions: transitions.map(|one| transition(one, time)).collect(),
        alarms: alarms.map(|one| alarm(one, time)).collect(),
        off_pin_calls: snapshot.off_pin.iter().map(|(cause, calls)| ((*cause).to_owned(), *calls as i64)).collect(),
        test_call_tokens_left: snapshot.test_tokens_left as i64,
    }
}

/// Moments as the wire has them.
#[derive(Clone, Copy)]
struct Time(Clock);

impl Time {
    fn of(self, moment: Moment) -> Option<prost_types::Timestamp> {
        Some(self.0.calendar(moment).into())
    }
}

fn model(view: &ModelView) -> pb::ModelState {
    let active = view.active.as_ref();
    pb::ModelState {
        model: view.route.model.to_string(),
        active_region: active.map(|target| target.region.to_string()).unwrap_or_default(),
        active_resource: active.map(|target| target.resource.to_string()).unwrap_or_default(),
        active_deployment: active.map(|target| target.deployment.to_string()).unwrap_or_default(),
        ready_standbys: view.ready_standbys as i32,
        pinned_workflows: counted(view.pinned_workflows),
    }
}

fn counted(count: u64) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}

fn target(view: &TargetView, time: Time) -> pb::TargetState {
    let (good, bad) = view.recent;
    let (tests, tests_passed) = view.tests;
    let mut state = pb::TargetState {
        model: view.target.model.to_string(),
        resource: view.target.resource.to_string(),
        deployment: view.target.deployment.to_string(),
        priority: view.priority as i32,
        processing_scope: encode::scope(view.target.scope) as i32,
        standing: standing(view.standing) as i32,
        standing_since_time: time.of(view.since),
        standing_reason: view.cause.as_ref().map(ToString::to_string).unwrap_or_default(),
        next_step: view.next.as_ref().map(|(step, _)| step.to_string()).unwrap_or_default(),
        next_step_time: view.next.as_ref().and_then(|(_, at)| time.of(*at)),
        out_level: view.level.into(),
        traffic_share: view.share,
        in_flight_calls: view.in_flight as i32,
        recent_attempts: (good + bad) as i64,
        recent_success_ratio: (good + bad > 0).then(|| good as f64 / (good + bad) as f64),
        latency_p50: view.latency.and_then(|(p50, _)| encode::duration(p50)),
        latency_p95: view.latency.and_then(|(_, p95)| encode::duration(p95)),
        last_success_time: view.last_success.and_then(|at| time.of(at)),
        last_failure_time: view.last_failure.as_ref().and_then(|(at, ..)| time.of(*at)),
        last_failure: view.last_failure.as_ref().map(|(_, kind, _)| kind.as_str().to_owned()).unwrap_or_default(),
        last_failure_http_status: view.last_failure.as_ref().and_then(|(.., status)| *status).map_or(0, i32::from),
        remaining_requests: view.quota.remaining_requests.map(|left| left as i64),
        remaining_tokens: view.quota.remaining_tokens.map(|left| left as i64),
        served_calls: view.served as i64,
        failed_attempts: view.failed as i64,
        last_proven_time: view.last_test_passed.and_then(|at| time.of(at)),
        last_test_call_time: view.last_test.and_then(|(at, _)| time.of(at)),
        last_test_call_failure: view.last_test.and_then(|(_, failure)| failure).unwrap_or_default().to_owned(),
        test_calls: tests as i64,
        passed_test_calls: tests_passed as i64,
        test_call_tokens: view.test_tokens as i64,
        embedding_space: view.target.embedding_space.as_ref().map(ToString::to_string).unwrap_or_default(),
        space_compared_time: view.compared.and_then(|(at, _)| time.of(at)),
        space_cosine: view.compared.map(|(_, cosine)| cosine),
        ..Default::default()
    };
    overlay(view.overlay.as_ref(), &mut state, time);
    state
}

fn overlay(overlay: Option<&Overlay>, state: &mut pb::TargetState, time: Time) {
    let shown = match overlay {
        None => return,
        Some(Overlay::Cooling { until }) => {
            state.cooling_until_time = time.of(*until);
            pb::Overlay::Cooling
        }
        Some(Overlay::Drained { since, until, reason }) => {
            state.drained_since_time = time.of(*since);
            state.drained_until_time = time.of(*until);
            state.drain_reason = reason.to_string();
            pb::Overlay::Drained
        }
        Some(Overlay::Drifted { since, drift }) => {
            state.drifted_since_time = time.of(*since);
            state.drift_reason = drift.to_string();
            pb::Overlay::Drifted
        }
        Some(Overlay::Quarantined { since }) => {
            state.quarantined_since_time = time.of(*since);
            pb::Overlay::Quarantined
        }
        Some(Overlay::Misconfigured { since }) => {
            state.misconfigured_since_time = time.of(*since);
            pb::Overlay::Misconfigured
        }
    };
    state.overlay = shown as i32;
}

fn standing(standing: Standing) -> pb::Standing {
    match standing {
        Standing::Serving => pb::Standing::Serving,
        Standing::Suspected => pb::Standing::Suspected,
        Standing::Out { .. } => pb::Standing::Out,
        Standing::Returning { .. } => pb::Standing::Returning,
    }
}

fn transition(transition: &Transition, time: Time) -> pb::Transition {
    let target = &transition.target;
    pb::Transition {
        transition_time: time.of(transition.at),
        model: target.model.to_string(),
        region: target.region.to_string(),
        resource: target.resource.to_string(),
        deployment: target.deployment.to_string(),
        from_standing: standing(transition.from) as i32,
        to_standing: standing(transition.to) as i32,
        reason: transition.cause.to_string(),
    }
}

fn alarm(alarm: &Alarm, time: Time) -> pb::Alarm {
    let target = alarm.target().map(Arc::as_ref);
    let of = |name: fn(&Target) -> &str| target.map(|target| name(target).to_owned()).unwrap_or_default();
    let mut told = pb::Alarm {
        kind: alarm.as_str().to_owned(),
        message: alarm.message().into_owned(),
        model: of(|target| &target.model),
        region: of(|target| &target.region),
        resource: of(|target| &target.resource),
        deployment: of(|target| &target.deployment),
        alarm_time: None,
    };
    match alarm {
        Alarm::CutOff { since } | Alarm::Mismatch { since, .. } | Alarm::Drifted { since, .. } => {
            told.alarm_time = time.of(*since);
        }
        Alarm::Frozen { until } => told.alarm_time = time.of(*until),
        Alarm::NoGoodTarget { model, drained_until } => {
            told.model = model.to_string();
            told.alarm_time = drained_until.and_then(|at| time.of(at));
        }
        _ => {}
    }
    told
}
