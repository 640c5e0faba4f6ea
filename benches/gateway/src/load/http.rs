//! HTTP/1.1: one connection for every call in flight.
use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use memchr::memmem;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    task::JoinSet,
};

use super::{Tally, read_stamps, since_epoch};
use crate::workload::{Row, Work};

pub(super) async fn run(to: SocketAddr, key: &str, row: Row) -> Result<Tally> {
    let request: Arc<[u8]> = row.work.http_request(to, key).into();
    let (begun, tally) = (Arc::new(AtomicUsize::new(0)), Arc::new(Mutex::new(Tally::default())));
    let mut connections = JoinSet::new();
    for _ in 0..row.concurrency {
        let (request, begun, tally) = (Arc::clone(&request), Arc::clone(&begun), Arc::clone(&tally));
        let mut connection = Connection::open(to).await?;
        connections.spawn(async move {
            while begun.fetch_add(1, Relaxed) < row.calls {
                let at = Instant::now();
                connection.socket.write_all(&request).await?;
                let answer = connection.answer(row.work).await?;
                let mut tally = tally.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                tally.count(row.work, at, answer.bytes, answer.status == 200);
                tally.transits.append(&mut connection.transits);
            }
            anyhow::Ok(())
        });
    }
    while let Some(ended) = connections.join_next().await {
        ended??;
    }
    let tally = Arc::into_inner(tally).context("a connection still counts")?;
    Ok(tally.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner))
}

/// Responses that have begun and do not end, one on each connection.
pub(crate) struct IdleResponses {
    _connections: Vec<Connection>,
}

impl IdleResponses {
    /// Opens so many; each has shown its first bytes.
    pub(crate) async fn open(to: SocketAddr, key: &str, count: usize) -> Result<Self> {
        let request = Work::Idle.http_request(to, key);
        let mut connections = Vec::with_capacity(count);
        for _ in 0..count {
            let mut connection = Connection::open(to).await?;
            connection.socket.write_all(&request).await?;
            let head = connection.head().await?;
            if head.status != 200 {
                bail!("an idle stream was answered {}", head.status);
            }
            connection.input = Vec::new();
            connections.push(connection);
        }
        Ok(Self { _connections: connections })
    }
}

struct Connection {
    socket: TcpStream,
    input: Vec<u8>,
    /// When the last bytes came, since the epoch.
    arrival: Duration,
    transits: Vec<Duration>,
}

struct Head {
    status: u16,
    /// Unset: the body comes in chunks.
    length: Option<usize>,
}

struct Answer {
    status: u16,
    bytes: usize,
}

impl Connection {
    async fn open(to: SocketAddr) -> Result<Self> {
        let socket = TcpStream::connect(to).await.with_context(|| format!("cannot connect to {to}"))?;
        socket.set_nodelay(true)?;
        let input = Vec::with_capacity(64 * 1024);
        Ok(Self { socket, input, arrival: Duration::ZERO, transits: Vec::new() })
    }

    async fn read(&mut self) -> Result<()> {
        if self.socket.read_buf(&mut self.input).await? == 0 {
            bail!("the connection was closed in the middle of an answer");
        }
        Ok(())
    }

    async fn answer(&mut self, work: Work) -> Result<Answer> {
        let head = self.head().await?;
        let bytes = match head.length {
            Some(length) => {
                self.skip(length).await?;
                length
            }
            None => self.chunks(work).await?,
        };
        Ok(Answer { status: head.status, bytes })
    }

    async fn head(&mut self) -> Result<Head> {
        let end = loop {
            if let Some(end) = memmem::find(&self.input, b"\r\n\r\n") {
                break end;
            }
            self.read().await?;
        };
        let text = std::str::from_utf8(&self.input[..end])?;
        let mut lines = text.lines();
        let status = lines.next().and_then(|line| line.split(' ').nth(1)).context("no status line")?.parse()?;
        let mut length = None;
        for (name, value) in lines.filter_map(|line| line.split_once(':')) {
            if name.eq_ignore_ascii_case("content-length") {
                length = Some(value.trim().parse()?);
            }
        }
        self.input.drain(..end + 4);
        Ok(Head { status, length })
    }

    async fn skip(&mut self, mut count: usize) -> Result<()> {
        loop {
            let here = count.min(self.input.len());
            self.input.drain(..here);
            count -= here;
            if count == 0 {
                return Ok(());
            }
            self.read().await?;
        }
    }

    /// Reads a chunked body and gives its length.
    async fn chunks(&mut self, work: Work) -> Result<usize> {
        let (mut at, mut bytes) = (0, 0);
        loop {
            let (next, length) = loop {
                if let Some(chunk) = chunk_at(&self.input[at..])? {
                    break chunk;
                }
                self.input.drain(..at);
                at = 0;
                self.read().await?;
                if work == Work::Paced {
                    self.arrival = since_epoch();
                }
            };
            if work == Work::Paced {
                read_stamps(&self.input[at..at + next], self.arrival, &mut self.transits);
            }
            at += next;
            bytes += length;
            if length == 0 {
                self.input.drain(..at);
                return Ok(bytes);
            }
        }
    }
}

/// The length, with and without its framing, of the chunk that `input` begins with; none if it is not all there.
fn chunk_at(input: &[u8]) -> Result<Option<(usize, usize)>> {
    let Some(end) = memmem::find(input, b"\r\n") else { return Ok(None) };
    let length = usize::from_str_radix(std::str::from_utf8(&input[..end])?, 16).context("not a chunk's length")?;
    let whole = end + 2 + length + 2;
    Ok((input.len() >= whole).then_some((whole, length)))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_chunk_is_found_only_when_it_is_whole() {
        assert_eq!(chunk_at(b"a\r\n0123456789\r\nrest").unwrap(), Some((15, 10)));
        assert_eq!(chunk_at(b"a\r\n0123456789\r").unwrap(), None);
        assert_eq!(chunk_at(b"a").unwrap(), None);
        assert_eq!(chunk_at(b"0\r\n\r\n").unwrap(), Some((5, 0)));
        assert!(chunk_at(b"HTTP\r\n").is_err());
    }
}
