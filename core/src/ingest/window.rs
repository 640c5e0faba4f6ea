//! How much of an ingestion is in memory.
use std::{collections::HashSet, sync::Arc};

/// How much may wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WindowLimits {
    /// Items that were taken and whose answer the caller has not read.
    pub items: usize,
    /// Bytes of their texts.
    pub bytes: usize,
    /// Bytes of vectors that the caller has not read; above it no further batch leaves.
    pub vector_bytes: usize,
}

impl Default for WindowLimits {
    fn default() -> Self {
        Self { items: 4096, bytes: 8 << 20, vector_bytes: 8 << 20 }
    }
}

/// Another item of this name is not answered yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DuplicateId(pub Arc<str>);

/// What is in memory for one ingestion, whatever its length.
#[derive(Debug)]
pub struct Window {
    limits: WindowLimits,
    items: usize,
    bytes: usize,
    vector_bytes: usize,
    unanswered: HashSet<Arc<str>>,
}

impl Window {
    /// Empty.
    pub fn new(limits: WindowLimits) -> Self {
        Self { limits, items: 0, bytes: 0, vector_bytes: 0, unanswered: HashSet::new() }
    }

    /// Whether another item may be read. One item may end above the limit of bytes, by its own length.
    pub fn has_room(&self) -> bool {
        self.items < self.limits.items && self.bytes < self.limits.bytes
    }

    /// Whether another batch may leave: not while the caller leaves too many vectors unread.
    pub fn is_read(&self) -> bool {
        self.vector_bytes < self.limits.vector_bytes
    }

    /// An item with a text of this length was read.
    ///
    /// # Errors
    /// When one of the same name is not answered yet. Nothing has changed then.
    pub fn take(&mut self, id: &Arc<str>, bytes: usize) -> Result<(), DuplicateId> {
        if !self.unanswered.insert(Arc::clone(id)) {
            return Err(DuplicateId(Arc::clone(id)));
        }
        self.items += 1;
        self.bytes += bytes;
        Ok(())
    }

    /// Items are answered: their texts are no longer needed (`bytes`), and vectors of so many bytes wait to be read.
    pub fn answer<'a>(&mut self, ids: impl IntoIterator<Item = &'a Arc<str>>, bytes: usize, vector_bytes: usize) {
        for id in ids {
            self.unanswered.remove(id);
        }
        self.bytes = self.bytes.saturating_sub(bytes);
        self.vector_bytes += vector_bytes;
    }

    /// The caller has read so many answers, with vectors of so many bytes.
    pub fn read(&mut self, items: usize, vector_bytes: usize) {
        self.items = self.items.saturating_sub(items);
        self.vector_bytes = self.vector_bytes.saturating_sub(vector_bytes);
    }

    /// Items without an answer.
    pub fn unanswered(&self) -> usize {
        self.unanswered.len()
    }
}
