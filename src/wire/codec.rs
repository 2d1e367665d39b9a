//! Bytes to records and back, on readers and writers that are built once.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::datum;
use super::records::{ImagingEvent, LabEvent, MarkRecord, StayEventRecord, VitalEvent};
use super::registry::SchemaSource;
use super::schemas::{
    HEADER_BYTES, MAX_RECORD_BYTES, OlderSchema, RecordKind, Schemas, WireError, write_header,
};
use crate::config::Feed;
use crate::event::dictionary::Dictionary;
use crate::event::{Reason, Rejection};
use crate::ids::StayId;

/// A struct that mirrors one schema file.
pub trait Record: Serialize + DeserializeOwned {
    const KIND: RecordKind;
    /// How records of this version's schema are read and written; the bytes are the same.
    const CODING: Coding = Coding::BySchema;
}

/// The way between bytes and struct.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    /// By apache-avro, which looks everything up in the schema.
    BySchema,
    /// By the order of the fields alone, for the records that come by the million: see `datum` for
    /// what may stand in them.
    ByPosition,
}

impl Record for LabEvent {
    const KIND: RecordKind = RecordKind::Lab;
    const CODING: Coding = Coding::ByPosition;
}

impl Record for VitalEvent {
    const KIND: RecordKind = RecordKind::Vital;
    const CODING: Coding = Coding::ByPosition;
}

impl Record for ImagingEvent {
    const KIND: RecordKind = RecordKind::Imaging;
}

impl Record for StayEventRecord {
    const KIND: RecordKind = RecordKind::Stay;
}

impl Record for MarkRecord {
    const KIND: RecordKind = RecordKind::Mark;
    const CODING: Coding = Coding::ByPosition;
}

/// Decodes and encodes every record. Built once, shared by reference between threads.
pub struct Codec {
    schemas: Schemas,
    pub(super) feeds: Vec<Feed>,
    pub(super) dictionary: Dictionary,
}

impl Codec {
    /// With the schemas of this version. `feeds` in the order of their ids.
    pub fn new(feeds: &[Feed], dictionary: Dictionary) -> Result<Self, WireError> {
        Codec::with_older(feeds, dictionary, &[])
    }

    /// Reads records of `older` schemas too; what an older writer did not say takes its default.
    pub fn with_older(
        feeds: &[Feed],
        dictionary: Dictionary,
        older: &[OlderSchema],
    ) -> Result<Self, WireError> {
        Ok(Codec { schemas: Schemas::new(older)?, feeds: feeds.to_vec(), dictionary })
    }

    /// With the schemas of this version under the ids that a registry gave them. What other
    /// versions have written is read by the schemas that `source` knows.
    pub fn with_registry(
        feeds: &[Feed],
        dictionary: Dictionary,
        ids: &BTreeMap<RecordKind, u32>,
        source: Arc<dyn SchemaSource>,
    ) -> Result<Self, WireError> {
        let schemas = Schemas::registered(ids, source)?;
        Ok(Codec { schemas, feeds: feeds.to_vec(), dictionary })
    }

    pub(super) fn schemas(&self) -> &Schemas {
        &self.schemas
    }

    /// `record` as Confluent-framed Avro.
    pub fn encode<R: Record>(&self, record: &R) -> Result<Vec<u8>, WireError> {
        let mut bytes = Vec::with_capacity(128);
        self.encode_into(record, &mut bytes)?;
        Ok(bytes)
    }

    /// Appends `record` to `into`, which is left as it was on an error.
    pub fn encode_into<R: Record>(&self, record: &R, into: &mut Vec<u8>) -> Result<(), WireError> {
        let name = R::KIND.name();
        let Some((id, writer)) = self.schemas.writer(R::KIND) else {
            return Err(WireError::Schema(format!("{name}: missing")));
        };
        let start = into.len();
        write_header(*id, into);
        let written = match R::CODING {
            Coding::ByPosition => datum::write(record, into).map_err(|error| error.to_string()),
            Coding::BySchema => match writer.write_ser(into, record) {
                Ok(_) => Ok(()),
                Err(error) => Err(short(&error.to_string())),
            },
        };
        written.map_err(|cause| {
            into.truncate(start);
            WireError::Encode { record: name, cause }
        })
    }

    /// The kind of a framed record, from its schema id.
    pub fn kind_of(&self, bytes: &[u8]) -> Result<RecordKind, Rejection> {
        self.schemas.open(bytes).map(|(kind, _, _)| kind).map_err(undecodable)
    }

    /// One whole record of kind `R`; anything else is a rejection that says where it broke off.
    pub fn decode<R: Record>(&self, bytes: &[u8]) -> Result<R, Rejection> {
        if bytes.len() > MAX_RECORD_BYTES {
            return Err(too_large(R::KIND, bytes.len()));
        }
        let (kind, reader, body) = self.schemas.open(bytes).map_err(undecodable)?;
        if kind != R::KIND {
            let (found, wanted) = (kind.name(), R::KIND.name());
            return Err(undecodable(format!("a {found} record where {wanted} belongs")));
        }
        let mut rest = body;
        let record = match R::CODING {
            Coding::ByPosition if self.is_current(kind, bytes) => datum::read(&mut rest).ok(),
            _ => reader.read_deser::<R>(&mut rest).ok(),
        };
        whole(kind, record, body, rest)
    }

