//! Everything that somebody could do to a journal's files is found, and where.
use std::{collections::BTreeMap, fs};

use sealane::audit::{
    CheckpointCopy, Findings, Hash, Problem, ProblemKind, PublicKey, Settings, SigningKey, Trust, verify,
};

use super::{
    disk::{Chance, Disk},
    folder, intent, key, open, served, settings,
};

type Files = BTreeMap<String, Vec<u8>>;

/// A closed journal of several segments, and the copies of its checkpoints.
async fn sample(name: &str) -> (Files, Vec<u8>) {
    let folder = folder(name);
    let copy = folder.join("checkpoints");
    let disk = Disk::default();
    let settings = Settings {
        checkpoint_records: 6,
        segment_bytes: 2000,
        checkpoint_copy: Some(CheckpointCopy::File(copy.clone())),
        ..settings()
    };
    let journal = open(&disk, settings).unwrap();
    for call in 0..4 {
        journal.intent(intent(&format!("r{call}"), "a", "swedencentral")).await.unwrap().outcome(served());
    }
    journal.close().await;
    let files = disk.files();
    let bytes: usize = files.values().map(Vec::len).sum();
    assert!(files.len() > 1 && bytes <= 32 << 10, "{} files of {bytes} bytes", files.len());
    let copies = fs::read(&copy).unwrap();
    fs::remove_dir_all(folder).unwrap();
    (files, copies)
}

fn check(files: &Files, copies: &[u8]) -> Findings {
    let trust = Trust { keys: vec![key().public()], checkpoints: copies.to_vec() };
    verify(&Disk::of(files.clone()), &trust).unwrap()
}

fn lines(bytes: &[u8]) -> Vec<Vec<u8>> {
    bytes.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect()
}

#[tokio::test]
async fn an_untouched_journal_is_intact() {
    let (files, copies) = sample("untouched").await;
    let findings = check(&files, &copies);
    assert_eq!(findings.problems, []);
    assert!(findings.closed && findings.compared > 1 && findings.checkpoints >= findings.compared, "{findings:?}");
}

#[tokio::test]
async fn every_flipped_byte_is_found_where_it_is() {
    let (files, _) = sample("flip").await;
    let mut tried = 0;
    for (name, bytes) in &files {
        let (mut line, mut start) = (1, 0);
        for (at, byte) in bytes.iter().enumerate() {
            let mut changed = files.clone();
            changed.get_mut(name).unwrap()[at] ^= 1 << (at % 8);
            let problems = check(&changed, b"").problems;
            let found = problems.first().unwrap_or_else(|| panic!("{name}: byte {at} was flipped unseen"));
            assert_eq!((&found.segment, found.line, found.offset), (name, line, start), "byte {at}: {problems:?}");
            if *byte == b'\n' {
                (line, start) = (line + 1, at as u64 + 1);
            }
            tried += 1;
        }
    }
    assert!(tried > 4000, "{tried}");
}

#[tokio::test]
async fn every_removed_record_is_found_where_it_was() {
    let (files, copies) = sample("remove").await;
    let last = files.keys().next_back().unwrap();
    for (name, bytes) in &files {
        let all = lines(bytes);
        for at in 0..all.len() {
            let mut changed = files.clone();
            let mut rest = all.clone();
            rest.remove(at);
            changed.insert(name.clone(), rest.concat());
            let problems = check(&changed, &copies).problems;
            let found = problems.first().unwrap_or_else(|| panic!("{name}: record {at} was removed unseen"));
            let seq = serde_json::from_slice::<serde_json::Value>(&all[at][65..]).unwrap()["seq"].as_u64().unwrap();
            let at_end = at + 1 == all.len();
            if at_end && name == last {
                assert!(matches!(found.kind, ProblemKind::CutShort { .. }), "{problems:?}");
            } else if at > 0 {
                assert_eq!(found.kind, ProblemKind::Missing { from: seq, to: seq }, "{problems:?}");
            }
            if !at_end {
                assert_eq!((&found.segment, found.line), (name, at as u64 + 1), "{problems:?}");
            }
        }
    }
}

/// Every record of every file with its place: file, line, byte, and its position.
fn places(files: &Files) -> Vec<(String, u64, u64, u64)> {
    let mut all = Vec::new();
    for (name, bytes) in files {
        let mut offset = 0;
        for (at, line) in lines(bytes).iter().enumerate() {
            let record: serde_json::Value = serde_json::from_slice(&line[65..]).unwrap();
            all.push((name.clone(), at as u64 + 1, offset, record["seq"].as_u64().unwrap()));
            offset += line.len() as u64;
        }
    }
    all
}

