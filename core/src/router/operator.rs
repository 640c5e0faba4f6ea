//! An operator's word: drain, release, validate now.
use std::{sync::Arc, time::Duration};

use super::{
    Cause, Router,
    health::{Drain, TargetHealth},
    standing::Phase,
};
use crate::domain::{Moment, Target, TargetId};

/// What an operator's word applies to; fields narrow each other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selector {
    /// Normalised Azure region.
    pub region: Option<String>,
    /// Configured name of a resource.
    pub resource: Option<String>,
    /// Model name.
    pub model: Option<String>,
}

impl Selector {
    /// Whether it means this target.
    pub fn selects(&self, target: &Target) -> bool {
        let fits = |wanted: &Option<String>, has: &str| wanted.as_deref().is_none_or(|wanted| wanted == has);
        fits(&self.region, &target.region) && fits(&self.resource, &target.resource) && fits(&self.model, &target.model)
    }
}

/// Test calls of a target so far; the difference of two reports tells what came between.
#[derive(Clone, Debug, PartialEq)]
pub struct TargetReport {
    /// The target.
    pub target: Arc<Target>,
    /// Deep calls made.
    pub calls: u64,
    /// Deep calls passed.
    pub passed: u64,
    /// What went wrong in the last one that did not pass since a validation was last ordered, as a short stable word.
    pub last_failure: Option<&'static str>,
    /// A validation or a single test call runs.
    pub busy: bool,
}

impl Router {
    /// Takes the selected targets out of service until `until`. Calls in flight finish where they are.
    pub fn drain(&mut self, selector: &Selector, until: Moment, reason: &Arc<str>, now: Moment) -> Vec<Arc<Target>> {
        self.for_each_selected(selector, |router, index| {
            let Some(health) = router.health.get_mut(index) else { return };
            let since = health.drained.as_ref().map_or(now, |drain| drain.since);
            health.drained = Some(Drain { since, until, reason: Arc::clone(reason) });
            router.withdrawal_changed(index, Cause::Drained { reason: Arc::clone(reason) }, now);
        })
    }

    /// Puts drained and quarantined targets back, and ends the alarms of those whose answers contradicted the
    /// configuration; answers with all of these.
    pub fn release(&mut self, selector: &Selector, reason: &Arc<str>, now: Moment) -> Vec<Arc<Target>> {
        let held = |health: &TargetHealth| health.drained.is_some() || health.contradicted.is_some();
        let held: Vec<bool> = self.health.iter().map(held).collect();
        let released = self.for_each_selected(selector, |router, index| {
            let Some(health) = router.health.get_mut(index) else { return };
            health.contradicted = None;
            if health.drained.take().is_some() {
                router.withdrawal_changed(index, Cause::Released { reason: Arc::clone(reason) }, now);
            }
        });
        released.into_iter().filter(|target| held[usize::from(target.id.0)]).collect()
    }

    /// Of the models of `targets`, those that have no target left which takes calls: each is drained or out.
    pub fn without_good_target(&self, targets: &[Arc<Target>]) -> Vec<Arc<str>> {
        let mut models: Vec<Arc<str>> = targets.iter().map(|target| Arc::clone(&target.model)).collect();
        models.sort_unstable();
        models.dedup();
        let good = |id: &TargetId| self.health.get(usize::from(id.0)).is_some_and(TargetHealth::is_good);
        models.retain(|model| self.routes.find(model).is_some_and(|route| !route.targets.iter().any(good)));
        models
    }

    /// Puts the selected targets to the test: a full validation where they serve, one deep call where they are out
    /// or returning. Follow it with [`report`](Self::report).
    pub fn order_validation(&mut self, selector: &Selector, reason: &Arc<str>, now: Moment) -> Vec<Arc<Target>> {
        self.for_each_selected(selector, |router, index| router.validate(index, reason, now))
    }

    /// How many test calls the selected targets have had.
    pub fn report(&self, selector: &Selector, now: Moment) -> Vec<TargetReport> {
        let selected = self.in_use().filter(|(target, _)| selector.selects(target));
        selected
            .map(|(target, health)| TargetReport {
                target: Arc::clone(target),
                calls: health.tests.calls,
                passed: health.tests.passed,
                last_failure: health.tests.last_failure,
                busy: matches!(health.machine.phase, Phase::Suspected { .. })
                    || health.tests.is_busy(now)
                    || health.tests.next <= now,
            })
            .collect()
    }

    fn for_each_selected(&mut self, selector: &Selector, act: impl Fn(&mut Self, usize)) -> Vec<Arc<Target>> {
        let selected: Vec<_> =
            self.routes.targets_in_use().filter(|target| selector.selects(target)).cloned().collect();
        for target in &selected {
            act(self, usize::from(target.id.0));
        }
        if !selected.is_empty() {
            self.revision += 1;
        }
        selected
    }
}

/// How long a validation may take at most, for those who wait for its verdict.
impl super::Validation {
    /// A round of a model that reasons, or of one that does not.
    pub fn longest_round(&self, reasoning: bool) -> Duration {
        self.round(reasoning)
    }
}
