//! Certificates, authorities and tokens are replaced while calls run, and none of them fails for it.
use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use tonic::Status;

use super::{
    pki::{Authority, Pair, Time},
    transport::shown_certificate,
    world::World,
};
use crate::support::service::{eventually, hi, told, with_token};

const CALLERS: &str = "callers:
  - { name: engine, tokens: [{ file: token-1 }, { file: token-2 }], policy: unrestricted }
  - { name: ingest, certificate: { san: [ingest] }, policy: unrestricted }
";

async fn world(clients: &Authority) -> World {
    World::start(clients, CALLERS, |folder| {
        folder.write("token-1", "first-token-of-the-engine");
        folder.write("token-2", "second-token-of-the-engine");
    })
    .await
}

/// As a caller that trusts the server's first certificate.
async fn by_token(world: &World, token: &str) -> Result<(), Status> {
    world.inference(None).await.complete(with_token(token, hi())).await.map(drop)
}

async fn by_certificate(world: &World, pair: &Pair) -> Result<(), Status> {
    world.inference(Some(pair)).await.complete(hi()).await.map(drop)
}

/// Callers that never pause: one keeps its connection, one makes a new one for each call, one has a certificate.
/// Those who renew their credentials do so when told.
struct Load {
    stop: AtomicBool,
    calls: AtomicU64,
    token: Mutex<&'static str>,
    trusted: String,
}

impl Load {
    async fn run(self: Arc<Self>, world: Arc<World>, certificate: Option<Pair>, keep: bool) -> Result<(), String> {
        let mut kept = None;
        while !self.stop.load(Relaxed) {
            let channel = match kept.take() {
                Some(channel) => channel,
                None => {
                    world.channel_trusting(&self.trusted, certificate.as_ref()).await.map_err(|e| format!("{e:?}"))?
                }
            };
            let mut client = sealane::grpc::pb::inference_service_client::InferenceServiceClient::new(channel.clone());
            let request = match certificate {
                Some(_) => tonic::Request::new(hi()),
                None => with_token(*self.token.lock().unwrap(), hi()),
            };
            client.complete(request).await.map_err(|status| format!("{status:?}"))?;
            self.calls.fetch_add(1, Relaxed);
            kept = keep.then_some(channel);
        }
        Ok(())
    }

