//! One target's health: its standing, its overlays, the evidence, and what is in flight.
use std::{collections::VecDeque, sync::Arc, time::Duration};

use super::{
    Cause, Machine, Observation, Thresholds,
    baseline::Baseline,
    detector::{Detector, Window, reaches},
    open::{Open, OpenAttempts},
    pace::Pace,
    space::Comparability,
    standing::{Phase, Traffic},
    test_call::TestState,
};
use crate::domain::{BadResponse, Drift, Failure, FailureClass, FailureKind, Mismatch, Moment, Quota, Target};

/// Why a target is passed over although its standing would let it serve.
#[derive(Clone, Debug, PartialEq)]
pub enum Overlay {
    /// Throttled by Azure: busy, not broken.
    Cooling {
        /// When it takes calls again.
        until: Moment,
    },
    /// Taken out of service by an operator.
    Drained {
        /// Since when, by the first of the orders that follow each other without a gap.
        since: Moment,
        /// When that ends by itself.
        until: Moment,
        /// Why, in the operator's words.
        reason: Arc<str>,
    },
    /// Azure's answers contradict the configuration, which says that such a target takes no calls.
    Quarantined {
        /// Since when.
        since: Moment,
    },
    /// Its vectors are not those of its embedding space, so no caller may get them.
    Drifted {
        /// Since when.
        since: Moment,
        /// How that showed last.
        drift: Drift,
    },
    /// Azure refuses the service's own credentials or does not know the deployment: an alarm. It is not passed over
    /// for that alone; its standing decides.
    Misconfigured {
        /// Since when.
        since: Moment,
    },
}

impl Overlay {
    /// Every word that [`as_str`](Self::as_str) may give.
    pub const WORDS: [&str; 5] = ["cooling", "drained", "drifted", "misconfigured", "quarantined"];

    /// A short stable word, for metrics and spans.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Cooling { .. } => "cooling",
            Self::Drained { .. } => "drained",
            Self::Drifted { .. } => "drifted",
            Self::Misconfigured { .. } => "misconfigured",
            Self::Quarantined { .. } => "quarantined",
        }
    }
}

/// Azure's answers contradict the configuration. Stands until an operator releases the target: an answer that fits again
/// says nothing of the one that did not.
#[derive(Clone, Debug)]
pub(super) struct Contradicted {
    pub(super) since: Moment,
    /// The last one.
    pub(super) mismatch: Mismatch,
    pub(super) quarantined: bool,
}

/// An operator's word that keeps live traffic away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Drain {
    /// By the first of the orders that follow each other without a gap.
    pub(super) since: Moment,
    /// When it ends by itself.
    pub(super) until: Moment,
    /// In the operator's words.
    pub(super) reason: Arc<str>,
}

#[derive(Debug)]
pub(super) struct TargetHealth {
    pub(super) machine: Machine,
    /// Why its standing is what it is; `None` while it has never changed.
    pub(super) cause: Option<Cause>,
    /// When it last went out.
    pub(super) left: Option<Moment>,
    pub(super) detector: Detector,
    pub(super) baseline: Baseline,
    pub(super) open: OpenAttempts,
    pub(super) pace: Pace,
    /// Attempts; marked are those that failed here and whose call was then served elsewhere.
    pub(super) elsewhere: Window,
    pub(super) drained: Option<Drain>,
    pub(super) misconfigured: Option<Moment>,
    /// Its last answer came from another model version than it is meant to serve.
    pub(super) version_mismatch: bool,
    pub(super) contradicted: Option<Contradicted>,
    /// Last 429, of whatever call: it is busy, and so alive.
    pub(super) last_throttled: Option<Moment>,
    pub(super) tests: TestState,
    pub(super) space: Comparability,
    pub(super) served: u64,
    pub(super) failed: u64,
    pub(super) last_success: Option<Moment>,
    /// When the youngest attempt or test call began that ended well: what began before trouble proves nothing of it.
    pub(super) proof_began: Option<Moment>,
    /// With its HTTP status, if it had one.
    pub(super) last_failure: Option<(Moment, FailureKind, Option<u16>)>,
    pub(super) quota: Quota,
    pub(super) recent: Recent,
    cooling: Option<Moment>,
    throttled_in_a_row: u32,
}

impl TargetHealth {
    pub(super) fn new(target: &Target, numbers: &Thresholds, now: Moment) -> Self {
        Self {
            machine: Machine::new(now, numbers),
            cause: None,
            left: None,
            detector: Detector::new(&numbers.detection),
            baseline: Baseline::new(now),
            open: OpenAttempts::default(),
            pace: Pace::new(target),
            elsewhere: Window::new(numbers.detection.grey_window),
            drained: None,
            misconfigured: None,
            version_mismatch: false,
            contradicted: None,
            last_throttled: None,
            tests: TestState::new(now),
            space: Comparability::default(),
            served: 0,
            failed: 0,
            last_success: None,
            proof_began: None,
            last_failure: None,
            quota: Quota::default(),
            recent: Recent::default(),
            cooling: None,
            throttled_in_a_row: 0,
        }
    }

