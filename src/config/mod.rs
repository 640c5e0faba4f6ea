//! One YAML file -> a validated [`Config`] value, built once at start and handed down in parts.
//!
//! `file` is the file as it is written, `resolve` checks it and fills in defaults, `problem` says what is wrong and
//! where. Secrets come from the environment or from files, never from the configuration itself.
mod file;
mod problem;
mod resolve;
mod secret;
mod span;

use std::{fs, net::SocketAddr, path::Path, sync::Arc, time::Duration};

use sealane_core::{
    policy::Policy,
    router::{Routes, Thresholds},
};
use secrecy::SecretString;

pub use problem::{ConfigError, Problem};

use crate::{azure::ResourceSettings, telemetry::TelemetrySettings};

/// Everything the service needs to know, checked.
#[derive(Clone, Debug)]
pub struct Config {
    /// Short hash of the file: tells whether two replicas run the same configuration.
    pub revision: String,
    /// Where to listen for gRPC.
    pub listen: SocketAddr,
    /// A target's `resource_index` is the place in this list.
    pub resources: Vec<ResourceSettings>,
    /// Models and their targets.
    pub routes: Routes,
    /// All policies.
    pub policies: Vec<Arc<Policy>>,
    /// The policy of calls where no callers are configured.
    pub default_policy: Arc<Policy>,
    /// Who may call; empty: whoever reaches the service.
    pub callers: Vec<KnownCaller>,
    /// Sizes and deadlines.
    pub limits: Limits,
    /// The router's numbers.
    pub thresholds: Thresholds,
    /// Calls are still taken this long after health turned.
    pub drain_delay: Duration,
    /// Calls in flight may take this long to finish after that.
    pub drain_grace: Duration,
    /// Traces.
    pub telemetry: TelemetrySettings,
    /// Serve reflection.
    pub reflection: bool,
    /// Images may be given as addresses.
    pub image_uris: bool,
    /// Model name to the `extra_params` it takes.
    pub extra_params: Vec<(String, Vec<String>)>,
    /// What works but deserves a look.
    pub warnings: Vec<String>,
}

/// A client of the service.
#[derive(Clone, Debug)]
pub struct KnownCaller {
    /// Its name.
    pub name: Arc<str>,
    /// Its bearer token.
    pub token: SecretString,
    /// What its data is bound to.
    pub policy: Arc<Policy>,
}

/// Sizes and deadlines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a request.
    pub max_request_bytes: usize,
    /// Bytes of a reply, unless the caller states that it takes more.
    pub max_response_bytes: usize,
    /// Default and longest deadline of unary calls.
    pub unary_deadlines: (Duration, Duration),
    /// Default and longest deadline of streams.
    pub stream_deadlines: (Duration, Duration),
    /// Calls in flight on one connection.
    pub max_concurrent_calls: u32,
}

impl Config {
    /// Reads a file; secrets come from the process's environment and from files.
    ///
    /// # Errors
    /// With every problem found, each with its place.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let name = path.display().to_string();
        let text = fs::read_to_string(path).map_err(|error| ConfigError {
            problems: vec![Problem {
                file: name.clone(),
                line: None,
                column: None,
                message: format!("cannot be read: {error}"),
                snippet: String::new(),
            }],
        })?;
        Self::from_yaml(&text, &name, &|variable| std::env::var(variable).ok())
    }

    /// The same from a text. `file` names it in errors; `environment` looks variables up.
    ///
    /// # Errors
    /// With every problem found, each with its place.
    pub fn from_yaml(
        text: &str,
        file: &str,
        environment: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, ConfigError> {
        resolve::resolve(text, file, environment)
    }
}

/// JSON Schema of the file, for editors.
pub fn json_schema() -> String {
    let schema = schemars::schema_for!(file::File);
    serde_json::to_string_pretty(&schema).unwrap_or_default()
}
