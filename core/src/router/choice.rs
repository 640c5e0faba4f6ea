//! The choice itself: permitted set, standings, pins, attempt rules, cooling, room and the split of the deadline.
use std::{sync::Arc, time::Duration};

use super::{
    Call, Delivery, Router, call::Turn, health::TargetHealth, pace::Ask, place_on_ramp, space::compared_can_serve,
    standing::Phase,
};
use crate::{
    domain::{
        AttemptLimits, AttemptReason, FailureClass, FailureKind, Hedge, Moment, Priority, Rejection, Target, TargetId,
    },
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

/// Attempts in flight at a target that is out and yet tried, because no good one is left: enough to notice that it is
/// back, too few to hurt it.
const LAST_RESORT: u32 = 4;

/// How long a call waits for one of those places: an error that comes soon is worth more than one that comes late.
const LAST_RESORT_PATIENCE: Duration = Duration::from_millis(900);

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

/// What a workflow's pin does with this choice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pinning {
    /// There is none, or it follows the choice: it is new, or its region's targets went out since it was used.
    Follows,
    /// It stands, and its region comes first.
    Held,
}

/// Finds the region that the call's workflow is pinned to.
fn find_pin(router: &Router, call: &mut Call, permitted: &[PermittedTarget], now: Moment) -> Pinning {
    let workflow = Router::workflow(call);
    let known = workflow.as_ref().and_then(|workflow| router.pins.find(workflow, now));
    // What the caller sends back is what some replica last said; it is how replicas agree.
    let stated = call.terms.options.pinned_region.as_deref();
    let Some(region) = stated.map(Arc::from).or_else(|| known.map(|pin| Arc::clone(&pin.region))) else {
        return if workflow.is_some() { Pinning::Follows } else { Pinning::Held };
    };
    if router.routes.targets_in_use().all(|target| target.region != region) {
        return Pinning::Follows;
    }
    let used = known.filter(|pin| pin.region == region).map(|pin| pin.used);
    let mut there = permitted.iter().filter(|target| target.target().region == region).peekable();
    // Where the call's model or policy has no target there, the pin stands for the workflow's other calls.
    let gone = there.peek().is_some()
        && there.all(|target| {
            let health = &router.health[index(target)];
            let left_since = health.left.is_some_and(|left| used.is_some_and(|used| left > used));
            !health.is_good() || left_since
        });
    call.pin = Some(region);
    if gone { Pinning::Follows } else { Pinning::Held }
}

fn keep_pin(router: &mut Router, call: &Call, now: Moment) {
    if let (Some(workflow), Some(region)) = (Router::workflow(call), &call.pin) {
        router.pins.keep(workflow, region, now);
    }
}

