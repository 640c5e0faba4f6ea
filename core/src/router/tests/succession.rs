//! Another configuration while calls are in flight.
use super::*;

fn suspect(router: &mut Router, index: usize, now: Moment) {
    router.signal(index, &Signal::Ordered("a look".into()), now);
}

fn begin(router: &mut Router) -> (Call, Ticket, String) {
    let mut call = Call::new(terms(router, at(30)), at(0));
    let (ticket, region) = attempt(router, &mut call);
    (call, ticket, region)
}

fn attempt(router: &mut Router, call: &mut Call) -> (Ticket, String) {
    match router.choose(call, at(0)) {
        Decision::Try { ticket, target, .. } => (ticket, target.target().region.to_string()),
        other => panic!("{other:?}"),
    }
}

/// The router's routes with other targets; policies and numbers stay.
fn reconfigure(router: &mut Router, targets: Vec<Target>) {
    let routes = router.routes().succeed(targets).unwrap();
    let (thresholds, policies) = (router.thresholds().clone(), router.policies.clone());
    router.reconfigure(routes, thresholds, policies, at(0));
}

fn shown(router: &Router) -> Vec<String> {
    router.snapshot(at(0)).targets.iter().map(|view| format!("{} {}", view.target.region, view.priority)).collect()
}

#[test]
fn what_stays_keeps_its_health_and_its_calls_wherever_it_stands_now() {
    let mut router = plain(2);
    let (mut call, ticket, region) = begin(&mut router);
    assert_eq!(region, "swc");
    suspect(&mut router, 0, at(0));
    let revision = router.revision();
    // A new primary, the old one behind it, the old standby gone.
    reconfigure(&mut router, vec![Target { id: TargetId(0), ..target(2) }, Target { id: TargetId(1), ..target(0) }]);
    assert_eq!(shown(&router), ["swc 2", "frc 1"]);
    assert!(router.revision() > revision, "those who watch are told");
    let swc = |router: &Router| router.snapshot(at(0)).targets[0].clone();
    assert_eq!((swc(&router).standing, swc(&router).in_flight), (Standing::Suspected, 1));
    router.observe(&mut call, ticket, &served(), at(1));
    assert_eq!((swc(&router).in_flight, swc(&router).served), (0, 1));
    assert_eq!(begin(&mut router).2, "frc", "new calls go by the new order");
}

#[test]
fn a_call_under_way_ends_where_it_is_but_is_not_rescued_by_what_was_removed() {
    let mut router = plain(3);
    let (mut call, ticket, _) = begin(&mut router);
    reconfigure(&mut router, vec![target(0), Target { id: TargetId(1), ..target(2) }]);
    router.observe(&mut call, ticket, &failed(FailureKind::ServerError), at(1));
    assert_eq!(attempt(&mut router, &mut call).1, "frc", "weu is no longer configured");
}

#[test]
fn nothing_is_sent_to_a_removed_target_and_nothing_is_said_of_it() {
    let mut router = plain(2);
    suspect(&mut router, 1, at(0));
    reconfigure(&mut router, vec![target(0)]);
    for second in 0..7200 {
        let due = router.due(at(second));
        assert!(due.tests.iter().all(|order| &*order.target.target().region == "swc"), "at {second} s");
    }
    assert_eq!(shown(&router), ["swc 1"]);
    assert_eq!(
        router.drain(&Selector { region: Some("weu".into()), ..Selector::default() }, at(9), &"".into(), at(0)),
        []
    );
    reconfigure(&mut router, vec![target(0), target(1)]);
    assert_eq!(shown(&router), ["swc 1", "weu 2"], "and it may come back");
}

