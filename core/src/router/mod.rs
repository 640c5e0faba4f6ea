//! Which target serves: a pure core that is asked and told, and never acts.
//!
//! `dispatch` owns the only loop: [`Router::choose`] says what to do next for one [`Call`], `dispatch` does it and
//! tells with [`Router::observe`] how it went. [`Router::due`] lets time pass and orders test calls, which `prober`
//! makes and answers with [`Router::tested`]. [`Router::snapshot`] is what RegionStatus shows. `now` and a seed come
//! from outside, so the same code runs in production, in property tests, in the model checker and in simulations.
//!
//! ```text
//!            choose                       observe                   due
//! Call  ───────────────▶ Try ──▶ attempt ─────────▶ Router ◀──────────────── clock
//!   ▲                    Wait ──▶ sleep                │ ▲ tested
//!   └────────── protect ──────────────────────────────┘ └──────── test call ◀── order
//! ```
//!
//! A target's health is its [`Standing`] and its [`Overlay`]; what a route does follows from those of its permitted
//! targets at the moment of choosing. `standing` holds the transition function, `detector` the patterns that make a
//! target suspect, `health` what is known of one target, `pace` how much quota it has left, `resource` what is known of
//! its endpoint, `proving` when test calls are due and what they mean, `space` whose vectors may be compared, `choice`
//! where a call goes.
mod affinity;
mod baseline;
mod budget;
mod call;
mod cause;
mod choice;
mod detector;
mod health;
mod open;
mod operator;
mod pace;
mod passed_over;
mod proving;
mod resource;
mod route;
mod saved;
mod snapshot;
mod space;
mod standing;
mod succession;
mod test_call;
mod thresholds;

pub use affinity::place_on_ramp;
pub use call::{Call, CallTerms, Delivery};
pub use cause::{Cause, Suspicion};
pub use choice::{Decision, GiveUp, Protection, Ticket, Verdict};
pub use health::Overlay;
pub use operator::{Selector, TargetReport};
pub use proving::Due;
pub use route::{Route, Routes, RoutesError};
pub use saved::{SavedDrain, SavedTarget};
pub use snapshot::{Alarm, ModelView, NextStep, Snapshot, TargetView, Transition};
pub use space::Reference;
pub use standing::Standing;
pub use test_call::{TestKind, TestOrder, TestPurpose, TestResult};
pub use thresholds::{
    Affinity, Detection, Hedging, Pacing, Recovery, Testing, Thresholds, ThresholdsError, Validation,
};

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use self::{
    affinity::{Affinity as Pins, Workflow},
    budget::RetryBudget,
    detector::Window,
    health::{Contradicted, TargetHealth},
    resource::ResourceHealth,
    standing::{Circumstances, Machine, Phase, Signal},
    test_call::TokenBudget,
};
use crate::{
    domain::{
        AttemptReason, Chance, EmbeddingSpace, Failure, FailureClass, FailureKind, Mismatch, Moment, OnMismatch, Quota,
        Silence, TargetId, Vector,
    },
    policy::Policy,
};

/// The failover core of one process. Cheap to lock: `choose` and `observe` are short and never wait.
#[derive(Debug)]
pub struct Router {
    routes: Routes,
    thresholds: Thresholds,
    /// By target id.
    health: Vec<TargetHealth>,
    /// By resource index.
    resources: Vec<ResourceHealth>,
    /// Test calls go only where one of these permits.
    policies: Vec<Arc<Policy>>,
    /// What became of policies that calls in flight may have been admitted under; empty until the first change of the
    /// configuration.
    superseded: BTreeMap<Arc<str>, Option<Arc<Policy>>>,
    budget: RetryBudget,
    tokens: TokenBudget,
    pins: Pins,
    /// What the reference text looks like in each embedding space that has settled it.
    references: BTreeMap<Arc<EmbeddingSpace>, Vector>,
    /// Calls of pinned workflows that were served outside their region, by cause.
    off_pin: BTreeMap<&'static str, u64>,
    /// Targets whose state matters for a running validation.
    to_compare: Vec<(TargetId, TargetId)>,
    /// Newest first.
    transitions: VecDeque<Transition>,
    /// Attempts in flight, and those of them that run beside a silent one.
    in_flight: u32,
    hedges: u32,
    /// Own trouble: the detectors are silent until then.
    frozen_until: Option<Moment>,
    /// No resource can be reached, since then.
    cut_off: Option<Moment>,
    last_due: Option<Moment>,
    started: Moment,
    chance: Chance,
    revision: u64,
}