#[tokio::test]
async fn swapped_and_repeated_records_are_found_where_they_are() {
    let (files, copies) = sample("swap").await;
    let places = places(&files);
    let line_of = |(name, line, ..): &(String, u64, u64, u64)| lines(&files[name])[*line as usize - 1].clone();
    for (at, one) in places.iter().enumerate() {
        for other in &places[at..] {
            let (first, second) = (line_of(one), line_of(other));
            let mut changed: BTreeMap<&String, Vec<Vec<u8>>> =
                files.iter().map(|(name, bytes)| (name, lines(bytes))).collect();
            if one == other {
                changed.get_mut(&one.0).unwrap().insert(one.1 as usize, first);
            } else {
                changed.get_mut(&one.0).unwrap()[one.1 as usize - 1] = second;
                changed.get_mut(&other.0).unwrap()[other.1 as usize - 1] = first;
            }
            let changed: Files = changed.into_iter().map(|(name, lines)| (name.clone(), lines.concat())).collect();
            let problems = check(&changed, &copies).problems;
            let found = problems.first().unwrap_or_else(|| panic!("{one:?} and {other:?} were exchanged unseen"));
            let line = if one == other { one.1 + 1 } else { one.1 };
            assert_eq!((&found.segment, found.line), (&one.0, line), "{one:?} {other:?}: {problems:?}");
        }
    }
}

#[tokio::test]
async fn every_cut_is_found_where_it_is() {
    let (files, copies) = sample("cut").await;
    let places = places(&files);
    let last = files.keys().next_back().unwrap();
    for (name, bytes) in &files {
        let last_seq = places.iter().filter(|place| place.0 == *name).map(|place| place.3).max().unwrap();
        for length in 0..bytes.len() {
            let mut changed = files.clone();
            changed.get_mut(name).unwrap().truncate(length);
            let problems = check(&changed, &copies).problems;
            let found = problems.first().unwrap_or_else(|| panic!("{name} was cut to {length} bytes unseen"));
            let cut = places.iter().rfind(|(file, _, offset, _)| file == name && *offset <= length as u64).unwrap();
            if cut.2 < length as u64 {
                assert_eq!((&found.segment, found.line, found.offset), (name, cut.1, cut.2), "{length}: {problems:?}");
                assert_eq!(found.kind, ProblemKind::Torn, "{length}: {problems:?}");
            } else if name == last {
                // Nothing but the copies knows that there was more.
                assert!(matches!(found.kind, ProblemKind::CutShort { .. }), "{length}: {problems:?}");
            } else {
                assert_eq!(found.kind, ProblemKind::Missing { from: cut.3, to: last_seq }, "{length}: {problems:?}");
            }
        }
        let mut changed = files.clone();
        changed.remove(name);
        assert_ne!(check(&changed, &copies).problems, [], "{name} was removed unseen");
    }
    let mut renamed = files.clone();
    let (first, second) = (renamed.pop_first().unwrap(), renamed.pop_first().unwrap());
    renamed.insert(first.0, second.1);
    renamed.insert(second.0, first.1);
    assert_ne!(check(&renamed, b"").problems, [], "segments were exchanged unseen");
}

/// Writes everything from `from` on anew, with positions and hashes that fit. `change` says whether a record stays.
fn rechain(files: &Files, from: u64, change: impl Fn(&mut serde_json::Value) -> bool) -> Files {
    let (mut before, mut next) = (Hash::GENESIS, 0_u64);
    let mut forged = Files::new();
    for (name, bytes) in files {
        let mut out = Vec::new();
        for line in lines(bytes) {
            let json = line[65..].trim_ascii_end();
            let mut record: serde_json::Value = serde_json::from_slice(json).unwrap();
            let mut json = json.to_vec();
            if record["seq"].as_u64().unwrap() >= from {
                record["seq"] = next.into();
                for part in ["after", "covers"] {
                    if record[part].is_object() {
                        record[part] = serde_json::json!({ "seq": next - 1, "hash": before.to_string() });
                    }
                }
                if !change(&mut record) {
                    continue;
                }
                json = serde_json::to_vec(&record).unwrap();
            }
            (before, next) = (before.next(&json), next + 1);
            out.extend(format!("{before} ").into_bytes());
            out.extend(json);
            out.push(b'\n');
        }
        forged.insert(name.clone(), out);
    }
    forged
}