#[test]
fn a_narrower_policy_holds_for_the_rescue_of_a_call_that_a_wider_one_admitted() {
    let policy = |regions: &[&str]| {
        let regions = regions.iter().map(|region| (*region).into()).collect();
        Arc::new(Policy { name: "team".into(), regions, ..Policy::unrestricted() })
    };
    let admitted = |router: &Router, policy: &Arc<Policy>| {
        Call::new(CallTerms { policy: Arc::clone(policy), ..terms(router, at(30)) }, at(0))
    };
    let wide = policy(&[]);
    for (successor, then) in [
        (Some(policy(&["swc", "frc"])), "frc"),
        (Some(policy(&["frc"])), "frc"),
        (Some(policy(&[])), "weu"),
        (None, "NotPermitted"),
    ] {
        let mut router = plain(3).serving_policies(vec![Arc::clone(&wide)]);
        let mut call = admitted(&router, &wide);
        let (ticket, _) = attempt(&mut router, &mut call);
        let routes = router.routes().clone();
        router.reconfigure(routes, Thresholds::default(), successor.clone().into_iter().collect(), at(0));
        router.observe(&mut call, ticket, &failed(FailureKind::ServerError), at(1));
        let told = match router.choose(&mut call, at(1)) {
            Decision::Try { target, .. } => target.target().region.to_string(),
            Decision::GiveUp(GiveUp::NotPermitted { .. }) => "NotPermitted".into(),
            other => format!("{other:?}"),
        };
        assert_eq!(told, then, "{successor:?}");
        // A second change, back to what it was: the call may again go where it was admitted to.
        let routes = router.routes().clone();
        router.reconfigure(routes, Thresholds::default(), vec![Arc::clone(&wide)], at(1));
        let mut later = admitted(&router, &wide);
        assert_eq!(attempt(&mut router, &mut later).1, "swc");
    }
}

#[test]
fn a_new_target_is_tested_soon_but_not_in_step_with_other_replicas() {
    let first = [7, 8].map(|seed| {
        let routes = Routes::new(vec![target(0)]).unwrap();
        let mut router = Router::new(routes, Thresholds::default(), seed, Moment::ZERO);
        let routes = router.routes().succeed(vec![target(0), target(1)]).unwrap();
        router.reconfigure(routes, Thresholds::default(), vec![], at(100));
        router.health[1].tests.next
    });
    assert!(first.iter().all(|due| (at(100)..=at(102)).contains(due)) && first[0] != first[1], "{first:?}");
}

#[test]
fn routes_tell_their_targets_by_preference_and_keep_ids_of_those_that_are_gone() {
    let regions = |targets: Vec<&Arc<Target>>| targets.iter().map(|it| it.region.to_string()).collect::<Vec<_>>();
    let routes = Routes::new(vec![target(0), target(1)]).unwrap().succeed(vec![target(2), target(0)]).unwrap();
    let route = routes.find("gpt-4o").unwrap();
    assert_eq!(regions(routes.targets_of(route).collect()), ["frc", "swc"]);
    assert_eq!(regions(routes.targets().iter().collect()), ["swc", "weu", "frc"]);
    assert_eq!(regions(routes.targets_in_use().collect()), ["swc", "frc"]);
    assert!(routes.find("gpt-4").is_none());
}

#[test]
fn the_same_deployment_at_the_same_place_for_the_same_purpose_keeps_its_id() {
    type Change = fn(&mut Target);
    let rows: [(&str, Change, u16); 7] = [
        ("nothing", |_| {}, 0),
        ("sku", |it| it.sku = Sku::ProvisionedManaged, 0),
        ("resource", |it| it.resource_index = 9, 1),
        ("kind", |it| it.kind = ModelKind::Embedding, 1),
        ("model", |it| it.model = "mini".into(), 1),
        ("deployment", |it| it.deployment = "other".into(), 1),
        ("region", |it| it.region = "weu".into(), 1),
    ];
    let routes = Routes::new(vec![target(0)]).unwrap();
    for (what, change, id) in rows {
        let mut other = target(0);
        change(&mut other);
        let route = Arc::clone(&routes.succeed(vec![other]).unwrap().all()[0]);
        assert_eq!(route.targets, [TargetId(id)], "{what}");
    }
}

#[test]
fn what_makes_no_routes_is_told() {
    let mixed = Target { kind: ModelKind::Embedding, ..target(1) };
    for (targets, told) in [
        (vec![target(1)], "target 1 is not at its place"),
        (vec![target(0), mixed], "targets of model gpt-4o are of different kinds"),
    ] {
        assert_eq!(Routes::new(targets).unwrap_err().to_string(), told);
    }
    assert_eq!(RoutesError::TooMany.to_string(), "more than 65535 targets");
}

#[test]
fn another_address_is_another_target() {
    let mut router = plain(2);
    suspect(&mut router, 0, at(0));
    let moved = Target { resource_index: 2, ..target(0) };
    reconfigure(&mut router, vec![moved, target(1)]);
    let views = router.snapshot(at(0)).targets;
    let told: Vec<_> = views.iter().map(|view| (view.target.region.to_string(), view.standing)).collect();
    assert_eq!(told, [("weu".into(), Standing::Serving), ("swc".into(), Standing::Serving)]);
    assert_eq!(router.resources[0].targets, []);
    assert_eq!(router.resources[2].targets, [TargetId(2)]);
}
