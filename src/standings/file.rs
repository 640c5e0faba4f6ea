//! The file in which standings outlast the process.
use std::{
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use sealane_core::{
    domain::Moment,
    router::{Router, SavedDrain, SavedTarget},
};
use serde::{Deserialize, Serialize};
use thiserror::Error;
use tracing::{info, warn};

use crate::{dispatch::Dispatcher, upstream::Upstream};

/// A file that nobody has refreshed for so long tells of another time.
const OLDEST: Duration = Duration::from_secs(24 * 3600);

/// The file, versioned: plain data that a shared store could hold just as well.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct File {
    version: u32,
    /// Milliseconds since 1970.
    saved_at: u64,
    targets: Vec<Entry>,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    model: String,
    resource: String,
    deployment: String,
    level: u8,
    /// Since when its standing is what it is, in milliseconds since 1970. Absent in files of version 1, as are the other
    /// `since` and `cause`.
    #[serde(default)]
    since: Option<u64>,
    /// Why, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cause: Option<String>,
    /// Absent: it serves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    hold_left_ms: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    drained: Option<Drained>,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Drained {
    left_ms: u64,
    /// In milliseconds since 1970.
    #[serde(default)]
    since: Option<u64>,
    reason: String,
}

const VERSION: u32 = 2;

/// Why a file was not taken up.
#[derive(Debug, Error)]
enum ReadError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("it is not what this service writes: {0}")]
    Malformed(#[from] serde_json::Error),
    #[error("it is of version {0}, this service knows those up to {VERSION}")]
    Version(u32),
    #[error("it was written {0} h ago, which tells of another time")]
    Stale(u64),
}

/// Takes up what an earlier process left. Nothing there is no news; what cannot be used is left where it is, told of
/// and passed over: a service that does not start would be worse than one that has to learn again.
pub fn restore(path: &Path, router: &mut Router, now: Moment) {
    match read(path, SystemTime::now()) {
        Ok((targets, age)) => {
            let restored = router.restore(&targets, age, now);
            info!(file = %path.display(), restored, age_s = age.as_secs(), "standings taken up");
        }
        Err(ReadError::Io(error)) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => warn!(file = %path.display(), %error, "standings not taken up; every target starts as serving"),
    }
}

fn read(path: &Path, now: SystemTime) -> Result<(Vec<SavedTarget>, Duration), ReadError> {
    let file: File = serde_json::from_slice(&fs::read(path)?)?;
    if !(1..=VERSION).contains(&file.version) {
        return Err(ReadError::Version(file.version));
    }
    // A clock that was set back meanwhile makes the file young, never old.
    let age = now.duration_since(UNIX_EPOCH + Duration::from_millis(file.saved_at)).unwrap_or_default();
    if age > OLDEST {
        return Err(ReadError::Stale(age.as_secs() / 3600));
    }
    let stood =
        |since: Option<u64>| Duration::from_millis(since.map_or(0, |since| file.saved_at.saturating_sub(since)));
    let targets = file.targets.into_iter().map(|entry| SavedTarget {
        model: entry.model.into(),
        resource: entry.resource.into(),
        deployment: entry.deployment.into(),
        level: entry.level,
        stood: stood(entry.since),
        cause: entry.cause.map(Into::into),
        hold_left: entry.hold_left_ms.map(Duration::from_millis),
        drained: entry.drained.map(|drained| SavedDrain {
            left: Duration::from_millis(drained.left_ms),
            stood: stood(drained.since),
            reason: drained.reason.into(),
        }),
    });
    Ok((targets.collect(), age))
}

