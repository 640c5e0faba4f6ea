//! `InferenceService`: decode, dispatch, encode.
use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use futures_util::{Stream, StreamExt as _};
use http::HeaderMap;
use sealane_core::domain::{Moment, RoutingOptions, Usage};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tonic::{
    Request, Response, Status, Streaming,
    metadata::{MetadataMap, MetadataValue},
};

use super::{
    Violations,
    auth::Gate,
    deadline::DeadlineRules,
    decode::{self, DecodeRules},
    decode_chat,
    embed_stream::EmbedEvents,
    encode, encode_stream,
    open_call::{OpenCall, Trail},
    pb::{self, inference_service_server::InferenceService},
    status::{Refusal, draining, ended_without_end, response_too_large, unknown_region},
};
use crate::{
    audit::Label,
    clock::Clock,
    dispatch::{Admission, AnswerStream, Dispatcher, Served, StreamEvent},
    identity::{Caller, Pass},
    telemetry::CallFacts,
    upstream::Upstream,
};

/// What the service needs to know of the configuration.
#[derive(Debug)]
pub struct InferenceRules {
    /// Who may call.
    pub gate: Gate,
    /// Deadlines of unary calls.
    pub unary_deadlines: DeadlineRules,
    /// Deadlines of streams.
    pub stream_deadlines: DeadlineRules,
    /// Configured regions, normalised.
    pub regions: Vec<String>,
    /// Images may be given as addresses.
    pub image_uris: bool,
    /// Model name to the `extra_params` it takes.
    pub extra_params: Vec<(String, Vec<String>)>,
    /// Models that think before they speak.
    pub reasoning_models: Vec<String>,
    /// Bytes of a reply, unless the caller states that it takes more.
    pub max_response_bytes: usize,
    /// Bytes of a reply, whatever the caller states.
    pub longest_response_bytes: usize,
    /// Configuration in force.
    pub config_revision: String,
    /// Where calls leave their records; `None` where no journal is kept.
    pub trail: Option<Arc<Trail>>,
    /// Cancelled when no new calls are taken: those who only watch need not be waited for.
    pub stopping: CancellationToken,
    /// Cancelled when the time for draining is over: what still runs then ends with `DRAINING`.
    pub ending: CancellationToken,
}

/// The service.
#[derive(Debug)]
pub struct Inference<U> {
    dispatcher: Arc<Dispatcher<U>>,
    rules: Arc<InferenceRules>,
}

impl<U> Clone for Inference<U> {
    fn clone(&self) -> Self {
        Self { dispatcher: Arc::clone(&self.dispatcher), rules: Arc::clone(&self.rules) }
    }
}

/// Metadata with which a caller states how large a reply its gRPC stack takes.
const MAX_RECV_BYTES: &str = "x-sealane-max-recv-bytes";
const COMPLETE: &str = "sealane.v1.InferenceService/Complete";
const COMPLETE_STREAM: &str = "sealane.v1.InferenceService/CompleteStream";
const EMBED: &str = "sealane.v1.InferenceService/Embed";
const EMBED_STREAM: &str = "sealane.v1.InferenceService/EmbedStream";

impl<U: Upstream> Inference<U> {
    /// Serves what `dispatcher` carries, by these rules.
    pub fn new(dispatcher: Arc<Dispatcher<U>>, rules: Arc<InferenceRules>) -> Self {
        Self { dispatcher, rules }
    }

    fn extra_params(&self, model: &str) -> &[String] {
        self.rules.extra_params.iter().find(|(name, _)| name == model).map_or(&[], |(_, params)| params)
    }

