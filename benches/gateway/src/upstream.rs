//! A fixed-answer stand-in for an Azure OpenAI region: it reads just enough of a request to choose among answers
//! that were made at start. It shows what a gateway costs where the simulated region would be the limit, and it can
//! do one thing that no honest region does: write the time of sending into every paced chunk.
use std::{
    net::Ipv4Addr,
    sync::Arc,
    time::{Duration, SystemTime},
};

use anyhow::{Context as _, Result};
use memchr::memmem;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    time::{MissedTickBehavior, interval},
};

use crate::workload::{FLOOD_CHUNKS, PACE, SHORT_CHUNKS, VECTOR_LENGTH, VECTORS};

/// Marks the time of sending inside a paced chunk's text: nanoseconds since the epoch follow it.
pub(crate) const STAMP: u8 = b'@';

const FILTERS: &str = r#"{"hate":{"filtered":false,"severity":"safe"},"protected_material_code":{"detected":false,"filtered":false},"protected_material_text":{"detected":false,"filtered":false},"self_harm":{"filtered":false,"severity":"safe"},"sexual":{"filtered":false,"severity":"safe"},"violence":{"filtered":false,"severity":"safe"}}"#;
const PROMPT_FILTERS: &str = r#"[{"prompt_index":0,"content_filter_results":{"hate":{"filtered":false,"severity":"safe"},"jailbreak":{"detected":false,"filtered":false},"self_harm":{"filtered":false,"severity":"safe"},"sexual":{"filtered":false,"severity":"safe"},"violence":{"filtered":false,"severity":"safe"}}}]"#;
const ENVELOPE: &str = r#""created":1774963452,"id":"chatcmpl-DPTBKC5U7aQYydhXIGw4HbPc0HcVT","model":"gpt-4.1-mini-2025-04-14","obfuscation":"46DpEpSEv5wHAI","object":"chat.completion.chunk","system_fingerprint":"fp_b6f445fc1c""#;
/// The quota stated is far above what the bench sends: it measures work, not waiting for a turn.
const HEADERS: &str = "apim-request-id: 9c3a8b7e-1d2f-4a5b-8c6d-7e8f9a0b1c2d\r\nstrict-transport-security: max-age=31536000; includeSubDomains; preload\r\nx-accel-buffering: no\r\nx-content-type-options: nosniff\r\nx-ms-deployment-name: bench\r\nx-ms-rai-invoked: true\r\nx-ms-region: Sweden Central\r\nx-ratelimit-limit-requests: 12000000\r\nx-ratelimit-limit-tokens: 2000000000\r\nx-ratelimit-remaining-requests: 11999999\r\nx-ratelimit-remaining-tokens: 1999999986\r\nx-request-id: 0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0\r\n";

/// The answers, whole HTTP messages but for `stream_head` and `opening`.
struct Answers {
    unary: Vec<u8>,
    short: Vec<u8>,
    flood: Vec<u8>,
    embeddings: Vec<u8>,
    /// Response head, first event and role chunk of a stream.
    opening: Vec<u8>,
    /// Finish, usage and `[DONE]`.
    closing: Vec<u8>,
    not_found: Vec<u8>,
}

/// Serves fixed answers on a free loopback port, which it prints, until its standard input is closed.
pub(crate) async fn serve() -> Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.context("cannot listen on loopback")?;
    crate::announce(&[listener.local_addr()?])?;
    let answers = Arc::new(Answers::new());
    loop {
        let (socket, _) = listener.accept().await?;
        socket.set_nodelay(true)?;
        let answers = Arc::clone(&answers);
        tokio::spawn(async move {
            // A client that leaves is how every connection here ends.
            let _ = converse(socket, &answers).await;
        });
    }
}

async fn converse(mut socket: TcpStream, answers: &Answers) -> Result<()> {
    let mut input = Vec::with_capacity(32 * 1024);
    loop {
        let (head, total) = loop {
            if let Some(lengths) = request_lengths(&input)? {
                break lengths;
            }
            if socket.read_buf(&mut input).await? == 0 {
                return Ok(());
            }
        };
        while input.len() < total {
            if socket.read_buf(&mut input).await? == 0 {
                return Ok(());
            }
        }
        let (line, body) = (input.split(|byte| *byte == b'\r').next().unwrap_or_default(), &input[head..total]);
        let streamed = memmem::find(body, br#""stream":true"#).is_some();
        let asks = |name: &str| memmem::find(line, name.as_bytes()).is_some();
        if asks("/embeddings") {
            socket.write_all(&answers.embeddings).await?;
        } else if asks("/bench-chat/") && !streamed {
            socket.write_all(&answers.unary).await?;
        } else if asks("/bench-chat/") {
            socket.write_all(&answers.short).await?;
        } else if asks("/bench-flood/") {
            socket.write_all(&answers.flood).await?;
        } else if asks("/bench-paced/") {
            paced(&mut socket, answers).await?;
        } else if asks("/bench-idle/") {
            socket.write_all(&answers.opening).await?;
            socket.write_all(&http_chunk(&content_event("One"))).await?;
            // Nothing more; a client that leaves ends it.
            socket.read_buf(&mut input).await?;
            return Ok(());
        } else {
            socket.write_all(&answers.not_found).await?;
        }
        input.drain(..total);
    }
}

async fn paced(socket: &mut TcpStream, answers: &Answers) -> Result<()> {
    socket.write_all(&answers.opening).await?;
    let mut ticks = interval(PACE);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    for _ in 0..FLOOD_CHUNKS {
        ticks.tick().await;
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
        let text = format!(" {}{} ", STAMP as char, now.as_nanos());
        socket.write_all(&http_chunk(&content_event(&text))).await?;
    }
    socket.write_all(&answers.closing).await?;
    Ok(())
}

/// Where the body begins and where it ends, once the head is there.
fn request_lengths(input: &[u8]) -> Result<Option<(usize, usize)>> {
    let Some(end) = memmem::find(input, b"\r\n\r\n") else { return Ok(None) };
    let head = std::str::from_utf8(&input[..end])?;
    let length = head
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find_map(|(name, value)| name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>()));
    let body = end + 4;
    Ok(Some((body, body + length.context("only requests with Content-Length are understood")??)))
}

