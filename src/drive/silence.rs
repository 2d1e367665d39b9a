//! Feeds that fall silent: after a while the loop passes them over by a mark of its own, so that
//! one dead interface does not stop the whole ward. The mark is journalled, and windows sealed
//! without the feed say so.

use std::time::{Duration, Instant};

use super::{Drive, DriveError};
use crate::engine::{Input, Watermark};
use crate::event::Mark;
use crate::ids::FeedId;
use crate::ports::{Committer, Predictor, Source, StateStore};
use crate::telemetry::FeedPassed;
use crate::time::{EventTime, Span};
use crate::wire::JournalInput;

/// When nothing but the wall clock says how late it is, a mark is made this often.
const WALL_STEP: Span = Span::MINUTE;

/// When each feed was heard last, counted only while reading keeps up: a task that works off a
/// backlog hears nothing new, and that is not the feeds' fault.
pub(super) struct Silence {
    heard: Vec<Instant>,
    timeout: Duration,
}

impl Silence {
    pub(super) fn new(n_feeds: usize, timeout: Duration, now: Instant) -> Self {
        Silence { heard: vec![now; n_feeds], timeout }
    }

    pub(super) fn heard(&mut self, feed: FeedId, now: Instant) {
        if let Some(heard) = self.heard.get_mut(usize::from(feed.0)) {
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
            let heard = self.heard.get(usize::from(feed.0));
            heard.is_some_and(|heard| now.saturating_duration_since(*heard) >= self.timeout)
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
            FeedPassed { task, feed: mark.feed, to: mark.time }.emit();
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

    #[test]
    fn a_silent_feed_is_passed_over_up_to_where_the_others_are() {
        let start = Instant::now();
        let mut silence = Silence::new(3, TIMEOUT, start);
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
        let silence = Silence::new(2, TIMEOUT, start);
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
        let mut silence = Silence::new(2, TIMEOUT, start);
        let late = start + TIMEOUT;
        silence.heard(FeedId(1), late);
        let passed = Mark { feed: FeedId(0), time: at(7) };
        assert_eq!(silence.marks(&watermark(&[EventTime::MIN, at(7)]), None, late), [passed]);
    }
}