    fn decode_rules(&self, model: &str) -> DecodeRules<'_> {
        let InferenceRules { image_uris, reasoning_models, .. } = &*self.rules;
        let reasoning = reasoning_models.iter().any(|name| name == model);
        DecodeRules { image_uris: *image_uris, extra_params: self.extra_params(model), reasoning }
    }

    pub(super) fn rules(&self) -> &InferenceRules {
        &self.rules
    }

    pub(super) fn dispatcher(&self) -> &Arc<Dispatcher<U>> {
        &self.dispatcher
    }

    fn admit(
        &self,
        call: &mut OpenCall,
        headers: &HeaderMap,
        caller: &Caller,
        deadlines: DeadlineRules,
        (model, options): (&str, RoutingOptions),
    ) -> Result<Admission, Refusal> {
        let allowed = deadlines.allow(headers)?;
        self.admit_until(call, caller, self.dispatcher.clock().now() + allowed, (model, options))
    }

    /// Tells span and journal what a call asks for, and refuses regions that do not exist.
    pub(super) fn admit_until(
        &self,
        call: &mut OpenCall,
        caller: &Caller,
        deadline: Moment,
        (model, options): (&str, RoutingOptions),
    ) -> Result<Admission, Refusal> {
        call.span.asks(CallFacts {
            model,
            workflow: options.workflow_id.as_deref(),
            config_revision: &self.rules.config_revision,
        });
        if let Some(journal) = &mut call.journal {
            journal.learn(|facts| {
                facts.workflow = options.workflow_id.as_ref().map(Label::from);
                facts.data_class = options.data_class.as_deref().map(Label::from);
                facts.config_revision = self.rules.config_revision.as_str().into();
                facts.model = model.into();
            });
        }
        if let Some(unknown) = options.allowed_regions.iter().find(|name| !self.rules.regions.contains(name)) {
            return Err(unknown_region(unknown));
        }
        Ok(Admission {
            model: model.to_owned(),
            caller: Arc::clone(&caller.name),
            policy: Arc::clone(&caller.policy),
            options,
            deadline,
            span: call.span.clone(),
            journal: call.journal.clone(),
        })
    }

    async fn answer(
        &self,
        call: &mut OpenCall,
        request: Request<pb::CompleteRequest>,
    ) -> Result<Response<pb::CompleteResponse>, Refusal> {
        let caller = self.rules.gate.caller(call, &request)?;
        call.asked(request.get_ref());
        let (metadata, _, message) = request.into_parts();
        let model = message.model.clone();
        let (chat, options) = decode_chat::chat(message, self.decode_rules(&model))?;
        let admission = self.admit(call, metadata.as_ref(), caller, self.rules.unary_deadlines, (&model, options))?;
        let limit = self.response_limit(metadata.as_ref())?;
        let mut pass = self.pass(caller, (&model, chat.estimated_tokens()))?;
        let completed = self.dispatcher.complete(admission, chat).await?;
        self.settle(&mut pass, completed.reply.usage.as_ref());
        let reply = encode::chat(completed.reply, &completed.served);
        fits(&reply, limit)?;
        let response_id = reply.response_id.clone();
        Ok(with_headers(reply, &completed.served, &response_id))
    }

    async fn answer_embed(
        &self,
        call: &mut OpenCall,
        request: Request<pb::EmbedRequest>,
    ) -> Result<Response<pb::EmbedResponse>, Refusal> {
        let caller = self.rules.gate.caller(call, &request)?;
        call.asked(request.get_ref());
        let (metadata, _, message) = request.into_parts();
        let model = message.model.clone();
        let (embed, options, encoding) = decode::embed(message)?;
        let admission = self.admit(call, metadata.as_ref(), caller, self.rules.unary_deadlines, (&model, options))?;
        let limit = self.response_limit(metadata.as_ref())?;
        let mut pass = self.pass(caller, (&model, embed.estimated_tokens()))?;
        let embedded = self.dispatcher.embed(admission, &embed).await?;
        self.settle(&mut pass, Some(&embedded.reply.usage));
        let reply = encode::embeddings(embedded.reply, encoding, &embedded.served);
        fits(&reply, limit)?;
        Ok(with_headers(reply, &embedded.served, ""))
    }

    /// Waits for the first content, so that an error before it is an error of the call, not of its stream.
    async fn answer_stream(
        &self,
        call: &mut OpenCall,
        request: Request<pb::CompleteRequest>,
    ) -> Result<(MetadataMap, Answering<U>), Refusal> {
        let caller = self.rules.gate.caller(call, &request)?;
        call.asked(request.get_ref());
        let (metadata, _, message) = request.into_parts();
        let model = message.model.clone();
        let (chat, options) = decode_chat::chat(message, self.decode_rules(&model))?;
        let admission = self.admit(call, metadata.as_ref(), caller, self.rules.stream_deadlines, (&model, options))?;
        let pass = self.pass(caller, (&model, chat.estimated_tokens()))?;
        let mut events = self.dispatcher.stream(admission, chat)?;
        let Some(first) = events.next().await else { return Err(ended_without_end()) };
        let first = first?;
        let headers = match &first {
            StreamEvent::Start { header, served, .. } => served_headers(served, &header.response_id),
            _ => MetadataMap::new(),
        };
        Ok((headers, Answering { first: Some(first), events, pass: Some(pass) }))
    }

    /// Leave to call; taken last, since a call that is refused for anything else must not count.
    fn pass(&self, caller: &Caller, (model, estimated_tokens): (&str, u64)) -> Result<Pass, Refusal> {
        Ok(caller.admit(model, estimated_tokens, self.dispatcher.clock().now())?)
    }

    fn settle(&self, pass: &mut Pass, usage: Option<&Usage>) {
        usage.iter().for_each(|usage| pass.settle(self.dispatcher.clock().now(), usage.total_tokens));
    }

    /// The answer, or the word that this replica stops now. Boxed, since a call's future is large and would be moved
    /// from frame to frame.
    pub(super) async fn until_the_end<T>(
        &self,
        answer: Pin<Box<impl Future<Output = Result<T, Refusal>>>>,
    ) -> Result<T, Refusal> {
        self.rules.ending.run_until_cancelled(answer).await.unwrap_or_else(|| Err(draining()))
    }

    /// Bytes of a reply that the caller takes; read before anything is sent to Azure, and paid for.
    fn response_limit(&self, headers: &HeaderMap) -> Result<usize, Refusal> {
        let Some(stated) = headers.get(MAX_RECV_BYTES) else { return Ok(self.rules.max_response_bytes) };
        match stated.to_str().ok().and_then(|stated| stated.parse().ok()) {
            Some(stated) => Ok(self.rules.longest_response_bytes.min(stated)),
            None => {
                let mut violations = Violations::none();
                violations.add(MAX_RECV_BYTES, "must be a number of bytes");
                Err(violations.into())
            }
        }
    }
}

