//! Tables: what leaves when, what fits, how fast.
use super::*;
use crate::domain::{Moment, Rejection};
use std::{collections::BTreeSet, sync::Arc, time::Duration};

fn at(ms: u64) -> Moment {
    Moment::ZERO + Duration::from_millis(ms)
}

fn item(id: usize, characters: usize) -> Item {
    Item { id: id.to_string().into(), text: "x".repeat(characters) }
}

fn limits() -> BatchLimits {
    BatchLimits { items: 4, tokens: 100, item_tokens: 50, ..BatchLimits::default() }
}

fn queue(sizes: &[usize]) -> Queue {
    let mut queue = Queue::new(limits());
    sizes.iter().enumerate().for_each(|(id, characters)| queue.push(item(id, *characters), at(0)));
    queue
}

/// Ids of all batches that leave at once.
fn leaving(queue: &mut Queue, now: Moment, more_may_come: bool) -> Vec<String> {
    std::iter::from_fn(|| queue.next(now, more_may_come)).map(|batch| batch.ids.join(" ")).collect()
}

#[test]
fn azures_limits_are_the_default() {
    let BatchLimits { items, tokens, item_tokens, linger } = BatchLimits::default();
    assert_eq!((items, tokens, item_tokens, linger.as_millis()), (2048, 300_000, 8192, 50));
    let WindowLimits { items, bytes, vector_bytes } = WindowLimits::default();
    assert_eq!((items, bytes, vector_bytes), (4096, 8 << 20, 8 << 20));
}

#[test]
fn what_leaves_together_and_when() {
    // Characters of each text, milliseconds since they came, whether more may come, and what leaves.
    for (sizes, now, more_may_come, expected) in [
        (vec![], 0, false, vec![]),
        (vec![4], 0, true, vec![]),
        (vec![4], 49, true, vec![]),
        (vec![4], 50, true, vec!["0"]),
        (vec![4], 0, false, vec!["0"]),
        (vec![4; 3], 0, true, vec![]),
        (vec![4; 4], 0, true, vec!["0 1 2 3"]),
        (vec![4; 6], 0, true, vec!["0 1 2 3"]),
        (vec![4; 6], 50, true, vec!["0 1 2 3", "4 5"]),
        (vec![4; 9], 0, false, vec!["0 1 2 3", "4 5 6 7", "8"]),
        // 100 tokens are 400 characters.
        (vec![200, 200], 0, true, vec!["0 1"]),
        (vec![200, 196, 4], 0, true, vec!["0 1 2"]),
        (vec![200, 196, 5], 0, true, vec!["0 1"]),
        (vec![160, 160, 160], 0, false, vec!["0 1", "2"]),
        // One that is above the limit on its own goes alone: it is for Azure to refuse.
        (vec![4, 404, 4], 0, false, vec!["0", "1", "2"]),
    ] {
        assert_eq!(leaving(&mut queue(&sizes), at(now), more_may_come), expected, "{sizes:?} at {now} ms");
    }
}

#[test]
fn the_oldest_text_says_when_a_batch_is_due() {
    let mut queue = queue(&[]);
    assert_eq!(queue.due(), None);
    queue.push(item(0, 4), at(10));
    queue.push(item(1, 4), at(40));
    assert_eq!(queue.due(), Some(at(60)));
    assert_eq!(leaving(&mut queue, at(60), true), ["0 1"], "those that came later leave with it");
    assert!(queue.is_empty());
}

#[test]
fn what_has_left_no_longer_fills_a_batch() {
    let mut queue = queue(&[200, 196, 8]);
    assert_eq!(leaving(&mut queue, at(0), true), ["0 1"]);
    // Two tokens are left, and 98 more are a full batch.
    queue.push(item(3, 388), at(0));
    assert_eq!(leaving(&mut queue, at(0), true), [""; 0]);
    queue.push(item(4, 4), at(0));
    assert_eq!(leaving(&mut queue, at(0), true), ["2 3 4"]);
}

