//! The choice itself: permitted set, standings, pins, attempt rules, cooling, room and the split of the deadline.
//!
//! `pin` says which region comes first, `pick` which target takes the call, `turn` when its quota does, `limits` how long
//! the attempt may take, and `again` what is left when none takes it.
mod again;
mod limits;
mod pick;
mod pin;
mod turn;

use std::{sync::Arc, time::Duration};

use self::{
    again::again,
    limits::{fair_silence, hedge_delay, limits},
    pick::{Pick, pick, rescuers_left},
    pin::{Pinning, find_pin, keep_pin},
    turn::wait_for_turn,
};
use super::{Call, Delivery, Router, place_on_ramp, standing::Phase};
use crate::{
    domain::{AttemptLimits, AttemptReason, FailureKind, Hedge, Moment, Priority, Rejection, Target, TargetId},
    policy::{PermittedTarget, Policy, Refusal},
};

/// What to do next for a call.
#[derive(Clone, Debug, PartialEq)]
pub enum Decision {
    /// Send it there, within these limits, and report with the ticket.
    Try {
        /// For `observe`.
        ticket: Ticket,
        /// Proof that the policy permits it.
        target: PermittedTarget,
        /// Why it.
        reason: AttemptReason,
        /// How long it may take.
        limits: AttemptLimits,
        /// When to ask [`Router::protect`](super::Router::protect) if it has no content by then; it is to be asked
        /// on every change of the router's revision as well.
        protect_at: Option<Moment>,
    },
    /// Sleep, then choose again.
    Wait {
        /// Until when.
        until: Moment,
    },
    /// Tell the caller.
    GiveUp(GiveUp),
}

/// What [`Router::protect`](super::Router::protect) says.
#[derive(Clone, Debug, PartialEq)]
pub enum Protection {
    /// Start this beside the silent attempt (a `Try`); the first content wins, and the other is dropped.
    Second(Decision),
    /// Not now; ask again then, or when the router's revision grows.
    Wait {
        /// `None`: only when the revision grows.
        until: Option<Moment>,
    },
}

/// Names one attempt of one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket {
    target: TargetId,
    attempt: u32,
    slot: u32,
    hedge: bool,
}

impl Ticket {
    pub(super) fn target_index(self) -> usize {
        usize::from(self.target.0)
    }

    pub(super) fn attempt_index(self) -> usize {
        self.attempt as usize - 1
    }

    pub(super) fn slot(self) -> u32 {
        self.slot
    }

    /// It runs beside a silent attempt.
    pub fn is_hedge(self) -> bool {
        self.hedge
    }

    /// 1 for the call's first attempt.
    pub fn attempt(self) -> u32 {
        self.attempt
    }
}

/// Why a call ends without an answer.
#[derive(Clone, Debug, PartialEq)]
pub enum GiveUp {
    /// No target of the route is permitted.
    NotPermitted {
        /// The caller's policy.
        policy: Arc<Policy>,
        /// Every target and why not.
        refusals: Vec<Verdict>,
    },
    /// The request is at fault.
    Rejected(Rejection),
    /// Every permitted target is throttled.
    Throttled {
        /// Soonest time at which one may take calls again.
        retry_after: Duration,
    },
    /// Every permitted target has as many calls in flight as it may.
    Overloaded {
        /// When trying again makes sense.
        retry_after: Duration,
    },
    /// Operators have drained every permitted target.
    Drained {
        /// Those targets.
        targets: Vec<Arc<Target>>,
        /// How long until the first of those drains ends by itself.
        ends_in: Duration,
    },
    /// No permitted target could answer.
    Unavailable {
        /// When trying again makes sense.
        retry_after: Duration,
    },
    /// Every permitted target refuses the service's own credentials, or does not know the deployment.
    Misconfigured,
    /// Every permitted target answered with something that is no answer.
    BadResponse,
    /// The service itself is at fault.
    Local {
        /// A short stable word.
        cause: &'static str,
    },
    /// The caller's time is up.
    DeadlineExceeded,
}

/// A target that is not permitted, and why.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    /// The target.
    pub target: Arc<Target>,
    /// Why not.
    pub refusal: Refusal,
}

