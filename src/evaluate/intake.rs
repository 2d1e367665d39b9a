//! Events and labels, joined by stay.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{EvaluateError, Provenance};
use crate::event::Sex;
use crate::event::risk::{Doubt, N_PHENOTYPES};
use crate::ids::StayId;
use crate::replay::{Label, ReplayConfig, Stay, Stays, labels_of};
use crate::synth::{FIRST_SUBJECT, is_synthetic};
use crate::time::EventTime;
use crate::train::replayed::Phenotypes;
use crate::wire::{RiskRecord, RiskStatus};

/// A line of a run's files is never longer; a file without line ends is refused.
const LINE_BYTES_MAX: usize = 1 << 20;

/// One scored window and what became of its stay.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    pub stay: StayId,
    /// Numbers the patients of this evaluation; says nothing about who they are.
    pub patient: u64,
    pub t: EventTime,
    /// Hours since ICU admission.
    pub hours: f64,
    /// Length of the ICU stay in hours.
    pub los: f64,
    /// Hours since the film that the model saw was taken.
    pub film_age: Option<f64>,
    /// Probability of in-hospital death.
    pub mortality: f64,
    pub carry_forward: Option<f64>,
    pub ehr_only: Option<f64>,
    /// Whether the score rests on a generated latent.
    pub generated: bool,
    /// `None` where the labels have no diagnoses.
    pub phenotypes: Option<Phenotyped>,
    pub died: bool,
    pub age_years: u8,
    pub sex: Sex,
    pub unit: String,
}

/// What became of the events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    pub events: usize,
    pub scored: usize,
    /// Without a score: the stay's end, or an answer that did not come.
    pub unscored: usize,
    /// Later revisions, which are left out.
    pub revisions: usize,
    /// Of stays that the labels do not have.
    pub without_label: usize,
    pub stays: usize,
    pub patients: usize,
    pub died: usize,
}

/// The 25 phenotypes of a window: what was said, and what the stay's diagnoses amount to.
#[derive(Clone, Debug, PartialEq)]
pub struct Phenotyped {
    pub scores: [f32; N_PHENOTYPES],
    pub present: [bool; N_PHENOTYPES],
}

/// The stays of a MIMIC-IV directory and their phenotypes.
pub struct Labels {
    stays: Stays,
    phenotypes: BTreeMap<StayId, [bool; N_PHENOTYPES]>,
}

impl Labels {
    /// Reads `hosp/patients`, `hosp/admissions`, `hosp/diagnoses_icd` and `icu/icustays` under
    /// `dir`. Where no stay has a diagnosis there are no phenotypes either.
    ///
    /// # Errors
    /// [`EvaluateError::Labels`].
    pub fn read(dir: &Path) -> Result<Self, EvaluateError> {
        let config = ReplayConfig { mimic_iv: dir.to_owned(), ..ReplayConfig::default() };
        let stays = Stays::read(dir, &config)?.0;
        let (published, labels) = (Phenotypes::published(), labels_of(dir, &stays)?);
        let coded = labels.iter().any(|label| !label.diagnoses.is_empty());
        let of = |label: &Label| (label.stay, published.of(&label.diagnoses));
        let phenotypes = labels.iter().filter(|_| coded).map(of).collect();
        Ok(Labels { stays, phenotypes })
    }

    /// Whether the stay ended in death; `None` for a stay that is not here.
    pub fn died(&self, stay: StayId) -> Option<bool> {
        self.stays.by_id(stay).map(|stay| stay.died_in_hospital)
    }
}

/// Reads `risk.jsonl`.
///
/// # Errors
/// [`EvaluateError::File`] naming the line that is no risk event.
pub fn read_events(path: &Path) -> Result<Vec<RiskRecord>, EvaluateError> {
    read_lines(path, "risk event")
}

