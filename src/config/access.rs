//! Checks who may call from where, and where their data may go.
use std::{net::SocketAddr, sync::Arc};

use sealane_core::{
    domain::{RoutingOptions, normalise_region},
    policy::Policy,
    router::{Route, Routes},
};
use secrecy::{ExposeSecret as _, SecretString};

use super::{
    OpenToAnyone,
    file::{File, PolicyEntry},
    problem::{Findings, Place, suggest},
    secret::Secrets,
};

/// The policy that is always there.
const UNRESTRICTED: &str = "unrestricted";

/// Shorter tokens can be guessed.
const SHORTEST_GOOD_TOKEN: usize = 16;

/// A client of the service.
#[derive(Clone, Debug)]
pub struct CallerSettings {
    /// Its name; shown in spans.
    pub name: Arc<str>,
    /// The bearer token that proves who it is.
    pub token: SecretString,
    /// What binds its data.
    pub policy: Arc<Policy>,
    /// May drain, release and validate.
    pub operator: bool,
}

pub(super) struct Access {
    pub(super) policies: Vec<Arc<Policy>>,
    pub(super) default_policy: Arc<Policy>,
    pub(super) callers: Vec<CallerSettings>,
}

struct Known {
    policy: Arc<Policy>,
    place: Place,
}

pub(super) fn check(
    file: &File,
    routes: Option<&Routes>,
    secrets: &Secrets<'_>,
    findings: &mut Findings<'_>,
) -> Option<Access> {
    let policies = policies(&file.policies, findings);
    if let Some(routes) = routes {
        for known in &policies {
            check_reach(known, routes, findings);
        }
        check_names(&file.policies, routes, findings);
    }
    let default_policy = match &file.default_policy {
        None => Some(Arc::new(Policy::unrestricted())),
        Some(name) => {
            if !file.callers.is_empty() {
                findings.warn(name.place, "`default_policy` has no effect where there are `callers`");
            }
            name.take(findings).and_then(|text| find(text, name.place, &policies, findings))
        }
    };
    let callers = callers(file, &policies, secrets, findings);
    Some(Access {
        policies: policies.into_iter().map(|known| known.policy).collect(),
        default_policy: default_policy?,
        callers,
    })
}

/// The address to listen on: anywhere with callers, on loopback without.
pub(super) fn listen(file: &File, findings: &mut Findings<'_>) -> Option<SocketAddr> {
    let address = *file.listen.take(findings)?;
    if !address.ip().is_loopback() && file.callers.is_empty() {
        findings.refuse(file.listen.place, OpenToAnyone { address }.to_string());
    }
    Some(address)
}

fn policies(entries: &[PolicyEntry], findings: &mut Findings<'_>) -> Vec<Known> {
    let mut all: Vec<Known> = Vec::new();
    for entry in entries {
        let name = entry.name.take(findings);
        let regions = entry.regions.iter().filter_map(|region| region.take(findings));
        let regions = regions.map(|region| normalise_region(region).into()).collect();
        let boundaries = entry.boundaries.iter().filter_map(|label| label.take(findings));
        let boundaries = boundaries.map(|label| label.as_str().into()).collect();
        let (max_scope, audit_required) = (entry.max_scope.take(findings), entry.audit_required.take(findings));
        let (Some(name), Some(max_scope), Some(audit_required)) = (name, max_scope, audit_required) else { continue };
        let place = entry.name.place;
        if name == UNRESTRICTED {
            findings.refuse(place, "`unrestricted` is built in; name this policy otherwise");
            continue;
        }
        if let Some(first) = all.iter().find(|known| *known.policy.name == **name) {
            let line = first.place.line;
            findings.refuse(place, format!("policy `{name}` is already defined on line {line}"));
            continue;
        }
        let policy = Policy {
            name: name.as_str().into(),
            regions,
            boundaries,
            max_scope: *max_scope,
            audit_required: *audit_required,
        };
        all.push(Known { policy: Arc::new(policy), place });
    }
    all
}

