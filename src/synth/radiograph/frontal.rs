//! The frontal film: soft tissue, lungs, mediastinum and heart, bones.

use super::findings::Findings;
use super::{Anatomy, Devices, Severity, bell, smoothstep};
use crate::event::{Sex, ViewPosition};
use crate::synth::dice::Dice;

/// Everything about one film that does not depend on the pixel.
pub(super) struct Scene<'a> {
    pub(super) anatomy: &'a Anatomy,
    pub(super) devices: &'a Devices,
    pub(super) findings: Findings,
    heart: f64,
    dome: [f64; 2],
    scapula: f64,
    /// Seeds the courses of tubes and leads, which differ from film to film.
    pub(super) wander: [f64; 6],
    marker: f64,
}

/// What the beam meets at one point, apart from bones and devices.
pub(super) struct Point {
    /// Distance from the midline, and on which side of it (−1 image left).
    pub(super) ax: f64,
    pub(super) side: f64,
    /// Whether the point is over air-filled lung, 0..=1.
    pub(super) lung: f64,
    /// Depth of the lung there, 0..=1.
    pub(super) depth: f64,
    /// Height of the diaphragm at this x.
    pub(super) diaphragm: f64,
    /// Half the thorax's width at this y.
    pub(super) width: f64,
}

impl<'a> Scene<'a> {
    pub(super) fn new(
        anatomy: &'a Anatomy,
        severity: &Severity,
        devices: &'a Devices,
        view: ViewPosition,
        dice: &mut Dice,
    ) -> Self {
        // The heart lies farther from the plate in AP and is magnified; lying lifts the domes.
        let ap = view == ViewPosition::Ap;
        let breath = dice.normal(0.0, 0.010) + if ap { 0.0 } else { 0.03 };
        let lift = 0.115 * severity.low_volume - breath;
        Scene {
            anatomy,
            devices,
            findings: Findings::new(*severity, anatomy),
            heart: anatomy.heart
                * (if ap { 1.06 } else { 0.94 })
                * (1.0 + 0.42 * severity.cardiomegaly + 0.10 * severity.low_volume),
            dome: anatomy.dome.map(|dome| dome - lift),
            scapula: if ap { 1.0 } else { 0.3 },
            wander: std::array::from_fn(|_| dice.normal(0.0, 1.0)),
            marker: if dice.chance(0.7) { 1.0 } else { 0.0 },
        }
    }

    /// Summed attenuation at a point: 0 air, about 0.6 soft tissue, about 1 dense bone.
    pub(super) fn attenuation(&self, x: f64, y: f64) -> f64 {
        let body = self.body(x, y);
        let outside = self.lead_marker(x, y) + self.devices.external(x, y, &self.wander);
        if body <= 0.0 {
            return outside;
        }
        let central = self.mediastinum(x, y);
        let point = self.point(x, y, central);
        let mut sum = 0.60 * body * self.anatomy.bulk.powf(0.35);
        sum += 0.17 * self.abdomen(&point, y) * body;
        sum -= 0.43 * point.depth;
        sum += 0.17 * central;
        sum -= self.gas(x, y, &point) + self.trachea(x, y);
        sum += self.hilum(x, y) * point.lung * 0.16;
        sum += self.findings.added(self.anatomy, &point, x, y);
        sum += self.bones(x, y, &point, central);
        sum += self.breast(x, y) * point.lung;
        sum + self.devices.internal(x, y, self.anatomy, &self.wander) + outside
    }

    /// Thickness of the body along the beam, 0 outside of it.
    fn body(&self, x: f64, y: f64) -> f64 {
        let shoulder = smoothstep(-0.02, 0.15, y - 0.05 * (x.abs() - 0.3).max(0.0));
        let half = 0.135 + (self.anatomy.body - 0.135 + 0.07) * shoulder
            - 0.05 * smoothstep(0.30, 0.75, y);
        let r = (x / half).abs();
        if r >= 1.0 { 0.0 } else { (1.0 - r.powi(5)).sqrt() }
    }

