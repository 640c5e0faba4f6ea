//! Where vectors go: JSON lines, or one numpy array; on disk before the journal says so.
use std::{
    fmt::Write as _,
    fs::{self, File, OpenOptions},
    io::{BufWriter, Seek as _, SeekFrom, Write as _},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use serde::{Deserialize, Serialize};

use super::journal::{Done, Journal, Space, Started};

/// Room for numpy's header, so that the number of rows can be written again: a multiple of 64, as its format asks
/// (numpy/lib/format.py, version 1.0).
const NPY_HEADER_BYTES: usize = 128;
/// What is written together at the latest, in bytes; so much may have to be asked for again after a kill.
const MOST_PENDING_BYTES: usize = 16 << 20;

/// How vectors are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Format {
    /// `{"id":"a","vector":[0.1,...]}`, one line for each.
    #[serde(rename = "jsonl")]
    JsonLines,
    /// A numpy array of float32 in C order, one row for each vector; their ids are lines of a file beside it.
    #[serde(rename = "npy")]
    Npy,
}

impl Format {
    /// By the file's extension.
    pub(super) fn of(path: &Path) -> Result<Self, String> {
        let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
        match extension.to_ascii_lowercase().as_str() {
            "jsonl" | "ndjson" => Ok(Self::JsonLines),
            "npy" => Ok(Self::Npy),
            _ => Err(format!("--out {}: its name must end in .jsonl or .npy", path.display())),
        }
    }
}

/// `vectors.npy` -> `vectors.npy.journal` and the like.
pub(super) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// The output and its journal.
#[derive(Debug)]
pub(super) struct Output {
    path: PathBuf,
    format: Format,
    file: File,
    journal: Journal,
    space: Option<Space>,
    /// Vectors, those not yet on disk among them.
    rows: usize,
    /// Length of the file with what is pending.
    end: u64,
    pending: Vec<u8>,
}

impl Output {
    /// Takes up an output where an earlier run left it, or begins it.
    ///
    /// # Errors
    /// When there is a file of this name without a journal, or another one than the journal speaks of.
    pub(super) fn open(path: &Path, format: Format, started: &Started) -> anyhow::Result<(Self, Done)> {
        let journal_path = beside(path, ".journal");
        let place = || path.display().to_string();
        if path.exists() && !journal_path.exists() {
            bail!("{} exists and has no journal beside it: remove it, or give another --out", place());
        }
        let (journal, done) = Journal::open(&journal_path, started)?;
        let file = OpenOptions::new().write(true).create(true).truncate(false).open(path).with_context(place)?;
        let length = file.metadata().with_context(place)?.len();
        if length < done.end {
            bail!(
                "{} has {length} bytes, but its journal knows of {}: one of the two was changed. Remove both to begin anew",
                place(),
                done.end
            );
        }
        // What lies behind the last vector that the journal knows of is asked for again.
        file.set_len(done.end).with_context(place)?;
        let (space, rows, end) = (done.space.clone(), done.ids.len(), done.end);
        Ok((Self { path: path.to_owned(), format, file, journal, space, rows, end, pending: Vec::new() }, done))
    }

    /// What all vectors share; `None` before the first.
    pub(super) fn space(&self) -> Option<&Space> {
        self.space.as_ref()
    }

    /// Takes a vector, as little-endian 32-bit floats. On disk after [`Self::commit`], which it calls when much waits.
    ///
    /// # Errors
    /// When it is of another embedding space than those before, or cannot be written.
    pub(super) fn keep(&mut self, id: &str, vector: &[u8], space: &str) -> anyhow::Result<()> {
        let (numbers, rest) = vector.as_chunks::<4>();
        if numbers.is_empty() || !rest.is_empty() {
            bail!("the service answered {id} with {} bytes, which are no vector", vector.len());
        }
        self.must_fit(&Space { name: space.to_owned(), width: numbers.len() })?;
        let before = self.pending.len();
        if self.format == Format::Npy && self.end == 0 {
            self.pending.extend_from_slice(&npy_header(0, numbers.len()));
        }
        match self.format {
            Format::Npy => self.pending.extend_from_slice(vector),
            Format::JsonLines => {
                let vector: Vec<_> = numbers.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
                serde_json::to_writer(&mut self.pending, &Line { id, vector: &vector })?;
                self.pending.push(b'\n');
            }
        }
        self.end += (self.pending.len() - before) as u64;
        self.rows += 1;
        self.journal.finished(id, self.end)?;
        if self.pending.len() > MOST_PENDING_BYTES { self.commit() } else { Ok(()) }
    }