#[tonic::async_trait]
impl<U: Upstream> InferenceService for Inference<U> {
    async fn complete(&self, request: Request<pb::CompleteRequest>) -> Result<Response<pb::CompleteResponse>, Status> {
        let mut call = OpenCall::start(COMPLETE, &request, self.rules.trail.as_ref(), self.dispatcher.metrics());
        let answer = self.until_the_end(Box::pin(self.answer(&mut call, request))).await;
        call.finish(answer)
    }

    type CompleteStreamStream = EventStream<U>;

    async fn complete_stream(
        &self,
        request: Request<pb::CompleteRequest>,
    ) -> Result<Response<Self::CompleteStreamStream>, Status> {
        let mut call = OpenCall::start(COMPLETE_STREAM, &request, self.rules.trail.as_ref(), self.dispatcher.metrics());
        match self.until_the_end(Box::pin(self.answer_stream(&mut call, request))).await {
            Ok((headers, answering)) => {
                let ending = Box::pin(self.rules.ending.clone().cancelled_owned());
                let clock = self.dispatcher.clock();
                let mut response = Response::new(EventStream { call, answering, clock, ending });
                *response.metadata_mut() = headers;
                Ok(response)
            }
            Err(refusal) => Err(call.fail(refusal)),
        }
    }

    async fn embed(&self, request: Request<pb::EmbedRequest>) -> Result<Response<pb::EmbedResponse>, Status> {
        let mut call = OpenCall::start(EMBED, &request, self.rules.trail.as_ref(), self.dispatcher.metrics());
        let answer = self.until_the_end(Box::pin(self.answer_embed(&mut call, request))).await;
        call.finish(answer)
    }

