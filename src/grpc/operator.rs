//! `OperatorService`: an operator's hand on the router.
use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use sealane_core::{
    domain::{Target, normalise_region},
    router::Selector,
};
use tonic::{Request, Response, Status};
use tracing::info;

use super::{
    Violations,
    deadline::stated,
    inference::InferenceRules,
    open_call::{OpenCall, headers},
    pb::{self, operator_service_server::OperatorService},
    status::{Refusal, draining, no_such_target, time_is_up, unknown_model, unknown_region, unknown_resource},
};
use crate::{
    audit::{self, Event},
    dispatch::{Dispatcher, Validated},
    identity::Caller,
    upstream::Upstream,
};

const DRAIN: &str = "sealane.v1.OperatorService/Drain";
const RELEASE: &str = "sealane.v1.OperatorService/Release";
const VALIDATE: &str = "sealane.v1.OperatorService/Validate";
const LONGEST_REASON: usize = 256;
const SHORTEST_DRAIN: Duration = Duration::from_secs(1);
const LONGEST_DRAIN: Duration = Duration::from_secs(7 * 24 * 3600);

/// The service.
#[derive(Debug)]
pub struct Operator<U> {
    dispatcher: Arc<Dispatcher<U>>,
    rules: Arc<InferenceRules>,
}

impl<U: Upstream> Operator<U> {
    /// Acts on `dispatcher`'s router.
    pub fn new(dispatcher: Arc<Dispatcher<U>>, rules: Arc<InferenceRules>) -> Self {
        Self { dispatcher, rules }
    }

    fn answer_drain(
        &self,
        call: &mut OpenCall,
        request: &Request<pb::DrainRequest>,
    ) -> Result<pb::DrainResponse, Refusal> {
        let caller = self.rules.gate.operator(call, request)?;
        let message = request.get_ref();
        let mut violations = Violations::none();
        let reason = reason(&message.reason, &mut violations);
        let span = drain_span(message.duration.as_ref(), &mut violations);
        let selector = self.selector(message.selector.as_ref(), violations)?;
        let drained = self.dispatcher.drain(&selector, span, &reason);
        self.note(caller, "drain", &selector, &reason, Some(span));
        Ok(pb::DrainResponse {
            targets: names(&drained.targets),
            expire_time: Some(self.dispatcher.clock().calendar(drained.until).into()),
            models_without_target: drained.without_target.iter().map(ToString::to_string).collect(),
        })
    }

    fn answer_release(
        &self,
        call: &mut OpenCall,
        request: &Request<pb::ReleaseRequest>,
    ) -> Result<pb::ReleaseResponse, Refusal> {
        let caller = self.rules.gate.operator(call, request)?;
        let message = request.get_ref();
        let mut violations = Violations::none();
        let reason = reason(&message.reason, &mut violations);
        let selector = self.selector(message.selector.as_ref(), violations)?;
        let targets = self.dispatcher.release(&selector, &reason);
        self.note(caller, "release", &selector, &reason, None);
        Ok(pb::ReleaseResponse { targets: names(&targets) })
    }

    async fn answer_validate(
        &self,
        call: &mut OpenCall,
        request: &Request<pb::ValidateRequest>,
    ) -> Result<pb::ValidateResponse, Refusal> {
        let caller = self.rules.gate.operator(call, request)?;
        let patience = stated(headers(request))?.unwrap_or(Duration::MAX);
        let message = request.get_ref();
        let mut violations = Violations::none();
        let reason = reason(&message.reason, &mut violations);
        let selector = self.selector(message.selector.as_ref(), violations)?;
        self.note(caller, "validate", &selector, &reason, None);
        let verdicts = tokio::time::timeout(patience, self.dispatcher.validate(&selector, &reason));
        match self.rules.ending.run_until_cancelled(verdicts).await {
            Some(Ok((verdicts, taken_along))) => Ok(pb::ValidateResponse {
                verdicts: verdicts.into_iter().map(verdict).collect(),
                taken_along: names(&taken_along),
            }),
            Some(Err(_)) => Err(time_is_up("the deadline passed before every verdict; RegionStatus tells them later")),
            None => Err(draining()),
        }
    }

