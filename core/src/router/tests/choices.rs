//! Where calls go: sole targets, last resorts, room and priority, pins, hedges.
use super::*;

fn out(router: &mut Router, id: usize, proofs: u8) {
    let machine = Machine::restored(1, secs(60), at(0), at(0), &router.thresholds);
    router.health[id].machine = Machine { phase: Phase::Out { hold_until: at(60), proofs }, ..machine };
}

fn suspect(router: &mut Router, id: usize, now: Moment) {
    router.signal(id, &Signal::Ordered("a look".into()), now);
}

fn drain(router: &mut Router, region: &str, until: Moment) {
    let selector = Selector { region: Some(region.into()), ..Selector::default() };
    router.drain(&selector, until, &"maintenance".into(), at(0));
}

fn call_with(router: &Router, options: RoutingOptions, now: Moment) -> Call {
    Call::new(CallTerms { options: Arc::new(options), ..terms(router, now + secs(30)) }, now)
}

/// Region and reason of the choice, or what else was decided.
fn tell(decision: &Decision) -> String {
    match decision {
        Decision::Try { target, reason, .. } => format!("{} {}", target.target().region, reason.as_str()),
        Decision::Wait { .. } => "wait".into(),
        Decision::GiveUp(why) => format!("{why:?}").split([' ', '(']).next().unwrap().to_owned(),
    }
}

fn chosen(router: &mut Router, options: RoutingOptions, now: Moment) -> String {
    let mut call = call_with(router, options, now);
    let decision = router.choose(&mut call, now);
    if let Decision::Try { ticket, .. } = decision {
        router.observe(&mut call, ticket, &served(), now);
    }
    tell(&decision)
}

/// Holds so many attempts open.
fn occupy(router: &mut Router, count: usize, options: &RoutingOptions) -> Vec<String> {
    (0..count)
        .map(|_| {
            let mut call = call_with(router, options.clone(), at(0));
            tell(&router.choose(&mut call, at(0)))
        })
        .collect()
}

#[test]
fn a_target_that_is_out_is_no_choice_while_another_is_good() {
    let mut router = plain(2);
    out(&mut router, 0, 0);
    assert_eq!(chosen(&mut router, RoutingOptions::default(), at(0)), "weu route");
    let mut call = call_with(&router, RoutingOptions::default(), at(0));
    let Decision::Try { ticket, .. } = router.choose(&mut call, at(0)) else { panic!() };
    router.observe(&mut call, ticket, &failed(FailureKind::ServerError), at(0));
    assert_eq!(tell(&router.choose(&mut call, at(0))), "wait", "nor as a rescuer, unless it has begun to prove itself");
    out(&mut router, 0, 1);
    let mut call = call_with(&router, RoutingOptions::default(), at(0));
    let Decision::Try { ticket, .. } = router.choose(&mut call, at(0)) else { panic!() };
    assert_eq!(tell(&router.choose(&mut call, at(0))), "Unavailable", "and only once the good one has failed");
    router.observe(&mut call, ticket, &failed(FailureKind::ServerError), at(0));
    assert_eq!(tell(&router.choose(&mut call, at(0))), "swc rescue");
}

#[test]
fn one_that_waits_for_its_hold_helps_out_while_the_good_ones_are_throttled() {
    for (proofs, room) in [(0, 4), (1, 4), (2, 64)] {
        let mut router = plain(2);
        out(&mut router, 0, proofs);
        router.health[1].throttled(secs(20), &Thresholds::default(), at(0));
        let choices = occupy(&mut router, room + 1, &RoutingOptions::default());
        assert!(choices[..room].iter().all(|choice| choice == "swc route"), "{proofs} proofs: {choices:?}");
        assert_eq!(choices[room], "wait", "{proofs} proofs: the first to have content opens it");
    }
}

#[test]
fn time_is_kept_for_a_rescue_where_somebody_could_make_it() {
    for (proofs, drained, allowed) in [(0, false, 30), (1, false, 30), (2, false, 18), (2, true, 30)] {
        let mut router = plain(2);
        out(&mut router, 1, proofs);
        if drained {
            drain(&mut router, "weu", at(600));
        }
        let mut call = call_with(&router, RoutingOptions::default(), at(0));
        let Decision::Try { limits, .. } = router.choose(&mut call, at(0)) else { panic!() };
        assert_eq!(limits.rescue_by, secs(allowed), "the standby is out with {proofs} proofs, drained: {drained}");
    }
}

