//! Power cuts, full disks, failing syncs.
use std::{
    collections::HashSet,
    sync::Mutex,
    time::{Duration, UNIX_EPOCH},
};

use sealane::audit::{
    AttemptEnd, AttemptKind, Cause, CheckpointCopy, Durability, Event, Filter, Journal, JournalError, Probe, Settings,
    Trust, attempts, records, verify,
};

use super::{
    check,
    disk::{Chance, Disk, Fault},
    events, intent, open, served, settings,
};
use crate::support::service::eventually;

#[tokio::test]
async fn an_intent_is_durable_when_it_resolves() {
    let disk = Disk::default();
    let journal = open(&disk, settings()).unwrap();
    let attempt = journal.intent(intent("r1", "a", "swedencentral")).await.unwrap();
    let image = Disk::of(disk.after_power_cut(&mut Chance(1)));
    assert_eq!(events(&image), ["segment", "start", "intent"]);
    attempt.outcome(served());
    journal.close().await;
    assert_eq!(events(&disk), ["segment", "start", "intent", "outcome served", "checkpoint"]);
    let findings = check(&disk);
    assert_eq!((findings.problems.len(), findings.closed, findings.open_attempts), (0, true, 0));
}

/// 1 000 machines lose power at some operation, some of them again while they recover.
#[tokio::test]
async fn no_resolved_intent_is_lost_in_power_cuts() {
    let mut cut_short = 0;
    for seed in 0..1000 {
        let mut chance = Chance(seed);
        let mut disk = Disk::with_power_for(chance.below(24));
        let settings = || Settings { checkpoint_records: 12, segment_bytes: 6000, ..settings() };
        let resolved: Mutex<HashSet<String>> = Mutex::default();
        for boot in 0..3 {
            if let Ok(journal) = open(&disk, settings()) {
                work(&journal, boot, &resolved).await;
            }
            let image = disk.after_power_cut(&mut chance);
            disk = Disk::of(image.clone());
            if boot == 1 && chance.below(2) == 0 {
                disk = Disk::with_power_for(chance.below(8));
                disk.put(image);
            }
        }
        let journal = open(&disk, settings()).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        journal.close().await;
        let (mut found, mut crashed) = (HashSet::new(), false);
        let findings = records(&disk, &Filter::default(), &mut |_, record, _| {
            match &record.event {
                Event::Intent(intent) => drop(found.insert(intent.call.request_id.to_string())),
                Event::Recovered(recovered) => crashed |= recovered.cause == Cause::Crash,
                _ => {}
            }
            Ok(())
        });
        let findings = findings.unwrap();
        assert_eq!(findings.problems, [], "seed {seed}");
        assert_eq!(findings.open_attempts, 0, "seed {seed}");
        let lost: Vec<_> = resolved.lock().unwrap().difference(&found).cloned().collect();
        assert!(lost.is_empty(), "seed {seed} lost {lost:?}");
        cut_short += usize::from(crashed);
    }
    assert!(cut_short > 500, "only {cut_short} journals had anything to recover");
}

/// Three callers at once, until the disk is gone.
async fn work(journal: &Journal, boot: u32, resolved: &Mutex<HashSet<String>>) {
    let caller = async |name: &str| {
        for call in 0..4 {
            let request = format!("{boot}-{name}-{call}");
            let Ok(attempt) = journal.intent(intent(&request, name, "swedencentral")).await else { return };
            resolved.lock().unwrap().insert(request);
            if call % 3 > 0 {
                attempt.outcome(served());
            } else {
                std::mem::forget(attempt);
            }
        }
    };
    tokio::join!(caller("a"), caller("b"), caller("c"));
}

#[tokio::test]
async fn a_crash_ends_open_attempts_and_cuts_the_torn_tail() {
    let disk = Disk::default();
    let journal = open(&disk, settings()).unwrap();
    let attempt = journal.intent(intent("r1", "a", "swedencentral")).await.unwrap();
    let mut files = disk.files();
    let last = files.values_mut().next_back().unwrap();
    let whole = last.len() as u64;
    last.extend_from_slice(b"0123 torn");
    drop(attempt);

    let disk = Disk::of(files);
    let journal_after = open(&disk, settings()).unwrap();
    journal_after.close().await;
    journal.close().await;
    let told = events(&disk);
    let expected = [
        "segment",
        "start",
        "intent",
        "segment",
        "start",
        "recovered Crash",
        "outcome unknown_after_crash",
        "checkpoint",
        "checkpoint",
    ];
    assert_eq!(told, expected);
    assert_eq!(check(&disk).problems, []);
    let cut: Vec<(u64, u64)> = recovered(&disk).iter().map(|found| (found.cut_bytes, found.open_attempts)).collect();
    assert_eq!(cut, [(9, 1)]);
    assert_eq!(disk.files().values().next().unwrap().len() as u64, whole);
}

