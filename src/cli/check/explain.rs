//! `sealane check --explain CALLER MODEL`: where that caller's calls may go, in which order, and why nowhere else.
use std::sync::Arc;

use console::style;
use sealane_core::{
    domain::Target,
    policy::{Policy, Refusal},
};
use serde_json::{Value, json};

use super::super::{Output, outcome::Failure, table::Table};
use crate::config::Config;

/// What a caller is called where none are configured.
const ANYONE: &str = "anyone";

/// Where one caller's calls for one model may go.
pub(super) struct Explanation {
    caller: String,
    model: String,
    policy: Arc<Policy>,
    /// The route in order of preference, each target with the policy's verdict.
    targets: Vec<(Arc<Target>, Result<(), Refusal>)>,
}

impl Explanation {
    /// Asks the policy for every target of the model.
    ///
    /// # Errors
    /// When the configuration knows no such caller or model, or the caller may not use the model.
    pub(super) fn of(config: &Config, caller: &str, model: &str) -> Result<Self, Failure> {
        let policy = policy(config, caller)?;
        let Some(route) = config.routes.find(model) else {
            let models = config.routes.all().iter().map(|route| &*route.model);
            return Err(unknown("model", model, models));
        };
        let known = config.callers.iter().find(|known| *known.name == *caller);
        if let Some(allowed) = known.and_then(|known| known.models.as_ref())
            && !allowed.iter().any(|name| **name == *model)
        {
            let told = format!("caller {caller} may not use model {model}; its `models` are {}", allowed.join(", "));
            return Err(Failure::Unhealthy(told));
        }
        let targets = config.routes.targets_of(route);
        let targets = targets.map(|target| (Arc::clone(target), policy.permits(target))).collect();
        Ok(Self { caller: caller.to_owned(), model: model.to_owned(), policy, targets })
    }

    pub(super) fn show(&self, output: Output) -> String {
        match output {
            Output::Json => self.document().to_string(),
            Output::Table => self.report().join("\n"),
        }
    }

    /// # Errors
    /// When nothing is permitted.
    pub(super) fn verdict(&self) -> Result<(), Failure> {
        if self.targets.iter().any(|(_, verdict)| verdict.is_ok()) {
            return Ok(());
        }
        let Self { caller, model, policy, .. } = self;
        let policy = &policy.name;
        Err(Failure::Unhealthy(format!("policy {policy} permits caller {caller} no target of model {model}")))
    }

    fn report(&self) -> Vec<String> {
        let Self { caller, model, policy, .. } = self;
        let mut lines = vec![
            format!(
                "{} for {} under policy {}",
                style(model).bold(),
                style(caller).bold(),
                style(&policy.name).cyan().bold()
            ),
            format!("  which permits {policy}"),
        ];
        let mut table = Table::new(&["order", "region", "resource", "deployment", "sku", "computes", "verdict"]);
        let mut place = 0;
        for (target, verdict) in &self.targets {
            let (order, verdict) = match verdict {
                Ok(()) => {
                    place += 1;
                    (format!("{place}."), style(if place == 1 { "primary" } else { "standby" }.to_owned()).green())
                }
                Err(refusal) => (style("✕").red().to_string(), style(refusal.to_string()).red()),
            };
            table.row(vec![
                order,
                target.region.to_string(),
                target.resource.to_string(),
                target.deployment.to_string(),
                target.sku.as_str().to_owned(),
                computes(target),
                verdict.to_string(),
            ]);
        }
        lines.extend(table.lines().into_iter().map(|line| format!("  {line}")));
        lines
    }

    fn document(&self) -> Value {
        let mut place = 0;
        let targets = self.targets.iter().map(|(target, verdict)| {
            place += u32::from(verdict.is_ok());
            json!({
                "order": verdict.is_ok().then_some(place),
                "region": *target.region,
                "boundary": target.boundary.as_deref(),
                "resource": *target.resource,
                "deployment": *target.deployment,
                "sku": target.sku.as_str(),
                "spillover": target.claims.spillover.as_deref(),
                "processingScope": target.scope.as_str(),
                "scopeEvidence": target.claims.scope_evidence.as_str(),
                "permitted": verdict.is_ok(),
                "refusal": verdict.err().map(|refusal| refusal.to_string()),
            })
        });
        let targets: Vec<Value> = targets.collect();
        let names = |names: &[Arc<str>]| names.iter().map(|name| name.to_string()).collect::<Vec<_>>();
        json!({
            "caller": self.caller,
            "model": self.model,
            "policy": {
                "name": *self.policy.name,
                "regions": names(&self.policy.regions),
                "boundaries": names(&self.policy.boundaries),
                "maxScope": self.policy.max_scope.as_str(),
                "dataClasses": names(&self.policy.data_classes),
                "requiresDataClass": self.policy.requires_data_class,
            },
            "targets": targets,
        })
    }
}

/// The scope, and what it comes from where the SKU does not tell.
fn computes(target: &Target) -> String {
    match &target.claims.spillover {
        Some(spillover) => format!("{}, spills over to {spillover}", target.scope.as_str()),
        None => target.scope.as_str().to_owned(),
    }
}

fn policy(config: &Config, caller: &str) -> Result<Arc<Policy>, Failure> {
    if config.callers.is_empty() {
        return match caller {
            ANYONE => Ok(Arc::clone(&config.default_policy)),
            _ => Err(unknown("caller", caller, [ANYONE].into_iter())),
        };
    }
    match config.callers.iter().find(|known| *known.name == *caller) {
        Some(known) => Ok(Arc::clone(&known.policy)),
        None => Err(unknown("caller", caller, config.callers.iter().map(|known| &*known.name))),
    }
}

fn unknown<'a>(what: &str, name: &str, known: impl Iterator<Item = &'a str>) -> Failure {
    let known: Vec<&str> = known.collect();
    Failure::Usage(format!("there is no {what} {name:?}; there are {}", known.join(", ")))
}