    /// Waits until this many more calls have been made.
    async fn go_on(&self, calls: u64) {
        let until = self.calls.load(Relaxed) + calls;
        eventually("calls go on", async || self.calls.load(Relaxed) >= until).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_rotates_under_load_without_a_failed_call() {
    let (clients, servers) = (Authority::named("clients"), Authority::named("new servers"));
    let world = Arc::new(world(&clients).await);
    let trusted = format!("{}{}", world.authority.pem(), servers.pem());
    let load = Arc::new(Load {
        stop: AtomicBool::new(false),
        calls: AtomicU64::new(0),
        token: Mutex::new("first-token-of-the-engine"),
        trusted,
    });
    let mine = clients.client(&["ingest"], Time::Now);
    let callers: Vec<_> = [(None, true), (None, false), (Some(mine.clone()), true), (Some(mine), false)]
        .into_iter()
        .map(|(certificate, keep)| tokio::spawn(Arc::clone(&load).run(Arc::clone(&world), certificate, keep)))
        .collect();
    load.go_on(20).await;

    let renewed = servers.server(Time::Now);
    world.folder.write_pair("server", &renewed);
    assert_eq!(world.credentials.rotate().renewed, ["the server certificate"]);
    assert_eq!(shown_certificate(&world, &servers.pem()).await, renewed.der());
    load.go_on(20).await;

    let next = Authority::named("next clients");
    world.folder.write("clients.pem", &format!("{}{}", clients.pem(), next.pem()));
    assert_eq!(world.credentials.rotate().renewed, ["the client authorities"]);
    load.go_on(20).await;

    *load.token.lock().unwrap() = "second-token-of-the-engine";
    load.go_on(20).await;
    world.folder.write("token-1", "third-token-of-the-engine");
    assert_eq!(world.credentials.rotate().renewed, ["the token of caller `engine`"]);
    *load.token.lock().unwrap() = "third-token-of-the-engine";
    load.go_on(20).await;

    load.stop.store(true, Relaxed);
    for caller in callers {
        assert_eq!(caller.await.unwrap(), Ok(()));
    }
}

#[tokio::test]
async fn what_was_rotated_out_is_refused_on_connections_old_and_new() {
    let (clients, next) = (Authority::named("clients"), Authority::named("next clients"));
    let world = world(&clients).await;
    let (old, new) = (clients.client(&["ingest"], Time::Now), next.client(&["ingest"], Time::Now));
    let mut by_old = world.inference(Some(&old)).await;
    let mut by_new = world.inference(Some(&new)).await;
    by_old.complete(hi()).await.unwrap();
    assert_eq!(told(&by_new.complete(hi()).await.unwrap_err()), "Unauthenticated INVALID_CERTIFICATE");
    by_token(&world, "first-token-of-the-engine").await.unwrap();

    world.folder.write("clients.pem", &next.pem());
    world.folder.write("token-1", "third-token-of-the-engine");
    let mut renewed = world.credentials.rotate().renewed;
    renewed.sort();
    assert_eq!(renewed, ["the client authorities", "the token of caller `engine`"]);
    let before = world.requests_to_regions();
    assert_eq!(told(&by_old.complete(hi()).await.unwrap_err()), "Unauthenticated INVALID_CERTIFICATE");
    assert_eq!(told(&by_certificate(&world, &old).await.unwrap_err()), "Unauthenticated INVALID_CERTIFICATE");
    let refused = by_token(&world, "first-token-of-the-engine").await.unwrap_err();
    assert_eq!(told(&refused), "Unauthenticated INVALID_TOKEN");
    assert_eq!(world.requests_to_regions(), before, "no region hears of it");
    by_new.complete(hi()).await.unwrap();
    by_token(&world, "second-token-of-the-engine").await.unwrap();
    by_token(&world, "third-token-of-the-engine").await.unwrap();
}

#[tokio::test]
async fn what_cannot_be_used_changes_nothing_and_is_told() {
    let clients = Authority::named("clients");
    let world = world(&clients).await;
    let (good, other) = (world.authority.server(Time::Now), world.authority.server(Time::Now));
    let trusted = world.authority.pem();
    let shown = shown_certificate(&world, &trusted).await;
    for (what, certificate, key, expected) in [
        ("half of a new pair", &good.certificate, None, "certificate and key do not belong together"),
        ("mixed", &good.certificate, Some(&other.key), "certificate and key do not belong together"),
        (
            "expired",
            &world.authority.server(Time::Over).certificate,
            None,
            "the certificate expired at Wed, 01 Jan 2020",
        ),
        ("not yet", &world.authority.server(Time::ToCome).certificate, None, "the certificate is not valid before"),
        ("no certificate", &good.key, None, "there is no PEM certificate in it"),
        ("no key", &good.certificate, Some(&good.certificate), "there is no PEM private key in it"),
        ("empty", &String::new(), None, "the secret that it refers to is empty"),
    ] {
        world.folder.write("server.pem", certificate);
        key.iter().for_each(|key| world.folder.write("server.key", key));
        let rotation = world.credentials.rotate();
        assert!(rotation.renewed.is_empty(), "{what}");
        assert!(
            rotation.kept[0].starts_with("the server certificate: ") && rotation.kept[0].contains(expected),
            "{what}: {rotation:?}"
        );
        assert_eq!(shown_certificate(&world, &trusted).await, shown, "{what}");
    }
    world.folder.write("clients.pem", "nonsense");
    std::fs::remove_file(world.folder.path().join("token-1")).unwrap();
    let kept = world.credentials.rotate().kept;
    assert!(kept.iter().any(|one| one.starts_with("the client authorities: there is no PEM certificate")), "{kept:?}");
    assert!(kept.iter().any(|one| one.starts_with("the token of caller `engine`: cannot read")), "{kept:?}");
    by_certificate(&world, &clients.client(&["ingest"], Time::Now)).await.unwrap();
    by_token(&world, "first-token-of-the-engine").await.unwrap();

    world.folder.write_pair("server", &good);
    assert_eq!(world.credentials.rotate().renewed, ["the server certificate"]);
    assert_eq!(shown_certificate(&world, &trusted).await, good.der());
}

/// Nobody has to tell the service.
#[tokio::test]
async fn changed_files_are_noticed() {
    let world = world(&Authority::named("clients")).await;
    by_token(&world, "third-token-of-the-engine").await.unwrap_err();
    world.folder.write("token-1", "third-token-of-the-engine");
    for _ in 0..300 {
        if by_token(&world, "third-token-of-the-engine").await.is_ok() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("the new token was never taken");
}
