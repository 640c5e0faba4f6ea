//! Workflows pinned to a region: bounded, forgetful, and each caller's own.
use std::{collections::HashMap, sync::Arc};

use super::thresholds;
use crate::domain::{Moment, fraction_of, scramble};

/// Names a workflow: two callers may use the same id and never meet.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Workflow {
    pub(super) caller: Arc<str>,
    pub(super) id: Arc<str>,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Pin {
    pub(super) region: Arc<str>,
    pub(super) made: Moment,
    pub(super) used: Moment,
}

/// Which workflow stays where.
#[derive(Debug)]
pub(super) struct Affinity {
    pins: HashMap<Workflow, Pin>,
    /// Pins by region, so that counting them costs the router's lock nothing.
    counts: HashMap<Arc<str>, usize>,
    pub(super) numbers: thresholds::Affinity,
    swept: Moment,
}

impl Affinity {
    const SWEEP_EVERY: std::time::Duration = std::time::Duration::from_secs(60);

    pub(super) fn new(numbers: thresholds::Affinity, now: Moment) -> Self {
        Self { pins: HashMap::new(), counts: HashMap::new(), numbers, swept: now }
    }

    pub(super) fn find(&self, workflow: &Workflow, now: Moment) -> Option<&Pin> {
        self.pins.get(workflow).filter(|pin| self.is_alive(pin, now))
    }

    /// Remembers that the workflow works in `region` now.
    pub(super) fn keep(&mut self, workflow: Workflow, region: &Arc<str>, now: Moment) {
        if let Some(pin) = self.pins.get_mut(&workflow) {
            let expired = now.since(pin.used) > self.numbers.idle || now.since(pin.made) > self.numbers.age;
            if expired || pin.region != *region {
                uncount(&mut self.counts, &pin.region);
                *self.counts.entry(Arc::clone(region)).or_default() += 1;
                *pin = Pin { region: Arc::clone(region), made: now, used: now };
            }
            pin.used = now;
            return;
        }
        if self.pins.len() >= self.numbers.capacity {
            self.make_room(now);
        }
        *self.counts.entry(Arc::clone(region)).or_default() += 1;
        self.pins.insert(workflow, Pin { region: Arc::clone(region), made: now, used: now });
    }

    /// Forgets what has expired, once a minute.
    pub(super) fn sweep(&mut self, now: Moment) {
        if now.since(self.swept) >= Self::SWEEP_EVERY {
            self.swept = now;
            self.drop_expired(now);
        }
    }

    /// Workflows pinned to `region`; those that expired within the last minute may be among them.
    pub(super) fn pinned_to(&self, region: &str) -> usize {
        self.counts.get(region).copied().unwrap_or(0)
    }

    fn is_alive(&self, pin: &Pin, now: Moment) -> bool {
        now.since(pin.used) <= self.numbers.idle && now.since(pin.made) <= self.numbers.age
    }

    fn drop_expired(&mut self, now: Moment) {
        let (idle, age) = (self.numbers.idle, self.numbers.age);
        let counts = &mut self.counts;
        self.pins.retain(|_, pin| {
            let stays = now.since(pin.used) <= idle && now.since(pin.made) <= age;
            if !stays {
                uncount(counts, &pin.region);
            }
            stays
        });
    }

    /// Expired pins go first, then a sixteenth of the longest unused: so that a full table costs each newcomer no
    /// more than a few steps.
    fn make_room(&mut self, now: Moment) {
        self.drop_expired(now);
        if self.pins.len() < self.numbers.capacity {
            return;
        }
        let mut used: Vec<Moment> = self.pins.values().map(|pin| pin.used).collect();
        let place = (used.len() - 1) / 16;
        let (_, oldest, _) = used.select_nth_unstable(place);
        let oldest = *oldest;
        let mut surplus = place + 1;
        let counts = &mut self.counts;
        self.pins.retain(|_, pin| {
            let goes = surplus > 0 && pin.used <= oldest;
            surplus -= usize::from(goes);
            if goes {
                uncount(counts, &pin.region);
            }
            !goes
        });
    }
}

fn uncount(counts: &mut HashMap<Arc<str>, usize>, region: &str) {
    if let Some(count) = counts.get_mut(region) {
        *count -= 1;
    }
}

