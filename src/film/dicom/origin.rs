//! Whose film a DICOM file is, and when it was taken: for a hospital's edge, and for it alone.
//!
//! These are the identifiers that the rest of this folder leaves alone. Whoever asks for them turns
//! them into keyed hashes at once (`reference/clinical.md` 2.5).

use super::DataSet;
use super::attributes::{Attributes, MODALITY, SOP_CLASS};
use super::dataset::Tag;
use crate::event::Rejection;
use crate::film::{Format, sniff, undecodable};

const SOP_INSTANCE: Tag = Tag(0x0008, 0x0018);
const ACQUISITION_DATE: Tag = Tag(0x0008, 0x0022);
const CONTENT_DATE: Tag = Tag(0x0008, 0x0023);
const ACQUISITION_DATE_TIME: Tag = Tag(0x0008, 0x002a);
const ACQUISITION_TIME: Tag = Tag(0x0008, 0x0032);
const CONTENT_TIME: Tag = Tag(0x0008, 0x0033);
const OFFSET_FROM_UTC: Tag = Tag(0x0008, 0x0201);
const PATIENT_ID: Tag = Tag(0x0010, 0x0020);
const ISSUER_OF_PATIENT_ID: Tag = Tag(0x0010, 0x0021);
const BURNED_IN_ANNOTATION: Tag = Tag(0x0028, 0x0301);
const ADMISSION_ID: Tag = Tag(0x0038, 0x0010);
const ISSUER_OF_ADMISSION_ID: Tag = Tag(0x0038, 0x0014);
const LOCAL_NAMESPACE: Tag = Tag(0x0040, 0x0031);

/// What a DICOM file says of its origin; absent and empty are the same.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    /// SOP Class UID and SOP Instance UID.
    pub class: Option<String>,
    pub instance: Option<String>,
    pub modality: Option<String>,
    /// Patient ID and its issuer.
    pub patient: Option<String>,
    pub patient_issuer: Option<String>,
    /// Admission ID and its issuer.
    pub visit: Option<String>,
    pub visit_issuer: Option<String>,
    /// When it was taken as `YYYYMMDDHHMMSS.F±ZZZZ`, each under its attribute's name, the most
    /// exact first. The date of the study is none of them: it may be the order's.
    pub taken: Vec<(&'static str, String)>,
    /// Whether its writer says that text which names the patient may be part of the pixels.
    pub is_burned_in: bool,
}

/// Reads the origin of a DICOM file (PS3.10); of its pixels nothing.
///
/// # Errors
/// `film_undecodable` where it is no DICOM file that can be read; `film_too_large` where it
/// inflates to too much.
pub fn origin(bytes: &[u8]) -> Result<Origin, Rejection> {
    if sniff(bytes) != Some(Format::Dicom) {
        return Err(undecodable("it does not begin as a DICOM file does"));
    }
    let data_set = DataSet::of(bytes)?;
    let attributes = data_set.attributes()?;
    let text = |tag| Ok::<_, Rejection>(attributes.text(tag)?.map(str::to_owned));
    let visit_issuer = match attributes.first_item(ISSUER_OF_ADMISSION_ID)? {
        Some(item) => item.text(LOCAL_NAMESPACE)?.map(str::to_owned),
        None => None,
    };
    Ok(Origin {
        class: text(SOP_CLASS)?,
        instance: text(SOP_INSTANCE)?,
        modality: text(MODALITY)?,
        patient: text(PATIENT_ID)?,
        patient_issuer: text(ISSUER_OF_PATIENT_ID)?,
        visit: text(ADMISSION_ID)?,
        visit_issuer,
        taken: taken(&attributes)?,
        is_burned_in: attributes.text(BURNED_IN_ANNOTATION)? == Some("YES"),
    })
}

fn taken(attributes: &Attributes<'_>) -> Result<Vec<(&'static str, String)>, Rejection> {
    let offset = attributes.text(OFFSET_FROM_UTC)?.unwrap_or_default();
    let mut found = Vec::new();
    let with_offset = |text: String| match text.contains(['+', '-']) {
        true => text,
        false => format!("{text}{offset}"),
    };
    if let Some(text) = attributes.text(ACQUISITION_DATE_TIME)? {
        found.push(("AcquisitionDateTime", with_offset(text.to_owned())));
    }
    let pairs = [
        ("AcquisitionDate and AcquisitionTime", ACQUISITION_DATE, ACQUISITION_TIME),
        ("ContentDate and ContentTime", CONTENT_DATE, CONTENT_TIME),
    ];
    for (name, date, time) in pairs {
        if let (Some(date), Some(time)) = (attributes.text(date)?, attributes.text(time)?) {
            found.push((name, with_offset(format!("{date}{time}"))));
        }
    }
    Ok(found)
}
