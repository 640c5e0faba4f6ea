//! The transition table: from, signal and circumstances to standing and cause, a row each, with the default numbers.
use super::*;
use crate::router::standing::{CoolOff, HIGHEST_LEVEL, Traffic, Verdict};

const PASSED: Signal = tested(Verdict::Passed);
const FAILED: Signal = tested(Verdict::Failed("unavailable"));
const THROTTLED: Signal = tested(Verdict::Throttled);
const VOID: Signal = tested(Verdict::Void);

const CALM: Circumstances =
    Circumstances { traffic: Traffic::Sound, failing: false, own_fault: false, jitter: 0, reasoning: false };
const FAILING: Circumstances = Circumstances { failing: true, ..CALM };
const OWN_FAULT: Circumstances = Circumstances { own_fault: true, ..CALM };
const GREY: Circumstances = Circumstances { traffic: Traffic::Grey { failed: 9, attempts: 20 }, ..CALM };
const QUIET: Circumstances = Circumstances { traffic: Traffic::TooLittle, ..CALM };
const GREY_BUT_OURS: Circumstances = Circumstances { own_fault: true, ..GREY };

/// Test calls belong to epoch 5, where every row begins.
const fn tested(verdict: Verdict) -> Signal {
    Signal::Tested { epoch: 5, verdict }
}

fn suspicion() -> Signal {
    Signal::Suspicion(Suspicion::Consecutive { failures: 5, last: "unavailable" })
}

fn now() -> Moment {
    at(10_000)
}

/// In this phase since a minute.
fn machine(level: u8, phase: Phase) -> Machine {
    let numbers = Thresholds::default();
    Machine { phase, level, epoch: 5, since: now() - secs(60), ..Machine::new(now(), &numbers) }
}

fn serving() -> Machine {
    machine(0, Phase::Serving)
}

fn cooling_off() -> Machine {
    Machine { cool_off: CoolOff { span: secs(10), until: now() + Duration::from_nanos(1) }, ..serving() }
}

/// With so many failed test calls, and so many seconds left.
fn suspected(failed: u8, left: u64) -> Machine {
    machine(0, Phase::Suspected { failed, ends: now() + secs(left) })
}

fn after_grey_rounds(grey_rounds: u8) -> Machine {
    Machine { grey_rounds, ..suspected(0, 3) }
}

fn out(proofs: u8, hold_left: u64) -> Machine {
    machine(2, Phase::Out { hold_until: now() + secs(hold_left), proofs })
}

/// On the step for so many seconds, with live calls and test calls that went well, failures, and failures in a row.
fn returning(step: u8, entered: u64, live: u8, deep: u8, failures: u8, in_a_row: u8) -> Machine {
    machine(2, Phase::Returning { step, entered: now() - secs(entered), live, deep, failures, in_a_row })
}

fn tell(standing: Standing, cause: Option<Cause>) -> String {
    let place = match standing {
        Standing::Out { level } => format!("out at level {level}"),
        Standing::Returning { step } => format!("returning on step {step}"),
        other => other.as_str().to_owned(),
    };
    cause.map_or_else(|| format!("{place}, as before"), |cause| format!("{place}: {cause}"))
}

#[test]
fn from_serving() {
    check(&[
        (serving(), suspicion(), CALM, "suspected: 5 failures in a row, the last: unavailable"),
        (serving(), suspicion(), OWN_FAULT, "serving, as before"),
        (cooling_off(), suspicion(), CALM, "serving, as before"),
        (cooling_off(), Signal::Ordered("a look".into()), CALM, "suspected: an operator ordered a validation: a look"),
        (serving(), Signal::Ordered("a look".into()), OWN_FAULT, "suspected: an operator ordered a validation: a look"),
        (
            serving(),
            Signal::ResourceDown,
            CALM,
            "out at level 1: validating another target found the whole resource down",
        ),
        (serving(), Signal::ResourceDown, OWN_FAULT, "serving, as before"),
        (serving(), PASSED, CALM, "serving, as before"),
        (serving(), FAILED, CALM, "serving, as before"),
        (serving(), THROTTLED, CALM, "serving, as before"),
        (serving(), VOID, CALM, "serving, as before"),
        (serving(), PASSED, GREY, "serving, as before"),
        (serving(), Signal::LiveServed, CALM, "serving, as before"),
        (serving(), Signal::LiveFailed, CALM, "serving, as before"),
        (serving(), Signal::Needed, CALM, "serving, as before"),
        (serving(), Signal::Tick, CALM, "serving, as before"),
    ]);
}

