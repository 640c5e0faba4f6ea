//! Takes connections, does TLS handshakes beside each other, and hands over what is ready to speak HTTP/2.
use std::{
    io::{self, IoSlice},
    net::SocketAddr,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use futures_util::Stream;
use socket2::{SockRef, TcpKeepalive};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::{Sleep, sleep, timeout},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tonic::transport::server::Connected;
use tracing::{debug, warn};

use crate::{
    telemetry::FloodGate,
    tls::{Peer, ServerTls},
};

/// Longest handshake: longer ones are stalled, or meant to be.
const HANDSHAKE: Duration = Duration::from_secs(5);

/// Longest wait for HTTP/2's first words after that: whoever only holds a connection open gives it back. From then on
/// HTTP/2's own pings find who is gone.
const FIRST_WORDS: Duration = Duration::from_secs(10);

/// Bytes of HTTP/2's connection preface (RFC 9113, section 3.4).
const PREFACE_BYTES: usize = 24;

/// Handshakes at the same time. Beyond them connections are closed at once, so that a flood cannot pile up.
const MOST_HANDSHAKES: usize = 1024;

/// Finds peers that vanished without a word, whatever HTTP/2 says.
const KEEPALIVE: Duration = Duration::from_secs(60);

/// After an accept that failed for want of descriptors or memory: trying again at once would only burn a processor.
const PAUSE: Duration = Duration::from_millis(100);

/// Connections, as they become ready. Ends never, whatever a peer or the operating system does.
pub(crate) struct Incoming {
    listener: TcpListener,
    tls: Option<Arc<ServerTls>>,
    handshakes: JoinSet<Option<Connection>>,
    most_handshakes: usize,
    pause: Option<Pin<Box<Sleep>>>,
    refusals_told: FloodGate,
}

impl Incoming {
    /// With `tls` every connection begins with a handshake; without, it is plain text.
    pub(crate) fn new(listener: TcpListener, tls: Option<Arc<ServerTls>>) -> Self {
        let handshakes = JoinSet::new();
        let refusals_told = FloodGate::new(1);
        Self { listener, tls, handshakes, most_handshakes: MOST_HANDSHAKES, pause: None, refusals_told }
    }

    /// What an accept gave: a connection that is ready, or nothing yet.
    fn welcome(&mut self, accepted: io::Result<(TcpStream, SocketAddr)>) -> Option<Connection> {
        let (stream, address) = match accepted {
            Ok(accepted) => accepted,
            Err(error) if is_the_peers(&error) => {
                debug!(%error, "a connection was gone before it was accepted");
                return None;
            }
            Err(error) => {
                if let Some(held_back) = self.refusals_told.pass() {
                    warn!(%error, held_back, "cannot accept connections; trying again");
                }
                self.pause = Some(Box::pin(sleep(PAUSE)));
                return None;
            }
        };
        prepare(&stream);
        let peer = Peer { address: Some(address), certificate: None };
        let Some(tls) = &self.tls else { return Some(Connection::new(Socket::Plain(stream), peer)) };
        if self.handshakes.len() < self.most_handshakes {
            self.handshakes.spawn(handshake(stream, peer, Arc::clone(tls)));
        } else {
            debug!("too many handshakes at the same time; closing a connection");
        }
        None
    }
}

impl Stream for Incoming {
    type Item = Result<Connection, std::convert::Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        loop {
            // Also after every accept, so that the handshake that it began knows whom to wake.
            while let Poll::Ready(Some(done)) = this.handshakes.poll_join_next(cx) {
                if let Ok(Some(connection)) = done {
                    return Poll::Ready(Some(Ok(connection)));
                }
            }
            if let Some(pause) = &mut this.pause {
                ready!(pause.as_mut().poll(cx));
                this.pause = None;
            }
            let accepted = ready!(this.listener.poll_accept(cx));
            if let Some(connection) = this.welcome(accepted) {
                return Poll::Ready(Some(Ok(connection)));
            }
        }
    }
}

/// The peer's doing, and over with this connection.
fn is_the_peers(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted, TimedOut};
    matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted | TimedOut)
}

/// A socket that cannot be set up is still worth a try: whatever is wrong with it shows when it is used.
fn prepare(stream: &TcpStream) {
    let socket = SockRef::from(stream);
    // Without TCP_NODELAY small chunks wait up to 40 ms for an acknowledgement.
    let set = socket.set_tcp_nodelay(true).and_then(|()| {
        let keepalive = TcpKeepalive::new().with_time(KEEPALIVE);
        socket.set_tcp_keepalive(&keepalive)
    });
    if let Err(error) = set {
        debug!(%error, "a connection cannot be set up");
    }
}

async fn handshake(stream: TcpStream, peer: Peer, tls: Arc<ServerTls>) -> Option<Connection> {
    let accepted = pin!(TlsAcceptor::from(tls.config()).accept(stream));
    match timeout(HANDSHAKE, accepted).await {
        Ok(Ok(stream)) => {
            let certificate = tls.peer_certificate(stream.get_ref().1).map(Arc::new);
            Some(Connection::new(Socket::Tls(Box::new(stream)), Peer { certificate, ..peer }))
        }
        Ok(Err(error)) => {
            debug!(%error, "a TLS handshake failed");
            None
        }
        Err(_) => {
            debug!("a TLS handshake took too long");
            None
        }
    }
}

