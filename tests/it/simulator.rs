//! The simulated region over real sockets: what it answers, how it fails, and whether it keeps to the official specs.
use std::collections::{BTreeMap, BTreeSet};
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

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

// ---- Answers as recorded

#[tokio::test(flavor = "multi_thread")]
async fn refusals_come_back_as_recorded_byte_for_byte() {
    let region = start(RegionSettings::named("eastus2", "East US 2"));
    let missing = "/openai/deployments/absent/chat/completions?api-version=2024-10-21";
    for (file, path, key) in [
        ("chat-404-deployment-not-found-2026-03.json", missing, "simulated-key"),
        ("embeddings-401-bad-key-2026-03.json", EMBED, "wrong"),
    ] {
        let Some(recording) = recording(file) else { return };
        let recorded = &recording["response"];
        let (head, body) = raw(region.address(), path, key, &ask("hi").to_string());
        let status_line = format!("HTTP/1.1 {} {}", recorded["status"], recorded["reason"].as_str().unwrap());
        assert_eq!(head.lines().next().unwrap(), status_line);
        // The test asks to close, which Azure's recorders did not.
        let mut names = header_names(&head);
        names.remove("connection");
        assert_eq!(names, recorded_header_names(&recording), "{file}");
        let text = recorded["body_text"].as_str().unwrap();
        let expected = if names.contains("transfer-encoding") {
            format!("{:X}\r\n{text}\r\n0\r\n\r\n", text.len())
        } else {
            text.to_owned()
        };
        assert_eq!(body, expected, "{file}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_carry_the_recorded_headers_and_members() {
    let region = start(RegionSettings::named("eastus2", "East US 2"));
    let Some(unary) = recording("chat-unary-200-2026-03.json") else { return };
    let Some(stream) = recording("chat-stream-200-2026-03.json") else { return };
    for (recording, body) in [(unary, ask("hi")), (stream, with(ask("hi"), json!({"stream": true})))] {
        let (head, answer) = raw(region.address(), CHAT, "simulated-key", &body.to_string());
        let mut names = header_names(&head);
        names.remove("connection");
        assert_eq!(names, recorded_header_names(&recording));
        assert!(head.contains("x-ms-region: East US 2"), "{head}");
        let recorded = recording["response"]["body_text"].as_str().unwrap();
        if body.get("stream").is_none() {
            let (ours, theirs): (Value, Value) =
                (serde_json::from_str(&answer).unwrap(), serde_json::from_str(recorded).unwrap());
            assert_eq!(shape(&ours), shape(&theirs));
        } else {
            let answer = post(&region, CHAT, &body).await.text().await.unwrap();
            let (ours, theirs) = (events(&answer), events(recorded));
            for (ours, theirs) in
                [(0, 0), (1, 1), (2, 2), (ours.len() - 2, theirs.len() - 2), (ours.len() - 1, theirs.len() - 1)]
                    .map(|(our, their)| (&ours[our], &theirs[their]))
            {
                assert_eq!(shape(ours), shape(theirs));
            }
        }
    }
}

/// A JSON value with every string emptied and every number zeroed: its members and their kinds remain.
fn shape(value: &Value) -> Value {
    match value {
        Value::String(_) => json!(""),
        Value::Number(_) => json!(0),
        Value::Array(items) => items.iter().map(shape).collect(),
        Value::Object(members) => members.iter().map(|(name, value)| (name.clone(), shape(value))).collect(),
        other => other.clone(),
    }
}

// ---- Addresses, credentials, validation

#[tokio::test]
async fn addresses_and_credentials_are_told_apart() {
    let settings = RegionSettings { bearer_tokens: vec!["token".into()], ..RegionSettings::default() };
    let region = start(settings);
    let key = ("api-key", "simulated-key");
    let no_version = "/openai/deployments/gpt-4o/chat/completions";
    let unknown_version = "/openai/deployments/gpt-4o/chat/completions?api-version=2020-01-01";
    let v1 = |version| format!("{CHAT_V1}?api-version={version}");
    let cases: [(&str, &str, (&str, &str), u16); 14] = [
        ("POST", CHAT, key, 200),
        ("POST", "/openai/deployments/gpt%2D4o/chat/completions?api-version=2024-10-21", key, 200),
        ("POST", CHAT, ("authorization", "Bearer token"), 200),
        ("POST", CHAT, ("authorization", "Bearer simulated-key"), 401),
        ("POST", CHAT_V1, ("authorization", "Bearer simulated-key"), 200),
        ("POST", CHAT_V1, key, 200),
        ("POST", &v1("preview"), key, 200),
        ("POST", &v1("2024-10-21"), key, 404),
        ("POST", CHAT, ("api-key", ""), 401),
        ("POST", no_version, key, 404),
        ("POST", unknown_version, key, 404),
        ("GET", CHAT, key, 404),
        ("GET", "/openai/v1/models", key, 200),
        ("GET", "/openai/models?api-version=2024-10-21", key, 200),
    ];
    for (method, path, (name, value), expected) in cases {
        let request = client().request(method.parse().unwrap(), format!("http://{}{path}", region.address()));
        let body = with(ask("hi"), json!({"model": "gpt-4o"})).to_string();
        let status = request.header(name, value).body(body).send().await.unwrap().status();
        assert_eq!(status.as_u16(), expected, "{method} {path} with {name}");
    }
    let probe = client().get(format!("http://{}/status-0123456789abcdef", region.address())).send().await.unwrap();
    assert_eq!(probe.status().as_u16(), 200, "the status page asks for no key");
}

#[tokio::test]
async fn more_than_ten_custom_headers_are_refused() {
    let region = start(RegionSettings::default());
    for (count, expected) in [(10, 200), (11, 431)] {
        let mut request =
            client().post(format!("http://{}{CHAT}", region.address())).header("api-key", "simulated-key");
        for index in 0..count {
            request = request.header(format!("x-custom-{index}"), "1");
        }
        let status = request.body(ask("hi").to_string()).send().await.unwrap().status();
        assert_eq!(status.as_u16(), expected);
    }
}

#[tokio::test]
async fn bad_requests_are_refused_with_azures_codes() {
    let region = start(RegionSettings {
        deployments: vec![
            DeploymentSettings { context_window: 100, ..DeploymentSettings::chat("small", "gpt-4o", "2024-11-20") },
            DeploymentSettings {
                reasoning: true,
                ..DeploymentSettings::chat("gpt-5-nano", "gpt-5-nano", "2025-08-07")
            },
            DeploymentSettings::embedding("text-embedding-3-large", 3072),
            DeploymentSettings::embedding("text-embedding-ada-002", 1536),
        ],
        ..RegionSettings::default()
    });
    let small = "/openai/deployments/small/chat/completions?api-version=2024-10-21";
    let embed_chat = "/openai/deployments/small/embeddings?api-version=2024-10-21";
    let chat_embed = "/openai/deployments/text-embedding-3-large/chat/completions?api-version=2024-10-21";
    let function = |name: String| json!({"type": "function", "function": {"name": name}});
    let tools = |count: usize| (0..count).map(|index| function(format!("tool-{index}"))).collect::<Vec<_>>();
    let hi = |members: Value| with(ask("hi"), members);
    let cases = [
        (small, json!([1]), Value::Null, Value::Null),
        (small, json!({}), json!("missing_required_parameter"), json!("messages")),
        (small, json!({"messages": []}), json!("empty_array"), json!("messages")),
        (
            small,
            json!({"messages": [{"role": "wizard", "content": ""}]}),
            json!("invalid_value"),
            json!("messages[0].role"),
        ),
        (
            small,
            json!({"messages": [{"role": "tool", "content": ""}]}),
            json!("missing_required_parameter"),
            json!("messages[0].tool_call_id"),
        ),
        (
            small,
            json!({"messages": [{"role": "user", "content": 7}]}),
            json!("invalid_type"),
            json!("messages[0].content"),
        ),
        (small, hi(json!({"temperature": 2.5})), json!("decimal_above_max_value"), json!("temperature")),
        (small, hi(json!({"temperature": "hot"})), json!("invalid_type"), json!("temperature")),
        (small, hi(json!({"top_p": -0.1})), json!("decimal_below_min_value"), json!("top_p")),
        (small, hi(json!({"n": 129})), json!("integer_above_max_value"), json!("n")),
        (small, hi(json!({"max_tokens": 0})), json!("integer_below_min_value"), json!("max_tokens")),
        (
            small,
            hi(json!({"max_tokens": 1, "max_completion_tokens": 1})),
            json!("invalid_parameter_combination"),
            json!("max_tokens"),
        ),
        (small, hi(json!({"stop": ["a", "b", "c", "d", "e"]})), json!("array_above_max_length"), json!("stop")),
        (small, hi(json!({"tools": tools(129)})), json!("array_above_max_length"), json!("tools")),
        (
            small,
            hi(json!({"tools": [function("a b".to_owned())]})),
            json!("invalid_value"),
            json!("tools[0].function.name"),
        ),
        (small, hi(json!({"top_logprobs": 2})), Value::Null, json!("top_logprobs")),
        (small, hi(json!({"stream_options": {"include_usage": true}})), Value::Null, json!("stream_options")),
        (small, hi(json!({"response_format": {"type": "json_object"}})), Value::Null, json!("messages")),
        (small, hi(json!({"reasoning_effort": "low"})), json!("unsupported_parameter"), json!("reasoning_effort")),
        (small, ask(&"long".repeat(101)), json!("context_length_exceeded"), json!("messages")),
        (small, hi(json!({"max_tokens": 100})), json!("context_length_exceeded"), json!("messages")),
        (small, hi(json!({"top_k": 3})), Value::Null, Value::Null),
        (REASONING, hi(json!({"max_tokens": 5})), json!("unsupported_parameter"), json!("max_tokens")),
        (REASONING, hi(json!({"temperature": 0.5})), json!("unsupported_parameter"), json!("temperature")),
        (small, ask(PROMPT_BLOCK_WORD), json!("content_filter"), json!("prompt")),
        (chat_embed, ask("hi"), json!("OperationNotSupported"), Value::Null),
        (embed_chat, json!({"input": "a"}), json!("OperationNotSupported"), Value::Null),
        (EMBED, json!({}), json!("missing_required_parameter"), json!("input")),
        (EMBED, json!({"input": ""}), Value::Null, Value::Null),
        (EMBED, json!({"input": vec!["a"; 2049]}), json!("array_above_max_length"), json!("input")),
        (EMBED, json!({"input": "long".repeat(8193)}), Value::Null, Value::Null),
        (EMBED, json!({"input": vec!["long".repeat(8000); 38]}), json!("max_tokens_per_request"), Value::Null),
        (EMBED, json!({"input": "a", "dimensions": 3073}), Value::Null, json!("dimensions")),
        (EMBED, json!({"input": "a", "encoding_format": "hex"}), json!("invalid_value"), json!("encoding_format")),
        (ADA, json!({"input": "a", "dimensions": 8}), Value::Null, json!("dimensions")),
        (CHAT_V1, ask("hi"), Value::Null, json!("model")),
    ];
    for (path, body, code, param) in cases {
        let response = post(&region, path, &body).await;
        let status = response.status().as_u16();
        let error = json_of(response).await["error"].take();
        let place = body.to_string().chars().take(120).collect::<String>();
        assert_eq!((status, &error["code"], &error["param"]), (400, &code, &param), "{place}: {error}");
        assert!(error["message"].as_str().is_some_and(|message| !message.is_empty()), "{place}");
    }
    let response = send(&region, small, "{not json").await.unwrap();
    assert_eq!(response.status().as_u16(), 400);
    let blocked = json_of(post(&region, small, &ask(PROMPT_BLOCK_WORD)).await).await;
    assert_eq!(blocked["error"]["innererror"]["content_filter_result"]["violence"]["filtered"], true, "live spelling");
}

// ---- Answers

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

#[tokio::test]
async fn a_stream_says_what_the_unary_answer_says() {
    let region = start(RegionSettings::default());
    for (path, body) in corpus() {
        let unary = json_of(post(&region, path, &body).await).await;
        let text = post(&region, path, &streamed(body.clone())).await.text().await.unwrap();
        let events = events(&text);
        assert_eq!(events.last().unwrap(), "[DONE]");
        let usage = &events[events.len() - 2];
        assert_eq!((&usage["choices"], &usage["usage"]), (&json!([]), &unary["usage"]), "{body}");
        let choices = assembled(&events);
        assert_eq!(choices.len(), unary["choices"].as_array().unwrap().len(), "{body}");
        for choice in unary["choices"].as_array().unwrap() {
            let whole = &choices[&choice["index"].as_u64().unwrap()];
            assert_eq!(whole["finish_reason"], choice["finish_reason"], "{body}");
            if choice["finish_reason"] == "content_filter" {
                assert!(choice["message"]["content"].is_null(), "a withheld answer carries nothing");
                continue;
            }
            for name in ["content", "refusal", "tool_calls"] {
                assert_eq!(&whole[name], choice["message"].get(name).unwrap_or(&Value::Null), "{name} of {body}");
            }
            assert_eq!(whole["logprobs"], choice["logprobs"], "{body}");
        }
    }
}

#[tokio::test]
async fn answers_obey_the_request() {
    let region = start(RegionSettings::default());
    let chat = async |path: &str, body: Value| json_of(post(&region, path, &body).await).await;
    let hi = |members: Value| with(ask("hi"), members);
    let first = chat(CHAT, hi(json!({"seed": 1}))).await;
    assert_eq!(first["choices"], chat(CHAT, hi(json!({"seed": 1}))).await["choices"]);
    assert_ne!(first["choices"], chat(CHAT, hi(json!({"seed": 2}))).await["choices"]);
    assert_ne!(first["id"], chat(CHAT, hi(json!({"seed": 1}))).await["id"], "ids are unique");

    let short = chat(CHAT, hi(json!({"max_tokens": 4}))).await;
    assert_eq!(
        (&short["choices"][0]["finish_reason"], &short["usage"]["completion_tokens"]),
        (&json!("length"), &json!(4))
    );

    let full = chat(CHAT, ask("hi")).await["choices"][0]["message"]["content"].as_str().unwrap().to_owned();
    let stop = full.split(' ').nth(3).unwrap();
    let stopped = chat(CHAT, hi(json!({"stop": stop}))).await;
    // `stop` is part of the request that the answer is drawn from, so only its own promise can be checked.
    assert!(!stopped["choices"][0]["message"]["content"].as_str().unwrap().contains(stop));

    let thought = chat(REASONING, hi(json!({"reasoning_effort": "low"}))).await;
    assert_eq!(thought["usage"]["completion_tokens_details"]["reasoning_tokens"], 192);
    let cut = chat(REASONING, hi(json!({"reasoning_effort": "low", "max_completion_tokens": 100}))).await;
    assert_eq!(
        (
            &cut["choices"][0]["message"]["content"],
            &cut["choices"][0]["finish_reason"],
            &cut["usage"]["completion_tokens"]
        ),
        (&json!(""), &json!("length"), &json!(100)),
        "all of a small cap goes into reasoning"
    );
    let unfiltered = chat(CHAT, ask(FILTER_OUTAGE_WORD)).await;
    assert_eq!(unfiltered["choices"][0]["content_filter_results"]["error"]["code"], "content_filter_error");
}

#[tokio::test]
async fn vectors_depend_on_text_model_and_dimensions_alone() {
    let (one, other) =
        (start(RegionSettings::default()), start(RegionSettings::named("francecentral", "France Central")));
    let vectors = async |region: &SimulatedRegion, path: &str, body: Value| {
        let answer = json_of(post(region, path, &body).await).await;
        answer["data"].as_array().unwrap().iter().map(|item| vector(&item["embedding"])).collect::<Vec<_>>()
    };
    for dimensions in [1, 256, 3072] {
        let body = json!({"input": ["a", "b", "a"], "dimensions": dimensions});
        let floats = vectors(&one, EMBED, body.clone()).await;
        assert_eq!(floats[0].len(), dimensions);
        assert!(floats.iter().all(|vector| (norm(vector) - 1.0).abs() < 1e-4));
        assert_eq!(floats[0], floats[2]);
        assert_eq!(floats, vectors(&other, EMBED, body.clone()).await, "another region");
        let packed = with(body, json!({"encoding_format": "base64", "model": "text-embedding-3-large"}));
        assert_eq!(floats, vectors(&one, EMBED_V1, packed).await, "base64 on the v1 path");
    }
    let full = vectors(&one, EMBED, json!({"input": ["a", "b"]})).await;
    assert_ne!(full[0], full[1]);
    assert_eq!(full[0].len(), 3072);
    let tokens = vectors(&one, EMBED, json!({"input": [[1, 2], [3]]})).await;
    assert_eq!(tokens[0], vectors(&one, EMBED, json!({"input": [1, 2]})).await[0]);
    assert_ne!(tokens[0], tokens[1]);
}

fn vector(value: &Value) -> Vec<f32> {
    match value {
        Value::String(text) => {
            let bytes = base64_simd::STANDARD.decode_to_vec(text).unwrap();
            bytes.chunks(4).map(|chunk| f32::from_le_bytes(chunk.try_into().unwrap())).collect()
        }
        numbers => numbers.as_array().unwrap().iter().map(|number| number.as_f64().unwrap() as f32).collect(),
    }
}

fn norm(vector: &[f32]) -> f64 {
    vector.iter().map(|value| f64::from(*value).powi(2)).sum::<f64>().sqrt()
}

#[tokio::test]
async fn limits_are_enforced_with_azures_hints() {
    let deployment = |requests_per_minute, tokens_per_minute| DeploymentSettings {
        requests_per_minute,
        tokens_per_minute,
        ..DeploymentSettings::chat("gpt-4o", "gpt-4o", "2024-11-20")
    };
    for (deployment, allowed, words) in
        [(deployment(6, 1_000_000), 1, "call rate limit"), (deployment(6_000, 120), 1, "token rate limit")]
    {
        let region = start(RegionSettings { deployments: vec![deployment], ..RegionSettings::default() });
        let body = with(ask("hi"), json!({"max_tokens": 100}));
        for _ in 0..allowed {
            assert_eq!(post(&region, CHAT, &body).await.status().as_u16(), 200);
        }
        let response = post(&region, CHAT, &body).await;
        // A fresh request slice may begin at any moment; then the second request passes, and the third must not.
        let response = if response.status() == 200 { post(&region, CHAT, &body).await } else { response };
        assert_eq!(response.status().as_u16(), 429);
        let number = |name: &str| response.headers()[name].to_str().unwrap().parse::<u64>().unwrap();
        let (seconds, milliseconds) = (number("retry-after"), number("retry-after-ms"));
        assert_eq!(seconds, milliseconds.div_ceil(1000).max(1));
        let error = json_of(response).await["error"].take();
        let message = error["message"].as_str().unwrap();
        assert!(message.contains(words) && message.contains(&format!("retry after {seconds} seconds")), "{message}");
        assert_eq!(error["code"], "429");
    }
}

// ---- Faults

#[tokio::test]
async fn faults_before_the_answer() {
    let region = start(RegionSettings::default());
    let faults = region.faults();
    let status = |status| Fault::Status { status, retry_after: None, retry_after_ms: None, body: ErrorBody::Json };
    for code in [401, 403, 404, 408, 409, 424, 429, 500, 502, 503, 504] {
        faults.set(vec![status(code).into()]);
        let response = post(&region, CHAT, &ask("hi")).await;
        assert_eq!(response.status().as_u16(), code);
        assert!(json_of(response).await["error"].is_object(), "{code}");
    }
    let hints = Fault::Status {
        status: 503,
        retry_after: Some("7".to_owned()),
        retry_after_ms: Some(6500),
        body: ErrorBody::Html,
    };
    faults.set(vec![hints.into()]);
    let response = post(&region, CHAT, &ask("hi")).await;
    let header = |name: &str| response.headers()[name].to_str().unwrap().to_owned();
    assert_eq!(
        (header("content-type"), header("retry-after"), header("retry-after-ms")),
        ("text/html".into(), "7".into(), "6500".into())
    );
    assert!(response.text().await.unwrap().starts_with("<html>"));

    faults.set(vec![Fault::Throttle { retry_after_seconds: 86_400 }.into()]);
    let response = post(&region, CHAT, &ask("hi")).await;
    assert_eq!(response.headers()["retry-after"], "86400");
    assert!(response.text().await.unwrap().contains("retry after 86400 seconds"));

    faults.set(vec![Fault::Redirect { location: "http://192.0.2.1/".to_owned() }.into()]);
    let response = post(&region, CHAT, &ask("hi")).await;
    assert_eq!(
        (response.status().as_u16(), &response.headers()["location"]),
        (307, &"http://192.0.2.1/".parse().unwrap())
    );

    faults.set(vec![Fault::ExpiredCredentials { credentials: vec!["simulated-key".to_owned()] }.into()]);
    assert_eq!(post(&region, CHAT, &ask("hi")).await.status().as_u16(), 401);

    for (fault, check) in [
        (Fault::LargeBody { bytes: 100_000 }, (|text| text.len() > 100_000) as fn(&str) -> bool),
        (Fault::NestedJson { depth: 500 }, |text| {
            text.starts_with(&"[".repeat(500)) && text.ends_with(&"]".repeat(500))
        }),
        (Fault::MalformedJson, |text| serde_json::from_str::<Value>(text).is_err()),
        (Fault::ErrorInOk, |text| text.contains("InternalServerError")),
        (Fault::EmptyAnswer, |text| text.contains(r#""choices":[]"#)),
    ] {
        faults.set(vec![fault.clone().into()]);
        let response = post(&region, CHAT, &ask("hi")).await;
        assert_eq!(response.status().as_u16(), 200, "{fault:?}");
        assert!(check(&response.text().await.unwrap()), "{fault:?}");
    }
}

#[tokio::test]
async fn faults_in_the_head() {
    let cases = [
        (Fault::RegionHeader { value: Some("West Europe".to_owned()) }, "x-ms-region", Some("West Europe")),
        (Fault::RegionHeader { value: None }, "x-ms-region", None),
        (Fault::Spillover { deployment: "overflow".to_owned() }, "x-ms-deployment-name", Some("overflow")),
        (Fault::Spillover { deployment: "overflow".to_owned() }, "x-ms-is-spilled-over", Some("true")),
        (Fault::Spillover { deployment: "overflow".to_owned() }, "x-ms-spillover-from-deployment", Some("gpt-4o")),
        (Fault::Provisioned { utilization: 37.5 }, "azure-openai-deployment-utilization", Some("37.5%")),
        (Fault::Headers { headers: [("x-new".to_owned(), "1".to_owned())].into() }, "x-new", Some("1")),
    ];
    for (fault, name, expected) in cases {
        let region = with_faults([fault]);
        let response = post(&region, CHAT, &ask("hi")).await;
        assert_eq!(response.headers().get(name).map(|value| value.to_str().unwrap()), expected, "{name}");
    }
    let full = with_faults([Fault::Provisioned { utilization: 104.0 }]);
    let response = post(&full, CHAT, &ask("hi")).await;
    assert_eq!((response.status().as_u16(), &response.headers()["retry-after-ms"]), (429, &"1000".parse().unwrap()));
    let upgraded = with_faults([Fault::ServedModel { model: "gpt-4o-2099-01-01".to_owned() }]);
    assert_eq!(json_of(post(&upgraded, CHAT, &ask("hi")).await).await["model"], "gpt-4o-2099-01-01");
}

/// Reads a stream as it comes: its text, and whether the body ended well.
async fn read_all(mut response: reqwest::Response) -> (String, bool) {
    let mut bytes = Vec::new();
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) => bytes.extend_from_slice(&chunk),
            Ok(None) => return (String::from_utf8(bytes).unwrap(), true),
            Err(_) => return (String::from_utf8(bytes).unwrap(), false),
        }
    }
}

#[tokio::test]
async fn faults_within_a_stream() {
    // Fault, content events seen, payload of the last event, whether the body ends well.
    let cases = [
        (Fault::StreamError { at: 3 }, 3, "\"error\"", true),
        (Fault::StreamError { at: 0 }, 0, "\"error\"", true),
        (Fault::StreamReset { at: 3 }, 3, "\"content\"", false),
        (Fault::StreamEnd { at: 3 }, 3, "\"content\"", true),
        (Fault::StreamBlocked { at: 3 }, 3, "[DONE]", true),
        (Fault::StreamMalformed { at: 3 }, 24, "[DONE]", true),
        (Fault::StreamLargeEvent { at: 3, bytes: 300_000 }, 24, "[DONE]", true),
        (Fault::StreamNoDone, 24, "\"usage\":{", true),
        (Fault::StreamReset { at: 1000 }, 24, "\"content\"", false),
    ];
    for (fault, content_events, last, whole) in cases {
        let region = with_faults([fault.clone()]);
        let (text, ended) = read_all(post(&region, CHAT, &streamed(ask("hi"))).await).await;
        let seen = text.matches(r#""delta":{"content":""#).count() - text.matches(r#""delta":{"content":"","#).count();
        assert_eq!((seen, ended), (content_events, whole), "{fault:?}");
        let end = text.trim_end().rsplit("\n\n").next().unwrap().to_owned();
        assert!(end.contains(last), "{fault:?}: {end}");
        assert_eq!(region.counters().dropped_by_client(), 0, "{fault:?} is the region's doing, not the client's");
    }
    let region = with_faults([Fault::StreamBlocked { at: 3 }]);
    let text = post(&region, CHAT, &with(ask("hi"), json!({"stream": true}))).await.text().await.unwrap();
    let events = events(&text);
    assert_eq!(events[events.len() - 2]["choices"][0]["finish_reason"], "content_filter");
}

#[tokio::test]
async fn a_stalled_stream_stays_open_and_a_client_that_leaves_is_counted() {
    for fault in [Fault::StreamStall { at: 2 }, Fault::StreamNeverCloses, Fault::Hang] {
        let region = with_faults([fault.clone()]);
        let counters = region.counters();
        if fault == Fault::Hang {
            let request = tokio::spawn({
                let url = format!("http://{}{CHAT}", region.address());
                client().post(url).header("api-key", "simulated-key").body(ask("hi").to_string()).send()
            });
            until(|| counters.requests(Operation::Chat) == 1).await;
            request.abort();
        } else {
            let mut response = post(&region, CHAT, &streamed(ask("hi"))).await;
            let mut text = String::new();
            let enough =
                if fault == Fault::StreamNeverCloses { r#""finish_reason":"stop""# } else { r#""content":" "# };
            while !text.contains(enough) {
                text.push_str(std::str::from_utf8(&response.chunk().await.unwrap().unwrap()).unwrap());
            }
            assert!(!text.contains("[DONE]"));
            assert_eq!((counters.in_flight(), counters.dropped_by_client()), (1, 0));
            drop(response);
        }
        until(|| counters.in_flight() == 0).await;
        assert_eq!(counters.dropped_by_client(), 1, "{fault:?}");
    }
}

/// Waits for what another task is about to do.
async fn until(reached: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !reached() {
        assert!(Instant::now() < deadline, "never came");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn wire_oddities_do_not_change_what_is_said() {
    let body =
        streamed(with(ask("hi"), json!({"stream_options": {"include_usage": true, "include_obfuscation": false}})));
    let content = |text: &str| assembled(&events(&text.replace("\r\n", "\n")))[&0]["content"].clone();
    let plain = start(RegionSettings::default());
    let expected = content(&post(&plain, CHAT, &body).await.text().await.unwrap());
    for fault in [Fault::Drip { bytes: 1, every_ms: 0 }, Fault::Drip { bytes: 4000, every_ms: 1 }, Fault::StreamCrlf] {
        let region = with_faults([fault.clone()]);
        let text = post(&region, CHAT, &body).await.text().await.unwrap();
        assert!(!text.contains("obfuscation"));
        assert_eq!(text.contains("\r\n\r\n"), fault == Fault::StreamCrlf);
        assert_eq!(content(&text), expected, "{fault:?}");
    }
    let dripping = with_faults([Fault::Drip { bytes: 1, every_ms: 0 }]);
    let (_, chunks) = raw(
        dripping.address(),
        CHAT,
        "simulated-key",
        &with(ask("hi"), json!({"stream": true, "max_tokens": 1})).to_string(),
    );
    assert!(chunks.starts_with("1\r\nd\r\n1\r\na\r\n1\r\nt\r\n"), "every byte is a chunk");
}

#[tokio::test]
async fn the_asynchronous_filter_speaks_between_and_after_content() {
    let region = with_faults([Fault::ContentFilter { mode: FilterMode::Asynchronous }]);
    let events = events(&post(&region, CHAT, &streamed(ask("hi"))).await.text().await.unwrap());
    let is_annotation = |event: &&Value| event["choices"][0].get("content_filter_offsets").is_some();
    let annotations: Vec<&Value> = events.iter().filter(is_annotation).collect();
    assert!(annotations.len() >= 2);
    for annotation in &annotations {
        assert_eq!((&annotation["id"], annotation["choices"][0].get("delta")), (&json!(""), None));
    }
    let finish = events.iter().position(|event| event["choices"][0]["finish_reason"] == "stop").unwrap();
    assert!(is_annotation(&&events[finish + 1]), "one follows the finish reason");
    let off = with_faults([Fault::ContentFilter { mode: FilterMode::Off }]);
    let text = post(&off, CHAT, &streamed(ask("hi"))).await.text().await.unwrap();
    assert!(!text.contains("prompt_filter_results") && !text.contains("severity"));
}

#[tokio::test]
async fn connections_break_as_asked() {
    let region = start(RegionSettings::default());
    for (fault, kind) in [
        (Fault::Reset, Some(ErrorKind::ConnectionReset)),
        (Fault::Close, None),
        (Fault::Down, Some(ErrorKind::ConnectionReset)),
    ] {
        region.faults().set(vec![fault.clone().into()]);
        let address = region.address();
        let end = tokio::task::spawn_blocking(move || {
            let mut socket = TcpStream::connect(address).unwrap();
            socket.set_read_timeout(Some(PATIENCE)).unwrap();
            let body = ask("hi").to_string();
            write!(socket, "POST {CHAT} HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n{body}", body.len()).unwrap();
            socket.read(&mut [0; 16]).map_err(|error| error.kind())
        });
        let expected = kind.map_or(Ok(0), Err);
        assert_eq!(end.await.unwrap(), expected, "{fault:?}");
    }
    region.faults().set(vec![Fault::CutBody { after_bytes: 100 }.into()]);
    let (text, ended) = read_all(post(&region, CHAT, &ask("hi")).await).await;
    assert_eq!((text.len(), ended), (100, false));
}

#[tokio::test]
async fn a_region_goes_down_and_comes_back() {
    let region = with_faults([Fault::StreamStall { at: 1 }]);
    let open = post(&region, CHAT, &streamed(ask("hi"))).await;
    region.faults().set(vec![Fault::Down.into()]);
    assert!(!read_all(open).await.1, "an open stream is cut");
    assert!(send(&region, CHAT, ask("hi")).await.is_err());
    let state = client().get(format!("http://{}/_simulator/state", region.address())).send().await.unwrap();
    assert_eq!(state.status().as_u16(), 200, "control stays");
    region.faults().clear();
    assert_eq!(post(&region, CHAT, &ask("hi")).await.status().as_u16(), 200);
    assert_eq!(region.counters().dropped_by_client(), 0);
}

#[tokio::test]
async fn connections_are_refused_and_the_same_port_taken_again() {
    let region = SimulatedRegion::start_with_control(RegionSettings::default(), loopback(), loopback()).unwrap();
    let address = region.address();
    let connect = || TcpStream::connect(address).map(drop).map_err(|error| error.kind());
    for _ in 0..3 {
        region.refuse_connections().await.unwrap();
        assert_eq!(connect(), Err(ErrorKind::ConnectionRefused));
        region.accept_connections().await.unwrap();
        assert_eq!(post(&region, CHAT, &ask("hi")).await.status().as_u16(), 200);
    }
    let control = region.control_address().unwrap();
    let listen = async |on: bool| {
        let request = client().put(format!("http://{control}/_simulator/listening"));
        request.body(json!({"listening": on}).to_string()).send().await.unwrap().status().as_u16()
    };
    assert_eq!(listen(false).await, 200);
    assert_eq!(connect(), Err(ErrorKind::ConnectionRefused));
    assert_eq!(listen(true).await, 200);
    assert_eq!(connect(), Ok(()));
    region.stop().await;
    assert_eq!(connect(), Err(ErrorKind::ConnectionRefused));
}

#[tokio::test]
async fn faults_are_switched_over_http() {
    let region = start(RegionSettings::default());
    let url = format!("http://{}/_simulator/faults", region.address());
    let call = async |method: &str, body: Value| {
        let request = client().request(method.parse().unwrap(), &url).body(body.to_string());
        let response = request.send().await.unwrap();
        (response.status().as_u16(), json_of(response).await)
    };
    let rule = json!({"fault": {"kind": "status", "status": 503, "body": "json"}, "operation": "chat", "ratio": 1.0, "times": 1});
    assert_eq!(call("PUT", json!([rule])).await, (200, json!([rule])));
    assert_eq!(post(&region, EMBED, &json!({"input": "a"})).await.status().as_u16(), 200, "another operation");
    assert_eq!(post(&region, CHAT, &ask("hi")).await.status().as_u16(), 503);
    assert_eq!(post(&region, CHAT, &ask("hi")).await.status().as_u16(), 200, "it was for one request");
    assert_eq!(call("GET", json!(null)).await, (200, json!([])));
    let (status, answer) = call("POST", json!({"fault": {"kind": "nonsense"}})).await;
    assert_eq!(status, 400);
    assert!(answer["error"].as_str().unwrap().contains("nonsense"), "{answer}");
    assert_eq!(call("POST", json!({"fault": {"kind": "hang"}, "deployment": "gpt-4o"})).await.0, 200);
    assert_eq!(call("DELETE", json!(null)).await, (200, json!([])));
    let listening = client().put(format!("http://{}/_simulator/listening", region.address()));
    assert_eq!(listening.body(r#"{"listening":false}"#).send().await.unwrap().status().as_u16(), 409);
    let state = client().get(format!("http://{}/_simulator/state", region.address())).send().await.unwrap();
    let state = json_of(state).await;
    assert_eq!((&state["region"], &state["requests"]["chat"]), (&json!("swedencentral"), &json!(2)));
}

#[tokio::test]
async fn requests_are_counted_and_captured_within_bounds() {
    let region = start(RegionSettings { captured_requests: 2, ..RegionSettings::default() });
    for text in ["one", "two", "three"] {
        post(&region, CHAT, &ask(text)).await.text().await.unwrap();
    }
    let counters = region.counters();
    assert_eq!((counters.requests(Operation::Chat), counters.deployment_requests("gpt-4o")), (3, 3));
    assert_eq!(
        counters.bytes_received(),
        ["one", "two", "three"].iter().map(|text| ask(text).to_string().len() as u64).sum::<u64>()
    );
    let captured = counters.captured();
    let bodies: Vec<Value> = captured.iter().map(|request| serde_json::from_slice(&request.body).unwrap()).collect();
    assert_eq!(bodies, [ask("two"), ask("three")]);
    assert_eq!((captured[0].path.as_str(), &captured[0].headers["api-key"]), (CHAT, &"simulated-key".parse().unwrap()));
    until(|| counters.in_flight() == 0).await;
    let blind = start(RegionSettings { captured_requests: 0, ..RegionSettings::default() });
    post(&blind, CHAT, &ask("one")).await.text().await.unwrap();
    assert!(blind.counters().captured().is_empty());
}

#[tokio::test]
async fn answers_keep_their_pace() {
    let latency = Latency { first_byte_ms: 20, first_token_ms: 20, per_token_ms: 5, jitter_ms: 2 };
    let region = start(RegionSettings { latency, answer_tokens: 9, ..RegionSettings::default() });
    for body in [ask("hi"), streamed(ask("hi"))] {
        let begin = Instant::now();
        post(&region, CHAT, &body).await.text().await.unwrap();
        // Only a lower bound holds on a busy machine.
        assert!(begin.elapsed() >= Duration::from_millis(20 + 20 + 8 * 5), "{:?}", begin.elapsed());
    }
}

#[test]
fn settings_read_from_yaml_and_refuse_unknown_keys() {
    let settings: RegionSettings = serde_saphyr::from_str(
        "region: francecentral\ndisplay_name: France Central\nkeys: [k]\nlatency: { per_token_ms: 3 }\ndeployments:\n  - { name: e, model: text-embedding-3-small, kind: embedding, dimensions: 1536 }\nfaults:\n  - { fault: { kind: throttle, retry_after_seconds: 9 }, times: 2 }\n",
    )
    .unwrap();
    assert_eq!((settings.deployments[0].dimensions, settings.latency.per_token_ms), (1536, 3));
    assert_eq!(settings.faults, [FaultRule::from(Fault::Throttle { retry_after_seconds: 9 }).for_next(2)]);
    assert!(!format!("{settings:?}").contains("[\"k\"]"), "keys do not print");
    assert!(serde_saphyr::from_str::<RegionSettings>("regoin: x").is_err());
}

// ---- Official specifications

/// The documented ways in which live answers leave the official files, by their number in the specifications' README.
/// Each looks at one violation of one body and says whether it is that waiver's.
fn waiver(violation: &Violation<'_>) -> Option<u8> {
    let Violation { pointer, schema, body } = violation;
    let at = |suffix: &str| pointer.ends_with(suffix);
    let first_event =
        body["object"] == "" && body["choices"] == json!([]) && body.get("prompt_filter_results").is_some();
    match () {
        () if at("/system_fingerprint") && body["system_fingerprint"].is_null() => Some(1),
        () if first_event && (at("/object") || pointer.is_empty()) => Some(2),
        () if at("/error/type") && *schema == V1 => Some(4),
        () if (at("/error/param") || at("/error/code")) && body.pointer(pointer) == Some(&Value::Null) => Some(4),
        () if at("/embedding") && *schema == DATED => Some(5),
        () => None,
    }
}

struct Violation<'a> {
    pointer: &'a str,
    schema: &'a str,
    body: &'a Value,
}

#[tokio::test]
async fn answers_validate_against_the_official_specifications() {
    let (Some(dated), Some(v1)) = (Spec::load(DATED), Spec::load(V1)) else { return };
    let region = start(RegionSettings::default());
    let mut used = BTreeSet::new();
    let check = |schema: &str, validator: &jsonschema::Validator, body: &Value, used: &mut BTreeSet<u8>| {
        for error in validator.iter_errors(body) {
            let pointer = error.instance_path().to_string();
            match waiver(&Violation { pointer: &pointer, schema, body }) {
                Some(number) => _ = used.insert(number),
                None => panic!("{schema} at {pointer:?}: {error}\nin {body}"),
            }
        }
    };
    let v1_body = |path: &str, body: &Value| {
        let deployment = path.split('/').nth(3).unwrap();
        with(body.clone(), json!({"model": deployment}))
    };
    for (spec, file, unary, chunk) in [
        (&dated, DATED, "createChatCompletionResponse", "createChatCompletionStreamResponse"),
        (&v1, V1, "AzureCreateChatCompletionResponse", "AzureCreateChatCompletionStreamResponse"),
    ] {
        let (unary, chunk) = (spec.component(unary), spec.component(chunk));
        for (path, body) in corpus() {
            let (path, body) = if file == V1 { (CHAT_V1, v1_body(path, &body)) } else { (path, body) };
            check(file, &unary, &json_of(post(&region, path, &body).await).await, &mut used);
            let text = post(&region, path, &streamed(body)).await.text().await.unwrap();
            for event in events(&text).iter().filter(|event| event.is_object()) {
                check(file, &chunk, event, &mut used);
            }
        }
    }
    println!("{used:?}");
}
