//! Three simulated regions, eastus2 first in every route, and the real service over them as a configuration describes it.
use std::{net::SocketAddr, path::PathBuf, time::Duration};

use sealane::{
    config::Config,
    grpc::pb::{
        self, inference_service_client::InferenceServiceClient, operator_service_client::OperatorServiceClient,
        region_service_client::RegionServiceClient,
    },
    server::Server,
    simulator::{RegionSettings, SimulatedRegion},
    telemetry::Metrics,
};
use sealane_core::router::Thresholds;
use tokio::task::JoinHandle;
use tonic::{Status, transport::Channel};

use crate::support::{service::hi, world::connect};

/// The regions.
pub struct Three {
    /// Where an EU policy lets nothing go, and everything else goes first.
    pub eus: SimulatedRegion,
    pub swc: SimulatedRegion,
    pub frc: SimulatedRegion,
}

/// A service over them; stops when dropped.
pub struct Running {
    pub channel: Channel,
    serving: JoinHandle<anyhow::Result<()>>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Three {
    pub fn start() -> Self {
        rustls::crypto::ring::default_provider().install_default().ok();
        let region = |name: &str, display_name: &str| {
            let loopback: SocketAddr = ([127, 0, 0, 1], 0).into();
            SimulatedRegion::start(RegionSettings::named(name, display_name), loopback).unwrap()
        };
        Self {
            eus: region("eastus2", "East US 2"),
            swc: region("swedencentral", "Sweden Central"),
            frc: region("francecentral", "France Central"),
        }
    }

    /// A service with `extra` at the end of its file, and `of_swc` among the keys of resource swc.
    pub async fn serve(&self, of_swc: &str, extra: &str, thresholds: Thresholds, state: Option<PathBuf>) -> Running {
        let mut yaml = "listen: 127.0.0.1:0\nresources:\n".to_owned();
        for (name, region, boundary, at, keys) in [
            ("eus", "eastus2", "us", &self.eus, ""),
            ("swc", "Sweden Central", "eu", &self.swc, of_swc),
            ("frc", "francecentral", "eu", &self.frc, ""),
        ] {
            let endpoint = format!("http://{}", at.address());
            yaml += &format!(
                "  - {{ name: {name}, region: {region}, boundary: {boundary}, endpoint: '{endpoint}', auth: {{ api_key: \
                 {{ env: KEY }} }}{keys} }}\n"
            );
        }
        yaml += "models:\n";
        for (model, deployment, more) in [
            ("gpt-4o", "gpt-4o", ""),
            ("gpt-4o-unary", "gpt-4o", "    upstream_stream: never\n"),
            ("text-embedding-3-large", "text-embedding-3-large", "    kind: embedding\n"),
        ] {
            yaml += &format!("  - name: {model}\n{more}    targets:\n");
            for resource in ["eus", "swc", "frc"] {
                yaml += &format!("      - {{ resource: {resource}, deployment: {deployment}, sku: Standard }}\n");
            }
        }
        yaml += extra;
        let key = |name: &str| (name == "KEY").then(|| "simulated-key".to_owned());
        let mut config = Config::from_yaml(&yaml, "test.yaml", key).unwrap_or_else(|error| panic!("{error}"));
        config.thresholds = thresholds;
        config.state_file = state;
        let server = Server::from_config(config, Metrics::off()).await.unwrap();
        let address = server.local_addr().unwrap();
        let serving = tokio::spawn(server.serve(std::future::pending()));
        Running { channel: connect(address).await, serving }
    }
}

impl Running {
    pub fn inference(&self) -> InferenceServiceClient<Channel> {
        InferenceServiceClient::new(self.channel.clone())
    }

    /// One short chat call of a model.
    pub async fn ask(&self, model: &str) -> Result<pb::ServedBy, Status> {
        let request = pb::CompleteRequest { model: model.into(), ..hi() };
        Ok(self.inference().complete(request).await?.into_inner().served_by.unwrap())
    }

    pub async fn status(&self) -> pb::RegionStatusResponse {
        let mut regions = RegionServiceClient::new(self.channel.clone());
        regions.region_status(pb::RegionStatusRequest::default()).await.unwrap().into_inner()
    }

    pub async fn target(&self, model: &str, resource: &str) -> pb::TargetState {
        let mut targets = self.status().await.regions.into_iter().flat_map(|region| region.targets);
        targets.find(|target| target.model == model && target.resource == resource).unwrap()
    }

    /// The alarms of one target, by kind.
    pub async fn alarms(&self, model: &str, resource: &str) -> Vec<pb::Alarm> {
        let alarms = self.status().await.alarms.into_iter();
        alarms.filter(|alarm| alarm.model == model && alarm.resource == resource).collect()
    }

    pub async fn release(&self, resource: &str) -> Vec<String> {
        let selector = pb::TargetSelector { resource: resource.into(), ..Default::default() };
        let request = pb::ReleaseRequest { selector: Some(selector), reason: "mended".into() };
        let released = OperatorServiceClient::new(self.channel.clone()).release(request).await.unwrap().into_inner();
        released.targets.into_iter().map(|target| target.model).collect()
    }

    /// Calls until one ends without an error, for at most some seconds.
    pub async fn until_served(&self, model: &str) -> pb::ServedBy {
        for _ in 0..500 {
            if let Ok(served) = self.ask(model).await {
                return served;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{model} is never served again");
    }
}
