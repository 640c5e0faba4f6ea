//! The standing of one target: a pure machine, one value in and one value out.
//!
//! ```text
//!             suspicion               every test call failed, or grey
//!  Serving ─────────────▶ Suspected ──────────────────────────────────▶ Out(level)
//!     ▲  ▲                    │                                          │     ▲
//!     │  └── one passed ──────┘                 hold over, 6 proofs ─────┘     │ trouble:
//!     │                                                 ▼                      │ level + 1
//!     └── every step proven ──────────────────── Returning(step) ──────────────┘
//! ```
//!
//! Production, the model checker, the property tests and the simulator all run [`Machine::next`]. It reads no clock
//! and draws no number: `now` and the jitter are arguments.
use std::{sync::Arc, time::Duration};

use super::{Cause, Suspicion, Thresholds};
use crate::domain::Moment;

/// A target's health as the router sees it (design section 3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Standing {
    /// Takes live traffic in route order.
    Serving,
    /// Under validation by test calls; still takes traffic, every call protected by rescue and hedge.
    Suspected,
    /// Takes no live traffic.
    Out {
        /// How often in a row it had to leave; the hold doubles with each.
        level: u8,
    },
    /// Takes a growing share of unpinned work.
    Returning {
        /// Place on the ramp, from 0.
        step: u8,
    },
}

impl Standing {
    /// The word used in logs, metrics and tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Serving => "serving",
            Self::Suspected => "suspected",
            Self::Out { .. } => "out",
            Self::Returning { .. } => "returning",
        }
    }
}

/// Levels beyond this one change nothing: the hold has met its cap.
pub(super) const HIGHEST_LEVEL: u8 = 10;

/// All that a target's standing depends on.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Machine {
    pub(super) phase: Phase,
    pub(super) since: Moment,
    /// Grows with every change of phase or step. What a test call says counts only in the epoch that ordered it.
    pub(super) epoch: u64,
    /// Outlasts the return, so that a target which fails again soon stays out for longer.
    pub(super) level: u8,
    /// Time spent serving under real traffic since the level last changed.
    pub(super) settled: Duration,
    pub(super) last_live: Moment,
    pub(super) cool_off: CoolOff,
    /// Validations in a row that passed although calls failed here and succeeded elsewhere.
    pub(super) grey_rounds: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Phase {
    Serving,
    Suspected { failed: u8, ends: Moment },
    Out { hold_until: Moment, proofs: u8 },
    Returning { step: u8, entered: Moment, live: u8, deep: u8, failures: u8, in_a_row: u8 },
}

/// No suspicion until `until`; the next one lasts `span`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct CoolOff {
    pub(super) span: Duration,
    pub(super) until: Moment,
}

/// What a machine is told.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Signal {
    /// A detector found a pattern of trouble.
    Suspicion(Suspicion),
    /// A deep call ended that this epoch ordered.
    Tested { epoch: u64, verdict: Verdict },
    /// A live call was served.
    LiveServed,
    /// A live call failed here, and another target then served it.
    LiveFailed,
    /// The validation of a sibling found the whole resource down.
    ResourceDown,
    /// No permitted target is left somewhere, and this one has passed its last test calls.
    Needed,
    /// An operator wants to know, for this reason.
    Ordered(Arc<str>),
    /// Time passes.
    Tick,
}

/// What a deep call says of its target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Verdict {
    Passed,
    Failed(&'static str),
    /// 429: alive, but no proof that it can serve.
    Throttled,
    /// The test call itself was refused: says nothing.
    Void,
}

/// What else matters at the moment of a signal.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Circumstances {
    /// What live traffic says, whatever test calls say.
    pub(super) traffic: Traffic,
    /// At least half of the live attempts fail.
    pub(super) failing: bool,
    /// The trouble is our own: no level rises.
    pub(super) own_fault: bool,
    /// -1000 to 1000, scaled by the jitter of the hold.
    pub(super) jitter: i32,
    /// Needs longer validations.
    pub(super) reasoning: bool,
}

/// What live traffic says of a target since trouble began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Traffic {
    /// Too few attempts to say anything.
    #[default]
    TooLittle,
    /// Few calls fail here that succeed elsewhere.
    Sound,
    /// Many do: the grey rule counts this round.
    Grey { failed: u32, attempts: u32 },
}

