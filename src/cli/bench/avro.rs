//! The benchmark's events as framed Avro records. They are encoded beforehand, outside the
//! measured time; what is measured is the engine's own decoding of a vital sign.

use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Write};
use std::path::Path;

use anyhow::Context;

use super::input::{CsvFile, Event, Input};
use crate::config::{EngineConfig, Feed};
use crate::event::dictionary::{Dictionary, Profile};
use crate::ids::{FactId, Topic};
use crate::wire::records::{Code, CodeSystem, ObservationStatus, RecordedValue, VitalEvent};
use crate::wire::{Codec, MAX_RECORD_BYTES};

/// Events encoded at once.
const BATCH_EVENTS: usize = 1_024;

/// Records with their length (u32, little-endian) before each.
pub(super) struct AvroFile {
    file: BufReader<File>,
    codec: Codec,
    dictionary: Dictionary,
    record: Vec<u8>,
}

impl AvroFile {
    /// Encodes `csv` into `path` and opens that.
    pub(super) fn encode(csv: &Path, path: &Path) -> anyhow::Result<Self> {
        let feeds: Vec<Feed> = EngineConfig::default().feeds;
        let codec = Codec::new(&feeds, Dictionary::builtin(Profile::Clinical)?)?;
        let dictionary = Dictionary::builtin(Profile::Clinical)?;
        let feed = feeds.iter().find(|feed| feed.topic == Topic::Vital);
        let feed = &feed.context("the default config has no vital feed")?.name;
        let cannot = || format!("cannot write {}", path.display());
        let mut out = BufWriter::new(File::create(path).with_context(cannot)?);
        let (mut input, mut events, mut n) = (CsvFile::open(csv)?, Vec::new(), 0u64);
        let mut record = Vec::new();
        loop {
            events.clear();
            input.read(&mut events, BATCH_EVENTS)?;
            if events.is_empty() {
                break;
            }
            for event in &events {
                n += 1;
                record.clear();
                codec.encode_into(&vital(event, n, feed, &dictionary)?, &mut record)?;
                let len = u32::try_from(record.len()).context("a record is too long")?;
                out.write_all(&len.to_le_bytes()).with_context(cannot)?;
                out.write_all(&record).with_context(cannot)?;
            }
        }
        out.into_inner().map_err(std::io::IntoInnerError::into_error).with_context(cannot)?;
        let file = BufReader::new(File::open(path)?);
        Ok(AvroFile { file, codec, dictionary, record })
    }

    fn decode(&self) -> anyhow::Result<Event> {
        let vital: VitalEvent = self
            .codec
            .decode(&self.record)
            .map_err(|rejection| anyhow::anyhow!("a record that we encoded is {rejection}"))?;
        let variable = self.dictionary.by_code(&vital.code.code);
        match (variable, vital.value) {
            (Some(variable), RecordedValue::Number(value)) => {
                Ok(Event { stay: vital.stay_id, at: vital.observed_at, variable, value })
            }
            _ => anyhow::bail!("a record that we encoded has another variable or no number"),
        }
    }
}

/// The record of one event; `n` makes its id.
fn vital(event: &Event, n: u64, feed: &str, dictionary: &Dictionary) -> anyhow::Result<VitalEvent> {
    let variable = dictionary
        .variable(event.variable)
        .with_context(|| format!("variable {} is not in the dictionary", event.variable.0))?;
    Ok(VitalEvent {
        event_id: FactId::from_name(&format!("bench/{n}")),
        stay_id: event.stay,
        feed: feed.to_owned(),
        code: Code { system: CodeSystem::Local, code: variable.code.clone() },
        value: RecordedValue::Number(event.value),
        unit: Some(variable.unit.clone()),
        observed_at: event.at,
        available_at: event.at,
        status: ObservationStatus::Final,
        replaces: None,
    })
}

impl Input for AvroFile {
    fn read(&mut self, into: &mut Vec<Event>, max: usize) -> anyhow::Result<()> {
        for _ in 0..max {
            let mut len = [0; 4];
            match self.file.read_exact(&mut len) {
                Ok(()) => {}
                Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => return Ok(()),
                Err(error) => return Err(error).context("cannot read the encoded records"),
            }
            let len = u32::from_le_bytes(len) as usize;
            anyhow::ensure!(len <= MAX_RECORD_BYTES, "the encoded records are damaged");
            self.record.resize(len, 0);
            self.file.read_exact(&mut self.record).context("cannot read the encoded records")?;
            into.push(self.decode()?);
        }
        Ok(())
    }
}
