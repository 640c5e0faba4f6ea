use super::*;

fn limits_of(delivery: Delivery, reasoning: bool, tokens: u64, targets: u16) -> (u64, u64, u64) {
    let mut router = router((0..targets).map(|id| Target { reasoning, ..target(id) }).collect());
    let terms = CallTerms { delivery, prompt_tokens: tokens, ..terms(&router, at(1000)) };
    let Decision::Try { limits, .. } = router.choose(&mut Call::new(terms, at(0)), at(0)) else { panic!() };
    (limits.first_content.as_secs(), limits.stall.as_secs(), limits.total.as_secs())
}

#[test]
fn limits_by_delivery_model_prompt_and_rescuers() {
    use Delivery::*;
    // A deadline of 1000 s: an attempt's share is 600 s while a rescuer is left.
    for (delivery, reasoning, tokens, targets, first_content, stall, total) in [
        (Assembled, false, 0, 2, 10, 10, 1000),
        (Assembled, false, 0, 1, 10, 10, 1000),
        (Assembled, false, 8_000, 2, 12, 10, 1000),
        (Streamed, false, 0, 2, 10, 10, 1000),
        (Streamed, true, 8_000, 2, 300, 60, 1000),
        (Unary, false, 8_000, 2, 120, 10, 600),
        (Unary, true, 0, 2, 300, 60, 600),
        (Embedded, true, 4_000, 2, 11, 60, 600),
        (Assembled, false, u64::MAX, 2, 600, 10, 1000),
    ] {
        assert_eq!(
            limits_of(delivery, reasoning, tokens, targets),
            (first_content, stall, total),
            "{delivery:?} reasoning={reasoning} tokens={tokens} targets={targets}"
        );
    }
}

#[test]
fn cooling_is_clamped_and_useless_hints_grow() {
    let mut router = plain(1);
    let mut cooled = vec![];
    let mut now = at(0);
    for hint in [0, 0, 0, 0, 0, 0, 0, 86_400, 7] {
        let mut call = Call::new(terms(&router, now + secs(30)), now);
        let Decision::Try { ticket, .. } = router.choose(&mut call, now) else { panic!("still cooling") };
        router.observe(&mut call, ticket, &failed(throttled(hint)), now);
        let Some(Overlay::Cooling { until }) = router.snapshot(now).targets[0].overlay else { panic!("not cooling") };
        cooled.push(until.since(now).as_secs());
        now = until;
        let revision = router.revision();
        router.due(now);
        assert!(router.revision() > revision, "the end of a cooling is news");
        assert_eq!(router.snapshot(now).targets[0].overlay, None);
    }
    assert_eq!(cooled, [1, 2, 4, 8, 16, 32, 60, 60, 7]);
}

#[test]
fn a_pinned_region_goes_first_and_the_rest_keep_their_order() {
    let mut router = plain(3);
    let options = Arc::new(RoutingOptions { pinned_region: Some("frc".into()), ..RoutingOptions::default() });
    let mut call = Call::new(CallTerms { options, ..terms(&router, at(30)) }, at(0));
    let mut order = vec![];
    while let Decision::Try { ticket, target, reason, .. } = router.choose(&mut call, at(0)) {
        order.push(format!("{} {}", target.target().region, reason.as_str()));
        router.observe(&mut call, ticket, &failed(FailureKind::ServerError), at(0));
    }
    assert_eq!(order, ["frc pin", "swc rescue", "weu rescue"]);
}

#[test]
fn a_refusal_by_policy_names_every_target_and_why() {
    use crate::policy::Refusal;
    let mut router = plain(4);
    let policy = Arc::new(Policy { regions: vec!["eus".into()], ..Policy::unrestricted() });
    let options = Arc::new(RoutingOptions { data_boundary: Some("eu".into()), ..RoutingOptions::default() });
    let mut call = Call::new(CallTerms { policy, options, ..terms(&router, at(30)) }, at(0));
    let Decision::GiveUp(GiveUp::NotPermitted { refusals, .. }) = router.choose(&mut call, at(0)) else { panic!() };
    let told: Vec<_> = refusals.iter().map(|verdict| (&*verdict.target.region, verdict.refusal)).collect();
    let region = Refusal::PolicyRegion;
    assert_eq!(told, [("swc", region), ("weu", region), ("frc", region), ("eus", Refusal::RequestBoundary)]);
}

