//! Whether this node can be relied on, as a few atomics that the tasks set and `/readyz` reads.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Bits of one counter. Both are in one word, so that no reader sees one without the other.
const HALF: u32 = 32;
const LOW: u64 = (1 << HALF) - 1;

/// What the node's tasks and its model are doing. Starts as not ready.
#[derive(Debug, Default)]
pub struct Health {
    /// Assigned tasks in the high half, those of them that read in the low half.
    tasks: AtomicU64,
    model_loaded: AtomicBool,
    stopping: AtomicBool,
    only_pages: bool,
}

/// One reason why the node is not ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotReady {
    Stopping,
    ModelNotLoaded,
    NoTask,
    /// So many of the assigned tasks do not read: they restore their state, or something has failed
    /// and they wait to be opened anew.
    Restoring {
        tasks: u64,
    },
}

impl Health {
    pub fn new() -> Self {
        Health::default()
    }

    /// Of a process that only shows pages: it needs neither model nor task to be ready.
    pub fn of_pages() -> Self {
        Health { only_pages: true, ..Health::default() }
    }

    /// So many tasks are this node's, whether they run or not.
    pub fn tasks_assigned(&self, n: u64) {
        self.update(|_, reading| (n, reading));
    }

    /// An assigned task has restored its state and reads its inputs.
    pub fn task_reading(&self) {
        self.update(|assigned, reading| (assigned, reading + 1));
    }

    /// A task that was reading does so no more: it was taken away, or something has failed.
    pub fn task_stopped(&self) {
        self.update(|assigned, reading| (assigned, reading.saturating_sub(1)));
    }

    pub fn model_loaded(&self) {
        self.model_loaded.store(true, Ordering::Release);
    }

    /// The node shuts down: it is not ready any more, though it still answers.
    pub fn stopping(&self) {
        self.stopping.store(true, Ordering::Release);
    }

    /// Tasks assigned to this node, and those of them that read their inputs.
    pub fn tasks(&self) -> (u64, u64) {
        let word = self.tasks.load(Ordering::Acquire);
        (word >> HALF, word & LOW)
    }

    /// All reasons against being ready; none means ready.
    pub fn not_ready(&self) -> Vec<NotReady> {
        let mut reasons = Vec::new();
        if self.stopping.load(Ordering::Acquire) {
            reasons.push(NotReady::Stopping);
        }
        if self.only_pages {
            return reasons;
        }
        if !self.model_loaded.load(Ordering::Acquire) {
            reasons.push(NotReady::ModelNotLoaded);
        }
        match self.tasks() {
            (0, _) => reasons.push(NotReady::NoTask),
            (assigned, reading) if reading < assigned => {
                reasons.push(NotReady::Restoring { tasks: assigned - reading });
            }
            _ => {}
        }
        reasons
    }

    fn update(&self, change: impl Fn(u64, u64) -> (u64, u64)) {
        let mut old = self.tasks.load(Ordering::Acquire);
        loop {
            let (assigned, reading) = change(old >> HALF, old & LOW);
            let new = assigned.min(LOW) << HALF | reading.min(LOW);
            let swap =
                self.tasks.compare_exchange_weak(old, new, Ordering::AcqRel, Ordering::Acquire);
            match swap {
                Ok(_) => return,
                Err(now) => old = now,
            }
        }
    }
}

impl fmt::Display for NotReady {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NotReady::Stopping => f.write_str("the node is shutting down"),
            NotReady::ModelNotLoaded => f.write_str("the model is not loaded yet"),
            NotReady::NoTask => f.write_str("no task is assigned to this node"),
            NotReady::Restoring { tasks } => {
                write!(f, "{tasks} task(s) restore their state, or wait until they can")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ready_node() -> Health {
        let health = Health::new();
        health.model_loaded();
        health.tasks_assigned(1);
        health.task_reading();
        health
    }

    #[test]
    fn a_new_node_says_all_that_it_lacks() {
        assert_eq!(Health::new().not_ready(), [NotReady::ModelNotLoaded, NotReady::NoTask]);
        assert_eq!(ready_node().not_ready(), []);
    }

    #[test]
    fn every_assigned_task_must_read() {
        let health = ready_node();
        health.tasks_assigned(2);
        assert_eq!(health.not_ready(), [NotReady::Restoring { tasks: 1 }]);
        health.task_reading();
        assert_eq!(health.not_ready(), []);
        // One has failed and waits: it is this node's all the same.
        health.task_stopped();
        assert_eq!(health.not_ready(), [NotReady::Restoring { tasks: 1 }]);
        health.tasks_assigned(1);
        assert_eq!(health.not_ready(), []);
        health.tasks_assigned(0);
        assert_eq!(health.not_ready(), [NotReady::NoTask]);
    }

    #[test]
    fn a_partition_that_goes_before_its_task_ends_is_not_miscounted() {
        let health = ready_node();
        health.tasks_assigned(2);
        health.task_reading();
        health.tasks_assigned(1);
        health.task_stopped();
        assert_eq!(health.tasks(), (1, 1));
        health.task_stopped();
        health.task_stopped();
        assert_eq!(health.tasks(), (1, 0));
    }

    #[test]
    fn a_process_that_only_shows_pages_is_ready_until_it_stops() {
        let health = Health::of_pages();
        assert_eq!(health.not_ready(), []);
        health.stopping();
        assert_eq!(health.not_ready(), [NotReady::Stopping]);
    }

    #[test]
    fn a_stopping_node_is_not_ready() {
        let health = ready_node();
        health.stopping();
        assert_eq!(health.not_ready(), [NotReady::Stopping]);
    }
}
