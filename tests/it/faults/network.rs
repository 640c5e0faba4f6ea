//! A bad way to the primary: late, lossy, and cut now and then.
use std::{env, process::Command, time::Duration};

use super::processes::calls_under_way;
use crate::support::{
    wire::{Rough, Wire},
    world::{Setup, World},
};

/// The second world is there for its region.
async fn over(rough: Rough) -> (World, World, Wire) {
    let region = World::start().await;
    let wire = Wire::rough(region.primary.address(), rough, 63).await;
    let primary_endpoint = Some(format!("http://{}", wire.address));
    (World::of(Setup { primary_endpoint, ..Setup::default() }).await, region, wire)
}

/// Calls in rounds of eight; none may fail. How many the primary served.
async fn calls(world: &World, rounds: usize) -> usize {
    let mut by_primary = 0;
    for _ in 0..rounds {
        let outcomes = calls_under_way(world, 8).await.join_all().await;
        by_primary += outcomes.into_iter().filter(|outcome| outcome.as_ref().unwrap() == "swedencentral").count();
    }
    by_primary
}

async fn switched(world: &World) -> bool {
    world.transitions().await.iter().any(|change| change.ends_with("-> out"))
}

#[tokio::test]
async fn row_63_a_late_and_lossy_way_is_no_reason_to_switch() {
    let ms = Duration::from_millis;
    let rough = Rough { jitter: ms(200), lost_percent: 5, retransmission: ms(300), cut_percent: 0 };
    let (world, _region, _wire) = over(rough).await;
    assert_eq!(calls(&world, 4).await, 32);
    assert_eq!(world.target("gpt-4o", "swedencentral").await.failed_attempts, 0);
    assert!(!switched(&world).await);
}

#[tokio::test]
async fn row_63_calls_whose_connection_is_lost_are_rescued() {
    let (world, _region, _wire) = over(Rough { cut_percent: 10, ..Rough::default() }).await;
    let by_primary = calls(&world, 10).await;
    let failed = world.target("gpt-4o", "swedencentral").await.failed_attempts;
    assert!(failed > 0 && by_primary > 0, "{by_primary} of 80 served by the primary, {failed} attempts failed");
}

/// Set for the test when it runs inside of a network of its own.
const INSIDE: &str = "SEALANE_TEST_INSIDE_NETEM";
const THIS: &str = "faults::network::row_63_five_percent_of_packets_lost_and_200_ms_of_jitter_by_the_kernel";
const NETEM: &str = "ip link set lo up && tc qdisc add dev lo root netem delay 100ms 100ms loss 5%";

/// Every packet of callers, service and regions: a network namespace has but one way. Says so where the machine cannot
/// show it.
#[tokio::test]
#[allow(clippy::print_stdout)]
#[ignore = "needs root, tc and the kernel's netem; run by `make faults`"]
async fn row_63_five_percent_of_packets_lost_and_200_ms_of_jitter_by_the_kernel() {
    if env::var_os(INSIDE).is_some() {
        let world = World::start().await;
        calls(&world, 4).await;
        assert!(!switched(&world).await);
        return;
    }
    let tried = Command::new("unshare").args(["--net", "sh", "-c", NETEM]).output();
    match tried {
        Ok(tried) if tried.status.success() => {}
        Ok(tried) => return println!("row 63 NOT SHOWN by netem: {}", String::from_utf8_lossy(&tried.stderr).trim()),
        Err(error) => return println!("row 63 NOT SHOWN by netem: unshare: {error}"),
    }
    let this = env::current_exe().unwrap();
    let inside = format!("{NETEM} && exec \"$0\" \"$@\"");
    let mut command = Command::new("unshare");
    command.args(["--net", "sh", "-c", &inside]).arg(this).args(["--ignored", "--exact", THIS]).env(INSIDE, "1");
    assert!(command.status().unwrap().success());
}
