//! Which target serves: a pure core that is asked and told, and never acts.
//!
//! `dispatch` owns the only loop: [`Router::choose`] says what to do next for one [`Call`], `dispatch` does it and
//! tells with [`Router::observe`] how it went. [`Router::due`] ends what has run out, and [`Router::snapshot`] is
//! what RegionStatus shows. `now` and a seed come from outside, so the same code runs in production, in property
//! tests and in simulations.
//!
//! ```text
//!            choose                       observe
//! Call  ───────────────▶ Try ──▶ attempt ─────────▶ served | failed | cancelled
//!   ▲                    Wait ──▶ sleep                        │
//!   └──────────────────────────────────────────────────────────┘
//!                        GiveUp ──▶ one error for the caller
//! ```
//!
//! A target's health is its [`Standing`] and its [`Overlay`]; what a route does follows from those of its permitted
//! targets at the moment of choosing.
mod budget;
mod call;
mod choice;
mod health;
mod route;
mod snapshot;
mod thresholds;

pub use call::{Call, CallTerms, Delivery};
pub use choice::{Decision, GiveUp, Ticket, Verdict};
pub use health::{Overlay, Standing};
pub use route::{Route, Routes, RoutesError};
pub use snapshot::{ModelView, Snapshot, TargetView};
pub use thresholds::{Thresholds, ThresholdsError};

use std::time::Duration;

use self::{budget::RetryBudget, health::TargetHealth};
use crate::domain::{Failure, Moment, Quota};

/// The failover core of one process. Cheap to lock: `choose` and `observe` are short and never wait.
#[derive(Debug)]
pub struct Router {
    routes: Routes,
    thresholds: Thresholds,
    health: Vec<TargetHealth>,
    budget: RetryBudget,
    random: u64,
    revision: u64,
}

/// What became of an attempt.
#[derive(Clone, Debug, PartialEq)]
pub enum Observation {
    /// It served the call.
    Served {
        /// To the first content (chat) or to the reply (embeddings).
        first_content: Duration,
        /// What Azure said of the quota.
        quota: Quota,
    },
    /// It failed.
    Failed(Failure),
    /// The caller left, or another attempt won: says nothing about the target.
    Cancelled,
}

/// What [`Router::due`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Due {
    /// When to ask again at the latest; `None` if nothing is pending.
    pub next: Option<Moment>,
}

impl Router {
    /// A router that believes every target good. `seed` feeds all jitter.
    pub fn new(routes: Routes, thresholds: Thresholds, seed: u64, now: Moment) -> Self {
        let health = routes.targets().iter().map(|_| TargetHealth::new(now)).collect();
        let budget = RetryBudget::new(thresholds.retry_budget_percent);
        Self { routes, thresholds, health, budget, random: seed, revision: 0 }
    }

    /// The routes it chooses from.
    pub fn routes(&self) -> &Routes {
        &self.routes
    }

    /// Grows whenever a standing or an overlay changes: a cheap way to notice that the snapshot tells something new.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// Says what to do next for this call. A `Try` must be answered with exactly one [`observe`](Self::observe) of
    /// its ticket.
    pub fn choose(&mut self, call: &mut Call, now: Moment) -> Decision {
        choice::choose(self, call, now)
    }

    /// Takes note of how an attempt ended.
    pub fn observe(&mut self, call: &mut Call, ticket: Ticket, observation: &Observation, now: Moment) {
        call.ended(ticket, observation);
        let Some(health) = self.health.get_mut(ticket.target_index()) else { return };
        if health.ended(observation, &self.thresholds, now) {
            self.revision += 1;
        }
    }

    /// Gives back the place of an attempt whose call is gone: a dropped handler says nothing about the target.
    pub fn abandon(&mut self, ticket: Ticket) {
        if let Some(health) = self.health.get_mut(ticket.target_index()) {
            health.abandoned();
        }
    }

    /// Ends overlays that have run out.
    pub fn due(&mut self, now: Moment) -> Due {
        for health in &mut self.health {
            if health.expire(now) {
                self.revision += 1;
            }
        }
        Due { next: self.health.iter().filter_map(TargetHealth::next_expiry).min() }
    }

    /// What an on-call engineer wants to know, at `now`.
    pub fn snapshot(&self, now: Moment) -> Snapshot {
        snapshot::take(self, now)
    }

    /// A number in 0..1 from the seed (SplitMix64: small, and good enough for jitter).
    fn random_fraction(&mut self) -> f64 {
        self.random = self.random.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests;
