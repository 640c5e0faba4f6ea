//! Calls and Azure's quota: waiting for a turn, spilling over, giving way, learning and healing.
use proptest::prelude::*;

use super::*;

/// In place of Azure's limits that nobody has stated.
const UNKNOWN: RateLimits = RateLimits { tokens_per_minute: None, requests_per_minute: None };

fn tokens(limit: u32) -> RateLimits {
    RateLimits { tokens_per_minute: Some(limit), ..UNKNOWN }
}

fn limited(id: u16, limits: RateLimits) -> Target {
    Target { claims: Claims { limits, ..Claims::default() }, ..target(id) }
}

/// Targets with these limits, one in each region.
fn world(limits: &[RateLimits]) -> Router {
    router(limits.iter().zip(0..).map(|(limits, id)| limited(id, *limits)).collect())
}

/// A call of so many prompt tokens that has 20 s.
fn call(router: &Router, tokens: u64, priority: Priority, now: Moment) -> Call {
    let options = RoutingOptions { priority, ..RoutingOptions::default() };
    let terms = CallTerms { prompt_tokens: tokens, options: Arc::new(options), ..terms(router, now + secs(20)) };
    Call::new(terms, now)
}

/// Region and reason, how many milliseconds to wait, or why not.
fn tell(decision: &Decision, now: Moment) -> String {
    match decision {
        Decision::Try { target, reason, .. } => format!("{} {}", target.target().region, reason.as_str()),
        Decision::Wait { until } => format!("wait {}", until.since(now).as_millis()),
        Decision::GiveUp(GiveUp::Throttled { retry_after }) => format!("throttled {}", retry_after.as_millis()),
        Decision::GiveUp(why) => format!("{why:?}").split([' ', '(']).next().unwrap().to_owned(),
    }
}

/// What becomes of a new call.
fn offer(router: &mut Router, tokens: u64, priority: Priority, now: Moment) -> String {
    let mut call = call(router, tokens, priority, now);
    tell(&router.choose(&mut call, now), now)
}

fn ms(millis: u64) -> Moment {
    Moment::after_origin(Duration::from_millis(millis))
}

use Priority::{Bulk, Interactive};

#[test]
fn where_no_limit_is_known_nobody_is_held_back() {
    let mut router = world(&[UNKNOWN, UNKNOWN]);
    for _ in 0..200 {
        assert_eq!(offer(&mut router, 1_000_000, Bulk, at(0)), "swc route");
    }
}

#[test]
fn the_fewest_tokens_a_minute_of_a_route_are_known_as_far_as_any_are() {
    for (limits, expected) in [
        (vec![UNKNOWN, UNKNOWN], None),
        (vec![tokens(6000), UNKNOWN], Some(6000)),
        (vec![tokens(6000), tokens(4000)], Some(4000)),
    ] {
        let router = world(&limits);
        assert_eq!(router.tokens_per_minute(&router.routes().all()[0], at(0)), expected);
    }
}

#[test]
fn a_short_wait_is_better_than_another_region_and_a_long_one_is_not() {
    let mut router = world(&[tokens(6000), tokens(6000)]);
    assert_eq!(offer(&mut router, 6000, Interactive, at(0)), "swc route");
    // 100 tokens come back in a second. Who has 20 s waits for up to one.
    assert_eq!(offer(&mut router, 101, Interactive, at(0)), "weu spill");
    let mut first = call(&router, 60, Interactive, at(0));
    assert_eq!(tell(&router.choose(&mut first, at(0)), at(0)), "wait 600");
    let mut second = call(&router, 40, Interactive, at(0));
    assert_eq!(tell(&router.choose(&mut second, at(0)), at(0)), "wait 1000", "behind the first");
    assert_eq!(offer(&mut router, 1, Interactive, at(0)), "weu spill", "the line is long enough");
    assert_eq!(tell(&router.choose(&mut first, ms(600)), ms(600)), "swc route");
    assert_eq!(tell(&router.choose(&mut second, ms(1000)), ms(1000)), "swc route");
}

