//! When films are taken, of which view, what hangs in the patient, and what CheXpert would say.

use super::dice::{Dice, Purpose};
use super::hospital::Physics;
use super::patient::{Illness, Patient};
use super::physiology::Course;
use super::radiograph::{self, Anatomy, Devices, Severity};
use crate::event::ViewPosition;
use image::codecs::jpeg::JpegEncoder;
use image::{ExtendedColorType, ImageEncoder, ImageError};

/// One image of one study.
#[derive(Clone, Debug, PartialEq)]
pub struct FilmPlan {
    /// Hours after ICU admission.
    pub taken: f64,
    /// Counts the studies of the stay; PA and lateral share one.
    pub study: u32,
    pub view: ViewPosition,
    pub severity: Severity,
    pub devices: Devices,
    pub fault: Option<FilmFault>,
    /// Added to the logarithm of the film's contrast: how this hospital's generator is set.
    pub exposure: f64,
}

/// What is wrong with a film, as it is in real archives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FilmFault {
    /// The metadata do not say the view.
    NoView,
    /// White is air: the inversion was forgotten.
    Inverted,
    /// No CheXpert row at all.
    NoLabels,
}

/// CheXpert's fourteen labels, in the alphabetical order of the MIMIC-CXR-JPG table.
pub const LABELS: [&str; 14] = [
    "Atelectasis",
    "Cardiomegaly",
    "Consolidation",
    "Edema",
    "Enlarged Cardiomediastinum",
    "Fracture",
    "Lung Lesion",
    "Lung Opacity",
    "No Finding",
    "Pleural Effusion",
    "Pleural Other",
    "Pneumonia",
    "Pneumothorax",
    "Support Devices",
];

/// A film as its file holds it.
pub struct EncodedFilm {
    pub rows: usize,
    pub columns: usize,
    pub jpeg: Vec<u8>,
}

/// Draws the planned film, `rows` pixels high, with its fault if it has one.
pub fn render(
    plan: &FilmPlan,
    anatomy: &Anatomy,
    rows: usize,
    dice: &mut Dice,
) -> Result<EncodedFilm, ImageError> {
    let mut film = radiograph::draw(anatomy, &plan.severity, &plan.devices, plan.view, rows, dice);
    if plan.exposure != 0.0 {
        let gamma = plan.exposure.exp();
        let told = |p: u8| (255.0 * (f64::from(p) / 255.0).powf(gamma)).round() as u8;
        film.pixels.iter_mut().for_each(|p| *p = told(*p));
    }
    if plan.fault == Some(FilmFault::Inverted) {
        film.pixels.iter_mut().for_each(|p| *p = 255 - *p);
    }
    let (width, height) = (film.columns as u32, film.rows as u32);
    let mut jpeg = Vec::new();
    JpegEncoder::new_with_quality(&mut jpeg, 92).write_image(
        &film.pixels,
        width,
        height,
        ExtendedColorType::L8,
    )?;
    Ok(EncodedFilm { rows: film.rows, columns: film.columns, jpeg })
}

/// The anatomy of a patient, the same on all of his films.
pub fn anatomy(seed: u64, patient: &Patient) -> Anatomy {
    let mut dice = Dice::new(seed, Purpose::Anatomy, patient.number);
    Anatomy::new(patient.sex, f64::from(patient.age), patient.bulk(), &mut dice)
}

/// The streams of chance of one film and of one study's labels.
pub fn streams(seed: u64, patient: &Patient, index: usize, study: u32) -> (Dice, Dice) {
    let base = patient.number * 1_000;
    let film = Dice::new(seed, Purpose::Film, base + index as u64);
    (film, Dice::new(seed, Purpose::Labels, base + u64::from(study)))
}

/// All films of one stay, in order of time.
pub fn films(seed: u64, patient: &Patient, course: &Course, hour_of_day: f64) -> Vec<FilmPlan> {
    let mut dice = Dice::new(seed, Purpose::FilmTimes, patient.number);
    let mut times: Vec<(f64, bool)> = Vec::new();
    if dice.chance(0.88) {
        times.push((dice.between(-9.0, 2.0), dice.chance(0.12)));
    }
    // The morning round of the portable machine.
    let mut t = (29.0 - hour_of_day).rem_euclid(24.0);
    while t < course.los {
        let state = course.at(t);
        let due = course.is_ventilated(t) || course.is_drained(t);
        let p = match (patient.hospital.physics, due) {
            (Physics::Demo, true) => 0.92,
            (Physics::Demo, false) => (0.25 + 1.6 * state.burden()).min(0.9),
            // Rarer, so that films are as old at 48 h as the published ones.
            (Physics::Proof, true) => 0.60,
            (Physics::Proof, false) => (1.1 * state.burden()).min(0.55),
        };
        if dice.chance(p * patient.hospital.shift.films) {
            times.push((t + dice.normal(0.0, 0.5), false));
        }
        t += 24.0;
    }
    // Films for a reason: a patient who has got worse, a tube that was placed.
    let mut last = -30.0;
    // Where findings swing by themselves, a change alone calls for a film less often.
    let called = match patient.hospital.physics {
        Physics::Demo => 0.7,
        Physics::Proof => 0.15,
    };
    for hour in 6..course.los as i64 {
        let t = hour as f64;
        let worse = course.at(t).hypoxia() - course.at(t - 6.0).hypoxia() > 0.11;
        if worse && t - last > 9.0 && dice.chance(called) {
            times.push((t + dice.between(0.3, 2.0), false));
            last = t;
        }
    }
    for placed in [course.ventilated, course.drained].into_iter().flatten() {
        if placed.0 > 0.0 && dice.chance(0.85) {
            times.push((placed.0 + dice.between(0.4, 1.2), false));
        }
    }
    if course.at(course.los).burden() < 0.15 && dice.chance(0.15) {
        times.push((course.los - dice.between(1.0, 6.0), true));
    }
    times.retain(|(t, _)| *t > -20.0 && *t < course.los - 0.2);
    times.sort_by(|a, b| a.0.total_cmp(&b.0));
    times.dedup_by(|later, earlier| later.0 - earlier.0 < 0.5);
    plans(patient, course, &times, &mut dice)
}

