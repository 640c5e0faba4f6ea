//! What the demo runs: simulated regions on free ports, and the real service over them.
use std::{
    io::ErrorKind,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context as _;
use tokio::{sync::oneshot, task::JoinHandle};

use crate::{
    config::Config,
    server::Server,
    simulator::{Latency, RegionSettings, SimulatedRegion},
    telemetry::Metrics,
};

const REGIONS: [(&str, &str); 2] = [("swedencentral", "Sweden Central"), ("francecentral", "France Central")];
/// The key that simulated regions take; it protects nothing.
const KEY: &str = "simulated-key";
/// About as long as a short answer takes, so that an outage meets calls under way.
const LATENCY: Latency = Latency { first_byte_ms: 40, first_token_ms: 120, per_token_ms: 12, jitter_ms: 15 };

/// Holds, steps of the return and pauses between test calls are so many times shorter than in earnest: a minute's
/// hold would make a dull story.
pub(super) const QUICKENED: u32 = 12;

const REVIVAL_TRIES: u32 = 50;
const REVIVAL_PAUSE: Duration = Duration::from_millis(100);

/// One simulated region as the demo shows it.
pub(super) struct RegionInfo {
    pub(super) name: String,
    pub(super) role: &'static str,
    pub(super) address: SocketAddr,
    /// Where its port can be closed and opened.
    pub(super) control: SocketAddr,
    pub(super) up: bool,
}

/// A folder that goes with the demo.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> anyhow::Result<Self> {
        let path = std::env::temp_dir().join(format!("sealane-demo-{}", std::process::id()));
        std::fs::create_dir_all(&path).with_context(|| format!("cannot make the folder {}", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The regions and the service, running.
pub(super) struct World {
    regions: Vec<SimulatedRegion>,
    pub(super) infos: Vec<RegionInfo>,
    pub(super) service: SocketAddr,
    journal: Scratch,
    stop: oneshot::Sender<()>,
    serving: JoinHandle<anyhow::Result<()>>,
}

impl World {
    pub(super) async fn start(listen: SocketAddr) -> anyhow::Result<Self> {
        let mut regions = Vec::new();
        let mut infos = Vec::new();
        for (at, (name, display_name)) in REGIONS.into_iter().enumerate() {
            let settings = RegionSettings { latency: LATENCY, ..RegionSettings::named(name, display_name) };
            let anywhere = SocketAddr::from(([127, 0, 0, 1], 0));
            let region = SimulatedRegion::start_with_control(settings, anywhere, anywhere)
                .with_context(|| format!("cannot simulate {name}"))?;
            infos.push(RegionInfo {
                name: name.to_owned(),
                role: if at == 0 { "primary" } else { "standby" },
                address: region.address(),
                control: region.control_address().unwrap_or_else(|| region.address()),
                up: true,
            });
            regions.push(region);
        }
        let key = |name: &str| (name == "SIMULATED_KEY").then(|| KEY.to_owned());
        let journal = Scratch::new()?;
        let mut config = Config::from_yaml(&configuration(&infos, &journal.0), "demo", key)?;
        config.thresholds = config.thresholds.quickened(QUICKENED);
        config.listen_on(listen)?;
        let server = Server::from_config(config, Metrics::off()).await.map_err(|error| {
            anyhow::anyhow!("{error:#}; if another service runs there, `--listen 127.0.0.1:0` takes a free port")
        })?;
        let service = server.local_addr()?;
        let (stop, stopped) = oneshot::channel();
        let serving = tokio::spawn(server.serve(async {
            // Ends too when the sender is dropped.
            let _ = stopped.await;
        }));
        Ok(Self { regions, infos, service, journal, stop, serving })
    }

    /// The audit journal's folder, while the demo runs.
    pub(super) fn journal(&self) -> PathBuf {
        self.journal.0.join("journal")
    }

    /// The primary's port is closed and its connections are reset.
    pub(super) async fn kill_primary(&mut self) -> anyhow::Result<()> {
        if let (Some(region), Some(info)) = (self.regions.first(), self.infos.first_mut()) {
            region.refuse_connections().await?;
            info.up = false;
        }
        Ok(())
    }

    /// The primary listens again.
    pub(super) async fn revive_primary(&mut self) -> anyhow::Result<()> {
        if let (Some(region), Some(info)) = (self.regions.first(), self.infos.first_mut()) {
            // Meanwhile the port may have become the near end of somebody's short connection.
            for _ in 0..REVIVAL_TRIES {
                match region.accept_connections().await {
                    Err(error) if error.kind() == ErrorKind::AddrInUse => tokio::time::sleep(REVIVAL_PAUSE).await,
                    done => {
                        done?;
                        info.up = true;
                        return Ok(());
                    }
                }
            }
            anyhow::bail!("the port of {} has been taken by another program", info.name);
        }
        Ok(())
    }

    /// Lets calls under way finish, then ends everything.
    pub(super) async fn stop(self) -> anyhow::Result<()> {
        let _ = self.stop.send(());
        self.serving.await.context("the service panicked")??;
        for region in self.regions {
            region.stop().await;
        }
        Ok(())
    }
}

fn configuration(regions: &[RegionInfo], scratch: &Path) -> String {
    let resource = |region: &RegionInfo| {
        let (name, address) = (&region.name, region.address);
        let auth = "{ api_key: { env: SIMULATED_KEY } }";
        format!("  - {{ name: {name}, region: {name}, boundary: eu, endpoint: \"http://{address}\", auth: {auth} }}\n")
    };
    let targets = |deployment: &str| -> String {
        let target = |region: &RegionInfo| {
            format!("      - {{ resource: {}, deployment: {deployment}, sku: Standard }}\n", region.name)
        };
        regions.iter().map(target).collect()
    };
    format!(
        "resources:\n{}models:\n  - name: gpt-4o\n    targets:\n{}  - name: text-embedding-3-large\n    kind: embedding\n    \
         targets:\n{}drain: {{ delay: 0s, grace: 5s }}\naudit: {{ directory: \"{}\" }}\n",
        regions.iter().map(resource).collect::<String>(),
        targets("gpt-4o"),
        targets("text-embedding-3-large"),
        scratch.join("journal").display(),
    )
}
