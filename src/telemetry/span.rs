//! The two spans of a call: the server span, and one client span for each attempt, siblings below it. What they are
//! told is counted as well.
//!
//! Where nothing is exported no span exists, but the W3C trace context still travels from the caller to Azure and
//! stands in the logs.
use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use http::HeaderMap;
use opentelemetry::{
    Context, KeyValue, Value,
    propagation::{Extractor, TextMapPropagator as _},
    trace::{SpanContext, SpanId, Status, TraceContextExt as _, TraceFlags},
};
use opentelemetry_sdk::{
    propagation::TraceContextPropagator,
    trace::{IdGenerator as _, RandomIdGenerator},
};
use sealane_core::domain::{AttemptReason, AttemptRecord, AttemptResult, FinishReason, ReplyHeader, Target, Usage};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

use super::{
    TRACE_TARGET,
    metrics::{AttemptLabels, Metrics},
    names,
};

/// The server span of one call. Cheap to clone; ends with its last clone.
#[derive(Clone, Debug)]
pub struct CallSpan {
    span: Span,
    context: SpanContext,
    method: &'static str,
    started: Instant,
    metrics: Metrics,
}

/// What a call asks for, and under which configuration.
#[derive(Clone, Copy, Debug)]
pub struct CallFacts<'a> {
    /// Logical model name.
    pub model: &'a str,
    /// The caller's name for its unit of work.
    pub workflow: Option<&'a str>,
    /// Configuration in force.
    pub config_revision: &'a str,
}

/// What an attempt asks of its target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// A chat completion.
    Chat {
        /// Streamed from Azure.
        streamed: bool,
    },
    /// Vectors.
    Embeddings,
}

impl Operation {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Chat { .. } => "chat",
            Self::Embeddings => "embeddings",
        }
    }
}

impl CallSpan {
    /// Starts the server span of a call of `method` (`package.Service/Method`), below the caller's own span if the
    /// headers carry a W3C trace context.
    pub fn start(method: &'static str, headers: &HeaderMap, peer: Option<SocketAddr>, metrics: &Metrics) -> Self {
        let (started, metrics) = (Instant::now(), metrics.clone());
        let parent = remote_context(headers);
        let span = tracing::info_span!(target: TRACE_TARGET, "call", otel.name = method, otel.kind = "server");
        if span.is_disabled() {
            return Self { span, context: unexported(parent.span().span_context()), method, started, metrics };
        }
        // Only fails where the span was entered before, which it was not.
        let _ = span.set_parent(parent);
        span.set_attribute(names::RPC_SYSTEM, "grpc");
        span.set_attribute(names::RPC_METHOD, method);
        if let Some(peer) = peer {
            span.set_attribute(names::PEER_ADDRESS, peer.ip().to_string());
            span.set_attribute(names::PEER_PORT, i64::from(peer.port()));
        }
        let context = span.context().span().span_context().clone();
        Self { span, context, method, started, metrics }
    }

    /// Hexadecimal trace id, for log lines.
    pub fn trace_id(&self) -> String {
        self.context.trace_id().to_string()
    }

    /// Notes what the call asks for.
    pub fn asks(&self, facts: CallFacts<'_>) {
        if self.span.is_disabled() {
            return;
        }
        self.set(names::MODEL, facts.model.to_owned());
        self.set(names::CONFIG_REVISION, facts.config_revision.to_owned());
        if let Some(workflow) = facts.workflow {
            self.set(names::WORKFLOW, workflow.to_owned());
        }
    }

    /// Whether anybody will see it.
    pub fn is_exported(&self) -> bool {
        !self.span.is_disabled()
    }

    /// Notes who calls, under which policy. `caller` is the configured name; empty where none are configured.
    pub fn known(&self, caller: &str, policy: &str) {
        if self.span.is_disabled() {
            return;
        }
        self.set(names::POLICY, policy.to_owned());
        if !caller.is_empty() {
            self.set(names::CALLER, caller.to_owned());
        }
    }

