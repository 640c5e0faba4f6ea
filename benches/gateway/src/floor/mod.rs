//! The floor: the least a gRPC gateway can cost. tonic in front, hyper behind, typed messages both ways, nothing
//! else: no policy, no failover, no deadlines, no limits, no spans. Not an example of how to write one.
mod azure;

use std::{
    collections::VecDeque,
    net::{Ipv4Addr, SocketAddr},
    pin::Pin,
    task::{Context, Poll, ready},
};

use anyhow::Context as _;
use bytes::{Buf as _, Bytes, BytesMut};
use futures_util::{Stream, StreamExt as _};
use http_body::Body as _;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use tonic::{Request, Response, Status, Streaming, transport::server::TcpIncoming};

use self::azure::{ChatRequest, Chunk, Completion, EmbeddingList, EmbeddingRequest};
use crate::{
    pb::{self, complete_stream_response::Event, embed_stream_request, inference_service_server},
    workload::Work,
};

/// Serves on a free loopback port, which it prints, and sends everything to `upstream`.
pub(crate) async fn serve(upstream: Upstreams, key: String) -> anyhow::Result<()> {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    let client = Client::builder(TokioExecutor::new()).build(connector);
    let incoming = TcpIncoming::bind((Ipv4Addr::LOCALHOST, 0).into())
        .map_err(|error| anyhow::anyhow!("cannot listen on loopback: {error}"))?
        .with_nodelay(Some(true));
    crate::announce(&[incoming.local_addr()?])?;
    let service = inference_service_server::InferenceServiceServer::new(Floor { client, upstream, key });
    tonic::transport::Server::builder().add_service(service).serve_with_incoming(incoming).await.context("cannot serve")
}

/// Which address answers which kind of work.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Upstreams {
    /// Answers everything but paced and idle streams.
    #[arg(long)]
    pub(crate) plain: SocketAddr,
    /// Answers paced streams.
    #[arg(long)]
    pub(crate) paced: SocketAddr,
    /// Answers idle streams.
    #[arg(long)]
    pub(crate) idle: SocketAddr,
}

impl Upstreams {
    /// The address that answers this kind of work.
    pub(crate) fn of(&self, work: Work) -> SocketAddr {
        match work {
            Work::Paced => self.paced,
            Work::Idle => self.idle,
            Work::Unary | Work::Assembled | Work::Flood | Work::Embed | Work::EmbedStream => self.plain,
        }
    }
}

struct Floor {
    client: Client<HttpConnector, Full<Bytes>>,
    upstream: Upstreams,
    key: String,
}

impl Floor {
    async fn send(&self, model: &str, operation: &str, body: Vec<u8>) -> Result<Incoming, Status> {
        let work = Work::ALL.into_iter().find(|work| work.model() == model);
        let work = work.ok_or_else(|| Status::not_found("no such model"))?;
        let (to, deployment) = (self.upstream.of(work), work.deployment());
        let request = http::Request::post(format!(
            "http://{to}/openai/deployments/{deployment}/{operation}?api-version=2024-10-21"
        ))
        .header("api-key", &self.key)
        .header(http::header::CONTENT_TYPE, "application/json")
        .body(Full::from(body))
        .map_err(unusable)?;
        let response = self.client.request(request).await.map_err(unavailable)?;
        if response.status() != http::StatusCode::OK {
            return Err(Status::unavailable(format!("upstream answered {}", response.status())));
        }
        Ok(response.into_body())
    }

    async fn vectors(&self, model: &str, inputs: &[String]) -> Result<pb::EmbedResponse, Status> {
        let body = serde_json::to_vec(&EmbeddingRequest::new(inputs)).map_err(unusable)?;
        let body = self.send(model, "embeddings", body).await?;
        let body = body.collect().await.map_err(unavailable)?.to_bytes();
        let list: EmbeddingList<'_> = serde_json::from_slice(&body).map_err(unusable)?;
        list.into_reply()
    }

    async fn stream(&self, request: &pb::CompleteRequest) -> Result<Chunks, Status> {
        let body = ChatRequest::new(request, true)?.to_json()?;
        let body = self.send(&request.model, "chat/completions", body).await?;
        Ok(Chunks { body, input: BytesMut::new(), events: VecDeque::new(), begun: false, usage: None, whole: false })
    }
}

#[tonic::async_trait]
impl inference_service_server::InferenceService for Floor {
    async fn complete(&self, request: Request<pb::CompleteRequest>) -> Result<Response<pb::CompleteResponse>, Status> {
        let request = request.into_inner();
        if request.model == Work::Assembled.model() {
            return assemble(self.stream(&request).await?).await.map(Response::new);
        }
        let body = ChatRequest::new(&request, false)?.to_json()?;
        let body = self.send(&request.model, "chat/completions", body).await?;
        let body = body.collect().await.map_err(unavailable)?.to_bytes();
        let completion: Completion = serde_json::from_slice(&body).map_err(unusable)?;
        Ok(Response::new(completion.into_reply()))
    }

