//! A chat request as the region understands it, validated as Azure validates it.
use serde_json::Value;

use super::chance::Fingerprint;
use super::refusal::{ErrorReply, invalid};
use super::settings::DeploymentSettings;
use super::validate::{
    Object, array, boolean, decimal, estimated_tokens, given, integer, missing, text, unsupported, wrong_type,
    wrong_value,
};

/// Fields Azure takes on chat completions (contract section 3.1); any other is refused by name.
const KNOWN: [&str; 37] = [
    "audio",
    "data_sources",
    "frequency_penalty",
    "function_call",
    "functions",
    "logit_bias",
    "logprobs",
    "max_completion_tokens",
    "max_tokens",
    "messages",
    "metadata",
    "modalities",
    "model",
    "n",
    "parallel_tool_calls",
    "prediction",
    "presence_penalty",
    "prompt_cache_key",
    "reasoning_effort",
    "response_format",
    "safety_identifier",
    "seed",
    "service_tier",
    "stop",
    "store",
    "stream",
    "stream_options",
    "temperature",
    "tool_choice",
    "tools",
    "top_logprobs",
    "top_p",
    "user",
    "user_security_context",
    "verbosity",
    "web_search_options",
    "enhancements",
];

/// What reasoning models refuse (documentation: reasoning models, "not supported").
const NOT_FOR_REASONING: [&str; 7] =
    ["temperature", "top_p", "presence_penalty", "frequency_penalty", "logprobs", "top_logprobs", "logit_bias"];

const ROLES: [&str; 6] = ["system", "assistant", "user", "function", "tool", "developer"];
const MOST_MESSAGES: usize = 2048;
const MOST_TOOLS: usize = 128;
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
        if let Some(name) = object.keys().find(|name| !KNOWN.contains(&name.as_str())) {
            return Err(invalid(format!("Unrecognized request argument supplied: {name}"), None, None));
        }
        let messages = messages(object)?;
        let (stream, include_usage, include_obfuscation) = streaming(object)?;
        let max_tokens = limits(object, deployment.reasoning)?;
        decimal(object, "temperature", 0.0, 2.0)?;
        decimal(object, "top_p", 0.0, 1.0)?;
        decimal(object, "presence_penalty", -2.0, 2.0)?;
        decimal(object, "frequency_penalty", -2.0, 2.0)?;
        integer(object, "seed", i64::MIN, i64::MAX)?;
        let n = integer(object, "n", 1, 128)?.unwrap_or(1) as usize;
        let reasoning_tokens = reasoning(object, deployment.reasoning)?;
        let logprobs = logprobs(object)?;
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
        Ok(Self {
            stream,
            include_usage,
            include_obfuscation,
            n,
            stop: stop(object)?,
            max_tokens,
            logprobs,
            calls: calls(object, messages)?,
            format: format(object, &prompt)?,
            reasoning_tokens,
            prompt_tokens,
            prompt,
            fingerprint: fingerprint(object, deployment),
        })
    }
}

fn messages(object: &Object) -> Result<&[Value], ErrorReply> {
    let messages = array(object, "messages", MOST_MESSAGES)?.ok_or_else(|| missing("messages"))?;
    if messages.is_empty() {
        return Err(invalid(
            "Invalid 'messages': empty array. Expected an array with minimum length 1, but got an empty array instead.",
            Some("messages"),
            Some("empty_array"),
        ));
    }
    for (index, message) in messages.iter().enumerate() {
        check_message(index, message)?;
    }
    Ok(messages)
}

fn check_message(index: usize, message: &Value) -> Result<(), ErrorReply> {
    let at = |field: &str| format!("messages[{index}].{field}");
    let fields = message.as_object().ok_or_else(|| wrong_type(&format!("messages[{index}]"), "an object", message))?;
    let role = match fields.get("role") {
        None => return Err(missing(&at("role"))),
        Some(role) => role.as_str().ok_or_else(|| wrong_type(&at("role"), "a string", role))?,
    };
    if !ROLES.contains(&role) {
        return Err(wrong_value(&at("role"), role, &ROLES));
    }
    if role == "tool" && given(fields, "tool_call_id").is_none() {
        return Err(missing(&at("tool_call_id")));
    }
    match given(fields, "content") {
        Some(content @ (Value::String(_) | Value::Array(_))) => {
            let length: usize = content_texts(content).map(|text| text.chars().count()).sum();
            if length > MOST_CHARACTERS_A_MESSAGE {
                return Err(invalid(
                    format!(
                        "Invalid '{}': string too long. Expected a string with maximum length {MOST_CHARACTERS_A_MESSAGE}, but got a string with length {length} instead.",
                        at("content")
                    ),
                    Some(&at("content")),
                    Some("string_above_max_length"),
                ));
            }
            Ok(())
        }
        Some(other) => Err(wrong_type(&at("content"), "one of a string or array of objects", other)),
        None if role == "assistant"
            && (given(fields, "tool_calls").is_some() || given(fields, "refusal").is_some()) =>
        {
            Ok(())
        }
        None => Err(invalid(
            format!("Invalid value for 'content': expected a string, got null. (param: {})", at("content")),
            Some(&at("content")),
            None,
        )),
    }
}

