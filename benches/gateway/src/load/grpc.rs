//! gRPC over HTTP/2, as little of it as a client needs who sends one request over and over: the header block is
//! written by hand once, then referred to, and answers are counted, not decoded. A failed call shows in what is
//! missing: an error has no message, a cut stream no `end` event.
use std::{
    collections::HashMap,
    net::SocketAddr,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use super::{Tally, read_stamps, since_epoch};
use crate::workload::{FLOOD_CHUNKS, Row, VECTORS, Work};

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;

const END_STREAM: u8 = 0x1;
const ACK: u8 = 0x1;
const END_HEADERS: u8 = 0x4;
const PADDED: u8 = 0x8;

const SETTINGS_ENABLE_PUSH: u16 = 2;
const SETTINGS_INITIAL_WINDOW_SIZE: u16 = 4;

const FRAME_HEAD: usize = 9;
/// The largest frame that every peer must take.
const LARGEST_FRAME: usize = 16 * 1024;
/// What every peer grants before it says otherwise.
const DEFAULT_WINDOW: i64 = 65_535;
/// What is granted to the peer for one stream: more than any answer here.
const STREAM_WINDOW: u32 = 4 * 1024 * 1024;
/// What is granted to the peer for the connection, again and again.
const CONNECTION_WINDOW: u32 = 512 * 1024 * 1024;
/// Streams on one connection when many are held open; servers commonly allow 100 to 200.
const IDLE_STREAMS_PER_CONNECTION: usize = 100;
/// First byte of a `CompleteStreamResponse` whose event is `end`: field 6, length-delimited.
const END_EVENT: u8 = 6 << 3 | 2;
/// First byte of an `EmbedStreamResponse` whose event is `summary`: field 2, length-delimited.
const SUMMARY_EVENT: u8 = 2 << 3 | 2;

pub(super) async fn run(to: SocketAddr, row: Row) -> Result<Tally> {
    let mut connection = Connection::open(to, row.work).await?;
    let mut begun = 0;
    loop {
        while begun < row.calls && connection.streams.len() < row.concurrency {
            connection.begin();
            begun += 1;
        }
        if connection.streams.is_empty() {
            return Ok(connection.tally);
        }
        connection.turn().await?;
    }
}

/// Streams that have begun and do not end.
pub(crate) struct IdleStreams {
    _connections: Vec<Connection>,
}

impl IdleStreams {
    /// Opens so many; each has had its first message.
    pub(crate) async fn open(to: SocketAddr, count: usize) -> Result<Self> {
        let mut connections = Vec::new();
        let mut left = count;
        while left > 0 {
            let here = left.min(IDLE_STREAMS_PER_CONNECTION);
            let mut connection = Connection::open(to, Work::Idle).await?;
            (0..here).for_each(|_| connection.begin());
            while connection.streams.values().any(|stream| stream.messages == 0) {
                connection.turn().await?;
                if connection.tally.failed > 0 {
                    bail!("an idle stream ended");
                }
            }
            connections.push(connection);
            left -= here;
        }
        Ok(Self { _connections: connections })
    }
}

struct Connection {
    socket: TcpStream,
    input: Vec<u8>,
    output: Vec<u8>,
    work: Work,
    first_headers: Vec<u8>,
    body: Vec<u8>,
    next_stream: u32,
    streams: HashMap<u32, Stream>,
    /// Bytes that the peer still takes on this connection.
    window: i64,
    /// Bytes that the peer takes on a new stream.
    stream_window: i64,
    /// Bytes taken from the peer since the connection's window was last renewed.
    taken: u32,
    /// When the last bytes came, since the epoch.
    arrival: Duration,
    tally: Tally,
}

struct Stream {
    begun: Instant,
    /// Bytes of the request that have left.
    sent: usize,
    window: i64,
    messages: usize,
    bytes: usize,
    /// Bytes of the next message's head that are there, and the head.
    head: (usize, [u8; 5]),
    /// Bytes of the current message that have not come yet.
    missing: usize,
    /// First byte of the current message; none until it is there.
    event: Option<u8>,
}

impl Connection {
    async fn open(to: SocketAddr, work: Work) -> Result<Self> {
        let socket = TcpStream::connect(to).await.with_context(|| format!("cannot connect to {to}"))?;
        socket.set_nodelay(true)?;
        let mut connection = Self {
            socket,
            input: Vec::with_capacity(256 * 1024),
            output: b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
            work,
            first_headers: first_headers(work.grpc_path(), &to.to_string()),
            body: work.grpc_body(),
            next_stream: 1,
            streams: HashMap::new(),
            window: DEFAULT_WINDOW,
            stream_window: DEFAULT_WINDOW,
            taken: 0,
            arrival: Duration::ZERO,
            tally: Tally::default(),
        };
        let mut settings = Vec::new();
        for (name, value) in [(SETTINGS_ENABLE_PUSH, 0), (SETTINGS_INITIAL_WINDOW_SIZE, STREAM_WINDOW)] {
            settings.extend(name.to_be_bytes());
            settings.extend(u32::to_be_bytes(value));
        }
        frame(&mut connection.output, SETTINGS, 0, 0, &settings);
        frame(&mut connection.output, WINDOW_UPDATE, 0, 0, &CONNECTION_WINDOW.to_be_bytes());
        Ok(connection)
    }

    /// Puts one more request into the output.
    fn begin(&mut self) {
        let id = self.next_stream;
        self.next_stream += 2;
        let headers: &[u8] = if id == 1 { &self.first_headers } else { &LATER_HEADERS };
        frame(&mut self.output, HEADERS, END_HEADERS, id, headers);
        self.streams.insert(
            id,
            Stream {
                begun: Instant::now(),
                sent: 0,
                window: self.stream_window,
                messages: 0,
                bytes: 0,
                head: (0, [0; 5]),
                missing: 0,
                event: None,
            },
        );
        self.send_body(id);
    }

    /// Puts as much of a request's body into the output as the peer takes.
    fn send_body(&mut self, id: u32) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        while stream.sent < self.body.len() {
            let granted = usize::try_from(self.window.min(stream.window)).unwrap_or(0);
            let count = (self.body.len() - stream.sent).min(LARGEST_FRAME).min(granted);
            if count == 0 {
                return;
            }
            let end = stream.sent + count;
            let flags = if end == self.body.len() { END_STREAM } else { 0 };
            frame(&mut self.output, DATA, flags, id, &self.body[stream.sent..end]);
            stream.sent = end;
            stream.window -= count as i64;
            self.window -= count as i64;
        }
    }

    fn send_bodies(&mut self) {
        let mut waiting: Vec<u32> =
            self.streams.iter().filter(|(_, stream)| stream.sent < self.body.len()).map(|(id, _)| *id).collect();
        waiting.sort_unstable();
        waiting.into_iter().for_each(|id| self.send_body(id));
    }

    /// Writes what is to be written, reads what is there, works through it.
    async fn turn(&mut self) -> Result<()> {
        if !self.output.is_empty() {
            self.socket.write_all(&self.output).await?;
            self.output.clear();
        }
        if self.socket.read_buf(&mut self.input).await? == 0 {
            bail!("the gateway closed the connection");
        }
        if self.work == Work::Paced {
            self.arrival = since_epoch();
        }
        let input = std::mem::take(&mut self.input);
        let mut at = 0;
        while let Some((kind, flags, id, end)) = frame_at(&input, at) {
            self.take(kind, flags, id, &input[at + FRAME_HEAD..end])?;
            at = end;
        }
        self.input = input;
        self.input.drain(..at);
        Ok(())
    }

    fn take(&mut self, kind: u8, flags: u8, id: u32, payload: &[u8]) -> Result<()> {
        match kind {
            DATA => {
                if flags & PADDED != 0 {
                    bail!("padded frames are not understood");
                }
                self.taken += payload.len() as u32;
                if self.taken > CONNECTION_WINDOW / 2 {
                    frame(&mut self.output, WINDOW_UPDATE, 0, 0, &self.taken.to_be_bytes());
                    self.taken = 0;
                }
                if let Some(stream) = self.streams.get_mut(&id) {
                    stream.take(payload);
                }
                if self.work == Work::Paced {
                    read_stamps(payload, self.arrival, &mut self.tally.transits);
                }
                if flags & END_STREAM != 0 {
                    self.end(id, false);
                }
            }
            HEADERS if flags & END_STREAM != 0 => self.end(id, true),
            RST_STREAM => self.end(id, false),
            SETTINGS if flags & ACK == 0 => {
                for setting in payload.as_chunks::<6>().0 {
                    let [name_high, name_low, value @ ..] = *setting;
                    if u16::from_be_bytes([name_high, name_low]) == SETTINGS_INITIAL_WINDOW_SIZE {
                        let granted = i64::from(u32::from_be_bytes(value));
                        let more = granted - self.stream_window;
                        self.stream_window = granted;
                        self.streams.values_mut().for_each(|stream| stream.window += more);
                    }
                }
                frame(&mut self.output, SETTINGS, ACK, 0, &[]);
                self.send_bodies();
            }
            PING if flags & ACK == 0 => frame(&mut self.output, PING, ACK, 0, payload),
            WINDOW_UPDATE => {
                let more = payload.first_chunk().map_or(0, |bytes| i64::from(u32::from_be_bytes(*bytes)));
                match self.streams.get_mut(&id) {
                    Some(stream) => stream.window += more,
                    None if id == 0 => self.window += more,
                    None => {}
                }
                self.send_bodies();
            }
            GOAWAY => bail!("the gateway told us to go away"),
            _ => {}
        }
        Ok(())
    }

    fn end(&mut self, id: u32, with_trailers: bool) {
        if let Some(stream) = self.streams.remove(&id) {
            let whole = stream.messages > 0 && stream.missing == 0;
            // One message for each chunk, and what begins and ends the stream.
            let ended = match self.work {
                Work::EmbedStream => stream.event == Some(SUMMARY_EVENT) && stream.messages == VECTORS + 1,
                work if work.is_stream() => stream.event == Some(END_EVENT) && stream.messages > FLOOD_CHUNKS,
                _ => stream.messages == 1,
            };
            self.tally.count(self.work, stream.begun, stream.bytes, with_trailers && whole && ended);
        }
    }
}

