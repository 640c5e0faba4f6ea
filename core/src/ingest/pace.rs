//! How many batches run beside each other: more while it goes well, half as many when a region throttles or cannot
//! serve (additive increase, multiplicative decrease, as in TCP: Chiu and Jain 1989).
use std::time::Duration;

use crate::domain::{Chance, Moment};

/// Between which bounds the pace adapts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PaceLimits {
    /// Batches at once to begin with.
    pub first: u32,
    /// Most batches at once.
    pub most: u32,
    /// Pause after a batch that no region could serve; doubled with each that follows.
    pub pause: Duration,
    /// Longest pause, whatever a region hints at: what is out for long may be back soon.
    pub longest_pause: Duration,
    /// A batch that takes this many times as long for its tokens as usual is no reason to run more of them.
    pub slow: u32,
}

impl Default for PaceLimits {
    fn default() -> Self {
        Self { first: 4, most: 16, pause: Duration::from_millis(250), longest_pause: Duration::from_secs(15), slow: 2 }
    }
}

/// The pace of one ingestion.
#[derive(Debug)]
pub struct Pace {
    limits: PaceLimits,
    at_once: u32,
    /// Batches served since the last change of `at_once`.
    served: u32,
    /// Batches since which nobody could serve.
    setbacks: u32,
    held_until: Moment,
    /// Smoothed seconds for a token.
    usual: Option<f64>,
    /// Batches that left before this say nothing about the pace since.
    eased: Moment,
    chance: Chance,
}

impl Pace {
    /// A new ingestion. `seed` feeds the jitter of pauses, which keeps ingestions from coming back all at once.
    pub fn new(limits: PaceLimits, seed: u64) -> Self {
        Self {
            limits,
            at_once: limits.first.clamp(1, limits.most.max(1)),
            served: 0,
            setbacks: 0,
            held_until: Moment::ZERO,
            usual: None,
            eased: Moment::ZERO,
            chance: Chance::from_seed(seed),
        }
    }

    /// Most batches at once, now.
    pub fn at_once(&self) -> u32 {
        self.at_once
    }

    /// Whether a batch may leave while so many run.
    pub fn allows(&self, running: usize, now: Moment) -> bool {
        self.held_until(now).is_none() && running < self.at_once as usize
    }

    /// Until when nothing leaves, if that is in the future.
    pub fn held_until(&self, now: Moment) -> Option<Moment> {
        Some(self.held_until).filter(|until| *until > now)
    }

    /// A batch of so many tokens that left at `left` was served; `throttled`: not by the first region asked, which had
    /// no capacity.
    pub fn served(&mut self, left: Moment, now: Moment, tokens: u64, throttled: bool) {
        self.setbacks = 0;
        self.held_until = Moment::ZERO;
        if throttled {
            self.ease(left, now);
            return;
        }
        let took = now.since(left).as_secs_f64() / tokens.max(1) as f64;
        let usual = *self.usual.get_or_insert(took);
        self.usual = Some(usual + (took - usual) / 8.0);
        if took > usual * f64::from(self.limits.slow) {
            return;
        }
        self.served += 1;
        if self.served >= self.at_once {
            self.served = 0;
            self.at_once = (self.at_once + 1).min(self.limits.most);
        }
    }

    /// No region could serve a batch that left at `left`; `hint`: when one says that it may be able to.
    pub fn held_up(&mut self, left: Moment, now: Moment, hint: Duration) {
        self.ease(left, now);
        // Batches that ran beside each other and failed together are one setback.
        if self.held_until(now).is_some() {
            return;
        }
        let pause = self.limits.pause * 2_u32.pow(self.setbacks.min(10));
        self.setbacks += 1;
        let pause = pause.max(hint).min(self.limits.longest_pause);
        self.held_until = now + pause.mul_f64(0.75 + 0.5 * self.chance.fraction());
    }

    fn ease(&mut self, left: Moment, now: Moment) {
        if left < self.eased {
            return;
        }
        self.eased = now;
        self.served = 0;
        self.at_once = (self.at_once / 2).max(1);
    }
}
