//! Residency over random cases: policy, caller's wishes, faults, standings, operators and clocks as chance has them, and
//! an independent account of what is permitted. `SEALANE_RESIDENCY_CASES` sets how many: 100 000 unless it says
//! otherwise, a million in `make residency`.
use super::*;

/// What may be sent where, written again from the design and not from the code: each line one sentence of it.
fn permitted(target: &Target, policy: &Policy, request: Option<&RoutingOptions>) -> bool {
    let listed = |list: &[Arc<str>], name: Option<&str>| list.is_empty() || list.iter().any(|one| Some(&**one) == name);
    let by_policy = listed(&policy.regions, Some(&target.region))
        && listed(&policy.boundaries, target.boundary.as_deref())
        && scope_of(target) <= policy.max_scope;
    // A test call carries no data, and no request narrows it.
    let Some(request) = request else { return by_policy };
    let class = request.data_class.as_deref();
    let class_fits = class.map_or(!policy.requires_data_class, |_| listed(&policy.data_classes, class));
    let asked: Vec<&str> = request.allowed_regions.iter().map(String::as_str).collect();
    by_policy
        && class_fits
        && (asked.is_empty() || asked.contains(&&*target.region))
        && (request.data_boundary.is_none() || request.data_boundary.as_deref() == target.boundary.as_deref())
        && request.max_scope.is_none_or(|widest| scope_of(target) <= widest)
}

/// The wider of the deployment's and its spillover's, from the SKUs' names alone.
fn scope_of(target: &Target) -> ProcessingScope {
    let of = |name: &str| match name {
        name if name.starts_with("DataZone") => ProcessingScope::DataZone,
        "Standard" | "ProvisionedManaged" => ProcessingScope::Regional,
        _ => ProcessingScope::Global,
    };
    let spillover = target.claims.spillover.as_deref().map_or(ProcessingScope::Regional, of);
    of(target.sku.as_str()).max(spillover)
}

/// SplitMix64 from a seed: a case is its number.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        scramble(self.0)
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    fn one_in(&mut self, count: usize) -> bool {
        self.below(count) == 0
    }

    fn pick<'a, T>(&mut self, list: &'a [T]) -> &'a T {
        &list[self.below(list.len())]
    }

    /// Each with the chance of a half.
    fn some<T: Clone>(&mut self, list: &[T]) -> Vec<T> {
        list.iter().filter(|_| self.one_in(2)).cloned().collect()
    }

    /// None of them half of the time.
    fn perhaps_some(&mut self, list: &[&str]) -> Vec<String> {
        if self.one_in(2) { vec![] } else { self.some(list).into_iter().map(str::to_owned).collect() }
    }
}

const SCOPES: [ProcessingScope; 3] = [ProcessingScope::Regional, ProcessingScope::DataZone, ProcessingScope::Global];
const BOUNDARIES: [&str; 2] = ["eu", "us"];
const CLASSES: [&str; 3] = ["public", "internal", "secret"];

fn some_target(id: u16, chance: &mut Chance) -> Target {
    let sku = *chance.pick(&Sku::ALL);
    // The test names a spillover deployment after its SKU, so that the account above can tell.
    let spillover = chance.one_in(3).then(|| *chance.pick(&Sku::ALL));
    let scope = sku.processing_scope().max(spillover.map_or(ProcessingScope::Regional, Sku::processing_scope));
    let on_mismatch = if chance.one_in(3) { OnMismatch::Quarantine } else { OnMismatch::Alarm };
    let boundary = [None, Some("eu".into()), Some("us".into())][chance.below(3)].clone();
    let claims = Claims { spillover: spillover.map(|sku| sku.as_str().into()), on_mismatch, ..Claims::default() };
    Target { sku, scope, boundary, claims, ..target(id) }
}

fn some_policy(number: usize, chance: &mut Chance) -> Policy {
    let arcs = |names: Vec<String>| names.into_iter().map(Arc::from).collect();
    Policy {
        name: format!("policy-{number}").into(),
        regions: arcs(chance.perhaps_some(&REGIONS)),
        boundaries: arcs(chance.perhaps_some(&BOUNDARIES)),
        max_scope: *chance.pick(&SCOPES),
        data_classes: arcs(chance.perhaps_some(&CLASSES)),
        requires_data_class: chance.one_in(3),
        ..Policy::unrestricted()
    }
}

