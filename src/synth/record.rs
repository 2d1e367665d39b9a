//! One synthetic stay in memory, as the feeds of a hospital would tell it: for training and tests
//! that want the ward without its files. Patient, course, outcome and anatomy are those of
//! [`super::write_ward`] under the same seed; the hour of the day at which the stay begins is not,
//! and with it the hours of rounds and films.

use image::ImageError;

use super::charting;
use super::films;
use super::hospital::Hospital;
use super::labs;
use super::outcome::{Ending, phenotypes};
use super::patient::Patient;
use super::physiology::Course;
use crate::event::risk::N_PHENOTYPES;
use crate::event::{RawValue, Sex, ViewPosition};
use crate::time::{EventTime, Span};

/// A laboratory result without a store time is taken to be available after the median lag.
const LAB_LAG: Span = Span::minutes(65);

/// One stay. Times count from ICU admission, which is time 0.
#[derive(Clone, Debug)]
pub struct StayRecord {
    pub stay_id: u64,
    pub age_years: u8,
    pub sex: Sex,
    pub discharged_at: EventTime,
    /// Whether its outcome may be used: stays without a label still give film pairs.
    pub labelled: bool,
    pub died: bool,
    pub phenotypes: [bool; N_PHENOTYPES],
    pub values: Vec<RecordedValue>,
    pub films: Vec<RecordedFilm>,
}

/// A row of the chart or of the laboratory.
#[derive(Clone, Debug)]
pub struct RecordedValue {
    pub observed_at: EventTime,
    pub available_at: EventTime,
    pub item: u32,
    pub raw: RawValue,
    pub unit: &'static str,
}

/// An image with what its study's report would be labelled.
#[derive(Clone, Debug)]
pub struct RecordedFilm {
    pub acquired_at: EventTime,
    /// `None` where the metadata do not say it.
    pub view: Option<ViewPosition>,
    pub jpeg: Vec<u8>,
    /// `1.0`, `0.0`, `-1.0` or nothing, in the order of CheXpert's fourteen labels.
    pub labels: [&'static str; 14],
}

/// Stay `number` of the demo's ward of `seed`, its films `film_rows` pixels high.
///
/// # Errors
/// When a film cannot be encoded.
pub fn stay(seed: u64, number: u64, film_rows: usize) -> Result<StayRecord, ImageError> {
    stay_in(Hospital::default(), seed, number, Films { rows: film_rows, until: EventTime::MAX })
}

/// Which films of a stay are drawn, and how.
#[derive(Clone, Copy, Debug)]
pub struct Films {
    /// Height in pixels.
    pub rows: usize,
    /// Those taken later are left out: drawing is most of the work.
    pub until: EventTime,
}

/// The same in any hospital.
///
/// # Errors
/// When a film cannot be encoded.
pub fn stay_in(
    hospital: Hospital,
    seed: u64,
    number: u64,
    films: Films,
) -> Result<StayRecord, ImageError> {
    let patient = Patient::new(hospital, seed, number);
    let course = Course::new(seed, &patient);
    let ending = Ending::new(seed, &patient, &course);
    // The hour of the day at which the patient comes; any rule will do that is the patient's own.
    let hour_of_day = (number * 7 % 24) as f64;
    Ok(StayRecord {
        stay_id: u64::from(patient.stay_id),
        age_years: patient.age,
        sex: patient.sex,
        discharged_at: hours(ending.out),
        labelled: hospital.is_labelled(number),
        died: ending.died,
        phenotypes: phenotypes(&ending.codes),
        values: values(seed, &patient, &course, hour_of_day),
        films: films_of(seed, &patient, &course, hour_of_day, films)?,
    })
}

pub(super) fn values(
    seed: u64,
    patient: &Patient,
    course: &Course,
    hour_of_day: f64,
) -> Vec<RecordedValue> {
    let chart = charting::chart(seed, patient, course, hour_of_day).into_iter().map(|row| {
        let observed_at = hours(row.observed);
        RecordedValue {
            observed_at,
            // A row can be stored before its own charttime; it cannot be known before it.
            available_at: observed_at.max(hours(row.stored)),
            item: row.item,
            raw: row
                .number
                .filter(|_| !is_text(row.item))
                .map_or(RawValue::Text(row.value), RawValue::Number),
            unit: row.unit,
        }
    });
    let labs = labs::labs(seed, patient, course, hour_of_day).into_iter().map(|row| {
        let observed_at = hours(row.observed);
        RecordedValue {
            observed_at,
            available_at: row.stored.map_or(observed_at + LAB_LAG, hours),
            item: row.item,
            raw: RawValue::Number(row.number),
            unit: row.unit,
        }
    });
    chart.chain(labs).collect()
}

fn is_text(item: u32) -> bool {
    charting::ITEMS.iter().any(|known| known.0 == item && known.5 == "Text")
}

fn films_of(
    seed: u64,
    patient: &Patient,
    course: &Course,
    hour_of_day: f64,
    wanted: Films,
) -> Result<Vec<RecordedFilm>, ImageError> {
    let anatomy = films::anatomy(seed, patient);
    let plans = films::films(seed, patient, course, hour_of_day);
    let film = |(index, plan): (usize, &films::FilmPlan)| {
        let (mut dice, mut label_dice) = films::streams(seed, patient, index, plan.study);
        let encoded = films::render(plan, &anatomy, wanted.rows, &mut dice)?;
        Ok(RecordedFilm {
            acquired_at: hours(plan.taken),
            view: (plan.fault != Some(films::FilmFault::NoView)).then_some(plan.view),
            jpeg: encoded.jpeg,
            labels: films::labels(&plan.severity, &plan.devices, &mut label_dice),
        })
    };
    let wanted = |(_, plan): &(usize, &films::FilmPlan)| hours(plan.taken) <= wanted.until;
    plans.iter().enumerate().filter(wanted).map(film).collect()
}

fn hours(t: f64) -> EventTime {
    EventTime::from_millis((t * 3_600.0).round() as i64 * 1_000)
}
