//! What an on-call engineer wants to know, as plain data.
use std::{borrow::Cow, collections::BTreeMap, fmt, sync::Arc, time::Duration};

use super::{
    Cause, Overlay, Route, Router, Standing,
    health::{Contradicted, TargetHealth},
    standing::Phase,
};
use crate::domain::{Drift, FailureKind, Mismatch, Moment, Quota, Target};

/// Every target and model at one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct Snapshot {
    /// When it was taken.
    pub at: Moment,
    /// By id.
    pub targets: Vec<TargetView>,
    /// In the order of the configuration.
    pub models: Vec<ModelView>,
    /// The last standings that changed, newest first.
    pub transitions: Vec<Transition>,
    /// What an operator should look at.
    pub alarms: Vec<Alarm>,
    /// Calls of pinned workflows that were served outside their region, by cause.
    pub off_pin: BTreeMap<&'static str, u64>,
    /// Workflows pinned to each region of the configuration.
    pub pinned_workflows: BTreeMap<Arc<str>, u64>,
    /// Tokens that test calls of the background may still cost: the day's budget, refilled evenly over the day.
    pub test_tokens_left: u64,
}

/// A standing that changed.
#[derive(Clone, Debug, PartialEq)]
pub struct Transition {
    /// When.
    pub at: Moment,
    /// Whose.
    pub target: Arc<Target>,
    /// Before.
    pub from: Standing,
    /// After.
    pub to: Standing,
    /// Why.
    pub cause: Cause,
}

/// What an operator should look at.
#[derive(Clone, Debug, PartialEq)]
pub enum Alarm {
    /// No resource can be reached from here: the fault is this service's own.
    CutOff {
        /// Since when.
        since: Moment,
    },
    /// This process was frozen, out of file descriptors or the like; detectors are silent.
    Frozen {
        /// Until when.
        until: Moment,
    },
    /// Azure refuses the service's credentials, or does not know the deployment.
    Misconfigured {
        /// Where.
        target: Arc<Target>,
    },
    /// It answers with another model version than the configuration states.
    VersionMismatch {
        /// Where.
        target: Arc<Target>,
    },
    /// Azure's answers contradict the configuration.
    Mismatch {
        /// Where.
        target: Arc<Target>,
        /// What the last contradiction was.
        mismatch: Mismatch,
        /// When the first one came.
        since: Moment,
        /// The target takes no calls for it.
        quarantined: bool,
    },
    /// Its vectors are not those of its embedding space, so it takes no calls.
    Drifted {
        /// Where.
        target: Arc<Target>,
        /// Since when.
        since: Moment,
        /// How that showed last.
        drift: Drift,
    },
    /// A test call was refused as invalid, so it proves nothing.
    TestRefused {
        /// Where.
        target: Arc<Target>,
    },
    /// Test calls fail although live traffic, since the first of them failed, succeeds.
    TestsFailing {
        /// Where.
        target: Arc<Target>,
    },
    /// A standby that neither a call nor a test call has proven for too long.
    Unproven {
        /// Which.
        target: Arc<Target>,
    },
    /// No target of the model is good.
    NoGoodTarget {
        /// Which.
        model: Arc<str>,
        /// Operators have drained every one of them; when the first of those drains ends.
        drained_until: Option<Moment>,
    },
    /// The day's tokens for test calls are spent.
    TestBudgetSpent,
}

impl Alarm {
    /// Every word that [`as_str`](Self::as_str) may give.
    pub const KINDS: [&str; 13] = [
        "cut_off",
        "frozen",
        "misconfigured",
        "version_mismatch",
        "region_mismatch",
        "deployment_mismatch",
        "undeclared_spillover",
        "embedding_drift",
        "test_refused",
        "tests_failing",
        "standby_unproven",
        "no_good_target",
        "test_budget_spent",
    ];

