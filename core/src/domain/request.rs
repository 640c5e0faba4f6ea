//! What callers ask for, already checked: `grpc::decode` refuses what would not fit here.
use std::sync::Arc;

use super::ProcessingScope;

/// Asks for chat completions. JSON that is only passed on (schemas, extra parameters) stays text.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ChatRequest {
    /// The conversation, oldest first; at least one message.
    pub messages: Vec<Message>,
    /// Cap on generated tokens, hidden reasoning included.
    pub max_output_tokens: Option<u32>,
    /// 0 to 2.
    pub temperature: Option<f32>,
    /// 0 to 1.
    pub top_p: Option<f32>,
    /// Asks for reproducible sampling.
    pub seed: Option<i64>,
    /// Up to 4.
    pub stop: Vec<String>,
    /// -2 to 2.
    pub frequency_penalty: Option<f32>,
    /// -2 to 2.
    pub presence_penalty: Option<f32>,
    /// Up to 128.
    pub tools: Vec<Tool>,
    /// Which tools may or must be used.
    pub tool_choice: Option<ToolChoice>,
    /// Several tool calls at once.
    pub parallel_tool_calls: Option<bool>,
    /// Shape of the answer; `None` is text.
    pub response_format: Option<ResponseFormat>,
    /// How much a reasoning model thinks.
    pub reasoning_effort: Option<ReasoningEffort>,
    /// How long-winded the answer is.
    pub verbosity: Option<Verbosity>,
    /// Number of choices, 1 to 128; `None` is 1.
    pub choice_count: Option<u32>,
    /// Return log probabilities.
    pub logprobs: bool,
    /// Alternatives for each token, 0 to 20.
    pub top_logprobs: Option<u32>,
    /// Token id to bias, sorted by id.
    pub logit_bias: Vec<(u32, f32)>,
    /// Text the answer is expected to repeat.
    pub prediction: Option<String>,
    /// Labels kept by Azure, sorted by key.
    pub metadata: Vec<(String, String)>,
    /// Opaque id of the caller's end user.
    pub end_user_id: Option<String>,
    /// Who uses the caller's application, for Microsoft Defender for Cloud.
    pub user_security_context: Option<UserSecurityContext>,
    /// Allow-listed further parameters, sorted by name.
    pub extra_params: Vec<ExtraParam>,
}

/// What Azure's limiter counts for an answer that the request does not cap (contract 5.1).
const UNCAPPED_ANSWER: u64 = 16;

/// What an image costs at low detail, and at any other: a square of 1024 pixels. Source: OpenAI's guide to vision, for
/// gpt-4o: 85, and 85 + 4 x 170.
const IMAGE: (u64, u64) = (85, 765);

impl ChatRequest {
    /// Choices that the reply must hold.
    pub fn expected_choices(&self) -> u32 {
        self.choice_count.unwrap_or(1)
    }

    /// Prompt tokens as Azure estimates them at arrival: characters / 4, rounded up (contract 5.1). How it counts
    /// images there is not known; they count here as they are billed. Documents are not counted.
    pub fn estimated_prompt_tokens(&self) -> u64 {
        let characters: usize = self.messages.iter().map(Message::characters).sum();
        let images: u64 = self.messages.iter().flat_map(|message| &message.content).map(Part::image_tokens).sum();
        characters.div_ceil(4) as u64 + images
    }

    /// Prompt tokens, and as many as the answer may have: what Azure's own limiter counts at arrival (contract 5.1).
    pub fn estimated_tokens(&self) -> u64 {
        self.estimated_prompt_tokens().saturating_add(self.answer_tokens())
    }

    /// The part of [`estimated_tokens`](Self::estimated_tokens) that stands for the answer.
    pub fn answer_tokens(&self) -> u64 {
        match self.max_output_tokens {
            Some(cap) => u64::from(cap) * u64::from(self.expected_choices()),
            None => UNCAPPED_ANSWER,
        }
    }
}

/// Who uses the caller's application.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct UserSecurityContext {
    /// The application's name.
    pub application_name: Option<String>,
    /// The end user's id.
    pub end_user_id: Option<String>,
    /// The end user's Entra tenant.
    pub end_user_tenant_id: Option<String>,
    /// The end user's address.
    pub source_ip: Option<String>,
}

