//! Proving targets: time passes, test calls become due, and their results are weighed.
use std::{sync::Arc, time::Duration};

use super::{
    Cause, Router, Standing, TestKind, TestOrder, TestPurpose, TestResult,
    health::{Drain, TargetHealth},
    standing::{Phase, Signal, Verdict},
    test_call::ESTIMATED_TOKENS,
};
use crate::{
    domain::{BadResponse, Failure, FailureClass, FailureKind, Moment, Target, TargetId},
    policy::PermittedTarget,
};

/// What [`Router::due`] found.
#[derive(Clone, Debug, PartialEq)]
pub struct Due {
    /// Test calls to make now.
    pub tests: Vec<TestOrder>,
    /// When to ask again at the latest; `None` if nothing is pending.
    pub next: Option<Moment>,
}

/// A process that was not asked for this long was frozen: it could not see what happened meanwhile.
const FROZEN_AFTER: Duration = Duration::from_secs(5);

impl Router {
    /// Lets time pass: ends what has run out, notices silence, and orders test calls. To be asked at least every
    /// second, and whenever [`revision`](Self::revision) has grown.
    pub fn due(&mut self, now: Moment) -> Due {
        if self.last_due.is_some_and(|last| now.since(last) > FROZEN_AFTER) {
            self.freeze(now);
        }
        self.last_due = Some(now);
        self.thaw(now);
        self.notice_cut_off(now);
        for index in 0..self.health.len() {
            self.pass_time(index, now);
        }
        // A drain may have taken the last good target.
        self.serve_the_stranded(now);
        self.pins.sweep(now);
        let tests = self.order_tests(now);
        Due { tests, next: self.next_due(now) }
    }

    pub(super) fn spread_first_tests(&mut self, now: Moment) {
        let within = self.thresholds.testing.first;
        for index in 0..self.health.len() {
            self.health[index].tests.next = now + within.mul_f64(self.chance.fraction());
        }
        for index in 0..self.resources.len() {
            self.resources[index].next_cheap = now + within.mul_f64(self.chance.fraction());
        }
        (0..self.health.len()).for_each(|index| self.plan_first_comparison(index, now));
    }

    fn pass_time(&mut self, index: usize, now: Moment) {
        let Some(health) = self.health.get_mut(index) else { return };
        if health.expire_cooling(now) {
            self.revision += 1;
        }
        if let Some(Drain { reason, .. }) = health.expire_drain(now) {
            self.withdrawal_changed(index, Cause::DrainOver { reason }, now);
        }
        let Some(health) = self.health.get_mut(index) else { return };
        let silent = health.open.newly_silent(now);
        (0..silent).for_each(|_| health.detector.silence(now));
        if silent > 0 {
            self.look(index, now);
        }
        if let Some(health) = self.health.get(index)
            && matches!(health.machine.phase, Phase::Suspected { .. } | Phase::Returning { .. })
        {
            self.signal(index, &Signal::Tick, now);
        }
    }

    fn next_due(&self, now: Moment) -> Option<Moment> {
        let spacing = self.thresholds.validation.spacing;
        let of_target = |health: &TargetHealth| {
            let (step_ends, next_call) = match health.machine.phase {
                Phase::Suspected { ends, .. } => {
                    let more = health.tests.ordered < self.thresholds.validation.calls;
                    (Some(ends), more.then(|| health.machine.since + spacing * u32::from(health.tests.ordered)))
                }
                Phase::Returning { entered, .. } => {
                    let step = self.thresholds.recovery.step;
                    let ends = [entered + step, entered + step * 2].into_iter().find(|end| *end > now);
                    (ends, Some(health.next_test()))
                }
                Phase::Serving | Phase::Out { .. } => (None, Some(health.next_test())),
            };
            [health.next_expiry(), health.open.next_silence(), step_ends, next_call].into_iter().flatten().min()
        };
        let targets = self.health.iter().filter_map(of_target);
        let resources = self.resources.iter().map(|resource| {
            resource.cheap_busy_until.map_or(resource.next_cheap, |busy| busy.max(resource.next_cheap))
        });
        targets.chain(resources).chain(self.frozen_until).min()
    }

