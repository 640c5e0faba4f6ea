//! Puts records into segments. The only place that decides what is durable.
use std::{
    collections::{HashMap, VecDeque},
    fs::{self, OpenOptions},
    io::{self, Write},
    sync::Arc,
    time::{Duration, Instant, UNIX_EPOCH},
};

use ring::rand::{SecureRandom as _, SystemRandom};
use serde::Serialize;
use tracing::{info, warn};

use super::{
    attempt::{AttemptEnd, Outcome},
    chain::{Hash, append_line},
    key::SigningKey,
    label::Label,
    record::{Abandoned, Cause, Checkpoint, Event, FORMAT, Head, Recovered, Retention, Segment, Start},
    recovery::Found,
    segment::segment_name,
    settings::{CheckpointCopy, Durability, Settings},
    storage::{SegmentFile, Storage},
    vitals::Vitals,
};

const DAY_MS: u64 = 24 * 3600 * 1000;

/// Gives records their times.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stamp {
    now: fn() -> std::time::SystemTime,
    opened: Instant,
}

impl Stamp {
    pub(super) fn new(now: fn() -> std::time::SystemTime) -> Self {
        Self { now, opened: Instant::now() }
    }

    fn unix_ms(&self) -> u64 {
        let since = (self.now)().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }

    /// The record without its position, which the writer knows.
    pub(super) fn entry(&self, event: &Event) -> serde_json::Result<Entry> {
        #[derive(Serialize)]
        struct Stamped<'a> {
            unix_ms: u64,
            mono_us: u64,
            #[serde(flatten)]
            event: &'a Event,
        }
        let mono_us = u64::try_from(self.opened.elapsed().as_micros()).unwrap_or(u64::MAX);
        let json = serde_json::to_vec(&Stamped { unix_ms: self.unix_ms(), mono_us, event })?;
        let role = match event {
            Event::Intent(intent) => Role::Opens(intent.attempt.clone()),
            Event::Outcome(outcome) => Role::Closes(outcome.attempt.clone()),
            Event::Checkpoint(_) => Role::Seals,
            _ => Role::Tells,
        };
        Ok(Entry { json, role })
    }
}

/// A record that waits for its position.
#[derive(Debug)]
pub(super) struct Entry {
    json: Vec<u8>,
    role: Role,
}

impl Entry {
    pub(super) fn bytes(&self) -> usize {
        self.json.len()
    }
}

/// What a record does to the writer's own books.
#[derive(Clone, Debug)]
enum Role {
    Opens(Label),
    Closes(Label),
    Seals,
    Tells,
}

/// The segment that is being written.
struct Current {
    file: Box<dyn SegmentFile>,
    number: u64,
    /// Bytes that are durable.
    bytes: u64,
    opened: Instant,
}

/// A segment that is kept.
struct Kept {
    number: u64,
    opened_unix_ms: u64,
    after: Option<Head>,
}

/// Writes one journal.
pub(super) struct Writer {
    storage: Box<dyn Storage>,
    key: SigningKey,
    settings: Settings,
    stamp: Stamp,
    chain: Label,
    /// The last durable record.
    head: Option<Head>,
    current: Option<Current>,
    next_number: u64,
    /// Segments that do not count to their end; the next segment says so.
    abandoned: Vec<Abandoned>,
    kept: VecDeque<Kept>,
    open: HashMap<Label, u64>,
    /// Durable records since the last checkpoint.
    unsealed: u64,
    sealed: Instant,
    /// Where checkpoints are copied; `None` also while that place cannot be had.
    copy: Option<Box<dyn Write + Send>>,
    copies_fail: bool,
    vitals: Arc<Vitals>,
}

