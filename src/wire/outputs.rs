//! The other records that leave: dead letters and labels.

use serde::{Deserialize, Serialize};

use super::codec::Record;
use super::form;
use super::schemas::RecordKind;
use crate::event::Rejection;
use crate::ids::{Origin, StayId};
use crate::time::EventTime;

/// Bytes of a rejected record that its dead letter carries; the rest stands at the position.
pub const DEAD_LETTER_BYTES: usize = 512 << 10;

/// A record that was not used (`schemas/dead_letter.avsc`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DeadLetter {
    pub topic: String,
    pub partition: i32,
    pub offset: i64,
    #[serde(default, with = "form::option")]
    pub key: Option<Vec<u8>>,
    /// At most [`DEAD_LETTER_BYTES`].
    #[serde(with = "form")]
    pub value: Vec<u8>,
    /// Of the whole value.
    pub value_size: i64,
    #[serde(default)]
    pub headers: Vec<Header>,
    #[serde(default, with = "form::option")]
    pub appended_at: Option<EventTime>,
    pub reason: String,
    pub detail: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    pub key: String,
    #[serde(with = "form")]
    pub value: Vec<u8>,
}

impl DeadLetter {
    /// The letter of a record that stands at `origin`. Headers and append time, where the
    /// transport has them, are set afterwards.
    pub fn new(origin: Origin, key: Option<&[u8]>, value: &[u8], rejection: &Rejection) -> Self {
        let kept = value.len().min(DEAD_LETTER_BYTES);
        DeadLetter {
            topic: origin.topic.name().to_owned(),
            partition: i32::try_from(origin.partition).unwrap_or(i32::MAX),
            offset: i64::try_from(origin.offset).unwrap_or(i64::MAX),
            key: key.map(<[u8]>::to_vec),
            value: value.get(..kept).unwrap_or_default().to_vec(),
            value_size: i64::try_from(value.len()).unwrap_or(i64::MAX),
            headers: Vec::new(),
            appended_at: None,
            reason: rejection.reason.code().to_owned(),
            detail: rejection.detail.clone(),
        }
    }
}

/// What turned out to be true of a stay (`schemas/label.avsc`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LabelEvent {
    #[serde(with = "form")]
    pub stay_id: StayId,
    #[serde(with = "form")]
    pub at: EventTime,
    #[serde(default)]
    pub mortality: Option<bool>,
    #[serde(default)]
    pub phenotypes: Option<Vec<bool>>,
}

impl Record for DeadLetter {
    const KIND: RecordKind = RecordKind::DeadLetter;
}

impl Record for LabelEvent {
    const KIND: RecordKind = RecordKind::Label;
}
