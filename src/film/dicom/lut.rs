//! Modality LUT, VOI LUT and polarity as one table from stored code to grey (PS3.3 C.11.1,
//! C.11.2, C.11.6), applied to all pixels at once.

use super::attributes::{self as tag, Attributes};
use super::pixels::{Photometric, PixelFormat};
use super::{Note, undecodable};
use crate::event::Rejection;

/// From stored value to modality value.
enum Modality {
    Rescale { slope: f64, intercept: f64 },
    Table(Lut),
}

/// From modality value to grey, 0..=255.
enum Voi {
    Linear {
        center: f64,
        width: f64,
    },
    LinearExact {
        center: f64,
        width: f64,
    },
    Sigmoid {
        center: f64,
        width: f64,
    },
    Table(Lut),
    /// The values from `least` to `most`, spread evenly.
    Range {
        least: f64,
        most: f64,
    },
}

/// A LUT as DICOM writes it (PS3.3 C.11.1.1.1).
struct Lut {
    /// The value that the first entry is for.
    first: f64,
    entries: Vec<u16>,
    /// The largest number an entry can hold.
    full: f64,
}

/// Stored values that are no picture, inclusive (PS3.3 C.7.5.1.1.2).
struct Padding {
    least: i32,
    most: i32,
}

/// Grey pixels with bone bright, 0..=255, from stored codes.
pub(super) fn to_grey(
    attributes: &Attributes<'_>,
    format: &PixelFormat,
    codes: &[u16],
    notes: &mut Vec<Note>,
) -> Result<Vec<u8>, Rejection> {
    let modality = modality(attributes, format)?;
    let padding = padding(attributes, format)?;
    let is_padding = |stored| padding.as_ref().is_some_and(|padding| padding.has(stored));
    let value = |code: u16| modality.apply(f64::from(stored_value(code, format)));
    let voi = match voi(attributes, format)? {
        Some(voi) => voi,
        None if format.bits_stored <= 8 => {
            // Eight bits are display values already. A table's output may not be: so ask it.
            let least = least_stored(format);
            let ends = [least, least + (1 << format.bits_stored) - 1];
            let ends = ends.map(|end| modality.apply(f64::from(end)));
            Voi::Range { least: ends[0].min(ends[1]), most: ends[0].max(ends[1]) }
        }
        None => {
            notes.push(Note::NoWindow);
            used_range(codes, format, |code| {
                (!is_padding(stored_value(code, format))).then(|| value(code))
            })
        }
    };
    let invert = inverted(attributes, format, notes)?;
    let grey = |code: u32| {
        let code = code as u16;
        if is_padding(stored_value(code, format)) {
            return 0;
        }
        let grey = (voi.apply(value(code)).clamp(0.0, 255.0) + 0.5) as u8;
        if invert { 255 - grey } else { grey }
    };
    let table: Vec<u8> = (0..1u32 << format.bits_stored).map(grey).collect();
    Ok(codes.iter().map(|&code| table.get(usize::from(code)).copied().unwrap_or(0)).collect())
}

/// Two's complement of `bits_stored` bits where the samples are signed.
fn stored_value(code: u16, format: &PixelFormat) -> i32 {
    let code = i32::from(code);
    let sign = 1i32 << (format.bits_stored - 1);
    if format.signed && code & sign != 0 { code - 2 * sign } else { code }
}

fn least_stored(format: &PixelFormat) -> i32 {
    if format.signed { -(1 << (format.bits_stored - 1)) } else { 0 }
}

fn modality(attributes: &Attributes<'_>, format: &PixelFormat) -> Result<Modality, Rejection> {
    if let Some(item) = attributes.first_item(tag::MODALITY_LUT)? {
        return Ok(Modality::Table(Lut::read(&item, format.signed)?));
    }
    let slope = attributes.decimal(tag::RESCALE_SLOPE)?.unwrap_or(1.0);
    let intercept = attributes.decimal(tag::RESCALE_INTERCEPT)?.unwrap_or(0.0);
    Ok(Modality::Rescale { slope, intercept })
}

/// The first VOI LUT, else the first window; `None` without either. Several are alternatives
/// of the same rank, and the first is what viewers show first.
fn voi(attributes: &Attributes<'_>, format: &PixelFormat) -> Result<Option<Voi>, Rejection> {
    if let Some(item) = attributes.first_item(tag::VOI_LUT)? {
        let intercept = attributes.decimal(tag::RESCALE_INTERCEPT)?;
        let signed = format.signed || intercept.is_some_and(|intercept| intercept < 0.0);
        return Ok(Some(Voi::Table(Lut::read(&item, signed)?)));
    }
    let center = attributes.decimal(tag::WINDOW_CENTER)?;
    let width = attributes.decimal(tag::WINDOW_WIDTH)?;
    let (Some(center), Some(width)) = (center, width) else { return Ok(None) };
    let function = attributes.text(tag::VOI_FUNCTION)?.unwrap_or("LINEAR");
    match function {
        "LINEAR" if width >= 1.0 => Ok(Some(Voi::Linear { center, width })),
        "LINEAR_EXACT" if width > 0.0 => Ok(Some(Voi::LinearExact { center, width })),
        "SIGMOID" if width > 0.0 => Ok(Some(Voi::Sigmoid { center, width })),
        _ => Err(undecodable("a window of no width, or an unknown VOI LUT function")),
    }
}

