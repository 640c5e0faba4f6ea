//! How the service proves itself to resources: keys, and tokens of Entra ID.
//!
//! `settings` says how; `proof` is what requests carry; `tokens` keeps a token fresh by the `schedule`, `request` asks
//! for one, and `transport` is how. Reading what to show takes no lock across an await and, but for the first token,
//! no time.
mod proof;
mod request;
mod schedule;
mod settings;
mod tokens;
mod transport;

pub(super) use self::{
    proof::{Credentials, Proof, Unusable},
    tokens::Tokens,
};
pub use self::{
    settings::{Credential, Entra, Identity, UserAssigned, default_scope},
    transport::IdentityTransport,
};
