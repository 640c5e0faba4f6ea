//! One call's ledger: what it may use, what it has tried, and how that went.
use std::{sync::Arc, time::Duration};

use super::{Observation, Route, Ticket};
use crate::{
    domain::{AttemptReason, FailureClass, FailureKind, Moment, RoutingOptions, TargetId},
    policy::Policy,
};

/// What is known of a call when it is admitted.
#[derive(Clone, Debug)]
pub struct CallTerms {
    /// Who calls; workflows of two callers never meet. Empty if nobody is told apart.
    pub caller: Arc<str>,
    /// The model's targets.
    pub route: Arc<Route>,
    /// The caller's policy; pinned for the whole call.
    pub policy: Arc<Policy>,
    /// What the request itself asks for.
    pub options: Arc<RoutingOptions>,
    /// How the answer reaches the caller.
    pub delivery: Delivery,
    /// Prompt or inputs, as estimated.
    pub prompt_tokens: u64,
    /// When the caller stops waiting.
    pub deadline: Moment,
}

/// How the answer reaches the caller; decides which limits fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// As it is generated.
    Streamed,
    /// Whole, but streamed from Azure and assembled here: silence is seen at once.
    Assembled,
    /// Whole, in Azure's unary form: silence says nothing until the end.
    Unary,
    /// Vectors.
    Embedded,
}

/// The ledger.
#[derive(Debug)]
pub struct Call {
    pub(super) terms: CallTerms,
    pub(super) tried: Vec<Tried>,
    pub(super) retries: u32,
    /// A second attempt at some target was decided and paid for, and waits for its time.
    pub(super) retry: bool,
    pub(super) waited: bool,
    pub(super) admitted: bool,
    pub(super) interrupted: bool,
    /// Place on the ramp of returning targets, 0 to 1.
    pub(super) place: f64,
    /// Region that its workflow is pinned to.
    pub(super) pin: Option<Arc<str>>,
    /// Since when it waits for room.
    pub(super) queued: Option<Moment>,
    /// What Azure meters for it when it arrives.
    pub(super) tokens: u64,
    /// Its turn at a target that is short of quota.
    pub(super) turn: Option<Turn>,
    started: Moment,
}

/// A call's turn at a target that is short of quota.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Turn {
    pub(super) target: TargetId,
    pub(super) at: Moment,
    /// Since when the call has waited for this or another one.
    pub(super) since: Moment,
}

/// One attempt of the call.
#[derive(Debug)]
pub(super) struct Tried {
    pub(super) target: TargetId,
    pub(super) reason: AttemptReason,
    pub(super) failure: Option<FailureKind>,
    pub(super) running: bool,
    pub(super) began: Moment,
    /// Its failure came of the caller's haste, and says nothing of the target.
    pub(super) excused: bool,
    /// That the call was answered elsewhere has been told.
    pub(super) told: bool,
}

impl Tried {
    /// It failed for the target's own reasons.
    pub(super) fn is_the_targets(&self) -> bool {
        let theirs =
            |failure: &FailureKind| matches!(failure.class(), FailureClass::Hard | FailureClass::Misconfigured);
        !self.excused && self.failure.as_ref().is_some_and(theirs)
    }
}

impl Call {
    /// A call that has tried nothing yet.
    pub fn new(terms: CallTerms, now: Moment) -> Self {
        Self {
            tokens: terms.prompt_tokens,
            turn: None,
            terms,
            tried: Vec::with_capacity(2),
            retries: 0,
            retry: false,
            waited: false,
            admitted: false,
            interrupted: false,
            place: 0.0,
            pin: None,
            queued: None,
            started: now,
        }
    }

    /// Since when it waits for its turn at a target that is short of quota: now, unless it does already.
    pub(super) fn waiting_since(&self, now: Moment) -> Moment {
        self.turn.map_or(now, |turn| turn.since)
    }

    /// Azure meters the cap of the answer together with the prompt, when the request arrives.
    #[must_use]
    pub fn capped_at(mut self, answer_tokens: u64) -> Self {
        self.tokens = self.terms.prompt_tokens.saturating_add(answer_tokens);
        self
    }

    /// When it began.
    pub fn started(&self) -> Moment {
        self.started
    }

    /// What it was admitted with.
    pub fn terms(&self) -> &CallTerms {
        &self.terms
    }

    /// Attempts so far.
    pub fn attempts(&self) -> u32 {
        self.tried.len() as u32
    }

    /// Region that its workflow is pinned to; `None` without a workflow, or before the first choice.
    pub fn pinned_region(&self) -> Option<&Arc<str>> {
        self.pin.as_ref()
    }

    /// The caller has seen a part of an answer that is lost now, and wants it whole from elsewhere.
    pub fn interrupted(&mut self) {
        self.interrupted = true;
    }

    pub(super) fn remaining(&self, now: Moment) -> Duration {
        self.terms.deadline.since(now)
    }

    /// It runs there or failed there. An attempt that was given up because another one won has proven nothing, and
    /// its target may still rescue the call.
    pub(super) fn has_tried(&self, target: TargetId) -> bool {
        self.tried.iter().any(|tried| tried.target == target && (tried.running || tried.failure.is_some()))
    }

    pub(super) fn has_failed_at(&self, target: TargetId) -> bool {
        self.tried.iter().any(|tried| tried.target == target && tried.failure.is_some())
    }

    pub(super) fn running(&self) -> usize {
        self.tried.iter().filter(|tried| tried.running).count()
    }

    pub(super) fn failures(&self) -> impl Iterator<Item = &FailureKind> {
        self.tried.iter().filter_map(|tried| tried.failure.as_ref())
    }

    pub(super) fn only_failed_as(&self, class: FailureClass) -> bool {
        self.failures().next().is_some() && self.failures().all(|failure| failure.class() == class)
    }

    pub(super) fn ended(&mut self, ticket: Ticket, observation: &Observation) {
        let Some(tried) = self.tried.get_mut(ticket.attempt_index()) else { return };
        tried.running = false;
        if let Observation::Failed(failure) = observation {
            tried.failure = Some(failure.kind.clone());
        }
    }

    /// The attempt failed because its caller could not wait.
    pub(super) fn excuse(&mut self, ticket: Ticket) {
        if let Some(tried) = self.tried.get_mut(ticket.attempt_index()) {
            tried.excused = true;
        }
    }

    /// How often it has tried this target.
    pub(super) fn tries(&self, target: TargetId) -> usize {
        self.tried.iter().filter(|tried| tried.target == target).count()
    }
}