#[test]
fn a_queue_is_empty_when_nothing_waits_new_or_again() {
    let batch = || queue(&[4]).next(at(0), false).unwrap();
    for put in [Queue::put_back, Queue::put_last, |queue: &mut Queue, _| queue.push(item(0, 4), at(0))] {
        let mut queue = queue(&[]);
        assert!(queue.is_empty());
        put(&mut queue, batch());
        assert!(!queue.is_empty());
        assert_eq!(leaving(&mut queue, at(0), false), ["0"]);
        assert!(queue.is_empty());
    }
}

#[test]
fn what_goes_again_goes_first_and_as_it_is() {
    let mut queue = queue(&[4; 6]);
    let first = queue.next(at(0), true).unwrap();
    queue.put_back(first);
    assert!(!queue.is_empty());
    assert_eq!(leaving(&mut queue, at(0), false), ["0 1 2 3", "4 5"]);
}

#[test]
fn what_was_too_large_as_a_whole_makes_later_batches_smaller() {
    let mut queue = queue(&[160, 160, 160, 160]);
    queue.was_too_large(120);
    assert_eq!(queue.limits().tokens, 60, "half of it");
    queue.was_too_large(100);
    assert_eq!(queue.limits().tokens, 50);
    assert_eq!(leaving(&mut queue, at(0), false), ["0", "1", "2", "3"]);
    queue.was_too_large(40);
    assert_eq!(queue.limits().tokens, 50, "never below what one text may have");
}

#[test]
fn a_batch_takes_at_most_half_of_what_a_target_takes_in_a_minute() {
    let mut queue = queue(&[80; 8]);
    let first = queue.next(at(0), false).unwrap();
    assert_eq!(first.ids.join(" "), "0 1 2 3", "no limit is known");
    queue.put_back(first);
    queue.heed_quota(Some(80));
    assert_eq!(leaving(&mut queue, at(0), false), ["0 1", "2 3", "4 5", "6 7"], "what was too large goes in parts");

    let mut queue = queue_of_two();
    queue.heed_quota(Some(1));
    assert_eq!(leaving(&mut queue, at(0), true), ["0", "1"], "one text goes, whatever the limit");
    let mut queue = queue_of_two();
    queue.heed_quota(Some(1_000_000));
    assert_eq!(leaving(&mut queue, at(0), true), [""; 0], "never more than Azure's own limits");
    queue.heed_quota(None);
    assert_eq!(leaving(&mut queue, at(0), false), ["0 1"]);
}

fn queue_of_two() -> Queue {
    queue(&[80, 80])
}

#[test]
fn only_what_cannot_be_right_is_refused_unasked() {
    let fault = |text: &str| limits().fault_of(text);
    assert_eq!(fault(""), Some(ItemFault::Empty));
    assert_eq!(fault("x"), None);
    // 50 tokens are the limit: 200 characters by the estimate, which is only near.
    assert_eq!(fault(&"x".repeat(800)), None);
    assert_eq!(fault(&"x".repeat(801)), Some(ItemFault::TooLong));
    assert_eq!(fault(&"あ".repeat(800)), None, "characters, not bytes");
    assert_eq!(fault(&"あ".repeat(801)), Some(ItemFault::TooLong));
}

