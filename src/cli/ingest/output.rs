//! Where vectors go: JSON lines, or one numpy array; on disk before the journal says so.
use std::{
    fmt::Write as _,
    fs::{self, File, OpenOptions},
    io::{BufWriter, Seek as _, SeekFrom, Write as _},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use serde::{Deserialize, Serialize};

use super::{
    input::Item,
    journal::{Done, Journal, Space, Started},
};

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
        let mut output = Self { path: path.to_owned(), format, file, journal, space, rows, end, pending: Vec::new() };
        if end > 0 {
            // A kill may have left the count of rows that were just cut off.
            output.write_header().with_context(place)?;
        }
        Ok((output, done))
    }

    /// What all vectors share; `None` before the first.
    pub(super) fn space(&self) -> Option<&Space> {
        self.space.as_ref()
    }

    /// Takes an item's vector, as little-endian 32-bit floats. On disk after [`Self::commit`], which it calls when much waits.
    ///
    /// # Errors
    /// When it is of another embedding space than those before, or cannot be written.
    pub(super) fn keep(&mut self, item: &Item, vector: &[u8], space: &str) -> anyhow::Result<()> {
        let id = &*item.id;
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
        self.journal.finished(id, &item.text, self.end)?;
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

    /// May be repeated after a failure, which may have left a part of it in the file.
    fn write(&mut self) -> std::io::Result<()> {
        self.file.seek(SeekFrom::Start(self.end - self.pending.len() as u64))?;
        self.file.write_all(&self.pending)?;
        self.write_header()?;
        self.file.sync_data()
    }

    /// Says in the file how many rows it has, where its format wants that.
    fn write_header(&mut self) -> std::io::Result<()> {
        if self.format == Format::JsonLines {
            return Ok(());
        }
        let width = self.space.as_ref().map_or(0, |space| space.width);
        self.file.seek(SeekFrom::Start(0))?;
        self.file.write_all(&npy_header(self.rows, width))
    }

    /// Puts everything on disk, and for numpy's format the ids beside it: line n names row n.
    pub(super) fn close(mut self) -> anyhow::Result<()> {
        self.commit()?;
        if self.format == Format::JsonLines {
            return Ok(());
        }
        // An array without rows is one too.
        self.write_header().with_context(|| self.path.display().to_string())?;
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

    /// An output in a folder of its own, which is removed at the end.
    struct Place(PathBuf);

    impl Place {
        fn new(name: &str) -> Self {
            let folder = std::env::temp_dir().join(format!("sealane-output-{name}-{}", std::process::id()));
            fs::create_dir_all(&folder).unwrap();
            Self(folder)
        }

        fn path(&self, format: Format) -> PathBuf {
            self.0.join(if format == Format::Npy { "v.npy" } else { "v.jsonl" })
        }

        fn open(&self, format: Format) -> Output {
            Output::open(&self.path(format), format, &Started::new("m", None, format)).unwrap().0
        }

        fn bytes(&self, format: Format) -> Vec<u8> {
            fs::read(self.path(format)).unwrap()
        }
    }

    impl Drop for Place {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn keep(output: &mut Output, id: &str) {
        let item = Item { line: 1, id: id.to_owned(), text: "text".to_owned() };
        output.keep(&item, &[0; 8], "m/1/2").unwrap();
    }

    fn array(rows: usize) -> Vec<u8> {
        [npy_header(rows, 2), vec![0; rows * 8]].concat()
    }

    #[test]
    fn a_write_that_failed_half_way_is_repeated_in_its_place() {
        let place = Place::new("half");
        for (format, whole) in [
            (Format::JsonLines, b"{\"id\":\"a\",\"vector\":[0.0,0.0]}\n{\"id\":\"b\",\"vector\":[0.0,0.0]}\n".to_vec()),
            (Format::Npy, array(2)),
        ] {
            let mut output = place.open(format);
            keep(&mut output, "a");
            output.commit().unwrap();
            keep(&mut output, "b");
            // What a full disk took of it.
            let half = output.pending.len() / 2;
            output.file.seek(SeekFrom::End(0)).unwrap();
            output.file.write_all(&output.pending[..half]).unwrap();
            output.close().unwrap();
            assert_eq!(place.bytes(format), whole, "{format:?}");
            let output = place.open(format);
            assert_eq!((output.rows, output.end), (2, whole.len() as u64), "the journal says the same");
        }
    }

    #[test]
    fn an_array_has_as_many_rows_as_its_header_says_after_a_kill_too() {
        let place = Place::new("killed");
        let journal = beside(&place.path(Format::Npy), ".journal");
        let mut output = place.open(Format::Npy);
        keep(&mut output, "a");
        output.commit().unwrap();
        let before = fs::read(&journal).unwrap();
        keep(&mut output, "b");
        output.commit().unwrap();
        drop(output);
        // Killed after the vectors were on disk and before the journal was.
        fs::write(&journal, before).unwrap();
        let output = place.open(Format::Npy);
        assert_eq!(place.bytes(Format::Npy), array(1), "a second kill finds it so");
        output.close().unwrap();
        assert_eq!(place.bytes(Format::Npy), array(1));
    }

    #[test]
    fn an_array_without_rows_is_an_array() {
        let place = Place::new("empty");
        place.open(Format::Npy).close().unwrap();
        assert_eq!(place.bytes(Format::Npy), npy_header(0, 0));
    }

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
