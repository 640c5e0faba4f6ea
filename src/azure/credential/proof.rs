//! What requests to a resource carry, and what follows when the resource refuses it.
use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering::Relaxed},
};

use http::{
    HeaderName, HeaderValue,
    header::{AUTHORIZATION, InvalidHeaderValue},
};
use thiserror::Error;
use tokio::time::Instant;

use super::{
    settings::{Credential, Entra},
    tokens::{Token, Tokens},
    transport::IdentityTransport,
};
use crate::{
    azure::settings::{PathStyle, ResourceSettings},
    in_force::InForce,
    secret::{Secret, SecretError},
};

/// The proofs of one resource: a token for each family of addresses may have a scope of its own.
#[derive(Debug)]
pub(in crate::azure) struct Credentials {
    pub(in crate::azure) chat: Proof,
    pub(in crate::azure) embeddings: Proof,
}

/// What the requests of one operation carry.
#[derive(Clone, Debug)]
pub(in crate::azure) enum Proof {
    Key(Arc<Key>),
    Token(Arc<Tokens>),
}

/// A key in use, and where it is kept.
#[derive(Debug)]
pub(in crate::azure) struct Key {
    in_use: InForce<KeyHeader>,
    /// Its file cannot be used as it is now.
    failing: AtomicBool,
}

#[derive(Debug)]
struct KeyHeader {
    secret: Secret,
    header: HeaderValue,
}

/// What one request carried.
#[derive(Debug)]
pub(in crate::azure) struct Shown {
    pub(in crate::azure) name: HeaderName,
    pub(in crate::azure) value: HeaderValue,
    token: Option<Token>,
}

/// Why a resource's credential can never be used.
#[derive(Debug, Error)]
pub(in crate::azure) enum Unusable {
    #[error("the key holds characters that no HTTP header may carry")]
    Key(#[from] InvalidHeaderValue),
    #[error(transparent)]
    Client(#[from] reqwest::Error),
}

/// Why a key's file is passed over.
#[derive(Debug, Error)]
pub(in crate::azure) enum KeyProblem {
    #[error(transparent)]
    Secret(#[from] SecretError),
    #[error("it holds characters that no HTTP header may carry")]
    Characters(#[from] InvalidHeaderValue),
}

impl Credentials {
    /// Those that `settings` ask for. Tokens that are kept fresh already, among `known`, are shared. Must be called
    /// within a Tokio runtime where tokens are wanted.
    pub(in crate::azure) fn new(
        settings: &ResourceSettings,
        known: &mut Vec<Arc<Tokens>>,
        transport: Option<&IdentityTransport>,
    ) -> Result<Self, Unusable> {
        match &settings.credential {
            Credential::ApiKey(secret) => {
                let key = Arc::new(Key::new(secret.clone())?);
                Ok(Self { chat: Proof::Key(Arc::clone(&key)), embeddings: Proof::Key(key) })
            }
            Credential::Entra(entra) => {
                let mut proof = |style| tokens(entra, style, known, transport).map(Proof::Token);
                Ok(Self { chat: proof(&settings.chat_path)?, embeddings: proof(&settings.embeddings_path)? })
            }
        }
    }

    /// The tokens among them.
    pub(in crate::azure) fn tokens(&self) -> impl Iterator<Item = &Arc<Tokens>> {
        [&self.chat, &self.embeddings].into_iter().filter_map(|proof| match proof {
            Proof::Token(tokens) => Some(tokens),
            Proof::Key(_) => None,
        })
    }

    /// Reads the key's file again: whether it has changed. Blocks on the file. Tokens look after themselves.
    pub(in crate::azure) fn rotate(&self) -> Result<bool, KeyProblem> {
        match &self.chat {
            Proof::Key(key) => key.rotate(),
            Proof::Token(_) => Ok(false),
        }
    }

    /// Why one of them cannot be renewed.
    pub(in crate::azure) fn problem(&self) -> Option<Arc<str>> {
        [&self.chat, &self.embeddings].into_iter().find_map(|proof| match proof {
            Proof::Key(key) => key.failing.load(Relaxed).then(|| "the key's file cannot be used as it is now".into()),
            Proof::Token(tokens) => tokens.problem(),
        })
    }

    /// When the first of the tokens in use expires.
    pub(in crate::azure) fn expires(&self) -> Option<Instant> {
        self.tokens().filter_map(|tokens| tokens.expires()).min()
    }
}

fn tokens(
    entra: &Entra,
    style: &PathStyle,
    known: &mut Vec<Arc<Tokens>>,
    transport: Option<&IdentityTransport>,
) -> reqwest::Result<Arc<Tokens>> {
    let scope = entra.scope_for(style);
    if let Some(shared) = known.iter().find(|tokens| tokens.are_for(&entra.identity, &scope)) {
        return Ok(Arc::clone(shared));
    }
    let transport = transport.cloned().map_or_else(|| IdentityTransport::for_identity(&entra.identity), Ok)?;
    let tokens = Arc::new(Tokens::new(Arc::clone(&entra.identity), scope, transport));
    known.push(Arc::clone(&tokens));
    Ok(tokens)
}

impl Proof {
    /// What to show now; waits for the first token, until `until` at most. `None`: there is nothing to show.
    pub(in crate::azure) async fn show(&self, until: Instant) -> Option<Shown> {
        match self {
            Self::Key(key) => Some(key.show()),
            Self::Token(tokens) => tokens.current(until).await.map(Shown::token),
        }
    }

    /// What to show in place of what was refused with 401: another token, asked for once, or the key that its file holds
    /// by now. `None`: the refusal stands.
    pub(in crate::azure) async fn show_instead(&self, refused: &Shown, until: Instant) -> Option<Shown> {
        match self {
            Self::Key(key) => {
                if key.in_use.get().header == refused.value {
                    let read = Arc::clone(key);
                    // A problem is told by whoever looks at the file regularly.
                    let _ = tokio::task::spawn_blocking(move || read.rotate()).await;
                }
                Some(key.show()).filter(|shown| shown.value != refused.value)
            }
            Self::Token(tokens) => tokens.instead_of(refused.token.as_ref()?, until).await.map(Shown::token),
        }
    }
}

impl Shown {
    fn token(token: Token) -> Self {
        Self { name: AUTHORIZATION, value: token.header.clone(), token: Some(token) }
    }
}

impl Key {
    fn new(secret: Secret) -> Result<Self, InvalidHeaderValue> {
        let in_use = InForce::new(Arc::new(KeyHeader::new(secret)?));
        Ok(Self { in_use, failing: AtomicBool::new(false) })
    }

    fn show(&self) -> Shown {
        Shown { name: HeaderName::from_static("api-key"), value: self.in_use.get().header.clone(), token: None }
    }

    /// What cannot be used changes nothing.
    fn rotate(&self) -> Result<bool, KeyProblem> {
        let read = || -> Result<bool, KeyProblem> {
            let before = self.in_use.get();
            let now = before.secret.read_again()?;
            let changed = !now.same(&before.secret);
            if changed {
                self.in_use.put(Arc::new(KeyHeader::new(now)?));
            }
            Ok(changed)
        };
        let changed = read();
        self.failing.store(changed.is_err(), Relaxed);
        changed
    }
}

impl KeyHeader {
    fn new(secret: Secret) -> Result<Self, InvalidHeaderValue> {
        let mut header = HeaderValue::from_str(secret.expose())?;
        header.set_sensitive(true);
        Ok(Self { secret, header })
    }
}
