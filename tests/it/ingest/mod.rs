//! `EmbedStream`: any number of texts in, vectors out, each exactly once, whatever the regions do meanwhile.
mod answers;
mod caller;
mod outages;
mod poison;
mod records;

use std::collections::BTreeMap;

use futures_util::stream;
use sealane::grpc::pb::{
    self, embed_item_result::Outcome, embed_stream_request, embed_stream_response::Event,
    inference_service_client::InferenceServiceClient,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Status, Streaming, transport::Channel};

use crate::support::world::World;

const MODEL: &str = "text-embedding-3-large";

/// Small vectors, so that thousands are quick.
fn open() -> pb::EmbedStreamOpen {
    pb::EmbedStreamOpen { model: MODEL.into(), dimensions: Some(8), ..Default::default() }
}

fn opening(open: pb::EmbedStreamOpen) -> pb::EmbedStreamRequest {
    pb::EmbedStreamRequest { event: Some(embed_stream_request::Event::Open(open)) }
}

fn item(id: impl Into<String>, text: impl Into<String>) -> pb::EmbedStreamRequest {
    let item = pb::EmbedItem { id: id.into(), text: text.into() };
    pb::EmbedStreamRequest { event: Some(embed_stream_request::Event::Item(item)) }
}

/// `chunk-0` and so on, each with a text of its own.
fn chunks(count: usize) -> impl Iterator<Item = pb::EmbedStreamRequest> + Send + 'static {
    (0..count).map(|at| item(format!("chunk-{at}"), text_of(at)))
}

fn text_of(at: usize) -> String {
    format!("This is what stands in chunk {at} of the book.")
}

/// What a caller of an ingestion has heard.
#[derive(Debug, Default)]
struct Heard {
    vectors: BTreeMap<String, Vec<u8>>,
    errors: BTreeMap<String, String>,
    /// Answers that were not the first for their id.
    doubled: usize,
    summary: Option<pb::EmbedSummary>,
    status: Option<Status>,
}

impl Heard {
    fn answered(&self) -> usize {
        self.vectors.len() + self.errors.len()
    }

    fn hear(&mut self, result: pb::EmbedItemResult) {
        let known = self.vectors.contains_key(&result.id) || self.errors.contains_key(&result.id);
        self.doubled += usize::from(known);
        match result.outcome.unwrap() {
            Outcome::Embedding(vector) => drop(self.vectors.insert(result.id, vector.values)),
            Outcome::Error(error) => drop(self.errors.insert(result.id, error.reason)),
        }
    }

    async fn listen(mut self, mut events: Streaming<pb::EmbedStreamResponse>) -> Self {
        loop {
            match events.message().await {
                Ok(Some(event)) => match event.event.unwrap() {
                    Event::Result(result) => self.hear(result),
                    Event::Summary(summary) => {
                        assert!(self.summary.replace(summary).is_none(), "two summaries");
                    }
                },
                Ok(None) => return self,
                Err(status) => return Self { status: Some(status), ..self },
            }
        }
    }

    /// Whole, with every id exactly once.
    fn whole(self, count: usize) -> Self {
        assert!(self.status.is_none(), "{:?}", self.status);
        let summary = self.summary.as_ref().expect("a summary");
        assert_eq!((self.answered(), self.doubled), (count, 0));
        assert_eq!(summary.embedded_items as usize, self.vectors.len());
        assert_eq!(summary.failed_items as usize, self.errors.len());
        assert_eq!(summary.items_by_region.values().sum::<i64>(), summary.embedded_items);
        self
    }
}

/// Sends these messages, half-closes and listens to the end.
async fn ingest(
    mut client: InferenceServiceClient<Channel>,
    messages: impl IntoIterator<Item = pb::EmbedStreamRequest, IntoIter: Send + 'static>,
) -> Heard {
    match client.embed_stream(stream::iter(messages)).await {
        Ok(events) => Heard::default().listen(events.into_inner()).await,
        Err(status) => Heard { status: Some(status), ..Heard::default() },
    }
}

/// The same for so many chunks.
async fn ingest_chunks(world: &World, count: usize) -> Heard {
    ingest(world.inference(), std::iter::once(opening(open())).chain(chunks(count))).await.whole(count)
}

/// An ingestion whose test says what comes when.
struct Talk {
    say: Option<mpsc::Sender<pb::EmbedStreamRequest>>,
    /// `None` once somebody else listens.
    events: Option<Streaming<pb::EmbedStreamResponse>>,
}

impl Talk {
    async fn start(client: InferenceServiceClient<Channel>) -> Self {
        Self::start_as(client, Request::new(()), open()).await
    }

    /// With the metadata of `request`.
    async fn start_as(
        mut client: InferenceServiceClient<Channel>,
        request: Request<()>,
        open: pb::EmbedStreamOpen,
    ) -> Self {
        let (say, said) = mpsc::channel(64);
        // The reply is there before anything was said: callers may wait for it.
        let request = request.map(|()| ReceiverStream::new(said));
        let events = client.embed_stream(request).await.unwrap().into_inner();
        let talk = Self { say: Some(say), events: Some(events) };
        talk.say(opening(open)).await;
        talk
    }

    async fn say(&self, message: pb::EmbedStreamRequest) {
        self.say.as_ref().unwrap().send(message).await.unwrap();
    }

    fn half_close(&mut self) {
        self.say = None;
    }

    fn take_events(&mut self) -> Streaming<pb::EmbedStreamResponse> {
        self.events.take().unwrap()
    }

    async fn answer(&mut self) -> pb::EmbedItemResult {
        match self.events.as_mut().unwrap().message().await.unwrap().unwrap().event.unwrap() {
            Event::Result(result) => result,
            Event::Summary(summary) => panic!("an answer, not {summary:?}"),
        }
    }

    async fn rest(mut self) -> Heard {
        self.half_close();
        Heard::default().listen(self.take_events()).await
    }
}
