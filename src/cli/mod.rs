//! The command line: one file for each verb. Data goes to standard output, messages to standard error.
mod demo;
mod healthcheck;
mod outcome;
mod serve;
mod simulate;
mod table;

use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};

use outcome::Report as _;

/// One gRPC address for LLM inference, kept alive across Azure OpenAI regions.
#[derive(Debug, Parser)]
#[command(version, about, after_help = outcome::EXIT_CODES)]
struct Cli {
    /// How data is printed.
    #[arg(long, global = true, value_enum, default_value_t = Output::Table)]
    output: Output,
    #[command(subcommand)]
    verb: Verb,
}

/// How data is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Output {
    /// For people.
    Table,
    /// For programs: stable JSON, one document for each answer.
    Json,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Run the service.
    Serve(serve::Serve),
    /// Kill a region under live traffic and watch: simulated regions and the service, all on this machine.
    Demo(demo::Demo),
    /// Run simulated Azure OpenAI regions.
    Simulate(simulate::Simulate),
    /// Ask a service whether it takes calls; exits with grpc_health_probe's codes.
    Healthcheck(healthcheck::Healthcheck),
}

/// Runs the command that the process was started with.
pub fn run() -> ExitCode {
    let cli = Cli::parse();
    let outcome = match cli.verb {
        Verb::Serve(serve) => serve.run(cli.output),
        Verb::Demo(demo) => demo.run(cli.output),
        Verb::Simulate(simulate) => simulate.run(cli.output),
        Verb::Healthcheck(healthcheck) => return healthcheck.run(),
    };
    outcome.report()
}
