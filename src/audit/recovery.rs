//! What a new process finds of the one before: the last good record, attempts without an end, and a torn tail.
use std::{
    collections::{HashMap, HashSet},
    io::{self, Read as _},
};

use super::{
    chain::Hash,
    key::PublicKey,
    label::Label,
    record::{Abandoned, Cause, Checkpoint, Event, Head, Record, Recovered},
    segment::{Header, Line, Lines, segment_name, segment_numbers},
    storage::Storage,
};

/// A journal as the process before left it, its torn tail cut off.
#[derive(Debug)]
pub(super) struct Found {
    /// The last good record.
    pub(super) head: Option<Head>,
    /// Number of the segment to write next.
    pub(super) next_number: u64,
    /// Attempts with INTENT and without OUTCOME, with the INTENT's position.
    pub(super) open: HashMap<Label, u64>,
    /// Segments that do not count to their end.
    pub(super) abandoned: Vec<Abandoned>,
    /// All segments, oldest first.
    pub(super) headers: Vec<Header>,
    /// For the RECOVERED record; `None` after an end in good order.
    pub(super) recovered: Option<Recovered>,
}

/// How far the last segment is good.
struct Tail {
    /// Bytes up to the end of the last good record.
    good: u64,
    head: Option<Head>,
    /// The last good record closes the journal.
    closed: bool,
    /// First line that is not intact although a checkpoint has sealed it.
    damage: Option<u64>,
}

/// Reads the end of a journal and cuts what an interrupted write left there. What a checkpoint has sealed is never
/// cut: it was durable once, so if it is not intact, somebody changed it.
pub(super) fn recover(storage: &mut dyn Storage, own: PublicKey) -> io::Result<Found> {
    let mut numbers = segment_numbers(storage)?;
    let mut headers = Vec::new();
    for number in &numbers {
        headers.extend(Header::read(storage, *number)?);
    }
    let abandoned: HashMap<u64, u64> =
        headers.iter().flat_map(|header| &header.segment.abandoned).map(|part| (part.number, part.bytes)).collect();
    let next_number = numbers.last().map_or(1, |last| last.saturating_add(1));
    let mut found =
        Found { head: None, next_number, open: HashMap::new(), abandoned: vec![], headers: vec![], recovered: None };
    let (mut cut, mut damage, mut closed) = (Vec::new(), None, true);
    while let Some(number) = numbers.pop() {
        let mut bytes = Vec::new();
        let limit = abandoned.get(&number).copied().unwrap_or(u64::MAX);
        storage.open(&segment_name(number))?.take(limit).read_to_end(&mut bytes)?;
        let tail = tail(&bytes, own)?;
        let rest = bytes.get(usize::try_from(tail.good).unwrap_or(usize::MAX)..).unwrap_or_default();
        cut.splice(0..0, rest.iter().copied());
        if tail.good == 0 {
            // Begun, but not even its first record became durable.
            storage.remove(&segment_name(number))?;
            continue;
        }
        if !rest.is_empty() {
            found.abandoned.push(Abandoned { number, bytes: tail.good });
            storage.truncate(&segment_name(number), tail.good)?;
        }
        (found.head, closed) = (tail.head, tail.closed);
        damage = tail.damage.map(|line| Label::from(format!("{}:{line}", segment_name(number))));
        numbers.push(number);
        break;
    }
    headers.retain(|header| numbers.contains(&header.number));
    found.open = open_attempts(storage, &headers, &abandoned)?;
    found.headers = headers;
    if !(closed && cut.is_empty() && damage.is_none() && found.open.is_empty()) {
        found.recovered = Some(Recovered {
            cause: if damage.is_some() { Cause::Damage } else { Cause::Crash },
            last_good: found.head,
            cut_bytes: cut.len() as u64,
            cut_hash: (!cut.is_empty()).then(|| Hash::of(&cut)),
            open_attempts: found.open.len() as u64,
            lost_records: 0,
            detail: damage,
        });
    }
    Ok(found)
}

/// Reads the last segment up to the first line that is not intact; further only if what follows was sealed.
fn tail(bytes: &[u8], own: PublicKey) -> io::Result<Tail> {
    let lines: Vec<Line> = Lines::new(Box::new(bytes)).collect::<io::Result<_>>()?;
    let mut keys = HashSet::from([own]);
    let mut tail = Tail { good: 0, head: None, closed: false, damage: None };
    let first = lines.first().and_then(Header::of);
    let mut before = first.map(|header| header.segment.after.map_or(Hash::GENESIS, |after| after.hash));
    let mut broken = None;
    for line in &lines {
        let Some((stated, json)) = line.parts() else {
            broken = broken.or(Some(line.number));
            before = None;
            continue;
        };
        let intact = before.is_some_and(|before| before.next(json) == stated);
        before = Some(stated);
        let record: Option<Record> = serde_json::from_slice(json).ok();
        let Some(record) = record.filter(|_| intact) else {
            broken = broken.or(Some(line.number));
            continue;
        };
        if let Event::Segment(segment) = &record.event {
            keys.insert(segment.public_key);
        }
        let sealed = matches!(&record.event, Event::Checkpoint(checkpoint) if signed_by_any(checkpoint, &keys));
        if broken.is_some() && sealed {
            tail.damage = tail.damage.or(broken);
        }
        if broken.is_none() || tail.damage.is_some() {
            tail.good = line.end();
            tail.head = Some(Head { seq: record.seq, hash: stated });
            tail.closed = matches!(&record.event, Event::Checkpoint(checkpoint) if checkpoint.closing);
        }
    }
    Ok(tail)
}

fn signed_by_any(checkpoint: &Checkpoint, keys: &HashSet<PublicKey>) -> bool {
    let text = Checkpoint::signed_text(&checkpoint.chain, &checkpoint.covers, checkpoint.closing);
    keys.iter().any(|key| key.accepts(&text, &checkpoint.signature))
}

/// Attempts that have an INTENT and no OUTCOME. Reads as far back as the last segment says that there are any.
fn open_attempts(
    storage: &dyn Storage,
    headers: &[Header],
    abandoned: &HashMap<u64, u64>,
) -> io::Result<HashMap<Label, u64>> {
    let Some(last) = headers.last() else { return Ok(HashMap::new()) };
    let oldest = last.segment.oldest_open.unwrap_or_else(|| last.first_seq());
    let from = headers.iter().rposition(|header| header.first_seq() <= oldest).unwrap_or_default();
    let mut open = HashMap::new();
    for header in headers.iter().skip(from) {
        let limit = abandoned.get(&header.number).copied().unwrap_or(u64::MAX);
        for line in Lines::open(storage, header.number, limit)? {
            let line = line?;
            let record = line.parts().and_then(|(_, json)| serde_json::from_slice::<Record>(json).ok());
            match record.map(|record| (record.seq, record.event)) {
                Some((seq, Event::Intent(intent))) => drop(open.insert(intent.attempt, seq)),
                Some((_, Event::Outcome(outcome))) => drop(open.remove(&outcome.attempt)),
                _ => {}
            }
        }
    }
    Ok(open)
}
