//! Metrics as Prometheus scrapes them and as an OTLP receiver gets them, after real calls with a failover; the
//! operator's port; and that documentation, alert rules and dashboard speak of metrics that exist.
mod deployed;
pub mod exposition;
mod ops;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
};

use opentelemetry_proto::tonic::{
    collector::metrics::v1::{
        ExportMetricsServiceRequest, ExportMetricsServiceResponse,
        metrics_service_server::{MetricsService, MetricsServiceServer},
    },
    metrics::v1::{Metric, metric::Data, number_data_point::Value},
};
use sealane::{
    audit::Journal,
    grpc::pb,
    telemetry::{INSTRUMENTS, Instrument, Kind, LogStyle, Metrics, Telemetry, TelemetrySettings},
};
use sealane_core::{domain::FailureKind, router::Thresholds};
use tokio::net::TcpListener;
use tonic::{Request, Response, Status, codec::CompressionEncoding::Gzip, transport::server::TcpIncoming};

use self::exposition::{Exposition, get};
use crate::support::{
    scripted::{
        Line::{Breaks, Fails, Says},
        Scripted,
    },
    service::{Service, Wanted, embed, eventually, hi, user, without_test_calls},
};

const P: &str = "swedencentral";
const S: &str = "francecentral";
/// Must never be in a metric.
const CANARY: &str = "canary-4711";

#[derive(Clone, Default)]
struct Receiver(Arc<Mutex<Vec<Metric>>>);

#[tonic::async_trait]
impl MetricsService for Receiver {
    async fn export(
        &self,
        request: Request<ExportMetricsServiceRequest>,
    ) -> Result<Response<ExportMetricsServiceResponse>, Status> {
        let resources = request.into_inner().resource_metrics;
        let metrics = resources.into_iter().flat_map(|one| one.scope_metrics).flat_map(|one| one.metrics);
        // Cumulative: the last export tells everything.
        *self.0.lock().unwrap() = metrics.collect();
        Ok(Response::new(ExportMetricsServiceResponse::default()))
    }
}

impl Receiver {
    async fn start(&self) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let service = MetricsServiceServer::new(self.clone()).accept_compressed(Gzip);
        let server = tonic::transport::Server::builder().add_service(service);
        tokio::spawn(server.serve_with_incoming(TcpIncoming::from(listener)));
        format!("http://{address}")
    }

    /// The sum over all series of a counter.
    fn total(&self, name: &str) -> f64 {
        let metrics = self.0.lock().unwrap();
        let Some(Data::Sum(sum)) = metrics.iter().find(|metric| metric.name == name).and_then(|one| one.data.clone())
        else {
            panic!("no counter {name}")
        };
        let value = |value| match value {
            Some(Value::AsInt(count)) => count as f64,
            Some(Value::AsDouble(count)) => count,
            None => panic!("{name} has a point without a value"),
        };
        sum.data_points.into_iter().map(|point| value(point.value)).sum()
    }
}

/// A call of everything that counts: served, rescued off its pin, failed everywhere, interrupted, refused, embedded.
/// What fails everywhere fails at once.
fn at_once() -> Thresholds {
    Thresholds { retries: 0, ..without_test_calls() }
}

async fn play(service: &Service) {
    let mut client = service.inference().await;
    let routing = pb::RoutingOptions { workflow_id: format!("{CANARY}-workflow"), ..Default::default() };
    let ours = |routing: &pb::RoutingOptions| pb::CompleteRequest {
        messages: vec![user(&format!("{CANARY}-prompt"))],
        routing: Some(routing.clone()),
        ..hi()
    };
    client.complete(ours(&routing)).await.unwrap();
    let rescued = client.complete(ours(&routing)).await.unwrap().into_inner();
    assert_eq!(rescued.served_by.unwrap().region, S);
    client.complete(hi()).await.unwrap_err();
    let mut events = client.complete_stream(hi()).await.unwrap().into_inner();
    while let Ok(Some(_)) = events.message().await {}
    client.embed(embed(&[CANARY])).await.unwrap();
    let elsewhere = pb::RoutingOptions { data_boundary: format!("{CANARY}-boundary"), ..Default::default() };
    client.complete(ours(&elsewhere)).await.unwrap_err();
    client.complete(pb::CompleteRequest { model: format!("{CANARY}-model"), ..hi() }).await.unwrap_err();
}

