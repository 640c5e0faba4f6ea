//! What holds where a key is absent. The numbers of the failover core are its own.
use std::{net::SocketAddr, time::Duration};

use sealane_core::{
    domain::{ModelKind, OnMismatch, OnVersionMismatch, ProcessingScope, UpstreamStream},
    router::Thresholds,
};

use super::{Drain, Failover, Images, Limits, OperationPath, Telemetry};
use crate::{
    azure::OutputCap,
    config::value::{Bytes, PathFamily, Setting},
    identity::Audience,
};

pub(super) fn listen() -> Setting<SocketAddr> {
    SocketAddr::from(([127, 0, 0, 1], 50051)).into()
}

pub(super) fn connect_timeout() -> Setting<Duration> {
    Duration::from_secs(2).into()
}

pub(super) fn callers() -> Setting<Audience> {
    Audience::Callers.into()
}

pub(super) fn anyone() -> Setting<Audience> {
    Audience::Anyone.into()
}

pub(super) fn yes() -> Setting<bool> {
    true.into()
}

pub(super) fn no() -> Setting<bool> {
    false.into()
}

pub(super) fn chat() -> Setting<ModelKind> {
    ModelKind::Chat.into()
}

pub(super) fn auto() -> Setting<UpstreamStream> {
    UpstreamStream::Auto.into()
}

pub(super) fn version_alarm() -> Setting<OnVersionMismatch> {
    OnVersionMismatch::Alarm.into()
}

pub(super) fn regional() -> Setting<ProcessingScope> {
    ProcessingScope::Regional.into()
}

pub(super) fn max_completion_tokens() -> Setting<OutputCap> {
    OutputCap::MaxCompletionTokens.into()
}

pub(super) fn alarm() -> Setting<OnMismatch> {
    OnMismatch::Alarm.into()
}

impl Default for OperationPath {
    fn default() -> Self {
        Self { path: PathFamily::Dated.into(), api_version: None }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_request_bytes: Bytes(16 << 20).into(),
            // What a gRPC client takes by default, less room for the message around the content.
            max_response_bytes: Bytes((4 << 20) - (64 << 10)).into(),
            longest_response_bytes: Bytes(64 << 20).into(),
            default_deadline: Duration::from_secs(60).into(),
            max_deadline: Duration::from_secs(600).into(),
            stream_default_deadline: Duration::from_secs(600).into(),
            stream_max_deadline: Duration::from_secs(3600).into(),
            max_concurrent_streams: 256.into(),
        }
    }
}

impl Default for Failover {
    fn default() -> Self {
        let defaults = Thresholds::default();
        Self {
            first_content: defaults.first_content_floor.into(),
            first_content_per_4000_tokens: defaults.first_content_per_4000_tokens.into(),
            first_content_reasoning: defaults.first_content_reasoning.into(),
            unary_reply: defaults.unary_reply.into(),
            stall: defaults.stall.into(),
            stall_reasoning: defaults.stall_reasoning.into(),
            attempt_share_percent: defaults.attempt_share_percent.into(),
            cooling_shortest: defaults.cooling.0.into(),
            cooling_longest: defaults.cooling.1.into(),
            longest_wait: defaults.longest_wait.into(),
            retries: defaults.retries.into(),
            retry_budget_percent: defaults.retry_budget_percent.into(),
            retry_pause: defaults.retry_pause.into(),
            concurrency: defaults.concurrency.into(),
            pace: defaults.pacing.enabled.into(),
            spill_after: defaults.pacing.interactive.into(),
            spill_bulk_after: defaults.pacing.bulk.into(),
            suspicious_failures: defaults.detection.consecutive.into(),
            suspicious_silence: defaults.detection.silence.0.into(),
            hedge: defaults.hedging.enabled.into(),
            hedge_delay: defaults.hedging.delay.into(),
            hold: defaults.recovery.hold.0.into(),
            hold_longest: defaults.recovery.hold.1.into(),
            return_step: defaults.recovery.step.into(),
            return_test_interval: defaults.testing.return_interval.into(),
            standby_test_interval: defaults.testing.deep_interval.into(),
            test_tokens_per_day: u32::try_from(defaults.testing.tokens_per_day).unwrap_or(u32::MAX).into(),
            embedding_comparison_interval: defaults.testing.comparison_interval.into(),
            pin_idle: defaults.affinity.idle.into(),
        }
    }
}

impl Default for Drain {
    fn default() -> Self {
        Self { delay: Duration::from_secs(5).into(), grace: Duration::from_secs(120).into() }
    }
}

impl Default for Telemetry {
    fn default() -> Self {
        Self { otlp_endpoint: None, otlp_metrics: yes(), service_name: None }
    }
}

impl Default for Images {
    fn default() -> Self {
        Self { allow_uri: no() }
    }
}
