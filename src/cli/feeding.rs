//! From the replay to the local log or to Kafka: what a feed and its router would do.
//!
//! A recording is told from its beginning every time, in the same order, and each record has the
//! number of its place in it. So a run that goes on after a kill says everything again, and the
//! log drops what it holds.

use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use serde::Serialize;

use super::control::Desk;
use crate::event::dictionary::Dictionary;
use crate::ids::{StayId, Topic};
use crate::ports::PortError;
use crate::replay::faults::Faulty;
use crate::replay::{Player, Reconciliation, RejectedRow, ReplayConfig, ReplaySink, Step};
use crate::time::{EventTime, WallTime};
use crate::transport::kafka::{AppendClock, KafkaSettings, KafkaSink, ensure_topic_beside};
use crate::transport::local::{LocalLog, LogError, NewRecord, Partition};
use crate::wire::{Codec, WireError};

/// Bytes gathered for one topic before they are appended.
const BATCH_BYTES: usize = 1 << 20;
/// Records gathered for one topic before they are appended.
const BATCH_RECORDS: usize = 2_048;
/// The file of the truth about faults, below the directory of a run.
const FAULTS_FILE: &str = "faults.jsonl";
/// How long a waiting feeder sleeps before it asks again whether to stop.
const NAP: Duration = Duration::from_millis(50);
/// Topic of the rows that cannot be told, as dead letters.
pub const UNTOLD: &str = "replay_dead_letter";
/// The topic of the truth about faults, behind the prefix on Kafka.
const FAULTS: &str = "fault";
/// The replay's writer id: its appends are idempotent under it.
const WRITER: u64 = 1;

/// What was written.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Fed {
    pub records: u64,
    pub films: u64,
    pub rejected: u64,
    pub labels: u64,
}

/// A replay's goal that gathers what it is given.
pub trait Feed: ReplaySink {
    /// Called after each item. What is gathered is appended only then: no record may be stamped
    /// before it became available.
    fn told(&mut self) -> Result<()> {
        Ok(())
    }

    /// Makes everything durable that was given.
    fn settle(&mut self) -> Result<()>;

    fn fed(&self) -> Fed;
}

impl<S: Feed> Feed for Faulty<'_, S> {
    fn told(&mut self) -> Result<()> {
        self.inner_mut().told()
    }

    fn settle(&mut self) -> Result<()> {
        self.flush_truth()?;
        self.inner_mut().settle()
    }

    fn fed(&self) -> Fed {
        self.inner().fed()
    }
}

/// Appends a recording to the input topics of a local log.
pub struct LogSink<'a> {
    codec: &'a Codec,
    topics: Vec<Gathering>,
    labels: Gathering,
    dead_letters: Gathering,
    /// The truth about faults that were put in on purpose, where there are any.
    faults: Option<Gathering>,
    fed: Fed,
    /// The replay's clock, which stamps what is appended: its dates lie a century from now.
    clock: WallTime,
    /// Whether each record has a time of its own, and not its batch's.
    is_timed: bool,
}

/// A record and the replay's time when it was told.
struct Told {
    at: WallTime,
    key: Option<String>,
    record: Vec<u8>,
}

impl Told {
    fn record(&self, sequence: u64) -> NewRecord<'_> {
        let key = self.key.as_deref().map(str::as_bytes);
        NewRecord { writer: WRITER, sequence, key, value: &self.record, headers: &[] }
    }
}

/// The records of one topic that are not appended yet.
struct Gathering {
    partition: Arc<Partition>,
    /// Records of the recording that were appended, by this run or an earlier one.
    sequence: u64,
    records: Vec<Told>,
    bytes: usize,
}

/// Tells the recording to the end, or until `stop`, as fast as its pace allows, which whoever sits
/// at the `desk` may change.
fn feed(
    player: &mut Player<'_>,
    sink: &mut impl Feed,
    mut desk: Desk,
    stop: &AtomicBool,
) -> Result<Fed> {
    let started = Instant::now();
    while !stop.load(Ordering::Acquire) {
        desk.obey(player, started.elapsed());
        match player.step(sink, started.elapsed())? {
            Step::Told => sink.told()?,
            Step::Wait(wait) => {
                sink.settle()?;
                thread::sleep(wait.min(NAP));
            }
            Step::Done => break,
        }
    }
    sink.settle()?;
    Ok(sink.fed())
}

