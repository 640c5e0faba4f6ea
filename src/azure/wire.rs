//! Azure's answers as they stand on the wire (contract sections 3.2, 3.3 and 4). Only what is needed is read;
//! unknown fields are harmless, and every field may be missing.
use std::borrow::Cow;

use sealane_core::domain::{ContentFilterResults, ContentFilterVerdict, Severity};
use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, MapAccess, Visitor},
};

/// A whole completion.
#[derive(Debug, Deserialize)]
pub(super) struct Completion {
    #[serde(default)]
    pub(super) id: String,
    #[serde(default)]
    pub(super) model: String,
    #[serde(default)]
    pub(super) created: i64,
    pub(super) system_fingerprint: Option<String>,
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
}

#[derive(Debug, Deserialize)]
pub(super) struct ToolCall {
    #[serde(default)]
    pub(super) id: String,
    #[serde(default)]
    pub(super) function: Function,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct Function {
    #[serde(default)]
    pub(super) name: String,
    #[serde(default)]
    pub(super) arguments: String,
}

/// One event of a stream. The envelope borrows from the event: most of it is the same in every chunk and dropped.
#[derive(Debug, Deserialize)]
pub(super) struct Chunk<'a> {
    #[serde(default, borrow)]
    pub(super) id: Cow<'a, str>,
    #[serde(default, borrow)]
    pub(super) model: Cow<'a, str>,
    #[serde(default)]
    pub(super) created: i64,
    #[serde(borrow)]
    pub(super) system_fingerprint: Option<Cow<'a, str>>,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) choices: Vec<ChunkChoice>,
    pub(super) usage: Option<Usage>,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) prompt_filter_results: Vec<PromptFilter>,
    pub(super) error: Option<IgnoredAny>,
}

#[derive(Debug, Deserialize)]
pub(super) struct ChunkChoice {
    #[serde(default)]
    pub(super) index: u32,
    pub(super) delta: Option<Delta>,
    pub(super) finish_reason: Option<String>,
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
}

#[derive(Debug, Deserialize)]
pub(super) struct ToolCallDelta {
    #[serde(default)]
    pub(super) index: u32,
    pub(super) id: Option<String>,
    pub(super) function: Option<FunctionDelta>,
}

#[derive(Debug, Deserialize)]
pub(super) struct FunctionDelta {
    pub(super) name: Option<String>,
    pub(super) arguments: Option<String>,
}

#[derive(Debug, Deserialize)]
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
    #[serde(borrow, default)]
    pub(super) model: Cow<'a, str>,
    #[serde(default)]
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

/// `content_filter_results`: category to verdict, and `error` where the filter itself failed.
fn filters<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ContentFilterResults, D::Error> {
    struct Categories;

    impl<'de> Visitor<'de> for Categories {
        type Value = ContentFilterResults;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("an object of content filter categories")
        }

        fn visit_unit<E>(self) -> Result<Self::Value, E> {
            Ok(ContentFilterResults::default())
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut results = ContentFilterResults::default();
            while let Some(category) = map.next_key::<Cow<'de, str>>()? {
                if category == "error" {
                    map.next_value::<IgnoredAny>()?;
                    results.unfiltered = true;
                    continue;
                }
                // Entries of other shapes (`custom_blocklists.details` and what is still to come) do no harm.
                let Entry::Verdict(verdict) = map.next_value()? else { continue };
                results.verdicts.push(ContentFilterVerdict {
                    category: known_category(category),
                    filtered: verdict.filtered.unwrap_or_default(),
                    detected: verdict.detected,
                    severity: verdict.severity.and_then(severity),
                });
            }
            Ok(results)
        }
    }

    deserializer.deserialize_any(Categories)
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Entry<'a> {
    Verdict(#[serde(borrow)] WireVerdict<'a>),
    Other(IgnoredAny),
}

#[derive(Deserialize)]
struct WireVerdict<'a> {
    filtered: Option<bool>,
    detected: Option<bool>,
    #[serde(borrow)]
    severity: Option<Cow<'a, str>>,
}

/// Categories come with every chunk; those that are known cost no allocation.
fn known_category(name: Cow<'_, str>) -> Cow<'static, str> {
    const KNOWN: [&str; 11] = [
        "hate",
        "self_harm",
        "sexual",
        "violence",
        "jailbreak",
        "indirect_attack",
        "protected_material_text",
        "protected_material_code",
        "profanity",
        "custom_blocklists",
        "ungrounded_material",
    ];
    match KNOWN.iter().find(|known| **known == name) {
        Some(known) => Cow::Borrowed(known),
        None => Cow::Owned(name.chars().take(64).collect()),
    }
}

fn severity(word: Cow<'_, str>) -> Option<Severity> {
    match &*word {
        "safe" => Some(Severity::Safe),
        "low" => Some(Severity::Low),
        "medium" => Some(Severity::Medium),
        "high" => Some(Severity::High),
        _ => None,
    }
}