    /// The test calls whose time has come.
    fn order_tests(&mut self, now: Moment) -> Vec<TestOrder> {
        let mut orders = Vec::new();
        for index in 0..self.health.len() {
            self.order_for_target(index, now, &mut orders);
        }
        for (of, target) in std::mem::take(&mut self.to_compare) {
            let index = usize::from(target.0);
            if !self.health.get(usize::from(of.0)).is_some_and(TargetHealth::is_suspected) {
                continue;
            }
            // One at a time; and a call that began before the trouble would say nothing of it.
            if self.health.get(index).is_some_and(|health| health.tests.is_busy(now)) {
                self.to_compare.push((of, target));
            } else {
                orders.extend(self.order(index, TestPurpose::Comparison { of }, false, now));
            }
        }
        for index in 0..self.resources.len() {
            orders.extend(self.order_for_resource(index, now));
        }
        orders
    }

    fn order_for_target(&mut self, index: usize, now: Moment, orders: &mut Vec<TestOrder>) {
        let numbers = &self.thresholds;
        let Some(health) = self.health.get_mut(index) else { return };
        if matches!(health.machine.phase, Phase::Suspected { .. }) {
            let (calls, spacing) = (numbers.validation.calls, numbers.validation.spacing);
            while let Some(health) = self.health.get_mut(index)
                && health.is_suspected()
                && health.tests.ordered < calls
                && now >= health.machine.since + spacing * u32::from(health.tests.ordered)
            {
                let fresh = health.tests.ordered == 1;
                health.tests.ordered += 1;
                match self.order(index, TestPurpose::Validation, fresh, now) {
                    Some(order) => orders.push(order),
                    None => {
                        // Nobody may look, so nobody may judge.
                        let epoch = self.health.get(index).map_or(0, |health| health.machine.epoch);
                        self.signal(index, &Signal::Tested { epoch, verdict: Verdict::Void }, now);
                        return;
                    }
                }
            }
            return;
        }
        if matches!(health.machine.phase, Phase::Out { .. }) {
            self.hurry(index, now);
        }
        let Some(health) = self.health.get_mut(index) else { return };
        let numbers = &self.thresholds;
        if now < health.next_test() {
            return;
        }
        let interval = health.tests.interval(health.machine.phase, numbers);
        let serving = matches!(health.machine.phase, Phase::Serving);
        // Live traffic proves it at no cost. A call to a throttled target would only take from its quota.
        let to_compare = health.space.due.is_some_and(|due| due <= now);
        let proven = health.last_success.map(|at| at + interval).filter(|until| serving && !to_compare && *until > now);
        let cooling = health.cooling_until(now).filter(|_| serving);
        let unaffordable = (serving && !self.tokens.allows(now)).then(|| now + interval);
        if let Some(later) = proven.max(cooling).or(unaffordable) {
            health.tests.next = later;
            if to_compare {
                health.space.due = Some(later);
            }
            return;
        }
        let purpose = if serving { TestPurpose::Background } else { TestPurpose::Return };
        self.plan_next_test(index, now);
        orders.extend(self.order(index, purpose, false, now));
    }

    fn order_for_resource(&mut self, index: usize, now: Moment) -> Option<TestOrder> {
        let interval = self.jittered(self.thresholds.testing.cheap_interval);
        let resource = self.resources.get_mut(index)?;
        if now < resource.next_cheap || resource.cheap_busy_until.is_some_and(|until| until > now) {
            return None;
        }
        resource.next_cheap = now + interval;
        let proven = |id: &TargetId| {
            let last = self.health.get(usize::from(id.0)).and_then(TargetHealth::last_proven);
            last.is_some_and(|at| now.since(at) < self.thresholds.testing.cheap_interval)
        };
        if resource.targets.iter().any(proven) {
            return None;
        }
        let limit = self.thresholds.validation.longest_limit;
        let place_until = now + limit * 2;
        resource.cheap_busy_until = Some(place_until);
        let targets = resource.targets.clone();
        let target = targets.iter().find_map(|id| self.permitted_test(usize::from(id.0)))?;
        let (kind, purpose) = (TestKind::Cheap, TestPurpose::Background);
        let fresh_connection = false;
        Some(TestOrder { target, kind, purpose, fresh_connection, limit, epoch: 0, ordered: now, place_until })
    }

