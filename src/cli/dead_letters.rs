//! `nowcxr dead-letters`: what was not used and why, and the way to give it another chance.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::str::FromStr;

use anyhow::{Context as _, Result, bail};
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::schemas::Ids;
use super::settings::ConfigArgs;
use crate::config::Config;
use crate::event::dictionary::Dictionary;
use crate::ids::{Origin, Topic};
use crate::ports::{OutputKind, PortError};
use crate::transport::kafka::{
    KafkaSettings, KafkaSink, Place, StoredRecord, read_place, visit_outputs,
};
use crate::wire::{Codec, DeadLetter};

/// Bytes of a value that `show` prints.
const SHOWN_BYTES: usize = 4_096;

#[derive(Args)]
pub struct DeadLettersArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// One line of JSON for each dead letter: where it lies, what it is about and why.
    List {
        #[command(flatten)]
        which: Which,
        /// Stop after so many.
        #[arg(long, default_value_t = 1_000)]
        limit: usize,
    },
    /// A dead letter with the record that it is about.
    Show {
        /// PARTITION@OFFSET in the topic of dead letters, as `list` says.
        id: LetterId,
    },
    /// Appends the records of dead letters to their input topics once more, as they are.
    ///
    /// For records that were refused for a reason that has passed, such as a code that the
    /// dictionary lacked. A fact that was used meanwhile counts as a duplicate.
    Redrive {
        /// PARTITION@OFFSET, as `list` says; several may be given.
        ids: Vec<LetterId>,
        #[command(flatten)]
        which: Which,
        /// Only say what would be appended.
        #[arg(long)]
        dry_run: bool,
    },
}

#[derive(Args)]
struct Which {
    /// Only those with this reason, for instance unknown_feed.
    #[arg(long)]
    reason: Option<String>,
    /// Only those of this input topic.
    #[arg(long)]
    topic: Option<String>,
}

/// Where a letter lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct LetterId(Place);

impl FromStr for LetterId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let place = text.split_once('@').and_then(|(partition, offset)| {
            Some(Place { partition: partition.parse().ok()?, offset: offset.parse().ok()? })
        });
        place.map(LetterId).ok_or_else(|| "write PARTITION@OFFSET, for instance 0@17".to_owned())
    }
}

/// A letter and where it lies.
struct Found {
    place: Place,
    letter: DeadLetter,
}

struct Desk {
    settings: KafkaSettings,
    codec: Codec,
}

