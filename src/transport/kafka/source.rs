//! One task's input: the records of its partition of every input topic, from where its state says.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError};

use super::group::Members;
use super::lane::{Lane, Tagged, lane};
use super::ownership::{Hold, Ownership};
use super::reader::{Command, Reader, ReaderHandle};
use super::settings::{KafkaSettings, QUEUE_RECORDS};
use super::stretch::Stretch;
use super::topics::check_topics;
use crate::ids::{Position, Topic};
use crate::ports::{PortError, Source, SourceRecord};

/// How soon a waiting fetch notices that its partition has gone.
const NOTICE: Duration = Duration::from_millis(50);

/// Records of one or more partitions, in log order within each topic and partition.
pub struct KafkaSource {
    lane: Arc<Lane>,
    members: Option<Arc<Members>>,
    records: Receiver<Tagged>,
    reader: ReaderHandle,
    /// Counts seeks; 0 until the first.
    generation: u64,
    paused: BTreeSet<Topic>,
    /// Records of paused topics that were on their way already. No more than the lane holds, since
    /// the reader sends none after them; if it does, its pause has failed and is asked for again.
    aside: VecDeque<SourceRecord>,
    /// Set where the source has a consumer of its own. Declared last: it ends after the lane.
    _own: Option<Reader>,
}

impl KafkaSource {
    /// Reads `partitions` of every input without being a member of the group. For rebuilds, tests
    /// and the only node there is; nothing keeps another process from reading the same.
    ///
    /// # Errors
    /// Those of [`check_topics`]; `Stop` for a partition that the topics do not have.
    pub fn open(
        settings: &KafkaSettings,
        partitions: impl IntoIterator<Item = u32>,
    ) -> Result<Self, PortError> {
        let partitions: BTreeSet<u32> = partitions.into_iter().collect();
        let count = check_topics(settings)?;
        if let Some(absent) = partitions.iter().find(|&&p| p >= count) {
            return Err(PortError::Stop(format!(
                "kafka partition {absent} was asked for, but the inputs have {count} (0 to {})",
                count - 1
            )));
        }
        KafkaSource::assigned(settings, partitions)
    }

    /// As [`KafkaSource::open`], for topics that are known to be in order.
    pub(super) fn assigned(
        settings: &KafkaSettings,
        partitions: BTreeSet<u32>,
    ) -> Result<Self, PortError> {
        let reader = Reader::start(settings)?;
        let source = KafkaSource::on(reader.handle(), 1, partitions, None)?;
        Ok(KafkaSource { _own: Some(reader), ..source })
    }

    pub(super) fn on(
        reader: ReaderHandle,
        id: u64,
        partitions: BTreeSet<u32>,
        members: Option<Arc<Members>>,
    ) -> Result<Self, PortError> {
        let (lane, records, feeder) = lane(id, partitions);
        reader.send(Command::Add(feeder))?;
        Ok(KafkaSource {
            lane,
            members,
            records,
            reader,
            generation: 0,
            paused: BTreeSet::new(),
            aside: VecDeque::new(),
            _own: None,
        })
    }

    /// Where the inputs of one partition end now.
    ///
    /// # Errors
    /// `Retry` when no broker answers.
    pub fn ends(settings: &KafkaSettings, partition: u32) -> Result<Vec<Position>, PortError> {
        let end = |topic: &Topic| {
            let stretch = Stretch::open(settings, settings.input(*topic), partition)?;
            Ok(Position { topic: *topic, partition, next: stretch.stable_end()? })
        };
        Topic::ALL.iter().map(end).collect()
    }

    /// Whether records lie behind `positions` in the inputs of one partition. Markers of
    /// transactions and what was aborted are none.
    ///
    /// # Errors
    /// `Retry` when no broker answers.
    pub fn has_unread(
        settings: &KafkaSettings,
        partition: u32,
        positions: &[Position],
    ) -> Result<bool, PortError> {
        for topic in Topic::ALL {
            let stretch = Stretch::open(settings, settings.input(topic), partition)?;
            let read = positions.iter().find(|at| (at.topic, at.partition) == (topic, partition));
            let from = read.map_or(0, |at| at.next).max(stretch.start()?);
            let mut is_found = false;
            // One is enough, and an error ends the reading.
            let looked = stretch.read(from, stretch.stable_end()?, &mut |_| {
                is_found = true;
                Err(PortError::Retry(String::new()))
            });
            if is_found {
                return Ok(true);
            }
            looked?;
        }
        Ok(false)
    }

