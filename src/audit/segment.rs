//! Segments: the files of a journal, their names and lines.
use std::io::{self, BufRead, BufReader, Read};

use super::{
    chain::{Hash, split_line},
    record::{Event, Record, Segment},
    storage::Source,
};

/// Longest line that is read, in bytes. Nothing that the journal writes comes near it.
const MAX_LINE_BYTES: u64 = 1 << 20;

/// The name of the segment with this number.
pub fn segment_name(number: u64) -> String {
    format!("segment-{number:08}.jsonl")
}

fn segment_number(name: &str) -> Option<u64> {
    let number = name.strip_prefix("segment-")?.strip_suffix(".jsonl")?.parse().ok()?;
    (segment_name(number) == name).then_some(number)
}

/// Numbers of all segments, in order.
pub(super) fn segment_numbers(source: &(impl Source + ?Sized)) -> io::Result<Vec<u64>> {
    let mut numbers: Vec<u64> = source.names()?.iter().filter_map(|name| segment_number(name)).collect();
    numbers.sort_unstable();
    Ok(numbers)
}

/// A line as it stands in a segment.
#[derive(Debug)]
pub(super) struct Line {
    /// Counted from 1.
    pub(super) number: u64,
    /// Its first byte, counted from 0.
    pub(super) offset: u64,
    /// Without the line break.
    pub(super) bytes: Vec<u8>,
    /// It ends with a line break.
    pub(super) whole: bool,
}

impl Line {
    /// First byte after it.
    pub(super) fn end(&self) -> u64 {
        self.offset + self.bytes.len() as u64 + u64::from(self.whole)
    }

    /// The hash that it states, and the record's JSON.
    pub(super) fn parts(&self) -> Option<(Hash, &[u8])> {
        split_line(&self.bytes).filter(|_| self.whole)
    }
}

/// Reads a segment line by line.
pub(super) struct Lines<'a> {
    reader: BufReader<Box<dyn Read + 'a>>,
    number: u64,
    offset: u64,
}

impl<'a> Lines<'a> {
    pub(super) fn new(reader: Box<dyn Read + 'a>) -> Self {
        Self { reader: BufReader::new(reader), number: 0, offset: 0 }
    }

    /// The first `bytes` of a segment.
    pub(super) fn open(source: &'a (impl Source + ?Sized), number: u64, bytes: u64) -> io::Result<Self> {
        Ok(Self::new(Box::new(source.open(&segment_name(number))?.take(bytes))))
    }
}

impl Iterator for Lines<'_> {
    type Item = io::Result<Line>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut bytes = Vec::new();
        match self.reader.by_ref().take(MAX_LINE_BYTES).read_until(b'\n', &mut bytes) {
            Ok(0) => None,
            Ok(length) => {
                let offset = self.offset;
                self.number += 1;
                self.offset += length as u64;
                let whole = bytes.pop_if(|last| *last == b'\n').is_some();
                Some(Ok(Line { number: self.number, offset, bytes, whole }))
            }
            Err(error) => Some(Err(error)),
        }
    }
}

/// What a segment says of itself in its first line.
#[derive(Clone, Debug)]
pub(super) struct Header {
    pub(super) number: u64,
    pub(super) opened_unix_ms: u64,
    pub(super) segment: Segment,
}

impl Header {
    /// Position of its first record.
    pub(super) fn first_seq(&self) -> u64 {
        self.segment.after.map_or(0, |after| after.next_seq())
    }

    /// Reads the first line. `None`: it is no intact SEGMENT record.
    pub(super) fn read(source: &(impl Source + ?Sized), number: u64) -> io::Result<Option<Self>> {
        let Some(line) = Lines::open(source, number, u64::MAX)?.next().transpose()? else { return Ok(None) };
        Ok(Self::of(&line).filter(|header| header.segment.number == number))
    }

    /// Takes a segment's first line for what it says, if its hash agrees.
    pub(super) fn of(line: &Line) -> Option<Self> {
        let (stated, json) = line.parts()?;
        let Record { unix_ms, event: Event::Segment(segment), .. } = serde_json::from_slice(json).ok()? else {
            return None;
        };
        let before = segment.after.map_or(Hash::GENESIS, |after| after.hash);
        let header = Self { number: segment.number, opened_unix_ms: unix_ms, segment };
        (before.next(json) == stated).then_some(header)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn only_names_that_the_journal_gives_are_segments() {
        assert_eq!(segment_number(&segment_name(7)), Some(7));
        assert_eq!(segment_number(&segment_name(u64::MAX)), Some(u64::MAX));
        for name in ["segment-7.jsonl", "segment-+0000007.jsonl", "segment-00000007.jsonl.bak", "lock", ""] {
            assert_eq!(segment_number(name), None, "{name}");
        }
    }

    #[test]
    fn lines_tell_where_they_are() {
        let lines: Vec<Line> = Lines::new(Box::new(&b"ab\n\ncd"[..])).map(Result::unwrap).collect();
        let told: Vec<_> = lines.iter().map(|line| (line.number, line.offset, line.end(), line.whole)).collect();
        assert_eq!(told, [(1, 0, 3, true), (2, 3, 4, true), (3, 4, 6, false)]);
    }
}