#[test]
fn with_no_good_target_left_each_takes_four_calls_at_a_time() {
    let mut router = plain(2);
    out(&mut router, 0, 0);
    out(&mut router, 1, 0);
    let choices = occupy(&mut router, 9, &RoutingOptions::default());
    assert_eq!(choices[..4], ["swc route"; 4]);
    assert_eq!(choices[4..8], ["weu route"; 4]);
    assert_eq!(choices[8], "wait", "the first to have content opens its target");
}

#[test]
fn a_call_waits_a_moment_for_one_of_those_places_and_is_then_told() {
    let mut router = plain(2);
    out(&mut router, 0, 0);
    out(&mut router, 1, 0);
    occupy(&mut router, 8, &RoutingOptions::default());
    // Half of its time at most.
    for (deadline, patience) in [(30, 900), (1, 500)] {
        let mut call = Call::new(terms(&router, at(deadline)), at(0));
        let mut now = at(0);
        let told = loop {
            match router.choose(&mut call, now) {
                Decision::Wait { until } if until > now => now = until,
                other => break tell(&other),
            }
        };
        assert_eq!(told, "Unavailable");
        let waited = now.since(at(0)).as_millis();
        assert!((patience - 100..=patience).contains(&waited), "{waited} ms of {patience}");
    }
}

#[test]
fn a_good_target_that_is_needed_serves_though_its_hold_has_not_ended() {
    let swc = Policy { name: "swc".into(), regions: vec!["swc".into()], ..Policy::unrestricted() };
    for (targets, policy, drained, standing) in [
        (1, Policy::unrestricted(), false, "serving"),
        (1, Policy::unrestricted(), true, "out"),
        (2, Policy::unrestricted(), false, "out"),
        (2, swc, false, "out"), // where it is all that is permitted it is used at any standing
    ] {
        let mut router = plain(targets).serving_policies(vec![Arc::new(policy)]);
        out(&mut router, 0, 3);
        if drained {
            drain(&mut router, "swc", at(99));
        }
        router.due(at(1));
        assert_eq!(router.health[0].machine.standing().as_str(), standing, "{targets} targets, drained: {drained}");
    }
}

#[test]
fn a_call_is_told_what_it_was_not_sent_to_and_why() {
    let not_weu = Policy { regions: vec!["swc".into(), "frc".into(), "eus".into()], ..Policy::unrestricted() };
    let mut router = plain(4).serving_policies(vec![Arc::new(not_weu.clone())]);
    let options = RoutingOptions { data_boundary: Some("us".into()), ..RoutingOptions::default() };
    let mut told = |options: RoutingOptions| {
        let mut call = call_with(&router, options, at(0));
        call.terms.policy = Arc::new(not_weu.clone());
        let Decision::Try { ticket, .. } = router.choose(&mut call, at(0)) else { panic!() };
        let passed_over = router.passed_over(&call, ticket, at(0));
        passed_over.iter().map(|(target, why)| format!("{} {why}", target.region)).collect::<Vec<_>>()
    };
    assert_eq!(told(options), ["swc request", "weu policy", "frc request"]);
    let pinned = RoutingOptions { pinned_region: Some("frc".into()), ..RoutingOptions::default() };
    assert_eq!(told(pinned), ["swc preference", "weu policy"]);
}

#[test]
fn a_place_just_beyond_a_targets_share_is_not_its_own() {
    let mut router = plain(3);
    router.health[0].machine.phase =
        Phase::Returning { step: 3, entered: at(0), live: 0, deep: 0, failures: 0, in_a_row: 0 };
    for (place, expected) in [(0.4999, "swc return"), (0.5, "weu route")] {
        let mut call = call_with(&router, RoutingOptions::default(), at(0));
        (call.admitted, call.place) = (true, place);
        assert_eq!(tell(&router.choose(&mut call, at(0))), expected, "{place} of one half");
    }
}

#[test]
fn an_interrupted_call_starts_again_elsewhere_and_says_so() {
    let mut router = plain(2);
    let mut call = call_with(&router, RoutingOptions::default(), at(0));
    let Decision::Try { ticket, .. } = router.choose(&mut call, at(0)) else { panic!() };
    router.observe(&mut call, ticket, &failed(FailureKind::Reset), at(1));
    call.interrupted();
    assert_eq!(tell(&router.choose(&mut call, at(1))), "weu restart");
}

