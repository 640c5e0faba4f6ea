//! The one task of an ingestion: reads items while there is room, lets batches leave, hands answers on.
use std::{collections::VecDeque, sync::Arc, time::Duration};

use futures_util::{FutureExt as _, Stream, StreamExt as _};
use sealane_core::{
    domain::{AttemptResult, EmbedRequest, FailureClass, Moment, Vector},
    ingest::{Batch, Blame, Item, ItemFault, Onward, Pace, Queue, Split, Window},
};
use tokio::{
    sync::mpsc,
    task::{JoinError, JoinSet},
    time::Instant,
};

use super::{
    Allowance, Answers, IngestError, IngestLimits, IngestSummary, IngestTerms, ItemAnswer, Leave, NoLeave,
    answers::{Receipt, Taken},
    meaning::{BatchBlame, Meaning, meaning},
};
use crate::{
    dispatch::{Admission, CallError, Dispatcher, Embedded},
    upstream::Upstream,
};

/// How long one batch may take, rescues included, before it goes back into the queue: what a large one needs at a slow
/// region, and no more, or one that hangs would hold its place for hours.
const BATCH_PATIENCE: Duration = Duration::from_secs(180);

pub(super) struct Flow<U: Upstream, A: Allowance, S> {
    dispatcher: Arc<Dispatcher<U>>,
    admission: Admission,
    terms: IngestTerms,
    started: Moment,
    allowance: A,
    /// `None` once the caller has half-closed, or sent what cannot be used.
    items: Option<S>,
    window: Window,
    queue: Queue,
    pace: Pace,
    blame: Blame,
    /// Nothing is asked of the allowance before.
    no_leave_until: Option<Moment>,
    running: JoinSet<Box<Ended<A::Leave>>>,
    /// Answered, and not handed on yet.
    outbox: VecDeque<Answers>,
    sender: mpsc::Sender<Answers>,
    taken: mpsc::UnboundedReceiver<Taken>,
    receipts: mpsc::UnboundedSender<Taken>,
    summary: IngestSummary,
    /// Why nothing more is read; what is under way is still answered.
    end: Option<IngestError<A::Refusal>>,
    /// What waits in the queue will never be sent.
    given_up: bool,
}

/// A batch whose call has ended.
struct Ended<L> {
    batch: Batch,
    left: Moment,
    leave: L,
    answer: Result<Embedded, CallError>,
}

/// What the task has to do next.
enum Step<I, L> {
    TimePassed,
    Ended(Option<Result<Box<Ended<L>>, JoinError>>),
    Taken(Option<Taken>),
    CanHandOn,
    Item(Option<I>),
}

