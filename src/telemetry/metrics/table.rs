//! Every instrument in one table: what it is called, what it counts, and by which attributes. `docs/metrics.md` is made
//! from it, and a test holds that a running service exports exactly these.

/// How an instrument counts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// A distribution, with the upper bounds of its buckets.
    Histogram(&'static [f64]),
}

/// One instrument.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Instrument {
    /// OpenTelemetry's name of it.
    pub name: &'static str,
    /// How it counts.
    pub kind: Kind,
    /// UCUM unit; empty for a plain number. Braces mark what is counted and do not reach Prometheus.
    pub unit: &'static str,
    /// What it tells, in one sentence.
    pub description: &'static str,
    /// Names of its attributes. Their values come from the configuration or from this code, never from a caller or
    /// from Azure, so their number is bounded.
    pub attributes: &'static [&'static str],
}

impl Instrument {
    /// Its name at `/metrics`: dots become underscores, the unit and, for counters, `_total` are appended. A histogram
    /// has three series, with `_bucket`, `_sum` and `_count`.
    pub fn prometheus_name(&self) -> String {
        let mut name = self.name.replace('.', "_");
        match self.unit {
            "s" => name.push_str("_seconds"),
            "By" => name.push_str("_bytes"),
            "1" if self.kind == Kind::Gauge => name.push_str("_ratio"),
            _ => {}
        }
        if self.kind == Kind::Counter {
            name.push_str("_total");
        }
        name
    }
}

/// Semantic conventions for RPC v1.44.0 up to 10 s; beyond, answers of language models are still on their way.
const CALL_SECONDS: &[f64] =
    &[0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0, 160.0, 320.0];
/// Required by the semantic conventions for generative AI v1.41.0.
const ATTEMPT_SECONDS: &[f64] =
    &[0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92];
/// The same.
const TOKENS: &[f64] = &[
    1.0, 4.0, 16.0, 64.0, 256.0, 1024.0, 4096.0, 16384.0, 65536.0, 262144.0, 1048576.0, 4194304.0, 16777216.0,
    67108864.0,
];

const TARGET: &[&str] = &["region", "resource", "deployment", "model"];
const GEN_AI: &[&str] = &["gen_ai.operation.name", "gen_ai.provider.name", "gen_ai.request.model", "cloud.region"];
const GEN_AI_ERROR: &[&str] =
    &["gen_ai.operation.name", "gen_ai.provider.name", "gen_ai.request.model", "cloud.region", "error.type"];
const GEN_AI_TOKENS: &[&str] =
    &["gen_ai.operation.name", "gen_ai.provider.name", "gen_ai.request.model", "cloud.region", "gen_ai.token.type"];

const fn counter(
    name: &'static str,
    unit: &'static str,
    attributes: &'static [&'static str],
    description: &'static str,
) -> Instrument {
    Instrument { name, kind: Kind::Counter, unit, description, attributes }
}

const fn gauge(
    name: &'static str,
    unit: &'static str,
    attributes: &'static [&'static str],
    description: &'static str,
) -> Instrument {
    Instrument { name, kind: Kind::Gauge, unit, description, attributes }
}

const fn histogram(
    name: &'static str,
    unit: &'static str,
    bounds: &'static [f64],
    attributes: &'static [&'static str],
    description: &'static str,
) -> Instrument {
    Instrument { name, kind: Kind::Histogram(bounds), unit, description, attributes }
}

