//! A chat request as the region understands it, validated as Azure validates it.
use serde_json::Value;

use super::chance::Fingerprint;
use super::chat_shape::PARAMETERS;
use super::refusal::{ErrorReply, invalid};
use super::settings::DeploymentSettings;
use super::shape::check_members;
use super::validate::{Object, estimated_tokens, given, integer, missing, text, unsupported, wrong_value};

/// What reasoning models refuse (documentation: reasoning models, "not supported").
const NOT_FOR_REASONING: [&str; 7] =
    ["temperature", "top_p", "presence_penalty", "frequency_penalty", "logprobs", "top_logprobs", "logit_bias"];

const MOST_CHARACTERS_A_MESSAGE: usize = 1_048_576;

/// A chat request that passed validation.
#[derive(Clone, Debug)]
pub(super) struct ChatRequest {
    pub(super) stream: bool,
    pub(super) include_usage: bool,
    pub(super) include_obfuscation: Option<bool>,
    /// Number of choices.
    pub(super) n: usize,
    pub(super) stop: Vec<String>,
    pub(super) max_tokens: Option<u64>,
    /// `Some(k)`: log probabilities with `k` alternatives.
    pub(super) logprobs: Option<usize>,
    /// Tools to call, in order; empty: answer with text.
    pub(super) calls: Vec<ToolDefinition>,
    pub(super) format: AnswerFormat,
    pub(super) reasoning_tokens: u64,
    /// Of a predicted answer.
    pub(super) predicted_tokens: Option<u64>,
    /// What the answer says of the tier that was asked for.
    pub(super) service_tier: Option<&'static str>,
    pub(super) prompt_tokens: u64,
    /// All text of all messages, for the content filter's trigger words.
    pub(super) prompt: String,
    /// Hash of everything the answer depends on; not of `stream`, so that both forms give the same answer.
    pub(super) fingerprint: u64,
}

