//! Azure's answers as they stand on the wire (contract sections 3.2, 3.3 and 4). Only what is needed is read;
//! unknown fields are harmless, and every field may be missing.
use std::borrow::Cow;

use sealane_core::domain::ContentFilterResults;
use serde::{Deserialize, Deserializer, de::IgnoredAny};

use super::filters::filters;

/// Text that is borrowed where no escape stands in it. `Option<Cow<str>>` itself would always be copied.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Text<'a>(#[serde(borrow)] pub(super) Cow<'a, str>);

/// A whole completion.
#[derive(Debug, Deserialize)]
pub(super) struct Completion {
    pub(super) id: Option<String>,
    pub(super) model: Option<String>,
    pub(super) created: Option<i64>,
    pub(super) system_fingerprint: Option<String>,
    pub(super) service_tier: Option<String>,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) choices: Vec<Choice>,
    pub(super) usage: Option<Usage>,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) prompt_filter_results: Vec<PromptFilter>,
    pub(super) error: Option<IgnoredAny>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Choice {
    #[serde(default)]
    pub(super) index: u32,
    pub(super) message: Option<Message>,
    pub(super) finish_reason: Option<String>,
    #[serde(default, deserialize_with = "filters")]
    pub(super) content_filter_results: ContentFilterResults,
    pub(super) logprobs: Option<LogProbs>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Message {
    pub(super) content: Option<String>,
    pub(super) refusal: Option<String>,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) tool_calls: Vec<ToolCall>,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) annotations: Vec<Annotation>,
}

/// Kinds other than `url_citation` have no member that is read.
#[derive(Debug, Deserialize)]
pub(super) struct Annotation {
    pub(super) url_citation: Option<UrlCitation>,
}

#[derive(Debug, Deserialize)]
pub(super) struct UrlCitation {
    pub(super) url: Option<String>,
    pub(super) title: Option<String>,
    pub(super) start_index: Option<i32>,
    pub(super) end_index: Option<i32>,
}

#[derive(Debug, Deserialize)]
pub(super) struct ToolCall {
    pub(super) id: Option<String>,
    pub(super) function: Option<Function>,
}

/// Whole in a whole answer, a piece in a chunk.
#[derive(Debug, Deserialize)]
pub(super) struct Function {
    pub(super) name: Option<String>,
    pub(super) arguments: Option<String>,
}

/// One event of a stream. The envelope borrows from the event: most of it is the same in every chunk and dropped.
#[derive(Debug, Deserialize)]
pub(super) struct Chunk<'a> {
    #[serde(borrow)]
    pub(super) id: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) model: Option<Text<'a>>,
    pub(super) created: Option<i64>,
    #[serde(borrow)]
    pub(super) system_fingerprint: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) service_tier: Option<Text<'a>>,
    #[serde(borrow, default, deserialize_with = "or_default")]
    pub(super) choices: Vec<ChunkChoice<'a>>,
    pub(super) usage: Option<Usage>,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) prompt_filter_results: Vec<PromptFilter>,
    pub(super) error: Option<IgnoredAny>,
}

#[derive(Debug, Deserialize)]
pub(super) struct ChunkChoice<'a> {
    #[serde(default)]
    pub(super) index: u32,
    pub(super) delta: Option<Delta>,
    #[serde(borrow)]
    pub(super) finish_reason: Option<Text<'a>>,
    #[serde(default, deserialize_with = "filters")]
    pub(super) content_filter_results: ContentFilterResults,
    pub(super) content_filter_offsets: Option<Offsets>,
    pub(super) logprobs: Option<LogProbs>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Delta {
    pub(super) content: Option<String>,
    pub(super) refusal: Option<String>,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) tool_calls: Vec<ToolCallDelta>,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) annotations: Vec<Annotation>,
}

#[derive(Debug, Deserialize)]
pub(super) struct ToolCallDelta {
    #[serde(default)]
    pub(super) index: u32,
    pub(super) id: Option<String>,
    pub(super) function: Option<Function>,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct Offsets {
    #[serde(default)]
    pub(super) check_offset: i32,
    #[serde(default)]
    pub(super) start_offset: i32,
    #[serde(default)]
    pub(super) end_offset: i32,
}

#[derive(Debug, Deserialize)]
pub(super) struct PromptFilter {
    #[serde(default)]
    pub(super) prompt_index: u32,
    #[serde(default, deserialize_with = "filters")]
    pub(super) content_filter_results: ContentFilterResults,
}

#[derive(Debug, Deserialize)]
pub(super) struct LogProbs {
    #[serde(default, deserialize_with = "or_default")]
    pub(super) content: Vec<TokenLogProb>,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) refusal: Vec<TokenLogProb>,
}

#[derive(Debug, Deserialize)]
pub(super) struct TokenLogProb {
    pub(super) token: String,
    pub(super) logprob: f32,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) bytes: Vec<u8>,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) top_logprobs: Vec<Alternative>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Alternative {
    pub(super) token: String,
    pub(super) logprob: f32,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) bytes: Vec<u8>,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct Usage {
    #[serde(default)]
    pub(super) prompt_tokens: u64,
    #[serde(default)]
    pub(super) completion_tokens: u64,
    #[serde(default)]
    pub(super) total_tokens: u64,
    pub(super) prompt_tokens_details: Option<PromptDetails>,
    pub(super) completion_tokens_details: Option<CompletionDetails>,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct PromptDetails {
    pub(super) cached_tokens: Option<u64>,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct CompletionDetails {
    pub(super) reasoning_tokens: Option<u64>,
    pub(super) accepted_prediction_tokens: Option<u64>,
    pub(super) rejected_prediction_tokens: Option<u64>,
}

/// Vectors. Base64 text is borrowed: it is most of the body.
#[derive(Debug, Deserialize)]
pub(super) struct Embeddings<'a> {
    #[serde(borrow, default)]
    pub(super) data: Vec<EmbeddingRow<'a>>,
    #[serde(borrow)]
    pub(super) model: Option<Text<'a>>,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) usage: Usage,
    pub(super) error: Option<IgnoredAny>,
}

#[derive(Debug, Deserialize)]
pub(super) struct EmbeddingRow<'a> {
    #[serde(default)]
    pub(super) index: usize,
    #[serde(borrow)]
    pub(super) embedding: Encoded<'a>,
}

/// A vector as base64, or as numbers from servers that do not know base64.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum Encoded<'a> {
    Base64(#[serde(borrow)] Cow<'a, str>),
    Numbers(Vec<f32>),
}

/// `null` where a list may stand is an empty list.
fn or_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Option::<T>::deserialize(deserializer).map(Option::unwrap_or_default)
}
