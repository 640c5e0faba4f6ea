//! What comes back: whole replies, and the events of a streamed one.
use super::{ContentFilterResults, Evidence, Part, PromptFilterResult};

/// Tokens as Azure counted them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Prompt or inputs.
    pub input_tokens: u64,
    /// Generated, hidden reasoning included.
    pub output_tokens: u64,
    /// Sum as Azure states it.
    pub total_tokens: u64,
    /// Of the input: served from the prompt cache.
    pub cached_input_tokens: u64,
    /// Of the output: hidden reasoning.
    pub reasoning_output_tokens: u64,
    /// Of the output: taken over from the prediction.
    pub accepted_prediction_tokens: u64,
    /// Predicted in vain.
    pub rejected_prediction_tokens: u64,
}

/// Saturates: the numbers are a peer's.
impl std::ops::AddAssign for Usage {
    fn add_assign(&mut self, other: Self) {
        self.input_tokens = self.input_tokens.saturating_add(other.input_tokens);
        self.output_tokens = self.output_tokens.saturating_add(other.output_tokens);
        self.total_tokens = self.total_tokens.saturating_add(other.total_tokens);
        self.cached_input_tokens = self.cached_input_tokens.saturating_add(other.cached_input_tokens);
        self.reasoning_output_tokens = self.reasoning_output_tokens.saturating_add(other.reasoning_output_tokens);
        self.accepted_prediction_tokens =
            self.accepted_prediction_tokens.saturating_add(other.accepted_prediction_tokens);
        self.rejected_prediction_tokens =
            self.rejected_prediction_tokens.saturating_add(other.rejected_prediction_tokens);
    }
}

/// What a completion says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReplyHeader {
    /// Azure's completion id.
    pub response_id: String,
    /// Underlying model and version.
    pub model: String,
    /// Seconds since 1970.
    pub created: i64,
    /// Changes when Azure changes the backend.
    pub system_fingerprint: Option<String>,
    /// The tier that serves the call.
    pub service_tier: Option<String>,
}

/// One chat completion, whole.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ChatReply {
    /// What it says of itself.
    pub header: ReplyHeader,
    /// By index.
    pub choices: Vec<Choice>,
    /// `None` if Azure did not state it.
    pub usage: Option<Usage>,
    /// Verdicts on the prompt.
    pub prompt_filter: Vec<PromptFilterResult>,
}

/// One answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Choice {
    /// 0-based.
    pub index: u32,
    /// Text and refusal; empty when the model only calls tools.
    pub content: Vec<Part>,
    /// Tools that the model wants called.
    pub tool_calls: Vec<ToolCall>,
    /// Why it ended.
    pub finish_reason: FinishReason,
    /// Verdicts on it.
    pub filter: ContentFilterResults,
    /// If asked for.
    pub logprobs: Option<LogProbs>,
    /// Sources in the web that it cites.
    pub url_citations: Vec<UrlCitation>,
}

/// A source in the web that an answer cites.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UrlCitation {
    /// Address of the source.
    pub uri: String,
    /// Its title.
    pub title: String,
    /// First character of the answer that it stands behind.
    pub start_index: i32,
    /// One past the last character.
    pub end_index: i32,
}

/// A tool call that the model asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ToolCall {
    /// The model's id of it.
    pub id: String,
    /// Function name.
    pub name: String,
    /// The model's own text; may be invalid JSON.
    pub arguments_json: String,
}

/// Why a choice ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FinishReason {
    /// Done, or a stop sequence.
    Stop,
    /// Out of tokens.
    Length,
    /// Wants tools called.
    ToolCalls,
    /// Withheld by the filter.
    ContentFilter,
    /// A word this version does not know.
    Other,
}

impl FinishReason {
    /// Azure's word, as spans carry it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::Length => "length",
            Self::ToolCalls => "tool_calls",
            Self::ContentFilter => "content_filter",
            Self::Other => "other",
        }
    }
}

/// Log probabilities of generated tokens.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LogProbs {
    /// Of the text.
    pub content: Vec<TokenLogProb>,
    /// Of a refusal.
    pub refusal: Vec<TokenLogProb>,
}

/// One token's log probability.
#[derive(Clone, Debug, PartialEq)]
pub struct TokenLogProb {
    /// Its text.
    pub token: String,
    /// Natural logarithm.
    pub logprob: f32,
    /// Its UTF-8 bytes.
    pub bytes: Vec<u8>,
    /// Most likely tokens at this place.
    pub top: Vec<TokenAlternative>,
}

/// A token that might have stood there.
#[derive(Clone, Debug, PartialEq)]
pub struct TokenAlternative {
    /// Its text.
    pub token: String,
    /// Natural logarithm.
    pub logprob: f32,
    /// Its UTF-8 bytes.
    pub bytes: Vec<u8>,
}

/// One event of a streamed completion.
#[derive(Clone, Debug, PartialEq)]
pub enum ChatEvent {
    /// What the completion says of itself: once, from the first chunk that has an id.
    Header(ReplyHeader),
    /// Verdicts on the prompt; Azure's first event when filters are on.
    PromptFilter(Vec<PromptFilterResult>),
    /// A piece of an answer.
    Delta(Delta),
    /// One choice is finished.
    Finish {
        /// 0-based.
        choice: u32,
        /// Why.
        reason: FinishReason,
        /// Verdicts that came with it.
        filter: ContentFilterResults,
    },
    /// The asynchronous filter's verdict on a part of an answer.
    FilterAnnotation {
        /// 0-based.
        choice: u32,
        /// The verdicts.
        filter: ContentFilterResults,
        /// Characters checked so far.
        check_offset: i32,
        /// First character concerned.
        start_offset: i32,
        /// One past the last.
        end_offset: i32,
    },
    /// Tokens of the whole call.
    Usage(Usage),
}

