//! Whose fault it is: what must not be held against a target, and what a caller must not suffer for.
use super::{
    proving::{REFUSED, deep, estate, fails, passed, prompt, standings, validate},
    *,
};

fn call_at(router: &Router, now: Moment, deadline: Moment) -> Call {
    Call::new(terms(router, deadline), now)
}

fn returning(step: u8, since: Moment) -> Machine {
    let phase = Phase::Returning { step, entered: since, live: 0, deep: 0, failures: 0, in_a_row: 0 };
    Machine { phase, level: 1, since, epoch: 5, ..Machine::new(since, &Thresholds::default()) }
}

#[test]
fn a_caller_in_haste_says_nothing_of_the_target() {
    let mut router = prompt(vec![target(0), target(1)]);
    for call in 0..100u64 {
        let now = at(1) + Duration::from_millis(call * 100);
        router.due(now);
        let mut call = call_at(&router, now, now + Duration::from_millis(800));
        let Decision::Try { ticket, limits, target, .. } = router.choose(&mut call, now) else { panic!() };
        assert_eq!(&*target.target().region, "swc");
        let end = now + limits.first_content;
        router.observe(&mut call, ticket, &failed(FailureKind::Silence(Silence::FirstContent)), end);
        let Decision::Try { ticket, .. } = router.choose(&mut call, end) else { panic!("the standby is tried") };
        router.first_content(&mut call, ticket, end);
        router.observe(&mut call, ticket, &served(), end);
    }
    assert_eq!(standings(&router), ["serving", "serving"]);
    assert_eq!(router.snapshot(at(12)).targets[0].failed, 0);
}

#[test]
fn only_failures_of_a_returning_targets_own_speak_against_its_return() {
    let in_haste = FailureKind::Silence(Silence::FirstContent);
    for (kind, counted) in [(FailureKind::ServerError, 1), (throttled(1), 0), (in_haste, 0)] {
        let mut router = prompt(vec![target(0), target(1)]);
        router.health[0].machine = returning(4, at(1));
        let millis = |millis| at(2) + Duration::from_millis(millis);
        let mut call = call_at(&router, at(2), millis(800));
        for (began, observation) in [(at(2), super::failed(kind.clone())), (millis(480), served())] {
            let Decision::Try { ticket, .. } = router.choose(&mut call, began) else { panic!("{kind:?}") };
            router.observe(&mut call, ticket, &observation, millis(480));
        }
        let Phase::Returning { failures, .. } = router.health[0].machine.phase else { panic!("{kind:?}") };
        assert_eq!(failures, counted, "{kind:?}");
    }
}

#[test]
fn a_silence_that_would_be_suspicious_anyway_counts_whoever_set_the_limit() {
    let mut router = prompt(vec![target(0), target(1)]);
    for call in 0..6u64 {
        let now = at(1 + call);
        router.due(now);
        let mut call = call_at(&router, now, now + secs(6));
        let Decision::Try { ticket, limits, .. } = router.choose(&mut call, now) else { panic!() };
        assert!(limits.first_content < secs(4), "six tenths of six seconds");
        let silence = failed(FailureKind::Silence(Silence::FirstContent));
        router.observe(&mut call, ticket, &silence, now + limits.first_content);
    }
    assert_eq!(standings(&router)[0], "suspected");
}

#[test]
fn an_answer_may_take_as_long_as_its_caller_allows_while_it_flows() {
    for (delivery, whole) in
        [(Delivery::Assembled, true), (Delivery::Streamed, true), (Delivery::Unary, false), (Delivery::Embedded, false)]
    {
        let mut router = plain(2);
        let mut call = Call::new(CallTerms { delivery, ..terms(&router, at(60)) }, at(0));
        let Decision::Try { limits, .. } = router.choose(&mut call, at(0)) else { panic!() };
        assert_eq!(limits.total == secs(60), whole, "{delivery:?}: {limits:?}");
    }
}

#[test]
fn a_model_that_is_slow_by_habit_gets_the_time_it_needs_and_a_long_prompt_more() {
    for (habit, tokens, limit) in [(None, 0, 10.0), (None, 8000, 16.0), (Some(5), 0, 20.0), (Some(5), 4000, 23.0)] {
        let mut router = plain(2);
        router.thresholds.first_content_per_4000_tokens = secs(3);
        if let Some(seconds) = habit {
            (0..100).for_each(|_| router.health[0].baseline.learn(secs(seconds), at(0)));
        }
        let terms = CallTerms { prompt_tokens: tokens, delivery: Delivery::Streamed, ..terms(&router, at(600)) };
        let Decision::Try { limits, .. } = router.choose(&mut Call::new(terms, at(0)), at(0)) else { panic!() };
        let found = limits.first_content.as_secs_f64();
        assert!((found / limit - 1.0).abs() < 0.1, "{habit:?} s, {tokens} tokens: {found} s of {limit}");
    }
}

