//! What the bedside would read off the latents: one patient's own levels, and the noise on top.

use super::dice::Dice;
use super::hospital::Physics;
use super::patient::Patient;
use super::physiology::{Course, Latent, State};
use super::proof::Signature;

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
    physics: Physics,
    rest: Rest,
    /// Factor of the noise on the vital signs.
    noise: f64,
}

/// What healthy patients of a ward have, and how far two of them lie apart.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Rest {
    heart_rate: f64,
    breathing: f64,
    saturation: f64,
    temperature_c: f64,
    /// Factor of the deviations between patients.
    spread: f64,
    /// Hypoxia that needs no oxygen yet.
    borne: f64,
    /// Percent of saturation lost at full hypoxia.
    desaturates: f64,
}

impl Rest {
    const DEMO: Rest = Rest {
        heart_rate: 76.0,
        breathing: 16.0,
        saturation: 97.6,
        temperature_c: 36.75,
        spread: 1.0,
        borne: 0.14,
        desaturates: 15.0,
    };

    /// Levels that bring the means of the sicker ward of the proof near the published ones. The
    /// wide spread is what makes the chart alone ambiguous.
    const PROOF: Rest = Rest {
        heart_rate: 70.0,
        breathing: 13.5,
        saturation: 99.0,
        temperature_c: 36.55,
        spread: 1.7,
        borne: 0.24,
        desaturates: 10.0,
    };
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
        let rest = match patient.hospital.physics {
            Physics::Demo => Rest::DEMO,
            Physics::Proof => Rest::PROOF,
        };
        let spread = rest.spread;
        Levels {
            heart_rate: dice.normal(rest.heart_rate, 8.0 * spread),
            systolic: dice.normal(121.0, 11.0 * spread) + more(patient.history.hypertension, 9.0),
            breathing: dice.normal(rest.breathing, 1.6 * spread),
            saturation: dice.normal(rest.saturation, 0.8) - more(patient.history.copd, 2.2),
            glucose: dice.normal(112.0, 11.0) + more(patient.history.diabetes, 52.0),
            temperature: dice.normal(rest.temperature_c, 0.18 * spread),
            weight_kg: patient.weight_kg,
            physics: patient.hospital.physics,
            rest,
            noise: patient.hospital.shift.noise,
        }
    }

    /// What the findings add; nothing in the demo.
    fn signature(&self, s: &State) -> Signature {
        match self.physics {
            Physics::Demo => Signature::default(),
            Physics::Proof => Signature::of(s),
        }
    }

    pub(super) fn heart_rate(&self, s: &State, dice: &mut Dice) -> f64 {
        self.heart_rate
            + 30.0 * s.get(Latent::Circulatory)
            + 17.0 * s.get(Latent::Infectious)
            + 15.0 * s.hypoxia()
            + self.signature(s).heart_rate
            + dice.normal(0.0, 5.0 * self.noise)
    }

    /// Systolic, diastolic and mean pressure of one measurement.
    pub(super) fn pressures(&self, s: &State, dice: &mut Dice) -> (f64, f64, f64) {
        let systolic = self.systolic - 40.0 * s.get(Latent::Circulatory)
            + 6.0 * s.hypoxia()
            + 8.0 * s.get(Latent::Renal)
            + self.signature(s).systolic
            + dice.normal(0.0, 7.0 * self.noise);
        let diastolic =
            0.50 * systolic + self.signature(s).diastolic + dice.normal(0.0, 4.0 * self.noise);
        (
            systolic,
            diastolic,
            (systolic + 2.0 * diastolic) / 3.0 + dice.normal(0.0, 1.5 * self.noise),
        )
    }

    pub(super) fn breathing(&self, s: &State, ventilated: bool, dice: &mut Dice) -> f64 {
        let drive = if ventilated { 5.0 } else { 15.0 };
        self.breathing
            + drive * s.hypoxia()
            + 4.0 * s.get(Latent::Infectious)
            + 4.0 * s.get(Latent::Renal)
            + self.signature(s).breathing
            + dice.normal(0.0, 2.0 * self.noise)
    }

    /// Inspired oxygen as a share, set by the staff against the hypoxia, in steps of 0.05.
    pub(super) fn oxygen(&self, s: &State, ventilated: bool) -> f64 {
        let wanted = 0.21 + 0.95 * (s.hypoxia() - self.rest.borne).max(0.0);
        let least = if ventilated { 0.40 } else { 0.21 };
        if wanted <= 0.23 && !ventilated {
            return 0.21;
        }
        (wanted.max(least).min(1.0) / 0.05).round() * 0.05
    }

    pub(super) fn saturation(&self, s: &State, ventilated: bool, dice: &mut Dice) -> f64 {
        let helped = 1.0 - 0.62 * self.oxygen(s, ventilated);
        (self.saturation - self.rest.desaturates * s.hypoxia() * helped
            + dice.normal(0.0, 1.1 * self.noise))
        .min(100.0)
    }

    pub(super) fn temperature_c(&self, s: &State, hour_of_day: f64, dice: &mut Dice) -> f64 {
        let day = 0.22 * (std::f64::consts::TAU * (hour_of_day - 11.0) / 24.0).sin();
        let finding = self.signature(s).temperature_c;
        self.temperature
            + 1.9 * s.get(Latent::Infectious)
            + finding
            + day
            + dice.normal(0.0, 0.22 * self.noise)
    }

    pub(super) fn glucose(&self, s: &State, dice: &mut Dice) -> f64 {
        let stress = 45.0 * s.get(Latent::Infectious) + 22.0 * s.get(Latent::Circulatory);
        ((self.glucose + stress) * dice.log_normal(1.0, 0.16)).clamp(35.0, 640.0)
    }

    pub(super) fn ph(&self, s: &State, dice: &mut Dice) -> f64 {
        let acid =
            0.15 * s.get(Latent::Renal) + 0.12 * s.get(Latent::Circulatory) + 0.05 * s.hypoxia();
        (7.42 - acid + self.signature(s).ph + dice.normal(0.0, 0.022 * self.noise)).clamp(6.9, 7.65)
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
