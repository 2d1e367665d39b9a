//! Whether the newest value of a variable may be no measurement: a sensor that stands still, or a
//! change faster than a body's. What is suspect is said, and used all the same.

use crate::event::dictionary::{Signal, Stuck};
use crate::event::risk::Suspicion;
use crate::time::{EventTime, Span};

/// Values observed within a minute of each other are held to the limit for a minute: two sensors
/// of one variable seldom agree to the second.
const LEAST_GAP: Span = Span::MINUTE;

/// Judges the newest of one variable's values, which come newest first.
pub fn suspicion(
    newest_first: impl Iterator<Item = (EventTime, f64)> + Clone,
    signal: &Signal,
) -> Option<Suspicion> {
    if signal.max_change.is_some_and(|limit| is_jump(newest_first.clone(), limit)) {
        return Some(Suspicion::Jump);
    }
    signal.stuck.filter(|stuck| is_stuck(newest_first, stuck)).map(|_| Suspicion::Stuck)
}

/// A value beyond the reach of the one before it, unless that one was the leap: then it was alone,
/// or came from another sensor, and the value agrees with the one before that.
fn is_jump(mut newest_first: impl Iterator<Item = (EventTime, f64)>, limit: f64) -> bool {
    let reaches = |(at, value): (EventTime, f64), (before, earlier): (EventTime, f64)| {
        let minutes = at.since(before).max(LEAST_GAP).as_hours() * 60.0;
        (value - earlier).abs() <= limit * minutes
    };
    let (Some(newest), Some(one)) = (newest_first.next(), newest_first.next()) else {
        return false;
    };
    let was_alone = |other| !reaches(one, other) && reaches(newest, other);
    !reaches(newest, one) && !newest_first.next().is_some_and(was_alone)
}

fn is_stuck(mut newest_first: impl Iterator<Item = (EventTime, f64)>, stuck: &Stuck) -> bool {
    let Some((at, value)) = newest_first.next() else { return false };
    if stuck.below.is_some_and(|below| value >= below) {
        return false;
    }
    let mut times = 1;
    while let Some((before, _)) = newest_first.next().filter(|(_, v)| *v == value) {
        times += 1;
        if times >= stuck.times && at.since(before) >= stuck.over {
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const STUCK: Stuck = Stuck { times: 4, over: Span::minutes(30), below: Some(97.0) };
    const SIGNAL: Signal =
        Signal { stuck: Some(STUCK), max_change: Some(20.0), copied_within: None };

    fn at(minute: i64) -> EventTime {
        EventTime::from_millis(0) + Span::minutes(minute)
    }

    /// The suspicion of the last of these (minute, value), oldest first.
    fn of(values: &[(i64, f64)]) -> Option<Suspicion> {
        suspicion(values.iter().rev().map(|(minute, value)| (at(*minute), *value)), &SIGNAL)
    }

    #[test]
    fn a_lone_extreme_is_suspect_until_another_value_agrees() {
        assert_eq!(of(&[]), None);
        assert_eq!(of(&[(0, 80.0)]), None, "nothing to compare it with");
        assert_eq!(of(&[(0, 80.0), (1, 120.0)]), Some(Suspicion::Jump));
        assert_eq!(of(&[(0, 80.0), (1, 120.0), (2, 118.0)]), None, "it was true");
        assert_eq!(of(&[(0, 80.0), (1, 120.0), (2, 82.0)]), None, "it was alone");
        assert_eq!(of(&[(0, 80.0), (60, 120.0)]), None, "an hour is long enough");
        assert_eq!(of(&[(0, 80.0), (60, 81.0), (61, 120.0)]), Some(Suspicion::Jump));
        assert_eq!(of(&[(0, 80.0), (0, 110.0)]), Some(Suspicion::Jump), "at once");
        // Two sensors that differ, in turn.
        assert_eq!(of(&[(0, 80.0), (0, 110.0), (1, 81.0), (1, 111.0)]), None);
    }

    #[test]
    fn what_stands_still_for_long_is_suspect_and_a_full_saturation_is_not() {
        let still = |value: f64, n: i64| (0..n).map(|i| (i * 10, value)).collect::<Vec<_>>();
        assert_eq!(of(&still(72.0, 3)), None);
        assert_eq!(of(&still(72.0, 4)), Some(Suspicion::Stuck));
        assert_eq!(of(&still(100.0, 9)), None);
        assert_eq!(of(&[(0, 72.0), (1, 72.0), (2, 72.0), (3, 72.0)]), None, "not for long");
        assert_eq!(of(&[&still(72.0, 9)[..], &[(90, 73.0)]].concat()), None, "it moved");
    }

    /// The same in the plainest way, from the front.
    fn naive(values: &[(i64, f64)]) -> Option<Suspicion> {
        let n = values.len();
        let (minute, value) = *values.last()?;
        let leaps = |from: usize, to: usize| {
            let ((before, earlier), (after, later)) = (values[from], values[to]);
            (later - earlier).abs() > 20.0 * ((after - before).max(1) as f64)
        };
        let is_back = n >= 3 && leaps(n - 3, n - 2) && !leaps(n - 3, n - 1);
        let alone = n >= 2 && leaps(n - 2, n - 1) && !is_back;
        let run = |from: usize| values[from..].iter().all(|(_, v)| *v == value);
        let still = |from: usize| n - from >= 4 && minute - values[from].0 >= 30 && run(from);
        match alone {
            true => Some(Suspicion::Jump),
            false => (value < 97.0 && (0..n).any(still)).then_some(Suspicion::Stuck),
        }
    }

    proptest! {
        #[test]
        fn judges_as_the_naive_version_does(
            steps in prop::collection::vec((0i64..25, 0usize..5), 0..14),
        ) {
            let mut minute = 0;
            let values: Vec<(i64, f64)> = steps.into_iter().map(|(gap, which)| {
                minute += gap;
                (minute, [72.0, 72.0, 100.0, 110.0, 300.0][which])
            }).collect();
            prop_assert_eq!(of(&values), naive(&values));
        }
    }
}
