//! Nodes, tasks, the group that hands tasks to nodes, and the scheduler that decides by chance who
//! moves next. One thread, no clock but a virtual one.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use nowcxr::config::EngineConfig;
use nowcxr::drive::{Drive, DriveError, DriveOptions, Outbox, Ports, WAITING_MAX};
use nowcxr::engine::Task;
use nowcxr::ids::{Ticket, Topic};
use nowcxr::ports::{Output, PortError, PredictionRequest};
use nowcxr::wire::{Codec, JournalInput};

use crate::auditor::{Evidence, Found, judge};
use crate::dice::Dice;
use crate::edge::Edge;
use crate::input::Input;
use crate::model::Model;
use crate::ports::{Diary, Exit, Link, REACHED, Store, values_of};
use crate::ward::{Size, Ward, dictionary};
use crate::world::{Defect, Entry, Faults, Node, Place, Transport, World, identity, wall};

/// Rounds after which a cluster without faults must have come to rest.
const ROUNDS_MAX: usize = 3_000;
/// Opens of one task in the calm that comes last.
const REOPENS_MAX: usize = 20;
/// The first bytes of the keys of feed marks, counts and lineage (`store::keys`).
const MARKS_TAG: u8 = 5;
const COUNTS_TAG: u8 = 6;
const LINEAGE_TAG: u8 = 7;

/// The loop over the simulated ports. A change of the commit port is a change here and in `ports`.
type SimDrive = Drive<Input, Store, Outbox<Exit, Diary>, Model>;

/// A task at work on a node.
struct Running {
    drive: SimDrive,
    link: Link,
    node: usize,
    partition: u32,
    idle: bool,
}

/// How a simulation is to be run.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    pub seed: u64,
    pub size: Size,
    pub defect: Option<Defect>,
}

/// What one seed has shown.
pub struct Report {
    pub counts: BTreeMap<&'static str, u64>,
    pub outcome: Result<(), String>,
}

struct Cluster {
    world: Rc<World>,
    nodes: Vec<Rc<Node>>,
    /// Which node the group has given each task.
    owners: Vec<usize>,
    running: Vec<Running>,
    edge: Edge,
    /// The most facts that waited in a task.
    peak: usize,
}

/// Runs one seed from its first record to the verdict.
pub fn simulate(plan: Plan) -> Report {
    let mut dice = Dice::new(plan.seed, 2);
    let local = dice.chance(0.35);
    let partitions = dice.between(1, 4) as u32;
    let ward = Ward::new(plan.seed, plan.size, partitions);
    let faults = if plan.size.faults { Faults::of(&mut dice) } else { Faults::default() };
    let transport = if local { Transport::Local } else { Transport::Kafka };
    let world = Rc::new(World {
        traced: std::env::var_os("NOWCXR_TRACE").is_some(),
        defect: plan.defect,
        ..World::new(Dice::new(plan.seed, 3), faults, transport, &ward.config)
    });
    let n_nodes = if local { 1 } else { dice.between(1, 4) as usize };
    let mut cluster = Cluster {
        nodes: (0..n_nodes).map(|_| Rc::default()).collect(),
        owners: (0..partitions).map(|p| p as usize % n_nodes).collect(),
        running: Vec::new(),
        edge: Edge::new(&ward),
        peak: 0,
        world: Rc::clone(&world),
    };
    let outcome = cluster.storm().and_then(|()| cluster.calm()).and_then(|()| cluster.verdict());
    let transport = world.transport;
    let outcome = outcome.map_err(|why| format!("{transport:?}, {why}"));
    cluster.running.clear();
    let mut counts = std::mem::take(&mut *world.counts.borrow_mut());
    counts.insert("records", ward.n_records() as u64);
    counts.insert(
        "outputs",
        (0..partitions).map(|p| cluster.link(0, p).outputs().len() as u64).sum(),
    );
    Report { counts, outcome }
}

/// What a ward has come to.
pub struct Played {
    pub outputs: Vec<Output>,
    /// The most facts that waited in a task.
    pub peak: usize,
}

