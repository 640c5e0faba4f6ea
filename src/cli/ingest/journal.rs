//! Which items have their vector: a file beside the output, to which lines are only ever added, each after the vector
//! it speaks of is on disk. A kill at any moment leaves at most one torn line, which is dropped.
//!
//! ```text
//! {"sealane_ingest":1,"model":"text-embedding-3-large","dimensions":null,"output":"jsonl"}   how it was started
//! {"space":"text-embedding-3-large/1/3072","width":3072}                                     what all vectors share
//! {"id":"a","end":31415,"text":"2cf24dba5fb0a30e"}  one for each vector; the output holds it up to this byte
//! ```
use std::{
    collections::HashMap,
    fs::{File, OpenOptions, TryLockError},
    io::{BufRead as _, BufReader, Seek as _, SeekFrom, Write as _},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, anyhow, bail};
use serde::{Deserialize, Serialize};

use super::output::Format;

/// How an ingestion was started: another start at the same output must say the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Started {
    /// Version of this file's format.
    sealane_ingest: u8,
    model: String,
    /// As asked for.
    dimensions: Option<i32>,
    output: Format,
}

/// What makes vectors comparable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Space {
    /// As the service names it.
    #[serde(rename = "space")]
    pub(super) name: String,
    /// Numbers in each vector.
    pub(super) width: usize,
}

/// One finished item.
#[derive(Debug, Serialize, Deserialize)]
struct Finished {
    id: String,
    end: u64,
    /// [`fingerprint`] of what was embedded; journals of the first builds have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    text: Option<String>,
}

/// Tells one text from another: the first 64 bits of its SHA-256, as hex.
pub(super) fn fingerprint(text: &str) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, text.as_bytes());
    digest.as_ref().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

/// What an earlier run has done.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Done {
    /// Ids of all vectors, and the fingerprints of their texts, where they are known.
    pub(super) ids: HashMap<String, Option<String>>,
    /// `None` before the first vector.
    pub(super) space: Option<Space>,
    /// Bytes of the output that hold whole vectors.
    pub(super) end: u64,
}

/// The open journal. Locked: one process at a time writes an output.
#[derive(Debug)]
pub(super) struct Journal {
    file: File,
    path: PathBuf,
    lines: Vec<u8>,
}

impl Started {
    pub(super) fn new(model: &str, dimensions: Option<i32>, output: Format) -> Self {
        Self { sealane_ingest: 1, model: model.to_owned(), dimensions, output }
    }

    fn dimensions(&self) -> String {
        self.dimensions.map_or("the model's own dimensions".to_owned(), |dimensions| format!("{dimensions} dimensions"))
    }
}

/// Reads what an earlier run has done, and changes nothing.
///
/// # Errors
/// When it was started otherwise, or the journal is damaged in another way than by a kill.
pub(super) fn read(path: &Path, started: &Started) -> anyhow::Result<Done> {
    match File::open(path) {
        Ok(file) => Ok(recover(&file, path, started)?.0),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Done::default()),
        Err(error) => Err(error).with_context(|| path.display().to_string()),
    }
}

impl Journal {
    /// Takes up the journal at `path`, or begins it.
    ///
    /// # Errors
    /// As [`read`], and when another process writes it.
    pub(super) fn open(path: &Path, started: &Started) -> anyhow::Result<(Self, Done)> {
        let place = || path.display().to_string();
        let mut file = OpenOptions::new().read(true).append(true).create(true).open(path).with_context(place)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => bail!("{}: another `sealane ingest` writes this output", place()),
            Err(TryLockError::Error(error)) => return Err(error).with_context(place),
        }
        let (done, whole) = recover(&file, path, started)?;
        file.set_len(whole).with_context(place)?;
        file.seek(SeekFrom::End(0)).with_context(place)?;
        let mut journal = Self { file, path: path.to_owned(), lines: Vec::new() };
        if whole == 0 {
            journal.line(started)?;
            journal.commit()?;
        }
        Ok((journal, done))
    }

    /// Notes what all vectors share. Not on disk before [`Self::commit`].
    pub(super) fn space(&mut self, space: &Space) -> anyhow::Result<()> {
        self.line(space)
    }

    /// Notes the vector of a text, which ends at this byte of the output. Not on disk before [`Self::commit`].
    pub(super) fn finished(&mut self, id: &str, text: &str, end: u64) -> anyhow::Result<()> {
        self.line(&Finished { id: id.to_owned(), end, text: Some(fingerprint(text)) })
    }

    /// Puts on disk what was noted; what it speaks of must be there already.
    pub(super) fn commit(&mut self) -> anyhow::Result<()> {
        let written = self.file.write_all(&self.lines).and_then(|()| self.file.sync_data());
        self.lines.clear();
        written.with_context(|| self.path.display().to_string())
    }

    /// The ids in the order of the vectors.
    pub(super) fn ids(&self) -> anyhow::Result<impl Iterator<Item = anyhow::Result<String>>> {
        let file = File::open(&self.path).with_context(|| self.path.display().to_string())?;
        let lines = BufReader::new(file).lines();
        Ok(lines.filter_map(|line| match line {
            Ok(line) => serde_json::from_str::<Finished>(&line).ok().map(|finished| Ok(finished.id)),
            Err(error) => Some(Err(error.into())),
        }))
    }

    fn line(&mut self, value: &impl Serialize) -> anyhow::Result<()> {
        serde_json::to_writer(&mut self.lines, value)?;
        self.lines.push(b'\n');
        Ok(())
    }
}

