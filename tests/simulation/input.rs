//! A task's source over the simulated log.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use nowcxr::ids::{Origin, Position, Topic};
use nowcxr::ports::{PortError, Source, SourceRecord};

use crate::ports::Link;
use crate::ward::Truth;
use crate::world::{Defect, Entry, Place};

/// How often a topic that runs ahead is read alone, and how many of its records then.
const AHEAD: f64 = 0.9;
pub const AHEAD_RECORDS: usize = 100;

pub struct Input {
    pub link: Link,
    next: BTreeMap<Topic, u64>,
    paused: BTreeSet<Topic>,
}

impl Input {
    pub fn new(link: Link) -> Self {
        Input { link, next: BTreeMap::new(), paused: BTreeSet::new() }
    }

    fn take(&mut self, topic: Topic, most: usize, into: &mut Vec<SourceRecord>) {
        if self.paused.contains(&topic) {
            return;
        }
        let world = &self.link.world;
        let place = Place::Input(topic, self.link.partition);
        let from = self.next.get(&topic).copied().unwrap_or_default();
        let log = world.log.borrow();
        let records: Vec<(u64, &Entry)> = match world.has(Defect::ReadsUncommitted) {
            true => log.uncommitted(place, from).take(most).collect(),
            false => log.committed(place, from).take(most).collect(),
        };
        let Some(&(last, _)) = records.last() else { return };
        self.next.insert(topic, last + 1);
        for (offset, entry) in records {
            let Entry::Input(logged) = entry else { continue };
            if matches!(&logged.truth, Truth::Fact(fact) if world.loses(&fact.body)) {
                continue;
            }
            into.push(SourceRecord {
                origin: Origin { topic, partition: self.link.partition, offset },
                key: logged.key.clone(),
                value: logged.value.clone(),
                appended_at: Some(logged.appended_at),
            });
        }
    }
}

impl Source for Input {
    fn fetch(
        &mut self,
        max: usize,
        _wait: Duration,
        into: &mut Vec<SourceRecord>,
    ) -> Result<(), PortError> {
        self.link.call()?;
        let world = Rc::clone(&self.link.world);
        let faults = world.faults.get();
        if self.link.revoked.get() {
            return Err(PortError::Reopen("the partition was revoked".into()));
        }
        if world.happens("fetch failed", faults.fetch_error) {
            return Err(PortError::Retry("no broker answers".into()));
        }
        if world.happens("consumer paused", faults.pause) {
            return Ok(());
        }
        if let Some(topic) = faults.ahead.filter(|_| world.chance(AHEAD)) {
            self.take(topic, max.min(AHEAD_RECORDS), into);
            if !into.is_empty() {
                world.count("one topic read ahead");
                return Ok(());
            }
        }
        let mut topics = Topic::ALL;
        world.dice.borrow_mut().shuffle(&mut topics);
        let few = 1 + world.below(4);
        for topic in topics.into_iter().take(few) {
            let most = max.saturating_sub(into.len()).min(1 + world.below(24));
            self.take(topic, most, into);
        }
        // The log is never empty for long: a turn that reads nothing is one at the end.
        if into.is_empty() {
            topics.into_iter().for_each(|topic| self.take(topic, max, into));
        }
        Ok(())
    }

    fn seek(&mut self, positions: &[Position]) -> Result<(), PortError> {
        self.link.call()?;
        self.next = positions.iter().map(|position| (position.topic, position.next)).collect();
        self.paused.clear();
        Ok(())
    }

    fn pause(&mut self, topics: &BTreeSet<Topic>) -> Result<(), PortError> {
        self.link.call()?;
        if !topics.is_empty() {
            self.link.world.count("topics held back");
        }
        self.paused = topics.clone();
        Ok(())
    }
}
