//! The `auth` section of a resource: a key, or an identity of Entra ID.
use std::{net::IpAddr, sync::Arc};

use reqwest::Url;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    problem::{Findings, Place},
    secret::Secrets,
    value::{EntraKind, Placed, Scalar as _, SecretRef, Setting},
};
use crate::{
    azure::{Credential, Entra, Identity, UserAssigned},
    secret::Form,
};

/// Azure's public cloud.
const PUBLIC_AUTHORITY: &str = "https://login.microsoftonline.com/";

/// How the service proves itself to a resource: either `api_key`, or `entra` and what it needs.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(extend("oneOf" = [{ "required": ["api_key"] }, { "required": ["entra"] }]))]
pub(super) struct Auth {
    /// One of the resource's two keys. A file is read again when it changes.
    #[serde(skip_serializing_if = "Option::is_none")]
    api_key: Option<SecretRef>,
    /// Entra ID: `workload_identity` (Kubernetes), `managed_identity` (virtual machines, App Service, Container Apps),
    /// `client_secret`, or `azure_cli` (whoever is logged in on a laptop).
    #[serde(skip_serializing_if = "Option::is_none")]
    entra: Option<Setting<EntraKind>>,
    /// Directory (tenant) id. For `client_secret`; for `workload_identity`, default: the variable `AZURE_TENANT_ID`; for
    /// `azure_cli`, default: that of the login.
    #[serde(skip_serializing_if = "Option::is_none")]
    tenant_id: Option<Setting<String>>,
    /// Application (client) id. For `client_secret`; for `workload_identity`, default: the variable `AZURE_CLIENT_ID`;
    /// for `managed_identity`: which of the assigned identities, default: the system-assigned one.
    #[serde(skip_serializing_if = "Option::is_none")]
    client_id: Option<Setting<String>>,
    /// For `managed_identity`, in place of `client_id`: object (principal) id of the identity.
    #[serde(skip_serializing_if = "Option::is_none")]
    object_id: Option<Setting<String>>,
    /// For `managed_identity`, in place of `client_id`: Azure resource id of the identity. Virtual machines only.
    #[serde(skip_serializing_if = "Option::is_none")]
    identity_resource_id: Option<Setting<String>>,
    /// For `client_secret`: the secret. A file is read again for every token.
    #[serde(skip_serializing_if = "Option::is_none")]
    client_secret: Option<SecretRef>,
    /// For `workload_identity`: where the cluster keeps its token, relative to this file's folder; read again for every
    /// token. Default: the variable `AZURE_FEDERATED_TOKEN_FILE`.
    #[serde(skip_serializing_if = "Option::is_none")]
    federated_token_file: Option<Setting<String>>,
    /// For `client_secret` and `workload_identity`: where tokens come from. Default: for `workload_identity` the variable
    /// `AZURE_AUTHORITY_HOST`; else https://login.microsoftonline.com.
    #[serde(skip_serializing_if = "Option::is_none")]
    authority_host: Option<Setting<String>>,
    /// What tokens are asked for. Default: https://cognitiveservices.azure.com/.default on dated paths,
    /// https://ai.azure.com/.default on v1 paths.
    #[serde(skip_serializing_if = "Option::is_none")]
    scope: Option<Setting<String>>,
}

impl Auth {
    /// Hides what it names.
    pub(super) fn redact(&mut self) {
        self.api_key.iter_mut().chain(&mut self.client_secret).for_each(SecretRef::redact);
        let names = [
            &mut self.tenant_id,
            &mut self.client_id,
            &mut self.object_id,
            &mut self.identity_resource_id,
            &mut self.federated_token_file,
            &mut self.authority_host,
        ];
        names.into_iter().flatten().for_each(|name| *name = "***".to_owned().into());
    }

    /// Every parameter of an identity that is written, with its name and place.
    fn parameters(&self) -> impl Iterator<Item = (&'static str, Place)> {
        let place = |setting: &Option<Setting<String>>| setting.as_ref().map(|setting| setting.place);
        [
            ("tenant_id", place(&self.tenant_id)),
            ("client_id", place(&self.client_id)),
            ("object_id", place(&self.object_id)),
            ("identity_resource_id", place(&self.identity_resource_id)),
            ("client_secret", self.client_secret.as_ref().map(|secret| secret.place)),
            ("federated_token_file", place(&self.federated_token_file)),
            ("authority_host", place(&self.authority_host)),
            ("scope", place(&self.scope)),
        ]
        .into_iter()
        .filter_map(|(name, place)| Some((name, place?)))
    }
}

