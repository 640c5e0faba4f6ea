//! Domain -> protobuf.
use std::time::Duration;

use sealane_core::domain::{
    AttemptReason, AttemptRecord, AttemptResult, BadResponse, ChatReply, Choice, CodeCitation, ContentFilterResults,
    EmbedReply, FailureClass, FailureKind, FilterDetail, FilterGrounds, FinishReason, LogProbs, Part, ProcessingScope,
    PromptFilterResult, ReplyHeader, Severity, TokenAlternative, TokenLogProb, ToolCall, UrlCitation, Usage, Vector,
};

use super::{Embedding, pb};
use crate::dispatch::Served;

/// A chat completion, whole.
pub(super) fn chat(reply: ChatReply, served: &Served) -> pb::CompleteResponse {
    let ReplyHeader { response_id, model, created, system_fingerprint, service_tier } = reply.header;
    pb::CompleteResponse {
        response_id,
        model,
        create_time: created_time(created),
        choices: reply.choices.into_iter().map(choice).collect(),
        usage: reply.usage.as_ref().map(usage),
        served_by: Some(served_by(served)),
        system_fingerprint: system_fingerprint.unwrap_or_default(),
        prompt_filter_results: prompt_filter(reply.prompt_filter),
        service_tier: service_tier.unwrap_or_default(),
    }
}

/// Vectors, as floats or as bytes.
pub(super) fn embeddings(reply: EmbedReply, encoding: pb::VectorEncoding, served: &Served) -> pb::EmbedResponse {
    let dimensions = reply.vectors.first().map_or(0, Vector::dimensions);
    let space = served.by().and_then(|attempt| attempt.target.embedding_space.as_ref());
    let embedding_space = space.map(|space| space.id(dimensions)).unwrap_or_default();
    let embeddings = reply.vectors.into_iter().enumerate().map(|(index, vector)| {
        let (values, packed_values) = laid_out(vector, encoding);
        Embedding { index: index as i32, values, packed_values }
    });
    pb::EmbedResponse {
        model: reply.model,
        embeddings: embeddings.collect(),
        dimensions: dimensions as i32,
        usage: Some(usage(&reply.usage)),
        served_by: Some(served_by(served)),
        embedding_space,
    }
}

/// A vector's bytes in the field that was asked for; the other is empty.
pub(super) fn laid_out(vector: Vector, encoding: pb::VectorEncoding) -> (Vec<u8>, Vec<u8>) {
    let bytes = vector.into_le_bytes();
    match encoding {
        pb::VectorEncoding::Unspecified | pb::VectorEncoding::Float32 => (bytes, Vec::new()),
        pb::VectorEncoding::Float32LeBytes => (Vec::new(), bytes),
    }
}

/// Who served a call.
pub(super) fn served_by(served: &Served) -> pb::ServedBy {
    let attempts = served.attempts.iter().enumerate();
    let attempts = attempts.map(|(at, record)| attempt(record, at == served.serving)).collect();
    let pinned_region = served.pinned_region.clone().unwrap_or_default();
    let Some(by) = served.by() else {
        return pb::ServedBy { attempts, pinned_region, ..Default::default() };
    };
    pb::ServedBy {
        region: by.target.region.to_string(),
        data_boundary: by.target.boundary.as_deref().unwrap_or_default().to_owned(),
        resource: by.target.resource.to_string(),
        deployment: by.target.deployment.to_string(),
        processing_scope: scope(by.target.scope) as i32,
        reported_region: by.evidence.reported_region.clone().unwrap_or_default(),
        reported_deployment: by.evidence.reported_deployment.clone().unwrap_or_default(),
        spilled_over: by.evidence.spilled_over,
        upstream_request_id: by.evidence.request_id.clone().unwrap_or_default(),
        failed_over: served.failed_over(),
        attempts,
        pinned_region,
    }
}

