//! Checks who may call from where, and where their data may go.
use std::{net::SocketAddr, sync::Arc};

use sealane_core::{
    domain::{is_data_class, normalise_region},
    policy::Policy,
    quota::Allowance,
    router::{Route, Routes},
};

use super::{
    OpenToAnyone,
    file::{CallerEntry, CallerLimits, File, PolicyEntry},
    problem::{Findings, Place, suggest},
    secret::Secrets,
    value::{SecretRef, Setting},
};
use crate::{
    identity::CallerSettings,
    secret::{Form, Secret},
    tls::SubjectName,
};

/// The policy that is always there.
const UNRESTRICTED: &str = "unrestricted";

/// Shorter tokens can be guessed.
const SHORTEST_GOOD_TOKEN: usize = 16;

pub(super) struct Access {
    pub(super) policies: Vec<Arc<Policy>>,
    pub(super) default_policy: Arc<Policy>,
    pub(super) callers: Vec<CallerSettings>,
}

/// A policy that has a name, whatever else is wrong with it.
struct Known {
    name: Arc<str>,
    /// `None` if it was refused; callers may still refer to it without a second complaint.
    policy: Option<Arc<Policy>>,
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
    let callers = callers(file, &policies, routes, secrets, findings);
    Some(Access {
        policies: policies.into_iter().filter_map(|known| known.policy).collect(),
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
        let policy = policy(entry, findings);
        let Some(name) = entry.name.peek() else { continue };
        let place = entry.name.place;
        if name == UNRESTRICTED {
            findings.refuse(place, "`unrestricted` is built in; name this policy otherwise");
            continue;
        }
        if let Some(first) = all.iter().find(|known| *known.name == **name) {
            let line = first.place.line;
            findings.refuse(place, format!("policy `{name}` is already defined on line {line}"));
            continue;
        }
        all.push(Known { name: name.as_str().into(), policy: policy.map(Arc::new), place });
    }
    all
}

/// `None` if any of it cannot be read: a policy without one of its regions would be another policy.
fn policy(entry: &PolicyEntry, findings: &mut Findings<'_>) -> Option<Policy> {
    let name = entry.name.take(findings);
    let regions = all_of(&entry.regions, |region| normalise_region(region).into(), findings);
    let boundaries = all_of(&entry.boundaries, |label| label.as_str().into(), findings);
    let max_scope = entry.max_scope.take(findings);
    let audit_required = entry.audit_required.take(findings);
    for class in entry.data_classes.iter().filter(|class| class.peek().is_some_and(|name| !is_data_class(name))) {
        findings.refuse(class.place, "a data class is named by 1 to 64 printable ASCII characters");
    }
    let data_classes = all_of(&entry.data_classes, |class| class.as_str().into(), findings);
    let required = match &entry.require_data_class {
        // Whoever lists the classes that are fit does not mean that undeclared data is.
        None => Some(!entry.data_classes.is_empty()),
        Some(setting) => setting.take(findings).copied(),
    };
    Some(Policy {
        name: name?.as_str().into(),
        regions: regions?,
        boundaries: boundaries?,
        max_scope: *max_scope?,
        data_classes: data_classes?,
        requires_data_class: required?,
        audit_required: *audit_required?,
    })
}

/// Every entry of a list; `None` if one cannot be read, which would leave a list that means something else.
fn all_of(
    list: &[Setting<String>],
    read: impl Fn(&String) -> Arc<str>,
    findings: &mut Findings<'_>,
) -> Option<Vec<Arc<str>>> {
    let read: Vec<_> = list.iter().filter_map(|setting| setting.take(findings)).map(read).collect();
    (read.len() == list.len()).then_some(read)
}

/// Start-up is refused when a policy permits no model at all; other gaps are told, and answered call by call.
fn check_reach(known: &Known, routes: &Routes, findings: &mut Findings<'_>) {
    let Some(policy) = &known.policy else { return };
    let name = &known.name;
    let closed: Vec<_> = routes.all().iter().filter(|route| !reaches(policy, route, routes)).collect();
    if closed.len() == routes.all().len() {
        let why: Vec<_> = closed.iter().map(|route| refusals(policy, route, routes)).collect();
        let why = why.join("; ");
        findings.refuse(known.place, format!("policy `{name}` permits no target of any model ({policy}): {why}"));
        return;
    }
    for route in closed {
        let (model, why) = (&route.model, refusals(policy, route, routes));
        findings.warn(
            known.place,
            format_args!(
                "policy `{name}` permits no target of model `{model}`: it answers FAILED_PRECONDITION ({why})"
            ),
        );
    }
}

fn reaches(policy: &Policy, route: &Route, routes: &Routes) -> bool {
    routes.targets_of(route).any(|target| policy.permits(target).is_ok())
}

/// Every target of a route and why the policy does not permit it.
fn refusals(policy: &Policy, route: &Route, routes: &Routes) -> String {
    let told = routes.targets_of(route).filter_map(|target| {
        let refusal = policy.permits(target).err()?;
        Some(format!("`{}` at `{}` in {}: {refusal}", target.deployment, target.resource, target.region))
    });
    told.collect::<Vec<_>>().join("; ")
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
    let found = policies.iter().find(|known| *known.name == *name);
    if found.is_none() {
        let mut names: Vec<&str> = policies.iter().map(|known| &*known.name).collect();
        names.push(UNRESTRICTED);
        findings.refuse(place, format!("there is no policy `{name}`{}", suggest(name, &names)));
    }
    found.and_then(|known| known.policy.clone())
}

fn callers(
    file: &File,
    policies: &[Known],
    routes: Option<&Routes>,
    secrets: &Secrets<'_>,
    findings: &mut Findings<'_>,
) -> Vec<CallerSettings> {
    let mut all: Vec<(CallerSettings, usize)> = Vec::new();
    for entry in &file.callers {
        let name = entry.name.take(findings);
        let tokens = tokens(entry, secrets, findings);
        let certificate_names = certificate_names(entry, file, findings);
        let policy = entry.policy.take(findings).and_then(|name| find(name, entry.policy.place, policies, findings));
        let operator = entry.operator.take(findings).copied();
        let models = models(entry, policy.as_deref(), routes, findings);
        let allowance = allowance(&entry.limits, findings);
        let (Some(name), Some(tokens), Some(certificate_names)) = (name, tokens, certificate_names) else { continue };
        let (Some(policy), Some(operator), Some(models)) = (policy, operator, models) else { continue };
        if let Some((_, line)) = all.iter().find(|(first, _)| *first.name == **name) {
            findings.refuse(entry.name.place, format!("caller `{name}` is already defined on line {line}"));
            continue;
        }
        let name = name.as_str().into();
        let caller = CallerSettings { name, tokens, certificate_names, policy, operator, models, allowance };
        if caller.tokens.is_empty() && caller.certificate_names.is_empty() {
            let name = &caller.name;
            findings.refuse(entry.name.place, format!("caller `{name}` has neither a token nor a certificate"));
        }
        refuse_shared_credentials(&caller, entry, all.iter().map(|(other, _)| other), findings);
        all.push((caller, entry.name.place.line));
    }
    all.into_iter().map(|(caller, _)| caller).collect()
}

fn tokens(entry: &CallerEntry, secrets: &Secrets<'_>, findings: &mut Findings<'_>) -> Option<Vec<Secret>> {
    let mut all = Some(Vec::new());
    for reference in references(entry) {
        let token = secrets.resolve("token", reference, Form::Word, findings);
        if let (Some(token), Some(name)) = (&token, entry.name.peek())
            && token.expose().len() < SHORTEST_GOOD_TOKEN
        {
            findings.warn(
                reference.place,
                format_args!("the token of caller `{name}` is shorter than {SHORTEST_GOOD_TOKEN} characters"),
            );
        }
        all = all.zip(token).map(|(mut all, token)| {
            all.push(token);
            all
        });
    }
    all
}

fn references(entry: &CallerEntry) -> impl Iterator<Item = &SecretRef> {
    entry.token.iter().chain(&entry.tokens)
}

fn certificate_names(entry: &CallerEntry, file: &File, findings: &mut Findings<'_>) -> Option<Vec<SubjectName>> {
    let Some(certificate) = &entry.certificate else { return Some(vec![]) };
    if let (Some(first), None) = (certificate.san.first(), file.tls.as_ref().and_then(|tls| tls.client_ca.as_ref())) {
        findings.refuse(first.place, "certificates need `tls.client_ca`, which says whose are believed");
        return None;
    }
    let mut names = Some(vec![]);
    for setting in &certificate.san {
        let name = setting.take(findings).and_then(|text| {
            let name = SubjectName::parse(text);
            if name.is_none() {
                let message = format!("`{text}` is neither a DNS name nor a URI; wildcards are not taken");
                findings.refuse(setting.place, message);
            }
            name
        });
        names = names.zip(name).map(|(mut names, name)| {
            names.push(name);
            names
        });
    }
    names
}

fn refuse_shared_credentials<'a>(
    caller: &CallerSettings,
    entry: &CallerEntry,
    others: impl Iterator<Item = &'a CallerSettings>,
    findings: &mut Findings<'_>,
) {
    let name = &caller.name;
    for other in others {
        let first = &other.name;
        for (token, reference) in caller.tokens.iter().zip(references(entry)) {
            if other.tokens.iter().any(|one| one.same(token)) {
                findings.refuse(reference.place, format!("callers `{first}` and `{name}` have the same token"));
            }
        }
        let settings = entry.certificate.iter().flat_map(|certificate| &certificate.san);
        for (san, setting) in caller.certificate_names.iter().zip(settings) {
            if other.certificate_names.contains(san) {
                findings.refuse(setting.place, format!("callers `{first}` and `{name}` have the same name `{san}`"));
            }
        }
    }
}

