//! A server that answers with bytes written out by hand, whatever was asked: answers that no decent server gives.
use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinHandle,
};

/// One step of an answer.
#[derive(Clone, Debug)]
pub enum Step {
    /// These bytes, in one write.
    Send(Vec<u8>),
    /// A pause.
    Wait(Duration),
    /// Nothing more until the client leaves.
    Hang,
    /// The connection is closed.
    Close,
    /// The connection is reset.
    Reset,
}

/// A request as it arrived.
#[derive(Clone, Debug)]
pub struct Request {
    /// Request line and headers.
    pub head: String,
    pub body: Vec<u8>,
}

impl Request {
    /// Path and query.
    pub fn path(&self) -> &str {
        self.head.split(' ').nth(1).unwrap()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().skip(1).filter_map(|line| line.split_once(':'));
        lines.find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

/// The server; stops when dropped.
pub struct Canned {
    pub address: SocketAddr,
    seen: Arc<Mutex<Vec<Request>>>,
    connections: watch::Receiver<Connections>,
    accepting: JoinHandle<()>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Connections {
    accepted: usize,
    ended: usize,
}

impl Drop for Canned {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Canned {
    /// Answers every request alike.
    pub async fn start(steps: impl IntoIterator<Item = Step>) -> Self {
        Self::start_with([steps.into_iter().collect()]).await
    }

    /// Answers the first request with the first answer, and so on; the last one repeats.
    pub async fn start_with(answers: impl IntoIterator<Item = Vec<Step>>) -> Self {
        Self::start_knowing(|_| answers.into_iter().collect()).await
    }

    /// The same, for answers that name the server's own address.
    pub async fn start_knowing(answers: impl FnOnce(SocketAddr) -> Vec<Vec<Step>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let answers: Arc<[Vec<Step>]> = answers(address).into();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (count, connections) = watch::channel(Connections::default());
        let requests = Arc::clone(&seen);
        let accepting = tokio::spawn(async move {
            while let Ok((mut socket, _)) = listener.accept().await {
                count.send_modify(|connections| connections.accepted += 1);
                let (answers, requests, count) = (Arc::clone(&answers), Arc::clone(&requests), count.clone());
                tokio::spawn(async move {
                    while let Some(request) = read(&mut socket).await {
                        let number = {
                            let mut requests = requests.lock().unwrap();
                            requests.push(request);
                            requests.len() - 1
                        };
                        if !play(&mut socket, &answers[number.min(answers.len() - 1)]).await {
                            break;
                        }
                    }
                    count.send_modify(|connections| connections.ended += 1);
                });
            }
        });
        Self { address, seen, connections, accepting }
    }

    pub fn seen(&self) -> Vec<Request> {
        self.seen.lock().unwrap().clone()
    }

    pub fn connections(&self) -> usize {
        self.connections.borrow().accepted
    }

    /// Resolves when this many connections are at their end.
    pub async fn ended(&self, wanted: usize) {
        let mut connections = self.connections.clone();
        connections.wait_for(|connections| connections.ended >= wanted).await.unwrap();
    }

    /// Resolves when this many requests have arrived.
    pub async fn received(&self, wanted: usize) {
        while self.seen.lock().unwrap().len() < wanted {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

async fn read(socket: &mut TcpStream) -> Option<Request> {
    let mut bytes = Vec::new();
    let head_end = loop {
        if let Some(at) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break at + 4;
        }
        if socket.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    };
    let mut body = bytes.split_off(head_end);
    let mut request = Request { head: String::from_utf8(bytes).unwrap(), body: Vec::new() };
    let length: usize = request.header("content-length").map_or(0, |length| length.parse().unwrap());
    while body.len() < length {
        if socket.read_buf(&mut body).await.ok()? == 0 {
            return None;
        }
    }
    request.body = body;
    Some(request)
}

/// Whether the connection can take another request.
async fn play(socket: &mut TcpStream, steps: &[Step]) -> bool {
    for step in steps {
        match step {
            Step::Send(bytes) => {
                if socket.write_all(bytes).await.is_err() {
                    return false;
                }
            }
            Step::Wait(span) => tokio::time::sleep(*span).await,
            Step::Hang => {
                let mut rest = Vec::new();
                let _ = socket.read_to_end(&mut rest).await;
                return false;
            }
            Step::Close => return false,
            Step::Reset => {
                let _ = socket2::SockRef::from(&*socket).set_linger(Some(Duration::ZERO));
                return false;
            }
        }
    }
    true
}

/// A response with a length.
pub fn response(status: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut bytes = head(status, headers);
    bytes.extend_from_slice(format!("content-length: {}\r\n\r\n", body.len()).as_bytes());
    bytes.extend_from_slice(body);
    bytes
}

/// The head of a response in chunks.
pub fn chunked_head(status: &str, headers: &[(&str, &str)]) -> Vec<u8> {
    let mut bytes = head(status, headers);
    bytes.extend_from_slice(b"transfer-encoding: chunked\r\n\r\n");
    bytes
}

/// One chunk; an empty one ends the body.
pub fn chunk(bytes: &[u8]) -> Vec<u8> {
    let mut framed = format!("{:x}\r\n", bytes.len()).into_bytes();
    framed.extend_from_slice(bytes);
    framed.extend_from_slice(b"\r\n");
    framed
}

/// A whole response in one chunk.
pub fn chunked(status: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut bytes = chunked_head(status, headers);
    if !body.is_empty() {
        bytes.extend(chunk(body));
    }
    bytes.extend(chunk(b""));
    bytes
}

fn head(status: &str, headers: &[(&str, &str)]) -> Vec<u8> {
    let mut text = format!("HTTP/1.1 {status}\r\n");
    for (name, value) in headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    text.into_bytes()
}
