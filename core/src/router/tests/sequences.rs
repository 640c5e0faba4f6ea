//! Any sequence of calls, outcomes, test results, operators and clocks: what must hold after every event of it.
//! Numbers in brackets are those of the invariants in `reliability.md`.
use proptest::prelude::*;

use super::*;

/// How a target answers for a while; without moods nothing would ever go out.
#[derive(Clone, Copy, Debug)]
enum Mood {
    Well,
    Down,
    Flaky,
}

#[derive(Clone, Debug)]
enum Event {
    Mood(usize, Mood),
    /// Time passes in steps of a second or less, as the prober takes them; test calls end meanwhile.
    Pass(u64),
    /// Nobody asked the router for this long: a frozen process, or a clock that was set.
    Jump(u64),
    /// The clock says earlier than before, once.
    Back(u64),
    Call {
        workflow: Option<u8>,
    },
    /// An attempt ends as its target's mood says.
    End(usize),
    /// An attempt ends so.
    EndAs(usize, FailureKind),
    Cancel(usize),
    /// A result comes again that has come before.
    Again(usize),
    Drain(usize, u64),
    Release(usize),
    Validate(usize),
    Restart,
}

fn event() -> impl Strategy<Value = Event> {
    let mood = prop_oneof![2 => Just(Mood::Well), 3 => Just(Mood::Down), 1 => Just(Mood::Flaky)];
    let odd = prop_oneof![
        Just(FailureKind::Rejected(Rejection::ContextLength)),
        Just(FailureKind::Local { cause: "no_file_descriptor" }),
        Just(FailureKind::Unauthorized),
        (0u64..100_000).prop_map(throttled),
    ];
    prop_oneof![
        3 => (0usize..3, mood).prop_map(|(target, mood)| Event::Mood(target, mood)),
        16 => (100u64..5_000).prop_map(Event::Pass),
        2 => (20_000u64..90_000).prop_map(Event::Pass),
        1 => (5_001u64..3_600_000).prop_map(Event::Jump),
        1 => (0u64..3_600_000).prop_map(Event::Back),
        30 => proptest::option::weighted(0.2, 0u8..4).prop_map(|workflow| Event::Call { workflow }),
        30 => any::<usize>().prop_map(Event::End),
        3 => (any::<usize>(), odd).prop_map(|(attempt, kind)| Event::EndAs(attempt, kind)),
        2 => any::<usize>().prop_map(Event::Cancel),
        3 => any::<usize>().prop_map(Event::Again),
        1 => (0usize..3, 1u64..600).prop_map(|(target, span)| Event::Drain(target, span)),
        1 => (0usize..3).prop_map(Event::Release),
        1 => (0usize..3).prop_map(Event::Validate),
        1 => Just(Event::Restart),
    ]
}

struct World {
    router: Router,
    now: Moment,
    moods: [Mood; 3],
    turns: u32,
    open: Vec<(Call, Ticket)>,
    orders: Vec<(Moment, TestOrder)>,
    ended: Vec<(TestOrder, TestResult)>,
    /// When each target last changed its standing or its step.
    changed: [Moment; 3],
}

impl World {
    fn new() -> Self {
        Self {
            router: plain(3),
            now: at(10_000),
            moods: [Mood::Well; 3],
            turns: 0,
            open: vec![],
            orders: vec![],
            ended: vec![],
            changed: [Moment::ZERO; 3],
        }
    }

    fn machines(&self) -> Vec<Machine> {
        self.router.health.iter().map(|health| health.machine.clone()).collect()
    }

    fn fails(&mut self, target: usize) -> bool {
        self.turns += 1;
        match self.moods[target] {
            Mood::Well => false,
            Mood::Down => true,
            Mood::Flaky => self.turns.is_multiple_of(2),
        }
    }

