//! Traces and logs: providers, span shapes, and every attribute name in one table. No content ever enters them.
mod flood;
mod names;
mod providers;
mod span;

pub use flood::FloodGate;
pub use providers::{LogStyle, Telemetry, TelemetryError, TelemetrySettings};
pub use span::{AttemptSpan, CallFacts, CallSpan, Operation};

/// Target of the spans that are exported; everything else in `tracing` is logging.
pub(crate) const TRACE_TARGET: &str = "sealane::trace";