    /// A short stable word, for metrics and tables.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::CutOff { .. } => "cut_off",
            Self::Frozen { .. } => "frozen",
            Self::Misconfigured { .. } => "misconfigured",
            Self::VersionMismatch { .. } => "version_mismatch",
            Self::Mismatch { mismatch, .. } => mismatch.as_str(),
            Self::Drifted { .. } => "embedding_drift",
            Self::TestRefused { .. } => "test_refused",
            Self::TestsFailing { .. } => "tests_failing",
            Self::Unproven { .. } => "standby_unproven",
            Self::NoGoodTarget { .. } => "no_good_target",
            Self::TestBudgetSpent => "test_budget_spent",
        }
    }

    /// What it means and what to do, in a sentence.
    pub fn message(&self) -> Cow<'static, str> {
        let told = match self {
            Self::Mismatch { target, mismatch, quarantined, .. } => {
                let kept = if *quarantined { ", so it takes no calls until it is released" } else { "" };
                let told = format!(
                    "{mismatch}, the configuration says `{}` in {}{kept}; mend the configuration, then release the target",
                    target.deployment, target.region
                );
                return told.into();
            }
            Self::Drifted { drift, .. } => {
                let told = format!(
                    "{drift}; it takes no calls until a test call finds its vectors comparable again: does the deployment \
                     serve another model, or another version of it?"
                );
                return told.into();
            }
            Self::CutOff { .. } => {
                "no resource can be reached from here since then: look at this service's own network; no target is blamed"
            }
            Self::Frozen { .. } => {
                "this process stood still or ran out of sockets: until then nothing is held against any target"
            }
            Self::Misconfigured { .. } => {
                "Azure refuses the service's credentials or does not know the deployment: mend key or deployment name"
            }
            Self::TestRefused { .. } => {
                "a test call is refused as invalid, so it proves nothing: does the deployment serve this kind of model?"
            }
            Self::TestsFailing { .. } => "test calls fail although live traffic succeeds",
            Self::Unproven { .. } => "neither a call nor a test call has proven this standby lately: it may not be fit",
            Self::NoGoodTarget { drained_until: Some(_), .. } => {
                "operators have drained every target of the model: until then its callers are refused, unless one is \
                 released"
            }
            Self::NoGoodTarget { drained_until: None, .. } => {
                "no target of the model is good: callers are served, if at all, by a last try where it failed before"
            }
            Self::TestBudgetSpent => {
                "the day's budget of tokens for background test calls is spent, and refills slowly: idle targets are not proven"
            }
            Self::VersionMismatch { .. } => {
                "the deployment answers with another model version than `version` states: has Azure upgraded it?"
            }
        };
        told.into()
    }

    /// The target concerned, if it is one.
    pub fn target(&self) -> Option<&Arc<Target>> {
        match self {
            Self::Misconfigured { target }
            | Self::VersionMismatch { target }
            | Self::Mismatch { target, .. }
            | Self::Drifted { target, .. }
            | Self::TestRefused { target }
            | Self::TestsFailing { target }
            | Self::Unproven { target } => Some(target),
            Self::CutOff { .. } | Self::Frozen { .. } | Self::NoGoodTarget { .. } | Self::TestBudgetSpent => None,
        }
    }
}

/// What happens to a target next, unless something else does first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NextStep {
    /// The validation ends.
    VerdictDue {
        /// Failed test calls so far, of how many.
        failed: u8,
        /// See `failed`.
        calls: u8,
    },
    /// The hold ends; it returns once enough test calls passed in a row.
    HoldEnds {
        /// Passed so far.
        proofs: u8,
        /// Needed.
        needed: u8,
    },
    /// The hold is over; it returns once enough test calls passed in a row. The time is that of the next one.
    ProofsMissing {
        /// Passed so far.
        proofs: u8,
        /// Needed.
        needed: u8,
    },
    /// The step of the return may end.
    StepEnds {
        /// Share after it, in percent; 100 twice means that it serves as before.
        next_percent: u8,
    },
    /// It cools no more.
    Cooled,
    /// The operator's drain ends.
    DrainEnds,
}

impl fmt::Display for NextStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::VerdictDue { failed, calls } => write!(f, "verdict; {failed} of {calls} test calls failed"),
            Self::HoldEnds { proofs, needed } => {
                write!(f, "hold ends; {} of {needed} test calls in a row passed", proofs.min(needed))
            }
            Self::ProofsMissing { proofs, needed } => {
                write!(f, "next test call; {} of {needed} in a row passed", proofs.min(needed))
            }
            Self::StepEnds { next_percent } => write!(f, "next step of the return: {next_percent} %"),
            Self::Cooled => f.write_str("takes calls again"),
            Self::DrainEnds => f.write_str("the drain ends by itself"),
        }
    }
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
    /// Why; `None` if it has never changed.
    pub cause: Option<Cause>,
    /// How often in a row it had to leave; outlasts the return until traffic has settled.
    pub level: u8,
    /// What comes next, and when.
    pub next: Option<(NextStep, Moment)>,
    /// Why it is passed over, or what is wrong beyond its standing.
    pub overlay: Option<Overlay>,
    /// Share of unpinned work that may go there, 0 to 1.
    pub share: f64,
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
    /// Last attempt that failed for its own reasons: when, how, and with which HTTP status if there was one.
    pub last_failure: Option<(Moment, FailureKind, Option<u16>)>,
    /// What Azure last said of the quota.
    pub quota: Quota,
    /// Last deep test call that passed.
    pub last_test_passed: Option<Moment>,
    /// When the last deep test call ended that was made, and how it failed, if it did, as a short stable word.
    pub last_test: Option<(Moment, Option<&'static str>)>,
    /// Deep test calls made, and passed, since the start.
    pub tests: (u64, u64),
    /// Tokens that Azure counted for them.
    pub test_tokens: u64,
    /// When it was last compared with the reference of its embedding space, and the cosine between the two.
    pub compared: Option<(Moment, f64)>,
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
    /// Workflows pinned to a region in which the model has a target.
    pub pinned_workflows: u64,
}

