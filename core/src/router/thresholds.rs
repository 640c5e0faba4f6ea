//! Every number the router goes by, with its unit, default and reason.
use std::{fmt, time::Duration};

/// The router's numbers. `Default` is what production should use.
#[derive(Clone, Debug, PartialEq)]
pub struct Thresholds {
    /// Longest wait for the first content of a chat answer or the head of an embeddings reply. Default 10 s: the
    /// slowest healthy first content seen in the field is a few seconds.
    pub first_content_floor: Duration,
    /// Added for every 4 000 prompt tokens, since reading a long prompt takes the model time. Default 1 s.
    pub first_content_per_4000_tokens: Duration,
    /// The same limit for models marked `reasoning`, which think in silence. Default 300 s.
    pub first_content_reasoning: Duration,
    /// Longest wait for a chat reply in Azure's unary form, where silence says nothing until the answer is whole.
    /// Default 120 s.
    pub unary_reply: Duration,
    /// Longest gap between two events of a stream. Default 10 s.
    pub stall: Duration,
    /// The same for models marked `reasoning`. Default 60 s.
    pub stall_reasoning: Duration,
    /// Share of the remaining time that an attempt may use while another permitted target is left to rescue the
    /// call, in percent. Default 60.
    pub attempt_share_percent: u32,
    /// Shortest and longest cooling after a 429, whatever Azure's hint says (hints of 0 and of 24 hours have been
    /// seen). Default 1 s and 60 s.
    pub cooling: (Duration, Duration),
    /// Longest wait for a cooling target when no other is left; half of the remaining deadline bounds it too.
    /// Default 5 s.
    pub longest_wait: Duration,
    /// Second and third attempts at a sole permitted target, as percent of its calls. Default 10.
    pub retry_budget_percent: u32,
    /// Most such attempts of one call. Default 2.
    pub retries: u32,
    /// Pause before such an attempt, doubled for the second, with half of it jittered. Default 200 ms.
    pub retry_pause: Duration,
    /// Attempts in flight at one target, so that a standby that suddenly carries everything is not crushed. `BULK`
    /// work leaves a fifth of them to `INTERACTIVE` calls. Default 256.
    pub concurrency: u32,
    /// Turns at targets that are short of quota.
    pub pacing: Pacing,
    /// When a target is suspected.
    pub detection: Detection,
    /// How a suspicion is put to the test.
    pub validation: Validation,
    /// How a target that was out comes back.
    pub recovery: Recovery,
    /// Test calls outside validation.
    pub testing: Testing,
    /// Second attempts beside a silent one.
    pub hedging: Hedging,
    /// Workflows pinned to a region.
    pub affinity: Affinity,
}

/// Turns at targets that are short of quota: a call waits for its turn, goes to the next permitted target, or is told
/// when to come back.
#[derive(Clone, Debug, PartialEq)]
pub struct Pacing {
    /// Whether calls are held back at all. Default true; without it only 429s tell.
    pub enabled: bool,
    /// Longest wait of `INTERACTIVE` calls before the next target is taken, bounded by a tenth of their time. Default
    /// 1 s: somebody waits, and another region answers as well.
    pub interactive: Duration,
    /// Longest wait of `BULK` calls before the next target is taken, bounded by a quarter of their time. Default 10 s:
    /// an ingestion should stay where it is, but a line that takes longer needs a second region.
    pub bulk: Duration,
    /// Share of each target's quota that `BULK` calls leave to `INTERACTIVE` ones, in percent. Default 20: what comes
    /// back within 12 s.
    pub bulk_reserve_percent: u32,
}