#[test]
fn a_refusal_counts_whichever_attempt_it_ended() {
    let mut router = plain(3);
    let mut call = Call::new(terms(&router, at(30)), at(0));
    let Decision::Try { ticket: first, .. } = router.choose(&mut call, at(0)) else { panic!() };
    let Decision::Try { ticket: second, .. } = router.choose(&mut call, at(0)) else { panic!() };
    router.observe(&mut call, first, &failed(FailureKind::Rejected(Rejection::TooLarge)), at(1));
    router.observe(&mut call, second, &Observation::Cancelled, at(1));
    assert_eq!(router.choose(&mut call, at(1)), Decision::GiveUp(GiveUp::Rejected(Rejection::TooLarge)));
}

#[test]
fn a_snapshot_counts_what_happened_and_shows_who_is_next() {
    let mut router = plain(2);
    let mut call = Call::new(terms(&router, at(30)), at(0));
    let Decision::Try { ticket, .. } = router.choose(&mut call, at(0)) else { panic!() };
    assert_eq!(router.snapshot(at(0)).targets[0].in_flight, 1);
    router.observe(&mut call, ticket, &failed(FailureKind::ServerError), at(1));
    let Decision::Try { ticket, .. } = router.choose(&mut call, at(1)) else { panic!() };
    router.observe(&mut call, ticket, &served(), at(2));
    let seen = router.snapshot(at(2));
    let [swc, weu] = &seen.targets[..] else { panic!() };
    assert_eq!((swc.priority, swc.in_flight, swc.served, swc.failed, swc.recent), (1, 0, 0, 1, (0, 1)));
    assert_eq!(swc.last_failure, Some((at(1), FailureKind::ServerError, None)));
    assert_eq!((weu.priority, weu.served, weu.failed, weu.recent), (2, 1, 0, (1, 0)));
    assert_eq!((weu.last_success, weu.latency), (Some(at(2)), Some((secs(1), secs(1)))));
    assert_eq!(&*seen.models[0].active.as_ref().unwrap().region, "swc");
    assert_eq!(seen.models[0].ready_standbys, 1);
    assert_eq!(router.snapshot(at(70)).targets[1].recent, (0, 0), "a minute later");
}

#[test]
fn a_snapshot_says_what_comes_next_and_when() {
    use NextStep::*;
    let returning =
        |step, failures| Phase::Returning { step, entered: at(90), live: 0, deep: 0, failures, in_a_row: 0 };
    for (phase, next) in [
        (Phase::Serving, None),
        (Phase::Suspected { failed: 1, ends: at(103) }, Some((VerdictDue { failed: 1, calls: 3 }, at(103)))),
        (Phase::Out { hold_until: at(101), proofs: 2 }, Some((HoldEnds { proofs: 2, needed: 6 }, at(101)))),
        (Phase::Out { hold_until: at(100), proofs: 2 }, Some((ProofsMissing { proofs: 2, needed: 6 }, at(107)))),
        (returning(0, 0), Some((StepEnds { next_percent: 5 }, at(120)))),
        (returning(2, 0), Some((StepEnds { next_percent: 50 }, at(120)))),
        (returning(2, 1), Some((StepEnds { next_percent: 50 }, at(150)))),
        (returning(4, 0), Some((StepEnds { next_percent: 100 }, at(120)))),
    ] {
        let mut router = plain(1);
        router.health[0].machine.phase = phase;
        router.health[0].tests.next = at(107);
        assert_eq!(router.snapshot(at(100)).targets[0].next, next, "{phase:?}");
    }
    let mut router = plain(1);
    router.health[0].throttled(secs(9), &Thresholds::default(), at(100));
    assert_eq!(router.snapshot(at(108)).targets[0].next, Some((Cooled, at(109))));
    assert_eq!(router.snapshot(at(109)).targets[0].next, None);
}