#[test]
fn a_throttled_target_is_waited_for_unless_it_is_out_and_there_are_others() {
    for (targets, then) in [(1, "wait"), (2, "Unavailable")] {
        let mut router = plain(targets);
        out(&mut router, 0, 0);
        router.health[0].throttled(secs(2), &Thresholds::default(), at(0));
        router.thresholds.retries = 0;
        let mut call = call_with(&router, RoutingOptions::default(), at(0));
        if targets == 2 {
            let Decision::Try { ticket, .. } = router.choose(&mut call, at(0)) else { panic!() };
            router.observe(&mut call, ticket, &failed(FailureKind::ServerError), at(0));
        }
        assert_eq!(tell(&router.choose(&mut call, at(0))), then, "{targets} targets");
    }
}

#[test]
fn nobody_tries_again_who_has_no_time_for_it() {
    for (millis_left, then) in [(500, "wait"), (150, "Unavailable")] {
        let mut router = plain(1);
        let mut call = call_with(&router, RoutingOptions::default(), at(0));
        let Decision::Try { ticket, .. } = router.choose(&mut call, at(0)) else { panic!() };
        let now = at(30) - Duration::from_millis(millis_left);
        router.observe(&mut call, ticket, &failed(FailureKind::ServerError), now);
        assert_eq!(tell(&router.choose(&mut call, now)), then, "{millis_left} ms are left for a pause of 100 to 200");
    }
}

#[test]
fn a_throttled_target_is_waited_for_only_by_calls_that_met_nothing_else() {
    let sole = RoutingOptions { allowed_regions: vec!["swc".into()], ..RoutingOptions::default() };
    let mut router = plain(1);
    let mut running = call_with(&router, sole.clone(), at(0));
    assert_eq!(tell(&router.choose(&mut running, at(0))), "swc route");
    router.health[0].throttled(secs(2), &Thresholds::default(), at(0));
    assert_eq!(tell(&router.choose(&mut running, at(0))), "Unavailable", "it has met nothing yet");
    for (first, then) in [(throttled(2), "wait"), (FailureKind::ServerError, "Unavailable")] {
        let mut router = plain(1);
        let mut call = call_with(&router, sole.clone(), at(0));
        let Decision::Try { ticket, .. } = router.choose(&mut call, at(0)) else { panic!() };
        router.thresholds.retries = u32::from(then == "wait");
        router.observe(&mut call, ticket, &failed(first.clone()), at(0));
        router.health[0].throttled(secs(2), &Thresholds::default(), at(0));
        assert_eq!(tell(&router.choose(&mut call, at(0))), then, "{first:?}");
    }
}

#[test]
fn whatever_a_watcher_should_see_raises_the_revision() {
    let mut router = plain(2);
    let mut known = router.revision();
    let mut grown = |router: &Router, what: &str| {
        assert!(router.revision() > known, "{what}");
        known = router.revision();
    };
    suspect(&mut router, 0, at(0));
    grown(&router, "a change of standing");
    let mut call = call_with(&router, RoutingOptions::default(), at(0));
    let Decision::Try { ticket, .. } = router.choose(&mut call, at(0)) else { panic!() };
    router.observe(&mut call, ticket, &failed(throttled(2)), at(0));
    grown(&router, "cooling");
}

#[test]
fn a_sole_permitted_target_is_used_at_any_standing_up_to_its_room() {
    let mut router = plain(2);
    router.thresholds.concurrency = 6;
    out(&mut router, 0, 0);
    let only = RoutingOptions { allowed_regions: vec!["swc".into()], ..RoutingOptions::default() };
    let choices = occupy(&mut router, 7, &only);
    assert_eq!(choices[..6], ["swc route"; 6]);
    assert_eq!(choices[6], "wait", "for room");
    let mut waiting = call_with(&router, only.clone(), at(0));
    router.choose(&mut waiting, at(0));
    assert_eq!(tell(&router.choose(&mut waiting, at(6))), "Overloaded", "and not for its health");
    drain(&mut router, "swc", at(99));
    assert_eq!(chosen(&mut router, only, at(0)), "Drained", "an operator's word is obeyed");
}