    /// A deep call to the target; `None` if no policy lets anything be sent there.
    fn order(&mut self, index: usize, purpose: TestPurpose, fresh: bool, now: Moment) -> Option<TestOrder> {
        self.plan_next_comparison(index, now);
        let target = self.permitted_test(index)?;
        let health = self.health.get_mut(index)?;
        let live_median = health.baseline.quantiles().map(|known| known.median);
        let limit = health.tests.limit(target.target(), live_median, &self.thresholds);
        let place_until = health.tests.begin(limit, now);
        let epoch = health.machine.epoch;
        let (kind, fresh_connection) = (TestKind::Deep, fresh);
        Some(TestOrder { target, kind, purpose, fresh_connection, limit, epoch, ordered: now, place_until })
    }

    pub(super) fn permitted_test(&self, index: usize) -> Option<PermittedTarget> {
        // Nothing is sent to what is not what it is taken for.
        self.health.get(index).filter(|health| !health.is_quarantined())?;
        let target = self.routes.targets().get(index).filter(|target| self.routes.in_use(target.id))?;
        self.policies.iter().find_map(|policy| policy.permit_test_call(target).ok())
    }

    /// Where no other target can take calls, whoever heals first should be found soon.
    fn hurry(&mut self, index: usize, now: Moment) {
        let fit = |health: &TargetHealth| health.is_good() && health.cooling_until(now).is_none();
        if !self.is_stranded(index, fit) {
            return;
        }
        let soon = now + self.jittered(self.thresholds.validation.spacing * 2);
        if let Some(health) = self.health.get_mut(index) {
            health.tests.next = health.tests.next.min(soon);
        }
    }

    pub(super) fn plan_next_test(&mut self, index: usize, now: Moment) {
        let Some(health) = self.health.get(index) else { return };
        let interval = health.tests.interval(health.machine.phase, &self.thresholds);
        let interval = self.jittered(interval);
        if let Some(health) = self.health.get_mut(index) {
            health.tests.next = now + interval;
        }
    }

    pub(super) fn jittered(&mut self, interval: Duration) -> Duration {
        let part = f64::from(self.thresholds.testing.jitter_percent) / 100.0;
        interval.mul_f64(1.0 + part * (self.chance.fraction() * 2.0 - 1.0))
    }

    /// Takes note of how a test call ended.
    pub fn tested(&mut self, order: &TestOrder, result: &TestResult, now: Moment) {
        let index = usize::from(order.target.target().id.0);
        match order.kind {
            TestKind::Cheap => self.cheap_ended(order, result, now),
            TestKind::Deep => self.deep_ended(index, order, result, now),
        }
    }

    fn deep_ended(&mut self, index: usize, order: &TestOrder, result: &TestResult, now: Moment) {
        let Some(health) = self.health.get_mut(index) else { return };
        health.tests.end(order.place_until);
        let current = order.epoch == health.machine.epoch;
        let verdict = match result {
            TestResult::Passed { first_content, tokens } => {
                health.tests.passed(*first_content, *tokens, now);
                health.proof_began = health.proof_began.max(Some(order.ordered));
                health.misconfigured = None;
                health.detector.test_passed();
                if order.purpose == TestPurpose::Background {
                    self.tokens.spend((*tokens).max(ESTIMATED_TOKENS / 4));
                }
                self.answered(index, now);
                Verdict::Passed
            }
            TestResult::Failed(failure) => {
                self.not_compared(index, now);
                self.deep_failed(index, failure, order.ordered, now)
            }
        };
        self.signal(index, &Signal::Tested { epoch: order.epoch, verdict }, now);
        match verdict {
            Verdict::Passed => self.serve_the_stranded(now),
            Verdict::Failed(failure) if current && !self.is_own_fault(now) => self.idle_failure(index, failure, now),
            _ => {}
        }
        self.revision += 1;
    }

    fn deep_failed(&mut self, index: usize, failure: &Failure, began: Moment, now: Moment) -> Verdict {
        self.contacted(index, failure, began, now);
        let Some(health) = self.health.get_mut(index) else { return Verdict::Void };
        health.tests.last_failure = Some(failure.kind.as_str());
        health.tests.last_ended = Some((now, Some(failure.kind.as_str())));
        match failure.class() {
            FailureClass::Throttled => {
                if let FailureKind::Throttled { retry_after } = failure.kind {
                    health.throttled(retry_after, &self.thresholds, now);
                }
                Verdict::Throttled
            }
            // A 400 to a call that never changes: the call is wrong, and proves neither life nor death.
            FailureClass::Caller => {
                health.tests.refused = true;
                Verdict::Void
            }
            FailureClass::Local => {
                self.freeze(now);
                Verdict::Void
            }
            FailureClass::Hard | FailureClass::Misconfigured => {
                health.version_mismatch |= failure.kind == FailureKind::BadResponse(BadResponse::VersionMismatch);
                health.tests.last_failed = Some(now);
                let unconnected = health.is_suspected() && matches!(failure.kind, FailureKind::Connect(_));
                health.tests.unconnected = health.tests.unconnected.saturating_add(u8::from(unconnected));
                if failure.class() == FailureClass::Misconfigured {
                    health.misconfigured.get_or_insert(now);
                }
                Verdict::Failed(failure.with_status())
            }
        }
    }

