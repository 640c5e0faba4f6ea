//! One request for a token, by the identity library. A credential is built anew for each: what the library keeps
//! (tokens until 300 s before they expire, the cluster's token for ten minutes) would only stand in the way of a
//! refresh, and files are so read as they are now.
use std::{io, path::PathBuf, process::Output, sync::Arc, sync::atomic::Ordering::Relaxed, time::Duration};

use azure_core::{
    cloud::CustomConfiguration,
    credentials::{AccessToken, Secret as Text, TokenCredential},
    error::ErrorKind,
    http::{ClientOptions, RetryOptions, Transport},
    time::OffsetDateTime,
};
use azure_identity::{
    AzureCliCredential, AzureCliCredentialOptions, ClientAssertionCredentialOptions, ClientSecretCredential,
    ClientSecretCredentialOptions, Executor, ManagedIdentityCredential, ManagedIdentityCredentialOptions,
    UserAssignedId, WorkloadIdentityCredential, WorkloadIdentityCredentialOptions,
};
use http::HeaderValue;
use reqwest::Url;
use thiserror::Error;
use tokio::{process::Command, time::Instant};

use super::{
    settings::{Identity, UserAssigned},
    transport::{ForbiddenEndpoint, IdentityTransport, Unanswered},
};
use crate::secret::SecretError;

/// A token as it came.
pub(super) struct Issued {
    /// Never printed.
    pub(super) header: HeaderValue,
    /// When it really expires.
    pub(super) expires: Instant,
}

