//! A value that can be replaced while calls go by it.
use std::sync::{Arc, PoisonError, RwLock};

/// What is in force now. Whoever takes it keeps what it took: one call sees one configuration.
#[derive(Debug)]
pub struct InForce<T>(RwLock<Arc<T>>);

impl<T> InForce<T> {
    /// Puts the first one in force.
    pub fn new(value: Arc<T>) -> Self {
        Self(RwLock::new(value))
    }

    /// What is in force. The lock is held for a clone.
    pub fn get(&self) -> Arc<T> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Puts another one in force.
    pub fn put(&self, value: Arc<T>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = value;
    }
}
