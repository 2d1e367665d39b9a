//! When a stay's windows are due: every hour from admission, at landmarks, when a film arrives.

use std::collections::BTreeSet;

use crate::config::EngineConfig;
use crate::event::risk::Triggers;
use crate::time::{EventTime, Span};

/// The first window of a stay after `after`, and why it is due. One window per time: triggers that
/// fall together share it.
pub fn next_window(
    config: &EngineConfig,
    admitted_at: EventTime,
    films_due: &BTreeSet<EventTime>,
    after: EventTime,
) -> Option<(EventTime, Triggers)> {
    let hour = config.every.and_then(|every| next_multiple(admitted_at, every, after));
    let landmark =
        config.landmarks.iter().map(|&age| admitted_at + age).filter(|&t| t > after).min();
    let film = films_due.iter().copied().find(|&t| t > after);
    let t = [hour, landmark, film].into_iter().flatten().min()?;
    let triggers = Triggers {
        hour: hour == Some(t),
        landmark: landmark == Some(t),
        film: film == Some(t),
        request: false,
    };
    Some((t, triggers))
}

/// The least `start + k · every` with k ≥ 1 that lies after `after`.
fn next_multiple(start: EventTime, every: Span, after: EventTime) -> Option<EventTime> {
    let step = every.as_millis();
    if step <= 0 {
        return None;
    }
    let passed = after.since(start).as_millis().div_euclid(step);
    let k = passed.saturating_add(1).max(1);
    k.checked_mul(step).map(|ms| start + Span::from_millis(ms))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(hours: i64) -> EventTime {
        EventTime::from_millis(0) + Span::hours(hours)
    }

    #[test]
    fn the_first_window_is_one_hour_after_admission() {
        let config = EngineConfig::default();
        let (t, triggers) =
            next_window(&config, at(10), &BTreeSet::new(), EventTime::MIN).expect("a window");
        assert_eq!(t, at(11));
        assert!(triggers.hour && !triggers.landmark && !triggers.film);
    }

    #[test]
    fn triggers_that_fall_together_share_a_window() {
        let films = BTreeSet::from([at(48)]);
        let config = EngineConfig::default();
        let (t, triggers) = next_window(&config, at(0), &films, at(47)).expect("a window");
        assert_eq!(t, at(48));
        assert!(triggers.hour && triggers.landmark && triggers.film);
    }

    proptest! {
        #[test]
        fn the_next_multiple_is_the_least_one_after(start in -5i64..5, after in -20i64..20) {
            let next = next_multiple(at(start), Span::hours(3), at(after)).expect("a time");
            prop_assert!(next > at(after) && next > at(start));
            let before = next - Span::hours(3);
            prop_assert!(before <= at(after) || before <= at(start));
        }
    }
}
