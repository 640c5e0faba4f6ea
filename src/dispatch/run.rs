//! One call's way through the loop: its ledger, its records, its spans.
use std::{sync::Arc, time::Duration};

use sealane_core::{
    domain::{
        AttemptReason, AttemptRecord, AttemptResult, Evidence, Failure, FailureClass, FailureKind, Moment, Target,
    },
    router::{Call, Decision, GiveUp, Observation, Ticket},
};

use tracing::warn;

use super::{CallError, CallFailure, Dispatcher, Served};
use crate::{
    telemetry::{AttemptSpan, CallSpan, Operation},
    upstream::{AttemptOrder, TraceContext, Upstream},
};

/// One call on its way. Dropping it in the middle means that the caller left: the attempt under way is given back
/// unscored, its span says `cancelled`, and the request upstream is closed by its own drop.
pub(super) struct Run<U: Upstream> {
    pub(super) dispatcher: Arc<Dispatcher<U>>,
    pub(super) span: CallSpan,
    operation: Operation,
    call: Call,
    records: Vec<AttemptRecord>,
    under_way: Option<UnderWay>,
}

struct UnderWay {
    ticket: Ticket,
    started: Moment,
    first_content: Option<Duration>,
    span: AttemptSpan,
}

impl<U: Upstream> Run<U> {
    pub(super) fn new(dispatcher: Arc<Dispatcher<U>>, span: CallSpan, operation: Operation, call: Call) -> Self {
        Self { dispatcher, span, operation, call, records: Vec::with_capacity(2), under_way: None }
    }

    /// Asks the router until it names a target; sleeps if it says so.
    pub(super) async fn next_attempt(&mut self) -> Result<AttemptOrder, CallError> {
        loop {
            let now = self.dispatcher.clock.now();
            let decision = self.dispatcher.router().choose(&mut self.call, now);
            match decision {
                Decision::Try { ticket, target, reason, limits, .. } => {
                    let span = self.begin(ticket, target.target(), reason, now);
                    let (traceparent, tracestate) = span.trace_headers();
                    self.under_way = Some(UnderWay { ticket, started: now, first_content: None, span });
                    return Ok(AttemptOrder { target, limits, trace: TraceContext { traceparent, tracestate } });
                }
                Decision::Wait { until } => {
                    tokio::time::sleep_until(self.dispatcher.clock.instant(until)).await;
                }
                Decision::GiveUp(why) => return Err(self.give_up(CallFailure::GaveUp(why))),
            }
        }
    }

    fn begin(&mut self, ticket: Ticket, target: &Arc<Target>, reason: AttemptReason, now: Moment) -> AttemptSpan {
        if let Some(failed) = self.records.last() {
            self.span.failover(failed, target);
        }
        self.records.push(AttemptRecord {
            number: ticket.attempt(),
            target: Arc::clone(target),
            reason,
            start_offset: now.since(self.call.started()),
            duration: Duration::ZERO,
            result: None,
            evidence: Evidence::default(),
        });
        AttemptSpan::start(&self.span, self.operation, target, reason, ticket.attempt())
    }

    /// The first content of the answer is here.
    pub(super) fn first_content(&mut self) {
        let now = self.dispatcher.clock.now();
        if let Some(attempt) = &mut self.under_way
            && attempt.first_content.is_none()
        {
            attempt.first_content = Some(now.since(attempt.started));
        }
    }

    /// The attempt under way answered with a response head.
    pub(super) fn answered(&mut self, evidence: Evidence) {
        if let Some(record) = self.records.last_mut() {
            record.evidence = evidence;
        }
    }

    /// Lets the span of the attempt under way tell more.
    pub(super) fn describe(&self, tell: impl FnOnce(&AttemptSpan)) {
        if let Some(attempt) = &self.under_way {
            tell(&attempt.span);
        }
    }

    /// The attempt under way served the call. `response_id` is Azure's id of the completion.
    pub(super) fn served(&mut self, response_id: Option<&str>) {
        let Some(attempt) = self.under_way.take() else { return };
        let now = self.dispatcher.clock.now();
        let duration = now.since(attempt.started);
        let first_content = attempt.first_content.unwrap_or(duration);
        let Some(record) = self.records.last_mut() else { return };
        record.duration = duration;
        record.result = Some(AttemptResult::Served);
        let observation = Observation::Served { first_content, quota: record.evidence.quota };
        attempt.span.end(record, Some(first_content));
        let first = self.records.first().map(|first| first.target.id);
        if let Some(record) = self.records.last() {
            self.span.served(record, first != Some(record.target.id), response_id);
        }
        self.span.attempts(self.records.len());
        self.observe(attempt.ticket, &observation, now);
    }