/// What became of an attempt.
#[derive(Clone, Debug, PartialEq)]
pub enum Observation {
    /// It served the call.
    Served {
        /// To the first content (chat) or to the reply (embeddings).
        first_content: Duration,
        /// What Azure said of the quota.
        quota: Quota,
    },
    /// It failed.
    Failed(Failure),
    /// The caller left, or another attempt won: says nothing about the target, but for a silence that was too long.
    Cancelled,
}

/// Transitions that a snapshot tells of.
const TRANSITIONS_KEPT: usize = 50;

impl Router {
    /// A router that believes every target good. `seed` feeds all jitter. Test calls go wherever any caller's may.
    pub fn new(routes: Routes, thresholds: Thresholds, seed: u64, now: Moment) -> Self {
        let health = routes.targets().iter().map(|target| TargetHealth::new(target, &thresholds, now)).collect();
        let resources = ResourceHealth::all(&routes, now);
        let budget = RetryBudget::new(thresholds.retry_budget_percent);
        let tokens = TokenBudget::new(thresholds.testing.tokens_per_day, now);
        let pins = Pins::new(thresholds.affinity.clone(), now);
        let mut router = Self {
            routes,
            thresholds,
            health,
            resources,
            policies: vec![Arc::new(Policy::unrestricted())],
            superseded: BTreeMap::new(),
            budget,
            tokens,
            pins,
            references: BTreeMap::new(),
            off_pin: BTreeMap::new(),
            to_compare: Vec::new(),
            transitions: VecDeque::new(),
            in_flight: 0,
            hedges: 0,
            frozen_until: None,
            cut_off: None,
            last_due: None,
            started: now,
            chance: Chance::from_seed(seed),
            revision: 0,
        };
        router.spread_first_tests(now);
        router
    }

    /// Test calls go only to targets that one of `policies` permits; those also say for whom no target is left.
    #[must_use]
    pub fn serving_policies(mut self, policies: Vec<Arc<Policy>>) -> Self {
        self.policies = policies;
        self
    }

    /// The routes it chooses from.
    pub fn routes(&self) -> &Routes {
        &self.routes
    }

    /// The numbers it goes by.
    pub fn thresholds(&self) -> &Thresholds {
        &self.thresholds
    }

    /// Grows whenever a standing or an overlay changes: a cheap way to notice that the snapshot tells something new.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// The fewest tokens a minute that any target of the route is known to take, so that whichever serves can take what
    /// leaves together; `None` where no limit is known.
    pub fn tokens_per_minute(&self, route: &Route, now: Moment) -> Option<u32> {
        let health = route.targets.iter().filter_map(|id| self.health.get(usize::from(id.0)));
        health.filter_map(|health| health.pace.limits(now).tokens_per_minute).min()
    }

    /// Says what to do next for this call. A `Try` must be answered with exactly one [`observe`](Self::observe) or
    /// [`abandon`](Self::abandon) of its ticket.
    pub fn choose(&mut self, call: &mut Call, now: Moment) -> Decision {
        choice::choose(self, call, now)
    }

    /// Whether an attempt without content should get a second one beside it: because its target has gone out, or
    /// because it is under validation and has been silent for long. To be asked again whenever
    /// [`revision`](Self::revision) grows, and at the time it names.
    pub fn protect(&mut self, call: &mut Call, ticket: Ticket, now: Moment) -> Protection {
        choice::protect(self, call, ticket, now)
    }

    /// An attempt that had to wait for us leaves only now: the time before was not its target's.
    pub fn departs(&mut self, ticket: Ticket, now: Moment) {
        let health = self.health.get_mut(ticket.target_index());
        if let Some(open) = health.and_then(|health| health.open.find(ticket.slot())) {
            open.started = now;
        }
    }

