//! Azure's quota on real sockets: two simulated regions that meter tokens as Azure does, background work that wants
//! more than both have, and callers who wait for their answers.
use std::time::Duration;

use sealane::{
    grpc::pb::{self, Priority},
    simulator::{DeploymentSettings, Operation, RegionSettings},
};
use sealane_core::router::Thresholds;
use tokio::time::sleep;
use tonic::{Request, Status};
use tonic_types::StatusExt as _;

use crate::support::{
    service::{hi, told, user},
    world::{Setup, World},
};

/// Tokens a minute of each region.
const LIMIT: u32 = 10_000;

/// What one call costs by Azure's meter: 400 characters and an answer of up to 100 tokens.
const COST: u32 = 200;

fn limited(region: RegionSettings) -> RegionSettings {
    let chat = DeploymentSettings::chat("gpt-4o", "gpt-4o", "2024-11-20");
    RegionSettings { deployments: vec![DeploymentSettings { tokens_per_minute: LIMIT, ..chat }], ..region }
}

async fn world(pace: bool) -> World {
    let usual = Setup::default();
    let mut thresholds: Thresholds = usual.thresholds.clone();
    thresholds.pacing.enabled = pace;
    let (primary, standby) = (limited(usual.primary.clone()), limited(usual.standby.clone()));
    World::of(Setup { primary, standby, thresholds, ..usual }).await
}

/// A call of `COST` tokens that has 10 s.
async fn ask(world: &World, priority: Priority) -> Result<pb::CompleteResponse, Status> {
    let routing = pb::RoutingOptions { priority: priority as i32, ..Default::default() };
    let message = user(&"word".repeat(100));
    let mut request = Request::new(pb::CompleteRequest {
        messages: vec![message],
        max_output_tokens: Some(100),
        routing: Some(routing),
        ..hi()
    });
    request.set_timeout(Duration::from_secs(10));
    Ok(world.inference().complete(request).await?.into_inner())
}

/// Eight workers, who together want more than both regions have at once. How many calls were served.
async fn background_work(world: &World) -> u64 {
    let worker = async || {
        let mut served = 0;
        for _ in 0..11 {
            match ask(world, Priority::Bulk).await {
                Ok(_) => served += 1,
                Err(status) => {
                    assert_eq!(told(&status), "ResourceExhausted ALL_REGIONS_RATE_LIMITED");
                    let wait = status.get_error_details().retry_info().unwrap().retry_delay.unwrap();
                    assert!(!wait.is_zero());
                }
            }
        }
        served
    };
    let workers = (0..8).map(|_| worker());
    futures_util::future::join_all(workers).await.into_iter().sum()
}

/// Requests that the regions have refused: without a fault in force, all that they have not served.
fn refused(world: &World, served: u64) -> u64 {
    let asked: u64 =
        [&world.primary, &world.standby].map(|region| region.counters().requests(Operation::Chat)).iter().sum();
    asked - served
}

#[tokio::test]
async fn background_work_meets_no_429_and_leaves_room_for_callers_who_wait() {
    let world = world(true).await;
    let callers = async {
        for _ in 0..6 {
            sleep(Duration::from_millis(300)).await;
            let reply = ask(&world, Priority::Interactive).await.unwrap();
            let by = reply.served_by.unwrap();
            assert_eq!((by.region.as_str(), by.attempts.len()), ("swedencentral", 1));
        }
    };
    let (served, ()) = tokio::join!(background_work(&world), callers);
    assert_eq!(refused(&world, served + 6), 0);
    // Four fifths of both regions at once, and then what comes back: at least that was used.
    assert!(served >= u64::from(2 * LIMIT * 4 / 5 / COST), "{served}");
    let target = world.target("gpt-4o", "swedencentral").await;
    assert_eq!((target.standing(), target.overlay()), (pb::Standing::Serving, pb::Overlay::Unspecified));
}

#[tokio::test]
async fn without_pacing_the_same_work_runs_into_the_wall() {
    let world = world(false).await;
    let served = background_work(&world).await;
    assert!(refused(&world, served) > 0);
}