/// When a target is suspected. Source: `reliability.md` (a), suspicion.
#[derive(Clone, Debug, PartialEq)]
pub struct Detection {
    /// Failures in a row. Default 5, as Envoy's and Finagle's.
    pub consecutive: u32,
    /// Window of the two ratio rules. Default 10 s.
    pub ratio_window: Duration,
    /// Percent of attempts, and of how many at least: half of a few. Default 50 of 10.
    pub ratio_few: (u32, u32),
    /// The same: a part of many. Default 20 of 50.
    pub ratio_many: (u32, u32),
    /// Silence counts from here on, and from this many baseline medians on. Default 3 s and 5.
    pub silence: (Duration, u32),
    /// Silent attempts within `silence_window`. Default 5 in 10 s: a black hole is seen before any call times out.
    pub silent_attempts: u32,
    /// See `silent_attempts`.
    pub silence_window: Duration,
    /// First content is slow from here on, and from this many baseline medians on. Default 2.5 s and 3.
    pub slow: (Duration, u32),
    /// Percent of first contents that are slow, and of how many at least. Default 50 of 20.
    pub slow_ratio: (u32, u32),
    /// Window of the rule above. Default 30 s.
    pub slow_window: Duration,
    /// Credential, name and protocol errors within `unexpected_window`. Default 3 in 30 s.
    pub unexpected: u32,
    /// See `unexpected`.
    pub unexpected_window: Duration,
    /// Failures, and changes between good and bad, among the last 20 attempts. Default 6 and 8: four failures proved
    /// too nervous by a factor of 15.
    pub alternating: (u32, u32),
    /// Failed test calls in a row while no traffic says otherwise. Default 3.
    pub idle_failures: u32,
    /// How long own trouble (no network, no file descriptors, a frozen process) silences the detectors. Default 5 s.
    pub freeze: Duration,
    /// All resources unreachable within this span means that the fault is ours. Default 10 s.
    pub own_fault_window: Duration,
    /// The grey rule: percent of attempts that failed here and then succeeded elsewhere, of how many at least, while
    /// this many validations passed. Default 30 of 20, 3 rounds.
    pub grey: (u32, u32, u8),
    /// Window of the grey rule. Default 2 min.
    pub grey_window: Duration,
}

/// How a suspicion is put to the test.
#[derive(Clone, Debug, PartialEq)]
pub struct Validation {
    /// Deep calls of one round; all must fail. Default 3.
    pub calls: u8,
    /// From the start of one to the start of the next. Default 1 s.
    pub spacing: Duration,
    /// End of the round; unanswered is failed then. Default 6 s.
    pub window: Duration,
    /// A deep call passes within 2.5 medians of the target's own, but not less than this nor more than the next.
    /// Default 1 s to 3 s.
    pub shortest_limit: Duration,
    /// See `shortest_limit`.
    pub longest_limit: Duration,
    /// For models marked `reasoning`, which also lengthens the round. Default 30 s.
    pub longest_limit_reasoning: Duration,
    /// No suspicion after a round that passed: at first, and at most after doublings. Default 5 s to 60 s.
    pub cool_off: (Duration, Duration),
}

/// How a target that was out comes back.
#[derive(Clone, Debug, PartialEq)]
pub struct Recovery {
    /// Shortest stay out, doubled with every level, and its cap. Default 60 s and 30 min.
    pub hold: (Duration, Duration),
    /// Part of the hold that is jittered to either side, in percent, so that replicas do not move together. Default 10.
    pub hold_jitter_percent: u32,
    /// Deep calls in a row that must pass before the return begins. Default 6.
    pub proofs: u8,
    /// Shortest stay on a step of the ramp. Default 30 s.
    pub step: Duration,
    /// Live calls served, or deep calls passed, that prove a step. Default 5 and 3.
    pub step_proofs: (u8, u8),
    /// Failures in a row, or in a step altogether, that end the return. Default 2 and 3.
    pub step_failures: (u8, u8),
    /// Share of unpinned work on each step, in percent. Default 1, 5, 20, 50, 100.
    pub ramp: [u8; 5],
    /// Serving under real traffic for this long lowers the level by one. Default 30 min.
    pub level_span: Duration,
}

/// Test calls outside validation.
#[derive(Clone, Debug, PartialEq)]
pub struct Testing {
    /// The first test calls come within this time of the start, so that replicas started together do not call in
    /// step; those to an embedding target no sooner than its first comparison. Default 2 s.
    pub first: Duration,
    /// The first comparison of a primary for embeddings with its space comes within this time of the start, since a
    /// drifted one might serve until then; that of each standby ten times as long after the one before it. Default 100 ms.
    pub first_comparison: Duration,
    /// An embedding target is compared at least so often, also where live traffic proves it otherwise. Default 24 h.
    pub comparison_interval: Duration,
    /// Cheap calls, to a resource that no traffic proves. Default 10 s.
    pub cheap_interval: Duration,
    /// Deep calls, to a target that no traffic proves. Default 60 s.
    pub deep_interval: Duration,
    /// Deep calls to a target that is out or returning, or whose last one failed. Default 10 s.
    pub return_interval: Duration,
    /// Part of every interval that is jittered to either side, in percent. Default 20.
    pub jitter_percent: u32,
    /// A standby without proof for this long is an alarm. Default 90 s.
    pub unproven: Duration,
    /// Tokens a day for deep calls outside validation and return. Default 200 000, about 5 000 calls.
    pub tokens_per_day: u64,
}

