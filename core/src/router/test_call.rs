//! Test calls: which are due, what they may cost, and what their results mean.
//!
//! *Deep* calls put a few tokens through one deployment and decide; *cheap* ones read a resource's list of models and
//! only raise suspicion, since a list proves no deployment. The router orders, `prober` runs.
use std::{collections::VecDeque, time::Duration};

use super::{Thresholds, standing::Phase};
use crate::{
    domain::{Failure, Moment, Target, TargetId},
    policy::PermittedTarget,
};

/// A test call to make. It carries no caller's data.
#[derive(Clone, Debug, PartialEq)]
pub struct TestOrder {
    /// Where. Test calls obey a policy too.
    pub target: PermittedTarget,
    /// What.
    pub kind: TestKind,
    /// Why.
    pub purpose: TestPurpose,
    /// On a connection of its own: a pooled one may be the very trouble, or hide it.
    pub fresh_connection: bool,
    /// It fails if its first content has not come by then.
    pub limit: Duration,
    pub(super) epoch: u64,
    /// When it began: what began before trouble proves nothing of it.
    pub(super) ordered: Moment,
    /// It holds its target's only place for test calls until then.
    pub(super) place_until: Moment,
}

/// How deep a test call reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TestKind {
    /// Reads the list of models: proves the resource, costs nothing.
    Cheap,
    /// A few tokens through the deployment.
    Deep,
}

/// Why a test call is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TestPurpose {
    /// Nothing else has proven the target lately.
    Background,
    /// It is under validation.
    Validation,
    /// Another target is under validation: how far does the trouble reach, and is a standby fit to take over?
    Comparison {
        /// The one under validation.
        of: TargetId,
    },
    /// It is out or returning.
    Return,
}

/// How a test call ended.
#[derive(Clone, Debug, PartialEq)]
pub enum TestResult {
    /// Properly.
    Passed {
        /// To the first content.
        first_content: Duration,
        /// As Azure counted them.
        tokens: u64,
    },
    /// Not so.
    Failed(Failure),
}

/// Test calls of one target.
#[derive(Clone, Debug)]
pub(super) struct TestState {
    /// When a background or return call is due.
    pub(super) next: Moment,
    /// One such call at a time. A result that never comes frees the place at this time.
    pub(super) busy_until: Option<Moment>,
    /// Calls of the running validation.
    pub(super) ordered: u8,
    /// Those of them that found no connection.
    pub(super) unconnected: u8,
    /// Test calls have failed since then although the target serves: the next one comes soon.
    pub(super) failing_since: Option<Moment>,
    /// When the last call ended that was made, and how it failed if it did.
    pub(super) last_ended: Option<(Moment, Option<&'static str>)>,
    pub(super) last_passed: Option<Moment>,
    pub(super) last_failed: Option<Moment>,
    /// What went wrong in the last test call that did not pass.
    pub(super) last_failure: Option<&'static str>,
    /// A test call was refused as invalid: the probe is wrong, an alarm.
    pub(super) refused: bool,
    pub(super) calls: u64,
    pub(super) passed: u64,
    pub(super) tokens: u64,
    /// Of the last calls that passed.
    latencies: VecDeque<Duration>,
}

impl TestState {
    const LATENCIES: usize = 16;
    /// Beyond the call's own limit: a call that has content may take this long to end.
    const GRACE: Duration = Duration::from_secs(10);

    pub(super) fn new(now: Moment) -> Self {
        Self {
            next: now,
            busy_until: None,
            ordered: 0,
            unconnected: 0,
            failing_since: None,
            last_ended: None,
            last_passed: None,
            last_failed: None,
            last_failure: None,
            refused: false,
            calls: 0,
            passed: 0,
            tokens: 0,
            latencies: VecDeque::new(),
        }
    }

    pub(super) fn is_busy(&self, now: Moment) -> bool {
        self.busy_until.is_some_and(|until| until > now)
    }

    /// Takes the place; answers until when.
    pub(super) fn begin(&mut self, limit: Duration, now: Moment) -> Moment {
        self.calls += 1;
        let until = now + limit + Self::GRACE;
        self.busy_until = Some(until);
        until
    }

    /// Gives the place back, unless another call has taken it meanwhile.
    pub(super) fn end(&mut self, place_until: Moment) {
        self.busy_until.take_if(|until| *until == place_until);
    }

    pub(super) fn passed(&mut self, first_content: Duration, tokens: u64, now: Moment) {
        self.passed += 1;
        self.tokens += tokens;
        self.failing_since = None;
        self.last_ended = Some((now, None));
        self.refused = false;
        self.last_passed = Some(now);
        if self.latencies.len() == Self::LATENCIES {
            self.latencies.pop_front();
        }
        self.latencies.push_back(first_content);
    }