#[test]
fn a_turn_counts_at_its_target_and_from_its_time_on() {
    for (target, turn, expected) in [(1, 0, "weu route"), (1, 1, "wait 1000"), (0, 0, "wait 1000")] {
        let mut router = world(&[UNKNOWN, tokens(6000)]);
        let selector = Selector { region: Some("swc".into()), ..Selector::default() };
        router.drain(&selector, at(600), &"maintenance".into(), at(0));
        // Somebody else stands in the line, for a second.
        router.health[1].pace.joins(Interactive, at(1));
        let mut waiting = call(&router, 0, Interactive, at(0));
        waiting.turn = Some(call::Turn { target: TargetId(target), at: at(turn), since: at(0) });
        assert_eq!(tell(&router.choose(&mut waiting, at(0)), at(0)), expected, "a turn at {target}, {turn} s from now");
    }
}

#[test]
fn quota_that_comes_back_is_no_news_to_a_call_that_has_failed_there() {
    let mut router = world(&[tokens(6000)]);
    router.thresholds.retries = 0;
    offer(&mut router, 5700, Interactive, at(0));
    let (mut first, mut second) = (call(&router, 300, Interactive, at(0)), call(&router, 300, Interactive, at(0)));
    let Decision::Try { ticket, .. } = router.choose(&mut first, at(0)) else { panic!() };
    router.observe(&mut first, ticket, &failed(FailureKind::ServerError), at(0));
    assert_eq!(tell(&router.choose(&mut second, at(0)), at(0)), "wait 3000");
    assert_eq!(tell(&router.choose(&mut first, at(0)), at(0)), "Unavailable");
}

#[test]
fn patience_is_bounded_by_a_share_of_the_deadline() {
    for (seconds, priority, longest) in
        [(20, Interactive, 100), (5, Interactive, 50), (60, Bulk, 1000), (20, Bulk, 500)]
    {
        for (tokens, expected) in [(longest, "wait"), (longest + 1, "weu spill")] {
            let mut router = world(&[super::quota::tokens(6000), UNKNOWN]);
            // Leaves what is reserved, so that both priorities find nothing.
            let (mut hog, options) =
                (call(&router, 6000, Interactive, at(0)), RoutingOptions { priority, ..Default::default() });
            if priority == Bulk {
                hog = call(&router, 4800, Interactive, at(0));
            }
            router.choose(&mut hog, at(0));
            let terms = CallTerms { prompt_tokens: tokens, options: Arc::new(options), ..terms(&router, at(seconds)) };
            let told = tell(&router.choose(&mut Call::new(terms, at(0)), at(0)), at(0));
            assert!(told.starts_with(expected), "{seconds} s, {priority:?}, {tokens} tokens: {told}");
        }
    }
}

#[test]
fn patience_counts_all_waits_together() {
    let mut router = world(&[tokens(6000), tokens(6000)]);
    offer(&mut router, 6000, Interactive, at(0));
    let mut bulk = call(&router, 60, Bulk, at(0));
    assert_eq!(tell(&router.choose(&mut bulk, at(0)), at(0)), "weu spill", "12 s for the reserve is too long");
    let mut router = world(&[tokens(6000), tokens(6000)]);
    offer(&mut router, 4800, Interactive, at(0));
    let mut bulk = call(&router, 400, Bulk, at(0));
    assert_eq!(tell(&router.choose(&mut bulk, at(0)), at(0)), "wait 4000");
    // Interactive calls have taken what it waited for: within its 5 s is no turn any more.
    offer(&mut router, 300, Interactive, ms(3900));
    assert_eq!(tell(&router.choose(&mut bulk, ms(4000)), ms(4000)), "weu spill");
}

#[test]
fn bulk_work_leaves_a_fifth_to_interactive_calls_at_each_target() {
    let mut router = world(&[tokens(6000), tokens(6000)]);
    assert_eq!(offer(&mut router, 4800, Bulk, at(0)), "swc route");
    assert_eq!(offer(&mut router, 4800, Bulk, at(0)), "weu spill");
    assert_eq!(offer(&mut router, 1200, Interactive, at(0)), "swc route");
    assert_eq!(offer(&mut router, 1200, Interactive, at(0)), "weu spill");
}

#[test]
fn where_quota_is_short_everywhere_calls_wait_for_the_soonest_or_hear_of_it() {
    let mut router = world(&[tokens(6000), tokens(12_000)]);
    offer(&mut router, 6000, Interactive, at(0));
    offer(&mut router, 12_000, Interactive, at(0));
    assert_eq!(offer(&mut router, 1001, Interactive, at(0)), "throttled 5005");
    assert_eq!(offer(&mut router, 1000, Interactive, at(0)), "wait 5000");
    assert_eq!(offer(&mut router, 500, Interactive, at(0)), "wait 5000", "at the other one, where nobody waits");
    assert_eq!(offer(&mut router, 200, Bulk, at(0)), "throttled 13000", "behind all of them, and the reserve");
}