impl Stream {
    fn take(&mut self, mut payload: &[u8]) {
        while !payload.is_empty() {
            if self.missing > 0 {
                let here = self.missing.min(payload.len());
                self.event = self.event.or(payload.first().copied());
                self.missing -= here;
                self.messages += usize::from(self.missing == 0);
                payload = &payload[here..];
                continue;
            }
            let (have, head) = &mut self.head;
            let here = (head.len() - *have).min(payload.len());
            head[*have..*have + here].copy_from_slice(&payload[..here]);
            *have += here;
            payload = &payload[here..];
            if *have == head.len() {
                let [_, length @ ..] = *head;
                *have = 0;
                self.missing = u32::from_be_bytes(length) as usize;
                self.bytes += self.missing;
                self.messages += usize::from(self.missing == 0);
                self.event = None;
            }
        }
    }
}

/// Kind, flags, stream and end of the frame at `at`; none if it is not all there.
fn frame_at(input: &[u8], at: usize) -> Option<(u8, u8, u32, usize)> {
    let [l0, l1, l2, kind, flags, s0, s1, s2, s3] = *input.get(at..)?.first_chunk::<FRAME_HEAD>()?;
    let end = at + FRAME_HEAD + u32::from_be_bytes([0, l0, l1, l2]) as usize;
    (end <= input.len()).then(|| (kind, flags, u32::from_be_bytes([s0 & 0x7f, s1, s2, s3]), end))
}

