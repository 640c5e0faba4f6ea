//! A world under paused time and what happened in it.
use std::{fmt::Write as _, sync::Arc, sync::atomic::Ordering, time::Duration};

use futures_util::StreamExt as _;
use sealane::{
    clock::Clock,
    dispatch::{Admission, CallError, CallFailure, Dispatcher, Served, StreamEvent},
    prober,
    telemetry::{CallSpan, Metrics},
};
use sealane_core::{
    domain::{
        AttemptResult, ChatRequest, EmbedRequest, Hedge, Message, OnInterruption, Part, Role, RoutingOptions,
        UpstreamStream,
    },
    policy::Policy,
    router::{Router, Routes, SavedTarget, Snapshot, Standing, Thresholds},
};
use tokio::{
    task::{JoinHandle, JoinSet},
    time::{Instant, sleep_until},
};

use super::shaky::{Arrival, Plan, Shaky};
use crate::support::service::targets;

/// What calls are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Complete, CompleteStream and Embed in turn.
    Mixed,
    /// Complete and Embed of one workflow.
    Pinned,
}

/// One call as its caller saw it.
#[derive(Clone, Debug, Default)]
pub struct Call {
    pub number: usize,
    pub began: Duration,
    pub took: Duration,
    pub error: Option<String>,
    pub served_by: String,
    pub pinned: String,
    pub reasons: Vec<&'static str>,
    pub outcomes: Vec<&'static str>,
}

/// What happened.
pub struct Story {
    pub calls: Vec<Call>,
    pub arrivals: Vec<Arrival>,
    pub saved: Vec<SavedTarget>,
    pub open: u32,
    snapshot: Snapshot,
    origin: sealane_core::domain::Moment,
}

/// The loop over a shaky upstream.
pub struct World {
    dispatcher: Arc<Dispatcher<Shaky>>,
    pub shaky: Shaky,
    keeping: JoinHandle<()>,
    start: Instant,
    origin: sealane_core::domain::Moment,
    hedge: Hedge,
}

