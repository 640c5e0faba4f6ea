//! `sealane parity`: do the targets of a route do the same? One conformance set against each of them.
mod conformance;
mod report;

use std::{path::PathBuf, sync::Arc};

use clap::Args;
use sealane_core::{
    domain::{EmbeddingSpace, ModelKind, Target, Vector},
    policy::PermittedTarget,
    router::{Reference, Route},
};

use self::{
    conformance::{Conformance, Observed},
    report::{Column, Finding, Report},
};
use super::{
    Options, Output, check,
    outcome::{Failure, Outcome, print},
};
use crate::{
    azure::{Azure, ResponseBounds},
    config::Config,
    references,
};

/// Put one conformance set to every target of every route, as the service would call it, and compare what they do.
/// Costs a few hundred tokens for each target, carries nobody's data, and goes only where some policy permits. Exits
/// with 1 where a target differs or fails.
#[derive(Debug, Args)]
pub(super) struct Parity {
    /// The configuration file.
    #[arg(long, default_value = "sealane.yaml", env = "SEALANE_CONFIG", value_name = "FILE")]
    config: PathBuf,
    /// Only this model. May be repeated. Default: every one.
    #[arg(long = "model", value_name = "MODEL")]
    models: Vec<String>,
    /// The same as --output json.
    #[arg(long)]
    json: bool,
    /// Take the vectors that all targets of an embedding model agree on as the reference of its space, in place of the
    /// one that is kept beside `state_file`. The service goes by it from its next start.
    #[arg(long)]
    accept: bool,
}

impl Parity {
    pub(super) async fn run(self, options: Options) -> Outcome {
        let config = Config::load(&self.config)?;
        let routes = self.routes(&config)?;
        let kept = self.kept(&config)?;
        let azure = Azure::new(config.resources.clone(), ResponseBounds::default()).map_err(anyhow::Error::from)?;
        let policies = check::policies(&config);
        let permit = |target: &Arc<Target>| policies.iter().find_map(|policy| policy.permit_test_call(target).ok());
        let mut reports = Vec::new();
        let mut accepted = Vec::new();
        for route in routes {
            let conformance = Conformance::new(&azure, route.kind, config.vision.contains(&*route.model));
            let targets: Vec<_> =
                config.routes.targets_of(&route).map(|target| (Arc::clone(target), permit(target))).collect();
            let asked = targets.iter().map(async |(_, permitted)| match permitted {
                Some(permitted) => Some(conformance.put(permitted).await),
                None => None,
            });
            let observed = futures_util::future::join_all(asked).await;
            let space = targets.first().and_then(|(target, _)| target.embedding_space.clone());
            let reference = space.as_ref().and_then(|space| kept.iter().find(|kept| kept.space == *space));
            let reference = reference.filter(|_| !self.accept).map(|reference| &reference.vector);
            let report = compare(&route, &targets, &observed, reference);
            accepted.extend(space.and_then(|space| agreed(space, &report, &observed)));
            reports.push(report);
        }
        match if self.json { Output::Json } else { options.output } {
            Output::Json => print(report::document(&reports))?,
            Output::Table => print(report::lines(&reports).join("\n"))?,
        }
        let told = report::verdict(&reports);
        if self.accept {
            self.keep(&config, &kept, &accepted, options)?;
        }
        told.map_err(|told| Failure::Failed(anyhow::anyhow!(told)))
    }

    fn routes(&self, config: &Config) -> Result<Vec<Arc<Route>>, Failure> {
        if self.models.is_empty() {
            return Ok(config.routes.all().to_vec());
        }
        let find = |model: &String| {
            let unknown = || {
                let known: Vec<_> = config.routes.all().iter().map(|route| &*route.model).collect();
                Failure::Usage(format!("there is no model {model:?}; there are {}", known.join(", ")))
            };
            config.routes.find(model).cloned().ok_or_else(unknown)
        };
        self.models.iter().map(find).collect()
    }

