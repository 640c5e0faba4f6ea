//! The file as it is written: names, defaults and docs of every key. `sealane config schema` prints these as JSON
//! Schema for editors; `super::build` turns them into a [`Config`](super::Config).
use std::net::SocketAddr;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_saphyr::Spanned;

use super::span::Span;

/// Sealane's configuration. Only `resources` and `models` are required.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    /// Where to listen for gRPC. Default `127.0.0.1:50051`. Without `callers` only loopback addresses are allowed.
    #[schemars(with = "Option<String>")]
    pub(super) listen: Option<Spanned<SocketAddr>>,
    /// Azure OpenAI resources.
    pub(super) resources: Vec<Resource>,
    /// What callers may ask for, and which deployments answer.
    pub(super) models: Vec<Model>,
    /// Which regions, boundaries and processing scopes a caller's data may go to.
    #[serde(default)]
    pub(super) policies: Vec<Policy>,
    /// Policy of calls where no callers are configured. Default: every target is permitted.
    #[schemars(with = "Option<String>")]
    pub(super) default_policy: Option<Spanned<String>>,
    /// Who may call. Default: whoever reaches the service, which then listens on loopback only.
    #[serde(default)]
    pub(super) callers: Vec<Caller>,
    /// Sizes and deadlines.
    #[serde(default)]
    pub(super) limits: Limits,
    /// When an attempt is given up, and what happens then.
    #[serde(default)]
    pub(super) failover: Failover,
    /// How the service stops.
    #[serde(default)]
    pub(super) drain: Drain,
    /// Traces.
    #[serde(default)]
    pub(super) telemetry: Telemetry,
    /// Images in prompts.
    #[serde(default)]
    pub(super) images: Images,
    /// Serve gRPC reflection, for grpcurl and its like. Default true.
    pub(super) reflection: Option<bool>,
}

/// One Azure OpenAI resource.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Resource {
    /// Your name for it.
    #[schemars(with = "String")]
    pub(super) name: Spanned<String>,
    /// Azure region, such as `swedencentral`.
    #[schemars(with = "String")]
    pub(super) region: Spanned<String>,
    /// Your label for the region's data boundary, such as `eu`.
    #[schemars(with = "Option<String>")]
    pub(super) boundary: Option<Spanned<String>>,
    /// Such as `https://contoso-swc.openai.azure.com`.
    #[schemars(with = "String")]
    pub(super) endpoint: Spanned<String>,
    /// How the service proves itself.
    pub(super) auth: Auth,
    /// Path style of all operations: a dated api-version such as `2024-10-21`, or `v1`. Default `2024-10-21`.
    #[schemars(with = "Option<String>")]
    pub(super) api_version: Option<Spanned<String>>,
    /// The same for embeddings only. Default: as `api_version`.
    #[schemars(with = "Option<String>")]
    pub(super) embeddings_api_version: Option<Spanned<String>>,
    /// Allow `http:` to an address that is not loopback. Default false.
    #[serde(default)]
    pub(super) allow_insecure: bool,
    /// Limit for DNS, TCP and TLS together. Default `2s`.
    #[schemars(with = "Option<String>")]
    pub(super) connect_timeout: Option<Spanned<Span>>,
}

/// How the service proves itself to a resource.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub(super) enum Auth {
    /// A key of the resource.
    ApiKey(#[schemars(with = "Secret")] Spanned<Secret>),
}

/// Where a secret is found. It never stands in the file itself.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub(super) enum Secret {
    /// Name of an environment variable.
    Env(String),
    /// Path of a file; white space around its content is dropped.
    File(std::path::PathBuf),
}

/// A model that callers may ask for.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Model {
    /// The name callers use.
    #[schemars(with = "String")]
    pub(super) name: Spanned<String>,
    /// What it does. Default `chat`.
    #[serde(default)]
    pub(super) kind: Kind,
    /// It thinks in silence before it answers (o-series, gpt-5): minutes are normal. Default false.
    #[serde(default)]
    pub(super) reasoning: bool,
    /// How unary `Complete` calls are made upstream. Default `auto`: streamed, so that silence is seen at once.
    #[serde(default)]
    pub(super) upstream_stream: UpstreamStream,
    /// Further upstream parameters that requests may set through `extra_params`. Default none.
    #[serde(default)]
    pub(super) extra_params: Vec<String>,
    /// Embeddings only: version of the model, part of the embedding space's id.
    pub(super) version: Option<String>,
    /// Embeddings only: full length of its vectors, part of the embedding space's id.
    pub(super) dimensions: Option<u32>,
    /// Deployments in order of preference; the first is the primary.
    #[schemars(with = "Vec<Target>")]
    pub(super) targets: Spanned<Vec<Target>>,
}

/// What a model does.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Kind {
    /// Chat completions.
    #[default]
    Chat,
    /// Embeddings.
    Embedding,
}

/// How unary calls are made upstream.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum UpstreamStream {
    /// Streamed and assembled by the service.
    #[default]
    Auto,
    /// In Azure's unary form.
    Never,
}

/// One deployment of a model.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Target {
    /// Name of the resource.
    #[schemars(with = "String")]
    pub(super) resource: Spanned<String>,
    /// Azure deployment name.
    #[schemars(with = "String")]
    pub(super) deployment: Spanned<String>,
    /// Deployment type. It decides where Azure may compute. Default `Standard`.
    #[serde(default)]
    pub(super) sku: Sku,
    /// Deployment type of the deployment that this one spills over to, if one is configured in Azure. The target then
    /// counts as the wider of the two.
    pub(super) spillover_sku: Option<Sku>,
    /// Embeddings only: version deployed here. Default: the model's.
    #[schemars(with = "Option<String>")]
    pub(super) version: Option<Spanned<String>>,
    /// Embeddings only: full length of the vectors here. Default: the model's.
    #[schemars(with = "Option<u32>")]
    pub(super) dimensions: Option<Spanned<u32>>,
}

