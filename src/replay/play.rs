//! Tells a recording to a sink at a given speed. The clock is an argument, so tests and the
//! simulator run the same code without waiting.

use std::time::{Duration, Instant};

use super::checkpoint::Checkpoint;
use super::config::{ReplayConfig, Speed};
use super::encode::{Encoder, NotEncoded};
use super::error::ReplayError;
use super::item::{MimicTable, RejectedRow, ReplayEvent, ReplayItem};
use super::mimic::labels::Label;
use super::pace::{Pace, Pacer};
use super::source::ReplaySource;
use crate::ids::{Digest, FactId, StayId, Topic};
use crate::ports::PortError;
use crate::time::EventTime;

/// Where a replay goes: the local log, a broker, or a test.
pub trait ReplaySink {
    /// The replay's clock stands at `now`: whatever follows is appended then.
    fn tick(&mut self, _now: EventTime) {}

    /// A record of a stay, for the stay's partition of `topic`.
    fn append(&mut self, topic: Topic, stay: StayId, record: &[u8]) -> Result<(), PortError>;

    /// A mark, for every partition of `topic`, behind everything appended to it so far.
    fn mark(&mut self, topic: Topic, record: &[u8]) -> Result<(), PortError>;

    /// A row that became a dead letter.
    fn reject(&mut self, row: &RejectedRow) -> Result<(), PortError>;

    /// What turned out to be true of a stay, for the label stream and never for an input topic.
    fn label(&mut self, stay: StayId, record: &[u8]) -> Result<(), PortError>;

    /// The truth about a fault that was put into a record of `stay`, as JSON.
    fn fault(&mut self, _stay: StayId, _truth: &[u8]) -> Result<(), PortError> {
        Ok(())
    }

    /// Only the last marks follow.
    fn ending(&mut self) -> Result<(), PortError> {
        Ok(())
    }
}

/// What [`Player::step`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// One item was told.
    Told,
    /// The next item is due after so long.
    Wait(Duration),
    Done,
}

/// A recording being told.
pub struct Player<'a> {
    source: ReplaySource,
    encoder: Encoder<'a>,
    pacer: Pacer,
    config: Digest,
    labels_told: usize,
    items: u64,
    virtual_time: EventTime,
    last_id: Option<FactId>,
    pending: Option<ReplayItem>,
    record: Vec<u8>,
}

impl<'a> Player<'a> {
    pub fn new(
        source: ReplaySource,
        encoder: Encoder<'a>,
        config: &ReplayConfig,
        speed: Speed,
    ) -> Self {
        Player {
            source,
            encoder,
            pacer: Pacer::new(speed),
            config: config.digest(),
            labels_told: 0,
            items: 0,
            virtual_time: EventTime::MIN,
            last_id: None,
            pending: None,
            record: Vec::new(),
        }
    }

    /// Tells the next item, if it is due `elapsed` after the start.
    pub fn step(
        &mut self,
        sink: &mut dyn ReplaySink,
        elapsed: Duration,
    ) -> Result<Step, ReplayError> {
        let item = match self.pending.take() {
            Some(item) => item,
            None => match self.source.next_item()? {
                Some(item) => item,
                None => return self.tell_labels(EventTime::MAX, sink).map(|()| Step::Done),
            },
        };
        let at = time_of(&item);
        let wait = at.map_or(Duration::ZERO, |at| self.pacer.wait(at, elapsed));
        if !wait.is_zero() {
            self.pending = Some(item);
            return Ok(Step::Wait(wait));
        }
        if let Some(at) = at {
            sink.tick(at);
            self.tell_labels(at, sink)?;
            self.virtual_time = at;
        }
        match item {
            ReplayItem::Event(event) => self.tell_event(&event, sink)?,
            ReplayItem::Rejected(row) => sink.reject(&row)?,
            ReplayItem::Mark(time) => {
                let has_ended = self.source.has_ended();
                if has_ended {
                    sink.ending()?;
                }
                for (topic, record) in self.encoder.marks(time, has_ended)? {
                    sink.mark(topic, &record)?;
                }
            }
        }
        self.items += 1;
        Ok(Step::Told)
    }

