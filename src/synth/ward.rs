//! The ward written out: MIMIC-IV's and MIMIC-CXR-JPG's tables of every patient.

use std::fs;
use std::path::{Path, PathBuf};

use chrono::{Datelike, Duration, NaiveDate, NaiveDateTime, Timelike};

use super::charting::{self, ChartRow};
use super::dice::{Dice, Purpose};
use super::films::{self, FilmFault, FilmPlan};
use super::labs::{self, LabRow};
use super::layout::{README, TABLES, header};
use super::outcome::Ending;
use super::patient::Patient;
use super::physiology::{Course, N_LATENTS};
use super::radiograph::Anatomy;
use super::tables::Table;
use super::{SynthError, WardOptions, WardSummary};
use crate::event::{Sex, ViewPosition};
use crate::ids::Digest;

/// Writes a ward under `out`: `mimiciv/{hosp,icu}`, `mimic-cxr-jpg`, and beside them `truth`. The
/// same options give the same bytes. `progress` is told (patients done, patients in all).
///
/// # Errors
/// [`SynthError::Options`] for options out of range, [`SynthError::Write`] when a file cannot be
/// written.
pub fn write_ward(
    options: &WardOptions,
    out: &Path,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<WardSummary, SynthError> {
    options.check()?;
    let mut writer = Writer::create(options, out)?;
    writer.dictionaries()?;
    let mut arrivals = Dice::new(options.seed, Purpose::Arrivals, 0);
    let mut admitted = NaiveDate::from_ymd_opt(2150, 1, 1)
        .and_then(|day| day.and_hms_opt(8, 0, 0))
        .ok_or_else(|| SynthError::Options("the first day is no date".to_owned()))?;
    // Little's law: the mean census is the arrival rate times the mean stay of about 80 h.
    let between = 80.0 / f64::from(options.beds);
    for number in 0..options.patients {
        let patient = Patient::new(options.hospital, options.seed, number);
        writer.patient(&patient, admitted)?;
        admitted += seconds(arrivals.waiting(between));
        progress(number + 1, options.patients);
    }
    writer.finish()
}

struct Writer<'a> {
    options: &'a WardOptions,
    out: PathBuf,
    patients: Table,
    admissions: Table,
    labevents: Table,
    diagnoses: Table,
    d_labitems: Table,
    transfers: Table,
    icustays: Table,
    chartevents: Table,
    d_items: Table,
    metadata: Table,
    chexpert: Table,
    split: Table,
    truth: Table,
    stays: Table,
    summary: WardSummary,
}

/// One patient's keys and clock, ready for the columns.
struct Stay<'p> {
    patient: &'p Patient,
    subject: String,
    hadm: String,
    stay: String,
    intime: NaiveDateTime,
}

impl Stay<'_> {
    fn at(&self, hours: f64) -> NaiveDateTime {
        self.intime + seconds(hours)
    }

    fn text(&self, hours: f64) -> String {
        stamp(self.at(hours))
    }
}

impl<'a> Writer<'a> {
    fn create(options: &'a WardOptions, out: &Path) -> Result<Self, SynthError> {
        for dir in ["mimiciv/hosp", "mimiciv/icu", "mimic-cxr-jpg/files", "truth"] {
            let dir = out.join(dir);
            fs::create_dir_all(&dir).map_err(|error| SynthError::write(&dir, error))?;
        }
        let told = out.join("truth/ward.json");
        let text = serde_json::to_string_pretty(options)
            .map_err(|error| SynthError::write(&told, error.into()))?;
        fs::write(&told, text).map_err(|error| SynthError::write(&told, error))?;
        let readme = out.join("README.txt");
        fs::write(&readme, README).map_err(|error| SynthError::write(&readme, error))?;
        let table = |index: usize| {
            let dice = Dice::new(options.seed, Purpose::RowOrder, index as u64);
            let path = out.join(format!("{}.csv.gz", TABLES[index].0));
            Table::create(&path, &header(index), dice)
        };
        Ok(Writer {
            options,
            out: out.to_owned(),
            patients: table(0)?,
            admissions: table(1)?,
            labevents: table(2)?,
            diagnoses: table(3)?,
            d_labitems: table(4)?,
            transfers: table(5)?,
            icustays: table(6)?,
            chartevents: table(7)?,
            d_items: table(8)?,
            metadata: table(9)?,
            chexpert: table(10)?,
            split: table(11)?,
            truth: table(12)?,
            stays: table(13)?,
            summary: WardSummary::default(),
        })
    }

