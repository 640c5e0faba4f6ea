//! Traces as a real OTLP receiver gets them: one server span for a call, one client span for each attempt below it,
//! and the caller's trace id all the way to the request upstream.
mod sampling;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
};

use opentelemetry_proto::tonic::{
    collector::trace::v1::{
        ExportTraceServiceRequest, ExportTraceServiceResponse,
        trace_service_server::{TraceService, TraceServiceServer},
    },
    common::v1::{KeyValue, any_value::Value},
    trace::v1::{Span, span::SpanKind, status::StatusCode},
};
use sealane::{
    grpc::pb,
    telemetry::{LogStyle, Telemetry, TelemetrySettings},
};
use sealane_core::{domain::FailureKind, router::Thresholds};
use tokio::net::TcpListener;
use tonic::{Request, Response, Status, codec::CompressionEncoding::Gzip, transport::server::TcpIncoming};

use crate::support::{
    scripted::{
        Line::{Breaks, Fails, Says},
        Scripted,
    },
    service::{Service, Wanted, hi, without_test_calls},
};

const P: &str = "swedencentral";
const S: &str = "francecentral";

#[derive(Clone, Default)]
struct Receiver(Arc<Mutex<Vec<Span>>>);

#[tonic::async_trait]
impl TraceService for Receiver {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let resources = request.into_inner().resource_spans;
        let spans = resources.into_iter().flat_map(|one| one.scope_spans).flat_map(|one| one.spans);
        self.0.lock().unwrap().extend(spans);
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

impl Receiver {
    async fn start(&self) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let service = TraceServiceServer::new(self.clone()).accept_compressed(Gzip);
        let server = tonic::transport::Server::builder().add_service(service);
        tokio::spawn(server.serve_with_incoming(TcpIncoming::from(listener)));
        format!("http://{address}")
    }

    /// The spans of one trace: the server's first, then the attempts in the order in which they started.
    fn of(&self, trace: u8) -> Vec<Span> {
        let mut spans: Vec<Span> =
            self.0.lock().unwrap().iter().filter(|span| span.trace_id == [trace; 16]).cloned().collect();
        spans.sort_by_key(|span| (span.kind != SpanKind::Server as i32, span.start_time_unix_nano));
        spans
    }
}

fn tags(attributes: &[KeyValue]) -> BTreeMap<String, String> {
    let text = |value: &Value| match value {
        Value::StringValue(text) => text.clone(),
        Value::BoolValue(value) => value.to_string(),
        Value::IntValue(value) => value.to_string(),
        Value::DoubleValue(value) => value.to_string(),
        other => panic!("not a flat scalar: {other:?}"),
    };
    let tag = |one: &KeyValue| (one.key.clone(), text(one.value.as_ref().unwrap().value.as_ref().unwrap()));
    attributes.iter().map(tag).collect()
}

fn is_error(span: &Span) -> bool {
    span.status.as_ref().is_some_and(|status| status.code == StatusCode::Error as i32)
}

/// A call whose caller carries a trace of its own, and does not sample it.
fn traced(trace: u8, request: pb::CompleteRequest) -> Request<pb::CompleteRequest> {
    let mut request = Request::new(request);
    let parent = format!("00-{}-00f067aa0ba902b7-00", format!("{trace:02x}").repeat(16));
    request.metadata_mut().insert("traceparent", parent.parse().unwrap());
    request
}

