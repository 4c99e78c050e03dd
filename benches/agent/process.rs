//! What /proc tells of a process: memory, processor time, wake-ups, kinship.

use std::collections::HashMap;
use std::ffi::OsString;
use std::time::Duration;

use anyhow::Context as _;
use nix::time::{clock_getcpuclockid, clock_gettime};
use nix::unistd::Pid;

/// Its proportional share of memory in bytes.
pub fn pss(pid: i32) -> anyhow::Result<u64> {
    let rollup = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).with_context(|| format!("process {pid}"))?;
    let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:")).context("smaps_rollup has no Pss")?;
    let kibibytes: u64 = line.trim().trim_end_matches(" kB").trim().parse()?;
    Ok(kibibytes * 1024)
}

/// Processor time used so far, and how often each thread woke up (voluntary switches).
pub struct Used {
    time: Duration,
    wakes: HashMap<OsString, u64>,
}

impl Used {
    /// Now. The process' own clock, since the ticks of `stat` (10 ms) are too coarse for a process at rest.
    pub fn of(pid: i32) -> anyhow::Result<Used> {
        let clock = clock_getcpuclockid(Pid::from_raw(pid)).with_context(|| format!("process {pid}"))?;
        let mut used = Used { time: clock_gettime(clock)?.into(), wakes: HashMap::new() };
        for task in std::fs::read_dir(format!("/proc/{pid}/task"))? {
            let task = task?;
            let status = std::fs::read_to_string(task.path().join("status")).unwrap_or_default();
            let wakes = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
            used.wakes.insert(task.file_name(), wakes.unwrap_or("0").trim().parse()?);
        }
        Ok(used)
    }

    /// Time and wake-ups since then. Threads that ended in between are left out of the wake-ups.
    pub fn since(&self, before: &Used) -> (Duration, u64) {
        let new = |(thread, wakes): (&OsString, &u64)| wakes.saturating_sub(before.wakes.get(thread).copied().unwrap_or_default());
        (self.time.saturating_sub(before.time), self.wakes.iter().map(new).sum())
    }
}

pub fn command_line(pid: i32) -> String {
    let bytes = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&bytes).replace('\0', " ")
}
