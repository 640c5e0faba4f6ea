//! HTTP towards identity endpoints, beneath the identity library: our own client, no redirects, no proxy from the
//! environment, bounded answers.
use std::{
    fmt,
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicU16, Ordering::Relaxed},
    },
    time::Duration,
};

use azure_core::{
    Error,
    error::ErrorKind,
    http::{AsyncRawResponse, HttpClient, Method, Request, headers::Headers},
};
use http::HeaderMap;
use reqwest::{Client, redirect, retry};
use thiserror::Error;
use tokio::time::Instant;

use super::{super::client::read, settings::Identity};
use crate::azure::{
    failure,
    resolver::{PublicResolver, check_address},
};

/// A token and its frame have some kilobytes; with many groups in it, some more.
const MAX_BYTES: usize = 1 << 20;

/// The identity library bounds nothing itself. Each request also has a limit of its own, which is shorter.
const LIMIT: Duration = Duration::from_secs(30);

/// What sends requests for tokens. Replaced by tests, whose identity endpoint is on loopback.
#[derive(Clone)]
pub struct IdentityTransport(Arc<dyn HttpClient>);

impl fmt::Debug for IdentityTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("IdentityTransport")
    }
}

/// The address is not one that this credential may lead to.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("the identity endpoint's address is never called")]
pub(super) struct ForbiddenEndpoint;

/// There is no answer.
#[derive(Debug, Error)]
pub(super) enum Unanswered {
    /// No connection, or one that broke.
    #[error("the identity endpoint cannot be reached ({0})")]
    Transport(&'static str),
    /// It broke off, or was too large.
    #[error("the identity endpoint's answer cannot be read")]
    Body,
}

impl IdentityTransport {
    /// Sends through another client than our own.
    pub fn through(client: Arc<dyn HttpClient>) -> Self {
        Self(client)
    }

    /// Our own client, for what `identity` needs.
    ///
    /// # Errors
    /// When there are no TLS roots, and the like.
    pub(super) fn for_identity(identity: &Identity) -> reqwest::Result<Self> {
        let of_platform = matches!(identity, Identity::Managed(_));
        let builder = Client::builder()
            .redirect(redirect::Policy::none())
            .retry(retry::never())
            .no_proxy()
            .referer(false)
            .connect_timeout(Duration::from_secs(5))
            // A token is asked for twice an hour.
            .pool_max_idle_per_host(0);
        let builder = if of_platform { builder } else { builder.https_only(true).dns_resolver(PublicResolver) };
        Ok(Self(Arc::new(Direct { client: builder.build()?, of_platform })))
    }

    /// The same, noting the status of the last answer.
    pub(super) fn noting(&self) -> (Arc<dyn HttpClient>, Arc<AtomicU16>) {
        let status = Arc::<AtomicU16>::default();
        (Arc::new(Noting { client: Arc::clone(&self.0), status: Arc::clone(&status) }), status)
    }
}

#[derive(Debug)]
struct Direct {
    client: Client,
    /// The platform says where managed identities are: link-local and in plain text, 169.254.169.254 on virtual
    /// machines, whatever `IDENTITY_ENDPOINT` names elsewhere. Nothing else may lead there.
    of_platform: bool,
}

#[async_trait::async_trait]
impl HttpClient for Direct {
    async fn execute_request(&self, request: &Request) -> azure_core::Result<AsyncRawResponse> {
        let url = request.url();
        let literal = url.host_str().and_then(|host| host.trim_matches(['[', ']']).parse::<IpAddr>().ok());
        if !self.of_platform && literal.is_some_and(|address| check_address(address).is_err()) {
            return Err(Error::new(ErrorKind::Other, ForbiddenEndpoint));
        }
        let unanswered = |kind, why| Error::new(kind, why);
        let mut asking = match request.method() {
            Method::Post => self.client.post(url.clone()),
            _ => self.client.get(url.clone()),
        };
        for (name, value) in request.headers().iter() {
            asking = asking.header(name.as_str(), value.as_str());
        }
        let azure_core::http::Body::Bytes(body) = request.body().clone() else {
            return Err(unanswered(ErrorKind::Other, Unanswered::Body));
        };
        let response = asking.body(body).send().await.map_err(|error| {
            unanswered(ErrorKind::Connection, Unanswered::Transport(failure::transport(&error).as_str()))
        })?;
        let (status, headers) = (response.status().as_u16(), headers(response.headers()));
        let body = read(response, MAX_BYTES, Instant::now() + LIMIT).await;
        let body = body.map_err(|_| unanswered(ErrorKind::Io, Unanswered::Body))?;
        Ok(AsyncRawResponse::from_bytes(status.into(), headers, body))
    }
}

fn headers(map: &HeaderMap) -> Headers {
    let text = map.iter().filter_map(|(name, value)| Some((name.as_str().to_owned(), value.to_str().ok()?.to_owned())));
    let mut headers = Headers::new();
    text.for_each(|(name, value)| headers.insert(name, value));
    headers
}

#[derive(Debug)]
struct Noting {
    client: Arc<dyn HttpClient>,
    status: Arc<AtomicU16>,
}

#[async_trait::async_trait]
impl HttpClient for Noting {
    async fn execute_request(&self, request: &Request) -> azure_core::Result<AsyncRawResponse> {
        self.status.store(0, Relaxed);
        let response = self.client.execute_request(request).await?;
        self.status.store(u16::from(response.status()), Relaxed);
        Ok(response)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::secret::{Form, Secret};

    /// What a request to `url` ends with, as this identity.
    async fn ask(identity: &Identity, url: &str) -> String {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let transport = IdentityTransport::for_identity(identity).unwrap();
        let request = Request::new(url.parse().unwrap(), Method::Get);
        let outcome = transport.0.execute_request(&request).await;
        outcome.map(|response| response.status().to_string()).unwrap_or_else(|error| error.to_string())
    }

    #[tokio::test]
    async fn only_the_platforms_own_identities_lead_to_its_addresses() {
        let secret = Identity::ClientSecret {
            tenant_id: "tenant".into(),
            client_id: "client".into(),
            secret: Secret::fixed("secret", Form::Word).unwrap(),
            authority: "https://login.test/".parse().unwrap(),
        };
        for url in ["https://169.254.169.254/", "https://[fe80::1]/", "https://168.63.129.16/"] {
            assert_eq!(ask(&secret, url).await, ForbiddenEndpoint.to_string(), "{url}");
        }
        // Where nobody listens: refused by the machine for the one, before it is tried for the other.
        let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let url = format!("http://{closed}/");
        assert_eq!(ask(&Identity::Managed(None), &url).await, Unanswered::Transport("connection_refused").to_string());
        assert_ne!(ask(&secret, &url).await, Unanswered::Transport("connection_refused").to_string());
    }
}
