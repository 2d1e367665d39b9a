//! Defects planted in the ports. A simulator that does not find them finds nothing.

use crate::runner::run;
use crate::world::Defect;

/// Within so many seeds each planted defect must show.
const SEEDS: u64 = 200;

#[test]
fn every_planted_defect_is_found() {
    for defect in Defect::ALL {
        let summary = run(0..SEEDS, Some(defect), 1);
        let Some(seed) = summary.failed else {
            panic!("{defect:?} was not found within {SEEDS} seeds");
        };
        let why = summary.failures.first().map_or("", |why| why.lines().next().unwrap_or(""));
        println!("{defect:?}: found by seed {seed}: {why:.200}");
    }
}
