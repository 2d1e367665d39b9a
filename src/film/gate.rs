//! The two gates: is it an AP film, and is it a chest film at all (`reference/clinical.md` 2.3).
//!
//! The second gate judges statistics of the 224 × 224 pixels. It is meant to stop what is no chest
//! film (a blank plate, noise, a negative, a drawing, most photographs) and to let every real film
//! through: a film refused wrongly is information lost, while the last good film stays current.
//! Measured by `tests/film`: of the 243 Hannover films and of the 305 made from them none is
//! refused and 4 % and 6 % are doubted; all of the 243 negatives are refused. The extremes of the
//! real films were a spread of 16, 18 % black, 0 % white and a smoothness of 0.87; likeness and
//! relief were chosen below the least of theirs by a prototype in Python. The gate is no
//! classifier: a photograph that is bright below and in the middle passes.

use super::{Declared, Note, likeness};
use crate::event::{FILM_SIDE, Reason, Rejection, ViewPosition};

/// The long side may be so many times the short one.
pub const MAX_ASPECT: usize = 2;

/// A short side below this many pixels is a thumbnail.
pub const MIN_SIDE: usize = 128;

/// Least standard deviation of the grey values, 0..=127: below it the picture is flat.
const MIN_SPREAD: f64 = 10.0;

/// Share of the pixels that may be 255 (burnt out), and that may be 0.
const MAX_WHITE: f64 = 0.30;
const MAX_BLACK: f64 = 0.60;

/// Least correlation of a pixel with its right neighbour: anatomy is smooth, noise is not.
const MIN_SMOOTHNESS: f64 = 0.70;

/// Least correlation of the picture's large blocks with those of the mean chest film.
const MIN_LIKENESS: f64 = 0.25;

/// Least share of the picture that has fine relief; a drawing or a shadow has none.
const MIN_RELIEF: f64 = 0.60;

/// Polarity below which both measures must lie before a film is taken for a negative; one of them
/// below zero raises a doubt.
const NEGATIVE_BELOW: f64 = -0.1;

/// Range of grey values inside a row or column that is padding rather than picture.
const PADDING_RANGE: u8 = 8;

/// What becomes of a film whose view nobody names. The default refuses it, because the model has
/// never seen anything but AP films.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UnknownView {
    #[default]
    Reject,
    Accept,
}

/// What the gate measures on prepared pixels.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Statistics {
    /// Standard deviation of the grey values.
    pub spread: f64,
    /// Share of pixels at 0 and at 255, 0..=1.
    pub black: f64,
    pub white: f64,
    /// Correlation of horizontal neighbours, -1..=1.
    pub smoothness: f64,
    /// Correlation of the picture's large blocks with those of the mean chest film, -1..=1.
    pub likeness: f64,
    /// Share of the picture that has fine relief, 0..=1.
    pub relief: f64,
    /// How much brighter the mediastinum is than the lungs, in standard deviations. The negative
    /// of a film has the negative of its polarity.
    pub bone_over_lung: f64,
    /// The same of mediastinum and belly over lungs and the air above the shoulders.
    pub body_over_air: f64,
}

/// Decides on the view from what the record declares and what the file says.
pub(super) fn view(
    declared: Declared,
    in_file: Option<ViewPosition>,
) -> Result<ViewPosition, Rejection> {
    let known = |view: &ViewPosition| *view != ViewPosition::Unknown;
    let refuse = |detail: String| Err(Rejection::new(Reason::FilmView, detail));
    match (declared.view.filter(known), in_file.filter(known)) {
        (Some(a), Some(b)) if a != b => refuse(format!("declared {a:?}, but the file says {b:?}")),
        (Some(ViewPosition::Ap), _) | (None, Some(ViewPosition::Ap)) => Ok(ViewPosition::Ap),
        (Some(view), _) | (None, Some(view)) => refuse(format!("{view:?}; the model knows AP")),
        (None, None) => match declared.unknown_view {
            UnknownView::Accept => Ok(ViewPosition::Unknown),
            UnknownView::Reject => refuse("nobody names the view; declare it".to_owned()),
        },
    }
}

/// Refuses thumbnails and strips. It also bounds what the resize may allocate.
pub(super) fn shape(width: usize, height: usize) -> Result<(), Rejection> {
    let (short, long) = (width.min(height), width.max(height));
    if short < MIN_SIDE || long > short.saturating_mul(MAX_ASPECT) {
        return not_chest(format!("{width} x {height} pixels is no film's shape"));
    }
    Ok(())
}

