//! Runs every row through every column in turn and keeps the figures.
use std::{path::Path, time::Duration};

use anyhow::Result;
use serde::Serialize;

use crate::{
    Settings,
    gateway::{Column, Gateway, KEY, Scratch, Upstream, UpstreamKind},
    journal::{self, JournalCost},
    load::{self, IdleResponses, IdleStreams, Protocol},
    process::{Memory, Tree, machine_cpu},
    report,
    workload::{FLOOD_CHUNKS, Row, Work, rows},
};

/// A core that is busy for this share of the time is what limits a run.
const SATURATED: f64 = 0.95;
/// Calls that warm a gateway up before its memory is looked at.
const IDLE_WARM_UP: Row = Row { work: Work::Flood, concurrency: 8, calls: 16 };
/// For the kernel and the allocators to come to rest.
const SETTLE: Duration = Duration::from_millis(500);

/// One run of one row through one column; times in microseconds.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Sample {
    /// The gateway's CPU time per call, or per chunk for streams; none for the direct column.
    pub(crate) cpu: Option<f64>,
    /// Latency of a call, median and 99th percentile.
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    /// From the sending of a chunk upstream to its reading by the caller, 99th percentile.
    pub(crate) transit_p99: Option<f64>,
    /// Calls a second.
    pub(crate) rate: f64,
    /// Shares of the run's time in which each was on a core; the last two share one.
    pub(crate) gateway_share: f64,
    pub(crate) upstream_share: f64,
    pub(crate) generator_share: f64,
    /// Cores' worth of time that programs which are no part of the bench took meanwhile.
    pub(crate) foreign_share: f64,
}

/// All runs of one row through one column.
#[derive(Debug, Serialize)]
pub(crate) struct Cell {
    pub(crate) column: Column,
    pub(crate) samples: Vec<Sample>,
    /// Why there are fewer samples than runs.
    pub(crate) failure: Option<String>,
}

/// One row with all its columns.
#[derive(Debug, Serialize)]
pub(crate) struct Measured {
    #[serde(flatten)]
    pub(crate) row: Row,
    pub(crate) upstream: UpstreamKind,
    pub(crate) cells: Vec<Cell>,
}

/// Memory of one column.
#[derive(Debug, Serialize)]
pub(crate) struct Footprint {
    pub(crate) column: Column,
    /// KiB that one open and silent stream adds, one figure for each run.
    pub(crate) idle_stream: Vec<f64>,
    /// MiB after all rows.
    pub(crate) resident: f64,
    /// MiB, the most at any time, in the rows or with the idle streams.
    pub(crate) peak: f64,
}

impl Cell {
    /// Median of one figure over the runs; none if there are none.
    pub(crate) fn median(&self, figure: impl Fn(&Sample) -> Option<f64>) -> Option<f64> {
        median(self.samples.iter().filter_map(figure).collect())
    }

    /// Whether upstream and load generator had no time left: then latency and rate are theirs, not the gateway's.
    pub(crate) fn is_load_bound(&self) -> bool {
        self.column != Column::Direct
            && self
                .median(|sample| Some(sample.upstream_share + sample.generator_share))
                .is_some_and(|it| it > SATURATED)
            && self.median(|sample| Some(sample.gateway_share)).is_some_and(|it| it < SATURATED)
    }

    fn is_bound_by_upstream(&self) -> bool {
        let share = |of: fn(&Sample) -> f64| self.median(|sample| Some(of(sample))).unwrap_or(0.0);
        self.is_load_bound() && share(|sample| sample.upstream_share) > share(|sample| sample.generator_share)
    }
}

