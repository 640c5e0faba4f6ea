//! What is asked, the same for every column: the rows of the table and the requests that make them up.
use std::{net::SocketAddr, time::Duration};

use prost::Message as _;
use serde::Serialize;
use serde_json::json;

use crate::pb;

/// Content chunks of a short answer.
pub(crate) const SHORT_CHUNKS: usize = 20;
/// Content chunks of a long streamed answer.
pub(crate) const FLOOD_CHUNKS: usize = 200;
/// Between two chunks of a paced stream.
pub(crate) const PACE: Duration = Duration::from_millis(10);
/// Texts in one `Embed`.
pub(crate) const VECTORS: usize = 32;
/// Numbers in one vector.
pub(crate) const VECTOR_LENGTH: usize = 1536;
/// Characters in one text, about 100 tokens.
const TEXT_LENGTH: usize = 400;

/// What one call does. Every kind has an Azure deployment and a logical model of the same name.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Work {
    /// Unary `Complete`; one unary request upstream.
    Unary,
    /// Unary `Complete`; streamed from upstream and assembled.
    Assembled,
    /// `CompleteStream` of 200 chunks, as fast as they go.
    Flood,
    /// `CompleteStream` of 200 chunks, one every 10 ms.
    Paced,
    /// `Embed`.
    Embed,
    /// `EmbedStream` of the same texts: one batch, and then half-closed.
    #[serde(rename = "embed-stream")]
    EmbedStream,
    /// `CompleteStream` that says one word and then nothing.
    Idle,
}

impl Work {
    /// All kinds.
    pub(crate) const ALL: [Self; 7] =
        [Self::Unary, Self::Assembled, Self::Flood, Self::Paced, Self::Embed, Self::EmbedStream, Self::Idle];