fn has(tags: &BTreeMap<String, String>, expected: &[(&str, &str)]) {
    for (name, value) in expected {
        assert_eq!(tags.get(*name).map(String::as_str), Some(*value), "{name} in {tags:#?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_receiver_sees_of_calls() {
    let receiver = Receiver::default();
    let settings = TelemetrySettings {
        otlp_endpoint: Some(receiver.start().await),
        otlp_traces_only: true,
        logs: LogStyle::Quiet,
        ..TelemetrySettings::default()
    };
    let telemetry = Telemetry::install(&settings).unwrap();
    let script = [
        Says("hello there"),
        Fails(FailureKind::Unavailable),
        Fails(FailureKind::ServerError),
        Breaks("hello ", FailureKind::Reset),
    ];
    let standby = [Says("hello there"), Fails(FailureKind::Unauthorized), Says("hello there")];
    // What fails everywhere fails at once.
    let wanted = Wanted { thresholds: Thresholds { retries: 0, ..without_test_calls() }, ..Wanted::default() };
    let service = Service::start_as(Scripted::default().with(P, script).with(S, standby), wanted).await;
    let mut client = service.inference().await;
    let routing = Some(pb::RoutingOptions { workflow_id: "run-7".into(), ..Default::default() });
    client.complete(traced(1, pb::CompleteRequest { routing, ..hi() })).await.unwrap();
    client.complete(traced(2, hi())).await.unwrap();
    client.complete(traced(3, hi())).await.unwrap_err();
    let mut events = client.complete_stream(traced(4, hi())).await.unwrap().into_inner();
    while let Ok(Some(_)) = events.message().await {}
    client.complete(traced(5, pb::CompleteRequest { messages: vec![], ..hi() })).await.unwrap_err();
    let routing = Some(pb::RoutingOptions { allowed_regions: vec![S.into()], ..Default::default() });
    client.complete(traced(6, pb::CompleteRequest { routing, ..hi() })).await.unwrap();
    let sent = service.upstream.seen();
    drop((events, client, service));
    tokio::task::spawn_blocking(|| telemetry.shutdown()).await.unwrap();

    served_at_once(&receiver.of(1), sent[0].trace.traceparent.as_deref().unwrap());
    rescued(&receiver.of(2));
    failed_everywhere(&receiver.of(3));
    interrupted(&receiver.of(4));
    let refused = receiver.of(5);
    assert_eq!(refused.len(), 1, "nothing was attempted");
    has(&tags(&refused[0].attributes), &[("rpc.response.status_code", "INVALID_ARGUMENT")]);
    assert!(!is_error(&refused[0]), "the caller's mistake is no error of the server");
    let narrowed = receiver.of(6);
    let event = narrowed[0].events.iter().find(|event| event.name == "sealane.target.skipped").unwrap();
    has(&tags(&event.attributes), &[("target", "swedencentral/gpt-4o-deployment"), ("reason", "request")]);
    assert!(receiver.of(1)[0].events.is_empty(), "nothing was passed over");
}

fn served_at_once(spans: &[Span], sent: &str) {
    let [server, attempt] = spans else { panic!("one server span and one attempt: {spans:#?}") };
    assert_eq!(server.name, "sealane.v1.InferenceService/Complete");
    assert_eq!(server.parent_span_id, 0x00f0_67aa_0ba9_02b7_u64.to_be_bytes(), "below the caller's span");
    has(
        &tags(&server.attributes),
        &[
            ("rpc.system.name", "grpc"),
            ("rpc.method", "sealane.v1.InferenceService/Complete"),
            ("rpc.response.status_code", "OK"),
            ("sealane.model", "gpt-4o"),
            ("sealane.policy", "unrestricted"),
            ("sealane.policy.allowed_regions", "swedencentral,francecentral"),
            ("sealane.policy.restricted", "false"),
            ("sealane.workflow", "run-7"),
            ("sealane.region.served", P),
            ("sealane.region.reported", "SWEDENCENTRAL"),
            ("sealane.data_boundary", "eu"),
            ("sealane.processing_scope", "regional"),
            ("sealane.deployment", "gpt-4o-deployment"),
            ("sealane.failover", "false"),
            ("sealane.attempt.count", "1"),
            ("sealane.response.id", "chatcmpl-1"),
            ("sealane.config.revision", "test"),
        ],
    );
    assert_eq!((attempt.name.as_str(), attempt.kind), ("chat gpt-4o", SpanKind::Client as i32));
    assert_eq!(attempt.parent_span_id, server.span_id);
    has(
        &tags(&attempt.attributes),
        &[
            ("gen_ai.operation.name", "chat"),
            ("gen_ai.provider.name", "azure.ai.openai"),
            ("gen_ai.request.model", "gpt-4o"),
            ("gen_ai.request.stream", "true"),
            ("gen_ai.response.model", "gpt-4o-2024-11-20"),
            ("gen_ai.response.finish_reasons", "stop"),
            ("gen_ai.usage.input_tokens", "3"),
            ("gen_ai.usage.output_tokens", "2"),
            ("cloud.region", P),
            ("azure.service.request.id", "apim-1"),
            ("http.response.status_code", "200"),
            ("sealane.attempt.number", "1"),
            ("sealane.attempt.reason", "route"),
            ("sealane.attempt.outcome", "served"),
        ],
    );
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let expected = format!("00-{}-{}-01", hex(&attempt.trace_id), hex(&attempt.span_id));
    assert_eq!(sent, expected, "the request upstream carries the attempt's own span");
}

fn rescued(spans: &[Span]) {
    let [server, first, second] = spans else { panic!("one server span and two attempts: {spans:#?}") };
    has(&tags(&server.attributes), &[("sealane.failover", "true"), ("sealane.region.served", S)]);
    assert!(!is_error(server), "an attempt that was rescued is no error of the call");
    let event = &server.events[0];
    assert_eq!(event.name, "sealane.failover");
    has(&tags(&event.attributes), &[("from", P), ("to", S), ("reason", "unavailable")]);
    assert!(is_error(first) && !is_error(second));
    has(&tags(&first.attributes), &[("cloud.region", P), ("error.type", "unavailable")]);
    has(
        &tags(&second.attributes),
        &[("cloud.region", S), ("sealane.attempt.reason", "rescue"), ("sealane.attempt.number", "2")],
    );
    assert!(spans.iter().skip(1).all(|attempt| attempt.parent_span_id == server.span_id), "siblings");
}

fn failed_everywhere(spans: &[Span]) {
    let [server, _, _] = spans else { panic!("one server span and two attempts: {spans:#?}") };
    assert!(is_error(server));
    has(
        &tags(&server.attributes),
        &[
            ("rpc.response.status_code", "UNAVAILABLE"),
            ("error.type", "ALL_REGIONS_UNAVAILABLE"),
            ("sealane.attempt.count", "2"),
        ],
    );
}

fn interrupted(spans: &[Span]) {
    let [server, attempt] = spans else { panic!("one server span and one attempt: {spans:#?}") };
    assert_eq!(server.name, "sealane.v1.InferenceService/CompleteStream");
    has(
        &tags(&server.attributes),
        &[("rpc.response.status_code", "UNAVAILABLE"), ("error.type", "STREAM_INTERRUPTED")],
    );
    has(&tags(&attempt.attributes), &[("error.type", "connection_reset")]);
    assert!(attempt.end_time_unix_nano <= server.end_time_unix_nano, "the server span covers its attempts");
}

#[test]
fn the_table_of_tags_says_what_the_code_says() {
    let code = include_str!("../../src/telemetry/names.rs");
    let literals = code.lines().filter_map(|line| line.strip_prefix("pub(super) const ")?.split('"').nth(1));
    // Names of metrics' attributes, of the event, and values are no tags.
    let no_tags = ["gen_ai.token.type", "azure.ai.openai", "sealane.target.skipped"];
    let known: BTreeSet<&str> = literals.filter(|name| name.contains('.') && !no_tags.contains(name)).collect();
    let page = include_str!("../../docs/tracing.md");
    let row = |line: &'static str| line.strip_prefix("| `")?.split_once("` |").map(|(name, _)| name);
    let documented: BTreeSet<&str> = page.lines().filter_map(row).collect();
    assert_eq!(documented, known, "docs/tracing.md lists the attributes of src/telemetry/names.rs");
}
