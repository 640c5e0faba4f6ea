//! `sealane check`: is this configuration right, and what does it mean?
use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use clap::Args;
use console::style;
use sealane_core::{
    domain::{self, FailureKind, ModelKind, Target},
    policy::{Policy, Refusal},
    router::Route,
};
use serde_json::{Value, json};

mod azure;
mod explain;

use self::{azure::AzureOptions, azure::Confirmation, explain::Explanation};
use super::{
    Options, Output,
    outcome::{Failure, Outcome, print},
    table::Table,
};
use crate::{
    azure::{Azure, ResponseBounds},
    config::Config,
    upstream::Upstream as _,
};

/// Longest wait for one resource.
const ENDPOINT_LIMIT: Duration = Duration::from_secs(10);

/// Check the configuration and print the failover order of every model under every policy.
#[derive(Debug, Args)]
pub(super) struct Check {
    /// The configuration file.
    #[arg(long, default_value = "sealane.yaml", env = "SEALANE_CONFIG", value_name = "FILE")]
    config: PathBuf,
    /// Also ask every resource for its list of models: free of charge; proves endpoint and credential (a token of
    /// Entra ID is fetched), but no deployment.
    #[arg(long)]
    endpoints: bool,
    #[command(flatten)]
    control_plane: AzureOptions,
    /// Say where the calls of a caller for a model may go, in which order, and why nowhere else. Where no callers are
    /// configured, the caller is `anyone`.
    #[arg(long, num_args = 2, value_names = ["CALLER", "MODEL"], conflicts_with_all = ["endpoints", "azure"])]
    explain: Option<Vec<String>>,
    /// Warnings are errors.
    #[arg(long)]
    deny_warnings: bool,
}

/// What became of a resource's models list.
struct Probe {
    resource: Arc<str>,
    endpoint: String,
    result: Result<Duration, String>,
    /// How long the token that was fetched for it is good; `None` for keys, and without a token.
    token_left: Option<Duration>,
}

impl Check {
    pub(super) async fn run(self, options: Options) -> Outcome {
        let config = Config::load(&self.config)?;
        let explanation = match self.explain.as_deref() {
            Some([caller, model]) => Some(Explanation::of(&config, caller, model)?),
            _ => None,
        };
        let probes = if self.endpoints { probe(&config).await? } else { vec![] };
        let confirmation = self.control_plane.confirm(&config).await?;
        match (&explanation, options.output) {
            (Some(explanation), output) => print(explanation.show(output))?,
            (None, Output::Json) => print(document(&config, &probes, confirmation.as_ref()))?,
            (None, Output::Table) => print(report(&config, &probes, confirmation.as_ref()).join("\n"))?,
        }
        for warning in &config.warnings {
            eprintln!("{} {warning}", style("warning:").for_stderr().yellow().bold());
        }
        if !options.verbosity.quiet {
            let (resources, models) = (config.resources.len(), config.routes.all().len());
            let name = self.config.display();
            eprintln!("{name} is valid: {resources} resources, {models} models, revision {}", config.revision);
        }
        if let Some(confirmation) = confirmation.as_ref().filter(|_| !options.verbosity.quiet) {
            eprintln!("{}", confirmation.note());
        }
        explanation.as_ref().map_or(Ok(()), Explanation::verdict)?;
        confirmation.as_ref().map_or(Ok(()), Confirmation::verdict)?;
        if let Some(failed) = probes.iter().find(|probe| probe.result.is_err()) {
            return Err(Failure::Unreachable(format!("resource {} cannot be used", failed.resource)));
        }
        if self.deny_warnings && !config.warnings.is_empty() {
            return Err(Failure::Warnings(config.warnings.len()));
        }
        Ok(())
    }
}

/// All at once: one dead resource must not make the others wait.
async fn probe(config: &Config) -> anyhow::Result<Vec<Probe>> {
    let azure = Azure::new(config.resources.clone(), ResponseBounds::default())?;
    let probes = config.resources.iter().enumerate().map(async |(index, resource)| {
        let start = Instant::now();
        let result = azure.models(index, ENDPOINT_LIMIT).await;
        let took = start.elapsed();
        let credential = azure.credentials().into_iter().nth(index);
        let problem = credential.as_ref().and_then(|view| view.problem.as_deref());
        let why = |failure: domain::Failure| match (failure.kind, problem) {
            (FailureKind::Unauthorized, Some(problem)) => format!("no token: {problem}"),
            (kind, _) => kind.as_str().to_owned(),
        };
        Probe {
            resource: Arc::clone(&resource.name),
            endpoint: resource.endpoint.to_string(),
            result: result.map(|()| took).map_err(why),
            token_left: credential.and_then(|view| view.left),
        }
    });
    Ok(futures_util::future::join_all(probes).await)
}

/// Every policy that is configured or binds somebody.
pub(super) fn policies(config: &Config) -> Vec<Arc<Policy>> {
    let mut policies = config.policies.clone();
    let nobody = config.callers.is_empty().then_some(&config.default_policy);
    for policy in config.callers.iter().map(|caller| &caller.policy).chain(nobody) {
        if !policies.iter().any(|known| known.name == policy.name) {
            policies.insert(0, Arc::clone(policy));
        }
    }
    policies
}

