//! The attempts: every request is one, sent again only if the peer has said that it did nothing with it; answers are
//! bounded; dropping its future or stream closes it.
use std::{
    future::Future,
    sync::{Arc, PoisonError, RwLock},
    time::{Duration, SystemTime},
};

use bytes::{Bytes, BytesMut};
use http::{
    HeaderMap, HeaderValue, StatusCode,
    header::{ACCEPT, USER_AGENT},
};
use http_body_util::BodyExt as _;
use reqwest::{RequestBuilder, Response};
use sealane_core::domain::{
    BadResponse, ChatReply, ChatRequest, EmbedReply, EmbedRequest, Evidence, Failure, FailureKind, ModelKind, Silence,
    Target, Vector,
};
use tokio::time::{Instant, timeout_at};

use super::{
    IdentityTransport, ResourceSettings, ResponseBounds,
    credential::Proof,
    failure, limits, reply, request,
    resource::{BuildError, Operation, Resource, client},
    stream::ChatEvents,
};
use crate::{
    in_force::InForce,
    secret::Rotation,
    upstream::{AttemptOrder, ChatStream, CredentialView, Destination, Upstream},
};

/// Test calls name themselves, so that whoever reads Azure's logs can tell them from callers' work.
const TEST_AGENT: &str = concat!("sealane/", env!("CARGO_PKG_VERSION"), " (test call)");

/// How long the body of a refusal is waited for.
const ERROR_BODY_PATIENCE: Duration = Duration::from_secs(1);

/// Every configured resource, ready to be called.
#[derive(Debug)]
pub struct Azure {
    /// By resource index. Never shorter than before: calls in flight, and the router, go by the indices.
    resources: RwLock<Arc<Vec<Arc<Resource>>>>,
    /// Indices of those that are in the configuration; the others are there for calls in flight.
    configured: InForce<Vec<usize>>,
    bounds: ResponseBounds,
    /// In place of our own.
    identity_transport: Option<IdentityTransport>,
}

/// Resources of another configuration, built but not in force yet.
#[derive(Debug)]
pub struct Successors {
    resources: Vec<Arc<Resource>>,
    /// Index of each configured resource, in the order of the configuration.
    pub places: Vec<usize>,
}

impl Azure {
    /// Prepares a client for each resource. A target's `resource_index` is the place in this list.
    ///
    /// # Errors
    /// When a resource can never be called.
    ///
    /// # Panics
    /// Outside of a Tokio runtime, if a resource wants tokens of Entra ID: they are asked for from now on.
    pub fn new(resources: Vec<ResourceSettings>, bounds: ResponseBounds) -> Result<Self, BuildError> {
        Self::build(resources, bounds, None)
    }

    /// As [`new`](Self::new), asking for tokens through another client than our own.
    ///
    /// # Errors
    /// When a resource can never be called.
    pub fn with_identity_transport(
        resources: Vec<ResourceSettings>,
        bounds: ResponseBounds,
        transport: IdentityTransport,
    ) -> Result<Self, BuildError> {
        Self::build(resources, bounds, Some(transport))
    }

    fn build(
        resources: Vec<ResourceSettings>,
        bounds: ResponseBounds,
        identity_transport: Option<IdentityTransport>,
    ) -> Result<Self, BuildError> {
        let mut tokens = Vec::new();
        let transport = identity_transport.as_ref();
        let resources =
            resources.into_iter().map(|settings| Ok(Arc::new(Resource::new(settings, &mut tokens, transport)?)));
        let resources = resources.collect::<Result<Vec<_>, BuildError>>()?;
        let configured = InForce::new(Arc::new((0..resources.len()).collect()));
        Ok(Self { resources: RwLock::new(Arc::new(resources)), configured, bounds, identity_transport })
    }

