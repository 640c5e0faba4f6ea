//! OperatorService: drain, release, validate, and who may.
use std::time::Duration;

use sealane::{grpc::pb, identity::CallerSettings};
use sealane_core::{
    domain::FailureKind,
    router::{Thresholds, Validation},
};
use tonic::{Code, Request};
use tonic_types::StatusExt as _;

use crate::support::{
    scripted::{
        Line::{Fails, Hangs, Says},
        Scripted,
    },
    service::{Service, Wanted, caller, embed, eventually, hi, told, with_token, without_test_calls},
};

const P: &str = "swedencentral";
const S: &str = "francecentral";

fn selector(region: &str, resource: &str, model: &str) -> Option<pb::TargetSelector> {
    Some(pb::TargetSelector { region: region.into(), resource: resource.into(), model: model.into() })
}

fn drain(selector: Option<pb::TargetSelector>, seconds: i64) -> pb::DrainRequest {
    let duration = Some(prost_types::Duration { seconds, nanos: 0 });
    pb::DrainRequest { selector, reason: "the deployment is being replaced".into(), duration }
}

fn validate(selector: Option<pb::TargetSelector>) -> pb::ValidateRequest {
    pb::ValidateRequest { selector, reason: "the incident is said to be over".into() }
}

fn names(targets: &[pb::TargetName]) -> Vec<(&str, &str)> {
    targets.iter().map(|target| (target.region.as_str(), target.model.as_str())).collect()
}

async fn status(service: &Service) -> pb::RegionStatusResponse {
    let request = pb::RegionStatusRequest { model: "gpt-4o".into(), ..Default::default() };
    service.regions().await.region_status(request).await.unwrap().into_inner()
}

/// The primary of `gpt-4o`.
async fn primary(service: &Service) -> pb::TargetState {
    let status = status(service).await;
    status.regions.into_iter().find(|region| region.region == P).unwrap().targets.remove(0)
}

async fn served_by(service: &Service) -> String {
    let reply = service.inference().await.complete(hi()).await.unwrap().into_inner();
    reply.served_by.unwrap().region
}

#[tokio::test]
async fn a_drained_region_takes_no_calls_until_it_is_released() {
    let service = Service::start(Scripted::default()).await;
    let mut operator = service.operator().await;
    let done = operator.drain(drain(selector("Sweden Central", "", ""), 600)).await.unwrap().into_inner();
    assert_eq!(names(&done.targets), [(P, "gpt-4o"), (P, "text-embedding-3-large"), (P, "solo")]);
    assert_eq!(served_by(&service).await, S);
    let vectors = service.inference().await.embed(embed(&["one"])).await.unwrap().into_inner();
    assert_eq!(vectors.served_by.unwrap().region, S);

    let drained = primary(&service).await;
    assert_eq!((drained.overlay(), drained.standing()), (pb::Overlay::Drained, pb::Standing::Serving));
    assert_eq!(drained.drain_reason, "the deployment is being replaced");
    assert_eq!(drained.drained_until_time, done.expire_time);
    assert!(drained.drained_since_time.is_some());
    let told = status(&service).await.transitions;
    assert_eq!(told[0].reason, "an operator drained it: the deployment is being replaced");
    assert_eq!((drained.traffic_share, drained.next_step.as_str()), (0.0, "the drain ends by itself"));
    assert_eq!(drained.next_step_time, done.expire_time);

    let release = |model: &str| pb::ReleaseRequest { selector: selector(P, "", model), reason: "replaced".into() };
    let released = operator.release(release("gpt-4o")).await.unwrap().into_inner();
    assert_eq!(names(&released.targets), [(P, "gpt-4o")]);
    assert_eq!(served_by(&service).await, P);
    assert_eq!(primary(&service).await.overlay(), pb::Overlay::Unspecified);
    assert_eq!(status(&service).await.transitions[0].reason, "an operator released it: replaced");
    let released = operator.release(release("")).await.unwrap().into_inner();
    assert_eq!(names(&released.targets), [(P, "text-embedding-3-large"), (P, "solo")], "only what was drained");
}

