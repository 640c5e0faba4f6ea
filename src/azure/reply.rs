//! Azure's answers -> domain.
use sealane_core::domain::{
    BadResponse, ChatEvent, ChatReply, Choice, Delta, EmbedReply, Evidence, FailureKind, FinishReason, LogProbs, Part,
    PromptFilterResult, ReplyHeader, TokenAlternative, TokenLogProb, ToolCall, ToolCallDelta, UrlCitation, Usage,
    Vector,
};

use super::wire;

/// A whole completion; it must hold as many finished choices as were asked for.
pub(super) fn completion(body: &[u8], expected_choices: u32) -> Result<ChatReply, FailureKind> {
    let wire: wire::Completion = serde_json::from_slice(body).map_err(|_| bad(BadResponse::Malformed))?;
    if wire.error.is_some() {
        return Err(bad(BadResponse::ErrorBody));
    }
    if wire.choices.len() < expected_choices as usize {
        return Err(bad(BadResponse::MissingChoices));
    }
    let mut choices: Vec<Choice> = wire.choices.into_iter().map(choice).collect::<Result<_, _>>()?;
    choices.sort_by_key(|choice| choice.index);
    let foreign = choices.iter().any(|choice| choice.index >= expected_choices);
    if foreign || choices.windows(2).any(|pair| pair[0].index == pair[1].index) {
        return Err(bad(BadResponse::MissingChoices));
    }
    Ok(ChatReply {
        header: ReplyHeader {
            response_id: wire.id.unwrap_or_default(),
            model: wire.model.unwrap_or_default(),
            created: wire.created.unwrap_or_default(),
            system_fingerprint: wire.system_fingerprint,
            service_tier: wire.service_tier,
        },
        choices,
        usage: wire.usage.as_ref().map(usage),
        prompt_filter: prompt_filter(wire.prompt_filter_results),
    })
}

fn choice(wire: wire::Choice) -> Result<Choice, FailureKind> {
    let finish_reason = wire.finish_reason.as_deref().map(finish_reason).ok_or(bad(BadResponse::Unfinished))?;
    let mut content = Vec::new();
    let mut tool_calls = Vec::new();
    let mut url_citations = Vec::new();
    // A withheld answer may lack its message; whatever else does is no answer. And a withheld answer carries no part of
    // itself, as the assembled one does not.
    let withheld = finish_reason == FinishReason::ContentFilter;
    if wire.message.is_none() && !withheld {
        return Err(bad(BadResponse::Malformed));
    }
    if let Some(message) = wire.message.filter(|_| !withheld) {
        content.extend(message.content.filter(|text| !text.is_empty()).map(Part::Text));
        content.extend(message.refusal.filter(|text| !text.is_empty()).map(Part::Refusal));
        tool_calls = message.tool_calls.into_iter().map(tool_call).collect();
        url_citations = self::url_citations(message.annotations);
    }
    let mut filter = wire.content_filter_results;
    filter.verdicts.sort_by(|a, b| a.category.cmp(&b.category));
    let logprobs = wire.logprobs.filter(|_| !withheld).map(logprobs);
    Ok(Choice { index: wire.index, content, tool_calls, finish_reason, filter, logprobs, url_citations })
}

fn url_citations(wire: Vec<wire::Annotation>) -> Vec<UrlCitation> {
    let citation = |one: wire::UrlCitation| UrlCitation {
        uri: one.url.unwrap_or_default(),
        title: one.title.unwrap_or_default(),
        start_index: one.start_index.unwrap_or_default(),
        end_index: one.end_index.unwrap_or_default(),
    };
    wire.into_iter().filter_map(|annotation| annotation.url_citation).map(citation).collect()
}

fn tool_call(wire: wire::ToolCall) -> ToolCall {
    let (name, arguments) = wire.function.map_or((None, None), |function| (function.name, function.arguments));
    ToolCall {
        id: wire.id.unwrap_or_default(),
        name: name.unwrap_or_default(),
        arguments_json: arguments.unwrap_or_default(),
    }
}

