//! Reads the headers of JPEG and JPEG 2000 codestreams, before a decoder is trusted with them.
//!
//! Both formats let a few bytes claim a huge picture, a million scans or a million tiles. What is
//! checked here bounds the decoder's memory and time by the size of the picture, and makes sure
//! that the picture is the one which DICOM's Rows and Columns announce.

use super::{undecodable, within_limits};
use crate::event::Rejection;

/// Scans of one JPEG: progressive encoders write about 10.
pub(super) const MAX_SCANS: usize = 100;

/// Tiles of one JPEG 2000 picture: encoders of films write one, or tiles of 1024 pixels.
pub(super) const MAX_TILES: usize = 1024;

/// Least exponent of a JPEG 2000 code-block's sides and of a precinct's: 16 and 32 pixels. The
/// decoder takes hundreds of bytes for each.
const MIN_BLOCK_EXPONENT: u8 = 4;
const MIN_PRECINCT_EXPONENT: u8 = 5;

/// What a codestream's header says of its picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub width: usize,
    pub height: usize,
    pub components: usize,
    /// Bits of one sample.
    pub precision: u8,
}

/// Big-endian reads that end instead of panicking.
struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    fn take(&mut self, n: usize) -> Result<&'a [u8], Rejection> {
        let end = self.at.checked_add(n).filter(|&end| end <= self.bytes.len());
        let end = end.ok_or_else(|| undecodable("the film ends inside its header"))?;
        let taken = &self.bytes[self.at..end];
        self.at = end;
        Ok(taken)
    }

    fn u8(&mut self) -> Result<u8, Rejection> {
        Ok(self.take(1)?[0])
    }

    fn u16(&mut self) -> Result<usize, Rejection> {
        Ok(self.take(2)?.iter().fold(0, |n, &byte| n << 8 | usize::from(byte)))
    }

    fn u32(&mut self) -> Result<usize, Rejection> {
        Ok(self.take(4)?.iter().fold(0, |n, &byte| n << 8 | usize::from(byte)))
    }

    /// The body of a marker segment, whose length counts its own two bytes.
    fn segment(&mut self) -> Result<Cursor<'a>, Rejection> {
        let length = self.u16()?;
        let body = length.checked_sub(2).ok_or_else(|| undecodable("a marker without length"))?;
        Ok(Cursor { bytes: self.take(body)?, at: 0 })
    }
}

/// Walks all markers of a JPEG (ITU-T T.81 annex B) up to its end, which must be there.
pub(super) fn jpeg(bytes: &[u8]) -> Result<Header, Rejection> {
    let mut cursor = Cursor { bytes, at: 0 };
    if cursor.take(2)? != [0xff, 0xd8] {
        return Err(undecodable("no JPEG start of image"));
    }
    let mut header = None;
    let (mut scans, mut ended) = (0, false);
    while let Some(marker) = next_jpeg_marker(&mut cursor) {
        match marker {
            0xd9 => {
                ended = true;
                break;
            }
            // Start of frame, of any coding; DHT, JPG and DAC share the range.
            0xc0..=0xcf if !matches!(marker, 0xc4 | 0xc8 | 0xcc) => {
                if header.is_some() {
                    return Err(undecodable("two JPEG frames"));
                }
                let mut frame = cursor.segment()?;
                let precision = frame.u8()?;
                let (height, width) = (frame.u16()?, frame.u16()?);
                within_limits(width, height)?;
                let components = usize::from(frame.u8()?);
                header = Some(Header { width, height, components, precision });
            }
            0xda => {
                scans += 1;
                if scans > MAX_SCANS {
                    return Err(undecodable(format!("more than {MAX_SCANS} JPEG scans")));
                }
                cursor.segment()?;
            }
            _ => {
                cursor.segment()?;
            }
        }
    }
    if !ended {
        // The decoder would fill the rest with grey, and half a film would pass for a whole one.
        return Err(undecodable("the JPEG was cut short: it has no end of image"));
    }
    header.filter(|_| scans > 0).ok_or_else(|| undecodable("a JPEG without frame or scan"))
}

/// The next marker that has a meaning outside a scan; `None` at the end of the bytes.
fn next_jpeg_marker(cursor: &mut Cursor<'_>) -> Option<u8> {
    let rest = cursor.bytes.get(cursor.at..)?;
    let at = rest.windows(2).position(|pair| {
        // Stuffed zero, fill byte, restart, TEM and a second SOI stand for themselves only.
        pair[0] == 0xff && !matches!(pair[1], 0x00 | 0x01 | 0xff | 0xd0..=0xd8)
    })?;
    cursor.at += at + 2;
    Some(rest[at + 1])
}

/// Reads the main header of a raw JPEG 2000 codestream (ITU-T T.800 annex A).
pub(super) fn jpeg2000(bytes: &[u8]) -> Result<Header, Rejection> {
    let mut cursor = Cursor { bytes, at: 0 };
    if cursor.take(4)? != [0xff, 0x4f, 0xff, 0x51] {
        return Err(undecodable("no JPEG 2000 codestream; DICOM wants it without a JP2 wrapper"));
    }
    let header = jpeg2000_size(cursor.segment()?)?;
    loop {
        match cursor.u16()? {
            // Start of the first tile part: the main header is over.
            0xff90 => return Ok(header),
            0xff52 => jpeg2000_coding(cursor.segment()?)?,
            0xff53 => return Err(undecodable("a JPEG 2000 component with a coding of its own")),
            marker if marker >= 0xff30 => {
                cursor.segment()?;
            }
            _ => return Err(undecodable("not a JPEG 2000 marker")),
        }
    }
}

