//! What each caller may use, and that nobody else notices when one uses it up.
use std::time::Duration;

use sealane::{grpc::pb, identity::CallerSettings};
use sealane_core::quota::Allowance;
use tonic::Status;
use tonic_types::StatusExt as _;

use crate::support::{
    scripted::{
        Line::{Hangs, Says},
        Scripted,
    },
    service::{Service, Wanted, caller, embed, eventually, hi, told, with_token},
};

const NOISY: &str = "token-of-the-noisy-one";
const QUIET: &str = "token-of-the-quiet-one";

async fn service(upstream: Scripted, limited: impl FnOnce(CallerSettings) -> CallerSettings) -> Service {
    let callers = vec![limited(caller("noisy", NOISY)), caller("quiet", QUIET)];
    Service::start_as(upstream, Wanted { callers, ..Wanted::default() }).await
}

/// Measure and wait in seconds, of a refusal that has everything a program needs.
fn quota(status: &Status) -> (String, f64) {
    assert_eq!(told(status), "ResourceExhausted CALLER_QUOTA_EXCEEDED");
    let details = status.get_error_details();
    let metadata = &details.error_info().unwrap().metadata;
    assert_eq!(metadata["caller"], "noisy");
    let violation = &details.quota_failure().unwrap().violations[0];
    assert_eq!(violation.subject, "caller:noisy");
    assert_eq!(violation.description, format!("{} of {}", metadata["quota"], metadata["limit"]));
    let wait = details.retry_info().unwrap().retry_delay.unwrap();
    let pushback: u128 = status.metadata().get("grpc-retry-pushback-ms").unwrap().to_str().unwrap().parse().unwrap();
    assert_eq!(pushback, wait.as_millis());
    (metadata["quota"].clone(), wait.as_secs_f64())
}

#[tokio::test]
async fn calls_a_minute_are_counted_for_each_caller_alone() {
    let allowance = Allowance { calls_per_minute: Some(3), ..Allowance::default() };
    let service = service(Scripted::default(), |noisy| CallerSettings { allowance, ..noisy }).await;
    let mut client = service.inference().await;
    for _ in 0..3 {
        client.complete(with_token(NOISY, hi())).await.unwrap();
    }
    let sent = service.upstream.seen().len();
    for refused in [
        client.complete(with_token(NOISY, hi())).await.unwrap_err(),
        client.complete_stream(with_token(NOISY, hi())).await.unwrap_err(),
        client.embed(with_token(NOISY, embed(&["text"]))).await.unwrap_err(),
    ] {
        let (measure, wait) = quota(&refused);
        assert_eq!(measure, "calls_per_minute");
        assert!((1.0..=20.0).contains(&wait), "{wait}");
    }
    assert_eq!(service.upstream.seen().len(), sent, "nothing of a refused call was sent");
    for _ in 0..20 {
        client.complete(with_token(QUIET, hi())).await.unwrap();
    }
}

/// Bad requests cost a caller nothing of its allowance.
#[tokio::test]
async fn only_calls_that_are_made_count() {
    let allowance = Allowance { calls_per_minute: Some(1), ..Allowance::default() };
    let service = service(Scripted::default(), |noisy| CallerSettings { allowance, ..noisy }).await;
    let mut client = service.inference().await;
    for _ in 0..5 {
        let empty = pb::CompleteRequest { model: "gpt-4o".into(), ..Default::default() };
        assert_eq!(
            told(&client.complete(with_token(NOISY, empty)).await.unwrap_err()),
            "InvalidArgument INVALID_REQUEST"
        );
    }
    client.complete(with_token(NOISY, hi())).await.unwrap();
}