    /// When the youngest attempt or test call began that any of these targets served.
    pub fn proof_began(&self, targets: impl IntoIterator<Item = TargetId>) -> Option<Moment> {
        targets.into_iter().filter_map(|id| self.health.get(usize::from(id.0))?.proof_began).max()
    }

    /// What an attempt that begins now finds its target to be.
    pub fn standing(&self, ticket: Ticket) -> Option<Standing> {
        self.health.get(ticket.target_index()).map(|health| health.machine.standing())
    }

    /// The first content of an attempt is here. To be told once; a reply that comes whole need not tell it.
    pub fn first_content(&mut self, call: &mut Call, ticket: Ticket, now: Moment) {
        let index = ticket.target_index();
        let Some(health) = self.health.get_mut(index) else { return };
        let Some(open) = health.open.find(ticket.slot()) else { return };
        open.content = true;
        let began = open.started;
        let latency = now.since(began);
        // Content acquits at once: a sibling of a suspect must not be condemned while its long answers run.
        health.proof_began = health.proof_began.max(Some(began));
        let slow = health.first_content(latency, call.terms.prompt_tokens, &self.thresholds, now);
        self.answered(index, now);
        if slow {
            self.look(index, now);
        }
        self.answered_elsewhere(call, ticket, now);
    }

    /// Takes note of how an attempt ended.
    pub fn observe(&mut self, call: &mut Call, ticket: Ticket, observation: &Observation, now: Moment) {
        call.ended(ticket, observation);
        let index = ticket.target_index();
        let Some(health) = self.health.get_mut(index) else { return };
        let Some(open) = health.ended(ticket.slot(), now) else { return };
        self.in_flight -= 1;
        self.hedges -= u32::from(ticket.is_hedge());
        health.paced(&open, call.tokens, observation, now);
        match observation {
            Observation::Served { first_content, quota } => {
                let tokens = call.terms.prompt_tokens;
                // The length of a whole answer is no time to first content.
                let comparable = !open.content && call.terms.delivery != Delivery::Unary;
                let slow = comparable && health.first_content(*first_content, tokens, &self.thresholds, now);
                health.served(open.started, *first_content, *quota, now);
                let counts = open.started >= health.machine.since
                    && (health.machine.level > 0 || !matches!(health.machine.phase, Phase::Serving));
                self.answered(index, now);
                if counts {
                    self.signal(index, &Signal::LiveServed, now);
                }
                if slow {
                    self.look(index, now);
                }
                if !open.content {
                    self.answered_elsewhere(call, ticket, now);
                }
                self.count_off_pin(call, ticket);
            }
            // Whoever waits less than silence takes to mean something learns nothing of the target.
            Observation::Failed(Failure {
                kind: FailureKind::Silence(Silence::FirstContent | Silence::Total), ..
            }) if now.since(open.started) < open.fair_silence => {
                call.excuse(ticket);
                self.look(index, now);
            }
            Observation::Failed(failure) => self.failed(index, failure, open.started, now),
            Observation::Cancelled => self.look(index, now),
        }
    }

    /// Gives back the place of an attempt whose call is gone.
    pub fn abandon(&mut self, ticket: Ticket, now: Moment) {
        let index = ticket.target_index();
        if self.health.get_mut(index).and_then(|health| health.ended(ticket.slot(), now)).is_some() {
            self.in_flight -= 1;
            self.hedges -= u32::from(ticket.is_hedge());
            self.look(index, now);
        }
    }

    /// The response head of an attempt is here, which may be long before the attempt ends: its resource can be reached,
    /// and the headers say how its target's quota stands.
    pub fn head_seen(&mut self, ticket: Ticket, quota: Quota, now: Moment) {
        let Some(health) = self.health.get_mut(ticket.target_index()) else { return };
        if let Some(open) = health.open.find(ticket.slot()) {
            let (sent, started) = (open.sent, open.started);
            health.pace.stated(sent, started, quota, now);
            self.answered(ticket.target_index(), now);
        }
    }

