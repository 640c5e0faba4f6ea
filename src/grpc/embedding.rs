//! `sealane.v1.Embedding`, written by hand: `repeated float` in its packed form and `bytes` are the same on the
//! wire, so a vector goes from Azure's base64 to the caller as one run of bytes and is never parsed in between.

/// One vector; the twin of the message that `proto/sealane/v1/inference.proto` defines.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Embedding {
    /// 0-based index of the input.
    #[prost(int32, tag = "1")]
    pub index: i32,
    /// The vector as little-endian 32-bit floats; on the wire the packed form of `repeated float values`.
    #[prost(bytes = "vec", tag = "2")]
    pub values: Vec<u8>,
    /// The same bytes again, if the caller asked for bytes.
    #[prost(bytes = "vec", tag = "3")]
    pub packed_values: Vec<u8>,
}
