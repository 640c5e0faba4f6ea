//! The control API: what `/_simulator/...` answers. Documented in the module above.
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use serde::Deserialize;
use serde_json::{Value, json};

use super::body::ReplyBody;
use super::counters::{CapturedRequest, Counters};
use super::fault::{FaultRule, Operation};
use super::headers::JSON;
use super::listener::Switch;
use super::service::{Region, small_body};

/// Paths under this prefix are the simulator's own.
pub(super) const PREFIX: &str = "/_simulator/";

/// Body of `PUT /_simulator/listening`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Listening {
    listening: bool,
}

/// Answers one control request. `switch` opens and closes the region's listener; it is there on a control port alone.
pub(super) async fn answer(
    region: &Region,
    switch: Option<&Switch>,
    request: Request<Incoming>,
) -> Response<ReplyBody> {
    let (head, body) = request.into_parts();
    let path = head.uri.path().strip_prefix(PREFIX).unwrap_or_default();
    let body = small_body(body).await.unwrap_or_default();
    let answered = match (path, &head.method) {
        ("state", &Method::GET) => Ok(state(region)),
        ("faults", method) => faults(region, method, &body),
        ("listening", &Method::PUT) => listen(switch, &body).await,
        _ => Err((StatusCode::NOT_FOUND, "no such control path or method".to_owned())),
    };
    let (status, value) = match answered {
        Ok(value) => (StatusCode::OK, value),
        Err((status, message)) => (status, json!({ "error": message })),
    };
    let mut response = Response::new(ReplyBody::whole(Bytes::from(format!("{value}\n")), true, None));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, JSON);
    response
}

fn faults(region: &Region, method: &Method, body: &[u8]) -> Result<Value, (StatusCode, String)> {
    let bad = |error: serde_json::Error| (StatusCode::BAD_REQUEST, error.to_string());
    let senseless = |wrong: &str| (StatusCode::BAD_REQUEST, wrong.to_owned());
    match *method {
        Method::GET => {}
        Method::PUT => {
            let rules: Vec<FaultRule> = serde_json::from_slice(body).map_err(bad)?;
            rules.iter().try_for_each(FaultRule::check).map_err(senseless)?;
            region.faults.set(rules);
        }
        Method::POST => {
            let rule: FaultRule = serde_json::from_slice(body).map_err(bad)?;
            rule.check().map_err(senseless)?;
            region.faults.add(rule);
        }
        Method::DELETE => region.faults.clear(),
        _ => return Err((StatusCode::METHOD_NOT_ALLOWED, "use GET, PUT, POST or DELETE".to_owned())),
    }
    serde_json::to_value(region.faults.active()).map_err(|error| (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))
}

async fn listen(switch: Option<&Switch>, body: &[u8]) -> Result<Value, (StatusCode, String)> {
    let Listening { listening } =
        serde_json::from_slice(body).map_err(|error| (StatusCode::BAD_REQUEST, error.to_string()))?;
    let switch = switch.ok_or((
        StatusCode::CONFLICT,
        "this region has no control port of its own; use the fault `down` instead".to_owned(),
    ))?;
    switch.set(listening).await.map_err(|error| (StatusCode::SERVICE_UNAVAILABLE, error.to_string()))?;
    Ok(json!({ "listening": listening }))
}

fn state(region: &Region) -> Value {
    let counters = &region.counters;
    let deployments = region.deployments.iter().map(|deployment| {
        let settings = &deployment.settings;
        json!({
            "name": settings.name, "model": settings.model, "version": settings.version, "kind": settings.kind,
            "sku": settings.sku, "requests": counters.deployment_requests(&settings.name),
        })
    });
    json!({
        "region": region.settings.region,
        "display_name": region.settings.shown_region(),
        "deployments": deployments.collect::<Vec<_>>(),
        "requests": {
            "chat": counters.requests(Operation::Chat),
            "embeddings": counters.requests(Operation::Embeddings),
            "models": counters.requests(Operation::Models),
            "status": counters.requests(Operation::Status),
        },
        "bytes_received": counters.bytes_received(),
        "in_flight": counters.in_flight(),
        "dropped_by_client": counters.dropped_by_client(),
        "connections_accepted": counters.connections_accepted(),
        "connections_open": counters.connections_open(),
        "faults": region.faults.active(),
        "traceparents": traceparents(counters),
    })
}

/// The W3C trace contexts of the last captured requests, oldest first.
fn traceparents(counters: &Counters) -> Vec<String> {
    let header = |request: CapturedRequest| Some(request.headers.get("traceparent")?.to_str().ok()?.to_owned());
    counters.captured().into_iter().filter_map(header).collect()
}
