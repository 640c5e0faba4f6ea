//! Attempts with the real adapter against an address on loopback.
use std::{net::SocketAddr, sync::Arc, time::Duration};

use futures_util::StreamExt as _;
use sealane::{
    azure::{Azure, Credential, OutputCap, PathStyle, ResourceSettings, ResponseBounds},
    secret::{Form, Secret},
    upstream::{AttemptOrder, TraceContext, Upstream as _},
};
use sealane_core::{
    domain::{
        AttemptLimits, ChatEvent, ChatReply, ChatRequest, Evidence, Failure, Message, ModelKind, Part, ProcessingScope,
        ReplyAssembly, Role, RoutingOptions, Sku, Target, TargetId, UpstreamStream,
    },
    policy::Policy,
};

/// The key that every request carries.
pub const KEY: &str = "simulated-key";

pub fn dated() -> PathStyle {
    PathStyle::Dated { api_version: "2024-10-21".to_owned() }
}

/// How the adapter reaches a server on loopback.
pub fn settings(address: SocketAddr, path: PathStyle) -> ResourceSettings {
    ResourceSettings {
        name: "resource".into(),
        endpoint: format!("http://{address}").parse().unwrap(),
        chat_path: path.clone(),
        embeddings_path: path,
        output_cap: OutputCap::default(),
        credential: Credential::ApiKey(Secret::fixed(KEY, Form::Word).unwrap()),
        connect_timeout: Duration::from_secs(2),
    }
}

/// An adapter with one resource.
pub fn azure(address: SocketAddr, path: PathStyle) -> Azure {
    azure_within(address, path, ResponseBounds::default())
}

pub fn azure_within(address: SocketAddr, path: PathStyle, bounds: ResponseBounds) -> Azure {
    // Another test may have installed it already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Azure::new(vec![settings(address, path)], bounds).unwrap()
}

/// Long enough never to be reached unless something hangs.
pub fn patient() -> AttemptLimits {
    let long = Duration::from_secs(20);
    AttemptLimits { first_content: long, stall: long, total: long, rescue_by: long }
}

/// An order for a deployment on the first resource.
pub fn order(deployment: &str, limits: AttemptLimits) -> AttemptOrder {
    let target = Arc::new(Target {
        id: TargetId(0),
        model: "model".into(),
        kind: ModelKind::Chat,
        resource: "resource".into(),
        resource_index: 0,
        region: "swedencentral".into(),
        boundary: None,
        deployment: deployment.into(),
        sku: Sku::Standard,
        scope: ProcessingScope::Regional,
        reasoning: false,
        upstream_stream: UpstreamStream::Auto,
        version: None,
        embedding_space: None,
        claims: Default::default(),
    });
    let target = Policy::unrestricted().permit(&target, &RoutingOptions::default()).unwrap();
    AttemptOrder { target, limits, trace: TraceContext::default(), test: None }
}

pub fn message(role: Role, content: Vec<Part>) -> Message {
    Message { role, content, name: None, tool_calls: vec![], tool_call_id: None }
}

/// A request with one user message.
pub fn ask(text: &str) -> ChatRequest {
    ChatRequest { messages: vec![message(Role::User, vec![Part::Text(text.to_owned())])], ..ChatRequest::default() }
}

/// The events of a streamed attempt, as far as it came, and how it ended.
pub async fn stream(
    azure: &Azure,
    order: &AttemptOrder,
    request: &ChatRequest,
) -> (Vec<ChatEvent>, Result<(), Failure>) {
    let mut stream = match azure.stream_chat(order, request).await {
        Ok(stream) => stream,
        Err(failure) => return (vec![], Err(failure)),
    };
    let mut events = Vec::new();
    while let Some(event) = stream.events.next().await {
        match event {
            Ok(event) => events.push(event),
            Err(failure) => {
                assert!(stream.events.next().await.is_none(), "a failure is the last item");
                return (events, Err(failure));
            }
        }
    }
    (events, Ok(()))
}

/// A streamed attempt put together again.
pub async fn assemble(
    azure: &Azure,
    order: &AttemptOrder,
    request: &ChatRequest,
) -> Result<(ChatReply, Evidence), Failure> {
    let mut stream = azure.stream_chat(order, request).await?;
    let mut assembly = ReplyAssembly::new();
    while let Some(event) = stream.events.next().await {
        assembly.push(event?);
    }
    Ok((assembly.finish(), stream.evidence))
}
