//! The file -> [`Config`]: every name looked up, every number checked, every default filled in, and every problem
//! found at once.
use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    sync::Arc,
    time::Duration,
};

use reqwest::Url;
use sealane_core::{
    domain::{self, ModelKind, ProcessingScope, RoutingOptions, Target, TargetId, normalise_region},
    policy::Policy,
    router::{Routes, Thresholds},
};
use secrecy::ExposeSecret as _;
use serde_saphyr::{Location, Spanned};

use super::{
    Config, ConfigError, KnownCaller, Limits,
    file::{self, File},
    problem::{Problems, nearest},
    secret,
    span::Span,
};
use crate::{
    azure::{Credential, PathStyle, ResourceSettings},
    telemetry::{LogStyle, TelemetrySettings},
};

type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

pub(super) fn resolve(text: &str, name: &str, environment: Environment<'_>) -> Result<Config, ConfigError> {
    let mut problems = Problems::of(name, text);
    let file: File = match serde_saphyr::from_str(text) {
        Ok(file) => file,
        Err(error) => {
            problems.unreadable(&error);
            return Err(problems.into_error());
        }
    };
    let resources = resources(&file.resources, environment, &mut problems);
    let targets = targets(&file, &mut problems);
    let policies = policies(&file, &mut problems);
    let default_policy = match &file.default_policy {
        None => Some(Arc::new(Policy::unrestricted())),
        Some(name) => find_policy(&policies, name, &mut problems),
    };
    let callers = callers(&file.callers, &policies, environment, &mut problems);
    let limits = limits(&file.limits, &mut problems);
    let thresholds = thresholds(&file.failover, &mut problems);
    let listen = listen(&file, &mut problems);
    let routes = Routes::new(targets).map_err(|error| problems.overall(error.to_string())).ok();
    if let Some(routes) = &routes {
        policies_permit_something(&file.policies, &policies, routes, &mut problems);
    }
    let (Some(routes), Some(default_policy), true) = (routes, default_policy, problems.is_empty()) else {
        return Err(problems.into_error());
    };
    let warnings = warnings(&routes, policies.iter().chain([&default_policy]));
    Ok(Config {
        revision: revision(text),
        listen,
        resources,
        routes,
        policies,
        default_policy,
        callers,
        limits,
        thresholds,
        drain_delay: span(&file.drain.delay, Duration::from_secs(5)),
        drain_grace: span(&file.drain.grace, Duration::from_secs(120)),
        telemetry: TelemetrySettings {
            otlp_endpoint: file.telemetry.otlp_endpoint,
            service_name: file.telemetry.service_name,
            logs: LogStyle::Json,
        },
        reflection: file.reflection.unwrap_or(true),
        image_uris: file.images.allow_uri,
        extra_params: file.models.into_iter().map(|model| (model.name.value, model.extra_params)).collect(),
        warnings,
    })
}

fn resources(
    list: &[file::Resource],
    environment: Environment<'_>,
    problems: &mut Problems<'_>,
) -> Vec<ResourceSettings> {
    if list.is_empty() {
        problems.overall("`resources` is empty: at least one Azure OpenAI resource is needed");
    }
    unique(list.iter().map(|one| &one.name), "resource", problems);
    let mut boundaries: HashMap<String, Option<&str>> = HashMap::new();
    for one in list {
        let region = normalise_region(&one.region.value);
        if region.is_empty() || !region.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            problems.at(one.region.referenced, format!("`{}` is no Azure region name", one.region.value));
        }
        let boundary = one.boundary.as_ref().map(|boundary| boundary.value.as_str());
        let known = *boundaries.entry(region.clone()).or_insert(boundary);
        if known != boundary {
            let place = one.boundary.as_ref().map_or(one.region.referenced, |boundary| boundary.referenced);
            let words = |boundary: Option<&str>| boundary.map_or("none".to_owned(), |label| format!("`{label}`"));
            let message = format!("region {region} has two data boundaries: {} and {}", words(known), words(boundary));
            problems.at(place, message);
        }
    }
    list.iter().filter_map(|one| resource(one, environment, problems)).collect()
}

