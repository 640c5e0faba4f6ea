//! Embedding targets are held against the reference vector of their space, and leave the route where they differ.
//!
//! Every deep test call of an embedding target embeds the same sentence. A space without a reference gets one by
//! agreement: `elect` has the rule, docs/adr/0007 the reasons. From then on only a vector that agrees with it is
//! comparable, so that no majority of drifted targets, and no drifted primary, can evict a good one.
use std::{cmp::Reverse, sync::Arc};

use super::{Call, Cause, Route, Router, health::TargetHealth};
use crate::{
    domain::{Drift, EmbeddingSpace, Moment, TargetId, Vector},
    policy::PermittedTarget,
};

/// So many times `testing.first_comparison` does a target wait for its first one after the target before it in the route:
/// with the default of 100 ms, a second, in which whoever is well has answered.
const COMPARED_APART: u32 = 10;

/// A space's reference vector, as it is kept for ever.
#[derive(Clone, Debug, PartialEq)]
pub struct Reference {
    /// Whose.
    pub space: Arc<EmbeddingSpace>,
    /// What [`REFERENCE_TEXT`](crate::domain::REFERENCE_TEXT) looks like in it.
    pub vector: Vector,
}

/// What is known of one target's vectors. Stays as it begins for chat.
#[derive(Clone, Debug, Default)]
pub(super) struct Comparability {
    /// When it is to be compared again, whatever proves it otherwise; `None` for chat.
    pub(super) due: Option<Moment>,
    /// The last comparison, and its cosine.
    pub(super) last: Option<(Moment, f64)>,
    /// Its vectors are not those of its space: since when, and how that showed last.
    pub(super) drifted: Option<(Moment, Drift)>,
    /// The first and the last vector it gave; forgotten once the space has its reference.
    heard: Option<(Vector, Vector)>,
}

impl Comparability {
    pub(super) fn is_comparable(&self) -> bool {
        self.last.is_some() && self.drifted.is_none()
    }
}

/// Who speaks for a space that has no reference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Election {
    /// Nobody has answered.
    Open,
    /// For now, until others have answered: this one.
    Provisional(usize),
    /// Settled: this one's vector is the reference.
    Settled(usize),
}

/// `votes` are the first vectors of the space's deployments, in route order; `None`: it has not answered. The first of
/// the largest group that agrees settles it, and a group has two members at least. Where everybody has answered and no
/// two agree nobody can say who is right: the first in route order stays, as its vectors are those in use.
fn elect(votes: &[Option<&Vector>]) -> Election {
    let known: Vec<(usize, &Vector)> = votes.iter().enumerate().filter_map(|(at, vote)| Some((at, (*vote)?))).collect();
    let friends = |(at, vote): &(usize, &Vector)| {
        let agreeing = known.iter().filter(|(other, vector)| other != at && vote.agrees_with(vector)).count();
        (agreeing, Reverse(*at))
    };
    let Some((most, Reverse(best))) = known.iter().map(friends).max() else { return Election::Open };
    if most > 0 || known.len() == votes.len() { Election::Settled(best) } else { Election::Provisional(best) }
}

impl Router {
    /// A test call of the target embedded the reference text: its vector, or why that is none of its space.
    pub fn compared(&mut self, target: TargetId, said: Result<Vector, Drift>, now: Moment) {
        let index = usize::from(target.0);
        let Some(space) = self.routes.targets().get(index).and_then(|target| target.embedding_space.clone()) else {
            return;
        };
        let vector = match said.and_then(|vector| {
            space.check(Some(vector.dimensions()), "")?;
            Ok(vector)
        }) {
            Ok(vector) => vector,
            Err(drift) => return self.drifted(index, drift, now),
        };
        if let Some(reference) = self.references.get(&space) {
            return self.judge(index, vector.cosine(reference), now);
        }
        let Some(health) = self.health.get_mut(index) else { return };
        let first = health.space.heard.take().map_or_else(|| vector.clone(), |(first, _)| first);
        health.space.heard = Some((first, vector));
        self.settle(&space, now);
    }

    /// Compares whoever has answered with the vector that speaks for their space.
    fn settle(&mut self, space: &Arc<EmbeddingSpace>, now: Moment) {
        let (voters, members) = self.members(space);
        let votes: Vec<_> =
            voters.iter().map(|voter| Some(&self.health.get(*voter)?.space.heard.as_ref()?.0)).collect();
        let (chosen, settled) = match elect(&votes) {
            Election::Open => return,
            Election::Provisional(at) => (at, false),
            Election::Settled(at) => (at, true),
        };
        let Some(speaker) = votes.get(chosen).copied().flatten().cloned() else { return };
        let judged: Vec<(usize, f64)> = members
            .into_iter()
            .filter_map(|member| Some((member, self.health.get(member)?.space.heard.as_ref()?.1.cosine(&speaker))))
            .collect();
        for (member, cosine) in judged {
            self.judge(member, cosine, now);
            if settled && let Some(health) = self.health.get_mut(member) {
                health.space.heard = None;
            }
        }
        if settled {
            self.references.insert(Arc::clone(space), speaker);
            self.revision += 1;
        }
    }

    /// Of the space's targets those that may speak for it, and all of them; in route order. A deployment that serves two
    /// models has one voice, and one that no test call may reach has none.
    fn members(&self, space: &Arc<EmbeddingSpace>) -> (Vec<usize>, Vec<usize>) {
        let members: Vec<_> =
            self.routes.targets_in_use().filter(|target| target.embedding_space.as_ref() == Some(space)).collect();
        let (mut places, mut voters) = (Vec::new(), Vec::new());
        for target in &members {
            let place = (target.resource_index, &target.deployment);
            let index = usize::from(target.id.0);
            if !places.contains(&place) && self.permitted_test(index).is_some() {
                places.push(place);
                voters.push(index);
            }
        }
        (voters, members.into_iter().map(|target| usize::from(target.id.0)).collect())
    }

