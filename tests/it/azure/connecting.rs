//! No connection, and why not; addresses that are never called.
use std::{
    io::{Read as _, Write as _},
    net::TcpListener,
    sync::Arc,
    thread,
};

use sealane::{
    azure::{Azure, BuildError, ResourceSettings, ResponseBounds},
    secret::{Form, Secret},
    upstream::Upstream as _,
};
use sealane_core::domain::ConnectFailure;

use super::*;
use crate::support::attempt::settings;

fn build(settings: ResourceSettings) -> Result<Azure, BuildError> {
    // Another test may have installed it already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Azure::new(vec![settings], ResponseBounds::default())
}

fn at(endpoint: &str) -> ResourceSettings {
    let somewhere = "127.0.0.1:1".parse().unwrap();
    ResourceSettings {
        endpoint: endpoint.parse().unwrap(),
        connect_timeout: Duration::from_millis(500),
        ..settings(somewhere, dated())
    }
}

async fn failure(endpoint: &str) -> Failure {
    let azure = build(at(endpoint)).unwrap();
    azure.complete_chat(&order("gpt-4o", patient()), &ask("hi")).await.unwrap_err()
}

fn unconnected(why: ConnectFailure) -> Failure {
    Failure::without_response(FailureKind::Connect(why))
}

#[tokio::test]
async fn nobody_listens() {
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let failure = failure(&format!("http://{address}")).await;
    assert_eq!(failure, unconnected(ConnectFailure::Refused));
    assert!(!failure.maybe_billed, "nothing was sent");
}

#[tokio::test]
async fn words_in_the_address_are_not_taken_for_causes() {
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let failure = failure(&format!("http://{address}/tls/dns/certificate/resolve")).await;
    assert_eq!(failure, unconnected(ConnectFailure::Refused));
}

#[tokio::test]
async fn a_name_that_does_not_exist() {
    let failure = failure("http://sealane.invalid").await;
    // Where no resolver answers at all, the limit for connecting speaks first.
    let known = [ConnectFailure::Dns, ConnectFailure::TimedOut].map(unconnected);
    assert!(known.contains(&failure), "{failure:?}");
}

#[tokio::test]
async fn a_server_that_speaks_no_tls() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for socket in listener.incoming() {
            let _ = socket.unwrap().write_all(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n");
        }
    });
    assert_eq!(failure(&format!("https://{address}")).await, unconnected(ConnectFailure::Tls));
}

#[tokio::test]
async fn a_handshake_that_never_ends() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    assert_eq!(failure(&format!("https://{address}")).await, unconnected(ConnectFailure::TimedOut));
}

#[tokio::test]
async fn a_certificate_that_nobody_vouches_for() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let rcgen::CertifiedKey { cert, signing_key } =
        rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::Pkcs8(signing_key.serialize_der().into());
    let config = rustls::ServerConfig::builder().with_no_client_auth().with_single_cert(vec![cert.der().clone()], key);
    let config = Arc::new(config.unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let read = thread::spawn(move || {
        let (socket, _) = listener.accept().unwrap();
        let session = rustls::ServerConnection::new(config).unwrap();
        let mut bytes = Vec::new();
        let _ = rustls::StreamOwned::new(session, socket).read_to_end(&mut bytes);
        bytes
    });
    assert_eq!(failure(&format!("https://localhost:{port}")).await, unconnected(ConnectFailure::Tls));
    assert_eq!(read.join().unwrap(), b"", "not a byte of the request was sent");
}

#[tokio::test]
async fn a_connection_that_breaks_before_the_answer() {
    for step in [Step::Close, Step::Reset] {
        let server = Canned::start([step.clone()]).await;
        let azure = azure(server.address, dated());
        let failure = azure.complete_chat(&order("gpt-4o", patient()), &ask("hi")).await.unwrap_err();
        assert_eq!(failure, Failure::without_response(FailureKind::Reset), "{step:?}");
        assert!(failure.maybe_billed);
        assert_eq!(server.seen().len(), 1, "one attempt is one request");
    }
}

#[test]
fn addresses_that_are_never_called() {
    for endpoint in [
        "http://169.254.169.254",
        "http://2852039166",
        "http://0xA9.0xFE.0xA9.0xFE/metadata",
        "https://[fe80::1]",
        "https://[::ffff:169.254.169.254]",
        "http://168.63.129.16",
        "http://0.0.0.0",
    ] {
        assert!(matches!(build(at(endpoint)), Err(BuildError::Address { .. })), "{endpoint}");
    }
    for endpoint in ["https://10.0.0.4", "http://127.0.0.1:8080", "https://r.openai.azure.com"] {
        assert!(build(at(endpoint)).is_ok(), "{endpoint}");
    }
    for endpoint in ["ftp://r.openai.azure.com", "unix:/run/socket", "file:///etc/passwd"] {
        assert!(matches!(build(at(endpoint)), Err(BuildError::Endpoint { .. })), "{endpoint}");
    }
}

#[test]
fn a_key_that_is_no_header_value_is_refused_and_not_printed() {
    let credential = sealane::azure::Credential::ApiKey(Secret::fixed("secret\nkey", Form::Text).unwrap());
    let error = build(ResourceSettings { credential, ..at("https://r.openai.azure.com") }).unwrap_err();
    assert!(matches!(error, BuildError::Credential { .. }));
    assert!(!format!("{error} {error:?}").contains("secret"));
}
