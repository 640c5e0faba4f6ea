//! Simulated targets: moods over time, and what one attempt meets there.
use std::time::Duration;

use sealane_core::domain::{AttemptLimits, ConnectFailure, Evidence, Failure, FailureKind, Moment, Silence};

use crate::chance::Chance;

/// What a target does.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Mood {
    /// Answers.
    Well,
    /// 503 at once.
    Down,
    /// Refuses connections.
    Refusing,
    /// Never says anything; calls under way fall silent too.
    Silent,
    /// Takes this many times as long.
    Slow(f64),
    /// Fails this share at random.
    Flaky(f64),
    /// 429 with a hint of so many seconds.
    Throttling(u64),
    /// The network between us and everybody is cut: connections time out.
    Unreachable,
}

/// From each moment on, a mood; in order. Before the first one it is well.
pub type Plan = Vec<(Duration, Mood)>;

/// How long answers take.
#[derive(Clone, Copy, Debug)]
pub struct Latency {
    /// To the first content, in seconds.
    pub median: f64,
    /// Of the log-normal.
    pub sigma: f64,
    /// Share of answers in the heavy tail.
    pub tail: f64,
    /// Its Pareto exponent; smaller is heavier.
    pub alpha: f64,
}

impl Default for Latency {
    fn default() -> Self {
        Self { median: 0.6, sigma: 0.45, tail: 0.002, alpha: 1.5 }
    }
}

/// One target.
#[derive(Clone, Debug)]
pub struct SimTarget {
    /// What happens to it.
    pub plan: Plan,
    /// How long it takes.
    pub latency: Latency,
    /// Share of attempts that fail although it is well.
    pub background: f64,
}

/// What an attempt will meet, if nothing changes on the way.
#[derive(Clone, Debug)]
pub struct Fate {
    /// First content after this; `None`: it fails before.
    pub first_content: Option<Duration>,
    /// Its end after this.
    pub end: Duration,
    /// How it ends; `None`: well.
    pub failure: Option<Failure>,
}

fn met_nobody(kind: FailureKind) -> Failure {
    Failure::without_response(kind)
}

fn answered(status: u16, kind: FailureKind) -> Failure {
    let evidence = Evidence { http_status: Some(status), ..Evidence::default() };
    Failure { kind, evidence: Box::new(evidence), maybe_billed: true }
}

impl SimTarget {
    /// Its mood then.
    pub fn mood(&self, at: Moment) -> Mood {
        let elapsed = at.since_origin();
        self.plan.iter().rev().find(|(from, _)| *from <= elapsed).map_or(Mood::Well, |(_, mood)| *mood)
    }

    /// Well from `from` to `to`, and long enough before `from` that somebody could know: a recovery is seen by the next
    /// test call, and a throttled target is left alone for as long as it asked, at most a minute.
    pub fn is_fit(&self, from: Moment, to: Moment) -> bool {
        let mut sick: Option<Mood> = None;
        for (at, mood) in &self.plan {
            if *at > to.since_origin() {
                break;
            }
            if *mood != Mood::Well {
                sick = Some(*mood);
            } else if let Some(before) = sick.take() {
                let known = if matches!(before, Mood::Throttling(_)) { 60 } else { 10 };
                if *at + Duration::from_secs(known) > from.since_origin() {
                    return false;
                }
            }
        }
        sick.is_none()
    }

    fn first_content(&self, chance: &mut Chance) -> f64 {
        let usual = self.latency.median * (self.latency.sigma * chance.normal()).exp();
        if chance.fraction() < self.latency.tail {
            // Not beyond what a caller would ever see from a region that works.
            return (usual * 2.0 * chance.fraction().max(1e-6).powf(-1.0 / self.latency.alpha)).min(600.0);
        }
        usual
    }

    /// What an attempt that begins now will meet. `short` answers (test calls, vectors) end with their first content.
    pub fn meet(&self, at: Moment, limits: AttemptLimits, poison: bool, short: bool, chance: &mut Chance) -> Fate {
        let fails = |after: f64, failure| Fate {
            first_content: None,
            end: Duration::from_secs_f64(after),
            failure: Some(failure),
        };
        let quick = 0.02 + 0.06 * chance.fraction();
        let mut first = self.first_content(chance);
        match self.mood(at) {
            Mood::Down => return fails(quick, answered(503, FailureKind::Unavailable)),
            Mood::Refusing => return fails(0.002, met_nobody(FailureKind::Connect(ConnectFailure::Refused))),
            Mood::Unreachable => return fails(2.0, met_nobody(FailureKind::Connect(ConnectFailure::TimedOut))),
            Mood::Throttling(hint) => {
                let retry_after = Duration::from_secs(hint);
                return fails(quick, answered(429, FailureKind::Throttled { retry_after }));
            }
            Mood::Flaky(share) if chance.fraction() < share => {
                return fails(quick, answered(500, FailureKind::ServerError));
            }
            Mood::Silent => first = f64::INFINITY,
            Mood::Slow(times) => first *= times,
            Mood::Well | Mood::Flaky(_) => {}
        }
        if poison || chance.fraction() < self.background {
            return fails(quick, answered(500, FailureKind::ServerError));
        }
        let limit = limits.first_content.min(limits.total);
        if first > limit.as_secs_f64() {
            let silence = FailureKind::Silence(Silence::FirstContent);
            return Fate { first_content: None, end: limit, failure: Some(met_nobody(silence)) };
        }
        let first = Duration::from_secs_f64(first);
        let rest = if short { 0.0 } else { 0.5 + 2.0 * chance.fraction() };
        let end = first + Duration::from_secs_f64(rest);
        if end > limits.total {
            let failure = answered(200, FailureKind::Silence(Silence::Total));
            return Fate { first_content: Some(first), end: limits.total, failure: Some(failure) };
        }
        Fate { first_content: Some(first), end, failure: None }
    }
}
