//! `sealane audit`: what the journal proves, for auditors. Needs the journal's files, not the service.
mod held;
mod query;
mod rows;

use std::{
    fs,
    path::{Path, PathBuf},
    thread,
    time::{Duration, SystemTime},
};

use anyhow::Context as _;
use clap::{Args, Subcommand};
use console::style;
use serde_json::json;

use super::{
    Options, Output,
    outcome::{Failure, Outcome, print},
};
use crate::audit::{self, Directory, Filter, Findings, ProblemKind, PublicKey, Trust};

/// Problems that a person is shown of one journal; `--output json` has them all.
const SHOWN_PROBLEMS: usize = 50;
/// How often a journal is read again whose last line was being written, and how long in between.
const REREADS: u32 = 3;
const REREAD_AFTER: Duration = Duration::from_millis(50);

/// Check and question the audit journal: its directories, one for each replica. Works without the service.
#[derive(Debug, Args)]
pub(super) struct Audit {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    Verify(Verify),
    Query(query::Query),
    Export(query::Export),
}

impl Audit {
    pub(super) fn run(self, options: Options) -> Outcome {
        match self.what {
            What::Verify(verify) => verify.run(options),
            What::Query(query) => query.run(options),
            What::Export(export) => export.run(),
        }
    }
}

/// Find every record that was changed, removed or moved. Exit code 5: the journal is not intact.
#[derive(Debug, Args)]
struct Verify {
    /// Directories of journals.
    #[arg(required = true, value_name = "DIRECTORY")]
    directories: Vec<PathBuf>,
    /// A public key that may have signed, as PEM; may be repeated. Without any, the keys that the journal names are
    /// believed.
    #[arg(long, value_name = "FILE")]
    key: Vec<PathBuf>,
    /// Checkpoints that were copied elsewhere: shows whether the end was cut off. Once for each directory, in order.
    #[arg(long, value_name = "FILE")]
    checkpoints: Vec<PathBuf>,
}

impl Verify {
    fn run(self, options: Options) -> Outcome {
        if !self.checkpoints.is_empty() && self.checkpoints.len() != self.directories.len() {
            return Err(Failure::Usage("give --checkpoints once for each directory".into()));
        }
        let keys: Vec<PublicKey> =
            self.key.iter().map(|path| PublicKey::load(path)).collect::<Result<_, _>>().map_err(anyhow::Error::from)?;
        let mut journals = Vec::new();
        for (at, directory) in self.directories.iter().enumerate() {
            let checkpoints = match self.checkpoints.get(at) {
                Some(file) => fs::read(file).with_context(|| file.display().to_string())?,
                None => vec![],
            };
            let trust = Trust { keys: keys.clone(), checkpoints };
            let findings = settled(directory, |source| {
                let findings = audit::verify(source, &trust)?;
                Ok((findings.clone(), findings))
            })?;
            journals.push((directory, findings));
        }
        match options.output {
            Output::Table => {
                print(journals.iter().map(|(at, found)| self.report(at, found)).collect::<String>().trim_end())?
            }
            Output::Json => {
                let journals = journals.iter().map(|(directory, findings)| {
                    json!({ "directory": directory, "intact": findings.problems.is_empty(), "findings": findings })
                });
                print(json!({ "journals": journals.collect::<Vec<_>>() }))?;
            }
        }
        damage(journals.iter().map(|(directory, findings)| (directory.as_path(), findings)))
    }

    fn report(&self, directory: &Path, findings: &Findings) -> String {
        let Findings { problems, segments, records, checkpoints, unsealed, open_attempts, compared, .. } = findings;
        let verdict = match problems.len() {
            0 => style("● intact".to_owned()).green(),
            count => style(format!("✕ {count} problems")).red(),
        };
        let mut text = format!("{} {verdict}\n", style(directory.display()).bold());
        for problem in problems.iter().take(SHOWN_PROBLEMS) {
            text += &format!("  {problem}\n");
        }
        if problems.len() > SHOWN_PROBLEMS {
            text += &format!("  and {} more\n", problems.len() - SHOWN_PROBLEMS);
        }
        let first = findings.first.unwrap_or_default();
        text +=
            &format!("  {records} records from {first} on, in {segments} segments; {checkpoints} checkpoints signed\n");
        if let Some(last) = &findings.last {
            text += &format!("  last: {} {}\n", last.seq, last.hash);
        }
        for key in &findings.keys {
            let doubt =
                if self.key.is_empty() { " (named by the journal; --key says whether it is yours)" } else { "" };
            text += &format!("  key: {key}{doubt}\n");
        }
        let ending = if findings.closed { "closed in good order" } else { "not closed: running, or ended by force" };
        text +=
            &format!("  {ending}; {unsealed} records not sealed yet, {open_attempts} attempts without an outcome\n");
        if !self.checkpoints.is_empty() {
            text += &format!("  {compared} copied checkpoints compared\n");
        }
        text
    }
}