impl Machine {
    pub(super) fn new(now: Moment, numbers: &Thresholds) -> Self {
        Self {
            phase: Phase::Serving,
            since: now,
            epoch: 0,
            level: 0,
            settled: Duration::ZERO,
            last_live: now,
            cool_off: CoolOff { span: numbers.validation.cool_off.0, until: now },
            grey_rounds: 0,
        }
    }

    /// Out since `since`, as an earlier process left it.
    pub(super) fn restored(level: u8, hold_left: Duration, since: Moment, now: Moment, numbers: &Thresholds) -> Self {
        let phase = Phase::Out { hold_until: now + hold_left.min(numbers.recovery.hold.1 * 2), proofs: 0 };
        Self { phase, since, level: level.clamp(1, HIGHEST_LEVEL), ..Self::new(now, numbers) }
    }

    pub(super) fn standing(&self) -> Standing {
        match self.phase {
            Phase::Serving => Standing::Serving,
            Phase::Suspected { .. } => Standing::Suspected,
            Phase::Out { .. } => Standing::Out { level: self.level },
            Phase::Returning { step, .. } => Standing::Returning { step },
        }
    }

    /// The transition function. Answers with the machine as it is afterwards and, if phase or step changed, why.
    pub(super) fn next(
        &self,
        signal: &Signal,
        around: Circumstances,
        now: Moment,
        numbers: &Thresholds,
    ) -> (Self, Option<Cause>) {
        let mut machine = self.clone();
        let stale = matches!(signal, Signal::Tested { epoch, .. } if *epoch != self.epoch);
        let cause = if stale {
            None
        } else {
            match self.phase {
                Phase::Serving => machine.serving(signal, around, now, numbers),
                Phase::Suspected { failed, ends } => machine.suspected(failed, ends, signal, around, now, numbers),
                Phase::Out { hold_until, proofs } => machine.out(hold_until, proofs, signal, now, numbers),
                Phase::Returning { .. } => machine.returning(signal, around, now, numbers),
            }
        };
        (machine, cause)
    }

    fn enter(&mut self, phase: Phase, now: Moment) {
        let same_standing = matches!((self.phase, phase), (Phase::Returning { .. }, Phase::Returning { .. }));
        self.phase = phase;
        self.epoch += 1;
        if !same_standing {
            self.since = now;
        }
    }

    fn serving(&mut self, signal: &Signal, around: Circumstances, now: Moment, numbers: &Thresholds) -> Option<Cause> {
        match signal {
            Signal::Suspicion(_) if now < self.cool_off.until || around.own_fault => None,
            Signal::Suspicion(suspicion) => {
                self.suspect(around, now, numbers);
                Some(Cause::Suspected(suspicion.clone()))
            }
            Signal::Ordered(reason) => {
                self.suspect(around, now, numbers);
                Some(Cause::Ordered { reason: Arc::clone(reason) })
            }
            Signal::ResourceDown if !around.own_fault => Some(self.leave(Cause::ResourceDown, around, now, numbers)),
            Signal::LiveServed => {
                self.settle(now, numbers);
                None
            }
            _ => None,
        }
    }

    fn suspect(&mut self, around: Circumstances, now: Moment, numbers: &Thresholds) {
        let window = numbers.validation.round(around.reasoning);
        if self.is_calm(now, numbers) {
            self.cool_off.span = numbers.validation.cool_off.0;
            self.grey_rounds = 0;
        }
        self.enter(Phase::Suspected { failed: 0, ends: now + window }, now);
    }

    /// No suspicion for long: the next one begins a new story.
    pub(super) fn is_calm(&self, now: Moment, numbers: &Thresholds) -> bool {
        now.since(self.cool_off.until) > numbers.validation.cool_off.1 || self.epoch == 0
    }

    /// Only real traffic lowers the level: neither test calls nor idleness do.
    fn settle(&mut self, now: Moment, numbers: &Thresholds) {
        if self.level == 0 {
            return;
        }
        let gap = now.since(self.last_live.max(self.since));
        self.last_live = now;
        if gap <= numbers.recovery.hold.0 {
            self.settled += gap;
        }
        if self.settled >= numbers.recovery.level_span {
            self.settled = Duration::ZERO;
            self.level -= 1;
        }
    }