#[test]
fn who_has_little_time_waits_for_at_most_half_of_it() {
    for (tokens, expected) in [(200, "wait 2000"), (201, "throttled 2010")] {
        let mut router = world(&[super::quota::tokens(6000)]);
        offer(&mut router, 6000, Interactive, at(0));
        let terms = CallTerms { prompt_tokens: tokens, ..terms(&router, at(4)) };
        assert_eq!(tell(&router.choose(&mut Call::new(terms, at(0)), at(0)), at(0)), expected);
    }
}

#[test]
fn who_waits_goes_elsewhere_if_the_target_has_left_meanwhile() {
    let mut router = world(&[tokens(6000), UNKNOWN]);
    offer(&mut router, 6000, Interactive, at(0));
    let mut waiting = call(&router, 100, Interactive, at(0));
    assert_eq!(tell(&router.choose(&mut waiting, at(0)), at(0)), "wait 1000");
    let selector = Selector { region: Some("swc".into()), ..Selector::default() };
    router.drain(&selector, at(600), &"maintenance".into(), at(0));
    assert_eq!(tell(&router.choose(&mut waiting, at(1)), at(1)), "weu route");
}

#[test]
fn one_that_waits_for_its_hold_helps_out_while_the_good_ones_are_short() {
    for (proofs, expected) in [(0, "wait 3000"), (1, "swc route")] {
        let mut router = world(&[UNKNOWN, tokens(6000)]);
        let machine = Machine::restored(1, secs(60), at(0), at(0), &router.thresholds);
        router.health[0].machine = Machine { phase: Phase::Out { hold_until: at(60), proofs }, ..machine };
        assert_eq!(offer(&mut router, 6000, Interactive, at(0)), "weu route");
        assert_eq!(offer(&mut router, 300, Interactive, at(0)), expected, "{proofs} proofs");
    }
}

#[test]
fn work_that_can_wait_does_so_for_half_its_time_where_nothing_else_is_left() {
    let mut router = world(&[tokens(6000)]);
    offer(&mut router, 4800, Interactive, at(0));
    assert_eq!(offer(&mut router, 1001, Bulk, at(0)), "throttled 10010");
    let mut bulk = call(&router, 1000, Bulk, at(0));
    assert_eq!(tell(&router.choose(&mut bulk, at(0)), at(0)), "wait 10000");
    assert_eq!(tell(&router.choose(&mut bulk, at(10)), at(10)), "swc route");
}

#[test]
fn an_idle_minute_refills_whatever_was_believed() {
    let mut router = world(&[tokens(10)]);
    assert_eq!(offer(&mut router, 1_000_000, Interactive, at(0)), "swc route", "a limit may be wrong");
    assert_eq!(offer(&mut router, 1_000_000, Interactive, at(59)), "wait 1000");
    let mut router = world(&[tokens(10)]);
    offer(&mut router, 1_000_000, Interactive, at(0));
    assert_eq!(offer(&mut router, 1_000_000, Interactive, at(60)), "swc route");
}

#[test]
fn headers_teach_the_limit_as_soon_as_they_are_there() {
    let mut router = world(&[UNKNOWN, UNKNOWN]);
    let mut first = call(&router, 100, Interactive, at(0));
    let Decision::Try { ticket, .. } = router.choose(&mut first, at(0)) else { panic!() };
    let said = |left| Quota { limit_tokens: Some(6000), remaining_tokens: Some(left), ..Quota::default() };
    router.head_seen(ticket, said(50), at(0));
    assert_eq!(offer(&mut router, 100, Interactive, at(0)), "wait 500");
    // The same word at the end of the answer is no news; another answer's is, and heals at once.
    router.observe(&mut first, ticket, &Observation::Served { first_content: secs(1), quota: said(50) }, at(0));
    assert_eq!(offer(&mut router, 100, Interactive, at(0)), "weu spill");
    let mut later = call(&router, 0, Interactive, ms(2000));
    let Decision::Try { ticket, .. } = router.choose(&mut later, ms(2000)) else { panic!() };
    let healed = Observation::Served { first_content: secs(1), quota: said(5000) };
    router.observe(&mut later, ticket, &healed, ms(2000));
    assert_eq!(offer(&mut router, 5000, Interactive, ms(2000)), "swc route");
}

