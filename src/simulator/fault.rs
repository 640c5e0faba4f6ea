//! Faults as plain data: what can be made to go wrong, and for which requests.
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

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
    /// Only to requests whose body has at least so many bytes: a prompt that is too much for a struggling region, or,
    /// where test calls are short, all traffic but them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_body_bytes: Option<usize>,
    /// Only to requests whose body has at most so many bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_body_bytes: Option<usize>,
    /// Share of the matching requests that are hit, 0.0 to 1.0, drawn from the region's seed.
    #[serde(default = "always")]
    pub ratio: f64,
    /// How many of the requests that it would hit pass first. [`Fault::Down`] then resets no connection that is open.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub after: u64,
    /// How many requests are hit before the rule removes itself; absent: no end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub times: Option<u64>,
}

const fn always() -> f64 {
    1.0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes the field so")]
const fn is_zero(count: &u64) -> bool {
    *count == 0
}

impl From<Fault> for FaultRule {
    fn from(fault: Fault) -> Self {
        Self {
            fault,
            operation: None,
            deployment: None,
            min_body_bytes: None,
            max_body_bytes: None,
            ratio: always(),
            after: 0,
            times: None,
        }
    }
}

impl FaultRule {
    /// Refuses what would not do what it seems to say.
    pub fn check(&self) -> Result<(), &'static str> {
        if !(0.0..=1.0).contains(&self.ratio) {
            return Err("`ratio` must be from 0 to 1");
        }
        match &self.fault {
            Fault::Status { status, .. } if !(100..=599).contains(status) => Err("`status` must be from 100 to 599"),
            Fault::Latency(latency) if *latency == Latency::default() => Err(
                "a latency without any time does nothing: state `first_byte_ms`, `first_token_ms`, `per_token_ms` or \
                 `jitter_ms`",
            ),
            _ => Ok(()),
        }
    }

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

    /// Only requests whose body has at least `min` bytes.
    #[must_use]
    pub const fn on_bodies_from(mut self, min: usize) -> Self {
        self.min_body_bytes = Some(min);
        self
    }

    /// Only requests whose body has at most `max` bytes.
    #[must_use]
    pub const fn on_bodies_up_to(mut self, max: usize) -> Self {
        self.max_body_bytes = Some(max);
        self
    }

    /// Whether a request is of the kind that this rule is about.
    pub(super) fn concerns(&self, operation: Operation, deployment: Option<&str>, body_bytes: usize) -> bool {
        self.operation.is_none_or(|wanted| wanted == operation)
            && self.deployment.as_deref().is_none_or(|wanted| Some(wanted) == deployment)
            && self.min_body_bytes.is_none_or(|min| body_bytes >= min)
            && self.max_body_bytes.is_none_or(|max| body_bytes <= max)
    }

    /// Only this share of the requests, 0.0 to 1.0.
    #[must_use]
    pub const fn with_ratio(mut self, ratio: f64) -> Self {
        self.ratio = ratio;
        self
    }

    /// Not the next `count` matching requests.
    #[must_use]
    pub const fn after(mut self, count: u64) -> Self {
        self.after = count;
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
/// Faults whose names begin with `stream_` count content events of one streamed answer: `at: 0` strikes before the first,
/// and an answer with fewer is struck before its first finish reason. Unary answers know only `stream_blocked` of them.
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
    /// The body goes out in pieces: of a stream each its own chunk, with a wait between them each its own packet.
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
    /// Embeddings of another model under the same name: vectors that may not be compared with those before.
    EmbeddingDrift {
        /// The model that now serves; nobody is told its name.
        model: String,
        /// Another length of vector, unless the request asks for one; absent: the same.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        dimensions: Option<u32>,
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn rules_read_and_write_as_json_and_refuse_unknown_keys() {
        let text = r#"{"fault":{"kind":"stream_reset","at":3},"operation":"chat","ratio":0.5,"times":2}"#;
        let rule: FaultRule = serde_json::from_str(text).unwrap();
        assert_eq!(
            rule,
            FaultRule::from(Fault::StreamReset { at: 3 }).on_operation(Operation::Chat).with_ratio(0.5).for_next(2)
        );
        assert_eq!(serde_json::to_string(&rule).unwrap(), text);
        let later = r#"{"fault":{"kind":"down"},"ratio":1.0,"after":4}"#;
        let rule: FaultRule = serde_json::from_str(later).unwrap();
        assert_eq!(rule, FaultRule::from(Fault::Down).after(4));
        assert_eq!(serde_json::to_string(&rule).unwrap(), later);
        for wrong in [
            r#"{"fault":{"kind":"stream_reset","at":3,"extra":1}}"#,
            r#"{"fault":{"kind":"nonsense"}}"#,
            r#"{"fault":{"kind":"hang"},"scope":"chat"}"#,
        ] {
            assert!(serde_json::from_str::<FaultRule>(wrong).is_err(), "{wrong}");
        }
    }
}
