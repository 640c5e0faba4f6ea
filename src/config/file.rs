//! The file as it is written. Every key has its unit and default here; `sealane config schema` prints this for editors.
mod defaults;

use std::{net::SocketAddr, time::Duration};

use schemars::JsonSchema;
use sealane_core::domain::{ModelKind, OnMismatch, OnVersionMismatch, ProcessingScope, Sku, UpstreamStream};
use serde::{Deserialize, Serialize};

use super::{
    audit::Audit,
    auth::Auth,
    tls::Tls,
    value::{Bytes, PathFamily, Placed, SecretRef, Setting},
};
use crate::{azure::OutputCap, identity::Audience};

/// The configuration of Sealane.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "sealane.yaml")]
pub(super) struct File {
    /// IP address and port to listen on. Without `callers` it must be a loopback address. Default 127.0.0.1:50051.
    #[serde(default = "defaults::listen")]
    pub(super) listen: Setting<SocketAddr>,
    /// Azure OpenAI resources: endpoint and credentials, each in one region.
    pub(super) resources: Vec<Resource>,
    /// What callers may ask for, and the deployments that serve it.
    pub(super) models: Vec<Model>,
    /// Where callers' data may go. Default: none but the built-in `unrestricted`.
    #[serde(default)]
    pub(super) policies: Vec<PolicyEntry>,
    /// The policy of every call where no `callers` are configured. Default `unrestricted`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) default_policy: Option<Setting<String>>,
    /// Who may call. Default: whoever reaches the service, which then listens on loopback only.
    #[serde(default)]
    pub(super) callers: Vec<CallerEntry>,
    /// TLS towards callers. Default: plain text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) tls: Option<Tls>,
    /// Who may see `RegionService`: `nobody`, `operators`, `callers` or `anyone`. Default callers.
    #[serde(default = "defaults::callers")]
    pub(super) region_status: Setting<Audience>,
    /// Sizes, deadlines and counts.
    #[serde(default)]
    pub(super) limits: Limits,
    /// When an attempt is given up and another target tried.
    #[serde(default)]
    pub(super) failover: Failover,
    /// Where standings are kept, so that a restart does not send everything back to a primary that is down; relative to
    /// this file's folder. Default: nowhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) state_file: Option<Setting<String>>,
    /// Where `sealane check --azure` keeps what Azure's control plane confirmed, so that the service knows; relative to
    /// this file's folder. What was confirmed more than 30 days ago counts no more. Default: nowhere; every scope then
    /// counts as declared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) scope_evidence_file: Option<Setting<String>>,
    /// What follows when Azure's answers contradict this file (another region, another deployment, a spillover that is
    /// not declared): `alarm`, or `quarantine`, which also takes the target out of its routes until an operator releases
    /// it or the service starts anew. Default alarm.
    #[serde(default = "defaults::alarm")]
    pub(super) on_region_mismatch: Setting<OnMismatch>,
    /// The audit journal. Default: none is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) audit: Option<Audit>,
    /// How the service stops.
    #[serde(default)]
    pub(super) drain: Drain,
    /// Traces and metrics.
    #[serde(default)]
    pub(super) telemetry: Telemetry,
    /// Metrics, probes and a status page over HTTP.
    #[serde(default)]
    pub(super) ops: Ops,
    /// Who may use gRPC reflection, with which grpcurl lists and describes: `nobody`, `operators`, `callers` or `anyone`.
    /// Default anyone.
    #[serde(default = "defaults::anyone")]
    pub(super) reflection: Setting<Audience>,
    /// Pictures in requests.
    #[serde(default)]
    pub(super) images: Images,
}

