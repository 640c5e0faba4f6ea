//! Plays a script: callers, targets and the prober around one router, in steps of a tenth of a second.
use std::collections::BTreeMap;

use super::{
    script::{Action, Behaviour, Script},
    tell::Log,
    *,
};

const STEP: Duration = Duration::from_millis(100);
/// Healthy first content, of live calls and of test calls.
const FIRST_CONTENT: Duration = Duration::from_millis(600);
const TEST_CALL: Duration = Duration::from_millis(300);
/// A failure that is answered comes fast.
const ERROR: Duration = Duration::from_millis(100);
/// How long a restart takes.
const AWAY: Duration = Duration::from_secs(10);
const DEADLINE: Duration = Duration::from_secs(60);

pub(super) struct World {
    router: Router,
    targets: Vec<Target>,
    behaviours: Vec<Behaviour>,
    cut: bool,
    calls: Vec<Running>,
    tests: Vec<(Moment, TestOrder, TestResult)>,
    /// Live calls that each target has met, for failures by turns.
    met: Vec<u32>,
    log: Log,
}

/// A call under way.
struct Running {
    call: Call,
    attempts: Vec<Attempt>,
    wakes: Option<Moment>,
}

struct Attempt {
    ticket: Ticket,
    ends: Moment,
    observation: Observation,
    protect_at: Option<Moment>,
}

pub(super) fn play(script: &Script) -> String {
    let targets = declared(&script.targets);
    let mut world = World {
        router: router(targets.clone()),
        behaviours: vec![Behaviour::Serves; targets.len()],
        met: vec![0; targets.len()],
        targets,
        cut: false,
        calls: vec![],
        tests: vec![],
        log: Log::default(),
    };
    let mut now = Moment::ZERO;
    while now <= script.until {
        for (_, action) in script.actions.iter().filter(|(at, _)| *at == now) {
            world.act(action, now);
        }
        world.end_tests(now);
        world.order_tests(now);
        world.end_attempts(now);
        world.protect(now);
        for traffic in &script.traffic {
            let due = now >= traffic.from && now < traffic.to;
            if due && now.since(traffic.from).as_millis().is_multiple_of(traffic.every.as_millis()) {
                world.admit(&traffic.model, traffic.workflow.as_deref(), &traffic.caller, now);
            }
        }
        world.log.notice(&world.router.snapshot(now), now);
        now = now + STEP;
    }
    world.log.end(&world.router.snapshot(now), now)
}

fn declared(names: &[(String, String)]) -> Vec<Target> {
    let mut resources: Vec<&String> = vec![];
    let mut targets = vec![];
    for ((region, model), id) in names.iter().zip(0u16..) {
        let resource_index = resources.iter().position(|known| *known == region).unwrap_or(resources.len());
        if resource_index == resources.len() {
            resources.push(region);
        }
        let kind = if model == "embed" { ModelKind::Embedding } else { ModelKind::Chat };
        let (name, model): (Arc<str>, Arc<str>) = (region.as_str().into(), model.as_str().into());
        let (region, resource) = (Arc::clone(&name), name);
        targets.push(Target {
            id: TargetId(id),
            deployment: Arc::clone(&model),
            model,
            kind,
            resource,
            resource_index,
            region,
            ..target(0)
        });
    }
    targets
}

impl World {
    fn act(&mut self, action: &Action, now: Moment) {
        match action {
            Action::Becomes(name, behaviour) => {
                for (target, becomes) in self.targets.iter().zip(&mut self.behaviours) {
                    let means = *name == *target.region || *name == format!("{}/{}", target.region, target.model);
                    if means {
                        *becomes = behaviour.clone();
                    }
                }
            }
            Action::Network { cut } => self.cut = *cut,
            Action::Restart => {
                let saved = self.router.saved(now - AWAY);
                self.router = Router::new(Routes::new(self.targets.clone()).unwrap(), Thresholds::default(), 8, now);
                let restored = self.router.restore(&saved, AWAY, now);
                self.log.say(now, &format!("the service is back, with {restored} standings restored"));
                // Those who called it before have their connections closed and call again.
                self.calls.clear();
                self.tests.clear();
            }
            Action::Drain(selector, until) => {
                self.router.drain(selector, *until, &"maintenance".into(), now);
            }
            Action::Release(selector) => {
                self.router.release(selector, &"done".into(), now);
            }
            Action::Validate(selector) => {
                self.router.order_validation(selector, &"a look".into(), now);
            }
            Action::Status => self.log.status(&self.router.snapshot(now), now),
        }
    }

    fn order_tests(&mut self, now: Moment) {
        for order in self.router.due(now).tests {
            let target = usize::from(order.target.target().id.0);
            let (after, outcome) = match order.kind {
                TestKind::Deep => self.outcome(target, order.limit, false),
                TestKind::Cheap => self.list_of_models(target, order.limit),
            };
            let result = match outcome {
                Ok(()) => TestResult::Passed { first_content: after, tokens: 20 },
                Err(kind) => TestResult::Failed(Failure::without_response(kind)),
            };
            self.log.tests += 1;
            self.tests.push((now + after, order, result));
        }
    }

    fn end_tests(&mut self, now: Moment) {
        let (ended, running) = std::mem::take(&mut self.tests).into_iter().partition(|(at, ..)| *at <= now);
        self.tests = running;
        for (_, order, result) in ended {
            self.router.tested(&order, &result, now);
        }
    }

