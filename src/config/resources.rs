//! Checks the resources: names, endpoints, credentials, and that a region has one data boundary.
use std::{net::IpAddr, sync::Arc, time::Duration};

use sealane_core::domain::{OnMismatch, normalise_region};

use super::{
    auth,
    file::{Arm, File, OperationPath, Resource},
    problem::{Findings, Place},
    secret::Secrets,
    settings::positive,
    value::PathFamily,
};
use crate::azure::{ArmAccount, Credential, PathStyle, ResourceSettings};

/// Azure's last generally available dated version. Source: the contract, section 2.
const DEFAULT_API_VERSION: &str = "2024-10-21";

/// What the targets need to know of the resources.
pub(super) struct Resources {
    pub(super) list: Vec<CheckedResource>,
}

pub(super) struct CheckedResource {
    pub(super) name: String,
    pub(super) region: Arc<str>,
    pub(super) boundary: Option<Arc<str>>,
    pub(super) on_mismatch: OnMismatch,
    /// Where Azure's control plane knows it.
    pub(super) arm: Option<ArmAccount>,
    pub(super) place: Place,
    /// `None` if it was refused; targets may still refer to it without a second complaint.
    settings: Option<ResourceSettings>,
}

impl CheckedResource {
    /// The endpoint as it is called; `None` if the resource was refused.
    pub(super) fn endpoint(&self) -> Option<&str> {
        self.settings.as_ref().map(|settings| settings.endpoint.as_str())
    }
}

impl Resources {
    /// Place in the list, and the resource.
    pub(super) fn find(&self, name: &str) -> Option<(usize, &CheckedResource)> {
        self.list.iter().enumerate().find(|(_, resource)| resource.name == name)
    }

    pub(super) fn names(&self) -> Vec<&str> {
        self.list.iter().map(|resource| resource.name.as_str()).collect()
    }

    /// Where Azure's control plane knows them, in the order of the file.
    pub(super) fn arm_accounts(&self) -> Vec<Option<ArmAccount>> {
        self.list.iter().map(|resource| resource.arm.clone()).collect()
    }

    pub(super) fn into_settings(self) -> Vec<ResourceSettings> {
        self.list.into_iter().filter_map(|resource| resource.settings).collect()
    }
}

pub(super) fn check(file: &File, secrets: &Secrets<'_>, findings: &mut Findings<'_>) -> Resources {
    let entries = &file.resources;
    let on_mismatch = file.on_region_mismatch.take(findings).copied().unwrap_or_default();
    let mut checked = Resources { list: vec![] };
    if entries.is_empty() {
        findings.refuse(Place::default(), "`resources` is empty: nothing can be called");
    }
    for entry in entries {
        let resource = check_one(entry, secrets, findings);
        let arm = entry.arm.as_ref().and_then(|arm| arm_account(arm, findings));
        let (Some(name), Some(region)) = (entry.name.peek(), entry.region.peek()) else { continue };
        if let Some((_, first)) = checked.find(name) {
            let line = first.place.line;
            findings.refuse(entry.name.place, format!("resource `{name}` is already defined on line {line}"));
            continue;
        }
        let region: Arc<str> = normalise_region(region).into();
        let boundary = entry.boundary.as_ref().and_then(|label| label.peek()).map(|label| label.as_str().into());
        let neighbour = checked.list.iter().find(|other| other.region == region && other.boundary != boundary);
        if let Some(neighbour) = neighbour {
            let told = |label: &Option<Arc<str>>| label.as_ref().map_or("no boundary".into(), |l| format!("`{l}`"));
            findings.refuse(
                entry.boundary.as_ref().map_or(entry.region.place, |label| label.place),
                format!(
                    "region `{region}` has {} here but {} at resource `{}` (line {}); a region lies in one boundary",
                    told(&boundary),
                    told(&neighbour.boundary),
                    neighbour.name,
                    neighbour.place.line
                ),
            );
        }
        checked.list.push(CheckedResource {
            name: name.clone(),
            region,
            boundary,
            on_mismatch: entry.on_region_mismatch.as_ref().and_then(|own| own.peek()).copied().unwrap_or(on_mismatch),
            arm,
            place: entry.name.place,
            settings: resource,
        });
    }
    checked
}

fn arm_account(arm: &Arm, findings: &mut Findings<'_>) -> Option<ArmAccount> {
    let subscription = arm.subscription.take(findings);
    let resource_group = arm.resource_group.take(findings);
    let account = arm.account.take(findings);
    Some(ArmAccount {
        subscription: subscription?.clone(),
        resource_group: resource_group?.clone(),
        account: account?.clone(),
    })
}