fn some_request(chance: &mut Chance) -> RoutingOptions {
    RoutingOptions {
        workflow_id: chance.one_in(2).then(|| Arc::from(*chance.pick(&["run", "talk"]))),
        pinned_region: chance.one_in(3).then(|| (*chance.pick(&REGIONS)).to_owned()),
        allowed_regions: if chance.one_in(3) { chance.perhaps_some(&REGIONS) } else { vec![] },
        data_boundary: chance.one_in(4).then(|| (*chance.pick(&BOUNDARIES)).to_owned()),
        max_scope: chance.one_in(4).then(|| *chance.pick(&SCOPES)),
        data_class: chance.one_in(2).then(|| (*chance.pick(&CLASSES)).to_owned()),
        priority: if chance.one_in(4) { Priority::Bulk } else { Priority::Interactive },
        hedge: *chance.pick(&[Hedge::Configured, Hedge::Allowed, Hedge::Never]),
        ..RoutingOptions::default()
    }
}

fn some_failure(chance: &mut Chance) -> FailureKind {
    match chance.below(12) {
        0 => FailureKind::Unauthorized,
        1 => throttled(chance.below(100) as u64),
        2 => FailureKind::Connect(ConnectFailure::Refused),
        3 => FailureKind::BadResponse(BadResponse::Malformed),
        4 => FailureKind::Silence(Silence::FirstContent),
        5 if chance.one_in(8) => FailureKind::Rejected(Rejection::ContextLength),
        6 if chance.one_in(8) => FailureKind::Local { cause: "out_of_resources" },
        _ => FailureKind::ServerError,
    }
}

/// How often a case reached what it is about; a case that never gets there proves nothing.
#[derive(Debug, Default)]
struct Seen {
    attempts: u64,
    reasons: std::collections::BTreeMap<&'static str, u64>,
    at_standing: std::collections::BTreeMap<&'static str, u64>,
    test_calls: u64,
    refused: u64,
    quarantined: u64,
    reloads_in_flight: u64,
}

/// One router, and everything that happens to it.
struct Case {
    number: u64,
    chance: Chance,
    router: Router,
    policies: Vec<Arc<Policy>>,
    now: Moment,
    open: Vec<(Call, Vec<Ticket>)>,
    orders: Vec<TestOrder>,
    /// Targets that fail, for now.
    down: [bool; 4],
}

impl Case {
    fn new(number: u64) -> Self {
        let mut chance = Chance(number.wrapping_mul(0x2545_F491_4F6C_DD1D));
        let count = 1 + chance.below(4) as u16;
        let targets: Vec<Target> = (0..count).map(|id| some_target(id, &mut chance)).collect();
        let policies: Vec<_> = (0..=chance.below(2)).map(|at| Arc::new(some_policy(at, &mut chance))).collect();
        let routes = Routes::new(targets).unwrap();
        let now = at(1000);
        let router = Router::new(routes, Thresholds::default(), number, now).serving_policies(policies.clone());
        Self { number, chance, router, policies, now, open: vec![], orders: vec![], down: [false; 4] }
    }

    fn any_target(&mut self) -> TargetId {
        TargetId(self.chance.below(self.router.health.len()) as u16)
    }

    fn step(&mut self, seen: &mut Seen) {
        match self.chance.below(16) {
            0..=3 => self.begin(seen),
            4..=7 => self.end(seen),
            8 => self.protect(seen),
            9..=11 => self.pass(seen),
            12 => {
                let at = self.chance.below(4);
                self.down[at] = !self.chance.one_in(3);
            }
            13 => {
                let id = self.any_target();
                // Straight to where test calls would take minutes to bring it.
                let health = &mut self.router.health[usize::from(id.0)];
                let hold_until = self.now + secs(self.chance.below(60) as u64);
                health.machine.phase = match self.chance.below(4) {
                    0 => Phase::Serving,
                    1 => Phase::Suspected { failed: 0, ends: self.now + secs(6) },
                    2 => Phase::Out { hold_until, proofs: self.chance.below(7) as u8 },
                    _ => Phase::Returning {
                        step: self.chance.below(5) as u8,
                        entered: self.now,
                        live: 0,
                        deep: 0,
                        failures: 0,
                        in_a_row: 0,
                    },
                };
                health.machine.epoch += 1;
                self.router.revision += 1;
            }
            14 => {
                let selector = Selector { region: Some(self.chance.pick(&REGIONS).to_string()), ..Selector::default() };
                match self.chance.below(3) {
                    0 => drop(self.router.drain(&selector, self.now + secs(30), &"case".into(), self.now)),
                    1 => drop(self.router.release(&selector, &"case".into(), self.now)),
                    _ => drop(self.router.order_validation(&selector, &"case".into(), self.now)),
                }
            }
            _ if self.chance.one_in(3) => self.restart(),
            _ if self.chance.one_in(3) => self.reload(seen),
            _ => {
                let id = self.any_target();
                self.router.mismatched(id, &Mismatch::Spillover, self.now);
            }
        }
    }

