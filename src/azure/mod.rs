//! The only module that knows HTTP and Azure's JSON.
mod settings;

pub use settings::{Credential, PathStyle, ResourceSettings, ResponseBounds};
