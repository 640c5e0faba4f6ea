//! How a resource wants to be convinced, as the configuration says it.
use std::{fmt, path::PathBuf, sync::Arc};

use reqwest::Url;

use super::super::settings::PathStyle;
use crate::secret::Secret;

/// How the service proves itself to a resource. Secrets in it are never printed.
#[derive(Clone, Debug)]
pub enum Credential {
    /// One of the resource's two keys, sent as `api-key`.
    ApiKey(Secret),
    /// A token of Entra ID, sent as `Authorization: Bearer`.
    Entra(Entra),
}

impl PartialEq for Credential {
    /// A key that is kept in the same file is the same: it follows what is in there.
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::ApiKey(one), Self::ApiKey(another)) => one.is_same_source(another),
            (Self::Entra(one), Self::Entra(another)) => one == another,
            _ => false,
        }
    }
}

impl fmt::Display for Credential {
    /// For people: names the kind and who it is, never a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ApiKey(_) => f.write_str("key"),
            Self::Entra(entra) => entra.identity.fmt(f),
        }
    }
}

/// A token of Entra ID: whose, and what for.
#[derive(Clone, Debug, PartialEq)]
pub struct Entra {
    /// Whose.
    pub identity: Arc<Identity>,
    /// What for; `None`: as [`default_scope`] says.
    pub scope: Option<Arc<str>>,
}

impl Entra {
    /// What for, on this family of addresses.
    pub(in crate::azure) fn scope_for(&self, style: &PathStyle) -> Arc<str> {
        self.scope.clone().unwrap_or_else(|| default_scope(style).into())
    }
}

/// What Azure asks for on each family of addresses. Source: contract section 8.
pub fn default_scope(style: &PathStyle) -> &'static str {
    match style {
        PathStyle::Dated { .. } => "https://cognitiveservices.azure.com/.default",
        PathStyle::V1 => "https://ai.azure.com/.default",
    }
}

/// Who the service is in Entra ID, and how it shows that it is.
#[derive(Clone, Debug)]
pub enum Identity {
    /// A token of the cluster, kept fresh in a file by Kubernetes, is exchanged for one of Entra ID.
    Workload {
        /// Directory (tenant) id.
        tenant_id: String,
        /// Application (client) id.
        client_id: String,
        /// Where the cluster keeps its token; read again for every exchange.
        token_file: PathBuf,
        /// Where tokens are exchanged; `https`.
        authority: Url,
    },
    /// The machine or container has it: App Service and Container Apps where the platform sets `IDENTITY_ENDPOINT`, else
    /// a virtual machine.
    Managed(Option<UserAssigned>),
    /// A secret of an application.
    ClientSecret {
        /// Directory (tenant) id.
        tenant_id: String,
        /// Application (client) id.
        client_id: String,
        /// Read again for every token, if it is kept in a file.
        secret: Secret,
        /// Where tokens come from; `https`.
        authority: Url,
    },
    /// Whoever is logged in with `az login`: for laptops.
    AzureCli {
        /// Directory (tenant) id. Default: that of the login.
        tenant_id: Option<String>,
    },
}

/// Which of the identities that a machine may have; without one, its own (system-assigned).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UserAssigned {
    /// By client id.
    Client(String),
    /// By object (principal) id.
    Object(String),
    /// By Azure resource id. Virtual machines only.
    Resource(String),
}

impl Identity {
    /// As the configuration calls it.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Workload { .. } => "workload_identity",
            Self::Managed(_) => "managed_identity",
            Self::ClientSecret { .. } => "client_secret",
            Self::AzureCli { .. } => "azure_cli",
        }
    }
}

impl PartialEq for Identity {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (
                Self::Workload { tenant_id, client_id, token_file, authority },
                Self::Workload { tenant_id: tenant, client_id: client, token_file: file, authority: host },
            ) => (tenant_id, client_id, token_file, authority) == (tenant, client, file, host),
            (Self::Managed(one), Self::Managed(another)) => one == another,
            (
                Self::ClientSecret { tenant_id, client_id, secret, authority },
                Self::ClientSecret { tenant_id: tenant, client_id: client, secret: other, authority: host },
            ) => (tenant_id, client_id, authority) == (tenant, client, host) && secret.is_same_source(other),
            (Self::AzureCli { tenant_id: one }, Self::AzureCli { tenant_id: another }) => one == another,
            _ => false,
        }
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "entra {}", self.kind())?;
        match self {
            Self::Workload { client_id, .. } | Self::ClientSecret { client_id, .. } => {
                write!(f, ", client {client_id}")
            }
            Self::Managed(None) => f.write_str(", system-assigned"),
            Self::Managed(Some(UserAssigned::Client(id))) => write!(f, ", client {id}"),
            Self::Managed(Some(UserAssigned::Object(id))) => write!(f, ", object {id}"),
            Self::Managed(Some(UserAssigned::Resource(id))) => write!(f, ", resource {id}"),
            Self::AzureCli { tenant_id: Some(tenant) } => write!(f, ", tenant {tenant}"),
            Self::AzureCli { tenant_id: None } => Ok(()),
        }
    }
}
