//! Server-sent events out of a body's frames, in bounded memory.
//!
//! Azure sends plain `data:` lines, but proxies and other servers use more of the format, so all of it is read: LF,
//! CR and CRLF, comments, several `data:` lines in one event, a byte order mark, events cut at any byte. A whole
//! event in one frame is passed on without being copied.
use bytes::{Buf as _, Bytes, BytesMut};

/// Splits bytes into events.
#[derive(Debug)]
pub(super) struct EventReader {
    buffer: BytesMut,
    /// Bytes of `buffer` that are known to hold no line end.
    searched: usize,
    data: Option<BytesMut>,
    after_carriage_return: bool,
    at_start: bool,
    limit: usize,
}

/// An event is larger than the service takes.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct EventTooLarge;

impl EventReader {
    /// Refuses events above `limit` bytes.
    pub(super) fn new(limit: usize) -> Self {
        Self { buffer: BytesMut::new(), searched: 0, data: None, after_carriage_return: false, at_start: true, limit }
    }

    /// Takes the next bytes of the body.
    pub(super) fn push(&mut self, frame: Bytes) {
        if self.buffer.is_empty() {
            // The usual case: the frame becomes the buffer as it is.
            match frame.try_into_mut() {
                Ok(owned) => self.buffer = owned,
                Err(shared) => self.buffer.extend_from_slice(&shared),
            }
        } else {
            self.buffer.extend_from_slice(&frame);
        }
    }

    /// The data of the next whole event, if it is here.
    pub(super) fn next(&mut self) -> Result<Option<Bytes>, EventTooLarge> {
        loop {
            let Some(line) = self.line() else {
                if self.buffer.is_empty() {
                    // An idle stream must not keep the whole block that its last frame came in.
                    self.buffer = BytesMut::new();
                }
                let held = self.buffer.len() + self.data.as_ref().map_or(0, BytesMut::len);
                return if held > self.limit { Err(EventTooLarge) } else { Ok(None) };
            };
            if line.is_empty() {
                if let Some(data) = self.data.take() {
                    return Ok(Some(data.freeze()));
                }
                continue;
            }
            self.field(line)?;
        }
    }

    fn field(&mut self, mut line: BytesMut) -> Result<(), EventTooLarge> {
        let rest = match line.strip_prefix(b"data") {
            Some([]) => 4,
            Some([b':', b' ', ..]) => 6,
            Some([b':', ..]) => 5,
            // A comment, or a field that says nothing to us.
            _ => return Ok(()),
        };
        line.advance(rest);
        match &mut self.data {
            None => self.data = Some(line),
            Some(data) => {
                data.extend_from_slice(b"\n");
                data.extend_from_slice(&line);
            }
        }
        let size = self.data.as_ref().map_or(0, BytesMut::len);
        if size > self.limit { Err(EventTooLarge) } else { Ok(()) }
    }

    /// The next line without its end.
    fn line(&mut self) -> Option<BytesMut> {
        const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
        if self.at_start {
            if BYTE_ORDER_MARK.starts_with(&self.buffer) {
                return None;
            }
            if self.buffer.starts_with(BYTE_ORDER_MARK) {
                self.buffer.advance(BYTE_ORDER_MARK.len());
            }
            self.at_start = false;
        }
        if self.after_carriage_return && !self.buffer.is_empty() {
            self.after_carriage_return = false;
            if self.buffer[0] == b'\n' {
                self.buffer.advance(1);
            }
        }
        let Some(found) = memchr::memchr2(b'\n', b'\r', &self.buffer[self.searched..]) else {
            self.searched = self.buffer.len();
            return None;
        };
        let line = self.buffer.split_to(self.searched + found);
        self.after_carriage_return = self.buffer[0] == b'\r';
        self.buffer.advance(1);
        self.searched = 0;
        Some(line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(frames: &[&[u8]]) -> Result<Vec<String>, EventTooLarge> {
        let mut reader = EventReader::new(64);
        let mut events = Vec::new();
        for frame in frames {
            reader.push(Bytes::copy_from_slice(frame));
            while let Some(event) = reader.next()? {
                events.push(String::from_utf8_lossy(&event).into_owned());
            }
        }
        Ok(events)
    }

    #[test]
    fn every_form_of_the_format() {
        for (name, body, expected) in [
            ("azure's", "data: a\n\ndata: b\n\n", vec!["a", "b"]),
            ("carriage returns and line feeds", "data: a\r\n\r\ndata: b\r\n\r\n", vec!["a", "b"]),
            ("carriage returns", "data: a\r\rdata: b\r\r", vec!["a", "b"]),
            ("no space", "data:a\n\n", vec!["a"]),
            ("two spaces", "data:  a\n\n", vec![" a"]),
            ("several lines", "data: a\ndata: b\ndata\n\n", vec!["a\nb\n"]),
            ("comments and other fields", ": hi\nevent: x\nid: 1\ndata: a\nretry: 5\n\n", vec!["a"]),
            ("another field that begins alike", "database: x\ndata: a\n\n", vec!["a"]),
            ("blank lines", "\n\n\ndata: a\n\n\n\n", vec!["a"]),
            ("a byte order mark", "\u{feff}data: a\n\n", vec!["a"]),
            ("an event without its blank line", "data: a\n\ndata: b\n", vec!["a"]),
            ("nothing", "", vec![]),
            ("characters of several bytes", "data: h\u{e9}\u{1f600}\n\n", vec!["h\u{e9}\u{1f600}"]),
        ] {
            let expected: Vec<String> = expected.into_iter().map(str::to_owned).collect();
            assert_eq!(read(&[body.as_bytes()]), Ok(expected.clone()), "{name}, in one frame");
            let bytes: Vec<&[u8]> = body.as_bytes().chunks(1).collect();
            assert_eq!(read(&bytes), Ok(expected.clone()), "{name}, byte by byte");
            for cut in 0..body.len() {
                let (head, tail) = body.as_bytes().split_at(cut);
                assert_eq!(read(&[head, tail]), Ok(expected.clone()), "{name}, cut at {cut}");
            }
        }
    }

    #[test]
    fn an_event_without_end_is_refused_before_it_fills_the_memory() {
        let line = format!("data: {}", "x".repeat(59));
        assert_eq!(read(&[line.as_bytes()]), Err(EventTooLarge));
        let lines = "data: 0123456789\n".repeat(6);
        assert_eq!(read(&[lines.as_bytes()]), Err(EventTooLarge));
        let fits = format!("data: {}\n\n", "x".repeat(64));
        assert_eq!(read(&[fits.as_bytes()]).map(|events| events.len()), Ok(1));
    }
}
