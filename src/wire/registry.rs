//! Schemas that other programs write with, known by the id that their records carry.
//!
//! A record of a schema that this process has not met makes the loop ask once for its text
//! ([`Codec::learn`]) before it steps anything of the batch; decoding itself asks nobody. What the
//! text says is read with serde's defaults, so an older producer and a newer one are both
//! understood as far as the schemas are compatible.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use apache_avro::reader::datum::GenericDatumReader;

use super::codec::Codec;
use super::schemas::{RecordKind, id_of, intern, kind_named};
use crate::ports::PortError;

/// Schema ids that one process keeps in mind.
const LEARNED_MAX: usize = 1_024;
/// An id that the registry did not know is asked for again after this.
const ASK_AGAIN: Duration = Duration::from_secs(60);

/// Where the text of a schema comes from.
pub trait SchemaSource: Send + Sync {
    /// The text of schema `id`; `None` if there is no such schema.
    ///
    /// # Errors
    /// `Retry` while nobody answers; `Stop` where a person must act.
    fn schema(&self, id: u32) -> Result<Option<String>, PortError>;
}

/// What is known of the schema of one id.
#[derive(Clone, Copy)]
enum Known {
    /// One of ours, of another version.
    Ours(RecordKind, &'static GenericDatumReader<'static>),
    /// Of another application, or not usable.
    Foreign,
    Absent(Instant),
}

/// The schemas met so far.
pub(super) struct Learned {
    source: Arc<dyn SchemaSource>,
    known: RwLock<BTreeMap<u32, Known>>,
}

impl Learned {
    pub(super) fn from(source: Arc<dyn SchemaSource>) -> Self {
        Learned { source, known: RwLock::default() }
    }

    /// The kind and the reader of a schema of ours.
    pub(super) fn reader(
        &self,
        id: u32,
    ) -> Option<(RecordKind, &'static GenericDatumReader<'static>)> {
        match self.get(id) {
            Some(Known::Ours(kind, reader)) => Some((kind, reader)),
            _ => None,
        }
    }

    fn get(&self, id: u32) -> Option<Known> {
        self.known.read().unwrap_or_else(PoisonError::into_inner).get(&id).copied()
    }

    fn learn(&self, id: u32) -> Result<(), PortError> {
        match self.get(id) {
            Some(Known::Absent(since)) if since.elapsed() >= ASK_AGAIN => {}
            Some(_) => return Ok(()),
            None => {}
        }
        let known = match self.source.schema(id)? {
            Some(text) => understand(&text),
            None => Known::Absent(Instant::now()),
        };
        let mut all = self.known.write().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= LEARNED_MAX {
            // Garbage carries any id; what is of use stays.
            all.retain(|_, known| matches!(known, Known::Ours(..)));
        }
        if all.len() < LEARNED_MAX {
            all.insert(id, known);
        }
        Ok(())
    }
}

fn understand(text: &str) -> Known {
    let Some(kind) = kind_named(text) else { return Known::Foreign };
    let reader = intern(text, kind)
        .ok()
        .and_then(|schema| GenericDatumReader::builder(schema).human_readable(false).build().ok());
    match reader {
        // As their schemas, readers are borrowed for good; there are as few of them.
        Some(reader) => Known::Ours(kind, Box::leak(Box::new(reader))),
        None => Known::Foreign,
    }
}

impl Codec {
    /// Asks for the schema of a framed record if this process has not met it. Nothing to do in the
    /// static mode.
    ///
    /// # Errors
    /// Those of [`SchemaSource::schema`]. A schema that nobody has is no error: such a record is
    /// refused when it is decoded.
    pub fn learn(&self, record: &[u8]) -> Result<(), PortError> {
        match (self.schemas().learned(), id_of(record)) {
            (Some(learned), Some(id)) if !self.schemas().is_own(id) => learned.learn(id),
            _ => Ok(()),
        }
    }
}
