//! `sealane healthcheck`: for container images, which have no other tool to ask with.
use std::{process::ExitCode, time::Duration};

use clap::Args;
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};

use super::transport::TlsOptions;

/// The exit codes of grpc_health_probe, which people's scripts know.
const USAGE: u8 = 1;
const CONNECTION_FAILED: u8 = 2;
const CALL_FAILED: u8 = 3;
const NOT_SERVING: u8 = 4;

#[derive(Debug, Args)]
pub(super) struct Healthcheck {
    /// The service: host and port; `https://` in front of it for TLS.
    #[arg(long, default_value = "localhost:50051", env = "SEALANE_ADDR")]
    addr: String,
    /// Name to ask for; empty is the service as a whole.
    #[arg(long, default_value = "")]
    service: String,
    /// Longest wait, in milliseconds.
    #[arg(long, default_value_t = 1000)]
    timeout_ms: u64,
    #[command(flatten)]
    tls: TlsOptions,
}

impl Healthcheck {
    pub(super) fn run(self) -> ExitCode {
        let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else {
            return ExitCode::from(CALL_FAILED);
        };
        runtime.block_on(self.ask())
    }

    #[allow(clippy::print_stdout)]
    async fn ask(self) -> ExitCode {
        let fail = |code: u8, message: String| {
            eprintln!("sealane: {message}");
            ExitCode::from(code)
        };
        let limit = Duration::from_millis(self.timeout_ms.max(1));
        let endpoint = match self.tls.endpoint(&self.addr) {
            Ok(endpoint) => endpoint.connect_timeout(limit).timeout(limit),
            Err(wrong) => return fail(USAGE, wrong),
        };
        let channel = match endpoint.connect().await {
            Ok(channel) => channel,
            Err(error) => return fail(CONNECTION_FAILED, format!("{} cannot be reached: {error}", self.addr)),
        };
        let request = HealthCheckRequest { service: self.service.clone() };
        match HealthClient::new(channel).check(request).await {
            Ok(response) if response.get_ref().status() == ServingStatus::Serving => {
                println!("SERVING");
                ExitCode::SUCCESS
            }
            Ok(response) => fail(NOT_SERVING, response.get_ref().status().as_str_name().to_owned()),
            Err(status) => fail(CALL_FAILED, format!("{}: {}", status.code(), status.message())),
        }
    }
}