    fn dictionaries(&mut self) -> Result<(), SynthError> {
        for &(id, label, short, category, unit, kind) in charting::ITEMS {
            let id = id.to_string();
            self.d_items.push([&id, label, short, "chartevents", category, unit, kind, "", ""])?;
        }
        for &(id, label, fluid, category) in labs::ITEMS {
            self.d_labitems.push([&id.to_string(), label, fluid, category])?;
        }
        Ok(())
    }

    fn patient(&mut self, patient: &Patient, intime: NaiveDateTime) -> Result<(), SynthError> {
        let seed = self.options.seed;
        let stay = Stay {
            patient,
            subject: patient.subject_id.to_string(),
            hadm: patient.hadm_id.to_string(),
            stay: patient.stay_id.to_string(),
            intime,
        };
        let hour_of_day = f64::from(intime.num_seconds_from_midnight()) / 3_600.0;
        let course = Course::new(seed, patient);
        let ending = Ending::new(seed, patient, &course);
        self.identity(&stay, &ending)?;
        for row in charting::chart(seed, patient, &course, hour_of_day) {
            self.chart_row(&stay, &row)?;
        }
        for row in labs::labs(seed, patient, &course, hour_of_day) {
            self.lab_row(&stay, &row)?;
        }
        self.films(&stay, &films::films(seed, patient, &course, hour_of_day))?;
        self.truth_rows(&stay, &course)?;
        let labelled = self.options.hospital.is_labelled(patient.number);
        self.stays.push([
            &stay.stay,
            &patient.number.to_string(),
            if labelled { "1" } else { "0" },
        ])?;
        self.summary.stays += 1;
        self.summary.deaths += u64::from(ending.died);
        self.summary.adults_over_48h += u64::from(course.los > 48.0);
        Ok(())
    }

    fn identity(&mut self, stay: &Stay<'_>, ending: &Ending) -> Result<(), SynthError> {
        let mut dice = Dice::new(self.options.seed, Purpose::Arrivals, stay.patient.number + 1);
        let admitted = -dice.between(0.6, 9.0);
        let year = stay.intime.year().to_string();
        let sex = if stay.patient.sex == Sex::Male { "M" } else { "F" };
        let age = stay.patient.age.to_string();
        let later = dice.chance(0.05).then(|| ending.discharge + dice.between(200.0, 8_000.0));
        let dead = if ending.died { Some(ending.discharge) } else { later };
        let dod = dead.map(|t| stay.at(t).format("%Y-%m-%d").to_string()).unwrap_or_default();
        self.patients.push([&stay.subject, sex, &age, &year, "2014 - 2016", &dod])?;
        let (emergency, arrival) = (dice.chance(0.7), admitted - dice.between(1.0, 6.0));
        let visit = |t: f64| if emergency { stay.text(t) } else { String::new() };
        let death = if ending.died { stay.text(ending.discharge) } else { String::new() };
        let provider = format!("P9{:04}", dice.below(10_000));
        self.admissions.push([
            &stay.subject,
            &stay.hadm,
            &stay.text(admitted),
            &stay.text(ending.discharge),
            &death,
            if emergency { "EW EMER." } else { "URGENT" },
            &provider,
            if emergency { "EMERGENCY ROOM" } else { "TRANSFER FROM HOSPITAL" },
            if ending.died { "DIED" } else { ["HOME", "REHAB", ""][dice.below(3)] },
            ["Medicare", "Medicaid", "Private", "Other"][dice.below(4)],
            if dice.chance(0.9) { "English" } else { "Other" },
            ["MARRIED", "SINGLE", "WIDOWED", ""][dice.below(4)],
            ["WHITE", "BLACK/AFRICAN AMERICAN", "ASIAN", "OTHER", "UNKNOWN"][dice.below(5)],
            &visit(arrival),
            &visit(admitted + 0.5),
            if ending.died { "1" } else { "0" },
        ])?;
        for (index, code) in ending.codes.iter().enumerate() {
            let number = (index + 1).to_string();
            self.diagnoses.push([&stay.subject, &stay.hadm, &number, code, "10"])?;
        }
        self.moves(stay, ending, if emergency { Some(arrival) } else { None }, admitted, &mut dice)
    }

