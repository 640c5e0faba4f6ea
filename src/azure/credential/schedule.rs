//! When a token is asked for. Pure: time and chance are arguments. Everything scales with the life that is left, so that
//! an hour's token and a test's token of three seconds are treated alike.
use std::time::Duration;

/// Between two requests for the same token, whatever is left of it: endpoints of managed identities give the same
/// token again until they renew it themselves.
const SHORTEST: Duration = Duration::from_millis(250);

const FIRST_RETRY: Duration = Duration::from_secs(1);
/// While a token lives.
const LONGEST_RETRY: Duration = Duration::from_secs(30);
/// Without a token calls fail, so its return should be noticed soon.
const LONGEST_RETRY_WITHOUT: Duration = Duration::from_secs(10);

/// For one request, however it goes.
const LONGEST_REQUEST: Duration = Duration::from_secs(10);
const SHORTEST_REQUEST: Duration = Duration::from_secs(1);

/// How long a new token is used before the next one is asked for: about half of what is `left` of it. An hour's token so
/// leaves half an hour for an identity endpoint that is down. `chance` (0 to 1) keeps replicas apart.
pub(super) fn until_refresh(left: Duration, chance: f64) -> Duration {
    left.mul_f64(0.45 + 0.1 * chance.clamp(0.0, 1.0)).max(SHORTEST)
}

/// Pause after a request that failed, the `failures`th in a row (from 1), with so much `left` of the token in use.
pub(super) fn until_retry(failures: u32, left: Duration, chance: f64) -> Duration {
    let longest = if left.is_zero() { LONGEST_RETRY_WITHOUT } else { LONGEST_RETRY };
    let doubled = FIRST_RETRY.saturating_mul(1 << failures.saturating_sub(1).min(6)).min(longest);
    let pause = doubled.mul_f64(0.5 + 0.5 * chance.clamp(0.0, 1.0));
    // Several more tries fit into what is left.
    if left.is_zero() { pause } else { pause.min(left / 8).max(SHORTEST) }
}

/// How long one request may take. An endpoint that hangs must not use up the token's life. `slow`: a program is started,
/// which takes seconds by itself.
pub(super) fn request_limit(left: Duration, slow: bool) -> Duration {
    let longest = if slow { 3 * LONGEST_REQUEST } else { LONGEST_REQUEST };
    if left.is_zero() { longest } else { (left / 4).clamp(SHORTEST_REQUEST, longest) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn seconds(seconds: f64) -> Duration {
        Duration::from_secs_f64(seconds)
    }

    #[test]
    fn refreshed_at_about_half_of_the_life() {
        for (left, chance, expected) in [
            (HOUR, 0.0, seconds(1620.0)),
            (HOUR, 1.0, seconds(1980.0)),
            (24 * HOUR, 0.5, 12 * HOUR),
            (seconds(3.0), 0.5, seconds(1.5)),
            (seconds(0.1), 0.5, SHORTEST),
            (HOUR, 7.0, seconds(1980.0)),
        ] {
            assert_eq!(until_refresh(left, chance).as_millis(), expected.as_millis(), "{left:?} {chance}");
        }
        // A token of an hour is replaced well before the library's own window of 300 s.
        assert!(HOUR - until_refresh(HOUR, 1.0) > seconds(1500.0));
    }

    #[test]
    fn retries_slow_down_but_never_outlast_the_token() {
        let pauses = |left| [1, 2, 3, 4, 5, 6, 9].map(|failures| until_retry(failures, left, 1.0).as_millis());
        assert_eq!(pauses(HOUR), [1000, 2000, 4000, 8000, 16000, 30000, 30000]);
        assert_eq!(pauses(Duration::ZERO), [1000, 2000, 4000, 8000, 10000, 10000, 10000]);
        assert_eq!(pauses(seconds(16.0)), [1000, 2000, 2000, 2000, 2000, 2000, 2000]);
        assert_eq!(pauses(seconds(1.0)), [250; 7]);
        assert_eq!(until_retry(2, HOUR, 0.0), seconds(1.0));
    }

    #[test]
    fn a_request_leaves_time_for_others() {
        for (left, slow, expected) in [
            (Duration::ZERO, false, 10.0),
            (Duration::ZERO, true, 30.0),
            (HOUR, false, 10.0),
            (HOUR, true, 30.0),
            (seconds(20.0), false, 5.0),
            (seconds(2.0), true, 1.0),
        ] {
            assert_eq!(request_limit(left, slow), seconds(expected), "{left:?}");
        }
    }
}
