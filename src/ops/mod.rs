//! The operator's HTTP port: `/metrics`, `/livez`, `/readyz` and a status page.
//!
//! It shows and never changes anything. There is no authentication: keep the port where only probes and Prometheus
//! reach it. What it shows is configured names, counts and standings.
mod page;

use std::{fmt, io, net::SocketAddr, sync::Arc, time::Duration};

use http::{Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::{body::Bytes, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use sealane_core::router::Snapshot;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::timeout,
};

use crate::{
    clock::Clock,
    telemetry::{EXPOSITION_TYPE, Metrics},
};

/// Connections at a time; more wait in the kernel's queue.
const CONNECTIONS: usize = 32;

/// A connection carries one request and answer, and is closed after this whatever it does.
const PATIENCE: Duration = Duration::from_secs(10);

/// For the request to arrive.
const PATIENCE_FOR_HEAD: Duration = Duration::from_secs(5);

/// Bytes of a request line and its headers.
const LONGEST_HEAD: usize = 16 << 10;

/// What the port shows.
pub struct View {
    /// Whether this process takes calls: the same truth as the health name `readiness`.
    pub ready: Box<dyn Fn() -> bool + Send + Sync>,
    /// The router's state.
    pub snapshot: Box<dyn Fn() -> Snapshot + Send + Sync>,
    /// Turns its moments into calendar time.
    pub clock: Clock,
    /// What `/metrics` shows.
    pub metrics: Metrics,
    /// Configuration in force.
    pub config_revision: Box<dyn Fn() -> String + Send + Sync>,
}

impl fmt::Debug for View {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("View").field("config_revision", &(self.config_revision)()).finish_non_exhaustive()
    }
}

/// The port, listening but not yet serving.
#[derive(Debug)]
pub struct Ops {
    listener: TcpListener,
}

impl Ops {
    /// Listens.
    ///
    /// # Errors
    /// When the address cannot be had.
    pub async fn bind(address: SocketAddr) -> io::Result<Self> {
        Ok(Self { listener: TcpListener::bind(address).await? })
    }

    /// The address, with the port that was really taken.
    ///
    /// # Errors
    /// When the operating system does not tell.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until dropped.
    pub async fn serve(self, view: View) {
        let view = Arc::new(view);
        let places = Arc::new(Semaphore::new(CONNECTIONS));
        loop {
            // Never closed, so never an error.
            let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
            match self.listener.accept().await {
                Ok((stream, _)) => {
                    let view = Arc::clone(&view);
                    tokio::spawn(async move {
                        // How a connection ends is the client's to judge.
                        let _ = timeout(PATIENCE, converse(view, stream)).await;
                        drop(place);
                    });
                }
                // Out of file descriptors, or a connection that died in the queue: the loop must outlive both.
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    }
}

async fn converse(view: Arc<View>, stream: TcpStream) -> hyper::Result<()> {
    let service = service_fn(|request| {
        let answer = answer(&view, &request);
        async move { Ok::<_, std::convert::Infallible>(answer) }
    });
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(PATIENCE_FOR_HEAD)
        .max_buf_size(LONGEST_HEAD)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service)
        .await
}

fn answer<B>(view: &View, request: &Request<B>) -> Response<Full<Bytes>> {
    const TEXT: &str = "text/plain; charset=utf-8";
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut refusal = response(StatusCode::METHOD_NOT_ALLOWED, TEXT, "only GET and HEAD\n");
        refusal.headers_mut().insert(header::ALLOW, header::HeaderValue::from_static("GET, HEAD"));
        return refusal;
    }
    match request.uri().path() {
        "/metrics" => match view.metrics.exposition() {
            Ok(text) => response(StatusCode::OK, EXPOSITION_TYPE, text),
            Err(error) => response(StatusCode::INTERNAL_SERVER_ERROR, TEXT, format!("{error}\n")),
        },
        "/livez" => response(StatusCode::OK, TEXT, "ok\n"),
        "/readyz" if (view.ready)() => response(StatusCode::OK, TEXT, "ok\n"),
        "/readyz" => response(StatusCode::SERVICE_UNAVAILABLE, TEXT, "draining\n"),
        "/" => {
            let page = page::render(&(view.snapshot)(), view.clock, (view.ready)(), &(view.config_revision)());
            let mut response = response(StatusCode::OK, "text/html; charset=utf-8", page);
            let policy = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'";
            response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, header::HeaderValue::from_static(policy));
            response
        }
        _ => response(StatusCode::NOT_FOUND, TEXT, "/, /metrics, /livez and /readyz are here\n"),
    }
}

fn response(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, header::HeaderValue::from_static(kind));
    headers.insert(header::CACHE_CONTROL, header::HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, header::HeaderValue::from_static("nosniff"));
    response
}
