//! What a person wants to know of a caller, in one paragraph.
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use serde::Serialize;

use super::{
    attempt::{AttemptEnd, Intent},
    query::{Attempt, AttemptKind},
};

/// One caller's calls.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct CallerSummary {
    /// Its configured name; empty where none are configured.
    pub caller: String,
    /// All its calls, refused ones too.
    pub calls: usize,
    /// Calls that were answered by their first attempt, by region.
    pub served: BTreeMap<String, usize>,
    /// Calls that were answered by a later attempt, by region.
    pub rescued: BTreeMap<String, usize>,
    /// Calls that were refused before any attempt.
    pub denied: usize,
    /// Calls without an answer, or whose end is not known.
    pub unanswered: usize,
    /// Attempts that may have left for a region outside the permitted ones stated in their own INTENT.
    pub outside_policy: usize,
    /// The boundary asked about, and attempts that may have left for a region without that label.
    pub outside_boundary: Option<(String, usize)>,
    /// Answers in whose headers Azure contradicted the configuration.
    pub mismatches: usize,
}

/// Sums up attempts by caller, callers in the order of their names. `boundary` is a label to count exceptions from.
pub fn summarise(attempts: &[Attempt], boundary: Option<&str>) -> Vec<CallerSummary> {
    let mut callers: BTreeMap<&str, Vec<&Attempt>> = BTreeMap::new();
    for attempt in attempts {
        callers.entry(attempt.call().caller.as_str()).or_default().push(attempt);
    }
    callers.into_iter().map(|(caller, attempts)| summary(caller, &attempts, boundary)).collect()
}

fn summary(caller: &str, attempts: &[&Attempt], boundary: Option<&str>) -> CallerSummary {
    let outside = boundary.map(|boundary| (boundary.to_owned(), 0));
    let mut summary =
        CallerSummary { caller: caller.to_owned(), outside_boundary: outside, ..CallerSummary::default() };
    let (mut calls, mut ended) = (BTreeSet::new(), BTreeSet::new());
    for attempt in attempts {
        let call = (attempt.chain.as_str(), attempt.call().request_id.as_str());
        calls.insert(call);
        let AttemptKind::Sent { intent, outcome } = &attempt.kind else {
            ended.insert(call);
            summary.denied += 1;
            continue;
        };
        if attempt.may_have_left() {
            summary.count_exceptions(intent);
        }
        let Some(outcome) = outcome else { continue };
        summary.mismatches += usize::from(outcome.mismatch);
        if outcome.result == AttemptEnd::Served && ended.insert(call) {
            let first = intent.attempt_number <= 1;
            let counts = if first { &mut summary.served } else { &mut summary.rescued };
            *counts.entry(intent.place.region.as_str().to_owned()).or_default() += 1;
        }
    }
    summary.calls = calls.len();
    summary.unanswered = calls.len() - ended.len();
    summary
}

impl CallerSummary {
    fn count_exceptions(&mut self, intent: &Intent) {
        let permitted = &intent.call.permitted;
        self.outside_policy += usize::from(!permitted.is_empty() && !permitted.contains(&intent.place.region));
        if let Some((boundary, count)) = &mut self.outside_boundary {
            let label = intent.place.boundary.as_ref().map(super::Label::as_str);
            *count += usize::from(label != Some(boundary.as_str()));
        }
    }
}

impl fmt::Display for CallerSummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let who = if self.caller.is_empty() { "(no caller known)" } else { &self.caller };
        write!(f, "{who}: {} calls", self.calls)?;
        for (region, count) in &self.served {
            write!(f, ", {count} in {region}")?;
        }
        for (region, count) in &self.rescued {
            write!(f, ", {count} rescued in {region}")?;
        }
        write!(f, ", {} refused, {} without an answer; ", self.denied, self.unanswered)?;
        if let Some((boundary, count)) = &self.outside_boundary {
            write!(f, "{count} attempts outside {boundary}, ")?;
        }
        let Self { outside_policy, mismatches, .. } = self;
        write!(f, "{outside_policy} outside the permitted regions, {mismatches} answers from elsewhere than configured")
    }
}
