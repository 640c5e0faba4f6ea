//! The body of an answer as it goes out: whole or streamed, at its pace, with what cuts it short.
use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::time::{Instant, Sleep};

use super::chance::Chance;
use super::counters::Ticket;
use super::settings::Latency;
use super::stream::{Event, Rendering};

/// Ready events leave together in frames of about this many bytes.
const FRAME_BYTES: usize = 8 * 1024;

/// A response body.
pub(super) struct ReplyBody {
    source: Source,
    /// Bytes that are due but not yet sent, because they drip.
    dripping: Bytes,
    /// Piece size in bytes and time between pieces.
    drip: Option<(usize, Duration)>,
    /// Bytes left until the connection is reset.
    cut_after: Option<usize>,
    sleep: Option<Pin<Box<Sleep>>>,
    end: End,
    ticket: Option<Ticket>,
}

enum Source {
    Whole { bytes: Bytes, announced: bool },
    Chat(Box<ChatStream>),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    NotYet,
    /// Everything sent so far is to reach the socket first.
    ResetAfterFlush,
    Reset,
    Stalled,
}

/// What comes next.
enum Part {
    Bytes(Bytes),
    Until(Instant),
    Stall,
    Reset,
    End,
}

impl ReplyBody {
    /// `announced`: with `content-length`; otherwise chunked. No ticket: not counted (the control API).
    pub(super) fn whole(bytes: Bytes, announced: bool, mut ticket: Option<Ticket>) -> Self {
        if let Some(ticket) = ticket.as_mut().filter(|_| bytes.is_empty()) {
            ticket.complete();
        }
        Self::new(Source::Whole { bytes, announced }, ticket)
    }

    pub(super) fn chat(stream: ChatStream, ticket: Ticket) -> Self {
        Self::new(Source::Chat(Box::new(stream)), Some(ticket))
    }

    const fn new(source: Source, ticket: Option<Ticket>) -> Self {
        Self { source, dripping: Bytes::new(), drip: None, cut_after: None, sleep: None, end: End::NotYet, ticket }
    }

    /// Sends in pieces of so many bytes, so many milliseconds apart.
    pub(super) fn dripping(mut self, drip: Option<(usize, u64)>) -> Self {
        self.drip = drip.map(|(bytes, every_ms)| (bytes, Duration::from_millis(every_ms)));
        self
    }

    /// Resets the connection after so many bytes.
    pub(super) const fn cut_after(mut self, bytes: Option<usize>) -> Self {
        self.cut_after = bytes;
        self
    }

    fn complete(&mut self) {
        if let Some(ticket) = &mut self.ticket {
            ticket.complete();
        }
    }

    /// Takes the next frame's bytes out of those that are due.
    fn frame(&mut self, due: Bytes) -> Bytes {
        let mut due = due;
        if let Some((piece, every)) = self.drip.filter(|(piece, _)| due.len() > *piece) {
            self.dripping = due.split_off(piece);
            if !every.is_zero() {
                self.sleep = Some(Box::pin(tokio::time::sleep(every)));
            }
        }
        if let Some(left) = self.cut_after {
            if due.len() >= left {
                due.truncate(left);
                self.end = End::ResetAfterFlush;
            }
            self.cut_after = Some(left - due.len().min(left));
        }
        due
    }
}

impl Body for ReplyBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let this = &mut *self;
        loop {
            match this.end {
                End::NotYet => {}
                End::Stalled => return Poll::Pending,
                End::ResetAfterFlush => {
                    // Hyper flushes what it has whenever a body has nothing to give.
                    this.end = End::Reset;
                    context.waker().wake_by_ref();
                    return Poll::Pending;
                }
                End::Reset => {
                    if let Some(ticket) = &this.ticket {
                        ticket.connection().sever(true);
                    }
                    return Poll::Ready(Some(Err(io::ErrorKind::ConnectionReset.into())));
                }
            }
            if let Some(sleep) = &mut this.sleep {
                ready!(sleep.as_mut().poll(context));
                this.sleep = None;
            }
            let part = if this.dripping.is_empty() {
                this.source.next()
            } else {
                Part::Bytes(std::mem::take(&mut this.dripping))
            };
            match part {
                Part::Bytes(bytes) => {
                    let bytes = this.frame(bytes);
                    if this.is_end_stream() {
                        this.complete();
                    }
                    if !bytes.is_empty() {
                        return Poll::Ready(Some(Ok(Frame::data(bytes))));
                    }
                }
                Part::Until(at) => this.sleep = Some(Box::pin(tokio::time::sleep_until(at))),
                Part::Stall => this.end = End::Stalled,
                Part::Reset => this.end = End::ResetAfterFlush,
                Part::End => {
                    this.complete();
                    return Poll::Ready(None);
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(&self.source, Source::Whole { bytes, announced: true } if bytes.is_empty())
            && self.dripping.is_empty()
            && self.end == End::NotYet
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Whole { bytes, announced: true } => {
                SizeHint::with_exact((bytes.len() + self.dripping.len()) as u64)
            }
            _ => SizeHint::default(),
        }
    }
}