/// One chunk's events, appended to `events`. The header comes from the first chunk that has an id; `header_seen`
/// remembers that it did (contract 3.3, point 1).
pub(super) fn chunk(
    data: &[u8],
    header_seen: &mut bool,
    events: &mut impl Extend<ChatEvent>,
) -> Result<(), FailureKind> {
    let wire: wire::Chunk<'_> = serde_json::from_slice(data).map_err(|_| bad(BadResponse::Malformed))?;
    if wire.error.is_some() {
        return Err(super::failure::error_event(data));
    }
    if let Some(wire::Text(id)) = wire.id.filter(|id| !*header_seen && !id.0.is_empty()) {
        *header_seen = true;
        events.extend([ChatEvent::Header(ReplyHeader {
            response_id: id.into_owned(),
            model: wire.model.unwrap_or_default().0.into_owned(),
            created: wire.created.unwrap_or_default(),
            system_fingerprint: wire.system_fingerprint.map(|text| text.0.into_owned()),
            service_tier: wire.service_tier.map(|text| text.0.into_owned()),
        })]);
    }
    let verdicts = prompt_filter(wire.prompt_filter_results);
    if !verdicts.is_empty() {
        events.extend([ChatEvent::PromptFilter(verdicts)]);
    }
    for choice in wire.choices {
        chunk_choice(choice, events);
    }
    events.extend(wire.usage.as_ref().map(|tokens| ChatEvent::Usage(usage(tokens))));
    Ok(())
}

fn chunk_choice(wire: wire::ChunkChoice<'_>, events: &mut impl Extend<ChatEvent>) {
    let choice = wire.index;
    let mut filter = wire.content_filter_results;
    let finish = wire.finish_reason.map(|word| finish_reason(&word.0));
    // What has verdicts but neither a delta nor a finish is the asynchronous filter's, with offsets or without.
    let annotates = wire.delta.is_none() && finish.is_none() && !filter.is_empty();
    if annotates || wire.content_filter_offsets.is_some() {
        let offsets = wire.content_filter_offsets.unwrap_or_default();
        events.extend([ChatEvent::FilterAnnotation {
            choice,
            filter: std::mem::take(&mut filter),
            check_offset: offsets.check_offset,
            start_offset: offsets.start_offset,
            end_offset: offsets.end_offset,
        }]);
    }
    if let Some(delta) = wire.delta {
        let delta = Delta {
            choice,
            text: delta.content.unwrap_or_default(),
            refusal: delta.refusal.unwrap_or_default(),
            tool_calls: delta.tool_calls.into_iter().map(tool_call_delta).collect(),
            logprobs: wire.logprobs.map(logprobs),
            url_citations: url_citations(delta.annotations),
            filter: if finish.is_none() { std::mem::take(&mut filter) } else { Default::default() },
        };
        // A last chunk often has an empty delta; its verdicts go with the finish.
        if finish.is_none() || !delta.is_empty() || delta.logprobs.is_some() {
            events.extend([ChatEvent::Delta(delta)]);
        }
    }
    events.extend(finish.map(|reason| ChatEvent::Finish { choice, reason, filter }));
}

fn tool_call_delta(wire: wire::ToolCallDelta) -> ToolCallDelta {
    let (name, arguments) = wire.function.map_or((None, None), |function| (function.name, function.arguments));
    ToolCallDelta { index: wire.index, id: wire.id, name, arguments_fragment: arguments.unwrap_or_default() }
}