/// Refuses what is plainly no chest film; notes what is doubtful.
pub(super) fn pixels(statistics: &Statistics) -> Result<Option<Note>, Rejection> {
    let Statistics { spread, black, white, smoothness, likeness, relief, .. } = *statistics;
    let Statistics { bone_over_lung, body_over_air, .. } = *statistics;
    if spread < MIN_SPREAD {
        return not_chest(format!("flat: the grey values spread by {spread:.1}"));
    }
    if white > MAX_WHITE || black > MAX_BLACK {
        let (white, black) = (100.0 * white, 100.0 * black);
        return not_chest(format!("saturated: {white:.0} % white, {black:.0} % black"));
    }
    if smoothness < MIN_SMOOTHNESS {
        return not_chest(format!("noise: neighbours correlate by {smoothness:.2}"));
    }
    // A collimated film has a black belly, a burnt-out lung a bright one: only if both measures
    // agree is it a negative.
    if bone_over_lung.max(body_over_air) < NEGATIVE_BELOW {
        let detail = format!("inverted: bone is dark, {bone_over_lung:.2} and {body_over_air:.2}");
        return not_chest(detail);
    }
    if relief < MIN_RELIEF {
        let detail = format!("a drawing: {:.0} % of it has relief", 100.0 * relief);
        return not_chest(detail);
    }
    if likeness < MIN_LIKENESS {
        let detail = format!("its shades lie where no chest has them: likeness {likeness:.2}");
        return not_chest(detail);
    }
    Ok((bone_over_lung.min(body_over_air) < 0.0).then_some(Note::PolarityDoubtful))
}

fn not_chest<T>(detail: String) -> Result<T, Rejection> {
    Err(Rejection::new(Reason::FilmNotChest, detail))
}

impl Statistics {
    /// Of 224 × 224 pixels, row by row.
    pub fn of(pixels: &[u8]) -> Self {
        let count = pixels.len().max(1) as f64;
        let mean = pixels.iter().map(|&p| f64::from(p)).sum::<f64>() / count;
        let square = |p: &u8| (f64::from(*p) - mean).powi(2);
        let spread = (pixels.iter().map(square).sum::<f64>() / count).sqrt();
        let share = |value: u8| pixels.iter().filter(|&&p| p == value).count() as f64 / count;
        let [bone_over_lung, body_over_air] = polarity(pixels).map(|grey| grey / spread.max(1.0));
        Statistics {
            spread,
            black: share(0),
            white: share(255),
            smoothness: smoothness(pixels, mean, spread),
            likeness: likeness::chest(pixels),
            relief: likeness::relief(pixels),
            bone_over_lung,
            body_over_air,
        }
    }
}

fn smoothness(pixels: &[u8], mean: f64, spread: f64) -> f64 {
    let rows = pixels.chunks_exact(FILM_SIDE);
    let pairs = rows.flat_map(|row| row.windows(2));
    let (sum, count) = pairs.fold((0.0, 0usize), |(sum, count), pair| {
        (sum + (f64::from(pair[0]) - mean) * (f64::from(pair[1]) - mean), count + 1)
    });
    sum / (count.max(1) as f64) / spread.powi(2).max(1e-9)
}

/// Mean grey of the mediastinum less that of the lungs, and the same with belly and air taken in,
/// each -255..=255.
fn polarity(pixels: &[u8]) -> [f64; 2] {
    let column = |x: usize| pixels.iter().skip(x).step_by(FILM_SIDE).copied();
    let row = |y: usize| pixels.iter().skip(y * FILM_SIDE).take(FILM_SIDE).copied();
    let (left, right) = picture(|x| range(column(x)));
    let (top, bottom) = picture(|y| range(row(y)));
    let mean = |[x0, x1, y0, y1]: [f64; 4]| {
        let xs = between(left, right, x0, x1);
        let ys = between(top, bottom, y0, y1);
        let count = (xs.len() * ys.len()).max(1) as f64;
        let at = |y: usize| xs.clone().map(move |x| f64::from(pixels[y * FILM_SIDE + x]));
        ys.flat_map(at).sum::<f64>() / count
    };
    // Left, right, top, bottom as shares of the picture inside its padding.
    let mediastinum = mean([0.42, 0.58, 0.35, 0.75]);
    let belly = mean([0.25, 0.75, 0.88, 1.0]);
    let lungs = (mean([0.18, 0.36, 0.25, 0.6]) + mean([0.64, 0.82, 0.25, 0.6])) / 2.0;
    let air = (mean([0.0, 0.1, 0.0, 0.12]) + mean([0.9, 1.0, 0.0, 0.12])) / 2.0;
    [mediastinum - lungs, (mediastinum + belly - lungs - air) / 2.0]
}

