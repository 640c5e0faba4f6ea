//! How far an outage reaches: one pool, one endpoint, or our own network.
use super::{proving::*, *};

#[test]
fn how_far_an_outage_reaches() {
    let down = |which: &'static [u16], kind: FailureKind| {
        move |id: u16| if which.contains(&id) { fails(kind.clone()) } else { passed() }
    };
    for (name, failing, kind, expected) in [
        ("one pool", &[0][..], FailureKind::Unavailable, ["out", "serving", "serving", "serving"]),
        ("the endpoint answers 503", &[0, 1][..], FailureKind::Unavailable, ["out", "out", "serving", "serving"]),
        ("the endpoint refuses connections", &[0, 1][..], REFUSED, ["out", "out", "serving", "serving"]),
        ("nobody can be reached", &[0, 1, 2, 3][..], REFUSED, ["serving", "serving", "serving", "serving"]),
    ] {
        let mut router = prompt(estate());
        router.health.iter_mut().for_each(|health| health.tests.next = at(100));
        router.resources.iter_mut().for_each(|resource| resource.next_cheap = at(100));
        validate(&mut router, 0, 1, down(failing, kind));
        assert_eq!(standings(&router), expected, "{name}");
    }
}

#[test]
fn one_model_that_passes_speaks_for_the_endpoint() {
    let of = |id: u16, place: u16, model: &str| Target { id: TargetId(id), model: model.into(), ..target(place) };
    for (failing, expected) in [(&[0, 1][..], ["out", "serving", "serving"]), (&[0, 1, 2][..], ["out", "out", "out"])] {
        let targets = [of(0, 0, "gpt-4o"), of(1, 0, "mini"), of(2, 0, "nano"), of(3, 1, "gpt-4o")];
        let mut router = prompt(targets.to_vec());
        router.health.iter_mut().for_each(|health| health.tests.next = at(100));
        let answer = |id: u16| if failing.contains(&id) { fails(FailureKind::Unavailable) } else { passed() };
        validate(&mut router, 0, 1, answer);
        assert_eq!(standings(&router)[..3], expected);
    }
}

#[test]
fn no_connection_takes_silent_siblings_along_but_none_that_passed() {
    for (kind, mini) in [(REFUSED, "out"), (FailureKind::Unavailable, "serving")] {
        let mut router = prompt(estate());
        validate(&mut router, 2, 1, |_| passed());
        router.last_due = None;
        router.signal(0, &Signal::Ordered("a look".into()), at(20));
        for second in 20..24 {
            // Nobody answers for the sibling; the standby passes.
            for order in deep(&mut router, at(second)) {
                match order.target.target().id.0 {
                    0 => router.tested(&order, &fails(kind.clone()), at(second)),
                    1 => {}
                    _ => router.tested(&order, &passed(), at(second)),
                }
            }
        }
        assert_eq!(standings(&router)[..2], ["out", mini], "{kind:?}");
    }
}

#[test]
fn nothing_reachable_is_our_own_fault_and_one_resource_alone_is_not() {
    let mut router = prompt(vec![target(0), target(1)]);
    validate(&mut router, 0, 1, |_| fails(REFUSED));
    assert_eq!(standings(&router), ["serving", "serving"]);
    assert_eq!(router.health[0].cause, Some(Cause::OwnFault));
    let alarms = router.snapshot(at(5)).alarms;
    assert!(matches!(alarms[..], [Alarm::CutOff { .. }]), "{alarms:?}");
    let revision = router.revision();
    router.answered(1, at(6));
    router.answered(1, at(6));
    assert_eq!(router.revision(), revision + 1, "those who watch are told once");
    serve_live(&mut router, 1, at(6));
    assert_eq!(router.snapshot(at(6)).alarms, [], "something answers");
    let mut alone = prompt(vec![target(0)]);
    validate(&mut alone, 0, 1, |_| fails(REFUSED));
    assert_eq!(standings(&alone), ["out"]);
}

#[test]
fn that_nothing_is_reachable_is_noticed_once() {
    let mut router = plain(2);
    router.due(at(1));
    (0..2).for_each(|target| router.contacted(target, &Failure::without_response(REFUSED), at(1), at(1)));
    let before = router.revision();
    let mut revision_at = |second| {
        router.due(at(second));
        router.revision() - before
    };
    assert_eq!([2, 3].map(&mut revision_at), [1, 1], "those who watch are told, once");
}

