//! Films as plain JPEG (MIMIC-CXR-JPG) and PNG.

use std::io::Cursor;

use image::codecs::jpeg::JpegDecoder;
use image::codecs::png::PngDecoder;
use image::error::ImageResult;
use image::{DynamicImage, ImageDecoder, Limits};

use super::{Decoded, Grey, Note, codestream, guard, undecodable, within_limits};
use crate::event::{Reason, Rejection};

/// Bytes that a decoder may hold: the largest film as RGBA of 16 bits, and as much again.
const MAX_DECODER_BYTES: u64 = 16 * super::MAX_PIXELS as u64;

/// Channels of a grey pixel that was stored in colour by JPEG differ by less than this.
const COLOUR_STEP: u8 = 40;

/// Share of coloured pixels above which a picture is no radiograph (a screen shot, a generated
/// film with its violet frame). Below it there may be a coloured marker.
const MAX_COLOURED: f64 = 0.005;

/// Decodes a JPEG whose header was found sound.
pub(super) fn jpeg(bytes: &[u8]) -> Result<Decoded, Rejection> {
    codestream::jpeg(bytes)?;
    guard::caught("jpeg", || decode_with(JpegDecoder::new(Cursor::new(bytes))?))
        .and_then(to_decoded)
}

/// Decodes a PNG whose size is within limits.
pub(super) fn png(bytes: &[u8]) -> Result<Decoded, Rejection> {
    let side = |at: usize| match bytes.get(at..at + 4) {
        Some(&[a, b, c, d]) => Ok(u32::from_be_bytes([a, b, c, d]) as usize),
        _ => Err(undecodable("the PNG ends inside its header")),
    };
    within_limits(side(16)?, side(20)?)?;
    guard::caught("png", || decode_with(PngDecoder::with_limits(Cursor::new(bytes), limits())?))
        .and_then(to_decoded)
}

fn limits() -> Limits {
    let mut limits = Limits::default();
    limits.max_alloc = Some(MAX_DECODER_BYTES);
    limits
}

fn decode_with(mut decoder: impl ImageDecoder) -> ImageResult<DynamicImage> {
    decoder.set_limits(limits())?;
    DynamicImage::from_decoder(decoder)
}

fn to_decoded(picture: DynamicImage) -> Result<Decoded, Rejection> {
    let (width, height) = (picture.width() as usize, picture.height() as usize);
    within_limits(width, height)?;
    let mut notes = Vec::new();
    let pixels = match picture {
        DynamicImage::ImageLuma8(grey) => grey.into_raw(),
        // An alpha channel says nothing about the patient.
        DynamicImage::ImageLumaA8(grey) => grey.into_raw().into_iter().step_by(2).collect(),
        DynamicImage::ImageLuma16(grey) => grey.into_raw().into_iter().map(to_8_bit).collect(),
        DynamicImage::ImageLumaA16(grey) => {
            grey.into_raw().into_iter().step_by(2).map(to_8_bit).collect()
        }
        colour => {
            let rgb = colour.into_rgb8().into_raw();
            let share = coloured_share(&rgb);
            if share > MAX_COLOURED {
                let detail = format!("{:.1} % of the pixels are coloured", 100.0 * share);
                return Err(Rejection::new(Reason::FilmNotChest, detail));
            }
            notes.push(Note::Colour);
            luma(&rgb)
        }
    };
    let grey = Grey::new(width, height, pixels);
    let grey = grey.ok_or_else(|| undecodable("fewer pixels than the header says"))?;
    Ok(Decoded { grey, view: None, notes })
}

fn to_8_bit(sample: u16) -> u8 {
    ((u32::from(sample) * 255 + 32_767) / 65_535) as u8
}

/// Share of the RGB pixels that are not grey, 0..=1.
pub(super) fn coloured_share(rgb: &[u8]) -> f64 {
    let is_coloured = |pixel: &&[u8]| {
        let least = pixel.iter().min().copied().unwrap_or(0);
        let most = pixel.iter().max().copied().unwrap_or(0);
        most - least > COLOUR_STEP
    };
    let pixels = rgb.chunks_exact(3);
    let all = pixels.len().max(1);
    pixels.filter(is_coloured).count() as f64 / all as f64
}

/// ITU-R 601 luma in 16-bit fixed point, which is what PIL's mode L has.
pub(super) fn luma(rgb: &[u8]) -> Vec<u8> {
    let weigh = |pixel: &[u8]| {
        let [r, g, b] = [0, 1, 2].map(|i| u32::from(pixel[i]));
        ((r * 19_595 + g * 38_470 + b * 7_471 + 0x8000) >> 16) as u8
    };
    rgb.chunks_exact(3).map(weigh).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn luma_keeps_grey_and_weighs_colours() {
        assert_eq!(luma(&[77, 77, 77, 255, 0, 0, 0, 255, 0, 0, 0, 255]), [77, 76, 150, 29]);
    }

    #[test]
    fn sixteen_bits_become_eight_at_both_ends() {
        assert_eq!([0, 65_535, 257 * 100].map(to_8_bit), [0, 255, 100]);
    }

    #[test]
    fn colours_are_told_from_grey() {
        assert_eq!(coloured_share(&[9, 9, 9, 200, 190, 195]), 0.0);
        assert_eq!(coloured_share(&[9, 9, 9, 138, 43, 226]), 0.5);
    }
}
