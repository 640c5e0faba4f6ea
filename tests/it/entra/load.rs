//! The real service under load, while its tokens expire by the dozen and the identity endpoint fails.
use std::{
    fmt::Write as _,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use sealane::{
    grpc::pb::{self, inference_service_client::InferenceServiceClient},
    simulator::IdentityFault,
};
use tonic::transport::Channel;

use super::*;
use crate::{
    metrics::exposition::get,
    support::{
        process::{Folder, Running, sealane},
        service::{eventually, hi},
        world::connect,
    },
};

/// Identities, each with tokens of its own; each has a resource, and each resource a model.
const IDENTITIES: usize = 30;

/// Seconds. An outage of a second and a half is a fifth of it: as if an hour's tokens met one of twelve minutes.
const LIFE: u64 = 8;

/// `sealane serve` on a machine that the platform has given a managed identity.
fn serve(configuration: &str, identity: &SimulatedIdentity) -> Running {
    let mut command = sealane(&["serve", "--config", configuration]);
    command.env("IDENTITY_ENDPOINT", format!("http://{}/msi/token", identity.address()));
    command.env("IDENTITY_HEADER", "simulated-identity-header");
    Running::of(command)
}

async fn client(running: &Running) -> InferenceServiceClient<Channel> {
    InferenceServiceClient::new(connect(running.ready["listening"].as_str().unwrap().parse().unwrap()).await)
}

#[derive(Default)]
struct Load {
    stop: AtomicBool,
    calls: AtomicU64,
}

impl Load {
    /// Calls one model after the other; the first failure ends it.
    async fn run(self: Arc<Self>, mut client: InferenceServiceClient<Channel>, from: usize) -> Result<(), String> {
        let mut at = from;
        while !self.stop.load(Relaxed) {
            at = (at + 1) % IDENTITIES;
            let request = pb::CompleteRequest { model: format!("model-{at}"), ..hi() };
            let reply = client.complete(request).await.map_err(|status| format!("{status:?}"))?.into_inner();
            let attempts = reply.served_by.unwrap().attempts.len();
            if attempts != 1 {
                return Err(format!("{attempts} attempts"));
            }
            self.calls.fetch_add(1, Relaxed);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_tokens_expire_and_the_endpoint_fails_but_no_call_does() {
    let world = World::start(LIFE);
    let folder = Folder::new("entra-load");
    let (mut resources, mut models) = (String::new(), String::new());
    for at in 0..IDENTITIES {
        let endpoint = world.region.address();
        writeln!(
            resources,
            "  - {{ name: r{at}, region: swedencentral, endpoint: 'http://{endpoint}', auth: {{ entra: managed_identity, client_id: application-{at} }} }}"
        )
        .unwrap();
        writeln!(
            models,
            "  - {{ name: model-{at}, targets: [{{ resource: r{at}, deployment: gpt-4o, sku: Standard }}] }}"
        )
        .unwrap();
    }
    let text = format!("listen: 127.0.0.1:0\nops: {{ listen: 127.0.0.1:0 }}\nresources:\n{resources}models:\n{models}");
    let service = serve(&folder.write("sealane.yaml", &text), &world.identity);
    let load = Arc::new(Load::default());
    let mut callers = Vec::new();
    for from in [0, 10, 20] {
        callers.push(tokio::spawn(Arc::clone(&load).run(client(&service).await, from)));
    }
    let (tokens, mut failed) = (world.identity.tokens(), Vec::new());
    let outages = [
        (IdentityFault::Status { status: 503 }, 1500),
        (IdentityFault::Hang, 800),
        (IdentityFault::InvalidClient, 1500),
        (IdentityFault::Malformed, 1500),
    ];
    let ops = service.ready["ops"].as_str().unwrap().parse().unwrap();
    let mut outages = outages.into_iter().cycle();
    while tokens.expired() < 50 || failed.len() < 3 {
        tokio::time::sleep(Duration::from_millis(2000)).await;
        let (fault, length) = outages.next().unwrap();
        world.identity.fail(Some(fault));
        tokio::time::sleep(Duration::from_millis(length)).await;
        failed.push(get(ops, "/metrics").await.1.contains("sealane_credential_failing{resource=\"r0\"}"));
        world.identity.fail(None);
        assert!(callers.iter().all(|caller| !caller.is_finished()), "a caller gave up");
    }
    assert!(failed.iter().all(|shown| *shown), "the metric is always there");
    load.stop.store(true, Relaxed);
    for caller in callers {
        assert_eq!(caller.await.unwrap(), Ok(()));
    }
    eprintln!("{} calls, {} tokens expired", load.calls.load(Relaxed), tokens.expired());
    assert!(load.calls.load(Relaxed) > 100);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_the_last_token_has_expired_another_resource_serves() {
    let world = World::start(3);
    let standby = SimulatedRegion::start(RegionSettings::named("francecentral", "France Central"), loopback()).unwrap();
    let folder = Folder::new("entra-rescue");
    let text = format!(
        "
listen: 127.0.0.1:0
ops: {{ listen: 127.0.0.1:0 }}
failover: {{ standby_test_interval: 5s, return_test_interval: 1s, hold: 1s, return_step: 1s }}
resources:
  - {{ name: swc, region: swedencentral, endpoint: 'http://{}', auth: {{ entra: managed_identity }} }}
  - {{ name: frc, region: francecentral, endpoint: 'http://{}', auth: {{ api_key: {{ env: SIMULATED_KEY }} }} }}
models:
  - {{ name: gpt-4o, targets: [{{ resource: swc, deployment: gpt-4o, sku: Standard }}, {{ resource: frc, deployment: gpt-4o, sku: Standard }}] }}
",
        world.region.address(),
        standby.address()
    );
    let service = serve(&folder.write("sealane.yaml", &text), &world.identity);
    let caller = client(&service).await;
    let served = async || {
        let reply = caller.clone().complete(hi()).await.unwrap_or_else(|status| panic!("{status:?}"));
        reply.into_inner().served_by.unwrap().region
    };
    assert_eq!(served().await, "swedencentral");
    world.identity.fail(Some(IdentityFault::Status { status: 503 }));
    eventually("the standby serves", async || served().await == "francecentral").await;
    let ops = service.ready["ops"].as_str().unwrap().parse().unwrap();
    eventually("the operator is told", async || {
        let metrics = get(ops, "/metrics").await.1;
        metrics.contains("sealane_credential_failing{resource=\"swc\"} 1")
            && metrics.contains("sealane_credential_failing{resource=\"frc\"} 0")
    })
    .await;
    world.identity.fail(None);
    let metric = "sealane_credential_token_left_seconds{resource=\"swc\"}";
    eventually("there are tokens again", async || get(ops, "/metrics").await.1.contains(metric)).await;
}
