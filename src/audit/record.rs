//! What the journal holds. Facts about calls, never their content: no prompt, completion, vector, key or token.
//!
//! Written as compact JSON with the fields in the order below; fields without a value are left out. The format's
//! version stands in the first record of every segment ([`Segment::format`]).
use serde::{Deserialize, Serialize};

use super::{
    attempt::{Decision, Intent, Outcome},
    chain::Hash,
    key::PublicKey,
    label::Label,
    settings::Durability,
};

/// The version that this build writes, and the only one that it reads.
pub(super) const FORMAT: u16 = 1;

/// One record, with its place and time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Position in the journal: from 0 on, without gaps, over all segments and processes.
    pub seq: u64,
    /// Wall clock when the record was handed to the journal, in milliseconds since 1970 UTC.
    pub unix_ms: u64,
    /// Microseconds since the process opened the journal, from a clock that nobody sets.
    pub mono_us: u64,
    /// What happened.
    #[serde(flatten)]
    pub event: Event,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// A file begins.
    Segment(Segment),
    /// A process begins.
    Start(Start),
    /// The journal goes on after a crash or a write failure.
    Recovered(Recovered),
    /// An attempt is about to be sent. Durable before its first byte leaves.
    Intent(Box<Intent>),
    /// How an attempt ended.
    Outcome(Box<Outcome>),
    /// A policy admitted a call.
    Admit(Box<Decision>),
    /// A call was refused before any attempt.
    Deny(Box<Decision>),
    /// A target's standing changed.
    Transition(Transition),
    /// Test calls of one target, summed up.
    Probe(Probe),
    /// An alarm began, or is over.
    Alarm(Alarm),
    /// A configuration was put in force, or refused.
    Config(Config),
    /// A person or a tool used the operator's API.
    Operator(Operator),
    /// Old segments were removed.
    Retention(Retention),
    /// A signature over everything before it.
    Checkpoint(Checkpoint),
}

/// A file begins. Ties it to the record before it, wherever that is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Segment {
    /// Version of the format; this build writes and reads 1.
    pub format: u16,
    /// The process that writes: 16 hexadecimal digits by chance.
    pub chain: Label,
    /// The key that this process signs checkpoints with.
    pub public_key: PublicKey,
    /// The file's number, as in its name.
    pub number: u64,
    /// The record before this one; `None` at the beginning of the journal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Head>,
    /// Position of the oldest INTENT that has no OUTCOME yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oldest_open: Option<u64>,
    /// Earlier files that do not count to their end, because a write to them failed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub abandoned: Vec<Abandoned>,
}

/// A record's position and hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// Its position.
    pub seq: u64,
    /// Its hash.
    pub hash: Hash,
}

impl Head {
    /// Position of the record after it.
    pub(super) fn next_seq(&self) -> u64 {
        self.seq.saturating_add(1)
    }
}

/// A file of which only the beginning counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Abandoned {
    /// The file's number.
    pub number: u64,
    /// Bytes that count; what follows was never confirmed to be on disk, and no call relied on it.
    pub bytes: u64,
}

/// A process begins.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Start {
    /// Sealane's version.
    pub version: Label,
    /// Revision of the source that it was built from, where the build said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub build: Option<Label>,
    /// When an INTENT counts as written.
    pub durability: Durability,
    /// Revision of the configuration in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_revision: Option<Label>,
}

/// The journal goes on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Recovered {
    /// From what.
    pub cause: Cause,
    /// The last good record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_good: Option<Head>,
    /// Bytes of an unfinished write that were cut off.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub cut_bytes: u64,
    /// SHA-256 of those bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cut_hash: Option<Hash>,
    /// Attempts that were under way; an OUTCOME `unknown_after_crash` follows for each.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub open_attempts: u64,
    /// Records other than INTENT and OUTCOME that could not be kept.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub lost_records: u64,
    /// The operating system's word for the failure, or where the damage is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<Label>,
}

/// What the journal recovered from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// The process before did not close the journal.
    Crash,
    /// A write or an fsync failed.
    WriteFailure,
    /// Records that a checkpoint had sealed are not intact. They are left as they are; `verify` tells where.
    Damage,
    /// More records came than the queue holds.
    Overflow,
}

/// A target's standing changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transition {
    /// The target's model.
    pub model: Label,
    /// The target's region.
    pub region: Label,
    /// The target's deployment.
    pub deployment: Label,
    /// Standing before.
    pub from: Label,
    /// Standing from now on.
    pub to: Label,
    /// Why, in one word.
    pub reason: Label,
}

/// Test calls of one target, summed up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probe {
    /// The target's region.
    pub region: Label,
    /// The target's deployment; empty for test calls of a resource as a whole.
    pub deployment: Label,
    /// Time summed up, in milliseconds.
    pub window_ms: u64,
    /// Test calls that passed.
    pub passed: u64,
    /// Test calls that failed.
    pub failed: u64,
}

/// An alarm, such as one for Azure's answers contradicting the configuration. Fields that do not apply are empty.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alarm {
    /// Its kind, as in `RegionStatus`.
    pub kind: Label,
    /// It is over: it has been gone for half a minute.
    #[serde(default, skip_serializing_if = "is_false")]
    pub over: bool,
    /// The model concerned.
    pub model: Label,
    /// The target's region.
    pub region: Label,
    /// The target's resource.
    pub resource: Label,
    /// The target's deployment.
    pub deployment: Label,
    /// What it means, in a sentence; only when it begins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub meaning: Option<Label>,
}

/// A configuration was put in force, or refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Config {
    /// Its revision.
    pub revision: Label,
    /// Whether it is in force now.
    pub accepted: bool,
    /// The first problem of a refused one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<Label>,
}

/// A person or a tool used the operator's API.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Operator {
    /// Who.
    pub caller: Label,
    /// What, such as `pin` or `drain`.
    pub action: Label,
    /// To what.
    pub subject: Label,
    /// Why, in the operator's words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Label>,
    /// When it ends by itself, in milliseconds since 1970 UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_unix_ms: Option<u64>,
}

/// Old segments were removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retention {
    /// Days that records are kept.
    pub days: u32,
    /// The last record that was removed.
    pub through: Head,
}

/// A signature over everything before it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// The process that writes.
    pub chain: Label,
    /// The record before this one: the last of those covered.
    pub covers: Head,
    /// The journal is closed in good order.
    #[serde(default, skip_serializing_if = "is_false")]
    pub closing: bool,
    /// Ed25519 over [`signed_text`](Self::signed_text), in base64.
    pub signature: String,
}

impl Checkpoint {
    /// What is signed: everything a checkpoint claims, and for what purpose, so that no signature can be mistaken
    /// for another.
    pub fn signed_text(chain: &Label, covers: &Head, closing: bool) -> String {
        let Head { seq, hash } = covers;
        format!("sealane audit checkpoint v1\nchain {chain}\nseq {seq}\nhash {hash}\nclosing {closing}\n")
    }
}

pub(super) fn is_false(value: &bool) -> bool {
    !value
}

pub(super) fn is_zero(value: &u64) -> bool {
    *value == 0
}
