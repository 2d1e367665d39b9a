//! From the bytes of a chest film to the 224 × 224 grey pixels that the model knows, or to the
//! reason why not.
//!
//! The path is that of the reference (`reference/ddl-cxr.md` 1.10; `reference/clinical.md` 2.3):
//! recognise the format by content, hold the named limits before anything is allocated, decode,
//! for DICOM apply Modality LUT → VOI LUT → inversion in this order, make grey, resize the short
//! side to 224 as PIL does, crop the centre. Two gates stand in the way: the model was trained on
//! AP films only, and what is no chest film at all must not become the newest film of a stay.
//!
//! Everything here is a pure function of its arguments and total: whatever the bytes are, the
//! answer is a film or a [`Rejection`]. Decoders that we did not write run under
//! [`guard::caught`], so the process must be built with unwinding panics (Cargo's default).

mod codestream;
mod dicom;
mod font;
mod gate;
mod guard;
mod likeness;
mod mark;
pub mod png;
mod raster;
mod resize;
mod secondary_capture;

use crate::event::{FILM_SIDE, PreparedFilm, Reason, Rejection, ViewPosition};

pub use dicom::{FILM_CLASSES, MAX_REJECTED, NOTE_CLASS, Origin, SYNTAXES, origin, rejected};
pub use gate::{Statistics, UnknownView};
pub use mark::{MARK_LINES, MARKED_SIDE, mark_drawn, mark_synthetic};
pub use secondary_capture::{ExportError, GeneratedFilm, secondary_capture};

/// A grey picture of another size as 224 × 224 pixels; `None` unless there are width × height
/// pixels. For pictures that are shown: nothing is judged.
pub fn to_film_side(pixels: &[u8], width: usize, height: usize) -> Option<Vec<u8>> {
    let whole = width > 0 && height > 0 && pixels.len() == width * height;
    let grey = whole.then(|| Grey { width, height, pixels: pixels.to_vec() })?;
    Some(resize::short_side_and_crop(&grey, FILM_SIDE))
}

/// Encoded bytes of one film. A 15 Mpx detector's uncompressed 16-bit film fits.
pub const MAX_ENCODED_BYTES: usize = 32 * 1024 * 1024;

/// Pixels of one film, checked in its header before memory is taken. The largest detectors in
/// use have about 18 Mpx.
pub const MAX_PIXELS: usize = 24 * 1024 * 1024;

/// What is known about a film from outside its bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Declared {
    /// The view that the imaging record names; `None` where it names none.
    pub view: Option<ViewPosition>,
    /// What to do where neither record nor file names a view.
    pub unknown_view: UnknownView,
}

/// A film that passed both gates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prepared {
    pub film: PreparedFilm,
    /// [`ViewPosition::Ap`], or [`ViewPosition::Unknown`] where the policy accepts that.
    pub view: ViewPosition,
    /// What a person should know about this film, each at most once, in a fixed order.
    pub notes: Vec<Note>,
}

/// Something about an accepted film that is not as one would wish.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Note {
    /// Nobody named the view; the policy let it pass.
    ViewUnknown,
    /// DICOM without modality or body part: the gate judged by the pixels alone.
    NotDeclaredChest,
    /// Secondary capture: a copy of a film, of unknown history.
    SecondaryCapture,
    /// More than 8 bits and neither window nor VOI LUT: the used range was spread over 8 bits.
    NoWindow,
    /// MONOCHROME1 or 2 says the opposite of Presentation LUT Shape; the shape was followed.
    PolarityContradicted,
    /// The pixels do not tell clearly that bone is bright.
    PolarityDoubtful,
    /// The short side has fewer than 224 pixels: the film was enlarged.
    LowResolution,
    /// The film had colours; their luma was used.
    Colour,
}

impl Note {
    /// What metrics, views and reports print.
    pub const fn code(self) -> &'static str {
        match self {
            Note::ViewUnknown => "view_unknown",
            Note::NotDeclaredChest => "not_declared_chest",
            Note::SecondaryCapture => "secondary_capture",
            Note::NoWindow => "no_window",
            Note::PolarityContradicted => "polarity_contradicted",
            Note::PolarityDoubtful => "polarity_doubtful",
            Note::LowResolution => "low_resolution",
            Note::Colour => "colour",
        }
    }
}

/// The formats that films come in, recognised by content and never by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Jpeg,
    Png,
    Dicom,
}

/// Grey pixels row by row, 0 black, and how they came to be.
struct Decoded {
    grey: Grey,
    view: Option<ViewPosition>,
    notes: Vec<Note>,
}

/// `width` × `height` grey pixels, row by row; neither side is 0.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Grey {
    width: usize,
    height: usize,
    pixels: Vec<u8>,
}