/// Whole or not at all: written beside it, then renamed over it.
pub(super) fn write(path: &Path, targets: &[SavedTarget], now: SystemTime) -> io::Result<()> {
    let millis = |span: Duration| u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
    let saved_at = millis(now.duration_since(UNIX_EPOCH).unwrap_or_default());
    let entry = |saved: &SavedTarget| Entry {
        model: saved.model.to_string(),
        resource: saved.resource.to_string(),
        deployment: saved.deployment.to_string(),
        level: saved.level,
        since: Some(saved_at.saturating_sub(millis(saved.stood))),
        cause: saved.cause.as_deref().map(ToOwned::to_owned),
        hold_left_ms: saved.hold_left.map(millis),
        drained: saved.drained.as_ref().map(|drained| Drained {
            left_ms: millis(drained.left),
            since: Some(saved_at.saturating_sub(millis(drained.stood))),
            reason: drained.reason.to_string(),
        }),
    };
    let file = File { version: VERSION, saved_at, targets: targets.iter().map(entry).collect() };
    let (folder, beside) = places(path);
    put(&beside, &serde_json::to_vec_pretty(&file)?)?;
    fs::rename(beside, path)?;
    // The new name is as durable as what it names, or a power cut could leave neither.
    fs::File::open(folder)?.sync_all()
}

/// The folder of the file, and where its successor is written.
fn places(path: &Path) -> (&Path, PathBuf) {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    (folder, beside.into())
}

fn put(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = fs::File::create(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Says at the start if the file could not be written later: the first change of a standing may be weeks away, and
/// the restart that needs the file comes right after it.
pub fn try_out(path: &Path) {
    let (_, beside) = places(path);
    if let Err(error) = put(&beside, b"").and_then(|()| fs::remove_file(&beside)) {
        warn!(file = %path.display(), %error, "standings cannot be kept there: after a restart they would be learned again");
    }
}

/// Keeps what is true at the end.
pub fn save_now<U: Upstream>(dispatcher: &Dispatcher<U>, file: Option<&Path>) {
    let Some(path) = file else { return };
    if let Err(error) = write(path, &dispatcher.saved(), SystemTime::now()) {
        warn!(file = %path.display(), %error, "standings not kept: after a restart they would be learned again");
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_nothing_else_is() {
        let folder = std::env::temp_dir().join(format!("sealane-standings-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let path = folder.join("state.json");
        let saved = vec![SavedTarget {
            model: "gpt-4o".into(),
            resource: "swc".into(),
            deployment: "chat".into(),
            level: 2,
            hold_left: Some(Duration::from_secs(90)),
            stood: Duration::from_secs(30),
            cause: Some("all 3 test calls failed, the last: unavailable (HTTP 503)".into()),
            drained: Some(SavedDrain {
                left: Duration::from_secs(60),
                stood: Duration::from_secs(12),
                reason: "ticket 7".into(),
            }),
        }];
        let now = UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        write(&path, &saved, now).unwrap();
        assert_eq!(read(&path, now + Duration::from_secs(5)).unwrap(), (saved, Duration::from_secs(5)));
        assert_eq!(read(&path, now - Duration::from_secs(5)).unwrap().1, Duration::ZERO, "a clock set back");
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1, "nothing is left beside it");
        try_out(&path);
        assert!(read(&path, now).is_ok(), "trying it out leaves it as it is");
        let told = |now| read(&path, now).unwrap_err().to_string();
        assert!(told(now + Duration::from_secs(25 * 3600)).contains("25 h ago"));
        let first = r#"{"version":1,"saved_at":1800000000000,"targets":[{"model":"m","resource":"r","deployment":"d",
            "level":1,"hold_left_ms":5,"drained":{"left_ms":7,"reason":"old"}}]}"#;
        fs::write(&path, first).unwrap();
        let (old, _) = read(&path, now).unwrap();
        assert_eq!((old[0].level, old[0].stood, &old[0].cause), (1, Duration::ZERO, &None), "a file of version 1");
        fs::write(&path, r#"{"version":9,"saved_at":1,"targets":[]}"#).unwrap();
        assert!(told(now).contains("version 9"));
        fs::write(&path, "{").unwrap();
        assert!(told(now).contains("not what this service writes"));
        fs::remove_dir_all(&folder).unwrap();
    }
}
