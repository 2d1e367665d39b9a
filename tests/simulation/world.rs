//! What a simulated cluster has in common: the log, the faults, the counts of what was done to it.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use nowcxr::config::EngineConfig;
use nowcxr::engine::Identity;
use nowcxr::event::FactBody;
use nowcxr::event::risk::{Doubt, Mode, ModelName};
use nowcxr::ids::{Digest, Position, Topic};
use nowcxr::ports::{JournalRecord, Output, PortError, PredictionRequest};
use nowcxr::store::memory::MemoryStore;
use nowcxr::time::WallTime;

use crate::dice::Dice;
use crate::log::Log;
use crate::ward::{Logged, dictionary};

/// Every partition of the simulated log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    Input(Topic, u32),
    Output(u32),
    Journal(u32),
    Changelog(u32),
}

#[derive(Clone, Debug)]
pub enum Entry {
    Input(Rc<Logged>),
    Output(Output),
    Journal(JournalRecord),
    /// A value of the state, or none where it was deleted.
    Value(Vec<u8>, Option<Vec<u8>>),
    Progress(Progress),
}

/// Where a state stood after a commit.
#[derive(Clone, Debug, Default)]
pub struct Progress {
    pub number: u64,
    pub positions: Vec<Position>,
}

/// How commits leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// One node; journal, store and outlet are durable each by itself.
    Local,
    /// Many nodes; all of a commit is one transaction, and the changelog is the truth.
    Kafka,
    /// Journal and input are read and nothing is written: what a rebuild would make.
    Rebuild,
}

/// A fault of the ports that the simulator must find.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Defect {
    /// Outputs of a commit whose node dies right after it are lost.
    DropsOutputAtCrash,
    /// A rebuilt task sends again what had left.
    DoublesAfterRebuild,
    /// The source hands out records of aborted transactions.
    ReadsUncommitted,
    /// Retractions never reach the engine.
    ForgetsRetractions,
    /// What people did never reaches the engine.
    ForgetsActs,
    /// After a crash windows are gone and the store says nothing.
    LosesTailSilently,
    /// A producer that was fenced may write all the same.
    IgnoresFencing,
    /// Outputs are written outside the transaction.
    TearsTransactions,
    /// Answers are not journalled.
    ForgetsJournal,
    /// The store has no film that it was given.
    LosesFilms,
}

impl Defect {
    pub const ALL: [Defect; 10] = [
        Defect::DropsOutputAtCrash,
        Defect::DoublesAfterRebuild,
        Defect::ReadsUncommitted,
        Defect::ForgetsRetractions,
        Defect::ForgetsActs,
        Defect::LosesTailSilently,
        Defect::IgnoresFencing,
        Defect::TearsTransactions,
        Defect::ForgetsJournal,
        Defect::LosesFilms,
    ];
}

/// Chances of each fault at each occasion.
#[derive(Clone, Copy, Debug, Default)]
pub struct Faults {
    pub crash: f64,
    pub move_task: f64,
    pub zombie: f64,
    pub fetch_error: f64,
    pub pause: f64,
    pub abort: f64,
    pub unknown: f64,
    pub disk_full: f64,
    pub damage: f64,
    pub lazy_flush: f64,
    pub deadline: f64,
    pub silence: f64,
    pub quiet: f64,
    pub compact: f64,
    pub model_slow: f64,
    pub model_degraded: f64,
    pub model_unscored: f64,
    pub model_wrong_epoch: f64,
    pub model_twice: f64,
    pub model_dies: f64,
    pub edge_transactions: bool,
    pub edge_abort: f64,
    pub edge_hang: f64,
    pub edge_repeat: f64,
    /// This topic is read ahead of all others.
    pub ahead: Option<Topic>,
    /// Facts that may wait in a task; none for as many as there are.
    pub waiting_max: Option<usize>,
    /// After so long, by a real clock, a feed is silent. Then time is not the virtual wall's.
    pub patience: Option<Duration>,
}

impl Faults {
    pub fn of(dice: &mut Dice) -> Self {
        let mut rate = |rates: &[f64]| dice.pick(rates);
        Faults {
            crash: rate(&[0.0, 0.01, 0.03]),
            move_task: rate(&[0.0, 0.02, 0.06]),
            zombie: rate(&[0.0, 0.3, 0.7]),
            fetch_error: rate(&[0.0, 0.0, 0.05]),
            pause: rate(&[0.0, 0.2]),
            abort: rate(&[0.0, 0.1]),
            unknown: rate(&[0.0, 0.0, 0.05]),
            disk_full: rate(&[0.0, 0.0, 0.05]),
            damage: rate(&[0.0, 0.2]),
            lazy_flush: rate(&[0.0, 0.5, 0.9]),
            deadline: rate(&[0.0, 0.0, 0.3]),
            silence: rate(&[0.0, 0.0, 0.0, 0.2]),
            compact: rate(&[0.0, 0.05]),
            model_slow: rate(&[0.0, 0.3, 0.8]),
            model_degraded: rate(&[0.0, 0.1]),
            model_unscored: rate(&[0.0, 0.1]),
            model_wrong_epoch: rate(&[0.0, 0.1]),
            model_twice: rate(&[0.0, 0.1]),
            model_dies: rate(&[0.0, 0.0, 0.02]),
            edge_transactions: rate(&[0.0, 1.0]) > 0.5,
            edge_abort: rate(&[0.0, 0.1]),
            edge_hang: rate(&[0.0, 0.1]),
            edge_repeat: rate(&[0.0, 0.0, 0.05]),
            quiet: rate(&[0.0, 0.0, 0.0, 0.2]),
            ahead: dice.pick(&[None, None, Some(Topic::Vital), Some(Topic::Lab)]),
            waiting_max: dice.pick(&[None, Some(2), Some(8)]),
            patience: None,
        }
    }
}