impl Writer {
    /// Begins a segment with START, tells what was recovered and ends the attempts that the process before left open.
    pub(super) fn start(
        storage: Box<dyn Storage>,
        key: SigningKey,
        settings: Settings,
        stamp: Stamp,
        found: Found,
        vitals: Arc<Vitals>,
    ) -> io::Result<Self> {
        let mut chance = [0; 8];
        SystemRandom::new().fill(&mut chance).map_err(|_| io::Error::other("no random bytes to be had"))?;
        let copy = settings.checkpoint_copy.as_ref().map(open_copy).transpose()?;
        let kept = found.headers.iter().map(|header| Kept {
            number: header.number,
            opened_unix_ms: header.opened_unix_ms,
            after: header.segment.after,
        });
        let mut writer = Self {
            chain: format!("{:016x}", u64::from_be_bytes(chance)).into(),
            head: found.head,
            current: None,
            next_number: found.next_number,
            abandoned: found.abandoned,
            kept: kept.collect(),
            open: found.open,
            unsealed: 0,
            sealed: Instant::now(),
            copy,
            copies_fail: false,
            vitals,
            storage,
            key,
            settings,
            stamp,
        };
        let mut events = vec![Event::Start(Start {
            version: env!("CARGO_PKG_VERSION").into(),
            build: option_env!("SEALANE_REVISION").filter(|revision| !revision.is_empty()).map(Label::from),
            durability: writer.settings.durability,
            config_revision: writer.settings.config_revision.clone(),
        })];
        let recovered = found.recovered.is_some();
        events.extend(found.recovered.map(Event::Recovered));
        events.extend(writer.open.keys().map(|attempt| {
            let result = AttemptEnd::UnknownAfterCrash;
            Event::Outcome(Box::new(Outcome { attempt: attempt.clone(), result, ..Outcome::default() }))
        }));
        writer.open_segment(&events)?;
        if recovered {
            // What the process before left unsealed must not wait: this one may be killed within a second, too.
            writer.seal(false)?;
        }
        writer.remove_old_segments()?;
        Ok(writer)
    }

    /// This process's name in the journal.
    pub(super) fn chain(&self) -> &Label {
        &self.chain
    }

    /// How long the writer may rest if nothing comes in.
    pub(super) fn rest(&self) -> Duration {
        let limit = if self.unsealed > 0 { self.settings.checkpoint_interval } else { self.settings.heartbeat };
        limit.saturating_sub(self.sealed.elapsed())
    }

    /// Writes records, preceded by a checkpoint if one is due. `Ok`: they are durable. `Err`: none of them counts,
    /// and nothing can be written before [`resume`](Self::resume) has succeeded.
    pub(super) fn write(&mut self, entries: &[Entry]) -> io::Result<()> {
        if self.rotation_due() {
            self.seal(false)?;
            self.open_segment(&[])?;
            self.remove_old_segments()?;
        }
        if self.checkpoint_due() {
            let checkpoint = self.checkpoint(false)?;
            return self.append([checkpoint].iter().chain(entries));
        }
        if entries.is_empty() {
            return Ok(());
        }
        self.append(entries.iter())
    }

    /// Tries to go on after a failure, in a new segment.
    pub(super) fn resume(&mut self, failure: &io::Error) -> io::Result<()> {
        self.open_segment(&[Event::Recovered(Recovered {
            cause: Cause::WriteFailure,
            last_good: self.head,
            cut_bytes: 0,
            cut_hash: None,
            open_attempts: self.open.len() as u64,
            lost_records: 0,
            detail: Some(failure.to_string().into()),
        })])
    }

    /// Ends the journal in good order.
    pub(super) fn close(&mut self) -> io::Result<()> {
        self.seal(true)
    }

    fn rotation_due(&self) -> bool {
        let Settings { segment_bytes, segment_age, .. } = self.settings;
        self.current.as_ref().is_some_and(|now| now.bytes >= segment_bytes || now.opened.elapsed() >= segment_age)
    }

    fn checkpoint_due(&self) -> bool {
        let Settings { checkpoint_interval, checkpoint_records, heartbeat, .. } = self.settings;
        let waited = self.sealed.elapsed();
        let due = self.unsealed >= checkpoint_records || (self.unsealed > 0 && waited >= checkpoint_interval);
        due || waited >= heartbeat
    }

