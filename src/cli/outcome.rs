//! How a command ends: its exit code, and the message that goes with it.
use std::{
    fmt::Display,
    io::{self, Write as _},
    process::ExitCode,
};

use crate::config::{ConfigError, Problems};

/// Documented in `--help`, held by a test.
pub(super) const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  failed; for `parity`: a target differs or fails
  2  wrong usage
  3  the configuration is invalid
  4  the service, or a resource, cannot be reached
  5  not healthy; for `audit`: the journal is not intact; for `check`: nothing is permitted, or Azure says otherwise
`healthcheck` has grpc_health_probe's codes instead: 0 serving, 1 usage, 2 connection, 3 call failed, 4 not serving.";

/// How a command ended.
pub(super) type Outcome = Result<(), Failure>;

/// Why a command failed.
#[derive(Debug)]
pub(super) enum Failure {
    /// Exit code 1.
    Failed(anyhow::Error),
    /// Exit code 2: arguments that are wrong in a way that clap cannot see.
    Usage(String),
    /// Exit code 3.
    Config(ConfigError),
    /// Exit code 3: what `--deny-warnings` refuses; told already.
    Warnings(usize),
    /// Exit code 4.
    Unreachable(String),
    /// Exit code 5.
    Unhealthy(String),
    /// Exit code 0: whoever read standard output, such as `head`, has seen enough.
    NobodyReads,
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::Failed(error)
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        match error.kind() {
            std::io::ErrorKind::BrokenPipe => Self::NobodyReads,
            _ => Self::Failed(error.into()),
        }
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::Config(error)
    }
}

impl From<Problems> for Failure {
    fn from(problems: Problems) -> Self {
        Self::Config(problems.into())
    }
}

/// Prints data on standard output.
pub(super) fn print(text: impl Display) -> Outcome {
    Ok(writeln!(io::stdout().lock(), "{text}")?)
}

/// Tells the person and the shell.
pub(super) trait Report {
    /// Prints the message, if any, and gives the exit code.
    fn report(self) -> ExitCode;
}

impl Report for Outcome {
    fn report(self) -> ExitCode {
        let (code, message) = match self {
            Ok(()) | Err(Failure::NobodyReads) => return ExitCode::SUCCESS,
            Err(Failure::Failed(error)) => (1, format!("{error:#}")),
            Err(Failure::Usage(message)) => (2, message),
            Err(Failure::Config(error)) => (3, error.to_string()),
            Err(Failure::Warnings(1)) => (3, "1 warning, and warnings are denied".to_owned()),
            Err(Failure::Warnings(count)) => (3, format!("{count} warnings, and warnings are denied")),
            Err(Failure::Unreachable(message)) => (4, message),
            Err(Failure::Unhealthy(message)) => (5, message),
        };
        eprintln!("sealane: {message}");
        ExitCode::from(code)
    }
}