/// Vectors in the order of the inputs; as many as inputs, all of one length.
pub(super) fn embeddings(
    body: &[u8],
    inputs: usize,
    dimensions: Option<u32>,
    evidence: Evidence,
) -> Result<EmbedReply, FailureKind> {
    let wire: wire::Embeddings<'_> = serde_json::from_slice(body).map_err(|_| bad(BadResponse::Malformed))?;
    if wire.error.is_some() {
        return Err(bad(BadResponse::ErrorBody));
    }
    if wire.data.len() != inputs {
        return Err(bad(BadResponse::WrongVectors));
    }
    let mut vectors: Vec<Option<Vector>> = vec![None; inputs];
    for row in wire.data {
        let place = vectors.get_mut(row.index).ok_or(bad(BadResponse::WrongVectors))?;
        *place = Some(vector(row.embedding).ok_or(bad(BadResponse::WrongVectors))?);
    }
    let vectors: Vec<Vector> = vectors.into_iter().collect::<Option<_>>().ok_or(bad(BadResponse::WrongVectors))?;
    let length = dimensions.map(|wanted| wanted as usize).or(vectors.first().map(Vector::dimensions));
    if vectors.iter().any(|vector| Some(vector.dimensions()) != length) {
        return Err(bad(BadResponse::WrongVectors));
    }
    Ok(EmbedReply {
        model: wire.model.unwrap_or_default().0.into_owned(),
        vectors,
        usage: usage(&wire.usage),
        evidence,
    })
}

fn vector(encoded: wire::Encoded<'_>) -> Option<Vector> {
    match encoded {
        wire::Encoded::Base64(text) => {
            Vector::from_le_bytes(base64_simd::STANDARD.decode_to_vec(text.as_bytes()).ok()?)
        }
        wire::Encoded::Numbers(numbers) => (!numbers.is_empty()).then(|| Vector::from_components(numbers)),
    }
}

fn bad(why: BadResponse) -> FailureKind {
    FailureKind::BadResponse(why)
}

fn finish_reason(word: &str) -> FinishReason {
    match word {
        "stop" => FinishReason::Stop,
        "length" => FinishReason::Length,
        // `function_call` is the old form of the same.
        "tool_calls" | "function_call" => FinishReason::ToolCalls,
        "content_filter" => FinishReason::ContentFilter,
        _ => FinishReason::Other,
    }
}

/// Where filters are off, a whole answer has an entry that says nothing, and a stream has none: both are none.
fn prompt_filter(wire: Vec<wire::PromptFilter>) -> Vec<PromptFilterResult> {
    let said = wire.into_iter().filter(|one| !one.content_filter_results.is_empty());
    let result = |one: wire::PromptFilter| PromptFilterResult {
        prompt_index: one.prompt_index,
        results: one.content_filter_results,
    };
    said.map(result).collect()
}

fn logprobs(wire: wire::LogProbs) -> LogProbs {
    let alternative =
        |one: wire::Alternative| TokenAlternative { token: one.token, logprob: one.logprob, bytes: one.bytes };
    let token = |one: wire::TokenLogProb| TokenLogProb {
        token: one.token,
        logprob: one.logprob,
        bytes: one.bytes,
        top: one.top_logprobs.into_iter().map(alternative).collect(),
    };
    LogProbs {
        content: wire.content.into_iter().map(token).collect(),
        refusal: wire.refusal.into_iter().map(token).collect(),
    }
}

fn usage(wire: &wire::Usage) -> Usage {
    let prompt = wire.prompt_tokens_details.as_ref();
    let completion = wire.completion_tokens_details.as_ref();
    Usage {
        input_tokens: wire.prompt_tokens,
        output_tokens: wire.completion_tokens,
        total_tokens: wire.total_tokens,
        cached_input_tokens: prompt.and_then(|details| details.cached_tokens).unwrap_or_default(),
        reasoning_output_tokens: completion.and_then(|details| details.reasoning_tokens).unwrap_or_default(),
        accepted_prediction_tokens: completion
            .and_then(|details| details.accepted_prediction_tokens)
            .unwrap_or_default(),
        rejected_prediction_tokens: completion
            .and_then(|details| details.rejected_prediction_tokens)
            .unwrap_or_default(),
    }
}
