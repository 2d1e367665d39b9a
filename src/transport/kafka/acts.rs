//! What people do about alerts, written to the topic of acknowledgements.

use std::sync::{Mutex, PoisonError};

use super::settings::{AppendClock, KafkaSettings};
use super::sink::KafkaSink;
use crate::event::alert::Act;
use crate::ids::Topic;
use crate::ports::PortError;
use crate::time::{EventTime, WallTime};
use crate::wire::{AcknowledgementRecord, Codec};

/// Writes acts. Used by many threads, one at a time.
pub struct KafkaActs {
    settings: KafkaSettings,
    codec: Codec,
    /// The feed of topic acknowledgement.
    feed: String,
    /// Opened by the first act, and anew by the one after a failure.
    sink: Mutex<Option<KafkaSink>>,
}

impl KafkaActs {
    /// For acts that `feed` sends.
    pub fn new(settings: KafkaSettings, codec: Codec, feed: String) -> Self {
        KafkaActs { settings, codec, feed, sink: Mutex::default() }
    }

    /// When something was done that is being told now: `now`, or where the clock is the replay's
    /// the newest moment that the stay's alerts know.
    pub fn moment(&self, now: EventTime, newest: Option<EventTime>) -> Option<EventTime> {
        match self.settings.clock {
            AppendClock::Broker => Some(now),
            AppendClock::Replay => newest,
        }
    }

    /// Writes one act; it is durable when this returns. What was written.
    ///
    /// # Errors
    /// `Retry` when no broker takes it; then it may still have been written, and writing the same
    /// act again changes nothing.
    pub fn write(&self, act: &Act) -> Result<AcknowledgementRecord, PortError> {
        let record = AcknowledgementRecord::new(act, &self.feed);
        let unwritable = |error: crate::wire::WireError| PortError::Stop(error.to_string());
        let value = self.codec.encode(&record).map_err(unwritable)?;
        let by_replay = self.settings.clock == AppendClock::Replay;
        let stamp = by_replay.then(|| WallTime::from_millis(act.by.at.as_millis()));
        let key = Codec::key(act.stay);
        let mut slot = self.sink.lock().unwrap_or_else(PoisonError::into_inner);
        let mut sink = match slot.take() {
            Some(sink) => sink,
            None => KafkaSink::open(&self.settings)?,
        };
        sink.append(Topic::Acknowledgement, Some(key.as_bytes()), &value, stamp)?;
        sink.flush()?;
        *slot = Some(sink);
        Ok(record)
    }
}