/// Why there is no token. Holds nothing of what an endpoint wrote but its status and its numbered error codes.
#[derive(Debug, Error)]
pub(super) enum TokenError {
    #[error("the identity endpoint answers HTTP {status}{}", numbered(.codes))]
    Refused { status: u16, codes: Option<String> },
    #[error(transparent)]
    Unanswered(Unanswered),
    #[error("the identity endpoint's address is never called")]
    Forbidden,
    #[error("the identity endpoint does not answer in time")]
    TimedOut,
    #[error("the identity endpoint's answer is no token")]
    Malformed,
    #[error("the token that came has expired already; is this machine's clock right?")]
    Expired,
    #[error("client_secret: {0}")]
    Secret(#[from] SecretError),
    #[error("the federated token file `{}` cannot be read", .0.display())]
    TokenFile(PathBuf),
    #[error("`az account get-access-token` gives none; is Azure CLI 2.54 or newer installed, and `az login` done?")]
    AzureCli,
    #[error("this identity cannot be used here: {0}")]
    Unusable(String),
}

fn numbered(codes: &Option<String>) -> String {
    codes.as_ref().map(|codes| format!(" (AADSTS{codes})")).unwrap_or_default()
}

/// Asks for a token for `scope`, for `limit` at most.
pub(super) async fn token(
    identity: &Arc<Identity>,
    scope: &str,
    transport: &IdentityTransport,
    limit: Duration,
) -> Result<Issued, TokenError> {
    let (client, last_status) = transport.noting();
    let options = ClientOptions {
        transport: Some(Transport::new(client)),
        // Requests are repeated by our own schedule.
        retry: RetryOptions::none(),
        ..ClientOptions::default()
    };
    let started = Instant::now();
    let owned = Arc::clone(identity);
    let asking = async {
        // Some read files.
        let credential = tokio::task::spawn_blocking(move || credential(&owned, options)).await;
        let credential = credential.map_err(|_| TokenError::Unusable("it cannot be built".to_owned()))??;
        credential.get_token(&[scope], None).await.map_err(|error| explain(identity, &error))
    };
    let outcome = tokio::time::timeout(limit, asking).await.unwrap_or(Err(TokenError::TimedOut));
    let token = outcome.map_err(|error| match (last_status.load(Relaxed), error) {
        (200, error) | (0, error) | (_, error @ TokenError::Refused { .. }) => error,
        (status, _) => TokenError::Refused { status, codes: None },
    })?;
    issued(&token, started)
}

/// Counted from when it was asked for: the time that the answer took is not added to its life.
fn issued(token: &AccessToken, started: Instant) -> Result<Issued, TokenError> {
    let left = token.expires_on - OffsetDateTime::now_utc();
    let left = Duration::try_from(left).map_err(|_| TokenError::Expired)?;
    let left = left.saturating_sub(started.elapsed());
    if left.is_zero() {
        return Err(TokenError::Expired);
    }
    let mut header =
        HeaderValue::from_str(&format!("Bearer {}", token.token.secret())).map_err(|_| TokenError::Malformed)?;
    header.set_sensitive(true);
    Ok(Issued { header, expires: Instant::now() + left })
}

fn credential(identity: &Identity, options: ClientOptions) -> Result<Arc<dyn TokenCredential>, TokenError> {
    let at = |authority: &Url| {
        let mut custom = CustomConfiguration::default();
        custom.authority_host = authority.to_string();
        ClientOptions { cloud: Some(Arc::new(custom.into())), ..options.clone() }
    };
    let unusable = |error: azure_core::Error| TokenError::Unusable(error.to_string());
    Ok(match identity {
        Identity::Workload { tenant_id, client_id, token_file, authority } => {
            let credential_options = ClientAssertionCredentialOptions { client_options: at(authority) };
            let options = WorkloadIdentityCredentialOptions {
                credential_options,
                client_id: Some(client_id.clone()),
                tenant_id: Some(tenant_id.clone()),
                token_file_path: Some(token_file.clone()),
            };
            // Everything else of it has been checked.
            WorkloadIdentityCredential::new(Some(options)).map_err(|_| TokenError::TokenFile(token_file.clone()))?
        }
        Identity::Managed(assigned) => {
            let user_assigned_id = assigned.clone().map(|assigned| match assigned {
                UserAssigned::Client(id) => UserAssignedId::ClientId(id),
                UserAssigned::Object(id) => UserAssignedId::ObjectId(id),
                UserAssigned::Resource(id) => UserAssignedId::ResourceId(id),
            });
            let options = ManagedIdentityCredentialOptions { user_assigned_id, client_options: options };
            ManagedIdentityCredential::new(Some(options)).map_err(unusable)?
        }
        Identity::ClientSecret { tenant_id, client_id, secret, authority } => {
            let secret = Text::new(secret.read_again()?.expose().to_owned());
            let options = ClientSecretCredentialOptions { client_options: at(authority) };
            ClientSecretCredential::new(tenant_id, client_id.clone(), secret, Some(options)).map_err(unusable)?
        }
        Identity::AzureCli { tenant_id } => {
            let options = AzureCliCredentialOptions {
                tenant_id: tenant_id.clone(),
                executor: Some(Arc::new(Quiet)),
                subscription: None,
            };
            AzureCliCredential::new(Some(options)).map_err(unusable)?
        }
    })
}

/// Runs the Azure CLI without a terminal, and ends it when nobody waits for it any more.
#[derive(Debug)]
struct Quiet;

#[async_trait::async_trait]
impl Executor for Quiet {
    async fn run(&self, program: &std::ffi::OsStr, args: &[&std::ffi::OsStr]) -> io::Result<Output> {
        Command::new(program).args(args).stdin(std::process::Stdio::null()).kill_on_drop(true).output().await
    }
}

/// Errors of the library repeat what endpoints and programs write, so only their kinds are kept.
fn explain(identity: &Identity, error: &azure_core::Error) -> TokenError {
    if matches!(identity, Identity::AzureCli { .. }) {
        return TokenError::AzureCli;
    }
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if error.is::<ForbiddenEndpoint>() {
            return TokenError::Forbidden;
        }
        match error.downcast_ref::<Unanswered>() {
            Some(Unanswered::Transport(how)) => return TokenError::Unanswered(Unanswered::Transport(how)),
            Some(Unanswered::Body) => return TokenError::Unanswered(Unanswered::Body),
            None => {}
        }
        let kind = error.downcast_ref::<azure_core::Error>().map(azure_core::Error::kind);
        if let Some(ErrorKind::HttpResponse { status, error_code, .. }) = kind {
            let numbers = |codes: &&String| codes.bytes().all(|byte| byte.is_ascii_digit() || byte == b',');
            let codes = error_code.as_ref().filter(numbers).map(|codes| codes.chars().take(64).collect());
            return TokenError::Refused { status: u16::from(*status), codes };
        }
        cause = error.source();
    }
    TokenError::Malformed
}
