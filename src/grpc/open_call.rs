//! A call between its first byte and its last: whatever becomes of it, its server span says so.
use std::net::SocketAddr;

use http::HeaderMap;
use tonic::{Code, Request, Response, Status};
use tracing::debug;

use super::status::{Refusal, code_name};
use crate::telemetry::CallSpan;

/// Ends the server span exactly once: with a status, or as cancelled when it is dropped before.
#[derive(Debug)]
pub(super) struct OpenCall {
    pub(super) span: CallSpan,
    method: &'static str,
    ended: bool,
}

impl OpenCall {
    pub(super) fn start<T>(method: &'static str, request: &Request<T>) -> Self {
        let peer: Option<SocketAddr> = request.remote_addr();
        let span = CallSpan::start(method, request.metadata().as_ref(), peer);
        Self { span, method, ended: false }
    }

    pub(super) fn succeed(&mut self) {
        self.end(Code::Ok, None);
    }

    pub(super) fn fail(&mut self, refusal: impl Into<Refusal>) -> Status {
        let refusal = refusal.into();
        self.end(refusal.code(), Some(refusal.reason()));
        refusal.into()
    }

    /// Ends it as the answer says.
    pub(super) fn finish<T>(&mut self, answer: Result<Response<T>, Refusal>) -> Result<Response<T>, Status> {
        match answer {
            Ok(response) => {
                self.succeed();
                Ok(response)
            }
            Err(refusal) => Err(self.fail(refusal)),
        }
    }

    /// Its status is told.
    pub(super) fn ended(&self) -> bool {
        self.ended
    }

    fn end(&mut self, code: Code, reason: Option<&str>) {
        if !std::mem::replace(&mut self.ended, true) {
            let code = code_name(code);
            self.span.end(code, reason);
            debug!(method = self.method, code, reason, trace_id = self.span.trace_id(), "call ended");
        }
    }
}

impl Drop for OpenCall {
    fn drop(&mut self) {
        self.end(Code::Cancelled, None);
    }
}

/// The headers of a request, as the modules read them.
pub(super) fn headers<T>(request: &Request<T>) -> &HeaderMap {
    request.metadata().as_ref()
}