    /// The stay itself, and the patient's way through the hospital.
    fn moves(
        &mut self,
        stay: &Stay<'_>,
        ending: &Ending,
        emergency: Option<f64>,
        admitted: f64,
        dice: &mut Dice,
    ) -> Result<(), SynthError> {
        let first = stay.patient.illness.unit();
        // A few change the unit within the stay; the published cohort leaves those out.
        let moved = dice.chance(0.07).then(|| ending.out * dice.between(0.3, 0.8));
        let last = if moved.is_some() { "Surgical Intensive Care Unit (SICU)" } else { first };
        let (intime, outtime) = (stay.text(0.0), stay.text(ending.out));
        let los = format!("{:.16}", ending.out / 24.0);
        self.icustays.push([
            &stay.subject,
            &stay.hadm,
            &stay.stay,
            first,
            last,
            &intime,
            &outtime,
            &los,
        ])?;
        let mut steps = Vec::new();
        if let Some(arrival) = emergency {
            steps.push(("ED", "Emergency Department", arrival, Some(admitted + 0.5)));
        }
        steps.push(("admit", "Medicine", admitted.max(-0.5), Some(0.0)));
        steps.push(("transfer", first, 0.0, Some(moved.unwrap_or(ending.out))));
        if let Some(t) = moved {
            steps.push(("transfer", last, t, Some(ending.out)));
        }
        if ending.discharge > ending.out {
            steps.push(("transfer", "Medicine", ending.out, Some(ending.discharge)));
        }
        steps.push(("discharge", "", ending.discharge, None));
        for (index, (kind, unit, from, to)) in steps.into_iter().enumerate() {
            let id = (u64::from(stay.patient.stay_id) * 10 + index as u64).to_string();
            let hadm = if kind == "ED" && dice.chance(0.2) { "" } else { &stay.hadm };
            let to = to.map(|t| stay.text(t)).unwrap_or_default();
            self.transfers.push([&stay.subject, hadm, &id, kind, unit, &stay.text(from), &to])?;
        }
        Ok(())
    }

    fn chart_row(&mut self, stay: &Stay<'_>, row: &ChartRow) -> Result<(), SynthError> {
        self.summary.chart_rows += 1;
        self.chartevents.push([
            &stay.subject,
            &stay.hadm,
            &stay.stay,
            &(90_000 + stay.patient.stay_id % 97).to_string(),
            &stay.text(row.observed),
            &stay.text(row.stored),
            &row.item.to_string(),
            &row.value,
            &row.number.map(|n| n.to_string()).unwrap_or_default(),
            row.unit,
            if row.warning { "1" } else { "0" },
        ])
    }

    fn lab_row(&mut self, stay: &Stay<'_>, row: &LabRow) -> Result<(), SynthError> {
        self.summary.lab_rows += 1;
        let id = self.summary.lab_rows.to_string();
        let specimen = u64::from(stay.patient.stay_id) * 1_000 + u64::from(row.specimen);
        self.labevents.push([
            &id,
            &stay.subject,
            if row.has_hadm { &stay.hadm } else { "" },
            &specimen.to_string(),
            &row.item.to_string(),
            "",
            &stay.text(row.observed),
            &row.stored.map(|t| stay.text(t)).unwrap_or_default(),
            &row.value,
            &row.number.to_string(),
            row.unit,
            row.range.0,
            row.range.1,
            if row.abnormal { "abnormal" } else { "" },
            if row.urgent { "STAT" } else { "ROUTINE" },
            row.comment,
        ])
    }

    fn films(&mut self, stay: &Stay<'_>, plans: &[FilmPlan]) -> Result<(), SynthError> {
        let patient = stay.patient;
        let seed = self.options.seed;
        let anatomy = films::anatomy(seed, patient);
        let mut labelled = None;
        for (index, plan) in plans.iter().enumerate() {
            let stream = patient.number * 1_000 + index as u64;
            let (mut dice, mut label_dice) = films::streams(seed, patient, index, plan.study);
            let study = (95_000_000 + patient.number * 100 + u64::from(plan.study)).to_string();
            let dicom = dicom_id(seed, stream);
            let size = self.write_film(stay, plan, &anatomy, &study, &dicom, &mut dice)?;
            self.metadata_row(stay, plan, &study, &dicom, size, &mut dice)?;
            let split = match patient.number % 35 {
                0..=23 => "train",
                24..=27 => "validate",
                _ => "test",
            };
            self.split.push([&dicom, &study, &stay.subject, split])?;
            if labelled != Some(plan.study) && plan.fault != Some(FilmFault::NoLabels) {
                labelled = Some(plan.study);
                let l = films::labels(&plan.severity, &plan.devices, &mut label_dice);
                let mut row = [""; 16];
                row[0] = &stay.subject;
                row[1] = &study;
                row[2..].copy_from_slice(&l);
                self.chexpert.push(row)?;
            }
        }
        Ok(())
    }

