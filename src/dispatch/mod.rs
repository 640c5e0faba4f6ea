//! The one loop: choose, attempt, observe, and again until the call has its answer or none is to be had.
//!
//! `Run` is one call's way through it; whole answers (`whole`), streamed ones (`streamed`) and the batches of an
//! ingestion (`ingest`) share it. `unread` ends streams that their callers leave unread.
mod error;
mod evidence;
mod ingest;
mod opening;
mod operator;
mod race;
mod run;
mod served;
mod streamed;
mod unread;
mod whole;

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use sealane_core::{
    domain::{AttemptRecord, Drift, ModelKind, Moment, Quota, RoutingOptions, Target, Vector},
    policy::Policy,
    router::{
        Call, CallTerms, Delivery, Reference, Route, Router, Routes, SavedTarget, Snapshot, TestOrder, TestResult,
        Thresholds, Ticket,
    },
};
use tokio::sync::{Notify, watch};

use self::unread::OpenStreams;
pub use self::{
    error::{CallError, CallFailure},
    ingest::{
        Allowance, Answers, IngestError, IngestEvent, IngestLimits, IngestSummary, IngestTerms, Ingestion, ItemAnswer,
        Leave, NoLeave,
    },
    operator::Validated,
    served::Served,
    streamed::{AnswerStream, StreamEvent},
    whole::{Completed, Embedded},
};
use crate::{
    audit::{CallJournal, Label},
    clock::Clock,
    telemetry::{CallSpan, FloodGate, Metrics},
    upstream::Upstream,
};

const LONGEST_TICK: Duration = Duration::from_secs(1);

/// In an outage every call has a failed attempt to tell of; the log must not become the second outage.
const FAILURE_LINES_PER_SECOND: u32 = 10;

/// Carries calls to where the router says. One for the process; shared by all handlers.
#[derive(Debug)]
pub struct Dispatcher<U> {
    upstream: U,
    /// Locked for `choose` and `observe` only, never across an await (docs/adr/0001).
    router: Mutex<Router>,
    clock: Clock,
    revision: watch::Sender<u64>,
    /// Wakes attempts in flight, in the order in which they began to wait (`watch` wakes in a random one).
    changed: Notify,
    failures_told: FloodGate,
    streams: OpenStreams,
    metrics: Metrics,
}

/// What a call brings along when it is admitted.
#[derive(Debug)]
pub struct Admission {
    /// The logical model name.
    pub model: String,
    /// Who calls; empty if callers are not told apart.
    pub caller: Arc<str>,
    /// The caller's policy.
    pub policy: Arc<Policy>,
    /// What the request asks for.
    pub options: RoutingOptions,
    /// When the caller stops waiting.
    pub deadline: Moment,
    /// The server span of the call.
    pub span: CallSpan,
    /// The call's records; `None` where no journal is kept.
    pub journal: Option<CallJournal>,
}

impl Admission {
    /// The same for one batch of an ingestion: a call of its own in the journal, below the ingestion's server span.
    fn of_a_batch(&self, deadline: Moment) -> Self {
        Self {
            model: self.model.clone(),
            caller: Arc::clone(&self.caller),
            policy: Arc::clone(&self.policy),
            options: self.options.clone(),
            deadline: self.deadline.min(deadline),
            span: self.span.clone(),
            journal: self.journal.as_ref().map(CallJournal::of_another_call),
        }
    }
}

impl<U: Upstream> Dispatcher<U> {
    /// Carries calls to `upstream` as `router` says.
    pub fn new(upstream: U, router: Router, clock: Clock) -> Self {
        let (revision, _) = watch::channel(router.revision());
        let failures_told = FloodGate::new(FAILURE_LINES_PER_SECOND);
        Self {
            upstream,
            router: Mutex::new(router),
            clock,
            revision,
            changed: Notify::new(),
            failures_told,
            streams: OpenStreams::default(),
            metrics: Metrics::off(),
        }
    }

    /// Has its calls counted.
    #[must_use]
    pub fn measured_by(mut self, metrics: Metrics) -> Self {
        self.metrics = metrics;
        self
    }

    /// What counts its calls.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// The clock that deadlines are counted by.
    pub fn clock(&self) -> Clock {
        self.clock
    }

    /// What the router knows now.
    pub fn snapshot(&self) -> Snapshot {
        self.router().snapshot(self.clock.now())
    }

