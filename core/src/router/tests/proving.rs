//! Test calls: when they are due, what they cost and what their results mean.
use super::*;

/// A router without randomness in its first test calls: they are all due at once.
pub(super) fn prompt(targets: Vec<Target>) -> Router {
    let mut router = super::router(targets);
    router.health.iter_mut().for_each(|health| health.tests.next = at(0));
    router.resources.iter_mut().for_each(|resource| resource.next_cheap = at(0));
    router
}

/// Two models on each of two resources: swc/gpt-4o, swc/mini, weu/gpt-4o, weu/mini.
pub(super) fn estate() -> Vec<Target> {
    let of = |id: u16, place: u16, model: &str| Target { id: TargetId(id), model: model.into(), ..target(place) };
    vec![of(0, 0, "gpt-4o"), of(1, 0, "mini"), of(2, 1, "gpt-4o"), of(3, 1, "mini")]
}

pub(super) fn passed() -> TestResult {
    TestResult::Passed { first_content: Duration::from_millis(500), tokens: 20 }
}

pub(super) fn fails(kind: FailureKind) -> TestResult {
    TestResult::Failed(Failure::without_response(kind))
}

pub(super) const REFUSED: FailureKind = FailureKind::Connect(ConnectFailure::Refused);

/// Deep calls that are due.
pub(super) fn deep(router: &mut Router, now: Moment) -> Vec<TestOrder> {
    router.due(now).tests.into_iter().filter(|order| order.kind == TestKind::Deep).collect()
}

pub(super) fn places(orders: &[TestOrder]) -> Vec<u16> {
    orders.iter().map(|order| order.target.target().id.0).collect()
}

pub(super) fn serve_live(router: &mut Router, id: usize, now: Moment) {
    let route = Arc::clone(&router.routes().all()[0]);
    let region = REGIONS[id].to_owned();
    let options = RoutingOptions { allowed_regions: vec![region], ..RoutingOptions::default() };
    let terms = CallTerms { route, options: Arc::new(options), ..terms(router, now + secs(30)) };
    let mut call = Call::new(terms, now);
    let Decision::Try { ticket, .. } = router.choose(&mut call, now) else { panic!() };
    router.observe(&mut call, ticket, &served(), now);
}

/// Runs a whole validation of the target, each test call answered as `answer` says of its target.
pub(super) fn validate(router: &mut Router, id: usize, from: u64, answer: impl Fn(u16) -> TestResult) {
    router.signal(id, &Signal::Ordered("a look".into()), at(from));
    for second in from..from + 4 {
        for order in deep(router, at(second)) {
            let result = answer(order.target.target().id.0);
            router.tested(&order, &result, at(second));
        }
    }
}

pub(super) fn standings(router: &Router) -> Vec<&'static str> {
    router.health.iter().map(|health| health.machine.standing().as_str()).collect()
}

#[test]
fn the_first_test_calls_come_within_two_seconds_and_are_spread() {
    let router = plain(4);
    let next: Vec<_> = router.health.iter().map(|health| health.tests.next).collect();
    assert!(next.iter().all(|next| *next < at(2)), "{next:?}");
    assert!(next.windows(2).all(|two| two[0] != two[1]), "{next:?}");
    assert!(router.resources.iter().all(|resource| resource.next_cheap < at(2)));
}

#[test]
fn an_idle_target_is_tested_every_minute_give_or_take_a_fifth() {
    let mut router = prompt(vec![target(0)]);
    let (mut now, mut gaps) = (at(0), vec![]);
    for _ in 0..40 {
        let [order] = &deep(&mut router, now)[..] else { panic!("one is due") };
        assert_eq!((order.purpose, order.fresh_connection), (TestPurpose::Background, false));
        router.tested(order, &passed(), now);
        let next = router.health[0].tests.next;
        gaps.push(next.since(now).as_secs_f64());
        assert!(deep(&mut router, next - Duration::from_millis(1)).is_empty());
        // A prober that sleeps for a minute would look frozen.
        router.last_due = None;
        now = next;
    }
    assert!(gaps.iter().all(|gap| (48.0..=72.0).contains(gap)), "{gaps:?}");
    assert!(gaps.iter().any(|gap| *gap < 54.0) && gaps.iter().any(|gap| *gap > 66.0), "{gaps:?}");
}

