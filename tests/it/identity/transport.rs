//! TLS itself: versions, ALPN, handshakes that fail or stall, and what stays open.
use std::{sync::Arc, time::Duration};

use rustls::{
    ClientConfig, ProtocolVersion, RootCertStore,
    pki_types::{CertificateDer, ServerName, pem::PemObject as _},
};
use sealane::{
    grpc::pb::{self, region_service_client::RegionServiceClient},
    identity::{Audience, CallerSettings},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tonic::{Code, transport::Channel};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
    server_reflection_request::MessageRequest,
};

use super::{pki::Authority, world::World};
use crate::support::{
    scripted::Scripted,
    service::{Service, Wanted, caller, hi, told, with_token},
};

const ENGINE: &str = "callers: [{ name: engine, token: { file: engine }, policy: unrestricted }]\n";
const TOKEN: &str = "token-of-the-engine";

async fn world() -> World {
    World::start(&Authority::named("clients"), ENGINE, |folder| folder.write("engine", TOKEN)).await
}

/// A handshake by hand; `trusted` is PEM.
async fn handshake(
    world: &World,
    trusted: &str,
    version: &'static rustls::SupportedProtocolVersion,
    alpn: &[&str],
) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(CertificateDer::pem_slice_iter(trusted.as_bytes()).map(Result::unwrap));
    let mut config =
        ClientConfig::builder_with_protocol_versions(&[version]).with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
    let stream = TcpStream::connect(world.address).await.unwrap();
    TlsConnector::from(Arc::new(config)).connect(ServerName::try_from("localhost").unwrap(), stream).await
}

/// The certificate that the server shows to a new connection.
pub async fn shown_certificate(world: &World, trusted: &str) -> CertificateDer<'static> {
    let stream = handshake(world, trusted, &rustls::version::TLS13, &["h2"]).await.unwrap();
    stream.get_ref().1.peer_certificates().unwrap()[0].clone().into_owned()
}

async fn served(world: &World) {
    world.inference(None).await.complete(with_token(TOKEN, hi())).await.unwrap();
}

#[tokio::test]
async fn both_versions_of_tls_speak_http2_and_strangers_are_told_apart() {
    let world = world().await;
    let trusted = world.authority.pem();
    for (version, expected) in
        [(&rustls::version::TLS13, ProtocolVersion::TLSv1_3), (&rustls::version::TLS12, ProtocolVersion::TLSv1_2)]
    {
        let stream = handshake(&world, &trusted, version, &["http/1.1", "h2"]).await.unwrap();
        let session = stream.get_ref().1;
        assert_eq!(session.alpn_protocol(), Some(&b"h2"[..]));
        assert_eq!(session.protocol_version(), Some(expected));
        let refused = handshake(&world, &trusted, version, &["http/1.1"]).await.unwrap_err();
        assert!(refused.to_string().contains("NoApplicationProtocol"), "{refused}");
    }
    let refused = handshake(&world, &Authority::named("servers").pem(), &rustls::version::TLS13, &["h2"]).await;
    assert!(refused.unwrap_err().to_string().contains("invalid peer certificate"), "the name alone proves nothing");
}

#[tokio::test]
async fn broken_handshakes_hurt_nobody() {
    let world = world().await;
    for bytes in [&b""[..], b"GET / HTTP/1.1\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", &[0x16, 3, 1, 0xff, 0xff]] {
        for _ in 0..50 {
            let mut stream = TcpStream::connect(world.address).await.unwrap();
            stream.write_all(bytes).await.unwrap();
        }
    }
    served(&world).await;
}

#[tokio::test]
async fn handshakes_that_stall_are_ended_and_delay_nobody() {
    let world = world().await;
    let mut stalled = Vec::new();
    for _ in 0..100 {
        stalled.push(TcpStream::connect(world.address).await.unwrap());
    }
    timeout(Duration::from_secs(4), served(&world)).await.expect("calls are served while handshakes stall");
    for mut stream in stalled {
        let end = timeout(Duration::from_secs(30), stream.read(&mut [0])).await.expect("stalled handshakes end");
        assert!(matches!(end, Ok(0) | Err(_)), "{end:?}");
    }
    served(&world).await;
}

async fn reflects(channel: Channel, token: Option<&str>) -> Result<(), String> {
    let ask = ServerReflectionRequest {
        message_request: Some(MessageRequest::ListServices(String::new())),
        ..Default::default()
    };
    let asked = tokio_stream::iter([ask]);
    let request = match token {
        Some(token) => with_token(token, asked),
        None => tonic::Request::new(asked),
    };
    let answer = ServerReflectionClient::new(channel).server_reflection_info(request).await;
    match answer {
        Ok(answer) => answer.into_inner().message().await.map(drop).map_err(|status| told(&status)),
        Err(status) if status.code() == Code::Unimplemented => Err("Unimplemented".to_owned()),
        Err(status) => Err(told(&status)),
    }
}

async fn shows_status(channel: Channel, token: Option<&str>) -> Result<(), String> {
    let ask = pb::RegionStatusRequest::default();
    let request = match token {
        Some(token) => with_token(token, ask),
        None => tonic::Request::new(ask),
    };
    match RegionServiceClient::new(channel).region_status(request).await {
        Ok(_) => Ok(()),
        Err(status) if status.code() == Code::Unimplemented => Err("Unimplemented".to_owned()),
        Err(status) => Err(told(&status)),
    }
}

#[tokio::test]
async fn reflection_and_region_status_have_their_audience() {
    let (missing, no_operator, absent) =
        (Err("Unauthenticated MISSING_TOKEN"), Err("PermissionDenied NOT_AN_OPERATOR"), Err("Unimplemented"));
    for (audience, stranger, engine, on_call) in [
        (Audience::Anyone, Ok(()), Ok(()), Ok(())),
        (Audience::Callers, missing, Ok(()), Ok(())),
        (Audience::Operators, missing, no_operator, Ok(())),
        (Audience::Nobody, absent, absent, absent),
    ] {
        let on_call_settings = CallerSettings { operator: true, ..caller("on-call", "on-call-token") };
        let callers = vec![caller("engine", "engine-token"), on_call_settings];
        let wanted = Wanted { callers, reflection: audience, region_status: audience, ..Wanted::default() };
        let service = Service::start_as(Scripted::default(), wanted).await;
        for (token, expected) in [(None, stranger), (Some("engine-token"), engine), (Some("on-call-token"), on_call)] {
            let expected = expected.map_err(str::to_owned);
            assert_eq!(reflects(service.channel().await, token).await, expected, "reflection, {audience:?}, {token:?}");
            assert_eq!(shows_status(service.channel().await, token).await, expected, "status, {audience:?}, {token:?}");
        }
        let asked = HealthCheckRequest { service: "sealane.v1.RegionService".into() };
        let healthy = HealthClient::new(service.channel().await).check(asked).await.is_ok();
        assert_eq!(healthy, audience != Audience::Nobody, "{audience:?}");
    }
}

/// On-call engineers see regions, not who uses them or how they are reached.
#[tokio::test]
async fn region_status_shows_no_callers_keys_or_hosts() {
    let world = world().await;
    served(&world).await;
    let mut regions = RegionServiceClient::new(world.channel(None).await);
    let status = regions.region_status(with_token(TOKEN, pb::RegionStatusRequest::default())).await.unwrap();
    let shown = format!("{:?}", status.into_inner());
    assert!(shown.contains("swedencentral"), "{shown}");
    for hidden in ["engine", TOKEN, "simulated-key", "127.0.0.1", "http:", "https:"] {
        assert!(!shown.contains(hidden), "{hidden}: {shown}");
    }
}