/// One turn of the conversation.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    /// Who speaks.
    pub role: Role,
    /// What is said.
    pub content: Vec<Part>,
    /// Tells participants of one role apart.
    pub name: Option<String>,
    /// Assistant only.
    pub tool_calls: Vec<super::ToolCall>,
    /// Tool only.
    pub tool_call_id: Option<String>,
}

impl Message {
    fn characters(&self) -> usize {
        let parts = self.content.iter().map(|part| match part {
            // Bytes stand for characters: exact for ASCII, generous otherwise, and free.
            Part::Text(text) | Part::Refusal(text) => text.len(),
            Part::Image { .. } | Part::File { .. } => 0,
        });
        let calls = self.tool_calls.iter().map(|call| call.name.len() + call.arguments_json.len());
        parts.chain(calls).sum()
    }
}

/// Who speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // the API's own words
pub enum Role {
    System,
    Developer,
    User,
    Assistant,
    Tool,
}

/// One piece of a message.
#[derive(Clone, Debug, PartialEq)]
pub enum Part {
    /// Plain text.
    Text(String),
    /// A picture.
    Image {
        /// Where it is.
        source: ImageSource,
        /// How closely to look; `None` leaves it to the model.
        detail: Option<ImageDetail>,
    },
    /// A refusal that the assistant gave earlier.
    Refusal(String),
    /// A document.
    File {
        /// `application/pdf`.
        mime_type: String,
        /// Tells the model what it reads.
        name: String,
        /// The file.
        bytes: Vec<u8>,
    },
}

impl Part {
    fn image_tokens(&self) -> u64 {
        match self {
            Self::Image { detail: Some(ImageDetail::Low), .. } => IMAGE.0,
            Self::Image { .. } => IMAGE.1,
            Self::Text(_) | Self::Refusal(_) | Self::File { .. } => 0,
        }
    }
}

/// Where a picture is.
#[derive(Clone, Debug, PartialEq)]
pub enum ImageSource {
    /// An `https:` address that Azure fetches.
    Uri(String),
    /// Its bytes.
    Inline {
        /// `image/png`, `image/jpeg`, `image/gif` or `image/webp`.
        mime_type: String,
        /// The file.
        bytes: Vec<u8>,
    },
}

/// How closely the model looks at an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // the API's own words
pub enum ImageDetail {
    Auto,
    Low,
    High,
}

/// A function described to the model.
#[derive(Clone, Debug, PartialEq)]
pub struct Tool {
    /// `[a-zA-Z0-9_-]`, at most 64 characters.
    pub name: String,
    /// When to use it.
    pub description: Option<String>,
    /// JSON Schema of its arguments: valid JSON text.
    pub parameters_json: Option<String>,
    /// Arguments must follow the schema to the letter.
    pub strict: bool,
}

/// Which tools the model may or must use.
#[derive(Clone, Debug, PartialEq)]
pub enum ToolChoice {
    /// The model decides.
    Auto,
    /// No tool.
    None,
    /// At least one.
    Required,
    /// This function.
    Function(String),
}

/// Shape of the answer.
#[derive(Clone, Debug, PartialEq)]
pub enum ResponseFormat {
    /// Plain text.
    Text,
    /// Some JSON object.
    JsonObject,
    /// JSON that follows a schema.
    JsonSchema(JsonSchema),
}

/// A schema for the answer.
#[derive(Clone, Debug, PartialEq)]
pub struct JsonSchema {
    /// `[a-zA-Z0-9_-]`, at most 64 characters.
    pub name: String,
    /// What the object is for.
    pub description: Option<String>,
    /// Valid JSON text.
    pub schema_json: String,
    /// Follow it to the letter.
    pub strict: bool,
}

/// How much a reasoning model thinks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // the API's own words
pub enum ReasoningEffort {
    None,
    Minimal,
    Low,
    Medium,
    High,
    Xhigh,
}

/// How long-winded the answer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // the API's own words
pub enum Verbosity {
    Low,
    Medium,
    High,
}

/// A parameter that the service passes on without knowing it.
#[derive(Clone, Debug, PartialEq)]
pub struct ExtraParam {
    /// Its name; on the configuration's allow-list.
    pub name: String,
    /// Its value: valid JSON text.
    pub json: String,
}

/// Asks for vectors.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct EmbedRequest {
    /// 1 to 2048 texts, none empty.
    pub inputs: Vec<String>,
    /// Shorten the vectors to this length.
    pub dimensions: Option<u32>,
    /// Opaque id of the caller's end user.
    pub end_user_id: Option<String>,
}