    /// Its standing lets it take live traffic, some or all.
    pub(super) fn is_good(&self) -> bool {
        !self.is_withdrawn() && !self.is_out()
    }

    /// Drained, quarantined or drifted: it takes no calls, whatever its standing and however sorely it is missed.
    pub(super) fn is_withdrawn(&self) -> bool {
        self.drained.is_some() || self.is_quarantined() || self.space.drifted.is_some()
    }

    pub(super) fn is_quarantined(&self) -> bool {
        self.contradicted.as_ref().is_some_and(|contradicted| contradicted.quarantined)
    }

    pub(super) fn is_out(&self) -> bool {
        matches!(self.machine.phase, Phase::Out { .. })
    }

    pub(super) fn is_suspected(&self) -> bool {
        matches!(self.machine.phase, Phase::Suspected { .. })
    }

    /// Share of unpinned work that may go there, 0 to 1.
    pub(super) fn share(&self, numbers: &Thresholds) -> f64 {
        match self.machine.phase {
            _ if self.is_withdrawn() => 0.0,
            Phase::Serving | Phase::Suspected { .. } => 1.0,
            Phase::Out { .. } => 0.0,
            Phase::Returning { step, .. } => f64::from(numbers.recovery.percent(step)) / 100.0,
        }
    }

    pub(super) fn cooling_until(&self, now: Moment) -> Option<Moment> {
        self.cooling.filter(|until| *until > now)
    }

    /// The overlay that matters most.
    pub(super) fn overlay(&self, now: Moment) -> Option<Overlay> {
        if let Some(Drain { since, until, reason }) = self.drained.clone() {
            return Some(Overlay::Drained { since, until, reason });
        }
        if let Some(Contradicted { since, quarantined: true, .. }) = self.contradicted {
            return Some(Overlay::Quarantined { since });
        }
        if let Some((since, drift)) = self.space.drifted.clone() {
            return Some(Overlay::Drifted { since, drift });
        }
        if let Some(since) = self.misconfigured {
            return Some(Overlay::Misconfigured { since });
        }
        self.cooling_until(now).map(|until| Overlay::Cooling { until })
    }

    /// Last sign that it can serve, from a live call or a test call.
    pub(super) fn last_proven(&self) -> Option<Moment> {
        self.last_success.max(self.tests.last_passed)
    }

    /// Long prompts take longer to read: latencies are compared as if the prompt were short. One text of a few
    /// words must not look slow beside a batch, so the length adds to a constant.
    fn for_length(tokens: u64) -> f64 {
        1.0 + tokens as f64 / 4000.0
    }

    /// From here on an attempt's silence is a sign of trouble. A model that thinks in silence has to have shown its
    /// habits first.
    pub(super) fn silence_limit(&self, target: &Target, tokens: u64, numbers: &Thresholds) -> Option<Duration> {
        let (floor, medians) = numbers.detection.silence;
        let limit = match self.baseline.quantiles() {
            Some(known) => floor.max(known.median * medians),
            None if target.reasoning => return None,
            None => floor,
        };
        Some(limit.mul_f64(Self::for_length(tokens)))
    }

    pub(super) fn slow_limit(&self, numbers: &Thresholds) -> Option<Duration> {
        let (floor, medians) = numbers.detection.slow;
        self.baseline.quantiles().map(|known| floor.max(known.median * medians))
    }

    /// An attempt begins that is estimated to cost so many tokens.
    pub(super) fn began(
        &mut self,
        silent_after: Option<Duration>,
        fair_silence: Duration,
        tokens: u64,
        now: Moment,
    ) -> u32 {
        let sent = self.pace.departs(tokens, now);
        self.open.begin(now, silent_after, fair_silence, sent)
    }

    /// What the end of an attempt says of the quota.
    pub(super) fn paced(&mut self, open: &Open, tokens: u64, observation: &Observation, now: Moment) {
        match observation {
            Observation::Served { quota, .. } => self.pace.stated(open.sent, open.started, *quota, now),
            Observation::Failed(failure) => {
                self.pace.stated(open.sent, open.started, failure.evidence.quota, now);
                match failure.kind {
                    FailureKind::Throttled { retry_after } => {
                        self.pace.throttled(open.sent, tokens, retry_after, now);
                    }
                    FailureKind::Connect(_) => self.pace.was_not_sent(tokens, now),
                    _ => {}
                }
            }
            Observation::Cancelled => {}
        }
    }

    /// The first content of an attempt came after `latency`. Normal is learned only while all is well.
    pub(super) fn first_content(&mut self, latency: Duration, tokens: u64, numbers: &Thresholds, now: Moment) -> bool {
        let comparable = latency.div_f64(Self::for_length(tokens));
        let slow = self.slow_limit(numbers).is_some_and(|limit| comparable > limit);
        self.detector.first_content(slow, now);
        if matches!(self.machine.phase, Phase::Serving) {
            self.baseline.learn(comparable, now);
        }
        slow
    }

    /// Ends an attempt; its silence counts even if nobody waited for its end.
    pub(super) fn ended(&mut self, slot: u32, now: Moment) -> Option<Open> {
        let mut open = self.open.end(slot)?;
        if open.turns_silent(now) {
            self.detector.silence(now);
        }
        Some(open)
    }

