//! The records of a call: what was decided, where it was sent, how that ended.
use std::{fmt, sync::Arc};

use sealane_core::domain::Target;
use serde::{Deserialize, Serialize};

use super::{
    label::Label,
    record::{is_false, is_zero},
};

/// Where an attempt goes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// Normalised Azure region name.
    pub region: Label,
    /// Data boundary label of the region.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boundary: Option<Label>,
    /// Configured name of the resource.
    pub resource: Label,
    /// Azure deployment name.
    pub deployment: Label,
    /// Azure's name of the deployment type.
    pub sku: Label,
    /// Where Azure may compute: `regional`, `data_zone` or `global`.
    pub scope: Label,
}

impl From<&Target> for Place {
    fn from(target: &Target) -> Self {
        Self {
            region: (&target.region).into(),
            boundary: target.boundary.as_ref().map(Label::from),
            resource: (&target.resource).into(),
            deployment: (&target.deployment).into(),
            sku: target.sku.as_str().into(),
            scope: target.scope.as_str().into(),
        }
    }
}

/// What the scope in the configuration rests on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ScopeEvidence {
    /// The configuration says so.
    #[default]
    Declared,
    /// Read from Azure's control plane.
    Arm,
}

impl fmt::Display for ScopeEvidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Declared => "declared",
            Self::Arm => "arm",
        })
    }
}

impl From<sealane_core::domain::ScopeEvidence> for ScopeEvidence {
    fn from(evidence: sealane_core::domain::ScopeEvidence) -> Self {
        match evidence {
            sealane_core::domain::ScopeEvidence::Declared => Self::Declared,
            sealane_core::domain::ScopeEvidence::Arm => Self::Arm,
        }
    }
}

/// Who calls, for what, under which rules: shared by the records of one call.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallFacts {
    /// The service's id of the call.
    pub request_id: Label,
    /// W3C trace id, 32 hexadecimal digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace_id: Option<Label>,
    /// Configured name of the caller; empty where none are configured.
    pub caller: Label,
    /// The caller's name for its unit of work.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workflow: Option<Label>,
    /// The class of data that the caller declared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data_class: Option<Label>,
    /// Name of the policy that binds the call.
    pub policy: Label,
    /// Revision of the configuration in force, which fixes what the policy's name means.
    pub config_revision: Label,
    /// Logical model name.
    pub model: Label,
    /// `chat` or `embeddings`; the method's name where a call was refused before more was known.
    pub operation: Label,
    /// The caller reads the answer as a stream.
    #[serde(default, skip_serializing_if = "is_false")]
    pub stream: bool,
    /// Regions that policy and request permit.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub permitted: Vec<Label>,
    /// Bytes of the caller's message.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub request_bytes: u64,
    /// See [`RequestKey::mac`](super::RequestKey::mac).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_mac: Option<Label>,
}

/// An attempt is about to be sent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Intent {
    /// Names the attempt; its OUTCOME has the same. Given by the journal: `CHAIN-NUMBER`.
    #[serde(default)]
    pub attempt: Label,
    /// The call.
    #[serde(flatten)]
    pub call: CallFacts,
    /// 1 for the call's first attempt.
    pub attempt_number: u32,
    /// Where it goes.
    #[serde(flatten)]
    pub place: Place,
    /// What the scope rests on.
    pub scope_evidence: ScopeEvidence,
    /// Why there: `route`, `pin`, `rescue`, `spill`, `retry`, `hedge`, `restart` or `return`.
    pub reason: Label,
    /// The attempt that this one rescues.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failover_of: Option<Label>,
    /// Standing of the target.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub standing: Option<Label>,
    /// `api-version` sent to Azure; absent on paths that have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_version: Option<Label>,
}

/// How an attempt ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// The INTENT's. Filled in by the journal.
    #[serde(default)]
    pub attempt: Label,
    /// The end.
    pub result: AttemptEnd,
    /// What failed, in one word, such as `throttled`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Label>,
    /// The region may have processed, and billed, the request.
    #[serde(default, skip_serializing_if = "is_false")]
    pub maybe_billed: bool,
    /// HTTP status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http_status: Option<u16>,
    /// `x-ms-region`, as Azure wrote it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reported_region: Option<Label>,
    /// `x-ms-deployment-name`, as Azure wrote it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reported_deployment: Option<Label>,
    /// Azure's headers contradict the configuration.
    #[serde(default, skip_serializing_if = "is_false")]
    pub mismatch: bool,
    /// Azure said that another deployment computed.
    #[serde(default, skip_serializing_if = "is_false")]
    pub spilled_over: bool,
    /// `apim-request-id`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upstream_request_id: Option<Label>,
    /// `x-request-id`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model_request_id: Option<Label>,
    /// Azure's id of the completion, which the caller was given too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub response_id: Option<Label>,
    /// Model and version that answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model_version: Option<Label>,
    /// Why generation ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finish_reason: Option<Label>,
    /// Categories in which the content filter found something, in the prompt or the answer.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub content_filter: Vec<Label>,
    /// Tokens read.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub input_tokens: u64,
    /// Tokens written.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub output_tokens: u64,
    /// Microseconds to the first content.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_content_us: Option<u64>,
    /// Microseconds from the attempt's start to its end.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub duration_us: u64,
}

/// The end of an attempt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AttemptEnd {
    /// Its answer is the caller's.
    Served,
    /// It failed.
    Failed,
    /// The caller left, or another attempt won.
    Cancelled,
    /// Its INTENT was given up before it was known to be durable: nothing was sent.
    NotSent,
    /// A defect ended whoever made it; it may have been sent.
    #[default]
    Abandoned,
    /// The process ended first; it may have been sent.
    UnknownAfterCrash,
}

impl fmt::Display for AttemptEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Served => "served",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::NotSent => "not_sent",
            Self::Abandoned => "abandoned",
            Self::UnknownAfterCrash => "unknown_after_crash",
        })
    }
}

/// A decision about a whole call.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// The call.
    #[serde(flatten)]
    pub call: CallFacts,
    /// Why it was refused, in one word, such as `NO_ELIGIBLE_REGION`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Label>,
    /// Targets that were not permitted, as `REGION/DEPLOYMENT: why`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refused: Vec<Label>,
    /// Refusals like this one before it that have no record of their own, so that a flood of them costs no disk.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub held_back: u64,
}

/// Turns the shared names of the configuration into labels.
pub fn labels(names: &[Arc<str>]) -> Vec<Label> {
    names.iter().map(Label::from).collect()
}
