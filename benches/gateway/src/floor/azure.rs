//! Azure's JSON as plain typed structures, and their way to and from protobuf: only what the bench's calls use.
use std::collections::VecDeque;

use serde::{Deserialize, Serialize};
use tonic::Status;

use super::unusable;
use crate::pb::{self, complete_stream_response::Event};

#[derive(Serialize)]
pub(super) struct ChatRequest<'a> {
    messages: Vec<ChatMessage<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_completion_tokens: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<f32>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    stream: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    stream_options: Option<StreamOptions>,
}

#[derive(Serialize)]
struct StreamOptions {
    include_usage: bool,
}

#[derive(Serialize)]
struct ChatMessage<'a> {
    role: &'static str,
    content: &'a str,
}

impl<'a> ChatRequest<'a> {
    pub(super) fn new(request: &'a pb::CompleteRequest, stream: bool) -> Result<Self, Status> {
        let messages = request.messages.iter().map(|message| {
            let role = match message.role() {
                pb::Role::System => "system",
                pb::Role::User => "user",
                pb::Role::Assistant => "assistant",
                _ => return Err(Status::invalid_argument("not measured")),
            };
            match message.content.first().and_then(|part| part.part.as_ref()) {
                Some(pb::content_part::Part::Text(content)) => Ok(ChatMessage { role, content }),
                _ => Err(Status::invalid_argument("not measured")),
            }
        });
        Ok(Self {
            messages: messages.collect::<Result<_, _>>()?,
            max_completion_tokens: request.max_output_tokens,
            temperature: request.temperature,
            stream,
            stream_options: stream.then_some(StreamOptions { include_usage: true }),
        })
    }

    pub(super) fn to_json(&self) -> Result<Vec<u8>, Status> {
        serde_json::to_vec(self).map_err(unusable)
    }
}

#[derive(Deserialize)]
pub(super) struct Completion {
    id: String,
    model: String,
    created: i64,
    choices: Vec<Choice>,
    usage: Option<Usage>,
    system_fingerprint: Option<String>,
}

#[derive(Deserialize)]
struct Choice {
    index: i32,
    message: Answer,
    finish_reason: Option<String>,
}

#[derive(Deserialize)]
struct Answer {
    content: Option<String>,
}

#[derive(Deserialize)]
struct Usage {
    prompt_tokens: i64,
    #[serde(default)]
    completion_tokens: i64,
    total_tokens: i64,
}

impl Completion {
    pub(super) fn into_reply(self) -> pb::CompleteResponse {
        let choices = self.choices.into_iter().map(|choice| pb::Choice {
            index: choice.index,
            finish_reason: finish_reason(choice.finish_reason.as_deref()),
            message: choice.message.content.map(assistant),
            ..Default::default()
        });
        pb::CompleteResponse {
            response_id: self.id,
            model: self.model,
            create_time: Some(prost_types::Timestamp { seconds: self.created, nanos: 0 }),
            choices: choices.collect(),
            usage: self.usage.map(Into::into),
            system_fingerprint: self.system_fingerprint.unwrap_or_default(),
            ..Default::default()
        }
    }
}

#[derive(Deserialize)]
pub(super) struct Chunk {
    id: String,
    model: String,
    created: i64,
    choices: Vec<ChunkChoice>,
    usage: Option<Usage>,
    system_fingerprint: Option<String>,
}

#[derive(Deserialize)]
struct ChunkChoice {
    index: i32,
    delta: Answer,
    finish_reason: Option<String>,
}