    fn suspected(
        &mut self,
        failed: u8,
        ends: Moment,
        signal: &Signal,
        around: Circumstances,
        now: Moment,
        numbers: &Thresholds,
    ) -> Option<Cause> {
        let calls = numbers.validation.calls;
        match signal {
            Signal::Tested { verdict: Verdict::Passed, .. } => Some(self.passed(around, now, numbers)),
            Signal::Tested { verdict: Verdict::Throttled, .. } => {
                Some(self.acquitted(Cause::Throttled, around, now, numbers))
            }
            Signal::Tested { verdict: Verdict::Void, .. } => {
                Some(self.acquitted(Cause::TestVoid, around, now, numbers))
            }
            Signal::Tested { verdict: Verdict::Failed(last), .. } => {
                let failed = failed + 1;
                self.phase = Phase::Suspected { failed, ends };
                (failed >= calls).then(|| self.condemned(Cause::TestsFailed { calls, last }, around, now, numbers))
            }
            Signal::ResourceDown if !around.own_fault => Some(self.leave(Cause::ResourceDown, around, now, numbers)),
            Signal::Tick if now >= ends => {
                Some(self.condemned(Cause::TestsFailed { calls, last: "unanswered" }, around, now, numbers))
            }
            _ => None,
        }
    }

    /// A test call passed. That acquits, unless traffic has said otherwise for several rounds.
    fn passed(&mut self, around: Circumstances, now: Moment, numbers: &Thresholds) -> Cause {
        match around.traffic {
            Traffic::Grey { failed, attempts } if !around.own_fault => {
                self.grey_rounds += 1;
                if self.grey_rounds >= numbers.detection.grey.2 {
                    let cause = Cause::Grey { failed, attempts, rounds: self.grey_rounds };
                    return self.leave(cause, around, now, numbers);
                }
            }
            Traffic::Sound => self.grey_rounds = 0,
            Traffic::Grey { .. } | Traffic::TooLittle => {}
        }
        self.acquitted(Cause::TestPassed, around, now, numbers)
    }

    fn acquitted(&mut self, cause: Cause, around: Circumstances, now: Moment, numbers: &Thresholds) -> Cause {
        let (shortest, longest) = numbers.validation.cool_off;
        let span = self.cool_off.span.clamp(shortest, longest);
        self.cool_off.until = now + span;
        // While traffic fails the next look comes as soon as this one did.
        let troubled = around.failing || around.own_fault || matches!(around.traffic, Traffic::Grey { .. });
        if !troubled {
            self.cool_off.span = (span * 2).min(longest);
        }
        self.enter(Phase::Serving, now);
        cause
    }

    fn condemned(&mut self, cause: Cause, around: Circumstances, now: Moment, numbers: &Thresholds) -> Cause {
        if around.own_fault {
            return self.acquitted(Cause::OwnFault, around, now, numbers);
        }
        self.leave(cause, around, now, numbers)
    }

    fn leave(&mut self, cause: Cause, around: Circumstances, now: Moment, numbers: &Thresholds) -> Cause {
        self.level = (self.level + 1).min(HIGHEST_LEVEL);
        self.settled = Duration::ZERO;
        self.grey_rounds = 0;
        self.cool_off = CoolOff { span: numbers.validation.cool_off.0, until: now };
        let hold_until = now + numbers.recovery.hold_at(self.level, around.jitter);
        self.enter(Phase::Out { hold_until, proofs: 0 }, now);
        cause
    }

    fn out(
        &mut self,
        hold_until: Moment,
        proofs: u8,
        signal: &Signal,
        now: Moment,
        numbers: &Thresholds,
    ) -> Option<Cause> {
        let enough = numbers.recovery.proofs;
        match signal {
            Signal::Tested { verdict: Verdict::Passed, .. } => {
                let proofs = proofs.saturating_add(1);
                self.phase = Phase::Out { hold_until, proofs };
                // Decided on the proof itself and not by time alone: the last proof is never older than this moment.
                (proofs >= enough && now >= hold_until).then(|| {
                    self.enter(Phase::returning(0, now), now);
                    Cause::HoldOver { proofs, percent: numbers.recovery.percent(0) }
                })
            }
            Signal::Tested { verdict: Verdict::Failed(_), .. } => {
                self.phase = Phase::Out { hold_until, proofs: 0 };
                None
            }
            Signal::Needed if proofs >= PROOFS_WHEN_NEEDED => {
                self.enter(Phase::Serving, now);
                Some(Cause::NoGoodTargetLeft { proofs })
            }
            _ => None,
        }
    }

