//! The real process, killed under load again and again: whatever a region received is in the journal.
//!
//! `SEALANE_KILLS` says how often; 300 are what the issue of trust asks for, and take a minute or two.
use std::{
    collections::HashMap,
    fs,
    io::{BufRead as _, BufReader},
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use sealane::{
    audit::{AttemptKind, Directory, Filter, Trust, attempts, verify},
    grpc::pb::{complete_stream_response::Event, inference_service_client::InferenceServiceClient},
    simulator::{Fault, FaultRule, RegionSettings, SimulatedRegion},
};
use tokio::task::JoinSet;

use super::{disk::Chance, folder};
use crate::support::{
    service::{embed, hi},
    world::connect,
};

struct Process {
    child: Child,
    address: SocketAddr,
}

impl Process {
    fn start(config: &Path) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_sealane"))
            .args(["serve", "--output", "json", "--config"])
            .arg(config)
            .env("KEY", "simulated-key")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let ready: serde_json::Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{line:?}: {error}"));
        Self { child, address: ready["listening"].as_str().unwrap().parse().unwrap() }
    }

    /// Without a word of warning.
    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn region(name: &str) -> SimulatedRegion {
    let settings = RegionSettings { captured_requests: 1 << 20, ..RegionSettings::named(name, name) };
    SimulatedRegion::start(settings, ([127, 0, 0, 1], 0).into()).unwrap()
}

fn configuration(regions: &[SimulatedRegion; 2]) -> String {
    let [swc, frc] = regions.each_ref().map(SimulatedRegion::address);
    format!(
        "
listen: 127.0.0.1:0
audit: {{ directory: journal, segment_bytes: 256KiB, checkpoints: checkpoints.jsonl }}
resources:
  - {{ name: swc, region: swedencentral, endpoint: 'http://{swc}', auth: {{ api_key: {{ env: KEY }} }} }}
  - {{ name: frc, region: francecentral, endpoint: 'http://{frc}', auth: {{ api_key: {{ env: KEY }} }} }}
models:
  - name: gpt-4o
    targets: [{{ resource: swc, deployment: gpt-4o, sku: Standard }}, {{ resource: frc, deployment: gpt-4o, sku: Standard }}]
  - name: text-embedding-3-large
    kind: embedding
    targets:
      - {{ resource: swc, deployment: text-embedding-3-large, sku: Standard }}
      - {{ resource: frc, deployment: text-embedding-3-large, sku: Standard }}
"
    )
}

/// Calls of every kind until the service is gone.
async fn load(address: SocketAddr) {
    let channel = connect(address).await;
    let mut callers = JoinSet::new();
    for _ in 0..4 {
        let mut client = InferenceServiceClient::new(channel.clone());
        callers.spawn(async move {
            while client.complete(hi()).await.is_ok() {
                if client.embed(embed(&["a text"])).await.is_err() {
                    return;
                }
                let Ok(events) = client.complete_stream(hi()).await else { return };
                let mut events = events.into_inner();
                while let Ok(Some(event)) = events.message().await {
                    if matches!(event.event, Some(Event::End(_))) {
                        break;
                    }
                }
            }
        });
    }
    while callers.join_next().await.is_some() {}
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_that_a_region_received_lacks_its_intent() {
    let kills: u64 = std::env::var("SEALANE_KILLS").map_or(10, |kills| kills.parse().unwrap());
    let folder = folder("kill");
    let regions = ["swedencentral", "francecentral"].map(region);
    regions[0].faults().add(FaultRule::from(Fault::Reset).with_ratio(0.2));
    let config = folder.join("sealane.yaml");
    fs::write(&config, configuration(&regions)).unwrap();
    for round in 0..kills {
        let process = Process::start(&config);
        let loading = tokio::spawn(load(process.address));
        tokio::time::sleep(Duration::from_millis(20 + Chance(round).below(180))).await;
        process.kill();
        loading.await.unwrap();
    }
    // A last start recovers what the last kill left.
    let process = Process::start(&config);
    process.kill();

    let journal = Directory::read(&folder.join("journal")).unwrap();
    let findings = verify(&journal, &Trust::default()).unwrap();
    assert_eq!(findings.problems, []);
    let (rows, _) = attempts(&journal, &Filter::default()).unwrap();
    let mut intents: HashMap<(String, String), usize> = HashMap::new();
    for row in &rows {
        if let AttemptKind::Sent { intent, .. } = &row.kind {
            let trace = intent.call.trace_id.as_ref().unwrap().to_string();
            *intents.entry((intent.place.region.to_string(), trace)).or_default() += 1;
        }
    }
    let mut received = 0;
    for (region, name) in regions.iter().zip(["swedencentral", "francecentral"]) {
        for request in region.counters().captured() {
            // Test calls carry no caller's data, and no trace.
            let Some(parent) = request.headers.get("traceparent") else { continue };
            let trace = parent.to_str().unwrap().split('-').nth(1).unwrap().to_owned();
            let left = intents.get_mut(&(name.to_owned(), trace.clone()));
            let left = left.unwrap_or_else(|| panic!("{name} received {trace}, which is not in the journal"));
            *left = left.checked_sub(1).unwrap_or_else(|| panic!("{name} received {trace} more often than intended"));
            received += 1;
        }
    }
    let after_crash = rows.iter().filter(|row| row.result() == "unknown_after_crash").count();
    eprintln!(
        "{kills} kills: {received} requests received, {} intended, {after_crash} unknown after a crash",
        rows.len()
    );
    assert!(received as u64 > kills, "the load was too light to prove anything");
    fs::remove_dir_all(&folder).unwrap();
}
