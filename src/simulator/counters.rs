//! What a simulated region has seen: counts, and the last requests for tests to look at.
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http::{HeaderMap, Method};

use super::fault::Operation;

/// One request as it came in. Holds content and credentials: for tests alone, never for a log.
#[derive(Clone)]
pub struct CapturedRequest {
    /// The method.
    pub method: Method,
    /// Path and query, percent-encoding untouched.
    pub path: String,
    /// All headers.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: Bytes,
}

/// A view of the counts of a region; clones look at the same region.
#[derive(Clone)]
pub struct Counters {
    shared: Arc<Shared>,
}

struct Shared {
    operations: [AtomicU64; 4],
    deployments: Vec<(String, AtomicU64)>,
    bytes_received: AtomicU64,
    in_flight: AtomicU64,
    dropped: AtomicU64,
    connections_accepted: AtomicU64,
    connections_open: AtomicU64,
    captured: Mutex<VecDeque<CapturedRequest>>,
    capacity: usize,
}

impl Counters {
    pub(super) fn new<'a>(deployments: impl Iterator<Item = &'a str>, capacity: usize) -> Self {
        Self {
            shared: Arc::new(Shared {
                operations: Default::default(),
                deployments: deployments.map(|name| (name.to_owned(), AtomicU64::new(0))).collect(),
                bytes_received: AtomicU64::new(0),
                in_flight: AtomicU64::new(0),
                dropped: AtomicU64::new(0),
                connections_accepted: AtomicU64::new(0),
                connections_open: AtomicU64::new(0),
                captured: Mutex::default(),
                capacity,
            }),
        }
    }

    /// Requests received for an operation, whatever became of them.
    #[must_use]
    pub fn requests(&self, operation: Operation) -> u64 {
        self.shared.operations[operation as usize].load(Relaxed)
    }

    /// Requests received for a deployment; 0 for one that does not exist.
    #[must_use]
    pub fn deployment_requests(&self, deployment: &str) -> u64 {
        self.shared.deployments.iter().find(|(name, _)| name == deployment).map_or(0, |(_, count)| count.load(Relaxed))
    }

    /// Bytes of request bodies received.
    #[must_use]
    pub fn bytes_received(&self) -> u64 {
        self.shared.bytes_received.load(Relaxed)
    }

    /// Requests whose answers are not complete.
    #[must_use]
    pub fn in_flight(&self) -> u64 {
        self.shared.in_flight.load(Relaxed)
    }

    /// Requests that the client left before their answer was complete. Those cut by a fault do not count.
    #[must_use]
    pub fn dropped_by_client(&self) -> u64 {
        self.shared.dropped.load(Relaxed)
    }

    /// Connections accepted so far, those for the control API included.
    #[must_use]
    pub fn connections_accepted(&self) -> u64 {
        self.shared.connections_accepted.load(Relaxed)
    }

    /// Connections open now, those for the control API included.
    #[must_use]
    pub fn connections_open(&self) -> u64 {
        self.shared.connections_open.load(Relaxed)
    }

    /// The last requests, oldest first; at most as many as
    /// [`RegionSettings::captured_requests`](super::RegionSettings::captured_requests).
    #[must_use]
    pub fn captured(&self) -> Vec<CapturedRequest> {
        self.shared.captured.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    pub(super) fn captures(&self) -> bool {
        self.shared.capacity > 0
    }

    pub(super) fn capture(&self, request: CapturedRequest) {
        let mut captured = self.shared.captured.lock().unwrap_or_else(PoisonError::into_inner);
        if captured.len() >= self.shared.capacity {
            captured.pop_front();
        }
        captured.push_back(request);
    }

    pub(super) fn received(&self, operation: Operation, deployment: Option<&str>, body_bytes: usize) {
        self.shared.operations[operation as usize].fetch_add(1, Relaxed);
        self.shared.bytes_received.fetch_add(body_bytes as u64, Relaxed);
        let known = self.shared.deployments.iter().find(|(name, _)| Some(name.as_str()) == deployment);
        if let Some((_, count)) = known {
            count.fetch_add(1, Relaxed);
        }
    }

    pub(super) fn begin(&self, connection: &Arc<Connection>) -> Ticket {
        self.shared.in_flight.fetch_add(1, Relaxed);
        Ticket { counters: self.clone(), connection: Arc::clone(connection), complete: false }
    }

    pub(super) fn connected(&self) -> OpenConnection {
        self.shared.connections_accepted.fetch_add(1, Relaxed);
        self.shared.connections_open.fetch_add(1, Relaxed);
        OpenConnection(self.clone())
    }
}

/// Counts one connection as open while it lives.
pub(super) struct OpenConnection(Counters);

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.shared.connections_open.fetch_sub(1, Relaxed);
    }
}

/// What request handling and the connection's own task tell each other.
#[derive(Debug, Default)]
pub(super) struct Connection {
    /// The simulator itself ends this connection.
    severed: AtomicBool,
    /// ... and with a reset.
    reset: AtomicBool,
    /// The latest request was for the control API.
    control: AtomicBool,
}

impl Connection {
    pub(super) fn sever(&self, with_reset: bool) {
        self.severed.store(true, Relaxed);
        self.reset.store(with_reset, Relaxed);
    }

    pub(super) fn is_reset(&self) -> bool {
        self.reset.load(Relaxed)
    }

    pub(super) fn set_control(&self, control: bool) {
        self.control.store(control, Relaxed);
    }

    pub(super) fn is_control(&self) -> bool {
        self.control.load(Relaxed)
    }
}

/// One request in flight. Dropped before [`Ticket::complete`] on a connection that the simulator did not cut itself,
/// the client must have left.
pub(super) struct Ticket {
    counters: Counters,
    connection: Arc<Connection>,
    complete: bool,
}

impl Ticket {
    pub(super) const fn complete(&mut self) {
        self.complete = true;
    }

    pub(super) fn connection(&self) -> &Connection {
        &self.connection
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.counters.shared.in_flight.fetch_sub(1, Relaxed);
        if !self.complete && !self.connection.severed.load(Relaxed) {
            self.counters.shared.dropped.fetch_add(1, Relaxed);
        }
    }
}
