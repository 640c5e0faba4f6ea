//! What a reader found: the journal's extent, and everything that is not as it was written.
use std::fmt;

use serde::Serialize;

use super::{
    key::PublicKey,
    record::{FORMAT, Head},
};

/// What a scan found.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Findings {
    /// Everything that is not as it was written. Empty: the journal is intact.
    pub problems: Vec<Problem>,
    /// Segments read.
    pub segments: u64,
    /// Records read.
    pub records: u64,
    /// Position of the first record.
    pub first: Option<u64>,
    /// The last record; note it down, and a journal that is cut shorter can be told.
    pub last: Option<Head>,
    /// Checkpoints whose signature is good.
    pub checkpoints: u64,
    /// Records after the last of them, which only their own hashes protect yet.
    pub unsealed: u64,
    /// Attempts without an outcome.
    pub open_attempts: u64,
    /// Keys that the segments name, in base64.
    pub keys: Vec<PublicKey>,
    /// Copied checkpoints that were compared.
    pub compared: u64,
    /// The last record is a closing checkpoint.
    pub closed: bool,
}

/// Something that is not as it was written.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Problem {
    /// The file.
    pub segment: String,
    /// Its line, counted from 1.
    pub line: u64,
    /// The line's first byte, counted from 0.
    pub offset: u64,
    /// The position that a record should have here.
    pub seq: u64,
    /// What is wrong.
    #[serde(flatten)]
    pub kind: ProblemKind,
}

/// What is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "problem", rename_all = "snake_case")]
pub enum ProblemKind {
    /// The line is no record: its frame is destroyed.
    Malformed,
    /// The last line has no end. An interrupted write, which the next start cuts, or somebody cut it.
    Torn,
    /// The record was changed, or put here from elsewhere: its hash does not follow from the one before.
    Altered,
    /// Records are missing.
    Missing {
        /// Position of the first.
        from: u64,
        /// Position of the last.
        to: u64,
    },
    /// The record belongs elsewhere.
    OutOfOrder {
        /// The position that it states.
        found: u64,
    },
    /// A checkpoint's signature is by none of the trusted keys, or over something else.
    BadSignature,
    /// A checkpoint states another hash than the records before it have: they were written anew.
    Forged,
    /// The segment does not begin with its own SEGMENT record.
    BadHeader,
    /// Another version of Sealane wrote this.
    UnknownFormat {
        /// Its number.
        format: u16,
    },
    /// More records than a service ever leaves without a checkpoint.
    Unsealed {
        /// How many.
        records: u64,
    },
    /// A copied checkpoint is of a record that the journal does not hold with this hash.
    NotAsCopied,
    /// A copied checkpoint lies beyond the journal's end: the end was cut off.
    CutShort {
        /// Position of the copied checkpoint.
        copied: u64,
    },
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { segment, line, offset, seq, kind } = self;
        write!(f, "{segment}:{line} (byte {offset}, record {seq}): {kind}")
    }
}

impl fmt::Display for ProblemKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed => write!(f, "this is no record"),
            Self::Torn => write!(f, "the last record is cut; a start of the service repairs an interrupted write"),
            Self::Altered => write!(f, "the record was changed, or does not belong here"),
            Self::Missing { from, to } if from == to => write!(f, "record {from} is missing"),
            Self::Missing { from, to } => write!(f, "records {from} to {to} are missing"),
            Self::OutOfOrder { found } => write!(f, "record {found} does not belong here"),
            Self::BadSignature => write!(f, "the checkpoint is not signed by a trusted key"),
            Self::Forged => write!(f, "the checkpoint was made for other records than these"),
            Self::BadHeader => write!(f, "the segment does not begin as it should"),
            Self::UnknownFormat { format } => write!(f, "written in format {format}, this version reads {FORMAT}"),
            Self::Unsealed { records } => write!(f, "the last {records} records lack their checkpoints"),
            Self::NotAsCopied => write!(f, "a copied checkpoint states another hash for this record"),
            Self::CutShort { copied } => write!(f, "the journal ends here, but a checkpoint of record {copied} exists"),
        }
    }
}
