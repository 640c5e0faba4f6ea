//! Answers that break, stall or crawl in the middle.
use std::time::Duration;

use sealane::{
    grpc::pb::{self, OnInterruption},
    simulator::{Fault, Latency},
};
use sealane_core::router::Thresholds;
use tonic::Request;

use crate::support::{
    service::{eventually, hi, text, told, without_test_calls},
    world::{Setup, World},
};

/// Stalls count from 300 ms on.
async fn world() -> World {
    let thresholds = Thresholds { stall: Duration::from_millis(300), ..without_test_calls() };
    World::of(Setup { thresholds, ..Setup::default() }).await
}

fn restartable() -> pb::CompleteRequest {
    let on_interruption = OnInterruption::Restart as i32;
    pb::CompleteRequest { routing: Some(pb::RoutingOptions { on_interruption, ..Default::default() }), ..hi() }
}

/// A fault in the middle of an answer: unary calls are rescued whole, streams start anew where that is allowed, and
/// never end well where it is not.
async fn broken_by(fault: Fault) {
    let world = world().await;
    let whole = text(&world.inference().complete(hi()).await.unwrap().into_inner());
    world.primary.faults().add(fault.clone());
    let reply = world.inference().complete(hi()).await.unwrap().into_inner();
    assert_eq!(text(&reply), whole, "complete, and nothing twice: {fault:?}");
    assert_eq!(reply.served_by.unwrap().region, "francecentral", "{fault:?}");

    let heard = world.listen(restartable()).await;
    assert_eq!((heard.restarts, heard.text.as_str(), heard.ended), (1, whole.as_str(), true), "{fault:?}: {heard:?}");

    let heard = world.listen(hi()).await;
    assert!(!heard.ended && whole.starts_with(&heard.text), "{fault:?}: {heard:?}");
    assert_eq!(told(&heard.error.unwrap()), "Unavailable STREAM_INTERRUPTED", "{fault:?}");
}

#[tokio::test]
async fn rows_14_to_16_a_stream_that_is_cut() {
    broken_by(Fault::StreamReset { at: 5 }).await;
    broken_by(Fault::StreamEnd { at: 5 }).await;
}

#[tokio::test]
async fn row_17_a_stall_in_the_middle() {
    broken_by(Fault::StreamStall { at: 5 }).await;
}

#[tokio::test]
async fn row_19_one_broken_event() {
    broken_by(Fault::StreamMalformed { at: 5 }).await;
}

#[tokio::test]
async fn row_24_an_error_event() {
    broken_by(Fault::StreamError { at: 5 }).await;
    let world = world().await;
    world.primary.faults().add(Fault::StreamError { at: 0 });
    let heard = world.listen(hi()).await;
    assert!(heard.ended && heard.restarts == 0, "before the first content nobody notices: {heard:?}");
}

#[tokio::test]
async fn row_18_an_answer_that_only_trickles_leaves_the_rescue_its_time() {
    let world = world().await;
    world.primary.faults().add(Fault::Latency(Latency { per_token_ms: 1200, ..Latency::default() }));
    let mut request = Request::new(hi());
    request.set_timeout(Duration::from_millis(5000));
    let served_by = world.inference().complete(request).await.unwrap().into_inner().served_by.unwrap();
    assert_eq!(served_by.region, "francecentral");
    assert_eq!(served_by.attempts[0].failure, "stalled");
}

#[tokio::test]
async fn row_18_one_that_flows_may_take_its_time() {
    let world = world().await;
    world.primary.faults().add(Fault::Latency(Latency { per_token_ms: 150, ..Latency::default() }));
    let mut request = Request::new(hi());
    // More than six tenths of it are gone when the answer of a dozen tokens is whole.
    request.set_timeout(Duration::from_millis(3500));
    let served_by = world.inference().complete(request).await.unwrap().into_inner().served_by.unwrap();
    assert_eq!((served_by.region.as_str(), served_by.attempts.len()), ("swedencentral", 1));
}

#[tokio::test]
async fn row_20_a_stream_without_its_done_mark_is_whole() {
    let world = world().await;
    world.primary.faults().add(Fault::StreamNoDone);
    assert_eq!(world.call().await.unwrap(), "swedencentral");
    assert!(world.listen(hi()).await.ended);
}

#[tokio::test]
async fn row_22_a_stream_that_never_closes_is_whole_and_let_go() {
    let world = world().await;
    world.primary.faults().add(Fault::StreamNeverCloses);
    assert_eq!(world.call().await.unwrap(), "swedencentral");
    eventually("the request is closed", async || world.primary.counters().in_flight() == 0).await;
}
