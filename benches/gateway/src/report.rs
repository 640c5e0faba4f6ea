//! The table, the aims and how far each still is.
use std::{fs, path::Path};

use anyhow::{Context as _, Result};
use serde::Serialize;

use crate::{
    Settings,
    gateway::{Column, UpstreamKind, find_nginx},
    journal::JournalCost,
    measure::{Cell, Footprint, Measured, Sample, median},
    workload::{Row, Work},
};

/// Cores' worth of other programs' work above which the table carries a warning.
const FOREIGN_LOAD: f64 = 0.2;

/// What we want of Sealane in one line of the table.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
enum Aim {
    /// At most so many times the floor.
    TimesFloor(f64),
    /// At most the floor and so much more.
    FloorPlus(f64),
    /// At most so much.
    AtMost(f64),
}

impl Aim {
    fn limit(self, floor: Option<f64>) -> Option<f64> {
        match self {
            Self::TimesFloor(times) => floor.map(|floor| floor * times),
            Self::FloorPlus(more) => floor.map(|floor| floor + more),
            Self::AtMost(limit) => Some(limit),
        }
    }
}

impl std::fmt::Display for Aim {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::TimesFloor(1.0) => write!(formatter, "<= floor"),
            Self::TimesFloor(times) => write!(formatter, "<= {times} x floor"),
            Self::FloorPlus(more) => write!(formatter, "<= floor + {more}"),
            Self::AtMost(limit) => write!(formatter, "<= {limit}"),
        }
    }
}

/// One line of the table.
#[derive(Debug, Serialize)]
struct Line {
    name: String,
    unit: &'static str,
    values: Vec<Value>,
    aim: Option<Aim>,
    /// Whether each column's figure is to be shown with what it adds to the direct one.
    added: bool,
}

#[derive(Debug, Serialize)]
struct Value {
    column: Column,
    median: f64,
    /// The upstream or the load generator was the limit, so this is not the gateway's figure.
    load_bound: bool,
}

impl Line {
    fn of(
        measured: &Measured,
        figure: (&'static str, &'static str),
        aim: Option<Aim>,
        times: bool,
        take: impl Fn(&Sample) -> Option<f64>,
    ) -> Self {
        let value = |cell: &Cell| {
            let median = cell.median(&take)?;
            // CPU time is the gateway's own, whoever waits for whom.
            Some(Value { column: cell.column, median, load_bound: times && cell.is_load_bound() })
        };
        Self {
            name: format!("{}, {}", row_name(measured), figure.0),
            unit: figure.1,
            values: measured.cells.iter().filter_map(value).collect(),
            aim,
            added: times && !measured.row.work.is_stream(),
        }
    }

    fn value(&self, column: Column) -> Option<&Value> {
        self.values.iter().find(|value| value.column == column)
    }

    fn shown(&self, column: Column) -> String {
        let Some(value) = self.value(column) else { return "-".to_owned() };
        let mut text = number(value.median);
        match self.value(Column::Direct) {
            Some(direct) if self.added && column != Column::Direct => {
                text += &format!(" ({:+.0})", value.median - direct.median);
            }
            _ => {}
        }
        if value.load_bound { format!("[{text}]") } else { text }
    }

    /// Where Sealane stands against the aim.
    fn verdict(&self) -> String {
        let (Some(aim), Some(sealane)) = (self.aim, self.value(Column::Sealane)) else { return String::new() };
        let floor = self.value(Column::Floor);
        if sealane.load_bound || floor.is_some_and(|floor| floor.load_bound) {
            return "not quoted: the load side was the limit".to_owned();
        }
        let floor = floor.map(|floor| floor.median);
        let Some(limit) = aim.limit(floor) else { return String::new() };
        let ratio = match (aim, floor) {
            (Aim::AtMost(_), _) | (_, None) => String::new(),
            (_, Some(floor)) => format!("{:.2} x floor, ", sealane.median / floor),
        };
        if sealane.median <= limit {
            format!("{ratio}met")
        } else {
            format!("{ratio}{:.0} % too much", (sealane.median / limit - 1.0) * 100.0)
        }
    }
}