    type EmbedStreamStream = EmbedEvents;

    async fn embed_stream(
        &self,
        request: Request<Streaming<pb::EmbedStreamRequest>>,
    ) -> Result<Response<Self::EmbedStreamStream>, Status> {
        let call = OpenCall::start(EMBED_STREAM, &request, self.rules.trail.as_ref(), self.dispatcher.metrics());
        self.ingest(call, request).map(Response::new)
    }
}

/// Fails here, with a reason, rather than in the caller's gRPC stack.
fn fits(reply: &impl prost::Message, limit: usize) -> Result<(), Refusal> {
    match reply.encoded_len() {
        bytes if bytes > limit => Err(response_too_large(bytes, limit)),
        _ => Ok(()),
    }
}

fn with_headers<T>(reply: T, served: &Served, response_id: &str) -> Response<T> {
    let mut response = Response::new(reply);
    *response.metadata_mut() = served_headers(served, response_id);
    response
}

/// Which region serves, for callers and proxies that look at headers only.
fn served_headers(served: &Served, response_id: &str) -> MetadataMap {
    let mut headers = MetadataMap::with_capacity(4);
    let mut set = |key: &'static str, value: &str| {
        if !value.is_empty()
            && let Ok(value) = MetadataValue::try_from(value)
        {
            headers.insert(key, value);
        }
    };
    if let Some(by) = served.by() {
        set("x-sealane-region", &by.target.region);
        set("x-sealane-data-boundary", by.target.boundary.as_deref().unwrap_or_default());
    }
    set("x-sealane-attempts", &served.attempts.len().to_string());
    set("x-sealane-response-id", response_id);
    headers
}

/// One stream after its first content.
struct Answering<U: Upstream> {
    first: Option<StreamEvent>,
    events: AnswerStream<U>,
    /// Until the end.
    pass: Option<Pass>,
}

/// The events of one stream on their way to the wire. Those that are ready together leave in one write.
pub struct EventStream<U: Upstream> {
    call: OpenCall,
    answering: Answering<U>,
    clock: Clock,
    ending: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl<U: Upstream> Stream for EventStream<U> {
    type Item = Result<pb::CompleteStreamResponse, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            let event = match self.answering.first.take() {
                Some(first) => first,
                None => match self.answering.events.poll_next_unpin(cx) {
                    Poll::Ready(Some(Ok(event))) => event,
                    Poll::Ready(Some(Err(error))) => return Poll::Ready(Some(Err(self.call.fail(error)))),
                    Poll::Ready(None) if self.call.ended() => return Poll::Ready(None),
                    // A stream that was cut must never look like one that ended.
                    Poll::Ready(None) => return Poll::Ready(Some(Err(self.call.fail(ended_without_end())))),
                    Poll::Pending => {
                        ready!(self.ending.as_mut().poll(cx));
                        return Poll::Ready(Some(Err(self.call.fail(draining()))));
                    }
                },
            };
            if let StreamEvent::End { usage, .. } = &event {
                let now = self.clock.now();
                if let (Some(mut pass), Some(usage)) = (self.answering.pass.take(), usage) {
                    pass.settle(now, usage.total_tokens);
                }
                self.call.succeed();
            }
            if let Some(event) = encode_stream::event(event) {
                return Poll::Ready(Some(Ok(event)));
            }
        }
    }
}
