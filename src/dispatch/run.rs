//! One call's way through the loop: its ledger, its records, its spans.
use std::{sync::Arc, time::Duration};

use sealane_core::{
    domain::{
        AttemptReason, AttemptRecord, AttemptResult, ContentFilterResults, Evidence, Failure, FailureClass,
        FailureKind, FinishReason, Moment, Rejection, ReplyHeader, Target, TargetId, Usage,
    },
    router::{Call, Decision, GiveUp, Observation, Protection, Ticket},
};
use tracing::warn;

use super::{Admission, CallError, CallFailure, Dispatcher, Served, race::Departure};
use crate::{
    audit::{AttemptEnd, CallJournal, Intent, Label, OpenIntent, Outcome, PendingIntent, Place},
    telemetry::{AttemptSpan, CallSpan, Operation},
    upstream::{AttemptOrder, Destination, TraceContext, Upstream},
};

/// What the journal says where the filter itself failed and the text came unfiltered.
const UNFILTERED: &str = "unfiltered";

/// One call on its way. Dropping it in the middle means that the caller left: the attempts under way are given back
/// unscored, their spans say `cancelled`, and the requests upstream are closed by their own drop.
pub(super) struct Run<U: Upstream> {
    pub(super) dispatcher: Arc<Dispatcher<U>>,
    pub(super) span: CallSpan,
    journal: Option<CallJournal>,
    operation: Operation,
    call: Call,
    /// By attempt number, from 1.
    records: Vec<AttemptRecord>,
    /// Two at most: a silent one and the one beside it.
    under_way: Vec<UnderWay>,
    /// Number of the attempt whose answer the caller gets; the last one while none is known.
    serving: Option<u32>,
    /// Targets of which the trace says why they were passed over.
    skipped: Vec<TargetId>,
    /// The last failed attempt's name in the journal.
    failed: Option<Label>,
}

struct UnderWay {
    ticket: Ticket,
    started: Moment,
    first_content: Option<Duration>,
    span: AttemptSpan,
    /// The attempt in the journal, once it has answered; before that the future that makes it has it.
    intent: Option<OpenIntent>,
    /// What the journal will be told of the answer.
    answer: Outcome,
}

/// An attempt that is to be made now.
pub(super) struct Started {
    pub(super) ticket: Ticket,
    pub(super) order: AttemptOrder,
    /// To be durable before anything is sent.
    pub(super) intent: Option<Box<PendingIntent>>,
    /// When to ask whether it needs another one beside it.
    pub(super) protect_at: Option<Moment>,
}

/// Whether a silent attempt gets another one beside it.
pub(super) enum Beside {
    Second(Started),
    Wait { until: Option<Moment> },
}

impl<U: Upstream> Run<U> {
    pub(super) fn new(dispatcher: Arc<Dispatcher<U>>, admission: Admission, operation: Operation, call: Call) -> Self {
        Self {
            dispatcher,
            span: admission.span,
            journal: admission.journal,
            operation,
            call,
            records: Vec::with_capacity(2),
            under_way: Vec::with_capacity(1),
            serving: None,
            skipped: Vec::new(),
            failed: None,
        }
    }

    /// Asks the router until it names a target; sleeps if it says so.
    pub(super) async fn next_attempt(&mut self) -> Result<Started, CallError> {
        loop {
            let now = self.dispatcher.clock.now();
            let decision = self.dispatcher.router().choose(&mut self.call, now);
            match decision {
                Decision::Wait { until } => {
                    tokio::time::sleep_until(self.dispatcher.clock.instant(until)).await;
                }
                Decision::GiveUp(why) => return Err(self.give_up(CallFailure::GaveUp(why))),
                attempt => {
                    if let Some(started) = self.start(attempt, now) {
                        return Ok(started);
                    }
                }
            }
        }
    }