/// Second attempts beside a silent one, while a target is under validation.
#[derive(Clone, Debug, PartialEq)]
pub struct Hedging {
    /// Whether requests that say nothing of it may be hedged. Default true.
    pub enabled: bool,
    /// After this long without content, or the target's 95th percentile if that is longer. Default 2 s.
    pub delay: Duration,
    /// Most of the calls in flight that are hedged at once, in percent. Default 20.
    pub share_percent: u32,
}

/// Workflows pinned to a region.
#[derive(Clone, Debug, PartialEq)]
pub struct Affinity {
    /// Forgotten after this long without a call. Default 30 min.
    pub idle: Duration,
    /// Forgotten at this age. Default 24 h.
    pub age: Duration,
    /// Most workflows remembered; the longest unused goes first. Default 10 000.
    pub capacity: usize,
}

impl Default for Thresholds {
    fn default() -> Self {
        Self {
            first_content_floor: Duration::from_secs(10),
            first_content_per_4000_tokens: Duration::from_secs(1),
            first_content_reasoning: Duration::from_secs(300),
            unary_reply: Duration::from_secs(120),
            stall: Duration::from_secs(10),
            stall_reasoning: Duration::from_secs(60),
            attempt_share_percent: 60,
            cooling: (Duration::from_secs(1), Duration::from_secs(60)),
            longest_wait: Duration::from_secs(5),
            retry_budget_percent: 10,
            retries: 2,
            retry_pause: Duration::from_millis(200),
            concurrency: 256,
            pacing: Pacing::default(),
            detection: Detection::default(),
            validation: Validation::default(),
            recovery: Recovery::default(),
            testing: Testing::default(),
            hedging: Hedging::default(),
            affinity: Affinity::default(),
        }
    }
}

impl Default for Pacing {
    fn default() -> Self {
        Self {
            enabled: true,
            interactive: Duration::from_secs(1),
            bulk: Duration::from_secs(10),
            bulk_reserve_percent: 20,
        }
    }
}

impl Default for Detection {
    fn default() -> Self {
        Self {
            consecutive: 5,
            ratio_window: Duration::from_secs(10),
            ratio_few: (50, 10),
            ratio_many: (20, 50),
            silence: (Duration::from_secs(3), 5),
            silent_attempts: 5,
            silence_window: Duration::from_secs(10),
            slow: (Duration::from_millis(2500), 3),
            slow_ratio: (50, 20),
            slow_window: Duration::from_secs(30),
            unexpected: 3,
            unexpected_window: Duration::from_secs(30),
            alternating: (6, 8),
            idle_failures: 3,
            freeze: Duration::from_secs(5),
            own_fault_window: Duration::from_secs(10),
            grey: (30, 20, 3),
            grey_window: Duration::from_secs(120),
        }
    }
}

impl Default for Validation {
    fn default() -> Self {
        Self {
            calls: 3,
            spacing: Duration::from_secs(1),
            window: Duration::from_secs(6),
            shortest_limit: Duration::from_secs(1),
            longest_limit: Duration::from_secs(3),
            longest_limit_reasoning: Duration::from_secs(30),
            cool_off: (Duration::from_secs(5), Duration::from_secs(60)),
        }
    }
}

impl Default for Recovery {
    fn default() -> Self {
        Self {
            hold: (Duration::from_secs(60), Duration::from_secs(30 * 60)),
            hold_jitter_percent: 10,
            proofs: 6,
            step: Duration::from_secs(30),
            step_proofs: (5, 3),
            step_failures: (2, 3),
            ramp: [1, 5, 20, 50, 100],
            level_span: Duration::from_secs(30 * 60),
        }
    }
}

