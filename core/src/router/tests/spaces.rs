//! Embedding targets and the reference of their space: who settles it, who leaves, who comes back, who waits.
use super::{proving::*, *};

fn large() -> Arc<EmbeddingSpace> {
    let (model, version) = ("large".into(), Some("1".into()));
    Arc::new(EmbeddingSpace { model, version, dimensions: 2, shortened: false })
}

fn embedding(id: u16) -> Target {
    Target { kind: ModelKind::Embedding, embedding_space: Some(large()), ..target(id) }
}

/// The first test calls are due at once, and so are the comparisons.
fn spaces(count: u16) -> Router {
    let mut router = prompt((0..count).map(embedding).collect());
    router.health.iter_mut().for_each(|health| health.space.due = Some(at(0)));
    router
}

/// A vector that points there, in degrees; two agree if they are no more than 2.5 degrees apart.
fn pointing(degrees: f64) -> Vector {
    let radians = degrees.to_radians();
    Vector::from_components([radians.cos() as f32, radians.sin() as f32])
}

/// What a target says, as a table can write it.
#[derive(Clone, Copy, Debug)]
enum Says {
    Points(f64),
    /// A vector of another length.
    Long,
    /// The adapter refused it.
    Named,
}

fn tell(router: &mut Router, id: u16, says: Says, now: Moment) {
    let said = match says {
        Says::Points(degrees) => Ok(pointing(degrees)),
        Says::Long => Ok(Vector::from_components([1.0, 0.0, 0.0])),
        Says::Named => Err(Drift::Model { expected: "large".into(), stated: "small".into() }),
    };
    router.compared(TargetId(id), said, now);
}

/// `-` never compared, `=` comparable, `x` drifted.
fn states(router: &Router) -> String {
    let state = |health: &TargetHealth| match (&health.space.drifted, health.space.last) {
        (Some(_), _) => 'x',
        (None, Some(_)) => '=',
        (None, None) => '-',
    };
    router.health.iter().map(state).collect()
}

fn embed(router: &Router, now: Moment) -> Call {
    Call::new(CallTerms { delivery: Delivery::Embedded, ..terms(router, now + secs(30)) }, now)
}

/// Where a call goes, or the word for why nowhere.
fn next(router: &mut Router, call: &mut Call, now: Moment) -> (String, Option<Ticket>) {
    match router.choose(call, now) {
        Decision::Try { ticket, target, .. } => (target.target().region.to_string(), Some(ticket)),
        Decision::Wait { .. } => ("wait".into(), None),
        Decision::GiveUp(GiveUp::Unavailable { .. }) => ("unavailable".into(), None),
        Decision::GiveUp(other) => panic!("{other:?}"),
    }
}

fn goes_to(router: &mut Router, now: Moment) -> String {
    let mut call = embed(router, now);
    let (region, ticket) = next(router, &mut call, now);
    if let Some(ticket) = ticket {
        router.observe(&mut call, ticket, &served(), now);
    }
    region
}

#[test]
fn a_space_settles_by_agreement_and_by_the_order_of_the_route_where_nobody_agrees() {
    use Says::*;
    for (what, count, told, expected, settled) in [
        ("a sole target is its own reference", 1, &[(0, Points(0.0))][..], "=", Some(0.0)),
        ("one of two speaks for now", 2, &[(0, Points(0.0))], "=-", None),
        ("the standby too, while the primary is down", 2, &[(1, Points(9.0))], "-=", None),
        ("two that agree settle it", 2, &[(1, Points(1.0)), (0, Points(0.0))], "==", Some(0.0)),
        ("two that do not: the first in the route", 2, &[(1, Points(9.0)), (0, Points(0.0))], "=x", Some(0.0)),
        (
            "two of three, and the primary is alone",
            3,
            &[(0, Points(0.0)), (1, Points(9.0)), (2, Points(9.5))],
            "x==",
            Some(9.0),
        ),
        ("two of three that disagree wait for the third", 3, &[(1, Points(9.0)), (0, Points(0.0))], "=x-", None),
        ("three that all disagree", 3, &[(2, Points(40.0)), (1, Points(20.0)), (0, Points(0.0))], "=xx", Some(0.0)),
        (
            "the first pair, and whoever joins it",
            4,
            &[(0, Points(0.0)), (1, Points(20.0)), (2, Points(20.0)), (3, Points(21.0))],
            "x===",
            Some(20.0),
        ),
        ("another length has no vote", 2, &[(0, Long), (1, Points(0.0))], "x=", None),
        ("nor has another name", 2, &[(0, Named), (1, Points(0.0))], "x=", None),
    ] {
        let mut router = spaces(count);
        for (id, says) in told {
            tell(&mut router, *id, *says, at(1));
        }
        assert_eq!(states(&router), expected, "{what}");
        let reference = router.references().into_iter().next().map(|reference| reference.vector);
        assert_eq!(reference, settled.map(pointing), "{what}");
        assert_eq!(router.count_references(), usize::from(settled.is_some()), "{what}");
    }
}

