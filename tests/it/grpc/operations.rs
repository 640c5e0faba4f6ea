//! What load balancers, tools and operators see: health, reflection, compression, draining.
use std::time::Duration;

use futures_util::StreamExt as _;
use prost::Message as _;
use sealane::grpc::pb;
use tonic::{Code, codec::CompressionEncoding::Gzip};
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};

use crate::support::{
    scripted::{
        Line::{Hangs, Stalls},
        Scripted,
    },
    service::{Service, Wanted, eventually, hi, told},
};

fn named(service: &str) -> HealthCheckRequest {
    HealthCheckRequest { service: service.into() }
}

#[tokio::test]
async fn health_of_every_name() {
    let service = Service::start(Scripted::default()).await;
    let mut health = HealthClient::new(service.channel().await);
    for name in ["", "liveness", "readiness", "upstream", "sealane.v1.InferenceService", "sealane.v1.RegionService"] {
        let status = health.check(named(name)).await.unwrap().into_inner().status();
        assert_eq!(status, ServingStatus::Serving, "{name:?}");
    }
    assert_eq!(health.check(named("nobody")).await.unwrap_err().code(), Code::NotFound);
    let mut watch = health.watch(named("nobody")).await.unwrap().into_inner();
    assert_eq!(watch.message().await.unwrap().unwrap().status(), ServingStatus::ServiceUnknown);
    let next = tokio::time::timeout(Duration::from_millis(100), watch.message()).await;
    assert!(next.is_err(), "the stream stays open");
}

/// What the health name `upstream` says when every target of every model is drained, and after their release.
#[tokio::test]
async fn upstream_turns_after_a_while_and_back_at_once() {
    for (hold_down, turns) in [(Duration::from_millis(200), true), (Duration::from_secs(600), false)] {
        let wanted = Wanted { upstream_hold_down: hold_down, ..Wanted::default() };
        let service = Service::start_as(Scripted::default(), wanted).await;
        let mut health = HealthClient::new(service.channel().await);
        let mut operator = service.operator().await;
        for region in ["swedencentral", "francecentral"] {
            let selector = Some(pb::TargetSelector { region: region.into(), ..Default::default() });
            let duration = Some(prost_types::Duration { seconds: 600, nanos: 0 });
            operator.drain(pb::DrainRequest { selector, reason: "a test".into(), duration }).await.unwrap();
        }
        if !turns {
            tokio::time::sleep(Duration::from_millis(300)).await;
            let status = health.check(named("upstream")).await.unwrap().into_inner().status();
            assert_eq!(status, ServingStatus::Serving, "held down");
            continue;
        }
        let mut watch = health.watch(named("upstream")).await.unwrap().into_inner();
        let mut next = async || watch.message().await.unwrap().unwrap().status();
        // The watch may have begun after the turn already.
        let mut status = next().await;
        if status == ServingStatus::Serving {
            status = next().await;
        }
        assert_eq!(status, ServingStatus::NotServing);
        let ready = health.check(named("")).await.unwrap().into_inner().status();
        assert_eq!(ready, ServingStatus::Serving, "this process is well");
        let selector = Some(pb::TargetSelector { model: "solo".into(), ..Default::default() });
        operator.release(pb::ReleaseRequest { selector, reason: "a test".into() }).await.unwrap();
        assert_eq!(next().await, ServingStatus::Serving);
    }
}

#[tokio::test]
async fn draining_turns_readiness_and_lets_calls_finish() {
    let wanted = Wanted { drain_delay: Duration::from_millis(300), ..Wanted::default() };
    let mut service = Service::start_as(Scripted::default(), wanted).await;
    let mut health = HealthClient::new(service.channel().await);
    let mut watch = health.watch(named("readiness")).await.unwrap().into_inner();
    assert_eq!(watch.message().await.unwrap().unwrap().status(), ServingStatus::Serving);
    let mut client = service.inference().await;
    service.drain();
    assert_eq!(watch.message().await.unwrap().unwrap().status(), ServingStatus::NotServing);
    let alive = health.check(named("liveness")).await.unwrap().into_inner().status();
    assert_eq!(alive, ServingStatus::Serving, "a draining process is alive");
    client.complete(hi()).await.expect("calls are still taken while load balancers take notice");
    drop((watch, health, client));
    tokio::time::timeout(Duration::from_secs(5), &mut service.serving).await.expect("it stops").unwrap().unwrap();
}

#[tokio::test]
async fn who_only_watches_does_not_hold_up_the_end() {
    let wanted = Wanted { drain_grace: Duration::from_secs(600), ..Wanted::default() };
    let mut service = Service::start_as(Scripted::default(), wanted).await;
    let mut health = HealthClient::new(service.channel().await);
    let mut watch = health.watch(named("")).await.unwrap().into_inner();
    watch.message().await.unwrap().unwrap();
    let request = pb::WatchRegionStatusRequest::default();
    let mut regions = service.regions().await.watch_region_status(request).await.unwrap().into_inner();
    regions.message().await.unwrap().unwrap();
    service.drain();
    tokio::time::timeout(Duration::from_secs(20), &mut service.serving).await.expect("it stops").unwrap().unwrap();
}

