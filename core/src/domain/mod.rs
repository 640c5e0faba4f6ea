//! The glossary: plain data that every other module may speak. No protobuf, no HTTP, no JSON.
mod assembly;
mod attempt;
mod chance;
mod evidence;
mod failure;
mod filter;
mod reply;
mod request;
mod space;
mod stream;
mod target;
mod time;
mod version;

pub use assembly::ReplyAssembly;
pub use attempt::{AttemptLimits, AttemptReason, AttemptRecord, AttemptResult, Quota};
pub(crate) use chance::{Chance, fraction_of, scramble};
pub use evidence::{Evidence, Mismatch};
pub use failure::{BadResponse, ConnectFailure, Failure, FailureClass, FailureKind, Rejection, Silence};
pub use filter::{
    CodeCitation, ContentFilterResults, ContentFilterVerdict, FilterDetail, FilterGrounds, PromptFilterResult, Severity,
};
pub use reply::{
    ChatEvent, ChatReply, Choice, Delta, EmbedReply, FinishReason, LogProbs, ReplyHeader, TokenAlternative,
    TokenLogProb, ToolCall, ToolCallDelta, UrlCitation, Usage, Vector,
};
pub use request::{
    ChatRequest, EmbedRequest, ExtraParam, Hedge, ImageDetail, ImageSource, JsonSchema, Message, OnInterruption, Part,
    Priority, ReasoningEffort, ResponseFormat, Role, RoutingOptions, Tool, ToolChoice, UserSecurityContext, Verbosity,
    is_data_class,
};
pub use space::{Drift, EmbeddingSpace, LEAST_COSINE, REFERENCE_TEXT};
pub use stream::{StreamEnd, StreamProgress};
pub use target::{
    Claims, ModelKind, OnMismatch, ProcessingScope, RateLimits, ScopeEvidence, Sku, Target, TargetId, UpstreamStream,
    normalise_region,
};
pub use time::Moment;
pub use version::{ExpectedVersion, OnVersionMismatch};