    fn write_film(
        &mut self,
        stay: &Stay<'_>,
        plan: &FilmPlan,
        anatomy: &Anatomy,
        study: &str,
        dicom: &str,
        dice: &mut Dice,
    ) -> Result<(usize, usize), SynthError> {
        let dir = self
            .out
            .join("mimic-cxr-jpg/files")
            .join(format!("p{}", &stay.subject[..2]))
            .join(format!("p{}", stay.subject))
            .join(format!("s{study}"));
        fs::create_dir_all(&dir).map_err(|error| SynthError::write(&dir, error))?;
        let path = dir.join(format!("{dicom}.jpg"));
        let film = films::render(plan, anatomy, self.options.film_rows as usize, dice)
            .map_err(|error| SynthError::write(&path, std::io::Error::other(error)))?;
        fs::write(&path, &film.jpeg).map_err(|error| SynthError::write(&path, error))?;
        self.summary.films += 1;
        Ok((film.rows, film.columns))
    }

    fn metadata_row(
        &mut self,
        stay: &Stay<'_>,
        plan: &FilmPlan,
        study: &str,
        dicom: &str,
        (rows, columns): (usize, usize),
        dice: &mut Dice,
    ) -> Result<(), SynthError> {
        let (procedure, view, code, pose) = match plan.view {
            ViewPosition::Pa => ("CHEST (PA AND LAT)", "PA", "postero-anterior", "Erect"),
            ViewPosition::Lateral => ("CHEST (PA AND LAT)", "LATERAL", "lateral", "Erect"),
            _ => ("CHEST (PORTABLE AP)", "AP", "antero-posterior", "Recumbent"),
        };
        let view = if plan.fault == Some(FilmFault::NoView) { "" } else { view };
        let at = stay.at(plan.taken);
        self.metadata.push([
            dicom,
            &stay.subject,
            study,
            procedure,
            view,
            &rows.to_string(),
            &columns.to_string(),
            &at.format("%Y%m%d").to_string(),
            &study_time(at, dice.below(1_000)),
            procedure,
            code,
            if dice.chance(0.6) { pose } else { "" },
        ])
    }

    fn truth_rows(&mut self, stay: &Stay<'_>, course: &Course) -> Result<(), SynthError> {
        for (index, state) in course.hours.iter().enumerate() {
            let mut row: [String; N_LATENTS + 4] = std::array::from_fn(|_| String::new());
            row[0].clone_from(&stay.stay);
            row[1] = (course.start + index as i32).to_string();
            for (cell, value) in row[2..].iter_mut().zip(state.0) {
                *cell = format!("{value:.3}");
            }
            row[N_LATENTS + 2] = format!("{:.3}", state.hypoxia());
            row[N_LATENTS + 3] = format!("{:.3}", state.burden());
            self.truth.push::<{ N_LATENTS + 4 }>(std::array::from_fn(|i| row[i].as_str()))?;
        }
        Ok(())
    }

    fn finish(self) -> Result<WardSummary, SynthError> {
        for table in [
            self.patients,
            self.admissions,
            self.labevents,
            self.diagnoses,
            self.d_labitems,
            self.transfers,
            self.icustays,
            self.chartevents,
            self.d_items,
            self.metadata,
            self.chexpert,
            self.split,
            self.truth,
            self.stays,
        ] {
            table.finish()?;
        }
        Ok(self.summary)
    }
}

/// Hours as a duration of whole seconds.
fn seconds(hours: f64) -> Duration {
    Duration::seconds((hours * 3_600.0).round() as i64)
}

fn stamp(at: NaiveDateTime) -> String {
    at.format("%Y-%m-%d %H:%M:%S").to_string()
}

/// StudyTime as MIMIC-CXR has it: a float `hhmmss.fff` that has lost its leading zeros.
fn study_time(at: NaiveDateTime, millis: usize) -> String {
    let whole = at.hour() * 10_000 + at.minute() * 100 + at.second();
    let fraction = format!("{millis:03}");
    let fraction = fraction.trim_end_matches('0');
    format!("{whole}.{}", if fraction.is_empty() { "0" } else { fraction })
}

/// Five groups of eight hexadecimal digits, as MIMIC-CXR names its images.
fn dicom_id(seed: u64, stream: u64) -> String {
    let hex = Digest::of(format!("film {seed} {stream}").as_bytes()).to_string();
    let groups: Vec<&str> = (0..5).map(|i| &hex[8 * i..8 * i + 8]).collect();
    groups.join("-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn study_times_lose_their_leading_zeros() {
        let at = |h, m, s| {
            NaiveDate::from_ymd_opt(2150, 1, 1).and_then(|d| d.and_hms_opt(h, m, s)).unwrap()
        };
        assert_eq!(study_time(at(8, 5, 56), 875), "80556.875");
        assert_eq!(study_time(at(0, 5, 12), 0), "512.0");
        assert_eq!(study_time(at(0, 0, 0), 0), "0.0");
    }
}
