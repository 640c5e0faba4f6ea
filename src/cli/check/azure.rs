//! `sealane check --azure`: what Azure's control plane says of every target, beside what the configuration claims.
use std::{env, fs, path::PathBuf, sync::Arc, time::SystemTime};

use clap::Args;
use console::style;
use http::Uri;
use sealane_core::domain::{ProcessingScope, Sku, Target};
use secrecy::SecretString;
use serde_json::{Value, json};

use super::super::{outcome::Failure, table::Table};
use crate::{
    azure::{Arm, ArmDeployment, ArmError, ArmResource},
    config::{Config, Confirmed, write_scope_evidence},
};

/// Where the token is taken from if no file is named.
const TOKEN_VARIABLE: &str = "AZURE_ARM_TOKEN";

/// How to ask Azure's control plane.
#[derive(Debug, Args)]
pub(super) struct AzureOptions {
    /// Also ask Azure's control plane what SKU, model and spillover every target really has; only resources with `arm:`
    /// are asked. Reads only, with the bearer token in --arm-token-file or AZURE_ARM_TOKEN, such as
    /// `az account get-access-token --resource https://management.azure.com --query accessToken -o tsv` prints.
    #[arg(long)]
    azure: bool,
    /// File with that token.
    #[arg(long, requires = "azure", value_name = "FILE")]
    arm_token_file: Option<PathBuf>,
    /// Address of the control plane; another one only for sovereign clouds.
    #[arg(
        long,
        requires = "azure",
        env = "AZURE_ARM_ENDPOINT",
        default_value = "https://management.azure.com",
        value_name = "URL"
    )]
    arm_endpoint: String,
}

/// What Azure says of every target.
pub(super) struct Confirmation {
    rows: Vec<Row>,
    written: Option<PathBuf>,
}

/// One target.
struct Row {
    target: Arc<Target>,
    verdict: Verdict,
}

enum Verdict {
    /// Its resource has no `arm:`.
    NotAsked,
    /// Azure did not tell.
    Unknown(String),
    /// Azure told.
    Read { azure: Option<ArmDeployment>, differences: Vec<String> },
}

impl AzureOptions {
    /// Asks for every target, one resource after the other, and keeps what was confirmed. `None` unless it was asked for.
    pub(super) async fn confirm(&self, config: &Config) -> Result<Option<Confirmation>, Failure> {
        if !self.azure {
            return Ok(None);
        }
        if config.arm_accounts.iter().all(Option::is_none) {
            let told = "no resource says where Azure's control plane knows it; add `arm: { subscription: ..., \
                        resource_group: ..., account: ... }`";
            return Err(Failure::Usage(told.to_owned()));
        }
        let endpoint = self.arm_endpoint.parse();
        let endpoint = endpoint.map_err(|error| Failure::Usage(format!("--arm-endpoint: {error}")))?;
        let arm = Arm::new(endpoint, &self.token()?).map_err(|error| Failure::Usage(error.to_string()))?;
        let mut read = Vec::new();
        for account in &config.arm_accounts {
            read.push(match account {
                Some(account) => Some(arm.read(account).await),
                None => None,
            });
        }
        let rows = config.routes.targets().iter().map(|target| {
            let endpoint = config.resources.get(target.resource_index).map(|resource| resource.endpoint.as_str());
            let verdict = match read.get(target.resource_index).and_then(Option::as_ref) {
                None => Verdict::NotAsked,
                Some(Err(error)) => Verdict::Unknown(told(error)),
                Some(Ok(resource)) => compare(target, endpoint.unwrap_or_default(), resource),
            };
            Row { target: Arc::clone(target), verdict }
        });
        let rows: Vec<Row> = rows.collect();
        let written = keep(config, &rows).map_err(anyhow::Error::from)?;
        Ok(Some(Confirmation { rows, written }))
    }

    fn token(&self) -> Result<SecretString, Failure> {
        let token = match &self.arm_token_file {
            Some(path) => fs::read_to_string(path)
                .map_err(|error| Failure::Usage(format!("--arm-token-file {}: {error}", path.display())))?,
            None => env::var(TOKEN_VARIABLE).unwrap_or_default(),
        };
        match token.trim() {
            "" => Err(Failure::Usage(format!("--azure needs a token: name --arm-token-file, or set {TOKEN_VARIABLE}"))),
            token => Ok(SecretString::from(token)),
        }
    }
}

