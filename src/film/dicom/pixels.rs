//! From Pixel Data to one stored code per pixel, for all accepted transfer syntaxes.

use dicom_core::value::{PixelFragmentSequence, Value};
use dicom_core::{DataElement, PrimitiveValue, VR};
use dicom_dictionary_std::{tags, uids};
use dicom_object::{DefaultDicomObject, FileMetaTableBuilder, InMemDicomObject};
use dicom_pixeldata::PixelDecoder as _;

use super::Syntax;
use super::attributes::{self as tag, Attributes};
use super::dataset::{Encoding, PIXEL_DATA, items};
use super::undecodable;
use crate::event::Rejection;
use crate::film::codestream;
use crate::film::guard;

/// The Image Pixel module (PS3.3 C.7.6.3), checked against itself.
pub(super) struct PixelFormat {
    pub rows: usize,
    pub columns: usize,
    /// 8 or 16.
    pub bits_allocated: u16,
    /// 1..=`bits_allocated`.
    pub bits_stored: u16,
    /// `bits_stored - 1`..`bits_allocated`.
    high_bit: u16,
    pub signed: bool,
    planar: bool,
    pub photometric: Photometric,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Photometric {
    /// The least value is white.
    Monochrome1,
    /// The least value is black.
    Monochrome2,
    Rgb,
    /// Luma and chroma; inside JPEG only, whose decoder makes it RGB.
    Ybr,
}

/// Decoded pixels before any LUT.
pub(super) enum Samples {
    /// Stored codes of `bits_stored` bits, right aligned, without sign extension.
    Grey(Vec<u16>),
    /// Three bytes a pixel.
    Rgb(Vec<u8>),
}

impl PixelFormat {
    /// Reads and checks; the limits on Rows and Columns are the caller's business.
    pub(super) fn read(attributes: &Attributes<'_>) -> Result<Self, Rejection> {
        let photometric = match attributes.text(tag::PHOTOMETRIC)? {
            Some("MONOCHROME1") => Photometric::Monochrome1,
            Some("MONOCHROME2") => Photometric::Monochrome2,
            Some("RGB") => Photometric::Rgb,
            Some("YBR_FULL" | "YBR_FULL_422" | "YBR_RCT" | "YBR_ICT") => Photometric::Ybr,
            _ => return Err(undecodable("an unusual photometric interpretation")),
        };
        let colour = matches!(photometric, Photometric::Rgb | Photometric::Ybr);
        let bits_allocated = attributes.needed_word(tag::BITS_ALLOCATED)?;
        let bits_stored = attributes.word(tag::BITS_STORED)?.unwrap_or(bits_allocated);
        let high_bit = attributes.word(tag::HIGH_BIT)?;
        let high_bit = high_bit.unwrap_or(bits_stored.saturating_sub(1));
        let format = PixelFormat {
            rows: attributes.needed_word(tag::ROWS)?.into(),
            columns: attributes.needed_word(tag::COLUMNS)?.into(),
            bits_allocated,
            bits_stored,
            high_bit,
            signed: attributes.word(tag::PIXEL_REPRESENTATION)? == Some(1),
            planar: attributes.word(tag::PLANAR)? == Some(1),
            photometric,
        };
        let samples = attributes.word(tag::SAMPLES_PER_PIXEL)?.unwrap_or(1);
        let frames = attributes.text(tag::NUMBER_OF_FRAMES)?.unwrap_or("1");
        if samples != format.samples_per_pixel() as u16 || frames != "1" {
            return Err(undecodable("a film has one frame, of one grey or three colour samples"));
        }
        let deep = !matches!(bits_allocated, 8 | 16) || (colour && bits_allocated != 8);
        let fits = (1..=bits_allocated).contains(&bits_stored)
            && (bits_stored - 1..bits_allocated).contains(&high_bit);
        if deep || !fits {
            return Err(undecodable("bits allocated, bits stored and high bit do not fit"));
        }
        Ok(format)
    }

    fn samples_per_pixel(&self) -> usize {
        match self.photometric {
            Photometric::Monochrome1 | Photometric::Monochrome2 => 1,
            Photometric::Rgb | Photometric::Ybr => 3,
        }
    }

