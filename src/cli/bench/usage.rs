//! What this process has used so far: processor time from the kernel's clocks, the rest from
//! `/proc`.

use std::fs;

use anyhow::Context;
use rustix::time::{ClockId, clock_gettime};

/// Clock ticks of `/proc`, a second (`USER_HZ`): the same on every Linux that Rust runs on.
const TICKS: f64 = 100.0;

/// Processor time of the process so far, in seconds: of the living threads and of those that ended.
pub(super) fn cpu_seconds() -> f64 {
    seconds(ClockId::ProcessCPUTime)
}

/// Processor time of the calling thread, in seconds; never more than the process's over the same
/// stretch.
pub(super) fn thread_cpu_seconds() -> f64 {
    seconds(ClockId::ThreadCPUTime)
}

fn seconds(clock: ClockId) -> f64 {
    let time = clock_gettime(clock);
    time.tv_sec as f64 + time.tv_nsec as f64 * 1e-9
}

/// Wall time since the kernel started this process, in seconds; at most one tick too long.
pub(super) fn seconds_since_start() -> anyhow::Result<f64> {
    let (uptime, stat) = ("/proc/uptime", "/proc/self/stat");
    let text = fs::read_to_string(uptime).with_context(|| format!("cannot read {uptime}"))?;
    let now: f64 = text.split_whitespace().next().and_then(|s| s.parse().ok()).context(uptime)?;
    let text = fs::read_to_string(stat).with_context(|| format!("cannot read {stat}"))?;
    // The program's name, in parentheses, may hold spaces and parentheses itself.
    let fields = text.rsplit_once(") ").map(|(_, fields)| fields.split_whitespace());
    let began: f64 = fields
        .and_then(|mut fields| fields.nth(START_TIME)?.parse().ok())
        .with_context(|| format!("{stat} has no start time"))?;
    Ok((now - began / TICKS).max(0.0))
}

/// The place of the start time behind the program's name (proc(5) counts from 1 and with the two
/// before).
const START_TIME: usize = 22 - 3;

/// The most memory that this process has held.
pub(super) fn peak_rss_bytes() -> anyhow::Result<u64> {
    let path = "/proc/self/status";
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {path}"))?;
    let kib = text.lines().find_map(|line| {
        line.strip_prefix("VmHWM:")?.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()
    });
    Ok(kib.with_context(|| format!("{path} has no VmHWM"))? * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_is_seen() {
        let before = thread_cpu_seconds();
        let mut x = 1u64;
        while thread_cpu_seconds() - before < 0.02 {
            x = std::hint::black_box(x.wrapping_mul(3));
        }
        assert!(cpu_seconds() > before);
        assert!(peak_rss_bytes().unwrap() > 1 << 20);
    }

    #[test]
    fn a_thread_that_has_ended_still_counts() {
        let before = cpu_seconds();
        let worker = std::thread::spawn(|| {
            let start = thread_cpu_seconds();
            let mut x = 1u64;
            while thread_cpu_seconds() - start < 0.1 {
                x = std::hint::black_box(x.wrapping_mul(3));
            }
        });
        worker.join().unwrap();
        assert!(cpu_seconds() - before > 0.05);
    }

    #[test]
    fn the_process_has_an_age() {
        let first = seconds_since_start().unwrap();
        std::thread::sleep(std::time::Duration::from_millis(50));
        let later = seconds_since_start().unwrap();
        assert!(later - first > 0.02 && later < 24.0 * 3_600.0, "{first} {later}");
    }
}
