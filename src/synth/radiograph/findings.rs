//! The findings: where each one lies on a film and what it adds to the attenuation there.

use super::frontal::Point;
use super::{Anatomy, Severity, bell, smoothstep};

/// The severities of one film, spread over the two sides of this patient.
pub(super) struct Findings {
    pub(super) severity: Severity,
    /// Height of the fluid at each side, in film heights.
    fluid: [f64; 2],
    /// Width of the air rim at each side.
    air: [f64; 2],
}

impl Findings {
    pub(super) fn new(severity: Severity, anatomy: &Anatomy) -> Self {
        let right = anatomy.fluid_right;
        let spread = |share: f64| 0.40 * severity.effusion * (share * 1.5).min(1.0);
        let rim = 0.15 * severity.pneumothorax;
        let on = |side: f64| if anatomy.air_side == side { rim } else { 0.0 };
        Findings { severity, fluid: [spread(right), spread(1.0 - right)], air: [on(-1.0), on(1.0)] }
    }

    /// Attenuation added (or, for escaped air, taken away) at a point of the frontal film.
    pub(super) fn added(&self, anatomy: &Anatomy, point: &Point, x: f64, y: f64) -> f64 {
        if point.lung <= 0.0 {
            return 0.0;
        }
        let side = usize::from(point.side > 0.0);
        let (free, line) = self.air(point, y, side);
        let aerated = point.lung * (1.0 - free);
        let fluid = self.fluid(point, y, side);
        let dense = self.dense(anatomy, x, y).min(1.0);
        let vessels = self.vessels(anatomy, x, y) * (1.0 - 0.75 * dense);
        let opacity = 1.0 - (1.0 - self.haze(anatomy, point, x, y)) * (1.0 - 0.92 * dense);
        let lung = aerated * (vessels + 0.40 * opacity * (point.depth / point.lung).max(0.35));
        let water = 0.43 * point.depth / point.lung + 0.10;
        lung * (1.0 - fluid) + point.lung * fluid * water - 0.10 * free * point.lung * (1.0 - fluid)
            + 0.14 * line * point.lung
    }

    /// The lung's markings: fuller and reaching further out when the lung is wet.
    fn vessels(&self, anatomy: &Anatomy, x: f64, y: f64) -> f64 {
        // A small lung is a compressed one: its vessels crowd.
        let squeeze = 1.0 + 0.22 * self.severity.low_volume;
        let drawn = anatomy.vessels.at(x, anatomy.hilum_y + (y - anatomy.hilum_y) * squeeze);
        let mottle = 0.012 * anatomy.clouds.at(x * 60.0, y * 60.0);
        drawn * (0.15 + 0.06 * self.severity.oedema) + mottle
    }

    /// Interstitial and alveolar oedema: from the hila outwards, as wings.
    fn haze(&self, anatomy: &Anatomy, point: &Point, x: f64, y: f64) -> f64 {
        let s = self.severity.oedema;
        let spread = 0.11 + 0.13 * s;
        let wing = bell(point.ax - 0.13, spread) * bell(y - anatomy.hilum_y - 0.06, spread * 1.35);
        let cloud = 0.75 + 0.45 * anatomy.clouds.at(x * 26.0 + 3.0, y * 26.0);
        let ground = 0.26 * smoothstep(0.15, 1.0, s);
        let low = 0.16 * self.severity.low_volume * smoothstep(-0.22, 0.0, y - point.diaphragm);
        (s * wing * cloud * 1.15 + ground + low).clamp(0.0, 0.95)
    }

    /// Consolidation: patches with ragged borders, and plates of collapse above the domes.
    fn dense(&self, anatomy: &Anatomy, x: f64, y: f64) -> f64 {
        let s = self.severity.consolidation;
        let ragged = anatomy.clouds.at(x * 18.0, y * 18.0 + 5.0);
        anatomy
            .patches
            .iter()
            .map(|&(px, py, radius, weight)| {
                let reach = radius * (0.65 + 0.85 * s);
                let r = (x - px).hypot((y - py) * 0.85) / reach + 0.38 * ragged;
                weight * (1.6 * s).min(1.0) * (1.0 - smoothstep(0.35, 1.15, r))
            })
            .fold(0.0, |sum, patch| sum + patch * (1.0 - sum))
    }

    /// Pleural fluid: it blunts the angle first, then rises with a meniscus, higher at the wall.
    fn fluid(&self, point: &Point, y: f64, side: usize) -> f64 {
        let height = self.fluid[side];
        if height < 0.004 {
            return 0.0;
        }
        let across = (point.ax / point.width.max(0.05)).clamp(0.0, 1.0);
        let level = point.diaphragm - height * (0.42 + 0.58 * across.powi(3));
        let angle = (point.ax - 0.5 * point.width).max(0.0) * 0.15 * (height / 0.1).min(1.0);
        smoothstep(-0.018, 0.022, y - level + angle)
    }

    /// Escaped air at apex and side: how free of lung the point is, and the pleura's white line.
    fn air(&self, point: &Point, y: f64, side: usize) -> (f64, f64) {
        let rim = self.air[side];
        if rim < 0.006 {
            return (0.0, 0.0);
        }
        let here = rim * (1.25 - 0.75 * smoothstep(0.2, 0.7, y));
        let from_wall = point.width - point.ax;
        let edge = here - from_wall;
        (smoothstep(-0.003, 0.005, edge), bell(edge, 0.0042))
    }
}