/// A route's targets in order of preference, each with the policy's verdict.
fn order<'a>(
    config: &'a Config,
    route: &'a Route,
    policy: &'a Policy,
) -> impl Iterator<Item = (&'a Arc<Target>, Result<(), Refusal>)> {
    config.routes.targets_of(route).map(|target| (target, policy.permits(target)))
}

fn report(config: &Config, probes: &[Probe], confirmation: Option<&Confirmation>) -> Vec<String> {
    let mut lines = Vec::new();
    for route in config.routes.all() {
        let space = config.routes.targets().iter().find(|target| target.model == route.model);
        let space = space.and_then(|target| target.embedding_space.as_ref());
        let space = space.map(|space| format!(" {}", style(space).dim())).unwrap_or_default();
        lines.push(format!("{}{space}", style(&route.model).bold()));
        for policy in policies(config) {
            lines.push(format!("  under {}", style(&policy.name).cyan()));
            lines.extend(places(config, route, &policy).into_iter().map(|line| format!("    {line}")));
        }
        lines.push(String::new());
    }
    let mut credentials = Table::new(&["resource", "proves itself by"]);
    for resource in &config.resources {
        credentials.row(vec![resource.name.to_string(), resource.credential.to_string()]);
    }
    lines.extend(credentials.lines());
    lines.push(String::new());
    if !probes.is_empty() {
        let mut table = Table::new(&["resource", "endpoint", "models list"]);
        for probe in probes {
            let told = match &probe.result {
                Ok(took) => style(format!("● answered in {} ms{}", took.as_millis(), token(probe))).green(),
                Err(failure) => style(format!("✕ {failure}")).red(),
            };
            table.row(vec![probe.resource.to_string(), probe.endpoint.clone(), told.to_string()]);
        }
        lines.extend(table.lines());
        lines.push(String::new());
    }
    if let Some(confirmation) = confirmation {
        lines.extend(confirmation.report());
        lines.push(String::new());
    }
    lines.pop();
    lines
}

fn token(probe: &Probe) -> String {
    let told = |left: Duration| format!(", with a token for {} min", left.as_secs().div_ceil(60));
    probe.token_left.map(told).unwrap_or_default()
}

fn places(config: &Config, route: &Route, policy: &Policy) -> Vec<String> {
    let mut table = Table::new(&[]);
    let mut place = 0;
    for (target, verdict) in order(config, route, policy) {
        let (number, verdict) = match verdict {
            Ok(()) => {
                place += 1;
                (format!("{place}."), String::new())
            }
            Err(refusal) => (style("✕").red().to_string(), style(refusal.to_string()).red().to_string()),
        };
        table.row(vec![
            number,
            target.region.to_string(),
            target.resource.to_string(),
            target.deployment.to_string(),
            target.sku.as_str().to_owned(),
            target.scope.as_str().to_owned(),
            verdict,
        ]);
    }
    // The heading is empty: the columns speak for themselves.
    table.lines().into_iter().skip(1).collect()
}

fn document(config: &Config, probes: &[Probe], confirmation: Option<&Confirmation>) -> Value {
    let models = config.routes.all().iter().map(|route| {
        let policies = policies(config).into_iter().map(|policy| {
            let targets = order(config, route, &policy).map(|(target, verdict)| {
                json!({
                    "region": *target.region,
                    "resource": *target.resource,
                    "deployment": *target.deployment,
                    "sku": target.sku.as_str(),
                    "processingScope": target.scope.as_str(),
                    "scopeEvidence": target.claims.scope_evidence.as_str(),
                    "permitted": verdict.is_ok(),
                    "refusal": verdict.err().map(|refusal| refusal.to_string()),
                })
            });
            json!({ "policy": *policy.name, "targets": targets.collect::<Vec<_>>() })
        });
        let kind = if route.kind == ModelKind::Chat { "chat" } else { "embedding" };
        json!({ "model": *route.model, "kind": kind, "policies": policies.collect::<Vec<_>>() })
    });
    let endpoints = probes.iter().map(|probe| {
        json!({
            "resource": *probe.resource,
            "reachable": probe.result.is_ok(),
            "failure": probe.result.as_ref().err(),
            "tokenSeconds": probe.token_left.map(|left| left.as_secs()),
            "milliseconds": probe.result.as_ref().ok().map(|took| u64::try_from(took.as_millis()).unwrap_or(u64::MAX)),
        })
    });
    let resources = config
        .resources
        .iter()
        .map(|resource| json!({ "resource": *resource.name, "credential": resource.credential.to_string() }));
    json!({
        "revision": config.revision,
        "resources": resources.collect::<Vec<_>>(),
        "models": models.collect::<Vec<_>>(),
        "endpoints": endpoints.collect::<Vec<_>>(),
        "azure": confirmation.map(Confirmation::document),
        "warnings": config.warnings,
    })
}
