//! Domain -> Azure's request bodies (contract sections 3.1 and 4). Nothing is copied: the bodies borrow the request.
use std::{borrow::Cow, collections::BTreeMap};

use sealane_core::domain::{
    ChatRequest, EmbedRequest, ImageDetail, ImageSource, Message, Part, ReasoningEffort, ResponseFormat, Role, Tool,
    ToolCall, ToolChoice, UserSecurityContext, Verbosity,
};
use serde::{
    Serialize, Serializer,
    ser::{SerializeMap as _, SerializeSeq as _},
};
use serde_json::{Number, value::RawValue};

use super::OutputCap;

/// The body of a chat request. `deployment` goes into it on the v1 path only; on the dated one it stands in the path.
pub(super) fn chat(
    request: &ChatRequest,
    deployment: Option<&str>,
    cap: OutputCap,
    stream: bool,
) -> serde_json::Result<Vec<u8>> {
    serde_json::to_vec(&ChatBody { request, deployment, cap, stream })
}

/// The body of an embeddings request for vectors of this length; `None`: the model's own. Vectors are asked for as base64: a quarter of the bytes, a tenth of the work.
pub(super) fn embeddings(
    request: &EmbedRequest,
    deployment: Option<&str>,
    dimensions: Option<u32>,
) -> serde_json::Result<Vec<u8>> {
    #[derive(Serialize)]
    struct Body<'a> {
        #[serde(skip_serializing_if = "Option::is_none")]
        model: Option<&'a str>,
        input: &'a [String],
        encoding_format: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        dimensions: Option<u32>,
        #[serde(skip_serializing_if = "Option::is_none")]
        user: Option<&'a str>,
    }
    serde_json::to_vec(&Body {
        model: deployment,
        input: &request.inputs,
        encoding_format: "base64",
        dimensions,
        user: request.end_user_id.as_deref(),
    })
}

struct ChatBody<'a> {
    request: &'a ChatRequest,
    deployment: Option<&'a str>,
    cap: OutputCap,
    stream: bool,
}

impl Serialize for ChatBody<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let request = self.request;
        let mut body = serializer.serialize_map(None)?;
        if let Some(deployment) = self.deployment {
            body.serialize_entry("model", deployment)?;
        }
        body.serialize_entry("messages", &Each(&request.messages, message))?;
        macro_rules! optional {
            ($name:expr, $value:expr) => {
                if let Some(value) = &$value {
                    body.serialize_entry($name, value)?;
                }
            };
        }
        optional!(self.cap.field(), request.max_output_tokens);
        optional!("temperature", request.temperature.map(shortest));
        optional!("top_p", request.top_p.map(shortest));
        optional!("seed", request.seed);
        if !request.stop.is_empty() {
            body.serialize_entry("stop", &request.stop)?;
        }
        optional!("frequency_penalty", request.frequency_penalty.map(shortest));
        optional!("presence_penalty", request.presence_penalty.map(shortest));
        if !request.tools.is_empty() {
            body.serialize_entry("tools", &Each(&request.tools, tool))?;
        }
        optional!("tool_choice", request.tool_choice.as_ref().map(tool_choice));
        optional!("parallel_tool_calls", request.parallel_tool_calls);
        optional!("response_format", request.response_format.as_ref().map(response_format));
        optional!("reasoning_effort", request.reasoning_effort.map(effort));
        optional!("verbosity", request.verbosity.map(verbosity));
        optional!("n", request.choice_count);
        if request.logprobs {
            body.serialize_entry("logprobs", &true)?;
        }
        optional!("top_logprobs", request.top_logprobs);
        if !request.logit_bias.is_empty() {
            let bias: BTreeMap<_, _> =
                request.logit_bias.iter().map(|(token, bias)| (token, shortest(*bias))).collect();
            body.serialize_entry("logit_bias", &bias)?;
        }
        optional!(
            "prediction",
            request.prediction.as_ref().map(|text| Prediction { r#type: "content", content: text })
        );
        if !request.metadata.is_empty() {
            let labels: BTreeMap<_, _> = request.metadata.iter().map(|(key, value)| (key, value)).collect();
            body.serialize_entry("metadata", &labels)?;
        }
        optional!("user", request.end_user_id);
        optional!("user_security_context", request.user_security_context.as_ref().map(security_context));
        if self.stream {
            body.serialize_entry("stream", &true)?;
            // Otherwise a streamed call has no usage at all (contract 3.3, point 4).
            body.serialize_entry("stream_options", &StreamOptions { include_usage: true })?;
        }
        for extra in &request.extra_params {
            body.serialize_entry(&extra.name, &raw(&extra.json))?;
        }
        body.end()
    }
}

