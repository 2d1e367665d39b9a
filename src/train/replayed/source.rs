//! A recording as the loop's input, told as fast as the loop asks and held nowhere: no log, no
//! file. And the ports of a loop that leaves nothing behind.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;

use crate::ids::{Origin, Position, StayId, Topic};
use crate::ports::{Held, Journal, JournalRecord, Outlet, Output, PortError, Source, SourceRecord};
use crate::replay::{Player, RejectedRow, ReplaySink, Step};
use crate::time::{EventTime, WallTime};
use crate::wire::Codec;

/// The loop's source: each fetch lets the player tell so many records.
pub(super) struct Told<'a> {
    player: Player<'a>,
    queue: Queue,
}

/// What was told and not yet fetched: at most one item's records more than a fetch asked for.
#[derive(Default)]
struct Queue {
    records: VecDeque<SourceRecord>,
    next: BTreeMap<Topic, u64>,
    /// The replay's clock, which stamps what is told.
    now: Option<WallTime>,
}

impl<'a> Told<'a> {
    pub(super) fn new(player: Player<'a>) -> Self {
        Told { player, queue: Queue::default() }
    }
}

impl Queue {
    fn push(&mut self, topic: Topic, key: Option<String>, value: &[u8]) {
        let next = self.next.entry(topic).or_default();
        self.records.push_back(SourceRecord {
            origin: Origin { topic, partition: 0, offset: *next },
            key: key.map(Bytes::from),
            value: Bytes::copy_from_slice(value),
            appended_at: self.now,
        });
        *next += 1;
    }
}

impl ReplaySink for Queue {
    fn tick(&mut self, now: EventTime) {
        self.now = Some(WallTime::from_millis(now.as_millis()));
    }

    fn append(&mut self, topic: Topic, stay: StayId, record: &[u8]) -> Result<(), PortError> {
        self.push(topic, Some(Codec::key(stay)), record);
        Ok(())
    }

    fn mark(&mut self, topic: Topic, record: &[u8]) -> Result<(), PortError> {
        self.push(topic, None, record);
        Ok(())
    }

    /// The reconciliation of a replay counts these; a sample cannot be made of them.
    fn reject(&mut self, _row: &RejectedRow) -> Result<(), PortError> {
        Ok(())
    }

    /// Labels never go through the engine; they are read beside it.
    fn label(&mut self, _stay: StayId, _record: &[u8]) -> Result<(), PortError> {
        Ok(())
    }
}

impl Source for Told<'_> {
    fn fetch(
        &mut self,
        max: usize,
        _wait: Duration,
        into: &mut Vec<SourceRecord>,
    ) -> Result<(), PortError> {
        let stopped = |error: crate::replay::ReplayError| PortError::Stop(error.to_string());
        while self.queue.records.len() < max {
            let step = self.player.step(&mut self.queue, Duration::MAX).map_err(stopped)?;
            if step == Step::Done {
                break;
            }
        }
        let n = max.min(self.queue.records.len());
        into.extend(self.queue.records.drain(..n));
        Ok(())
    }

    /// Only to where the telling stands: what was told cannot be told again.
    fn seek(&mut self, positions: &[Position]) -> Result<(), PortError> {
        let stands = |p: &Position| {
            let waiting = self.queue.records.iter().filter(|r| r.origin.topic == p.topic).count();
            self.queue.next.get(&p.topic).copied().unwrap_or(0) == p.next + waiting as u64
        };
        if positions.iter().all(stands) {
            return Ok(());
        }
        Err(PortError::Stop("a replay for training cannot go back; start it again".to_owned()))
    }
}

/// An outlet that keeps nothing: a recorded answer says nothing to anyone.
pub(super) struct Nowhere(u64);

impl Nowhere {
    pub(super) fn new() -> Self {
        Nowhere(0)
    }
}

impl Outlet for Nowhere {
    fn last_number(&self) -> u64 {
        self.0
    }

    fn held(&self) -> Result<Held, PortError> {
        Ok(Held::default())
    }

    fn send(&mut self, outputs: &[Output]) -> Result<(), PortError> {
        self.0 = outputs.last().map_or(self.0, |last| last.number.max(self.0));
        Ok(())
    }
}

/// A journal of a run that is never resumed.
pub(super) struct Forgetful;

impl Journal for Forgetful {
    fn append(&mut self, _records: &[JournalRecord]) -> Result<(), PortError> {
        Ok(())
    }

    fn read(&mut self, _visit: &mut dyn FnMut(JournalRecord)) -> Result<(), PortError> {
        Ok(())
    }
}
