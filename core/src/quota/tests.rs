use proptest::prelude::*;

use super::*;

fn at(seconds: f64) -> Moment {
    Moment::after_origin(Duration::from_secs(3600)) + Duration::from_secs_f64(seconds)
}

fn tokens(limit: u32) -> Meter {
    Meter::new(Allowance { tokens_per_minute: Some(limit), ..Allowance::default() })
}

#[test]
fn a_minute_of_calls_may_come_at_once_and_then_they_come_at_the_rate() {
    let mut meter = Meter::new(Allowance { calls_per_minute: Some(6), ..Allowance::default() });
    for (seconds, expected) in [
        (0.0, Ok(())),
        (0.0, Ok(())),
        (0.0, Ok(())),
        (0.0, Ok(())),
        (0.0, Ok(())),
        (0.0, Ok(())),
        (0.0, Err(10.0)),
        (4.0, Err(6.0)),
        (10.0, Ok(())),
        (10.0, Err(10.0)),
        (40.0, Ok(())),
        (40.0, Ok(())),
        (40.0, Ok(())),
        (40.0, Err(10.0)),
    ] {
        let found = meter.admit(at(seconds), 0).map_err(|exceeded| exceeded.retry_after.as_secs_f64());
        assert_eq!(found, expected, "{seconds} s");
    }
}

#[test]
fn tokens_are_settled_by_what_was_really_used() {
    let mut meter = tokens(1000);
    meter.admit(at(0.0), 900).unwrap();
    assert_eq!(
        meter.admit(at(0.0), 200),
        Err(Exceeded { measure: Measure::TokensPerMinute, limit: 1000, retry_after: Duration::from_secs(6) })
    );
    meter.settle(at(0.0), 900, 300);
    meter.admit(at(0.0), 200).unwrap();
    meter.settle(at(0.0), 200, 1700);
    let owed = meter.admit(at(0.0), 1).unwrap_err().retry_after;
    assert_eq!(owed.as_millis(), 60_060, "1000 above the limit take a minute more");
}

#[test]
fn a_call_above_a_minutes_tokens_waits_until_nothing_is_owed() {
    let mut meter = tokens(100);
    meter.admit(at(0.0), 50).unwrap();
    assert_eq!(meter.admit(at(0.0), 1_000_000).unwrap_err().retry_after, Duration::from_secs(30));
    meter.admit(at(30.0), 1_000_000).unwrap();
    assert!(meter.admit(at(3600.0), 1).is_err(), "it is paid for afterwards");
}

#[test]
fn calls_in_flight_end() {
    let mut meter = Meter::new(Allowance { calls_in_flight: Some(2), ..Allowance::default() });
    meter.admit(at(0.0), 5).unwrap();
    meter.admit(at(0.0), 5).unwrap();
    assert_eq!(meter.admit(at(0.0), 5).unwrap_err().measure, Measure::CallsInFlight);
    meter.leave();
    meter.admit(at(0.0), 5).unwrap();
    assert_eq!(meter.in_flight(), 2);
}

#[test]
fn a_refused_call_uses_nothing() {
    let mut meter =
        Meter::new(Allowance { calls_per_minute: Some(1), tokens_per_minute: Some(10), calls_in_flight: Some(1) });
    meter.admit(at(0.0), 10).unwrap();
    for _ in 0..100 {
        assert!(meter.admit(at(1.0), 10).is_err());
    }
    meter.leave();
    meter.admit(at(60.0), 10).unwrap();
}

#[test]
fn an_allowance_of_nothing_admits_nothing_and_none_admits_everything() {
    let none = Allowance { calls_per_minute: Some(0), ..Allowance::default() };
    assert!(Meter::new(none).admit(at(0.0), 1).is_err());
    let mut free = Meter::new(Allowance::default());
    assert!((0..100_000).all(|_| free.admit(at(0.0), u64::MAX).is_ok()));
}

#[test]
fn a_changed_allowance_keeps_what_was_used() {
    for (new, expected) in [
        (Some(2000), Ok(())),
        (Some(1000), Err(Duration::from_secs(60))),
        (Some(500), Err(Duration::from_secs(120))),
        (None, Ok(())),
    ] {
        let mut meter = tokens(1000);
        meter.admit(at(0.0), 1000).unwrap();
        meter.change(at(0.0), Allowance { tokens_per_minute: new, ..Allowance::default() });
        assert_eq!(meter.admit(at(0.0), 1000).map_err(|exceeded| exceeded.retry_after), expected, "{new:?}");
    }
}

