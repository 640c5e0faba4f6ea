//! Prints the table of claims; exit code 1 if one does not hold.
#![allow(clippy::print_stdout)]
use std::{process::ExitCode, time::Instant};

use clap::{Parser, ValueEnum};
use sealane_core::router::Thresholds;
use sealane_sim::{
    claims::{Settings, all},
    region::Latency,
    world::Lie,
};

/// Plays outages against the real router, and says which claims hold.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// Seeds of the mixed outages; the other rows take a part of them.
    #[arg(long, default_value_t = 10_000)]
    seeds: u64,
    /// First seed.
    #[arg(long, default_value_t = 1)]
    first_seed: u64,
    /// Simulated hours of each mixed outage.
    #[arg(long, default_value_t = 2.0)]
    hours: f64,
    /// Calls a second in the mixed outages.
    #[arg(long, default_value_t = 2.0)]
    rate: f64,
    /// Share of attempts that fail at a healthy target, in the row about false switches.
    #[arg(long, default_value_t = 0.02)]
    background: f64,
    /// Simulated days of that row.
    #[arg(long, default_value_t = 40.0)]
    days: f64,
    /// Median seconds to first content.
    #[arg(long, default_value_t = 0.6)]
    median: f64,
    /// Sigma of the log-normal latency.
    #[arg(long, default_value_t = 0.45)]
    sigma: f64,
    /// Share of answers in the heavy tail, and the tail's Pareto exponent.
    #[arg(long, default_value_t = 0.002)]
    tail: f64,
    /// Smaller is heavier.
    #[arg(long, default_value_t = 1.5)]
    alpha: f64,
    /// Threads; default: one for each processor.
    #[arg(long)]
    threads: Option<usize>,
    /// Breaks a rule, to see that the table notices.
    #[arg(long = "break")]
    broken: Option<Broken>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Broken {
    /// Targets come back at once.
    Hold,
    /// One failure is suspicious, and one test call decides.
    Nervous,
    /// Test calls always pass.
    BlindTests,
    /// Test calls always fail.
    DeafTests,
}

fn settings(arguments: &Arguments) -> Settings {
    let mut thresholds = Thresholds::default();
    let mut lie = Lie::None;
    match arguments.broken {
        None => {}
        Some(Broken::Hold) => {
            thresholds.recovery.hold = (std::time::Duration::from_secs(1), std::time::Duration::from_secs(1));
            thresholds.recovery.proofs = 1;
            thresholds.recovery.step = std::time::Duration::from_secs(1);
        }
        Some(Broken::Nervous) => {
            thresholds.detection.consecutive = 1;
            thresholds.validation.calls = 1;
        }
        Some(Broken::BlindTests) => lie = Lie::TestsAlwaysPass,
        Some(Broken::DeafTests) => lie = Lie::TestsAlwaysFail,
    }
    Settings {
        first_seed: arguments.first_seed,
        seeds: arguments.seeds,
        hours: arguments.hours,
        rate: arguments.rate,
        background: arguments.background,
        days: arguments.days,
        latency: Latency {
            median: arguments.median,
            sigma: arguments.sigma,
            tail: arguments.tail,
            alpha: arguments.alpha,
        },
        thresholds,
        lie,
        threads: arguments
            .threads
            .unwrap_or_else(|| std::thread::available_parallelism().map_or(1, std::num::NonZero::get)),
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let start = Instant::now();
    let rows = all(&settings(&arguments));
    let mut failed = 0;
    for row in &rows {
        let verdict = match row.holds {
            Some(true) => "holds",
            Some(false) => "FAILS",
            None => "",
        };
        failed += u32::from(row.holds == Some(false));
        println!("{verdict:<6} {:<100} {}\n       {}", row.claim, row.bound, row.measured);
    }
    println!("\n{} claims, {failed} fail; {:.0} s", rows.len(), start.elapsed().as_secs_f64());
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