fn jpeg2000_size(mut size: Cursor<'_>) -> Result<Header, Rejection> {
    size.u16()?;
    let (right, bottom, left, top) = (size.u32()?, size.u32()?, size.u32()?, size.u32()?);
    let (tile_width, tile_height) = (size.u32()?, size.u32()?);
    size.take(8)?;
    if left >= right || top >= bottom || tile_width == 0 || tile_height == 0 {
        return Err(undecodable("an empty JPEG 2000 picture"));
    }
    let (width, height) = (right - left, bottom - top);
    within_limits(width, height)?;
    // The grid that the decoder lays out starts at 0, whatever the picture's offset is.
    within_limits(right, bottom)?;
    if right.div_ceil(tile_width).saturating_mul(bottom.div_ceil(tile_height)) > MAX_TILES {
        return Err(undecodable(format!("more than {MAX_TILES} JPEG 2000 tiles")));
    }
    let components = size.u16()?;
    let mut precision = 0;
    for _ in 0..components.min(4) {
        let component = size.take(3)?;
        if component[1..] != [1, 1] {
            return Err(undecodable("a subsampled JPEG 2000 component"));
        }
        precision = (component[0] & 0x7f) + 1;
    }
    Ok(Header { width, height, components, precision })
}

fn jpeg2000_coding(mut coding: Cursor<'_>) -> Result<(), Rejection> {
    let style = coding.u8()?;
    coding.take(4)?;
    let levels = coding.u8()?;
    let (block_width, block_height) = (coding.u8()?, coding.u8()?);
    // The header stores a code-block's exponents less 2.
    if block_width.min(block_height).saturating_add(2) < MIN_BLOCK_EXPONENT || levels > 32 {
        return Err(undecodable("JPEG 2000 code-blocks below 16 pixels, or over 32 levels"));
    }
    coding.take(2)?;
    if style & 1 == 1 {
        for _ in 0..=levels {
            let precinct = coding.u8()?;
            if (precinct & 15).min(precinct >> 4) < MIN_PRECINCT_EXPONENT {
                return Err(undecodable("JPEG 2000 precincts below 32 pixels"));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Reason;

    fn siz(width: u32, height: u32, tile: u32) -> Vec<u8> {
        let mut bytes = vec![0xff, 0x4f, 0xff, 0x51, 0, 41, 0, 0];
        for n in [width, height, 0, 0, tile, tile, 0, 0] {
            bytes.extend(n.to_be_bytes());
        }
        bytes.extend([0, 1, 11, 1, 1, 0xff, 0x90]);
        bytes
    }

    #[test]
    fn jpeg2000_reads_its_size() {
        let header = Header { width: 512, height: 256, components: 1, precision: 12 };
        assert_eq!(jpeg2000(&siz(512, 256, 512)), Ok(header));
    }

    #[test]
    fn jpeg2000_bombs_are_refused() {
        let too_large = jpeg2000(&siz(100_000, 100_000, 100_000)).expect_err("10 Gpx");
        assert_eq!(too_large.reason, Reason::FilmTooLarge);
        assert!(jpeg2000(&siz(4096, 4096, 1)).is_err());
        assert!(jpeg2000(&siz(4096, 4096, 0)).is_err());
    }

    #[test]
    fn every_prefix_of_a_header_is_refused() {
        let whole = siz(512, 512, 512);
        for end in 0..whole.len() {
            assert!(jpeg2000(&whole[..end]).is_err(), "{end}");
        }
    }

    #[test]
    fn a_jpeg_of_many_scans_is_refused() {
        let mut bytes = vec![0xff, 0xd8, 0xff, 0xc2, 0, 11, 8, 0, 64, 0, 64, 1, 1, 0x11, 0];
        let scan = [0xff, 0xda, 0, 8, 1, 1, 0, 0, 63, 0, 0x55];
        bytes.extend(scan.repeat(MAX_SCANS));
        let end = [0xff, 0xd9];
        assert!(jpeg(&[&bytes[..], &end].concat()).is_ok());
        bytes.extend(scan);
        assert!(jpeg(&[&bytes[..], &end].concat()).is_err());
    }

    /// The decoder would make a whole film of any part of one.
    #[test]
    fn a_jpeg_that_was_cut_short_is_refused() {
        let mut bytes = vec![0xff, 0xd8, 0xff, 0xc0, 0, 11, 8, 0, 64, 0, 64, 1, 1, 0x11, 0];
        bytes.extend([0xff, 0xda, 0, 8, 1, 1, 0, 0, 63, 0, 0x55, 0xff, 0xd9]);
        assert!(jpeg(&bytes).is_ok());
        for end in 0..bytes.len() {
            assert!(jpeg(&bytes[..end]).is_err(), "{end}");
        }
    }
}
