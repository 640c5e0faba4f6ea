//! The only module that knows tonic and protobuf.
mod embedding;

pub use embedding::Embedding;

/// Types generated from `proto/sealane/v1/`.
#[allow(missing_docs, unreachable_pub, clippy::unwrap_used, clippy::large_enum_variant, clippy::doc_lazy_continuation)]
pub mod pb {
    tonic::include_proto!("sealane.v1");

    /// Every descriptor of the API with its comments, for server reflection.
    pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/sealane.protoset"));
}
