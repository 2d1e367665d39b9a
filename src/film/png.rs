//! Writes pictures as PNG, into memory.

use image::codecs::png::PngEncoder;
use image::{ExtendedColorType, ImageEncoder as _};
use thiserror::Error;

/// Why a picture could not be written.
#[derive(Debug, Error)]
pub enum PngError {
    /// The caller's mistake: pixels and sides do not agree.
    #[error("{found} bytes for a {width} x {height} picture; give width x height pixels")]
    Shape { width: u32, height: u32, found: usize },
    #[error("the PNG encoder failed: {0}; report this")]
    Encoder(#[from] image::ImageError),
}

/// Eight-bit grey pixels, row by row.
///
/// # Errors
/// [`PngError::Shape`] unless there are `width` × `height` pixels and at least one.
pub fn encode(pixels: &[u8], width: u32, height: u32) -> Result<Vec<u8>, PngError> {
    write(pixels, width, height, 1, ExtendedColorType::L8)
}

/// Three bytes a pixel: red, green, blue.
///
/// # Errors
/// As [`encode`].
pub fn encode_rgb(pixels: &[u8], width: u32, height: u32) -> Result<Vec<u8>, PngError> {
    write(pixels, width, height, 3, ExtendedColorType::Rgb8)
}

fn write(
    pixels: &[u8],
    width: u32,
    height: u32,
    samples: u64,
    colour: ExtendedColorType,
) -> Result<Vec<u8>, PngError> {
    let wanted = u64::from(width) * u64::from(height) * samples;
    if wanted == 0 || pixels.len() as u64 != wanted {
        return Err(PngError::Shape { width, height, found: pixels.len() });
    }
    let mut bytes = Vec::new();
    PngEncoder::new(&mut bytes).write_image(pixels, width, height, colour)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_reads_back() {
        let pixels: Vec<u8> = (0..200u32 * 150).map(|i| (i % 251) as u8).collect();
        let bytes = encode(&pixels, 200, 150).expect("sides agree");
        let decoded = crate::film::raster::png(&bytes).expect("our own PNG");
        assert_eq!((decoded.grey.width, decoded.grey.pixels), (200, pixels));
    }

    #[test]
    fn sides_must_agree_with_the_pixels() {
        assert!(matches!(encode(&[0; 5], 2, 3), Err(PngError::Shape { found: 5, .. })));
        assert!(encode(&[], 0, 7).is_err());
        assert!(encode_rgb(&[0; 12], 2, 2).is_ok());
    }
}
