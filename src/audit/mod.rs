//! The audit journal: what was sent where, for whom and under which policy, in a form that cannot be changed unseen.
//!
//! A journal is a directory of segments (files of JSON lines), written by one process at a time. Records are numbered
//! without gaps and chained by hashes (`chain`) over all segments and processes; signed checkpoints fix them. An
//! attempt has two records: INTENT, durable before its first byte leaves, and OUTCOME.
//!
//! [`Journal`] writes, [`verify`] checks, [`attempts`] answers questions; none of them knows gRPC, Azure or a terminal.
mod attempt;
mod call;
mod chain;
mod findings;
mod journal;
mod key;
mod label;
mod query;
mod queue;
mod record;
mod recovery;
mod request_key;
mod scan;
mod segment;
mod settings;
mod storage;
mod summary;
mod vitals;
mod worker;
mod writer;

pub use self::{
    attempt::{AttemptEnd, CallFacts, Decision, Intent, Outcome, Place, ScopeEvidence, labels},
    call::{CallJournal, PendingIntent},
    chain::Hash,
    findings::{Findings, Problem, ProblemKind},
    journal::{Journal, OpenError},
    key::{KeyError, PublicKey, SigningKey},
    label::Label,
    query::{Attempt, AttemptKind, Filter, Take, attempts, records},
    queue::{JournalError, OpenIntent},
    record::{
        Alarm, Cause, Checkpoint, Config, Event, Head, Operator, Probe, Record, Recovered, Retention, Segment, Start,
        Transition,
    },
    request_key::RequestKey,
    scan::{Trust, verify},
    segment::segment_name,
    settings::{CheckpointCopy, Durability, Settings},
    storage::{Directory, SegmentFile, Source, Storage},
    summary::{CallerSummary, summarise},
    vitals::Health,
};
