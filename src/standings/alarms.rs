//! Alarms in the log and in the journal: when one begins, and when it has ended.
use std::{collections::BTreeMap, time::Duration};

use sealane_core::router::Alarm;
use tokio::time::Instant;
use tracing::{info, warn};

use crate::{
    audit::{self, Event, Journal},
    dispatch::Dispatcher,
    telemetry::FloodGate,
    upstream::Upstream,
};

/// How often alarms are looked at, however often the router changes.
const GATHER: Duration = Duration::from_millis(500);

/// Some alarms come and go with time alone.
const LOOK: Duration = Duration::from_secs(5);

/// An alarm that is back within this time has not ended: one that comes and goes is told once.
const SETTLED: Duration = Duration::from_secs(30);

/// A fault of this machine raises an alarm for every target at once.
const LINES_PER_SECOND: u32 = 20;

/// Tells of each alarm once when it begins and once when it has ended; runs until dropped.
pub async fn tell_alarms<U: Upstream>(dispatcher: &Dispatcher<U>, journal: Option<&Journal>) {
    let mut changes = dispatcher.changes();
    let mut told = Told::default();
    let gate = FloodGate::new(LINES_PER_SECOND);
    loop {
        for news in told.compare(&dispatcher.snapshot().alarms, Instant::now()) {
            if let Some(held_back) = gate.pass() {
                news.log(held_back);
            }
            if let Some(journal) = journal {
                // What is lost is counted, and told by the journal itself.
                let _ = journal.note(news.record());
            }
        }
        tokio::time::sleep(GATHER).await;
        if tokio::time::timeout(LOOK, changes.changed()).await.is_ok_and(|changed| changed.is_err()) {
            return;
        }
    }
}

/// What an alarm is about: kind, model, resource, deployment.
type Key = (&'static str, String, String, String);

#[derive(Debug)]
struct Known {
    alarm: Alarm,
    since: Instant,
    /// Since when it is gone, if it is.
    gone: Option<Instant>,
}

#[derive(Debug, Default)]
struct Told(BTreeMap<Key, Known>);

/// Something to tell.
#[derive(Debug)]
struct News {
    alarm: Alarm,
    /// How long it had lasted; `None`: it begins.
    lasted: Option<Duration>,
}

impl Told {
    fn compare(&mut self, alarms: &[Alarm], now: Instant) -> Vec<News> {
        let mut news = Vec::new();
        for known in self.0.values_mut() {
            known.gone = known.gone.or(Some(now));
        }
        for alarm in alarms {
            let known = self.0.entry(key(alarm)).or_insert_with(|| {
                news.push(News { alarm: alarm.clone(), lasted: None });
                Known { alarm: alarm.clone(), since: now, gone: None }
            });
            known.gone = None;
        }
        self.0.retain(|_, known| {
            let Some(gone) = known.gone.filter(|gone| now.duration_since(*gone) >= SETTLED) else { return true };
            news.push(News { alarm: known.alarm.clone(), lasted: Some(gone.duration_since(known.since)) });
            false
        });
        news
    }
}

/// Kind, model, resource and deployment.
fn key(alarm: &Alarm) -> Key {
    let (model, resource, deployment) = match (alarm.target(), alarm) {
        (Some(target), _) => (&*target.model, &*target.resource, &*target.deployment),
        (None, Alarm::NoGoodTarget { model, .. }) => (&**model, "", ""),
        (None, _) => ("", "", ""),
    };
    (alarm.as_str(), model.to_owned(), resource.to_owned(), deployment.to_owned())
}

impl News {
    fn log(&self, held_back: u64) {
        let (alarm, model, resource, deployment) = key(&self.alarm);
        let region = self.alarm.target().map(|target| &*target.region);
        match self.lasted {
            None => {
                let meaning = self.alarm.message();
                warn!(alarm, model, region, resource, deployment, %meaning, held_back, "alarm");
            }
            Some(lasted) => {
                let lasted_s = lasted.as_secs();
                info!(alarm, model, region, resource, deployment, lasted_s, held_back, "alarm is over");
            }
        }
    }

    fn record(&self) -> Event {
        let (kind, model, resource, deployment) = key(&self.alarm);
        Event::Alarm(audit::Alarm {
            kind: kind.into(),
            over: self.lasted.is_some(),
            model: model.into(),
            region: self.alarm.target().map(|target| (&target.region).into()).unwrap_or_default(),
            resource: resource.into(),
            deployment: deployment.into(),
            meaning: self.lasted.is_none().then(|| (&*self.alarm.message()).into()),
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn an_alarm_is_told_when_it_begins_and_when_it_has_stayed_away() {
        let (alarm, start) = (Alarm::TestBudgetSpent, Instant::now());
        let mut told = Told::default();
        let mut at = |seconds: u64, stands: bool| {
            let alarms = if stands { vec![alarm.clone()] } else { vec![] };
            let news = told.compare(&alarms, start + Duration::from_secs(seconds));
            news.iter().map(|one| one.lasted.map(|lasted| lasted.as_secs())).collect::<Vec<_>>()
        };
        assert_eq!(at(0, true), [None]);
        assert_eq!(at(1, true), []);
        assert_eq!(at(10, false), []);
        assert_eq!(at(39, true), [], "it comes and goes: no news");
        assert_eq!(at(50, false), []);
        assert_eq!(at(79, false), []);
        assert_eq!(at(80, false), [Some(50)]);
        assert_eq!(at(81, false), []);
        assert_eq!(at(82, true), [None]);
    }
}