    /// Whoever looks into an incident finds in log and journal who did what, and why.
    fn note(&self, caller: &Caller, action: &str, selector: &Selector, reason: &str, span: Option<Duration>) {
        info!(
            action,
            caller = &*caller.name,
            region = selector.region,
            resource = selector.resource,
            model = selector.model,
            reason,
            seconds = span.map(|span| span.as_secs()),
            "an operator acts"
        );
        let Some(trail) = &self.rules.trail else { return };
        let until = span.map(|span| self.dispatcher.clock().calendar(self.dispatcher.clock().now() + span));
        let unix_ms = |at: SystemTime| u64::try_from(at.duration_since(UNIX_EPOCH).ok()?.as_millis()).ok();
        let parts = [("region", &selector.region), ("resource", &selector.resource), ("model", &selector.model)];
        let named = parts.iter().filter_map(|(part, name)| Some(format!("{part}={}", name.as_deref()?)));
        // What is lost is counted, and told by the journal itself.
        let _ = trail.journal().note(Event::Operator(audit::Operator {
            caller: (&caller.name).into(),
            action: action.into(),
            subject: named.collect::<Vec<_>>().join(" ").into(),
            reason: Some(reason.into()),
            expires_unix_ms: until.and_then(unix_ms),
        }));
    }

    /// Refuses what cannot be used, and what `violations` holds already, before it looks for the names.
    fn selector(&self, asked: Option<&pb::TargetSelector>, mut violations: Violations) -> Result<Selector, Refusal> {
        let pb::TargetSelector { region, resource, model } = asked.cloned().unwrap_or_default();
        let named = [&region, &resource, &model].into_iter().any(|name| !name.is_empty());
        violations.require(named, "selector", "must name a region, a resource or a model");
        violations.or(())?;
        let some = |name: String| (!name.is_empty()).then_some(name);
        let selector =
            Selector { region: some(normalise_region(&region)), resource: some(resource), model: some(model) };
        let targets = self.dispatcher.targets();
        let known = |name: &Option<String>, of: fn(&Target) -> &str| {
            name.as_deref().is_none_or(|name| targets.iter().any(|target| of(target) == name))
        };
        let name = |name: &Option<String>| name.clone().unwrap_or_default();
        if !known(&selector.region, |target| &target.region) {
            return Err(unknown_region(&region));
        }
        if !known(&selector.resource, |target| &target.resource) {
            return Err(unknown_resource(&name(&selector.resource)));
        }
        if !known(&selector.model, |target| &target.model) {
            return Err(unknown_model(&name(&selector.model)));
        }
        if targets.iter().any(|target| selector.selects(target)) { Ok(selector) } else { Err(no_such_target()) }
    }
}

#[tonic::async_trait]
impl<U: Upstream> OperatorService for Operator<U> {
    async fn drain(&self, request: Request<pb::DrainRequest>) -> Result<Response<pb::DrainResponse>, Status> {
        let mut call = OpenCall::start(DRAIN, &request, self.rules.trail.as_ref(), self.dispatcher.metrics());
        let answer = self.answer_drain(&mut call, &request);
        call.finish(answer.map(Response::new))
    }

    async fn release(&self, request: Request<pb::ReleaseRequest>) -> Result<Response<pb::ReleaseResponse>, Status> {
        let mut call = OpenCall::start(RELEASE, &request, self.rules.trail.as_ref(), self.dispatcher.metrics());
        let answer = self.answer_release(&mut call, &request);
        call.finish(answer.map(Response::new))
    }

    async fn validate(&self, request: Request<pb::ValidateRequest>) -> Result<Response<pb::ValidateResponse>, Status> {
        let mut call = OpenCall::start(VALIDATE, &request, self.rules.trail.as_ref(), self.dispatcher.metrics());
        let answer = self.answer_validate(&mut call, &request).await;
        call.finish(answer.map(Response::new))
    }
}

/// The reason is shown on terminals and in logs, so it is one line of plain text.
fn reason(stated: &str, violations: &mut Violations) -> Arc<str> {
    let usable =
        !stated.trim().is_empty() && stated.chars().count() <= LONGEST_REASON && !stated.chars().any(char::is_control);
    violations.require(usable, "reason", "must be 1 to 256 characters without control characters");
    stated.trim().into()
}

fn drain_span(stated: Option<&prost_types::Duration>, violations: &mut Violations) -> Duration {
    let span = stated.and_then(|stated| Duration::try_from(*stated).ok());
    let usable = span.filter(|span| (SHORTEST_DRAIN..=LONGEST_DRAIN).contains(span));
    violations.require(usable.is_some(), "duration", "must be from 1s to 604800s (7 days)");
    usable.unwrap_or_default()
}

fn names(targets: &[Arc<Target>]) -> Vec<pb::TargetName> {
    targets.iter().map(|target| name(target)).collect()
}

fn name(target: &Target) -> pb::TargetName {
    pb::TargetName {
        model: target.model.to_string(),
        region: target.region.to_string(),
        resource: target.resource.to_string(),
        deployment: target.deployment.to_string(),
    }
}

fn verdict(said: Validated) -> pb::TargetVerdict {
    pb::TargetVerdict {
        target: Some(name(&said.target)),
        passed: said.passed > 0,
        test_calls: said.calls as i32,
        passed_test_calls: said.passed as i32,
        failure: said.failure.unwrap_or_default().to_owned(),
    }
}
