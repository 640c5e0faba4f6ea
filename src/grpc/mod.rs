//! The only module that knows tonic and protobuf.
//!
//! `decode*` turns protobuf into the domain, `encode*` the other way, `status` errors into statuses; `inference`,
//! `region`, `operator` and `health` are the services.
mod auth;
mod current;
mod deadline;
mod decode;
mod decode_chat;
mod decode_embed_stream;
mod decode_message;
mod embed_stream;
mod embedding;
mod encode;
mod encode_embed_stream;
mod encode_region;
mod encode_stream;
mod explain;
mod health;
mod inference;
mod open_call;
mod operator;
mod region;
mod status;
mod upstream_field;
mod violation;

pub use auth::{Gate, ReflectionGate};
pub use current::Current;
pub use deadline::DeadlineRules;
pub use embed_stream::EmbedEvents;
pub use embedding::Embedding;
pub use explain::{Explain, Explained, Explaining};
pub use health::{Condition, HealthService, HoldDown};
pub use inference::{EventStream, Inference, InferenceRules};
pub use open_call::Trail;
pub use operator::Operator;
pub use region::Regions;
pub use status::{DOMAIN, Refusal};
pub use violation::{Violation, Violations};

/// Types generated from `proto/sealane/v1/`.
#[allow(missing_docs, unreachable_pub, clippy::unwrap_used, clippy::large_enum_variant, clippy::doc_lazy_continuation)]
pub mod pb {
    tonic::include_proto!("sealane.v1");

    /// Every descriptor of the API with its comments, for server reflection.
    pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/sealane.protoset"));
}
