//! What callers get while regions die before, during the wait for, and in the middle of their answer.
use std::time::Duration;

use sealane::grpc::pb::{self, complete_stream_response::Event};
use sealane_core::domain::{BadResponse, ConnectFailure, FailureKind, UpstreamStream};
use tonic::{Code, Request, Status};

use crate::support::{
    scripted::{
        Line::{Breaks, Fails, Hangs, Says, Stalls},
        Scripted,
    },
    service::{Service, Wanted, embed, eventually, hi, text, told},
};

const P: &str = "swedencentral";
const S: &str = "francecentral";

/// A stream's events, one word each, and how it ended.
async fn listen(service: &Service, request: Request<pb::CompleteRequest>) -> (Vec<String>, Option<Status>) {
    let mut events = match service.inference().await.complete_stream(request).await {
        Ok(response) => response.into_inner(),
        Err(status) => return (vec![], Some(status)),
    };
    let mut heard = Vec::new();
    loop {
        match events.message().await {
            Ok(None) => return (heard, None),
            Err(status) => return (heard, Some(status)),
            Ok(Some(event)) => heard.push(match event.event.unwrap() {
                Event::Start(start) => format!("start {}", start.served_by.unwrap().region),
                Event::Delta(delta) => format!("{:?}", delta.text),
                Event::ChoiceFinish(finish) => format!("finish {}", finish.finish_reason().as_str_name()),
                Event::Restarted(restarted) => format!("restarted {} {}", restarted.failed_region, restarted.failure),
                Event::FilterAnnotation(_) => "annotation".to_owned(),
                Event::End(end) => {
                    format!("end {} {}", end.served_by.unwrap().region, end.usage.unwrap().total_tokens)
                }
            }),
        }
    }
}

fn whole_answer(region: &str) -> Vec<String> {
    let start = format!("start {region}");
    let end = format!("end {region} 5");
    [&start, "\"hello \"", "\"there\"", "finish FINISH_REASON_STOP", &end].map(str::to_owned).to_vec()
}

#[tokio::test]
async fn the_primary_serves_and_the_reply_says_so() {
    let service = Service::start(Scripted::default()).await;
    let response = service.inference().await.complete(hi()).await.unwrap();
    assert_eq!(response.metadata().get("x-sealane-region").unwrap(), P);
    assert_eq!(response.metadata().get("x-sealane-data-boundary").unwrap(), "eu");
    assert_eq!(response.metadata().get("x-sealane-attempts").unwrap(), "1");
    assert_eq!(response.metadata().get("x-sealane-response-id").unwrap(), "chatcmpl-1");
    let reply = response.into_inner();
    assert_eq!(text(&reply), "hello there");
    assert_eq!(reply.usage.unwrap().total_tokens, 5);
    let served_by = reply.served_by.unwrap();
    assert_eq!((served_by.region.as_str(), served_by.failed_over), (P, false));
    assert_eq!(served_by.reported_region, "SWEDENCENTRAL");
    assert_eq!(served_by.processing_scope(), pb::ProcessingScope::Regional);
    assert_eq!(served_by.attempts.len(), 1);
}

#[tokio::test]
async fn whatever_fails_at_the_primary_is_rescued_by_the_standby() {
    use pb::attempt::{Outcome, Reason};
    for (line, outcome) in [
        (Fails(FailureKind::Connect(ConnectFailure::Refused)), Outcome::ConnectFailed),
        (Fails(FailureKind::Unavailable), Outcome::Unavailable),
        (Fails(FailureKind::Throttled { retry_after: Duration::from_secs(2) }), Outcome::RateLimited),
        (Fails(FailureKind::Unauthorized), Outcome::AuthFailed),
        (Fails(FailureKind::DeploymentNotFound), Outcome::NotFound),
        (Fails(FailureKind::BadResponse(BadResponse::Malformed)), Outcome::BadResponse),
        (Breaks("half of it ", FailureKind::Truncated), Outcome::BadResponse),
        (Breaks("half of it ", FailureKind::Reset), Outcome::Unavailable),
    ] {
        for upstream_stream in [UpstreamStream::Auto, UpstreamStream::Never] {
            let upstream = Scripted::default().with(P, [line.clone()]);
            let service = Service::start_as(upstream, Wanted { upstream_stream, ..Wanted::default() }).await;
            let reply = service.inference().await.complete(hi()).await.unwrap().into_inner();
            assert_eq!(text(&reply), "hello there", "nothing of the failed attempt's text: {line:?}");
            let served_by = reply.served_by.unwrap();
            assert_eq!((served_by.region.as_str(), served_by.failed_over), (S, true), "{line:?}");
            let told: Vec<_> = served_by.attempts.iter().map(|one| (one.outcome(), one.reason())).collect();
            assert_eq!(told, [(outcome, Reason::Route), (Outcome::Served, Reason::Rescue)], "{line:?}");
        }
    }
}