/// One Azure OpenAI resource in one region.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Resource {
    /// A name of your choice; targets refer to it.
    pub(super) name: Setting<String>,
    /// Azure region, such as `swedencentral`.
    pub(super) region: Setting<String>,
    /// Data boundary label of that region, such as `eu`; one region has one label. Default none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) boundary: Option<Setting<String>>,
    /// Scheme and host, such as `https://contoso-swc.openai.azure.com`; without `/openai`.
    pub(super) endpoint: Setting<String>,
    /// How the service proves itself there.
    pub(super) auth: Placed<Auth>,
    /// Where Azure's control plane knows it, for `sealane check --azure`. Default: it is not asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) arm: Option<Arm>,
    /// Addresses of chat completions.
    #[serde(default)]
    pub(super) chat: OperationPath,
    /// Field that carries the longest answer: `max_completion_tokens`, or `max_tokens` for compatible servers that know
    /// only that. Default max_completion_tokens.
    #[serde(default = "defaults::max_completion_tokens")]
    pub(super) output_cap: Setting<OutputCap>,
    /// Addresses of embeddings.
    #[serde(default)]
    pub(super) embeddings: OperationPath,
    /// Permits an `http:` endpoint that is not on loopback: keys and prompts then travel in the clear. Default false.
    #[serde(default = "defaults::no")]
    pub(super) allow_insecure: Setting<bool>,
    /// The same as the key of this name at the top, for this resource. Default: as there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) on_region_mismatch: Option<Setting<OnMismatch>>,
    /// Limit for DNS, TCP and TLS together. Default 2s.
    #[serde(default = "defaults::connect_timeout")]
    pub(super) connect_timeout: Setting<Duration>,
}

/// Where Azure's control plane (ARM) knows a resource.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Arm {
    /// Subscription id.
    pub(super) subscription: Setting<String>,
    /// Resource group.
    pub(super) resource_group: Setting<String>,
    /// Name of the Azure OpenAI account.
    pub(super) account: Setting<String>,
}

impl Arm {
    fn names(&mut self) -> [&mut Setting<String>; 3] {
        [&mut self.subscription, &mut self.resource_group, &mut self.account]
    }
}

/// Which of Azure's two families of addresses an operation uses.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct OperationPath {
    /// `dated` (`/openai/deployments/...?api-version=`) or `v1` (`/openai/v1/...`). Default dated.
    pub(super) path: Setting<PathFamily>,
    /// Only with `dated`. Default 2024-10-21, the last generally available one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) api_version: Option<Setting<String>>,
}

/// A logical model and its route.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Model {
    /// The name that callers use.
    pub(super) name: Setting<String>,
    /// `chat` or `embedding`. Default chat.
    #[serde(default = "defaults::chat")]
    pub(super) kind: Setting<ModelKind>,
    /// The model thinks in silence before it speaks, so it gets longer limits. Default false.
    #[serde(default = "defaults::no")]
    pub(super) reasoning: Setting<bool>,
    /// `auto`: whole answers are streamed from Azure and assembled here, so that trouble is seen at once; `never`:
    /// Azure's unary form. Default auto.
    #[serde(default = "defaults::auto")]
    pub(super) upstream_stream: Setting<UpstreamStream>,
    /// Chat models only: the model version that its deployments serve, as Azure writes it, such as `2024-11-20`. Azure
    /// upgrades deployments by itself; answers that state another version raise an alarm. Default: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) version: Option<Setting<String>>,
    /// What an answer of another version than `version` means: `alarm`, or `fail`, and the next target is tried.
    /// Default alarm.
    #[serde(default = "defaults::version_alarm")]
    pub(super) on_version_mismatch: Setting<OnVersionMismatch>,
    /// Chat models only: the model takes pictures, which `sealane parity` then tries. Requests with pictures are passed on
    /// either way. Default false.
    #[serde(default = "defaults::no")]
    pub(super) vision: Setting<bool>,
    /// Names of further Azure parameters that requests may pass in `extra_params`, such as `store`, with which Azure
    /// keeps prompt and answer. Default none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) extra_params: Vec<Setting<String>>,
    /// Embedding models only: what makes their vectors comparable. Default: by the model's name where it is one of
    /// Azure's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) embedding: Option<EmbeddingSpace>,
    /// Deployments in order of preference; the first is the primary, the rest are standbys.
    pub(super) targets: Vec<TargetEntry>,
}

