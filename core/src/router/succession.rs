//! Another configuration while calls are in flight: what it still names keeps its health, its tickets and its pins.
use std::sync::Arc;

use super::{Router, Routes, Thresholds, health::TargetHealth, resource::ResourceHealth};
use crate::{
    domain::{EmbeddingSpace, Moment, RoutingOptions, Target},
    policy::{PermittedTarget, Policy, Refusal},
};

impl Router {
    /// Goes by another configuration from now on. `routes` come from [`Routes::succeed`] of this router's own, so that
    /// every ticket still finds its target. Targets that are still there keep standing, baseline and drain; calls in
    /// flight may end where they are, and go to no target that the new configuration does not have, nor to one that
    /// their policy, as it is now, does not permit.
    pub fn reconfigure(&mut self, routes: Routes, thresholds: Thresholds, policies: Vec<Arc<Policy>>, now: Moment) {
        for policy in &self.policies {
            self.superseded.entry(Arc::clone(&policy.name)).or_default();
        }
        for (name, in_force) in &mut self.superseded {
            *in_force = policies.iter().find(|policy| policy.name == *name).cloned();
        }
        let new = self.health.len()..routes.targets().len();
        let added = routes.targets().get(new.clone()).unwrap_or_default();
        self.health.extend(added.iter().map(|target| TargetHealth::new(target, &thresholds, now)));
        for (health, target) in self.health.iter_mut().zip(routes.targets()) {
            health.pace.go_by(target, now);
        }
        let mut resources = ResourceHealth::all(&routes, now);
        for (known, successor) in self.resources.iter_mut().zip(&mut resources) {
            known.targets = std::mem::take(&mut successor.targets);
        }
        let first_new = self.resources.len().min(resources.len());
        self.resources.extend(resources.drain(first_new..));
        self.budget.go_by(thresholds.retry_budget_percent);
        self.tokens.go_by(thresholds.testing.tokens_per_day);
        self.pins.numbers = thresholds.affinity.clone();
        let before: Vec<_> = self.routes.targets().iter().map(|target| target.embedding_space.clone()).collect();
        (self.routes, self.thresholds, self.policies) = (routes, thresholds, policies);
        let within = self.thresholds.testing.first;
        for index in new {
            self.health[index].tests.next = now + within.mul_f64(self.chance.fraction());
        }
        for index in self.other_spaces(&before) {
            self.plan_first_comparison(index, now);
        }
        self.revision += 1;
    }

    /// Targets whose embedding space is not what it was `before`, new ones among them.
    fn other_spaces(&self, before: &[Option<Arc<EmbeddingSpace>>]) -> Vec<usize> {
        let other =
            |(at, target): &(usize, &Arc<Target>)| before.get(*at).is_none_or(|known| *known != target.embedding_space);
        self.routes.targets().iter().enumerate().filter(other).map(|(at, _)| at).collect()
    }

    /// Targets of the configuration in force, and their health.
    pub(super) fn in_use(&self) -> impl Iterator<Item = (&Arc<Target>, &TargetHealth)> {
        let all = self.routes.targets().iter().zip(&self.health);
        all.filter(|(target, _)| self.routes.in_use(target.id))
    }

    /// What a policy has become since a call was admitted under it, if it has changed at all.
    pub(super) fn permits_still(&self, permitted: &PermittedTarget, request: &RoutingOptions) -> Result<(), Refusal> {
        if !self.routes.in_use(permitted.target().id) {
            return Err(Refusal::Removed);
        }
        match self.superseded.get(permitted.policy()) {
            None => Ok(()),
            Some(None) => Err(Refusal::PolicyRemoved),
            Some(Some(policy)) => policy.permit(permitted.target(), request).map(drop),
        }
    }
}
