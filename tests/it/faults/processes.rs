//! Processes that stop, and a process that runs out of file descriptors: the real binary, as a process of its own.
use std::{fs, path::PathBuf, process::Command, time::Duration};

use sealane::{
    grpc::pb::Standing,
    simulator::{Fault, Latency, RegionSettings, SimulatedRegion},
};
use sealane_core::router::Thresholds;
use serde_json::json;
use tokio::{net::TcpStream, task::JoinSet};

use crate::support::{
    process::{Folder, Running, configuration, sealane},
    service::{eventually, hi, told},
    world::{Setup, World, connect, quick},
};

/// The real binary over two regions of this process, or with another one for its primary.
pub(super) async fn started(
    name: &str,
    extra: &str,
    primary_endpoint: Option<String>,
    start: impl FnOnce(&str) -> Command,
) -> (World, Running) {
    let loopback = ([127, 0, 0, 1], 0).into();
    let region = |name, display| SimulatedRegion::start(RegionSettings::named(name, display), loopback).unwrap();
    let (primary, standby) = (region("swedencentral", "Sweden Central"), region("francecentral", "France Central"));
    let primary_endpoint = primary_endpoint.unwrap_or_else(|| format!("http://{}", primary.address()));
    let regions = json!({ "regions": [
        { "region": "swedencentral", "endpoint": primary_endpoint },
        { "region": "francecentral", "endpoint": format!("http://{}", standby.address()) },
    ] });
    let folder = Folder::new(name);
    let running = Running::of(start(&folder.write("sealane.yaml", &configuration(&regions, extra))));
    let address = running.ready["listening"].as_str().unwrap().parse().unwrap();
    let channel = connect(address).await;
    (World { primary, standby, address, channel, serving: tokio::spawn(std::future::pending()) }, running)
}

pub(super) fn serve(config: &str) -> Command {
    sealane(&["serve", "--config", config, "--listen", "127.0.0.1:0"])
}

/// Answers a second after they were asked for.
fn slow_answers() -> Fault {
    Fault::Latency(Latency { first_token_ms: 1000, ..Latency::default() })
}

/// Calls that are under way at the primary at once.
pub(super) async fn calls_under_way(world: &World, count: usize) -> JoinSet<Result<String, tonic::Status>> {
    let mut calls = JoinSet::new();
    for _ in 0..count {
        let mut client = world.inference();
        calls.spawn(async move { Ok(client.complete(hi()).await?.into_inner().served_by.unwrap().region) });
    }
    calls
}

/// The kernel goes on accepting for it, and answers nobody.
#[tokio::test]
async fn row_10_a_region_whose_process_stops_is_found_by_its_silence() {
    let region = Running::start(&["simulate", "--region", "swedencentral"]);
    let primary_endpoint = Some(region.ready["regions"][0]["endpoint"].as_str().unwrap().to_owned());
    let thresholds = Thresholds { first_content_floor: Duration::from_secs(1), ..quick() };
    let world = World::of(Setup { primary_endpoint, thresholds, ..Setup::default() }).await;
    assert_eq!(world.call().await.unwrap(), "swedencentral", "the connection is open and pooled");
    region.signal("STOP");
    let served_by = world.inference().complete(hi()).await.unwrap().into_inner().served_by.unwrap();
    assert_eq!(served_by.region, "francecentral");
    assert_eq!(served_by.attempts[0].failure, "first_content_timeout");
    world.call_until("gpt-4o", Standing::Out).await;
    region.signal("CONT");
    world.call_until("gpt-4o", Standing::Returning).await;
}

