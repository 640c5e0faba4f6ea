//! Switching faults over HTTP, counters and settings.
use super::*;

#[tokio::test]
async fn faults_are_switched_over_http() {
    let region = start(RegionSettings::default());
    let url = format!("http://{}/_simulator/faults", region.address());
    let call = async |method: &str, body: Value| {
        let request = client().request(method.parse().unwrap(), &url).body(body.to_string());
        let response = request.send().await.unwrap();
        (response.status().as_u16(), json_of(response).await)
    };
    let rule = json!({"fault": {"kind": "status", "status": 503, "body": "json"}, "operation": "chat", "ratio": 1.0, "times": 1});
    assert_eq!(call("PUT", json!([rule])).await, (200, json!([rule])));
    assert_eq!(post(&region, EMBED, &json!({"input": "a"})).await.status().as_u16(), 200, "another operation");
    assert_eq!(post(&region, CHAT, &ask("hi")).await.status().as_u16(), 503);
    assert_eq!(post(&region, CHAT, &ask("hi")).await.status().as_u16(), 200, "it was for one request");
    assert_eq!(call("GET", json!(null)).await, (200, json!([])));
    let (status, answer) = call("POST", json!({"fault": {"kind": "nonsense"}})).await;
    assert_eq!(status, 400);
    assert!(answer["error"].as_str().unwrap().contains("nonsense"), "{answer}");
    assert_eq!(call("POST", json!({"fault": {"kind": "hang"}, "deployment": "gpt-4o"})).await.0, 200);
    assert_eq!(call("DELETE", json!(null)).await, (200, json!([])));
    let listening = client().put(format!("http://{}/_simulator/listening", region.address()));
    assert_eq!(listening.body(r#"{"listening":false}"#).send().await.unwrap().status().as_u16(), 409);
    let state = client().get(format!("http://{}/_simulator/state", region.address())).send().await.unwrap();
    let state = json_of(state).await;
    assert_eq!((&state["region"], &state["requests"]["chat"]), (&json!("swedencentral"), &json!(2)));
}

#[tokio::test]
async fn requests_are_counted_and_captured_within_bounds() {
    let region = start(RegionSettings { captured_requests: 2, ..RegionSettings::default() });
    for text in ["one", "two", "three"] {
        post(&region, CHAT, &ask(text)).await.text().await.unwrap();
    }
    let counters = region.counters();
    assert_eq!((counters.requests(Operation::Chat), counters.deployment_requests("gpt-4o")), (3, 3));
    assert_eq!(
        counters.bytes_received(),
        ["one", "two", "three"].iter().map(|text| ask(text).to_string().len() as u64).sum::<u64>()
    );
    let captured = counters.captured();
    let bodies: Vec<Value> = captured.iter().map(|request| serde_json::from_slice(&request.body).unwrap()).collect();
    assert_eq!(bodies, [ask("two"), ask("three")]);
    assert_eq!((captured[0].path.as_str(), &captured[0].headers["api-key"]), (CHAT, &"simulated-key".parse().unwrap()));
    until(|| counters.in_flight() == 0).await;
    let blind = start(RegionSettings { captured_requests: 0, ..RegionSettings::default() });
    post(&blind, CHAT, &ask("one")).await.text().await.unwrap();
    assert!(blind.counters().captured().is_empty());
}

#[tokio::test]
async fn answers_keep_their_pace() {
    let latency = Latency { first_byte_ms: 20, first_token_ms: 20, per_token_ms: 5, jitter_ms: 2 };
    let region = start(RegionSettings { latency, answer_tokens: 9, ..RegionSettings::default() });
    for body in [ask("hi"), streamed(ask("hi"))] {
        let begin = Instant::now();
        post(&region, CHAT, &body).await.text().await.unwrap();
        // Only a lower bound holds on a busy machine.
        assert!(begin.elapsed() >= Duration::from_millis(20 + 20 + 8 * 5), "{:?}", begin.elapsed());
    }
}

#[test]
fn settings_read_from_yaml_and_refuse_unknown_keys() {
    let settings: RegionSettings = serde_saphyr::from_str(
        "region: francecentral\ndisplay_name: France Central\nkeys: [k]\nlatency: { per_token_ms: 3 }\ndeployments:\n  - { name: e, model: text-embedding-3-small, kind: embedding, dimensions: 1536 }\nfaults:\n  - { fault: { kind: throttle, retry_after_seconds: 9 }, times: 2 }\n",
    )
    .unwrap();
    assert_eq!((settings.deployments[0].dimensions, settings.latency.per_token_ms), (1536, 3));
    assert_eq!(settings.faults, [FaultRule::from(Fault::Throttle { retry_after_seconds: 9 }).for_next(2)]);
    assert!(!format!("{settings:?}").contains("[\"k\"]"), "keys do not print");
    assert!(serde_saphyr::from_str::<RegionSettings>("regoin: x").is_err());
}

/// A reply of one region must not claim to come from another.
#[test]
fn a_region_without_a_display_name_shows_its_own() {
    for (text, shown) in [
        ("region: francecentral", "France Central"),
        ("region: mars", "mars"),
        ("{ region: mars, display_name: Red }", "Red"),
    ] {
        let settings: RegionSettings = serde_saphyr::from_str(text).unwrap();
        assert_eq!(settings.shown_region(), shown, "{text}");
    }
}

#[tokio::test]
async fn a_rule_that_would_not_do_what_it_says_is_refused() {
    let region = start(RegionSettings::default());
    let url = format!("http://{}/_simulator/faults", region.address());
    for (rule, said) in [
        (json!({"fault": {"kind": "reset"}, "ratio": 2}), "`ratio`"),
        (json!({"fault": {"kind": "reset"}, "ratio": -0.1}), "`ratio`"),
        (json!({"fault": {"kind": "status", "status": 9999}}), "`status`"),
        (json!({"fault": {"kind": "latency"}}), "does nothing"),
    ] {
        let alone = reqwest::Client::new().post(&url).body(rule.to_string()).send().await.unwrap();
        let listed = reqwest::Client::new().put(&url).body(json!([rule]).to_string()).send().await.unwrap();
        for response in [alone, listed] {
            assert_eq!(response.status(), 400, "{rule}");
            assert!(response.text().await.unwrap().contains(said), "{rule}");
        }
    }
    assert!(region.faults().active().is_empty(), "nothing was taken");
}

/// The table in `docs/simulator.md` names every kind there is, and no other.
#[test]
fn every_kind_of_fault_is_documented() {
    let error = serde_json::from_value::<Fault>(json!({ "kind": "?" })).unwrap_err().to_string();
    let kinds: Vec<&str> = error.split('`').skip(3).step_by(2).collect();
    assert!(kinds.len() > 30, "{error}");
    let table = include_str!("../../../docs/simulator.md");
    let rows: Vec<&str> = table.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next()).collect();
    assert_eq!(rows, kinds);
}
