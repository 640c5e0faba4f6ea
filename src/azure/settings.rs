//! How to reach one Azure OpenAI resource.
use std::{sync::Arc, time::Duration};

use reqwest::Url;

use super::Credential;

/// One resource, as the configuration names it.
#[derive(Clone, Debug, PartialEq)]
pub struct ResourceSettings {
    /// Configured name.
    pub name: Arc<str>,
    /// Scheme, host and, for gateways in between, a path prefix; without `/openai`.
    pub endpoint: Url,
    /// Path style of chat completions.
    pub chat_path: PathStyle,
    /// How chat completions are told the longest answer.
    pub output_cap: OutputCap,
    /// Path style of embeddings; a setting of its own, since v1 with Entra ID does not serve them (contract 4).
    pub embeddings_path: PathStyle,
    /// How the service proves itself.
    pub credential: Credential,
    /// Limit for DNS, TCP and TLS together. Default 2 s.
    pub connect_timeout: Duration,
}

impl ResourceSettings {
    /// Whether both speak of the same endpoint under the same name.
    pub(super) fn is_same_place(&self, other: &Self) -> bool {
        self.name == other.name && self.endpoint == other.endpoint
    }
}

/// Azure's two families of addresses (contract section 2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PathStyle {
    /// `/openai/deployments/{deployment}/...?api-version=...`
    Dated {
        /// Such as `2024-10-21`.
        api_version: String,
    },
    /// `/openai/v1/...`; the body names the deployment.
    V1,
}

/// The field that carries `max_output_tokens`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OutputCap {
    /// Azure's newer name: every model takes it, reasoning models take no other.
    #[default]
    MaxCompletionTokens,
    /// The older name, and the only one that some compatible servers heed: llama-cpp-python 0.3 ignores the newer one
    /// and generates until the context is full. Azure refuses both together.
    MaxTokens,
}

impl OutputCap {
    /// As it stands in a request.
    pub(super) fn field(self) -> &'static str {
        match self {
            Self::MaxCompletionTokens => "max_completion_tokens",
            Self::MaxTokens => "max_tokens",
        }
    }
}

/// Parameters of Azure's chat completions that are no [`ExtraParam`](sealane_core::domain::ExtraParam), and why: the
/// adapter writes most of them itself, and a body must not say a thing twice.
pub const RESERVED_PARAMS: [(&str, &str); 32] = [
    ("audio", "answers in sound are not passed on"),
    ("data_sources", "it makes Azure send the conversation to a store that no policy knows"),
    ("frequency_penalty", A_FIELD),
    ("function_call", "requests have the field `tool_choice` instead"),
    ("functions", "requests have the field `tools` instead"),
    ("logit_bias", A_FIELD),
    ("logprobs", A_FIELD),
    ("max_completion_tokens", "requests have the field `max_output_tokens` instead"),
    ("max_tokens", "requests have the field `max_output_tokens` instead"),
    ("messages", A_FIELD),
    ("metadata", A_FIELD),
    ("modalities", "answers in sound are not passed on"),
    ("model", "the router chooses the deployment"),
    ("n", "requests have the field `choice_count` instead"),
    ("parallel_tool_calls", A_FIELD),
    ("prediction", A_FIELD),
    ("presence_penalty", A_FIELD),
    ("reasoning_effort", A_FIELD),
    ("response_format", A_FIELD),
    ("seed", A_FIELD),
    ("stop", "requests have the field `stop_sequences` instead"),
    ("stream", "the service decides how Azure answers"),
    ("stream_options", "the service decides how Azure answers"),
    ("temperature", A_FIELD),
    ("tool_choice", A_FIELD),
    ("tools", A_FIELD),
    ("top_logprobs", A_FIELD),
    ("top_p", A_FIELD),
    ("user", "requests have the field `end_user_id` instead"),
    ("user_security_context", A_FIELD),
    ("verbosity", A_FIELD),
    ("web_search_options", "it makes Azure send queries to a search engine that no policy knows"),
];

const A_FIELD: &str = "requests have a field of that name";

/// What the adapter takes from a response at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResponseBounds {
    /// Bytes of a unary body. Default 64 MiB: 2048 vectors of 3072 numbers are 34 MB of base64.
    pub max_body_bytes: usize,
    /// Bytes of one event of a stream. Default 1 MiB.
    pub max_event_bytes: usize,
    /// Bytes of an error body that are read. Default 64 KiB.
    pub max_error_bytes: usize,
}

impl Default for ResponseBounds {
    fn default() -> Self {
        Self { max_body_bytes: 64 << 20, max_event_bytes: 1 << 20, max_error_bytes: 64 << 10 }
    }
}
