//! The ward of the proof: the same patients, tables and films as the demo's, under a physics in
//! which the question of the paper has an answer that can be computed.
//!
//! What differs from the demo, and why:
//! - The findings of the chest swing around a level of their own within a day or two, so that a
//!   film of yesterday says little about today.
//! - Each finding has a signature in the hourly vital signs, on top of a resting level that is the
//!   patient's own. The chart alone cannot tell the two apart; the chart since a film that shows
//!   the finding can. So the finding of now is known from film *and* chart together.
//! - Death, and the codes of the chest, are decided by what the findings are at the end of the
//!   second day, where findings make each other worse: a product of severities, which few outcomes
//!   cannot teach and many film pairs can.
//! - One stay in three has an outcome label; all give film pairs.
//!
//! `nowcxr synth --ceiling --ward proof` measures how much this leaves to be gained.

use super::dice::{Dice, Purpose};
use super::patient::{Illness, Patient};
use super::physiology::{BEFORE, Course, Latent, N_LATENTS, State};

/// The hours after admission whose mean state decides the outcome.
const DECIDED: std::ops::Range<i32> = 43..54;

/// How one latent moves: on the scale of its log odds.
struct Swing {
    mean: f64,
    /// Between patients.
    own: f64,
    /// Of the swing around the patient's own level.
    sd: f64,
    /// Hours after which a swing has lost 63 % of itself.
    hours: f64,
}

const fn swing(mean: f64, own: f64, sd: f64, hours: f64) -> Swing {
    Swing { mean, own, sd, hours }
}

/// Hours by which a latent follows what drives it: tissue does not jump.
const FOLLOWS: f64 = 5.0;

/// In the order of [`Latent`].
const SWINGS: [Swing; N_LATENTS] = [
    swing(-1.4, 0.5, 1.4, 27.0),
    swing(-1.5, 0.5, 1.4, 28.0),
    swing(-1.5, 0.5, 1.4, 31.0),
    swing(-5.0, 0.5, 1.3, 30.0),
    swing(-1.4, 0.5, 1.4, 27.0),
    swing(-1.6, 0.7, 0.15, 200.0),
    swing(-1.9, 0.5, 0.8, 20.0),
    swing(-2.0, 0.7, 0.6, 50.0),
    swing(-1.6, 0.5, 0.8, 30.0),
    swing(-2.2, 0.7, 0.8, 30.0),
];

/// The states of every hour of a stay of `los` hours.
pub(super) fn hours(seed: u64, patient: &Patient, los: f64) -> Vec<State> {
    let mut dice = Dice::new(seed, Purpose::Swings, patient.number);
    let more = illness(patient.illness);
    let sicker = patient.hospital.shift.sicker.ln();
    let own: [f64; N_LATENTS] = std::array::from_fn(|i| {
        SWINGS[i].mean + more[i] + sicker + dice.normal(0.0, SWINGS[i].own)
    });
    let mut away: [f64; N_LATENTS] = std::array::from_fn(|i| dice.normal(0.0, SWINGS[i].sd));
    let mut followed = away;
    let n = BEFORE + los.ceil() as i32 + 1;
    (0..n)
        .map(|_| {
            let state = std::array::from_fn(|i| 1.0 / (1.0 + (-(own[i] + followed[i])).exp()));
            away = std::array::from_fn(|i| {
                let keep = (-1.0 / SWINGS[i].hours).exp();
                let sd = SWINGS[i].sd * (1.0 - keep * keep).sqrt();
                keep * away[i] + dice.normal(0.0, sd)
            });
            followed = std::array::from_fn(|i| followed[i] + (away[i] - followed[i]) / FOLLOWS);
            State(state)
        })
        .collect()
}