/// First and last line that is not padding, given each line's range of grey values.
fn picture(range_of: impl Fn(usize) -> u8) -> (usize, usize) {
    let is_picture = |&line: &usize| range_of(line) >= PADDING_RANGE;
    let first = (0..FILM_SIDE).find(is_picture).unwrap_or(0);
    let last = (0..FILM_SIDE).rev().find(is_picture).unwrap_or(FILM_SIDE - 1);
    (first, last)
}

fn range(line: impl Iterator<Item = u8>) -> u8 {
    let (least, most) = line.fold((255, 0), |(least, most), p: u8| (p.min(least), p.max(most)));
    most.saturating_sub(least)
}

fn between(first: usize, last: usize, from: f64, to: f64) -> std::ops::Range<usize> {
    let length = (last + 1 - first) as f64;
    let start = first + (from * length) as usize;
    start..(first + (to * length) as usize).min(FILM_SIDE)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn declared(view: Option<ViewPosition>) -> Declared {
        Declared { view, unknown_view: UnknownView::Reject }
    }

    #[test]
    fn only_ap_passes_the_view_gate() {
        use ViewPosition::{Ap, Lateral, Pa, Unknown};
        assert_eq!(view(declared(Some(Ap)), None), Ok(Ap));
        assert_eq!(view(declared(None), Some(Ap)), Ok(Ap));
        assert_eq!(view(declared(Some(Unknown)), Some(Ap)), Ok(Ap));
        for (told, found) in [(Some(Ap), Some(Pa)), (Some(Pa), None), (None, Some(Lateral))] {
            let refused = view(declared(told), found).expect_err("not AP");
            assert_eq!(refused.reason, Reason::FilmView);
        }
    }

    #[test]
    fn an_unnamed_view_passes_by_policy_only() {
        assert!(view(declared(None), None).is_err());
        let accepting = Declared { view: None, unknown_view: UnknownView::Accept };
        assert_eq!(view(accepting, None), Ok(ViewPosition::Unknown));
        assert!(view(accepting, Some(ViewPosition::Pa)).is_err());
    }

    #[test]
    fn strips_and_thumbnails_have_no_films_shape() {
        assert!(shape(2000, 2500).is_ok() && shape(128, 256).is_ok());
        assert!(shape(100, 100).is_err() && shape(1000, 2001).is_err());
        assert!(shape(1, usize::MAX).is_err());
    }

    #[test]
    fn flat_burnt_and_noisy_pictures_are_refused() {
        let picture = |at: &dyn Fn(usize) -> u8| {
            let all: Vec<u8> = (0..FILM_SIDE * FILM_SIDE).map(at).collect();
            pixels(&Statistics::of(&all))
        };
        assert!(picture(&|_| 128).is_err());
        assert!(picture(&|i| if i % 5 < 3 { 255 } else { 90 }).is_err());
        let hash = |i: usize| ((i as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8;
        assert!(picture(&hash).expect_err("noise").detail.starts_with("noise"));
    }

    #[test]
    fn a_negative_has_the_negative_polarity() {
        let at = |i: usize| ((i % FILM_SIDE) as f64 / 71.0).sin().mul_add(90.0, 120.0) as u8;
        let film: Vec<u8> = (0..FILM_SIDE * FILM_SIDE).map(at).collect();
        let negative: Vec<u8> = film.iter().map(|p| 255 - p).collect();
        let (film, negative) = (Statistics::of(&film), Statistics::of(&negative));
        assert!((film.bone_over_lung + negative.bone_over_lung).abs() < 1e-9);
        assert!((film.body_over_air + negative.body_over_air).abs() < 1e-9);
        assert!(film.bone_over_lung.abs() > 0.1 && film.body_over_air.abs() > 0.1);
    }
}
