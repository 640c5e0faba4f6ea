//! Checks limits, failover, draining, telemetry and the like: single numbers, each with its own sense.
use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use sealane_core::router::{Affinity, Detection, Hedging, Pacing, Recovery, Testing, Thresholds};

use super::{
    Place, file,
    problem::Findings,
    value::{Bytes, Setting},
};

/// Sizes, deadlines and counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a request.
    pub max_request_bytes: usize,
    /// Bytes of a reply, unless the caller states that it takes more.
    pub max_response_bytes: usize,
    /// Bytes of a reply, whatever the caller states.
    pub longest_response_bytes: usize,
    /// Deadline of a unary call that states none.
    pub default_deadline: Duration,
    /// Longest deadline of a unary call.
    pub max_deadline: Duration,
    /// Deadline of a stream that states none.
    pub stream_default_deadline: Duration,
    /// Longest deadline of a stream.
    pub stream_max_deadline: Duration,
    /// Calls in flight on one connection.
    pub max_concurrent_streams: u32,
}

/// How the service stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drain {
    /// How long calls are still taken after the health turned.
    pub delay: Duration,
    /// How long calls in flight may take to finish after that.
    pub grace: Duration,
}

/// Traces and metrics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Telemetry {
    /// OTLP over gRPC; the environment wins.
    pub otlp_endpoint: Option<String>,
    /// Metrics go there as well as traces; the environment wins.
    pub otlp_metrics: bool,
    /// `service.name`; the environment wins.
    pub service_name: Option<String>,
}

/// Pictures in requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Images {
    /// Permits pictures by address.
    pub allow_uri: bool,
}

/// A duration that must not be zero: a limit of zero would fail every call, and never means "none".
pub(super) fn positive(key: &str, setting: &Setting<Duration>, findings: &mut Findings<'_>) -> Option<Duration> {
    let value = *setting.take(findings)?;
    if value.is_zero() {
        findings.refuse(setting.place, format!("`{key}` must not be zero"));
        return None;
    }
    Some(value)
}

fn size(key: &str, setting: &Setting<Bytes>, findings: &mut Findings<'_>) -> Option<usize> {
    const RANGE: std::ops::RangeInclusive<usize> = 1 << 10..=1 << 30;
    let Bytes(value) = *setting.take(findings)?;
    if !RANGE.contains(&value) {
        findings.refuse(setting.place, format!("`{key}` must be from 1KiB to 1GiB"));
        return None;
    }
    Some(value)
}

/// A folder that is not there is told now and not at the first change of a standing, which may be weeks away.
pub(super) fn state_file(entry: &Setting<String>, folder: &Path, findings: &mut Findings<'_>) -> Option<PathBuf> {
    let path = folder.join(entry.take(findings)?);
    let holds = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    if let Some(missing) = holds.filter(|parent| !parent.is_dir()) {
        let told = format!("standings cannot be kept: there is no folder `{}`", missing.display());
        findings.warn(entry.place, told);
    } else if path.is_dir() {
        findings.warn(entry.place, format!("standings cannot be kept: `{}` is a folder", path.display()));
    }
    Some(path)
}

pub(super) fn limits(entry: &file::Limits, findings: &mut Findings<'_>) -> Option<Limits> {
    let max_request_bytes = size("max_request_bytes", &entry.max_request_bytes, findings);
    let max_response_bytes = size("max_response_bytes", &entry.max_response_bytes, findings);
    let longest_response_bytes = size("longest_response_bytes", &entry.longest_response_bytes, findings);
    let default_deadline = positive("default_deadline", &entry.default_deadline, findings);
    let max_deadline = positive("max_deadline", &entry.max_deadline, findings);
    let stream_default_deadline = positive("stream_default_deadline", &entry.stream_default_deadline, findings);
    let stream_max_deadline = positive("stream_max_deadline", &entry.stream_max_deadline, findings);
    let max_concurrent_streams = entry.max_concurrent_streams.take(findings).copied();
    if max_concurrent_streams == Some(0) {
        findings.refuse(entry.max_concurrent_streams.place, "`max_concurrent_streams` must be at least 1");
    }
    let limits = Limits {
        max_request_bytes: max_request_bytes?,
        max_response_bytes: max_response_bytes?,
        longest_response_bytes: longest_response_bytes?,
        default_deadline: default_deadline?,
        max_deadline: max_deadline?,
        stream_default_deadline: stream_default_deadline?,
        stream_max_deadline: stream_max_deadline?,
        max_concurrent_streams: max_concurrent_streams?,
    };
    let mut not_above = |(low_key, low): (&str, bool), high_key: &str, at: [super::Place; 2]| {
        if low {
            let place = if at[0].line > 0 { at[0] } else { at[1] };
            findings.refuse(place, format!("`{low_key}` must not be above `{high_key}`"));
        }
    };
    not_above(
        ("max_response_bytes", limits.max_response_bytes > limits.longest_response_bytes),
        "longest_response_bytes",
        [entry.max_response_bytes.place, entry.longest_response_bytes.place],
    );
    not_above(
        ("default_deadline", limits.default_deadline > limits.max_deadline),
        "max_deadline",
        [entry.default_deadline.place, entry.max_deadline.place],
    );
    not_above(
        ("stream_default_deadline", limits.stream_default_deadline > limits.stream_max_deadline),
        "stream_max_deadline",
        [entry.stream_default_deadline.place, entry.stream_max_deadline.place],
    );
    Some(limits)
}