#[tokio::test]
async fn a_silent_primary_leaves_the_rescue_its_time() {
    let service = Service::start(Scripted::default().with(P, [Hangs])).await;
    let mut request = Request::new(hi());
    request.set_timeout(Duration::from_secs(2));
    let reply = service.inference().await.complete(request).await.unwrap().into_inner();
    assert_eq!(reply.served_by.unwrap().region, S);
    let limits: Vec<_> = service.upstream.seen().iter().map(|seen| seen.first_content).collect();
    assert!(limits[0] <= Duration::from_millis(1200), "60 % of two seconds: {limits:?}");
    assert!(limits[1] <= Duration::from_millis(800), "what is left: {limits:?}");
}

#[tokio::test]
async fn embeddings_are_rescued_too() {
    let service = Service::start(Scripted::default().with(P, [Fails(FailureKind::ServerError)])).await;
    let reply = service.inference().await.embed(embed(&["a", "four"])).await.unwrap().into_inner();
    assert_eq!(reply.served_by.unwrap().region, S);
    assert_eq!((reply.dimensions, reply.embedding_space.as_str()), (2, "text-embedding-3-large/1/2"));
    let values = reply.embeddings.iter().map(|one| (one.index, one.values.clone()));
    let floats = |numbers: [f32; 2]| numbers.iter().flat_map(|number| number.to_le_bytes()).collect::<Vec<u8>>();
    assert_eq!(values.collect::<Vec<_>>(), [(0, floats([1.0, 1.0])), (1, floats([1.0, 4.0]))]);
}

#[tokio::test]
async fn a_stream_begins_with_its_region_and_ends_with_its_end() {
    let service = Service::start(Scripted::default()).await;
    assert_eq!(listen(&service, Request::new(hi())).await.0, whole_answer(P));
}

#[tokio::test]
async fn failover_before_the_first_content_is_invisible() {
    for line in [Fails(FailureKind::Unavailable), Breaks("", FailureKind::Reset), Breaks("", FailureKind::Truncated)] {
        let service = Service::start(Scripted::default().with(P, [line.clone()])).await;
        let (heard, ended) = listen(&service, Request::new(hi())).await;
        assert_eq!(heard, whole_answer(S), "{line:?}");
        assert!(ended.is_none());
    }
}

#[tokio::test]
async fn a_cut_stream_is_never_ok() {
    for kind in [FailureKind::Truncated, FailureKind::Reset, FailureKind::ErrorEvent { code: None }] {
        let service = Service::start(Scripted::default().with(P, [Breaks("hello ", kind.clone())])).await;
        let (heard, ended) = listen(&service, Request::new(hi())).await;
        assert_eq!(heard, [format!("start {P}"), "\"hello \"".to_owned()]);
        assert_eq!(told(&ended.unwrap()), "Unavailable STREAM_INTERRUPTED", "{kind:?}");
        assert_eq!(service.upstream.regions_seen(), [P], "the answer does not start again unasked");
    }
}

#[tokio::test]
async fn a_caller_may_ask_for_the_whole_answer_again() {
    let service = Service::start(Scripted::default().with(P, [Breaks("hello ", FailureKind::Reset)])).await;
    let routing = pb::RoutingOptions { on_interruption: pb::OnInterruption::Restart as i32, ..Default::default() };
    let (heard, ended) = listen(&service, Request::new(pb::CompleteRequest { routing: Some(routing), ..hi() })).await;
    let mut expected = vec![format!("start {P}"), "\"hello \"".into(), format!("restarted {P} connection_reset")];
    expected.extend(whole_answer(S));
    assert_eq!(heard, expected);
    assert!(ended.is_none());
}