#[test]
fn live_traffic_proves_a_target_at_no_cost() {
    let mut router = prompt(vec![target(0), target(1)]);
    serve_live(&mut router, 0, at(0));
    assert_eq!(places(&deep(&mut router, at(0))), [1], "only the idle one is asked");
    assert_eq!(router.health[0].tests.next, at(60), "again a minute after its last live call");
    for second in [20, 40] {
        router.last_due = None;
        serve_live(&mut router, 0, at(second));
    }
    assert!(places(&deep(&mut router, at(60))).iter().all(|id| *id != 0));
    assert_eq!(router.health[0].tests.next, at(100));
}

#[test]
fn a_throttled_target_is_not_asked_until_it_has_cooled() {
    let mut router = prompt(vec![target(0)]);
    router.health[0].throttled(secs(30), &Thresholds::default(), at(0));
    assert!(deep(&mut router, at(0)).is_empty());
    assert_eq!(router.health[0].tests.next, at(30));
}

#[test]
fn one_test_call_at_a_time_until_its_place_is_given_up() {
    let mut router = prompt(vec![target(0)]);
    let first = deep(&mut router, at(0));
    assert_eq!(first.len(), 1);
    router.health[0].tests.next = at(1);
    assert!(deep(&mut router, at(1)).is_empty(), "it runs");
    assert!(deep(&mut router, at(5)).is_empty());
    assert!(deep(&mut router, at(10)).is_empty());
    // The limit of 3 s, and 10 s of grace.
    let second = deep(&mut router, at(13));
    assert_eq!(second.len(), 1);
    router.tested(&first[0], &passed(), at(14));
    router.health[0].tests.next = at(14);
    assert!(deep(&mut router, at(14)).is_empty(), "a late result does not free the place of its successor");
    router.tested(&second[0], &passed(), at(15));
    router.health[0].tests.next = at(15);
    assert_eq!(deep(&mut router, at(15)).len(), 1);
}

#[test]
fn another_model_version_is_an_alarm_until_the_right_one_answers() {
    let mut router = prompt(vec![target(0), target(1)]);
    let alarmed = |router: &Router| {
        let alarms = router.snapshot(at(1)).alarms;
        let of = |id: usize| Alarm::VersionMismatch { target: Arc::clone(&router.routes().targets()[id]) };
        (alarms.contains(&of(0)), alarms.contains(&of(1)))
    };
    let before = router.revision();
    router.version_seen(TargetId(0), false);
    assert_eq!((alarmed(&router), router.revision()), ((false, false), before));
    router.version_seen(TargetId(0), true);
    router.version_seen(TargetId(0), true);
    assert_eq!((alarmed(&router), router.revision()), ((true, false), before + 1), "told once");
    router.version_seen(TargetId(0), false);
    assert_eq!(alarmed(&router), (false, false));
    let mismatch = FailureKind::BadResponse(BadResponse::VersionMismatch);
    let order = deep(&mut router, at(1)).into_iter().find(|order| order.target.target().id.0 == 1).unwrap();
    router.tested(&order, &fails(mismatch), at(1));
    assert_eq!(alarmed(&router), (false, true), "a refusal of the answer tells it too");
}

