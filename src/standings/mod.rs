//! Tells of standings that changed and of alarms, and keeps the standings in a small file from one process to the next,
//! so that a restart in the middle of an outage does not send everything back to a primary that is down.
mod alarms;
mod file;

use std::{
    collections::HashMap,
    path::Path,
    time::{Duration, SystemTime},
};

use sealane_core::{
    domain::TargetId,
    router::{Cause, Snapshot, Standing, Transition},
};
use tokio::time::Instant;
use tracing::{error, info, warn};

use self::file::write;
pub use self::{
    alarms::tell_alarms,
    file::{restore, save_now, try_out},
};
use crate::{
    audit::{self, Event, Journal, Probe},
    dispatch::Dispatcher,
    upstream::Upstream,
};

/// Changes within this time are written together.
const GATHER: Duration = Duration::from_millis(500);

/// Holds and drains run down: the file is refreshed at least so often while there is something in it.
const REFRESH: Duration = Duration::from_secs(60);

/// Logs every standing that changes, notes it in the journal beside sums of the test calls, and keeps the file true;
/// runs until dropped.
pub async fn keep<U: Upstream>(dispatcher: &Dispatcher<U>, file: Option<&Path>, journal: Option<&Journal>) {
    let mut changes = dispatcher.changes();
    let mut told: Option<Transition> = dispatcher.snapshot().transitions.into_iter().next();
    let mut probes = Probes::new();
    let mut written = Vec::new();
    loop {
        if tokio::time::timeout(REFRESH, changes.changed()).await.is_ok_and(|changed| changed.is_err()) {
            return;
        }
        let snapshot = dispatcher.snapshot();
        if let Some(journal) = journal {
            probes.note(&snapshot, journal);
        }
        let news = snapshot.transitions;
        let known = news.iter().position(|one| Some(one) == told.as_ref()).unwrap_or(news.len());
        for transition in news[..known].iter().rev() {
            tell(transition);
            if let Some(journal) = journal {
                // What is lost is counted, and told by the journal itself.
                let _ = journal.note(record(transition));
            }
        }
        told = news.into_iter().next().or(told);
        let Some(path) = file else { continue };
        tokio::time::sleep(GATHER).await;
        let targets = dispatcher.saved();
        if targets.is_empty() && written.is_empty() {
            continue;
        }
        let path = path.to_owned();
        let to_write = targets.clone();
        let outcome = tokio::task::spawn_blocking(move || {
            write(&path, &to_write, SystemTime::now()).map_err(|error| (path, error))
        });
        if let Ok(Err((path, error))) = outcome.await {
            warn!(file = %path.display(), %error, "standings not kept: after a restart they would be learned again");
        }
        written = targets;
    }
}

fn record(transition: &Transition) -> Event {
    let Transition { target, from, to, cause, .. } = transition;
    let word = |standing: &Standing| match standing {
        Standing::Out { level } => format!("out({level})"),
        Standing::Returning { step } => format!("returning({step})"),
        Standing::Serving | Standing::Suspected => standing.as_str().to_owned(),
    };
    // A drift changes no standing, and yet the target takes no calls.
    let (from, to) = match cause {
        Cause::Drifted { .. } => (word(from), "drifted".to_owned()),
        Cause::Comparable { .. } => ("drifted".to_owned(), word(to)),
        _ => (word(from), word(to)),
    };
    Event::Transition(audit::Transition {
        model: (&target.model).into(),
        region: (&target.region).into(),
        deployment: (&target.deployment).into(),
        from: from.into(),
        to: to.into(),
        reason: cause.to_string().into(),
    })
}

/// Sums of test calls: one record a minute for each target that was tested, however often.
struct Probes {
    since: Instant,
    /// Made and passed, as last noted, by target.
    noted: HashMap<TargetId, (u64, u64)>,
}

impl Probes {
    fn new() -> Self {
        Self { since: Instant::now(), noted: HashMap::new() }
    }

    fn note(&mut self, snapshot: &Snapshot, journal: &Journal) {
        let window = self.since.elapsed();
        if window < REFRESH {
            return;
        }
        self.since = Instant::now();
        for view in &snapshot.targets {
            let (made, passed) = view.tests;
            let before = self.noted.insert(view.target.id, view.tests).unwrap_or_default();
            let (made, passed) = (made.saturating_sub(before.0), passed.saturating_sub(before.1));
            if made > 0 {
                let _ = journal.note(Event::Probe(Probe {
                    region: (&view.target.region).into(),
                    deployment: (&view.target.deployment).into(),
                    window_ms: u64::try_from(window.as_millis()).unwrap_or(u64::MAX),
                    passed,
                    failed: made.saturating_sub(passed),
                }));
            }
        }
    }
}

fn tell(transition: &Transition) {
    let Transition { target, from, to, cause, .. } = transition;
    let (model, region, resource) = (&*target.model, &*target.region, &*target.resource);
    let deployment = &*target.deployment;
    if let Cause::Drifted { .. } = cause {
        error!(model, region, resource, deployment, %cause, "takes no calls: its vectors are not comparable");
        return;
    }
    if let Cause::Comparable { .. } = cause {
        info!(model, region, resource, deployment, %cause, "takes calls again");
        return;
    }
    let (before, after) = (from.as_str(), to.as_str());
    if let Cause::Drained { .. } | Cause::Released { .. } | Cause::DrainOver { .. } = cause {
        info!(model, region, resource, deployment, standing = after, %cause, "drain changed");
        return;
    }
    match to {
        Standing::Out { level } => {
            warn!(model, region, resource, deployment, from = before, to = after, level, %cause, "standing changed");
        }
        Standing::Returning { step } => {
            info!(model, region, resource, deployment, from = before, to = after, step, %cause, "standing changed");
        }
        Standing::Serving | Standing::Suspected => {
            info!(model, region, resource, deployment, from = before, to = after, %cause, "standing changed");
        }
    }
}
