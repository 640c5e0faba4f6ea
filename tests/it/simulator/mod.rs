//! The simulated region over real sockets: what it answers, how it fails, and whether it keeps to the official specs.
mod answers;
mod control;
mod faults;
mod official;
mod recorded;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use jsonschema::Validator;
use sealane::simulator::{
    DeploymentSettings, ErrorBody, FILTER_OUTAGE_WORD, Fault, FaultRule, FilterMode, Latency, OUTPUT_BLOCK_WORD,
    Operation, PROMPT_BLOCK_WORD, REFUSAL_WORD, RegionSettings, SimulatedRegion,
};
use serde_json::{Value, json};

use crate::support::openapi::{self, DATED, Spec, V1};

const CHAT: &str = "/openai/deployments/gpt-4o/chat/completions?api-version=2024-10-21";
const REASONING: &str = "/openai/deployments/gpt-5-nano/chat/completions?api-version=2024-10-21";
const EMBED: &str = "/openai/deployments/text-embedding-3-large/embeddings?api-version=2024-10-21";
const ADA: &str = "/openai/deployments/text-embedding-ada-002/embeddings?api-version=2024-10-21";
const CHAT_V1: &str = "/openai/v1/chat/completions";
const EMBED_V1: &str = "/openai/v1/embeddings";

/// Long enough never to be reached unless something hangs.
const PATIENCE: Duration = Duration::from_secs(20);

fn loopback() -> SocketAddr {
    ([127, 0, 0, 1], 0).into()
}

fn start(settings: RegionSettings) -> SimulatedRegion {
    SimulatedRegion::start(settings, loopback()).unwrap()
}

fn with_faults<const N: usize>(faults: [Fault; N]) -> SimulatedRegion {
    start(RegionSettings { faults: faults.into_iter().map(FaultRule::from).collect(), ..RegionSettings::default() })
}

fn client() -> reqwest::Client {
    // Another test may have installed it already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).no_proxy().timeout(PATIENCE).build().unwrap()
}

async fn send(region: &SimulatedRegion, path: &str, body: impl ToString) -> reqwest::Result<reqwest::Response> {
    let request = client().post(format!("http://{}{path}", region.address())).body(body.to_string());
    request.header("api-key", "simulated-key").header("content-type", "application/json").send().await
}

async fn post(region: &SimulatedRegion, path: &str, body: &Value) -> reqwest::Response {
    send(region, path, body).await.unwrap()
}

async fn json_of(response: reqwest::Response) -> Value {
    serde_json::from_slice(&response.bytes().await.unwrap()).unwrap()
}

fn ask(text: &str) -> Value {
    json!({"messages": [{"role": "user", "content": text}]})
}

/// `body` with more members.
fn with(mut body: Value, members: Value) -> Value {
    let members = members.as_object().unwrap().clone();
    body.as_object_mut().unwrap().extend(members);
    body
}

fn streamed(body: Value) -> Value {
    with(body, json!({"stream": true, "stream_options": {"include_usage": true}}))
}

/// The payloads of a whole stream, `[DONE]` as a string.
fn events(text: &str) -> Vec<Value> {
    let payloads = text.split("\n\n").filter(|event| !event.is_empty());
    payloads.map(|event| event.strip_prefix("data: ").unwrap()).map(payload).collect()
}

fn payload(text: &str) -> Value {
    if text == "[DONE]" { json!("[DONE]") } else { serde_json::from_str(text).unwrap() }
}

/// Sends one request over a plain socket and gives back the answer's head and raw body, up to the connection's end.
fn raw(address: SocketAddr, path: &str, key: &str, body: &str) -> (String, String) {
    let mut socket = TcpStream::connect(address).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(socket, "POST {path} HTTP/1.1\r\nhost: x\r\napi-key: {key}\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}", body.len()).unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.to_owned(), body.to_owned())
}

fn header_names(head: &str) -> BTreeSet<String> {
    head.lines().skip(1).map(|line| line.split_once(':').unwrap().0.to_ascii_lowercase()).collect()
}

/// A recorded exchange; `None` where the recordings are absent.
fn recording(name: &str) -> Option<Value> {
    let path = openapi::directory()?.join("recorded").join(name);
    Some(serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap())
}

fn recorded_header_names(recording: &Value) -> BTreeSet<String> {
    recording["response"]["headers"].as_object().unwrap().keys().cloned().collect()
}

