//! What callers do: leave, listen slowly, vanish.
use std::time::Duration;

use sealane::{
    grpc::pb::{self, Standing, inference_service_client::InferenceServiceClient},
    simulator::{Fault, Latency},
};
use tonic::{Request, transport::Endpoint};

use crate::support::{
    service::{eventually, hi, told},
    wire::{Passes, Wire},
    world::{World, connect},
};

#[tokio::test]
async fn row_49_a_caller_that_leaves_in_the_middle_closes_its_request_and_blames_nobody() {
    let world = World::start().await;
    world.primary.faults().add(Fault::StreamStall { at: 3 });
    for _ in 0..8 {
        let mut events = world.inference().complete_stream(hi()).await.unwrap().into_inner();
        events.message().await.unwrap().unwrap();
        drop(events);
    }
    eventually("all are closed", async || world.primary.counters().in_flight() == 0).await;
    assert_eq!(world.primary.counters().dropped_by_client(), 8);
    eventually("all are counted", async || world.target("gpt-4o", "swedencentral").await.in_flight_calls == 0).await;
    assert_eq!(world.target("gpt-4o", "swedencentral").await.failed_attempts, 0);
    assert_eq!(world.transitions().await, [""; 0]);
}

/// Ends only by keep-alive, which takes 40 s: part of `make faults`.
#[tokio::test]
#[ignore = "takes a minute; run by `make faults`"]
async fn row_50_a_caller_that_vanishes_is_found_by_its_silence() {
    let world = World::start().await;
    let wire = Wire::to(world.address).await;
    let mut client = InferenceServiceClient::new(connect(wire.address).await);
    let mut request = Request::new(hi());
    request.set_timeout(Duration::from_secs(300));
    // An answer that goes on for much longer than the keep-alive.
    world.primary.faults().set(vec![
        Fault::AnswerLength { tokens: 100_000 }.into(),
        Fault::Latency(Latency { per_token_ms: 500, ..Latency::default() }).into(),
    ]);
    let mut events = client.complete_stream(request).await.unwrap().into_inner();
    events.message().await.unwrap().unwrap();
    wire.lets_through(Passes::Nothing);
    let start = std::time::Instant::now();
    while world.primary.counters().in_flight() > 0 {
        assert!(start.elapsed() < Duration::from_secs(60), "still under way");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test]
async fn row_51_a_caller_that_does_not_read_holds_nobody_up() {
    let world = World::start().await;
    world.primary.faults().add(Fault::AnswerLength { tokens: 12_000 });
    // A window of 4 KiB is soon full.
    let endpoint = Endpoint::from_shared(format!("http://{}", world.address)).unwrap();
    let channel = endpoint.initial_stream_window_size(4096).connect().await.unwrap();
    let request = pb::CompleteRequest { max_output_tokens: Some(12_000), ..hi() };
    let unread = InferenceServiceClient::new(channel).complete_stream(request).await.unwrap().into_inner();
    world.primary.faults().clear();
    assert_eq!(world.call().await.unwrap(), "swedencentral");
    assert_eq!(world.target("gpt-4o", "swedencentral").await.in_flight_calls, 1, "back-pressure holds it");
    drop(unread);
    eventually("it is let go", async || world.primary.counters().in_flight() == 0).await;
    assert_eq!(world.transitions().await, [""; 0]);
}

/// Nobody polls its answer, so no timer in that answer can end it.
#[tokio::test]
async fn row_51_a_caller_that_does_not_read_is_ended_at_its_deadline() {
    let world = World::start().await;
    // An answer of a minute.
    world.primary.faults().set(vec![
        Fault::AnswerLength { tokens: 12_000 }.into(),
        Fault::Latency(Latency { per_token_ms: 5, ..Latency::default() }).into(),
    ]);
    let endpoint = Endpoint::from_shared(format!("http://{}", world.address)).unwrap();
    let channel = endpoint.initial_stream_window_size(4096).connect().await.unwrap();
    let mut request = Request::new(pb::CompleteRequest { max_output_tokens: Some(12_000), ..hi() });
    request.set_timeout(Duration::from_millis(1500));
    let mut unread = InferenceServiceClient::new(channel).complete_stream(request).await.unwrap().into_inner();
    eventually("its region sees it cancelled", async || world.primary.counters().dropped_by_client() == 1).await;
    eventually("its place is free", async || world.target("gpt-4o", "swedencentral").await.in_flight_calls == 0).await;
    world.primary.faults().clear();
    assert_eq!(world.call().await.unwrap(), "swedencentral");
    let target = world.target("gpt-4o", "swedencentral").await;
    assert_eq!((target.standing(), target.failed_attempts), (Standing::Serving, 0), "it blames nobody");
    let end = loop {
        match unread.message().await {
            Ok(Some(_)) => {}
            end => break end,
        }
    };
    assert_eq!(told(&end.unwrap_err()), "DeadlineExceeded DEADLINE_EXCEEDED", "should it ever read on");
}