fn plans(
    patient: &Patient,
    course: &Course,
    times: &[(f64, bool)],
    dice: &mut Dice,
) -> Vec<FilmPlan> {
    let mut plans = Vec::new();
    let exposure = patient.hospital.shift.exposure;
    for (study, &(taken, standing)) in times.iter().enumerate() {
        let devices = devices(patient, course, taken, dice);
        let severity = course.at(taken).film();
        let views: &[ViewPosition] = if standing {
            &[ViewPosition::Pa, ViewPosition::Lateral]
        } else if dice.chance(0.04) {
            // Repeated at once, because the first one cut off a corner.
            &[ViewPosition::Ap, ViewPosition::Ap]
        } else {
            &[ViewPosition::Ap]
        };
        for &view in views {
            let fault = match dice.below(400) {
                0..=7 => Some(FilmFault::NoView),
                8 | 9 => Some(FilmFault::Inverted),
                10..=12 => Some(FilmFault::NoLabels),
                _ => None,
            };
            let study = study as u32;
            plans.push(FilmPlan { taken, study, view, severity, devices, fault, exposure });
        }
    }
    plans
}

pub(super) fn devices(patient: &Patient, course: &Course, t: f64, dice: &mut Dice) -> Devices {
    let tube = course.is_ventilated(t);
    let ill = course.at(t).burden();
    Devices {
        et_tube: tube,
        gastric_tube: tube && dice.chance(0.85),
        central_line: t > -2.0 && (patient.illness == Illness::HeartSurgery || ill > 0.28),
        chest_drain: course.is_drained(t),
        pacemaker: patient.history.pacemaker,
        leads: dice.chance(0.6),
    }
}

/// What a labeller reads out of the report of such a film: `1.0`, `0.0`, `-1.0` (uncertain) or
/// nothing, in the order of [`LABELS`].
pub fn labels(severity: &Severity, devices: &Devices, dice: &mut Dice) -> [&'static str; 14] {
    let opacity = severity.consolidation.max(0.8 * severity.oedema).max(0.6 * severity.low_volume);
    let graded = [
        (0, severity.low_volume.max(0.7 * severity.effusion), 0.50),
        (1, severity.cardiomegaly, 0.36),
        (2, severity.consolidation, 0.55),
        (3, severity.oedema, 0.34),
        (4, severity.cardiomegaly, 0.72),
        (7, opacity, 0.42),
        (9, severity.effusion, 0.28),
        (11, severity.consolidation, 0.48),
        (12, severity.pneumothorax, 0.20),
    ];
    let mut labels = [""; 14];
    for (index, value, threshold) in graded {
        let p = 1.0 / (1.0 + (-14.0 * (value - threshold)).exp());
        labels[index] = if dice.chance(p) {
            if dice.chance(0.10) { "-1.0" } else { "1.0" }
        } else if dice.chance(0.35) {
            "0.0"
        } else {
            ""
        };
    }
    let finding = labels.contains(&"1.0") || labels.contains(&"-1.0");
    if !finding {
        labels[8] = "1.0";
    }
    if devices.any() {
        labels[13] = "1.0";
    }
    labels
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sick_patients_get_more_films() {
        let (mut calm, mut ill) = ((0.0, 0.0), (0.0, 0.0));
        for number in 0..200 {
            let patient = Patient::new(Default::default(), 4, number);
            let course = Course::new(4, &patient);
            let n = films(4, &patient, &course, 10.0).len() as f64;
            let group = if course.burden > 0.25 { &mut ill } else { &mut calm };
            *group = (group.0 + n, group.1 + course.los / 24.0);
        }
        assert!(ill.0 / ill.1 > 1.15 * calm.0 / calm.1, "{ill:?} {calm:?}");
    }
}