    /// What Azure's headers say of a target's limits to a test call: known before the first call of a caller, so that
    /// an ingestion need not learn them from a 429.
    pub fn limits_seen(&mut self, target: TargetId, quota: Quota, now: Moment) {
        if let Some(health) = self.health.get_mut(usize::from(target.0)) {
            health.pace.limits_stated(quota, now);
        }
    }

    /// A reply came from the model version that its target is meant to serve, or from another one, which is an alarm.
    pub fn version_seen(&mut self, target: TargetId, mismatch: bool) {
        let Some(health) = self.health.get_mut(usize::from(target.0)) else { return };
        if std::mem::replace(&mut health.version_mismatch, mismatch) != mismatch {
            self.revision += 1;
        }
    }

    /// Azure's answer contradicts what the configuration says of the target: an alarm, and a quarantine where the
    /// configuration wants one. Answers whether it is news, worth a line in the log.
    pub fn mismatched(&mut self, target: TargetId, mismatch: &Mismatch, now: Moment) -> bool {
        let index = usize::from(target.0);
        let (Some(health), Some(target)) = (self.health.get_mut(index), self.routes.targets().get(index)) else {
            return false;
        };
        if health.contradicted.as_ref().is_some_and(|known| known.mismatch == *mismatch) {
            return false;
        }
        let since = health.contradicted.as_ref().map_or(now, |known| known.since);
        let quarantined = target.claims.on_mismatch == OnMismatch::Quarantine;
        health.contradicted = Some(Contradicted { since, mismatch: mismatch.clone(), quarantined });
        self.revision += 1;
        self.serve_the_stranded(now);
        true
    }

    /// What an on-call engineer wants to know, at `now`.
    pub fn snapshot(&self, now: Moment) -> Snapshot {
        snapshot::take(self, now)
    }

    fn failed(&mut self, index: usize, failure: &Failure, began: Moment, now: Moment) {
        self.contacted(index, failure, began, now);
        let Some(health) = self.health.get_mut(index) else { return };
        match &failure.kind {
            FailureKind::Throttled { retry_after } => {
                self.revision += u64::from(health.throttled(*retry_after, &self.thresholds, now));
            }
            FailureKind::Local { .. } => self.freeze(now),
            kind if matches!(kind.class(), FailureClass::Hard | FailureClass::Misconfigured) => {
                health.failed(failure, now);
                if let FailureKind::OtherSpace(drift) = kind {
                    self.drifted(index, drift.clone(), now);
                }
                self.look(index, now);
            }
            _ => {}
        }
    }

    /// The call has content: what failed on its way there failed for reasons of those targets, not of the call. Told
    /// once for each failure, at the first content, since a long answer's end comes too late for a verdict.
    fn answered_elsewhere(&mut self, call: &mut Call, ticket: Ticket, now: Moment) {
        let serving = ticket.target_index();
        for failed in call.tried.iter_mut().filter(|tried| tried.is_the_targets() && !tried.told) {
            let index = usize::from(failed.target.0);
            let Some(health) = self.health.get_mut(index).filter(|_| index != serving) else { continue };
            failed.told = true;
            health.elsewhere.mark(now);
            // What began before the return speaks of the outage.
            if matches!(health.machine.phase, Phase::Returning { .. }) && failed.began >= health.machine.since {
                self.signal(index, &Signal::LiveFailed, now);
            }
        }
    }

    fn count_off_pin(&mut self, call: &Call, ticket: Ticket) {
        let serving = ticket.target_index();
        let region = self.routes.targets().get(serving).map(|target| &target.region);
        if call.pin.as_ref().is_some_and(|pin| region.is_some_and(|region| region != pin)) {
            let reason = call.tried.get(ticket.attempt_index()).map_or(AttemptReason::Route, |tried| tried.reason);
            *self.off_pin.entry(reason.as_str()).or_default() += 1;
        }
    }