/// What the reason for coming adds to each latent's log odds.
fn illness(illness: Illness) -> [f64; N_LATENTS] {
    use Latent::*;
    let of: &[(Latent, f64)] = match illness {
        Illness::HeartFailure => &[(Oedema, 0.6), (Cardiomegaly, 1.4), (Circulatory, 0.4)],
        Illness::Pneumonia => &[(Consolidation, 0.7), (Infectious, 0.7)],
        Illness::Sepsis => &[(Infectious, 1.0), (Circulatory, 0.6), (Renal, 0.5)],
        Illness::ChestTrauma => &[(Pneumothorax, 3.2), (LowVolume, 0.4)],
        Illness::HeartSurgery => &[(LowVolume, 0.4), (Effusion, 0.4), (Cardiomegaly, 0.9)],
        Illness::GutBleed => &[(Circulatory, 0.8)],
        Illness::Stroke => &[(Neurologic, 1.8), (LowVolume, 0.3)],
        Illness::RenalFailure => &[(Renal, 1.8), (Oedema, 0.4)],
    };
    let mut more = [0.0; N_LATENTS];
    of.iter().for_each(|(latent, by)| more[*latent as usize] = *by);
    more
}

/// What the findings of the chest do to the vital signs beyond what the demo's do.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Signature {
    pub(super) heart_rate: f64,
    pub(super) systolic: f64,
    pub(super) diastolic: f64,
    pub(super) breathing: f64,
    pub(super) temperature_c: f64,
    pub(super) ph: f64,
}

impl Signature {
    pub(super) fn of(s: &State) -> Self {
        // Centred, so that the ward's means stay where the demo's are.
        let by = |latent: Latent| s.get(latent) - 0.27;
        let (wet, dense) = (by(Latent::Oedema), by(Latent::Consolidation));
        let (fluid, small) = (by(Latent::Effusion), by(Latent::LowVolume));
        Signature {
            heart_rate: 46.0 * small,
            systolic: -50.0 * fluid,
            diastolic: 25.0 * wet,
            breathing: 4.0 * wet + 10.0 * dense,
            temperature_c: 2.6 * dense,
            ph: -0.10 * small,
        }
    }
}

/// The state that decides: the mean over the end of the second day, or of the last hours of a stay
/// that ends before.
pub(super) fn decided(course: &Course) -> State {
    let last = course.los.floor() as i32;
    let to = DECIDED.end.min(last).max(1);
    let from = DECIDED.start.min(to - 1);
    let states: Vec<State> = (from..to).map(|hour| course.at(f64::from(hour))).collect();
    State(std::array::from_fn(|i| states.iter().map(|s| s.0[i]).sum::<f64>() / states.len() as f64))
}

/// Log odds of death without the share of age: consolidation in a wet lung, fluid around a small
/// one. Each alone is borne; where two meet, both must be plain to be dangerous.
pub(super) fn danger(s: &State) -> f64 {
    let met = |a: Latent, b: Latent| (s.get(a) * s.get(b)).powf(1.5);
    let together =
        met(Latent::Oedema, Latent::Consolidation) + met(Latent::Effusion, Latent::LowVolume);
    let elsewhere = s.get(Latent::Circulatory) + s.get(Latent::Renal) + s.get(Latent::Neurologic);
    -5.2 + 30.0 * together + 1.5 * elsewhere
}

/// Severity at which half of the stays get the code.
pub(super) const CODED_FROM: f64 = 0.24;

/// How sharply a coder tells plain from faint, on the log odds.
pub(super) const CODED_STEEPLY: f64 = 18.0;

/// The codes that a decided state may get, and how plain each is. Those of the chest are written
/// where two findings meet: what neither film nor chart of the day before says by itself.
pub(super) fn coded(s: &State) -> [(&'static str, f64); 10] {
    let of = |latent: Latent| s.get(latent);
    let met = |a: Latent, b: Latent| (of(a) * of(b)).powf(0.75);
    use Latent::*;
    [
        ("J9600", met(Oedema, Consolidation)),
        ("J189", met(Consolidation, LowVolume)),
        ("J918", met(Effusion, LowVolume)),
        ("I509", met(Oedema, Effusion)),
        ("J984", met(Consolidation, Effusion)),
        ("E871", met(Oedema, LowVolume)),
        ("J939", of(Pneumothorax)),
        ("N179", of(Renal)),
        ("A419", of(Infectious)),
        ("R6521", of(Circulatory)),
    ]
}
