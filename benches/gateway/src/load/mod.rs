//! The load generator: one thread, hand-written clients for HTTP/1.1 and gRPC that do no more than is needed to know
//! that every answer was whole. A general client would be the limit long before the gateways are.
mod grpc;
mod http;

use std::{
    net::SocketAddr,
    time::{Duration, Instant, SystemTime},
};

use anyhow::{Result, bail};

pub(crate) use self::grpc::IdleStreams;
pub(crate) use self::http::IdleResponses;
use crate::{
    upstream::STAMP,
    workload::{Row, Work},
};

/// How to speak to an address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Protocol {
    /// HTTP/1.1 with Azure's requests; a connection for every call in flight.
    Http,
    /// gRPC; all calls on one connection, as gRPC clients do.
    Grpc,
}

/// What a run of calls came to.
#[derive(Default)]
pub(crate) struct Tally {
    /// Calls that ended with a whole answer.
    pub(crate) whole: usize,
    /// Calls that did not.
    pub(crate) failed: usize,
    /// Bytes of answers.
    pub(crate) bytes: usize,
    /// How long each whole call took.
    pub(crate) latencies: Vec<Duration>,
    /// From the sending of a stamped chunk to its reading here.
    pub(crate) transits: Vec<Duration>,
    /// From the first call to the last answer.
    pub(crate) wall: Duration,
}

/// Makes a row's calls, at its concurrency, to an address.
pub(crate) async fn run(protocol: Protocol, to: SocketAddr, key: &str, row: Row) -> Result<Tally> {
    let begun = Instant::now();
    let mut tally = match protocol {
        Protocol::Http => http::run(to, key, row).await?,
        Protocol::Grpc => grpc::run(to, row).await?,
    };
    tally.wall = begun.elapsed();
    if tally.failed > 0 {
        bail!("{} of {} calls failed ({:?} at {to})", tally.failed, tally.failed + tally.whole, row.work);
    }
    Ok(tally)
}

impl Tally {
    fn count(&mut self, work: Work, begun: Instant, bytes: usize, ended_well: bool) {
        if ended_well && bytes >= work.least_answer() {
            self.whole += 1;
            self.bytes += bytes;
            self.latencies.push(begun.elapsed());
        } else {
            self.failed += 1;
        }
    }
}

/// Collects the transit times of the stamped chunks in what was read at `arrival`. A stamp cut by the end of `bytes`
/// is passed over: one lost sample.
fn read_stamps(mut bytes: &[u8], arrival: Duration, transits: &mut Vec<Duration>) {
    while let Some(at) = memchr::memchr(STAMP, bytes) {
        bytes = &bytes[at + 1..];
        let digits = bytes.iter().take_while(|byte| byte.is_ascii_digit()).count();
        if digits == bytes.len() {
            return;
        }
        if digits == 0 {
            continue;
        }
        let nanoseconds = bytes[..digits].iter().fold(0_u64, |sum, digit| sum * 10 + u64::from(digit - b'0'));
        transits.push(arrival.saturating_sub(Duration::from_nanos(nanoseconds)));
    }
}

fn since_epoch() -> Duration {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamps_are_read_and_cut_ones_passed_over() {
        let mut transits = Vec::new();
        read_stamps(b"x @100 y@ z @300 @4", Duration::from_nanos(350), &mut transits);
        assert_eq!(transits, [250, 50].map(Duration::from_nanos));
    }

    #[test]
    fn an_answer_that_is_too_short_is_a_failure() {
        let mut tally = Tally::default();
        tally.count(Work::Embed, Instant::now(), Work::Embed.least_answer(), true);
        tally.count(Work::Embed, Instant::now(), Work::Embed.least_answer() - 1, true);
        tally.count(Work::Embed, Instant::now(), Work::Embed.least_answer(), false);
        assert_eq!((tally.whole, tally.failed), (1, 2));
    }
}
