//! Attempts until one answers: one after the other, and side by side where the router protects a silent one.
use std::{
    future::{Future, poll_fn},
    pin::{Pin, pin},
    sync::Arc,
    task::Poll,
};

use sealane_core::{
    domain::{Evidence, Failure, Moment},
    router::Ticket,
};

use super::{
    CallError, Dispatcher,
    run::{Beside, Run, Started},
};
use crate::upstream::{AttemptOrder, Upstream};

/// What an attempt brings when it answers: what the response head said, and the answer or its beginning.
pub(super) type Answer<T> = Result<(T, Evidence), Failure>;

/// Makes attempts until one answers. With it `run` has exactly one attempt under way: the one that answered. What
/// was silent beside it is dropped, which closes its request.
pub(super) async fn first_to_answer<U, T, F>(
    run: &mut Run<U>,
    attempt: impl Fn(AttemptOrder) -> F,
) -> Result<(Ticket, T), CallError>
where
    U: Upstream,
    F: Future<Output = Answer<T>> + Send,
{
    let dispatcher = Arc::clone(&run.dispatcher);
    loop {
        // Before the choice, so that no change after it is missed.
        let mut changes = dispatcher.changes();
        let Started { ticket, order, mut protect_at } = run.next_attempt().await?;
        let mut first = pin!(attempt(order));
        let mut first_runs = true;
        // Rarely more than one, and none at all unless a target is in trouble.
        let mut beside: Vec<(Ticket, Pin<Box<F>>)> = Vec::new();
        loop {
            let step = {
                let changed = dispatcher.changed.notified();
                let changed_already = changes.has_changed().unwrap_or(false);
                changes.mark_unchanged();
                let answers = poll_fn(|cx| {
                    if first_runs && let Poll::Ready(answer) = first.as_mut().poll(cx) {
                        return Poll::Ready((ticket, answer));
                    }
                    for (ticket, attempt) in &mut beside {
                        if let Poll::Ready(answer) = attempt.as_mut().poll(cx) {
                            return Poll::Ready((*ticket, answer));
                        }
                    }
                    Poll::Pending
                });
                tokio::select! {
                    biased;
                    (ticket, answer) = answers => Some((ticket, answer)),
                    () = changed, if !changed_already => None,
                    () = std::future::ready(()), if changed_already => None,
                    () = until(&dispatcher, protect_at), if protect_at.is_some() => None,
                }
            };
            match step {
                Some((answered, Ok((answer, evidence)))) => {
                    run.answered(answered, evidence);
                    run.wins(answered);
                    return Ok((answered, answer));
                }
                Some((failed, Err(failure))) => {
                    run.failed(failed, failure);
                    if failed == ticket {
                        first_runs = false;
                    }
                    beside.retain(|(ticket, _)| *ticket != failed);
                    if !first_runs && beside.is_empty() {
                        break;
                    }
                }
                None => {
                    let silent = if first_runs { ticket } else { beside.first().map_or(ticket, |(ticket, _)| *ticket) };
                    match run.protect(silent) {
                        Beside::Wait { until } => protect_at = until,
                        Beside::Second(second) => {
                            protect_at = second.protect_at;
                            beside.push((second.ticket, Box::pin(attempt(second.order))));
                        }
                    }
                }
            }
        }
    }
}

async fn until<U: Upstream>(dispatcher: &Dispatcher<U>, moment: Option<Moment>) {
    if let Some(moment) = moment {
        tokio::time::sleep_until(dispatcher.clock.instant(moment)).await;
    }
}
