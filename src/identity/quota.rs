//! What callers use of their allowance.
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sealane_core::{
    domain::Moment,
    quota::{Allowance, Exceeded, Meter},
};

/// One caller's meter, shared by its calls. Locked for a few additions at a time.
#[derive(Clone, Debug)]
pub(super) struct SharedMeter(Arc<Mutex<Meter>>);

impl SharedMeter {
    pub(super) fn new(allowance: Allowance) -> Self {
        Self(Arc::new(Mutex::new(Meter::new(allowance))))
    }

    pub(super) fn change(&self, now: Moment, allowance: Allowance) {
        self.lock().change(now, allowance);
    }

    pub(super) fn allowance(&self) -> Allowance {
        self.lock().allowance()
    }

    pub(super) fn admit(&self, now: Moment, estimated: u64) -> Result<Pass, Exceeded> {
        self.lock().admit(now, estimated)?;
        Ok(Pass { meter: self.clone(), estimated })
    }

    fn lock(&self) -> MutexGuard<'_, Meter> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A call's leave to run; dropped when it ends. Without [`Pass::settle`] its estimate stands.
#[derive(Debug)]
#[must_use = "the call is in flight for as long as its pass lives"]
pub struct Pass {
    meter: SharedMeter,
    estimated: u64,
}

impl Pass {
    /// Azure has told how many tokens the call used.
    pub fn settle(&mut self, now: Moment, used: u64) {
        self.meter.lock().settle(now, std::mem::replace(&mut self.estimated, used), used);
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        self.meter.lock().leave();
    }
}
