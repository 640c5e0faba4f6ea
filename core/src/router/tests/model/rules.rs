//! Which steps of a target are wrong, said again from the design and not from the code.
use super::*;

/// A step, from both sides.
struct Taken<'a> {
    before: &'a Seen,
    after: &'a Seen,
    step: Step,
    cause: Option<&'a Cause>,
    numbers: &'a Thresholds,
}

/// Whether a step keeps a rule.
type Kept = fn(&Taken) -> bool;

/// Every rule. Numbers in brackets are those of the invariants in `reliability.md`.
const RULES: [(&str, Kept); 12] = [
    ("phase, epoch and cause change together", |it| {
        let moved = it.after.machine.standing() != it.before.machine.standing();
        let told = it.after.machine.epoch == it.before.machine.epoch + u64::from(it.cause.is_some());
        told && moved == it.cause.is_some()
    }),
    ("a result of an old epoch changes nothing (4)", |it| {
        let stale = matches!(it.step.event, Event::StalePassed | Event::StaleFailed);
        !stale || it.after.machine == it.before.machine
    }),
    ("nobody goes out without a verdict (3)", |it| {
        let numbers = &it.numbers.validation;
        !it.goes_out()
            || match it.before.machine.phase {
                Phase::Serving => it.step.event == Event::ResourceDown,
                Phase::Suspected { .. } => match it.step.event {
                    Event::Failed => it.before.witness.failed + 1 >= numbers.calls,
                    Event::Tick => it.before.witness.held >= numbers.window.as_secs(),
                    Event::Passed => {
                        it.step.traffic == GREY && it.before.machine.grey_rounds + 1 >= it.numbers.detection.grey.2
                    }
                    event => event == Event::ResourceDown,
                },
                Phase::Returning { .. } => {
                    matches!(it.step.event, Event::Failed | Event::FailedHere | Event::Suspicion | Event::ResourceDown)
                }
                Phase::Out { .. } => false,
            }
    }),
    ("our own fault is not held against a target", |it| !it.step.own_fault || !it.goes_out()),
    ("the level rises by one with every stay out, and only then", |it| {
        let rises = it.after.machine.level > it.before.machine.level;
        rises == it.goes_out() && (!rises || it.after.machine.level == it.before.machine.level + 1)
    }),
    ("the level falls only through settled live traffic (15)", |it| {
        let fallen = it.before.machine.level.saturating_sub(it.after.machine.level);
        let settled = it.before.is_serving()
            && it.step.event == Event::Served
            && it.before.witness.served >= it.numbers.recovery.level_span.as_secs();
        fallen == 0 || (fallen == 1 && settled)
    }),
    ("a validation ends with its window (5)", |it| {
        let window = it.numbers.validation.window.as_secs();
        !it.after.is_suspected() || it.after.witness.held < window
    }),
    ("no suspicion before the cool-off is over", |it| {
        let cool_off = it.numbers.validation.cool_off.0.as_secs();
        let too_soon = it.before.is_serving() && it.before.witness.acquitted && it.before.witness.held < cool_off;
        !(too_soon && it.step.event == Event::Suspicion && it.after.is_suspected())
    }),
    ("a return begins after the hold, with proofs in a row, on the last of them (12)", |it| {
        let (shortest, longest) = it.numbers.recovery.hold;
        let hold = (shortest.as_secs() << it.before.machine.level.saturating_sub(1)).min(longest.as_secs());
        let proven = it.step.event == Event::Passed && it.before.witness.proofs + 1 >= it.numbers.recovery.proofs;
        let begins = it.before.is_out() && it.after.step().is_some();
        !begins || (it.before.witness.held >= hold && proven)
    }),
    ("the ramp is climbed step by step, each one held (13)", |it| {
        let held = it.before.witness.held >= it.numbers.recovery.step.as_secs();
        let last = it.numbers.recovery.ramp.len() as u8 - 1;
        match (it.before.step(), it.after.step()) {
            (None, Some(step)) => it.before.is_out() && step == 0,
            (Some(from), Some(to)) => to == from || (to == from + 1 && held),
            (Some(from), None) => !it.after.is_serving() || (from == last && held),
            (None, None) => true,
        }
    }),
    ("one that is out serves at once only where it is needed and proven twice", |it| {
        let at_once = it.before.is_out() && it.after.is_serving();
        !at_once || (it.step.event == Event::Needed && it.before.witness.proofs >= 2)
    }),
    ("out is left only for the ramp or where it is needed", |it| {
        !it.before.is_out() || it.after.is_out() || it.after.step() == Some(0) || it.step.event == Event::Needed
    }),
];

/// The first rule that the step breaks.
pub(super) fn broken(
    before: &Seen,
    after: &Seen,
    step: Step,
    cause: Option<&Cause>,
    numbers: &Thresholds,
) -> Option<&'static str> {
    let taken = Taken { before, after, step, cause, numbers };
    RULES.iter().find(|(_, kept)| !kept(&taken)).map(|(name, _)| *name)
}

impl Taken<'_> {
    fn goes_out(&self) -> bool {
        !self.before.is_out() && self.after.is_out()
    }
}

impl Seen {
    fn is_suspected(&self) -> bool {
        matches!(self.machine.phase, Phase::Suspected { .. })
    }
}
