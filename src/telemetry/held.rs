//! Topics that a task does not read, because they are ahead of the others.

use std::collections::BTreeSet;
use std::time::Duration;

use tracing::info;

use super::happening::count;
use crate::ids::Topic;

/// Too many facts wait for the watermark: topics that are ahead are not read for a while.
#[derive(Clone, Copy, Debug)]
pub struct TopicsHeldBack<'a> {
    pub task: u32,
    pub topics: &'a BTreeSet<Topic>,
    /// Facts that wait.
    pub waiting: usize,
}

/// All topics are read again.
#[derive(Clone, Copy, Debug)]
pub struct TopicsLetGo {
    pub task: u32,
    pub held_for: Duration,
    pub waiting: usize,
}

impl TopicsHeldBack<'_> {
    pub fn emit(&self) {
        let topics: Vec<&str> = self.topics.iter().map(|topic| topic.name()).collect();
        let (task, waiting, topics) = (self.task, self.waiting, topics.join(","));
        info!(task, waiting, topics, "topics that are ahead are held back");
        count(|metrics| {
            let held = &metrics.held;
            held.topics.with_label_values(&[task.to_string()]).set(self.topics.len() as i64);
            held.times.inc();
        });
    }
}

impl TopicsLetGo {
    pub fn emit(&self) {
        let held_ms = self.held_for.as_millis() as u64;
        let (task, waiting) = (self.task, self.waiting);
        info!(task, waiting, held_ms, "topics that were held back are read again");
        count(|metrics| {
            metrics.held.topics.with_label_values(&[task.to_string()]).set(0);
            metrics.held.time.observe(self.held_for.as_secs_f64());
        });
    }
}
