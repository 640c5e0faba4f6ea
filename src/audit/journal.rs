//! The journal as the rest of the service sees it: a bounded queue in front of one thread that writes.
use std::{
    collections::VecDeque,
    io,
    path::{Path, PathBuf},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use tokio::sync::{oneshot, watch};
use tracing::{error, info};

use super::{
    key::{KeyError, SigningKey},
    label::Label,
    record::{AttemptEnd, Cause, Event, Intent, Outcome, Recovered},
    recovery::recover,
    settings::{Durability, Settings},
    storage::{Directory, Storage},
    writer::{Entry, Stamp, Writer},
};

/// Largest record, in bytes of JSON.
const MAX_RECORD_BYTES: usize = 64 << 10;
/// Most names kept of a list that a peer made.
const MAX_LIST: usize = 64;
/// Longest wait between two tries to write again.
const MAX_RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// Why a journal cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A setting is out of its bounds.
    #[error("records must be kept for at least {} days, not {days}", Settings::MIN_RETENTION_DAYS)]
    Retention {
        /// What was asked for.
        days: u32,
    },
    /// The key cannot be used.
    #[error("the journal's signing key cannot be used: {0}")]
    Key(#[from] KeyError),
    /// The directory cannot be used, or another process uses it.
    #[error("the audit journal in {} cannot be opened: {source}", path.display())]
    Directory {
        /// The journal's directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The storage cannot be read or written.
    #[error("the audit journal cannot be opened: {0}")]
    Storage(#[from] io::Error),
}

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

/// The audit journal of one process. Cheap to clone. Records are written in the order in which they are given.
#[derive(Clone, Debug)]
pub struct Journal {
    shared: Arc<Shared>,
    /// Its sender falls with the thread.
    ended: watch::Receiver<()>,
    /// Ends the thread with the last clone.
    _closes: Arc<Closes>,
}

#[derive(Debug)]
struct Closes(Arc<Shared>);

impl Drop for Closes {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// Whoever waits for an INTENT to become durable, and what it is given then.
type Reply = (oneshot::Sender<Result<OpenIntent, JournalError>>, OpenIntent);

#[derive(Debug)]
struct Shared {
    queue: Mutex<Queue>,
    wake: Condvar,
    stamp: Stamp,
    chain: Label,
    attempts: AtomicU64,
    durability: Durability,
    queue_records: usize,
    queue_bytes: usize,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<Waiting>,
    bytes: usize,
    /// Records that found no room.
    lost: u64,
    /// Why nothing can be written at present.
    failure: Option<Label>,
    closing: bool,
}

#[derive(Debug)]
struct Waiting {
    entry: Entry,
    /// Who waits until it is durable. Nobody else is told if that fails, and then the record is not kept either.
    reply: Option<Reply>,
}

impl Journal {
    /// Opens the journal in a directory, which no other process may be using, and recovers what the process before
    /// left unfinished. The key is made if the file is not there. Blocks; call it before serving.
    pub fn open(directory: &Path, key: &Path, settings: Settings) -> Result<Self, OpenError> {
        let key = SigningKey::load_or_create(key)?;
        let storage = Directory::write(directory);
        let storage = storage.map_err(|source| OpenError::Directory { path: directory.to_owned(), source })?;
        Self::open_in(Box::new(storage), key, settings)
    }

    /// The same over any storage.
    pub fn open_in(mut storage: Box<dyn Storage>, key: SigningKey, settings: Settings) -> Result<Self, OpenError> {
        if settings.retention_days < Settings::MIN_RETENTION_DAYS {
            return Err(OpenError::Retention { days: settings.retention_days });
        }
        let found = recover(&mut *storage, key.public())?;
        let stamp = Stamp::new(settings.now);
        let batch = usize::try_from(settings.checkpoint_records).unwrap_or(usize::MAX).max(1);
        let retry = settings.retry_interval;
        let Settings { durability, queue_records, queue_bytes, .. } = settings;
        let writer = Writer::start(storage, key, settings, stamp, found)?;
        let shared = Arc::new(Shared {
            queue: Mutex::default(),
            wake: Condvar::new(),
            stamp,
            chain: writer.chain().clone(),
            attempts: AtomicU64::new(1),
            durability,
            queue_records,
            queue_bytes,
        });
        let (alive, ended) = watch::channel(());
        let work = Work { shared: Arc::clone(&shared), writer, batch, retry };
        thread::Builder::new().name("audit-journal".into()).spawn(move || {
            work.run();
            drop(alive);
        })?;
        Ok(Self { _closes: Arc::new(Closes(Arc::clone(&shared))), shared, ended })
    }

    /// Notes that an attempt is about to be sent. Resolves when that is durable: only then may its first byte leave.
    /// Fails at once while the journal cannot write. Dropping the future takes the intent back; the journal then
    /// says that nothing was sent.
    pub async fn intent(&self, mut intent: Intent) -> Result<OpenIntent, JournalError> {
        let number = self.shared.attempts.fetch_add(1, Ordering::Relaxed);
        let attempt = Label::from(format!("{}-{number}", self.shared.chain));
        intent.attempt = attempt.clone();
        let entry = self.shared.entry(&Event::Intent(Box::new(intent)))?;
        let mut open = OpenIntent { shared: Arc::clone(&self.shared), attempt, unless_told: Some(AttemptEnd::NotSent) };
        if self.shared.durability == Durability::Off {
            if let Err(refusal) = self.shared.push(entry, None) {
                open.disown();
                return Err(refusal);
            }
            open.unless_told = Some(AttemptEnd::Abandoned);
            return Ok(open);
        }
        let (sender, receiver) = oneshot::channel();
        self.shared.push(entry, Some((sender, open)))?;
        let mut open = receiver.await.map_err(|_| JournalError::Closed)??;
        open.unless_told = Some(AttemptEnd::Abandoned);
        Ok(open)
    }

    /// Notes anything but attempts; does not wait for the disk. What finds no room is counted, and the journal tells
    /// how many records it lost.
    pub fn note(&self, event: Event) -> Result<(), JournalError> {
        let noted = self.shared.entry(&event).and_then(|entry| self.shared.push(entry, None));
        if noted.is_err() {
            self.shared.queue().lost += 1;
        }
        noted
    }

    /// Why nothing can be written at present; `None` while all is well.
    pub fn failure(&self) -> Option<Label> {
        self.shared.queue().failure.clone()
    }

    /// Writes what waits and a closing checkpoint, and gives the storage back. Takes no records from now on.
    pub async fn close(&self) {
        self.shared.close();
        // The sender never sends: an error is the thread's end.
        let _ = self.ended.clone().changed().await;
    }
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        // Every change to the queue is complete or has not begun.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn close(&self) {
        self.queue().closing = true;
        self.wake.notify_one();
    }

    fn entry(&self, event: &Event) -> Result<Entry, JournalError> {
        let unwritable = |error: serde_json::Error| JournalError::Unwritable { cause: error.to_string().into() };
        let entry = self.stamp.entry(event).map_err(unwritable)?;
        if entry.bytes() > MAX_RECORD_BYTES {
            return Err(JournalError::TooLarge { bytes: entry.bytes() });
        }
        Ok(entry)
    }

    fn push(&self, entry: Entry, reply: Option<Reply>) -> Result<(), JournalError> {
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
                    queue.add(Waiting { entry, reply });
                    drop(queue);
                    self.wake.notify_one();
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
        self.queue().add(Waiting { entry, reply: None });
        self.wake.notify_one();
    }
}

impl Queue {
    fn add(&mut self, waiting: Waiting) {
        self.bytes += waiting.entry.bytes();
        self.waiting.push_back(waiting);
    }

    fn take(&mut self, most: usize) -> Vec<Waiting> {
        let taken: Vec<Waiting> = self.waiting.drain(..self.waiting.len().min(most)).collect();
        self.bytes -= taken.iter().map(|waiting| waiting.entry.bytes()).sum::<usize>();
        taken
    }
}

/// An attempt whose INTENT is durable. Give its outcome; if it is dropped instead, the journal says `abandoned`.
#[derive(Debug)]
#[must_use = "dropping it ends the attempt in the journal"]
pub struct OpenIntent {
    shared: Arc<Shared>,
    attempt: Label,
    unless_told: Option<AttemptEnd>,
}

impl OpenIntent {
    /// The attempt's name, for `failover_of` of the next one.
    pub fn attempt(&self) -> &Label {
        &self.attempt
    }

    /// Notes how the attempt ended; does not wait for the disk, and is never refused.
    pub fn outcome(mut self, mut outcome: Outcome) {
        self.unless_told = None;
        outcome.attempt = self.attempt.clone();
        self.shared.end(outcome);
    }
}

impl OpenIntent {
    /// Its INTENT is not in the journal, so that it needs no OUTCOME.
    fn disown(mut self) {
        self.unless_told = None;
    }
}

impl Drop for OpenIntent {
    fn drop(&mut self) {
        if let Some(result) = self.unless_told {
            self.shared.end(Outcome { attempt: self.attempt.clone(), result, ..Outcome::default() });
        }
    }
}

/// The thread.
struct Work {
    shared: Arc<Shared>,
    writer: Writer,
    batch: usize,
    retry: Duration,
}

impl Work {
    fn run(mut self) {
        loop {
            let (batch, closing) = self.next_batch();
            let done = closing && batch.is_empty();
            let (mut entries, mut replies): (Vec<Entry>, Vec<Option<Reply>>) =
                batch.into_iter().map(|waiting| (waiting.entry, waiting.reply)).unzip();
            if let Some(lost) = self.lost() {
                entries.push(lost);
                replies.push(None);
            }
            let written = match self.writer.write(&entries) {
                Ok(()) if done => self.writer.close(),
                written => written,
            };
            match written {
                Ok(()) => replies.into_iter().flatten().for_each(|(sender, open)| {
                    // Nobody there any more: the intent drops, and says so in the journal.
                    let _ = sender.send(Ok(open));
                }),
                Err(error) => {
                    let failed = entries.into_iter().zip(replies).map(|(entry, reply)| Waiting { entry, reply });
                    self.refuse(&error, failed.collect());
                    if !self.resume(error) {
                        return;
                    }
                    continue;
                }
            }
            if done {
                return;
            }
        }
    }

    /// Waits for records, or until a checkpoint is due.
    fn next_batch(&self) -> (Vec<Waiting>, bool) {
        let idle = |queue: &mut Queue| queue.waiting.is_empty() && !queue.closing;
        let waited = self.shared.wake.wait_timeout_while(self.shared.queue(), self.writer.rest(), idle);
        let (mut queue, _) = waited.unwrap_or_else(PoisonError::into_inner);
        (queue.take(self.batch), queue.closing)
    }

    /// What tells of records that found no room.
    fn lost(&self) -> Option<Entry> {
        let lost = std::mem::take(&mut self.shared.queue().lost);
        let recovered = Recovered {
            cause: Cause::Overflow,
            last_good: None,
            cut_bytes: 0,
            cut_hash: None,
            open_attempts: 0,
            lost_records: lost,
            detail: None,
        };
        self.shared.stamp.entry(&Event::Recovered(recovered)).ok().filter(|_| lost > 0)
    }

    /// Fails every intent that waits, those of the failed batch and those in the queue, and from now on each that
    /// comes. All other records stay in the queue.
    fn refuse(&self, error: &io::Error, failed: Vec<Waiting>) {
        let cause = Label::from(error.to_string());
        error!(%error, "the audit journal cannot write: calls that need it are refused");
        let refused: Vec<Waiting> = {
            let mut queue = self.shared.queue();
            queue.failure = Some(cause.clone());
            let all = failed.into_iter().chain(std::mem::take(&mut queue.waiting));
            let (refused, kept) = all.partition(|waiting| waiting.reply.is_some());
            queue.bytes = 0;
            Vec::into_iter(kept).for_each(|waiting| queue.add(waiting));
            refused
        };
        for (sender, open) in refused.into_iter().filter_map(|waiting| waiting.reply) {
            open.disown();
            let _ = sender.send(Err(JournalError::Unavailable { cause: cause.clone() }));
        }
    }

    /// Tries until a new segment can be written. `false`: the journal was closed meanwhile.
    fn resume(&mut self, mut failure: io::Error) -> bool {
        let mut interval = self.retry;
        loop {
            let closing = {
                let open = |queue: &mut Queue| !queue.closing;
                let waited = self.shared.wake.wait_timeout_while(self.shared.queue(), interval, open);
                waited.unwrap_or_else(PoisonError::into_inner).0.closing
            };
            match self.writer.resume(&failure) {
                Ok(()) => {
                    self.shared.queue().failure = None;
                    info!("the audit journal writes again");
                    return true;
                }
                Err(_) if closing => return false,
                Err(error) => failure = error,
            }
            interval = (interval * 2).min(MAX_RETRY_INTERVAL);
        }
    }
}