#[tokio::test]
async fn a_drain_ends_by_itself_and_a_later_one_replaces_it() {
    let service = Service::start(Scripted::default()).await;
    let mut operator = service.operator().await;
    let first = operator.drain(drain(selector("", P, "gpt-4o"), 600)).await.unwrap().into_inner();
    let second = operator.drain(drain(selector("", P, "gpt-4o"), 1)).await.unwrap().into_inner();
    assert!(second.expire_time.unwrap().seconds < first.expire_time.unwrap().seconds - 500);
    eventually("the drain ends", async || served_by(&service).await == P).await;
    assert_eq!(primary(&service).await.overlay(), pb::Overlay::Unspecified);
    let over = "the drain ended by itself; it was: the deployment is being replaced";
    eventually("its end is told", async || status(&service).await.transitions[0].reason == over).await;
}

/// Nobody serves, and no caller can find out why but from the error.
#[tokio::test]
async fn callers_of_a_model_that_is_drained_everywhere_are_told_so() {
    let service = Service::start(Scripted::default()).await;
    let mut operator = service.operator().await;
    let first = operator.drain(drain(selector(P, "", "gpt-4o"), 30)).await.unwrap().into_inner();
    assert_eq!(first.models_without_target, [""; 0], "one is left");
    let all = operator.drain(drain(selector("", "", "gpt-4o"), 30)).await.unwrap().into_inner();
    assert_eq!(all.models_without_target, ["gpt-4o"]);
    let refused = service.inference().await.complete(hi()).await.unwrap_err();
    assert_eq!(told(&refused), "Unavailable ALL_REGIONS_UNAVAILABLE");
    let said = refused.message();
    assert!(said.starts_with("an operator has drained every target that is permitted for model gpt-4o"), "{said}");
    assert!(said.contains(&format!("{P}/")) && said.contains(&format!("{S}/")) && said.contains(" in 30 s"), "{said}");
    let wait = refused.get_error_details().retry_info().unwrap().retry_delay.unwrap();
    assert!((25..=30).contains(&wait.as_secs()), "{wait:?}");
    operator.drain(drain(selector("", "", "gpt-4o"), 6000)).await.unwrap();
    let refused = service.inference().await.complete(hi()).await.unwrap_err();
    let wait = refused.get_error_details().retry_info().unwrap().retry_delay;
    assert_eq!(wait, Some(Duration::from_secs(60)), "an operator may release one sooner");
}

#[tokio::test]
async fn what_cannot_be_meant_is_refused() {
    let service = Service::start(Scripted::default()).await;
    let mut operator = service.operator().await;
    let good = drain(selector(P, "", ""), 60);
    for (request, expected, said) in [
        (pb::DrainRequest::default(), "InvalidArgument INVALID_REQUEST", "selector"),
        (drain(selector("", "", ""), 60), "InvalidArgument INVALID_REQUEST", "selector"),
        (pb::DrainRequest { reason: " ".into(), ..good.clone() }, "InvalidArgument INVALID_REQUEST", "reason"),
        (pb::DrainRequest { reason: "x".repeat(257), ..good.clone() }, "InvalidArgument INVALID_REQUEST", "reason"),
        (pb::DrainRequest { reason: "\u{1b}[2J".into(), ..good.clone() }, "InvalidArgument INVALID_REQUEST", "reason"),
        (pb::DrainRequest { duration: None, ..good.clone() }, "InvalidArgument INVALID_REQUEST", "duration"),
        (drain(selector(P, "", ""), 0), "InvalidArgument INVALID_REQUEST", "duration"),
        (drain(selector(P, "", ""), 7 * 86_400 + 1), "InvalidArgument INVALID_REQUEST", "duration"),
        (drain(selector("mars", "", ""), 60), "NotFound REGION_NOT_CONFIGURED", "mars"),
        (drain(selector("", "mars", ""), 60), "NotFound RESOURCE_NOT_CONFIGURED", "mars"),
        (drain(selector("", "", "mars"), 60), "NotFound MODEL_NOT_CONFIGURED", "mars"),
        (drain(selector(S, "", "solo"), 60), "NotFound TARGET_NOT_CONFIGURED", "selector"),
    ] {
        let refused = operator.drain(request.clone()).await.unwrap_err();
        assert_eq!(told(&refused), expected, "{request:?}");
        assert!(refused.message().contains(said), "{request:?}: {}", refused.message());
    }
    let everything = pb::DrainRequest { duration: None, reason: String::new(), selector: None };
    let refused = operator.drain(everything).await.unwrap_err().get_error_details();
    let fields: Vec<_> = refused.bad_request().unwrap().field_violations.iter().map(|one| one.field.as_str()).collect();
    assert_eq!(fields, ["reason", "duration", "selector"], "all at once");
    assert_eq!(primary(&service).await.overlay(), pb::Overlay::Unspecified, "nothing was done");
}