#[test]
fn the_days_tokens_bound_background_calls_and_nothing_else() {
    let testing = Testing { tokens_per_day: 100, ..Testing::default() };
    let numbers = Thresholds { testing, ..Thresholds::default() };
    let mut router = Router::new(Routes::new(vec![target(0), target(1)]).unwrap(), numbers, 7, at(0));
    let mut made = 0;
    for _ in 0..10 {
        router.health[0].tests.next = at(0);
        for order in deep(&mut router, at(0)).iter().filter(|order| order.target.target().id.0 == 0) {
            router.tested(order, &passed(), at(0));
            made += 1;
        }
    }
    // 20 tokens each; the fourth leaves less than the 40 that one may cost.
    assert_eq!(made, 4);
    assert_eq!(router.snapshot(at(0)).test_tokens_left, 20);
    assert!(router.snapshot(at(0)).alarms.contains(&Alarm::TestBudgetSpent));
    assert_eq!(router.health[0].tests.tokens, 80);
    validate(&mut router, 0, 1, |_| passed());
    assert_eq!(router.health[0].tests.passed, 5, "a validation is never too dear");
    let mut silent = prompt(vec![target(0)]);
    let before = silent.snapshot(at(0)).test_tokens_left;
    let [order] = &deep(&mut silent, at(0))[..] else { panic!() };
    silent.tested(order, &TestResult::Passed { first_content: secs(1), tokens: 0 }, at(0));
    assert_eq!(silent.snapshot(at(0)).test_tokens_left, before - 10, "what states no usage was not free");
    router.signal(0, &Signal::ResourceDown, at(5));
    router.health[0].tests.next = at(5);
    assert_eq!(places(&deep(&mut router, at(5))), [0], "nor is a return");
}

#[test]
fn test_calls_go_only_where_some_policy_permits() {
    let weu = Policy { regions: vec!["weu".into()], ..Policy::unrestricted() };
    let mut router = prompt(vec![target(0), target(1)]).serving_policies(vec![Arc::new(weu)]);
    let orders = router.due(at(0)).tests;
    assert!(!orders.is_empty() && orders.iter().all(|order| &*order.target.target().region == "weu"));
    router.signal(0, &Signal::Ordered("a look".into()), at(0));
    assert!(deep(&mut router, at(0)).is_empty(), "not even in a validation");
}

#[test]
fn a_validation_is_three_calls_a_second_apart_the_second_on_a_fresh_connection() {
    let mut router = prompt(vec![target(0)]);
    router.signal(0, &Signal::Ordered("a look".into()), at(0));
    let mut made = vec![];
    for tenth in 0..60u64 {
        let now = at(0) + Duration::from_millis(tenth * 100);
        made.extend(deep(&mut router, now).iter().map(|order| (tenth, order.purpose, order.fresh_connection)));
    }
    let validation = TestPurpose::Validation;
    assert_eq!(made, [(0, validation, false), (10, validation, true), (20, validation, false)]);
}

#[test]
fn a_validation_also_asks_the_siblings_and_the_standby() {
    let mut router = prompt(estate());
    router.health.iter_mut().for_each(|health| health.tests.next = at(100));
    router.signal(0, &Signal::Ordered("a look".into()), at(1));
    let told: Vec<_> =
        deep(&mut router, at(1)).iter().map(|order| (order.target.target().id.0, order.purpose)).collect();
    let comparison = TestPurpose::Comparison { of: TargetId(0) };
    assert_eq!(told, [(0, TestPurpose::Validation), (1, comparison), (2, comparison)], "the same model elsewhere");
}

#[test]
fn another_region_says_more_of_a_suspect_than_another_resource_beside_it() {
    let beside = Target { region: "swc".into(), ..target(1) };
    let mut router = prompt(vec![target(0), beside, target(2)]);
    router.health.iter_mut().for_each(|health| health.tests.next = at(100));
    router.signal(0, &Signal::Ordered("a look".into()), at(1));
    assert_eq!(places(&deep(&mut router, at(1))), [0, 2]);
}

