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
        }
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
        Ok(self)
    }
}
