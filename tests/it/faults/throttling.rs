//! 429: capacity, not sickness.
use std::time::Duration;

use sealane::{
    grpc::pb::{self, Overlay, Standing},
    simulator::{Fault, Latency, Operation},
};
use tonic_types::StatusExt as _;

use crate::support::{
    service::{eventually, hi, told},
    world::{Setup, World},
};

fn throttled(retry_after: &str) -> Fault {
    Fault::Status { status: 429, retry_after: Some(retry_after.into()), retry_after_ms: None, body: Default::default() }
}

/// How long the primary still cools after one throttled call, in seconds.
async fn cooling(world: &World) -> f64 {
    let target = world.target("gpt-4o", "swedencentral").await;
    assert_eq!((target.overlay(), target.standing()), (Overlay::Cooling, Standing::Serving));
    let seconds = |time: prost_types::Timestamp| time.seconds as f64 + f64::from(time.nanos) / 1e9;
    let now = seconds(world.status().await.observe_time.unwrap());
    seconds(target.cooling_until_time.unwrap()) - now
}

#[tokio::test]
async fn row_29_a_hint_of_a_day_cools_for_a_minute() {
    let world = World::start().await;
    world.primary.faults().add(Fault::Throttle { retry_after_seconds: 86_400 });
    assert_eq!(world.call().await.unwrap(), "francecentral");
    let left = cooling(&world).await;
    assert!((50.0..=60.5).contains(&left), "{left}");
}

#[tokio::test]
async fn row_30_a_hint_of_nothing_cools_for_a_second() {
    for hint in ["0", "soon"] {
        let world = World::start().await;
        world.primary.faults().add(throttled(hint));
        assert_eq!(world.call().await.unwrap(), "francecentral");
        let left = cooling(&world).await;
        assert!(left <= 1.5, "{hint}: {left}");
    }
}

#[tokio::test]
async fn row_31_where_both_are_throttled_the_caller_is_told_when_to_come_back() {
    let world = World::of(Setup::quick()).await;
    for region in [&world.primary, &world.standby] {
        region.faults().add(throttled("60"));
    }
    for _ in 0..10 {
        let status = world.inference().complete(hi()).await.unwrap_err();
        assert_eq!(told(&status), "ResourceExhausted ALL_REGIONS_RATE_LIMITED");
        let wait = status.get_error_details().retry_info().unwrap().retry_delay.unwrap();
        assert!(wait > Duration::from_secs(30), "{wait:?}");
    }
    for region in [&world.primary, &world.standby] {
        assert!(region.counters().requests(Operation::Chat) <= 1, "no storm");
    }
    assert_eq!(world.transitions().await, [""; 0], "throttling moves nobody");
}

#[tokio::test]
async fn row_45_a_crowded_standby_sheds_background_work_first() {
    let mut setup = Setup::quick();
    setup.thresholds.concurrency = 10;
    setup.thresholds.longest_wait = Duration::from_millis(100);
    let world = World::of(setup).await;
    world.primary.faults().add(Fault::Down);
    world.call_until("gpt-4o", Standing::Out).await;
    world.standby.faults().add(Fault::Latency(Latency { first_byte_ms: 700, ..Default::default() }));
    let ask = |priority: pb::Priority| {
        let routing = pb::RoutingOptions { priority: priority as i32, ..Default::default() };
        let request = pb::CompleteRequest { routing: Some(routing), ..hi() };
        let mut client = world.inference();
        tokio::spawn(async move { client.complete(request).await })
    };
    let bulk: Vec<_> = (0..20).map(|_| ask(pb::Priority::Bulk)).collect();
    eventually("the standby is busy", async || world.standby.counters().in_flight() >= 8).await;
    let interactive = [ask(pb::Priority::Interactive), ask(pb::Priority::Interactive)];
    for call in interactive {
        call.await.unwrap().unwrap();
    }
    let mut shed = 0;
    for call in bulk {
        if let Err(status) = call.await.unwrap() {
            assert_eq!(told(&status), "Unavailable OVERLOADED");
            assert!(status.get_error_details().retry_info().is_some());
            shed += 1;
        }
    }
    assert!(shed > 0, "twenty do not fit where eight may go");
}
