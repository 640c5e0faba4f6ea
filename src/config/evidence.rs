//! What Azure's control plane confirmed of the targets, in a small file from `sealane check --azure` to the service, so
//! that the journal can say what a scope rests on.
use std::{
    fs, io,
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use sealane_core::domain::{ScopeEvidence, Target};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::{
    file::File,
    problem::{Findings, Place},
};
use crate::azure::ArmAccount;

/// What was confirmed longer ago counts as declared only: Azure lets a SKU be changed at any time.
const OLDEST: Duration = Duration::from_secs(30 * 24 * 3600);

const VERSION: u32 = 1;

/// The file, versioned.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Confirmations {
    version: u32,
    /// Milliseconds since 1970.
    checked_at: u64,
    targets: Vec<Entry>,
}

/// Everything that was compared. A target that differs from it in anything is another one, of which nothing is known.
#[derive(Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    resource: String,
    region: String,
    endpoint: String,
    subscription: String,
    resource_group: String,
    account: String,
    deployment: String,
    sku: String,
    scope: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    spillover: Option<String>,
}

impl Entry {
    fn new(target: &Target, endpoint: &str, account: &ArmAccount) -> Self {
        Self {
            resource: target.resource.to_string(),
            region: target.region.to_string(),
            endpoint: endpoint.to_owned(),
            subscription: account.subscription.clone(),
            resource_group: account.resource_group.clone(),
            account: account.account.clone(),
            deployment: target.deployment.to_string(),
            sku: target.sku.as_str().to_owned(),
            scope: target.scope.as_str().to_owned(),
            spillover: target.claims.spillover.as_ref().map(ToString::to_string),
        }
    }
}

#[derive(Debug, Error)]
enum ReadError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("it is not what `sealane check --azure` writes: {0}")]
    Malformed(#[from] serde_json::Error),
    #[error("it is of version {0}, this version of Sealane knows {VERSION}")]
    Version(u32),
    #[error("it was written {0} days ago; run `sealane check --azure` again")]
    Stale(u64),
}

/// A target that Azure's control plane confirmed: the endpoint and the account of its resource are part of that.
#[derive(Clone, Copy, Debug)]
pub struct Confirmed<'a> {
    /// The target, all of whose claims were found true.
    pub target: &'a Target,
    /// The endpoint that is called.
    pub endpoint: &'a str,
    /// The account that was asked.
    pub account: &'a ArmAccount,
}

/// Writes what was confirmed at `now`, and nothing that was confirmed before. The file is replaced as a whole.
///
/// # Errors
/// When it cannot be written.
pub fn write_scope_evidence(path: &Path, confirmed: &[Confirmed<'_>], now: SystemTime) -> io::Result<()> {
    let since_1970 = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    let targets = confirmed.iter().map(|one| Entry::new(one.target, one.endpoint, one.account)).collect();
    let checked_at = u64::try_from(since_1970.as_millis()).unwrap_or(u64::MAX);
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    let beside = Path::new(&beside);
    fs::write(beside, serde_json::to_vec_pretty(&Confirmations { version: VERSION, checked_at, targets })?)?;
    fs::rename(beside, path)
}

/// What is known of the targets when the configuration is read. A file that is missing or cannot be used is told of and
/// passed over: it only says what a scope rests on, never what it is.
#[derive(Debug, Default)]
pub(super) struct Evidence {
    pub(super) path: Option<PathBuf>,
    entries: Vec<Entry>,
}

impl Evidence {
    pub(super) fn load(file: &File, folder: &Path, now: SystemTime, findings: &mut Findings<'_>) -> Self {
        let Some(setting) = &file.scope_evidence_file else { return Self::default() };
        let Some(name) = setting.take(findings) else { return Self::default() };
        let path = folder.join(name);
        let entries = read(&path, now).unwrap_or_else(|error| {
            unusable(setting.place, &error, findings);
            vec![]
        });
        Self { path: Some(path), entries }
    }

    /// What the scope of a target rests on.
    pub(super) fn of(&self, target: &Target, endpoint: &str, account: Option<&ArmAccount>) -> ScopeEvidence {
        match account {
            Some(account) if self.entries.contains(&Entry::new(target, endpoint, account)) => ScopeEvidence::Arm,
            _ => ScopeEvidence::Declared,
        }
    }
}

fn unusable(place: Place, error: &ReadError, findings: &mut Findings<'_>) {
    let told = match error {
        ReadError::Io(error) if error.kind() == io::ErrorKind::NotFound => {
            "it is not there yet; `sealane check --azure` writes it".to_owned()
        }
        other => other.to_string(),
    };
    findings.warn(place, format_args!("`scope_evidence_file` is passed over, every scope counts as declared: {told}"));
}

fn read(path: &Path, now: SystemTime) -> Result<Vec<Entry>, ReadError> {
    let file: Confirmations = serde_json::from_slice(&fs::read(path)?)?;
    if file.version != VERSION {
        return Err(ReadError::Version(file.version));
    }
    // A clock that was set back makes it young, not old.
    let age = now.duration_since(UNIX_EPOCH + Duration::from_millis(file.checked_at)).unwrap_or_default();
    if age > OLDEST {
        return Err(ReadError::Stale(age.as_secs() / 86_400));
    }
    Ok(file.targets)
}
