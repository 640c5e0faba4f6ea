//! What waits to be written: bounded, and honest about what it could not take.
use std::{
    collections::VecDeque,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, atomic::AtomicU64},
    time::{Duration, Instant},
};

use tokio::sync::{oneshot, watch};

use super::{
    attempt::{AttemptEnd, Outcome},
    label::Label,
    record::Event,
    request_key::RequestKey,
    settings::Durability,
    vitals::Vitals,
    writer::{Entry, Stamp},
};

/// Largest record, in bytes of JSON.
const MAX_RECORD_BYTES: usize = 64 << 10;
/// Most names kept of a list that a peer made.
const MAX_LIST: usize = 64;

/// Why a record was not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JournalError {
    /// The journal cannot write at present; it goes on by itself when it can.
    #[error("the audit journal cannot write: {cause}")]
    Unavailable {
        /// The operating system's words.
        cause: Label,
    },
    /// The disk does not keep up.
    #[error("the audit journal's queue is full")]
    QueueFull,
    /// The record did not become durable in time.
    #[error("the audit journal did not confirm within {} ms", waited.as_millis())]
    TooSlow {
        /// How long the call could wait.
        waited: Duration,
    },
    /// The service is ending.
    #[error("the audit journal is closed")]
    Closed,
    /// The record is larger than any that the service makes.
    #[error("the record has {bytes} bytes, more than {MAX_RECORD_BYTES}")]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
    /// The record has no JSON form.
    #[error("the record cannot be written: {cause}")]
    Unwritable {
        /// Why.
        cause: Label,
    },
}

/// Whoever waits for an INTENT to become durable, and what it is given then.
pub(super) type Reply = (oneshot::Sender<Result<OpenIntent, JournalError>>, OpenIntent);

/// What the service's tasks and the writing thread share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) queue: Mutex<Queue>,
    pub(super) wake: Condvar,
    pub(super) stamp: Stamp,
    /// Names this process's attempts.
    pub(super) chain: Label,
    pub(super) attempts: AtomicU64,
    pub(super) calls: AtomicU64,
    /// Whether records can be written at present.
    pub(super) writable: watch::Sender<bool>,
    pub(super) durability: Durability,
    pub(super) queue_records: usize,
    pub(super) queue_bytes: usize,
    pub(super) request_key: Option<RequestKey>,
    pub(super) vitals: Arc<Vitals>,
}

/// Records on their way to the thread. The lock is held for a few moves of memory, never across an await.
#[derive(Debug, Default)]
pub(super) struct Queue {
    pub(super) waiting: VecDeque<Waiting>,
    pub(super) bytes: usize,
    /// Records that found no room.
    pub(super) lost: u64,
    /// INTENTs among them: somebody waits until they are durable.
    pub(super) awaited: usize,
    /// Why nothing can be written at present.
    pub(super) failure: Option<Label>,
    pub(super) closing: bool,
}

/// One of them.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) entry: Entry,
    /// Who waits until it is durable. Nobody else is told if that fails, and then the record is not kept either.
    pub(super) reply: Option<Reply>,
}

impl Shared {
    pub(super) fn queue(&self) -> MutexGuard<'_, Queue> {
        // Every change to the queue is complete or has not begun.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn close(&self) {
        self.queue().closing = true;
        self.wake.notify_one();
    }

    pub(super) fn entry(&self, event: &Event) -> Result<Entry, JournalError> {
        let unwritable = |error: serde_json::Error| JournalError::Unwritable { cause: error.to_string().into() };
        let entry = self.stamp.entry(event).map_err(unwritable)?;
        if entry.bytes() > MAX_RECORD_BYTES {
            return Err(JournalError::TooLarge { bytes: entry.bytes() });
        }
        Ok(entry)
    }

    pub(super) fn push(&self, entry: Entry, reply: Option<Reply>) -> Result<(), JournalError> {
        let refusal = {
            let mut queue = self.queue();
            let full = queue.waiting.len() >= self.queue_records || queue.bytes + entry.bytes() > self.queue_bytes;
            match &queue.failure {
                _ if queue.closing => JournalError::Closed,
                Some(cause) if reply.is_some() || self.durability == Durability::Off => {
                    JournalError::Unavailable { cause: cause.clone() }
                }
                _ if full => JournalError::QueueFull,
                _ => {
                    let wake = queue.add(Waiting { entry, reply });
                    drop(queue);
                    if wake {
                        self.wake.notify_one();
                    }
                    return Ok(());
                }
            }
        };
        // Its intent never was in the journal, so that it needs no outcome.
        if let Some((_, open)) = reply {
            open.disown();
        }
        Err(refusal)
    }

    /// Takes an OUTCOME even if the queue is full or nothing can be written: there are never more of them than
    /// intents that were taken.
    fn end(&self, mut outcome: Outcome) {
        outcome.content_filter.truncate(MAX_LIST);
        let Ok(entry) = self.stamp.entry(&Event::Outcome(Box::new(outcome))) else { return };
        if self.queue().add(Waiting { entry, reply: None }) {
            self.wake.notify_one();
        }
    }
}

