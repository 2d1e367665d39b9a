//! Window arithmetic, pure: which window a moment belongs to, when a window is closed, and how a
//! watermark follows from the newest time seen. The words are Kafka Streams' and Flink's.

use crate::time::{EventTime, Span};

/// A window is closed once the watermark has reached its end, and never opens again. What would
/// have belonged to it and comes later is late.
pub const fn is_closed(end: EventTime, watermark: EventTime) -> bool {
    end.as_millis() <= watermark.as_millis()
}

/// Windows of one length, side by side, aligned to the epoch: window `n` is [n·size, (n+1)·size).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tumbling {
    size_ms: i64,
}

impl Tumbling {
    /// One window an hour, the hours of [`EventTime::hour`].
    pub const HOURLY: Tumbling = Tumbling { size_ms: Span::HOUR.as_millis() };

    /// `None` unless the size is above zero.
    pub fn new(size: Span) -> Option<Self> {
        (size > Span::ZERO).then_some(Tumbling { size_ms: size.as_millis() })
    }

    /// The window that `at` belongs to.
    pub const fn window_of(self, at: EventTime) -> i64 {
        at.as_millis().div_euclid(self.size_ms)
    }

    /// First moment of window `n`, held at the ends of the range.
    pub const fn start(self, n: i64) -> EventTime {
        EventTime::from_millis(n.saturating_mul(self.size_ms))
    }

    /// First moment after window `n`.
    pub const fn end(self, n: i64) -> EventTime {
        self.start(n.saturating_add(1))
    }

    /// Whether window `n` is closed.
    pub const fn is_closed(self, n: i64, watermark: EventTime) -> bool {
        is_closed(self.end(n), watermark)
    }

    /// The first end of a window after `watermark`: nothing closes before it is reached.
    pub const fn next_end(self, watermark: EventTime) -> EventTime {
        self.end(self.window_of(watermark))
    }
}

/// A watermark for a source without marks: the newest time seen less a bound on the disorder.
#[derive(Clone, Debug, PartialEq)]
pub struct BoundedDisorder {
    windows: Tumbling,
    bound: Span,
    newest: EventTime,
    /// The newest time at which the next window closes; spares the arithmetic on other events.
    closes_at: EventTime,
}

impl BoundedDisorder {
    pub fn new(windows: Tumbling, bound: Span) -> Self {
        BoundedDisorder { windows, bound, newest: EventTime::MIN, closes_at: EventTime::MIN }
    }

    pub fn time(&self) -> EventTime {
        self.newest - self.bound
    }

    /// Takes one event's time. The watermark, if by it a window has closed.
    pub fn observe(&mut self, at: EventTime) -> Option<EventTime> {
        if at <= self.newest {
            return None;
        }
        self.newest = at;
        if at < self.closes_at {
            return None;
        }
        self.closes_at = self.windows.next_end(self.time()) + self.bound;
        Some(self.time())
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
    fn a_window_holds_its_start_and_not_its_end() {
        let hourly = Tumbling::HOURLY;
        assert_eq!(hourly.window_of(at(3_599_999)), 0);
        assert_eq!(hourly.window_of(at(3_600_000)), 1);
        assert_eq!(hourly.window_of(at(-1)), -1);
        assert_eq!((hourly.start(-1), hourly.end(-1)), (at(-3_600_000), at(0)));
        assert_eq!(Tumbling::new(Span::ZERO), None);
    }

    #[test]
    fn a_window_closes_when_the_watermark_reaches_its_end() {
        assert!(!Tumbling::HOURLY.is_closed(0, at(3_599_999)));
        assert!(Tumbling::HOURLY.is_closed(0, at(3_600_000)));
        assert!(Tumbling::HOURLY.is_closed(i64::MAX, EventTime::MAX));
    }

    proptest! {
        #[test]
        fn the_disorder_watermark_tells_of_every_closing(
            times in prop::collection::vec(-5_000i64..20_000, 1..60),
            size in 1i64..3_000,
            bound in 0i64..2_000,
        ) {
            let windows = Tumbling::new(Span::from_millis(size)).unwrap();
            let mut clock = BoundedDisorder::new(windows, Span::from_millis(bound));
            let mut told = EventTime::MIN;
            let mut newest = i64::MIN;
            for ms in times {
                newest = newest.max(ms);
                if let Some(watermark) = clock.observe(at(ms)) {
                    prop_assert!(watermark > told);
                    told = watermark;
                }
                let plain = newest - bound;
                prop_assert_eq!(clock.time(), at(plain));
                for n in windows.window_of(at(plain)) - 2..=windows.window_of(at(plain)) + 1 {
                    prop_assert_eq!(
                        windows.is_closed(n, told),
                        (n + 1) * size <= plain,
                        "window {}", n
                    );
                }
            }
        }
    }
}