    fn happen(&mut self, event: &Event) -> Result<(), TestCaseError> {
        let before = self.machines();
        match event {
            Event::Mood(target, mood) => self.moods[*target] = *mood,
            Event::Pass(millis) => return self.pass(*millis),
            Event::Jump(millis) => {
                self.now = self.now + Duration::from_millis(*millis);
                self.due()?;
                let out = |machines: &[Machine]| machines.iter().filter(|it| is_out(it)).count();
                prop_assert!(out(&self.machines()) <= out(&before), "a jump of the clock takes nobody out (30)");
                return Ok(());
            }
            Event::Back(millis) => {
                // A drain may just have left a policy without a good target: that is dealt with when time passes, and
                // no doing of the clock.
                let due = self.router.due(self.now);
                self.order(due.tests, self.now)?;
                let before = self.machines();
                let earlier = self.now - Duration::from_millis(*millis);
                let due = self.router.due(earlier);
                self.order(due.tests, earlier)?;
                prop_assert_eq!(&self.machines(), &before, "a clock that goes back changes nothing (30)");
            }
            Event::Call { workflow } => self.call(*workflow)?,
            Event::End(which) => {
                let Some((_, ticket)) = self.open.get(which % self.open.len().max(1)) else { return Ok(()) };
                let target = ticket.target_index();
                let ended = if self.fails(target) { failed(FailureKind::ServerError) } else { served() };
                self.end(*which, &ended)?;
            }
            Event::EndAs(which, kind) => {
                self.end(*which, &failed(kind.clone()))?;
                let class = kind.class();
                if matches!(class, FailureClass::Caller | FailureClass::Local | FailureClass::Throttled) {
                    prop_assert_eq!(&self.machines(), &before, "{:?} moves nobody (17)", class);
                }
            }
            Event::Cancel(which) => self.end(*which, &Observation::Cancelled)?,
            Event::Again(which) => {
                let Some((order, result)) = self.ended.get(which % self.ended.len().max(1)).cloned() else {
                    return Ok(());
                };
                let index = usize::from(order.target.target().id.0);
                let stale = order.epoch != before[index].epoch && order.kind == TestKind::Deep;
                self.router.tested(&order, &result, self.now);
                if stale {
                    prop_assert_eq!(&self.machines(), &before, "a result of an old epoch changes nothing (4)");
                    return Ok(());
                }
            }
            Event::Drain(target, span) => {
                let selector = Selector { region: Some(REGIONS[*target].into()), ..Selector::default() };
                self.router.drain(&selector, self.now + secs(*span), &"maintenance".into(), self.now);
            }
            Event::Release(target) => {
                let selector = Selector { region: Some(REGIONS[*target].into()), ..Selector::default() };
                self.router.release(&selector, &"done".into(), self.now);
            }
            Event::Validate(target) => {
                let selector = Selector { region: Some(REGIONS[*target].into()), ..Selector::default() };
                self.router.order_validation(&selector, &"a look".into(), self.now);
            }
            Event::Restart => return self.restart(),
        }
        self.compare(&before, matches!(event, Event::End(_)))
    }

    fn pass(&mut self, millis: u64) -> Result<(), TestCaseError> {
        let end = self.now + Duration::from_millis(millis);
        while self.now < end {
            self.now = end.min(self.now + secs(1));
            let (ready, waiting) = std::mem::take(&mut self.orders).into_iter().partition(|(at, _)| *at <= self.now);
            self.orders = waiting;
            for (_, order) in ready {
                let result = if self.fails(usize::from(order.target.target().id.0)) {
                    TestResult::Failed(Failure::without_response(FailureKind::Unavailable))
                } else {
                    TestResult::Passed { first_content: secs(1), tokens: 20 }
                };
                let before = self.machines();
                self.router.tested(&order, &result, self.now);
                self.compare(&before, false)?;
                self.ended.push((order, result));
            }
            self.due()?;
        }
        Ok(())
    }

    fn due(&mut self) -> Result<(), TestCaseError> {
        let before = self.machines();
        let due = self.router.due(self.now);
        let window = self.router.thresholds.validation.window;
        for machine in self.machines() {
            let suspected = matches!(machine.phase, Phase::Suspected { .. });
            prop_assert!(!suspected || self.now.since(machine.since) < window, "a validation ends (5)");
        }
        let proven = |health: &TargetHealth| {
            health.drained.is_none() && matches!(health.machine.phase, Phase::Out { proofs: 2.., .. })
        };
        let stranded = !self.router.health.iter().any(TargetHealth::is_good);
        let healed = self.router.health.iter().any(proven);
        prop_assert!(!stranded || !healed, "whoever is proven serves where nobody is good (23)");
        self.compare(&before, false)?;
        self.order(due.tests, self.now)
    }

    fn order(&mut self, orders: Vec<TestOrder>, now: Moment) -> Result<(), TestCaseError> {
        for order in orders {
            let alone = |other: &TestOrder| {
                let same = other.target == order.target && other.kind == order.kind;
                !same || other.purpose == TestPurpose::Validation
            };
            if matches!(order.purpose, TestPurpose::Background | TestPurpose::Return) {
                let running = self.orders.iter().filter(|(ends, _)| *ends > now);
                prop_assert!(running.into_iter().all(|(_, other)| alone(other)), "one test call at a time (18)");
            }
            self.orders.push((now + Duration::from_millis(700), order));
        }
        Ok(())
    }

    fn call(&mut self, workflow: Option<u8>) -> Result<(), TestCaseError> {
        let options =
            RoutingOptions { workflow_id: workflow.map(|id| format!("run-{id}").into()), ..RoutingOptions::default() };
        let terms = CallTerms { options: Arc::new(options), ..terms(&self.router, self.now + secs(60)) };
        self.choose(Call::new(terms, self.now), true)
    }