fn resource(
    one: &file::Resource,
    environment: Environment<'_>,
    problems: &mut Problems<'_>,
) -> Option<ResourceSettings> {
    let endpoint = endpoint(one, problems);
    let file::Auth::ApiKey(key) = &one.auth;
    let key = secret::find(&key.value, environment)
        .map_err(|why| problems.at(key.referenced, format!("resources.{}.auth.api_key: {why}", one.name.value)));
    let default = PathStyle::Dated { api_version: "2024-10-21".to_owned() };
    let chat_path = one.api_version.as_ref().map_or(Some(default), |version| path_style(version, problems))?;
    let embeddings_path =
        one.embeddings_api_version.as_ref().map_or(Some(chat_path.clone()), |version| path_style(version, problems))?;
    Some(ResourceSettings {
        name: one.name.value.as_str().into(),
        endpoint: endpoint?,
        chat_path,
        embeddings_path,
        credential: Credential::ApiKey(key.ok()?),
        connect_timeout: span(&one.connect_timeout, Duration::from_secs(2)),
    })
}

fn endpoint(one: &file::Resource, problems: &mut Problems<'_>) -> Option<Url> {
    let (text, place) = (&one.endpoint.value, one.endpoint.referenced);
    let example = "such as https://contoso-swc.openai.azure.com";
    let url = match Url::parse(text) {
        Ok(url) if url.has_host() && matches!(url.scheme(), "https" | "http") => url,
        _ => {
            problems.at(place, format!("`{text}` is no endpoint: write the resource's address, {example}"));
            return None;
        }
    };
    let loopback = match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost",
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    };
    if url.scheme() == "http" && !loopback && !one.allow_insecure {
        problems.at(place, "http sends keys and prompts in the clear: use https, or set `allow_insecure: true`");
        return None;
    }
    if !url.username().is_empty() || url.password().is_some() || url.query().is_some() || url.fragment().is_some() {
        problems.at(place, format!("an endpoint has no user, query or fragment: write {example}"));
        return None;
    }
    if url.path_segments().is_some_and(|mut path| path.any(|segment| segment == "openai")) {
        problems.at(place, format!("leave out `/openai` and what follows: write {example}"));
        return None;
    }
    Some(url)
}

fn path_style(version: &Spanned<String>, problems: &mut Problems<'_>) -> Option<PathStyle> {
    let text = version.value.as_str();
    let dated = text.strip_suffix("-preview").unwrap_or(text);
    let is_date = dated.len() == 10
        && dated.char_indices().all(|(at, c)| if matches!(at, 4 | 7) { c == '-' } else { c.is_ascii_digit() });
    match text {
        "v1" => Some(PathStyle::V1),
        _ if is_date => Some(PathStyle::Dated { api_version: text.to_owned() }),
        _ => {
            problems.at(
                version.referenced,
                format!("`{text}` is no api-version: write v1, or a date such as 2024-10-21 or 2025-03-01-preview"),
            );
            None
        }
    }
}

fn targets(file: &File, problems: &mut Problems<'_>) -> Vec<Target> {
    if file.models.is_empty() {
        problems.overall("`models` is empty: at least one model is needed");
    }
    unique(file.models.iter().map(|model| &model.name), "model", problems);
    let mut targets = Vec::new();
    for model in &file.models {
        if model.targets.value.is_empty() {
            let message = format!("model {} has no targets: at least one deployment is needed", model.name.value);
            problems.at(model.targets.referenced, message);
        }
        one_embedding_space(model, problems);
        for target in &model.targets.value {
            let place = file.resources.iter().position(|resource| resource.name.value == target.resource.value);
            let Some(resource_index) = place else {
                let names: Vec<&str> = file.resources.iter().map(|resource| resource.name.value.as_str()).collect();
                unknown("resource", &target.resource, &names, problems);
                continue;
            };
            if target.deployment.value.trim().is_empty() {
                problems.at(target.deployment.referenced, "a deployment's name must not be empty");
            }
            targets.push((model, target, resource_index));
        }
    }
    let built = targets.into_iter().enumerate();
    built.map(|(id, (model, target, index))| build_target(id, model, target, index, &file.resources[index])).collect()
}

