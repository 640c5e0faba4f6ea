//! One request's way through the region: address, credentials, faults, limits, validation, answer.
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use http::{Request, Response};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Incoming;
use secrecy::ExposeSecret;
use tokio::time::Instant;

use super::address::{Target, target};
use super::answer::{FILTER_OUTAGE_WORD, PROMPT_BLOCK_WORD, answer};
use super::body::{ChatStream, Pace, ReplyBody};
use super::chance::{Chance, mix};
use super::chat::{Identity, unary};
use super::counters::{CapturedRequest, Connection, Counters, Ticket};
use super::embedding::{self, EmbeddingRequest};
use super::fault::{FilterMode, Operation};
use super::faults::{Faults, Refusal, Verdict};
use super::headers::{EVENT_STREAM, HTML, HeaderSet, JSON};
use super::limiter::{Limiter, Quota};
use super::refusal::{self, ErrorReply};
use super::request::{self, ChatRequest};
use super::settings::{DeploymentKind, DeploymentSettings, RegionSettings};
use super::stream::{Rendering, plan};
use super::validate::{self, Object};

/// Custom headers that the front end passes on (quotas and limits documentation).
const MOST_CUSTOM_HEADERS: usize = 10;
const STANDARD_HEADERS: [&str; 14] = [
    "accept",
    "accept-encoding",
    "accept-language",
    "api-key",
    "authorization",
    "cache-control",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "expect",
    "host",
    "transfer-encoding",
    "user-agent",
];

/// The connection is to end without an answer.
#[derive(Debug, thiserror::Error)]
#[error("the simulated region ends this connection")]
pub(super) struct Severed;

/// Everything that requests to one region share.
pub(super) struct Region {
    pub(super) settings: RegionSettings,
    pub(super) deployments: Vec<Deployment>,
    pub(super) faults: Faults,
    pub(super) counters: Counters,
    headers: HeaderSet,
    serial: AtomicU64,
    start: Instant,
}

pub(super) struct Deployment {
    pub(super) settings: DeploymentSettings,
    /// `model` of its answers.
    served_model: String,
    name_header: HeaderValue,
    limiter: Mutex<Limiter>,
}