    /// Looks for a pattern of trouble.
    fn look(&mut self, index: usize, now: Moment) {
        if self.frozen_until.is_some() {
            return;
        }
        let (Some(health), Some(target)) = (self.health.get(index), self.routes.targets().get(index)) else { return };
        if !matches!(health.machine.phase, Phase::Serving | Phase::Returning { .. }) {
            return;
        }
        let numbers = &self.thresholds;
        let slow = health.slow_limit(numbers).unwrap_or(numbers.detection.slow.0);
        let silent = health.silence_limit(target, 0, numbers).unwrap_or(numbers.detection.silence.0);
        if let Some(suspicion) = health.detector.suspicion(&numbers.detection, slow, silent, now) {
            self.signal(index, &Signal::Suspicion(suspicion), now);
        }
    }

    /// Tells a target's machine, and acts on what changes.
    fn signal(&mut self, index: usize, signal: &Signal, now: Moment) {
        let jitter = (self.chance.fraction() * 2000.0 - 1000.0) as i32;
        let (Some(health), Some(target)) = (self.health.get(index), self.routes.targets().get(index)) else { return };
        let calm = Circumstances { jitter, reasoning: target.reasoning, ..Circumstances::default() };
        let around = match signal {
            // The commonest by far, and it asks for nothing of the sort.
            Signal::LiveServed => calm,
            _ => Circumstances {
                traffic: health.traffic(&self.thresholds, now),
                failing: health.detector.mostly_failing(now),
                own_fault: self.is_own_fault(now),
                ..calm
            },
        };
        let (mut machine, cause) = health.machine.next(signal, around, now, &self.thresholds);
        let before = health.machine.clone();
        if matches!(health.cause, Some(Cause::Ordered { .. })) && matches!(machine.phase, Phase::Serving) {
            // An operator who looks closely must not deafen the detectors.
            machine.cool_off = before.cool_off;
        }
        if let Some(health) = self.health.get_mut(index) {
            health.machine = machine;
        }
        if let Some(cause) = cause {
            self.changed(index, &before, cause, now);
        }
    }

    fn changed(&mut self, index: usize, before: &Machine, cause: Cause, now: Moment) {
        let (Some(health), Some(target)) = (self.health.get_mut(index), self.routes.targets().get(index)) else {
            return;
        };
        self.revision += 1;
        health.detector = detector::Detector::new(&self.thresholds.detection);
        health.cause = Some(cause.clone());
        let (from, to) = (before.standing(), health.machine.standing());
        let target = Arc::clone(target);
        remember(&mut self.transitions, Transition { at: now, target, from, to, cause: cause.clone() });
        if to == Standing::Suspected && before.is_calm(now, &self.thresholds) {
            // The calm before says nothing of the trouble now.
            health.elsewhere = Window::new(self.thresholds.detection.grey_window);
        }
        match to {
            Standing::Suspected => self.begin_validation(index, now),
            Standing::Out { .. } => {
                let unconnected = health.tests.unconnected;
                health.left = Some(now);
                self.plan_next_test(index, now);
                if let Cause::TestsFailed { calls, .. } = cause {
                    self.judge_siblings(index, before.since, unconnected >= calls, now);
                }
                self.serve_the_stranded(now);
            }
            Standing::Serving | Standing::Returning { .. } => self.plan_next_test(index, now),
        }
    }

    /// A target was withdrawn or put back: worth telling, although its standing stays as it is.
    fn withdrawal_changed(&mut self, index: usize, cause: Cause, now: Moment) {
        let (Some(health), Some(target)) = (self.health.get(index), self.routes.targets().get(index)) else { return };
        self.revision += 1;
        let standing = health.machine.standing();
        let target = Arc::clone(target);
        remember(&mut self.transitions, Transition { at: now, target, from: standing, to: standing, cause });
    }

    fn workflow(call: &Call) -> Option<Workflow> {
        let id = call.terms.options.workflow_id.as_ref()?;
        Some(Workflow { caller: Arc::clone(&call.terms.caller), id: Arc::clone(id) })
    }
}

fn remember(transitions: &mut VecDeque<Transition>, transition: Transition) {
    transitions.push_front(transition);
    transitions.truncate(TRANSITIONS_KEPT);
}

#[cfg(test)]
mod tests;
