//! What an ingestion yields -> protobuf.
use std::sync::Arc;

use sealane_core::{
    domain::{Rejection, Vector},
    ingest::ItemFault,
};

use super::{
    Embedding, encode,
    pb::{self, embed_item_result::Outcome, embed_stream_response::Event},
};
use crate::dispatch::{Answers, IngestSummary, ItemAnswer};

/// One item's answer.
pub(super) fn answer(
    answers: &Answers,
    (id, answer): ItemAnswer,
    encoding: pb::VectorEncoding,
) -> pb::EmbedStreamResponse {
    let stated = |name: &Option<Arc<str>>| name.as_ref().map(|name| name.to_string()).unwrap_or_default();
    let embedding_space = if answer.is_ok() { stated(&answers.space) } else { String::new() };
    let outcome = match answer {
        Ok(vector) => Outcome::Embedding(embedding(vector, encoding)),
        Err(fault) => Outcome::Error(error(fault)),
    };
    let region = stated(&answers.region);
    let result = pb::EmbedItemResult { id: id.to_string(), outcome: Some(outcome), region, embedding_space };
    pb::EmbedStreamResponse { event: Some(Event::Result(result)) }
}

fn embedding(vector: Vector, encoding: pb::VectorEncoding) -> Embedding {
    let (values, packed_values) = encode::laid_out(vector, encoding);
    Embedding { index: 0, values, packed_values }
}

fn error(fault: ItemFault) -> pb::EmbedItemError {
    let too_long = "the text is longer than the model takes";
    let (reason, message) = match fault {
        ItemFault::Empty => ("INVALID_REQUEST", "the text is empty".to_owned()),
        ItemFault::TooLong | ItemFault::Rejected(Rejection::ContextLength | Rejection::TooLarge) => {
            ("CONTEXT_LENGTH_EXCEEDED", too_long.to_owned())
        }
        ItemFault::Rejected(Rejection::PromptBlocked { categories }) => {
            let told = if categories.is_empty() { String::new() } else { format!(" ({})", categories.join(", ")) };
            ("PROMPT_BLOCKED", format!("Azure's content filter blocked the text{told}"))
        }
        ItemFault::Rejected(Rejection::Invalid { code, .. }) => {
            let code = code.unwrap_or_else(|| "invalid_request_error".to_owned());
            ("INVALID_REQUEST", format!("Azure refused the text ({code})"))
        }
        ItemFault::Rejected(Rejection::OperationNotSupported | Rejection::HeadersTooLarge) => {
            ("INVALID_REQUEST", "Azure refused the text".to_owned())
        }
        ItemFault::NoUsableAnswer => {
            ("UPSTREAM_BAD_RESPONSE", "no region gave a usable answer for the text, alone or with others".to_owned())
        }
        ItemFault::NotServed => (
            "ALL_REGIONS_UNAVAILABLE",
            "every region that was asked failed on the text, over and again, while it served others".to_owned(),
        ),
    };
    pb::EmbedItemError { reason: reason.to_owned(), message }
}

/// The last message.
pub(super) fn summary(summary: IngestSummary) -> pb::EmbedStreamResponse {
    let by_region = summary.items_by_region.into_iter().map(|(region, items)| (region.to_string(), items as i64));
    let summary = pb::EmbedSummary {
        embedded_items: summary.embedded as i64,
        failed_items: summary.failed as i64,
        usage: Some(encode::usage(&summary.usage)),
        items_by_region: by_region.collect(),
        embedding_space: summary.space.map(|space| space.to_string()).unwrap_or_default(),
        dimensions: summary.dimensions as i32,
        pinned_region: summary.pinned_region.unwrap_or_default(),
        duration: encode::duration(summary.duration),
    };
    pb::EmbedStreamResponse { event: Some(Event::Summary(summary)) }
}
