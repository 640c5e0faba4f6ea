//! Who calls: a bearer token that the configuration knows, or nobody in particular where none is configured (the
//! service then listens on loopback only).
use std::{hint::black_box, sync::Arc};

use http::HeaderMap;
use sealane_core::policy::Policy;
use secrecy::{ExposeSecret as _, SecretString};

use super::status::{Refusal, unauthenticated};

/// A client of the service.
#[derive(Clone, Debug)]
pub struct Caller {
    /// Configured name; empty where no callers are configured.
    pub name: Arc<str>,
    /// What its data is bound to.
    pub policy: Arc<Policy>,
    /// May drain, release and validate.
    pub operator: bool,
}

/// Everyone who may call.
#[derive(Debug)]
pub enum Callers {
    /// Whoever reaches the service.
    Anyone(Caller),
    /// Those with a token.
    Known(Vec<(SecretString, Caller)>),
}

impl Callers {
    /// Every policy that somebody is bound to, each once.
    pub fn policies(&self) -> Vec<Arc<Policy>> {
        let callers: Vec<&Caller> = match self {
            Self::Anyone(caller) => vec![caller],
            Self::Known(known) => known.iter().map(|(_, caller)| caller).collect(),
        };
        let mut policies: Vec<Arc<Policy>> = Vec::new();
        for caller in callers {
            if !policies.contains(&caller.policy) {
                policies.push(Arc::clone(&caller.policy));
            }
        }
        policies
    }

    /// Whether somebody's policy forbids calls that the journal cannot record.
    pub fn need_records(&self) -> bool {
        self.policies().iter().any(|policy| policy.audit_required)
    }

    /// Who this call is from. A policy is never guessed: without a known token the call is refused.
    pub fn identify(&self, headers: &HeaderMap) -> Result<&Caller, Refusal> {
        let known = match self {
            Self::Anyone(caller) => return Ok(caller),
            Self::Known(known) => known,
        };
        let mut values = headers.get_all("authorization").iter();
        let (Some(value), None) = (values.next(), values.next()) else {
            return Err(unauthenticated("MISSING_TOKEN", "send exactly one `authorization: Bearer <token>`"));
        };
        let token = value.as_bytes();
        let token = match token.split_at_checked(7) {
            Some((scheme, token)) if scheme.eq_ignore_ascii_case(b"bearer ") => token,
            _ => return Err(unauthenticated("MISSING_TOKEN", "send `authorization: Bearer <token>`")),
        };
        // Every token is compared in full, so that the time taken tells nothing.
        let mut found = None;
        for (secret, caller) in known {
            if equal(secret.expose_secret().as_bytes(), token) {
                found = Some(caller);
            }
        }
        found.ok_or_else(|| unauthenticated("INVALID_TOKEN", "the bearer token is not known"))
    }
}

/// Compares in a time that depends on the lengths only.
fn equal(a: &[u8], b: &[u8]) -> bool {
    let differing = a.iter().zip(b).fold(0u8, |seen, (x, y)| black_box(seen | (x ^ y)));
    a.len() == b.len() && differing == 0
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn callers() -> Callers {
        let caller = |name: &str| Caller {
            name: name.into(),
            policy: Arc::new(Policy::unrestricted()),
            operator: name == "beta",
        };
        Callers::Known(vec![("alpha-token".into(), caller("alpha")), ("beta-token".into(), caller("beta"))])
    }

    fn identify(values: &[&str]) -> Result<String, &'static str> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append("authorization", value.parse().unwrap());
        }
        callers().identify(&headers).map(|caller| caller.name.to_string()).map_err(|refusal| refusal.reason())
    }

    #[test]
    fn only_a_known_token_is_a_caller() {
        for (values, expected) in [
            (vec!["Bearer alpha-token"], Ok("alpha")),
            (vec!["bearer beta-token"], Ok("beta")),
            (vec![], Err("MISSING_TOKEN")),
            (vec!["Basic alpha-token"], Err("MISSING_TOKEN")),
            (vec!["alpha-token"], Err("MISSING_TOKEN")),
            (vec!["Bearer "], Err("INVALID_TOKEN")),
            (vec!["Bearer alpha-toke"], Err("INVALID_TOKEN")),
            (vec!["Bearer alpha-token2"], Err("INVALID_TOKEN")),
            (vec!["Bearer alpha-token", "Bearer beta-token"], Err("MISSING_TOKEN")),
        ] {
            assert_eq!(identify(&values), expected.map(str::to_owned), "{values:?}");
        }
    }
}