/// Answers a batch as Azure would: refused as a whole if a guilty one is in it. Returns the ids that stood alone in the
/// end, and the number of calls.
fn isolate(count: usize, guilty: &BTreeSet<usize>) -> (BTreeSet<usize>, BTreeSet<usize>, usize) {
    let mut queue = Queue::new(BatchLimits { items: count, ..BatchLimits::default() });
    (0..count).for_each(|id| queue.push(item(id, 4), at(0)));
    let (mut found, mut served, mut calls) = (BTreeSet::new(), BTreeSet::new(), 0);
    while let Some(batch) = queue.next(at(0), false) {
        calls += 1;
        let ids: Vec<usize> = batch.ids.iter().map(|id| id.parse().unwrap()).collect();
        if !ids.iter().any(|id| guilty.contains(id)) {
            assert!(ids.iter().all(|id| served.insert(*id)), "served twice");
            continue;
        }
        match batch.split().unwrap() {
            Split::Guilty(id) => assert!(found.insert(id.parse().unwrap()), "found twice"),
            Split::Halves(first, second) => {
                assert_eq!(first.ids.len(), first.texts.len());
                assert_eq!(second.ids.len(), second.texts.len());
                queue.put_back(second);
                queue.put_back(first);
            }
        }
    }
    (found, served, calls)
}

#[test]
fn halving_finds_every_guilty_item_and_serves_all_others() {
    for (count, guilty, most_calls) in [
        (1, vec![0], 1),
        (2, vec![1], 3),
        (7, vec![3], 7),
        (2048, vec![0], 23),
        (2048, vec![1024], 23),
        (2048, vec![2047], 23),
        (2048, vec![3, 1700], 43),
        (16, (0..16).collect(), 31),
        (16, vec![], 1),
    ] {
        let guilty: BTreeSet<usize> = guilty.into_iter().collect();
        let (found, served, calls) = isolate(count, &guilty);
        assert_eq!(found, guilty);
        assert_eq!(found.len() + served.len(), count);
        assert!(calls <= most_calls, "{calls} calls for {count}");
    }
    assert_eq!(Batch::default().split(), None);
    assert_ne!(ItemFault::Rejected(Rejection::ContextLength), ItemFault::TooLong);
}

fn window() -> Window {
    Window::new(WindowLimits { items: 3, bytes: 100, vector_bytes: 50 })
}

fn id(name: &str) -> Arc<str> {
    name.into()
}

#[test]
fn a_window_has_room_for_so_many_items_until_they_are_read() {
    let mut window = window();
    for name in ["a", "b", "c"] {
        assert!(window.has_room());
        window.take(&id(name), 1).unwrap();
    }
    assert!(!window.has_room());
    window.answer([&id("a")], 1, 10);
    assert!(!window.has_room(), "answered is not read");
    assert_eq!(window.unanswered(), 2);
    window.read(1, 10);
    assert!(window.has_room());
}

#[test]
fn a_window_has_room_for_so_many_bytes_until_they_are_answered() {
    let mut window = window();
    window.take(&id("a"), 99).unwrap();
    assert!(window.has_room());
    window.take(&id("b"), 1).unwrap();
    assert!(!window.has_room(), "the limit itself is full");
    window.answer([&id("b")], 1, 0);
    assert!(window.has_room(), "a text that is answered is no longer needed");
    window.take(&id("c"), 1000).unwrap();
    assert!(!window.has_room(), "one may end above the limit");
}

#[test]
fn nothing_leaves_while_too_many_vectors_wait_to_be_read() {
    let mut window = window();
    window.take(&id("a"), 1).unwrap();
    window.answer([&id("a")], 1, 49);
    assert!(window.is_read());
    window.answer([], 0, 1);
    assert!(!window.is_read());
    window.read(0, 1);
    assert!(window.is_read());
}

#[test]
fn an_id_is_taken_until_it_is_answered() {
    let mut window = window();
    window.take(&id("a"), 5).unwrap();
    assert_eq!(window.take(&id("a"), 5), Err(DuplicateId(id("a"))));
    assert_eq!(window.unanswered(), 1, "nothing has changed");
    window.answer([&id("a")], 5, 0);
    window.take(&id("a"), 5).unwrap();
}

