//! Azure's two rate limits of a deployment. Pure: the time is an argument.

/// Length of the slice over which requests are counted, in milliseconds. Azure enforces requests per minute over 1 or
/// 10 second slices (quota documentation); this takes the longer.
const SLICE_MS: u64 = 10_000;
const MINUTE_MS: u64 = 60_000;

/// Token and request budgets of one deployment.
///
/// The headers follow recorded answers: each budget refills evenly within 60 s, and `reset` is the time in
/// milliseconds until it is full (14 of 120,000 tokens: 7; one of 120 requests: 500).
#[derive(Debug)]
pub(super) struct Limiter {
    tokens: Budget,
    requests: Budget,
    slice: u64,
    slice_requests: u64,
}

/// What is left after a request was let in; the source of the `x-ratelimit-*` headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Quota {
    pub(super) limit_requests: u64,
    pub(super) limit_tokens: u64,
    pub(super) remaining_requests: u64,
    pub(super) remaining_tokens: u64,
    pub(super) reset_requests_ms: u64,
    pub(super) reset_tokens_ms: u64,
}

/// Which limit was met, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Exceeded {
    pub(super) limit: Limit,
    pub(super) retry_after_ms: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Limit {
    Tokens,
    Requests,
}

impl Limiter {
    pub(super) const fn new(requests_per_minute: u32, tokens_per_minute: u32) -> Self {
        Self {
            tokens: Budget::new(tokens_per_minute as u64),
            requests: Budget::new(requests_per_minute as u64),
            slice: 0,
            slice_requests: 0,
        }
    }

    /// Charges one request of `tokens` estimated tokens at `now_ms` (any monotonic origin), or refuses it free of charge.
    pub(super) fn take(&mut self, now_ms: u64, tokens: u64) -> Result<Quota, Exceeded> {
        self.tokens.refill(now_ms);
        self.requests.refill(now_ms);
        let slice = now_ms / SLICE_MS;
        if slice != self.slice {
            (self.slice, self.slice_requests) = (slice, 0);
        }
        let of_slice = (self.requests.limit * SLICE_MS).div_ceil(MINUTE_MS);
        if self.slice_requests >= of_slice {
            return Err(Exceeded { limit: Limit::Requests, retry_after_ms: SLICE_MS - now_ms % SLICE_MS });
        }
        if let Some(retry_after_ms) = self.requests.wait(1) {
            return Err(Exceeded { limit: Limit::Requests, retry_after_ms });
        }
        if let Some(retry_after_ms) = self.tokens.wait(tokens) {
            return Err(Exceeded { limit: Limit::Tokens, retry_after_ms });
        }
        self.slice_requests += 1;
        self.requests.spend(1);
        self.tokens.spend(tokens);
        Ok(Quota {
            limit_requests: self.requests.limit,
            limit_tokens: self.tokens.limit,
            remaining_requests: self.requests.remaining(),
            remaining_tokens: self.tokens.remaining(),
            reset_requests_ms: self.requests.reset_ms(),
            reset_tokens_ms: self.tokens.reset_ms(),
        })
    }
}

/// A budget of `limit` a minute that refills evenly, kept in 60,000ths so that whole numbers suffice.
#[derive(Debug)]
struct Budget {
    limit: u64,
    spent: u64,
    at_ms: u64,
}

impl Budget {
    const fn new(limit: u64) -> Self {
        Self { limit, spent: 0, at_ms: 0 }
    }

    fn refill(&mut self, now_ms: u64) {
        let elapsed = now_ms.saturating_sub(self.at_ms).min(MINUTE_MS);
        self.spent = self.spent.saturating_sub(elapsed * self.limit);
        self.at_ms = now_ms.max(self.at_ms);
    }

    /// Milliseconds until `amount` is there; `None`: it is there now. What exceeds the whole budget waits a minute.
    fn wait(&self, amount: u64) -> Option<u64> {
        let over = (self.spent + amount.saturating_mul(MINUTE_MS)).saturating_sub(self.limit * MINUTE_MS);
        (over > 0).then(|| over.checked_div(self.limit).unwrap_or(MINUTE_MS).clamp(1, MINUTE_MS))
    }

    fn spend(&mut self, amount: u64) {
        self.spent += amount * MINUTE_MS;
    }

    fn remaining(&self) -> u64 {
        (self.limit * MINUTE_MS).saturating_sub(self.spent) / MINUTE_MS
    }

    fn reset_ms(&self) -> u64 {
        self.spent.checked_div(self.limit).unwrap_or(0)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_recorded_headers_come_out() {
        let quota = Limiter::new(120, 120_000).take(5, 14).unwrap();
        assert_eq!(
            quota,
            Quota {
                limit_requests: 120,
                limit_tokens: 120_000,
                remaining_requests: 119,
                remaining_tokens: 119_986,
                reset_requests_ms: 500,
                reset_tokens_ms: 7,
            }
        );
    }

    #[test]
    fn requests_are_counted_in_slices() {
        let mut limiter = Limiter::new(60, 1_000_000);
        for _ in 0..10 {
            limiter.take(1_000, 1).unwrap();
        }
        assert_eq!(limiter.take(1_000, 1), Err(Exceeded { limit: Limit::Requests, retry_after_ms: 9_000 }));
        assert!(limiter.take(10_000, 1).is_ok(), "a new slice");
    }

    #[test]
    fn tokens_refill_evenly_and_a_refusal_costs_nothing() {
        let mut limiter = Limiter::new(6_000, 600);
        limiter.take(0, 600).unwrap();
        assert_eq!(limiter.take(0, 10), Err(Exceeded { limit: Limit::Tokens, retry_after_ms: 1_000 }));
        assert!(limiter.take(1_000, 10).is_ok());
        assert_eq!(limiter.take(1_000, 1_000).unwrap_err().limit, Limit::Tokens);
        assert_eq!(limiter.take(31_000, 0).unwrap().remaining_tokens, 300);
    }
}
