//! The storage service: films and rejection notes by C-STORE, and C-ECHO (PS3.4 A and B; PS3.8 for
//! the associations).
//!
//! DICOM has no accounts: whoever knows the AE title may send. Without TLS that asks senders for a
//! certificate, the listener belongs on a network that is the hospital's own.

use std::error::Error as _;
use std::net::SocketAddr;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use dicom_dictionary_std::uids;
use dicom_object::FileMetaTableBuilder;
use dicom_ul::association::{Association as _, AsyncServerAssociation};
use dicom_ul::pdu::{PDataValue, PDataValueType};
use dicom_ul::{Pdu, ServerAssociationOptions};
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::time::timeout;

use super::command::{CommandError, MAX_COMMAND_BYTES, Request, Status};
use super::instance::Stored;
use super::intake::Intake;
use crate::edge::connections::accept;
use crate::edge::counter::MAX_WAITING;
#[cfg(feature = "https")]
use crate::edge::guard::HANDSHAKE;
use crate::edge::guard::{Guard, Line, Taken};
use crate::film::{FILM_CLASSES, MAX_ENCODED_BYTES, NOTE_CLASS, SYNTAXES};

/// Associations held at once. Each may hold one file in memory.
pub const MAX_ASSOCIATIONS: usize = 8;
// An association has one film on its way, so that the desk's queue always has room.
const _: () = assert!(MAX_ASSOCIATIONS <= MAX_WAITING);
/// Bytes of one protocol data unit.
const MAX_PDU_BYTES: u32 = 128 << 10;
/// Between two units of an association.
const SILENT: Duration = Duration::from_secs(60);
/// Why an association ended early.
#[derive(Debug, Error)]
enum ScpError {
    #[error("{0}{cause}", cause = cause(.0))]
    Association(#[from] Box<dicom_ul::association::Error>),
    #[error(transparent)]
    Command(#[from] CommandError),
    #[error("nothing came for {} s", SILENT.as_secs())]
    Silent,
    #[cfg(feature = "https")]
    #[error("no association came within TLS for {} s", HANDSHAKE.as_secs())]
    Handshake,
    #[error("{0}")]
    Protocol(&'static str),
}

/// What an association's error does not say by itself, such as why a certificate was refused.
fn cause(error: &dicom_ul::association::Error) -> String {
    error.source().map(|cause| format!(" ({cause})")).unwrap_or_default()
}

/// The listening side.
pub struct Scp {
    listener: TcpListener,
    guard: Guard,
    intake: Intake,
    title: String,
}

/// Listens on an address, under an AE title, for the desk behind `intake`.
///
/// # Errors
/// If the address cannot be taken.
pub async fn bind(address: SocketAddr, title: &str, intake: Intake) -> std::io::Result<Scp> {
    let (listener, guard) = (TcpListener::bind(address).await?, Guard::default());
    Ok(Scp { listener, guard, intake, title: title.to_owned() })
}

impl Scp {
    /// Hears only who passes `guard`.
    #[must_use]
    pub fn behind(self, guard: Guard) -> Self {
        Scp { guard, ..self }
    }

    /// # Errors
    /// If the system does not say.
    pub fn address(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Takes associations until `stop`, then lets go of all of them.
    pub async fn serve(self, stop: &AtomicBool) {
        let Scp { listener, guard, intake, title } = self;
        accept(&listener, &guard, MAX_ASSOCIATIONS, stop, |taken| {
            let (intake, title) = (intake.clone(), title.clone());
            async move { converse(taken, &title, intake).await }
        })
        .await;
    }
}

/// Agrees on an association, then holds it.
async fn converse(taken: Taken, title: &str, intake: Intake) -> Result<(), ScpError> {
    let options = ServerAssociationOptions::new()
        .accept_called_ae_title()
        .ae_title(title)
        .max_pdu_length(MAX_PDU_BYTES)
        .read_timeout(SILENT)
        .write_timeout(SILENT)
        .with_abstract_syntax(uids::VERIFICATION)
        .with_abstract_syntax(NOTE_CLASS);
    let options =
        FILM_CLASSES.iter().fold(options, |options, class| options.with_abstract_syntax(*class));
    let options =
        SYNTAXES.iter().fold(options, |options, syntax| options.with_transfer_syntax(*syntax));
    match taken {
        Taken::Plain(stream) => {
            let peer = options.establish_async(stream).await.map_err(Box::new)?;
            Conversation { peer, intake }.hold().await
        }
        #[cfg(feature = "https")]
        Taken::Tls(stream, config) => {
            let options = options.tls_config(config);
            let agreed = timeout(HANDSHAKE, options.establish_tls_async(stream)).await;
            let peer = agreed.map_err(|_| ScpError::Handshake)?.map_err(Box::new)?;
            Conversation { peer, intake }.hold().await
        }
    }
}

/// One association, a request at a time.
struct Conversation<S> {
    peer: AsyncServerAssociation<S>,
    intake: Intake,
}

/// A file on its way in: what PS3.10 puts before a data set, and the data set as it comes.
struct Arriving {
    request: Request,
    context: u8,
    file: Vec<u8>,
}

impl<S: Line> Conversation<S> {
    async fn hold(mut self) -> Result<(), ScpError> {
        let _present = self.intake.enter();
        let mut command = Vec::new();
        let mut arriving = None::<Arriving>;
        loop {
            let received = timeout(SILENT, self.peer.receive()).await;
            let values = match received.map_err(|_| ScpError::Silent)?.map_err(Box::new)? {
                Pdu::PData { data } => data,
                Pdu::ReleaseRQ => return self.send(&Pdu::ReleaseRP).await,
                Pdu::AbortRQ { .. } => return Ok(()),
                _ => return Err(ScpError::Protocol("a unit that is not expected here")),
            };
            for value in values {
                match (&value.value_type, arriving.take()) {
                    (PDataValueType::Command, None) => {
                        arriving = self.command(&mut command, &value).await?;
                    }
                    (PDataValueType::Data, Some(film)) => {
                        arriving = self.data(film, &value).await?;
                    }
                    _ => return Err(ScpError::Protocol("a part of a message out of its turn")),
                }
            }
        }
    }

    /// Takes a part of a command; what is to arrive after it.
    async fn command(
        &mut self,
        command: &mut Vec<u8>,
        part: &PDataValue,
    ) -> Result<Option<Arriving>, ScpError> {
        if command.len() + part.data.len() > MAX_COMMAND_BYTES {
            return Err(CommandError::TooLong.into());
        }
        command.extend_from_slice(&part.data);
        if !part.is_last {
            return Ok(None);
        }
        let (request, context) = (Request::read(command)?, part.presentation_context_id);
        command.clear();
        match request {
            Request::Echo { .. } => {
                self.answer(context, &request, Status::Success, "").await?;
                Ok(None)
            }
            Request::Store { ref class, ref instance, .. } => {
                let contexts = self.peer.presentation_contexts();
                let agreed = contexts.iter().find(|agreed| agreed.id == context);
                let syntax = agreed.map(|agreed| agreed.transfer_syntax.as_str());
                let not_agreed = "a film in a context that was not agreed upon";
                let syntax = syntax.ok_or(ScpError::Protocol(not_agreed))?;
                let file = begun(class, instance, syntax)?;
                Ok(Some(Arriving { request, context, file }))
            }
        }
    }

    /// Takes a part of a film; the film itself if more of it is to come.
    async fn data(
        &mut self,
        mut film: Arriving,
        part: &PDataValue,
    ) -> Result<Option<Arriving>, ScpError> {
        // One byte more than allowed is enough to be refused for it.
        let room = (MAX_ENCODED_BYTES + 1).saturating_sub(film.file.len());
        film.file.extend(part.data.iter().take(room));
        if !part.is_last {
            return Ok(Some(film));
        }
        let Arriving { request, context, file } = film;
        let sender = self.peer.peer_ae_title().trim().to_owned();
        let answered = self.intake.store(sender, file).await;
        let (status, comment) = match answered.map(|answered| answered.stored) {
            Some(Stored::Refused(rejection)) => (Status::CannotUnderstand, rejection.to_string()),
            Some(_) => (Status::Success, String::new()),
            None => (Status::OutOfResources, "it cannot be written now; send it again".to_owned()),
        };
        self.answer(context, &request, status, &comment).await?;
        Ok(None)
    }

    async fn answer(
        &mut self,
        context: u8,
        request: &Request,
        status: Status,
        comment: &str,
    ) -> Result<(), ScpError> {
        let value = PDataValue {
            presentation_context_id: context,
            value_type: PDataValueType::Command,
            is_last: true,
            data: request.answer(status, comment)?,
        };
        self.send(&Pdu::PData { data: vec![value] }).await
    }

    async fn send(&mut self, pdu: &Pdu) -> Result<(), ScpError> {
        let sent = timeout(SILENT, self.peer.send(pdu)).await;
        Ok(sent.map_err(|_| ScpError::Silent)?.map_err(Box::new)?)
    }
}

/// The start of a file (PS3.10 7): preamble, magic word, meta information.
fn begun(class: &str, instance: &str, syntax: &str) -> Result<Vec<u8>, ScpError> {
    let meta = FileMetaTableBuilder::new()
        .media_storage_sop_class_uid(class)
        .media_storage_sop_instance_uid(instance)
        .transfer_syntax(syntax)
        .build();
    let meta = meta.map_err(|error| CommandError::Malformed(error.to_string()))?;
    let mut file = [&[0; 128][..], b"DICM"].concat();
    meta.write(&mut file).map_err(|error| CommandError::Malformed(error.to_string()))?;
    Ok(file)
}