/// Tells the recording to `sink`, through the faults that `replay` asks for, and says in the
/// books of the recording how many more records they made. Their truth goes to a file in `out`.
pub fn feed_with_faults(
    player: &mut Player<'_>,
    sink: impl Feed,
    codec: &Codec,
    (replay, dictionary): (&ReplayConfig, &Dictionary),
    out: &Path,
    stop: &AtomicBool,
) -> Result<(Fed, Reconciliation)> {
    let desk = Desk::open(out)?;
    let Some(plan) = replay.faults.clone() else {
        let mut sink = sink;
        let fed = feed(player, &mut sink, desk, stop)?;
        return Ok((fed, player.source().counts().clone()));
    };
    let path = faults_file(out);
    let truth = File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
    let truth = Box::new(BufWriter::new(truth));
    let mut sink = Faulty::new(sink, codec, dictionary, (plan, replay.seed), truth);
    let fed = feed(player, &mut sink, desk, stop)?;
    let mut books = player.source().counts().clone();
    books.enter_surplus(sink.surplus().clone());
    Ok((fed, books))
}

/// Where the truth about the faults of a run in `out` stands.
pub fn faults_file(out: &Path) -> PathBuf {
    out.join(FAULTS_FILE)
}

impl<'a> LogSink<'a> {
    pub fn open(log: &LocalLog, codec: &'a Codec, has_faults: bool) -> Result<Self> {
        let gather = |name: &str| Gathering::open(log, name);
        Ok(LogSink {
            codec,
            topics: Topic::ALL
                .iter()
                .map(|topic| gather(topic.name()))
                .collect::<Result<_, _>>()?,
            labels: gather("label")?,
            dead_letters: gather(UNTOLD)?,
            faults: has_faults.then(|| gather(FAULTS)).transpose()?,
            fed: Fed::default(),
            clock: WallTime::from_millis(0),
            is_timed: false,
        })
    }

    /// The same, where `is_timed` stamping each record with its own time: marks that are derived
    /// from the times of batches would pass what lies in them. Else a batch has one time, so that
    /// topics which are read while they are written take turns as they do afterwards.
    pub fn timed(self, is_timed: bool) -> Self {
        LogSink { is_timed, ..self }
    }

    fn append_all(&mut self) -> Result<(), LogError> {
        let beside = [&mut self.labels, &mut self.dead_letters];
        for topic in self.topics.iter_mut().chain(beside).chain(&mut self.faults) {
            topic.append((!self.is_timed).then_some(self.clock))?;
        }
        Ok(())
    }

    /// Marks bind all topics together, so everything before one is appended before it.
    fn append_if_full(&mut self) -> Result<(), LogError> {
        let full =
            |topic: &Gathering| topic.bytes >= BATCH_BYTES || topic.records.len() >= BATCH_RECORDS;
        if self.topics.iter().any(full) {
            self.append_all()?;
        }
        Ok(())
    }
}

impl Feed for LogSink<'_> {
    fn told(&mut self) -> Result<()> {
        Ok(self.append_if_full()?)
    }

    fn settle(&mut self) -> Result<()> {
        Ok(self.append_all()?)
    }

    fn fed(&self) -> Fed {
        self.fed
    }
}

impl ReplaySink for LogSink<'_> {
    fn tick(&mut self, now: EventTime) {
        self.clock = WallTime::from_millis(now.as_millis());
    }

    fn append(&mut self, topic: Topic, stay: StayId, record: &[u8]) -> Result<(), PortError> {
        self.fed.records += 1;
        self.fed.films += u64::from(topic == Topic::Imaging);
        self.topics[topic as usize].push(self.clock, Some(Codec::key(stay)), record);
        Ok(())
    }

    fn mark(&mut self, topic: Topic, record: &[u8]) -> Result<(), PortError> {
        self.topics[topic as usize].push(self.clock, None, record);
        Ok(())
    }

    fn reject(&mut self, row: &RejectedRow) -> Result<(), PortError> {
        self.fed.rejected += 1;
        let letter = dead_letter(self.codec, row)?;
        self.dead_letters.push(self.clock, row.stay.map(Codec::key), &letter);
        Ok(())
    }

    fn label(&mut self, stay: StayId, record: &[u8]) -> Result<(), PortError> {
        self.fed.labels += 1;
        self.labels.push(self.clock, Some(Codec::key(stay)), record);
        Ok(())
    }

    fn fault(&mut self, stay: StayId, truth: &[u8]) -> Result<(), PortError> {
        if let Some(faults) = &mut self.faults {
            faults.push(self.clock, Some(Codec::key(stay)), truth);
        }
        Ok(())
    }
}

