//! The counters that an operator sees, and how far they rise while a test looks.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use nowcxr::telemetry::Metrics;

/// The metrics are the process's, so one test counts at a time.
static ALONE: Mutex<()> = Mutex::new(());

/// The counters as they stood when the test began.
pub struct Watch {
    before: BTreeMap<String, f64>,
    _alone: MutexGuard<'static, ()>,
}

impl Watch {
    pub fn start() -> Self {
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        Watch { before: counters(), _alone: alone }
    }

    /// By how much a series has risen, such as `nowcxr_facts_late_total{topic="lab"}`.
    pub fn rose(&self, series: &str) -> u64 {
        let of = |all: &BTreeMap<String, f64>| all.get(series).copied().unwrap_or(0.0);
        (of(&counters()) - of(&self.before)) as u64
    }
}

fn counters() -> BTreeMap<String, f64> {
    let text = Metrics::global().unwrap().render().unwrap();
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| line.rsplit_once(' ').unwrap())
        .map(|(series, n)| (series.to_owned(), n.parse().unwrap()))
        .collect()
}