#[test]
fn the_active_target_is_the_first_that_takes_most_new_work() {
    type Change = fn(&mut Router);
    fn returning(router: &mut Router, step: u8) {
        router.health[0].machine.phase =
            Phase::Returning { step, entered: at(0), live: 0, deep: 0, failures: 0, in_a_row: 0 };
    }
    fn out(router: &mut Router, index: usize) {
        router.signal(index, &Signal::ResourceDown, at(0));
    }
    let rows: [(&str, Change, Option<&str>, u32); 8] = [
        ("both serve", |_| {}, Some("swc"), 1),
        (
            "the first one cools",
            |it| {
                it.health[0].throttled(secs(9), &Thresholds::default(), at(0));
            },
            Some("weu"),
            0,
        ),
        ("it takes a fifth", |it| returning(it, 2), Some("weu"), 1),
        ("it takes half", |it| returning(it, 3), Some("swc"), 1),
        (
            "nobody takes most",
            |it| {
                returning(it, 2);
                out(it, 1);
            },
            Some("swc"),
            0,
        ),
        ("the standby is out", |it| out(it, 1), Some("swc"), 0),
        ("the standby refuses our key", |it| it.health[1].misconfigured = Some(at(0)), Some("swc"), 0),
        (
            "both are out",
            |it| {
                out(it, 0);
                out(it, 1);
            },
            None,
            0,
        ),
    ];
    for (what, change, active, ready) in rows {
        let mut router = plain(2);
        change(&mut router);
        let model = router.snapshot(at(1)).models.remove(0);
        let told = model.active.as_ref().map(|target| &*target.region);
        assert_eq!((told, model.ready_standbys), (active, ready), "{what}");
    }
}

#[test]
fn the_days_tokens_are_spent_when_they_pay_for_no_other_test_call() {
    for (left, spent) in [(39, true), (40, false)] {
        let testing = Testing { tokens_per_day: left, ..Testing::default() };
        let numbers = Thresholds { testing, ..Thresholds::default() };
        let router = Router::new(Routes::new(vec![target(0)]).unwrap(), numbers, 7, at(0));
        assert_eq!(router.snapshot(at(0)).alarms.contains(&Alarm::TestBudgetSpent), spent, "{left} left");
    }
}

#[test]
fn what_counts_as_silent_and_as_slow_follows_habit_and_silence_the_length_of_the_prompt() {
    let numbers = Thresholds::default();
    let reasoning = Target { reasoning: true, ..target(0) };
    // In milliseconds; five and three medians, known to a tenth, or the floors of 3 s and 2.5 s.
    for (habit, tokens, silent, silent_reasoning, slow) in [
        (None, 0, Some(3000), None, None),
        (None, 8000, Some(9000), None, None),
        (Some(400), 0, Some(3000), Some(3000), Some(2500)),
        (Some(400), 4000, Some(6000), Some(6000), Some(2500)),
        (Some(2000), 0, Some(10_000), Some(10_000), Some(6000)),
        (Some(2000), 2000, Some(15_000), Some(15_000), Some(6000)),
    ] {
        let mut router = plain(1);
        let health = &mut router.health[0];
        (0..20).for_each(|_| habit.into_iter().for_each(|ms| health.baseline.learn(Duration::from_millis(ms), at(0))));
        let near = |limit: Option<Duration>, expected: Option<u64>| match (limit, expected) {
            (Some(limit), Some(expected)) => (limit.as_secs_f64() * 1000.0 / expected as f64 - 1.0).abs() < 0.1,
            (limit, expected) => limit.is_none() && expected.is_none(),
        };
        let limit = |target: &Target| health.silence_limit(target, tokens, &numbers);
        let limits = (limit(&target(0)), limit(&reasoning), health.slow_limit(&numbers));
        let right = near(limits.0, silent) && near(limits.1, silent_reasoning) && near(limits.2, slow);
        assert!(right, "{habit:?} ms, {tokens} tokens: {limits:?}");
    }
}

