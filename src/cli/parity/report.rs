//! What was found, as a table for people and as JSON for programs.
use std::sync::Arc;

use console::style;
use sealane_core::domain::{ModelKind, Target};
use serde_json::{Value, json};

use super::super::table::Table;

/// How one target did in one check.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Finding {
    /// As it should, with what is worth showing of it.
    Ok(String),
    /// It works, and otherwise than the others or the configuration says.
    Differs(String),
    /// It does not work.
    Fails(String),
    /// Not asked for, and why.
    Skipped(String),
}

impl Finding {
    /// Nothing speaks against the target.
    pub(super) fn is_sound(&self) -> bool {
        matches!(self, Self::Ok(_) | Self::Skipped(_))
    }

    fn parts(&self) -> (&'static str, &str) {
        match self {
            Self::Ok(told) => ("ok", told),
            Self::Differs(told) => ("differs", told),
            Self::Fails(told) => ("fails", told),
            Self::Skipped(told) => ("skipped", told),
        }
    }

    fn show(&self) -> String {
        match self {
            Self::Ok(told) => style(format!("● {told}")).green(),
            Self::Differs(told) => style(format!("≠ {told}")).yellow(),
            Self::Fails(told) => style(format!("✕ {told}")).red(),
            Self::Skipped(told) => style(format!("- {told}")).dim(),
        }
        .to_string()
    }
}

/// One target, and its findings in the order of the checks.
pub(super) struct Column {
    pub(super) target: Arc<Target>,
    pub(super) findings: Vec<(&'static str, Finding)>,
}

/// One route.
pub(super) struct Report {
    pub(super) model: Arc<str>,
    pub(super) kind: ModelKind,
    pub(super) columns: Vec<Column>,
}

impl Report {
    /// The checks that some target was put to, in their order.
    fn checks(&self) -> Vec<&'static str> {
        let mut checks = Vec::new();
        for (check, _) in self.columns.iter().flat_map(|column| &column.findings) {
            if !checks.contains(check) {
                checks.push(*check);
            }
        }
        checks
    }

    fn space(&self) -> Option<String> {
        Some(self.columns.first()?.target.embedding_space.as_ref()?.to_string())
    }
}

/// One table for each route: a row for each check, a column for each target.
pub(super) fn lines(reports: &[Report]) -> Vec<String> {
    let mut lines = Vec::new();
    for report in reports {
        let space = report.space().map(|space| format!(" {}", style(space).dim())).unwrap_or_default();
        lines.push(format!("{}{space}", style(&report.model).bold()));
        let names = report.columns.iter().map(|Column { target, .. }| format!("{} {}", target.resource, target.region));
        let heading: Vec<String> = std::iter::once("check".to_owned()).chain(names).collect();
        let mut table = Table::new(&heading.iter().map(String::as_str).collect::<Vec<_>>());
        for check in report.checks() {
            let cell = |column: &Column| {
                let found = column.findings.iter().find(|(name, _)| *name == check);
                found.map(|(_, finding)| finding.show()).unwrap_or_default()
            };
            table.row(std::iter::once(check.to_owned()).chain(report.columns.iter().map(cell)).collect());
        }
        lines.extend(table.lines().into_iter().map(|line| format!("  {line}")));
        lines.push(String::new());
    }
    lines.pop();
    lines
}

/// The same for programs; `agrees` says whether nothing differs and nothing fails.
pub(super) fn document(reports: &[Report]) -> Value {
    let models = reports.iter().map(|report| {
        let targets = report.columns.iter().map(|Column { target, findings }| {
            let checks = findings.iter().map(|(check, finding)| {
                let (result, detail) = finding.parts();
                json!({ "check": check, "result": result, "detail": detail })
            });
            json!({
                "region": *target.region,
                "resource": *target.resource,
                "deployment": *target.deployment,
                "checks": checks.collect::<Vec<_>>(),
            })
        });
        json!({
            "model": *report.model,
            "kind": if report.kind == ModelKind::Chat { "chat" } else { "embedding" },
            "embeddingSpace": report.space(),
            "targets": targets.collect::<Vec<_>>(),
        })
    });
    json!({ "agrees": verdict(reports).is_ok(), "models": models.collect::<Vec<_>>() })
}

/// # Errors
/// With how many findings speak against parity.
pub(super) fn verdict(reports: &[Report]) -> Result<(), String> {
    let findings = || reports.iter().flat_map(|report| &report.columns).flat_map(|column| &column.findings);
    let fail = findings().filter(|(_, finding)| matches!(finding, Finding::Fails(_))).count();
    let differ = findings().filter(|(_, finding)| matches!(finding, Finding::Differs(_))).count();
    match (fail, differ) {
        (0, 0) => Ok(()),
        (fail, differ) => Err(format!("no parity: {fail} failed, {differ} differ")),
    }
}
