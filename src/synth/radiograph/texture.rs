//! Textures: smooth value noise and the pulmonary vessels.

use crate::synth::dice::Dice;

/// Smooth noise on a lattice of random values, a few octaves deep; mean near 0, within ±1.
#[derive(Clone, Debug)]
pub struct Clouds {
    lattice: Vec<f32>,
}

const SIDE: usize = 32;

impl Clouds {
    pub fn new(dice: &mut Dice) -> Self {
        Clouds { lattice: (0..SIDE * SIDE).map(|_| dice.between(-1.0, 1.0) as f32).collect() }
    }

    /// The noise at a point; one unit of x or y is one lattice cell of the coarsest octave.
    pub fn at(&self, x: f64, y: f64) -> f64 {
        0.55 * self.octave(x, y)
            + 0.3 * self.octave(2.1 * x + 7.3, 2.1 * y + 3.1)
            + 0.15 * self.octave(4.3 * x + 1.7, 4.3 * y + 9.2)
    }

    fn octave(&self, x: f64, y: f64) -> f64 {
        let (x0, y0) = (x.floor(), y.floor());
        let (fx, fy) = (x - x0, y - y0);
        let (fx, fy) = (fx * fx * (3.0 - 2.0 * fx), fy * fy * (3.0 - 2.0 * fy));
        let cell = |dx: i64, dy: i64| {
            let i = (x0 as i64 + dx).rem_euclid(SIDE as i64) as usize;
            let j = (y0 as i64 + dy).rem_euclid(SIDE as i64) as usize;
            f64::from(self.lattice[j * SIDE + i])
        };
        let top = cell(0, 0) + (cell(1, 0) - cell(0, 0)) * fx;
        let bottom = cell(0, 1) + (cell(1, 1) - cell(0, 1)) * fx;
        top + (bottom - top) * fy
    }
}

/// The two vessel trees, drawn once a patient into a map of added attenuation.
#[derive(Clone, Debug)]
pub struct Vessels {
    map: Vec<f32>,
}

const COLUMNS: usize = 300;
const ROWS: usize = 250;
const PER_UNIT: f64 = 250.0;

impl Vessels {
    /// Trees that grow from the hila at (±`hilum_x`, `hilum_y`) to every side of each lung.
    pub fn new(hilum_x: f64, hilum_y: f64, dice: &mut Dice) -> Self {
        let mut vessels = Vessels { map: vec![0.0; COLUMNS * ROWS] };
        for side in [-1.0, 1.0] {
            let stems = 9;
            for stem in 0..stems {
                // From steeply up to steeply down, on the outer side.
                let share = (f64::from(stem) + dice.between(0.2, 0.8)) / f64::from(stems);
                let angle = -1.45 + 2.95 * share;
                let width = dice.between(0.0065, 0.0105);
                vessels.branch(side * hilum_x, hilum_y, angle, side, width, 0, dice);
            }
        }
        vessels
    }

    #[allow(clippy::too_many_arguments, reason = "a branch is drawn from each of them")]
    fn branch(
        &mut self,
        x: f64,
        y: f64,
        angle: f64,
        side: f64,
        width: f64,
        depth: u32,
        dice: &mut Dice,
    ) {
        let (mut x, mut y, mut angle, mut width) = (x, y, angle, width);
        let steps = (dice.between(9.0, 15.0) / f64::from(1 + depth / 2)) as u32 + 3;
        for _ in 0..steps {
            angle += dice.normal(0.0, 0.09);
            let (next_x, next_y) = (x + side * 0.009 * angle.cos(), y + 0.009 * angle.sin());
            self.stroke(x, y, next_x, next_y, width);
            (x, y) = (next_x, next_y);
            width *= 0.962;
        }
        if depth < 4 {
            let turn = dice.between(0.25, 0.55);
            self.branch(x, y, angle + turn, side, width * 0.76, depth + 1, dice);
            self.branch(x, y, angle - turn, side, width * 0.76, depth + 1, dice);
        }
    }

    fn stroke(&mut self, x0: f64, y0: f64, x1: f64, y1: f64, width: f64) {
        for step in 0..3 {
            let t = f64::from(step) / 3.0;
            let (cx, cy) = (x0 + (x1 - x0) * t, y0 + (y1 - y0) * t);
            let (column, row) = (cx * PER_UNIT + COLUMNS as f64 / 2.0, cy * PER_UNIT);
            let radius = (width * PER_UNIT).max(0.35);
            let reach = (radius * 2.0).ceil() as i64;
            for dr in -reach..=reach {
                for dc in -reach..=reach {
                    let (r, c) = (row.floor() as i64 + dr, column.floor() as i64 + dc);
                    if r < 0 || c < 0 || r >= ROWS as i64 || c >= COLUMNS as i64 {
                        continue;
                    }
                    let distance = (r as f64 + 0.5 - row).hypot(c as f64 + 0.5 - column);
                    // Attenuation grows with the vessel's depth, which is its width.
                    let added = (width / 0.0085).min(1.4) * super::bell(distance, radius);
                    let place = &mut self.map[r as usize * COLUMNS + c as usize];
                    *place = place.max(added as f32);
                }
            }
        }
    }

    /// Added attenuation at a point, from 0 to 1.4, linear between the map's cells.
    pub fn at(&self, x: f64, y: f64) -> f64 {
        let column = x * PER_UNIT + COLUMNS as f64 / 2.0 - 0.5;
        let row = y * PER_UNIT - 0.5;
        if column < 0.0 || row < 0.0 {
            return 0.0;
        }
        let (c, r) = (column as usize, row as usize);
        if c + 1 >= COLUMNS || r + 1 >= ROWS {
            return 0.0;
        }
        let (fx, fy) = (column - c as f64, row - r as f64);
        let cell = |r: usize, c: usize| f64::from(self.map[r * COLUMNS + c]);
        (cell(r, c) * (1.0 - fx) + cell(r, c + 1) * fx) * (1.0 - fy)
            + (cell(r + 1, c) * (1.0 - fx) + cell(r + 1, c + 1) * fx) * fy
    }
}