impl Source {
    fn next(&mut self) -> Part {
        match self {
            Self::Whole { bytes, .. } if bytes.is_empty() => Part::End,
            Self::Whole { bytes, .. } => Part::Bytes(std::mem::take(bytes)),
            Self::Chat(stream) => stream.next(),
        }
    }
}

/// When content tokens are due. Times are laid out from the first, so that waits do not add up their own delays.
#[derive(Debug)]
pub(super) struct Pace {
    latency: Latency,
    chance: Chance,
    next: Option<Instant>,
}

impl Pace {
    pub(super) const fn new(latency: Latency, seed: u64) -> Self {
        Self { latency, chance: Chance::new(seed), next: None }
    }

    /// Whether content tokens wait at all: without, no timer is made.
    const fn is_timed(&self) -> bool {
        self.latency.first_token_ms > 0 || self.latency.per_token_ms > 0
    }

    /// When the next token is due; `None`: at once.
    fn due(&mut self) -> Option<Instant> {
        let base = if self.next.is_none() { self.latency.first_token_ms } else { self.latency.per_token_ms };
        let wait = base + self.jitter();
        let due = self.next.unwrap_or_else(Instant::now) + Duration::from_millis(wait);
        self.next = Some(due);
        (wait > 0).then_some(due)
    }

    /// Wait before the response head, milliseconds.
    pub(super) fn head_ms(&mut self) -> u64 {
        match self.latency.first_byte_ms {
            0 => 0,
            wait => wait + self.jitter(),
        }
    }

    /// What `tokens` tokens take in a unary answer, milliseconds.
    pub(super) fn whole_ms(&mut self, tokens: u64) -> u64 {
        let between = self.latency.per_token_ms.saturating_mul(tokens.saturating_sub(1));
        match self.latency.first_token_ms + between {
            0 => 0,
            wait => wait + self.jitter(),
        }
    }

    fn jitter(&mut self) -> u64 {
        match self.latency.jitter_ms {
            0 => 0,
            most => self.chance.below(most + 1),
        }
    }
}

/// A chat stream on its way out: events are written when they are due, so that an open stream costs little memory.
pub(super) struct ChatStream {
    events: VecDeque<Event>,
    rendering: Rendering,
    pace: Pace,
    /// The front event's time has come.
    waited: bool,
}

impl ChatStream {
    pub(super) const fn new(events: VecDeque<Event>, rendering: Rendering, pace: Pace) -> Self {
        Self { events, rendering, pace, waited: false }
    }

    fn next(&mut self) -> Part {
        let mut out = Vec::new();
        while let Some(event) = self.events.front().copied() {
            if event.is_content() && !self.waited && self.pace.is_timed() {
                if !out.is_empty() {
                    break;
                }
                self.waited = true;
                if let Some(due) = self.pace.due() {
                    return Part::Until(due);
                }
            }
            if matches!(event, Event::Reset | Event::Stall) {
                if !out.is_empty() {
                    break;
                }
                return if event == Event::Reset { Part::Reset } else { Part::Stall };
            }
            if out.is_empty() {
                out.reserve(if self.pace.is_timed() { 1024 } else { FRAME_BYTES + 1024 });
            }
            self.events.pop_front();
            self.waited = false;
            self.rendering.render(event, &mut out);
            if out.len() >= FRAME_BYTES {
                break;
            }
        }
        if out.is_empty() { Part::End } else { Part::Bytes(out.into()) }
    }
}
