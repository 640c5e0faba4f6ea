//! What the caller may do wrong, may not do, and may leave undone.
use std::time::Duration;

use sealane::{
    grpc::pb::{self, inference_service_client::InferenceServiceClient},
    identity::CallerSettings,
    simulator::{Fault, Latency},
};
use sealane_core::quota::Allowance;
use tokio::time::timeout;
use tonic::{Request, transport::Channel};

use super::{Heard, MODEL, Talk, chunks, ingest, item, open, opening};
use crate::support::{
    scripted::{Line, Scripted},
    service::{Service, Wanted, caller, embed, eventually, told, with_token},
    world::World,
};

fn end(heard: &Heard) -> String {
    told(heard.status.as_ref().expect("an error"))
}

fn slow(first_byte_ms: u64) -> Fault {
    Fault::Latency(Latency { first_byte_ms, ..Latency::default() })
}

#[tokio::test]
async fn a_stream_that_makes_no_sense_is_refused_with_the_field_at_fault() {
    let world = World::start().await;
    let long_id = "x".repeat(129);
    for (messages, told) in [
        (vec![], "open must be the first message"),
        (vec![item("a", "text")], "open must be the first message"),
        (vec![opening(pb::EmbedStreamOpen::default())], "model is required"),
        (vec![opening(open()), opening(open())], "open must be sent once only"),
        (vec![opening(open()), item("", "text")], "item.id must have 1 to 128 bytes"),
        (vec![opening(open()), item(&long_id, "text")], "item.id must have 1 to 128 bytes"),
        (vec![opening(open()), pb::EmbedStreamRequest::default()], "item is required"),
    ] {
        let heard = ingest(world.inference(), messages).await;
        assert_eq!(end(&heard), "InvalidArgument INVALID_REQUEST");
        let message = heard.status.unwrap().message().to_owned();
        assert!(message.starts_with(told), "{message}");
    }
}

#[tokio::test]
async fn what_can_never_be_served_ends_the_stream() {
    let world = World::start().await;
    let narrowed = pb::RoutingOptions { data_boundary: "us".into(), ..Default::default() };
    for (opened, expected) in [
        (pb::EmbedStreamOpen { model: "nonesuch".into(), ..open() }, "NotFound MODEL_NOT_CONFIGURED"),
        (pb::EmbedStreamOpen { model: "gpt-4o".into(), ..open() }, "InvalidArgument INVALID_REQUEST"),
        (pb::EmbedStreamOpen { routing: Some(narrowed), ..open() }, "FailedPrecondition NO_ELIGIBLE_REGION"),
        (pb::EmbedStreamOpen { dimensions: Some(4000), ..open() }, "InvalidArgument INVALID_REQUEST"),
    ] {
        let heard = ingest(world.inference(), [opening(opened), item("a", "text")]).await;
        assert_eq!((end(&heard), heard.answered()), (expected.to_owned(), 0));
    }
}

