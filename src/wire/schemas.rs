//! The schemas, their ids and the framing: byte 0, a 4-byte big-endian schema id, the Avro body
//! (`reference/kafka.md` 8). The schemas of this version are compiled in; their ids are the fixed
//! ones of `schemas/ids.toml`, or a registry's. Texts of other versions can be added, or are asked
//! for when a record names them, because a record is always decoded with the schema that wrote it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use apache_avro::Schema;
use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::writer::datum::GenericDatumWriter;
use serde::Deserialize;
use thiserror::Error;

use super::registry::{Learned, SchemaSource};

/// The longest record that is read, and the most that decoding may allocate for one value. A
/// chest film as DICOM has at most 20 MB.
pub const MAX_RECORD_BYTES: usize = 32 << 20;

/// Different schema texts that one process may know. They are never freed.
const MAX_SCHEMAS: usize = 256;

/// The first byte of every record.
const MAGIC: u8 = 0;

/// Bytes before the Avro body.
pub const HEADER_BYTES: usize = 5;

/// What can go wrong on our own side of the wire.
#[derive(Debug, Error)]
pub enum WireError {
    /// The schemas of this installation are broken.
    #[error("schema {0}; restore the file under schemas/ and build again")]
    Schema(String),
    /// The value has no place in its schema, such as a stay id above 2^63 - 1.
    #[error("cannot write {record}: {cause}; correct the value that was given")]
    Encode { record: &'static str, cause: String },
}

/// The kinds of record, one schema file each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RecordKind {
    Lab,
    Vital,
    Imaging,
    Stay,
    Mark,
    Journal,
    Risk,
    Alert,
    Acknowledgement,
    View,
    DeadLetter,
    Label,
}

impl RecordKind {
    pub const ALL: [RecordKind; 12] = [
        RecordKind::Lab,
        RecordKind::Vital,
        RecordKind::Imaging,
        RecordKind::Stay,
        RecordKind::Mark,
        RecordKind::Journal,
        RecordKind::Risk,
        RecordKind::Alert,
        RecordKind::Acknowledgement,
        RecordKind::View,
        RecordKind::DeadLetter,
        RecordKind::Label,
    ];

    /// The name of the schema file, without `.avsc`, and the key in `schemas/ids.toml`.
    pub const fn name(self) -> &'static str {
        match self {
            RecordKind::Lab => "lab",
            RecordKind::Vital => "vital",
            RecordKind::Imaging => "imaging",
            RecordKind::Stay => "stay",
            RecordKind::Mark => "mark",
            RecordKind::Journal => "journal",
            RecordKind::Risk => "risk",
            RecordKind::Alert => "alert",
            RecordKind::Acknowledgement => "acknowledgement",
            RecordKind::View => "view",
            RecordKind::DeadLetter => "dead_letter",
            RecordKind::Label => "label",
        }
    }

    /// The schema of this version, as JSON.
    pub const fn schema_text(self) -> &'static str {
        match self {
            RecordKind::Lab => include_str!("../../schemas/lab.avsc"),
            RecordKind::Vital => include_str!("../../schemas/vital.avsc"),
            RecordKind::Imaging => include_str!("../../schemas/imaging.avsc"),
            RecordKind::Stay => include_str!("../../schemas/stay.avsc"),
            RecordKind::Mark => include_str!("../../schemas/mark.avsc"),
            RecordKind::Journal => include_str!("../../schemas/journal.avsc"),
            RecordKind::Risk => include_str!("../../schemas/risk.avsc"),
            RecordKind::Alert => include_str!("../../schemas/alert.avsc"),
            RecordKind::Acknowledgement => include_str!("../../schemas/acknowledgement.avsc"),
            RecordKind::View => include_str!("../../schemas/view.avsc"),
            RecordKind::DeadLetter => include_str!("../../schemas/dead_letter.avsc"),
            RecordKind::Label => include_str!("../../schemas/label.avsc"),
        }
    }
}

/// A schema that an older version wrote with.
#[derive(Clone, Debug)]
pub struct OlderSchema {
    pub id: u32,
    pub kind: RecordKind,
    pub text: String,
}

/// What released versions wrote under ids that they do not use any more.
const RELEASED: [(u32, RecordKind, &str); 3] = [
    (6, RecordKind::Journal, include_str!("../../schemas/released/0.1.0/journal.avsc")),
    (7, RecordKind::Risk, include_str!("../../schemas/released/0.1.0/risk.avsc")),
    (10, RecordKind::View, include_str!("../../schemas/released/0.1.0/view.avsc")),
];