/// What all questions have in common.
#[derive(Debug, Args)]
struct Asked {
    /// Directories of journals.
    #[arg(required = true, value_name = "DIRECTORY")]
    directories: Vec<PathBuf>,
    /// Only this caller's.
    #[arg(long, value_name = "NAME")]
    caller: Option<String>,
    /// Only attempts that went to this region.
    #[arg(long, value_name = "REGION")]
    region: Option<String>,
    /// Only this model's.
    #[arg(long, value_name = "MODEL")]
    model: Option<String>,
    /// Only this unit of work's.
    #[arg(long, value_name = "NAME")]
    workflow: Option<String>,
    /// Only this W3C trace's: 32 hexadecimal digits.
    #[arg(long, value_name = "TRACE")]
    trace: Option<String>,
    #[command(flatten)]
    held: held::HeldRequest,
    /// From this moment on, such as 2026-10-01 or 2026-10-01T08:00:00Z (UTC).
    #[arg(long, value_name = "TIME", value_parser = moment)]
    since: Option<SystemTime>,
    /// Before this moment.
    #[arg(long, value_name = "TIME", value_parser = moment)]
    until: Option<SystemTime>,
}

impl Asked {
    fn filter(&self) -> anyhow::Result<Filter> {
        Ok(Filter {
            caller: self.caller.clone(),
            region: self.region.as_deref().map(sealane_core::domain::normalise_region),
            model: self.model.clone(),
            workflow: self.workflow.clone(),
            trace: self.trace.as_deref().map(str::to_ascii_lowercase),
            request_macs: self.held.macs(self.caller.as_deref().unwrap_or_default())?,
            since: self.since,
            until: self.until,
        })
    }
}

/// A date, or a date with a time.
fn moment(text: &str) -> Result<SystemTime, String> {
    let full = if text.len() == "2026-10-01".len() { format!("{text}T00:00:00Z") } else { text.to_owned() };
    let parsed: Result<prost_types::Timestamp, _> = full.parse();
    parsed.ok().and_then(|time| time.try_into().ok()).ok_or_else(|| "no date such as 2026-10-01T08:00:00Z".to_owned())
}

/// Reads a journal again if all that is wrong is that its last line was being written.
fn settled<T>(directory: &Path, read: impl Fn(&Directory) -> std::io::Result<(T, Findings)>) -> anyhow::Result<T> {
    let named = || directory.display().to_string();
    let source = Directory::read(directory).with_context(named)?;
    let mut rereads = 0;
    loop {
        let (answer, findings) = read(&source).with_context(named)?;
        there_is_one(directory, &findings)?;
        let torn = matches!(findings.problems.as_slice(), [only] if only.kind == ProblemKind::Torn);
        if !torn || rereads == REREADS {
            return Ok(answer);
        }
        rereads += 1;
        thread::sleep(REREAD_AFTER);
    }
}

/// A wrong path, or a journal that somebody deleted, must not pass for one without a fault.
fn there_is_one(directory: &Path, findings: &Findings) -> anyhow::Result<()> {
    anyhow::ensure!(
        findings.segments > 0 || !findings.problems.is_empty(),
        "{}: there is no journal",
        directory.display()
    );
    Ok(())
}

/// Fails if a journal is not intact.
fn damage<'a>(journals: impl Iterator<Item = (&'a Path, &'a Findings)>) -> Outcome {
    let damaged = journals.filter(|(_, findings)| !findings.problems.is_empty());
    let named: Vec<String> = damaged.map(|(directory, _)| directory.display().to_string()).collect();
    if named.is_empty() {
        return Ok(());
    }
    Err(Failure::Unhealthy(format!("not intact: {}; `sealane audit verify` tells where", named.join(", "))))
}