#[test]
fn from_suspected() {
    check(&[
        (suspected(2, 3), PASSED, CALM, "serving: a test call passed"),
        (suspected(0, 3), PASSED, OWN_FAULT, "serving: a test call passed"),
        (suspected(2, 3), THROTTLED, CALM, "serving: a test call was throttled: alive, only busy"),
        (suspected(2, 3), VOID, CALM, "serving: the test call itself was refused, so it says nothing; see the alarms"),
        (suspected(0, 3), FAILED, CALM, "suspected, as before"),
        (suspected(1, 3), FAILED, CALM, "suspected, as before"),
        (suspected(2, 3), FAILED, CALM, "out at level 1: all 3 test calls failed, the last: unavailable"),
        (
            suspected(2, 3),
            FAILED,
            OWN_FAULT,
            "serving: no resource is reachable from here: the fault is this service's own",
        ),
        (suspected(0, 1), Signal::Tick, CALM, "suspected, as before"),
        (suspected(0, 0), Signal::Tick, CALM, "out at level 1: all 3 test calls failed, the last: unanswered"),
        (
            suspected(0, 0),
            Signal::Tick,
            OWN_FAULT,
            "serving: no resource is reachable from here: the fault is this service's own",
        ),
        (
            suspected(0, 3),
            Signal::ResourceDown,
            CALM,
            "out at level 1: validating another target found the whole resource down",
        ),
        (suspected(0, 3), Signal::ResourceDown, OWN_FAULT, "suspected, as before"),
        (suspected(2, 0), suspicion(), CALM, "suspected, as before"),
        (suspected(2, 0), Signal::Ordered("a look".into()), CALM, "suspected, as before"),
        (suspected(2, 0), Signal::LiveServed, CALM, "suspected, as before"),
        (suspected(2, 0), Signal::LiveFailed, CALM, "suspected, as before"),
        (suspected(2, 0), Signal::Needed, CALM, "suspected, as before"),
    ]);
}

#[test]
fn from_suspected_while_test_calls_pass_and_traffic_fails() {
    let grey = "out at level 1: 9 of 20 attempts failed here and succeeded elsewhere, although test calls passed in 3 \
                rounds";
    check(&[
        (after_grey_rounds(0), PASSED, GREY, "serving: a test call passed"),
        (after_grey_rounds(1), PASSED, GREY, "serving: a test call passed"),
        (after_grey_rounds(2), PASSED, GREY, grey),
        (after_grey_rounds(2), PASSED, CALM, "serving: a test call passed"),
        (after_grey_rounds(2), PASSED, QUIET, "serving: a test call passed"),
        (after_grey_rounds(2), PASSED, GREY_BUT_OURS, "serving: a test call passed"),
        (after_grey_rounds(2), THROTTLED, GREY, "serving: a test call was throttled: alive, only busy"),
        (after_grey_rounds(2), FAILED, GREY, "suspected, as before"),
    ]);
    let rounds = |machine: Machine, around| machine.next(&PASSED, around, now(), &Thresholds::default()).0.grey_rounds;
    assert_eq!(rounds(after_grey_rounds(1), GREY), 2, "another grey round");
    assert_eq!(rounds(after_grey_rounds(2), CALM), 0, "traffic has recovered");
    assert_eq!(rounds(after_grey_rounds(2), QUIET), 2, "too little of it says nothing");
    assert_eq!(rounds(after_grey_rounds(2), GREY_BUT_OURS), 2);
    assert_eq!(rounds(after_grey_rounds(2), GREY), 0, "it went out, and begins anew");
}