    type CompleteStreamStream = Chunks;

    async fn complete_stream(&self, request: Request<pb::CompleteRequest>) -> Result<Response<Chunks>, Status> {
        Ok(Response::new(self.stream(request.get_ref()).await?))
    }

    async fn embed(&self, request: Request<pb::EmbedRequest>) -> Result<Response<pb::EmbedResponse>, Status> {
        let request = request.into_inner();
        self.vectors(&request.model, &request.inputs).await.map(Response::new)
    }

    type EmbedStreamStream = futures_util::stream::Iter<std::vec::IntoIter<Result<pb::EmbedStreamResponse, Status>>>;

    /// One batch, which leaves when the caller half-closes; nothing is in flight beside it.
    async fn embed_stream(
        &self,
        request: Request<Streaming<pb::EmbedStreamRequest>>,
    ) -> Result<Response<Self::EmbedStreamStream>, Status> {
        let mut messages = request.into_inner();
        let (mut model, mut ids, mut texts) = (String::new(), Vec::new(), Vec::new());
        while let Some(message) = messages.message().await? {
            match message.event {
                Some(embed_stream_request::Event::Open(open)) => model = open.model,
                Some(embed_stream_request::Event::Item(item)) => {
                    ids.push(item.id);
                    texts.push(item.text);
                }
                None => return Err(Status::invalid_argument("an empty message")),
            }
        }
        let reply = self.vectors(&model, &texts).await?;
        Ok(Response::new(futures_util::stream::iter(azure::answers(ids, reply))))
    }
}

/// The events of one streamed completion as they come.
struct Chunks {
    body: Incoming,
    input: BytesMut,
    events: VecDeque<Event>,
    begun: bool,
    usage: Option<pb::Usage>,
    whole: bool,
}

impl Chunks {
    /// Turns every whole line of the input into events.
    fn parse(&mut self) -> Result<(), Status> {
        while let Some(end) = memchr::memchr(b'\n', &self.input) {
            let line = self.input.split_to(end + 1);
            let Some(data) = line.strip_prefix(b"data: ") else { continue };
            if data.starts_with(b"[DONE]") {
                self.whole = true;
                self.events.push_back(Event::End(pb::StreamEnd { usage: self.usage.take(), served_by: None }));
                return Ok(());
            }
            let chunk: Chunk = serde_json::from_slice(data).map_err(unusable)?;
            chunk.into_events(&mut self.begun, &mut self.usage, &mut self.events);
        }
        Ok(())
    }
}

impl Stream for Chunks {
    type Item = Result<pb::CompleteStreamResponse, Status>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if let Some(event) = self.events.pop_front() {
                return Poll::Ready(Some(Ok(pb::CompleteStreamResponse { event: Some(event) })));
            }
            if self.whole {
                // Read to its end, so that the connection can be used again.
                let ended = ready!(Pin::new(&mut self.body).poll_frame(context)).is_none();
                if ended { return Poll::Ready(None) } else { continue }
            }
            match ready!(Pin::new(&mut self.body).poll_frame(context)) {
                Some(Ok(frame)) => {
                    if let Some(data) = frame.data_ref() {
                        self.input.extend_from_slice(data.chunk());
                        self.parse()?;
                    }
                }
                Some(Err(error)) => return Poll::Ready(Some(Err(unavailable(error)))),
                None => return Poll::Ready(Some(Err(Status::unavailable("the stream was cut")))),
            }
        }
    }
}

async fn assemble(mut chunks: Chunks) -> Result<pb::CompleteResponse, Status> {
    let mut reply = pb::CompleteResponse::default();
    let (mut text, mut choice) = (String::new(), pb::Choice::default());
    while let Some(event) = chunks.next().await {
        match event?.event {
            Some(Event::Start(start)) => {
                reply.response_id = start.response_id;
                reply.model = start.model;
                reply.create_time = start.create_time;
                reply.system_fingerprint = start.system_fingerprint;
            }
            Some(Event::Delta(delta)) => text.push_str(&delta.text),
            Some(Event::ChoiceFinish(finish)) => choice.finish_reason = finish.finish_reason,
            Some(Event::End(end)) => reply.usage = end.usage,
            Some(Event::FilterAnnotation(_) | Event::Restarted(_)) | None => {}
        }
    }
    choice.message = Some(azure::assistant(text));
    reply.choices = vec![choice];
    Ok(reply)
}

fn unavailable(error: impl std::fmt::Display) -> Status {
    Status::unavailable(error.to_string())
}

fn unusable(error: impl std::fmt::Display) -> Status {
    Status::internal(error.to_string())
}
