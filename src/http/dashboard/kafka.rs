//! The feed from Kafka, so that any node shows the whole ward.

use std::time::Duration;

use bytes::Bytes;

use super::acts::Acts;
use super::feed::{Archive, Feed, FeedError, FeedTopic, MAX_BATCH, Place, Told};
use super::follow::wall_now;
use crate::event::alert::Act;
use crate::ids::Topic;
use crate::ports::{OutputKind, PortError};
use crate::time::{EventTime, WallTime};
use crate::transport::kafka::{
    AppendClock, KafkaActs, KafkaSettings, KafkaWatch, Place as Offset, Seen, Watched, read_place,
};

/// How long a poll waits for the first record.
const WAIT: Duration = Duration::from_millis(20);

/// Follows the topics of one application.
pub struct KafkaFeed {
    settings: KafkaSettings,
    history: Duration,
    watch: Option<KafkaWatch>,
}

/// Reads single records of the topics.
pub struct KafkaArchive {
    settings: KafkaSettings,
}

/// Risks, alerts, films and dead letters are read from `history` ago on; the units of the stays and
/// the newest view of each, of which there are few, from the first. It begins with the first poll.
pub fn kafka(settings: &KafkaSettings, history: Duration) -> (KafkaFeed, KafkaArchive) {
    let archive = KafkaArchive { settings: settings.clone() };
    (KafkaFeed { settings: settings.clone(), history, watch: None }, archive)
}

fn name(settings: &KafkaSettings, topic: FeedTopic) -> String {
    match topic {
        FeedTopic::Risk => settings.output(OutputKind::Risk),
        FeedTopic::View => settings.output(OutputKind::View),
        FeedTopic::Alert => settings.output(OutputKind::Alert),
        FeedTopic::DeadLetter => settings.output(OutputKind::DeadLetter),
        FeedTopic::Stay => settings.input(Topic::Stay),
        FeedTopic::Imaging => settings.input(Topic::Imaging),
    }
}

fn told(error: PortError) -> FeedError {
    FeedError(error.to_string())
}

impl KafkaFeed {
    fn watched(&self, topic: FeedTopic) -> Watched {
        let all = matches!(topic, FeedTopic::View | FeedTopic::Stay);
        // A replay's append times lie in its patients' time, of which the clock here knows nothing.
        let all = all || self.settings.clock == AppendClock::Replay;
        let back = i64::try_from(self.history.as_millis()).unwrap_or(i64::MAX);
        let begin = wall_now().as_millis().saturating_sub(back);
        let since = (!all).then(|| WallTime::from_millis(begin));
        Watched { topic: name(&self.settings, topic), since }
    }

    fn watch(&mut self) -> Result<&mut KafkaWatch, FeedError> {
        let watch = match self.watch.take() {
            Some(watch) => watch,
            None => {
                let watched = FeedTopic::ALL.map(|topic| self.watched(topic));
                KafkaWatch::open(&self.settings, &watched).map_err(told)?
            }
        };
        Ok(self.watch.insert(watch))
    }
}

impl Feed for KafkaFeed {
    fn poll(&mut self, into: &mut Vec<Told>) -> Result<(), FeedError> {
        let mut seen = Vec::new();
        let polled = self.watch()?.poll(MAX_BATCH, WAIT, &mut seen);
        into.extend(seen.into_iter().filter_map(|Seen { topic, place, value }| {
            let topic = FeedTopic::ALL.get(topic).copied()?;
            let Offset { partition, offset } = place;
            Some(Told { place: Place { topic, partition, offset }, payload: value })
        }));
        polled.map_err(told)
    }
}

impl Acts for KafkaActs {
    fn moment(&self, now: EventTime, newest: Option<EventTime>) -> Option<EventTime> {
        KafkaActs::moment(self, now, newest)
    }

    fn write(&self, act: &Act) -> Result<(), FeedError> {
        KafkaActs::write(self, act).map(drop).map_err(told)
    }
}

impl Archive for KafkaArchive {
    fn read(&self, place: Place) -> Result<Option<Bytes>, FeedError> {
        let topic = name(&self.settings, place.topic);
        let at = Offset { partition: place.partition, offset: place.offset };
        let found = read_place(&self.settings, topic, at).map_err(told)?;
        Ok(found.map(|record| record.value.into()))
    }
}
