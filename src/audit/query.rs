//! Answers questions: which attempts went where, for whom, in which window.
use std::{
    collections::{HashMap, HashSet},
    io,
    time::{SystemTime, UNIX_EPOCH},
};

use serde::Serialize;

use super::{
    attempt::{AttemptEnd, CallFacts, Decision, Intent, Outcome},
    findings::Findings,
    record::{Event, Record},
    scan::{Read, Trust, scan},
    storage::Source,
};

/// Which records are asked for. `None` asks for all.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Configured name of the caller.
    pub caller: Option<String>,
    /// Region that an attempt went to.
    pub region: Option<String>,
    /// Logical model name.
    pub model: Option<String>,
    /// The caller's unit of work.
    pub workflow: Option<String>,
    /// W3C trace id.
    pub trace: Option<String>,
    /// MACs of which the call must have one; see [`RequestKey::mac`](super::RequestKey::mac).
    pub request_macs: Option<Vec<super::Label>>,
    /// From this moment on.
    pub since: Option<SystemTime>,
    /// Before this moment.
    pub until: Option<SystemTime>,
}

impl Filter {
    fn wants(&self, unix_ms: u64, call: Option<&CallFacts>, region: Option<&str>) -> bool {
        let is =
            |wanted: &Option<String>, found: Option<&str>| wanted.as_deref().is_none_or(|wanted| found == Some(wanted));
        let ms = |moment: SystemTime| moment.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis());
        let text = |label: &Option<super::Label>| label.as_ref().map(|label| label.as_str().to_owned());
        self.since.is_none_or(|since| u128::from(unix_ms) >= ms(since))
            && self.until.is_none_or(|until| u128::from(unix_ms) < ms(until))
            && is(&self.region, region)
            && is(&self.caller, call.map(|call| call.caller.as_str()))
            && is(&self.model, call.map(|call| call.model.as_str()))
            && is(&self.workflow, call.and_then(|call| text(&call.workflow)).as_deref())
            && self.request_macs.as_ref().is_none_or(|wanted| {
                call.and_then(|call| call.request_mac.as_ref()).is_some_and(|found| wanted.contains(found))
            })
            && is(&self.trace, call.and_then(|call| text(&call.trace_id)).as_deref())
    }
}

/// One attempt, or one refused call, which made none.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Attempt {
    /// The process that wrote it.
    pub chain: String,
    /// Position of its INTENT or DENY.
    pub seq: u64,
    /// Wall clock of that, in milliseconds since 1970 UTC.
    pub unix_ms: u64,
    /// What was sent where, or refused.
    #[serde(flatten)]
    pub kind: AttemptKind,
}

/// What a row of an answer stands for.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum AttemptKind {
    /// An attempt.
    Sent {
        /// What was sent where.
        intent: Box<Intent>,
        /// How it ended; `None` while it runs.
        outcome: Option<Box<Outcome>>,
    },
    /// A refused call: nothing was sent.
    Denied {
        /// Why.
        decision: Box<Decision>,
    },
}

impl Attempt {
    /// The call.
    pub fn call(&self) -> &CallFacts {
        match &self.kind {
            AttemptKind::Sent { intent, .. } => &intent.call,
            AttemptKind::Denied { decision } => &decision.call,
        }
    }

    /// How it ended, in one word.
    pub fn result(&self) -> String {
        match &self.kind {
            AttemptKind::Sent { outcome: Some(outcome), .. } => outcome.result.to_string(),
            AttemptKind::Sent { outcome: None, .. } => "running".to_owned(),
            AttemptKind::Denied { .. } => "denied".to_owned(),
        }
    }

    /// Azure's id of its answer, if it had one.
    pub fn response_id(&self) -> Option<&str> {
        match &self.kind {
            AttemptKind::Sent { outcome: Some(outcome), .. } => outcome.response_id.as_ref().map(super::Label::as_str),
            _ => None,
        }
    }

    /// Whether bytes of the caller may have left for the region.
    pub fn may_have_left(&self) -> bool {
        match &self.kind {
            AttemptKind::Sent { outcome, .. } => {
                outcome.as_ref().is_none_or(|outcome| outcome.result != AttemptEnd::NotSent)
            }
            AttemptKind::Denied { .. } => false,
        }
    }
}

/// Attempts and refused calls that the filter wants, in the order in which they began, and what is wrong with the
/// journal. Only records whose hash is right are used. An attempt belongs to the window in which it began.
pub fn attempts(source: &(impl Source + ?Sized), filter: &Filter) -> io::Result<(Vec<Attempt>, Findings)> {
    let mut rows: Vec<Attempt> = Vec::new();
    let mut running: HashMap<String, usize> = HashMap::new();
    let findings = scan(source, &Trust::default(), &mut |read, _| {
        let Read { record: Record { seq, unix_ms, event, .. }, chain, .. } = read;
        let row = |kind| Attempt { chain: chain.to_owned(), seq: *seq, unix_ms: *unix_ms, kind };
        match event {
            Event::Intent(intent) if filter.wants(*unix_ms, Some(&intent.call), Some(intent.place.region.as_str())) => {
                running.insert(intent.attempt.as_str().to_owned(), rows.len());
                rows.push(row(AttemptKind::Sent { intent: intent.clone(), outcome: None }));
            }
            Event::Deny(decision) if filter.wants(*unix_ms, Some(&decision.call), None) => {
                rows.push(row(AttemptKind::Denied { decision: decision.clone() }));
            }
            Event::Outcome(ended) => {
                let row = running.remove(ended.attempt.as_str()).and_then(|at| rows.get_mut(at));
                if let Some(AttemptKind::Sent { outcome, .. }) = row.map(|row| &mut row.kind) {
                    *outcome = Some(ended.clone());
                }
            }
            _ => {}
        }
        Ok(())
    })?;
    Ok((rows, findings))
}

/// Takes a record: the process that wrote it, what it says, and its line without the line break.
pub type Take<'a> = dyn FnMut(&str, &Record, &[u8]) -> io::Result<()> + 'a;

/// Hands on the lines of all records that the filter wants, as they stand in the journal: hash and JSON. An OUTCOME
/// goes with its INTENT; records that are about no call pass only a filter that asks for none.
pub fn records(source: &(impl Source + ?Sized), filter: &Filter, take: &mut Take<'_>) -> io::Result<Findings> {
    let mut running: HashSet<String> = HashSet::new();
    scan(source, &Trust::default(), &mut |read, line| {
        let Read { record, chain, .. } = read;
        let wanted = match &record.event {
            Event::Intent(intent) => {
                let wanted = filter.wants(record.unix_ms, Some(&intent.call), Some(intent.place.region.as_str()));
                if wanted {
                    running.insert(intent.attempt.as_str().to_owned());
                }
                wanted
            }
            Event::Outcome(outcome) => running.remove(outcome.attempt.as_str()),
            Event::Admit(decision) | Event::Deny(decision) => filter.wants(record.unix_ms, Some(&decision.call), None),
            Event::Transition(about) => filter.wants(record.unix_ms, None, Some(about.region.as_str())),
            Event::Probe(about) => filter.wants(record.unix_ms, None, Some(about.region.as_str())),
            Event::Alarm(about) => filter.wants(record.unix_ms, None, Some(about.region.as_str())),
            _ => filter.wants(record.unix_ms, None, None),
        };
        if wanted { take(chain, record, &line.bytes) } else { Ok(()) }
    })
}
