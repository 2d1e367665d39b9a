//! How much a picture is like a film of a chest: where its shades lie, and whether it has the fine
//! relief that bone, vessels and noise give every radiograph.

use crate::event::FILM_SIDE;

/// The picture is looked at in so many blocks along each side.
const BLOCKS: usize = 8;

/// The left half of the mean chest film, mirrored about the spine, by block row: hundredths of a
/// standard deviation from the film's mean. Computed from the 243 bedside films of the Hannover
/// collection (`reference/open-data.md`), each inside its padding and set to mean 0, spread 1.
const CHEST: [[i16; BLOCKS / 2]; BLOCKS] = [
    [-182, -133, -104, -5],
    [-35, -24, -88, -27],
    [-53, -32, -156, 0],
    [-45, -30, -136, 52],
    [-40, -15, -58, 98],
    [-39, 26, 42, 139],
    [-52, 92, 125, 175],
    [-35, 156, 178, 206],
];

/// A line whose spread is below this share of the picture's is padding or collimated away.
const LINE_SPREAD: f64 = 0.2;

/// A picture of fewer lines is taken with its padding.
const MIN_LINES: usize = 64;

/// Side of the cells in which relief is looked for, and how far around a pixel its mean is taken.
const CELL: usize = 16;
const AROUND: usize = 3;

/// Mean distance of a cell's pixels from the mean around them, in grey values, above which the
/// cell has relief.
const RELIEF: f64 = 0.5;

/// Correlation of the picture's block means with those of the mean chest film, -1..=1.
pub(super) fn chest(pixels: &[u8]) -> f64 {
    let at = |x: usize, y: usize| f64::from(pixels[y * FILM_SIDE + x]);
    let whole = spread((0..pixels.len()).map(|i| f64::from(pixels[i])));
    let lines = |line: &dyn Fn(usize) -> f64| {
        let used = |&n: &usize| line(n) >= LINE_SPREAD * whole;
        let (first, last) = ((0..FILM_SIDE).find(used), (0..FILM_SIDE).rev().find(used));
        match (first, last) {
            (Some(first), Some(last)) if last + 1 - first >= MIN_LINES => first..last + 1,
            _ => 0..FILM_SIDE,
        }
    };
    let xs = lines(&|x| spread((0..FILM_SIDE).map(|y| at(x, y))));
    let ys = lines(&|y| spread((0..FILM_SIDE).map(|x| at(x, y))));
    let block = |range: &std::ops::Range<usize>, n: usize| {
        let edge = |n: usize| range.start + n * range.len() / BLOCKS;
        edge(n)..edge(n + 1)
    };
    let mut means = Vec::with_capacity(BLOCKS * BLOCKS);
    let mut wanted = Vec::with_capacity(BLOCKS * BLOCKS);
    for (row, half) in CHEST.iter().enumerate() {
        for column in 0..BLOCKS {
            let (xs, ys) = (block(&xs, column), block(&ys, row));
            let count = (xs.len() * ys.len()).max(1) as f64;
            let sum: f64 = ys.flat_map(|y| xs.clone().map(move |x| at(x, y))).sum();
            means.push(sum / count);
            wanted.push(f64::from(half[column.min(BLOCKS - 1 - column)]));
        }
    }
    correlation(&means, &wanted)
}

/// Share of the picture's cells that have relief, 0..=1.
pub(super) fn relief(pixels: &[u8]) -> f64 {
    let sums = Sums::of(pixels);
    let cells = FILM_SIDE / CELL;
    let mut with_relief = 0;
    for cell in 0..cells * cells {
        let (left, top) = (cell % cells * CELL, cell / cells * CELL);
        let mut distance = 0.0;
        for y in top..top + CELL {
            for x in left..left + CELL {
                distance += (f64::from(pixels[y * FILM_SIDE + x]) - sums.mean_around(x, y)).abs();
            }
        }
        with_relief += usize::from(distance / (CELL * CELL) as f64 > RELIEF);
    }
    with_relief as f64 / (cells * cells) as f64
}