/// A stable number in 0..1 for a piece of work, equal in every replica and every release: FNV-1a with SplitMix64's
/// finish, since FNV alone spreads short keys badly over the high bits.
pub fn place_on_ramp(caller: &str, work: &str) -> f64 {
    let separator = [0u8];
    let bytes = caller.as_bytes().iter().chain(&separator).chain(work.as_bytes());
    let hash = bytes
        .fold(0xCBF2_9CE4_8422_2325u64, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01B3));
    fraction_of(scramble(hash))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(seconds: u64) -> Moment {
        Moment::after_origin(Duration::from_secs(seconds))
    }

    fn workflow(id: usize) -> Workflow {
        Workflow { caller: "team".into(), id: format!("run-{id}").into() }
    }

    fn affinity(capacity: usize) -> Affinity {
        Affinity::new(thresholds::Affinity { capacity, ..Default::default() }, at(0))
    }

    #[test]
    fn a_pin_lives_while_it_is_used_and_not_for_ever() {
        let (mut affinity, swc) = (affinity(10), Arc::from("swc"));
        affinity.keep(workflow(1), &swc, at(0));
        assert!(affinity.find(&workflow(1), at(1800)).is_some(), "half an hour later");
        assert!(affinity.find(&workflow(1), at(1801)).is_none(), "and a second");
        let halves = (0..=48).map(|half_hour| half_hour * 1800);
        halves.for_each(|second| affinity.keep(workflow(2), &swc, at(second)));
        assert!(affinity.find(&workflow(2), at(86_400)).is_some());
        assert!(affinity.find(&workflow(2), at(86_401)).is_none(), "a day old, though in use");
        affinity.keep(workflow(2), &swc, at(86_401));
        assert_eq!(affinity.find(&workflow(2), at(86_401)).unwrap().made, at(86_401), "begins anew");
        assert!(affinity.find(&Workflow { caller: "other".into(), ..workflow(2) }, at(86_401)).is_none());
    }

    #[test]
    fn the_longest_unused_make_room() {
        let (mut affinity, swc) = (affinity(160), Arc::from("swc"));
        (0..160).for_each(|id| affinity.keep(workflow(id), &swc, at(id as u64)));
        affinity.keep(workflow(0), &swc, at(200));
        affinity.keep(workflow(1000), &swc, at(201));
        assert_eq!(affinity.pinned_to("swc"), 151);
        let known = |id: usize| affinity.find(&workflow(id), at(201)).is_some();
        assert!(known(0) && known(11) && known(1000));
        assert!((1..=10).all(|id| !known(id)));
        affinity.sweep(at(1800 + 201));
        assert_eq!(affinity.pins.len(), 1, "only the one used last is left");
    }

    #[test]
    fn a_pin_in_use_is_as_old_as_it_was() {
        let (mut affinity, swc) = (affinity(10), Arc::from("swc"));
        affinity.keep(workflow(1), &swc, at(0));
        affinity.keep(workflow(1), &swc, at(10));
        let pin = affinity.find(&workflow(1), at(10)).unwrap();
        assert_eq!((pin.made, pin.used), (at(0), at(10)));
    }

    #[test]
    fn pins_are_counted_where_they_are_now() {
        let (mut affinity, regions) = (affinity(10), ["swc", "weu"].map(Arc::<str>::from));
        let mut told = vec![];
        for (id, region, now) in [(1, 0, 0), (2, 0, 0), (1, 1, 1), (1, 1, 2), (3, 1, 2), (2, 0, 5000)] {
            affinity.keep(workflow(id), &regions[region], at(now));
            told.push((affinity.pinned_to("swc"), affinity.pinned_to("weu")));
        }
        assert_eq!(told, [(1, 0), (2, 0), (1, 1), (1, 1), (1, 2), (1, 2)]);
        affinity.sweep(at(5000));
        assert_eq!((affinity.pinned_to("swc"), affinity.pinned_to("weu")), (1, 0));
    }

    #[test]
    fn no_more_pins_go_than_must() {
        let swc = Arc::from("swc");
        let mut even = affinity(32);
        (0..32).for_each(|id| even.keep(workflow(id), &swc, at(0)));
        even.keep(workflow(99), &swc, at(1));
        assert_eq!(even.pins.len(), 31, "two of those that were used at the same moment");
        let mut half_expired = affinity(16);
        (0..8).for_each(|id| half_expired.keep(workflow(id), &swc, at(0)));
        (8..16).for_each(|id| half_expired.keep(workflow(id), &swc, at(1000)));
        half_expired.keep(workflow(99), &swc, at(1801));
        assert_eq!(half_expired.pins.len(), 9, "the expired ones made room enough");
    }

    #[test]
    fn places_are_stable_and_spread() {
        assert_eq!((place_on_ramp("team", "run-1") * 1e6) as u64, (place_on_ramp("team", "run-1") * 1e6) as u64);
        assert_ne!(place_on_ramp("a", "bc"), place_on_ramp("ab", "c"));
        for share in [0.01, 0.05, 0.2, 0.5] {
            let taken = (0..20_000).filter(|id| place_on_ramp("team", &format!("run-{id}")) < share).count();
            let ratio = taken as f64 / 20_000.0 / share;
            assert!((0.8..1.2).contains(&ratio), "{share}: {taken}");
        }
    }
}
