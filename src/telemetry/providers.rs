//! Sets up logs, metrics and the exporters, and flushes them at the end.
use std::{env, io, time::Duration};

use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::{MetricExporter, SpanExporter, WithExportConfig as _};
use opentelemetry_sdk::{
    Resource,
    trace::{BatchSpanProcessor, Sampler, SdkTracerProvider},
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

use super::{
    TRACE_TARGET,
    export::FailedExports,
    metrics::{Metrics, Push},
    sampling::{self, KeepWholeCalls, SamplerError},
};

/// What the operator chose.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TelemetrySettings {
    /// OTLP over gRPC, such as `http://localhost:4317`. The environment's `OTEL_EXPORTER_OTLP_{TRACES,METRICS}_ENDPOINT`
    /// and `OTEL_EXPORTER_OTLP_ENDPOINT` win. Without any, nothing is exported.
    pub otlp_endpoint: Option<String>,
    /// Leave metrics out of that: some receivers, such as Jaeger, take traces only. The environment's
    /// `OTEL_METRICS_EXPORTER` wins.
    pub otlp_traces_only: bool,
    /// Count for `/metrics`.
    pub prometheus: bool,
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

/// Keeps the exporters alive; [`shutdown`](Self::shutdown) flushes them.
#[derive(Debug)]
#[must_use = "dropping it ends the export"]
pub struct Telemetry {
    traces: Option<SdkTracerProvider>,
    metrics: Metrics,
    /// The exporters' channels are driven by a runtime of its own: on the service's one they would deadlock at the
    /// final flush where there is one worker only (open-telemetry/opentelemetry-rust#2583).
    runtime: Option<Runtime>,
}

impl Telemetry {
    /// Metrics and exporters, where they are asked for. Without [`install`](Self::install) there are no spans to export.
    ///
    /// # Errors
    /// When an endpoint is unusable.
    pub fn start(settings: &TelemetrySettings) -> Result<Self, TelemetryError> {
        let (traces_to, metrics_to) = (endpoint("TRACES", settings), endpoint("METRICS", settings));
        let runtime = if traces_to.is_some() || metrics_to.is_some() { Some(exporters_runtime()?) } else { None };
        let entered = runtime.as_ref().map(Runtime::enter);
        let failed = FailedExports::default();
        let traces = traces_to.as_deref().map(|endpoint| tracer_provider(endpoint, &failed, settings)).transpose()?;
        let metrics = match metrics_to.as_deref() {
            Some(endpoint) => {
                let exporter = MetricExporter::builder().with_tonic().with_endpoint(endpoint).build()?;
                let push = Push { exporter: failed.of_metrics(exporter), failed };
                Metrics::build(resource(settings), Some(push))
            }
            None if settings.prometheus => Metrics::build(resource(settings), None),
            None => Metrics::off(),
        };
        drop(entered);
        Ok(Self { traces, metrics, runtime })
    }

    /// The same, and logging and spans as well. Those once in a process; later calls leave them as they are.
    ///
    /// # Errors
    /// When an endpoint is unusable.
    pub fn install(settings: &TelemetrySettings) -> Result<Self, TelemetryError> {
        let telemetry = Self::start(settings)?;
        let spans = telemetry.traces.as_ref().map(|provider| {
            tracing_opentelemetry::layer()
                .with_tracer(provider.tracer("sealane"))
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
            if let (true, Err(error)) = (telemetry.traces.is_some(), sampler()) {
                warn!("{error}");
            }
            match (endpoint("TRACES", settings), endpoint("METRICS", settings)) {
                (None, None) => info!("no OTLP endpoint is set: neither traces nor metrics are exported"),
                (traces, metrics) => info!(traces, metrics, "exporting over OTLP"),
            }
        }
        Ok(telemetry)
    }

    /// What counts; off where nobody would look.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Sends what is left; waits at most five seconds for each signal.
    pub fn shutdown(self) {
        const PATIENCE: Duration = Duration::from_secs(5);
        let traces = self.traces.map(|provider| provider.shutdown_with_timeout(PATIENCE));
        let metrics = self.metrics.shutdown(PATIENCE);
        for (signal, outcome) in [("traces", traces), ("metrics", metrics)] {
            if let Some(Err(error)) = outcome {
                warn!(%error, "the last {signal} may not have been exported");
            }
        }
        if let Some(runtime) = self.runtime {
            runtime.shutdown_timeout(Duration::from_secs(1));
        }
    }
}

fn exporters_runtime() -> io::Result<Runtime> {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).thread_name("sealane-otlp").enable_all().build()
}

fn tracer_provider(
    endpoint: &str,
    failed: &FailedExports,
    settings: &TelemetrySettings,
) -> Result<SdkTracerProvider, TelemetryError> {
    let exporter = failed.of_traces(SpanExporter::builder().with_tonic().with_endpoint(endpoint).build()?);
    // Spans are evidence: every one is made, whatever the caller's flag, and sampling comes after the call.
    let provider = SdkTracerProvider::builder().with_sampler(Sampler::AlwaysOn).with_resource(resource(settings));
    let batches = BatchSpanProcessor::builder(exporter).build();
    let provider = match sampler().unwrap_or_default() {
        Some(others) => provider.with_span_processor(KeepWholeCalls::new(batches, others)),
        None => provider.with_span_processor(batches),
    };
    Ok(provider.build())
}

/// What the environment says of sampling.
fn sampler() -> Result<Option<Sampler>, SamplerError> {
    let (name, argument) = (variable("OTEL_TRACES_SAMPLER"), variable("OTEL_TRACES_SAMPLER_ARG"));
    sampling::sampler(name.as_deref(), argument.as_deref())
}

fn resource(settings: &TelemetrySettings) -> Resource {
    let mut resource = Resource::builder();
    if variable("OTEL_SERVICE_NAME").is_none() {
        resource = resource.with_service_name(settings.service_name.clone().unwrap_or_else(|| "sealane".into()));
    }
    resource.build()
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

/// Where to export a signal (`TRACES` or `METRICS`) to; `None` for nowhere.
fn endpoint(signal: &str, settings: &TelemetrySettings) -> Option<String> {
    if variable("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true")) {
        return None;
    }
    let off = match variable(&format!("OTEL_{signal}_EXPORTER")) {
        Some(exporter) => exporter == "none",
        None => signal == "METRICS" && settings.otlp_traces_only,
    };
    if off {
        return None;
    }
    variable(&format!("OTEL_EXPORTER_OTLP_{signal}_ENDPOINT"))
        .or_else(|| variable("OTEL_EXPORTER_OTLP_ENDPOINT"))
        .or_else(|| settings.otlp_endpoint.clone())
}

/// OpenTelemetry's rule: an empty variable is an unset one.
fn variable(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.is_empty())
}
