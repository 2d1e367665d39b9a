//! ICU stays: icustays joined with patients and admissions, and the rule that says to which stay
//! a row belongs.

use std::collections::BTreeMap;
use std::path::Path;

use super::table::Table;
use super::value::{parse_time, parse_u64};
use crate::event::{Admission, Disposition, Reason, Rejection};
use crate::ids::StayId;
use crate::replay::config::ReplayConfig;
use crate::replay::error::ReplayError;
use crate::replay::item::{MimicTable, RejectedRow, parse_sex};
use crate::time::{EventTime, Span};

/// A death up to this long after outtime counts as one of the stay: deathtime and outtime are
/// typed by different people.
const DEATH_TOLERANCE: Span = Span::HOUR;

/// One ICU stay.
#[derive(Clone, Debug, PartialEq)]
pub struct Stay {
    pub id: StayId,
    /// Never leaves the replay.
    pub subject: u64,
    pub hadm: u64,
    pub intime: EventTime,
    pub outtime: EventTime,
    pub admission: Admission,
    /// Of this stay, not of the whole admission.
    pub disposition: Disposition,
    /// When the stay ends: outtime, or the death that came before.
    pub ends_at: EventTime,
    /// In-hospital death, the label of the benchmark.
    pub died_in_hospital: bool,
    /// When that label became known: death, or discharge from hospital.
    pub label_at: EventTime,
    /// Row of icustays.
    pub row: u64,
    /// Whether the cohort has it.
    pub chosen: bool,
}

/// All stays of the data set, of the cohort or not, so that a cohort never changes which stay a
/// row belongs to.
#[derive(Clone, Debug)]
pub struct Stays {
    stays: Vec<Stay>,
    by_id: BTreeMap<StayId, usize>,
    /// A subject's stays in order of intime.
    by_subject: BTreeMap<u64, Vec<usize>>,
    lookback: Span,
    grace: Span,
}

/// Where a row belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    /// Index into the stays.
    Stay(usize),
    /// To a stay that the cohort leaves out.
    NotInCohort,
    /// Outside every stay's span.
    OutOfScope,
}

struct Patient {
    sex: Option<crate::event::Sex>,
    age: Option<u8>,
    dod: Option<EventTime>,
}

struct HospitalStay {
    admitted: Option<EventTime>,
    discharged: Option<EventTime>,
    death: Option<EventTime>,
    expired: bool,
}

impl Stays {
    /// Reads the three tables. Rows of icustays that make no stay are returned as rejected.
    pub fn read(
        iv: &Path,
        config: &ReplayConfig,
    ) -> Result<(Self, u64, Vec<RejectedRow>), ReplayError> {
        let patients = read_patients(iv)?;
        let admissions = read_admissions(iv)?;
        let columns = ["subject_id", "hadm_id", "stay_id", "first_careunit", "intime", "outtime"];
        let mut table = Table::open(iv, "icu/icustays", columns)?;
        let (mut stays, mut rejected) = (Vec::new(), Vec::new());
        while let Some(row) = table.next_row()? {
            let ids = (parse_u64(row.get(0)), parse_u64(row.get(1)), stay_id(row.get(2)));
            let times = (parse_time(row.get(4)), parse_time(row.get(5)));
            let made = match (row.broken, ids, times) {
                (false, (Some(subject), Some(hadm), Some(id)), (Some(intime), Some(outtime))) => {
                    let (unit, row) = (row.text(3), row.number);
                    IcuRow { subject, hadm, id, intime, outtime, unit, row }
                        .join(&patients, &admissions)
                }
                _ => Err("stay_id, subject_id, hadm_id, intime or outtime cannot be read".into()),
            };
            match made {
                Ok(stay) => stays.push(stay),
                Err(detail) => rejected.push(RejectedRow {
                    table: MimicTable::IcuStays,
                    row: row.number,
                    stay: stay_id(row.get(2)),
                    rejection: Rejection::new(Reason::MalformedRow, detail),
                }),
            }
        }
        let rows = table.rows();
        Ok((Stays::new(stays, config.lookback, config.grace), rows, rejected))
    }