impl Region {
    pub(super) fn new(settings: RegionSettings, faults: Faults) -> Self {
        let deployments = settings.deployments.iter().map(Deployment::new).collect();
        // Ids are unique across restarts and regions.
        let nanos = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64);
        let serial = nanos ^ settings.region.bytes().fold(0, |hash, byte| mix(hash ^ u64::from(byte)));
        Self {
            deployments,
            faults,
            counters: Counters::new(settings.deployments.iter().map(|d| d.name.as_str()), settings.captured_requests),
            headers: HeaderSet::new(settings.shown_region()),
            serial: AtomicU64::new(serial),
            start: Instant::now(),
            settings,
        }
    }

    /// Answers one request of the data plane.
    pub(super) async fn answer(
        &self,
        request: Request<Incoming>,
        connection: &Arc<Connection>,
    ) -> Result<Response<ReplyBody>, Severed> {
        let serial = self.serial.fetch_add(1, Relaxed);
        let ticket = self.counters.begin(connection);
        let (head, body) = request.into_parts();
        let Some(target) = target(&head.method, &head.uri) else {
            return Ok(self.refuse(serial, refusal::resource_not_found(), &Verdict::default(), ticket));
        };
        let body = match Limited::new(body, self.settings.max_request_bytes).collect().await {
            Ok(body) => body.to_bytes(),
            Err(error) if error.is::<LengthLimitError>() => {
                let reply = refusal::body_too_large(self.settings.max_request_bytes);
                return Ok(self.refuse(serial, reply, &Verdict::default(), ticket));
            }
            Err(_) => return Err(Severed),
        };
        let object = matches!(target.operation, Operation::Chat | Operation::Embeddings)
            .then(|| validate::object(&body))
            .unwrap_or_else(|| Ok(Object::new()));
        let deployment = match &target.deployment {
            Some(name) => Some(name.as_str()),
            None => object.as_ref().ok().and_then(|object| object.get("model")?.as_str()),
        };
        let body_bytes = body.len();
        self.counters.received(target.operation, deployment, body_bytes);
        if self.counters.captures() {
            let path = head.uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
            let (method, headers) = (head.method, head.headers.clone());
            self.counters.capture(CapturedRequest { method, path, headers, body });
        }
        let verdict = self.faults.decide(target.operation, deployment, body_bytes);
        let mut pace = Pace::new(verdict.latency.unwrap_or(self.settings.latency), self.settings.seed ^ serial);
        pause(pace.head_ms()).await;
        if let Some(refusal) = &verdict.refusal {
            return self.strike(serial, refusal, &verdict, ticket).await;
        }
        let admitted = self.admit(&target, &head.headers, &verdict);
        let answered = admitted.and_then(|()| match target.operation {
            Operation::Models => Ok(Answered::Plain(self.models(), JSON)),
            Operation::Status => Ok(Answered::Plain("<html><body>Service Operational</body></html>".to_owned(), HTML)),
            operation => self.infer(operation, &target, deployment, &object, &verdict),
        });
        Ok(match answered {
            Err(reply) => self.refuse(serial, reply, &verdict, ticket),
            Ok(Answered::Plain(text, content_type)) => {
                let headers = self.headers.plain(serial, content_type, &verdict);
                respond(headers, ReplyBody::whole(text.into(), true, Some(ticket)))
            }
            Ok(Answered::Vectors { body, deployment, quota }) => {
                pause(pace.whole_ms(1)).await;
                let headers = self.headers.answered(serial, JSON, &deployment.name_header, quota, false, &verdict);
                let body = ReplyBody::whole(body.into(), true, Some(ticket));
                respond(headers, body.dripping(verdict.drip).cut_after(verdict.cut_after))
            }
            Ok(Answered::Chat { request, deployment, quota }) => {
                self.chat(serial, &request, deployment, quota, &verdict, pace, ticket).await
            }
        })
    }

    /// Credentials and header count.
    fn admit(&self, target: &Target, headers: &HeaderMap, verdict: &Verdict) -> Result<(), ErrorReply> {
        if target.operation == Operation::Status {
            return Ok(());
        }
        let custom = headers.keys().filter(|name| !STANDARD_HEADERS.contains(&name.as_str())).count();
        if custom > MOST_CUSTOM_HEADERS {
            return Err(refusal::too_many_headers());
        }
        let key = headers.get("api-key").and_then(|value| value.to_str().ok());
        let bearer = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
        if verdict.expired_credentials.iter().any(|expired| [key, bearer].contains(&Some(expired.as_str()))) {
            return Err(refusal::expired_credential());
        }
        let is = |given: Option<&str>, known: &[secrecy::SecretString]| {
            given.is_some_and(|given| known.iter().any(|known| known.expose_secret() == given))
        };
        let accepted = is(key, &self.settings.keys)
            || is(bearer, &self.settings.bearer_tokens)
            || (target.is_v1 && is(bearer, &self.settings.keys));
        if let (Some(issued), Some(bearer), false) = (&self.settings.issued_tokens, bearer, accepted) {
            return if issued.accept(bearer) { Ok(()) } else { Err(refusal::expired_credential()) };
        }
        if accepted { Ok(()) } else { Err(refusal::bad_key()) }
    }

    /// Deployment, limits and validation of a chat or embeddings request.
    fn infer(
        &self,
        operation: Operation,
        target: &Target,
        name: Option<&str>,
        object: &Result<Object, ErrorReply>,
        verdict: &Verdict,
    ) -> Result<Answered<'_>, ErrorReply> {
        // On v1 the body names the deployment, so it must be read first.
        if let (Err(reply), true) = (object, target.is_v1) {
            return Err(reply.clone());
        }
        if target.is_v1 && name.is_none() {
            return Err(refusal::invalid("you must provide a model parameter", Some("model"), None));
        }
        let deployment = self.deployments.iter().find(|deployment| Some(deployment.settings.name.as_str()) == name);
        let deployment = deployment.ok_or_else(refusal::deployment_not_found)?;
        let object = object.as_ref().map_err(Clone::clone)?;
        let (kind, operation_name, charge) = match operation {
            Operation::Embeddings => (DeploymentKind::Embedding, "embeddings", embedding::charge(object)),
            _ => (DeploymentKind::Chat, "chatCompletion", request::charge(object)),
        };
        if verdict.utilization.is_some_and(|percent| percent > 100.0) {
            return Err(refusal::provisioned_full());
        }
        let quota = self.take_quota(deployment, operation, charge)?;
        if deployment.settings.kind != kind {
            return Err(refusal::operation_not_supported(operation_name, &deployment.settings.model));
        }
        let served_model = verdict.served_model.as_deref().unwrap_or(&deployment.served_model);
        if kind == DeploymentKind::Embedding {
            let drift = verdict.embedding_drift.clone();
            let settings = drift.map(|(model, dimensions)| deployment.settings.drifted(model, dimensions));
            let settings = settings.as_ref().unwrap_or(&deployment.settings);
            let request = EmbeddingRequest::read(object, settings)?;
            if request.contains(PROMPT_BLOCK_WORD) {
                return Err(refusal::prompt_blocked());
            }
            let body = request.answer(served_model, settings);
            return Ok(Answered::Vectors { body, deployment, quota });
        }
        let request = ChatRequest::read(object, &deployment.settings)?;
        if request.prompt.contains(PROMPT_BLOCK_WORD) {
            return Err(refusal::prompt_blocked());
        }
        Ok(Answered::Chat { request: Box::new(request), deployment, quota })
    }

    fn take_quota(&self, deployment: &Deployment, operation: Operation, charge: u64) -> Result<Quota, ErrorReply> {
        let now_ms = self.start.elapsed().as_millis() as u64;
        let mut limiter = deployment.limiter.lock().unwrap_or_else(PoisonError::into_inner);
        limiter.take(now_ms, charge).map_err(|exceeded| {
            let name = if operation == Operation::Embeddings { "Embeddings_Create" } else { "ChatCompletions_Create" };
            let DeploymentSettings { name: deployment, model, .. } = &deployment.settings;
            refusal::rate_limited(exceeded, name, deployment, model, self.settings.shown_region())
        })
    }

    #[expect(clippy::too_many_arguments, reason = "the state of one request, used once")]
    async fn chat(
        &self,
        serial: u64,
        request: &ChatRequest,
        deployment: &Deployment,
        quota: Quota,
        verdict: &Verdict,
        mut pace: Pace,
        ticket: Ticket,
    ) -> Response<ReplyBody> {
        let tokens = verdict.answer_tokens.unwrap_or(self.settings.answer_tokens);
        let filter = if request.prompt.contains(FILTER_OUTAGE_WORD) { FilterMode::Outage } else { verdict.filter };
        let answer = answer(request, tokens, filter, verdict.blocked_at);
        let created = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let model = verdict.served_model.clone().unwrap_or_else(|| deployment.served_model.clone());
        let reasoning = deployment.settings.reasoning;
        let identity = Identity::new(serial, created, model, reasoning, request.service_tier);
        let head = |content_type| {
            self.headers.answered(
                serial,
                content_type,
                &deployment.name_header,
                quota,
                filter != FilterMode::Off,
                verdict,
            )
        };
        let (headers, body) = if request.stream {
            let events = plan(&answer, request.include_usage, filter, verdict);
            let obfuscated = request.include_obfuscation.unwrap_or(self.settings.obfuscation);
            let rendering = Rendering {
                answer,
                identity,
                filter,
                include_usage: request.include_usage,
                logprobs: request.logprobs,
                obfuscation: obfuscated.then(|| Chance::new(serial)),
                crlf: verdict.crlf,
            };
            (head(EVENT_STREAM), ReplyBody::chat(ChatStream::new(events, rendering, pace), ticket))
        } else {
            pause(pace.whole_ms(answer.usage.completion)).await;
            let body = unary(&answer, &identity, filter, request.logprobs);
            (head(JSON), ReplyBody::whole(body.into(), true, Some(ticket)))
        };
        respond(headers, body.dripping(verdict.drip).cut_after(verdict.cut_after))
    }

    /// Models available to the resource, not its deployments.
    fn models(&self) -> String {
        let models = self.deployments.iter().map(|deployment| {
            let settings = &deployment.settings;
            serde_json::json!({
                "id": format!("{}-{}", settings.model, settings.version),
                "object": "model", "created": 1_732_000_000, "owned_by": "system",
            })
        });
        serde_json::json!({"object": "list", "data": models.collect::<Vec<_>>()}).to_string()
    }

    /// An injected end of the request.
    async fn strike(
        &self,
        serial: u64,
        refusal: &Refusal,
        verdict: &Verdict,
        ticket: Ticket,
    ) -> Result<Response<ReplyBody>, Severed> {
        let ok = |body: Vec<u8>, ticket: Ticket| {
            let headers = self.headers.plain(serial, JSON, verdict);
            let body = ReplyBody::whole(body.into(), true, Some(ticket));
            Ok(respond(headers, body.dripping(verdict.drip).cut_after(verdict.cut_after)))
        };
        let reply = match refusal {
            Refusal::Reset | Refusal::Close => {
                ticket.connection().sever(*refusal == Refusal::Reset);
                return Err(Severed);
            }
            Refusal::Hang => std::future::pending().await,
            Refusal::LargeBody { bytes } => {
                let mut body = br#"{"filler":""#.to_vec();
                body.resize(body.len() + bytes, b'x');
                body.extend_from_slice(br#""}"#);
                return ok(body, ticket);
            }
            Refusal::NestedJson { depth } => {
                return ok([vec![b'['; *depth], vec![b']'; *depth]].concat(), ticket);
            }
            Refusal::MalformedJson => return ok(br#"{"choices":[{"finish_reason":"stop","#.to_vec(), ticket),
            Refusal::ErrorInOk => {
                return ok(
                    br#"{"error":{"code":"InternalServerError","message":"Internal server error"}}"#.to_vec(),
                    ticket,
                );
            }
            Refusal::EmptyAnswer => {
                return ok(br#"{"choices":[],"data":[],"object":"chat.completion"}"#.to_vec(), ticket);
            }
            Refusal::Status { status, retry_after, retry_after_ms, body } => {
                refusal::injected(*status, retry_after.clone(), *retry_after_ms, *body)
            }
            Refusal::Throttle { retry_after_seconds } => refusal::high_demand(*retry_after_seconds),
            Refusal::Redirect { location } => refusal::redirect(location.clone()),
        };
        Ok(self.refuse(serial, reply, verdict, ticket))
    }

    fn refuse(&self, serial: u64, reply: ErrorReply, verdict: &Verdict, ticket: Ticket) -> Response<ReplyBody> {
        // The recorded 404 alone comes without content type and without length.
        let announced = reply.content_type.is_some() || reply.body.is_empty();
        let response = self.headers.error(serial, reply, verdict);
        response.map(|body| {
            let body = ReplyBody::whole(body, announced, Some(ticket));
            body.dripping(verdict.drip).cut_after(verdict.cut_after)
        })
    }
}

/// An answer before it has a head.
enum Answered<'a> {
    Plain(String, HeaderValue),
    Vectors { body: Vec<u8>, deployment: &'a Deployment, quota: Quota },
    Chat { request: Box<ChatRequest>, deployment: &'a Deployment, quota: Quota },
}

impl Deployment {
    fn new(settings: &DeploymentSettings) -> Self {
        let served_model = match settings.kind {
            DeploymentKind::Chat if !settings.version.is_empty() => format!("{}-{}", settings.model, settings.version),
            _ => settings.model.clone(),
        };
        Self {
            served_model,
            name_header: HeaderValue::from_str(&settings.name).unwrap_or(HeaderValue::from_static("")),
            limiter: Mutex::new(Limiter::new(settings.requests_per_minute, settings.tokens_per_minute)),
            settings: settings.clone(),
        }
    }
}

fn respond(headers: HeaderMap, body: ReplyBody) -> Response<ReplyBody> {
    let mut response = Response::new(body);
    *response.headers_mut() = headers;
    response
}

async fn pause(milliseconds: u64) {
    if milliseconds > 0 {
        tokio::time::sleep(Duration::from_millis(milliseconds)).await;
    }
}

/// The body of a control request, bounded.
pub(super) async fn small_body(body: Incoming) -> Option<Bytes> {
    Limited::new(body, 1024 * 1024).collect().await.ok().map(|body| body.to_bytes())
}