    fn choose(&mut self, mut call: Call, first: bool) -> Result<(), TestCaseError> {
        let fit = |health: &&TargetHealth| health.drained.is_none() && health.cooling_until(self.now).is_none();
        let fit: Vec<_> = self.router.health.iter().filter(fit).collect();
        let any_good = self.router.health.iter().any(TargetHealth::is_good);
        let any_fit_good = fit.iter().any(|health| health.is_good());
        let last_resort = first && !any_good && fit.iter().any(|health| health.open.count() < 4);
        let decision = self.router.choose(&mut call, self.now);
        if last_resort {
            prop_assert!(matches!(decision, Decision::Try { .. }), "with nobody good, whoever is left is tried (23)");
        }
        let Decision::Try { ticket, target, limits, .. } = decision else { return Ok(()) };
        let chosen = &self.router.health[usize::from(target.target().id.0)];
        prop_assert!(chosen.drained.is_none(), "a drained target gets no calls (27)");
        prop_assert!(chosen.cooling_until(self.now).is_none());
        prop_assert!(
            !(first && any_fit_good && is_out(&chosen.machine)),
            "nobody out is first choice while another is good"
        );
        prop_assert!(limits.total <= call.remaining(self.now), "never beyond the deadline (22)");
        prop_assert!(call.attempts() <= 3 + 2, "each target once, and two retries (8)");
        self.open.push((call, ticket));
        Ok(())
    }

    fn end(&mut self, which: usize, observation: &Observation) -> Result<(), TestCaseError> {
        if self.open.is_empty() {
            return Ok(());
        }
        let (mut call, ticket) = self.open.swap_remove(which % self.open.len());
        self.router.observe(&mut call, ticket, observation, self.now);
        if matches!(observation, Observation::Failed(_)) { self.choose(call, false) } else { Ok(()) }
    }

    /// Another process takes up what this one leaves.
    fn restart(&mut self) -> Result<(), TestCaseError> {
        let saved = self.router.saved(self.now);
        let left = self.machines();
        let mut router = plain(3);
        router.restore(&saved, secs(1), self.now);
        for (machine, left) in router.health.iter().map(|health| &health.machine).zip(&left) {
            let was_trusted = matches!(left.phase, Phase::Serving | Phase::Suspected { .. });
            prop_assert_eq!(is_out(machine), !was_trusted, "a restart brings nobody back (24)");
            prop_assert_eq!(machine.level, left.level);
        }
        self.router = router;
        self.open.clear();
        self.orders.clear();
        self.ended.clear();
        // The stays of that process count.
        self.changed = [Moment::ZERO; 3];
        self.due()
    }

    /// What must hold between two moments, whatever happened.
    fn compare(&mut self, before: &[Machine], live: bool) -> Result<(), TestCaseError> {
        let after = self.machines();
        for (index, (from, to)) in before.iter().zip(&after).enumerate() {
            prop_assert!(to.level >= from.level || live, "only live traffic lowers a level (15)");
            if from.epoch == to.epoch {
                continue;
            }
            let cause = self.router.health[index].cause.clone().unwrap();
            let held = self.now.since(self.changed[index]);
            self.changed[index] = self.now;
            // More than one change at the same moment: the causes in between are in the log only.
            if to.epoch > from.epoch + 1 {
                continue;
            }
            match (from.standing(), to.standing()) {
                (Standing::Serving, Standing::Out { .. }) => prop_assert_eq!(cause, Cause::ResourceDown),
                (Standing::Suspected, Standing::Out { .. }) => prop_assert!(
                    matches!(cause, Cause::TestsFailed { .. } | Cause::Grey { .. } | Cause::ResourceDown),
                    "nobody goes out without a verdict (3)"
                ),
                (Standing::Out { .. }, Standing::Returning { step }) => {
                    prop_assert_eq!(step, 0);
                    prop_assert!(matches!(cause, Cause::HoldOver { proofs: 6.., .. }), "six proofs (12)");
                    let hold = self.router.thresholds.recovery.hold_at(from.level, -1000);
                    prop_assert!(held >= hold, "held {:?} of {:?} (12)", held, hold);
                }
                (Standing::Returning { step }, Standing::Returning { step: next }) => {
                    prop_assert_eq!(next, step + 1, "step by step (13)");
                    prop_assert!(held >= secs(30), "each step is held (13)");
                }
                _ => {}
            }
        }
        for health in &self.router.health {
            let longest = health.cooling_until(self.now).map_or(Duration::ZERO, |until| until.since(self.now));
            prop_assert!(longest <= secs(60), "nobody cools for longer (19)");
        }
        Ok(())
    }
}

fn is_out(machine: &Machine) -> bool {
    matches!(machine.phase, Phase::Out { .. })
}

proptest! {
    #[test]
    fn what_must_hold_holds_after_every_event(events in proptest::collection::vec(event(), 1..250)) {
        let mut world = World::new();
        world.due()?;
        for event in &events {
            world.happen(event)?;
        }
        for (_, ticket) in std::mem::take(&mut world.open) {
            world.router.abandon(ticket, world.now);
        }
        prop_assert_eq!(world.router.in_flight, 0);
        prop_assert_eq!(world.router.hedges, 0);
    }
}
