//! An operator's word, as the core takes it.
use super::{proving::*, *};

fn region(name: &str) -> Selector {
    Selector { region: Some(name.into()), ..Selector::default() }
}

fn names(targets: &[Arc<Target>]) -> Vec<&str> {
    targets.iter().map(|target| &*target.region).collect()
}

fn failed() -> TestResult {
    TestResult::Failed(Failure::without_response(FailureKind::ServerError))
}

/// Makes every deep test call that is due within `seconds` end like this.
fn answer(router: &mut Router, result: &TestResult, seconds: std::ops::Range<u64>) {
    for second in seconds {
        for order in router.due(at(second)).tests {
            if order.kind == TestKind::Deep {
                router.tested(&order, result, at(second));
            }
        }
    }
}

#[test]
fn fields_of_a_selector_narrow_each_other() {
    let all = [target(0), target(1)];
    let selects = |selector: Selector| all.iter().map(|target| selector.selects(target)).collect::<Vec<_>>();
    let some = |name: &str| Some(name.to_owned());
    assert_eq!(selects(Selector::default()), [true, true]);
    assert_eq!(selects(Selector { region: some("swc"), ..Default::default() }), [true, false]);
    assert_eq!(selects(Selector { resource: some("weu"), ..Default::default() }), [false, true]);
    assert_eq!(selects(Selector { model: some("gpt-4o"), ..Default::default() }), [true, true]);
    let nobody = Selector { region: some("swc"), resource: some("weu"), model: some("gpt-4o") };
    assert_eq!(selects(nobody), [false, false]);
}

#[test]
fn a_drain_ends_by_itself_or_by_release() {
    let mut router = plain(2);
    let revision = router.revision();
    assert_eq!(names(&router.drain(&region("swc"), at(60), &"repairs".into(), at(0))), ["swc"]);
    assert!(router.revision() > revision, "those who watch are told");
    let drained = Overlay::Drained { since: at(0), until: at(60), reason: "repairs".into() };
    let view = router.snapshot(at(1)).targets.remove(0);
    assert_eq!((view.overlay, view.share, view.next), (Some(drained), 0.0, Some((NextStep::DrainEnds, at(60)))));
    assert_eq!(&*router.snapshot(at(1)).models[0].active.as_ref().unwrap().region, "weu");
    router.due(at(59));
    assert!(router.snapshot(at(59)).targets[0].overlay.is_some());
    router.due(at(60));
    assert_eq!(router.snapshot(at(60)).targets[0].overlay, None);

    router.drain(&region("swc"), at(600), &"more repairs".into(), at(60));
    router.drain(&region("swc"), at(700), &"still more".into(), at(61));
    let Some(Overlay::Drained { since, .. }) = router.snapshot(at(61)).targets[0].overlay else { panic!() };
    assert_eq!(since, at(60), "an order that follows another without a gap");
    assert_eq!(
        names(&router.release(&Selector::default(), &"repaired".into(), at(62))),
        ["swc"],
        "only what was drained"
    );
    assert_eq!(router.snapshot(at(61)).targets[0].overlay, None);
    let revision = router.revision();
    assert!(router.release(&region("mars"), &"repaired".into(), at(62)).is_empty());
    assert_eq!(router.revision(), revision, "nothing happened");
    let told = router.snapshot(at(63)).transitions;
    let told: Vec<_> = told.iter().map(|one| (one.at, one.from, one.to, one.cause.to_string())).collect();
    let serving = Standing::Serving;
    let expected = [
        (at(62), "an operator released it: repaired"),
        (at(61), "an operator drained it: still more"),
        (at(60), "an operator drained it: more repairs"),
        (at(60), "the drain ended by itself; it was: repairs"),
        (at(0), "an operator drained it: repairs"),
    ];
    assert_eq!(told, expected.map(|(at, cause)| (at, serving, serving, cause.to_owned())), "newest first");
}

/// Callers are told that people did this, and for how long; so are those on call.
#[test]
fn a_model_whose_every_target_is_drained_is_no_outage() {
    let mut router = plain(2);
    let first = router.drain(&region("swc"), at(60), &"repairs".into(), at(0));
    assert_eq!(router.without_good_target(&first), [], "one target is left");
    let second = router.drain(&region("weu"), at(90), &"more repairs".into(), at(0));
    assert_eq!(router.without_good_target(&second), ["gpt-4o".into()]);
    let alarms = router.snapshot(at(10)).alarms;
    assert_eq!(alarms, [Alarm::NoGoodTarget { model: "gpt-4o".into(), drained_until: Some(at(60)) }]);
    let mut call = Call::new(terms(&router, at(40)), at(10));
    let Decision::GiveUp(GiveUp::Drained { targets, ends_in }) = router.choose(&mut call, at(10)) else { panic!() };
    assert_eq!((names(&targets), ends_in), (vec!["swc", "weu"], secs(50)));

    let mut router = plain(2);
    router.drain(&region("swc"), at(60), &"repairs".into(), at(0));
    router.signal(1, &Signal::ResourceDown, at(1));
    let alarms = router.snapshot(at(10)).alarms;
    assert_eq!(alarms, [Alarm::NoGoodTarget { model: "gpt-4o".into(), drained_until: None }], "one is out");
}

