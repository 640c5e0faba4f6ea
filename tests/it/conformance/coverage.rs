//! `docs/azure-coverage.md` against the official files, and against what really goes through: no member is forgotten,
//! and none is claimed that is not carried.
use std::collections::{BTreeMap, BTreeSet};

use sealane::grpc::pb::{self, complete_stream_response::Event};
use serde_json::{Value, json};

use super::requests::{Style, fields};
use crate::support::{
    attempt::ask,
    canned::{Canned, Step, response},
    openapi::{self, DATED, V1},
    service::hi,
    world::{Setup, World},
};

const PAGE: &str = include_str!("../../../docs/azure-coverage.md");
/// The files in the order in which a member's age is told.
const FILES: [(&str, &str); 3] = [("2024-10-21", DATED), ("v1", V1), ("OpenAI", "openai-subset-chat-embeddings.json")];

/// One section of the page.
#[derive(Default)]
struct Section {
    /// Path to `since`.
    carried: BTreeMap<String, String>,
    left_out: BTreeSet<String>,
}

impl Section {
    fn of(title: &str) -> Self {
        let (_, text) = PAGE.split_once(&format!("## {title}\n")).unwrap();
        let text = text.split("\n## ").next().unwrap();
        let mut section = Self::default();
        for row in text.lines().filter_map(|line| line.strip_prefix("| `")?.strip_suffix(" |")) {
            let cells: Vec<&str> = row.split(" | ").collect();
            let path = cells[0].trim_end_matches('`').to_owned();
            assert!(cells.iter().all(|cell| !cell.is_empty()), "{row}");
            match cells[..] {
                [_, _, since] => assert!(section.carried.insert(path, since.to_owned()).is_none(), "twice: {row}"),
                [_, _] => assert!(section.left_out.insert(path), "twice: {row}"),
                _ => panic!("{row}"),
            }
        }
        assert!(section.carried.len() > 20 && section.left_out.len() > 10);
        section
    }

    fn leaves_out(&self, path: &str) -> bool {
        self.left_out.iter().any(|row| is_within(path, row))
    }
}

/// The place itself, or one below it.
fn is_within(path: &str, outer: &str) -> bool {
    path.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
}

/// Filter categories are all alike, and the v1 file nests the prompt's verdicts once too often.
fn general(path: String) -> String {
    const RESULTS: &str = "content_filter_results";
    let path = path.replace("content_filter_results.content_filter_results", RESULTS);
    let Some((before, after)) = path.split_once("content_filter_results.") else { return path };
    let (category, rest) = after.split_once('.').map_or((after, ""), |(category, rest)| (category, rest));
    match (category, rest) {
        ("error", _) | ("*", _) => path,
        (_, "") => format!("{before}{RESULTS}.*"),
        (_, rest) => format!("{before}{RESULTS}.*.{rest}"),
    }
}

/// Every place that a schema names.
fn walk<'a>(document: &'a Value, mut schema: &'a Value, path: &str, within: &[&'a str], found: &mut BTreeSet<String>) {
    let mut within = within.to_vec();
    while let Some(reference) = schema.get("$ref").and_then(Value::as_str) {
        // Round again.
        if within.contains(&reference) {
            return;
        }
        within.push(reference);
        schema = document.pointer(reference.trim_start_matches('#')).unwrap();
    }
    for (name, member) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        found.insert(general(path.clone()));
        walk(document, member, &path, &within, found);
    }
    if let Some(items) = schema.get("items").filter(|items| items.is_object()) {
        walk(document, items, &format!("{path}[]"), &within, found);
    }
    for word in ["allOf", "oneOf", "anyOf"] {
        for part in schema.get(word).and_then(Value::as_array).into_iter().flatten() {
            walk(document, part, path, &within, found);
        }
    }
    let mapping = schema.pointer("/discriminator/mapping").and_then(Value::as_object).into_iter().flatten();
    for named in mapping.filter_map(|(_, named)| named.as_str()).filter(|named| !within.contains(named)) {
        let within = [&within[..], &[named]].concat();
        walk(document, document.pointer(named.trim_start_matches('#')).unwrap(), path, &within, found);
    }
}

