//! The error table: code, reason and details for every way a call can end without an answer.
use std::time::Duration;

use sealane::grpc::pb;
use sealane_core::{
    domain::{BadResponse, FailureKind, ProcessingScope, Rejection},
    policy::Policy,
};
use tonic_types::StatusExt as _;

use crate::support::{
    scripted::{Line::Fails, Scripted},
    service::{Service, Wanted, embed, hi, told},
};

const P: &str = "swedencentral";
const S: &str = "francecentral";

async fn error_when_both(kind: FailureKind) -> tonic::Status {
    let upstream = Scripted::default().with(P, [Fails(kind.clone())]).with(S, [Fails(kind)]);
    let service = Service::start(upstream).await;
    service.inference().await.complete(hi()).await.unwrap_err()
}

#[tokio::test]
async fn what_callers_are_told_when_every_region_fails_the_same_way() {
    let invalid = Rejection::Invalid { code: Some("unsupported_parameter".into()), param: Some("max_tokens".into()) };
    for (kind, expected) in [
        (FailureKind::Unavailable, "Unavailable ALL_REGIONS_UNAVAILABLE"),
        (FailureKind::Reset, "Unavailable ALL_REGIONS_UNAVAILABLE"),
        (FailureKind::Throttled { retry_after: Duration::from_secs(12) }, "ResourceExhausted ALL_REGIONS_RATE_LIMITED"),
        (FailureKind::Unauthorized, "Internal UPSTREAM_AUTH_FAILED"),
        (FailureKind::DeploymentNotFound, "Internal UPSTREAM_AUTH_FAILED"),
        (FailureKind::BadResponse(BadResponse::Malformed), "Internal UPSTREAM_BAD_RESPONSE"),
        (FailureKind::Rejected(Rejection::ContextLength), "InvalidArgument CONTEXT_LENGTH_EXCEEDED"),
        (
            FailureKind::Rejected(Rejection::PromptBlocked { categories: vec!["violence".into()] }),
            "InvalidArgument PROMPT_BLOCKED",
        ),
        (FailureKind::Rejected(invalid), "InvalidArgument INVALID_REQUEST"),
        (FailureKind::Rejected(Rejection::TooLarge), "InvalidArgument INVALID_REQUEST"),
        (FailureKind::Local { cause: "no_credential" }, "Unavailable OVERLOADED"),
    ] {
        assert_eq!(told(&error_when_both(kind.clone()).await), expected, "{kind:?}");
    }
}

#[tokio::test]
async fn a_parameter_that_azure_refuses_is_told_by_the_callers_field() {
    for (param, field) in [
        (Some("max_tokens"), "max_output_tokens"),
        (Some("tools[1].function.parameters"), "tools[1].function.parameters_json_schema"),
        (Some("temperature"), "temperature"),
        (None, ""),
    ] {
        let code = Some("unsupported_parameter".to_owned());
        let rejection = Rejection::Invalid { code, param: param.map(Into::into) };
        let details = error_when_both(FailureKind::Rejected(rejection)).await.get_error_details();
        assert_eq!(details.bad_request().unwrap().field_violations[0].field, field);
        let facts = &details.error_info().unwrap().metadata;
        assert_eq!((facts["field"].as_str(), facts["upstreamCode"].as_str()), (field, "unsupported_parameter"));
        assert_eq!(facts.get("upstreamParam").map(String::as_str), param);
    }
}

#[tokio::test]
async fn a_refused_request_is_never_sent_to_another_region() {
    let blocked = FailureKind::Rejected(Rejection::PromptBlocked { categories: vec!["hate".into(), "sexual".into()] });
    let service = Service::start(Scripted::default().with(P, [Fails(blocked)])).await;
    let status = service.inference().await.complete(hi()).await.unwrap_err();
    assert_eq!(service.upstream.regions_seen(), [P]);
    let details = status.get_error_details();
    assert_eq!(details.error_info().unwrap().metadata["category"], "hate,sexual");
}