/// Measures and prints everything.
pub(crate) async fn run(settings: Settings) -> Result<()> {
    let mut scratch = Scratch::new()?;
    report::print_preamble(&settings);
    let runs = settings.runs.unwrap_or(if settings.quick { 1 } else { 3 }).max(1);
    let suite = Suite::start(settings.upstream, &settings, scratch.path())?;
    let wanted = |work| settings.only.is_empty() || settings.only.contains(&work);
    let rows = rows(settings.quick).into_iter().filter(|row| wanted(row.work)).collect();
    let mut measured = suite.measure(rows, runs).await;
    tokio::time::sleep(SETTLE).await;
    let after_load: Vec<_> = suite.gateways.iter().map(|gateway| (gateway.column, gateway.memory())).collect();
    let mut footprints = Vec::new();
    for (column, memory) in after_load {
        if let Some(memory) = memory.filter(|_| wanted(Work::Idle)) {
            footprints.push(suite.footprint(column, memory, runs, &settings, scratch.path()).await?);
        }
    }
    drop(suite);
    if settings.upstream == UpstreamKind::Simulator {
        // The simulated region hands over many chunks at once where it can; Azure and the fixed answers do not.
        let apart = |row: &Measured| row.row.work == Work::Flood || row.cells.iter().any(Cell::is_bound_by_upstream);
        let again: Vec<_> = measured.iter().filter(|row| apart(row)).map(|row| row.row).collect();
        if !again.is_empty() {
            let suite = Suite::start(UpstreamKind::Fixed, &settings, scratch.path())?;
            measured.extend(suite.measure(again, runs).await);
        }
    }
    let journal = if wanted(Work::Unary) && settings.sealane.exists() {
        let suite = Suite::recording(settings.upstream, &settings, scratch.path())?;
        Some(JournalCost::new(suite.measure(journal::rows(settings.quick), runs).await, scratch.path())?)
    } else {
        None
    };
    report::print(&measured, &footprints, settings.idle_streams);
    if let Some(journal) = &journal {
        journal.print();
    }
    if let Some(file) = &settings.json {
        report::write_json(file, &measured, &footprints, journal.as_ref())?;
    }
    let failures = measured.iter().flat_map(|row| &row.cells).filter_map(|cell| cell.failure.as_ref());
    let failures: Vec<_> = failures.chain(journal.iter().flat_map(JournalCost::failures)).collect();
    if !failures.is_empty() {
        scratch.keep = true;
        anyhow::bail!("{} cells failed; logs are in {}", failures.len(), scratch.path().display());
    }
    Ok(())
}

/// An upstream and all gateways before it.
struct Suite {
    kind: UpstreamKind,
    gateways: Vec<Gateway>,
    upstream: Upstream,
}

impl Suite {
    fn start(kind: UpstreamKind, settings: &Settings, scratch: &Path) -> Result<Self> {
        let upstream = Upstream::start(kind, settings, scratch)?;
        let mut gateways = Vec::new();
        for column in Column::ALL {
            gateways.extend(Gateway::start(column, &upstream, settings, scratch)?);
        }
        Ok(Self { kind, gateways, upstream })
    }

    /// Sealane alone, without a journal and with one of each durability.
    fn recording(kind: UpstreamKind, settings: &Settings, scratch: &Path) -> Result<Self> {
        let upstream = Upstream::start(kind, settings, scratch)?;
        let mut gateways = Vec::new();
        for durability in journal::DURABILITIES {
            gateways.extend(Gateway::recording(durability, &upstream, settings, scratch)?);
        }
        Ok(Self { kind, gateways, upstream })
    }

    /// A B A B: every run of a row goes through all columns before the next one begins.
    async fn measure(&self, rows: Vec<Row>, runs: usize) -> Vec<Measured> {
        let mut measured = Vec::new();
        for row in rows {
            let cell = |gateway: &Gateway| Cell { column: gateway.column, samples: Vec::new(), failure: None };
            let mut cells: Vec<_> = self.gateways.iter().map(cell).collect();
            // The first round only warms up.
            for round in 0..=runs {
                for (gateway, cell) in self.gateways.iter().zip(&mut cells) {
                    if cell.failure.is_some() {
                        continue;
                    }
                    let warm_up = Row { calls: (row.calls / 8).max(row.concurrency), ..row };
                    match self.sample(gateway, if round == 0 { warm_up } else { row }).await {
                        Ok(sample) if round > 0 => cell.samples.push(sample),
                        Ok(_) => {}
                        Err(error) => cell.failure = Some(format!("{error:#}")),
                    }
                }
            }
            report::print_progress(row);
            measured.push(Measured { row, upstream: self.kind, cells });
        }
        measured
    }

