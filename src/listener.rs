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

use crate::tls::{Peer, ServerTls};

/// Longest handshake: longer ones are stalled, or meant to be.
const HANDSHAKE: Duration = Duration::from_secs(5);

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
    pause: Option<Pin<Box<Sleep>>>,
}

impl Incoming {
    /// With `tls` every connection begins with a handshake; without, it is plain text.
    pub(crate) fn new(listener: TcpListener, tls: Option<Arc<ServerTls>>) -> Self {
        Self { listener, tls, handshakes: JoinSet::new(), pause: None }
    }

    /// What an accept gave: a connection that is ready, or nothing yet.
    fn take(&mut self, accepted: io::Result<(TcpStream, SocketAddr)>) -> Option<Connection> {
        let (stream, address) = match accepted {
            Ok(accepted) => accepted,
            Err(error) if is_the_peers(&error) => {
                debug!(%error, "a connection was gone before it was accepted");
                return None;
            }
            Err(error) => {
                warn!(%error, "cannot accept connections; trying again");
                self.pause = Some(Box::pin(sleep(PAUSE)));
                return None;
            }
        };
        prepare(&stream);
        let peer = Peer { address: Some(address), certificate: None };
        let Some(tls) = &self.tls else { return Some(Connection { socket: Socket::Plain(stream), peer }) };
        if self.handshakes.len() < MOST_HANDSHAKES {
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
            if let Some(connection) = this.take(accepted) {
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
            Some(Connection { socket: Socket::Tls(Box::new(stream)), peer: Peer { certificate, ..peer } })
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
        match &mut self.socket {
            Socket::Plain(stream) => Pin::new(stream).poll_read(cx, buffer),
            Socket::Tls(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
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