#[test]
fn from_out() {
    check(&[
        (
            out(5, 0),
            PASSED,
            CALM,
            "returning on step 0: now 1 % of unpinned work: the hold is over and 6 test calls in a row passed",
        ),
        (out(5, 1), PASSED, CALM, "out at level 2, as before"),
        (out(4, 0), PASSED, CALM, "out at level 2, as before"),
        (out(6, 0), Signal::Tick, CALM, "out at level 2, as before"),
        (out(5, 0), FAILED, CALM, "out at level 2, as before"),
        (out(5, 0), THROTTLED, CALM, "out at level 2, as before"),
        (out(5, 0), VOID, CALM, "out at level 2, as before"),
        (out(2, 50), Signal::Needed, CALM, "serving: no good target was left, and 2 test calls in a row passed here"),
        (out(1, 0), Signal::Needed, CALM, "out at level 2, as before"),
        (out(5, 0), Signal::Ordered("a look".into()), CALM, "out at level 2, as before"),
        (out(5, 0), suspicion(), CALM, "out at level 2, as before"),
        (out(5, 0), Signal::ResourceDown, CALM, "out at level 2, as before"),
        (out(5, 0), Signal::LiveServed, CALM, "out at level 2, as before"),
        (out(5, 0), Signal::LiveFailed, CALM, "out at level 2, as before"),
    ]);
    let proofs = |signal| match out(4, 9).next(&signal, CALM, now(), &Thresholds::default()).0.phase {
        Phase::Out { proofs, .. } => proofs,
        other => panic!("{other:?}"),
    };
    assert_eq!(proofs(PASSED), 5);
    assert_eq!(proofs(FAILED), 0, "six in a row");
    assert_eq!(proofs(THROTTLED), 4, "busy proves nothing either way");
    assert_eq!(proofs(VOID), 4);
}

#[test]
fn from_returning() {
    let relapsed = |failures: u8| format!("out at level 3: trouble while returning: {failures} failures on one step");
    check(&[
        // Five live calls or three test calls prove a step that was held for 30 s.
        (
            returning(0, 30, 4, 0, 0, 0),
            Signal::LiveServed,
            CALM,
            "returning on step 1: now 5 % of unpinned work: 5 live calls went well",
        ),
        (
            returning(2, 30, 0, 2, 0, 0),
            PASSED,
            CALM,
            "returning on step 3: now 50 % of unpinned work: 3 test calls went well",
        ),
        (
            returning(3, 30, 5, 0, 0, 0),
            Signal::Tick,
            CALM,
            "returning on step 4: now 100 % of unpinned work: 5 live calls went well",
        ),
        (returning(4, 30, 5, 0, 0, 0), Signal::Tick, CALM, "serving: every step of the return went well"),
        (returning(0, 29, 9, 9, 0, 0), Signal::Tick, CALM, "returning on step 0, as before"),
        (returning(0, 99, 4, 2, 0, 0), Signal::Tick, CALM, "returning on step 0, as before"),
        // A failure that was survived asks for twice the patience.
        (returning(1, 59, 5, 0, 1, 0), Signal::Tick, CALM, "returning on step 1, as before"),
        (
            returning(1, 60, 5, 0, 1, 0),
            Signal::Tick,
            CALM,
            "returning on step 2: now 20 % of unpinned work: 5 live calls went well",
        ),
        // Two failures in a row, or three altogether, end it.
        (returning(0, 9, 0, 0, 0, 0), Signal::LiveFailed, CALM, "returning on step 0, as before"),
        (returning(0, 9, 0, 0, 1, 1), Signal::LiveFailed, CALM, &relapsed(2)),
        (returning(0, 9, 0, 0, 1, 1), FAILED, CALM, &relapsed(2)),
        (returning(0, 9, 0, 0, 1, 0), FAILED, CALM, "returning on step 0, as before"),
        (returning(0, 9, 0, 0, 2, 0), FAILED, CALM, &relapsed(3)),
        (
            returning(4, 9, 0, 0, 0, 0),
            suspicion(),
            CALM,
            "out at level 3: trouble while returning: 5 failures in a row, the last: unavailable",
        ),
        (returning(4, 9, 0, 0, 0, 0), Signal::ResourceDown, CALM, &relapsed(0)),
        (returning(4, 9, 0, 0, 2, 1), FAILED, OWN_FAULT, "returning on step 4, as before"),
        (returning(4, 9, 0, 0, 0, 0), suspicion(), OWN_FAULT, "returning on step 4, as before"),
        (returning(0, 99, 9, 9, 0, 0), Signal::Tick, OWN_FAULT, "returning on step 0, as before"),
        (returning(0, 9, 0, 0, 2, 1), THROTTLED, CALM, "returning on step 0, as before"),
        (returning(0, 9, 0, 0, 2, 1), VOID, CALM, "returning on step 0, as before"),
        (returning(0, 9, 0, 0, 2, 1), Signal::Needed, CALM, "returning on step 0, as before"),
        (returning(0, 9, 0, 0, 2, 1), Signal::Ordered("a look".into()), CALM, "returning on step 0, as before"),
    ]);
    let evidence = |signal, around| returning(0, 9, 1, 1, 1, 1).next(&signal, around, now(), &Thresholds::default()).0;
    assert_eq!(evidence(Signal::LiveServed, CALM), returning(0, 9, 2, 1, 1, 0), "a success ends the row");
    assert_eq!(evidence(PASSED, CALM), returning(0, 9, 1, 2, 1, 0));
    assert_eq!(evidence(Signal::LiveFailed, OWN_FAULT), returning(0, 9, 1, 1, 1, 1), "not theirs");
}