#[derive(Serialize)]
struct StreamOptions {
    include_usage: bool,
}

#[derive(Serialize)]
struct Prediction<'a> {
    r#type: &'static str,
    content: &'a str,
}

/// 0.1 as an f32 is 0.10000000149 as an f64; the caller meant 0.1. Whole numbers go without a fraction: Azure's files
/// want integers for `logit_bias`.
fn shortest(value: f32) -> Number {
    if value.fract() == 0.0 && value.abs() < 1e9 {
        return Number::from(value as i64);
    }
    // Nothing that is not a number comes this far; `grpc::decode` refuses it.
    Number::from_f64(value.to_string().parse().unwrap_or(f64::from(value))).unwrap_or(Number::from(0))
}

/// Serialises each element as `1` says.
struct Each<'a, T, F>(&'a [T], F);

impl<'a, T, V, F> Serialize for Each<'a, T, F>
where
    V: Serialize,
    F: Fn(&'a T) -> V,
{
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(Some(self.0.len()))?;
        for element in self.0 {
            list.serialize_element(&self.1(element))?;
        }
        list.end()
    }
}

#[derive(Serialize)]
struct WireMessage<'a> {
    role: &'static str,
    #[serde(skip_serializing_if = "Content::is_absent")]
    content: Content<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tool_calls: Vec<WireToolCall<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_call_id: Option<&'a str>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Content<'a> {
    Absent,
    Text(&'a str),
    Parts(Vec<WirePart<'a>>),
}

impl Content<'_> {
    fn is_absent(&self) -> bool {
        matches!(self, Self::Absent)
    }
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum WirePart<'a> {
    Text { text: &'a str },
    Refusal { refusal: &'a str },
    ImageUrl { image_url: ImageUrl<'a> },
    File { file: File<'a> },
}

#[derive(Serialize)]
struct File<'a> {
    filename: &'a str,
    file_data: String,
}

#[derive(Serialize)]
struct ImageUrl<'a> {
    url: Cow<'a, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<&'static str>,
}

#[derive(Serialize)]
struct WireToolCall<'a> {
    id: &'a str,
    r#type: &'static str,
    function: CalledFunction<'a>,
}

#[derive(Serialize)]
struct CalledFunction<'a> {
    name: &'a str,
    arguments: &'a str,
}

fn message(message: &Message) -> WireMessage<'_> {
    let content = match message.content.as_slice() {
        [] => Content::Absent,
        // The form that every model, proxy and compatible server understands.
        [Part::Text(text)] => Content::Text(text),
        parts => Content::Parts(parts.iter().map(part).collect()),
    };
    WireMessage {
        role: match message.role {
            Role::System => "system",
            Role::Developer => "developer",
            Role::User => "user",
            Role::Assistant => "assistant",
            Role::Tool => "tool",
        },
        content,
        name: message.name.as_deref(),
        tool_calls: message.tool_calls.iter().map(tool_call).collect(),
        tool_call_id: message.tool_call_id.as_deref(),
    }
}

fn part(part: &Part) -> WirePart<'_> {
    match part {
        Part::Text(text) => WirePart::Text { text },
        Part::Refusal(refusal) => WirePart::Refusal { refusal },
        Part::Image { source, detail } => {
            let url = match source {
                ImageSource::Uri(uri) => Cow::Borrowed(uri.as_str()),
                ImageSource::Inline { mime_type, bytes } => Cow::Owned(data_url(mime_type, bytes)),
            };
            let detail = detail.map(|detail| match detail {
                ImageDetail::Auto => "auto",
                ImageDetail::Low => "low",
                ImageDetail::High => "high",
            });
            WirePart::ImageUrl { image_url: ImageUrl { url, detail } }
        }
        Part::File { mime_type, name, bytes } => {
            WirePart::File { file: File { filename: name, file_data: data_url(mime_type, bytes) } }
        }
    }
}

fn data_url(mime_type: &str, bytes: &[u8]) -> String {
    let mut url = format!("data:{mime_type};base64,");
    base64_simd::STANDARD.encode_append(bytes, &mut url);
    url
}