    fn judge(&mut self, index: usize, cosine: f64, now: Moment) {
        let Some(health) = self.health.get_mut(index) else { return };
        let news = health.space.last.replace((now, cosine)).is_none();
        if cosine < crate::domain::LEAST_COSINE {
            return self.drifted(index, Drift::Direction { cosine }, now);
        }
        let returns = health.space.drifted.take().is_some();
        if returns {
            self.withdrawal_changed(index, Cause::Comparable { cosine }, now);
        }
        self.revision += u64::from(news);
    }

    /// Its vectors are not those of its space: no caller may get them.
    pub(super) fn drifted(&mut self, index: usize, drift: Drift, now: Moment) {
        let embeds = self.routes.targets().get(index).is_some_and(|target| target.embedding_space.is_some());
        let Some(health) = self.health.get_mut(index).filter(|_| embeds) else { return };
        let known = health.space.drifted.take();
        let since = known.as_ref().map_or(now, |(since, _)| *since);
        health.space.drifted = Some((since, drift.clone()));
        if known.is_none() {
            self.withdrawal_changed(index, Cause::Drifted { drift }, now);
            self.serve_the_stranded(now);
        }
    }

    /// A test call to an embedding target ended without a vector: it is asked again soon, unless it stands compared.
    pub(super) fn not_compared(&mut self, index: usize, now: Moment) {
        let again = now + self.thresholds.testing.return_interval;
        let Some(health) = self.health.get_mut(index).filter(|health| !health.space.is_comparable()) else { return };
        health.space.due = health.space.due.map(|due| due.min(again));
    }

    /// Plans a target's first comparison; draws nothing for chat, whose stories stay as they are. They come in the order of
    /// the route: one that is compared before those it stands behind would take their calls, and new workflows would be
    /// pinned to it.
    pub(super) fn plan_first_comparison(&mut self, index: usize, now: Moment) {
        let Some(target) = self.routes.targets().get(index) else { return };
        let within = self.thresholds.testing.first_comparison;
        let place = |route: &Arc<Route>| route.targets.iter().position(|id| *id == target.id);
        let place = self.routes.all().iter().filter_map(place).min().unwrap_or_default();
        let after = within * COMPARED_APART * u32::try_from(place).unwrap_or(u32::MAX);
        let embeds = target.embedding_space.is_some();
        let due = embeds.then(|| now + after + within.mul_f64(self.chance.fraction()));
        if let Some(health) = self.health.get_mut(index) {
            health.space = Comparability { due, ..Comparability::default() };
            // Every deep test call is a comparison: none comes before its time.
            health.tests.next = health.tests.next.max(due.unwrap_or_default());
        }
    }

    /// Plans the next regular one.
    pub(super) fn plan_next_comparison(&mut self, index: usize, now: Moment) {
        if self.health.get(index).is_none_or(|health| health.space.due.is_none()) {
            return;
        }
        let next = now + self.jittered(self.thresholds.testing.comparison_interval);
        if let Some(health) = self.health.get_mut(index) {
            health.space.due = Some(next);
        }
    }

    /// The reference vectors that are settled, to be kept for ever.
    pub fn references(&self) -> Vec<Reference> {
        let reference = |(space, vector): (&Arc<EmbeddingSpace>, &Vector)| Reference {
            space: Arc::clone(space),
            vector: vector.clone(),
        };
        self.references.iter().map(reference).collect()
    }

    /// How many there are.
    pub fn count_references(&self) -> usize {
        self.references.len()
    }

    /// Takes up what an earlier process kept. One of another length than its space's would condemn every target, so it
    /// is passed over; answers how many were taken up.
    pub fn restore_references(&mut self, kept: Vec<Reference>) -> usize {
        let sound = kept.into_iter().filter(|one| one.vector.dimensions() == one.space.dimensions as usize);
        self.references.extend(sound.map(|one| (one.space, one.vector)));
        self.references.len()
    }
}

/// Whether one of these has been compared and could take the call: then no other may.
pub(super) fn compared_can_serve(router: &Router, call: &Call, permitted: &[PermittedTarget], now: Moment) -> bool {
    permitted.iter().any(|target| {
        let target = target.target().id;
        let fit = |health: &TargetHealth| {
            health.space.is_comparable() && health.is_good() && health.cooling_until(now).is_none()
        };
        router.health.get(usize::from(target.0)).is_some_and(fit) && !call.has_tried(target)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_the_largest_group_speaks() {
        let at = |degrees: f64| {
            let radians = degrees.to_radians();
            Vector::from_components([radians.cos() as f32, radians.sin() as f32])
        };
        let silent = f64::NAN;
        for (votes, expected) in [
            (&[][..], Election::Open),
            (&[silent, silent], Election::Open),
            (&[0.0], Election::Settled(0)),
            (&[silent, 0.0], Election::Provisional(1)),
            (&[0.0, 40.0, silent], Election::Provisional(0)),
            (&[0.0, 40.0], Election::Settled(0)),
            (&[0.0, silent, 1.0], Election::Settled(0)),
            (&[0.0, 40.0, 40.0, silent], Election::Settled(1)),
            (&[0.0, 40.0, 1.0, 41.0, 40.5], Election::Settled(1)),
            (&[0.0, 40.0, 1.0, 41.0], Election::Settled(0)),
        ] {
            let vectors: Vec<_> = votes.iter().map(|vote| (!vote.is_nan()).then(|| at(*vote))).collect();
            assert_eq!(elect(&vectors.iter().map(Option::as_ref).collect::<Vec<_>>()), expected, "{votes:?}");
        }
    }
}
