//! How much of its Azure quota a target has left, as far as is known here: so that a call waits for its turn or goes
//! elsewhere instead of running into a 429.
//!
//! Azure meters tokens and requests a minute, both when a request arrives: tokens as characters / 4 plus the cap of the
//! answer (contract 5.1). Either refills evenly, as recorded headers show (14 of 120 000 tokens are back after 7 ms).
//! Limits come from the configuration and, above that, from Azure's headers. A limit that nobody has stated holds
//! nobody back, until a 429 shows that there is one.
//!
//! This is capacity and says nothing about health.
use std::time::Duration;

use super::Pacing;
use crate::{
    domain::{Moment, Priority, Quota, RateLimits, Target},
    quota::{Bucket, WINDOW},
};

/// Azure counts requests in slices of 1 or 10 seconds (contract 5.1): no more than a second's worth leaves at once.
const REQUESTS_AT_ONCE: Duration = Duration::from_secs(1);

/// No deployment has fewer tokens a minute: Azure gives them out by the thousand.
const FEWEST_TOKENS: u32 = 1000;

/// After a 429 that states no limit: this share of what was sent in the last minute.
const LOWERED_PERCENT: u64 = 90;

/// What was lowered grows by a tenth of itself with every minute, and is forgotten once it has doubled.
const RECOVERY: Duration = Duration::from_secs(10 * 60);

/// A request is on its way to Azure's meter for up to this long.
const ARRIVAL: Duration = Duration::from_millis(100);

/// Quota that comes back within this time is no news to those who wait.
const NEWS: Duration = Duration::from_secs(1);

/// What is believed of one target's quota.
#[derive(Debug)]
pub(super) struct Pace {
    claimed: RateLimits,
    /// By Azure's headers.
    stated: RateLimits,
    /// Reserved throughput has no such limits: only a 429 says that it is busy.
    provisioned: bool,
    lowered: Option<Lowered>,
    tokens: Bucket,
    requests: Bucket,
    sent: Mark,
    /// Requests sent before the last one whose answer taught something: the answers to earlier ones are old news.
    learned: u64,
    usage: Usage,
    /// When the last of those who wait for their turn has it: `INTERACTIVE` and `BULK`.
    lines: [Moment; 2],
}

/// Everything that was ever sent to a target, up to some attempt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Mark {
    tokens: u64,
    requests: u64,
}

/// What a call asks of a target's quota.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ask {
    /// As Azure will meter them.
    pub(super) tokens: u64,
    pub(super) priority: Priority,
    /// It has waited for its turn, and that has come: nobody of its own priority stands before it any more.
    pub(super) due: bool,
}

/// A 429 has shown that there is less than was believed.
#[derive(Clone, Copy, Debug)]
struct Lowered {
    tokens_per_minute: u32,
    since: Moment,
}

/// Tokens sent within the last minute: this minute's, and the last one's as far as it still reaches.
#[derive(Clone, Copy, Debug, Default)]
struct Usage {
    minute: u64,
    before: u64,
    current: u64,
}

impl Pace {
    /// Nothing has been sent, and nothing is known but what the configuration says.
    pub(super) fn new(target: &Target) -> Self {
        Self {
            claimed: target.claims.limits,
            stated: RateLimits::default(),
            provisioned: target.sku.is_provisioned(),
            lowered: None,
            tokens: Bucket::full(),
            requests: Bucket::full(),
            sent: Mark::default(),
            learned: 0,
            usage: Usage::default(),
            lines: [Moment::ZERO; 2],
        }
    }

    /// Goes by what the configuration says of the target.
    pub(super) fn go_by(&mut self, target: &Target, now: Moment) {
        let before = self.limits(now);
        (self.claimed, self.provisioned) = (target.claims.limits, target.sku.is_provisioned());
        self.keep_what_is_owed(before, now);
    }

