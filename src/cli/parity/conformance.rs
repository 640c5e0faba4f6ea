//! The conformance set: what a target is asked for, through the adapter that callers' work goes through.
use std::time::Duration;

use futures_util::StreamExt as _;
use sealane_core::{
    domain::{
        AttemptLimits, ChatReply, ChatRequest, Drift, EmbedRequest, Failure, FailureKind, FinishReason, ImageSource,
        JsonSchema, Message, ModelKind, Part, REFERENCE_TEXT, Rejection, ReplyAssembly, ResponseFormat, Role, Tool,
        ToolChoice, Vector,
    },
    policy::PermittedTarget,
};
use serde_json::Value;

use super::report::Finding;
use crate::{
    azure::Azure,
    upstream::{AttemptOrder, TestCall, TraceContext, Upstream as _},
};

/// Longest wait for one answer; models that reason get ten times as long.
const PATIENCE: Duration = Duration::from_secs(30);

/// Room for an answer of a few words, and for what a model that reasons thinks before them.
const OUTPUT_TOKENS: u32 = 200;
const OUTPUT_TOKENS_REASONING: u32 = 2000;

/// A length that every model takes that can shorten its vectors.
const SHORT: u32 = 256;

const TOOL: &str = "get_weather";

/// A PNG of eight by eight white points.
#[rustfmt::skip]
const PICTURE: &[u8] = &[
    0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a, 0x00, 0x00, 0x00, 0x0d, 0x49, 0x48, 0x44, 0x52, 0x00, 0x00,
    0x00, 0x08, 0x00, 0x00, 0x00, 0x08, 0x08, 0x00, 0x00, 0x00, 0x00, 0xe1, 0x64, 0xe1, 0x57, 0x00, 0x00, 0x00,
    0x0e, 0x49, 0x44, 0x41, 0x54, 0x78, 0xda, 0x63, 0xf8, 0x0f, 0x05, 0x0c, 0x94, 0x31, 0x00, 0xf7, 0xc0, 0x3f,
    0xc1, 0xaf, 0x5c, 0x0f, 0xcd, 0x00, 0x00, 0x00, 0x00, 0x49, 0x45, 0x4e, 0x44, 0xae, 0x42, 0x60, 0x82,
];

/// What one target did.
pub(super) struct Observed {
    pub(super) findings: Vec<(&'static str, Finding)>,
    /// As its replies state it.
    pub(super) model: Option<String>,
    /// Of the reference text.
    pub(super) vector: Option<Vector>,
}

/// The set for one kind of model.
pub(super) struct Conformance<'a> {
    azure: &'a Azure,
    kind: ModelKind,
    vision: bool,
}

impl<'a> Conformance<'a> {
    pub(super) fn new(azure: &'a Azure, kind: ModelKind, vision: bool) -> Self {
        Self { azure, kind, vision }
    }

    /// One check after the other: a small deployment must not be throttled by its own examination.
    pub(super) async fn put(&self, target: &PermittedTarget) -> Observed {
        let reasoning = target.target().reasoning;
        let patience = if reasoning { PATIENCE * 10 } else { PATIENCE };
        let limits = AttemptLimits { first_content: patience, stall: patience, total: patience, rescue_by: patience };
        let order = AttemptOrder {
            target: target.clone(),
            limits,
            trace: TraceContext::default(),
            test: Some(TestCall { fresh_connection: false }),
        };
        match self.kind {
            ModelKind::Chat => self.chat(&order, if reasoning { OUTPUT_TOKENS_REASONING } else { OUTPUT_TOKENS }).await,
            ModelKind::Embedding => self.embedding(&order).await,
        }
    }

    async fn chat(&self, order: &AttemptOrder, tokens: u32) -> Observed {
        let whole = async |request: ChatRequest| {
            let request = ChatRequest { max_output_tokens: Some(tokens), ..request };
            self.azure.complete_chat(order, &request).await.map(|(reply, _)| reply)
        };
        let plain = whole(ask("Reply with the word ready.")).await;
        let model = plain.as_ref().ok().map(|reply| reply.header.model.clone()).filter(|model| !model.is_empty());
        let mut findings = vec![("chat", judge(plain, speaks))];
        let streamed = ChatRequest { max_output_tokens: Some(tokens), ..ask("Reply with the word ready.") };
        findings.push(("stream", judge(self.stream(order, &streamed).await, speaks)));
        findings.push(("tools", judge(whole(with_tool()).await, calls_the_tool)));
        findings.push(("JSON schema", judge(whole(with_schema()).await, follows_the_schema)));
        let vision = match self.vision {
            true => judge(whole(with_picture()).await, speaks),
            false => Finding::Skipped("not declared".to_owned()),
        };
        findings.push(("vision", vision));
        Observed { findings, model, vector: None }
    }

    async fn stream(&self, order: &AttemptOrder, request: &ChatRequest) -> Result<ChatReply, Failure> {
        let mut answer = self.azure.stream_chat(order, request).await?;
        let mut assembly = ReplyAssembly::new();
        while let Some(event) = answer.events.next().await {
            assembly.push(event?);
        }
        Ok(assembly.finish())
    }

