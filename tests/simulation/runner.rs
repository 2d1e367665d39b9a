//! Many seeds on all cores, what they showed, and the smallest variant of one that failed.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::cluster::{Plan, Report, simulate};
use crate::ward::Size;
use crate::world::Defect;

/// Seeds of a plain `cargo test`.
const DEFAULT_SEEDS: u64 = 120;
/// Fewer seeds than this need not show every fault.
const SEEDS_FOR_ALL: u64 = 100;

/// What happens in every long run; a run in which one of these never happened shows too little.
const FAULTS: [&str; 30] = [
    "act duplicate",
    "act late",
    "act rejected",
    "act used",
    "changelog compacted",
    "consumer paused",
    "crash",
    "disk full",
    "feed's transaction aborted",
    "feed's transaction left open",
    "fenced",
    "fetch failed",
    "flush put off",
    "mark derived",
    "model answered for another epoch",
    "model answered twice",
    "model degraded",
    "model died",
    "model unscored",
    "one topic read ahead",
    "outcome unknown",
    "person acted",
    "restored from the changelog",
    "segment sent again",
    "store damaged",
    "store lost, outputs known",
    "task moved",
    "topics held back",
    "transaction aborted",
    "zombie",
];

pub struct Summary {
    pub seeds: Range<u64>,
    pub took: Duration,
    pub counts: BTreeMap<&'static str, u64>,
    pub failures: Vec<String>,
    /// The first seed that failed.
    pub failed: Option<u64>,
}

/// `NOWCXR_SEED` names one, `NOWCXR_SEEDS` how many from 0.
pub fn seeds() -> Range<u64> {
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    match (number("NOWCXR_SEED"), number("NOWCXR_SEEDS")) {
        (Some(seed), _) => seed..seed + 1,
        (None, n) => 0..n.unwrap_or(DEFAULT_SEEDS),
    }
}

/// Runs until all seeds are done or `most` have failed.
pub fn run(seeds: Range<u64>, defect: Option<Defect>, most: usize) -> Summary {
    let started = Instant::now();
    let (next, stop) = (AtomicU64::new(seeds.start), AtomicBool::new(false));
    let counts: Mutex<BTreeMap<&'static str, u64>> = Mutex::default();
    let failures: Mutex<BTreeMap<u64, String>> = Mutex::default();
    let n_threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..n_threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end || stop.load(Ordering::Relaxed) {
                        return;
                    }
                    let report = guarded(Plan { seed, size: Size::FULL, defect });
                    for (what, n) in report.counts {
                        *counts.lock().unwrap().entry(what).or_default() += n;
                    }
                    if let Err(why) = report.outcome {
                        let mut failures = failures.lock().unwrap();
                        failures.insert(seed, why);
                        stop.store(failures.len() >= most, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    let failures = failures.into_inner().unwrap();
    let failed = failures.keys().next().copied();
    let told = |(seed, why): (u64, String)| match defect {
        None => story(seed, &why),
        Some(_) => why,
    };
    Summary {
        seeds,
        took: started.elapsed(),
        counts: counts.into_inner().unwrap(),
        failed,
        failures: failures.into_iter().map(told).collect(),
    }
}

/// A panic is a failure like any other, and names its seed.
fn guarded(plan: Plan) -> Report {
    catch_unwind(AssertUnwindSafe(|| simulate(plan))).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        let why = format!("panic: {}", text.unwrap_or_default());
        Report { outcome: Err(why), counts: BTreeMap::new() }
    })
}

/// What failed, how to repeat it, and the smallest variant of the seed that fails too.
fn story(seed: u64, why: &str) -> String {
    let mut sizes = Vec::new();
    for faults in [false, true] {
        for stays in 1..=4 {
            for facts in [0, 1, 2, 4, 8, usize::MAX] {
                sizes.push(Size { stays, facts, faults });
            }
        }
    }
    let fails = |size: &Size| guarded(Plan { seed, size: *size, defect: None }).outcome.err();
    let smallest = sizes.into_iter().find_map(|size| Some((size, fails(&size)?)));
    let smaller = smallest.map_or_else(String::new, |(size, why)| {
        let Size { stays, facts, faults } = size;
        format!("\n  smallest: {stays} stays, {facts} facts each, faults {faults}: {why}")
    });
    format!(
        "seed {seed}: {why}{smaller}\n  again: NOWCXR_SEED={seed} cargo test --release --test \
         simulation nothing_is -- --nocapture"
    )
}

impl Summary {
    /// A simulator that does no harm proves nothing.
    pub fn every_fault_has_happened(&self) {
        if self.seeds.end - self.seeds.start < SEEDS_FOR_ALL {
            return;
        }
        for fault in FAULTS {
            assert!(self.counts.contains_key(fault), "in {:?} never: {fault}", self.seeds);
        }
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Range { start, end } = self.seeds;
        writeln!(f, "seeds {start}..{end} in {:.1} s", self.took.as_secs_f64())?;
        for (what, n) in &self.counts {
            writeln!(f, "  {n:>9}  {what}")?;
        }
        Ok(())
    }
}
