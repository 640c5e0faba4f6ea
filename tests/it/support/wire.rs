//! A wire that can be cut without either end being told: what a half-open connection and a one-way partition look
//! like from the service, without root and without a firewall.
use std::{net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
    task::JoinHandle,
};

/// What gets through. New connections are always accepted, as a kernel does for a process that is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Passes {
    Everything,
    /// Requests arrive, answers are lost.
    OnlyRequests,
    Nothing,
}

/// How bad the way is. A lost segment is what TCP makes of it: a delay, until it is sent again.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rough {
    /// Every piece is late by up to this much.
    pub jitter: Duration,
    /// Of 100 pieces so many are lost.
    pub lost_percent: u64,
    /// What a loss costs.
    pub retransmission: Duration,
    /// Of 100 pieces so many end the connection.
    pub cut_percent: u64,
}

impl Rough {
    /// How late the piece is; `None`: it ends the connection. `chance` is any number.
    fn late(&self, chance: u64) -> Option<Duration> {
        if chance % 100 < self.cut_percent {
            return None;
        }
        let lost = chance / 100 % 100 < self.lost_percent;
        let jitter = self.jitter * (chance / 10_000 % 100) as u32 / 100;
        Some(if lost { jitter + self.retransmission } else { jitter })
    }
}

/// The wire; cut for good when dropped.
pub struct Wire {
    pub address: SocketAddr,
    passes: watch::Sender<Passes>,
    accepting: JoinHandle<()>,
}

impl Wire {
    pub async fn to(far_end: SocketAddr) -> Self {
        Self::rough(far_end, Rough::default(), 0).await
    }

    /// The same seed treats every connection's pieces the same.
    pub async fn rough(far_end: SocketAddr, rough: Rough, seed: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (passes, seen) = watch::channel(Passes::Everything);
        let accepting = tokio::spawn(async move {
            let mut chance = seed;
            while let Ok((near, _)) = listener.accept().await {
                chance = scramble(chance);
                let (there, back) = (chance, scramble(!chance));
                let seen = seen.clone();
                tokio::spawn(async move {
                    let Ok(far) = TcpStream::connect(far_end).await else { return };
                    let ((near_read, near_write), (far_read, far_write)) = (near.into_split(), far.into_split());
                    let requests =
                        carry(near_read, far_write, seen.clone(), (rough, there), |passes| passes != Passes::Nothing);
                    let answers =
                        carry(far_read, near_write, seen, (rough, back), |passes| passes == Passes::Everything);
                    // A cut ends both directions, an end only its own.
                    let _ = tokio::try_join!(requests, answers);
                });
            }
        });
        Self { address, passes, accepting }
    }

    pub fn lets_through(&self, passes: Passes) {
        self.passes.send_replace(passes);
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// The connection ended in the middle.
struct Cut;

/// SplitMix64.
fn scramble(seed: u64) -> u64 {
    let z = seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// Carries one direction. What may not pass is held back, and so is the news that an end has left; when all passes
/// again it goes on, as it would where the network heals.
async fn carry(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut passes: watch::Receiver<Passes>,
    (rough, mut chance): (Rough, u64),
    may: impl Fn(Passes) -> bool,
) -> Result<(), Cut> {
    let mut bytes = vec![0; 16 << 10];
    loop {
        let read = from.read(&mut bytes).await.unwrap_or(0);
        if passes.wait_for(|now| may(*now)).await.is_err() {
            // The test is over; hold both ends a little, as a cut wire would.
            tokio::time::sleep(Duration::from_millis(10)).await;
            return Ok(());
        }
        chance = scramble(chance);
        match rough.late(chance) {
            None => return Err(Cut),
            Some(late) if late > Duration::ZERO => tokio::time::sleep(late).await,
            Some(_) => {}
        }
        if read == 0 || to.write_all(&bytes[..read]).await.is_err() {
            let _ = to.shutdown().await;
            return Ok(());
        }
    }
}
