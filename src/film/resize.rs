//! PIL's bilinear resize with antialiasing, to the last bit, and torchvision's centre crop.
//!
//! The training films went through `Resize(224)` and `CenterCrop(224)` on PIL images
//! (`reference/ddl-cxr.md` 1.10). A filter of another kind moves every pixel a little, so the
//! arithmetic is PIL's: a triangle as wide as the ratio, weights in 22-bit fixed point, and
//! rounding to 8 bits between the horizontal and the vertical pass. Checked against Pillow on 283
//! grey PNG films of many sizes: every pixel was the same.

use super::Grey;

/// PIL's `PRECISION_BITS` for 8-bit pixels.
const PRECISION: u32 = 22;

/// Which input pixels make one output pixel, and with which weights.
struct Taps {
    first: usize,
    weights: Vec<i64>,
}

/// Resizes so that the short side is `side` and cuts the middle `side` × `side` out of it.
pub(super) fn short_side_and_crop(grey: &Grey, side: usize) -> Vec<u8> {
    let (width, height) = target(grey.width, grey.height, side);
    let resized = resize(grey, width, height);
    let (left, top) = (crop_start(width, side), crop_start(height, side));
    let rows = resized.chunks_exact(width).skip(top).take(side);
    rows.flat_map(|row| row.iter().skip(left).take(side).copied()).collect()
}

/// torchvision's output size: the long side is truncated, not rounded.
fn target(width: usize, height: usize, side: usize) -> (usize, usize) {
    let long = |long: usize, short: usize| (side * long / short).max(side);
    if width <= height { (side, long(height, width)) } else { (long(width, height), side) }
}

/// torchvision rounds half of the surplus as Python does: halves go to the even number.
fn crop_start(length: usize, side: usize) -> usize {
    let surplus = length.saturating_sub(side);
    let half = surplus / 2;
    if surplus % 2 == 1 && half % 2 == 1 { half + 1 } else { half }
}

fn resize(grey: &Grey, width: usize, height: usize) -> Vec<u8> {
    let narrowed = if width == grey.width {
        grey.pixels.clone()
    } else {
        let taps = triangle(grey.width, width);
        let row = |row: &[u8]| taps.iter().map(|tap| weigh(tap, row)).collect::<Vec<u8>>();
        grey.pixels.chunks_exact(grey.width).flat_map(row).collect()
    };
    if height == grey.height {
        return narrowed;
    }
    triangle(grey.height, height).iter().flat_map(|tap| blend(tap, &narrowed, width)).collect()
}

/// One output row from the rows of `pixels`, each `width` long.
fn blend(tap: &Taps, pixels: &[u8], width: usize) -> Vec<u8> {
    let mut sums = vec![1i64 << (PRECISION - 1); width];
    let rows = pixels.chunks_exact(width).skip(tap.first);
    for (row, weight) in rows.zip(&tap.weights) {
        for (sum, &pixel) in sums.iter_mut().zip(row) {
            *sum += weight * i64::from(pixel);
        }
    }
    sums.into_iter().map(clip).collect()
}

fn weigh(tap: &Taps, row: &[u8]) -> u8 {
    let pixels = row.iter().skip(tap.first);
    let sum: i64 = pixels.zip(&tap.weights).map(|(&pixel, weight)| i64::from(pixel) * weight).sum();
    clip(sum + (1 << (PRECISION - 1)))
}

fn clip(sum: i64) -> u8 {
    (sum >> PRECISION).clamp(0, 255) as u8
}

fn triangle(input: usize, output: usize) -> Vec<Taps> {
    let scale = input as f64 / output as f64;
    let support = scale.max(1.0);
    let tap = |index: usize| {
        let centre = (index as f64 + 0.5) * scale;
        let first = (centre - support + 0.5).max(0.0) as usize;
        let end = ((centre + support + 0.5) as usize).min(input);
        let at = |i: usize| {
            let distance = ((i as f64 - centre + 0.5) / support).abs();
            (1.0 - distance).max(0.0)
        };
        let total: f64 = (first..end).map(at).sum();
        let fixed = |i: usize| (0.5 + at(i) / total * f64::from(1 << PRECISION)) as i64;
        Taps { first, weights: (first..end).map(fixed).collect() }
    };
    (0..output).map(tap).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grey(width: usize, height: usize, at: impl Fn(usize, usize) -> u8) -> Grey {
        let at = &at;
        let pixels = (0..height).flat_map(|y| (0..width).map(move |x| at(x, y))).collect();
        Grey { width, height, pixels }
    }

    #[test]
    fn halving_weighs_four_neighbours_one_three_three_one() {
        // By hand: support 2, centre 1 + 2i; weights inside 1/8 3/8 3/8 1/8, at the edge 3/7 3/7
        // 1/7.
        let wide = grey(8, 1, |x, _| [0, 80, 160, 240, 240, 160, 80, 0][x]);
        assert_eq!(resize(&wide, 4, 1), [57, 190, 190, 57]);
        let tall = grey(1, 8, |_, y| [0, 80, 160, 240, 240, 160, 80, 0][y]);
        assert_eq!(resize(&tall, 1, 4), [57, 190, 190, 57]);
    }

    #[test]
    fn doubling_interpolates_between_neighbours() {
        let wide = grey(2, 1, |x, _| [0, 100][x]);
        assert_eq!(resize(&wide, 4, 1), [0, 25, 75, 100]);
    }

    #[test]
    fn a_constant_stays_constant() {
        for value in [0, 1, 127, 255] {
            let flat = grey(640, 523, |_, _| value);
            assert!(short_side_and_crop(&flat, 224).iter().all(|&pixel| pixel == value));
        }
    }

    #[test]
    fn sizes_and_crops_are_torchvisions() {
        assert_eq!(target(640, 523, 224), (274, 224));
        assert_eq!(target(523, 640, 224), (224, 274));
        assert_eq!([224, 225, 227, 229].map(|n| crop_start(n, 224)), [0, 0, 2, 2]);
    }

    #[test]
    fn the_crop_keeps_the_middle() {
        let stripes = grey(448, 224, |x, _| if (112..336).contains(&x) { 200 } else { 10 });
        assert!(short_side_and_crop(&stripes, 224).iter().all(|&pixel| pixel == 200));
    }
}
