//! The whole road: the service as a configuration describes it, on a free port, between callers and two simulated
//! Azure regions, swedencentral (the primary) and francecentral (the standby).
use std::{net::SocketAddr, path::PathBuf, time::Duration};

use sealane::{
    config::Config,
    grpc::pb::{
        self, Overlay, Standing, complete_stream_response::Event, inference_service_client::InferenceServiceClient,
        region_service_client::RegionServiceClient,
    },
    server::Server,
    simulator::{RegionSettings, SimulatedRegion},
    telemetry::Metrics,
};
use sealane_core::router::{Detection, Hedging, Recovery, Testing, Thresholds, Validation};
use tokio::task::JoinHandle;
use tonic::{Status, transport::Channel};

use super::service::{hi, without_test_calls};

pub struct World {
    pub primary: SimulatedRegion,
    pub standby: SimulatedRegion,
    pub address: SocketAddr,
    pub channel: Channel,
    pub serving: JoinHandle<anyhow::Result<()>>,
}

/// How a test wants it.
pub struct Setup {
    pub primary: RegionSettings,
    pub standby: RegionSettings,
    /// Where the service looks for the primary, if not at the simulated region.
    pub primary_endpoint: Option<String>,
    pub connect_timeout: Duration,
    pub thresholds: Thresholds,
    /// Further keys of the model gpt-4o, one a line.
    pub model_keys: &'static [&'static str],
    pub state_file: Option<PathBuf>,
}

impl Default for Setup {
    /// Nothing but callers' work reaches a region.
    fn default() -> Self {
        Self {
            primary: RegionSettings::named("swedencentral", "Sweden Central"),
            standby: RegionSettings::named("francecentral", "France Central"),
            primary_endpoint: None,
            connect_timeout: Duration::from_secs(2),
            thresholds: without_test_calls(),
            model_keys: &[],
            state_file: None,
        }
    }
}

impl Setup {
    /// The failover engine at about thirty times its pace.
    pub fn quick() -> Self {
        Self { thresholds: quick(), ..Self::default() }
    }
}

/// The engine's numbers, scaled so that an outage, its validation and the return fit into a second or two. Counts and
/// shares are those of production, and so are the limits of a call's attempts.
pub fn quick() -> Thresholds {
    let ms = Duration::from_millis;
    Thresholds {
        detection: Detection {
            silence: (ms(200), 5),
            slow: (ms(250), 3),
            freeze: ms(100),
            own_fault_window: ms(300),
            ..Detection::default()
        },
        validation: Validation {
            spacing: ms(40),
            window: ms(1000),
            shortest_limit: ms(500),
            longest_limit: ms(500),
            cool_off: (ms(100), ms(400)),
            ..Validation::default()
        },
        recovery: Recovery { hold: (ms(400), ms(2000)), step: ms(150), ..Recovery::default() },
        testing: Testing { return_interval: ms(40), ..without_test_calls().testing },
        hedging: Hedging { delay: ms(300), ..Hedging::default() },
        ..Thresholds::default()
    }
}

impl World {
    pub async fn start() -> Self {
        Self::of(Setup::default()).await
    }

    pub async fn of(setup: Setup) -> Self {
        let loopback = ([127, 0, 0, 1], 0).into();
        let primary = SimulatedRegion::start(setup.primary.clone(), loopback).unwrap();
        let standby = SimulatedRegion::start(setup.standby.clone(), loopback).unwrap();
        let (address, serving) = serve(&setup, primary.address(), standby.address()).await;
        let channel = connect(address).await;
        Self { primary, standby, address, channel, serving }
    }

    pub fn inference(&self) -> InferenceServiceClient<Channel> {
        InferenceServiceClient::new(self.channel.clone())
    }

    /// One short chat call; the region that served it.
    pub async fn call(&self) -> Result<String, Status> {
        self.ask(hi()).await
    }

    /// The region that served the call.
    pub async fn ask(&self, request: pb::CompleteRequest) -> Result<String, Status> {
        let reply = self.inference().complete(request).await?.into_inner();
        Ok(reply.served_by.unwrap().region)
    }

