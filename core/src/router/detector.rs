//! The patterns in live traffic that make a target suspect: bounded windows and the rules over them.
use std::{collections::VecDeque, time::Duration};

use super::{Suspicion, thresholds::Detection};
use crate::domain::Moment;

/// Most events that a rule may ask to be remembered.
pub(super) const MOST_REMEMBERED: usize = 32;

/// Evidence of one target since it last changed its standing.
#[derive(Clone, Debug)]
pub(super) struct Detector {
    consecutive: u32,
    last_failure: &'static str,
    ratio: Window,
    slow: Window,
    unexpected: Recent,
    silent: Recent,
    /// The last 20 outcomes, newest in bit 0; a set bit is a failure.
    outcomes: u32,
    outcomes_known: u32,
    idle_failures: u32,
}

impl Detector {
    const OUTCOMES: u32 = 20;

    pub(super) fn new(numbers: &Detection) -> Self {
        Self {
            consecutive: 0,
            last_failure: "",
            ratio: Window::new(numbers.ratio_window),
            slow: Window::new(numbers.slow_window),
            unexpected: Recent::default(),
            silent: Recent::default(),
            outcomes: 0,
            outcomes_known: 0,
            idle_failures: 0,
        }
    }

    pub(super) fn succeeded(&mut self, now: Moment) {
        self.consecutive = 0;
        self.idle_failures = 0;
        self.ratio.count(now, false);
        self.remember(false);
    }

    pub(super) fn failed(&mut self, failure: &'static str, unexpected: bool, now: Moment) {
        self.consecutive += 1;
        self.last_failure = failure;
        self.ratio.count(now, true);
        self.remember(true);
        if unexpected {
            self.unexpected.add(now);
        }
    }

    pub(super) fn first_content(&mut self, slow: bool, now: Moment) {
        self.slow.count(now, slow);
    }

    /// An attempt has been without content for too long, whether it runs on or was given up.
    pub(super) fn silence(&mut self, now: Moment) {
        self.silent.add(now);
    }

    pub(super) fn test_failed(&mut self, failure: &'static str) {
        self.idle_failures += 1;
        self.last_failure = failure;
    }

    pub(super) fn test_passed(&mut self) {
        self.idle_failures = 0;
    }

    fn remember(&mut self, failed: bool) {
        self.outcomes = (self.outcomes << 1 | u32::from(failed)) & ((1 << Self::OUTCOMES) - 1);
        self.outcomes_known = (self.outcomes_known + 1).min(Self::OUTCOMES);
    }

    /// At least half of the attempts of the window fail.
    pub(super) fn mostly_failing(&self, now: Moment) -> bool {
        let (failed, attempts) = self.ratio.counts(now);
        attempts > 0 && failed * 2 >= attempts
    }

    /// The first rule that holds. `slow_limit` and `silent_limit` are named in the evidence only.
    pub(super) fn suspicion(
        &self,
        numbers: &Detection,
        slow_limit: Duration,
        silent_limit: Duration,
        now: Moment,
    ) -> Option<Suspicion> {
        let last = self.last_failure;
        if self.consecutive >= numbers.consecutive {
            return Some(Suspicion::Consecutive { failures: self.consecutive, last });
        }
        let unexpected = self.unexpected.within(numbers.unexpected_window, now);
        if unexpected >= numbers.unexpected {
            return Some(Suspicion::Unexpected { failures: unexpected, last });
        }
        if self.consecutive > 0 {
            let (failed, attempts) = self.ratio.counts(now);
            if reaches(numbers.ratio_few, failed, attempts) || reaches(numbers.ratio_many, failed, attempts) {
                return Some(Suspicion::Ratio { failed, attempts, window: numbers.ratio_window });
            }
            if let Some(inconsistent) = self.inconsistent(numbers) {
                return Some(inconsistent);
            }
        }
        let silent = self.silent.within(numbers.silence_window, now);
        if silent >= numbers.silent_attempts {
            return Some(Suspicion::Silence { attempts: silent, silent: silent_limit });
        }
        let (slow, of) = self.slow.counts(now);
        if reaches(numbers.slow_ratio, slow, of) {
            return Some(Suspicion::Slow { slow, of, limit: slow_limit });
        }
        (self.idle_failures >= numbers.idle_failures).then_some(Suspicion::Idle { failures: self.idle_failures, last })
    }

