//! How a journal is kept.
use std::{
    path::PathBuf,
    time::{Duration, SystemTime},
};

use serde::{Deserialize, Serialize};

use super::{label::Label, request_key::RequestKey};

/// When an INTENT counts as written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Durability {
    /// On the disk: survives a power cut.
    #[default]
    Fsync,
    /// With the operating system: survives the end of the process.
    Flush,
    /// In the journal's queue: survives nothing.
    Off,
}

/// Where checkpoints are copied, so that a journal that was cut short can be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CheckpointCopy {
    /// Appended to a file, best on another machine's disk.
    File(PathBuf),
    /// Written to standard error, for whatever collects logs.
    Stderr,
}

/// How a journal is kept.
#[derive(Clone, Debug)]
pub struct Settings {
    /// When an INTENT counts as written.
    pub durability: Durability,
    /// Most records that wait to be written.
    pub queue_records: usize,
    /// Most bytes that wait to be written.
    pub queue_bytes: usize,
    /// A checkpoint follows at most this long after a record.
    pub checkpoint_interval: Duration,
    /// A checkpoint follows at the latest after this many records.
    pub checkpoint_records: u64,
    /// A checkpoint is written this often even if nothing happens, so that silence is proved too.
    pub heartbeat: Duration,
    /// Where checkpoints are copied.
    pub checkpoint_copy: Option<CheckpointCopy>,
    /// A new segment begins when one has this many bytes.
    pub segment_bytes: u64,
    /// A new segment begins when one is this old.
    pub segment_age: Duration,
    /// Days that records are kept, at least [`MIN_RETENTION_DAYS`](Self::MIN_RETENTION_DAYS).
    pub retention_days: u32,
    /// First wait before writing is tried again after a failure; doubles up to a second.
    pub retry_interval: Duration,
    /// Keys the MACs of requests; `None`: the journal holds none.
    pub request_key: Option<RequestKey>,
    /// Revision of the configuration in force, for the START record.
    pub config_revision: Option<Label>,
    /// The wall clock.
    pub now: fn() -> SystemTime,
}

impl Settings {
    /// Six months, as the EU AI Act asks (Articles 19 and 26(6)), rounded up to whole days.
    pub const MIN_RETENTION_DAYS: u32 = 185;
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            durability: Durability::Fsync,
            queue_records: 8192,
            queue_bytes: 8 << 20,
            checkpoint_interval: Duration::from_secs(1),
            checkpoint_records: 1000,
            heartbeat: Duration::from_secs(60),
            checkpoint_copy: None,
            segment_bytes: 64 << 20,
            segment_age: Duration::from_secs(24 * 3600),
            retention_days: 400,
            retry_interval: Duration::from_millis(50),
            request_key: None,
            config_revision: None,
            now: SystemTime::now,
        }
    }
}
