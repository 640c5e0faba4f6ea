//! What a simulated region is: its name, keys, deployments, limits and pace. Plain data, readable from YAML or JSON.
use secrecy::SecretString;
use serde::{Deserialize, Serialize};

use super::identity::IssuedTokens;

/// One simulated Azure OpenAI resource in one region. Unknown keys are refused; everything has a default.
///
/// ```yaml
/// region: swedencentral
/// display_name: Sweden Central
/// keys: [simulated-key]
/// deployments:
///   - { name: gpt-4o, model: gpt-4o, version: 2024-11-20, kind: chat, requests_per_minute: 600 }
///   - { name: text-embedding-3-large, model: text-embedding-3-large, version: "1", kind: embedding }
/// latency: { first_token_ms: 300, per_token_ms: 10, jitter_ms: 5 }
/// ```
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RegionSettings {
    /// Normalised region name, such as `swedencentral`.
    pub region: String,
    /// What `x-ms-region` says, such as `Sweden Central`. Azure sends the display form, with spaces. Absent: that of
    /// `region` where it is known, else `region` itself.
    pub display_name: Option<String>,
    /// Accepted keys: in `api-key` on both path styles, and as a bearer token on the v1 path.
    pub keys: Vec<SecretString>,
    /// Accepted Entra access tokens (`Authorization: Bearer`), on both path styles.
    pub bearer_tokens: Vec<SecretString>,
    /// Accepted likewise, until they expire: what an identity endpoint has issued.
    #[serde(skip)]
    pub issued_tokens: Option<IssuedTokens>,
    /// What is deployed here. Names must be unique; the first of two equal names is used.
    pub deployments: Vec<DeploymentSettings>,
    /// How long answers take.
    pub latency: Latency,
    /// Tokens in an answer that nothing cuts short. A token is one word or one JSON fragment of up to four characters.
    pub answer_tokens: u32,
    /// Whether stream events carry `obfuscation` unless the request turns it off, as Azure does since 2026.
    pub obfuscation: bool,
    /// How many requests are kept for [`Counters::captured`](super::Counters::captured); 0 switches capture off.
    pub captured_requests: usize,
    /// Seed of everything drawn at random: fault ratios and latency jitter.
    pub seed: u64,
    /// Largest request body read, in bytes; a larger one is answered 413.
    pub max_request_bytes: usize,
    /// Faults in force from the start.
    pub faults: Vec<super::FaultRule>,
}

impl Default for RegionSettings {
    fn default() -> Self {
        Self {
            region: "swedencentral".to_owned(),
            display_name: None,
            keys: vec![SecretString::from("simulated-key")],
            bearer_tokens: Vec::new(),
            issued_tokens: None,
            deployments: vec![
                DeploymentSettings::chat("gpt-4o", "gpt-4o", "2024-11-20"),
                DeploymentSettings::chat("gpt-4.1-mini", "gpt-4.1-mini", "2025-04-14"),
                DeploymentSettings {
                    reasoning: true,
                    context_window: 400_000,
                    ..DeploymentSettings::chat("gpt-5-nano", "gpt-5-nano", "2025-08-07")
                },
                DeploymentSettings::embedding("text-embedding-3-large", 3072),
                DeploymentSettings::embedding("text-embedding-3-small", 1536),
                DeploymentSettings::embedding("text-embedding-ada-002", 1536),
            ],
            latency: Latency::default(),
            answer_tokens: 24,
            obfuscation: true,
            captured_requests: 64,
            seed: 0,
            max_request_bytes: 64 * 1024 * 1024,
            faults: Vec::new(),
        }
    }
}

impl RegionSettings {
    /// What `x-ms-region` says.
    pub fn shown_region(&self) -> &str {
        self.display_name.as_deref().unwrap_or(match self.region.as_str() {
            "swedencentral" => "Sweden Central",
            "francecentral" => "France Central",
            "germanywestcentral" => "Germany West Central",
            "westeurope" => "West Europe",
            "northeurope" => "North Europe",
            "eastus" => "East US",
            "eastus2" => "East US 2",
            "westus" => "West US",
            other => other,
        })
    }

    /// The default deployments under another region's name.
    #[must_use]
    pub fn named(region: &str, display_name: &str) -> Self {
        Self { region: region.to_owned(), display_name: Some(display_name.to_owned()), ..Self::default() }
    }
}

/// Stands between a deployment's own model and the one that it drifted to.
const DRIFT: &str = " drifted to ";

/// What a deployment can do.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum DeploymentKind {
    /// Chat completions.
    #[default]
    Chat,
    /// Embeddings.
    Embedding,
}

/// One deployment of a model.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DeploymentSettings {
    /// The name in the path or, on v1, in the body's `model`.
    pub name: String,
    /// The underlying model. With the version it makes the `model` of an answer; embedding answers name the model alone.
    pub model: String,
    /// The model's version, such as `2024-11-20`.
    pub version: String,
    /// Chat or embedding.
    pub kind: DeploymentKind,
    /// Azure's SKU name. The data plane never shows it; it is kept for the control API's state.
    pub sku: String,
    /// A reasoning model: refuses sampling parameters and `max_tokens`, and spends hidden reasoning tokens.
    pub reasoning: bool,
    /// Tokens per minute (TPM), metered on Azure's estimate at arrival.
    pub tokens_per_minute: u32,
    /// Requests per minute (RPM), enforced in slices of 10 s.
    pub requests_per_minute: u32,
    /// Prompt and completion tokens together (chat).
    pub context_window: u32,
    /// Full vector size (embedding).
    pub dimensions: u32,
}

impl Default for DeploymentSettings {
    /// Limits high enough never to be met by accident.
    fn default() -> Self {
        Self {
            name: String::new(),
            model: String::new(),
            version: String::new(),
            kind: DeploymentKind::Chat,
            sku: "Standard".to_owned(),
            reasoning: false,
            tokens_per_minute: 1_000_000_000,
            requests_per_minute: 6_000_000,
            context_window: 128_000,
            dimensions: 3072,
        }
    }
}

impl DeploymentSettings {
    /// The same, with another model's vectors. It keeps its own model's manners, such as to shorten vectors.
    pub(super) fn drifted(&self, model: String, dimensions: Option<u32>) -> Self {
        let model = format!("{}{DRIFT}{model}", self.model);
        Self { model, dimensions: dimensions.unwrap_or(self.dimensions), ..self.clone() }
    }

    /// A chat deployment with default limits.
    #[must_use]
    pub fn chat(name: &str, model: &str, version: &str) -> Self {
        Self { name: name.to_owned(), model: model.to_owned(), version: version.to_owned(), ..Self::default() }
    }

    /// An embedding deployment named after its model, with default limits.
    #[must_use]
    pub fn embedding(model: &str, dimensions: u32) -> Self {
        Self {
            name: model.to_owned(),
            model: model.to_owned(),
            version: "1".to_owned(),
            kind: DeploymentKind::Embedding,
            dimensions,
            ..Self::default()
        }
    }
}

/// How long an answer takes. All zero (the default) means as fast as it goes, without timers.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, PartialEq, Eq)]
#[serde(default, deny_unknown_fields)]
pub struct Latency {
    /// Wait before the response head, in milliseconds.
    pub first_byte_ms: u64,
    /// Further wait before the first content token, in milliseconds.
    pub first_token_ms: u64,
    /// Time from one content token to the next, in milliseconds; a unary answer waits for all of them.
    pub per_token_ms: u64,
    /// Up to this much is added to each wait, evenly spread, in milliseconds.
    pub jitter_ms: u64,
}
