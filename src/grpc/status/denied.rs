//! What callers may not: for who they are, for what they have used up, and for where their data would go.
use sealane_core::{
    policy::{self, Policy},
    quota::Exceeded,
    router::Verdict,
};
use tonic::Code;

use super::{DATA_CLASS_REQUIRED, Refusal, Violations};
use crate::{
    audit::Label,
    identity::{Denial, Grounds},
};

/// A call that is refused for who makes it.
impl From<Denial> for Refusal {
    fn from(denial: Denial) -> Self {
        let mut refusal = denied(&denial);
        refusal.0.denied = true;
        refusal
    }
}

fn denied(denial: &Denial) -> Refusal {
    let unauthenticated = |message: &str| Refusal::new(Code::Unauthenticated, denial.grounds.reason(), message);
    let forbidden = |message| Refusal::new(Code::PermissionDenied, denial.grounds.reason(), message);
    let caller = denial.caller.as_deref().unwrap_or_default();
    match &denial.grounds {
        Grounds::NoCredential { token: true } => unauthenticated("send `authorization: Bearer <token>`"),
        Grounds::NoCredential { token: false } => unauthenticated("connect with a client certificate"),
        Grounds::MalformedToken => unauthenticated("send exactly one `authorization: Bearer <token>`"),
        Grounds::UnknownToken => unauthenticated("the bearer token is not known"),
        Grounds::Certificate(problem) => {
            unauthenticated(&format!("the client certificate {problem}")).fact("cause", problem.name())
        }
        Grounds::UnknownName => unauthenticated("no subject alternative name of the client certificate is a caller's")
            .fact("cause", "unknown_name"),
        Grounds::SeveralCallers => {
            unauthenticated("the client certificate has the names of several callers").fact("cause", "several_callers")
        }
        Grounds::Disagreement => unauthenticated("token and client certificate are of different callers; send one"),
        Grounds::NotAnOperator => {
            forbidden(format!("caller {caller} is no operator; the configuration makes it one with `operator: true`"))
                .fact("caller", caller)
        }
        Grounds::ModelNotAllowed { allowed } => {
            let allowed = allowed.join(", ");
            forbidden(format!("caller {caller} may not use this model; it may use {allowed}"))
                .fact("caller", caller)
                .fact("allowedModels", allowed)
        }
        Grounds::Quota(exceeded) => quota_exceeded(caller, exceeded),
    }
}

fn quota_exceeded(caller: &str, exceeded: &Exceeded) -> Refusal {
    let Exceeded { measure, limit, retry_after } = *exceeded;
    let (quota, seconds) = (measure.name(), retry_after.as_secs_f64().ceil());
    let mut refusal = Refusal::new(
        Code::ResourceExhausted,
        "CALLER_QUOTA_EXCEEDED",
        format!("caller {caller} has used up its {quota} of {limit}; retry in {seconds} s"),
    )
    .fact("caller", caller)
    .fact("quota", quota)
    .fact("limit", limit.to_string())
    .retry_after(retry_after);
    refusal.0.details.add_quota_failure_violation(format!("caller:{caller}"), format!("{quota} of {limit}"));
    refusal
}

pub(super) fn not_permitted(policy: &Policy, model: &str, refusals: &[Verdict]) -> Refusal {
    let refusal = match refusals.first().map(|one| one.refusal) {
        Some(policy::Refusal::DataClassMissing) => data_class_required(policy),
        Some(policy::Refusal::DataClassNotAccepted) => data_class_not_permitted(policy),
        _ => no_eligible_region(policy, model, refusals),
    };
    refusal.fact("policy", &*policy.name).fact("model", model)
}

fn data_class_required(policy: &Policy) -> Refusal {
    let mut violations = Violations::none();
    violations.add(
        "routing.data_class",
        format!("is required by policy {}: declare {}", policy.name, acceptable_classes(policy)),
    );
    Refusal::from(violations).named(DATA_CLASS_REQUIRED)
}

fn data_class_not_permitted(policy: &Policy) -> Refusal {
    let told = format!("the policy accepts {}", acceptable_classes(policy));
    let mut refusal = Refusal::new(
        Code::FailedPrecondition,
        "DATA_CLASS_NOT_PERMITTED",
        format!(
            "policy {} does not accept the data class that routing.data_class declares; it accepts {}",
            policy.name,
            acceptable_classes(policy)
        ),
    );
    refusal.0.details.add_precondition_failure_violation("DATA_CLASS", "routing.data_class", told);
    refusal
}

fn acceptable_classes(policy: &Policy) -> String {
    match policy.data_classes.as_slice() {
        [] => "any class".to_owned(),
        classes => classes.join(", "),
    }
}

fn no_eligible_region(policy: &Policy, model: &str, refusals: &[Verdict]) -> Refusal {
    let told: Vec<String> = refusals
        .iter()
        .map(|one| format!("{} in {}: {}", one.target.deployment, one.target.region, one.refusal))
        .collect();
    let mut refusal = Refusal::new(
        Code::FailedPrecondition,
        "NO_ELIGIBLE_REGION",
        format!(
            "policy {} and the request leave no region for model {model} ({}); {}",
            policy.name,
            told.join("; "),
            remedy(policy, model, refusals)
        ),
    );
    for one in refusals {
        refusal.0.details.add_precondition_failure_violation(
            "RESIDENCY",
            format!("{}/{}", one.target.region, one.target.deployment),
            one.refusal.to_string(),
        );
    }
    let told = refusals.iter().map(|one| format!("{}/{}: {}", one.target.region, one.target.deployment, one.refusal));
    refusal.0.not_permitted = told.map(Label::from).collect();
    let names: Vec<&str> = refusals.iter().map(|one| &*one.target.region).collect();
    refusal.fact("refusedRegions", names.join(","))
}

/// What would let the call through. Only the caller can widen the request; only the configuration widens the policy.
fn remedy(policy: &Policy, model: &str, refusals: &[Verdict]) -> String {
    let by_request = || refusals.iter().filter(|one| one.refusal.is_by_request());
    let mut regions: Vec<&str> = by_request().map(|one| &*one.target.region).collect();
    let mut fields: Vec<&str> = by_request().filter_map(|one| one.refusal.field()).collect();
    for names in [&mut regions, &mut fields] {
        names.sort_unstable();
        names.dedup();
    }
    if regions.is_empty() {
        return format!(
            "the policy permits {policy}: model {model} needs a target there, or the caller another policy"
        );
    }
    format!("the policy would permit {}: widen routing.{}", regions.join(", "), fields.join(", routing."))
}
