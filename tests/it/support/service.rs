//! The real service on a free port, over a scripted upstream.
use std::{net::SocketAddr, sync::Arc, time::Duration};

use sealane::{
    audit::Journal,
    clock::Clock,
    grpc::{
        DeadlineRules, Gate, InferenceRules, Trail,
        pb::{
            self, inference_service_client::InferenceServiceClient, operator_service_client::OperatorServiceClient,
            region_service_client::RegionServiceClient,
        },
    },
    identity::{Audience, CallerSettings, Callers},
    secret::{Form, Secret},
    server::{Server, ServerSettings},
    telemetry::Metrics,
    tls::TlsSettings,
};
use sealane_core::{
    domain::{EmbeddingSpace, ModelKind, ProcessingScope, Sku, Target, TargetId, UpstreamStream},
    policy::Policy,
    router::{Router, Routes, Testing, Thresholds},
};
use tokio::{sync::oneshot, task::JoinHandle};
use tonic::{Request, Status, transport::Channel};
use tonic_types::StatusExt as _;

use super::scripted::Scripted;

/// A running service; stops when dropped.
pub struct Service {
    pub address: SocketAddr,
    pub ops: SocketAddr,
    pub upstream: Scripted,
    stop: Option<oneshot::Sender<()>>,
    pub serving: JoinHandle<anyhow::Result<()>>,
}

/// How a test wants it.
pub struct Wanted {
    /// None: anyone.
    pub callers: Vec<CallerSettings>,
    pub tls: Option<TlsSettings>,
    pub region_status: Audience,
    pub reflection: Audience,
    /// Of anyone.
    pub policy: Policy,
    pub max_request_bytes: usize,
    pub max_response_bytes: usize,
    pub upstream_stream: UpstreamStream,
    pub upstream_hold_down: Duration,
    pub drain_delay: Duration,
    pub drain_grace: Duration,
    pub thresholds: Thresholds,
    pub journal: Option<Journal>,
    pub metrics: Metrics,
}

impl Default for Wanted {
    fn default() -> Self {
        Self {
            callers: vec![],
            tls: None,
            region_status: Audience::Callers,
            reflection: Audience::Anyone,
            policy: Policy::unrestricted(),
            max_request_bytes: 1 << 20,
            max_response_bytes: 1 << 20,
            upstream_stream: UpstreamStream::Auto,
            upstream_hold_down: Duration::from_millis(200),
            drain_delay: Duration::ZERO,
            drain_grace: Duration::from_secs(5),
            thresholds: without_test_calls(),
            journal: None,
            metrics: Metrics::off(),
        }
    }
}

/// A caller that may do what it likes but act on the router, with one token.
pub fn caller(name: &str, token: &str) -> CallerSettings {
    CallerSettings {
        name: name.into(),
        tokens: vec![Secret::fixed(token, Form::Word).unwrap()],
        certificate_names: vec![],
        policy: Arc::new(Policy::unrestricted()),
        operator: false,
        models: None,
        allowance: Default::default(),
    }
}

/// A request that shows this token.
pub fn with_token<T>(token: &str, message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    request
}

/// For tests that count what reaches a region: nothing does but callers' work.
pub fn without_test_calls() -> Thresholds {
    let never = Duration::from_secs(24 * 3600);
    let testing = Testing { first: never, first_comparison: never, ..Testing::default() };
    Thresholds { testing, ..Thresholds::default() }
}

/// Of the scripted upstream's vectors.
fn space() -> EmbeddingSpace {
    let (model, version) = ("text-embedding-3-large".into(), Some("1".into()));
    EmbeddingSpace { model, version, dimensions: 2, shortened: false }
}

/// `gpt-4o` and `text-embedding-3-large`, both in swedencentral first and francecentral second; `solo` only in
/// swedencentral.
pub fn targets(upstream_stream: UpstreamStream) -> Vec<Target> {
    let chat = ModelKind::Chat;
    let rows = [
        ("gpt-4o", chat, "swedencentral"),
        ("gpt-4o", chat, "francecentral"),
        ("text-embedding-3-large", ModelKind::Embedding, "swedencentral"),
        ("text-embedding-3-large", ModelKind::Embedding, "francecentral"),
        ("solo", chat, "swedencentral"),
    ];
    let target = |(at, (model, kind, region)): (usize, (&str, ModelKind, &str))| Target {
        id: TargetId(at as u16),
        model: model.into(),
        kind,
        resource: region.into(),
        resource_index: usize::from(region == "francecentral"),
        region: region.into(),
        boundary: Some("eu".into()),
        deployment: format!("{model}-deployment").into(),
        sku: Sku::Standard,
        scope: ProcessingScope::Regional,
        reasoning: false,
        upstream_stream,
        version: None,
        embedding_space: (kind != chat).then(|| Arc::new(space())),
        claims: Default::default(),
    };
    rows.into_iter().enumerate().map(target).collect()
}

