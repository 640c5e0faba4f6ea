//! Whether the last configuration that was found could be taken up, and when one was.
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::{SystemTime, UNIX_EPOCH},
};

use opentelemetry::metrics::Meter;

use super::{gauge, table};

#[derive(Debug)]
struct State {
    successful: AtomicBool,
    /// Milliseconds since 1970.
    succeeded: AtomicU64,
}

/// Clones share what they tell.
#[derive(Clone, Debug)]
pub(super) struct Reloads(Arc<State>);

impl Reloads {
    /// The start counts as one.
    pub(super) fn new(meter: &Meter) -> Self {
        let state = State { successful: AtomicBool::new(true), succeeded: AtomicU64::new(now()) };
        let reloads = Self(Arc::new(state));
        let (successful, succeeded) = (reloads.clone(), reloads.clone());
        gauge(meter, &table::RELOAD_SUCCESSFUL, move |put| {
            put(f64::from(u8::from(successful.0.successful.load(Relaxed))), &[]);
        });
        gauge(meter, &table::RELOAD_TIME, move |put| put(succeeded.0.succeeded.load(Relaxed) as f64 / 1000.0, &[]));
        reloads
    }

    pub(super) fn ended(&self, successful: bool) {
        self.0.successful.store(successful, Relaxed);
        if successful {
            self.0.succeeded.store(now(), Relaxed);
        }
    }
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
