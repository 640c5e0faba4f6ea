//! What tonic answers by itself (a message over the limit, bytes that are no protobuf, an unknown method) carries no
//! `ErrorInfo`. This layer adds it, so that every error of the service has one, with a reason that says what to do.
//!
//! It also keeps replies uncompressed unless the request itself was compressed: some clients announce gzip in every
//! call, and vectors hardly shrink.
use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use http::{HeaderMap, HeaderValue, Request, Response};
use tonic::{Code, Status};
use tower::{Layer, Service};

use super::status;

/// The layer.
#[derive(Clone, Copy, Debug, Default)]
pub struct Explain;

impl<S> Layer<S> for Explain {
    type Service = Explained<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Explained { inner }
    }
}

/// A service whose errors are explained.
#[derive(Clone, Debug)]
pub struct Explained<S> {
    inner: S,
}

impl<S, B, R> Service<Request<B>> for Explained<S>
where
    S: Service<Request<B>, Response = Response<R>>,
{
    type Response = Response<R>;
    type Error = S::Error;
    type Future = Explaining<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let asked = request.headers().get("grpc-encoding").is_some_and(|encoding| encoding != "identity");
        if !asked {
            request.headers_mut().remove("grpc-accept-encoding");
        }
        Explaining { inner: Box::pin(self.inner.call(request)) }
    }
}

/// The response to come.
pub struct Explaining<F> {
    inner: Pin<Box<F>>,
}

impl<F, R, E> Future for Explaining<F>
where
    F: Future<Output = Result<Response<R>, E>>,
{
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut response = ready!(self.inner.as_mut().poll(cx))?;
        explain(response.headers_mut());
        Poll::Ready(Ok(response))
    }
}

/// Only errors that are known before a reply begins stand in the headers; the others come from our own handlers.
fn explain(headers: &mut HeaderMap) {
    let plain = headers.get("grpc-status").is_some_and(|code| code != "0");
    if !plain || headers.contains_key("grpc-status-details-bin") {
        return;
    }
    let Some(refused) = Status::from_header_map(headers).and_then(|said| status::transport(&said)) else { return };
    let explained = Status::from(refused);
    let mut fresh = HeaderMap::new();
    if explained.add_header(&mut fresh).is_ok() {
        for name in ["grpc-status", "grpc-message", "grpc-status-details-bin"] {
            headers.remove(name);
            if let Some(value) = fresh.get(name) {
                headers.insert(name, HeaderValue::clone(value));
            }
        }
    }
}

/// Whether tonic's own code for a request that it could not read is the caller's fault.
pub(super) fn is_unreadable(said: &Status) -> bool {
    said.code() == Code::Internal && said.message().contains("failed to decode Protobuf message")
}