    /// Asks the router whether an attempt without content needs another one beside it.
    pub(super) fn protect(&mut self, ticket: Ticket) -> Beside {
        let now = self.dispatcher.clock.now();
        let protection = self.dispatcher.router().protect(&mut self.call, ticket, now);
        match protection {
            Protection::Wait { until } => Beside::Wait { until },
            Protection::Second(attempt) => {
                self.start(attempt, now).map_or(Beside::Wait { until: None }, Beside::Second)
            }
        }
    }

    fn start(&mut self, decision: Decision, now: Moment) -> Option<Started> {
        let Decision::Try { ticket, target, reason, limits, protect_at } = decision else { return None };
        let destination = self.dispatcher.upstream.destination(target.target());
        let span = self.begin(ticket, target.target(), &destination, reason, now);
        let (traceparent, tracestate) = span.trace_headers();
        let intent = self.intent(ticket, target.target(), &destination, reason, now);
        let answer = Outcome::default();
        self.under_way.push(UnderWay { ticket, started: now, first_content: None, span, intent: None, answer });
        let trace = TraceContext { traceparent, tracestate };
        Some(Started { ticket, order: AttemptOrder { target, limits, trace, test: None }, intent, protect_at })
    }

    fn intent(
        &self,
        ticket: Ticket,
        target: &Target,
        destination: &Destination,
        reason: AttemptReason,
        now: Moment,
    ) -> Option<Box<PendingIntent>> {
        use AttemptReason::{Rescue, Restart, Retry};
        let journal = self.journal.as_ref()?;
        let attempt = Intent {
            attempt_number: ticket.attempt(),
            place: Place::from(target),
            scope_evidence: target.claims.scope_evidence.into(),
            reason: reason.as_str().into(),
            standing: self.dispatcher.router().standing(ticket).map(|standing| standing.as_str().into()),
            api_version: destination.api_version.as_ref().map(Label::from),
            failover_of: self.failed.clone().filter(|_| matches!(reason, Rescue | Retry | Restart)),
            ..Intent::default()
        };
        Some(Box::new(journal.intent(attempt, self.call.terms().deadline.since(now))))
    }

    fn begin(
        &mut self,
        ticket: Ticket,
        target: &Arc<Target>,
        destination: &Destination,
        reason: AttemptReason,
        now: Moment,
    ) -> AttemptSpan {
        if let Some(before) = self.records.last()
            && matches!(before.result, Some(AttemptResult::Failed { .. }))
        {
            self.span.failover(before, target);
        }
        self.tell_skipped(ticket, now);
        self.records.push(AttemptRecord {
            number: ticket.attempt(),
            target: Arc::clone(target),
            reason,
            start_offset: now.since(self.call.started()),
            duration: Duration::ZERO,
            result: None,
            evidence: Evidence::default(),
        });
        let span = AttemptSpan::start(&self.span, self.operation, target, reason, ticket.attempt());
        span.goes_to(destination.host.as_deref(), destination.port);
        span
    }

    /// Has the trace say why the call does not go where its route would first have it; of each target once.
    fn tell_skipped(&mut self, ticket: Ticket, now: Moment) {
        if !self.span.is_exported() {
            return;
        }
        let passed_over = self.dispatcher.router().passed_over(&self.call, ticket, now);
        for (target, why) in passed_over {
            if !self.skipped.contains(&target.id) {
                self.span.skipped(&target, why);
                self.skipped.push(target.id);
            }
        }
    }

    /// The first content of the answer is here. The attempt that brought it serves; those beside it are given up.
    pub(super) fn first_content(&mut self, ticket: Ticket) {
        let now = self.dispatcher.clock.now();
        self.wins(ticket);
        if let Some(attempt) = self.under_way.last_mut() {
            attempt.first_content = Some(now.since(attempt.started));
        }
        self.dispatcher.router().first_content(&mut self.call, ticket, now);
        self.dispatcher.announce();
    }

