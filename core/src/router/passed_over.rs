//! Which targets a call leaves aside for the one that it is sent to, and why; for traces.
use std::sync::Arc;

use super::{Call, Router, Standing, Ticket};
use crate::domain::{Moment, Target};

impl Router {
    /// The targets before the chosen one in the call's route that it has not tried, each with a word for why not: `policy`
    /// or `request`, which do not permit it; its overlay, such as `cooling`; its standing, such as `out`; or `preference`,
    /// where nothing is against it but a pin, a share, or room.
    pub fn passed_over(&self, call: &Call, chosen: Ticket, now: Moment) -> Vec<(Arc<Target>, &'static str)> {
        let terms = call.terms();
        let before = terms.route.targets.iter().take_while(|id| usize::from(id.0) != chosen.target_index());
        let untried = before.filter(|id| !call.has_tried(**id));
        untried
            .filter_map(|id| {
                let index = usize::from(id.0);
                let (target, health) = (self.routes.targets().get(index)?, self.health.get(index)?);
                let why = match (terms.policy.permit(target, &terms.options), health.overlay(now)) {
                    (Err(refusal), _) if refusal.is_by_request() => "request",
                    (Err(_), _) => "policy",
                    (Ok(_), Some(overlay)) => overlay.as_str(),
                    (Ok(_), None) => match health.machine.standing() {
                        Standing::Serving => "preference",
                        standing => standing.as_str(),
                    },
                };
                Some((Arc::clone(target), why))
            })
            .collect()
    }
}
