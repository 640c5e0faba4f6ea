//! The real loop (dispatch, router, prober) under paused time over regions that fail as planned: what callers see, and
//! that the same seed tells the same story.
mod shaky;
mod story;

use std::{sync::atomic::Ordering, time::Duration};

use shaky::{Mood, Plan};
use story::{Call, Kind, Story, World};

const P: &str = "swedencentral";
const S: &str = "francecentral";

/// Two minutes of outage that begin after one of calm, at ten calls a second.
async fn outage(seed: u64, primary: Plan, standby: Plan) -> Story {
    World::start(seed, &[(P, primary), (S, standby)]).await.traffic(Duration::from_secs(180), 10.0).await
}

const TROUBLES: &[(&str, Plan)] = &[
    ("down", &[(60, Mood::Down)]),
    ("refusing", &[(60, Mood::Refusing)]),
    ("silent", &[(60, Mood::Silent)]),
    ("slow", &[(60, Mood::Slow(10))]),
    ("half failing", &[(60, Mood::Flaky(50))]),
    ("cutting", &[(60, Mood::Cutting)]),
    ("flapping", &[(60, Mood::Down), (70, Mood::Well), (80, Mood::Down), (90, Mood::Well), (100, Mood::Down)]),
];

#[tokio::test(start_paused = true)]
async fn no_caller_notices_whatever_happens_to_the_primary() {
    for (name, plan) in TROUBLES {
        for seed in 1..=3 {
            let story = outage(seed, plan, &[]).await;
            assert_eq!(story.errors(), Vec::<String>::new(), "{name}, seed {seed}:\n{}", story.transitions());
            assert_eq!(story.calls.len(), 1800, "{name}");
            assert!(story.went_out(P), "{name}, seed {seed}: the primary still serves\n{}", story.transitions());
            assert!(!story.went_out(S), "{name}, seed {seed}:\n{}", story.transitions());
            assert_eq!(story.open, 0, "{name}: every request upstream is closed");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn after_the_switch_no_call_begins_at_the_dead_primary() {
    for mood in [Mood::Down, Mood::Silent] {
        let plan: Plan = if mood == Mood::Down { &[(60, Mood::Down)] } else { &[(60, Mood::Silent)] };
        let story = outage(5, plan, &[]).await;
        // All of its targets: the two models have a validation each.
        let switched = story.last_out(P).unwrap();
        assert!(switched < Duration::from_secs(60 + 12), "{mood:?}: {switched:?}");
        let late: Vec<_> =
            story.arrivals.iter().filter(|one| one.region == P && !one.test && one.at > switched).collect();
        assert!(late.is_empty(), "{mood:?}: {} attempts reached the dead primary, first {:?}", late.len(), late[0]);
    }
}

#[test]
fn the_same_seed_tells_the_same_story_and_another_one_another() {
    // Each in a runtime of its own: a paused clock stands between two of the timer's ticks when it begins.
    let told = |seed| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        runtime.block_on(outage(seed, &[(60, Mood::Flaky(40)), (120, Mood::Silent)], &[(90, Mood::Flaky(10))])).trace()
    };
    let (first, again, other) = (told(11), told(11), told(12));
    let differs = first.lines().zip(again.lines()).find(|(one, other)| one != other);
    assert!(differs.is_none() && first.len() == again.len(), "{differs:#?}");
    assert_ne!(first, other);
}

#[tokio::test(start_paused = true)]
async fn a_throttled_primary_never_leaves() {
    let story = outage(7, &[(60, Mood::Throttling(2))], &[]).await;
    assert_eq!(story.errors(), Vec::<String>::new());
    assert!(!story.went_out(P), "{}", story.transitions());
}

#[tokio::test(start_paused = true)]
async fn when_both_are_dead_callers_hear_soon_and_the_first_to_heal_serves() {
    let both: Plan = &[(60, Mood::Down), (120, Mood::Well)];
    let standby: Plan = &[(60, Mood::Down)];
    let story = outage(9, both, standby).await;
    let failed: Vec<&Call> = story.calls.iter().filter(|call| call.error.is_some()).collect();
    assert!(!failed.is_empty());
    for call in &failed {
        assert!(call.began >= Duration::from_secs(59), "{call:?}");
        assert!(call.took < Duration::from_secs(2), "an error that takes long is the worse one: {call:?}");
    }
    // Two good test calls, ten seconds apart, bring the primary back at once, whatever its hold.
    let healed = Duration::from_secs(150);
    let late: Vec<_> = failed.iter().filter(|call| call.began > healed).collect();
    assert!(late.is_empty(), "{:?}\n{}", late[0], story.transitions());
}

#[tokio::test(start_paused = true)]
async fn a_silent_call_is_hedged_while_its_target_is_under_validation() {
    let story = outage(3, &[(60, Mood::Silent)], &[]).await;
    let hedged: Vec<&Call> = story.calls.iter().filter(|call| call.reasons.contains(&"hedge")).collect();
    assert!(hedged.len() > 5, "only {} of them", hedged.len());
    for call in hedged {
        assert_eq!((call.served_by.as_str(), call.outcomes.as_slice()), (S, &["cancelled", "served"][..]), "{call:?}");
    }
    // Calls in flight when the target goes out are started elsewhere too, so nobody waits for the limit of 10 s.
    let slowest = story.calls.iter().map(|call| call.took).max().unwrap();
    assert!(slowest < Duration::from_secs(11), "{slowest:?}");
}

#[tokio::test(start_paused = true)]
async fn no_request_is_hedged_that_says_never() {
    let world = World::start(3, &[(P, &[(60, Mood::Silent)])]).await;
    let story = world.never_hedged().traffic(Duration::from_secs(65), 10.0).await;
    let beside = story.calls.iter().filter(|call| call.reasons.contains(&"hedge")).filter(|call| {
        // Those whose target went out get a second attempt whatever they say of hedging: it is their rescue.
        call.began + call.took < story.last_out(P).unwrap_or(Duration::MAX)
    });
    assert_eq!(beside.count(), 0);
}

#[tokio::test(start_paused = true)]
async fn work_that_is_pinned_stays_until_its_region_goes_out() {
    let plan: Plan = &[(60, Mood::Down), (120, Mood::Well)];
    let world = World::start(4, &[(P, plan)]).await;
    let story = world.traffic_of(Duration::from_secs(600), 4.0, Kind::Pinned).await;
    assert_eq!(story.errors(), Vec::<String>::new());
    let out = story.first_out(P).unwrap();
    for call in &story.calls {
        let expected = if call.began <= out { P } else { S };
        assert_eq!(call.pinned, expected, "{call:?}, out at {out:?}\n{}", story.transitions());
    }
    assert!(story.transitions().contains("returning"), "the primary came back meanwhile:\n{}", story.transitions());
    assert_eq!(story.calls.last().unwrap().served_by, S, "and the run stayed where it went");
}

#[tokio::test(start_paused = true)]
async fn a_restart_in_the_outage_stays_on_the_standby() {
    let plan: Plan = &[(60, Mood::Silent)];
    let world = World::start(6, &[(P, plan)]).await;
    let shaky = world.shaky.clone();
    let story = world.traffic(Duration::from_secs(120), 10.0).await;
    assert!(story.went_out(P));
    let restarted = World::restarted(6, shaky.clone(), &story.saved, Duration::from_secs(5)).await;
    shaky.arrivals.lock().unwrap().clear();
    let story = restarted.traffic(Duration::from_secs(60), 10.0).await;
    assert_eq!(story.errors(), Vec::<String>::new());
    assert!(story.arrivals.iter().all(|one| one.region == S || one.test), "a caller's work went to the dead primary");
    assert_eq!(shaky.open.load(Ordering::SeqCst), 0);
}
