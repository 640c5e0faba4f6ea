//! What can be called: one deployment of a model on one resource in one region.
use std::sync::Arc;

use super::{EmbeddingSpace, ExpectedVersion};

/// Index of a target in the configuration in force; only meaningful together with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TargetId(pub u16);

/// What a model does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ModelKind {
    /// Chat completions.
    Chat,
    /// Embeddings.
    Embedding,
}

/// Where Azure may compute, narrow to wide.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ProcessingScope {
    /// Only in the deployment's own region.
    Regional,
    /// Anywhere in the deployment's data zone.
    DataZone,
    /// In any Azure region.
    Global,
}

impl ProcessingScope {
    /// The word used in configuration, spans and messages.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Regional => "regional",
            Self::DataZone => "data_zone",
            Self::Global => "global",
        }
    }
}

/// Azure's deployment types (`sku.name`).
/// Source: Microsoft's "deployment types" page, May 2026 (contract section 7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Sku {
    /// Pay as you go, in the region.
    Standard,
    /// Reserved throughput (PTU), in the region.
    ProvisionedManaged,
    /// Pay as you go, anywhere in the zone.
    DataZoneStandard,
    /// Reserved throughput, anywhere in the zone.
    DataZoneProvisionedManaged,
    /// Pay as you go, anywhere.
    GlobalStandard,
    /// Reserved throughput, anywhere.
    GlobalProvisionedManaged,
    /// For experiments: anywhere, no residency promise, lives 24 hours.
    DeveloperTier,
}

impl Sku {
    /// Every one of them.
    pub const ALL: [Self; 7] = [
        Self::Standard,
        Self::ProvisionedManaged,
        Self::DataZoneStandard,
        Self::DataZoneProvisionedManaged,
        Self::GlobalStandard,
        Self::GlobalProvisionedManaged,
        Self::DeveloperTier,
    ];

    /// Where Azure may compute for it.
    pub fn processing_scope(self) -> ProcessingScope {
        match self {
            Self::Standard | Self::ProvisionedManaged => ProcessingScope::Regional,
            Self::DataZoneStandard | Self::DataZoneProvisionedManaged => ProcessingScope::DataZone,
            Self::GlobalStandard | Self::GlobalProvisionedManaged | Self::DeveloperTier => ProcessingScope::Global,
        }
    }

    /// Reserved throughput (PTU): throttled by how busy it is, not by tokens or requests a minute.
    pub fn is_provisioned(self) -> bool {
        matches!(self, Self::ProvisionedManaged | Self::DataZoneProvisionedManaged | Self::GlobalProvisionedManaged)
    }

    /// Azure's own spelling.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Standard => "Standard",
            Self::ProvisionedManaged => "ProvisionedManaged",
            Self::DataZoneStandard => "DataZoneStandard",
            Self::DataZoneProvisionedManaged => "DataZoneProvisionedManaged",
            Self::GlobalStandard => "GlobalStandard",
            Self::GlobalProvisionedManaged => "GlobalProvisionedManaged",
            Self::DeveloperTier => "DeveloperTier",
        }
    }
}

/// How unary `Complete` calls are made upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum UpstreamStream {
    /// Streamed from Azure and assembled here, unless the request's parameters forbid streaming.
    #[default]
    Auto,
    /// Azure's unary form.
    Never,
}

/// What a target's processing scope rests on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum ScopeEvidence {
    /// The configuration says so.
    #[default]
    Declared,
    /// Azure's control plane (ARM) said so when it was last asked.
    Arm,
}

impl ScopeEvidence {
    /// The word used in tables and in the journal.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Declared => "declared",
            Self::Arm => "arm",
        }
    }
}

/// What follows when Azure's answers contradict the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum OnMismatch {
    /// An alarm.
    #[default]
    Alarm,
    /// An alarm, and the target takes no calls until an operator releases it or the service starts anew.
    Quarantine,
}

/// Azure's two rate limits of a deployment, as configured; `None`: whatever Azure's headers state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct RateLimits {
    /// Tokens a minute (TPM), as Azure estimates them when a request arrives.
    pub tokens_per_minute: Option<u32>,
    /// Requests a minute (RPM).
    pub requests_per_minute: Option<u32>,
}

/// What the configuration claims of a target, beyond its region and SKU, and Azure's answers may contradict.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Claims {
    /// The deployment that Azure spills over to; the target's scope is widened for it already.
    pub spillover: Option<Arc<str>>,
    /// What the scope rests on.
    pub scope_evidence: ScopeEvidence,
    /// What follows when answers name another place.
    pub on_mismatch: OnMismatch,
    /// How much it takes; what Azure's headers state counts more.
    pub limits: RateLimits,
}

