//! What the bedside would read off the latents: one patient's own levels, and the noise on top.

use super::dice::Dice;
use super::patient::Patient;
use super::physiology::{Course, Latent, State};

/// One patient's own resting levels.
#[derive(Clone, Debug)]
pub(super) struct Levels {
    heart_rate: f64,
    systolic: f64,
    breathing: f64,
    saturation: f64,
    glucose: f64,
    temperature: f64,
    weight_kg: f64,
}

/// The three GCS components by their numbers; a tube in the throat leaves no voice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Gcs {
    pub(super) eye: u8,
    pub(super) verbal: u8,
    pub(super) motor: u8,
    pub(super) tube: bool,
}

impl Levels {
    pub(super) fn new(patient: &Patient, dice: &mut Dice) -> Self {
        let more = |yes: bool, by: f64| if yes { by } else { 0.0 };
        Levels {
            heart_rate: dice.normal(76.0, 8.0),
            systolic: dice.normal(121.0, 11.0) + more(patient.history.hypertension, 9.0),
            breathing: dice.normal(16.0, 1.6),
            saturation: dice.normal(97.6, 0.8) - more(patient.history.copd, 2.2),
            glucose: dice.normal(112.0, 11.0) + more(patient.history.diabetes, 52.0),
            temperature: dice.normal(36.75, 0.18),
            weight_kg: patient.weight_kg,
        }
    }

    pub(super) fn heart_rate(&self, s: &State, dice: &mut Dice) -> f64 {
        self.heart_rate
            + 30.0 * s.get(Latent::Circulatory)
            + 17.0 * s.get(Latent::Infectious)
            + 15.0 * s.hypoxia()
            + dice.normal(0.0, 5.0)
    }

    /// Systolic, diastolic and mean pressure of one measurement.
    pub(super) fn pressures(&self, s: &State, dice: &mut Dice) -> (f64, f64, f64) {
        let systolic = self.systolic - 40.0 * s.get(Latent::Circulatory)
            + 6.0 * s.hypoxia()
            + 8.0 * s.get(Latent::Renal)
            + dice.normal(0.0, 7.0);
        let diastolic = 0.50 * systolic + dice.normal(0.0, 4.0);
        (systolic, diastolic, (systolic + 2.0 * diastolic) / 3.0 + dice.normal(0.0, 1.5))
    }

    pub(super) fn breathing(&self, s: &State, ventilated: bool, dice: &mut Dice) -> f64 {
        let drive = if ventilated { 5.0 } else { 15.0 };
        self.breathing
            + drive * s.hypoxia()
            + 4.0 * s.get(Latent::Infectious)
            + 4.0 * s.get(Latent::Renal)
            + dice.normal(0.0, 2.0)
    }

    /// Inspired oxygen as a share, set by the staff against the hypoxia, in steps of 0.05.
    pub(super) fn oxygen(&self, s: &State, ventilated: bool) -> f64 {
        let wanted = 0.21 + 0.95 * (s.hypoxia() - 0.14).max(0.0);
        let least = if ventilated { 0.40 } else { 0.21 };
        if wanted <= 0.23 && !ventilated {
            return 0.21;
        }
        (wanted.max(least).min(1.0) / 0.05).round() * 0.05
    }

    pub(super) fn saturation(&self, s: &State, ventilated: bool, dice: &mut Dice) -> f64 {
        let helped = 1.0 - 0.62 * self.oxygen(s, ventilated);
        (self.saturation - 15.0 * s.hypoxia() * helped + dice.normal(0.0, 1.1)).min(100.0)
    }

    pub(super) fn temperature_c(&self, s: &State, hour_of_day: f64, dice: &mut Dice) -> f64 {
        let day = 0.22 * (std::f64::consts::TAU * (hour_of_day - 11.0) / 24.0).sin();
        self.temperature + 1.9 * s.get(Latent::Infectious) + day + dice.normal(0.0, 0.22)
    }

    pub(super) fn glucose(&self, s: &State, dice: &mut Dice) -> f64 {
        let stress = 45.0 * s.get(Latent::Infectious) + 22.0 * s.get(Latent::Circulatory);
        ((self.glucose + stress) * dice.log_normal(1.0, 0.16)).clamp(35.0, 640.0)
    }

    pub(super) fn ph(&self, s: &State, dice: &mut Dice) -> f64 {
        let acid =
            0.15 * s.get(Latent::Renal) + 0.12 * s.get(Latent::Circulatory) + 0.05 * s.hypoxia();
        (7.42 - acid + dice.normal(0.0, 0.022)).clamp(6.9, 7.65)
    }

    pub(super) fn weight_kg(&self, s: &State, dice: &mut Dice) -> f64 {
        let water = 4.0 * s.get(Latent::Oedema) + 2.0 * s.get(Latent::Effusion);
        self.weight_kg + water + dice.normal(0.0, 0.5)
    }
}

impl Gcs {
    pub(super) fn of(course: &Course, s: &State, t: f64, dice: &mut Dice) -> Self {
        let tube = course.is_ventilated(t);
        // Sedation weighs on a ventilated patient as illness does on another.
        let sleep = s.get(Latent::Neurologic) + if tube { 0.38 } else { 0.12 * s.hypoxia() };
        let lost = (sleep + dice.normal(0.0, 0.07)).clamp(0.0, 1.0);
        let level = |best: f64, from: f64| {
            let share = ((lost - from) / (1.0 - from)).clamp(0.0, 1.0);
            (best - (best - 1.0) * share).round() as u8
        };
        Gcs {
            eye: level(4.0, 0.15),
            verbal: if tube { 1 } else { level(5.0, 0.10) },
            motor: level(6.0, 0.22),
            tube,
        }
    }

    /// MetaVision's wording of the three components.
    pub(super) fn words(self) -> [&'static str; 3] {
        let eye = match self.eye {
            1 => "None",
            2 => "To Pain",
            3 => "To Speech",
            _ => "Spontaneously",
        };
        let verbal = match (self.tube, self.verbal) {
            (true, _) => "No Response-ETT",
            (_, 1) => "No Response",
            (_, 2) => "Incomprehensible sounds",
            (_, 3) => "Inappropriate Words",
            (_, 4) => "Confused",
            _ => "Oriented",
        };
        let motor = match self.motor {
            1 => "No response",
            2 => "Abnormal extension",
            3 => "Abnormal Flexion",
            4 => "Flex-withdraws",
            5 => "Localizes Pain",
            _ => "Obeys Commands",
        };
        [eye, verbal, motor]
    }
}