/// Runs a ward over so many partitions with nothing but these faults, which never end.
pub fn play(seed: u64, ward: &Ward, partitions: u32, faults: Faults) -> Result<Played, String> {
    let world = World::new(Dice::new(seed, 4), faults, Transport::Kafka, &ward.config);
    let mut cluster = Cluster {
        nodes: vec![Rc::default()],
        owners: vec![0; partitions as usize],
        running: Vec::new(),
        edge: Edge::new(ward),
        peak: 0,
        world: Rc::new(world),
    };
    if faults.ahead.is_some() {
        // All there is lies in the log before anybody reads.
        while !cluster.edge.is_done() {
            cluster.edge.push(&cluster.world);
        }
    }
    cluster.storm()?;
    cluster.rest()?;
    cluster.verdict()?;
    let outputs = (0..partitions).flat_map(|p| cluster.link(0, p).outputs()).collect();
    Ok(Played { outputs, peak: cluster.peak })
}

impl Cluster {
    /// Everything happens at once until all was sent.
    fn storm(&mut self) -> Result<(), String> {
        let mut steps = 0u64;
        while !self.edge.is_done() {
            steps += 1;
            if steps > 20_000 {
                return Err("the storm never ends".to_owned());
            }
            let faults = self.world.faults.get();
            if self.world.chance(0.4) {
                self.edge.push(&self.world);
            }
            if self.world.chance(faults.crash) {
                let node = self.world.below(self.nodes.len());
                let calls = self.world.below(60) as u64;
                self.nodes[node].fuse.set(Some(calls));
            }
            if self.world.chance(faults.move_task) {
                self.move_task();
            }
            if self.world.chance(faults.compact) {
                self.compact();
            }
            self.step()?;
        }
        Ok(())
    }

    /// One task takes one turn, or one that stands still is opened.
    fn step(&mut self) -> Result<(), String> {
        self.bury();
        let partition = self.world.below(self.owners.len()) as u32;
        let owner = self.owners[partition as usize];
        let is_ours = |r: &Running| r.partition == partition && r.node == owner;
        if !self.running.iter().any(is_ours) && self.world.chance(0.5) {
            self.open(owner, partition)?;
        }
        if self.running.is_empty() {
            return Ok(());
        }
        let index = self.world.below(self.running.len());
        self.turn(index)
    }

    /// What died is gone; the machine comes up again.
    fn bury(&mut self) {
        for (index, node) in self.nodes.iter().enumerate() {
            if node.dead.get() {
                self.running.retain(|running| running.node != index);
                node.restart();
            }
        }
    }

    fn link(&self, node: usize, partition: u32) -> Link {
        Link {
            world: Rc::clone(&self.world),
            node: Rc::clone(&self.nodes[node]),
            transport: self.world.transport,
            partition,
            epoch: 0,
            revoked: Rc::default(),
            extra: Rc::default(),
        }
    }

    /// The service's way to begin with a task.
    fn open(&mut self, node: usize, partition: u32) -> Result<(), String> {
        // A process has each task once.
        self.running.retain(|r| (r.node, r.partition) != (node, partition));
        let mut link = self.link(node, partition);
        if link.transport == Transport::Kafka {
            link.epoch = self.world.log.borrow_mut().init(&link.id());
        }
        self.world.count("task opened");
        match open_drive(&link) {
            Ok(drive) => {
                self.running.push(Running { drive, link, node, partition, idle: false });
                Ok(())
            }
            Err(DriveError::Port(PortError::Retry(_) | PortError::Reopen(_))) => Ok(()),
            Err(error) => Err(format!("task {partition} cannot be opened: {error}")),
        }
    }

    /// The service's way to go on after an error.
    fn turn(&mut self, index: usize) -> Result<(), String> {
        let running = &mut self.running[index];
        let turned = running.drive.turn();
        self.peak = self.peak.max(running.drive.task().n_ahead());
        match turned {
            Ok(turn) => running.idle = turn.idle(),
            Err(DriveError::Port(PortError::Retry(_))) if running.drive.is_whole() => {}
            Err(DriveError::Port(PortError::Retry(_) | PortError::Reopen(_))) => {
                self.running.remove(index);
            }
            Err(error) => return Err(format!("task {}: {error}", running.partition)),
        }
        Ok(())
    }

    /// The group gives a task to another node. The old owner stops as it should, stops without a
    /// word, or does not notice and goes on.
    fn move_task(&mut self) {
        if self.world.transport != Transport::Kafka {
            return;
        }
        let partition = self.world.below(self.owners.len());
        let to = self.world.below(self.nodes.len());
        if self.owners[partition] == to {
            return;
        }
        self.world.count("task moved");
        self.owners[partition] = to;
        let is_it = |r: &Running| r.partition == partition as u32 && !r.link.revoked.get();
        let Some(index) = self.running.iter().position(is_it) else { return };
        if self.world.happens("zombie", self.world.faults.get().zombie) {
            return;
        }
        self.running[index].link.revoked.set(true);
        if self.world.chance(0.5) {
            let mut gone = self.running.remove(index);
            // Whatever it says: the new owner fences it.
            drop(gone.drive.finish());
        }
    }

