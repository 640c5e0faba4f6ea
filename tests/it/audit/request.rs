//! Whoever holds a request, or an answer, finds in the journal where it went: through the real service, its journal on a
//! real disk, and the real command line.
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use prost::Message as _;
use sealane::{
    config::Config,
    grpc::pb::{self, inference_service_client::InferenceServiceClient},
    server::Server,
    simulator::{RegionSettings, SimulatedRegion},
    telemetry::Metrics,
};
use serde_json::Value;

use super::folder;
use crate::support::{
    service::{eventually, hi, user, with_token},
    world::connect,
};

const SECRET: &str = "0123456789abcdef0123456789abcdef";

fn configuration(region: &SimulatedRegion) -> String {
    let address = region.address();
    format!(
        "listen: 127.0.0.1:0
audit: {{ directory: journal, request_key: {{ file: request-key }} }}
resources: [{{ name: swc, region: swedencentral, endpoint: 'http://{address}', auth: {{ api_key: {{ file: key }} }} }}]
models: [{{ name: gpt-4o, targets: [{{ resource: swc, deployment: gpt-4o, sku: Standard }}] }}]
callers:
  - {{ name: kb, token: {{ file: token-kb }}, policy: unrestricted }}
  - {{ name: other, token: {{ file: token-other }}, policy: unrestricted }}
"
    )
}

/// Maps have no order of their own on the wire.
fn with_maps(text: &str) -> pb::CompleteRequest {
    pb::CompleteRequest {
        messages: vec![user(text)],
        metadata: (0..16).map(|at| (format!("key-{at}"), format!("value-{at}"))).collect(),
        logit_bias: (0..16).map(|token| (token * 7 % 16, 2.0)).collect(),
        ..hi()
    }
}

fn ask(folder: &Path, more: &[&str]) -> Vec<Value> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sealane"));
    let run = command.args(["audit", "query", "--output", "json"]).arg(folder.join("journal")).args(more);
    let run = run.output().unwrap();
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    let answer: Value = serde_json::from_slice(&run.stdout).unwrap();
    answer["attempts"].as_array().unwrap().clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_and_an_answer_are_found_again() {
    rustls::crypto::ring::default_provider().install_default().ok();
    let region = RegionSettings::named("swedencentral", "swedencentral");
    let region = SimulatedRegion::start(region, ([127, 0, 0, 1], 0).into()).unwrap();
    let folder: PathBuf = folder("request");
    let (kb, other) = ("token-of-the-kb-1234", "token-of-the-other-1234");
    for (name, text) in [("request-key", SECRET), ("key", "simulated-key"), ("token-kb", kb), ("token-other", other)] {
        fs::write(folder.join(name), text).unwrap();
    }
    fs::write(folder.join("sealane.yaml"), configuration(&region)).unwrap();
    let config = Config::load(&folder.join("sealane.yaml")).unwrap_or_else(|error| panic!("{error}"));
    let server = Server::from_config(config, Metrics::off()).await.unwrap();
    let channel = connect(server.local_addr().unwrap()).await;
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let serving = tokio::spawn(server.serve(async { drop(stopped.await) }));
    let mut client = InferenceServiceClient::new(channel);

    client.complete(with_token(kb, with_maps("the one"))).await.unwrap();
    let answer = client.complete(with_token(kb, with_maps("another"))).await.unwrap().into_inner();
    client.complete(with_token(other, with_maps("the one"))).await.unwrap();
    client.complete(with_token(kb, with_maps("simulate-prompt-block"))).await.unwrap_err();
    drop((stop, client));
    eventually("the service has ended", async || serving.is_finished()).await;

    let held = |name: &str, bytes: Vec<u8>| {
        let path = folder.join(name);
        fs::write(&path, bytes).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let key = folder.join("request-key").to_str().unwrap().to_owned();
    let one = held("one.binpb", with_maps("the one").encode_to_vec());
    let found = ask(&folder, &["--caller", "kb", "--request", &one, "--request-key", &key]);
    assert_eq!(found.len(), 1, "{found:#?}");
    assert_eq!((&found[0]["seq"], &found[0]["intent"]["api_version"]), (&3.into(), &"2024-10-21".into()));
    let size = with_maps("the one").encoded_len();
    assert_eq!(found[0]["intent"]["request_bytes"], size);

    // Another library may write the fields in another order: the model's name, field 1, comes last here.
    let mut turned = pb::CompleteRequest { model: String::new(), ..with_maps("the one") }.encode_to_vec();
    turned.extend(pb::CompleteRequest { model: "gpt-4o".into(), ..Default::default() }.encode_to_vec());
    assert_eq!(turned.len(), size);
    let turned = held("turned.binpb", turned);
    assert_eq!(ask(&folder, &["--caller", "kb", "--request", &turned, "--request-key", &key]), found);

    let near = held("near.binpb", with_maps("the one.").encode_to_vec());
    assert_eq!(ask(&folder, &["--caller", "kb", "--request", &near, "--request-key", &key]).len(), 0);
    let wrong = held("wrong-key", SECRET.to_uppercase().into_bytes());
    assert_eq!(ask(&folder, &["--caller", "kb", "--request", &one, "--request-key", &wrong]).len(), 0);

    let found = ask(&folder, &["--response", &answer.response_id]);
    assert_eq!(found.len(), 1, "{found:#?}");
    assert_eq!(found[0]["outcome"]["response_id"], answer.response_id);
    let blocked =
        ask(&folder, &["--caller", "kb"]).into_iter().find(|row| row["outcome"]["result"] == "failed").unwrap();
    assert!(!blocked["outcome"]["content_filter"].as_array().unwrap().is_empty(), "{blocked:#}");

    // The journal has neither the text nor a hash of it that anybody could recompute.
    let ring_free = sealane::audit::RequestKey::new(SECRET.as_bytes()).unwrap();
    let mac = ring_free.mac("kb", &with_maps("the one").encode_to_vec());
    let written = fs::read_to_string(folder.join("journal/segment-00000001.jsonl")).unwrap();
    assert!(written.contains(mac.as_str()) && !written.contains("the one") && !written.contains(SECRET));
    fs::remove_dir_all(&folder).unwrap();
}
