//! One target's health: its standing, its overlay, and the evidence.
//!
//! Standings other than `Serving`, with their detectors and transitions, come with the failover engine; this is
//! their place.
use std::time::Duration;

use super::{Observation, Thresholds};
use crate::domain::{FailureClass, FailureKind, Moment, Quota};

/// A target's health as the router sees it (design section 3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Takes live traffic in route order.
    Serving,
}

/// Why a target is passed over although its standing would let it serve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overlay {
    /// Throttled by Azure: busy, not broken.
    Cooling {
        /// When it takes calls again.
        until: Moment,
    },
}

#[derive(Debug)]
pub(super) struct TargetHealth {
    pub(super) standing: Standing,
    pub(super) since: Moment,
    pub(super) overlay: Option<Overlay>,
    pub(super) in_flight: u32,
    pub(super) served: u64,
    pub(super) failed: u64,
    pub(super) last_success: Option<Moment>,
    pub(super) last_failure: Option<(Moment, FailureKind)>,
    pub(super) quota: Quota,
    pub(super) recent: Recent,
    throttled_in_a_row: u32,
}

impl TargetHealth {
    pub(super) fn new(now: Moment) -> Self {
        Self {
            standing: Standing::Serving,
            since: now,
            overlay: None,
            in_flight: 0,
            served: 0,
            failed: 0,
            last_success: None,
            last_failure: None,
            quota: Quota::default(),
            recent: Recent::default(),
            throttled_in_a_row: 0,
        }
    }

    pub(super) fn cooling_until(&self, now: Moment) -> Option<Moment> {
        match self.overlay {
            Some(Overlay::Cooling { until }) if until > now => Some(until),
            _ => None,
        }
    }

    pub(super) fn started(&mut self) {
        self.in_flight += 1;
    }

    pub(super) fn abandoned(&mut self) {
        self.in_flight = self.in_flight.saturating_sub(1);
    }

    /// Answers whether standing or overlay changed.
    pub(super) fn ended(&mut self, observation: &Observation, thresholds: &Thresholds, now: Moment) -> bool {
        self.in_flight = self.in_flight.saturating_sub(1);
        match observation {
            Observation::Served { first_content, quota } => {
                self.served += 1;
                self.throttled_in_a_row = 0;
                self.last_success = Some(now);
                self.quota = *quota;
                self.recent.record(now, true, Some(*first_content));
                false
            }
            Observation::Failed(failure) => match failure.class() {
                FailureClass::Hard | FailureClass::Misconfigured => {
                    self.failed += 1;
                    self.last_failure = Some((now, failure.kind.clone()));
                    self.recent.record(now, false, None);
                    false
                }
                FailureClass::Throttled => self.throttled(failure, thresholds, now),
                FailureClass::Caller | FailureClass::Local => false,
            },
            Observation::Cancelled => false,
        }
    }

    /// Azure's hint is a floor that cannot be trusted raw: 0 and 24 hours have both been seen. A hint at the floor
    /// that comes again and again grows, so that a useless hint does not become a hot loop.
    fn throttled(&mut self, failure: &crate::domain::Failure, thresholds: &Thresholds, now: Moment) -> bool {
        let FailureKind::Throttled { retry_after } = failure.kind else { return false };
        let (shortest, longest) = thresholds.cooling;
        let grown = shortest * 2u32.pow(self.throttled_in_a_row.min(6));
        let span = if retry_after <= shortest { grown } else { retry_after };
        self.throttled_in_a_row = self.throttled_in_a_row.saturating_add(1);
        let until = now + span.clamp(shortest, longest);
        let until = self.cooling_until(now).map_or(until, |known| known.max(until));
        self.overlay = Some(Overlay::Cooling { until });
        true
    }

    pub(super) fn expire(&mut self, now: Moment) -> bool {
        let over = matches!(self.overlay, Some(Overlay::Cooling { until }) if until <= now);
        if over {
            self.overlay = None;
        }
        over
    }

    pub(super) fn next_expiry(&self) -> Option<Moment> {
        self.overlay.map(|Overlay::Cooling { until }| until)
    }
}

/// The last minute of a target, in bounded memory: twelve slices of five seconds and the last 64 latencies.
#[derive(Debug, Default)]
pub(super) struct Recent {
    slices: [Slice; Self::SLICES],
    latencies: Vec<(Moment, Duration)>,
    oldest: usize,
}

#[derive(Clone, Copy, Debug, Default)]
struct Slice {
    number: u64,
    good: u32,
    bad: u32,
}

impl Recent {
    const SLICES: usize = 12;
    const SLICE: Duration = Duration::from_secs(5);
    const LATENCIES: usize = 64;

    fn slice_number(now: Moment) -> u64 {
        now.since_origin().as_secs() / Self::SLICE.as_secs()
    }

    fn record(&mut self, now: Moment, good: bool, latency: Option<Duration>) {
        let number = Self::slice_number(now);
        let slice = &mut self.slices[(number % Self::SLICES as u64) as usize];
        if slice.number != number {
            *slice = Slice { number, ..Slice::default() };
        }
        if good {
            slice.good += 1
        } else {
            slice.bad += 1
        }
        let Some(latency) = latency else { return };
        if self.latencies.len() < Self::LATENCIES {
            self.latencies.push((now, latency));
        } else {
            self.latencies[self.oldest] = (now, latency);
            self.oldest = (self.oldest + 1) % Self::LATENCIES;
        }
    }

    /// Attempts that ended well and badly in the last minute.
    pub(super) fn counts(&self, now: Moment) -> (u64, u64) {
        let current = Self::slice_number(now);
        let live = self.slices.iter().filter(|slice| current - slice.number.min(current) < Self::SLICES as u64);
        live.fold((0, 0), |(good, bad), slice| (good + u64::from(slice.good), bad + u64::from(slice.bad)))
    }

    /// Median and 95th percentile of the latencies of the last minute.
    pub(super) fn latency(&self, now: Moment) -> Option<(Duration, Duration)> {
        let window = Self::SLICE * Self::SLICES as u32;
        let mut live: Vec<Duration> =
            self.latencies.iter().filter(|(at, _)| now.since(*at) < window).map(|(_, latency)| *latency).collect();
        live.sort_unstable();
        let at = |percent: usize| live.get((live.len().saturating_sub(1)) * percent / 100).copied();
        Some((at(50)?, at(95)?))
    }
}
