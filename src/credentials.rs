//! Credentials that change while the service runs: certificates, authorities, callers' tokens and resources' keys, read
//! again from their files.
use std::{sync::Arc, time::Duration};

use tracing::{info, warn};

use crate::{clock::Clock, identity::Callers, secret::Rotation, tls::ServerTls};

/// How often the files are looked at. They are small, and comparing their content misses no change, whatever the file
/// system says of times.
const INTERVAL: Duration = Duration::from_secs(5);

/// Everything that proves who somebody is, towards callers and of callers.
#[derive(Clone)]
pub struct Credentials {
    tls: Option<Arc<ServerTls>>,
    /// Those in force: another configuration may bring others.
    callers: Arc<dyn Fn() -> Arc<Callers> + Send + Sync>,
    /// Reads those that are shown to resources again.
    upstream: Arc<dyn Fn() -> Rotation + Send + Sync>,
}

impl Credentials {
    /// Those of a service: `callers` gives those in force, `upstream` reads those again that are shown to resources.
    pub fn new(
        tls: Option<Arc<ServerTls>>,
        callers: impl Fn() -> Arc<Callers> + Send + Sync + 'static,
        upstream: impl Fn() -> Rotation + Send + Sync + 'static,
    ) -> Self {
        Self { tls, callers: Arc::new(callers), upstream: Arc::new(upstream) }
    }

    /// Reads every file again and takes over what changed. No call is interrupted: connections keep what they were
    /// made with, but are judged by what is believed now. What cannot be used changes nothing. Blocks on files.
    pub fn rotate(&self) -> Rotation {
        let tls = self.tls.as_ref().map(|tls| tls.rotate(Clock::today())).unwrap_or_default();
        tls.and((self.callers)().rotate()).and((self.upstream)())
    }

    /// Rotates whenever a file changes, for ever. Each change is told once, and so is each problem.
    pub async fn keep_fresh(&self) {
        let mut told = Vec::new();
        loop {
            tokio::time::sleep(INTERVAL).await;
            let credentials = self.clone();
            let Ok(rotation) = tokio::task::spawn_blocking(move || credentials.rotate()).await else { continue };
            for what in &rotation.renewed {
                info!(what, "read again and in use");
            }
            for problem in rotation.kept.iter().filter(|problem| !told.contains(*problem)) {
                warn!(problem, "cannot be used as it is now; the old one stays in use");
            }
            told = rotation.kept;
        }
    }
}
