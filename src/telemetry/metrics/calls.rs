//! What is counted as calls go by. Attribute sets are arrays on the stack that share the configuration's own strings:
//! counting allocates nothing once a series exists.
use std::{sync::Arc, time::Duration};

use opentelemetry::{
    KeyValue, Value,
    metrics::{Counter, Histogram, Meter},
};
use sealane_core::domain::{AttemptReason, AttemptRecord, AttemptResult, ModelKind, Target, Usage, normalise_region};

use super::{Metrics, counter, histogram, table};
use crate::telemetry::{names, span::Operation};

pub(super) struct CallInstruments {
    call_duration: Histogram<f64>,
    attempt_duration: Histogram<f64>,
    first_chunk: Histogram<f64>,
    tokens: Histogram<f64>,
    attempts_started: Counter<u64>,
    attempts: Counter<u64>,
    failovers: Counter<u64>,
    served: Counter<u64>,
    policy_rejections: Counter<u64>,
    streams_interrupted: Counter<u64>,
    region_mismatches: Counter<u64>,
}

/// The reason of an error that says: no target is permitted to this call.
const NOT_PERMITTED: &str = "NO_ELIGIBLE_REGION";

fn shared(name: &'static str, value: &Arc<str>) -> KeyValue {
    KeyValue::new(name, Value::String(Arc::clone(value).into()))
}

impl CallInstruments {
    pub(super) fn new(meter: &Meter) -> Self {
        Self {
            call_duration: histogram(meter, &table::CALL_DURATION),
            attempt_duration: histogram(meter, &table::ATTEMPT_DURATION),
            first_chunk: histogram(meter, &table::FIRST_CHUNK),
            tokens: histogram(meter, &table::TOKEN_USAGE),
            attempts_started: counter(meter, &table::ATTEMPTS_STARTED),
            attempts: counter(meter, &table::ATTEMPTS),
            failovers: counter(meter, &table::FAILOVERS),
            served: counter(meter, &table::REQUESTS_SERVED),
            policy_rejections: counter(meter, &table::POLICY_REJECTIONS),
            streams_interrupted: counter(meter, &table::STREAMS_INTERRUPTED),
            region_mismatches: counter(meter, &table::REGION_MISMATCHES),
        }
    }

    /// Starts at zero what alerts look at: a counter that appears with its first event has, for Prometheus, not grown.
    pub(super) fn prepare<'a>(&self, targets: impl Iterator<Item = &'a Target>) {
        self.policy_rejections.add(0, &[KeyValue::new("reason", NOT_PERMITTED)]);
        for target in targets {
            self.region_mismatches.add(0, &mismatch(target));
            self.streams_interrupted.add(0, &interrupted(target));
        }
    }
}

fn mismatch(target: &Target) -> [KeyValue; 2] {
    [shared("region", &target.region), shared("resource", &target.resource)]
}

fn interrupted(target: &Target) -> [KeyValue; 2] {
    [shared("region", &target.region), shared("model", &target.model)]
}

fn operation(target: &Target) -> &'static str {
    match target.kind {
        ModelKind::Chat => "chat",
        ModelKind::Embedding => "embeddings",
    }
}

impl Metrics {
    pub(in crate::telemetry) fn call_ended(
        &self,
        method: &'static str,
        code: &'static str,
        reason: Option<&'static str>,
        duration: Duration,
    ) {
        let Some(calls) = self.calls() else { return };
        let [system, method, status] = [
            KeyValue::new(names::RPC_SYSTEM, "grpc"),
            KeyValue::new(names::RPC_METHOD, method),
            KeyValue::new(names::RPC_STATUS, code),
        ];
        let seconds = duration.as_secs_f64();
        match reason {
            None => calls.call_duration.record(seconds, &[system, method, status]),
            Some(reason) => {
                calls
                    .call_duration
                    .record(seconds, &[system, method, status, KeyValue::new(names::ERROR_TYPE, reason)]);
                if reason == NOT_PERMITTED {
                    calls.policy_rejections.add(1, &[KeyValue::new("reason", reason)]);
                }
            }
        }
    }

    pub(in crate::telemetry) fn attempt_started(&self, target: &Target, reason: AttemptReason) {
        let Some(calls) = self.calls() else { return };
        let by = [
            shared("region", &target.region),
            shared("model", &target.model),
            KeyValue::new("reason", reason.as_str()),
        ];
        calls.attempts_started.add(1, &by);
    }