pub(super) const CALL_DURATION: Instrument = histogram(
    "rpc.server.call.duration",
    "s",
    CALL_SECONDS,
    &["rpc.system.name", "rpc.method", "rpc.response.status_code", "error.type"],
    "Time of a call that reached one of our methods, to its last byte; `error.type` is the reason of its error.",
);
pub(super) const ATTEMPT_DURATION: Instrument = histogram(
    "gen_ai.client.operation.duration",
    "s",
    ATTEMPT_SECONDS,
    GEN_AI_ERROR,
    "Time of one attempt at one target; `error.type` says how it failed.",
);
pub(super) const FIRST_CHUNK: Instrument = histogram(
    "gen_ai.client.operation.time_to_first_chunk",
    "s",
    ATTEMPT_SECONDS,
    GEN_AI,
    "Time to the first content of an attempt that streams and was not cut before it.",
);
pub(super) const TOKEN_USAGE: Instrument = histogram(
    "gen_ai.client.token.usage",
    "{token}",
    TOKENS,
    GEN_AI_TOKENS,
    "Tokens of an attempt that served, as Azure counted them; `gen_ai.token.type` is `input` or `output`.",
);
pub(super) const ATTEMPTS_STARTED: Instrument = counter(
    "sealane.attempts.started",
    "{attempt}",
    &["region", "model", "reason"],
    "Attempts that were started, and why there: `route`, `pin`, `rescue`, `spill`, `retry`, `hedge`, `restart` or `return`.",
);
pub(super) const ATTEMPTS: Instrument = counter(
    "sealane.attempts",
    "{attempt}",
    &["region", "resource", "deployment", "model", "operation", "outcome"],
    "Attempts of calls that ended: `served`, `cancelled`, or the word for the failure, such as `throttled`.",
);
pub(super) const FAILOVERS: Instrument = counter(
    "sealane.failovers",
    "{failover}",
    &["from_region", "to_region", "reason"],
    "Calls that left a failed target for another; `reason` is the failure.",
);
pub(super) const REQUESTS_SERVED: Instrument = counter(
    "sealane.requests.served",
    "{call}",
    &["region", "data_boundary", "model", "operation", "failover"],
    "Calls that were served, and where; `failover` says whether by another target than the first one tried.",
);
pub(super) const POLICY_REJECTIONS: Instrument = counter(
    "sealane.policy.rejections",
    "{call}",
    &["reason"],
    "Calls refused because no target is permitted to them.",
);
pub(super) const STREAMS_INTERRUPTED: Instrument = counter(
    "sealane.streams.interrupted",
    "{call}",
    &["region", "model"],
    "Streams whose region failed after the caller had seen content.",
);
pub(super) const REGION_MISMATCHES: Instrument = counter(
    "sealane.region.mismatches",
    "{attempt}",
    &["region", "resource"],
    "Attempts whose answer names (`x-ms-region`) another region than the one configured for the resource.",
);
pub(super) const STANDING: Instrument = gauge(
    "sealane.target.standing",
    "",
    &["region", "resource", "deployment", "model", "standing"],
    "1 for the standing that the target has, 0 for the others: `serving`, `suspected`, `out`, `returning`.",
);
pub(super) const OVERLAY: Instrument = gauge(
    "sealane.target.overlay",
    "",
    &["region", "resource", "deployment", "model", "overlay"],
    "1 while the target is `cooling`, `drained`, `drifted`, `misconfigured` or `quarantined`, whatever its standing; else 0.",
);
pub(super) const LEVEL: Instrument = gauge(
    "sealane.target.level",
    "",
    TARGET,
    "How often in a row the target had to leave; the hold doubles with each.",
);
pub(super) const TRAFFIC_SHARE: Instrument =
    gauge("sealane.target.traffic_share", "1", TARGET, "Share of unpinned work that may go to the target, 0 to 1.");
pub(super) const IN_FLIGHT: Instrument =
    gauge("sealane.region.in_flight_requests", "{attempt}", TARGET, "Attempts running at the target now.");
pub(super) const REMAINING_TOKENS: Instrument = gauge(
    "sealane.region.remaining_tokens",
    "{token}",
    TARGET,
    "Tokens that Azure last said are left of the quota; a hint only.",
);
pub(super) const LAST_SUCCESS: Instrument = gauge(
    "sealane.region.last_success.timestamp",
    "s",
    TARGET,
    "When a call was last served there, in seconds since 1970; absent until one was.",
);
pub(super) const TEST_CALLS: Instrument =
    counter("sealane.test.calls", "{call}", TARGET, "Deep test calls made since the start.");
pub(super) const TEST_CALLS_PASSED: Instrument =
    counter("sealane.test.calls.passed", "{call}", TARGET, "Deep test calls that passed since the start.");
pub(super) const TEST_TOKENS: Instrument =
    counter("sealane.test.tokens", "{token}", TARGET, "Tokens that Azure counted for test calls since the start.");
pub(super) const TEST_TOKENS_LEFT: Instrument =
    gauge("sealane.test.tokens_left", "{token}", &[], "Tokens that background test calls may still cost today.");
pub(super) const SERVABLE: Instrument =
    gauge("sealane.model.servable", "", &["model"], "1 while some target of the model takes calls; else 0.");
pub(super) const READY_STANDBYS: Instrument =
    gauge("sealane.model.ready_standbys", "{target}", &["model"], "Targets that could take over at once.");
pub(super) const PINNED_WORKFLOWS: Instrument = gauge(
    "sealane.model.pinned_workflows",
    "{workflow}",
    &["model"],
    "Workflows pinned to a region in which the model has a target.",
);
pub(super) const ALARMS: Instrument =
    gauge("sealane.alarms", "{alarm}", &["alarm"], "Alarms that stand now, by kind; `RegionStatus` tells of each.");
pub(super) const OFF_PIN: Instrument = counter(
    "sealane.off_pin.calls",
    "{call}",
    &["cause"],
    "Calls of pinned workflows that were served outside their region; `cause` is the attempt's reason.",
);
pub(super) const CREDENTIAL_FAILING: Instrument = gauge(
    "sealane.credential.failing",
    "",
    &["resource"],
    "1 while the resource's key file or identity endpoint gives nothing usable; what there is stays in use; else 0.",
);
pub(super) const TOKEN_LEFT: Instrument = gauge(
    "sealane.credential.token_left",
    "s",
    &["resource"],
    "How long the Entra ID token in use is still good; absent for keys, and where there is no token.",
);
pub(super) const FAILED_EXPORTS: Instrument = counter(
    "sealane.telemetry.failed_exports",
    "{batch}",
    &["signal"],
    "Batches of `traces` or `metrics` that the OTLP receiver did not take; only where an endpoint is set.",
);
pub(super) const RELOAD_SUCCESSFUL: Instrument = gauge(
    "sealane.config.last_reload_successful",
    "",
    &[],
    "Whether the configuration that was last found could be taken up: 1 or 0.",
);
pub(super) const RELOAD_TIME: Instrument = gauge(
    "sealane.config.last_reload_success_timestamp",
    "s",
    &[],
    "When a configuration was last taken up, in seconds since 1970; the start counts.",
);
pub(super) const AUDIT_WRITABLE: Instrument = gauge(
    "sealane.audit.writable",
    "",
    &[],
    "Whether the audit journal can be written: 1 or 0. This and the next nine: only where a journal is kept.",
);
pub(super) const AUDIT_RECORDS: Instrument =
    counter("sealane.audit.records", "{record}", &[], "Records written to the audit journal.");
