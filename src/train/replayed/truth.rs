//! What became of each stay and film, and which split a stay belongs to: read from the files of
//! labels, beside the engine and never through it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::phenotypes::Phenotypes;
use super::{CohortRule, DataConfig};
use crate::event::risk::N_PHENOTYPES;
use crate::ids::{Digest, StayId};
use crate::model::config::N_FINDINGS;
use crate::replay::mimic::stays::Link;
use crate::replay::mimic::table::{Table, find};
use crate::replay::mimic::value::{parse_study_time, parse_u64};
use crate::replay::{ReplaySource, Stay};
use crate::time::{EventTime, Span};
use crate::train::TrainError;

/// The table of findings of MIMIC-CXR-JPG, whose name did not change with version 2.1.
const CHEXPERT: &str = "mimic-cxr-2.0.0-chexpert";
const METADATA: &str = "mimic-cxr-2.0.0-metadata";
/// Its columns in the order of the model's findings.
const FINDINGS: [&str; N_FINDINGS + 1] = [
    "study_id",
    "Atelectasis",
    "Cardiomegaly",
    "Consolidation",
    "Edema",
    "Enlarged Cardiomediastinum",
    "Fracture",
    "Lung Lesion",
    "Lung Opacity",
    "No Finding",
    "Pleural Effusion",
    "Pleural Other",
    "Pneumonia",
    "Pneumothorax",
    "Support Devices",
];

/// What became of a stay, and where it is used.
#[derive(Clone, Copy, Debug)]
pub(super) struct StayTruth {
    /// 0 training, 1 validation, 2 test.
    pub(super) split: usize,
    pub(super) died: bool,
    pub(super) phenotypes: [bool; N_PHENOTYPES],
}

/// What a film's report was labelled.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct FilmTruth {
    pub(super) study: u64,
    /// Bit k is finding k: set where the report is positive.
    pub(super) findings: u16,
}

/// The truth about every stay of the cohort.
pub(super) struct Truth {
    pub(super) stays: BTreeMap<StayId, StayTruth>,
    /// By stay and time of exposure.
    pub(super) films: BTreeMap<(StayId, EventTime), FilmTruth>,
    /// Stays of training, validation and test.
    pub(super) counts: [u64; 3],
}

impl Truth {
    pub(super) fn read(source: &ReplaySource, config: &DataConfig) -> Result<Self, TrainError> {
        let split = Splitter::new(source, config)?;
        let cohort = cohort(source, config.cohort)?;
        let phenotypes = Phenotypes::published();
        let mut truth = Truth { stays: BTreeMap::new(), films: films(source)?, counts: [0; 3] };
        for label in source.labels() {
            let stay = source.stays().by_id(label.stay).filter(|stay| cohort(stay));
            let Some(split) = stay.and_then(|stay| split.of(stay)) else { continue };
            if let Some(count) = truth.counts.get_mut(split) {
                *count += 1;
            }
            let stay = StayTruth {
                split,
                died: label.died_in_hospital,
                phenotypes: phenotypes.of(&label.diagnoses),
            };
            truth.stays.insert(label.stay, stay);
        }
        Ok(truth)
    }
}

fn data(error: impl std::fmt::Display) -> TrainError {
    TrainError::Data(error.to_string())
}

/// Whether a stay is used.
type Chooses = Box<dyn Fn(&Stay) -> bool>;

/// Whether a stay of the replay is to be used. The film and the length of the stay are conditions
/// of the replay itself; here are those that need other stays or other columns.
fn cohort(source: &ReplaySource, rule: CohortRule) -> Result<Chooses, TrainError> {
    if rule != CohortRule::Paper {
        return Ok(Box::new(|_| true));
    }
    let columns = ["stay_id", "first_careunit", "last_careunit"];
    let mut table = Table::open(&source.tree().iv, "icu/icustays", columns).map_err(data)?;
    let mut one_unit = BTreeSet::new();
    while let Some(row) = table.next_row().map_err(data)? {
        if let (true, Some(id)) = (row.get(1) == row.get(2), parse_u64(row.get(0))) {
            one_unit.insert(StayId(id));
        }
    }
    // Admissions with exactly one of these stays.
    let mut of_admission: BTreeMap<u64, usize> = BTreeMap::new();
    for stay in source.stays().all().iter().filter(|stay| one_unit.contains(&stay.id)) {
        *of_admission.entry(stay.hadm).or_default() += 1;
    }
    Ok(Box::new(move |stay| {
        let long = stay.outtime.since(stay.intime) > Span::hours(48);
        let adult = stay.admission.age_years >= 18;
        long && adult
            && one_unit.contains(&stay.id)
            && of_admission.get(&stay.hadm).is_some_and(|&stays| stays == 1)
    }))
}

/// The films of the recording, by the stay that the replay links them to.
fn films(source: &ReplaySource) -> Result<BTreeMap<(StayId, EventTime), FilmTruth>, TrainError> {
    let mut films = BTreeMap::new();
    let Some(cxr) = source.tree().cxr.as_deref() else { return Ok(films) };
    let findings = findings(cxr)?;
    let columns = ["subject_id", "study_id", "StudyDate", "StudyTime"];
    let mut table = Table::open(cxr, METADATA, columns).map_err(data)?;
    while let Some(row) = table.next_row().map_err(data)? {
        let ids = parse_u64(row.get(0)).zip(parse_u64(row.get(1)));
        let at = parse_study_time(row.get(2), row.get(3));
        let (Some((subject, study)), Some(at)) = (ids, at) else { continue };
        if let Link::Stay(index) = source.stays().link_subject(subject, at)
            && let Some(stay) = source.stays().get(index)
        {
            let findings = findings.get(&study).copied().unwrap_or_default();
            films.insert((stay.id, at), FilmTruth { study, findings });
        }
    }
    Ok(films)
}

