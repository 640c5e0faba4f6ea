//! The service over TLS, with callers, between two simulated regions that must not see what is refused.
use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering::Relaxed},
};

use sealane::{
    config::{Config, Problems},
    credentials::Credentials,
    grpc::pb::inference_service_client::InferenceServiceClient,
    server::Server,
    simulator::{RegionSettings, SimulatedRegion},
};
use tokio::task::JoinHandle;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};

use super::pki::{Authority, Pair, Time};
use crate::support::service::without_test_calls;

pub struct World {
    pub folder: Folder,
    /// Of the server's first certificate.
    pub authority: Authority,
    pub regions: [SimulatedRegion; 2],
    pub address: SocketAddr,
    pub credentials: Credentials,
    serving: JoinHandle<anyhow::Result<()>>,
}

/// A folder that goes when the test ends.
pub struct Folder(PathBuf);

impl Folder {
    pub fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("sealane-identity-{}-{}", std::process::id(), NEXT.fetch_add(1, Relaxed));
        let folder = std::env::temp_dir().join(name);
        fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    pub fn write(&self, name: &str, text: &str) {
        fs::write(self.0.join(name), text).unwrap();
    }

    pub fn write_pair(&self, name: &str, pair: &Pair) {
        self.write(&format!("{name}.pem"), &pair.certificate);
        self.write(&format!("{name}.key"), &pair.key);
    }

    /// The configuration of a service over these regions; `more` says who may call and how.
    pub fn configure(&self, regions: &[SocketAddr; 2], more: &str) -> Result<Config, Problems> {
        let [primary, standby] = regions;
        let yaml = format!(
            "listen: 127.0.0.1:0
resources:
  - {{ name: swc, region: swedencentral, boundary: eu, endpoint: 'http://{primary}', auth: {{ api_key: {{ env: KEY }} }} }}
  - {{ name: frc, region: francecentral, boundary: eu, endpoint: 'http://{standby}', auth: {{ api_key: {{ env: KEY }} }} }}
models:
  - name: gpt-4o
    targets: [{{ resource: swc, deployment: gpt-4o, sku: Standard }}, {{ resource: frc, deployment: gpt-4o, sku: Standard }}]
  - name: text-embedding-3-large
    kind: embedding
    targets: [{{ resource: swc, deployment: text-embedding-3-large, sku: Standard }}, {{ resource: frc, deployment: text-embedding-3-large, sku: Standard }}]
{more}"
        );
        let name = self.0.join("sealane.yaml");
        Config::from_yaml(&yaml, name.to_str().unwrap(), |name| (name == "KEY").then(|| "simulated-key".to_owned()))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

pub const TLS: &str =
    "tls: { certificate: { file: server.pem }, key: { file: server.key }, client_ca: { file: clients.pem } }\n";

impl World {
    /// With TLS; client certificates of `clients` are believed. `callers` is the configuration's list.
    pub async fn start(clients: &Authority, callers: &str, prepare: impl FnOnce(&Folder)) -> Self {
        rustls::crypto::ring::default_provider().install_default().ok();
        let (folder, authority) = (Folder::new(), Authority::named("servers"));
        folder.write_pair("server", &authority.server(Time::Now));
        folder.write("clients.pem", &clients.pem());
        prepare(&folder);
        let regions = ["swedencentral", "francecentral"].map(|name| {
            let settings = RegionSettings::named(name, name);
            SimulatedRegion::start(settings, ([127, 0, 0, 1], 0).into()).unwrap()
        });
        let addresses = [regions[0].address(), regions[1].address()];
        let config = folder.configure(&addresses, &format!("{TLS}{callers}"));
        let mut config = config.unwrap_or_else(|problems| panic!("{problems}"));
        config.thresholds = without_test_calls();
        let server = Server::from_config(config, sealane::telemetry::Metrics::off()).await.unwrap();
        let (address, credentials) = (server.local_addr().unwrap(), server.credentials());
        let serving = tokio::spawn(server.serve(std::future::pending()));
        Self { folder, authority, regions, address, credentials, serving }
    }

    /// A new connection, which shows this certificate.
    pub async fn channel(&self, certificate: Option<&Pair>) -> Channel {
        self.channel_trusting(&self.authority.pem(), certificate).await.unwrap()
    }

    pub async fn channel_trusting(
        &self,
        authorities: &str,
        certificate: Option<&Pair>,
    ) -> Result<Channel, tonic::transport::Error> {
        let mut tls =
            ClientTlsConfig::new().ca_certificate(Certificate::from_pem(authorities)).domain_name("localhost");
        if let Some(pair) = certificate {
            tls = tls.identity(Identity::from_pem(&pair.certificate, &pair.key));
        }
        Endpoint::from_shared(format!("https://{}", self.address)).unwrap().tls_config(tls)?.connect().await
    }

    pub async fn inference(&self, certificate: Option<&Pair>) -> InferenceServiceClient<Channel> {
        InferenceServiceClient::new(self.channel(certificate).await)
    }

    /// Requests that regions have seen.
    pub fn requests_to_regions(&self) -> u64 {
        let deployments = ["gpt-4o", "text-embedding-3-large"];
        let of = |region: &SimulatedRegion| deployments.map(|name| region.counters().deployment_requests(name));
        self.regions.iter().flat_map(of).sum()
    }

    /// Connections that regions have seen: no call, no byte.
    pub fn connections_to_regions(&self) -> u64 {
        self.regions.iter().map(|region| region.counters().connections_accepted()).sum()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.serving.abort();
    }
}
