//! How the audit journal is doing, read when somebody looks.
use opentelemetry::metrics::Meter;

use super::{gauge, table, total};

/// The journal at one moment; counts are of the whole process.
#[derive(Clone, Copy, Debug, Default)]
pub struct JournalView {
    /// Records can be written.
    pub writable: bool,
    /// Records written.
    pub records: u64,
    /// Records that wait to be written.
    pub queued: u64,
    /// Records that found no room.
    pub lost: u64,
    /// Attempts that could not be recorded.
    pub unrecorded_attempts: u64,
    /// Writes and fsyncs that failed.
    pub failures: u64,
    /// Writes with their fsync.
    pub writes: u64,
    /// Seconds that they took in all.
    pub writing_seconds: f64,
    /// When the last checkpoint was signed, in seconds since 1970; `None` before the first.
    pub last_checkpoint: Option<f64>,
    /// Checkpoints that could not be copied.
    pub failed_copies: u64,
}

pub(super) fn watch(meter: &Meter, look: impl Fn() -> JournalView + Clone + Send + Sync + 'static) {
    let count = |row, read: fn(&JournalView) -> f64| {
        let look = look.clone();
        total(meter, row, move |put| put(read(&look()), &[]));
    };
    count(&table::AUDIT_RECORDS, |view| view.records as f64);
    count(&table::AUDIT_LOST, |view| view.lost as f64);
    count(&table::AUDIT_UNRECORDED, |view| view.unrecorded_attempts as f64);
    count(&table::AUDIT_FAILURES, |view| view.failures as f64);
    count(&table::AUDIT_WRITES, |view| view.writes as f64);
    count(&table::AUDIT_WRITING, |view| view.writing_seconds);
    count(&table::AUDIT_FAILED_COPIES, |view| view.failed_copies as f64);
    let (writable, queued, checkpoint) = (look.clone(), look.clone(), look);
    gauge(meter, &table::AUDIT_WRITABLE, move |put| put(f64::from(u8::from(writable().writable)), &[]));
    gauge(meter, &table::AUDIT_QUEUED, move |put| put(queued().queued as f64, &[]));
    gauge(meter, &table::AUDIT_CHECKPOINT, move |put| {
        checkpoint().last_checkpoint.iter().for_each(|at| put(*at, &[]));
    });
}
