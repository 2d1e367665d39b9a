//! The lateral film: only there to be recognised and turned away by the view gate, so it carries
//! the build of the patient and the size of his heart, and the fluid behind the dome.

use super::frontal::Scene;
use super::{bell, smoothstep};

/// Summed attenuation at a point of a left lateral film; the sternum is at the image's left.
pub(super) fn attenuation(scene: &Scene<'_>, x: f64, y: f64) -> f64 {
    let anatomy = scene.anatomy;
    let back = 0.36 + 0.03 * (y * 4.0).sin();
    let front = -0.33 - 0.05 * smoothstep(0.1, 0.6, y);
    let body = smoothstep(0.0, 0.02, back - x) * smoothstep(0.0, 0.02, x - front);
    if body <= 0.0 {
        return 0.0;
    }
    let dome = 0.72 + 0.9 * (x + 0.05).powi(2) - 0.25 * (x + 0.05).min(0.0);
    let chest = ((x + 0.02 + 0.10 * (y - 0.45)) / 0.29).powi(2) + ((y - 0.55) / 0.45).powi(2);
    let inside = smoothstep(0.0, 0.14, 1.0 - chest)
        * smoothstep(0.0, 0.04, y - anatomy.apex)
        * smoothstep(-0.006, 0.012, dome - y);
    let heart = ((x + 0.10) / (0.125 * anatomy.heart)).hypot((y - 0.58) / 0.15);
    let heart = smoothstep(-0.25, 0.35, 1.0 - heart);
    let hilum = bell(x - 0.01, 0.05) * bell(y - 0.40, 0.06);
    let spine_x = 0.20 + 0.05 * (y * 3.0).sin();
    let disc = (y / 0.062).fract();
    let spine =
        smoothstep(0.0, 0.015, 0.045 - (x - spine_x).abs()) * (1.0 - 0.5 * bell(disc - 0.5, 0.15));
    let trachea = bell(x - 0.02 - 0.08 * y, 0.014) * (1.0 - smoothstep(0.32, 0.36, y));
    let ribs = bell((((y - 0.55 * x) / 0.075).fract() - 0.5) * 0.075, 0.012) * inside;
    let fluid = scene.findings.severity.effusion
        * smoothstep(0.0, 0.02, y - dome + 0.10 * smoothstep(0.05, 0.25, x));
    0.62 * body - inside * (0.38 * (1.0 - 0.7 * heart) - 0.12 * hilum - 0.25 * fluid)
        + 0.20 * smoothstep(0.0, 0.02, y - dome)
        + 0.13 * spine
        - 0.09 * trachea
        + 0.03 * ribs
        + 0.02 * anatomy.clouds.at(x * 40.0, y * 40.0)
}
