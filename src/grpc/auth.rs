//! The gate: no call passes without a caller that may make it. A call that is turned away ends as a `Denial`, of which
//! `OpenCall::fail` makes a status, the end of its span and its record in the journal.
use std::sync::Arc;

use tonic::{Request, Status, service::Interceptor};

use super::{
    inference::InferenceRules,
    open_call::{OpenCall, headers},
};
use crate::{
    clock::Clock,
    identity::{Audience, Caller, Callers, Denial, Presented},
    in_force::InForce,
    telemetry::Metrics,
    tls::Peer,
};

const REFLECTION: &str = "grpc.reflection.v1.ServerReflection/ServerReflectionInfo";

/// Lets callers in.
#[derive(Debug)]
pub struct Gate {
    callers: Arc<Callers>,
    region_status: Audience,
}

impl Gate {
    /// For these callers; `region_status` says which of them may see `RegionService`.
    pub fn new(callers: Arc<Callers>, region_status: Audience) -> Self {
        Self { callers, region_status }
    }

    /// Everyone who may call.
    pub fn callers(&self) -> &Arc<Callers> {
        &self.callers
    }

    /// Who may see `RegionService`.
    pub fn region_status(&self) -> Audience {
        self.region_status
    }

    /// The caller of a call, which learns it.
    pub(super) fn caller<T>(&self, call: &mut OpenCall, request: &Request<T>) -> Result<&Arc<Caller>, Denial> {
        let caller = self.identify(request)?;
        call.known(caller);
        Ok(caller)
    }

    /// The same, for a caller that wants to act on the router.
    pub(super) fn operator<T>(&self, call: &mut OpenCall, request: &Request<T>) -> Result<&Arc<Caller>, Denial> {
        let caller = self.caller(call, request)?;
        caller.admit_as_operator().map(|()| caller)
    }

    /// Whether the caller may see `RegionService`.
    pub(super) fn watcher<T>(&self, call: &mut OpenCall, request: &Request<T>) -> Result<(), Denial> {
        self.one_of(self.region_status, call, request)
    }

    /// Whether the caller belongs to this audience.
    fn one_of<T>(&self, audience: Audience, call: &mut OpenCall, request: &Request<T>) -> Result<(), Denial> {
        match audience {
            Audience::Anyone => Ok(()),
            Audience::Callers => self.caller(call, request).map(drop),
            // What nobody may use has no route; an operator at most is let in by mistake.
            Audience::Operators | Audience::Nobody => self.operator(call, request).map(drop),
        }
    }

    fn identify<T>(&self, request: &Request<T>) -> Result<&Arc<Caller>, Denial> {
        let certificate = request.extensions().get::<Peer>().and_then(|peer| peer.certificate.as_deref());
        self.callers.identify(&Presented { headers: headers(request), certificate, now: Clock::today() })
    }
}

/// Lets only its audience use reflection.
#[derive(Clone, Debug)]
pub struct ReflectionGate {
    rules: Arc<InForce<InferenceRules>>,
    audience: Audience,
    metrics: Metrics,
}

impl ReflectionGate {
    /// For this audience among the callers of `rules`.
    pub fn new(rules: Arc<InForce<InferenceRules>>, audience: Audience, metrics: Metrics) -> Self {
        Self { rules, audience, metrics }
    }
}

impl Interceptor for ReflectionGate {
    fn call(&mut self, request: Request<()>) -> Result<Request<()>, Status> {
        if self.audience == Audience::Anyone {
            return Ok(request);
        }
        let rules = self.rules.get();
        let mut call = OpenCall::start(REFLECTION, &request, rules.trail.as_ref(), &self.metrics);
        match rules.gate.one_of(self.audience, &mut call, &request) {
            Ok(()) => {
                call.succeed();
                Ok(request)
            }
            Err(denial) => Err(call.fail(denial)),
        }
    }
}
