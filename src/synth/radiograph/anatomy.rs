//! One patient's measures: what stays the same on all of his films.

use super::texture::{Clouds, Vessels};
use crate::event::Sex;
use crate::synth::dice::Dice;

/// The measures of one chest, in units of the film's height.
#[derive(Clone, Debug)]
pub struct Anatomy {
    pub sex: Sex,
    /// Half the body's width at the armpits.
    pub body: f64,
    /// Half the thorax's width at its widest.
    pub thorax: f64,
    pub apex: f64,
    /// Heights of the right and the left dome of the diaphragm.
    pub dome: [f64; 2],
    pub heart: f64,
    pub heart_x: f64,
    pub heart_tilt: f64,
    pub knob: f64,
    pub mediastinum: f64,
    pub hilum_y: f64,
    pub rib_top: f64,
    pub rib_gap: f64,
    pub rib_slope: f64,
    pub clavicle: f64,
    /// Attenuation of fat and muscle, relative to the average chest.
    pub bulk: f64,
    /// How much bone stands out.
    pub bone: f64,
    /// Where fluid gathers: share of the right side, 0..=1.
    pub fluid_right: f64,
    /// The side on which air escapes: −1 right, +1 left (in image coordinates).
    pub air_side: f64,
    /// Places of consolidation: (x, y, radius, weight).
    pub patches: Vec<(f64, f64, f64, f64)>,
    pub clouds: Clouds,
    pub vessels: Vessels,
}

impl Anatomy {
    pub fn new(sex: Sex, age: f64, bulk: f64, dice: &mut Dice) -> Self {
        let tall = if sex == Sex::Male { 0.015 } else { -0.01 };
        let dome = dice.normal(0.715, 0.018);
        let hilum_y = dice.normal(0.435, 0.012);
        let side = if dice.chance(0.6) { -1.0 } else { 1.0 };
        Anatomy {
            sex,
            body: dice.normal(0.50, 0.015) + 0.05 * (bulk - 1.0),
            thorax: dice.normal(0.385, 0.014) + tall,
            apex: dice.normal(0.115, 0.012),
            dome: [dome, dome + dice.normal(0.026, 0.008)],
            heart: dice.normal(1.0, 0.07) + 0.0015 * (age - 60.0),
            heart_x: dice.normal(0.058, 0.010),
            heart_tilt: dice.normal(0.55, 0.10),
            knob: (0.030 + 0.0007 * (age - 50.0)).clamp(0.018, 0.06),
            mediastinum: dice.normal(0.062, 0.006) + 0.02 * (bulk - 1.0),
            hilum_y,
            rib_top: dice.normal(0.105, 0.008),
            rib_gap: dice.normal(0.0735, 0.003),
            rib_slope: dice.normal(0.16, 0.05),
            clavicle: dice.normal(0.165, 0.012),
            bulk,
            bone: (1.12 - 0.004 * (age - 40.0)).clamp(0.75, 1.15),
            fluid_right: dice.between(0.25, 0.85),
            air_side: if dice.chance(0.5) { 1.0 } else { -1.0 },
            patches: patches(side, dice),
            clouds: Clouds::new(dice),
            vessels: Vessels::new(0.082, hilum_y, dice),
        }
    }

    /// Half the thorax's inner width at height `y`.
    pub fn width(&self, y: f64) -> f64 {
        let s = ((y - self.apex) / (0.74 - self.apex)).clamp(0.0, 1.0);
        self.thorax * (1.0 - (1.0 - s).powf(2.6)).max(0.0).powf(0.56)
    }
}

/// Two to five places, most of them on one side and in the lower zones.
fn patches(side: f64, dice: &mut Dice) -> Vec<(f64, f64, f64, f64)> {
    let n = 2 + dice.below(4);
    (0..n)
        .map(|i| {
            let on = if i > 0 && dice.chance(0.35) { -side } else { side };
            let x = on * dice.between(0.14, 0.30);
            let y = 0.30 + 0.36 * dice.between(0.0, 1.0).sqrt();
            (x, y, dice.between(0.055, 0.10), dice.between(0.6, 1.0))
        })
        .collect()
}
