//! Chat requests drawn by a seeded dice: the same ones in every run.
use sealane::simulator::{CODE_CITATION_WORD, FILTER_OUTAGE_WORD, OUTPUT_BLOCK_WORD, REFUSAL_WORD};
use sealane_core::domain::{
    ChatRequest, ExtraParam, ImageDetail, ImageSource, JsonSchema, Message, Part, ReasoningEffort, ResponseFormat,
    Role, Tool, ToolCall, ToolChoice, UserSecurityContext, Verbosity,
};
use serde_json::json;

use crate::support::attempt::message;

/// Draws numbers: SplitMix64, whose whole state is its seed.
pub struct Dice(pub u64);

impl Dice {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Less than `end`.
    pub fn below(&mut self, end: usize) -> usize {
        (self.next() % end.max(1) as u64) as usize
    }

    /// From `least` to `most`.
    pub fn between(&mut self, least: i64, most: i64) -> i64 {
        least + self.below((most - least + 1) as usize) as i64
    }

    /// True once in `times`.
    pub fn once_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }

    fn maybe<T>(&mut self, make: impl FnOnce(&mut Self) -> T) -> Option<T> {
        self.once_in(3).then(|| make(self))
    }

    pub fn text(&mut self) -> String {
        const WORDS: [&str; 12] = [
            "tell",
            "me",
            "caf\u{e9}",
            "\u{1f600}",
            "\"quoted\"",
            "back\\slash",
            "\n",
            "\u{0}",
            "json",
            "7",
            "x",
            "so",
        ];
        let words: Vec<&str> = (0..1 + self.below(8)).map(|_| *self.pick(&WORDS)).collect();
        words.join(" ")
    }
}

const TOOL_NAMES: [&str; 3] = ["weather", "clock", "look_up"];

/// A request that a model which reasons, or one that does not, takes as it is.
pub fn chat_request(dice: &mut Dice, reasoning: bool) -> ChatRequest {
    let tools = tools(dice);
    let mut request = ChatRequest {
        messages: messages(dice, &tools),
        max_output_tokens: dice.maybe(|dice| dice.between(1, 2000) as u32),
        seed: dice.maybe(|dice| dice.next() as i64),
        stop: (0..dice.below(5)).filter_map(|_| dice.maybe(Dice::text)).collect(),
        tool_choice: (!tools.is_empty() && dice.once_in(2)).then(|| tool_choice(dice, &tools)),
        parallel_tool_calls: (!tools.is_empty()).then(|| dice.maybe(|dice| dice.once_in(2))).flatten(),
        response_format: dice.maybe(response_format),
        verbosity: dice.maybe(|dice| *dice.pick(&[Verbosity::Low, Verbosity::Medium, Verbosity::High])),
        choice_count: dice.maybe(|dice| dice.between(1, 4) as u32),
        prediction: dice.maybe(Dice::text),
        metadata: (0..dice.below(4)).map(|at| (format!("key{at}"), dice.text())).collect(),
        end_user_id: dice.maybe(Dice::text),
        user_security_context: dice.maybe(security_context),
        extra_params: dice.maybe(|_| tier()).into_iter().collect(),
        tools,
        ..ChatRequest::default()
    };
    if reasoning {
        request.reasoning_effort = dice.maybe(effort);
    } else {
        sampling(dice, &mut request);
    }
    request
}

fn sampling(dice: &mut Dice, request: &mut ChatRequest) {
    let share = |dice: &mut Dice, least: f32, most: f32| least + (most - least) * dice.between(0, 1000) as f32 / 1000.0;
    request.temperature = dice.maybe(|dice| share(dice, 0.0, 2.0));
    request.top_p = dice.maybe(|dice| share(dice, 0.0, 1.0));
    request.frequency_penalty = dice.maybe(|dice| share(dice, -2.0, 2.0));
    request.presence_penalty = dice.maybe(|dice| share(dice, -2.0, 2.0));
    request.logprobs = dice.once_in(3);
    request.top_logprobs = if request.logprobs { dice.maybe(|dice| dice.between(0, 20) as u32) } else { None };
    request.logit_bias = (0..dice.below(3)).map(|at| (at as u32 * 7, dice.between(-100, 100) as f32)).collect();
}

/// What a configuration may let through.
fn tier() -> ExtraParam {
    ExtraParam { name: "service_tier".into(), json: "\"auto\"".into() }
}

fn effort(dice: &mut Dice) -> ReasoningEffort {
    use ReasoningEffort::*;
    *dice.pick(&[None, Minimal, Low, Medium, High, Xhigh])
}

fn security_context(dice: &mut Dice) -> UserSecurityContext {
    UserSecurityContext {
        application_name: dice.maybe(Dice::text),
        end_user_id: dice.maybe(Dice::text),
        end_user_tenant_id: dice.maybe(Dice::text),
        source_ip: dice.maybe(|_| "192.0.2.1".to_owned()),
    }
}

