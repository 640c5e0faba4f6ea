//! A streamed completion out of a response body: within its limits, and whole or an error.
use std::{
    collections::VecDeque,
    future::Future as _,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use futures_util::Stream;
use http_body::Body as _;
use reqwest::{Body, Response};
use sealane_core::domain::{
    AttemptLimits, BadResponse, ChatEvent, Evidence, ExpectedVersion, Failure, FailureKind, Silence, StreamEnd,
    StreamProgress,
};
use tokio::time::{Instant, Sleep};

use super::{ResponseBounds, reply, sse::EventReader};

/// How long the end of the body is waited for after `[DONE]`: a connection whose body was read to its end can be used
/// again.
const END_PATIENCE: Duration = Duration::from_millis(50);

/// The events. One timer serves all limits; it is set anew when it goes off or another phase begins, so that an event
/// costs no timer operation.
pub(super) struct ChatEvents {
    body: Body,
    reader: EventReader,
    /// Bytes that may still come.
    room: usize,
    queue: VecDeque<ChatEvent>,
    progress: StreamProgress,
    header_seen: bool,
    content_seen: bool,
    anything_seen: bool,
    limits: AttemptLimits,
    started: Instant,
    last_event: Instant,
    timer: Pin<Box<Sleep>>,
    evidence: Evidence,
    expected: Option<ExpectedVersion>,
    /// How it ends once the events that came before are out.
    ending: Option<Result<StreamEnd, FailureKind>>,
    done_seen: bool,
    ended: bool,
}

/// What is waited for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// The first content.
    Opening,
    /// The next event.
    Content,
    /// Usage and `[DONE]`.
    Tail,
    /// The end of the body.
    Done,
}

impl ChatEvents {
    pub(super) fn new(
        response: Response,
        limits: AttemptLimits,
        started: Instant,
        choices: u32,
        bounds: ResponseBounds,
        evidence: Evidence,
        expected: Option<ExpectedVersion>,
    ) -> Self {
        let timer = Box::pin(tokio::time::sleep_until(started + limits.first_content.min(limits.total)));
        Self {
            body: Body::from(response),
            reader: EventReader::new(bounds.max_event_bytes),
            room: bounds.max_body_bytes,
            queue: VecDeque::new(),
            progress: StreamProgress::new(choices),
            header_seen: false,
            content_seen: false,
            anything_seen: false,
            limits,
            started,
            last_event: started,
            timer,
            evidence,
            expected,
            ending: None,
            done_seen: false,
            ended: false,
        }
    }

    fn phase(&self) -> Phase {
        if self.done_seen {
            Phase::Done
        } else if self.progress.all_finished() {
            Phase::Tail
        } else if self.content_seen {
            Phase::Content
        } else {
            Phase::Opening
        }
    }

    /// When silence will have lasted too long, and what it then means.
    fn limit(&self) -> (Instant, Silence) {
        let total = (self.started + self.limits.total, Silence::Total);
        let silence = match self.phase() {
            Phase::Opening => (self.started + self.limits.first_content, Silence::FirstContent),
            Phase::Content => (self.last_event + self.limits.stall, Silence::Stall),
            Phase::Tail => (self.last_event + StreamProgress::TAIL_PATIENCE, Silence::Stall),
            Phase::Done => (self.last_event + END_PATIENCE, Silence::Stall),
        };
        if silence.0 <= total.0 { silence } else { total }
    }

