//! Simulated identity endpoints: where tokens of Entra ID come from.
//!
//! | request | stands for |
//! |---|---|
//! | `POST /{tenant}/oauth2/v2.0/token` | Entra ID: `client_credentials` with a secret or with a cluster's token |
//! | `GET /metadata/identity/oauth2/token`, `Metadata: true` | managed identity of a virtual machine (IMDS) |
//! | `GET /msi/token`, `X-IDENTITY-HEADER` | managed identity of App Service and Container Apps (`IDENTITY_ENDPOINT`) |
//!
//! Shapes: contract section 8. A region accepts the tokens until they expire, if its
//! [`RegionSettings::issued_tokens`](super::RegionSettings::issued_tokens) are this endpoint's.
//!
//! `GET /_simulator/state`, `PUT /_simulator/fault` with an [`IdentityFault`], `DELETE /_simulator/fault` and
//! `POST /_simulator/revoke` (no token that was issued so far is accepted any more) need no credentials.
mod answer;
mod issued;

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpListener,
};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

pub use self::issued::IssuedTokens;
use super::listener::bind;

/// Whom a simulated identity endpoint knows.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct IdentitySettings {
    /// Directory (tenant) id.
    pub tenant_id: String,
    /// Secret of every application.
    pub client_secret: SecretString,
    /// Tokens of the cluster that are exchanged.
    pub assertions: Vec<SecretString>,
    /// What `X-IDENTITY-HEADER` must say.
    pub identity_header: SecretString,
    /// Life of a token, in seconds.
    pub lifetime_seconds: u64,
}

impl Default for IdentitySettings {
    fn default() -> Self {
        Self {
            tenant_id: "simulated-tenant".to_owned(),
            client_secret: SecretString::from("simulated-secret"),
            assertions: vec![SecretString::from("simulated-assertion")],
            identity_header: SecretString::from("simulated-identity-header"),
            lifetime_seconds: 3600,
        }
    }
}

/// How the endpoint fails, until told otherwise.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, PartialEq, Eq)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum IdentityFault {
    /// This status, with an HTML body.
    Status {
        /// Such as 503.
        status: u16,
    },
    /// 400 as for a wrong secret (`AADSTS7000215`), or as for an identity that is not assigned.
    InvalidClient,
    /// No answer at all.
    Hang,
    /// Tokens that have expired when they come.
    Expired,
    /// 200 with something that is no token.
    Malformed,
}

/// A running identity endpoint. Dropping it stops it.
pub struct SimulatedIdentity {
    endpoint: Arc<Endpoint>,
    address: SocketAddr,
    stopped: CancellationToken,
}

/// What all requests share.
struct Endpoint {
    settings: IdentitySettings,
    assertions: Mutex<Vec<SecretString>>,
    tokens: IssuedTokens,
    fault: Mutex<Option<IdentityFault>>,
    requests: AtomicU64,
    serial: AtomicU64,
}

impl SimulatedIdentity {
    /// Starts an endpoint in plain text on `address`; port 0 picks a free one. Must be called within a Tokio runtime.
    ///
    /// # Errors
    /// When the address cannot be bound.
    pub fn start(settings: IdentitySettings, address: SocketAddr) -> io::Result<Self> {
        Self::launch(settings, address, None)
    }

    /// As [`start`](Self::start), over TLS.
    ///
    /// # Errors
    /// When the address cannot be bound.
    pub fn start_tls(
        settings: IdentitySettings,
        address: SocketAddr,
        tls: Arc<rustls::ServerConfig>,
    ) -> io::Result<Self> {
        Self::launch(settings, address, Some(tls.into()))
    }

    fn launch(settings: IdentitySettings, address: SocketAddr, tls: Option<TlsAcceptor>) -> io::Result<Self> {
        let listener = bind(address)?;
        let address = listener.local_addr()?;
        let endpoint = Arc::new(Endpoint {
            assertions: Mutex::new(settings.assertions.clone()),
            settings,
            tokens: IssuedTokens::default(),
            fault: Mutex::default(),
            requests: AtomicU64::default(),
            serial: AtomicU64::default(),
        });
        let stopped = CancellationToken::new();
        tokio::spawn(accept(Arc::clone(&endpoint), listener, tls, stopped.clone()));
        Ok(Self { endpoint, address, stopped })
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it has issued, for the regions that are to accept it.
    #[must_use]
    pub fn tokens(&self) -> IssuedTokens {
        self.endpoint.tokens.clone()
    }

    /// Fails like this from now on; `None`: works.
    pub fn fail(&self, fault: Option<IdentityFault>) {
        self.endpoint.fail(fault);
    }

    /// Exchanges these tokens of the cluster from now on, and no others.
    pub fn trust(&self, assertions: impl IntoIterator<Item = SecretString>) {
        let mut known = self.endpoint.assertions.lock().unwrap_or_else(PoisonError::into_inner);
        *known = assertions.into_iter().collect();
    }

    /// Requests for a token so far, whatever came of them.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.endpoint.requests.load(Relaxed)
    }
}

impl Drop for SimulatedIdentity {
    fn drop(&mut self) {
        self.stopped.cancel();
    }
}

impl Endpoint {
    fn fail(&self, fault: Option<IdentityFault>) {
        *self.fault.lock().unwrap_or_else(PoisonError::into_inner) = fault;
    }

    fn fault(&self) -> Option<IdentityFault> {
        *self.fault.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn accept(endpoint: Arc<Endpoint>, listener: TcpListener, tls: Option<TlsAcceptor>, stopped: CancellationToken) {
    while let Some(accepted) = stopped.run_until_cancelled(listener.accept()).await {
        let Ok((stream, _)) = accepted else {
            // Out of file descriptors, or a connection that died in the queue: the loop must outlive both.
            tokio::time::sleep(Duration::from_millis(5)).await;
            continue;
        };
        let (endpoint, tls, stopped) = (Arc::clone(&endpoint), tls.clone(), stopped.clone());
        tokio::spawn(stopped.run_until_cancelled_owned(async move {
            let Some(tls) = tls else { return serve(endpoint, stream).await };
            // A handshake that fails is the client's to judge.
            if let Ok(stream) = tls.accept(stream).await {
                serve(endpoint, stream).await;
            }
        }));
    }
}

async fn serve(endpoint: Arc<Endpoint>, stream: impl AsyncRead + AsyncWrite + Unpin) {
    let service = service_fn(|request| {
        let endpoint = Arc::clone(&endpoint);
        async move { Ok::<_, std::convert::Infallible>(endpoint.answer(request).await) }
    });
    // How a connection ended is the client's to judge.
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}