/// Positive findings by study; uncertain and missing count as negative (`ddl-cxr.md` 1.4).
fn findings(cxr: &Path) -> Result<BTreeMap<u64, u16>, TrainError> {
    if find(cxr, CHEXPERT).is_err() {
        return Err(data(format!(
            "{CHEXPERT}.csv is not in {}; put it there, it comes with MIMIC-CXR-JPG",
            cxr.display()
        )));
    }
    let mut table = Table::open(cxr, CHEXPERT, FINDINGS).map_err(data)?;
    let mut findings = BTreeMap::new();
    while let Some(row) = table.next_row().map_err(data)? {
        let Some(study) = parse_u64(row.get(0)) else { continue };
        let positive = |k: usize| row.text(k + 1).trim().parse() == Ok(1.0);
        let bits = (0..N_FINDINGS).fold(0, |bits, k| bits | u16::from(positive(k)) << k);
        findings.insert(study, bits);
    }
    Ok(findings)
}

/// Which split a patient belongs to: as a list says, or drawn by seed.
struct Splitter {
    /// By stay; of a list.
    listed: Option<BTreeMap<StayId, usize>>,
    seed: u64,
    validate: f64,
    test: f64,
}

impl Splitter {
    fn new(source: &ReplaySource, config: &DataConfig) -> Result<Self, TrainError> {
        let listed = match &config.splits {
            None => None,
            Some(path) => {
                let fault =
                    |what: String| data(format!("the list of splits {}: {what}", path.display()));
                let text =
                    std::fs::read_to_string(path).map_err(|error| fault(error.to_string()))?;
                Some(listed(&text, source).map_err(fault)?)
            }
        };
        let DataConfig { seed, validate_share, test_share, .. } = *config;
        Ok(Splitter { listed, seed, validate: validate_share, test: test_share })
    }

    /// `None` for a stay that a list leaves out. All stays of a patient are drawn together.
    fn of(&self, stay: &Stay) -> Option<usize> {
        match &self.listed {
            Some(listed) => listed.get(&stay.id).copied(),
            None => Some(drawn(self.seed, stay.subject, self.validate, self.test)),
        }
    }
}

/// A function of seed and patient alone, so that more data never moves a patient.
fn drawn(seed: u64, subject: u64, validate: f64, test: f64) -> usize {
    let [a, b, c, d, ..] = Digest::of(format!("split/{seed}/{subject}").as_bytes()).0;
    let share = f64::from(u32::from_be_bytes([a, b, c, d])) / f64::from(u32::MAX);
    match share {
        share if share < test => 2,
        share if share < test + validate => 1,
        _ => 0,
    }
}

/// Splits by stay from lines `id,split` under a header `stay_id,split` or `subject_id,split`.
fn listed(text: &str, source: &ReplaySource) -> Result<BTreeMap<StayId, usize>, String> {
    let mut lines = text.lines().enumerate();
    let by_subject = match lines.next().map(|(_, line)| line.trim()) {
        Some("stay_id,split") => false,
        Some("subject_id,split") => true,
        _ => return Err("the first line must be stay_id,split or subject_id,split".to_owned()),
    };
    let mut splits = BTreeMap::new();
    let mut of_patient: BTreeMap<u64, usize> = BTreeMap::new();
    for (index, line) in lines.filter(|(_, line)| !line.trim().is_empty()) {
        let fault = |what: &str| format!("line {}: {what}", index + 1);
        let (id, split) = line.trim().split_once(',').ok_or_else(|| fault("no comma"))?;
        let id: u64 = id.trim().parse().map_err(|_| fault("the id is no number"))?;
        let split = match split.trim() {
            "train" => 0,
            "validate" | "val" => 1,
            "test" => 2,
            _ => return Err(fault("the split must be train, validate or test")),
        };
        let stays: Vec<&Stay> = match by_subject {
            true => source.stays().of_subject(id).collect(),
            false => source.stays().by_id(StayId(id)).into_iter().collect(),
        };
        for stay in stays {
            if *of_patient.entry(stay.subject).or_insert(split) != split {
                return Err(fault("its patient is in another split too; a patient has one"));
            }
            splits.insert(stay.id, split);
        }
    }
    Ok(splits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patients_are_drawn_in_the_published_shares() {
        let mut counts = [0; 3];
        (0..20_000).for_each(|subject| counts[drawn(1, subject, 0.8 / 7.0, 0.2)] += 1);
        let shares = counts.map(|n| f64::from(n) / 20_000.0);
        for (share, wanted) in shares.into_iter().zip([0.686, 0.114, 0.2]) {
            assert!((share - wanted).abs() < 0.012, "{shares:?}");
        }
        assert_eq!(drawn(1, 7, 0.1, 0.2), drawn(1, 7, 0.1, 0.2));
        assert!((0..50).any(|subject| drawn(1, subject, 0.1, 0.2) != drawn(2, subject, 0.1, 0.2)));
    }
}
