//! Films as DICOM files (PS3.5, PS3.10), with the pixel pipeline of PS3.3 C.11 in its order:
//! Modality LUT, VOI LUT, then inversion. Inverting before the window is the classic mistake.
//!
//! The file is cut into elements by [`dataset`], which is ours: the library's parser calls itself
//! for each nested sequence, so a small hostile file could end the process by its stack, and that
//! no guard can catch. The library's objects and codecs get the few elements that a film needs,
//! checked.

mod attributes;
mod dataset;
mod lut;
mod origin;
mod pixels;
mod rejection_note;

use std::borrow::Cow;

use self::attributes::Attributes;
use self::dataset::{Encoding, elements};
use super::{Declared, Decoded, Grey, Note, gate, undecodable, within_limits};
use crate::event::{Reason, Rejection};

pub use origin::{Origin, origin};
pub use rejection_note::{FILM_CLASSES, MAX_REJECTED, NOTE_CLASS, rejected};

/// Bytes of a data set after inflation.
const MAX_DATASET_BYTES: usize = 2 * super::MAX_ENCODED_BYTES;

/// Preamble and magic word.
const META_START: usize = 132;

/// The transfer syntaxes that films are accepted in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Syntax {
    ImplicitLittleEndian,
    ExplicitLittleEndian,
    Deflated,
    Jpeg,
    Jpeg2000,
    Rle,
}

/// The transfer syntaxes of films, the ones that lose nothing and cost least first.
pub const SYNTAXES: [&str; 10] = [
    "1.2.840.10008.1.2.1",
    "1.2.840.10008.1.2",
    "1.2.840.10008.1.2.1.99",
    "1.2.840.10008.1.2.5",
    "1.2.840.10008.1.2.4.70",
    "1.2.840.10008.1.2.4.57",
    "1.2.840.10008.1.2.4.90",
    "1.2.840.10008.1.2.4.91",
    "1.2.840.10008.1.2.4.50",
    "1.2.840.10008.1.2.4.51",
];

impl Syntax {
    fn from_uid(uid: &str) -> Option<Self> {
        Some(match uid {
            "1.2.840.10008.1.2" => Syntax::ImplicitLittleEndian,
            "1.2.840.10008.1.2.1" => Syntax::ExplicitLittleEndian,
            "1.2.840.10008.1.2.1.99" => Syntax::Deflated,
            "1.2.840.10008.1.2.4.50" | "1.2.840.10008.1.2.4.51" => Syntax::Jpeg,
            "1.2.840.10008.1.2.4.57" | "1.2.840.10008.1.2.4.70" => Syntax::Jpeg,
            "1.2.840.10008.1.2.4.90" | "1.2.840.10008.1.2.4.91" => Syntax::Jpeg2000,
            "1.2.840.10008.1.2.5" => Syntax::Rle,
            _ => return None,
        })
    }
}

/// A data set taken out of its file, inflated where it was deflated.
struct DataSet<'a> {
    /// Its transfer syntax.
    uid: String,
    syntax: Syntax,
    body: Cow<'a, [u8]>,
    encoding: Encoding,
}

impl<'a> DataSet<'a> {
    /// Of a file that starts with its preamble.
    fn of(bytes: &'a [u8]) -> Result<Self, Rejection> {
        let (uid, start) = transfer_syntax(bytes)?;
        let syntax = Syntax::from_uid(&uid).ok_or_else(|| {
            let advice = "send explicit little endian";
            undecodable(format!("transfer syntax {uid} is not supported; {advice}"))
        })?;
        let rest = bytes.get(start..).unwrap_or_default();
        let (body, encoding) = match syntax {
            Syntax::ImplicitLittleEndian => (Cow::Borrowed(rest), Encoding::Implicit),
            Syntax::Deflated => (Cow::Owned(inflate(rest)?), Encoding::Explicit),
            _ => (Cow::Borrowed(rest), Encoding::Explicit),
        };
        Ok(DataSet { uid, syntax, body, encoding })
    }

    fn attributes(&self) -> Result<Attributes<'_>, Rejection> {
        Ok(Attributes::new(elements(&self.body, self.encoding)?, self.encoding))
    }
}