#[derive(Clone, Debug)]
pub(super) struct ToolDefinition {
    pub(super) name: String,
    pub(super) parameters: Value,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum AnswerFormat {
    Text,
    JsonObject,
    JsonSchema(Value),
}

/// Azure's estimate at arrival, which the token limit charges: prompt characters / 4 plus the asked maximum, or 16.
pub(super) fn charge(object: &Object) -> u64 {
    let most = ["max_completion_tokens", "max_tokens"].iter().find_map(|name| object.get(*name)?.as_u64());
    let messages = object.get("messages").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    estimated_tokens(characters(messages)) + most.unwrap_or(16).min(u64::from(u32::MAX))
}

/// Characters of all text within the messages: `content`, and the `text` of content parts.
fn characters(messages: &[Value]) -> usize {
    let contents = messages.iter().filter_map(|message| message.get("content"));
    contents.map(|content| content_texts(content).map(|text| text.chars().count()).sum::<usize>()).sum()
}

fn content_texts(content: &Value) -> impl Iterator<Item = &str> {
    let parts = content.as_array().into_iter().flatten().filter_map(|part| part.get("text")?.as_str());
    content.as_str().into_iter().chain(parts)
}

impl ChatRequest {
    /// Checks `object` for `deployment`.
    pub(super) fn read(object: &Object, deployment: &DeploymentSettings) -> Result<Self, ErrorReply> {
        let known = |name: &str| PARAMETERS.iter().any(|member| member.name == name);
        if let Some(name) = object.keys().find(|name| !known(name)) {
            return Err(invalid(format!("Unrecognized request argument supplied: {name}"), None, None));
        }
        check_members(object, PARAMETERS, "")?;
        let messages = messages(object)?;
        let max_tokens = limits(object, deployment.reasoning)?;
        let prompt =
            messages.iter().filter_map(|message| message.get("content")).fold(String::new(), |mut prompt, content| {
                content_texts(content).for_each(|text| {
                    prompt.push_str(text);
                    prompt.push('\n');
                });
                prompt
            });
        let prompt_tokens = estimated_tokens(characters(messages)).max(1);
        context_fits(prompt_tokens, max_tokens, deployment.context_window)?;
        let stream = is_true(object, "stream");
        let stream_options = stream_options(object, stream)?;
        Ok(Self {
            stream,
            include_usage: stream_options.is_some_and(|options| is_true(options, "include_usage")),
            include_obfuscation: stream_options.and_then(|options| given(options, "include_obfuscation")?.as_bool()),
            n: integer(object, "n", 1, 128)?.unwrap_or(1) as usize,
            stop: stop(object),
            max_tokens,
            logprobs: logprobs(object)?,
            calls: calls(object, messages)?,
            format: format(object, &prompt)?,
            reasoning_tokens: reasoning(object, deployment.reasoning)?,
            predicted_tokens: predicted_tokens(object),
            service_tier: text(object, "service_tier")?.map(|_| "default"),
            prompt_tokens,
            prompt,
            fingerprint: fingerprint(object, deployment),
        })
    }
}

/// A flag that is there and set. Its type has been checked.
fn is_true(object: &Object, name: &str) -> bool {
    object.get(name) == Some(&Value::Bool(true))
}

/// What the shape cannot say of messages.
fn messages(object: &Object) -> Result<&[Value], ErrorReply> {
    let messages = object.get("messages").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    for (index, message) in messages.iter().enumerate() {
        let at = format!("messages[{index}].content");
        let Some(content) = message.get("content").filter(|content| !content.is_null()) else {
            let instead = ["tool_calls", "refusal", "function_call", "audio"];
            let said = |name: &&str| message.get(*name).is_some_and(|value| !value.is_null());
            if message.get("role").is_some_and(|role| role == "function") || instead.iter().any(said) {
                continue;
            }
            let message = format!("Invalid value for 'content': expected a string, got null. (param: {at})");
            return Err(invalid(message, Some(&at), None));
        };
        let length: usize = content_texts(content).map(|text| text.chars().count()).sum();
        if length > MOST_CHARACTERS_A_MESSAGE {
            let message = format!(
                "Invalid '{at}': string too long. Expected a string with maximum length {MOST_CHARACTERS_A_MESSAGE}, but got a string with length {length} instead."
            );
            return Err(invalid(message, Some(&at), Some("string_above_max_length")));
        }
    }
    Ok(messages)
}

fn stream_options(object: &Object, stream: bool) -> Result<Option<&Object>, ErrorReply> {
    let options = given(object, "stream_options").and_then(Value::as_object);
    if options.is_some() && !stream {
        return Err(invalid(
            "The 'stream_options' parameter is only allowed when 'stream' is enabled.",
            Some("stream_options"),
            None,
        ));
    }
    Ok(options)
}

/// Tokens of the text that the answer is expected to repeat.
fn predicted_tokens(object: &Object) -> Option<u64> {
    let content = given(object, "prediction")?.get("content")?;
    Some(estimated_tokens(content_texts(content).map(|text| text.chars().count()).sum()))
}

fn limits(object: &Object, reasoning: bool) -> Result<Option<u64>, ErrorReply> {
    let old = integer(object, "max_tokens", 1, i64::MAX)?;
    let new = integer(object, "max_completion_tokens", 1, i64::MAX)?;
    if old.is_some() && reasoning {
        return Err(unsupported("max_tokens", " Use 'max_completion_tokens' instead."));
    }
    if old.is_some() && new.is_some() {
        return Err(invalid(
            "Setting 'max_tokens' and 'max_completion_tokens' at the same time is not supported.",
            Some("max_tokens"),
            Some("invalid_parameter_combination"),
        ));
    }
    Ok(new.or(old).map(i64::unsigned_abs))
}

/// Hidden tokens by effort. Azure's figures vary by model and prompt; a recorded answer at `low` spent 192.
fn reasoning(object: &Object, reasoning: bool) -> Result<u64, ErrorReply> {
    const EFFORTS: [(&str, u64); 6] =
        [("none", 0), ("minimal", 64), ("low", 192), ("medium", 384), ("high", 768), ("xhigh", 1536)];
    let effort = text(object, "reasoning_effort")?;
    if !reasoning {
        return effort.map_or(Ok(0), |_| Err(unsupported("reasoning_effort", "")));
    }
    if let Some(name) = NOT_FOR_REASONING.iter().find(|name| given(object, name).is_some()) {
        return Err(unsupported(name, ""));
    }
    let effort = effort.unwrap_or("medium");
    EFFORTS
        .iter()
        .find(|(name, _)| *name == effort)
        .map(|(_, tokens)| *tokens)
        .ok_or_else(|| wrong_value("reasoning_effort", effort, &EFFORTS.map(|(name, _)| name)))
}

fn logprobs(object: &Object) -> Result<Option<usize>, ErrorReply> {
    let wanted = is_true(object, "logprobs");
    let alternatives = integer(object, "top_logprobs", 0, 20)?;
    if alternatives.is_some() && !wanted {
        return Err(invalid(
            "The 'top_logprobs' parameter is only allowed when 'logprobs' is enabled.",
            Some("top_logprobs"),
            None,
        ));
    }
    Ok(wanted.then(|| alternatives.unwrap_or(0) as usize))
}

fn stop(object: &Object) -> Vec<String> {
    match given(object, "stop") {
        Some(Value::String(stop)) => vec![stop.clone()],
        Some(Value::Array(stops)) => stops.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        _ => Vec::new(),
    }
}

fn context_fits(prompt: u64, completion: Option<u64>, window: u32) -> Result<(), ErrorReply> {
    let window = u64::from(window);
    let message = match completion {
        _ if prompt > window => format!(
            "This model's maximum context length is {window} tokens. However, your messages resulted in {prompt} tokens. Please reduce the length of the messages."
        ),
        Some(completion) if prompt.saturating_add(completion) > window => format!(
            "This model's maximum context length is {window} tokens. However, you requested {} tokens ({prompt} in the messages, {completion} in the completion). Please reduce the length of the messages or completion.",
            prompt.saturating_add(completion)
        ),
        _ => return Ok(()),
    };
    Err(invalid(message, Some("messages"), Some("context_length_exceeded")))
}

/// Which tools the answer calls. Models choose freely under `auto`; this one calls the tools whose names occur in the
/// last message when a user wrote it, so that a test can steer it.
fn calls(object: &Object, messages: &[Value]) -> Result<Vec<ToolDefinition>, ErrorReply> {
    let definitions = tool_definitions(object);
    let choice = given(object, "tool_choice");
    if choice.is_some() && definitions.is_empty() {
        return Err(invalid("'tool_choice' is only allowed when 'tools' are specified.", Some("tool_choice"), None));
    }
    let one = |name: &str| -> Vec<ToolDefinition> {
        definitions.iter().filter(|definition| definition.name == name).take(1).cloned().collect()
    };
    match choice {
        Some(Value::String(word)) if word == "none" => Ok(Vec::new()),
        Some(Value::String(word)) if word == "required" => Ok(definitions.into_iter().take(1).collect()),
        Some(Value::String(word)) if word != "auto" => {
            Err(wrong_value("tool_choice", word, &["none", "auto", "required"]))
        }
        Some(Value::Object(named)) => {
            let name = named.get("function").and_then(|function| function.get("name")).and_then(Value::as_str);
            let name = name.ok_or_else(|| missing("tool_choice.function.name"))?;
            match one(name) {
                found if found.is_empty() => Err(invalid(
                    format!("Tool choice '{name}' not found in 'tools' parameter."),
                    Some("tool_choice"),
                    None,
                )),
                found => Ok(found),
            }
        }
        _ => {
            let last = messages.last().filter(|message| message.get("role").is_some_and(|role| role == "user"));
            let asked: String =
                last.and_then(|message| message.get("content")).map(|c| content_texts(c).collect()).unwrap_or_default();
            let single = object.get("parallel_tool_calls") == Some(&Value::Bool(false));
            let most = if single { 1 } else { definitions.len() };
            Ok(definitions.into_iter().filter(|tool| asked.contains(&tool.name)).take(most).collect())
        }
    }
}

fn tool_definitions(object: &Object) -> Vec<ToolDefinition> {
    let tools = object.get("tools").and_then(Value::as_array).into_iter().flatten();
    let definition = |tool: &Value| {
        let function = tool.get("function")?;
        let parameters = function.get("parameters").filter(|parameters| !parameters.is_null());
        Some(ToolDefinition {
            name: function.get("name")?.as_str()?.to_owned(),
            parameters: parameters.cloned().unwrap_or_else(any_object),
        })
    };
    tools.filter_map(definition).collect()
}

fn any_object() -> Value {
    serde_json::json!({"type": "object"})
}

fn format(object: &Object, prompt: &str) -> Result<AnswerFormat, ErrorReply> {
    let Some(format) = given(object, "response_format") else { return Ok(AnswerFormat::Text) };
    match format.get("type").and_then(Value::as_str) {
        Some("json_object") if !prompt.to_ascii_lowercase().contains("json") => Err(invalid(
            "'messages' must contain the word 'json' in some form, to use 'response_format' of type 'json_object'.",
            Some("messages"),
            None,
        )),
        Some("json_object") => Ok(AnswerFormat::JsonObject),
        Some("json_schema") => {
            let schema = format.pointer("/json_schema/schema").filter(|schema| !schema.is_null());
            Ok(AnswerFormat::JsonSchema(schema.cloned().unwrap_or_else(any_object)))
        }
        _ => Ok(AnswerFormat::Text),
    }
}

/// Everything the answer may depend on: not the deployment's name, and not how the answer is delivered.
fn fingerprint(object: &Object, deployment: &DeploymentSettings) -> u64 {
    const OF_DELIVERY: [&str; 9] = [
        "model",
        "stream",
        "stream_options",
        "user",
        "user_security_context",
        "max_tokens",
        "max_completion_tokens",
        "metadata",
        "store",
    ];
    let mut hash = Fingerprint::new().add(deployment.model.as_bytes());
    for (name, value) in object.iter().filter(|(name, _)| !OF_DELIVERY.contains(&name.as_str())) {
        hash = hash.add(name.as_bytes()).add(value.to_string().as_bytes());
    }
    hash.finish()
}
