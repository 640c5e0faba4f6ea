//! Tokens that are good until they expire.
use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::time::Instant;

/// The tokens that an identity endpoint has issued. Clones share them.
#[derive(Clone, Default)]
pub struct IssuedTokens(Arc<Mutex<HashMap<String, Instant>>>);

impl fmt::Debug for IssuedTokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("IssuedTokens")
    }
}

impl IssuedTokens {
    /// Whether it was issued, and is good now.
    #[must_use]
    pub fn accept(&self, token: &str) -> bool {
        self.known(|known| known.get(token).is_some_and(|expires| *expires > Instant::now()))
    }

    /// Accepts none of them any more.
    pub fn revoke(&self) {
        self.known(HashMap::clear);
    }

    /// How many have expired since they were issued.
    #[must_use]
    pub fn expired(&self) -> usize {
        let now = Instant::now();
        self.known(|known| known.values().filter(|expires| **expires <= now).count())
    }

    /// Every token that was not revoked, as text: for looking where it must not be.
    #[must_use]
    pub fn texts(&self) -> Vec<String> {
        self.known(|known| known.keys().cloned().collect())
    }

    pub(super) fn add(&self, token: String, expires: Instant) {
        self.known(|known| known.insert(token, expires));
    }

    fn known<T>(&self, read: impl FnOnce(&mut HashMap<String, Instant>) -> T) -> T {
        read(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
