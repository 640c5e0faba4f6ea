//! A token that is kept fresh. One task asks for it, so there is never more than one request at a time; whoever needs
//! the token reads a snapshot.
use std::{
    hash::{BuildHasher as _, Hasher as _, RandomState},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use http::HeaderValue;
use tokio::{
    sync::{Notify, watch},
    task::JoinHandle,
    time::{Instant, timeout_at},
};
use tracing::{debug, info, warn};

use super::{
    request::{self, Issued, TokenError},
    schedule,
    settings::Identity,
    transport::IdentityTransport,
};

/// How long a call waits for the first token, or for one in place of a token that was refused.
const PATIENCE: Duration = Duration::from_secs(5);

/// One identity's token for one scope; shared by the resources that have both in common.
#[derive(Debug)]
pub(in crate::azure) struct Tokens {
    kept: Arc<Kept>,
    keeping: JoinHandle<()>,
}

#[derive(Debug)]
struct Kept {
    identity: Arc<Identity>,
    scope: Arc<str>,
    transport: IdentityTransport,
    state: watch::Sender<State>,
    /// Somebody has asked for the token since it was last renewed. One that nobody needs is not renewed for ever.
    used: AtomicBool,
    wanted: Notify,
}

/// A token in use.
#[derive(Clone, Debug)]
pub(super) struct Token {
    /// Sensitive, so that nothing prints it.
    pub(super) header: HeaderValue,
    pub(super) expires: Instant,
    /// Differs from that of every other token of the same source.
    serial: u64,
}

#[derive(Clone, Debug, Default)]
struct State {
    token: Option<Token>,
    /// The last request failed.
    failing: bool,
    /// The token was refused by a region, and another one is being asked for.
    refused: bool,
    /// The one request that a refusal is good for has been made: the token in use was refused before, or took the place
    /// of one that was. Ends with the next regular refresh. Without this, a missing role would mean a request for a
    /// token with every call.
    spent: bool,
}

impl State {
    /// Served until its real expiry.
    fn valid(&self) -> Option<&Token> {
        self.token.as_ref().filter(|token| token.expires > Instant::now())
    }

    fn has(&self, serial: u64) -> bool {
        self.token.as_ref().is_some_and(|token| token.serial == serial)
    }

    fn left(&self) -> Duration {
        self.token.as_ref().map(|token| token.expires.saturating_duration_since(Instant::now())).unwrap_or_default()
    }

    /// Takes over what a request brought.
    fn settle(&mut self, outcome: Result<Issued, TokenError>) {
        // A request that fails leaves what was spent so: only a regular one that succeeds makes a new start.
        self.spent = self.refused || (self.spent && outcome.is_err());
        self.refused = false;
        self.failing = outcome.is_err();
        let Ok(Issued { header, expires }) = outcome else { return };
        let serial = match &self.token {
            Some(known) if known.header == header => known.serial,
            Some(known) => known.serial + 1,
            None => 0,
        };
        self.token = Some(Token { header, expires, serial });
    }
}

impl Tokens {
    /// Begins to ask. Must be called within a Tokio runtime.
    pub(super) fn new(identity: Arc<Identity>, scope: Arc<str>, transport: IdentityTransport) -> Self {
        let kept = Arc::new(Kept {
            identity,
            scope,
            transport,
            state: watch::Sender::default(),
            used: AtomicBool::new(true),
            wanted: Notify::new(),
        });
        Self { keeping: tokio::spawn(Arc::clone(&kept).keep_fresh()), kept }
    }

    /// Whether it is this identity's token for this scope.
    pub(super) fn are_for(&self, identity: &Identity, scope: &str) -> bool {
        *self.kept.scope == *scope && *self.kept.identity == *identity
    }

    /// The token in use. Waits for the first one, until `until` or a few seconds at most; `None` if there is none.
    pub(super) async fn current(&self, until: Instant) -> Option<Token> {
        if !self.kept.used.swap(true, Relaxed) {
            self.kept.wanted.notify_one();
        }
        let valid = self.kept.state.borrow().valid().cloned();
        if valid.is_some() {
            return valid;
        }
        self.wait(until, |state| state.valid().is_some() || state.failing).await?.valid().cloned()
    }

    /// Another token in place of one that a region refused with 401; `None` if there is none, or if another one has been
    /// asked for already because of a refusal.
    pub(super) async fn instead_of(&self, refused: &Token, until: Instant) -> Option<Token> {
        let serial = refused.serial;
        self.kept.state.send_if_modified(|state| {
            let asks = state.has(serial) && !state.spent && !state.refused;
            state.refused |= asks;
            asks
        });
        let state = self.wait(until, |state| !state.has(serial) || !state.refused).await?;
        state.valid().filter(|token| token.serial != serial).cloned()
    }

    async fn wait(&self, until: Instant, settled: impl FnMut(&State) -> bool) -> Option<State> {
        let mut state = self.kept.state.subscribe();
        let settled = timeout_at(until.min(Instant::now() + PATIENCE), state.wait_for(settled)).await;
        settled.ok()?.ok().map(|state| state.clone())
    }

    /// When the token in use expires; `None` without one.
    pub(super) fn expires(&self) -> Option<Instant> {
        self.kept.state.borrow().valid().map(|token| token.expires)
    }

    /// Whether the last request failed.
    pub(super) fn is_failing(&self) -> bool {
        self.kept.state.borrow().failing
    }
}

impl Drop for Tokens {
    fn drop(&mut self) {
        self.keeping.abort();
    }
}

impl Kept {
    async fn keep_fresh(self: Arc<Self>) {
        let mut changes = self.state.subscribe();
        let mut failures = 0;
        let mut told = None;
        loop {
            let slow = matches!(*self.identity, Identity::AzureCli { .. });
            let limit = schedule::request_limit(self.left(), slow);
            let outcome = request::token(&self.identity, &self.scope, &self.transport, limit).await;
            failures = if outcome.is_ok() { 0 } else { failures + 1 };
            self.tell(outcome.as_ref().err(), &mut told);
            self.state.send_modify(|state| state.settle(outcome));
            let (left, chance) = (self.left(), chance());
            let pause = match failures {
                0 => schedule::until_refresh(left, chance),
                failures => schedule::until_retry(failures, left, chance),
            };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                _ = changes.wait_for(|state| state.refused) => continue,
            }
            if !self.used.swap(false, Relaxed) {
                debug!(credential = %self.identity, "not in use: its token is not renewed");
                self.state.send_modify(|state| state.failing = false);
                failures = 0;
                self.wanted.notified().await;
            }
        }
    }

    fn left(&self) -> Duration {
        self.state.borrow().left()
    }

    /// Each problem is told once, and so is its end.
    fn tell(&self, problem: Option<&TokenError>, told: &mut Option<String>) {
        let (credential, scope) = (&self.identity, &self.scope);
        match problem.map(ToString::to_string) {
            Some(problem) if told.as_ref() == Some(&problem) => {}
            Some(problem) => {
                let left = self.left().as_secs();
                warn!(%credential, %scope, problem, seconds_left = left, "no new token; the last one is used until it expires");
                *told = Some(problem);
            }
            None => match told.take() {
                Some(_) => info!(%credential, %scope, "tokens are issued again"),
                None => debug!(%credential, %scope, "a token was issued"),
            },
        }
    }
}

/// Jitter need not be secret, only different in every process and each time.
fn chance() -> f64 {
    RandomState::new().build_hasher().finish() as f64 / u64::MAX as f64
}
