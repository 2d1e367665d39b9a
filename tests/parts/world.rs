//! An edge over a local log in a directory of its own, and what reads that log.

use std::path::Path;
use std::sync::Arc;

use nowcxr::config::{Config, HashKey};
use nowcxr::drive::{Drive, DriveOptions, Outbox, Ports};
use nowcxr::edge::{self, DEAD_LETTERS, Desk, Language, LocalSink};
use nowcxr::engine::{Identity, Task};
use nowcxr::event::dictionary::Dictionary;
use nowcxr::event::risk::{Generation, Mode, ModelName, N_PHENOTYPES, Probability, Scores};
use nowcxr::ids::{Digest, Topic};
use nowcxr::ports::{Outcome, OutputKind, PredictionRequest, Predictor};
use nowcxr::predict::{Score, Worker, WorkerConfig};
use nowcxr::series::Row;
use nowcxr::store::memory::MemoryStore;
use nowcxr::store::sled::{SledStore, StoreOptions};
use nowcxr::time::{EventTime, WallTime};
use nowcxr::transport::local::{
    LocalJournal, LocalLog, LocalOutlet, LocalSource, LogOptions, outputs,
};
use nowcxr::wire::{Codec, DeadLetter, RiskRecord};

pub type LocalDesk = Desk<SledStore, LocalSink>;

/// An edge of HL7 brings no films.
const FEEDS: &str = r#"feeds.list=[
    {name="stay",topic="stay"}, {name="lab",topic="lab"}, {name="vital",topic="vital"},
]"#;

/// HL7's units and codes of the tests; an hour between windows.
pub fn config(more: &[&str]) -> Config {
    let mut flags: Vec<String> = vec![
        "edge.secret=a secret of the tests".into(),
        "edge.units=[\"MICU\", \"SICU\"]".into(),
        "edge.codes={ GLU = \"glucose\", CRT = \"capillary_refill\" }".into(),
        FEEDS.into(),
    ];
    flags.extend(more.iter().map(|flag| (*flag).to_owned()));
    Config::load(None, [], &flags).unwrap()
}

pub fn secret(config: &Config) -> &HashKey {
    config.edge.secret.as_ref().unwrap()
}

pub fn log(dir: &Path) -> Arc<LocalLog> {
    LocalLog::open(dir.join("log"), LogOptions::default()).unwrap()
}

pub fn desk(config: &Config, dir: &Path, log: &LocalLog) -> LocalDesk {
    let (store, _) = SledStore::open(dir.join("edge"), &StoreOptions::default()).unwrap();
    edge::open(&[Language::Hl7], config, secret(config), store, LocalSink::open(log, None).unwrap())
        .unwrap()
}

/// Lets time pass, with senders that are there.
pub fn pass(desk: &mut LocalDesk, now: WallTime) {
    desk.tick(now).unwrap();
    desk.mark(Language::Hl7.topics(), now).unwrap();
}

pub fn wall(at: EventTime) -> WallTime {
    WallTime::from_millis(at.as_millis())
}

pub fn codec(config: &Config) -> Codec {
    let dictionary = Dictionary::builtin(config.profile).unwrap();
    Codec::new(&config.engine.feeds, dictionary).unwrap()
}

/// Every record of an input topic but marks, decoded or rejected, as one line each.
pub fn facts(config: &Config, log: &LocalLog, topic: Topic) -> Vec<String> {
    let codec = codec(config);
    let partition = log.partition(topic.name(), 0).unwrap();
    let mut reader = partition.reader(partition.start()).unwrap();
    let mut lines = Vec::new();
    while let Some(record) = reader.read().unwrap() {
        if record.key.is_none() {
            continue;
        }
        lines.push(match codec.decode_input(topic, record.key.as_deref(), &record.value) {
            Ok(decoded) => format!("{decoded:?}"),
            Err(rejection) => rejection.to_string(),
        });
    }
    lines
}