/// What each kind of identity takes, besides `scope`.
fn takes(kind: EntraKind) -> &'static [&'static str] {
    match kind {
        EntraKind::WorkloadIdentity => &["tenant_id", "client_id", "federated_token_file", "authority_host"],
        EntraKind::ManagedIdentity => &["client_id", "object_id", "identity_resource_id"],
        EntraKind::ClientSecret => &["tenant_id", "client_id", "client_secret", "authority_host"],
        EntraKind::AzureCli => &["tenant_id"],
    }
}

/// `None`, told to `findings`, if it cannot be used.
pub(super) fn check(auth: &Placed<Auth>, secrets: &Secrets<'_>, findings: &mut Findings<'_>) -> Option<Credential> {
    let Placed { value: auth, place } = auth;
    match (&auth.api_key, &auth.entra) {
        (Some(key), None) => {
            for (name, place) in auth.parameters() {
                findings.refuse(place, format!("`{name}` belongs to `entra`, not to a key"));
            }
            secrets.resolve("api_key", key, Form::Word, findings).map(Credential::ApiKey)
        }
        (None, Some(kind)) => {
            let (kind, place) = (*kind.take(findings)?, kind.place);
            let identity = Checking { auth, secrets, findings, kind, place }.identity();
            let scope = auth.scope.as_ref().map(|scope| checked(scope, findings, is_scope, SCOPE));
            for (name, place) in auth.parameters().filter(|(name, _)| *name != "scope" && !takes(kind).contains(name)) {
                findings.refuse(place, format!("`{name}` does not belong to `entra: {}`", kind.write()));
            }
            let scope = scope.unwrap_or_default().map(Arc::from);
            Some(Credential::Entra(Entra { identity: Arc::new(identity?), scope }))
        }
        (Some(_), Some(entra)) => {
            findings.refuse(entra.place, "give either `api_key` or `entra`, not both");
            None
        }
        (None, None) => {
            findings.refuse(*place, "`auth` must say how the service proves itself: `api_key: { env: NAME }`, or `entra` with one of workload_identity, managed_identity, client_secret, azure_cli");
            None
        }
    }
}

const SCOPE: &str = "a scope such as `https://cognitiveservices.azure.com/.default`";

struct Checking<'a, 'f, 'c> {
    auth: &'a Auth,
    secrets: &'a Secrets<'a>,
    findings: &'f mut Findings<'c>,
    kind: EntraKind,
    place: Place,
}

