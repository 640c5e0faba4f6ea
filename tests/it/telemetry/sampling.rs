//! Where a team samples, the real binary still exports every call that is evidence, whole, and it alone.
use std::{
    fs,
    io::{BufRead as _, BufReader},
    process::{Child, Command, Stdio},
};

use sealane::{
    grpc::pb::{self, inference_service_client::InferenceServiceClient},
    simulator::{Fault, RegionSettings, SimulatedRegion},
};
use serde_json::Value;
use tonic::{
    Code, Request,
    transport::{Channel, Endpoint},
};

use super::{P, Receiver, S, has, tags};
use crate::support::service::hi;

/// The service as a process of its own, since its sampler comes from the environment.
struct Process {
    child: Child,
    address: String,
}

impl Process {
    fn start(regions: &[(&str, &SimulatedRegion)], otlp: &str) -> Self {
        let config = std::env::temp_dir().join(format!("sealane-sampling-{}.yaml", std::process::id()));
        fs::write(&config, configuration(regions)).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_sealane"));
        for (name, _) in std::env::vars_os() {
            if ["SEALANE_", "OTEL_", "RUST_LOG"].iter().any(|prefix| name.to_string_lossy().starts_with(prefix)) {
                command.env_remove(name);
            }
        }
        let mut child = command
            .args(["--output", "json", "serve", "--listen", "127.0.0.1:0", "--config"])
            .arg(&config)
            .envs([("SIMULATED_KEY", "simulated-key"), ("ANY", "any-token"), ("BOUND", "bound-token")])
            .envs([("OTEL_EXPORTER_OTLP_ENDPOINT", otlp), ("OTEL_METRICS_EXPORTER", "none")])
            .envs([("OTEL_TRACES_SAMPLER", "parentbased_traceidratio"), ("OTEL_TRACES_SAMPLER_ARG", "0")])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let up: Value = serde_json::from_str(&line).unwrap();
        fs::remove_file(config).unwrap();
        Self { child, address: up["listening"].as_str().unwrap().to_owned() }
    }

    async fn client(&self) -> InferenceServiceClient<Channel> {
        let endpoint = Endpoint::from_shared(format!("http://{}", self.address)).unwrap();
        InferenceServiceClient::new(endpoint.connect().await.unwrap())
    }

    /// Ends it as a person would, so that it exports what is left.
    async fn finish(mut self) {
        let asked = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status().unwrap();
        assert!(asked.success());
        tokio::task::spawn_blocking(move || assert!(self.child.wait().unwrap().success())).await.unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `any` may go anywhere, `bound` only to the primary.
fn configuration(regions: &[(&str, &SimulatedRegion)]) -> String {
    let resource = |(name, region): &(&str, &SimulatedRegion)| {
        let address = region.address();
        format!(
            "- {{ name: {name}, region: {name}, endpoint: 'http://{address}', auth: {{ api_key: {{ env: SIMULATED_KEY }} }} }}\n"
        )
    };
    let target = |(name, _): &(&str, _)| format!("{{ resource: {name}, deployment: gpt-4o, sku: Standard }}");
    format!(
        "resources:\n{}models:\n- name: gpt-4o\n  targets: [{}]\npolicies:\n- {{ name: primary-only, regions: [{P}] }}\n\
         callers:\n- {{ name: any, token: {{ env: ANY }}, policy: unrestricted }}\n\
         - {{ name: bound, token: {{ env: BOUND }}, policy: primary-only }}\ndrain: {{ delay: 0s, grace: 1s }}\n",
        regions.iter().map(resource).collect::<String>(),
        regions.iter().map(target).collect::<Vec<_>>().join(", "),
    )
}

/// A call of trace `trace` by whoever has this token.
fn call(trace: u8, token: &str, sampled: bool, allowed_regions: &[&str]) -> Request<pb::CompleteRequest> {
    let allowed_regions = allowed_regions.iter().map(|region| (*region).to_owned()).collect();
    let routing = Some(pb::RoutingOptions { allowed_regions, ..Default::default() });
    let mut request = Request::new(pb::CompleteRequest { routing, ..hi() });
    let parent = format!("00-{}-00f067aa0ba902b7-0{}", format!("{trace:02x}").repeat(16), u8::from(sampled));
    request.metadata_mut().insert("traceparent", parent.parse().unwrap());
    request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    request
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sampling_never_loses_evidence() {
    let receiver = Receiver::default();
    let region = |name| SimulatedRegion::start(RegionSettings::named(name, name), ([127, 0, 0, 1], 0).into()).unwrap();
    let (primary, standby) = (region(P), region(S));
    let service = Process::start(&[(P, &primary), (S, &standby)], &receiver.start().await);
    let mut client = service.client().await;

    client.complete(call(1, "any-token", false, &[])).await.unwrap();
    client.complete(call(2, "any-token", true, &[])).await.unwrap();
    client.complete(call(3, "bound-token", false, &[])).await.unwrap();
    let denied = client.complete(call(4, "bound-token", false, &[S])).await.unwrap_err();
    assert_eq!(denied.code(), Code::FailedPrecondition);
    let stranger = client.complete(call(5, "wrong-token", false, &[])).await.unwrap_err();
    assert_eq!(stranger.code(), Code::Unauthenticated);
    let body = Default::default();
    primary.faults().add(Fault::Status { status: 503, retry_after: None, retry_after_ms: None, body });
    client.complete(call(6, "any-token", false, &[])).await.unwrap();
    drop(client);
    service.finish().await;

    // Spans of the call, the server's included.
    let exported = [1, 2, 3, 4, 5, 6].map(|trace| receiver.of(trace).len());
    assert_eq!(exported, [0, 2, 2, 1, 1, 3], "ordinary and unsampled; sampled; restricted; denied; unknown; rescued");
    let server = |trace| tags(&receiver.of(trace)[0].attributes);
    has(
        &server(2),
        &[("sealane.policy.restricted", "false"), ("sealane.policy.allowed_regions", "swedencentral,francecentral")],
    );
    has(
        &server(3),
        &[("sealane.policy.restricted", "true"), ("sealane.policy.allowed_regions", P), ("sealane.caller", "bound")],
    );
    has(
        &server(4),
        &[
            ("rpc.response.status_code", "FAILED_PRECONDITION"),
            ("sealane.policy.allowed_regions", ""),
            ("sealane.caller", "bound"),
            ("sealane.model", "gpt-4o"),
        ],
    );
    has(&server(6), &[("sealane.failover", "true"), ("sealane.region.served", S)]);
}
