//! One target.
use stateright::{Checker, Model, Property};

use super::*;

/// One target under everything that can happen to it.
pub(super) struct One {
    pub(super) rule: Rule,
    pub(super) numbers: Thresholds,
}

impl One {
    /// The default rules over spans of a few ticks.
    pub(super) fn small() -> Thresholds {
        let sound = Thresholds::default();
        Thresholds {
            detection: Detection { grey: (30, 20, 2), ..sound.detection },
            validation: Validation {
                calls: 3,
                spacing: TICK,
                window: TICK * 3,
                shortest_limit: TICK,
                longest_limit: TICK,
                longest_limit_reasoning: TICK,
                cool_off: (TICK, TICK * 2),
            },
            recovery: Recovery {
                hold: (TICK * 2, TICK * 8),
                proofs: 3,
                step: TICK * 2,
                step_proofs: (2, 1),
                step_failures: (2, 3),
                level_span: TICK * 3,
                ..sound.recovery
            },
            ..sound
        }
        .check()
        .unwrap()
    }

    /// Told this every tick, does it come to be `wanted` within `ticks`?
    fn comes_to(&self, seen: &Seen, told: &[Event], wanted: fn(&Seen) -> bool, ticks: usize) -> bool {
        let mut seen = seen.clone();
        for _ in 0..ticks {
            for event in told {
                if wanted(&seen) {
                    return true;
                }
                seen = seen.after(Step::plain(*event), self.rule, &self.numbers);
            }
        }
        wanted(&seen)
    }
}

impl Model for One {
    type State = Seen;
    type Action = Step;

    fn init_states(&self) -> Vec<Seen> {
        let restored = (1..=LEVELS).map(|level| Seen::restored(level, TICK, &self.numbers));
        [Seen::new(&self.numbers)].into_iter().chain(restored).collect()
    }

    fn actions(&self, seen: &Seen, steps: &mut Vec<Step>) {
        if seen.broken.is_none() {
            steps.extend(Step::all());
        }
    }

    fn next_state(&self, seen: &Seen, step: Step) -> Option<Seen> {
        Some(seen.after(step, self.rule, &self.numbers)).filter(|after| after != seen)
    }

    fn within_boundary(&self, seen: &Seen) -> bool {
        seen.machine.level <= LEVELS
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("no step breaks a rule", |_, seen: &Seen| seen.broken.is_none()),
            // Liveness (16), from every state: hold, proofs and a ramp with a patience of two steps each.
            Property::always("good signs bring it back", |model: &Self, seen: &Seen| {
                model.comes_to(seen, &[Event::Tick, Event::Passed, Event::Served], Seen::is_serving, 8 + 3 + 5 * 4 + 1)
            }),
            // The longest cool-off and one validation.
            Property::always("bad signs take it out", |model: &Self, seen: &Seen| {
                model.comes_to(seen, &[Event::Tick, Event::Suspicion, Event::Failed], Seen::is_out, 2 + 3 + 1)
            }),
            Property::sometimes("the highest level", |_, seen: &Seen| seen.machine.level == LEVELS),
            Property::sometimes("back in service at the highest level", |_, seen: &Seen| {
                seen.machine.level == LEVELS && seen.is_serving()
            }),
            Property::sometimes("the last step of the ramp", |_, seen: &Seen| seen.step() == Some(4)),
            Property::sometimes("a failure on the ramp that is forgiven", |_, seen: &Seen| {
                matches!(seen.machine.phase, Phase::Returning { failures: 1, in_a_row: 0, .. })
            }),
            Property::sometimes("a cool-off that has doubled", |_, seen: &Seen| seen.machine.cool_off.span == TICK * 2),
            Property::sometimes("a grey round", |_, seen: &Seen| seen.machine.grey_rounds == 1),
            Property::sometimes("half settled", |_, seen: &Seen| {
                seen.machine.level > 0 && !seen.machine.settled.is_zero()
            }),
            Property::sometimes(
                "enough proofs before the hold is over",
                |_, seen: &Seen| matches!(seen.machine.phase, Phase::Out { hold_until, proofs: 3 } if hold_until > now()),
            ),
        ]
    }
}

#[test]
fn every_reachable_state_of_one_target_keeps_the_rules() {
    let checker = One { rule: Machine::next, numbers: One::small() }.checker().spawn_bfs().join();
    eprintln!(
        "one target: {} states, {} steps, depth {}",
        checker.unique_state_count(),
        checker.state_count(),
        checker.max_depth()
    );
    checker.assert_properties();
    assert!(checker.unique_state_count() > 10_000, "the space has shrunk: {}", checker.unique_state_count());
}