    pub(super) fn lane(&self) -> Weak<Lane> {
        Arc::downgrade(&self.lane)
    }

    /// The partitions whose records come out here.
    pub fn partitions(&self) -> &BTreeSet<u32> {
        &self.lane.partitions
    }

    /// What its task must ask before it goes on.
    pub fn ownership(&self) -> Ownership {
        Ownership::new(Arc::clone(&self.lane), self.members.clone())
    }

    /// Hands out what was put aside and is wanted again, before anything that came after it.
    fn take_back(&mut self, full: usize, into: &mut Vec<SourceRecord>) {
        for record in std::mem::take(&mut self.aside) {
            match into.len() >= full || self.paused.contains(&record.origin.topic) {
                true => self.aside.push_back(record),
                false => into.push(record),
            }
        }
    }

    fn put_aside(&mut self, record: SourceRecord) -> Result<(), PortError> {
        self.aside.push_back(record);
        match self.aside.len() % QUEUE_RECORDS {
            0 => self.ask_for_pause(),
            _ => Ok(()),
        }
    }

    fn ask_for_pause(&self) -> Result<(), PortError> {
        self.reader.send(Command::Pause { lane: self.lane.id, topics: self.paused.clone() })
    }

    fn check_owned(&self) -> Result<(), PortError> {
        if self.lane.hold() == Hold::Lost {
            return Err(PortError::Reopen(format!(
                "partitions {:?} were lost to the consumer group",
                self.lane.partitions
            )));
        }
        Ok(())
    }
}

impl Source for KafkaSource {
    /// # Errors
    /// `Reopen` when the partition was lost; one that is revoked gives no more records. Errors of
    /// the broker come only when there is nothing to hand out, and each once.
    fn fetch(
        &mut self,
        max: usize,
        wait: Duration,
        into: &mut Vec<SourceRecord>,
    ) -> Result<(), PortError> {
        self.check_owned()?;
        if self.generation == 0 {
            self.seek(&[])?;
        }
        let deadline = Instant::now() + wait;
        let full = into.len().saturating_add(max);
        let before = into.len();
        self.take_back(full, into);
        while into.len() < full {
            let left = deadline.saturating_duration_since(Instant::now());
            let patience = if into.len() == before { left.min(NOTICE) } else { Duration::ZERO };
            match self.records.recv_timeout(patience) {
                Ok(tagged) => {
                    self.lane.taken(&tagged.record);
                    if tagged.generation != self.generation {
                        continue;
                    }
                    match self.paused.contains(&tagged.record.origin.topic) {
                        true => self.put_aside(tagged.record)?,
                        false => into.push(tagged.record),
                    }
                }
                Err(RecvTimeoutError::Timeout) if into.len() > before => return Ok(()),
                Err(RecvTimeoutError::Timeout) => {
                    self.check_owned()?;
                    if let Some(trouble) = self.lane.trouble() {
                        return Err(trouble);
                    }
                    if left.is_zero() {
                        return Ok(());
                    }
                }
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(PortError::Reopen(
                        "the kafka reader has ended; open the source anew".to_owned(),
                    ));
                }
            }
        }
        Ok(())
    }

    fn seek(&mut self, positions: &[Position]) -> Result<(), PortError> {
        self.check_owned()?;
        if let Some(foreign) =
            positions.iter().find(|p| !self.lane.partitions.contains(&p.partition))
        {
            return Err(PortError::Stop(format!(
                "the state holds a position of {}/{}, but this source reads partitions {:?}; open \
                 the state with the partitions that it was made with",
                foreign.topic.name(),
                foreign.partition,
                self.lane.partitions
            )));
        }
        self.generation += 1;
        self.paused.clear();
        self.aside.clear();
        self.reader.send(Command::Seek {
            lane: self.lane.id,
            generation: self.generation,
            positions: positions.to_vec(),
        })
    }

    fn pause(&mut self, topics: &BTreeSet<Topic>) -> Result<(), PortError> {
        self.check_owned()?;
        let before = std::mem::replace(&mut self.paused, topics.clone());
        self.ask_for_pause().inspect_err(|_| self.paused = before)
    }
}
