//! Azure's answers contradict the configuration: an alarm, and where the configuration says so a target that takes no
//! calls until somebody releases it.
use super::*;

fn strict(id: u16) -> Target {
    let claims = Claims { on_mismatch: OnMismatch::Quarantine, ..Claims::default() };
    Target { claims, ..target(id) }
}

fn elsewhere() -> Mismatch {
    Mismatch::Region { reported: "East US 2".into() }
}

fn region_tried(router: &mut Router, now: Moment) -> Result<String, GiveUp> {
    let mut call = Call::new(terms(router, now + secs(30)), now);
    match router.choose(&mut call, now) {
        Decision::Try { ticket, target, .. } => {
            router.observe(&mut call, ticket, &served(), now);
            Ok(target.target().region.to_string())
        }
        Decision::GiveUp(why) => Err(why),
        Decision::Wait { .. } => panic!("a wait for nothing"),
    }
}

#[test]
fn an_alarm_alone_moves_nothing_and_stands_until_it_is_released() {
    let mut router = plain(2);
    let revision = router.revision();
    assert!(router.mismatched(TargetId(0), &elsewhere(), at(5)), "news");
    assert!(router.revision() > revision, "those who watch are told");
    assert!(!router.mismatched(TargetId(0), &elsewhere(), at(6)), "told already");
    assert!(router.mismatched(TargetId(0), &Mismatch::Spillover, at(7)), "another contradiction is news");
    assert_eq!(region_tried(&mut router, at(8)), Ok("swc".into()));
    let snapshot = router.snapshot(at(9));
    let target = Arc::clone(&snapshot.targets[0].target);
    let alarm = Alarm::Mismatch { target, mismatch: Mismatch::Spillover, since: at(5), quarantined: false };
    assert_eq!((snapshot.alarms.as_slice(), &snapshot.targets[0].overlay), ([alarm].as_slice(), &None));
    let revision = router.revision();
    assert_eq!(router.release(&Selector::default(), &"mended".into(), at(0)).len(), 1);
    assert!(router.snapshot(at(10)).alarms.is_empty() && router.revision() > revision, "that it is over is news too");
    assert!(!router.mismatched(TargetId(9), &elsewhere(), at(11)), "no such target");
}

#[test]
fn a_quarantined_target_takes_no_call_until_it_is_released() {
    let mut router = router(vec![strict(0), target(1)]);
    assert_eq!(region_tried(&mut router, at(1)), Ok("swc".into()));
    router.mismatched(TargetId(0), &elsewhere(), at(2));
    assert_eq!(region_tried(&mut router, at(3)), Ok("weu".into()));
    let snapshot = router.snapshot(at(4));
    let view = &snapshot.targets[0];
    assert_eq!((&view.overlay, view.share), (&Some(Overlay::Quarantined { since: at(2) }), 0.0));
    assert_eq!(&*snapshot.models[0].active.as_ref().unwrap().region, "weu");
    assert_eq!(snapshot.models[0].ready_standbys, 0);
    // Not even when it is missed most sorely.
    let mut call = Call::new(terms(&router, at(40)), at(10));
    let Decision::Try { ticket, target, .. } = router.choose(&mut call, at(10)) else { panic!() };
    assert_eq!(&*target.target().region, "weu");
    router.observe(&mut call, ticket, &failed(FailureKind::ServerError), at(11));
    let mut now = at(11);
    let told = (0..20).find_map(|_| {
        match router.choose(&mut call, now) {
            Decision::Try { ticket, target, reason, .. } => {
                assert_eq!((&*target.target().region, reason), ("weu", AttemptReason::Retry));
                router.observe(&mut call, ticket, &failed(FailureKind::ServerError), now);
            }
            Decision::Wait { until } => now = until,
            Decision::GiveUp(why) => return Some(why),
        }
        None
    });
    assert!(matches!(told, Some(GiveUp::Unavailable { .. })), "{told:?}");
    assert_eq!(router.release(&Selector::default(), &"mended".into(), at(0)).len(), 1);
    assert_eq!(region_tried(&mut router, at(60)), Ok("swc".into()));
}

#[test]
fn a_sole_target_is_quarantined_all_the_same_and_gets_no_test_calls() {
    let mut router = router(vec![strict(0)]);
    router.mismatched(TargetId(0), &Mismatch::Deployment { reported: "other".into() }, at(1));
    assert!(matches!(region_tried(&mut router, at(2)), Err(GiveUp::Unavailable { .. })));
    assert_eq!(
        router.snapshot(at(2)).alarms.iter().map(Alarm::as_str).collect::<Vec<_>>(),
        ["no_good_target", "deployment_mismatch"]
    );
    for second in 2..200 {
        assert_eq!(router.due(at(second)).tests, [], "at {second} s");
    }
    assert!(router.order_validation(&Selector::default(), &"a look".into(), at(200)).len() == 1);
    assert_eq!(router.due(at(200)).tests, []);
    router.release(&Selector::default(), &"mended".into(), at(0));
    assert_eq!(region_tried(&mut router, at(201)), Ok("swc".into()));
}

#[test]
fn a_pin_and_a_retry_that_was_decided_before_do_not_lead_there() {
    let mut router = router(vec![strict(0), target(1)]);
    let options = RoutingOptions { workflow_id: Some("run".into()), ..RoutingOptions::default() };
    let pinned = |router: &mut Router, now| {
        let terms = CallTerms { options: Arc::new(options.clone()), ..terms(router, at(100)) };
        let mut call = Call::new(terms, now);
        let Decision::Try { ticket, target, .. } = router.choose(&mut call, now) else { panic!() };
        router.observe(&mut call, ticket, &served(), now);
        target.target().region.to_string()
    };
    assert_eq!(pinned(&mut router, at(1)), "swc");
    router.mismatched(TargetId(0), &elsewhere(), at(2));
    assert_eq!(pinned(&mut router, at(3)), "weu");

    let mut router = self::router(vec![strict(0)]);
    let mut call = Call::new(terms(&router, at(40)), at(10));
    let Decision::Try { ticket, .. } = router.choose(&mut call, at(10)) else { panic!() };
    router.observe(&mut call, ticket, &failed(FailureKind::ServerError), at(10));
    let Decision::Wait { until } = router.choose(&mut call, at(10)) else { panic!("no retry was decided") };
    router.mismatched(TargetId(0), &elsewhere(), at(10));
    assert!(matches!(router.choose(&mut call, until), Decision::GiveUp(_)));
}