fn recovered(disk: &Disk) -> Vec<sealane::audit::Recovered> {
    let mut found = Vec::new();
    sealane::audit::records(disk, &Filter::default(), &mut |_, record, _| {
        if let Event::Recovered(recovered) = &record.event {
            found.push(recovered.clone());
        }
        Ok(())
    })
    .unwrap();
    found
}

/// An open attempt is found however many segments ago it began.
#[tokio::test]
async fn recovery_looks_back_as_far_as_it_must() {
    let disk = Disk::default();
    let journal = open(&disk, Settings { segment_bytes: 1500, ..settings() }).unwrap();
    let long = journal.intent(intent("long", "a", "swedencentral")).await.unwrap();
    for call in 0..20 {
        journal.intent(intent(&format!("r{call}"), "a", "swedencentral")).await.unwrap().outcome(served());
    }
    let image = Disk::of(disk.files());
    assert!(image.files().len() > 3);
    open(&image, settings()).unwrap().close().await;
    let (rows, findings) = attempts(&image, &Filter::default()).unwrap();
    assert_eq!((findings.problems.len(), findings.open_attempts), (0, 0));
    let ends: Vec<String> =
        rows.iter().filter(|row| row.call().request_id.as_str() == "long").map(|row| row.result()).collect();
    assert_eq!(ends, ["unknown_after_crash"]);
    drop(long);
}

#[tokio::test]
async fn what_a_checkpoint_has_sealed_is_not_cut_but_reported() {
    let disk = Disk::default();
    let journal = open(&disk, Settings { checkpoint_records: 2, ..settings() }).unwrap();
    for call in 0..6 {
        journal.intent(intent(&format!("r{call}"), "a", "swedencentral")).await.unwrap().outcome(served());
    }
    journal.close().await;
    let mut files = disk.files();
    let bytes = files.values_mut().next().unwrap();
    let (before, at) = (bytes.len(), bytes.len() / 3);
    bytes[at] ^= 1;
    let disk = Disk::of(files);
    open(&disk, settings()).unwrap().close().await;
    assert!(disk.files().values().next().unwrap().len() == before, "evidence was cut");
    assert_eq!(check(&disk).problems.len(), 1, "{:?}", check(&disk).problems);
    assert!(events(&disk).contains(&"recovered Damage".to_owned()));
}

#[tokio::test]
async fn calls_are_refused_while_nothing_can_be_written_and_taken_again_after() {
    for fault in [Fault::Full, Fault::Fsync, Fault::Io] {
        let disk = Disk::default();
        let journal = open(&disk, settings()).unwrap();
        let under_way = journal.intent(intent("before", "a", "swedencentral")).await.unwrap();
        disk.set_fault(Some(fault));
        for call in 0..3 {
            let refused = journal.intent(intent(&format!("refused-{call}"), "a", "swedencentral")).await;
            assert!(matches!(refused, Err(JournalError::Unavailable { .. })), "{fault:?}: {refused:?}");
        }
        assert!(journal.failure().is_some());
        // Its call was sent long ago; how it ended must not be lost.
        under_way.outcome(served());
        disk.set_fault(None);
        let mut tries = 0;
        let after = loop {
            match journal.intent(intent("after", "a", "swedencentral")).await {
                Ok(attempt) => break attempt,
                Err(_) => tokio::time::sleep(Duration::from_millis(1)).await,
            }
            tries += 1;
            assert!(tries < 10_000, "{fault:?}: the journal did not come back");
        };
        after.outcome(served());
        journal.close().await;
        assert_eq!(journal.failure(), None);
        let (rows, findings) = attempts(&disk, &Filter::default()).unwrap();
        assert_eq!(findings.problems, [], "{fault:?}");
        let told: Vec<_> = rows.iter().map(|row| (row.call().request_id.to_string(), row.result())).collect();
        assert_eq!(told, [("before".into(), "served".into()), ("after".into(), "served".into())], "{fault:?}");
        assert!(events(&disk).contains(&"recovered WriteFailure".to_owned()), "{fault:?}");
    }
}

#[tokio::test]
async fn an_intent_that_nobody_waits_for_was_not_sent() {
    let disk = Disk::default();
    let journal = open(&disk, settings()).unwrap();
    {
        let mut given_up = Box::pin(journal.intent(intent("given-up", "a", "swedencentral")));
        // Polled once, so that it is in the queue, and then dropped.
        let polled = futures_util::poll!(&mut given_up);
        drop((polled, given_up));
    }
    drop(journal.intent(intent("dropped", "a", "swedencentral")).await.unwrap());
    journal.close().await;
    let (rows, _) = attempts(&disk, &Filter::default()).unwrap();
    let told: Vec<_> = rows.iter().map(|row| row.result()).collect();
    // The first may have become durable between the poll and the drop.
    assert!(told[0] == "not_sent" || told[0] == "cancelled", "{told:?}");
    assert_eq!(told[1], "cancelled");
}

