//! Whether two pictures show the same chest: the lung fields' outline, and how sharp they are. No
//! network is asked, so a picture cannot please by fooling one.

use crate::model::film_input::GreyImage;

/// Share of a side that is left out at each edge: there the air beside the body is as dark as lung.
const MARGIN: f64 = 0.1;
/// Levels of grey.
const LEVELS: usize = 256;

/// The dark half of the picture's middle by Otsu's threshold: the lung fields, more or less.
struct LungFields(Vec<bool>);

/// The rows of the middle.
fn middle(picture: &GreyImage) -> impl Iterator<Item = &[u8]> {
    let side = picture.side.max(1);
    let edge = (side as f64 * MARGIN) as usize;
    let rows = picture.pixels.chunks_exact(side).skip(edge).take(side - 2 * edge);
    rows.map(move |row| &row[edge..side - edge])
}

impl LungFields {
    fn of(picture: &GreyImage) -> Self {
        let level = otsu(middle(picture).flatten().copied());
        LungFields(middle(picture).flatten().map(|&pixel| pixel <= level).collect())
    }
}

/// The level that parts the pixels into the two groups farthest apart (Otsu 1979).
fn otsu(pixels: impl Iterator<Item = u8>) -> u8 {
    let mut counts = [0.0f64; LEVELS];
    pixels.for_each(|pixel| counts[usize::from(pixel)] += 1.0);
    let all: f64 = counts.iter().sum();
    let sum: f64 = counts.iter().enumerate().map(|(level, n)| level as f64 * n).sum();
    let (mut below, mut sum_below, mut best, mut chosen) = (0.0, 0.0, -1.0, 0);
    for (level, n) in counts.iter().enumerate() {
        below += n;
        sum_below += level as f64 * n;
        let above = all - below;
        if below > 0.0 && above > 0.0 {
            let apart = sum_below / below - (sum - sum_below) / above;
            let between = below * above * apart * apart;
            if between > best {
                (best, chosen) = (between, level);
            }
        }
    }
    u8::try_from(chosen).unwrap_or(u8::MAX)
}

/// How far the lung fields of two pictures of one size cover each other, 0 to 1 (Dice).
pub fn lung_overlap(a: &GreyImage, b: &GreyImage) -> f64 {
    let (a, b) = (LungFields::of(a).0, LungFields::of(b).0);
    let size = |fields: &[bool]| fields.iter().filter(|lung| **lung).count() as f64;
    let both = a.iter().zip(&b).filter(|(a, b)| **a && **b).count() as f64;
    let all = size(&a) + size(&b);
    if all > 0.0 { 2.0 * both / all } else { 1.0 }
}

/// Mean squared step from a pixel to its neighbours, of the middle: a blurred picture has less.
pub fn sharpness(picture: &GreyImage) -> f64 {
    let rows: Vec<&[u8]> = middle(picture).collect();
    let step = |a: &u8, b: &u8| (f64::from(*a) - f64::from(*b)).powi(2);
    let across = rows.iter().flat_map(|row| row.iter().zip(row.iter().skip(1)));
    let down = rows.iter().zip(rows.iter().skip(1)).flat_map(|(a, b)| a.iter().zip(b.iter()));
    let (sum, n) = across.chain(down).fold((0.0, 0.0), |(s, n), (a, b)| (s + step(a, b), n + 1.0));
    if n > 0.0 { sum / n } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two dark fields, `shift` pixels to the right, in a bright body with a pattern.
    fn chest(shift: usize) -> GreyImage {
        let side = 40;
        let pixel = |i: usize| {
            let (x, y) = (i % side, i / side);
            let within = |from: usize| (from + shift..from + shift + 8).contains(&x);
            let lung = (8..32).contains(&y) && (within(8) || within(22));
            (if lung { 60 } else { 180 }) + ((x * 7 + y * 5) % 11) as u8
        };
        GreyImage { side, pixels: (0..side * side).map(pixel).collect() }
    }

    fn blurred(picture: &GreyImage) -> GreyImage {
        let (side, pixels) = (picture.side, &picture.pixels);
        let near = |i: usize| {
            let all = [i.saturating_sub(1), i, i + 1, i.saturating_sub(side), i + side];
            let all = all.map(|j| u32::from(pixels[j.min(pixels.len() - 1)]));
            (all.iter().sum::<u32>() / 5) as u8
        };
        GreyImage { side, pixels: (0..pixels.len()).map(near).collect() }
    }

    #[test]
    fn lungs_are_found_and_a_shift_is_seen() {
        assert_eq!(lung_overlap(&chest(0), &chest(0)), 1.0);
        // Of eight columns six are covered.
        assert!((lung_overlap(&chest(0), &chest(2)) - 0.75).abs() < 1e-12);
        let even = GreyImage { side: 40, pixels: vec![7; 1600] };
        assert!(lung_overlap(&even, &even).is_finite());
    }

    #[test]
    fn a_blur_costs_sharpness_and_keeps_the_outline() {
        let (sharp, soft) = (chest(0), blurred(&chest(0)));
        assert!(sharpness(&soft) < 0.6 * sharpness(&sharp));
        assert!(lung_overlap(&sharp, &soft) > 0.9);
        assert_eq!(sharpness(&GreyImage { side: 0, pixels: Vec::new() }), 0.0);
    }
}
