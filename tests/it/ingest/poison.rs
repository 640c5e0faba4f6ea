//! A text that cannot be embedded costs only itself.
use sealane::{
    grpc::pb,
    simulator::{ErrorBody, Fault, FaultRule, Operation, PROMPT_BLOCK_WORD},
};

use super::{Talk, chunks, ingest, item, open, opening};
use crate::support::{
    service::{eventually, told},
    world::{Setup, World},
};

#[tokio::test]
async fn a_poison_text_in_the_middle_of_a_large_batch_costs_only_itself() {
    let world = World::start().await;
    let blocked = item("blocked", format!("a text with {PROMPT_BLOCK_WORD} in it"));
    let too_long = item("too long", "word ".repeat(8192 * 4 / 5 + 1));
    let messages = std::iter::once(opening(open()))
        .chain(chunks(700))
        .chain([blocked])
        .chain(chunks(1400).skip(700))
        .chain([too_long])
        .chain(chunks(2000).skip(1400));
    let heard = ingest(world.inference(), messages).await.whole(2002);
    assert_eq!(heard.vectors.len(), 2000);
    let expected = [("blocked", "PROMPT_BLOCKED"), ("too long", "CONTEXT_LENGTH_EXCEEDED")];
    assert_eq!(heard.errors, expected.map(|(id, reason)| (id.to_owned(), reason.to_owned())).into());
    // Two of 2 002: about 2 log2 n calls for each of them.
    let calls = world.primary.counters().requests(Operation::Embeddings);
    assert!(calls <= 60, "{calls} calls");
    assert_eq!(world.standby.counters().requests(Operation::Embeddings), 0, "no other region would take it");
}

#[tokio::test]
async fn what_is_known_to_be_unusable_is_refused_without_a_call() {
    let world = World::start().await;
    let messages = [opening(open()), item("empty", ""), item("endless", "x".repeat(200_000)), item("a", "text")];
    let heard = ingest(world.inference(), messages).await.whole(3);
    assert_eq!(heard.errors["empty"], "INVALID_REQUEST");
    assert_eq!(heard.errors["endless"], "CONTEXT_LENGTH_EXCEEDED");
    assert_eq!(world.primary.counters().requests(Operation::Embeddings), 1);
    let summary = heard.summary.unwrap();
    assert_eq!((summary.embedded_items, summary.failed_items), (1, 2));
}

/// What no region is to survive: a body as large as [`killer`]'s alone.
fn on_the_killer(fault: Fault) -> FaultRule {
    FaultRule::from(fault).on_operation(Operation::Embeddings).on_bodies_from(25_000)
}

fn killer() -> pb::EmbedStreamRequest {
    item("killer", "word ".repeat(5_000))
}

fn status(status: u16) -> Fault {
    Fault::Status { status, retry_after: None, retry_after_ms: None, body: ErrorBody::Json }
}

#[tokio::test]
async fn a_text_that_no_region_survives_costs_only_itself() {
    for (fault, reason) in [(status(500), "ALL_REGIONS_UNAVAILABLE"), (Fault::EmptyAnswer, "UPSTREAM_BAD_RESPONSE")] {
        let world = World::of(Setup::quick()).await;
        for region in [&world.primary, &world.standby] {
            region.faults().add(on_the_killer(fault.clone()));
        }
        let messages = std::iter::once(opening(open())).chain(chunks(80)).chain([killer()]);
        let messages = messages.chain(chunks(160).skip(80));
        let heard = ingest(world.inference(), messages).await.whole(161);
        assert_eq!(heard.errors, [("killer".to_owned(), reason.to_owned())].into(), "{fault:?}");
    }
}

#[tokio::test]
async fn a_text_that_no_region_survives_does_not_keep_others_waiting() {
    let world = World::of(Setup::quick()).await;
    for region in [&world.primary, &world.standby] {
        region.faults().add(on_the_killer(status(500)));
    }
    let mut talk = Talk::start(world.inference()).await;
    talk.say(killer()).await;
    eventually("it was refused", async || world.standby.counters().requests(Operation::Embeddings) > 0).await;
    // While others are served, each further failure speaks against it.
    for at in 0..100 {
        talk.say(item(format!("{at}"), "text")).await;
        if talk.answer().await.id == "killer" {
            assert!(at > 1, "others were served first");
            assert_eq!(talk.rest().await.vectors.keys().collect::<Vec<_>>(), [&at.to_string()]);
            return;
        }
    }
    panic!("it is never given up");
}

#[tokio::test]
async fn a_refusal_of_every_text_ends_the_ingestion() {
    let world = World::start().await;
    world.primary.faults().add(FaultRule::from(status(400)).on_operation(Operation::Embeddings));
    let heard = ingest(world.inference(), std::iter::once(opening(open())).chain(chunks(1000))).await;
    assert_eq!(told(heard.status.as_ref().unwrap()), "InvalidArgument INVALID_REQUEST");
    assert!((1..64).contains(&heard.answered()), "{}", heard.answered());
    let calls = world.primary.counters().requests(Operation::Embeddings);
    assert!(calls < 250, "{calls} calls");
}