impl ChatEvent {
    /// Whether the caller can see something of the answer in it: the moment from which failover is no longer
    /// invisible. Azure's empty first event and the role chunk are not.
    pub fn is_content(&self) -> bool {
        match self {
            Self::Delta(delta) => !delta.is_empty(),
            Self::Finish { .. } => true,
            Self::Header(_) | Self::PromptFilter(_) | Self::FilterAnnotation { .. } | Self::Usage(_) => false,
        }
    }
}

/// A piece of one answer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Delta {
    /// 0-based index of the choice.
    pub choice: u32,
    /// Text to append.
    pub text: String,
    /// Refusal to append.
    pub refusal: String,
    /// Pieces of tool calls.
    pub tool_calls: Vec<ToolCallDelta>,
    /// Of the tokens in this piece.
    pub logprobs: Option<LogProbs>,
    /// Verdicts on this piece.
    pub filter: ContentFilterResults,
    /// Sources in the web that the answer cites.
    pub url_citations: Vec<UrlCitation>,
}

impl Delta {
    /// Carries nothing that a caller could see.
    pub fn is_empty(&self) -> bool {
        self.text.is_empty() && self.refusal.is_empty() && self.tool_calls.is_empty() && self.url_citations.is_empty()
    }
}

/// A piece of a tool call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ToolCallDelta {
    /// Which of the choice's tool calls.
    pub index: u32,
    /// First piece only.
    pub id: Option<String>,
    /// First piece only.
    pub name: Option<String>,
    /// Argument text to append.
    pub arguments_fragment: String,
}

/// Vectors in the order of the inputs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct EmbedReply {
    /// Underlying model.
    pub model: String,
    /// One for each input, in their order.
    pub vectors: Vec<Vector>,
    /// Tokens of the call.
    pub usage: Usage,
    /// What Azure's headers said.
    pub evidence: Evidence,
}

/// One vector as little-endian 32-bit floats: the form in which Azure sends it and protobuf carries it, so that it
/// is never parsed on the way.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Vector(Vec<u8>);

impl Vector {
    /// Takes little-endian bytes; `None` unless their number is a positive multiple of four.
    pub fn from_le_bytes(bytes: Vec<u8>) -> Option<Self> {
        (!bytes.is_empty() && bytes.len().is_multiple_of(4)).then_some(Self(bytes))
    }

    /// From numbers.
    pub fn from_components(components: impl IntoIterator<Item = f32>) -> Self {
        Self(components.into_iter().flat_map(f32::to_le_bytes).collect())
    }

    /// Numbers in it.
    pub fn dimensions(&self) -> usize {
        self.0.len() / 4
    }

    /// The numbers.
    pub fn components(&self) -> impl Iterator<Item = f32> + '_ {
        self.0.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))
    }

    /// The bytes, little-endian.
    pub fn into_le_bytes(self) -> Vec<u8> {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vector_is_its_little_endian_bytes() {
        let vector = Vector::from_components([1.0, -2.5]);
        assert_eq!(vector.dimensions(), 2);
        assert_eq!(vector.components().collect::<Vec<_>>(), [1.0, -2.5]);
        assert_eq!(Vector::from_le_bytes(vector.clone().into_le_bytes()), Some(vector));
        assert_eq!(Vector::from_le_bytes(vec![0; 7]), None);
        assert_eq!(Vector::from_le_bytes(vec![]), None);
    }

    #[test]
    fn usages_add_up_field_by_field_and_stay_at_the_most() {
        let usage = |[input, output, total, cached, reasoning, accepted, rejected]: [u64; 7]| Usage {
            input_tokens: input,
            output_tokens: output,
            total_tokens: total,
            cached_input_tokens: cached,
            reasoning_output_tokens: reasoning,
            accepted_prediction_tokens: accepted,
            rejected_prediction_tokens: rejected,
        };
        let mut sum = usage([1, 2, 3, 4, 5, 6, 7]);
        sum += usage([10, 20, 30, 40, 50, 60, 70]);
        assert_eq!(sum, usage([11, 22, 33, 44, 55, 66, 77]));
        sum += usage([u64::MAX; 7]);
        assert_eq!(sum, usage([u64::MAX; 7]));
    }

    #[test]
    fn ends_are_told_in_azures_words() {
        use FinishReason::*;
        let words = [Stop, Length, ToolCalls, ContentFilter, Other].map(FinishReason::as_str);
        assert_eq!(words, ["stop", "length", "tool_calls", "content_filter", "other"]);
    }

    #[test]
    fn the_role_chunk_and_the_empty_first_event_are_not_content() {
        assert!(!ChatEvent::Delta(Delta::default()).is_content());
        assert!(!ChatEvent::PromptFilter(vec![]).is_content());
        assert!(!ChatEvent::Usage(Usage::default()).is_content());
        let finish =
            ChatEvent::Finish { choice: 0, reason: FinishReason::Stop, filter: ContentFilterResults::default() };
        assert!(finish.is_content());
        assert!(ChatEvent::Delta(Delta { refusal: "a".into(), ..Delta::default() }).is_content());
        assert!(
            ChatEvent::Delta(Delta { tool_calls: vec![ToolCallDelta::default()], ..Delta::default() }).is_content()
        );
        let cited = Delta { url_citations: vec![UrlCitation::default()], ..Delta::default() };
        assert!(ChatEvent::Delta(cited).is_content());
        assert!(ChatEvent::Delta(Delta { text: "a".into(), ..Delta::default() }).is_content());
    }
}
