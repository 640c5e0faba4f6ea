//! The configuration: one YAML file becomes one checked value.
//!
//! `file` is the file as written, `value` how single values are written; `resources`, `auth`, `routes`, `access` and `tls` check
//! what the file says, each adding what it finds to one list, so that all problems are told at once; `evidence` is what
//! Azure's control plane confirmed of it; `settings` does the
//! rest. Secrets are references, resolved here and never printed.
mod access;
mod audit;
mod auth;
mod evidence;
mod file;
mod problem;
mod resources;
mod routes;
mod secret;
mod settings;
mod tls;
mod value;

use std::{
    collections::BTreeSet,
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::SystemTime,
};

use sealane_core::{
    policy::Policy,
    router::{Routes, Thresholds},
};

pub use audit::AuditSettings;
pub use evidence::{Confirmed, write_scope_evidence};
pub use problem::{ConfigError, Place, Problem, Problems};
pub use settings::{Drain, Images, Limits, Telemetry};

use self::{evidence::Evidence, file::File, problem::Findings, secret::Secrets};
use crate::{
    azure::{ArmAccount, ResourceSettings},
    identity::{Audience, CallerSettings},
    tls::TlsSettings,
};

/// A checked configuration. Holds resolved secrets, which its `Debug` does not show.
#[derive(Debug)]
pub struct Config {
    /// Where to listen.
    pub listen: SocketAddr,
    /// Azure OpenAI resources, in the order of the file; targets name them by index.
    pub resources: Vec<ResourceSettings>,
    /// Where Azure's control plane knows the resources, in the same order; `None`: it is not asked.
    pub arm_accounts: Vec<Option<ArmAccount>>,
    /// Models and their targets.
    pub routes: Routes,
    /// Every configured policy; `unrestricted` is not among them.
    pub policies: Vec<Arc<Policy>>,
    /// The policy of every call where there are no callers.
    pub default_policy: Arc<Policy>,
    /// Who may call; empty: whoever reaches the service.
    pub callers: Vec<CallerSettings>,
    /// TLS towards callers; `None`: plain text.
    pub tls: Option<TlsSettings>,
    /// Who may see `RegionService`.
    pub region_status: Audience,
    /// Sizes, deadlines and counts.
    pub limits: Limits,
    /// The router's numbers.
    pub thresholds: Thresholds,
    /// Where standings are kept from one process to the next; `None`: nowhere.
    pub state_file: Option<PathBuf>,
    /// Where `sealane check --azure` keeps what it confirmed; `None`: nowhere.
    pub scope_evidence_file: Option<PathBuf>,
    /// Where the audit journal is kept; `None`: nowhere.
    pub audit: Option<AuditSettings>,
    /// How the service stops.
    pub drain: Drain,
    /// Where metrics, probes and the status page are served; `None`: nowhere.
    pub ops: Option<SocketAddr>,
    /// Traces and metrics.
    pub telemetry: Telemetry,
    /// Who may use gRPC reflection.
    pub reflection: Audience,
    /// Pictures in requests.
    pub images: Images,
    /// Names of the models that are said to take pictures.
    pub vision: BTreeSet<String>,
    /// Model name to the `extra_params` that requests may pass; models without any are left out.
    pub extra_params: Vec<(String, Vec<String>)>,
    /// What looks wrong but can be served with, each with its line.
    pub warnings: Vec<String>,
    /// Changes whenever the file's bytes do.
    pub revision: String,
}