/// Writes a recording to Kafka: facts and marks to the input topics, labels to theirs, and rows
/// that cannot be used to the dead letters. A replay that is told twice is there twice; the facts
/// carry equal ids, so the second is counted as duplicate or late and changes nothing.
pub struct KafkaFeed<'a> {
    codec: &'a Codec,
    sink: KafkaSink,
    faults: String,
    fed: Fed,
    clock: Option<WallTime>,
    is_replay_clock: bool,
}

impl<'a> KafkaFeed<'a> {
    /// Creates the topics where they are missing, that of the truth about faults if there are any.
    pub fn open(
        settings: &KafkaSettings,
        codec: &'a Codec,
        has_faults: bool,
    ) -> Result<Self, PortError> {
        let sink = KafkaSink::open(settings)?;
        let faults = format!("{}{FAULTS}", settings.prefix);
        if has_faults {
            ensure_topic_beside(settings, &faults)?;
        }
        let is_replay_clock = settings.clock == AppendClock::Replay;
        Ok(KafkaFeed { codec, sink, faults, fed: Fed::default(), clock: None, is_replay_clock })
    }

    pub fn partitions(&self) -> u32 {
        self.sink.partitions()
    }
}

impl Feed for KafkaFeed<'_> {
    fn settle(&mut self) -> Result<()> {
        Ok(self.sink.flush()?)
    }

    fn fed(&self) -> Fed {
        self.fed
    }
}

impl ReplaySink for KafkaFeed<'_> {
    fn tick(&mut self, now: EventTime) {
        // With broker append time the broker's clock counts, and ours would be refused.
        self.clock = self.is_replay_clock.then(|| WallTime::from_millis(now.as_millis()));
    }

    fn append(&mut self, topic: Topic, stay: StayId, record: &[u8]) -> Result<(), PortError> {
        self.fed.records += 1;
        self.fed.films += u64::from(topic == Topic::Imaging);
        self.sink.append(topic, Some(Codec::key(stay).as_bytes()), record, self.clock)
    }

    fn mark(&mut self, topic: Topic, record: &[u8]) -> Result<(), PortError> {
        self.sink.mark(topic, record, self.clock)
    }

    fn reject(&mut self, row: &RejectedRow) -> Result<(), PortError> {
        self.fed.rejected += 1;
        let letter = dead_letter(self.codec, row)?;
        let key = row.stay.map(Codec::key);
        self.sink.dead_letter(key.as_deref().map(str::as_bytes), &letter)
    }

    fn label(&mut self, stay: StayId, record: &[u8]) -> Result<(), PortError> {
        self.fed.labels += 1;
        self.sink.label(Codec::key(stay).as_bytes(), record)
    }

    fn fault(&mut self, stay: StayId, truth: &[u8]) -> Result<(), PortError> {
        self.sink.beside(&self.faults, Codec::key(stay).as_bytes(), truth)
    }
}

fn dead_letter(codec: &Codec, row: &RejectedRow) -> Result<Vec<u8>, PortError> {
    let stopped = |error: WireError| PortError::Stop(error.to_string());
    codec.encode(&row.dead_letter()).map_err(stopped)
}

impl Gathering {
    fn open(log: &LocalLog, name: &str) -> Result<Self, LogError> {
        let partition = log.partition(name, 0)?;
        Ok(Gathering { partition, sequence: 0, records: Vec::new(), bytes: 0 })
    }

    fn push(&mut self, at: WallTime, key: Option<String>, record: &[u8]) {
        self.bytes += record.len();
        self.records.push(Told { at, key, record: record.to_vec() });
    }

    /// `at` is the time of all, if they have one.
    fn append(&mut self, at: Option<WallTime>) -> Result<(), LogError> {
        if self.records.is_empty() {
            return Ok(());
        }
        let mut sequence = self.sequence;
        for told in self.records.chunk_by(|a, b| at.is_some() || a.at == b.at) {
            let records: Vec<NewRecord<'_>> =
                told.iter().zip(sequence + 1..).map(|(told, n)| told.record(n)).collect();
            sequence += records.len() as u64;
            if let Some(first) = told.first() {
                self.partition.append_batch(&records, at.unwrap_or(first.at))?;
            }
        }
        self.partition.sync()?;
        self.sequence = sequence;
        self.records.clear();
        self.bytes = 0;
        Ok(())
    }
}