type Row<'a> = (Machine, Signal, Circumstances, &'a str);

fn check(rows: &[Row]) {
    for (from, signal, around, expected) in rows {
        let (after, cause) = from.next(signal, *around, now(), &Thresholds::default());
        let moved = cause.is_some();
        assert_eq!(tell(after.standing(), cause), *expected, "{from:?} {signal:?} {around:?}");
        assert_eq!(after.epoch, 5 + u64::from(moved), "the epoch grows with every change: {from:?} {signal:?}");
        // Steps of one return are one stay.
        let same_stay = matches!((from.phase, after.phase), (Phase::Returning { .. }, Phase::Returning { .. }));
        assert_eq!(after.since == now(), moved && !same_stay, "{from:?} {signal:?}");
        // The same result from another epoch changes nothing at all.
        if let Signal::Tested { verdict, .. } = signal {
            for epoch in [4, 6] {
                let late = Signal::Tested { epoch, verdict: *verdict };
                assert_eq!(from.next(&late, *around, now(), &Thresholds::default()), (from.clone(), None), "{late:?}");
            }
        }
    }
}

#[test]
fn the_hold_doubles_with_the_level_up_to_its_cap_and_is_jittered() {
    let numbers = Thresholds::default();
    let mut machine = machine(0, Phase::Serving);
    let mut holds = vec![];
    for _ in 0..12 {
        machine = machine.next(&Signal::ResourceDown, CALM, now(), &numbers).0;
        let Phase::Out { hold_until, proofs: 0 } = machine.phase else { panic!("{machine:?}") };
        holds.push((machine.level, hold_until.since(now()).as_secs()));
        machine.phase = Phase::Serving;
    }
    let doubled = [(1, 60), (2, 120), (3, 240), (4, 480), (5, 960), (6, 1800), (7, 1800), (8, 1800), (9, 1800)];
    assert_eq!(holds[..9], doubled);
    assert_eq!(holds[9..], [(HIGHEST_LEVEL, 1800); 3]);
    for (jitter, hold) in [(-2000, 54.0), (-1000, 54.0), (-500, 57.0), (0, 60.0), (1000, 66.0), (2000, 66.0)] {
        let held = numbers.recovery.hold_at(1, jitter).as_secs_f64();
        assert!((held - hold).abs() < 1e-6, "{jitter}: {held}");
    }
    assert_eq!(numbers.recovery.hold_at(0, 0), secs(60), "no stay is shorter");
}

#[test]
fn the_cool_off_doubles_while_traffic_is_well_and_begins_anew_after_a_calm() {
    let numbers = Thresholds::default();
    let mut machine = machine(0, Phase::Serving);
    let mut at = now();
    let mut round = |around: Circumstances, pause: u64| {
        at = at + secs(pause);
        machine = machine.next(&suspicion(), CALM, at, &numbers).0;
        assert!(matches!(machine.phase, Phase::Suspected { .. }));
        let passed = Signal::Tested { epoch: machine.epoch, verdict: Verdict::Passed };
        machine = machine.next(&passed, around, at, &numbers).0;
        let span = machine.cool_off.until.since(at);
        at = machine.cool_off.until;
        span.as_secs()
    };
    let doubled: Vec<_> = (0..6).map(|_| round(CALM, 0)).collect();
    assert_eq!(doubled, [5, 10, 20, 40, 60, 60]);
    assert_eq!(round(CALM, 60), 60, "a minute of calm is not yet long");
    assert_eq!(round(CALM, 61), 5, "a longer one is");
    assert_eq!(round(FAILING, 0), 10);
    assert_eq!(round(FAILING, 0), 10, "while most calls fail the next look comes as soon");
    assert_eq!(round(GREY, 0), 10, "or many of them, and are rescued");
    assert_eq!(round(OWN_FAULT, 0), 10, "and our own trouble says nothing of theirs");
    assert_eq!(round(CALM, 0), 10);
    assert_eq!(round(CALM, 0), 20);
}

