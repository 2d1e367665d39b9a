//! Every event over the wire: encoded as a producer does it, and decoded and checked as the
//! service does it, both inside the measured time.
//!
//! The service's own dictionary would refuse most of the benchmark's made-up values, so it is
//! extended by variables that take any number. The path is the same: header, record, key, feed,
//! times, code, unit, range.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::Context;
use uuid::Uuid;

use super::input::{CsvFile, Event, Input};
use crate::config::{EngineConfig, Feed};
use crate::event::FactBody;
use crate::event::dictionary::{Dictionary, Profile};
use crate::ids::{FactId, StayId, Topic, VariableId};
use crate::time::EventTime;
use crate::wire::records::{CodeSystem, ObservationStatus, RecordedValue, VitalEvent};
use crate::wire::{Codec, Decoded};

/// The dictionary that is shipped; the benchmark's variables follow its own.
const SHIPPED: &str = include_str!("../../../schemas/variables.toml");

/// A CSV file whose events pass through Avro one by one.
pub(super) struct AvroWire {
    csv: CsvFile,
    parsed: Vec<Event>,
    codec: Codec,
    /// The dictionary's id of variable 0 of the file.
    first: u8,
    /// Codes of the file's variables.
    codes: Vec<String>,
    /// Filled in anew for each event.
    record: VitalEvent,
    key: String,
    bytes: Vec<u8>,
    /// Events so far; the number of an event is its id.
    n: u64,
}

impl AvroWire {
    pub(super) fn open(csv: &Path) -> anyhow::Result<Self> {
        let feeds: Vec<Feed> = EngineConfig::default().feeds;
        let feed = feeds.iter().find(|feed| feed.topic == Topic::Vital);
        let feed = feed.context("the default config has no vital feed")?.name.clone();
        let shipped = Dictionary::builtin(Profile::Clinical)?.variables().len();
        let first = u8::try_from(shipped).context("the dictionary leaves no room")?;
        let codes: Vec<String> = (0..u8::MAX - first).map(|n| format!("bench_{n}")).collect();
        let dictionary = Dictionary::parse(&dictionary_text(&codes), Profile::Clinical)?;
        Ok(AvroWire {
            csv: CsvFile::open(csv)?,
            parsed: Vec::new(),
            codec: Codec::new(&feeds, dictionary)?,
            first,
            codes,
            record: blank(feed),
            key: String::new(),
            bytes: Vec::new(),
            n: 0,
        })
    }

    /// One event to bytes and back.
    fn pass(&mut self, event: &Event) -> anyhow::Result<Event> {
        self.n += 1;
        let code = self.codes.get(usize::from(event.variable.0)).with_context(|| {
            let (n, last) = (event.variable.0, self.codes.len() - 1);
            format!("variable {n} has no room in the dictionary; use 0 to {last}, or --wire none")
        })?;
        self.record.event_id = FactId(Uuid::from_u128(u128::from(self.n)));
        self.record.stay_id = event.stay;
        self.record.code.clone_from(code);
        self.record.value = RecordedValue::Number(event.value);
        self.record.observed_at = event.at;
        self.record.available_at = event.at;
        self.bytes.clear();
        self.codec.encode_into(&self.record, &mut self.bytes)?;
        self.key.clear();
        write!(self.key, "{}", event.stay.0)?;
        let decoded = self.codec.decode_input(Topic::Vital, Some(self.key.as_bytes()), &self.bytes);
        match decoded {
            Ok(Decoded::Fact(fact)) => match fact.body {
                FactBody::Observed(seen) => Ok(Event {
                    stay: fact.stay,
                    at: fact.observed_at,
                    variable: VariableId(seen.variable().0 - self.first),
                    value: seen.value(),
                }),
                other => anyhow::bail!("event {} came back as {other:?}", self.n),
            },
            Ok(other) => anyhow::bail!("event {} came back as {other:?}", self.n),
            Err(rejection) => {
                anyhow::bail!("event {}: {rejection}; correct it or use --wire none", self.n)
            }
        }
    }
}

impl Input for AvroWire {
    fn read(&mut self, into: &mut Vec<Event>, max: usize) -> anyhow::Result<()> {
        let mut parsed = std::mem::take(&mut self.parsed);
        parsed.clear();
        self.csv.read(&mut parsed, max)?;
        for event in &parsed {
            into.push(self.pass(event)?);
        }
        self.parsed = parsed;
        Ok(())
    }
}

fn blank(feed: String) -> VitalEvent {
    VitalEvent {
        event_id: FactId(Uuid::nil()),
        stay_id: StayId(0),
        feed,
        code_system: CodeSystem::Local,
        code: String::new(),
        value: RecordedValue::Missing,
        unit: Some("1".to_owned()),
        observed_at: EventTime::MIN,
        available_at: EventTime::MIN,
        status: ObservationStatus::Final,
        replaces: None,
    }
}

/// The shipped dictionary and, behind its variables, one that takes any number for each code.
fn dictionary_text(codes: &[String]) -> String {
    let mut text = SHIPPED.to_owned();
    for code in codes {
        text.push_str("\n[[variable]]\n");
        text.push_str(&format!("code = \"{code}\"\nname = \"{code}\"\n"));
        text.push_str("kind = \"numeric\"\nloinc = []\nunit = \"1\"\nunits = [{ ucum = \"1\" }]\n");
        text.push_str("plausible = [-1e300, 1e300]\nclamp = [-1e300, 1e300]\nnormal = 0.0\n");
    }
    text
}