    /// So many tokens and requests are owed under the limits of now as were under those before.
    fn keep_what_is_owed(&mut self, before: RateLimits, now: Moment) {
        let limits = self.limits(now);
        self.tokens.rescale(now, before.tokens_per_minute, limits.tokens_per_minute);
        self.requests.rescale(now, before.requests_per_minute, limits.requests_per_minute);
    }

    /// The limits that it goes by; `None`: not known.
    pub(super) fn limits(&self, now: Moment) -> RateLimits {
        let known = self.known();
        let lowered = self.lowered.and_then(|lowered| lowered.at(now));
        RateLimits { tokens_per_minute: known.tokens_per_minute.into_iter().chain(lowered).min(), ..known }
    }

    /// Those that somebody stated.
    fn known(&self) -> RateLimits {
        if self.provisioned {
            return RateLimits::default();
        }
        RateLimits {
            tokens_per_minute: self.stated.tokens_per_minute.or(self.claimed.tokens_per_minute),
            requests_per_minute: self.stated.requests_per_minute.or(self.claimed.requests_per_minute),
        }
    }

    /// When the call may leave: `now`, or later.
    pub(super) fn opens(&self, ask: Ask, numbers: &Pacing, now: Moment) -> Moment {
        self.opens_by(self.limits(now), ask, numbers, now)
    }

    /// Whether nothing holds the call back but what a 429 without numbers made believe.
    pub(super) fn is_guess(&self, ask: Ask, numbers: &Pacing, now: Moment) -> bool {
        self.opens_by(self.known(), ask, numbers, now) <= now
    }

    fn opens_by(&self, limits: RateLimits, ask: Ask, numbers: &Pacing, now: Moment) -> Moment {
        let mut opens = now;
        if !numbers.enabled {
            return opens;
        }
        let [interactive, bulk] = self.lines;
        let (own, ahead, percent) = match ask.priority {
            Priority::Interactive => (interactive, Moment::ZERO, 100),
            Priority::Bulk => (bulk, interactive, 100 - numbers.bulk_reserve_percent),
        };
        // Work that can wait lets those go first who came after it and cannot, even when its turn has come.
        let line = if ask.due { ahead } else { own.max(ahead) };
        let mut heed = |bucket: &Bucket, limit: u32, amount: u64, burst: Duration| {
            if let Err(wait) = bucket.room(now, burst * percent / 100, limit, amount) {
                opens = opens.max(now + wait);
            }
            if line > now {
                opens = opens.max(line + Bucket::cost(limit, amount).min(burst));
            }
        };
        if let Some(limit) = limits.tokens_per_minute {
            heed(&self.tokens, limit, ask.tokens, WINDOW);
        }
        if let Some(limit) = limits.requests_per_minute {
            heed(&self.requests, limit, 1, requests_at_once(limit));
        }
        opens
    }

    /// A call waits for its turn, which comes then.
    pub(super) fn joins(&mut self, priority: Priority, turn: Moment) {
        let line = &mut self.lines[usize::from(priority == Priority::Bulk)];
        *line = turn.max(*line);
    }

    /// An attempt leaves.
    pub(super) fn departs(&mut self, tokens: u64, now: Moment) -> Mark {
        let limits = self.limits(now);
        if let Some(limit) = limits.tokens_per_minute {
            take(&mut self.tokens, limit, tokens, WINDOW, now);
        }
        if let Some(limit) = limits.requests_per_minute {
            take(&mut self.requests, limit, 1, requests_at_once(limit), now);
        }
        self.usage.add(tokens, now);
        self.sent.tokens = self.sent.tokens.wrapping_add(tokens);
        self.sent.requests += 1;
        self.sent
    }

    /// An attempt reached nobody: Azure has not counted it.
    pub(super) fn was_not_sent(&mut self, tokens: u64, now: Moment) {
        let limits = self.limits(now);
        if let Some(limit) = limits.tokens_per_minute {
            self.tokens.give_back(limit, tokens);
        }
        if let Some(limit) = limits.requests_per_minute {
            self.requests.give_back(limit, 1);
        }
    }

