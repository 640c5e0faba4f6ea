//! Metrics: one meter provider feeds both `/metrics` and OTLP.
//!
//! `table` names every instrument; `calls` counts as calls go by; `observed` is read from the router's snapshot and
//! from the operating system when somebody looks.
mod calls;
mod journal;
mod observed;
mod process;
mod reload;
mod table;

use std::{
    fmt,
    sync::{Arc, OnceLock},
    time::Duration,
};

use opentelemetry::{
    KeyValue,
    metrics::{Counter, Histogram, Meter, MeterProvider as _, ObservableCounter, ObservableGauge},
};
use opentelemetry_otlp::MetricExporter;
use opentelemetry_sdk::{Resource, error::OTelSdkResult, metrics::SdkMeterProvider};
use prometheus::{Registry, TextEncoder};
use sealane_core::domain::Target;
use thiserror::Error;

use super::export::{Counted, FailedExports};

pub(super) use self::calls::AttemptLabels;
use self::{calls::CallInstruments, reload::Reloads};
pub use self::{
    journal::JournalView,
    observed::{CredentialState, RouterView},
    table::{INSTRUMENTS, Instrument, Kind},
};

/// The media type of what [`Metrics::exposition`] gives.
pub const EXPOSITION_TYPE: &str = prometheus::TEXT_FORMAT;

/// Why metrics cannot be shown.
#[derive(Debug, Error)]
#[error("metrics cannot be shown: {0}")]
pub struct ExpositionError(#[from] prometheus::Error);

/// Where metrics are pushed to.
pub(super) struct Push {
    pub(super) exporter: Counted<MetricExporter>,
    /// Failures of all exporters.
    pub(super) failed: FailedExports,
}

/// Counts what the service does. Cheap to clone; where nobody would look ([`Metrics::off`]), it costs nothing.
#[derive(Clone)]
pub struct Metrics(Option<Arc<Counting>>);

struct Counting {
    calls: CallInstruments,
    meter: Meter,
    provider: SdkMeterProvider,
    registry: Registry,
    watching: OnceLock<()>,
    reloads: Reloads,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Metrics" } else { "Metrics(off)" })
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::off()
    }
}

impl Metrics {
    /// Counts nothing.
    pub fn off() -> Self {
        Self(None)
    }

    /// Counts, to be looked at with [`exposition`](Self::exposition).
    pub fn on() -> Self {
        Self::build(Resource::builder().with_service_name("sealane").build(), None)
    }

    /// Counts for `/metrics`, and for whoever it is pushed to, every minute (`OTEL_METRIC_EXPORT_INTERVAL`).
    pub(super) fn build(resource: Resource, push: Option<Push>) -> Self {
        let registry = Registry::new();
        let mut builder = SdkMeterProvider::builder().with_resource(resource);
        // Fails only where a registry holds the same metrics twice, and this one is new.
        if let Ok(reader) =
            opentelemetry_prometheus::exporter().with_registry(registry.clone()).scope_info_enabled(false).build()
        {
            builder = builder.with_reader(reader);
        }
        let failed = push.map(|push| {
            builder = std::mem::take(&mut builder).with_periodic_exporter(push.exporter);
            push.failed
        });
        let provider = builder.build();
        let meter = provider.meter("sealane");
        process::watch(&meter);
        if let Some(failed) = failed {
            total(&meter, &table::FAILED_EXPORTS, move |put| {
                for (signal, count) in failed.counts() {
                    put(count as f64, &[KeyValue::new("signal", signal)]);
                }
            });
        }
        let (calls, reloads) = (CallInstruments::new(&meter), Reloads::new(&meter));
        Self(Some(Arc::new(Counting { calls, meter, provider, registry, watching: OnceLock::new(), reloads })))
    }

    /// Everything in Prometheus' text format. The callbacks look at the router once.
    ///
    /// # Errors
    /// When a metric cannot be written in that format, which none of the table can.
    pub fn exposition(&self) -> Result<String, ExpositionError> {
        match &self.0 {
            Some(counting) => Ok(TextEncoder::new().encode_to_string(&counting.registry.gather())?),
            None => Ok(String::new()),
        }
    }

    /// Starts at zero what alerts look at. For every target that is configured, also by a later configuration.
    pub fn prepare<'a>(&self, targets: impl Iterator<Item = &'a Target>) {
        if let Some(calls) = self.calls() {
            calls.prepare(targets);
        }
    }

    /// A changed configuration was taken up, or refused.
    pub fn reloaded(&self, successful: bool) {
        if let Some(counting) = &self.0 {
            counting.reloads.ended(successful);
        }
    }

    /// Shows the router's state from now on: `look` is asked when somebody reads the metrics. The first call counts;
    /// where `look` finds nothing any more (`None`), nothing is shown.
    pub fn watch_router(&self, look: impl Fn() -> Option<RouterView> + Send + Sync + 'static) {
        let Some(counting) = &self.0 else { return };
        if counting.watching.set(()).is_ok() {
            observed::watch(&counting.meter, look);
        }
    }

    /// Shows how the audit journal is doing from now on.
    pub fn watch_journal(&self, look: impl Fn() -> JournalView + Clone + Send + Sync + 'static) {
        if let Some(counting) = &self.0 {
            journal::watch(&counting.meter, look);
        }
    }

    fn calls(&self) -> Option<&CallInstruments> {
        self.0.as_ref().map(|counting| &counting.calls)
    }

    /// Pushes what is left to the exporter, if there is one, and ends.
    pub(super) fn shutdown(&self, patience: Duration) -> Option<OTelSdkResult> {
        self.0.as_ref().map(|counting| counting.provider.shutdown_with_timeout(patience))
    }
}

fn counter(meter: &Meter, row: &Instrument) -> Counter<u64> {
    meter.u64_counter(row.name).with_unit(row.unit).with_description(row.description).build()
}

fn histogram(meter: &Meter, row: &Instrument) -> Histogram<f64> {
    let bounds = match row.kind {
        Kind::Histogram(bounds) => bounds.to_vec(),
        Kind::Counter | Kind::Gauge => Vec::new(),
    };
    let builder = meter.f64_histogram(row.name).with_unit(row.unit).with_description(row.description);
    builder.with_boundaries(bounds).build()
}

/// A gauge that `read` fills when somebody looks.
fn gauge(meter: &Meter, row: &Instrument, read: impl Fn(&mut dyn FnMut(f64, &[KeyValue])) + Send + Sync + 'static) {
    let builder = meter.f64_observable_gauge(row.name).with_unit(row.unit).with_description(row.description);
    // The meter keeps the callback; the handle is of no further use.
    let _: ObservableGauge<f64> =
        builder.with_callback(move |observer| read(&mut |value, by| observer.observe(value, by))).build();
}

/// A counter that `read` fills with its total when somebody looks.
fn total(meter: &Meter, row: &Instrument, read: impl Fn(&mut dyn FnMut(f64, &[KeyValue])) + Send + Sync + 'static) {
    let builder = meter.f64_observable_counter(row.name).with_unit(row.unit).with_description(row.description);
    let _: ObservableCounter<f64> =
        builder.with_callback(move |observer| read(&mut |value, by| observer.observe(value, by))).build();
}
