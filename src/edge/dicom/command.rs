//! DIMSE commands (PS3.7 9.3): what a peer asks, and what it is answered.

use dicom_core::{DataElement, PrimitiveValue, Tag, VR, dicom_value};
use dicom_dictionary_std::tags;
use dicom_object::InMemDicomObject;
use dicom_transfer_syntax_registry::entries::IMPLICIT_VR_LITTLE_ENDIAN;
use thiserror::Error;

/// Bytes of a command. One has a dozen short elements.
pub const MAX_COMMAND_BYTES: usize = 4 << 10;

/// Command Field values (PS3.7 E.1).
const C_STORE_RQ: u16 = 0x0001;
const C_ECHO_RQ: u16 = 0x0030;
const RESPONSE: u16 = 0x8000;
/// Command Data Set Type of a command that no data set follows.
const NO_DATA_SET: u16 = 0x0101;
/// Characters of an Error Comment.
const MAX_COMMENT: usize = 64;

/// Answers to a C-STORE request (PS3.4 B.2.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    Success,
    /// Refused: out of resources. The sender may come again.
    OutOfResources,
    /// Error: cannot understand.
    CannotUnderstand,
}

impl Status {
    pub const fn code(self) -> u16 {
        match self {
            Status::Success => 0x0000,
            Status::OutOfResources => 0xa700,
            Status::CannotUnderstand => 0xc000,
        }
    }
}

/// Why an association has to end.
#[derive(Debug, Error)]
pub enum CommandError {
    #[error("a command of more than {MAX_COMMAND_BYTES} bytes")]
    TooLong,
    #[error("a command that cannot be read: {0}")]
    Malformed(String),
    #[error("a command of the kind {0:#06x}, which is not done here")]
    Unsupported(u16),
}

/// What a peer asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    Echo { message: u16, class: String },
    Store { message: u16, class: String, instance: String },
}

impl Request {
    /// Reads a command set.
    ///
    /// # Errors
    /// If it is none, or asks something that is not done here.
    pub fn read(bytes: &[u8]) -> Result<Self, CommandError> {
        if bytes.len() > MAX_COMMAND_BYTES {
            return Err(CommandError::TooLong);
        }
        let syntax = IMPLICIT_VR_LITTLE_ENDIAN.erased();
        let set = InMemDicomObject::read_dataset_with_ts(bytes, &syntax)
            .map_err(|error| CommandError::Malformed(error.to_string()))?;
        let word = |tag: Tag| element(&set, tag)?.to_int::<u16>().map_err(malformed);
        let text = |tag: Tag| match element(&set, tag)?.to_str() {
            Ok(text) => Ok(text.trim_end_matches(['\0', ' ']).to_owned()),
            Err(error) => Err(malformed(error)),
        };
        let message = word(tags::MESSAGE_ID)?;
        let class = text(tags::AFFECTED_SOP_CLASS_UID)?;
        match word(tags::COMMAND_FIELD)? {
            C_ECHO_RQ => Ok(Request::Echo { message, class }),
            C_STORE_RQ => {
                let instance = text(tags::AFFECTED_SOP_INSTANCE_UID)?;
                Ok(Request::Store { message, class, instance })
            }
            other => Err(CommandError::Unsupported(other)),
        }
    }

    /// The command set that answers it.
    ///
    /// # Errors
    /// If the answer cannot be written; the association must end then.
    pub fn answer(&self, status: Status, comment: &str) -> Result<Vec<u8>, CommandError> {
        let (kind, message, class, instance) = match self {
            Request::Echo { message, class } => (C_ECHO_RQ, message, class, None),
            Request::Store { message, class, instance } => {
                (C_STORE_RQ, message, class, Some(instance))
            }
        };
        let uid = |tag, uid: &str| DataElement::new(tag, VR::UI, PrimitiveValue::from(uid));
        let word = |tag, word: u16| DataElement::new(tag, VR::US, dicom_value!(U16, [word]));
        let mut elements = vec![
            uid(tags::AFFECTED_SOP_CLASS_UID, class),
            word(tags::COMMAND_FIELD, RESPONSE | kind),
            word(tags::MESSAGE_ID_BEING_RESPONDED_TO, *message),
            word(tags::COMMAND_DATA_SET_TYPE, NO_DATA_SET),
            word(tags::STATUS, status.code()),
        ];
        if status != Status::Success {
            let comment: String = comment.chars().take(MAX_COMMENT).collect();
            let comment = PrimitiveValue::from(comment.as_str());
            elements.push(DataElement::new(tags::ERROR_COMMENT, VR::LO, comment));
        }
        elements.extend(instance.map(|instance| uid(tags::AFFECTED_SOP_INSTANCE_UID, instance)));
        let set = InMemDicomObject::command_from_element_iter(elements);
        let mut bytes = Vec::new();
        set.write_dataset_with_ts(&mut bytes, &IMPLICIT_VR_LITTLE_ENDIAN.erased())
            .map_err(|error| CommandError::Malformed(error.to_string()))?;
        Ok(bytes)
    }
}

fn element(
    set: &InMemDicomObject,
    tag: Tag,
) -> Result<&dicom_object::mem::InMemElement, CommandError> {
    set.get(tag).ok_or_else(|| CommandError::Malformed(format!("{tag} is missing")))
}

fn malformed(error: impl std::fmt::Display) -> CommandError {
    CommandError::Malformed(error.to_string())
}
