//! Calls whose answer is passed on as it is generated. Until the first content failover is invisible; afterwards
//! the caller is told, or gets the whole answer again if it asked for that.
use std::{
    collections::VecDeque,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    task::{Context, Poll, Waker, ready},
};

use futures_util::Stream;
use sealane_core::{
    domain::{
        ChatEvent, ChatRequest, ContentFilterResults, Failure, FailureKind, FinishReason, ModelKind, OnInterruption,
        PromptFilterResult, ReplyHeader, Silence, Target, Usage,
    },
    router::{Delivery, GiveUp},
};

use super::{
    Admission, CallError, CallFailure, Dispatcher, Served,
    opening::open_stream,
    race::first_to_answer,
    run::Run,
    unread::{Overdue, Place},
};
use crate::{telemetry::Operation, upstream::Upstream};

/// What a caller of a streamed completion is told.
#[derive(Debug, PartialEq)]
pub enum StreamEvent {
    /// Content is here: who serves, and what the completion says of itself.
    Start {
        /// What it says of itself.
        header: ReplyHeader,
        /// Verdicts on the prompt.
        prompt_filter: Vec<PromptFilterResult>,
        /// Who serves.
        served: Served,
    },
    /// A piece of the answer: a delta, a finish or a filter annotation.
    Piece(ChatEvent),
    /// Discard what you have: the answer starts again.
    Restarted {
        /// Who failed.
        target: Arc<Target>,
        /// A short stable word for the failure.
        failure: &'static str,
    },
    /// The answer is whole.
    End {
        /// `None` if Azure did not state it.
        usage: Option<Usage>,
        /// Who served.
        served: Served,
    },
}

impl<U: Upstream> Dispatcher<U> {
    /// One chat completion as it is generated. Nothing is yielded before its first content.
    ///
    /// # Errors
    /// When the model is unknown or of another kind; later errors come through the stream, as its last item.
    pub fn stream(
        self: &Arc<Self>,
        mut admission: Admission,
        request: ChatRequest,
    ) -> Result<AnswerStream<U>, CallError> {
        let route = self.route(&admission.model, ModelKind::Chat)?;
        let model = Arc::clone(&route.model);
        let call = self.admit(&mut admission, route, Delivery::Streamed, request.estimated_prompt_tokens());
        let call = call.capped_at(request.answer_tokens());
        let (on_interruption, deadline) = (admission.options.on_interruption, admission.deadline);
        let run = Run::new(Arc::clone(self), admission, Operation::Chat { streamed: true }, call);
        let request = Arc::new(request);
        let phase = Phase::Opening(Box::pin(open(run, Arc::clone(&request))));
        let answer = Answer { phase, queue: VecDeque::new(), model, request, on_interruption, reader: None };
        let answer = Arc::new(Shared(Mutex::new(answer)));
        let listed: Weak<Shared<U>> = Arc::downgrade(&answer);
        let place = self.streams.list(deadline, listed);
        Ok(AnswerStream { answer, dispatcher: Arc::clone(self), place })
    }
}

/// A streamed completion on its way to the caller. Ends at its deadline even if nobody polls it.
pub struct AnswerStream<U: Upstream> {
    answer: Arc<Shared<U>>,
    dispatcher: Arc<Dispatcher<U>>,
    place: Place,
}

/// Its reader and the clock that ends it have it in common; they hardly ever meet.
struct Shared<U: Upstream>(Mutex<Answer<U>>);

struct Answer<U: Upstream> {
    phase: Phase<U>,
    queue: VecDeque<StreamEvent>,
    model: Arc<str>,
    request: Arc<ChatRequest>,
    on_interruption: OnInterruption,
    /// Waits for the next event.
    reader: Option<Waker>,
}

type Opening<U> = Pin<Box<dyn Future<Output = Result<Delivering<U>, CallError>> + Send>>;

enum Phase<U: Upstream> {
    /// Attempts are made until one has content.
    Opening(Opening<U>),
    /// Content flows.
    Delivering(Box<Delivering<U>>),
    /// The deadline passed before the caller had read all; to be told if it ever reads on.
    Overdue(CallError),
    Ended,
}