#[test]
fn a_settled_reference_follows_nobody() {
    let mut router = spaces(3);
    tell(&mut router, 0, Says::Points(0.0), at(1));
    tell(&mut router, 1, Says::Points(1.0), at(1));
    for id in [0, 1, 2] {
        tell(&mut router, id, Says::Points(60.0), at(2));
    }
    assert_eq!(states(&router), "xxx", "all have changed, and the reference has not");
    assert_eq!(goes_to(&mut router, at(3)), "unavailable", "rather no vector than one of another space");
    assert_eq!(router.snapshot(at(3)).alarms.iter().filter(|alarm| alarm.as_str() == "embedding_drift").count(), 3);
    assert_eq!(router.references()[0].vector, pointing(0.0));
}

#[test]
fn who_speaks_for_now_is_held_to_its_own_first_word() {
    let mut router = spaces(2);
    tell(&mut router, 0, Says::Points(0.0), at(1));
    tell(&mut router, 0, Says::Points(60.0), at(2));
    assert_eq!((states(&router), router.count_references()), ("x-".into(), 0));
    tell(&mut router, 1, Says::Points(0.5), at(3));
    assert_eq!((states(&router), router.count_references()), ("x=".into(), 1), "and the other one bears it out");
}

#[test]
fn a_deployment_under_two_models_has_one_voice_and_one_out_of_reach_has_none() {
    let of = |id: u16, model: &str| Target { id: TargetId(id), model: model.into(), ..embedding(0) };
    let mut router = router(vec![of(0, "gpt-4o"), of(1, "alias"), Target { id: TargetId(2), ..embedding(1) }]);
    tell(&mut router, 0, Says::Points(0.0), at(1));
    tell(&mut router, 1, Says::Points(0.0), at(1));
    assert_eq!((states(&router), router.count_references()), ("==-".into(), 0), "it agrees with itself");
    let only_swc = Policy { regions: vec!["swc".into()], ..Policy::unrestricted() };
    let mut router = spaces(2).serving_policies(vec![Arc::new(only_swc)]);
    tell(&mut router, 0, Says::Points(0.0), at(1));
    assert_eq!(router.count_references(), 1, "nobody waits for one that is never asked");
}

#[test]
fn a_drifted_target_takes_no_call_and_is_told_of_until_it_compares_again() {
    let mut router = spaces(2);
    router.restore_references(vec![Reference { space: large(), vector: pointing(0.0) }]);
    tell(&mut router, 1, Says::Points(0.0), at(1));
    let before = router.revision();
    tell(&mut router, 0, Says::Points(60.0), at(2));
    assert!(router.revision() > before, "those who watch are told");
    let drift = Drift::Direction { cosine: pointing(0.0).cosine(&pointing(60.0)) };
    let snapshot = router.snapshot(at(3));
    let view = &snapshot.targets[0];
    assert_eq!((&view.overlay, view.share), (&Some(Overlay::Drifted { since: at(2), drift: drift.clone() }), 0.0));
    assert!(view.compared.is_some_and(|(when, cosine)| when == at(2) && (cosine - 0.5).abs() < 1e-6));
    assert_eq!((view.standing, snapshot.models[0].ready_standbys), (Standing::Serving, 0));
    let alarm = Alarm::Drifted { target: Arc::clone(&view.target), since: at(2), drift: drift.clone() };
    assert!(snapshot.alarms.contains(&alarm));
    assert_eq!(alarm.target(), Some(&view.target));
    assert!(alarm.message().starts_with("cosine 0.5000 between"), "{}", alarm.message());
    assert_eq!(snapshot.transitions[0].cause, Cause::Drifted { drift });
    assert_eq!(goes_to(&mut router, at(3)), "weu");
    tell(&mut router, 0, Says::Points(61.0), at(4));
    assert_eq!(router.snapshot(at(4)).transitions.len(), 1, "told once");
    assert!(matches!(router.health[0].overlay(at(4)), Some(Overlay::Drifted { since, .. }) if since == at(2)));

    tell(&mut router, 0, Says::Points(1.0), at(5));
    let snapshot = router.snapshot(at(5));
    assert!(matches!(snapshot.transitions[0].cause, Cause::Comparable { cosine } if cosine > 0.999));
    assert_eq!((&snapshot.targets[0].overlay, snapshot.alarms.len()), (&None, 0));
    assert_eq!(goes_to(&mut router, at(6)), "swc", "at once: it was never ill");
    tell(&mut router, 0, Says::Points(1.0), at(7));
    assert_eq!(router.snapshot(at(7)).transitions.len(), 2, "and once");
}