    /// Bytes of the decoded picture.
    fn bytes(&self) -> usize {
        self.rows * self.columns * self.samples_per_pixel() * usize::from(self.bits_allocated / 8)
    }
}

/// The decoded samples. Rows × Columns must be within limits.
pub(super) fn samples(
    attributes: &Attributes<'_>,
    format: &PixelFormat,
    syntax: Syntax,
    uid: &str,
) -> Result<Samples, Rejection> {
    let data = attributes.element(PIXEL_DATA);
    let data = data.ok_or_else(|| undecodable("the DICOM file holds no pixels"))?;
    let native = matches!(
        syntax,
        Syntax::ImplicitLittleEndian | Syntax::ExplicitLittleEndian | Syntax::Deflated
    );
    if native == data.encapsulated {
        return Err(undecodable("pixels and transfer syntax contradict each other"));
    }
    let decoded;
    let bytes = if native {
        data.value
    } else {
        // The first item is the offset table.
        let fragments = items(data.value, Encoding::Explicit)?;
        let frame = fragments.get(1..).unwrap_or_default().concat();
        check(&frame, format, syntax)?;
        decoded = guard::caught("pixel data", || codec(frame, format, uid))?;
        decoded.as_slice()
    };
    let bytes = bytes.get(..format.bytes());
    let bytes = bytes.ok_or_else(|| undecodable("fewer pixels than Rows x Columns"))?;
    Ok(match format.photometric {
        Photometric::Monochrome1 | Photometric::Monochrome2 => {
            Samples::Grey(stored_codes(bytes, format, native))
        }
        Photometric::Ybr if native => {
            return Err(undecodable("YBR outside JPEG is not supported; send MONOCHROME2"));
        }
        _ if native && format.planar => Samples::Rgb(interleave(bytes)),
        _ => Samples::Rgb(bytes.to_vec()),
    })
}

/// The codestream must be of the size that Rows and Columns promise, before a decoder sees it.
fn check(frame: &[u8], format: &PixelFormat, syntax: Syntax) -> Result<(), Rejection> {
    let header = match syntax {
        Syntax::Jpeg => codestream::jpeg(frame)?,
        Syntax::Jpeg2000 => codestream::jpeg2000(frame)?,
        // RLE has no size of its own.
        _ => return Ok(()),
    };
    let same_size = (header.width, header.height) == (format.columns, format.rows);
    let same_depth = u16::from(header.precision) <= format.bits_allocated
        && (header.precision > 8) == (format.bits_allocated > 8);
    if !same_size || header.components != format.samples_per_pixel() || !same_depth {
        return Err(undecodable("the codestream is not the picture that the file describes"));
    }
    Ok(())
}

/// Runs the library's codec on an object that holds nothing but the pixels' description.
fn codec(frame: Vec<u8>, format: &PixelFormat, uid: &str) -> Result<Vec<u8>, String> {
    let word = |tag, n: u16| DataElement::new(tag, VR::US, PrimitiveValue::from(n));
    let photometric = match format.photometric {
        Photometric::Rgb | Photometric::Ybr => "RGB",
        _ => "MONOCHROME2",
    };
    let side = |n: usize| u16::try_from(n).map_err(|error| error.to_string());
    let fragments = PixelFragmentSequence::new_fragments(vec![frame]);
    let object = InMemDicomObject::from_element_iter([
        word(tags::SAMPLES_PER_PIXEL, format.samples_per_pixel() as u16),
        DataElement::new(tags::PHOTOMETRIC_INTERPRETATION, VR::CS, photometric),
        word(tags::PLANAR_CONFIGURATION, 0),
        DataElement::new(tags::NUMBER_OF_FRAMES, VR::IS, "1"),
        word(tags::ROWS, side(format.rows)?),
        word(tags::COLUMNS, side(format.columns)?),
        word(tags::BITS_ALLOCATED, format.bits_allocated),
        word(tags::BITS_STORED, format.bits_stored),
        word(tags::HIGH_BIT, format.bits_stored - 1),
        word(tags::PIXEL_REPRESENTATION, u16::from(format.signed)),
        DataElement::new(tags::PIXEL_DATA, VR::OB, Value::PixelSequence(fragments)),
    ]);
    let meta = FileMetaTableBuilder::new()
        .transfer_syntax(uid)
        .media_storage_sop_class_uid(uids::DIGITAL_X_RAY_IMAGE_STORAGE_FOR_PRESENTATION)
        .media_storage_sop_instance_uid("2.25.0")
        .build()
        .map_err(|error| error.to_string())?;
    let object: DefaultDicomObject = object.with_exact_meta(meta);
    let decoded = object.decode_pixel_data().map_err(|error| with_causes(&error))?;
    Ok(decoded.into_data())
}

/// An error and what caused it, in one line.
fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text = format!("{text}: {cause}");
        next = cause.source();
    }
    text
}

/// Right-aligned codes of `bits_stored` bits. Codecs align them already.
fn stored_codes(bytes: &[u8], format: &PixelFormat, native: bool) -> Vec<u16> {
    let shift = if native { format.high_bit + 1 - format.bits_stored } else { 0 };
    let mask = ((1u32 << format.bits_stored) - 1) as u16;
    let code = |stored: u16| (stored >> shift) & mask;
    match format.bits_allocated {
        8 => bytes.iter().map(|&byte| code(byte.into())).collect(),
        _ => {
            let pairs = bytes.chunks_exact(2);
            pairs.map(|pair| code(u16::from_le_bytes([pair[0], pair[1]]))).collect()
        }
    }
}

/// From one plane a colour to three bytes a pixel.
fn interleave(planes: &[u8]) -> Vec<u8> {
    let length = planes.len() / 3;
    let (red, rest) = planes.split_at(length);
    let (green, blue) = rest.split_at(length);
    let pixels = red.iter().zip(green).zip(blue);
    pixels.flat_map(|((&red, &green), &blue)| [red, green, blue]).collect()
}
