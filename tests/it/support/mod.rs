//! What the areas share.
pub mod attempt;
pub mod authority;
pub mod canned;
pub mod http2;
pub mod openapi;
pub mod process;
pub mod scripted;
pub mod service;
pub mod wire;
pub mod world;
