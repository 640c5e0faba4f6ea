//! The thread that writes what waits in the queue, and goes on trying when it cannot.
use std::{
    io,
    sync::{Arc, PoisonError},
    time::Duration,
};

use tracing::{error, info};

use super::{
    label::Label,
    queue::{JournalError, Queue, Reply, Shared, Waiting},
    record::{Cause, Event, Recovered},
    writer::{Entry, Writer},
};

/// Longest wait between two tries to write again.
const MAX_RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// Longest wait of a record that nobody waits for.
const LINGER: Duration = Duration::from_millis(20);

/// The thread.
pub(super) struct Work {
    pub(super) shared: Arc<Shared>,
    pub(super) writer: Writer,
    /// Most records that are written together.
    pub(super) batch: usize,
    /// First wait after a failure.
    pub(super) retry: Duration,
}

/// However the thread ends, nobody may wait for it in vain.
impl Drop for Work {
    fn drop(&mut self) {
        let waiting = {
            let mut queue = self.shared.queue();
            queue.closing = true;
            std::mem::take(&mut queue.waiting)
        };
        // After the lock is free: an intent that drops puts its outcome into the queue.
        drop(waiting);
    }
}

impl Work {
    /// Runs until the journal is closed.
    pub(super) fn run(mut self) {
        loop {
            let (batch, closing) = self.next_batch();
            let done = closing && batch.is_empty();
            let (mut entries, mut replies): (Vec<Entry>, Vec<Option<Reply>>) =
                batch.into_iter().map(|waiting| (waiting.entry, waiting.reply)).unzip();
            if let Some(lost) = self.lost() {
                entries.push(lost);
                replies.push(None);
            }
            let written = match self.writer.write(&entries) {
                Ok(()) if done => self.writer.close(),
                written => written,
            };
            match written {
                Ok(()) => replies.into_iter().flatten().for_each(|(sender, open)| {
                    // Nobody there any more: the intent drops, and says so in the journal.
                    let _ = sender.send(Ok(open));
                }),
                Err(error) => {
                    let failed = entries.into_iter().zip(replies).map(|(entry, reply)| Waiting { entry, reply });
                    self.refuse(&error, failed.collect());
                    if !self.resume(error) {
                        return;
                    }
                    continue;
                }
            }
            if done {
                return;
            }
        }
    }

    /// Waits for records, or until a checkpoint is due. What nobody waits for is written with the next INTENT, or
    /// after a moment: a disk that is busy with an OUTCOME keeps the INTENT behind it waiting twice.
    fn next_batch(&self) -> (Vec<Waiting>, bool) {
        let idle = |queue: &mut Queue| queue.waiting.is_empty() && !queue.closing;
        let waited = self.shared.wake.wait_timeout_while(self.shared.queue(), self.writer.rest(), idle);
        let (queue, _) = waited.unwrap_or_else(PoisonError::into_inner);
        let unhurried = |queue: &mut Queue| {
            queue.awaited == 0 && !queue.waiting.is_empty() && queue.waiting.len() < self.batch && !queue.closing
        };
        let waited = self.shared.wake.wait_timeout_while(queue, LINGER, unhurried);
        let (mut queue, _) = waited.unwrap_or_else(PoisonError::into_inner);
        (queue.take(self.batch), queue.closing)
    }

    /// What tells of records that found no room.
    fn lost(&self) -> Option<Entry> {
        let lost = std::mem::take(&mut self.shared.queue().lost);
        let recovered = Recovered {
            cause: Cause::Overflow,
            last_good: None,
            cut_bytes: 0,
            cut_hash: None,
            open_attempts: 0,
            lost_records: lost,
            detail: None,
        };
        self.shared.stamp.entry(&Event::Recovered(recovered)).ok().filter(|_| lost > 0)
    }

    /// Fails every intent that waits, those of the failed batch and those in the queue, and from now on each that
    /// comes. All other records stay in the queue.
    fn refuse(&self, error: &io::Error, failed: Vec<Waiting>) {
        let cause = Label::from(error.to_string());
        self.shared.vitals.failed();
        error!(%error, "the audit journal cannot write: calls that need it are refused");
        let refused: Vec<Waiting> = {
            let mut queue = self.shared.queue();
            queue.failure = Some(cause.clone());
            queue.awaited = 0;
            let all = failed.into_iter().chain(std::mem::take(&mut queue.waiting));
            let (refused, kept) = all.partition(|waiting| waiting.reply.is_some());
            queue.bytes = 0;
            Vec::into_iter(kept).for_each(|waiting| _ = queue.add(waiting));
            refused
        };
        self.shared.writable.send_replace(false);
        for (sender, open) in refused.into_iter().filter_map(|waiting| waiting.reply) {
            open.disown();
            let _ = sender.send(Err(JournalError::Unavailable { cause: cause.clone() }));
        }
    }

    /// Tries until a new segment can be written. `false`: the journal was closed meanwhile.
    fn resume(&mut self, mut failure: io::Error) -> bool {
        let mut interval = self.retry;
        loop {
            let closing = {
                let open = |queue: &mut Queue| !queue.closing;
                let waited = self.shared.wake.wait_timeout_while(self.shared.queue(), interval, open);
                waited.unwrap_or_else(PoisonError::into_inner).0.closing
            };
            match self.writer.resume(&failure) {
                Ok(()) => {
                    self.shared.queue().failure = None;
                    self.shared.writable.send_replace(true);
                    info!("the audit journal writes again");
                    return true;
                }
                Err(_) if closing => return false,
                Err(error) => {
                    self.shared.vitals.failed();
                    failure = error;
                }
            }
            interval = (interval * 2).min(MAX_RETRY_INTERVAL);
        }
    }
}
