//! How fast a recording is told, which may change while it is.

use std::time::Duration;

use super::config::Speed;
use crate::time::{EventTime, Span};

/// Idle event time longer than this is passed over: MIMIC's patients are decades apart.
const MAX_IDLE: Span = Span::HOUR;
/// How soon a pause looks whether it is over.
const PAUSE: Duration = Duration::from_millis(200);

/// What is wanted of the telling.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pace {
    pub speed: Speed,
    pub is_paused: bool,
    /// Everything before this time is told as fast as it goes. Nothing is left out, since a state
    /// without its past would be another patient's.
    pub through: Option<EventTime>,
}

impl Pace {
    pub fn at(speed: Speed) -> Self {
        Pace { speed, is_paused: false, through: None }
    }
}

/// Event time against elapsed time.
pub(super) struct Pacer {
    pace: Pace,
    last: Option<EventTime>,
    /// Event time that counts, up to `last`: idle stretches are cut to [`MAX_IDLE`].
    counted: Span,
    /// Where in counted event time the pace began, and when.
    began: (Span, Duration),
}

impl Pacer {
    pub fn new(speed: Speed) -> Self {
        let began = (Span::ZERO, Duration::ZERO);
        Pacer { pace: Pace::at(speed), last: None, counted: Span::ZERO, began }
    }

    pub fn pace(&self) -> Pace {
        self.pace
    }

    /// Goes on at another pace from where it stands, `elapsed` after the start.
    pub fn set(&mut self, pace: Pace, elapsed: Duration) {
        self.began = (self.position(elapsed), elapsed);
        self.pace = pace;
    }

    /// How long to wait for `at`, `elapsed` after the start.
    pub fn wait(&mut self, at: EventTime, elapsed: Duration) -> Duration {
        if self.pace.is_paused {
            return PAUSE;
        }
        let step = self.last.map_or(Span::ZERO, |last| at.since(last));
        let step = step.clamp(Span::ZERO, MAX_IDLE);
        self.counted = Span::from_millis(self.counted.as_millis() + step.as_millis());
        self.last = Some(at);
        if self.pace.through.is_some_and(|through| at < through) {
            self.began = (self.counted, elapsed);
            return Duration::ZERO;
        }
        let Speed::Times(factor) = self.pace.speed else { return Duration::ZERO };
        let (from, since) = self.began;
        let ahead = self.counted.as_millis() - from.as_millis();
        let due = Duration::try_from_secs_f64(ahead as f64 / 1000.0 / factor);
        due.unwrap_or(Duration::MAX).saturating_sub(elapsed.saturating_sub(since))
    }

    /// The counted event time that has been waited for.
    fn position(&self, elapsed: Duration) -> Span {
        let (from, since) = self.began;
        match (self.pace.is_paused, self.pace.speed) {
            (true, _) => from,
            (false, Speed::Max) => self.counted,
            (false, Speed::Times(factor)) => {
                let waited = elapsed.saturating_sub(since).as_secs_f64() * factor * 1000.0;
                let left = self.counted.as_millis() - from.as_millis();
                Span::from_millis(from.as_millis() + left.min(waited as i64))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn minute(m: i64) -> EventTime {
        EventTime::from_millis(m * 60_000)
    }

    fn secs(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn sixty_times_waits_a_sixtieth_and_passes_over_idle_time() {
        let mut pacer = Pacer::new(Speed::Times(60.0));
        assert_eq!(pacer.wait(minute(5_000), secs(0)), secs(0));
        assert_eq!(pacer.wait(minute(5_003), secs(1)), secs(2));
        assert_eq!(pacer.wait(minute(5_003), secs(3)), secs(0), "asked again when it is due");
        assert_eq!(pacer.wait(minute(9_000_000), secs(3)), secs(60), "an hour of idle at most");
        assert_eq!(Pacer::new(Speed::Max).wait(minute(1), secs(0)), secs(0));
    }

    #[test]
    fn another_speed_counts_from_where_it_was_set() {
        let mut pacer = Pacer::new(Speed::Times(60.0));
        pacer.wait(minute(0), secs(0));
        assert_eq!(pacer.wait(minute(10), secs(0)), secs(10));
        // Four of the ten minutes have passed; the other six go ten times as fast.
        pacer.set(Pace::at(Speed::Times(600.0)), secs(4));
        assert_eq!(pacer.wait(minute(10), secs(4)), Duration::from_millis(600));
        pacer.set(Pace::at(Speed::Max), secs(4));
        assert_eq!(pacer.wait(minute(10), secs(4)), secs(0));
        pacer.set(Pace::at(Speed::Times(60.0)), secs(4));
        assert_eq!(pacer.wait(minute(11), secs(4)), secs(1));
    }

    #[test]
    fn a_pause_takes_nothing_from_the_wait_and_adds_nothing() {
        let mut pacer = Pacer::new(Speed::Times(60.0));
        let paused = Pace { is_paused: true, ..pacer.pace() };
        pacer.wait(minute(0), secs(0));
        assert_eq!(pacer.wait(minute(10), secs(0)), secs(10));
        pacer.set(paused, secs(4));
        assert!(pacer.wait(minute(10), secs(500)) > secs(0));
        pacer.set(Pace { is_paused: false, ..paused }, secs(1_000));
        assert_eq!(pacer.wait(minute(10), secs(1_000)), secs(6));
    }

    #[test]
    fn what_lies_before_the_goal_is_told_at_once_and_the_rest_at_its_speed() {
        let mut pacer = Pacer::new(Speed::Times(60.0));
        pacer.wait(minute(0), secs(0));
        pacer.set(Pace { through: Some(minute(60)), ..pacer.pace() }, secs(0));
        assert_eq!(pacer.wait(minute(30), secs(0)), secs(0));
        assert_eq!(pacer.wait(minute(59), secs(1)), secs(0));
        assert_eq!(pacer.wait(minute(61), secs(1)), secs(2));
    }
}
