//! What this process has used so far, from `/proc`: no clock of a library can tell the processor
//! time of a whole process, and all other figures would depend on the machine's load.

use std::fs;

use anyhow::Context;

/// Processor time of the threads that are alive, in seconds, from the scheduler's nanoseconds.
pub(super) fn cpu_seconds() -> anyhow::Result<f64> {
    let mut sum = 0.0;
    for task in fs::read_dir("/proc/self/task").context("cannot read /proc/self/task")? {
        // A thread may end while we look at it.
        if let Ok(text) = fs::read_to_string(task?.path().join("schedstat")) {
            sum += scheduled_seconds(&text)?;
        }
    }
    Ok(sum)
}

/// Processor time of the calling thread.
pub(super) fn thread_cpu_seconds() -> anyhow::Result<f64> {
    let path = "/proc/thread-self/schedstat";
    scheduled_seconds(&fs::read_to_string(path).with_context(|| format!("cannot read {path}"))?)
}

/// The most memory that this process has held.
pub(super) fn peak_rss_bytes() -> anyhow::Result<u64> {
    let path = "/proc/self/status";
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {path}"))?;
    let kib = text.lines().find_map(|line| {
        line.strip_prefix("VmHWM:")?.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()
    });
    Ok(kib.with_context(|| format!("{path} has no VmHWM"))? * 1024)
}

fn scheduled_seconds(schedstat: &str) -> anyhow::Result<f64> {
    let nanos = schedstat.split_whitespace().next().and_then(|field| field.parse::<u64>().ok());
    Ok(nanos.context("cannot read a thread's schedstat")? as f64 * 1e-9)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_is_seen() {
        let before = thread_cpu_seconds().unwrap();
        let mut x = 1u64;
        while thread_cpu_seconds().unwrap() - before < 0.02 {
            x = std::hint::black_box(x.wrapping_mul(3));
        }
        assert!(cpu_seconds().unwrap() > before);
        assert!(peak_rss_bytes().unwrap() > 1 << 20);
    }
}
