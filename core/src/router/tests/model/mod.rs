//! The transition function of one target, and of two, in every state that it can reach.
//!
//! Time goes in ticks of one second, and the spans are small, so that the space is finite; test results, live calls
//! and detectors may come at any time in any order, more freely than the router would ever let them. A state holds
//! the machine as seen from now, so that equal futures are equal states, and what the checker has counted for itself.
//! `rules` says which steps are wrong. `broken` shows that each of them can fail.
mod broken;
mod one;
mod pair;
mod rules;

use super::*;
use crate::router::standing::{CoolOff, Traffic, Verdict};

/// What is checked: [`Machine::next`], or something broken in its place.
type Rule = fn(&Machine, &Signal, Circumstances, Moment, &Thresholds) -> (Machine, Option<Cause>);

const TICK: Duration = Duration::from_secs(1);

/// Levels beyond this one lie outside the model.
const LEVELS: u8 = 3;

/// It is always the same moment: what lies behind moves away instead.
fn now() -> Moment {
    at(1000)
}

/// Something happens to a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Event {
    Suspicion,
    Passed,
    Failed,
    Throttled,
    Void,
    /// A result from before the last change.
    StalePassed,
    StaleFailed,
    Served,
    FailedHere,
    ResourceDown,
    Needed,
    Ordered,
    Tick,
}

const GREY: Traffic = Traffic::Grey { failed: 9, attempts: 20 };

/// An event and what else holds at that moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Step {
    event: Event,
    own_fault: bool,
    traffic: Traffic,
    failing: bool,
}

impl Step {
    /// In a world where all else is well.
    const fn plain(event: Event) -> Self {
        Self { event, own_fault: false, traffic: Traffic::Sound, failing: false }
    }

    /// Every event in all circumstances, whether or not they should matter to it.
    fn all() -> Vec<Self> {
        use Event::*;
        let mut steps = vec![];
        for event in [Suspicion, Passed, Failed, Throttled, Void, ResourceDown, Tick] {
            for (own_fault, failing) in [(false, false), (false, true), (true, false), (true, true)] {
                for traffic in [Traffic::Sound, Traffic::TooLittle, GREY] {
                    steps.push(Self { event, own_fault, traffic, failing });
                }
            }
        }
        for event in [Served, FailedHere, Needed, Ordered, StalePassed, StaleFailed] {
            steps.extend([Self::plain(event), Self { own_fault: true, ..Self::plain(event) }]);
        }
        steps
    }

    /// Every event in the circumstances that matter to it, as [`one`] shows.
    fn different() -> Vec<Self> {
        use Event::*;
        let plain = [Served, FailedHere, StalePassed].map(Self::plain);
        let with = |own_fault, traffic, failing| move |event| Self { event, own_fault, traffic, failing };
        let sound = Traffic::Sound;
        let well = [Suspicion, Passed, Failed, Throttled, ResourceDown, Ordered, Tick].map(with(false, sound, false));
        let own = [Suspicion, Passed, Failed, ResourceDown, FailedHere, Tick].map(with(true, sound, false));
        let failing = [Passed, Throttled].map(with(false, sound, true));
        plain
            .into_iter()
            .chain(well)
            .chain(own)
            .chain(failing)
            .chain([GREY, Traffic::TooLittle].map(|traffic| with(false, traffic, false)(Passed)))
            .collect()
    }

    fn signal(self, epoch: u64) -> Signal {
        let tested = |epoch, verdict| Signal::Tested { epoch, verdict };
        match self.event {
            Event::Suspicion => Signal::Suspicion(Suspicion::Consecutive { failures: 5, last: "unavailable" }),
            Event::Passed => tested(epoch, Verdict::Passed),
            Event::Failed => tested(epoch, Verdict::Failed("unavailable")),
            Event::Throttled => tested(epoch, Verdict::Throttled),
            Event::Void => tested(epoch, Verdict::Void),
            Event::StalePassed => tested(epoch - 1, Verdict::Passed),
            Event::StaleFailed => tested(epoch - 1, Verdict::Failed("unavailable")),
            Event::Served => Signal::LiveServed,
            Event::FailedHere => Signal::LiveFailed,
            Event::ResourceDown => Signal::ResourceDown,
            Event::Needed => Signal::Needed,
            Event::Ordered => Signal::Ordered("a look".into()),
            Event::Tick => Signal::Tick,
        }
    }

    fn circumstances(self) -> Circumstances {
        Circumstances {
            traffic: self.traffic,
            failing: self.failing,
            own_fault: self.own_fault,
            jitter: 0,
            reasoning: false,
        }
    }
}

/// A target, as the checker sees it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Seen {
    /// Shifted, so that it is always [`now`], and every earlier epoch is 0.
    machine: Machine,
    witness: Witness,
    /// The rule that the last step broke.
    broken: Option<&'static str>,
}

