//! `sealane config`: the configuration's schema, and what is in force.
use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::outcome::{Outcome, print};
use crate::config;

/// About the configuration file.
#[derive(Debug, Args)]
pub(super) struct ConfigVerb {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Print its JSON Schema. Editors use it after a first line `# yaml-language-server: $schema=FILE`.
    Schema,
    /// Print it with every default filled in. Secrets are never printed, only where they are kept.
    Show {
        /// The configuration file.
        #[arg(long, default_value = "sealane.yaml", env = "SEALANE_CONFIG", value_name = "FILE")]
        config: PathBuf,
        /// Hide endpoints and the names of secrets too: for tickets.
        #[arg(long)]
        redacted: bool,
    },
}

impl ConfigVerb {
    pub(super) fn run(self) -> Outcome {
        match self.what {
            What::Schema => print(format_args!("{:#}", config::schema())),
            What::Show { config, redacted } => print(config::effective(&config, redacted)?.trim_end()),
        }
    }
}