#[tokio::test]
async fn tokens_are_estimated_before_and_settled_after() {
    let allowance = Allowance { tokens_per_minute: Some(10_000), ..Allowance::default() };
    let service = service(Scripted::default(), |noisy| CallerSettings { allowance, ..noisy }).await;
    let mut client = service.inference().await;
    let with_cap = |cap: i32| pb::CompleteRequest { max_output_tokens: Some(cap), ..hi() };
    // The estimate fills the whole minute; what is really used leaves room for the next.
    for _ in 0..5 {
        client.complete(with_token(NOISY, with_cap(9_900))).await.unwrap();
        let mut events = client.complete_stream(with_token(NOISY, with_cap(9_900))).await.unwrap().into_inner();
        while events.message().await.unwrap().is_some() {}
    }
    // What is above a minute's worth is admitted once, and paid for afterwards where no usage settles it.
    let text = "x".repeat(4 * 9_000);
    client.embed(with_token(NOISY, embed(&[&text]))).await.unwrap();
    client.complete(with_token(QUIET, with_cap(9_900))).await.unwrap();
}

#[tokio::test]
async fn an_estimate_stands_while_a_call_runs() {
    let allowance = Allowance { tokens_per_minute: Some(10_000), ..Allowance::default() };
    let upstream = Scripted::default().with("swedencentral", [Hangs, Says("done")]);
    let service = service(upstream, |noisy| CallerSettings { allowance, ..noisy }).await;
    let mut client = service.inference().await;
    let large = pb::CompleteRequest { max_output_tokens: Some(9_000), ..hi() };
    let running = tokio::spawn({
        let (mut client, large) = (client.clone(), large.clone());
        async move { client.complete(with_token(NOISY, large)).await }
    });
    eventually("the call is sent", async || !service.upstream.seen().is_empty()).await;
    let (measure, wait) = quota(&client.complete(with_token(NOISY, large)).await.unwrap_err());
    assert_eq!(measure, "tokens_per_minute");
    assert!((40.0..=60.0).contains(&wait), "{wait}");
    client.complete(with_token(QUIET, hi())).await.unwrap();
    running.abort();
}

#[tokio::test]
async fn calls_in_flight_are_bounded_until_they_end_or_are_dropped() {
    let allowance = Allowance { calls_in_flight: Some(2), ..Allowance::default() };
    let upstream = Scripted::default().with("swedencentral", [Hangs, Hangs, Says("done")]);
    let service = service(upstream, |noisy| CallerSettings { allowance, ..noisy }).await;
    let mut client = service.inference().await;
    let hang = || {
        let mut client = client.clone();
        tokio::spawn(async move { client.complete(with_token(NOISY, hi())).await })
    };
    let (first, second) = (hang(), hang());
    eventually("both are sent", async || service.upstream.seen().len() == 2).await;
    let (measure, wait) = quota(&client.complete(with_token(NOISY, hi())).await.unwrap_err());
    assert_eq!((measure.as_str(), Duration::from_secs_f64(wait)), ("calls_in_flight", Duration::from_secs(1)));
    client.complete(with_token(QUIET, hi())).await.unwrap();
    first.abort();
    let mut again = client.clone();
    eventually("a dropped call makes room", async || again.complete(with_token(NOISY, hi())).await.is_ok()).await;
    second.abort();
}

#[tokio::test]
async fn a_model_that_is_not_allowed_is_refused_with_those_that_are() {
    let models = Some(vec!["gpt-4o".into(), "solo".into()]);
    let service = service(Scripted::default(), |noisy| CallerSettings { models, ..noisy }).await;
    let mut client = service.inference().await;
    let refused = client.embed(with_token(NOISY, embed(&["text"]))).await.unwrap_err();
    assert_eq!(told(&refused), "PermissionDenied MODEL_NOT_ALLOWED");
    assert!(refused.message().ends_with("it may use gpt-4o, solo"), "{}", refused.message());
    let details = refused.get_error_details();
    assert_eq!(details.error_info().unwrap().metadata["allowedModels"], "gpt-4o, solo");
    assert!(service.upstream.seen().is_empty());
    client.complete(with_token(NOISY, hi())).await.unwrap();
    client.embed(with_token(QUIET, embed(&["text"]))).await.unwrap();
}
