//! `EmbedStream`: opens an ingestion with the first message, and passes its answers on.
use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use futures_util::{Stream, StreamExt as _};
use sealane_core::{domain::Moment, ingest::BatchLimits};
use tokio_util::sync::WaitForCancellationFutureOwned;
use tonic::{Request, Status, Streaming};

use super::{
    deadline::DeadlineRules,
    decode_embed_stream::{self, Items, Opening},
    encode_embed_stream,
    inference::Inference,
    open_call::{OpenCall, headers},
    pb,
    status::{Refusal, broken_off, draining, ended_without_end, time_is_up},
};
use crate::{
    dispatch::{Allowance, Answers, IngestEvent, IngestLimits, Ingestion, ItemAnswer, Leave, NoLeave},
    identity::{Caller, Grounds, Pass},
    upstream::Upstream,
};

/// An ingestion takes hours where an answer takes minutes, and holds no more at its end than at its beginning.
const DEADLINES: DeadlineRules =
    DeadlineRules { default: Duration::from_secs(24 * 3600), longest: Duration::from_secs(24 * 3600) };

impl<U: Upstream> Inference<U> {
    /// The stream is there at once, for a caller may wait for it before it sends anything; what is wrong with the
    /// opening is told as the stream's end.
    pub(super) fn ingest(
        &self,
        mut call: OpenCall,
        request: Request<Streaming<pb::EmbedStreamRequest>>,
    ) -> Result<EmbedEvents, Status> {
        let opening = self.rules().gate.caller(&mut call, &request).map(Arc::clone).map_err(Refusal::from);
        let opening = opening.and_then(|caller| Ok((caller, DEADLINES.allow(headers(&request))?)));
        let (caller, allowed) = match opening {
            Ok(opening) => opening,
            Err(refusal) => return Err(call.fail(refusal)),
        };
        let deadline = self.dispatcher().clock().now() + allowed;
        let this = self.clone();
        let open = async move {
            let opened = this.open(&mut call, &caller, deadline, request.into_inner());
            let opened = this.until_the_end(Box::pin(opened)).await;
            match opened {
                Ok((ingestion, encoding)) => Ok(Box::new(Running { call, ingestion, encoding, answers: None })),
                Err(refusal) => Err((call, refusal)),
            }
        };
        let ending = Box::pin(self.rules().ending.clone().cancelled_owned());
        Ok(EmbedEvents { phase: Phase::Opening(Box::pin(open)), ending })
    }

    async fn open(
        &self,
        call: &mut OpenCall,
        caller: &Arc<Caller>,
        deadline: Moment,
        mut messages: Streaming<pb::EmbedStreamRequest>,
    ) -> Result<(Ingestion<Refusal>, pb::VectorEncoding), Refusal> {
        let until = self.dispatcher().clock().instant(deadline);
        let first = tokio::time::timeout_at(until, messages.message()).await;
        let first = first.map_err(|_| time_is_up("the deadline passed before `open` came"))?;
        let Opening { model, terms, options, encoding } =
            decode_embed_stream::opening(first.map_err(|status| broken_off(&status))?)?;
        let admission = self.admit_until(call, caller, deadline, (&model, options))?;
        caller.may_use(&model)?;
        let mut limits = IngestLimits::default();
        limits.batch = within_a_minute(limits.batch, caller);
        let allowance = CallerAllowance { caller: Arc::clone(caller), model };
        let ingestion = self.dispatcher().ingest(admission, terms, limits, allowance, Items(messages))?;
        Ok((ingestion, encoding))
    }
}

/// A batch that alone is above a minute's tokens would keep the caller's other calls waiting for minutes.
fn within_a_minute(limits: BatchLimits, caller: &Caller) -> BatchLimits {
    let minute = caller.allowance().tokens_per_minute.map_or(u64::MAX, u64::from);
    BatchLimits { tokens: limits.tokens.min(minute).max(limits.item_tokens), ..limits }
}

/// The caller's limits, which count a batch as a call. What a call would be refused for, an ingestion waits for.
struct CallerAllowance {
    caller: Arc<Caller>,
    model: String,
}

