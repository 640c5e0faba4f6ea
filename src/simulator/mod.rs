//! A simulated Azure OpenAI region: the upstream of the demo, the tests and the benches.
//!
//! It speaks the data plane of Azure OpenAI over real sockets: chat completions (unary and streamed), embeddings and the
//! models list, on dated paths (`/openai/deployments/{name}/...?api-version=2024-10-21`) and on v1 paths
//! (`/openai/v1/...`), with Azure's headers, errors and limits. Answers are a pure function of the request, so a stream
//! and a unary answer to the same request say the same, and two regions embed a text alike. Tokens are an estimate:
//! characters / 4 of a prompt; one word, or four characters of JSON, of an answer.
//!
//! ```no_run
//! # async fn example() -> std::io::Result<()> {
//! use sealane::simulator::{Fault, RegionSettings, SimulatedRegion};
//!
//! let region = SimulatedRegion::start(RegionSettings::default(), ([127, 0, 0, 1], 0).into())?;
//! println!("http://{}/openai/v1/chat/completions, api-key simulated-key", region.address());
//! region.faults().add(Fault::StreamReset { at: 3 });
//! region.stop().await;
//! # Ok(())
//! # }
//! ```
//!
//! # Words in a prompt
//! [`PROMPT_BLOCK_WORD`] blocks the prompt (400 `content_filter`), [`OUTPUT_BLOCK_WORD`] the output, with
//! [`FILTER_OUTAGE_WORD`] the filter is down, [`CODE_CITATION_WORD`] makes it find published code, and [`REFUSAL_WORD`] makes
//! the model decline. A tool is called when its
//! name occurs in the last user message, or as `tool_choice` demands.
//!
//! # Control API
//! JSON over HTTP, without credentials, on the region's own port under `/_simulator/` and, when started with
//! [`SimulatedRegion::start_with_control`], on a second port:
//!
//! | request | does |
//! |---|---|
//! | `GET /_simulator/state` | the region's name, deployments, counts, faults and last trace contexts; no content |
//! | `GET /_simulator/faults` | the rules in force, an array of [`FaultRule`] |
//! | `PUT /_simulator/faults` | puts exactly the rules of the body's array in force |
//! | `POST /_simulator/faults` | adds the one rule in the body |
//! | `DELETE /_simulator/faults` | ends all faults |
//! | `PUT /_simulator/listening` with `{"listening": false}` | second port only: connections are refused, or accepted again |
//!
//! A rule is `{"fault": {"kind": "status", "status": 503}, "operation": "chat", "deployment": "gpt-4o", "ratio": 0.5,
//! "times": 3, "min_body_bytes": 1000}`; everything but `fault` may be absent. [`Fault`] lists the kinds.
//!
//! # Identity endpoints
//! [`SimulatedIdentity`] issues the tokens that regions with its
//! [`issued_tokens`](RegionSettings::issued_tokens) accept until they expire.
//!
//! # Two ways to be down
//! [`Fault::Down`] resets open connections and every further request, yet accepts connections, so that the control API
//! stays on the same port. [`SimulatedRegion::refuse_connections`] truly closes the port: connects are refused until
//! [`SimulatedRegion::accept_connections`] binds the same port again.
mod address;
mod answer;
mod body;
mod chance;
mod chat;
mod chat_shape;
mod control;
mod counters;
mod embedding;
mod fault;
mod faults;
mod headers;
mod identity;
mod limiter;
mod listener;
mod refusal;
mod request;
mod schema;
mod service;
mod settings;
mod shape;
mod stream;
mod validate;
mod words;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub use self::answer::{CODE_CITATION_WORD, FILTER_OUTAGE_WORD, OUTPUT_BLOCK_WORD, PROMPT_BLOCK_WORD, REFUSAL_WORD};
pub use self::counters::{CapturedRequest, Counters};
pub use self::fault::{ErrorBody, Fault, FaultRule, FilterMode, Operation};
pub use self::faults::Faults;
pub use self::identity::{IdentityFault, IdentitySettings, IssuedTokens, SimulatedIdentity};
use self::listener::{Shared, Switch, accept, bind};
use self::service::Region;
pub use self::settings::{DeploymentKind, DeploymentSettings, Latency, RegionSettings};

/// A running simulated region. Dropping it stops it.
pub struct SimulatedRegion {
    region: Arc<Region>,
    address: SocketAddr,
    control_address: Option<SocketAddr>,
    switch: Switch,
    stopped: CancellationToken,
    accepting: Vec<JoinHandle<()>>,
}

impl SimulatedRegion {
    /// Starts a region on `address`; port 0 picks a free one. Must be called within a Tokio runtime.
    ///
    /// # Errors
    /// When the address cannot be bound.
    pub fn start(settings: RegionSettings, address: SocketAddr) -> io::Result<Self> {
        Self::launch(settings, address, None)
    }

    /// As [`Self::start`], with the control API also on a port of its own, which stays reachable while the region
    /// refuses connections.
    ///
    /// # Errors
    /// When an address cannot be bound.
    pub fn start_with_control(settings: RegionSettings, address: SocketAddr, control: SocketAddr) -> io::Result<Self> {
        Self::launch(settings, address, Some(control))
    }

    fn launch(mut settings: RegionSettings, address: SocketAddr, control: Option<SocketAddr>) -> io::Result<Self> {
        let (cut, _) = watch::channel(0);
        let faults = Faults::new(std::mem::take(&mut settings.faults), settings.seed, cut.clone());
        let region = Arc::new(Region::new(settings, faults));
        let stopped = CancellationToken::new();
        let (switch, commands) = Switch::new();
        let shared =
            Shared { region: Arc::clone(&region), cut: cut.subscribe(), stopped: stopped.clone(), switch: None };

        let listener = bind(address)?;
        let address = listener.local_addr()?;
        let control_listener = control.map(bind).transpose()?;
        let control_address = control_listener.as_ref().map(tokio::net::TcpListener::local_addr).transpose()?;
        let mut accepting = vec![tokio::spawn(accept(shared.clone(), listener, address, commands))];
        if let (Some(listener), Some(address)) = (control_listener, control_address) {
            // Nothing switches the control port itself, so its commands never come.
            let (_, commands) = Switch::new();
            let shared = Shared { switch: Some(switch.clone()), ..shared };
            accepting.push(tokio::spawn(accept(shared, listener, address, commands)));
        }
        Ok(Self { region, address, control_address, switch, stopped, accepting })
    }

    /// Where the region listens, or did before it refused connections.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where the control API's own port is, if there is one.
    #[must_use]
    pub const fn control_address(&self) -> Option<SocketAddr> {
        self.control_address
    }

    /// A handle that switches faults.
    #[must_use]
    pub fn faults(&self) -> Faults {
        self.region.faults.clone()
    }

    /// A view of what the region has seen.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.region.counters.clone()
    }

    /// Closes the port and resets every open connection. On return connects are refused.
    ///
    /// # Errors
    /// When the region has stopped.
    pub async fn refuse_connections(&self) -> io::Result<()> {
        self.switch.set(false).await
    }

    /// Listens again on the same port.
    ///
    /// # Errors
    /// When the port has been taken meanwhile, or the region has stopped.
    pub async fn accept_connections(&self) -> io::Result<()> {
        self.switch.set(true).await
    }

    /// Closes the port and resets every open connection, for good.
    pub async fn stop(mut self) {
        self.stopped.cancel();
        for task in self.accepting.drain(..) {
            // A task that panicked has stopped too.
            let _ = task.await;
        }
    }
}

impl Drop for SimulatedRegion {
    fn drop(&mut self) {
        self.stopped.cancel();
    }
}
