//! Error-flood logging becomes the second outage: a gate that lets only so many lines a second through.
use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// Lets a bounded number of lines through in each second and counts the rest.
#[derive(Debug)]
pub struct FloodGate {
    per_second: u32,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    second: Instant,
    passed: u32,
    held_back: u64,
}

impl FloodGate {
    /// At most this many lines a second.
    pub fn new(per_second: u32) -> Self {
        Self { per_second, state: Mutex::new(State { second: Instant::now(), passed: 0, held_back: 0 }) }
    }

    /// Whether a line may pass; if so, how many were held back since the last one that passed.
    pub fn pass(&self) -> Option<u64> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.second.elapsed() >= Duration::from_secs(1) {
            state.second = Instant::now();
            state.passed = 0;
        }
        if state.passed < self.per_second {
            state.passed += 1;
            Some(std::mem::take(&mut state.held_back))
        } else {
            state.held_back += 1;
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_back_is_counted() {
        let gate = FloodGate::new(2);
        assert_eq!(gate.pass(), Some(0));
        assert_eq!(gate.pass(), Some(0));
        assert_eq!(gate.pass(), None);
        assert_eq!(gate.pass(), None);
        gate.state.lock().unwrap_or_else(PoisonError::into_inner).second -= Duration::from_secs(2);
        assert_eq!(gate.pass(), Some(2));
    }
}
