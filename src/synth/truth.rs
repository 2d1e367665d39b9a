//! The truth about a stay, for those who may know it: its severities at any time, and the oracle,
//! the film that would have been taken then. No model may read this; evaluation does.

use image::ImageError;

use super::dice::{Dice, Purpose};
use super::films::{self, EncodedFilm, FilmPlan};
use super::hospital::Hospital;
use super::patient::Patient;
use super::physiology::{Course, N_LATENTS};
use super::proof;
use crate::event::ViewPosition;
use crate::time::EventTime;

/// One stay's course, as the ward itself knows it. Times count from ICU admission.
#[derive(Clone, Debug)]
pub struct Truth {
    pub stay_id: u64,
    seed: u64,
    patient: Patient,
    course: Course,
}

impl Truth {
    /// The truth about stay `number` of a ward.
    pub fn new(hospital: Hospital, seed: u64, number: u64) -> Self {
        let patient = Patient::new(hospital, seed, number);
        let course = Course::new(seed, &patient);
        Truth { stay_id: u64::from(patient.stay_id), seed, patient, course }
    }

    /// All severities at `t`, each 0..=1, in the order of [`super::LATENT_NAMES`]; held at both
    /// ends of the course, which begins 24 h before the admission.
    pub fn severities(&self, t: EventTime) -> [f64; N_LATENTS] {
        self.course.at(hours(t)).0
    }

    /// Log odds of death that the proof's ward draws the outcome from, without the share of age.
    pub fn danger(&self) -> f64 {
        proof::danger(&proof::decided(&self.course))
    }

    /// The AP film that would have been taken at `t`: the patient's own anatomy and devices, the
    /// findings of that moment, a position and exposure of its own. A function of ward, stay and t.
    ///
    /// # Errors
    /// When the film cannot be encoded.
    pub fn film(&self, t: EventTime, rows: usize) -> Result<EncodedFilm, ImageError> {
        let number = self.patient.number;
        let minute = t.as_millis().div_euclid(60_000).cast_unsigned();
        let mut dice = Dice::new(self.seed, Purpose::Oracle, (number << 32) ^ minute);
        let taken = hours(t);
        let plan = FilmPlan {
            taken,
            study: 0,
            view: ViewPosition::Ap,
            severity: self.course.at(taken).film(),
            devices: films::devices(&self.patient, &self.course, taken, &mut dice),
            fault: None,
            exposure: self.patient.hospital.shift.exposure,
        };
        films::render(&plan, &films::anatomy(self.seed, &self.patient), rows, &mut dice)
    }
}

fn hours(t: EventTime) -> f64 {
    t.as_millis() as f64 / 3_600_000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oracle_shows_the_moment_and_repeats() {
        let truth = Truth::new(Hospital::proof(), 3, 5);
        let at = |h: i64| EventTime::from_millis(h * 3_600_000);
        let film = |h| truth.film(at(h), 224).unwrap().jpeg;
        assert_eq!(film(20), film(20));
        assert_ne!(film(20), film(40));
        assert_ne!(truth.severities(at(20)), truth.severities(at(40)));
        assert!(truth.severities(at(20)).iter().all(|s| (0.0..=1.0).contains(s)));
    }
}
