//! A region that speaks HTTP/2 over TLS, answers every chat call alike, and ends streams and connections as HTTP/2 may.
//! Test calls are answered, and not counted.
use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use bytes::Bytes;
use h2::{
    Reason,
    server::{Builder, SendResponse},
};
use http::{Response, header::USER_AGENT};
use rustls::ServerConfig;
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};
use tokio_rustls::TlsAcceptor;

const ANSWER: &str = concat!(
    r#"data: {"choices":[{"delta":{"role":"assistant","content":"hi"},"finish_reason":null,"index":0}],"#,
    r#""created":1,"id":"chatcmpl-1","model":"gpt-4o-2024-11-20"}"#,
    "\n\n",
    r#"data: {"choices":[{"delta":{},"finish_reason":"stop","index":0}],"id":"chatcmpl-1"}"#,
    "\n\ndata: [DONE]\n\n",
);

/// How it treats its callers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// Well.
    Plain,
    /// Every connection says GOAWAY after so many requests, and finishes those.
    GoAwayAfter(usize),
    /// One stream at a time.
    OneStream,
    /// Every so many requests one is refused as not processed.
    RefuseEvery(usize),
}

#[derive(Debug, Default)]
struct Counts {
    connections: AtomicUsize,
    asked: AtomicUsize,
    answered: AtomicUsize,
}

/// The region; stops when dropped.
pub struct Http2Region {
    address: SocketAddr,
    counts: Arc<Counts>,
    accepting: JoinHandle<()>,
}

impl Http2Region {
    pub async fn start(tls: Arc<ServerConfig>, manner: Manner) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let counts = Arc::new(Counts::default());
        let acceptor = TlsAcceptor::from(tls);
        let seen = Arc::clone(&counts);
        let accepting = tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                tokio::spawn(serve(socket, acceptor.clone(), manner, Arc::clone(&seen)));
            }
        });
        Self { address, counts, accepting }
    }

    pub fn endpoint(&self) -> String {
        format!("https://localhost:{}", self.address.port())
    }

    /// Connections that spoke TLS and HTTP/2.
    pub fn connections(&self) -> usize {
        self.counts.connections.load(Relaxed)
    }

    /// Requests that arrived, refused ones among them.
    pub fn asked(&self) -> usize {
        self.counts.asked.load(Relaxed)
    }

    pub fn answered(&self) -> usize {
        self.counts.answered.load(Relaxed)
    }
}

impl Drop for Http2Region {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn serve(socket: TcpStream, acceptor: TlsAcceptor, manner: Manner, counts: Arc<Counts>) {
    let Ok(tls) = acceptor.accept(socket).await else { return };
    let mut builder = Builder::new();
    if manner == Manner::OneStream {
        builder.max_concurrent_streams(1);
    }
    let Ok(mut connection) = builder.handshake::<_, Bytes>(tls).await else { return };
    counts.connections.fetch_add(1, Relaxed);
    let mut here = 0;
    while let Some(Ok((request, mut respond))) = connection.accept().await {
        let agent = request.headers().get(USER_AGENT).and_then(|agent| agent.to_str().ok());
        if agent.is_some_and(|agent| agent.contains("test call")) {
            tokio::spawn(answer(respond, Arc::default()));
            continue;
        }
        here += 1;
        let number = counts.asked.fetch_add(1, Relaxed) + 1;
        match manner {
            Manner::GoAwayAfter(requests) if here == requests => connection.graceful_shutdown(),
            Manner::RefuseEvery(requests) if number.is_multiple_of(requests) => {
                respond.send_reset(Reason::REFUSED_STREAM);
                continue;
            }
            _ => {}
        }
        tokio::spawn(answer(respond, Arc::clone(&counts)));
    }
}

async fn answer(mut respond: SendResponse<Bytes>, counts: Arc<Counts>) {
    // Long enough for calls to overlap.
    tokio::time::sleep(Duration::from_millis(20)).await;
    let head = Response::builder().header("content-type", "text/event-stream").body(()).unwrap();
    let Ok(mut body) = respond.send_response(head, false) else { return };
    if body.send_data(Bytes::from_static(ANSWER.as_bytes()), true).is_ok() {
        counts.answered.fetch_add(1, Relaxed);
    }
}
