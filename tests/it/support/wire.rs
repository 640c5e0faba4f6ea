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

/// The wire; cut for good when dropped.
pub struct Wire {
    pub address: SocketAddr,
    passes: watch::Sender<Passes>,
    accepting: JoinHandle<()>,
}

impl Wire {
    pub async fn to(far_end: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (passes, seen) = watch::channel(Passes::Everything);
        let accepting = tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let seen = seen.clone();
                tokio::spawn(async move {
                    let Ok(far) = TcpStream::connect(far_end).await else { return };
                    let ((near_read, near_write), (far_read, far_write)) = (near.into_split(), far.into_split());
                    let requests = carry(near_read, far_write, seen.clone(), |passes| passes != Passes::Nothing);
                    let answers = carry(far_read, near_write, seen, |passes| passes == Passes::Everything);
                    tokio::join!(requests, answers);
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

/// Carries one direction. What may not pass is held back, and so is the news that an end has left; when all passes
/// again it goes on, as it would where the network heals.
async fn carry(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut passes: watch::Receiver<Passes>,
    may: impl Fn(Passes) -> bool,
) {
    let mut bytes = vec![0; 16 << 10];
    loop {
        let read = from.read(&mut bytes).await.unwrap_or(0);
        if passes.wait_for(|now| may(*now)).await.is_err() {
            // The test is over; hold both ends a little, as a cut wire would.
            tokio::time::sleep(Duration::from_millis(10)).await;
            return;
        }
        if read == 0 || to.write_all(&bytes[..read]).await.is_err() {
            let _ = to.shutdown().await;
            return;
        }
    }
}
