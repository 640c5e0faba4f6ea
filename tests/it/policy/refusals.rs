//! A call that its policy does not permit: refused with the policy's name and what would satisfy it, nothing sent.
use sealane::grpc::pb;
use sealane_core::{domain::ProcessingScope, policy::Policy};
use tonic_types::StatusExt as _;

use crate::support::{
    scripted::Scripted,
    service::{Service, Wanted, embed, hi, told},
};

fn eu_only() -> Policy {
    Policy {
        name: "eu-only".into(),
        regions: vec!["swedencentral".into()],
        boundaries: vec!["eu".into()],
        max_scope: ProcessingScope::Regional,
        data_classes: vec!["public".into(), "internal".into()],
        requires_data_class: true,
        audit_required: true,
    }
}

fn routed(routing: pb::RoutingOptions) -> pb::CompleteRequest {
    pb::CompleteRequest { routing: Some(routing), ..hi() }
}

fn declaring(class: &str) -> pb::RoutingOptions {
    pb::RoutingOptions { data_class: class.into(), ..Default::default() }
}

#[tokio::test]
async fn a_refused_call_names_its_policy_and_what_would_satisfy_it() {
    let service = Service::start_as(Scripted::default(), Wanted { policy: eu_only(), ..Wanted::default() }).await;
    for (routing, expected, message) in [
        (
            declaring(""),
            "InvalidArgument DATA_CLASS_REQUIRED",
            "routing.data_class is required by policy eu-only: declare public, internal",
        ),
        (
            declaring("secret"),
            "FailedPrecondition DATA_CLASS_NOT_PERMITTED",
            "policy eu-only does not accept the data class that routing.data_class declares; it accepts public, internal",
        ),
        (
            pb::RoutingOptions { allowed_regions: vec!["France Central".into()], ..declaring("internal") },
            "FailedPrecondition NO_ELIGIBLE_REGION",
            "policy eu-only and the request leave no region for model gpt-4o (gpt-4o-deployment in swedencentral: not \
             among the request's allowed_regions; gpt-4o-deployment in francecentral: not among the policy's \
             regions); the policy would permit swedencentral: widen routing.allowed_regions",
        ),
        (
            pb::RoutingOptions { data_boundary: "us".into(), ..declaring("public") },
            "FailedPrecondition NO_ELIGIBLE_REGION",
            "policy eu-only and the request leave no region for model gpt-4o (gpt-4o-deployment in swedencentral: \
             outside the request's data_boundary; gpt-4o-deployment in francecentral: not among the policy's \
             regions); the policy would permit swedencentral: widen routing.data_boundary",
        ),
    ] {
        let status = service.inference().await.complete(routed(routing.clone())).await.unwrap_err();
        assert_eq!(told(&status), expected, "{routing:?}");
        assert_eq!(status.message(), message);
        let details = status.get_error_details();
        let facts = &details.error_info().unwrap().metadata;
        assert_eq!((facts["policy"].as_str(), facts["model"].as_str()), ("eu-only", "gpt-4o"));
    }
    assert!(service.upstream.seen().is_empty(), "nothing was sent");
    assert!(service.inference().await.complete(routed(declaring("internal"))).await.is_ok());
}

#[tokio::test]
async fn a_policy_that_permits_no_target_says_what_it_permits() {
    let policy = Policy { name: "us-only".into(), boundaries: vec!["us".into()], ..Policy::unrestricted() };
    let service = Service::start_as(Scripted::default(), Wanted { policy, ..Wanted::default() }).await;
    let status = service.inference().await.complete(hi()).await.unwrap_err();
    assert_eq!(told(&status), "FailedPrecondition NO_ELIGIBLE_REGION");
    assert!(
        status.message().ends_with(
            "; the policy permits any regions, boundaries us, at most global processing: model gpt-4o needs a target \
             there, or the caller another policy"
        ),
        "{status}"
    );
    assert!(service.upstream.seen().is_empty(), "nothing was sent");
}

/// Streams and embeddings pass the same gate, and what a class may be called is bounded before anything else.
#[tokio::test]
async fn every_method_heeds_the_data_class() {
    let service = Service::start_as(Scripted::default(), Wanted { policy: eu_only(), ..Wanted::default() }).await;
    let mut inference = service.inference().await;
    let status = inference.complete_stream(routed(declaring("secret"))).await.unwrap_err();
    assert_eq!(told(&status), "FailedPrecondition DATA_CLASS_NOT_PERMITTED");
    let status = inference.embed(embed(&["text"])).await.unwrap_err();
    assert_eq!(told(&status), "InvalidArgument DATA_CLASS_REQUIRED");
    let violations = status.get_error_details().bad_request().unwrap().field_violations.clone();
    assert_eq!(violations[0].field, "routing.data_class");
    for class in ["x".repeat(65), "vertraulich\u{fc}".to_owned()] {
        let status = inference.complete(routed(declaring(&class))).await.unwrap_err();
        assert_eq!(told(&status), "InvalidArgument INVALID_REQUEST");
        assert_eq!(status.message(), "routing.data_class must be at most 64 printable ASCII characters");
    }
    assert!(service.upstream.seen().is_empty(), "nothing was sent");
}