    fn returning(
        &mut self,
        signal: &Signal,
        around: Circumstances,
        now: Moment,
        numbers: &Thresholds,
    ) -> Option<Cause> {
        let Phase::Returning { step, entered, mut live, mut deep, mut failures, mut in_a_row } = self.phase else {
            return None;
        };
        let trouble = match signal {
            Signal::LiveServed => {
                live = live.saturating_add(1);
                in_a_row = 0;
                false
            }
            Signal::Tested { verdict: Verdict::Passed, .. } => {
                deep = deep.saturating_add(1);
                in_a_row = 0;
                false
            }
            Signal::LiveFailed | Signal::Tested { verdict: Verdict::Failed(_), .. } => {
                failures = failures.saturating_add(1);
                in_a_row = in_a_row.saturating_add(1);
                in_a_row >= numbers.recovery.step_failures.0 || failures >= numbers.recovery.step_failures.1
            }
            Signal::Suspicion(_) | Signal::ResourceDown => true,
            Signal::Tested { verdict: Verdict::Throttled | Verdict::Void, .. }
            | Signal::Needed
            | Signal::Ordered(_)
            | Signal::Tick => false,
        };
        if trouble && !around.own_fault {
            let cause = match signal {
                Signal::Suspicion(suspicion) => Cause::Relapsed(Some(suspicion.clone()), failures),
                _ => Cause::Relapsed(None, failures),
            };
            return Some(self.leave(cause, around, now, numbers));
        }
        if around.own_fault {
            return None;
        }
        self.phase = Phase::Returning { step, entered, live, deep, failures, in_a_row };
        let held = now.since(entered);
        let (enough_live, enough_deep) = numbers.recovery.step_proofs;
        let proven = live >= enough_live || deep >= enough_deep;
        let patience = if failures == 0 { numbers.recovery.step } else { numbers.recovery.step * 2 };
        if !proven || held < patience {
            return None;
        }
        if usize::from(step) + 1 < numbers.recovery.ramp.len() {
            self.enter(Phase::returning(step + 1, now), now);
            Some(Cause::StepProven { live, deep, percent: numbers.recovery.percent(step + 1) })
        } else {
            self.last_live = now;
            self.enter(Phase::Serving, now);
            Some(Cause::Returned)
        }
    }
}

/// Deep calls in a row that let a target serve at once where no other is left.
const PROOFS_WHEN_NEEDED: u8 = 2;

impl Phase {
    fn returning(step: u8, now: Moment) -> Self {
        Self::Returning { step, entered: now, live: 0, deep: 0, failures: 0, in_a_row: 0 }
    }
}

impl super::thresholds::Validation {
    /// How long a round may last: the calls of a reasoning model need more time than the usual window.
    pub(super) fn round(&self, reasoning: bool) -> Duration {
        if reasoning {
            self.window.max(self.spacing * u32::from(self.calls) + self.longest_limit_reasoning)
        } else {
            self.window
        }
    }
}

impl super::thresholds::Recovery {
    /// Share of the unpinned work on a step of the ramp, in percent.
    pub(super) fn percent(&self, step: u8) -> u8 {
        self.ramp.get(usize::from(step)).copied().unwrap_or(100)
    }

    /// 60 s, doubled with each level, capped, jittered. `jitter` is -1000 to 1000.
    pub(super) fn hold_at(&self, level: u8, jitter: i32) -> Duration {
        let (shortest, longest) = self.hold;
        let hold = shortest.saturating_mul(1 << u32::from(level.clamp(1, HIGHEST_LEVEL) - 1)).min(longest);
        let part = f64::from(self.hold_jitter_percent) / 100.0 * f64::from(jitter.clamp(-1000, 1000)) / 1000.0;
        hold.mul_f64(1.0 + part)
    }
}