    fn seal(&mut self, closing: bool) -> io::Result<()> {
        let checkpoint = self.checkpoint(closing)?;
        self.append([&checkpoint].into_iter())
    }

    /// Covers only what is durable. A crash can therefore never leave a checkpoint behind without the records before
    /// it, and recovery may take one for proof that they were there.
    fn checkpoint(&self, closing: bool) -> io::Result<Entry> {
        let covers = self.head.ok_or_else(|| io::Error::other("a checkpoint of nothing"))?;
        let signature = self.key.sign(&Checkpoint::signed_text(&self.chain, &covers, closing));
        let event = Event::Checkpoint(Checkpoint { chain: self.chain.clone(), covers, closing, signature });
        Ok(self.stamp.entry(&event)?)
    }

    fn append<'a>(&mut self, entries: impl Iterator<Item = &'a Entry> + Clone) -> io::Result<()> {
        let Some(current) = &mut self.current else { return Err(io::Error::other("no segment is open")) };
        let (lines, head, copied) = encode(self.head, entries.clone());
        let began = Instant::now();
        let mut written = current.file.append(&lines);
        if self.settings.durability == Durability::Fsync {
            written = written.and_then(|()| current.file.sync());
        }
        if let Err(error) = written {
            self.poison();
            return Err(error);
        }
        current.bytes += lines.len() as u64;
        self.vitals.wrote(entries.clone().count() as u64, began.elapsed());
        self.count(entries, head);
        self.copy_checkpoint(&copied);
        Ok(())
    }

    /// After a failed write or fsync nobody knows which pages are on disk, and asking again may be answered with a
    /// false yes. So the segment counts only as far as it was durable before, and is never written again.
    fn poison(&mut self) {
        let Some(current) = self.current.take() else { return };
        self.abandoned.push(Abandoned { number: current.number, bytes: current.bytes });
        // For tidiness alone: the next segment states where this one ends.
        let _ = self.storage.truncate(&segment_name(current.number), current.bytes);
    }

    fn open_segment(&mut self, events: &[Event]) -> io::Result<()> {
        let number = self.next_number;
        let header = Event::Segment(Segment {
            format: FORMAT,
            chain: self.chain.clone(),
            public_key: self.key.public(),
            number,
            after: self.head,
            oldest_open: self.open.values().min().copied(),
            abandoned: self.abandoned.clone(),
        });
        let opened_unix_ms = self.stamp.unix_ms();
        let entries = [&header].into_iter().chain(events).map(|event| self.stamp.entry(event));
        let entries: Vec<Entry> = entries.collect::<serde_json::Result<_>>()?;
        let (lines, head, _) = encode(self.head, entries.iter());
        let began = Instant::now();
        let mut file = self.storage.create(&segment_name(number))?;
        self.next_number += 1;
        let mut written = file.append(&lines);
        if self.settings.durability == Durability::Fsync {
            written = written.and_then(|()| file.sync()).and_then(|()| self.storage.sync());
        }
        if let Err(error) = written {
            if self.storage.remove(&segment_name(number)).is_err() {
                self.abandoned.push(Abandoned { number, bytes: 0 });
            }
            return Err(error);
        }
        self.kept.push_back(Kept { number, opened_unix_ms, after: self.head });
        self.abandoned.clear();
        self.current = Some(Current { file, number, bytes: lines.len() as u64, opened: Instant::now() });
        self.vitals.wrote(entries.len() as u64, began.elapsed());
        self.count(entries.iter(), head);
        Ok(())
    }

    /// Enters durable records into the books.
    fn count<'a>(&mut self, entries: impl Iterator<Item = &'a Entry>, head: Option<Head>) {
        let first = self.head.map_or(0, |head| head.next_seq());
        for (at, entry) in entries.enumerate() {
            let seq = first.saturating_add(at as u64);
            self.unsealed += 1;
            match &entry.role {
                Role::Opens(attempt) => drop(self.open.insert(attempt.clone(), seq)),
                Role::Closes(attempt) => drop(self.open.remove(attempt)),
                Role::Seals => {
                    (self.unsealed, self.sealed) = (0, Instant::now());
                    self.vitals.sealed(self.stamp.unix_ms());
                }
                Role::Tells => {}
            }
        }
        self.head = head;
    }

    /// A place that is away for a while, such as another machine's disk, is tried again with every checkpoint.
    fn copy_checkpoint(&mut self, line: &[u8]) {
        let Some(place) = self.settings.checkpoint_copy.as_ref().filter(|_| !line.is_empty()) else { return };
        let copy = match self.copy.take() {
            Some(copy) => Ok(copy),
            None => open_copy(place),
        };
        let copied = copy.and_then(|mut copy| copy.write_all(line).and_then(|()| copy.flush()).map(|()| copy));
        let failed_before = std::mem::replace(&mut self.copies_fail, copied.is_err());
        match copied {
            Ok(copy) => {
                self.copy = Some(copy);
                if failed_before {
                    info!("checkpoints of the audit journal are copied again");
                }
            }
            Err(error) => {
                self.vitals.copy_failed();
                if !failed_before {
                    warn!(%error, "checkpoints of the audit journal cannot be copied; trying again with each");
                }
            }
        }
    }

    /// The record that tells of it becomes durable first: a gap that nothing explains would look like tampering.
    fn remove_old_segments(&mut self) -> io::Result<()> {
        let days = self.settings.retention_days;
        let keep_from = self.stamp.unix_ms().saturating_sub(u64::from(days) * DAY_MS);
        // A segment is as young as its last record, which is no younger than the segment after it.
        let old = self.kept.iter().skip(1).take_while(|next| next.opened_unix_ms < keep_from).count();
        let Some(through) = self.kept.get(old).and_then(|first| first.after).filter(|_| old > 0) else { return Ok(()) };
        let entry = self.stamp.entry(&Event::Retention(Retention { days, through }))?;
        self.append([&entry].into_iter())?;
        for gone in self.kept.drain(..old) {
            if let Err(error) = self.storage.remove(&segment_name(gone.number)) {
                warn!(%error, number = gone.number, "an old segment of the audit journal could not be removed");
            }
        }
        Ok(())
    }
}

