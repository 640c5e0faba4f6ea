//! One ingestion over as many streams as it takes: a stream that breaks is opened again, and only what has no answer is
//! sent again.
use std::{
    collections::{HashMap, VecDeque},
    iter::Peekable,
    pin::pin,
    time::{Duration, Instant},
};

use anyhow::anyhow;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use tokio::sync::mpsc;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use super::{
    failures::{Failed, Failures},
    input::{Input, Item, Items},
    output::Output,
    progress::{Count, Progress},
    summary::Totals,
};
use crate::{
    cli::{client::Connection, outcome::Failure},
    grpc::{
        DOMAIN,
        pb::{
            self, embed_item_result::Outcome, embed_stream_request, embed_stream_response::Event,
            inference_service_client::InferenceServiceClient,
        },
    },
};

/// Items without an answer, and bytes of their texts: more than the service takes at once (4096, 8 MiB), so that it never
/// waits for us.
const MOST_UNANSWERED: usize = 8192;
const MOST_UNANSWERED_BYTES: usize = 16 << 20;
/// Messages between us and the connection.
const SEND_QUEUE: usize = 64;
/// Between two looks at the bar, and two writes to the disk: what a kill may cost.
const SHOW_INTERVAL: Duration = Duration::from_millis(200);
const COMMIT_INTERVAL: Duration = Duration::from_secs(1);
/// Between two attempts to open a stream: doubles from the one to the other.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// How an ingestion ended that may go on as it is.
#[derive(Debug)]
pub(super) enum Ended {
    /// Every item has its answer.
    Whole,
    /// A person stopped it.
    Stopped,
    /// What broke the stream may pass, but was waited for long enough.
    GivenUp(Failure),
}

/// A running ingestion.
pub(super) struct Ingestion<'a> {
    pub(super) open: pb::EmbedStreamOpen,
    /// Longest time without a connection.
    pub(super) patience: Duration,
    pub(super) source: Source<'a>,
    pub(super) output: Output,
    pub(super) failures: Failures,
    pub(super) progress: Progress,
    pub(super) count: Count,
    pub(super) totals: Totals,
}

/// Why a stream ended.
enum StreamEnd {
    Ended(Ended),
    Broken(Box<Status>),
}

impl Ingestion<'_> {
    /// Works until all is answered, `stop` resolves, or going on is of no use. What was answered is on disk then.
    ///
    /// # Errors
    /// When the same command would fail again, unless something is mended before.
    pub(super) async fn run(
        &mut self,
        connection: &Connection,
        stop: impl Future<Output = ()>,
    ) -> Result<Ended, Failure> {
        let mut stop = pin!(stop);
        let (mut pause, mut broken_since) = (FIRST_PAUSE, None);
        let ended = loop {
            let (opened, answers) = (Instant::now(), self.count);
            let end = self.stream(connection, stop.as_mut()).await;
            self.output.commit()?;
            self.source.again();
            let status = match end? {
                StreamEnd::Ended(ended) => break ended,
                StreamEnd::Broken(status) => *status,
            };
            if self.count != answers || opened.elapsed() > LONGEST_PAUSE {
                (pause, broken_since) = (FIRST_PAUSE, None);
            }
            let since = *broken_since.get_or_insert_with(Instant::now);
            if !may_pass(&status) {
                return Err(status.into());
            }
            if since.elapsed() > self.patience {
                break Ended::GivenUp(status.into());
            }
            let hint = status.get_error_details().retry_info().and_then(|info| info.retry_delay);
            let wait = hint.map_or(pause, |hint| hint.clamp(pause, self.patience));
            self.progress.say(&format!(
                "the stream broke ({}); opening it again in {:.1} s, {} items without an answer are sent again",
                status.message(),
                wait.as_secs_f64(),
                self.source.unanswered(),
            ));
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = &mut stop => break Ended::Stopped,
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        };
        Ok(ended)
    }

    async fn stream(
        &mut self,
        connection: &Connection,
        mut stop: impl Future<Output = ()> + Unpin,
    ) -> Result<StreamEnd, Failure> {
        let (sender, mut receiver) = mpsc::channel(SEND_QUEUE);
        let open = pb::EmbedStreamRequest { event: Some(embed_stream_request::Event::Open(self.open.clone())) };
        // The queue is empty and its other end is here.
        let _ = sender.try_send(open);
        let requests = stream::poll_fn(move |cx| receiver.poll_recv(cx));
        let mut client = InferenceServiceClient::new(connection.channel.clone())
            .max_decoding_message_size(connection.max_reply_bytes());
        let call = client.embed_stream(connection.endless(requests));
        let mut answers = Box::pin(stream::once(call).map_ok(tonic::Response::into_inner).try_flatten());
        let mut sender = Some(sender);
        let mut show = tokio::time::interval(SHOW_INTERVAL);
        let mut committed = Instant::now();
        loop {
            if sender.is_some() && self.source.is_all_sent() {
                // Half-closes.
                sender = None;
            }
            let room = async {
                match &sender {
                    Some(sender) => sender.reserve().await.ok(),
                    None => None,
                }
            };
            tokio::select! {
                room = room, if self.source.has_room() && sender.is_some() => {
                    // Without room the stream is broken, and its answers say why.
                    if let Some(room) = room
                        && let Some(item) = self.source.next_item()?
                    {
                        room.send(pb::EmbedStreamRequest { event: Some(embed_stream_request::Event::Item(item)) });
                    } else {
                        tokio::task::yield_now().await;
                    }
                }
                answer = answers.next() => match answer {
                    Some(Ok(answer)) => self.take(answer)?,
                    Some(Err(status)) => return Ok(StreamEnd::Broken(Box::new(status))),
                    None if self.source.is_all_answered() => return Ok(StreamEnd::Ended(Ended::Whole)),
                    None => {
                        let status = Status::unavailable("it ended before every item had its answer");
                        return Ok(StreamEnd::Broken(Box::new(status)));
                    }
                },
                now = show.tick() => {
                    self.progress.show(self.count, now.into_std());
                    if committed.elapsed() >= COMMIT_INTERVAL {
                        self.output.commit()?;
                        committed = Instant::now();
                    }
                }
                () = &mut stop => return Ok(StreamEnd::Ended(Ended::Stopped)),
            }
        }
    }

    fn take(&mut self, answer: pb::EmbedStreamResponse) -> Result<(), Failure> {
        match answer.event {
            Some(Event::Result(result)) => self.keep(result),
            Some(Event::Summary(summary)) => {
                // Replicas keep a workflow where it was, if they are told.
                if let Some(routing) = self.open.routing.as_mut().filter(|_| !summary.pinned_region.is_empty()) {
                    routing.pinned_region.clone_from(&summary.pinned_region);
                }
                self.totals.add(&summary);
                Ok(())
            }
            // A kind that this version does not know.
            None => Ok(()),
        }
    }

    fn keep(&mut self, result: pb::EmbedItemResult) -> Result<(), Failure> {
        let Some(item) = self.source.answered(&result.id) else {
            return Err(anyhow!("the service answered an item that it was not asked for: {}", result.id).into());
        };
        match &result.outcome {
            Some(Outcome::Embedding(embedding)) => {
                self.output.keep(&item, &embedding.values, &result.embedding_space)?;
                self.count.embedded += 1;
                *self.totals.items_by_region.entry(result.region).or_default() += 1;
            }
            Some(Outcome::Error(error)) => {
                let (reason, message, region) = (&error.reason, &error.message, &result.region);
                self.failures.add(&Failed { id: &item.id, line: item.line, reason, message, region })?;
                self.count.failed += 1;
            }
            None => return Err(anyhow!("the service answered {} with neither vector nor error", item.id).into()),
        }
        Ok(())
    }
}