/// Prepared writers by kind and readers by id.
pub struct Schemas {
    /// In the order of [`RecordKind::ALL`].
    writers: Vec<(u32, GenericDatumWriter<'static>)>,
    readers: BTreeMap<u32, (RecordKind, GenericDatumReader<'static>)>,
    /// What a registry has told; `None` in the static mode.
    learned: Option<Learned>,
}

#[derive(Deserialize)]
struct Ids {
    ids: BTreeMap<String, u32>,
}

impl Schemas {
    /// The schemas of this version under their fixed ids, and those of older ones for reading.
    pub fn new(older: &[OlderSchema]) -> Result<Self, WireError> {
        let ids: Ids = toml::from_str(include_str!("../../schemas/ids.toml"))
            .map_err(|error| WireError::Schema(format!("ids.toml: {error}")))?;
        let mut schemas = Schemas::under(&|kind| ids.ids.get(kind.name()).copied())?;
        let given = older.iter().map(|one| (one.id, one.kind, one.text.as_str()));
        for (id, kind, text) in RELEASED.into_iter().chain(given) {
            schemas.add_reader(id, kind, intern(text, kind)?)?;
        }
        Ok(schemas)
    }

    /// The schemas of this version under the ids that a registry gave them; those of other
    /// versions are asked of `source`.
    pub fn registered(
        ids: &BTreeMap<RecordKind, u32>,
        source: Arc<dyn SchemaSource>,
    ) -> Result<Self, WireError> {
        let schemas = Schemas::under(&|kind| ids.get(&kind).copied())?;
        Ok(Schemas { learned: Some(Learned::from(source)), ..schemas })
    }

    fn under(ids: &dyn Fn(RecordKind) -> Option<u32>) -> Result<Self, WireError> {
        apache_avro::util::max_allocation_bytes(MAX_RECORD_BYTES);
        let mut schemas = Schemas { writers: Vec::new(), readers: BTreeMap::new(), learned: None };
        for kind in RecordKind::ALL {
            let id = ids(kind)
                .ok_or_else(|| WireError::Schema(format!("{}: has no id", kind.name())))?;
            let schema = intern(kind.schema_text(), kind)?;
            let writer = GenericDatumWriter::builder(schema)
                .human_readable(false)
                .build()
                .map_err(|error| broken(kind, error))?;
            schemas.writers.push((id, writer));
            schemas.add_reader(id, kind, schema)?;
        }
        Ok(schemas)
    }

    pub(super) fn learned(&self) -> Option<&Learned> {
        self.learned.as_ref()
    }

    /// Whether an id was known from the start.
    pub(super) fn is_own(&self, id: u32) -> bool {
        self.readers.contains_key(&id)
    }

    fn add_reader(
        &mut self,
        id: u32,
        kind: RecordKind,
        schema: &'static Schema,
    ) -> Result<(), WireError> {
        // Never with a reader schema: apache-avro 0.22 panics then
        // (`reference/state-and-avro.md` 4).
        let reader = GenericDatumReader::builder(schema)
            .human_readable(false)
            .build()
            .map_err(|error| broken(kind, error))?;
        match self.readers.insert(id, (kind, reader)) {
            None => Ok(()),
            Some(_) => Err(WireError::Schema(format!("{}: id {id} is given twice", kind.name()))),
        }
    }

    /// The id and the writer of a kind.
    pub fn writer(&self, kind: RecordKind) -> Option<&(u32, GenericDatumWriter<'static>)> {
        self.writers.get(kind as usize)
    }

    /// Whether a framed record of this kind was written with this version's schema.
    pub fn is_current(&self, kind: RecordKind, record: &[u8]) -> bool {
        let Some((id, _)) = self.writer(kind) else { return false };
        let [a, b, c, d] = id.to_be_bytes();
        record.starts_with(&[MAGIC, a, b, c, d])
    }

    /// The kind, the reader of the writer's schema, and the body of a framed record; or what is
    /// wrong with the frame.
    pub fn open<'a>(
        &self,
        record: &'a [u8],
    ) -> Result<(RecordKind, &GenericDatumReader<'static>, &'a [u8]), String> {
        let Some((header, body)) = record.split_first_chunk::<HEADER_BYTES>() else {
            return Err(format!("{} bytes are too few for a header of 5", record.len()));
        };
        let [magic, id @ ..] = *header;
        if magic != MAGIC {
            return Err(format!("first byte is {magic}, not 0: not in Confluent wire format"));
        }
        let id = u32::from_be_bytes(id);
        if let Some((kind, reader)) = self.readers.get(&id) {
            return Ok((*kind, reader, body));
        }
        let learned = self.learned().and_then(|learned| learned.reader(id));
        learned
            .map(|(kind, reader)| (kind, reader, body))
            .ok_or_else(|| format!("schema id {id} is unknown; add its schema or correct the id"))
    }
}

/// Appends the header of a record.
pub fn write_header(id: u32, into: &mut Vec<u8>) {
    into.push(MAGIC);
    into.extend_from_slice(&id.to_be_bytes());
}

/// The schema id of a framed record; `None` where there is no frame.
pub(super) fn id_of(record: &[u8]) -> Option<u32> {
    let ([magic, id @ ..], _) = record.split_first_chunk::<HEADER_BYTES>()?;
    (*magic == MAGIC).then(|| u32::from_be_bytes(*id))
}

/// The kind whose record has the name of this schema; `None` for one of another application.
pub(super) fn kind_named(text: &str) -> Option<RecordKind> {
    let full_name = |text: &str| {
        let schema = Schema::parse_str(text).ok()?;
        schema.name().map(|name| name.fullname(None))
    };
    let named = full_name(text)?;
    RecordKind::ALL.into_iter().find(|kind| full_name(kind.schema_text()).as_ref() == Some(&named))
}

fn broken(kind: RecordKind, error: impl std::fmt::Display) -> WireError {
    WireError::Schema(format!("{}: {error}", kind.name()))
}

/// Readers and writers borrow their schema for good, so each different text is parsed once and
/// kept until the process ends.
pub(super) fn intern(text: &str, kind: RecordKind) -> Result<&'static Schema, WireError> {
    static PARSED: Mutex<BTreeMap<String, &'static Schema>> = Mutex::new(BTreeMap::new());
    let mut parsed = PARSED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(schema) = parsed.get(text) {
        return Ok(schema);
    }
    if parsed.len() >= MAX_SCHEMAS {
        return Err(broken(kind, format!("more than {MAX_SCHEMAS} schemas")));
    }
    let schema = Schema::parse_str(text).map_err(|error| broken(kind, error))?;
    let schema: &'static Schema = Box::leak(Box::new(schema));
    parsed.insert(text.to_owned(), schema);
    Ok(schema)
}