/// Lines for these records after `head`, the head after them, and the last checkpoint's line among them.
fn encode<'a>(mut head: Option<Head>, entries: impl Iterator<Item = &'a Entry>) -> (Vec<u8>, Option<Head>, Vec<u8>) {
    let (mut lines, mut checkpoint, mut json) = (Vec::new(), Vec::new(), Vec::new());
    for entry in entries {
        let (seq, before) = head.map_or((0, Hash::GENESIS), |head| (head.next_seq(), head.hash));
        json.clear();
        json.extend_from_slice(format!("{{\"seq\":{seq},").as_bytes());
        json.extend_from_slice(entry.json.strip_prefix(b"{").unwrap_or_default());
        let start = lines.len();
        let hash = append_line(&mut lines, &before, &json);
        if matches!(entry.role, Role::Seals) {
            checkpoint = lines.get(start..).unwrap_or_default().to_vec();
        }
        head = Some(Head { seq, hash });
    }
    (lines, head, checkpoint)
}

fn open_copy(copy: &CheckpointCopy) -> io::Result<Box<dyn Write + Send>> {
    match copy {
        CheckpointCopy::Stderr => Ok(Box::new(io::stderr())),
        CheckpointCopy::File(path) => {
            if let Some(folder) = path.parent() {
                fs::create_dir_all(folder)?;
            }
            Ok(Box::new(OpenOptions::new().append(true).create(true).open(path)?))
        }
    }
}
