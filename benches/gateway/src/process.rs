//! Child processes pinned to a core, and what the kernel has on account for them.
use std::{
    fs,
    io::{BufRead as _, BufReader},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};

/// A child and its descendants; ended when dropped.
pub(crate) struct Process {
    child: Child,
    /// Run instead of a kill, for programs whose descendants outlive a killed parent.
    stop: Option<Command>,
}

impl Process {
    /// Starts `program` on one core, with the given arguments and environment. Its standard error goes to `log`.
    pub(crate) fn start(
        core: usize,
        program: &Path,
        arguments: &[String],
        environment: &[(&str, &str)],
        log: &Path,
    ) -> Result<Self> {
        let log = fs::File::create(log).with_context(|| format!("cannot write {}", log.display()))?;
        let child = Command::new("taskset")
            .args(["-c", &core.to_string()])
            .arg(program)
            .args(arguments)
            .envs(environment.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .with_context(|| format!("cannot start {} under taskset (util-linux)", program.display()))?;
        Ok(Self { child, stop: None })
    }

    /// Ends this process with a command of its own instead of a kill.
    pub(crate) fn stopped_by(mut self, stop: Command) -> Self {
        self.stop = Some(stop);
        self
    }

    /// The addresses on the first line of its standard output; to be called at most once.
    pub(crate) fn addresses<const COUNT: usize>(&mut self) -> Result<[SocketAddr; COUNT]> {
        let output = self.child.stdout.take().context("the first line was read before")?;
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line)?;
        let addresses: Vec<SocketAddr> = line.split_whitespace().filter_map(|word| word.parse().ok()).collect();
        addresses.try_into().map_err(|_| anyhow::anyhow!("a child ended without saying where it listens"))
    }

    /// Whether it still runs.
    pub(crate) fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Its id and those of its descendants.
    pub(crate) fn tree(&self) -> Tree {
        Tree { root: self.child.id() }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let stopped = self.stop.as_mut().is_some_and(|stop| stop.status().is_ok_and(|status| status.success()));
        if !stopped {
            // Fails only if it has ended already.
            let _ = self.child.kill();
        }
        let _ = self.child.wait();
    }
}

/// A process and its descendants, asked of `/proc`.
#[derive(Clone, Copy)]
pub(crate) struct Tree {
    root: u32,
}

/// Memory of a process tree in KiB.
#[derive(Clone, Copy, Default)]
pub(crate) struct Memory {
    /// Resident now.
    pub(crate) resident: u64,
    /// The most that was ever resident; of several processes the sum of their own peaks.
    pub(crate) peak: u64,
}

impl Tree {
    /// This process itself.
    pub(crate) fn own() -> Self {
        Self { root: std::process::id() }
    }

    /// CPU time that the kernel charged to all its threads so far. The loopback device does the receiver's share of
    /// TCP in the sender's time, so a write is charged to the one who writes.
    pub(crate) fn cpu(self) -> Duration {
        let nanoseconds = self.pids().into_iter().flat_map(threads).filter_map(|thread| {
            fs::read_to_string(thread.join("schedstat")).ok()?.split(' ').next()?.parse::<u64>().ok()
        });
        Duration::from_nanos(nanoseconds.sum())
    }

    /// Resident memory now and at its peak.
    pub(crate) fn memory(self) -> Memory {
        let mut sum = Memory::default();
        for pid in self.pids() {
            let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
            sum.resident += kibibytes(&status, "VmRSS:");
            sum.peak += kibibytes(&status, "VmHWM:");
        }
        sum
    }

    fn pids(self) -> Vec<u32> {
        let parents = parents();
        let mut pids = vec![self.root];
        // Of itself the bench counts no children: they are accounts of their own.
        if self.root != std::process::id() {
            let mut at = 0;
            while let Some(parent) = pids.get(at).copied() {
                pids.extend(parents.iter().filter(|(_, of)| *of == parent).map(|(pid, _)| *pid));
                at += 1;
            }
        }
        pids
    }
}

/// CPU time that all cores together have spent on anything since boot, to a hundredth of a second.
pub(crate) fn machine_cpu() -> Duration {
    let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
    // cpu user nice system idle iowait irq softirq steal ...
    let fields = stat.lines().next().unwrap_or_default().split_whitespace().skip(1);
    let ticks = fields.take(8).enumerate().filter(|(at, _)| *at != 3 && *at != 4);
    Duration::from_millis(10 * ticks.filter_map(|(_, field)| field.parse::<u64>().ok()).sum::<u64>())
}

/// Every process with its parent.
fn parents() -> Vec<(u32, u32)> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter_map(|pid| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // `pid (name) state parent ...`, and the name may hold spaces and brackets.
        let parent = stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse().ok()?;
        Some((pid, parent))
    })
    .collect()
}

fn threads(pid: u32) -> Vec<PathBuf> {
    fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
}

fn kibibytes(status: &str, key: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix(key));
    line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

/// Pins this process to one core.
pub(crate) fn pin_self(core: usize) -> Result<()> {
    let status = Command::new("taskset")
        .args(["-a", "-c", "-p", &core.to_string(), &std::process::id().to_string()])
        .stdout(Stdio::null())
        .status()
        .context("taskset (util-linux) is needed to pin processes to cores")?;
    if !status.success() {
        bail!("cannot pin this process to core {core}");
    }
    Ok(())
}