impl World {
    pub async fn start(seed: u64, plans: &[(&'static str, Plan)]) -> Self {
        Self::restarted(seed, Shaky::new(seed, plans), &[], Duration::ZERO).await
    }

    /// Another process over the same regions, which takes up what the first one left.
    pub async fn restarted(seed: u64, shaky: Shaky, saved: &[SavedTarget], age: Duration) -> Self {
        let clock = Clock::start();
        let origin = clock.now();
        let routes = Routes::new(targets(UpstreamStream::Auto)).unwrap();
        let mut router = Router::new(routes, Thresholds::default(), seed, origin);
        router.restore(saved, age, origin);
        let dispatcher = Arc::new(Dispatcher::new(shaky.clone(), router, clock));
        let keeper = Arc::clone(&dispatcher);
        let keeping = tokio::spawn(async move { keeper.keep_time(|order| prober::make(&keeper, order)).await });
        Self { dispatcher, shaky, keeping, start: Instant::now(), origin, hedge: Hedge::Configured }
    }

    pub fn never_hedged(self) -> Self {
        Self { hedge: Hedge::Never, ..self }
    }

    pub async fn traffic(self, length: Duration, rate: f64) -> Story {
        self.traffic_of(length, rate, Kind::Mixed).await
    }

    /// Open-loop: a call begins when its time has come, whatever became of those before it.
    pub async fn traffic_of(self, length: Duration, rate: f64, kind: Kind) -> Story {
        let mut running = JoinSet::new();
        let count = (length.as_secs_f64() * rate) as usize;
        for number in 0..count {
            sleep_until(self.start + Duration::from_secs_f64(number as f64 / rate)).await;
            running.spawn(call(Arc::clone(&self.dispatcher), number, kind, self.hedge, self.start));
        }
        let mut calls: Vec<Call> = Vec::new();
        while let Some(call) = running.join_next().await {
            calls.push(call.unwrap());
        }
        calls.sort_by_key(|call| call.number);
        let snapshot = self.dispatcher.snapshot();
        let saved = self.dispatcher.saved();
        self.keeping.abort();
        // Test calls under way end with their tasks.
        while self.shaky.open.load(Ordering::SeqCst) > 0 {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Story {
            calls,
            arrivals: self.shaky.arrivals.lock().unwrap().clone(),
            saved,
            open: self.shaky.open.load(Ordering::SeqCst),
            snapshot,
            origin: self.origin,
        }
    }
}

async fn call(dispatcher: Arc<Dispatcher<Shaky>>, number: usize, kind: Kind, hedge: Hedge, start: Instant) -> Call {
    let began = start.elapsed();
    let embeds = if kind == Kind::Pinned { number % 2 == 1 } else { number % 3 == 2 };
    let options = RoutingOptions {
        workflow_id: (kind == Kind::Pinned).then(|| "run-1".into()),
        on_interruption: OnInterruption::Restart,
        hedge,
        ..RoutingOptions::default()
    };
    let admission = Admission {
        journal: None,
        model: if embeds { "text-embedding-3-large" } else { "gpt-4o" }.to_owned(),
        caller: "team".into(),
        policy: Arc::new(Policy::unrestricted()),
        options,
        deadline: dispatcher.clock().now() + Duration::from_secs(60),
        span: CallSpan::start("test", &http::HeaderMap::new(), None, &Metrics::off()),
    };
    let outcome = if embeds {
        let request = EmbedRequest { inputs: vec!["a passage".into()], ..EmbedRequest::default() };
        dispatcher.embed(admission, &request).await.map(|embedded| embedded.served)
    } else if kind == Kind::Mixed && number % 3 == 1 {
        listen(&dispatcher, admission).await
    } else {
        dispatcher.complete(admission, question()).await.map(|completed| completed.served)
    };
    let mut call = Call { number, began, took: start.elapsed() - began, ..Call::default() };
    let attempts = match outcome {
        Ok(served) => {
            call.served_by = served.by().unwrap().target.region.to_string();
            call.pinned = served.pinned_region.clone().unwrap_or_default();
            served.attempts
        }
        Err(error) => {
            call.error = Some(match &error.failure {
                CallFailure::GaveUp(why) => format!("{why:?}"),
                other => format!("{other:?}"),
            });
            error.attempts
        }
    };
    call.reasons = attempts.iter().map(|attempt| attempt.reason.as_str()).collect();
    call.outcomes = attempts
        .iter()
        .map(|attempt| match &attempt.result {
            None => "running",
            Some(AttemptResult::Served) => "served",
            Some(AttemptResult::Cancelled) => "cancelled",
            Some(AttemptResult::NotSent) => "not_sent",
            Some(AttemptResult::Failed { kind, .. }) => kind.as_str(),
        })
        .collect();
    call
}

async fn listen(dispatcher: &Arc<Dispatcher<Shaky>>, admission: Admission) -> Result<Served, CallError> {
    let mut events = dispatcher.stream(admission, question())?;
    let mut text = String::new();
    while let Some(event) = events.next().await {
        match event? {
            StreamEvent::Restarted { .. } => text.clear(),
            StreamEvent::Piece(sealane_core::domain::ChatEvent::Delta(delta)) => text += &delta.text,
            StreamEvent::End { served, .. } => {
                let by = &served.by().unwrap().target.region;
                assert_eq!(text, format!("from {by}."), "one attempt's text, whole");
                return Ok(served);
            }
            _ => {}
        }
    }
    panic!("a stream without an end");
}

fn question() -> ChatRequest {
    let content = vec![Part::Text("Where is the coolant loop?".into())];
    let message = Message { role: Role::User, content, name: None, tool_calls: vec![], tool_call_id: None };
    ChatRequest { messages: vec![message], ..ChatRequest::default() }
}

impl Story {
    pub fn errors(&self) -> Vec<String> {
        self.calls.iter().filter(|call| call.error.is_some()).map(|call| format!("{call:?}")).collect()
    }

    fn outs(&self, region: &str) -> impl Iterator<Item = Duration> {
        let out = |to: &Standing| matches!(to, Standing::Out { .. });
        let transitions = self.snapshot.transitions.iter();
        let outs = transitions.filter(move |one| out(&one.to) && *one.target.region == *region);
        outs.map(|one| one.at.since(self.origin))
    }

    pub fn went_out(&self, region: &str) -> bool {
        self.outs(region).next().is_some()
    }

    pub fn first_out(&self, region: &str) -> Option<Duration> {
        self.outs(region).min()
    }

    pub fn last_out(&self, region: &str) -> Option<Duration> {
        self.outs(region).max()
    }

    /// Oldest first, as a person reads them.
    pub fn transitions(&self) -> String {
        let mut text = String::new();
        for one in self.snapshot.transitions.iter().rev() {
            let at = one.at.since(self.origin).as_secs_f64();
            let (from, to) = (one.from.as_str(), one.to.as_str());
            let _ =
                writeln!(text, "{at:8.3}s {} {} {from} -> {to}: {}", one.target.region, one.target.model, one.cause);
        }
        text
    }

    /// Everything, to be compared.
    pub fn trace(&self) -> String {
        let mut trace = self.transitions();
        for call in &self.calls {
            let _ = writeln!(trace, "{call:?}");
        }
        for arrival in &self.arrivals {
            let _ = writeln!(trace, "{arrival:?}");
        }
        trace
    }
}