#[test]
fn one_that_was_never_compared_waits_for_those_that_were() {
    let mut router = spaces(3);
    assert_eq!(goes_to(&mut router, at(0)), "swc", "where nobody was, all serve");
    router.restore_references(vec![Reference { space: large(), vector: pointing(0.0) }]);
    tell(&mut router, 1, Says::Points(0.0), at(1));
    assert_eq!(goes_to(&mut router, at(1)), "weu");
    assert_eq!(&*router.snapshot(at(1)).models[0].active.as_ref().unwrap().region, "weu");
    // Once the compared one has failed the call, or cools, or is out, the others may help.
    let mut call = embed(&router, at(1));
    let (region, ticket) = next(&mut router, &mut call, at(1));
    router.observe(&mut call, ticket.unwrap(), &failed(FailureKind::ServerError), at(1));
    assert_eq!((region, next(&mut router, &mut call, at(1)).0), ("weu".into(), "swc".into()));
    router.health[1].pace.joins(Priority::Interactive, at(5));
    router.limits_seen(TargetId(1), Quota { limit_tokens: Some(60_000), ..Quota::default() }, at(2));
    let Decision::Wait { until } = router.choose(&mut embed(&router, at(2)), at(2)) else { panic!() };
    assert_eq!(until, at(5), "its turn is waited for");
    router.health[1].throttled(secs(20), &Thresholds::default(), at(2));
    assert_eq!(goes_to(&mut router, at(2)), "swc");
    assert_eq!(goes_to(&mut router, at(30)), "weu");
    router.signal(1, &Signal::ResourceDown, at(31));
    assert_eq!(goes_to(&mut router, at(31)), "swc");
}

#[test]
fn a_reply_of_another_space_is_rescued_and_its_target_leaves_at_once() {
    for drift in
        [Drift::Length { expected: 2, found: 3 }, Drift::Model { expected: "large".into(), stated: "small".into() }]
    {
        let mut router = spaces(2);
        let mut call = embed(&router, at(0));
        let (first, ticket) = next(&mut router, &mut call, at(0));
        router.observe(&mut call, ticket.unwrap(), &failed(FailureKind::OtherSpace(drift.clone())), at(1));
        assert_eq!((first, next(&mut router, &mut call, at(1)).0), ("swc".into(), "weu".into()));
        assert_eq!(router.health[0].overlay(at(1)), Some(Overlay::Drifted { since: at(1), drift }));
        assert_eq!(goes_to(&mut router, at(2)), "weu");
        tell(&mut router, 0, Says::Points(0.0), at(3));
        assert_eq!(states(&router), "=-");
    }
    let mut chat = plain(1);
    let kind = FailureKind::OtherSpace(Drift::Direction { cosine: 0.0 });
    chat.drifted(0, Drift::Direction { cosine: 0.0 }, at(0));
    tell(&mut chat, 0, Says::Points(0.0), at(0));
    tell(&mut chat, 7, Says::Points(0.0), at(0));
    assert_eq!((states(&chat), kind.as_str()), ("-".into(), "other_embedding_space"), "chat has no space");
}

