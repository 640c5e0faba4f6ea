//! Errors -> gRPC statuses: the one table (`docs/errors.md` shows it to callers). Every status carries one
//! `ErrorInfo`; its code tells the client what to do next.
mod denied;
mod ingest;

use std::{collections::HashMap, sync::Arc, time::Duration};

use sealane_core::{
    domain::{AttemptRecord, ModelKind, Rejection, Target},
    router::GiveUp,
};
use tonic::{
    Code, Status,
    metadata::{MetadataMap, MetadataValue},
};
use tonic_types::{ErrorDetails, StatusExt as _};

use self::denied::not_permitted;
pub(super) use self::ingest::{broken_off, out_of_order};
use super::{Violations, deadline::MalformedTimeout, explain::is_unreadable, upstream_field};
use crate::{
    audit::{JournalError, Label},
    dispatch::{CallError, CallFailure},
};

/// `ErrorInfo.domain` of every error.
pub const DOMAIN: &str = "sealane.v1";

/// The reason of a call that declares no data class where its policy requires one.
const DATA_CLASS_REQUIRED: &str = "DATA_CLASS_REQUIRED";

/// An error as callers see it.
#[derive(Debug)]
pub struct Refusal(Box<Parts>);

#[derive(Debug)]
struct Parts {
    code: Code,
    reason: &'static str,
    message: String,
    facts: HashMap<String, String>,
    details: ErrorDetails,
    retry_after: Option<Duration>,
    trailers: MetadataMap,
    /// Refused for who calls.
    denied: bool,
    /// Targets that are not permitted, and why.
    not_permitted: Vec<Label>,
}

impl Refusal {
    fn new(code: Code, reason: &'static str, message: impl Into<String>) -> Self {
        Self(Box::new(Parts {
            code,
            reason,
            message: message.into(),
            facts: HashMap::new(),
            details: ErrorDetails::new(),
            retry_after: None,
            trailers: MetadataMap::new(),
            denied: false,
            not_permitted: Vec::new(),
        }))
    }

    /// The reason of its `ErrorInfo`.
    pub fn reason(&self) -> &'static str {
        self.0.reason
    }

    /// Its code.
    pub fn code(&self) -> Code {
        self.0.code
    }

    /// What an auditor wants to know of: somebody wanted what they may not. The targets that are not permitted, as
    /// far as it was about targets.
    pub(super) fn denial(&self) -> Option<&[Label]> {
        let denied = self.0.denied || self.0.code == Code::FailedPrecondition || self.0.reason == DATA_CLASS_REQUIRED;
        denied.then_some(&*self.0.not_permitted)
    }

    fn fact(mut self, key: &str, value: impl Into<String>) -> Self {
        self.0.facts.insert(key.to_owned(), value.into());
        self
    }

    fn named(mut self, reason: &'static str) -> Self {
        self.0.reason = reason;
        self
    }

    fn retry_after(mut self, wait: Duration) -> Self {
        self.0.retry_after = Some(wait);
        self
    }

    /// Says what was tried, in the details and in the trailers that `-v` of command line tools shows.
    fn tried(mut self, attempts: &[AttemptRecord]) -> Self {
        self.set_trailer("x-sealane-attempts", &attempts.len().to_string());
        if let Some(last) = attempts.last() {
            self.set_trailer("x-sealane-region", &last.target.region);
            self = self.fact("attempts", attempts.len().to_string()).fact("lastRegion", &*last.target.region);
        }
        self
    }

    fn set_trailer(&mut self, key: &'static str, value: &str) {
        if let Ok(value) = MetadataValue::try_from(value) {
            self.0.trailers.insert(key, value);
        }
    }
}

impl From<Refusal> for Status {
    fn from(refusal: Refusal) -> Self {
        let mut refusal = *refusal.0;
        refusal.details.set_error_info(refusal.reason, DOMAIN, refusal.facts);
        if let Some(wait) = refusal.retry_after {
            refusal.details.set_retry_info(Some(wait));
            // gRPC's own clients wait as long as this says before they retry by themselves.
            if let Ok(value) = MetadataValue::try_from(wait.as_millis().to_string()) {
                refusal.trailers.insert("grpc-retry-pushback-ms", value);
            }
        }
        Status::with_error_details_and_metadata(refusal.code, refusal.message, refusal.details, refusal.trailers)
    }
}

