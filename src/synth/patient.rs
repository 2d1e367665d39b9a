//! Who the patients are: age, sex, build, why they come, and the ids of their tables.

use super::FIRST_STAY;
use super::dice::{Dice, Purpose};
use super::hospital::Hospital;
use crate::event::Sex;

/// Why a patient comes to intensive care. It sets the levels around which his latents move.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Illness {
    HeartFailure,
    Pneumonia,
    Sepsis,
    ChestTrauma,
    HeartSurgery,
    GutBleed,
    Stroke,
    RenalFailure,
}

/// What a patient lives with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct History {
    pub diabetes: bool,
    pub hypertension: bool,
    pub coronary: bool,
    pub copd: bool,
    pub kidney: bool,
    pub liver: bool,
    pub lipids: bool,
    pub arrhythmia: bool,
    pub pacemaker: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Patient {
    /// Counts from 0; names the patient's streams of chance.
    pub number: u64,
    pub subject_id: u32,
    pub hadm_id: u32,
    pub stay_id: u32,
    pub age: u8,
    pub sex: Sex,
    pub height_cm: f64,
    pub weight_kg: f64,
    pub illness: Illness,
    pub history: History,
    /// How well treatment works, 0..=1. Seen only through its effects.
    pub response: f64,
    /// Where he lies: what holds of every patient there.
    pub hospital: Hospital,
}

impl Illness {
    const ALL: [Illness; 8] = [
        Illness::HeartFailure,
        Illness::Pneumonia,
        Illness::Sepsis,
        Illness::ChestTrauma,
        Illness::HeartSurgery,
        Illness::GutBleed,
        Illness::Stroke,
        Illness::RenalFailure,
    ];

    /// The care unit that takes this illness, by MIMIC's names.
    pub const fn unit(self) -> &'static str {
        match self {
            Illness::HeartFailure => "Coronary Care Unit (CCU)",
            Illness::HeartSurgery => "Cardiac Vascular Intensive Care Unit (CVICU)",
            Illness::ChestTrauma => "Trauma SICU (TSICU)",
            Illness::Stroke => "Neuro Surgical Intensive Care Unit (Neuro SICU)",
            Illness::GutBleed => "Medical/Surgical Intensive Care Unit (MICU/SICU)",
            Illness::Pneumonia | Illness::Sepsis | Illness::RenalFailure => {
                "Medical Intensive Care Unit (MICU)"
            }
        }
    }
}

impl Patient {
    /// Patient `number` of the ward of `seed` in `hospital`. Ids start with 9, where no real MIMIC
    /// id lies, so that synthetic and real rows can never be taken for each other.
    pub fn new(hospital: Hospital, seed: u64, number: u64) -> Self {
        let mut dice = Dice::new(seed, Purpose::Patient, number);
        let illness =
            Illness::ALL[dice.weighted(&[0.17, 0.17, 0.17, 0.09, 0.14, 0.08, 0.10, 0.08])];
        let young = illness == Illness::ChestTrauma;
        let usual = if young { 48.0 } else { 66.0 };
        let age = dice.normal(usual + hospital.shift.older, 15.0).clamp(18.0, 97.0);
        let sex = if dice.chance(0.56) { Sex::Male } else { Sex::Female };
        let (tall, heavy) = if sex == Sex::Male { (176.0, 27.6) } else { (162.5, 27.9) };
        let height_cm = dice.normal(tall, 7.5).clamp(140.0, 203.0);
        let bmi = dice.log_normal(heavy, 0.20).clamp(16.0, 52.0);
        let history = History::new(illness, age, &mut dice);
        // A gap of 1..=90 keeps ids in order of admission but not consecutive.
        let gap = 1 + dice.below(90) as u32;
        let id = |block: u32| block + (number as u32).wrapping_mul(97) % 9_000_000 + gap;
        Patient {
            number,
            subject_id: id(90_000_000),
            hadm_id: id(92_000_000 - 1_000_000),
            stay_id: id(FIRST_STAY),
            // MIMIC groups ages over 89 as 91.
            age: if age > 89.0 { 91 } else { age as u8 },
            sex,
            height_cm,
            weight_kg: bmi * (height_cm / 100.0).powi(2),
            illness,
            history,
            response: dice.between(0.15, 1.0).sqrt(),
            hospital,
        }
    }

    /// Body bulk against the average chest, for the film's soft tissue.
    pub fn bulk(&self) -> f64 {
        let bmi = self.weight_kg / (self.height_cm / 100.0).powi(2);
        (bmi / 27.0).powf(0.8).clamp(0.7, 1.5)
    }
}

impl History {
    fn new(illness: Illness, age: f64, dice: &mut Dice) -> Self {
        let old = ((age - 40.0) / 45.0).clamp(0.0, 1.0);
        let heart = matches!(illness, Illness::HeartFailure | Illness::HeartSurgery);
        let more = |yes: bool, by: f64| if yes { by } else { 0.0 };
        History {
            diabetes: dice.chance(0.18 + 0.18 * old),
            hypertension: dice.chance(0.25 + 0.45 * old),
            coronary: dice.chance(0.05 + 0.30 * old + more(heart, 0.35)),
            copd: dice.chance(0.04 + 0.18 * old + more(illness == Illness::Pneumonia, 0.10)),
            kidney: dice.chance(0.04 + 0.20 * old + more(illness == Illness::RenalFailure, 0.50)),
            liver: dice.chance(0.08 + more(illness == Illness::GutBleed, 0.35)),
            lipids: dice.chance(0.12 + 0.35 * old + more(heart, 0.15)),
            arrhythmia: dice.chance(0.05 + 0.28 * old + more(heart, 0.15)),
            pacemaker: dice.chance(0.10 * old + more(heart, 0.04)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn ids_are_unique_adult_and_never_real() {
        let patients: Vec<Patient> =
            (0..2_000).map(|n| Patient::new(Hospital::default(), 5, n)).collect();
        let subjects: BTreeSet<u32> = patients.iter().map(|p| p.subject_id).collect();
        let stays: BTreeSet<u32> = patients.iter().map(|p| p.stay_id).collect();
        assert_eq!((subjects.len(), stays.len()), (2_000, 2_000));
        assert!(patients.iter().all(|p| p.age >= 18 && p.subject_id >= 90_000_000));
    }
}
