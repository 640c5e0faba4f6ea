//! Two targets of one route: what a target may do when the other one is out.
use stateright::{Checker, Model, Property};

use super::*;

/// Two targets under everything that can happen to either. What concerns the process, as its own fault, concerns both.
struct Pair {
    rule: Rule,
    numbers: Thresholds,
    /// Targets are told that they are needed whether or not the other one is good.
    careless: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Both {
    targets: [Seen; 2],
    /// Somebody served at once although the other one was good.
    pushed: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Move {
    who: usize,
    step: Step,
}

impl Pair {
    /// Every span is a tick and every count one, so that two targets make a space that can be searched.
    fn smallest() -> Thresholds {
        let sound = Thresholds::default();
        Thresholds {
            detection: Detection { grey: (30, 20, 1), ..sound.detection },
            validation: Validation {
                calls: 1,
                spacing: TICK,
                window: TICK,
                shortest_limit: TICK,
                longest_limit: TICK,
                longest_limit_reasoning: TICK,
                cool_off: (TICK, TICK),
            },
            recovery: Recovery {
                hold: (TICK, TICK),
                proofs: 2,
                step: TICK,
                step_proofs: (1, 1),
                step_failures: (1, 1),
                level_span: TICK,
                ..sound.recovery
            },
            ..sound
        }
        .check()
        .unwrap()
    }

    /// As the router does: whoever is out is told that it is needed once nobody is good.
    fn tell_the_needed(&self, both: &mut Both) {
        for who in 0..2 {
            let other_is_good = !both.targets[1 - who].is_out();
            if both.targets[who].is_out() && (!other_is_good || self.careless) {
                let after = both.targets[who].after(Step::plain(Event::Needed), self.rule, &self.numbers);
                both.pushed |= after.is_serving() && other_is_good;
                both.targets[who] = after;
            }
        }
    }

    fn both_come_back(&self, both: &Both) -> bool {
        let mut both = both.clone();
        // Hold, proofs and a ramp of five steps, each with a patience of two.
        for _ in 0..1 + 2 + 5 * 2 + 1 {
            for event in [Event::Tick, Event::Passed, Event::Served] {
                both.targets = both.targets.map(|seen| seen.after(Step::plain(event), self.rule, &self.numbers));
            }
        }
        both.targets.iter().all(Seen::is_serving)
    }
}

impl Model for Pair {
    type State = Both;
    type Action = Move;

    fn init_states(&self) -> Vec<Both> {
        vec![Both { targets: [Seen::new(&self.numbers), Seen::new(&self.numbers)], pushed: false }]
    }

    fn actions(&self, both: &Both, moves: &mut Vec<Move>) {
        if both.pushed || both.targets.iter().any(|seen| seen.broken.is_some()) {
            return;
        }
        for who in 0..2 {
            let theirs = Step::different().into_iter();
            // Time passes for both at once.
            let theirs = theirs.filter(|step| who == 0 || step.event != Event::Tick);
            moves.extend(theirs.map(|step| Move { who, step }));
        }
    }

    fn next_state(&self, both: &Both, Move { who, step }: Move) -> Option<Both> {
        let mut after = both.clone();
        after.targets[who] = both.targets[who].after(step, self.rule, &self.numbers);
        if step.event == Event::Tick {
            after.targets[1 - who] = both.targets[1 - who].after(step, self.rule, &self.numbers);
        }
        self.tell_the_needed(&mut after);
        (after != *both).then_some(after)
    }

    fn within_boundary(&self, both: &Both) -> bool {
        both.targets.iter().all(|seen| seen.machine.level <= LEVELS)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("no step breaks a rule", |_, both: &Both| {
                both.targets.iter().all(|seen| seen.broken.is_none())
            }),
            Property::always("hold and ramp are skipped only where nobody else is good", |_, both: &Both| !both.pushed),
            Property::always("with nobody good, whoever is proven twice serves (23)", |_, both: &Both| {
                let proven = |seen: &Seen| matches!(seen.machine.phase, Phase::Out { proofs, .. } if proofs >= 2);
                !both.targets.iter().all(Seen::is_out) || !both.targets.iter().any(proven)
            }),
            Property::always("good signs bring both back once both are out", |model: &Self, both: &Both| {
                !both.targets.iter().all(Seen::is_out) || model.both_come_back(both)
            }),
            Property::sometimes("both are out", |_, both: &Both| both.targets.iter().all(Seen::is_out)),
            Property::sometimes("both return", |_, both: &Both| both.targets.iter().all(|seen| seen.step().is_some())),
            Property::sometimes("one is out for the third time while the other serves", |_, both: &Both| {
                let [first, second] = &both.targets;
                first.is_out() && first.machine.level == LEVELS && second.is_serving()
            }),
            Property::sometimes("the primary is nearly back while the standby is out", |_, both: &Both| {
                both.targets[0].step() == Some(4) && both.targets[1].is_out()
            }),
        ]
    }
}

#[test]
fn every_reachable_state_of_two_targets_keeps_the_rules() {
    let model = Pair { rule: Machine::next, numbers: Pair::smallest(), careless: false };
    let checker = model.checker().spawn_bfs().join();
    eprintln!(
        "two targets: {} states, {} steps, depth {}",
        checker.unique_state_count(),
        checker.state_count(),
        checker.max_depth()
    );
    checker.assert_properties();
    assert!(checker.unique_state_count() > 10_000, "the space has shrunk: {}", checker.unique_state_count());
}

#[test]
fn a_router_that_needs_targets_carelessly_is_found_out() {
    let model = Pair { rule: Machine::next, numbers: Pair::smallest(), careless: true };
    let checker = model.checker().finish_when(stateright::HasDiscoveries::AnyFailures).spawn_bfs().join();
    checker.assert_any_discovery("hold and ramp are skipped only where nobody else is good");
}