impl Chunk {
    pub(super) fn into_events(self, begun: &mut bool, usage: &mut Option<pb::Usage>, events: &mut VecDeque<Event>) {
        if let Some(stated) = self.usage {
            *usage = Some(stated.into());
        }
        if !*begun && !self.id.is_empty() {
            *begun = true;
            events.push_back(Event::Start(pb::StreamStart {
                response_id: self.id,
                model: self.model,
                create_time: Some(prost_types::Timestamp { seconds: self.created, nanos: 0 }),
                system_fingerprint: self.system_fingerprint.unwrap_or_default(),
                ..Default::default()
            }));
        }
        for choice in self.choices {
            if let Some(text) = choice.delta.content {
                events.push_back(Event::Delta(pb::Delta { choice_index: choice.index, text, ..Default::default() }));
            }
            if choice.finish_reason.is_some() {
                events.push_back(Event::ChoiceFinish(pb::ChoiceFinish {
                    choice_index: choice.index,
                    finish_reason: finish_reason(choice.finish_reason.as_deref()),
                    filter_results: None,
                }));
            }
        }
    }
}

#[derive(Serialize)]
pub(super) struct EmbeddingRequest<'a> {
    input: &'a [String],
    encoding_format: &'static str,
}

impl<'a> EmbeddingRequest<'a> {
    pub(super) fn new(input: &'a [String]) -> Self {
        Self { input, encoding_format: "base64" }
    }
}

#[derive(Deserialize)]
pub(super) struct EmbeddingList<'a> {
    #[serde(borrow)]
    data: Vec<EncodedEmbedding<'a>>,
    model: &'a str,
    usage: Usage,
}

#[derive(Deserialize)]
struct EncodedEmbedding<'a> {
    index: i32,
    embedding: &'a str,
}

impl EmbeddingList<'_> {
    pub(super) fn into_reply(self) -> Result<pb::EmbedResponse, Status> {
        let mut embeddings = Vec::with_capacity(self.data.len());
        for encoded in self.data {
            let bytes = base64_simd::STANDARD.decode_to_vec(encoded.embedding).map_err(unusable)?;
            let values = bytes.as_chunks::<4>().0.iter().map(|number| f32::from_le_bytes(*number)).collect();
            embeddings.push(pb::Embedding { index: encoded.index, values, packed_values: Vec::new() });
        }
        let dimensions = embeddings.first().map_or(0, |embedding| embedding.values.len());
        Ok(pb::EmbedResponse {
            model: self.model.to_owned(),
            embeddings,
            dimensions: i32::try_from(dimensions).map_err(unusable)?,
            usage: Some(self.usage.into()),
            ..Default::default()
        })
    }
}

/// The messages that answer an ingestion of one batch.
pub(super) fn answers(ids: Vec<String>, reply: pb::EmbedResponse) -> Vec<Result<pb::EmbedStreamResponse, Status>> {
    use pb::{embed_item_result::Outcome, embed_stream_response::Event};
    let summary = pb::EmbedSummary {
        embedded_items: reply.embeddings.len() as i64,
        usage: reply.usage,
        dimensions: reply.dimensions,
        ..Default::default()
    };
    let results = ids.into_iter().zip(reply.embeddings).map(|(id, embedding)| {
        let outcome = Some(Outcome::Embedding(embedding));
        Event::Result(pb::EmbedItemResult { id, outcome, ..Default::default() })
    });
    let events = results.chain([Event::Summary(summary)]);
    events.map(|event| Ok(pb::EmbedStreamResponse { event: Some(event) })).collect()
}

impl From<Usage> for pb::Usage {
    fn from(usage: Usage) -> Self {
        Self {
            input_tokens: usage.prompt_tokens,
            output_tokens: usage.completion_tokens,
            total_tokens: usage.total_tokens,
            ..Default::default()
        }
    }
}

/// An assistant's message with this text.
pub(super) fn assistant(text: String) -> pb::Message {
    pb::Message {
        role: pb::Role::Assistant.into(),
        content: vec![pb::ContentPart { part: Some(pb::content_part::Part::Text(text)) }],
        ..Default::default()
    }
}

fn finish_reason(word: Option<&str>) -> i32 {
    match word {
        None => pb::FinishReason::Unspecified,
        Some("stop") => pb::FinishReason::Stop,
        Some("length") => pb::FinishReason::Length,
        Some("tool_calls") => pb::FinishReason::ToolCalls,
        Some("content_filter") => pb::FinishReason::ContentFilter,
        Some(_) => pb::FinishReason::Other,
    }
    .into()
}
