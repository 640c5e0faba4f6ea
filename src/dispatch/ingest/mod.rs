//! Ingestion: any number of texts in, vectors out as they finish. Each batch is one call through the same loop as a
//! unary `Embed`: minted, recorded, traced, rescued and cooled like any other.
//!
//! `flow` moves texts and answers, with what `core::ingest` decides; `meaning` says what the end of a batch's call means
//! for the ingestion; `answers` is what the caller gets, and how it is noticed that it reads.
mod answers;
mod flow;
mod meaning;

use std::{
    future::Future as _,
    hash::{BuildHasher as _, RandomState},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use futures_util::Stream;
use sealane_core::{
    domain::{ModelKind, Moment},
    ingest::{BatchLimits, Item, PaceLimits, WindowLimits},
};
use tokio::sync::{mpsc, oneshot};
use tokio_util::task::AbortOnDropHandle;

pub use self::answers::{Answers, IngestSummary, ItemAnswer};
use self::flow::Flow;
use super::{Admission, CallError, Dispatcher};
use crate::upstream::Upstream;

/// What all texts of an ingestion share.
#[derive(Clone, Debug, Default)]
pub struct IngestTerms {
    /// Shorten the vectors to this length.
    pub dimensions: Option<u32>,
    /// Opaque id of the caller's end user.
    pub end_user_id: Option<String>,
}

/// How much an ingestion may have in hand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IngestLimits {
    /// Of one batch.
    pub batch: BatchLimits,
    /// Of everything that waits.
    pub window: WindowLimits,
    /// Of batches beside each other.
    pub pace: PaceLimits,
}

/// What the caller of an ingestion may use; asked for each batch, since each is a call.
pub trait Allowance: Send + 'static {
    /// Leave for one batch.
    type Leave: Leave;
    /// Why there is none.
    type Refusal: Send + 'static;

    /// Leave for a batch that is estimated to use so many tokens.
    ///
    /// # Errors
    /// When the caller has used up what it may use.
    fn admit(&self, tokens: u64, now: Moment) -> Result<Self::Leave, NoLeave<Self::Refusal>>;
}

/// A batch's leave to run; dropped when it ends.
pub trait Leave: Send + 'static {
    /// So many tokens were used, instead of those that were estimated.
    fn settle(&mut self, now: Moment, used: u64);
}

/// A batch may not run now.
#[derive(Debug)]
pub struct NoLeave<R> {
    /// When to ask again; `None`: never.
    pub retry_at: Option<Moment>,
    /// What the caller is told if it cannot wait for that.
    pub refusal: R,
}

/// What the caller of an ingestion is told.
#[derive(Debug)]
pub enum IngestEvent {
    /// Items are answered.
    Answers(Answers),
    /// All are; the last event.
    Summary(IngestSummary),
}

/// Why an ingestion ended before its summary. `R` is what the caller's own end of it may be refused with.
#[derive(Debug)]
pub enum IngestError<R> {
    /// A batch has no answer and never will: no target is permitted, the model is gone, and the like.
    Call(CallError),
    /// The caller sent what cannot be used, or may not go on.
    Caller(R),
    /// The id of an item was that of another one without an answer.
    DuplicateId {
        /// As sent.
        id: Arc<str>,
    },
    /// Vectors would come from another embedding space than those before: they must not meet in one index.
    SpaceChanged {
        /// Of those before.
        before: Arc<str>,
        /// Of the others.
        after: Arc<str>,
    },
    /// The caller's time is up.
    OutOfTime {
        /// Items without an answer.
        unanswered: usize,
    },
    /// A defect of this service.
    Broken,
}

/// A running ingestion. Dropping it ends it: its calls are given back, their requests upstream closed.
pub struct Ingestion<R> {
    answers: mpsc::Receiver<Answers>,
    end: Option<oneshot::Receiver<Result<IngestSummary, IngestError<R>>>>,
    _flow: AbortOnDropHandle<()>,
}

impl<U: Upstream> Dispatcher<U> {
    /// Vectors for `items`, in any order, each exactly once.
    ///
    /// What stops one batch for a while does not end the ingestion: what no region can serve now is kept and tried again,
    /// and a caller that has used up its allowance waits, both until the deadline.
    ///
    /// # Errors
    /// When the model is unknown or of another kind; later errors come through the stream, as its last item. Everything
    /// that was answered by then has come before.
    pub fn ingest<A, S>(
        self: &Arc<Self>,
        admission: Admission,
        terms: IngestTerms,
        limits: IngestLimits,
        allowance: A,
        items: S,
    ) -> Result<Ingestion<A::Refusal>, CallError>
    where
        A: Allowance,
        S: Stream<Item = Result<Item, A::Refusal>> + Send + Unpin + 'static,
    {
        self.route(&admission.model, ModelKind::Embedding)?;
        // One at a time: what waits to be read stays in the flow's own account.
        let (sender, answers) = mpsc::channel(1);
        let (ended, end) = oneshot::channel();
        let flow = Flow::new(Arc::clone(self), admission, terms, (limits, chance()), allowance, items, sender);
        // A task of its own: time limits, rescues and the pool's connections must not wait for a caller that does not
        // read.
        let task = tokio::spawn(async move {
            let _ = ended.send(flow.run().await);
        });
        Ok(Ingestion { answers, end: Some(end), _flow: AbortOnDropHandle::new(task) })
    }
}

/// A seed for jitter; every `RandomState` has keys of its own.
fn chance() -> u64 {
    RandomState::new().hash_one(0)
}

impl<R> Stream for Ingestion<R> {
    type Item = Result<IngestEvent, IngestError<R>>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let Some(answers) = ready!(self.answers.poll_recv(cx)) {
            return Poll::Ready(Some(Ok(IngestEvent::Answers(answers))));
        }
        let Some(end) = &mut self.end else { return Poll::Ready(None) };
        let end = ready!(Pin::new(end).poll(cx));
        self.end = None;
        Poll::Ready(Some(match end {
            Ok(end) => end.map(IngestEvent::Summary),
            Err(_) => Err(IngestError::Broken),
        }))
    }
}
