//! The caller's deadline. Read here and not left to tonic, which answers `CANCELLED` instead of
//! `DEADLINE_EXCEEDED` and never bounds a running stream.
use std::time::Duration;

use http::HeaderMap;

/// How long calls may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeadlineRules {
    /// Where the caller states none.
    pub default: Duration,
    /// Whatever the caller states.
    pub longest: Duration,
}

/// `grpc-timeout` is not what gRPC defines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MalformedTimeout;

impl DeadlineRules {
    /// How long this call may take. A little less than the caller will wait, so that the explanation arrives before
    /// the caller's own timer goes off.
    pub fn allow(&self, headers: &HeaderMap) -> Result<Duration, MalformedTimeout> {
        Ok(stated(headers)?.map_or(self.default, |stated| stated.min(self.longest)))
    }
}

/// How long the caller waits, less a little; `None` if it states nothing.
pub(super) fn stated(headers: &HeaderMap) -> Result<Option<Duration>, MalformedTimeout> {
    let Some(value) = headers.get("grpc-timeout") else { return Ok(None) };
    let stated = value.to_str().ok().and_then(parse).ok_or(MalformedTimeout)?;
    let margin = (stated / 10).min(Duration::from_millis(20));
    Ok(Some(stated - margin))
}

/// One to eight digits and a unit. Source: gRPC over HTTP2, `Timeout`.
fn parse(value: &str) -> Option<Duration> {
    let (digits, unit) = value.split_at_checked(value.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let amount: u64 = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(amount * 3600)),
        "M" => Some(Duration::from_secs(amount * 60)),
        "S" => Some(Duration::from_secs(amount)),
        "m" => Some(Duration::from_millis(amount)),
        "u" => Some(Duration::from_micros(amount)),
        "n" => Some(Duration::from_nanos(amount)),
        _ => None,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn every_unit_and_every_malformation() {
        for (value, expected) in [
            ("2H", Some(Duration::from_secs(7200))),
            ("3M", Some(Duration::from_secs(180))),
            ("5S", Some(Duration::from_secs(5))),
            ("1500m", Some(Duration::from_millis(1500))),
            ("7u", Some(Duration::from_micros(7))),
            ("99999999n", Some(Duration::from_nanos(99_999_999))),
            ("0S", Some(Duration::ZERO)),
            ("", None),
            ("S", None),
            ("5", None),
            ("5s", None),
            ("-5S", None),
            ("+5S", None),
            ("5 S", None),
            ("123456789S", None),
            ("5Sé", None),
        ] {
            assert_eq!(parse(value), expected, "{value:?}");
        }
    }

    #[test]
    fn the_caller_gets_its_answer_before_its_own_timer_goes_off() {
        let rules = DeadlineRules { default: Duration::from_secs(60), longest: Duration::from_secs(600) };
        let allow = |value: Option<&str>| {
            let mut headers = HeaderMap::new();
            value.iter().for_each(|value| drop(headers.insert("grpc-timeout", value.parse().unwrap())));
            rules.allow(&headers)
        };
        assert_eq!(allow(None), Ok(Duration::from_secs(60)));
        assert_eq!(allow(Some("10S")), Ok(Duration::from_millis(9980)));
        assert_eq!(allow(Some("10m")), Ok(Duration::from_millis(9)));
        assert_eq!(allow(Some("2H")), Ok(Duration::from_secs(600)));
        assert_eq!(allow(Some("soon")), Err(MalformedTimeout));
    }
}
