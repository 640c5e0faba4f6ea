//! Faults as plain data, and the one place that decides what they do to a request.
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::chance::{STEP, mix, unit};
use super::settings::Latency;

/// The operations a simulated region serves.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[serde(rename_all = "snake_case")]
pub enum Operation {
    /// `POST .../chat/completions`.
    Chat,
    /// `POST .../embeddings`.
    Embeddings,
    /// `GET .../models`.
    Models,
    /// `GET /status-0123456789abcdef`, the front end's stock page.
    Status,
}

/// One fault and the requests it applies to.
///
/// As JSON: `{"fault": {"kind": "status", "status": 503}, "operation": "chat", "ratio": 0.5, "times": 3}`.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct FaultRule {
    /// What happens.
    pub fault: Fault,
    /// Only to this operation; absent: to all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operation: Option<Operation>,
    /// Only to this deployment; absent: to all, and to requests that name none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deployment: Option<String>,
    /// Share of the matching requests that are hit, 0.0 to 1.0, drawn from the region's seed.
    #[serde(default = "always")]
    pub ratio: f64,
    /// How many requests are hit before the rule removes itself; absent: no end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub times: Option<u64>,
}

const fn always() -> f64 {
    1.0
}

impl From<Fault> for FaultRule {
    fn from(fault: Fault) -> Self {
        Self { fault, operation: None, deployment: None, ratio: always(), times: None }
    }
}

impl FaultRule {
    /// Only requests of `operation`.
    #[must_use]
    pub fn on_operation(mut self, operation: Operation) -> Self {
        self.operation = Some(operation);
        self
    }

    /// Only requests to `deployment`.
    #[must_use]
    pub fn on_deployment(mut self, deployment: &str) -> Self {
        self.deployment = Some(deployment.to_owned());
        self
    }

    /// Only this share of the requests, 0.0 to 1.0.
    #[must_use]
    pub const fn with_ratio(mut self, ratio: f64) -> Self {
        self.ratio = ratio;
        self
    }

    /// Only the next `times` requests.
    #[must_use]
    pub const fn for_next(mut self, times: u64) -> Self {
        self.times = Some(times);
        self
    }
}

/// Everything that can be made to go wrong, and a few things that merely differ.
///
/// Faults whose names begin with `stream_` count content events of one answer: `at: 0` strikes before the first.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Fault {
    /// The region is gone: open connections are reset, and every request is answered with a reset. Its scope is
    /// always the whole region for connections already open. The control API stays reachable.
    Down,
    /// The connection is reset (RST) instead of an answer.
    Reset,
    /// The connection is closed (FIN) without an answer.
    Close,
    /// No response head, ever.
    Hang,
    /// An error status with Azure's body for it.
    Status {
        /// 400 to 599.
        status: u16,
        /// Verbatim `retry-after`: seconds or an HTTP date.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        retry_after: Option<String>,
        /// `retry-after-ms`, milliseconds.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        retry_after_ms: Option<u64>,
        /// JSON as Azure writes it, or what a proxy in front of it might write.
        #[serde(default)]
        body: ErrorBody,
    },
    /// 429 with Azure's message, `retry-after` and `retry-after-ms`. 86,400 s has been seen live.
    Throttle {
        /// The wait named in the headers and in the message, seconds.
        retry_after_seconds: u64,
    },
    /// Requests that carry one of these credentials get the 401 of an expired token; others are judged as usual.
    ExpiredCredentials {
        /// Keys or tokens.
        credentials: Vec<String>,
    },
    /// 307 to another place.
    Redirect {
        /// Verbatim `location`.
        location: String,
    },
    /// 200 with a JSON answer of at least so many bytes.
    LargeBody {
        /// Bytes of filler.
        bytes: usize,
    },
    /// 200 with arrays inside arrays.
    NestedJson {
        /// How many.
        depth: usize,
    },
    /// 200 with JSON that breaks off.
    MalformedJson,
    /// 200 with the body of an error.
    ErrorInOk,
    /// 200 with no choices and no vectors.
    EmptyAnswer,
    /// The connection is reset after so many bytes of the body (of a unary answer: of its announced length).
    CutBody {
        /// Bytes sent before the reset.
        after_bytes: usize,
    },
    /// Replaces the region's own pace.
    Latency(Latency),
    /// The body goes out in pieces, each its own chunk on the wire.
    Drip {
        /// Bytes a piece; 0 counts as 1.
        bytes: usize,
        /// Wait before each piece but the first, milliseconds.
        #[serde(default)]
        every_ms: u64,
    },
    /// Another `x-ms-region`, or none.
    RegionHeader {
        /// Absent: the header is left out.
        #[serde(default)]
        value: Option<String>,
    },
    /// Served by another deployment of the resource, as spillover reports it.
    Spillover {
        /// What `x-ms-deployment-name` then says.
        deployment: String,
    },
    /// A provisioned deployment: reports its utilisation, and answers 429 above 100 %.
    Provisioned {
        /// Percent.
        utilization: f64,
    },
    /// Answers name another model, as after an upgrade by Azure.
    ServedModel {
        /// Verbatim `model` of the answer.
        model: String,
    },
    /// Further response headers, or other values for known ones.
    Headers {
        /// Name to value. What is not a legal header is left out.
        headers: BTreeMap<String, String>,
    },
    /// Another length of answer.
    AnswerLength {
        /// Tokens.
        tokens: u32,
    },
    /// How the content filter works on this deployment.
    ContentFilter {
        /// See [`FilterMode`].
        mode: FilterMode,
    },
    /// An `error` event, then the end, without `[DONE]`.
    StreamError {
        /// Content events sent before.
        at: usize,
    },
    /// The connection is reset.
    StreamReset {
        /// Content events sent before.
        at: usize,
    },
    /// The body ends well-formed, without finish reason or `[DONE]`.
    StreamEnd {
        /// Content events sent before.
        at: usize,
    },
    /// Silence for ever after.
    StreamStall {
        /// Content events sent before.
        at: usize,
    },
    /// The output is blocked: `finish_reason: content_filter`. A unary answer then carries no content.
    StreamBlocked {
        /// Content events sent before, and billed.
        at: usize,
    },
    /// An event that is not JSON.
    StreamMalformed {
        /// Content events sent before.
        at: usize,
    },
    /// One event with so many bytes of filler.
    StreamLargeEvent {
        /// Content events sent before.
        at: usize,
        /// Bytes of filler.
        bytes: usize,
    },
    /// The stream ends without `[DONE]`.
    StreamNoDone,
    /// After the last finish reason neither usage nor `[DONE]` comes, and the body stays open.
    StreamNeverCloses,
    /// Lines end in CR LF.
    StreamCrlf,
}