    fn inconsistent(&self, numbers: &Detection) -> Option<Suspicion> {
        let failures = self.outcomes.count_ones();
        let changes = ((self.outcomes ^ (self.outcomes >> 1)) & ((1 << (Self::OUTCOMES - 1)) - 1)).count_ones();
        let enough = self.outcomes_known == Self::OUTCOMES
            && failures >= numbers.alternating.0
            && changes >= numbers.alternating.1;
        enough.then_some(Suspicion::Inconsistent { failures, changes })
    }
}

/// Whether `part` is at least `percent` of at least `fewest`.
pub(super) fn reaches((percent, fewest): (u32, u32), part: u32, of: u32) -> bool {
    of >= fewest && u64::from(part) * 100 >= u64::from(of) * u64::from(percent)
}

/// Counts over a sliding window, in tenths of it.
#[derive(Clone, Debug)]
pub(super) struct Window {
    /// Nanoseconds.
    slice: u64,
    slices: [Slice; Self::SLICES],
}

#[derive(Clone, Copy, Debug, Default)]
struct Slice {
    number: u64,
    marked: u32,
    all: u32,
}

impl Window {
    const SLICES: usize = 10;

    pub(super) fn new(span: Duration) -> Self {
        let slice = u64::try_from(span.as_nanos()).unwrap_or(u64::MAX) / Self::SLICES as u64;
        Self { slice: slice.max(1), slices: Default::default() }
    }

    fn number(&self, now: Moment) -> u64 {
        now.nanos() / self.slice
    }

    fn current(&mut self, now: Moment) -> &mut Slice {
        let number = self.number(now);
        let slice = &mut self.slices[(number % Self::SLICES as u64) as usize];
        if slice.number != number {
            *slice = Slice { number, ..Slice::default() };
        }
        slice
    }

    pub(super) fn count(&mut self, now: Moment, marked: bool) {
        let slice = self.current(now);
        slice.all += 1;
        slice.marked += u32::from(marked);
    }

    /// Marks something that was counted before.
    pub(super) fn mark(&mut self, now: Moment) {
        self.current(now).marked += 1;
    }

    /// Marked ones, and all.
    pub(super) fn counts(&self, now: Moment) -> (u32, u32) {
        let current = self.number(now);
        let live = self
            .slices
            .iter()
            .filter(|slice| current.checked_sub(slice.number).is_some_and(|age| age < Self::SLICES as u64));
        live.fold((0, 0), |(marked, all), slice| (marked + slice.marked, all + slice.all))
    }
}

/// When the last few of something happened.
#[derive(Clone, Debug, Default)]
struct Recent {
    at: VecDeque<Moment>,
}

impl Recent {
    fn add(&mut self, now: Moment) {
        if self.at.len() == MOST_REMEMBERED {
            self.at.pop_front();
        }
        self.at.push_back(now);
    }

