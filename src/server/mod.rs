//! The composition root: wires everything together, listens, and drains.
mod reload;
mod rules;

use std::{
    future::{Future, pending},
    hash::{BuildHasher as _, Hasher as _, RandomState},
    net::SocketAddr,
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use anyhow::Context as _;
use futures_util::FutureExt as _;
use sealane_core::router::{Router, Snapshot};
use tokio::{net::TcpListener, sync::watch, time::Instant};
use tokio_util::sync::CancellationToken;
use tonic::{
    codec::CompressionEncoding::Gzip,
    service::{Routes, RoutesBuilder, interceptor::InterceptedService},
    transport::server::Server as Transport,
};
use tonic_health::pb::health_server::HealthServer;
use tracing::{info, warn};

pub use self::reload::{Reload, Watched};
use self::rules::Lasting;
use crate::{
    audit::{self, Journal},
    azure::{Azure, ResponseBounds},
    clock::Clock,
    config::{AuditSettings, Config},
    credentials::Credentials,
    dispatch::Dispatcher,
    grpc::{
        Condition, Current, Explain, HealthService, HoldDown, InferenceRules, ReflectionGate, Trail,
        pb::{
            self, inference_service_server::InferenceServiceServer, operator_service_server::OperatorServiceServer,
            region_service_server::RegionServiceServer,
        },
    },
    identity::Audience,
    in_force::InForce,
    listener::Incoming,
    ops::{self, Ops},
    prober, references, standings,
    telemetry::{CredentialState, JournalView, Metrics, RouterView},
    tls::{ServerTls, TlsSettings},
    upstream::{CredentialView, Upstream},
};

/// Always there, as far as health is concerned; `RegionService` follows the configuration.
const SERVICES: [&str; 2] = ["sealane.v1.InferenceService", "sealane.v1.OperatorService"];
const REGION_SERVICE: &str = "sealane.v1.RegionService";

/// A throttled moment or a failover in progress is no reason to move traffic elsewhere. One default period of a
/// Kubernetes probe.
const UPSTREAM_HOLD_DOWN: Duration = Duration::from_secs(10);

/// How the service listens, and how it stops.
#[derive(Debug)]
pub struct ServerSettings {
    /// Where.
    pub listen: SocketAddr,
    /// Where metrics, probes and the status page are served; `None`: nowhere.
    pub ops: Option<SocketAddr>,
    /// What counts the calls.
    pub metrics: Metrics,
    /// What the services need to know of the configuration.
    pub rules: Arc<InferenceRules>,
    /// Bytes of a request.
    pub max_request_bytes: usize,
    /// Calls in flight on one connection.
    pub max_concurrent_streams: u32,
    /// TLS towards callers; `None`: plain text.
    pub tls: Option<TlsSettings>,
    /// Who may use reflection.
    pub reflection: Audience,
    /// Where standings are kept; `None`: nowhere.
    pub state_file: Option<PathBuf>,
    /// Where the reference vectors of embedding spaces are kept; `None`: nowhere.
    pub reference_file: Option<PathBuf>,
    /// How long no target may take calls before the health name `upstream` turns; it turns back at once.
    pub upstream_hold_down: Duration,
    /// How long calls are still taken after the health turned, so that load balancers notice first.
    pub drain_delay: Duration,
    /// How long calls in flight may take to finish after that.
    pub drain_grace: Duration,
}

/// A service that listens but does not yet serve.
pub struct Server<U> {
    rules: Arc<InForce<InferenceRules>>,
    listener: TcpListener,
    ops: Option<Ops>,
    dispatcher: Arc<Dispatcher<U>>,
    tls: Option<Arc<ServerTls>>,
    settings: ServerSettings,
}

impl Server<Azure> {
    /// The service that a configuration describes, listening; `metrics` counts what it does.
    ///
    /// # Errors
    /// When a resource can never be called, or the address cannot be had.
    pub async fn from_config(config: Config, metrics: Metrics) -> anyhow::Result<Self> {
        let clock = Clock::start();
        // Jitter need not be secret, only different in every process.
        let seed = RandomState::new().build_hasher().finish();
        let journal = config.audit.as_ref().map(|audit| open_journal(audit, &config.revision)).transpose()?;
        let mut settings = ServerSettings::of(&config, journal, metrics);
        let azure = Azure::new(config.resources, ResponseBounds::default())?;
        let policies = settings.rules.gate.callers().policies();
        let mut router = Router::new(config.routes, config.thresholds, seed, clock.now()).serving_policies(policies);
        if let Some(path) = &settings.state_file {
            standings::restore(path, &mut router, clock.now());
            let references = references::beside(path);
            settings.reference_file = references::restore(&references, &mut router).then_some(references);
            standings::try_out(path);
        }
        Self::bind(settings, azure, router, clock).await
    }
}

fn open_journal(audit: &AuditSettings, revision: &str) -> anyhow::Result<Journal> {
    let settings = audit::Settings { config_revision: Some(revision.into()), ..audit.settings.clone() };
    Ok(Journal::open(&audit.directory, &audit.key, settings)?)
}

impl ServerSettings {
    fn of(config: &Config, journal: Option<Journal>, metrics: Metrics) -> Self {
        let limits = &config.limits;
        let lasting = Lasting { trail: journal.map(|journal| Arc::new(Trail::new(journal))), ..Lasting::default() };
        Self {
            listen: config.listen,
            ops: config.ops,
            metrics,
            rules: Arc::new(rules::rules(config, rules::callers(config), lasting)),
            max_request_bytes: limits.max_request_bytes,
            max_concurrent_streams: limits.max_concurrent_streams,
            tls: config.tls.clone(),
            reflection: config.reflection,
            state_file: config.state_file.clone(),
            reference_file: None,
            upstream_hold_down: UPSTREAM_HOLD_DOWN,
            drain_delay: config.drain.delay,
            drain_grace: config.drain.grace,
        }
    }
}

impl<U: Upstream> Server<U> {
    /// Listens.
    ///
    /// # Errors
    /// When the address cannot be had, or certificate, key or authorities cannot be used.
    pub async fn bind(settings: ServerSettings, upstream: U, router: Router, clock: Clock) -> anyhow::Result<Self> {
        let tls = settings.tls.clone().map(|tls| ServerTls::new(tls, Clock::today())).transpose().context("tls")?;
        let listener = TcpListener::bind(settings.listen)
            .await
            .with_context(|| format!("cannot listen on {}", settings.listen))?;
        let ops = match settings.ops {
            Some(address) => Some(Ops::bind(address).await.with_context(|| format!("cannot listen on {address}"))?),
            None => None,
        };
        let dispatcher = Dispatcher::new(upstream, router, clock).measured_by(settings.metrics.clone());
        let rules = Arc::new(InForce::new(Arc::clone(&settings.rules)));
        Ok(Self { rules, listener, ops, dispatcher: Arc::new(dispatcher), tls: tls.map(Arc::new), settings })
    }

    /// Certificates, tokens and keys, for whoever knows that they changed. The service looks for itself every 5 s.
    pub fn credentials(&self) -> Credentials {
        let (rules, dispatcher) = (Arc::clone(&self.rules), Arc::clone(&self.dispatcher));
        let callers = move || Arc::clone(rules.get().gate.callers());
        Credentials::new(self.tls.clone(), callers, move || dispatcher.upstream().rotate_credentials())
    }

    /// The address, with the port that was really taken.
    ///
    /// # Errors
    /// When the operating system does not tell.
    pub fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Where metrics, probes and the status page are; `None` if they are not served.
    ///
    /// # Errors
    /// When the operating system does not tell.
    pub fn ops_addr(&self) -> std::io::Result<Option<SocketAddr>> {
        self.ops.as_ref().map(Ops::local_addr).transpose()
    }

    /// Serves until `shutdown` resolves, then drains: health turns, calls are still taken for `drain_delay`, those
    /// in flight finish within `drain_grace`, and what then remains ends with `DRAINING`.
    ///
    /// # Errors
    /// When the listener fails.
    pub async fn serve(self, shutdown: impl Future<Output = ()> + Send) -> anyhow::Result<()> {
        let credentials = self.credentials();
        let Self { rules, listener, ops, dispatcher, tls, settings } = self;
        let (condition, watching) = watch::channel(Condition { ready: true, upstream: true });
        let ending = settings.rules.ending.clone();
        let stopping = settings.rules.stopping.clone();
        let draining = CancellationToken::new();
        watch_router(&dispatcher);
        if let Some(trail) = &settings.rules.trail {
            watch_journal(&settings.metrics, trail.journal());
        }
        let ops = serve_ops(ops, &dispatcher, &settings, &rules, watching.clone());
        let routes = routes(&dispatcher, &settings, &rules, watching)?;
        let transport = Transport::builder()
            .max_concurrent_streams(settings.max_concurrent_streams)
            .http2_keepalive_interval(Some(Duration::from_secs(30)))
            .http2_keepalive_timeout(Some(Duration::from_secs(10)))
            .http2_max_pending_accept_reset_streams(Some(20))
            .http2_max_header_list_size(16 << 10)
            .initial_stream_window_size(1 << 20)
            .initial_connection_window_size(4 << 20)
            .layer(Explain)
            .add_routes(routes)
            .serve_with_incoming_shutdown(Incoming::new(listener, tls), stopping.clone().cancelled_owned());
        let drain = async {
            shutdown.await;
            info!(delay = ?settings.drain_delay, grace = ?settings.drain_grace, "draining");
            draining.cancel();
            condition.send_modify(|condition| condition.ready = false);
            tokio::time::sleep(settings.drain_delay).await;
            stopping.cancel();
            tokio::time::sleep(settings.drain_grace).await;
            warn!("calls still run after the time for draining; ending them");
            ending.cancel();
            // Enough for the last statuses to leave. The transport itself may wait for ever for a connection that
            // never answers (hyperium/hyper#4170), so it is not asked.
            tokio::time::sleep(Duration::from_millis(250)).await;
        };
        let journal = settings.rules.trail.as_ref().map(|trail| trail.journal());
        let follow = follow_upstream(&dispatcher, &condition, HoldDown::new(settings.upstream_hold_down));
        let served = tokio::select! {
            served = transport => served.context("the listener failed"),
            () = drain => Ok(()),
            () = follow => Ok(()),
            () = credentials.keep_fresh() => Ok(()),
            () = ops => Ok(()),
            () = draining.run_until_cancelled(follow_journal(&rules, &condition)).then(|_| pending()) => Ok(()),
            () = standings::keep(&dispatcher, settings.state_file.as_deref(), journal) => Ok(()),
            () = references::keep(&dispatcher, settings.reference_file.as_deref()) => Ok(()),
            () = standings::tell_alarms(&dispatcher, journal) => Ok(()),
            () = dispatcher.keep_time(|order| prober::make(&dispatcher, order)) => Ok(()),
        };
        standings::save_now(&dispatcher, settings.state_file.as_deref());
        if let Some(journal) = journal {
            journal.close().await;
        }
        served
    }
}

/// Has the metrics know the targets, and read the router's state for as long as there is one.
fn watch_router<U: Upstream>(dispatcher: &Arc<Dispatcher<U>>) {
    dispatcher.metrics().prepare(dispatcher.snapshot().targets.iter().map(|view| &*view.target));
    let watched = Arc::downgrade(dispatcher);
    dispatcher.metrics().watch_router(move || {
        let dispatcher = watched.upgrade()?;
        let snapshot = dispatcher.snapshot();
        let credentials = dispatcher.upstream().credentials();
        let state = |CredentialView { resource, problem, left }| {
            let failing = problem.is_some();
            CredentialState { resource, failing, left }
        };
        let credentials = credentials.into_iter().map(state).collect();
        Some(RouterView { at: dispatcher.clock().calendar(snapshot.at), snapshot, credentials })
    });
}

/// Has the metrics read how the journal is doing.
fn watch_journal(metrics: &Metrics, journal: &Journal) {
    let health = journal.health();
    metrics.watch_journal(move || {
        let health = health();
        JournalView {
            writable: health.writable,
            records: health.records,
            queued: health.queued,
            lost: health.lost,
            unrecorded_attempts: health.unrecorded_attempts,
            failures: health.failures,
            writes: health.writes,
            writing_seconds: health.writing.as_secs_f64(),
            last_checkpoint: Some(health.last_checkpoint_unix_ms).filter(|ms| *ms > 0).map(|ms| ms as f64 / 1000.0),
            failed_copies: health.failed_copies,
        }
    });
}

/// Serves the operator's port, also while calls drain; without one, waits for ever.
async fn serve_ops<U: Upstream>(
    ops: Option<Ops>,
    dispatcher: &Arc<Dispatcher<U>>,
    settings: &ServerSettings,
    rules: &Arc<InForce<InferenceRules>>,
    condition: watch::Receiver<Condition>,
) {
    let Some(ops) = ops else { return std::future::pending().await };
    let (shown, rules) = (Arc::clone(dispatcher), Arc::clone(rules));
    let view = ops::View {
        ready: Box::new(move || condition.borrow().ready),
        snapshot: Box::new(move || shown.snapshot()),
        clock: dispatcher.clock(),
        metrics: settings.metrics.clone(),
        config_revision: Box::new(move || rules.get().config_revision.clone()),
    };
    ops.serve(view).await;
}

/// Keeps the health name `upstream` true to what the router knows, but for `hold_down`.
async fn follow_upstream<U: Upstream>(
    dispatcher: &Dispatcher<U>,
    condition_now: &watch::Sender<Condition>,
    mut hold_down: HoldDown,
) {
    let mut changes = dispatcher.changes();
    loop {
        let (upstream, again) = hold_down.tell(takes_calls(&dispatcher.snapshot()), Instant::now());
        condition_now.send_if_modified(|known| std::mem::replace(&mut known.upstream, upstream) != upstream);
        let changed = match again {
            Some(at) => tokio::time::timeout_at(at, changes.changed()).await,
            None => Ok(changes.changed().await),
        };
        if let Ok(Err(_)) = changed {
            return;
        }
    }
}

/// Keeps readiness true to the journal: while it cannot record, calls that need a record are better sent elsewhere.
/// Whether any do may change with the configuration.
async fn follow_journal(rules: &InForce<InferenceRules>, condition_now: &watch::Sender<Condition>) {
    let Some(mut writable) = rules.get().trail.as_ref().map(|trail| trail.journal().writable()) else { return };
    loop {
        let ready = *writable.borrow_and_update() || !rules.get().gate.callers().need_records();
        condition_now.send_if_modified(|known| std::mem::replace(&mut known.ready, ready) != ready);
        if let Ok(Err(_)) = tokio::time::timeout(Duration::from_secs(1), writable.changed()).await {
            return;
        }
    }
}

fn takes_calls(snapshot: &Snapshot) -> bool {
    snapshot.models.iter().any(|model| model.active.is_some())
}

fn routes<U: Upstream>(
    dispatcher: &Arc<Dispatcher<U>>,
    settings: &ServerSettings,
    rules: &Arc<InForce<InferenceRules>>,
    condition: watch::Receiver<Condition>,
) -> anyhow::Result<Routes> {
    let services = Current::new(Arc::clone(dispatcher), Arc::clone(rules));
    let inference = InferenceServiceServer::new(services.clone());
    let operator = OperatorServiceServer::new(services.clone());
    let shows_regions = settings.rules.gate.region_status() != Audience::Nobody;
    let names: Vec<_> = SERVICES.into_iter().chain(shows_regions.then_some(REGION_SERVICE)).collect();
    let health = HealthServer::new(HealthService::new(&names, condition, settings.rules.stopping.clone()));
    let mut routes = RoutesBuilder::default();
    routes
        .add_service(
            inference
                .max_decoding_message_size(settings.max_request_bytes)
                .accept_compressed(Gzip)
                .send_compressed(Gzip),
        )
        .add_service(operator.accept_compressed(Gzip).send_compressed(Gzip))
        .add_service(health.accept_compressed(Gzip).send_compressed(Gzip));
    if shows_regions {
        let regions = RegionServiceServer::new(services);
        routes.add_service(regions.accept_compressed(Gzip).send_compressed(Gzip));
    }
    if settings.reflection != Audience::Nobody {
        // Old tools (Python's grpcio-reflection, grpcurl 1.8) speak v1alpha only.
        let described = || {
            tonic_reflection::server::Builder::configure()
                .register_encoded_file_descriptor_set(pb::DESCRIPTORS)
                .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
                // With these, tools show error details in full instead of as bytes.
                .register_encoded_file_descriptor_set(tonic_types::pb::FILE_DESCRIPTOR_SET)
        };
        let gate = ReflectionGate::new(Arc::clone(rules), settings.reflection, settings.metrics.clone());
        let v1 = described().build_v1()?.accept_compressed(Gzip).send_compressed(Gzip);
        let v1alpha = described().build_v1alpha()?.accept_compressed(Gzip).send_compressed(Gzip);
        routes
            .add_service(InterceptedService::new(v1, gate.clone()))
            .add_service(InterceptedService::new(v1alpha, gate));
    }
    Ok(routes.routes())
}