    /// Notes which of the route's regions the call may use, and whether policy or request keep it from any target of
    /// the route.
    pub fn permitted<'a>(&self, regions: impl Iterator<Item = &'a str>, restricted: bool) {
        if self.span.is_disabled() {
            return;
        }
        let regions: Vec<&str> = regions.collect();
        // Jaeger finds lists only as a whole; so it does this, and a person reads it more easily.
        self.set(names::POLICY_REGIONS, regions.join(","));
        self.set(names::POLICY_RESTRICTED, restricted);
    }

    /// Notes that the call leaves a failed target for another.
    pub fn failover(&self, from: &AttemptRecord, to: &Target) {
        let reason = match &from.result {
            Some(AttemptResult::Failed { kind, .. }) => kind.as_str(),
            _ => "",
        };
        self.metrics.failed_over(&from.target, to, reason);
        if self.span.is_disabled() {
            return;
        }
        let attributes = vec![
            KeyValue::new(names::FROM, from.target.region.to_string()),
            KeyValue::new(names::TO, to.region.to_string()),
            KeyValue::new(names::REASON, reason),
        ];
        self.span.add_event(names::FAILOVER_EVENT, attributes);
    }

    /// Notes that the call passes over a target that its route would prefer, and why.
    pub fn skipped(&self, target: &Target, why: &'static str) {
        let name = format!("{}/{}", target.region, target.deployment);
        let attributes = vec![KeyValue::new(names::TARGET, name), KeyValue::new(names::REASON, why)];
        self.span.add_event(names::SKIPPED_EVENT, attributes);
    }

    /// Notes who served the call: the tags an auditor searches for.
    pub fn served(&self, by: &AttemptRecord, failed_over: bool, response_id: Option<&str>) {
        self.metrics.call_served(&by.target, failed_over);
        if self.span.is_disabled() {
            return;
        }
        self.set(names::REGION_SERVED, by.target.region.to_string());
        self.set(names::DEPLOYMENT, by.target.deployment.to_string());
        self.set(names::SCOPE, by.target.scope.as_str());
        self.set(names::FAILOVER, failed_over);
        if let Some(boundary) = &by.target.boundary {
            self.set(names::DATA_BOUNDARY, boundary.to_string());
        }
        if let Some(reported) = &by.evidence.reported_region {
            self.set(names::REGION_REPORTED, reported.clone());
        }
        if let Some(id) = response_id.filter(|id| !id.is_empty()) {
            self.set(names::CALL_RESPONSE_ID, id.to_owned());
        }
    }

    /// Notes that the target failed after the caller had seen content from it.
    pub fn interrupted(&self, target: &Target) {
        self.metrics.stream_interrupted(target);
    }

    /// Notes how many attempts the call made.
    pub fn attempts(&self, count: usize) {
        if !self.span.is_disabled() {
            self.set(names::ATTEMPT_COUNT, count as i64);
        }
    }

    /// Notes the status. `code` is gRPC's name of it (`OK`, `UNAVAILABLE`); `reason` is the error's reason.
    pub fn end(&self, code: &'static str, reason: Option<&'static str>) {
        self.metrics.call_ended(self.method, code, reason, self.started.elapsed());
        if self.span.is_disabled() {
            return;
        }
        self.set(names::RPC_STATUS, code);
        if let Some(reason) = reason {
            self.set(names::ERROR_TYPE, reason);
        }
        // The caller's own errors are no errors of the server (semantic conventions, gRPC).
        let servers_fault = ["UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"];
        if servers_fault.contains(&code) {
            self.span.set_status(Status::error(reason.unwrap_or(code)));
        }
    }

    fn set(&self, name: &'static str, value: impl Into<Value>) {
        self.span.set_attribute(name, value);
    }
}

/// The client span of one attempt.
#[derive(Debug)]
pub struct AttemptSpan {
    span: Span,
    context: SpanContext,
    labels: Option<AttemptLabels>,
}

