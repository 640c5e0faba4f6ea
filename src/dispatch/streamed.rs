//! Calls whose answer is passed on as it is generated. Until the first content failover is invisible; afterwards
//! the caller is told, or gets the whole answer again if it asked for that.
use std::{
    collections::VecDeque,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use futures_util::Stream;
use sealane_core::{
    domain::{
        ChatEvent, ChatRequest, ContentFilterResults, Failure, FinishReason, ModelKind, OnInterruption,
        PromptFilterResult, ReplyHeader, Target, Usage,
    },
    router::{Delivery, GiveUp},
};

use super::{
    Admission, CallError, CallFailure, Dispatcher, Served, opening::open_stream, race::first_to_answer, run::Run,
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
        let call = self.admit(&mut admission, route, Delivery::Streamed, request.estimated_prompt_tokens());
        let on_interruption = admission.options.on_interruption;
        let run = Run::new(Arc::clone(self), admission, Operation::Chat { streamed: true }, call);
        let request = Arc::new(request);
        let phase = Phase::Opening(Box::pin(open(run, Arc::clone(&request))));
        Ok(AnswerStream { phase, queue: VecDeque::new(), request, on_interruption })
    }
}

/// A streamed completion on its way to the caller.
pub struct AnswerStream<U: Upstream> {
    phase: Phase<U>,
    queue: VecDeque<StreamEvent>,
    request: Arc<ChatRequest>,
    on_interruption: OnInterruption,
}

type Opening<U> = Pin<Box<dyn Future<Output = Result<Delivering<U>, CallError>> + Send>>;

enum Phase<U: Upstream> {
    /// Attempts are made until one has content.
    Opening(Opening<U>),
    /// Content flows.
    Delivering(Box<Delivering<U>>),
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
                if let ChatEvent::Finish { reason, .. } = &event {
                    finish_reasons.push(*reason);
                }
                pieces.push(StreamEvent::Piece(event));
            }
        }
    }
    run.replied(&header);
    let response_id = header.response_id.clone();
    let mut opening = vec![StreamEvent::Start { header, prompt_filter, served: run.so_far() }];
    opening.append(&mut pieces);
    Ok(Delivering { run, stream: opened.stream, opening, usage: None, response_id, finish_reasons, verdicts })
}

impl<U: Upstream> AnswerStream<U> {
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
}

impl<U: Upstream> Stream for AnswerStream<U> {
    type Item = Result<StreamEvent, CallError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        loop {
            if let Some(event) = this.queue.pop_front() {
                return Poll::Ready(Some(Ok(event)));
            }
            match &mut this.phase {
                Phase::Ended => return Poll::Ready(None),
                Phase::Opening(opening) => match ready!(opening.as_mut().poll(cx)) {
                    Ok(mut delivering) => {
                        this.queue.extend(delivering.opening.drain(..));
                        this.phase = Phase::Delivering(Box::new(delivering));
                    }
                    Err(error) => {
                        this.phase = Phase::Ended;
                        return Poll::Ready(Some(Err(error)));
                    }
                },
                Phase::Delivering(delivering) => match ready!(delivering.stream.as_mut().poll_next(cx)) {
                    Some(Ok(ChatEvent::Usage(usage))) => delivering.usage = Some(usage),
                    Some(Ok(ChatEvent::Header(_) | ChatEvent::PromptFilter(_))) => {}
                    Some(Ok(mut piece)) => {
                        delivering.verdicts.condense(&mut piece);
                        if let ChatEvent::Finish { reason, .. } = &piece {
                            delivering.finish_reasons.push(*reason);
                        }
                        return Poll::Ready(Some(Ok(StreamEvent::Piece(piece))));
                    }
                    Some(Err(failure)) => {
                        let Phase::Delivering(delivering) = std::mem::replace(&mut this.phase, Phase::Ended) else {
                            return Poll::Ready(None);
                        };
                        return Poll::Ready(this.interrupt(delivering.run, failure));
                    }
                    None => {
                        let Delivering { run, usage, response_id, finish_reasons, .. } = &mut **delivering;
                        usage.iter().for_each(|usage| run.used(usage));
                        run.finished(finish_reasons.iter().copied());
                        run.served(Some(response_id));
                        let event = StreamEvent::End { usage: delivering.usage, served: delivering.run.so_far() };
                        this.phase = Phase::Ended;
                        return Poll::Ready(Some(Ok(event)));
                    }
                },
            }
        }
    }
}
