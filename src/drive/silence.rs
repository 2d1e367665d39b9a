//! Feeds that fall silent: after a while the loop passes them over by a mark of its own, so that
//! one dead interface does not stop the whole ward. The mark is journalled, and windows sealed
//! without the feed say so.
//!
//! Nobody waits for what people do about alerts: a ward in which nobody does anything is a normal
//! one, and no window holds any of it. Where such a feed makes no marks of its own, the loop makes
//! them as soon as it has read what there is. Being journalled, they settle for good after which
//! predictions an act took effect, so what was said can be computed anew; and an act that comes
//! behind them takes effect at once.

use std::time::{Duration, Instant};

use super::{Drive, DriveError};
use crate::config::Feed;
use crate::engine::{Input, Watermark};
use crate::event::Mark;
use crate::ids::{FeedId, Topic};
use crate::ports::{Committer, Predictor, Source, StateStore};
use crate::telemetry::FeedPassed;
use crate::time::{EventTime, Span};
use crate::wire::JournalInput;

/// When nothing but the wall clock says how late it is, a mark is made this often.
pub(super) const WALL_STEP: Span = Span::MINUTE;

/// What a feed of what people do may still have on its way when all else has been read.
const PATIENCE_WITH_PEOPLE: Duration = Duration::from_secs(2);

/// When each feed was heard last, counted only while reading keeps up: a task that works off a
/// backlog hears nothing new, and that is not the feeds' fault.
pub(super) struct Silence {
    heard: Vec<Instant>,
    /// After how long each feed is silent.
    patience: Vec<Duration>,
    timeout: Duration,
}

impl Silence {
    /// `has_wall` says whether event time is the wall clock's. Then it makes the marks of feeds
    /// that send none ([`super::derived`]), and they are not passed over here.
    pub(super) fn new(feeds: &[Feed], timeout: Duration, has_wall: bool, now: Instant) -> Self {
        let patience = |feed: &Feed| match feed.topic.is_of_people() {
            true => timeout.min(PATIENCE_WITH_PEOPLE),
            false if has_wall && feed.lateness.is_some() => Duration::MAX,
            false => timeout,
        };
        let patience = feeds.iter().map(patience).collect();
        Silence { heard: vec![now; feeds.len()], patience, timeout }
    }

    pub(super) fn heard(&mut self, feed: FeedId, now: Instant) {
        if let Some(heard) = self.heard.get_mut(usize::from(feed.0)) {
            *heard = now;
        }
    }

    /// As [`Silence::heard`], for all feeds of a topic.
    pub(super) fn heard_topic(&mut self, feeds: &[Feed], topic: Topic, now: Instant) {
        for (heard, _) in self.heard.iter_mut().zip(feeds).filter(|(_, feed)| feed.topic == topic) {
            *heard = now;
        }
    }

    /// Nothing could be heard up to now.
    pub(super) fn excuse(&mut self, now: Instant) {
        self.heard.fill(now);
    }

    /// The marks that pass over the silent feeds: up to where the others are; up to the timeout
    /// before `wall` where no other is left and event time is the wall clock's.
    fn marks(&self, watermark: &Watermark, wall: Option<EventTime>, now: Instant) -> Vec<Mark> {
        let is_silent = |feed: FeedId| {
            let index = usize::from(feed.0);
            let known = self.heard.get(index).zip(self.patience.get(index));
            known
                .is_some_and(|(heard, patience)| now.saturating_duration_since(*heard) >= *patience)
        };
        // A feed that has ended says nothing of how far the others are.
        let open = || watermark.entries().filter(|(_, at, _)| *at != EventTime::MAX);
        let reached = open().filter(|(feed, _, _)| !is_silent(*feed)).map(|(_, at, _)| at).min();
        let (time, step) = match (reached, wall) {
            (Some(reached), _) => (reached, Span::from_millis(1)),
            (None, Some(wall)) => {
                let timeout = i64::try_from(self.timeout.as_millis()).unwrap_or(i64::MAX);
                (wall - Span::from_millis(timeout), WALL_STEP)
            }
            (None, None) => return Vec::new(),
        };
        open()
            .filter(|(feed, at, _)| is_silent(*feed) && *at + step <= time)
            .map(|(feed, _, _)| Mark { feed, time })
            .collect()
    }
}

