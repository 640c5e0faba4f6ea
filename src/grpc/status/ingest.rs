//! How an ingestion can end before its summary.
use tonic::Code;

use super::{Refusal, Violations, ended_without_end};
use crate::dispatch::IngestError;

impl From<IngestError<Refusal>> for Refusal {
    fn from(error: IngestError<Refusal>) -> Self {
        match error {
            IngestError::Call(error) => error.into(),
            IngestError::Caller(refusal) => refusal,
            IngestError::DuplicateId { id } => {
                let mut violations = Violations::none();
                violations.add("item.id", format!("{id:?} is the id of another item that is not answered yet"));
                violations.into()
            }
            IngestError::SpaceChanged { before, after } => Refusal::new(
                Code::Aborted,
                "EMBEDDING_SPACE_CHANGED",
                format!(
                    "the model's embedding space is {after} now, and was {before} for the vectors already sent: vectors \
                     of both must not meet in one index; embed everything again"
                ),
            ),
            IngestError::OutOfTime { unanswered } => Refusal::new(
                Code::DeadlineExceeded,
                "DEADLINE_EXCEEDED",
                format!(
                    "the deadline passed with {unanswered} items unanswered; send those again, and what follows them"
                ),
            ),
            IngestError::Broken => ended_without_end(),
        }
    }
}

/// Another kind of message was to come first, or none of this kind.
pub(in crate::grpc) fn out_of_order(field: &str, description: &str) -> Refusal {
    let mut violations = Violations::none();
    violations.add(field, description);
    violations.into()
}

/// The caller's side of a stream broke off.
pub(in crate::grpc) fn broken_off(said: &tonic::Status) -> Refusal {
    super::transport(said).unwrap_or_else(|| {
        Refusal::new(Code::Cancelled, "CANCELLED", "the stream of requests broke off before it was half-closed")
    })
}
