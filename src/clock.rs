//! The one place that reads clocks.
use std::time::{Duration, SystemTime};

use sealane_core::domain::Moment;
use tokio::time::Instant;

/// Turns the runtime's clock, which tests can pause, into the core's moments and those into calendar time.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    origin: Instant,
    calendar_origin: SystemTime,
}

impl Clock {
    /// Moments count from now on. They start an hour in, so that durations may be subtracted from any of them.
    pub fn start() -> Self {
        let head_start = Duration::from_secs(3600);
        let origin = Instant::now();
        Self {
            origin: origin.checked_sub(head_start).unwrap_or(origin),
            calendar_origin: SystemTime::now().checked_sub(head_start).unwrap_or(SystemTime::UNIX_EPOCH),
        }
    }

    /// The calendar's time as it stands now, corrections included: what certificates are judged by.
    pub fn today() -> SystemTime {
        SystemTime::now()
    }

    /// The present.
    pub fn now(&self) -> Moment {
        Moment::after_origin(self.origin.elapsed())
    }

    /// The same moment as the runtime's timers know it.
    pub fn instant(&self, moment: Moment) -> Instant {
        self.origin + moment.since_origin()
    }

    /// The same moment in calendar time, as the wall clock stood at the start.
    pub fn calendar(&self, moment: Moment) -> SystemTime {
        self.calendar_origin + moment.since_origin()
    }
}
