//! Why a standing changed, with the evidence in numbers.
use std::{fmt, sync::Arc, time::Duration};

use crate::domain::Drift;

/// Why a standing changed.
#[derive(Clone, Debug, PartialEq)]
pub enum Cause {
    /// A detector found a pattern of trouble.
    Suspected(Suspicion),
    /// An operator asked for a validation.
    Ordered {
        /// Why, in the operator's words.
        reason: Arc<str>,
    },
    /// An operator took the target out of service. Its standing stays as it is.
    Drained {
        /// Why, in the operator's words.
        reason: Arc<str>,
    },
    /// An operator put a drained target back.
    Released {
        /// Why, in the operator's words.
        reason: Arc<str>,
    },
    /// A drain ended by itself.
    DrainOver {
        /// Why it had been ordered.
        reason: Arc<str>,
    },
    /// Its vectors are not those of its embedding space. Its standing stays as it is.
    Drifted {
        /// How that showed.
        drift: Drift,
    },
    /// Its vectors are those of its embedding space again.
    Comparable {
        /// Between its vector and the reference.
        cosine: f64,
    },
    /// A test call passed.
    TestPassed,
    /// A test call was answered 429: alive, only busy.
    Throttled,
    /// A test call was itself refused, so the round says nothing.
    TestVoid,
    /// Nothing is reachable: the fault is this service's own.
    OwnFault,
    /// Every test call of the round failed.
    TestsFailed {
        /// How many.
        calls: u8,
        /// How the last one failed.
        last: &'static str,
    },
    /// Test calls pass while traffic fails here and succeeds elsewhere.
    Grey {
        /// Calls that failed here and were served elsewhere.
        failed: u32,
        /// Of so many attempts.
        attempts: u32,
        /// Rounds of test calls that passed meanwhile.
        rounds: u8,
    },
    /// The validation of another target of the same resource found all of it down.
    ResourceDown,
    /// The hold is over and test calls pass.
    HoldOver {
        /// How many in a row.
        proofs: u8,
        /// Share of the unpinned work that may go there from now on, in percent.
        percent: u8,
    },
    /// A step of the return is proven.
    StepProven {
        /// Live calls served on it.
        live: u8,
        /// Test calls passed on it.
        deep: u8,
        /// Share of the unpinned work that may go there from now on, in percent.
        percent: u8,
    },
    /// Every step of the return is proven.
    Returned,
    /// Trouble while returning.
    Relapsed(Option<Suspicion>, u8),
    /// No permitted target was left, and this one passed its last test calls.
    NoGoodTargetLeft {
        /// How many in a row.
        proofs: u8,
    },
    /// An earlier process left it so.
    Restored {
        /// That process's own words; `None` if it left none.
        cause: Option<Arc<str>>,
    },
}

/// A pattern of trouble in live traffic or in idle test calls. Source: `reliability.md` (a), suspicion.
#[derive(Clone, Debug, PartialEq)]
pub enum Suspicion {
    /// Failures in a row.
    Consecutive {
        /// How many.
        failures: u32,
        /// How the last one failed.
        last: &'static str,
    },
    /// Too large a share of attempts fails.
    Ratio {
        /// Failures.
        failed: u32,
        /// Of so many attempts.
        attempts: u32,
        /// Within this span.
        window: Duration,
    },
    /// Attempts in flight without content.
    Silence {
        /// How many.
        attempts: u32,
        /// For at least this long each.
        silent: Duration,
    },
    /// First content comes late.
    Slow {
        /// Late ones.
        slow: u32,
        /// Of so many.
        of: u32,
        /// What counts as late.
        limit: Duration,
    },
    /// Credentials refused, names unknown, or answers that are none.
    Unexpected {
        /// How many.
        failures: u32,
        /// How the last one failed.
        last: &'static str,
    },
    /// Good and bad alternate.
    Inconsistent {
        /// Failures among the last 20.
        failures: u32,
        /// Changes between good and bad among them.
        changes: u32,
    },
    /// Test calls fail while there is no traffic.
    Idle {
        /// How many in a row.
        failures: u32,
        /// How the last one failed.
        last: &'static str,
    },
}

impl Suspicion {
    /// The word used in metrics.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Consecutive { .. } => "consecutive",
            Self::Ratio { .. } => "ratio",
            Self::Silence { .. } => "silence",
            Self::Slow { .. } => "slow",
            Self::Unexpected { .. } => "unexpected",
            Self::Inconsistent { .. } => "inconsistent",
            Self::Idle { .. } => "idle",
        }
    }
}

impl fmt::Display for Suspicion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Consecutive { failures, last } => write!(f, "{failures} failures in a row, the last: {last}"),
            Self::Ratio { failed, attempts, window } => {
                write!(f, "{failed} of {attempts} attempts failed within {} s", seconds(*window))
            }
            Self::Silence { attempts, silent } => {
                write!(f, "{attempts} attempts without content for more than {} s", seconds(*silent))
            }
            Self::Slow { slow, of, limit } => {
                write!(f, "{slow} of {of} first contents took longer than {} s", seconds(*limit))
            }
            Self::Unexpected { failures, last } => write!(f, "{failures} unexpected errors, the last: {last}"),
            Self::Inconsistent { failures, changes } => {
                write!(f, "{failures} failures and {changes} changes of mind among the last 20 attempts")
            }
            Self::Idle { failures, last } => write!(f, "{failures} test calls in a row failed without traffic: {last}"),
        }
    }
}

