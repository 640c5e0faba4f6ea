//! Traces, metrics and logs: providers, span shapes, instruments, and every name in a table. No content ever enters
//! them.
mod export;
mod flood;
mod metrics;
mod names;
mod providers;
mod sampling;
mod span;

pub use flood::FloodGate;
pub use metrics::{
    CredentialState, EXPOSITION_TYPE, ExpositionError, INSTRUMENTS, Instrument, JournalView, Kind, Metrics, RouterView,
};
pub use providers::{LogStyle, Telemetry, TelemetryError, TelemetrySettings};
pub use span::{AttemptSpan, CallFacts, CallSpan, Operation};

/// Target of the spans that are exported; everything else in `tracing` is logging.
pub(crate) const TRACE_TARGET: &str = "sealane::trace";
