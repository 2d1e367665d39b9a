//! Feeds of third parties, whose producers send no marks: how far such a feed has got is derived
//! from when its topic's records were appended, less the lateness that the site vouches for.
//!
//! Any record of the topic says so, whatever is in it: what is appended later was not available
//! before (append time − lateness). Where time is the wall clock's and nothing was appended for a
//! while, the clock says the same; after `feeds.timeout` such a mark passes the feed over, since a
//! quiet feed and a dead one look alike.
//!
//! Each mark is journalled, so that whoever steps the input again steps the same marks at the same
//! places. Marks that a record led to depend on the records before it in its topic and on nothing
//! else: a fact that keeps within the lateness is never late, however fast it is read.

use std::time::{Duration, Instant};

use super::silence::WALL_STEP;
use super::{Drive, DriveError, DriveOptions};
use crate::config::Feed;
use crate::engine::{Input, Watermark};
use crate::event::Mark;
use crate::ids::{FeedId, Topic};
use crate::ports::{Committer, Predictor, Source, SourceRecord, StateStore};
use crate::telemetry::FeedPassed;
use crate::time::{EventTime, Span, WallTime};
use crate::wire::JournalInput;

/// Between two marks that records lead to: what bounds the growth of the journal.
const RECORD_STEP: Span = Span::from_millis(30_000);

/// The feeds of a task that send no marks.
pub(super) struct Derivation {
    feeds: Vec<Unmarked>,
    quiet_after: Duration,
    timeout: Option<Duration>,
}

struct Unmarked {
    feed: FeedId,
    topic: Topic,
    lateness: Span,
    /// When the topic gave a record last, counted only while reading keeps up.
    heard: Instant,
}

impl Derivation {
    pub(super) fn new(feeds: &[Feed], options: &DriveOptions, now: Instant) -> Self {
        let feeds =
            (0u8..).map(FeedId).zip(feeds).filter_map(|(feed, Feed { topic, lateness, .. })| {
                lateness.map(|lateness| Unmarked { feed, topic: *topic, lateness, heard: now })
            });
        let (quiet_after, timeout) = (options.quiet_after, options.feed_timeout);
        Derivation { feeds: feeds.collect(), quiet_after, timeout }
    }

    /// Nothing could be heard up to now.
    pub(super) fn excuse(&mut self, now: Instant) {
        self.feeds.iter_mut().for_each(|feed| feed.heard = now);
    }

    /// As [`Derivation::excuse`], for one topic.
    pub(super) fn heard(&mut self, topic: Topic, now: Instant) {
        let of_topic = self.feeds.iter_mut().filter(|feed| feed.topic == topic);
        of_topic.for_each(|feed| feed.heard = now);
    }

    /// The marks that a record of `topic` leads to, once it was stepped.
    fn marks(&self, topic: Topic, appended_at: WallTime, watermark: &Watermark) -> Vec<Mark> {
        let of_topic = self.feeds.iter().filter(|feed| feed.topic == topic);
        let mark = |feed: &Unmarked| feed.mark(appended_at, RECORD_STEP, watermark);
        of_topic.filter_map(mark).collect()
    }

    /// The marks that are due at `wall` for feeds of which nothing has come for a while, and
    /// whether each passes its feed over.
    fn quiet(&self, wall: WallTime, watermark: &Watermark, now: Instant) -> Vec<(Mark, bool)> {
        let mark = |feed: &Unmarked| {
            let for_so_long = now.saturating_duration_since(feed.heard);
            let is_silent = self.timeout.is_some_and(|timeout| for_so_long >= timeout);
            let mark = feed.mark(wall, WALL_STEP, watermark);
            mark.filter(|_| for_so_long >= self.quiet_after).map(|mark| (mark, is_silent))
        };
        self.feeds.iter().filter_map(mark).collect()
    }
}

impl Unmarked {
    /// What is appended from `at` on may have become available at `at` − lateness, so the mark
    /// stands right before that. `None` if it would raise the feed's mark by less than `step`.
    fn mark(&self, at: WallTime, step: Span, watermark: &Watermark) -> Option<Mark> {
        let first = EventTime::from_millis(at.as_millis()) - self.lateness;
        let time = first - Span::from_millis(1);
        let is_worth_it = time >= watermark.mark_of(self.feed).saturating_add(step);
        is_worth_it.then_some(Mark { feed: self.feed, time })
    }
}