    fn begin(&mut self, seen: &mut Seen) {
        let policy = Arc::clone(self.chance.pick(&self.policies));
        let options = Arc::new(some_request(&mut self.chance));
        let delivery =
            *self.chance.pick(&[Delivery::Assembled, Delivery::Streamed, Delivery::Unary, Delivery::Embedded]);
        let deadline = self.now + secs(1 + self.chance.below(60) as u64);
        let caller = Arc::from(*self.chance.pick(&["a", "b"]));
        let terms = CallTerms { caller, policy, options, delivery, ..terms(&self.router, deadline) };
        self.open.push((Call::new(terms, self.now), vec![]));
        let last = self.open.len() - 1;
        self.choose(last, seen);
    }

    /// Until it has an attempt, or gives up.
    fn choose(&mut self, at: usize, seen: &mut Seen) {
        for _ in 0..8 {
            let (call, tickets) = &mut self.open[at];
            let decision = self.router.choose(call, self.now);
            match decision {
                Decision::Try { ticket, ref target, reason, .. } => {
                    tickets.push(ticket);
                    let (target, policy) = (Arc::clone(target.target()), Arc::clone(target.policy()));
                    return self.judge(at, &target, &policy, reason, seen);
                }
                Decision::Wait { until } => self.now = until,
                Decision::GiveUp(why) => {
                    let call = &self.open[at].0;
                    let reachable = call.terms().route.targets.iter().any(|id| {
                        let target = &self.router.routes().targets()[usize::from(id.0)];
                        self.permitted(target, call.terms())
                    });
                    let refused = matches!(why, GiveUp::NotPermitted { .. });
                    let running = !self.open[at].1.is_empty();
                    // Running out of time, and a request that is itself at fault, come before the policy is asked.
                    if call.remaining(self.now) > Duration::ZERO && call.attempts() == 0 {
                        assert_eq!(refused, !reachable, "case {}: {why:?}", self.number);
                    }
                    seen.refused += u64::from(refused);
                    if !running {
                        self.open.swap_remove(at);
                    }
                    return;
                }
            }
        }
    }

    /// By the policy under which the call was admitted, and by what that has become since.
    fn permitted(&self, target: &Target, terms: &CallTerms) -> bool {
        let now = self.policies.iter().find(|policy| policy.name == terms.policy.name);
        [&terms.policy, now.unwrap()].into_iter().all(|policy| permitted(target, policy, Some(&terms.options)))
    }

    fn judge(&self, at: usize, target: &Target, policy: &str, reason: AttemptReason, seen: &mut Seen) {
        let terms = self.open[at].0.terms();
        assert!(
            self.permitted(target, terms) && *policy == *terms.policy.name,
            "case {}: {} to {target:?} under {:?}, {:?}",
            self.number,
            reason.as_str(),
            terms.policy,
            terms.options
        );
        let health = &self.router.health[usize::from(target.id.0)];
        assert!(!health.is_withdrawn(), "case {}: {} to a target that takes no calls", self.number, reason.as_str());
        seen.attempts += 1;
        *seen.reasons.entry(reason.as_str()).or_default() += 1;
        *seen.at_standing.entry(health.machine.standing().as_str()).or_default() += 1;
    }

    /// An attempt ends, and its call goes on if it failed.
    fn end(&mut self, seen: &mut Seen) {
        if self.open.is_empty() {
            return;
        }
        let at = self.chance.below(self.open.len());
        let (call, tickets) = &mut self.open[at];
        let Some(ticket) = (!tickets.is_empty()).then(|| tickets.swap_remove(0)) else {
            return self.choose(at, seen);
        };
        let fails = self.down[ticket.target_index()] || self.chance.one_in(6);
        let observation = if fails { failed(some_failure(&mut self.chance)) } else { served() };
        if self.chance.one_in(2) {
            self.router.first_content(call, ticket, self.now);
            // Content that is lost: the answer starts again.
            if fails {
                call.interrupted();
            }
        }
        self.router.observe(call, ticket, &observation, self.now);
        if fails {
            self.choose(at, seen);
        } else {
            for rest in self.open.swap_remove(at).1 {
                self.router.abandon(rest, self.now);
            }
        }
    }

    fn protect(&mut self, seen: &mut Seen) {
        for at in 0..self.open.len() {
            let (call, tickets) = &mut self.open[at];
            let [ticket] = tickets[..] else { continue };
            if let Protection::Second(Decision::Try { ticket, target, reason, .. }) =
                self.router.protect(call, ticket, self.now)
            {
                tickets.push(ticket);
                let (target, policy) = (Arc::clone(target.target()), Arc::clone(target.policy()));
                self.judge(at, &target, &policy, reason, seen);
            }
        }
    }

