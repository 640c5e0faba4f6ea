//! Attempts in flight at one target, so that silence is seen before anything times out.
use std::time::Duration;

use super::pace::Mark;
use crate::domain::Moment;

/// One attempt in flight.
#[derive(Clone, Copy, Debug)]
pub(super) struct Open {
    pub(super) started: Moment,
    /// Silence beyond this is a sign of trouble; `None` where silence says nothing.
    pub(super) silent_after: Option<Duration>,
    /// Silence shorter than this came of the caller's haste, and says nothing of the target.
    pub(super) fair_silence: Duration,
    /// All that was sent to its target by then, itself included.
    pub(super) sent: Mark,
    /// Its first content has come.
    pub(super) content: bool,
    /// Its silence has been told.
    told: bool,
}

/// A slab: tickets carry the slot, so that beginning and ending cost no search.
#[derive(Debug, Default)]
pub(super) struct OpenAttempts {
    slots: Vec<Option<Open>>,
    free: Vec<u32>,
}

impl OpenAttempts {
    pub(super) fn count(&self) -> u32 {
        (self.slots.len() - self.free.len()) as u32
    }

    pub(super) fn begin(
        &mut self,
        started: Moment,
        silent_after: Option<Duration>,
        fair_silence: Duration,
        sent: Mark,
    ) -> u32 {
        let open = Some(Open { started, silent_after, fair_silence, sent, content: false, told: false });
        match self.free.pop() {
            Some(slot) => {
                self.slots[slot as usize] = open;
                slot
            }
            None => {
                self.slots.push(open);
                (self.slots.len() - 1) as u32
            }
        }
    }

    pub(super) fn find(&mut self, slot: u32) -> Option<&mut Open> {
        self.slots.get_mut(slot as usize)?.as_mut()
    }

    pub(super) fn end(&mut self, slot: u32) -> Option<Open> {
        let open = self.slots.get_mut(slot as usize)?.take()?;
        self.free.push(slot);
        Some(open)
    }

    /// How many have newly fallen silent for too long.
    pub(super) fn newly_silent(&mut self, now: Moment) -> usize {
        self.slots.iter_mut().flatten().filter_map(|open| open.turns_silent(now).then_some(())).count()
    }

    /// When the next one will have, if it stays silent.
    pub(super) fn next_silence(&self) -> Option<Moment> {
        let waiting = self.slots.iter().flatten().filter(|open| !open.content && !open.told);
        waiting.filter_map(|open| Some(open.started + open.silent_after?)).min()
    }

    /// The time that passed was not theirs: their silence counts no more.
    pub(super) fn forgive(&mut self) {
        self.slots.iter_mut().flatten().for_each(|open| open.told = true);
    }
}

impl Open {
    /// Whether it has been silent for too long and this was not told before.
    pub(super) fn turns_silent(&mut self, now: Moment) -> bool {
        let silent = !self.content && self.silent_after.is_some_and(|limit| now.since(self.started) >= limit);
        silent && !std::mem::replace(&mut self.told, true)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Moment {
        Moment::after_origin(Duration::from_secs(seconds))
    }

    fn begin(open: &mut OpenAttempts, second: u64, silent_after: Option<u64>) -> u32 {
        open.begin(at(second), silent_after.map(Duration::from_secs), Duration::ZERO, Mark::default())
    }

    #[test]
    fn a_silence_is_told_once_and_is_due_no_more_when_it_was_told_ended_or_broken() {
        let mut open = OpenAttempts::default();
        assert_eq!((open.count(), open.next_silence(), open.newly_silent(at(9))), (0, None, 0));
        begin(&mut open, 0, None);
        assert_eq!(open.next_silence(), None, "of one that thinks silence says nothing");
        let [_, talks, leaves] = [3, 4, 5].map(|limit| begin(&mut open, 10, Some(limit)));
        assert_eq!((open.count(), open.next_silence(), open.newly_silent(at(12))), (4, Some(at(13)), 0));
        assert_eq!((open.newly_silent(at(13)), open.newly_silent(at(13))), (1, 0), "told once");
        assert_eq!(open.next_silence(), Some(at(14)));
        open.find(talks).unwrap().content = true;
        assert_eq!(open.next_silence(), Some(at(15)));
        assert!(open.end(leaves).is_some() && open.end(leaves).is_none(), "it ends once");
        assert_eq!((open.count(), open.next_silence(), open.newly_silent(at(99))), (3, None, 0));
    }

    #[test]
    fn what_was_forgiven_falls_silent_no_more_and_what_begins_then_does() {
        let mut open = OpenAttempts::default();
        [2, 3].into_iter().for_each(|limit| _ = begin(&mut open, 0, Some(limit)));
        open.forgive();
        assert_eq!((open.next_silence(), open.newly_silent(at(9))), (None, 0));
        [2, 3].into_iter().for_each(|limit| _ = begin(&mut open, 9, Some(limit)));
        assert_eq!((open.next_silence(), open.newly_silent(at(20))), (Some(at(11)), 2));
    }

    #[test]
    fn a_place_that_became_free_is_taken_again() {
        let mut open = OpenAttempts::default();
        let [first, second] = [1, 2].map(|limit| begin(&mut open, 0, Some(limit)));
        open.end(first);
        assert_eq!((begin(&mut open, 5, Some(4)), begin(&mut open, 5, Some(4))), (first, second + 1));
        assert_eq!((open.count(), open.find(first).unwrap().started), (3, at(5)));
        assert!(open.find(second + 2).is_none());
    }
}
