//! Attribute names. RPC names as released through semantic conventions v1.44.0, GenAI names as of v1.41.0 (the last
//! set in the main repository; they are still in development), the rest our own.

pub(super) const RPC_SYSTEM: &str = "rpc.system.name";
pub(super) const RPC_METHOD: &str = "rpc.method";
pub(super) const RPC_STATUS: &str = "rpc.response.status_code";
pub(super) const PEER_ADDRESS: &str = "network.peer.address";
pub(super) const PEER_PORT: &str = "network.peer.port";
pub(super) const ERROR_TYPE: &str = "error.type";
pub(super) const HTTP_STATUS: &str = "http.response.status_code";

pub(super) const HTTP_METHOD: &str = "http.request.method";
pub(super) const SERVER_ADDRESS: &str = "server.address";
pub(super) const SERVER_PORT: &str = "server.port";

pub(super) const OPERATION: &str = "gen_ai.operation.name";
pub(super) const PROVIDER: &str = "gen_ai.provider.name";
/// The value of the one above.
pub(super) const AZURE_OPENAI: &str = "azure.ai.openai";
pub(super) const TOKEN_TYPE: &str = "gen_ai.token.type";
pub(super) const REQUEST_MODEL: &str = "gen_ai.request.model";
pub(super) const REQUEST_STREAM: &str = "gen_ai.request.stream";
pub(super) const RESPONSE_ID: &str = "gen_ai.response.id";
pub(super) const RESPONSE_MODEL: &str = "gen_ai.response.model";
pub(super) const FINISH_REASONS: &str = "gen_ai.response.finish_reasons";
pub(super) const FIRST_CHUNK: &str = "gen_ai.response.time_to_first_chunk";
pub(super) const INPUT_TOKENS: &str = "gen_ai.usage.input_tokens";
pub(super) const OUTPUT_TOKENS: &str = "gen_ai.usage.output_tokens";
pub(super) const CACHED_TOKENS: &str = "gen_ai.usage.cache_read.input_tokens";
pub(super) const REASONING_TOKENS: &str = "gen_ai.usage.reasoning.output_tokens";

pub(super) const CLOUD_REGION: &str = "cloud.region";
pub(super) const AZURE_NAMESPACE: &str = "azure.resource_provider.namespace";
pub(super) const AZURE_REQUEST_ID: &str = "azure.service.request.id";

pub(super) const REGION_SERVED: &str = "sealane.region.served";
pub(super) const REGION_REPORTED: &str = "sealane.region.reported";
pub(super) const EVIDENCE_MISMATCH: &str = "sealane.evidence.mismatch";
pub(super) const DATA_BOUNDARY: &str = "sealane.data_boundary";
pub(super) const SCOPE: &str = "sealane.processing_scope";
pub(super) const FAILOVER: &str = "sealane.failover";
pub(super) const ATTEMPT_COUNT: &str = "sealane.attempt.count";
pub(super) const ATTEMPT_NUMBER: &str = "sealane.attempt.number";
pub(super) const ATTEMPT_OUTCOME: &str = "sealane.attempt.outcome";
pub(super) const ATTEMPT_REASON: &str = "sealane.attempt.reason";
pub(super) const RESOURCE: &str = "sealane.resource";
pub(super) const DEPLOYMENT: &str = "sealane.deployment";
pub(super) const MODEL: &str = "sealane.model";
pub(super) const CALLER: &str = "sealane.caller";
pub(super) const POLICY: &str = "sealane.policy";
pub(super) const POLICY_REGIONS: &str = "sealane.policy.allowed_regions";
pub(super) const POLICY_RESTRICTED: &str = "sealane.policy.restricted";
pub(super) const WORKFLOW: &str = "sealane.workflow";
pub(super) const CALL_RESPONSE_ID: &str = "sealane.response.id";
pub(super) const CONFIG_REVISION: &str = "sealane.config.revision";
pub(super) const MAYBE_BILLED: &str = "sealane.attempt.maybe_billed";

/// The event on the server span when a call leaves a failed target.
pub(super) const FAILOVER_EVENT: &str = "sealane.failover";
/// The one when it passes over a target that its route would prefer.
pub(super) const SKIPPED_EVENT: &str = "sealane.target.skipped";
pub(super) const TARGET: &str = "target";
pub(super) const FROM: &str = "from";
pub(super) const TO: &str = "to";
pub(super) const REASON: &str = "reason";
