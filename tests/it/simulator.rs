//! The simulated region over real sockets.
use std::net::SocketAddr;

use sealane::simulator::{RegionSettings, SimulatedRegion};
use serde_json::{Value, json};

const CHAT: &str = "/openai/deployments/gpt-4o/chat/completions?api-version=2024-10-21";
const CHAT_V1: &str = "/openai/v1/chat/completions";
const EMBED: &str = "/openai/deployments/text-embedding-3-large/embeddings?api-version=2024-10-21";

fn loopback() -> SocketAddr {
    ([127, 0, 0, 1], 0).into()
}

fn start(settings: RegionSettings) -> SimulatedRegion {
    SimulatedRegion::start(settings, loopback()).unwrap()
}

fn client() -> reqwest::Client {
    // Another test may have installed it already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).no_proxy().build().unwrap()
}

async fn post(region: &SimulatedRegion, path: &str, body: &Value) -> reqwest::Response {
    send(region, path, body).await.unwrap()
}

async fn send(region: &SimulatedRegion, path: &str, body: &Value) -> reqwest::Result<reqwest::Response> {
    client()
        .post(format!("http://{}{path}", region.address()))
        .header("api-key", "simulated-key")
        .header("content-type", "application/json")
        .body(body.to_string())
        .send()
        .await
}

async fn json_of(response: reqwest::Response) -> Value {
    serde_json::from_slice(&response.bytes().await.unwrap()).unwrap()
}

fn ask(text: &str) -> Value {
    json!({"messages": [{"role": "user", "content": text}]})
}

#[tokio::test]
async fn smoke() {
    let region = start(RegionSettings::default());
    let response = post(&region, CHAT, &ask("hi")).await;
    println!("{:?}", response.headers());
    println!("{}", response.text().await.unwrap());
    let mut body = ask("hi");
    body["stream"] = json!(true);
    body["stream_options"] = json!({"include_usage": true});
    println!("{}", post(&region, CHAT, &body).await.text().await.unwrap());
    let body = json!({"input": ["a", "b"], "dimensions": 4});
    println!("{}", post(&region, EMBED, &body).await.text().await.unwrap());
    println!("{}", json_of(post(&region, CHAT_V1, &ask("x")).await).await);
    region.stop().await;
}