/// The automated side of the claim that memory does not grow with the number of items.
#[test]
fn what_a_window_holds_does_not_grow_with_what_goes_through_it() {
    let limits = WindowLimits::default();
    let mut window = Window::new(limits);
    let (mut most, mut open) = (0, Vec::new());
    for number in 0..100_000 {
        if !window.has_room() {
            let done: Vec<Arc<str>> = std::mem::take(&mut open);
            window.answer(&done, done.len() * 1500, done.len() * 12_288);
            window.read(done.len(), done.len() * 12_288);
        }
        let name = id(&number.to_string());
        window.take(&name, 1500).unwrap();
        open.push(name);
        most = most.max(open.len());
    }
    assert!(most <= limits.items && most * 1500 <= limits.bytes + 1500, "{most}");
    assert_eq!(window.unanswered(), open.len());
}

fn pace() -> Pace {
    Pace::new(PaceLimits::default(), 7)
}

/// `count` batches of a thousand tokens, one after the other, that take so long each.
fn serve(pace: &mut Pace, count: usize, start: u64, ms: u64) {
    for number in 0..count as u64 {
        pace.served(at(start + number * ms), at(start + (number + 1) * ms), 1000, false);
    }
}

#[test]
fn the_pace_grows_by_one_for_each_round_up_to_its_bound() {
    let mut pace = pace();
    for (more, expected) in [(3, 4), (1, 5), (5, 6), (6, 7), (1000, 16)] {
        serve(&mut pace, more, 0, 100);
        assert_eq!(pace.at_once(), expected);
    }
    assert!(pace.allows(15, at(0)) && !pace.allows(16, at(0)));
}

#[test]
fn the_pace_does_not_grow_while_batches_take_longer_than_usual() {
    let mut pace = pace();
    serve(&mut pace, 3, 0, 100);
    for number in 0..3 {
        pace.served(at(1000 * number), at(1000 * number + 500), 1000, false);
    }
    assert_eq!(pace.at_once(), 4);
    pace.served(at(9000), at(9500), 5000, false);
    assert_eq!(pace.at_once(), 5, "it took as long for its length as others");
    let mut pace = super::tests::pace();
    serve(&mut pace, 3, 0, 100);
    serve(&mut pace, 1, 1000, 200);
    assert_eq!(pace.at_once(), 5, "up to twice as long is as usual");
}

#[test]
fn throttling_halves_the_pace_once_for_all_that_ran_beside_each_other() {
    let mut pace = pace();
    serve(&mut pace, 150, 0, 100);
    assert_eq!(pace.at_once(), 16);
    for left in [20_000, 20_001, 20_002] {
        pace.served(at(left), at(20_100), 1000, true);
    }
    assert_eq!(pace.at_once(), 8);
    assert_eq!(pace.held_until(at(20_100)), None, "another region served it: no reason to pause");
    pace.served(at(20_100), at(20_200), 1000, true);
    assert_eq!(pace.at_once(), 4);
    for number in 0..9 {
        pace.served(at(30_000 + number), at(30_000 + number), 1000, true);
    }
    assert_eq!(pace.at_once(), 1, "never none");
}

#[test]
fn nothing_leaves_for_a_while_after_a_batch_that_nobody_could_serve() {
    let mut pace = pace();
    let pause = |pace: &mut Pace, now: u64, hint: u64| {
        pace.held_up(at(now), at(now), Duration::from_millis(hint));
        pace.held_until(at(now)).unwrap().since(at(now)).as_millis()
    };
    let first = pause(&mut pace, 0, 0);
    assert!((187..=313).contains(&first), "{first}");
    assert!(!pace.allows(0, at(100)) && pace.allows(0, at(400)));
    let over = pace.held_until(at(0)).unwrap();
    assert_eq!(pace.held_until(over), None, "its end is no part of it");
    assert_eq!(pause(&mut pace, 50, 60_000), first - 50, "one that failed beside it is the same setback");
    let second = pause(&mut pace, 1000, 0);
    assert!((375..=625).contains(&second), "{second}");
    let hinted = pause(&mut pace, 3000, 4000);
    assert!((3000..=5000).contains(&hinted), "{hinted}");
    let longest = pause(&mut pace, 10_000, 3_600_000);
    assert!((11_250..=18_750).contains(&longest), "{longest}");
    assert_eq!(pace.at_once(), 1);
    pace.served(at(10_000), at(10_500), 1000, false);
    assert_eq!(pace.held_until(at(10_500)), None, "somebody serves again");
    let after = pause(&mut pace, 11_000, 0);
    assert!((187..=313).contains(&after), "{after}");
}