impl Queue {
    /// Whether the thread must be told: of the first that somebody waits for, and of the first of all, so that it
    /// knows that there is something to write before long.
    pub(super) fn add(&mut self, waiting: Waiting) -> bool {
        let first = self.waiting.is_empty() || (self.awaited == 0 && waiting.reply.is_some());
        self.awaited += usize::from(waiting.reply.is_some());
        self.bytes += waiting.entry.bytes();
        self.waiting.push_back(waiting);
        first
    }

    pub(super) fn take(&mut self, most: usize) -> Vec<Waiting> {
        let taken: Vec<Waiting> = self.waiting.drain(..self.waiting.len().min(most)).collect();
        self.bytes -= taken.iter().map(|waiting| waiting.entry.bytes()).sum::<usize>();
        self.awaited -= taken.iter().filter(|waiting| waiting.reply.is_some()).count();
        taken
    }
}

/// An attempt whose INTENT is durable. Give its outcome; if it is dropped instead, the caller left or another attempt
/// won, and the journal says `cancelled`.
#[derive(Debug)]
#[must_use = "dropping it ends the attempt in the journal"]
pub struct OpenIntent {
    pub(super) shared: Arc<Shared>,
    pub(super) attempt: Label,
    pub(super) state: IntentState,
}

/// How far an attempt has come in the journal.
#[derive(Clone, Copy, Debug)]
pub(super) enum IntentState {
    /// Its INTENT is on its way to the disk: nothing was sent.
    Waiting,
    /// Its INTENT is durable; since when.
    Durable(Instant),
    /// Its OUTCOME is told, or its INTENT never was in the journal.
    Over,
}

impl OpenIntent {
    pub(super) fn new(shared: Arc<Shared>, attempt: Label) -> Self {
        Self { shared, attempt, state: IntentState::Waiting }
    }

    pub(super) fn durable(mut self) -> Self {
        self.state = IntentState::Durable(Instant::now());
        self
    }

    /// The attempt's name, for `failover_of` of the next one.
    pub fn attempt(&self) -> &Label {
        &self.attempt
    }

    /// Notes how the attempt ended; does not wait for the disk, and is never refused.
    pub fn outcome(mut self, mut outcome: Outcome) {
        self.state = IntentState::Over;
        outcome.attempt = self.attempt.clone();
        self.shared.end(outcome);
    }

    /// Its INTENT is not in the journal, so that it needs no OUTCOME.
    pub(super) fn disown(mut self) {
        self.state = IntentState::Over;
    }
}

impl Drop for OpenIntent {
    fn drop(&mut self) {
        let (result, since) = match self.state {
            IntentState::Over => return,
            IntentState::Waiting => (AttemptEnd::NotSent, None),
            // A panic tells nothing of how far the attempt had come.
            IntentState::Durable(since) if std::thread::panicking() => (AttemptEnd::Abandoned, Some(since)),
            IntentState::Durable(since) => (AttemptEnd::Cancelled, Some(since)),
        };
        let duration_us = since.map_or(0, |since| u64::try_from(since.elapsed().as_micros()).unwrap_or(u64::MAX));
        let attempt = self.attempt.clone();
        self.shared.end(Outcome { attempt, result, maybe_billed: since.is_some(), duration_us, ..Outcome::default() });
    }
}
