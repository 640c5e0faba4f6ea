//! The log of a script: what changed and why, and where calls went in between.
use std::collections::BTreeMap;

use super::{world::Choices, *};

#[derive(Default)]
pub(super) struct Log {
    text: String,
    pub(super) calls: u32,
    pub(super) tests: u32,
    pub(super) most_attempts: u32,
    served: u32,
    slowest: Duration,
    gave_up: BTreeMap<String, u32>,
    choices: Choices,
    pins: BTreeMap<String, String>,
    /// What was told last.
    transitions: usize,
    overlays: Vec<Option<String>>,
    alarms: Vec<String>,
    active: Vec<String>,
}

impl Log {
    /// A line, after those that say where calls went since the one before.
    pub(super) fn say(&mut self, now: Moment, what: &str) {
        if !self.choices.is_empty() {
            let choices = std::mem::take(&mut self.choices).into_iter();
            let told: Vec<_> = choices.map(|((target, reason), count)| format!("{target} {reason} {count}")).collect();
            self.text += &format!("          calls: {}\n", told.join(", "));
        }
        self.text += &format!("{:>7}  {what}\n", seconds(now));
    }

    pub(super) fn chosen(&mut self, target: &Target, reason: AttemptReason) {
        *self.choices.entry((name(target), reason.as_str())).or_default() += 1;
    }

    pub(super) fn served(&mut self, took: Duration) {
        self.served += 1;
        self.slowest = self.slowest.max(took);
    }

    pub(super) fn gave_up(&mut self, why: &GiveUp, now: Moment) {
        let word = format!("{why:?}");
        let word = word.split([' ', '(']).next().unwrap().to_owned();
        let count = self.gave_up.entry(word).or_default();
        *count += 1;
        if *count == 1 {
            self.say(now, &format!("a caller is told {why:?}"));
        }
    }

    pub(super) fn pinned(&mut self, caller: &str, workflow: &str, region: &str, now: Moment) {
        let workflow = format!("{caller}'s {workflow}");
        if self.pins.get(&workflow).is_none_or(|known| known != region) {
            self.say(now, &format!("{workflow} is pinned to {region}"));
            self.pins.insert(workflow, region.into());
        }
    }

    /// Tells what differs from the last snapshot.
    pub(super) fn notice(&mut self, seen: &Snapshot, now: Moment) {
        let new: Vec<_> = seen.transitions.iter().filter(|transition| transition.at == now).collect();
        for Transition { target, from, to, cause, .. } in new.into_iter().rev() {
            self.transitions += 1;
            self.say(now, &format!("{}: {} -> {}: {cause}", name(target), standing(*from), standing(*to)));
        }
        let overlays: Vec<_> = seen.targets.iter().map(|view| view.overlay.as_ref().map(overlay)).collect();
        self.overlays.resize(overlays.len(), None);
        for (at, view) in seen.targets.iter().enumerate() {
            if overlays[at] != self.overlays[at] {
                let told = overlays[at].as_deref().unwrap_or("neither cooling, drained nor misconfigured any more");
                self.say(now, &format!("{}: {told}", name(&view.target)));
            }
        }
        self.overlays = overlays;
        let alarms: Vec<_> = seen.alarms.iter().map(alarm).collect();
        for alarm in alarms.iter().filter(|alarm| !self.alarms.contains(alarm)).cloned().collect::<Vec<_>>() {
            self.say(now, &format!("alarm: {alarm}"));
        }
        for over in self.alarms.iter().filter(|alarm| !alarms.contains(alarm)).cloned().collect::<Vec<_>>() {
            self.say(now, &format!("no more alarm: {over}"));
        }
        self.alarms = alarms;
        let active: Vec<_> = seen
            .models
            .iter()
            .map(|view| {
                let target = view.active.as_deref().map_or("nowhere".into(), name);
                format!("{} goes to {target}", view.route.model)
            })
            .collect();
        for told in active.iter().filter(|told| !self.active.contains(told)).cloned().collect::<Vec<_>>() {
            self.say(now, &told);
        }
        self.active = active;
    }