#[test]
fn ingestions_do_not_come_back_all_at_once() {
    let pauses: BTreeSet<Moment> = (0..10)
        .map(|seed| {
            let mut pace = Pace::new(PaceLimits::default(), seed);
            pace.held_up(at(0), at(0), Duration::ZERO);
            pace.held_until(at(0)).unwrap()
        })
        .collect();
    assert_eq!(pauses.len(), 10);
}

/// Plays an ingestion of `count` texts against regions that serve a batch unless it holds a `killing` text, a setback
/// at a time, and whose test calls pass in between if `alive`. Answers who was given up, who was served, and the calls.
fn play(count: usize, killing: &[usize], alive: bool, most_calls: u64) -> (Vec<String>, usize, u64) {
    let mut queue = Queue::new(BatchLimits { items: 16, ..BatchLimits::default() });
    (0..count).for_each(|id| queue.push(item(id, 4), at(0)));
    let (mut guilty, mut served, mut call) = (vec![], 0, 0);
    while let Some(mut batch) = queue.next(at(call * 10), false).filter(|_| call < most_calls) {
        call += 1;
        if alive && !batch.ids.iter().any(|id| killing.iter().any(|other| id.parse() == Ok(*other))) {
            served += batch.ids.len();
            continue;
        }
        let proof = alive.then_some(at(call * 10 - 1));
        batch.setbacks.failed(at(call * 10), proof);
        match batch.onward(false) {
            Onward::Again(batch) => queue.put_last(batch),
            Onward::Apart(first, second) => {
                queue.put_last(first);
                queue.put_last(second);
            }
            Onward::Guilty(id) => guilty.push(id.to_string()),
        }
    }
    guilty.sort();
    (guilty, served, call)
}

#[test]
fn a_text_that_no_region_survives_costs_only_itself() {
    for (count, killing, found) in [
        (1, vec![0], vec!["0"]),
        (16, vec![7], vec!["7"]),
        (64, vec![0, 1], vec!["0", "1"]),
        (64, vec![63], vec!["63"]),
        (64, vec![], vec![]),
    ] {
        let (guilty, served, calls) = play(count, &killing, true, 10_000);
        assert_eq!((guilty, served), (found.iter().map(ToString::to_string).collect(), count - killing.len()));
        assert!(calls < 40, "{calls}");
    }
}

#[test]
fn an_outage_makes_no_text_guilty_and_takes_no_batch_apart() {
    assert_eq!(play(64, &[], false, 1000), (vec![], 0, 1000));
    let mut batch = queue(&[4; 4]).next(at(0), false).unwrap();
    for now in 1..100 {
        // What was served before the outage proves nothing, and neither does throttling beside calls that are served.
        batch.setbacks.failed(at(now * 10), Some(at(now * 10 - 10)));
        batch.setbacks.waited(at(now * 10 + 5));
        assert_eq!(batch.clone().onward(false), Onward::Again(batch.clone()));
    }
}