/// Reads a file of one JSON value a line, each of which is a `what`.
///
/// # Errors
/// [`EvaluateError::File`] naming the line that is none.
pub fn read_lines<T: DeserializeOwned>(path: &Path, what: &str) -> Result<Vec<T>, EvaluateError> {
    let file = File::open(path).map_err(|error| EvaluateError::file(path, error))?;
    let mut reader = BufReader::new(file);
    let mut values = Vec::new();
    let mut line = Vec::new();
    loop {
        line.clear();
        let mut bounded = std::io::Read::take(&mut reader, LINE_BYTES_MAX as u64);
        let read = bounded.read_until(b'\n', &mut line);
        let read = read.map_err(|error| EvaluateError::file(path, error))?;
        if read == 0 {
            return Ok(values);
        }
        let value = serde_json::from_slice(&line).map_err(|error| {
            let number = values.len() + 1;
            EvaluateError::file(path, format!("line {number} is no {what}: {error}"))
        })?;
        values.push(value);
    }
}

/// Joins events and labels: samples in order of (stay, t), first revisions with a score.
pub fn samples(events: &[RiskRecord], labels: &Labels) -> (Vec<Sample>, Counts, Provenance) {
    let mut counts = Counts { events: events.len(), ..Counts::default() };
    let mut patients: BTreeMap<u64, u64> = BTreeMap::new();
    let mut stays: BTreeMap<StayId, bool> = BTreeMap::new();
    let mut found = Vec::new();
    let mut synthetic = true;
    for event in events {
        let unscored = event.status == RiskStatus::Retracted || event.scores.is_none();
        let stay = labels.stays.by_id(event.stay_id);
        match stay {
            _ if event.revision > 0 => counts.revisions += 1,
            _ if unscored => counts.unscored += 1,
            None => counts.without_label += 1,
            Some(stay) => {
                let next = patients.len() as u64;
                let patient = *patients.entry(stay.subject).or_insert(next);
                stays.insert(stay.id, stay.died_in_hospital);
                synthetic &= stay.subject >= FIRST_SUBJECT;
                let present = labels.phenotypes.get(&stay.id);
                found.extend(sample(event, stay, patient, present));
            }
        }
    }
    found.sort_by_key(|sample| (sample.stay, sample.t));
    counts.scored = found.len();
    counts.stays = stays.len();
    counts.patients = patients.len();
    counts.died = stays.values().filter(|died| **died).count();
    let provenance = Provenance { synthetic: synthetic && !found.is_empty(), ..told_by(events) };
    (found, counts, provenance)
}

fn sample(
    event: &RiskRecord,
    stay: &Stay,
    patient: u64,
    present: Option<&[bool; N_PHENOTYPES]>,
) -> Option<Sample> {
    let scores = event.scores.as_ref()?;
    let said: Option<[f32; N_PHENOTYPES]> = scores.phenotypes.as_slice().try_into().ok();
    let phenotyped = said.zip(present);
    let age = |acquired: EventTime| event.t.since(acquired).as_hours();
    Some(Sample {
        stay: event.stay_id,
        patient,
        t: event.t,
        hours: event.t.since(stay.intime).as_hours(),
        los: stay.outtime.since(stay.intime).as_hours(),
        film_age: event.film.as_ref().map(|film| age(film.acquired_at)),
        mortality: f64::from(scores.mortality),
        carry_forward: scores.carry_forward.map(f64::from),
        ehr_only: scores.ehr_only.map(f64::from),
        generated: scores.generation.is_some(),
        phenotypes: phenotyped.map(|(scores, &present)| Phenotyped { scores, present }),
        died: stay.died_in_hospital,
        age_years: stay.admission.age_years,
        sex: stay.admission.sex,
        unit: stay.admission.unit.clone(),
    })
}

/// What the events say of their model and, by the numbers of their stays, of their patients.
pub fn told_by(events: &[RiskRecord]) -> Provenance {
    let Some(first) = events.first() else { return Provenance::default() };
    let doubts = |doubt| events.iter().any(|event| event.validity.contains(&doubt));
    Provenance {
        synthetic: events.iter().all(|event| is_synthetic(event.stay_id)),
        trained_on_synthetic: doubts(Doubt::SyntheticTraining),
        model: format!("{} {}", first.model.name, first.model.version),
        model_digest: first.model.digest.to_string(),
        config_digest: first.config_digest.to_string(),
        ..Provenance::default()
    }
}