    /// A deep call passes within this: 2.5 of the target's own medians, within bounds. Live calls are no quicker than
    /// these few words, so their median bounds it too, and a target that traffic proves needs no calls of its own.
    pub(super) fn limit(&self, target: &Target, live_median: Option<Duration>, numbers: &Thresholds) -> Duration {
        let validation = &numbers.validation;
        let longest = if target.reasoning { validation.longest_limit_reasoning } else { validation.longest_limit };
        let mut known: Vec<Duration> = self.latencies.iter().copied().collect();
        known.sort_unstable();
        let own = known.get(known.len() / 2).copied();
        let median = [own, live_median].into_iter().flatten().min();
        match median {
            Some(median) => median.mul_f64(2.5).clamp(validation.shortest_limit, longest),
            None => longest,
        }
    }

    /// How long until the next call, before jitter.
    pub(super) fn interval(&self, phase: Phase, numbers: &Thresholds) -> Duration {
        match phase {
            Phase::Out { .. } | Phase::Returning { .. } => numbers.testing.return_interval,
            Phase::Serving | Phase::Suspected { .. } if self.failing_since.is_some() => numbers.testing.return_interval,
            Phase::Serving | Phase::Suspected { .. } => numbers.testing.deep_interval,
        }
    }
}

/// What one deep call may cost, before Azure says: a few words there and back.
pub(super) const ESTIMATED_TOKENS: u64 = 40;

/// Tokens for deep calls of the background, refilled evenly over the day.
#[derive(Clone, Debug)]
pub(super) struct TokenBudget {
    left: f64,
    per_day: f64,
    filled: Moment,
}

impl TokenBudget {
    pub(super) fn new(per_day: u64, now: Moment) -> Self {
        Self { left: per_day as f64, per_day: per_day as f64, filled: now }
    }

    /// Another day's worth from now on.
    pub(super) fn go_by(&mut self, per_day: u64) {
        self.per_day = per_day as f64;
        self.left = self.left.min(self.per_day);
    }

    /// Whether another call may be made; takes nothing.
    pub(super) fn allows(&mut self, now: Moment) -> bool {
        self.left = self.balance(now);
        self.filled = now;
        self.left >= ESTIMATED_TOKENS as f64
    }

    fn balance(&self, now: Moment) -> f64 {
        let refill = now.since(self.filled).as_secs_f64() / 86_400.0 * self.per_day;
        (self.left + refill).min(self.per_day)
    }

    pub(super) fn spend(&mut self, tokens: u64) {
        self.left -= tokens as f64;
    }

    /// What may be spent at `now`, whole tokens.
    pub(super) fn left(&self, now: Moment) -> u64 {
        self.balance(now).max(0.0) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_holds_its_place_until_its_time_is_over() {
        let second = |seconds| Moment::after_origin(Duration::from_secs(seconds));
        let mut tests = TestState::new(second(0));
        assert!(!tests.is_busy(second(5)), "nothing has begun");
        assert_eq!(tests.begin(Duration::from_secs(3), second(5)), second(18), "its limit, and ten seconds to end");
        assert!(tests.is_busy(Moment::after_origin(Duration::from_millis(17_999))));
        assert!(!tests.is_busy(second(18)), "a result that never comes gives it up");
    }

    #[test]
    fn the_budget_of_a_day_refills_over_the_day() {
        let at = |hours: u64| Moment::after_origin(Duration::from_secs(hours * 3600));
        let mut budget = TokenBudget::new(2400, at(0));
        assert!(budget.allows(at(0)));
        budget.spend(2390);
        assert!(!budget.allows(at(0)));
        assert!(budget.allows(at(1)), "an hour brings a hundred");
        budget.spend(500);
        assert_eq!(budget.left(at(1)), 0, "a dear call is paid for later");
        assert_eq!(budget.left(at(5)), 10, "looking at it refills it too");
        assert!(!budget.allows(at(2)));
        assert!(budget.allows(at(100)));
        assert_eq!(budget.left(at(100)), 2400, "and no more than a day's worth is saved up");
    }

    #[test]
    fn another_budget_caps_what_is_left_and_refills_at_its_own_rate() {
        let at = |hours: u64| Moment::after_origin(Duration::from_secs(hours * 3600));
        for (spent, per_day, left, an_hour_later) in
            [(0, 240, 240, 240), (0, 4800, 2400, 2600), (2300, 240, 100, 110), (2300, 4800, 100, 300)]
        {
            let mut budget = TokenBudget::new(2400, at(0));
            budget.spend(spent);
            budget.go_by(per_day);
            assert_eq!(
                (budget.left(at(0)), budget.left(at(1))),
                (left, an_hour_later),
                "{spent} spent, then {per_day}"
            );
        }
    }

    #[test]
    fn a_call_may_be_made_with_the_last_forty_tokens() {
        for (left, allowed) in [(39, false), (40, true)] {
            assert_eq!(TokenBudget::new(left, Moment::ZERO).allows(Moment::ZERO), allowed, "{left} left");
        }
    }
}
