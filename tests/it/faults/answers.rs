//! Answers that are none, and refusals.
use std::collections::BTreeMap;

use sealane::{
    grpc::pb::{self, Overlay, Standing},
    simulator::{ErrorBody, Fault, FaultRule, Operation, PROMPT_BLOCK_WORD},
};
use tokio::net::TcpListener;

use crate::support::{
    service::{embed, hi, told, user},
    world::{Setup, World},
};

fn status(status: u16, body: ErrorBody) -> Fault {
    Fault::Status { status, retry_after: None, retry_after_ms: None, body }
}

/// Every kind of call is served by the standby.
async fn rescued(fault: Fault) {
    let world = World::start().await;
    world.primary.faults().add(fault.clone());
    for model in ["gpt-4o", "gpt-4o-unary"] {
        let request = pb::CompleteRequest { model: model.into(), ..hi() };
        assert_eq!(world.ask(request).await.unwrap(), "francecentral", "{model} {fault:?}");
    }
    let heard = world.listen(hi()).await;
    assert!(heard.ended && heard.error.is_none(), "{fault:?}: {heard:?}");
    let vectors = world.inference().embed(embed(&["one", "two"])).await.unwrap().into_inner();
    assert_eq!(vectors.served_by.unwrap().region, "francecentral", "{fault:?}");
    assert_eq!(world.primary.counters().requests(Operation::Chat), 3, "one attempt each: {fault:?}");
}

#[tokio::test]
async fn row_02_one_500_is_rescued_and_suspects_nobody() {
    let world = World::start().await;
    world.primary.faults().add(FaultRule::from(status(500, ErrorBody::Json)).for_next(1));
    assert_eq!(world.call().await.unwrap(), "francecentral");
    assert_eq!(world.call().await.unwrap(), "swedencentral");
    assert_eq!(world.transitions().await, [""; 0]);
}

#[tokio::test]
async fn row_23_ok_that_is_not_ok_is_rescued() {
    for fault in [Fault::ErrorInOk, Fault::EmptyAnswer, Fault::MalformedJson] {
        rescued(fault).await;
    }
    rescued(status(502, ErrorBody::Html)).await;
}

#[tokio::test]
async fn row_25_what_is_larger_than_any_answer_is_rescued() {
    let filler: String = "x".repeat(1_000_000);
    let headers = BTreeMap::from([("x-filler".to_owned(), filler)]);
    rescued(Fault::Headers { headers }).await;
    let world = World::start().await;
    world.primary.faults().add(Fault::StreamLargeEvent { at: 2, bytes: 2 << 20 });
    assert_eq!(world.call().await.unwrap(), "francecentral");
}

#[tokio::test]
async fn row_26_json_nested_ten_thousand_deep_is_rescued() {
    rescued(Fault::NestedJson { depth: 10_000 }).await;
}

/// Azure upgrades deployments by itself: another version is told, and is no outage.
#[tokio::test]
async fn row_27_another_model_version_is_told_to_the_caller() {
    let world = World::start().await;
    world.primary.faults().add(Fault::ServedModel { model: "gpt-4o-2099-01-01".into() });
    let reply = world.inference().complete(hi()).await.unwrap().into_inner();
    assert_eq!(
        (reply.model.as_str(), reply.served_by.unwrap().region.as_str()),
        ("gpt-4o-2099-01-01", "swedencentral")
    );
}

/// The region serves another version than the configuration states, to callers and to test calls.
async fn upgraded(on_version_mismatch: &'static [&'static str]) -> World {
    let world = World::of(Setup { model_keys: on_version_mismatch, ..Setup::quick() }).await;
    assert_eq!(world.call().await.unwrap(), "swedencentral");
    assert_eq!(alarms(&world).await, [""; 0]);
    world.primary.faults().add(Fault::ServedModel { model: "gpt-4o-2099-01-01".into() });
    world
}

async fn alarms(world: &World) -> Vec<String> {
    world.status().await.alarms.into_iter().map(|alarm| format!("{} {}", alarm.kind, alarm.region)).collect()
}