#[tokio::test]
async fn many_waiting_intents_share_a_sync() {
    let disk = Disk::default();
    let journal = open(&disk, settings()).unwrap();
    let before = disk.syncs();
    disk.hold_syncs(true);
    let calls = (0..500).map(|call| journal.intent(intent(&format!("r{call}"), "a", "swedencentral")));
    let mut all = futures_util::future::join_all(calls.collect::<Vec<_>>());
    // Once, so that all of them wait while the first sync is held up.
    assert!(futures_util::poll!(&mut all).is_pending());
    disk.hold_syncs(false);
    let attempts = all.await;
    assert!(attempts.iter().all(Result::is_ok));
    assert!(disk.syncs() - before <= 2, "{} syncs", disk.syncs() - before);
    attempts.into_iter().for_each(|attempt| attempt.unwrap().outcome(served()));
    journal.close().await;
    assert_eq!(check(&disk).problems, []);
}

#[tokio::test]
async fn a_full_queue_refuses_and_tells_what_it_lost() {
    let disk = Disk::default();
    disk.set_fault(None);
    let journal =
        open(&disk, Settings { queue_records: 4, retry_interval: Duration::from_millis(20), ..settings() }).unwrap();
    disk.set_fault(Some(Fault::Io));
    let probe =
        || Event::Probe(Probe { region: "x".into(), deployment: "y".into(), window_ms: 1, passed: 1, failed: 0 });
    let mut refused = 0;
    for _ in 0..50 {
        refused += usize::from(journal.note(probe()) == Err(JournalError::QueueFull));
    }
    assert!(refused > 0);
    disk.set_fault(None);
    journal.close().await;
    let lost: u64 = recovered(&disk).iter().map(|found| found.lost_records).sum();
    assert_eq!(lost, refused as u64);
    assert_eq!(check(&disk).problems, []);
}

#[tokio::test]
async fn checkpoints_are_copied_again_when_their_place_is_back() {
    let folder = super::folder("copies");
    let copy = folder.join("checkpoints");
    std::os::unix::fs::symlink("/dev/full", &copy).unwrap();
    let disk = Disk::default();
    let checkpoint_copy = Some(CheckpointCopy::File(copy.clone()));
    let journal = open(&disk, Settings { checkpoint_records: 1, checkpoint_copy, ..settings() }).unwrap();
    let health = journal.health();
    eventually("a copy has failed", async || {
        journal.intent(intent("r", "a", "swedencentral")).await.unwrap().outcome(served());
        health().failed_copies > 0
    })
    .await;
    std::fs::remove_file(&copy).unwrap();
    journal.close().await;
    let trust = Trust { keys: vec![], checkpoints: std::fs::read(&copy).unwrap() };
    let findings = verify(&disk, &trust).unwrap();
    assert_eq!(findings.problems, [], "calls never waited for the copy");
    assert!(findings.compared > 0 && findings.closed, "{findings:?}");
    std::fs::remove_dir_all(&folder).unwrap();
}

#[tokio::test]
async fn weaker_durability_waits_for_less() {
    for (durability, syncs) in [(Durability::Flush, 0), (Durability::Off, 0)] {
        let disk = Disk::default();
        let journal = open(&disk, Settings { durability, ..settings() }).unwrap();
        journal.intent(intent("r", "a", "swedencentral")).await.unwrap().outcome(served());
        journal.close().await;
        assert_eq!(disk.syncs(), syncs, "{durability:?}");
        let (rows, findings) = attempts(&disk, &Filter::default()).unwrap();
        assert_eq!(findings.problems, []);
        let AttemptKind::Sent { outcome: Some(outcome), .. } = &rows[0].kind else { panic!("{rows:?}") };
        assert_eq!(outcome.result, AttemptEnd::Served);
    }
}

#[tokio::test]
async fn old_segments_are_removed_and_the_gap_is_explained() {
    let disk = Disk::default();
    let old = Settings { segment_bytes: 1000, now: || UNIX_EPOCH, ..settings() };
    let journal = open(&disk, old).unwrap();
    for call in 0..8 {
        journal.intent(intent(&format!("r{call}"), "a", "swedencentral")).await.unwrap().outcome(served());
    }
    journal.close().await;
    let before = disk.files().len();
    assert!(before > 3);
    // 400 days have 34 560 000 seconds.
    open(&disk, Settings { now: || UNIX_EPOCH + Duration::from_secs(34_559_000), ..settings() }).unwrap().close().await;
    assert_eq!(disk.files().len(), before + 1, "nothing is 400 days old yet");
    open(&disk, Settings { now: || UNIX_EPOCH + Duration::from_secs(34_560_001), ..settings() }).unwrap().close().await;
    assert_eq!(disk.files().len(), 3, "the youngest old segment is as young as the one after it");
    let findings = check(&disk);
    assert_eq!(findings.problems, []);
    assert!(findings.first.unwrap() > 0);
    let mut files = disk.files();
    files.pop_first();
    assert_ne!(check(&Disk::of(files)).problems, [], "a removed segment that no RETENTION record explains");

    let refused = open(&Disk::default(), Settings { retention_days: 184, ..settings() });
    assert!(refused.unwrap_err().to_string().contains("at least 185 days"));
}
