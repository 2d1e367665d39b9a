//! How far the task has got in the patients' time: the least of its feeds' marks.

use std::collections::BTreeSet;

use crate::event::Mark;
use crate::ids::FeedId;
use crate::time::EventTime;

/// Stretches of time in which a feed was passed over, one an outage, that are remembered.
const PASSED_MAX: usize = 128;

/// The marks of one task's feeds. Monotone: a mark that would go back is ignored, and with it the
/// watermark never goes back.
#[derive(Clone, Debug, PartialEq)]
pub struct Watermark {
    /// By feed id.
    marks: Vec<EventTime>,
    /// Feeds whose newest mark was made by the driver because the feed fell silent.
    missing: BTreeSet<FeedId>,
    /// By feed id: from where (excluded) to where the driver passed it over, newest last. In these
    /// stretches no promise of the feed itself stands behind a window, whatever it says later.
    passed: Vec<Vec<(EventTime, EventTime)>>,
}

impl Watermark {
    pub fn new(n_feeds: usize) -> Self {
        Watermark {
            marks: vec![EventTime::MIN; n_feeds],
            missing: BTreeSet::new(),
            passed: vec![Vec::new(); n_feeds],
        }
    }

    /// The time up to which every feed has promised to be complete.
    pub fn time(&self) -> EventTime {
        self.marks.iter().copied().min().unwrap_or(EventTime::MIN)
    }

    /// How far this feed has promised to be complete.
    pub fn mark_of(&self, feed: FeedId) -> EventTime {
        self.marks.get(usize::from(feed.0)).copied().unwrap_or(EventTime::MIN)
    }

    /// Takes a feed's own mark; it is no longer missing.
    pub fn mark(&mut self, mark: Mark) {
        if self.raise(mark).is_some() {
            self.missing.remove(&mark.feed);
        }
    }

    /// Takes a mark made for a silent feed.
    pub fn derive(&mut self, mark: Mark) {
        let Some(from) = self.raise(mark) else { return };
        self.missing.insert(mark.feed);
        let Some(passed) = self.passed.get_mut(usize::from(mark.feed.0)) else { return };
        match passed.last_mut() {
            Some(last) if last.1 == from => last.1 = mark.time,
            _ => passed.push((from, mark.time)),
        }
        if passed.len() > PASSED_MAX {
            passed.remove(0);
        }
    }

    /// Takes a feed's mark back from a store, with what [`Watermark::passed`] said.
    pub fn restore(&mut self, mark: Mark, derived: bool, passed: Vec<(EventTime, EventTime)>) {
        self.raise(mark);
        if derived {
            self.missing.insert(mark.feed);
        }
        if let Some(held) = self.passed.get_mut(usize::from(mark.feed.0)) {
            *held = passed;
        }
    }

    /// The feeds for which the driver, and not the feed itself, first promised `time`. What the
    /// feed says afterwards changes nothing, as its facts came too late; so the answer is the same
    /// whenever it is asked for, and however the feeds are interleaved.
    pub fn missing_at(&self, time: EventTime) -> impl Iterator<Item = FeedId> + '_ {
        let holds = move |&(from, to): &(EventTime, EventTime)| from < time && time <= to;
        let feeds = (0u8..).map(FeedId).zip(&self.passed);
        feeds.filter(move |(_, passed)| passed.iter().any(holds)).map(|(feed, _)| feed)
    }

    /// Where a feed was passed over, to be stored.
    pub fn passed(&self, feed: FeedId) -> &[(EventTime, EventTime)] {
        self.passed.get(usize::from(feed.0)).map_or(&[], Vec::as_slice)
    }

    /// Feeds whose newest mark was made by the driver.
    pub fn missing(&self) -> impl Iterator<Item = FeedId> + '_ {
        self.missing.iter().copied()
    }

    /// Where the mark stood before, if it was raised.
    fn raise(&mut self, mark: Mark) -> Option<EventTime> {
        let held = self.marks.get_mut(usize::from(mark.feed.0))?;
        if *held >= mark.time {
            return None;
        }
        Some(std::mem::replace(held, mark.time))
    }

    /// The marks, to be stored: feed, time, and whether the driver made it.
    pub fn entries(&self) -> impl Iterator<Item = (FeedId, EventTime, bool)> + '_ {
        (0u8..).zip(&self.marks).map(|(index, time)| {
            let feed = FeedId(index);
            (feed, *time, self.missing.contains(&feed))
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(ms: i64) -> EventTime {
        EventTime::from_millis(ms)
    }

    #[test]
    fn a_silent_feed_holds_the_watermark_until_a_mark_is_derived_for_it() {
        let mut watermark = Watermark::new(2);
        watermark.mark(Mark { feed: FeedId(0), time: at(10) });
        assert_eq!(watermark.time(), EventTime::MIN);
        watermark.derive(Mark { feed: FeedId(1), time: at(8) });
        assert_eq!(watermark.time(), at(8));
        assert_eq!(watermark.missing().collect::<Vec<_>>(), [FeedId(1)]);
        watermark.mark(Mark { feed: FeedId(1), time: at(9) });
        assert_eq!(watermark.missing().count(), 0);
    }

    #[test]
    fn what_a_feed_says_after_it_was_passed_over_does_not_hide_that_it_was_missing() {
        let late_own_mark = |watermark: &mut Watermark| {
            watermark.mark(Mark { feed: FeedId(0), time: at(130) });
        };
        for own_mark_first in [false, true] {
            let mut watermark = Watermark::new(2);
            watermark.mark(Mark { feed: FeedId(0), time: at(50) });
            watermark.mark(Mark { feed: FeedId(1), time: at(50) });
            watermark.derive(Mark { feed: FeedId(0), time: at(100) });
            if own_mark_first {
                late_own_mark(&mut watermark);
            }
            watermark.mark(Mark { feed: FeedId(1), time: at(120) });
            assert_eq!(watermark.missing_at(at(100)).collect::<Vec<_>>(), [FeedId(0)]);
            assert_eq!(watermark.missing_at(at(101)).count(), 0);
            late_own_mark(&mut watermark);
            watermark.mark(Mark { feed: FeedId(1), time: at(140) });
            assert_eq!(watermark.missing_at(at(130)).count(), 0);
        }
    }

    proptest! {
        #[test]
        fn never_goes_back(marks in prop::collection::vec((0u8..3, -50i64..50), 0..60)) {
            let mut watermark = Watermark::new(3);
            let mut last = watermark.time();
            for (feed, ms) in marks {
                watermark.mark(Mark { feed: FeedId(feed), time: at(ms) });
                prop_assert!(watermark.time() >= last);
                last = watermark.time();
            }
        }
    }
}
