//! An edge that hears DICOM and HL7 at one desk, over a local log; a peer that sends it films; and
//! the films.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use dicom_core::value::DataSetSequence;
use dicom_core::{DataElement, PrimitiveValue, Tag, VR, dicom_value};
use dicom_dictionary_std::{tags, uids};
use dicom_object::{FileMetaTableBuilder, InMemDicomObject};
use dicom_ul::association::CloseSocket;
use dicom_ul::association::client::ClientAssociationOptions;
use dicom_ul::pdu::{PDataValue, PDataValueType};
use dicom_ul::{ClientAssociation, Pdu};
use nowcxr::edge::dicom::{Intake, scp};
use nowcxr::edge::hl7::server as mllp;
use nowcxr::edge::{self, Guard, Language, LocalSink};
use nowcxr::event::{FILM_SIDE, PreparedFilm, ViewPosition};
use nowcxr::film::{Declared, prepare};
use nowcxr::http::access::Access;
use nowcxr::http::dicomweb::{Receiver, routes};
use nowcxr::http::{Health, Server};
use nowcxr::store::sled::{SledStore, StoreOptions};
use nowcxr::time::WallTime;
use nowcxr::transport::local::LocalLog;

use super::fhir_site::MORNING;
use super::server::{admission, answers, send};
use super::world::{LocalDesk, config, secret};

pub const TITLE: &str = "NOWCXR";
/// The SOP classes of films and of rejection notes.
pub const FILM: &str = uids::DIGITAL_X_RAY_IMAGE_STORAGE_FOR_PRESENTATION;
const NOTE: &str = uids::KEY_OBJECT_SELECTION_DOCUMENT_STORAGE;
const EXPLICIT: &str = "1.2.840.10008.1.2.1";
const IMPLICIT: &str = "1.2.840.10008.1.2";

/// The feeds of an edge that brings films.
pub const FEEDS: &str = r#"feeds.list=[
    {name="stay",topic="stay"}, {name="lab",topic="lab"}, {name="vital",topic="vital"},
    {name="imaging",topic="imaging"},
]"#;

