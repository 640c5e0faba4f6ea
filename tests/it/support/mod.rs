//! What the areas share.
pub mod openapi;
pub mod scripted;
pub mod service;
