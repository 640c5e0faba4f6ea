use proptest::prelude::*;

use super::*;

/// What the policy should permit, written again from the design and not from the code.
fn reference(target: &Target, policy: &Policy, options: &RoutingOptions) -> bool {
    let region_ok = policy.regions.is_empty() || policy.regions.contains(&target.region);
    let label = target.boundary.as_deref();
    let boundary_ok = policy.boundaries.is_empty() || policy.boundaries.iter().any(|name| Some(&**name) == label);
    let asked_region =
        options.allowed_regions.is_empty() || options.allowed_regions.iter().any(|n| **n == *target.region);
    let asked_boundary = options.data_boundary.is_none() || options.data_boundary.as_deref() == label;
    let widest = options.max_scope.map_or(policy.max_scope, |asked| asked.min(policy.max_scope));
    region_ok && boundary_ok && asked_region && asked_boundary && target.scope <= widest
}

fn scope() -> impl Strategy<Value = ProcessingScope> {
    prop_oneof![Just(ProcessingScope::Regional), Just(ProcessingScope::DataZone), Just(ProcessingScope::Global)]
}

fn regions() -> impl Strategy<Value = Vec<&'static str>> {
    proptest::sample::subsequence(REGIONS.to_vec(), 0..=4)
}

fn outcome() -> impl Strategy<Value = Observation> {
    prop_oneof![
        4 => Just(failed(FailureKind::ServerError)),
        1 => Just(failed(FailureKind::Forbidden)),
        1 => Just(failed(FailureKind::Rejected(Rejection::ContextLength))),
        3 => (0u64..100_000).prop_map(|hint| failed(throttled(hint))),
    ]
}

proptest! {
    #[test]
    fn a_call_ends_within_its_policy_and_its_time(
        scopes in proptest::collection::vec(scope(), 1..=4),
        allowed in regions(), asked in regions(), us_only in any::<bool>(), eu_asked in any::<bool>(),
        widest in scope(), asked_scope in proptest::option::of(scope()),
        outcomes in proptest::collection::vec((outcome(), 0u64..4000), 12),
    ) {
        let targets: Vec<_> =
            scopes.iter().zip(0u16..).map(|(scope, id)| Target { scope: *scope, ..target(id) }).collect();
        let policy = Policy {
            regions: allowed.iter().map(|name| (*name).into()).collect(),
            boundaries: if us_only { vec!["us".into()] } else { vec![] },
            max_scope: widest,
            ..Policy::unrestricted()
        };
        let options = RoutingOptions {
            allowed_regions: asked.iter().map(|name| (*name).into()).collect(),
            data_boundary: eu_asked.then(|| "eu".into()),
            max_scope: asked_scope,
            ..RoutingOptions::default()
        };
        let permitted: Vec<_> = targets.iter().filter(|t| reference(t, &policy, &options)).map(|t| t.id).collect();
        let mut router = router(targets);
        let terms = CallTerms { policy: Arc::new(policy), options: Arc::new(options), ..terms(&router, at(30)) };
        let mut call = Call::new(terms, at(0));
        let (mut now, mut tried, mut refused, mut ended) = (at(0), vec![], false, false);
        for (observation, millis) in &outcomes {
            match router.choose(&mut call, now) {
                Decision::Try { ticket, target, limits, .. } => {
                    let (id, remaining) = (target.target().id, at(30).since(now));
                    prop_assert!(permitted.contains(&id) && !refused);
                    prop_assert!(limits.total <= remaining && limits.first_content <= limits.total);
                    if tried.is_empty() && permitted.len() > 1 {
                        prop_assert!(limits.rescue_by <= remaining * 60 / 100);
                    }
                    prop_assert!(!tried.contains(&id) || permitted.iter().all(|other| tried.contains(other)));
                    tried.push(id);
                    now = now + Duration::from_millis(*millis);
                    router.observe(&mut call, ticket, observation, now);
                    refused = matches!(observation, Observation::Failed(f) if f.class() == FailureClass::Caller);
                }
                Decision::Wait { until } => {
                    prop_assert!(until > now && until <= at(30) && !refused);
                    now = until;
                }
                Decision::GiveUp(why) => {
                    prop_assert_eq!(permitted.is_empty(), matches!(why, GiveUp::NotPermitted { .. }));
                    ended = true;
                    break;
                }
            }
        }
        prop_assert!(ended, "4 targets, 2 retries and 3 waits are the most");
        for view in router.snapshot(now).targets {
            prop_assert_eq!(view.in_flight, 0);
            if let Some(Overlay::Cooling { until }) = view.overlay {
                prop_assert!(until.since(now) <= secs(60));
            }
        }
    }

    #[test]
    fn any_order_at_any_time_is_survived(steps in proptest::collection::vec((0u8..5, any::<u64>(), outcome()), 1..60)) {
        let mut router = plain(3);
        let mut call = Call::new(terms(&router, at(u64::MAX / 2)), at(0));
        let mut open = vec![];
        for (step, nanos, observation) in steps {
            let now = Moment::after_origin(Duration::from_nanos(nanos));
            match step {
                0 | 1 => if let Decision::Try { ticket, .. } = router.choose(&mut call, now) { open.push(ticket) },
                2 => if let Some(ticket) = open.pop() { router.observe(&mut call, ticket, &observation, now) },
                3 => if let Some(ticket) = open.pop() { router.abandon(ticket, at(0)) },
                _ => { router.due(now); router.snapshot(now); }
            }
            if step == 4 { call = Call::new(terms(&router, at(u64::MAX / 2)), now) }
        }
        open.into_iter().for_each(|ticket| router.abandon(ticket, at(0)));
        prop_assert!(router.snapshot(at(0)).targets.iter().all(|view| view.in_flight == 0));
    }
}