impl Answers {
    fn new() -> Self {
        let stream_head = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\ntransfer-encoding: chunked\r\n{HEADERS}\r\n"
        );
        let mut opening = stream_head.into_bytes();
        opening.extend(http_chunk(&format!(
            r#"data: {{"choices":[],"created":0,"id":"","model":"","object":"","prompt_filter_results":{PROMPT_FILTERS}}}{}"#,
            "\n\n"
        )));
        opening.extend(http_chunk(&choice_event("{}", r#"{"content":"","refusal":null,"role":"assistant"}"#, "null")));
        let mut closing = http_chunk(&choice_event("{}", "{}", r#""stop""#));
        closing.extend(http_chunk(&format!(
            "data: {{\"choices\":[],{ENVELOPE},\"usage\":{{\"completion_tokens\":20,\"prompt_tokens\":16,\"total_tokens\":36}}}}\n\n"
        )));
        closing.extend(http_chunk("data: [DONE]\n\n"));
        closing.extend(b"0\r\n\r\n");
        let stream = |chunks: usize| {
            let mut whole = opening.clone();
            words(chunks).for_each(|word| whole.extend(http_chunk(&content_event(word))));
            whole.extend(&closing);
            whole
        };
        let text: String = words(SHORT_CHUNKS).collect();
        let unary = format!(
            r#"{{"choices":[{{"content_filter_results":{FILTERS},"finish_reason":"stop","index":0,"logprobs":null,"message":{{"annotations":[],"content":"{text}","refusal":null,"role":"assistant"}}}}],"created":1774962746,"id":"chatcmpl-DPTBKC5U7aQYydhXIGw4HbPc0HcVT","model":"gpt-4.1-mini-2025-04-14","object":"chat.completion","prompt_filter_results":{PROMPT_FILTERS},"system_fingerprint":"fp_b6f445fc1c","usage":{{"completion_tokens":20,"prompt_tokens":16,"total_tokens":36}}}}"#
        );
        Self {
            unary: json_answer("200 OK", &unary),
            short: stream(SHORT_CHUNKS),
            flood: stream(FLOOD_CHUNKS),
            embeddings: json_answer("200 OK", &embeddings()),
            opening,
            closing,
            not_found: json_answer("404 Not Found", r#"{"error":{"code":"404","message":"Resource not found"}}"#),
        }
    }
}

fn json_answer(status: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n{HEADERS}\r\n{body}")
        .into_bytes()
}

fn words(count: usize) -> impl Iterator<Item = &'static str> {
    ["The", " vectors", " of", " two", " models", " do", " not", " mix", ",", " so"].into_iter().cycle().take(count)
}

fn content_event(text: &str) -> String {
    choice_event(FILTERS, &format!(r#"{{"content":"{text}"}}"#), "null")
}

fn choice_event(filters: &str, delta: &str, finish: &str) -> String {
    format!(
        "data: {{\"choices\":[{{\"content_filter_results\":{filters},\"delta\":{delta},\"finish_reason\":{finish},\"index\":0,\"logprobs\":null}}],{ENVELOPE},\"usage\":null}}\n\n"
    )
}

fn http_chunk(event: &str) -> Vec<u8> {
    format!("{:x}\r\n{event}\r\n", event.len()).into_bytes()
}

fn embeddings() -> String {
    let vectors: Vec<String> = (0..VECTORS)
        .map(|index| {
            let bytes: Vec<u8> =
                (0..VECTOR_LENGTH).flat_map(|at| (((index * 31 + at) as f32).sin() / 28.0).to_le_bytes()).collect();
            let base64 = base64_simd::STANDARD.encode_to_string(bytes);
            format!(r#"{{"object":"embedding","index":{index},"embedding":"{base64}"}}"#)
        })
        .collect();
    format!(
        r#"{{"object":"list","data":[{}],"model":"text-embedding-3-small","usage":{{"prompt_tokens":3200,"total_tokens":3200}}}}"#,
        vectors.join(",")
    )
}
