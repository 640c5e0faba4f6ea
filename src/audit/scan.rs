//! Reads a journal from its first record to its last, and finds everything that is not as it was written.
use std::{
    collections::{BTreeMap, HashMap, HashSet},
    io,
};

use super::{
    chain::{Hash, LINE_PREFIX, split_line},
    findings::{Findings, Problem, ProblemKind},
    key::PublicKey,
    record::{Checkpoint, Event, FORMAT, Head, Record, Segment},
    segment::{Header, Line, Lines, segment_name, segment_numbers},
    storage::Source,
};

/// A service seals its records after a second or a thousand of them; a stalled disk may hold up a full queue.
const MAX_UNSEALED_RECORDS: u64 = 10_000;
/// The same as time, in microseconds.
const MAX_UNSEALED_US: u64 = 60_000_000;

/// What the reader knows from elsewhere, which a forger of the journal cannot change.
#[derive(Clone, Debug, Default)]
pub struct Trust {
    /// Keys that may sign. Empty: those that the journal itself names, which proves less.
    pub keys: Vec<PublicKey>,
    /// Checkpoints that were copied elsewhere, as lines; other lines are passed over.
    pub checkpoints: Vec<u8>,
}

/// Checks a whole journal.
pub fn verify(source: &(impl Source + ?Sized), trust: &Trust) -> io::Result<Findings> {
    scan(source, trust, &mut |_, _| Ok(()))
}

/// A record whose hash is right, and the process that wrote it.
pub(super) struct Read<'a> {
    pub(super) record: &'a Record,
    pub(super) chain: &'a str,
}

/// Checks a whole journal and shows `visit` every record whose hash is right, with the line it stands in.
pub(super) fn scan(
    source: &(impl Source + ?Sized),
    trust: &Trust,
    visit: &mut dyn FnMut(Read<'_>, &Line) -> io::Result<()>,
) -> io::Result<Findings> {
    let numbers = segment_numbers(source)?;
    let mut counted: HashMap<u64, u64> = HashMap::new();
    for number in &numbers {
        let abandoned = Header::read(source, *number)?.map(|header| header.segment.abandoned);
        counted.extend(abandoned.into_iter().flatten().map(|part| (part.number, part.bytes)));
    }
    let mut scan = Scan::new(trust);
    for number in numbers {
        // What follows in an abandoned segment was never confirmed, and nothing relied on it.
        let bytes = counted.get(&number).copied().unwrap_or(u64::MAX);
        if bytes == 0 {
            continue;
        }
        scan.begin_segment(number);
        for line in Lines::open(source, number, bytes)? {
            let line = line?;
            if let Some(record) = scan.line(&line) {
                visit(Read { record: &record, chain: &scan.chain }, &line)?;
            }
        }
    }
    Ok(scan.finish())
}

/// The hash that the next record must follow.
#[derive(Clone, Copy)]
enum Link {
    /// That of the record before. A changed record has two: the one it states and the one its bytes have. The next
    /// may follow either, so that one change is reported once.
    After([Hash; 2]),
    /// The line before was destroyed, and is reported.
    Lost,
}

struct Scan<'a> {
    findings: Findings,
    trust: &'a Trust,
    keys: HashSet<PublicKey>,
    chain: String,
    segment: u64,
    /// Nothing of this segment was read yet.
    at_start: bool,
    place: (u64, u64),
    link: Link,
    /// Position that the next record must have.
    next_seq: u64,
    /// Hashes that the record before the present one may have.
    before: Option<[Hash; 2]>,
    open: HashSet<String>,
    /// The process's clock at the first record that no checkpoint covers.
    unsealed_since_us: Option<u64>,
    /// Time from that record to the last.
    unsealed_us: u64,
    /// Where a journal begins from which old segments were removed, until a RETENTION record explains it.
    unexplained: Option<Head>,
    copies: BTreeMap<u64, Hash>,
    unseen: BTreeMap<u64, Hash>,
}

