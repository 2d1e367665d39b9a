//! The loop over a log on disk, with a predictor that answers from the question alone.

use std::cell::Cell;
use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use nowcxr::config::EngineConfig;
use nowcxr::drive::{Counts, Drive, DriveOptions, Outbox, Ports};
use nowcxr::engine::{Identity, Task};
use nowcxr::event::risk::{Doubt, Mode, ModelName, N_PHENOTYPES, Probability, Scores};
use nowcxr::ids::{Digest, Topic};
use nowcxr::ports::{Answer, Outcome, OutputKind, PredictionRequest, Predictor, StateStore};
use nowcxr::store::memory::MemoryStore;
use nowcxr::time::WallTime;
use nowcxr::transport::local::{
    LocalJournal, LocalLog, LocalOutlet, LocalSource, LogOptions, NewRecord, outputs,
};
use nowcxr::wire::{Codec, DeadLetter};

use super::records::{Sent, codec};

/// Answers from the rows and the film alone, and counts how often it was asked.
#[derive(Default)]
struct Oracle {
    questions: VecDeque<PredictionRequest>,
    asked: Rc<Cell<u64>>,
}

impl Predictor for Oracle {
    fn submit(&mut self, request: PredictionRequest) -> Result<(), Box<PredictionRequest>> {
        if self.questions.len() >= 4 {
            return Err(Box::new(request));
        }
        self.asked.set(self.asked.get() + 1);
        self.questions.push_back(request);
        Ok(())
    }

    fn poll(&mut self, _wait: Duration) -> Option<Answer> {
        let request = self.questions.pop_front()?;
        let rows: f64 = request.rows.iter().map(|row| row.value).sum();
        let film = request.film.as_ref().map_or(0, |film| film.digest().0[0]);
        let p = Probability::new(((rows.abs() + f64::from(film)) % 97.0 / 97.0) as f32).unwrap();
        let scores = Scores {
            mortality: p,
            mortality_raw: p,
            mortality_interval: None,
            phenotypes: [p; N_PHENOTYPES],
            carry_forward: None,
            ehr_only: None,
            generation: None,
            attribution: Vec::new(),
        };
        let outcome = Outcome::Scored(scores);
        Some(Answer { ticket: request.ticket, epoch: request.epoch, outcome })
    }

    fn pending(&self) -> usize {
        self.questions.len()
    }
}

/// What a run left behind.
#[derive(Debug)]
pub struct Outcomes {
    /// Payloads in the order of their bytes, which is that of nothing in particular.
    pub risks: Vec<Vec<u8>>,
    pub letters: Vec<DeadLetter>,
    pub counts: Counts,
    /// Questions put to the model in this run.
    pub asked: u64,
}

impl Outcomes {
    /// How many records of any topic ended as `fate`.
    pub fn fate(&self, fate: &str) -> u64 {
        let of = |((_, name), n): (&(Topic, &str), &u64)| if *name == fate { *n } else { 0 };
        self.counts.fates.iter().map(of).sum()
    }

    pub fn fates(&self) -> u64 {
        self.counts.fates.values().sum()
    }
}

/// Writes the records into the log of `dir`, in the order of their append times. Returns the
/// offset of each, in the order given.
pub fn append(dir: &Path, records: &[Sent]) -> Vec<u64> {
    let log = LocalLog::open(dir.join("log"), LogOptions::default()).unwrap();
    let mut order: Vec<usize> = (0..records.len()).collect();
    order.sort_by_key(|&i| records[i].at);
    let mut sequences: BTreeMap<Topic, u64> = BTreeMap::new();
    let mut offsets = vec![0; records.len()];
    for i in order {
        let Sent { topic, key, value, at } = &records[i];
        let partition = log.partition(topic.name(), 0).unwrap();
        let sequence = sequences.entry(*topic).or_default();
        *sequence += 1;
        let (key, sequence) = (key.as_deref(), *sequence);
        let record = NewRecord { writer: 1, sequence, key, headers: &[], value };
        let at = WallTime::from_millis(at.as_millis());
        offsets[i] = partition.append_batch(&[record], at).unwrap().first;
    }
    for topic in Topic::ALL {
        log.partition(topic.name(), 0).unwrap().sync().unwrap();
    }
    offsets
}

/// Runs the loop over the log of `dir` to its end.
pub fn run(dir: &Path, store: impl StateStore, config: EngineConfig) -> Outcomes {
    let log = LocalLog::open(dir.join("log"), LogOptions::default()).unwrap();
    let asked = Rc::new(Cell::new(0));
    let clock = || Box::new(|| WallTime::from_millis(0));
    let ports = Ports {
        source: LocalSource::open(&log, &Topic::ALL, 0).unwrap(),
        store,
        committer: Outbox {
            outlet: LocalOutlet::open(&log, 0, clock()).unwrap(),
            journal: LocalJournal::open(&log, 0, clock()).unwrap(),
        },
        predictor: Oracle { asked: Rc::clone(&asked), ..Oracle::default() },
    };
    let options = DriveOptions {
        // Many commits, as the loop is much faster than life.
        commit_every: Duration::from_millis(10),
        idle_wait: Duration::ZERO,
        ..DriveOptions::default()
    };
    let task = Task::new(config, identity());
    let mut drive =
        Drive::open(ports, task, codec(), options, || WallTime::from_millis(0)).unwrap();
    while !drive.turn().unwrap().idle() {}
    drive.finish().unwrap();
    let counts = drive.counts().clone();
    let asked = asked.get();
    let mut risks = payloads(&log, OutputKind::Risk);
    risks.sort();
    let codec = codec();
    let letter = |payload: Vec<u8>| codec.decode::<DeadLetter>(&payload).unwrap();
    let letters = payloads(&log, OutputKind::DeadLetter).into_iter().map(letter).collect();
    Outcomes { risks, letters, counts, asked }
}

/// Records into a new log, and a run over a store in memory. Also the offset of each record.
pub fn run_in_memory(records: &[Sent], config: EngineConfig) -> (Outcomes, Vec<u64>) {
    let dir = tempfile::tempdir().unwrap();
    let offsets = append(dir.path(), records);
    (run(dir.path(), MemoryStore::new(), config), offsets)
}

fn payloads(log: &Arc<LocalLog>, kind: OutputKind) -> Vec<Vec<u8>> {
    let stored = outputs(log, kind, 0).unwrap();
    stored.map(|stored| stored.unwrap().payload.to_vec()).collect()
}

/// How many of `records` are marks, as far as the codec can tell.
pub fn n_marks(codec: &Codec, records: &[Sent]) -> u64 {
    let is_mark = |sent: &&Sent| {
        let decoded = codec.decode_input(sent.topic, sent.key.as_deref(), &sent.value);
        matches!(decoded, Ok(nowcxr::wire::Decoded::Mark(_)))
    };
    records.iter().filter(is_mark).count() as u64
}

fn identity() -> Identity {
    Identity {
        model: ModelName {
            name: "oracle".into(),
            version: "0".into(),
            digest: Digest::of(b"the test's model"),
        },
        config_digest: Digest::of(b"the test's config"),
        mode: Mode::Silent,
        doubts: vec![Doubt::NotValidated],
        variables: (0..17).map(|n| format!("variable-{n}")).collect(),
        epoch: 1,
    }
}
