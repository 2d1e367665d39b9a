//! Marks a generated film so that nobody takes it for a radiograph.
//!
//! Readers recognised unmarked generated radiographs in 41 % of the cases
//! (`reference/clinical.md` 0.14). So a generated film leaves this program only with
//! words burned into its pixels and a dashed frame in violet, the colour that the whole
//! project keeps for generated pixels (section 4). The colour also makes [`super::prepare`] refuse
//! the picture, should it ever come back as a film.

use super::font;
use super::png::{self, PngError};
use crate::event::FILM_SIDE;

/// What is burned in: the first line near the top, the second near the bottom.
pub const MARK_LINES: [&str; 2] = ["AI-GENERATED - NOT A RADIOGRAPH", "DO NOT DIAGNOSE"];

/// What is burned into a film of the synthetic ward: nobody's, but no network made it either.
pub const DRAWN_LINES: [&str; 2] = ["NO PATIENT - NOT A RADIOGRAPH", MARK_LINES[1]];

/// Side of a marked film in pixels: enlarged, so that the words are legible.
pub const MARKED_SIDE: usize = FILM_SIDE * SCALE;

/// Pixels of the marked film for one of the generated film, and for one dot of a letter.
const SCALE: usize = 2;

const VIOLET: [u8; 3] = [0x7c, 0x3a, 0xed];
const BAND: [u8; 3] = [0x5b, 0x21, 0xb6];
const WHITE: [u8; 3] = [0xff; 3];
const BLACK: [u8; 3] = [0; 3];

/// Width of the frame, and length of one dash with its gap, of which the dash is two thirds.
const FRAME: usize = 6;
const DASH: usize = 24;

/// From the edge to the band of text: far enough in to survive a trimmed edge.
const BAND_INSET: usize = 36;

/// Height of the band: the letters and 5 pixels above and below.
const BAND_HEIGHT: usize = font::LETTER_HEIGHT * SCALE + 10;

struct Canvas {
    rgb: Vec<u8>,
}

impl Canvas {
    fn of(film: &[u8]) -> Self {
        let grey = |i: usize| {
            let (y, x) = (i / MARKED_SIDE / SCALE, i % MARKED_SIDE / SCALE);
            [film.get(y * FILM_SIDE + x).copied().unwrap_or(0); 3]
        };
        Canvas { rgb: (0..MARKED_SIDE * MARKED_SIDE).flat_map(grey).collect() }
    }

    fn set(&mut self, x: usize, y: usize, colour: [u8; 3]) {
        if let Some(pixel) = self.rgb.chunks_exact_mut(3).nth(y * MARKED_SIDE + x) {
            pixel.copy_from_slice(&colour);
        }
    }

    fn frame(&mut self) {
        for along in 0..MARKED_SIDE {
            let colour = if along % DASH < DASH / 3 * 2 { VIOLET } else { BLACK };
            for depth in 0..FRAME {
                let far = MARKED_SIDE - 1 - depth;
                for (x, y) in [(along, depth), (along, far), (depth, along), (far, along)] {
                    self.set(x, y, colour);
                }
            }
        }
    }

    /// A band across the film with a line of text in its middle.
    fn band(&mut self, top: usize, text: &str, colour: [u8; 3]) {
        for y in top..top + BAND_HEIGHT {
            for x in FRAME..MARKED_SIDE - FRAME {
                self.set(x, y, colour);
            }
        }
        let left = MARKED_SIDE.saturating_sub(font::width(text) * SCALE) / 2;
        for (x, y) in font::dots(text) {
            for (dx, dy) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
                self.set(left + x * SCALE + dx, top + 5 + y * SCALE + dy, WHITE);
            }
        }
    }

    /// Burns both lines in.
    fn png(mut self, [first, second]: [&str; 2], band: [u8; 3]) -> Result<Vec<u8>, PngError> {
        self.band(BAND_INSET, first, band);
        self.band(MARKED_SIDE - BAND_INSET - BAND_HEIGHT, second, band);
        png::encode_rgb(&self.rgb, MARKED_SIDE as u32, MARKED_SIDE as u32)
    }
}