/// How long a call sleeps before it looks for room again; half of it is jittered.
const QUEUE_PAUSE: Duration = Duration::from_millis(100);

pub(super) fn choose(router: &mut Router, call: &mut Call, now: Moment) -> Decision {
    let newcomer = !std::mem::replace(&mut call.admitted, true);
    if newcomer {
        router.budget.deposit();
        call.place = match &call.terms.options.workflow_id {
            Some(workflow) => place_on_ramp(&call.terms.caller, workflow),
            None => router.chance.fraction(),
        };
    }
    if let Some(give_up) = ends_the_call(call) {
        return Decision::GiveUp(give_up);
    }
    if call.remaining(now).is_zero() {
        return Decision::GiveUp(GiveUp::DeadlineExceeded);
    }
    let mut permitted = match permitted(router, call) {
        Ok(permitted) => permitted,
        Err(refusals) => {
            let policy = Arc::clone(&call.terms.policy);
            return Decision::GiveUp(GiveUp::NotPermitted { policy, refusals });
        }
    };
    let first = call.attempts() == 0;
    let pinning = if first { find_pin(router, call, &permitted, now) } else { Pinning::Held };
    if pinning == Pinning::Held
        && let Some(region) = &call.pin
    {
        // A stable sort: the pinned region's targets first, each group in route order.
        permitted.sort_by_key(|target| target.target().region != *region);
    }
    match pick(router, call, &permitted, now) {
        Pick::Target(at) => {
            let chosen = permitted[at].clone();
            if pinning == Pinning::Follows {
                call.pin = Some(Arc::clone(&chosen.target().region));
            }
            keep_pin(router, call, now);
            let reason = reason(router, call, &permitted, at, pinning);
            attempt(router, call, chosen, reason, rescuers_left(router, call, &permitted, at, now), now)
        }
        Pick::Turn { at, opens } => wait_for_turn(router, call, &permitted[at], opens, now),
        Pick::NoRoom => wait_for_room(router, call, now),
        Pick::Nothing => again(router, call, &permitted, now),
    }
}

/// Failures that no other target would mend, whichever of the call's attempts met them.
fn ends_the_call(call: &Call) -> Option<GiveUp> {
    call.failures().find_map(|failure| match failure {
        FailureKind::Rejected(rejection) => Some(GiveUp::Rejected(rejection.clone())),
        FailureKind::Local { cause } => Some(GiveUp::Local { cause }),
        _ => None,
    })
}

/// The permitted targets in route order.
fn permitted(router: &Router, call: &Call) -> Result<Vec<PermittedTarget>, Vec<Verdict>> {
    let terms = &call.terms;
    let mut permitted = Vec::with_capacity(terms.route.targets.len());
    let mut refusals = Vec::new();
    for id in &terms.route.targets {
        let Some(target) = router.routes.targets().get(usize::from(id.0)) else { continue };
        let decided = terms.policy.permit(target, &terms.options);
        match decided.and_then(|permit| router.permits_still(&permit, &terms.options).map(|()| permit)) {
            Ok(target) => permitted.push(target),
            Err(refusal) => refusals.push(Verdict { target: Arc::clone(target), refusal }),
        }
    }
    if permitted.is_empty() { Err(refusals) } else { Ok(permitted) }
}

fn queue_pause(router: &mut Router) -> Duration {
    QUEUE_PAUSE.mul_f64(0.5 + 0.5 * router.chance.fraction())
}

fn wait_for_room(router: &mut Router, call: &mut Call, now: Moment) -> Decision {
    let since = *call.queued.get_or_insert(now);
    let patience = router.thresholds.longest_wait.min(call.terms.deadline.since(since) / 2);
    let pause = queue_pause(router);
    if now.since(since) + pause > patience {
        return Decision::GiveUp(GiveUp::Overloaded { retry_after: router.thresholds.cooling.0 });
    }
    Decision::Wait { until: now + pause }
}

