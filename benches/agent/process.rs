//! What /proc tells of a process: memory, processor time, wake-ups, kinship.

use std::time::Duration;

use anyhow::Context as _;

/// Its proportional share of memory in bytes.
pub fn pss(pid: i32) -> anyhow::Result<u64> {
    let rollup = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).with_context(|| format!("process {pid}"))?;
    let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:")).context("smaps_rollup has no Pss")?;
    let kibibytes: u64 = line.trim().trim_end_matches(" kB").trim().parse()?;
    Ok(kibibytes * 1024)
}

/// Processor time used so far and how often its threads woke up (voluntary switches).
#[derive(Clone, Copy)]
pub struct Used {
    pub time: Duration,
    pub wakes: u64,
}

impl Used {
    /// Now. The scheduler's own nanoseconds, since the ticks of `stat` (10 ms) are too coarse for a process at rest.
    pub fn of(pid: i32) -> anyhow::Result<Used> {
        let mut used = Used { time: Duration::ZERO, wakes: 0 };
        for task in std::fs::read_dir(format!("/proc/{pid}/task")).with_context(|| format!("process {pid}"))? {
            let task = task?.path();
            let stat = std::fs::read_to_string(task.join("schedstat"))?;
            used.time += Duration::from_nanos(stat.split(' ').next().context("an empty schedstat")?.parse()?);
            let status = std::fs::read_to_string(task.join("status"))?;
            let wakes = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
            used.wakes += wakes.context("status has no switches")?.trim().parse::<u64>()?;
        }
        Ok(used)
    }

    pub fn since(self, before: Used) -> Used {
        Used { time: self.time.saturating_sub(before.time), wakes: self.wakes.saturating_sub(before.wakes) }
    }
}

pub fn command_line(pid: i32) -> String {
    let bytes = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&bytes).replace('\0', " ")
}
