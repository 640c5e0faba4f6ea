//! How the journal is doing: counted by its thread, read by whoever watches it.
use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

/// Counts since the journal was opened, and what is true now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// Records can be written.
    pub writable: bool,
    /// Records that are as durable as they are meant to be.
    pub records: u64,
    /// Records that wait to be written.
    pub queued: u64,
    /// Records other than INTENT and OUTCOME that found no room.
    pub lost: u64,
    /// Attempts for which no INTENT could be written in time.
    pub unrecorded_attempts: u64,
    /// Writes and fsyncs that failed.
    pub failures: u64,
    /// Writes, each with its fsync where durability asks for one.
    pub writes: u64,
    /// Time that they took in all.
    pub writing: Duration,
    /// When the last checkpoint was signed, in milliseconds since 1970 UTC; 0 before the first.
    pub last_checkpoint_unix_ms: u64,
    /// Checkpoints that could not be copied.
    pub failed_copies: u64,
}

/// What is counted.
#[derive(Debug, Default)]
pub(super) struct Vitals {
    records: AtomicU64,
    lost: AtomicU64,
    unrecorded_attempts: AtomicU64,
    failures: AtomicU64,
    writes: AtomicU64,
    writing_us: AtomicU64,
    last_checkpoint_unix_ms: AtomicU64,
    failed_copies: AtomicU64,
}

impl Vitals {
    pub(super) fn wrote(&self, records: u64, took: Duration) {
        self.records.fetch_add(records, Relaxed);
        self.writes.fetch_add(1, Relaxed);
        self.writing_us.fetch_add(u64::try_from(took.as_micros()).unwrap_or(u64::MAX), Relaxed);
    }

    pub(super) fn lost(&self) {
        self.lost.fetch_add(1, Relaxed);
    }

    pub(super) fn unrecorded(&self) {
        self.unrecorded_attempts.fetch_add(1, Relaxed);
    }

    pub(super) fn failed(&self) {
        self.failures.fetch_add(1, Relaxed);
    }

    pub(super) fn sealed(&self, unix_ms: u64) {
        self.last_checkpoint_unix_ms.store(unix_ms, Relaxed);
    }

    pub(super) fn copy_failed(&self) {
        self.failed_copies.fetch_add(1, Relaxed);
    }

    pub(super) fn health(&self, writable: bool, queued: u64) -> Health {
        Health {
            writable,
            records: self.records.load(Relaxed),
            queued,
            lost: self.lost.load(Relaxed),
            unrecorded_attempts: self.unrecorded_attempts.load(Relaxed),
            failures: self.failures.load(Relaxed),
            writes: self.writes.load(Relaxed),
            writing: Duration::from_micros(self.writing_us.load(Relaxed)),
            last_checkpoint_unix_ms: self.last_checkpoint_unix_ms.load(Relaxed),
            failed_copies: self.failed_copies.load(Relaxed),
        }
    }
}