fn build_target(
    id: usize,
    model: &file::Model,
    target: &file::Target,
    resource_index: usize,
    resource: &file::Resource,
) -> Target {
    let sku = sku(target.sku);
    let spillover = target.spillover_sku.map(|spillover| self::sku(spillover).processing_scope());
    let kind = match model.kind {
        file::Kind::Chat => ModelKind::Chat,
        file::Kind::Embedding => ModelKind::Embedding,
    };
    Target {
        id: TargetId(u16::try_from(id).unwrap_or(u16::MAX)),
        model: model.name.value.as_str().into(),
        kind,
        resource: resource.name.value.as_str().into(),
        resource_index,
        region: normalise_region(&resource.region.value).into(),
        boundary: resource.boundary.as_ref().map(|boundary| boundary.value.as_str().into()),
        deployment: target.deployment.value.as_str().into(),
        sku,
        scope: spillover.map_or(sku.processing_scope(), |wider| wider.max(sku.processing_scope())),
        reasoning: model.reasoning,
        upstream_stream: match model.upstream_stream {
            file::UpstreamStream::Auto => domain::UpstreamStream::Auto,
            file::UpstreamStream::Never => domain::UpstreamStream::Never,
        },
        embedding_space: match kind {
            ModelKind::Chat => "".into(),
            ModelKind::Embedding => embedding_space(model, target).into(),
        },
    }
}

fn embedding_space(model: &file::Model, target: &file::Target) -> String {
    let version = target.version.as_ref().map(|version| version.value.as_str()).or(model.version.as_deref());
    let dimensions = target.dimensions.as_ref().map(|dimensions| dimensions.value).or(model.dimensions);
    let dimensions = dimensions.map_or_else(|| "-".to_owned(), |dimensions| dimensions.to_string());
    format!("{}/{}/{dimensions}", model.name.value, version.unwrap_or("-"))
}

/// Vectors of two spaces in one index corrupt it silently, so a declared difference refuses the start.
fn one_embedding_space(model: &file::Model, problems: &mut Problems<'_>) {
    let embedding = matches!(model.kind, file::Kind::Embedding);
    let Some((first, rest)) = model.targets.value.split_first().filter(|_| embedding) else { return };
    for target in rest {
        let (known, other) = (embedding_space(model, first), embedding_space(model, target));
        if known != other {
            let message = format!(
                "vectors of {} ({known}) and {} ({other}) cannot be compared: targets of one model must agree in \
                 version and dimensions",
                first.deployment.value, target.deployment.value
            );
            problems.at(target.deployment.referenced, message);
        }
    }
}

fn sku(sku: file::Sku) -> domain::Sku {
    match sku {
        file::Sku::Standard => domain::Sku::Standard,
        file::Sku::ProvisionedManaged => domain::Sku::ProvisionedManaged,
        file::Sku::DataZoneStandard => domain::Sku::DataZoneStandard,
        file::Sku::DataZoneProvisionedManaged => domain::Sku::DataZoneProvisionedManaged,
        file::Sku::GlobalStandard => domain::Sku::GlobalStandard,
        file::Sku::GlobalProvisionedManaged => domain::Sku::GlobalProvisionedManaged,
        file::Sku::DeveloperTier => domain::Sku::DeveloperTier,
    }
}

fn policies(file: &File, problems: &mut Problems<'_>) -> Vec<Arc<Policy>> {
    unique(file.policies.iter().map(|policy| &policy.name), "policy", problems);
    let regions: Vec<String> = file.resources.iter().map(|one| normalise_region(&one.region.value)).collect();
    let boundaries: Vec<&str> =
        file.resources.iter().filter_map(|one| one.boundary.as_ref()).map(|boundary| boundary.value.as_str()).collect();
    for policy in &file.policies {
        for region in policy.regions.iter().filter(|region| !regions.contains(&normalise_region(&region.value))) {
            unknown("region", region, &regions, problems);
        }
        for label in policy.boundaries.iter().filter(|label| !boundaries.contains(&label.value.as_str())) {
            unknown("boundary", label, &boundaries, problems);
        }
    }
    let policy = |policy: &file::Policy| Policy {
        name: policy.name.value.as_str().into(),
        regions: policy.regions.iter().map(|region| normalise_region(&region.value).into()).collect(),
        boundaries: policy.boundaries.iter().map(|label| label.value.as_str().into()).collect(),
        max_scope: match policy.max_scope {
            file::Scope::Regional => ProcessingScope::Regional,
            file::Scope::DataZone => ProcessingScope::DataZone,
            file::Scope::Global => ProcessingScope::Global,
        },
    };
    file.policies.iter().map(|one| Arc::new(policy(one))).collect()
}