    /// The attempt is the one whose answer counts; those beside it are given up.
    pub(super) fn wins(&mut self, ticket: Ticket) {
        self.serving = Some(ticket.attempt());
        while let Some(place) = self.under_way.iter().position(|attempt| attempt.ticket != ticket) {
            let attempt = self.under_way.swap_remove(place);
            let (ticket, now) = (attempt.ticket, self.dispatcher.clock.now());
            self.close_cancelled(attempt, now);
            self.observe(ticket, &Observation::Cancelled, now);
        }
    }

    /// When an attempt that has ended, or begins to be answered, had left; and its open record.
    pub(super) fn departed(&mut self, ticket: Ticket, departure: Departure) {
        let Some(attempt) = self.under_way.iter_mut().find(|attempt| attempt.ticket == ticket) else { return };
        if let Some((left, intent)) = departure {
            attempt.started = left;
            attempt.intent = intent;
        }
    }

    /// An attempt was answered with a response head.
    pub(super) fn answered(&mut self, ticket: Ticket, evidence: Evidence) {
        let now = self.dispatcher.clock.now();
        self.dispatcher.router().head_seen(ticket, evidence.quota, now);
        if let Some(record) = self.record(ticket.attempt()) {
            record.evidence = evidence;
        }
        self.heed(ticket);
    }

    /// Compares what Azure said of itself with the configuration.
    fn heed(&self, ticket: Ticket) {
        if let Some(record) = self.records.get(ticket.attempt() as usize - 1) {
            self.dispatcher.heed(&record.target, &record.evidence, Some(&self.span));
        }
    }

    /// An attempt may not be made: the journal cannot record it.
    pub(super) fn not_recorded(&mut self, ticket: Ticket) {
        let Some(place) = self.under_way.iter().position(|attempt| attempt.ticket == ticket) else { return };
        let attempt = self.under_way.swap_remove(place);
        let now = self.dispatcher.clock.now();
        self.close_cancelled(attempt, now);
        self.observe(ticket, &Observation::Cancelled, now);
        if let Some(record) = self.record(ticket.attempt()) {
            record.result = Some(AttemptResult::NotSent);
        }
    }

    fn record(&mut self, number: u32) -> Option<&mut AttemptRecord> {
        self.records.get_mut((number as usize).checked_sub(1)?)
    }

    /// What the completion of the attempt under way says of itself.
    pub(super) fn replied(&mut self, header: &ReplyHeader) {
        let Some(attempt) = self.under_way.last_mut() else { return };
        attempt.span.replied(header);
        if self.journal.is_some() {
            attempt.answer.model_version = Some(header.model.as_str().into());
            attempt.answer.response_id =
                Some(header.response_id.as_str().into()).filter(|_| !header.response_id.is_empty());
        }
        if let Some(record) = self.records.get(attempt.ticket.attempt() as usize - 1) {
            self.dispatcher.replied(&record.target, &header.model);
        }
    }

    /// What the content filter found in the prompt or in a choice of its answer.
    pub(super) fn filtered(&mut self, results: &ContentFilterResults) {
        let Some(attempt) = self.under_way.last_mut().filter(|_| self.journal.is_some()) else { return };
        let found = results.verdicts.iter().filter(|verdict| verdict.is_remarkable()).map(|verdict| &*verdict.category);
        for category in found.chain(results.unfiltered.then_some(UNFILTERED)) {
            let category = Label::from(category);
            if !attempt.answer.content_filter.contains(&category) {
                attempt.answer.content_filter.push(category);
            }
        }
    }

    /// Why its choices ended.
    pub(super) fn finished(&mut self, reasons: impl Iterator<Item = FinishReason> + Clone) {
        let Some(attempt) = self.under_way.last_mut() else { return };
        if self.journal.is_some() {
            attempt.answer.finish_reason = reasons.clone().next().map(|reason| reason.as_str().into());
        }
        attempt.span.finished(reasons);
    }

