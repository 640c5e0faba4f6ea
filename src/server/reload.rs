//! Takes up a changed configuration while calls run: checked whole, refused whole, and never half in force.
use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use sealane_core::{domain::Target, router::RoutesError};
use thiserror::Error;
use tokio::signal::unix::{SignalKind, signal};
use tracing::{info, warn};

use super::rules::{self, Lasting};
use crate::{
    audit::{self, Event},
    azure::{Azure, BuildError, ResourceSettings},
    config::{Config, ConfigError, OpenToAnyone},
    dispatch::Dispatcher,
    grpc::InferenceRules,
    identity::Audience,
    in_force::InForce,
};

/// How often the files are looked at: watching them is unreliable where they are mounted.
const INTERVAL: Duration = Duration::from_secs(2);

/// Looks for a changed configuration.
pub struct Reload {
    pub(super) file: PathBuf,
    pub(super) listens: SocketAddr,
    pub(super) dispatcher: Arc<Dispatcher<Azure>>,
    pub(super) rules: Arc<InForce<InferenceRules>>,
    pub(super) known: Known,
}

/// What is in force, as far as it has to be compared.
pub(super) struct Known {
    revision: String,
    resources: Vec<ResourceSettings>,
    fixed: Vec<(&'static str, String)>,
}

/// Why a configuration was not taken up.
#[derive(Debug, Error)]
enum Refused {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    OpenToAnyone(#[from] OpenToAnyone),
    #[error(transparent)]
    Resource(#[from] BuildError),
    #[error(transparent)]
    Routes(#[from] RoutesError),
}

impl Known {
    pub(super) fn of(config: &Config) -> Self {
        // Whatever a running process cannot change: sockets, files and what hangs on them.
        let fixed = vec![
            ("listen", format!("{:?}", config.listen)),
            ("tls", format!("{:?}", config.tls)),
            ("ops", format!("{:?}", config.ops)),
            ("audit", format!("{:?}", config.audit)),
            ("state_file", format!("{:?}", config.state_file)),
            ("telemetry", format!("{:?}", config.telemetry)),
            ("drain", format!("{:?}", config.drain)),
            ("reflection", format!("{:?}", config.reflection)),
            // The service is there or not; who may see it is asked for each call.
            ("region_status", format!("{}", config.region_status == Audience::Nobody)),
            ("limits.max_request_bytes", format!("{:?}", config.limits.max_request_bytes)),
            ("limits.max_concurrent_streams", format!("{:?}", config.limits.max_concurrent_streams)),
        ];
        Self { revision: config.revision.clone(), resources: config.resources.clone(), fixed }
    }

    fn is(&self, config: &Config) -> bool {
        self.revision == config.revision && self.resources == config.resources
    }

    /// Keys that the new configuration changes, but not before the next start.
    fn waiting(&self, new: &Self) -> Vec<&'static str> {
        let differ = self.fixed.iter().zip(&new.fixed).filter(|((_, old), (_, new))| old != new);
        differ.map(|((key, _), _)| *key).collect()
    }
}

impl Reload {
    /// Looks at the file every two seconds, and at once on SIGHUP; runs until dropped.
    ///
    /// # Errors
    /// When the signal cannot be had.
    pub async fn run(mut self) -> std::io::Result<()> {
        let mut hangup = signal(SignalKind::hangup())?;
        // Each problem is told once, not every two seconds.
        let mut told: Option<String> = None;
        loop {
            let asked = tokio::select! {
                asked = hangup.recv() => asked.is_some(),
                () = tokio::time::sleep(INTERVAL) => false,
            };
            let file = self.file.clone();
            let Ok(loaded) = tokio::task::spawn_blocking(move || Config::load(&file)).await else { continue };
            let outcome = match loaded {
                // One that is back as it was after a bad one is taken up too: whoever was told of trouble is told of its end.
                Ok(config) if self.known.is(&config) && !asked && told.is_none() => continue,
                Ok(config) => self.take_up(config),
                Err(error) => Err(error.into()),
            };
            match outcome {
                Ok(()) => told = None,
                Err(refused) => {
                    let problem = refused.to_string();
                    if asked || told.as_ref() != Some(&problem) {
                        self.refuse(&problem);
                    }
                    told = Some(problem);
                }
            }
        }
    }

    fn take_up(&mut self, config: Config) -> Result<(), Refused> {
        if config.callers.is_empty() && !self.listens.ip().is_loopback() {
            return Err(OpenToAnyone { address: self.listens }.into());
        }
        let successors = self.dispatcher.upstream().prepare(config.resources.clone())?;
        let moved = |target: &Arc<Target>| Target {
            resource_index: successors.places.get(target.resource_index).copied().unwrap_or(usize::MAX),
            ..Target::clone(target)
        };
        let targets = config.routes.targets().iter().map(moved).collect();
        let routes = self.dispatcher.routes().succeed(targets)?;
        let before = self.rules.get();
        let callers = rules::callers(&config).succeeding(before.gate.callers(), self.dispatcher.clock().now());
        let policies = callers.policies();
        let lasting =
            Lasting { trail: before.trail.clone(), stopping: before.stopping.clone(), ending: before.ending.clone() };
        let new = rules::rules(&config, callers, lasting);
        // From here on nothing can fail. The adapter first: it never forgets a resource that calls may still name.
        self.dispatcher.upstream().succeed(successors);
        self.dispatcher.reconfigure(routes, config.thresholds.clone(), policies);
        self.rules.put(Arc::new(new));
        let known = Known::of(&config);
        let waiting = self.known.waiting(&known);
        for warning in &config.warnings {
            warn!("{warning}");
        }
        if !waiting.is_empty() {
            warn!(keys = waiting.join(", "), "these take effect at the next start");
        }
        info!(config_revision = known.revision, file = %self.file.display(), "configuration taken up");
        self.note(&known.revision, None);
        self.dispatcher.metrics().reloaded(true);
        self.known.revision = known.revision;
        self.known.resources = known.resources;
        Ok(())
    }

    fn refuse(&self, problem: &str) {
        warn!(file = %self.file.display(), config_revision = self.known.revision, "configuration refused, the old one stays in force:\n{problem}");
        let first = problem.lines().next().unwrap_or_default();
        self.note(&self.known.revision, Some(first));
        self.dispatcher.metrics().reloaded(false);
    }

    fn note(&self, revision: &str, problem: Option<&str>) {
        let rules = self.rules.get();
        let Some(trail) = &rules.trail else { return };
        let accepted = problem.is_none();
        let config = audit::Config { revision: revision.into(), accepted, problem: problem.map(Into::into) };
        // What is lost is counted, and told by the journal itself.
        let _ = trail.journal().note(Event::Config(config));
    }
}

impl super::Server<Azure> {
    /// What takes up changes of `file`; run it beside [`serve`](Self::serve). `config` is what the service was made of.
    ///
    /// # Errors
    /// When the operating system does not tell the address.
    pub fn reload(&self, file: &Path, known: Watched) -> std::io::Result<Reload> {
        Ok(Reload {
            file: file.to_owned(),
            listens: self.local_addr()?,
            dispatcher: Arc::clone(&self.dispatcher),
            rules: Arc::clone(&self.rules),
            known: known.0,
        })
    }
}

/// What a service was made of, as far as changes are compared with it.
pub struct Watched(Known);

impl Watched {
    /// To be taken before the configuration is given away.
    pub fn new(config: &Config) -> Self {
        Self(Known::of(config))
    }
}
