//! The task's journal as a topic of the local log.

use std::sync::Arc;

use super::Clock;
use super::error::LogError;
use super::frame::{NewRecord, Record};
use super::log::LocalLog;
use super::partition::Partition;
use crate::ids::Position;
use crate::ports::{Journal, JournalRecord, PortError};
use crate::store::keys::{topic_code, topic_of};

const TOPIC: &str = "journal";
/// Topic, partition and next offset.
const POSITION_BYTES: usize = 1 + 4 + 8;

/// What entered a task's engine and came from no input topic.
pub struct LocalJournal {
    partition: Arc<Partition>,
    task: u32,
    clock: Clock,
}

impl LocalJournal {
    /// Opens the journal of `task`; `clock` stamps what is appended.
    pub fn open(log: &LocalLog, task: u32, clock: Clock) -> Result<Self, LogError> {
        Ok(LocalJournal { partition: log.partition(TOPIC, task)?, task, clock })
    }

    /// How many records are durable. The store tells how many its commits have carried
    /// ([`crate::ports::Opened::journal`]); those beyond it are stepped again after a crash.
    pub fn len(&self) -> u64 {
        self.partition.end()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Journal for LocalJournal {
    /// Durable on return.
    fn append(&mut self, records: &[JournalRecord]) -> Result<(), PortError> {
        if records.is_empty() {
            return Ok(());
        }
        let first = self.partition.last_sequence(u64::from(self.task)).unwrap_or(0) + 1;
        let headers: Vec<Vec<u8>> = records.iter().map(|r| encode(&r.after)).collect();
        let new: Vec<NewRecord<'_>> = records
            .iter()
            .zip(&headers)
            .zip(first..)
            .map(|((record, headers), sequence)| NewRecord {
                writer: u64::from(self.task),
                sequence,
                key: None,
                headers,
                value: &record.input,
            })
            .collect();
        // A retry must not find the first attempt waiting: these sequences are ours to choose.
        self.partition.append_durable(&new, (self.clock)())?;
        Ok(())
    }

    fn read(&mut self, visit: &mut dyn FnMut(JournalRecord)) -> Result<(), PortError> {
        let mut reader = self.partition.reader(self.partition.start())?;
        while let Some(record) = reader.read()? {
            visit(decode(&record).ok_or_else(|| {
                let (offset, name) = (record.offset, self.partition.name());
                LogError::Refused(format!("record {offset} of {name} is no journal record"))
            })?);
        }
        Ok(())
    }
}

fn encode(positions: &[Position]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(positions.len() * POSITION_BYTES);
    for position in positions {
        bytes.push(topic_code(position.topic));
        bytes.extend_from_slice(&position.partition.to_le_bytes());
        bytes.extend_from_slice(&position.next.to_le_bytes());
    }
    bytes
}

fn decode(record: &Record) -> Option<JournalRecord> {
    let (positions, rest) = record.headers.as_chunks::<POSITION_BYTES>();
    if !rest.is_empty() {
        return None;
    }
    let position = |bytes: &[u8; POSITION_BYTES]| {
        let [topic, p0, p1, p2, p3, next @ ..] = *bytes;
        let partition = u32::from_le_bytes([p0, p1, p2, p3]);
        Some(Position { topic: topic_of(topic)?, partition, next: u64::from_le_bytes(next) })
    };
    let after = positions.iter().map(position).collect::<Option<_>>()?;
    Some(JournalRecord { after, input: record.value.to_vec() })
}