pub fn run(args: &DeadLettersArgs, settings: &ConfigArgs) -> Result<ExitCode> {
    let desk = Desk::open(&settings.load()?)?;
    match &args.what {
        What::List { which, limit } => {
            for found in desk.find(&|found| which.matches(found), *limit)? {
                super::print(&found.line().to_string())?;
            }
        }
        What::Show { id } => {
            let shown = desk.show(*id)?;
            super::print(&serde_json::to_string_pretty(&shown)?)?;
        }
        What::Redrive { ids, which, dry_run } => {
            if ids.is_empty() && which.reason.is_none() && which.topic.is_none() {
                bail!("name the letters, or all of a --reason or --topic");
            }
            desk.redrive(ids, which, *dry_run)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

impl Which {
    fn matches(&self, found: &Found) -> bool {
        let is = |wanted: &Option<String>, it: &str| wanted.as_deref().is_none_or(|w| w == it);
        is(&self.reason, &found.letter.reason) && is(&self.topic, &found.letter.topic)
    }
}

impl Found {
    fn id(&self) -> String {
        format!("{}@{}", self.place.partition, self.place.offset)
    }

    fn line(&self) -> Value {
        let letter = &self.letter;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        // An edge's letter says here from whom its message came.
        let headers: BTreeMap<&str, String> =
            letter.headers.iter().map(|h| (h.key.as_str(), text(&h.value))).collect();
        json!({
            "id": self.id(),
            "topic": letter.topic,
            "partition": letter.partition,
            "offset": letter.offset,
            "headers": headers,
            "reason": letter.reason,
            "detail": letter.detail,
        })
    }

    /// The place of the record in an input; `None` for a row that never became one.
    fn origin(&self) -> Option<Origin> {
        Some(Origin {
            topic: Topic::from_name(&self.letter.topic)?,
            partition: u32::try_from(self.letter.partition).ok()?,
            offset: u64::try_from(self.letter.offset).ok()?,
        })
    }
}

impl Desk {
    fn open(config: &Config) -> Result<Self> {
        let dictionary = Dictionary::builtin(config.profile)?;
        let codec = Ids::of(config)?.codec(config, &dictionary)?;
        Ok(Desk { settings: KafkaSettings::from(&config.kafka), codec })
    }

    /// Up to `limit` letters that `wanted` takes.
    fn find(&self, wanted: &dyn Fn(&Found) -> bool, limit: usize) -> Result<Vec<Found>> {
        let mut all = Vec::new();
        visit_outputs(&self.settings, OutputKind::DeadLetter, &mut |record| {
            let place = record.place;
            self.codec.learn(&record.value)?;
            let letter = self.codec.decode::<DeadLetter>(&record.value).map_err(|why| {
                let Place { partition, offset } = place;
                PortError::Stop(format!("what lies at {partition}@{offset} is no letter: {why}"))
            })?;
            let found = Found { place, letter };
            if all.len() < limit && wanted(&found) {
                all.push(found);
            }
            Ok(())
        })?;
        Ok(all)
    }

    fn show(&self, id: LetterId) -> Result<Value> {
        let found = self.find(&|found| found.place == id.0, 1)?;
        let found =
            found.first().context("there is no such letter; see nowcxr dead-letters list")?;
        let mut shown = found.line();
        let record = self.record(found)?;
        if let (Some(shown), Some(record)) = (shown.as_object_mut(), record) {
            let key = record.key.as_deref().map(String::from_utf8_lossy);
            let bytes = record.value.iter().take(SHOWN_BYTES);
            let hex: String = bytes.map(|byte| format!("{byte:02x}")).collect();
            shown.insert("key".to_owned(), json!(key));
            shown.insert("appended_at".to_owned(), json!(record.at.map(|at| at.to_string())));
            shown.insert("value_size".to_owned(), json!(record.value.len()));
            shown.insert("value_hex".to_owned(), json!(hex));
        }
        Ok(shown)
    }

    /// The record that a letter is about: as it stands in its topic, or, where that has let it go,
    /// as the letter has it, if it has it whole.
    fn record(&self, found: &Found) -> Result<Option<StoredRecord>> {
        let Some(origin) = found.origin() else { return Ok(None) };
        let place = Place { partition: origin.partition, offset: origin.offset };
        let topic = self.settings.input(origin.topic);
        if let Some(record) = read_place(&self.settings, topic, place)? {
            return Ok(Some(record));
        }
        let letter = &found.letter;
        let is_whole = usize::try_from(letter.value_size) == Ok(letter.value.len());
        Ok((is_whole && !letter.value.is_empty()).then(|| StoredRecord {
            place: found.place,
            key: letter.key.clone(),
            value: letter.value.clone(),
            at: None,
        }))
    }

    fn redrive(&self, ids: &[LetterId], which: &Which, dry_run: bool) -> Result<()> {
        let named = |found: &Found| ids.is_empty() || ids.contains(&LetterId(found.place));
        let chosen = self.find(&|found| named(found) && which.matches(found), usize::MAX)?;
        if chosen.is_empty() {
            bail!("no letter is so; see nowcxr dead-letters list");
        }
        let mut sink = KafkaSink::open(&self.settings)?;
        for found in &chosen {
            let record = self.record(found)?;
            let (Some(origin), Some(record)) = (found.origin(), record) else {
                super::print(&json!({ "id": found.id(), "redriven": false }).to_string())?;
                continue;
            };
            if !dry_run {
                sink.again(origin, record.key.as_deref(), &record.value, record.at)?;
            }
            super::print(&json!({ "id": found.id(), "redriven": !dry_run }).to_string())?;
        }
        Ok(sink.flush()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_a_partition_and_an_offset() {
        assert_eq!("3@17".parse(), Ok(LetterId(Place { partition: 3, offset: 17 })));
        for wrong in ["", "3", "3@", "@3", "a@b", "-1@2"] {
            assert!(wrong.parse::<LetterId>().is_err(), "{wrong}");
        }
    }
}