fn schema(dice: &mut Dice) -> String {
    let pair = json!({"type": "object", "required": ["a", "b"], "additionalProperties": false, "properties": {
        "a": {"type": "integer", "minimum": 1}, "b": {"type": "array", "items": {"type": "string"}, "maxItems": 3}}});
    let nested = json!({"type": "object", "required": ["kind"], "properties": {"kind": {"enum": ["x", "y"]},
        "next": {"anyOf": [{"type": "null"}, {"type": "number"}]}, "sure": {"type": "boolean"}}});
    dice.pick(&[pair, nested]).to_string()
}

fn tools(dice: &mut Dice) -> Vec<Tool> {
    if dice.once_in(2) {
        return Vec::new();
    }
    let count = 1 + dice.below(TOOL_NAMES.len());
    let tool = |name: &&str| Tool {
        name: (*name).to_owned(),
        description: dice.maybe(Dice::text),
        parameters_json: dice.maybe(schema),
        strict: dice.once_in(2),
    };
    TOOL_NAMES[..count].iter().map(tool).collect()
}

fn tool_choice(dice: &mut Dice, tools: &[Tool]) -> ToolChoice {
    match dice.below(4) {
        0 => ToolChoice::Auto,
        1 => ToolChoice::None,
        2 => ToolChoice::Required,
        _ => ToolChoice::Function(dice.pick(tools).name.clone()),
    }
}

fn response_format(dice: &mut Dice) -> ResponseFormat {
    match dice.below(3) {
        0 => ResponseFormat::Text,
        // The prompt of every request has the word in it.
        1 => ResponseFormat::JsonObject,
        _ => ResponseFormat::JsonSchema(JsonSchema {
            name: "answer".into(),
            description: dice.maybe(Dice::text),
            schema_json: schema(dice),
            strict: dice.once_in(2),
        }),
    }
}

fn messages(dice: &mut Dice, tools: &[Tool]) -> Vec<Message> {
    let mut messages = Vec::new();
    if let Some(text) = dice.maybe(Dice::text) {
        let role = *dice.pick(&[Role::System, Role::Developer]);
        messages.push(message(role, vec![Part::Text(text)]));
    }
    for _ in 0..dice.below(3) {
        messages.push(user(dice, tools));
        answered(dice, tools, &mut messages);
    }
    messages.push(user(dice, tools));
    messages
}

fn user(dice: &mut Dice, tools: &[Tool]) -> Message {
    let mut text = dice.text() + " json";
    for word in [OUTPUT_BLOCK_WORD, FILTER_OUTAGE_WORD, REFUSAL_WORD, CODE_CITATION_WORD] {
        if dice.once_in(12) {
            text = format!("{text} {word}");
        }
    }
    for tool in tools {
        if dice.once_in(2) {
            text = format!("{text} {}", tool.name);
        }
    }
    let mut parts = vec![Part::Text(text)];
    if dice.once_in(4) {
        let inline = ImageSource::Inline { mime_type: "image/png".into(), bytes: vec![0x89, 0x50, 0x4e, 0x47] };
        let uri = ImageSource::Uri("https://example.org/a.png".into());
        let source = dice.pick(&[inline, uri]).clone();
        let detail = dice.maybe(|dice| *dice.pick(&[ImageDetail::Auto, ImageDetail::Low, ImageDetail::High]));
        parts.push(Part::Image { source, detail });
    }
    if dice.once_in(6) {
        parts.push(Part::File { mime_type: "application/pdf".into(), name: "a.pdf".into(), bytes: b"%PDF".to_vec() });
    }
    Message { name: dice.maybe(|_| "ann".to_owned()), ..message(Role::User, parts) }
}

/// An earlier answer: text, a refusal, or tool calls with their results.
fn answered(dice: &mut Dice, tools: &[Tool], messages: &mut Vec<Message>) {
    match dice.below(3) {
        0 => messages.push(message(Role::Assistant, vec![Part::Text(dice.text())])),
        1 => messages.push(message(Role::Assistant, vec![Part::Refusal(dice.text())])),
        _ => {
            let call = |(at, tool): (usize, &Tool)| ToolCall {
                id: format!("call_{at}"),
                name: tool.name.clone(),
                arguments_json: "{\"a\":1}".into(),
            };
            let calls: Vec<ToolCall> = tools.iter().enumerate().map(call).collect();
            if calls.is_empty() {
                return;
            }
            let content = dice.maybe(|dice| Part::Text(dice.text())).into_iter().collect();
            messages.push(Message { tool_calls: calls.clone(), ..message(Role::Assistant, content) });
            for call in calls {
                let result = message(Role::Tool, vec![Part::Text(dice.text())]);
                messages.push(Message { tool_call_id: Some(call.id), ..result });
            }
        }
    }
}