/// Puts a stream together as a client would: content, refusal, tool calls and finish reason by choice.
fn assembled(events: &[Value]) -> BTreeMap<u64, Value> {
    let mut choices: BTreeMap<u64, Value> = BTreeMap::new();
    for choice in events.iter().filter_map(|event| event.get("choices")?.as_array()).flatten() {
        let whole = choices.entry(choice["index"].as_u64().unwrap()).or_insert_with(
            || json!({"content": null, "refusal": null, "tool_calls": null, "finish_reason": null, "logprobs": null}),
        );
        if !choice["finish_reason"].is_null() {
            whole["finish_reason"] = choice["finish_reason"].clone();
        }
        for name in ["content", "refusal"] {
            append(&mut whole[name], &choice["delta"][name]);
            if let Some(tokens) = choice["logprobs"][name].as_array() {
                if whole["logprobs"].is_null() {
                    whole["logprobs"] = json!({"content": null, "refusal": null});
                }
                let slot = &mut whole["logprobs"][name];
                slot.is_null().then(|| *slot = json!([]));
                slot.as_array_mut().unwrap().extend(tokens.clone());
            }
        }
        for fragment in choice["delta"]["tool_calls"].as_array().into_iter().flatten() {
            let calls = &mut whole["tool_calls"];
            calls.is_null().then(|| *calls = json!([]));
            let calls = calls.as_array_mut().unwrap();
            let index = fragment["index"].as_u64().unwrap() as usize;
            if fragment.get("id").is_some() {
                assert_eq!(calls.len(), index, "fragments begin in order");
                calls.push(json!({"id": fragment["id"], "type": fragment["type"], "function": fragment["function"]}));
            } else {
                append(&mut calls[index]["function"]["arguments"], &fragment["function"]["arguments"]);
            }
        }
    }
    choices
}

fn append(whole: &mut Value, piece: &Value) {
    if let Some(piece) = piece.as_str() {
        *whole = json!(whole.as_str().unwrap_or_default().to_owned() + piece);
    }
}

fn corpus() -> Vec<(&'static str, Value)> {
    let weather = json!({"type": "function", "function": {"name": "weather", "parameters": {
        "type": "object", "properties": {"city": {"type": "string"}, "days": {"type": "integer", "minimum": 1}},
        "required": ["city", "days"]}}});
    let clock = json!({"type": "function", "function": {"name": "clock"}});
    let schema = json!({"type": "object", "properties": {"title": {"type": "string"}, "tags": {"type": "array", "items": {"type": "string"}}},
        "required": ["title", "tags"], "additionalProperties": false});
    let hi = |members: Value| with(ask("hi"), members);
    vec![
        (CHAT, ask("hi")),
        (CHAT, hi(json!({"seed": 7, "temperature": 0}))),
        (CHAT, hi(json!({"n": 3}))),
        (CHAT, hi(json!({"max_tokens": 5}))),
        (CHAT, hi(json!({"max_completion_tokens": 5, "n": 2}))),
        (CHAT, hi(json!({"stop": [" the", "o"]}))),
        (CHAT, hi(json!({"logprobs": true, "top_logprobs": 2}))),
        (CHAT, ask(REFUSAL_WORD)),
        (CHAT, with(ask("say it in json"), json!({"response_format": {"type": "json_object"}}))),
        (
            CHAT,
            hi(
                json!({"response_format": {"type": "json_schema", "json_schema": {"name": "page", "strict": true, "schema": schema}}}),
            ),
        ),
        (CHAT, hi(json!({"tools": [weather], "tool_choice": "required"}))),
        (
            CHAT,
            hi(json!({"tools": [weather, clock], "tool_choice": {"type": "function", "function": {"name": "clock"}}})),
        ),
        (CHAT, with(ask("ask clock and weather"), json!({"tools": [weather, clock]}))),
        (CHAT, with(ask("ask weather"), json!({"tools": [weather], "max_tokens": 2}))),
        (CHAT, ask(OUTPUT_BLOCK_WORD)),
        (REASONING, ask("hi")),
        (REASONING, hi(json!({"reasoning_effort": "high", "max_completion_tokens": 10}))),
    ]
}

/// Waits for what another task is about to do.
async fn until(reached: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !reached() {
        assert!(Instant::now() < deadline, "never came");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}