    fn compact(&mut self) {
        let partition = self.world.below(self.owners.len()) as u32;
        let gone =
            self.world.log.borrow_mut().compact(Place::Changelog(partition), |entry| match entry {
                Entry::Value(key, _) => key.clone(),
                _ => Vec::new(),
            });
        if gone > 0 {
            self.world.count("changelog compacted");
        }
    }

    /// No more faults: whoever is left must come to rest with nothing open.
    fn calm(&mut self) -> Result<(), String> {
        self.world.faults.set(Faults::default());
        for node in &self.nodes {
            node.fuse.set(None);
        }
        self.bury();
        let owners = self.owners.clone();
        self.running.retain(|r| owners[r.partition as usize] == r.node && !r.link.revoked.get());
        self.rest()
    }

    /// Turns until nothing is left to do.
    fn rest(&mut self) -> Result<(), String> {
        let owners = self.owners.clone();
        let mut opened = 0;
        for _ in 0..ROUNDS_MAX {
            for partition in 0..owners.len() as u32 {
                if !self.running.iter().any(|r| r.partition == partition) {
                    opened += 1;
                    self.open(owners[partition as usize], partition)?;
                }
            }
            for index in (0..self.running.len()).rev() {
                self.turn(index)?;
            }
            if self.running.len() == owners.len() && self.running.iter().all(|r| r.idle) {
                return self.at_rest();
            }
            if self.world.faults.get().patience.is_some() {
                std::thread::sleep(Duration::from_millis(1));
            }
            if opened > REOPENS_MAX {
                return Err("a task is opened again and again though nothing fails".to_owned());
            }
        }
        Err(format!("no rest within {ROUNDS_MAX} rounds though nothing fails any more"))
    }

    fn at_rest(&mut self) -> Result<(), String> {
        for running in &mut self.running {
            running.drive.finish().map_err(|error| error.to_string())?;
            let open = running.drive.task().unanswered().next();
            if let Some(ticket) = open {
                return Err(format!("{ticket} was sealed and is never answered"));
            }
        }
        Ok(())
    }

    fn verdict(&self) -> Result<(), String> {
        if let Some(why) = self.world.moved_back.take() {
            return Err(why);
        }
        let identity = identity();
        let codec = codec(&self.world.config);
        for running in &self.running {
            let (link, partition) = (&running.link, running.partition);
            let decoded = |record: nowcxr::ports::JournalRecord| {
                let (after, input) = codec.decode_journal(&record.input).unwrap();
                (after, input)
            };
            let evidence = Evidence {
                config: &self.world.config,
                identity: &identity,
                partition,
                input: Topic::ALL.map(|topic| (topic, self.input(topic, partition))).into(),
                journal: link.journal().into_iter().map(decoded).collect(),
            };
            let found = Found {
                outputs: link.outputs(),
                counts: running.drive.counts(),
                asked: self.asked(link, &evidence),
            };
            let derived = |(_, input): &&(_, JournalInput)| matches!(input, JournalInput::Mark(_));
            let n_derived = evidence.journal.iter().filter(derived).count();
            self.world.count_many("mark derived", n_derived as u64);
            judge(&evidence, &found, &codec).map_err(|why| format!("task {partition}: {why}"))?;
            for ((topic, fate), n) in &found.counts.fates {
                if topic.is_of_people() {
                    self.world.count_many(act_fate(fate), *n);
                }
            }
            self.rebuild(running)?;
        }
        Ok(())
    }

    /// What the model was asked for a task. What a local state that was lost had asked counts only
    /// where that was what was answered: otherwise nobody has heard of the question, and the state
    /// that is made anew may seal other windows, or others of the same name.
    fn asked(&self, link: &Link, evidence: &Evidence) -> Vec<PredictionRequest> {
        let asked = self.world.asked.borrow();
        let ours = asked.iter().filter(|(partition, _)| *partition == link.partition);
        let ours = ours.map(|(_, request)| request);
        if link.transport != Transport::Local {
            return ours.cloned().collect();
        }
        let answered = evidence.journal.iter().filter_map(|(_, input)| match input {
            JournalInput::Answer(answer) => Some(answer.ticket),
            _ => None,
        });
        let newest: BTreeMap<Ticket, &PredictionRequest> =
            ours.map(|request| (request.ticket, request)).collect();
        let answered: BTreeSet<Ticket> = answered.collect();
        answered.iter().filter_map(|ticket| newest.get(ticket)).copied().cloned().collect()
    }

