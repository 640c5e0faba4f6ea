//! RegionStatus and its watch.
use std::time::Duration;

use sealane::grpc::pb;
use sealane_core::domain::FailureKind;

use crate::support::{
    scripted::{
        Line::{Fails, Says},
        Scripted,
    },
    service::{Service, hi, told},
};

const P: &str = "swedencentral";

#[tokio::test]
async fn it_tells_who_serves_and_how_well() {
    let upstream = Scripted::default().with(P, [Fails(FailureKind::ServerError), Says("hello there")]);
    let service = Service::start(upstream).await;
    let mut client = service.inference().await;
    client.complete(hi()).await.unwrap();
    client.complete(hi()).await.unwrap();
    let request = pb::RegionStatusRequest { model: "gpt-4o".into(), ..Default::default() };
    let status = service.regions().await.region_status(request).await.unwrap().into_inner();
    assert_eq!(status.config_revision, "test");
    let names: Vec<_> = status.regions.iter().map(|one| (one.region.as_str(), one.data_boundary.as_str())).collect();
    assert_eq!(names, [("francecentral", "eu"), ("swedencentral", "eu")]);
    let [standby, primary] = [&status.regions[0].targets[0], &status.regions[1].targets[0]];
    assert_eq!((primary.priority, standby.priority), (1, 2));
    assert_eq!(primary.standing(), pb::Standing::Serving);
    assert_eq!((primary.served_calls, primary.failed_attempts, primary.recent_attempts), (1, 1, 2));
    assert_eq!(primary.recent_success_ratio, Some(0.5));
    assert_eq!(primary.last_failure, "server_error");
    assert!(primary.last_failure_time.is_some() && primary.latency_p50.is_some());
    assert_eq!((standby.served_calls, standby.failed_attempts), (1, 0));
    let model = &status.models[0];
    assert_eq!((model.model.as_str(), model.active_region.as_str(), model.ready_standbys), ("gpt-4o", P, 1));
}

#[tokio::test]
async fn pins_and_the_calls_served_off_them_are_counted() {
    let script = [Says("hello there"), Fails(FailureKind::ServerError), Says("hello there")];
    let service = Service::start(Scripted::default().with(P, script)).await;
    let routing = Some(pb::RoutingOptions { workflow_id: "run-1".into(), ..Default::default() });
    for region in [P, "francecentral", P] {
        let request = pb::CompleteRequest { routing: routing.clone(), ..hi() };
        let reply = service.inference().await.complete(request).await.unwrap().into_inner();
        assert_eq!(reply.served_by.unwrap().region, region, "a rescue does not move the pin");
    }
    let status = service.regions().await.region_status(pb::RegionStatusRequest::default()).await.unwrap().into_inner();
    assert_eq!(status.off_pin_calls, [("rescue".to_owned(), 1)].into());
    let pinned: Vec<_> = status.models.iter().map(|one| (one.model.as_str(), one.pinned_workflows)).collect();
    assert_eq!(pinned, [("gpt-4o", 1), ("solo", 1), ("text-embedding-3-large", 1)], "all have a target in that region");
    assert!(status.test_call_tokens_left > 0);
}

#[tokio::test]
async fn credentials_that_azure_refuses_are_an_alarm() {
    let service = Service::start(Scripted::default().with(P, [Fails(FailureKind::Unauthorized)])).await;
    service.inference().await.complete(hi()).await.unwrap();
    let request = pb::RegionStatusRequest { region: P.into(), ..Default::default() };
    let status = service.regions().await.region_status(request).await.unwrap().into_inner();
    let target = &status.regions[0].targets[0];
    assert_eq!((target.overlay(), target.traffic_share), (pb::Overlay::Misconfigured, 1.0));
    assert_eq!(target.misconfigured_since_time, target.last_failure_time);
    let alarm = &status.alarms[0];
    let place = [&alarm.model, &alarm.region, &alarm.resource, &alarm.deployment].map(String::as_str);
    assert_eq!((alarm.kind.as_str(), place), ("misconfigured", ["gpt-4o", P, P, "gpt-4o-deployment"]));
    let elsewhere = pb::RegionStatusRequest { region: "francecentral".into(), ..Default::default() };
    let status = service.regions().await.region_status(elsewhere).await.unwrap().into_inner();
    assert_eq!(status.alarms, [], "the request asks for another region");
}

#[tokio::test]
async fn a_watcher_hears_of_a_cooling_target_at_once_and_of_its_end() {
    let throttled = Fails(FailureKind::Throttled { retry_after: Duration::from_secs(1) });
    let service = Service::start(Scripted::default().with(P, [throttled, Says("hello there")])).await;
    let request = pb::WatchRegionStatusRequest {
        region: "Sweden Central".into(),
        model: "gpt-4o".into(),
        max_interval: Some(prost_types::Duration { seconds: 600, nanos: 0 }),
    };
    let mut watch = service.regions().await.watch_region_status(request).await.unwrap().into_inner();
    let mut next = async || {
        let told = tokio::time::timeout(Duration::from_secs(20), watch.message()).await.expect("news");
        let status = told.unwrap().unwrap().status.unwrap();
        (status.regions[0].targets[0].overlay(), status.models[0].active_region.clone())
    };
    assert_eq!(next().await, (pb::Overlay::Unspecified, P.into()));
    service.inference().await.complete(hi()).await.unwrap();
    assert_eq!(next().await, (pb::Overlay::Cooling, "francecentral".into()));
    assert_eq!(next().await, (pb::Overlay::Unspecified, P.into()), "told when it is over, not 600 s later");
}

#[tokio::test]
async fn a_silence_that_is_too_short_or_too_long_is_refused() {
    let service = Service::start(Scripted::default()).await;
    for (seconds, nanos) in [(0, 1), (3601, 0), (-1, 0)] {
        let max_interval = Some(prost_types::Duration { seconds, nanos });
        let request = pb::WatchRegionStatusRequest { max_interval, ..Default::default() };
        let status = service.regions().await.watch_region_status(request).await.unwrap_err();
        assert_eq!(told(&status), "InvalidArgument INVALID_REQUEST");
    }
}

#[tokio::test]
async fn a_watch_lasts_as_long_as_its_caller_allows() {
    let service = Service::start(Scripted::default()).await;
    let mut request = tonic::Request::new(pb::WatchRegionStatusRequest::default());
    request.metadata_mut().insert("grpc-timeout", "300m".parse().unwrap());
    let mut watch = service.regions().await.watch_region_status(request).await.unwrap().into_inner();
    watch.message().await.unwrap().expect("the view at once");
    let over = tokio::time::timeout(Duration::from_secs(20), watch.message()).await.expect("it ends").unwrap_err();
    assert_eq!(told(&over), "DeadlineExceeded DEADLINE_EXCEEDED");
    let mut request = tonic::Request::new(pb::WatchRegionStatusRequest::default());
    request.metadata_mut().insert("grpc-timeout", "soon".parse().unwrap());
    let refused = service.regions().await.watch_region_status(request).await.unwrap_err();
    assert_eq!(told(&refused), "InvalidArgument INVALID_REQUEST");
}