#[test]
fn comparisons_are_due_at_the_start_and_daily_though_traffic_proves_the_target() {
    let day = 24 * 3600;
    let fresh = |seed| {
        let targets = vec![embedding(0), embedding(1), embedding(2), Target { model: "mini".into(), ..target(3) }];
        Router::new(Routes::new(targets).unwrap(), Thresholds::default(), seed, Moment::ZERO)
    };
    let due = |router: &Router| router.health.iter().map(|health| health.space.due).collect::<Vec<_>>();
    let (one, replica) = (fresh(7), fresh(8));
    for place in 0..3 {
        let after = due(&one)[place].unwrap().since(at(place as u64)).as_millis();
        assert!(
            after < 100,
            "the primary at once, each standby when those before it had their turn: {place}, {after} ms"
        );
        assert_ne!(due(&one)[place], due(&replica)[place], "replicas do not ask in step");
        assert!(one.health[place].tests.next >= due(&one)[place].unwrap(), "no other test call compares it before");
    }
    assert_eq!(due(&one)[3], None, "chat has nothing to compare");
    let other = Target { model: "other".into(), ..embedding(2) };
    assert!(due(&router(vec![embedding(0), embedding(1), other]))[2] < Some(at(1)), "each route has its primary");

    let mut router = spaces(1);
    serve_live(&mut router, 0, at(0));
    let [order] = &deep(&mut router, at(0))[..] else { panic!("proven by traffic, and yet never compared") };
    assert_eq!(order.purpose, TestPurpose::Background);
    assert!(deep(&mut router, at(1)).is_empty(), "one at a time");
    tell(&mut router, 0, Says::Points(0.0), at(1));
    router.tested(order, &passed(), at(1));
    let due = router.health[0].space.due.unwrap();
    assert!((day * 4 / 5..=day * 6 / 5).contains(&due.since(at(0)).as_secs()), "jittered by a fifth: {due:?}");
    router.last_due = None;
    serve_live(&mut router, 0, due - secs(10));
    router.health[0].tests.next = due + secs(100);
    router.last_due = None;
    assert!(deep(&mut router, due - Duration::from_millis(1)).is_empty());
    assert_eq!(router.due(due - Duration::from_millis(1)).next, Some(due).min(router.resources[0].next_cheap.into()));
    assert_eq!(deep(&mut router, due).len(), 1);
}

#[test]
fn who_has_not_answered_is_asked_again_soon_and_a_throttled_one_when_it_has_cooled() {
    for (result, soonest, latest) in [(fails(FailureKind::ServerError), 10, 10), (fails(throttled(30)), 30, 30)] {
        let mut router = spaces(1);
        let [order] = &deep(&mut router, at(0))[..] else { panic!() };
        router.tested(order, &result, at(0));
        let alive = router.health[0].machine.standing();
        assert_eq!((states(&router), alive), ("-".into(), Standing::Serving), "alive, and not compared yet");
        router.health[0].tests.next = at(500);
        serve_live_if_open(&mut router, at(1));
        let mut asked = None;
        for second in 1..60 {
            router.last_due = None;
            if asked.is_none() && !deep(&mut router, at(second)).is_empty() {
                asked = Some(second);
            }
        }
        assert!((soonest..=latest).contains(&asked.unwrap()), "{result:?}: {asked:?}");
    }
    // One that stands compared is not asked more often because a call failed.
    let mut router = spaces(1);
    let [order] = &deep(&mut router, at(0))[..] else { panic!() };
    tell(&mut router, 0, Says::Points(0.0), at(0));
    let due = router.health[0].space.due;
    router.tested(order, &fails(FailureKind::ServerError), at(0));
    assert_eq!(router.health[0].space.due, due);
}

fn serve_live_if_open(router: &mut Router, now: Moment) {
    if router.health[0].cooling_until(now).is_none() {
        serve_live(router, 0, now);
    }
}

#[test]
fn comparisons_are_paid_for_from_the_days_tokens() {
    let testing = Testing { tokens_per_day: 30, ..Testing::default() };
    let numbers = Thresholds { testing, ..Thresholds::default() };
    let mut router = Router::new(Routes::new(vec![embedding(0)]).unwrap(), numbers, 7, at(0));
    router.health[0].space.due = Some(at(0));
    assert!(deep(&mut router, at(0)).is_empty(), "40 are needed");
    let due = router.health[0].space.due.unwrap();
    assert!(due > at(0) && router.due(at(0)).next.unwrap() > at(0), "and nobody asks in circles");
}