    /// The limits that Azure's headers stated to a test call, which is on nobody's account: what is left is for the next
    /// attempt to learn.
    pub(super) fn limits_stated(&mut self, quota: Quota, now: Moment) {
        let before = self.limits(now);
        self.learn_limits(quota);
        self.keep_what_is_owed(before, now);
    }

    fn learn_limits(&mut self, quota: Quota) {
        if let Some(limit) = per_minute(quota.limit_tokens) {
            (self.stated.tokens_per_minute, self.lowered) = (Some(limit), None);
        }
        if let Some(limit) = per_minute(quota.limit_requests) {
            self.stated.requests_per_minute = Some(limit);
        }
    }

    /// What Azure's headers said to the attempt that departed then. What was sent since is not in their numbers.
    pub(super) fn stated(&mut self, mark: Mark, departed: Moment, quota: Quota, now: Moment) {
        if mark.requests <= self.learned || quota == Quota::default() {
            return;
        }
        self.learned = mark.requests;
        let before = self.limits(now);
        self.learn_limits(quota);
        self.keep_what_is_owed(before, now);
        let limits = self.limits(now);
        // Refilled since Azure counted, which was when the request had arrived.
        let refilled = now.since(departed).saturating_sub(ARRIVAL);
        if let (Some(limit), Some(left)) = (limits.tokens_per_minute, quota.remaining_tokens) {
            let used = Bucket::cost(limit, u64::from(limit).saturating_sub(left)).saturating_sub(refilled);
            let since = Bucket::cost(limit, self.sent.tokens.wrapping_sub(mark.tokens));
            let owed = used.saturating_add(since).min(WINDOW);
            if owed + NEWS < self.tokens.owed(now) {
                self.lines = [Moment::ZERO; 2];
            }
            self.tokens.owe(owed, now);
        }
        if let (Some(limit), Some(left)) = (limits.requests_per_minute, quota.remaining_requests) {
            let burst = requests_at_once(limit);
            let left = Bucket::cost(limit, left.saturating_sub(self.sent.requests - mark.requests));
            let owed = burst.saturating_sub(left.saturating_add(refilled));
            self.requests.owe(owed.max(self.requests.owed(now)), now);
        }
    }

    /// A 429 to the attempt that departed then. The same call fits again when the hint says so.
    pub(super) fn throttled(&mut self, mark: Mark, tokens: u64, hint: Duration, now: Moment) {
        if mark.requests > self.learned && !self.provisioned {
            // Whatever left before this one was known belongs to the same wall.
            self.learned = self.sent.requests;
            let sent = u32::try_from(self.usage.last_minute(now)).unwrap_or(u32::MAX);
            let believed = self.limits(now).tokens_per_minute.unwrap_or(u32::MAX).min(sent);
            let lowered = u64::from(believed) * LOWERED_PERCENT / 100;
            let tokens_per_minute = u32::try_from(lowered).unwrap_or(u32::MAX).max(FEWEST_TOKENS);
            self.lowered = Some(Lowered { tokens_per_minute, since: now });
        }
        if let Some(limit) = self.limits(now).tokens_per_minute {
            let owed = WINDOW.saturating_sub(Bucket::cost(limit, tokens)).saturating_add(hint).min(WINDOW);
            self.tokens.owe(owed.max(self.tokens.owed(now)), now);
        }
    }
}

impl Lowered {
    /// Grown since; `None` once it is forgotten.
    fn at(&self, now: Moment) -> Option<u32> {
        let (elapsed, base) = (now.since(self.since), u64::from(self.tokens_per_minute));
        let gained = base * elapsed.min(RECOVERY).as_millis() as u64 / RECOVERY.as_millis() as u64;
        (elapsed < RECOVERY).then(|| u32::try_from(base + gained).unwrap_or(u32::MAX))
    }
}

