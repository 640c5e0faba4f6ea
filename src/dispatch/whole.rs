//! Calls that are answered whole: everything before the reply can be rescued.
use std::{sync::Arc, time::Duration};

use futures_util::StreamExt as _;
use sealane_core::{
    domain::{
        ChatReply, ChatRequest, EmbedReply, EmbedRequest, Failure, FailureKind, ModelKind, ReplyAssembly, Silence,
    },
    router::Delivery,
};

use super::{Admission, CallError, Dispatcher, Served, opening::open_stream, race::first_to_answer, run::Run};
use crate::{telemetry::Operation, upstream::Upstream};

/// An answer that comes slower than a piece in this time only trickles: models write tens of pieces a second.
const TRICKLE: Duration = Duration::from_secs(1);

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
        mut admission: Admission,
        request: ChatRequest,
    ) -> Result<Completed, CallError> {
        let route = self.route(&admission.model, ModelKind::Chat)?;
        let assembled = self.assembles(&route) && crate::upstream::streamable(&request);
        let delivery = if assembled { Delivery::Assembled } else { Delivery::Unary };
        let call = self.admit(&mut admission, route, delivery, request.estimated_prompt_tokens());
        let call = call.capped_at(request.answer_tokens());
        let operation = Operation::Chat { streamed: assembled };
        let mut run = Run::new(Arc::clone(self), admission, operation, call);
        loop {
            let answer = if assembled {
                self.assemble(&mut run, &request).await?
            } else {
                let attempt = async |order| self.upstream.complete_chat(&order, &request).await;
                Ok(first_to_answer(&mut run, attempt).await?.1)
            };
            match answer {
                Ok(reply) => {
                    run.replied(&reply.header);
                    run.finished(reply.choices.iter().map(|choice| choice.finish_reason));
                    let prompts = reply.prompt_filter.iter().map(|prompt| &prompt.results);
                    prompts.chain(reply.choices.iter().map(|choice| &choice.filter)).for_each(|one| run.filtered(one));
                    reply.usage.iter().for_each(|usage| run.used(usage));
                    run.served(Some(&reply.header.response_id));
                    return Ok(Completed { reply, served: run.so_far() });
                }
                Err(failure) => run.serving_failed(failure),
            }
        }
    }

    /// Streams the answer from whoever has content first, and waits for its end: whatever cuts it is a failure of
    /// that attempt, and another one follows.
    async fn assemble(&self, run: &mut Run<U>, request: &ChatRequest) -> Result<Result<ChatReply, Failure>, CallError> {
        let attempt = async |order| open_stream(&self.upstream, order, request).await;
        let (ticket, mut opened) = first_to_answer(run, attempt).await?;
        run.first_content(ticket);
        let mut assembly = ReplyAssembly::new();
        opened.events.drain(..).for_each(|event| assembly.push(event));
        let mut pieces = 0;
        while let Some(event) = opened.stream.next().await {
            match event {
                Ok(event) => assembly.push(event),
                Err(failure) => return Ok(Err(failure)),
            }
            pieces += 1;
            let elapsed = opened.started.elapsed();
            if elapsed > opened.limits.rescue_by && elapsed > TRICKLE * pieces {
                return Ok(Err(Failure::without_response(FailureKind::Silence(Silence::Stall))));
            }
        }
        Ok(Ok(assembly.finish()))
    }

    /// Vectors for the inputs.
    ///
    /// # Errors
    /// When no permitted target answered in time; see [`CallFailure`](super::CallFailure).
    pub async fn embed(
        self: &Arc<Self>,
        mut admission: Admission,
        request: &EmbedRequest,
    ) -> Result<Embedded, CallError> {
        let route = self.route(&admission.model, ModelKind::Embedding)?;
        let call = self.admit(&mut admission, route, Delivery::Embedded, request.estimated_tokens());
        let mut run = Run::new(Arc::clone(self), admission, Operation::Embeddings, call);
        let attempt = async |order| {
            let mut reply = self.upstream.embed(&order, request).await?;
            let evidence = std::mem::take(&mut reply.evidence);
            Ok((reply, evidence))
        };
        let (_, reply) = first_to_answer(&mut run, attempt).await?;
        run.used(&reply.usage);
        run.served(None);
        Ok(Embedded { reply, served: run.so_far() })
    }
}
