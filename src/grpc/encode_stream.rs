//! Domain -> protobuf for the events of a stream.
use sealane_core::domain::{ChatEvent, Delta};

use super::{
    encode::{created_time, filter, finish_reason, logprobs, prompt_filter, served_by, url_citations, usage},
    pb::{self, complete_stream_response::Event},
};
use crate::dispatch::StreamEvent;

/// One event; `None` for what a caller is not told.
pub(super) fn event(event: StreamEvent) -> Option<pb::CompleteStreamResponse> {
    let event = match event {
        StreamEvent::Start { header, prompt_filter: verdicts, served } => Event::Start(Box::new(pb::StreamStart {
            response_id: header.response_id,
            model: header.model,
            create_time: created_time(header.created),
            served_by: Some(served_by(&served)),
            system_fingerprint: header.system_fingerprint.unwrap_or_default(),
            prompt_filter_results: prompt_filter(verdicts),
            service_tier: header.service_tier.unwrap_or_default(),
        })),
        StreamEvent::Piece(piece) => self::piece(piece)?,
        StreamEvent::Restarted { target, failure } => {
            Event::Restarted(pb::Restarted { failed_region: target.region.to_string(), failure: failure.to_owned() })
        }
        StreamEvent::End { usage: tokens, served } => {
            let end = pb::StreamEnd { usage: tokens.as_ref().map(usage), served_by: Some(served_by(&served)) };
            Event::End(Box::new(end))
        }
    };
    Some(pb::CompleteStreamResponse { event: Some(event) })
}

fn piece(event: ChatEvent) -> Option<Event> {
    match event {
        ChatEvent::Delta(delta) => self::delta(delta),
        ChatEvent::Finish { choice, reason, filter: verdicts } => Some(Event::ChoiceFinish(pb::ChoiceFinish {
            choice_index: choice as i32,
            finish_reason: finish_reason(reason) as i32,
            filter_results: filter(verdicts),
        })),
        ChatEvent::FilterAnnotation { choice, filter: verdicts, check_offset, start_offset, end_offset } => {
            Some(Event::FilterAnnotation(pb::FilterAnnotation {
                choice_index: choice as i32,
                filter_results: filter(verdicts),
                check_offset,
                start_offset,
                end_offset,
            }))
        }
        ChatEvent::Header(_) | ChatEvent::PromptFilter(_) | ChatEvent::Usage(_) => None,
    }
}

/// The role chunk says nothing and is left out.
fn delta(delta: Delta) -> Option<Event> {
    if delta.is_empty() && delta.filter.is_empty() && delta.logprobs.is_none() {
        return None;
    }
    let tool_calls = delta.tool_calls.into_iter().map(|call| pb::ToolCallDelta {
        index: call.index as i32,
        id: call.id.unwrap_or_default(),
        name: call.name.unwrap_or_default(),
        arguments_json_fragment: call.arguments_fragment,
    });
    Some(Event::Delta(pb::Delta {
        choice_index: delta.choice as i32,
        text: delta.text,
        tool_calls: tool_calls.collect(),
        refusal: delta.refusal,
        logprobs: delta.logprobs.map(logprobs),
        filter_results: filter(delta.filter),
        url_citations: url_citations(delta.url_citations),
    }))
}