#[test]
fn a_stay_out_resets_cool_off_grey_rounds_and_settled_time() {
    let before = Machine { grey_rounds: 2, settled: secs(9), ..cooling_off() };
    let after = before.next(&Signal::ResourceDown, CALM, now(), &Thresholds::default()).0;
    assert_eq!((after.grey_rounds, after.settled), (0, Duration::ZERO));
    assert_eq!(after.cool_off, CoolOff { span: secs(5), until: now() });
}

#[test]
fn a_series_of_validations_ends_with_a_calm() {
    let numbers = Thresholds::default();
    for (cooled, epoch, rounds) in [(60, 5, 2), (61, 5, 0), (0, 0, 0)] {
        let cool_off = CoolOff { span: secs(5), until: now() - secs(cooled) };
        let before = Machine { grey_rounds: 2, cool_off, epoch, ..serving() };
        let after = before.next(&suspicion(), CALM, now(), &numbers).0;
        assert_eq!(after.grey_rounds, rounds, "cooled off {cooled} s ago, epoch {epoch}");
    }
}

#[test]
fn the_level_falls_by_one_with_every_half_hour_of_settled_traffic() {
    let numbers = Thresholds::default();
    // One live call every `gap` seconds for `hours`.
    let level_after = |gap: u64, hours: u64| {
        let mut machine = Machine { since: now(), last_live: now(), ..machine(3, Phase::Serving) };
        for call in 1..=hours * 3600 / gap {
            machine = machine.next(&Signal::LiveServed, CALM, now() + secs(call * gap), &numbers).0;
        }
        machine.level
    };
    assert_eq!(level_after(1, 1), 1);
    assert_eq!(level_after(60, 1), 1);
    assert_eq!(level_after(60, 9), 0);
    assert_eq!(level_after(61, 9), 3, "time between rare calls is idle time");
    let idle = Machine { since: now() - secs(90_000), last_live: now() - secs(90_000), ..machine(3, Phase::Serving) };
    assert_eq!(idle.next(&Signal::LiveServed, CALM, now(), &numbers).0.settled, Duration::ZERO);
    // Time before it began to serve is not settled time, however long ago its last call was.
    let back = Machine { since: now() - secs(2), last_live: now() - secs(30), ..machine(3, Phase::Serving) };
    assert_eq!(back.next(&Signal::LiveServed, CALM, now(), &numbers).0.settled, secs(2));
}

#[test]
fn a_validation_of_a_reasoning_model_lasts_longer() {
    let numbers = Thresholds::default();
    let ends = |around| match serving().next(&suspicion(), around, now(), &numbers).0.phase {
        Phase::Suspected { failed: 0, ends } => ends.since(now()),
        other => panic!("{other:?}"),
    };
    assert_eq!(ends(CALM), secs(6));
    assert_eq!(ends(Circumstances { reasoning: true, ..CALM }), secs(33), "three calls, a second apart, of 30 s");
    assert_eq!(numbers.validation.longest_round(true), secs(33));
}

#[test]
fn a_restored_machine_is_out_for_what_is_left_of_its_hold() {
    let numbers = Thresholds::default();
    for (level, hold_left, level_then, hold_then) in [(2, 40, 2, 40), (0, 0, 1, 0), (99, 99_999, HIGHEST_LEVEL, 3600)] {
        let machine = Machine::restored(level, secs(hold_left), now() - secs(7), now(), &numbers);
        assert_eq!((machine.level, machine.since), (level_then, now() - secs(7)));
        assert_eq!(machine.phase, Phase::Out { hold_until: now() + secs(hold_then), proofs: 0 });
    }
}