    /// The tokens it cost.
    pub(super) fn used(&mut self, usage: &Usage) {
        let Some(attempt) = self.under_way.last_mut() else { return };
        attempt.span.used(usage);
        (attempt.answer.input_tokens, attempt.answer.output_tokens) = (usage.input_tokens, usage.output_tokens);
    }

    /// The attempt under way served the call. `response_id` is Azure's id of the completion.
    pub(super) fn served(&mut self, response_id: Option<&str>) {
        let Some(attempt) = self.under_way.pop() else { return };
        let now = self.dispatcher.clock.now();
        let duration = now.since(attempt.started);
        let first_content = attempt.first_content.unwrap_or(duration);
        let first = self.records.first().map(|first| first.target.id);
        let Some(record) = self.record(attempt.ticket.attempt()) else { return };
        record.duration = duration;
        record.result = Some(AttemptResult::Served);
        let observation = Observation::Served { first_content, quota: record.evidence.quota };
        attempt.span.end(record, Some(first_content));
        close_record(attempt.intent, attempt.answer, record, Some(first_content));
        if let Some(record) = self.records.get(attempt.ticket.attempt() as usize - 1) {
            self.span.served(record, first != Some(record.target.id), response_id);
        }
        self.span.attempts(self.records.len());
        self.observe(attempt.ticket, &observation, now);
    }

    /// The attempt that serves failed after all.
    pub(super) fn serving_failed(&mut self, failure: Failure) {
        if let Some(ticket) = self.under_way.last().map(|attempt| attempt.ticket) {
            self.failed(ticket, failure);
        }
    }

    /// An attempt failed. Running into the caller's own deadline says nothing about the target.
    pub(super) fn failed(&mut self, ticket: Ticket, failure: Failure) {
        let Some(place) = self.under_way.iter().position(|attempt| attempt.ticket == ticket) else { return };
        let attempt = self.under_way.swap_remove(place);
        let now = self.dispatcher.clock.now();
        let out_of_time = matches!(failure.kind, FailureKind::Silence(_)) && self.out_of_time();
        let Some(record) = self.record(ticket.attempt()) else { return };
        record.duration = now.since(attempt.started);
        record.result = Some(AttemptResult::Failed { kind: failure.kind.clone(), maybe_billed: failure.maybe_billed });
        if failure.evidence.http_status.is_some() {
            record.evidence = (*failure.evidence).clone();
        }
        attempt.span.end(record, attempt.first_content);
        self.heed(ticket);
        self.failed = attempt.intent.as_ref().map(|intent| intent.attempt().clone());
        if let Some(record) = self.records.get(ticket.attempt() as usize - 1) {
            close_record(attempt.intent, attempt.answer, record, attempt.first_content);
        }
        self.tell(ticket, &failure);
        let observation = if out_of_time { Observation::Cancelled } else { Observation::Failed(failure) };
        self.observe(ticket, &observation, now);
    }

