//! Rejection notes: key object selections (PS3.3 A.35.4) by which an archive says that films no
//! longer hold (IHE RAD, Imaging Object Change Management, 4.66.4.1.3.1).

use dicom_dictionary_std::uids;

use super::attributes::{Attributes, SOP_CLASS};
use super::dataset::Tag;
use super::{DataSet, undecodable};
use crate::event::{Reason, Rejection};

/// The SOP classes of films: computed and digital radiographs for presentation.
pub const FILM_CLASSES: [&str; 2] =
    [uids::COMPUTED_RADIOGRAPHY_IMAGE_STORAGE, uids::DIGITAL_X_RAY_IMAGE_STORAGE_FOR_PRESENTATION];
/// That of rejection notes, and of other selections.
pub const NOTE_CLASS: &str = uids::KEY_OBJECT_SELECTION_DOCUMENT_STORAGE;
/// Films that one note may reject.
pub const MAX_REJECTED: usize = 64;

/// Titles of notes (CID 7011): for quality, for the patient's safety, a wrong worklist entry, and
/// the end of retention.
const TITLES: [&str; 4] = ["113001", "113037", "113038", "113039"];
const SCHEME: &str = "DCM";

const REFERENCED_CLASS: Tag = Tag(0x0008, 0x1150);
const REFERENCED_INSTANCE: Tag = Tag(0x0008, 0x1155);
const REFERENCED: Tag = Tag(0x0008, 0x1199);
const CODE: Tag = Tag(0x0008, 0x0100);
const CODE_SCHEME: Tag = Tag(0x0008, 0x0102);
const TITLE: Tag = Tag(0x0040, 0xa043);
const CONTENT: Tag = Tag(0x0040, 0xa730);

/// The SOP Instance UIDs of the films that a note rejects, in its order.
///
/// # Errors
/// `unsupported` where it is a selection of another kind, or rejects no film; `too_many` where it
/// rejects more than [`MAX_REJECTED`]; `film_undecodable` where it cannot be read.
pub fn rejected(bytes: &[u8]) -> Result<Vec<String>, Rejection> {
    let data_set = DataSet::of(bytes)?;
    let attributes = data_set.attributes()?;
    if attributes.text(SOP_CLASS)? != Some(NOTE_CLASS) {
        return Err(undecodable("it is no key object selection"));
    }
    let unsupported = |detail: &str| Err(Rejection::new(Reason::Unsupported, detail));
    if !is_note(&attributes)? {
        return unsupported("the key object selection rejects nothing, by its title");
    }
    let mut films = Vec::new();
    for item in attributes.items(CONTENT)? {
        for film in item.items(REFERENCED)? {
            let is_film = film.text(REFERENCED_CLASS)?.is_some_and(|c| FILM_CLASSES.contains(&c));
            if !is_film {
                continue;
            }
            let instance = film.text(REFERENCED_INSTANCE)?;
            let unnamed = || undecodable("the key object selection names a film without its UID");
            films.push(instance.ok_or_else(unnamed)?.to_owned());
            if films.len() > MAX_REJECTED {
                let detail = format!("a rejection note may name {MAX_REJECTED} films");
                return Err(Rejection::new(Reason::TooMany, detail));
            }
        }
    }
    match films.is_empty() {
        true => unsupported("the rejection note names no film of CR or DX"),
        false => Ok(films),
    }
}

fn is_note(attributes: &Attributes<'_>) -> Result<bool, Rejection> {
    let Some(title) = attributes.first_item(TITLE)? else { return Ok(false) };
    let is_ours = title.text(CODE_SCHEME)? == Some(SCHEME);
    Ok(is_ours && title.text(CODE)?.is_some_and(|code| TITLES.contains(&code)))
}