impl Grey {
    /// `None` unless there are `width` × `height` pixels, at least one.
    fn new(width: usize, height: usize, pixels: Vec<u8>) -> Option<Self> {
        let fits = width.checked_mul(height) == Some(pixels.len());
        (fits && !pixels.is_empty()).then_some(Grey { width, height, pixels })
    }
}

/// Decodes a film and makes it what the model expects.
///
/// # Errors
/// A [`Rejection`] whose reason is one of `film_too_large`, `film_undecodable`, `film_view`,
/// `film_not_chest`. It names no patient and holds no text from the file except codes.
pub fn prepare(bytes: &[u8], declared: Declared) -> Result<Prepared, Rejection> {
    if bytes.len() > MAX_ENCODED_BYTES {
        let detail = format!("{} bytes, {MAX_ENCODED_BYTES} allowed", bytes.len());
        return Err(Rejection::new(Reason::FilmTooLarge, detail));
    }
    let Decoded { grey, view, mut notes } = decode(bytes, declared)?;
    let view = gate::view(declared, view)?;
    if view == ViewPosition::Unknown {
        notes.push(Note::ViewUnknown);
    }
    gate::shape(grey.width, grey.height)?;
    if grey.width.min(grey.height) < FILM_SIDE {
        notes.push(Note::LowResolution);
    }
    let pixels = resize::short_side_and_crop(&grey, FILM_SIDE);
    notes.extend(gate::pixels(&Statistics::of(&pixels))?);
    notes.sort_unstable();
    notes.dedup();
    let film = PreparedFilm::new(pixels)
        .ok_or_else(|| undecodable("the film could not be resized; report this"))?;
    Ok(Prepared { film, view, notes })
}

fn decode(bytes: &[u8], declared: Declared) -> Result<Decoded, Rejection> {
    match sniff(bytes) {
        Some(Format::Jpeg) => raster::jpeg(bytes),
        Some(Format::Png) => raster::png(bytes),
        Some(Format::Dicom) => dicom::decode(bytes, declared),
        None => Err(undecodable("neither JPEG nor PNG nor DICOM; send one of these")),
    }
}

fn sniff(bytes: &[u8]) -> Option<Format> {
    if bytes.starts_with(&[0xff, 0xd8, 0xff]) {
        Some(Format::Jpeg)
    } else if bytes.starts_with(b"\x89PNG\r\n\x1a\n") {
        Some(Format::Png)
    } else if bytes.get(128..132) == Some(b"DICM") {
        Some(Format::Dicom)
    } else {
        None
    }
}

/// Checks a film's sides against [`MAX_PIXELS`] before memory is taken for it.
fn within_limits(width: usize, height: usize) -> Result<(), Rejection> {
    match width.checked_mul(height) {
        Some(0) => Err(undecodable("the film has no pixels")),
        Some(n) if n <= MAX_PIXELS => Ok(()),
        _ => {
            let detail = format!("{width} x {height} pixels, {MAX_PIXELS} allowed");
            Err(Rejection::new(Reason::FilmTooLarge, detail))
        }
    }
}

fn undecodable(detail: impl Into<String>) -> Rejection {
    Rejection::new(Reason::FilmUndecodable, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reason(bytes: &[u8]) -> Reason {
        prepare(bytes, Declared { view: Some(ViewPosition::Ap), ..Declared::default() })
            .expect_err("these bytes are no film")
            .reason
    }

    #[test]
    fn too_many_bytes_are_refused_whatever_they_are() {
        assert_eq!(reason(&vec![0; 50 * 1024 * 1024]), Reason::FilmTooLarge);
    }

    #[test]
    fn a_huge_png_is_refused_by_its_header() {
        let mut bytes = b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR".to_vec();
        bytes.extend(100_000u32.to_be_bytes());
        bytes.extend(100_000u32.to_be_bytes());
        bytes.extend([8, 0, 0, 0, 0]);
        assert_eq!(reason(&bytes), Reason::FilmTooLarge);
    }

    #[test]
    fn a_huge_jpeg_is_refused_by_its_header() {
        let bytes =
            [0xff, 0xd8, 0xff, 0xc0, 0, 11, 8, 0xff, 0xff, 0xff, 0xff, 1, 1, 0x11, 0, 0xff, 0xd9];
        assert_eq!(reason(&bytes), Reason::FilmTooLarge);
    }

    #[test]
    fn other_bytes_are_undecodable() {
        for bytes in [&b""[..], b"GIF89a", &[0u8; 200]] {
            assert_eq!(reason(bytes), Reason::FilmUndecodable);
        }
    }
}
