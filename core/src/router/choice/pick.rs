//! Which of the permitted targets takes the call now, if one does.
use super::{
    super::{Call, Router, health::TargetHealth, space::compared_can_serve, standing::Phase},
    index,
    turn::{ask, opens, patience_for_a_turn},
};
use crate::{
    domain::{Moment, Priority},
    policy::PermittedTarget,
};

/// Attempts in flight at a target that is out and yet tried, because no good one is left: enough to notice that it is
/// back, too few to hurt it.
const LAST_RESORT: u32 = 4;

pub(super) enum Pick {
    /// Place among the permitted.
    Target(usize),
    /// One that is short of quota, and when it takes this call: so soon that waiting is better than going elsewhere.
    Turn {
        at: usize,
        opens: Moment,
    },
    /// There are fit ones, but none with room.
    NoRoom,
    Nothing,
}

pub(super) fn pick(router: &Router, call: &Call, permitted: &[PermittedTarget], now: Moment) -> Pick {
    let numbers = &router.thresholds;
    let only_compared = compared_can_serve(router, call, permitted, now);
    let open = |target: &PermittedTarget| {
        let health = &router.health[index(target)];
        let comparable = !only_compared || health.space.is_comparable();
        let open = comparable && !health.is_withdrawn() && health.cooling_until(now).is_none();
        (open && !call.has_tried(target.target().id)).then_some(health)
    };
    let (mut no_room, mut doubtful) = (false, None);
    // A returning target takes its share first; as a rescuer, and where no other is left, it takes whatever comes. That
    // the others are busy is no reason.
    for by_share in [true, false] {
        if !by_share && no_room && call.attempts() == 0 {
            break;
        }
        for (at, target) in permitted.iter().enumerate() {
            let Some(health) = open(target).filter(|health| health.is_good()) else { continue };
            if by_share && call.place >= health.share(numbers) {
                continue;
            }
            if !has_room(health, call, numbers.concurrency) {
                no_room = true;
                continue;
            }
            let opens = opens(router, call, target, now);
            if opens <= now {
                return Pick::Target(at);
            }
            if opens.since(call.waiting_since(now)) <= patience_for_a_turn(router, call, now) {
                return Pick::Turn { at, opens };
            }
            let interactive = call.terms.options.priority == Priority::Interactive;
            if interactive && health.pace.is_guess(ask(call, target, now), &numbers.pacing, now) {
                doubtful.get_or_insert(at);
            }
        }
    }
    // A guess must not turn anybody away.
    if let Some(at) = doubtful {
        return Pick::Target(at);
    }
    let sole = permitted.len() == 1;
    let any_good = permitted.iter().any(|target| router.health[index(target)].is_good());
    // Each good one has failed this call, is throttled, or is short of quota.
    let good_cannot = permitted.iter().all(|target| {
        let health = &router.health[index(target)];
        !health.is_good()
            || call.has_failed_at(target.target().id)
            || health.cooling_until(now).is_some()
            || opens(router, call, target, now) > now
    });
    for (at, target) in permitted.iter().enumerate() {
        let Some(health) = open(target) else { continue };
        let Phase::Out { proofs, .. } = health.machine.phase else { continue };
        if !(sole || !any_good || (good_cannot && proofs > 0)) {
            continue;
        }
        let room = if sole { numbers.concurrency } else { last_resort_room(health, proofs, numbers.concurrency) };
        if health.open.count() < room {
            return Pick::Target(at);
        }
        no_room |= sole;
    }
    if no_room { Pick::NoRoom } else { Pick::Nothing }
}

/// How many calls at a time a target takes that is out: a few, to notice that it is back without hurting it; more once
/// test calls, or calls that were sent there for want of anything better, say that it only waits for its hold.
pub(super) fn last_resort_room(health: &TargetHealth, proofs: u8, concurrency: u32) -> u32 {
    let failed = health.last_failure.as_ref().map(|(at, ..)| *at).max(health.left);
    if proofs > 1 || health.proof_began > failed { (concurrency / 4).max(LAST_RESORT) } else { LAST_RESORT }
}

/// `BULK` work leaves a fifth of a target's places to `INTERACTIVE` calls.
pub(super) fn has_room(health: &TargetHealth, call: &Call, concurrency: u32) -> bool {
    let places = match call.terms.options.priority {
        Priority::Interactive => concurrency,
        Priority::Bulk => (concurrency * 4 / 5).max(1),
    };
    health.open.count() < places
}

/// Whether another target could still rescue the call if the chosen one fails.
pub(super) fn rescuers_left(
    router: &Router,
    call: &Call,
    permitted: &[PermittedTarget],
    at: usize,
    now: Moment,
) -> bool {
    permitted.iter().enumerate().any(|(place, target)| {
        let health = &router.health[index(target)];
        // One that waits for its hold, not for its health, is the last resort.
        let fit = match health.machine.phase {
            Phase::Out { proofs, .. } => !health.is_withdrawn() && proofs > 1,
            _ => health.is_good(),
        };
        place != at && !call.has_tried(target.target().id) && fit && health.cooling_until(now).is_none()
    })
}
