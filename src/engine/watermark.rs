//! How far the task has got in the patients' time: the least of its feeds' marks.

use std::collections::BTreeSet;

use crate::event::Mark;
use crate::ids::FeedId;
use crate::time::EventTime;

/// The marks of one task's feeds. Monotone: a mark that would go back is ignored, and with it the
/// watermark never goes back.
#[derive(Clone, Debug, PartialEq)]
pub struct Watermark {
    /// By feed id.
    marks: Vec<EventTime>,
    /// Feeds whose newest mark was made by the driver because the feed fell silent.
    missing: BTreeSet<FeedId>,
}

impl Watermark {
    pub fn new(n_feeds: usize) -> Self {
        Watermark { marks: vec![EventTime::MIN; n_feeds], missing: BTreeSet::new() }
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
        if self.raise(mark) {
            self.missing.remove(&mark.feed);
        }
    }

    /// Takes a mark made for a silent feed.
    pub fn derive(&mut self, mark: Mark) {
        if self.raise(mark) {
            self.missing.insert(mark.feed);
        }
    }

    pub fn missing(&self) -> impl Iterator<Item = FeedId> + '_ {
        self.missing.iter().copied()
    }

    fn raise(&mut self, mark: Mark) -> bool {
        match self.marks.get_mut(usize::from(mark.feed.0)) {
            Some(held) if *held < mark.time => {
                *held = mark.time;
                true
            }
            _ => false,
        }
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