/// A request that cannot be used.
impl From<Violations> for Refusal {
    fn from(violations: Violations) -> Self {
        let told: Vec<String> = violations.iter().map(|one| format!("{} {}", one.field, one.description)).collect();
        let mut refusal = Self::new(Code::InvalidArgument, "INVALID_REQUEST", told.join("; "));
        for one in violations.iter() {
            refusal.0.details.add_bad_request_violation(one.field.clone(), one.description.clone());
        }
        refusal
    }
}

impl From<MalformedTimeout> for Refusal {
    fn from(_: MalformedTimeout) -> Self {
        let mut violations = Violations::none();
        violations.add("grpc-timeout", "must be 1 to 8 digits and one of the units H, M, S, m, u, n");
        violations.into()
    }
}

/// A region that is not configured.
pub(super) fn unknown_region(region: &str) -> Refusal {
    not_configured("REGION_NOT_CONFIGURED", "region", region)
}

/// A resource that is not configured.
pub(super) fn unknown_resource(resource: &str) -> Refusal {
    not_configured("RESOURCE_NOT_CONFIGURED", "resource", resource)
}

/// A model that is not configured.
pub(super) fn unknown_model(model: &str) -> Refusal {
    not_configured("MODEL_NOT_CONFIGURED", "model", model)
}

fn not_configured(reason: &'static str, what: &str, name: &str) -> Refusal {
    let shown: String = name.chars().take(64).collect();
    let message = format!("{what} {shown:?} is not configured; RegionStatus lists those that are");
    let mut refusal = Refusal::new(Code::NotFound, reason, message).fact(what, shown.clone());
    refusal.0.details.set_resource_info(what, shown, "", "not configured");
    refusal
}

/// Names that exist, but no target has all of them.
pub(super) fn no_such_target() -> Refusal {
    let message = "no target has everything that the selector names; RegionStatus lists them all";
    let mut refusal = Refusal::new(Code::NotFound, "TARGET_NOT_CONFIGURED", message);
    refusal.0.details.set_resource_info("target", "", "", "not configured");
    refusal
}

/// The caller's time is up before a wait that has no attempts.
pub(super) fn time_is_up(message: &str) -> Refusal {
    Refusal::new(Code::DeadlineExceeded, "DEADLINE_EXCEEDED", message)
}

/// A reply that the caller's gRPC stack would refuse.
pub(super) fn response_too_large(bytes: usize, limit: usize) -> Refusal {
    Refusal::new(
        Code::ResourceExhausted,
        "RESPONSE_TOO_LARGE",
        format!(
            "the reply has {bytes} bytes, more than the {limit} that the caller is known to take: ask for fewer \
             inputs a call, or state your limit in the metadata x-sealane-max-recv-bytes"
        ),
    )
    .fact("bytes", bytes.to_string())
    .fact("limit", limit.to_string())
}

/// What tonic refused before any handler saw it; `None` if it is none of the known cases.
pub(super) fn transport(said: &Status) -> Option<Refusal> {
    let message = said.message();
    match said.code() {
        // tonic's word for a message over the decode limit.
        Code::OutOfRange => Some(request_too_large(message)),
        // tonic bounds what a compressed message may become, and says so in its own words.
        Code::ResourceExhausted if message.starts_with("Error decompressing") => Some(Refusal::new(
            Code::ResourceExhausted,
            "REQUEST_TOO_LARGE",
            "the request is larger than the service takes once it is decompressed: send less in one call",
        )),
        Code::Internal if message.starts_with("Error decompressing") => Some(Refusal::new(
            Code::InvalidArgument,
            "INVALID_REQUEST",
            "the request says that it is compressed but cannot be decompressed",
        )),
        Code::Internal if is_unreadable(said) => Some(Refusal::new(
            Code::InvalidArgument,
            "INVALID_REQUEST",
            format!("the request is no message of this method: {message}"),
        )),
        Code::Unimplemented => Some(Refusal::new(
            Code::Unimplemented,
            "NOT_IMPLEMENTED",
            match message {
                "" => "no such method; server reflection lists those that exist".to_owned(),
                other => other.to_owned(),
            },
        )),
        _ => None,
    }
}

