//! Azure's control plane (ARM), read only: what a resource's deployments really are. Source: contract section 7.
//!
//! It says what the data plane does not: the SKU, and with it where Azure may compute, and whether a deployment spills
//! over to another one.
use std::{net::IpAddr, time::Duration};

use http::{HeaderMap, HeaderValue, StatusCode, header::AUTHORIZATION};
use reqwest::{Client, Url, redirect, retry};
use sealane_core::domain::normalise_region;
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, de::DeserializeOwned};
use thiserror::Error;
use tokio::time::Instant;

use super::{
    client::read,
    resolver::{ForbiddenAddress, PublicResolver, check_address},
};

/// The version of the API that has `spilloverDeploymentName`.
const API_VERSION: &str = "2024-10-01";

/// For one answer of the control plane, which is not quick.
const LIMIT: Duration = Duration::from_secs(30);

/// A page of deployments has some kilobytes.
const MAX_BYTES: usize = 4 << 20;

/// No resource has so many deployments; a list that never ends is not believed.
const MAX_PAGES: usize = 32;

/// Where the control plane knows a resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArmAccount {
    /// Subscription id.
    pub subscription: String,
    /// Resource group.
    pub resource_group: String,
    /// Name of the Azure OpenAI account.
    pub account: String,
}

/// What the control plane says of a resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArmResource {
    /// Normalised region.
    pub region: String,
    /// First label of the host under which Azure serves it.
    pub subdomain: Option<String>,
    /// All of its deployments.
    pub deployments: Vec<ArmDeployment>,
}

/// What the control plane says of a deployment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArmDeployment {
    /// Its name.
    pub name: String,
    /// `sku.name`, verbatim: there may be more than this version knows.
    pub sku: String,
    /// Azure's name of the model.
    pub model: String,
    /// The model's version.
    pub version: String,
    /// The deployment that it spills over to.
    pub spillover: Option<String>,
}

