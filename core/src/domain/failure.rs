//! How an attempt can fail, and what each failure means for the target's health and for the call.
//!
//! `azure::failure` makes these from statuses, headers and bodies (contract section 5); the router acts on
//! [`Failure::class`] alone. Nothing here carries upstream text: only codes and parameter names, made harmless.
use std::time::Duration;

use super::{Drift, Evidence};

/// How one attempt failed.
#[derive(Clone, Debug, PartialEq)]
pub struct Failure {
    /// What happened.
    pub kind: FailureKind,
    /// What Azure's headers said, if a response head arrived.
    pub evidence: Box<Evidence>,
    /// The target may have processed, and billed, the request.
    pub maybe_billed: bool,
}

impl Failure {
    /// A failure before any response head.
    pub fn without_response(kind: FailureKind) -> Self {
        let maybe_billed = !matches!(kind, FailureKind::Connect(_));
        Self { kind, evidence: Box::default(), maybe_billed }
    }

    /// Its word with the HTTP status beside it where one was answered: whoever looks into it wants to know both.
    pub fn with_status(&self) -> &'static str {
        match (&self.kind, self.evidence.http_status) {
            (FailureKind::Unavailable, Some(502)) => "unavailable (HTTP 502)",
            (FailureKind::Unavailable, Some(503)) => "unavailable (HTTP 503)",
            (FailureKind::Unavailable, Some(504)) => "unavailable (HTTP 504)",
            (FailureKind::ServerError, Some(500)) => "server_error (HTTP 500)",
            (FailureKind::RequestTimeout, Some(408)) => "request_timeout (HTTP 408)",
            (FailureKind::Conflict, Some(409)) => "conflict (HTTP 409)",
            (FailureKind::FailedDependency, Some(424)) => "failed_dependency (HTTP 424)",
            (FailureKind::Unauthorized, Some(401)) => "unauthorized (HTTP 401)",
            (FailureKind::Forbidden, Some(403)) => "forbidden (HTTP 403)",
            (FailureKind::DeploymentNotFound, Some(404)) => "deployment_not_found (HTTP 404)",
            (FailureKind::PathNotFound, Some(404)) => "path_not_found (HTTP 404)",
            (kind, _) => kind.as_str(),
        }
    }

    /// What it means for the target's health and for the call.
    pub fn class(&self) -> FailureClass {
        self.kind.class()
    }
}

/// What a failure means. Source: `reliability.md` (a), outcome classes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FailureClass {
    /// The target is at fault: counts against it, and another target may do better.
    Hard,
    /// Our credentials, network rules or names are wrong there: an alarm, and another target may do better.
    Misconfigured,
    /// The target is busy, not broken: it cools, and another target serves at once.
    Throttled,
    /// The request is at fault: every target would refuse it. Never routed around.
    Caller,
    /// The service itself is at fault: says nothing about the target.
    Local,
}

/// What happened.
#[derive(Clone, Debug, PartialEq)]
pub enum FailureKind {
    /// No connection: nothing was sent.
    Connect(ConnectFailure),
    /// The connection broke before a response head.
    Reset,
    /// Nothing came in time.
    Silence(Silence),
    /// 429, or 503 with a hint and a capacity code.
    Throttled {
        /// Azure's hint, clamped to 1 s ... 60 s.
        retry_after: Duration,
    },
    /// 408: Azure gave up waiting for itself.
    RequestTimeout,
    /// 409.
    Conflict,
    /// 424.
    FailedDependency,
    /// 500, or another 5xx that is none of the next ones.
    ServerError,
    /// 502, 503 or 504.
    Unavailable,
    /// 401 with our credentials.
    Unauthorized,
    /// 403: network rules, or the credential lacks the role.
    Forbidden,
    /// 404: no such deployment.
    DeploymentNotFound,
    /// 404: no such path or api-version.
    PathNotFound,
    /// A redirect, which is never followed: a key must not travel.
    Redirected,
    /// The request itself was refused.
    Rejected(Rejection),
    /// An answer that is no answer.
    BadResponse(BadResponse),
    /// Vectors that are not of the target's embedding space: no caller may get them.
    OtherSpace(Drift),
    /// A stream that ended before it was whole.
    Truncated,
    /// An error event in the middle of a stream.
    ErrorEvent {
        /// Azure's code, made harmless.
        code: Option<String>,
    },
    /// The service could not even try: no credential at hand, no file descriptor, and the like.
    Local {
        /// A short stable word.
        cause: &'static str,
    },
}

/// Why there is no connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ConnectFailure {
    /// The name does not resolve.
    Dns,
    /// Refused.
    Refused,
    /// No answer in time.
    TimedOut,
    /// No trust: wrong name, expired, unknown authority, broken handshake.
    Tls,
    /// Anything else before the first byte.
    Other,
}

/// Where silence fell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Silence {
    /// No first content.
    FirstContent,
    /// No next event.
    Stall,
    /// No end within the attempt's share of the deadline.
    Total,
}

/// How a request was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rejection {
    /// 400 `context_length_exceeded`.
    ContextLength,
    /// 400 `content_filter`: the prompt was blocked.
    PromptBlocked {
        /// Categories that were filtered, such as `violence`.
        categories: Vec<String>,
    },
    /// 400 `OperationNotSupported`: the model does not do this.
    OperationNotSupported,
    /// 413.
    TooLarge,
    /// 431: too many or too large headers.
    HeadersTooLarge,
    /// Any other 400, 415 or 422.
    Invalid {
        /// Azure's code, made harmless, such as `unsupported_parameter`.
        code: Option<String>,
        /// The parameter Azure names, made harmless, such as `max_tokens`.
        param: Option<String>,
    },
}

