//! Texts that travel together.
use std::{sync::Arc, time::Duration};

use super::Setbacks;
use crate::domain::Rejection;

/// A text to embed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// The caller's name of it, 1 to 128 bytes; unique among the items that are not answered yet.
    pub id: Arc<str>,
    /// The text.
    pub text: String,
}

/// How much fits into one batch. Azure's own limits by default (contract section 4); less where a target's quota, or
/// a caller's, is smaller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchLimits {
    /// Texts in one request.
    pub items: usize,
    /// Estimated tokens in one request.
    pub tokens: u64,
    /// Tokens in one text.
    pub item_tokens: u64,
    /// How long the oldest text waits for others before they leave without more.
    pub linger: Duration,
}

impl Default for BatchLimits {
    fn default() -> Self {
        Self { items: 2048, tokens: 300_000, item_tokens: 8192, linger: Duration::from_millis(50) }
    }
}

/// An estimate must be this many times above the limit before a text is refused without asking Azure: no real text has
/// sixteen characters a token.
const CLEARLY_ABOVE: u64 = 4;

impl BatchLimits {
    /// Why a text can be refused without asking anybody.
    pub fn fault_of(&self, text: &str) -> Option<ItemFault> {
        if text.is_empty() {
            return Some(ItemFault::Empty);
        }
        let most = self.item_tokens.saturating_mul(CLEARLY_ABOVE);
        // Characters, not bytes: an estimate that is generous is no reason to refuse anybody.
        let too_long = (text.chars().count() as u64).div_ceil(4) > most;
        too_long.then_some(ItemFault::TooLong)
    }
}

/// Why one item, and only this one, has no vector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ItemFault {
    /// There is no text.
    Empty,
    /// The text is longer than the model takes, so clearly that Azure was not asked.
    TooLong,
    /// Azure refused it.
    Rejected(Rejection),
    /// Every region answers it with something that is no answer.
    NoUsableAnswer,
    /// No region could serve it, over and again, while they served others.
    NotServed,
}

/// As Azure meters a text: characters / 4, rounded up. Bytes stand for characters: exact for ASCII, generous otherwise.
pub(super) fn estimated_tokens(text: &str) -> u64 {
    (text.len() as u64).div_ceil(4)
}

/// Items of one request; never empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// The callers' names, in the order of the texts.
    pub ids: Vec<Arc<str>>,
    /// As many texts.
    pub texts: Vec<String>,
    /// How often no region could serve it.
    pub setbacks: Setbacks,
}

/// What is left of a batch that was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Split {
    /// The one item that is at fault.
    Guilty(Arc<str>),
    /// Both have items; at least one of the halves holds what is at fault.
    Halves(Batch, Batch),
}

impl Batch {
    pub(super) fn push(&mut self, item: Item) {
        self.ids.push(item.id);
        self.texts.push(item.text);
    }

    /// Estimated tokens.
    pub fn tokens(&self) -> u64 {
        self.texts.iter().map(|text| estimated_tokens(text)).sum()
    }

    /// Bytes of its texts.
    pub fn bytes(&self) -> usize {
        self.texts.iter().map(String::len).sum()
    }

    /// Halves a batch that was refused for what is in it. A batch of `n` items with one that is at fault costs at most
    /// `2 log2 n` further calls until that one stands alone, and all others have their vectors by then.
    pub fn split(mut self) -> Option<Split> {
        if self.ids.len() <= 1 {
            return self.ids.pop().map(Split::Guilty);
        }
        let half = self.ids.len() / 2;
        let setbacks = self.setbacks;
        let second = Self { ids: self.ids.split_off(half), texts: self.texts.split_off(half), setbacks };
        Some(Split::Halves(self, second))
    }
}