    /// A test call failed while the target serves: the next one comes soon, and the third in a row without traffic
    /// raises suspicion.
    fn idle_failure(&mut self, index: usize, failure: &'static str, now: Moment) {
        let Some(health) = self.health.get_mut(index) else { return };
        if !matches!(health.machine.phase, Phase::Serving) {
            return;
        }
        health.tests.failing_since.get_or_insert(now);
        health.detector.test_failed(failure);
        self.plan_next_test(index, now);
        self.look(index, now);
    }

    fn cheap_ended(&mut self, order: &TestOrder, result: &TestResult, now: Moment) {
        let target = order.target.target();
        let index = usize::from(target.id.0);
        let failure = match result {
            TestResult::Passed { .. } => None,
            TestResult::Failed(failure) => {
                self.contacted(index, failure, order.ordered, now);
                // Busy is alive, and a service that may not list its models may still serve them.
                matches!(failure.class(), FailureClass::Hard).then(|| failure.with_status())
            }
        };
        if matches!(result, TestResult::Passed { .. }) {
            self.answered(index, now);
        }
        let Some(resource) = self.resources.get_mut(target.resource_index) else { return };
        resource.cheap_busy_until.take_if(|until| *until == order.place_until);
        let Some(failure) = failure else {
            resource.cheap_failures = 0;
            return;
        };
        resource.cheap_failures += 1;
        if resource.cheap_failures >= self.thresholds.detection.idle_failures {
            resource.cheap_failures = 0;
            self.suspect_idle(target.resource_index, failure, now);
        }
    }

    /// The resource's endpoint does not answer: one of its idle targets is put to the test, and how far the trouble
    /// reaches comes out of that.
    fn suspect_idle(&mut self, resource: usize, failure: &'static str, now: Moment) {
        if self.is_own_fault(now) {
            return;
        }
        let span = self.thresholds.testing.cheap_interval;
        let idle = |id: &TargetId| {
            self.health.get(usize::from(id.0)).is_some_and(|health| {
                let silent = health.last_success.is_none_or(|at| now.since(at) > span);
                silent && matches!(health.machine.phase, Phase::Serving)
            })
        };
        let targets = self.resources.get(resource).map(|resource| resource.targets.clone()).unwrap_or_default();
        let Some(suspect) = targets.into_iter().find(idle) else { return };
        let index = usize::from(suspect.0);
        let failures = self.thresholds.detection.idle_failures;
        if let Some(health) = self.health.get_mut(index) {
            (0..failures).for_each(|_| health.detector.test_failed(failure));
        }
        self.look(index, now);
    }

    /// A validation also asks the suspect's siblings, to see how far the trouble reaches, and the next target
    /// elsewhere, to see whether it is fit to take over and whether anything can be reached from here at all.
    pub(super) fn begin_validation(&mut self, index: usize, now: Moment) {
        let Some(suspect) = self.routes.targets().get(index).cloned() else { return };
        if let Some(health) = self.health.get_mut(index) {
            health.tests.ordered = 0;
            health.tests.unconnected = 0;
        }
        let fit = |target: &&Arc<Target>| {
            let health = self.health.get(usize::from(target.id.0));
            target.id != suspect.id && health.is_some_and(|health| !health.is_out() && !health.is_suspected())
        };
        let (siblings, others): (Vec<_>, Vec<_>) = self
            .routes
            .targets_in_use()
            .filter(fit)
            .partition(|target| target.resource_index == suspect.resource_index);
        // Another region says more than another resource of the same one, and the same model more than another.
        let standby =
            others.into_iter().min_by_key(|other| (other.region == suspect.region, other.model != suspect.model));
        let known = |target: &&Arc<Target>| {
            let proven = self.health.get(usize::from(target.id.0)).and_then(TargetHealth::last_proven);
            proven.is_some_and(|at| now.since(at) <= self.thresholds.validation.spacing)
        };
        let standby = standby.filter(|target| !known(target));
        let asked: Vec<TargetId> = siblings.into_iter().chain(standby).map(|target| target.id).collect();
        self.to_compare.extend(asked.into_iter().map(|target| (suspect.id, target)));
    }

