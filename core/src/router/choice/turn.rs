//! When a target's quota takes the call, and how long the call waits for that.
use std::time::Duration;

use super::{
    super::{Call, Router, call::Turn, pace::Ask},
    Decision, index,
};
use crate::{
    domain::{Moment, Priority},
    policy::PermittedTarget,
};

pub(super) fn ask(call: &Call, target: &PermittedTarget, now: Moment) -> Ask {
    let due = call.turn.is_some_and(|turn| turn.target == target.target().id && turn.at <= now);
    Ask { tokens: call.tokens, priority: call.terms.options.priority, due }
}

/// When the target's quota takes this call: now, or later.
pub(super) fn opens(router: &Router, call: &Call, target: &PermittedTarget, now: Moment) -> Moment {
    router.health[index(target)].pace.opens(ask(call, target, now), &router.thresholds.pacing, now)
}

/// How long a call waits for its turn at a target before it goes to the next one.
pub(super) fn patience_for_a_turn(router: &Router, call: &Call, now: Moment) -> Duration {
    let numbers = &router.thresholds.pacing;
    let time = call.terms.deadline.since(call.waiting_since(now));
    match call.terms.options.priority {
        Priority::Interactive => numbers.interactive.min(time / 10),
        Priority::Bulk => numbers.bulk.min(time / 4),
    }
}

/// How long a call waits for quota when no other target is left. Work that can wait does so for half its time: it would
/// only come back with the same request.
pub(super) fn patience_for_quota(router: &Router, call: &Call, now: Moment) -> Duration {
    let half = call.terms.deadline.since(call.waiting_since(now)) / 2;
    match call.terms.options.priority {
        Priority::Interactive => router.thresholds.longest_wait.min(half),
        Priority::Bulk => half,
    }
}

pub(super) fn wait_for_turn(
    router: &mut Router,
    call: &mut Call,
    target: &PermittedTarget,
    opens: Moment,
    now: Moment,
) -> Decision {
    let since = call.waiting_since(now);
    call.turn = Some(Turn { target: target.target().id, at: opens, since });
    router.health[index(target)].pace.joins(call.terms.options.priority, opens);
    Decision::Wait { until: opens }
}