    /// How the target answers now: after how long, and with what.
    fn outcome(&self, target: usize, limit: Duration, live: bool) -> (Duration, Result<(), FailureKind>) {
        if self.cut {
            return (ERROR, Err(FailureKind::Connect(ConnectFailure::Dns)));
        }
        let healthy = if live { FIRST_CONTENT } else { TEST_CALL };
        let took = match &self.behaviours[target] {
            Behaviour::Fails(kind) => return (ERROR, Err(kind.clone())),
            Behaviour::FailsEvery(nth) if live && self.met[target].is_multiple_of(*nth) => {
                return (ERROR, Err(FailureKind::ServerError));
            }
            Behaviour::RefusesTests if !live => {
                let invalid = Rejection::Invalid { code: None, param: None };
                return (ERROR, Err(FailureKind::Rejected(invalid)));
            }
            Behaviour::Serves | Behaviour::FailsEvery(_) | Behaviour::RefusesTests => healthy,
            Behaviour::Takes(time) => *time,
            Behaviour::Silent => Duration::MAX,
        };
        if took > limit { (limit, Err(FailureKind::Silence(Silence::FirstContent))) } else { (took, Ok(())) }
    }

    /// An endpoint answers unless no deployment behind it can be reached.
    fn list_of_models(&self, target: usize, limit: Duration) -> (Duration, Result<(), FailureKind>) {
        let refuses = Behaviour::Fails(FailureKind::Connect(ConnectFailure::Refused));
        let siblings = self.targets.iter().zip(&self.behaviours);
        let siblings = siblings.filter(|(sibling, _)| sibling.resource == self.targets[target].resource);
        let reachable = siblings.into_iter().any(|(_, it)| *it != refuses && *it != Behaviour::Silent);
        if reachable && !self.cut { (ERROR, Ok(())) } else { self.outcome(target, limit, false) }
    }

    fn admit(&mut self, model: &str, workflow: Option<&str>, caller: &str, now: Moment) {
        let options = RoutingOptions { workflow_id: workflow.map(Arc::from), ..RoutingOptions::default() };
        let route = Arc::clone(self.router.routes().find(model).unwrap());
        let terms = CallTerms {
            caller: caller.into(),
            route,
            options: Arc::new(options),
            ..terms(&self.router, now + DEADLINE)
        };
        self.log.calls += 1;
        let running = Running { call: Call::new(terms, now), attempts: vec![], wakes: None };
        self.go_on(running, now);
    }

    /// Chooses for a call with nothing under way, until something is or it has ended.
    fn go_on(&mut self, mut running: Running, now: Moment) {
        let decision = self.router.choose(&mut running.call, now);
        match decision {
            Decision::Wait { until } => running.wakes = Some(until),
            Decision::GiveUp(why) => return self.log.gave_up(&why, now),
            other => self.start(&mut running, other, now),
        }
        if let (Some(workflow), Some(region)) =
            (&running.call.terms().options.workflow_id, running.call.pinned_region())
        {
            self.log.pinned(&running.call.terms().caller, workflow, region, now);
        }
        self.calls.push(running);
    }

    fn start(&mut self, running: &mut Running, decision: Decision, now: Moment) {
        let Decision::Try { ticket, target, reason, limits, protect_at } = decision else { panic!("{decision:?}") };
        let at = usize::from(target.target().id.0);
        self.met[at] += 1;
        self.log.chosen(target.target(), reason);
        self.log.most_attempts = self.log.most_attempts.max(ticket.attempt());
        let (after, outcome) = self.outcome(at, limits.first_content.min(limits.total), true);
        let observation = match outcome {
            Ok(()) => Observation::Served { first_content: after, quota: Quota::default() },
            Err(kind) => failed(kind),
        };
        running.attempts.push(Attempt { ticket, ends: now + after, observation, protect_at });
    }

    fn end_attempts(&mut self, now: Moment) {
        for mut running in std::mem::take(&mut self.calls) {
            let mut served = false;
            for attempt in std::mem::take(&mut running.attempts) {
                if served {
                    self.router.observe(&mut running.call, attempt.ticket, &Observation::Cancelled, now);
                } else if attempt.ends <= now {
                    served = matches!(attempt.observation, Observation::Served { .. });
                    self.router.observe(&mut running.call, attempt.ticket, &attempt.observation, now);
                } else {
                    running.attempts.push(attempt);
                }
            }
            if served {
                for left in running.attempts {
                    self.router.observe(&mut running.call, left.ticket, &Observation::Cancelled, now);
                }
                self.log.served(now.since(running.call.started()));
            } else if running.attempts.is_empty() && running.wakes.is_none_or(|wakes| wakes <= now) {
                running.wakes = None;
                self.go_on(running, now);
            } else {
                self.calls.push(running);
            }
        }
    }

    fn protect(&mut self, now: Moment) {
        for mut running in std::mem::take(&mut self.calls) {
            if let [attempt] = &mut running.attempts[..] {
                match self.router.protect(&mut running.call, attempt.ticket, now) {
                    Protection::Second(decision) => self.start(&mut running, decision, now),
                    Protection::Wait { until } => attempt.protect_at = until,
                }
            }
            self.calls.push(running);
        }
    }
}

/// Choices by target and reason since something last changed.
pub(super) type Choices = BTreeMap<(String, &'static str), u32>;