    /// Tells everything, waiting between items as the speed asks.
    pub fn play(&mut self, sink: &mut dyn ReplaySink) -> Result<(), ReplayError> {
        let started = Instant::now();
        loop {
            match self.step(sink, started.elapsed())? {
                Step::Told => {}
                Step::Wait(wait) => std::thread::sleep(wait),
                Step::Done => return Ok(()),
            }
        }
    }

    pub fn pace(&self) -> Pace {
        self.pacer.pace()
    }

    /// Goes on at another pace, `elapsed` after the start.
    pub fn set_pace(&mut self, pace: Pace, elapsed: Duration) {
        self.pacer.set(pace, elapsed);
    }

    /// How far the telling is. Write it only after the sink has made durable what it was given.
    pub fn checkpoint(&self) -> Checkpoint {
        Checkpoint {
            config: self.config.to_string(),
            data: self.source.data_digest().to_string(),
            items: self.items,
            virtual_time_ms: self.virtual_time.as_millis(),
            last_id: self.last_id.map(|id| id.to_string()),
        }
    }

    /// Passes over what `checkpoint` says was told. What was told after it is told again, with the
    /// same ids. Call it before the first step.
    pub fn resume(&mut self, checkpoint: &Checkpoint) -> Result<(), ReplayError> {
        checkpoint.check(&self.checkpoint())?;
        while self.items < checkpoint.items {
            let Some(item) = self.source.next_item()? else { break };
            if let Some(at) = time_of(&item) {
                self.virtual_time = at;
                let labels = self.source.labels();
                self.labels_told = labels.partition_point(|label| label.known_at <= at);
            }
            if let ReplayItem::Event(event) = &item {
                self.last_id = Some(event.id);
            }
            self.items += 1;
        }
        checkpoint.check_reached(&self.checkpoint())
    }

    /// Items told so far: events, marks and rejected rows.
    pub fn items(&self) -> u64 {
        self.items
    }

    /// The recording, with its counts.
    pub fn source(&self) -> &ReplaySource {
        &self.source
    }

    /// Event time told so far; [`EventTime::MIN`] before the first item.
    pub fn virtual_time(&self) -> EventTime {
        self.virtual_time
    }

    fn tell_event(
        &mut self,
        event: &ReplayEvent,
        sink: &mut dyn ReplaySink,
    ) -> Result<(), ReplayError> {
        match self.encoder.event(event, self.source.tree(), &mut self.record) {
            Ok(()) => sink.append(event.body.topic(), event.stay, &self.record)?,
            Err(NotEncoded::Failed(error)) => return Err(error),
            // Only films are judged again here, because only they are read now.
            Err(NotEncoded::Rejected(rejection)) => {
                let table = MimicTable::CxrMetadata;
                self.source.counts_mut().unsend(table, rejection.reason);
                let (row, stay) = (event.row, Some(event.stay));
                sink.reject(&RejectedRow { table, row, stay, rejection })?;
            }
        }
        self.last_id = Some(event.id);
        Ok(())
    }

    /// Tells the labels that are known by `at`.
    fn tell_labels(&mut self, at: EventTime, sink: &mut dyn ReplaySink) -> Result<(), ReplayError> {
        let due = |label: &&Label| label.known_at <= at;
        while let Some(label) = self.source.labels().get(self.labels_told).filter(due) {
            sink.label(label.stay, &self.encoder.label(label)?)?;
            self.labels_told += 1;
        }
        Ok(())
    }
}

/// When an item is due; dead letters whose time is unknown are due at once.
fn time_of(item: &ReplayItem) -> Option<EventTime> {
    match item {
        ReplayItem::Event(event) => Some(event.available_at),
        ReplayItem::Mark(time) => Some(*time),
        ReplayItem::Rejected(_) => None,
    }
}