#[test]
fn the_timer_is_set_for_whatever_comes_next() {
    let mut router = prompt(vec![target(0), target(1)]);
    router.health.iter_mut().for_each(|health| health.tests.next = at(1000));
    router.resources.iter_mut().for_each(|resource| resource.next_cheap = at(1000));
    assert_eq!(router.due(at(1)).next, Some(at(1000)));
    router.signal(0, &Signal::Ordered("a look".into()), at(1));
    let next: Vec<_> = (1..4).map(|second| router.due(at(second)).next).collect();
    assert_eq!(next, [2, 3, 7].map(|second| Some(at(second))), "three test calls, then the verdict");

    let mut thinks = prompt(vec![Target { reasoning: true, ..target(0) }]);
    thinks.signal(0, &Signal::Ordered("a look".into()), at(1));
    let Phase::Suspected { ends, .. } = thinks.health[0].machine.phase else { panic!() };
    assert_eq!(ends, at(34), "three seconds of calls, and 30 for the last one to think");

    let phase = Phase::Returning { step: 0, entered: at(10), live: 0, deep: 0, failures: 0, in_a_row: 0 };
    router.health[0].machine = Machine { phase, since: at(10), ..Machine::new(at(10), &Thresholds::default()) };
    router.health[0].tests.next = at(1000);
    let mut asked_at = |second| {
        router.last_due = None;
        router.due(at(second)).next
    };
    assert_eq!(asked_at(11), Some(at(40)), "the step's end");
    assert_eq!(asked_at(40), Some(at(70)), "and the end of its patience");
}

#[test]
fn the_youngest_proof_of_several_targets_counts() {
    let mut router = plain(3);
    let all = [0, 1, 2].map(TargetId);
    assert_eq!(router.proof_began(all), None);
    for (id, second) in [(1, 5), (0, 3)] {
        serve_live(&mut router, id, at(second));
    }
    assert_eq!((router.proof_began(all), router.proof_began([TargetId(0)])), (Some(at(5)), Some(at(3))));
}

#[test]
fn a_standby_that_was_proven_a_second_ago_is_not_asked_again_but_a_sibling_is() {
    for (proven, asked) in [(0, &[0, 1][..]), (1, &[0, 1, 2][..])] {
        let mut router = prompt(estate());
        router.health.iter_mut().for_each(|health| health.tests.next = at(100));
        router.health.iter_mut().for_each(|health| health.last_success = Some(at(10)));
        router.due(at(10));
        let now = at(11) + Duration::from_millis(proven);
        router.signal(0, &Signal::Ordered("a look".into()), now);
        assert_eq!(places(&deep(&mut router, now)), asked, "{now:?}");
    }
}

#[test]
fn a_comparison_waits_for_the_call_before_it_and_lapses_with_its_validation() {
    let mut router = prompt(estate());
    let background = deep(&mut router, at(0));
    assert_eq!(places(&background), [0, 1, 2, 3]);
    router.health.iter_mut().for_each(|health| health.tests.next = at(100));
    router.signal(0, &Signal::Ordered("a look".into()), at(1));
    assert_eq!(places(&deep(&mut router, at(1))), [0], "what began before the trouble says nothing of it");
    router.tested(&background[2], &passed(), at(2));
    assert_eq!(places(&deep(&mut router, at(2))), [0, 2]);
    let passed_here = TestOrder { epoch: router.health[0].machine.epoch, ..background[0].clone() };
    router.tested(&passed_here, &passed(), at(3));
    assert_eq!(standings(&router)[0], "serving");
    router.tested(&background[1], &passed(), at(3));
    assert_eq!(places(&deep(&mut router, at(3))), [0u16; 0], "nobody is under validation any more");
}

#[test]
fn busy_is_alive_and_a_refused_test_call_is_an_alarm() {
    for (kind, cause) in
        [(throttled(20), Cause::Throttled), (FailureKind::Rejected(Rejection::OperationNotSupported), Cause::TestVoid)]
    {
        let mut router = prompt(vec![target(0), target(1)]);
        validate(&mut router, 0, 1, |_| fails(kind.clone()));
        assert_eq!((standings(&router), router.health[0].cause.clone()), (vec!["serving"; 2], Some(cause.clone())));
        let cools = router.health[0].cooling_until(at(2)).is_some();
        let alarmed = router.snapshot(at(2)).alarms.iter().any(|alarm| alarm.as_str() == "test_refused");
        assert_eq!((cools, alarmed), (cause == Cause::Throttled, cause == Cause::TestVoid));
    }
}