impl Service {
    pub async fn start(upstream: Scripted) -> Self {
        Self::start_as(upstream, Wanted::default()).await
    }

    pub async fn start_as(upstream: Scripted, wanted: Wanted) -> Self {
        let deadlines = DeadlineRules { default: Duration::from_secs(60), longest: Duration::from_secs(600) };
        let callers = match &wanted.callers[..] {
            [] => Callers::anyone(Arc::new(wanted.policy)),
            known => Callers::known(known),
        };
        let rules = InferenceRules {
            gate: Gate::new(Arc::new(callers), wanted.region_status),
            unary_deadlines: deadlines,
            stream_deadlines: deadlines,
            regions: vec!["swedencentral".into(), "francecentral".into()],
            image_uris: false,
            extra_params: vec![("gpt-4o".into(), vec!["service_tier".into()])],
            reasoning_models: vec!["thinker".into()],
            max_response_bytes: wanted.max_response_bytes,
            longest_response_bytes: 64 << 20,
            config_revision: "test".into(),
            trail: wanted.journal.map(|journal| Arc::new(Trail::new(journal))),
            stopping: Default::default(),
            ending: Default::default(),
        };
        let settings = ServerSettings {
            listen: "127.0.0.1:0".parse().unwrap(),
            ops: Some("127.0.0.1:0".parse().unwrap()),
            metrics: wanted.metrics,
            rules: Arc::new(rules),
            max_request_bytes: wanted.max_request_bytes,
            max_concurrent_streams: 256,
            tls: wanted.tls,
            reflection: wanted.reflection,
            state_file: None,
            reference_file: None,
            upstream_hold_down: wanted.upstream_hold_down,
            drain_delay: wanted.drain_delay,
            drain_grace: wanted.drain_grace,
        };
        let clock = Clock::start();
        let routes = Routes::new(targets(wanted.upstream_stream)).unwrap();
        let router = Router::new(routes, wanted.thresholds, 7, clock.now());
        let server = Server::bind(settings, upstream.clone(), router, clock).await.unwrap();
        let address = server.local_addr().unwrap();
        let ops = server.ops_addr().unwrap().unwrap();
        let (stop, stopped) = oneshot::channel();
        let serving = tokio::spawn(server.serve(async {
            let _ = stopped.await;
        }));
        Self { address, ops, upstream, stop: Some(stop), serving }
    }

    /// What SIGTERM does.
    pub fn drain(&mut self) {
        let _ = self.stop.take().unwrap().send(());
    }

    pub async fn channel(&self) -> Channel {
        Channel::from_shared(format!("http://{}", self.address)).unwrap().connect().await.unwrap()
    }

    pub async fn inference(&self) -> InferenceServiceClient<Channel> {
        InferenceServiceClient::new(self.channel().await)
    }

    pub async fn operator(&self) -> OperatorServiceClient<Channel> {
        OperatorServiceClient::new(self.channel().await)
    }

    pub async fn regions(&self) -> RegionServiceClient<Channel> {
        RegionServiceClient::new(self.channel().await)
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// The first thing a newcomer types.
pub fn hi() -> pb::CompleteRequest {
    pb::CompleteRequest { model: "gpt-4o".into(), messages: vec![user("hi")], ..Default::default() }
}

pub fn user(text: &str) -> pb::Message {
    let part = pb::ContentPart { part: Some(pb::content_part::Part::Text(text.into())) };
    pb::Message { role: pb::Role::User as i32, content: vec![part], ..Default::default() }
}

pub fn embed(inputs: &[&str]) -> pb::EmbedRequest {
    let inputs = inputs.iter().map(|text| (*text).to_owned()).collect();
    pb::EmbedRequest { model: "text-embedding-3-large".into(), inputs, ..Default::default() }
}

/// The reply's text.
pub fn text(reply: &pb::CompleteResponse) -> String {
    let parts = reply.choices.iter().flat_map(|choice| choice.message.iter()).flat_map(|message| &message.content);
    let texts = parts.filter_map(|part| match &part.part {
        Some(pb::content_part::Part::Text(text)) => Some(text.as_str()),
        _ => None,
    });
    texts.collect()
}

/// What a caller's program reads of an error: `CODE REASON`.
pub fn told(status: &Status) -> String {
    let details = status.get_error_details();
    let info = details.error_info().expect("every error carries one ErrorInfo");
    assert_eq!(info.domain, "sealane.v1");
    format!("{:?} {}", status.code(), info.reason)
}

/// Waits until something holds that is bound to hold soon.
pub async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    for _ in 0..500 {
        if holds().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("never: {what}");
}