/// A policy that permits no model at all can only be a mistake; single gaps are warnings.
fn policies_permit_something(
    written: &[file::Policy],
    policies: &[Arc<Policy>],
    routes: &Routes,
    problems: &mut Problems<'_>,
) {
    let any = RoutingOptions::default();
    for (written, policy) in written.iter().zip(policies) {
        if !routes.targets().is_empty() && !routes.targets().iter().any(|target| policy.permit(target, &any).is_ok()) {
            let message = format!("policy {} permits no target of any model", policy.name);
            problems.at(written.name.referenced, message);
        }
    }
}

fn find_policy(policies: &[Arc<Policy>], name: &Spanned<String>, problems: &mut Problems<'_>) -> Option<Arc<Policy>> {
    let found = policies.iter().find(|policy| *policy.name == *name.value).cloned();
    if found.is_none() {
        let names: Vec<&str> = policies.iter().map(|policy| &*policy.name).collect();
        unknown("policy", name, &names, problems);
    }
    found
}

fn callers(
    list: &[file::Caller],
    policies: &[Arc<Policy>],
    environment: Environment<'_>,
    problems: &mut Problems<'_>,
) -> Vec<KnownCaller> {
    const SHORTEST_TOKEN: usize = 16;
    unique(list.iter().map(|one| &one.name), "caller", problems);
    let mut callers: Vec<KnownCaller> = Vec::new();
    for one in list {
        let policy = find_policy(policies, &one.policy, problems);
        let token = match secret::find(&one.token.value, environment) {
            Ok(token) if token.expose_secret().len() < SHORTEST_TOKEN => {
                Err(format!("the token has fewer than {SHORTEST_TOKEN} characters"))
            }
            Ok(token) if callers.iter().any(|known| known.token.expose_secret() == token.expose_secret()) => {
                Err("another caller has the same token".to_owned())
            }
            found => found,
        };
        let token = token.map_err(|why| {
            problems.at(one.token.referenced, format!("callers.{}.token: {why}", one.name.value));
        });
        if let (Some(policy), Ok(token)) = (policy, token) {
            callers.push(KnownCaller { name: one.name.value.as_str().into(), token, policy });
        }
    }
    callers
}

fn limits(limits: &file::Limits, problems: &mut Problems<'_>) -> Limits {
    let mut bytes = |value: &Option<Spanned<usize>>, default: usize| match value {
        None => default,
        Some(value) if (1024..=256 << 20).contains(&value.value) => value.value,
        Some(value) => {
            problems.at(value.referenced, "must be from 1024 to 268435456 bytes");
            default
        }
    };
    let max_request_bytes = bytes(&limits.max_request_bytes, 16 << 20);
    let max_response_bytes = bytes(&limits.max_response_bytes, (4 << 20) - (64 << 10));
    let max_concurrent_calls = match &limits.max_concurrent_calls {
        None => 256,
        Some(value) if (1..=100_000).contains(&value.value) => value.value,
        Some(value) => {
            problems.at(value.referenced, "must be from 1 to 100000");
            256
        }
    };
    let minutes = |minutes: u64| Duration::from_secs(minutes * 60);
    let mut deadlines = |default: &Option<Spanned<Span>>, longest: &Option<Spanned<Span>>, otherwise: (_, _)| {
        let pair = (span(default, otherwise.0), span(longest, otherwise.1));
        if pair.0 > pair.1
            && let Some(place) = place(default).or(place(longest))
        {
            problems.at(place, "the default deadline is longer than the longest");
        }
        pair
    };
    Limits {
        max_request_bytes,
        max_response_bytes,
        unary_deadlines: deadlines(&limits.default_deadline, &limits.max_deadline, (minutes(1), minutes(10))),
        stream_deadlines: deadlines(
            &limits.default_stream_deadline,
            &limits.max_stream_deadline,
            (minutes(10), minutes(60)),
        ),
        max_concurrent_calls,
    }
}