/// One deployment of a model on one resource: the unit of health.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Index in the configuration.
    pub id: TargetId,
    /// The logical name that callers use.
    pub model: Arc<str>,
    /// What the model does.
    pub kind: ModelKind,
    /// Configured name of the Azure OpenAI resource.
    pub resource: Arc<str>,
    /// Index of that resource in the configuration.
    pub resource_index: usize,
    /// Normalised Azure region name (`swedencentral`).
    pub region: Arc<str>,
    /// Data boundary label of the region, such as `eu`.
    pub boundary: Option<Arc<str>>,
    /// Azure deployment name.
    pub deployment: Arc<str>,
    /// Deployment type as configured.
    pub sku: Sku,
    /// Where Azure may compute: the SKU's scope, widened by a configured spillover deployment.
    pub scope: ProcessingScope,
    /// A model that thinks before it speaks: silence of minutes is normal.
    pub reasoning: bool,
    /// How unary calls are made upstream.
    pub upstream_stream: UpstreamStream,
    /// The model version it is meant to serve; `None`: any. Chat only, since vectors have their space.
    pub version: Option<ExpectedVersion>,
    /// Which vectors may be compared with this target's; equal for all targets of one route. `None` for chat.
    pub embedding_space: Option<Arc<EmbeddingSpace>>,
    /// What its region and scope rest on.
    pub claims: Claims,
}

/// Azure writes a region both as `East US 2` and as `eastus2`; this is the second form.
pub fn normalise_region(name: &str) -> String {
    name.chars().filter(|c| !c.is_whitespace()).flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
impl Target {
    /// A regional chat deployment, of which a test changes what it is about.
    pub(crate) fn example() -> Self {
        Self {
            id: TargetId(0),
            model: "gpt-4o".into(),
            kind: ModelKind::Chat,
            resource: "swc".into(),
            resource_index: 0,
            region: "swedencentral".into(),
            boundary: None,
            deployment: "chat".into(),
            sku: Sku::Standard,
            scope: ProcessingScope::Regional,
            reasoning: false,
            upstream_stream: UpstreamStream::Auto,
            version: None,
            embedding_space: None,
            claims: Claims::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn display_names_of_regions_become_their_plain_names() {
        assert_eq!(normalise_region("East US 2"), "eastus2");
        assert_eq!(normalise_region("swedencentral"), "swedencentral");
    }

    #[test]
    fn deployment_types_are_told_in_azures_words() {
        use Sku::*;
        let all = [Standard, ProvisionedManaged, DataZoneStandard, DataZoneProvisionedManaged];
        let expected = ["Standard", "ProvisionedManaged", "DataZoneStandard", "DataZoneProvisionedManaged"];
        assert_eq!(all.map(Sku::as_str), expected);
        let all = [GlobalStandard, GlobalProvisionedManaged, DeveloperTier];
        assert_eq!(all.map(Sku::as_str), ["GlobalStandard", "GlobalProvisionedManaged", "DeveloperTier"]);
    }

    #[test]
    fn scopes_and_what_they_rest_on_have_words() {
        use ProcessingScope::{DataZone, Global, Regional};
        assert_eq!([Regional, DataZone, Global].map(ProcessingScope::as_str), ["regional", "data_zone", "global"]);
        assert_eq!([ScopeEvidence::Declared, ScopeEvidence::Arm].map(ScopeEvidence::as_str), ["declared", "arm"]);
    }

    #[test]
    fn reserved_throughput_is_told_by_the_deployment_type() {
        let provisioned = Sku::ALL.map(Sku::is_provisioned);
        assert_eq!(provisioned, [false, true, false, true, false, true, false]);
    }

    #[test]
    fn scopes_are_ordered_from_narrow_to_wide() {
        assert!(ProcessingScope::Regional < ProcessingScope::DataZone);
        assert!(ProcessingScope::DataZone < ProcessingScope::Global);
        assert_eq!(Sku::DeveloperTier.processing_scope(), ProcessingScope::Global);
        assert_eq!(Sku::DataZoneProvisionedManaged.processing_scope(), ProcessingScope::DataZone);
        assert_eq!(Sku::ProvisionedManaged.processing_scope(), ProcessingScope::Regional);
    }
}