#[test]
fn a_validation_reports_what_its_test_calls_said() {
    let mut router = plain(2);
    let selector = region("swc");
    for (result, standing, calls, passed, failure) in [
        (failed(), Standing::Out { level: 1 }, 3, 0, Some("server_error")),
        (TestResult::Passed { first_content: secs(1), tokens: 20 }, Standing::Out { level: 1 }, 1, 1, None),
    ] {
        let start = router.snapshot(at(0)).transitions.first().map_or(100, |last| last.at.since_origin().as_secs() + 1);
        let before = router.report(&selector, at(start)).remove(0);
        assert_eq!(names(&router.order_validation(&selector, &"a look".into(), at(start))), ["swc"]);
        assert!(router.report(&selector, at(start))[0].busy, "a verdict is due");
        answer(&mut router, &result, start..start + 4);
        let after = router.report(&selector, at(start + 4)).remove(0);
        assert_eq!((after.calls - before.calls, after.passed - before.passed), (calls, passed));
        assert_eq!((after.last_failure, after.busy), (failure, false));
        assert_eq!(router.snapshot(at(start + 4)).targets[0].standing, standing);
    }
}

#[test]
fn a_target_is_busy_while_a_verdict_is_open_or_a_test_call_runs_or_is_due() {
    for (what, suspected, runs, due, busy) in [
        ("at rest", false, false, false, false),
        ("a verdict is open", true, false, false, true),
        ("a test call runs", false, true, false, true),
        ("one is due", false, false, true, true),
    ] {
        let mut router = plain(1);
        if suspected {
            router.signal(0, &Signal::Ordered("a look".into()), at(10));
        }
        let tests = &mut router.health[0].tests;
        if runs {
            tests.begin(secs(3), at(10));
        }
        tests.next = at(if due { 10 } else { 100 });
        assert_eq!(router.report(&Selector::default(), at(10))[0].busy, busy, "{what}");
    }
}

/// A test call that nobody may make would never pass, and take a target out for it.
#[test]
fn a_target_that_no_policy_permits_is_not_put_to_the_test() {
    let policy = Policy { regions: vec!["weu".into()], ..Policy::unrestricted() };
    let mut router = plain(2).serving_policies(vec![Arc::new(policy)]);
    router.order_validation(&region("swc"), &"a look".into(), at(100));
    assert_eq!(router.snapshot(at(100)).targets[0].standing, Standing::Serving);
    router.order_validation(&region("weu"), &"a look".into(), at(100));
    assert_eq!(router.snapshot(at(100)).targets[1].standing, Standing::Suspected);
}

#[test]
fn an_operator_drains_releases_and_validates_what_is_selected() {
    let mut router = prompt(estate());
    let swc = Selector { resource: Some("swc".into()), ..Selector::default() };
    let mini = Selector { model: Some("mini".into()), ..Selector::default() };
    let names = |targets: Vec<Arc<Target>>| targets.iter().map(|target| target.id.0).collect::<Vec<_>>();
    let revision = router.revision();
    assert_eq!(names(router.drain(&swc, at(60), &"maintenance".into(), at(0))), [0, 1]);
    assert!(router.revision() > revision);
    assert_eq!(router.snapshot(at(0)).targets[0].next, Some((NextStep::DrainEnds, at(60))));
    assert_eq!(names(router.release(&mini, &"done".into(), at(0))), [1], "only what was drained is released");
    router.due(at(59));
    assert!(router.health[0].drained.is_some());
    router.last_due = None;
    router.due(at(60));
    assert!(router.health[0].drained.is_none());
    let nothing = Selector { region: Some("nowhere".into()), ..Selector::default() };
    let revision = router.revision();
    assert_eq!(names(router.drain(&nothing, at(60), &"maintenance".into(), at(60))), [0u16; 0]);
    assert_eq!(router.revision(), revision);
    router.signal(2, &Signal::ResourceDown, at(61));
    assert_eq!(names(router.order_validation(&Selector::default(), &"a look".into(), at(61))), [0, 1, 2, 3]);
    assert_eq!(standings(&router), ["suspected", "suspected", "out", "suspected"]);
    assert_eq!(router.health[2].tests.next, at(61), "one that is out is asked at once");
    assert!(router.report(&Selector::default(), at(61)).iter().all(|report| report.busy));
    for order in deep(&mut router, at(61)) {
        router.tested(&order, &passed(), at(61));
    }
    let report = router.report(&mini, at(61));
    assert_eq!(
        report.iter().map(|it| (it.target.id.0, it.passed, it.busy)).collect::<Vec<_>>(),
        [(1, report[0].passed, false), (3, report[1].passed, false)]
    );
    assert!(report.iter().all(|it| it.passed >= 1 && it.calls >= it.passed));
}
