//! A discrete-event simulation of callers, targets and test calls around the real router.
//!
//! It stands where `dispatch` and `prober` stand in production, and asks the router in the same order: choose, try,
//! protect, observe; due at least every second and whenever something changed.
use std::{
    cmp::Ordering,
    collections::{BTreeMap, BinaryHeap},
    sync::Arc,
    time::Duration,
};

use sealane_core::{
    domain::{
        AttemptLimits, AttemptReason, Failure, ModelKind, Moment, ProcessingScope, Quota, RoutingOptions, Sku, Target,
        TargetId, UpstreamStream,
    },
    policy::{PermittedTarget, Policy},
    router::{
        Alarm, Call, CallTerms, Decision, Delivery, GiveUp, Observation, Protection, Router, Routes, SavedTarget,
        Standing, TargetView, TestKind, TestOrder, TestResult, Thresholds, Ticket, Transition,
    },
};

use crate::{
    chance::Chance,
    region::{Mood, SimTarget},
};

/// A deployment of the simulated world.
#[derive(Clone, Debug)]
pub struct Deployment {
    /// Model name.
    pub model: &'static str,
    /// Chat or embedding.
    pub kind: ModelKind,
    /// Region, which is also the resource.
    pub region: &'static str,
    /// What happens to it.
    pub target: SimTarget,
}

/// How callers behave.
#[derive(Clone, Debug)]
pub struct Traffic {
    /// Calls a second, over all models in turn.
    pub rate: f64,
    /// Models called.
    pub models: Vec<&'static str>,
    /// Share of calls whose prompt fails everywhere.
    pub poison: f64,
    /// The workflow of every call, if they are one.
    pub workflow: Option<Arc<str>>,
    /// Sends back the region that the last reply named.
    pub echo_pin: bool,
    /// A caller's patience.
    pub deadline: Duration,
}

impl Default for Traffic {
    fn default() -> Self {
        let deadline = Duration::from_secs(60);
        Self { rate: 10.0, models: vec!["gpt-4o"], poison: 0.0, workflow: None, echo_pin: false, deadline }
    }
}

/// What became of one simulated world.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Calls made.
    pub calls: u64,
    /// Calls that ended with an error although some target was fit all the time, and the first of them.
    pub errors: u64,
    /// When the first of those errors was, what it said and what was tried.
    pub first_error: Option<String>,
    /// Errors of calls that nobody could have served.
    pub excused: u64,
    /// Standings that changed, oldest first.
    pub transitions: Vec<Transition>,
    /// When the first model's traffic left the target that it went to, because that went out. The way back is a ramp
    /// and no switch.
    pub switches: Vec<Moment>,
    /// Attempts over calls that began before, and after, the first switch.
    pub attempts: [(u64, u64); 2],
    /// Most attempts of one call at one target.
    pub most_at_one: u32,
    /// Calls whose first attempt went to a target that was out although a good one was left.
    pub into_the_dead: u64,
    /// Alarms seen, by word.
    pub alarms: BTreeMap<&'static str, u64>,
    /// Off-pin calls by cause.
    pub off_pin: BTreeMap<&'static str, u64>,
    /// Region of the pin with each call that named one, and when.
    pub pins: Vec<(Moment, Arc<str>)>,
    /// When each served call ended.
    pub served_at: Vec<Moment>,
    /// Digest of everything that happened: the same seed gives the same.
    pub trace: u64,
}

impl Outcome {
    /// Most switches within any hour.
    pub fn worst_hour(&self) -> usize {
        let hour = Duration::from_secs(3600);
        let within =
            |start: &Moment| self.switches.iter().filter(|at| *at >= start && at.since(*start) <= hour).count();
        self.switches.iter().map(within).max().unwrap_or(0)
    }

    /// When a target of the region first went out.
    pub fn first_out(&self, region: &str) -> Option<Moment> {
        let out = |one: &&Transition| matches!(one.to, Standing::Out { .. }) && *one.target.region == *region;
        self.transitions.iter().find(out).map(|one| one.at)
    }
}

#[derive(Debug)]
enum Event {
    Arrive,
    Wake(usize),
    Content(usize, Ticket),
    End(usize, Ticket, Option<Failure>),
    Protect(usize, Ticket),
    Tested(Box<TestOrder>, TestResult),
    Due,
}

