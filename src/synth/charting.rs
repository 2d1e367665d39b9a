//! The chart: vital signs and assessments as `icu/chartevents` holds them, by MIMIC's item ids,
//! with the habits and faults of a real chart.

use super::dice::{Dice, Purpose};
use super::patient::Patient;
use super::physiology::{Course, State};
use super::vitals::{Gcs, Levels};

/// A row of `chartevents`; times in hours after ICU admission.
#[derive(Clone, Debug, PartialEq)]
pub struct ChartRow {
    pub observed: f64,
    pub stored: f64,
    pub item: u32,
    pub value: String,
    pub number: Option<f64>,
    pub unit: &'static str,
    pub warning: bool,
}

/// The items charted here, as `icu/d_items` has them: id, label, abbreviation, category, unit,
/// type.
pub const ITEMS: &[(u32, &str, &str, &str, &str, &str)] = &[
    (220045, "Heart Rate", "HR", "Routine Vital Signs", "bpm", "Numeric"),
    (220050, "Arterial Blood Pressure systolic", "ABPs", "Routine Vital Signs", "mmHg", "Numeric"),
    (220051, "Arterial Blood Pressure diastolic", "ABPd", "Routine Vital Signs", "mmHg", "Numeric"),
    (220052, "Arterial Blood Pressure mean", "ABPm", "Routine Vital Signs", "mmHg", "Numeric"),
    (
        220179,
        "Non Invasive Blood Pressure systolic",
        "NBPs",
        "Routine Vital Signs",
        "mmHg",
        "Numeric",
    ),
    (
        220180,
        "Non Invasive Blood Pressure diastolic",
        "NBPd",
        "Routine Vital Signs",
        "mmHg",
        "Numeric",
    ),
    (220181, "Non Invasive Blood Pressure mean", "NBPm", "Routine Vital Signs", "mmHg", "Numeric"),
    (220210, "Respiratory Rate", "RR", "Respiratory", "insp/min", "Numeric"),
    (220277, "O2 saturation pulseoxymetry", "SpO2", "Respiratory", "%", "Numeric"),
    (220739, "GCS - Eye Opening", "Eye Opening", "Neurological", "", "Text"),
    (223761, "Temperature Fahrenheit", "Temperature F", "Routine Vital Signs", "°F", "Numeric"),
    (223762, "Temperature Celsius", "Temperature C", "Routine Vital Signs", "°C", "Numeric"),
    (223830, "PH (Arterial)", "PH (Arterial)", "Labs", "units", "Numeric"),
    (223835, "Inspired O2 Fraction", "FiO2", "Respiratory", "", "Numeric"),
    (223900, "GCS - Verbal Response", "Verbal Response", "Neurological", "", "Text"),
    (223901, "GCS - Motor Response", "Motor Response", "Neurological", "", "Text"),
    (223951, "Capillary Refill R", "Capillary Refill R", "Cardiovascular (Pulses)", "", "Text"),
    (224639, "Daily Weight", "Daily Weight", "General", "kg", "Numeric"),
    (
        225664,
        "Glucose finger stick (range 70-100)",
        "Glucose FS (range 70 -100)",
        "Labs",
        "",
        "Numeric",
    ),
    (226512, "Admission Weight (Kg)", "Admission Weight (Kg)", "General", "kg", "Numeric"),
    (226531, "Admission Weight (lbs.)", "Admission Weight (lbs.)", "General", "", "Numeric"),
    (226707, "Height", "Height", "General", "Inch", "Numeric"),
    (226730, "Height (cm)", "Height (cm)", "General", "cm", "Numeric"),
];

struct Chart<'a> {
    course: &'a Course,
    levels: Levels,
    dice: Dice,
    rows: Vec<ChartRow>,
}

/// Everything charted in one stay. `hour_of_day` is the clock's hour at ICU admission: rounds are
/// made by the clock, not by the stay.
pub fn chart(seed: u64, patient: &Patient, course: &Course, hour_of_day: f64) -> Vec<ChartRow> {
    let mut dice = Dice::new(seed, Purpose::Charting, patient.number);
    let levels = Levels::new(patient, &mut dice);
    let mut chart = Chart { course, levels, dice, rows: Vec::new() };
    chart.admission(patient);
    let arterial = course.burden > 0.30 || chart.dice.chance(0.25);
    let first = hour_of_day.ceil() - hour_of_day;
    let mut t = first;
    while t < course.los {
        let state = course.at(t);
        let clock = (hour_of_day + t).rem_euclid(24.0);
        chart.vitals(t, &state, arterial);
        chart.rounds(t, clock, &state);
        // The sicker, the oftener: every half hour instead of every hour.
        t += patient.hospital.shift.charting * if state.burden() > 0.38 { 0.5 } else { 1.0 };
    }
    chart.rows
}

