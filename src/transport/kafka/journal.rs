//! The task's journal as a topic: partition n holds what entered the task of partition n and came
//! from no input topic. It is written in the transaction of the state that it led to.

use rdkafka::message::{BorrowedMessage, Header, Headers, Message, OwnedHeaders};

use super::delivery::Outgoing;
use super::settings::KafkaSettings;
use super::stretch::Stretch;
use crate::ids::{Position, Topic};
use crate::ports::{JournalRecord, PortError};

/// The header with the positions after which the input was stepped.
const AFTER: &str = "after";

/// The journal's records of a commit.
pub(super) fn records<'a>(
    topic: &'a str,
    partition: u32,
    records: &'a [JournalRecord],
) -> impl Iterator<Item = Outgoing<'a>> {
    records.iter().map(move |record| {
        let after = write_positions(&record.after);
        let header = Header { key: AFTER, value: Some(&after) };
        Outgoing {
            topic,
            partition: Some(partition),
            key: None,
            value: Some(&record.input),
            at: None,
            headers: Some(OwnedHeaders::new().insert(header)),
        }
    })
}

/// Reads one task's journal up to where it ended when the call began.
///
/// # Errors
/// `visit` may have had some records when this fails: begin anew with an empty state. `Stop`
/// for a record that is none of ours.
pub fn read(
    settings: &KafkaSettings,
    partition: u32,
    visit: &mut dyn FnMut(JournalRecord),
) -> Result<(), PortError> {
    let topic = settings.journal();
    let stretch = Stretch::open(settings, topic.clone(), partition)?;
    let end = stretch.stable_end()?;
    stretch.read(0, end, &mut |message| {
        visit(to_journal(message, &topic)?);
        Ok(())
    })
}

fn to_journal(message: &BorrowedMessage<'_>, topic: &str) -> Result<JournalRecord, PortError> {
    let header = message.headers().and_then(|headers| {
        headers.iter().find(|header| header.key == AFTER).and_then(|header| header.value)
    });
    let after = header
        .and_then(|bytes| std::str::from_utf8(bytes).ok())
        .and_then(read_positions)
        .ok_or_else(|| {
        PortError::Stop(format!(
            "kafka topic {topic}: the record at {}@{} is no journal record; give this \
                 application a kafka.group of its own",
            message.partition(),
            message.offset()
        ))
    })?;
    Ok(JournalRecord { after, input: message.payload().unwrap_or_default().to_vec() })
}

/// `stay/0@12,lab/0@55`: readable with any Kafka tool.
fn write_positions(positions: &[Position]) -> String {
    let one = |p: &Position| format!("{}/{}@{}", p.topic.name(), p.partition, p.next);
    positions.iter().map(one).collect::<Vec<_>>().join(",")
}

fn read_positions(text: &str) -> Option<Vec<Position>> {
    if text.is_empty() {
        return Some(Vec::new());
    }
    let one = |part: &str| {
        let (topic, place) = part.split_once('/')?;
        let (partition, next) = place.split_once('@')?;
        Some(Position {
            topic: Topic::from_name(topic)?,
            partition: partition.parse().ok()?,
            next: next.parse().ok()?,
        })
    };
    text.split(',').map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_round_trip_as_text() {
        let position = |topic, partition, next| Position { topic, partition, next };
        for positions in [
            vec![],
            vec![position(Topic::Stay, 0, 12)],
            vec![position(Topic::Lab, 7, u64::MAX), position(Topic::Vital, u32::MAX, 0)],
        ] {
            assert_eq!(read_positions(&write_positions(&positions)), Some(positions));
        }
        for bad in ["stay", "stay/0", "stay/0@", "moon/0@1", "stay/0@-1", ",", "stay/0@1,"] {
            assert_eq!(read_positions(bad), None, "{bad}");
        }
    }
}
