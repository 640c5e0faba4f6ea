//! Rules broken on purpose: the checker must find each of them out.
use stateright::{Checker, HasDiscoveries, Model};

use super::{one::One, *};

/// What is broken, how, the property that fails, and the rule behind it.
type Broken = (&'static str, Rule, &'static str, &'static str);

const RULE: &str = "no step breaks a rule";

const BROKEN: [Broken; 13] = [
    (
        "hold of zero",
        |machine, signal, around, now, numbers| {
            let mut numbers = numbers.clone();
            numbers.recovery.hold.0 = Duration::ZERO;
            machine.next(signal, around, now, &numbers)
        },
        RULE,
        "a return begins after the hold",
    ),
    (
        "a hold that never grows",
        |machine, signal, around, now, numbers| {
            let mut numbers = numbers.clone();
            numbers.recovery.hold.1 = numbers.recovery.hold.0;
            machine.next(signal, around, now, &numbers)
        },
        RULE,
        "a return begins after the hold",
    ),
    (
        "a ramp that skips a step",
        |machine, signal, around, now, numbers| {
            let (mut next, cause) = machine.next(signal, around, now, numbers);
            if let (Some(Cause::StepProven { .. }), Phase::Returning { step, .. }) = (&cause, &mut next.phase) {
                *step = (*step + 1).min(4);
            }
            (next, cause)
        },
        RULE,
        "the ramp is climbed step by step",
    ),
    (
        "a ramp without patience",
        |machine, signal, around, now, numbers| {
            let mut numbers = numbers.clone();
            numbers.recovery.step = Duration::ZERO;
            machine.next(signal, around, now, &numbers)
        },
        RULE,
        "the ramp is climbed step by step",
    ),
    (
        "results of an old epoch count",
        |machine, signal, around, now, numbers| match signal {
            Signal::Tested { verdict, .. } => {
                machine.next(&Signal::Tested { epoch: machine.epoch, verdict: *verdict }, around, now, numbers)
            }
            other => machine.next(other, around, now, numbers),
        },
        RULE,
        "a result of an old epoch changes nothing",
    ),
    (
        "one failed test call is enough",
        |machine, signal, around, now, numbers| {
            let mut numbers = numbers.clone();
            numbers.validation.calls = 1;
            machine.next(signal, around, now, &numbers)
        },
        RULE,
        "nobody goes out without a verdict",
    ),
    (
        "a validation without end",
        |machine, signal, around, now, numbers| match (machine.phase, signal) {
            (Phase::Suspected { .. }, Signal::Tick) => (machine.clone(), None),
            _ => machine.next(signal, around, now, numbers),
        },
        RULE,
        "a validation ends with its window",
    ),
    (
        "no cool-off",
        |machine, signal, around, now, numbers| {
            let (mut next, cause) = machine.next(signal, around, now, numbers);
            next.cool_off.until = now;
            (next, cause)
        },
        RULE,
        "no suspicion before the cool-off is over",
    ),
    (
        "our own fault is blamed on targets",
        |machine, signal, around, now, numbers| {
            machine.next(signal, Circumstances { own_fault: false, ..around }, now, numbers)
        },
        RULE,
        "our own fault is not held against a target",
    ),
    (
        "test calls lower the level",
        |machine, signal, around, now, numbers| {
            let (mut next, cause) = machine.next(signal, around, now, numbers);
            let passed = Signal::Tested { epoch: machine.epoch, verdict: Verdict::Passed };
            if *signal == passed && machine.phase == Phase::Serving {
                next.level = next.level.saturating_sub(1);
            }
            (next, cause)
        },
        RULE,
        "the level falls only through settled live traffic",
    ),
    (
        "a level that never rises",
        |machine, signal, around, now, numbers| {
            let (mut next, cause) = machine.next(signal, around, now, numbers);
            next.level = next.level.min(machine.level.max(1));
            (next, cause)
        },
        RULE,
        "the level rises by one with every stay out",
    ),
    (
        "one proof is enough where a target is needed",
        |machine, signal, around, now, numbers| {
            let (mut eager, mut cause) = machine.next(signal, around, now, numbers);
            if let (Phase::Out { proofs: 1.., .. }, Signal::Needed) = (machine.phase, signal) {
                eager = Machine { phase: Phase::Serving, since: now, epoch: machine.epoch + 1, ..machine.clone() };
                cause = Some(Cause::NoGoodTargetLeft { proofs: 1 });
            }
            (eager, cause)
        },
        RULE,
        "one that is out serves at once only",
    ),
    (
        "a return that never ends",
        |machine, signal, around, now, numbers| match machine.next(signal, around, now, numbers) {
            (_, Some(Cause::Returned)) => (machine.clone(), None),
            other => other,
        },
        "good signs bring it back",
        "",
    ),
];

#[test]
fn every_broken_rule_is_found_out() {
    for (name, rule, property, broken) in BROKEN {
        let checker = One { rule, numbers: One::small() }.checker().finish_when(HasDiscoveries::AnyFailures);
        let checker = checker.spawn_bfs().join();
        let path = checker.discovery(property).unwrap_or_else(|| panic!("{name}: nothing was found"));
        let found = path.last_state().broken.unwrap_or_default();
        assert!(found.starts_with(broken), "{name}: found {found:?} instead");
        eprintln!("{name}: not so: {property}: {found}");
    }
}
