//! What the end of a batch's call means for its ingestion.
use std::time::Duration;

use sealane_core::{
    domain::Rejection,
    ingest::{ItemFault, Setbacks},
    router::GiveUp,
};

use crate::dispatch::CallFailure;

/// What is to be done about a batch without vectors.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Meaning {
    /// Something in it is at fault: find out what.
    Isolate {
        why: ItemFault,
        /// The batch is too large as a whole, whatever is in it.
        too_large: bool,
    },
    /// Nobody can serve it now; `hint`: when one says that it may be able to.
    Later { hint: Duration, blame: BatchBlame },
    /// Nobody ever will.
    Never,
}

/// What a setback says about the batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BatchBlame {
    /// Nothing: others would not have been served either.
    Innocent,
    /// It may be what is in it.
    Possible,
    /// It may be what is in it, or how much.
    TooLong,
}

/// Answers that are none may be a region's bad moment; after so many setbacks they are not.
const MOST_BAD_ANSWERS: u32 = 3;

/// `setbacks`: those that this batch had already; `any_served`: whether any batch of the ingestion was served.
pub(super) fn meaning(failure: &CallFailure, setbacks: Setbacks, any_served: bool) -> Meaning {
    let later = |hint| Meaning::Later { hint, blame: BatchBlame::Innocent };
    let failed = |hint, blame| Meaning::Later { hint, blame };
    match failure {
        CallFailure::GaveUp(why) => match why {
            GiveUp::Rejected(rejection) if concerns_texts(rejection) => {
                Meaning::Isolate { why: ItemFault::Rejected(rejection.clone()), too_large: is_too_large(rejection) }
            }
            // What has worked is an outage of credentials; what never has is a mistake in the configuration.
            GiveUp::Misconfigured if any_served => later(Duration::ZERO),
            GiveUp::Rejected(_) | GiveUp::NotPermitted { .. } | GiveUp::Misconfigured => Meaning::Never,
            GiveUp::Throttled { retry_after } | GiveUp::Overloaded { retry_after } => later(*retry_after),
            GiveUp::Unavailable { retry_after } => failed(*retry_after, BatchBlame::Possible),
            GiveUp::Drained { ends_in, .. } => later(*ends_in),
            GiveUp::Local { .. } => later(Duration::ZERO),
            GiveUp::DeadlineExceeded => failed(Duration::ZERO, BatchBlame::TooLong),
            GiveUp::BadResponse if setbacks.count < MOST_BAD_ANSWERS => failed(Duration::ZERO, BatchBlame::Possible),
            GiveUp::BadResponse => Meaning::Isolate { why: ItemFault::NoUsableAnswer, too_large: false },
        },
        CallFailure::NotRecorded { .. } => later(Duration::from_secs(1)),
        CallFailure::UnknownModel { .. } | CallFailure::WrongModelKind { .. } | CallFailure::Interrupted { .. } => {
            Meaning::Never
        }
    }
}

/// Whether some text is at fault. What is wrong with the call as a whole would be refused for each of them.
fn concerns_texts(rejection: &Rejection) -> bool {
    match rejection {
        Rejection::ContextLength | Rejection::PromptBlocked { .. } | Rejection::TooLarge => true,
        Rejection::OperationNotSupported | Rejection::HeadersTooLarge => false,
        Rejection::Invalid { param, .. } => param.as_deref().is_none_or(|param| param.starts_with("input")),
    }
}

fn is_too_large(rejection: &Rejection) -> bool {
    match rejection {
        Rejection::TooLarge => true,
        Rejection::Invalid { code, .. } => code.as_deref() == Some("max_tokens_per_request"),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sealane_core::domain::Moment;

    fn invalid(code: &str, param: Option<&str>) -> Rejection {
        Rejection::Invalid { code: Some(code.into()), param: param.map(str::to_owned) }
    }

    #[test]
    fn what_a_refusal_means() {
        let isolate =
            |why: &Rejection, too_large| Meaning::Isolate { why: ItemFault::Rejected(why.clone()), too_large };
        let blocked = Rejection::PromptBlocked { categories: vec!["violence".into()] };
        for (rejection, expected) in [
            (Rejection::ContextLength, isolate(&Rejection::ContextLength, false)),
            (blocked.clone(), isolate(&blocked, false)),
            (Rejection::TooLarge, isolate(&Rejection::TooLarge, true)),
            (invalid("x", None), isolate(&invalid("x", None), false)),
            (invalid("x", Some("input[3]")), isolate(&invalid("x", Some("input[3]")), false)),
            (invalid("max_tokens_per_request", None), isolate(&invalid("max_tokens_per_request", None), true)),
            (invalid("x", Some("dimensions")), Meaning::Never),
            (Rejection::OperationNotSupported, Meaning::Never),
            (Rejection::HeadersTooLarge, Meaning::Never),
        ] {
            let failure = CallFailure::GaveUp(GiveUp::Rejected(rejection));
            assert_eq!(meaning(&failure, Setbacks::default(), false), expected);
        }
    }

    fn setbacks(count: u32) -> Setbacks {
        let mut setbacks = Setbacks::default();
        (0..count).for_each(|_| setbacks.waited(Moment::ZERO));
        setbacks
    }

    #[test]
    fn what_an_outage_means() {
        let (second, zero) = (Duration::from_secs(1), Duration::ZERO);
        let later = |hint, blame| Meaning::Later { hint, blame };
        for (why, count, expected) in [
            (GiveUp::Throttled { retry_after: second }, 99, later(second, BatchBlame::Innocent)),
            (GiveUp::Overloaded { retry_after: second }, 99, later(second, BatchBlame::Innocent)),
            (GiveUp::Unavailable { retry_after: second }, 99, later(second, BatchBlame::Possible)),
            (GiveUp::Drained { targets: vec![], ends_in: second }, 99, later(second, BatchBlame::Innocent)),
            (GiveUp::Local { cause: "out_of_resources" }, 99, later(zero, BatchBlame::Innocent)),
            (GiveUp::DeadlineExceeded, 99, later(zero, BatchBlame::TooLong)),
            (GiveUp::BadResponse, 2, later(zero, BatchBlame::Possible)),
            (GiveUp::BadResponse, 3, Meaning::Isolate { why: ItemFault::NoUsableAnswer, too_large: false }),
        ] {
            assert_eq!(meaning(&CallFailure::GaveUp(why.clone()), setbacks(count), true), expected, "{why:?}");
        }
        let gone = CallFailure::UnknownModel { model: "m".into() };
        assert_eq!(meaning(&gone, setbacks(0), true), Meaning::Never);
    }

    #[test]
    fn credentials_that_were_good_are_waited_for() {
        let refused = CallFailure::GaveUp(GiveUp::Misconfigured);
        assert_eq!(meaning(&refused, setbacks(0), false), Meaning::Never);
        let later = Meaning::Later { hint: Duration::ZERO, blame: BatchBlame::Innocent };
        assert_eq!(meaning(&refused, setbacks(99), true), later);
    }
}
