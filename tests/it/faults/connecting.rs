//! No connection, or one that breaks before an answer.
use std::{io::Read as _, net::SocketAddr, sync::Arc, time::Duration};

use sealane::{
    grpc::pb::{self, Standing},
    simulator::Fault,
};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use super::http2::believing;
use crate::support::{
    authority::Authority,
    http2::{Http2Region, Manner},
    service::{embed, hi},
    wire::{Passes, Wire},
    world::{Setup, World, quick},
};

async fn at(endpoint: String) -> World {
    let primary_endpoint = Some(endpoint);
    World::of(Setup { primary_endpoint, connect_timeout: Duration::from_millis(200), ..Setup::quick() }).await
}

/// The first attempt's failure, as a caller reads it.
async fn failure(world: &World) -> String {
    let served_by = world.inference().complete(hi()).await.unwrap().into_inner().served_by.unwrap();
    assert_eq!(served_by.region, "francecentral");
    served_by.attempts[0].failure.clone()
}

/// A port whose queue of connections is full: Linux drops every further SYN, as a firewall would.
async fn full_port() -> (SocketAddr, Vec<TcpStream>, TcpListener) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
    let listener = socket.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    let mut waiting = Vec::new();
    while let Ok(stream) = tokio::time::timeout(Duration::from_millis(100), TcpStream::connect(address)).await {
        waiting.push(stream.unwrap());
    }
    (address, waiting, listener)
}

#[tokio::test]
async fn row_03_connection_refused_is_rescued_and_the_resource_leaves() {
    let world = World::of(Setup::quick()).await;
    world.primary.refuse_connections().await.unwrap();
    assert_eq!(failure(&world).await, "connection_refused");
    world.call_until("gpt-4o", Standing::Out).await;
    assert_eq!(world.standing("text-embedding-3-large").await, Standing::Out, "nothing of that resource is reachable");
}

#[tokio::test]
async fn row_04_a_dropped_syn_is_rescued_after_the_connect_limit() {
    let (address, _waiting, _listener) = full_port().await;
    let world = at(format!("http://{address}")).await;
    assert_eq!(failure(&world).await, "connect_timeout");
    world.call_until("gpt-4o", Standing::Out).await;
}

#[tokio::test]
async fn row_05_a_handshake_that_never_ends() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let world = at(format!("https://{}", listener.local_addr().unwrap())).await;
    assert_eq!(failure(&world).await, "connect_timeout");
    world.call_until("gpt-4o", Standing::Out).await;
}

#[tokio::test]
async fn row_05_a_certificate_that_nobody_vouches_for() {
    let rcgen::CertifiedKey { cert, signing_key } =
        rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::Pkcs8(signing_key.serialize_der().into());
    rustls::crypto::ring::default_provider().install_default().ok();
    let config = rustls::ServerConfig::builder().with_no_client_auth().with_single_cert(vec![cert.der().clone()], key);
    let config = Arc::new(config.unwrap());
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        while let Ok((socket, _)) = listener.accept() {
            let session = rustls::ServerConnection::new(Arc::clone(&config)).unwrap();
            let _ = rustls::StreamOwned::new(session, socket).read_to_end(&mut Vec::new());
        }
    });
    let world = at(format!("https://localhost:{port}")).await;
    assert_eq!(failure(&world).await, "tls");
    world.call_until("gpt-4o", Standing::Out).await;
}

/// The same authority, believed every time: what differs is what the certificate says.
#[tokio::test]
async fn row_05_a_certificate_that_has_expired_or_is_of_another_name() {
    for (case, name, valid_until, failure) in [
        ("good", "localhost", 2100, None),
        ("expired", "localhost", 2001, Some("tls")),
        ("other-name", "contoso.openai.azure.com", 2100, Some("tls")),
    ] {
        let authority = Authority::new(case);
        let region = Http2Region::start(authority.server(name, valid_until), Manner::Plain).await;
        let (world, _running) = believing(case, &authority, region.endpoint()).await;
        let served_by = world.inference().complete(hi()).await.unwrap().into_inner().served_by.unwrap();
        let first = &served_by.attempts[0];
        assert_eq!(
            (first.region.as_str(), first.failure.as_str()),
            ("swedencentral", failure.unwrap_or_default()),
            "{case}"
        );
        assert_eq!(
            region.asked(),
            usize::from(failure.is_none()),
            "{case}: no byte of a request where there is no trust"
        );
    }
}

#[tokio::test]
async fn row_06_a_name_that_does_not_resolve() {
    let world = at("https://nowhere.invalid".into()).await;
    assert!(["dns", "connect_timeout"].contains(&failure(&world).await.as_str()));
}

#[tokio::test]
async fn rows_07_and_08_a_reset_before_and_after_the_head() {
    for fault in [Fault::Reset, Fault::Close, Fault::CutBody { after_bytes: 0 }] {
        let world = World::start().await;
        world.primary.faults().add(fault.clone());
        for model in ["gpt-4o", "gpt-4o-unary"] {
            let request = pb::CompleteRequest { model: model.into(), ..hi() };
            assert_eq!(world.ask(request).await.unwrap(), "francecentral", "{model} {fault:?}");
        }
        let heard = world.listen(hi()).await;
        assert!(heard.ended && heard.error.is_none(), "{fault:?}: {heard:?}");
        let vectors = world.inference().embed(embed(&["one"])).await.unwrap().into_inner();
        assert_eq!(vectors.served_by.unwrap().region, "francecentral", "{fault:?}");
    }
}

/// A service whose way to the primary is a wire that lets through less and less. The second world is there for its region.
/// Open connections lead nowhere, and nobody says so: no FIN, no RST.
async fn silent_wire(passes: Passes) -> (World, World, Wire, u64) {
    let region = World::start().await;
    let wire = Wire::to(region.primary.address()).await;
    let thresholds = sealane_core::router::Thresholds { first_content_floor: Duration::from_millis(400), ..quick() };
    let primary_endpoint = Some(format!("http://{}", wire.address));
    let world = World::of(Setup { primary_endpoint, thresholds, ..Setup::default() }).await;
    assert_eq!(world.call().await.unwrap(), "swedencentral", "the connection is open and pooled");
    wire.lets_through(passes);
    let served_by = world.inference().complete(hi()).await.unwrap().into_inner().served_by.unwrap();
    assert_eq!(served_by.region, "francecentral");
    assert_eq!(served_by.attempts[0].failure, "first_content_timeout");
    world.call_until("gpt-4o", Standing::Out).await;
    let arrived = region.primary.counters().requests(sealane::simulator::Operation::Chat);
    (world, region, wire, arrived)
}

#[tokio::test]
async fn row_10_half_open_connections_are_found_by_their_silence() {
    let (world, _region, wire, arrived) = silent_wire(Passes::Nothing).await;
    assert_eq!(arrived, 1, "nothing got through");
    wire.lets_through(Passes::Everything);
    world.call_until("gpt-4o", Standing::Returning).await;
}

#[tokio::test]
async fn row_64_requests_arrive_and_answers_are_lost() {
    let (_world, _region, _wire, arrived) = silent_wire(Passes::OnlyRequests).await;
    assert!(arrived > 1, "the region did the work");
}
