//! DIMSE commands (PS3.7 9.3): what a peer asks, and what it is answered.
//!
//! Requests are read here and not by the library, which takes as much memory as an element's length
//! says, before it looks whether the bytes are there: a command of sixty bytes could ask for 4 GiB.

use std::collections::BTreeMap;

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
        let set = elements(bytes)?;
        let element = |tag: Tag| {
            set.get(&tag).ok_or_else(|| CommandError::Malformed(format!("{tag} is missing")))
        };
        let word = |tag: Tag| match element(tag)? {
            [low, high, ..] => Ok(u16::from_le_bytes([*low, *high])),
            _ => Err(CommandError::Malformed(format!("{tag} is no number"))),
        };
        let uid = |tag: Tag| match std::str::from_utf8(element(tag)?) {
            Ok(text) if text.is_ascii() => Ok(text.trim_end_matches(['\0', ' ']).to_owned()),
            _ => Err(CommandError::Malformed(format!("{tag} is no UID"))),
        };
        let message = word(tags::MESSAGE_ID)?;
        let class = uid(tags::AFFECTED_SOP_CLASS_UID)?;
        match word(tags::COMMAND_FIELD)? {
            C_ECHO_RQ => Ok(Request::Echo { message, class }),
            C_STORE_RQ => {
                let instance = uid(tags::AFFECTED_SOP_INSTANCE_UID)?;
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

/// The elements of a command set, which are in implicit little endian and hold no others (PS3.7
/// 6.3.1).
fn elements(bytes: &[u8]) -> Result<BTreeMap<Tag, &[u8]>, CommandError> {
    let broken = || CommandError::Malformed("an element leads out of it".to_owned());
    let (mut found, mut rest) = (BTreeMap::new(), bytes);
    while !rest.is_empty() {
        let (head, behind) = rest.split_first_chunk::<8>().ok_or_else(broken)?;
        let [a, b, c, d, length @ ..] = *head;
        let length = usize::try_from(u32::from_le_bytes(length)).map_err(|_| broken())?;
        let (value, behind) = behind.split_at_checked(length).ok_or_else(broken)?;
        found.insert(Tag(u16::from_le_bytes([a, b]), u16::from_le_bytes([c, d])), value);
        rest = behind;
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An element of group 0.
    fn element(number: u16, value: &[u8]) -> Vec<u8> {
        let length = (value.len() as u32).to_le_bytes();
        [&[0, 0], &number.to_le_bytes()[..], &length, value].concat()
    }

    fn echo() -> Vec<u8> {
        let word = |number: u16, word: u16| element(number, &word.to_le_bytes());
        let class = element(0x0002, b"1.2.840.10008.1.1\0");
        [class, word(0x0100, C_ECHO_RQ), word(0x0110, 7), word(0x0800, NO_DATA_SET)].concat()
    }

    #[test]
    fn an_echo_is_read_and_answered_as_the_library_writes_it() {
        let request = Request::read(&echo()).unwrap();
        assert_eq!(request, Request::Echo { message: 7, class: "1.2.840.10008.1.1".into() });
        let answer = request.answer(Status::Success, "").unwrap();
        let set = elements(&answer).unwrap();
        assert_eq!(set.get(&tags::MESSAGE_ID_BEING_RESPONDED_TO), Some(&&[7, 0][..]));
        assert_eq!(set.get(&tags::STATUS), Some(&&[0, 0][..]));
        // It has no Message ID: an answer is no request.
        assert!(matches!(Request::read(&answer), Err(CommandError::Malformed(_))));
    }

    #[test]
    fn names_that_no_answer_could_repeat_are_refused() {
        let mut bytes = echo();
        // Two bytes of the UID become one letter that is not ASCII.
        bytes[10..12].copy_from_slice("\u{43f}".as_bytes());
        let error = Request::read(&bytes).unwrap_err();
        assert_eq!(error.to_string(), "a command that cannot be read: (0000,0002) is no UID");
    }

    #[test]
    fn a_length_beyond_the_command_is_refused_by_itself() {
        for length in [200, 0x7fff_fffe, u32::MAX - 1, u32::MAX] {
            let mut bytes = echo();
            bytes[4..8].copy_from_slice(&length.to_le_bytes());
            let error = Request::read(&bytes).unwrap_err();
            let expected = "a command that cannot be read: an element leads out of it";
            assert_eq!(error.to_string(), expected, "{length}");
        }
        // The last element, of ten bytes, says nothing of an echo.
        let needed = echo().len() - 10;
        for end in (0..echo().len()).filter(|end| *end != needed) {
            assert!(Request::read(&echo()[..end]).is_err(), "{end}");
        }
    }
}
