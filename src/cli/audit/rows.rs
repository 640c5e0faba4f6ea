//! Attempts as people and programs read them.
use std::{
    path::Path,
    time::{Duration, UNIX_EPOCH},
};

use anyhow::Context as _;
use console::style;
use serde_json::{Value, json};

use super::super::table::Table;
use crate::audit::{Attempt, AttemptKind, Label};

/// A column's heading, and what it says of an attempt.
type Column = (&'static str, fn(&Attempt) -> String);

/// All columns, in their order.
const COLUMNS: &[Column] = &[
    ("time", time),
    ("caller", |row| row.call().caller.to_string()),
    ("workflow", |row| optional(row.call().workflow.as_ref())),
    ("data_class", |row| optional(row.call().data_class.as_ref())),
    ("policy", |row| row.call().policy.to_string()),
    ("model", |row| row.call().model.to_string()),
    ("operation", |row| row.call().operation.to_string()),
    ("region", |row| place(row, |intent| intent.place.region.to_string())),
    ("boundary", |row| place(row, |intent| optional(intent.place.boundary.as_ref()))),
    ("resource", |row| place(row, |intent| intent.place.resource.to_string())),
    ("deployment", |row| place(row, |intent| intent.place.deployment.to_string())),
    ("sku", |row| place(row, |intent| intent.place.sku.to_string())),
    ("scope", |row| place(row, |intent| intent.place.scope.to_string())),
    ("scope_evidence", |row| place(row, |intent| intent.scope_evidence.to_string())),
    ("attempt", |row| place(row, |intent| intent.attempt_number.to_string())),
    ("why", why),
    ("standing", |row| place(row, |intent| optional(intent.standing.as_ref()))),
    ("api_version", |row| place(row, |intent| optional(intent.api_version.as_ref()))),
    ("result", Attempt::result),
    ("failure", |row| ended(row, |outcome| optional(outcome.failure.as_ref()))),
    ("http_status", |row| ended(row, |outcome| outcome.http_status.map(|code| code.to_string()).unwrap_or_default())),
    ("reported_region", |row| ended(row, |outcome| optional(outcome.reported_region.as_ref()))),
    ("reported_deployment", |row| ended(row, |outcome| optional(outcome.reported_deployment.as_ref()))),
    ("spilled_over", |row| ended(row, |outcome| outcome.spilled_over.to_string())),
    ("model_version", |row| ended(row, |outcome| optional(outcome.model_version.as_ref()))),
    ("content_filter", |row| ended(row, |outcome| list(&outcome.content_filter))),
    ("mismatch", |row| ended(row, |outcome| outcome.mismatch.to_string())),
    ("input_tokens", |row| ended(row, |outcome| outcome.input_tokens.to_string())),
    ("output_tokens", |row| ended(row, |outcome| outcome.output_tokens.to_string())),
    ("request_bytes", |row| row.call().request_bytes.to_string()),
    ("duration_us", |row| ended(row, |outcome| outcome.duration_us.to_string())),
    ("request_id", |row| row.call().request_id.to_string()),
    ("trace_id", |row| optional(row.call().trace_id.as_ref())),
    ("request_mac", |row| optional(row.call().request_mac.as_ref())),
    ("response_id", |row| ended(row, |outcome| optional(outcome.response_id.as_ref()))),
    ("upstream_request_id", |row| ended(row, |outcome| optional(outcome.upstream_request_id.as_ref()))),
    ("record", |row| row.seq.to_string()),
];

/// The columns that fit a terminal.
const SHOWN: &[&str] = &["time", "caller", "workflow", "model", "region", "scope", "why", "result", "trace_id"];

fn optional(label: Option<&Label>) -> String {
    label.map(Label::to_string).unwrap_or_default()
}

fn list(labels: &[Label]) -> String {
    labels.iter().map(Label::as_str).collect::<Vec<_>>().join(" ")
}

fn place(row: &Attempt, tell: impl Fn(&crate::audit::Intent) -> String) -> String {
    match &row.kind {
        AttemptKind::Sent { intent, .. } => tell(intent),
        AttemptKind::Denied { .. } => String::new(),
    }
}

fn ended(row: &Attempt, tell: impl Fn(&crate::audit::Outcome) -> String) -> String {
    match &row.kind {
        AttemptKind::Sent { outcome: Some(outcome), .. } => tell(outcome),
        _ => String::new(),
    }
}

fn why(row: &Attempt) -> String {
    match &row.kind {
        AttemptKind::Sent { intent, .. } => intent.reason.to_string(),
        AttemptKind::Denied { decision } => optional(decision.reason.as_ref()),
    }
}

fn time(row: &Attempt) -> String {
    let moment = UNIX_EPOCH.checked_add(Duration::from_millis(row.unix_ms));
    moment.map(|moment| prost_types::Timestamp::from(moment).to_string()).unwrap_or_default()
}

/// Text that cannot move a terminal's cursor, whatever a peer put into it.
pub(super) fn shown(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

pub(super) fn table(found: &[(&Path, Attempt)]) -> Vec<String> {
    let columns: Vec<_> = SHOWN.iter().filter_map(|name| COLUMNS.iter().find(|(title, _)| title == name)).collect();
    let mut table = Table::new(SHOWN);
    for (_, attempt) in found {
        let cells = columns.iter().map(|(name, tell)| {
            let cell = shown(&tell(attempt));
            match (*name, cell.as_str()) {
                ("result", "served") => style(cell).green().to_string(),
                ("result", _) => style(cell).yellow().to_string(),
                _ => cell,
            }
        });
        table.row(cells.collect());
    }
    table.lines()
}

/// RFC 4180, with a heading. A value that a spreadsheet would take for a formula gets an apostrophe before it.
pub(super) fn csv(found: &[(&Path, Attempt)]) -> String {
    let mut text = String::new();
    let mut line = |cells: &mut dyn Iterator<Item = String>| {
        let cells: Vec<String> = cells.map(|cell| quoted(&cell)).collect();
        text += &cells.join(",");
        text += "\r\n";
    };
    line(&mut COLUMNS.iter().map(|(name, _)| (*name).to_owned()).chain(["journal".to_owned()]));
    for (directory, attempt) in found {
        let journal = directory.display().to_string();
        line(&mut COLUMNS.iter().map(|(_, tell)| tell(attempt)).chain([journal]));
    }
    text
}

fn quoted(cell: &str) -> String {
    let cell = if cell.starts_with(['=', '+', '-', '@', '\t', '\r']) { format!("'{cell}") } else { cell.to_owned() };
    if cell.contains([',', '"', '\n', '\r']) { format!("\"{}\"", cell.replace('"', "\"\"")) } else { cell }
}

pub(super) fn document(directory: &Path, attempt: &Attempt) -> anyhow::Result<Value> {
    let mut document = serde_json::to_value(attempt).context("an attempt has no JSON form")?;
    if let Some(fields) = document.as_object_mut() {
        fields.insert("journal".into(), json!(directory));
        fields.insert("time".into(), json!(time(attempt)));
    }
    Ok(document)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_cell_is_taken_for_anything_else() {
        for (cell, expected) in [
            ("plain", "plain"),
            ("a,b", "\"a,b\""),
            ("say \"hi\"", "\"say \"\"hi\"\"\""),
            ("two\nlines", "\"two\nlines\""),
            ("=HYPERLINK(\"http://x\")", "\"'=HYPERLINK(\"\"http://x\"\")\""),
            ("@SUM", "'@SUM"),
        ] {
            assert_eq!(quoted(cell), expected);
        }
        assert_eq!(shown("a\u{1b}[2Jb\n"), "a\u{fffd}[2Jb\u{fffd}");
    }
}
