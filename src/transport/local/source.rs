//! The input side of the port: several topics, one partition, read as one stream.
//!
//! Each fetch takes the record that was appended first among the heads of the topics, as Kafka
//! Streams picks the partition whose next record has the lowest timestamp. The engine's output
//! does not depend on that; its memory does, because a topic read ahead waits in the state.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::error::LogError;
use super::log::{LocalLog, Wake};
use super::partition::Partition;
use super::reader::LogReader;
use crate::ids::{Origin, Position, Topic};
use crate::ports::{PortError, Source, SourceRecord};
use crate::time::WallTime;

/// Records taken from one topic before topics of the same append time have their turn.
const RUN: usize = 64;

/// The input topics of one task in a local log.
#[derive(Debug)]
pub struct LocalSource {
    topics: Vec<Cursor>,
    number: u32,
    wake: Arc<Wake>,
    /// Counts runs, so that among equals the topic served longest ago comes first.
    runs: u64,
}

#[derive(Debug)]
struct Cursor {
    topic: Topic,
    is_paused: bool,
    partition: Arc<Partition>,
    reader: LogReader,
    served: u64,
}

impl LocalSource {
    /// Reads partition `number` of `topics` from their first records.
    pub fn open(log: &LocalLog, topics: &[Topic], number: u32) -> Result<Self, LogError> {
        let cursor = |topic: &Topic| {
            let partition = log.partition(topic.name(), number)?;
            let reader = partition.reader(partition.start())?;
            Ok(Cursor { topic: *topic, is_paused: false, partition, reader, served: 0 })
        };
        let topics = topics.iter().map(cursor).collect::<Result<_, LogError>>()?;
        Ok(LocalSource { topics, number, wake: log.wake(), runs: 0 })
    }

    /// The positions after what has been fetched.
    pub fn positions(&self) -> Vec<Position> {
        let position = |cursor: &Cursor| Position {
            topic: cursor.topic,
            partition: self.number,
            next: cursor.reader.next_offset(),
        };
        self.topics.iter().map(position).collect()
    }

    /// Takes what is there, up to `max`.
    fn take(&mut self, max: usize, into: &mut Vec<SourceRecord>) -> Result<(), LogError> {
        let full = into.len().saturating_add(max);
        while into.len() < full {
            let Some((first, until)) = self.choose()? else { return Ok(()) };
            self.runs += 1;
            let number = self.number;
            let Some(cursor) = self.topics.get_mut(first) else { return Ok(()) };
            cursor.served = self.runs;
            let end = full.min(into.len() + RUN);
            while into.len() < end {
                into.extend(cursor.read(number)?);
                match cursor.reader.peek_time()? {
                    Some(time) if until.is_none_or(|until| time <= until) => {}
                    _ => break,
                }
            }
        }
        Ok(())
    }

    /// The topic whose next record was appended first, and the append time of the next other
    /// head, up to which the topic may be read on.
    fn choose(&mut self) -> Result<Option<(usize, Option<WallTime>)>, LogError> {
        let mut best: Option<(WallTime, u64, usize)> = None;
        let mut other: Option<WallTime> = None;
        for (i, cursor) in self.topics.iter_mut().enumerate().filter(|(_, c)| !c.is_paused) {
            let Some(time) = cursor.reader.peek_time()? else { continue };
            let head = (time, cursor.served, i);
            let passed = match best {
                Some(leader) if leader < head => Some(head),
                _ => best.replace(head),
            };
            let passed = passed.map(|(time, ..)| time);
            other = other.into_iter().chain(passed).min();
        }
        Ok(best.map(|(_, _, i)| (i, other)))
    }
}

impl Cursor {
    fn read(&mut self, number: u32) -> Result<Option<SourceRecord>, LogError> {
        let topic = self.topic;
        let record = self.reader.read()?.map(|record| SourceRecord {
            origin: Origin { topic, partition: number, offset: record.offset },
            key: record.key,
            value: record.value,
            appended_at: Some(record.appended_at),
        });
        Ok(record)
    }
}

impl Source for LocalSource {
    fn fetch(
        &mut self,
        max: usize,
        wait: Duration,
        into: &mut Vec<SourceRecord>,
    ) -> Result<(), PortError> {
        let before = into.len();
        let began = Instant::now();
        loop {
            let seen = self.wake.generation();
            self.take(max, into)?;
            let left = wait.saturating_sub(began.elapsed());
            if into.len() > before || left.is_zero() || max == 0 {
                return Ok(());
            }
            self.wake.wait(seen, left);
        }
    }

    fn seek(&mut self, positions: &[Position]) -> Result<(), PortError> {
        for cursor in &mut self.topics {
            let named = |p: &&Position| p.topic == cursor.topic && p.partition == self.number;
            let position = positions.iter().find(named);
            let position = position.map_or(cursor.partition.start(), |position| position.next);
            cursor.reader = cursor.partition.reader(position)?;
            cursor.is_paused = false;
        }
        Ok(())
    }

    fn pause(&mut self, topics: &BTreeSet<Topic>) -> Result<(), PortError> {
        for cursor in &mut self.topics {
            cursor.is_paused = topics.contains(&cursor.topic);
        }
        Ok(())
    }
}
