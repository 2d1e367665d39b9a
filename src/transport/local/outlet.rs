//! The output side of the port: one topic for each kind of output, appended under (task, number).
//!
//! Numbers count over all kinds of a task. Each record also says up to which number everything
//! was durable when it was sent. So on open the outlet knows where the last complete send ended,
//! and reads only what came after it to find the last number of which none is missing before.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;

use super::Clock;
use super::error::LogError;
use super::frame::{NewRecord, Record};
use super::log::LocalLog;
use super::partition::Partition;
use super::reader::LogReader;
use crate::ids::{Digest, StayId};
use crate::ports::{Held, Outlet, Output, OutputKind, PortError};
use crate::time::WallTime;

const KINDS: [OutputKind; 4] =
    [OutputKind::Risk, OutputKind::Alert, OutputKind::DeadLetter, OutputKind::View];

/// The topic that outputs of `kind` go to.
pub const fn topic_of_kind(kind: OutputKind) -> &'static str {
    match kind {
        OutputKind::Risk => "risk",
        OutputKind::Alert => "alert",
        OutputKind::DeadLetter => "dead_letter",
        OutputKind::View => "view",
    }
}

/// Writes the outputs of one task to a local log.
pub struct LocalOutlet {
    topics: Vec<(OutputKind, Arc<Partition>)>,
    task: u32,
    clock: Clock,
    last: u64,
}

/// An output read back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredOutput {
    pub number: u64,
    pub stay: Option<StayId>,
    /// Confluent-framed Avro.
    pub payload: Bytes,
    /// JSON.
    pub envelope: Bytes,
    pub appended_at: WallTime,
}

/// The outputs of one kind that a task has sent, in order. With a log that is open for reading
/// only, those that stand there at this moment.
pub fn outputs(
    log: &LocalLog,
    kind: OutputKind,
    task: u32,
) -> Result<impl Iterator<Item = Result<StoredOutput, LogError>> + use<>, LogError> {
    let partition = log.partition(topic_of_kind(kind), task)?;
    let empty = partition.end() == 0;
    let mut reader = if empty { None } else { Some(partition.reader(partition.start())?) };
    Ok(std::iter::from_fn(move || {
        let record = reader.as_mut()?.read();
        if record.is_err() {
            // The error is the last item: what follows a damaged record cannot be read.
            reader = None;
        }
        record.transpose().map(|record| record.map(StoredOutput::of))
    }))
}

impl StoredOutput {
    fn of(record: Record) -> Self {
        let stay = record.key.and_then(|key| std::str::from_utf8(&key).ok()?.parse().ok());
        let floor_bytes = size_of::<u64>().min(record.headers.len());
        StoredOutput {
            number: record.sequence,
            stay: stay.map(StayId),
            payload: record.value,
            envelope: record.headers.slice(floor_bytes..),
            appended_at: record.appended_at,
        }
    }
}

impl LocalOutlet {
    /// Opens the output topics of `task`; `clock` stamps what is sent.
    pub fn open(log: &LocalLog, task: u32, clock: Clock) -> Result<Self, LogError> {
        let topic = |kind| Ok((kind, log.partition(topic_of_kind(kind), task)?));
        let topics: Vec<_> = KINDS.into_iter().map(topic).collect::<Result<_, LogError>>()?;
        let last = last_complete(&topics)?;
        Ok(LocalOutlet { topics, task, clock, last })
    }

    /// Appends the outputs of one kind; false if there are none.
    fn append(
        &self,
        kind: OutputKind,
        partition: &Partition,
        outputs: &[Output],
        at: WallTime,
    ) -> Result<bool, LogError> {
        let of_kind: Vec<&Output> =
            outputs.iter().filter(|o| o.kind == kind && o.number > self.last).collect();
        let floor = self.last.to_le_bytes();
        let headers: Vec<Vec<u8>> =
            of_kind.iter().map(|output| [&floor[..], &output.envelope].concat()).collect();
        let keys: Vec<Option<String>> =
            of_kind.iter().map(|output| output.stay.map(|stay| stay.to_string())).collect();
        let records: Vec<NewRecord<'_>> = of_kind
            .iter()
            .zip(&headers)
            .zip(&keys)
            .map(|((output, headers), key)| NewRecord {
                writer: u64::from(self.task),
                sequence: output.number,
                key: key.as_ref().map(|key| key.as_bytes()),
                headers,
                value: &output.payload,
            })
            .collect();
        if !records.is_empty() {
            partition.append_batch(&records, at)?;
        }
        Ok(!records.is_empty())
    }
}

impl LocalOutlet {
    fn read_all(&self) -> Result<Held, LogError> {
        let (mut held, mut highest) = (Held::default(), 0);
        for (_, partition) in &self.topics {
            if partition.end() == 0 {
                continue;
            }
            let mut reader = partition.reader(partition.start())?;
            while let Some(record) = reader.read()? {
                held.payloads.insert(Digest::of(&record.value));
                let output = StoredOutput::of(record);
                if output.number > highest {
                    highest = output.number;
                    held.newest_envelope = Some(output.envelope.to_vec());
                }
            }
        }
        Ok(held)
    }
}

impl Outlet for LocalOutlet {
    fn held(&self) -> Result<Held, PortError> {
        Ok(self.read_all()?)
    }

    fn last_number(&self) -> u64 {
        self.last
    }

    fn send(&mut self, outputs: &[Output]) -> Result<(), PortError> {
        let at = (self.clock)();
        let mut touched = Vec::new();
        for (kind, partition) in &self.topics {
            if self.append(*kind, partition, outputs, at)? {
                touched.push(partition);
            }
        }
        for partition in touched {
            partition.sync()?;
        }
        self.last = outputs.iter().map(|o| o.number).max().map_or(self.last, |n| n.max(self.last));
        Ok(())
    }
}

/// The highest number up to which the topics hold every output.
fn last_complete(topics: &[(OutputKind, Arc<Partition>)]) -> Result<u64, LogError> {
    let mut floor = 0;
    for (_, partition) in topics {
        let mut reader = partition.reader(partition.mark_before(partition.end()))?;
        while let Some(record) = reader.read()? {
            floor = floor.max(floor_of(&record));
        }
    }
    let mut above = BTreeSet::new();
    for (_, partition) in topics {
        let mut from = partition.end();
        while from > partition.start() {
            let until = from;
            from = partition.mark_before(from);
            let reader = partition.reader(from)?;
            if !collect_above(reader, until, floor, &mut above)? {
                break;
            }
        }
    }
    let gap = (floor + 1..).find(|number| !above.contains(number));
    Ok(gap.map_or(floor, |gap| gap - 1))
}

/// Adds the numbers above `floor` before offset `until`; whether all of them are above it, so
/// that there may be more before.
fn collect_above(
    mut reader: LogReader,
    until: u64,
    floor: u64,
    above: &mut BTreeSet<u64>,
) -> Result<bool, LogError> {
    let mut all = true;
    while reader.next_offset() < until {
        let Some(record) = reader.read()? else { break };
        match record.sequence > floor {
            true => drop(above.insert(record.sequence)),
            false => all = false,
        }
    }
    Ok(all)
}

fn floor_of(record: &Record) -> u64 {
    record.headers.first_chunk().map_or(0, |floor| u64::from_le_bytes(*floor))
}