    fn within(&self, span: Duration, now: Moment) -> u32 {
        self.at.iter().filter(|at| **at <= now && now.since(**at) <= span).count() as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Moment {
        Moment::after_origin(Duration::from_millis(millis))
    }

    /// What is suspected after these outcomes, one every `step` milliseconds: `.` good, `x` bad, `k` wrong key,
    /// `s` silent, `l` late, `f` in time, `t` failed test call, `p` passed test call.
    fn after(outcomes: &str, step: u64) -> Option<Suspicion> {
        let numbers = Detection::default();
        let mut detector = Detector::new(&numbers);
        let mut now = at(0);
        for (place, outcome) in outcomes.chars().enumerate() {
            now = at(place as u64 * step);
            match outcome {
                '.' => detector.succeeded(now),
                'x' => detector.failed("server_error", false, now),
                'k' => detector.failed("unauthorized", true, now),
                's' => detector.silence(now),
                'l' => detector.first_content(true, now),
                'f' => detector.first_content(false, now),
                't' => detector.test_failed("unavailable"),
                'p' => detector.test_passed(),
                other => panic!("{other}"),
            }
        }
        let limit = Duration::from_secs(3);
        detector.suspicion(&numbers, limit, limit, now)
    }

    #[test]
    fn the_table_of_patterns() {
        for (pattern, step, suspicion) in [
            ("", 1, None),
            ("xxxx", 1000, None),
            ("xxxxx", 1000, Some("consecutive")),
            ("xxxx.xxxx", 5000, None),
            // Half of ten within 10 s; the last one must be a failure, or the trouble is over.
            (".x.x.x.x.x", 900, Some("ratio")),
            ("x.x.x.x.x.", 900, None),
            (".x.x.x.x.x", 3000, None),
            ("x.x.x.x.x", 900, None),
            // A fifth of fifty within 10 s.
            ("x....x....x....x....x....x....x....x....x....x...x", 100, Some("ratio")),
            ("x....x....x....x....x....x....x....x....x....x....x", 300, None),
            // Six failures and eight changes among the last 20, too slow for the ratios.
            ("....xx.xx..x..x...x", 5000, None),
            ("....xx..x..x..x..x..x", 5000, Some("inconsistent")),
            ("xx...x...x...x.....x", 5000, Some("inconsistent")),
            ("x....x...x...x.....x", 5000, None),
            ("....xx...x...xx....x", 5000, None),
            ("xx...x...x...x....x.", 5000, None),
            ("kk", 10_000, None),
            ("k.k.k", 7000, Some("unexpected")),
            ("k.k.k", 16_000, None),
            ("ssss", 10, None),
            ("sssss", 2000, Some("silence")),
            ("sssss", 3000, None),
            ("fffffffffflllllllll", 1000, None),
            ("ffffffffffllllllllll", 1000, Some("slow")),
            ("llllllllllllllllllll", 3000, None),
            ("tt", 1, None),
            ("ttpt", 1, None),
            ("t.tt", 1, None),
            ("ttt", 1, Some("idle")),
        ] {
            assert_eq!(after(pattern, step).map(|it| it.as_str()), suspicion, "{pattern} every {step} ms");
        }
    }

    #[test]
    fn the_evidence_counts_failures_and_changes_among_the_last_twenty() {
        let told = Some(Suspicion::Inconsistent { failures: 6, changes: 8 });
        assert_eq!(after("xx...x...x...x.....x", 5000), told);
        assert_eq!(after("x.x.xx...x...x...x.....x", 5000), told, "what came before the twenty is forgotten");
    }

    #[test]
    fn half_of_the_attempts_is_most_of_them_and_none_is_not() {
        for (outcomes, failing) in
            [("", false), (".", false), ("x", true), ("x.", true), ("x..", false), ("x..x", true)]
        {
            let mut detector = Detector::new(&Detection::default());
            for outcome in outcomes.chars() {
                if outcome == 'x' { detector.failed("server_error", false, at(0)) } else { detector.succeeded(at(0)) }
            }
            assert_eq!(detector.mostly_failing(at(0)), failing, "{outcomes:?}");
        }
    }

    #[test]
    fn a_window_forgets_slice_by_slice() {
        let mut window = Window::new(Duration::from_secs(10));
        (0..10).for_each(|second| window.count(at(second * 1000), second % 2 == 0));
        assert_eq!(window.counts(at(9000)), (5, 10));
        assert_eq!(window.counts(at(14_000)), (2, 5));
        assert_eq!(window.counts(at(30_000)), (0, 0));
        assert_eq!(window.counts(at(0)), (1, 1), "what lies ahead does not count when time runs backwards");
        window.mark(at(30_000));
        assert_eq!(window.counts(at(30_000)), (1, 0));
    }
}
