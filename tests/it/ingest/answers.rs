//! What comes back when nothing goes wrong.
use std::time::Duration;

use sealane::grpc::pb::{self, VectorEncoding};

use super::{MODEL, Talk, chunks, ingest, ingest_chunks, item, open, opening, text_of};
use crate::support::world::World;

#[tokio::test]
async fn every_text_gets_the_vector_that_embed_gives_it() {
    let world = World::start().await;
    let heard = ingest_chunks(&world, 300).await;
    let request = pb::EmbedRequest {
        model: MODEL.into(),
        inputs: (0..300).map(text_of).collect(),
        dimensions: Some(8),
        ..Default::default()
    };
    let reply = world.inference().embed(request).await.unwrap().into_inner();
    for (at, embedding) in reply.embeddings.iter().enumerate() {
        assert_eq!(heard.vectors[&format!("chunk-{at}")], embedding.values);
    }
    let summary = heard.summary.unwrap();
    assert_eq!((summary.dimensions, &summary.embedding_space), (8, &reply.embedding_space));
    assert_eq!(summary.usage.unwrap().total_tokens, reply.usage.unwrap().total_tokens);
    assert_eq!(summary.items_by_region, [("swedencentral".to_owned(), 300)].into());
    assert!(summary.duration.is_some());
}

#[tokio::test]
async fn vectors_come_as_bytes_where_bytes_are_asked_for() {
    let world = World::start().await;
    let floats = ingest(world.inference(), [opening(open()), item("a", "text")]).await.whole(1);
    let encoding = VectorEncoding::Float32LeBytes as i32;
    let mut talk =
        Talk::start_as(world.inference(), tonic::Request::new(()), pb::EmbedStreamOpen { encoding, ..open() }).await;
    talk.say(item("a", "text")).await;
    let Some(pb::embed_item_result::Outcome::Embedding(vector)) = talk.answer().await.outcome else { panic!() };
    assert_eq!((vector.values.len(), &vector.packed_values), (0, &floats.vectors["a"]));
}

#[tokio::test]
async fn a_partial_batch_leaves_before_the_caller_half_closes() {
    let world = World::start().await;
    let mut talk = Talk::start(world.inference()).await;
    for at in 0..3 {
        talk.say(item(format!("{at}"), "text")).await;
        let answer = talk.answer().await;
        assert_eq!((answer.id, &*answer.region), (format!("{at}"), "swedencentral"));
    }
    let heard = talk.rest().await;
    assert_eq!(heard.summary.unwrap().embedded_items, 3);
}

#[tokio::test]
async fn an_answered_id_may_be_used_again() {
    let world = World::start().await;
    let mut talk = Talk::start(world.inference()).await;
    for _ in 0..2 {
        talk.say(item("a", "text")).await;
        assert_eq!(talk.answer().await.id, "a");
    }
}

#[tokio::test]
async fn an_ingestion_of_nothing_ends_with_an_empty_summary() {
    let world = World::start().await;
    let heard = ingest(world.inference(), [opening(open())]).await.whole(0);
    let summary = heard.summary.unwrap();
    assert_eq!((summary.embedded_items, summary.dimensions, &*summary.embedding_space), (0, 0, ""));
}

#[tokio::test]
async fn a_small_text_does_not_wait_for_a_batch_that_takes_long() {
    let world = World::start().await;
    let mut talk = Talk::start(world.inference()).await;
    world.primary.faults().add(slow_for_large_bodies());
    for message in chunks(100) {
        talk.say(message).await;
    }
    // Longer than a partial batch waits for more.
    tokio::time::sleep(Duration::from_millis(200)).await;
    talk.say(item("late", "text")).await;
    assert_eq!(talk.answer().await.id, "late", "answers come as they finish");
    let heard = talk.rest().await;
    assert_eq!(heard.vectors.len(), 100);
}

fn slow_for_large_bodies() -> sealane::simulator::FaultRule {
    use sealane::simulator::{Fault, FaultRule, Latency};
    let latency = Latency { first_byte_ms: 1500, ..Latency::default() };
    FaultRule::from(Fault::Latency(latency)).on_bodies_from(1000)
}
