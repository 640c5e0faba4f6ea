//! A text that cannot be embedded costs only itself.
use sealane::simulator::{Operation, PROMPT_BLOCK_WORD};

use super::{chunks, ingest, item, open, opening};
use crate::support::world::World;

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