#[test]
fn test_calls_teach_the_limits_before_the_first_call() {
    let mut router = world(&[UNKNOWN, UNKNOWN]);
    let said = Quota { limit_tokens: Some(6000), remaining_tokens: Some(0), ..Quota::default() };
    router.limits_seen(TargetId(0), said, at(0));
    let route = Arc::clone(router.routes().find("gpt-4o").unwrap());
    assert_eq!(router.tokens_per_minute(&route, at(0)), Some(6000));
    assert_eq!(offer(&mut router, 6000, Interactive, at(0)), "swc route", "what is left is another's word");
    assert_eq!(offer(&mut router, 6000, Interactive, at(0)), "weu spill");
}

#[test]
fn a_429_teaches_that_there_is_a_limit_and_a_guess_turns_no_interactive_call_away() {
    let mut router = world(&[UNKNOWN]);
    let mut hit = call(&router, 10_000, Interactive, at(0));
    let Decision::Try { ticket, .. } = router.choose(&mut hit, at(0)) else { panic!() };
    router.observe(&mut hit, ticket, &failed(throttled(2)), at(0));
    assert_eq!(offer(&mut router, 9000, Interactive, at(0)), "wait 2000", "it cools");
    assert_eq!(offer(&mut router, 9000, Interactive, at(2)), "swc route");
    // 9000 a minute are believed: 90 % of what was sent when it was too much.
    assert_eq!(offer(&mut router, 9000, Interactive, at(2)), "swc route", "it might well be wrong");
    assert_eq!(offer(&mut router, 750, Bulk, at(2)), "throttled 16983", "which is the risk of those who cannot wait");
    assert_eq!(offer(&mut router, 9000, Bulk, at(602)), "swc route", "ten minutes later nothing of it is left");
}

#[test]
fn another_target_is_better_than_a_guess() {
    let mut router = world(&[UNKNOWN, UNKNOWN]);
    let mut hit = call(&router, 10_000, Interactive, at(0));
    let Decision::Try { ticket, .. } = router.choose(&mut hit, at(0)) else { panic!() };
    router.observe(&mut hit, ticket, &failed(throttled(1)), at(0));
    assert_eq!(offer(&mut router, 9000, Interactive, at(1)), "swc route");
    assert_eq!(offer(&mut router, 9000, Interactive, at(1)), "weu spill");
}

#[test]
fn a_throttled_ptu_spills_to_the_standard_deployment_of_its_region_before_another_region_serves() {
    let here = |id, sku| Target { sku, resource: REGIONS[usize::from(id)].into(), region: "swc".into(), ..target(id) };
    let mut router = router(vec![here(0, Sku::ProvisionedManaged), here(1, Sku::Standard), target(2)]);
    let chosen = |router: &mut Router, now| {
        let mut call = call(router, 1000, Interactive, now);
        let Decision::Try { ticket, target, .. } = router.choose(&mut call, now) else { panic!() };
        (call, ticket, target.target().id.0)
    };
    let (mut first, ticket, place) = chosen(&mut router, at(0));
    assert_eq!(place, 0);
    router.observe(&mut first, ticket, &failed(throttled(5)), at(0));
    let Decision::Try { ticket, target, .. } = router.choose(&mut first, at(0)) else { panic!() };
    assert_eq!((target.target().id.0, chosen(&mut router, at(0)).2), (1, 1), "the rescue, and those after it");
    router.observe(&mut first, ticket, &failed(throttled(5)), at(0));
    assert_eq!(chosen(&mut router, at(0)).2, 2);
    for _ in 0..50 {
        assert_eq!(chosen(&mut router, at(5)).2, 0, "only a 429 says that a PTU is busy, and it is over with the hint");
    }
}

