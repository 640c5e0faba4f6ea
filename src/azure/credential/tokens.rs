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

/// A token that nobody asked for in so long is not renewed until somebody does: its resource may have left the
/// configuration.
const LONGEST_UNUSED: Duration = Duration::from_secs(900);

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
    /// Somebody has asked for the token lately.
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
    /// Why the last request failed; `None`: it did not.
    problem: Option<Arc<str>>,
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
        self.problem = outcome.as_ref().err().map(|problem| problem.to_string().into());
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
        self.wait(until, |state| state.valid().is_some() || state.problem.is_some()).await?.valid().cloned()
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

    /// Why the last request failed; `None`: it did not.
    pub(super) fn problem(&self) -> Option<Arc<str>> {
        self.kept.state.borrow().problem.clone()
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
        let mut last_use = Instant::now();
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
            if self.used.swap(false, Relaxed) {
                last_use = Instant::now();
            } else if last_use.elapsed() > LONGEST_UNUSED {
                debug!(credential = %self.identity, "not in use: its token is not renewed");
                self.state.send_modify(|state| state.problem = None);
                failures = 0;
                self.wanted.notified().await;
                last_use = Instant::now();
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::{Mutex, atomic::AtomicU32};

    use azure_core::http::{AsyncRawResponse, HttpClient, Request, headers::Headers};

    use super::*;
    use crate::secret::{Form, Secret};

    const MINUTE: Duration = Duration::from_secs(60);

    /// An identity endpoint in virtual time.
    #[derive(Debug)]
    struct Endpoint {
        issued: AtomicU32,
        asked: AtomicU32,
        /// Life of a token in seconds; `None`: it is down.
        life: Mutex<Option<u64>>,
    }

    #[async_trait::async_trait]
    impl HttpClient for Endpoint {
        async fn execute_request(&self, _: &Request) -> azure_core::Result<AsyncRawResponse> {
            self.asked.fetch_add(1, Relaxed);
            let (status, body) = match *self.life.lock().unwrap() {
                Some(life) => {
                    let serial = self.issued.fetch_add(1, Relaxed);
                    (200, format!(r#"{{"token_type":"Bearer","expires_in":{life},"access_token":"token-{serial}"}}"#))
                }
                None => (503, "down".to_owned()),
            };
            Ok(AsyncRawResponse::from_bytes(status.into(), Headers::new(), body))
        }
    }

    fn tokens(life: Option<u64>) -> (Arc<Endpoint>, Tokens) {
        let endpoint = Arc::new(Endpoint { issued: 0.into(), asked: 0.into(), life: Mutex::new(life) });
        let identity = Identity::ClientSecret {
            tenant_id: "tenant".into(),
            client_id: "client".into(),
            secret: Secret::fixed("secret", Form::Word).unwrap(),
            authority: "https://login.test/".parse().unwrap(),
        };
        let transport = IdentityTransport::through(Arc::clone(&endpoint) as Arc<dyn HttpClient>);
        (endpoint, Tokens::new(Arc::new(identity), "https://resource.test/.default".into(), transport))
    }

    async fn now(tokens: &Tokens) -> Option<Token> {
        tokens.current(Instant::now()).await
    }

    /// Two days of tokens that last an hour, with an outage of 25 minutes in every other hour.
    #[tokio::test(start_paused = true)]
    async fn there_is_always_a_token_although_the_endpoint_is_down_for_long() {
        let (endpoint, tokens) = tokens(Some(3600));
        let first = tokens.current(Instant::now() + MINUTE).await.unwrap();
        let mut serials = vec![first.serial];
        for minute in 0..48 * 60 {
            *endpoint.life.lock().unwrap() = (minute % 120 >= 25).then_some(3600);
            tokio::time::sleep(MINUTE).await;
            let token = now(&tokens).await.unwrap_or_else(|| panic!("no token in minute {minute}"));
            assert!(token.expires > Instant::now());
            serials.push(token.serial);
        }
        serials.dedup();
        assert!(serials.len() > 50, "{} tokens", serials.len());
        // Retries are spaced: half a minute apart in the long run.
        assert!(endpoint.asked.load(Relaxed) < 24 * 60 + 200, "{} requests", endpoint.asked.load(Relaxed));
    }

    #[tokio::test(start_paused = true)]
    async fn the_last_token_is_used_until_it_expires_and_not_longer() {
        let (endpoint, tokens) = tokens(Some(600));
        let token = tokens.current(Instant::now() + MINUTE).await.unwrap();
        *endpoint.life.lock().unwrap() = None;
        tokio::time::sleep_until(token.expires - Duration::from_millis(1)).await;
        assert_eq!(now(&tokens).await.map(|token| token.serial), Some(0));
        assert_eq!(tokens.problem().as_deref(), Some("the identity endpoint answers HTTP 503"));
        tokio::time::sleep(Duration::from_millis(2)).await;
        // At once: whoever waits here is not rescued elsewhere.
        let before = Instant::now();
        assert!(tokens.current(before + MINUTE).await.is_none());
        assert_eq!(Instant::now(), before);
        *endpoint.life.lock().unwrap() = Some(600);
        tokio::time::sleep(MINUTE).await;
        assert_eq!(now(&tokens).await.map(|token| token.serial), Some(1));
        assert_eq!(tokens.problem(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_refused_token_is_replaced_once() {
        let (endpoint, tokens) = tokens(Some(3600));
        let soon = || Instant::now() + MINUTE;
        let first = tokens.current(soon()).await.unwrap();
        let refusals = (0..50).map(|_| tokens.instead_of(&first, soon()));
        let others = futures_util::future::join_all(refusals).await;
        assert!(others.iter().all(|other| other.as_ref().is_some_and(|other| other.serial == 1)));
        assert_eq!(endpoint.asked.load(Relaxed), 2);
        // Refused again: it is not the token.
        let second = now(&tokens).await.unwrap();
        assert!(tokens.instead_of(&second, soon()).await.is_none());
        assert_eq!(endpoint.asked.load(Relaxed), 2);
        // A late refusal of the first one is good for the second.
        assert_eq!(tokens.instead_of(&first, soon()).await.map(|token| token.serial), Some(1));
        // The next regular one has a chance of its own.
        tokio::time::sleep(40 * MINUTE).await;
        let third = now(&tokens).await.unwrap();
        assert_eq!(third.serial, 2);
        assert_eq!(tokens.instead_of(&third, soon()).await.map(|token| token.serial), Some(3));
    }

    #[tokio::test(start_paused = true)]
    async fn a_token_that_nobody_needs_is_not_renewed_until_somebody_does() {
        let (endpoint, tokens) = tokens(Some(600));
        tokens.current(Instant::now() + MINUTE).await.unwrap();
        tokio::time::sleep(600 * MINUTE).await;
        let asked = endpoint.asked.load(Relaxed);
        assert!(asked < 6, "{asked}");
        let until = Instant::now() + MINUTE;
        let found = futures_util::future::join_all((0..50).map(|_| tokens.current(until))).await;
        assert!(found.iter().all(Option::is_some));
        assert_eq!(endpoint.asked.load(Relaxed), asked + 1, "one request for all of them");
    }
}