/// Azure's deployment types.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema)]
#[allow(missing_docs)] // Azure's own words
pub(super) enum Sku {
    #[default]
    Standard,
    ProvisionedManaged,
    DataZoneStandard,
    DataZoneProvisionedManaged,
    GlobalStandard,
    GlobalProvisionedManaged,
    DeveloperTier,
}

/// Where data may go. Empty lists permit all.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Policy {
    /// Your name for it.
    #[schemars(with = "String")]
    pub(super) name: Spanned<String>,
    /// Azure regions.
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    pub(super) regions: Vec<Spanned<String>>,
    /// Data boundary labels.
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    pub(super) boundaries: Vec<Spanned<String>>,
    /// Widest processing scope. Default `regional`: wider ones must be asked for.
    #[serde(default)]
    pub(super) max_scope: Scope,
}

/// Where Azure may compute.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Scope {
    /// In the deployment's own region.
    #[default]
    Regional,
    /// Anywhere in its data zone.
    DataZone,
    /// Anywhere.
    Global,
}

/// A client of the service.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Caller {
    /// Its name in traces.
    #[schemars(with = "String")]
    pub(super) name: Spanned<String>,
    /// Its bearer token, at least 16 characters.
    #[schemars(with = "Secret")]
    pub(super) token: Spanned<Secret>,
    /// Name of the policy its data is bound to.
    #[schemars(with = "String")]
    pub(super) policy: Spanned<String>,
}

/// Sizes and deadlines.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Limits {
    /// Bytes of a request. Default 16 MiB.
    #[schemars(with = "Option<u64>")]
    pub(super) max_request_bytes: Option<Spanned<usize>>,
    /// Bytes of a reply, unless the caller states that it takes more. Default 4 MiB less 64 KiB: what gRPC clients
    /// take by default.
    #[schemars(with = "Option<u64>")]
    pub(super) max_response_bytes: Option<Spanned<usize>>,
    /// Deadline of a unary call that states none. Default `60s`.
    #[schemars(with = "Option<String>")]
    pub(super) default_deadline: Option<Spanned<Span>>,
    /// Longest deadline of a unary call. Default `10m`.
    #[schemars(with = "Option<String>")]
    pub(super) max_deadline: Option<Spanned<Span>>,
    /// Deadline of a stream that states none. Default `10m`.
    #[schemars(with = "Option<String>")]
    pub(super) default_stream_deadline: Option<Spanned<Span>>,
    /// Longest deadline of a stream. Default `1h`.
    #[schemars(with = "Option<String>")]
    pub(super) max_stream_deadline: Option<Spanned<Span>>,
    /// Calls in flight on one connection. Default 256.
    #[schemars(with = "Option<u32>")]
    pub(super) max_concurrent_calls: Option<Spanned<u32>>,
}

/// The router's numbers that are worth an operator's thought.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Failover {
    /// Longest wait for the first content. Default `10s`; 1 s more for every 4000 prompt tokens.
    #[schemars(with = "Option<String>")]
    pub(super) first_content: Option<Spanned<Span>>,
    /// The same for reasoning models. Default `5m`.
    #[schemars(with = "Option<String>")]
    pub(super) first_content_reasoning: Option<Spanned<Span>>,
    /// Longest wait for a reply in Azure's unary form. Default `2m`.
    #[schemars(with = "Option<String>")]
    pub(super) unary_reply: Option<Spanned<Span>>,
    /// Longest gap between two events of a stream. Default `10s`.
    #[schemars(with = "Option<String>")]
    pub(super) stall: Option<Spanned<Span>>,
    /// The same for reasoning models. Default `60s`.
    #[schemars(with = "Option<String>")]
    pub(super) stall_reasoning: Option<Spanned<Span>>,
    /// Share of the remaining time that an attempt may use while another region is left to rescue the call, in
    /// percent. Default 60.
    #[schemars(with = "Option<u32>")]
    pub(super) attempt_share_percent: Option<Spanned<u32>>,
    /// Shortest cooling after a 429. Default `1s`.
    #[schemars(with = "Option<String>")]
    pub(super) shortest_cooling: Option<Spanned<Span>>,
    /// Longest cooling after a 429, whatever Azure's hint says. Default `60s`.
    #[schemars(with = "Option<String>")]
    pub(super) longest_cooling: Option<Spanned<Span>>,
    /// Longest wait for a cooling region when no other is left. Default `5s`.
    #[schemars(with = "Option<String>")]
    pub(super) longest_wait: Option<Spanned<Span>>,
    /// Second attempts at a sole region, as percent of its calls. Default 10.
    #[schemars(with = "Option<u32>")]
    pub(super) retry_budget_percent: Option<Spanned<u32>>,
}

/// How the service stops.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Drain {
    /// Calls are still taken this long after health turned, so that load balancers notice first. Default `5s`.
    #[schemars(with = "Option<String>")]
    pub(super) delay: Option<Spanned<Span>>,
    /// Calls in flight may take this long to finish after that. Default `2m`.
    #[schemars(with = "Option<String>")]
    pub(super) grace: Option<Spanned<Span>>,
}

/// Traces.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Telemetry {
    /// OTLP over gRPC, such as `http://localhost:4317`. Default: nothing is exported. The usual `OTEL_...`
    /// environment variables win.
    pub(super) otlp_endpoint: Option<String>,
    /// `service.name`. Default `sealane`.
    pub(super) service_name: Option<String>,
}

/// Images in prompts.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Images {
    /// Let callers give images as addresses, which Azure then fetches. Default false.
    #[serde(default)]
    pub(super) allow_uri: bool,
}
