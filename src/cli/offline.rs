//! Inputs looked at once more by the one loop, with an empty state in memory, beside whatever runs:
//! for windows that another model is to answer, and for the fate of single records.

mod ends;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow};

use super::embedded::Home;
use super::now;
use super::schemas::Ids;
use crate::config::Config;
use crate::drive::{Drive, DriveError, DriveOptions, Ports, Watcher};
use crate::engine::{Identity, Task};
use crate::event::dictionary::Dictionary;
use crate::event::risk::RiskEvent;
use crate::ids::{Position, Topic};
use crate::ports::{Journal as _, JournalRecord, PortError, Predictor, Source};
use crate::store::memory::MemoryStore;
use crate::transport::kafka::{KafkaSettings, KafkaSource, journal};
use crate::transport::local::{LocalJournal, LocalLog, LocalSource};
use crate::wire::Codec;
pub use ends::{Collected, Collector, Nobody, Within};

/// Inputs whose end is not reached although nothing has come for so long end with something that
/// is no record, such as the mark of a transaction.
const STALLED: Duration = Duration::from_secs(10);

/// One task's inputs and what its journal says.
pub struct Inputs<S> {
    pub source: S,
    partition: u32,
    /// How many there are, where records lie where their keys say.
    partitions: Option<u32>,
    journal: Vec<JournalRecord>,
    /// Where the inputs end; nothing for a source that knows its end.
    ends: Vec<Position>,
}

/// What is the same for every task.
pub struct Offline {
    pub config: Config,
    pub dictionary: Dictionary,
    pub identity: Identity,
    pub ids: Ids,
    pub stop: Arc<AtomicBool>,
}

impl Inputs<LocalSource> {
    /// Of a demo or a replay, as they are now.
    pub fn local(home: &Home) -> Result<Self> {
        let log = LocalLog::open_read_only(home.log())
            .with_context(|| format!("{} holds no run", home.dir().display()))?;
        let mut journal = Vec::new();
        LocalJournal::open(&log, 0, Box::new(now))?.read(&mut |record| journal.push(record))?;
        let source = LocalSource::open(&log, &Topic::ALL, 0)?;
        Ok(Inputs { source, partition: 0, partitions: None, journal, ends: Vec::new() })
    }
}

impl Inputs<KafkaSource> {
    /// One partition of `partitions` of every input, as they are now.
    pub fn kafka(kafka: &KafkaSettings, partition: u32, partitions: u32) -> Result<Self> {
        let ends = KafkaSource::ends(kafka, partition)?;
        let mut entries = Vec::new();
        journal::read(kafka, partition, &mut |record| entries.push(record))?;
        let source = KafkaSource::open(kafka, [partition])?;
        Ok(Inputs { source, partition, partitions: Some(partitions), journal: entries, ends })
    }
}

impl<S> Inputs<S> {
    /// The same inputs through another source.
    pub fn through<T>(self, wrap: impl FnOnce(S) -> T) -> Inputs<T> {
        let Inputs { source, partition, partitions, journal, ends } = self;
        Inputs { source: wrap(source), partition, partitions, journal, ends }
    }
}

impl Offline {
    /// Reads the inputs to their end. `each` is shown every risk event and its payload, in the
    /// order of leaving.
    pub fn run<S: Source, P: Predictor>(
        &self,
        inputs: Inputs<S>,
        predictor: P,
        watcher: Option<Watcher>,
        each: &mut dyn FnMut(&RiskEvent, &[u8]) -> Result<()>,
    ) -> Result<()> {
        let Inputs { source, partition, partitions, journal, ends } = inputs;
        let (codec, collected) = (self.codec()?, Collected::default());
        let committer = Collector::new(journal, &codec, collected.clone())?;
        let ports = Ports { source, store: MemoryStore::new(), committer, predictor };
        let task = Task::new(self.config.engine.clone(), self.identity.clone());
        let options = DriveOptions { partition, partitions, ..DriveOptions::default() };
        let mut drive = Drive::open(ports, task, self.codec()?, options, now)?;
        if let Some(watcher) = watcher {
            drive.watch(watcher);
        }
        let mut busy = Instant::now();
        while !self.stop.load(Ordering::Acquire) {
            let turn = match drive.turn() {
                Ok(turn) => turn,
                Err(DriveError::Port(PortError::Retry(why))) if drive.is_whole() => {
                    tracing::warn!("{why}; trying again");
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            for payload in collected.take() {
                let event = codec.decode_risk(&payload);
                each(&event.map_err(|why| anyhow!("{why}; please report this"))?, &payload)?;
            }
            if !turn.idle() {
                busy = Instant::now();
            } else if is_read(&drive.positions(), &ends) || busy.elapsed() > STALLED {
                break;
            }
        }
        Ok(())
    }

    fn codec(&self) -> Result<Codec> {
        Ok(self.ids.codec(&self.config, &self.dictionary)?)
    }
}

/// Whether inputs are read to their `ends`.
pub fn is_read(positions: &[Position], ends: &[Position]) -> bool {
    ends.iter().all(|end| {
        let at = positions.iter().find(|position| position.topic == end.topic);
        end.next == 0 || at.is_some_and(|at| at.next >= end.next)
    })
}