impl<S, T, C, P> Drive<S, T, C, P>
where
    S: Source,
    T: StateStore,
    C: Committer,
    P: Predictor,
{
    /// Steps the marks that a record leads to which was stepped. While the journal is played back
    /// it holds them.
    pub(super) fn derive_marks(&mut self, record: &SourceRecord) -> Result<(), DriveError> {
        let topic = record.origin.topic;
        if self.derivation.feeds.is_empty() {
            return Ok(());
        }
        self.derivation.heard(topic, Instant::now());
        let Some(appended_at) = record.appended_at.filter(|_| self.rehearsal.is_over()) else {
            return Ok(());
        };
        for mark in self.derivation.marks(topic, appended_at, self.task.watermark()) {
            if let Some(silence) = &mut self.silence {
                silence.heard(mark.feed, Instant::now());
            }
            self.journal(&JournalInput::Mark(mark))?;
            self.step(Input::Mark(mark))?;
        }
        Ok(())
    }

    /// Steps the marks that the wall clock leads to.
    pub(super) fn derive_marks_of_quiet_feeds(&mut self) -> Result<(), DriveError> {
        if !self.options.event_time_is_wall_time {
            return Ok(());
        }
        let (task, wall) = (self.options.partition, (self.clock)());
        let due = self.derivation.quiet(wall, self.task.watermark(), Instant::now());
        for (mark, is_passed_over) in due {
            if is_passed_over {
                FeedPassed { task, feed: mark.feed, to: mark.time }.emit();
                self.journal(&JournalInput::DerivedMark(mark))?;
                self.step(Input::DerivedMark(mark))?;
            } else {
                self.journal(&JournalInput::Mark(mark))?;
                self.step(Input::Mark(mark))?;
            }
        }
        self.send_dead_letters(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUIET: Duration = Duration::from_secs(60);
    const TIMEOUT: Duration = Duration::from_secs(900);

    fn at(seconds: i64) -> EventTime {
        EventTime::from_millis(seconds * 1_000)
    }

    fn wall(seconds: i64) -> WallTime {
        WallTime::from_millis(seconds * 1_000)
    }

    /// Vitals send marks; the laboratory does not, and is 600 s late at most.
    fn derivation(now: Instant) -> Derivation {
        let late = Feed { lateness: Some(Span::minutes(10)), ..Feed::of(Topic::Lab) };
        let options = DriveOptions {
            quiet_after: QUIET,
            feed_timeout: Some(TIMEOUT),
            ..DriveOptions::default()
        };
        Derivation::new(&[Feed::of(Topic::Vital), late], &options, now)
    }

    fn mark(millis: i64) -> Mark {
        Mark { feed: FeedId(1), time: EventTime::from_millis(millis) }
    }

    #[test]
    fn a_record_says_that_nothing_from_before_its_append_time_less_the_lateness_will_follow() {
        let derivation = derivation(Instant::now());
        let mut watermark = Watermark::new(2);
        let marks = derivation.marks(Topic::Lab, wall(1_000), &watermark);
        // What was available 600 s before is no later than allowed.
        assert_eq!(marks, [mark(399_999)]);
        watermark.mark(marks[0]);
        assert!(derivation.marks(Topic::Lab, wall(1_029), &watermark).is_empty(), "too soon");
        assert_eq!(derivation.marks(Topic::Lab, wall(1_030), &watermark), [mark(429_999)]);
        assert!(derivation.marks(Topic::Vital, wall(2_000), &watermark).is_empty());
        watermark.mark(Mark { feed: FeedId(1), time: EventTime::MAX });
        assert!(derivation.marks(Topic::Lab, wall(9_999), &watermark).is_empty(), "it has ended");
    }

    #[test]
    fn of_a_quiet_feed_the_clock_speaks_and_after_the_timeout_it_is_passed_over() {
        let start = Instant::now();
        let mut derivation = derivation(start);
        let mut watermark = Watermark::new(2);
        watermark.mark(Mark { feed: FeedId(1), time: at(100) });
        assert!(derivation.quiet(wall(1_000), &watermark, start + QUIET / 2).is_empty());
        let quiet = derivation.quiet(wall(1_000), &watermark, start + QUIET);
        assert_eq!(quiet, [(mark(399_999), false)]);
        let near = derivation.quiet(wall(759), &watermark, start + QUIET);
        assert!(near.is_empty(), "one a minute is enough");
        assert!(derivation.quiet(wall(1_000), &watermark, start + TIMEOUT)[0].1);
        derivation.heard(Topic::Lab, start + TIMEOUT);
        assert!(derivation.quiet(wall(1_000), &watermark, start + TIMEOUT).is_empty());
    }
}