impl Config {
    /// Reads, checks and resolves a file.
    ///
    /// # Errors
    /// When the file cannot be read, or with everything that is wrong with it.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        Ok(Self::from_yaml(&read(path)?, &path.display().to_string(), |name| std::env::var(name).ok())?)
    }

    /// Checks a file's text and resolves its secrets: environment variables with `env`, files relative to the folder
    /// of `source_name`.
    ///
    /// # Errors
    /// With everything that is wrong. Only what a human wrote against the grammar of the file (unknown or missing
    /// keys, wrong shapes) is told one at a time.
    pub fn from_yaml(text: &str, source_name: &str, env: impl Fn(&str) -> Option<String>) -> Result<Self, Problems> {
        let mut findings = Findings::new(text, source_name);
        let Some(file) = parse(text, &mut findings) else { return Err(findings.into_problems()) };
        let secrets = Secrets::new(&env, Path::new(source_name).parent().unwrap_or(Path::new("")));
        let resources = resources::check(&file, &secrets, &mut findings);
        let folder = Path::new(source_name).parent().unwrap_or(Path::new(""));
        let evidence = Evidence::load(&file, folder, SystemTime::now(), &mut findings);
        let routes = routes::check(&file.models, &resources, &evidence, &mut findings);
        let access = access::check(&file, routes.as_ref(), &secrets, &mut findings);
        let tls = tls::check(&file, &secrets, &mut findings);
        let region_status = file.region_status.take(&mut findings).copied();
        let limits = settings::limits(&file.limits, &mut findings);
        let thresholds = settings::thresholds(&file.failover, &mut findings);
        let state_file = file.state_file.as_ref().and_then(|entry| settings::state_file(entry, folder, &mut findings));
        let audit = file.audit.as_ref().map(|entry| audit::check(entry, folder, &secrets, &mut findings));
        let drain = settings::drain(&file.drain, &mut findings);
        let telemetry = settings::telemetry(&file.telemetry, &mut findings);
        let ops = file.ops.listen.as_ref().and_then(|listen| listen.take(&mut findings)).copied();
        let reflection = file.reflection.take(&mut findings).copied();
        let images = settings::images(&file.images, &mut findings);
        let vision = routes::vision(&file.models, &mut findings);
        let extra_params = routes::extra_params(&file.models, &mut findings);
        let listen = access::listen(&file, &mut findings);
        let (Some(routes), Some(access), Some(limits), Some(thresholds), Some(drain)) =
            (routes, access, limits, thresholds, drain)
        else {
            return Err(findings.into_problems());
        };
        let (Some(telemetry), Some(reflection), Some(images), Some(listen), Some(region_status)) =
            (telemetry, reflection, images, listen, region_status)
        else {
            return Err(findings.into_problems());
        };
        Ok(Self {
            listen,
            arm_accounts: resources.arm_accounts(),
            resources: resources.into_settings(),
            routes,
            policies: access.policies,
            default_policy: access.default_policy,
            callers: access.callers,
            tls,
            region_status,
            limits,
            thresholds,
            state_file,
            scope_evidence_file: evidence.path,
            audit: audit.flatten(),
            drain,
            ops,
            telemetry,
            reflection,
            images,
            vision,
            extra_params,
            warnings: findings.finish()?,
            revision: revision(text),
        })
    }

    /// Listens elsewhere than the file says.
    ///
    /// # Errors
    /// When the address is not on loopback and no callers are configured.
    pub fn listen_on(&mut self, address: SocketAddr) -> Result<(), OpenToAnyone> {
        if !address.ip().is_loopback() && self.callers.is_empty() {
            return Err(OpenToAnyone { address });
        }
        self.listen = address;
        Ok(())
    }
}

/// The address can be reached from elsewhere, and nobody would have to prove who they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{address}` can be reached from other machines, but no `callers` are configured; listen on 127.0.0.1 or add callers"
)]
pub struct OpenToAnyone {
    /// Where the service was to listen.
    pub address: SocketAddr,
}

/// JSON Schema of the file, for editors.
pub fn schema() -> serde_json::Value {
    schemars::schema_for!(File).into()
}

/// The file with every default filled in, as YAML; secrets stay references. `redacted` also hides what the references
/// and endpoints name.
///
/// # Errors
/// When the file cannot be read, or does not have the shape of a configuration.
pub fn effective(path: &Path, redacted: bool) -> Result<String, ConfigError> {
    let text = read(path)?;
    let source_name = path.display().to_string();
    let mut findings = Findings::new(&text, &source_name);
    let Some(mut file) = parse(&text, &mut findings) else { return Err(findings.into_problems().into()) };
    if redacted {
        file.redact();
    }
    let shown = serde_saphyr::to_string(&file);
    shown.map_err(|error| ConfigError::Unreadable { path: path.into(), reason: std::io::Error::other(error) })
}

fn read(path: &Path) -> Result<String, ConfigError> {
    fs::read_to_string(path).map_err(|reason| ConfigError::Unreadable { path: path.into(), reason })
}

fn parse(text: &str, findings: &mut Findings<'_>) -> Option<File> {
    let plain = serde_saphyr::options! { with_snippet: false };
    serde_saphyr::from_str_with_options::<File>(text, plain).map_err(|error| findings.refuse_yaml(&error)).ok()
}

/// FNV-1a: the same in every build, and no secret depends on it.
fn revision(text: &str) -> String {
    let hash = text
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
    format!("{hash:016x}")
}