pub struct World {
    pub log: RefCell<Log<Place, Entry>>,
    pub dice: RefCell<Dice>,
    pub faults: Cell<Faults>,
    pub transport: Transport,
    /// Whether each fault is told as it happens.
    pub traced: bool,
    pub config: EngineConfig,
    pub defect: Option<Defect>,
    /// How often each fault was made to happen.
    pub counts: RefCell<BTreeMap<&'static str, u64>>,
    pub asked: RefCell<Vec<(u32, PredictionRequest)>>,
    /// Of each partition where its newest transaction stood, and what moved back if anything did.
    pub committed: RefCell<BTreeMap<u32, Progress>>,
    pub moved_back: RefCell<Option<String>>,
}

impl World {
    pub fn new(dice: Dice, faults: Faults, transport: Transport, config: &EngineConfig) -> Self {
        World {
            log: RefCell::new(Log::default()),
            dice: RefCell::new(dice),
            faults: Cell::new(faults),
            transport,
            traced: false,
            config: config.clone(),
            defect: None,
            counts: RefCell::default(),
            asked: RefCell::default(),
            committed: RefCell::default(),
            moved_back: RefCell::default(),
        }
    }

    pub fn chance(&self, p: f64) -> bool {
        self.dice.borrow_mut().chance(p)
    }

    pub fn below(&self, n: usize) -> usize {
        self.dice.borrow_mut().below(n)
    }

    pub fn count(&self, what: &'static str) {
        if self.traced {
            println!("{what}");
        }
        self.count_many(what, 1);
    }

    pub fn count_many(&self, what: &'static str, n: u64) {
        *self.counts.borrow_mut().entry(what).or_default() += n;
    }

    /// Whether a fault of this chance happens now; counted under its name.
    pub fn happens(&self, what: &'static str, p: f64) -> bool {
        let happens = self.chance(p);
        if happens {
            self.count(what);
        }
        happens
    }

    /// A transaction has come to be. Each is the next of its partition, and none moves back.
    pub fn note_committed(&self, partition: u32, progress: Progress) {
        let mut committed = self.committed.borrow_mut();
        let before = committed.insert(partition, progress.clone()).unwrap_or_default();
        let next = |of: &Progress, topic| {
            of.positions.iter().find(|p| p.topic == topic).map_or(0, |p| p.next)
        };
        let back = Topic::ALL.into_iter().find(|t| next(&progress, *t) < next(&before, *t));
        if let Some(topic) = back {
            let [from, to] = [next(&before, topic), next(&progress, topic)];
            let why = format!("task {partition}: {topic:?} was moved back from {from} to {to}");
            self.moved_back.borrow_mut().get_or_insert(why);
        } else if progress.number != before.number + 1 {
            let [from, to] = [before.number, progress.number];
            let why = format!("task {partition}: commit {to} came after {from}");
            self.moved_back.borrow_mut().get_or_insert(why);
        }
    }

    pub fn has(&self, defect: Defect) -> bool {
        self.defect == Some(defect)
    }

    /// Whether a planted defect keeps such a fact from the engine.
    pub fn loses(&self, body: &FactBody) -> bool {
        match body {
            FactBody::Retracted { .. } => self.has(Defect::ForgetsRetractions),
            FactBody::Acted(_) => self.has(Defect::ForgetsActs),
            _ => false,
        }
    }
}

/// A machine: its disks outlive its process.
#[derive(Default)]
pub struct Node {
    /// Calls to the outside until the process dies; `None` for as many as it likes.
    pub fuse: Cell<Option<u64>>,
    pub dead: Cell<bool>,
    pub disks: RefCell<BTreeMap<u32, MemoryStore>>,
    /// Disks that have crashed since they were opened last.
    pub crashed: RefCell<BTreeSet<u32>>,
}

impl Node {
    /// One call to the outside: here a process can die.
    pub fn call(&self, world: &World) -> Result<(), PortError> {
        if self.dead.get() {
            return Err(PortError::Reopen("the node is dead".into()));
        }
        match self.fuse.get() {
            None => Ok(()),
            Some(0) => {
                self.fuse.set(None);
                self.dead.set(true);
                world.count("crash");
                Err(PortError::Reopen("the node has died".into()))
            }
            Some(left) => {
                self.fuse.set(Some(left - 1));
                Ok(())
            }
        }
    }

    /// The process has died and the machine comes up again: what was not flushed is lost.
    pub fn restart(&self) {
        let disks = std::mem::take(&mut *self.disks.borrow_mut());
        for (partition, disk) in disks {
            self.disks.borrow_mut().insert(partition, disk.crash().unwrap());
            self.crashed.borrow_mut().insert(partition);
        }
        self.dead.set(false);
    }
}

pub fn identity() -> Identity {
    Identity {
        model: ModelName {
            name: "simulated".into(),
            version: "0".into(),
            digest: Digest::of(b"the simulated model"),
        },
        config_digest: Digest::of(b"the simulated config"),
        // Only interruptive alerts are passed on.
        mode: Mode::Interruptive,
        doubts: vec![Doubt::NotValidated],
        variables: dictionary().variables().iter().map(|v| v.code.clone()).collect(),
        epoch: 7,
    }
}

thread_local! {
    static WALL: Cell<i64> = const { Cell::new(0) };
}

/// Sets the virtual wall clock of this thread.
pub fn set_wall(ms: i64) {
    WALL.set(ms);
}

pub fn wall() -> WallTime {
    WallTime::from_millis(WALL.get())
}
