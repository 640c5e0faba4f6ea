//! What an auditor holds beside the journal: a request, whose MAC the journal has.
use std::{fs, path::PathBuf};

use anyhow::Context as _;
use clap::Args;
use prost::Message;

use crate::{
    audit::{Label, RequestKey},
    grpc::pb,
};

#[derive(Debug, Args)]
pub(super) struct HeldRequest {
    /// Only this very request's, which --caller made: a file with its protobuf message, serialized.
    #[arg(long, value_name = "FILE", requires_all = ["caller", "request_key"])]
    request: Option<PathBuf>,
    /// The file with the secret of `audit.request_key`.
    #[arg(long, value_name = "FILE", requires = "request")]
    request_key: Option<PathBuf>,
}

impl HeldRequest {
    /// The MACs that the journal may have of it; `None` if no request is given.
    pub(super) fn macs(&self, caller: &str) -> anyhow::Result<Option<Vec<Label>>> {
        let (Some(request), Some(key)) = (&self.request, &self.request_key) else { return Ok(None) };
        let secret = fs::read_to_string(key).with_context(|| key.display().to_string())?;
        let secret = RequestKey::new(secret.trim().as_bytes());
        let secret = secret.with_context(|| format!("{}: the secret is too short", key.display()))?;
        let bytes = fs::read(request).with_context(|| request.display().to_string())?;
        // Libraries may serialize in any order, so the file is brought into the one that counts. Which kind of request
        // it is does not show.
        let forms = [canonical::<pb::CompleteRequest>(&bytes), canonical::<pb::EmbedRequest>(&bytes), Some(bytes)];
        Ok(Some(forms.into_iter().flatten().map(|form| secret.mac(caller, &form)).collect()))
    }
}

fn canonical<M: Message + Default>(bytes: &[u8]) -> Option<Vec<u8>> {
    M::decode(bytes).ok().map(|message| message.encode_to_vec())
}
