//! What a person sees while the demo runs: a table that is redrawn in place on a terminal, one line a second elsewhere.
use std::time::Duration;

use console::{Term, style};

use super::{
    traffic::{Kind, Tally},
    world::RegionInfo,
};
use crate::cli::{Output, table::Table};

/// Width of the bar that shows who serves now, in characters.
const BAR: usize = 16;

/// Events kept under the table.
const EVENTS_SHOWN: usize = 12;

/// Draws the state of the demo.
pub(super) struct Board {
    term: Term,
    live: bool,
    drawn: usize,
    /// Events told so far, newest last.
    events: Vec<String>,
}

/// What is drawn.
pub(super) struct Scene<'a> {
    pub(super) elapsed: Duration,
    pub(super) total: Duration,
    pub(super) regions: &'a [RegionInfo],
    pub(super) tally: &'a Tally,
}

impl Board {
    /// On standard output, or on standard error where that is for data.
    pub(super) fn new(output: Output) -> Self {
        let term = if output == Output::Json { Term::stderr() } else { Term::stdout() };
        let live = term.is_term();
        Self { term, live, drawn: 0, events: vec![] }
    }

    /// How often to draw.
    pub(super) fn pace(&self) -> Duration {
        if self.live { Duration::from_millis(200) } else { Duration::from_secs(1) }
    }

    /// Something happened: told at once, and kept under the table.
    pub(super) fn event(&mut self, elapsed: Duration, text: &str) {
        let line = format!("  {:>3} s  {text}", elapsed.as_secs());
        if !self.live {
            self.print(&line);
        }
        self.events.push(line);
    }

    pub(super) fn draw(&mut self, scene: &Scene<'_>) {
        if !self.live {
            self.print(&one_line(scene));
            return;
        }
        let mut lines = vec![String::new(), headline(scene), String::new()];
        lines.extend(regions(scene));
        lines.push(String::new());
        lines.extend(calls(scene.tally));
        lines.push(String::new());
        let told = self.events.len().saturating_sub(EVENTS_SHOWN);
        lines.extend(self.events[told..].iter().cloned());
        // A line that wraps would be two lines to clear.
        let width = usize::from(self.term.size().1);
        let lines: Vec<_> = lines.iter().map(|line| console::truncate_str(line, width, "…")).collect();
        // One write: a terminal that shows half a table flickers.
        let erase = if self.drawn == 0 { String::new() } else { format!("\x1b[{}A\x1b[J", self.drawn) };
        self.print(&format!("{erase}{}", lines.join("\n")));
        self.drawn = lines.len();
    }

    /// A terminal that has gone away is no reason to stop.
    pub(super) fn print(&self, text: &str) {
        let _ = self.term.write_line(text);
    }
}

fn headline(scene: &Scene<'_>) -> String {
    let down: Vec<_> = scene.regions.iter().filter(|region| !region.up).map(|region| region.name.as_str()).collect();
    let state = if down.is_empty() {
        style("all regions are up".to_owned()).green()
    } else {
        style(format!("{} is down", down.join(", "))).red().bold()
    };
    let elapsed = scene.elapsed.min(scene.total).as_secs();
    format!("  {state}   {}", style(format!("{elapsed} s of {} s", scene.total.as_secs())).dim())
}

fn regions(scene: &Scene<'_>) -> Vec<String> {
    let mut table =
        Table::new(&["  region", "role", "simulator", "serves now", "calls", "p50", "p95"]).right(&[4, 5, 6]);
    let now: usize = scene.tally.regions.values().map(|served| served.now()).sum();
    for region in scene.regions {
        let served = scene.tally.regions.get(&region.name);
        let share = served.map_or(0, |served| (served.now() * BAR).checked_div(now).unwrap_or_default());
        let millis = |percent| match served.and_then(|served| served.percentile(percent)) {
            Some(millis) => format!("{millis} ms"),
            None => "-".to_owned(),
        };
        table.row(vec![
            format!("  {}", region.name),
            region.role.to_owned(),
            if region.up { style("● up").green() } else { style("✕ down").red().bold() }.to_string(),
            format!("{}{}", style("█".repeat(share)).cyan(), style("░".repeat(BAR - share)).dim()),
            served.map_or(0, |served| served.calls).to_string(),
            millis(50),
            millis(95),
        ]);
    }
    table.lines()
}

fn calls(tally: &Tally) -> Vec<String> {
    let mut table = Table::new(&["  call", "OK", "failed"]).right(&[1, 2]);
    for kind in Kind::ALL {
        let failed = tally.failed[kind as usize];
        let failed = if failed == 0 { style(failed).dim() } else { style(failed).red().bold() };
        table.row(vec![format!("  {}", kind.name()), tally.ok[kind as usize].to_string(), failed.to_string()]);
    }
    let mut lines = table.lines();
    let rescued = format!("  rescued by another region: {}", tally.rescued);
    lines.push(if tally.rescued > 0 { style(rescued).yellow().to_string() } else { style(rescued).dim().to_string() });
    lines
}

/// For logs and pipes.
fn one_line(scene: &Scene<'_>) -> String {
    let regions = scene.regions.iter().map(|region| {
        let served = scene.tally.regions.get(&region.name);
        let state = if region.up { "up" } else { "DOWN" };
        format!("{} {state}, {} served", region.name, served.map_or(0, |served| served.calls))
    });
    format!(
        "  {:>3} s  {} OK, {} failed, {} rescued | {}",
        scene.elapsed.as_secs(),
        scene.tally.all_ok(),
        scene.tally.all_failed(),
        scene.tally.rescued,
        regions.collect::<Vec<_>>().join(" | ")
    )
}