impl Usage {
    fn add(&mut self, tokens: u64, now: Moment) {
        let minute = now.nanos() / WINDOW.as_nanos() as u64;
        if minute != self.minute {
            let before = if minute == self.minute + 1 { self.current } else { 0 };
            *self = Self { minute, before, current: 0 };
        }
        self.current = self.current.saturating_add(tokens);
    }

    fn last_minute(mut self, now: Moment) -> u64 {
        self.add(0, now);
        let window = WINDOW.as_nanos() as u64;
        let still = u128::from(self.before) * u128::from(window - now.nanos() % window) / u128::from(window);
        self.current.saturating_add(still as u64)
    }
}

/// What was taken is owed, but never more than comes back within the burst: a belief that is wrong must heal.
fn take(bucket: &mut Bucket, limit: u32, amount: u64, burst: Duration, now: Moment) {
    bucket.owe(bucket.owed(now).saturating_add(Bucket::cost(limit, amount)).min(burst), now);
}

fn requests_at_once(limit: u32) -> Duration {
    REQUESTS_AT_ONCE.max(Bucket::cost(limit, 1))
}

/// A limit of nothing is none that a deployment can have.
fn per_minute(stated: Option<u64>) -> Option<u32> {
    stated.filter(|limit| *limit > 0).map(|limit| u32::try_from(limit).unwrap_or(u32::MAX))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::domain::{Claims, Sku};

    const INTERACTIVE: Priority = Priority::Interactive;
    const BULK: Priority = Priority::Bulk;

    fn target(sku: Sku, tokens: Option<u32>, requests: Option<u32>) -> Target {
        Target {
            sku,
            claims: Claims {
                limits: RateLimits { tokens_per_minute: tokens, requests_per_minute: requests },
                ..Claims::default()
            },
            ..Target::example()
        }
    }

    /// With so many tokens and requests a minute.
    fn pace(tokens: impl Into<Option<u32>>, requests: impl Into<Option<u32>>) -> Pace {
        Pace::new(&target(Sku::Standard, tokens.into(), requests.into()))
    }

    fn ms(millis: u64) -> Moment {
        Moment::ZERO + Duration::from_millis(millis)
    }

    fn ask(tokens: u64, priority: Priority) -> Ask {
        Ask { tokens, priority, due: false }
    }

    /// Milliseconds until such a call may leave.
    fn wait(pace: &Pace, tokens: u64, priority: Priority, now: Moment) -> u128 {
        pace.opens(ask(tokens, priority), &Pacing::default(), now).since(now).as_millis()
    }

    fn limits(pace: &Pace, now: Moment) -> (Option<u32>, Option<u32>) {
        let limits = pace.limits(now);
        (limits.tokens_per_minute, limits.requests_per_minute)
    }

    fn headers(limit: u64, left: u64) -> Quota {
        Quota { limit_tokens: Some(limit), remaining_tokens: Some(left), ..Quota::default() }
    }

    #[test]
    fn a_minutes_tokens_may_leave_at_once_and_come_back_evenly() {
        let mut pace = pace(6000, None);
        assert_eq!(wait(&pace, 6000, INTERACTIVE, ms(0)), 0);
        pace.departs(5000, ms(0));
        for (tokens, expected) in [(1000, 0), (1001, 10), (1100, 1000), (6000, 50_000), (60_000, 50_000)] {
            assert_eq!(wait(&pace, tokens, INTERACTIVE, ms(0)), expected, "{tokens}");
        }
        assert_eq!(wait(&pace, 1100, INTERACTIVE, ms(999)), 1);
        assert_eq!(wait(&pace, 1100, INTERACTIVE, ms(1000)), 0);
        assert_eq!(wait(&pace, 6000, INTERACTIVE, ms(50_000)), 0, "an idle minute brings all back");
    }

    #[test]
    fn what_is_larger_than_a_minutes_tokens_leaves_when_nothing_is_owed_and_is_forgiven_in_a_minute() {
        let mut pace = pace(6000, None);
        pace.departs(100, ms(0));
        assert_eq!(wait(&pace, 1_000_000, INTERACTIVE, ms(0)), 1000);
        pace.departs(1_000_000, ms(1000));
        assert_eq!(wait(&pace, 1, INTERACTIVE, ms(1000)), 10);
        assert_eq!(wait(&pace, 6000, INTERACTIVE, ms(1000)), 60_000);
    }

    #[test]
    fn requests_leave_a_second_s_worth_at_once() {
        for (limit, at_once, gap) in [(60, 1, 1000), (6, 1, 10_000), (600, 10, 100), (90, 1, 666)] {
            let mut pace = pace(None, limit);
            for sent in 0..at_once {
                assert_eq!(wait(&pace, 1_000_000, INTERACTIVE, ms(0)), 0, "{limit} a minute, {sent} sent");
                pace.departs(1_000_000, ms(0));
            }
            // 90 a minute: one and a half a second, so the second one waits for a third of a second.
            let expected = if limit == 90 { 333 } else { gap };
            assert_eq!(wait(&pace, 0, INTERACTIVE, ms(0)), expected, "{limit} a minute");
        }
    }

    #[test]
    fn bulk_work_leaves_a_fifth() {
        let mut pace = pace(6000, 600);
        pace.departs(4700, ms(0));
        assert_eq!((wait(&pace, 100, BULK, ms(0)), wait(&pace, 101, BULK, ms(0))), (0, 10));
        pace.departs(100, ms(0));
        assert_eq!((wait(&pace, 1, BULK, ms(0)), wait(&pace, 1200, INTERACTIVE, ms(0))), (10, 0));
        assert_eq!(wait(&pace, 6000, BULK, ms(0)), 48_000, "the largest leaves when nothing is owed");
        for _ in 2..8 {
            pace.departs(0, ms(0));
        }
        assert_eq!((wait(&pace, 0, BULK, ms(0)), wait(&pace, 0, INTERACTIVE, ms(0))), (100, 0), "of requests too");
        let slow = super::tests::pace(None, 6);
        assert_eq!(wait(&slow, 1, BULK, ms(0)), 0, "also where a single request is more than that");
    }

    #[test]
    fn who_waits_stands_in_line_and_interactive_calls_go_before_bulk() {
        let mut pace = pace(6000, None);
        pace.departs(6000, ms(0));
        assert_eq!(wait(&pace, 100, INTERACTIVE, ms(0)), 1000);
        pace.joins(INTERACTIVE, ms(1000));
        assert_eq!(wait(&pace, 100, INTERACTIVE, ms(0)), 2000, "behind the other");
        pace.joins(INTERACTIVE, ms(2000));
        pace.joins(INTERACTIVE, ms(1500));
        assert_eq!(wait(&pace, 100, INTERACTIVE, ms(0)), 3000, "the line does not get shorter");
        assert_eq!(wait(&pace, 100, BULK, ms(0)), 13_000, "the reserve comes first");
        pace.joins(BULK, ms(13_000));
        assert_eq!(wait(&pace, 200, BULK, ms(0)), 15_000);
        assert_eq!(wait(&pace, 100, INTERACTIVE, ms(0)), 3000, "bulk calls in line hold nobody else back");
        pace.joins(INTERACTIVE, ms(20_000));
        assert_eq!(wait(&pace, 100, BULK, ms(0)), 21_000, "while interactive ones do");
        let due = Ask { due: true, ..ask(100, INTERACTIVE) };
        assert_eq!(pace.opens(due, &Pacing::default(), ms(1000)), ms(1000), "its turn has come");
        assert_eq!(pace.opens(due, &Pacing::default(), ms(999)), ms(1000));
        let due = Ask { due: true, ..ask(100, BULK) };
        assert_eq!(pace.opens(due, &Pacing::default(), ms(13_000)), ms(21_000), "interactive ones came meanwhile");
        assert_eq!(pace.opens(due, &Pacing::default(), ms(20_000)), ms(20_000), "the line of its own is behind it");
        assert_eq!(wait(&pace, 100, INTERACTIVE, ms(20_000)), 0, "the line is gone when its last turn has come");
    }

    #[test]
    fn nobody_waits_where_no_limit_is_known_or_pacing_is_off() {
        let mut unknown = pace(None, None);
        unknown.departs(u64::MAX, ms(0));
        unknown.joins(INTERACTIVE, ms(9000));
        assert_eq!(wait(&unknown, u64::MAX, BULK, ms(0)), 0);
        let mut known = pace(60, 60);
        known.departs(60, ms(0));
        let off = Pacing { enabled: false, ..Pacing::default() };
        assert_eq!(known.opens(ask(60, BULK), &off, ms(0)), ms(0));
    }

    #[test]
    fn headers_state_limits_and_what_is_left_and_count_more_than_the_configuration() {
        let mut pace = pace(1000, 10);
        let first = pace.departs(1000, ms(0));
        assert_eq!(wait(&pace, 500, INTERACTIVE, ms(0)), 30_000);
        let said = Quota { limit_requests: Some(600), remaining_requests: Some(599), ..headers(6000, 4000) };
        pace.stated(first, ms(0), said, ms(100));
        assert_eq!(limits(&pace, ms(100)), (Some(6000), Some(600)));
        assert_eq!((wait(&pace, 4000, INTERACTIVE, ms(100)), wait(&pace, 4001, INTERACTIVE, ms(100))), (0, 10));
    }

    #[test]
    fn other_limits_leave_what_is_owed() {
        let mut pace = pace(1000, 10);
        pace.departs(500, ms(0));
        pace.go_by(&target(Sku::Standard, Some(2000), Some(20)), ms(0));
        assert_eq!((wait(&pace, 1500, INTERACTIVE, ms(3000)), wait(&pace, 1600, INTERACTIVE, ms(3000))), (0, 0));
        assert_eq!((wait(&pace, 1600, INTERACTIVE, ms(2999)), wait(&pace, 1700, INTERACTIVE, ms(3000))), (1, 3000));
        let first = pace.departs(0, ms(3000));
        pace.stated(first, ms(3000), Quota { limit_tokens: Some(4000), ..Quota::default() }, ms(3000));
        assert_eq!((wait(&pace, 3600, INTERACTIVE, ms(6000)), wait(&pace, 3900, INTERACTIVE, ms(6000))), (0, 1500));
    }

    #[test]
    fn a_configured_limit_stands_until_headers_state_another() {
        let mut pace = pace(1000, 10);
        let first = pace.departs(0, ms(0));
        let partly = Quota { limit_tokens: Some(0), limit_requests: Some(u64::MAX), ..Quota::default() };
        pace.stated(first, ms(0), partly, ms(0));
        assert_eq!(limits(&pace, ms(0)), (Some(1000), Some(u32::MAX)), "a limit of nothing is none");
        pace.go_by(&target(Sku::Standard, Some(2000), Some(20)), ms(0));
        assert_eq!(limits(&pace, ms(0)), (Some(2000), Some(u32::MAX)));
    }

    #[test]
    fn what_was_sent_since_the_headers_spoke_counts_and_what_came_back_does_too() {
        let mut pace = pace(6000, None);
        let first = pace.departs(1000, ms(0));
        pace.departs(2000, ms(500));
        // 3000 were used when Azure counted; 100 have come back in the second since, and 2000 were sent.
        pace.stated(first, ms(0), headers(6000, 3000), ms(1100));
        assert_eq!((wait(&pace, 1100, INTERACTIVE, ms(1100)), wait(&pace, 1101, INTERACTIVE, ms(1100))), (0, 10));
    }

    #[test]
    fn only_the_youngest_attempt_is_believed() {
        let mut pace = pace(6000, None);
        let (first, second) = (pace.departs(100, ms(0)), pace.departs(100, ms(0)));
        pace.stated(second, ms(0), headers(6000, 5000), ms(50));
        pace.stated(first, ms(0), headers(6000, 10), ms(60));
        pace.stated(second, ms(0), headers(6000, 10), ms(60));
        assert_eq!(wait(&pace, 5000, INTERACTIVE, ms(60)), 0);
        let third = pace.departs(100, ms(60));
        pace.stated(third, ms(60), Quota::default(), ms(70));
        pace.stated(third, ms(60), headers(6000, 0), ms(70));
        assert_eq!(wait(&pace, 100, INTERACTIVE, ms(70)), 1000, "silence was no word");
    }

    #[test]
    fn headers_that_leave_less_than_a_seconds_requests_hold_back_and_others_do_not() {
        let left = |requests| Quota { remaining_requests: Some(requests), ..Quota::default() };
        for (said, expected) in [(0, 100), (1, 0), (10, 0), (599, 0)] {
            let mut pace = pace(None, 600);
            let first = pace.departs(0, ms(0));
            pace.stated(first, ms(0), left(said), ms(0));
            assert_eq!(wait(&pace, 0, INTERACTIVE, ms(0)), expected, "{said} left");
        }
        let mut pace = pace(None, 600);
        let first = pace.departs(0, ms(0));
        pace.departs(0, ms(0));
        pace.stated(first, ms(0), left(1), ms(0));
        assert_eq!(wait(&pace, 0, INTERACTIVE, ms(0)), 100, "the one that was left has gone to the second");
        let mut busy = super::tests::pace(None, 60);
        let first = busy.departs(0, ms(0));
        busy.stated(first, ms(0), left(59), ms(0));
        assert_eq!(wait(&busy, 0, INTERACTIVE, ms(0)), 1000, "slices are shorter than a minute");
        let second = busy.departs(0, ms(1000));
        busy.stated(second, ms(1000), left(0), ms(1600));
        assert_eq!(wait(&busy, 0, INTERACTIVE, ms(1600)), 500, "half a request has come back on the way");
    }

    #[test]
    fn good_news_dissolves_the_line() {
        let line = |left| {
            let mut pace = pace(6000, None);
            let first = pace.departs(6000, ms(0));
            pace.joins(INTERACTIVE, ms(9000));
            pace.stated(first, ms(0), headers(6000, left), ms(0));
            wait(&pace, 100, INTERACTIVE, ms(0))
        };
        assert_eq!((line(100), line(101)), (10_000, 0));
    }

    #[test]
    fn a_429_without_numbers_lowers_what_is_believed_which_recovers_and_is_forgotten() {
        let mut pace = pace(None, None);
        let before = pace.departs(8000, ms(0));
        let hit = pace.departs(2000, ms(1000));
        pace.throttled(hit, 2000, Duration::from_secs(1), ms(1000));
        assert_eq!(limits(&pace, ms(1000)), (Some(9000), None));
        pace.throttled(before, 8000, Duration::from_secs(1), ms(1100));
        assert_eq!(limits(&pace, ms(1100)), (Some(9001), None), "the same wall");
        assert_eq!(wait(&pace, 2000, INTERACTIVE, ms(2000)), 0, "the hint says when the same call fits");
        for (minutes, expected) in [(1, Some(9900)), (5, Some(13_500)), (9, Some(17_100)), (10, None)] {
            assert_eq!(limits(&pace, ms(1000 + minutes * 60_000)).0, expected, "after {minutes} min");
        }
        let again = pace.departs(3000, ms(61_000));
        pace.throttled(again, 3000, Duration::from_secs(1), ms(61_000));
        assert_eq!(limits(&pace, ms(61_000)).0, Some(8910), "90 % of what was believed, which is less than was sent");
    }

    #[test]
    fn what_is_lowered_is_never_less_than_the_smallest_deployment_nor_more_than_what_is_known() {
        let mut small = pace(None, None);
        let hit = small.departs(10, ms(0));
        small.throttled(hit, 10, Duration::from_secs(60), ms(0));
        assert_eq!(limits(&small, ms(0)).0, Some(1000));
        let mut known = pace(10_000, None);
        let hit = known.departs(20_000, ms(0));
        known.throttled(hit, 20_000, Duration::from_secs(1), ms(0));
        assert_eq!(limits(&known, ms(0)).0, Some(9000));
        assert_eq!(limits(&known, ms(120_000)).0, Some(10_000));
        let next = known.departs(100, ms(120_000));
        known.stated(next, ms(120_000), headers(12_000, 11_000), ms(120_000));
        assert_eq!(limits(&known, ms(120_000)).0, Some(12_000), "Azure's word heals at once");
    }

    #[test]
    fn a_429_with_numbers_is_believed_and_lowers_nothing() {
        let mut pace = pace(None, None);
        let hit = pace.departs(500, ms(0));
        pace.stated(hit, ms(0), headers(6000, 300), ms(0));
        pace.throttled(hit, 500, Duration::from_secs(2), ms(0));
        assert_eq!(limits(&pace, ms(0)).0, Some(6000));
        assert_eq!(wait(&pace, 500, INTERACTIVE, ms(0)), 2000);
    }

    #[test]
    fn a_guess_is_told_from_what_somebody_stated() {
        let numbers = Pacing::default();
        let mut guessed = pace(None, None);
        let hit = guessed.departs(10_000, ms(0));
        guessed.throttled(hit, 10_000, Duration::from_secs(60), ms(0));
        assert!(wait(&guessed, 100, INTERACTIVE, ms(0)) > 0);
        assert!(guessed.is_guess(ask(100, INTERACTIVE), &numbers, ms(0)));
        let mut stated = pace(1000, None);
        stated.departs(1000, ms(0));
        assert!(!stated.is_guess(ask(100, INTERACTIVE), &numbers, ms(0)));
    }

    #[test]
    fn reserved_throughput_has_no_such_limits() {
        let mut pace = Pace::new(&target(Sku::ProvisionedManaged, Some(10), Some(1)));
        let hit = pace.departs(1000, ms(0));
        pace.stated(hit, ms(0), headers(10, 0), ms(0));
        pace.throttled(hit, 1000, Duration::from_secs(1), ms(0));
        assert_eq!((limits(&pace, ms(0)), wait(&pace, 1000, BULK, ms(0))), ((None, None), 0));
        let second = pace.departs(1000, ms(0));
        pace.throttled(second, 1000, Duration::from_secs(1), ms(0));
        pace.go_by(&target(Sku::Standard, None, None), ms(0));
        assert_eq!(limits(&pace, ms(0)).0, Some(10), "unless it becomes another kind of deployment");
    }

    #[test]
    fn what_reached_nobody_is_given_back() {
        let mut pace = pace(6000, 60);
        pace.departs(6000, ms(0));
        pace.was_not_sent(6000, ms(0));
        assert_eq!(wait(&pace, 6000, INTERACTIVE, ms(0)), 0);
    }

    #[test]
    fn the_last_minute_reaches_into_the_one_before() {
        let mut usage = Usage::default();
        usage.add(600, ms(59_999));
        usage.add(100, ms(60_000));
        for (millis, expected) in [(60_000, 700), (75_000, 550), (119_999, 100), (120_000, 100), (180_000, 0)] {
            assert_eq!(usage.last_minute(ms(millis)), expected, "{millis}");
        }
        usage.add(0, ms(180_000));
        assert_eq!(usage.last_minute(ms(180_000)), 0, "a minute between them");
    }
}