    async fn sample(&self, gateway: &Gateway, row: Row) -> Result<Sample> {
        let trees: Vec<_> = self.upstream.processes.iter().map(|process| process.tree()).collect();
        let upstream_cpu = || trees.iter().map(|tree| tree.cpu()).sum::<Duration>();
        let gateway_cpu = || gateway.process.as_ref().map(|process| process.tree().cpu());
        let before = (gateway_cpu(), upstream_cpu(), Tree::own().cpu(), machine_cpu());
        let mut tally = load::run(gateway.column.protocol(), gateway.address(row.work), KEY, row).await?;
        let after = (gateway_cpu(), upstream_cpu(), Tree::own().cpu(), machine_cpu());
        let cpu = before.0.zip(after.0).map(|(before, after)| after.saturating_sub(before));
        let units = if row.work.is_stream() { tally.whole * FLOOD_CHUNKS } else { tally.whole };
        let share = |time: Duration| time.as_secs_f64() / tally.wall.as_secs_f64();
        let (upstream, generator) = (after.1.saturating_sub(before.1), after.2.saturating_sub(before.2));
        let ours = cpu.unwrap_or_default() + upstream + generator;
        Ok(Sample {
            cpu: cpu.map(|cpu| microseconds(cpu) / units as f64),
            gateway_share: share(cpu.unwrap_or_default()),
            upstream_share: share(upstream),
            generator_share: share(generator),
            foreign_share: share(after.3.saturating_sub(before.3).saturating_sub(ours)),
            rate: tally.whole as f64 / tally.wall.as_secs_f64(),
            p50: percentile(&mut tally.latencies, 0.50).unwrap_or_default(),
            p99: percentile(&mut tally.latencies, 0.99).unwrap_or_default(),
            transit_p99: percentile(&mut tally.transits, 0.99),
        })
    }

    /// Opens idle streams through a fresh process of a column, and adds what they cost to what its load left.
    async fn footprint(
        &self,
        column: Column,
        after_load: Memory,
        runs: usize,
        settings: &Settings,
        scratch: &Path,
    ) -> Result<Footprint> {
        let (mut idle_stream, mut peak) = (Vec::new(), after_load.peak);
        for _ in 0..runs {
            let Some(gateway) = Gateway::start(column, &self.upstream, settings, scratch)? else { continue };
            let to = gateway.address(Work::Idle);
            load::run(column.protocol(), gateway.address(IDLE_WARM_UP.work), KEY, IDLE_WARM_UP).await?;
            let before = gateway.memory().unwrap_or_default();
            let count = settings.idle_streams;
            let held = match column.protocol() {
                Protocol::Http => Held::Responses(IdleResponses::open(to, KEY, count).await?),
                Protocol::Grpc => Held::Streams(IdleStreams::open(to, count).await?),
            };
            tokio::time::sleep(SETTLE).await;
            let with = gateway.memory().unwrap_or_default();
            drop(held);
            idle_stream.push(with.resident.saturating_sub(before.resident) as f64 / count as f64);
            peak = peak.max(with.peak);
        }
        let mebibytes = |kibibytes: u64| kibibytes as f64 / 1024.0;
        Ok(Footprint { column, idle_stream, resident: mebibytes(after_load.resident), peak: mebibytes(peak) })
    }
}

enum Held {
    Responses(#[expect(dead_code, reason = "held open, never asked")] IdleResponses),
    Streams(#[expect(dead_code, reason = "held open, never asked")] IdleStreams),
}

impl Gateway {
    fn memory(&self) -> Option<Memory> {
        self.process.as_ref().map(|process| process.tree().memory())
    }
}

/// The middle value, or the mean of the two in the middle.
pub(crate) fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    let upper = *values.get(middle)?;
    if values.len() % 2 == 1 { Some(upper) } else { Some((upper + values.get(middle - 1)?) / 2.0) }
}

pub(crate) fn percentile(times: &mut [Duration], share: f64) -> Option<f64> {
    times.sort_unstable();
    let rank = (times.len() as f64 * share).ceil() as usize;
    times.get(rank.saturating_sub(1)).copied().map(microseconds)
}

fn microseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians() {
        assert_eq!(median(Vec::new()), None);
        assert_eq!(median(vec![3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), Some(2.5));
    }

    #[test]
    fn percentiles_are_observed_values() {
        let mut times: Vec<_> = (1..=100).rev().map(Duration::from_micros).collect();
        assert_eq!(percentile(&mut times, 0.50), Some(50.0));
        assert_eq!(percentile(&mut times, 0.99), Some(99.0));
        assert_eq!(percentile(&mut [], 0.99), None);
    }
}
