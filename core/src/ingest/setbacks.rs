//! What becomes of a batch that no region could serve: an outage is waited for, a text that no region survives is found.
//!
//! The two look alike from one batch. What tells them apart is whether the same regions serve something else meanwhile.
use std::sync::Arc;

use super::{Batch, ItemFault, Split};
use crate::domain::{Moment, Rejection};

/// How often a batch could not be served.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Setbacks {
    /// All of them.
    pub count: u32,
    /// Those since whose predecessor a region that failed the batch has served something else.
    pub against: u32,
    last: Option<Moment>,
}

/// What is to be done with a batch after a setback.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Onward {
    /// It goes again as it is.
    Again(Batch),
    /// It is under suspicion, and goes again in parts.
    Apart(Batch, Batch),
    /// The one item that regions fail over and again while they serve others.
    Guilty(Arc<str>),
}

/// Setbacks against a batch before it is taken apart: one may be chance, since regions come and go.
const AGAINST_A_BATCH: u32 = 2;

/// Setbacks against a single item, one of them inherited, before it is given up.
const AGAINST_AN_ITEM: u32 = 5;

/// Setbacks before a batch that takes too long is taken apart, whatever else is served.
const TOO_LONG: u32 = 2;

impl Setbacks {
    /// One that says nothing about the batch: regions throttle, or it could not even leave.
    pub fn waited(&mut self, now: Moment) {
        (self.count, self.last) = (self.count + 1, Some(now));
    }

    /// One that may be the fault of what is in the batch. `proof`: start of the youngest attempt that a region which
    /// has just failed the batch served, of whatever call. What began before the last setback proves nothing.
    pub fn failed(&mut self, now: Moment, proof: Option<Moment>) {
        let alive = self.last.is_some_and(|last| proof.is_some_and(|began| began > last));
        self.against += u32::from(alive);
        self.waited(now);
    }
}

impl Batch {
    /// After a setback that was counted. `too_long`: its time ran out, so that fewer texts may well be served.
    pub fn onward(mut self, too_long: bool) -> Onward {
        let alone = self.ids.len() <= 1;
        let suspected = self.setbacks.against >= if alone { AGAINST_AN_ITEM } else { AGAINST_A_BATCH };
        let too_long = too_long && !alone && self.setbacks.count >= TOO_LONG;
        if !suspected && !too_long {
            return Onward::Again(self);
        }
        if !alone {
            // With the next setback against it, a half is taken apart as well; without one, never.
            self.setbacks.against = u32::from(suspected);
            self.setbacks.count = 1;
        }
        match self.split() {
            Some(Split::Halves(first, second)) => Onward::Apart(first, second),
            Some(Split::Guilty(id)) => Onward::Guilty(id),
            None => Onward::Again(Batch::default()),
        }
    }
}

/// Items in a row with one and the same fault, before everything is taken to be at fault rather than they.
const GUILTY_IN_A_ROW: u32 = 64;

/// Whether items are at fault one by one, or everything is: the parameters of the call, or regions that are broken for
/// all but test calls. Else an error that concerns a million texts would be told a million times.
#[derive(Debug, Default)]
pub struct Blame {
    served: bool,
    last: Option<ItemFault>,
    in_a_row: u32,
}

impl Blame {
    /// A batch was served.
    pub fn served(&mut self) {
        *self = Self { served: true, ..Self::default() };
    }

    /// Whether any batch ever was.
    pub fn any_served(&self) -> bool {
        self.served
    }

    /// An item that stood alone is at fault. Answers whether everything must be.
    pub fn concerns_all(&mut self, fault: &ItemFault) -> bool {
        if self.last.as_ref() != Some(fault) {
            (self.last, self.in_a_row) = (Some(fault.clone()), 0);
        }
        self.in_a_row += 1;
        let may_concern_all = match fault {
            // Regions may break at any time; what a call is refused for, it is refused for from its beginning.
            ItemFault::NoUsableAnswer | ItemFault::NotServed => true,
            ItemFault::Rejected(Rejection::Invalid { .. }) => !self.served,
            ItemFault::Empty | ItemFault::TooLong | ItemFault::Rejected(_) => false,
        };
        may_concern_all && self.in_a_row >= GUILTY_IN_A_ROW
    }
}