impl Checking<'_, '_, '_> {
    fn identity(mut self) -> Option<Identity> {
        let auth = self.auth;
        match self.kind {
            EntraKind::WorkloadIdentity => {
                let tenant_id = self.tenant(Some("AZURE_TENANT_ID"));
                let client_id = self.required("client_id", &auth.client_id, Some("AZURE_CLIENT_ID"));
                let file = Some("AZURE_FEDERATED_TOKEN_FILE");
                let token_file = self.required("federated_token_file", &auth.federated_token_file, file);
                let authority = self.authority(Some("AZURE_AUTHORITY_HOST"));
                let token_file = self.secrets.path(&token_file?);
                Some(Identity::Workload {
                    tenant_id: tenant_id?,
                    client_id: client_id?,
                    token_file,
                    authority: authority?,
                })
            }
            EntraKind::ManagedIdentity => self.managed(),
            EntraKind::ClientSecret => {
                let tenant_id = self.tenant(None);
                let client_id = self.required("client_id", &auth.client_id, None);
                let secret = match &auth.client_secret {
                    Some(secret) => self.secrets.resolve("client_secret", secret, Form::Word, self.findings),
                    None => self.missing("client_secret", None),
                };
                let authority = self.authority(None);
                Some(Identity::ClientSecret {
                    tenant_id: tenant_id?,
                    client_id: client_id?,
                    secret: secret?,
                    authority: authority?,
                })
            }
            EntraKind::AzureCli => {
                let tenant_id = auth.tenant_id.as_ref().map(|tenant| checked(tenant, self.findings, is_tenant, TENANT));
                Some(Identity::AzureCli { tenant_id: tenant_id.unwrap_or_default() })
            }
        }
    }

    fn managed(self) -> Option<Identity> {
        let Auth { client_id, object_id, identity_resource_id, .. } = self.auth;
        let mut named = None;
        type Assigned = fn(String) -> UserAssigned;
        let ways: [(_, Assigned); 3] = [
            (client_id, UserAssigned::Client),
            (object_id, UserAssigned::Object),
            (identity_resource_id, UserAssigned::Resource),
        ];
        for (setting, assigned) in ways {
            let Some(setting) = setting else { continue };
            let id = setting.take(self.findings)?;
            if named.replace(assigned(id.clone())).is_some() {
                let told = "give one of `client_id`, `object_id` and `identity_resource_id`; each names the identity";
                self.findings.refuse(setting.place, told);
            }
        }
        if matches!(named, Some(UserAssigned::Resource(_))) && self.secrets.variable("IDENTITY_ENDPOINT").is_some() {
            let told = "`identity_resource_id` works on virtual machines only; use `client_id` or `object_id` here";
            self.findings.refuse(self.place, told);
        }
        Some(Identity::Managed(named))
    }

    fn tenant(&mut self, variable: Option<&str>) -> Option<String> {
        let tenant = self.required("tenant_id", &self.auth.tenant_id, variable)?;
        if !is_tenant(&tenant) {
            let place = self.auth.tenant_id.as_ref().map_or(self.place, |tenant| tenant.place);
            self.findings.refuse(place, format!("`{tenant}` is not {TENANT}"));
            return None;
        }
        Some(tenant)
    }

    fn authority(&mut self, variable: Option<&str>) -> Option<Url> {
        let set = variable.and_then(|name| self.secrets.variable(name));
        let (text, place) = match &self.auth.authority_host {
            Some(setting) => (setting.take(self.findings)?.clone(), setting.place),
            None => (set.unwrap_or_else(|| PUBLIC_AUTHORITY.to_owned()), self.place),
        };
        let url = text.parse::<Url>().ok().filter(is_authority);
        if url.is_none() {
            let expected =
                "the host of an authority such as `https://login.microsoftonline.com`: https, without a path";
            self.findings.refuse(place, format!("`{text}` is not {expected}"));
        }
        url
    }

    /// A parameter as it is written, or as the environment has it.
    fn required(&mut self, name: &str, setting: &Option<Setting<String>>, variable: Option<&str>) -> Option<String> {
        match setting {
            Some(setting) => setting.take(self.findings).cloned(),
            None => variable.and_then(|name| self.secrets.variable(name)).or_else(|| self.missing(name, variable)),
        }
    }

    fn missing<T>(&mut self, name: &str, variable: Option<&str>) -> Option<T> {
        let otherwise = variable.map(|name| format!(", or the environment variable `{name}`")).unwrap_or_default();
        let told = format!("`entra: {}` needs `{name}`{otherwise}", self.kind.write());
        self.findings.refuse(self.place, told);
        None
    }
}

const TENANT: &str = "a tenant's id or domain";

fn is_tenant(text: &str) -> bool {
    text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-'))
}

fn is_scope(text: &str) -> bool {
    text.contains("://") && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '/'))
}

/// The rules for endpoints hold here too: nothing link-local, no credentials.
fn is_authority(url: &Url) -> bool {
    let ip = url.host_str().and_then(|host| host.trim_matches(['[', ']']).parse::<IpAddr>().ok());
    let link_local = match ip {
        Some(IpAddr::V4(ip)) => ip.is_link_local(),
        Some(IpAddr::V6(ip)) => ip.is_unicast_link_local(),
        None => false,
    };
    let plain =
        url.username().is_empty() && url.password().is_none() && url.query().is_none() && url.fragment().is_none();
    url.scheme() == "https" && url.has_host() && url.path() == "/" && plain && !link_local
}

fn checked(setting: &Setting<String>, findings: &mut Findings<'_>, is: fn(&str) -> bool, what: &str) -> Option<String> {
    let text = setting.take(findings)?;
    if !is(text) {
        findings.refuse(setting.place, format!("`{text}` is not {what}"));
        return None;
    }
    Some(text.clone())
}