/// The schema of a request, a whole answer or an event in one of the files.
fn schema(document: &Value, title: &str) -> Value {
    let named = |name: &str| json!({"$ref": format!("#/components/schemas/{name}")});
    let paths = document["paths"].as_object().unwrap();
    let (_, path) = paths.iter().find(|(path, _)| path.ends_with("/chat/completions")).unwrap();
    let answers = &path["post"]["responses"]["200"]["content"];
    match title {
        "Requests" => path["post"]["requestBody"]["content"]["application/json"]["schema"].clone(),
        // The dated file offers both for one media type.
        "Whole answers" if answers["text/event-stream"].is_null() => named("createChatCompletionResponse"),
        "Streamed answers" if answers["text/event-stream"].is_null() => named("createChatCompletionStreamResponse"),
        "Whole answers" => answers["application/json"]["schema"].clone(),
        _ => answers["text/event-stream"]["schema"].clone(),
    }
}

/// What is wrong with one section of the page.
fn faults(directory: &std::path::Path, title: &str) -> Vec<String> {
    let section = Section::of(title);
    let mut faults = Vec::new();
    let mut all: BTreeMap<String, &str> = BTreeMap::new();
    for (since, file) in FILES {
        let document: Value = serde_json::from_str(&std::fs::read_to_string(directory.join(file)).unwrap()).unwrap();
        let mut found = BTreeSet::new();
        walk(&document, &schema(&document, title), "", &[], &mut found);
        found.into_iter().for_each(|path| _ = all.entry(path).or_insert(since));
    }
    let is_leaf = |path: &str| !all.keys().any(|other| other != path && is_within(other, path));
    for path in all.keys().filter(|path| is_leaf(path)) {
        match (section.carried.contains_key(path), section.leaves_out(path)) {
            (true, true) => faults.push(format!("{path} is both carried and left out")),
            (false, false) => faults.push(format!("{path} is forgotten")),
            _ => {}
        }
    }
    for (path, since) in &section.carried {
        match all.get(path) {
            Some(first) if first != since => faults.push(format!("{path} is in the files since {first}")),
            None if since != "live" => faults.push(format!("no file knows {path}")),
            _ => {}
        }
    }
    let stale = section.left_out.iter().filter(|row| !all.keys().any(|path| is_within(path, row)));
    faults.extend(stale.map(|row| format!("no file knows {row}")));
    faults
}

#[test]
fn every_member_of_the_official_files_is_accounted_for() {
    let Some(directory) = openapi::directory() else { return };
    for title in ["Requests", "Whole answers", "Streamed answers"] {
        let faults = faults(&directory, title);
        assert!(faults.is_empty(), "{title}: {faults:#?}");
    }
}

/// A JSON pointer as the page writes it.
fn path_of(pointer: &str) -> String {
    let mut path = String::new();
    for piece in pointer.split('/').skip(1) {
        match piece.parse::<usize>() {
            Ok(_) => path += "[]",
            Err(_) if path.is_empty() => path += piece,
            Err(_) => path = format!("{path}.{piece}"),
        }
    }
    general(path)
}

/// Pointers to all scalars, and to all lists of numbers.
fn leaves(value: &Value, pointer: &str, found: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            members.iter().for_each(|(name, member)| leaves(member, &format!("{pointer}/{name}"), found));
        }
        Value::Array(items) if !items.iter().all(Value::is_number) => {
            items.iter().enumerate().for_each(|(at, item)| leaves(item, &format!("{pointer}/{at}"), found));
        }
        _ => found.push(pointer.to_owned()),
    }
}

#[tokio::test]
async fn requests_hold_what_the_page_says_and_nothing_else() {
    let Some(styles) = Style::both().await else { return };
    let section = Section::of("Requests");
    let mut sent = BTreeSet::new();
    for style in &styles {
        for (set, _) in fields() {
            let mut request = ask("hi");
            set(&mut request);
            let body = style.send(&request, true).await.json();
            let mut pointers = Vec::new();
            leaves(&body, "", &mut pointers);
            sent.extend(pointers.iter().map(|pointer| path_of(pointer)));
        }
    }
    let carried = |path: &str| section.carried.keys().find(|row| is_within(path, row));
    let unknown: Vec<_> = sent.iter().filter(|path| carried(path).is_none()).collect();
    assert!(unknown.is_empty(), "sent, and not on the page: {unknown:?}");
    let idle: Vec<_> = section.carried.keys().filter(|row| !sent.iter().any(|path| is_within(path, row))).collect();
    assert!(idle.is_empty(), "on the page, and never sent: {idle:?}");
}

