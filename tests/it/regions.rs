//! The whole road over real sockets: the service as its configuration describes it, between real callers and
//! simulated Azure regions that die before, during the wait for, and in the middle of an answer.
use std::time::Duration;

use sealane::{
    grpc::pb::{self, complete_stream_response::Event, region_service_client::RegionServiceClient},
    simulator::{Fault, FaultRule},
};
use tonic::Request;

use crate::support::{
    service::{embed, eventually, hi, text, told},
    world::World,
};

fn within(limit: Duration, request: pb::CompleteRequest) -> Request<pb::CompleteRequest> {
    let mut request = Request::new(request);
    request.set_timeout(limit);
    request
}

/// Texts, region of the start, and whether the end came.
async fn listen(world: &World, request: pb::CompleteRequest) -> Result<(String, String, bool), tonic::Status> {
    let mut events = world.inference().complete_stream(request).await?.into_inner();
    let (mut text, mut region, mut ended) = (String::new(), String::new(), false);
    while let Some(event) = events.message().await? {
        match event.event.unwrap() {
            Event::Start(start) => region = start.served_by.unwrap().region,
            Event::Delta(delta) => text.push_str(&delta.text),
            Event::End(end) => ended = end.usage.is_some(),
            _ => {}
        }
    }
    Ok((text, region, ended))
}

#[tokio::test]
async fn a_call_of_every_kind_is_served_by_the_primary() {
    let world = World::start().await;
    let reply = world.inference().complete(hi()).await.unwrap().into_inner();
    let served_by = reply.served_by.clone().unwrap();
    assert_eq!((served_by.region.as_str(), served_by.reported_region.as_str()), ("swedencentral", "Sweden Central"));
    assert!(!served_by.upstream_request_id.is_empty());
    assert!(reply.model.starts_with("gpt-4o-"), "{}", reply.model);
    let unary = pb::CompleteRequest { model: "gpt-4o-unary".into(), ..hi() };
    let in_one_piece = world.inference().complete(unary).await.unwrap().into_inner();
    assert_eq!(text(&in_one_piece), text(&reply), "assembled and unary say the same");
    let (streamed, region, ended) = listen(&world, hi()).await.unwrap();
    assert_eq!((streamed, region.as_str(), ended), (text(&reply), "swedencentral", true));
    let vectors = world.inference().embed(embed(&["one", "two"])).await.unwrap().into_inner();
    assert_eq!((vectors.dimensions, vectors.embeddings.len()), (3072, 2));
    assert_eq!(vectors.embedding_space, "text-embedding-3-large/1/3072");
}

#[tokio::test]
async fn two_regions_give_the_same_vectors_on_both_path_styles() {
    let world = World::start().await;
    let at_home = world.inference().embed(embed(&["one", "two"])).await.unwrap().into_inner();
    world.primary.faults().add(Fault::Down);
    let away = world.inference().embed(embed(&["one", "two"])).await.unwrap().into_inner();
    assert_eq!(away.served_by.unwrap().region, "francecentral");
    assert_eq!(at_home.embeddings, away.embeddings);
}

#[tokio::test]
async fn a_primary_that_is_dead_before_the_call_is_not_noticed() {
    let world = World::start().await;
    world.primary.refuse_connections().await.unwrap();
    for model in ["gpt-4o", "gpt-4o-unary"] {
        let request = pb::CompleteRequest { model: model.into(), ..hi() };
        let reply = world.inference().complete(request).await.unwrap().into_inner();
        let served_by = reply.served_by.unwrap();
        assert_eq!((served_by.region.as_str(), served_by.failed_over), ("francecentral", true));
        assert_eq!(served_by.attempts[0].outcome(), pb::attempt::Outcome::ConnectFailed);
        assert_eq!(served_by.attempts[0].failure, "connection_refused");
    }
    let (_, region, ended) = listen(&world, hi()).await.unwrap();
    assert_eq!((region.as_str(), ended), ("francecentral", true));
    world.primary.accept_connections().await.unwrap();
    let reply = world.inference().complete(hi()).await.unwrap().into_inner();
    assert_eq!(reply.served_by.unwrap().region, "swedencentral");
}

#[tokio::test]
async fn a_primary_that_dies_while_it_is_waited_for_is_not_noticed() {
    let world = World::start().await;
    world.primary.faults().add(Fault::Hang);
    let silent = world.inference();
    let waiting = tokio::spawn(async move { silent.clone().complete(hi()).await });
    eventually("the call waits", async || world.primary.counters().in_flight() == 1).await;
    world.primary.faults().add(Fault::Down);
    let reply = waiting.await.unwrap().unwrap().into_inner();
    assert_eq!(reply.served_by.unwrap().region, "francecentral");
}

#[tokio::test]
async fn a_primary_that_stays_silent_is_given_up_in_time_for_the_rescue() {
    let world = World::start().await;
    world.primary.faults().add(Fault::Hang);
    let request = within(Duration::from_secs(2), hi());
    let reply = world.inference().complete(request).await.unwrap().into_inner();
    let served_by = reply.served_by.unwrap();
    assert_eq!(served_by.region, "francecentral");
    assert_eq!(served_by.attempts[0].failure, "first_content_timeout");
    eventually("the silent request is closed", async || world.primary.counters().in_flight() == 0).await;
}