#[test]
fn a_pinned_call_spills_without_moving_its_pin_and_is_counted() {
    let mut router = world(&[tokens(6000), tokens(6000)]);
    let of_the_workflow = |router: &mut Router, tokens: u64, now| {
        let options = RoutingOptions { workflow_id: Some("run".into()), ..RoutingOptions::default() };
        let terms = CallTerms { prompt_tokens: tokens, options: Arc::new(options), ..terms(router, now + secs(20)) };
        let mut call = Call::new(terms, now);
        let decision = router.choose(&mut call, now);
        let Decision::Try { ticket, .. } = decision else { panic!("{decision:?}") };
        router.observe(&mut call, ticket, &served(), now);
        format!("{} pinned to {}", tell(&decision, now), call.pinned_region().unwrap())
    };
    assert_eq!(of_the_workflow(&mut router, 6000, at(0)), "swc route pinned to swc");
    assert_eq!(of_the_workflow(&mut router, 600, at(0)), "weu spill pinned to swc");
    assert_eq!(router.snapshot(at(0)).off_pin, BTreeMap::from([("spill", 1)]));
    assert_eq!(of_the_workflow(&mut router, 600, at(6)), "swc pin pinned to swc");
}

#[test]
fn pacing_can_be_switched_off_and_is_no_matter_of_health() {
    let thresholds = Thresholds { pacing: Pacing { enabled: false, ..Pacing::default() }, ..Thresholds::default() };
    let mut off = Router::new(Routes::new(vec![limited(0, tokens(10))]).unwrap(), thresholds, 7, at(0));
    for _ in 0..100 {
        assert_eq!(offer(&mut off, 1000, Interactive, at(0)), "swc route");
    }
    let mut on = world(&[tokens(10)]);
    for _ in 0..100 {
        offer(&mut on, 1000, Interactive, at(0));
    }
    on.due(at(1));
    let view = &on.snapshot(at(1)).targets[0];
    assert_eq!((view.standing, &view.overlay, view.failed), (Standing::Serving, &None, 0));
}

#[test]
fn what_was_learned_and_used_survives_another_configuration() {
    let mut router = world(&[tokens(6000), UNKNOWN]);
    offer(&mut router, 6000, Interactive, at(0));
    let routes = router.routes().succeed(vec![limited(0, tokens(12_000)), limited(1, tokens(60))]).unwrap();
    let (thresholds, policies) = (router.thresholds().clone(), router.policies.clone());
    router.reconfigure(routes, thresholds, policies, at(0));
    // 6000 are owed still, and 6000 more may be.
    assert_eq!(offer(&mut router, 6000, Interactive, at(0)), "swc route");
    assert_eq!(offer(&mut router, 60, Interactive, at(0)), "wait 300");
    assert_eq!(router.health[1].pace.limits(at(0)), tokens(60));
}

#[test]
fn a_call_that_reached_nobody_costs_no_quota() {
    let mut router = world(&[tokens(6000), UNKNOWN]);
    let mut call = call(&router, 6000, Interactive, at(0));
    let Decision::Try { ticket, .. } = router.choose(&mut call, at(0)) else { panic!() };
    router.observe(&mut call, ticket, &failed(FailureKind::Connect(ConnectFailure::Refused)), at(0));
    assert_eq!(offer(&mut router, 6000, Interactive, at(0)), "swc route");
}

#[test]
fn the_cap_of_the_answer_counts() {
    let mut router = world(&[tokens(6000), UNKNOWN]);
    let mut capped = call(&router, 1000, Interactive, at(0)).capped_at(5000);
    assert_eq!(tell(&router.choose(&mut capped, at(0)), at(0)), "swc route");
    assert_eq!(offer(&mut router, 10, Interactive, at(0)), "wait 100");
}

#[test]
fn a_second_attempt_beside_a_silent_one_waits_for_its_turn_too() {
    let mut router = world(&[UNKNOWN, tokens(6000)]);
    let mut silent = call(&router, 260, Interactive, at(0));
    let Decision::Try { ticket, .. } = router.choose(&mut silent, at(0)) else { panic!() };
    let selector = Selector { region: Some("swc".into()), ..Selector::default() };
    router.drain(&selector, at(600), &"maintenance".into(), at(0));
    offer(&mut router, 6000, Interactive, at(0));
    router.signal(0, &Signal::Ordered("a look".into()), at(0));
    assert_eq!(router.protect(&mut silent, ticket, at(2)), Protection::Wait { until: Some(ms(2600)) });
}

/// Azure's meter as its recorded headers show it: a minute's worth that refills evenly.
struct Meter {
    limit: f64,
    left: f64,
    at: f64,
}