impl Chart<'_> {
    fn vitals(&mut self, t: f64, s: &State, arterial: bool) {
        // A row in twelve is not charted, and one in ten stands off the hour.
        if self.dice.chance(0.08) {
            return;
        }
        let at = if self.dice.chance(0.1) { t + self.dice.between(0.02, 0.45) } else { t };
        let tube = self.course.is_ventilated(at);
        let heart_rate = self.levels.heart_rate(s, &mut self.dice);
        self.heart_rate(at, heart_rate);
        let breathing = self.levels.breathing(s, tube, &mut self.dice);
        self.whole(at, 220210, breathing, "insp/min");
        let saturation = self.levels.saturation(s, tube, &mut self.dice);
        // A probe that has come off reads nothing at all.
        let saturation = if self.dice.chance(0.002) { 0.0 } else { saturation };
        self.whole(at, 220277, saturation, "%");
        let (systolic, diastolic, mean) = self.levels.pressures(s, &mut self.dice);
        let items = if arterial && self.dice.chance(0.85) {
            [220050, 220051, 220052]
        } else {
            [220179, 220180, 220181]
        };
        for (item, value) in items.into_iter().zip([systolic, diastolic, mean]) {
            self.whole(at, item, value, "mmHg");
        }
    }

    /// One heart rate; once in 4,000 rows the absurd value that MIMIC-IV 3.1 is known for.
    fn heart_rate(&mut self, at: f64, value: f64) {
        if self.dice.chance(0.00025) {
            self.number(at, 220045, 10_000_000.0, 0, "bpm");
        } else {
            self.whole(at, 220045, value, "bpm");
        }
    }

    /// What is charted on rounds: every four hours, and once a day.
    fn rounds(&mut self, t: f64, clock: f64, s: &State) {
        let hour = clock.round() as i64 % 24;
        if clock.fract() > 0.01 && clock.fract() < 0.99 {
            return;
        }
        let tube = self.course.is_ventilated(t);
        if hour % 4 == 0 {
            self.temperature(t, clock, s);
            let gcs = Gcs::of(self.course, s, t, &mut self.dice);
            let numbers = [gcs.eye, gcs.verbal, gcs.motor];
            let items = [220739, 223900, 223901];
            for ((item, word), n) in items.into_iter().zip(gcs.words()).zip(numbers) {
                self.push(t, item, word.to_owned(), Some(f64::from(n)), "");
            }
        }
        let oxygen = self.levels.oxygen(s, tube);
        if (hour % 4 == 2 && (tube || oxygen > 0.21)) || (tube && self.dice.chance(0.15)) {
            self.whole(t, 223835, oxygen * 100.0, "");
        }
        if hour % 6 == 0 && self.dice.chance(0.6) {
            let glucose = self.levels.glucose(s, &mut self.dice);
            self.whole(t + 0.1, 225664, glucose, "");
        }
        if tube && hour % 6 == 3 {
            let ph = self.levels.ph(s, &mut self.dice);
            self.number(t, 223830, ph, 2, "units");
        }
        if hour == 8 && self.dice.chance(0.12) {
            let slow = s.get(super::physiology::Latent::Circulatory) > 0.5;
            let word = if slow { "Abnormal >3 Seconds" } else { "Normal <3 Seconds" };
            self.push(t, 223951, word.to_owned(), None, "");
        }
        if hour == 5 && self.dice.chance(0.6) {
            let weight = self.levels.weight_kg(s, &mut self.dice);
            self.number(t, 224639, weight, 1, "kg");
        }
    }

    /// Mostly Fahrenheit; now and then a Fahrenheit value in the Celsius field.
    fn temperature(&mut self, t: f64, clock: f64, s: &State) {
        let celsius = self.levels.temperature_c(s, clock, &mut self.dice);
        let fahrenheit = celsius * 1.8 + 32.0;
        match self.dice.below(100) {
            0..=87 => self.number(t, 223761, fahrenheit, 1, "°F"),
            88 => self.number(t, 223762, fahrenheit, 1, "°C"),
            _ => self.number(t, 223762, celsius, 1, "°C"),
        }
    }

    fn admission(&mut self, patient: &Patient) {
        // Charted by the admitting nurse, sometimes before the patient has arrived.
        let t = self.dice.between(-0.4, 1.5);
        let weight = patient.weight_kg;
        self.number(t, 226512, weight, 1, "kg");
        if self.dice.chance(0.6) {
            self.number(t, 226531, weight / 0.453_592, 1, "");
        }
        if self.dice.chance(0.5) {
            self.whole(t, 226730, patient.height_cm, "cm");
            self.whole(t, 226707, patient.height_cm / 2.54, "Inch");
        }
    }

    fn whole(&mut self, t: f64, item: u32, value: f64, unit: &'static str) {
        self.number(t, item, value.max(0.0), 0, unit);
    }

    fn number(&mut self, t: f64, item: u32, value: f64, digits: i32, unit: &'static str) {
        let scale = 10f64.powi(digits);
        let value = (value * scale).round() / scale;
        self.push(t, item, value.to_string(), Some(value), unit);
    }

    fn push(&mut self, t: f64, item: u32, value: String, number: Option<f64>, unit: &'static str) {
        // Validated some minutes later; one row in fifty was stored before its own charttime.
        let minutes = if self.dice.chance(0.02) {
            -self.dice.between(1.0, 10.0)
        } else {
            self.dice.log_normal(11.0, 0.9).min(600.0)
        };
        let warning = self.dice.chance(0.01);
        let stored = t + minutes / 60.0;
        self.rows.push(ChartRow { observed: t, stored, item, value, number, unit, warning });
    }
}
