//! What this process has used so far, from `/proc`: no clock of a library can tell the processor
//! time of a whole process, and all other figures would depend on the machine's load.

use std::fs;

use anyhow::Context;

/// Clock ticks of `/proc`, a second (`USER_HZ`): the same on every Linux that Rust runs on.
const TICKS: f64 = 100.0;

/// Processor time of the process so far, in seconds.
///
/// Linux tells it twice without a system call: summed over the living threads in nanoseconds, and
/// for all threads that ever were in ticks of 10 ms, rounded down. Neither is too high, so the
/// greater one is the better.
pub(super) fn cpu_seconds() -> anyhow::Result<f64> {
    std::thread::yield_now();
    let mut living = 0.0;
    for task in fs::read_dir("/proc/self/task").context("cannot read /proc/self/task")? {
        // A thread may end while we look at it.
        if let Ok(text) = fs::read_to_string(task?.path().join("schedstat")) {
            living += scheduled_seconds(&text)?;
        }
    }
    let fields = stat_fields()?;
    let ever = number(&fields, USER_TIME)? + number(&fields, SYSTEM_TIME)?;
    Ok(living.max(ever / TICKS))
}

/// Processor time of the calling thread. Giving way first makes the scheduler book what it has run
/// since the last tick.
pub(super) fn thread_cpu_seconds() -> anyhow::Result<f64> {
    std::thread::yield_now();
    let path = "/proc/thread-self/schedstat";
    scheduled_seconds(&fs::read_to_string(path).with_context(|| format!("cannot read {path}"))?)
}

/// Wall time since the kernel started this process, in seconds; at most one tick too long.
pub(super) fn seconds_since_start() -> anyhow::Result<f64> {
    let path = "/proc/uptime";
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {path}"))?;
    let now: f64 = text.split_whitespace().next().and_then(|s| s.parse().ok()).context(path)?;
    Ok((now - number(&stat_fields()?, START_TIME)? / TICKS).max(0.0))
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

/// Places of the fields of `/proc/self/stat` behind the program's name (proc(5) counts from 1 and
/// with the two before).
const USER_TIME: usize = 14 - 3;
const SYSTEM_TIME: usize = 15 - 3;
const START_TIME: usize = 22 - 3;

/// The fields behind the program's name, which may hold spaces and parentheses itself.
fn stat_fields() -> anyhow::Result<Vec<String>> {
    let path = "/proc/self/stat";
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {path}"))?;
    let (_, fields) = text.rsplit_once(") ").with_context(|| format!("{path} has no name"))?;
    Ok(fields.split_whitespace().map(str::to_owned).collect())
}

fn number(fields: &[String], place: usize) -> anyhow::Result<f64> {
    let field = fields.get(place).and_then(|field| field.parse().ok());
    field.with_context(|| format!("/proc/self/stat has no number in field {}", place + 3))
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

    #[test]
    fn a_thread_that_has_ended_still_counts() {
        let before = cpu_seconds().unwrap();
        let worker = std::thread::spawn(|| {
            let start = thread_cpu_seconds().unwrap();
            let mut x = 1u64;
            while thread_cpu_seconds().unwrap() - start < 0.1 {
                x = std::hint::black_box(x.wrapping_mul(3));
            }
        });
        worker.join().unwrap();
        assert!(cpu_seconds().unwrap() - before > 0.05);
    }

    #[test]
    fn the_process_has_an_age() {
        let first = seconds_since_start().unwrap();
        std::thread::sleep(std::time::Duration::from_millis(50));
        let later = seconds_since_start().unwrap();
        assert!(later - first > 0.02 && later < 24.0 * 3_600.0, "{first} {later}");
    }
}