#[tokio::test]
async fn waiting_times_are_told_in_two_ways() {
    let throttled = FailureKind::Throttled { retry_after: Duration::from_secs(12) };
    let status = error_when_both(throttled).await;
    let wait = status.get_error_details().retry_info().unwrap().retry_delay.unwrap();
    assert!((11.0..=12.0).contains(&wait.as_secs_f64()), "{wait:?}");
    let pushback: u64 = status.metadata().get("grpc-retry-pushback-ms").unwrap().to_str().unwrap().parse().unwrap();
    assert_eq!(u128::from(pushback), wait.as_millis());
    assert_eq!(status.get_error_details().quota_failure().unwrap().violations[0].subject, "model:gpt-4o");
    assert_eq!(status.metadata().get("x-sealane-attempts").unwrap(), "2");
    assert_eq!(status.metadata().get("x-sealane-region").unwrap(), S);
}

#[tokio::test]
async fn names_that_are_not_configured() {
    let service = Service::start(Scripted::default()).await;
    let mut client = service.inference().await;
    let status = client.complete(pb::CompleteRequest { model: "gpt-9".into(), ..hi() }).await.unwrap_err();
    assert_eq!(told(&status), "NotFound MODEL_NOT_CONFIGURED");
    assert_eq!(status.get_error_details().resource_info().unwrap().resource_name, "gpt-9");
    let routing = pb::RoutingOptions { allowed_regions: vec!["Mars North".into()], ..Default::default() };
    let status = client.complete(pb::CompleteRequest { routing: Some(routing), ..hi() }).await.unwrap_err();
    assert_eq!(told(&status), "NotFound REGION_NOT_CONFIGURED");
    let status = client.embed(pb::EmbedRequest { model: "gpt-4o".into(), ..embed(&["a"]) }).await.unwrap_err();
    assert_eq!(told(&status), "InvalidArgument INVALID_REQUEST");
    assert!(status.message().contains("answers Complete and CompleteStream only"), "{}", status.message());
    let unknown = pb::RegionStatusRequest { region: "marsnorth".into(), ..Default::default() };
    let status = service.regions().await.region_status(unknown).await.unwrap_err();
    assert_eq!(told(&status), "NotFound REGION_NOT_CONFIGURED");
    assert!(service.upstream.seen().is_empty(), "nothing was sent");
}

#[tokio::test]
async fn where_policy_and_request_leave_no_region_nothing_is_sent() {
    let only_us = Policy { boundaries: vec!["us".into()], ..Policy::unrestricted() };
    let service = Service::start_as(Scripted::default(), Wanted { policy: only_us, ..Wanted::default() }).await;
    let status = service.inference().await.complete(hi()).await.unwrap_err();
    assert_eq!(told(&status), "FailedPrecondition NO_ELIGIBLE_REGION");
    let violations = status.get_error_details().precondition_failure().unwrap().violations.clone();
    let told_of: Vec<_> = violations.iter().map(|one| (one.subject.as_str(), one.description.as_str())).collect();
    assert_eq!(
        told_of,
        [
            ("swedencentral/gpt-4o-deployment", "outside the policy's data boundaries"),
            ("francecentral/gpt-4o-deployment", "outside the policy's data boundaries")
        ]
    );
    assert!(service.upstream.seen().is_empty());
}

#[tokio::test]
async fn a_request_narrows_its_policy_and_the_narrowed_set_holds_for_the_rescue() {
    let eu = Policy { max_scope: ProcessingScope::Regional, ..Policy::unrestricted() };
    let upstream = Scripted::default().with(P, [Fails(FailureKind::Unavailable)]);
    let service = Service::start_as(upstream, Wanted { policy: eu, ..Wanted::default() }).await;
    let routing = pb::RoutingOptions { allowed_regions: vec!["Sweden Central".into()], ..Default::default() };
    let request = pb::CompleteRequest { routing: Some(routing), ..hi() };
    let status = service.inference().await.complete(request).await.unwrap_err();
    assert_eq!(told(&status), "Unavailable ALL_REGIONS_UNAVAILABLE");
    assert!(service.upstream.regions_seen().iter().all(|region| region == P), "{:?}", service.upstream.regions_seen());
}