    /// Stays in order of admission; `lookback` and `grace` widen their spans.
    pub fn new(mut stays: Vec<Stay>, lookback: Span, grace: Span) -> Self {
        stays.sort_by_key(|stay| (stay.intime, stay.id));
        let mut by_subject: BTreeMap<u64, Vec<usize>> = BTreeMap::new();
        for (index, stay) in stays.iter().enumerate() {
            by_subject.entry(stay.subject).or_default().push(index);
        }
        let by_id = stays.iter().enumerate().map(|(index, stay)| (stay.id, index)).collect();
        Stays { stays, by_id, by_subject, lookback, grace }
    }

    /// In order of (intime, id).
    pub fn all(&self) -> &[Stay] {
        &self.stays
    }

    pub fn get(&self, index: usize) -> Option<&Stay> {
        self.stays.get(index)
    }

    /// A subject's stays in order of admission, with their indices.
    pub fn indexed_of_subject(&self, subject: u64) -> impl Iterator<Item = (usize, &Stay)> {
        let indices = self.by_subject.get(&subject).into_iter().flatten();
        indices.filter_map(|&index| self.stays.get(index).map(|stay| (index, stay)))
    }

    /// A subject's stays in order of admission.
    pub fn of_subject(&self, subject: u64) -> impl Iterator<Item = &Stay> {
        self.indexed_of_subject(subject).map(|(_, stay)| stay)
    }

    pub fn by_id(&self, id: StayId) -> Option<&Stay> {
        self.by_id.get(&id).and_then(|&index| self.stays.get(index))
    }

    pub fn chosen(&self) -> impl Iterator<Item = &Stay> {
        self.stays.iter().filter(|stay| stay.chosen)
    }

    /// Leaves in the cohort the stays for which `keep` holds.
    pub fn choose(&mut self, mut keep: impl FnMut(&Stay) -> bool) {
        for stay in &mut self.stays {
            stay.chosen = stay.chosen && keep(stay);
        }
    }

    /// The stay of a row that names one: that stay, if `at` lies in its span.
    pub fn link_id(&self, id: u64, at: EventTime) -> Link {
        match self.by_id.get(&StayId(id)) {
            Some(&index) if self.covers(index, at) => self.chosen_link(index),
            _ => Link::OutOfScope,
        }
    }

    /// The stay of a row that names only its patient. A row can lie in the spans of several stays;
    /// it belongs to the stay that was under way (the latest admitted one, should the recording
    /// overlap), else to the next stay, for which it is history from before admission, else to the
    /// last one. The next comes before the last because a fact after discharge serves no window.
    pub fn link_subject(&self, subject: u64, at: EventTime) -> Link {
        let Some(indices) = self.by_subject.get(&subject) else { return Link::OutOfScope };
        let mut best: Option<(u8, i64, usize)> = None;
        for &index in indices {
            let stay = &self.stays[index];
            if !self.covers(index, at) {
                continue;
            }
            let candidate = if at < stay.intime {
                (1, stay.intime.since(at).as_millis(), index)
            } else if at > stay.outtime {
                (2, at.since(stay.outtime).as_millis(), index)
            } else {
                (0, at.since(stay.intime).as_millis(), index)
            };
            if best.is_none_or(|best| candidate < best) {
                best = Some(candidate);
            }
        }
        best.map_or(Link::OutOfScope, |(_, _, index)| self.chosen_link(index))
    }

    fn covers(&self, index: usize, at: EventTime) -> bool {
        let stay = &self.stays[index];
        at >= stay.intime - self.lookback && at <= stay.outtime + self.grace
    }

    fn chosen_link(&self, index: usize) -> Link {
        if self.stays[index].chosen { Link::Stay(index) } else { Link::NotInCohort }
    }
}

