//! How long a stage runs, how fast it is, and what it says of itself meanwhile.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

use serde::Serialize;

use super::TrainError;
use super::symptoms::Symptom;

/// How long a stage may take.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Budget {
    /// Exactly so many steps: repeatable.
    Steps(u64),
    /// So many seconds, however many steps that is, and the learning rate falls by the clock: the
    /// way to make the most of a machine that others use too, and not repeatable.
    Seconds(f64),
}

/// What a stage says from time to time.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Progress {
    pub stage: String,
    pub step: u64,
    /// In a stage given in seconds, as many as it will come to at this rate.
    pub steps: u64,
    pub steps_per_second: f64,
    pub eta_seconds: f64,
    /// Means since the last report, by name.
    pub losses: Vec<(String, f64)>,
    /// In what ways the stage is failing, where it was just looked at.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub symptoms: Vec<Symptom>,
}

impl Progress {
    /// Of something that has no losses.
    pub(super) fn part(stage: &str, step: u64, steps: u64) -> Self {
        Progress {
            stage: stage.to_owned(),
            step,
            steps,
            steps_per_second: 0.0,
            eta_seconds: 0.0,
            losses: Vec::new(),
            symptoms: Vec::new(),
        }
    }
}

/// Reports of one stage, about.
const REPORTS: f64 = 40.0;

/// The run of one stage.
pub(super) struct Pace<'a> {
    stage: &'static str,
    budget: Budget,
    started: Instant,
    /// Seconds that earlier processes took.
    before: f64,
    step: u64,
    reported: f64,
    sums: Vec<(&'static str, f64, u64)>,
    /// What was reported: as many points as reports.
    history: Vec<Vec<(String, f64)>>,
    /// Where the curves are drawn.
    curves: PathBuf,
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

    /// The log of a run that goes on.
    pub(super) fn append(path: &Path) -> Result<Self, TrainError> {
        let file = File::options().create(true).append(true).open(path);
        Ok(Log(BufWriter::new(file.map_err(|error| TrainError::write(path, error))?)))
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
        curves: PathBuf,
    ) -> Self {
        let (started, sums) = (Instant::now(), Vec::new());
        Pace {
            stage,
            budget,
            started,
            before: 0.0,
            step: 0,
            reported: 0.0,
            sums,
            history: Vec::new(),
            curves,
            log,
            report,
        }
    }

    /// The number of the next step, or `None` at the end.
    pub(super) fn next(&mut self) -> Option<u64> {
        (self.share() < 1.0).then(|| {
            self.step += 1;
            self.step - 1
        })
    }

    /// How far the stage is: 0 before the first step, 1 at its end.
    pub(super) fn share(&self) -> f64 {
        match self.budget {
            Budget::Steps(steps) => self.step as f64 / steps.max(1) as f64,
            // At least one step is made, however short the time.
            Budget::Seconds(_) if self.step == 0 => 0.0,
            Budget::Seconds(seconds) => (self.elapsed() / seconds.max(1e-3)).min(1.0),
        }
    }

    /// Goes on after `step` steps that took so long.
    pub(super) fn resume(&mut self, step: u64, elapsed_s: f64) {
        self.step = step;
        self.before = elapsed_s.max(0.0);
        self.reported = self.share();
    }

    /// Seconds that the stage has taken, in earlier processes too.
    pub(super) fn elapsed(&self) -> f64 {
        self.before + self.started.elapsed().as_secs_f64()
    }

    /// Adds a value to the mean of `name` in the next report.
    pub(super) fn add(&mut self, name: &'static str, value: f64) {
        match self.sums.iter_mut().find(|sum| sum.0 == name) {
            Some(sum) => (sum.1, sum.2) = (sum.1 + value, sum.2 + 1),
            None => self.sums.push((name, value, 1)),
        }
    }

    /// Says what goes wrong, in the log and at once.
    pub(super) fn warn(&mut self, symptoms: Vec<Symptom>) -> Result<(), TrainError> {
        if symptoms.is_empty() {
            return Ok(());
        }
        let warning = Progress { symptoms, ..Progress::part(self.stage, self.step, self.steps()) };
        self.log.line(&warning)?;
        (self.report)(warning);
        Ok(())
    }

    /// Steps that the stage will come to at this rate.
    fn steps(&self) -> u64 {
        match self.budget {
            Budget::Steps(steps) => steps.max(1),
            Budget::Seconds(budget) => {
                let rate = self.step as f64 / self.elapsed().max(1e-9);
                ((rate * budget) as u64).max(self.step)
            }
        }
    }

    /// Adds the values of a step, and reports when it is time to.
    pub(super) fn note(&mut self, losses: &[(&'static str, f64)]) -> Result<(), TrainError> {
        losses.iter().for_each(|&(name, value)| self.add(name, value));
        let share = self.share();
        if share < 1.0 && share - self.reported < 1.0 / REPORTS {
            return Ok(());
        }
        self.reported = share;
        let seconds = self.elapsed().max(1e-9);
        let rate = self.step as f64 / seconds;
        let steps = self.steps();
        let mean = |&(name, sum, n): &(&'static str, f64, u64)| (name.to_owned(), sum / n as f64);
        let progress = Progress {
            stage: self.stage.to_owned(),
            step: self.step,
            steps,
            steps_per_second: rate,
            eta_seconds: steps.saturating_sub(self.step) as f64 / rate,
            losses: self.sums.iter().map(mean).collect(),
            symptoms: Vec::new(),
        };
        self.sums.clear();
        if progress.losses.iter().any(|(_, value)| !value.is_finite()) {
            return Err(TrainError::Diverged(self.stage.to_owned(), self.step));
        }
        self.log.line(&progress)?;
        self.history.push(progress.losses.clone());
        super::pictures::curves(&self.history, &self.curves)?;
        (self.report)(progress);
        Ok(())
    }
}
