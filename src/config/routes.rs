//! Checks the models and turns their targets into routes.
use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use sealane_core::{
    domain::{
        self, Claims, ExpectedVersion, ModelKind, OnVersionMismatch, RateLimits, ScopeEvidence, Sku, Target, TargetId,
    },
    router::Routes,
};

use crate::azure::RESERVED_PARAMS;

use super::{
    evidence::Evidence,
    file::{EmbeddingSpace, Model, TargetEntry},
    problem::{Findings, Place, suggest},
    resources::{CheckedResource, Resources},
    value::Setting,
};

/// Azure's own embedding models: version in service and full length of a vector. Source: Microsoft's list of models,
/// May 2026.
const AZURE_EMBEDDINGS: [(&str, &str, u32); 3] = [
    ("text-embedding-3-large", "1", 3072),
    ("text-embedding-3-small", "1", 1536),
    ("text-embedding-ada-002", "2", 1536),
];

/// The one of them that does not take `dimensions`.
const NEVER_SHORTENED: &str = "text-embedding-ada-002";

/// Azure's own bound is far below; this one keeps a slip of the finger from being believed.
const MAX_DIMENSIONS: u32 = 65_536;

pub(super) fn check(
    models: &[Model],
    resources: &Resources,
    evidence: &Evidence,
    findings: &mut Findings<'_>,
) -> Option<Routes> {
    if models.is_empty() {
        findings.refuse(Place::default(), "`models` is empty: nothing can be asked for");
    }
    let mut lines: HashMap<&str, usize> = HashMap::new();
    let mut targets = Vec::new();
    let mut used = vec![false; resources.list.len()];
    for model in models {
        let Some(name) = model.name.take(findings) else { continue };
        if let Some(line) = lines.insert(name, model.name.place.line) {
            findings.refuse(model.name.place, format!("model `{name}` is already defined on line {line}"));
            continue;
        }
        check_model(name, model, resources, &mut used, &mut targets, findings);
    }
    for (resource, _) in resources.list.iter().zip(used).filter(|(_, used)| !used) {
        findings.warn(resource.place, format_args!("no target uses resource `{}`", resource.name));
    }
    if !findings.clean() {
        // What follows would only repeat it in other words.
        return None;
    }
    for target in &mut targets {
        let Some(resource) = resources.list.get(target.resource_index) else { continue };
        let endpoint = resource.endpoint().unwrap_or_default();
        target.claims.scope_evidence = evidence.of(target, endpoint, resource.arm.as_ref());
    }
    match Routes::new(targets) {
        Ok(routes) => Some(routes),
        Err(reason) => {
            findings.refuse(Place::default(), reason.to_string());
            None
        }
    }
}

/// Models that are said to take pictures.
pub(super) fn vision(models: &[Model], findings: &mut Findings<'_>) -> BTreeSet<String> {
    let takes = models.iter().filter(|model| model.vision.take(findings).copied().unwrap_or_default());
    takes.filter_map(|model| model.name.peek().cloned()).collect()
}

/// Model name to the `extra_params` that it takes.
pub(super) fn extra_params(models: &[Model], findings: &mut Findings<'_>) -> Vec<(String, Vec<String>)> {
    let mut all = Vec::new();
    for model in models.iter().filter(|model| !model.extra_params.is_empty()) {
        let mut params = Vec::new();
        for entry in &model.extra_params {
            let Some(param) = entry.take(findings) else { continue };
            match RESERVED_PARAMS.iter().find(|(reserved, _)| reserved == param) {
                Some((_, why)) => {
                    findings.refuse(entry.place, format!("`{param}` cannot be among `extra_params`: {why}"));
                }
                None => params.push(param.clone()),
            }
        }
        if let Some(name) = model.name.peek() {
            all.push((name.clone(), params));
        }
    }
    all
}

