//! Calls that are refused before anything is sent anywhere.
use std::sync::Arc;

use sealane_core::quota::Exceeded;

use super::Caller;
use crate::tls::CertificateProblem;

/// A call that is refused for who makes it. Nothing has been sent to a region.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denial {
    /// Who called, as far as it is proven.
    pub caller: Option<Arc<str>>,
    /// The policy of that caller.
    pub policy: Option<Arc<str>>,
    /// Why it is refused.
    pub grounds: Grounds,
}

/// Why a call is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Grounds {
    /// Neither token nor certificate.
    NoCredential {
        /// Some caller has a token, so one could be sent; otherwise all have certificates.
        token: bool,
    },
    /// The authorization is none, or not a single bearer token.
    MalformedToken,
    /// Nobody's token, or no longer anybody's.
    UnknownToken,
    /// The certificate proves nothing.
    Certificate(CertificateProblem),
    /// The certificate is good, but no name in it is a caller's.
    UnknownName,
    /// The certificate has names of several callers.
    SeveralCallers,
    /// Token and certificate are of different callers.
    Disagreement,
    /// The caller may not act on the router.
    NotAnOperator,
    /// The caller may not use the model.
    ModelNotAllowed {
        /// What it may use.
        allowed: Vec<Arc<str>>,
    },
    /// The caller has used up its allowance.
    Quota(Exceeded),
}

impl Grounds {
    /// `ErrorInfo.reason`, and what the journal says.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::NoCredential { token: true } | Self::MalformedToken => "MISSING_TOKEN",
            Self::NoCredential { token: false } => "MISSING_CERTIFICATE",
            Self::UnknownToken => "INVALID_TOKEN",
            Self::Certificate(_) | Self::UnknownName | Self::SeveralCallers => "INVALID_CERTIFICATE",
            Self::Disagreement => "CREDENTIALS_DISAGREE",
            Self::NotAnOperator => "NOT_AN_OPERATOR",
            Self::ModelNotAllowed { .. } => "MODEL_NOT_ALLOWED",
            Self::Quota(_) => "CALLER_QUOTA_EXCEEDED",
        }
    }
}

impl Denial {
    /// Of somebody who is not known.
    pub(super) fn of_stranger(grounds: Grounds) -> Self {
        Self { caller: None, policy: None, grounds }
    }

    /// Of a caller.
    pub(super) fn of(caller: &Caller, grounds: Grounds) -> Self {
        Self { caller: Some(Arc::clone(&caller.name)), policy: Some(Arc::clone(&caller.policy.name)), grounds }
    }
}
