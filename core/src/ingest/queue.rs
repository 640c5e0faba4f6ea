//! Which texts leave together, and when.
use std::collections::VecDeque;

use super::{Batch, BatchLimits, Item, Split, batch::estimated_tokens};
use crate::domain::Moment;

/// Texts that wait for their call, oldest first, and batches that go again.
///
/// A batch is made at the moment at which it may leave, so that what waits for a free place goes on filling up.
#[derive(Debug)]
pub struct Queue {
    limits: BatchLimits,
    /// Estimated tokens that a target's quota takes at once; `None`: as many as the limits allow.
    quota: Option<u64>,
    waiting: VecDeque<(Moment, Item)>,
    /// Estimated, of those that wait.
    tokens: u64,
    /// Before all others, and as they are.
    again: VecDeque<Batch>,
    /// In turns with those that are new, so that none keeps the others from their calls.
    later: VecDeque<Batch>,
    /// A new batch has left since one of `later` did.
    turn_of_later: bool,
}

impl Queue {
    /// Nothing waits yet.
    pub fn new(limits: BatchLimits) -> Self {
        Self {
            limits,
            quota: None,
            waiting: VecDeque::new(),
            tokens: 0,
            again: VecDeque::new(),
            later: VecDeque::new(),
            turn_of_later: false,
        }
    }

    /// How much fits into one batch.
    pub fn limits(&self) -> &BatchLimits {
        &self.limits
    }

    /// The tokens a minute that every target is known to take. A batch has at most half of them: Azure never takes one
    /// that is above a minute's worth, and what keeps a part for `INTERACTIVE` work takes none that is as large.
    pub fn heed_quota(&mut self, tokens_per_minute: Option<u32>) {
        self.quota = tokens_per_minute.map(|limit| u64::from(limit / 2).max(1));
    }

    /// Estimated tokens that fit into one batch, now.
    fn most_tokens(&self) -> u64 {
        self.quota.map_or(self.limits.tokens, |quota| quota.min(self.limits.tokens))
    }

    /// Nothing waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.again.is_empty() && self.later.is_empty()
    }

    /// A text that came at `now`.
    pub fn push(&mut self, item: Item, now: Moment) {
        self.tokens += estimated_tokens(&item.text);
        self.waiting.push_back((now, item));
    }

    /// A batch that goes again before everything else.
    pub fn put_back(&mut self, batch: Batch) {
        self.again.push_front(batch);
    }

    /// A batch that goes again after others had their turn.
    pub fn put_last(&mut self, batch: Batch) {
        self.later.push_back(batch);
    }

    /// Azure found a batch with this many estimated tokens too large as a whole: smaller ones from now on.
    pub fn was_too_large(&mut self, tokens: u64) {
        self.limits.tokens = self.limits.tokens.min((tokens / 2).max(self.limits.item_tokens));
    }

    /// The next batch that is to leave. `more_may_come`: the caller may send more texts, and there is room for them;
    /// otherwise nothing is waited for.
    pub fn next(&mut self, now: Moment, more_may_come: bool) -> Option<Batch> {
        let most_tokens = self.most_tokens();
        if let Some(batch) = next_whole(&mut self.again, most_tokens) {
            return Some(batch);
        }
        if !self.turn_of_later
            && let Some(batch) = self.next_new(now, more_may_come)
        {
            self.turn_of_later = true;
            return Some(batch);
        }
        self.turn_of_later = false;
        next_whole(&mut self.later, most_tokens).or_else(|| self.next_new(now, more_may_come))
    }

    fn next_new(&mut self, now: Moment, more_may_come: bool) -> Option<Batch> {
        let lingered = self.due().is_some_and(|due| due <= now);
        let full = self.waiting.len() >= self.limits.items || self.tokens >= self.most_tokens();
        (lingered || full || !more_may_come).then(|| self.fill()).flatten()
    }

    /// When the oldest text has waited for long enough.
    pub fn due(&self) -> Option<Moment> {
        self.waiting.front().map(|(came, _)| *came + self.limits.linger)
    }

    /// As many as fit, oldest first; one that alone is above the limit goes alone.
    fn fill(&mut self) -> Option<Batch> {
        let (mut batch, mut tokens, most_tokens) = (Batch::default(), 0, self.most_tokens());
        while let Some((_, item)) = self.waiting.front() {
            let next = estimated_tokens(&item.text);
            let fits = batch.ids.len() < self.limits.items && tokens + next <= most_tokens;
            if !fits && !batch.ids.is_empty() {
                break;
            }
            let Some((_, item)) = self.waiting.pop_front() else { break };
            tokens += next;
            self.tokens -= next;
            batch.push(item);
        }
        (!batch.ids.is_empty()).then_some(batch)
    }
}

/// The first of those that go again; in parts if it has become too large.
fn next_whole(batches: &mut VecDeque<Batch>, most_tokens: u64) -> Option<Batch> {
    loop {
        let batch = batches.pop_front()?;
        if batch.ids.len() <= 1 || batch.tokens() <= most_tokens {
            return Some(batch);
        }
        if let Some(Split::Halves(first, second)) = batch.split() {
            batches.push_front(second);
            batches.push_front(first);
        }
    }
}
