//! What the pipeline has found of the faults that a replay put in on purpose.
//!
//! The inputs are read once more, without a model, and each record that carries a fault is known
//! again by the digest of its bytes. So what is counted is what became of that very record.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde::Serialize;

use super::embedded::Home;
use super::feeding::faults_file;
use super::offline::{Inputs, Nobody, Offline};
use super::schemas::Ids;
use crate::config::Config;
use crate::engine::{Fate, Identity};
use crate::event::dictionary::Dictionary;
use crate::event::risk::{Mode, ModelName};
use crate::ids::{Digest, Origin, Position, StayId, Topic};
use crate::ports::{PortError, Source, SourceRecord};
use crate::replay::faults::{Fault, FaultKind};
use crate::time::EventTime;
use crate::transport::kafka::{KafkaSettings, check_topics};

/// The summary beside the truth.
const FILE: &str = "detection.json";

/// Where the recording was told.
pub enum Told<'a> {
    /// In the log of this run.
    Local(&'a Path),
    Kafka(&'a KafkaSettings, Ids),
}

/// What became of the faults, kind by kind.
#[derive(Debug, Default, PartialEq, Serialize)]
pub struct Detection(BTreeMap<FaultKind, Outcome>);

/// What became of the faults of one kind.
#[derive(Debug, Default, PartialEq, Serialize)]
struct Outcome {
    injected: u64,
    /// Those that the pipeline has noticed by itself.
    found: u64,
    /// How often which came of it.
    became: BTreeMap<String, u64>,
}

/// What became of the records that carry faults.
#[derive(Default)]
struct Trail {
    wanted: BTreeSet<Digest>,
    at: BTreeMap<Origin, Digest>,
    /// Of each record every fate, as often as it was told.
    fates: BTreeMap<Digest, Vec<String>>,
    /// Windows that were sealed again: the stay, and what was known then.
    revised: BTreeSet<(StayId, EventTime)>,
}

/// A source whose wanted records are known again.
struct Marked<S> {
    source: S,
    trail: Rc<RefCell<Trail>>,
}

impl<S: Source> Source for Marked<S> {
    fn fetch(
        &mut self,
        max: usize,
        wait: Duration,
        into: &mut Vec<SourceRecord>,
    ) -> Result<(), PortError> {
        let before = into.len();
        let fetched = self.source.fetch(max, wait, into);
        let mut trail = self.trail.borrow_mut();
        for record in into.iter().skip(before) {
            let digest = Digest::of(&record.value);
            if trail.wanted.contains(&digest) {
                trail.at.insert(record.origin, digest);
            }
        }
        fetched
    }

    fn seek(&mut self, positions: &[Position]) -> Result<(), PortError> {
        self.source.seek(positions)
    }

    fn pause(&mut self, topics: &BTreeSet<Topic>) -> Result<(), PortError> {
        self.source.pause(topics)
    }
}

/// Reads the truth of a run in `out` and the inputs that were told, and compares.
pub fn detect(
    told: Told<'_>,
    out: &Path,
    config: &Config,
    stop: &Arc<AtomicBool>,
) -> Result<Detection> {
    let faults = read_truth(&faults_file(out))?;
    let wanted = faults.iter().map(|fault| fault.record).collect();
    let trail = Rc::new(RefCell::new(Trail { wanted, ..Trail::default() }));
    let dictionary = Dictionary::builtin(config.profile)?;
    let identity = nobody(&dictionary);
    let ids = match &told {
        Told::Local(_) => Ids::default(),
        Told::Kafka(_, ids) => ids.clone(),
    };
    let (config, stop) = (config.clone(), Arc::clone(stop));
    let offline = Offline { config, dictionary, identity, ids, stop };
    match told {
        Told::Local(dir) => look(&offline, Inputs::local(&Home::new(dir))?, &trail)?,
        Told::Kafka(kafka, _) => {
            let partitions = check_topics(kafka)?;
            for partition in 0..partitions {
                look(&offline, Inputs::kafka(kafka, partition, partitions)?, &trail)?;
            }
        }
    }
    let detection = Detection::of(&faults, &trail.borrow());
    let path = out.join(FILE);
    let text = serde_json::to_string_pretty(&detection)?;
    std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(detection)
}

fn read_truth(path: &Path) -> Result<Vec<Fault>> {
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("cannot read the truth in {}", path.display()))?;
    let damaged = || format!("{} is damaged", path.display());
    text.lines().map(|line| serde_json::from_str(line).with_context(damaged)).collect()
}

fn look<S: Source>(offline: &Offline, inputs: Inputs<S>, trail: &Rc<RefCell<Trail>>) -> Result<()> {
    let inputs = inputs.through(|source| Marked { source, trail: Rc::clone(trail) });
    let seen = Rc::clone(trail);
    let watcher = Box::new(move |origin: Origin, fate: &Fate| {
        let mut trail = seen.borrow_mut();
        if let Some(digest) = trail.at.remove(&origin) {
            trail.fates.entry(digest).or_default().push(named(fate));
        }
    });
    offline.run(inputs, Nobody::default(), Some(watcher), &mut |event, _| {
        if event.revision > 0 {
            trail.borrow_mut().revised.insert((event.stay, event.known_at));
        }
        Ok(())
    })
}