fn tool_call(call: &ToolCall) -> WireToolCall<'_> {
    let function = CalledFunction { name: &call.name, arguments: &call.arguments_json };
    WireToolCall { id: &call.id, r#type: "function", function }
}

#[derive(Serialize)]
struct WireSecurityContext<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    application_name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    end_user_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    end_user_tenant_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    source_ip: Option<&'a str>,
}

fn security_context(context: &UserSecurityContext) -> WireSecurityContext<'_> {
    WireSecurityContext {
        application_name: context.application_name.as_deref(),
        end_user_id: context.end_user_id.as_deref(),
        end_user_tenant_id: context.end_user_tenant_id.as_deref(),
        source_ip: context.source_ip.as_deref(),
    }
}

#[derive(Serialize)]
struct WireTool<'a> {
    r#type: &'static str,
    function: ToolFunction<'a>,
}

#[derive(Serialize)]
struct ToolFunction<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parameters: Option<Cow<'a, RawValue>>,
    #[serde(skip_serializing_if = "is_false")]
    strict: bool,
}

fn is_false(value: &bool) -> bool {
    !value
}

fn tool(tool: &Tool) -> WireTool<'_> {
    let function = ToolFunction {
        name: &tool.name,
        description: tool.description.as_deref(),
        parameters: tool.parameters_json.as_deref().map(raw),
        strict: tool.strict,
    };
    WireTool { r#type: "function", function }
}

#[derive(Serialize)]
#[serde(untagged)]
enum WireToolChoice<'a> {
    Mode(&'static str),
    Function { r#type: &'static str, function: ChosenFunction<'a> },
}

#[derive(Serialize)]
struct ChosenFunction<'a> {
    name: &'a str,
}

fn tool_choice(choice: &ToolChoice) -> WireToolChoice<'_> {
    match choice {
        ToolChoice::Auto => WireToolChoice::Mode("auto"),
        ToolChoice::None => WireToolChoice::Mode("none"),
        ToolChoice::Required => WireToolChoice::Mode("required"),
        ToolChoice::Function(name) => {
            WireToolChoice::Function { r#type: "function", function: ChosenFunction { name } }
        }
    }
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum WireFormat<'a> {
    Text,
    JsonObject,
    JsonSchema { json_schema: WireSchema<'a> },
}

#[derive(Serialize)]
struct WireSchema<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'a str>,
    schema: Cow<'a, RawValue>,
    strict: bool,
}

fn response_format(format: &ResponseFormat) -> WireFormat<'_> {
    match format {
        ResponseFormat::Text => WireFormat::Text,
        ResponseFormat::JsonObject => WireFormat::JsonObject,
        ResponseFormat::JsonSchema(schema) => WireFormat::JsonSchema {
            json_schema: WireSchema {
                name: &schema.name,
                description: schema.description.as_deref(),
                schema: raw(&schema.schema_json),
                strict: schema.strict,
            },
        },
    }
}

/// JSON that is only passed on; the domain promises that it is valid, and `null` stands in if it is not.
fn raw(json: &str) -> Cow<'_, RawValue> {
    serde_json::from_str::<&RawValue>(json).map_or_else(|_| Cow::Owned(RawValue::NULL.to_owned()), Cow::Borrowed)
}

fn effort(effort: ReasoningEffort) -> &'static str {
    match effort {
        ReasoningEffort::None => "none",
        ReasoningEffort::Minimal => "minimal",
        ReasoningEffort::Low => "low",
        ReasoningEffort::Medium => "medium",
        ReasoningEffort::High => "high",
        ReasoningEffort::Xhigh => "xhigh",
    }
}

fn verbosity(verbosity: Verbosity) -> &'static str {
    match verbosity {
        Verbosity::Low => "low",
        Verbosity::Medium => "medium",
        Verbosity::High => "high",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_answer_goes_by_the_name_that_the_resource_heeds_and_by_no_other() {
        let request = ChatRequest { max_output_tokens: Some(5), ..ChatRequest::default() };
        for (cap, expected) in [
            (OutputCap::MaxCompletionTokens, r#"{"messages":[],"max_completion_tokens":5}"#),
            (OutputCap::MaxTokens, r#"{"messages":[],"max_tokens":5}"#),
        ] {
            assert_eq!(chat(&request, None, cap, false).ok().as_deref(), Some(expected.as_bytes()));
        }
    }
}
