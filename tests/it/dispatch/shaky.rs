//! An upstream whose regions do what a plan says at the (paused) time, with latencies drawn from a seed.
use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use futures_util::{StreamExt as _, stream};
use sealane::upstream::{AttemptOrder, ChatStream, Upstream};
use sealane_core::domain::{
    ChatEvent, ChatReply, ChatRequest, ConnectFailure, ContentFilterResults, Delta, EmbedReply, EmbedRequest, Evidence,
    Failure, FailureKind, FinishReason, ReplyAssembly, ReplyHeader, Silence, Usage, Vector,
};
use tokio::time::{Instant, sleep};

/// What a region does.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Mood {
    /// Answers.
    Well,
    /// 503 at once.
    Down,
    /// Refuses connections.
    Refusing,
    /// Never says anything.
    Silent,
    /// Takes this many times as long.
    Slow(u32),
    /// Fails this percentage at random.
    Flaky(u32),
    /// Half of its answers break off in the middle.
    Cutting,
    /// 429 with this hint in seconds.
    Throttling(u64),
}

/// From this second on, a region is in this mood.
pub type Plan = &'static [(u64, Mood)];

/// One attempt that reached a region.
#[derive(Clone, Debug)]
pub struct Arrival {
    pub at: Duration,
    pub region: String,
    pub test: bool,
}

/// The upstream; clones share everything.
#[derive(Clone)]
pub struct Shaky {
    plans: Arc<HashMap<&'static str, Plan>>,
    start: Instant,
    random: Arc<Mutex<u64>>,
    pub arrivals: Arc<Mutex<Vec<Arrival>>>,
    pub open: Arc<AtomicU32>,
}

struct Open(Arc<AtomicU32>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Typical time to first content.
const USUAL: Duration = Duration::from_millis(600);

impl Shaky {
    pub fn new(seed: u64, plans: &[(&'static str, Plan)]) -> Self {
        Self {
            plans: Arc::new(plans.iter().copied().collect()),
            start: Instant::now(),
            random: Arc::new(Mutex::new(seed)),
            arrivals: Arc::default(),
            open: Arc::default(),
        }
    }

    pub fn fraction(&self) -> f64 {
        let mut state = self.random.lock().unwrap();
        *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = *state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }

    fn mood(&self, region: &str) -> Mood {
        let plan = self.plans.get(region).copied().unwrap_or(&[]);
        let elapsed = self.start.elapsed().as_secs();
        plan.iter().rev().find(|(from, _)| *from <= elapsed).map_or(Mood::Well, |(_, mood)| *mood)
    }

    /// 0.5 to 2 times the usual, the median in the middle.
    fn latency(&self) -> Duration {
        USUAL.mul_f64(2f64.powf(self.fraction() * 2.0 - 1.0))
    }

    /// Waits and fails as the mood says; answers whether the answer is to be cut.
    async fn meet(&self, order: &AttemptOrder) -> Result<bool, Failure> {
        let region = order.target.target().region.to_string();
        let mood = self.mood(&region);
        let at = self.start.elapsed();
        self.arrivals.lock().unwrap().push(Arrival { at, region, test: order.test.is_some() });
        let usual = self.latency();
        let fails = |kind| Err(Failure::without_response(kind));
        let answered = |kind| {
            let evidence = Evidence { http_status: Some(503), ..Evidence::default() };
            Err(Failure { kind, evidence: Box::new(evidence), maybe_billed: true })
        };
        match mood {
            Mood::Well => wait(usual, order).await.map(|()| false),
            Mood::Down => answered(FailureKind::Unavailable),
            Mood::Refusing => fails(FailureKind::Connect(ConnectFailure::Refused)),
            Mood::Silent => wait(Duration::from_secs(3600), order).await.map(|()| false),
            Mood::Slow(times) => wait(usual * times, order).await.map(|()| false),
            Mood::Flaky(percent) if self.fraction() * 100.0 < f64::from(percent) => answered(FailureKind::ServerError),
            Mood::Flaky(_) => wait(usual, order).await.map(|()| false),
            Mood::Cutting => {
                let cut = self.fraction() < 0.5;
                wait(usual, order).await.map(|()| cut)
            }
            Mood::Throttling(hint) => answered(FailureKind::Throttled { retry_after: Duration::from_secs(hint) }),
        }
    }

    fn open(&self) -> Open {
        self.open.fetch_add(1, Ordering::SeqCst);
        Open(Arc::clone(&self.open))
    }
}

async fn wait(span: Duration, order: &AttemptOrder) -> Result<(), Failure> {
    let limit = order.limits.first_content.min(order.limits.total);
    sleep(span.min(limit)).await;
    if span > limit {
        return Err(Failure::without_response(FailureKind::Silence(Silence::FirstContent)));
    }
    Ok(())
}

fn evidence() -> Evidence {
    Evidence { http_status: Some(200), ..Evidence::default() }
}

impl Upstream for Shaky {
    async fn stream_chat(&self, order: &AttemptOrder, _request: &ChatRequest) -> Result<ChatStream, Failure> {
        let open = self.open();
        let cut = self.meet(order).await?;
        let region = order.target.target().region.to_string();
        let header = ReplyHeader { response_id: "chatcmpl-1".into(), model: "gpt-4o".into(), ..Default::default() };
        let text = |text: String| ChatEvent::Delta(Delta { text, ..Delta::default() });
        let mut events =
            vec![Ok(ChatEvent::Header(header)), Ok(text("from ".into())), Ok(text(region)), Ok(text(".".into()))];
        if cut {
            events.truncate(3);
            events.push(Err(Failure::without_response(FailureKind::Truncated)));
        } else {
            let filter = ContentFilterResults::default();
            events.push(Ok(ChatEvent::Finish { choice: 0, reason: FinishReason::Stop, filter }));
            events.push(Ok(ChatEvent::Usage(Usage { total_tokens: 20, ..Usage::default() })));
        }
        let events = stream::iter(events).then(move |event| {
            let _open = &open;
            async move {
                sleep(Duration::from_millis(20)).await;
                event
            }
        });
        Ok(ChatStream { evidence: evidence(), events: Box::pin(events) })
    }

    async fn complete_chat(
        &self,
        order: &AttemptOrder,
        request: &ChatRequest,
    ) -> Result<(ChatReply, Evidence), Failure> {
        let mut stream = self.stream_chat(order, request).await?;
        let mut assembly = ReplyAssembly::new();
        while let Some(event) = stream.events.next().await {
            assembly.push(event?);
        }
        Ok((assembly.finish(), stream.evidence))
    }

    async fn embed(&self, order: &AttemptOrder, request: &EmbedRequest) -> Result<EmbedReply, Failure> {
        let _open = self.open();
        if self.meet(order).await? {
            return Err(Failure::without_response(FailureKind::Truncated));
        }
        Ok(EmbedReply {
            model: "text-embedding-3-large".into(),
            vectors: request.inputs.iter().map(|text| Vector::from_components([1.0, text.len() as f32])).collect(),
            usage: Usage { total_tokens: 8, ..Usage::default() },
            evidence: evidence(),
        })
    }

    async fn list_models(&self, order: &AttemptOrder) -> Result<(), Failure> {
        match self.mood(&order.target.target().region) {
            Mood::Refusing => Err(Failure::without_response(FailureKind::Connect(ConnectFailure::Refused))),
            Mood::Silent => wait(Duration::from_secs(3600), order).await,
            _ => Ok(()),
        }
    }
}
