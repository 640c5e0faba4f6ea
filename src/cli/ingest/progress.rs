//! How far an ingestion is: a bar on a terminal, now and then a line elsewhere.
use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use console::Term;

use crate::cli::Verbosity;

/// How much of the past the rate is taken from.
const RATE_WINDOW: Duration = Duration::from_secs(10);
/// Between two lines where there is no terminal.
const LINE_INTERVAL: Duration = Duration::from_secs(10);
const BAR_CELLS: usize = 24;

/// How far it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Count {
    /// Of the input.
    pub(super) total: usize,
    /// With a vector, those of earlier runs among them.
    pub(super) embedded: usize,
    /// Refused.
    pub(super) failed: usize,
}

/// Tells it on standard error.
pub(super) struct Progress {
    term: Term,
    quiet: bool,
    /// Redraws one line.
    live: bool,
    /// Answered items at past moments.
    past: VecDeque<(Instant, usize)>,
    next_line: Instant,
}

impl Progress {
    pub(super) fn new(verbosity: Verbosity, now: Instant) -> Self {
        let term = Term::stderr();
        let live = term.is_term();
        Self { term, quiet: verbosity.quiet, live, past: VecDeque::new(), next_line: now + LINE_INTERVAL }
    }

    /// Shows where it stands, if it is time to.
    pub(super) fn show(&mut self, count: Count, now: Instant) {
        self.past.push_back((now, count.embedded + count.failed));
        while self.past.len() > 2 && self.past.front().is_some_and(|(at, _)| now - *at > RATE_WINDOW) {
            self.past.pop_front();
        }
        if self.quiet || (!self.live && now < self.next_line) {
            return;
        }
        let text = told(count, self.rate());
        if self.live {
            let width = usize::from(self.term.size().1);
            let line = console::truncate_str(&text, width.saturating_sub(1), "");
            // A terminal that has gone is no reason to stop.
            let _ = self.term.clear_line().and_then(|()| self.term.write_str(&line));
        } else {
            self.next_line = now + LINE_INTERVAL;
            eprintln!("{text}");
        }
    }

    /// A message; the bar goes on below it.
    pub(super) fn say(&self, message: &str) {
        self.clear();
        if !self.quiet {
            eprintln!("{message}");
        }
    }

    /// Takes the bar away.
    pub(super) fn clear(&self) {
        if self.live && !self.quiet {
            let _ = self.term.clear_line();
        }
    }

    /// Items in a second.
    fn rate(&self) -> f64 {
        let (Some((from, before)), Some((to, after))) = (self.past.front(), self.past.back()) else { return 0.0 };
        let seconds = (*to - *from).as_secs_f64();
        if seconds > 0.0 { (after - before) as f64 / seconds } else { 0.0 }
    }
}

/// `rate`: items in a second; 0 if it is not known.
fn told(count: Count, rate: f64) -> String {
    let Count { total, embedded, failed } = count;
    let done = embedded + failed;
    let share = if total == 0 { 1.0 } else { done as f64 / total as f64 };
    let full = (share * BAR_CELLS as f64) as usize;
    let bar = format!("{}{}", "█".repeat(full), "░".repeat(BAR_CELLS.saturating_sub(full)));
    let mut text = format!("{bar} {done} of {total} · {:.0} %", (share * 100.0).floor());
    if rate > 0.0 {
        let left = Duration::from_secs_f64((total.saturating_sub(done)) as f64 / rate);
        text += &format!(" · {rate:.0}/s · {} left", clock(left));
    }
    if failed > 0 {
        text += &format!(" · {failed} failed");
    }
    text
}

/// `0:07`, `12:40`, `3:05:00`.
pub(super) fn clock(time: Duration) -> String {
    let seconds = time.as_secs_f64().ceil() as u64;
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    if hours > 0 { format!("{hours}:{minutes:02}:{seconds:02}") } else { format!("{minutes}:{seconds:02}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told() {
        let count = |total, embedded, failed| Count { total, embedded, failed };
        for (count, rate, expected) in [
            (count(0, 0, 0), 0.0, "████████████████████████ 0 of 0 · 100 %"),
            (count(3, 0, 0), 0.0, "░░░░░░░░░░░░░░░░░░░░░░░░ 0 of 3 · 0 %"),
            (
                count(20_000, 9_999, 1),
                1234.4,
                "████████████░░░░░░░░░░░░ 10000 of 20000 · 50 % · 1234/s · 0:09 left · 1 failed",
            ),
            (count(1000, 999, 0), 0.0, "███████████████████████░ 999 of 1000 · 99 %"),
        ] {
            assert_eq!(told(count, rate), expected);
        }
        assert_eq!(clock(Duration::from_secs(11_100)), "3:05:00");
        assert_eq!(clock(Duration::from_millis(759_100)), "12:40");
    }
}