struct Delivering<U: Upstream> {
    run: Run<U>,
    stream: Pin<Box<dyn Stream<Item = Result<ChatEvent, Failure>> + Send>>,
    /// What came before, and with, the first content.
    opening: Vec<StreamEvent>,
    usage: Option<Usage>,
    response_id: String,
    finish_reasons: Vec<FinishReason>,
    verdicts: Verdicts,
}

/// What the content filter said so far, by choice. "Safe" is said once, with the choice's finish, and not with
/// every piece.
#[derive(Default)]
struct Verdicts(Vec<(u32, ContentFilterResults)>);

impl Verdicts {
    fn condense(&mut self, event: &mut ChatEvent) {
        match event {
            ChatEvent::Delta(delta) if !delta.filter.is_empty() => {
                let remarkable = delta.filter.is_remarkable();
                let said = if remarkable { delta.filter.clone() } else { std::mem::take(&mut delta.filter) };
                self.of(delta.choice).merge(said);
            }
            ChatEvent::Finish { choice, filter, .. } => {
                let mut all = std::mem::take(self.of(*choice));
                all.merge(std::mem::take(filter));
                *filter = all;
            }
            _ => {}
        }
    }

    fn of(&mut self, choice: u32) -> &mut ContentFilterResults {
        let at = self.0.iter().position(|(known, _)| *known == choice).unwrap_or_else(|| {
            self.0.push((choice, ContentFilterResults::default()));
            self.0.len() - 1
        });
        &mut self.0[at].1
    }
}

/// Attempts until one has content.
async fn open<U: Upstream>(mut run: Run<U>, request: Arc<ChatRequest>) -> Result<Delivering<U>, CallError> {
    let dispatcher = Arc::clone(&run.dispatcher);
    let attempt = async |order| open_stream(&dispatcher.upstream, order, &request).await;
    let (ticket, opened) = first_to_answer(&mut run, attempt).await?;
    run.first_content(ticket);
    let mut header = ReplyHeader::default();
    let mut prompt_filter = Vec::new();
    let mut pieces = Vec::with_capacity(opened.events.len());
    let mut verdicts = Verdicts::default();
    let mut finish_reasons = Vec::new();
    for event in opened.events {
        match event {
            ChatEvent::Header(said) => header = said,
            ChatEvent::PromptFilter(results) => prompt_filter = results,
            mut event => {
                verdicts.condense(&mut event);
                note(&mut run, &mut finish_reasons, &event);
                pieces.push(StreamEvent::Piece(event));
            }
        }
    }
    run.replied(&header);
    prompt_filter.iter().for_each(|prompt| run.filtered(&prompt.results));
    let response_id = header.response_id.clone();
    let mut opening = vec![StreamEvent::Start { header, prompt_filter, served: run.so_far() }];
    opening.append(&mut pieces);
    Ok(Delivering { run, stream: opened.stream, opening, usage: None, response_id, finish_reasons, verdicts })
}

/// What span and journal are to know of a piece.
fn note<U: Upstream>(run: &mut Run<U>, finish_reasons: &mut Vec<FinishReason>, piece: &ChatEvent) {
    match piece {
        ChatEvent::Finish { reason, filter, .. } => {
            finish_reasons.push(*reason);
            run.filtered(filter);
        }
        ChatEvent::FilterAnnotation { filter, .. } => run.filtered(filter),
        _ => {}
    }
}

impl<U: Upstream> Answer<U> {
    /// The attempt failed while its content was being delivered.
    fn interrupt(&mut self, mut run: Run<U>, failure: Failure) -> Option<Result<StreamEvent, CallError>> {
        run.serving_failed(failure);
        let (target, failure) = run.last_failure()?;
        run.span.interrupted(&target);
        if run.out_of_time() {
            return Some(Err(run.give_up(CallFailure::GaveUp(GiveUp::DeadlineExceeded))));
        }
        match self.on_interruption {
            OnInterruption::Fail => Some(Err(run.give_up(CallFailure::Interrupted { target, failure }))),
            OnInterruption::Restart => {
                run.interrupted();
                self.phase = Phase::Opening(Box::pin(open(run, Arc::clone(&self.request))));
                Some(Ok(StreamEvent::Restarted { target, failure }))
            }
        }
    }

