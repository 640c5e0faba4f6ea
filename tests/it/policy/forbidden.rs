//! Bytes counted where they arrive: none at a region that the policy forbids, whatever happens to those it permits. The
//! forbidden one stands first in every route and is in perfect health.
use std::time::Duration;

use sealane::{
    grpc::pb::{self, Standing, complete_stream_response::Event},
    simulator::{Fault, FaultRule, Operation},
};
use sealane_core::router::{Testing, Thresholds};

use super::three::{Running, Three};
use crate::support::{
    service::{embed, eventually, hi},
    world::quick,
};

/// Every policy but this one would send everything to eastus2.
const EU_ONLY: &str = "default_policy: eu-only\npolicies: [{ name: eu-only, boundaries: [eu] }]\n";

/// The engine at its quickest, and test calls all the time.
fn restless() -> Thresholds {
    let ms = Duration::from_millis;
    let (first, first_comparison) = (ms(1), ms(1));
    let testing = Testing { first, first_comparison, cheap_interval: ms(30), deep_interval: ms(50), ..quick().testing };
    Thresholds { testing, ..quick() }
}

/// Some of everything: whole, unary, streamed, embedded, narrowed, pinned. How it ends is for other tests.
async fn traffic(service: &Running) {
    let mut inference = service.inference();
    for (at, model) in ["gpt-4o", "gpt-4o-unary", "gpt-4o"].into_iter().enumerate() {
        let routing = pb::RoutingOptions {
            workflow_id: format!("run-{at}"),
            // What another replica might have said, before the policy was tightened.
            pinned_region: "eastus2".into(),
            hedge: pb::Hedge::Allowed as i32,
            ..Default::default()
        };
        let _ = inference.complete(pb::CompleteRequest { model: model.into(), routing: Some(routing), ..hi() }).await;
    }
    let _ = inference.embed(embed(&["one", "two"])).await;
    let routing = pb::RoutingOptions { on_interruption: pb::OnInterruption::Restart as i32, ..Default::default() };
    if let Ok(events) = inference.complete_stream(pb::CompleteRequest { routing: Some(routing), ..hi() }).await {
        let mut events = events.into_inner();
        while let Ok(Some(_)) = events.message().await {}
    }
}

async fn rounds(service: &Running, count: usize) {
    for _ in 0..count {
        traffic(service).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn not_a_byte_reaches_a_forbidden_region_through_kill_hedge_restart_and_test_calls() {
    let three = Three::start();
    let folder = std::env::temp_dir().join(format!("sealane-forbidden-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let state = folder.join("state.json");
    let service = three.serve("", EU_ONLY, restless(), Some(state.clone())).await;
    rounds(&service, 3).await;

    // Streams are cut in the middle: the answer starts again elsewhere.
    three.swc.faults().set(vec![FaultRule::from(Fault::StreamReset { at: 1 }).for_next(4)]);
    let routing = pb::RoutingOptions { on_interruption: pb::OnInterruption::Restart as i32, ..Default::default() };
    let request = pb::CompleteRequest { routing: Some(routing), ..hi() };
    let mut events = service.inference().complete_stream(request).await.unwrap().into_inner();
    let (mut restarted, mut ended) = (false, false);
    while let Some(event) = events.message().await.unwrap() {
        restarted |= matches!(event.event, Some(Event::Restarted(_)));
        ended |= matches!(event.event, Some(Event::End(_)));
    }
    assert!(restarted && ended);

    // Silence: rescued, hedged, validated, out.
    three.swc.faults().set(vec![Fault::Hang.into()]);
    let waiting: Vec<_> = (0..8)
        .map(|_| {
            let mut inference = service.inference();
            tokio::spawn(
                async move { inference.complete(hi()).await.map(|reply| reply.into_inner().served_by.unwrap()) },
            )
        })
        .collect();
    let mut hedged = 0;
    for call in waiting {
        let served = call.await.unwrap().unwrap();
        assert_eq!(served.region, "francecentral");
        hedged += served.attempts.iter().filter(|one| one.reason() == pb::attempt::Reason::Hedge).count();
    }
    assert!(hedged > 0, "nobody was hedged");
    eventually("swedencentral is out", async || service.target("gpt-4o", "swc").await.standing() == Standing::Out)
        .await;

    // Killed, and the other one with it: nothing is left, and nothing else is tried.
    three.swc.faults().set(vec![Fault::Down.into()]);
    rounds(&service, 2).await;
    three.frc.faults().set(vec![Fault::Down.into()]);
    rounds(&service, 3).await;
    assert!(service.ask("gpt-4o").await.is_err());

    // A new process takes up where the old one left.
    drop(service);
    let service = three.serve("", EU_ONLY, restless(), Some(state)).await;
    rounds(&service, 2).await;
    three.frc.faults().set(vec![]);
    three.swc.faults().set(vec![]);
    for model in ["gpt-4o", "gpt-4o-unary"] {
        assert_ne!(service.until_served(model).await.region, "eastus2");
    }
    let routing = pb::RoutingOptions { allowed_regions: vec!["eastus2".into()], ..Default::default() };
    let request = pb::CompleteRequest { routing: Some(routing), ..hi() };
    let status = service.inference().complete(request).await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::FailedPrecondition);
    eventually("cheap test calls", async || three.frc.counters().requests(Operation::Models) > 0).await;
    for model in ["gpt-4o", "text-embedding-3-large"] {
        eventually("deep ones", async || service.target(model, "frc").await.test_calls > 0).await;
    }

    assert_eq!(three.eus.counters().connections_accepted(), 0, "not even a connection");
    assert_eq!(three.eus.counters().bytes_received(), 0);
    assert!(three.swc.counters().bytes_received() > 0 && three.frc.counters().bytes_received() > 0);

    // The same traffic without the policy: what was counted can be counted.
    drop(service);
    let service = three.serve("", "", restless(), None).await;
    rounds(&service, 1).await;
    assert!(three.eus.counters().bytes_received() > 0);
    std::fs::remove_dir_all(&folder).unwrap();
}