#[test]
fn where_no_policy_lets_a_test_call_go_nobody_asks_in_circles() {
    let nowhere = Policy { regions: vec!["nowhere".into()], ..Policy::unrestricted() };
    let mut router = spaces(1).serving_policies(vec![Arc::new(nowhere)]);
    let due = router.due(at(0));
    assert!(due.tests.is_empty());
    assert!(due.next.is_some_and(|next| next > at(0)), "{:?}", due.next);
}

#[test]
fn another_configuration_keeps_what_was_compared_unless_the_space_is_another() {
    let mut router = spaces(2);
    tell(&mut router, 0, Says::Points(0.0), at(1));
    tell(&mut router, 1, Says::Points(60.0), at(1));
    let reconfigure = |router: &mut Router, targets: Vec<Target>| {
        let routes = router.routes().succeed(targets).unwrap();
        let (thresholds, policies) = (router.thresholds().clone(), router.policies.clone());
        router.reconfigure(routes, thresholds, policies, at(2));
    };
    reconfigure(&mut router, vec![embedding(0), embedding(1), embedding(2)]);
    assert_eq!(states(&router), "=x-");
    assert!(router.health[2].space.due.is_some_and(|due| due < at(5)), "a new one is compared soon");
    let short = Arc::new(EmbeddingSpace { dimensions: 3, ..(*large()).clone() });
    let other = |id| Target { embedding_space: Some(Arc::clone(&short)), ..embedding(id) };
    reconfigure(&mut router, vec![other(0), other(1)]);
    assert_eq!(states(&router), "---", "what left the configuration is forgotten as well");
    assert!(router.health[0].space.due.is_some_and(|due| due < at(3)));
    assert_eq!(router.count_references(), 1, "the other space's reference is kept");
}

#[test]
fn a_first_comparison_is_news_and_so_is_a_reference_that_settles_when_the_others_are_gone() {
    let mut router = spaces(2);
    let is_news = |router: &mut Router| {
        let before = router.revision();
        tell(router, 0, Says::Points(0.0), at(1));
        router.revision() > before
    };
    assert!(is_news(&mut router) && !is_news(&mut router), "the same again is none");
    let routes = router.routes().succeed(vec![embedding(0)]).unwrap();
    router.reconfigure(routes, Thresholds::default(), router.policies.clone(), at(1));
    assert_eq!(router.count_references(), 0);
    assert!(is_news(&mut router), "those who keep references are told, though no target has changed");
    assert_eq!(router.count_references(), 1);
}

#[test]
fn a_cosine_of_0_999_is_comparable_and_one_below_is_not() {
    let space = Arc::new(EmbeddingSpace { dimensions: 6, ..(*large()).clone() });
    let reference = Vector::from_components([1.0, 0.0, 0.0, 0.0, 0.0, 0.0]);
    for (first, state) in [(999.0, "="), (998.0, "x")] {
        let mut router = router(vec![Target { embedding_space: Some(Arc::clone(&space)), ..embedding(0) }]);
        router.restore_references(vec![Reference { space: Arc::clone(&space), vector: reference.clone() }]);
        // With 999 it is 1000 long.
        router.compared(TargetId(0), Ok(Vector::from_components([first, 44.0, 7.0, 3.0, 2.0, 1.0])), at(1));
        assert_eq!(states(&router), state, "{first}");
    }
}

#[test]
fn a_reference_of_another_length_is_not_taken_up() {
    let mut router = spaces(1);
    let of = |degrees: f64| Reference { space: large(), vector: pointing(degrees) };
    let long = Reference { space: large(), vector: Vector::from_components([1.0, 0.0, 0.0]) };
    assert_eq!(router.restore_references(vec![long]), 0);
    assert_eq!(router.restore_references(vec![of(5.0)]), 1);
    assert_eq!(router.references(), [of(5.0)]);
}

#[test]
fn targets_of_two_spaces_make_no_route() {
    let small = EmbeddingSpace { model: "small".into(), version: None, dimensions: 2, shortened: false };
    let other = Target { embedding_space: Some(Arc::new(small)), deployment: "embed".into(), ..embedding(1) };
    let refused = Routes::new(vec![embedding(0), other]).unwrap_err().to_string();
    assert_eq!(
        refused,
        "targets of model gpt-4o embed into different spaces: gpt-4o at swc into large/1/2, embed at weu into small/2; \
         vectors of two kinds in one route would corrupt every index"
    );
}
