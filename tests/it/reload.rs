//! A changed configuration while calls run: taken up whole or not at all, and no call suffers.
use std::{fs, path::PathBuf};

use sealane::{
    audit::{Directory, Event, Filter, records},
    config::Config,
    grpc::pb::{self, inference_service_client::InferenceServiceClient, region_service_client::RegionServiceClient},
    server::{Server, Watched},
    simulator::{Fault, FaultRule, Latency, RegionSettings, SimulatedRegion},
    telemetry::Metrics,
};
use tokio::task::JoinHandle;
use tonic::{Status, transport::Channel};

use crate::support::{
    service::{eventually, hi, told, with_token},
    world::connect,
};

const TOKEN: &str = "token-of-the-team-1234";

/// A service that watches its file.
struct World {
    folder: PathBuf,
    regions: [SimulatedRegion; 2],
    channel: Channel,
    metrics: Metrics,
    serving: JoinHandle<()>,
}

impl Drop for World {
    fn drop(&mut self) {
        self.serving.abort();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// The file, as it may be changed.
#[derive(Clone)]
struct File {
    targets: &'static [&'static str],
    policy: &'static str,
    more: &'static str,
}

const PLAIN: File = File { targets: &["swc", "frc"], policy: "regions: []", more: "" };

impl World {
    async fn start(name: &str, file: &File) -> Self {
        rustls::crypto::ring::default_provider().install_default().ok();
        let folder = std::env::temp_dir().join(format!("sealane-reload-{name}-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let regions = ["swedencentral", "francecentral"].map(|name| {
            let keys = vec!["key-one".into(), "key-two".into()];
            let settings = RegionSettings { keys, ..RegionSettings::named(name, name) };
            SimulatedRegion::start(settings, ([127, 0, 0, 1], 0).into()).unwrap()
        });
        fs::write(folder.join("key"), "key-one").unwrap();
        fs::write(folder.join("token"), TOKEN).unwrap();
        let path = folder.join("sealane.yaml");
        fs::write(&path, text(&regions, file)).unwrap();
        let config = Config::load(&path).unwrap_or_else(|error| panic!("{error}"));
        let watched = Watched::new(&config);
        let metrics = Metrics::on();
        let server = Server::from_config(config, metrics.clone()).await.unwrap();
        let reload = server.reload(&path, watched).unwrap();
        let channel = connect(server.local_addr().unwrap()).await;
        let serving = tokio::spawn(async move {
            tokio::select! {
                served = server.serve(std::future::pending()) => served.unwrap(),
                lost = reload.run() => lost.unwrap(),
            }
        });
        Self { folder, regions, channel, metrics, serving }
    }

    fn change(&self, file: &File) {
        fs::write(self.folder.join("sealane.yaml"), text(&self.regions, file)).unwrap();
    }

    async fn ask(&self, request: pb::CompleteRequest) -> Result<String, Status> {
        let mut client = InferenceServiceClient::new(self.channel.clone());
        Ok(client.complete(with_token(TOKEN, request)).await?.into_inner().served_by.unwrap().region)
    }

    async fn revision(&self) -> String {
        let mut client = RegionServiceClient::new(self.channel.clone());
        let status = client.region_status(with_token(TOKEN, pb::RegionStatusRequest::default())).await.unwrap();
        status.into_inner().config_revision
    }

    /// What the alert `ConfigReloadFailed` looks at.
    fn last_reload_successful(&self) -> bool {
        let shown = self.metrics.exposition().unwrap();
        shown.lines().any(|line| line.starts_with("sealane_config_last_reload_successful") && line.ends_with(" 1"))
    }