fn attempt(record: &AttemptRecord, serving: bool) -> pb::Attempt {
    use pb::attempt::Outcome;
    let (outcome, failure, maybe_billed) = match &record.result {
        Some(AttemptResult::Served) => (Outcome::Served, "", false),
        Some(AttemptResult::Failed { kind, maybe_billed }) => (failed(kind), kind.as_str(), *maybe_billed),
        Some(AttemptResult::Cancelled | AttemptResult::NotSent) => (Outcome::Cancelled, "cancelled", true),
        // Under way: a stream's first event names the attempt whose content it carries.
        None if serving => (Outcome::Served, "", false),
        None => (Outcome::Unspecified, "", false),
    };
    pb::Attempt {
        number: record.number as i32,
        region: record.target.region.to_string(),
        resource: record.target.resource.to_string(),
        deployment: record.target.deployment.to_string(),
        reason: reason(record.reason) as i32,
        outcome: outcome as i32,
        failure: failure.to_owned(),
        http_status_code: record.evidence.http_status.map_or(0, i32::from),
        start_offset: duration(record.start_offset),
        duration: duration(record.duration),
        upstream_request_id: record.evidence.request_id.clone().unwrap_or_default(),
        maybe_billed,
    }
}

fn failed(kind: &FailureKind) -> pb::attempt::Outcome {
    use pb::attempt::Outcome;
    match kind {
        FailureKind::Connect(_) => Outcome::ConnectFailed,
        FailureKind::Silence(_) => Outcome::Timeout,
        FailureKind::Throttled { .. } => Outcome::RateLimited,
        FailureKind::Unauthorized | FailureKind::Forbidden => Outcome::AuthFailed,
        FailureKind::DeploymentNotFound | FailureKind::PathNotFound => Outcome::NotFound,
        FailureKind::BadResponse(BadResponse::UnexpectedStatus) => Outcome::Unavailable,
        FailureKind::BadResponse(_) | FailureKind::Truncated | FailureKind::Redirected => Outcome::BadResponse,
        FailureKind::Rejected(_) => Outcome::Rejected,
        kind if kind.class() == FailureClass::Local => Outcome::Cancelled,
        _ => Outcome::Unavailable,
    }
}

fn reason(reason: AttemptReason) -> pb::attempt::Reason {
    use pb::attempt::Reason;
    match reason {
        AttemptReason::Route => Reason::Route,
        AttemptReason::Pin => Reason::Pin,
        AttemptReason::Rescue => Reason::Rescue,
        AttemptReason::Spill => Reason::Spill,
        AttemptReason::Retry => Reason::Retry,
        AttemptReason::Hedge => Reason::Hedge,
        AttemptReason::Restart => Reason::Restart,
        AttemptReason::Return => Reason::Return,
    }
}

/// Where Azure may compute.
pub(super) fn scope(scope: ProcessingScope) -> pb::ProcessingScope {
    match scope {
        ProcessingScope::Regional => pb::ProcessingScope::Regional,
        ProcessingScope::DataZone => pb::ProcessingScope::DataZone,
        ProcessingScope::Global => pb::ProcessingScope::Global,
    }
}

fn choice(choice: Choice) -> pb::Choice {
    let withheld = choice.finish_reason == FinishReason::ContentFilter
        && choice.content.is_empty()
        && choice.tool_calls.is_empty();
    let message = (!withheld).then(|| pb::Message {
        role: pb::Role::Assistant as i32,
        content: choice.content.into_iter().filter_map(part).collect(),
        name: String::new(),
        tool_calls: choice.tool_calls.into_iter().map(tool_call).collect(),
        tool_call_id: String::new(),
    });
    pb::Choice {
        index: choice.index as i32,
        message,
        finish_reason: finish_reason(choice.finish_reason) as i32,
        filter_results: filter(choice.filter),
        logprobs: choice.logprobs.map(logprobs),
        url_citations: url_citations(choice.url_citations),
    }
}

fn part(part: Part) -> Option<pb::ContentPart> {
    let part = match part {
        Part::Text(text) => pb::content_part::Part::Text(text),
        Part::Refusal(text) => pb::content_part::Part::Refusal(text),
        // Models answer in text; pictures and documents only travel towards them.
        Part::Image { .. } | Part::File { .. } => return None,
    };
    Some(pb::ContentPart { part: Some(part) })
}

/// Sources that an answer cites.
pub(super) fn url_citations(citations: Vec<UrlCitation>) -> Vec<pb::UrlCitation> {
    let encode =
        |UrlCitation { uri, title, start_index, end_index }| pb::UrlCitation { uri, title, start_index, end_index };
    citations.into_iter().map(encode).collect()
}

