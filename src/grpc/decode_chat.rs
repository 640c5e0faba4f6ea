//! Protobuf -> domain for chat; the limits are Azure's own (contract sections 2 and 3.1).
use std::collections::BTreeMap;

use sealane_core::domain::{
    ChatRequest, ExtraParam, JsonSchema, ReasoningEffort, ResponseFormat, RoutingOptions, Tool, ToolChoice,
    UserSecurityContext, Verbosity,
};
use serde_json::value::RawValue;

use super::{
    Violations,
    decode::{DecodeRules, known, model_name, non_empty, routing},
    decode_message::messages,
    pb,
};

const MOST_TOOLS: usize = 128;

/// The request, and where it may go.
pub(super) fn chat(
    request: pb::CompleteRequest,
    rules: DecodeRules<'_>,
) -> Result<(ChatRequest, RoutingOptions), Violations> {
    let mut wrong = Violations::none();
    if rules.reasoning {
        refuse_sampling(&request, &mut wrong);
    }
    let options = routing(request.routing, &mut wrong);
    model_name(&request.model, &mut wrong);
    let messages = messages(request.messages, rules, &mut wrong);
    let tools = tools(request.tools, &mut wrong);
    let tool_choice = tool_choice(request.tool_choice, &tools, &mut wrong);
    wrong.require(
        request.parallel_tool_calls.is_none() || !tools.is_empty(),
        "parallel_tool_calls",
        "makes sense only with tools",
    );
    wrong.require(request.stop_sequences.len() <= 4, "stop_sequences", "must hold at most 4 texts");
    for (at, _) in request.stop_sequences.iter().enumerate().filter(|(_, stop)| stop.is_empty()) {
        wrong.add(format!("stop_sequences[{at}]"), "must not be empty");
    }
    wrong.require(request.top_logprobs.is_none() || request.logprobs, "top_logprobs", "makes sense only with logprobs");
    let effort = known(request.reasoning_effort, "reasoning_effort", &mut wrong).unwrap_or_default();
    let verbosity = known(request.verbosity, "verbosity", &mut wrong).unwrap_or_default();
    let chat = ChatRequest {
        messages,
        max_output_tokens: whole("max_output_tokens", request.max_output_tokens, 1..=i32::MAX, &mut wrong),
        temperature: number("temperature", request.temperature, 0.0, 2.0, &mut wrong),
        top_p: number("top_p", request.top_p, 0.0, 1.0, &mut wrong),
        seed: request.seed,
        stop: request.stop_sequences,
        frequency_penalty: number("frequency_penalty", request.frequency_penalty, -2.0, 2.0, &mut wrong),
        presence_penalty: number("presence_penalty", request.presence_penalty, -2.0, 2.0, &mut wrong),
        tools,
        tool_choice,
        parallel_tool_calls: request.parallel_tool_calls,
        response_format: response_format(request.response_format, &mut wrong),
        reasoning_effort: reasoning_effort(effort),
        verbosity: match verbosity {
            pb::Verbosity::Unspecified => None,
            pb::Verbosity::Low => Some(Verbosity::Low),
            pb::Verbosity::Medium => Some(Verbosity::Medium),
            pb::Verbosity::High => Some(Verbosity::High),
        },
        choice_count: whole("choice_count", request.choice_count, 1..=128, &mut wrong),
        logprobs: request.logprobs,
        top_logprobs: whole("top_logprobs", request.top_logprobs, 0..=20, &mut wrong),
        logit_bias: logit_bias(request.logit_bias, &mut wrong),
        prediction: non_empty(request.prediction),
        metadata: metadata(request.metadata, &mut wrong),
        end_user_id: non_empty(request.end_user_id),
        user_security_context: request.user_security_context.map(security_context),
        extra_params: extra_params(request.extra_params, rules.extra_params, &mut wrong),
    };
    wrong.or((chat, options))
}