    fn point(&self, x: f64, y: f64, central: f64) -> Point {
        let (ax, side) = (x.abs(), x.signum());
        let dome = self.dome[usize::from(side > 0.0)];
        let width = self.anatomy.width(y);
        let thorax = self.anatomy.thorax;
        let across = (ax - 0.42 * thorax) / (0.58 * thorax);
        let diaphragm = dome + 0.105 * across.powi(2) + 0.03 * across.max(0.0).powi(4);
        let inside = smoothstep(-0.010, 0.012, width - ax)
            * smoothstep(-0.012, 0.008, diaphragm - y)
            * smoothstep(0.0, 0.03, y - self.anatomy.apex);
        let lung = inside * (1.0 - central);
        let profile = (1.0 - ((ax - 0.5 * thorax) / (0.68 * thorax)).powi(2)).max(0.0).sqrt();
        let base = 1.0 - 0.35 * smoothstep(-0.10, 0.0, y - diaphragm);
        let top = 0.72 + 0.28 * smoothstep(0.0, 0.16, y - self.anatomy.apex);
        Point {
            ax,
            side,
            lung,
            depth: lung * (0.45 + 0.55 * profile) * base * top,
            diaphragm,
            width,
        }
    }

    /// Heart, great vessels and spine's soft tissue: 1 inside, 0 outside.
    fn mediastinum(&self, x: f64, y: f64) -> f64 {
        let a = self.anatomy;
        let mut half = a.mediastinum + 0.012 * smoothstep(0.30, 0.42, y);
        if x > 0.0 {
            half += a.knob * bell(y - 0.305, 0.042) + 0.014 * bell(y - 0.395, 0.035);
        } else {
            half += 0.008 * bell(y - 0.25, 0.08) - 0.008;
        }
        let column =
            (0.75 + 0.25 * smoothstep(0.12, 0.30, y)) * smoothstep(-0.010, 0.014, half - x.abs());
        let (sin, cos) = a.heart_tilt.sin_cos();
        let (dx, dy) = (x - a.heart_x * self.heart.powf(0.6), y - (self.dome[1] - 0.125));
        let (u, v) = (dx * cos + dy * sin, -dx * sin + dy * cos);
        let r = ((u / (0.175 * self.heart)).powi(2) + (v / (0.128 * self.heart)).powi(2)).sqrt();
        let heart = smoothstep(-0.05, 0.055, 1.0 - r);
        // The right atrium's border, to the image's left of the spine.
        let atrium = ((x + 0.035) / (0.075 * self.heart.powf(1.1))).hypot((y - 0.565) / 0.13);
        column.max(heart).max(smoothstep(-0.06, 0.07, 1.0 - atrium))
    }

    /// Belly below the diaphragm; beside the thorax it thickens without an edge.
    fn abdomen(&self, point: &Point, y: f64) -> f64 {
        let beside = smoothstep(-0.02, 0.05, point.ax - point.width);
        let dome = self.dome[usize::from(point.side > 0.0)];
        let below = smoothstep(-0.008, 0.012, y - point.diaphragm);
        below + beside * (smoothstep(-0.20, 0.36, y - dome) - below)
    }

    fn trachea(&self, x: f64, y: f64) -> f64 {
        let along = 1.0 - smoothstep(0.335, 0.355, y);
        let tube = along * smoothstep(-0.004, 0.006, 0.017 - (x + 0.004).abs());
        let t = ((y - 0.335) / 0.075).clamp(0.0, 1.0);
        let running = smoothstep(0.33, 0.345, y) * (1.0 - smoothstep(0.385, 0.41, y));
        let left = bell(x - 0.085 * t, 0.010) * 0.7;
        let right = bell(x + 0.062 * t, 0.011) * 0.8;
        0.15 * tube + 0.11 * running * left.max(right)
    }

    fn hilum(&self, x: f64, y: f64) -> f64 {
        let lift = if x > 0.0 { -0.012 } else { 0.008 };
        bell(x.abs() - 0.088, 0.035) * bell(y - self.anatomy.hilum_y - lift, 0.058)
    }

    /// Gas in the stomach under the left dome.
    fn gas(&self, x: f64, y: f64, point: &Point) -> f64 {
        let r = ((x - 0.20) / 0.085).hypot((y - point.diaphragm - 0.045) / 0.032);
        0.30 * smoothstep(0.0, 0.6, 1.0 - r) * smoothstep(0.008, 0.02, y - point.diaphragm)
    }

    fn breast(&self, x: f64, y: f64) -> f64 {
        if self.anatomy.sex == Sex::Male {
            return 0.0;
        }
        let r = ((x.abs() - 0.24) / 0.17).hypot((y - 0.57) / 0.15);
        0.10 * self.anatomy.bulk * smoothstep(-0.05, 0.25, 1.0 - r)
    }

    fn bones(&self, x: f64, y: f64, point: &Point, central: f64) -> f64 {
        let over_lung = 0.55 + 0.45 * point.lung;
        let ribs = (self.posterior_ribs(point, y) + self.anterior_ribs(point, y)) * over_lung;
        let faint = 1.0 - 0.55 * central - 0.45 * smoothstep(0.0, 0.05, y - point.diaphragm);
        let spine = self.spine(x, y);
        self.anatomy.bone
            * (ribs * faint + spine + self.clavicle(point, y) + self.scapula(point, y))
    }

