//! Exporters that count what they could not deliver: a receiver that is down must show at `/metrics`.
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use opentelemetry_otlp::{MetricExporter, SpanExporter};
use opentelemetry_sdk::{
    Resource,
    error::OTelSdkResult,
    metrics::{Temporality, data::ResourceMetrics, exporter::PushMetricExporter},
    trace::{SpanData, SpanExporter as ExportSpans},
};

/// Batches of each signal that were not delivered.
#[derive(Clone, Debug, Default)]
pub(super) struct FailedExports {
    traces: Arc<AtomicU64>,
    metrics: Arc<AtomicU64>,
}

impl FailedExports {
    /// Signal and count.
    pub(super) fn counts(&self) -> [(&'static str, u64); 2] {
        [("traces", self.traces.load(Ordering::Relaxed)), ("metrics", self.metrics.load(Ordering::Relaxed))]
    }

    pub(super) fn of_traces(&self, exporter: SpanExporter) -> Counted<SpanExporter> {
        Counted { exporter, failed: Arc::clone(&self.traces) }
    }

    pub(super) fn of_metrics(&self, exporter: MetricExporter) -> Counted<MetricExporter> {
        Counted { exporter, failed: Arc::clone(&self.metrics) }
    }
}

/// An exporter whose failures are counted.
#[derive(Debug)]
pub(super) struct Counted<E> {
    exporter: E,
    failed: Arc<AtomicU64>,
}

impl<E> Counted<E> {
    fn count(&self, exported: OTelSdkResult) -> OTelSdkResult {
        if exported.is_err() {
            self.failed.fetch_add(1, Ordering::Relaxed);
        }
        exported
    }
}

impl ExportSpans for Counted<SpanExporter> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        self.count(self.exporter.export(batch).await)
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.exporter.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}

impl PushMetricExporter for Counted<MetricExporter> {
    async fn export(&self, metrics: &ResourceMetrics) -> OTelSdkResult {
        self.count(self.exporter.export(metrics).await)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.exporter.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn temporality(&self) -> Temporality {
        self.exporter.temporality()
    }
}