/// What makes vectors comparable: equal for all targets of a model.
#[derive(Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct EmbeddingSpace {
    /// Azure's name of the model, such as `text-embedding-3-large`. Default: the model's `name`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) model: Option<Setting<String>>,
    /// Azure's model version. Default: the one in service, where the model is one of Azure's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) version: Option<Setting<String>>,
    /// Length of a vector. Default: the model's own, where it is one of Azure's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) dimensions: Option<Setting<u32>>,
}

/// One deployment.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct TargetEntry {
    /// Name of a resource.
    pub(super) resource: Setting<String>,
    /// Azure deployment name.
    pub(super) deployment: Setting<String>,
    /// Deployment type (`sku.name` in Azure): says where Azure may compute, so it has no default.
    pub(super) sku: Setting<Sku>,
    /// The deployment that Azure spills over to from a provisioned one, if that is set up: it widens where Azure may
    /// compute. Default none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) spillover: Option<Spillover>,
    /// The deployment's tokens a minute (TPM) in Azure. Default: what Azure's headers state, which always counts more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) tokens_per_minute: Option<Setting<u32>>,
    /// The deployment's requests a minute (RPM) in Azure. Default: what Azure's headers state, which always counts more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) requests_per_minute: Option<Setting<u32>>,
    /// Embedding models only: this deployment's own claim; must equal that of the others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) embedding: Option<EmbeddingSpace>,
}

/// Where a provisioned deployment spills over to.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Spillover {
    /// Azure deployment name.
    pub(super) deployment: Setting<String>,
    /// Its deployment type.
    pub(super) sku: Setting<Sku>,
}

/// Where callers' data may go.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PolicyEntry {
    /// A name of your choice; callers refer to it.
    pub(super) name: Setting<String>,
    /// Azure regions. Default: any.
    #[serde(default)]
    pub(super) regions: Vec<Setting<String>>,
    /// Data boundary labels. Default: any.
    #[serde(default)]
    pub(super) boundaries: Vec<Setting<String>>,
    /// Widest processing scope: `regional`, `data_zone` or `global`. Default regional.
    #[serde(default = "defaults::regional")]
    pub(super) max_scope: Setting<ProcessingScope>,
    /// Classes of data that calls may declare in `routing.data_class`. Default: any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) data_classes: Vec<Setting<String>>,
    /// A call must declare its class of data. Default: true where `data_classes` are listed, else false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) require_data_class: Option<Setting<bool>>,
    /// Where there is a journal (`audit`): refuse calls while it cannot record them. Default true.
    #[serde(default = "defaults::yes")]
    pub(super) audit_required: Setting<bool>,
}

/// A client of the service.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CallerEntry {
    /// A name of your choice; shown in spans and in the journal.
    pub(super) name: Setting<String>,
    /// The bearer token it sends; read again when its file changes. A caller needs a token, a certificate or both.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) token: Option<SecretRef>,
    /// Further tokens, so that one can replace another without a gap. Default none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) tokens: Vec<SecretRef>,
    /// The client certificate it connects with; needs `tls.client_ca`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) certificate: Option<CertificateEntry>,
    /// Name of the policy that binds its data; `unrestricted` is built in.
    pub(super) policy: Setting<String>,
    /// May take targets out of service, put them back and order validations. Default false.
    #[serde(default = "defaults::no")]
    pub(super) operator: Setting<bool>,
    /// Names of models that it may use. Default: every one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) models: Option<Vec<Setting<String>>>,
    /// How much it may use. Default: as much as it likes.
    #[serde(default)]
    pub(super) limits: CallerLimits,
}

/// A caller's client certificate.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CertificateEntry {
    /// Subject alternative names, one of which the certificate must have: DNS names, or URIs such as
    /// `spiffe://contoso.com/ingest`. Compared whole.
    pub(super) san: Vec<Setting<String>>,
}

