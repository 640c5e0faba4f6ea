//! Makes the test calls that the router asks for, and tells it how they ended.
use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use futures_util::StreamExt as _;
use sealane_core::{
    domain::{
        AttemptLimits, BadResponse, ChatEvent, ChatRequest, EmbedRequest, Evidence, Failure, FailureKind, Message,
        ModelKind, Part, REFERENCE_TEXT, Role, Silence, Target,
    },
    router::{TestKind, TestOrder, TestResult},
};
use tokio::time::{Instant, timeout};
use tracing::debug;

use crate::{
    dispatch::Dispatcher,
    upstream::{AttemptOrder, TestCall, TraceContext, Upstream},
};

/// The same words in every test call of chat, for ever: no caller's data, nothing to filter, a few tokens.
const NEUTRAL_TEXT: &str = "Reply with the word ready.";

/// Output tokens of a deep call. One token would do, but some models refuse so small a cap (BerriAI/litellm#26987).
const OUTPUT_TOKENS: u32 = 16;

/// The same for models that reason, which may spend them all in silence; ending at the cap is a pass.
const OUTPUT_TOKENS_REASONING: u32 = 256;

/// A call that has content may take this long to end properly.
const TO_THE_END: Duration = Duration::from_secs(5);

/// Makes one test call, in a task of its own. Its result reaches the router even if the task is cancelled.
pub fn make<U: Upstream>(dispatcher: &Arc<Dispatcher<U>>, order: TestOrder) {
    let dispatcher = Arc::clone(dispatcher);
    tokio::spawn(async move {
        let (result, evidence) = run(&dispatcher, &order).await;
        let target = order.target.target();
        dispatcher.heed(target, &evidence, None);
        debug!(
            model = &*target.model,
            region = &*target.region,
            deployment = &*target.deployment,
            kind = ?order.kind,
            purpose = ?order.purpose,
            result = match &result {
                TestResult::Passed { .. } => "passed",
                TestResult::Failed(failure) => failure.kind.as_str(),
            },
            "test call"
        );
        dispatcher.tested(&order, &result, evidence.quota);
    });
}

/// What a test call that passed has shown.
#[derive(Default)]
struct Passed {
    first_content: Duration,
    tokens: u64,
    evidence: Evidence,
}

async fn run<U: Upstream>(dispatcher: &Dispatcher<U>, order: &TestOrder) -> (TestResult, Evidence) {
    let upstream = dispatcher.upstream();
    let limits = AttemptLimits {
        first_content: order.limit,
        stall: TO_THE_END,
        total: order.limit + TO_THE_END,
        rescue_by: order.limit + TO_THE_END,
    };
    let attempt = AttemptOrder {
        target: order.target.clone(),
        limits,
        trace: TraceContext::default(),
        test: Some(TestCall { fresh_connection: order.fresh_connection }),
    };
    let started = Instant::now();
    // The upstream keeps these limits itself; this is for the one that does not.
    let answer = timeout(limits.total, async {
        match (order.kind, order.target.target().kind) {
            (TestKind::Cheap, _) => {
                upstream.list_models(&attempt).await?;
                Ok(Passed { first_content: started.elapsed(), ..Passed::default() })
            }
            (TestKind::Deep, ModelKind::Chat) => chat(dispatcher, &attempt, started).await,
            (TestKind::Deep, ModelKind::Embedding) => embed(dispatcher, &attempt, started).await,
        }
    });
    match answer.await {
        Ok(Ok(Passed { first_content, tokens, evidence })) => (TestResult::Passed { first_content, tokens }, evidence),
        Ok(Err(failure)) => {
            let evidence = (*failure.evidence).clone();
            (TestResult::Failed(failure), evidence)
        }
        Err(_) => {
            let silent = Failure::without_response(FailureKind::Silence(Silence::Total));
            (TestResult::Failed(silent), Evidence::default())
        }
    }
}

async fn chat<U: Upstream>(
    dispatcher: &Dispatcher<U>,
    order: &AttemptOrder,
    started: Instant,
) -> Result<Passed, Failure> {
    let target = order.target.target();
    let mut answer = dispatcher.upstream().stream_chat(order, question(target)).await?;
    let (mut first_content, mut tokens) = (None, 0);
    while let Some(event) = answer.events.next().await {
        let event = event?;
        if event.is_content() {
            first_content.get_or_insert_with(|| started.elapsed());
        }
        match event {
            ChatEvent::Header(header) => dispatcher.replied(target, &header.model),
            ChatEvent::Usage(usage) => tokens = usage.total_tokens,
            _ => {}
        }
    }
    // The stream says by its end that every choice has its finish reason, which is content.
    let nothing = || Failure::without_response(FailureKind::BadResponse(BadResponse::MissingChoices));
    Ok(Passed { first_content: first_content.ok_or_else(nothing)?, tokens, evidence: answer.evidence })
}

/// Whoever answers with vectors of another space is alive; whether it may serve is for the comparison to say.
async fn embed<U: Upstream>(
    dispatcher: &Dispatcher<U>,
    order: &AttemptOrder,
    started: Instant,
) -> Result<Passed, Failure> {
    let request = EmbedRequest { inputs: vec![REFERENCE_TEXT.to_owned()], ..EmbedRequest::default() };
    let (said, tokens, evidence) = match dispatcher.upstream().embed(order, &request).await {
        Ok(mut reply) => (reply.vectors.pop().map(Ok), reply.usage.total_tokens, reply.evidence),
        Err(Failure { kind: FailureKind::OtherSpace(drift), evidence, .. }) => (Some(Err(drift)), 0, *evidence),
        Err(failure) => return Err(failure),
    };
    if let Some(said) = said {
        dispatcher.compared(order.target.target(), said);
    }
    Ok(Passed { first_content: started.elapsed(), tokens, evidence })
}

fn question(target: &Target) -> &'static ChatRequest {
    static SHORT: OnceLock<ChatRequest> = OnceLock::new();
    static REASONING: OnceLock<ChatRequest> = OnceLock::new();
    let asking = |tokens| {
        let content = vec![Part::Text(NEUTRAL_TEXT.to_owned())];
        let message = Message { role: Role::User, content, name: None, tool_calls: vec![], tool_call_id: None };
        ChatRequest { messages: vec![message], max_output_tokens: Some(tokens), ..ChatRequest::default() }
    };
    if target.reasoning {
        REASONING.get_or_init(|| asking(OUTPUT_TOKENS_REASONING))
    } else {
        SHORT.get_or_init(|| asking(OUTPUT_TOKENS))
    }
}
