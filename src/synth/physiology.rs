//! The course of an illness: latent severities in continuous time.
//!
//! Each latent is an Ornstein-Uhlenbeck process around a level that arcs move: an arc is a
//! deterioration with an onset, a height and a time scale, and treatment, started some hours after
//! the severity has become plain, takes its height away as far as this patient responds. Latents
//! pull on each other (a failing kidney wets the lung, a wet lung fills the pleura). Everything
//! that the ward then charts, films and codes is a noisy view of these curves.

use super::dice::{Dice, Purpose};
use super::hospital::Physics;
use super::patient::{Illness, Patient};
use super::proof;
use super::radiograph::Severity;

/// The latents, in the order of [`State`]'s array.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Latent {
    Oedema,
    Consolidation,
    Effusion,
    Pneumothorax,
    LowVolume,
    Cardiomegaly,
    /// Failing circulation: pressure falls, heart rate rises.
    Circulatory,
    /// Failing kidneys: pH falls, fluid stays.
    Renal,
    /// Infection: temperature, heart and breathing rate rise.
    Infectious,
    /// Failing brain: the coma scale falls.
    Neurologic,
}

pub const N_LATENTS: usize = 10;

/// Names of the latents as `truth.csv` writes them.
pub const LATENT_NAMES: [&str; N_LATENTS] = [
    "oedema",
    "consolidation",
    "effusion",
    "pneumothorax",
    "low_volume",
    "cardiomegaly",
    "circulatory",
    "renal",
    "infectious",
    "neurologic",
];

/// All latents at one moment, each 0..=1.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct State(pub [f64; N_LATENTS]);

/// A stay's course, hour by hour from `start` (hours since ICU admission) to its end.
#[derive(Clone, Debug, PartialEq)]
pub struct Course {
    /// First hour; negative, since the course begins before the admission.
    pub start: i32,
    /// Length of the ICU stay in hours.
    pub los: f64,
    pub hours: Vec<State>,
    /// When mechanical ventilation ran, in hours.
    pub ventilated: Option<(f64, f64)>,
    /// When the chest drain lay.
    pub drained: Option<(f64, f64)>,
    /// Added severity of the whole stay per hour; the outcome is drawn from it.
    pub burden: f64,
}

/// Hours of course before the ICU admission: the films of the emergency department need them.
pub(super) const BEFORE: i32 = 24;

struct Arc {
    latent: usize,
    onset: f64,
    height: f64,
    /// Hours to rise, and to fall again once treated.
    rise: f64,
    fall: f64,
}

impl State {
    pub fn get(&self, latent: Latent) -> f64 {
        self.0[latent as usize]
    }

    /// How short of oxygen the patient is before any help, 0..=1.
    pub fn hypoxia(&self) -> f64 {
        let s = self.film();
        let lost = (1.0 - 0.65 * s.oedema)
            * (1.0 - 0.65 * s.consolidation)
            * (1.0 - 0.35 * s.effusion)
            * (1.0 - 0.45 * s.pneumothorax)
            * (1.0 - 0.25 * s.low_volume);
        (1.0 - lost).clamp(0.0, 1.0)
    }

    /// What a film of this moment shows.
    pub fn film(&self) -> Severity {
        Severity {
            oedema: self.get(Latent::Oedema),
            consolidation: self.get(Latent::Consolidation),
            effusion: self.get(Latent::Effusion),
            pneumothorax: self.get(Latent::Pneumothorax),
            low_volume: self.get(Latent::LowVolume),
            cardiomegaly: self.get(Latent::Cardiomegaly),
        }
    }

    /// One number for how ill the patient is, 0 to about 1.
    pub fn burden(&self) -> f64 {
        0.34 * self.hypoxia()
            + 0.24 * self.get(Latent::Circulatory)
            + 0.14 * self.get(Latent::Renal)
            + 0.10 * self.get(Latent::Infectious)
            + 0.18 * self.get(Latent::Neurologic)
    }
}

impl Course {
    pub fn new(seed: u64, patient: &Patient) -> Self {
        let mut dice = Dice::new(seed, Purpose::Course, patient.number);
        let los = dice.log_normal(68.0, 0.55).clamp(14.0, 260.0);
        let hours = match patient.hospital.physics {
            Physics::Demo => hours(patient, los, &mut dice),
            Physics::Proof => proof::hours(seed, patient, los),
        };
        let mut course =
            Course { start: -BEFORE, los, hours, ventilated: None, drained: None, burden: 0.0 };
        course.treat(patient);
        // The last day counts double: it says where the stay was heading.
        let inside = course.hours.iter().skip(BEFORE as usize);
        let all: f64 = inside.clone().map(State::burden).sum::<f64>() / los.max(1.0);
        let late: Vec<f64> = inside.rev().take(24).map(State::burden).collect();
        course.burden = 0.5 * all + 0.5 * late.iter().sum::<f64>() / late.len().max(1) as f64;
        course
    }