#[test]
fn bulk_work_leaves_a_fifth_of_the_room_to_interactive_calls() {
    let bulk = RoutingOptions { priority: Priority::Bulk, ..RoutingOptions::default() };
    let mut router = plain(2);
    router.thresholds.concurrency = 5;
    let choices = occupy(&mut router, 9, &bulk);
    assert_eq!(choices[..4], ["swc route"; 4]);
    assert_eq!(choices[4..8], ["weu spill"; 4]);
    assert_eq!(choices[8], "wait");
    let choices = occupy(&mut router, 3, &RoutingOptions::default());
    assert_eq!(choices, ["swc route", "weu spill", "wait"]);
    // One place is kept for bulk work, too.
    router = plain(1);
    router.thresholds.concurrency = 1;
    assert_eq!(occupy(&mut router, 2, &bulk), ["swc route", "wait"]);
}

#[test]
fn a_call_waits_for_room_in_short_pauses_and_then_gives_up() {
    let mut router = plain(1);
    router.thresholds.concurrency = 1;
    occupy(&mut router, 1, &RoutingOptions::default());
    // Five seconds at most, and half of what is left of the deadline.
    for (deadline, patience) in [(30, 5.0), (4, 2.0)] {
        let mut call = Call::new(terms(&router, at(deadline)), at(0));
        let mut now = at(0);
        let why = loop {
            match router.choose(&mut call, now) {
                Decision::Wait { until } => {
                    assert!((50..=100).contains(&until.since(now).as_millis()), "{:?}", until.since(now));
                    now = until;
                }
                other => break tell(&other),
            }
        };
        assert_eq!(why, "Overloaded");
        let waited = now.since(at(0)).as_secs_f64();
        assert!((patience - 0.1..=patience).contains(&waited), "{waited} of {patience}");
    }
}

#[test]
fn a_returning_target_takes_its_share_and_the_same_workflows_with_each_step() {
    let mut router = plain(2);
    let mut before = vec![];
    for (step, percent) in [(0, 1), (1, 5), (2, 20), (3, 50), (4, 100)] {
        let phase = Phase::Returning { step, entered: at(0), live: 0, deep: 0, failures: 0, in_a_row: 0 };
        router.health[0].machine.phase = phase;
        assert_eq!((router.snapshot(at(0)).targets[0].share * 100.0) as u32, percent);
        let place = |id: &u32| place_on_ramp("", &format!("run-{id}"));
        let expected: Vec<u32> = (0..400).filter(|id| place(id) < f64::from(percent) / 100.0).collect();
        let returned: Vec<u32> = (0..400)
            .filter(|id| {
                // Without the memory of earlier steps, since a workflow is pinned where it began.
                let mut fresh = plain(2);
                fresh.health[0].machine.phase = phase;
                let workflow_id = Some(format!("run-{id}").into());
                let options = RoutingOptions { workflow_id, ..RoutingOptions::default() };
                chosen(&mut fresh, options, at(0)) == "swc return"
            })
            .collect();
        assert_eq!(returned, expected);
        assert!(before.iter().all(|id| returned.contains(id)), "who has returned stays");
        before = returned;
    }
    assert_eq!(before.len(), 400);
}

fn run(workflow: &str, stated: Option<&str>) -> RoutingOptions {
    RoutingOptions {
        workflow_id: Some(workflow.into()),
        pinned_region: stated.map(str::to_owned),
        ..RoutingOptions::default()
    }
}

/// Region that a call of the workflow goes to, its reason, and what the reply says of the pin.
fn pinned(router: &mut Router, caller: &str, options: RoutingOptions, now: Moment) -> String {
    let mut call = call_with(router, options, now);
    call.terms.caller = caller.into();
    let decision = router.choose(&mut call, now);
    if let Decision::Try { ticket, .. } = decision {
        router.observe(&mut call, ticket, &served(), now);
    }
    format!("{} {}", tell(&decision), call.pinned_region().map_or("-", |region| region))
}

#[test]
fn a_workflow_is_pinned_by_its_first_call_and_moves_only_when_its_target_goes_out() {
    let mut router = plain(3);
    assert_eq!(pinned(&mut router, "a", RoutingOptions::default(), at(0)), "swc route -", "no workflow, no pin");
    assert_eq!(pinned(&mut router, "a", run("run", None), at(0)), "swc route swc", "the first call");
    assert_eq!(pinned(&mut router, "a", run("run", None), at(1)), "swc pin swc");
    router.health[0].throttled(secs(9), &Thresholds::default(), at(2));
    assert_eq!(pinned(&mut router, "a", run("run", None), at(2)), "weu spill swc", "a spill does not move it");
    suspect(&mut router, 0, at(12));
    assert_eq!(pinned(&mut router, "a", run("run", None), at(12)), "swc pin swc", "nor does suspicion");
    router.signal(0, &Signal::ResourceDown, at(13));
    assert_eq!(pinned(&mut router, "a", run("run", None), at(14)), "weu route weu", "its target went out");
    router.health[0].machine.phase = Phase::Serving;
    assert_eq!(pinned(&mut router, "a", run("run", None), at(15)), "weu pin weu", "and it stays where it went");
    assert_eq!(pinned(&mut router, "b", run("run", None), at(15)), "swc route swc", "another caller's is another run");
    assert_eq!(router.snapshot(at(15)).off_pin.iter().collect::<Vec<_>>(), [(&"spill", &1)]);
    assert_eq!(router.snapshot(at(15)).models[0].pinned_workflows, 2);
    drain(&mut router, "weu", at(99));
    assert_eq!(pinned(&mut router, "a", run("run", None), at(16)), "swc route swc", "a drain moves it as well");
}