impl AttemptSpan {
    /// Starts the span of an attempt below the call's.
    pub fn start(call: &CallSpan, operation: Operation, target: &Target, reason: AttemptReason, number: u32) -> Self {
        call.metrics.attempt_started(target, reason);
        let labels = call.metrics.attempt_labels(operation, target);
        if call.span.is_disabled() {
            return Self { span: Span::none(), context: unexported(&call.context), labels };
        }
        let span = tracing::info_span!(
            target: TRACE_TARGET,
            parent: &call.span,
            "attempt",
            otel.name = format!("{} {}", operation.as_str(), target.model),
            otel.kind = "client"
        );
        let attempt = Self { context: span.context().span().span_context().clone(), span, labels };
        attempt.set(names::OPERATION, operation.as_str());
        attempt.set(names::PROVIDER, names::AZURE_OPENAI);
        attempt.set(names::AZURE_NAMESPACE, "Microsoft.CognitiveServices");
        attempt.set(names::REQUEST_MODEL, target.model.to_string());
        attempt.set(names::CLOUD_REGION, target.region.to_string());
        attempt.set(names::RESOURCE, target.resource.to_string());
        attempt.set(names::DEPLOYMENT, target.deployment.to_string());
        attempt.set(names::SCOPE, target.scope.as_str());
        attempt.set(names::ATTEMPT_NUMBER, i64::from(number));
        attempt.set(names::ATTEMPT_REASON, reason.as_str());
        if operation == (Operation::Chat { streamed: true }) {
            attempt.set(names::REQUEST_STREAM, true);
        }
        attempt
    }

    /// Notes the address that the request is sent to, by `POST`. The attempt is one send, so that no further span tells
    /// of HTTP.
    pub fn goes_to(&self, host: Option<&str>, port: Option<u16>) {
        if self.span.is_disabled() {
            return;
        }
        self.set(names::HTTP_METHOD, "POST");
        if let Some(host) = host {
            self.set(names::SERVER_ADDRESS, host.to_owned());
        }
        if let Some(port) = port {
            self.set(names::SERVER_PORT, i64::from(port));
        }
    }

    /// `traceparent` and `tracestate` for the request upstream.
    pub fn trace_headers(&self) -> (Option<String>, Option<String>) {
        let context = &self.context;
        let parent = format!("00-{}-{}-{:02x}", context.trace_id(), context.span_id(), context.trace_flags().to_u8());
        let state = Some(context.trace_state().header()).filter(|state| !state.is_empty());
        (Some(parent), state)
    }

    /// Notes what the completion says of itself.
    pub fn replied(&self, header: &ReplyHeader) {
        if self.span.is_disabled() {
            return;
        }
        self.set(names::RESPONSE_ID, header.response_id.clone());
        self.set(names::RESPONSE_MODEL, header.model.clone());
    }

    /// Notes why the choices ended.
    pub fn finished(&self, reasons: impl Iterator<Item = FinishReason>) {
        if self.span.is_disabled() {
            return;
        }
        let reasons: Vec<&str> = reasons.map(FinishReason::as_str).collect();
        self.set(names::FINISH_REASONS, reasons.join(","));
    }

    /// Notes the tokens.
    pub fn used(&self, usage: &Usage) {
        self.labels.iter().for_each(|labels| labels.used(usage));
        if self.span.is_disabled() {
            return;
        }
        for (name, tokens) in [
            (names::INPUT_TOKENS, usage.input_tokens),
            (names::OUTPUT_TOKENS, usage.output_tokens),
            (names::CACHED_TOKENS, usage.cached_input_tokens),
            (names::REASONING_TOKENS, usage.reasoning_output_tokens),
        ] {
            self.set(name, tokens as i64);
        }
    }