#[test]
fn measures_are_spelled_as_in_the_configuration() {
    let names = [Measure::CallsPerMinute, Measure::TokensPerMinute, Measure::CallsInFlight].map(Measure::name);
    assert_eq!(names, ["calls_per_minute", "tokens_per_minute", "calls_in_flight"]);
}

#[test]
fn a_meter_tells_what_it_grants() {
    let mut meter = tokens(10);
    assert_eq!(meter.allowance(), Allowance { tokens_per_minute: Some(10), ..Allowance::default() });
    meter.change(at(0.0), Allowance { calls_in_flight: Some(20), ..Allowance::default() });
    assert_eq!(meter.allowance(), Allowance { calls_in_flight: Some(20), ..Allowance::default() });
}

proptest! {
    /// However calls come, what is admitted by a moment is at most a bucket and what the rate gave since, but for one
    /// call that is larger than the bucket.
    #[test]
    fn never_more_than_a_bucket_and_the_rate(
        limit in 1u32..5_000,
        calls in prop::collection::vec((0u64..20_000, 0u64..3_000), 1..200),
    ) {
        let mut meter = tokens(limit);
        let (mut now, mut admitted, mut largest) = (at(0.0), 0u64, 0u64);
        for (pause, amount) in calls {
            now = now + Duration::from_millis(pause);
            if meter.admit(now, amount).is_ok() {
                admitted += amount;
                largest = largest.max(amount);
            }
            let elapsed = now.since(at(0.0)).as_secs_f64();
            let room = f64::from(limit) * (1.0 + elapsed / 60.0) + largest.saturating_sub(u64::from(limit)) as f64;
            prop_assert!(admitted as f64 <= room + 1.0, "{admitted} of {room} after {elapsed} s");
        }
    }

    /// Whoever waits as long as told is admitted, and whoever comes a millisecond early is not.
    #[test]
    fn the_wait_that_is_told_is_exact(
        limit in 1u32..100_000,
        calls in prop::collection::vec((0u64..5_000, 0u64..30_000), 1..50),
    ) {
        let mut meter = tokens(limit);
        let mut now = at(0.0);
        for (pause, amount) in calls {
            now = now + Duration::from_millis(pause);
            if let Err(exceeded) = meter.admit(now, amount) {
                let early = exceeded.retry_after.saturating_sub(Duration::from_millis(1));
                prop_assert!(early.is_zero() || meter.clone().admit(now + early, amount).is_err());
                now = now + exceeded.retry_after;
                prop_assert!(meter.admit(now, amount).is_ok());
            }
        }
    }

    /// An estimate that is settled at once leaves the meter as if the truth had been known.
    #[test]
    fn settling_equals_having_known(limit in 1u32..100_000, estimated in 0u64..50_000, used in 0u64..50_000) {
        let (mut guessing, mut knowing) = (tokens(limit), tokens(limit));
        guessing.admit(at(0.0), estimated).unwrap();
        guessing.settle(at(0.0), estimated, used);
        knowing.admit(at(0.0), used).unwrap();
        let gap = guessing.tokens.full_at.since(knowing.tokens.full_at)
            + knowing.tokens.full_at.since(guessing.tokens.full_at);
        prop_assert!(gap <= Duration::from_nanos(2), "{gap:?}");
    }

    /// What one caller does is nothing to another: a meter knows of its own calls alone, so a full minute after its
    /// last call everything is there again.
    #[test]
    fn a_quiet_minute_gives_everything_back(
        limit in 1u32..10_000,
        calls in prop::collection::vec((0u64..5_000, 0u32..10_000), 1..50),
    ) {
        let mut meter = tokens(limit);
        let mut now = at(0.0);
        for (pause, amount) in calls {
            now = now + Duration::from_millis(pause);
            let _ = meter.admit(now, u64::from(amount.min(limit)));
        }
        prop_assert!(meter.admit(now + WINDOW, u64::from(limit)).is_ok());
    }
}