impl Default for Testing {
    fn default() -> Self {
        Self {
            first: Duration::from_secs(2),
            first_comparison: Duration::from_millis(100),
            comparison_interval: Duration::from_secs(24 * 3600),
            cheap_interval: Duration::from_secs(10),
            deep_interval: Duration::from_secs(60),
            return_interval: Duration::from_secs(10),
            jitter_percent: 20,
            unproven: Duration::from_secs(90),
            tokens_per_day: 200_000,
        }
    }
}

impl Default for Hedging {
    fn default() -> Self {
        Self { enabled: true, delay: Duration::from_secs(2), share_percent: 20 }
    }
}

impl Default for Affinity {
    fn default() -> Self {
        Self { idle: Duration::from_secs(30 * 60), age: Duration::from_secs(24 * 3600), capacity: 10_000 }
    }
}

/// A number that makes no sense.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ThresholdsError {
    /// Name of the field.
    pub field: &'static str,
    /// What it must be.
    pub must: &'static str,
}

impl fmt::Display for ThresholdsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} must {}", self.field, self.must)
    }
}

impl std::error::Error for ThresholdsError {}

impl Thresholds {
    /// Refuses numbers that make no sense. A limit of zero would fail every call; it never means "none".
    pub fn check(self) -> Result<Self, ThresholdsError> {
        let refuse = |field, must| Err(ThresholdsError { field, must });
        for (field, limit) in [
            ("first_content_floor", self.first_content_floor),
            ("first_content_reasoning", self.first_content_reasoning),
            ("unary_reply", self.unary_reply),
            ("stall", self.stall),
            ("stall_reasoning", self.stall_reasoning),
            ("cooling", self.cooling.0),
            ("retry_pause", self.retry_pause),
            ("detection.ratio_window", self.detection.ratio_window),
            ("detection.silence", self.detection.silence.0),
            ("detection.silence_window", self.detection.silence_window),
            ("detection.slow", self.detection.slow.0),
            ("detection.slow_window", self.detection.slow_window),
            ("detection.unexpected_window", self.detection.unexpected_window),
            ("detection.own_fault_window", self.detection.own_fault_window),
            ("detection.grey_window", self.detection.grey_window),
            ("validation.spacing", self.validation.spacing),
            ("validation.shortest_limit", self.validation.shortest_limit),
            ("validation.cool_off", self.validation.cool_off.0),
            ("recovery.hold", self.recovery.hold.0),
            ("recovery.step", self.recovery.step),
            ("recovery.level_span", self.recovery.level_span),
            ("testing.comparison_interval", self.testing.comparison_interval),
            ("testing.cheap_interval", self.testing.cheap_interval),
            ("testing.deep_interval", self.testing.deep_interval),
            ("testing.return_interval", self.testing.return_interval),
            ("testing.unproven", self.testing.unproven),
            ("hedging.delay", self.hedging.delay),
            ("affinity.idle", self.affinity.idle),
            ("affinity.age", self.affinity.age),
        ] {
            if limit < Duration::from_millis(1) {
                return refuse(field, "be at least 1 ms");
            }
        }
        if self.cooling.0 > self.cooling.1 {
            return refuse("cooling", "not have its shortest above its longest");
        }
        if !(10..=90).contains(&self.attempt_share_percent) {
            return refuse("attempt_share_percent", "be 10 to 90, so that both attempt and rescue have time");
        }
        if self.retry_budget_percent > 100 {
            return refuse("retry_budget_percent", "be 0 to 100");
        }
        if self.retries > 5 {
            return refuse("retries", "be 0 to 5");
        }
        if self.concurrency == 0 {
            return refuse("concurrency", "be at least 1");
        }
        if self.pacing.bulk_reserve_percent > 90 {
            return refuse("pacing.bulk_reserve_percent", "be 0 to 90, so that BULK calls are served at all");
        }
        self.detection.check()?;
        self.validation.check()?;
        self.recovery.check()?;
        if self.testing.jitter_percent > 50 {
            return refuse("testing.jitter_percent", "be 0 to 50");
        }
        if self.testing.unproven < self.testing.deep_interval {
            return refuse(
                "testing.unproven",
                "not be shorter than testing.deep_interval: nothing could be proven in time",
            );
        }
        if !(1..=100).contains(&self.hedging.share_percent) {
            return refuse("hedging.share_percent", "be 1 to 100; `enabled` switches it off");
        }
        if self.affinity.capacity == 0 {
            return refuse("affinity.capacity", "be at least 1");
        }
        Ok(self)
    }

