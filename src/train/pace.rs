//! How long a stage runs, how fast it is, and what it says of itself meanwhile.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::time::Instant;

use serde::Serialize;

use super::TrainError;

/// How long a stage may take.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Budget {
    /// Exactly so many steps: repeatable.
    Steps(u64),
    /// As many steps as fit into so many seconds, judged by the first few. The number chosen is
    /// reported, so that the run can be repeated by it.
    Seconds(f64),
}

/// What a stage says from time to time.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Progress {
    pub stage: String,
    pub step: u64,
    /// 0 while the number of steps is not chosen yet.
    pub steps: u64,
    pub steps_per_second: f64,
    pub eta_seconds: f64,
    /// Means since the last report, by name.
    pub losses: Vec<(String, f64)>,
}

/// Steps after which the rate is judged; the first ones are slower than the rest.
const PROBE: u64 = 12;
/// Reports of one stage, about.
const REPORTS: u64 = 40;

/// The run of one stage.
pub(super) struct Pace<'a> {
    stage: &'static str,
    budget: Budget,
    started: Instant,
    step: u64,
    steps: u64,
    sums: Vec<(&'static str, f64, u64)>,
    log: &'a mut Log,
    report: &'a mut dyn FnMut(Progress),
}

/// The JSON lines of a run.
pub(super) struct Log(BufWriter<File>);

impl Log {
    pub(super) fn create(path: &Path) -> Result<Self, TrainError> {
        let file = File::create(path).map_err(|error| TrainError::write(path, error))?;
        Ok(Log(BufWriter::new(file)))
    }

    /// One line.
    pub(super) fn line(&mut self, what: &impl Serialize) -> Result<(), TrainError> {
        let text =
            serde_json::to_string(what).map_err(|error| TrainError::Data(error.to_string()))?;
        writeln!(self.0, "{text}").and_then(|()| self.0.flush()).map_err(TrainError::Log)
    }
}

impl<'a> Pace<'a> {
    pub(super) fn new(
        stage: &'static str,
        budget: Budget,
        log: &'a mut Log,
        report: &'a mut dyn FnMut(Progress),
    ) -> Self {
        let steps = match budget {
            Budget::Steps(steps) => steps.max(1),
            Budget::Seconds(_) => 0,
        };
        Pace {
            stage,
            budget,
            started: Instant::now(),
            step: 0,
            steps,
            sums: Vec::new(),
            log,
            report,
        }
    }

    /// The number of the next step, or `None` at the end.
    pub(super) fn next(&mut self) -> Option<u64> {
        if let (Budget::Seconds(seconds), 0, PROBE) = (self.budget, self.steps, self.step) {
            let each = self.started.elapsed().as_secs_f64() / PROBE as f64;
            self.steps = ((seconds / each.max(1e-6)) as u64).max(2 * PROBE);
        }
        let more = self.steps == 0 || self.step < self.steps;
        more.then(|| {
            self.step += 1;
            self.step - 1
        })
    }

    /// How far the stage is, 0..1. Until the number of steps is chosen it counts as the start.
    pub(super) fn share(&self) -> f64 {
        if self.steps == 0 { 0.0 } else { self.step as f64 / self.steps as f64 }
    }

    pub(super) fn steps(&self) -> u64 {
        self.step
    }

    /// Adds a value to the mean of `name` in the next report.
    pub(super) fn add(&mut self, name: &'static str, value: f64) {
        match self.sums.iter_mut().find(|sum| sum.0 == name) {
            Some(sum) => (sum.1, sum.2) = (sum.1 + value, sum.2 + 1),
            None => self.sums.push((name, value, 1)),
        }
    }

    /// Adds the values of a step, and reports when it is time to.
    pub(super) fn note(&mut self, losses: &[(&'static str, f64)]) -> Result<(), TrainError> {
        losses.iter().for_each(|&(name, value)| self.add(name, value));
        let every = (self.steps / REPORTS).max(5);
        if self.step % every != 0 && self.step != self.steps {
            return Ok(());
        }
        let rate = self.step as f64 / self.started.elapsed().as_secs_f64().max(1e-9);
        let mean = |&(name, sum, n): &(&'static str, f64, u64)| (name.to_owned(), sum / n as f64);
        let progress = Progress {
            stage: self.stage.to_owned(),
            step: self.step,
            steps: self.steps,
            steps_per_second: rate,
            eta_seconds: self.steps.saturating_sub(self.step) as f64 / rate,
            losses: self.sums.iter().map(mean).collect(),
        };
        self.sums.clear();
        if progress.losses.iter().any(|(_, value)| !value.is_finite()) {
            return Err(TrainError::Diverged(self.stage.to_owned(), self.step));
        }
        self.log.line(&progress)?;
        (self.report)(progress);
        Ok(())
    }
}