/// Start-up is refused when a policy permits no model at all; other gaps are told, and answered call by call.
fn check_reach(known: &Known, routes: &Routes, findings: &mut Findings<'_>) {
    let name = &known.policy.name;
    let closed: Vec<_> = routes.all().iter().filter(|route| !reaches(&known.policy, route, routes)).collect();
    if closed.len() == routes.all().len() {
        findings.refuse(known.place, format!("policy `{name}` permits no target of any model"));
        return;
    }
    for route in closed {
        let model = &route.model;
        findings.warn(
            known.place,
            format_args!("policy `{name}` permits no target of model `{model}`: it answers FAILED_PRECONDITION"),
        );
    }
}

fn reaches(policy: &Policy, route: &Route, routes: &Routes) -> bool {
    let mut targets = route.targets.iter().filter_map(|id| routes.targets().get(usize::from(id.0)));
    targets.any(|target| policy.permit(target, &RoutingOptions::default()).is_ok())
}

/// Names that no target carries are most often misspelt.
fn check_names(entries: &[PolicyEntry], routes: &Routes, findings: &mut Findings<'_>) {
    let mut regions: Vec<&str> = routes.targets().iter().map(|target| &*target.region).collect();
    let mut boundaries: Vec<&str> = routes.targets().iter().filter_map(|target| target.boundary.as_deref()).collect();
    for names in [&mut regions, &mut boundaries] {
        names.sort_unstable();
        names.dedup();
    }
    for entry in entries {
        for setting in &entry.regions {
            let Some(region) = setting.peek().map(|name| normalise_region(name)) else { continue };
            if !regions.contains(&region.as_str()) {
                let hint = suggest(&region, &regions);
                findings.warn(setting.place, format_args!("no target lies in region `{region}`{hint}"));
            }
        }
        for setting in &entry.boundaries {
            let Some(label) = setting.peek() else { continue };
            if !boundaries.contains(&label.as_str()) {
                let hint = suggest(label, &boundaries);
                findings.warn(setting.place, format_args!("no target lies in boundary `{label}`{hint}"));
            }
        }
    }
}

fn find(name: &str, place: Place, policies: &[Known], findings: &mut Findings<'_>) -> Option<Arc<Policy>> {
    if name == UNRESTRICTED {
        return Some(Arc::new(Policy::unrestricted()));
    }
    let found = policies.iter().find(|known| *known.policy.name == *name);
    if found.is_none() {
        let mut names: Vec<&str> = policies.iter().map(|known| &*known.policy.name).collect();
        names.push(UNRESTRICTED);
        findings.refuse(place, format!("there is no policy `{name}`{}", suggest(name, &names)));
    }
    found.map(|known| Arc::clone(&known.policy))
}

fn callers(file: &File, policies: &[Known], secrets: &Secrets<'_>, findings: &mut Findings<'_>) -> Vec<CallerSettings> {
    let mut all: Vec<(CallerSettings, usize)> = Vec::new();
    for entry in &file.callers {
        let name = entry.name.take(findings);
        let token = secrets.resolve("token", &entry.token, findings);
        let policy = entry.policy.take(findings).and_then(|name| find(name, entry.policy.place, policies, findings));
        let operator = entry.operator.take(findings).copied();
        let (Some(name), Some(token), Some(policy), Some(operator)) = (name, token, policy, operator) else { continue };
        if let Some((_, line)) = all.iter().find(|(first, _)| *first.name == **name) {
            findings.refuse(entry.name.place, format!("caller `{name}` is already defined on line {line}"));
            continue;
        }
        let secret = token.expose_secret();
        if let Some((first, _)) = all.iter().find(|(first, _)| first.token.expose_secret() == secret) {
            let first = &first.name;
            findings.refuse(entry.token.place, format!("callers `{first}` and `{name}` have the same token"));
            continue;
        }
        if secret.len() < SHORTEST_GOOD_TOKEN {
            findings.warn(
                entry.token.place,
                format_args!("the token of caller `{name}` is shorter than {SHORTEST_GOOD_TOKEN} characters"),
            );
        }
        all.push((CallerSettings { name: name.as_str().into(), token, policy, operator }, entry.name.place.line));
    }
    all.into_iter().map(|(caller, _)| caller).collect()
}
