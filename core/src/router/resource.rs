//! What is known of an endpoint: whether anything answers there, and whether the trouble is ours instead.
use super::{Router, Routes};
use crate::domain::{Failure, FailureKind, Moment, TargetId};

/// One Azure OpenAI resource.
#[derive(Clone, Debug)]
pub(super) struct ResourceHealth {
    pub(super) targets: Vec<TargetId>,
    /// Last response head of any status.
    pub(super) last_answer: Option<Moment>,
    /// Last attempt that met nobody: no connection, or silence from the start.
    pub(super) last_unreachable: Option<Moment>,
    /// When a cheap call is due.
    pub(super) next_cheap: Moment,
    pub(super) cheap_busy_until: Option<Moment>,
    pub(super) cheap_failures: u32,
}

impl ResourceHealth {
    pub(super) fn all(routes: &Routes, now: Moment) -> Vec<Self> {
        let count = routes.targets().iter().map(|target| target.resource_index + 1).max().unwrap_or(0);
        let of = |index: usize| {
            routes.targets_in_use().filter(move |target| target.resource_index == index).map(|target| target.id)
        };
        (0..count)
            .map(|index| Self {
                targets: of(index).collect(),
                last_answer: None,
                last_unreachable: None,
                next_cheap: now,
                cheap_busy_until: None,
                cheap_failures: 0,
            })
            .collect()
    }

    fn is_unreachable(&self) -> bool {
        self.last_unreachable.is_some_and(|at| self.last_answer.is_none_or(|answer| answer < at))
    }

    fn last_contact(&self) -> Option<Moment> {
        self.last_answer.max(self.last_unreachable)
    }
}

/// Nobody answered at all: no connection, or not even a response head.
fn met_nobody(failure: &Failure) -> bool {
    let silent = matches!(failure.kind, FailureKind::Connect(_) | FailureKind::Reset | FailureKind::Silence(_));
    silent && failure.evidence.http_status.is_none()
}

impl Router {
    /// Something answered at the target's resource, so the network is not cut.
    pub(super) fn answered(&mut self, index: usize, now: Moment) {
        let Some(target) = self.routes.targets().get(index) else { return };
        if let Some(resource) = self.resources.get_mut(target.resource_index) {
            resource.last_answer = Some(now);
        }
        if self.cut_off.take().is_some() {
            self.revision += 1;
        }
    }

    /// What a failure of something that began then says of the way to the resource. What others were answered meanwhile
    /// refutes it: one that waited in vain at a busy resource has not met nobody.
    pub(super) fn contacted(&mut self, index: usize, failure: &Failure, began: Moment, now: Moment) {
        if matches!(failure.kind, FailureKind::Local { .. }) {
            return;
        }
        if !met_nobody(failure) {
            self.answered(index, now);
            return;
        }
        let resource = self.routes.targets().get(index).and_then(|it| self.resources.get_mut(it.resource_index));
        if let Some(resource) = resource.filter(|it| it.last_answer.is_none_or(|answer| answer <= began)) {
            resource.last_unreachable = Some(now);
        }
    }

    /// Nothing answers anywhere, or this process itself stumbled: no target may be blamed.
    pub(super) fn is_own_fault(&self, now: Moment) -> bool {
        self.frozen_until.is_some() || self.is_cut_off(now)
    }

    /// Every resource that was asked lately is unreachable, and they are at least two: one alone may well be down.
    fn is_cut_off(&self, now: Moment) -> bool {
        let window = self.thresholds.detection.own_fault_window;
        let mut asked = 0;
        for resource in &self.resources {
            if resource.last_contact().is_some_and(|at| now.since(at) <= window) {
                if !resource.is_unreachable() {
                    return false;
                }
                asked += 1;
            }
        }
        asked >= 2
    }

    /// This process could not even try: for a while nothing that happens says anything about a target.
    pub(super) fn freeze(&mut self, now: Moment) {
        let until = now + self.thresholds.detection.freeze;
        if self.frozen_until.is_none() {
            self.revision += 1;
        }
        self.frozen_until = Some(self.frozen_until.map_or(until, |known| known.max(until)));
        self.forget_evidence();
    }

    /// Ends the freeze. What was seen meanwhile is not held against anybody.
    pub(super) fn thaw(&mut self, now: Moment) {
        if self.frozen_until.take_if(|until| *until <= now).is_some() {
            self.revision += 1;
            self.forget_evidence();
        }
    }

    fn forget_evidence(&mut self) {
        for health in &mut self.health {
            health.detector = super::detector::Detector::new(&self.thresholds.detection);
            health.open.forgive();
        }
    }
}