impl<U, A, S> Flow<U, A, S>
where
    U: Upstream,
    A: Allowance,
    S: Stream<Item = Result<Item, A::Refusal>> + Send + Unpin,
{
    pub(super) fn new(
        dispatcher: Arc<Dispatcher<U>>,
        admission: Admission,
        terms: IngestTerms,
        (limits, seed): (IngestLimits, u64),
        allowance: A,
        items: S,
        sender: mpsc::Sender<Answers>,
    ) -> Self {
        let (receipts, taken) = mpsc::unbounded_channel();
        let started = dispatcher.clock.now();
        Self {
            dispatcher,
            admission,
            terms,
            started,
            allowance,
            items: Some(items),
            window: Window::new(limits.window),
            queue: Queue::new(limits.batch),
            pace: Pace::new(limits.pace, seed),
            blame: Blame::default(),
            no_leave_until: None,
            running: JoinSet::new(),
            outbox: VecDeque::new(),
            sender,
            taken,
            receipts,
            summary: IngestSummary::default(),
            end: None,
            given_up: false,
        }
    }

    pub(super) async fn run(mut self) -> Result<IngestSummary, IngestError<A::Refusal>> {
        loop {
            let now = self.dispatcher.clock.now();
            if now >= self.admission.deadline {
                return Err(IngestError::OutOfTime { unanswered: self.window.unanswered() });
            }
            self.send_batches(now);
            if self.is_done() {
                return self.end.map_or(Ok(self.summary), Err);
            }
            match self.step(now).await {
                Step::TimePassed => {}
                Step::Ended(Some(Ok(ended))) => self.ended(*ended),
                Step::Ended(Some(Err(_))) => return Err(IngestError::Broken),
                Step::Ended(None) | Step::Taken(None) => {}
                Step::Taken(Some(taken)) => self.window.read(taken.items, taken.vector_bytes),
                Step::CanHandOn => self.hand_on(),
                Step::Item(item) => self.read(item),
            }
        }
    }

    fn is_done(&self) -> bool {
        let answered = self.queue.is_empty() || self.given_up;
        self.items.is_none() && answered && self.running.is_empty() && self.outbox.is_empty()
    }

    async fn step(&mut self, now: Moment) -> Step<Result<Item, A::Refusal>, A::Leave> {
        let wake = self.wake_at(now);
        let (some_run, some_to_hand_on) = (!self.running.is_empty(), !self.outbox.is_empty());
        let readable = self.may_read();
        let next_item = async {
            match &mut self.items {
                Some(items) => items.next().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            ended = self.running.join_next(), if some_run => Step::Ended(ended),
            taken = self.taken.recv() => Step::Taken(taken),
            _ = self.sender.reserve(), if some_to_hand_on => Step::CanHandOn,
            item = next_item, if readable => Step::Item(item),
            () = tokio::time::sleep_until(wake) => Step::TimePassed,
        }
    }

    /// When time alone changes something.
    fn wake_at(&self, now: Moment) -> Instant {
        let held = self.pace.held_until(now).max(self.no_leave_until.filter(|until| *until > now));
        // A queue that may not move has no time of its own; something that ends will move it.
        let may_move = self.pace.allows(self.running.len(), now) && self.window.is_read() && !self.given_up;
        let queued = self.queue.due().filter(|_| held.is_none() && may_move);
        let soonest = held.or(queued).map_or(self.admission.deadline, |at| at.min(self.admission.deadline));
        self.dispatcher.clock.instant(soonest)
    }

    fn may_read(&self) -> bool {
        self.items.is_some() && self.window.has_room()
    }

    /// Takes an item, and all that have come with it.
    fn read(&mut self, first: Option<Result<Item, A::Refusal>>) {
        let now = self.dispatcher.clock.now();
        let mut next = first;
        loop {
            match next {
                None => return self.items = None,
                Some(Err(refusal)) => return self.stop(IngestError::Caller(refusal)),
                Some(Ok(item)) => {
                    if let Err(duplicate) = self.window.take(&item.id, item.text.len()) {
                        return self.stop(IngestError::DuplicateId { id: duplicate.0 });
                    }
                    match self.queue.limits().fault_of(&item.text) {
                        None => self.queue.push(item, now),
                        Some(fault) => self.answer(None, vec![(item.id, Err(fault))], item.text.len()),
                    }
                }
            }
            if !self.may_read() {
                return;
            }
            let Some(there) = self.items.as_mut().and_then(|items| items.next().now_or_never()) else { return };
            next = there;
        }
    }

    /// Nothing more is read; what was taken before is still answered.
    fn stop(&mut self, end: IngestError<A::Refusal>) {
        self.items = None;
        self.end.get_or_insert(end);
    }

    fn send_batches(&mut self, now: Moment) {
        if self.no_leave_until.is_some_and(|until| until > now) || self.given_up {
            return;
        }
        self.no_leave_until = None;
        if !self.queue.is_empty() {
            self.queue.heed_quota(self.dispatcher.tokens_per_minute(&self.admission.model));
        }
        while self.pace.allows(self.running.len(), now) && self.window.is_read() {
            let more_may_come = self.may_read();
            let Some(batch) = self.queue.next(now, more_may_come) else { return };
            match self.allowance.admit(batch.tokens(), now) {
                Ok(leave) => self.send(batch, leave, now),
                Err(NoLeave { retry_at, refusal }) => {
                    self.queue.put_back(batch);
                    match retry_at.filter(|at| *at < self.admission.deadline) {
                        Some(at) => self.no_leave_until = Some(at),
                        None => self.give_up(IngestError::Caller(refusal)),
                    }
                    return;
                }
            }
        }
    }

    fn send(&mut self, batch: Batch, leave: A::Leave, now: Moment) {
        let Batch { ids, texts, setbacks } = batch;
        let request = EmbedRequest {
            inputs: texts,
            dimensions: self.terms.dimensions,
            end_user_id: self.terms.end_user_id.clone(),
        };
        let admission = self.admission.of_a_batch(now + BATCH_PATIENCE);
        let dispatcher = Arc::clone(&self.dispatcher);
        self.running.spawn(async move {
            let answer = dispatcher.embed(admission, &request).await;
            Box::new(Ended { batch: Batch { ids, texts: request.inputs, setbacks }, left: now, leave, answer })
        });
    }

    fn ended(&mut self, ended: Ended<A::Leave>) {
        let Ended { batch, left, mut leave, answer } = ended;
        let now = self.dispatcher.clock.now();
        // A place may be free again.
        self.no_leave_until = None;
        leave.settle(now, answer.as_ref().map_or(0, |embedded| used(embedded, &batch)));
        match answer {
            Ok(embedded) => self.served(batch, embedded, left, now),
            Err(error) => self.not_served(batch, error, left, now),
        }
    }

    fn served(&mut self, batch: Batch, embedded: Embedded, left: Moment, now: Moment) {
        let Embedded { reply, served } = embedded;
        let throttled = served.attempts.iter().any(|attempt| match &attempt.result {
            Some(AttemptResult::Failed { kind, .. }) => kind.class() == FailureClass::Throttled,
            _ => false,
        });
        self.pace.served(left, now, batch.tokens(), throttled);
        self.blame.served();
        self.summary.attempts += served.attempts.len();
        let (bytes, texts) = (batch.bytes(), batch.ids.len());
        let dimensions = reply.vectors.first().map_or(0, Vector::dimensions);
        // Whatever went wrong there, no id may get lost.
        let (Some(by), Some(items)) = (served.by().map(|by| Arc::clone(&by.target)), paired(batch.ids, reply.vectors))
        else {
            return self.give_up(IngestError::Broken);
        };
        if let Some(space) = &by.embedding_space {
            let after: Arc<str> = space.id(dimensions).into();
            let before = Arc::clone(self.summary.space.get_or_insert_with(|| Arc::clone(&after)));
            if before != after {
                return self.give_up(IngestError::SpaceChanged { before, after });
            }
        }
        self.summary.dimensions = dimensions;
        self.summary.usage += reply.usage;
        *self.summary.items_by_region.entry(Arc::clone(&by.region)).or_default() += texts as u64;
        self.follow_pin(served.pinned_region);
        self.answer(Some(Arc::clone(&by.region)), items, bytes);
    }

    /// What the caller stated holds for the beginning; from then on the router knows better where the workflow is.
    fn follow_pin(&mut self, pinned: Option<String>) {
        if pinned.is_some() {
            self.admission.options.pinned_region.clone_from(&pinned);
            self.summary.pinned_region = pinned;
        }
    }

    fn not_served(&mut self, mut batch: Batch, error: CallError, left: Moment, now: Moment) {
        self.summary.attempts += error.attempts.len();
        match meaning(&error.failure, batch.setbacks, self.blame.any_served()) {
            Meaning::Isolate { why, too_large } => {
                if too_large && batch.ids.len() > 1 {
                    self.queue.was_too_large(batch.tokens());
                }
                self.isolate(batch, why, error);
            }
            Meaning::Later { hint, blame } => {
                self.pace.held_up(left, now, hint);
                match blame {
                    BatchBlame::Innocent => {
                        batch.setbacks.waited(now);
                        self.queue.put_last(batch);
                    }
                    BatchBlame::Possible => self.set_back(batch, false, error, now),
                    BatchBlame::TooLong => self.set_back(batch, true, error, now),
                }
            }
            Meaning::Never => self.give_up(IngestError::Call(error)),
        }
    }

    /// A batch that nobody could serve, perhaps for what is in it.
    fn set_back(&mut self, mut batch: Batch, too_long: bool, error: CallError, now: Moment) {
        batch.setbacks.failed(now, self.dispatcher.proof_began(&error.attempts));
        let bytes = batch.bytes();
        match batch.onward(too_long) {
            Onward::Again(batch) => self.queue.put_last(batch),
            Onward::Apart(first, second) => {
                self.queue.put_last(first);
                self.queue.put_last(second);
            }
            Onward::Guilty(id) => self.found(id, bytes, ItemFault::NotServed, error),
        }
    }

    fn isolate(&mut self, batch: Batch, why: ItemFault, error: CallError) {
        let bytes = batch.bytes();
        match batch.split() {
            Some(Split::Guilty(id)) => self.found(id, bytes, why, error),
            Some(Split::Halves(first, second)) => {
                self.queue.put_back(second);
                self.queue.put_back(first);
            }
            None => {}
        }
    }

    /// One item that stood alone is at fault, unless everything is.
    fn found(&mut self, id: Arc<str>, bytes: usize, why: ItemFault, error: CallError) {
        if self.blame.concerns_all(&why) {
            return self.give_up(IngestError::Call(error));
        }
        let region = error.attempts.last().map(|attempt| Arc::clone(&attempt.target.region));
        self.answer(region, vec![(id, Err(why))], bytes);
    }

    /// Nothing more is read or sent; what is under way is still answered.
    fn give_up(&mut self, end: IngestError<A::Refusal>) {
        self.items = None;
        if !std::mem::replace(&mut self.given_up, true) {
            self.end = Some(end);
        }
    }

    fn answer(&mut self, region: Option<Arc<str>>, items: Vec<ItemAnswer>, bytes: usize) {
        let vector_bytes = items.iter().map(|(_, answer)| answer.as_ref().map_or(0, |v| v.dimensions() * 4)).sum();
        let embedded = items.iter().filter(|(_, answer)| answer.is_ok()).count();
        self.window.answer(items.iter().map(|(id, _)| id), bytes, vector_bytes);
        self.summary.embedded += embedded as u64;
        self.summary.failed += (items.len() - embedded) as u64;
        self.summary.duration = self.dispatcher.clock.now().since(self.started);
        let receipt = Receipt { taken: Taken { items: items.len(), vector_bytes }, tell: self.receipts.clone() };
        let space = self.summary.space.clone();
        self.outbox.push_back(Answers { region, space, items, _receipt: receipt });
    }

    fn hand_on(&mut self) {
        let Some(answers) = self.outbox.pop_front() else { return };
        if let Err(mpsc::error::TrySendError::Full(answers)) = self.sender.try_send(answers) {
            self.outbox.push_front(answers);
        }
    }
}

/// Tokens for the caller's account: by the estimate where a server states none.
fn used(embedded: &Embedded, batch: &Batch) -> u64 {
    match embedded.reply.usage.total_tokens {
        0 => batch.tokens(),
        stated => stated,
    }
}

/// Each id with its vector; `None` unless there are as many of both.
fn paired(ids: Vec<Arc<str>>, vectors: Vec<Vector>) -> Option<Vec<ItemAnswer>> {
    (ids.len() == vectors.len()).then(|| ids.into_iter().zip(vectors.into_iter().map(Ok)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_id_is_left_without_its_vector() {
        let ids = |count: usize| (0..count).map(|id| id.to_string().into()).collect();
        let vectors = |count| vec![Vector::from_components([1.0]); count];
        assert_eq!(paired(ids(2), vectors(2)).map(|items| items.len()), Some(2));
        assert_eq!(paired(ids(2), vectors(1)), None);
        assert_eq!(paired(ids(1), vectors(2)), None);
    }
}