#[test]
fn first_content_is_slow_beyond_its_limit_as_if_the_prompt_were_short() {
    for (millis, tokens, slow) in [(2500, 0, false), (2501, 0, true), (5000, 4000, false), (5002, 4000, true)] {
        let mut router = plain(1);
        let health = &mut router.health[0];
        (0..20).for_each(|_| health.baseline.learn(Duration::from_millis(400), at(0)));
        let told = health.first_content(Duration::from_millis(millis), tokens, &Thresholds::default(), at(1));
        assert_eq!(told, slow, "{millis} ms with {tokens} tokens");
    }
}

#[test]
fn traffic_is_grey_where_three_in_ten_of_twenty_are_served_elsewhere() {
    use crate::router::standing::Traffic;
    for (failed, attempts, traffic) in [
        (0, 0, Traffic::TooLittle),
        (19, 19, Traffic::TooLittle),
        (5, 20, Traffic::Sound),
        (6, 20, Traffic::Grey { failed: 6, attempts: 20 }),
        (29, 100, Traffic::Sound),
    ] {
        let mut router = plain(1);
        let health = &mut router.health[0];
        (0..attempts).for_each(|attempt| health.elsewhere.count(at(1), attempt < failed));
        assert_eq!(health.traffic(&Thresholds::default(), at(1)), traffic, "{failed} of {attempts}");
    }
}

#[test]
fn a_target_that_begins_to_cool_is_news_and_one_that_cools_for_longer_is_not() {
    let mut router = plain(1);
    let health = &mut router.health[0];
    for (second, hint, news, until) in [(0, 9, true, 9), (1, 20, false, 21), (2, 3, false, 21), (21, 5, true, 26)] {
        assert_eq!(health.throttled(secs(hint), &Thresholds::default(), at(second)), news, "at {second} s");
        assert_eq!(health.cooling_until(at(second)), Some(at(until)), "at {second} s");
        assert_eq!(health.cooling_until(at(until)), None, "at {until} s it takes calls again");
    }
    let ended = [25, 26, 27].map(|second| health.expire_cooling(at(second)));
    assert_eq!(ended, [false, true, false], "that it is over is news once");
}

#[test]
fn the_next_look_comes_when_the_first_of_cooling_and_drain_ends() {
    for (cools, drained, next) in [
        (None, None, None),
        (Some(9), None, Some(9)),
        (None, Some(5), Some(5)),
        (Some(9), Some(5), Some(5)),
        (Some(3), Some(5), Some(3)),
    ] {
        let mut router = plain(1);
        if let Some(span) = cools {
            router.health[0].throttled(secs(span), &Thresholds::default(), at(0));
        }
        if let Some(until) = drained {
            router.drain(&Selector::default(), at(until), &"repairs".into(), at(0));
        }
        assert_eq!(router.health[0].next_expiry(), next.map(at), "cools {cools:?} s, drained {drained:?} s");
    }
}

#[test]
fn a_test_calls_limit_follows_the_last_sixteen_that_passed() {
    for (passed, limit) in [
        (&[][..], 3000),
        (&[(1, 1000), (1, 600), (1, 500)], 1500),
        (&[(16, 1000), (8, 500)], 2500),
        (&[(16, 1000), (9, 500)], 1250),
        (&[(17, 1000), (8, 500), (8, 800)], 2000),
    ] {
        let mut router = plain(1);
        let tests = &mut router.health[0].tests;
        for (calls, millis) in passed {
            (0..*calls).for_each(|_| tests.passed(Duration::from_millis(*millis), 20, at(0)));
        }
        let told = tests.limit(&target(0), None, &Thresholds::default());
        assert_eq!(told, Duration::from_millis(limit), "two and a half medians of {passed:?}");
    }
}