fn upstream() -> Scripted {
    let script = [
        Says("hello there"),
        Fails(FailureKind::Unavailable),
        Fails(FailureKind::ServerError),
        Breaks("hello ", FailureKind::Reset),
        Says("hello there"),
    ];
    Scripted::default()
        .with(P, script)
        .with(S, [Says("hello there"), Fails(FailureKind::Unauthorized), Says("hello there")])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn prometheus_and_a_receiver_see_the_same_calls() {
    let receiver = Receiver::default();
    let settings = TelemetrySettings {
        otlp_endpoint: Some(receiver.start().await),
        prometheus: true,
        logs: LogStyle::Quiet,
        ..TelemetrySettings::default()
    };
    let telemetry = Telemetry::start(&settings).unwrap();
    let metrics = telemetry.metrics().clone();
    let folder = std::env::temp_dir().join(format!("sealane-metrics-journal-{}", std::process::id()));
    let journal = Journal::open(&folder.join("journal"), &folder.join("key.pem"), Default::default()).unwrap();
    let wanted = Wanted { metrics, thresholds: at_once(), journal: Some(journal.clone()), ..Wanted::default() };
    let service = Service::start_as(upstream(), wanted).await;
    play(&service).await;
    let health = journal.health();
    eventually("a checkpoint is signed", async || health().last_checkpoint_unix_ms > 0).await;

    let (head, body) = get(service.ops, "/metrics").await;
    assert!(head.starts_with("HTTP/1.1 200 ") && head.contains("text/plain; version=0.0.4"), "{head}");
    let scraped = Exposition::parse(&body);
    tokio::task::spawn_blocking(|| telemetry.shutdown()).await.unwrap();

    calls_are_counted(&scraped);
    the_routers_state_is_told(&scraped);
    the_journal_is_told(&scraped);
    std::fs::remove_dir_all(&folder).unwrap();
    assert!(!body.contains(CANARY), "what callers send is in no metric");
    every_instrument_is_exported_and_no_other(&scraped);
    for row in INSTRUMENTS {
        let metrics = receiver.0.lock().unwrap();
        assert!(metrics.iter().any(|metric| metric.name == row.name), "{} reaches no OTLP receiver", row.name);
    }
    for name in ["sealane.attempts", "sealane.attempts.started", "sealane.failovers", "sealane.requests.served"] {
        let scraped = scraped.sum(&format!("{}_total", name.replace('.', "_")), &[]);
        assert_eq!(receiver.total(name), scraped, "{name}");
    }
    let leaked = format!("{:?}", receiver.0.lock().unwrap());
    assert!(!leaked.contains(CANARY), "what callers send is in no metric");
}

fn calls_are_counted(scraped: &Exposition) {
    let complete = ("rpc_method", "sealane.v1.InferenceService/Complete");
    let calls = "rpc_server_call_duration_seconds_count";
    for (labels, expected) in [
        (vec![complete, ("rpc_response_status_code", "OK")], 2.0),
        (vec![complete, ("error_type", "ALL_REGIONS_UNAVAILABLE")], 1.0),
        (vec![complete, ("error_type", "NO_ELIGIBLE_REGION")], 1.0),
        (vec![complete, ("error_type", "MODEL_NOT_CONFIGURED")], 1.0),
        (vec![("rpc_method", "sealane.v1.InferenceService/CompleteStream"), ("error_type", "STREAM_INTERRUPTED")], 1.0),
        (vec![("rpc_method", "sealane.v1.InferenceService/Embed"), ("rpc_response_status_code", "OK")], 1.0),
    ] {
        assert_eq!(scraped.sum(calls, &labels), expected, "{labels:?}");
    }
    for (name, labels, expected) in [
        ("sealane_attempts_total", vec![("region", P), ("model", "gpt-4o"), ("outcome", "served")], 1.0),
        ("sealane_attempts_total", vec![("region", P), ("outcome", "unavailable"), ("operation", "chat")], 1.0),
        ("sealane_attempts_total", vec![("region", P), ("outcome", "connection_reset")], 1.0),
        (
            "sealane_attempts_total",
            vec![("region", S), ("outcome", "served"), ("deployment", "gpt-4o-deployment")],
            1.0,
        ),
        ("sealane_attempts_total", vec![("region", S), ("outcome", "unauthorized")], 1.0),
        ("sealane_attempts_total", vec![("operation", "embeddings"), ("outcome", "served")], 1.0),
        ("sealane_attempts_started_total", vec![("region", S), ("reason", "rescue")], 2.0),
        ("sealane_failovers_total", vec![("from_region", P), ("to_region", S), ("reason", "unavailable")], 1.0),
        ("sealane_failovers_total", vec![("from_region", P), ("to_region", S), ("reason", "server_error")], 1.0),
        ("sealane_requests_served_total", vec![("region", S), ("data_boundary", "eu"), ("failover", "true")], 1.0),
        ("sealane_requests_served_total", vec![("region", P), ("failover", "false")], 2.0),
        ("sealane_policy_rejections_total", vec![("reason", "NO_ELIGIBLE_REGION")], 1.0),
        ("sealane_streams_interrupted_total", vec![("region", P), ("model", "gpt-4o")], 1.0),
        ("sealane_off_pin_calls_total", vec![("cause", "rescue")], 1.0),
        ("sealane_region_mismatches_total", vec![("region", P)], 0.0),
        (
            "gen_ai_client_operation_duration_seconds_count",
            vec![("cloud_region", P), ("error_type", "unavailable")],
            1.0,
        ),
        ("gen_ai_client_operation_time_to_first_chunk_seconds_count", vec![("cloud_region", S)], 1.0),
        ("gen_ai_client_token_usage_sum", vec![("gen_ai_token_type", "input"), ("gen_ai_operation_name", "chat")], 6.0),
        ("gen_ai_client_token_usage_sum", vec![("gen_ai_token_type", "output")], 4.0),
    ] {
        assert_eq!(scraped.sum(name, &labels), expected, "{name} {labels:?}");
    }
    let attempts = scraped.sum("sealane_attempts_total", &[]);
    assert_eq!(attempts, scraped.sum("sealane_attempts_started_total", &[]), "what was started has ended");
}

fn the_routers_state_is_told(scraped: &Exposition) {
    for (name, labels, expected) in [
        ("sealane_target_standing", vec![("region", P), ("model", "gpt-4o"), ("standing", "serving")], 1.0),
        ("sealane_target_standing", vec![("region", P), ("model", "gpt-4o"), ("standing", "out")], 0.0),
        ("sealane_target_overlay", vec![("region", S), ("model", "gpt-4o"), ("overlay", "misconfigured")], 1.0),
        ("sealane_target_overlay", vec![("region", P), ("model", "gpt-4o"), ("overlay", "cooling")], 0.0),
        ("sealane_target_traffic_share_ratio", vec![("region", P), ("model", "gpt-4o")], 1.0),
        ("sealane_region_in_flight_requests", vec![("region", P)], 0.0),
        ("sealane_region_remaining_tokens", vec![("region", S), ("model", "gpt-4o")], 90_000.0),
        ("sealane_model_servable", vec![("model", "gpt-4o")], 1.0),
        ("sealane_alarms", vec![("alarm", "misconfigured")], 1.0),
        ("sealane_alarms", vec![("alarm", "cut_off")], 0.0),
        ("sealane_build_info", vec![("version", env!("CARGO_PKG_VERSION"))], 1.0),
    ] {
        assert_eq!(scraped.sum(name, &labels), expected, "{name} {labels:?}");
    }
    let targets = scraped.series("sealane_target_standing").iter().filter(|(_, value)| *value == 1.0).count();
    assert_eq!(targets, 5, "every target has exactly one standing");
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64();
    let last = scraped.sum("sealane_region_last_success_timestamp_seconds", &[("region", S), ("model", "gpt-4o")]);
    assert!((now - 60.0..=now + 1.0).contains(&last), "served just now, in seconds since 1970: {last}");
}

fn the_journal_is_told(scraped: &Exposition) {
    for (name, expected) in [
        ("sealane_audit_writable", 1.0),
        ("sealane_audit_lost_records_total", 0.0),
        ("sealane_audit_unrecorded_attempts_total", 0.0),
        ("sealane_audit_failures_total", 0.0),
        ("sealane_audit_failed_checkpoint_copies_total", 0.0),
    ] {
        assert_eq!(scraped.sum(name, &[]), expected, "{name}");
    }
    // Each attempt has two, each decision one.
    let attempts = scraped.sum("sealane_attempts_total", &[]);
    assert!(scraped.sum("sealane_audit_records_total", &[]) > 2.0 * attempts);
    assert!(scraped.sum("sealane_audit_writes_total", &[]) > 1.0);
    assert!(scraped.sum("sealane_audit_writing_seconds_total", &[]) > 0.0);
}

/// Both ways, and with the attributes that the table states.
fn every_instrument_is_exported_and_no_other(scraped: &Exposition) {
    let listed: BTreeMap<String, &Instrument> = INSTRUMENTS.iter().map(|row| (row.prometheus_name(), row)).collect();
    let mut expected: BTreeSet<&str> = listed.keys().map(String::as_str).collect();
    expected.insert("target_info");
    assert_eq!(scraped.families.keys().map(String::as_str).collect::<BTreeSet<_>>(), expected);
    for (name, row) in listed {
        let stated: BTreeSet<String> = row.attributes.iter().map(|name| name.replace('.', "_")).collect();
        let kind = match row.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram(_) => "histogram",
        };
        assert_eq!(scraped.families[&name], kind, "{name}");
        let told: BTreeSet<String> = scraped
            .of_family(&name)
            .flat_map(|(labels, _)| labels.keys().cloned())
            .filter(|name| name != "le")
            .collect();
        assert_eq!(told, stated, "the attributes of {name}");
    }
}

#[tokio::test]
async fn what_is_not_looked_at_is_not_counted() {
    let service = Service::start_as(upstream(), Wanted { thresholds: at_once(), ..Wanted::default() }).await;
    service.inference().await.complete(hi()).await.unwrap();
    let (head, body) = get(service.ops, "/metrics").await;
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    assert_eq!((body.as_str(), Metrics::off().exposition().unwrap().as_str()), ("", ""));
}

#[tokio::test]
async fn an_answer_from_another_region_than_configured_is_counted() {
    let upstream = upstream().reporting("East US 2");
    let service = Service::start_as(upstream, Wanted { metrics: Metrics::on(), ..Wanted::default() }).await;
    let before = Exposition::parse(&get(service.ops, "/metrics").await.1);
    assert_eq!(before.sum("sealane_region_mismatches_total", &[("region", P)]), 0.0, "known before it happens");
    service.inference().await.complete(hi()).await.unwrap();
    let body = get(service.ops, "/metrics").await.1;
    assert_eq!(Exposition::parse(&body).sum("sealane_region_mismatches_total", &[("region", P)]), 1.0);
    assert!(!body.to_lowercase().replace(' ', "").contains("eastus2"), "what Azure says is in no label");
}
