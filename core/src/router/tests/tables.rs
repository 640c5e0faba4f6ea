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
            loop {
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
    while made.len() < 3 {
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