/// What the journal says, and how many of its bytes are whole lines.
fn recover(file: &File, path: &Path, started: &Started) -> anyhow::Result<(Done, u64)> {
    let mut reader = BufReader::new(file);
    let (mut done, mut whole) = (Done::default(), 0);
    let mut otherwise = None;
    let mut bytes = Vec::new();
    for line in 1.. {
        bytes.clear();
        let read = reader.read_until(b'\n', &mut bytes).with_context(|| path.display().to_string())?;
        if !bytes.ends_with(b"\n") {
            // The end, or what a kill left of a line.
            break;
        }
        let place = || format!("{}:{line}: this is no line of a journal of `sealane ingest`", path.display());
        if line == 1 {
            let before: Started = serde_json::from_slice(&bytes).with_context(place)?;
            otherwise = Some(before).filter(|before| before != started);
        } else if line == 2 {
            done.space = Some(serde_json::from_slice(&bytes).with_context(place)?);
        } else {
            let Finished { id, end, text } = serde_json::from_slice(&bytes).with_context(place)?;
            if end <= done.end || done.ids.insert(id, text).is_some() {
                bail!("{}, or it is out of order", place());
            }
            done.end = end;
        }
        whole += read as u64;
    }
    match otherwise {
        // Nothing came of that start, such as one with a misspelt model: this one begins anew.
        Some(_) if done.space.is_none() => Ok((done, 0)),
        Some(before) => Err(other_start(path, &before, started)),
        None => Ok((done, whole)),
    }
}

fn other_start(path: &Path, before: &Started, now: &Started) -> anyhow::Error {
    let what = if before.model != now.model {
        format!("model {}, not {}", before.model, now.model)
    } else if before.dimensions != now.dimensions {
        format!("{}, not {}", before.dimensions(), now.dimensions())
    } else {
        "another format".to_owned()
    };
    anyhow!(
        "this output was begun with {what} ({}); vectors of both must not meet in one file: give another --out",
        path.display()
    )
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn started() -> Started {
        Started::new("m", None, Format::JsonLines)
    }

    fn with<T>(name: &str, text: &str, use_it: impl FnOnce(&Path) -> T) -> T {
        let path = std::env::temp_dir().join(format!("sealane-journal-{name}-{}", std::process::id()));
        std::fs::write(&path, text).unwrap();
        let result = use_it(&path);
        std::fs::remove_file(&path).unwrap();
        result
    }

    const HEADER: &str = "{\"sealane_ingest\":1,\"model\":\"m\",\"dimensions\":null,\"output\":\"jsonl\"}\n";
    const SPACE: &str = "{\"space\":\"m/1/2\",\"width\":2}\n";

    #[test]
    fn a_kill_at_any_byte_loses_at_most_the_line_it_tore() {
        let whole = format!("{HEADER}{SPACE}{}\n{}\n", r#"{"id":"a","end":10}"#, r#"{"id":"ä\n","end":25}"#);
        for cut in 0..=whole.len() {
            let torn = whole.as_bytes().get(..cut).unwrap();
            let lines = torn.iter().filter(|byte| **byte == b'\n').count();
            with("torn", "", |path| {
                std::fs::write(path, torn).unwrap();
                let (mut journal, done) = Journal::open(path, &started()).unwrap();
                assert_eq!(done.ids.len(), lines.saturating_sub(2), "cut at byte {cut}");
                assert_eq!(done.end, [0, 0, 0, 10, 25][lines]);
                if done.space.is_none() {
                    journal.space(&Space { name: "m/1/2".into(), width: 2 }).unwrap();
                }
                journal.finished("b", "text", 99).unwrap();
                journal.commit().unwrap();
                let again = read(path, &started()).unwrap();
                assert_eq!((again.ids.len(), again.end), (done.ids.len() + 1, 99), "cut at byte {cut}");
                assert_eq!(again.space, Some(Space { name: "m/1/2".into(), width: 2 }));
            });
        }
    }

    #[test]
    fn what_a_kill_cannot_have_done_is_refused() {
        for (text, said) in [
            (format!("{HEADER}{SPACE}nonsense\n"), ":3: this is no line"),
            (
                format!("{HEADER}{SPACE}{{\"id\":\"a\",\"end\":9}}\n{{\"id\":\"a\",\"end\":12}}\n"),
                ":4: this is no line",
            ),
            (format!("{HEADER}{SPACE}{{\"id\":\"a\",\"end\":9}}\n{{\"id\":\"b\",\"end\":9}}\n"), ":4: this is no line"),
            ("my notes\n".to_owned(), ":1: this is no line"),
            (HEADER.replace("null", "8") + SPACE, "begun with 8 dimensions, not the model's own dimensions"),
            (HEADER.replace("\"m\"", "\"other\"") + SPACE, "begun with model other, not m"),
            (HEADER.replace("jsonl", "npy") + SPACE, "begun with another format"),
        ] {
            let error = with("refused", &text, |path| read(path, &started())).unwrap_err();
            assert!(error.to_string().contains(said), "{error}");
        }
    }

    #[test]
    fn a_start_of_which_nothing_came_binds_nobody() {
        with("nothing", &HEADER.replace("null", "8"), |path| {
            let (mut journal, done) = Journal::open(path, &started()).unwrap();
            assert_eq!(done, Done::default());
            journal.space(&Space { name: "m/1/2".into(), width: 2 }).unwrap();
            journal.commit().unwrap();
            assert_eq!(std::fs::read_to_string(path).unwrap(), format!("{HEADER}{SPACE}"));
        });
    }

    #[test]
    fn one_process_at_a_time_writes_an_output() {
        with("locked", HEADER, |path| {
            let _first = Journal::open(path, &started()).unwrap();
            let error = Journal::open(path, &started()).unwrap_err();
            assert!(error.to_string().contains("another `sealane ingest` writes"), "{error}");
        });
    }
}