#[tokio::test]
async fn a_journal_forged_from_the_middle_fails_against_its_checkpoints() {
    let (files, copies) = sample("forge").await;
    let elsewhere = |record: &mut serde_json::Value| {
        if record["event"] == "intent" {
            record["region"] = "francecentral".into();
        }
        true
    };
    let untouched = rechain(&files, u64::MAX, elsewhere);
    assert_eq!(untouched, files, "the forger's tool is not the reason");

    // Without the key, no checkpoint after the change can be signed.
    let forged = check(&rechain(&files, 6, elsewhere), b"");
    assert!(!forged.problems.is_empty());
    assert!(forged.problems.iter().all(|problem| problem.kind == ProblemKind::BadSignature), "{:?}", forged.problems);
    assert!(forged.problems[0].seq >= 6);

    // With old signatures kept as they are, they are of other records.
    let stale = rechain(&files, 6, |record| {
        let covers = record["seq"].as_u64().unwrap() - 1;
        if record["event"] == "checkpoint" {
            let original = files.values().flat_map(|bytes| lines(bytes)).nth(covers as usize).unwrap();
            record["covers"]["hash"] = String::from_utf8(original[..64].to_vec()).unwrap().into();
        }
        elsewhere(record)
    });
    let found = check(&stale, b"");
    assert!(found.problems.iter().any(|problem| problem.kind == ProblemKind::Forged), "{:?}", found.problems);

    // Only the copies show that checkpoints were left out,
    let bare = rechain(&files, 6, |record| record["event"] != "checkpoint" && elsewhere(record));
    assert_eq!(check(&bare, b"").problems, [], "docs/audit.md says that this takes --checkpoints");
    let found = check(&bare, &copies);
    assert!(found.problems.iter().any(|problem| problem.kind == ProblemKind::NotAsCopied), "{:?}", found.problems);
    // unless they were due long ago.
    let late = rechain(&files, 6, |record| {
        record["mono_us"] = (record["seq"].as_u64().unwrap() * 20_000_000).into();
        record["event"] != "checkpoint" && elsewhere(record)
    });
    let found = check(&late, b"");
    assert!(matches!(found.problems[..], [Problem { kind: ProblemKind::Unsealed { .. }, .. }]), "{:?}", found.problems);
}

/// A whole journal by another key is intact in itself; only who knows the right key sees it.
#[tokio::test]
async fn another_signer_is_not_trusted() {
    let disk = Disk::default();
    let stranger = SigningKey::from_seed(&[9; 32]).unwrap();
    let public: PublicKey = stranger.public();
    let journal = sealane::audit::Journal::open_in(Box::new(disk.clone()), stranger, settings()).unwrap();
    journal.close().await;
    assert_eq!(super::check(&disk).problems, []);
    let found = check(&disk.files(), b"").problems;
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].kind, ProblemKind::BadSignature);
    assert_eq!(verify(&disk, &Trust { keys: vec![public], checkpoints: vec![] }).unwrap().problems, []);
}

/// Files are whatever somebody made of them: reading and recovering may complain, but not fall over.
#[tokio::test]
async fn hostile_files_are_read_without_harm() {
    let (files, copies) = sample("hostile").await;
    let mut chance = Chance(11);
    for round in 0..200 {
        let mut hostile = files.clone();
        for _ in 0..=chance.below(4) {
            let at = chance.below(hostile.len() as u64) as usize;
            let bytes = hostile.values_mut().nth(at).unwrap();
            let from = chance.below(bytes.len() as u64) as usize;
            let until = (from + chance.below(300) as usize).min(bytes.len());
            let part = bytes[from..until].to_vec();
            match chance.below(3) {
                0 => drop(bytes.splice(from..until, b"\n\0\xff{\"seq\":18446744073709551616,".iter().copied())),
                1 => drop(bytes.splice(from..from, part)),
                _ => drop(bytes.drain(from..until)),
            }
        }
        let found = check(&hostile, &copies);
        assert!(hostile == files || !found.problems.is_empty(), "round {round}");
        // Its own records follow whatever was left.
        if let Ok(journal) = open(&Disk::of(hostile), settings()) {
            journal.intent(intent("r", "a", "swedencentral")).await.unwrap().outcome(served());
            journal.close().await;
        }
    }
}

/// Numbers at the end of their range, in a chain that is right.
#[tokio::test]
async fn the_largest_position_is_no_trap() {
    let (files, copies) = sample("largest").await;
    let largest = rechain(&files, 3, |record| {
        record["seq"] = u64::MAX.into();
        if record["after"].is_object() {
            record["after"]["seq"] = u64::MAX.into();
        }
        true
    });
    assert_ne!(check(&largest, &copies).problems, []);
    let disk = Disk::of(largest);
    if let Ok(journal) = open(&disk, settings()) {
        journal.intent(intent("r", "a", "swedencentral")).await.unwrap().outcome(served());
        journal.close().await;
    }
    assert_ne!(super::check(&disk).problems, []);
}