/// A caller that is promised a model by name must have somewhere to send it.
fn models(
    entry: &CallerEntry,
    policy: Option<&Policy>,
    routes: Option<&Routes>,
    findings: &mut Findings<'_>,
) -> Option<Option<Vec<Arc<str>>>> {
    let Some(settings) = &entry.models else { return Some(None) };
    let mut names = Vec::new();
    for setting in settings {
        let name = setting.take(findings)?;
        let known: Vec<&str> = routes.iter().flat_map(|routes| routes.all()).map(|route| &*route.model).collect();
        if routes.is_some() && !known.contains(&name.as_str()) {
            findings.refuse(setting.place, format!("there is no model `{name}`{}", suggest(name, &known)));
        }
        if let (Some(routes), Some(policy)) = (routes, policy)
            && let Some(route) = routes.find(name)
            && !reaches(policy, route, routes)
        {
            let (policy, why) = (&policy.name, refusals(policy, route, routes));
            findings.refuse(
                setting.place,
                format!("policy `{policy}` permits this caller no target of model `{name}`: {why}"),
            );
        }
        names.push(name.as_str().into());
    }
    Some(Some(names))
}

fn allowance(entry: &CallerLimits, findings: &mut Findings<'_>) -> Allowance {
    let mut take = |key: &str, setting: &Option<Setting<u32>>| {
        let setting = setting.as_ref()?;
        let value = *setting.take(findings)?;
        if value == 0 {
            findings.refuse(setting.place, format!("`{key}` must be at least 1"));
        }
        Some(value)
    };
    Allowance {
        calls_per_minute: take("calls_per_minute", &entry.calls_per_minute),
        tokens_per_minute: take("tokens_per_minute", &entry.tokens_per_minute),
        calls_in_flight: take("calls_in_flight", &entry.calls_in_flight),
    }
}