/// The pause before the first retry of a sole target, for a router with this seed.
fn pause(seed: u64) -> Duration {
    let routes = Routes::new(vec![target(0)]).unwrap();
    let mut router = Router::new(routes, Thresholds::default(), seed, at(0));
    let mut call = Call::new(terms(&router, at(30)), at(0));
    let Decision::Try { ticket, .. } = router.choose(&mut call, at(0)) else { panic!() };
    router.observe(&mut call, ticket, &failed(FailureKind::Reset), at(0));
    let Decision::Wait { until } = router.choose(&mut call, at(0)) else { panic!() };
    until.since(at(0))
}

#[test]
fn pauses_are_jittered_by_the_seed_alone() {
    let pauses: Vec<_> = (0..50).map(pause).collect();
    assert!(pauses.iter().all(|pause| (100..=200).contains(&pause.as_millis())), "{pauses:?}");
    assert!(pauses.windows(2).any(|two| two[0] != two[1]));
    assert_eq!(pause(3), pause(3));
}

#[test]
fn nobody_is_made_to_pause_who_has_no_time_left_to_try_again() {
    for (left, pauses) in [(100, false), (199, false), (401, true)] {
        let mut router = plain(1);
        let deadline = at(0) + Duration::from_millis(left);
        let mut call = Call::new(terms(&router, deadline), at(0));
        let Decision::Try { ticket, .. } = router.choose(&mut call, at(0)) else { panic!() };
        router.observe(&mut call, ticket, &failed(FailureKind::Reset), at(0));
        let next = router.choose(&mut call, at(0));
        assert_eq!(matches!(next, Decision::Wait { .. }), pauses, "{left} ms: {next:?}");
    }
}

#[test]
fn every_overlay_has_its_word() {
    let (since, until) = (at(0), at(1));
    let drift = Drift::Direction { cosine: 0.5 };
    let words = [
        Overlay::Cooling { until },
        Overlay::Drained { since, until, reason: "r".into() },
        Overlay::Drifted { since, drift },
        Overlay::Misconfigured { since },
        Overlay::Quarantined { since },
    ]
    .map(|overlay| overlay.as_str());
    assert_eq!(words, Overlay::WORDS);
}

#[test]
fn an_outage_spends_the_retry_budget_and_no_more() {
    let mut router = plain(1);
    let retries = (0..200).filter(|_| {
        let mut call = Call::new(terms(&router, at(30)), at(0));
        let Decision::Try { ticket, .. } = router.choose(&mut call, at(0)) else { panic!() };
        router.observe(&mut call, ticket, &failed(FailureKind::Reset), at(0));
        matches!(router.choose(&mut call, at(0)), Decision::Wait { .. })
    });
    // Ten from the opening balance. The first call's 10 % overflow the full bucket; the other 199 earn 19.
    assert_eq!(retries.count(), 29);
}

#[test]
fn thresholds_that_make_no_sense_are_named() {
    let sound = Thresholds::default;
    assert!(sound().check().is_ok());
    for (field, unsound) in [
        ("stall", Thresholds { stall: Duration::ZERO, ..sound() }),
        ("cooling", Thresholds { cooling: (secs(2), secs(1)), ..sound() }),
        ("attempt_share_percent", Thresholds { attempt_share_percent: 91, ..sound() }),
        ("attempt_share_percent", Thresholds { attempt_share_percent: 9, ..sound() }),
        ("retry_budget_percent", Thresholds { retry_budget_percent: 101, ..sound() }),
        ("retries", Thresholds { retries: 6, ..sound() }),
    ] {
        assert_eq!(unsound.check().unwrap_err().field, field);
    }
}