    /// The deadline passed while nobody read.
    fn overdue(&mut self) {
        let deadline = CallFailure::GaveUp(GiveUp::DeadlineExceeded);
        let error = match std::mem::replace(&mut self.phase, Phase::Ended) {
            Phase::Ended => return,
            Phase::Overdue(error) => error,
            // Its attempts give themselves back.
            Phase::Opening(_) => CallError::refused(&self.model, deadline),
            Phase::Delivering(mut delivering) => {
                let kind = FailureKind::Silence(Silence::Total);
                delivering.run.serving_failed(Failure { kind, evidence: Box::default(), maybe_billed: true });
                delivering.run.give_up(deadline)
            }
        };
        self.phase = Phase::Overdue(error);
        self.queue = VecDeque::new();
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
    }

    fn last_word(&mut self) -> Option<Result<StreamEvent, CallError>> {
        match std::mem::replace(&mut self.phase, Phase::Ended) {
            Phase::Overdue(error) => Some(Err(error)),
            _ => None,
        }
    }

    fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<StreamEvent, CallError>>> {
        loop {
            if let Some(event) = self.queue.pop_front() {
                return Poll::Ready(Some(Ok(event)));
            }
            match &mut self.phase {
                Phase::Ended | Phase::Overdue(_) => return Poll::Ready(self.last_word()),
                Phase::Opening(opening) => match ready!(opening.as_mut().poll(cx)) {
                    Ok(mut delivering) => {
                        self.queue.extend(delivering.opening.drain(..));
                        self.phase = Phase::Delivering(Box::new(delivering));
                    }
                    Err(error) => {
                        self.phase = Phase::Ended;
                        return Poll::Ready(Some(Err(error)));
                    }
                },
                Phase::Delivering(delivering) => match ready!(delivering.stream.as_mut().poll_next(cx)) {
                    Some(Ok(ChatEvent::Usage(usage))) => delivering.usage = Some(usage),
                    Some(Ok(ChatEvent::Header(_) | ChatEvent::PromptFilter(_))) => {}
                    Some(Ok(mut piece)) => {
                        delivering.verdicts.condense(&mut piece);
                        note(&mut delivering.run, &mut delivering.finish_reasons, &piece);
                        return Poll::Ready(Some(Ok(StreamEvent::Piece(piece))));
                    }
                    Some(Err(failure)) => {
                        let Phase::Delivering(delivering) = std::mem::replace(&mut self.phase, Phase::Ended) else {
                            return Poll::Ready(None);
                        };
                        return Poll::Ready(self.interrupt(delivering.run, failure));
                    }
                    None => {
                        let Delivering { run, usage, response_id, finish_reasons, .. } = &mut **delivering;
                        usage.iter().for_each(|usage| run.used(usage));
                        run.finished(finish_reasons.iter().copied());
                        run.served(Some(response_id));
                        let event = StreamEvent::End { usage: delivering.usage, served: delivering.run.so_far() };
                        self.phase = Phase::Ended;
                        return Poll::Ready(Some(Ok(event)));
                    }
                },
            }
        }
    }
}

impl<U: Upstream> Shared<U> {
    fn lock(&self) -> MutexGuard<'_, Answer<U>> {
        // A phase is replaced whole: after a panic the answer has either ended or goes on.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<U: Upstream> Overdue for Shared<U> {
    fn end(&self) {
        self.lock().overdue();
    }
}

impl<U: Upstream> Stream for AnswerStream<U> {
    type Item = Result<StreamEvent, CallError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let mut answer = self.answer.lock();
        let event = answer.poll_event(cx);
        if event.is_pending() && !answer.reader.as_ref().is_some_and(|reader| reader.will_wake(cx.waker())) {
            answer.reader = Some(cx.waker().clone());
        }
        event
    }
}

impl<U: Upstream> Drop for AnswerStream<U> {
    fn drop(&mut self) {
        self.dispatcher.streams.strike(self.place);
    }
}