    /// What RegionStatus would say.
    pub(super) fn status(&mut self, seen: &Snapshot, now: Moment) {
        self.say(now, "status");
        for view in &seen.targets {
            let next = view.next.as_ref().map_or(String::new(), |(step, when)| {
                format!("; next: {} in {}", next(step), seconds_of(when.since(now)))
            });
            let overlay = view.overlay.as_ref().map_or(String::new(), |it| format!(", {}", overlay(it)));
            let cause = view.cause.as_ref().map_or("never changed".into(), Cause::to_string);
            self.text += &format!(
                "          {}: {}{overlay} since {}, level {}, share {}%, {} served, {} failed, test calls {}/{} passed, {} tokens: {cause}{next}\n",
                name(&view.target),
                standing(view.standing),
                seconds(view.since),
                view.level,
                view.share * 100.0,
                view.served,
                view.failed,
                view.tests.1,
                view.tests.0,
                view.test_tokens,
            );
        }
        for view in &seen.models {
            let active = view.active.as_deref().map_or("nowhere".into(), name);
            self.text += &format!(
                "          {}: active {active}, {} standbys ready, {} workflows pinned\n",
                view.route.model, view.ready_standbys, view.pinned_workflows
            );
        }
    }

    pub(super) fn end(mut self, seen: &Snapshot, now: Moment) -> String {
        self.say(now, "the end");
        let gave_up: Vec<_> = self.gave_up.iter().map(|(why, count)| format!("{count} {why}")).collect();
        let gave_up = if gave_up.is_empty() { "0".into() } else { gave_up.join(", ") };
        self.text += &format!(
            "          {} calls: {} served, {gave_up} not; at most {} attempts a call, the slowest took {}; {} test calls, \
             {} changes of standing\n",
            self.calls,
            self.served,
            self.most_attempts,
            seconds_of(self.slowest),
            self.tests,
            self.transitions,
        );
        if !seen.off_pin.is_empty() {
            let told: Vec<_> = seen.off_pin.iter().map(|(reason, count)| format!("{reason} {count}")).collect();
            self.text += &format!("          served off their pin: {}\n", told.join(", "));
        }
        self.text
    }
}

fn name(target: &Target) -> String {
    format!("{}/{}", target.region, target.model)
}

fn standing(standing: Standing) -> String {
    match standing {
        Standing::Out { level } => format!("out({level})"),
        Standing::Returning { step } => format!("returning({step})"),
        other => other.as_str().into(),
    }
}

fn overlay(overlay: &Overlay) -> String {
    match overlay {
        Overlay::Cooling { until } => format!("cooling until {}", seconds(*until)),
        Overlay::Drained { until, reason, .. } => format!("drained until {} ({reason})", seconds(*until)),
        Overlay::Quarantined { since } => format!("quarantined since {}", seconds(*since)),
        Overlay::Drifted { since, .. } => format!("drifted since {}", seconds(*since)),
        Overlay::Misconfigured { since } => format!("misconfigured since {}", seconds(*since)),
    }
}

fn alarm(alarm: &Alarm) -> String {
    alarm.target().map_or(alarm.as_str().into(), |target| format!("{} {}", alarm.as_str(), name(target)))
}

fn next(step: &NextStep) -> String {
    match step {
        NextStep::VerdictDue { failed, calls } => format!("verdict ({failed} of {calls} failed)"),
        NextStep::HoldEnds { proofs, needed } => format!("the hold ends ({proofs} of {needed} proofs)"),
        NextStep::ProofsMissing { proofs, needed } => format!("the next proof ({proofs} of {needed})"),
        NextStep::StepEnds { next_percent } => format!("{next_percent}%"),
        NextStep::Cooled => "cooled".into(),
        NextStep::DrainEnds => "the drain ends".into(),
    }
}

fn seconds(moment: Moment) -> String {
    seconds_of(moment.since_origin())
}

fn seconds_of(span: Duration) -> String {
    format!("{:.1}s", span.as_secs_f64())
}