    /// What the journal says of configurations: accepted, or the problem.
    fn journalled(&self) -> Vec<String> {
        let mut told = Vec::new();
        let journal = Directory::read(&self.folder.join("journal")).unwrap();
        records(&journal, &Filter::default(), &mut |_, record, _| {
            if let Event::Config(config) = &record.event {
                told.push(config.problem.as_ref().map_or("accepted".into(), ToString::to_string));
            }
            Ok(())
        })
        .unwrap();
        told
    }
}

fn text(regions: &[SimulatedRegion; 2], file: &File) -> String {
    let [swc, frc] = regions.each_ref().map(SimulatedRegion::address);
    let targets: Vec<String> = file
        .targets
        .iter()
        .map(|resource| format!("{{ resource: {resource}, deployment: gpt-4o, sku: Standard }}"))
        .collect();
    format!(
        "listen: 127.0.0.1:0
audit: {{ directory: journal, durability: flush }}
resources:
  - {{ name: swc, region: swedencentral, boundary: eu, endpoint: 'http://{swc}', auth: {{ api_key: {{ file: key }} }} }}
  - {{ name: frc, region: francecentral, boundary: eu, endpoint: 'http://{frc}', auth: {{ api_key: {{ file: key }} }} }}
models: [{{ name: gpt-4o, targets: [{}] }}]
policies: [{{ name: team-only, {} }}]
callers: [{{ name: team, token: {{ file: token }}, policy: team-only }}]
{}",
        targets.join(", "),
        file.policy,
        file.more
    )
}

#[tokio::test]
async fn a_changed_file_is_taken_up_and_a_bad_one_is_refused_whole() {
    let world = World::start("whole", &PLAIN).await;
    assert_eq!(world.ask(hi()).await.unwrap(), "swedencentral");
    let first = world.revision().await;

    let other_way_round = File { targets: &["frc", "swc"], ..PLAIN };
    world.change(&other_way_round);
    eventually("the new primary serves", async || world.ask(hi()).await.unwrap() == "francecentral").await;
    let second = world.revision().await;
    assert_ne!(first, second);

    // Wrong in its last line, and with it everything else that it changes.
    world.change(&File { more: "failover: { hedge: perhaps }", ..PLAIN });
    eventually("the refusal is told", async || world.journalled().len() == 2).await;
    assert_eq!(world.ask(hi()).await.unwrap(), "francecentral");
    assert_eq!(world.revision().await, second);
    let told = world.journalled();
    assert_eq!(told[0], "accepted");
    assert!(told[1].contains("perhaps"), "{told:?}");
    assert!(!world.last_reload_successful());

    // Put back as it was: whoever was told of the trouble is told that it is over.
    world.change(&other_way_round);
    eventually("the end of the trouble is told", async || world.journalled().len() == 3).await;
    assert_eq!(world.journalled()[2], "accepted");
    assert!(world.last_reload_successful());
    assert_eq!(world.revision().await, second);

    world.change(&PLAIN);
    eventually("a good one is taken up again", async || world.ask(hi()).await.unwrap() == "swedencentral").await;
    assert_eq!(world.revision().await, first, "the same file, the same revision");
}

#[tokio::test]
async fn a_watch_goes_on_by_the_configuration_and_the_credentials_in_force() {
    let world = World::start("watch", &PLAIN).await;
    let mut client = RegionServiceClient::new(world.channel.clone());
    let max_interval = Some(prost_types::Duration { seconds: 0, nanos: 100_000_000 });
    let request = pb::WatchRegionStatusRequest { max_interval, ..Default::default() };
    let mut views = client.watch_region_status(with_token(TOKEN, request)).await.unwrap().into_inner();
    let first = views.message().await.unwrap().unwrap().status.unwrap().config_revision;
    world.change(&File { targets: &["frc", "swc"], ..PLAIN });
    let mut view = async || views.message().await.map(|view| view.unwrap().status.unwrap().config_revision);
    while view().await.unwrap() == first {}

    fs::write(world.folder.join("token"), "another-token-of-the-team").unwrap();
    let refused = loop {
        if let Err(status) = view().await {
            break status;
        }
    };
    assert_eq!(told(&refused), "Unauthenticated INVALID_TOKEN");
}

#[tokio::test]
async fn a_narrower_policy_holds_for_the_rescue_of_a_call_under_way() {
    let world = World::start("policy", &PLAIN).await;
    let slow = Latency { first_byte_ms: 4000, ..Latency::default() };
    world.regions[0].faults().add(FaultRule::from(Fault::Latency(slow)));
    let call = world.ask(hi());
    let change = async {
        eventually("the call is under way", async || world.regions[0].counters().in_flight() > 0).await;
        world.change(&File { policy: "regions: [swedencentral]", ..PLAIN });
        eventually("the policy is narrower", async || world.journalled() == ["accepted"]).await;
        world.regions[0].faults().set(vec![Fault::Down.into()]);
    };
    let (told_caller, ()) = tokio::join!(call, change);
    let status = told_caller.unwrap_err();
    assert!(told(&status).starts_with("Unavailable"), "{status:?}");
    // Test calls carry nobody's data, and no trace.
    let received = world.regions[1].counters().captured();
    assert!(
        received.iter().all(|request| !request.headers.contains_key("traceparent")),
        "nothing went to francecentral"
    );
}

#[tokio::test]
async fn keys_and_models_change_under_load_without_a_failed_call() {
    let world = World::start("load", &PLAIN).await;
    let (channel, stop) = (world.channel.clone(), std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false)));
    let stopped = std::sync::Arc::clone(&stop);
    let load = tokio::spawn(async move {
        let mut calls = 0;
        while !stopped.load(std::sync::atomic::Ordering::Relaxed) {
            let mut client = InferenceServiceClient::new(channel.clone());
            client.complete(with_token(TOKEN, hi())).await.unwrap_or_else(|status| panic!("call {calls}: {status}"));
            calls += 1;
        }
        calls
    });
    fs::write(world.folder.join("key"), "key-two").unwrap();
    let uses = async |key: &str| {
        let captured = world.regions[0].counters().captured();
        captured.last().is_some_and(|request| request.headers.get("api-key").unwrap() == key)
    };
    eventually("the new key is used", async || uses("key-two").await).await;
    for targets in [&["frc", "swc"] as &[&str], &["swc"], &["swc", "frc"]] {
        let before = world.journalled().len();
        world.change(&File { targets, ..PLAIN });
        eventually("the next file is taken up", async || world.journalled().len() > before).await;
    }
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    assert!(load.await.unwrap() > 10);
    assert!(world.journalled().iter().all(|outcome| outcome == "accepted"), "{:?}", world.journalled());
}
