//! What the services need to know of a configuration.
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::{
    config::Config,
    grpc::{DeadlineRules, Gate, InferenceRules, Trail},
    identity::Callers,
};

/// What outlives every configuration.
#[derive(Clone, Debug, Default)]
pub(super) struct Lasting {
    pub(super) trail: Option<Arc<Trail>>,
    pub(super) stopping: CancellationToken,
    pub(super) ending: CancellationToken,
}

pub(super) fn callers(config: &Config) -> Callers {
    match &config.callers[..] {
        [] => Callers::anyone(Arc::clone(&config.default_policy)),
        known => Callers::known(known),
    }
}

pub(super) fn rules(config: &Config, callers: Callers, lasting: Lasting) -> InferenceRules {
    let limits = &config.limits;
    let mut regions: Vec<String> = config.routes.targets().iter().map(|target| target.region.to_string()).collect();
    regions.sort_unstable();
    regions.dedup();
    let reasoning = config.routes.targets().iter().filter(|target| target.reasoning);
    let mut reasoning_models: Vec<String> = reasoning.map(|target| target.model.to_string()).collect();
    reasoning_models.dedup();
    InferenceRules {
        gate: Gate::new(Arc::new(callers), config.region_status),
        unary_deadlines: DeadlineRules { default: limits.default_deadline, longest: limits.max_deadline },
        stream_deadlines: DeadlineRules {
            default: limits.stream_default_deadline,
            longest: limits.stream_max_deadline,
        },
        regions,
        image_uris: config.images.allow_uri,
        extra_params: config.extra_params.clone(),
        reasoning_models,
        max_response_bytes: limits.max_response_bytes,
        longest_response_bytes: limits.longest_response_bytes,
        config_revision: config.revision.clone(),
        trail: lasting.trail,
        stopping: lasting.stopping,
        ending: lasting.ending,
    }
}
