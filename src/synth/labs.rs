//! The laboratory: `hosp/labevents`, with the time from the draw to the result.

use super::dice::{Dice, Purpose};
use super::patient::Patient;
use super::physiology::{Course, Latent, State};
use super::vitals::Levels;

/// A row of `labevents`; times in hours after ICU admission.
#[derive(Clone, Debug, PartialEq)]
pub struct LabRow {
    /// Counts the specimens of the stay: results of one draw share it.
    pub specimen: u32,
    pub item: u32,
    pub observed: f64,
    pub stored: Option<f64>,
    /// Text of the result; MIMIC blanks free text as `___` and keeps the number.
    pub value: String,
    pub number: f64,
    pub unit: &'static str,
    pub range: (&'static str, &'static str),
    pub abnormal: bool,
    pub urgent: bool,
    pub comment: &'static str,
    /// Whether the row names its admission; a quarter of the real ones do not.
    pub has_hadm: bool,
}

/// The items resulted here: id, label, fluid, category, as `hosp/d_labitems` has them.
pub const ITEMS: &[(u32, &str, &str, &str)] = &[
    (50809, "Glucose", "Blood", "Blood Gas"),
    (50813, "Lactate", "Blood", "Blood Gas"),
    (50817, "Oxygen Saturation", "Blood", "Blood Gas"),
    (50820, "pH", "Blood", "Blood Gas"),
    (50912, "Creatinine", "Blood", "Chemistry"),
    (50931, "Glucose", "Blood", "Chemistry"),
    (50971, "Potassium", "Blood", "Chemistry"),
    (51301, "White Blood Cells", "Blood", "Hematology"),
    (51478, "Glucose", "Urine", "Hematology"),
    (51491, "pH", "Urine", "Hematology"),
];

/// Median and log deviation of the minutes from draw to result: median 65, 90th percentile 177,
/// as measured on the MIMIC-IV demo (`reference/open-data.md`).
const LAG: (f64, f64) = (65.0, 0.782);

struct Laboratory<'a> {
    course: &'a Course,
    levels: Levels,
    dice: Dice,
    specimen: u32,
    /// Factor of the time to the result.
    lag: f64,
    rows: Vec<LabRow>,
}

/// All results of one stay, from the emergency department to the end of the ICU stay.
pub fn labs(seed: u64, patient: &Patient, course: &Course, hour_of_day: f64) -> Vec<LabRow> {
    let mut dice = Dice::new(seed, Purpose::Labs, patient.number);
    // The same draws as the chart's, so that both know the same patient.
    let levels = Levels::new(patient, &mut Dice::new(seed, Purpose::Charting, patient.number));
    let arrival = -dice.between(0.5, 7.0);
    let lag = patient.hospital.shift.lag;
    let mut lab = Laboratory { course, levels, dice, specimen: 0, lag, rows: Vec::new() };
    lab.chemistry(arrival);
    lab.urine(arrival + 0.4);
    let mut t = arrival + 1.0;
    let mut last_chemistry = arrival;
    while t < course.los {
        let clock = (hour_of_day + t).rem_euclid(24.0);
        let state = course.at(t);
        let morning = (3.5..4.5).contains(&clock);
        let sick = state.burden() > 0.30 && t - last_chemistry > 7.0;
        if (morning && t - last_chemistry > 4.0) || sick {
            lab.chemistry(t);
            last_chemistry = t;
        }
        let every = if course.is_ventilated(t) { 5.0 } else { 16.0 };
        if state.hypoxia() > 0.18 && lab.dice.chance(1.0 / every) {
            lab.blood_gas(t);
        }
        t += 1.0;
    }
    lab.rows
}

