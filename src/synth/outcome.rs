//! How a stay ends, and what is coded afterwards.

use super::dice::{Dice, Purpose};
use super::hospital::Physics;
use super::patient::{History, Illness, Patient};
use super::physiology::{Course, Latent};
use super::proof;
use crate::event::risk::N_PHENOTYPES;

/// The end of a stay, in hours after ICU admission.
#[derive(Clone, Debug, PartialEq)]
pub struct Ending {
    /// When the patient left the ICU.
    pub out: f64,
    /// When he left the hospital, or died in it.
    pub discharge: f64,
    pub died: bool,
    /// ICD-10-CM codes without dots, main diagnosis first.
    pub codes: Vec<&'static str>,
}

impl Ending {
    /// Death is drawn from the burden of the whole course: a logistic curve whose place gives a
    /// mortality near 15 %, the rate of the published cohort (`reference/ddl-cxr.md` 1.7).
    pub fn new(seed: u64, patient: &Patient, course: &Course) -> Self {
        let mut dice = Dice::new(seed, Purpose::Outcome, patient.number);
        let old = (f64::from(patient.age) - 65.0) / 15.0;
        let danger = match patient.hospital.physics {
            Physics::Demo => -8.6 + 26.0 * course.burden,
            Physics::Proof => proof::danger(&proof::decided(course)),
        };
        let logit = danger + 0.45 * old + dice.normal(0.0, 0.3);
        let died = dice.chance(1.0 / (1.0 + (-logit).exp()));
        let out = course.los;
        let later = dice.log_normal(70.0, 0.7).clamp(6.0, 500.0);
        // Four of five deaths happen in the ICU itself.
        let in_unit = died && dice.chance(0.8);
        let discharge = if in_unit { out } else { out + later };
        let codes = codes(seed, patient, course, died);
        Ending { out, discharge, died, codes }
    }
}

/// The published phenotypes (`reference/ddl-cxr.md` 1.7) that these codes stand for. It knows the
/// codes that this ward writes; real code tables are the replay's business.
pub fn phenotypes(codes: &[&str]) -> [bool; N_PHENOTYPES] {
    let mut groups = [false; N_PHENOTYPES];
    for code in codes {
        if let Some((_, group)) = GROUPS.iter().find(|(known, _)| known == code) {
            groups[*group] = true;
        }
    }
    groups
}

/// Which phenotype each code belongs to, counted from 0 in the order of the published list.
const GROUPS: [(&str, usize); 32] = [
    ("N179", 0),
    ("I6350", 1),
    ("I214", 2),
    ("I4891", 3),
    ("N189", 4),
    ("J449", 5),
    ("T8119XA", 6),
    ("J95851", 6),
    ("I447", 7),
    ("I509", 8),
    ("I5023", 8),
    ("I2510", 9),
    ("E1165", 10),
    ("E119", 11),
    ("E785", 12),
    ("I10", 13),
    ("E871", 14),
    ("E872", 14),
    ("E875", 14),
    ("K922", 15),
    ("I129", 16),
    ("K766", 17),
    ("J984", 18),
    ("J8489", 18),
    ("J383", 19),
    ("J939", 20),
    ("J918", 20),
    ("J189", 21),
    ("J9600", 22),
    ("A419", 23),
    ("R6521", 24),
    ("R578", 24),
];

fn codes(seed: u64, patient: &Patient, course: &Course, died: bool) -> Vec<&'static str> {
    let mut dice = Dice::new(seed, Purpose::Codes, patient.number);
    let mut codes = vec![main_code(patient.illness)];
    for code in findings_codes(patient, course, &mut dice) {
        if !codes.contains(&code) {
            codes.push(code);
        }
    }
    history_codes(&patient.history, &mut codes);
    let rare = [
        ("T8119XA", 0.08),
        ("J95851", if course.ventilated.is_some() { 0.12 } else { 0.01 }),
        ("J383", 0.06),
        ("I447", 0.10),
        ("J8489", 0.07),
        ("E875", 0.15),
        ("K922", 0.04),
        ("R578", if died { 0.25 } else { 0.01 }),
        ("Z7901", 0.10),
        ("Z87891", 0.25),
    ];
    for (code, p) in rare {
        if dice.chance(p) && !codes.contains(&code) {
            codes.push(code);
        }
    }
    codes
}

