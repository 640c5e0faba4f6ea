//! Every number of the router: the last one that makes sense and the first one that does not.
use super::*;

/// The field that is complained of, if any.
fn refused(change: impl Fn(&mut Thresholds)) -> Option<&'static str> {
    let mut numbers = Thresholds::default();
    change(&mut numbers);
    numbers.check().err().map(|error| error.field)
}

#[test]
fn a_span_of_less_than_a_millisecond_is_refused_by_name() {
    type Span = fn(&mut Thresholds) -> &mut Duration;
    let spans: [(&str, Span); 29] = [
        ("first_content_floor", |it| &mut it.first_content_floor),
        ("first_content_reasoning", |it| &mut it.first_content_reasoning),
        ("unary_reply", |it| &mut it.unary_reply),
        ("stall", |it| &mut it.stall),
        ("stall_reasoning", |it| &mut it.stall_reasoning),
        ("cooling", |it| &mut it.cooling.0),
        ("retry_pause", |it| &mut it.retry_pause),
        ("detection.ratio_window", |it| &mut it.detection.ratio_window),
        ("detection.silence", |it| &mut it.detection.silence.0),
        ("detection.silence_window", |it| &mut it.detection.silence_window),
        ("detection.slow", |it| &mut it.detection.slow.0),
        ("detection.slow_window", |it| &mut it.detection.slow_window),
        ("detection.unexpected_window", |it| &mut it.detection.unexpected_window),
        ("detection.own_fault_window", |it| &mut it.detection.own_fault_window),
        ("detection.grey_window", |it| &mut it.detection.grey_window),
        ("validation.spacing", |it| &mut it.validation.spacing),
        ("validation.shortest_limit", |it| &mut it.validation.shortest_limit),
        ("validation.cool_off", |it| &mut it.validation.cool_off.0),
        ("recovery.hold", |it| &mut it.recovery.hold.0),
        ("recovery.step", |it| &mut it.recovery.step),
        ("recovery.level_span", |it| &mut it.recovery.level_span),
        ("testing.comparison_interval", |it| &mut it.testing.comparison_interval),
        ("testing.cheap_interval", |it| &mut it.testing.cheap_interval),
        ("testing.deep_interval", |it| &mut it.testing.deep_interval),
        ("testing.return_interval", |it| &mut it.testing.return_interval),
        ("testing.unproven", |it| &mut it.testing.unproven),
        ("hedging.delay", |it| &mut it.hedging.delay),
        ("affinity.idle", |it| &mut it.affinity.idle),
        ("affinity.age", |it| &mut it.affinity.age),
    ];
    for (field, span) in spans {
        assert_eq!(refused(|it| *span(it) = Duration::from_micros(999)), Some(field));
        let shortest = refused(|it| *span(it) = Duration::from_millis(1));
        // A standby cannot be called unproven before anybody has had time to prove it.
        assert_eq!(shortest, (field == "testing.unproven").then_some("testing.unproven"), "{field}");
    }
}

