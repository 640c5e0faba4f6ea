//! The adapter over real sockets: whole answers, broken ones, silence, and what it never does.
mod cancellation;
mod connecting;
mod endings;
mod hostile;
mod limits;
mod region;

use std::time::Duration;

use sealane::azure::Azure;
use sealane_core::domain::{AttemptLimits, ChatEvent, EmbedRequest, Failure, FailureKind, Part};

use crate::support::{
    attempt::{ask, azure, dated, order, patient, stream},
    canned::{Canned, Step, chunk, chunked, chunked_head, response},
};

/// Long enough never to be reached unless something hangs.
const PATIENCE: Duration = Duration::from_secs(20);

const ROLE: &str = r#"{"choices":[{"content_filter_results":{},"delta":{"content":"","refusal":null,"role":"assistant"},"finish_reason":null,"index":0}],"created":1,"id":"chatcmpl-1","model":"gpt-4o-2024-11-20"}"#;
const HELLO: &str =
    r#"{"choices":[{"delta":{"content":"h\u00e9 é😀"},"finish_reason":null,"index":0}],"id":"chatcmpl-1"}"#;
const FINISH: &str = r#"{"choices":[{"delta":{},"finish_reason":"stop","index":0}],"id":"chatcmpl-1"}"#;
const USAGE: &str =
    r#"{"choices":[],"id":"chatcmpl-1","usage":{"prompt_tokens":3,"completion_tokens":1,"total_tokens":4}}"#;

const UNARY: &str = r#"{"id":"chatcmpl-1","model":"gpt-4o","created":1,"choices":[{"index":0,"message":{"role":"assistant","content":"hé"},"finish_reason":"stop"}],"usage":{"prompt_tokens":3,"completion_tokens":1,"total_tokens":4}}"#;
/// Two vectors: [1, 2] and [3, 4].
const VECTORS: &str = r#"{"object":"list","data":[{"index":0,"embedding":"AACAPwAAAEA="},{"index":1,"embedding":"AABAQAAAgEA="}],"model":"text-embedding-3-large","usage":{"prompt_tokens":2,"total_tokens":2}}"#;

/// The events as a body.
fn body(events: &[&str]) -> Vec<u8> {
    events.iter().flat_map(|event| format!("data: {event}\n\n").into_bytes()).collect()
}

/// A head that announces a stream, and these events.
fn opening(events: &[&str]) -> Vec<u8> {
    let mut bytes = chunked_head("200 OK", &[("content-type", "text/event-stream")]);
    if !events.is_empty() {
        bytes.extend(chunk(&body(events)));
    }
    bytes
}

/// A whole stream of these events.
fn streaming(events: &[&str]) -> Vec<u8> {
    chunked("200 OK", &[("content-type", "text/event-stream")], &body(events))
}

fn whole(body: impl AsRef<[u8]>) -> Vec<u8> {
    response("200 OK", &[("content-type", "application/json")], body.as_ref())
}

fn inputs() -> EmbedRequest {
    EmbedRequest { inputs: vec!["a".into(), "b".into()], ..EmbedRequest::default() }
}

/// A streamed attempt against a server that answers so.
async fn streamed(
    steps: impl IntoIterator<Item = Step>,
    limits: AttemptLimits,
) -> (Vec<ChatEvent>, Result<(), Failure>) {
    let server = Canned::start(steps).await;
    stream(&azure(server.address, dated()), &order("gpt-4o", limits), &ask("hi")).await
}

fn kind(result: Result<(), Failure>) -> Result<(), FailureKind> {
    result.map_err(|failure| failure.kind)
}

/// Limits in milliseconds: first content, stall, total.
fn limits(first_content: u64, stall: u64, total: u64) -> AttemptLimits {
    let [first_content, stall, total] = [first_content, stall, total].map(Duration::from_millis);
    AttemptLimits { first_content, stall, total, rescue_by: total }
}

fn text(events: &[ChatEvent]) -> String {
    events
        .iter()
        .filter_map(|event| if let ChatEvent::Delta(delta) = event { Some(&*delta.text) } else { None })
        .collect()
}

async fn complete(azure: &Azure) -> Result<Vec<Part>, FailureKind> {
    use sealane::upstream::Upstream as _;
    let (reply, _) =
        azure.complete_chat(&order("gpt-4o", patient()), &ask("hi")).await.map_err(|failure| failure.kind)?;
    Ok(reply.choices.into_iter().flat_map(|choice| choice.content).collect())
}

async fn embed(azure: &Azure) -> Result<Vec<Vec<f32>>, FailureKind> {
    use sealane::upstream::Upstream as _;
    let reply = azure.embed(&order("embed", patient()), &inputs()).await.map_err(|failure| failure.kind)?;
    Ok(reply.vectors.iter().map(|vector| vector.components().collect()).collect())
}
