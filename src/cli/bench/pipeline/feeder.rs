//! Appends a made-up ward to a local log, at once or as its schedule says. The schedule does not
//! wait for the pipeline: a record that comes late because the machine was busy was due all the
//! same, and is measured from then (no coordinated omission).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;

use super::super::usage::thread_cpu_seconds;
use super::super::ward::{Teller, Told, Ward};
use super::PARTITION;
use crate::ids::Topic;
use crate::ports::PortError;
use crate::time::{EventTime, WallTime};
use crate::transport::local::{LocalLog, NewRecord, Partition};

/// Records that are appended together at full speed.
const BATCH: usize = 4_096;
/// A feed that is behind its schedule by less appends what is due; shorter naps are not kept.
const NAP_MIN: Duration = Duration::from_micros(200);

/// How fast.
#[derive(Clone, Copy, Debug)]
pub enum Pace {
    Full,
    EventsPerSecond(u64),
}

/// What was appended.
#[derive(Debug, Default)]
pub struct Fed {
    pub events: u64,
    /// Of each mark, when it was due.
    pub marks: BTreeMap<EventTime, Instant>,
    /// Processor time of the feed.
    pub cpu_s: f64,
}

/// One topic's records that are due and not appended yet.
struct Gathering {
    partition: Arc<Partition>,
    sequence: u64,
    records: Vec<(Option<String>, Vec<u8>)>,
}

/// Tells a ward to a log.
pub struct Feeder {
    teller: Teller,
    topics: Vec<Gathering>,
    gathered: usize,
    /// The time of the newest record, at which it and what waits with it are appended.
    clock: WallTime,
}

impl Feeder {
    pub fn new(log: &LocalLog, ward: Ward) -> Result<Self> {
        let gather = |topic: &Topic| -> Result<Gathering> {
            let partition = log.partition(topic.name(), PARTITION)?;
            Ok(Gathering { partition, sequence: 0, records: Vec::new() })
        };
        Ok(Feeder {
            teller: Teller::new(ward, 0, 1)?,
            topics: Topic::ALL.iter().map(gather).collect::<Result<_>>()?,
            gathered: 0,
            clock: WallTime::from_millis(0),
        })
    }

    /// Tells who is admitted, with a film each.
    pub fn admit(&mut self) -> Result<()> {
        let Feeder { teller, topics, gathered, clock } = self;
        teller.admit(&mut |told| {
            hear(&told, topics, gathered, clock);
            Ok(())
        })?;
        Ok(append(&mut self.topics, self.clock)?)
    }

    /// Tells the rest of the ward.
    pub fn tell(mut self, pace: Pace) -> Result<Fed> {
        let (cpu_s, started, mut fed) = (thread_cpu_seconds(), Instant::now(), Fed::default());
        let Feeder { teller, topics, gathered, clock } = &mut self;
        while teller.tell(&mut |told| {
            let due = started + pace.after(fed.events);
            let early = due.saturating_duration_since(Instant::now());
            if early >= NAP_MIN || *gathered >= BATCH {
                append(topics, *clock)?;
                *gathered = 0;
                thread::sleep(due.saturating_duration_since(Instant::now()));
            }
            match told.key {
                Some(_) => fed.events += u64::from(told.topic == Topic::Vital),
                None => drop(fed.marks.insert(EventTime::from_millis(told.at.as_millis()), due)),
            }
            hear(&told, topics, gathered, clock);
            Ok(())
        })? {}
        append(topics, *clock)?;
        fed.cpu_s = thread_cpu_seconds() - cpu_s;
        Ok(fed)
    }
}

impl Pace {
    /// When an event is due behind so many others.
    fn after(self, events: u64) -> Duration {
        match self {
            Pace::Full => Duration::ZERO,
            Pace::EventsPerSecond(rate) => Duration::from_secs_f64(events as f64 / rate as f64),
        }
    }
}

fn hear(told: &Told<'_>, topics: &mut [Gathering], gathered: &mut usize, clock: &mut WallTime) {
    *clock = told.at;
    if let Some(topic) = topics.get_mut(told.topic as usize) {
        topic.records.push((told.key.map(str::to_owned), told.value.to_vec()));
        *gathered += 1;
    }
}

fn append(topics: &mut [Gathering], at: WallTime) -> Result<(), PortError> {
    for topic in topics.iter_mut().filter(|topic| !topic.records.is_empty()) {
        let records: Vec<NewRecord<'_>> = topic
            .records
            .iter()
            .zip(topic.sequence + 1..)
            .map(|((key, value), sequence)| NewRecord {
                writer: 1,
                sequence,
                key: key.as_deref().map(str::as_bytes),
                value,
                headers: &[],
            })
            .collect();
        topic.partition.append_batch(&records, at)?;
        topic.partition.sync()?;
        topic.sequence += records.len() as u64;
        topic.records.clear();
    }
    Ok(())
}