impl<'a> Scan<'a> {
    fn new(trust: &'a Trust) -> Self {
        let copies = copied_checkpoints(&trust.checkpoints);
        Self {
            findings: Findings::default(),
            trust,
            keys: trust.keys.iter().copied().collect(),
            chain: String::new(),
            segment: 0,
            at_start: true,
            place: (1, 0),
            link: Link::After([Hash::GENESIS; 2]),
            next_seq: 0,
            before: None,
            open: HashSet::new(),
            unsealed_since_us: None,
            unsealed_us: 0,
            unexplained: None,
            unseen: copies.clone(),
            copies,
        }
    }

    fn begin_segment(&mut self, number: u64) {
        self.findings.segments += 1;
        (self.segment, self.at_start, self.place) = (number, true, (1, 0));
    }

    fn report(&mut self, kind: ProblemKind) {
        let (line, offset) = self.place;
        let segment = segment_name(self.segment);
        self.findings.problems.push(Problem { segment, line, offset, seq: self.next_seq, kind });
    }

    /// Checks one line; gives the record if its hash is right.
    fn line(&mut self, line: &Line) -> Option<Record> {
        self.place = (line.number, line.offset);
        self.findings.closed = false;
        let at_start = std::mem::replace(&mut self.at_start, false);
        if !line.whole {
            self.report(ProblemKind::Torn);
            self.link = Link::Lost;
            return None;
        }
        if at_start && let Some(header) = Header::of(line) {
            self.tie(&header);
        }
        let Some((stated, json)) = line.parts() else {
            self.destroyed(line);
            return None;
        };
        let Ok(record) = serde_json::from_slice::<Record>(json) else {
            self.destroyed(line);
            return None;
        };
        let intact = self.follow(&record, stated, json);
        self.findings.records += 1;
        self.findings.first.get_or_insert(record.seq);
        self.compare_copy(record.seq, stated);
        if !intact {
            return None;
        }
        if at_start != matches!(record.event, Event::Segment(_)) {
            self.report(ProblemKind::BadHeader);
        }
        self.event(&record, stated);
        Some(record)
    }

    /// The line is no record, but either its hash or its bytes may still be what the next one follows.
    fn destroyed(&mut self, line: &Line) {
        self.report(ProblemKind::Malformed);
        self.next_seq = self.next_seq.saturating_add(1);
        let computed = match self.link {
            Link::After([before, _]) => line.bytes.get(LINE_PREFIX..).map(|json| before.next(json)),
            Link::Lost => None,
        };
        let stated = line.parts().map(|(stated, _)| stated);
        self.link = match stated.or(computed) {
            Some(known) => Link::After([known, computed.unwrap_or(known)]),
            None => Link::Lost,
        };
    }

    /// Ties a segment to the record that it says it follows.
    fn tie(&mut self, header: &Header) {
        let Segment { after, format, number, .. } = &header.segment;
        if *format != FORMAT {
            self.report(ProblemKind::UnknownFormat { format: *format });
        }
        if *number != self.segment {
            self.report(ProblemKind::BadHeader);
        }
        let first = self.findings.records == 0 && self.findings.problems.is_empty();
        let Some(after) = after else { return };
        if first {
            self.unexplained = Some(*after);
        } else if after.seq >= self.next_seq {
            self.report(ProblemKind::Missing { from: self.next_seq, to: after.seq });
        } else if let Link::After(known) = self.link
            && after.next_seq() == self.next_seq
            && !known.contains(&after.hash)
        {
            self.report(ProblemKind::Altered);
        }
        if first || after.seq >= self.next_seq || matches!(self.link, Link::Lost) {
            self.next_seq = after.next_seq();
            self.link = Link::After([after.hash; 2]);
        }
    }