#[test]
fn the_length_of_a_unary_answer_is_no_time_to_first_content() {
    let mut router = prompt(vec![target(0), target(1)]);
    let mut now = at(1);
    for (delivery, latency) in [(Delivery::Assembled, 600), (Delivery::Unary, 12_000)] {
        for _ in 0..60 {
            now = now + Duration::from_millis(100);
            let latency = Duration::from_millis(latency);
            let mut call = Call::new(CallTerms { delivery, ..terms(&router, now + secs(60)) }, now);
            let Decision::Try { ticket, .. } = router.choose(&mut call, now) else { panic!() };
            if delivery == Delivery::Assembled {
                router.first_content(&mut call, ticket, now + latency);
            }
            let served = Observation::Served { first_content: latency, quota: Quota::default() };
            router.observe(&mut call, ticket, &served, now + latency);
        }
    }
    assert_eq!(standings(&router)[0], "serving");
    assert!(router.health[0].baseline.quantiles().unwrap().p95 < secs(1));
}

#[test]
fn a_standby_that_stumbles_while_the_primary_is_throttled_is_asked_again() {
    let mut router = prompt(vec![target(0), target(1)]);
    let mut call = call_at(&router, at(1), at(61));
    let regions = ["swc", "weu", "weu"];
    let failures = [throttled(30), FailureKind::ServerError, FailureKind::ServerError];
    let mut now = at(1);
    for (region, failure) in regions.iter().zip(failures) {
        let decision = loop {
            match router.choose(&mut call, now) {
                Decision::Wait { until } if until > now => now = until,
                other => break other,
            }
        };
        let Decision::Try { ticket, target, .. } = decision else { panic!("{decision:?}") };
        assert_eq!(&*target.target().region, *region);
        router.observe(&mut call, ticket, &failed(failure), now);
    }
    let Decision::Wait { until } = router.choose(&mut call, now) else { panic!("and once more") };
    assert!(matches!(router.choose(&mut call, until), Decision::Try { .. }));
}

#[test]
fn a_second_attempt_goes_where_calls_were_served_last() {
    let mut router = plain(2);
    router.health[1].last_success = Some(at(9));
    router.health[0].last_success = Some(at(3));
    let mut call = call_at(&router, at(10), at(60));
    for _ in 0..2 {
        let Decision::Try { ticket, .. } = router.choose(&mut call, at(10)) else { panic!() };
        router.observe(&mut call, ticket, &failed(FailureKind::ServerError), at(10));
    }
    let Decision::Wait { until } = router.choose(&mut call, at(10)) else { panic!() };
    let Decision::Try { target, reason, .. } = router.choose(&mut call, until) else { panic!() };
    assert_eq!((&*target.target().region, reason), ("weu", AttemptReason::Retry));
}

#[test]
fn what_was_drained_in_the_pause_gets_no_second_attempt() {
    let mut router = plain(2);
    let mut call = call_at(&router, at(1), at(60));
    for _ in 0..2 {
        let Decision::Try { ticket, .. } = router.choose(&mut call, at(1)) else { panic!() };
        router.observe(&mut call, ticket, &failed(FailureKind::ServerError), at(1));
    }
    let Decision::Wait { until } = router.choose(&mut call, at(1)) else { panic!() };
    for region in ["swc", "weu"] {
        router.drain(&Selector { region: Some(region.into()), ..Selector::default() }, at(600), &"x".into(), at(1));
    }
    assert!(matches!(router.choose(&mut call, until), Decision::GiveUp(_)));
}

#[test]
fn a_sibling_that_is_busy_is_alive() {
    let mut router = prompt(estate());
    validate(&mut router, 0, 20, |id| match id {
        0 => fails(REFUSED),
        1 => fails(throttled(5)),
        _ => passed(),
    });
    assert_eq!(standings(&router)[..2], ["out", "serving"]);
}

