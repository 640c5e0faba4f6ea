//! An upstream that plays a script: what each region answers, in order; the last line of a script repeats.
use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use futures_util::{StreamExt as _, stream};
use sealane::upstream::{AttemptOrder, ChatStream, CredentialView, TraceContext, Upstream};
use sealane_core::domain::{
    ChatEvent, ChatReply, ChatRequest, ContentFilterResults, Delta, EmbedReply, EmbedRequest, Evidence, Failure,
    FailureKind, FinishReason, Quota, ReplyAssembly, ReplyHeader, Silence, Usage, Vector,
};

/// One line of a region's script.
#[derive(Clone, Debug)]
pub enum Line {
    /// Answers with this text, word by word.
    Says(&'static str),
    /// Fails before any content.
    Fails(FailureKind),
    /// Never says anything.
    Hangs,
    /// Says this, then fails.
    Breaks(&'static str, FailureKind),
    /// Says this, then nothing more.
    Stalls(&'static str),
}

/// The upstream. Clones share everything.
#[derive(Clone, Default)]
pub struct Scripted {
    scripts: Arc<Mutex<HashMap<String, VecDeque<Line>>>>,
    seen: Arc<Mutex<Vec<Seen>>>,
    open: Arc<AtomicU32>,
    /// What `x-ms-region` says instead of the target's own region.
    reported: Option<&'static str>,
}

/// An attempt that reached the upstream.
#[derive(Clone, Debug)]
pub struct Seen {
    pub region: String,
    pub trace: TraceContext,
    pub first_content: Duration,
}

/// Counts the attempts that are under way.
struct Open(Arc<AtomicU32>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Scripted {
    pub fn with(self, region: &str, lines: impl IntoIterator<Item = Line>) -> Self {
        self.scripts.lock().unwrap().insert(region.to_owned(), lines.into_iter().collect());
        self
    }

    /// Every answer says that it comes from this region.
    pub fn reporting(mut self, region: &'static str) -> Self {
        self.reported = Some(region);
        self
    }

    fn evidence(&self, order: &AttemptOrder) -> Evidence {
        let region = self.reported.map_or_else(|| order.target.target().region.to_uppercase(), str::to_owned);
        Evidence {
            http_status: Some(200),
            reported_region: Some(region),
            request_id: Some("apim-1".into()),
            quota: Quota { remaining_tokens: Some(90_000), ..Quota::default() },
            ..Evidence::default()
        }
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    pub fn regions_seen(&self) -> Vec<String> {
        self.seen().into_iter().map(|seen| seen.region).collect()
    }

    /// Attempts under way.
    pub fn open(&self) -> u32 {
        self.open.load(Ordering::SeqCst)
    }

    /// Test calls see what the region's script stands at and leave it there; they are not told of.
    fn next(&self, order: &AttemptOrder) -> (Line, Open) {
        let region = order.target.target().region.to_string();
        self.open.fetch_add(1, Ordering::SeqCst);
        if order.test.is_some() {
            let line = self.scripts.lock().unwrap().get(&region).and_then(|script| script.front().cloned());
            return (line.unwrap_or(Line::Says("hello there")), Open(Arc::clone(&self.open)));
        }
        self.seen.lock().unwrap().push(Seen {
            region: region.clone(),
            trace: order.trace.clone(),
            first_content: order.limits.first_content,
        });
        let mut scripts = self.scripts.lock().unwrap();
        let script = scripts.entry(region).or_default();
        let line = if script.len() > 1 { script.pop_front() } else { script.front().cloned() };
        (line.unwrap_or(Line::Says("hello there")), Open(Arc::clone(&self.open)))
    }
}

fn events(text: &'static str) -> Vec<ChatEvent> {
    let header =
        ReplyHeader { response_id: "chatcmpl-1".into(), model: "gpt-4o-2024-11-20".into(), ..ReplyHeader::default() };
    let words = text.split_inclusive(' ').map(|word| ChatEvent::Delta(Delta { text: word.into(), ..Delta::default() }));
    [ChatEvent::Header(header), ChatEvent::Delta(Delta::default())].into_iter().chain(words).collect()
}

fn ending() -> [ChatEvent; 2] {
    let usage = Usage { input_tokens: 3, output_tokens: 2, total_tokens: 5, ..Usage::default() };
    [
        ChatEvent::Finish { choice: 0, reason: FinishReason::Stop, filter: ContentFilterResults::default() },
        ChatEvent::Usage(usage),
    ]
}

async fn silence(limit: Duration, silence: Silence) -> Failure {
    tokio::time::sleep(limit).await;
    Failure::without_response(FailureKind::Silence(silence))
}

impl Upstream for Scripted {
    fn credentials(&self) -> Vec<CredentialView> {
        let left = Some(std::time::Duration::from_secs(1800));
        vec![CredentialView { resource: "swedencentral".into(), problem: None, left }]
    }

    async fn stream_chat(&self, order: &AttemptOrder, _request: &ChatRequest) -> Result<ChatStream, Failure> {
        let (line, open) = self.next(order);
        let limits = order.limits;
        let mut items: Vec<Result<ChatEvent, Failure>> = Vec::new();
        let mut last = None;
        match line {
            Line::Fails(kind) => return Err(Failure::without_response(kind)),
            Line::Hangs => return Err(silence(limits.first_content, Silence::FirstContent).await),
            Line::Says(text) => items.extend(events(text).into_iter().chain(ending()).map(Ok)),
            Line::Breaks(text, kind) => {
                items.extend(events(text).into_iter().map(Ok));
                items.push(Err(Failure::without_response(kind)));
            }
            Line::Stalls(text) => {
                items.extend(events(text).into_iter().map(Ok));
                let total = limits.total < limits.stall;
                last = Some((limits.stall.min(limits.total), if total { Silence::Total } else { Silence::Stall }));
            }
        }
        let tail = stream::iter(last).then(|(limit, kind)| async move { Err(silence(limit, kind).await) });
        let events = stream::iter(items).chain(tail).map(move |item| {
            let _open = &open;
            item
        });
        Ok(ChatStream { evidence: self.evidence(order), events: Box::pin(events) })
    }

    async fn complete_chat(
        &self,
        order: &AttemptOrder,
        request: &ChatRequest,
    ) -> Result<(ChatReply, Evidence), Failure> {
        let stream = self.stream_chat(order, request).await?;
        let mut events = stream.events;
        let mut assembly = ReplyAssembly::new();
        while let Some(event) = events.next().await {
            assembly.push(event?);
        }
        Ok((assembly.finish(), stream.evidence))
    }

    async fn embed(&self, order: &AttemptOrder, request: &EmbedRequest) -> Result<EmbedReply, Failure> {
        let (line, _open) = self.next(order);
        match line {
            Line::Fails(kind) | Line::Breaks(_, kind) => Err(Failure::without_response(kind)),
            Line::Hangs | Line::Stalls(_) => Err(silence(order.limits.first_content, Silence::FirstContent).await),
            Line::Says(_) => Ok(EmbedReply {
                model: "text-embedding-3-large".into(),
                vectors: request.inputs.iter().map(|text| Vector::from_components([1.0, text.len() as f32])).collect(),
                usage: Usage { input_tokens: 7, total_tokens: 7, ..Usage::default() },
                evidence: self.evidence(order),
            }),
        }
    }

    async fn list_models(&self, _order: &AttemptOrder) -> Result<(), Failure> {
        Ok(())
    }
}
