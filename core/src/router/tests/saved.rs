//! Restarts and an operator's word.
use super::{proving::*, *};

#[test]
fn standings_survive_a_restart() {
    let mut router = prompt(estate());
    router.signal(0, &Signal::ResourceDown, at(100));
    router.signal(2, &Signal::ResourceDown, at(100));
    router.health[2].machine.phase =
        Phase::Returning { step: 3, entered: at(100), live: 0, deep: 0, failures: 0, in_a_row: 0 };
    let maintenance = Selector { region: Some("weu".into()), model: Some("mini".into()), resource: None };
    router.drain(&maintenance, at(160), &"maintenance".into(), at(105));
    router.health[2].cause = Some(Cause::StepProven { live: 0, deep: 3, percent: 50 });
    let saved = router.saved(at(110));
    assert_eq!(saved.len(), 3, "the one that plainly serves is not worth a line");
    let hold_left = |saved: &SavedTarget| saved.hold_left.map(|left| left.as_secs());
    assert!((44..=56).contains(&hold_left(&saved[0]).unwrap()));
    assert_eq!(hold_left(&saved[1]), Some(0), "one that was returning has no hold left");
    assert_eq!(saved[2].drained, Some(SavedDrain { left: secs(50), stood: secs(5), reason: "maintenance".into() }));

    let mut next = prompt(estate());
    let revision = next.revision();
    assert_eq!(next.restore(&saved, secs(20), at(1000)), 3);
    assert!(next.revision() > revision);
    assert_eq!(standings(&next), ["out", "serving", "out", "serving"]);
    let drain = next.health[3].drained.clone().unwrap();
    assert_eq!((drain.since, drain.until, &*drain.reason), (at(975), at(1030), "maintenance"));
    let Phase::Out { hold_until, proofs: 0 } = next.health[0].machine.phase else { panic!() };
    assert_eq!(hold_until.since(at(1000)), saved[0].hold_left.unwrap() - secs(20));
    assert_eq!((next.health[0].left, next.health[0].tests.next), (Some(at(1000)), at(1000)), "it is asked at once");
    let seen = next.snapshot(at(1000));
    assert_eq!(seen.transitions, [], "nothing has changed");
    let out = &seen.targets[0];
    let why = "validating another target found the whole resource down (before a restart)";
    assert_eq!((out.since, out.level, out.cause.as_ref().unwrap().to_string().as_str()), (at(970), 1, why));
    let returning = seen.targets[2].cause.as_ref().unwrap().to_string();
    let why = "it was returning, now 50 % of unpinned work: 3 test calls went well (before a restart)";
    assert_eq!(returning, why);
    let again = next.saved(at(1100));
    assert_eq!((again[0].stood, &again[0].cause), (secs(130), &saved[0].cause), "a second restart adds nothing");

    let mut late = prompt(estate());
    let drained = |age: Duration| {
        let mut router = prompt(estate());
        router.restore(&saved, age, at(0));
        router.health[3].drained.is_some()
    };
    assert_eq!([secs(49), secs(50)].map(drained), [true, false], "it had 50 s left");
    late.restore(&saved, secs(3600), at(0));
    assert_eq!(standings(&late), ["out", "serving", "out", "serving"], "only test calls bring it back");
    assert_eq!(late.health[3].drained, None, "a drain ends by itself");
    let mut other =
        prompt(vec![target(3)].into_iter().map(|it| Target { id: TargetId(0), resource_index: 0, ..it }).collect());
    let revision = other.revision();
    assert_eq!(other.restore(&saved, secs(0), at(0)), 0, "what is configured no more is passed over");
    assert_eq!(other.revision(), revision, "nothing to be told");
}
