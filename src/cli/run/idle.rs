//! When `run --until-idle` may end: nothing was done for that long, and nothing is left to read.
//! Each task says so itself, since one that is in the middle of a long commit is silent, too. And a
//! broker that is slow to hand out records looks as one that has none, so its ends are asked for.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// What the tasks of a process tell of themselves. Without a limit it is never over.
pub struct Idleness {
    until: Option<Duration>,
    seen: Mutex<Seen>,
}

struct Seen {
    active: Instant,
    /// How often something was done.
    generation: u64,
    /// Partitions that have been read to their ends since.
    read_out: BTreeSet<u32>,
}

impl Idleness {
    pub fn new(until: Option<Duration>) -> Self {
        Idleness {
            until,
            seen: Mutex::new(Seen {
                active: Instant::now(),
                generation: 0,
                read_out: BTreeSet::new(),
            }),
        }
    }

    /// Something was done just now.
    pub fn active(&self) {
        if self.until.is_some() {
            let mut seen = self.lock();
            let generation = seen.generation + 1;
            *seen = Seen { active: Instant::now(), generation, read_out: BTreeSet::new() };
        }
    }

    /// Whether it is time for the task of `partition` to see whether it has read everything; then
    /// what [`Idleness::read_out`] wants to know of when it began to look.
    pub fn asks(&self, partition: u32) -> Option<u64> {
        let (until, seen) = (self.until?, self.lock());
        let is_time = seen.active.elapsed() >= until && !seen.read_out.contains(&partition);
        is_time.then_some(seen.generation)
    }

    /// The task of `partition` has read everything that there is. A look that was begun before
    /// something was done, by whichever task, counts for nothing.
    pub fn read_out(&self, partition: u32, asked: u64) {
        let mut seen = self.lock();
        if seen.generation == asked {
            seen.read_out.insert(partition);
        }
    }

    /// Whether all of them have, and have done nothing since.
    pub fn is_over(&self, partitions: &BTreeSet<u32>) -> bool {
        !partitions.is_empty() && partitions.is_subset(&self.lock().read_out)
    }

    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_over_when_every_partition_was_read_out_and_nothing_was_done_since() {
        let idleness = Idleness::new(Some(Duration::ZERO));
        let owned = BTreeSet::from([0, 1]);
        let first = idleness.asks(0).unwrap();
        assert!(!idleness.is_over(&owned));
        idleness.read_out(0, first);
        assert!(idleness.asks(0).is_none() && !idleness.is_over(&owned));
        idleness.read_out(1, idleness.asks(1).unwrap());
        assert!(idleness.is_over(&owned) && !idleness.is_over(&BTreeSet::new()));
        idleness.active();
        idleness.read_out(0, first);
        assert!(idleness.asks(0).is_some_and(|asked| asked > first), "an old look");
        assert!(!idleness.is_over(&owned));
    }

    #[test]
    fn nobody_is_asked_before_the_time_or_without_a_limit() {
        assert!(Idleness::new(Some(Duration::from_secs(600))).asks(0).is_none());
        assert!(Idleness::new(None).asks(0).is_none());
    }
}
