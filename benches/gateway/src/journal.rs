//! What the audit journal costs a call: Sealane without one, and with one of each durability, side by side.
use std::{fs::File, io::Write as _, path::Path, time::Instant};

use anyhow::Result;
use serde::Serialize;

use crate::{
    measure::{Cell, Measured, median, percentile},
    workload::{Row, Work},
};

/// What is compared, in the configuration's words; `None`: no journal is kept.
pub(crate) const DURABILITIES: [Option<&str>; 4] = [None, Some("off"), Some("flush"), Some("fsync")];

/// A batch of records of one busy moment, about.
const WRITE: [u8; 4096] = [b'x'; 4096];
const SYNCS: usize = 300;

/// All rows, and what the disk can do at all.
#[derive(Debug, Serialize)]
pub(crate) struct JournalCost {
    rows: Vec<Measured>,
    /// Microseconds that 4 KiB and an fsync take, median and 99th percentile.
    disk: (f64, f64),
}

/// One call at a time, and many.
pub(crate) fn rows(quick: bool) -> Vec<Row> {
    let calls = |calls: usize| if quick { calls / 4 } else { calls };
    vec![
        Row { work: Work::Unary, concurrency: 1, calls: calls(2_000) },
        Row { work: Work::Unary, concurrency: 32, calls: calls(12_000) },
    ]
}

impl JournalCost {
    /// Of these rows, on the disk that holds `scratch`.
    pub(crate) fn new(rows: Vec<Measured>, scratch: &Path) -> Result<Self> {
        Ok(Self { rows, disk: sync_times(scratch)? })
    }

    /// Why cells have no figures.
    pub(crate) fn failures(&self) -> impl Iterator<Item = &String> {
        self.rows.iter().flat_map(|row| &row.cells).filter_map(|cell| cell.failure.as_ref())
    }

    /// Prints the table.
    pub(crate) fn print(&self) {
        let (p50, p99) = self.disk;
        println!("\nThe audit journal; this disk takes {p50:.0} us (p99 {p99:.0} us) for 4 KiB and an fsync.");
        println!("{:34} {:>12} {:>16} {:>16} {:>16}", "medians", "none", "off", "flush", "fsync");
        for Measured { row, cells, .. } in &self.rows {
            let line = |name: &str, figure: &dyn Fn(&Cell) -> Option<f64>| {
                let name = format!("unary, concurrency {}, {name} us", row.concurrency);
                let figures: Vec<Option<f64>> = cells.iter().map(figure).collect();
                let without = figures.first().copied().flatten();
                let shown = figures.iter().enumerate().map(|(at, figure)| match (figure, without) {
                    (None, _) => "-".to_owned(),
                    (Some(figure), Some(without)) if at > 0 => format!("{figure:.0} ({:+.0})", figure - without),
                    (Some(figure), _) => format!("{figure:.0}"),
                });
                let shown: Vec<String> = shown.collect();
                println!("{name:34} {:>12} {:>16} {:>16} {:>16}", shown[0], shown[1], shown[2], shown[3]);
            };
            line("CPU/call", &|cell| cell.median(|sample| sample.cpu));
            line("p50", &|cell| cell.median(|sample| Some(sample.p50)));
            line("p99", &|cell| cell.median(|sample| Some(sample.p99)));
        }
        println!("(+n): more than without a journal.");
    }
}

fn sync_times(folder: &Path) -> Result<(f64, f64)> {
    let mut file = File::create(folder.join("fsync"))?;
    let mut times = Vec::with_capacity(SYNCS);
    for _ in 0..SYNCS {
        let begun = Instant::now();
        file.write_all(&WRITE)?;
        file.sync_data()?;
        times.push(begun.elapsed());
    }
    let p99 = percentile(&mut times, 0.99).unwrap_or_default();
    let middle = median(times.iter().map(|time| time.as_secs_f64() * 1e6).collect()).unwrap_or_default();
    Ok((middle, p99))
}