/// Whether another stream may do better. A status without a reason is not the service's own, but a broken connection's.
fn may_pass(status: &Status) -> bool {
    let details = status.get_error_details();
    let reason = details.error_info().filter(|info| info.domain == DOMAIN).map(|info| info.reason.as_str());
    match status.code() {
        // The deadline is the service's own, a day, since we state none.
        Code::Unavailable | Code::Cancelled | Code::DeadlineExceeded => true,
        Code::ResourceExhausted => !matches!(reason, Some("REQUEST_TOO_LARGE" | "RESPONSE_TOO_LARGE")),
        Code::Aborted | Code::Internal | Code::Unknown => reason.is_none(),
        _ => false,
    }
}

/// The items that are to be sent: first those that lost their stream, then the input's.
pub(super) struct Source<'a> {
    input: &'a Input,
    fresh: Peekable<Items>,
    finished: HashMap<String, Option<String>>,
    again: VecDeque<Item>,
    unanswered: HashMap<String, Item>,
    unanswered_bytes: usize,
}

impl<'a> Source<'a> {
    /// All items of the input but those that are `finished`.
    pub(super) fn new(input: &'a Input, finished: HashMap<String, Option<String>>) -> anyhow::Result<Self> {
        let mut source = Self {
            input,
            fresh: input.items()?.peekable(),
            finished,
            again: VecDeque::new(),
            unanswered: HashMap::new(),
            unanswered_bytes: 0,
        };
        source.skip_finished();
        Ok(source)
    }

    /// Afterwards the next fresh item, if there is one, has no vector yet.
    fn skip_finished(&mut self) {
        while let Some(Ok(item)) = self.fresh.peek()
            && self.finished.contains_key(&item.id)
        {
            self.fresh.next();
        }
    }

    fn has_room(&self) -> bool {
        self.unanswered.len() < MOST_UNANSWERED && self.unanswered_bytes < MOST_UNANSWERED_BYTES
    }

    fn is_all_sent(&mut self) -> bool {
        self.again.is_empty() && self.fresh.peek().is_none()
    }

    fn is_all_answered(&mut self) -> bool {
        self.is_all_sent() && self.unanswered.is_empty()
    }

    fn unanswered(&self) -> usize {
        self.again.len() + self.unanswered.len()
    }

    /// The next item, which now waits for its answer.
    fn next_item(&mut self) -> anyhow::Result<Option<pb::EmbedItem>> {
        let item = match self.again.pop_front() {
            Some(item) => item,
            None => match self.fresh.next() {
                // The input was whole when it was surveyed: somebody changes it.
                Some(item) => item.map_err(|trouble| self.input.told(trouble))?,
                None => return Ok(None),
            },
        };
        self.skip_finished();
        let message = pb::EmbedItem { id: item.id.clone(), text: item.text.clone() };
        self.unanswered_bytes += item.text.len();
        self.unanswered.insert(item.id.clone(), item);
        Ok(Some(message))
    }

    fn answered(&mut self, id: &str) -> Option<Item> {
        let item = self.unanswered.remove(id)?;
        self.unanswered_bytes -= item.text.len();
        Some(item)
    }

    /// The stream has gone: what has no answer is sent again, in the input's order.
    fn again(&mut self) {
        let mut lost: Vec<_> = self.unanswered.drain().map(|(_, item)| item).chain(self.again.drain(..)).collect();
        lost.sort_unstable_by_key(|item| item.line);
        self.again = lost.into();
        self.unanswered_bytes = 0;
    }
}
