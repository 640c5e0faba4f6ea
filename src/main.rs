//! Arguments -> command -> exit code; everything else is in the library.
use std::process::ExitCode;

fn main() -> ExitCode {
    // First of all: TLS clients refuse to be built before a provider is chosen.
    let _ = rustls::crypto::ring::default_provider().install_default();
    sealane::cli::run()
}
