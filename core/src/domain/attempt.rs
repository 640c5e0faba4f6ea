//! One request sent to one target: why, within which limits, how it ended and what Azure said of itself.
use std::{sync::Arc, time::Duration};

use super::{Evidence, FailureKind, Mismatch, Target};

/// How long one attempt may take. All counted from its start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AttemptLimits {
    /// To the first content event (chat) or to the reply's head (embeddings, unary chat).
    pub first_content: Duration,
    /// Between two events of a stream.
    pub stall: Duration,
    /// To the end of the answer.
    pub total: Duration,
    /// From then on a rescue would run short of time: an answer that only trickles is given up.
    pub rescue_by: Duration,
}

/// Why a target was chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AttemptReason {
    /// First permitted target of the route that takes traffic.
    Route,
    /// The workflow is pinned to its region.
    Pin,
    /// The attempt before it failed.
    Rescue,
    /// Targets before it are cooling, full or short of quota.
    Spill,
    /// The only permitted target is tried once more.
    Retry,
    /// Beside a silent attempt.
    Hedge,
    /// The answer starts again after an interrupted stream.
    Restart,
    /// A share of traffic returns to a recovered target.
    Return,
}

impl AttemptReason {
    /// The word used in spans and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Route => "route",
            Self::Pin => "pin",
            Self::Rescue => "rescue",
            Self::Spill => "spill",
            Self::Retry => "retry",
            Self::Hedge => "hedge",
            Self::Restart => "restart",
            Self::Return => "return",
        }
    }
}

/// What Azure's `x-ratelimit-...` headers stated. Hints only: Azure throttles in slices below a minute.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quota {
    /// Requests left.
    pub remaining_requests: Option<u64>,
    /// Tokens left.
    pub remaining_tokens: Option<u64>,
    /// Requests a window.
    pub limit_requests: Option<u64>,
    /// Tokens a window.
    pub limit_tokens: Option<u64>,
}

/// How an attempt ended.
#[derive(Clone, Debug, PartialEq)]
pub enum AttemptResult {
    /// Its answer is the caller's.
    Served,
    /// It failed.
    Failed {
        /// What happened.
        kind: FailureKind,
        /// The target may have processed, and billed, the request.
        maybe_billed: bool,
    },
    /// The caller left, or another attempt won.
    Cancelled,
    /// The service itself had to refuse it: no byte left.
    NotSent,
}

/// One attempt of a call, as replies, spans and the journal tell it.
#[derive(Clone, Debug, PartialEq)]
pub struct AttemptRecord {
    /// 1 for the first.
    pub number: u32,
    /// Where it went.
    pub target: Arc<Target>,
    /// Why there.
    pub reason: AttemptReason,
    /// From the start of the call.
    pub start_offset: Duration,
    /// From its own start to its end; zero while it runs.
    pub duration: Duration,
    /// `None` while it runs.
    pub result: Option<AttemptResult>,
    /// What Azure said.
    pub evidence: Evidence,
}

impl AttemptRecord {
    /// Where what Azure said contradicts the configuration of the target.
    pub fn mismatch(&self) -> Option<Mismatch> {
        self.evidence.mismatch(&self.target)
    }

    /// Whether anything may have left for the target.
    pub fn was_sent(&self) -> bool {
        self.result != Some(AttemptResult::NotSent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(result: Option<AttemptResult>, evidence: Evidence) -> AttemptRecord {
        AttemptRecord {
            number: 1,
            target: Arc::new(Target::example()),
            reason: AttemptReason::Route,
            start_offset: Duration::ZERO,
            duration: Duration::ZERO,
            result,
            evidence,
        }
    }

    #[test]
    fn something_may_have_left_unless_the_service_itself_refused() {
        let failed = AttemptResult::Failed { kind: FailureKind::ServerError, maybe_billed: true };
        for (result, sent) in [
            (None, true),
            (Some(AttemptResult::Served), true),
            (Some(failed), true),
            (Some(AttemptResult::Cancelled), true),
            (Some(AttemptResult::NotSent), false),
        ] {
            assert_eq!(record(result.clone(), Evidence::default()).was_sent(), sent, "{result:?}");
        }
    }

    #[test]
    fn what_azure_said_is_held_against_the_target_of_the_attempt() {
        for (reported, mismatch) in [("Sweden Central", false), ("East US", true)] {
            let evidence = Evidence { reported_region: Some(reported.into()), ..Evidence::default() };
            assert_eq!(record(None, evidence).mismatch().is_some(), mismatch, "{reported}");
        }
    }

    #[test]
    fn reasons_have_words() {
        use AttemptReason::*;
        let words = [Route, Pin, Rescue, Spill, Retry, Hedge, Restart, Return].map(AttemptReason::as_str);
        assert_eq!(words, ["route", "pin", "rescue", "spill", "retry", "hedge", "restart", "return"]);
    }
}
