//! What becomes of a call when every fit target was tried or cannot take it: it waits, tries once more, or fails.
use std::{sync::Arc, time::Duration};

use super::{
    super::{Call, Router, standing::Phase},
    Decision, GiveUp, attempt, index,
    pick::{has_room, last_resort_room},
    pin::Pinning,
    queue_pause, reason,
    turn::{opens, patience_for_quota, wait_for_turn},
};
use crate::{
    domain::{AttemptReason, FailureClass, FailureKind, Moment},
    policy::PermittedTarget,
};

/// How long a call waits for one of the few places at a target that is out: an error that comes soon is worth more than one that comes late.
const LAST_RESORT_PATIENCE: Duration = Duration::from_millis(900);

/// Every fit target was tried or is cooling: wait for one that cools, retry one, or give up.
pub(super) fn again(router: &mut Router, call: &mut Call, permitted: &[PermittedTarget], now: Moment) -> Decision {
    // Where it goes is decided when its time has come: much may have happened in the pause.
    if std::mem::take(&mut call.retry)
        && let Some(at) = retriable(router, call, permitted, now)
    {
        return attempt(router, call, permitted[at].clone(), AttemptReason::Retry, false, now);
    }
    let soonest = soonest_cooled(router, call, permitted, now);
    if let Some(Cooled { until, short: Some(at), .. }) = soonest
        && until.since(call.waiting_since(now)) <= patience_for_quota(router, call, now)
    {
        return wait_for_turn(router, call, &permitted[at], until, now);
    }
    let until = soonest.and_then(|cooled| wait_for_cooling(router, call, cooled, now));
    if let Some(until) = until.or_else(|| pause_before_retry(router, call, permitted, now)) {
        return Decision::Wait { until };
    }
    if call.running() == 0
        && let Some(at) = unproven(router, call, permitted, now)
    {
        let reason = reason(router, call, permitted, at, Pinning::Held);
        return attempt(router, call, permitted[at].clone(), reason, false, now);
    }
    if call.running() == 0 && may_soon_be_let_in(router, call, permitted, now) {
        let since = *call.queued.get_or_insert(now);
        let pause = queue_pause(router);
        let patience = LAST_RESORT_PATIENCE.min(call.terms.deadline.since(since) / 2);
        if now.since(since) + pause <= patience {
            return Decision::Wait { until: now + pause };
        }
    }
    if let Some(drained) = all_drained(router, call, permitted, now) {
        return Decision::GiveUp(drained);
    }
    let cooled_in = soonest.map(|cooled| cooled.until.since(now));
    Decision::GiveUp(exhausted(call, permitted, cooled_in, router.thresholds.cooling.0))
}

/// The call is about to fail. A target that is out and has not proven itself yet may have healed a moment ago: a few
/// such calls are worth the try.
fn unproven(router: &Router, call: &Call, permitted: &[PermittedTarget], now: Moment) -> Option<usize> {
    permitted.iter().position(|target| {
        let room = last_resort_room(&router.health[index(target)], 0, router.thresholds.concurrency);
        might_serve(router, call, target, now) && router.health[index(target)].open.count() < room
    })
}

/// A target that is out, and might serve this call, has its few places taken: the first of those calls to have content
/// opens it for the others.
fn may_soon_be_let_in(router: &Router, call: &Call, permitted: &[PermittedTarget], now: Moment) -> bool {
    permitted.iter().any(|target| might_serve(router, call, target, now))
}

/// It is out, and nothing else speaks against trying it.
fn might_serve(router: &Router, call: &Call, target: &PermittedTarget, now: Moment) -> bool {
    let health = &router.health[index(target)];
    let held_back = health.is_withdrawn() || health.cooling_until(now).is_some();
    health.is_out() && !held_back && !call.has_tried(target.target().id)
}

/// Where a second attempt has the best chance: at a target that serves without suspicion, else at one that serves at
/// all, else at a sole one; of several at the one that this call has tried least, and then at the one that served
/// somebody last. Everything else was tried once.
fn retriable(router: &Router, call: &Call, permitted: &[PermittedTarget], now: Moment) -> Option<usize> {
    let sole = permitted.len() == 1;
    let chance = |(at, target): (usize, &PermittedTarget)| {
        let health = &router.health[index(target)];
        let open = !health.is_withdrawn() && health.cooling_until(now).is_none();
        let room = has_room(health, call, router.thresholds.concurrency);
        let trust = match health.machine.phase {
            Phase::Serving => 3,
            _ if health.is_good() => 2,
            _ => u8::from(sole),
        };
        let tries = std::cmp::Reverse(call.tries(target.target().id));
        (open && room && trust > 0).then_some((trust, tries, health.last_success, std::cmp::Reverse(at)))
    };
    let best = permitted.iter().enumerate().filter_map(chance).max()?;
    Some(best.3.0)
}

