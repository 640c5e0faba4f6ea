//! The choice itself: route order, permitted set, attempt rules, cooling and the split of the deadline.
use std::{sync::Arc, time::Duration};

use super::{Call, Delivery, Router};
use crate::{
    domain::{AttemptLimits, AttemptReason, FailureClass, FailureKind, Moment, Rejection, Target, TargetId},
    policy::{PermittedTarget, Refusal},
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
    },
    /// Sleep, then choose again.
    Wait {
        /// Until when.
        until: Moment,
    },
    /// Tell the caller.
    GiveUp(GiveUp),
}

/// Names one attempt of one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket {
    target: TargetId,
    attempt: u32,
}

impl Ticket {
    pub(super) fn target_index(self) -> usize {
        usize::from(self.target.0)
    }

    pub(super) fn attempt_index(self) -> usize {
        self.attempt as usize - 1
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

pub(super) fn choose(router: &mut Router, call: &mut Call, now: Moment) -> Decision {
    if !call.admitted {
        call.admitted = true;
        router.budget.deposit();
    }
    if let Some(give_up) = ends_the_call(call) {
        return Decision::GiveUp(give_up);
    }
    if call.remaining(now).is_zero() {
        return Decision::GiveUp(GiveUp::DeadlineExceeded);
    }
    let permitted = match permitted(router, call) {
        Ok(permitted) => permitted,
        Err(refusals) => return Decision::GiveUp(GiveUp::NotPermitted { refusals }),
    };
    let takes_calls = |target: &PermittedTarget| router.health[index(target)].cooling_until(now).is_none();
    let mut fresh = permitted.iter().filter(|target| !call.has_tried(target.target().id) && takes_calls(target));
    if let Some(target) = fresh.next().cloned() {
        let rescuers_left = fresh.next().is_some();
        let reason = reason(call, &permitted, &target);
        return attempt(router, call, target, reason, rescuers_left, now);
    }
    again(router, call, &permitted, now)
}

/// Failures that no other target would mend, whichever of the call's attempts met them.
fn ends_the_call(call: &Call) -> Option<GiveUp> {
    call.failures().find_map(|failure| match failure {
        FailureKind::Rejected(rejection) => Some(GiveUp::Rejected(rejection.clone())),
        FailureKind::Local { cause } => Some(GiveUp::Local { cause }),
        _ => None,
    })
}

/// The permitted targets in the order in which they should be tried.
fn permitted(router: &Router, call: &Call) -> Result<Vec<PermittedTarget>, Vec<Verdict>> {
    let terms = &call.terms;
    let mut permitted = Vec::with_capacity(terms.route.targets.len());
    let mut refusals = Vec::new();
    for id in &terms.route.targets {
        let Some(target) = router.routes.targets().get(usize::from(id.0)) else { continue };
        match terms.policy.permit(target, &terms.options) {
            Ok(target) => permitted.push(target),
            Err(refusal) => refusals.push(Verdict { target: Arc::clone(target), refusal }),
        }
    }
    if permitted.is_empty() {
        return Err(refusals);
    }
    if let Some(pin) = terms.options.pinned_region.as_deref() {
        // A stable sort: the pinned region's targets first, each group in route order.
        permitted.sort_by_key(|target| *target.target().region != *pin);
    }
    Ok(permitted)
}

fn reason(call: &Call, permitted: &[PermittedTarget], chosen: &PermittedTarget) -> AttemptReason {
    if call.interrupted {
        return AttemptReason::Restart;
    }
    if call.attempts() > 0 {
        return AttemptReason::Rescue;
    }
    let first = permitted.first().is_some_and(|first| first.target().id == chosen.target().id);
    let pinned = call.terms.options.pinned_region.as_deref() == Some(&*chosen.target().region);
    match (first, pinned) {
        (_, true) => AttemptReason::Pin,
        (true, false) => AttemptReason::Route,
        (false, false) => AttemptReason::Spill,
    }
}

fn attempt(
    router: &mut Router,
    call: &mut Call,
    target: PermittedTarget,
    reason: AttemptReason,
    rescuers_left: bool,
    now: Moment,
) -> Decision {
    let limits = limits(router, call, target.target(), rescuers_left, now);
    router.health[index(&target)].started();
    call.tried.push(super::call::Tried { target: target.target().id, failure: None });
    let ticket = Ticket { target: target.target().id, attempt: call.attempts() };
    Decision::Try { ticket, target, reason, limits }
}

/// An attempt may not eat the time that a rescue needs. A streamed answer is bound by that only until its first
/// content, since nothing can rescue it afterwards.
fn limits(router: &Router, call: &Call, target: &Target, rescuers_left: bool, now: Moment) -> AttemptLimits {
    let thresholds = &router.thresholds;
    let remaining = call.remaining(now);
    let share = if rescuers_left { remaining * thresholds.attempt_share_percent / 100 } else { remaining };
    let patience = match (call.terms.delivery, target.reasoning) {
        (Delivery::Unary, false) => thresholds.unary_reply,
        (Delivery::Unary | Delivery::Streamed | Delivery::Assembled, true) => thresholds.first_content_reasoning,
        (Delivery::Streamed | Delivery::Assembled, false) | (Delivery::Embedded, _) => {
            let for_length = thresholds.first_content_per_4000_tokens.as_secs_f64() * call.terms.prompt_tokens as f64;
            thresholds.first_content_floor + Duration::from_secs_f64((for_length / 4000.0).min(3600.0))
        }
    };
    AttemptLimits {
        first_content: patience.min(share),
        stall: if target.reasoning { thresholds.stall_reasoning } else { thresholds.stall },
        total: if call.terms.delivery == Delivery::Streamed { remaining } else { share },
    }
}

/// Every permitted target was tried or is cooling: wait for one that cools, retry a sole one, or give up.
fn again(router: &mut Router, call: &mut Call, permitted: &[PermittedTarget], now: Moment) -> Decision {
    if let Some(retry) = call.retry.take()
        && let Some(target) = permitted.iter().find(|target| target.target().id == retry)
        && router.health[index(target)].cooling_until(now).is_none()
    {
        return attempt(router, call, target.clone(), AttemptReason::Retry, false, now);
    }
    let soonest = soonest_cooled(router, call, permitted, now);
    let until = match (soonest, permitted) {
        (Some(cooled), _) => wait_for_cooling(router, call, cooled, now),
        (None, [sole]) => pause_before_retry(router, call, sole.target().id, now),
        (None, _) => None,
    };
    match until {
        Some(until) => Decision::Wait { until },
        None => {
            let soonest = soonest.map_or(router.thresholds.cooling.0, |cooled| cooled.until.since(now));
            Decision::GiveUp(exhausted(call, permitted, soonest))
        }
    }
}

#[derive(Clone, Copy)]
struct Cooled {
    until: Moment,
    target: TargetId,
    tried: bool,
}

/// The cooling target that may take calls again first. One that this call has tried counts only if throttling is
/// all that went wrong.
fn soonest_cooled(router: &Router, call: &Call, permitted: &[PermittedTarget], now: Moment) -> Option<Cooled> {
    let cooled = permitted.iter().filter_map(|target| {
        let until = router.health[index(target)].cooling_until(now)?;
        let tried = call.has_tried(target.target().id);
        let counts = !tried || call.only_failed_as(FailureClass::Throttled);
        counts.then_some(Cooled { until, target: target.target().id, tried })
    });
    cooled.min_by_key(|cooled| cooled.until)
}

/// Once in a call, and only if the wait is short. A second attempt at a target draws on the retry budget.
fn wait_for_cooling(router: &mut Router, call: &mut Call, cooled: Cooled, now: Moment) -> Option<Moment> {
    let patience = router.thresholds.longest_wait.min(call.remaining(now) / 2);
    if call.waited || cooled.until.since(now) > patience {
        return None;
    }
    if cooled.tried {
        take_retry(router, call, cooled.target)?;
    }
    call.waited = true;
    Some(cooled.until)
}

/// Only where no other permitted target exists is one tried again after it failed.
fn pause_before_retry(router: &mut Router, call: &mut Call, sole: TargetId, now: Moment) -> Option<Moment> {
    call.last_failure().filter(|failure| failure.class() == FailureClass::Hard)?;
    let pause = router.thresholds.retry_pause * 2u32.pow(call.retries);
    let pause = pause.mul_f64(0.5 + 0.5 * router.random_fraction());
    if pause * 2 > call.remaining(now) {
        return None;
    }
    take_retry(router, call, sole)?;
    Some(now + pause)
}

fn take_retry(router: &mut Router, call: &mut Call, target: TargetId) -> Option<()> {
    (call.retries < router.thresholds.retries && router.budget.withdraw()).then(|| {
        call.retries += 1;
        call.retry = Some(target);
    })
}

/// The error that is true of every permitted target. One that cools untried counts as throttled.
fn exhausted(call: &Call, permitted: &[PermittedTarget], retry_after: Duration) -> GiveUp {
    let all_tried = permitted.iter().all(|target| call.has_tried(target.target().id));
    let all = |test: fn(&FailureKind) -> bool| call.failures().all(test);
    let is_bad = |failure: &FailureKind| matches!(failure, FailureKind::BadResponse(_));
    if all(|failure| failure.class() == FailureClass::Throttled) {
        GiveUp::Throttled { retry_after }
    } else if all_tried && all(|failure| failure.class() == FailureClass::Misconfigured) {
        GiveUp::Misconfigured
    } else if all_tried && all(is_bad) {
        GiveUp::BadResponse
    } else {
        GiveUp::Unavailable { retry_after }
    }
}

fn index(target: &PermittedTarget) -> usize {
    usize::from(target.target().id.0)
}