#[tokio::test]
async fn only_an_operator_may() {
    let on_call = CallerSettings { operator: true, ..caller("on-call", "on-call-token") };
    let wanted = Wanted { callers: vec![caller("engine", "engine-token"), on_call], ..Wanted::default() };
    let service = Service::start_as(Scripted::default(), wanted).await;
    let mut operator = service.operator().await;
    let release = pb::ReleaseRequest { selector: selector(P, "", ""), reason: "because".into() };
    let refusals = [
        operator.drain(with_token("engine-token", drain(selector(P, "", ""), 60))).await.unwrap_err(),
        operator.release(with_token("engine-token", release.clone())).await.unwrap_err(),
        operator.validate(with_token("engine-token", validate(selector(P, "", "")))).await.unwrap_err(),
    ];
    for refused in refusals {
        assert_eq!(told(&refused), "PermissionDenied NOT_AN_OPERATOR");
        assert_eq!(refused.get_error_details().error_info().unwrap().metadata["caller"], "engine");
    }
    assert_eq!(told(&operator.release(release.clone()).await.unwrap_err()), "Unauthenticated MISSING_TOKEN");
    operator.drain(with_token("on-call-token", drain(selector(P, "", ""), 60))).await.unwrap();
    operator.release(with_token("on-call-token", release)).await.unwrap();
}

/// Test calls come only when ordered, and follow each other at once.
fn short_rounds() -> Wanted {
    let validation = Validation { spacing: Duration::from_millis(50), ..Validation::default() };
    Wanted { thresholds: Thresholds { validation, ..without_test_calls() }, ..Wanted::default() }
}

async fn verdict(service: &Service) -> pb::TargetVerdict {
    let request = validate(selector(P, "", "gpt-4o"));
    let mut verdicts = service.operator().await.validate(request).await.unwrap().into_inner().verdicts;
    assert_eq!(verdicts.len(), 1);
    let verdict = verdicts.remove(0);
    assert_eq!(names(verdict.target.as_slice()), [(P, "gpt-4o")]);
    verdict
}

#[tokio::test]
async fn a_validation_answers_with_the_verdict() {
    let service = Service::start_as(Scripted::default().with(P, [Says("ready")]), short_rounds()).await;
    let well = verdict(&service).await;
    assert_eq!((well.passed, well.passed_test_calls, well.failure.as_str()), (true, 1, ""));
    let state = primary(&service).await;
    assert_eq!((state.standing(), state.standing_reason.as_str()), (pb::Standing::Serving, "a test call passed"));
    assert_eq!((state.test_calls, state.passed_test_calls, state.test_call_tokens), (1, 1, 5));
    assert!(state.last_proven_time.is_some());
    assert_eq!((state.last_test_call_time, state.last_test_call_failure.as_str()), (state.last_proven_time, ""));
    let transitions = status(&service).await.transitions;
    let steps: Vec<_> = transitions.iter().map(|one| (one.to_standing(), one.reason.as_str())).collect();
    assert_eq!(
        steps,
        [
            (pb::Standing::Serving, "a test call passed"),
            (pb::Standing::Suspected, "an operator ordered a validation: the incident is said to be over")
        ],
        "newest first"
    );
    assert!(service.upstream.seen().is_empty(), "no caller's call was made for it");
}