    /// Prepares the resources of another configuration. One of the same name and endpoint keeps its index, and its
    /// connections unless something about it has changed; others get indices of their own.
    ///
    /// # Errors
    /// When a resource can never be called; nothing has changed then.
    pub fn prepare(&self, settings: Vec<ResourceSettings>) -> Result<Successors, BuildError> {
        let mut resources = Vec::clone(&self.resources());
        let mut places = Vec::with_capacity(settings.len());
        let mut tokens = resources.iter().flat_map(|known| known.credentials.tokens()).cloned().collect();
        let mut build = |settings| {
            Ok::<_, BuildError>(Arc::new(Resource::new(settings, &mut tokens, self.identity_transport.as_ref())?))
        };
        for settings in settings {
            let is_same = |known: &&Arc<Resource>| known.settings.is_same_place(&settings);
            let place = resources.iter().position(|known| is_same(&known)).unwrap_or(resources.len());
            match resources.get_mut(place) {
                Some(known) if known.settings == settings => {}
                Some(known) => *known = build(settings)?,
                None => resources.push(build(settings)?),
            }
            places.push(place);
        }
        Ok(Successors { resources, places })
    }

    /// Calls these from now on; attempts in flight end where they are.
    pub fn succeed(&self, successors: Successors) {
        *self.resources.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(successors.resources);
        self.configured.put(Arc::new(successors.places));
    }