#[tokio::test]
async fn what_still_runs_when_the_time_is_over_is_told_why() {
    let wanted = Wanted { drain_grace: Duration::from_millis(200), ..Wanted::default() };
    let upstream = Scripted::default().with("swedencentral", [Stalls("hello "), Hangs]);
    let mut service = Service::start_as(upstream, wanted).await;
    let mut events = service.inference().await.complete_stream(hi()).await.unwrap().into_inner();
    let mut client = service.inference().await;
    let unary = tokio::spawn(async move { client.complete(hi()).await });
    let request = pb::WatchRegionStatusRequest::default();
    let mut watch = service.regions().await.watch_region_status(request).await.unwrap().into_inner();
    watch.message().await.unwrap().unwrap();
    eventually("both are under way", async || service.upstream.open() == 2).await;
    service.drain();
    let ended = loop {
        match events.message().await {
            Ok(Some(_)) => {}
            other => break other.unwrap_err(),
        }
    };
    assert_eq!(told(&ended), "Unavailable DRAINING");
    assert_eq!(told(&unary.await.unwrap().unwrap_err()), "Unavailable DRAINING");
    assert_eq!(told(&watch.message().await.unwrap_err()), "Unavailable DRAINING");
}

#[tokio::test]
async fn reflection_speaks_both_versions_and_shows_comments() {
    use tonic_reflection::pb::{v1, v1alpha};
    let service = Service::start(Scripted::default()).await;
    let channel = service.channel().await;

    let list = v1::server_reflection_request::MessageRequest::ListServices(String::new());
    let request = v1::ServerReflectionRequest { host: String::new(), message_request: Some(list) };
    let mut client = v1::server_reflection_client::ServerReflectionClient::new(channel.clone());
    let mut replies = client.server_reflection_info(tokio_stream::iter([request])).await.unwrap().into_inner();
    let reply = replies.next().await.unwrap().unwrap().message_response.unwrap();
    let v1::server_reflection_response::MessageResponse::ListServicesResponse(list) = reply else {
        panic!("{reply:?}")
    };
    let names: Vec<_> = list.service.iter().map(|one| one.name.as_str()).collect();
    for name in ["sealane.v1.InferenceService", "sealane.v1.RegionService", "grpc.health.v1.Health"] {
        assert!(names.contains(&name), "{names:?}");
    }

    let symbol =
        v1alpha::server_reflection_request::MessageRequest::FileContainingSymbol("sealane.v1.InferenceService".into());
    let request = v1alpha::ServerReflectionRequest { host: String::new(), message_request: Some(symbol) };
    let mut client = v1alpha::server_reflection_client::ServerReflectionClient::new(channel);
    let mut replies = client.server_reflection_info(tokio_stream::iter([request])).await.unwrap().into_inner();
    let reply = replies.next().await.unwrap().unwrap().message_response.unwrap();
    let v1alpha::server_reflection_response::MessageResponse::FileDescriptorResponse(files) = reply else {
        panic!("{reply:?}")
    };
    let file = prost_types::FileDescriptorProto::decode(files.file_descriptor_proto[0].as_slice()).unwrap();
    let comments = file.source_code_info.unwrap().location;
    assert!(
        comments.iter().any(|one| one.leading_comments().contains("One chat completion, whole")),
        "describe shows comments"
    );
}

#[tokio::test]
async fn compressed_calls_are_understood_by_every_service() {
    let service = Service::start(Scripted::default()).await;
    let mut inference = service.inference().await.send_compressed(Gzip).accept_compressed(Gzip);
    let response = inference.complete(hi()).await.unwrap();
    assert_eq!(response.metadata().get("grpc-encoding").unwrap(), "gzip", "who sends gzip gets gzip");
    let mut regions = service.regions().await.send_compressed(Gzip).accept_compressed(Gzip);
    regions.region_status(pb::RegionStatusRequest::default()).await.unwrap();
    let mut health = HealthClient::new(service.channel().await).send_compressed(Gzip).accept_compressed(Gzip);
    health.check(named("")).await.unwrap();

    let mut inference = service.inference().await.accept_compressed(Gzip);
    let response = inference.complete(hi()).await.unwrap();
    assert!(response.metadata().get("grpc-encoding").is_none(), "who only announces gzip does not");
}

#[test]
fn the_two_completion_requests_are_twins() {
    let files = prost_types::FileDescriptorSet::decode(pb::DESCRIPTORS).unwrap().file;
    let file = files.into_iter().find(|file| file.name() == "sealane/v1/inference.proto").unwrap();
    let find = |name: &str| file.message_type.iter().find(|message| message.name() == name).unwrap().clone();
    let mut twin = find("CompleteStreamRequest");
    // Map fields name a message nested in their own one; that path is the only difference allowed.
    for field in &mut twin.field {
        if let Some(name) = &mut field.type_name {
            *name = name.replace(".CompleteStreamRequest.", ".CompleteRequest.");
        }
    }
    twin.name = Some("CompleteRequest".into());
    assert_eq!(twin, find("CompleteRequest"));
}
