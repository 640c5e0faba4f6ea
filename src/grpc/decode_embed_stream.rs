//! The messages of an ingestion -> domain.
use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use futures_util::Stream;
use sealane_core::{domain::RoutingOptions, ingest::Item};
use tonic::{Status, Streaming};

use super::{
    Violations, decode,
    pb::{self, embed_stream_request::Event},
    status::{Refusal, broken_off, out_of_order},
};
use crate::dispatch::IngestTerms;

/// Longest id of an item, in bytes.
const LONGEST_ID: usize = 128;

/// What an ingestion was opened with.
#[derive(Debug)]
pub(super) struct Opening {
    pub(super) model: String,
    pub(super) terms: IngestTerms,
    pub(super) options: RoutingOptions,
    pub(super) encoding: pb::VectorEncoding,
}

/// The first message of an ingestion.
pub(super) fn opening(first: Option<pb::EmbedStreamRequest>) -> Result<Opening, Refusal> {
    let Some(Event::Open(open)) = first.and_then(|first| first.event) else {
        return Err(out_of_order("open", "must be the first message of the stream"));
    };
    let mut wrong = Violations::none();
    let mut routing = open.routing.unwrap_or_default();
    if routing.priority == pb::Priority::Unspecified as i32 {
        routing.priority = pb::Priority::Bulk as i32;
    }
    let options = decode::routing(Some(routing), &mut wrong);
    decode::model_name(&open.model, &mut wrong);
    let dimensions = decode::dimensions(open.dimensions, &mut wrong);
    let encoding = decode::known(open.encoding, "encoding", &mut wrong).unwrap_or_default();
    let terms = IngestTerms { dimensions, end_user_id: decode::non_empty(open.end_user_id) };
    Ok(wrong.or(Opening { model: open.model, terms, options, encoding })?)
}

/// The items that follow, until the caller half-closes.
#[derive(Debug)]
pub(super) struct Items<S = Streaming<pb::EmbedStreamRequest>>(pub(super) S);

impl<S> Stream for Items<S>
where
    S: Stream<Item = Result<pb::EmbedStreamRequest, Status>> + Unpin,
{
    type Item = Result<Item, Refusal>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Poll::Ready(match ready!(Pin::new(&mut self.0).poll_next(cx)) {
            None => None,
            Some(Ok(message)) => Some(item(message)),
            Some(Err(status)) => Some(Err(broken_off(&status))),
        })
    }
}

fn item(message: pb::EmbedStreamRequest) -> Result<Item, Refusal> {
    match message.event {
        Some(Event::Item(pb::EmbedItem { id, text })) if (1..=LONGEST_ID).contains(&id.len()) => {
            Ok(Item { id: Arc::from(id), text })
        }
        Some(Event::Item(_)) => Err(out_of_order("item.id", "must have 1 to 128 bytes")),
        Some(Event::Open(_)) => Err(out_of_order("open", "must be sent once only")),
        None => Err(out_of_order("item", "is required")),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use futures_util::{FutureExt as _, StreamExt as _};
    use sealane_core::domain::Priority;

    use super::*;

    fn open(open: pb::EmbedStreamOpen) -> Option<pb::EmbedStreamRequest> {
        Some(pb::EmbedStreamRequest { event: Some(Event::Open(open)) })
    }

    fn text(id: &str) -> pb::EmbedStreamRequest {
        pb::EmbedStreamRequest { event: Some(Event::Item(pb::EmbedItem { id: id.into(), text: "t".into() })) }
    }

    #[test]
    fn an_ingestion_is_background_work_unless_it_says_otherwise() {
        let with = |routing| pb::EmbedStreamOpen { model: "m".into(), routing, ..Default::default() };
        let interactive = pb::RoutingOptions { priority: pb::Priority::Interactive as i32, ..Default::default() };
        for (routing, expected) in [
            (None, Priority::Bulk),
            (Some(pb::RoutingOptions::default()), Priority::Bulk),
            (Some(interactive), Priority::Interactive),
        ] {
            assert_eq!(opening(open(with(routing))).unwrap().options.priority, expected);
        }
    }

    #[test]
    fn what_cannot_open_an_ingestion() {
        for first in [None, Some(pb::EmbedStreamRequest::default()), Some(text("a")), open(Default::default())] {
            assert_eq!(opening(first).unwrap_err().reason(), "INVALID_REQUEST");
        }
        let wrong = pb::EmbedStreamOpen { model: "m".into(), dimensions: Some(0), ..Default::default() };
        assert_eq!(opening(open(wrong)).unwrap_err().reason(), "INVALID_REQUEST");
    }

    #[test]
    fn what_is_no_item() {
        let next = |message| {
            let mut items = Items(futures_util::stream::iter([Ok(message)]));
            items.next().now_or_never().unwrap().unwrap().map(|item| item.id.to_string())
        };
        assert_eq!(next(text("a")).unwrap(), "a");
        assert_eq!(next(text(&"a".repeat(128))).unwrap().len(), 128);
        for message in [text(""), text(&"a".repeat(129)), open(Default::default()).unwrap(), Default::default()] {
            assert_eq!(next(message).unwrap_err().reason(), "INVALID_REQUEST");
        }
    }
}