/// Says what is compared with what, before the long wait.
pub(crate) fn print_preamble(settings: &Settings) {
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": ")).map(|(_, name)| name);
    println!(
        "Gateway on core {} with one worker; upstream and load generator on core {}; loopback, no TLS, no journal. {}",
        settings.gateway_core,
        settings.load_core,
        model.unwrap_or("Unknown processor")
    );
    if find_nginx().is_none() {
        println!("Column nginx is absent: there is no nginx here (Debian: apt-get install nginx-light).");
    }
    if !settings.sealane.exists() {
        println!("Column Sealane is absent: there is no {}.", settings.sealane.display());
    }
}

/// One row is done.
pub(crate) fn print_progress(row: Row) {
    eprintln!("  measured {}, concurrency {}", work_name(row.work), row.concurrency);
}

/// Prints the table.
pub(crate) fn print(measured: &[Measured], footprints: &[Footprint], idle_streams: usize) {
    let lines = lines(measured, footprints, idle_streams);
    let width = lines.iter().map(|line| line.name.len() + line.unit.len() + 1).max().unwrap_or(0);
    println!(
        "\n{:width$} {:>12} {:>16} {:>16} {:>16}   {:15} how far",
        "medians", "direct", "nginx", "floor", "Sealane", "aim"
    );
    for line in &lines {
        let name = format!("{} {}", line.name, line.unit);
        let [direct, nginx, floor, sealane] = Column::ALL.map(|column| line.shown(column));
        let aim = line.aim.map(|aim| aim.to_string()).unwrap_or_default();
        println!("{name:width$} {direct:>12} {nginx:>16} {floor:>16} {sealane:>16}   {aim:15} {}", line.verdict());
    }
    println!("\n(+n): more than direct. A chunk's CPU: the run's, divided by the 200 content chunks of each stream.");
    if measured.iter().any(|row| row.upstream == UpstreamKind::Fixed) {
        println!("*: against fixed answers, in which every chunk of a stream comes alone.");
    }
    print_load_bound(measured);
    print_foreign_load(measured);
    for cell in measured.iter().flat_map(|row| &row.cells) {
        if let Some(failure) = &cell.failure {
            println!("{:?} failed: {failure}", cell.column);
        }
    }
}

fn print_load_bound(measured: &[Measured]) {
    for row in measured {
        for cell in row.cells.iter().filter(|cell| cell.is_load_bound()) {
            let share = |of: fn(&Sample) -> f64| cell.median(|sample| Some(of(sample) * 100.0)).unwrap_or_default();
            println!(
                "[{}, {:?}]: the load side was the limit (upstream {:.0} %, load generator {:.0} % of their core; \
                 gateway {:.0} % of its own), so its latencies are no figures of the gateway.",
                row_name(row),
                cell.column,
                share(|sample| sample.upstream_share),
                share(|sample| sample.generator_share),
                share(|sample| sample.gateway_share),
            );
        }
    }
}

/// Latencies measured on a machine that had other work are not worth quoting; CPU times mostly are.
fn print_foreign_load(measured: &[Measured]) {
    let samples = measured.iter().flat_map(|row| &row.cells).flat_map(|cell| &cell.samples);
    let foreign = median(samples.map(|sample| sample.foreign_share).collect()).unwrap_or_default();
    if foreign > FOREIGN_LOAD {
        println!("Other programs took {:.0} % of a core meanwhile: do not quote the latencies.", foreign * 100.0);
    }
}

/// Writes everything measured, runs and all.
pub(crate) fn write_json(
    file: &Path,
    measured: &[Measured],
    footprints: &[Footprint],
    journal: Option<&JournalCost>,
) -> Result<()> {
    #[derive(Serialize)]
    struct Everything<'a> {
        lines: Vec<Line>,
        rows: &'a [Measured],
        footprints: &'a [Footprint],
        journal: Option<&'a JournalCost>,
    }
    let everything = Everything { lines: lines(measured, footprints, 0), rows: measured, footprints, journal };
    let text = serde_json::to_string_pretty(&everything)?;
    fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))
}