/// A generated film of 224 × 224 grey pixels as a marked PNG of [`MARKED_SIDE`] pixels a side.
///
/// # Errors
/// [`PngError::Shape`] unless there are exactly 224 × 224 pixels.
pub fn mark_synthetic(film: &[u8]) -> Result<Vec<u8>, PngError> {
    let mut canvas = canvas(film)?;
    canvas.frame();
    canvas.png(MARK_LINES, BAND)
}

/// A film of the synthetic ward, marked as [`DRAWN_LINES`] say, without the frame of generated
/// pixels.
///
/// # Errors
/// As [`mark_synthetic`].
pub fn mark_drawn(film: &[u8]) -> Result<Vec<u8>, PngError> {
    canvas(film)?.png(DRAWN_LINES, BLACK)
}

fn canvas(film: &[u8]) -> Result<Canvas, PngError> {
    if film.len() != FILM_SIDE * FILM_SIDE {
        let side = FILM_SIDE as u32;
        return Err(PngError::Shape { width: side, height: side, found: film.len() });
    }
    Ok(Canvas::of(film))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Reason, ViewPosition};
    use crate::film::{Declared, prepare};

    fn marked(grey: u8) -> Vec<u8> {
        let bytes = mark_synthetic(&vec![grey; FILM_SIDE * FILM_SIDE]).expect("224 x 224");
        let decoder = image::load_from_memory(&bytes).expect("our own PNG");
        decoder.into_rgb8().into_raw()
    }

    fn count(rgb: &[u8], colour: [u8; 3]) -> usize {
        rgb.chunks_exact(3).filter(|pixel| *pixel == colour).count()
    }

    #[test]
    fn both_lines_are_burned_in_whole() {
        let dots: usize = MARK_LINES.iter().map(|line| font::dots(line).count()).sum();
        assert_eq!(count(&marked(90), WHITE), dots * SCALE * SCALE);
        for line in MARK_LINES.into_iter().chain(DRAWN_LINES) {
            assert!(line.chars().all(font::has), "{line}");
            assert!(font::width(line) * SCALE <= MARKED_SIDE - 2 * FRAME, "{line}");
        }
    }

    #[test]
    fn the_frame_is_dashed_violet_and_the_film_stays() {
        let rgb = marked(90);
        let edge = &rgb[..3 * MARKED_SIDE];
        assert!(count(edge, VIOLET) > MARKED_SIDE / 2 && count(edge, BLACK) > MARKED_SIDE / 4);
        let inside = MARKED_SIDE * MARKED_SIDE - 4 * FRAME * (MARKED_SIDE - FRAME);
        let bands = 2 * BAND_HEIGHT * (MARKED_SIDE - 2 * FRAME);
        assert_eq!(count(&rgb, [90; 3]), inside - bands);
    }

    #[test]
    fn a_marked_film_is_never_taken_for_a_film() {
        let film: Vec<u8> = (0..FILM_SIDE * FILM_SIDE).map(|i| (i / FILM_SIDE) as u8).collect();
        let bytes = mark_synthetic(&film).expect("224 x 224");
        let declared = Declared { view: Some(ViewPosition::Ap), ..Declared::default() };
        assert_eq!(prepare(&bytes, declared).expect_err("marked").reason, Reason::FilmNotChest);
    }

    #[test]
    fn a_drawn_film_says_so_and_bears_no_violet() {
        let bytes = mark_drawn(&vec![90; FILM_SIDE * FILM_SIDE]).expect("224 x 224");
        let rgb = image::load_from_memory(&bytes).expect("our own PNG").into_rgb8().into_raw();
        let dots: usize = DRAWN_LINES.iter().map(|line| font::dots(line).count()).sum();
        assert_eq!(count(&rgb, WHITE), dots * SCALE * SCALE);
        assert_eq!(count(&rgb, VIOLET) + count(&rgb, BAND), 0);
    }

    #[test]
    fn other_sizes_are_refused() {
        assert!(mark_synthetic(&[0; 100]).is_err());
    }
}