impl EmbedRequest {
    /// Tokens as Azure estimates them at arrival: characters / 4, rounded up for each input (contract 5.1).
    pub fn estimated_tokens(&self) -> u64 {
        self.inputs.iter().map(|text| text.len().div_ceil(4) as u64).sum()
    }
}

/// Where a call may go and how to treat it; can only narrow what the caller's policy permits.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RoutingOptions {
    /// Unit of work that should stay in one region.
    pub workflow_id: Option<Arc<str>>,
    /// Region that an earlier reply pinned the workflow to; a preference.
    pub pinned_region: Option<String>,
    /// Normalised region names; empty permits all.
    pub allowed_regions: Vec<String>,
    /// Only regions with this label.
    pub data_boundary: Option<String>,
    /// Widest processing scope acceptable.
    pub max_scope: Option<ProcessingScope>,
    /// Class of the data sent; see [`is_data_class`].
    pub data_class: Option<String>,
    /// Who goes first when capacity runs short.
    pub priority: Priority,
    /// What becomes of a stream cut in the middle.
    pub on_interruption: OnInterruption,
    /// Whether a second attempt may run beside the first.
    pub hedge: Hedge,
}

/// Whether it can name a class of data: 1 to 64 printable ASCII characters. It ends up in spans and in the journal, so
/// nothing long, such as a misplaced prompt, may stand in for it.
pub fn is_data_class(name: &str) -> bool {
    (1..=64).contains(&name.len()) && name.bytes().all(|byte| (0x20..0x7f).contains(&byte))
}

/// Who goes first when capacity runs short.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Priority {
    /// A person is waiting.
    #[default]
    Interactive,
    /// Background work.
    Bulk,
}

/// What becomes of a stream whose region fails after the first content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum OnInterruption {
    /// It ends with an error.
    #[default]
    Fail,
    /// The whole answer is sent again from another target.
    Restart,
}

/// Whether a second attempt may run beside the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Hedge {
    /// As configured.
    #[default]
    Configured,
    /// Allowed.
    Allowed,
    /// Never.
    Never,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_estimated_as_azure_meters_them() {
        // A 34-character embedding input cost 9 in the recordings (contract 5.1).
        let request = EmbedRequest { inputs: vec!["x".repeat(34)], ..EmbedRequest::default() };
        assert_eq!(request.estimated_tokens(), 9);
        let message = Message {
            role: Role::User,
            content: vec![Part::Text("six ch".into())],
            name: None,
            tool_calls: vec![],
            tool_call_id: None,
        };
        let tokens = |message: &Message| {
            ChatRequest { messages: vec![message.clone()], ..ChatRequest::default() }.estimated_prompt_tokens()
        };
        assert_eq!(tokens(&message), 2);
        let call = super::super::ToolCall { id: "1".into(), name: "look_up".into(), arguments_json: "{}".into() };
        assert_eq!(tokens(&Message { tool_calls: vec![call], ..message.clone() }), 4, "six, seven and two characters");
        let image = |detail| {
            let source = ImageSource::Uri("https://example.com/a.png".into());
            Message { content: vec![Part::Image { source, detail }], ..message.clone() }
        };
        assert_eq!(tokens(&image(Some(ImageDetail::Low))), 85);
        assert_eq!([None, Some(ImageDetail::High)].map(|detail| tokens(&image(detail))), [765, 765]);
        let request = ChatRequest { messages: vec![message], ..ChatRequest::default() };
        assert_eq!(request.estimated_tokens(), 18, "an answer without a cap counts as 16");
        let capped = ChatRequest { max_output_tokens: Some(100), choice_count: Some(3), ..request };
        assert_eq!(capped.estimated_tokens(), 302);
    }

    #[test]
    fn a_data_class_is_short_and_printable() {
        let (longest, longer) = ("x".repeat(64), "x".repeat(65));
        for (name, fits) in [
            ("", false),
            ("s", true),
            ("secret, EU only ~", true),
            (&*longest, true),
            (&*longer, false),
            ("two\nlines", false),
            ("del\x7f", false),
            ("geheimnisträger", false),
        ] {
            assert_eq!(is_data_class(name), fits, "{name:?}");
        }
    }

    #[test]
    fn one_choice_is_expected_unless_more_are_asked_for() {
        let expected = |choice_count| ChatRequest { choice_count, ..ChatRequest::default() }.expected_choices();
        assert_eq!([None, Some(1), Some(3)].map(expected), [1, 1, 3]);
    }
}