/// How much a caller may use.
#[derive(Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct CallerLimits {
    /// Calls that begin, a minute; a minute's worth may come at once. Default: any number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) calls_per_minute: Option<Setting<u32>>,
    /// Tokens a minute, prompt and answer: estimated when a call begins (characters / 4 and `max_output_tokens`),
    /// settled by what Azure reports. Default: any number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) tokens_per_minute: Option<Setting<u32>>,
    /// Calls at the same time. Default: any number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) calls_in_flight: Option<Setting<u32>>,
}

/// Sizes, deadlines and counts.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Limits {
    /// Bytes of a request. Default 16MiB.
    pub(super) max_request_bytes: Setting<Bytes>,
    /// Bytes of a reply to a caller that does not state that it takes more. Default 4032KiB: gRPC clients take 4 MiB.
    pub(super) max_response_bytes: Setting<Bytes>,
    /// Bytes of a reply, whatever the caller states. Default 64MiB.
    pub(super) longest_response_bytes: Setting<Bytes>,
    /// Deadline of a unary call that states none. Default 60s.
    pub(super) default_deadline: Setting<Duration>,
    /// Longest deadline of a unary call. Default 10m.
    pub(super) max_deadline: Setting<Duration>,
    /// Deadline of a stream that states none. Default 10m.
    pub(super) stream_default_deadline: Setting<Duration>,
    /// Longest deadline of a stream. Default 1h.
    pub(super) stream_max_deadline: Setting<Duration>,
    /// Calls in flight on one connection. Default 256.
    pub(super) max_concurrent_streams: Setting<u32>,
}

/// When an attempt is given up and another target tried.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Failover {
    /// Longest wait for the first content of a chat answer, or for the head of an embeddings reply. Default 10s.
    pub(super) first_content: Setting<Duration>,
    /// Added for every 4 000 prompt tokens. Default 1s.
    pub(super) first_content_per_4000_tokens: Setting<Duration>,
    /// The same limit for models marked `reasoning`. Default 5m, or `first_content` if that is longer.
    pub(super) first_content_reasoning: Setting<Duration>,
    /// Longest wait for a chat reply in Azure's unary form. Default 2m.
    pub(super) unary_reply: Setting<Duration>,
    /// Longest gap between two events of a stream. Default 10s.
    pub(super) stall: Setting<Duration>,
    /// The same for models marked `reasoning`. Default 1m.
    pub(super) stall_reasoning: Setting<Duration>,
    /// Share of the remaining time that an attempt may use while another target is left, in percent, 10 to 90.
    /// Default 60.
    pub(super) attempt_share_percent: Setting<u32>,
    /// Shortest cooling after a 429, whatever Azure's hint says. Default 1s.
    pub(super) cooling_shortest: Setting<Duration>,
    /// Longest cooling after a 429, whatever Azure's hint says. Default 1m.
    pub(super) cooling_longest: Setting<Duration>,
    /// Longest wait for a cooling target when no other is left. Default 5s.
    pub(super) longest_wait: Setting<Duration>,
    /// Further attempts at a sole permitted target, for one call, 0 to 5. Default 2.
    pub(super) retries: Setting<u32>,
    /// Such attempts as a share of its calls, in percent. Default 10.
    pub(super) retry_budget_percent: Setting<u32>,
    /// Pause before such an attempt; doubles, half of it jittered. Default 200ms.
    pub(super) retry_pause: Setting<Duration>,
    /// Attempts in flight at one target; bulk work leaves a fifth of them to interactive calls. Default 256.
    pub(super) concurrency: Setting<u32>,
    /// Calls wait for their turn at a target that is short of Azure quota, or go to the next one, instead of running
    /// into a 429. Default true.
    pub(super) pace: Setting<bool>,
    /// Longest wait of an interactive call for its turn, before the next target is taken; at most a tenth of its time.
    /// Default 1s.
    pub(super) spill_after: Setting<Duration>,
    /// The same for bulk calls, which rather stay where they are; at most a quarter of their time. Default 10s.
    pub(super) spill_bulk_after: Setting<Duration>,
    /// Failures in a row that make a target suspect, so that test calls are sent to it, 1 to 100. Default 5.
    pub(super) suspicious_failures: Setting<u32>,
    /// Silence of an attempt in flight that counts as a sign of trouble; five of the model's medians if those are
    /// longer. Below `first_content`; default 3s, or half of that if it is shorter.
    pub(super) suspicious_silence: Setting<Duration>,
    /// Whether a second attempt may run beside one that is silent at a target under validation. Default true.
    pub(super) hedge: Setting<bool>,
    /// After this long without content. Below `first_content`; default 2s, or half of that if it is shorter.
    pub(super) hedge_delay: Setting<Duration>,
    /// Shortest stay out of service of a target that failed its validation; doubles with every relapse. Default 1m.
    pub(super) hold: Setting<Duration>,
    /// Longest such stay. Default 30m.
    pub(super) hold_longest: Setting<Duration>,
    /// Time on each step of the return (1, 5, 20, 50, 100 % of unpinned work). Default 30s.
    pub(super) return_step: Setting<Duration>,
    /// From one test call to the next, at a target that is out or returning, 1s to 10m. Default 10s.
    pub(super) return_test_interval: Setting<Duration>,
    /// The same at a standby, and at whatever no traffic proves, at least 5s. Default 1m.
    pub(super) standby_test_interval: Setting<Duration>,
    /// Tokens a day for test calls outside validation and return. Default 200000.
    pub(super) test_tokens_per_day: Setting<u32>,
    /// How often an embedding deployment is compared with the reference of its space, although traffic proves it
    /// otherwise, 1m to 168h. One without traffic is compared by each of its test calls. Default 24h.
    pub(super) embedding_comparison_interval: Setting<Duration>,
    /// A workflow's pin to its region is forgotten after this long without a call. Default 30m.
    pub(super) pin_idle: Setting<Duration>,
}