pub(super) fn take(router: &Router, now: Moment) -> Snapshot {
    let targets = router.in_use();
    let models: Vec<ModelView> = router.routes.all().iter().map(|route| model(router, route, now)).collect();
    Snapshot {
        at: now,
        targets: targets.map(|(target, health)| view(router, target, health, now)).collect(),
        alarms: alarms(router, &models, now),
        models,
        transitions: router.transitions.iter().cloned().collect(),
        off_pin: router.off_pin.clone(),
        pinned_workflows: router
            .in_use()
            .map(|(target, _)| (Arc::clone(&target.region), router.pins.pinned_to(&target.region) as u64))
            .collect(),
        test_tokens_left: router.tokens.left(now),
    }
}

fn place(router: &Router, target: &Target) -> u32 {
    let route = router.routes.find(&target.model);
    let place = route.and_then(|route| route.targets.iter().position(|id| *id == target.id));
    place.map_or(0, |place| place as u32 + 1)
}

fn view(router: &Router, target: &Arc<Target>, health: &TargetHealth, now: Moment) -> TargetView {
    TargetView {
        target: Arc::clone(target),
        priority: place(router, target),
        standing: health.machine.standing(),
        since: health.machine.since,
        cause: health.cause.clone(),
        level: health.machine.level,
        next: next_step(router, health, now),
        overlay: health.overlay(now),
        share: health.share(&router.thresholds),
        in_flight: health.open.count(),
        served: health.served,
        failed: health.failed,
        recent: health.recent.counts(now),
        latency: health.recent.latency(now),
        last_success: health.last_success,
        last_failure: health.last_failure.clone(),
        quota: health.quota,
        last_test_passed: health.tests.last_passed,
        last_test: health.tests.last_ended,
        tests: (health.tests.calls, health.tests.passed),
        test_tokens: health.tests.tokens,
        compared: health.space.last,
    }
}

fn next_step(router: &Router, health: &TargetHealth, now: Moment) -> Option<(NextStep, Moment)> {
    if let Some(drain) = &health.drained {
        return Some((NextStep::DrainEnds, drain.until));
    }
    let numbers = &router.thresholds;
    let needed = numbers.recovery.proofs;
    match health.machine.phase {
        Phase::Suspected { failed, ends } => {
            Some((NextStep::VerdictDue { failed, calls: numbers.validation.calls }, ends))
        }
        Phase::Out { hold_until, proofs } if hold_until > now => {
            Some((NextStep::HoldEnds { proofs, needed }, hold_until))
        }
        Phase::Out { proofs, .. } => Some((NextStep::ProofsMissing { proofs, needed }, health.tests.next)),
        Phase::Returning { step, entered, failures, .. } => {
            let next_percent = numbers.recovery.percent(step + 1);
            let patience = if failures == 0 { numbers.recovery.step } else { numbers.recovery.step * 2 };
            Some((NextStep::StepEnds { next_percent }, entered + patience))
        }
        Phase::Serving => health.cooling_until(now).map(|until| (NextStep::Cooled, until)),
    }
}