/// The codes of what went wrong in the stay.
fn findings_codes(patient: &Patient, course: &Course, dice: &mut Dice) -> Vec<&'static str> {
    // A coder sees what was written down: plain findings nearly always, faint ones at times.
    let steep = match patient.hospital.physics {
        Physics::Demo => 10.0,
        Physics::Proof => proof::CODED_STEEPLY,
    };
    let mut seen = |severity: f64, threshold: f64| {
        let logit = steep * (severity - threshold);
        dice.chance(0.02 + 0.94 / (1.0 + (-logit).exp()))
    };
    let mut codes = Vec::new();
    if patient.hospital.physics == Physics::Proof {
        for (code, severity) in proof::coded(&proof::decided(course)) {
            codes.extend(seen(severity, proof::CODED_FROM).then_some(code));
        }
        return codes;
    }
    let peak = |latent: Latent| course.hours.iter().map(|s| s.get(latent)).fold(0.0, f64::max);
    let hypoxia = course.hours.iter().map(|s| s.hypoxia()).fold(0.0, f64::max);
    let mut found = |yes: bool, code: &'static str| codes.extend(yes.then_some(code));
    found(seen(peak(Latent::Renal), 0.38), "N179");
    found(seen(peak(Latent::Consolidation), 0.50), "J189");
    found(seen(hypoxia, 0.58), "J9600");
    found(seen(peak(Latent::Infectious), 0.58), "A419");
    found(seen(peak(Latent::Circulatory), 0.62), "R6521");
    found(seen(peak(Latent::Pneumothorax), 0.30), "J939");
    found(seen(peak(Latent::Effusion), 0.62), "J918");
    found(seen(peak(Latent::Oedema), 0.62) && seen(peak(Latent::Cardiomegaly), 0.25), "I509");
    found(seen(peak(Latent::Renal), 0.45), "E872");
    found(seen(peak(Latent::Oedema), 0.55), "E871");
    found(seen(peak(Latent::LowVolume), 0.80), "J984");
    found(seen(peak(Latent::Circulatory), 0.75), "I4891");
    codes
}

fn main_code(illness: Illness) -> &'static str {
    match illness {
        Illness::HeartFailure => "I5023",
        Illness::Pneumonia => "J189",
        Illness::Sepsis => "A419",
        Illness::ChestTrauma => "S270XXA",
        Illness::HeartSurgery => "I2510",
        Illness::GutBleed => "K922",
        Illness::Stroke => "I6350",
        Illness::RenalFailure => "N179",
    }
}

fn history_codes(history: &History, codes: &mut Vec<&'static str>) {
    let diabetes = if history.kidney { "E1165" } else { "E119" };
    let pressure = if history.kidney { "I129" } else { "I10" };
    let known = [
        (history.diabetes, diabetes),
        (history.hypertension, pressure),
        (history.coronary, "I2510"),
        (history.coronary && history.arrhythmia, "I214"),
        (history.copd, "J449"),
        (history.kidney, "N189"),
        (history.liver, "K766"),
        (history.lipids, "E785"),
        (history.arrhythmia, "I4891"),
        (history.pacemaker, "Z950"),
    ];
    for (yes, code) in known {
        if yes && !codes.contains(&code) {
            codes.push(code);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mortality_is_near_the_published_rate_and_follows_severity() {
        let (mut deaths, mut burden) = (0.0, [0.0, 0.0]);
        let n = 1_500;
        for number in 0..n {
            let patient = Patient::new(Default::default(), 9, number);
            let course = Course::new(9, &patient);
            let died = Ending::new(9, &patient, &course).died;
            deaths += f64::from(u8::from(died));
            burden[usize::from(died)] += course.burden;
        }
        let rate = deaths / n as f64;
        assert!((0.11..0.20).contains(&rate), "mortality {rate}");
        let (alive, dead) = (burden[0] / (n as f64 - deaths), burden[1] / deaths);
        println!("mortality {rate:.3}, burden of the living {alive:.3}, of the dead {dead:.3}");
        assert!(dead > alive + 0.08, "burden of the dead {dead}, of the living {alive}");
    }
}
