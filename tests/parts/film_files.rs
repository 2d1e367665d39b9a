//! Films as files of DICOM, and the desk of an edge that hears DICOM and HL7.

use std::path::Path;
use std::sync::OnceLock;

use dicom_core::{DataElement, PrimitiveValue, Tag, VR, dicom_value};
use dicom_dictionary_std::{tags, uids};
use dicom_object::{FileMetaTableBuilder, InMemDicomObject};
use nowcxr::edge::{self, Language, LocalSink};
use nowcxr::event::{FILM_SIDE, PreparedFilm, ViewPosition};
use nowcxr::film::{Declared, prepare};
use nowcxr::store::sled::{SledStore, StoreOptions};
use nowcxr::transport::local::LocalLog;

use super::world::{LocalDesk, config, secret};

/// The SOP class of films.
pub const FILM: &str = uids::DIGITAL_X_RAY_IMAGE_STORAGE_FOR_PRESENTATION;
pub const EXPLICIT: &str = "1.2.840.10008.1.2.1";
pub const IMPLICIT: &str = "1.2.840.10008.1.2";

/// The feeds of an edge that brings films.
pub const FEEDS: &str = r#"feeds.list=[
    {name="stay",topic="stay"}, {name="lab",topic="lab"}, {name="vital",topic="vital"},
    {name="imaging",topic="imaging"},
]"#;

pub fn desk(dir: &Path, log: &LocalLog, more: &[&str]) -> LocalDesk {
    let config = config(&[&[FEEDS], more].concat());
    let (store, _) = SledStore::open(dir.join("edge"), &StoreOptions::default()).unwrap();
    let sink = LocalSink::open(log, None).unwrap();
    let languages = [Language::Hl7, Language::Dicom];
    edge::open(&languages, &config, secret(&config), store, sink).unwrap()
}

/// A film's data set, without its file's head.
#[derive(Clone)]
pub struct File(pub InMemDicomObject);

impl File {
    /// An AP film of patient 7 of the authority H, taken at 08:30 UTC.
    pub fn new(instance: &str) -> Self {
        let pixels = PrimitiveValue::from(film().pixels().to_vec());
        let side = FILM_SIDE as u16;
        let word = |tag, word: u16| DataElement::new(tag, VR::US, dicom_value!(U16, [word]));
        let mut set = InMemDicomObject::new_empty();
        for (tag, number) in [
            (tags::SAMPLES_PER_PIXEL, 1),
            (tags::ROWS, side),
            (tags::COLUMNS, side),
            (tags::BITS_ALLOCATED, 8),
            (tags::BITS_STORED, 8),
            (tags::HIGH_BIT, 7),
            (tags::PIXEL_REPRESENTATION, 0),
        ] {
            set.put(word(tag, number));
        }
        set.put(DataElement::new(tags::PIXEL_DATA, VR::OB, pixels));
        File(set)
            .with(tags::SOP_CLASS_UID, VR::UI, FILM)
            .with(tags::SOP_INSTANCE_UID, VR::UI, instance)
            .with(tags::MODALITY, VR::CS, "DX")
            .with(tags::BODY_PART_EXAMINED, VR::CS, "CHEST")
            .with(tags::VIEW_POSITION, VR::CS, "AP")
            .with(tags::PHOTOMETRIC_INTERPRETATION, VR::CS, "MONOCHROME2")
            .with(tags::PATIENT_NAME, VR::PN, "MUSTER^ERIKA")
            .with(tags::PATIENT_ID, VR::LO, "7")
            .with(tags::ISSUER_OF_PATIENT_ID, VR::LO, "H")
            .with(tags::ACQUISITION_DATE, VR::DA, "20260301")
            .with(tags::ACQUISITION_TIME, VR::TM, "083000.000000")
            .with(tags::STUDY_DATE, VR::DA, "20260228")
    }

    #[must_use]
    pub fn with(mut self, tag: Tag, vr: VR, text: &str) -> Self {
        self.0.put(DataElement::new(tag, vr, PrimitiveValue::from(text)));
        self
    }

    #[must_use]
    pub fn without(mut self, tag: Tag) -> Self {
        self.0.remove_element(tag);
        self
    }

    /// The data set in a transfer syntax that peers send it in.
    pub fn data_set(&self, syntax: &str) -> Vec<u8> {
        use dicom_transfer_syntax_registry::entries;
        let syntax = match syntax {
            IMPLICIT => entries::IMPLICIT_VR_LITTLE_ENDIAN.erased(),
            _ => entries::EXPLICIT_VR_LITTLE_ENDIAN.erased(),
        };
        let mut bytes = Vec::new();
        self.0.write_dataset_with_ts(&mut bytes, &syntax).unwrap();
        bytes
    }

    /// The whole file (PS3.10).
    pub fn bytes(&self) -> Vec<u8> {
        let meta = FileMetaTableBuilder::new()
            .media_storage_sop_class_uid(FILM)
            .media_storage_sop_instance_uid("1.2.3")
            .transfer_syntax(EXPLICIT)
            .build()
            .unwrap();
        let mut bytes = [&[0; 128][..], b"DICM"].concat();
        meta.write(&mut bytes).unwrap();
        bytes.extend(self.data_set(EXPLICIT));
        bytes
    }
}

/// An AP film of the synthetic ward, as the model sees it.
pub fn film() -> &'static PreparedFilm {
    static FILM: OnceLock<PreparedFilm> = OnceLock::new();
    FILM.get_or_init(|| {
        let films = (0..20).flat_map(|number| nowcxr::synth::stay(1, number, 256).unwrap().films);
        let ap = Declared { view: Some(ViewPosition::Ap), ..Declared::default() };
        films
            .filter(|film| film.view == Some(ViewPosition::Ap))
            .find_map(|film| Some(prepare(&film.jpeg, ap).ok()?.film))
            .expect("a good AP film among twenty stays")
    })
}
