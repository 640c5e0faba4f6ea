//! `sealane audit query` and `export`: an auditor's questions.
use std::{
    io::{self, BufWriter, Write as _},
    path::{Path, PathBuf},
    time::SystemTime,
};

use anyhow::Context as _;
use clap::Args;
use serde_json::json;

use super::{
    super::{
        Options, Output,
        outcome::{Failure, Outcome, print},
    },
    Asked, damage, rows, settled, there_is_one,
};
use crate::audit::{self, Attempt, Directory, Findings};

/// Tell which attempts went where, for whom. Every attempt is a row, and so is every refused call.
#[derive(Debug, Args)]
pub(super) struct Query {
    #[command(flatten)]
    asked: Asked,
    /// Only the attempt whose answer has this id, which Azure gave it and the caller was told.
    #[arg(long, value_name = "ID")]
    response: Option<String>,
    /// Print comma-separated values (RFC 4180), with all columns.
    #[arg(long, conflicts_with = "summary")]
    csv: bool,
    /// Print one paragraph for each caller instead.
    #[arg(long)]
    summary: bool,
    /// With --summary: count attempts at regions without this data boundary label.
    #[arg(long, requires = "summary", value_name = "LABEL")]
    boundary: Option<String>,
}

impl Query {
    pub(super) fn run(self, options: Options) -> Outcome {
        if self.csv && options.output == Output::Json {
            return Err(Failure::Usage("--csv and --output json exclude each other".into()));
        }
        let filter = self.asked.filter()?;
        let mut journals = Vec::new();
        for directory in &self.asked.directories {
            let read = |source: &Directory| {
                let (attempts, findings) = audit::attempts(source, &filter)?;
                Ok(((attempts, findings.clone()), findings))
            };
            journals.push((directory.as_path(), settled(directory, read)?));
        }
        let findings: Vec<(&Path, Findings)> =
            journals.iter().map(|(directory, (_, findings))| (*directory, findings.clone())).collect();
        let mut found: Vec<(&Path, Attempt)> = Vec::new();
        for (directory, (attempts, _)) in journals {
            found.extend(attempts.into_iter().map(|attempt| (directory, attempt)));
        }
        if let Some(id) = &self.response {
            found.retain(|(_, attempt)| attempt.response_id() == Some(id));
        }
        found.sort_by_key(|(_, attempt)| attempt.unix_ms);
        if self.summary {
            self.summarise(&found, options.output)?
        } else {
            self.list(&found, options.output)?
        }
        damage(findings.iter().map(|(directory, findings)| (*directory, findings)))
    }

    fn list(&self, found: &[(&Path, Attempt)], output: Output) -> Outcome {
        if self.csv {
            return print(rows::csv(found).trim_end());
        }
        match output {
            Output::Json => {
                let attempts = found.iter().map(|(directory, attempt)| rows::document(directory, attempt));
                print(json!({ "attempts": attempts.collect::<anyhow::Result<Vec<_>>>()? }))
            }
            Output::Table => print(rows::table(found).join("\n")),
        }
    }

    fn summarise(&self, found: &[(&Path, Attempt)], output: Output) -> Outcome {
        let attempts: Vec<Attempt> = found.iter().map(|(_, attempt)| attempt.clone()).collect();
        let callers = audit::summarise(&attempts, self.boundary.as_deref());
        match output {
            Output::Json => print(json!({ "callers": callers })),
            Output::Table => {
                print(window(self.asked.since, self.asked.until))?;
                if callers.is_empty() {
                    return print("no calls");
                }
                callers.iter().try_for_each(|caller| print(rows::shown(&caller.to_string())))
            }
        }
    }
}

fn window(since: Option<SystemTime>, until: Option<SystemTime>) -> String {
    let told = |moment: SystemTime| prost_types::Timestamp::from(moment).to_string();
    match (since.map(told), until.map(told)) {
        (Some(since), Some(until)) => format!("From {since} to {until}:"),
        (Some(since), None) => format!("Since {since}:"),
        (None, Some(until)) => format!("Before {until}:"),
        (None, None) => "In all of the journal:".to_owned(),
    }
}

/// Print records as they stand in the journal, one JSON document in a line, each with its hash.
#[derive(Debug, Args)]
pub(super) struct Export {
    #[command(flatten)]
    asked: Asked,
}

impl Export {
    pub(super) fn run(self) -> Outcome {
        let filter = self.asked.filter()?;
        let mut journals: Vec<(PathBuf, Findings)> = Vec::new();
        let mut stdout = BufWriter::new(io::stdout().lock());
        for directory in &self.asked.directories {
            let name = json!(directory);
            let source = Directory::read(directory).with_context(|| directory.display().to_string())?;
            let findings = audit::records(&source, &filter, &mut |chain, _, line| {
                let line = String::from_utf8_lossy(line);
                let (hash, record) = line.split_once(' ').unwrap_or_default();
                let chain = json!(chain);
                writeln!(stdout, r#"{{"journal":{name},"chain":{chain},"hash":"{hash}","record":{record}}}"#)
            })?;
            there_is_one(directory, &findings)?;
            journals.push((directory.clone(), findings));
        }
        stdout.flush()?;
        damage(journals.iter().map(|(directory, findings)| (directory.as_path(), findings)))
    }
}