fn streaming(object: &Object) -> Result<(bool, bool, Option<bool>), ErrorReply> {
    let stream = boolean(object, "stream")?.unwrap_or(false);
    let Some(options) = given(object, "stream_options") else { return Ok((stream, false, None)) };
    if !stream {
        return Err(invalid(
            "The 'stream_options' parameter is only allowed when 'stream' is enabled.",
            Some("stream_options"),
            None,
        ));
    }
    let options = options.as_object().ok_or_else(|| wrong_type("stream_options", "an object", options))?;
    Ok((stream, boolean(options, "include_usage")?.unwrap_or(false), boolean(options, "include_obfuscation")?))
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
    let wanted = boolean(object, "logprobs")?.unwrap_or(false);
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

fn stop(object: &Object) -> Result<Vec<String>, ErrorReply> {
    match given(object, "stop") {
        None => Ok(Vec::new()),
        Some(Value::String(stop)) => Ok(vec![stop.clone()]),
        Some(Value::Array(_)) => array(object, "stop", 4)?
            .unwrap_or_default()
            .iter()
            .map(|stop| stop.as_str().map(str::to_owned).ok_or_else(|| wrong_type("stop", "a string", stop)))
            .collect(),
        Some(other) => Err(wrong_type("stop", "one of a string or array of strings", other)),
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
    let definitions = tool_definitions(object)?;
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
            let parallel = boolean(object, "parallel_tool_calls")?.unwrap_or(true);
            let most = if parallel { definitions.len() } else { 1 };
            Ok(definitions.into_iter().filter(|tool| asked.contains(&tool.name)).take(most).collect())
        }
    }
}

fn tool_definitions(object: &Object) -> Result<Vec<ToolDefinition>, ErrorReply> {
    let tools = array(object, "tools", MOST_TOOLS)?.unwrap_or_default();
    let read = |(index, tool): (usize, &Value)| {
        let function = tool.get("function").ok_or_else(|| missing(&format!("tools[{index}].function")))?;
        let param = format!("tools[{index}].function.name");
        let name = function.get("name").and_then(Value::as_str).ok_or_else(|| missing(&param))?;
        if name.is_empty() || name.len() > 64 || !name.chars().all(|c| c.is_ascii_alphanumeric() || "_-".contains(c)) {
            return Err(invalid(
                format!(
                    "Invalid '{param}': string does not match pattern. Expected a string that matches the pattern '^[a-zA-Z0-9_-]+$'."
                ),
                Some(&param),
                Some("invalid_value"),
            ));
        }
        let parameters = function.get("parameters").cloned().unwrap_or_else(|| serde_json::json!({"type": "object"}));
        Ok(ToolDefinition { name: name.to_owned(), parameters })
    };
    tools.iter().enumerate().map(read).collect()
}

fn format(object: &Object, prompt: &str) -> Result<AnswerFormat, ErrorReply> {
    let Some(format) = given(object, "response_format") else { return Ok(AnswerFormat::Text) };
    match format.get("type").and_then(Value::as_str) {
        Some("text") => Ok(AnswerFormat::Text),
        Some("json_object") if !prompt.to_ascii_lowercase().contains("json") => Err(invalid(
            "'messages' must contain the word 'json' in some form, to use 'response_format' of type 'json_object'.",
            Some("messages"),
            None,
        )),
        Some("json_object") => Ok(AnswerFormat::JsonObject),
        Some("json_schema") => {
            let schema = format.get("json_schema").ok_or_else(|| missing("response_format.json_schema"))?;
            if schema.get("name").and_then(Value::as_str).is_none() {
                return Err(missing("response_format.json_schema.name"));
            }
            let schema = schema.get("schema").cloned().unwrap_or_else(|| serde_json::json!({"type": "object"}));
            Ok(AnswerFormat::JsonSchema(schema))
        }
        Some(other) => Err(wrong_value("response_format.type", other, &["json_object", "json_schema", "text"])),
        None => Err(missing("response_format.type")),
    }
}

/// Everything the answer may depend on: not the deployment's name, and not how the answer is delivered.
fn fingerprint(object: &Object, deployment: &DeploymentSettings) -> u64 {
    const OF_DELIVERY: [&str; 7] =
        ["model", "stream", "stream_options", "user", "max_tokens", "max_completion_tokens", "metadata"];
    let mut hash = Fingerprint::new().add(deployment.model.as_bytes());
    for (name, value) in object.iter().filter(|(name, _)| !OF_DELIVERY.contains(&name.as_str())) {
        hash = hash.add(name.as_bytes()).add(value.to_string().as_bytes());
    }
    hash.finish()
}