    pub(super) fn served(&mut self, began: Moment, first_content: Duration, quota: Quota, now: Moment) {
        self.served += 1;
        self.proof_began = self.proof_began.max(Some(began));
        self.throttled_in_a_row = 0;
        self.misconfigured = None;
        self.last_success = Some(now);
        self.quota = quota;
        self.recent.record(now, true, Some(first_content));
        self.detector.succeeded(now);
        self.elsewhere.count(now, false);
    }

    /// For a reason of the target's own. While it returns, failures count only if another target then served the
    /// call: a prompt that fails everywhere must not end a return.
    pub(super) fn failed(&mut self, failure: &Failure, now: Moment) {
        let kind = &failure.kind;
        self.failed += 1;
        self.last_failure = Some((now, kind.clone(), failure.evidence.http_status));
        self.recent.record(now, false, None);
        self.elsewhere.count(now, false);
        self.version_mismatch |= *kind == FailureKind::BadResponse(BadResponse::VersionMismatch);
        let misconfigured = kind.class() == FailureClass::Misconfigured;
        if misconfigured {
            self.misconfigured.get_or_insert(now);
        }
        if !matches!(self.machine.phase, Phase::Returning { .. }) {
            let unexpected = misconfigured || matches!(kind, FailureKind::BadResponse(_) | FailureKind::Redirected);
            self.detector.failed(failure.with_status(), unexpected, now);
        }
    }

    /// What traffic says of it since trouble began.
    pub(super) fn traffic(&self, numbers: &Thresholds, now: Moment) -> Traffic {
        let (failed, attempts) = self.elsewhere.counts(now);
        let (percent, fewest, _) = numbers.detection.grey;
        if attempts < fewest {
            Traffic::TooLittle
        } else if reaches((percent, fewest), failed, attempts) {
            Traffic::Grey { failed, attempts }
        } else {
            Traffic::Sound
        }
    }

    /// Azure's hint is a floor that cannot be trusted raw: 0 and 24 hours have both been seen. A hint at the floor
    /// that comes again and again grows, so that a useless hint does not become a hot loop.
    /// Answers whether that begins now.
    pub(super) fn throttled(&mut self, retry_after: Duration, numbers: &Thresholds, now: Moment) -> bool {
        self.last_throttled = Some(now);
        let (shortest, longest) = numbers.cooling;
        let grown = shortest * 2u32.pow(self.throttled_in_a_row.min(6));
        let span = if retry_after <= shortest { grown } else { retry_after };
        self.throttled_in_a_row = self.throttled_in_a_row.saturating_add(1);
        let until = now + span.clamp(shortest, longest);
        let known = self.cooling_until(now);
        self.cooling = Some(known.map_or(until, |known| known.max(until)));
        known.is_none()
    }

    /// Ends a cooling that has run out; answers whether it did.
    pub(super) fn expire_cooling(&mut self, now: Moment) -> bool {
        self.cooling.take_if(|until| *until <= now).is_some()
    }

    /// Ends a drain that has run out, and hands it back.
    pub(super) fn expire_drain(&mut self, now: Moment) -> Option<Drain> {
        self.drained.take_if(|drain| drain.until <= now)
    }

    pub(super) fn next_expiry(&self) -> Option<Moment> {
        [self.cooling, self.drained.as_ref().map(|drain| drain.until)].into_iter().flatten().min()
    }
}

/// The last minute of a target, in bounded memory: twelve slices of five seconds and the last 64 latencies.
#[derive(Debug, Default)]
pub(super) struct Recent {
    slices: [Slice; Self::SLICES],
    latencies: VecDeque<(Moment, Duration)>,
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
        now.nanos() / Self::SLICE.as_nanos() as u64
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
        if self.latencies.len() == Self::LATENCIES {
            self.latencies.pop_front();
        }
        self.latencies.push_back((now, latency));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_minute_is_told_by_its_64_youngest_latencies() {
        let (at, ms) = (|seconds| Moment::after_origin(Duration::from_secs(seconds)), Duration::from_millis);
        let mut recent = Recent::default();
        assert_eq!((recent.counts(at(100)), recent.latency(at(100))), ((0, 0), None));
        for call in 1..=100 {
            recent.record(at(100), call % 4 != 0, Some(ms(call)));
        }
        assert_eq!(recent.counts(at(100)), (75, 25));
        // 37 to 100 are left: the median is the 32nd of them, the 95th percentile the 60th.
        assert_eq!(recent.latency(at(100)), Some((ms(68), ms(96))));
        recent.record(at(120), true, Some(ms(500)));
        assert_eq!((recent.counts(at(154)), recent.counts(at(160))), ((76, 25), (1, 0)));
        assert_eq!(recent.latency(at(159)), Some((ms(69), ms(97))));
        assert_eq!(recent.latency(at(160)), Some((ms(500), ms(500))), "a minute later the others are forgotten");
        assert_eq!(recent.latency(at(180)), None);
    }
}
