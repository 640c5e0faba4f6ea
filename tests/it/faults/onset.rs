//! From the onset of trouble to the switch, on real sockets and with the real numbers: twenty runs of each, by
//! `make faults`.
#![allow(clippy::print_stdout)]
use std::time::{Duration, Instant};

use sealane::{
    grpc::pb::Standing,
    simulator::{Fault, Latency, RegionSettings},
};
use sealane_core::router::Thresholds;
use tokio::task::JoinSet;

use crate::support::{
    service::hi,
    world::{Setup, World},
};

const RUNS: u32 = 20;
/// Runs beside each other; each makes ten calls a second.
const BESIDE: u32 = 10;
const PACE: Duration = Duration::from_millis(100);
/// Long enough to learn what is normal.
const CALM: Duration = Duration::from_secs(8);
/// First content of a region that is well.
const USUAL: Latency = Latency { first_byte_ms: 100, first_token_ms: 500, per_token_ms: 2, jitter_ms: 100 };
const SLOW: Latency = Latency { first_byte_ms: 1000, first_token_ms: 5000, per_token_ms: 2, jitter_ms: 1000 };

/// Seconds from the onset to the switch, and how many calls failed on the way.
async fn run(fault: Fault) -> (f64, usize) {
    let latency = |name, display| RegionSettings { latency: USUAL, ..RegionSettings::named(name, display) };
    let setup = Setup {
        primary: latency("swedencentral", "Sweden Central"),
        standby: latency("francecentral", "France Central"),
        thresholds: Thresholds::default(),
        ..Setup::default()
    };
    let world = World::of(setup).await;
    let mut calls = JoinSet::new();
    let mut pace = tokio::time::interval(PACE);
    let start = Instant::now();
    let mut onset: Option<Instant> = None;
    let switched = loop {
        pace.tick().await;
        let mut client = world.inference();
        calls.spawn(async move { client.complete(hi()).await.is_err() });
        match onset {
            None if start.elapsed() >= CALM => {
                world.primary.faults().add(fault.clone());
                onset = Some(Instant::now());
            }
            Some(onset) if world.standing("gpt-4o").await == Standing::Out => break onset.elapsed().as_secs_f64(),
            Some(onset) => assert!(onset.elapsed() < Duration::from_secs(60), "no switch within a minute"),
            None => {}
        }
    };
    let failed = calls.join_all().await.into_iter().filter(|failed| *failed).count();
    (switched, failed)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes some minutes; run by `make faults`"]
async fn from_the_onset_to_the_switch() {
    let unavailable = Fault::Status { status: 503, retry_after: None, retry_after_ms: None, body: Default::default() };
    println!("from the onset to the switch, 10 calls a second, {RUNS} runs each, seconds:");
    for (name, fault, bound) in
        [("503s", unavailable, 5.0), ("a black hole", Fault::Hang, 9.0), ("10 x slow", Fault::Latency(SLOW), 9.0)]
    {
        let mut runs = Vec::new();
        for _ in 0..RUNS / BESIDE {
            let beside: JoinSet<_> = (0..BESIDE).map(|_| run(fault.clone())).collect();
            runs.extend(beside.join_all().await);
        }
        let mut took: Vec<f64> = runs.iter().map(|(took, _)| *took).collect();
        took.sort_by(f64::total_cmp);
        let errors: usize = runs.iter().map(|(_, failed)| failed).sum();
        let (median, most) = (took[took.len() / 2], took[took.len() - 1]);
        println!(
            "  {name:<14} median {median:.1}, max {most:.1} (bound {:.1}), {errors} callers saw an error",
            bound * 1.3
        );
        assert_eq!(errors, 0, "{name}");
        assert!(most <= bound * 1.3, "{name}: {most:.1} s");
    }
}