/// Decodes a DICOM file that starts with its preamble.
pub(super) fn decode(bytes: &[u8], declared: Declared) -> Result<Decoded, Rejection> {
    let data_set = DataSet::of(bytes)?;
    let attributes = data_set.attributes()?;
    let mut notes = admissible(&attributes)?;
    let view = attributes.view()?;
    // The view is known before any pixel is decoded, and most refusals are for the view.
    gate::view(declared, view)?;
    let format = pixels::PixelFormat::read(&attributes)?;
    within_limits(format.columns, format.rows)?;
    gate::shape(format.columns, format.rows)?;
    let samples = pixels::samples(&attributes, &format, data_set.syntax, &data_set.uid)?;
    let grey = match samples {
        pixels::Samples::Grey(codes) => lut::to_grey(&attributes, &format, &codes, &mut notes)?,
        pixels::Samples::Rgb(rgb) => {
            if super::raster::coloured_share(&rgb) > 0.0 {
                let detail = "a radiograph in colour is a copy of something else";
                return Err(Rejection::new(Reason::FilmNotChest, detail));
            }
            notes.push(Note::Colour);
            super::raster::luma(&rgb)
        }
    };
    let grey = Grey::new(format.columns, format.rows, grey);
    let grey = grey.ok_or_else(|| undecodable("fewer pixels than Rows x Columns"))?;
    Ok(Decoded { grey, view, notes })
}

/// The transfer syntax in the file meta group, which is always explicit little endian, and where
/// the data set starts.
fn transfer_syntax(bytes: &[u8]) -> Result<(String, usize), Rejection> {
    let meta = bytes.get(META_START..).unwrap_or_default();
    let (elements, length) = dataset::meta_group(meta)?;
    let uid = Attributes::new(elements, Encoding::Explicit).text(attributes::TRANSFER_SYNTAX)?;
    let uid = uid.filter(|uid| uid.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.'));
    let uid = uid.ok_or_else(|| undecodable("the DICOM file names no transfer syntax"))?;
    Ok((uid.to_owned(), META_START + length))
}

/// Raw deflate (PS3.5 A.5), held to [`MAX_DATASET_BYTES`].
fn inflate(bytes: &[u8]) -> Result<Vec<u8>, Rejection> {
    use std::io::Read as _;
    let mut inflated = Vec::new();
    let limit = MAX_DATASET_BYTES as u64 + 1;
    super::guard::caught("deflate", || {
        flate2::read::DeflateDecoder::new(bytes).take(limit).read_to_end(&mut inflated)
    })?;
    if inflated.len() > MAX_DATASET_BYTES {
        let detail = format!("inflates to more than {MAX_DATASET_BYTES} bytes");
        return Err(Rejection::new(Reason::FilmTooLarge, detail));
    }
    Ok(inflated)
}

/// The gate on what the file says of itself: a CR or DX of a chest, of a patient.
fn admissible(attributes: &Attributes<'_>) -> Result<Vec<Note>, Rejection> {
    let refuse = |detail: String| Err(Rejection::new(Reason::FilmNotChest, detail));
    let mut notes = Vec::new();
    if attributes.text(attributes::SYNTHETIC_DATA)? == Some("YES") {
        return refuse("Synthetic Data is YES: a generated film must not be read as one".into());
    }
    let modality = attributes.text(attributes::MODALITY)?;
    match modality {
        Some("CR" | "DX") => {}
        Some(_) => return refuse("the modality is neither CR nor DX".into()),
        None => notes.push(Note::NotDeclaredChest),
    }
    let part = attributes.text(attributes::BODY_PART)?.map(|part| part.replace(' ', ""));
    match part.as_deref() {
        Some("CHEST" | "THORAX" | "PORTCHEST" | "CHESTPORT") => {}
        Some(_) => return refuse("the body part is not CHEST".into()),
        None => notes.push(Note::NotDeclaredChest),
    }
    if attributes.text(attributes::SOP_CLASS)?.is_some_and(attributes::is_secondary_capture) {
        notes.push(Note::SecondaryCapture);
    }
    Ok(notes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_syntax_that_peers_are_offered_is_read() {
        for (n, uid) in SYNTAXES.iter().enumerate() {
            assert!(Syntax::from_uid(uid).is_some(), "{uid}");
            assert!(!SYNTAXES[..n].contains(uid), "{uid} twice");
        }
    }
}
