//! The one loop: fetch → step → commit → ask. The Kafka service, the embedded service, the replay,
//! training and the tests all use it; whoever needs a loop of his own has found a design fault.
//!
//! What leaves is part of the commit: state, positions and outbox in one batch of the store, then
//! the outbox to the outlet, and with the next commit it is forgotten. Only questions to the model
//! go out after the commit, and they are derived from state (sealed, no answer), so a crash at any
//! point loses nothing.

mod films;
mod outputs;
mod recorded;

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use thiserror::Error;

pub use films::FilmCache;
pub use outputs::Counts;
use recorded::Recorded;

use crate::engine::{Effect, Input, Task};
use crate::event::{Fact, FactBody, Film, Reason, Rejection, ViewPosition};
use crate::film;
use crate::ids::{Origin, Position, Ticket, Topic};
use crate::ports::{
    Answer, Commit, Journal, Outlet, PortError, Predictor, Source, SourceRecord, StateStore,
};
use crate::store::values;
use crate::time::{EventTime, WallTime};
use crate::wire::{Codec, Decoded, FilmMeta, JournalInput, Picture, WireError};

/// Records taken from the source at once.
const FETCH_MAX: usize = 1_024;
/// Questions that may wait for a place in the predictor's queue before reading stops.
const BACKLOG_MAX: usize = 64;

/// How the loop behaves. Nothing here changes a payload.
#[derive(Clone, Debug)]
pub struct DriveOptions {
    pub partition: u32,
    /// Time between two commits while there is work.
    pub commit_every: Duration,
    /// How long to wait for input when there is none.
    pub idle_wait: Duration,
    /// Bytes of prepared films kept in memory.
    pub film_cache_bytes: usize,
    /// An answer later than this leaves its window unscored; `None` waits for ever, as replay,
    /// training and simulation do.
    pub deadline: Option<Duration>,
}

impl Default for DriveOptions {
    fn default() -> Self {
        DriveOptions {
            partition: 0,
            commit_every: Duration::from_millis(100),
            idle_wait: Duration::from_millis(50),
            film_cache_bytes: 32 << 20,
            deadline: None,
        }
    }
}

/// Everything outside that a task needs.
pub struct Ports<S, T, O, J, P> {
    pub source: S,
    pub store: T,
    pub outlet: O,
    pub journal: J,
    pub predictor: P,
}

