//! One attempt against one permitted target: what `dispatch` asks for and `azure` (or a script in a test) answers.
use std::{future::Future, pin::Pin, sync::Arc, time::Duration};

use futures_util::Stream;
use sealane_core::{
    domain::{AttemptLimits, ChatEvent, ChatReply, ChatRequest, EmbedReply, EmbedRequest, Evidence, Failure, Target},
    policy::PermittedTarget,
};

use crate::secret::Rotation;

/// Makes attempts. Every method makes exactly one: no retries, no redirects, no other target. Dropping the future
/// or the stream closes the request upstream.
pub trait Upstream: Send + Sync + 'static {
    /// Chat, streamed: resolves with the response head.
    fn stream_chat(
        &self,
        order: &AttemptOrder,
        request: &ChatRequest,
    ) -> impl Future<Output = Result<ChatStream, Failure>> + Send;

    /// Chat in Azure's unary form.
    fn complete_chat(
        &self,
        order: &AttemptOrder,
        request: &ChatRequest,
    ) -> impl Future<Output = Result<(ChatReply, Evidence), Failure>> + Send;

    /// Embeddings.
    fn embed(
        &self,
        order: &AttemptOrder,
        request: &EmbedRequest,
    ) -> impl Future<Output = Result<EmbedReply, Failure>> + Send;

    /// Where an attempt at this target would go; for journal and traces.
    fn destination(&self, target: &Target) -> Destination {
        let _ = target;
        Destination::default()
    }

    /// The resource's list of models: unbilled, and proves no deployment.
    fn list_models(&self, order: &AttemptOrder) -> impl Future<Output = Result<(), Failure>> + Send;

    /// Reads keys again from their files and takes over what changed. What cannot be used changes nothing. Blocks on
    /// files. Tokens look after themselves.
    fn rotate_credentials(&self) -> Rotation {
        Rotation::default()
    }

    /// How the credentials of the configured resources stand.
    fn credentials(&self) -> Vec<CredentialView> {
        vec![]
    }
}

/// How a resource's credential stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CredentialView {
    /// Configured name of the resource.
    pub resource: Arc<str>,
    /// Why it cannot be renewed, without content; what there is stays in use for as long as it is good.
    pub problem: Option<Arc<str>>,
    /// How long the token in use is still good; `None` for keys, and without a token.
    pub left: Option<Duration>,
}

/// The address behind a target.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Destination {
    /// Host name; `None` if there is none to tell.
    pub host: Option<Arc<str>>,
    /// Port.
    pub port: Option<u16>,
    /// `api-version` of the address; `None` on paths that have none.
    pub api_version: Option<Arc<str>>,
}

/// Where an attempt goes and how long it may take.
#[derive(Clone, Debug)]
pub struct AttemptOrder {
    /// Proof that a policy permits it.
    pub target: PermittedTarget,
    /// Its limits; the upstream enforces them.
    pub limits: AttemptLimits,
    /// W3C trace context of the attempt's own span, sent along.
    pub trace: TraceContext,
    /// Set for test calls, which carry no caller's data.
    pub test: Option<TestCall>,
}

/// How a test call differs from a caller's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TestCall {
    /// Uses a connection of its own: a pooled one may be the very trouble, or hide it.
    pub fresh_connection: bool,
}

/// W3C trace context as headers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TraceContext {
    /// `traceparent`.
    pub traceparent: Option<String>,
    /// `tracestate`.
    pub tracestate: Option<String>,
}

/// A streamed completion. Its end (`None`) means that the answer is whole; whatever cuts it is an error, and the
/// last item.
pub struct ChatStream {
    /// What the response head said.
    pub evidence: Evidence,
    /// The events.
    pub events: Pin<Box<dyn Stream<Item = Result<ChatEvent, Failure>> + Send>>,
}

/// Whether Azure can stream the answer to this request. Audio, which only `extra_params` can ask for, is streamed in
/// one of its formats only, so such calls use Azure's unary form.
pub fn streamable(request: &ChatRequest) -> bool {
    !request.extra_params.iter().any(|param| matches!(param.name.as_str(), "audio" | "modalities"))
}