    /// A target went out because all its test calls failed. Its siblings go with it if none of them answered either,
    /// or if nobody could be connected to; whoever passed since then stays.
    pub(super) fn judge_siblings(&mut self, index: usize, since: Moment, unconnected: bool, now: Moment) {
        let Some(resource) = self.routes.targets().get(index).map(|target| target.resource_index) else { return };
        let Some(siblings) = self.resources.get(resource).map(|resource| resource.targets.clone()) else { return };
        let (mut failed, mut unknown, mut passed) = (Vec::new(), Vec::new(), false);
        for sibling in siblings.into_iter().map(|id| usize::from(id.0)).filter(|sibling| *sibling != index) {
            let Some(health) = self.health.get(sibling).filter(|health| !health.is_out()) else { continue };
            // Busy is alive.
            if [health.proof_began, health.last_throttled].into_iter().flatten().any(|at| at >= since) {
                passed = true;
            } else if health.tests.last_failed.is_some_and(|at| at >= since) {
                failed.push(sibling);
            } else {
                unknown.push(sibling);
            }
        }
        let all_failed = !passed && !failed.is_empty();
        if unconnected || all_failed {
            failed.into_iter().for_each(|sibling| self.signal(sibling, &Signal::ResourceDown, now));
        }
        if unconnected {
            unknown.into_iter().for_each(|sibling| self.signal(sibling, &Signal::ResourceDown, now));
        }
    }

    /// Where a policy has no good target left, one that passed its last test calls serves at once, hold or not.
    pub(super) fn serve_the_stranded(&mut self, now: Moment) {
        for index in 0..self.health.len() {
            let out = self.health.get(index).is_some_and(|health| health.is_out() && !health.is_withdrawn());
            if out && self.is_stranded(index, TargetHealth::is_good) {
                self.signal(index, &Signal::Needed, now);
            }
        }
    }

    /// Some policy permits this target and others of its route, and none of them is fit. A sole permitted target is
    /// used at any standing, so it does not count, unless the route has no other at all.
    fn is_stranded(&self, index: usize, is_fit: impl Fn(&TargetHealth) -> bool) -> bool {
        let Some(target) = self.routes.targets().get(index) else { return false };
        let Some(route) = self.routes.find(&target.model) else { return false };
        self.policies.iter().any(|policy| {
            let permits = |id: &&TargetId| {
                let target = self.routes.targets().get(usize::from(id.0));
                target.is_some_and(|target| policy.permits(target).is_ok())
            };
            let fit = |id: &TargetId| self.health.get(usize::from(id.0)).is_some_and(&is_fit);
            let permitted: Vec<&TargetId> = route.targets.iter().filter(permits).collect();
            let sole = permitted.len() < 2 && route.targets.len() > 1;
            permitted.contains(&&target.id) && !sole && !permitted.into_iter().any(fit)
        })
    }

    fn notice_cut_off(&mut self, now: Moment) {
        if self.cut_off.is_none() && self.frozen_until.is_none() && self.is_own_fault(now) {
            self.cut_off = Some(now);
            self.revision += 1;
        }
    }

    /// Puts a target to the test now, whatever its standing, unless no policy lets anything be sent there.
    pub(super) fn validate(&mut self, index: usize, reason: &Arc<str>, now: Moment) {
        if self.permitted_test(index).is_none() {
            return;
        }
        if let Some(health) = self.health.get_mut(index) {
            health.tests.last_failure = None;
        }
        self.signal(index, &Signal::Ordered(Arc::clone(reason)), now);
        if let Some(health) = self.health.get_mut(index)
            && !matches!(health.machine.standing(), Standing::Suspected)
        {
            health.tests.next = now;
        }
    }
}

impl TargetHealth {
    /// When its next background or return call is due; one at a time.
    fn next_test(&self) -> Moment {
        let next = self.space.due.map_or(self.tests.next, |due| due.min(self.tests.next));
        self.tests.busy_until.map_or(next, |busy| busy.max(next))
    }
}