/// tonic says both numbers in its text: bytes found, and the limit.
fn request_too_large(said: &str) -> Refusal {
    let mut numbers = said.split(|c: char| !c.is_ascii_digit()).filter(|digits| !digits.is_empty());
    let (bytes, limit) = (numbers.next().unwrap_or("?"), numbers.next().unwrap_or("?"));
    Refusal::new(
        Code::ResourceExhausted,
        "REQUEST_TOO_LARGE",
        format!("the request has {bytes} bytes, the service takes at most {limit}: send less in one call"),
    )
    .fact("bytes", bytes)
    .fact("limit", limit)
}

/// An answer whose end is missing although nothing failed: our own fault, and never `OK`.
pub(super) fn ended_without_end() -> Refusal {
    Refusal::new(Code::Internal, "UPSTREAM_BAD_RESPONSE", "the answer ended without its end; it is incomplete")
}

/// The service is about to stop.
pub(super) fn draining() -> Refusal {
    Refusal::new(Code::Unavailable, "DRAINING", "this replica is about to stop; try again, on another one")
        .retry_after(Duration::from_millis(100))
}

impl From<CallError> for Refusal {
    fn from(error: CallError) -> Self {
        let attempts = &error.attempts;
        match error.failure {
            CallFailure::UnknownModel { model } => unknown_model(&model),
            CallFailure::WrongModelKind { model, kind } => wrong_kind(&model, kind),
            CallFailure::GaveUp(why) => gave_up(why, &error.model, attempts).tried(attempts),
            CallFailure::NotRecorded { cause } => audit_unavailable(&cause).tried(attempts),
            CallFailure::Interrupted { target, failure } => Refusal::new(
                Code::Unavailable,
                "STREAM_INTERRUPTED",
                format!("region {} failed in the middle of the answer ({failure}); it is incomplete", target.region),
            )
            .fact("servedRegion", &*target.region)
            .fact("failure", failure)
            .fact("partial", "true")
            .tried(attempts),
        }
    }
}

/// No record, no attempt. The cause is the operating system's word, and nothing of the call.
fn audit_unavailable(cause: &JournalError) -> Refusal {
    Refusal::new(
        Code::Unavailable,
        "AUDIT_UNAVAILABLE",
        format!("nothing was sent, since the caller's policy requires a record of it: {cause}; retry with backoff"),
    )
    .retry_after(Duration::from_secs(1))
}

fn wrong_kind(model: &str, kind: ModelKind) -> Refusal {
    let does = match kind {
        ModelKind::Chat => "answers Complete and CompleteStream",
        ModelKind::Embedding => "answers Embed and EmbedStream",
    };
    let mut violations = Violations::none();
    violations.add("model", format!("{model} {does} only"));
    Refusal::from(violations).fact("model", model)
}

