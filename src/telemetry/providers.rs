//! Sets up logs and the trace exporter, and flushes it at the end.
use std::{env, io, time::Duration};

use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::{SpanExporter, WithExportConfig as _};
use opentelemetry_sdk::{
    Resource,
    trace::{Sampler, SdkTracerProvider},
};
use thiserror::Error;
use tokio::runtime::Runtime;
use tracing::{info, warn};
use tracing_subscriber::{
    EnvFilter, Layer as _,
    filter::{LevelFilter, filter_fn},
    layer::SubscriberExt as _,
    registry::LookupSpan,
    util::SubscriberInitExt as _,
};

use super::TRACE_TARGET;

/// What the operator chose.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TelemetrySettings {
    /// OTLP over gRPC, such as `http://localhost:4317`. The environment's `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT` and
    /// `OTEL_EXPORTER_OTLP_ENDPOINT` win. Without any, nothing is exported.
    pub otlp_endpoint: Option<String>,
    /// `service.name`; the environment's `OTEL_SERVICE_NAME` wins. Default `sealane`.
    pub service_name: Option<String>,
    /// How logs are written.
    pub logs: LogStyle,
}

/// How logs are written. The level comes from `RUST_LOG`, default `info`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogStyle {
    /// One JSON object a line on standard error.
    #[default]
    Json,
    /// Only warnings and errors, as text: for the commands that a person runs.
    Quiet,
    /// Not at all: for the commands that draw on the terminal.
    Off,
}

/// Why telemetry could not be set up.
#[derive(Debug, Error)]
pub enum TelemetryError {
    /// The exporter refuses the endpoint or other settings.
    #[error("OTLP exporter: {0}")]
    Exporter(#[from] opentelemetry_otlp::ExporterBuildError),
    /// No thread for the exporter.
    #[error("OTLP exporter's runtime: {0}")]
    Runtime(#[from] io::Error),
}

/// Keeps the exporter alive; [`shutdown`](Self::shutdown) flushes it.
#[derive(Debug)]
#[must_use = "dropping it ends the export"]
pub struct Telemetry {
    exporter: Option<Exporter>,
}

#[derive(Debug)]
struct Exporter {
    provider: SdkTracerProvider,
    /// The exporter's channel is driven by a runtime of its own: on the service's one it would deadlock at the final
    /// flush where there is one worker only (open-telemetry/opentelemetry-rust#2583).
    runtime: Runtime,
}

impl Telemetry {
    /// Installs logging and, where an endpoint is set, the exporter. Once in a process; later calls change nothing.
    ///
    /// # Errors
    /// When the endpoint is unusable.
    pub fn install(settings: &TelemetrySettings) -> Result<Self, TelemetryError> {
        let endpoint = endpoint(settings);
        let exporter = endpoint.as_deref().map(|endpoint| Exporter::build(endpoint, settings)).transpose()?;
        let spans = exporter.as_ref().map(|exporter| {
            tracing_opentelemetry::layer()
                .with_tracer(exporter.provider.tracer("sealane"))
                .with_location(false)
                .with_threads(false)
                .with_target(false)
                .with_level(false)
                .with_tracked_inactivity(false)
                .with_filter(filter_fn(|metadata| metadata.target() == TRACE_TARGET))
        });
        let logs = tracing_subscriber::registry().with(log_layer(settings.logs));
        let installed = match spans {
            Some(spans) => logs.with(spans).try_init(),
            // No layer at all: an absent one (`None`) would keep every span enabled, for nobody.
            None => logs.try_init(),
        };
        if installed.is_ok() {
            match &endpoint {
                Some(endpoint) => info!(endpoint, "exporting traces"),
                None => info!("no OTLP endpoint is set: no traces are exported"),
            }
        }
        Ok(Self { exporter })
    }

    /// Sends what is left; waits at most five seconds.
    pub fn shutdown(self) {
        let Some(exporter) = self.exporter else { return };
        if let Err(error) = exporter.provider.shutdown_with_timeout(Duration::from_secs(5)) {
            warn!(%error, "the last traces may not have been exported");
        }
        exporter.runtime.shutdown_timeout(Duration::from_secs(1));
    }
}

impl Exporter {
    fn build(endpoint: &str, settings: &TelemetrySettings) -> Result<Self, TelemetryError> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("sealane-otlp")
            .enable_all()
            .build()?;
        let entered = runtime.enter();
        let exporter = SpanExporter::builder().with_tonic().with_endpoint(endpoint).build()?;
        drop(entered);
        let mut resource = Resource::builder();
        if variable("OTEL_SERVICE_NAME").is_none() {
            resource = resource.with_service_name(settings.service_name.clone().unwrap_or_else(|| "sealane".into()));
        }
        let mut provider = SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource.build());
        if variable("OTEL_TRACES_SAMPLER").is_none() {
            // Spans are evidence: a caller's unsampled flag must not hide its call.
            provider = provider.with_sampler(Sampler::AlwaysOn);
        }
        Ok(Self { provider: provider.build(), runtime })
    }
}

fn log_layer<S>(style: LogStyle) -> Box<dyn tracing_subscriber::Layer<S> + Send + Sync>
where
    S: tracing::Subscriber + for<'a> LookupSpan<'a>,
{
    // Spans are for the exporter alone: where nothing is exported, none is made.
    let spans_off = format!("{TRACE_TARGET}=off").parse();
    let level = |default: &str| {
        let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(default));
        spans_off.iter().cloned().fold(filter, EnvFilter::add_directive)
    };
    let lines = tracing_subscriber::fmt::layer().with_writer(io::stderr);
    match style {
        LogStyle::Json => lines
            .json()
            .flatten_event(true)
            .with_current_span(false)
            .with_span_list(false)
            .with_filter(level("info"))
            .boxed(),
        LogStyle::Off => lines.with_filter(LevelFilter::OFF).boxed(),
        LogStyle::Quiet => lines.without_time().with_target(false).with_filter(level("warn")).boxed(),
    }
}

/// Where to export to; `None` for nowhere.
fn endpoint(settings: &TelemetrySettings) -> Option<String> {
    let off = variable("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true"))
        || variable("OTEL_TRACES_EXPORTER").is_some_and(|value| value == "none");
    if off {
        return None;
    }
    variable("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
        .or_else(|| variable("OTEL_EXPORTER_OTLP_ENDPOINT"))
        .or_else(|| settings.otlp_endpoint.clone())
}

/// OpenTelemetry's rule: an empty variable is an unset one.
fn variable(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.is_empty())
}