    pub(in crate::telemetry) fn failed_over(&self, from: &Target, to: &Target, reason: &'static str) {
        let Some(calls) = self.calls() else { return };
        let by =
            [shared("from_region", &from.region), shared("to_region", &to.region), KeyValue::new("reason", reason)];
        calls.failovers.add(1, &by);
    }

    pub(in crate::telemetry) fn call_served(&self, target: &Target, failed_over: bool) {
        let Some(calls) = self.calls() else { return };
        let boundary = match &target.boundary {
            Some(boundary) => shared("data_boundary", boundary),
            None => KeyValue::new("data_boundary", ""),
        };
        let by = [
            shared("region", &target.region),
            boundary,
            shared("model", &target.model),
            KeyValue::new("operation", operation(target)),
            KeyValue::new("failover", if failed_over { "true" } else { "false" }),
        ];
        calls.served.add(1, &by);
    }

    pub(in crate::telemetry) fn stream_interrupted(&self, target: &Target) {
        if let Some(calls) = self.calls() {
            calls.streams_interrupted.add(1, &interrupted(target));
        }
    }

    /// What all of an attempt's measurements share.
    pub(in crate::telemetry) fn attempt_labels(&self, operation: Operation, target: &Target) -> Option<AttemptLabels> {
        self.0.as_ref()?;
        Some(AttemptLabels {
            metrics: self.clone(),
            streamed: operation == (Operation::Chat { streamed: true }),
            base: [
                KeyValue::new(names::OPERATION, operation.as_str()),
                KeyValue::new(names::PROVIDER, names::AZURE_OPENAI),
                shared(names::REQUEST_MODEL, &target.model),
                shared(names::CLOUD_REGION, &target.region),
            ],
        })
    }
}

/// What is needed to count an attempt until its end.
#[derive(Debug)]
pub(in crate::telemetry) struct AttemptLabels {
    metrics: Metrics,
    streamed: bool,
    base: [KeyValue; 4],
}

impl AttemptLabels {
    fn with(&self, more: KeyValue) -> [KeyValue; 5] {
        let [a, b, c, d] = self.base.clone();
        [a, b, c, d, more]
    }

    pub(in crate::telemetry) fn used(&self, usage: &Usage) {
        let Some(calls) = self.metrics.calls() else { return };
        calls.tokens.record(usage.input_tokens as f64, &self.with(KeyValue::new(names::TOKEN_TYPE, "input")));
        // Vectors are no tokens: an embedding has none to count.
        if usage.output_tokens > 0 {
            calls.tokens.record(usage.output_tokens as f64, &self.with(KeyValue::new(names::TOKEN_TYPE, "output")));
        }
    }

    pub(in crate::telemetry) fn ended(&self, record: &AttemptRecord, outcome: &'static str, first: Option<Duration>) {
        let Some(calls) = self.metrics.calls() else { return };
        let target = &*record.target;
        let by = [
            shared("region", &target.region),
            shared("resource", &target.resource),
            shared("deployment", &target.deployment),
            shared("model", &target.model),
            KeyValue::new("operation", operation(target)),
            KeyValue::new("outcome", outcome),
        ];
        calls.attempts.add(1, &by);
        let seconds = record.duration.as_secs_f64();
        match &record.result {
            Some(AttemptResult::Served) => calls.attempt_duration.record(seconds, &self.base),
            _ => calls.attempt_duration.record(seconds, &self.with(KeyValue::new(names::ERROR_TYPE, outcome))),
        }
        if let (true, Some(first)) = (self.streamed, first) {
            calls.first_chunk.record(first.as_secs_f64(), &self.base);
        }
        if record.evidence.reported_region.as_deref().is_some_and(|said| !names_region(said, &target.region)) {
            calls.region_mismatches.add(1, &mismatch(target));
        }
    }
}

/// Whether Azure's words for a region (`Sweden Central`) mean this one.
fn names_region(said: &str, region: &str) -> bool {
    // Spelt out for speed: every answer says it.
    let letters = said.bytes().filter(|byte| !byte.is_ascii_whitespace()).map(|byte| byte.to_ascii_lowercase());
    letters.eq(region.bytes()) || normalise_region(said) == region
}

#[cfg(test)]
mod tests {
    use super::names_region;

    #[test]
    fn azures_words_for_a_region_are_understood() {
        for (said, region, means) in [
            ("Sweden Central", "swedencentral", true),
            ("swedencentral", "swedencentral", true),
            ("East US 2", "eastus2", true),
            ("East US", "eastus2", false),
            ("", "eastus2", false),
        ] {
            assert_eq!(names_region(said, region), means, "{said}");
        }
    }
}
