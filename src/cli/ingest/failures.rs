//! Items that have no vector and why: lines of a file beside the output, for people and for programs.
use std::{
    fs::{self, File},
    io::Write as _,
    path::PathBuf,
};

use anyhow::Context as _;
use serde::Serialize;

/// The failures of this run. The file exists only if there are any; that of an earlier run stays until one of this run
/// takes its place, or [`Self::end`] says that all of its items were tried again.
#[derive(Debug)]
pub(super) struct Failures {
    pub(super) path: PathBuf,
    file: Option<File>,
}

/// One of them. Never the text.
#[derive(Debug, Serialize)]
pub(super) struct Failed<'a> {
    pub(super) id: &'a str,
    /// 1-based line of the input.
    pub(super) line: usize,
    /// As in docs/errors.md.
    pub(super) reason: &'a str,
    pub(super) message: &'a str,
    /// Azure region that refused it; empty if none was asked.
    pub(super) region: &'a str,
}

impl Failures {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, file: None }
    }

    /// Every item was tried: an earlier run's file has nothing more to say.
    pub(super) fn end(&self) -> anyhow::Result<()> {
        if self.file.is_some() {
            return Ok(());
        }
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(error).with_context(|| self.path.display().to_string())
            }
            _ => Ok(()),
        }
    }

    pub(super) fn add(&mut self, failed: &Failed<'_>) -> anyhow::Result<()> {
        let place = || self.path.display().to_string();
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(File::create(&self.path).with_context(place)?),
        };
        let mut line = serde_json::to_vec(failed)?;
        line.push(b'\n');
        file.write_all(&line).with_context(place)
    }
}
