//! Who calls, and what it may do: callers, the credentials that prove who they are, what they may use.
//!
//! `callers` finds the caller of a call, `token` and `crate::tls` know the two kinds of credentials, `quota` holds what
//! callers use of their allowance, and every refusal is a [`Denial`].
mod audience;
mod callers;
mod denial;
mod quota;
mod token;

pub use self::{
    audience::Audience,
    callers::{Caller, CallerSettings, Callers, KnownCallers, Presented},
    denial::{Denial, Grounds},
    quota::Pass,
};
