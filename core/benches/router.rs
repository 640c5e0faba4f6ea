//! What one call costs in the router: `choose` and `observe`, uncontended, with five targets. Prints nanoseconds; run
//! with `cargo bench -p sealane-core`.
#![allow(clippy::print_stdout)]
use std::{hint::black_box, sync::Arc, time::Instant};

use sealane_core::{
    domain::{ModelKind, Moment, ProcessingScope, Quota, RoutingOptions, Sku, Target, TargetId, UpstreamStream},
    policy::Policy,
    router::{Call, CallTerms, Decision, Delivery, Observation, Router, Routes, Thresholds},
};

const CALLS: u32 = 1_000_000;
const REPEATS: usize = 5;

fn target(id: u16) -> Target {
    Target {
        id: TargetId(id),
        model: "gpt-4o".into(),
        kind: ModelKind::Chat,
        resource: format!("resource-{id}").into(),
        resource_index: usize::from(id),
        region: format!("region-{id}").into(),
        boundary: Some("eu".into()),
        deployment: "gpt-4o".into(),
        sku: Sku::Standard,
        scope: ProcessingScope::Regional,
        reasoning: false,
        upstream_stream: UpstreamStream::Auto,
        version: None,
        embedding_space: None,
        claims: Default::default(),
    }
}

/// Nanoseconds a call, over so many workflows (none: unpinned work), with this word of Azure's in every answer.
fn measure(workflows: usize, quota: Quota) -> f64 {
    let routes = Routes::new((0..5).map(target).collect()).unwrap_or_else(|error| panic!("{error}"));
    let mut router = Router::new(routes, Thresholds::default(), 1, Moment::ZERO);
    let Some(route) = router.routes().find("gpt-4o").cloned() else { return f64::NAN };
    let policy = Arc::new(Policy::unrestricted());
    let options: Vec<Arc<RoutingOptions>> = (0..workflows.max(1))
        .map(|id| {
            let workflow_id = (workflows > 0).then(|| format!("run-{id}").into());
            Arc::new(RoutingOptions { workflow_id, ..RoutingOptions::default() })
        })
        .collect();
    let caller: Arc<str> = "team".into();
    let mut now = Moment::ZERO;
    let second = std::time::Duration::from_secs(1);
    let served = Observation::Served { first_content: second, quota };
    let start = Instant::now();
    for call in 0..CALLS as usize {
        now = now + std::time::Duration::from_micros(500);
        let terms = CallTerms {
            caller: Arc::clone(&caller),
            route: Arc::clone(&route),
            policy: Arc::clone(&policy),
            options: Arc::clone(&options[call % options.len()]),
            delivery: Delivery::Assembled,
            prompt_tokens: 100,
            deadline: now + second * 60,
        };
        let mut call = Call::new(terms, now);
        if let Decision::Try { ticket, .. } = black_box(router.choose(&mut call, now)) {
            router.first_content(&mut call, ticket, now);
            router.observe(&mut call, ticket, &served, now);
        }
    }
    start.elapsed().as_nanos() as f64 / f64::from(CALLS)
}

fn main() {
    let ample = Quota {
        remaining_requests: Some(200_000),
        remaining_tokens: Some(20_000_000),
        limit_requests: Some(300_000),
        limit_tokens: Some(30_000_000),
    };
    let none = Quota::default();
    for (workflows, quota) in [(0, none), (1, none), (1_000, none), (10_000, none), (0, ample)] {
        let mut runs: Vec<f64> = (0..REPEATS).map(|_| measure(workflows, quota)).collect();
        runs.sort_by(f64::total_cmp);
        let stated = if quota == none { "" } else { ", limits stated" };
        println!(
            "choose + first_content + observe, 5 targets, {workflows:>6} workflows{stated}: {:>6.0} ns",
            runs[REPEATS / 2]
        );
    }
}