    fn input(&self, topic: Topic, partition: u32) -> Vec<(u64, Rc<crate::ward::Logged>)> {
        let log = self.world.log.borrow();
        let records = log.committed(Place::Input(topic, partition), 0);
        records
            .filter_map(|(offset, entry)| match entry {
                Entry::Input(logged) => Some((offset, Rc::clone(logged))),
                _ => None,
            })
            .collect()
    }

    /// A state made anew from input and journal is the same, sends nothing and asks nothing.
    fn rebuild(&self, running: &Running) -> Result<(), String> {
        let partition = running.partition;
        let mut link = self.link(0, partition);
        link.node = Rc::default();
        link.transport = Transport::Rebuild;
        let n_asked = self.world.asked.borrow().len();
        let doing = |error: DriveError| format!("task {partition}, rebuilt: {error}");
        let mut drive = open_drive(&link).map_err(doing)?;
        for _ in 0..ROUNDS_MAX {
            if drive.turn().map_err(doing)?.idle() {
                break;
            }
        }
        drive.finish().map_err(doing)?;
        let extra: Vec<Output> = link.extra.borrow().clone();
        if let Some(output) = extra.first() {
            let (n, codec) = (extra.len(), codec(&self.world.config));
            let event = codec.decode_risk(&output.payload);
            return Err(format!("task {partition}, rebuilt, sends {n} again: {event:?}"));
        }
        if self.world.asked.borrow().len() > n_asked {
            return Err(format!("task {partition}, rebuilt, asks the model again"));
        }
        let (was, is) = (state_of(running.drive.store()), state_of(drive.store()));
        if was == is {
            return Ok(());
        }
        let differs = |key: &&Vec<u8>| was.get(*key) != is.get(*key);
        let keys: Vec<_> = was.keys().chain(is.keys()).filter(differs).collect();
        Err(format!("task {partition}, rebuilt, differs under {keys:?}"))
    }
}

/// How often it happened that an act had this fate is counted under this name.
fn act_fate(fate: &str) -> &'static str {
    match fate {
        "used" => "act used",
        "late" => "act late",
        "duplicate" => "act duplicate",
        _ => "act rejected",
    }
}

/// The state without what belongs to one run: how much was answered, how far the changelog was
/// read, and the marks and who makes the state, which are not committed until something else is.
fn state_of(store: &Store) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut values = values_of(store);
    values.retain(|key, _| {
        *key != REACHED && ![MARKS_TAG, COUNTS_TAG, LINEAGE_TAG].contains(&key[0])
    });
    values
}

pub fn codec(config: &EngineConfig) -> Codec {
    Codec::new(&config.feeds, dictionary().clone()).unwrap()
}

fn open_drive(link: &Link) -> Result<SimDrive, DriveError> {
    let world = &link.world;
    let faults = match link.transport {
        Transport::Rebuild => Faults::default(),
        _ => world.faults.get(),
    };
    let ports = Ports {
        source: Input::new(link.clone()),
        store: Store::open(link.clone())?,
        committer: Outbox { outlet: Exit(link.clone()), journal: Diary(link.clone()) },
        predictor: Model::new(link.clone()),
    };
    let rarely = Duration::from_secs(3_600);
    let now = |happens: bool| happens.then_some(Duration::ZERO);
    let options = DriveOptions {
        partition: link.partition,
        commit_every: if world.chance(0.5) { Duration::ZERO } else { rarely },
        idle_wait: Duration::ZERO,
        // All or nothing: how much real time passes must not be seen.
        deadline: now(world.happens("task without patience", faults.deadline)),
        feed_timeout: now(world.happens("task that takes all feeds for dead", faults.silence))
            .or(faults.patience),
        quiet_after: match world.happens("task that takes all feeds for quiet", faults.quiet) {
            true => Duration::ZERO,
            false => rarely,
        },
        event_time_is_wall_time: faults.patience.is_none(),
        waiting_max: faults.waiting_max.unwrap_or(WAITING_MAX),
        ..DriveOptions::default()
    };
    let task = Task::new(world.config.clone(), identity());
    Drive::open(ports, task, codec(&world.config), options, wall)
}