#[test]
fn a_failure_is_told_once_and_not_of_the_time_before_the_return() {
    let mut router = prompt(vec![target(0), target(1), target(2)]);
    router.health[0].machine = returning(0, at(1));
    let mut call = call_at(&router, at(2), at(60));
    (call.admitted, call.place) = (true, 0.0);
    let mut now = at(2);
    for (region, content) in [("swc", false), ("weu", true), ("frc", true)] {
        let decision = loop {
            match router.choose(&mut call, now) {
                Decision::Wait { until } if until > now => now = until,
                other => break other,
            }
        };
        let Decision::Try { ticket, target, .. } = decision else { panic!("{decision:?}") };
        assert_eq!(&*target.target().region, region);
        if content {
            router.first_content(&mut call, ticket, now);
        }
        if region != "frc" {
            router.observe(&mut call, ticket, &failed(FailureKind::Truncated), now);
        }
    }
    assert_eq!(standings(&router)[0], "returning", "one failure, though the call had content twice");

    let mut router = prompt(vec![target(0), target(1)]);
    let calls = [(); 2].map(|()| {
        let mut call = call_at(&router, at(1), at(600));
        let Decision::Try { ticket, .. } = router.choose(&mut call, at(1)) else { panic!() };
        router.observe(&mut call, ticket, &failed(FailureKind::ServerError), at(2));
        let Decision::Try { ticket, .. } = router.choose(&mut call, at(2)) else { panic!() };
        (call, ticket)
    });
    router.health[0].machine = returning(3, at(100));
    for (mut call, ticket) in calls {
        router.first_content(&mut call, ticket, at(210));
    }
    assert_eq!(standings(&router)[0], "returning", "both failed before the outage was over");
}

#[test]
fn an_hour_of_refused_connections_is_counted_without_end() {
    let mut router = prompt(vec![target(0), target(1)]);
    router.signal(0, &Signal::Ordered("a look".into()), at(1));
    for second in 2..3600 {
        for order in router.due(at(second)).tests {
            let refused = order.target.target().id.0 == 0;
            router.tested(&order, &if refused { fails(REFUSED) } else { passed() }, at(second));
        }
    }
    assert_eq!(standings(&router), ["out", "serving"]);
}

#[test]
fn an_operator_who_looks_closely_does_not_deafen_the_detectors() {
    let mut router = prompt(vec![target(0), target(1)]);
    let primary = Selector { region: Some("swc".into()), ..Selector::default() };
    for round in 0..6 {
        let now = at(1 + round * 4);
        router.order_validation(&primary, &"a look".into(), now);
        for order in deep(&mut router, now) {
            router.tested(&order, &passed(), now);
        }
        assert_eq!(standings(&router)[0], "serving");
    }
    for call in 0..5 {
        let now = at(25 + call);
        router.due(now);
        let mut call = call_at(&router, now, now + secs(60));
        let Decision::Try { ticket, .. } = router.choose(&mut call, now) else { panic!() };
        router.observe(&mut call, ticket, &failed(FailureKind::ServerError), now);
    }
    assert_eq!(standings(&router)[0], "suspected");
}

#[test]
fn nobody_is_condemned_unheard() {
    let mut router = prompt(vec![target(0), target(1)]);
    router.signal(0, &Signal::Suspicion(Suspicion::Idle { failures: 3, last: "x" }), at(1));
    let only = Policy { name: "weu".into(), regions: vec!["weu".into()], ..Policy::unrestricted() };
    let routes = router.routes().clone();
    router.reconfigure(routes, Thresholds::default(), vec![Arc::new(only)], at(1));
    for second in 1..10 {
        for order in router.due(at(second)).tests {
            router.tested(&order, &passed(), at(second));
        }
    }
    assert_eq!(standings(&router)[0], "serving", "no test call may be made there");
}

#[test]
fn a_busy_standby_is_no_reason_to_rush_the_return() {
    let mut router = prompt(vec![target(0), target(1)]);
    router.thresholds.concurrency = 10;
    router.health[0].machine = returning(0, at(1));
    let mut went = [0; 2];
    for _ in 0..40 {
        let mut call = call_at(&router, at(2), at(60));
        if let Decision::Try { target, .. } = router.choose(&mut call, at(2)) {
            went[usize::from(target.target().id.0)] += 1;
        }
    }
    assert!(went[0] <= 2 && went[1] == 10, "{went:?}");
}

#[test]
fn the_budget_fills_up_though_nothing_is_spent() {
    let mut router = prompt(vec![target(0), target(1)]);
    router.tokens.spend(200_010);
    assert_eq!(router.snapshot(at(1)).test_tokens_left, 0);
    assert!(router.snapshot(at(3600)).test_tokens_left > 8000);
}

#[test]
fn time_that_an_attempt_waited_for_us_is_not_its_targets() {
    for (waits_for_us, learned) in [(0, 5.0), (4, 1.0)] {
        let mut router = plain(1);
        for call in 0..20 {
            let now = at(1 + call * 10);
            let mut call = call_at(&router, now, now + secs(60));
            let Decision::Try { ticket, .. } = router.choose(&mut call, now) else { panic!() };
            router.departs(ticket, now + secs(waits_for_us));
            router.first_content(&mut call, ticket, now + secs(5));
            router.observe(&mut call, ticket, &served(), now + secs(5));
        }
        let median = router.health[0].baseline.quantiles().unwrap().median.as_secs_f64();
        assert!((median / learned - 1.0).abs() < 0.2, "{median} s after {waits_for_us} s of ours");
    }
}