impl Cause {
    /// Its words without any mention of a restart, to be kept for the next process.
    pub(super) fn before_restarts(&self) -> Arc<str> {
        match self {
            Self::Restored { cause: Some(cause) } => Arc::clone(cause),
            other => other.to_string().into(),
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Suspected(suspicion) => suspicion.fmt(f),
            Self::Ordered { reason } => write!(f, "an operator ordered a validation: {reason}"),
            Self::Drained { reason } => write!(f, "an operator drained it: {reason}"),
            Self::Released { reason } => write!(f, "an operator released it: {reason}"),
            Self::DrainOver { reason } => write!(f, "the drain ended by itself; it was: {reason}"),
            Self::Drifted { drift } => write!(f, "it left its embedding space: {drift}"),
            Self::Comparable { cosine } => {
                write!(f, "its vectors are those of its embedding space again: cosine {cosine:.4} with the reference")
            }
            Self::TestPassed => write!(f, "a test call passed"),
            Self::Throttled => write!(f, "a test call was throttled: alive, only busy"),
            Self::TestVoid => write!(f, "the test call itself was refused, so it says nothing; see the alarms"),
            Self::OwnFault => write!(f, "no resource is reachable from here: the fault is this service's own"),
            Self::TestsFailed { calls, last } => write!(f, "all {calls} test calls failed, the last: {last}"),
            Self::Grey { failed, attempts, rounds } => write!(
                f,
                "{failed} of {attempts} attempts failed here and succeeded elsewhere, although test calls passed in \
                 {rounds} rounds"
            ),
            Self::ResourceDown => write!(f, "validating another target found the whole resource down"),
            Self::HoldOver { proofs, percent } => {
                let proofs = Calls(*proofs, "test call");
                write!(f, "now {percent} % of unpinned work: the hold is over and {proofs} in a row passed")
            }
            Self::StepProven { live, deep, percent } => {
                write!(f, "now {percent} % of unpinned work: ")?;
                match (Calls(*live, "live call"), Calls(*deep, "test call")) {
                    (live, Calls(0, _)) => write!(f, "{live} went well"),
                    (Calls(0, _), deep) => write!(f, "{deep} went well"),
                    (live, deep) => write!(f, "{live} and {deep} went well"),
                }
            }
            Self::Returned => write!(f, "every step of the return went well"),
            Self::Relapsed(Some(suspicion), _) => write!(f, "trouble while returning: {suspicion}"),
            Self::Relapsed(None, failures) => write!(f, "trouble while returning: {failures} failures on one step"),
            Self::NoGoodTargetLeft { proofs } => {
                let proofs = Calls(*proofs, "test call");
                write!(f, "no good target was left, and {proofs} in a row passed here")
            }
            Self::Restored { cause: Some(cause) } => write!(f, "{cause} (before a restart)"),
            Self::Restored { cause: None } => write!(f, "as an earlier process left it"),
        }
    }
}

/// So many calls of a kind, as people say it.
struct Calls(u8, &'static str);

impl fmt::Display for Calls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(count, kind) = self;
        write!(f, "{count} {kind}{}", if *count == 1 { "" } else { "s" })
    }
}

fn seconds(span: Duration) -> f64 {
    (span.as_secs_f64() * 10.0).round() / 10.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_of_the_return_says_its_share_and_what_proved_it() {
        for (live, deep, expected) in [
            (5, 0, "now 20 % of unpinned work: 5 live calls went well"),
            (0, 3, "now 20 % of unpinned work: 3 test calls went well"),
            (1, 3, "now 20 % of unpinned work: 1 live call and 3 test calls went well"),
            (0, 1, "now 20 % of unpinned work: 1 test call went well"),
        ] {
            assert_eq!(Cause::StepProven { live, deep, percent: 20 }.to_string(), expected);
        }
    }

    #[test]
    fn a_suspicion_has_a_word_and_a_sentence() {
        let span = Duration::from_millis(2510);
        for (suspicion, word, sentence) in [
            (
                Suspicion::Consecutive { failures: 5, last: "unavailable" },
                "consecutive",
                "5 failures in a row, the last: unavailable",
            ),
            (
                Suspicion::Ratio { failed: 6, attempts: 10, window: span },
                "ratio",
                "6 of 10 attempts failed within 2.5 s",
            ),
            (
                Suspicion::Silence { attempts: 5, silent: span },
                "silence",
                "5 attempts without content for more than 2.5 s",
            ),
            (
                Suspicion::Slow { slow: 11, of: 20, limit: span },
                "slow",
                "11 of 20 first contents took longer than 2.5 s",
            ),
            (
                Suspicion::Unexpected { failures: 3, last: "forbidden" },
                "unexpected",
                "3 unexpected errors, the last: forbidden",
            ),
            (
                Suspicion::Inconsistent { failures: 6, changes: 8 },
                "inconsistent",
                "6 failures and 8 changes of mind among the last 20 attempts",
            ),
            (Suspicion::Idle { failures: 3, last: "dns" }, "idle", "3 test calls in a row failed without traffic: dns"),
        ] {
            assert_eq!((suspicion.as_str(), suspicion.to_string().as_str()), (word, sentence));
        }
    }

    #[test]
    fn what_an_earlier_process_left_is_told_in_its_words_once() {
        let restored = |cause: Option<&str>| Cause::Restored { cause: cause.map(Into::into) };
        assert_eq!(restored(Some("it was slow")).to_string(), "it was slow (before a restart)");
        assert_eq!(restored(None).to_string(), "as an earlier process left it");
        assert_eq!(&*restored(Some("it was slow")).before_restarts(), "it was slow", "and not once more");
    }
}