pub(super) fn thresholds(entry: &file::Failover, findings: &mut Findings<'_>) -> Option<Thresholds> {
    let first_content = positive("first_content", &entry.first_content, findings);
    let per_4000_tokens = entry.first_content_per_4000_tokens.take(findings).copied();
    let first_content_reasoning = positive("first_content_reasoning", &entry.first_content_reasoning, findings);
    let unary_reply = positive("unary_reply", &entry.unary_reply, findings);
    let stall = positive("stall", &entry.stall, findings);
    let stall_reasoning = positive("stall_reasoning", &entry.stall_reasoning, findings);
    let attempt_share_percent = entry.attempt_share_percent.take(findings).copied();
    let cooling_shortest = positive("cooling_shortest", &entry.cooling_shortest, findings);
    let cooling_longest = positive("cooling_longest", &entry.cooling_longest, findings);
    let longest_wait = entry.longest_wait.take(findings).copied();
    let retries = entry.retries.take(findings).copied();
    let retry_budget_percent = entry.retry_budget_percent.take(findings).copied();
    let retry_pause = positive("retry_pause", &entry.retry_pause, findings);
    let concurrency = entry.concurrency.take(findings).copied();
    let pace = entry.pace.take(findings).copied();
    let spill_after = entry.spill_after.take(findings).copied();
    let spill_bulk_after = entry.spill_bulk_after.take(findings).copied();
    let suspicious_failures = entry.suspicious_failures.take(findings).copied();
    let suspicious_silence = positive("suspicious_silence", &entry.suspicious_silence, findings);
    let hedge = entry.hedge.take(findings).copied();
    let hedge_delay = positive("hedge_delay", &entry.hedge_delay, findings);
    let hold = positive("hold", &entry.hold, findings);
    let hold_longest = positive("hold_longest", &entry.hold_longest, findings);
    let return_step = positive("return_step", &entry.return_step, findings);
    let return_test_interval = positive("return_test_interval", &entry.return_test_interval, findings);
    let standby_test_interval = positive("standby_test_interval", &entry.standby_test_interval, findings);
    let test_tokens_per_day = entry.test_tokens_per_day.take(findings).copied();
    let comparison_interval = positive("embedding_comparison_interval", &entry.embedding_comparison_interval, findings);
    let pin_idle = positive("pin_idle", &entry.pin_idle, findings);
    let usual = Thresholds::default();
    let standby_test_interval = standby_test_interval?;
    let first_content = first_content?;
    // What the file does not state follows what it does.
    let unless_stated = |stated: Place, value: Option<Duration>, follows: Duration, shorter: bool| {
        value.map(|value| match (stated.line > 0, shorter) {
            (true, _) => value,
            (false, true) => value.min(follows),
            (false, false) => value.max(follows),
        })
    };
    let half = first_content / 2;
    let suspicious_silence = unless_stated(entry.suspicious_silence.place, suspicious_silence, half, true);
    let hedge_delay = unless_stated(entry.hedge_delay.place, hedge_delay, half, true);
    let first_content_reasoning =
        unless_stated(entry.first_content_reasoning.place, first_content_reasoning, first_content, false);
    let thresholds = Thresholds {
        first_content_floor: first_content,
        first_content_per_4000_tokens: per_4000_tokens?,
        first_content_reasoning: first_content_reasoning?,
        unary_reply: unary_reply?,
        stall: stall?,
        stall_reasoning: stall_reasoning?,
        attempt_share_percent: attempt_share_percent?,
        cooling: (cooling_shortest?, cooling_longest?),
        longest_wait: longest_wait?,
        retry_budget_percent: retry_budget_percent?,
        retries: retries?,
        retry_pause: retry_pause?,
        concurrency: concurrency?,
        pacing: Pacing { enabled: pace?, interactive: spill_after?, bulk: spill_bulk_after?, ..usual.pacing },
        detection: Detection {
            consecutive: suspicious_failures?,
            silence: (suspicious_silence?, usual.detection.silence.1),
            ..usual.detection
        },
        hedging: Hedging { enabled: hedge?, delay: hedge_delay?, ..usual.hedging },
        recovery: Recovery { hold: (hold?, hold_longest?), step: return_step?, ..usual.recovery },
        testing: Testing {
            deep_interval: standby_test_interval,
            return_interval: return_test_interval?,
            // A standby whose turn comes late by its jitter is not unproven yet.
            unproven: standby_test_interval.mul_f64(1.5),
            tokens_per_day: test_tokens_per_day?.into(),
            comparison_interval: comparison_interval?,
            ..usual.testing
        },
        affinity: Affinity { idle: pin_idle?, ..usual.affinity },
        validation: usual.validation,
    };
    if !fit_together(entry, &thresholds, findings) {
        return None;
    }
    let refused = match thresholds.check() {
        Ok(thresholds) => return Some(thresholds),
        Err(refused) => refused,
    };
    let place = match refused.field {
        "attempt_share_percent" => entry.attempt_share_percent.place,
        "retry_budget_percent" => entry.retry_budget_percent.place,
        "retries" => entry.retries.place,
        "concurrency" => entry.concurrency.place,
        _ => Place::default(),
    };
    findings.refuse(place, format!("`{}` must {}", refused.field, refused.must));
    None
}