#[test]
fn a_workflow_that_slept_through_an_outage_follows_the_route() {
    let mut router = plain(2);
    assert_eq!(pinned(&mut router, "a", run("run", None), at(0)), "swc route swc");
    router.signal(0, &Signal::ResourceDown, at(1));
    router.health[0].machine.phase =
        Phase::Returning { step: 0, entered: at(2), live: 0, deep: 0, failures: 0, in_a_row: 0 };
    assert_eq!(pinned(&mut router, "a", run("run", None), at(100)), "weu route weu", "its target was out meanwhile");
    router.health[1].left = Some(at(100));
    assert_eq!(pinned(&mut router, "a", run("run", None), at(101)), "weu pin weu", "who used it then knew of that");
}

#[test]
fn the_region_that_a_client_states_wins_where_it_is_permitted_and_known() {
    let mut router = plain(3);
    assert_eq!(pinned(&mut router, "a", run("run", Some("weu")), at(0)), "weu pin weu");
    assert_eq!(pinned(&mut router, "a", run("run", None), at(1)), "weu pin weu", "and is remembered");
    assert_eq!(pinned(&mut router, "a", run("run", Some("frc")), at(2)), "frc pin frc", "another replica knew better");
    assert_eq!(pinned(&mut router, "a", run("other", Some("nowhere")), at(3)), "swc route swc");
    let eu = RoutingOptions { allowed_regions: vec!["swc".into(), "weu".into()], ..run("third", Some("frc")) };
    assert_eq!(pinned(&mut router, "a", eu, at(4)), "swc route frc", "a pin never widens what is permitted");
    out(&mut router, 1, 0);
    assert_eq!(
        pinned(&mut router, "a", run("fourth", Some("weu")), at(5)),
        "swc route swc",
        "where it is out it moves"
    );
}

/// A call that is silent at a target under validation: what `protect` says at each of these times, in milliseconds.
fn protected(router: &mut Router, options: RoutingOptions, asked: &[u64]) -> Vec<String> {
    suspect(router, 0, at(100));
    let mut call = call_with(router, options, at(100));
    let Decision::Try { ticket, protect_at, .. } = router.choose(&mut call, at(100)) else { panic!() };
    assert_eq!(ticket.target_index(), 0);
    assert!(protect_at.is_some_and(|when| when >= at(102)));
    let told = asked.iter().map(|millis| {
        let now = at(100) + Duration::from_millis(*millis);
        match router.protect(&mut call, ticket, now) {
            Protection::Second(Decision::Try { ticket, target, reason, .. }) => {
                assert!(ticket.is_hedge() && ticket.attempt() == 2);
                format!("{} {}", target.target().region, reason.as_str())
            }
            Protection::Second(other) => panic!("{other:?}"),
            Protection::Wait { until } => until.map_or("-".into(), |until| format!("{:?}", until.since(at(100)))),
        }
    });
    told.collect()
}

