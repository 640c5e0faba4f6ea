//! The decisions of an ingestion: which texts leave together and when, how much may wait, how many batches run beside
//! each other, and what becomes of a batch that is refused. Pure: the present is an argument, nothing waits here.
//!
//! ```text
//! items ──▶ Window ──▶ Queue ──▶ Batch ──▶ one call ──▶ vectors
//!            room?     leaves?     ▲   Pace: how many at once
//!                                  └── halves of a refused one, whole ones that no region could serve
//! ```
mod batch;
mod pace;
mod queue;
mod setbacks;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
mod window;

pub use batch::{Batch, BatchLimits, Item, ItemFault, Split};
pub use pace::{Pace, PaceLimits};
pub use queue::Queue;
pub use setbacks::{Blame, Onward, Setbacks};
pub use window::{DuplicateId, Window, WindowLimits};