    /// The latents at `t` hours after ICU admission, linear between hours, held at both ends.
    pub fn at(&self, t: f64) -> State {
        let place = (t - f64::from(self.start)).max(0.0);
        let last = self.hours.len().saturating_sub(1);
        let low = (place.floor() as usize).min(last);
        let high = (low + 1).min(last);
        let share = (place - low as f64).clamp(0.0, 1.0);
        match (self.hours.get(low), self.hours.get(high)) {
            (Some(a), Some(b)) => {
                State(std::array::from_fn(|i| a.0[i] + (b.0[i] - a.0[i]) * share))
            }
            _ => State::default(),
        }
    }

    pub fn is_ventilated(&self, t: f64) -> bool {
        self.ventilated.is_some_and(|(from, to)| (from..to).contains(&t))
    }

    pub fn is_drained(&self, t: f64) -> bool {
        self.drained.is_some_and(|(from, to)| (from..to).contains(&t))
    }

    /// Ventilation and drains follow what the latents have come to.
    fn treat(&mut self, patient: &Patient) {
        let surgery = patient.illness == Illness::HeartSurgery;
        let when = |test: &dyn Fn(&State) -> bool| {
            let first = self.hours.iter().position(test)?;
            let last = self.hours.iter().rposition(test)?;
            let t = |i: usize| i as f64 + f64::from(self.start);
            Some((t(first) + 1.5, t(last) + 7.0))
        };
        let enough = match patient.hospital.physics {
            Physics::Demo => 0.52,
            Physics::Proof => 0.66,
        };
        let worn_out = |s: &State| s.hypoxia() > enough || s.get(Latent::Neurologic) > 0.62;
        let ventilated = when(&worn_out).or(surgery.then_some((-3.0, 9.0)));
        let leaking = |s: &State| s.get(Latent::Pneumothorax) > 0.4;
        let drained = when(&leaking).or(surgery.then_some((-3.0, 40.0)));
        (self.ventilated, self.drained) = (ventilated, drained);
    }
}

/// The demo's courses: arcs that come and are treated.
fn hours(patient: &Patient, los: f64, dice: &mut Dice) -> Vec<State> {
    let base = baseline(patient, dice);
    let arcs = arcs(patient, los, dice);
    let mut state = base;
    (0..BEFORE + los.ceil() as i32 + 1)
        .map(|hour| {
            let t = f64::from(hour - BEFORE);
            state = step(&state, &base, &arcs, patient.response, t, dice);
            State(state.map(|x| x.clamp(0.0, 1.0)))
        })
        .collect()
}

/// One hour: pull towards the arcs' levels, couple, disturb.
fn step(
    x: &[f64; N_LATENTS],
    base: &[f64; N_LATENTS],
    arcs: &[Arc],
    response: f64,
    t: f64,
    dice: &mut Dice,
) -> [f64; N_LATENTS] {
    use Latent::*;
    let mut level = *base;
    for arc in arcs {
        level[arc.latent] += arc.height_at(t, response);
    }
    let of = |latent: Latent| x[latent as usize];
    level[Oedema as usize] += 0.32 * of(Renal) + 0.18 * (of(Circulatory) - 0.4).max(0.0);
    level[Effusion as usize] += 0.40 * (of(Oedema) - 0.25).max(0.0) + 0.22 * of(Consolidation);
    level[Circulatory as usize] += 0.28 * of(Infectious);
    level[Renal as usize] += 0.26 * (of(Circulatory) - 0.3).max(0.0);
    level[LowVolume as usize] += 0.25 * of(Neurologic) + 0.15 * of(Effusion);
    level[Infectious as usize] += 0.30 * of(Consolidation);
    std::array::from_fn(|i| {
        // Air and blood pressure move within hours, fluid and the heart's size within a day.
        let hours = [7.0, 12.0, 18.0, 3.0, 8.0, 60.0, 4.0, 16.0, 9.0, 8.0][i];
        let noise = [0.035, 0.022, 0.018, 0.008, 0.022, 0.003, 0.045, 0.020, 0.030, 0.025][i];
        let next = x[i] + (level[i] - x[i]) / hours + dice.normal(0.0, noise);
        next.clamp(-0.1, 1.05)
    })
}

