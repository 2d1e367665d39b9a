//! Topics read back: outputs, inputs, and the records of the inputs that dead letters name.

use rdkafka::message::{BorrowedMessage, Message, Timestamp};

use super::settings::KafkaSettings;
use super::stretch::Stretch;
use super::topics::check_topics;
use crate::ids::Topic;
use crate::ports::{OutputKind, PortError};
use crate::time::WallTime;

/// Where a record stands in its topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    pub partition: u32,
    pub offset: u64,
}

/// A record as it stands in a topic.
#[derive(Clone, Debug)]
pub struct StoredRecord {
    pub place: Place,
    pub key: Option<Vec<u8>>,
    pub value: Vec<u8>,
    pub at: Option<WallTime>,
}

impl StoredRecord {
    fn of(message: &BorrowedMessage<'_>) -> Self {
        let at = match message.timestamp() {
            Timestamp::CreateTime(ms) | Timestamp::LogAppendTime(ms) => Some(ms),
            Timestamp::NotAvailable => None,
        };
        StoredRecord {
            place: Place {
                partition: u32::try_from(message.partition()).unwrap_or(0),
                offset: u64::try_from(message.offset()).unwrap_or(0),
            },
            key: message.key().map(<[u8]>::to_vec),
            value: message.payload().unwrap_or_default().to_vec(),
            at: at.map(WallTime::from_millis),
        }
    }
}

/// Shows every output of a kind, partition by partition. An error of `visit` ends it.
pub fn visit_outputs(
    settings: &KafkaSettings,
    kind: OutputKind,
    visit: &mut dyn FnMut(StoredRecord) -> Result<(), PortError>,
) -> Result<(), PortError> {
    check_topics(settings)?;
    let topic = settings.output(kind);
    // It is no co-partitioned topic, so its own count is asked for.
    let first = Stretch::open(settings, topic.clone(), 0)?;
    for partition in 0..first.partitions()? {
        let stretch = Stretch::open(settings, topic.clone(), partition)?;
        let end = stretch.stable_end()?;
        stretch.read(0, end, &mut |message| visit(StoredRecord::of(message)))?;
    }
    Ok(())
}

/// Is shown topic, key and value of a record.
pub type InputVisitor<'a> = &'a mut dyn FnMut(Topic, Option<&[u8]>, &[u8]) -> Result<(), PortError>;

/// Shows every record of the inputs as they are now, one partition after the other, as a consumer
/// does that does nothing else. An error of `visit` ends it.
pub fn visit_inputs(settings: &KafkaSettings, visit: InputVisitor<'_>) -> Result<(), PortError> {
    let partitions = check_topics(settings)?;
    for topic in Topic::ALL {
        let mut stretch = Stretch::open(settings, settings.input(topic), 0)?;
        for partition in 0..partitions {
            stretch.turn_to(partition);
            stretch.read(0, stretch.stable_end()?, &mut |message| {
                visit(topic, message.key(), message.payload().unwrap_or_default())
            })?;
        }
    }
    Ok(())
}

/// The record of a topic that stands at `place`; `None` if the topic does not hold it any more.
pub fn read_place(
    settings: &KafkaSettings,
    topic: String,
    place: Place,
) -> Result<Option<StoredRecord>, PortError> {
    let stretch = Stretch::open(settings, topic, place.partition)?;
    if place.offset >= stretch.stable_end()? || place.offset < stretch.start()? {
        return Ok(None);
    }
    let mut found = None;
    stretch.read(place.offset, place.offset + 1, &mut |message| {
        found = Some(StoredRecord::of(message));
        Ok(())
    })?;
    Ok(found)
}