/// Every verdict there is.
fn verdicts() -> Value {
    json!({
        "hate": {"filtered": false, "severity": "safe"},
        "protected_material_code": {"filtered": false, "detected": false, "citation": {"URL": "u", "license": "l"}},
        "custom_blocklists": {"filtered": false, "details": [{"id": "list", "filtered": false}]},
        "custom_topics": {"filtered": false, "details": [{"id": "topic", "detected": false}]},
        "ungrounded_material": {"filtered": false, "detected": false,
            "details": [{"completion_start_offset": 1, "completion_end_offset": 2}]},
        "personally_identifiable_information": {"filtered": false, "detected": false,
            "sub_categories": [{"sub_category": "Email", "filtered": false, "detected": false, "redacted": false}]},
        "error": {"code": "content_filter_error"},
    })
}

fn logprobs() -> Value {
    let token = || {
        json!({"token": "a", "logprob": -0.5, "bytes": [97],
        "top_logprobs": [{"token": "a", "logprob": -0.5, "bytes": [97]}]})
    };
    json!({"content": [token()], "refusal": [token()]})
}

fn usage() -> Value {
    json!({"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3, "prompt_tokens_details": {"cached_tokens": 4},
        "completion_tokens_details": {"reasoning_tokens": 5, "accepted_prediction_tokens": 6, "rejected_prediction_tokens": 7}})
}

fn prompt_verdicts() -> Value {
    json!([{"prompt_index": 0, "content_filter_results": verdicts()}])
}