    /// Calls, all of which must succeed, until the primary's target of the model stands as wanted; how many it took.
    pub async fn call_until(&self, model: &str, wanted: Standing) -> u32 {
        for calls in 0..2000 {
            if self.standing(model).await == wanted {
                return calls;
            }
            let request = pb::CompleteRequest { model: model.into(), ..hi() };
            self.ask(request).await.unwrap_or_else(|status| panic!("call {calls} failed: {status}"));
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("the primary never stood {wanted:?}: {:?}", self.target(model, "swedencentral").await);
    }

    pub async fn standing(&self, model: &str) -> Standing {
        self.target(model, "swedencentral").await.standing()
    }

    pub async fn overlay(&self, model: &str) -> Overlay {
        self.target(model, "swedencentral").await.overlay()
    }

    pub async fn target(&self, model: &str, region: &str) -> pb::TargetState {
        let regions = self.status().await.regions.into_iter().filter(|state| state.region == region);
        regions.flat_map(|state| state.targets).find(|target| target.model == model).unwrap()
    }

    pub async fn status(&self) -> pb::RegionStatusResponse {
        let mut regions = RegionServiceClient::new(self.channel.clone());
        regions.region_status(pb::RegionStatusRequest::default()).await.unwrap().into_inner()
    }

    /// Changes of standing so far, oldest first: `model region from -> to`.
    pub async fn transitions(&self) -> Vec<String> {
        let word = |standing: Standing| standing.as_str_name().trim_start_matches("STANDING_").to_lowercase();
        let tell = |change: pb::Transition| {
            let (from, to) = (word(change.from_standing()), word(change.to_standing()));
            format!("{} {} {from} -> {to}", change.model, change.region)
        };
        self.status().await.transitions.into_iter().rev().map(tell).collect()
    }

    /// Everything of a streamed answer until its end or its error: text, whether a new start was announced, and how it
    /// ended.
    pub async fn listen(&self, request: pb::CompleteRequest) -> Heard {
        let mut heard = Heard::default();
        let mut events = match self.inference().complete_stream(request).await {
            Ok(events) => events.into_inner(),
            Err(status) => return Heard { error: Some(status), ..heard },
        };
        loop {
            match events.message().await {
                Ok(Some(event)) => match event.event.unwrap() {
                    Event::Delta(delta) => heard.text.push_str(&delta.text),
                    Event::Restarted(_) => {
                        heard.restarts += 1;
                        heard.text.clear();
                    }
                    Event::End(_) => heard.ended = true,
                    _ => {}
                },
                Ok(None) => return heard,
                Err(status) => return Heard { error: Some(status), ..heard },
            }
        }
    }
}

/// What a caller heard of a streamed answer.
#[derive(Debug, Default)]
pub struct Heard {
    /// Since the last new start.
    pub text: String,
    pub restarts: u32,
    pub ended: bool,
    pub error: Option<Status>,
}

impl Drop for World {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// Another service over regions that run already.
pub async fn serve(
    setup: &Setup,
    primary: SocketAddr,
    standby: SocketAddr,
) -> (SocketAddr, JoinHandle<anyhow::Result<()>>) {
    rustls::crypto::ring::default_provider().install_default().ok();
    let endpoint = setup.primary_endpoint.clone().unwrap_or_else(|| format!("http://{primary}"));
    let model_keys: String = setup.model_keys.iter().map(|key| format!("    {key}\n")).collect();
    let yaml = format!(
        "
listen: 127.0.0.1:0
resources:
  - {{ name: swc, region: swedencentral, boundary: eu, endpoint: '{endpoint}', auth: {{ api_key: {{ env: KEY }} }} }}
  - {{ name: frc, region: francecentral, boundary: eu, endpoint: 'http://{standby}', auth: {{ api_key: {{ env: KEY }} }},
      chat: {{ path: v1 }}, embeddings: {{ path: v1 }} }}
models:
  - name: gpt-4o
{model_keys}    targets: [{{ resource: swc, deployment: gpt-4o, sku: Standard }}, {{ resource: frc, deployment: gpt-4o, sku: Standard }}]
  - name: gpt-4o-unary
    upstream_stream: never
    targets: [{{ resource: swc, deployment: gpt-4o, sku: Standard }}, {{ resource: frc, deployment: gpt-4o, sku: Standard }}]
  - name: gpt-4.1-mini
    targets:
      - {{ resource: swc, deployment: gpt-4.1-mini, sku: Standard }}
      - {{ resource: frc, deployment: gpt-4.1-mini, sku: Standard }}
  - name: text-embedding-3-large
    kind: embedding
    targets:
      - {{ resource: swc, deployment: text-embedding-3-large, sku: Standard }}
      - {{ resource: frc, deployment: text-embedding-3-large, sku: Standard }}
"
    );
    let key = |name: &str| (name == "KEY").then(|| "simulated-key".to_owned());
    let mut config = Config::from_yaml(&yaml, "test.yaml", key).unwrap_or_else(|error| panic!("{error}"));
    config.thresholds = setup.thresholds.clone();
    config.state_file = setup.state_file.clone();
    config.resources.iter_mut().for_each(|resource| resource.connect_timeout = setup.connect_timeout);
    let server = Server::from_config(config, Metrics::off()).await.unwrap();
    let address = server.local_addr().unwrap();
    (address, tokio::spawn(server.serve(std::future::pending())))
}

pub async fn connect(address: SocketAddr) -> Channel {
    Channel::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap()
}