    /// The references that the service goes by.
    fn kept(&self, config: &Config) -> Result<Vec<Reference>, Failure> {
        let Some(file) = config.state_file.as_deref().map(references::beside) else {
            return match self.accept {
                true => Err(Failure::Usage("--accept needs a `state_file`: references are kept beside it".to_owned())),
                false => Ok(vec![]),
            };
        };
        match references::read(&file) {
            Ok(kept) => Ok(kept),
            Err(references::ReadError::Io(error)) if error.kind() == std::io::ErrorKind::NotFound => Ok(vec![]),
            // What is accepted now takes its place.
            Err(_) if self.accept => Ok(vec![]),
            Err(error) => Err(anyhow::anyhow!("{}: {error}", file.display()).into()),
        }
    }

    fn keep(&self, config: &Config, kept: &[Reference], accepted: &[Reference], options: Options) -> Outcome {
        let Some(file) = config.state_file.as_deref().map(references::beside).filter(|_| !accepted.is_empty()) else {
            return Ok(());
        };
        let is_new = |kept: &&Reference| !accepted.iter().any(|new| new.space == kept.space);
        let all: Vec<_> = accepted.iter().chain(kept.iter().filter(is_new)).cloned().collect();
        references::write(&file, &all)?;
        if !options.verbosity.quiet {
            let spaces: Vec<_> = accepted.iter().map(|new| new.space.to_string()).collect();
            eprintln!("accepted for {}, from the service's next start on: {}", spaces.join(", "), file.display());
        }
        Ok(())
    }
}

/// The vector of the first target, if every target's agrees with it.
fn agreed(space: Arc<EmbeddingSpace>, report: &Report, observed: &[Option<Observed>]) -> Option<Reference> {
    let vector = observed.first()?.as_ref()?.vector.clone()?;
    let sound = report.columns.iter().all(|column| column.findings.iter().all(|(_, finding)| finding.is_sound()));
    (sound && observed.iter().all(Option::is_some)).then_some(Reference { space, vector })
}

/// What each target did by itself, and beside the others: the first that answered is what they are held against.
fn compare(
    route: &Route,
    targets: &[(Arc<Target>, Option<PermittedTarget>)],
    observed: &[Option<Observed>],
    reference: Option<&Vector>,
) -> Report {
    let known = || observed.iter().flatten();
    let model = known().find_map(|observed| observed.model.as_deref());
    let vector = known().find_map(|observed| observed.vector.as_ref());
    let columns = targets.iter().zip(observed).map(|((target, _), observed)| {
        let findings = match observed {
            None => vec![("permitted", Finding::Skipped("no policy permits it".to_owned()))],
            Some(observed) => {
                let mut findings = observed.findings.clone();
                findings.push(("model", same_model(target, observed.model.as_deref(), model)));
                if route.kind == ModelKind::Embedding {
                    findings.push(("cosine", same_direction(observed.vector.as_ref(), vector, reference)));
                }
                findings
            }
        };
        Column { target: Arc::clone(target), findings }
    });
    Report { model: Arc::clone(&route.model), kind: route.kind, columns: columns.collect() }
}

fn same_model(target: &Target, stated: Option<&str>, others: Option<&str>) -> Finding {
    match (stated, others) {
        (None, _) => Finding::Skipped("not stated".to_owned()),
        (Some(stated), _) if target.version.as_ref().is_some_and(|expected| expected.differs_from(stated)) => {
            let expected = target.version.as_ref().map(|expected| &*expected.version).unwrap_or_default();
            Finding::Differs(format!("{stated}, configured {expected}"))
        }
        (Some(stated), Some(first)) if stated != first => Finding::Differs(stated.to_owned()),
        (Some(stated), _) => Finding::Ok(stated.to_owned()),
    }
}

fn same_direction(own: Option<&Vector>, first: Option<&Vector>, reference: Option<&Vector>) -> Finding {
    let (Some(own), Some(first)) = (own, first) else { return Finding::Skipped("no vector".to_owned()) };
    let against = reference.unwrap_or(first);
    let told = format!("{:.4}{}", own.cosine(against), if reference.is_some() { " to the reference" } else { "" });
    if own.agrees_with(against) { Finding::Ok(told) } else { Finding::Differs(told) }
}