/// What the checker counts for itself, to compare the machine with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct Witness {
    /// Ticks since the phase or the step of the ramp began.
    held: u64,
    /// Ticks spent serving since the level last changed.
    served: u64,
    /// Failed test calls of this validation.
    failed: u8,
    /// Passed test calls in a row of this stay out.
    proofs: u8,
    /// It serves because a validation said so.
    acquitted: bool,
}

impl Seen {
    fn new(numbers: &Thresholds) -> Self {
        let machine = Machine { epoch: 1, ..Machine::new(now(), numbers) };
        Self { machine, witness: Witness::default(), broken: None }
    }

    fn restored(level: u8, hold_left: Duration, numbers: &Thresholds) -> Self {
        let machine = Machine { epoch: 1, ..Machine::restored(level, hold_left, now(), now(), numbers) };
        // The earlier process has seen the rest of the hold, however long it was.
        let held = numbers.recovery.hold.1.as_secs() - hold_left.as_secs();
        Self { machine, witness: Witness { held, ..Witness::default() }, broken: None }
    }

    /// What the step makes of it. A tick passes before the machine is told of it.
    fn after(&self, step: Step, rule: Rule, numbers: &Thresholds) -> Self {
        let mut before = self.clone();
        if step.event == Event::Tick {
            before.age(numbers);
        }
        let signal = step.signal(before.machine.epoch);
        let (machine, cause) = rule(&before.machine, &signal, step.circumstances(), now(), numbers);
        let mut after = Self { witness: before.witness.after(&before.machine, &machine, step), machine, broken: None };
        after.broken = rules::broken(&before, &after, step, cause.as_ref(), numbers);
        after.normalise(numbers);
        after
    }

    /// A tick passes.
    fn age(&mut self, numbers: &Thresholds) {
        let machine = &mut self.machine;
        for moment in [&mut machine.since, &mut machine.last_live, &mut machine.cool_off.until] {
            *moment = *moment - TICK;
        }
        match &mut machine.phase {
            Phase::Serving => {}
            Phase::Suspected { ends: moment, .. }
            | Phase::Out { hold_until: moment, .. }
            | Phase::Returning { entered: moment, .. } => *moment = *moment - TICK,
        }
        self.witness.held = (self.witness.held + 1).min(numbers.recovery.hold.1.as_secs());
        if matches!(machine.phase, Phase::Serving) {
            self.witness.served = (self.witness.served + 1).min(numbers.recovery.level_span.as_secs());
        }
    }

    /// Forgets what can matter no more: how long ago something ran out, and by how much enough was exceeded.
    fn normalise(&mut self, numbers: &Thresholds) {
        let recovery = &numbers.recovery;
        let machine = &mut self.machine;
        let at_most = |moment: Moment, ago: Duration| moment.max(now() - ago);
        machine.epoch = 1;
        machine.since = at_most(machine.since, recovery.hold.0 + TICK);
        machine.last_live = at_most(machine.last_live, recovery.hold.0 + TICK);
        let CoolOff { until, .. } = &mut machine.cool_off;
        *until = at_most(*until, numbers.validation.cool_off.1 + TICK);
        match &mut machine.phase {
            Phase::Serving => {}
            Phase::Suspected { ends, .. } => *ends = at_most(*ends, Duration::ZERO),
            Phase::Out { hold_until, proofs } => {
                *hold_until = at_most(*hold_until, Duration::ZERO);
                *proofs = (*proofs).min(recovery.proofs);
            }
            Phase::Returning { entered, live, deep, .. } => {
                *entered = at_most(*entered, recovery.step * 2);
                *live = (*live).min(recovery.step_proofs.0);
                *deep = (*deep).min(recovery.step_proofs.1);
            }
        }
        self.witness.proofs = self.witness.proofs.min(recovery.proofs);
    }

    fn is_out(&self) -> bool {
        matches!(self.machine.phase, Phase::Out { .. })
    }

    fn is_serving(&self) -> bool {
        self.machine.phase == Phase::Serving
    }

    fn step(&self) -> Option<u8> {
        match self.machine.phase {
            Phase::Returning { step, .. } => Some(step),
            _ => None,
        }
    }
}

impl Witness {
    fn after(mut self, before: &Machine, after: &Machine, step: Step) -> Self {
        match (before.phase, step.event) {
            (Phase::Suspected { .. }, Event::Failed) => self.failed += 1,
            (Phase::Out { .. }, Event::Passed) => self.proofs += 1,
            (Phase::Out { .. }, Event::Failed) => self.proofs = 0,
            _ => {}
        }
        if after.level != before.level {
            self.served = 0;
        }
        if after.epoch != before.epoch {
            let acquitted = matches!(before.phase, Phase::Suspected { .. });
            self = Self { served: self.served, acquitted, ..Self::default() };
        }
        self
    }
}
