//! The faults in force, and the one place that decides what they do to a request.
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use super::chance::{STEP, mix, unit};
use super::fault::{ErrorBody, Fault, FaultRule, FilterMode, Operation};
use super::settings::Latency;

/// What ends a request before its regular answer.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Refusal {
    Reset,
    Close,
    Hang,
    Status { status: u16, retry_after: Option<String>, retry_after_ms: Option<u64>, body: ErrorBody },
    Throttle { retry_after_seconds: u64 },
    Redirect { location: String },
    LargeBody { bytes: usize },
    NestedJson { depth: usize },
    MalformedJson,
    ErrorInOk,
    EmptyAnswer,
}

/// Where in a chat stream something happens, counted in content events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StreamFault {
    Error,
    Reset,
    End,
    Stall,
    Malformed,
    Oversized { bytes: usize },
}

/// What the rules in force do to one request. The default does nothing.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Verdict {
    pub(super) refusal: Option<Refusal>,
    pub(super) expired_credentials: Vec<String>,
    pub(super) latency: Option<Latency>,
    pub(super) drip: Option<(usize, u64)>,
    pub(super) cut_after: Option<usize>,
    pub(super) region_header: Option<Option<String>>,
    pub(super) spillover: Option<String>,
    pub(super) utilization: Option<f64>,
    pub(super) served_model: Option<String>,
    pub(super) embedding_drift: Option<(String, Option<u32>)>,
    pub(super) headers: BTreeMap<String, String>,
    pub(super) answer_tokens: Option<u32>,
    pub(super) filter: FilterMode,
    pub(super) stream: Option<(usize, StreamFault)>,
    pub(super) blocked_at: Option<usize>,
    pub(super) no_done: bool,
    pub(super) never_closes: bool,
    pub(super) crlf: bool,
}

impl Verdict {
    /// Adds one rule's effect. Of two that exclude each other the first listed stands.
    fn add(&mut self, fault: Fault) {
        match fault {
            Fault::Down | Fault::Reset => self.refuse(Refusal::Reset),
            Fault::Close => self.refuse(Refusal::Close),
            Fault::Hang => self.refuse(Refusal::Hang),
            Fault::Status { status, retry_after, retry_after_ms, body } => {
                self.refuse(Refusal::Status { status, retry_after, retry_after_ms, body });
            }
            Fault::Throttle { retry_after_seconds } => self.refuse(Refusal::Throttle { retry_after_seconds }),
            Fault::ExpiredCredentials { credentials } => self.expired_credentials.extend(credentials),
            Fault::Redirect { location } => self.refuse(Refusal::Redirect { location }),
            Fault::LargeBody { bytes } => self.refuse(Refusal::LargeBody { bytes }),
            Fault::NestedJson { depth } => self.refuse(Refusal::NestedJson { depth }),
            Fault::MalformedJson => self.refuse(Refusal::MalformedJson),
            Fault::ErrorInOk => self.refuse(Refusal::ErrorInOk),
            Fault::EmptyAnswer => self.refuse(Refusal::EmptyAnswer),
            Fault::CutBody { after_bytes } => _ = self.cut_after.get_or_insert(after_bytes),
            Fault::Latency(latency) => _ = self.latency.get_or_insert(latency),
            Fault::Drip { bytes, every_ms } => _ = self.drip.get_or_insert((bytes.max(1), every_ms)),
            Fault::RegionHeader { value } => _ = self.region_header.get_or_insert(value),
            Fault::Spillover { deployment } => _ = self.spillover.get_or_insert(deployment),
            Fault::Provisioned { utilization } => _ = self.utilization.get_or_insert(utilization),
            Fault::ServedModel { model } => _ = self.served_model.get_or_insert(model),
            Fault::EmbeddingDrift { model, dimensions } => _ = self.embedding_drift.get_or_insert((model, dimensions)),
            Fault::Headers { headers } => self.headers.extend(headers),
            Fault::AnswerLength { tokens } => _ = self.answer_tokens.get_or_insert(tokens),
            Fault::ContentFilter { mode } => self.filter = mode,
            Fault::StreamError { at } => self.strike(at, StreamFault::Error),
            Fault::StreamReset { at } => self.strike(at, StreamFault::Reset),
            Fault::StreamEnd { at } => self.strike(at, StreamFault::End),
            Fault::StreamStall { at } => self.strike(at, StreamFault::Stall),
            Fault::StreamMalformed { at } => self.strike(at, StreamFault::Malformed),
            Fault::StreamLargeEvent { at, bytes } => self.strike(at, StreamFault::Oversized { bytes }),
            Fault::StreamBlocked { at } => _ = self.blocked_at.get_or_insert(at),
            Fault::StreamNoDone => self.no_done = true,
            Fault::StreamNeverCloses => self.never_closes = true,
            Fault::StreamCrlf => self.crlf = true,
        }
    }

    fn refuse(&mut self, refusal: Refusal) {
        self.refusal.get_or_insert(refusal);
    }

    fn strike(&mut self, at: usize, fault: StreamFault) {
        self.stream.get_or_insert((at, fault));
    }
}

/// Switches faults while the region runs. Clones share the same rules.
#[derive(Clone, Debug)]
pub struct Faults {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    rules: Mutex<Vec<FaultRule>>,
    any: AtomicBool,
    chance: AtomicU64,
    /// Counts the moments at which all open connections are to be reset.
    cut: watch::Sender<u64>,
}

impl Faults {
    pub(super) fn new(rules: Vec<FaultRule>, seed: u64, cut: watch::Sender<u64>) -> Self {
        let any = AtomicBool::new(!rules.is_empty());
        Self { shared: Arc::new(Shared { rules: Mutex::new(rules), any, chance: AtomicU64::new(seed), cut }) }
    }

