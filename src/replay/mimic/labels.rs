//! The truth about each stay, for training and evaluation: a stream of its own, never a topic that
//! an engine reads.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::stays::Stays;
use super::table::Table;
use super::tree::Tree;
use super::value::parse_u64;
use crate::ids::StayId;
use crate::replay::config::Anchor;
use crate::replay::error::ReplayError;
use crate::replay::intake::Shift;
use crate::time::EventTime;

/// One diagnosis as coded at discharge. ICD-9's V and E codes collide with ICD-10's letters, so a
/// code means nothing without its version.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct IcdCode {
    /// 9 or 10.
    pub version: u8,
    /// Without the dot; leading zeros matter.
    pub code: String,
}

/// What became of one stay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label {
    pub stay: StayId,
    /// In-hospital death, as the benchmark defines it.
    pub died_in_hospital: bool,
    /// Death, or discharge from hospital.
    pub known_at: EventTime,
    /// Diagnoses of the hospital admission, in order; the phenotypes follow from them.
    pub diagnoses: Vec<IcdCode>,
}

/// The labels of `stays`, read from the MIMIC-IV directory that they were read from, at their own
/// times.
///
/// # Errors
/// [`ReplayError`] when the directory or its diagnoses cannot be read.
pub fn labels_of(iv: &Path, stays: &Stays) -> Result<Vec<Label>, ReplayError> {
    read(&Tree::open(iv, None)?, stays, Shift::new(Anchor::Original, stays))
}

/// The labels of the cohort in order of (`known_at`, stay), moved in time as their stays are.
pub(in crate::replay) fn read(
    tree: &Tree,
    stays: &Stays,
    shift: Shift,
) -> Result<Vec<Label>, ReplayError> {
    let wanted: BTreeSet<u64> = stays.chosen().map(|stay| stay.hadm).collect();
    let mut codes: BTreeMap<u64, BTreeSet<IcdCode>> = BTreeMap::new();
    if super::table::find(&tree.iv, "hosp/diagnoses_icd").is_ok() {
        let columns = ["hadm_id", "icd_code", "icd_version"];
        let mut table = Table::open(&tree.iv, "hosp/diagnoses_icd", columns)?;
        while let Some(row) = table.next_row()? {
            let hadm = parse_u64(row.get(0)).filter(|hadm| wanted.contains(hadm));
            let version = match row.get(2) {
                b"9" => 9,
                b"10" => 10,
                _ => continue,
            };
            if let (false, Some(hadm)) = (row.broken, hadm) {
                let code = row.text(1).trim().to_owned();
                codes.entry(hadm).or_default().insert(IcdCode { version, code });
            }
        }
    }
    let label = |stay: &super::stays::Stay| Label {
        stay: stay.id,
        died_in_hospital: stay.died_in_hospital,
        known_at: stay.label_at + shift.of(stay),
        diagnoses: codes.get(&stay.hadm).into_iter().flatten().cloned().collect(),
    };
    let mut labels: Vec<Label> = stays.chosen().map(label).collect();
    labels.sort_by_key(|label| (label.known_at, label.stay));
    Ok(labels)
}