    /// As [`Codec::decode`] for a record that [`Codec::is_current`] and is coded by position: its
    /// texts may stay where they are.
    pub(super) fn decode_in_place<'a, R: Deserialize<'a>>(
        kind: RecordKind,
        bytes: &'a [u8],
    ) -> Result<R, Rejection> {
        let body = bytes.get(HEADER_BYTES..).unwrap_or_default();
        let mut rest = body;
        let record = datum::read(&mut rest).ok();
        whole(kind, record, body, rest)
    }

    /// Whether a record was written with this version's schema of `kind`.
    pub(super) fn is_current(&self, kind: RecordKind, bytes: &[u8]) -> bool {
        bytes.len() <= MAX_RECORD_BYTES && self.schemas.is_current(kind, bytes)
    }

    /// The key of every record but marks: the stay id in decimal.
    pub fn key(stay: StayId) -> String {
        stay.0.to_string()
    }
}

/// The record, if it could be read and nothing follows it.
fn whole<R>(kind: RecordKind, record: Option<R>, body: &[u8], rest: &[u8]) -> Result<R, Rejection> {
    let kind = kind.name();
    match (record, rest.len()) {
        (Some(record), 0) => Ok(record),
        (Some(_), n) => Err(undecodable(format!("{n} bytes follow the {kind} record"))),
        (None, left) => {
            let (at, len) = (body.len() - left, body.len());
            Err(undecodable(format!("not a {kind} record, or cut short: byte {at} of {len}")))
        }
    }
}

/// A record that reads well and says what cannot be.
pub(super) fn does_not_hold(detail: String) -> Rejection {
    undecodable(detail)
}

fn undecodable(detail: String) -> Rejection {
    Rejection::new(Reason::Undecodable, detail)
}

fn too_large(kind: RecordKind, len: usize) -> Rejection {
    let reason = match kind {
        RecordKind::Imaging => Reason::FilmTooLarge,
        _ => Reason::Undecodable,
    };
    Rejection::new(reason, format!("{len} bytes; a record may have {MAX_RECORD_BYTES}"))
}

/// apache-avro's messages print whole schemas; the first line says what is wrong.
fn short(message: &str) -> String {
    message.chars().take(160).collect()
}

#[cfg(test)]
mod tests {
    use super::super::records::{CodeSystem, ObservationStatus, RecordedValue};
    use super::*;
    use crate::config::EngineConfig;
    use crate::event::dictionary::Profile;
    use crate::ids::{FactId, Topic};
    use crate::time::EventTime;

    fn codec() -> Codec {
        let dictionary = Dictionary::builtin(Profile::Reference).expect("dictionary");
        Codec::new(&EngineConfig::default().feeds, dictionary).expect("codec")
    }

    fn lab() -> LabEvent {
        LabEvent {
            event_id: FactId::from_name("lab/1"),
            stay_id: StayId(30_000_001),
            feed: "lab".into(),
            code_system: CodeSystem::Loinc,
            code: "2345-7".into(),
            value: RecordedValue::Number(104.5),
            unit: Some("mg/dL".into()),
            observed_at: EventTime::from_millis(4_000_000_000_000),
            available_at: EventTime::from_millis(4_000_003_600_000),
            status: ObservationStatus::Final,
            replaces: None,
            specimen: Some("blood".into()),
        }
    }

    #[test]
    fn a_lab_round_trips_behind_a_confluent_header() {
        let codec = codec();
        let bytes = codec.encode(&lab()).expect("encode");
        assert_eq!(bytes[..5], [0, 0, 0, 0, 1]);
        assert_eq!(codec.decode::<LabEvent>(&bytes).expect("decode"), lab());
        assert_eq!(codec.kind_of(&bytes).expect("kind"), RecordKind::Lab);
    }

    #[test]
    fn a_stay_id_beyond_a_long_is_an_error_and_leaves_the_buffer_alone() {
        let mut into = vec![7];
        let record = LabEvent { stay_id: StayId(u64::MAX), ..lab() };
        assert!(codec().encode_into(&record, &mut into).is_err());
        assert_eq!(into, [7]);
    }

    #[test]
    fn every_byte_counts() {
        let codec = codec();
        let mut bytes = codec.encode(&lab()).expect("encode");
        for end in 0..bytes.len() {
            let cut = codec.decode::<LabEvent>(&bytes[..end]).expect_err("cut short");
            assert_eq!(cut.reason, Reason::Undecodable);
        }
        bytes.push(0);
        let longer = codec.decode::<LabEvent>(&bytes).expect_err("trailing byte");
        assert!(longer.detail.starts_with("1 bytes follow"), "{longer}");
        let wrong = codec.decode_input(Topic::Vital, None, &bytes[..bytes.len() - 1]);
        assert_eq!(wrong.expect_err("wrong topic").reason, Reason::Undecodable);
    }
}