    /// Puts exactly these rules in force. They apply to requests that arrive from now on; a [`Fault::Down`] that is in
    /// force at once also resets the connections that are open.
    pub fn set(&self, rules: Vec<FaultRule>) {
        self.change(|current| *current = rules);
    }

    /// Adds one rule behind those in force.
    pub fn add(&self, rule: impl Into<FaultRule>) {
        self.change(|current| current.push(rule.into()));
    }

    fn change(&self, change: impl FnOnce(&mut Vec<FaultRule>)) {
        let mut rules = self.rules();
        change(&mut rules);
        self.shared.any.store(!rules.is_empty(), Ordering::Release);
        let down = rules.iter().any(|rule| rule.fault == Fault::Down && rule.after == 0);
        drop(rules);
        if down {
            self.reset_connections();
        }
    }

    /// Ends all faults.
    pub fn clear(&self) {
        self.set(Vec::new());
    }

    /// The rules in force, with what is left of their `after` and `times`.
    #[must_use]
    pub fn active(&self) -> Vec<FaultRule> {
        self.rules().clone()
    }

    /// Resets every connection that is open now, other than those that last served the control API.
    pub fn reset_connections(&self) {
        self.shared.cut.send_modify(|cuts| *cuts += 1);
    }

    /// What happens to one request. Counts the request against the rules that hit it.
    pub(super) fn decide(&self, operation: Operation, deployment: Option<&str>, body_bytes: usize) -> Verdict {
        let mut verdict = Verdict::default();
        if !self.shared.any.load(Ordering::Acquire) {
            return verdict;
        }
        let mut rules = self.rules();
        rules.retain_mut(|rule| {
            if rule.concerns(operation, deployment, body_bytes) && rule.times != Some(0) && self.hit(rule.ratio) {
                match rule.after.checked_sub(1) {
                    Some(still) => rule.after = still,
                    None => {
                        verdict.add(rule.fault.clone());
                        rule.times = rule.times.map(|left| left - 1);
                    }
                }
            }
            rule.times != Some(0)
        });
        self.shared.any.store(!rules.is_empty(), Ordering::Release);
        verdict
    }

    fn hit(&self, ratio: f64) -> bool {
        ratio >= 1.0 || unit(mix(self.shared.chance.fetch_add(STEP, Ordering::Relaxed))) < ratio
    }

    /// A panic while the lock was held cannot leave the list half changed, so a poisoned lock is still good.
    fn rules(&self) -> MutexGuard<'_, Vec<FaultRule>> {
        self.shared.rules.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn faults(rules: Vec<FaultRule>) -> Faults {
        Faults::new(rules, 7, watch::Sender::new(0))
    }

    #[test]
    fn a_rule_hits_only_its_operation_and_deployment() {
        let faults = faults(vec![FaultRule::from(Fault::Hang).on_operation(Operation::Chat).on_deployment("gpt-4o")]);
        assert_eq!(faults.decide(Operation::Chat, Some("gpt-4o"), 0).refusal, Some(Refusal::Hang));
        assert_eq!(faults.decide(Operation::Chat, Some("other"), 0), Verdict::default());
        assert_eq!(faults.decide(Operation::Embeddings, Some("gpt-4o"), 0), Verdict::default());
        assert_eq!(faults.decide(Operation::Models, None, 0), Verdict::default());
    }

    #[test]
    fn a_rule_hits_only_bodies_of_its_size() {
        let rule = FaultRule::from(Fault::Reset);
        let faults = faults(vec![rule.clone().on_bodies_from(100), rule.on_bodies_up_to(10)]);
        let hit = |bytes| faults.decide(Operation::Chat, None, bytes).refusal.is_some();
        assert_eq!([9, 10, 11, 99, 100, 101].map(hit), [true, true, false, false, true, true]);
    }

    #[test]
    fn a_counted_rule_removes_itself() {
        let faults = faults(vec![FaultRule::from(Fault::Reset).for_next(2)]);
        let hits = (0..5).filter(|_| faults.decide(Operation::Chat, None, 0).refusal.is_some()).count();
        assert_eq!((hits, faults.active()), (2, vec![]));
    }

    #[test]
    fn a_later_rule_lets_requests_of_its_kind_pass_first() {
        let faults = faults(vec![FaultRule::from(Fault::Reset).on_operation(Operation::Chat).after(2).for_next(1)]);
        let hit = |operation| faults.decide(operation, None, 0).refusal.is_some();
        let asked = [Operation::Chat, Operation::Models, Operation::Chat, Operation::Chat, Operation::Chat];
        assert_eq!(asked.map(hit), [false, false, false, true, false]);
        assert_eq!(faults.active(), vec![]);
    }

    #[test]
    fn a_ratio_is_kept_and_repeats_with_the_seed() {
        let draw = || -> Vec<bool> {
            let faults = faults(vec![FaultRule::from(Fault::Reset).with_ratio(0.5)]);
            (0..1000).map(|_| faults.decide(Operation::Chat, None, 0).refusal.is_some()).collect()
        };
        let first = draw();
        assert_eq!(first, draw());
        let hits = first.iter().filter(|hit| **hit).count();
        assert!((450..550).contains(&hits), "{hits} of 1000 at a ratio of one half");
    }

    #[test]
    fn the_first_of_two_exclusive_faults_stands_and_others_add_up() {
        let faults = faults(vec![
            Fault::Hang.into(),
            Fault::Reset.into(),
            Fault::StreamCrlf.into(),
            Fault::Drip { bytes: 0, every_ms: 3 }.into(),
        ]);
        let verdict = faults.decide(Operation::Chat, None, 0);
        assert_eq!((verdict.refusal, verdict.crlf, verdict.drip), (Some(Refusal::Hang), true, Some((1, 3))));
    }
}