#[tokio::test]
async fn a_deadline_is_answered_as_such_before_and_in_the_middle_of_an_answer() {
    let upstream = || Scripted::default().with(P, [Hangs]).with(S, [Hangs]);
    let with_timeout = || {
        let mut request = Request::new(hi());
        request.set_timeout(Duration::from_millis(400));
        request
    };
    let service = Service::start(upstream()).await;
    let status = service.inference().await.complete(with_timeout()).await.unwrap_err();
    assert_eq!(told(&status), "DeadlineExceeded DEADLINE_EXCEEDED");
    assert_eq!(service.upstream.regions_seen(), [P, S], "both had their share of the time");

    let service = Service::start(upstream()).await;
    let (_, ended) = listen(&service, with_timeout()).await;
    assert_eq!(told(&ended.unwrap()), "DeadlineExceeded DEADLINE_EXCEEDED");

    let service = Service::start(Scripted::default().with(P, [Stalls("hello ")])).await;
    let (heard, ended) = listen(&service, with_timeout()).await;
    assert_eq!(heard.last().unwrap(), "\"hello \"");
    assert_eq!(told(&ended.unwrap()), "DeadlineExceeded DEADLINE_EXCEEDED");
}

#[tokio::test]
async fn a_caller_that_leaves_takes_its_attempt_along() {
    let service = Service::start(Scripted::default().with(P, [Hangs])).await;
    let mut client = service.inference().await;
    let call = tokio::spawn(async move { client.complete(hi()).await });
    eventually("the attempt is under way", async || service.upstream.open() == 1).await;
    call.abort();
    eventually("the attempt is closed", async || service.upstream.open() == 0).await;

    let service = Service::start(Scripted::default().with(P, [Stalls("hello ")])).await;
    let mut events = service.inference().await.complete_stream(hi()).await.unwrap().into_inner();
    events.message().await.unwrap().unwrap();
    assert_eq!(service.upstream.open(), 1);
    drop(events);
    eventually("the stream is closed", async || service.upstream.open() == 0).await;
    let status = service.regions().await.region_status(pb::RegionStatusRequest::default()).await.unwrap().into_inner();
    let targets = status.regions.iter().flat_map(|region| &region.targets);
    let counts: Vec<_> = targets.map(|one| (one.in_flight_calls, one.failed_attempts)).collect();
    assert!(counts.iter().all(|count| *count == (0, 0)), "leaving says nothing about the target: {counts:?}");
}

#[tokio::test]
async fn a_workflow_is_told_its_region_and_keeps_it() {
    let service = Service::start(Scripted::default()).await;
    let routing = |pinned: &str| {
        Some(pb::RoutingOptions { workflow_id: "run-1".into(), pinned_region: pinned.into(), ..Default::default() })
    };
    let request = pb::CompleteRequest { routing: routing(""), ..hi() };
    let reply = service.inference().await.complete(request).await.unwrap().into_inner();
    assert_eq!(reply.served_by.unwrap().pinned_region, P);
    let request = pb::CompleteRequest { routing: routing("France Central"), ..hi() };
    let served_by = service.inference().await.complete(request).await.unwrap().into_inner().served_by.unwrap();
    assert_eq!((served_by.region.as_str(), served_by.pinned_region.as_str()), (S, S));
    assert_eq!(served_by.attempts[0].reason(), pb::attempt::Reason::Pin);
}

#[tokio::test]
async fn the_sole_permitted_region_is_tried_again() {
    let script = [Fails(FailureKind::ServerError), Says("second time lucky")];
    let service = Service::start(Scripted::default().with(P, script)).await;
    let request = pb::CompleteRequest { model: "solo".into(), ..hi() };
    let reply = service.inference().await.complete(request).await.unwrap().into_inner();
    assert_eq!(text(&reply), "second time lucky");
    let served_by = reply.served_by.unwrap();
    assert!(!served_by.failed_over, "it was the same target");
    assert_eq!(served_by.attempts[1].reason(), pb::attempt::Reason::Retry);
}

#[tokio::test]
async fn the_callers_trace_reaches_the_upstream() {
    let service = Service::start(Scripted::default()).await;
    let mut request = Request::new(hi());
    let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    request.metadata_mut().insert("traceparent", parent.parse().unwrap());
    service.inference().await.complete(request).await.unwrap();
    let sent = service.upstream.seen()[0].trace.traceparent.clone().unwrap();
    assert!(sent.starts_with("00-0af7651916cd43dd8448eb211c80319c-"), "{sent}");
    assert_ne!(sent, parent);
}

#[tokio::test]
async fn a_deadline_of_one_millisecond_says_nothing_about_the_target() {
    let service = Service::start(Scripted::default().with(P, [Hangs]).with(S, [Hangs])).await;
    let mut request = Request::new(hi());
    request.set_timeout(Duration::from_millis(1));
    let status = service.inference().await.complete(request).await.unwrap_err();
    assert!([Code::DeadlineExceeded, Code::Cancelled].contains(&status.code()), "{status:?}");
}