/// Why the control plane says nothing.
#[derive(Debug, Error)]
pub enum ArmError {
    /// It can never be asked.
    #[error("the address of the control plane must begin with `https://` (`http://` on loopback only)")]
    Endpoint,
    /// It can never be asked.
    #[error(transparent)]
    Address(#[from] ForbiddenAddress),
    /// The token cannot be a header's value.
    #[error("the token holds characters that no HTTP header may carry")]
    Token,
    /// It cannot be reached.
    #[error("the control plane cannot be reached")]
    Unreachable(#[source] reqwest::Error),
    /// It refuses.
    #[error("the control plane answers HTTP {}{}", .0.as_u16(), hint(*.0))]
    Refused(StatusCode),
    /// It answers with something else.
    #[error("the control plane's answer cannot be understood")]
    Malformed,
    /// The list goes on somewhere that must not see the token.
    #[error("the control plane's list goes on at another address, which is not followed")]
    Elsewhere,
}

fn hint(status: StatusCode) -> &'static str {
    match status {
        StatusCode::UNAUTHORIZED => {
            ": the token is not accepted; is it for https://management.azure.com and still valid?"
        }
        StatusCode::FORBIDDEN => ": the token's owner may not read this resource; `Reader` on it suffices",
        StatusCode::NOT_FOUND => ": there is no such subscription, resource group or account",
        _ => "",
    }
}

/// The control plane, with a token to read it.
#[derive(Debug)]
pub struct Arm {
    client: Client,
    endpoint: Url,
}

impl Arm {
    /// `endpoint` is `https://management.azure.com` but for sovereign clouds; `token` a bearer token for it.
    ///
    /// # Errors
    /// When the address or the token can never be used.
    pub fn new(endpoint: Url, token: &SecretString) -> Result<Self, ArmError> {
        let host = endpoint.host_str().unwrap_or_default();
        let address: Option<IpAddr> = host.trim_matches(['[', ']']).parse().ok();
        if let Some(address) = address {
            check_address(address)?;
        }
        let loopback = address.map_or(host == "localhost", |address| address.is_loopback());
        if !(endpoint.scheme() == "https" || endpoint.scheme() == "http" && loopback) {
            return Err(ArmError::Endpoint);
        }
        let bearer = format!("Bearer {}", token.expose_secret());
        let mut bearer = HeaderValue::try_from(bearer).map_err(|_| ArmError::Token)?;
        bearer.set_sensitive(true);
        let client = Client::builder()
            .default_headers(HeaderMap::from_iter([(AUTHORIZATION, bearer)]))
            .redirect(redirect::Policy::none())
            .retry(retry::never())
            .no_proxy()
            .referer(false)
            .dns_resolver(PublicResolver)
            .timeout(LIMIT)
            .user_agent(concat!("sealane/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(ArmError::Unreachable)?;
        Ok(Self { client, endpoint })
    }

    /// Reads a resource and all its deployments.
    ///
    /// # Errors
    /// When the control plane cannot be reached, refuses, or answers with something else.
    pub async fn read(&self, account: &ArmAccount) -> Result<ArmResource, ArmError> {
        let about: wire::Account = self.get(self.url(account, None)).await?;
        let mut deployments = Vec::new();
        let mut next = Some(self.url(account, Some("deployments")));
        for _ in 0..MAX_PAGES {
            let Some(url) = next else { break };
            let page: wire::Page = self.get(url).await?;
            deployments.extend(page.value.into_iter().map(ArmDeployment::from));
            next = page.next_link.filter(|link| !link.is_empty()).map(|link| self.follow(&link)).transpose()?;
        }
        Ok(ArmResource {
            region: normalise_region(&about.location),
            subdomain: about.properties.and_then(|properties| properties.custom_sub_domain_name),
            deployments,
        })
    }

    fn url(&self, account: &ArmAccount, below: Option<&str>) -> Url {
        let ArmAccount { subscription, resource_group, account } = account;
        let mut url = self.endpoint.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(["subscriptions", subscription, "resourceGroups", resource_group]);
            path.extend(["providers", "Microsoft.CognitiveServices", "accounts", account]).extend(below);
        }
        url.query_pairs_mut().append_pair("api-version", API_VERSION);
        url
    }

    /// The token goes along, so only to where it belongs.
    fn follow(&self, link: &str) -> Result<Url, ArmError> {
        let url: Url = link.parse().map_err(|_| ArmError::Malformed)?;
        if url.origin() == self.endpoint.origin() { Ok(url) } else { Err(ArmError::Elsewhere) }
    }

    async fn get<T: DeserializeOwned>(&self, url: Url) -> Result<T, ArmError> {
        let response = self.client.get(url).send().await.map_err(|error| ArmError::Unreachable(error.without_url()))?;
        match response.status() {
            StatusCode::OK => {}
            status => return Err(ArmError::Refused(status)),
        }
        let body = read(response, MAX_BYTES, Instant::now() + LIMIT).await.map_err(|_| ArmError::Malformed)?;
        serde_json::from_slice(&body).map_err(|_| ArmError::Malformed)
    }
}

impl From<wire::Deployment> for ArmDeployment {
    fn from(deployment: wire::Deployment) -> Self {
        let wire::Deployment { name, sku, properties } = deployment;
        Self {
            name,
            sku: sku.name,
            model: properties.model.name,
            version: properties.model.version,
            spillover: properties.spillover_deployment_name.filter(|name| !name.is_empty()),
        }
    }
}

/// The control plane's JSON, as far as it matters here.
mod wire {
    use super::Deserialize;

    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    pub(super) struct Account {
        pub(super) location: String,
        #[serde(default)]
        pub(super) properties: Option<AccountProperties>,
    }

    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    pub(super) struct AccountProperties {
        #[serde(default)]
        pub(super) custom_sub_domain_name: Option<String>,
    }

    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    pub(super) struct Page {
        pub(super) value: Vec<Deployment>,
        #[serde(default)]
        pub(super) next_link: Option<String>,
    }

    #[derive(Deserialize)]
    pub(super) struct Deployment {
        pub(super) name: String,
        pub(super) sku: Sku,
        pub(super) properties: Properties,
    }

    #[derive(Deserialize)]
    pub(super) struct Sku {
        pub(super) name: String,
    }

    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    pub(super) struct Properties {
        pub(super) model: Model,
        #[serde(default)]
        pub(super) spillover_deployment_name: Option<String>,
    }

    #[derive(Default, Deserialize)]
    #[serde(default)]
    pub(super) struct Model {
        pub(super) name: String,
        pub(super) version: String,
    }
}