/// Why an answer is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BadResponse {
    /// Not JSON, or JSON of another shape.
    Malformed,
    /// 200 with an error body.
    ErrorBody,
    /// No choices, or fewer than asked for.
    MissingChoices,
    /// A choice without a finish reason.
    Unfinished,
    /// Larger than the service takes.
    TooLarge,
    /// Not as many vectors as inputs, or of unequal length.
    WrongVectors,
    /// Of another model version than the configuration insists on.
    VersionMismatch,
    /// A status that no table knows.
    UnexpectedStatus,
}

impl FailureKind {
    /// What it means. The one table.
    pub fn class(&self) -> FailureClass {
        match self {
            Self::Connect(_)
            | Self::Reset
            | Self::Silence(_)
            | Self::RequestTimeout
            | Self::Conflict
            | Self::FailedDependency
            | Self::ServerError
            | Self::Unavailable
            | Self::Redirected
            | Self::BadResponse(_)
            | Self::OtherSpace(_)
            | Self::Truncated
            | Self::ErrorEvent { .. } => FailureClass::Hard,
            Self::Unauthorized | Self::Forbidden | Self::DeploymentNotFound | Self::PathNotFound => {
                FailureClass::Misconfigured
            }
            Self::Throttled { .. } => FailureClass::Throttled,
            Self::Rejected(_) => FailureClass::Caller,
            Self::Local { .. } => FailureClass::Local,
        }
    }

    /// A short stable word for replies, spans and metrics.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Connect(ConnectFailure::Dns) => "dns",
            Self::Connect(ConnectFailure::Refused) => "connection_refused",
            Self::Connect(ConnectFailure::TimedOut) => "connect_timeout",
            Self::Connect(ConnectFailure::Tls) => "tls",
            Self::Connect(ConnectFailure::Other) => "connect",
            Self::Reset => "connection_reset",
            Self::Silence(Silence::FirstContent) => "first_content_timeout",
            Self::Silence(Silence::Stall) => "stalled",
            Self::Silence(Silence::Total) => "attempt_timeout",
            Self::Throttled { .. } => "throttled",
            Self::RequestTimeout => "request_timeout",
            Self::Conflict => "conflict",
            Self::FailedDependency => "failed_dependency",
            Self::ServerError => "server_error",
            Self::Unavailable => "unavailable",
            Self::Unauthorized => "unauthorized",
            Self::Forbidden => "forbidden",
            Self::DeploymentNotFound => "deployment_not_found",
            Self::PathNotFound => "path_not_found",
            Self::Redirected => "redirected",
            Self::Rejected(Rejection::ContextLength) => "context_length_exceeded",
            Self::Rejected(Rejection::PromptBlocked { .. }) => "prompt_blocked",
            Self::Rejected(Rejection::OperationNotSupported) => "operation_not_supported",
            Self::Rejected(Rejection::TooLarge) => "request_too_large",
            Self::Rejected(Rejection::HeadersTooLarge) => "headers_too_large",
            Self::Rejected(Rejection::Invalid { .. }) => "invalid_request",
            Self::BadResponse(BadResponse::Malformed) => "malformed_response",
            Self::BadResponse(BadResponse::ErrorBody) => "error_body",
            Self::BadResponse(BadResponse::MissingChoices) => "missing_choices",
            Self::BadResponse(BadResponse::Unfinished) => "unfinished",
            Self::BadResponse(BadResponse::TooLarge) => "response_too_large",
            Self::BadResponse(BadResponse::WrongVectors) => "wrong_vectors",
            Self::BadResponse(BadResponse::VersionMismatch) => "version_mismatch",
            Self::BadResponse(BadResponse::UnexpectedStatus) => "unexpected_status",
            Self::OtherSpace(_) => "other_embedding_space",
            Self::Truncated => "truncated",
            Self::ErrorEvent { .. } => "error_event",
            Self::Local { cause } => cause,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_told_with_the_status_that_its_word_leaves_open() {
        use FailureKind::*;
        for (kind, status, told) in [
            (Unavailable, 502, "unavailable (HTTP 502)"),
            (Unavailable, 503, "unavailable (HTTP 503)"),
            (Unavailable, 504, "unavailable (HTTP 504)"),
            (ServerError, 500, "server_error (HTTP 500)"),
            (ServerError, 529, "server_error"),
            (RequestTimeout, 408, "request_timeout (HTTP 408)"),
            (Conflict, 409, "conflict (HTTP 409)"),
            (FailedDependency, 424, "failed_dependency (HTTP 424)"),
            (Unauthorized, 401, "unauthorized (HTTP 401)"),
            (Forbidden, 403, "forbidden (HTTP 403)"),
            (DeploymentNotFound, 404, "deployment_not_found (HTTP 404)"),
            (PathNotFound, 404, "path_not_found (HTTP 404)"),
            (Truncated, 200, "truncated"),
        ] {
            let evidence = Box::new(Evidence { http_status: Some(status), ..Evidence::default() });
            let failure = Failure { evidence, ..Failure::without_response(kind) };
            assert_eq!(failure.with_status(), told);
            assert_eq!(failure.class(), failure.kind.class());
        }
        assert_eq!(Failure::without_response(ServerError).with_status(), "server_error");
    }
}
