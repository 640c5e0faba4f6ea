//! `sealane completions`: what a shell needs to complete commands and flags.
use clap::{Args, CommandFactory as _};
use clap_complete::Shell;

use super::{
    Cli,
    outcome::{Outcome, print},
};

/// Print a completion script, such as for `source <(sealane completions bash)`.
#[derive(Debug, Args)]
pub(super) struct Completions {
    shell: Shell,
}

impl Completions {
    pub(super) fn run(self) -> Outcome {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "sealane", &mut script);
        print(String::from_utf8_lossy(&script).trim_end())
    }
}
