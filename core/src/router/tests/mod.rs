//! The router told as tables (`classes`, `transitions`, `numbers`, `tables`), as cases (`blame`, `choices`, `proving`,
//! `reach`, `operator`, `quarantine`, `quota`, `spaces`, `saved`, `succession`), as stories of calls (`scripts`) and of
//! outages (`outages`), as properties (`properties`, `sequences`, `residency`), and its standing in every state it can
//! reach (`model`).
#![allow(clippy::unwrap_used)]
mod blame;
mod choices;
mod classes;
mod model;
mod numbers;
mod operator;
mod outages;
mod properties;
mod proving;
mod quarantine;
mod quota;
mod reach;
mod residency;
mod saved;
mod script;
mod scripts;
mod sequences;
mod spaces;
mod succession;
mod tables;
mod transitions;

use std::{sync::Arc, time::Duration};

use super::*;
use crate::{
    domain::{self, *},
    policy::Policy,
};

/// Region of target 0, 1, 2 ...
const REGIONS: [&str; 4] = ["swc", "weu", "frc", "eus"];

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn at(seconds: u64) -> Moment {
    Moment::after_origin(secs(seconds))
}

fn target(id: u16) -> Target {
    Target {
        id: TargetId(id),
        model: "gpt-4o".into(),
        kind: ModelKind::Chat,
        resource: REGIONS[usize::from(id)].into(),
        resource_index: usize::from(id),
        region: REGIONS[usize::from(id)].into(),
        boundary: Some(if id < 3 { "eu" } else { "us" }.into()),
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

fn router(targets: Vec<Target>) -> Router {
    Router::new(Routes::new(targets).unwrap(), Thresholds::default(), 7, Moment::ZERO)
}

fn plain(count: u16) -> Router {
    router((0..count).map(target).collect())
}

fn terms(router: &Router, deadline: Moment) -> CallTerms {
    CallTerms {
        caller: "".into(),
        route: Arc::clone(router.routes().find("gpt-4o").unwrap()),
        policy: Arc::new(Policy::unrestricted()),
        options: Arc::default(),
        delivery: Delivery::Assembled,
        prompt_tokens: 0,
        deadline,
    }
}

fn failed(kind: FailureKind) -> Observation {
    Observation::Failed(Failure::without_response(kind))
}

fn throttled(seconds: u64) -> FailureKind {
    FailureKind::Throttled { retry_after: secs(seconds) }
}

fn served() -> Observation {
    Observation::Served { first_content: secs(1), quota: Quota::default() }
}