/// What an injected error status is answered with.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum ErrorBody {
    /// Azure's JSON envelope for that status.
    #[default]
    Json,
    /// An HTML page, as a front end or a proxy sends it.
    Html,
    /// `error` is a bare string.
    BareString,
    /// Nothing.
    Empty,
}

/// How the content filter works on a deployment.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum FilterMode {
    /// Annotations beside the content.
    #[default]
    On,
    /// Off: empty annotations, and no first event in a stream.
    Off,
    /// Asynchronous: annotations in events of their own, between and after the content, without a `delta`.
    Asynchronous,
    /// The filter is down: answers come unfiltered, annotated with `content_filter_error`.
    Outage,
}

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

    /// Puts exactly these rules in force. They apply to requests that arrive from now on; [`Fault::Down`] also resets
    /// the connections that are open.
    pub fn set(&self, rules: Vec<FaultRule>) {
        let down = rules.iter().any(|rule| rule.fault == Fault::Down);
        let mut current = self.rules();
        self.shared.any.store(!rules.is_empty(), Ordering::Release);
        *current = rules;
        drop(current);
        if down {
            self.reset_connections();
        }
    }

    /// Adds one rule behind those in force.
    pub fn add(&self, rule: impl Into<FaultRule>) {
        let mut rules = self.active();
        rules.push(rule.into());
        self.set(rules);
    }

    /// Ends all faults.
    pub fn clear(&self) {
        self.set(Vec::new());
    }

    /// The rules in force, with what is left of their `times`.
    #[must_use]
    pub fn active(&self) -> Vec<FaultRule> {
        self.rules().clone()
    }

    /// Resets every connection that is open now, other than those that last served the control API.
    pub fn reset_connections(&self) {
        self.shared.cut.send_modify(|cuts| *cuts += 1);
    }

    /// What happens to one request. Counts the request against the rules that hit it.
    pub(super) fn decide(&self, operation: Operation, deployment: Option<&str>) -> Verdict {
        let mut verdict = Verdict::default();
        if !self.shared.any.load(Ordering::Acquire) {
            return verdict;
        }
        let mut rules = self.rules();
        rules.retain_mut(|rule| {
            let concerned = rule.operation.is_none_or(|wanted| wanted == operation)
                && rule.deployment.as_deref().is_none_or(|wanted| Some(wanted) == deployment);
            if concerned && rule.times != Some(0) && self.hit(rule.ratio) {
                verdict.add(rule.fault.clone());
                rule.times = rule.times.map(|left| left - 1);
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
        assert_eq!(faults.decide(Operation::Chat, Some("gpt-4o")).refusal, Some(Refusal::Hang));
        assert_eq!(faults.decide(Operation::Chat, Some("other")), Verdict::default());
        assert_eq!(faults.decide(Operation::Embeddings, Some("gpt-4o")), Verdict::default());
        assert_eq!(faults.decide(Operation::Models, None), Verdict::default());
    }

    #[test]
    fn a_counted_rule_removes_itself() {
        let faults = faults(vec![FaultRule::from(Fault::Reset).for_next(2)]);
        let hits = (0..5).filter(|_| faults.decide(Operation::Chat, None).refusal.is_some()).count();
        assert_eq!((hits, faults.active()), (2, vec![]));
    }

    #[test]
    fn a_ratio_is_kept_and_repeats_with_the_seed() {
        let draw = || -> Vec<bool> {
            let faults = faults(vec![FaultRule::from(Fault::Reset).with_ratio(0.5)]);
            (0..1000).map(|_| faults.decide(Operation::Chat, None).refusal.is_some()).collect()
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
        let verdict = faults.decide(Operation::Chat, None);
        assert_eq!((verdict.refusal, verdict.crlf, verdict.drip), (Some(Refusal::Hang), true, Some((1, 3))));
    }

    #[test]
    fn rules_read_and_write_as_json_and_refuse_unknown_keys() {
        let text = r#"{"fault":{"kind":"stream_reset","at":3},"operation":"chat","ratio":0.5,"times":2}"#;
        let rule: FaultRule = serde_json::from_str(text).unwrap();
        assert_eq!(
            rule,
            FaultRule::from(Fault::StreamReset { at: 3 }).on_operation(Operation::Chat).with_ratio(0.5).for_next(2)
        );
        assert_eq!(serde_json::to_string(&rule).unwrap(), text);
        for wrong in [
            r#"{"fault":{"kind":"stream_reset","at":3,"extra":1}}"#,
            r#"{"fault":{"kind":"nonsense"}}"#,
            r#"{"fault":{"kind":"hang"},"scope":"chat"}"#,
        ] {
            assert!(serde_json::from_str::<FaultRule>(wrong).is_err(), "{wrong}");
        }
    }
}