/// A standby that breaks or is throttled while the healed primary is still held out: what has proven itself twice by
/// test calls takes every call, not only a few.
#[test]
fn a_proven_target_that_is_held_out_rescues_without_a_cap() {
    for failure in [FailureKind::Unavailable, throttled(30)] {
        let mut router = plain(2);
        router.health[0].machine.phase = Phase::Out { hold_until: at(600), proofs: 2 };
        let mut targets = Vec::new();
        for _ in 0..10 {
            let mut call = Call::new(terms(&router, at(60)), at(1));
            for _ in 0..2 {
                let Decision::Try { ticket, target, .. } = router.choose(&mut call, at(1)) else { panic!() };
                targets.push(target.target().id.0);
                if target.target().id == TargetId(0) {
                    break;
                }
                router.observe(&mut call, ticket, &failed(failure.clone()), at(1));
            }
        }
        assert_eq!(targets.iter().filter(|target| **target == 0).count(), 10, "{failure:?}: {targets:?}");
    }
}

#[test]
fn every_alarm_has_its_word() {
    let target = || Arc::new(target(0));
    let contradicted = |mismatch| Alarm::Mismatch { target: target(), mismatch, since: at(0), quarantined: true };
    let all = [
        Alarm::CutOff { since: at(0) },
        Alarm::Frozen { until: at(0) },
        Alarm::Misconfigured { target: target() },
        Alarm::VersionMismatch { target: target() },
        contradicted(Mismatch::Region { reported: "North Europe".into() }),
        contradicted(Mismatch::Deployment { reported: "other".into() }),
        contradicted(Mismatch::Spillover),
        Alarm::Drifted { target: target(), since: at(0), drift: Drift::Direction { cosine: 0.5 } },
        Alarm::TestRefused { target: target() },
        Alarm::TestsFailing { target: target() },
        Alarm::Unproven { target: target() },
        Alarm::NoGoodTarget { model: "gpt-4o".into(), drained_until: None },
        Alarm::TestBudgetSpent,
    ];
    assert_eq!(all.each_ref().map(Alarm::as_str), Alarm::KINDS);
    assert!(all.iter().all(|alarm| !alarm.message().is_empty()));
}

#[test]
fn an_attempt_finds_its_target_to_be_what_it_is() {
    let mut router = plain(2);
    let mut call = Call::new(terms(&router, at(30)), at(0));
    let Decision::Try { ticket, .. } = router.choose(&mut call, at(0)) else { panic!() };
    assert_eq!(router.standing(ticket), Some(Standing::Serving));
    router.signal(0, &Signal::Ordered("a look".into()), at(0));
    assert_eq!(router.standing(ticket), Some(Standing::Suspected));
}

#[test]
fn only_a_failure_of_its_own_is_held_against_a_target() {
    for (failure, excused, theirs) in [
        (Some(FailureKind::ServerError), false, true),
        (Some(FailureKind::ServerError), true, false),
        (Some(FailureKind::Unauthorized), false, true),
        (Some(throttled(1)), false, false),
        (None, false, false),
    ] {
        let mut router = plain(1);
        let mut call = Call::new(terms(&router, at(30)), at(0));
        router.choose(&mut call, at(0));
        let tried = call.tried.last_mut().unwrap();
        (tried.failure, tried.excused) = (failure.clone(), excused);
        assert_eq!(tried.is_the_targets(), theirs, "{failure:?}, excused: {excused}");
    }
}

#[test]
fn a_validation_says_when_its_next_call_is_due() {
    let mut router = plain(1);
    router.due(at(0));
    router.signal(0, &Signal::Ordered("a look".into()), at(1));
    let spacing = router.thresholds().validation.spacing;
    // Who follows the moments that are named, and looks at no others, makes the calls in time.
    let (mut now, mut made) = (at(1), vec![]);
    for _ in 0..20 {
        let due = router.due(now);
        for order in due.tests {
            if order.purpose == TestPurpose::Validation {
                made.push(now.since(at(1)));
            }
            let before = router.revision();
            router.tested(&order, &TestResult::Failed(Failure::without_response(FailureKind::ServerError)), now);
            assert!(order.kind == TestKind::Cheap || router.revision() > before, "who watches is told");
        }
        now = due.next.unwrap().max(now + Duration::from_millis(1));
    }
    assert_eq!(made, [Duration::ZERO, spacing, spacing * 2]);
}
