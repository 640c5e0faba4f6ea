//! What counting costs a call: server and attempt span without an exporter, with metrics off and on. Prints
//! nanoseconds; run with `cargo bench --bench metrics`.
#![allow(clippy::print_stdout, missing_docs)]
use std::{
    hint::black_box,
    sync::Arc,
    time::{Duration, Instant},
};

use http::HeaderMap;
use sealane::telemetry::{AttemptSpan, CallSpan, Metrics, Operation};
use sealane_core::domain::{
    AttemptReason, AttemptRecord, AttemptResult, Evidence, ModelKind, ProcessingScope, Sku, Target, TargetId,
    UpstreamStream, Usage,
};

const CALLS: u32 = 500_000;
const REPEATS: usize = 5;

fn record() -> AttemptRecord {
    let target = Target {
        id: TargetId(0),
        model: "gpt-4o".into(),
        kind: ModelKind::Chat,
        resource: "swc".into(),
        resource_index: 0,
        region: "swedencentral".into(),
        boundary: Some("eu".into()),
        deployment: "gpt-4o".into(),
        sku: Sku::Standard,
        scope: ProcessingScope::Regional,
        reasoning: false,
        upstream_stream: UpstreamStream::Auto,
        version: None,
        embedding_space: None,
        claims: sealane_core::domain::Claims::default(),
    };
    AttemptRecord {
        number: 1,
        target: Arc::new(target),
        reason: AttemptReason::Route,
        start_offset: Duration::ZERO,
        duration: Duration::from_millis(700),
        result: Some(AttemptResult::Served),
        evidence: Evidence { reported_region: Some("Sweden Central".into()), ..Evidence::default() },
    }
}

/// Everything that a call with one streamed attempt tells.
fn call(headers: &HeaderMap, record: &AttemptRecord, metrics: &Metrics) {
    let usage = Usage { input_tokens: 900, output_tokens: 200, total_tokens: 1100, ..Usage::default() };
    let span = CallSpan::start("sealane.v1.InferenceService/Complete", headers, None, metrics);
    let operation = Operation::Chat { streamed: true };
    let attempt = AttemptSpan::start(&span, operation, &record.target, record.reason, record.number);
    attempt.used(&usage);
    attempt.end(black_box(record), Some(Duration::from_millis(300)));
    span.served(record, false, None);
    span.end("OK", None);
}

/// The quickest of some rounds: the rest of the machine only ever adds.
fn measure(metrics: &Metrics) -> f64 {
    let (headers, record) = (HeaderMap::new(), record());
    let round = || {
        let start = Instant::now();
        (0..CALLS).for_each(|_| call(&headers, &record, metrics));
        start.elapsed().as_secs_f64() * 1e9 / f64::from(CALLS)
    };
    (0..REPEATS).map(|_| round()).fold(f64::INFINITY, f64::min)
}

fn main() {
    let (off, on) = (measure(&Metrics::off()), measure(&Metrics::on()));
    println!("off  {off:6.0} ns a call");
    println!("on   {on:6.0} ns a call: counting costs {:.0} ns", on - off);
    let start = Instant::now();
    let metrics = Metrics::on();
    call(&HeaderMap::new(), &record(), &metrics);
    let bytes = metrics.exposition().map_or(0, |text| text.len());
    println!("a first call and a scrape of {bytes} bytes take {:?}", start.elapsed());
}