#[test]
fn three_failed_background_calls_raise_suspicion_the_next_ones_coming_soon() {
    let mut router = prompt(vec![target(0)]);
    let mut now = at(0);
    for _ in 0..3 {
        assert_eq!(standings(&router), ["serving"]);
        router.last_due = None;
        let [order] = &deep(&mut router, now)[..] else { panic!() };
        router.tested(order, &fails(FailureKind::Unavailable), now);
        let soon = router.health[0].tests.next.since(now).as_secs_f64();
        assert!((8.0..=12.0).contains(&soon), "{soon}");
        now = router.health[0].tests.next;
    }
    assert_eq!(standings(&router), ["suspected"]);
    assert!(matches!(router.health[0].cause, Some(Cause::Suspected(Suspicion::Idle { failures: 3, .. }))));
}

#[test]
fn a_cheap_call_goes_to_resources_that_nothing_proves_and_only_raises_suspicion() {
    let mut router = prompt(estate());
    router.health.iter_mut().for_each(|health| health.tests.next = at(1000));
    router.health[2].last_success = Some(at(0));
    for round in 0..3u64 {
        let now = router.resources[0].next_cheap;
        router.last_due = None;
        router.health[2].last_success = Some(now);
        let orders = router.due(now).tests;
        let [order] = &orders[..] else { panic!("{orders:?}") };
        assert_eq!((order.kind, order.target.target().resource_index), (TestKind::Cheap, 0));
        let gap = router.resources[0].next_cheap.since(now).as_secs_f64();
        assert!((8.0..=12.0).contains(&gap), "{gap}");
        assert_eq!(standings(&router), ["serving"; 4], "round {round}");
        router.tested(order, &fails(FailureKind::Unavailable), now);
    }
    assert_eq!(standings(&router), ["suspected", "serving", "serving", "serving"]);
    // An idle target is put to the test, not one that has just served; that it served once does not matter.
    let (first, second) = (["suspected", "serving"], ["serving", "suspected"]);
    for (served, expected) in [(at(0), first), (at(29), first), (at(30), second), (at(40), second)] {
        let mut router = prompt(estate());
        let order = router.due(at(0)).tests.into_iter().find(|order| order.kind == TestKind::Cheap).unwrap();
        router.health[0].last_success = Some(served);
        (0..3).for_each(|_| router.tested(&order, &fails(FailureKind::Unavailable), at(40)));
        assert_eq!(standings(&router)[..2], expected, "served at {served:?}");
    }
    // An endpoint that will not list its models may serve them all the same.
    let mut router = prompt(vec![target(0)]);
    for _ in 0..5 {
        let order = router.due(router.resources[0].next_cheap).tests.into_iter().find(|it| it.kind == TestKind::Cheap);
        router.last_due = None;
        let now = router.resources[0].next_cheap;
        router.tested(&order.unwrap(), &fails(FailureKind::Forbidden), now);
    }
    assert_eq!(standings(&router), ["serving"]);
}

#[test]
fn one_cheap_call_at_a_time_until_its_place_is_given_up() {
    let mut router = prompt(vec![target(0)]);
    router.health[0].tests.next = at(1000);
    let cheap = |router: &mut Router, now| {
        router.resources[0].next_cheap = now;
        router.last_due = None;
        router.due(now).tests.into_iter().find(|order| order.kind == TestKind::Cheap)
    };
    let first = cheap(&mut router, at(0)).unwrap();
    assert_eq!((first.limit, first.place_until), (secs(3), at(6)));
    assert_eq!(cheap(&mut router, at(5)), None, "it runs");
    let second = cheap(&mut router, at(6)).unwrap();
    router.tested(&first, &passed(), at(7));
    assert_eq!(cheap(&mut router, at(7)), None, "a late result does not free the place of its successor");
    router.tested(&second, &passed(), at(8));
    router.health[0].tests.last_passed = None;
    assert!(cheap(&mut router, at(8)).is_some());
}

