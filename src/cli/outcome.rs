//! How a command ends: its exit code, and the message that goes with it.
use std::process::ExitCode;

use crate::config::ConfigError;

/// Documented in `--help`, held by a test.
pub(super) const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  failed
  2  wrong usage
  3  the configuration is invalid
  4  the service cannot be reached
  5  not healthy
`healthcheck` has grpc_health_probe's codes instead: 0 serving, 1 usage, 2 connection, 3 call failed, 4 not serving.";

/// How a command ended.
pub(super) type Outcome = Result<(), Failure>;

/// Why a command failed.
#[derive(Debug)]
pub(super) enum Failure {
    /// Exit code 1.
    Failed(anyhow::Error),
    /// Exit code 3.
    Config(ConfigError),
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::Failed(error)
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::Failed(error.into())
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::Config(error)
    }
}

/// Tells the person and the shell.
pub(super) trait Report {
    /// Prints the message, if any, and gives the exit code.
    fn report(self) -> ExitCode;
}

impl Report for Outcome {
    fn report(self) -> ExitCode {
        let (code, message) = match self {
            Ok(()) => return ExitCode::SUCCESS,
            Err(Failure::Failed(error)) => (1, format!("{error:#}")),
            Err(Failure::Config(error)) => (3, error.to_string()),
        };
        eprintln!("sealane: {message}");
        ExitCode::from(code)
    }
}