fn check_one(entry: &Resource, secrets: &Secrets<'_>, findings: &mut Findings<'_>) -> Option<ResourceSettings> {
    let name = entry.name.take(findings);
    entry.region.take(findings);
    if let Some(boundary) = &entry.boundary {
        boundary.take(findings);
    }
    if let Some(on_mismatch) = &entry.on_region_mismatch {
        on_mismatch.take(findings);
    }
    let credential = auth::check(&entry.auth, secrets, findings);
    let chat_path = path_style(&entry.chat, findings);
    let embeddings_path = path_style(&entry.embeddings, findings);
    let output_cap = entry.output_cap.take(findings).copied();
    let connect_timeout = positive("connect_timeout", &entry.connect_timeout, findings);
    let insecure = entry.allow_insecure.take(findings).copied();
    let text = entry.endpoint.take(findings)?;
    let endpoint = match text.parse() {
        Ok(endpoint) => endpoint,
        Err(reason) => {
            findings.refuse(entry.endpoint.place, format!("`{text}` is not an address ({reason}); write it in full, such as https://contoso-swc.openai.azure.com"));
            return None;
        }
    };
    let settings = ResourceSettings {
        name: name?.as_str().into(),
        endpoint,
        chat_path: chat_path?,
        output_cap: output_cap?,
        embeddings_path: embeddings_path?,
        credential: credential?,
        connect_timeout: connect_timeout.unwrap_or(Duration::from_secs(2)),
    };
    if settings.embeddings_path == PathStyle::V1 && matches!(settings.credential, Credential::Entra(_)) {
        let told = "Azure documents no embeddings with Entra ID on the v1 path; `dated` serves them";
        findings.warn(entry.embeddings.path.place, told);
    }
    match unusable(&settings, insecure?) {
        Some(reason) => {
            findings.refuse(entry.endpoint.place, format!("endpoint `{text}` {reason}"));
            None
        }
        None => Some(settings),
    }
}

/// Why an endpoint cannot be called.
fn unusable(settings: &ResourceSettings, allow_insecure: bool) -> Option<&'static str> {
    let endpoint = &settings.endpoint;
    let host = endpoint.host_str().unwrap_or_default();
    let ip: Option<IpAddr> = host.trim_start_matches('[').trim_end_matches(']').parse().ok();
    let loopback = ip.map_or(host == "localhost", |ip| ip.is_loopback());
    let link_local = match ip {
        Some(IpAddr::V4(ip)) => ip.is_link_local(),
        Some(IpAddr::V6(ip)) => ip.is_unicast_link_local(),
        None => false,
    };
    let path = endpoint.path().trim_end_matches('/');
    match endpoint.scheme() {
        "https" => {}
        "http" if loopback || allow_insecure => {}
        "http" => {
            return Some("would carry keys and prompts in the clear; use `https`, or set `allow_insecure: true` here");
        }
        _ => return Some("must begin with `https://`"),
    }
    if host.is_empty() {
        Some("names no host")
    } else if link_local {
        Some("is link-local, where clouds keep their metadata services")
    } else if !endpoint.username().is_empty() || endpoint.password().is_some() {
        Some("must not hold credentials; they belong into `auth`")
    } else if endpoint.query().is_some() || endpoint.fragment().is_some() {
        Some("must not have a query or a fragment; the API version is `chat: { api_version: ... }`")
    } else if path.ends_with("/openai") || path.ends_with("/openai/v1") || path.contains("/openai/") {
        Some("must end before `/openai`, which the service adds")
    } else {
        None
    }
}

fn path_style(entry: &OperationPath, findings: &mut Findings<'_>) -> Option<PathStyle> {
    let family = entry.path.take(findings);
    let version = match &entry.api_version {
        None => None,
        Some(setting) => {
            let version = setting.take(findings)?;
            if family == Some(&PathFamily::V1) {
                findings.refuse(setting.place, "`api_version` belongs to `path: dated`; `v1` has none");
                return None;
            }
            if !is_api_version(version) {
                let hint = if matches!(version.as_str(), "v1" | "preview" | "latest") {
                    "; for v1 set `path: v1`"
                } else {
                    ""
                };
                let expected = "an API version such as `2024-10-21` or `2025-04-01-preview`";
                findings.refuse(setting.place, format!("`{version}` is not {expected}{hint}"));
                return None;
            }
            Some(version.clone())
        }
    };
    Some(match family? {
        PathFamily::V1 => PathStyle::V1,
        PathFamily::Dated => {
            PathStyle::Dated { api_version: version.unwrap_or_else(|| DEFAULT_API_VERSION.to_owned()) }
        }
    })
}

/// `YYYY-MM-DD`, with or without `-preview`.
fn is_api_version(text: &str) -> bool {
    let date = text.strip_suffix("-preview").unwrap_or(text);
    let number = |part: &str, width: usize| {
        (part.len() == width && part.bytes().all(|byte| byte.is_ascii_digit())).then(|| part.parse::<u32>().ok())?
    };
    let mut parts = date.split('-');
    match (parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some(year), Some(month), Some(day), None) => {
            number(year, 4).is_some_and(|year| (2020..2100).contains(&year))
                && number(month, 2).is_some_and(|month| (1..=12).contains(&month))
                && number(day, 2).is_some_and(|day| (1..=31).contains(&day))
        }
        _ => false,
    }
}