#[derive(Debug, Error)]
pub enum DriveError {
    #[error(transparent)]
    Port(#[from] PortError),
    #[error("a record cannot be written: {0}; this is a fault of nowcxr, please report it")]
    Wire(#[from] WireError),
}

/// What one turn of the loop did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Turn {
    pub n_records: usize,
    pub n_answers: usize,
    pub committed: bool,
    /// Windows sealed and not answered.
    pub n_open: usize,
}

impl Turn {
    /// Nothing was read, nothing is open and nothing waits for a commit.
    pub fn idle(&self) -> bool {
        self.n_records == 0 && self.n_answers == 0 && !self.committed && self.n_open == 0
    }
}

/// One task and its ports.
pub struct Drive<S, T, O, J, P> {
    ports: Ports<S, T, O, J, P>,
    task: Task,
    codec: Codec,
    options: DriveOptions,
    clock: fn() -> WallTime,
    positions: BTreeMap<(Topic, u32), u64>,
    commit_number: u64,
    output_number: u64,
    /// What the next commit will hold.
    pending: Commit,
    /// Sealed windows to ask about after the commit.
    sealed: Vec<Ticket>,
    /// Committed windows that the predictor's queue had no room for.
    backlog: VecDeque<Ticket>,
    /// When each open window was sealed.
    sealed_at: BTreeMap<Ticket, Instant>,
    /// How long each window whose event has not left yet had waited for its answer.
    answered_after: BTreeMap<Ticket, Duration>,
    rejected: Vec<outputs::Rejected>,
    films: FilmCache,
    recorded: Recorded,
    counts: Counts,
    last_commit: Instant,
    effects: Vec<Effect>,
    records: Vec<SourceRecord>,
}

impl<S, T, O, J, P> Drive<S, T, O, J, P>
where
    S: Source,
    T: StateStore,
    O: Outlet,
    J: Journal,
    P: Predictor,
{
    /// Restores the task from the store, sends what may not have left, and asks again for every
    /// sealed window without an answer. `clock` is the wall clock of the envelopes.
    pub fn open(
        ports: Ports<S, T, O, J, P>,
        mut task: Task,
        codec: Codec,
        options: DriveOptions,
        clock: fn() -> WallTime,
    ) -> Result<Self, DriveError> {
        let Ports { mut source, mut store, mut outlet, mut journal, predictor } = ports;
        let opened = store.opened().clone();
        let (watermark, stays) = values::load(&store, task.config().feeds.len())?;
        task.restore(watermark, stays);
        outlet.send(&opened.outbox)?;
        if let Some(last) = opened.outbox.last() {
            store.sent(last.number);
        }
        source.seek(&opened.positions)?;
        let recorded = Recorded::read(&codec, &opened, &mut journal, &outlet)?;
        let backlog: VecDeque<Ticket> = task.unanswered().collect();
        let now = Instant::now();
        Ok(Drive {
            positions: opened
                .positions
                .iter()
                .map(|position| ((position.topic, position.partition), position.next))
                .collect(),
            commit_number: opened.commit,
            output_number: outlet
                .last_number()
                .max(opened.outbox.last().map_or(0, |output| output.number)),
            pending: Commit::default(),
            sealed: Vec::new(),
            sealed_at: backlog.iter().map(|ticket| (*ticket, now)).collect(),
            backlog,
            answered_after: BTreeMap::new(),
            rejected: Vec::new(),
            films: FilmCache::new(options.film_cache_bytes),
            recorded,
            counts: Counts::restored(&store, options.partition)?,
            last_commit: now,
            effects: Vec::new(),
            records: Vec::new(),
            ports: Ports { source, store, outlet, journal, predictor },
            task,
            codec,
            options,
            clock,
        })
    }

    /// One turn: reads, steps, and commits when it is time to.
    pub fn turn(&mut self) -> Result<Turn, DriveError> {
        self.ask()?;
        let n_records = self.read()?;
        let n_answers = self.take_answers(n_records == 0)?;
        self.enforce_deadlines()?;
        let due = self.last_commit.elapsed() >= self.options.commit_every;
        let committed = self.has_pending() && (due || n_records == 0) && self.commit()?;
        let n_open = self.sealed_at.len();
        Ok(Turn { n_records, n_answers, committed, n_open })
    }

    /// Commits what is pending, whatever the time. Call before stopping.
    pub fn finish(&mut self) -> Result<(), DriveError> {
        if self.has_pending() {
            self.commit()?;
        }
        Ok(())
    }

    pub fn task(&self) -> &Task {
        &self.task
    }

    /// Number of the last commit; 0 before the first.
    pub fn commit_number(&self) -> u64 {
        self.commit_number
    }

    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    pub fn store(&self) -> &T {
        &self.ports.store
    }

    pub fn positions(&self) -> Vec<Position> {
        let position = |(&(topic, partition), &next)| Position { topic, partition, next };
        self.positions.iter().map(position).collect()
    }

    /// Reads and steps one batch of records. Reading stops while too many questions wait.
    fn read(&mut self) -> Result<usize, DriveError> {
        if self.backlog.len() + self.sealed.len() >= BACKLOG_MAX {
            return Ok(0);
        }
        let busy = self.ports.predictor.pending() > 0 || self.has_pending();
        let wait = if busy { Duration::ZERO } else { self.options.idle_wait };
        let mut records = std::mem::take(&mut self.records);
        records.clear();
        self.ports.source.fetch(FETCH_MAX, wait, &mut records)?;
        for record in &records {
            let position = record.origin.next();
            self.positions.insert((position.topic, position.partition), position.next);
            let input = self.input_of(record);
            self.step(input)?;
        }
        self.send_dead_letters(&records)?;
        let n_records = records.len();
        self.records = records;
        Ok(n_records)
    }

    /// Decodes a record. Whatever is wrong with it becomes an input too.
    fn input_of(&mut self, record: &SourceRecord) -> Input {
        let origin = record.origin;
        let key = record.key.as_deref();
        let decoded = match self.codec.decode_input(origin.topic, key, &record.value) {
            Ok(decoded) => decoded,
            Err(rejection) => return Input::Malformed { origin, rejection },
        };
        let speaks_of = match &decoded {
            // Only the end of a feed may be promised at any time. Another promise about the
            // future would make every fact until then a late one.
            Decoded::Mark(mark) => Some(mark.time).filter(|time| *time != EventTime::MAX),
            Decoded::Fact(fact) => Some(fact.available_at),
            Decoded::Film { meta, .. } => Some(meta.available_at),
        };
        if let Some(time) = speaks_of.filter(|time| self.is_future(record, *time)) {
            let detail = format!("speaks of {time}, which lies after its append time");
            return Input::Malformed { origin, rejection: Rejection::new(Reason::Future, detail) };
        }
        match decoded {
            Decoded::Mark(mark) => Input::Mark(mark),
            Decoded::Fact(fact) => Input::Fact { fact, origin },
            Decoded::Film { meta, picture } => self
                .film_input(origin, meta, &picture)
                .unwrap_or_else(|rejection| Input::Malformed { origin, rejection }),
        }
    }

    fn is_future(&self, record: &SourceRecord, time: EventTime) -> bool {
        record.appended_at.is_some_and(|at| {
            let latest = at.as_millis().saturating_add(self.task.config().max_future.as_millis());
            time.as_millis() > latest
        })
    }

    fn film_input(
        &mut self,
        origin: Origin,
        meta: FilmMeta,
        picture: &Picture,
    ) -> Result<Input, Rejection> {
        let bytes = films::bytes_of(picture)?;
        let view = Some(meta.view).filter(|view| *view != ViewPosition::Unknown);
        let declared = film::Declared { view, ..film::Declared::default() };
        let prepared = film::prepare(&bytes, declared)?;
        let film = Film { digest: prepared.film.digest(), view: prepared.view };
        values::put_film(meta.stay, &prepared.film, &mut self.pending);
        self.films.put(prepared.film);
        let fact = Fact {
            id: meta.id,
            stay: meta.stay,
            feed: meta.feed,
            observed_at: meta.observed_at,
            available_at: meta.available_at,
            body: FactBody::Filmed(film),
        };
        Ok(Input::Fact { fact, origin })
    }

    fn step(&mut self, input: Input) -> Result<(), DriveError> {
        let mut effects = std::mem::take(&mut self.effects);
        effects.clear();
        self.task.step(input, &mut effects);
        for effect in effects.drain(..) {
            self.take_effect(effect)?;
        }
        self.effects = effects;
        Ok(())
    }

    /// Takes every answer there is; waits for one if there is nothing else to do.
    fn take_answers(&mut self, may_wait: bool) -> Result<usize, DriveError> {
        let mut n_answers = 0;
        let waiting = may_wait && self.ports.predictor.pending() > 0 && !self.has_pending();
        let mut wait = if waiting { self.options.idle_wait } else { Duration::ZERO };
        while let Some(answer) = self.ports.predictor.poll(wait) {
            self.answer(answer)?;
            self.counts.answered += 1;
            n_answers += 1;
            wait = Duration::ZERO;
        }
        Ok(n_answers)
    }

    fn answer(&mut self, answer: Answer) -> Result<(), DriveError> {
        if let Some(sealed_at) = self.sealed_at.remove(&answer.ticket) {
            self.answered_after.insert(answer.ticket, sealed_at.elapsed());
        }
        self.journal(&JournalInput::Answer(answer.clone()))?;
        self.step(Input::Answer(answer))?;
        self.send_dead_letters(&[])
    }

    fn enforce_deadlines(&mut self) -> Result<(), DriveError> {
        let Some(deadline) = self.options.deadline else { return Ok(()) };
        let overdue: Vec<Ticket> = self
            .sealed_at
            .iter()
            .filter(|(_, at)| at.elapsed() >= deadline)
            .map(|(ticket, _)| *ticket)
            .collect();
        for ticket in overdue {
            self.sealed_at.remove(&ticket);
            self.journal(&JournalInput::Deadline(ticket))?;
            self.step(Input::Deadline(ticket))?;
        }
        self.send_dead_letters(&[])
    }

    fn journal(&mut self, input: &JournalInput) -> Result<(), DriveError> {
        let record = self.codec.encode_journal(&self.positions(), input)?;
        self.pending.journal.push(record);
        Ok(())
    }

    fn has_pending(&self) -> bool {
        let pending = &self.pending;
        let nothing = pending.outputs.is_empty()
            && pending.journal.is_empty()
            && pending.puts.is_empty()
            && self.recorded.stepped.is_empty()
            && self.sealed.is_empty();
        !nothing || self.task.has_changes()
    }

    /// Makes everything since the last commit durable, sends it, and lets the questions go.
    fn commit(&mut self) -> Result<bool, DriveError> {
        let mut commit = std::mem::take(&mut self.pending);
        commit.number = self.commit_number + 1;
        commit.positions = self.positions();
        let partition = self.options.partition;
        values::put_changes(&mut self.task, partition, &self.ports.store, &mut commit)?;
        self.counts.put(partition, &mut commit)?;
        self.ports.journal.append(&commit.journal)?;
        commit.journal.append(&mut self.recorded.stepped);
        self.ports.store.commit(&commit)?;
        self.ports.store.flush()?;
        self.commit_number = commit.number;
        self.ports.outlet.send(&commit.outputs)?;
        if let Some(last) = commit.outputs.last() {
            self.ports.store.sent(last.number);
        }
        self.backlog.extend(self.sealed.drain(..));
        self.last_commit = Instant::now();
        self.ask()?;
        Ok(true)
    }

    /// Puts questions to the predictor until its queue is full.
    fn ask(&mut self) -> Result<(), DriveError> {
        while let Some(&ticket) = self.backlog.front() {
            if self.step_recorded(ticket)? {
                self.backlog.pop_front();
                continue;
            }
            let open = self.task.is_open(ticket);
            let Some(mut request) = self.task.request(ticket).filter(|_| open) else {
                self.sealed_at.remove(&ticket);
                self.backlog.pop_front();
                continue;
            };
            if let Some(digest) = self.task.film_of(ticket) {
                request.film = self.films.get(&self.ports.store, ticket.stay, digest)?;
            }
            if self.ports.predictor.submit(request).is_err() {
                return Ok(());
            }
            self.backlog.pop_front();
        }
        Ok(())
    }
}
