//! The thread that polls one consumer and hands each record to the lane of its task.
//!
//! Where a consumer reads is set in one way only: by assigning all partitions of all lanes, each
//! with the position at which it goes on. That serves a seek, a new task and a task that has gone
//! alike, needs no order between librdkafka's seek and its fetches, and starts nothing before a
//! task has said where it stands.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use bytes::Bytes;
use crossbeam_channel::{Receiver, SendTimeoutError, Sender, bounded};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::message::{BorrowedMessage, Message, Timestamp};
use rdkafka::{Offset, TopicPartitionList};

use super::client::consumer;
use super::error::port_error;
use super::hearing::Hearing;
use super::lane::Feeder;
use super::ownership::Hold;
use super::settings::{ASK_TIMEOUT, AppendClock, KafkaSettings};
use crate::ids::{Origin, Position, Topic};
use crate::ports::{PortError, SourceRecord};
use crate::time::WallTime;

/// How long one poll waits: the longest that a command or the end waits for the thread.
const POLL: Duration = Duration::from_millis(20);
/// How long a full lane holds up all lanes before its own partitions are paused instead. Pausing
/// throws away what librdkafka has fetched ahead, so it is for tasks that are really stuck.
const PATIENCE: Duration = Duration::from_millis(200);
/// Commands that may wait for the thread.
const COMMANDS: usize = 64;

pub(super) enum Command {
    Add(Feeder),
    Seek {
        lane: u64,
        generation: u64,
        positions: Vec<Position>,
    },
    /// These topics are not to be read, and all others are.
    Pause {
        lane: u64,
        topics: BTreeSet<Topic>,
    },
}

/// The running thread. Dropping it ends the thread.
pub(super) struct Reader {
    commands: Sender<Command>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

struct Pump {
    settings: KafkaSettings,
    consumer: BaseConsumer<Hearing>,
    topics: [String; 5],
    feeders: Vec<Feeder>,
    commands: Receiver<Command>,
    stop: Arc<AtomicBool>,
}

/// The way to the thread, for sources that do not own it.
#[derive(Clone)]
pub(super) struct ReaderHandle(Sender<Command>);

impl Reader {
    pub fn start(settings: &KafkaSettings) -> Result<Reader, PortError> {
        let consumer: BaseConsumer<Hearing> = consumer(settings, "reader")
            .create_with_context(Hearing::of(settings))
            .map_err(|e| port_error("connecting to kafka", &settings.bootstrap, &e))?;
        let (commands, taken) = bounded(COMMANDS);
        let stop = Arc::new(AtomicBool::new(false));
        let pump = Pump {
            settings: settings.clone(),
            consumer,
            topics: settings.inputs(),
            feeders: Vec::new(),
            commands: taken,
            stop: Arc::clone(&stop),
        };
        let thread = thread::Builder::new()
            .name("kafka-reader".to_owned())
            .spawn(move || pump.run())
            .map_err(|e| PortError::Stop(format!("no thread for the kafka reader: {e}")))?;
        Ok(Reader { commands, stop, thread: Some(thread) })
    }

    pub fn handle(&self) -> ReaderHandle {
        ReaderHandle(self.commands.clone())
    }
}

impl ReaderHandle {
    pub fn send(&self, command: Command) -> Result<(), PortError> {
        self.0.send_timeout(command, ASK_TIMEOUT).map_err(|refused| match refused {
            SendTimeoutError::Timeout(_) => PortError::Retry("the kafka reader is busy".to_owned()),
            SendTimeoutError::Disconnected(_) => {
                PortError::Reopen("the kafka reader has ended; open the source anew".to_owned())
            }
        })
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the kafka reader's thread had panicked");
        }
    }
}

impl Pump {
    fn run(mut self) {
        while !self.stop.load(Ordering::Acquire) {
            self.obey();
            self.relieve();
            let polled = self.consumer.poll(POLL).map(|result| {
                result.map(|message| to_record(&message, &self.topics, self.settings.clock))
            });
            match polled {
                Some(Ok(Some(record))) => self.deliver(record),
                Some(Err(error)) => {
                    let doing = format!("reading kafka topics {}", self.topics.join(", "));
                    self.report(&doing, &error);
                }
                Some(Ok(None)) | None => {}
            }
        }
    }

    /// Carries out what the tasks have asked for, and forgets those that have gone.
    fn obey(&mut self) {
        let before = self.feeders.len();
        self.feeders.retain(|feeder| feeder.lane.strong_count() > 0);
        let mut is_changed = self.feeders.len() != before;
        let mut is_paused = Vec::new();
        for command in self.commands.try_iter() {
            match command {
                Command::Add(feeder) => self.feeders.push(feeder),
                Command::Seek { lane, generation, positions } => {
                    if let Some(feeder) = self.feeders.iter_mut().find(|f| f.id == lane) {
                        feeder.seek(generation, &positions);
                        is_changed = true;
                    }
                }
                Command::Pause { lane, topics } => {
                    if let Some(feeder) = self.feeders.iter_mut().find(|f| f.id == lane) {
                        feeder.unwanted = topics;
                        is_paused.push(lane);
                    }
                }
            }
        }
        match is_changed {
            true => self.assign(),
            false => is_paused.into_iter().for_each(|lane| self.hold_or_let_go(lane)),
        }
    }