fn model(router: &Router, route: &Arc<Route>, now: Moment) -> ModelView {
    let takes_calls = |health: &&TargetHealth| health.is_good() && health.cooling_until(now).is_none();
    let ready: Vec<(&Arc<Target>, &TargetHealth)> = route
        .targets
        .iter()
        .filter_map(|id| {
            let at = usize::from(id.0);
            Some((router.routes.targets().get(at)?, router.health.get(at).filter(takes_calls)?))
        })
        .collect();
    // One that was never compared with its embedding space waits for those that were.
    let any_compared = ready.iter().any(|(_, health)| health.space.is_comparable());
    let first = ready.iter().filter(|(_, health)| !any_compared || health.space.is_comparable());
    // A returning target takes most new work only once its share says so.
    let mostly = |(_, health): &&(&Arc<Target>, &TargetHealth)| health.share(&router.thresholds) >= 0.5;
    let active = first.clone().find(mostly).or_else(|| first.clone().next());
    let mut regions: Vec<&Arc<str>> = route
        .targets
        .iter()
        .filter_map(|id| router.routes.targets().get(usize::from(id.0)))
        .map(|it| &it.region)
        .collect();
    regions.sort_unstable();
    regions.dedup();
    ModelView {
        route: Arc::clone(route),
        active: active.map(|(target, _)| Arc::clone(target)),
        // One that refuses our credentials would not be of help.
        ready_standbys: ready.iter().filter(|(_, health)| health.misconfigured.is_none()).count().saturating_sub(1)
            as u32,
        pinned_workflows: regions.into_iter().map(|region| router.pins.pinned_to(region) as u64).sum(),
    }
}

fn alarms(router: &Router, models: &[ModelView], now: Moment) -> Vec<Alarm> {
    let mut alarms = Vec::new();
    alarms.extend(router.cut_off.map(|since| Alarm::CutOff { since }));
    alarms.extend(router.frozen_until.map(|until| Alarm::Frozen { until }));
    for model in models {
        let good =
            |id: &crate::domain::TargetId| router.health.get(usize::from(id.0)).is_some_and(TargetHealth::is_good);
        if !model.route.targets.iter().any(good) {
            let drains: Option<Vec<Moment>> = model
                .route
                .targets
                .iter()
                .map(|id| Some(router.health.get(usize::from(id.0))?.drained.as_ref()?.until))
                .collect();
            let drained_until = drains.and_then(|drains| drains.into_iter().min());
            alarms.push(Alarm::NoGoodTarget { model: Arc::clone(&model.route.model), drained_until });
        }
    }
    for (target, health) in router.in_use() {
        let target = || Arc::clone(target);
        if health.misconfigured.is_some() {
            alarms.push(Alarm::Misconfigured { target: target() });
        }
        if health.version_mismatch {
            alarms.push(Alarm::VersionMismatch { target: target() });
        }
        if let Some(Contradicted { since, mismatch, quarantined }) = &health.contradicted {
            let (since, mismatch, quarantined) = (*since, mismatch.clone(), *quarantined);
            alarms.push(Alarm::Mismatch { target: target(), mismatch, since, quarantined });
        }
        if let Some((since, drift)) = health.space.drifted.clone() {
            alarms.push(Alarm::Drifted { target: target(), since, drift });
        }
        if health.tests.refused {
            alarms.push(Alarm::TestRefused { target: target() });
        }
        let serving = matches!(health.machine.phase, Phase::Serving);
        // Calls that began before the trouble say nothing of it, however late they end.
        let live_since = |began: Moment| {
            let fresh = health.last_success.is_some_and(|at| now.since(at) <= router.thresholds.testing.deep_interval);
            fresh && health.proof_began.is_some_and(|proof| proof >= began)
        };
        if serving && health.tests.failing_since.is_some_and(live_since) {
            alarms.push(Alarm::TestsFailing { target: target() });
        }
        let unproven = router.thresholds.testing.unproven;
        let known = health.last_proven().unwrap_or(router.started);
        if place(router, &target()) > 1 && health.is_good() && now.since(known) > unproven {
            alarms.push(Alarm::Unproven { target: target() });
        }
    }
    if router.tokens.left(now) < super::test_call::ESTIMATED_TOKENS {
        alarms.push(Alarm::TestBudgetSpent);
    }
    alarms
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_next_is_told_with_its_numbers() {
        for (step, expected) in [
            (NextStep::VerdictDue { failed: 1, calls: 3 }, "verdict; 1 of 3 test calls failed"),
            (NextStep::HoldEnds { proofs: 4, needed: 6 }, "hold ends; 4 of 6 test calls in a row passed"),
            (NextStep::HoldEnds { proofs: 9, needed: 6 }, "hold ends; 6 of 6 test calls in a row passed"),
            (NextStep::ProofsMissing { proofs: 2, needed: 6 }, "next test call; 2 of 6 in a row passed"),
            (NextStep::StepEnds { next_percent: 20 }, "next step of the return: 20 %"),
            (NextStep::Cooled, "takes calls again"),
            (NextStep::DrainEnds, "the drain ends by itself"),
        ] {
            assert_eq!(step.to_string(), expected);
        }
    }
}
