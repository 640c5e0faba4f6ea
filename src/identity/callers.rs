//! Everyone who may call, and whose call this is.
use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
    time::SystemTime,
};

use http::HeaderMap;
use sealane_core::{domain::Moment, policy::Policy, quota::Allowance};

use super::{
    denial::{Denial, Grounds},
    quota::{Pass, SharedMeter},
    token::{TokenDigest, owner_of},
};
use crate::{
    secret::{Origin, Rotation, Secret},
    tls::{PeerCertificate, SubjectName},
};

/// What the configuration says of a caller.
#[derive(Clone, Debug)]
pub struct CallerSettings {
    /// Its name; shown in spans and in the journal.
    pub name: Arc<str>,
    /// Bearer tokens, any of which proves who it is.
    pub tokens: Vec<Secret>,
    /// Names in a client certificate, any of which proves who it is.
    pub certificate_names: Vec<SubjectName>,
    /// What binds its data.
    pub policy: Arc<Policy>,
    /// May drain, release and validate.
    pub operator: bool,
    /// Logical models that it may use; `None`: every one.
    pub models: Option<Vec<Arc<str>>>,
    /// What it may use.
    pub allowance: Allowance,
}

/// A client of the service.
#[derive(Clone, Debug)]
pub struct Caller {
    /// Configured name; empty where no callers are configured.
    pub name: Arc<str>,
    /// What its data is bound to.
    pub policy: Arc<Policy>,
    /// May drain, release and validate.
    pub operator: bool,
    models: Option<Vec<Arc<str>>>,
    meter: SharedMeter,
}

impl Caller {
    fn new(settings: &CallerSettings) -> Self {
        Self {
            name: Arc::clone(&settings.name),
            policy: Arc::clone(&settings.policy),
            operator: settings.operator,
            models: settings.models.clone(),
            meter: SharedMeter::new(settings.allowance),
        }
    }

    /// Whether it may use a model at all.
    ///
    /// # Errors
    /// When it may not.
    pub fn may_use(&self, model: &str) -> Result<(), Denial> {
        match &self.models {
            Some(allowed) if !allowed.iter().any(|one| **one == *model) => {
                Err(Denial::of(self, Grounds::ModelNotAllowed { allowed: allowed.clone() }))
            }
            _ => Ok(()),
        }
    }

    /// What it may use.
    pub fn allowance(&self) -> Allowance {
        self.meter.allowance()
    }

    /// Leave for one call to a model that is estimated to use this many tokens.
    ///
    /// # Errors
    /// When the caller may not use the model, or has used up its allowance.
    pub fn admit(&self, model: &str, estimated_tokens: u64, now: Moment) -> Result<Pass, Denial> {
        self.may_use(model)?;
        self.meter.admit(now, estimated_tokens).map_err(|exceeded| Denial::of(self, Grounds::Quota(exceeded)))
    }

    /// Whether it may act on the router.
    ///
    /// # Errors
    /// When it may not.
    pub fn admit_as_operator(&self) -> Result<(), Denial> {
        if self.operator { Ok(()) } else { Err(Denial::of(self, Grounds::NotAnOperator)) }
    }
}

/// Everyone who may call.
#[derive(Debug)]
pub enum Callers {
    /// Whoever reaches the service.
    Anyone(Arc<Caller>),
    /// Those who can prove who they are.
    Known(KnownCallers),
}

/// Callers with credentials.
#[derive(Debug)]
pub struct KnownCallers {
    callers: Vec<Arc<Caller>>,
    /// Index of a caller by the names of its certificate.
    names: HashMap<SubjectName, usize>,
    /// Replaced as a whole; the lock is held for a clone, or to put in what is ready.
    tokens: RwLock<Arc<Tokens>>,
}

#[derive(Debug, Default)]
struct Tokens {
    /// With the index of a caller.
    digests: Vec<(TokenDigest, usize)>,
    /// Where each of them comes from.
    origins: Vec<Origin>,
}

/// What a call comes with.
#[derive(Clone, Copy, Debug)]
pub struct Presented<'a> {
    /// Its metadata.
    pub headers: &'a HeaderMap,
    /// What its connection showed.
    pub certificate: Option<&'a PeerCertificate>,
    /// The calendar's time.
    pub now: SystemTime,
}