    /// Notes how the attempt ended.
    pub fn end(&self, record: &AttemptRecord, first_content: Option<Duration>) {
        let outcome = outcome(record);
        self.labels.iter().for_each(|labels| labels.ended(record, outcome, first_content));
        if self.span.is_disabled() {
            return;
        }
        if let Some(status) = record.evidence.http_status {
            self.set(names::HTTP_STATUS, i64::from(status));
        }
        if let Some(id) = &record.evidence.request_id {
            self.set(names::AZURE_REQUEST_ID, id.clone());
        }
        if let Some(region) = &record.evidence.reported_region {
            self.set(names::REGION_REPORTED, region.clone());
        }
        if let Some(mismatch) = record.mismatch() {
            self.set(names::EVIDENCE_MISMATCH, mismatch.as_str());
        }
        if let Some(first_content) = first_content {
            self.set(names::FIRST_CHUNK, first_content.as_secs_f64());
        }
        if let Some(AttemptResult::Failed { maybe_billed, .. }) = &record.result {
            self.set(names::ERROR_TYPE, outcome);
            self.set(names::MAYBE_BILLED, *maybe_billed);
            self.span.set_status(Status::error(outcome));
        }
        self.set(names::ATTEMPT_OUTCOME, outcome);
    }

    fn set(&self, name: &'static str, value: impl Into<Value>) {
        self.span.set_attribute(name, value);
    }
}

/// The word for how an attempt ended.
fn outcome(record: &AttemptRecord) -> &'static str {
    match &record.result {
        Some(AttemptResult::Served) => "served",
        Some(AttemptResult::Failed { kind, .. }) => kind.as_str(),
        Some(AttemptResult::NotSent) => "not_sent",
        Some(AttemptResult::Cancelled) | None => "cancelled",
    }
}

/// Reads the caller's W3C trace context.
fn remote_context(headers: &HeaderMap) -> Context {
    struct Carrier<'a>(&'a HeaderMap);
    impl Extractor for Carrier<'_> {
        fn get(&self, key: &str) -> Option<&str> {
            self.0.get(key).and_then(|value| value.to_str().ok())
        }
        fn keys(&self) -> Vec<&str> {
            self.0.keys().map(http::HeaderName::as_str).collect()
        }
    }
    if !headers.contains_key("traceparent") {
        return Context::new();
    }
    TraceContextPropagator::new().extract_with_context(&Context::new(), &Carrier(headers))
}

/// An identity below `parent` for what is not exported: same trace, own span id, the parent's flags and state.
fn unexported(parent: &SpanContext) -> SpanContext {
    let ids = RandomIdGenerator::default();
    let (trace_id, flags) = match parent.is_valid() {
        true => (parent.trace_id(), parent.trace_flags()),
        false => (ids.new_trace_id(), TraceFlags::default()),
    };
    let span_id: SpanId = ids.new_span_id();
    SpanContext::new(trace_id, span_id, flags, false, parent.trace_state().clone())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_callers_trace_reaches_the_upstream_even_where_nothing_is_exported() {
        let mut headers = HeaderMap::new();
        let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        headers.insert("traceparent", parent.parse().unwrap());
        headers.insert("tracestate", "vendor=1".parse().unwrap());
        let call = CallSpan::start("test/Method", &headers, None, &Metrics::off());
        assert_eq!(call.trace_id(), "0af7651916cd43dd8448eb211c80319c");
        let attempt = AttemptSpan { span: Span::none(), context: unexported(&call.context), labels: None };
        let (sent, state) = attempt.trace_headers();
        let sent = sent.unwrap();
        assert!(sent.starts_with("00-0af7651916cd43dd8448eb211c80319c-") && sent.ends_with("-01"), "{sent}");
        assert!(!sent.contains("b7ad6b7169203331"), "the attempt has a span id of its own: {sent}");
        assert_eq!(state.as_deref(), Some("vendor=1"));
    }

    #[test]
    fn a_malformed_trace_context_starts_a_new_trace() {
        let mut headers = HeaderMap::new();
        headers.insert("traceparent", "00-zz-zz-01".parse().unwrap());
        let call = CallSpan::start("test/Method", &headers, None, &Metrics::off());
        assert_ne!(call.trace_id(), "00000000000000000000000000000000");
    }
}