fn tool_call(call: ToolCall) -> pb::ToolCall {
    pb::ToolCall { id: call.id, name: call.name, arguments_json: call.arguments_json }
}

/// Why a choice ended.
pub(super) fn finish_reason(reason: FinishReason) -> pb::FinishReason {
    match reason {
        FinishReason::Stop => pb::FinishReason::Stop,
        FinishReason::Length => pb::FinishReason::Length,
        FinishReason::ToolCalls => pb::FinishReason::ToolCalls,
        FinishReason::ContentFilter => pb::FinishReason::ContentFilter,
        FinishReason::Other => pb::FinishReason::Other,
    }
}

/// Tokens.
pub(super) fn usage(usage: &Usage) -> pb::Usage {
    pb::Usage {
        input_tokens: usage.input_tokens as i64,
        output_tokens: usage.output_tokens as i64,
        total_tokens: usage.total_tokens as i64,
        cached_input_tokens: usage.cached_input_tokens as i64,
        reasoning_output_tokens: usage.reasoning_output_tokens as i64,
        accepted_prediction_tokens: usage.accepted_prediction_tokens as i64,
        rejected_prediction_tokens: usage.rejected_prediction_tokens as i64,
    }
}

/// Verdicts on the prompt.
pub(super) fn prompt_filter(results: Vec<PromptFilterResult>) -> Vec<pb::PromptFilterResult> {
    let encode = |one: PromptFilterResult| pb::PromptFilterResult {
        prompt_index: one.prompt_index as i32,
        results: filter(one.results),
    };
    results.into_iter().map(encode).collect()
}

/// Verdicts on one text; unset if there are none.
pub(super) fn filter(results: ContentFilterResults) -> Option<pb::ContentFilterResults> {
    use pb::content_filter_verdict::Severity as Wire;
    if results.is_empty() {
        return None;
    }
    let verdicts = results.verdicts.into_iter().map(|verdict| {
        let FilterGrounds { citation, details } = verdict.grounds.map(|grounds| *grounds).unwrap_or_default();
        pb::ContentFilterVerdict {
            category: verdict.category.into_owned(),
            filtered: verdict.filtered,
            detected: verdict.detected.unwrap_or_default(),
            severity: match verdict.severity {
                None => Wire::Unspecified,
                Some(Severity::Safe) => Wire::Safe,
                Some(Severity::Low) => Wire::Low,
                Some(Severity::Medium) => Wire::Medium,
                Some(Severity::High) => Wire::High,
            } as i32,
            citation: citation.map(|CodeCitation { uri, license }| pb::CodeCitation { uri, license }),
            details: details.into_iter().map(filter_detail).collect(),
        }
    });
    Some(pb::ContentFilterResults { verdicts: verdicts.collect(), unfiltered: results.unfiltered })
}

fn filter_detail(detail: FilterDetail) -> pb::ContentFilterDetail {
    let FilterDetail { id, filtered, detected, redacted, start_offset, end_offset } = detail;
    pb::ContentFilterDetail { id, filtered, detected, redacted, start_offset, end_offset }
}

/// Log probabilities.
pub(super) fn logprobs(logprobs: LogProbs) -> pb::LogProbs {
    let alternative =
        |one: TokenAlternative| pb::TokenAlternative { token: one.token, logprob: one.logprob, bytes: one.bytes };
    let token = |one: TokenLogProb| pb::TokenLogProb {
        token: one.token,
        logprob: one.logprob,
        bytes: one.bytes,
        top: one.top.into_iter().map(alternative).collect(),
    };
    pb::LogProbs {
        content: logprobs.content.into_iter().map(token).collect(),
        refusal: logprobs.refusal.into_iter().map(token).collect(),
    }
}

/// Whole seconds since 1970; unset if Azure stated none.
pub(super) fn created_time(seconds: i64) -> Option<prost_types::Timestamp> {
    (seconds != 0).then_some(prost_types::Timestamp { seconds, nanos: 0 })
}

/// A span of time.
pub(super) fn duration(span: Duration) -> Option<prost_types::Duration> {
    let seconds = i64::try_from(span.as_secs()).ok()?;
    Some(prost_types::Duration { seconds, nanos: span.subsec_nanos() as i32 })
}
