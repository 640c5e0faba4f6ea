//! Spans of time as people write them: `500ms`, `10s`, `2m`, `1h`.
use std::time::Duration;

use serde::{Deserialize, Deserializer, de::Error as _};

/// A span of time greater than zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span(pub(super) Duration);

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        parse(&text).map(Self).map_err(D::Error::custom)
    }
}

fn parse(text: &str) -> Result<Duration, String> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (amount, unit) = text.split_at(digits);
    let seconds = match unit.trim() {
        "ms" => 0.001,
        "s" => 1.0,
        "m" | "min" => 60.0,
        "h" => 3600.0,
        _ => {
            return Err(format!("`{text}` is no span of time: write a number and ms, s, m or h, such as 500ms or 10s"));
        }
    };
    let amount: f64 = amount.parse().map_err(|_| format!("`{text}` is no span of time: `{amount}` is no number"))?;
    match Duration::try_from_secs_f64(amount * seconds) {
        Ok(span) if span >= Duration::from_millis(1) => Ok(span),
        Ok(_) => Err(format!("`{text}` is too short: at least 1ms (zero never means \"no limit\")")),
        Err(_) => Err(format!("`{text}` is too long")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_people_write_spans() {
        for (text, milliseconds) in
            [("500ms", 500), ("10s", 10_000), ("1.5s", 1500), ("2m", 120_000), ("2 min", 120_000), ("1h", 3_600_000)]
        {
            assert_eq!(parse(text), Ok(Duration::from_millis(milliseconds)), "{text}");
        }
        for text in ["", "10", "s", "ten s", "10 fortnights", "0s", "0.1ms", "-5s", "1e999h", "..s"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
