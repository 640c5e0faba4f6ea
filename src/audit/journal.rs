//! The journal as the rest of the service sees it: a bounded queue in front of one thread that writes.
use std::{
    io,
    path::{Path, PathBuf},
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

use tokio::sync::{oneshot, watch};

use super::{
    attempt::Intent,
    key::{KeyError, SigningKey},
    label::Label,
    queue::{JournalError, OpenIntent, Shared},
    record::Event,
    recovery::recover,
    settings::{Durability, Settings},
    storage::{Directory, Storage},
    vitals::{Health, Vitals},
    worker::Work,
    writer::{Stamp, Writer},
};

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
        let Settings { durability, queue_records, queue_bytes, request_key: ref keyed, .. } = settings;
        let request_key = keyed.clone();
        let vitals = Arc::new(Vitals::default());
        let writer = Writer::start(storage, key, settings, stamp, found, Arc::clone(&vitals))?;
        let shared = Arc::new(Shared {
            queue: Mutex::default(),
            wake: Condvar::new(),
            stamp,
            chain: writer.chain().clone(),
            attempts: AtomicU64::new(1),
            calls: AtomicU64::new(1),
            writable: watch::Sender::new(true),
            durability,
            queue_records,
            queue_bytes,
            request_key,
            vitals,
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
        let open = OpenIntent::new(Arc::clone(&self.shared), attempt);
        if self.shared.durability == Durability::Off {
            if let Err(refusal) = self.shared.push(entry, None) {
                open.disown();
                return Err(refusal);
            }
            return Ok(open.durable());
        }
        let (sender, receiver) = oneshot::channel();
        self.shared.push(entry, Some((sender, open)))?;
        Ok(receiver.await.map_err(|_| JournalError::Closed)??.durable())
    }

    /// Notes anything but attempts; does not wait for the disk. What finds no room is counted, and the journal tells
    /// how many records it lost.
    pub fn note(&self, event: Event) -> Result<(), JournalError> {
        let noted = self.shared.entry(&event).and_then(|entry| self.shared.push(entry, None));
        if noted.is_err() {
            self.shared.queue().lost += 1;
            self.shared.vitals.lost();
        }
        noted
    }

    /// A name for a call that no other call of any process has: `CHAIN-cNUMBER`.
    pub fn call_id(&self) -> Label {
        let number = self.shared.calls.fetch_add(1, Ordering::Relaxed);
        format!("{}-c{number}", self.shared.chain).into()
    }

    /// What a request of this caller has in the records; `None` where no key is configured. `canonical` is only asked for
    /// if there is one.
    pub fn request_mac(&self, caller: &str, canonical: impl FnOnce() -> Vec<u8>) -> Option<Label> {
        self.shared.request_key.as_ref().map(|key| key.mac(caller, &canonical()))
    }

    /// Whether records can be written, and every change of that.
    pub fn writable(&self) -> watch::Receiver<bool> {
        self.shared.writable.subscribe()
    }

    /// Tells how it is doing, without keeping it open.
    pub fn health(&self) -> impl Fn() -> Health + Clone + Send + Sync + use<> {
        let shared = Arc::clone(&self.shared);
        move || {
            let queued = shared.queue().waiting.len() as u64;
            shared.vitals.health(*shared.writable.borrow(), queued)
        }
    }

    /// Notes that an attempt was not recorded in time, whatever became of it then.
    pub(super) fn unrecorded(&self) {
        self.shared.vitals.unrecorded();
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
