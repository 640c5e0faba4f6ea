//! Embedding spaces on real sockets: what may not be mixed is refused at the start, and leaves the route at run time.
mod declared;
mod drift;
mod parity;

use std::{fs, path::PathBuf, time::Duration};

use sealane::{
    audit::{Directory, Event, Filter, records},
    config::Config,
    grpc::pb::{self, inference_service_client::InferenceServiceClient, region_service_client::RegionServiceClient},
    server::Server,
    simulator::{Fault, FaultRule, Operation, RegionSettings, SimulatedRegion},
    telemetry::Metrics,
};
use sealane_core::router::{Testing, Thresholds};
use tokio::{sync::oneshot, task::JoinHandle};
use tonic::{Status, transport::Channel};

use crate::support::{
    service::eventually,
    world::{connect, quick},
};

const MODEL: &str = "text-embedding-3-large";
const SWC: &str = "swedencentral";
const FRC: &str = "francecentral";

/// Two regions, swedencentral (the primary) and francecentral, and a folder for what outlives a service.
struct Estate {
    swc: SimulatedRegion,
    frc: SimulatedRegion,
    folder: PathBuf,
}

/// A service over them.
struct Running {
    channel: Channel,
    stop: oneshot::Sender<()>,
    serving: JoinHandle<anyhow::Result<()>>,
}

fn drift() -> FaultRule {
    Fault::EmbeddingDrift { model: "another".into(), dimensions: None }.into()
}

fn shrink() -> FaultRule {
    Fault::EmbeddingDrift { model: "another".into(), dimensions: Some(1536) }.into()
}

fn rename() -> FaultRule {
    FaultRule::from(Fault::ServedModel { model: "text-embedding-3-small".into() }).on_operation(Operation::Embeddings)
}

/// Comparisons every twentieth of a second instead of daily.
fn often() -> Thresholds {
    let ms = Duration::from_millis;
    let testing =
        Testing { first_comparison: ms(1), comparison_interval: ms(50), deep_interval: ms(50), ..quick().testing };
    Thresholds { testing, ..quick() }
}

impl Estate {
    fn start(name: &str) -> Self {
        rustls::crypto::ring::default_provider().install_default().ok();
        let region = |name: &str, shown: &str| {
            SimulatedRegion::start(RegionSettings::named(name, shown), ([127, 0, 0, 1], 0).into()).unwrap()
        };
        let folder = std::env::temp_dir().join(format!("sealane-space-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).unwrap();
        Self { swc: region(SWC, "Sweden Central"), frc: region(FRC, "France Central"), folder }
    }

    /// The file, in which the embedding model has these further keys.
    fn yaml(&self, keys: &str) -> String {
        let (swc, frc) = (self.swc.address(), self.frc.address());
        format!(
            "listen: 127.0.0.1:0
state_file: state.json
audit: {{ directory: journal, durability: flush }}
drain: {{ delay: 0s, grace: 1s }}
resources:
  - {{ name: swc, region: {SWC}, endpoint: 'http://{swc}', auth: {{ api_key: {{ env: SIMULATED_KEY }} }} }}
  - {{ name: frc, region: {FRC}, endpoint: 'http://{frc}', auth: {{ api_key: {{ env: SIMULATED_KEY }} }} }}
models:
  - name: {MODEL}
    kind: embedding
{keys}    targets:
      - {{ resource: swc, deployment: {MODEL}, sku: Standard }}
      - {{ resource: frc, deployment: {MODEL}, sku: Standard }}
"
        )
    }

    async fn serve(&self) -> Running {
        self.serve_as("", often()).await
    }

    async fn serve_as(&self, keys: &str, thresholds: Thresholds) -> Running {
        let key = |name: &str| (name == "SIMULATED_KEY").then(|| "simulated-key".to_owned());
        let source = self.folder.join("sealane.yaml").display().to_string();
        let mut config = Config::from_yaml(&self.yaml(keys), &source, key).unwrap_or_else(|error| panic!("{error}"));
        config.thresholds = thresholds;
        let server = Server::from_config(config, Metrics::off()).await.unwrap();
        let address = server.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let serving = tokio::spawn(server.serve(async { _ = stopped.await }));
        Running { channel: connect(address).await, stop, serving }
    }

    /// Changes of standing in the journal, as `region from -> to: reason`.
    fn journal(&self) -> Vec<String> {
        let mut told = Vec::new();
        let directory = Directory::read(&self.folder.join("journal")).unwrap();
        records(&directory, &Filter::default(), &mut |_, record, _| {
            if let Event::Transition(one) = &record.event {
                told.push(format!("{} {} -> {}: {}", one.region, one.from, one.to, one.reason));
            }
            Ok(())
        })
        .unwrap();
        told
    }

    fn reference_file(&self) -> PathBuf {
        self.folder.join("state.json.spaces")
    }

    /// A service that has settled the space's reference, and has stopped again.
    async fn settle(&self) {
        let service = self.serve().await;
        eventually("the reference is kept", async || self.reference_file().exists()).await;
        service.stop().await;
    }
}

impl Drop for Estate {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

impl Running {
    async fn embed(&self, text: &str, dimensions: Option<i32>) -> Result<pb::EmbedResponse, Status> {
        let request =
            pb::EmbedRequest { model: MODEL.into(), inputs: vec![text.into()], dimensions, ..Default::default() };
        Ok(InferenceServiceClient::new(self.channel.clone()).embed(request).await?.into_inner())
    }

    /// The region that serves a call, which must succeed.
    async fn region(&self) -> String {
        self.embed("one text", None).await.unwrap().served_by.unwrap().region
    }

    async fn status(&self) -> pb::RegionStatusResponse {
        let mut regions = RegionServiceClient::new(self.channel.clone());
        regions.region_status(pb::RegionStatusRequest::default()).await.unwrap().into_inner()
    }

    async fn target(&self, region: &str) -> pb::TargetState {
        let mut regions = self.status().await.regions.into_iter().filter(|state| state.region == region);
        regions.next().unwrap().targets.remove(0)
    }

    async fn overlay(&self, region: &str) -> pb::Overlay {
        self.target(region).await.overlay()
    }

    async fn is_compared(&self, region: &str) -> bool {
        self.target(region).await.space_compared_time.is_some()
    }

    async fn both_compared(&self) {
        eventually("both are compared", async || self.is_compared(SWC).await && self.is_compared(FRC).await).await;
    }

    async fn until(&self, region: &str, overlay: pb::Overlay) {
        eventually("the overlay", async || self.overlay(region).await == overlay).await;
    }

    async fn alarms(&self, region: &str) -> Vec<String> {
        let alarms = self.status().await.alarms.into_iter().filter(|alarm| alarm.region == region);
        alarms.map(|alarm| format!("{}: {}", alarm.kind, alarm.message)).collect()
    }

    async fn stop(self) {
        self.stop.send(()).unwrap();
        self.serving.await.unwrap().unwrap();
    }
}