/// A stay id; the wire carries it as a signed number.
fn stay_id(text: &[u8]) -> Option<StayId> {
    parse_u64(text).filter(|&id| i64::try_from(id).is_ok()).map(StayId)
}

fn read_patients(iv: &Path) -> Result<BTreeMap<u64, Patient>, ReplayError> {
    let columns = ["subject_id", "gender", "anchor_age", "dod"];
    let mut table = Table::open(iv, "hosp/patients", columns)?;
    let mut patients = BTreeMap::new();
    while let Some(row) = table.next_row()? {
        if let (false, Some(subject)) = (row.broken, parse_u64(row.get(0))) {
            let age = parse_u64(row.get(2)).and_then(|age| u8::try_from(age).ok());
            let sex = parse_sex(row.get(1));
            patients.insert(subject, Patient { sex, age, dod: parse_time(row.get(3)) });
        }
    }
    Ok(patients)
}

fn read_admissions(iv: &Path) -> Result<BTreeMap<u64, HospitalStay>, ReplayError> {
    let columns = ["hadm_id", "admittime", "dischtime", "deathtime", "hospital_expire_flag"];
    let mut table = Table::open(iv, "hosp/admissions", columns)?;
    let mut admissions = BTreeMap::new();
    while let Some(row) = table.next_row()? {
        if let (false, Some(hadm)) = (row.broken, parse_u64(row.get(0))) {
            let stay = HospitalStay {
                admitted: parse_time(row.get(1)),
                discharged: parse_time(row.get(2)),
                death: parse_time(row.get(3)),
                expired: row.get(4) == b"1",
            };
            admissions.insert(hadm, stay);
        }
    }
    Ok(admissions)
}

/// A row of icustays.
struct IcuRow {
    subject: u64,
    hadm: u64,
    id: StayId,
    intime: EventTime,
    outtime: EventTime,
    unit: String,
    row: u64,
}

impl IcuRow {
    fn join(
        self,
        patients: &BTreeMap<u64, Patient>,
        admissions: &BTreeMap<u64, HospitalStay>,
    ) -> Result<Stay, String> {
        let IcuRow { subject, hadm, id, intime, outtime, unit, row } = self;
        if outtime < intime {
            return Err("outtime is before intime".into());
        }
        let patient = patients.get(&subject).ok_or("no such patient in hosp/patients")?;
        let hospital = admissions.get(&hadm).ok_or("no such admission in hosp/admissions")?;
        let sex = patient.sex.ok_or("gender is neither F nor M")?;
        let age_years = patient.age.ok_or("anchor_age cannot be read")?;
        let death = hospital.death.or(if hospital.expired { hospital.discharged } else { None });
        let died_here = death.filter(|at| *at >= intime && *at <= outtime + DEATH_TOLERANCE);
        let disposition = if died_here.is_some() { Disposition::Died } else { Disposition::Alive };
        Ok(Stay {
            id,
            subject,
            hadm,
            intime,
            outtime,
            admission: Admission { age_years, sex, unit },
            disposition,
            ends_at: died_here.map_or(outtime, |at| at.min(outtime)),
            died_in_hospital: died_in_hospital(patient, hospital),
            label_at: death.or(hospital.discharged).unwrap_or(outtime),
            row,
            chosen: true,
        })
    }
}

/// `mortality_inhospital` of the benchmark: date of death or deathtime lies between admittime and
/// dischtime (`reference/ddl-cxr.md` 1.2). The date of death has no time of day and counts as its
/// midnight, as there.
fn died_in_hospital(patient: &Patient, hospital: &HospitalStay) -> bool {
    let (Some(from), Some(to)) = (hospital.admitted, hospital.discharged) else {
        return hospital.expired;
    };
    [patient.dod, hospital.death].into_iter().flatten().any(|at| at >= from && at <= to)
}

#[cfg(test)]
#[path = "stays_tests.rs"]
mod tests;