    /// Pauses what a lane does not want, and lets go what it does.
    fn hold_or_let_go(&self, lane: u64) {
        let Some(feeder) = self.feeders.iter().find(|f| f.id == lane && is_ours(f)) else { return };
        let (mut held, mut free) = (TopicPartitionList::new(), TopicPartitionList::new());
        for &(topic, partition) in feeder.next.keys() {
            let list = if feeder.holds(topic) { &mut held } else { &mut free };
            list.add_partition(&self.topics[topic as usize], partition as i32);
        }
        let pause = || if held.count() > 0 { self.consumer.pause(&held) } else { Ok(()) };
        let resume = || if free.count() > 0 { self.consumer.resume(&free) } else { Ok(()) };
        if let Err(error) = pause().and_then(|()| resume()) {
            self.report("holding kafka partitions back", &error);
        }
    }

    fn assign(&mut self) {
        let mut places = TopicPartitionList::new();
        let mut full = TopicPartitionList::new();
        let mut filled = Ok(());
        for feeder in self.feeders.iter().filter(|f| is_ours(f)) {
            for (&(topic, partition), &next) in &feeder.next {
                filled = filled.and(add(&mut places, &self.topics, topic, partition, next));
                if feeder.holds(topic) {
                    filled = filled.and(add(&mut full, &self.topics, topic, partition, next));
                }
            }
        }
        // A pause of ours outlives an assignment, so whoever has sought is let go on by name.
        let done = filled
            .and_then(|()| self.consumer.assign(&places))
            .and_then(|()| if places.count() > 0 { self.consumer.resume(&places) } else { Ok(()) })
            .and_then(|()| if full.count() > 0 { self.consumer.pause(&full) } else { Ok(()) });
        if let Err(error) = done {
            self.report("taking positions in kafka", &error);
        }
    }

    /// Tries lanes that were full once more.
    fn relieve(&mut self) {
        let mut ready = TopicPartitionList::new();
        for feeder in self.feeders.iter_mut().filter(|feeder| feeder.is_paused) {
            if feeder.relieve() {
                feeder.is_paused = false;
                let wanted = |(topic, _): &&(Topic, u32)| !feeder.holds(*topic);
                for &(topic, partition) in feeder.next.keys().filter(wanted) {
                    ready.add_partition(&self.topics[topic as usize], partition as i32);
                }
            }
        }
        if ready.count() > 0
            && let Err(error) = self.consumer.resume(&ready)
        {
            self.report("reading on from kafka", &error);
        }
    }

    fn deliver(&mut self, record: SourceRecord) {
        let partition = record.origin.partition;
        let wanted = (record.origin.topic, partition);
        let feeder = self.feeders.iter_mut().find(|f| f.next.contains_key(&wanted) && is_ours(f));
        let Some(feeder) = feeder else { return };
        feeder.offer(record, PATIENCE);
        if feeder.held.is_empty() || feeder.is_paused {
            return;
        }
        feeder.is_paused = true;
        let mut full = TopicPartitionList::new();
        for &(topic, partition) in feeder.next.keys() {
            full.add_partition(&self.topics[topic as usize], partition as i32);
        }
        if let Err(error) = self.consumer.pause(&full) {
            self.report("pausing kafka partitions", &error);
        }
    }

    fn report(&self, doing: &str, error: &KafkaError) {
        for lane in self.feeders.iter().filter_map(|feeder| feeder.lane.upgrade()) {
            let failed = port_error(doing, &self.settings.bootstrap, error);
            lane.report(self.consumer.context().explain(failed));
        }
    }
}

/// Whether the lane's task still runs and still owns its partitions.
fn is_ours(feeder: &Feeder) -> bool {
    feeder.lane.upgrade().is_some_and(|lane| lane.hold() == Hold::Ours)
}

fn add(
    list: &mut TopicPartitionList,
    topics: &[String; 5],
    topic: Topic,
    partition: u32,
    next: Offset,
) -> KafkaResult<()> {
    list.add_partition_offset(&topics[topic as usize], partition as i32, next)
}

/// `None` for a record of a topic that is none of ours.
fn to_record(
    message: &BorrowedMessage<'_>,
    topics: &[String; 5],
    clock: AppendClock,
) -> Option<SourceRecord> {
    let name = message.topic();
    let topic = Topic::ALL.into_iter().zip(topics).find(|(_, n)| *n == name)?.0;
    let appended_at = match (message.timestamp(), clock) {
        (Timestamp::LogAppendTime(ms), _) | (Timestamp::CreateTime(ms), AppendClock::Replay) => {
            Some(WallTime::from_millis(ms))
        }
        _ => None,
    };
    let origin = Origin {
        topic,
        partition: u32::try_from(message.partition()).ok()?,
        offset: u64::try_from(message.offset()).ok()?,
    };
    Some(SourceRecord {
        origin,
        key: message.key().map(Bytes::copy_from_slice),
        value: message.payload().map_or_else(Bytes::new, Bytes::copy_from_slice),
        appended_at,
    })
}