#[test]
fn numbers_at_their_bounds() {
    type Change = fn(&mut Thresholds);
    let rows: [(&str, Change, Change); 38] = [
        ("cooling", |it| it.cooling = (secs(5), secs(5)), |it| it.cooling = (secs(6), secs(5))),
        ("attempt_share_percent", |it| it.attempt_share_percent = 10, |it| it.attempt_share_percent = 9),
        ("attempt_share_percent", |it| it.attempt_share_percent = 90, |it| it.attempt_share_percent = 91),
        ("retry_budget_percent", |it| it.retry_budget_percent = 100, |it| it.retry_budget_percent = 101),
        ("retries", |it| it.retries = 5, |it| it.retries = 6),
        ("concurrency", |it| it.concurrency = 1, |it| it.concurrency = 0),
        ("testing.jitter_percent", |it| it.testing.jitter_percent = 50, |it| it.testing.jitter_percent = 51),
        ("testing.unproven", |it| it.testing.unproven = secs(60), |it| it.testing.unproven = secs(59)),
        (
            "pacing.bulk_reserve_percent",
            |it| it.pacing.bulk_reserve_percent = 90,
            |it| it.pacing.bulk_reserve_percent = 91,
        ),
        ("hedging.share_percent", |it| it.hedging.share_percent = 1, |it| it.hedging.share_percent = 0),
        ("hedging.share_percent", |it| it.hedging.share_percent = 100, |it| it.hedging.share_percent = 101),
        ("affinity.capacity", |it| it.affinity.capacity = 1, |it| it.affinity.capacity = 0),
        ("detection.consecutive", |it| it.detection.consecutive = 1, |it| it.detection.consecutive = 0),
        ("detection.silent_attempts", |it| it.detection.silent_attempts = 1, |it| it.detection.silent_attempts = 0),
        ("detection.silent_attempts", |it| it.detection.silent_attempts = 32, |it| it.detection.silent_attempts = 33),
        ("detection.unexpected", |it| it.detection.unexpected = 1, |it| it.detection.unexpected = 0),
        ("detection.silent_attempts", |it| it.detection.unexpected = 32, |it| it.detection.unexpected = 33),
        ("detection.idle_failures", |it| it.detection.idle_failures = 1, |it| it.detection.idle_failures = 0),
        ("detection.alternating", |it| it.detection.alternating.0 = 1, |it| it.detection.alternating.0 = 0),
        ("detection.ratio_few", |it| it.detection.ratio_few = (1, 1), |it| it.detection.ratio_few = (0, 1)),
        ("detection.ratio_few", |it| it.detection.ratio_few = (100, 1), |it| it.detection.ratio_few = (101, 1)),
        ("detection.ratio_many", |it| it.detection.ratio_many = (1, 1), |it| it.detection.ratio_many = (1, 0)),
        ("detection.slow_ratio", |it| it.detection.slow_ratio = (1, 1), |it| it.detection.slow_ratio = (1, 0)),
        ("detection.grey", |it| it.detection.grey = (1, 1, 1), |it| it.detection.grey = (1, 0, 1)),
        ("detection.grey", |it| it.detection.grey = (100, 1, 1), |it| it.detection.grey = (100, 1, 0)),
        ("validation.calls", |it| it.validation.calls = 1, |it| it.validation.calls = 0),
        ("validation.calls", |it| set_calls(it, 10), |it| set_calls(it, 11)),
        (
            "validation.longest_limit",
            |it| it.validation.shortest_limit = secs(3),
            |it| it.validation.shortest_limit = secs(4),
        ),
        (
            "validation.longest_limit",
            |it| it.validation.longest_limit = secs(30),
            |it| it.validation.longest_limit = secs(31),
        ),
        // Two spacings of a second and the shortest limit of one.
        (
            "validation.window",
            |it| it.validation.window = secs(3),
            |it| it.validation.window = Duration::from_millis(2999),
        ),
        ("validation.cool_off", |it| it.validation.cool_off.0 = secs(60), |it| it.validation.cool_off.0 = secs(61)),
        ("recovery.hold", |it| it.recovery.hold.0 = secs(1800), |it| it.recovery.hold.0 = secs(1801)),
        (
            "recovery.hold_jitter_percent",
            |it| it.recovery.hold_jitter_percent = 50,
            |it| it.recovery.hold_jitter_percent = 51,
        ),
        ("recovery.proofs", |it| it.recovery.proofs = 1, |it| it.recovery.proofs = 0),
        ("recovery.proofs", |it| it.recovery.step_proofs = (1, 1), |it| it.recovery.step_proofs = (0, 1)),
        ("recovery.proofs", |it| it.recovery.step_proofs = (1, 1), |it| it.recovery.step_proofs = (1, 0)),
        ("recovery.step_failures", |it| it.recovery.step_failures = (1, 1), |it| it.recovery.step_failures = (0, 1)),
        ("recovery.step_failures", |it| it.recovery.step_failures = (3, 3), |it| it.recovery.step_failures = (4, 3)),
    ];
    for (field, sound, unsound) in rows {
        assert_eq!(refused(sound), None, "{field}");
        assert_eq!(refused(unsound), Some(field));
    }
}

fn set_calls(numbers: &mut Thresholds, calls: u8) {
    numbers.validation.calls = calls;
    numbers.validation.window = secs(60);
}

#[test]
fn a_ramp_rises_from_above_nothing_to_everything() {
    for (ramp, sound) in [
        ([1, 5, 20, 50, 100], true),
        ([1, 2, 3, 4, 100], true),
        ([0, 5, 20, 50, 100], false),
        ([1, 5, 20, 50, 99], false),
        ([1, 5, 5, 50, 100], false),
        ([5, 1, 20, 50, 100], false),
    ] {
        assert_eq!(refused(|it| it.recovery.ramp = ramp).is_none(), sound, "{ramp:?}");
    }
}

#[test]
fn a_quicker_world_divides_holds_and_intervals_and_leaves_the_rest() {
    let (usual, quick) = (Thresholds::default(), Thresholds::default().quickened(12));
    assert_eq!(quick.recovery.hold, (secs(5), secs(150)));
    assert_eq!(quick.recovery.step, Duration::from_millis(2500));
    assert_eq!(quick.testing.deep_interval, secs(5));
    assert_eq!((quick.detection.clone(), quick.stall), (usual.detection.clone(), usual.stall));
    assert_eq!(quick.recovery.ramp, usual.recovery.ramp);
    assert!(quick.check().is_ok());
    assert_eq!(Thresholds::default().quickened(0), usual, "zero times quicker is no quicker");
    assert_eq!(
        Thresholds::default().quickened(u32::MAX).recovery.step,
        Duration::from_millis(1),
        "and nothing is zero"
    );
}

#[test]
fn a_refusal_names_the_field_and_what_it_must_be() {
    let error = Thresholds { concurrency: 0, ..Thresholds::default() }.check().unwrap_err();
    assert_eq!(error.to_string(), "concurrency must be at least 1");
}

#[test]
fn chance_is_splitmix64_and_the_ramp_is_the_same_in_every_release() {
    // The first output of the published generator for seed 0.
    assert_eq!(scramble(0x9E37_79B9_7F4A_7C15), 0xE220_A839_7B1D_CDAF);
    let place = place_on_ramp("team", "run-1");
    assert!((place - 0.447658433400903).abs() < 1e-12, "{place}");
}

#[test]
fn a_router_goes_by_the_numbers_it_was_given() {
    let numbers = Thresholds { concurrency: 3, ..Thresholds::default() };
    let router = Router::new(Routes::new(vec![target(0)]).unwrap(), numbers.clone(), 7, at(0));
    assert_eq!(*router.thresholds(), numbers);
}