#[test]
fn a_half_is_taken_apart_with_the_next_setback_against_it_and_not_before() {
    let mut batch = queue(&[4; 4]).next(at(0), false).unwrap();
    for now in [10, 20, 30] {
        batch.setbacks.failed(at(now), Some(at(now - 1)));
    }
    assert_eq!((batch.setbacks.count, batch.setbacks.against), (3, 2));
    let Onward::Apart(half, _) = batch.onward(false) else { panic!() };
    assert_eq!((half.setbacks.count, half.setbacks.against), (1, 1));
    for (proof, apart) in [(None, false), (Some(at(39)), true)] {
        let mut half = half.clone();
        half.setbacks.failed(at(40), proof);
        assert_eq!(matches!(half.onward(false), Onward::Apart(..)), apart, "{proof:?}");
    }
}

#[test]
fn what_takes_too_long_is_taken_apart_whatever_else_is_served() {
    let mut batch = queue(&[4; 4]).next(at(0), false).unwrap();
    batch.setbacks.failed(at(1), None);
    assert_eq!(batch.clone().onward(true), Onward::Again(batch.clone()));
    batch.setbacks.failed(at(2), None);
    let Onward::Apart(first, second) = batch.onward(true) else { panic!() };
    assert_eq!((first.ids.join(" "), second.ids.join(" ")), ("0 1".to_owned(), "2 3".to_owned()));
    let mut alone = first.split().map(|_| queue(&[4]).next(at(0), false).unwrap()).unwrap();
    (0..100).for_each(|now| alone.setbacks.failed(at(now), None));
    assert_eq!(alone.clone().onward(true), Onward::Again(alone), "one text is waited for");
}

#[test]
fn what_was_set_back_takes_turns_with_what_is_new() {
    let mut queue = queue(&[4; 12]);
    let first = queue.next(at(0), false).unwrap();
    queue.put_last(first.clone());
    assert_eq!(queue.next(at(0), false).as_ref(), Some(&first), "a new one has just left");
    queue.put_last(first);
    assert_eq!(leaving(&mut queue, at(0), false), ["4 5 6 7", "0 1 2 3", "8 9 10 11"]);
    assert!(queue.is_empty());
}

#[test]
fn what_concerns_every_text_is_told_from_what_concerns_some() {
    let invalid = |code: &str| ItemFault::Rejected(Rejection::Invalid { code: Some(code.into()), param: None });
    let blocked = ItemFault::Rejected(Rejection::PromptBlocked { categories: vec![] });
    let after = |faults: &[ItemFault], served_first: bool| {
        let mut blame = Blame::default();
        served_first.then(|| blame.served());
        assert_eq!(blame.any_served(), served_first);
        faults.iter().position(|fault| blame.concerns_all(fault)).map(|at| at + 1)
    };
    let many = |fault: &ItemFault| vec![fault.clone(); 1000];
    assert_eq!(after(&many(&invalid("x")), false), Some(64));
    assert_eq!(after(&many(&invalid("x")), true), None, "the call itself cannot be at fault");
    let mixed: Vec<ItemFault> = (0..1000).map(|at| invalid(if at % 2 == 0 { "x" } else { "y" })).collect();
    assert_eq!(after(&mixed, false), None);
    assert_eq!(after(&many(&blocked), false), None, "a library may be full of them");
    for fault in [ItemFault::NoUsableAnswer, ItemFault::NotServed] {
        assert_eq!((after(&many(&fault), false), after(&many(&fault), true)), (Some(64), Some(64)));
    }
}

#[test]
fn a_batch_knows_its_bytes() {
    let mut queue = queue(&[3, 4]);
    let batch = queue.next(at(1000), false).unwrap();
    assert_eq!(batch.bytes(), 7);
    assert_eq!(Batch::default().bytes(), 0);
}

#[test]
fn only_what_began_after_the_last_setback_speaks_against_a_batch() {
    for (proof, against) in [(None, 0), (Some(at(99)), 0), (Some(at(100)), 0), (Some(at(101)), 1)] {
        let mut setbacks = Setbacks::default();
        setbacks.failed(at(100), Some(at(100)));
        setbacks.failed(at(200), proof);
        assert_eq!((setbacks.count, setbacks.against), (2, against), "{proof:?}");
    }
}
