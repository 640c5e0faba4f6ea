//! The one place that reads clocks.
use std::time::{Duration, SystemTime};

use sealane_core::domain::Moment;
use tokio::time::Instant;

/// Turns the runtime's clock, which tests can pause, into the core's moments and those into calendar time.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: Instant,
    calendar_origin: SystemTime,
}

/// How far before the start moments begin, so that durations may be subtracted from any of them, and that what an
/// earlier process saw, such as the beginning of a drain, has its moment too.
const HEAD_START: Duration = Duration::from_secs(30 * 24 * 3600);

impl Clock {
    /// Moments count from now on; the first is 30 days in.
    pub fn start() -> Self {
        let calendar_origin = SystemTime::now().checked_sub(HEAD_START).unwrap_or(SystemTime::UNIX_EPOCH);
        Self { start: Instant::now(), calendar_origin }
    }

    /// The calendar's time as it stands now, corrections included: what certificates are judged by.
    pub fn today() -> SystemTime {
        SystemTime::now()
    }

    /// The present.
    pub fn now(&self) -> Moment {
        Moment::after_origin(HEAD_START + self.start.elapsed())
    }

    /// The same moment as the runtime's timers know it; one before the start is the start.
    pub fn instant(&self, moment: Moment) -> Instant {
        self.start + moment.since_origin().saturating_sub(HEAD_START)
    }

    /// The same moment in calendar time, as the wall clock stood at the start.
    pub fn calendar(&self, moment: Moment) -> SystemTime {
        self.calendar_origin + moment.since_origin()
    }
}