impl Allowance for CallerAllowance {
    type Leave = Pass;
    type Refusal = Refusal;

    fn admit(&self, tokens: u64, now: Moment) -> Result<Pass, NoLeave<Refusal>> {
        self.caller.admit(&self.model, tokens, now).map_err(|denial| {
            let retry_at = match &denial.grounds {
                Grounds::Quota(exceeded) if exceeded.limit > 0 => Some(now + exceeded.retry_after),
                _ => None,
            };
            NoLeave { retry_at, refusal: denial.into() }
        })
    }
}

impl Leave for Pass {
    fn settle(&mut self, now: Moment, used: u64) {
        Pass::settle(self, now, used);
    }
}

/// The answers of one ingestion on their way to the wire.
pub struct EmbedEvents {
    phase: Phase,
    ending: Pin<Box<WaitForCancellationFutureOwned>>,
}

type Opened = Result<Box<Running>, (OpenCall, Refusal)>;

enum Phase {
    Opening(Pin<Box<dyn Future<Output = Opened> + Send>>),
    Running(Box<Running>),
    Ended,
}

struct Running {
    call: OpenCall,
    ingestion: Ingestion<Refusal>,
    encoding: pb::VectorEncoding,
    /// Those that are being passed on; dropped, which says that they are read, when none of them is left.
    answers: Option<(std::vec::IntoIter<ItemAnswer>, Answers)>,
}

impl Running {
    fn next_answer(&mut self) -> Option<pb::EmbedStreamResponse> {
        let (items, answers) = self.answers.as_mut()?;
        match items.next() {
            Some(item) => Some(encode_embed_stream::answer(answers, item, self.encoding)),
            None => {
                self.answers = None;
                None
            }
        }
    }
}

impl EmbedEvents {
    fn fail(&mut self, refusal: Refusal) -> Option<Result<pb::EmbedStreamResponse, Status>> {
        match std::mem::replace(&mut self.phase, Phase::Ended) {
            Phase::Running(mut running) => Some(Err(running.call.fail(refusal))),
            Phase::Opening(_) | Phase::Ended => None,
        }
    }
}

impl Stream for EmbedEvents {
    type Item = Result<pb::EmbedStreamResponse, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        loop {
            let event = match &mut this.phase {
                Phase::Ended => return Poll::Ready(None),
                Phase::Opening(opening) => match ready!(opening.as_mut().poll(cx)) {
                    Ok(running) => {
                        this.phase = Phase::Running(running);
                        continue;
                    }
                    Err((mut call, refusal)) => {
                        this.phase = Phase::Ended;
                        return Poll::Ready(Some(Err(call.fail(refusal))));
                    }
                },
                Phase::Running(running) => {
                    if let Some(answer) = running.next_answer() {
                        return Poll::Ready(Some(Ok(answer)));
                    }
                    running.ingestion.poll_next_unpin(cx)
                }
            };
            match event {
                Poll::Pending => {
                    ready!(this.ending.as_mut().poll(cx));
                    return Poll::Ready(this.fail(draining()));
                }
                Poll::Ready(Some(Ok(IngestEvent::Answers(mut answers)))) => {
                    if let Phase::Running(running) = &mut this.phase {
                        running.answers = Some((std::mem::take(&mut answers.items).into_iter(), answers));
                    }
                }
                Poll::Ready(Some(Ok(IngestEvent::Summary(summary)))) => {
                    if let Phase::Running(mut running) = std::mem::replace(&mut this.phase, Phase::Ended) {
                        running.call.span.attempts(summary.attempts);
                        running.call.succeed();
                    }
                    return Poll::Ready(Some(Ok(encode_embed_stream::summary(summary))));
                }
                Poll::Ready(Some(Err(error))) => return Poll::Ready(this.fail(error.into())),
                // What was cut must never look like what has ended.
                Poll::Ready(None) => return Poll::Ready(this.fail(ended_without_end())),
            }
        }
    }
}