pub(super) const AUDIT_QUEUED: Instrument =
    gauge("sealane.audit.queued_records", "{record}", &[], "Records that wait to be written.");
pub(super) const AUDIT_UNRECORDED: Instrument = counter(
    "sealane.audit.unrecorded_attempts",
    "{attempt}",
    &[],
    "Attempts that the journal could not record in time; they were not made, unless their policy does without.",
);
pub(super) const AUDIT_LOST: Instrument =
    counter("sealane.audit.lost_records", "{record}", &[], "Other records that found no room in the journal's queue.");
pub(super) const AUDIT_FAILURES: Instrument =
    counter("sealane.audit.failures", "{write}", &[], "Writes and fsyncs of the journal that failed.");
pub(super) const AUDIT_WRITES: Instrument = counter(
    "sealane.audit.writes",
    "{write}",
    &[],
    "Writes of the journal, each with its fsync; many calls share one.",
);
pub(super) const AUDIT_WRITING: Instrument =
    counter("sealane.audit.writing", "s", &[], "Time that those took: by their number, how long the disk takes.");
pub(super) const AUDIT_CHECKPOINT: Instrument = gauge(
    "sealane.audit.last_checkpoint.timestamp",
    "s",
    &[],
    "When the journal's last checkpoint was signed, in seconds since 1970; every minute at the latest.",
);
pub(super) const AUDIT_FAILED_COPIES: Instrument = counter(
    "sealane.audit.failed_checkpoint_copies",
    "{checkpoint}",
    &[],
    "Checkpoints that could not be copied to where `audit.checkpoints` says.",
);
pub(super) const BUILD_INFO: Instrument =
    gauge("sealane.build_info", "", &["version", "revision", "rustc"], "Always 1; its attributes say what runs.");
pub(super) const CPU: Instrument =
    counter("process.cpu", "s", &[], "Processor time that the process has used. This and the next five: Linux only.");
pub(super) const RESIDENT: Instrument = gauge("process.resident_memory", "By", &[], "Memory in use.");
pub(super) const VIRTUAL: Instrument = gauge("process.virtual_memory", "By", &[], "Address space in use.");
pub(super) const OPEN_FDS: Instrument = gauge("process.open_fds", "", &[], "Open file descriptors.");
pub(super) const MAX_FDS: Instrument = gauge("process.max_fds", "", &[], "File descriptors that may be open.");
pub(super) const THREADS: Instrument = gauge("process.threads", "", &[], "Threads.");
pub(super) const START_TIME: Instrument =
    gauge("process.start_time", "s", &[], "When metrics began, in seconds since 1970.");

/// All of them, in the order of the documentation.
pub const INSTRUMENTS: &[Instrument] = &[
    CALL_DURATION,
    ATTEMPT_DURATION,
    FIRST_CHUNK,
    TOKEN_USAGE,
    ATTEMPTS_STARTED,
    ATTEMPTS,
    FAILOVERS,
    REQUESTS_SERVED,
    POLICY_REJECTIONS,
    STREAMS_INTERRUPTED,
    REGION_MISMATCHES,
    STANDING,
    OVERLAY,
    LEVEL,
    TRAFFIC_SHARE,
    IN_FLIGHT,
    REMAINING_TOKENS,
    LAST_SUCCESS,
    TEST_CALLS,
    TEST_CALLS_PASSED,
    TEST_TOKENS,
    TEST_TOKENS_LEFT,
    SERVABLE,
    READY_STANDBYS,
    PINNED_WORKFLOWS,
    ALARMS,
    OFF_PIN,
    CREDENTIAL_FAILING,
    TOKEN_LEFT,
    FAILED_EXPORTS,
    RELOAD_SUCCESSFUL,
    RELOAD_TIME,
    AUDIT_WRITABLE,
    AUDIT_RECORDS,
    AUDIT_QUEUED,
    AUDIT_UNRECORDED,
    AUDIT_LOST,
    AUDIT_FAILURES,
    AUDIT_WRITES,
    AUDIT_WRITING,
    AUDIT_CHECKPOINT,
    AUDIT_FAILED_COPIES,
    BUILD_INFO,
    CPU,
    RESIDENT,
    VIRTUAL,
    OPEN_FDS,
    MAX_FDS,
    THREADS,
    START_TIME,
];