impl Laboratory<'_> {
    fn chemistry(&mut self, t: f64) {
        let (t, s) = self.draw(t);
        let glucose = self.levels.glucose(&s, &mut self.dice).round();
        self.result(t, 50931, glucose, 0, "mg/dL", ("70", "100"));
        let renal = s.get(Latent::Renal);
        let creatinine = (0.8 + 3.6 * renal * renal) * self.dice.log_normal(1.0, 0.10);
        self.result(t, 50912, creatinine, 1, "mg/dL", ("0.5", "1.2"));
        let potassium = 4.1 + 0.9 * renal + self.dice.normal(0.0, 0.3);
        self.result(t, 50971, potassium, 1, "mEq/L", ("3.3", "5.1"));
        let white = (8.0 + 9.0 * s.get(Latent::Infectious)) * self.dice.log_normal(1.0, 0.2);
        self.result(t, 51301, white, 1, "K/uL", ("4.0", "11.0"));
    }

    fn blood_gas(&mut self, t: f64) {
        let (t, s) = self.draw(t);
        let ph = self.levels.ph(&s, &mut self.dice);
        self.result(t, 50820, ph, 2, "units", ("7.35", "7.45"));
        let ventilated = self.course.is_ventilated(t);
        if self.dice.chance(0.35) {
            let saturation = self.levels.saturation(&s, ventilated, &mut self.dice);
            self.result(t, 50817, saturation, 0, "%", ("", ""));
        }
        let lactate =
            (1.1 + 5.0 * s.get(Latent::Circulatory).powi(2)) * self.dice.log_normal(1.0, 0.18);
        self.result(t, 50813, lactate, 1, "mmol/L", ("0.5", "2.0"));
        if self.dice.chance(0.5) {
            let glucose = self.levels.glucose(&s, &mut self.dice);
            self.result(t, 50809, glucose, 0, "mg/dL", ("70", "105"));
        }
    }

    /// Urine has a pH and a glucose of its own: the trap that the specimen check is for.
    fn urine(&mut self, t: f64) {
        let (t, s) = self.draw(t);
        let ph = 5.5 + 0.5 * (self.dice.below(5) as f64);
        self.result(t, 51491, ph, 1, "units", ("5", "8"));
        if self.levels.glucose(&s, &mut self.dice) > 190.0 {
            self.result(t, 51478, 300.0, 0, "mg/dL", ("", ""));
        }
    }

    fn draw(&mut self, t: f64) -> (f64, State) {
        self.specimen += 1;
        let t = t + self.dice.between(0.0, 0.9);
        (t, self.course.at(t))
    }

    fn result(
        &mut self,
        t: f64,
        item: u32,
        value: f64,
        digits: i32,
        unit: &'static str,
        range: (&'static str, &'static str),
    ) {
        let scale = 10f64.powi(digits);
        let number = (value * scale).round() / scale;
        let outside = |bound: &str, sign: f64| {
            bound.parse::<f64>().is_ok_and(|bound| (number - bound) * sign > 0.0)
        };
        let minutes = self.dice.log_normal(LAG.0 * self.lag, LAG.1).clamp(4.0, 40_000.0);
        let stored = (!self.dice.chance(0.009)).then_some(t + minutes / 60.0);
        let hidden = self.dice.chance(if item == 50931 { 0.9 } else { 0.05 });
        let slight = self.dice.chance(0.02);
        let row = LabRow {
            specimen: self.specimen,
            item,
            observed: t,
            stored,
            value: if hidden { "___".to_owned() } else { number.to_string() },
            number,
            unit,
            range,
            abnormal: outside(range.0, -1.0) || outside(range.1, 1.0),
            urgent: self.dice.chance(0.45),
            comment: if slight { "HEMOLYZED, SLIGHTLY." } else { "" },
            has_hadm: t > 0.0 && self.dice.chance(0.9),
        };
        self.rows.push(row);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lags_are_those_measured_on_the_demo() {
        let mut lags = Vec::new();
        for number in 0..60 {
            let patient = Patient::new(Default::default(), 2, number);
            let course = Course::new(2, &patient);
            for row in labs(2, &patient, &course, 9.0) {
                lags.extend(row.stored.map(|stored| (stored - row.observed) * 60.0));
            }
        }
        lags.sort_by(f64::total_cmp);
        let at = |share: f64| lags[(share * lags.len() as f64) as usize];
        assert!((at(0.5) - 65.0).abs() < 6.0, "median {}", at(0.5));
        assert!((at(0.9) - 177.0).abs() < 20.0, "p90 {}", at(0.9));
        assert!(at(0.0) > 0.0);
    }
}
