//! What one call costs through Sealane, next to the same call sent straight to a simulated region, through nginx,
//! and through the least a gRPC gateway can cost. Run it with `make bench`.
#![allow(clippy::print_stdout)] // The table is what this program is for.

mod floor;
mod gateway;
mod journal;
mod load;
mod measure;
mod process;
mod report;
mod simulator;
mod upstream;
mod workload;

use std::{io::Write as _, net::SocketAddr, path::PathBuf};

use anyhow::Result;
use clap::{Parser, Subcommand};

/// The API as tonic and prost compile it by default.
#[allow(missing_docs, unreachable_pub, dead_code, clippy::all)]
mod pb {
    tonic::include_proto!("sealane.v1");
}

#[derive(Parser)]
#[command(version, about)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Measure every column in turn and print the table.
    Run(Settings),
    /// Be the floor, until standard input is closed.
    Floor {
        #[command(flatten)]
        upstream: floor::Upstreams,
    },
    /// Be an upstream with fixed answers, until standard input is closed.
    Upstream,
    /// Be the simulated regions, until standard input is closed.
    Simulator,
}

/// How to measure.
#[derive(clap::Args, Clone, Debug)]
struct Settings {
    /// Fewer calls and runs: under a minute, and noisier
    #[arg(long)]
    quick: bool,
    /// Also write everything measured to this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Runs of each row and column, of which the median is taken [default: 3; quick: 1]
    #[arg(long)]
    runs: Option<usize>,
    /// Only these kinds of work, separated by commas [default: all]
    #[arg(long, value_enum, value_delimiter = ',', value_name = "WORK")]
    only: Vec<workload::Work>,
    /// What answers: the simulated region, or fixed answers. Rows in which the simulated region is the limit are
    /// measured against fixed answers as well.
    #[arg(long, value_enum, default_value_t)]
    upstream: gateway::UpstreamKind,
    /// The binary to measure; the column is left out if there is none.
    #[arg(long, value_name = "FILE", default_value = "target/release/sealane")]
    sealane: PathBuf,
    /// Core of the gateway.
    #[arg(long, default_value_t = 0)]
    gateway_core: usize,
    /// Core of the upstream and the load generator.
    #[arg(long, default_value_t = 1)]
    load_core: usize,
    /// Idle streams to hold open.
    #[arg(long, default_value_t = 1000)]
    idle_streams: usize,
}

fn main() -> Result<()> {
    match Arguments::parse().command {
        Command::Run(settings) => {
            process::pin_self(settings.load_core)?;
            tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(measure::run(settings))
        }
        Command::Floor { upstream } => {
            end_when_abandoned();
            // One worker, like the gateway that it stands beside.
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
            let serving = runtime.spawn(floor::serve(upstream, std::env::var(gateway::KEY_VARIABLE)?));
            runtime.block_on(serving)?
        }
        Command::Upstream => {
            end_when_abandoned();
            tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(upstream::serve())
        }
        Command::Simulator => {
            end_when_abandoned();
            tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(simulator::serve())
        }
    }
}

/// Ends this process when the one that started it is gone: its end of our standard input closes with it.
fn end_when_abandoned() {
    std::thread::spawn(|| {
        let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        std::process::exit(0);
    });
}

/// Tells the process that started this one where it listens.
fn announce(addresses: &[SocketAddr]) -> Result<()> {
    let addresses: Vec<_> = addresses.iter().map(SocketAddr::to_string).collect();
    let mut output = std::io::stdout().lock();
    writeln!(output, "{}", addresses.join(" "))?;
    Ok(output.flush()?)
}