fn thresholds(failover: &file::Failover, problems: &mut Problems<'_>) -> Thresholds {
    let default = Thresholds::default();
    let percent = |value: &Option<Spanned<u32>>, default: u32| value.as_ref().map_or(default, |value| value.value);
    let thresholds = Thresholds {
        first_content_floor: span(&failover.first_content, default.first_content_floor),
        first_content_reasoning: span(&failover.first_content_reasoning, default.first_content_reasoning),
        unary_reply: span(&failover.unary_reply, default.unary_reply),
        stall: span(&failover.stall, default.stall),
        stall_reasoning: span(&failover.stall_reasoning, default.stall_reasoning),
        attempt_share_percent: percent(&failover.attempt_share_percent, default.attempt_share_percent),
        cooling: (
            span(&failover.shortest_cooling, default.cooling.0),
            span(&failover.longest_cooling, default.cooling.1),
        ),
        longest_wait: span(&failover.longest_wait, default.longest_wait),
        retry_budget_percent: percent(&failover.retry_budget_percent, default.retry_budget_percent),
        ..default
    };
    let places = [
        ("attempt_share_percent", place(&failover.attempt_share_percent)),
        ("retry_budget_percent", place(&failover.retry_budget_percent)),
        ("cooling", place(&failover.shortest_cooling).or(place(&failover.longest_cooling))),
    ];
    thresholds.check().unwrap_or_else(|error| {
        match places.iter().find(|(field, _)| *field == error.field).and_then(|(_, place)| *place) {
            Some(place) => problems.at(place, error.to_string()),
            None => problems.overall(format!("failover: {error}")),
        }
        Thresholds::default()
    })
}

fn listen(file: &File, problems: &mut Problems<'_>) -> std::net::SocketAddr {
    let default = std::net::SocketAddr::from(([127, 0, 0, 1], 50051));
    let Some(listen) = &file.listen else { return default };
    if file.callers.is_empty() && !listen.value.ip().is_loopback() {
        problems.at(
            listen.referenced,
            "without `callers` anyone who reaches this address could use it: configure callers, or listen on 127.0.0.1",
        );
    }
    listen.value
}

fn warnings<'a>(routes: &Routes, policies: impl Iterator<Item = &'a Arc<Policy>>) -> Vec<String> {
    let any = RoutingOptions::default();
    let mut warnings = Vec::new();
    for policy in policies {
        for route in routes.all() {
            let targets = route.targets.iter().filter_map(|id| routes.targets().get(usize::from(id.0)));
            match targets.filter(|target| policy.permit(target, &any).is_ok()).count() {
                0 => warnings.push(format!(
                    "policy {} permits no target of model {}: its calls get FAILED_PRECONDITION",
                    policy.name, route.model
                )),
                1 => warnings.push(format!(
                    "policy {} permits a single target of model {}: nothing can rescue its calls",
                    policy.name, route.model
                )),
                _ => {}
            }
        }
    }
    warnings
}

fn unique<'a>(names: impl Iterator<Item = &'a Spanned<String>>, what: &str, problems: &mut Problems<'_>) {
    let mut seen: Vec<&str> = Vec::new();
    for name in names {
        if name.value.trim().is_empty() {
            problems.at(name.referenced, format!("a {what}'s name must not be empty"));
        } else if seen.contains(&name.value.as_str()) {
            problems.at(name.referenced, format!("there are two {what} entries named `{}`", name.value));
        }
        seen.push(&name.value);
    }
}

fn unknown(what: &str, name: &Spanned<String>, known: &[impl AsRef<str>], problems: &mut Problems<'_>) {
    let list: Vec<&str> = known.iter().map(AsRef::as_ref).collect();
    let message = match (nearest(&name.value, known), list.is_empty()) {
        (Some(meant), _) => format!("there is no {what} `{}`: did you mean `{meant}`?", name.value),
        (None, false) => format!("there is no {what} `{}`: configured are {}", name.value, list.join(", ")),
        (None, true) => format!("there is no {what} `{}`: none is configured", name.value),
    };
    problems.at(name.referenced, message);
}

fn span(written: &Option<Spanned<Span>>, default: Duration) -> Duration {
    written.as_ref().map_or(default, |span| span.value.0)
}

fn place<T>(written: &Option<Spanned<T>>) -> Option<Location> {
    written.as_ref().map(|written| written.referenced)
}

fn revision(text: &str) -> String {
    // Not a proof of anything: it only tells two configurations apart. The standard hasher's keys are fixed.
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    format!("{:016x}", hasher.finish())[..12].to_owned()
}
