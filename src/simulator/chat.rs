//! Chat answers on the wire: the parts both forms share, and the unary form. Keys in alphabetical order, as recorded.
use std::io::Write;

use super::answer::{Answer, Call, Choice, Content, Finish, Piece, Usage};
use super::chance::{Chance, Fingerprint};
use super::fault::FilterMode;

pub(super) const SAFE_PROMPT: &str = r#"{"hate":{"filtered":false,"severity":"safe"},"jailbreak":{"detected":false,"filtered":false},"self_harm":{"filtered":false,"severity":"safe"},"sexual":{"filtered":false,"severity":"safe"},"violence":{"filtered":false,"severity":"safe"}}"#;
/// Verdicts on an answer; two of them vary.
macro_rules! output {
    ($code:literal, $violence:literal) => {
        concat!(
            r#"{"hate":{"filtered":false,"severity":"safe"},"protected_material_code":"#,
            $code,
            r#","protected_material_text":{"detected":false,"filtered":false},"self_harm":{"filtered":false,"severity":"safe"},"sexual":{"filtered":false,"severity":"safe"},"violence":"#,
            $violence,
            "}"
        )
    };
}

/// By whether code was found, and whether the answer is blocked.
const OUTPUT: [[&str; 2]; 2] = [
    [
        output!(r#"{"detected":false,"filtered":false}"#, r#"{"filtered":false,"severity":"safe"}"#),
        output!(r#"{"detected":false,"filtered":false}"#, r#"{"filtered":true,"severity":"medium"}"#),
    ],
    [
        output!(
            r#"{"citation":{"URL":"https://github.com/example/sort","license":"MIT"},"detected":true,"filtered":false}"#,
            r#"{"filtered":false,"severity":"safe"}"#
        ),
        output!(
            r#"{"citation":{"URL":"https://github.com/example/sort","license":"MIT"},"detected":true,"filtered":false}"#,
            r#"{"filtered":true,"severity":"medium"}"#
        ),
    ],
];
pub(super) const FILTER_DOWN: &str =
    r#"{"error":{"code":"content_filter_error","message":"The contents are not filtered"}}"#;

/// What every event and the unary answer of one completion have in common.
#[derive(Debug)]
pub(super) struct Identity {
    pub(super) id: String,
    /// Unix seconds.
    pub(super) created: u64,
    /// Underlying model and version.
    pub(super) model: String,
    /// `fp_...`, or none, as reasoning models answer.
    pub(super) fingerprint: Option<String>,
    /// Where the request asked for a tier.
    pub(super) service_tier: Option<&'static str>,
}

impl Identity {
    /// `serial` makes the id unique; the fingerprint depends on the model alone.
    pub(super) fn new(
        serial: u64,
        created: u64,
        model: String,
        reasoning: bool,
        service_tier: Option<&'static str>,
    ) -> Self {
        const LETTERS: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
        let mut chance = Chance::new(serial);
        let mut id = String::with_capacity(38);
        id.push_str("chatcmpl-");
        id.extend((0..29).map(|_| char::from(LETTERS[chance.below(62) as usize])));
        let hash = Fingerprint::new().add(model.as_bytes()).finish() >> 24;
        Self { id, created, fingerprint: (!reasoning).then(|| format!("fp_{hash:010x}")), service_tier, model }
    }
}

pub(super) fn push(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(text.as_bytes());
}

/// A JSON string, escaped and quoted.
pub(super) fn push_string(out: &mut Vec<u8>, text: &str) {
    // Writing a string into a Vec cannot fail.
    let _ = serde_json::to_writer(out, text);
}

pub(super) fn push_number(out: &mut Vec<u8>, number: u64) {
    let _ = write!(out, "{number}");
}

/// `"service_tier":...` where there is one, and `"system_fingerprint":...`.
pub(super) fn push_fingerprint(out: &mut Vec<u8>, identity: &Identity) {
    if let Some(tier) = identity.service_tier {
        push(out, r#","service_tier":"#);
        push_string(out, tier);
    }
    push(out, r#","system_fingerprint":"#);
    match &identity.fingerprint {
        Some(fingerprint) => push_string(out, fingerprint),
        None => push(out, "null"),
    }
}

pub(super) fn push_usage(out: &mut Vec<u8>, usage: Usage) {
    let Usage { prompt, completion, reasoning, accepted, rejected } = usage;
    let total = prompt + completion;
    let _ = write!(
        out,
        r#"{{"completion_tokens":{completion},"completion_tokens_details":{{"accepted_prediction_tokens":{accepted},"audio_tokens":0,"reasoning_tokens":{reasoning},"rejected_prediction_tokens":{rejected}}},"prompt_tokens":{prompt},"prompt_tokens_details":{{"audio_tokens":0,"cached_tokens":0}},"total_tokens":{total}}}"#
    );
}

pub(super) const fn prompt_annotation(filter: FilterMode) -> &'static str {
    match filter {
        FilterMode::On | FilterMode::Asynchronous => SAFE_PROMPT,
        FilterMode::Off => "{}",
        FilterMode::Outage => FILTER_DOWN,
    }
}

pub(super) fn output_annotation(filter: FilterMode, finish: Finish, cites_code: bool) -> &'static str {
    let is_blocked = finish == Finish::ContentFilter;
    match filter {
        FilterMode::On | FilterMode::Asynchronous => OUTPUT[usize::from(cites_code)][usize::from(is_blocked)],
        FilterMode::Off => "{}",
        FilterMode::Outage => FILTER_DOWN,
    }
}

/// `{"content":[...],"refusal":...}` for the pieces of one choice or event. The figures are made up from the pieces
/// alone, so that stream and unary answer agree.
pub(super) fn push_logprobs(out: &mut Vec<u8>, pieces: &[Piece], alternatives: usize, is_refusal: bool) {
    push(out, if is_refusal { r#"{"content":null,"refusal":["# } else { r#"{"content":["# });
    for (index, piece) in pieces.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        let mut chance = Chance::new(Fingerprint::new().add(piece.as_bytes()).finish());
        let mut logprob = -(chance.below(1000) as f64) / 4096.0;
        push(out, "{");
        push_token(out, piece, logprob);
        push(out, r#","top_logprobs":["#);
        for rank in 0..alternatives {
            push(out, if rank == 0 { "{" } else { ",{" });
            let word = match rank {
                0 => piece.as_ref(),
                _ => super::words::WORDS[chance.below(super::words::WORDS.len() as u64) as usize],
            };
            push_token(out, word, logprob);
            logprob -= 0.5;
            push(out, "}");
        }
        push(out, "]}");
    }
    push(out, if is_refusal { "]}" } else { r#"],"refusal":null}"# });
}

fn push_token(out: &mut Vec<u8>, token: &str, logprob: f64) {
    push(out, r#""bytes":"#);
    let _ = serde_json::to_writer(&mut *out, token.as_bytes());
    let _ = write!(out, r#","logprob":{logprob:.6},"token":"#);
    push_string(out, token);
}

/// The unary answer.
pub(super) fn unary(answer: &Answer, identity: &Identity, filter: FilterMode, logprobs: Option<usize>) -> Vec<u8> {
    let mut out = Vec::with_capacity(1536);
    push(&mut out, r#"{"choices":["#);
    for (index, choice) in answer.choices.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        let is_judged = choice.content.is_text() || choice.finish == Finish::ContentFilter;
        let annotation = output_annotation(filter, choice.finish, answer.cites_code);
        push_choice(&mut out, index, choice, if is_judged { annotation } else { "{}" }, logprobs);
    }
    push(&mut out, r#"],"created":"#);
    push_number(&mut out, identity.created);
    push(&mut out, r#","id":"#);
    push_string(&mut out, &identity.id);
    push(&mut out, r#","model":"#);
    push_string(&mut out, &identity.model);
    push(
        &mut out,
        r#","object":"chat.completion","prompt_filter_results":[{"prompt_index":0,"content_filter_results":"#,
    );
    push(&mut out, prompt_annotation(filter));
    push(&mut out, "}]");
    push_fingerprint(&mut out, identity);
    push(&mut out, r#","usage":"#);
    push_usage(&mut out, answer.usage);
    push(&mut out, "}\n");
    out
}

fn push_choice(out: &mut Vec<u8>, index: usize, choice: &Choice, annotation: &str, logprobs: Option<usize>) {
    push(out, r#"{"content_filter_results":"#);
    push(out, annotation);
    push(out, r#","finish_reason":""#);
    push(out, choice.finish.name());
    push(out, r#"","index":"#);
    push_number(out, index as u64);
    push(out, r#","logprobs":"#);
    let withheld = choice.finish == Finish::ContentFilter;
    match (logprobs, &choice.content) {
        (Some(most), Content::Text(pieces)) if !withheld => push_logprobs(out, pieces, most, false),
        (Some(most), Content::Refusal(pieces)) if !withheld => push_logprobs(out, pieces, most, true),
        _ => push(out, "null"),
    }
    push(out, r#","message":{"annotations":[],"content":"#);
    match &choice.content {
        Content::Text(pieces) if !withheld => push_string(out, &pieces.concat()),
        _ => push(out, "null"),
    }
    push(out, r#","refusal":"#);
    match &choice.content {
        Content::Refusal(pieces) if !withheld => push_string(out, &pieces.concat()),
        _ => push(out, "null"),
    }
    push(out, r#","role":"assistant""#);
    if let (Content::Calls(calls), false) = (&choice.content, withheld) {
        push(out, r#","tool_calls":["#);
        for (position, call) in calls.iter().enumerate() {
            push(out, if position == 0 { "" } else { "," });
            push_call(out, call);
        }
        push(out, "]");
    }
    push(out, "}}");
}

fn push_call(out: &mut Vec<u8>, call: &Call) {
    push(out, r#"{"function":{"arguments":"#);
    push_string(out, &call.arguments.concat());
    push(out, r#","name":"#);
    push_string(out, &call.name);
    push(out, r#"},"id":"#);
    push_string(out, &call.id);
    push(out, r#","type":"function"}"#);
}