/// How the service stops.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Drain {
    /// How long calls are still taken after the health turned, so that load balancers notice first. Default 5s; 0s is
    /// allowed.
    pub(super) delay: Setting<Duration>,
    /// How long calls in flight may take to finish after that. Default 2m.
    pub(super) grace: Setting<Duration>,
}

/// Metrics, probes and a status page over HTTP, on a port of their own.
#[derive(Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Ops {
    /// IP address and port, such as `127.0.0.1:9464`. Nobody has to prove who they are there: keep it where only
    /// Prometheus and probes reach it. Default: not served.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) listen: Option<Setting<SocketAddr>>,
}

/// Traces and metrics.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Telemetry {
    /// OTLP over gRPC, such as `http://localhost:4317`; `OTEL_EXPORTER_OTLP_ENDPOINT` wins. Default: nothing is
    /// exported.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) otlp_endpoint: Option<Setting<String>>,
    /// Export metrics there as well as traces; `OTEL_METRICS_EXPORTER` wins. Jaeger takes traces only. Default true.
    pub(super) otlp_metrics: Setting<bool>,
    /// `service.name` of the spans; `OTEL_SERVICE_NAME` wins. Default sealane.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) service_name: Option<Setting<String>>,
}

/// Pictures in requests.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Images {
    /// Permits pictures by address, which makes Azure call a third party. Default false.
    pub(super) allow_uri: Setting<bool>,
}

impl File {
    /// Hides what endpoints and references to secrets name.
    pub(super) fn redact(&mut self) {
        for resource in &mut self.resources {
            resource.endpoint = "***".to_owned().into();
            resource.auth.value.redact();
            for name in resource.arm.iter_mut().flat_map(Arm::names) {
                *name = "***".to_owned().into();
            }
        }
        for caller in &mut self.callers {
            caller.token.iter_mut().chain(&mut caller.tokens).for_each(SecretRef::redact);
        }
        self.tls.iter_mut().for_each(Tls::redact);
    }
}