fn whole_answer() -> Value {
    json!({"id": "chatcmpl-1", "model": "gpt-4o-2024-11-20", "created": 1, "system_fingerprint": "fp", "service_tier": "default",
        "object": "chat.completion", "usage": usage(), "prompt_filter_results": prompt_verdicts(), "choices": [{
            "index": 0, "finish_reason": "stop", "logprobs": logprobs(), "content_filter_results": verdicts(),
            "message": {"role": "assistant", "content": "a", "refusal": "r",
                "tool_calls": [{"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
                "annotations": [{"type": "url_citation", "url_citation": {"url": "u", "title": "t", "start_index": 1, "end_index": 2}}]}}]})
}

fn events() -> Value {
    let head = |choices: Value| {
        json!({"id": "chatcmpl-1", "model": "gpt-4o-2024-11-20", "created": 1,
        "system_fingerprint": "fp", "service_tier": "default", "object": "chat.completion.chunk", "choices": choices})
    };
    let offsets = json!({"check_offset": 1, "start_offset": 2, "end_offset": 3});
    let delta = json!({"role": "assistant", "content": "a", "refusal": "r",
        "tool_calls": [{"index": 0, "id": "call_1", "function": {"name": "f", "arguments": "{}"}}]});
    let mut last = head(json!([]));
    last["usage"] = usage();
    json!([
        {"id": "", "model": "", "created": 0, "object": "", "choices": [], "prompt_filter_results": prompt_verdicts()},
        head(json!([{"index": 0, "delta": delta, "finish_reason": null, "logprobs": logprobs(), "content_filter_results": verdicts()}])),
        {"id": "", "choices": [{"index": 0, "finish_reason": null, "content_filter_results": verdicts(), "content_filter_offsets": offsets}]},
        head(json!([{"index": 0, "delta": {}, "finish_reason": "stop", "content_filter_results": verdicts()}])),
        last,
    ])
}

/// `body` with another value at `pointer`.
fn changed(body: &Value, pointer: &str) -> Value {
    let mut body = body.clone();
    // That the filter failed is told, not how.
    if let Some(parent) = pointer.strip_suffix("/error/code") {
        body.pointer_mut(parent).unwrap().as_object_mut().unwrap().remove("error");
        return body;
    }
    let value = body.pointer_mut(pointer).unwrap();
    *value = match value.clone() {
        Value::Bool(flag) => json!(!flag),
        Value::Number(number) if number.is_f64() => json!(number.as_f64().unwrap() - 1.0),
        Value::Number(number) => json!(number.as_i64().unwrap() + 1),
        Value::Array(_) => json!([98]),
        Value::Null => json!("stop"),
        Value::String(word) if word == "stop" => json!("length"),
        Value::String(word) if word == "safe" => json!("high"),
        other => json!(format!("{}x", other.as_str().unwrap())),
    };
    body
}

/// The body as it is, and then with one carried member changed after the other; the paths of those.
fn variants(body: &Value, section: &Section) -> (Vec<Value>, Vec<String>) {
    let mut pointers = Vec::new();
    leaves(body, "", &mut pointers);
    // Of events the first step is the event's place.
    let path = |pointer: &String| path_of(pointer).trim_start_matches("[].").trim_start_matches("[]").to_owned();
    let described = pointers.iter().map(|pointer| (pointer, path(pointer)));
    let carried: Vec<_> = described.filter(|(_, path)| section.carried.contains_key(path)).collect();
    let bodies = std::iter::once(body.clone()).chain(carried.iter().map(|(pointer, _)| changed(body, pointer)));
    (bodies.collect(), carried.into_iter().map(|(_, path)| path).collect())
}

async fn world(bodies: Vec<Vec<u8>>, content_type: &str, model_keys: &'static [&'static str]) -> (World, Canned) {
    let headers = [("content-type", content_type)];
    let canned =
        Canned::start_with(bodies.iter().map(|body| vec![Step::Send(response("200 OK", &headers, body))])).await;
    let primary_endpoint = Some(format!("http://{}", canned.address));
    (World::of(Setup { primary_endpoint, model_keys, ..Setup::default() }).await, canned)
}

fn all_seen(section: &Section, paths: &[String]) {
    let idle: Vec<_> = section.carried.keys().filter(|row| !paths.contains(row)).collect();
    assert!(idle.is_empty(), "on the page, and in no answer of this test: {idle:?}");
}

#[tokio::test]
async fn whole_answers_carry_what_the_page_says() {
    let section = Section::of("Whole answers");
    let (bodies, paths) = variants(&whole_answer(), &section);
    all_seen(&section, &paths);
    let bodies = bodies.iter().map(|body| body.to_string().into_bytes()).collect();
    let (world, _canned) = world(bodies, "application/json", &["upstream_stream: never"]).await;
    let mut client = world.inference();
    let mut answer = async || {
        let reply = client.complete(hi()).await.unwrap().into_inner();
        pb::CompleteResponse { served_by: None, ..reply }
    };
    let first = answer().await;
    for path in paths {
        assert_ne!(answer().await, first, "{path} is not carried");
    }
}

#[tokio::test]
async fn streamed_answers_carry_what_the_page_says() {
    let section = Section::of("Streamed answers");
    let (bodies, paths) = variants(&events(), &section);
    all_seen(&section, &paths);
    let stream = |events: &Value| {
        let events = events.as_array().unwrap().iter().map(|event| format!("data: {event}\n\n"));
        (events.collect::<String>() + "data: [DONE]\n\n").into_bytes()
    };
    let (world, _canned) = world(bodies.iter().map(stream).collect(), "text/event-stream", &[]).await;
    let mut client = world.inference();
    let mut answer = async || {
        let mut stream = client.complete_stream(hi()).await.unwrap().into_inner();
        let mut told = Vec::new();
        while let Ok(Some(message)) = stream.message().await {
            told.push(match message.event.unwrap() {
                Event::Start(start) => Event::Start(Box::new(pb::StreamStart { served_by: None, ..*start })),
                Event::End(end) => Event::End(Box::new(pb::StreamEnd { served_by: None, ..*end })),
                other => other,
            });
        }
        told
    };
    let first = answer().await;
    assert!(matches!(first.last(), Some(Event::End(_))), "{first:?}");
    // What every event says of the answer is taken from the first one that says it.
    let mut carried = BTreeSet::new();
    for path in &paths {
        if answer().await != first {
            carried.insert(path);
        }
    }
    let idle: Vec<_> = paths.iter().filter(|path| !carried.contains(path)).collect();
    assert!(idle.is_empty(), "not carried: {idle:?}");
}
