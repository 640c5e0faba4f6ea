//! The audit journal's section: as written, and checked.
use std::path::{Path, PathBuf};

use schemars::{JsonSchema, Schema, json_schema};
use serde::{Deserialize, Serialize};

use super::{
    problem::{Findings, suggest},
    secret::Secrets,
    value::{Bytes, Scalar, SecretRef, Setting, words},
};
use crate::{
    audit::{CheckpointCopy, Durability, RequestKey, Settings},
    secret::Form,
};

/// The audit journal: what was sent where, for whom, under which policy.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Audit {
    /// Folder of the journal, relative to this file's. One process writes there at a time: each replica needs its own.
    directory: Setting<String>,
    /// PEM file of the key that signs checkpoints, relative to this file's folder; made if it is not there. Best kept
    /// apart from the journal. Default: the journal's folder with `-key.pem` after it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key: Option<Setting<String>>,
    /// When a record counts as written: `fsync` survives a power cut, `flush` the end of the process, `off` neither.
    /// Default fsync.
    #[serde(default = "fsync")]
    durability: Setting<Durability>,
    /// Where signed checkpoints are copied to, so that a journal that was cut short can be told: a file, best on another
    /// machine's disk, or `stderr`. Default: nowhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    checkpoints: Option<Setting<String>>,
    /// Secret of at least 32 characters under which each record holds a MAC of its request, so that whoever has both can
    /// prove that they belong together. Default: none, and no MAC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    request_key: Option<SecretRef>,
    /// Days that records are kept, at least 185. Default 400.
    #[serde(default = "retention_days")]
    retention_days: Setting<u32>,
    /// A new file of the journal begins when one has this many bytes. Default 64MiB.
    #[serde(default = "segment_bytes")]
    segment_bytes: Setting<Bytes>,
}

words!(Durability, "a durability", ["fsync" => Self::Fsync, "flush" => Self::Flush, "off" => Self::Off]);

fn fsync() -> Setting<Durability> {
    Durability::Fsync.into()
}

fn retention_days() -> Setting<u32> {
    Settings::default().retention_days.into()
}

fn segment_bytes() -> Setting<Bytes> {
    Bytes(64 << 20).into()
}

/// Where and how a journal is kept.
#[derive(Clone, Debug)]
pub struct AuditSettings {
    /// Its folder.
    pub directory: PathBuf,
    /// The signing key's file.
    pub key: PathBuf,
    /// How.
    pub settings: Settings,
}

pub(super) fn check(
    entry: &Audit,
    folder: &Path,
    secrets: &Secrets<'_>,
    findings: &mut Findings<'_>,
) -> Option<AuditSettings> {
    const SMALLEST_SEGMENT: usize = 64 << 10;
    let directory = entry.directory.take(findings).map(|path| folder.join(path));
    let key = entry.key.as_ref().map(|path| path.take(findings).map(|path| folder.join(path)));
    let durability = entry.durability.take(findings).copied();
    let checkpoints = entry.checkpoints.as_ref().map(|to| to.take(findings));
    let retention_days = entry.retention_days.take(findings).copied();
    let request_key = entry.request_key.as_ref().map(|from| request_key(from, secrets, findings));
    let Bytes(segment_bytes) = *entry.segment_bytes.take(findings)?;
    if retention_days.is_some_and(|days| days < Settings::MIN_RETENTION_DAYS) {
        let least = Settings::MIN_RETENTION_DAYS;
        findings.refuse(entry.retention_days.place, format!("`retention_days` must be at least {least}"));
    }
    if segment_bytes < SMALLEST_SEGMENT {
        findings.refuse(entry.segment_bytes.place, "`segment_bytes` must be at least 64KiB");
    }
    let directory = directory?;
    let key = match key {
        Some(stated) => stated?,
        None => {
            let mut beside = directory.as_os_str().to_owned();
            beside.push("-key.pem");
            beside.into()
        }
    };
    let checkpoint_copy = match checkpoints {
        None => None,
        Some(to) => Some(match to?.as_str() {
            "stderr" => CheckpointCopy::Stderr,
            path => CheckpointCopy::File(folder.join(path)),
        }),
    };
    Some(AuditSettings {
        directory,
        key,
        settings: Settings {
            durability: durability?,
            retention_days: retention_days?,
            segment_bytes: segment_bytes as u64,
            checkpoint_copy,
            request_key: request_key.map_or(Some(None), |key| key.map(Some))?,
            ..Settings::default()
        },
    })
}

fn request_key(from: &SecretRef, secrets: &Secrets<'_>, findings: &mut Findings<'_>) -> Option<RequestKey> {
    let secret = secrets.resolve("request_key", from, Form::Word, findings)?;
    let key = RequestKey::new(secret.expose().as_bytes());
    if key.is_none() {
        let least = RequestKey::MIN_BYTES;
        findings.refuse(from.place, format!("request_key: the secret must have at least {least} characters"));
    }
    key
}
