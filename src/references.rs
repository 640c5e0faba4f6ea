//! The reference vectors of embedding spaces, kept in a small file beside the state file: what a target is compared with
//! must not follow it when it drifts, not even over a restart.
//!
//! The file has no age: vectors that an index holds do not get old. It is written when a space settles its reference and
//! never otherwise; whoever removes it says that the next start shall settle new ones (docs/embeddings.md).
use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use base64_simd::STANDARD;
use sealane_core::{
    domain::{EmbeddingSpace, REFERENCE_TEXT, Vector},
    router::{Reference, Router},
};
use serde::{Deserialize, Serialize};
use thiserror::Error;
use tokio::time::{Instant, timeout};
use tracing::{error, info};

use crate::{dispatch::Dispatcher, upstream::Upstream};

/// The file, versioned.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct File {
    version: u32,
    /// What was embedded. Vectors of another text say nothing.
    text: String,
    spaces: Vec<Entry>,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    model: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    version: Option<String>,
    dimensions: u32,
    #[serde(default)]
    shortened: bool,
    /// Little-endian 32-bit floats in base64.
    vector: String,
}

const VERSION: u32 = 1;

/// After a write that failed.
const RETRY: Duration = Duration::from_secs(60);

/// Why a file was not taken up.
#[derive(Debug, Error)]
pub enum ReadError {
    /// It cannot be read.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// It is no such file.
    #[error("it is not what this service writes: {0}")]
    Malformed(#[from] serde_json::Error),
    /// One of its vectors is none.
    #[error("the vector of space {0} is none of its length")]
    Vector(String),
    /// It is of another version.
    #[error("it is of version {0}, this service knows {VERSION}")]
    Version(u32),
    /// Its vectors are those of another text.
    #[error("its vectors are those of another text")]
    Text,
}

/// Where they are kept, given where standings are.
pub fn beside(state_file: &Path) -> PathBuf {
    let mut path = state_file.as_os_str().to_owned();
    path.push(".spaces");
    path.into()
}

/// Takes up what an earlier process kept. Nothing there is no news. A file that cannot be used is told of and left where
/// it is: the service starts without references rather than not at all, and does not write over it.
///
/// Answers whether the file may be written.
pub fn restore(path: &Path, router: &mut Router) -> bool {
    match read(path) {
        Ok(kept) => {
            let restored = router.restore_references(kept);
            info!(file = %path.display(), restored, "reference vectors of embedding spaces taken up");
            true
        }
        Err(ReadError::Io(error)) if error.kind() == io::ErrorKind::NotFound => true,
        Err(error) => {
            error!(
                file = %path.display(), %error,
                "reference vectors not taken up: embedding targets are compared with each other only; mend or remove the \
                 file and start anew"
            );
            false
        }
    }
}

/// Every reference in the file.
///
/// # Errors
/// When there is no such file, or it cannot be used.
pub fn read(path: &Path) -> Result<Vec<Reference>, ReadError> {
    let file: File = serde_json::from_slice(&fs::read(path)?)?;
    if file.version != VERSION {
        return Err(ReadError::Version(file.version));
    }
    if file.text != REFERENCE_TEXT {
        return Err(ReadError::Text);
    }
    file.spaces.into_iter().map(reference).collect()
}

fn reference(entry: Entry) -> Result<Reference, ReadError> {
    let Entry { model, version, dimensions, shortened, vector } = entry;
    let (model, version) = (model.into(), version.map(Into::into));
    let space = EmbeddingSpace { model, version, dimensions, shortened };
    let bytes = STANDARD.decode_to_vec(vector.as_bytes()).ok().and_then(Vector::from_le_bytes);
    match bytes.filter(|vector| vector.dimensions() == dimensions as usize) {
        Some(vector) => Ok(Reference { space: Arc::new(space), vector }),
        None => Err(ReadError::Vector(space.to_string())),
    }
}

/// Whole or not at all, and on disk before it counts: written beside it, then renamed over it.
///
/// # Errors
/// When the folder or the file cannot be written.
pub fn write(path: &Path, references: &[Reference]) -> io::Result<()> {
    let entry = |reference: &Reference| Entry {
        model: reference.space.model.to_string(),
        version: reference.space.version.as_deref().map(ToOwned::to_owned),
        dimensions: reference.space.dimensions,
        shortened: reference.space.shortened,
        vector: STANDARD.encode_to_string(reference.vector.clone().into_le_bytes()),
    };
    let spaces = references.iter().map(entry).collect();
    let file = File { version: VERSION, text: REFERENCE_TEXT.to_owned(), spaces };
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    let beside = PathBuf::from(beside);
    let mut new = fs::File::create(&beside)?;
    io::Write::write_all(&mut new, &serde_json::to_vec_pretty(&file)?)?;
    new.sync_all()?;
    fs::rename(beside, path)
}

/// Writes those of spaces that the file does not hold yet: what it holds counts, for `sealane parity` may have accepted
/// other vectors since this process took it up.
///
/// # Errors
/// When there is a file that is none of this service's, or it cannot be written.
fn add(path: &Path, settled: &[Reference]) -> io::Result<()> {
    let mut all = match read(path) {
        Ok(held) => held,
        Err(ReadError::Io(error)) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(io::Error::other(error)),
    };
    let new = settled.iter().filter(|new| all.iter().all(|held| held.space != new.space));
    let new: Vec<Reference> = new.cloned().collect();
    if new.is_empty() {
        return Ok(());
    }
    all.extend(new);
    write(path, &all)
}

/// Keeps the file true to what the router settles, and tries again where that fails; runs until dropped.
pub async fn keep<U: Upstream>(dispatcher: &Dispatcher<U>, file: Option<&Path>) {
    let Some(path) = file else { return std::future::pending().await };
    let mut changes = dispatcher.changes();
    // The first time whatever was taken up: writing what is there already costs nothing.
    let mut kept = 0;
    let mut failed: Option<Instant> = None;
    loop {
        if dispatcher.count_references() != kept && failed.is_none_or(|at| at.elapsed() >= RETRY) {
            let references = dispatcher.references();
            failed = keep_now(path, &references).await.is_none().then(Instant::now);
            kept = if failed.is_none() { references.len() } else { kept };
        }
        if timeout(RETRY, changes.changed()).await.is_ok_and(|changed| changed.is_err()) {
            return;
        }
    }
}

async fn keep_now(path: &Path, references: &[Reference]) -> Option<()> {
    let (file, to_write) = (path.to_owned(), references.to_vec());
    let written = tokio::task::spawn_blocking(move || add(&file, &to_write)).await;
    match written.unwrap_or_else(|error| Err(io::Error::other(error))) {
        Ok(()) => {
            let spaces: Vec<String> = references.iter().map(|reference| reference.space.to_string()).collect();
            info!(file = %path.display(), spaces = spaces.join(", "), "reference vectors of embedding spaces kept");
            Some(())
        }
        Err(error) => {
            error!(
                file = %path.display(), %error,
                "reference vectors not kept: after a restart a target that has drifted could not be told"
            );
            None
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_nothing_else_is() {
        let folder = std::env::temp_dir().join(format!("sealane-references-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let path = beside(&folder.join("state.json"));
        assert!(path.ends_with("state.json.spaces"));
        let space = |version: Option<&str>, dimensions| EmbeddingSpace {
            model: "m".into(),
            version: version.map(Into::into),
            dimensions,
            shortened: version.is_none(),
        };
        let of = |space, components: &[f32]| Reference {
            space: Arc::new(space),
            vector: Vector::from_components(components.iter().copied()),
        };
        let kept = vec![of(space(Some("1"), 2), &[0.6, -0.8]), of(space(None, 3), &[1.0, 0.0, 0.0])];
        write(&path, &kept).unwrap();
        assert_eq!(read(&path).unwrap(), kept);
        let settled = [of(space(None, 3), &[0.0, 1.0, 0.0]), of(space(Some("2"), 2), &[1.0, 0.0])];
        add(&path, &settled).unwrap();
        let both = [&kept[..], &settled[1..]].concat();
        assert_eq!(read(&path).unwrap(), both, "what the file held stays as it was accepted");
        fs::remove_file(&path).unwrap();
        add(&path, &kept).unwrap();
        assert_eq!(read(&path).unwrap(), kept);
        let text = fs::read_to_string(&path).unwrap();
        for (from, to, told) in [
            ("\"version\": 1,", "\"version\": 9,", "version 9"),
            ("A lamp", "A lamb", "another text"),
            ("\"dimensions\": 2", "\"dimensions\": 4", "m/1/4 is none of its length"),
            ("{", "[", "not what this service writes"),
        ] {
            fs::write(&path, text.replacen(from, to, 1)).unwrap();
            assert!(add(&path, &settled).is_err(), "what cannot be read is not written over");
            let error = read(&path).unwrap_err().to_string();
            assert!(error.contains(told), "{error}");
        }
        fs::remove_dir_all(&folder).unwrap();
    }
}