/// The least and the greatest modality value in use.
fn used_range(codes: &[u16], format: &PixelFormat, value: impl Fn(u16) -> Option<f64>) -> Voi {
    let mut used = vec![false; 1 << format.bits_stored];
    for &code in codes {
        if let Some(used) = used.get_mut(usize::from(code)) {
            *used = true;
        }
    }
    let codes = (0..=u16::MAX).zip(used).filter(|(_, used)| *used);
    let values = codes.filter_map(|(code, _)| value(code));
    let (least, most) = values
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(least, most), v| (least.min(v), most.max(v)));
    Voi::Range { least, most }
}

/// Whether grey values must be turned over. Presentation LUT Shape is the newer attribute and
/// belongs to the whole pipeline's end, so it decides where the two disagree.
fn inverted(
    attributes: &Attributes<'_>,
    format: &PixelFormat,
    notes: &mut Vec<Note>,
) -> Result<bool, Rejection> {
    let by_photometric = format.photometric == Photometric::Monochrome1;
    let by_shape = match attributes.text(tag::PRESENTATION_SHAPE)? {
        Some("INVERSE") => true,
        Some("IDENTITY") => false,
        _ => by_photometric,
    };
    if by_shape != by_photometric {
        notes.push(Note::PolarityContradicted);
    }
    Ok(by_shape)
}

fn padding(
    attributes: &Attributes<'_>,
    format: &PixelFormat,
) -> Result<Option<Padding>, Rejection> {
    let stored = |word: u16| {
        if format.signed { i32::from(word as i16) } else { i32::from(word) }
    };
    let Some(value) = attributes.word(tag::PADDING_VALUE)?.map(stored) else { return Ok(None) };
    let limit = attributes.word(tag::PADDING_LIMIT)?.map_or(value, stored);
    Ok(Some(Padding { least: value.min(limit), most: value.max(limit) }))
}

impl Padding {
    fn has(&self, stored: i32) -> bool {
        (self.least..=self.most).contains(&stored)
    }
}

impl Modality {
    fn apply(&self, stored: f64) -> f64 {
        match self {
            Modality::Rescale { slope, intercept } => stored * slope + intercept,
            Modality::Table(lut) => lut.get(stored),
        }
    }
}

impl Voi {
    /// Grey of a modality value; may lie outside 0..=255, never NaN for a finite value.
    fn apply(&self, value: f64) -> f64 {
        match *self {
            // PS3.3 C.11.2.1.2.1: the window's first and last value are 0 and 255.
            Voi::Linear { center, width } if width > 1.0 => {
                ((value - (center - 0.5)) / (width - 1.0) + 0.5) * 255.0
            }
            Voi::Linear { center, .. } => f64::from(u8::from(value > center - 0.5)) * 255.0,
            Voi::LinearExact { center, width } => ((value - center) / width + 0.5) * 255.0,
            Voi::Sigmoid { center, width } => {
                255.0 / (1.0 + (-4.0 * (value - center) / width).exp())
            }
            Voi::Table(ref lut) => lut.get(value) / lut.full * 255.0,
            Voi::Range { least, most } if most > least => (value - least) / (most - least) * 255.0,
            Voi::Range { .. } => 0.0,
        }
    }
}

impl Lut {
    fn read(item: &Attributes<'_>, signed: bool) -> Result<Self, Rejection> {
        let descriptor = item.words(tag::LUT_DESCRIPTOR);
        let Some(&[length, first, bits]) = descriptor.as_deref() else {
            return Err(undecodable("a LUT without a descriptor of three words"));
        };
        let length = if length == 0 { 1 << 16 } else { usize::from(length) };
        let first = if signed { f64::from(first as i16) } else { f64::from(first) };
        let data = item.element(tag::LUT_DATA).map(|element| element.value).unwrap_or_default();
        // Entries of 8 bits may be packed two to a word.
        let entries: Vec<u16> = if bits == 8 && data.len() < 2 * length {
            data.iter().take(length).map(|&byte| byte.into()).collect()
        } else {
            let pairs = data.chunks_exact(2).take(length);
            pairs.map(|pair| u16::from_le_bytes([pair[0], pair[1]])).collect()
        };
        if entries.len() != length || !(8..=16).contains(&bits) {
            return Err(undecodable("a LUT with fewer entries than its descriptor says"));
        }
        Ok(Lut { first, entries, full: f64::from((1u32 << bits) - 1) })
    }

    /// Values outside the table take its first or last entry.
    fn get(&self, value: f64) -> f64 {
        let last = self.entries.len().saturating_sub(1);
        // The cast saturates: what lies below 0 becomes 0.
        let index = ((value - self.first).round() as usize).min(last);
        self.entries.get(index).copied().map_or(0.0, f64::from)
    }
}