fn gave_up(why: GiveUp, model: &str, attempts: &[AttemptRecord]) -> Refusal {
    let regions = regions(attempts);
    match why {
        GiveUp::NotPermitted { policy, refusals } => not_permitted(&policy, model, &refusals),
        GiveUp::Rejected(rejection) => rejected(rejection),
        GiveUp::Throttled { retry_after } => {
            let seconds = retry_after.as_secs_f64().ceil();
            let mut refusal = Refusal::new(
                Code::ResourceExhausted,
                "ALL_REGIONS_RATE_LIMITED",
                format!("every permitted region is rate limited; retry in {seconds} s"),
            )
            .retry_after(retry_after);
            refusal.0.details.add_quota_failure_violation(format!("model:{model}"), "Azure's quota is used up");
            refusal
        }
        GiveUp::Drained { targets, ends_in } => all_drained(&targets, ends_in, model),
        GiveUp::Unavailable { retry_after } => Refusal::new(
            Code::Unavailable,
            "ALL_REGIONS_UNAVAILABLE",
            match attempts {
                [] => format!("no permitted region could take a call for model {model}; retry with backoff"),
                _ => {
                    format!("no permitted region could answer for model {model} (tried {regions}); retry with backoff")
                }
            },
        )
        .retry_after(retry_after),
        GiveUp::Overloaded { retry_after } => Refusal::new(
            Code::Unavailable,
            "OVERLOADED",
            format!(
                "every permitted target of model {model} has as many calls in flight as it may; retry with backoff"
            ),
        )
        .retry_after(retry_after),
        GiveUp::Misconfigured => Refusal::new(
            Code::Internal,
            "UPSTREAM_AUTH_FAILED",
            format!(
                "Azure refuses the service's own credentials or does not know its deployment of model {model} \
                 (tried {regions}); the service's operator must mend its configuration"
            ),
        ),
        GiveUp::BadResponse => Refusal::new(
            Code::Internal,
            "UPSTREAM_BAD_RESPONSE",
            format!("no permitted region gave a usable answer for model {model} (tried {regions})"),
        ),
        GiveUp::Local { cause } => Refusal::new(
            Code::Unavailable,
            "OVERLOADED",
            format!("the service could not try: {cause}; retry with backoff"),
        )
        .fact("cause", cause)
        .retry_after(Duration::from_secs(1)),
        GiveUp::DeadlineExceeded => Refusal::new(
            Code::DeadlineExceeded,
            "DEADLINE_EXCEEDED",
            match attempts.len() {
                0 => "the deadline passed before anything could be tried; allow more time".to_owned(),
                count => format!("the deadline passed after {count} attempts (tried {regions}); allow more time"),
            },
        ),
    }
}

/// Longest wait that a caller is told to keep while targets are drained: an operator may release one sooner.
const LONGEST_WAIT_FOR_A_RELEASE: Duration = Duration::from_secs(60);

fn all_drained(targets: &[Arc<Target>], ends_in: Duration, model: &str) -> Refusal {
    let names: Vec<_> = targets.iter().map(|target| format!("{}/{}", target.region, target.resource)).collect();
    let seconds = ends_in.as_secs_f64().ceil();
    Refusal::new(
        Code::Unavailable,
        "ALL_REGIONS_UNAVAILABLE",
        format!(
            "an operator has drained every target that is permitted for model {model} ({}); the first of these drains \
             ends by itself in {seconds} s",
            names.join(", ")
        ),
    )
    .fact("drained", names.join(","))
    .retry_after(ends_in.min(LONGEST_WAIT_FOR_A_RELEASE))
}

fn rejected(rejection: Rejection) -> Refusal {
    let invalid = |reason, message: &str| Refusal::new(Code::InvalidArgument, reason, message);
    match rejection {
        Rejection::ContextLength => {
            let mut violations = Violations::none();
            violations.add("messages", "are longer than the model's context window together with max_output_tokens");
            Refusal::from(violations).named("CONTEXT_LENGTH_EXCEEDED")
        }
        Rejection::PromptBlocked { categories } => {
            invalid("PROMPT_BLOCKED", "Azure's content filter blocked the prompt; change it")
                .fact("category", categories.join(","))
        }
        Rejection::OperationNotSupported => {
            invalid("INVALID_REQUEST", "the deployment's model does not support this operation")
        }
        Rejection::TooLarge => invalid("INVALID_REQUEST", "Azure refuses the request as too large"),
        Rejection::HeadersTooLarge => invalid("INVALID_REQUEST", "Azure refuses the request's headers"),
        Rejection::Invalid { code, param } => {
            let code = code.unwrap_or_else(|| "invalid_request_error".to_owned());
            let param = param.unwrap_or_default();
            let field = upstream_field::field(&param);
            let mut violations = Violations::none();
            violations.add(field.clone(), format!("was refused by Azure ({code})"));
            let refusal = Refusal::from(violations).fact("upstreamCode", code).fact("field", field);
            if param.is_empty() { refusal } else { refusal.fact("upstreamParam", param) }
        }
    }
}

fn regions(attempts: &[AttemptRecord]) -> String {
    let mut names: Vec<&str> = attempts.iter().map(|attempt| &*attempt.target.region).collect();
    names.dedup();
    names.join(", ")
}

/// gRPC's name of a code, as spans carry it.
pub(super) fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}
