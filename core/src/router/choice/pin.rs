//! Where a call's workflow is pinned, and whether the pin follows the choice.
use std::sync::Arc;

use super::{
    super::{Call, Router},
    index,
};
use crate::{domain::Moment, policy::PermittedTarget};

/// What a workflow's pin does with this choice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pinning {
    /// There is none, or it follows the choice: it is new, or its region's targets went out since it was used.
    Follows,
    /// It stands, and its region comes first.
    Held,
}

/// Finds the region that the call's workflow is pinned to.
pub(super) fn find_pin(router: &Router, call: &mut Call, permitted: &[PermittedTarget], now: Moment) -> Pinning {
    let workflow = Router::workflow(call);
    let known = workflow.as_ref().and_then(|workflow| router.pins.find(workflow, now));
    // What the caller sends back is what some replica last said; it is how replicas agree.
    let stated = call.terms.options.pinned_region.as_deref();
    let Some(region) = stated.map(Arc::from).or_else(|| known.map(|pin| Arc::clone(&pin.region))) else {
        return if workflow.is_some() { Pinning::Follows } else { Pinning::Held };
    };
    if router.routes.targets_in_use().all(|target| target.region != region) {
        return Pinning::Follows;
    }
    let used = known.filter(|pin| pin.region == region).map(|pin| pin.used);
    let mut there = permitted.iter().filter(|target| target.target().region == region).peekable();
    // Where the call's model or policy has no target there, the pin stands for the workflow's other calls.
    let gone = there.peek().is_some()
        && there.all(|target| {
            let health = &router.health[index(target)];
            let left_since = health.left.is_some_and(|left| used.is_some_and(|used| left > used));
            !health.is_good() || left_since
        });
    call.pin = Some(region);
    if gone { Pinning::Follows } else { Pinning::Held }
}

pub(super) fn keep_pin(router: &mut Router, call: &Call, now: Moment) {
    if let (Some(workflow), Some(region)) = (Router::workflow(call), &call.pin) {
        router.pins.keep(workflow, region, now);
    }
}
