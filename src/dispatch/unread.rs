//! Streams whose callers do not read. Nobody polls such a stream, for there is no room to put what it would say, so no
//! timer of its own can end it. All open streams are therefore listed by deadline, and the dispatcher's clock ends
//! those that are overdue: one list for the process, and neither a task nor a timer for each stream.
use std::{
    collections::BTreeMap,
    fmt,
    sync::{Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use sealane_core::domain::Moment;

/// A stream that is read ends by its own timers, with everything that was tried in its error; they come first.
const PRECEDENCE: Duration = Duration::from_millis(250);

/// What can be ended from outside.
pub(super) trait Overdue: Send + Sync {
    /// Its deadline has passed: closes its request upstream and accounts for it. Does nothing if it has ended.
    fn end(&self);
}

/// Where a stream stands in the list: when it is overdue, and a number that tells it from others of the same moment.
pub(super) type Place = (Moment, u64);

/// The open streams in the order in which they become overdue.
#[derive(Default)]
pub(super) struct OpenStreams(Mutex<Listed>);

#[derive(Default)]
struct Listed {
    streams: BTreeMap<Place, Weak<dyn Overdue>>,
    next: u64,
}

impl OpenStreams {
    pub(super) fn list(&self, deadline: Moment, stream: Weak<dyn Overdue>) -> Place {
        let mut listed = self.lock();
        let place = (deadline + PRECEDENCE, listed.next);
        listed.next += 1;
        listed.streams.insert(place, stream);
        place
    }

    pub(super) fn strike(&self, place: Place) {
        self.lock().streams.remove(&place);
    }

    /// Ends every stream that is overdue.
    pub(super) fn end_overdue(&self, now: Moment) {
        while let Some(stream) = self.take_overdue(now) {
            if let Some(stream) = stream.upgrade() {
                stream.end();
            }
        }
    }

    /// One at a time, so that the list is free while a stream ends.
    fn take_overdue(&self, now: Moment) -> Option<Weak<dyn Overdue>> {
        let mut listed = self.lock();
        let first = listed.streams.first_entry()?;
        (first.key().0 <= now).then(|| first.remove())
    }

    fn lock(&self) -> MutexGuard<'_, Listed> {
        // Nothing panics between two changes that belong together.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for OpenStreams {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenStreams").field("open", &self.lock().streams.len()).finish()
    }
}
