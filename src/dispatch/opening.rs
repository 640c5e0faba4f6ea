//! A streamed answer up to its first content: until then a failure is invisible to the caller, and another attempt
//! may win.
use std::pin::Pin;

use futures_util::{Stream, StreamExt as _};
use sealane_core::domain::{AttemptLimits, ChatEvent, ChatRequest, Evidence, Failure};
use tokio::time::Instant;

use crate::upstream::{AttemptOrder, Upstream};

/// A streamed answer whose first content is here.
pub(super) struct Opened {
    /// Everything up to and with the first content.
    pub(super) events: Vec<ChatEvent>,
    /// When the attempt left.
    pub(super) started: Instant,
    /// What bounds it.
    pub(super) limits: AttemptLimits,
    /// What follows.
    pub(super) stream: Pin<Box<dyn Stream<Item = Result<ChatEvent, Failure>> + Send>>,
}

/// Makes one attempt and waits for its first content.
pub(super) async fn open_stream<U: Upstream>(
    upstream: &U,
    order: AttemptOrder,
    request: &ChatRequest,
) -> Result<(Opened, Evidence), Failure> {
    let started = Instant::now();
    let mut answer = upstream.stream_chat(&order, request).await?;
    // A header, the role, the first content.
    let mut events = Vec::with_capacity(4);
    while let Some(event) = answer.events.next().await {
        let event = event?;
        let content = event.is_content();
        events.push(event);
        if content {
            break;
        }
    }
    Ok((Opened { events, started, limits: order.limits, stream: answer.events }, answer.evidence))
}
