//! The official files and the simulated region agree on which chat requests are good: bodies that the adapter sends,
//! varied within the files, and broken one member at a time.
use std::{collections::BTreeMap, sync::Arc};

use sealane::simulator::{RegionSettings, SimulatedRegion};
use sealane_core::domain::ChatRequest;
use serde_json::{Value, json};

use super::{
    corpus::{Dice, chat_request},
    requests::Style,
    strict::Violation,
};
use crate::support::openapi::V1;

/// Requests drawn for each path style; each is varied once and broken several times.
const REQUESTS: u64 = 150;
const BREAKS: usize = 10;

struct Judge {
    style: Style,
    /// Knows what the older file lacks, and says more of what it has.
    newer: Arc<Style>,
    region: SimulatedRegion,
    client: reqwest::Client,
}

impl Judge {
    fn address(&self) -> String {
        let path = if self.style.is_v1() {
            "v1/chat/completions"
        } else {
            "deployments/gpt-4o/chat/completions?api-version=2024-10-21"
        };
        format!("http://{}/openai/{path}", self.region.address())
    }

    /// What either file has against a body.
    fn objections(&self, body: &Value) -> Vec<Violation> {
        let mut objections = self.style.objections(body);
        let mut with_model = body.clone();
        with_model["model"] = json!("gpt-4o");
        objections.extend(self.newer.objections(&with_model));
        objections
    }

    /// What the region answers: the status, and the error if there is one.
    async fn ask(&self, body: &Value) -> (u16, Value) {
        let request = self.client.post(self.address()).header("api-key", "simulated-key").body(body.to_string());
        let response = request.send().await.unwrap();
        let status = response.status().as_u16();
        let text = response.text().await.unwrap();
        let error = serde_json::from_str::<Value>(&text).map(|mut body| body["error"].take());
        (status, error.unwrap_or_default())
    }
}

/// What Azure refuses although its files do not say so: where, with which code, and who says so.
const STRICTER: &[(&str, Option<&str>, &str)] = &[
    ("/logit_bias/*", Some("integer_above_max_value"), "contract 3.1: -100 to 100"),
    ("/max_tokens", Some("integer_below_min_value"), "OpenAI: at least 1"),
    ("/messages", Some("context_length_exceeded"), "contract 5"),
    ("/messages/*/content", None, "contract 3.1: content may be null only beside tool calls"),
    ("/messages/*/content", Some("empty_array"), "OpenAI: at least one part"),
    ("/messages/*/tool_calls", Some("empty_array"), "OpenAI: at least one call"),
    ("/prediction/content", Some("empty_array"), "OpenAI: at least one part"),
    ("/stop", Some("empty_array"), "2024-10-21's file: 1 to 4"),
    ("/tool_choice", None, "contract 3.1: only with tools, and one of them"),
    ("/tools/*/function/parameters", Some("invalid_type"), "OpenAI: an object"),
    ("/top_logprobs", None, "contract 3.1: needs logprobs"),
];

/// The same request, said otherwise: a text as parts, a list of one as that one, null for what is absent.
fn varied(dice: &mut Dice, mut body: Value) -> Value {
    for message in body["messages"].as_array_mut().unwrap() {
        if let (Some(text), true) = (message["content"].as_str().map(str::to_owned), dice.once_in(2)) {
            message["content"] = json!([{"type": "text", "text": text}]);
        }
    }
    let members = body.as_object_mut().unwrap();
    if let Some([only]) = members.get("stop").and_then(Value::as_array).map(Vec::as_slice) {
        let only = only.clone();
        members.insert("stop".into(), only);
    }
    for name in ["temperature", "top_p", "n", "seed", "stop", "logprobs", "stream"] {
        if !members.contains_key(name) && dice.once_in(6) {
            members.insert(name.into(), Value::Null);
        }
    }
    if members.remove("max_completion_tokens").is_some() {
        members.insert("max_tokens".into(), json!(dice.between(1, 1000)));
    }
    if dice.once_in(3) {
        members.insert("stream".into(), json!(true));
        members.insert("stream_options".into(), json!({"include_usage": dice.once_in(2)}));
    }
    body
}

/// Every place in `value` that the files describe, the innermost last; JSON that is only passed on is left out.
fn places(value: &Value, pointer: &str, found: &mut Vec<String>) {
    if ["/parameters", "/schema"].iter().any(|free| pointer.ends_with(free)) {
        return;
    }
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                found.push(format!("{pointer}/{name}"));
                places(member, &format!("{pointer}/{name}"), found);
            }
        }
        Value::Array(items) => {
            for (at, item) in items.iter().enumerate() {
                found.push(format!("{pointer}/{at}"));
                places(item, &format!("{pointer}/{at}"), found);
            }
        }
        _ => {}
    }
}

/// One member taken away, put in, or replaced by what may not stand there.
fn broken(dice: &mut Dice, mut body: Value) -> Value {
    if dice.once_in(12) {
        body["top_k"] = json!(1);
        return body;
    }
    let mut all = Vec::new();
    places(&body, "", &mut all);
    // The deployment is the router's choice, and the way of answering the test's.
    all.retain(|pointer| !["/model", "/stream"].iter().any(|own| pointer.starts_with(own)));
    let pointer = dice.pick(&all).clone();
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    if dice.once_in(4) {
        match body.pointer_mut(parent) {
            Some(Value::Object(members)) => _ = members.remove(name),
            Some(Value::Array(items)) => _ = items.remove(name.parse().unwrap()),
            _ => {}
        }
        return body;
    }
    let wrong =
        [json!(true), json!(-3), json!(1_000_000), json!(0.5), json!("bogus"), json!([]), json!({}), json!([1])];
    *body.pointer_mut(&pointer).unwrap() = dice.pick(&wrong).clone();
    body
}