fn frame(output: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    let [_, length @ ..] = (payload.len() as u32).to_be_bytes();
    output.extend(length);
    output.extend([kind, flags]);
    output.extend(stream.to_be_bytes());
    output.extend(payload);
}

/// The header block of a connection's first request (RFC 7541): all that is not in HPACK's static table is put into
/// the dynamic one.
fn first_headers(path: &str, authority: &str) -> Vec<u8> {
    let mut block = vec![0x83, 0x86]; // :method POST, :scheme http
    let value = |text: &str, block: &mut Vec<u8>| {
        block.push(text.len() as u8 & 0x7f);
        block.extend(text.as_bytes());
    };
    block.push(0x40 | 4);
    value(path, &mut block);
    block.push(0x40 | 1);
    value(authority, &mut block);
    block.push(0x40);
    value("te", &mut block);
    value("trailers", &mut block);
    block.push(0x40 | 31);
    value("application/grpc", &mut block);
    block.push(0x40 | 58);
    value("sealane-bench", &mut block);
    block
}

/// Every later request's: the two static entries again, and the five that the first request added, newest at 62.
const LATER_HEADERS: [u8; 7] = [0x83, 0x86, 0x80 | 66, 0x80 | 65, 0x80 | 64, 0x80 | 63, 0x80 | 62];

#[cfg(test)]
mod tests {
    use super::*;

    fn stream() -> Stream {
        Stream {
            begun: Instant::now(),
            sent: 0,
            window: 0,
            messages: 0,
            bytes: 0,
            head: (0, [0; 5]),
            missing: 0,
            event: None,
        }
    }

    #[test]
    fn messages_are_counted_however_they_are_cut() {
        let delta = [0, 0, 0, 0, 3, 0x12, 1, 2];
        let end = [0, 0, 0, 0, 2, END_EVENT, 0];
        let wire = [delta.as_slice(), &delta, &end].concat();
        for size in 1..=wire.len() {
            let mut stream = stream();
            wire.chunks(size).for_each(|piece| stream.take(piece));
            assert_eq!((stream.messages, stream.bytes, stream.missing), (3, 8, 0), "cut every {size} bytes");
            assert_eq!(stream.event, Some(END_EVENT), "cut every {size} bytes");
        }
    }

    #[test]
    fn a_message_that_is_not_all_there_is_not_counted() {
        let mut stream = stream();
        stream.take(&[0, 0, 0, 0, 3, 0x12, 1]);
        assert_eq!((stream.messages, stream.missing), (0, 1));
    }

    #[test]
    fn a_frame_is_found_only_when_it_is_whole() {
        let mut wire = Vec::new();
        frame(&mut wire, DATA, END_STREAM, 7, b"abc");
        assert_eq!(frame_at(&wire, 0), Some((DATA, END_STREAM, 7, wire.len())));
        assert_eq!(frame_at(&wire[..wire.len() - 1], 0), None);
    }
}