#[derive(Clone, Copy)]
struct Cooled {
    until: Moment,
    tried: bool,
    /// Place among the permitted, if it is only short of quota.
    short: Option<usize>,
}

/// The target that may take this call again first: after its cooling, and when it has quota. One that this call has
/// tried counts only if throttling is all that went wrong.
fn soonest_cooled(router: &Router, call: &Call, permitted: &[PermittedTarget], now: Moment) -> Option<Cooled> {
    let cooled = permitted.iter().enumerate().filter_map(|(at, target)| {
        let health = &router.health[index(target)];
        let tried = call.has_tried(target.target().id);
        if let Some(until) = health.cooling_until(now).filter(|_| health.is_good() || permitted.len() == 1) {
            let counts = !tried || call.only_failed_as(FailureClass::Throttled);
            return counts.then_some(Cooled { until, tried, short: None });
        }
        let opens = opens(router, call, target, now);
        let short = health.is_good() && !tried && opens > now;
        short.then_some(Cooled { until: opens, tried, short: Some(at) })
    });
    cooled.min_by_key(|cooled| cooled.until)
}

/// Once in a call, and only if the wait is short. A second attempt at a target draws on the retry budget.
fn wait_for_cooling(router: &mut Router, call: &mut Call, cooled: Cooled, now: Moment) -> Option<Moment> {
    let patience = router.thresholds.longest_wait.min(call.remaining(now) / 2);
    if call.waited || cooled.short.is_some() || cooled.until.since(now) > patience {
        return None;
    }
    if cooled.tried {
        take_retry(router, call)?;
    }
    call.waited = true;
    Some(cooled.until)
}

/// Only where no other permitted target is left is one tried again after one failed.
fn pause_before_retry(
    router: &mut Router,
    call: &mut Call,
    permitted: &[PermittedTarget],
    now: Moment,
) -> Option<Moment> {
    retriable(router, call, permitted, now)?;
    call.failures().find(|failure| failure.class() == FailureClass::Hard)?;
    let pause = router.thresholds.retry_pause.saturating_mul(2u32.saturating_pow(call.retries));
    let pause = pause.mul_f64(0.5 + 0.5 * router.chance.fraction());
    if pause * 2 > call.remaining(now) {
        return None;
    }
    take_retry(router, call)?;
    Some(now + pause)
}

fn take_retry(router: &mut Router, call: &mut Call) -> Option<()> {
    (call.retries < router.thresholds.retries && router.budget.withdraw()).then(|| {
        call.retries += 1;
        call.retry = true;
    })
}

/// Nothing was tried, since operators have drained every permitted target.
fn all_drained(router: &Router, call: &Call, permitted: &[PermittedTarget], now: Moment) -> Option<GiveUp> {
    if call.failures().next().is_some() {
        return None;
    }
    let drains = permitted.iter().map(|target| Some(router.health[index(target)].drained.as_ref()?.until));
    let ends = drains.collect::<Option<Vec<Moment>>>()?.into_iter().min()?;
    let targets = permitted.iter().map(|target| Arc::clone(target.target())).collect();
    Some(GiveUp::Drained { targets, ends_in: ends.since(now) })
}

/// The error that is true of every permitted target. One that cools untried counts as throttled.
fn exhausted(call: &Call, permitted: &[PermittedTarget], cooled_in: Option<Duration>, soon: Duration) -> GiveUp {
    let all_tried = permitted.iter().all(|target| call.has_tried(target.target().id));
    let met_failure = call.failures().next().is_some();
    let all = |test: fn(&FailureKind) -> bool| call.failures().all(test);
    let is_bad = |failure: &FailureKind| matches!(failure, FailureKind::BadResponse(_));
    let retry_after = cooled_in.unwrap_or(soon);
    if (met_failure || cooled_in.is_some()) && all(|failure| failure.class() == FailureClass::Throttled) {
        GiveUp::Throttled { retry_after }
    } else if met_failure && all_tried && all(|failure| failure.class() == FailureClass::Misconfigured) {
        GiveUp::Misconfigured
    } else if met_failure && all_tried && all(is_bad) {
        GiveUp::BadResponse
    } else {
        GiveUp::Unavailable { retry_after }
    }
}