/// Azure's `param` as a pointer in which positions are `*`.
fn pointer(param: &str) -> String {
    let mut pointer = String::new();
    for piece in param.split(['.', '[']) {
        let is_position = piece.ends_with(']');
        pointer += "/";
        pointer += if is_position { "*" } else { piece };
    }
    pointer
}

/// One of the two places is within the other.
fn touch(one: &str, other: &str) -> bool {
    let within = |inner: &str, outer: &str| {
        inner.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    within(one, other) || within(other, one)
}

/// `logit_bias` and `metadata` have members of any name.
fn general(pointer: &str) -> String {
    let mut pieces = pointer.splitn(3, '/');
    match (pieces.next(), pieces.next(), pieces.next()) {
        (_, Some(map @ ("logit_bias" | "metadata")), Some(_)) => format!("/{map}/*"),
        _ => pointer.to_owned(),
    }
}

#[tokio::test]
#[allow(clippy::print_stdout)] // what was met
async fn the_region_takes_what_the_files_take_and_refuses_what_they_refuse() {
    let Some(styles) = Style::both().await else { return };
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    let mut quarrels = Vec::new();
    let mut dice = Dice(2);
    let Some(newer) = Style::load(V1).await.map(Arc::new) else { return };
    for style in styles {
        let region = SimulatedRegion::start(RegionSettings::default(), ([127, 0, 0, 1], 0).into()).unwrap();
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let judge = Judge { style, newer: Arc::clone(&newer), region, client };
        for _ in 0..REQUESTS {
            // Neither file knows `verbosity`, nor what a configuration lets through.
            let drawn = chat_request(&mut dice, false);
            let request = ChatRequest { extra_params: vec![], verbosity: None, ..drawn };
            let mut body = judge.style.send(&request, false).await.json();
            if judge.style.is_v1() {
                body["model"] = json!("gpt-4o");
            }
            let body = varied(&mut dice, body);
            let objections = judge.objections(&body);
            assert!(objections.is_empty(), "{objections:?} in {body}");
            let (status, error) = judge.ask(&body).await;
            assert_eq!(status, 200, "{error} for {body}");
            *counts.entry("valid".into()).or_default() += 1;
            for _ in 0..BREAKS {
                let body = broken(&mut dice, body.clone());
                match weigh(&judge, &body).await {
                    Ok(verdict) => *counts.entry(verdict).or_default() += 1,
                    Err(quarrel) => quarrels.push(quarrel),
                }
            }
        }
    }
    assert!(quarrels.is_empty(), "{} quarrels, such as {:#?}", quarrels.len(), &quarrels[..quarrels.len().min(12)]);
    println!("chat requests by what became of them: {counts:#?}");
    for (pointer, code, source) in STRICTER {
        let verdict = beyond(pointer, *code);
        assert!(counts.contains_key(&verdict) && !source.is_empty(), "{verdict}: not needed");
    }
    let refused = counts.iter().filter(|(verdict, _)| verdict.starts_with("refused: ")).map(|(_, count)| count);
    assert!(counts["valid"] == 300 && counts["still valid"] > 100 && refused.sum::<usize>() > 1000, "{counts:#?}");
}

/// Holds the region's word against the files'; says what came of it, or how they differ.
async fn weigh(judge: &Judge, body: &Value) -> Result<String, String> {
    let objections = judge.objections(body);
    let (status, error) = judge.ask(body).await;
    let (param, code) = (error["param"].as_str().map(pointer), error["code"].as_str());
    let quarrel = |what| {
        let message = &error["message"];
        Err(format!("{what}: {}: {status} {code:?} {param:?} {message}; {objections:?}; {body}", judge.style.file))
    };
    if objections.is_empty() {
        let at = general(param.as_deref().unwrap_or_default());
        return match status {
            200 => Ok("still valid".into()),
            _ if STRICTER.iter().any(|(pointer, why, _)| *pointer == at && *why == code) => Ok(beyond(&at, code)),
            _ => quarrel("the region is stricter"),
        };
    }
    if status == 200 {
        return quarrel("the region is laxer");
    }
    let names_the_place = match &param {
        Some(param) => objections.iter().any(|objection| is_about(objection, param, judge.style.is_v1())),
        None => names_an_argument(&error, body),
    };
    if (status, &error["type"]) != (400, &json!("invalid_request_error")) || !names_the_place {
        return quarrel("the region refuses something else");
    }
    Ok(format!("refused: {}", code.unwrap_or("no code")))
}

fn beyond(pointer: &str, code: Option<&str>) -> String {
    format!("refused beyond the files, {pointer}: {}", code.unwrap_or("no code"))
}

/// The dated file has no discriminator for messages: its word about one may be about its role.
fn is_about(objection: &Violation, param: &str, is_v1: bool) -> bool {
    match objection.pointer.starts_with("/messages") {
        true if !is_v1 => param.starts_with("/messages"),
        _ => touch(&objection.pointer, param),
    }
}

/// An argument that Azure does not know it names in its text alone.
fn names_an_argument(error: &Value, body: &Value) -> bool {
    let named =
        error["message"].as_str().and_then(|text| text.strip_prefix("Unrecognized request argument supplied: "));
    named.is_some_and(|name| body.get(name).is_some())
}