fn check_model(
    name: &str,
    model: &Model,
    resources: &Resources,
    used: &mut [bool],
    targets: &mut Vec<Target>,
    findings: &mut Findings<'_>,
) {
    let kind = model.kind.take(findings).copied().unwrap_or(ModelKind::Chat);
    let reasoning = model.reasoning.take(findings).copied().unwrap_or_default();
    let upstream_stream = model.upstream_stream.take(findings).copied().unwrap_or_default();
    if model.targets.is_empty() {
        findings.refuse(model.name.place, format!("model `{name}` has no targets"));
        return;
    }
    let space = route_space(name, kind, model, findings);
    let version = expected_version(name, kind, model, findings);
    let first = targets.len();
    for entry in &model.targets {
        let sku = entry.sku.take(findings).copied();
        let Some((resource_index, resource, deployment)) = find(entry, resources, findings) else { continue };
        if let Some(used) = used.get_mut(resource_index) {
            *used = true;
        }
        let Some(sku) = sku else { continue };
        let twin = |target: &Target| target.resource_index == resource_index && *target.deployment == *deployment;
        if targets[first..].iter().any(twin) {
            let place = entry.deployment.place;
            findings.refuse(place, format!("`{deployment}` at `{}` is already a target of `{name}`", resource.name));
            continue;
        }
        let spillover = entry.spillover.as_ref().and_then(|spillover| {
            let deployment = spillover.deployment.take(findings);
            let sku = spillover.sku.take(findings);
            Some((Arc::from(deployment?.as_str()), *sku?))
        });
        let spilled_to = spillover.as_ref().map_or(sku, |(_, sku)| *sku);
        let scope = sku.processing_scope().max(spilled_to.processing_scope());
        let Ok(id) = u16::try_from(targets.len()) else {
            findings.refuse(entry.deployment.place, "there are more than 65 535 targets");
            return;
        };
        targets.push(Target {
            id: TargetId(id),
            model: name.into(),
            kind,
            resource: resource.name.as_str().into(),
            resource_index,
            region: Arc::clone(&resource.region),
            boundary: resource.boundary.clone(),
            deployment: deployment.as_str().into(),
            sku,
            scope,
            reasoning,
            upstream_stream,
            version: version.clone(),
            embedding_space: space.clone(),
            claims: Claims {
                spillover: spillover.map(|(deployment, _)| deployment),
                scope_evidence: ScopeEvidence::Declared,
                on_mismatch: resource.on_mismatch,
                limits: rate_limits(entry, sku, findings),
            },
        });
    }
    warn_of_one_region(name, model, &targets[first..], findings);
}

/// What the entry says of Azure's limits.
fn rate_limits(entry: &TargetEntry, sku: Sku, findings: &mut Findings<'_>) -> RateLimits {
    let mut take = |key: &str, setting: &Option<Setting<u32>>| {
        let setting = setting.as_ref()?;
        let limit = *setting.take(findings)?;
        if limit == 0 {
            findings.refuse(setting.place, format!("`{key}` must be at least 1; leave it out if it is not known"));
        } else if sku.is_provisioned() {
            let sku = sku.as_str();
            findings
                .refuse(setting.place, format!("`{key}` is not for `{sku}`: reserved throughput has no such limit"));
        }
        Some(limit)
    };
    RateLimits {
        tokens_per_minute: take("tokens_per_minute", &entry.tokens_per_minute),
        requests_per_minute: take("requests_per_minute", &entry.requests_per_minute),
    }
}

fn find<'a>(
    entry: &'a TargetEntry,
    resources: &'a Resources,
    findings: &mut Findings<'_>,
) -> Option<(usize, &'a CheckedResource, &'a String)> {
    let deployment = entry.deployment.take(findings);
    let name = entry.resource.take(findings)?;
    let found = resources.find(name);
    if found.is_none() {
        let hint = suggest(name, &resources.names());
        findings.refuse(entry.resource.place, format!("there is no resource `{name}`{hint}"));
    }
    let (index, resource) = found?;
    Some((index, resource, deployment?))
}

fn warn_of_one_region(name: &str, model: &Model, targets: &[Target], findings: &mut Findings<'_>) {
    let Some(primary) = targets.first() else { return };
    if targets.iter().all(|target| target.region == primary.region) {
        let region = &primary.region;
        findings.warn(
            model.name.place,
            format_args!("model `{name}` has targets in `{region}` only: it cannot outlive an outage of that region"),
        );
    }
}

/// The version that a chat model's deployments are meant to serve.
fn expected_version(
    name: &str,
    kind: ModelKind,
    model: &Model,
    findings: &mut Findings<'_>,
) -> Option<ExpectedVersion> {
    let on_mismatch = model.on_version_mismatch.take(findings).copied().unwrap_or_default();
    let Some(stated) = &model.version else {
        if on_mismatch == OnVersionMismatch::Fail {
            let place = model.on_version_mismatch.place;
            findings.refuse(place, "`on_version_mismatch: fail` needs the `version` that is to be compared with");
        }
        return None;
    };
    let version = stated.take(findings)?;
    if kind == ModelKind::Embedding {
        let hint = "state it under `embedding`, since it is part of what makes vectors comparable";
        findings
            .refuse(stated.place, format!("`version` is only for chat, and `{name}` is an embedding model: {hint}"));
    }
    Some(ExpectedVersion { version: version.as_str().into(), on_mismatch })
}