/// Limits of two and three seconds, a stop of seven: every limit has passed when the process goes on, and so has the span after
/// which it knows that it stood still.
#[tokio::test]
async fn row_61_a_process_that_stood_still_blames_nobody() {
    let limits = "failover: { first_content: 3s, stall: 3s, suspicious_silence: 2s }\n";
    let (world, service) = started("frozen", limits, None, serve).await;
    assert_eq!(world.call().await.unwrap(), "swedencentral");
    world.primary.faults().add(slow_answers());
    let mut calls = calls_under_way(&world, 8).await;
    eventually("all are under way", async || world.primary.counters().in_flight() == 8).await;
    service.signal("STOP");
    tokio::time::sleep(Duration::from_secs(7)).await;
    service.signal("CONT");
    let mut seen = false;
    eventually("it knows that it stood still", async || {
        seen |= world.status().await.alarms.iter().any(|alarm| alarm.kind == "frozen");
        seen
    })
    .await;
    while let Some(call) = calls.join_next().await {
        call.unwrap().unwrap();
    }
    world.primary.faults().clear();
    for _ in 0..5 {
        assert_eq!(world.call().await.unwrap(), "swedencentral", "no switch");
    }
    let transitions = world.transitions().await;
    assert!(!transitions.iter().any(|change| change.ends_with("-> out")), "{transitions:?}");
}

const DESCRIPTORS: usize = 64;

/// What Linux tells of a process.
struct Seen(PathBuf);

impl Seen {
    fn of(running: &Running) -> Self {
        Self(format!("/proc/{}", running.child.id()).into())
    }

    /// Those below the limit: whoever started the tests may have left it others.
    fn descriptors(&self) -> usize {
        let open = fs::read_dir(self.0.join("fd")).unwrap().map(|entry| entry.unwrap().file_name());
        open.filter(|number| number.to_str().unwrap().parse::<usize>().unwrap() < DESCRIPTORS).count()
    }

    /// Time on a processor, in hundredths of a second: `utime` and `stime`, see proc(5).
    fn ticks(&self) -> u64 {
        let stat = fs::read_to_string(self.0.join("stat")).unwrap();
        let after_name = stat.rsplit(')').next().unwrap();
        after_name.split_whitespace().skip(11).take(2).map(|ticks| ticks.parse::<u64>().unwrap()).sum()
    }
}

#[tokio::test]
async fn row_60_a_service_without_file_descriptors_sheds_and_blames_nobody() {
    let limited = |config: &str| {
        let mut command = Command::new("sh");
        let serve = serve(config);
        command.args(["-c", &format!("ulimit -n {DESCRIPTORS} && exec \"$0\" \"$@\"")]);
        command.arg(serve.get_program()).args(serve.get_args()).env("SIMULATED_KEY", "simulated-key");
        command
    };
    let (mut world, service) = started("descriptors", "", None, limited).await;
    assert_eq!(world.call().await.unwrap(), "swedencentral");
    let mut idle = Vec::new();
    for _ in 0..DESCRIPTORS {
        idle.push(TcpStream::connect(world.address).await.unwrap());
    }
    let seen = Seen::of(&service);
    eventually("none is left", async || seen.descriptors() == DESCRIPTORS).await;
    let before = seen.ticks();
    tokio::time::sleep(Duration::from_secs(2)).await;
    let spent = seen.ticks() - before;
    assert!(spent < 50, "a quarter of the time was spent on accepting nobody: {spent} ticks");

    world.primary.faults().add(slow_answers());
    world.standby.faults().add(slow_answers());
    let outcomes = calls_under_way(&world, 8).await.join_all().await;
    let served = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
    assert!((1..8).contains(&served), "those that had a connection: {outcomes:?}");
    for status in outcomes.iter().filter_map(|outcome| outcome.as_ref().err()) {
        assert_eq!(told(status), "Unavailable OVERLOADED", "{status}");
    }
    for region in ["swedencentral", "francecentral"] {
        let target = world.target("gpt-4o", region).await;
        assert_eq!((target.standing(), target.failed_attempts), (Standing::Serving, 0));
    }
    assert_eq!(world.transitions().await, [""; 0]);

    drop(idle);
    world.channel = connect(world.address).await;
    assert_eq!(world.call().await.unwrap(), "swedencentral", "new connections are taken again");
}