    /// Test calls become due and end as their targets are.
    fn pass(&mut self, seen: &mut Seen) {
        self.now = self.now + Duration::from_millis(self.chance.below(4000) as u64);
        let due = self.router.due(self.now);
        for order in &due.tests {
            let target = order.target.target();
            let by = self.policies.iter().any(|policy| permitted(target, policy, None));
            let quarantined = self.router.health[usize::from(target.id.0)].is_quarantined();
            assert!(by && !quarantined, "case {}: a test call to {target:?}", self.number);
            seen.test_calls += 1;
        }
        self.orders.extend(due.tests);
        while !self.orders.is_empty() && !self.chance.one_in(4) {
            let order = self.orders.swap_remove(0);
            let down = self.down[usize::from(order.target.target().id.0)];
            let result = if down {
                TestResult::Failed(Failure::without_response(some_failure(&mut self.chance)))
            } else {
                TestResult::Passed { first_content: Duration::from_millis(300), tokens: 20 }
            };
            self.router.tested(&order, &result, self.now);
        }
    }

    /// The same targets under other policies of the same names, while calls are in flight.
    fn reload(&mut self, seen: &mut Seen) {
        let targets = self.router.routes().targets().iter().map(|target| Target::clone(target)).collect();
        let routes = self.router.routes().succeed(targets).unwrap();
        for at in 0..self.policies.len() {
            self.policies[at] = Arc::new(some_policy(at, &mut self.chance));
        }
        self.router.reconfigure(routes, Thresholds::default(), self.policies.clone(), self.now);
        // Those that were ordered under the old ones.
        self.orders.clear();
        seen.reloads_in_flight += self.open.len() as u64;
    }

    /// Another process takes up what this one saved; its calls in flight are gone.
    fn restart(&mut self) {
        let saved = self.router.saved(self.now);
        let routes = self.router.routes().clone();
        let router = Router::new(routes, Thresholds::default(), self.number, self.now);
        self.router = router.serving_policies(self.policies.clone());
        self.router.restore(&saved, Duration::from_secs(1), self.now);
        self.open.clear();
        self.orders.clear();
    }
}

#[test]
fn no_attempt_ever_leaves_the_permitted_set() {
    let cases = std::env::var("SEALANE_RESIDENCY_CASES").ok();
    let cases: u64 = cases.map_or(100_000, |cases| cases.parse().expect("SEALANE_RESIDENCY_CASES must be a number"));
    let mut seen = Seen::default();
    for number in 0..cases {
        let mut case = Case::new(number);
        for _ in 0..24 {
            case.step(&mut seen);
        }
        seen.quarantined += case.router.health.iter().filter(|health| health.is_quarantined()).count() as u64;
    }
    #[allow(clippy::print_stdout)] // with --nocapture: what a million cases met
    {
        println!("{cases} cases: {seen:?}");
    }
    if cases < 10_000 {
        return;
    }
    for reason in ["route", "pin", "rescue", "spill", "retry", "hedge", "restart", "return"] {
        assert!(seen.reasons.contains_key(reason), "no attempt was a {reason}: {seen:?}");
    }
    for standing in ["serving", "suspected", "out", "returning"] {
        assert!(seen.at_standing.contains_key(standing), "no attempt at a target that is {standing}: {seen:?}");
    }
    assert!(seen.test_calls > cases / 10 && seen.refused > cases / 10 && seen.quarantined > cases / 100, "{seen:?}");
    assert!(seen.reloads_in_flight > cases / 10, "{seen:?}");
}

/// A check that cannot fail checks nothing: the account above disagrees with a policy that forgets one of its rules.
#[test]
fn the_account_of_what_is_permitted_is_not_the_code_again() {
    let strip = [
        |policy: &mut Policy| policy.regions.clear(),
        |policy: &mut Policy| policy.boundaries.clear(),
        |policy: &mut Policy| policy.max_scope = ProcessingScope::Global,
        |policy: &mut Policy| policy.data_classes.clear(),
        |policy: &mut Policy| policy.requires_data_class = false,
    ];
    for (at, forget) in strip.iter().enumerate() {
        let disagrees = (0..2000).any(|number| {
            let mut chance = Chance(number);
            let (target, policy) = (Arc::new(some_target(0, &mut chance)), some_policy(0, &mut chance));
            let request = some_request(&mut chance);
            let mut forgetful = policy.clone();
            forget(&mut forgetful);
            forgetful.permit(&target, &request).is_ok() != permitted(&target, &policy, Some(&request))
        });
        assert!(disagrees, "rule {at}");
    }
}
