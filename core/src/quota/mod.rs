//! How much one caller may use: calls and tokens a minute, calls in flight.
//!
//! `Allowance` is what the configuration grants, `Meter` what one caller has used of it. Pure: the present is an
//! argument. Rates are metered by the generic cell rate algorithm (ITU-T I.371, annex A), which is a token bucket that
//! holds a minute's worth, kept as the one moment at which the bucket is full again.
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

use std::time::Duration;

use crate::domain::Moment;

/// What a rate counts over, and how much of it may be used at once.
pub(crate) const WINDOW: Duration = Duration::from_secs(60);

/// What a caller may use; `None`: as much as it likes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Allowance {
    /// Calls that begin, a minute.
    pub calls_per_minute: Option<u32>,
    /// Tokens, prompt and answer, a minute.
    pub tokens_per_minute: Option<u32>,
    /// Calls that have begun and not ended.
    pub calls_in_flight: Option<u32>,
}

/// Which part of an allowance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measure {
    /// Calls a minute.
    CallsPerMinute,
    /// Tokens a minute.
    TokensPerMinute,
    /// Calls in flight.
    CallsInFlight,
}

impl Measure {
    /// As the configuration spells it.
    pub fn name(self) -> &'static str {
        match self {
            Self::CallsPerMinute => "calls_per_minute",
            Self::TokensPerMinute => "tokens_per_minute",
            Self::CallsInFlight => "calls_in_flight",
        }
    }
}

/// A call that an allowance has no room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exceeded {
    /// Which part is used up.
    pub measure: Measure,
    /// What the caller may use of it.
    pub limit: u32,
    /// When the same call would be admitted if no other came before it; for calls in flight a guess, since nobody knows
    /// when one ends.
    pub retry_after: Duration,
}

/// What one caller uses. Every call that is admitted must be told to have left.
#[derive(Clone, Debug)]
pub struct Meter {
    allowance: Allowance,
    calls: Bucket,
    tokens: Bucket,
    in_flight: u32,
}

impl Meter {
    /// Nothing is used yet.
    pub fn new(allowance: Allowance) -> Self {
        Self { allowance, calls: Bucket::full(), tokens: Bucket::full(), in_flight: 0 }
    }

    /// Another allowance from now on; what was used stays used.
    pub fn change(&mut self, now: Moment, allowance: Allowance) {
        let old = std::mem::replace(&mut self.allowance, allowance);
        self.calls.rescale(now, old.calls_per_minute, allowance.calls_per_minute);
        self.tokens.rescale(now, old.tokens_per_minute, allowance.tokens_per_minute);
    }

    /// What may be used.
    pub fn allowance(&self) -> Allowance {
        self.allowance
    }

    /// Calls in flight.
    pub fn in_flight(&self) -> u32 {
        self.in_flight
    }

    /// A call that is estimated to use this many tokens begins, or is refused and counts nowhere.
    ///
    /// One that alone is above a minute's tokens is admitted once nothing else is owed, or it could never be.
    ///
    /// # Errors
    /// When a part of the allowance is used up.
    pub fn admit(&mut self, now: Moment, tokens: u64) -> Result<(), Exceeded> {
        let Allowance { calls_per_minute, tokens_per_minute, calls_in_flight } = self.allowance;
        let exceeded = |measure, limit, retry_after| Exceeded { measure, limit, retry_after };
        if let Some(limit) = calls_in_flight
            && self.in_flight >= limit
        {
            return Err(exceeded(Measure::CallsInFlight, limit, Duration::from_secs(1)));
        }
        for (bucket, measure, limit, amount) in [
            (&self.calls, Measure::CallsPerMinute, calls_per_minute, 1),
            (&self.tokens, Measure::TokensPerMinute, tokens_per_minute, tokens),
        ] {
            if let Some(limit) = limit {
                bucket.room(now, WINDOW, limit, amount).map_err(|wait| exceeded(measure, limit, wait))?;
            }
        }
        if let Some(limit) = calls_per_minute {
            self.calls.take(now, limit, 1);
        }
        if let Some(limit) = tokens_per_minute {
            self.tokens.take(now, limit, tokens);
        }
        self.in_flight += 1;
        Ok(())
    }

    /// A call that was admitted with an estimate turned out to use something else.
    pub fn settle(&mut self, now: Moment, estimated: u64, used: u64) {
        let Some(limit) = self.allowance.tokens_per_minute else { return };
        if used >= estimated {
            self.tokens.take(now, limit, used - estimated);
        } else {
            self.tokens.give_back(limit, estimated - used);
        }
    }

    /// A call that was admitted has ended.
    pub fn leave(&mut self) {
        self.in_flight = self.in_flight.saturating_sub(1);
    }
}

/// One rate.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bucket {
    full_at: Moment,
}

impl Bucket {
    pub(crate) fn full() -> Self {
        Self { full_at: Moment::ZERO }
    }

    /// How long the rate takes to make up for this amount.
    pub(crate) fn cost(limit: u32, amount: u64) -> Duration {
        let nanos = WINDOW.as_nanos() * u128::from(amount) / u128::from(limit.max(1));
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    /// How long the rate takes to make up for what was taken.
    pub(crate) fn owed(&self, now: Moment) -> Duration {
        self.full_at.since(now)
    }

    /// So long from now on.
    pub(crate) fn owe(&mut self, owed: Duration, now: Moment) {
        self.full_at = now + owed;
    }

    /// Whether the amount may be taken now, or how long it must wait. `burst` is what may be owed, the amount included.
    pub(crate) fn room(&self, now: Moment, burst: Duration, limit: u32, amount: u64) -> Result<(), Duration> {
        if limit == 0 {
            return Err(WINDOW);
        }
        let over = (self.owed(now) + Self::cost(limit, amount).min(burst)).saturating_sub(burst);
        if over.is_zero() { Ok(()) } else { Err(over) }
    }

    pub(crate) fn take(&mut self, now: Moment, limit: u32, amount: u64) {
        self.full_at = self.full_at.max(now) + Self::cost(limit, amount);
    }

    /// Keeps the amount that is owed under another rate.
    pub(crate) fn rescale(&mut self, now: Moment, old: Option<u32>, new: Option<u32>) {
        let (Some(old), Some(new)) = (old, new) else { return };
        let nanos = self.full_at.since(now).as_nanos() * u128::from(old) / u128::from(new.max(1));
        self.full_at = now + Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
    }

    pub(crate) fn give_back(&mut self, limit: u32, amount: u64) {
        self.full_at = self.full_at - Self::cost(limit, amount);
    }
}