/// Reason and headers of every dead letter of the edge.
pub fn letters(config: &Config, log: &LocalLog) -> Vec<(String, DeadLetter)> {
    let codec = codec(config);
    let partition = log.partition(DEAD_LETTERS, 0).unwrap();
    let mut reader = partition.reader(partition.start()).unwrap();
    let mut found = Vec::new();
    while let Some(record) = reader.read().unwrap() {
        let letter: DeadLetter = codec.decode(&record.value).unwrap();
        found.push((letter.reason.clone(), letter));
    }
    found
}

/// A score that depends on the question alone, and not on whose stay it is: a sum over hashes of
/// the rows, since the order of rows of one moment is that of their facts' ids.
struct Sum;

impl Score for Sum {
    fn score(&mut self, request: &PredictionRequest) -> Outcome {
        let hash = |row: &Row| {
            let name = format!("{} {} {}", row.at, row.variable.0, row.value);
            u64::from_be_bytes(*Digest::of(name.as_bytes()).0.first_chunk().unwrap())
        };
        let sum = request.rows.iter().map(hash).fold(0, u64::wrapping_add);
        let p = Probability::new((sum % 1_000_003) as f32 / 1_000_003.0).unwrap();
        Outcome::Scored(Scores {
            mortality: p,
            mortality_raw: p,
            mortality_interval: None,
            phenotypes: [p; N_PHENOTYPES],
            carry_forward: None,
            ehr_only: None,
            generation: None::<Generation>,
            attribution: Vec::new(),
        })
    }

    fn recover(&mut self) {}
}

pub type LocalDrive<P> = Drive<LocalSource, MemoryStore, Outbox<LocalOutlet, LocalJournal>, P>;

/// A predictor that scores by the rows alone.
pub fn summing() -> Worker {
    Worker::start(Sum, WorkerConfig::default()).unwrap()
}

/// The one loop over the log's inputs.
pub fn drive<P: Predictor>(
    config: &Config,
    log: &Arc<LocalLog>,
    (store, predictor): (MemoryStore, P),
    options: DriveOptions,
) -> LocalDrive<P> {
    let clock = || WallTime::from_millis(0);
    let ports = Ports {
        source: LocalSource::open(log, &Topic::ALL, 0).unwrap(),
        store,
        committer: Outbox {
            outlet: LocalOutlet::open(log, 0, Box::new(clock)).unwrap(),
            journal: LocalJournal::open(log, 0, Box::new(clock)).unwrap(),
        },
        predictor,
    };
    let dictionary = Dictionary::builtin(config.profile).unwrap();
    let identity = Identity {
        model: ModelName {
            name: "sum".into(),
            version: "0".into(),
            digest: Digest::of(b"the sum of the rows"),
        },
        config_digest: Digest::of(b"the test's config"),
        mode: Mode::Silent,
        doubts: Vec::new(),
        variables: dictionary.variables().iter().map(|v| v.code.clone()).collect(),
        epoch: 1,
    };
    let task = Task::new(config.engine.clone(), identity);
    Drive::open(ports, task, codec(config), options, clock).unwrap()
}

/// The risk events that have left, in the order in which they are compared.
pub fn risk_records(config: &Config, log: &LocalLog) -> Vec<RiskRecord> {
    let codec = codec(config);
    let records = outputs(log, OutputKind::Risk, 0).unwrap();
    let mut events: Vec<RiskRecord> =
        records.map(|output| codec.decode(&output.unwrap().payload).unwrap()).collect();
    events.sort_by_key(|event| (event.stay_id, event.t, event.revision));
    events
}

/// Reads the log's inputs to their end with the one loop, and gives the risk events that leave.
pub fn risk_events(config: &Config, log: &Arc<LocalLog>) -> Vec<RiskRecord> {
    let parts = (MemoryStore::new(), summing());
    let mut drive = drive(config, log, parts, DriveOptions::default());
    while !drive.turn().unwrap().idle() {}
    drive.finish().unwrap();
    for ((topic, fate), n) in &drive.counts().fates {
        println!("{} {fate}: {n}", topic.name());
    }
    println!("rejected: {:?}", drive.counts().rejected);
    risk_records(config, log)
}
