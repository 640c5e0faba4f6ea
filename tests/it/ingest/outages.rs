//! Regions that die, throttle and return in the middle.
use std::time::Duration;

use sealane::simulator::{Fault, Operation};

use super::{Heard, Talk, chunks, ingest, ingest_chunks, item, open, opening};
use crate::support::{
    service::{eventually, told},
    world::{Setup, World},
};

/// An ingestion that is listened to while its test goes on speaking.
struct Dictation {
    talk: Talk,
    messages: Box<dyn Iterator<Item = sealane::grpc::pb::EmbedStreamRequest> + Send>,
}

impl Dictation {
    async fn of(world: &World, count: usize) -> (Self, tokio::task::JoinHandle<Heard>) {
        let mut talk = Talk::start(world.inference()).await;
        let listening = tokio::spawn(Heard::default().listen(talk.take_events()));
        (Self { talk, messages: Box::new(chunks(count)) }, listening)
    }

    async fn say(&mut self, count: usize) {
        for message in self.messages.by_ref().take(count) {
            self.talk.say(message).await;
        }
    }
}

#[tokio::test]
async fn twenty_thousand_chunks_survive_a_primary_that_dies_throttles_and_returns() {
    let world = World::of(Setup::quick()).await;
    let undisturbed = ingest_chunks(&world, 20_000).await;
    let (mut dictation, listening) = Dictation::of(&world, 20_000).await;
    // At most 4 096 wait: each time the others are answered already, and some are under way.
    dictation.say(6_000).await;
    world.primary.faults().set(vec![Fault::Down.into()]);
    dictation.say(6_000).await;
    world.primary.faults().set(vec![Fault::Throttle { retry_after_seconds: 1 }.into()]);
    dictation.say(6_000).await;
    world.primary.faults().clear();
    dictation.say(2_000).await;
    drop(dictation);
    let heard = listening.await.unwrap().whole(20_000);
    assert_eq!(heard.vectors, undisturbed.vectors);
    let regions = heard.summary.unwrap().items_by_region;
    assert!(regions["swedencentral"] > 0 && regions["francecentral"] > 0, "{regions:?}");
}

#[tokio::test]
async fn what_no_region_can_serve_is_kept_until_one_can() {
    let world = World::of(Setup::quick()).await;
    let (mut dictation, listening) = Dictation::of(&world, 2_000).await;
    dictation.say(500).await;
    let both = [&world.primary, &world.standby];
    both.iter().for_each(|region| region.faults().add(Fault::Down));
    dictation.say(1_500).await;
    eventually("both were asked", async || {
        both.iter().all(|region| region.counters().requests(Operation::Embeddings) > 1)
    })
    .await;
    // Long enough for several tries.
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert!(!listening.is_finished());
    both.iter().for_each(|region| region.faults().clear());
    drop(dictation);
    listening.await.unwrap().whole(2_000);
}

#[tokio::test]
async fn where_every_region_throttles_the_batch_waits_for_them() {
    let world = World::of(Setup::quick()).await;
    for region in [&world.primary, &world.standby] {
        region
            .faults()
            .add(sealane::simulator::FaultRule::from(Fault::Throttle { retry_after_seconds: 1 }).for_next(2));
    }
    let heard = ingest_chunks(&world, 10).await;
    assert_eq!(heard.vectors.len(), 10);
}

#[tokio::test]
async fn a_quota_smaller_than_a_batch_makes_the_batches_smaller() {
    let mut setup = Setup::quick();
    for region in [&mut setup.primary, &mut setup.standby] {
        region.deployments.iter_mut().for_each(|deployment| deployment.tokens_per_minute = 20_000);
    }
    let world = World::of(setup).await;
    // 24 000 tokens at once, which neither region ever takes, and both together do in two parts each.
    let texts = (0..24).map(|at| item(format!("{at}"), format!("{at:0>4000}")));
    let heard = ingest(world.inference(), std::iter::once(opening(open())).chain(texts)).await.whole(24);
    assert_eq!(heard.vectors.len(), 24);
}

#[tokio::test]
async fn a_workflow_stays_where_it_went_and_the_summary_says_where() {
    let world = World::of(Setup::quick()).await;
    let routing = sealane::grpc::pb::RoutingOptions { workflow_id: "run-1".into(), ..Default::default() };
    let opened = sealane::grpc::pb::EmbedStreamOpen { routing: Some(routing), ..super::open() };
    let mut talk = Talk::start_as(world.inference(), tonic::Request::new(()), opened).await;
    talk.say(item("a", "text")).await;
    assert_eq!(talk.answer().await.region, "swedencentral");
    let summary = talk.rest().await.summary.unwrap();
    assert_eq!(summary.pinned_region, "swedencentral");
}

#[tokio::test]
async fn credentials_that_were_good_are_waited_for_and_those_that_never_were_are_not() {
    let world = World::of(Setup::quick()).await;
    let refuse = || {
        for region in [&world.primary, &world.standby] {
            let body = sealane::simulator::ErrorBody::Json;
            region.faults().add(Fault::Status { status: 401, retry_after: None, retry_after_ms: None, body });
        }
    };
    let mut talk = Talk::start(world.inference()).await;
    talk.say(item("a", "text")).await;
    assert_eq!(talk.answer().await.id, "a");
    refuse();
    talk.say(item("b", "text")).await;
    let asked = || world.standby.counters().requests(Operation::Embeddings);
    eventually("both have refused it", async || asked() > 1).await;
    let never = ingest(world.inference(), [opening(open()), item("c", "text")]).await;
    assert_eq!(told(never.status.as_ref().unwrap()), "Internal UPSTREAM_AUTH_FAILED");
    [&world.primary, &world.standby].iter().for_each(|region| region.faults().clear());
    assert_eq!(talk.answer().await.id, "b");
}
