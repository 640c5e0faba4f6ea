//! The command line: one file for each verb. Data goes to standard output, messages to standard error.
mod audit;
mod check;
mod client;
mod complete;
mod completions;
mod config;
mod demo;
mod embed;
mod healthcheck;
mod ingest;
mod json;
mod operator;
mod outcome;
mod parity;
mod routing;
mod serve;
mod simulate;
mod status;
mod table;
mod transport;

use std::process::ExitCode;

use clap::{Args, Parser, Subcommand, ValueEnum};

use outcome::{Outcome, Report as _};

/// One gRPC address for LLM inference, kept alive across Azure OpenAI regions.
#[derive(Debug, Parser)]
#[command(version, about, after_help = outcome::EXIT_CODES)]
struct Cli {
    #[command(flatten)]
    options: Options,
    #[command(subcommand)]
    verb: Verb,
}

/// What holds for every command.
#[derive(Clone, Copy, Debug, Args)]
struct Options {
    /// How data is printed.
    #[arg(long, global = true, value_enum, default_value_t = Output::Table)]
    output: Output,
    /// Colours; `auto` heeds NO_COLOR and whether a terminal shows them.
    #[arg(long, global = true, value_enum, default_value_t = Color::Auto)]
    color: Color,
    #[command(flatten)]
    verbosity: Verbosity,
}

/// How much is told on standard error.
#[derive(Clone, Copy, Debug, Args)]
struct Verbosity {
    /// Nothing but errors on standard error.
    #[arg(long, short, global = true, conflicts_with = "verbose")]
    quiet: bool,
    /// Everything worth knowing on standard error, such as every attempt of a call.
    #[arg(long, short, global = true)]
    verbose: bool,
}

/// How data is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Output {
    /// For people.
    Table,
    /// For programs: stable JSON, one document for each answer.
    Json,
}

/// Whether there are colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Color {
    Auto,
    Always,
    Never,
}

impl Color {
    /// Settles it for the process.
    fn apply(self) {
        let wanted = match self {
            Self::Always => true,
            Self::Never => false,
            // https://no-color.org: set and not empty.
            Self::Auto if std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty()) => false,
            Self::Auto => return,
        };
        console::set_colors_enabled(wanted);
        console::set_colors_enabled_stderr(wanted);
    }
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Run the service.
    Serve(serve::Serve),
    /// Kill a region under live traffic and watch: simulated regions and the service, all on this machine.
    Demo(demo::Demo),
    /// Run simulated Azure OpenAI regions.
    Simulate(simulate::Simulate),
    Complete(complete::Complete),
    Embed(embed::Embed),
    Ingest(ingest::Ingest),
    Status(status::Status),
    Drain(operator::Drain),
    Release(operator::Release),
    Validate(operator::Validate),
    Check(check::Check),
    Parity(parity::Parity),
    Audit(audit::Audit),
    Config(config::ConfigVerb),
    /// Ask a service whether it takes calls; exits with grpc_health_probe's codes.
    Healthcheck(healthcheck::Healthcheck),
    Completions(completions::Completions),
}

/// Runs the command that the process was started with.
pub fn run() -> ExitCode {
    let Cli { options, verb } = Cli::parse();
    options.color.apply();
    let outcome = match verb {
        Verb::Serve(serve) => serve.run(options.output),
        Verb::Demo(demo) => demo.run(options.output),
        Verb::Simulate(simulate) => simulate.run(options.output),
        Verb::Complete(complete) => wait(complete.run(options)),
        Verb::Embed(embed) => wait(embed.run(options)),
        Verb::Ingest(ingest) => wait(ingest.run(options)),
        Verb::Status(status) => wait(status.run(options)),
        Verb::Drain(drain) => wait(drain.run(options)),
        Verb::Release(release) => wait(release.run(options)),
        Verb::Validate(validate) => wait(validate.run(options)),
        Verb::Check(check) => wait(check.run(options)),
        Verb::Parity(parity) => wait(parity.run(options)),
        Verb::Audit(audit) => audit.run(options),
        Verb::Config(config) => config.run(),
        Verb::Completions(completions) => completions.run(),
        Verb::Healthcheck(healthcheck) => return healthcheck.run(),
    };
    outcome.report()
}

/// Runs a command that is one conversation: a single thread is enough.
fn wait(command: impl Future<Output = Outcome>) -> Outcome {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(command)
}