/// What reasoning models do not take (contract 3.1), refused before it costs quota. Azure lets a parameter pass that
/// says what is so anyway, and newer models that are told not to think take them all: those are left to Azure.
fn refuse_sampling(request: &pb::CompleteRequest, wrong: &mut Violations) {
    if request.reasoning_effort == pb::ReasoningEffort::None as i32 {
        return;
    }
    for (field, is_set) in [
        ("temperature", request.temperature.is_some_and(|value| value != 1.0)),
        ("top_p", request.top_p.is_some_and(|value| value != 1.0)),
        ("frequency_penalty", request.frequency_penalty.is_some_and(|value| value != 0.0)),
        ("presence_penalty", request.presence_penalty.is_some_and(|value| value != 0.0)),
        ("logprobs", request.logprobs),
        ("top_logprobs", request.top_logprobs.is_some()),
        ("logit_bias", !request.logit_bias.is_empty()),
    ] {
        wrong.require(!is_set, field, "is not for this model, which reasons");
    }
}

fn security_context(context: pb::UserSecurityContext) -> UserSecurityContext {
    UserSecurityContext {
        application_name: non_empty(context.application_name),
        end_user_id: non_empty(context.end_user_id),
        end_user_tenant_id: non_empty(context.end_user_tenant_id),
        source_ip: non_empty(context.source_ip),
    }
}

fn tools(tools: Vec<pb::Tool>, wrong: &mut Violations) -> Vec<Tool> {
    wrong.require(tools.len() <= MOST_TOOLS, "tools", format!("must hold at most {MOST_TOOLS} tools"));
    let mut decoded: Vec<Tool> = Vec::with_capacity(tools.len());
    for (at, tool) in tools.into_iter().enumerate() {
        let path = format!("tools[{at}].function");
        let Some(pb::tool::Tool::Function(function)) = tool.tool else {
            wrong.add(path, "is required");
            continue;
        };
        wrong.require(is_plain_name(&function.name), format!("{path}.name"), PLAIN_NAME);
        wrong.require(
            decoded.iter().all(|known| known.name != function.name),
            format!("{path}.name"),
            "must differ from the other tools' names",
        );
        decoded.push(Tool {
            name: function.name,
            description: non_empty(function.description),
            parameters_json: json_object(
                function.parameters_json_schema,
                &format!("{path}.parameters_json_schema"),
                wrong,
            ),
            strict: function.strict,
        });
    }
    decoded
}

fn tool_choice(choice: Option<pb::ToolChoice>, tools: &[Tool], wrong: &mut Violations) -> Option<ToolChoice> {
    use pb::tool_choice::{Choice, Mode};
    let choice = match choice?.choice {
        None => {
            wrong.add("tool_choice", "must be mode or function_name");
            return None;
        }
        Some(Choice::FunctionName(name)) => {
            wrong.require(
                tools.iter().any(|tool| tool.name == name),
                "tool_choice.function_name",
                "must be the name of one of the tools",
            );
            ToolChoice::Function(name)
        }
        Some(Choice::Mode(mode)) => match known(mode, "tool_choice.mode", wrong)? {
            Mode::Unspecified => return None,
            Mode::Auto => ToolChoice::Auto,
            Mode::None => ToolChoice::None,
            Mode::Required => ToolChoice::Required,
        },
    };
    wrong.require(!tools.is_empty(), "tool_choice", "makes sense only with tools");
    Some(choice)
}

fn response_format(format: Option<pb::ResponseFormat>, wrong: &mut Violations) -> Option<ResponseFormat> {
    use pb::response_format::Format;
    match format?.format {
        None => {
            wrong.add("response_format", "must be text, json_object or json_schema");
            None
        }
        Some(Format::Text(_)) => Some(ResponseFormat::Text),
        Some(Format::JsonObject(_)) => Some(ResponseFormat::JsonObject),
        Some(Format::JsonSchema(schema)) => {
            let path = "response_format.json_schema";
            wrong.require(is_plain_name(&schema.name), format!("{path}.name"), PLAIN_NAME);
            wrong.require(!schema.schema_json.is_empty(), format!("{path}.schema_json"), "is required");
            let schema_json = json_object(schema.schema_json, &format!("{path}.schema_json"), wrong)?;
            Some(ResponseFormat::JsonSchema(JsonSchema {
                name: schema.name,
                description: non_empty(schema.description),
                schema_json,
                strict: schema.strict,
            }))
        }
    }
}

