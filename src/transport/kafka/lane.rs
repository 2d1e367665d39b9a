//! The bounded way of one task's records from the reader's thread to the task's.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use rdkafka::Offset;

use super::ownership::Hold;
use super::settings::{QUEUE_BYTES, QUEUE_RECORDS};
use crate::ids::{Position, Topic};
use crate::ports::{PortError, SourceRecord};

/// Between two looks at a full lane.
const LOOK_AGAIN: Duration = Duration::from_millis(1);

/// A record, and the seek after which it was read: what was queued before a seek is not wanted.
pub(super) struct Tagged {
    pub generation: u64,
    pub record: SourceRecord,
}

/// What both ends see. Only the task's end keeps it alive, so the reader knows when the task has
/// let go.
pub(super) struct Lane {
    pub id: u64,
    pub partitions: BTreeSet<u32>,
    /// A [`Hold`], which only ever gets worse.
    hold: AtomicU8,
    queued_bytes: AtomicUsize,
    /// The newest error that has not been told yet; one that needs a person stays.
    trouble: Mutex<Option<PortError>>,
}

/// The reader's end.
pub(super) struct Feeder {
    pub lane: Weak<Lane>,
    pub id: u64,
    pub partitions: BTreeSet<u32>,
    pub generation: u64,
    /// Where to read each partition on; empty until the task has said where it stands.
    pub next: BTreeMap<(Topic, u32), Offset>,
    /// Records that found the lane full. As its partitions are paused then, there are few.
    pub held: VecDeque<Tagged>,
    pub is_paused: bool,
    /// Topics that the task does not want now.
    pub unwanted: BTreeSet<Topic>,
    records: Sender<Tagged>,
}

/// Both ends of a new lane.
pub(super) fn lane(id: u64, partitions: BTreeSet<u32>) -> (Arc<Lane>, Receiver<Tagged>, Feeder) {
    let (records, taken) = bounded(QUEUE_RECORDS);
    let lane = Arc::new(Lane {
        id,
        partitions: partitions.clone(),
        hold: AtomicU8::new(Hold::Ours as u8),
        queued_bytes: AtomicUsize::new(0),
        trouble: Mutex::new(None),
    });
    let feeder = Feeder {
        lane: Arc::downgrade(&lane),
        id,
        partitions,
        generation: 0,
        next: BTreeMap::new(),
        held: VecDeque::new(),
        is_paused: false,
        unwanted: BTreeSet::new(),
        records,
    };
    (lane, taken, feeder)
}

/// What a record takes of the lane's byte bound.
fn weight(record: &SourceRecord) -> usize {
    record.value.len() + record.key.as_ref().map_or(0, |key| key.len())
}

impl Lane {
    pub fn give_up(&self, hold: Hold) {
        self.hold.fetch_max(hold as u8, Ordering::AcqRel);
    }

    pub fn hold(&self) -> Hold {
        match self.hold.load(Ordering::Acquire) {
            0 => Hold::Ours,
            1 => Hold::Revoked,
            _ => Hold::Lost,
        }
    }

    /// Makes room for what the task has taken off.
    pub fn taken(&self, record: &SourceRecord) {
        self.queued_bytes.fetch_sub(weight(record), Ordering::AcqRel);
    }

    pub fn report(&self, trouble: PortError) {
        let mut slot = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        if !matches!(*slot, Some(PortError::Stop(_))) {
            *slot = Some(trouble);
        }
    }