    async fn embedding(&self, order: &AttemptOrder) -> Observed {
        let embed = async |inputs: &[&str], dimensions| {
            let inputs = inputs.iter().map(|text| (*text).to_owned()).collect();
            let request = EmbedRequest { inputs, dimensions, ..EmbedRequest::default() };
            self.azure.embed(order, &request).await
        };
        let two = embed(&[REFERENCE_TEXT, "Another text."], None).await;
        let space = order.target.target().embedding_space.as_deref();
        let length = match &two {
            Ok(reply) => Finding::Ok(reply.vectors.first().map_or(0, Vector::dimensions).to_string()),
            Err(Failure { kind: FailureKind::OtherSpace(Drift::Length { expected, found }), .. }) => {
                Finding::Differs(format!("{found}, declared {expected}"))
            }
            Err(_) => Finding::Skipped("no vector".to_owned()),
        };
        let shortens =
            space.is_some_and(|space| space.model.starts_with("text-embedding-3-") && space.dimensions > SHORT);
        let shortened = match shortens {
            true => judge(embed(&[REFERENCE_TEXT], Some(SHORT)).await, |_| Ok(SHORT.to_string())),
            false => Finding::Skipped("the model is not known to shorten".to_owned()),
        };
        let (model, vector) = match &two {
            Ok(reply) => (Some(reply.model.clone()), reply.vectors.first().cloned()),
            Err(_) => (None, None),
        };
        let vectors = judge(two, |reply| Ok(format!("{} vectors", reply.vectors.len())));
        let findings = vec![("vectors", vectors), ("dimensions", length), ("shortened", shortened)];
        Observed { findings, model: model.filter(|model| !model.is_empty()), vector }
    }
}

/// An answer as its check sees it; what it says of itself never comes from the model's words.
fn judge<T>(answer: Result<T, Failure>, check: impl FnOnce(&T) -> Result<String, &'static str>) -> Finding {
    match answer {
        Ok(reply) => check(&reply).map_or_else(|wrong| Finding::Fails(wrong.to_owned()), Finding::Ok),
        Err(Failure { kind: FailureKind::OtherSpace(drift), .. }) => Finding::Differs(drift.to_string()),
        Err(failure) => Finding::Fails(match &failure.kind {
            FailureKind::Rejected(Rejection::Invalid { param: Some(param), .. }) => {
                format!("{} ({param})", failure.with_status())
            }
            _ => failure.with_status().to_owned(),
        }),
    }
}

fn text(reply: &ChatReply) -> String {
    let parts = reply.choices.iter().flat_map(|choice| &choice.content);
    parts.filter_map(|part| if let Part::Text(text) = part { Some(text.as_str()) } else { None }).collect()
}

fn speaks(reply: &ChatReply) -> Result<String, &'static str> {
    match reply.choices.first().map(|choice| choice.finish_reason) {
        None => Err("no answer"),
        Some(FinishReason::ContentFilter) => Err("withheld by the content filter"),
        Some(_) if text(reply).is_empty() => Err("an empty answer"),
        Some(reason) => Ok(reason.as_str().to_owned()),
    }
}

fn calls_the_tool(reply: &ChatReply) -> Result<String, &'static str> {
    let call = reply.choices.iter().flat_map(|choice| &choice.tool_calls).find(|call| call.name == TOOL);
    let call = call.ok_or("the tool was not called")?;
    match serde_json::from_str(&call.arguments_json) {
        Ok(Value::Object(arguments)) if arguments.contains_key("city") => Ok("called".to_owned()),
        _ => Err("the tool's arguments do not follow its schema"),
    }
}

fn follows_the_schema(reply: &ChatReply) -> Result<String, &'static str> {
    match serde_json::from_str(&text(reply)) {
        Ok(Value::Object(answer)) if answer.len() == 1 && answer.get("answer").is_some_and(Value::is_string) => {
            Ok("followed".to_owned())
        }
        _ => Err("the answer does not follow the schema"),
    }
}

fn ask(text: &str) -> ChatRequest {
    asking(vec![Part::Text(text.to_owned())])
}

fn asking(content: Vec<Part>) -> ChatRequest {
    let message = Message { role: Role::User, content, name: None, tool_calls: vec![], tool_call_id: None };
    ChatRequest { messages: vec![message], ..ChatRequest::default() }
}

fn with_tool() -> ChatRequest {
    let parameters = r#"{"type":"object","properties":{"city":{"type":"string"}},"required":["city"]}"#;
    let tool = Tool { name: TOOL.into(), description: None, parameters_json: Some(parameters.into()), strict: false };
    ChatRequest { tools: vec![tool], tool_choice: Some(ToolChoice::Required), ..ask("What is the weather in Oslo?") }
}

fn with_schema() -> ChatRequest {
    let schema = r#"{"type":"object","properties":{"answer":{"type":"string"}},"required":["answer"],"additionalProperties":false}"#;
    let schema = JsonSchema { name: "answer".into(), description: None, schema_json: schema.into(), strict: true };
    ChatRequest { response_format: Some(ResponseFormat::JsonSchema(schema)), ..ask("Answer with the word ready.") }
}

fn with_picture() -> ChatRequest {
    let source = ImageSource::Inline { mime_type: "image/png".into(), bytes: PICTURE.to_vec() };
    let question = Part::Text("Which colour is this? One word.".to_owned());
    asking(vec![question, Part::Image { source, detail: None }])
}