fn reasoning_effort(effort: pb::ReasoningEffort) -> Option<ReasoningEffort> {
    match effort {
        pb::ReasoningEffort::Unspecified => None,
        pb::ReasoningEffort::None => Some(ReasoningEffort::None),
        pb::ReasoningEffort::Minimal => Some(ReasoningEffort::Minimal),
        pb::ReasoningEffort::Low => Some(ReasoningEffort::Low),
        pb::ReasoningEffort::Medium => Some(ReasoningEffort::Medium),
        pb::ReasoningEffort::High => Some(ReasoningEffort::High),
        pb::ReasoningEffort::Xhigh => Some(ReasoningEffort::Xhigh),
    }
}

fn logit_bias(bias: BTreeMap<i32, f32>, wrong: &mut Violations) -> Vec<(u32, f32)> {
    let mut decoded = Vec::with_capacity(bias.len());
    for (token, bias) in bias {
        let path = format!("logit_bias[{token}]");
        // Azure's files know whole numbers only; NaN is in no range.
        let fits = (-100.0..=100.0).contains(&bias) && bias.fract() == 0.0;
        wrong.require(fits, path.as_str(), "must be a whole number from -100 to 100");
        match u32::try_from(token) {
            Ok(token) => decoded.push((token, bias)),
            Err(_) => wrong.add(path, "token ids are not negative"),
        }
    }
    decoded.sort_unstable_by_key(|(token, _)| *token);
    decoded
}

fn metadata(labels: BTreeMap<String, String>, wrong: &mut Violations) -> Vec<(String, String)> {
    let fits = |(key, value): (&String, &String)| key.chars().count() <= 64 && value.chars().count() <= 512;
    wrong.require(
        labels.len() <= 16 && labels.iter().all(fits),
        "metadata",
        "must hold at most 16 labels, keys to 64 and values to 512 characters",
    );
    let mut labels: Vec<_> = labels.into_iter().collect();
    labels.sort_unstable();
    labels
}

fn extra_params(params: Option<prost_types::Struct>, allowed: &[String], wrong: &mut Violations) -> Vec<ExtraParam> {
    let mut decoded = Vec::new();
    for (name, value) in params.unwrap_or_default().fields {
        if allowed.contains(&name) {
            decoded.push(ExtraParam { json: json(value).to_string(), name });
        } else {
            wrong.add(
                format!("extra_params.{}", name.chars().take(64).collect::<String>()),
                "is not among the model's extra_params in the service's configuration",
            );
        }
    }
    decoded.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    decoded
}

fn json(value: prost_types::Value) -> serde_json::Value {
    use prost_types::value::Kind;
    match value.kind {
        None | Some(Kind::NullValue(_)) => serde_json::Value::Null,
        Some(Kind::BoolValue(value)) => value.into(),
        Some(Kind::StringValue(value)) => value.into(),
        // Protobuf knows one kind of number; whole ones are meant as such.
        Some(Kind::NumberValue(value)) if value.fract() == 0.0 && value.abs() < 9e15 => (value as i64).into(),
        Some(Kind::NumberValue(value)) => value.into(),
        Some(Kind::ListValue(list)) => list.values.into_iter().map(json).collect(),
        Some(Kind::StructValue(object)) => {
            serde_json::Value::Object(object.fields.into_iter().map(|(name, value)| (name, json(value))).collect())
        }
    }
}

const PLAIN_NAME: &str = "must be 1 to 64 of a-z, A-Z, 0-9, _ and -";

fn is_plain_name(name: &str) -> bool {
    (1..=64).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
}

/// JSON that is only passed on: checked to be an object, kept as text.
fn json_object(text: String, path: &str, wrong: &mut Violations) -> Option<String> {
    if text.is_empty() {
        return None;
    }
    let object = serde_json::from_str::<&RawValue>(&text).is_ok_and(|raw| raw.get().starts_with('{'));
    wrong.require(object, path, "must be a JSON object");
    object.then_some(text)
}

fn number(field: &str, value: Option<f32>, least: f32, most: f32, wrong: &mut Violations) -> Option<f32> {
    let value = value?;
    // NaN is in no range.
    wrong.require((least..=most).contains(&value), field, format!("must be a number from {least} to {most}"));
    Some(value)
}

fn whole(field: &str, value: Option<i32>, range: std::ops::RangeInclusive<i32>, wrong: &mut Violations) -> Option<u32> {
    let value = value?;
    let must = match *range.end() {
        i32::MAX => format!("must be at least {}", range.start()),
        most => format!("must be from {} to {most}", range.start()),
    };
    wrong.require(range.contains(&value), field, must);
    u32::try_from(value).ok()
}
