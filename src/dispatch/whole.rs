//! Calls that are answered whole: everything before the reply can be rescued.
use std::sync::Arc;

use futures_util::StreamExt as _;
use sealane_core::{
    domain::{ChatReply, ChatRequest, EmbedReply, EmbedRequest, Failure, ModelKind, ReplyAssembly},
    router::Delivery,
};

use super::{Admission, CallError, Dispatcher, Served, run::Run};
use crate::{
    telemetry::Operation,
    upstream::{AttemptOrder, Upstream},
};

/// A chat completion and who served it.
#[derive(Debug)]
pub struct Completed {
    /// The answer.
    pub reply: ChatReply,
    /// Who served it.
    pub served: Served,
}

/// Vectors and who served them.
#[derive(Debug)]
pub struct Embedded {
    /// The answer.
    pub reply: EmbedReply,
    /// Who served it.
    pub served: Served,
}

impl<U: Upstream> Dispatcher<U> {
    /// One chat completion, whole.
    ///
    /// # Errors
    /// When no permitted target answered in time; see [`CallFailure`](super::CallFailure).
    pub async fn complete(
        self: &Arc<Self>,
        admission: Admission,
        request: ChatRequest,
    ) -> Result<Completed, CallError> {
        let route = self.route(&admission.model, ModelKind::Chat).map_err(CallError::refused)?;
        let assembled = self.assembles(&route) && crate::upstream::streamable(&request);
        let delivery = if assembled { Delivery::Assembled } else { Delivery::Unary };
        let call = self.admit(&admission, route, delivery, request.estimated_prompt_tokens());
        let mut run = Run::new(Arc::clone(self), admission.span, Operation::Chat { streamed: assembled }, call);
        loop {
            let order = run.next_attempt().await?;
            let answer = if assembled {
                assemble(&mut run, &order, &request).await
            } else {
                self.upstream.complete_chat(&order, &request).await.map(|(reply, evidence)| {
                    run.answered(evidence);
                    reply
                })
            };
            match answer {
                Ok(reply) => {
                    run.describe(|span| {
                        span.replied(&reply.header);
                        span.finished(reply.choices.iter().map(|choice| choice.finish_reason));
                        reply.usage.iter().for_each(|usage| span.used(usage));
                    });
                    run.served(Some(&reply.header.response_id));
                    return Ok(Completed { reply, served: run.so_far() });
                }
                Err(failure) => run.failed(failure),
            }
        }
    }

    /// Vectors for the inputs.
    ///
    /// # Errors
    /// When no permitted target answered in time; see [`CallFailure`](super::CallFailure).
    pub async fn embed(self: &Arc<Self>, admission: Admission, request: EmbedRequest) -> Result<Embedded, CallError> {
        let route = self.route(&admission.model, ModelKind::Embedding).map_err(CallError::refused)?;
        let call = self.admit(&admission, route, Delivery::Embedded, request.estimated_tokens());
        let mut run = Run::new(Arc::clone(self), admission.span, Operation::Embeddings, call);
        loop {
            let order = run.next_attempt().await?;
            match self.upstream.embed(&order, &request).await {
                Ok(mut reply) => {
                    run.answered(std::mem::take(&mut reply.evidence));
                    run.describe(|span| span.used(&reply.usage));
                    run.served(None);
                    return Ok(Embedded { reply, served: run.so_far() });
                }
                Err(failure) => run.failed(failure),
            }
        }
    }
}

async fn assemble<U: Upstream>(
    run: &mut Run<U>,
    order: &AttemptOrder,
    request: &ChatRequest,
) -> Result<ChatReply, Failure> {
    let mut stream = run.dispatcher.upstream.stream_chat(order, request).await?;
    run.answered(stream.evidence);
    let mut assembly = ReplyAssembly::new();
    while let Some(event) = stream.events.next().await {
        let event = event?;
        if event.is_content() {
            run.first_content();
        }
        assembly.push(event);
    }
    Ok(assembly.finish())
}