/// An edge that listens.
pub struct Site {
    pub dicom: SocketAddr,
    pub stow: SocketAddr,
    pub now: Arc<AtomicI64>,
    pub hl7: SocketAddr,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

pub fn desk(dir: &Path, log: &LocalLog, more: &[&str]) -> LocalDesk {
    let config = config(&[&[FEEDS], more].concat());
    let (store, _) = SledStore::open(dir.join("edge"), &StoreOptions::default()).unwrap();
    let sink = LocalSink::open(log, None).unwrap();
    let languages = [Language::Hl7, Language::Dicom];
    edge::open(&languages, &config, secret(&config), store, sink).unwrap()
}

impl Site {
    pub fn start(dir: &Path, log: &LocalLog, more: &[&str]) -> Self {
        let mut desk = desk(dir, log, more);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let (hatches, counter) = edge::counter();
        drop(hatches.fhir);
        let intake = Intake::new(hatches.dicom);
        let guard = Guard::open(config(more).edge.tls.as_ref()).unwrap();
        let listener = runtime.block_on(mllp::bind(any, hatches.hl7)).unwrap();
        let listener = listener.behind(guard.clone());
        let scp = runtime.block_on(scp::bind(any, TITLE, intake.clone())).unwrap().behind(guard);
        let routes = routes(Receiver::new(intake, Access::Open));
        let server = Server::bind(any, routes, Arc::new(Health::new()));
        let server = runtime.block_on(server).unwrap();
        let (hl7, dicom) = (listener.address().unwrap(), scp.address().unwrap());
        let stow = server.address();
        let (stop, now) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicI64::new(MORNING)));
        let (stops, clock) = (Arc::clone(&stop), Arc::clone(&now));
        let desk_thread = thread::spawn(move || {
            let clock = || WallTime::from_millis(clock.load(Ordering::Acquire));
            counter.run(&mut desk, clock, &stops).unwrap();
        });
        let stops = Arc::clone(&stop);
        let listening = thread::spawn(move || {
            let told = {
                let stops = Arc::clone(&stops);
                async move {
                    while !stops.load(Ordering::Acquire) {
                        tokio::time::sleep(Duration::from_millis(10)).await;
                    }
                }
            };
            runtime.block_on(async {
                let all = (listener.serve(&stops), scp.serve(&stops), server.run(told));
                tokio::join!(all.0, all.1, all.2).2.unwrap();
            });
        });
        Site { dicom, stow, now, hl7, stop, threads: vec![listening, desk_thread] }
    }

    /// Tells the edge of the admission of a patient, at 07:59, by HL7.
    pub fn admit(&self, who: u32) {
        let mut stream = TcpStream::connect(self.hl7).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        send(&mut stream, &admission(who, who, ""));
        assert_eq!(answers(&mut stream, 1), [format!("AA|{who}")]);
    }

    pub fn end(self) {
        self.stop.store(true, Ordering::Release);
        self.threads.into_iter().for_each(|thread| thread.join().unwrap());
    }
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

    /// A key object selection of patient 7 with a title of DCM, and the instances that it names.
    pub fn note(instance: &str, title: &str, named: &[(&str, &str)]) -> Self {
        let text = |tag, vr, text: &str| DataElement::new(tag, vr, PrimitiveValue::from(text));
        let sequence = |tag, items: Vec<InMemDicomObject>| {
            DataElement::new(tag, VR::SQ, DataSetSequence::from(items))
        };
        let of = |all: Vec<DataElement<_, _>>| InMemDicomObject::from_element_iter(all);
        let code = of(vec![
            text(tags::CODE_VALUE, VR::SH, title),
            text(tags::CODING_SCHEME_DESIGNATOR, VR::SH, "DCM"),
        ]);
        let image = |(class, instance): &(&str, &str)| {
            let referenced = of(vec![
                text(tags::REFERENCED_SOP_CLASS_UID, VR::UI, class),
                text(tags::REFERENCED_SOP_INSTANCE_UID, VR::UI, instance),
            ]);
            of(vec![
                text(tags::RELATIONSHIP_TYPE, VR::CS, "CONTAINS"),
                text(tags::VALUE_TYPE, VR::CS, "IMAGE"),
                sequence(tags::REFERENCED_SOP_SEQUENCE, vec![referenced]),
            ])
        };
        let words = of(vec![
            text(tags::VALUE_TYPE, VR::CS, "TEXT"),
            text(tags::TEXT_VALUE, VR::UT, "the wrong side"),
        ]);
        let content = std::iter::once(words).chain(named.iter().map(image)).collect();
        let mut set = InMemDicomObject::new_empty();
        set.put(sequence(tags::CONCEPT_NAME_CODE_SEQUENCE, vec![code]));
        set.put(sequence(tags::CONTENT_SEQUENCE, content));
        File(set)
            .with(tags::SOP_CLASS_UID, VR::UI, NOTE)
            .with(tags::SOP_INSTANCE_UID, VR::UI, instance)
            .with(tags::MODALITY, VR::CS, "KO")
            .with(tags::PATIENT_ID, VR::LO, "7")
            .with(tags::ISSUER_OF_PATIENT_ID, VR::LO, "H")
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
            .media_storage_sop_class_uid(uids::DIGITAL_X_RAY_IMAGE_STORAGE_FOR_PRESENTATION)
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

/// A peer that sends films.
pub struct Scu<S: CloseSocket + Read + Write = TcpStream> {
    association: ClientAssociation<S>,
    message: u16,
    /// The context in which it stores, and of what class.
    stores: (u8, &'static str),
}

/// What a peer asks for.
pub fn asks<'a>(title: &'a str, syntax: &'a str) -> ClientAssociationOptions<'a> {
    ClientAssociationOptions::new()
        .calling_ae_title("MODALITY")
        .called_ae_title(title)
        .read_timeout(Duration::from_secs(30))
        .with_presentation_context(FILM, vec![syntax])
        .with_presentation_context(uids::VERIFICATION, vec![IMPLICIT])
        .with_presentation_context(NOTE, vec![syntax])
}

impl Scu {
    /// `None` if the association, or a film in this transfer syntax, is not accepted.
    pub fn connect(address: SocketAddr, title: &str, syntax: &str) -> Option<Self> {
        Scu::over(asks(title, syntax).establish(address).ok()?)
    }

    /// Goes without a word.
    pub fn hang_up(mut self) {
        self.association.inner_stream().shutdown(Shutdown::Both).ok();
    }
}

impl<S: CloseSocket + Read + Write> Scu<S> {
    /// `None` if films are not accepted.
    pub fn over(association: ClientAssociation<S>) -> Option<Self> {
        let mut accepted = association.presentation_contexts().iter();
        accepted.any(|context| context.id == 1).then_some(())?;
        Some(Scu { association, message: 0, stores: (1, FILM) })
    }

    /// The same, but stores rejection notes.
    #[must_use]
    pub fn of_notes(self) -> Self {
        let accepted = self.association.presentation_contexts();
        assert!(accepted.iter().any(|context| context.id == 5), "notes are not accepted");
        Scu { stores: (5, NOTE), ..self }
    }

    /// Sends a film; the status that is answered.
    pub fn store(&mut self, data_set: &[u8]) -> u16 {
        self.command(0x0001, true);
        self.data(data_set, true);
        self.status()
    }

    pub fn echo(&mut self) -> u16 {
        self.command(0x0030, false);
        self.status()
    }

    /// Sends a part of a data set.
    pub fn data(&mut self, bytes: &[u8], whole: bool) {
        let chunks: Vec<&[u8]> = bytes.chunks(16_000).collect();
        let last = chunks.len() - 1;
        for (n, chunk) in chunks.into_iter().enumerate() {
            self.part(self.stores.0, PDataValueType::Data, chunk, whole && n == last);
        }
    }

    pub fn command(&mut self, kind: u16, has_data: bool) {
        self.message += 1;
        let word = |tag, word: u16| DataElement::new(tag, VR::US, dicom_value!(U16, [word]));
        let uid = |tag, uid: &str| DataElement::new(tag, VR::UI, PrimitiveValue::from(uid));
        let class = match has_data {
            true => self.stores.1,
            false => uids::VERIFICATION,
        };
        let mut elements = vec![
            uid(tags::AFFECTED_SOP_CLASS_UID, class),
            word(tags::COMMAND_FIELD, kind),
            word(tags::MESSAGE_ID, self.message),
            word(tags::COMMAND_DATA_SET_TYPE, if has_data { 0 } else { 0x0101 }),
        ];
        if has_data {
            elements.push(uid(tags::AFFECTED_SOP_INSTANCE_UID, "1.2.3"));
        }
        let set = InMemDicomObject::command_from_element_iter(elements);
        let bytes = File(set).data_set(IMPLICIT);
        self.part(if has_data { self.stores.0 } else { 3 }, PDataValueType::Command, &bytes, true);
    }

    pub fn part(&mut self, context: u8, kind: PDataValueType, bytes: &[u8], is_last: bool) {
        let value = PDataValue {
            presentation_context_id: context,
            value_type: kind,
            is_last,
            data: bytes.to_vec(),
        };
        // The edge may have closed already; then there is no status.
        self.association.send(&Pdu::PData { data: vec![value] }).ok();
    }

    /// The status of the next answer.
    pub fn status(&mut self) -> u16 {
        let Ok(Pdu::PData { data }) = self.association.receive() else { panic!("no answer") };
        let syntax = dicom_transfer_syntax_registry::entries::IMPLICIT_VR_LITTLE_ENDIAN.erased();
        let set = InMemDicomObject::read_dataset_with_ts(&data[0].data[..], &syntax).unwrap();
        let word = |tag| set.element(tag).unwrap().to_int::<u16>().unwrap();
        assert_eq!(word(tags::MESSAGE_ID_BEING_RESPONDED_TO), self.message);
        word(tags::STATUS)
    }

    /// Whether the edge has ended the association.
    pub fn is_over(&mut self) -> bool {
        !matches!(self.association.receive(), Ok(Pdu::PData { .. }))
    }

    pub fn release(self) {
        self.association.release().unwrap();
    }
}

pub fn peer(site: &Site) -> Scu {
    Scu::connect(site.dicom, TITLE, EXPLICIT).expect("accepted")
}

pub fn implicit_peer(site: &Site) -> (Scu, &'static str) {
    (Scu::connect(site.dicom, TITLE, IMPLICIT).expect("accepted"), IMPLICIT)
}
