//! A short run of everything.

use std::time::Instant;

use super::*;
use crate::time::EventTime;

#[test]
fn a_short_run_answers_every_window_at_both_paces() {
    let args = PipelineArgs {
        events: 2_000,
        stays: 5,
        per_hour: 20,
        offered: vec![1_000],
        seconds: 1,
        model_us: 100,
        runs: 1,
        seed: 1,
        dir: None,
    };
    let result = pipeline(&args).unwrap();
    // 20 hours; the first window of a stay may end before its first event.
    assert!(result.windows >= 5 * 19, "{} windows", result.windows);
    assert!(result.full_speed.cpu_us_per_event > 0.0);
    let [offered] = result.offered[..] else { panic!("one load was offered") };
    assert!(offered.p50_ms >= 0.1 && offered.p50_ms <= offered.p99_ms);
    assert!(offered.p99_ms <= offered.max_ms);
}

#[test]
fn a_window_is_measured_from_the_mark_that_closes_it() {
    let (t, start) = (EventTime::from_millis, Instant::now());
    let ms = Duration::from_millis;
    let latencies = Latencies(vec![(t(10), start + ms(7)), (t(99), start)]);
    let marks = [(t(5), start), (t(10), start + ms(2)), (t(20), start + ms(4))];
    assert_eq!(latencies.since(&marks.into_iter().collect()), [ms(5)]);
}