    fn resources(&self) -> Arc<Vec<Arc<Resource>>> {
        Arc::clone(&self.resources.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn configured(&self) -> Vec<Arc<Resource>> {
        let resources = self.resources();
        self.configured.get().iter().filter_map(|index| resources.get(*index).cloned()).collect()
    }

    /// Asks a resource for its list of models: unbilled, carries no caller's data, and proves endpoint and
    /// credentials, though no deployment (contract section 8). `resource_index` is its place in the list.
    ///
    /// # Errors
    /// As for any attempt.
    pub async fn models(&self, resource_index: usize, limit: Duration) -> Result<(), Failure> {
        let resource = self.resource(resource_index)?;
        let until = Instant::now() + limit;
        let asking = resource.client.get(resource.models_url()).header(USER_AGENT, TEST_AGENT);
        let asking = asking.header(ACCEPT, "application/json");
        let response = proven(asking, &resource.credentials.chat, until).await?;
        match response.status() {
            StatusCode::OK => Ok(()),
            _ => Err(self.refused(response, until).await),
        }
    }

    fn resource(&self, index: usize) -> Result<Arc<Resource>, Failure> {
        self.resources().get(index).cloned().ok_or_else(unknown_resource)
    }

    async fn send(&self, order: &AttemptOrder, request: Outgoing, until: Instant) -> Result<Response, Failure> {
        let target = order.target.target();
        let resource = self.resource(target.resource_index)?;
        let mut headers = HeaderMap::with_capacity(4);
        let accepted = if request.streamed { "text/event-stream" } else { "application/json" };
        headers.insert(ACCEPT, HeaderValue::from_static(accepted));
        let trace = [("traceparent", &order.trace.traceparent), ("tracestate", &order.trace.tracestate)];
        for (name, value) in trace {
            if let Some(value) = value.as_deref().and_then(|value| HeaderValue::from_str(value).ok()) {
                headers.insert(name, value);
            }
        }
        let url = resource.url(request.operation, &target.deployment);
        let mut fresh = None;
        if let Some(test) = order.test {
            headers.insert(USER_AGENT, HeaderValue::from_static(TEST_AGENT));
            fresh = test.fresh_connection.then(|| client(&resource.settings).ok()).flatten();
        }
        let client = fresh.as_ref().unwrap_or(&resource.client);
        let asking = client.post(url).headers(headers).body(request.body);
        let response = proven(asking, resource.proof(request.operation), until).await?;
        match response.status() {
            StatusCode::OK => Ok(response),
            _ => Err(self.refused(response, until).await),
        }
    }

    async fn refused(&self, response: Response, until: Instant) -> Failure {
        let status = response.status();
        let headers = response.headers().clone();
        let evidence = limits::evidence(status.as_u16(), &headers);
        // Whatever is missing of an error's body, the status speaks for itself: a rescue must not wait for it.
        let until = until.min(Instant::now() + ERROR_BODY_PATIENCE);
        let body = read(response, self.bounds.max_error_bytes, until).await.unwrap_or_default();
        let kind = failure::refusal(status, &headers, &body, SystemTime::now());
        // Azure bills a prompt that its filter evaluated, and may bill what ended in a server error.
        let maybe_billed = status.is_server_error() || matches!(status.as_u16(), 400 | 408);
        Failure { kind, evidence: Box::new(evidence), maybe_billed }
    }
}

/// Sends a request with its proof. One that is refused with 401 is sent once more if there is another proof by then:
/// nothing was done with it, and whoever rotates keys or tokens should not be taken for misconfigured.
async fn proven(asking: RequestBuilder, proof: &Proof, until: Instant) -> Result<Response, Failure> {
    let shown = proof.show(until).await.ok_or_else(|| Failure::without_response(FailureKind::Unauthorized))?;
    let again = asking.try_clone();
    let response = sent(asking.header(shown.name.clone(), shown.value.clone()), until).await?;
    if response.status() != StatusCode::UNAUTHORIZED {
        return Ok(response);
    }
    let Some(again) = again else { return Ok(response) };
    match proof.show_instead(&shown, until).await {
        Some(other) => sent(again.header(other.name, other.value), until).await,
        None => Ok(response),
    }
}

async fn sent(asking: RequestBuilder, until: Instant) -> Result<Response, Failure> {
    let silent = |_| Failure::without_response(FailureKind::Silence(Silence::FirstContent));
    let response = timeout_at(until, asking.send()).await.map_err(silent)?;
    response.map_err(|error| Failure::without_response(failure::transport(&error)))
}

struct Outgoing {
    operation: Operation,
    streamed: bool,
    body: Vec<u8>,
}

impl Upstream for Azure {
    async fn stream_chat(&self, order: &AttemptOrder, request: &ChatRequest) -> Result<ChatStream, Failure> {
        let started = Instant::now();
        let outgoing = self.chat(order, request, true)?;
        let until = started + order.limits.first_content.min(order.limits.total);
        let response = self.send(order, outgoing, until).await?;
        let evidence = limits::evidence(response.status().as_u16(), response.headers());
        let choices = request.expected_choices();
        let expected = order.target.target().version.clone();
        let events = ChatEvents::new(response, order.limits, started, choices, self.bounds, evidence.clone(), expected);
        Ok(ChatStream { evidence, events: Box::pin(events) })
    }

    async fn complete_chat(
        &self,
        order: &AttemptOrder,
        request: &ChatRequest,
    ) -> Result<(ChatReply, Evidence), Failure> {
        let until = Instant::now() + order.limits.first_content.min(order.limits.total);
        let outgoing = self.chat(order, request, false)?;
        let choices = request.expected_choices();
        let expected = order.target.target().version.as_ref();
        let understand = |body: &[u8], evidence| {
            let reply = reply::completion(body, choices)?;
            if expected.is_some_and(|expected| expected.refuses(&reply.header.model)) {
                return Err(FailureKind::BadResponse(BadResponse::VersionMismatch));
            }
            Ok((reply, evidence))
        };
        self.whole(order, outgoing, until, understand).await
    }

    async fn embed(&self, order: &AttemptOrder, request: &EmbedRequest) -> Result<EmbedReply, Failure> {
        let until = Instant::now() + order.limits.first_content.min(order.limits.total);
        let target = order.target.target();
        let resource = self.resource(target.resource_index)?;
        let deployment = resource.deployment_in_body(Operation::Embeddings, &target.deployment);
        let space = target.embedding_space.as_deref();
        let shortened = space.filter(|space| space.shortened).map(|space| space.dimensions);
        let dimensions = request.dimensions.or(shortened);
        let body = request::embeddings(request, deployment, dimensions).map_err(|_| unencodable())?;
        let outgoing = Outgoing { operation: Operation::Embeddings, streamed: false, body };
        let understand = |body: &[u8], evidence| {
            let reply = reply::embeddings(body, request.inputs.len(), request.dimensions, evidence)?;
            // A length that a caller asked for says nothing of the space, whether it came or not.
            let length = reply.vectors.first().filter(|_| request.dimensions.is_none()).map(Vector::dimensions);
            match space.map_or(Ok(()), |space| space.check(length, &reply.model)) {
                Ok(()) => Ok(reply),
                Err(drift) => Err(FailureKind::OtherSpace(drift)),
            }
        };
        self.whole(order, outgoing, until, understand).await
    }

    fn destination(&self, target: &Target) -> Destination {
        let of = |resource: Arc<Resource>| match (target.kind, &resource.destinations) {
            (ModelKind::Chat, [chat, _]) => chat.clone(),
            (ModelKind::Embedding, [_, embeddings]) => embeddings.clone(),
        };
        self.resource(target.resource_index).map(of).unwrap_or_default()
    }

    async fn list_models(&self, order: &AttemptOrder) -> Result<(), Failure> {
        self.models(order.target.target().resource_index, order.limits.first_content).await
    }

    fn rotate_credentials(&self) -> Rotation {
        let mut rotation = Rotation::default();
        for resource in self.configured() {
            rotation.add(format!("the key of resource `{}`", resource.settings.name), resource.credentials.rotate());
        }
        rotation
    }

    fn credentials(&self) -> Vec<CredentialView> {
        let view = |resource: &Arc<Resource>| CredentialView {
            resource: Arc::clone(&resource.settings.name),
            problem: resource.credentials.problem(),
            left: resource.credentials.expires().map(|at| at.saturating_duration_since(Instant::now())),
        };
        self.configured().iter().map(view).collect()
    }
}

impl Azure {
    fn chat(&self, order: &AttemptOrder, request: &ChatRequest, streamed: bool) -> Result<Outgoing, Failure> {
        let resource = self.resource(order.target.target().resource_index)?;
        let deployment = resource.deployment_in_body(Operation::Chat, &order.target.target().deployment);
        let body =
            request::chat(request, deployment, resource.settings.output_cap, streamed).map_err(|_| unencodable())?;
        Ok(Outgoing { operation: Operation::Chat, streamed, body })
    }

    /// Sends, reads the whole body and has it understood.
    async fn whole<T>(
        &self,
        order: &AttemptOrder,
        outgoing: Outgoing,
        until: Instant,
        understand: impl FnOnce(&[u8], Evidence) -> Result<T, FailureKind>,
    ) -> Result<T, Failure> {
        let response = self.send(order, outgoing, until).await?;
        let evidence = limits::evidence(response.status().as_u16(), response.headers());
        let body = read(response, self.bounds.max_body_bytes, until).await;
        let failed = |kind| Failure { kind, evidence: Box::new(evidence.clone()), maybe_billed: true };
        understand(&body.map_err(failed)?, evidence.clone()).map_err(failed)
    }
}

fn unknown_resource() -> Failure {
    Failure::without_response(FailureKind::Local { cause: "unknown_resource" })
}

fn unencodable() -> Failure {
    Failure::without_response(FailureKind::Local { cause: "request_not_encodable" })
}

/// The whole body, if it is within the limit and in time.
pub(super) async fn read(response: Response, limit: usize, until: Instant) -> Result<Bytes, FailureKind> {
    let too_large = || FailureKind::BadResponse(BadResponse::TooLarge);
    let length = response.content_length().and_then(|length| usize::try_from(length).ok());
    if length.is_some_and(|length| length > limit) {
        return Err(too_large());
    }
    let mut body = reqwest::Body::from(response);
    let reading = async {
        let mut whole = BytesMut::with_capacity(length.unwrap_or_default());
        while let Some(frame) = body.frame().await {
            // An answer that breaks off is not an answer, whatever of it arrived.
            let Ok(frame) = frame.map_err(|_| FailureKind::Truncated)?.into_data() else { continue };
            if whole.len() + frame.len() > limit {
                return Err(too_large());
            }
            whole.extend_from_slice(&frame);
        }
        Ok(whole.freeze())
    };
    bounded(reading, until).await
}

async fn bounded<T>(reading: impl Future<Output = Result<T, FailureKind>>, until: Instant) -> Result<T, FailureKind> {
    timeout_at(until, reading).await.unwrap_or(Err(FailureKind::Silence(Silence::Total)))
}