impl Arc {
    /// How far this arc lifts its latent at `t`; treatment starts when it is three quarters up.
    fn height_at(&self, t: f64, response: f64) -> f64 {
        let since = t - self.onset;
        if since <= 0.0 {
            return 0.0;
        }
        let up = 1.0 - (-since / self.rise).exp();
        let treated = (since - 1.4 * self.rise).max(0.0);
        let left = 1.0 - response * (1.0 - (-treated / self.fall).exp());
        self.height * up * left
    }
}

/// Levels without any arc.
fn baseline(patient: &Patient, dice: &mut Dice) -> [f64; N_LATENTS] {
    use Latent::*;
    let mut base: [f64; N_LATENTS] = std::array::from_fn(|_| dice.between(0.0, 0.08));
    let heart = matches!(patient.illness, Illness::HeartFailure | Illness::HeartSurgery);
    base[Cardiomegaly as usize] = dice.between(0.0, 0.25)
        + if heart { dice.between(0.15, 0.6) } else { 0.0 }
        + if patient.history.coronary { 0.1 } else { 0.0 };
    base[LowVolume as usize] += dice.between(0.0, 0.30);
    base[Renal as usize] += if patient.history.kidney { dice.between(0.15, 0.40) } else { 0.0 };
    base[Pneumothorax as usize] = 0.0;
    base
}

/// The arcs of an illness: those it came with, and what may still go wrong.
fn arcs(patient: &Patient, los: f64, dice: &mut Dice) -> Vec<Arc> {
    use Latent::*;
    let main: &[(Latent, f64)] = match patient.illness {
        Illness::HeartFailure => &[(Oedema, 0.75), (Circulatory, 0.35), (Effusion, 0.25)],
        Illness::Pneumonia => &[(Consolidation, 0.75), (Infectious, 0.55)],
        Illness::Sepsis => &[(Infectious, 0.75), (Circulatory, 0.45), (Renal, 0.35)],
        Illness::ChestTrauma => &[(Pneumothorax, 0.75), (LowVolume, 0.4), (Consolidation, 0.25)],
        Illness::HeartSurgery => &[(LowVolume, 0.5), (Effusion, 0.35), (Circulatory, 0.25)],
        Illness::GutBleed => &[(Circulatory, 0.65)],
        Illness::Stroke => &[(Neurologic, 0.75), (LowVolume, 0.3)],
        Illness::RenalFailure => &[(Renal, 0.75), (Oedema, 0.3)],
    };
    let grade = dice.between(0.25, 1.25) * patient.hospital.shift.sicker;
    let mut arcs = Vec::new();
    let mut add = |latent: Latent, onset: f64, height: f64, dice: &mut Dice| {
        let rise = dice.log_normal(7.0, 0.5);
        let fall = dice.log_normal(26.0, 0.5);
        arcs.push(Arc { latent: latent as usize, onset, height, rise, fall });
    };
    for &(latent, height) in main {
        let onset = dice.between(-20.0, 2.0);
        add(latent, onset, height * grade * dice.between(0.7, 1.2), dice);
    }
    // Complications, one every three days on average; each gives the next film something to say.
    let mut t = dice.waiting(40.0);
    while t < los {
        let latent = [Oedema, Consolidation, Effusion, Pneumothorax, LowVolume, Circulatory, Renal]
            [dice.weighted(&[0.26, 0.24, 0.14, 0.05, 0.09, 0.14, 0.08])];
        let height = dice.between(0.3, 0.95);
        add(latent, t, height, dice);
        t += dice.waiting(66.0);
    }
    arcs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latents_stay_in_range_and_move() {
        let mut moved = 0.0;
        for number in 0..50 {
            let patient = Patient::new(Default::default(), 1, number);
            let course = Course::new(1, &patient);
            assert!(course.hours.iter().all(|s| s.0.iter().all(|x| (0.0..=1.0).contains(x))));
            moved += (course.at(0.0).hypoxia() - course.at(course.los).hypoxia()).abs();
        }
        assert!(moved / 50.0 > 0.08, "courses are flat: {moved}");
    }

    #[test]
    fn a_course_is_a_function_of_its_seed() {
        let patient = Patient::new(Default::default(), 1, 3);
        assert_eq!(Course::new(1, &patient), Course::new(1, &patient));
        assert_ne!(Course::new(1, &patient), Course::new(2, &patient));
    }
}
