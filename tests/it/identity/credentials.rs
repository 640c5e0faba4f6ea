//! Tokens and certificates, good and bad: whoever is not proven is refused with a reason, and no region hears of it.
use sealane::grpc::pb;
use tonic::{Request, Status};
use tonic_types::StatusExt as _;

use super::{
    pki::{Authority, Pair, Time},
    world::World,
};
use crate::support::service::{hi, told};

const CALLERS: &str = "callers:
  - { name: engine, token: { file: engine }, policy: unrestricted }
  - { name: ingest, certificate: { san: ['spiffe://contoso.com/ingest', ingest.contoso.com] }, policy: unrestricted }
  - { name: both, token: { file: both }, certificate: { san: [both.contoso.com] }, policy: unrestricted }
";
const ENGINE: &str = "token-of-the-engine";
const BOTH: &str = "token-of-the-one-with-both";

async fn world(clients: &Authority) -> World {
    let tokens = |folder: &super::world::Folder| {
        folder.write("engine", ENGINE);
        folder.write("both", BOTH);
    };
    World::start(clients, CALLERS, tokens).await
}

async fn call(world: &World, token: Option<&str>, certificate: Option<&Pair>) -> Result<(), Status> {
    let mut request = Request::new(hi());
    if let Some(token) = token {
        request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    }
    world.inference(certificate).await.complete(request).await.map(drop)
}

/// Reason, and the cause where a certificate is to blame.
fn reason(status: &Status) -> String {
    let details = status.get_error_details();
    let cause = details.error_info().and_then(|info| info.metadata.get("cause")).cloned();
    format!("{} {}", told(status), cause.unwrap_or_default()).trim_end().to_owned()
}

#[tokio::test]
async fn whoever_is_not_proven_is_refused_and_no_region_hears_of_it() {
    let clients = Authority::named("clients");
    let (stranger, namesake) = (Authority::named("stranger"), Authority::named("clients"));
    let world = world(&clients).await;
    let ingest = ["spiffe://contoso.com/ingest"];
    let good = clients.client(&ingest, Time::Now);
    let both = clients.client(&["both.contoso.com"], Time::Now);
    for (what, token, certificate, expected) in [
        ("nothing", None, None, "Unauthenticated MISSING_TOKEN"),
        ("wrong token", Some("guess"), None, "Unauthenticated INVALID_TOKEN"),
        ("prefix of a token", Some("token-of-the-"), None, "Unauthenticated INVALID_TOKEN"),
        ("expired", None, Some(clients.client(&ingest, Time::Over)), "Unauthenticated INVALID_CERTIFICATE expired"),
        (
            "not valid yet",
            None,
            Some(clients.client(&ingest, Time::ToCome)),
            "Unauthenticated INVALID_CERTIFICATE not_yet_valid",
        ),
        (
            "another authority",
            None,
            Some(stranger.client(&ingest, Time::Now)),
            "Unauthenticated INVALID_CERTIFICATE unknown_authority",
        ),
        (
            "another authority of the same name",
            None,
            Some(namesake.client(&ingest, Time::Now)),
            "Unauthenticated INVALID_CERTIFICATE unknown_authority",
        ),
        (
            "a server's certificate",
            None,
            Some(clients.server(Time::Now)),
            "Unauthenticated INVALID_CERTIFICATE unusable",
        ),
        (
            "a longer name",
            None,
            Some(clients.client(&["spiffe://contoso.com/ingest/2"], Time::Now)),
            "Unauthenticated INVALID_CERTIFICATE unknown_name",
        ),
        ("no name", None, Some(clients.client(&[], Time::Now)), "Unauthenticated INVALID_CERTIFICATE unknown_name"),
        (
            "names of two callers",
            None,
            Some(clients.client(&["ingest.contoso.com", "both.contoso.com"], Time::Now)),
            "Unauthenticated INVALID_CERTIFICATE several_callers",
        ),
        ("token and certificate disagree", Some(ENGINE), Some(good.clone()), "Unauthenticated CREDENTIALS_DISAGREE"),
        (
            "a good token beside an expired certificate",
            Some(BOTH),
            Some(clients.client(&["both.contoso.com"], Time::Over)),
            "Unauthenticated INVALID_CERTIFICATE expired",
        ),
        ("a wrong token beside a good certificate", Some("guess"), Some(both.clone()), "Unauthenticated INVALID_TOKEN"),
    ] {
        let refused = call(&world, token, certificate.as_ref()).await.expect_err(what);
        assert_eq!(reason(&refused), expected, "{what}");
        assert!(!format!("{refused:?}").contains("guess"), "{what}: the token is not repeated");
    }
    assert_eq!(world.connections_to_regions(), 0, "nothing was sent");

    let by_dns = clients.client(&["other.contoso.com", "INGEST.contoso.com"], Time::Now);
    for (what, token, certificate) in [
        ("token", Some(ENGINE), None),
        ("certificate with a URI", None, Some(&good)),
        ("certificate with a DNS name", None, Some(&by_dns)),
        ("token of one with both", Some(BOTH), None),
        ("certificate of one with both", None, Some(&both)),
        ("both", Some(BOTH), Some(&both)),
    ] {
        call(&world, token, certificate).await.unwrap_or_else(|status| panic!("{what}: {status}"));
    }
}

#[tokio::test]
async fn every_method_is_closed_to_strangers_and_health_is_not() {
    use pb::{operator_service_client::OperatorServiceClient, region_service_client::RegionServiceClient};
    let world = world(&Authority::named("clients")).await;
    let channel = world.channel(None).await;
    let mut inference = world.inference(None).await;
    let mut regions = RegionServiceClient::new(channel.clone());
    let mut operator = OperatorServiceClient::new(channel.clone());
    let stream = pb::CompleteRequest { ..hi() };
    let refusals = [
        inference.complete(hi()).await.unwrap_err(),
        inference.complete_stream(stream).await.unwrap_err(),
        inference.embed(crate::support::service::embed(&["text"])).await.unwrap_err(),
        regions.region_status(pb::RegionStatusRequest::default()).await.unwrap_err(),
        regions.watch_region_status(pb::WatchRegionStatusRequest::default()).await.unwrap_err(),
        operator.drain(pb::DrainRequest::default()).await.unwrap_err(),
        operator.release(pb::ReleaseRequest::default()).await.unwrap_err(),
        operator.validate(pb::ValidateRequest::default()).await.unwrap_err(),
    ];
    for refused in refusals {
        assert_eq!(told(&refused), "Unauthenticated MISSING_TOKEN");
    }
    let mut health = tonic_health::pb::health_client::HealthClient::new(channel);
    health.check(tonic_health::pb::HealthCheckRequest::default()).await.unwrap();
    assert_eq!(world.connections_to_regions(), 0);
}