enum Pick {
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

fn pick(router: &Router, call: &Call, permitted: &[PermittedTarget], now: Moment) -> Pick {
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
fn last_resort_room(health: &TargetHealth, proofs: u8, concurrency: u32) -> u32 {
    let failed = health.last_failure.as_ref().map(|(at, ..)| *at).max(health.left);
    if proofs > 1 || health.proof_began > failed { (concurrency / 4).max(LAST_RESORT) } else { LAST_RESORT }
}

/// `BULK` work leaves a fifth of a target's places to `INTERACTIVE` calls.
fn has_room(health: &TargetHealth, call: &Call, concurrency: u32) -> bool {
    let places = match call.terms.options.priority {
        Priority::Interactive => concurrency,
        Priority::Bulk => (concurrency * 4 / 5).max(1),
    };
    health.open.count() < places
}

fn ask(call: &Call, target: &PermittedTarget, now: Moment) -> Ask {
    let due = call.turn.is_some_and(|turn| turn.target == target.target().id && turn.at <= now);
    Ask { tokens: call.tokens, priority: call.terms.options.priority, due }
}

/// When the target's quota takes this call: now, or later.
fn opens(router: &Router, call: &Call, target: &PermittedTarget, now: Moment) -> Moment {
    router.health[index(target)].pace.opens(ask(call, target, now), &router.thresholds.pacing, now)
}

/// How long a call waits for its turn at a target before it goes to the next one.
fn patience_for_a_turn(router: &Router, call: &Call, now: Moment) -> Duration {
    let numbers = &router.thresholds.pacing;
    let time = call.terms.deadline.since(call.waiting_since(now));
    match call.terms.options.priority {
        Priority::Interactive => numbers.interactive.min(time / 10),
        Priority::Bulk => numbers.bulk.min(time / 4),
    }
}

fn wait_for_turn(
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

fn wait_for_room(router: &mut Router, call: &mut Call, now: Moment) -> Decision {
    let since = *call.queued.get_or_insert(now);
    let patience = router.thresholds.longest_wait.min(call.terms.deadline.since(since) / 2);
    let pause = QUEUE_PAUSE.mul_f64(0.5 + 0.5 * router.chance.fraction());
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

/// Whether another target could still rescue the call if the chosen one fails.
fn rescuers_left(router: &Router, call: &Call, permitted: &[PermittedTarget], at: usize, now: Moment) -> bool {
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

fn hedge_delay(router: &Router, at: usize) -> Duration {
    let p95 = router.health[at].baseline.quantiles().map_or(Duration::ZERO, |known| known.p95);
    router.thresholds.hedging.delay.max(p95)
}

/// An attempt may not eat the time that a rescue needs. A streamed answer is bound by that only until its first
/// content, since nothing can rescue it afterwards.
fn limits(router: &Router, call: &Call, target: &Target, rescuers_left: bool, now: Moment) -> AttemptLimits {
    let thresholds = &router.thresholds;
    let remaining = call.remaining(now);
    let share = if rescuers_left { remaining * thresholds.attempt_share_percent / 100 } else { remaining };
    AttemptLimits {
        first_content: patience(router, call, target).min(share),
        stall: if target.reasoning { thresholds.stall_reasoning } else { thresholds.stall },
        // What streams shows that it lives: its silence and its stalls are cut in time, its length is not.
        total: match call.terms.delivery {
            Delivery::Streamed | Delivery::Assembled => remaining,
            Delivery::Unary | Delivery::Embedded => share,
        },
        rescue_by: share,
    }
}

/// How long an attempt may be silent, as far as its target is concerned.
fn patience(router: &Router, call: &Call, target: &Target) -> Duration {
    let thresholds = &router.thresholds;
    match (call.terms.delivery, target.reasoning) {
        (Delivery::Unary, false) => thresholds.unary_reply,
        (Delivery::Unary | Delivery::Streamed | Delivery::Assembled, true) => thresholds.first_content_reasoning,
        (Delivery::Streamed | Delivery::Assembled, false) | (Delivery::Embedded, _) => {
            // A model that is slow by habit gets the time it needs; one that is quick gets no less than the floor.
            let known = router.health[usize::from(target.id.0)].baseline.quantiles();
            let learned = known.map_or(Duration::ZERO, |known| known.p95 * 4);
            let for_length = thresholds.first_content_per_4000_tokens.as_secs_f64() * call.terms.prompt_tokens as f64;
            thresholds.first_content_floor.max(learned) + Duration::from_secs_f64((for_length / 4000.0).min(3600.0))
        }
    }
}

/// A limit that only the caller's deadline set is held against a target if it left as much time as silence takes to
/// mean something.
fn fair_silence(router: &Router, call: &Call, target: &Target, limits: &AttemptLimits) -> Duration {
    let patience = patience(router, call, target);
    if limits.first_content >= patience {
        return Duration::ZERO;
    }
    match call.terms.delivery {
        Delivery::Unary => patience,
        Delivery::Streamed | Delivery::Assembled | Delivery::Embedded => {
            let health = &router.health[usize::from(target.id.0)];
            health.silence_limit(target, call.terms.prompt_tokens, &router.thresholds).unwrap_or(patience)
        }
    }
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
        if router.hedges > 0 && router.hedges * 100 >= router.in_flight * router.thresholds.hedging.share_percent {
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

/// Every fit target was tried or is cooling: wait for one that cools, retry one, or give up.
fn again(router: &mut Router, call: &mut Call, permitted: &[PermittedTarget], now: Moment) -> Decision {
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
        let pause = QUEUE_PAUSE.mul_f64(0.5 + 0.5 * router.chance.fraction());
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
        let health = &router.health[index(target)];
        health.is_out()
            && !health.is_withdrawn()
            && health.cooling_until(now).is_none()
            && !call.has_tried(target.target().id)
            && health.open.count() < last_resort_room(health, 0, router.thresholds.concurrency)
    })
}

/// A target that is out, and might serve this call, has its few places taken: the first of those calls to have content
/// opens it for the others.
fn may_soon_be_let_in(router: &Router, call: &Call, permitted: &[PermittedTarget], now: Moment) -> bool {
    permitted.iter().any(|target| {
        let health = &router.health[index(target)];
        health.is_out()
            && !health.is_withdrawn()
            && health.cooling_until(now).is_none()
            && !call.has_tried(target.target().id)
    })
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

/// The target that may take this call again first: after its cooling, and when it has quota. One that this call has tried counts only if throttling is
/// all that went wrong.
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

/// How long a call waits for quota when no other target is left. Work that can wait does so for half its time: it would
/// only come back with the same request.
fn patience_for_quota(router: &Router, call: &Call, now: Moment) -> Duration {
    let half = call.terms.deadline.since(call.waiting_since(now)) / 2;
    match call.terms.options.priority {
        Priority::Interactive => router.thresholds.longest_wait.min(half),
        Priority::Bulk => half,
    }
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

fn index(target: &PermittedTarget) -> usize {
    usize::from(target.target().id.0)
}
