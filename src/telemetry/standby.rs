//! What happens to copies of a task's state: restored by its owner, or kept warm by another member.

use std::time::Duration;

use tracing::{debug, info};

use super::happening::count;

/// A task has read what its state lacked of the changelog, and may read its inputs.
#[derive(Clone, Copy, Debug)]
pub struct StateRestored {
    pub task: u32,
    /// The changelog position that the copy found here had reached; 0 if there was none.
    pub from: u64,
    pub records: u64,
    pub took: Duration,
}

/// A warm copy was looked after.
#[derive(Clone, Copy, Debug)]
pub struct StandbyFollowed {
    pub task: u32,
    /// Offsets that it lacked when it was looked at: what a take-over would have had to read. The
    /// marks of transactions are among them.
    pub behind: u64,
}

/// A warm copy has reached its changelog's end for the first time since it was opened.
#[derive(Clone, Copy, Debug)]
pub struct StandbyWarm {
    pub task: u32,
    /// Those that it read for that since it was looked at last.
    pub records: u64,
}

/// A copy is kept warm no more.
#[derive(Clone, Copy, Debug)]
pub struct StandbyEnded<'a> {
    pub task: u32,
    pub why: &'a str,
}

/// How many warm copies this node keeps.
#[derive(Clone, Copy, Debug)]
pub struct StandbysKept(pub usize);

impl StateRestored {
    pub fn emit(&self) {
        let StateRestored { task, from, records, took } = *self;
        info!(task, from, records, ?took, "restored from the changelog");
        count(|metrics| metrics.copies.restored_records.inc_by(records));
    }
}

impl StandbyFollowed {
    pub fn emit(&self) {
        let StandbyFollowed { task, behind } = *self;
        debug!(task, behind, "standby follows the changelog");
        count(|metrics| {
            let gauge = metrics.copies.standby_behind.with_label_values(&[task.to_string()]);
            gauge.set(i64::try_from(behind).unwrap_or(i64::MAX));
        });
    }
}

impl StandbyWarm {
    pub fn emit(&self) {
        info!(task = self.task, records = self.records, "standby is warm");
    }
}

impl StandbyEnded<'_> {
    pub fn emit(&self) {
        info!(task = self.task, "standby ends: {}", self.why);
        // A figure of what is not looked at any more would mislead. That it may not be there yet
        // is no fault.
        count(|metrics| {
            drop(metrics.copies.standby_behind.remove_label_values(&[self.task.to_string()]));
        });
    }
}

impl StandbysKept {
    pub fn emit(&self) {
        count(|metrics| metrics.copies.standbys.set(i64::try_from(self.0).unwrap_or(i64::MAX)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::{Metrics, name};

    fn has(series: &str) -> bool {
        let text = Metrics::global().expect("metrics").render().expect("text");
        text.lines().any(|line| line == series)
    }

    #[test]
    fn what_a_copy_lacks_is_told_as_long_as_it_is_kept() {
        // A task's number that no other test has.
        let series = format!("{}{{task=\"4711\"}} 12", name::STANDBY_BEHIND);
        StandbyFollowed { task: 4711, behind: 12 }.emit();
        assert!(has(&series));
        StandbyEnded { task: 4711, why: "of the test" }.emit();
        assert!(!has(&series));
        StandbysKept(3).emit();
        assert!(has(&format!("{} 3", name::STANDBYS)));
    }
}