    /// The same numbers for a faster world: holds, steps, cool-offs and the time between test calls are divided by
    /// `times`. For demonstrations and tests, which cannot wait a minute for a hold. What is measured against the
    /// speed of networks and models (limits, silence, windows of evidence, the validation itself) stays.
    #[must_use]
    pub fn quickened(mut self, times: u32) -> Self {
        let times = times.max(1);
        let Self { validation, recovery, testing, .. } = &mut self;
        for span in [
            &mut validation.cool_off.0,
            &mut validation.cool_off.1,
            &mut recovery.hold.0,
            &mut recovery.hold.1,
            &mut recovery.step,
            &mut recovery.level_span,
            &mut testing.first,
            &mut testing.first_comparison,
            &mut testing.comparison_interval,
            &mut testing.cheap_interval,
            &mut testing.deep_interval,
            &mut testing.return_interval,
            &mut testing.unproven,
        ] {
            *span = (*span / times).max(Duration::from_millis(1));
        }
        self
    }
}

impl Detection {
    fn check(&self) -> Result<(), ThresholdsError> {
        let refuse = |field, must| Err(ThresholdsError { field, must });
        for (field, count) in [
            ("detection.consecutive", self.consecutive),
            ("detection.silent_attempts", self.silent_attempts),
            ("detection.unexpected", self.unexpected),
            ("detection.idle_failures", self.idle_failures),
            ("detection.alternating", self.alternating.0),
        ] {
            if count == 0 {
                return refuse(field, "be at least 1: with 0 nothing would have to happen");
            }
        }
        if self.silent_attempts as usize > super::detector::MOST_REMEMBERED
            || self.unexpected as usize > super::detector::MOST_REMEMBERED
        {
            return refuse("detection.silent_attempts", "be at most 32, and detection.unexpected too");
        }
        for (field, (percent, of)) in [
            ("detection.ratio_few", self.ratio_few),
            ("detection.ratio_many", self.ratio_many),
            ("detection.slow_ratio", self.slow_ratio),
            ("detection.grey", (self.grey.0, self.grey.1)),
        ] {
            if !(1..=100).contains(&percent) || of == 0 {
                return refuse(field, "be 1 to 100 percent of at least 1 attempt");
            }
        }
        if self.grey.2 == 0 {
            return refuse("detection.grey", "take at least 1 round");
        }
        Ok(())
    }
}

impl Validation {
    fn check(&self) -> Result<(), ThresholdsError> {
        let refuse = |field, must| Err(ThresholdsError { field, must });
        if !(1..=10).contains(&self.calls) {
            return refuse("validation.calls", "be 1 to 10");
        }
        if self.shortest_limit > self.longest_limit || self.longest_limit > self.longest_limit_reasoning {
            return refuse("validation.longest_limit", "lie between shortest_limit and longest_limit_reasoning");
        }
        if self.window < self.spacing * u32::from(self.calls - 1) + self.shortest_limit {
            return refuse("validation.window", "leave time for every call of the round");
        }
        if self.cool_off.0 > self.cool_off.1 {
            return refuse("validation.cool_off", "not begin above its longest");
        }
        Ok(())
    }
}

impl Recovery {
    fn check(&self) -> Result<(), ThresholdsError> {
        let refuse = |field, must| Err(ThresholdsError { field, must });
        if self.hold.0 > self.hold.1 {
            return refuse("recovery.hold", "not begin above its cap");
        }
        if self.hold_jitter_percent > 50 {
            return refuse("recovery.hold_jitter_percent", "be 0 to 50");
        }
        if self.proofs == 0 || self.step_proofs.0 == 0 || self.step_proofs.1 == 0 {
            return refuse("recovery.proofs", "be at least 1, and recovery.step_proofs too");
        }
        if self.step_failures.0 == 0 || self.step_failures.1 < self.step_failures.0 {
            return refuse("recovery.step_failures", "be at least 1 in a row, and not fewer altogether");
        }
        let rises = self.ramp.windows(2).all(|two| two[0] < two[1]);
        if !rises || self.ramp[0] == 0 || self.ramp[4] != 100 {
            return refuse("recovery.ramp", "rise from above 0 to 100 percent");
        }
        Ok(())
    }
}
