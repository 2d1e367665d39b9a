//! An edge that hears DICOM and HL7 at one desk, over a local log, and a peer that sends it films.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use dicom_core::{DataElement, PrimitiveValue, VR, dicom_value};
use dicom_dictionary_std::{tags, uids};
use dicom_object::InMemDicomObject;
use dicom_ul::association::CloseSocket;
use dicom_ul::association::client::ClientAssociationOptions;
use dicom_ul::pdu::{PDataValue, PDataValueType};
use dicom_ul::{ClientAssociation, Pdu};
use nowcxr::edge::dicom::{Intake, scp};
use nowcxr::edge::hl7::server as mllp;
use nowcxr::edge::{self, Guard};
use nowcxr::http::access::Access;
use nowcxr::http::dicomweb::{Receiver, routes};
use nowcxr::http::{Health, Server};
use nowcxr::time::WallTime;
use nowcxr::transport::local::LocalLog;

use super::fhir_site::MORNING;
use super::film_files::{EXPLICIT, FILM, File, IMPLICIT, desk};
use super::server::{admission, answers, send};
use super::world::config;

pub const TITLE: &str = "NOWCXR";
/// The SOP class of rejection notes.
pub const NOTE: &str = uids::KEY_OBJECT_SELECTION_DOCUMENT_STORAGE;

/// An edge that listens.
pub struct Site {
    pub dicom: SocketAddr,
    pub stow: SocketAddr,
    pub now: Arc<AtomicI64>,
    pub hl7: SocketAddr,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
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