/// A connection that is ready.
pub(crate) struct Connection {
    socket: Socket,
    peer: Peer,
    /// Until its first words are here.
    silence: Option<Silence>,
}

/// How long a connection may still take for its first words.
struct Silence {
    missing: usize,
    over: Pin<Box<Sleep>>,
}

impl Connection {
    fn new(socket: Socket, peer: Peer) -> Self {
        let silence = Silence { missing: PREFACE_BYTES, over: Box::pin(sleep(FIRST_WORDS)) };
        Self { socket, peer, silence: Some(silence) }
    }
}

impl Socket {
    fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buffer),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

enum Socket {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Connected for Connection {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        self.peer.clone()
    }
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = self.socket.poll_read(cx, buffer);
        let Some(silence) = &mut self.silence else { return read };
        silence.missing = silence.missing.saturating_sub(buffer.filled().len() - before);
        if silence.missing == 0 {
            self.silence = None;
        } else if read.is_pending() {
            ready!(silence.over.as_mut().poll(cx));
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        read
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.socket {
            Socket::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Socket::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.socket {
            Socket::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
            Socket::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match &self.socket {
            Socket::Plain(stream) => stream.is_write_vectored(),
            Socket::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.socket {
            Socket::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Socket::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.socket {
            Socket::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Socket::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use futures_util::StreamExt as _;
    use tokio::io::AsyncReadExt as _;

    use super::*;
    use crate::{
        clock::Clock,
        secret::{Form, Secret},
        tls::TlsSettings,
    };

    async fn incoming(tls: Option<Arc<ServerTls>>) -> (Incoming, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        (Incoming::new(listener, tls), address)
    }

    fn tls() -> Arc<ServerTls> {
        let rcgen::CertifiedKey { cert, signing_key } =
            rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let settings = TlsSettings {
            certificate: Secret::fixed(&cert.pem(), Form::Text).unwrap(),
            key: Secret::fixed(&signing_key.serialize_pem(), Form::Text).unwrap(),
            client_ca: None,
        };
        Arc::new(ServerTls::new(settings, Clock::today()).unwrap())
    }

    #[tokio::test]
    async fn more_handshakes_than_there_may_be_are_closed_at_once() {
        let (mut incoming, address) = incoming(Some(tls())).await;
        incoming.most_handshakes = 2;
        tokio::spawn(async move { while incoming.next().await.is_some() {} });
        let mut stalled = Vec::new();
        for _ in 0..2 {
            stalled.push(TcpStream::connect(address).await.unwrap());
        }
        let mut third = TcpStream::connect(address).await.unwrap();
        let end = timeout(HANDSHAKE / 2, third.read(&mut [0])).await.expect("closed long before its time is over");
        assert!(matches!(end, Ok(0) | Err(_)), "{end:?}");
        let still_open = timeout(Duration::from_millis(50), stalled[0].read(&mut [0])).await;
        assert!(still_open.is_err(), "{still_open:?}");
    }

    /// Read as a server would; time is paused and passes by itself while nothing else happens.
    #[tokio::test(start_paused = true)]
    async fn who_says_nothing_or_only_dribbles_is_let_go_and_who_has_spoken_may_be_silent() {
        use tokio::io::AsyncWriteExt as _;
        for (words, expected) in [(0, Some(10)), (PREFACE_BYTES - 1, Some(10)), (PREFACE_BYTES, None)] {
            let (mut incoming, address) = incoming(None).await;
            let mut client = TcpStream::connect(address).await.unwrap();
            let mut connection = incoming.next().await.unwrap().unwrap();
            let start = tokio::time::Instant::now();
            client.write_all(&vec![b'x'; words]).await.unwrap();
            let mut heard = vec![0; words];
            connection.read_exact(&mut heard).await.unwrap();
            let silent = timeout(FIRST_WORDS * 6, connection.read(&mut [0])).await;
            let ended = silent.ok().map(|read| {
                assert_eq!(read.unwrap_err().kind(), io::ErrorKind::TimedOut);
                start.elapsed().as_secs()
            });
            assert_eq!(ended, expected, "{words} bytes");
        }
    }

    /// tonic's own loop ends the service when descriptors run out.
    #[tokio::test]
    async fn an_accept_that_fails_is_tried_again() {
        let (mut incoming, address) = incoming(None).await;
        const TOO_MANY_OPEN_FILES: i32 = 24;
        assert!(incoming.welcome(Err(io::Error::from_raw_os_error(TOO_MANY_OPEN_FILES))).is_none());
        assert!(incoming.pause.is_some(), "not at once");
        assert!(incoming.welcome(Err(io::ErrorKind::ConnectionAborted.into())).is_none());
        let client = TcpStream::connect(address).await.unwrap();
        let connection = incoming.next().await.unwrap().unwrap();
        assert_eq!(connection.connect_info().address, Some(client.local_addr().unwrap()));
    }
}
