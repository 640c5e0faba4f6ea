//! Protobuf -> domain. Refuses what cannot be used, with the path of every field at fault; unknown enum values are
//! refused, never guessed.
use std::sync::Arc;

use sealane_core::domain::{
    EmbedRequest, Hedge, OnInterruption, Priority, ProcessingScope, RoutingOptions, is_data_class, normalise_region,
};

use super::{Violations, pb};

/// Most texts in one `Embed` call: Azure's own limit (contract section 4).
const MOST_INPUTS: usize = 2048;

/// What the configuration lets a request ask for.
#[derive(Clone, Copy, Debug)]
pub(super) struct DecodeRules<'a> {
    /// Images may be given as addresses, which Azure then fetches.
    pub image_uris: bool,
    /// Names that `extra_params` may hold for the model asked for.
    pub extra_params: &'a [String],
    /// The model asked for thinks before it speaks.
    pub reasoning: bool,
}

/// The request, and where it may go.
pub(super) fn embed(
    request: pb::EmbedRequest,
) -> Result<(EmbedRequest, RoutingOptions, pb::VectorEncoding), Violations> {
    let mut wrong = Violations::none();
    let options = routing(request.routing, &mut wrong);
    model_name(&request.model, &mut wrong);
    wrong.require(!request.inputs.is_empty(), "inputs", "must hold at least one text");
    wrong.require(request.inputs.len() <= MOST_INPUTS, "inputs", format!("must hold at most {MOST_INPUTS} texts"));
    for (at, _) in request.inputs.iter().enumerate().filter(|(_, text)| text.is_empty()) {
        wrong.add(format!("inputs[{at}]"), "must not be empty");
    }
    let dimensions = dimensions(request.dimensions, &mut wrong);
    let encoding = known(request.encoding, "encoding", &mut wrong).unwrap_or_default();
    let embed = EmbedRequest { inputs: request.inputs, dimensions, end_user_id: non_empty(request.end_user_id) };
    wrong.or((embed, options, encoding))
}

/// Length of the vectors, if one is asked for.
pub(super) fn dimensions(asked: Option<i32>, wrong: &mut Violations) -> Option<u32> {
    let asked = asked?;
    wrong.require(asked >= 1, "dimensions", "must be at least 1");
    u32::try_from(asked).ok()
}

/// Routing options; they can only narrow what the caller's policy permits.
pub(super) fn routing(options: Option<pb::RoutingOptions>, wrong: &mut Violations) -> RoutingOptions {
    let Some(options) = options else { return RoutingOptions::default() };
    let workflow = options.workflow_id;
    wrong.require(
        workflow.len() <= 128 && workflow.bytes().all(|byte| (0x20..0x7f).contains(&byte)),
        "routing.workflow_id",
        "must be at most 128 printable ASCII characters",
    );
    for (at, region) in options.allowed_regions.iter().enumerate() {
        wrong.require(!region.trim().is_empty(), format!("routing.allowed_regions[{at}]"), "must not be empty");
    }
    let data_class = non_empty(options.data_class);
    wrong.require(
        data_class.as_deref().is_none_or(is_data_class),
        "routing.data_class",
        "must be at most 64 printable ASCII characters",
    );
    let max_scope = known(options.max_processing_scope, "routing.max_processing_scope", wrong);
    let priority = known(options.priority, "routing.priority", wrong);
    let on_interruption = known(options.on_interruption, "routing.on_interruption", wrong);
    let hedge = known(options.hedge, "routing.hedge", wrong);
    RoutingOptions {
        workflow_id: non_empty(workflow).map(Arc::from),
        pinned_region: non_empty(normalise_region(&options.pinned_region)),
        allowed_regions: options.allowed_regions.iter().map(|name| normalise_region(name)).collect(),
        data_boundary: non_empty(options.data_boundary),
        max_scope: match max_scope.unwrap_or_default() {
            pb::ProcessingScope::Unspecified => None,
            pb::ProcessingScope::Regional => Some(ProcessingScope::Regional),
            pb::ProcessingScope::DataZone => Some(ProcessingScope::DataZone),
            pb::ProcessingScope::Global => Some(ProcessingScope::Global),
        },
        data_class,
        priority: match priority.unwrap_or_default() {
            pb::Priority::Unspecified | pb::Priority::Interactive => Priority::Interactive,
            pb::Priority::Bulk => Priority::Bulk,
        },
        on_interruption: match on_interruption.unwrap_or_default() {
            pb::OnInterruption::Unspecified | pb::OnInterruption::Fail => OnInterruption::Fail,
            pb::OnInterruption::Restart => OnInterruption::Restart,
        },
        hedge: match hedge.unwrap_or_default() {
            pb::Hedge::Unspecified => Hedge::Configured,
            pb::Hedge::Allowed => Hedge::Allowed,
            pb::Hedge::Never => Hedge::Never,
        },
    }
}

/// A model's name ends up in spans and errors, so nothing long, such as a misplaced prompt, may stand in for it.
pub(super) fn model_name(name: &str, wrong: &mut Violations) {
    wrong.require(!name.is_empty(), "model", "is required");
    wrong.require(name.len() <= 128, "model", "must be at most 128 bytes");
}

/// An enum's value, or a violation if this version does not know it.
pub(super) fn known<E: TryFrom<i32>>(value: i32, field: impl Into<String>, wrong: &mut Violations) -> Option<E> {
    let known = E::try_from(value).ok();
    wrong.require(known.is_some(), field, format!("{value} is no value of this enum that the service knows"));
    known
}

/// Protobuf's empty string is an unset one.
pub(super) fn non_empty(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}
