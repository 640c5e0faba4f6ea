//! What a restart must not forget, as plain data: verdicts, levels, drains and what is normal.
use std::{sync::Arc, time::Duration};

use super::{
    Cause, Router,
    health::Drain,
    standing::{Machine, Phase},
};
use crate::domain::Moment;

/// One target's standing, without moments: another process has another origin.
#[derive(Clone, Debug, PartialEq)]
pub struct SavedTarget {
    /// Model name.
    pub model: Arc<str>,
    /// Configured name of the resource.
    pub resource: Arc<str>,
    /// Deployment name.
    pub deployment: Arc<str>,
    /// How often in a row it had to leave.
    pub level: u8,
    /// What is left of its hold; `None` if it serves. One that was returning has no hold left.
    pub hold_left: Option<Duration>,
    /// For how long its standing had been what it is.
    pub stood: Duration,
    /// Why, in words; `None` if it had never changed.
    pub cause: Option<Arc<str>>,
    /// An operator's word.
    pub drained: Option<SavedDrain>,
}

/// A drain.
#[derive(Clone, Debug, PartialEq)]
pub struct SavedDrain {
    /// What is left of it.
    pub left: Duration,
    /// For how long it had lasted.
    pub stood: Duration,
    /// Why.
    pub reason: Arc<str>,
}

impl Router {
    /// What is worth keeping: targets that are not plainly serving.
    pub fn saved(&self, now: Moment) -> Vec<SavedTarget> {
        let targets = self.in_use();
        let saved = targets.map(|(target, health)| SavedTarget {
            model: Arc::clone(&target.model),
            resource: Arc::clone(&target.resource),
            deployment: Arc::clone(&target.deployment),
            level: health.machine.level,
            hold_left: match health.machine.phase {
                Phase::Serving | Phase::Suspected { .. } => None,
                Phase::Out { hold_until, .. } => Some(hold_until.since(now)),
                Phase::Returning { .. } => Some(Duration::ZERO),
            },
            stood: now.since(health.machine.since),
            cause: match (health.machine.phase, &health.cause) {
                (_, None) | (Phase::Suspected { .. }, _) => None,
                (Phase::Returning { .. }, Some(cause)) => Some(format!("it was returning, {cause}").into()),
                (_, Some(cause)) => Some(cause.before_restarts()),
            },
            drained: health.drained.as_ref().map(|drain| SavedDrain {
                left: drain.until.since(now),
                stood: now.since(drain.since),
                reason: Arc::clone(&drain.reason),
            }),
        });
        saved.filter(|saved| saved.level > 0 || saved.hold_left.is_some() || saved.drained.is_some()).collect()
    }

    /// Takes up what an earlier process left, `age` ago. Targets that are configured no more are passed over; what
    /// has run out meanwhile has run out, but an `Out` target stays out until test calls have proven it, for the cause
    /// and since the time that the earlier process knew: nothing has changed, so nothing is told as a change. Answers
    /// how many were taken up.
    pub fn restore(&mut self, saved: &[SavedTarget], age: Duration, now: Moment) -> usize {
        let mut restored = 0;
        for one in saved {
            let found = self.routes.targets_in_use().find(|target| {
                target.model == one.model && target.resource == one.resource && target.deployment == one.deployment
            });
            let Some(target) = found.cloned() else { continue };
            let Some(health) = self.health.get_mut(usize::from(target.id.0)) else { continue };
            restored += 1;
            health.drained = one.drained.as_ref().filter(|drained| drained.left > age).map(|drained| Drain {
                since: now - (drained.stood + age),
                until: now + (drained.left - age),
                reason: Arc::clone(&drained.reason),
            });
            health.machine.level = one.level.min(super::standing::HIGHEST_LEVEL);
            let Some(hold_left) = one.hold_left else { continue };
            let hold_left = hold_left.saturating_sub(age);
            let since = now - (one.stood + age);
            health.machine = Machine::restored(one.level, hold_left, since, now, &self.thresholds);
            health.cause = Some(Cause::Restored { cause: one.cause.clone() });
            health.left = Some(now);
            health.tests.next = now;
        }
        if restored > 0 {
            self.revision += 1;
        }
        restored
    }
}
