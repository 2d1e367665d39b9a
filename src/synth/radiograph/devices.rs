//! Tubes, lines and leads.

use super::{Anatomy, bell, smoothstep};

/// What lies in and on the patient when the film is taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Devices {
    pub et_tube: bool,
    pub gastric_tube: bool,
    pub central_line: bool,
    pub chest_drain: bool,
    pub pacemaker: bool,
    pub leads: bool,
}

impl Devices {
    /// Whether CheXpert would speak of support devices. Leads alone are not mentioned.
    pub fn any(&self) -> bool {
        self.et_tube || self.gastric_tube || self.central_line || self.chest_drain || self.pacemaker
    }

    pub(super) fn internal(&self, x: f64, y: f64, anatomy: &Anatomy, wander: &[f64; 6]) -> f64 {
        let mut sum = 0.0;
        if self.et_tube {
            let tip = 0.275 + 0.012 * wander[0];
            sum += wire(x + 0.004 + 0.002 * wander[1], 0.0042) * below(y, tip) * 0.20;
        }
        if self.gastric_tube {
            let bend = smoothstep(0.60, 0.82, y);
            let course = 0.012 + 0.010 * wander[1] * (y * 5.0).sin() + 0.13 * bend * bend;
            sum += wire(x - course, 0.0034) * below(y, 0.84) * 0.20;
        }
        if self.central_line {
            sum += central_line(x, y, wander[2]) * 0.20;
        }
        if self.chest_drain {
            let side = anatomy.air_side;
            let along = ((y - 0.24) / 0.42).clamp(0.0, 1.0);
            let course = 0.20 + 0.18 * along.powf(1.5) + 0.012 * wander[3];
            sum += wire(x * side - course, 0.0062) * between(y, 0.24, 0.66) * 0.20;
        }
        if self.pacemaker {
            sum += pacemaker(x, y, anatomy) * 0.45;
        }
        sum
    }

    /// Leads on the skin: thin wires from the electrodes to the side.
    pub(super) fn external(&self, x: f64, y: f64, wander: &[f64; 6]) -> f64 {
        if !self.leads {
            return 0.0;
        }
        let mut sum = 0.0;
        for (i, (ex, ey)) in [(-0.29, 0.27), (0.27, 0.25), (0.31, 0.66)].into_iter().enumerate() {
            let (ex, ey) = (ex + 0.015 * wander[i], ey + 0.015 * wander[i + 3]);
            let distance = (x - ex).hypot(y - ey);
            sum += 0.28 * smoothstep(-0.002, 0.002, 0.0085 - distance);
            if ex.signum() * (x - ex) > 0.0 {
                let run = (x - ex).abs();
                let course = ey + 0.35 * run + 0.02 * (run * 18.0 + wander[i]).sin();
                sum += wire(y - course, 0.0028) * 0.16;
            }
        }
        sum
    }
}

fn wire(distance: f64, half: f64) -> f64 {
    bell(distance, half)
}

fn below(y: f64, end: f64) -> f64 {
    1.0 - smoothstep(end - 0.004, end + 0.004, y)
}

fn between(y: f64, start: f64, end: f64) -> f64 {
    smoothstep(start - 0.004, start + 0.004, y) * below(y, end)
}

/// From the right side of the neck to the superior vena cava.
fn central_line(x: f64, y: f64, wander: f64) -> f64 {
    let t = ((y - 0.02) / 0.40).clamp(0.0, 1.0);
    let course = -0.095 + 0.055 * smoothstep(0.0, 0.6, t) + 0.006 * wander * (t * 4.0).sin();
    wire(x - course, 0.0030) * below(y, 0.425 + 0.01 * wander)
}

/// The box under the left clavicle and its lead into the right ventricle.
fn pacemaker(x: f64, y: f64, anatomy: &Anatomy) -> f64 {
    let r = ((x - 0.27) / 0.050).powi(4) + ((y - 0.245) / 0.040).powi(4);
    let case = smoothstep(-0.1, 0.1, 1.0 - r);
    let arc = ((x - 0.10) / 0.13).hypot((y - 0.25) / 0.075);
    let vein = wire((arc - 1.0) * 0.1, 0.0035) * below(y, 0.25) * smoothstep(-0.03, -0.02, x);
    let t = ((y - 0.25) / (anatomy.dome[1] - 0.33)).clamp(0.0, 1.0);
    let course = -0.03 + 0.02 * (1.0 - t) - 0.01 * t + 0.13 * t.powi(4);
    let lead = wire(x - course, 0.0035) * between(y, 0.25, anatomy.dome[1] - 0.08);
    case.max(0.55 * vein).max(0.55 * lead)
}
