//! A drawn chest film. Attenuation is summed along the beam, tissue by tissue, and a tone curve
//! turns it into grey: air black, bone white, as on a real film.
//!
//! Coordinates are in units of the film's height: x from the midline, positive to the image's
//! right (the patient's left), y from the top. Nothing here is a model of a scanner; it is enough
//! anatomy, drawn from one patient's own measures, for findings to have a place and a degree.

mod anatomy;
mod devices;
mod findings;
mod frontal;
mod lateral;
mod texture;

pub use anatomy::Anatomy;
pub use devices::Devices;

use crate::event::ViewPosition;
use crate::synth::dice::Dice;

/// What can be seen on a film, each from 0 (absent) to 1 (as bad as it gets).
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Severity {
    pub oedema: f64,
    pub consolidation: f64,
    pub effusion: f64,
    pub pneumothorax: f64,
    pub low_volume: f64,
    pub cardiomegaly: f64,
}

/// 8-bit grey pixels, row by row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture {
    pub rows: usize,
    pub columns: usize,
    pub pixels: Vec<u8>,
}

/// How the patient lay before the plate, and how the plate was exposed.
struct Shot {
    rotation: f64,
    scale: f64,
    shift_x: f64,
    shift_y: f64,
    gain: f64,
    black: f64,
    gamma: f64,
    grain: f64,
}

/// Draws one film of `rows` pixels' height. `dice` sets position, exposure and noise; anatomy and
/// findings are the patient's.
pub fn draw(
    anatomy: &Anatomy,
    severity: &Severity,
    devices: &Devices,
    view: ViewPosition,
    rows: usize,
    dice: &mut Dice,
) -> Picture {
    let lateral = view == ViewPosition::Lateral;
    let aspect = if lateral { dice.between(0.82, 0.95) } else { dice.between(1.0, 1.16) };
    let columns = (rows as f64 * aspect).round() as usize;
    let shot = Shot::new(view, dice);
    let scene = frontal::Scene::new(anatomy, severity, devices, view, dice);
    let mut pixels = Vec::with_capacity(rows * columns);
    let (sin, cos) = shot.rotation.sin_cos();
    for row in 0..rows {
        for column in 0..columns {
            let u = (column as f64 + 0.5) / rows as f64 - aspect / 2.0 - shot.shift_x;
            let v = (row as f64 + 0.5) / rows as f64 - 0.5 - shot.shift_y;
            let x = (u * cos - v * sin) / shot.scale;
            let y = (u * sin + v * cos) / shot.scale + 0.5;
            let attenuation =
                if lateral { lateral::attenuation(&scene, x, y) } else { scene.attenuation(x, y) };
            pixels.push(shot.tone(attenuation, dice));
        }
    }
    Picture { rows, columns, pixels }
}

impl Shot {
    fn new(view: ViewPosition, dice: &mut Dice) -> Self {
        // A portable film of a lying patient varies more than one taken standing at the stand.
        let spread = if view == ViewPosition::Ap { 1.0 } else { 0.5 };
        Shot {
            rotation: dice.normal(0.0, 0.022 * spread),
            scale: dice.normal(1.07, 0.025 * spread),
            shift_x: dice.normal(0.0, 0.014 * spread),
            shift_y: dice.normal(0.0, 0.014 * spread),
            gain: dice.normal(1.0, 0.05),
            black: dice.normal(0.03, 0.012),
            gamma: dice.normal(0.92, 0.05),
            grain: dice.between(0.008, 0.02),
        }
    }

    /// Grey level of an attenuation. The shoulder keeps dense regions from saturating; the grain
    /// is quantum noise, stronger where fewer photons arrive.
    fn tone(&self, attenuation: f64, dice: &mut Dice) -> u8 {
        let noise = dice.normal(0.0, self.grain * (0.6 + 0.7 * attenuation.clamp(0.0, 1.4)));
        let dense = (attenuation * self.gain + self.black + noise).max(0.0);
        let shouldered = dense / (1.0 + (dense / 1.08).powi(4)).powf(0.25);
        (255.0 * shouldered.powf(self.gamma)).round().clamp(0.0, 255.0) as u8
    }
}

/// 0 below `low`, 1 above `high`, smooth between.
fn smoothstep(low: f64, high: f64, value: f64) -> f64 {
    let t = ((value - low) / (high - low)).clamp(0.0, 1.0);
    t * t * (3.0 - 2.0 * t)
}

/// A bell of height 1 and this width around 0.
fn bell(distance: f64, width: f64) -> f64 {
    (-(distance / width).powi(2)).exp()
}