fn named(fate: &Fate) -> String {
    match fate {
        Fate::Used => "used".to_owned(),
        Fate::Late => "late".to_owned(),
        Fate::Duplicate => "duplicate".to_owned(),
        Fate::Shadow => "shadow".to_owned(),
        Fate::Rejected(rejection) => format!("rejected as {}", rejection.reason.code()),
    }
}

/// Nothing that this speaker says is kept.
fn nobody(dictionary: &Dictionary) -> Identity {
    let (name, version) = ("nobody".to_owned(), String::new());
    Identity {
        model: ModelName { name, version, digest: Digest([0; 32]) },
        config_digest: Digest([0; 32]),
        mode: Mode::Silent,
        doubts: Vec::new(),
        variables: dictionary.variables().iter().map(|v| v.code.clone()).collect(),
        epoch: 1,
    }
}

impl Detection {
    fn of(faults: &[Fault], trail: &Trail) -> Self {
        let mut kinds: BTreeMap<FaultKind, Outcome> = BTreeMap::new();
        for fault in faults {
            let (is_found, became) = judge(fault, trail);
            let outcome = kinds.entry(fault.kind).or_default();
            outcome.injected += 1;
            outcome.found += u64::from(is_found);
            *outcome.became.entry(became).or_default() += 1;
        }
        Detection(kinds)
    }
}

/// Whether a fault was noticed, and what came of it.
fn judge(fault: &Fault, trail: &Trail) -> (bool, String) {
    let none = Vec::new();
    let fates = trail.fates.get(&fault.record).unwrap_or(&none);
    let has = |name: &str| fates.iter().any(|fate| fate == name);
    let rejected = fates.iter().find(|fate| fate.starts_with("rejected"));
    let last = || fates.last().cloned().unwrap_or_else(|| "never seen".to_owned());
    match fault.kind {
        FaultKind::Duplicate if has("duplicate") => (true, "duplicate".to_owned()),
        FaultKind::Late if has("late") => (true, "late".to_owned()),
        FaultKind::Correct if trail.revised.contains(&(fault.stay, fault.available_at)) => {
            (true, "used, windows revised".to_owned())
        }
        // It took the place of the value before a window had used that.
        FaultKind::Correct if has("used") => (true, "used".to_owned()),
        // Another order of arrival between two marks must not be seen in anything.
        FaultKind::Reorder | FaultKind::Duplicate | FaultKind::Late | FaultKind::Correct => {
            (false, last())
        }
        _ => rejected.map_or_else(|| (false, last()), |why| (true, why.clone())),
    }
}

/// A table: what was put in, what was found, and what came of it.
impl fmt::Display for Detection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "  {:<14} {:>9} {:>7}  became", "fault", "injected", "found")?;
        for (kind, Outcome { injected, found, became }) in &self.0 {
            let became: Vec<String> =
                became.iter().map(|(what, n)| format!("{n} {what}")).collect();
            write!(f, "\n  {kind:<14} {injected:>9} {found:>7}  {}", became.join(", "))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Topic;

    fn fault(kind: FaultKind, record: &str) -> Fault {
        Fault {
            number: 1,
            kind,
            topic: Topic::Lab,
            stay: StayId(7),
            available_at: EventTime::from_millis(5),
            record: Digest::of(record.as_bytes()),
            detail: String::new(),
        }
    }

    #[test]
    fn a_fault_is_found_by_what_became_of_its_record() {
        let mut trail = Trail::default();
        let mut fate = |record: &str, fates: &[&str]| {
            let fates = fates.iter().map(|fate| (*fate).to_owned()).collect();
            trail.fates.insert(Digest::of(record.as_bytes()), fates);
        };
        fate("twice", &["used", "duplicate"]);
        fate("swapped", &["used"]);
        fate("noise", &["rejected as undecodable"]);
        trail.revised.insert((StayId(7), EventTime::from_millis(5)));
        let faults = [
            fault(FaultKind::Duplicate, "twice"),
            fault(FaultKind::Drop, "gone"),
            fault(FaultKind::Reorder, "swapped"),
            fault(FaultKind::Garbage, "noise"),
            fault(FaultKind::Late, "swapped"),
            fault(FaultKind::Correct, "swapped"),
        ];
        let Detection(kinds) = Detection::of(&faults, &trail);
        let found = |kind| kinds[&kind].found;
        assert_eq!(found(FaultKind::Duplicate), 1);
        assert_eq!(found(FaultKind::Garbage), 1);
        assert_eq!(found(FaultKind::Correct), 1);
        assert_eq!(found(FaultKind::Drop) + found(FaultKind::Reorder) + found(FaultKind::Late), 0);
        assert_eq!(kinds[&FaultKind::Drop].became["never seen"], 1);
    }
}
