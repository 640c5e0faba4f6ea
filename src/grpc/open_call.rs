//! A call between its first byte and its last: whatever becomes of it, its server span says so.
use std::sync::Arc;

use http::HeaderMap;
use tonic::{Code, Request, Response, Status};
use tracing::debug;

use super::status::{Refusal, code_name};
use crate::{
    audit::{CallFacts, CallJournal, Journal},
    identity::Caller,
    telemetry::{CallSpan, FloodGate, Metrics},
    tls::Peer,
};

/// Ends the server span exactly once: with a status, or as cancelled when it is dropped before.
#[derive(Debug)]
pub(super) struct OpenCall {
    pub(super) span: CallSpan,
    /// Its records; `None` where no journal is kept.
    pub(super) journal: Option<CallJournal>,
    method: &'static str,
    ended: bool,
    trail: Option<Arc<Trail>>,
}

/// Where calls leave their records.
#[derive(Debug)]
pub struct Trail {
    journal: Journal,
    /// Whoever is not even known could fill the disk with refusals.
    strangers: FloodGate,
    /// And so could a caller that goes on calling without allowance.
    exhausted: FloodGate,
}

/// Refusals of strangers, and of callers that have used up their allowance, that are noted one by one.
const NOTED_PER_SECOND: u32 = 20;

impl Trail {
    /// Calls leave their records in `journal`.
    pub fn new(journal: Journal) -> Self {
        Self { journal, strangers: FloodGate::new(NOTED_PER_SECOND), exhausted: FloodGate::new(NOTED_PER_SECOND) }
    }

    /// The journal.
    pub fn journal(&self) -> &Journal {
        &self.journal
    }

    fn deny(&self, call: &CallJournal, refusal: &Refusal) {
        let Some(refused) = refusal.denial() else { return };
        let held_back = match refusal.code() {
            Code::Unauthenticated => self.strangers.pass(),
            Code::ResourceExhausted => self.exhausted.pass(),
            _ => Some(0),
        };
        if let Some(held_back) = held_back {
            call.deny(refusal.reason(), refused.to_vec(), held_back);
        }
    }
}

impl OpenCall {
    pub(super) fn start<T>(
        method: &'static str,
        request: &Request<T>,
        trail: Option<&Arc<Trail>>,
        metrics: &Metrics,
    ) -> Self {
        let peer = request.extensions().get::<Peer>().and_then(|peer| peer.address);
        let span = CallSpan::start(method, request.metadata().as_ref(), peer, metrics);
        let facts = || CallFacts {
            trace_id: Some(span.trace_id().into()),
            operation: method.rsplit('.').next().unwrap_or(method).into(),
            ..CallFacts::default()
        };
        let journal = trail.map(|trail| CallJournal::new(&trail.journal, facts()));
        Self { span, journal, method, ended: false, trail: trail.cloned() }
    }

    /// Learns who calls.
    pub(super) fn known(&mut self, caller: &Caller) {
        self.span.known(&caller.name, &caller.policy.name);
        if let Some(journal) = &mut self.journal {
            journal.require(caller.policy.audit_required);
            journal.learn(|facts| {
                facts.caller = (&caller.name).into();
                facts.policy = (&caller.policy.name).into();
            });
        }
    }

    /// Learns what is asked, by a caller that is known.
    pub(super) fn asked(&mut self, message: &impl prost::Message) {
        if let Some(journal) = &mut self.journal {
            journal.asked(message.encoded_len(), || message.encode_to_vec());
        }
    }

    pub(super) fn succeed(&mut self) {
        self.end(Code::Ok, None);
    }

    pub(super) fn fail(&mut self, refusal: impl Into<Refusal>) -> Status {
        let refusal = refusal.into();
        if let (Some(trail), Some(journal)) = (&self.trail, &self.journal) {
            trail.deny(journal, &refusal);
        }
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

    fn end(&mut self, code: Code, reason: Option<&'static str>) {
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