#[tokio::test]
async fn row_27_another_model_version_than_configured_is_an_alarm_and_no_outage() {
    let world = upgraded(&["version: 2024-11-20"]).await;
    for _ in 0..8 {
        assert_eq!(world.call().await.unwrap(), "swedencentral");
    }
    assert!(world.listen(hi()).await.ended);
    assert_eq!(alarms(&world).await, ["version_mismatch swedencentral"]);
    assert_eq!(world.transitions().await, [""; 0]);
    world.primary.faults().clear();
    world.call().await.unwrap();
    assert_eq!(alarms(&world).await, [""; 0]);
    world.primary.faults().add(Fault::ServedModel { model: "gpt-4o".into() });
    world.call().await.unwrap();
    assert_eq!(alarms(&world).await, [""; 0], "a reply that states no version is not compared");
}

#[tokio::test]
async fn row_27_another_model_version_than_insisted_on_is_rescued_and_the_target_leaves() {
    let world = upgraded(&["version: 2024-11-20", "on_version_mismatch: fail"]).await;
    let served_by = world.inference().complete(hi()).await.unwrap().into_inner().served_by.unwrap();
    assert_eq!((served_by.region.as_str(), &*served_by.attempts[0].failure), ("francecentral", "version_mismatch"));
    let heard = world.listen(hi()).await;
    assert!(heard.ended && heard.restarts == 0 && heard.error.is_none(), "{heard:?}");
    assert_eq!(alarms(&world).await, ["version_mismatch swedencentral"]);
    let calls = world.call_until("gpt-4o", Standing::Out).await;
    assert!(calls > 0, "three of them suspect it, and its test calls fail like the callers'");
    assert_eq!(world.standing("gpt-4.1-mini").await, Standing::Serving, "nobody stated that one's version");
    world.primary.faults().clear();
    world.call_until("gpt-4o", Standing::Returning).await;
}

#[tokio::test]
async fn row_27_a_unary_answer_of_another_model_version_is_rescued() {
    let keys: &[_] = &["version: 2024-11-20", "on_version_mismatch: fail", "upstream_stream: never"];
    let world = upgraded(keys).await;
    let served_by = world.inference().complete(hi()).await.unwrap().into_inner().served_by.unwrap();
    assert_eq!((served_by.region.as_str(), &*served_by.attempts[0].failure), ("francecentral", "version_mismatch"));
}

#[tokio::test]
async fn row_32_refused_credentials_and_deleted_deployments_are_rescued_and_named() {
    for (code, word) in [(401, "unauthorized"), (403, "forbidden"), (404, "deployment_not_found")] {
        let world = World::of(Setup::quick()).await;
        world.primary.faults().add(FaultRule::from(status(code, ErrorBody::Json)).on_operation(Operation::Chat));
        assert_eq!(world.call().await.unwrap(), "francecentral");
        assert_eq!(world.overlay("gpt-4o").await, Overlay::Misconfigured, "{code}");
        world.call_until("gpt-4o", Standing::Out).await;
        let target = world.target("gpt-4o", "swedencentral").await;
        assert!(target.last_failure == word || code == 404, "{code}: {}", target.last_failure);
        assert!(target.standing_reason.contains("failed, the last: "), "{code}: {}", target.standing_reason);
    }
}

#[tokio::test]
async fn row_33_a_blocked_prompt_is_the_callers_and_goes_nowhere_else() {
    let world = World::start().await;
    let request = pb::CompleteRequest { messages: vec![user(PROMPT_BLOCK_WORD)], ..hi() };
    for _ in 0..6 {
        let status = world.inference().complete(request.clone()).await.unwrap_err();
        assert_eq!(told(&status), "InvalidArgument PROMPT_BLOCKED");
    }
    assert_eq!(world.primary.counters().requests(Operation::Chat), 6);
    assert_eq!(world.standby.counters().requests(Operation::Chat), 0);
    assert_eq!(world.transitions().await, [""; 0], "however often it is asked, it says nothing about the target");
}

#[tokio::test]
async fn row_34_a_redirect_is_not_followed() {
    let elsewhere = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let location = format!("http://{}/openai", elsewhere.local_addr().unwrap());
    rescued(Fault::Redirect { location }).await;
    let visit = tokio::time::timeout(std::time::Duration::from_millis(50), elsewhere.accept()).await;
    assert!(visit.is_err(), "nobody came, and no key with them");
}
