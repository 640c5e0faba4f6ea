//! The only module that knows HTTP and Azure's JSON.
//!
//! `client` makes the attempts, each to a `resource`; `request` and `reply` translate between the domain and Azure's JSON
//! (`wire`, `filters`), `sse` and `stream` read streamed answers, `failure` is the table of everything that can go wrong,
//! `limits` reads the headers, `credential` proves who we are, `resolver` guards the addresses. `arm` reads Azure's control
//! plane, for `sealane check --azure`.
mod arm;
mod client;
mod credential;
mod failure;
mod filters;
mod limits;
mod reply;
mod request;
mod resolver;
mod resource;
mod settings;
mod sse;
mod stream;
mod wire;

pub use arm::{Arm, ArmAccount, ArmDeployment, ArmError, ArmResource};
pub use client::{Azure, Successors};
pub use credential::{Credential, Entra, Identity, IdentityTransport, UserAssigned, default_scope};
pub use resolver::ForbiddenAddress;
pub use resource::BuildError;
pub use settings::{OutputCap, PathStyle, RESERVED_PARAMS, ResourceSettings, ResponseBounds};
