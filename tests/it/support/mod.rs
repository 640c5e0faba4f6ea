//! What the areas share.
pub mod scripted;
pub mod service;