    /// Changes whenever the snapshot tells something new.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.revision.subscribe()
    }

    /// Lets time pass for the router, says what changed to those who watch, has `make` make the test calls that become
    /// due, and ends streams that nobody reads, within two seconds of their deadline; runs until dropped.
    pub async fn keep_time(&self, mut make: impl FnMut(TestOrder)) {
        let mut changes = self.changes();
        loop {
            let now = self.clock.now();
            self.streams.end_overdue(now);
            let due = self.router().due(now);
            self.announce();
            due.tests.into_iter().for_each(&mut make);
            // Never longer than a tick: a timer that is set while none is nearer costs the runtime a system call, and
            // every call sets some.
            let tick = self.clock.now() + LONGEST_TICK;
            let sleep = tokio::time::sleep_until(self.clock.instant(due.next.map_or(tick, |at| at.min(tick))));
            tokio::select! {
                // Chance is an argument: the same seed must tell the same story.
                biased;
                () = sleep => {}
                changed = changes.changed() => if changed.is_err() { return },
            }
        }
    }

    /// The upstream that attempts and test calls go through.
    pub fn upstream(&self) -> &U {
        &self.upstream
    }

    /// The routes in force.
    pub fn routes(&self) -> Routes {
        self.router().routes().clone()
    }

    /// Goes by another configuration; see [`Router::reconfigure`].
    pub fn reconfigure(&self, routes: Routes, thresholds: Thresholds, policies: Vec<Arc<Policy>>) {
        self.metrics.prepare(routes.targets_in_use().map(|target| &**target));
        self.router().reconfigure(routes, thresholds, policies, self.clock.now());
        self.announce();
    }

    /// An attempt whose record is durable leaves now.
    fn departs(&self, ticket: Ticket) -> Moment {
        let now = self.clock.now();
        self.router().departs(ticket, now);
        now
    }

    /// A reply from the target says to come from `model`; where the target is meant to serve a certain version, the
    /// router is told whether it does.
    pub fn replied(&self, target: &Target, model: &str) {
        if let Some(expected) = &target.version {
            self.router().version_seen(target.id, expected.differs_from(model));
            self.announce();
        }
    }

    /// A test call embedded the reference text: its vector, or why that is none of the target's space.
    pub fn compared(&self, target: &Target, said: Result<Vector, Drift>) {
        self.router().compared(target.id, said, self.clock.now());
        self.announce();
    }

    /// Tells the router how a test call ended, and what its answer said of the target's limits.
    pub fn tested(&self, order: &TestOrder, result: &TestResult, quota: Quota) {
        let now = self.clock.now();
        {
            let mut router = self.router();
            router.limits_seen(order.target.target().id, quota, now);
            router.tested(order, result, now);
        }
        self.announce();
    }

    /// How many embedding spaces have settled their reference vectors.
    pub fn count_references(&self) -> usize {
        self.router().count_references()
    }

    /// The reference vectors of embedding spaces that are settled.
    pub fn references(&self) -> Vec<Reference> {
        self.router().references()
    }

    /// What a restart must not forget.
    pub fn saved(&self) -> Vec<SavedTarget> {
        self.router().saved(self.clock.now())
    }

    fn router(&self) -> MutexGuard<'_, Router> {
        // The router leaves no half-made state behind: each method is complete or has not begun.
        self.router.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn announce(&self) {
        let revision = self.router().revision();
        if self.revision.send_if_modified(|known| std::mem::replace(known, revision) != revision) {
            self.changed.notify_waiters();
        }
    }

    /// When the youngest attempt or test call began that any of the regions served which were asked in `attempts`.
    fn proof_began(&self, attempts: &[AttemptRecord]) -> Option<Moment> {
        self.router().proof_began(attempts.iter().map(|attempt| attempt.target.id))
    }

    /// The fewest tokens a minute that any target of the model is known to take.
    fn tokens_per_minute(&self, model: &str) -> Option<u32> {
        let (router, now) = (self.router(), self.clock.now());
        router.routes().find(model).and_then(|route| router.tokens_per_minute(route, now))
    }

    fn route(&self, model: &str, kind: ModelKind) -> Result<Arc<Route>, CallError> {
        let route = self.router().routes().find(model).cloned();
        let failure = match route {
            Some(route) if route.kind == kind => return Ok(route),
            Some(route) => CallFailure::WrongModelKind { model: model.to_owned(), kind: route.kind },
            None => CallFailure::UnknownModel { model: model.to_owned() },
        };
        Err(CallError::refused(model, failure))
    }

    /// Whether targets of the route answer unary calls by streaming. The route's first target speaks for all.
    fn assembles(&self, route: &Route) -> bool {
        use sealane_core::domain::UpstreamStream;
        let router = self.router();
        let first = route.targets.first().and_then(|id| router.routes().targets().get(usize::from(id.0)));
        first.is_some_and(|target| target.upstream_stream == UpstreamStream::Auto)
    }

    /// The call as the router sees it. Its policy is asked here for journal and trace, and by the router for each
    /// attempt.
    fn admit(&self, admission: &mut Admission, route: Arc<Route>, delivery: Delivery, prompt_tokens: u64) -> Call {
        if admission.journal.is_some() || admission.span.is_exported() {
            let (permitted, restricted) = self.permitted_regions(&route, &admission.policy, &admission.options);
            admission.span.permitted(permitted.iter().map(Label::as_str), restricted);
            if let Some(journal) = admission.journal.as_mut().filter(|_| !permitted.is_empty()) {
                journal.learn(|facts| {
                    facts.operation = if delivery == Delivery::Embedded { "embeddings" } else { "chat" }.into();
                    facts.stream = delivery == Delivery::Streamed;
                    facts.permitted = permitted;
                });
                journal.admit();
            }
        }
        let terms = CallTerms {
            caller: Arc::clone(&admission.caller),
            route,
            policy: Arc::clone(&admission.policy),
            options: Arc::new(admission.options.clone()),
            delivery,
            prompt_tokens,
            deadline: admission.deadline,
        };
        Call::new(terms, self.clock.now())
    }

    /// In route order, each once; and whether some target of the route is not permitted.
    fn permitted_regions(&self, route: &Route, policy: &Policy, options: &RoutingOptions) -> (Vec<Label>, bool) {
        let router = self.router();
        let (mut regions, mut restricted) = (Vec::<Label>::new(), false);
        for target in route.targets.iter().filter_map(|id| router.routes().targets().get(usize::from(id.0))) {
            if policy.permit(target, options).is_err() {
                restricted = true;
                continue;
            }
            let region = Label::from(&target.region);
            if !regions.contains(&region) {
                regions.push(region);
            }
        }
        (regions, restricted)
    }
}
