//! Who served a call, and what was tried on the way.
use sealane_core::domain::AttemptRecord;

/// Every attempt of a call, and which of them is the answer's.
#[derive(Clone, Debug, PartialEq)]
pub struct Served {
    /// In the order in which they started; never empty.
    pub attempts: Vec<AttemptRecord>,
    /// Place of the one that served.
    pub serving: usize,
    /// Region that the call's workflow is pinned to from now on.
    pub pinned_region: Option<String>,
}

impl Served {
    /// The attempt that served.
    pub fn by(&self) -> Option<&AttemptRecord> {
        self.attempts.get(self.serving)
    }

    /// Another target than the first one tried served.
    pub fn failed_over(&self) -> bool {
        match (self.attempts.first(), self.by()) {
            (Some(first), Some(serving)) => first.target.id != serving.target.id,
            _ => false,
        }
    }
}