    /// Logs what an operator should know of. A request that every region would refuse is its caller's business.
    fn tell(&self, ticket: Ticket, failure: &Failure) {
        if failure.class() == FailureClass::Caller {
            return;
        }
        let record = self.records.get(ticket.attempt() as usize - 1);
        let (Some(record), Some(held_back)) = (record, self.dispatcher.failures_told.pass()) else {
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

    /// The target whose content the caller has seen, and the word for how it failed.
    pub(super) fn last_failure(&self) -> Option<(Arc<Target>, &'static str)> {
        let record = self.records.get((self.serving? as usize).checked_sub(1)?)?;
        match &record.result {
            Some(AttemptResult::Failed { kind, .. }) => Some((Arc::clone(&record.target), kind.as_str())),
            _ => None,
        }
    }

    /// Who serves, as far as is known now.
    pub(super) fn so_far(&self) -> Served {
        let attempts: Vec<AttemptRecord> = self.records.iter().filter(|record| record.was_sent()).cloned().collect();
        let serving = attempts.iter().position(|record| Some(record.number) == self.serving);
        let serving = serving.unwrap_or_else(|| attempts.len().saturating_sub(1));
        let pinned = self.call.pinned_region().filter(|_| self.call.terms().options.workflow_id.is_some());
        Served { attempts, serving, pinned_region: pinned.map(|region| region.to_string()) }
    }

    /// The call ends without an answer.
    pub(super) fn give_up(&mut self, failure: CallFailure) -> CallError {
        let failure = match failure {
            CallFailure::GaveUp(why) if self.out_of_time() && !matches!(why, GiveUp::Rejected(_)) => {
                CallFailure::GaveUp(GiveUp::DeadlineExceeded)
            }
            other => other,
        };
        let mut attempts = std::mem::take(&mut self.records);
        attempts.retain(AttemptRecord::was_sent);
        self.span.attempts(attempts.len());
        CallError { failure, model: Arc::clone(&self.call.terms().route.model), attempts }
    }

    fn observe(&mut self, ticket: Ticket, observation: &Observation, now: Moment) {
        self.dispatcher.router().observe(&mut self.call, ticket, observation, now);
        self.dispatcher.announce();
    }

    fn close_cancelled(&mut self, attempt: UnderWay, now: Moment) {
        if let Some(record) = self.record(attempt.ticket.attempt()) {
            record.duration = now.since(attempt.started);
            record.result = Some(AttemptResult::Cancelled);
            attempt.span.end(record, attempt.first_content);
            close_record(attempt.intent, attempt.answer, record, attempt.first_content);
        }
    }
}

/// Tells the journal how an attempt ended. One that never answered closes its own record when it is dropped.
fn close_record(intent: Option<OpenIntent>, answer: Outcome, record: &AttemptRecord, first_content: Option<Duration>) {
    let Some(intent) = intent else { return };
    let micros = |span: Duration| u64::try_from(span.as_micros()).unwrap_or(u64::MAX);
    let (result, failure, maybe_billed) = match &record.result {
        Some(AttemptResult::Served) => (AttemptEnd::Served, None, false),
        Some(AttemptResult::Failed { kind, maybe_billed }) => (AttemptEnd::Failed, Some(kind.as_str()), *maybe_billed),
        Some(AttemptResult::NotSent) => (AttemptEnd::NotSent, None, false),
        Some(AttemptResult::Cancelled) | None => (AttemptEnd::Cancelled, None, true),
    };
    let said = &record.evidence;
    let label = |text: &Option<String>| text.as_deref().map(Label::from);
    let blocked: &[String] = match &record.result {
        Some(AttemptResult::Failed {
            kind: FailureKind::Rejected(Rejection::PromptBlocked { categories }), ..
        }) => categories,
        _ => &[],
    };
    let content_filter =
        answer.content_filter.into_iter().chain(blocked.iter().map(|one| one.as_str().into())).collect();
    intent.outcome(Outcome {
        result,
        content_filter,
        failure: failure.map(Label::from),
        maybe_billed,
        http_status: said.http_status,
        reported_region: label(&said.reported_region),
        reported_deployment: label(&said.reported_deployment),
        mismatch: record.mismatch().is_some(),
        spilled_over: said.spilled_over,
        upstream_request_id: label(&said.request_id),
        model_request_id: label(&said.model_request_id),
        first_content_us: first_content.map(micros),
        duration_us: micros(record.duration),
        ..answer
    });
}

impl<U: Upstream> Drop for Run<U> {
    fn drop(&mut self) {
        let now = self.dispatcher.clock.now();
        for attempt in std::mem::take(&mut self.under_way) {
            let ticket = attempt.ticket;
            self.close_cancelled(attempt, now);
            self.dispatcher.router().abandon(ticket, now);
            self.dispatcher.announce();
        }
    }
}
