//! Messages as proto3 JSON: the form that Protobuf defines, stable and camelCase.
use anyhow::Context as _;
use prost_reflect::{DescriptorPool, DynamicMessage};

use crate::grpc::pb;

/// Turns messages into JSON.
pub(super) struct Json {
    pool: DescriptorPool,
}

impl Json {
    pub(super) fn new() -> anyhow::Result<Self> {
        Ok(Self { pool: DescriptorPool::decode(pb::DESCRIPTORS).context("the built-in descriptors are unreadable")? })
    }

    /// `name` is the message's name in `sealane.v1`. In one line, fields in the order of their numbers.
    pub(super) fn line(&self, name: &str, message: &impl prost::Message) -> anyhow::Result<String> {
        let descriptor = self.pool.get_message_by_name(&format!("sealane.v1.{name}"));
        let descriptor = descriptor.with_context(|| format!("there is no message {name}"))?;
        let message = DynamicMessage::decode(descriptor, message.encode_to_vec().as_slice())?;
        Ok(serde_json::to_string(&message)?)
    }
}
