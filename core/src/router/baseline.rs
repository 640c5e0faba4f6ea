//! What is normal for a target: a slow memory of how long its first content takes.
use std::time::Duration;

use crate::domain::Moment;

/// A histogram of latencies that forgets by half every hour, in buckets a fifth wide: 1 ms to 18 min in 80 numbers.
#[derive(Clone, Debug)]
pub(super) struct Baseline {
    weights: [f32; Self::BUCKETS],
    total: f32,
    samples: u32,
    decayed: Moment,
    /// Kept at hand, since every call asks: refreshed with every 16th sample.
    known: Option<Quantiles>,
}

/// Cut points of a baseline.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Quantiles {
    pub(super) median: Duration,
    pub(super) p95: Duration,
}

impl Baseline {
    const BUCKETS: usize = 80;
    const PER_DOUBLING: f64 = 4.0;
    const HALF_LIFE: Duration = Duration::from_secs(3600);
    const DECAY_EVERY: Duration = Duration::from_secs(60);
    /// Fewer say nothing.
    const FEWEST: u32 = 20;

    pub(super) fn new(now: Moment) -> Self {
        Self { weights: [0.0; Self::BUCKETS], total: 0.0, samples: 0, decayed: now, known: None }
    }

    pub(super) fn learn(&mut self, latency: Duration, now: Moment) {
        if now.since(self.decayed) >= Self::DECAY_EVERY {
            self.decay(now);
        }
        self.weights[Self::bucket(latency)] += 1.0;
        self.total += 1.0;
        self.samples = self.samples.saturating_add(1);
        if self.samples >= Self::FEWEST && (self.known.is_none() || self.samples.is_multiple_of(16)) {
            self.known = Some(Quantiles { median: self.quantile(0.5), p95: self.quantile(0.95) });
        }
    }

    /// `None` until 20 latencies are known.
    pub(super) fn quantiles(&self) -> Option<Quantiles> {
        self.known
    }

    fn decay(&mut self, now: Moment) {
        let half_lives = now.since(self.decayed).as_secs_f64() / Self::HALF_LIFE.as_secs_f64();
        let factor = 0.5f64.powf(half_lives) as f32;
        self.weights.iter_mut().for_each(|weight| *weight *= factor);
        self.total = self.weights.iter().sum();
        self.decayed = now;
    }

    fn bucket(latency: Duration) -> usize {
        let millis = (latency.as_secs_f64() * 1000.0).max(1.0);
        ((millis.log2() * Self::PER_DOUBLING) as usize).min(Self::BUCKETS - 1)
    }

    /// The middle of the bucket that holds the quantile.
    fn quantile(&self, share: f32) -> Duration {
        let mut left = self.total * share;
        let mut at = 0;
        for (bucket, weight) in self.weights.iter().enumerate() {
            at = bucket;
            left -= weight;
            if left <= 0.0 {
                break;
            }
        }
        Duration::from_secs_f64(2f64.powf((at as f64 + 0.5) / Self::PER_DOUBLING) / 1000.0)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Moment {
        Moment::after_origin(Duration::from_secs(seconds))
    }

    fn near(latency: Duration, millis: f64) -> bool {
        (latency.as_secs_f64() * 1000.0 / millis - 1.0).abs() < 0.2
    }

    #[test]
    fn quantiles_are_right_within_a_bucket() {
        let mut baseline = Baseline::new(at(0));
        for sample in 1..=19u64 {
            baseline.learn(Duration::from_millis(sample * 50), at(0));
            assert_eq!(baseline.quantiles(), None, "after {sample}");
        }
        baseline.learn(Duration::from_millis(1000), at(0));
        let known = baseline.quantiles().unwrap();
        assert!(near(known.median, 500.0), "{known:?}");
        assert!(near(known.p95, 950.0), "{known:?}");
    }

    #[test]
    fn an_hour_of_habit_outweighs_a_minute_of_trouble() {
        let mut baseline = Baseline::new(at(0));
        (0..3600).for_each(|second| baseline.learn(Duration::from_millis(600), at(second)));
        (3600..3660).for_each(|second| baseline.learn(Duration::from_millis(6000), at(second)));
        assert!(near(baseline.quantiles().unwrap().median, 600.0));
        (3660..18_000).for_each(|second| baseline.learn(Duration::from_millis(6000), at(second)));
        assert!(near(baseline.quantiles().unwrap().median, 6000.0), "four hours later it is the habit");
    }

    #[test]
    fn habits_of_yesterday_weigh_next_to_nothing() {
        let mut baseline = Baseline::new(at(0));
        (0..1000).for_each(|second| baseline.learn(Duration::from_millis(600), at(second)));
        // Ten half-lives later the thousand count as one.
        (0..40).for_each(|second| baseline.learn(Duration::from_millis(6000), at(37_000 + second)));
        assert!(near(baseline.quantiles().unwrap().median, 6000.0), "{:?}", baseline.quantiles());
    }

    #[test]
    fn extremes_are_kept_in_the_outer_buckets() {
        let mut baseline = Baseline::new(at(0));
        for _ in 0..20 {
            baseline.learn(Duration::ZERO, at(0));
            baseline.learn(Duration::MAX, at(0));
        }
        assert!(baseline.quantiles().unwrap().median < Duration::from_millis(2));
    }
}