fn lines(measured: &[Measured], footprints: &[Footprint], idle_streams: usize) -> Vec<Line> {
    let mut lines: Vec<Line> = measured.iter().flat_map(row_lines).collect();
    let footprint = |name: String, unit, aim, take: &dyn Fn(&Footprint) -> Option<f64>| Line {
        name,
        unit,
        values: footprints
            .iter()
            .filter_map(|it| Some(Value { column: it.column, median: take(it)?, load_bound: false }))
            .collect(),
        aim: Some(aim),
        added: false,
    };
    if footprints.is_empty() {
        return lines;
    }
    lines.push(footprint(format!("open idle stream ({idle_streams} open)"), "KiB", Aim::TimesFloor(1.3), &|it| {
        median(it.idle_stream.clone())
    }));
    lines.push(footprint("memory after load".to_owned(), "MiB", Aim::AtMost(25.0), &|it| Some(it.resident)));
    lines.push(footprint("memory at its peak".to_owned(), "MiB", Aim::AtMost(60.0), &|it| Some(it.peak)));
    lines
}

fn row_lines(measured: &Measured) -> Vec<Line> {
    let one = measured.row.concurrency == 1;
    let (cpu, p50, p99) = match measured.row.work {
        Work::Unary | Work::Assembled if one => (None, Some(Aim::FloorPlus(25.0)), None),
        Work::Unary | Work::Assembled => (Some(Aim::TimesFloor(1.5)), None, Some(Aim::TimesFloor(1.5))),
        Work::Flood => (Some(Aim::TimesFloor(0.6)), None, None),
        Work::Paced => (Some(Aim::TimesFloor(1.1)), None, None),
        Work::Embed | Work::EmbedStream => (Some(Aim::TimesFloor(0.75)), None, None),
        Work::Idle => (None, None, None),
    };
    if measured.row.work.is_stream() {
        let mut lines = vec![Line::of(measured, ("CPU", "us/chunk"), cpu, false, |sample| sample.cpu)];
        if measured.row.work == Work::Paced {
            let transit = Some(Aim::TimesFloor(1.0));
            lines.push(Line::of(measured, ("chunk transit p99", "us"), transit, true, |sample| sample.transit_p99));
        }
        return lines;
    }
    vec![
        Line::of(measured, ("CPU", "us/call"), cpu, false, |sample| sample.cpu),
        Line::of(measured, ("p50", "us"), p50, true, |sample| Some(sample.p50)),
        Line::of(measured, ("p99", "us"), p99, true, |sample| Some(sample.p99)),
    ]
}

fn row_name(measured: &Measured) -> String {
    let concurrency = measured.row.concurrency;
    let answers = match measured.upstream {
        UpstreamKind::Fixed if measured.row.work != Work::Paced => "*",
        _ => "",
    };
    match measured.row.work {
        Work::Flood | Work::Paced | Work::Idle => format!("{concurrency} {}{answers}", work_name(measured.row.work)),
        _ => format!("{}, c={concurrency}{answers}", work_name(measured.row.work)),
    }
}

fn work_name(work: Work) -> &'static str {
    match work {
        Work::Unary => "unary Complete",
        Work::Assembled => "unary Complete, upstream streamed",
        Work::Flood => "streams of 200 chunks, flood",
        Work::Paced => "streams of 200 chunks, paced 10 ms",
        Work::Embed => "Embed 32 x 1536",
        Work::EmbedStream => "EmbedStream 32 x 1536",
        Work::Idle => "idle streams",
    }
}

fn number(value: f64) -> String {
    if value < 10.0 {
        format!("{value:.2}")
    } else if value < 100.0 {
        format!("{value:.1}")
    } else {
        format!("{value:.0}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(floor: f64, sealane: f64, aim: Aim, load_bound: bool) -> Line {
        let value = |column, median| Value { column, median, load_bound: load_bound && column == Column::Sealane };
        let values = vec![value(Column::Floor, floor), value(Column::Sealane, sealane)];
        Line { name: String::new(), unit: "us", values, aim: Some(aim), added: false }
    }

    #[test]
    fn verdicts() {
        assert_eq!(line(20.0, 28.0, Aim::TimesFloor(1.5), false).verdict(), "1.40 x floor, met");
        assert_eq!(line(20.0, 45.0, Aim::TimesFloor(1.5), false).verdict(), "2.25 x floor, 50 % too much");
        assert_eq!(line(100.0, 150.0, Aim::FloorPlus(25.0), false).verdict(), "1.50 x floor, 20 % too much");
        assert_eq!(line(0.0, 30.0, Aim::AtMost(25.0), false).verdict(), "20 % too much");
        assert!(line(20.0, 28.0, Aim::TimesFloor(1.5), true).verdict().starts_with("not quoted"));
    }
}