impl Meter {
    fn left(&self, now: f64) -> f64 {
        (self.left + (now - self.at) * self.limit / 60.0).min(self.limit)
    }

    fn take(&mut self, tokens: f64, now: f64) -> bool {
        (self.left, self.at) = (self.left(now) - tokens, now);
        // Waits are whole nanoseconds.
        self.left > -1e-3
    }
}

proptest! {
    /// Many calls, whenever, of whatever size and priority, at targets with known limits.
    #[test]
    fn azures_meter_is_never_overdrawn_and_no_interactive_call_is_refused_while_another_target_has_quota(
        limits in proptest::collection::vec((600u32..20_000, proptest::option::of(6u32..600)), 1..=3),
        arrivals in proptest::collection::vec((0u64..3000, 1u64..600, any::<bool>()), 1..300),
    ) {
        let claimed: Vec<_> = limits.iter().map(|(tokens, requests)| RateLimits {
            tokens_per_minute: Some(*tokens), requests_per_minute: *requests,
        }).collect();
        let mut router = world(&claimed);
        let meter = |limit| Meter { limit: f64::from(limit), left: f64::from(limit), at: 0.0 };
        let mut meters: Vec<_> = limits.iter().map(|(tokens, _)| meter(*tokens)).collect();
        let mut sent: Vec<(usize, Moment, u64)> = vec![];
        // By the time at which they choose (again), and then by arrival.
        let mut calls: BTreeMap<(Moment, usize), (Call, u64)> = BTreeMap::new();
        let mut now = at(0);
        for (place, (pause, tokens, bulk)) in arrivals.iter().enumerate() {
            now = now + Duration::from_millis(*pause);
            let priority = if *bulk { Bulk } else { Interactive };
            calls.insert((now, place), (call(&router, *tokens, priority, now), *tokens));
        }
        while let Some(((now, place), (mut call, tokens))) = calls.pop_first() {
            match router.choose(&mut call, now) {
                Decision::Try { ticket, target, .. } => {
                    let id = usize::from(target.target().id.0);
                    let seconds = now.since_origin().as_secs_f64();
                    prop_assert!(meters[id].take(tokens as f64, seconds), "Azure would have answered 429 at {:?}", now);
                    sent.push((id, now, tokens));
                    router.observe(&mut call, ticket, &served(), now);
                }
                Decision::Wait { until } => {
                    prop_assert!(until > now && until < call.terms().deadline);
                    calls.insert((until, place), (call, tokens));
                }
                Decision::GiveUp(why) => {
                    prop_assert!(matches!(why, GiveUp::Throttled { .. }), "{why:?}");
                    // What is left belongs to the interactive calls that wait for it already.
                    let waiting = |id: usize| calls.values().filter(move |(other, _)| {
                        let there = other.turn.is_some_and(|turn| usize::from(turn.target.0) == id);
                        there && other.terms().options.priority == Interactive
                    });
                    for (id, (_, requests)) in limits.iter().enumerate() {
                        let promised: u64 = waiting(id).map(|(_, tokens)| tokens).sum();
                        let left = meters[id].left(now.since_origin().as_secs_f64()) - promised as f64;
                        let refused_in_vain = requests.is_none() && left >= tokens as f64;
                        prop_assert!(
                            call.terms().options.priority == Bulk || !refused_in_vain,
                            "refused at {:?} with {} left of {}", now, left, tokens
                        );
                    }
                }
            }
        }
        // In any minute at most what comes back within it, and what an idle minute (for requests a second) has saved.
        for (id, (tokens_limit, requests_limit)) in limits.iter().enumerate() {
            let of_target: Vec<_> = sent.iter().filter(|(target, ..)| *target == id).collect();
            for (_, start, _) in &of_target {
                let minute = of_target.iter().filter(|(_, at, _)| *at >= *start && at.since(*start) < secs(60));
                let (requests, tokens) = minute.fold((0, 0), |(count, sum), (.., tokens)| (count + 1, sum + tokens));
                prop_assert!(tokens <= 2 * u64::from(*tokens_limit), "{tokens} of {tokens_limit}");
                let most = requests_limit.map_or(u32::MAX, |limit| limit + limit.div_ceil(60) + 1);
                prop_assert!(requests <= most, "{requests} of {requests_limit:?}");
            }
        }
    }
}
