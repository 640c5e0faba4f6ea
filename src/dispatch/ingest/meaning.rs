//! What the end of a batch's call means for its ingestion.
use std::time::Duration;

use sealane_core::{domain::Rejection, router::GiveUp};

use crate::dispatch::CallFailure;

/// What is to be done about a batch without vectors.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Meaning {
    /// Something in it was refused: find out what.
    Isolate {
        why: Rejection,
        /// The batch is too large as a whole, whatever is in it.
        too_large: bool,
    },
    /// Nobody can serve it now; `hint`: when one says that it may be able to.
    Later { hint: Duration },
    /// Nobody ever will.
    Never,
}

/// Answers that are none may be a region's bad moment; after so many in a row they are not.
const MOST_BAD_ANSWERS: u32 = 3;

/// `setbacks`: how often this batch had to wait already.
pub(super) fn meaning(failure: &CallFailure, setbacks: u32) -> Meaning {
    let later = |hint| Meaning::Later { hint };
    match failure {
        CallFailure::GaveUp(why) => match why {
            GiveUp::Rejected(rejection) if concerns_texts(rejection) => {
                Meaning::Isolate { why: rejection.clone(), too_large: is_too_large(rejection) }
            }
            GiveUp::Rejected(_) | GiveUp::NotPermitted { .. } | GiveUp::Misconfigured => Meaning::Never,
            GiveUp::Throttled { retry_after }
            | GiveUp::Overloaded { retry_after }
            | GiveUp::Unavailable { retry_after } => later(*retry_after),
            GiveUp::Drained { ends_in, .. } => later(*ends_in),
            GiveUp::Local { .. } | GiveUp::DeadlineExceeded => later(Duration::ZERO),
            GiveUp::BadResponse if setbacks < MOST_BAD_ANSWERS => later(Duration::ZERO),
            GiveUp::BadResponse => Meaning::Never,
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

    fn invalid(code: &str, param: Option<&str>) -> Rejection {
        Rejection::Invalid { code: Some(code.into()), param: param.map(str::to_owned) }
    }

    #[test]
    fn what_a_refusal_means() {
        let isolate = |why: &Rejection, too_large| Meaning::Isolate { why: why.clone(), too_large };
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
            assert_eq!(meaning(&CallFailure::GaveUp(GiveUp::Rejected(rejection)), 0), expected);
        }
    }

    #[test]
    fn what_an_outage_means() {
        let (second, zero) = (Duration::from_secs(1), Duration::ZERO);
        let later = |hint| Meaning::Later { hint };
        for (why, setbacks, expected) in [
            (GiveUp::Throttled { retry_after: second }, 99, later(second)),
            (GiveUp::Overloaded { retry_after: second }, 99, later(second)),
            (GiveUp::Unavailable { retry_after: second }, 99, later(second)),
            (GiveUp::Drained { targets: vec![], ends_in: second }, 99, later(second)),
            (GiveUp::Local { cause: "out_of_resources" }, 99, later(zero)),
            (GiveUp::DeadlineExceeded, 99, later(zero)),
            (GiveUp::BadResponse, 2, later(zero)),
            (GiveUp::BadResponse, 3, Meaning::Never),
            (GiveUp::Misconfigured, 0, Meaning::Never),
        ] {
            assert_eq!(meaning(&CallFailure::GaveUp(why.clone()), setbacks), expected, "{why:?}");
        }
        let gone = CallFailure::UnknownModel { model: "m".into() };
        assert_eq!(meaning(&gone, 0), Meaning::Never);
    }
}