#[tokio::test]
async fn a_doubled_id_ends_the_stream_after_what_came_before_it() {
    let world = World::start().await;
    world.primary.faults().add(slow(300));
    let messages = [opening(open()), item("a", "one"), item("b", "two"), item("a", "three"), item("c", "four")];
    let heard = ingest(world.inference(), messages).await;
    assert_eq!(end(&heard), "InvalidArgument INVALID_REQUEST");
    assert!(heard.status.as_ref().unwrap().message().contains("\"a\""), "{:?}", heard.status);
    assert_eq!(heard.vectors.keys().collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(heard.doubled, 0);
}

#[tokio::test]
async fn a_caller_that_does_not_read_is_not_read_from() {
    let world = World::start().await;
    // Vectors of 4 KiB and texts of 2 KiB.
    let opened = pb::EmbedStreamOpen { dimensions: Some(1024), ..open() };
    let mut talk = Talk::start_as(world.inference(), Request::new(()), opened).await;
    let text = "text".repeat(512);
    let mut said = 0;
    let mut take = async |talk: &mut Talk| {
        let message = item(format!("{said}"), text.clone());
        let sent = timeout(Duration::from_secs(1), talk.say(message)).await.is_ok();
        said += usize::from(sent);
        sent
    };
    while take(&mut talk).await {}
    // 4 096 in the window; what is beyond lies in the buffers of two HTTP/2 connections' ends.
    assert!((4_000..6_000).contains(&said), "{said}");
    let embedded = world.primary.counters().bytes_received() / 2_100;
    assert!(embedded < 3_500, "{embedded}: no more is asked for while 8 MiB of vectors wait");
    let heard = talk.rest().await.whole(said);
    assert_eq!(heard.vectors.len(), said, "and nothing is lost");
}

#[tokio::test]
async fn a_caller_that_leaves_frees_everything() {
    let world = World::start().await;
    world.primary.faults().add(Fault::Hang);
    let talk = Talk::start(world.inference()).await;
    for message in chunks(50) {
        talk.say(message).await;
    }
    eventually("a batch is under way", async || world.primary.counters().in_flight() > 0).await;
    assert!(world.target(MODEL, "swedencentral").await.in_flight_calls > 0);
    drop(talk);
    eventually("the request upstream is closed", async || world.primary.counters().in_flight() == 0).await;
    eventually("the place is free", async || world.target(MODEL, "swedencentral").await.in_flight_calls == 0).await;
}

#[tokio::test]
async fn the_deadline_ends_it_whether_it_is_read_or_not() {
    let world = World::start().await;
    for region in [&world.primary, &world.standby] {
        region.faults().add(Fault::Hang);
    }
    let mut request = Request::new(());
    request.metadata_mut().insert("grpc-timeout", "400m".parse().unwrap());
    let talk = Talk::start_as(world.inference(), request, open()).await;
    talk.say(item("a", "text")).await;
    eventually("a batch is under way", async || world.primary.counters().in_flight() > 0).await;
    eventually("it is given up", async || world.primary.counters().in_flight() == 0).await;
    let heard = talk.rest().await;
    assert_eq!(end(&heard), "DeadlineExceeded DEADLINE_EXCEEDED");
    assert!(heard.status.unwrap().message().contains("1 items unanswered"));
}

const TOKEN: &str = "token-of-the-limited-one";

async fn limited(allowance: Allowance, models: Option<Vec<&str>>) -> Service {
    let models = models.map(|names| names.into_iter().map(Into::into).collect());
    let callers = vec![CallerSettings { allowance, models, ..caller("limited", TOKEN) }];
    Service::start_as(Scripted::default(), Wanted { callers, ..Wanted::default() }).await
}

async fn limited_talk(client: InferenceServiceClient<Channel>) -> Talk {
    Talk::start_as(client, with_token(TOKEN, ()), pb::EmbedStreamOpen { dimensions: None, ..open() }).await
}

#[tokio::test]
async fn a_caller_over_its_limit_is_paced_and_not_refused() {
    let one_a_second = Allowance { calls_per_minute: Some(60), ..Allowance::default() };
    let service = limited(one_a_second, None).await;
    let mut client = service.inference().await;
    while client.embed(with_token(TOKEN, embed(&["text"]))).await.is_ok() {}
    let talk = limited_talk(client).await;
    talk.say(item("a", "text")).await;
    assert_eq!(talk.rest().await.whole(1).vectors.len(), 1);
}

#[tokio::test]
async fn a_caller_with_one_call_at_a_time_has_one_batch_at_a_time() {
    let service = limited(Allowance { calls_in_flight: Some(1), ..Allowance::default() }, None).await;
    let talk = limited_talk(service.inference().await).await;
    for message in chunks(5_000) {
        talk.say(message).await;
    }
    talk.rest().await.whole(5_000);
}

#[tokio::test]
async fn a_caller_without_any_allowance_is_told_so() {
    let service = limited(Allowance { calls_per_minute: Some(0), ..Allowance::default() }, None).await;
    let talk = limited_talk(service.inference().await).await;
    talk.say(item("a", "text")).await;
    assert_eq!(end(&talk.rest().await), "ResourceExhausted CALLER_QUOTA_EXCEEDED");
}

#[tokio::test]
async fn a_caller_keeps_to_its_models() {
    let service = limited(Allowance::default(), Some(vec!["gpt-4o"])).await;
    let talk = limited_talk(service.inference().await).await;
    assert_eq!(end(&talk.rest().await), "PermissionDenied MODEL_NOT_ALLOWED");
    let stranger = service.inference().await.embed_stream(futures_util::stream::iter([])).await.unwrap_err();
    assert_eq!(told(&stranger), "Unauthenticated MISSING_TOKEN");
}

#[tokio::test]
async fn a_replica_that_stops_says_so_when_its_time_is_over() {
    let upstream = Scripted::default().with("swedencentral", [Line::Hangs]).with("francecentral", [Line::Hangs]);
    let wanted = Wanted { drain_grace: Duration::from_millis(100), ..Wanted::default() };
    let mut service = Service::start_as(upstream, wanted).await;
    let open = pb::EmbedStreamOpen { dimensions: None, ..open() };
    let mut talk = Talk::start_as(service.inference().await, Request::new(()), open).await;
    talk.say(item("a", "text")).await;
    eventually("a batch is under way", async || service.upstream.open() > 0).await;
    service.drain();
    assert_eq!(end(&Heard::default().listen(talk.take_events()).await), "Unavailable DRAINING");
    eventually("its calls are given back", async || service.upstream.open() == 0).await;
}