fn reason(router: &Router, call: &Call, permitted: &[PermittedTarget], at: usize, pinning: Pinning) -> AttemptReason {
    if call.interrupted {
        return AttemptReason::Restart;
    }
    if call.attempts() > 0 {
        return AttemptReason::Rescue;
    }
    let chosen = &permitted[at];
    let health = &router.health[index(chosen)];
    if pinning == Pinning::Held && call.pin.as_ref() == Some(&chosen.target().region) {
        return AttemptReason::Pin;
    }
    if matches!(health.machine.phase, Phase::Returning { .. }) {
        return AttemptReason::Return;
    }
    // Those before it that would have taken the call, were they not throttled or full.
    let passed_over = permitted[..at].iter().any(|before| {
        let health = &router.health[index(before)];
        health.is_good() && call.place < health.share(&router.thresholds)
    });
    if passed_over { AttemptReason::Spill } else { AttemptReason::Route }
}

fn attempt(
    router: &mut Router,
    call: &mut Call,
    target: PermittedTarget,
    reason: AttemptReason,
    rescuers_left: bool,
    now: Moment,
) -> Decision {
    let at = index(&target);
    let limits = limits(router, call, target.target(), rescuers_left, now);
    // In Azure's unary form silence says nothing until the end.
    let silent_after = match call.terms.delivery {
        Delivery::Unary => None,
        Delivery::Streamed | Delivery::Assembled | Delivery::Embedded => {
            router.health[at].silence_limit(target.target(), call.terms.prompt_tokens, &router.thresholds)
        }
    };
    let fair_silence = fair_silence(router, call, target.target(), &limits);
    let slot = router.health[at].began(silent_after, fair_silence, call.tokens, now);
    let id = target.target().id;
    let hedge = reason == AttemptReason::Hedge;
    router.in_flight += 1;
    router.hedges += u32::from(hedge);
    (call.queued, call.turn) = (None, None);
    let (failure, running, excused, told) = (None, true, false, false);
    call.tried.push(super::call::Tried { target: id, reason, failure, running, began: now, excused, told });
    let ticket = Ticket { target: id, attempt: call.attempts(), slot, hedge };
    let protect_at = router.health[at].is_suspected().then(|| now + hedge_delay(router, at));
    Decision::Try { ticket, target, reason, limits, protect_at }
}

/// See [`Router::protect`](super::Router::protect).
pub(super) fn protect(router: &mut Router, call: &mut Call, ticket: Ticket, now: Moment) -> Protection {
    let at = ticket.target_index();
    let nothing = Protection::Wait { until: None };
    let Some(open) = router.health.get_mut(at).and_then(|health| health.open.find(ticket.slot())).copied() else {
        return nothing;
    };
    let Some(health) = router.health.get(at) else { return nothing };
    if open.content || call.running() != 1 || call.remaining(now).is_zero() {
        return nothing;
    }
    if !health.is_out() {
        if !health.is_suspected() || !may_hedge(router, call, at) {
            return nothing;
        }
        let due = open.started + hedge_delay(router, at);
        if due > now {
            return Protection::Wait { until: Some(due) };
        }
        if router.hedges * 100 >= router.in_flight * router.thresholds.hedging.share_percent {
            return Protection::Wait { until: Some(now + QUEUE_PAUSE) };
        }
    }
    let Ok(permitted) = permitted(router, call) else { return nothing };
    match pick(router, call, &permitted, now) {
        // Nobody says when a place gets free.
        Pick::NoRoom => Protection::Wait { until: Some(now + QUEUE_PAUSE) },
        Pick::Turn { opens, .. } => Protection::Wait { until: Some(opens) },
        Pick::Target(second) if router.health[index(&permitted[second])].is_good() => {
            let left = rescuers_left(router, call, &permitted, second, now);
            let target = permitted[second].clone();
            Protection::Second(attempt(router, call, target, AttemptReason::Hedge, left, now))
        }
        _ => nothing,
    }
}

fn may_hedge(router: &Router, call: &Call, at: usize) -> bool {
    let options = &call.terms.options;
    let wanted = match options.hedge {
        Hedge::Configured => router.thresholds.hedging.enabled,
        Hedge::Allowed => true,
        Hedge::Never => false,
    };
    let reasoning = router.routes.targets().get(at).is_some_and(|target| target.reasoning);
    wanted && !reasoning && options.priority == Priority::Interactive
}

fn index(target: &PermittedTarget) -> usize {
    usize::from(target.target().id.0)
}
