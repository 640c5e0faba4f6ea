//! What the operating system says of this process, under the names that Prometheus' own clients use. Read from
//! `/proc`, so only on Linux; elsewhere these series are absent.
use std::{
    fs,
    time::{SystemTime, UNIX_EPOCH},
};

use opentelemetry::{KeyValue, metrics::Meter};

use super::{gauge, table, total};

/// The kernel counts in ticks of a hundredth of a second on every architecture that Linux runs on today (proc(5)).
const TICKS_PER_SECOND: f64 = 100.0;

pub(super) fn watch(meter: &Meter) {
    let started = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
    gauge(meter, &table::START_TIME, move |put| put(started, &[]));
    gauge(meter, &table::BUILD_INFO, |put| {
        let by = [
            KeyValue::new("version", env!("CARGO_PKG_VERSION")),
            KeyValue::new("revision", option_env!("SEALANE_REVISION").unwrap_or("unknown")),
            KeyValue::new("rustc", env!("SEALANE_RUSTC")),
        ];
        put(1.0, &by);
    });
    total(meter, &table::CPU, |put| some(put, read("stat").as_deref().and_then(cpu_seconds)));
    for (row, key, unit) in
        [(&table::RESIDENT, "VmRSS:", 1024.0), (&table::VIRTUAL, "VmSize:", 1024.0), (&table::THREADS, "Threads:", 1.0)]
    {
        gauge(meter, row, move |put| {
            some(put, read("status").as_deref().and_then(|text| number_after(text, key)).map(|number| number * unit));
        });
    }
    gauge(meter, &table::MAX_FDS, |put| {
        some(put, read("limits").as_deref().and_then(|text| number_after(text, "Max open files")));
    });
    gauge(meter, &table::OPEN_FDS, |put| {
        // One of them is the folder being read.
        some(put, fs::read_dir("/proc/self/fd").ok().map(|folder| folder.count().saturating_sub(1) as f64));
    });
}

fn some(put: &mut dyn FnMut(f64, &[KeyValue]), value: Option<f64>) {
    if let Some(value) = value {
        put(value, &[]);
    }
}

fn read(file: &str) -> Option<String> {
    fs::read_to_string(format!("/proc/self/{file}")).ok()
}

/// `utime` and `stime`, fields 14 and 15. The second field, the program's name, may hold anything, blanks included.
fn cpu_seconds(stat: &str) -> Option<f64> {
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut fields = after_name.split_ascii_whitespace().skip(11);
    let ticks: f64 = fields.next()?.parse::<f64>().ok()? + fields.next()?.parse::<f64>().ok()?;
    Some(ticks / TICKS_PER_SECOND)
}

/// The first number on the line that begins with `key`.
fn number_after(text: &str, key: &str) -> Option<f64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(key))?;
    rest.split_ascii_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_words_are_understood() {
        let stat = "42 (sea) lane) S 1 42 42 0 -1 4194304 100 0 0 0 250 150 0 0 20 0 5 0 100 1000 200";
        assert_eq!(cpu_seconds(stat), Some(4.0));
        assert_eq!(cpu_seconds("42 (cut"), None);
        assert_eq!(number_after("Name:\tx\nVmRSS:\t  2048 kB\n", "VmRSS:"), Some(2048.0));
        let limits = "Limit  Soft Limit  Hard Limit  Units\nMax open files            1024   524288   files\n";
        assert_eq!(number_after(limits, "Max open files"), Some(1024.0));
        assert_eq!(number_after("Max open files unlimited unlimited files", "Max open files"), None);
    }
}
