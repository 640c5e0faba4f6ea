//! What the caller of an ingestion gets.
use std::{collections::BTreeMap, sync::Arc, time::Duration};

use sealane_core::{
    domain::{Usage, Vector},
    ingest::ItemFault,
};
use tokio::sync::mpsc;

/// One item's answer.
pub type ItemAnswer = (Arc<str>, Result<Vector, ItemFault>);

/// Items that were answered together. Dropping it says that the caller has taken them.
#[derive(Debug)]
pub struct Answers {
    /// Configured region that served or refused them; `None`: no region was asked.
    pub region: Option<Arc<str>>,
    /// Embedding space of their vectors; `None`: none of the ingestion has one yet.
    pub space: Option<Arc<str>>,
    /// Each exactly once.
    pub items: Vec<ItemAnswer>,
    pub(super) _receipt: Receipt,
}

/// Tells the flow when answers have been taken.
#[derive(Debug)]
pub(super) struct Receipt {
    pub(super) taken: Taken,
    pub(super) tell: mpsc::UnboundedSender<Taken>,
}

/// What has been taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Taken {
    pub(super) items: usize,
    pub(super) vector_bytes: usize,
}

impl Drop for Receipt {
    fn drop(&mut self) {
        // Nobody listens once the ingestion has ended.
        let _ = self.tell.send(self.taken);
    }
}

/// An ingestion as a whole.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct IngestSummary {
    /// Items answered with a vector.
    pub embedded: u64,
    /// Items answered with a fault.
    pub failed: u64,
    /// Of all batches that were served.
    pub usage: Usage,
    /// Vectors by the region that made them.
    pub items_by_region: BTreeMap<Arc<str>, u64>,
    /// Of all vectors; `None` if there is none.
    pub space: Option<Arc<str>>,
    /// Numbers in each vector.
    pub dimensions: usize,
    /// Region that the workflow is pinned to from now on.
    pub pinned_region: Option<String>,
    /// From the opening to the last answer.
    pub duration: Duration,
    /// Attempts at regions, of all batches.
    pub attempts: usize,
}