    /// Checks that a record follows the one before, and goes on from it.
    fn follow(&mut self, record: &Record, stated: Hash, json: &[u8]) -> bool {
        self.before = match self.link {
            Link::After(known) => Some(known),
            Link::Lost => None,
        };
        let (intact, computed) = match self.link {
            Link::After(known) => {
                let computed = known.map(|before| before.next(json));
                (computed.contains(&stated), computed[0])
            }
            Link::Lost => (true, stated),
        };
        let expected = self.next_seq;
        if record.seq > expected {
            self.report(ProblemKind::Missing { from: expected, to: record.seq - 1 });
        } else if record.seq < expected {
            self.report(ProblemKind::OutOfOrder { found: record.seq });
        } else if !intact {
            self.report(ProblemKind::Altered);
        }
        self.next_seq = record.seq.saturating_add(1);
        self.link = Link::After([stated, computed]);
        intact && record.seq == expected
    }

    fn event(&mut self, record: &Record, hash: Hash) {
        self.findings.unsealed += 1;
        let since = *self.unsealed_since_us.get_or_insert(record.mono_us);
        self.unsealed_us = record.mono_us.saturating_sub(since);
        self.findings.last = Some(Head { seq: record.seq, hash });
        match &record.event {
            Event::Segment(segment) => {
                self.chain = segment.chain.as_str().to_owned();
                if !self.findings.keys.contains(&segment.public_key) {
                    self.findings.keys.push(segment.public_key);
                }
                if self.trust.keys.is_empty() {
                    self.keys.insert(segment.public_key);
                }
            }
            // Its clock starts anew.
            Event::Start(_) => self.unsealed_since_us = Some(record.mono_us),
            Event::Intent(intent) => drop(self.open.insert(intent.attempt.as_str().to_owned())),
            Event::Outcome(outcome) => drop(self.open.remove(outcome.attempt.as_str())),
            Event::Retention(retention) => {
                self.unexplained = self.unexplained.filter(|start| start.seq > retention.through.seq);
            }
            Event::Checkpoint(checkpoint) => self.checkpoint(checkpoint, record.seq),
            _ => {}
        }
    }

    fn checkpoint(&mut self, checkpoint: &Checkpoint, seq: u64) {
        let Checkpoint { chain, covers, closing, signature } = checkpoint;
        let text = Checkpoint::signed_text(chain, covers, *closing);
        if !self.keys.iter().any(|key| key.accepts(&text, signature)) {
            self.report(ProblemKind::BadSignature);
        } else if covers.seq.checked_add(1) != Some(seq)
            || !self.before.is_none_or(|known| known.contains(&covers.hash))
        {
            self.report(ProblemKind::Forged);
        } else {
            self.findings.checkpoints += 1;
            self.findings.unsealed = 0;
            self.unsealed_since_us = None;
            self.findings.closed = *closing;
        }
    }

    fn compare_copy(&mut self, seq: u64, hash: Hash) {
        self.unseen.remove(&seq);
        if let Some(copied) = self.copies.get(&seq) {
            self.findings.compared += 1;
            if *copied != hash {
                self.report(ProblemKind::NotAsCopied);
            }
        }
    }

    fn finish(mut self) -> Findings {
        if let Some(start) = self.unexplained {
            let segment = segment_name(self.segment);
            let kind = ProblemKind::Missing { from: 0, to: start.seq };
            self.findings.problems.insert(0, Problem { segment, line: 1, offset: 0, seq: 0, kind });
        }
        let records = self.findings.unsealed;
        if records > MAX_UNSEALED_RECORDS || self.unsealed_us > MAX_UNSEALED_US {
            self.report(ProblemKind::Unsealed { records });
        }
        // Earlier ones are past their retention, or reported as missing already.
        if let Some((copied, _)) = self.unseen.split_off(&self.next_seq).pop_last() {
            self.report(ProblemKind::CutShort { copied });
        }
        self.findings.open_attempts = self.open.len() as u64;
        self.findings
    }
}

/// Positions and hashes of the checkpoints among these lines.
fn copied_checkpoints(lines: &[u8]) -> BTreeMap<u64, Hash> {
    let checkpoints = lines.split(|byte| *byte == b'\n').filter_map(|line| {
        let (hash, json) = split_line(line)?;
        let record: Record = serde_json::from_slice(json).ok()?;
        matches!(record.event, Event::Checkpoint(_)).then_some((record.seq, hash))
    });
    checkpoints.collect()
}
