//! `sealane simulate`: simulated Azure OpenAI regions, for trying things out and for tests in any language.
use std::{net::SocketAddr, path::PathBuf};

use anyhow::Context as _;
use clap::Args;
use serde::Serialize;

use super::{Output, outcome::Outcome, serve::stop_signal};
use crate::simulator::{IdentitySettings, RegionSettings, SimulatedIdentity, SimulatedRegion};

/// What `--file` may say, and how faults are switched while a region runs.
const EXAMPLE: &str = r#"Example of a file:
  - region: swedencentral
    display_name: Sweden Central
    keys: [simulated-key]
    deployments:
      - { name: gpt-4o, model: gpt-4o, version: 2024-11-20, kind: chat, requests_per_minute: 600 }
    latency: { first_token_ms: 300, per_token_ms: 10, jitter_ms: 5 }

Every region prints where its control API is:
  curl -X POST -d '{"fault":{"kind":"status","status":503},"ratio":0.5}' http://ADDR/_simulator/faults
  curl -X DELETE http://ADDR/_simulator/faults
  curl -X PUT -d '{"listening":false}' http://ADDR/_simulator/listening"#;

#[derive(Debug, Args)]
#[command(after_help = EXAMPLE)]
pub(super) struct Simulate {
    /// A region to simulate with the default deployments, such as `swedencentral` or `swedencentral=127.0.0.1:9001`.
    /// May be repeated. Default: swedencentral and francecentral on free ports.
    #[arg(long = "region", value_name = "NAME[=ADDR]")]
    regions: Vec<String>,
    /// A YAML file with a list of regions in full, each with its deployments, limits, latency and faults.
    #[arg(long, conflicts_with = "regions")]
    file: Option<PathBuf>,
    /// Also simulate where tokens of Entra ID come from. It prints the environment for a `sealane serve` whose resources
    /// have `auth: { entra: managed_identity }`, and the regions accept its tokens as well as keys.
    #[arg(long)]
    identity: bool,
    /// Life of such a token, in seconds.
    #[arg(long, default_value_t = 3600, requires = "identity", value_name = "SECONDS")]
    token_life: u64,
    /// Print a configuration for `sealane serve` over these regions, and stay up.
    #[arg(long)]
    print_config: bool,
}

/// One region as programs read it.
#[derive(Debug, Serialize)]
struct Running {
    region: String,
    endpoint: String,
    /// Control API that stays reachable while the region refuses connections.
    control: String,
}

impl Simulate {
    pub(super) fn run(self, output: Output) -> Outcome {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        runtime.block_on(self.simulate(output))
    }

    #[allow(clippy::print_stdout)]
    async fn simulate(self, output: Output) -> Outcome {
        let stop = stop_signal()?;
        let mut running = Vec::new();
        let mut regions = Vec::new();
        let identity = self.identity.then(|| {
            let settings = IdentitySettings { lifetime_seconds: self.token_life, ..IdentitySettings::default() };
            SimulatedIdentity::start(settings, SocketAddr::from(([127, 0, 0, 1], 0)))
        });
        let identity = identity.transpose().context("the identity endpoint cannot listen")?;
        for (mut settings, address) in self.wanted()? {
            settings.issued_tokens = identity.as_ref().map(SimulatedIdentity::tokens);
            let name = settings.region.clone();
            let control = SocketAddr::from(([127, 0, 0, 1], 0));
            let region = SimulatedRegion::start_with_control(settings, address, control)
                .with_context(|| format!("region {name} cannot listen on {address}"))?;
            running.push(Running {
                region: name,
                endpoint: format!("http://{}", region.address()),
                control: region.control_address().map(|control| format!("http://{control}")).unwrap_or_default(),
            });
            regions.push(region);
        }
        match output {
            Output::Json => {
                let identity = identity.as_ref().map(|identity| format!("http://{}", identity.address()));
                println!("{}", serde_json::json!({ "regions": running, "identity": identity }));
            }
            Output::Table if self.print_config => println!("{}", configuration(&running)),
            Output::Table => {
                for one in &running {
                    println!("{:<20} {}   faults: {}/_simulator/faults", one.region, one.endpoint, one.control);
                }
                if let Some(identity) = &identity {
                    let address = identity.address();
                    println!("{:<20} http://{address}   faults: http://{address}/_simulator/fault", "identity");
                    println!(
                        "IDENTITY_ENDPOINT=http://{address}/msi/token IDENTITY_HEADER=simulated-identity-header sealane serve"
                    );
                }
            }
        }
        stop.await;
        Ok(())
    }

    fn wanted(&self) -> anyhow::Result<Vec<(RegionSettings, SocketAddr)>> {
        let anywhere = SocketAddr::from(([127, 0, 0, 1], 0));
        if let Some(file) = &self.file {
            let text = std::fs::read_to_string(file).with_context(|| format!("{} cannot be read", file.display()))?;
            let listed: Vec<RegionSettings> =
                serde_saphyr::from_str(&text).with_context(|| file.display().to_string())?;
            for (region, rule) in listed.iter().flat_map(|one| one.faults.iter().map(move |rule| (&one.region, rule))) {
                rule.check().map_err(|wrong| anyhow::anyhow!("{}: {region}: {wrong}", file.display()))?;
            }
            return Ok(listed.into_iter().map(|settings| (settings, anywhere)).collect());
        }
        if self.regions.is_empty() {
            let default = |name: &str| (RegionSettings { region: name.to_owned(), ..Default::default() }, anywhere);
            return Ok(vec![default("swedencentral"), default("francecentral")]);
        }
        let one = |text: &String| {
            let (name, address) = text.split_once('=').unwrap_or((text, "127.0.0.1:0"));
            let address = address.parse().with_context(|| format!("--region {text}: {address} is no address"))?;
            Ok((RegionSettings { region: name.to_owned(), ..Default::default() }, address))
        };
        self.regions.iter().map(one).collect()
    }
}

/// A configuration for `sealane serve`; the key comes from the environment variable `SIMULATED_KEY`.
fn configuration(regions: &[Running]) -> String {
    let resources = regions.iter().map(|one| {
        format!(
            "  - name: {0}\n    region: {0}\n    boundary: simulated\n    endpoint: {1}\n    auth: {{ api_key: {{ env: \
             SIMULATED_KEY }} }}   # simulated-key\n",
            one.region, one.endpoint
        )
    });
    let targets = |deployment: &str| -> String {
        let target = |one: &Running| {
            format!("      - {{ resource: {}, deployment: {deployment}, sku: Standard }}\n", one.region)
        };
        regions.iter().map(target).collect()
    };
    let controls = regions.iter().map(|one| format!("# faults of {}: {}/_simulator/faults\n", one.region, one.control));
    let controls: String = controls.collect();
    format!(
        "{controls}resources:\n{}models:\n  - name: gpt-4o\n    targets:\n{}  - name: text-embedding-3-large\n    kind: embedding\n    \
         targets:\n{}",
        resources.collect::<String>(),
        targets("gpt-4o"),
        targets("text-embedding-3-large")
    )
}