    /// The attempt under way failed. Running into the caller's own deadline says nothing about the target.
    pub(super) fn failed(&mut self, failure: Failure) {
        let Some(attempt) = self.under_way.take() else { return };
        let now = self.dispatcher.clock.now();
        let out_of_time = matches!(failure.kind, FailureKind::Silence(_)) && self.out_of_time();
        let Some(record) = self.records.last_mut() else { return };
        record.duration = now.since(attempt.started);
        record.result = Some(AttemptResult::Failed { kind: failure.kind.clone(), maybe_billed: failure.maybe_billed });
        if failure.evidence.http_status.is_some() {
            record.evidence = (*failure.evidence).clone();
        }
        attempt.span.end(record, attempt.first_content);
        self.tell(&failure);
        let observation = if out_of_time { Observation::Cancelled } else { Observation::Failed(failure) };
        self.observe(attempt.ticket, &observation, now);
    }

    /// Logs what an operator should know of. A request that every region would refuse is its caller's business.
    fn tell(&self, failure: &Failure) {
        if failure.class() == FailureClass::Caller {
            return;
        }
        let (Some(record), Some(held_back)) = (self.records.last(), self.dispatcher.failures_told.pass()) else {
            return;
        };
        warn!(
            model = &*record.target.model,
            region = &*record.target.region,
            resource = &*record.target.resource,
            deployment = &*record.target.deployment,
            failure = failure.kind.as_str(),
            http_status = record.evidence.http_status,
            attempt = record.number,
            duration_ms = record.duration.as_millis() as u64,
            request_id = record.evidence.request_id,
            trace_id = self.span.trace_id(),
            held_back,
            "attempt failed"
        );
    }

    /// The caller's time is up.
    pub(super) fn out_of_time(&self) -> bool {
        self.dispatcher.clock.now() >= self.call.terms().deadline
    }

    /// Content is lost that the caller has seen; what follows is a restart.
    pub(super) fn interrupted(&mut self) {
        self.call.interrupted();
    }

    /// The target of the last attempt, and the word for how it failed.
    pub(super) fn last_failure(&self) -> Option<(Arc<Target>, &'static str)> {
        let record = self.records.last()?;
        match &record.result {
            Some(AttemptResult::Failed { kind, .. }) => Some((Arc::clone(&record.target), kind.as_str())),
            _ => None,
        }
    }

    /// Who serves, as far as is known now.
    pub(super) fn so_far(&self) -> Served {
        let options = &self.call.terms().options;
        let serving = self.records.len().saturating_sub(1);
        let serving_region = || self.records.last().map(|record| record.target.region.to_string());
        let pinned_region =
            options.workflow_id.as_ref().and_then(|_| options.pinned_region.clone().or_else(serving_region));
        Served { attempts: self.records.clone(), serving, pinned_region }
    }

    /// The call ends without an answer.
    pub(super) fn give_up(&mut self, failure: CallFailure) -> CallError {
        let failure = match failure {
            CallFailure::GaveUp(why) if self.out_of_time() && !matches!(why, GiveUp::Rejected(_)) => {
                CallFailure::GaveUp(GiveUp::DeadlineExceeded)
            }
            other => other,
        };
        self.span.attempts(self.records.len());
        CallError { failure, attempts: std::mem::take(&mut self.records) }
    }

    fn observe(&mut self, ticket: Ticket, observation: &Observation, now: Moment) {
        self.dispatcher.router().observe(&mut self.call, ticket, observation, now);
        self.dispatcher.announce();
    }
}

impl<U: Upstream> Drop for Run<U> {
    fn drop(&mut self) {
        let Some(attempt) = self.under_way.take() else { return };
        if let Some(record) = self.records.last_mut() {
            record.duration = self.dispatcher.clock.now().since(attempt.started);
            record.result = Some(AttemptResult::Cancelled);
            attempt.span.end(record, attempt.first_content);
        }
        let now = self.dispatcher.clock.now();
        self.dispatcher.router().abandon(attempt.ticket, now);
    }
}