    /// Reads every event that the frame completes; says how the stream ends if one of them says so.
    fn read(&mut self, now: Instant) -> Result<Option<StreamEnd>, FailureKind> {
        loop {
            let data = match self.reader.next() {
                Ok(Some(data)) => data,
                Ok(None) => return Ok(None),
                Err(_) => return Err(FailureKind::BadResponse(BadResponse::TooLarge)),
            };
            self.anything_seen = true;
            self.last_event = now;
            if &*data == b"[DONE]" {
                self.done_seen = true;
                return Ok(Some(self.progress.at_done()));
            }
            let before = self.queue.len();
            reply::chunk(&data, &mut self.header_seen, &mut self.queue)?;
            for event in self.queue.iter().skip(before) {
                if self.progress.is_foreign(event) {
                    return Err(FailureKind::BadResponse(BadResponse::Malformed));
                }
                if let (ChatEvent::Header(header), Some(expected)) = (event, &self.expected)
                    && expected.refuses(&header.model)
                {
                    return Err(FailureKind::BadResponse(BadResponse::VersionMismatch));
                }
                self.progress.observe(event);
                self.content_seen |= event.is_content();
            }
        }
    }

    fn fail(&mut self, kind: FailureKind) -> Poll<Option<Result<ChatEvent, Failure>>> {
        self.ended = true;
        Poll::Ready(Some(Err(Failure { kind, evidence: Box::new(self.evidence.clone()), maybe_billed: true })))
    }

    fn end(&mut self, end: StreamEnd) -> Poll<Option<Result<ChatEvent, Failure>>> {
        self.ended = true;
        match end {
            StreamEnd::Whole => Poll::Ready(None),
            // A body without a single event is no stream at all: HTML, an empty answer, a proxy's page.
            StreamEnd::Cut if !self.anything_seen => self.fail(FailureKind::BadResponse(BadResponse::Malformed)),
            StreamEnd::Cut => self.fail(FailureKind::Truncated),
        }
    }

    fn poll_body_end(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match Pin::new(&mut self.body).poll_frame(cx) {
            Poll::Ready(_) => Poll::Ready(()),
            Poll::Pending => self.timer.as_mut().poll(cx),
        }
    }

    fn poll_silence(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<ChatEvent, Failure>>> {
        loop {
            ready!(self.timer.as_mut().poll(cx));
            let (until, silence) = self.limit();
            if until <= Instant::now() {
                // Whatever limit this is: nothing is missing once every choice is finished.
                if self.progress.all_finished() {
                    let end = self.progress.at_silence();
                    return self.end(end);
                }
                return self.fail(FailureKind::Silence(silence));
            }
            self.timer.as_mut().reset(until);
        }
    }
}

impl Stream for ChatEvents {
    type Item = Result<ChatEvent, Failure>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        loop {
            if let Some(event) = this.queue.pop_front() {
                return Poll::Ready(Some(Ok(event)));
            }
            if this.ended {
                return Poll::Ready(None);
            }
            match this.ending.take() {
                Some(Ok(StreamEnd::Whole)) if this.done_seen && this.poll_body_end(cx).is_pending() => {
                    this.ending = Some(Ok(StreamEnd::Whole));
                    return Poll::Pending;
                }
                Some(Ok(end)) => return this.end(end),
                Some(Err(kind)) => return this.fail(kind),
                None => {}
            }
            match Pin::new(&mut this.body).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => {
                    let Ok(bytes) = frame.into_data() else { continue };
                    let Some(room) = this.room.checked_sub(bytes.len()) else {
                        this.ending = Some(Err(FailureKind::BadResponse(BadResponse::TooLarge)));
                        continue;
                    };
                    this.room = room;
                    this.reader.push(bytes);
                    let before = this.phase();
                    let now = Instant::now();
                    this.ending = this.read(now).transpose();
                    // A region that always has bytes ready never lets the timer have its turn.
                    let (until, silence) = this.limit();
                    if this.ending.is_none() && until <= now && !this.progress.all_finished() {
                        this.ending = Some(Err(FailureKind::Silence(silence)));
                    }
                    if this.phase() != before {
                        // What is waited for now may be due before the timer goes off.
                        this.timer.as_mut().reset(until);
                    }
                }
                Poll::Ready(Some(Err(_)) | None) => this.ending = Some(Ok(this.progress.at_silence())),
                Poll::Pending => return this.poll_silence(cx),
            }
        }
    }
}