/// In the order of time, and of planning where times are equal.
struct Scheduled {
    at: Moment,
    sequence: u64,
    event: Event,
}

impl PartialEq for Scheduled {
    fn eq(&self, other: &Self) -> bool {
        self.sequence == other.sequence
    }
}

impl Eq for Scheduled {}

impl PartialOrd for Scheduled {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Scheduled {
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at, other.sequence).cmp(&(self.at, self.sequence))
    }
}

struct Running {
    ticket: Ticket,
    target: TargetId,
    started: Moment,
    content: Option<Moment>,
}

struct Live {
    call: Call,
    began: Moment,
    poison: bool,
    running: Vec<Running>,
    tried: Vec<(TargetId, AttemptReason)>,
    after_switch: bool,
}

/// A world under way.
pub struct World {
    /// The real one.
    pub router: Router,
    targets: Vec<SimTarget>,
    traffic: Traffic,
    policy: Arc<Policy>,
    queue: BinaryHeap<Scheduled>,
    sequence: u64,
    live: Vec<Option<Live>>,
    free: Vec<usize>,
    now: Moment,
    chance: Chance,
    revision: u64,
    active: Option<TargetId>,
    newest_told: Option<Transition>,
    standings: Vec<Standing>,
    /// Serves and is not throttled.
    fit: Vec<bool>,
    last_pin: Option<String>,
    lie: Lie,
    next_due: Option<Moment>,
    outcome: Outcome,
}

/// How the simulation may lie to the router, to show that its checks can fail.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Lie {
    /// Not at all.
    #[default]
    None,
    /// Every test call passes, whatever its target does.
    TestsAlwaysPass,
    /// Every test call fails, whatever its target does.
    TestsAlwaysFail,
}

/// Targets of the world, as the router knows them.
pub fn routes(deployments: &[Deployment]) -> Routes {
    let mut resources: Vec<&str> = Vec::new();
    let targets = deployments.iter().enumerate().map(|(id, deployment)| {
        let index = resources.iter().position(|known| *known == deployment.region).unwrap_or_else(|| {
            resources.push(deployment.region);
            resources.len() - 1
        });
        Target {
            id: TargetId(id as u16),
            model: deployment.model.into(),
            kind: deployment.kind,
            resource: deployment.region.into(),
            resource_index: index,
            region: deployment.region.into(),
            boundary: Some("eu".into()),
            deployment: deployment.model.into(),
            sku: Sku::Standard,
            scope: ProcessingScope::Regional,
            reasoning: false,
            upstream_stream: UpstreamStream::Auto,
            version: None,
            // Nobody drifts in these stories.
            embedding_space: None,
            claims: Default::default(),
        }
    });
    let targets: Vec<Target> = targets.collect();
    Routes::new(targets).unwrap_or_else(|error| panic!("the simulated world makes no sense: {error}"))
}

impl World {
    /// A world that begins at `start` with a router that knows nothing.
    pub fn new(deployments: &[Deployment], traffic: Traffic, thresholds: Thresholds, seed: u64, start: Moment) -> Self {
        let router = Router::new(routes(deployments), thresholds, seed, start);
        let revision = router.revision();
        let mut world = Self {
            router,
            targets: deployments.iter().map(|deployment| deployment.target.clone()).collect(),
            traffic,
            policy: Arc::new(Policy::unrestricted()),
            queue: BinaryHeap::new(),
            sequence: 0,
            live: Vec::new(),
            free: Vec::new(),
            now: start,
            chance: Chance::new(seed),
            revision,
            active: None,
            newest_told: None,
            standings: vec![Standing::Serving; deployments.len()],
            fit: vec![true; deployments.len()],
            last_pin: None,
            lie: Lie::None,
            next_due: None,
            outcome: Outcome::default(),
        };
        world.active = Some(TargetId(0));
        world.at(start, Event::Arrive);
        world.at(start, Event::Due);
        world
    }

    /// The client of the workflow was last told this region, by whichever replica.
    #[must_use]
    pub fn sending_back(mut self, pin: Option<String>) -> Self {
        self.last_pin = pin;
        self
    }

    /// Lies about test calls.
    #[must_use]
    pub fn lying(mut self, lie: Lie) -> Self {
        self.lie = lie;
        self
    }

    /// Takes up what an earlier router left.
    pub fn restored(&mut self, saved: &[SavedTarget], age: Duration) {
        self.router.restore(saved, age, self.now);
    }