#[test]
fn a_silent_call_to_a_suspect_gets_a_second_attempt_after_two_seconds() {
    assert_eq!(
        protected(&mut plain(2), RoutingOptions::default(), &[0, 1999, 2000, 2500]),
        ["2s", "2s", "weu hedge", "-"]
    );
    assert_eq!(protected(&mut plain(1), RoutingOptions::default(), &[2000]), ["-"], "there is nobody else");
    let never = RoutingOptions { hedge: Hedge::Never, ..RoutingOptions::default() };
    assert_eq!(protected(&mut plain(2), never, &[2000]), ["-"]);
    let bulk = RoutingOptions { priority: Priority::Bulk, ..RoutingOptions::default() };
    assert_eq!(protected(&mut plain(2), bulk, &[2000]), ["-"]);
    let thinks = (0..2).map(|id| Target { reasoning: true, ..target(id) }).collect();
    assert_eq!(protected(&mut super::router(thinks), RoutingOptions::default(), &[2000]), ["-"]);
    let mut off = plain(2);
    off.thresholds.hedging.enabled = false;
    assert_eq!(protected(&mut off, RoutingOptions::default(), &[2000]), ["-"]);
    let allowed = RoutingOptions { hedge: Hedge::Allowed, ..RoutingOptions::default() };
    assert_eq!(protected(&mut off, allowed, &[2000]), ["weu hedge"]);
    let mut lost = plain(2);
    out(&mut lost, 1, 0);
    assert_eq!(protected(&mut lost, RoutingOptions::default(), &[2000]), ["-"], "a hedge goes to a good target only");
    assert_eq!(protected(&mut plain(2), RoutingOptions::default(), &[30_000]), ["-"], "the deadline has passed");
    let mut busy = plain(2);
    busy.thresholds.concurrency = 1;
    occupy(&mut busy, 1, &RoutingOptions { allowed_regions: vec!["weu".into()], ..RoutingOptions::default() });
    assert_eq!(protected(&mut busy, RoutingOptions::default(), &[2000]), ["2.1s"], "nobody says when a place is free");
}

#[test]
fn a_target_that_is_slow_by_habit_is_hedged_later() {
    let mut router = plain(2);
    (0..40).for_each(|_| router.health[0].baseline.learn(secs(4), at(0)));
    let p95 = router.health[0].baseline.quantiles().unwrap().p95;
    assert!(p95 > secs(3));
    let told = protected(&mut router, RoutingOptions::default(), &[2000, p95.as_millis() as u64 + 1]);
    assert_eq!(told, [format!("{p95:?}"), "weu hedge".into()]);
}

#[test]
fn when_a_target_goes_out_its_silent_calls_get_a_second_attempt_at_once() {
    let mut router = plain(2);
    let bulk = RoutingOptions { priority: Priority::Bulk, hedge: Hedge::Never, ..RoutingOptions::default() };
    let mut waiting = [(); 3].map(|()| {
        let mut call = call_with(&router, bulk.clone(), at(0));
        let Decision::Try { ticket, protect_at: None, .. } = router.choose(&mut call, at(0)) else { panic!() };
        (call, ticket)
    });
    let [(silent, first), (talking, second), (alone, third)] = &mut waiting;
    assert_eq!(router.protect(silent, *first, at(1)), Protection::Wait { until: None });
    router.first_content(talking, *second, at(1));
    router.signal(0, &Signal::ResourceDown, at(1));
    assert!(matches!(router.protect(silent, *first, at(1)), Protection::Second(_)), "whatever its options");
    assert_eq!(router.protect(talking, *second, at(1)), Protection::Wait { until: None }, "nothing is moved");
    drain(&mut router, "weu", at(99));
    assert_eq!(router.protect(alone, *third, at(1)), Protection::Wait { until: None }, "there is nobody to go to");
    router.abandon(*first, at(2));
    assert_eq!(router.protect(silent, *first, at(2)), Protection::Wait { until: None }, "it is over");
}

#[test]
fn at_most_a_fifth_of_the_calls_in_flight_is_hedged() {
    let mut router = plain(2);
    suspect(&mut router, 0, at(0));
    let mut calls: Vec<_> = (0..20)
        .map(|_| {
            let mut call = call_with(&router, RoutingOptions::default(), at(0));
            let Decision::Try { ticket, .. } = router.choose(&mut call, at(0)) else { panic!() };
            (call, ticket)
        })
        .collect();
    let mut hedges = vec![];
    for (call, ticket) in &mut calls {
        match router.protect(call, *ticket, at(3)) {
            Protection::Second(Decision::Try { ticket, .. }) => hedges.push(ticket),
            Protection::Wait { until: Some(until) } => assert_eq!(until.since(at(3)).as_millis(), 100, "asks again"),
            other => panic!("{other:?}"),
        }
    }
    // Each hedge is in flight itself: 5 of 25.
    assert_eq!(hedges.len(), 5);
    router.abandon(hedges[0], at(3));
    let (call, ticket) = &mut calls[19];
    assert!(matches!(router.protect(call, *ticket, at(3)), Protection::Second(_)), "one is over, the next may run");
}