    pub fn trouble(&self) -> Option<PortError> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Feeder {
    /// Starts anew at `positions`; whatever was under way is forgotten.
    pub fn seek(&mut self, generation: u64, positions: &[Position]) {
        self.generation = generation;
        self.held.clear();
        self.is_paused = false;
        self.unwanted.clear();
        self.next.clear();
        for &partition in &self.partitions {
            for topic in Topic::ALL {
                self.next.insert((topic, partition), Offset::Beginning);
            }
        }
        for position in positions {
            let offset = match i64::try_from(position.next) {
                // The first record there is, should the topic have let go of older ones.
                Ok(0) => Offset::Beginning,
                Ok(offset) => Offset::Offset(offset),
                Err(_) => Offset::Offset(i64::MAX),
            };
            if let Some(next) = self.next.get_mut(&(position.topic, position.partition)) {
                *next = offset;
            }
        }
    }

    /// Whether the consumer is to fetch nothing of this topic.
    pub fn holds(&self, topic: Topic) -> bool {
        self.is_paused || self.unwanted.contains(&topic)
    }

    /// Queues the record, waiting up to `patience` for room; then holds it.
    pub fn offer(&mut self, record: SourceRecord, patience: Duration) {
        let next = Offset::Offset(record.origin.offset as i64 + 1);
        self.next.insert((record.origin.topic, record.origin.partition), next);
        let mut tagged = Tagged { generation: self.generation, record };
        if self.held.is_empty() {
            let deadline = Instant::now() + patience;
            loop {
                match self.push(tagged) {
                    Ok(()) => return,
                    Err(back) if Instant::now() < deadline => {
                        tagged = back;
                        thread::sleep(LOOK_AGAIN);
                    }
                    Err(back) => {
                        tagged = back;
                        break;
                    }
                }
            }
        }
        self.held.push_back(tagged);
    }

    /// Queues what is held. True when nothing is held any more and half the lane is free, so that
    /// reading on is worth the fetch that it costs.
    pub fn relieve(&mut self) -> bool {
        while let Some(tagged) = self.held.pop_front() {
            if let Err(back) = self.push(tagged) {
                self.held.push_front(back);
                return false;
            }
        }
        let bytes = self.lane.upgrade().map_or(0, |l| l.queued_bytes.load(Ordering::Acquire));
        self.records.len() <= QUEUE_RECORDS / 2 && bytes <= QUEUE_BYTES / 2
    }

    /// Gives the record back when there is no room. A lane whose task has gone takes everything.
    fn push(&self, tagged: Tagged) -> Result<(), Tagged> {
        let Some(lane) = self.lane.upgrade() else { return Ok(()) };
        if lane.queued_bytes.load(Ordering::Acquire) >= QUEUE_BYTES {
            return Err(tagged);
        }
        let weight = weight(&tagged.record);
        lane.queued_bytes.fetch_add(weight, Ordering::AcqRel);
        self.records.try_send(tagged).map_err(|refused| {
            lane.queued_bytes.fetch_sub(weight, Ordering::AcqRel);
            match refused {
                TrySendError::Full(back) | TrySendError::Disconnected(back) => back,
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::ids::Origin;

    fn record(offset: u64, bytes: usize) -> SourceRecord {
        SourceRecord {
            origin: Origin { topic: Topic::Lab, partition: 0, offset },
            key: None,
            value: Bytes::from(vec![0; bytes]),
            appended_at: None,
        }
    }

    #[test]
    fn a_lane_is_bounded_in_records_and_in_bytes_and_loses_nothing() {
        for (size, fits) in [(1, QUEUE_RECORDS), (QUEUE_BYTES / 4, 4)] {
            let (lane, taken, mut feeder) = lane(1, BTreeSet::from([0]));
            feeder.seek(1, &[]);
            let n = fits as u64 + 3;
            (0..n).for_each(|i| feeder.offer(record(i, size), Duration::ZERO));
            assert_eq!((taken.len(), feeder.held.len()), (fits, 3));
            assert!(!feeder.relieve());
            let mut offsets = Vec::new();
            while let Ok(tagged) = taken.try_recv() {
                lane.taken(&tagged.record);
                offsets.push(tagged.record.origin.offset);
                feeder.relieve();
            }
            assert_eq!(offsets, (0..n).collect::<Vec<_>>());
            assert!(feeder.relieve());
        }
    }

    #[test]
    fn a_seek_starts_unnamed_partitions_at_their_first_record() {
        let (_lane, _taken, mut feeder) = lane(1, BTreeSet::from([2]));
        let known = Position { topic: Topic::Vital, partition: 2, next: 40 };
        let foreign = Position { topic: Topic::Vital, partition: 3, next: 9 };
        feeder.seek(1, &[known, foreign]);
        assert_eq!(feeder.next.len(), Topic::ALL.len());
        assert_eq!(feeder.next[&(Topic::Vital, 2)], Offset::Offset(40));
        assert_eq!(feeder.next[&(Topic::Lab, 2)], Offset::Beginning);
    }

    #[test]
    fn what_needs_a_person_is_not_covered_by_what_passes() {
        let (lane, _taken, _feeder) = lane(1, BTreeSet::new());
        lane.report(PortError::Stop("a".to_owned()));
        lane.report(PortError::Retry("b".to_owned()));
        assert!(matches!(lane.trouble(), Some(PortError::Stop(_))));
        assert!(lane.trouble().is_none());
    }
}