/// What can prove who a caller is, each found by its own `Known` credentials. A signed token (JWT) would be one more.
enum Credential<'a> {
    Token(&'a [u8]),
    Certificate(&'a PeerCertificate),
}

impl Callers {
    /// Nobody has to prove anything.
    pub fn anyone(policy: Arc<Policy>) -> Self {
        Self::Anyone(Arc::new(Caller {
            name: "".into(),
            policy,
            // Whoever reaches a service on loopback could as well stop it.
            operator: true,
            models: None,
            meter: SharedMeter::new(Allowance::default()),
        }))
    }

    /// Those that are configured.
    pub fn known(settings: &[CallerSettings]) -> Self {
        let callers = settings.iter().map(|one| Arc::new(Caller::new(one))).collect();
        let mut names = HashMap::new();
        let mut tokens = Tokens::default();
        for (index, caller) in settings.iter().enumerate() {
            names.extend(caller.certificate_names.iter().map(|name| (name.clone(), index)));
            for token in &caller.tokens {
                tokens.digests.push((TokenDigest::of(token.expose().as_bytes()), index));
                tokens.origins.push(token.origin().clone());
            }
        }
        Self::Known(KnownCallers { callers, names, tokens: RwLock::new(Arc::new(tokens)) })
    }

    /// These callers, as the successors of others: whoever keeps its name keeps what it has used, and its calls in
    /// flight go on counting.
    pub fn succeeding(mut self, previous: &Self, now: Moment) -> Self {
        let (Self::Known(new), Self::Known(old)) = (&mut self, previous) else { return self };
        for caller in &mut new.callers {
            let Some(before) = old.callers.iter().find(|before| before.name == caller.name) else { continue };
            let allowance = caller.meter.allowance();
            let mut heir = Caller::clone(caller);
            heir.meter = before.meter.clone();
            heir.meter.change(now, allowance);
            *caller = Arc::new(heir);
        }
        self
    }

    /// Every policy that somebody is bound to, each once.
    pub fn policies(&self) -> Vec<Arc<Policy>> {
        let callers = match self {
            Self::Anyone(caller) => std::slice::from_ref(caller),
            Self::Known(known) => &known.callers,
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

    /// Who this call is from. A policy is never guessed: every credential that a call comes with must be good, and all
    /// must be of the same caller.
    ///
    /// # Errors
    /// When nobody known is proven to call.
    pub fn identify(&self, presented: &Presented<'_>) -> Result<&Arc<Caller>, Denial> {
        match self {
            Self::Anyone(caller) => Ok(caller),
            Self::Known(known) => known.identify(presented).map_err(Denial::of_stranger),
        }
    }

    /// Reads every token's file again and takes over what changed; calls in flight have been admitted and go on. What
    /// cannot be used, or has become another caller's token, changes nothing. Blocks on files.
    pub fn rotate(&self) -> Rotation {
        match self {
            Self::Anyone(_) => Rotation::default(),
            Self::Known(known) => known.rotate(),
        }
    }
}

impl KnownCallers {
    fn identify(&self, presented: &Presented<'_>) -> Result<&Arc<Caller>, Grounds> {
        let token = bearer(presented.headers)?.map(Credential::Token);
        let certificate = presented.certificate.map(Credential::Certificate);
        let mut owner = None;
        for credential in [token, certificate].into_iter().flatten() {
            let proven = match credential {
                Credential::Token(token) => self.owner_of_token(token)?,
                Credential::Certificate(certificate) => self.owner_of_certificate(certificate, presented.now)?,
            };
            if owner.replace(proven).is_some_and(|other| other != proven) {
                return Err(Grounds::Disagreement);
            }
        }
        let nothing = || Grounds::NoCredential { token: !self.tokens().digests.is_empty() };
        owner.and_then(|index| self.callers.get(index)).ok_or_else(nothing)
    }

    fn owner_of_token(&self, token: &[u8]) -> Result<usize, Grounds> {
        owner_of(&self.tokens().digests, token).copied().ok_or(Grounds::UnknownToken)
    }

    fn owner_of_certificate(&self, certificate: &PeerCertificate, now: SystemTime) -> Result<usize, Grounds> {
        let names = certificate.names(now).map_err(Grounds::Certificate)?;
        let mut owners = names.iter().filter_map(|name| self.names.get(name));
        let owner = owners.next().ok_or(Grounds::UnknownName)?;
        if owners.any(|other| other != owner) { Err(Grounds::SeveralCallers) } else { Ok(*owner) }
    }

    fn tokens(&self) -> Arc<Tokens> {
        Arc::clone(&self.tokens.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn rotate(&self) -> Rotation {
        let current = self.tokens();
        let mut rotation = Rotation::default();
        let mut digests = current.digests.clone();
        for (at, origin) in current.origins.iter().enumerate() {
            let Some((digest, owner)) = digests.get(at).copied() else { continue };
            let renewed = match origin.read() {
                Ok(Some(secret)) => TokenDigest::of(secret.expose().as_bytes()),
                Ok(None) => continue,
                Err(problem) => {
                    rotation.add(self.token_of(owner), Err(problem));
                    continue;
                }
            };
            if renewed.same(&digest) {
                continue;
            }
            if digests.iter().any(|(other, of)| *of != owner && other.same(&renewed)) {
                rotation.add(self.token_of(owner), Err("it has become the token of another caller"));
                continue;
            }
            if let Some(place) = digests.get_mut(at) {
                place.0 = renewed;
            }
            rotation.add(self.token_of(owner), Ok::<_, String>(true));
        }
        if !rotation.renewed.is_empty() {
            let renewed = Tokens { digests, origins: current.origins.clone() };
            *self.tokens.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(renewed);
        }
        rotation
    }

    fn token_of(&self, owner: usize) -> String {
        let name = self.callers.get(owner).map_or("", |caller| &*caller.name);
        format!("the token of caller `{name}`")
    }
}

/// The token of `authorization: Bearer <token>`, if there is any authorization.
fn bearer(headers: &HeaderMap) -> Result<Option<&[u8]>, Grounds> {
    let mut values = headers.get_all("authorization").iter();
    let value = match (values.next(), values.next()) {
        (None, _) => return Ok(None),
        (Some(value), None) => value.as_bytes(),
        (Some(_), Some(_)) => return Err(Grounds::MalformedToken),
    };
    match value.split_at_checked(7) {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case(b"bearer ") => Ok(Some(token)),
        _ => Err(Grounds::MalformedToken),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use sealane_core::quota::Measure;

    use super::*;
    use crate::secret::Form;

    fn settings(name: &str, tokens: &[&str]) -> CallerSettings {
        CallerSettings {
            name: name.into(),
            tokens: tokens.iter().map(|token| Secret::fixed(token, Form::Word).unwrap()).collect(),
            certificate_names: vec![],
            policy: Arc::new(Policy::unrestricted()),
            operator: name == "beta",
            models: None,
            allowance: Allowance::default(),
        }
    }

    fn identify(callers: &Callers, values: &[&str]) -> Result<String, &'static str> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append("authorization", value.parse().unwrap());
        }
        let presented = Presented { headers: &headers, certificate: None, now: SystemTime::UNIX_EPOCH };
        callers.identify(&presented).map(|caller| caller.name.to_string()).map_err(|denial| denial.grounds.reason())
    }

    #[test]
    fn only_a_known_token_is_a_caller() {
        let callers =
            Callers::known(&[settings("alpha", &["alpha-token", "alpha-next"]), settings("beta", &["beta-token"])]);
        for (values, expected) in [
            (vec!["Bearer alpha-token"], Ok("alpha")),
            (vec!["Bearer alpha-next"], Ok("alpha")),
            (vec!["bearer beta-token"], Ok("beta")),
            (vec![], Err("MISSING_TOKEN")),
            (vec!["Basic alpha-token"], Err("MISSING_TOKEN")),
            (vec!["alpha-token"], Err("MISSING_TOKEN")),
            (vec!["Bearer "], Err("INVALID_TOKEN")),
            (vec!["Bearer alpha-toke"], Err("INVALID_TOKEN")),
            (vec!["Bearer alpha-token2"], Err("INVALID_TOKEN")),
            (vec!["Bearer alpha-token", "Bearer beta-token"], Err("MISSING_TOKEN")),
        ] {
            assert_eq!(identify(&callers, &values), expected.map(str::to_owned), "{values:?}");
        }
    }

    #[test]
    fn tokens_rotate_and_what_cannot_be_read_stays() {
        let folder = std::env::temp_dir().join(format!("sealane-tokens-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let file = |name: &str, text: &str| {
            std::fs::write(folder.join(name), text).unwrap();
            Secret::read(&folder.join(name), Form::Word).unwrap()
        };
        let alpha = CallerSettings { tokens: vec![file("a", "first")], ..settings("alpha", &[]) };
        let beta = CallerSettings { tokens: vec![file("b", "other")], ..settings("beta", &[]) };
        let callers = Callers::known(&[alpha, beta]);
        let owner = |token: &str| identify(&callers, &[&format!("Bearer {token}")]).ok();
        assert_eq!(callers.rotate(), Rotation::default(), "nothing has changed");

        std::fs::write(folder.join("a"), "second\n").unwrap();
        assert_eq!(callers.rotate().renewed, ["the token of caller `alpha`"]);
        assert_eq!((owner("first"), owner("second")), (None, Some("alpha".into())));

        for (text, why) in [("", "empty"), ("two words", "not one word"), ("other", "another caller")] {
            std::fs::write(folder.join("a"), text).unwrap();
            let rotation = callers.rotate();
            assert!(rotation.renewed.is_empty() && rotation.kept[0].contains(why), "{text:?}: {rotation:?}");
            assert_eq!((owner("second"), owner("other")), (Some("alpha".into()), Some("beta".into())));
        }
        std::fs::remove_dir_all(&folder).unwrap();
        assert_eq!(callers.rotate().kept.len(), 2);
        assert_eq!(owner("second"), Some("alpha".into()));
    }

    #[test]
    fn a_caller_keeps_to_its_models_and_its_allowance() {
        let allowance = Allowance { calls_in_flight: Some(1), ..Allowance::default() };
        let limited =
            CallerSettings { allowance, models: Some(vec!["gpt-4o".into()]), ..settings("alpha", &["alpha-token"]) };
        let caller = Caller::new(&limited);
        let denied = caller.admit("o3", 1, Moment::ZERO).unwrap_err();
        assert_eq!(denied.grounds, Grounds::ModelNotAllowed { allowed: vec!["gpt-4o".into()] });
        assert_eq!(denied.caller.as_deref(), Some("alpha"));
        let pass = caller.admit("gpt-4o", 1, Moment::ZERO).unwrap();
        let Grounds::Quota(exceeded) = caller.admit("gpt-4o", 1, Moment::ZERO).unwrap_err().grounds else {
            panic!("the place is taken")
        };
        assert_eq!(exceeded.measure, Measure::CallsInFlight);
        drop(pass);
        drop(caller.admit("gpt-4o", 1, Moment::ZERO).unwrap());
    }

    #[test]
    fn what_a_caller_used_survives_a_new_configuration() {
        let rate = |calls| Allowance { calls_per_minute: Some(calls), ..Allowance::default() };
        let with = |calls| CallerSettings { allowance: rate(calls), ..settings("alpha", &["alpha-token"]) };
        let caller_of = |callers: &Callers| match callers {
            Callers::Known(known) => Arc::clone(&known.callers[0]),
            Callers::Anyone(_) => panic!("callers are configured"),
        };
        let old = Callers::known(&[with(1)]);
        drop(caller_of(&old).admit("m", 0, Moment::ZERO).unwrap());
        let same = Callers::known(&[with(1)]).succeeding(&old, Moment::ZERO);
        assert!(caller_of(&same).admit("m", 0, Moment::ZERO).is_err());
        let more = Callers::known(&[with(2)]).succeeding(&old, Moment::ZERO);
        drop(caller_of(&more).admit("m", 0, Moment::ZERO).unwrap());
        assert!(caller_of(&more).admit("m", 0, Moment::ZERO).is_err());
    }

    #[test]
    fn only_an_operator_may_act() {
        let denied = Caller::new(&settings("alpha", &[])).admit_as_operator().unwrap_err();
        assert_eq!((denied.grounds.reason(), denied.caller.as_deref()), ("NOT_AN_OPERATOR", Some("alpha")));
        Caller::new(&settings("beta", &[])).admit_as_operator().unwrap();
    }
}