#[tokio::test]
async fn a_primary_that_dies_in_the_middle_of_its_answer() {
    for fault in [Fault::StreamReset { at: 5 }, Fault::StreamError { at: 5 }] {
        let world = World::start().await;
        let undisturbed = text(&world.inference().complete(hi()).await.unwrap().into_inner());
        world.primary.faults().add(fault.clone());
        let reply = world.inference().complete(hi()).await.unwrap().into_inner();
        assert_eq!(text(&reply), undisturbed, "complete, and nothing twice: {fault:?}");
        assert_eq!(reply.served_by.unwrap().region, "francecentral");
        let cut = listen(&world, hi()).await.unwrap_err();
        assert_eq!(told(&cut), "Unavailable STREAM_INTERRUPTED", "{fault:?}");
    }
}

#[tokio::test]
async fn a_throttled_primary_cools_and_the_standby_serves_at_once() {
    let world = World::start().await;
    let rule: FaultRule = serde_json::from_value(
        serde_json::json!({ "fault": { "kind": "status", "status": 429, "retry_after": "2" }, "times": 1 }),
    )
    .unwrap();
    world.primary.faults().add(rule);
    for expected in [2, 1] {
        let served_by = world.inference().complete(hi()).await.unwrap().into_inner().served_by.unwrap();
        assert_eq!((served_by.region.as_str(), served_by.attempts.len()), ("francecentral", expected));
    }
    let mut regions = RegionServiceClient::new(world.channel.clone());
    let status = regions.region_status(pb::RegionStatusRequest::default()).await.unwrap().into_inner();
    let cooling = status
        .regions
        .iter()
        .flat_map(|region| &region.targets)
        .filter(|target| target.overlay() == pb::Overlay::Cooling);
    assert_eq!(cooling.map(|target| target.deployment.as_str()).collect::<Vec<_>>(), ["gpt-4o"]);
    eventually("the primary serves again", async || {
        world.inference().complete(hi()).await.unwrap().into_inner().served_by.unwrap().region == "swedencentral"
    })
    .await;
}

#[tokio::test]
async fn a_watcher_is_told_how_a_primary_fails_and_why_it_went_out() {
    let world = World::start().await;
    let mut regions = RegionServiceClient::new(world.channel.clone());
    let request = pb::WatchRegionStatusRequest {
        region: "swedencentral".into(),
        model: "gpt-4o".into(),
        max_interval: Some(prost_types::Duration { seconds: 600, nanos: 0 }),
    };
    let mut watch = regions.watch_region_status(request).await.unwrap().into_inner();
    watch.message().await.unwrap().unwrap();
    world.primary.faults().add(Fault::Down);
    for _ in 0..5 {
        let reply = world.inference().complete(hi()).await.unwrap().into_inner();
        assert_eq!(reply.served_by.unwrap().region, "francecentral", "nobody sees an error meanwhile");
    }
    // Bounded by the transition itself: the longest silence is 10 min.
    let status = loop {
        let status = watch.message().await.unwrap().unwrap().status.unwrap();
        if status.regions[0].targets[0].standing() == pb::Standing::Out {
            break status;
        }
    };
    let target = &status.regions[0].targets[0];
    assert!(target.standing_reason.starts_with("all 3 test calls failed, the last: "), "{}", target.standing_reason);
    assert_eq!((target.out_level, target.traffic_share, target.test_calls), (1, 0.0, 3));
    assert!(target.next_step.starts_with("hold ends; 0 of 6"), "{}", target.next_step);
    let [since, next] =
        [&target.standing_since_time, &target.next_step_time].map(|time| time.as_ref().unwrap().seconds);
    assert!((50..=70).contains(&(next - since)), "a hold of 60 s, jittered by 10 %: {}", next - since);
    assert_eq!(status.models[0].active_region, "francecentral");
    let told: Vec<_> = status.transitions.iter().map(|one| (one.from_standing(), one.to_standing())).collect();
    let [serving, suspected, out] = [pb::Standing::Serving, pb::Standing::Suspected, pb::Standing::Out];
    assert_eq!(told, [(suspected, out), (serving, suspected)], "newest first");
    let first = &status.transitions[1];
    assert!(first.reason.starts_with("5 failures in a row, the last: "), "{}", first.reason);
}

#[tokio::test]
async fn a_call_that_is_dropped_closes_its_request_upstream() {
    let world = World::start().await;
    world.primary.faults().add(Fault::Hang);
    let client = world.inference();
    let call = tokio::spawn(async move { client.clone().complete(hi()).await });
    eventually("the request is under way", async || world.primary.counters().in_flight() == 1).await;
    call.abort();
    eventually("the request is closed", async || world.primary.counters().in_flight() == 0).await;
    assert_eq!(world.standby.counters().in_flight(), 0, "nobody rescues a call that nobody waits for");
}

#[tokio::test]
async fn nothing_goes_to_a_region_that_the_request_excludes() {
    let world = World::start().await;
    world.primary.faults().add(Fault::Down);
    let routing = pb::RoutingOptions { allowed_regions: vec!["swedencentral".into()], ..Default::default() };
    let request = pb::CompleteRequest { routing: Some(routing), ..hi() };
    let status = world.inference().complete(request).await.unwrap_err();
    assert_eq!(told(&status), "Unavailable ALL_REGIONS_UNAVAILABLE");
    assert_eq!(world.standby.counters().bytes_received(), 0);
}
