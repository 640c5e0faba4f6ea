//! Time as a value: nothing in this crate reads a clock.
use std::{
    fmt,
    ops::{Add, Sub},
    time::Duration,
};

/// Nanoseconds since an origin that the caller chose, such as the start of the process or of a simulation.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Moment(u64);

impl Moment {
    /// The origin.
    pub const ZERO: Self = Self(0);

    /// The moment this long after the origin; saturates after 584 years.
    pub fn after_origin(elapsed: Duration) -> Self {
        Self(u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX))
    }

    /// How long after the origin this is.
    pub fn since_origin(self) -> Duration {
        Duration::from_nanos(self.0)
    }

    /// The same in nanoseconds.
    pub fn nanos(self) -> u64 {
        self.0
    }

    /// How long after `earlier` this is; zero if it is not after it.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Moment {
    type Output = Self;

    fn add(self, span: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)))
    }
}

impl Sub<Duration> for Moment {
    type Output = Self;

    /// Saturates at the origin.
    fn sub(self, span: Duration) -> Self {
        Self(self.0.saturating_sub(u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)))
    }
}

impl fmt::Debug for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.3}s", self.since_origin().as_secs_f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_told_in_seconds_and_saturate() {
        let moment = Moment::ZERO + Duration::from_millis(1500);
        assert_eq!(format!("{moment:?}"), "1.500s");
        assert_eq!(moment.since(Moment::ZERO + Duration::from_secs(1)), Duration::from_millis(500));
        assert_eq!(Moment::ZERO.since(moment), Duration::ZERO);
        assert_eq!(moment - Duration::from_secs(9), Moment::ZERO);
    }
}