/// What makes a model's vectors comparable; `None` for chat.
fn route_space(
    name: &str,
    kind: ModelKind,
    model: &Model,
    findings: &mut Findings<'_>,
) -> Option<Arc<domain::EmbeddingSpace>> {
    if kind == ModelKind::Chat {
        let claims = model.embedding.iter().chain(model.targets.iter().filter_map(|entry| entry.embedding.as_ref()));
        for claim in claims {
            findings.refuse(claim.place(), format!("`embedding` is only for `kind: embedding`, and `{name}` is chat"));
        }
        return None;
    }
    let mut spaces = Vec::new();
    for entry in &model.targets {
        spaces.push((entry, embedding_space(name, model, entry, findings)?));
    }
    agree(&spaces, findings);
    let version = spaces.iter().find_map(|(_, space)| space.version.clone());
    let (_, first) = spaces.into_iter().next()?;
    Some(Arc::new(domain::EmbeddingSpace { version, ..first }))
}

/// What a deployment's vectors are, as far as the file says, or Azure's list does.
fn embedding_space(
    name: &str,
    model: &Model,
    entry: &TargetEntry,
    findings: &mut Findings<'_>,
) -> Option<domain::EmbeddingSpace> {
    let claims = [entry.embedding.as_ref(), model.embedding.as_ref()];
    let claims = || claims.into_iter().flatten();
    let stated = claims().find_map(|claim| claim.model.as_ref()).and_then(|stated| stated.take(findings));
    let azure_name = stated.map_or(name, String::as_str);
    let known = AZURE_EMBEDDINGS.iter().find(|(known, _, _)| *known == azure_name);
    let version = claims().find_map(|claim| claim.version.as_ref()).and_then(|stated| stated.take(findings));
    let version = version.map(String::as_str).or(known.map(|(_, version, _)| *version));
    let own_length = known.map(|(_, _, dimensions)| *dimensions);
    let stated = claims().find_map(|claim| claim.dimensions.as_ref());
    let place = stated.map_or(model.name.place, |stated| stated.place);
    let Some(dimensions) = stated.and_then(|stated| stated.take(findings)).copied().or(own_length) else {
        let example = "embedding: { model: text-embedding-3-large, version: \"1\", dimensions: 3072 }";
        findings.refuse(
            place,
            format!("`{azure_name}` is none of Azure's embedding models; state what its vectors are: `{example}`"),
        );
        return None;
    };
    if dimensions == 0 || dimensions > MAX_DIMENSIONS {
        findings.refuse(place, format!("`dimensions` must be from 1 to {MAX_DIMENSIONS}"));
        return None;
    }
    let shortened = own_length.is_some_and(|own| own != dimensions);
    if let Some(own) = own_length.filter(|own| dimensions > *own || (shortened && azure_name == NEVER_SHORTENED)) {
        findings.refuse(place, format!("`{azure_name}` has vectors of {own} numbers, it cannot give {dimensions}"));
        return None;
    }
    let version = version.map(Into::into);
    Some(domain::EmbeddingSpace { model: azure_name.into(), version, dimensions, shortened })
}

/// Vectors of two kinds in one route would corrupt every index. A version that is not stated differs from none.
fn agree(spaces: &[(&TargetEntry, domain::EmbeddingSpace)], findings: &mut Findings<'_>) {
    let Some((first, rest)) = spaces.split_first() else { return };
    let told = |(entry, space): &(&TargetEntry, domain::EmbeddingSpace), what: &str| {
        let value = match what {
            "model" => space.model.to_string(),
            "version" => space.version.as_deref().unwrap_or_default().to_owned(),
            _ => space.dimensions.to_string(),
        };
        let (deployment, resource) = (entry.deployment.peek(), entry.resource.peek());
        let name = |name: Option<&String>| name.cloned().unwrap_or_default();
        format!("`{}` at `{}` (line {}) `{value}`", name(deployment), name(resource), entry.deployment.place.line)
    };
    for other in rest {
        let (ours, theirs) = (&first.1, &other.1);
        let versions_differ = matches!((&ours.version, &theirs.version), (Some(a), Some(b)) if a != b);
        for (what, differs) in [
            ("model", ours.model != theirs.model),
            ("version", versions_differ),
            ("dimensions", ours.dimensions != theirs.dimensions),
        ] {
            if differs {
                let place = other.0.embedding.as_ref().map_or(other.0.deployment.place, EmbeddingSpace::place);
                let (ours, theirs) = (told(first, what), told(other, what));
                findings.refuse(
                    place,
                    format!("{ours} and {theirs} have different {what}: vectors of two kinds in one route would corrupt every index"),
                );
            }
        }
    }
}

impl EmbeddingSpace {
    /// Where its first key stands.
    fn place(&self) -> Place {
        let places = [
            self.model.as_ref().map(|setting| setting.place),
            self.version.as_ref().map(|setting| setting.place),
            self.dimensions.as_ref().map(|setting| setting.place),
        ];
        places.into_iter().flatten().next().unwrap_or_default()
    }
}