#[test]
fn what_was_unreachable_long_ago_says_nothing_of_now() {
    for (later, own_fault) in [(10, true), (11, false)] {
        let mut router = plain(2);
        router.contacted(0, &Failure::without_response(REFUSED), at(0), at(0));
        router.contacted(1, &Failure::without_response(REFUSED), at(later), at(later));
        assert_eq!(router.is_own_fault(at(later)), own_fault, "after {later} s");
    }
    let mut router = plain(2);
    router.contacted(0, &Failure::without_response(REFUSED), at(0), at(0));
    router.contacted(1, &Failure::without_response(FailureKind::ServerError), at(0), at(0));
    assert!(!router.is_own_fault(at(0)), "an error is an answer");
    router.contacted(1, &Failure::without_response(FailureKind::Local { cause: "no_credential" }), at(1), at(1));
    assert!(!router.is_own_fault(at(1)));
    router.contacted(1, &Failure::without_response(FailureKind::Reset), at(1), at(1));
    assert!(router.is_own_fault(at(1)));
    router.answered(1, at(1));
    assert!(!router.is_own_fault(at(1)), "an answer of the same moment refutes it");
}

#[test]
fn who_waits_in_vain_where_others_are_answered_has_not_met_nobody() {
    for (answered, own_fault) in [(None, true), (Some(3), true), (Some(4), false)] {
        let mut router = plain(2);
        let silence = Failure::without_response(FailureKind::Silence(Silence::FirstContent));
        router.contacted(0, &Failure::without_response(REFUSED), at(5), at(5));
        if let Some(seconds) = answered {
            router.answered(1, at(seconds));
        }
        router.contacted(1, &silence, at(3), at(6));
        assert_eq!(router.is_own_fault(at(6)), own_fault, "answered at {answered:?}");
    }
}

#[test]
fn a_response_head_is_an_answer_before_there_is_any_content() {
    let mut router = plain(2);
    let mut call = Call::new(terms(&router, at(60)), at(1));
    let Decision::Try { ticket, .. } = router.choose(&mut call, at(1)) else { panic!() };
    for (target, second) in [(0, 2), (1, 2)] {
        router.contacted(target, &Failure::without_response(REFUSED), at(second), at(second));
    }
    assert!(router.is_own_fault(at(3)));
    router.head_seen(ticket, Quota::default(), at(3));
    assert!(!router.is_own_fault(at(3)));
}

#[test]
fn those_who_watch_are_told_once_that_a_freeze_begins_and_once_that_it_ends() {
    let mut router = plain(2);
    let mut told = router.revision();
    for (second, freezes, news) in
        [(0, false, false), (0, true, true), (1, true, false), (5, false, false), (6, false, true), (7, false, false)]
    {
        if freezes {
            router.freeze(at(second));
        } else {
            router.thaw(at(second));
        }
        told += u64::from(news);
        assert_eq!(router.revision(), told, "at {second} s");
    }
}

#[test]
fn failures_before_and_during_a_freeze_do_not_count_after_it() {
    for (freezes_at, expected) in [(None, Standing::Suspected), (Some(4), Standing::Serving)] {
        let mut router = plain(2);
        for second in 1..=10 {
            router.thaw(at(second));
            if freezes_at == Some(second) {
                router.freeze(at(second));
            }
            // Five in a row would be suspicious: one comes before the freeze, three while it lasts, one after it.
            if second % 2 == 0 {
                let mut call = Call::new(terms(&router, at(second + 30)), at(second));
                let Decision::Try { ticket, .. } = router.choose(&mut call, at(second)) else { panic!() };
                router.observe(&mut call, ticket, &failed(FailureKind::ServerError), at(second));
            }
        }
        assert_eq!(router.health[0].machine.standing(), expected, "{freezes_at:?}");
    }
}

#[test]
fn a_frozen_process_forgets_what_it_saw_and_blames_nobody() {
    let mut router = prompt(vec![target(0), target(1)]);
    router.due(at(0));
    router.signal(0, &Signal::Ordered("a look".into()), at(0));
    router.due(at(6));
    assert_eq!(router.health[0].cause, Some(Cause::OwnFault), "the window ended while nobody looked");
    assert_eq!(router.snapshot(at(6)).alarms, [Alarm::Frozen { until: at(11) }]);
    assert!(router.is_own_fault(at(6)));
    router.due(at(10));
    let revision = router.revision();
    router.due(at(11));
    assert!(!router.is_own_fault(at(11)) && router.revision() > revision);
    router.due(at(16));
    assert!(!router.is_own_fault(at(16)), "five seconds are not yet a freeze");
}