/// Refuses, in the words of the file, numbers that the router would take and that make no sense together or in earnest.
fn fit_together(entry: &file::Failover, numbers: &Thresholds, findings: &mut Findings<'_>) -> bool {
    let second = Duration::from_secs(1);
    let (testing, recovery) = (&numbers.testing, &numbers.recovery);
    let rules = [
        (
            (1..=100).contains(&numbers.detection.consecutive),
            [entry.suspicious_failures.place, Place::default()],
            "`suspicious_failures` must be 1 to 100: with more, a target that fails every call would hardly be noticed",
        ),
        (
            numbers.first_content_floor <= second * 600,
            [entry.first_content.place, Place::default()],
            "`first_content` must be at most 10m: no caller waits longer for a sign of life",
        ),
        (
            numbers.first_content_reasoning >= numbers.first_content_floor,
            [entry.first_content_reasoning.place, entry.first_content.place],
            "`first_content_reasoning` must not be below `first_content`: models that reason answer later, not sooner",
        ),
        (
            numbers.detection.silence.0 < numbers.first_content_floor,
            [entry.suspicious_silence.place, entry.first_content.place],
            "`suspicious_silence` must be below `first_content`: otherwise attempts are given up before silence counts",
        ),
        (
            !numbers.hedging.enabled || numbers.hedging.delay < numbers.first_content_floor,
            [entry.hedge_delay.place, entry.first_content.place],
            "`hedge_delay` must be below `first_content`: otherwise attempts are given up before a second one may start",
        ),
        (
            testing.deep_interval >= second * 5,
            [entry.standby_test_interval.place, Place::default()],
            "`standby_test_interval` must be at least 5s: every test call costs tokens",
        ),
        (
            (second..=second * 600).contains(&testing.return_interval),
            [entry.return_test_interval.place, Place::default()],
            "`return_test_interval` must be from 1s to 10m: test calls decide when a target comes back",
        ),
        (
            (second * 60..=second * 168 * 3600).contains(&testing.comparison_interval),
            [entry.embedding_comparison_interval.place, Place::default()],
            "`embedding_comparison_interval` must be from 1m to 168h: vectors of another model corrupt an index silently",
        ),
        (
            recovery.hold.0 <= recovery.hold.1,
            [entry.hold_longest.place, entry.hold.place],
            "`hold` must not be above `hold_longest`",
        ),
        (
            numbers.cooling.0 <= numbers.cooling.1,
            [entry.cooling_shortest.place, entry.cooling_longest.place],
            "`cooling_shortest` must not be above `cooling_longest`",
        ),
    ];
    let broken = rules.iter().filter(|(holds, ..)| !holds);
    // What the file does not state has no place in it.
    broken
        .map(|(_, [first, second], said)| findings.refuse(if first.line > 0 { *first } else { *second }, *said))
        .count()
        == 0
}

pub(super) fn drain(entry: &file::Drain, findings: &mut Findings<'_>) -> Option<Drain> {
    let delay = entry.delay.take(findings).copied();
    let grace = positive("grace", &entry.grace, findings);
    Some(Drain { delay: delay?, grace: grace? })
}

pub(super) fn telemetry(entry: &file::Telemetry, findings: &mut Findings<'_>) -> Option<Telemetry> {
    let mut take = |setting: &Option<Setting<String>>| match setting {
        None => Some(None),
        Some(setting) => setting.take(findings).cloned().map(Some),
    };
    let (otlp_endpoint, service_name) = (take(&entry.otlp_endpoint), take(&entry.service_name));
    if let (Some(Some(endpoint)), Some(setting)) = (&otlp_endpoint, &entry.otlp_endpoint)
        && !["http://", "https://"].iter().any(|scheme| endpoint.starts_with(scheme))
    {
        findings.refuse(setting.place, format!("`{endpoint}` is not an address such as `http://localhost:4317`"));
    }
    let otlp_metrics = entry.otlp_metrics.take(findings).copied();
    Some(Telemetry { otlp_endpoint: otlp_endpoint?, otlp_metrics: otlp_metrics?, service_name: service_name? })
}

pub(super) fn images(entry: &file::Images, findings: &mut Findings<'_>) -> Option<Images> {
    entry.allow_uri.take(findings).map(|allow_uri| Images { allow_uri: *allow_uri })
}
