//! What all verbs that call a service share: where it is, who calls, and how its errors are told.
use std::{fs, path::PathBuf, time::Duration};

use clap::Args;
use tonic::{
    Request, Status,
    metadata::{Ascii, MetadataValue},
    transport::Channel,
};
use tonic_types::StatusExt as _;

use super::{outcome::Failure, transport::TlsOptions};
use crate::grpc::DOMAIN;

/// The largest reply taken, in bytes, and told to the service.
const MAX_REPLY_BYTES: usize = 64 << 20;

/// How often a connection with a call on it is asked whether it still lives, and how long its answer may take. A stream
/// without a deadline would wait for ever for a service whose machine has gone.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(30);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);

/// Which service is called, and as whom.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "The service")]
pub(super) struct Client {
    /// The service: host and port, by default 50051; `https://` in front of it for TLS.
    #[arg(long, env = "SEALANE_ADDR", default_value = "localhost:50051", value_name = "HOST:PORT")]
    addr: String,
    /// A file that holds the bearer token. Without it the variable SEALANE_TOKEN is used, if it is set.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Longest wait, in seconds.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=3600), value_name = "SECONDS")]
    timeout: u64,
    #[command(flatten)]
    tls: TlsOptions,
}

/// A connection, and what every request carries.
pub(super) struct Connection {
    pub(super) channel: Channel,
    authorization: Option<MetadataValue<Ascii>>,
    timeout: Duration,
}

impl Client {
    pub(super) async fn connect(&self) -> Result<Connection, Failure> {
        let authorization = self.authorization()?;
        let endpoint = self.tls.endpoint(&self.addr).map_err(Failure::Usage)?;
        let endpoint = endpoint
            .connect_timeout(Duration::from_secs(self.timeout.min(5)))
            .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
            .keep_alive_timeout(KEEPALIVE_TIMEOUT);
        let channel = endpoint.connect().await.map_err(|error| {
            let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}")).unwrap_or_default();
            Failure::Unreachable(format!("no service answers at {}{cause}", self.addr))
        })?;
        Ok(Connection { channel, authorization, timeout: Duration::from_secs(self.timeout) })
    }

    /// Longest wait, whatever is waited for.
    pub(super) fn timeout(&self) -> Duration {
        Duration::from_secs(self.timeout)
    }

    fn authorization(&self) -> Result<Option<MetadataValue<Ascii>>, Failure> {
        let token = match &self.token_file {
            Some(path) => fs::read_to_string(path)
                .map(Some)
                .map_err(|error| Failure::Usage(format!("--token-file {}: {error}", path.display())))?,
            None => std::env::var("SEALANE_TOKEN").ok(),
        };
        let Some(token) = token.filter(|token| !token.trim().is_empty()) else { return Ok(None) };
        let value = format!("Bearer {}", token.trim()).parse::<MetadataValue<Ascii>>();
        let mut value = value.map_err(|_| Failure::Usage("the token holds characters that no header may".into()))?;
        value.set_sensitive(true);
        Ok(Some(value))
    }
}

impl Connection {
    /// A request with token and deadline.
    pub(super) fn request<T>(&self, message: T) -> Request<T> {
        let mut request = self.endless(message);
        request.set_timeout(self.timeout);
        request
    }

    /// The same without a deadline: for streams that a person ends.
    pub(super) fn endless<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        if let Some(authorization) = &self.authorization {
            request.metadata_mut().insert("authorization", authorization.clone());
        }
        request.metadata_mut().insert("x-sealane-max-recv-bytes", MAX_REPLY_BYTES.into());
        request
    }

    /// The largest reply taken.
    pub(super) fn max_reply_bytes(&self) -> usize {
        MAX_REPLY_BYTES
    }
}

/// `InvalidArgument` as the documentation and the protocol write it: `INVALID_ARGUMENT`.
fn screaming(camel: &str) -> String {
    let mut word = String::new();
    for (at, letter) in camel.chars().enumerate() {
        if at > 0 && letter.is_ascii_uppercase() {
            word.push('_');
        }
        word.push(letter.to_ascii_uppercase());
    }
    word
}

impl From<Status> for Failure {
    /// Code and reason first, since those are what one looks up; then what a person can do.
    fn from(status: Status) -> Self {
        let details = status.get_error_details();
        let reason = details.error_info().filter(|info| info.domain == DOMAIN).map(|info| info.reason.as_str());
        let code = screaming(&format!("{:?}", status.code()));
        let mut text = match reason {
            Some(reason) => format!("{code} {reason}: {}", status.message()),
            None => format!("{code}: {}", status.message()),
        };
        // The message of one of our own tells every violation already.
        for violation in details
            .bad_request()
            .filter(|_| reason.is_none())
            .map(|bad| bad.field_violations.as_slice())
            .unwrap_or_default()
        {
            text.push_str(&format!("\n  {}: {}", violation.field, violation.description));
        }
        if let Some(delay) = details.retry_info().and_then(|info| info.retry_delay) {
            text.push_str(&format!("\n  try again in {:.1} s", delay.as_secs_f64()));
        }
        if reason.is_none() && status.code() == tonic::Code::Unavailable {
            return Self::Unreachable(text);
        }
        Self::Failed(anyhow::anyhow!(text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_reads_as_the_documentation_writes_it_and_only_once() {
        let mut details = tonic_types::ErrorDetails::new();
        details.set_error_info("INVALID_REQUEST", DOMAIN, std::collections::HashMap::new());
        details.add_bad_request_violation("reason", "must be 1 to 256 characters");
        let message = "reason must be 1 to 256 characters";
        let status = Status::with_error_details(tonic::Code::InvalidArgument, message, details);
        let Failure::Failed(error) = Failure::from(status) else { panic!() };
        assert_eq!(error.to_string(), "INVALID_ARGUMENT INVALID_REQUEST: reason must be 1 to 256 characters");
    }
}