/// With the cause, which names no address.
fn told(error: &ArmError) -> String {
    match std::error::Error::source(error) {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}

fn keep(config: &Config, rows: &[Row]) -> std::io::Result<Option<PathBuf>> {
    let Some(path) = &config.scope_evidence_file else { return Ok(None) };
    let confirmed = rows.iter().filter(|row| row.verdict.agrees() == Some(true)).filter_map(|row| {
        let resource = config.resources.get(row.target.resource_index)?;
        let account = config.arm_accounts.get(row.target.resource_index)?.as_ref()?;
        Some(Confirmed { target: &row.target, endpoint: resource.endpoint.as_str(), account })
    });
    write_scope_evidence(path, &confirmed.collect::<Vec<_>>(), SystemTime::now())?;
    Ok(Some(path.clone()))
}

/// Everything in which Azure contradicts the configuration.
fn compare(target: &Target, endpoint: &str, resource: &ArmResource) -> Verdict {
    let mut differences = Vec::new();
    if resource.region != *target.region {
        differences.push(format!("the resource lies in {}", resource.region));
    }
    if let (Some(called), Some(subdomain)) = (subdomain(endpoint), &resource.subdomain)
        && !called.eq_ignore_ascii_case(subdomain)
    {
        differences.push(format!("the account is served at {subdomain}, the endpoint is another one"));
    }
    let find = |name: &str| resource.deployments.iter().find(|one| one.name.eq_ignore_ascii_case(name));
    let Some(found) = find(&target.deployment) else {
        differences.push("there is no such deployment".to_owned());
        return Verdict::Read { azure: None, differences };
    };
    if found.sku != target.sku.as_str() {
        differences.push(format!("the SKU is {}", found.sku));
    }
    let declared = target.claims.spillover.as_deref();
    let mut scope = scope_of(&found.sku);
    match (declared, found.spillover.as_deref()) {
        (None, None) => {}
        (Some(declared), Some(real)) if real.eq_ignore_ascii_case(declared) => {}
        (_, Some(real)) => differences.push(format!("it spills over to {real}, which is not declared")),
        (Some(declared), None) => differences.push(format!("it does not spill over to {declared}")),
    }
    if let Some(spillover) = &found.spillover {
        // A deployment that the list does not have may compute anywhere, for all that is known.
        scope = scope.max(find(spillover).map_or(ProcessingScope::Global, |other| scope_of(&other.sku)));
    }
    if scope != target.scope {
        differences.push(format!("it computes {}, declared is {}", scope.as_str(), target.scope.as_str()));
    }
    if let Some(space) = &target.embedding_space
        && (*space.model != *found.model || space.version.as_ref().is_some_and(|version| **version != *found.version))
    {
        differences.push(format!("the model is {}, declared is {space}", model(found)));
    }
    if let Some(stated) = target.version.as_ref().filter(|stated| *stated.version != *found.version) {
        differences.push(format!("the model's version is {}, stated is {}", found.version, stated.version));
    }
    Verdict::Read { azure: Some(found.clone()), differences }
}

/// The first label of a host that is Azure's own; a gateway or a private name cannot be compared.
fn subdomain(endpoint: &str) -> Option<String> {
    let uri: Uri = endpoint.parse().ok()?;
    let host = uri.host()?.to_owned();
    let azures = ["azure.com", "azure.us", "azure.cn"].iter().any(|suffix| host.ends_with(&format!(".{suffix}")));
    if azures { host.split('.').next().map(str::to_owned) } else { None }
}

/// A SKU that this version does not know may compute anywhere.
fn scope_of(sku: &str) -> ProcessingScope {
    let known = Sku::ALL.into_iter().find(|known| known.as_str() == sku);
    known.map_or(ProcessingScope::Global, Sku::processing_scope)
}

fn model(deployment: &ArmDeployment) -> String {
    format!("{}/{}", deployment.model, deployment.version)
}

impl Verdict {
    /// `None` if Azure did not say.
    fn agrees(&self) -> Option<bool> {
        match self {
            Self::NotAsked | Self::Unknown(_) => None,
            Self::Read { differences, .. } => Some(differences.is_empty()),
        }
    }

    fn azure(&self) -> Option<&ArmDeployment> {
        match self {
            Self::Read { azure, .. } => azure.as_ref(),
            Self::NotAsked | Self::Unknown(_) => None,
        }
    }

    fn show(&self) -> String {
        match self {
            Self::NotAsked => style("- not asked: the resource has no `arm`".to_owned()).dim(),
            Self::Unknown(why) => style(format!("✕ {why}")).red(),
            Self::Read { differences, .. } if differences.is_empty() => style("● agrees".to_owned()).green(),
            Self::Read { differences, .. } => style(format!("✕ {}", differences.join("; "))).red(),
        }
        .to_string()
    }
}

impl Confirmation {
    pub(super) fn report(&self) -> Vec<String> {
        let mut table = Table::new(&[
            "model",
            "region",
            "resource",
            "deployment",
            "sku",
            "Azure's model",
            "spillover",
            "Azure says",
        ]);
        for Row { target, verdict } in &self.rows {
            let azure = verdict.azure();
            table.row(vec![
                target.model.to_string(),
                target.region.to_string(),
                target.resource.to_string(),
                target.deployment.to_string(),
                azure.map_or(target.sku.as_str().to_owned(), |azure| azure.sku.clone()),
                azure.map_or("-".to_owned(), model),
                azure.and_then(|azure| azure.spillover.clone()).unwrap_or_else(|| "-".to_owned()),
                verdict.show(),
            ]);
        }
        table.lines()
    }

    pub(super) fn document(&self) -> Value {
        let targets = self.rows.iter().map(|Row { target, verdict }| {
            let azure = verdict.azure().map(|azure| {
                json!({
                    "sku": azure.sku,
                    "model": azure.model,
                    "version": azure.version,
                    "spillover": azure.spillover,
                })
            });
            let (unknown, differences) = match verdict {
                Verdict::Unknown(why) => (Some(why.as_str()), &[][..]),
                Verdict::Read { differences, .. } => (None, differences.as_slice()),
                Verdict::NotAsked => (None, &[][..]),
            };
            json!({
                "model": *target.model,
                "resource": *target.resource,
                "deployment": *target.deployment,
                "azure": azure,
                "agrees": verdict.agrees(),
                "differences": differences,
                "unknown": unknown,
            })
        });
        json!({
            "targets": targets.collect::<Vec<_>>(),
            "scopeEvidenceFile": self.written.as_ref().map(|path| path.display().to_string()),
        })
    }

    /// What a person should know beside the table.
    pub(super) fn note(&self) -> String {
        let confirmed = self.rows.iter().filter(|row| row.verdict.agrees() == Some(true)).count();
        let of = self.rows.len();
        match &self.written {
            Some(path) => format!("{confirmed} of {of} targets confirmed; kept in {}", path.display()),
            None => format!(
                "{confirmed} of {of} targets confirmed; kept nowhere, since the configuration has no `scope_evidence_file`"
            ),
        }
    }

    /// # Errors
    /// When Azure contradicts the configuration, or could not be asked.
    pub(super) fn verdict(&self) -> Result<(), Failure> {
        let differing = self.rows.iter().filter(|row| row.verdict.agrees() == Some(false)).count();
        if differing > 0 {
            return Err(Failure::Unhealthy(format!("Azure says otherwise of {differing} targets")));
        }
        let unknown = self.rows.iter().find(|row| matches!(row.verdict, Verdict::Unknown(_)));
        match unknown {
            Some(row) => Err(Failure::Unreachable(format!("Azure did not tell of resource {}", row.target.resource))),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_azures_own_hosts_can_be_compared() {
        for (endpoint, expected) in [
            ("https://contoso-swc.openai.azure.com/", Some("contoso-swc")),
            ("https://contoso-swc.cognitiveservices.azure.com/", Some("contoso-swc")),
            ("https://contoso.openai.azure.us", Some("contoso")),
            ("https://gateway.contoso.example/", None),
            ("https://notazure.com/", None),
            ("http://127.0.0.1:8080/", None),
        ] {
            assert_eq!(subdomain(endpoint).as_deref(), expected, "{endpoint}");
        }
    }
}
