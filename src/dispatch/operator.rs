//! An operator's word: it goes to the router, and everybody who watches hears of it.
use std::{sync::Arc, time::Duration};

use sealane_core::{
    domain::{Moment, Target},
    router::{Cause, Selector, Snapshot, TargetReport, Transition},
};

use super::{Dispatcher, LONGEST_TICK};
use crate::upstream::Upstream;

/// Beyond the longest round of a validation: a test call that has content may take some seconds to end.
const ROUND_GRACE: Duration = Duration::from_secs(15);

/// What an operator's drain did.
#[derive(Clone, Debug, PartialEq)]
pub struct Drained {
    /// The targets that are drained now.
    pub targets: Vec<Arc<Target>>,
    /// When that ends by itself.
    pub until: Moment,
    /// Models of theirs that have no target left which takes calls.
    pub without_target: Vec<Arc<str>>,
}

/// What test calls that an operator ordered said of one target.
#[derive(Clone, Debug, PartialEq)]
pub struct Validated {
    /// The target.
    pub target: Arc<Target>,
    /// Deep calls made for the order, or under way when it came.
    pub calls: u64,
    /// Those of them that passed.
    pub passed: u64,
    /// What went wrong in the last one that did not pass; `None` if none failed.
    pub failure: Option<&'static str>,
}

impl<U: Upstream> Dispatcher<U> {
    /// Takes the selected targets out of service for `span`.
    pub fn drain(&self, selector: &Selector, span: Duration, reason: &Arc<str>) -> Drained {
        let now = self.clock.now();
        let until = now + span;
        let drained = {
            let mut router = self.router();
            let targets = router.drain(selector, until, reason, now);
            Drained { without_target: router.without_good_target(&targets), targets, until }
        };
        self.announce();
        drained
    }

    /// Puts drained targets back; answers with those that were drained.
    pub fn release(&self, selector: &Selector, reason: &Arc<str>) -> Vec<Arc<Target>> {
        let released = self.router().release(selector, reason, self.clock.now());
        self.announce();
        released
    }

    /// Puts the selected targets to the test and waits for the verdicts, for as long as a round may last. Answers with
    /// those, and with the targets that nobody selected and that went out meanwhile because a whole resource is down.
    pub async fn validate(&self, selector: &Selector, reason: &Arc<str>) -> (Vec<Validated>, Vec<Arc<Target>>) {
        let mut changes = self.changes();
        let now = self.clock.now();
        let start = now;
        let (before, longest) = {
            let mut router = self.router();
            let reasoning = router.order_validation(selector, reason, now).iter().any(|target| target.reasoning);
            (router.report(selector, now), router.thresholds().validation.longest_round(reasoning))
        };
        self.announce();
        let end = now + longest + ROUND_GRACE;
        loop {
            let now = self.clock.now();
            let after = self.router().report(selector, now);
            if now >= end || !after.iter().any(|report| report.busy) {
                // Another configuration may have come meanwhile.
                let known = |after: &TargetReport| before.iter().find(|before| before.target.id == after.target.id);
                let verdicts = after.into_iter().filter_map(|after| Some(verdict(known(&after)?, after)));
                return (verdicts.collect(), taken_along(&self.snapshot(), selector, start));
            }
            // A place that nobody gives back frees itself without a word, so the wait is never for changes alone.
            let _ = tokio::time::timeout(LONGEST_TICK, changes.changed()).await;
        }
    }

    /// Every target of the configuration.
    pub fn targets(&self) -> Vec<Arc<Target>> {
        self.router().routes().targets_in_use().cloned().collect()
    }
}

/// Targets that went out since `start` because the validation of another one found their whole resource down.
fn taken_along(seen: &Snapshot, selector: &Selector, start: Moment) -> Vec<Arc<Target>> {
    let with =
        |one: &&Transition| one.at >= start && one.cause == Cause::ResourceDown && !selector.selects(&one.target);
    seen.transitions.iter().filter(with).map(|one| Arc::clone(&one.target)).collect()
}

fn verdict(before: &TargetReport, after: TargetReport) -> Validated {
    let passed = after.passed - before.passed;
    // A call that ran already when the order came, and passed since, proves as much as one that was ordered.
    let calls = (after.calls - before.calls).max(passed);
    let failure = match after.last_failure {
        _ if after.busy => Some("unanswered"),
        None if calls == 0 => Some("not_permitted"),
        failure => failure,
    };
    Validated { target: after.target, calls, passed, failure }
}

#[cfg(test)]
mod tests {
    use sealane_core::domain::{ModelKind, ProcessingScope, Sku, TargetId, UpstreamStream};

    use super::*;

    fn report(calls: u64, passed: u64, last_failure: Option<&'static str>, busy: bool) -> TargetReport {
        let target = Target {
            id: TargetId(0),
            model: "gpt-4o".into(),
            kind: ModelKind::Chat,
            resource: "swc".into(),
            resource_index: 0,
            region: "swedencentral".into(),
            boundary: None,
            deployment: "gpt-4o".into(),
            sku: Sku::Standard,
            scope: ProcessingScope::Regional,
            reasoning: false,
            upstream_stream: UpstreamStream::Auto,
            version: None,
            embedding_space: None,
            claims: Default::default(),
        };
        TargetReport { target: Arc::new(target), calls, passed, last_failure, busy }
    }

    #[test]
    fn verdicts_tell_what_came_between_two_reports() {
        let before = report(10, 7, None, false);
        for (what, after, expected) in [
            ("it passed", report(11, 8, None, false), (1, 1, None)),
            ("all failed", report(13, 7, Some("server_error"), false), (3, 0, Some("server_error"))),
            ("the first failed", report(12, 8, Some("server_error"), false), (2, 1, Some("server_error"))),
            ("one that ran already passed", report(10, 8, None, false), (1, 1, None)),
            ("nothing may be sent there", report(10, 7, None, false), (0, 0, Some("not_permitted"))),
            ("it still runs", report(12, 7, Some("server_error"), true), (2, 0, Some("unanswered"))),
        ] {
            let said = verdict(&before, after);
            assert_eq!((said.calls, said.passed, said.failure), expected, "{what}");
        }
    }
}