    fn must_fit(&mut self, space: &Space) -> anyhow::Result<()> {
        let Some(known) = &self.space else {
            self.journal.space(space)?;
            self.space = Some(space.clone());
            return Ok(());
        };
        if known != space {
            bail!(
                "{} holds vectors of {} with {} numbers, and the service now gives {} with {}: vectors of two spaces \
                 cannot be compared, so they must not meet in one file. Give another --out",
                self.path.display(),
                known.name,
                known.width,
                space.name,
                space.width
            );
        }
        Ok(())
    }

    /// Puts what waits on disk: first vectors, then the journal.
    pub(super) fn commit(&mut self) -> anyhow::Result<()> {
        if !self.pending.is_empty() {
            self.write().with_context(|| self.path.display().to_string())?;
            self.pending.clear();
        }
        self.journal.commit()
    }

    fn write(&mut self) -> std::io::Result<()> {
        self.file.seek(SeekFrom::End(0))?;
        self.file.write_all(&self.pending)?;
        if let (Format::Npy, Some(space)) = (self.format, &self.space) {
            self.file.seek(SeekFrom::Start(0))?;
            self.file.write_all(&npy_header(self.rows, space.width))?;
        }
        self.file.sync_data()
    }

    /// Puts everything on disk, and for numpy's format the ids beside it: line n names row n.
    pub(super) fn close(mut self) -> anyhow::Result<()> {
        self.commit()?;
        if self.format == Format::JsonLines {
            return Ok(());
        }
        if self.space.is_none() {
            self.file.write_all(&npy_header(0, 0)).with_context(|| self.path.display().to_string())?;
        }
        let (path, new) = (ids_path(&self.path), beside(&ids_path(&self.path), ".new"));
        let mut file = BufWriter::new(File::create(&new).with_context(|| new.display().to_string())?);
        for id in self.journal.ids()? {
            serde_json::to_writer(&mut file, &id?)?;
            file.write_all(b"\n")?;
        }
        file.into_inner()?.sync_data()?;
        fs::rename(&new, &path).with_context(|| path.display().to_string())
    }
}

/// `vectors.npy` -> `vectors.ids.jsonl`.
pub(super) fn ids_path(path: &Path) -> PathBuf {
    path.with_extension("ids.jsonl")
}

#[derive(Serialize)]
struct Line<'a> {
    id: &'a str,
    vector: &'a [f32],
}

/// numpy's header of format version 1.0, padded with blanks to [`NPY_HEADER_BYTES`].
fn npy_header(rows: usize, width: usize) -> Vec<u8> {
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = write!(text, "{{'descr': '<f4', 'fortran_order': False, 'shape': ({rows}, {width}), }}");
    let mut header = b"\x93NUMPY\x01\x00".to_vec();
    header.extend_from_slice(&((NPY_HEADER_BYTES - 10) as u16).to_le_bytes());
    header.extend_from_slice(text.as_bytes());
    header.resize(NPY_HEADER_BYTES - 1, b' ');
    header.push(b'\n');
    header
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_header_of_the_largest_array_has_room() {
        let header = npy_header(usize::MAX, usize::MAX);
        assert_eq!(header.len(), NPY_HEADER_BYTES);
        assert!(header.ends_with(b"), }      \n") || header.ends_with(b" \n"), "{header:?}");
        assert_eq!(&header[..10], b"\x93NUMPY\x01\x00\x76\x00");
    }

    #[test]
    fn the_extension_says_the_format() {
        for (name, format) in [("v.jsonl", Some(Format::JsonLines)), ("v.NPY", Some(Format::Npy)), ("v", None)] {
            assert_eq!(Format::of(Path::new(name)).ok(), format, "{name}");
        }
    }
}
