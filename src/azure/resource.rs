//! One place that is called: its HTTP client, its credentials, and its addresses. No redirects, no proxy from the
//! environment.
use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use http::{HeaderMap, HeaderValue, header::CONTENT_TYPE};
use reqwest::{Client, Url, redirect, retry};
use thiserror::Error;

use super::{
    IdentityTransport, PathStyle, ResourceSettings,
    credential::{Credentials, Proof, Tokens, Unusable},
    failure,
    resolver::{ForbiddenAddress, PublicResolver, check_address},
};
use crate::upstream::Destination;

#[derive(Debug)]
pub(super) struct Resource {
    pub(super) client: Client,
    pub(super) credentials: Credentials,
    pub(super) settings: ResourceSettings,
    /// Of chat completions, and of embeddings.
    pub(super) destinations: [Destination; 2],
    /// Addresses by operation and deployment; as many as the configuration has targets.
    urls: RwLock<HashMap<(Operation, Arc<str>), Url>>,
}

/// Why a resource cannot be called at all.
#[derive(Debug, Error)]
pub enum BuildError {
    /// No TLS roots, and the like.
    #[error("resource {resource}: the HTTP client cannot be built: {source}")]
    Client {
        /// Configured name.
        resource: String,
        /// Why.
        source: reqwest::Error,
    },
    /// The credential cannot be a header's value.
    #[error("resource {resource}: the key holds characters that no HTTP header may carry")]
    Credential {
        /// Configured name.
        resource: String,
    },
    /// Neither `https` nor `http`. Where `http` may lead is for the configuration to decide.
    #[error("resource {resource}: the endpoint must be an https or http address")]
    Endpoint {
        /// Configured name.
        resource: String,
    },
    /// The endpoint is an address that is never called.
    #[error("resource {resource}: {source}")]
    Address {
        /// Configured name.
        resource: String,
        /// Why.
        source: ForbiddenAddress,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Operation {
    Chat,
    Embeddings,
}

impl Operation {
    fn path(self) -> &'static str {
        match self {
            Self::Chat => "chat/completions",
            Self::Embeddings => "embeddings",
        }
    }
}

/// HTTP/2 alone can say that a request was not processed: it may then be sent again, once, and is the same attempt.
fn once_if_unprocessed() -> retry::Builder {
    // The scope is every host that this client calls, which is one.
    let again = retry::for_host(AnyHost).max_retries_per_request(1).no_budget();
    again.classify_fn(|sent| match sent.error() {
        Some(error) if failure::is_unprocessed(error) => sent.retryable(),
        _ => sent.success(),
    })
}

struct AnyHost;

impl PartialEq<&str> for AnyHost {
    fn eq(&self, _: &&str) -> bool {
        true
    }
}

/// A client with a pool of its own.
pub(super) fn client(settings: &ResourceSettings) -> reqwest::Result<Client> {
    let mut headers = HeaderMap::with_capacity(1);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Client::builder()
        .default_headers(headers)
        .redirect(redirect::Policy::none())
        .retry(once_if_unprocessed())
        .no_proxy()
        .referer(false)
        .dns_resolver(PublicResolver)
        .connect_timeout(settings.connect_timeout)
        .tcp_nodelay(true)
        .tcp_keepalive(Duration::from_secs(15))
        .pool_idle_timeout(Duration::from_secs(30))
        .http2_keep_alive_interval(Duration::from_secs(10))
        .http2_keep_alive_timeout(Duration::from_secs(5))
        .http2_keep_alive_while_idle(true)
        .http2_adaptive_window(true)
        .http2_max_header_list_size(64 << 10)
        .user_agent(concat!("sealane/", env!("CARGO_PKG_VERSION")))
        .build()
}

fn destination(settings: &ResourceSettings, path: &PathStyle) -> Destination {
    Destination {
        host: settings.endpoint.host_str().map(Arc::from),
        port: settings.endpoint.port_or_known_default(),
        api_version: match path {
            PathStyle::Dated { api_version } => Some(api_version.as_str().into()),
            PathStyle::V1 => None,
        },
    }
}

impl Resource {
    pub(super) fn new(
        settings: ResourceSettings,
        tokens: &mut Vec<Arc<Tokens>>,
        transport: Option<&IdentityTransport>,
    ) -> Result<Self, BuildError> {
        let resource = || settings.name.to_string();
        if !matches!(settings.endpoint.scheme(), "https" | "http") {
            return Err(BuildError::Endpoint { resource: resource() });
        }
        let literal =
            settings.endpoint.host_str().and_then(|host| host.trim_matches(['[', ']']).parse::<IpAddr>().ok());
        if let Some(address) = literal {
            check_address(address).map_err(|source| BuildError::Address { resource: resource(), source })?;
        }
        let client = client(&settings).map_err(|source| BuildError::Client { resource: resource(), source })?;
        let credentials = Credentials::new(&settings, tokens, transport).map_err(|unusable| match unusable {
            Unusable::Key(_) => BuildError::Credential { resource: resource() },
            Unusable::Client(source) => BuildError::Client { resource: resource(), source },
        })?;
        let destinations = [&settings.chat_path, &settings.embeddings_path].map(|path| destination(&settings, path));
        Ok(Self { client, credentials, settings, destinations, urls: RwLock::default() })
    }

    pub(super) fn proof(&self, operation: Operation) -> &Proof {
        match operation {
            Operation::Chat => &self.credentials.chat,
            Operation::Embeddings => &self.credentials.embeddings,
        }
    }

    fn style(&self, operation: Operation) -> &PathStyle {
        match operation {
            Operation::Chat => &self.settings.chat_path,
            Operation::Embeddings => &self.settings.embeddings_path,
        }
    }

    /// On the v1 path the body names the deployment, on the dated one the path does.
    pub(super) fn deployment_in_body<'a>(&self, operation: Operation, deployment: &'a str) -> Option<&'a str> {
        matches!(self.style(operation), PathStyle::V1).then_some(deployment)
    }

    pub(super) fn url(&self, operation: Operation, deployment: &Arc<str>) -> Url {
        let key = (operation, Arc::clone(deployment));
        if let Some(known) = self.urls.read().unwrap_or_else(PoisonError::into_inner).get(&key) {
            return known.clone();
        }
        let url = self.build_url(operation, deployment);
        self.urls.write().unwrap_or_else(PoisonError::into_inner).insert(key, url.clone());
        url
    }

    fn build_url(&self, operation: Operation, deployment: &str) -> Url {
        let mut url = self.settings.endpoint.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().push("openai");
            match self.style(operation) {
                // `push` percent-encodes: no deployment name can leave its place in the path.
                PathStyle::Dated { .. } => path.push("deployments").push(deployment),
                PathStyle::V1 => path.push("v1"),
            };
            path.extend(operation.path().split('/'));
        }
        if let PathStyle::Dated { api_version } = self.style(operation) {
            url.query_pairs_mut().append_pair("api-version", api_version);
        }
        url
    }

    pub(super) fn models_url(&self) -> Url {
        let mut url = self.settings.endpoint.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().push("openai");
            if self.settings.chat_path == PathStyle::V1 {
                path.push("v1");
            }
            path.push("models");
        }
        if let PathStyle::Dated { api_version } = &self.settings.chat_path {
            url.query_pairs_mut().append_pair("api-version", api_version);
        }
        url
    }
}
