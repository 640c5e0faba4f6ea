//! Sockets: listening, not listening, and ending connections the hard way.
use std::future::pending;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use super::control;
use super::counters::Connection;
use super::service::Region;

const BACKLOG: i32 = 4096;

/// Listens on `address`; port 0 picks a free one. The port can be taken again at once after it was given up.
pub(super) fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// Opens and closes a listener while its accept loop runs.
#[derive(Clone, Debug)]
pub(super) struct Switch(mpsc::Sender<(bool, oneshot::Sender<io::Result<()>>)>);

pub(super) type Commands = mpsc::Receiver<(bool, oneshot::Sender<io::Result<()>>)>;

impl Switch {
    pub(super) fn new() -> (Self, Commands) {
        let (sender, commands) = mpsc::channel(1);
        (Self(sender), commands)
    }

    /// Returns when it is done.
    ///
    /// # Errors
    /// When the port cannot be bound again, or the region has stopped.
    pub(super) async fn set(&self, listening: bool) -> io::Result<()> {
        let stopped = || io::Error::other("the simulated region has stopped");
        let (done, result) = oneshot::channel();
        self.0.send((listening, done)).await.map_err(|_| stopped())?;
        result.await.map_err(|_| stopped())?
    }
}

/// What an accept loop and its connections share.
#[derive(Clone)]
pub(super) struct Shared {
    pub(super) region: Arc<Region>,
    /// Changes when all open connections are to be reset.
    pub(super) cut: watch::Receiver<u64>,
    pub(super) stopped: CancellationToken,
    /// Only on a control port: the switch of the region's own listener.
    pub(super) switch: Option<Switch>,
}

/// Accepts connections until the region stops.
pub(super) async fn accept(shared: Shared, listener: TcpListener, address: SocketAddr, mut commands: Commands) {
    let mut listener = Some(listener);
    loop {
        let accepted = async {
            match &listener {
                Some(listener) => listener.accept().await,
                None => pending().await,
            }
        };
        tokio::select! {
            () = shared.stopped.cancelled() => return,
            Some((listening, done)) = commands.recv() => {
                let result = switch(&shared, &mut listener, address, listening);
                // Whoever asked may have stopped waiting.
                let _ = done.send(result);
            }
            accepted = accepted => match accepted {
                Ok((stream, _)) => _ = tokio::spawn(serve(shared.clone(), stream)),
                // Out of file descriptors, or a connection that died in the queue: the loop must outlive both.
                Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
            },
        }
    }
}

fn switch(shared: &Shared, listener: &mut Option<TcpListener>, address: SocketAddr, listening: bool) -> io::Result<()> {
    if !listening {
        *listener = None;
        shared.region.faults.reset_connections();
    } else if listener.is_none() {
        *listener = Some(bind(address)?);
    }
    Ok(())
}

async fn serve(shared: Shared, stream: TcpStream) {
    let _open = shared.region.counters.connected();
    // A peer that is gone already shows itself at the first read.
    let _ = stream.set_nodelay(true);
    let state = Arc::new(Connection::default());
    let service = service_fn(|request: Request<Incoming>| {
        let (region, state, switch) = (Arc::clone(&shared.region), Arc::clone(&state), shared.switch.clone());
        async move {
            let is_control = request.uri().path().starts_with(control::PREFIX);
            state.set_control(is_control);
            if is_control {
                Ok(control::answer(&region, switch.as_ref(), request).await)
            } else {
                region.answer(request, &state).await
            }
        }
    });
    // Idle connections stay open: a client's pool may hold one for minutes.
    let mut connection =
        http1::Builder::new().header_read_timeout(None).serve_connection(TokioIo::new(stream), service);
    let mut cut = shared.cut.clone();
    cut.mark_unchanged();
    let cut_off = async {
        loop {
            match cut.changed().await {
                Ok(()) if state.is_control() => {}
                Ok(()) => return,
                Err(_) => pending().await,
            }
        }
    };
    tokio::select! {
        // How a connection ended is the client's to judge.
        _ = &mut connection => {}
        () = cut_off => state.sever(true),
        () = shared.stopped.cancelled() => state.sever(true),
    }
    let stream = connection.into_parts().io.into_inner();
    if state.is_reset() {
        // Closing with unsent time zero sends RST in place of FIN.
        let _ = SockRef::from(&stream).set_linger(Some(Duration::ZERO));
    }
}