    fn posterior_ribs(&self, point: &Point, y: f64) -> f64 {
        let a = self.anatomy;
        if point.ax < 0.035 || point.ax > point.width + 0.018 {
            return 0.0;
        }
        // Rises from the spine, then falls away to the side.
        let reach = point.ax / a.thorax;
        let sag = a.rib_slope * point.ax * reach - 0.045 * (reach * 3.0).min(1.0) + 0.03 * reach;
        let place = (y - a.rib_top - sag) / a.rib_gap;
        let nearest = place.round();
        if !(0.0..=9.0).contains(&nearest) {
            return 0.0;
        }
        let distance = (place - nearest).abs() * a.rib_gap;
        let end = smoothstep(0.035, 0.06, point.ax);
        band(distance, 0.0125) * 0.090 * end
    }

    fn anterior_ribs(&self, point: &Point, y: f64) -> f64 {
        let a = self.anatomy;
        if point.ax < 0.10 || point.ax > point.width + 0.015 {
            return 0.0;
        }
        let inward = (a.thorax - point.ax).max(0.0);
        let fall = 0.95 * inward - 0.7 * inward * inward;
        let place = (y - a.rib_top - 0.075 - fall) / (a.rib_gap * 1.12);
        let nearest = place.round();
        if !(0.0..=5.0).contains(&nearest) {
            return 0.0;
        }
        let distance = (place - nearest).abs() * a.rib_gap * 1.12;
        let end = smoothstep(0.10 + 0.012 * nearest, 0.16 + 0.012 * nearest, point.ax);
        band(distance, 0.0135) * 0.042 * end
    }

    fn spine(&self, x: f64, y: f64) -> f64 {
        let half = 0.036 + 0.012 * y;
        let body = smoothstep(-0.006, 0.008, half - x.abs());
        let disc = ((y - 0.02) / 0.058).fract();
        let plate = 1.0 - 0.55 * bell(disc - 0.5, 0.16);
        let pedicle = bell(x.abs() - 0.6 * half, 0.007) * bell(disc - 0.95, 0.16);
        body * (0.060 * plate + 0.05 * pedicle) * (0.75 + 0.25 * smoothstep(0.1, 0.3, y))
    }

    fn clavicle(&self, point: &Point, y: f64) -> f64 {
        if !(0.028..=0.40).contains(&point.ax) {
            return 0.0;
        }
        let s = (point.ax - 0.028) / 0.37;
        let height = self.anatomy.clavicle + 0.03 * (1.0 - s)
            - 0.055 * s
            - 0.022 * (std::f64::consts::PI * s * 1.6).sin();
        let thick = 0.0145 + 0.010 * (1.0 - smoothstep(0.0, 0.14, s));
        band((y - height).abs(), thick) * 0.17 * smoothstep(0.0, 0.03, s)
    }

    fn scapula(&self, point: &Point, y: f64) -> f64 {
        let edge = 0.315 + 0.30 * (y - 0.30).powi(2) + 0.10 * (y - 0.16);
        let blade = smoothstep(-0.004, 0.012, point.ax - edge)
            * smoothstep(0.0, 0.06, 0.47 - point.ax)
            * smoothstep(0.12, 0.17, y)
            * (1.0 - smoothstep(0.40, 0.47, y + 0.4 * (point.ax - edge)));
        let border = bell(point.ax - edge - 0.008, 0.008) * blade;
        let head =
            smoothstep(-0.1, 0.2, 1.0 - ((point.ax - 0.475) / 0.055).hypot((y - 0.155) / 0.05));
        self.scapula * (0.085 * blade + 0.06 * border) + 0.17 * head
    }

    /// The lead letter that tells left from right, at the image's upper right.
    fn lead_marker(&self, x: f64, y: f64) -> f64 {
        let (dx, dy) = (x - 0.43, y - 0.055);
        let upright = (0.0..0.009).contains(&dx) && (0.0..0.045).contains(&dy);
        let foot = (0.0..0.028).contains(&dx) && (0.037..0.045).contains(&dy);
        if upright || foot { 0.8 * self.marker } else { 0.0 }
    }
}

/// A bone seen from the side of its length: 1 across, a little more at its cortex, 0 outside.
fn band(distance: f64, half: f64) -> f64 {
    let inside = smoothstep(-0.0035, 0.0035, half - distance);
    inside * (0.72 + 0.40 * bell(distance - half * 0.82, half * 0.30))
}