    /// Plays until `end`, lets calls under way finish, and tells what happened.
    pub fn play(mut self, end: Moment) -> (Outcome, Router) {
        while let Some(Scheduled { at, event, .. }) = self.queue.pop() {
            let over = at > end;
            if over && self.live.iter().all(Option::is_none) {
                break;
            }
            self.now = at;
            if !(over && matches!(event, Event::Arrive)) {
                self.happen(event);
                self.settle();
            }
        }
        let snapshot = self.router.snapshot(self.now);
        self.outcome.off_pin = snapshot.off_pin;
        (self.outcome, self.router)
    }

    fn at(&mut self, at: Moment, event: Event) {
        self.sequence += 1;
        self.queue.push(Scheduled { at, sequence: self.sequence, event });
    }

    fn digest(&mut self, word: u64) {
        self.outcome.trace = (self.outcome.trace ^ word ^ self.now.nanos()).wrapping_mul(0x0000_0100_0000_01B3);
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Arrive => self.arrive(),
            Event::Wake(call) => self.choose(call),
            Event::Content(call, ticket) => self.content(call, ticket),
            Event::End(call, ticket, failure) => self.end(call, ticket, failure),
            Event::Protect(call, ticket) => self.protect(call, ticket),
            Event::Tested(order, result) => {
                self.digest(3);
                self.router.tested(&order, &result, self.now);
            }
            Event::Due => {
                if self.next_due == Some(self.now) {
                    self.next_due = None;
                }
                self.due();
            }
        }
    }

    /// What `keep_time` and the attempts in flight do when something changed, or a second has passed.
    fn settle(&mut self) {
        let changed = self.router.revision() != self.revision;
        if changed {
            self.revision = self.router.revision();
            self.told();
            for call in 0..self.live.len() {
                let silent = self.live[call].as_ref().filter(|live| live.running.len() == 1);
                let ticket = silent.and_then(|live| live.running.first()).filter(|one| one.content.is_none());
                if let Some(ticket) = ticket.map(|one| one.ticket) {
                    self.protect(call, ticket);
                }
            }
            self.due();
        }
    }

    fn due(&mut self) {
        let due = self.router.due(self.now);
        for order in due.tests {
            self.test(order);
        }
        let second = self.now + Duration::from_secs(1);
        let next = due.next.map_or(second, |next| next.min(second)).max(self.now + Duration::from_millis(1));
        if self.next_due.is_none_or(|planned| planned > next || planned <= self.now) {
            self.next_due = Some(next);
            self.at(next, Event::Due);
        }
    }

    fn told(&mut self) {
        let snapshot = self.router.snapshot(self.now);
        let known = self.newest_told.as_ref();
        let fresh: Vec<Transition> =
            snapshot.transitions.iter().take_while(|one| Some(*one) != known).cloned().collect();
        self.newest_told = snapshot.transitions.first().cloned();
        self.outcome.transitions.extend(fresh.into_iter().rev());
        for alarm in &snapshot.alarms {
            *self.outcome.alarms.entry(Alarm::as_str(alarm)).or_default() += 1;
        }
        self.standings = snapshot.targets.iter().map(|view| view.standing).collect();
        let fit = |view: &TargetView| view.standing == Standing::Serving && view.overlay.is_none();
        self.fit = snapshot.targets.iter().map(fit).collect();
        // The first model's target that new unrestricted work goes to, cooling or not.
        let route = snapshot.models.first().map_or(&[][..], |model| &model.route.targets);
        let good = |id: &&TargetId| snapshot.targets.get(usize::from(id.0)).is_some_and(|view| view.share >= 0.5);
        let active = route.iter().find(good).or(route.first()).copied();
        if active != self.active {
            let left = self.active.and_then(|before| self.standings.get(usize::from(before.0)));
            if matches!(left, Some(Standing::Out { .. })) {
                self.outcome.switches.push(self.now);
            }
            self.active = active;
            self.digest(u64::from(active.map_or(99, |target| target.0)));
        }
    }

    fn arrive(&mut self) {
        let gap = self.chance.gap(self.traffic.rate);
        self.at(self.now + Duration::from_secs_f64(gap), Event::Arrive);
        let model = self.traffic.models[self.outcome.calls as usize % self.traffic.models.len()];
        self.outcome.calls += 1;
        let Some(route) = self.router.routes().find(model).cloned() else { return };
        let options = RoutingOptions {
            workflow_id: self.traffic.workflow.clone(),
            pinned_region: if self.traffic.echo_pin { self.last_pin.clone() } else { None },
            ..RoutingOptions::default()
        };
        let delivery = if route.kind == ModelKind::Embedding { Delivery::Embedded } else { Delivery::Assembled };
        let terms = CallTerms {
            caller: "team".into(),
            route,
            policy: Arc::clone(&self.policy),
            options: Arc::new(options),
            delivery,
            prompt_tokens: 500,
            deadline: self.now + self.traffic.deadline,
        };
        let poison = self.chance.fraction() < self.traffic.poison;
        let live = Live {
            call: Call::new(terms, self.now),
            began: self.now,
            poison,
            running: Vec::new(),
            tried: Vec::new(),
            after_switch: !self.outcome.switches.is_empty(),
        };
        let call = match self.free.pop() {
            Some(place) => {
                self.live[place] = Some(live);
                place
            }
            None => {
                self.live.push(Some(live));
                self.live.len() - 1
            }
        };
        self.choose(call);
    }

    fn choose(&mut self, call: usize) {
        let Some(live) = self.live.get_mut(call).and_then(Option::as_mut) else { return };
        match self.router.choose(&mut live.call, self.now) {
            Decision::Wait { until } => self.at(until, Event::Wake(call)),
            Decision::GiveUp(why) => self.give_up(call, &why),
            Decision::Try { ticket, target, reason, limits, protect_at } => {
                self.attempt(call, ticket, &target, reason, limits);
                if let Some(at) = protect_at {
                    self.at(at, Event::Protect(call, ticket));
                }
            }
        }
    }

    fn protect(&mut self, call: usize, ticket: Ticket) {
        let Some(live) = self.live.get_mut(call).and_then(Option::as_mut) else { return };
        if !live.running.iter().any(|one| one.ticket == ticket && one.content.is_none()) || live.running.len() != 1 {
            return;
        }
        match self.router.protect(&mut live.call, ticket, self.now) {
            Protection::Wait { until: Some(until) } => self.at(until, Event::Protect(call, ticket)),
            Protection::Second(Decision::Try { ticket, target, reason, limits, .. }) => {
                self.attempt(call, ticket, &target, reason, limits);
            }
            _ => {}
        }
    }

    fn attempt(
        &mut self,
        call: usize,
        ticket: Ticket,
        target: &PermittedTarget,
        reason: AttemptReason,
        limits: AttemptLimits,
    ) {
        let id = target.target().id;
        self.digest(u64::from(id.0) + 1);
        let Some(live) = self.live.get_mut(call).and_then(Option::as_mut) else { return };
        let standing = |id: &TargetId| self.standings.get(usize::from(id.0)).copied();
        if live.tried.is_empty() && matches!(standing(&id), Some(Standing::Out { .. })) {
            let route = &live.call.terms().route.targets;
            let better = route.iter().any(|other| self.fit.get(usize::from(other.0)) == Some(&true));
            self.outcome.into_the_dead += u64::from(better);
        }
        live.tried.push((id, reason));
        live.running.push(Running { ticket, target: id, started: self.now, content: None });
        let short = live.call.terms().delivery == Delivery::Embedded;
        let poison = live.poison;
        let fate = self.targets[usize::from(id.0)].meet(self.now, limits, poison, short, &mut self.chance);
        if let Some(first) = fate.first_content.filter(|first| *first < fate.end || fate.failure.is_some()) {
            self.at(self.now + first, Event::Content(call, ticket));
        }
        self.at(self.now + fate.end, Event::End(call, ticket, fate.failure));
    }

    fn content(&mut self, call: usize, ticket: Ticket) {
        let Some(live) = self.live.get_mut(call).and_then(Option::as_mut) else { return };
        let Some(place) = live.running.iter().position(|one| one.ticket == ticket) else { return };
        if self.targets[usize::from(live.running[place].target.0)].mood(self.now) == Mood::Silent {
            return;
        }
        live.running[place].content = Some(self.now);
        let winner = live.running.swap_remove(place);
        for loser in std::mem::replace(&mut live.running, vec![winner]) {
            self.router.observe(&mut live.call, loser.ticket, &Observation::Cancelled, self.now);
        }
        self.router.first_content(&mut live.call, ticket, self.now);
    }

    fn end(&mut self, call: usize, ticket: Ticket, failure: Option<Failure>) {
        let Some(live) = self.live.get_mut(call).and_then(Option::as_mut) else { return };
        let Some(place) = live.running.iter().position(|one| one.ticket == ticket) else { return };
        let target = &self.targets[usize::from(live.running[place].target.0)];
        let ended = live.running[place].started;
        if failure.is_none() && target.mood(self.now) == Mood::Silent && target.mood(ended) != Mood::Silent {
            // It fell silent on the way: the attempt hangs until its stall limit.
            let stalled = sealane_core::domain::FailureKind::Silence(sealane_core::domain::Silence::Stall);
            self.at(
                self.now + Duration::from_secs(10),
                Event::End(call, ticket, Some(Failure::without_response(stalled))),
            );
            return;
        }
        let attempt = live.running.swap_remove(place);
        match failure {
            None => {
                let first = attempt.content.unwrap_or(self.now).since(attempt.started);
                let served = Observation::Served { first_content: first, quota: Quota::default() };
                self.router.observe(&mut live.call, ticket, &served, self.now);
                for loser in std::mem::take(&mut live.running) {
                    self.router.observe(&mut live.call, loser.ticket, &Observation::Cancelled, self.now);
                }
                if let Some(pin) = live.call.pinned_region() {
                    self.last_pin = Some(pin.to_string());
                    self.outcome.pins.push((self.now, Arc::clone(pin)));
                }
                self.outcome.served_at.push(self.now);
                self.finish(call);
            }
            Some(failure) => {
                self.router.observe(&mut live.call, ticket, &Observation::Failed(failure), self.now);
                if live.running.is_empty() {
                    self.choose(call);
                }
            }
        }
    }

    fn give_up(&mut self, call: usize, why: &GiveUp) {
        self.digest(77);
        if let Some(live) = self.live.get(call).and_then(Option::as_ref) {
            let model = &live.call.terms().route;
            let well = model.targets.iter().any(|id| self.targets[usize::from(id.0)].is_fit(live.began, self.now));
            if well && !live.poison {
                self.outcome.errors += 1;
                if self.outcome.first_error.is_none() {
                    let tried: Vec<_> =
                        live.tried.iter().map(|(id, why)| format!("{} {}", id.0, why.as_str())).collect();
                    self.outcome.first_error =
                        Some(format!("{:?}: {why:?} after {tried:?}, began {:?}", self.now, live.began));
                }
            } else {
                self.outcome.excused += 1;
            }
        }
        self.finish(call);
    }

    fn finish(&mut self, call: usize) {
        let Some(live) = self.live.get_mut(call).and_then(Option::take) else { return };
        self.free.push(call);
        let sums = &mut self.outcome.attempts[usize::from(live.after_switch)];
        sums.0 += 1;
        sums.1 += live.tried.len() as u64;
        for (id, _) in &live.tried {
            let here = live.tried.iter().filter(|(other, _)| other == id).count() as u32;
            self.outcome.most_at_one = self.outcome.most_at_one.max(here);
        }
    }

    fn test(&mut self, order: TestOrder) {
        let id = usize::from(order.target.target().id.0);
        let limits = AttemptLimits {
            first_content: order.limit,
            stall: Duration::from_secs(5),
            total: order.limit + Duration::from_secs(5),
            rescue_by: order.limit + Duration::from_secs(5),
        };
        let mut fate = self.targets[id].meet(self.now, limits, false, true, &mut self.chance);
        let endpoint_answers = !matches!(
            self.targets[id].mood(self.now),
            Mood::Silent | Mood::Refusing | Mood::Unreachable | Mood::Slow(_)
        );
        if order.kind == TestKind::Cheap && endpoint_answers {
            fate.failure = None;
        }
        let result = match (self.lie, fate.failure) {
            (Lie::TestsAlwaysFail, _) => {
                let failure = sealane_core::domain::FailureKind::Unavailable;
                TestResult::Failed(Failure::without_response(failure))
            }
            (Lie::None, Some(failure)) => TestResult::Failed(failure),
            _ => TestResult::Passed { first_content: fate.first_content.unwrap_or(fate.end), tokens: 30 },
        };
        self.at(self.now + fate.end, Event::Tested(Box::new(order), result));
    }
}