/// Sums of all pixels above and to the left, so that the mean of a rectangle is four look-ups.
struct Sums(Vec<u32>);

/// Columns of [`Sums`]: one more than pixels.
const SUMS: usize = FILM_SIDE + 1;

impl Sums {
    fn of(pixels: &[u8]) -> Self {
        let mut sums = vec![0u32; SUMS * SUMS];
        for y in 0..FILM_SIDE {
            let mut row = 0;
            for x in 0..FILM_SIDE {
                row += u32::from(pixels[y * FILM_SIDE + x]);
                sums[(y + 1) * SUMS + x + 1] = sums[y * SUMS + x + 1] + row;
            }
        }
        Sums(sums)
    }

    /// Mean of the pixels at most [`AROUND`] away, as far as there are any.
    fn mean_around(&self, x: usize, y: usize) -> f64 {
        let (left, right) = (x.saturating_sub(AROUND), (x + AROUND + 1).min(FILM_SIDE));
        let (top, bottom) = (y.saturating_sub(AROUND), (y + AROUND + 1).min(FILM_SIDE));
        let at = |x: usize, y: usize| self.0[y * SUMS + x];
        let sum = at(right, bottom) + at(left, top) - at(left, bottom) - at(right, top);
        f64::from(sum) / ((right - left) * (bottom - top)) as f64
    }
}

/// Standard deviation.
fn spread(values: impl Iterator<Item = f64>) -> f64 {
    let (mut count, mut sum, mut squares) = (0.0, 0.0, 0.0);
    for value in values {
        count += 1.0;
        sum += value;
        squares += value * value;
    }
    let mean = sum / f64::max(count, 1.0);
    (squares / f64::max(count, 1.0) - mean * mean).max(0.0).sqrt()
}

fn correlation(a: &[f64], b: &[f64]) -> f64 {
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len().max(1) as f64;
    let (of_a, of_b) = (mean(a), mean(b));
    let product: f64 = a.iter().zip(b).map(|(a, b)| (a - of_a) * (b - of_b)).sum();
    let spreads = spread(a.iter().copied()) * spread(b.iter().copied()) * a.len() as f64;
    product / spreads.max(1e-9)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture(at: impl Fn(f64, f64) -> f64) -> Vec<u8> {
        let side = FILM_SIDE as f64;
        let xy = |i: usize| ((i % FILM_SIDE) as f64 / side, (i / FILM_SIDE) as f64 / side);
        (0..FILM_SIDE * FILM_SIDE)
            .map(|i| {
                let (x, y) = xy(i);
                at(x, y) as u8
            })
            .collect()
    }

    #[test]
    fn the_mean_chest_is_most_like_itself_and_its_negative_least() {
        let shade = |x: f64, y: f64| {
            let (column, row) = ((8.0 * x) as usize, (8.0 * y) as usize);
            128.0 + 0.4 * f64::from(CHEST[row][column.min(7 - column)])
        };
        assert!(chest(&picture(shade)) > 0.999);
        assert!(chest(&picture(|x, y| 255.0 - shade(x, y))) < -0.999);
    }

    #[test]
    fn a_disc_is_like_no_chest_and_has_no_relief() {
        let disc = |x: f64, y: f64| {
            let r = ((x - 0.5).powi(2) + (y - 0.5).powi(2)).sqrt();
            20.0 + 180.0 / (1.0 + ((r - 0.3) * 40.0).exp())
        };
        let disc = picture(disc);
        assert!(chest(&disc) < 0.25, "{}", chest(&disc));
        assert!(relief(&disc) < 0.6, "{}", relief(&disc));
    }

    #[test]
    fn relief_is_found_where_pixels_differ_from_their_neighbours() {
        let checks = picture(|x, y| {
            let n = (x * 224.0) as usize / 2 + (y * 224.0) as usize / 2;
            if n.is_multiple_of(2) { 100.0 } else { 110.0 }
        });
        assert!(relief(&checks) > 0.99);
        assert!(relief(&picture(|_, y| 200.0 * y)) < 0.1);
    }
}
