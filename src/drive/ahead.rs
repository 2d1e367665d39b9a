//! Topics that run ahead: facts wait in memory until the watermark reaches them, so when too many
//! wait, the topics that have got further than the feed that holds the watermark are not read until
//! it has caught up. Kafka Streams picks the partition with the oldest record instead; here the
//! watermark orders the facts, and only what waits must be bounded.
//!
//! A topic with a feed that holds the watermark is always read, and a feed whose topic is not read
//! is not silent. If what is read says nothing more, `feeds.timeout` lets the silent feed pass; a
//! loop that waits for ever would stand still then, so it reads on, and what waits is not bounded.

use std::collections::BTreeSet;
use std::time::Instant;

use super::{Drive, DriveError};
use crate::config::Feed;
use crate::engine::Watermark;
use crate::ids::{FeedId, Topic};
use crate::ports::{Committer, Predictor, Source, StateStore};
use crate::telemetry::{TopicsHeldBack, TopicsLetGo};

/// Facts of one task that may wait for the watermark; 20 to 30 MB. Beyond it come what one fetch
/// brings, and what the feed that holds the watermark sends between two of its marks.
pub const WAITING_MAX: usize = 100_000;

/// Which topics are not read now.
#[derive(Default)]
pub(super) struct Ahead {
    held_back: BTreeSet<Topic>,
    since: Option<Instant>,
    /// Reading would have stood still, so nothing is held back until enough has been applied.
    gives_way: bool,
}

impl Ahead {
    pub(super) fn is_holding(&self) -> bool {
        !self.held_back.is_empty()
    }

    /// Which topics are to be held back while so many facts wait. Once begun, until half as many
    /// do; a topic that has become the last is let go at once.
    fn wanted(
        &mut self,
        n_waiting: usize,
        most: usize,
        feeds: &[Feed],
        watermark: &Watermark,
    ) -> BTreeSet<Topic> {
        if n_waiting <= most / 2 {
            self.gives_way = false;
        }
        if n_waiting <= most / 2 || self.gives_way || (n_waiting < most && !self.is_holding()) {
            return BTreeSet::new();
        }
        let ahead = topics_ahead(feeds, watermark);
        match n_waiting < most {
            true => &self.held_back & &ahead,
            false => ahead,
        }
    }
}

/// The topics of which no feed holds the watermark.
fn topics_ahead(feeds: &[Feed], watermark: &Watermark) -> BTreeSet<Topic> {
    let least = watermark.time();
    let of = |(feed, of): (FeedId, &Feed)| (watermark.mark_of(feed) == least, of.topic);
    let feeds = (0u8..).map(FeedId).zip(feeds).map(of);
    let (last, others): (Vec<_>, Vec<_>) = feeds.partition(|(is_last, _)| *is_last);
    let topics = |side: Vec<(bool, Topic)>| side.into_iter().map(|(_, topic)| topic);
    let last: BTreeSet<Topic> = topics(last).collect();
    topics(others).filter(|topic| !last.contains(topic)).collect()
}

impl<S, T, C, P> Drive<S, T, C, P>
where
    S: Source,
    T: StateStore,
    C: Committer,
    P: Predictor,
{
    /// Before records are fetched: holds topics back that are ahead, and lets them go.
    pub(super) fn hold_back(&mut self) -> Result<(), DriveError> {
        let (waiting, most) = (self.task.n_ahead(), self.options.waiting_max);
        let feeds = &self.task.config().feeds;
        let wanted = self.ahead.wanted(waiting, most, feeds, self.task.watermark());
        if wanted == self.ahead.held_back {
            return Ok(());
        }
        self.ports.source.pause(&wanted)?;
        let task = self.options.partition;
        match self.ahead.since {
            None => {
                self.ahead.since = Some(Instant::now());
                TopicsHeldBack { task, topics: &wanted, waiting }.emit();
            }
            Some(since) if wanted.is_empty() => {
                self.ahead.since = None;
                TopicsLetGo { task, held_for: since.elapsed(), waiting }.emit();
            }
            Some(_) => {}
        }
        self.ahead.held_back = wanted;
        Ok(())
    }

    /// After a fetch: whose topic is not read cannot be heard. `is_read_out` says that the topics
    /// which are read have nothing more.
    pub(super) fn excuse_held_back(&mut self, is_read_out: bool) {
        let now = Instant::now();
        for topic in &self.ahead.held_back {
            self.derivation.heard(*topic, now);
            if let Some(silence) = &mut self.silence {
                silence.heard_topic(&self.task.config().feeds, *topic, now);
            }
        }
        let nobody_passes = self.silence.is_none();
        self.ahead.gives_way |= is_read_out && nobody_passes && self.ahead.is_holding();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Mark;
    use crate::time::EventTime;

    const FEEDS: [Topic; 4] = [Topic::Stay, Topic::Lab, Topic::Vital, Topic::Lab];

    fn feeds() -> Vec<Feed> {
        FEEDS.into_iter().map(Feed::of).collect()
    }

    fn watermark(marks: [i64; 4]) -> Watermark {
        let mut watermark = Watermark::new(4);
        for (feed, ms) in (0..).map(FeedId).zip(marks) {
            watermark.mark(Mark { feed, time: EventTime::from_millis(ms) });
        }
        watermark
    }

    #[test]
    fn a_topic_is_ahead_if_all_its_feeds_are() {
        let ahead =
            |marks| topics_ahead(&feeds(), &watermark(marks)).into_iter().collect::<Vec<_>>();
        assert_eq!(ahead([3, 9, 9, 3]), [Topic::Vital], "one laboratory is last, too");
        assert_eq!(ahead([3, 4, 5, 6]), [Topic::Lab, Topic::Vital]);
        assert_eq!(ahead([7, 7, 7, 7]), [], "somebody must be read");
        assert_eq!(topics_ahead(&feeds(), &Watermark::new(4)).len(), 0);
    }

    #[test]
    fn held_back_from_the_bound_to_half_of_it_and_a_last_topic_never() {
        let mut ahead = Ahead::default();
        let mut hold = |n, marks| {
            let wanted = ahead.wanted(n, 100, &feeds(), &watermark(marks));
            ahead.held_back = wanted.clone();
            wanted.into_iter().collect::<Vec<_>>()
        };
        assert_eq!(hold(99, [3, 4, 5, 6]), []);
        assert_eq!(hold(100, [3, 4, 5, 6]), [Topic::Lab, Topic::Vital]);
        assert_eq!(hold(70, [4, 4, 5, 6]), [Topic::Vital], "the laboratory has become the last");
        assert_eq!(hold(70, [9, 6, 5, 6]), [], "and now the monitors");
        assert_eq!(hold(70, [9, 6, 6, 6]), [], "not begun again below the bound");
        ahead.gives_way = true;
        let marks = watermark([3, 4, 5, 6]);
        assert!(ahead.wanted(500, 100, &feeds(), &marks).is_empty());
        assert!(ahead.wanted(50, 100, &feeds(), &marks).is_empty());
        assert_eq!(ahead.wanted(500, 100, &feeds(), &marks).len(), 2);
    }
}