impl<S, T, C, P> Drive<S, T, C, P>
where
    S: Source,
    T: StateStore,
    C: Committer,
    P: Predictor,
{
    /// Steps the marks that are due for feeds that have fallen silent.
    pub(super) fn pass_silent_feeds(&mut self) -> Result<(), DriveError> {
        let Some(silence) = &self.silence else { return Ok(()) };
        let is_wall = self.options.event_time_is_wall_time;
        let wall = is_wall.then(|| EventTime::from_millis((self.clock)().as_millis()));
        let task = self.options.partition;
        for mark in silence.marks(self.task.watermark(), wall, Instant::now()) {
            let feed = self.task.config().feeds.get(usize::from(mark.feed.0));
            if feed.is_some_and(|feed| !feed.topic.is_of_people()) {
                FeedPassed { task, feed: mark.feed, to: mark.time }.emit();
            }
            self.journal(&JournalInput::DerivedMark(mark))?;
            self.step(Input::DerivedMark(mark))?;
        }
        self.send_dead_letters(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(900);

    fn at(minutes: i64) -> EventTime {
        EventTime::from_millis(0) + Span::minutes(minutes)
    }

    fn watermark(marks: &[EventTime]) -> Watermark {
        let mut watermark = Watermark::new(marks.len());
        for (feed, time) in (0..).map(FeedId).zip(marks) {
            watermark.mark(Mark { feed, time: *time });
        }
        watermark
    }

    fn feeds(topics: &[Topic]) -> Vec<Feed> {
        topics.iter().map(|&topic| Feed::of(topic)).collect()
    }

    #[test]
    fn nobody_waits_for_people_and_a_feed_of_theirs_is_waited_for_while_it_speaks() {
        let start = Instant::now();
        let feeds = feeds(&[Topic::Lab, Topic::Acknowledgement]);
        let mut silence = Silence::new(&feeds, TIMEOUT, false, start);
        let soon = start + PATIENCE_WITH_PEOPLE;
        let at_20 = watermark(&[at(20), EventTime::MIN]);
        assert!(silence.marks(&at_20, None, start).is_empty(), "what there is, is read first");
        let passed = Mark { feed: FeedId(1), time: at(20) };
        assert_eq!(silence.marks(&at_20, None, soon), [passed]);
        silence.heard(FeedId(1), soon);
        assert!(silence.marks(&watermark(&[at(20), at(5)]), None, soon).is_empty());
    }

    #[test]
    fn a_silent_feed_is_passed_over_up_to_where_the_others_are() {
        let start = Instant::now();
        let mut silence = Silence::new(&feeds(&[Topic::Lab; 3]), TIMEOUT, false, start);
        let watermark = watermark(&[at(10), at(60), at(50)]);
        assert!(silence.marks(&watermark, None, start + TIMEOUT / 2).is_empty());
        let late = start + TIMEOUT;
        silence.heard(FeedId(1), late);
        silence.heard(FeedId(2), late);
        let passed = Mark { feed: FeedId(0), time: at(50) };
        assert_eq!(silence.marks(&watermark, Some(at(999)), late), [passed]);
        silence.excuse(late);
        assert!(silence.marks(&watermark, None, late).is_empty());
    }

    #[test]
    fn when_all_are_silent_only_a_wall_clock_moves_time() {
        let start = Instant::now();
        let silence = Silence::new(&feeds(&[Topic::Lab; 2]), TIMEOUT, false, start);
        let late = start + TIMEOUT;
        let stopped = watermark(&[at(10), EventTime::MAX]);
        assert!(silence.marks(&stopped, None, late).is_empty());
        let passed = Mark { feed: FeedId(0), time: at(45) };
        assert_eq!(silence.marks(&stopped, Some(at(60)), late), [passed]);
        let near = watermark(&[at(45), EventTime::MAX]);
        assert!(silence.marks(&near, Some(at(60)), late).is_empty(), "one a minute is enough");
    }

    #[test]
    fn a_feed_that_was_never_heard_waits_for_the_timeout_only() {
        let start = Instant::now();
        let mut silence = Silence::new(&feeds(&[Topic::Lab; 2]), TIMEOUT, false, start);
        let late = start + TIMEOUT;
        silence.heard(FeedId(1), late);
        let passed = Mark { feed: FeedId(0), time: at(7) };
        assert_eq!(silence.marks(&watermark(&[EventTime::MIN, at(7)]), None, late), [passed]);
    }
}