#[test]
fn a_test_call_passes_within_two_and_a_half_of_the_targets_own_medians() {
    let numbers = Thresholds::default();
    let reasoning = Target { reasoning: true, ..target(0) };
    for (habit, limit, limit_reasoning) in [
        (None, 3.0, 30.0),
        (Some(100), 1.0, 1.0),
        (Some(800), 2.0, 2.0),
        (Some(9000), 3.0, 22.5),
        (Some(90_000), 3.0, 30.0),
    ] {
        let mut router = plain(1);
        for _ in 0..20 {
            let Some(millis) = habit else { break };
            router.health[0].tests.passed(Duration::from_millis(millis), 20, at(0));
        }
        let tests = &router.health[0].tests;
        assert_eq!(tests.limit(&target(0), None, &numbers).as_secs_f64(), limit, "{habit:?}");
        assert_eq!(tests.limit(&reasoning, None, &numbers).as_secs_f64(), limit_reasoning, "{habit:?}");
    }
}

#[test]
fn a_standby_unproven_for_ninety_seconds_is_an_alarm_and_a_primary_is_not() {
    let router = plain(2);
    assert_eq!(router.snapshot(at(90)).alarms, []);
    let alarms = router.snapshot(at(91)).alarms;
    assert!(matches!(&alarms[..], [Alarm::Unproven { target }] if target.id == TargetId(1)), "{alarms:?}");
    let mut proven = plain(2);
    proven.health[1].tests.passed(secs(1), 20, at(60));
    assert_eq!(proven.snapshot(at(91)).alarms, []);
}

/// A success that came before the trouble, or belongs to a call that began before it, contradicts no test call.
#[test]
fn failing_test_calls_are_an_alarm_only_where_live_traffic_succeeds_since() {
    let mut router = prompt(estate());
    let alarms = |router: &Router, second| {
        let alarms = router.snapshot(at(second)).alarms;
        alarms.iter().filter(|alarm| matches!(alarm, Alarm::TestsFailing { .. })).count()
    };
    serve_live(&mut router, 0, at(39));
    let terms = CallTerms { route: Arc::clone(&router.routes().all()[0]), ..terms(&router, at(130)) };
    let mut long = Call::new(terms, at(99));
    let Decision::Try { ticket, .. } = router.choose(&mut long, at(99)) else { panic!() };
    router.health[0].tests.next = at(100);
    let order = deep(&mut router, at(100)).into_iter().find(|order| order.target.target().id == TargetId(0)).unwrap();
    router.tested(&order, &fails(REFUSED), at(100));
    assert_eq!(alarms(&router, 100), 0, "all that is known of live traffic is older");
    router.observe(&mut long, ticket, &served(), at(101));
    assert_eq!(alarms(&router, 101), 0, "that call began before");
    serve_live(&mut router, 0, at(102));
    assert_eq!(alarms(&router, 102), 1);
    assert_eq!(alarms(&router, 102 + 61), 0, "that is long ago by now");
    let view = router.snapshot(at(103)).targets.remove(0);
    assert_eq!((view.last_test, view.last_test_passed), (Some((at(100), Some("connection_refused"))), None));
    router.last_due = None;
    router.health[0].tests.next = at(170);
    let order = deep(&mut router, at(170)).into_iter().find(|order| order.target.target().id == TargetId(0)).unwrap();
    router.tested(&order, &passed(), at(170));
    assert_eq!(alarms(&router, 170), 0, "the next one passed");
    assert_eq!(router.snapshot(at(170)).targets[0].last_test, Some((at(170), None)));
}
