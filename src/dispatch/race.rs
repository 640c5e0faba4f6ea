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
    CallError, CallFailure, Dispatcher,
    run::{Beside, Run, Started},
};
use crate::{
    audit::{JournalError, OpenIntent, PendingIntent},
    upstream::{AttemptOrder, Upstream},
};

/// What an attempt brings when it answers: what the response head said, and the answer or its beginning.
pub(super) type Answer<T> = Result<(T, Evidence), Failure>;

/// When an attempt left, and its open record; `None` where no journal is kept.
pub(super) type Departure = Option<(Moment, Option<OpenIntent>)>;

/// What became of an attempt.
enum Attempted<T> {
    Answered(Departure, Answer<T>),
    /// Nothing was sent.
    NotRecorded(JournalError),
}

/// One attempt, made when its record is durable and not before.
async fn recorded<U: Upstream, T, F: Future<Output = Answer<T>>>(
    dispatcher: &Dispatcher<U>,
    ticket: Ticket,
    intent: Option<Box<PendingIntent>>,
    attempt: impl FnOnce() -> F,
) -> Attempted<T> {
    let Some(intent) = intent else { return Attempted::Answered(None, attempt().await) };
    match intent.write().await {
        Ok(open) => {
            let left = dispatcher.departs(ticket);
            let answer = attempt().await;
            Attempted::Answered(Some((left, open)), answer)
        }
        Err(error) => Attempted::NotRecorded(error),
    }
}

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
    let attempt = |ticket, order, intent| recorded(&dispatcher, ticket, intent, || attempt(order));
    race(run, &dispatcher, attempt).await
}

async fn race<U, T, F>(
    run: &mut Run<U>,
    dispatcher: &Dispatcher<U>,
    attempt: impl Fn(Ticket, AttemptOrder, Option<Box<PendingIntent>>) -> F,
) -> Result<(Ticket, T), CallError>
where
    U: Upstream,
    F: Future<Output = Attempted<T>>,
{
    loop {
        // Before the choice, so that no change after it is missed.
        let mut changes = dispatcher.changes();
        let Started { ticket, order, intent, mut protect_at } = run.next_attempt().await?;
        let mut first = pin!(attempt(ticket, order, intent));
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
                    () = until(dispatcher, protect_at), if protect_at.is_some() => None,
                }
            };
            let Some((ended, attempted)) = step else {
                let silent = if first_runs { ticket } else { beside.first().map_or(ticket, |(ticket, _)| *ticket) };
                match run.protect(silent) {
                    Beside::Wait { until } => protect_at = until,
                    Beside::Second(Started { ticket, order, intent, protect_at: again_at }) => {
                        protect_at = again_at;
                        beside.push((ticket, Box::pin(attempt(ticket, order, intent))));
                    }
                }
                continue;
            };
            let refused = match attempted {
                Attempted::Answered(departure, Ok((answer, evidence))) => {
                    run.departed(ended, departure);
                    run.answered(ended, evidence);
                    run.wins(ended);
                    return Ok((ended, answer));
                }
                Attempted::Answered(departure, Err(failure)) => {
                    run.departed(ended, departure);
                    run.failed(ended, failure);
                    None
                }
                Attempted::NotRecorded(cause) => {
                    run.not_recorded(ended);
                    Some(cause)
                }
            };
            first_runs &= ended != ticket;
            beside.retain(|(ticket, _)| *ticket != ended);
            match refused {
                _ if first_runs || !beside.is_empty() => {}
                Some(cause) => return Err(run.give_up(CallFailure::NotRecorded { cause })),
                None => break,
            }
        }
    }
}

async fn until<U: Upstream>(dispatcher: &Dispatcher<U>, moment: Option<Moment>) {
    if let Some(moment) = moment {
        tokio::time::sleep_until(dispatcher.clock.instant(moment)).await;
    }
}