    /// The logical model to ask a gateway for.
    pub(crate) fn model(self) -> &'static str {
        match self {
            Self::Unary => "bench-unary",
            Self::Assembled => "bench-assembled",
            Self::Flood => "bench-flood",
            Self::Paced => "bench-paced",
            Self::Embed => "bench-embed",
            Self::EmbedStream => "bench-embed-stream",
            Self::Idle => "bench-idle",
        }
    }

    /// The Azure deployment behind it.
    pub(crate) fn deployment(self) -> &'static str {
        match self {
            Self::Unary | Self::Assembled => "bench-chat",
            Self::Flood => "bench-flood",
            Self::Paced => "bench-paced",
            Self::Embed | Self::EmbedStream => "bench-embed",
            Self::Idle => "bench-idle",
        }
    }

    /// Whether the caller of a gateway gets a completion as a stream.
    pub(crate) fn is_stream(self) -> bool {
        matches!(self, Self::Flood | Self::Paced | Self::Idle)
    }

    /// The gRPC method's path.
    pub(crate) fn grpc_path(self) -> &'static str {
        match self {
            Self::Unary | Self::Assembled => "/sealane.v1.InferenceService/Complete",
            Self::Flood | Self::Paced | Self::Idle => "/sealane.v1.InferenceService/CompleteStream",
            Self::Embed => "/sealane.v1.InferenceService/Embed",
            Self::EmbedStream => "/sealane.v1.InferenceService/EmbedStream",
        }
    }

    /// The request's messages, framed as gRPC puts them on the wire.
    pub(crate) fn grpc_body(self) -> Vec<u8> {
        let messages = match self {
            Self::Embed => vec![
                pb::EmbedRequest {
                    model: self.model().to_owned(),
                    inputs: (0..VECTORS).map(text).collect(),
                    ..Default::default()
                }
                .encode_to_vec(),
            ],
            Self::EmbedStream => self.ingestion().map(|message| message.encode_to_vec()).collect(),
            _ => vec![self.complete_request().encode_to_vec()],
        };
        let mut framed = Vec::new();
        for message in messages {
            framed.push(0);
            framed.extend(u32::try_from(message.len()).unwrap_or(u32::MAX).to_be_bytes());
            framed.extend(message);
        }
        framed
    }

    fn ingestion(self) -> impl Iterator<Item = pb::EmbedStreamRequest> {
        use pb::embed_stream_request::Event;
        let open = Event::Open(pb::EmbedStreamOpen { model: self.model().to_owned(), ..Default::default() });
        let item = |index: usize| Event::Item(pb::EmbedItem { id: format!("chunk-{index}"), text: text(index) });
        std::iter::once(open).chain((0..VECTORS).map(item)).map(|event| pb::EmbedStreamRequest { event: Some(event) })
    }

    fn complete_request(self) -> pb::CompleteRequest {
        let message = |role: pb::Role, text: &str| pb::Message {
            role: role.into(),
            content: vec![pb::ContentPart { part: Some(pb::content_part::Part::Text(text.to_owned())) }],
            ..Default::default()
        };
        pb::CompleteRequest {
            model: self.model().to_owned(),
            messages: vec![message(pb::Role::System, SYSTEM), message(pb::Role::User, QUESTION)],
            max_output_tokens: Some(self.output_tokens()),
            temperature: Some(0.0),
            ..Default::default()
        }
    }

    fn output_tokens(self) -> i32 {
        if self.is_stream() { FLOOD_CHUNKS as i32 } else { SHORT_CHUNKS as i32 }
    }

    /// The same request as an Azure client would send it, whole.
    pub(crate) fn http_request(self, to: SocketAddr, key: &str) -> Vec<u8> {
        let (operation, body) = match self {
            Self::Embed | Self::EmbedStream => {
                let inputs: Vec<String> = (0..VECTORS).map(text).collect();
                ("embeddings", json!({"input": inputs, "encoding_format": "base64"}))
            }
            _ => {
                let mut body = json!({
                    "messages": [{"role": "system", "content": SYSTEM}, {"role": "user", "content": QUESTION}],
                    "max_completion_tokens": self.output_tokens(),
                    "temperature": 0.0,
                });
                if self != Self::Unary {
                    body["stream"] = true.into();
                    body["stream_options"] = json!({"include_usage": true});
                }
                ("chat/completions", body)
            }
        };
        let (deployment, body) = (self.deployment(), body.to_string());
        format!(
            "POST /openai/deployments/{deployment}/{operation}?api-version=2024-10-21 HTTP/1.1\r\nhost: {to}\r\n\
             api-key: {key}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        )
        .into_bytes()
    }

    /// The fewest bytes that a whole answer can have; fewer is a failure, whatever the status says.
    pub(crate) fn least_answer(self) -> usize {
        match self {
            Self::Embed | Self::EmbedStream => VECTORS * VECTOR_LENGTH * size_of::<f32>(),
            Self::Flood | Self::Paced => 2 * FLOOD_CHUNKS,
            Self::Unary | Self::Assembled => 2 * SHORT_CHUNKS,
            Self::Idle => 0,
        }
    }
}

const SYSTEM: &str = "You answer questions about technical documents. Cite the page that each statement comes from.";
const QUESTION: &str = "Why must vectors of two embedding models never stand in the same search index? Tell it in full, \
                        with an example, in about two hundred words.";

fn text(index: usize) -> String {
    let sentence = format!("Chunk {index} of the page describes how the index is built and which model filled it. ");
    sentence.chars().cycle().take(TEXT_LENGTH).collect()
}

/// One row: some work at some concurrency.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Row {
    pub(crate) work: Work,
    pub(crate) concurrency: usize,
    /// Calls in one run.
    pub(crate) calls: usize,
}

/// The rows of the table but for the idle one, with bounded counts; `quick` makes them a fraction.
pub(crate) fn rows(quick: bool) -> Vec<Row> {
    let row = |work, concurrency, calls: usize| {
        let calls = if quick && work != Work::Paced { (calls / 4).max(concurrency) } else { calls };
        Row { work, concurrency, calls }
    };
    vec![
        row(Work::Unary, 1, 4_000),
        row(Work::Unary, 32, 24_000),
        row(Work::Assembled, 1, 3_000),
        row(Work::Assembled, 32, 10_000),
        row(Work::Flood, 8, 400),
        row(Work::Paced, 32, 32),
        row(Work::Embed, 1, 500),
        row(Work::Embed, 32, 1_500),
        row(Work::EmbedStream, 1, 500),
        row(Work::EmbedStream, 32, 1_500),
    ]
}