#[tokio::test]
async fn a_target_that_fails_its_validation_goes_out_and_may_be_tried_again() {
    let failing = Scripted::default().with(P, [Fails(FailureKind::ServerError)]);
    let service = Service::start_as(failing, short_rounds()).await;
    let ill = verdict(&service).await;
    assert_eq!((ill.passed, ill.test_calls, ill.passed_test_calls), (false, 3, 0));
    assert_eq!(ill.failure, "server_error");
    let state = primary(&service).await;
    assert_eq!((state.standing(), state.out_level, state.traffic_share), (pb::Standing::Out, 1, 0.0));
    assert_eq!(state.standing_reason, "all 3 test calls failed, the last: server_error");
    assert!(state.next_step.starts_with("hold ends; 0 of "), "{}", state.next_step);
    assert!(state.next_step_time.unwrap().seconds > state.standing_since_time.unwrap().seconds + 30);
    assert_eq!(served_by(&service).await, S);
    assert!(state.last_test_call_time.is_some() && state.last_proven_time.is_none(), "tested, and not proven");
    assert_eq!(state.last_test_call_failure, "server_error");

    service.upstream.clone().with(P, [Says("ready")]);
    let mended = verdict(&service).await;
    assert_eq!((mended.passed, mended.test_calls, mended.failure.as_str()), (true, 1, ""), "one call where it is out");
    let state = primary(&service).await;
    assert_eq!(state.standing(), pb::Standing::Out, "one proof is not a return");
    assert!(state.next_step.starts_with("hold ends; 1 of "), "{}", state.next_step);
}

/// Nobody asked about those: the answer says that they went out too.
#[tokio::test]
async fn a_validation_tells_who_went_out_with_the_one_that_was_meant() {
    let failing = Scripted::default().with(P, [Fails(FailureKind::ServerError)]);
    let service = Service::start_as(failing, short_rounds()).await;
    let request = validate(selector(P, "", "gpt-4o"));
    let done = service.operator().await.validate(request).await.unwrap().into_inner();
    assert_eq!(done.verdicts.len(), 1);
    let mut along = names(&done.taken_along);
    along.sort_unstable();
    assert_eq!(along, [(P, "solo"), (P, "text-embedding-3-large")]);
}

#[tokio::test]
async fn a_model_without_a_good_target_is_an_alarm() {
    let service = Service::start(Scripted::default()).await;
    assert_eq!(status(&service).await.alarms, []);
    service.operator().await.drain(drain(selector("", "", "gpt-4o"), 600)).await.unwrap();
    let alarms = status(&service).await.alarms;
    let kinds: Vec<_> = alarms.iter().map(|alarm| (alarm.kind.as_str(), alarm.model.as_str())).collect();
    assert_eq!(kinds, [("no_good_target", "gpt-4o")]);
    assert!(alarms[0].message.contains("operators have drained every target"), "{}", alarms[0].message);
    assert!(alarms[0].alarm_time.is_some(), "until when");
    let other = pb::RegionStatusRequest { model: "solo".into(), ..Default::default() };
    let other = service.regions().await.region_status(other).await.unwrap().into_inner();
    assert_eq!(other.alarms, [], "the request asks for another model");
}

#[tokio::test]
async fn who_cannot_wait_for_the_verdict_is_told_so() {
    let service = Service::start(Scripted::default().with(P, [Hangs])).await;
    let mut request = Request::new(validate(selector(P, "", "gpt-4o")));
    request.set_timeout(Duration::from_millis(300));
    let status = service.operator().await.validate(request).await.unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded);
    assert_eq!(
        told(&status),
        "DeadlineExceeded DEADLINE_EXCEEDED",
        "from the service, not from the client's own timer"
    );
    assert_eq!(primary(&service).await.standing(), pb::Standing::Suspected, "the validation goes on");
}
