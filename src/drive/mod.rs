//! The one loop: fetch → step → commit → ask. The Kafka service, the embedded service, the replay,
//! training and the tests all use it; whoever needs a loop of his own has found a design fault.
//!
//! What leaves is part of the commit: state, positions, outputs and journal come to be together,
//! and how is the transport's matter ([`Committer`]): [`Outbox`] for an outlet and a journal that
//! are durable each by itself, one transaction in Kafka. Only questions to the model go out after
//! the commit, and they are derived from state (sealed, no answer), so a crash at any point loses
//! nothing.

mod agreement;
mod ahead;
mod derived;
mod envelope;
mod films;
mod intake;
mod options;
mod outbox;
mod outputs;
mod rehearsal;
mod silence;
mod succession;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use thiserror::Error;

pub use ahead::WAITING_MAX;
pub use films::{FilmCache, film_of};
pub use options::DriveOptions;
pub use outbox::Outbox;
pub use outputs::Counts;

use crate::engine::{Effect, Fate, Input, Task};
use crate::ids::{Digest, Origin, Position, Ticket, Topic};
use crate::ports::{
    Answer, Commit, Committer, Held, PortError, Predictor, Source, SourceRecord, StateStore,
};
use crate::store::values;
use crate::telemetry::{
    Committed, PredictionAnswered, PredictionRequested, PredictionStatus, PredictionsDisagree,
};
use crate::time::WallTime;
use crate::wire::{Codec, JournalInput, WireError};
use agreement::Agreement;
use ahead::Ahead;
use derived::Derivation;
use rehearsal::Rehearsal;
use silence::Silence;
use succession::Succession;

/// Records taken from the source at once.
const FETCH_MAX: usize = 1_024;
/// Questions that may wait for a place in the predictor's queue before reading stops.
const BACKLOG_MAX: usize = 64;
/// While other tasks fill the predictor's queue, we look so often for a place in it.
const ASK_AGAIN: Duration = Duration::from_millis(5);

/// Is shown where a record stood and what became of it, once each.
pub type Watcher = Box<dyn FnMut(Origin, &Fate)>;

/// Everything outside that a task needs.
pub struct Ports<S, T, C, P> {
    pub source: S,
    pub store: T,
    pub committer: C,
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
    /// Windows sealed and not answered, and journalled inputs not yet stepped again.
    pub n_open: usize,
    /// Something waits for the next commit.
    pub is_pending: bool,
    /// Topics that are ahead of the others were not read.
    pub is_held_back: bool,
}

impl Turn {
    /// Nothing was read though all was to be, nothing is open and nothing waits for a commit.
    pub fn idle(&self) -> bool {
        let nothing_done = self.n_records == 0 && self.n_answers == 0 && !self.committed;
        nothing_done && self.n_open == 0 && !self.is_pending && !self.is_held_back
    }
}

/// One task and its ports.
pub struct Drive<S, T, C, P> {
    ports: Ports<S, T, C, P>,
    task: Task,
    codec: Codec,
    options: DriveOptions,
    clock: fn() -> WallTime,
    opened_at: WallTime,
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
    agreement: Agreement,
    rejected: Vec<outputs::Rejected>,
    films: FilmCache,
    counts: Counts,
    last_commit: Instant,
    effects: Vec<Effect>,
    records: Vec<SourceRecord>,
    /// `records` holds a batch that was read and not stepped.
    is_unlearned: bool,
    rehearsal: Rehearsal,
    /// SHA-256 of payloads that the outlet holds from before the store was lost.
    sent_before: BTreeSet<Digest>,
    silence: Option<Silence>,
    derivation: Derivation,
    ahead: Ahead,
    succession: Succession,
    /// Append time of the newest record read.
    newest_append: Option<WallTime>,
    /// Since when reading waits for the predictor.
    paused_since: Option<Instant>,
    watcher: Option<Watcher>,
    /// A commit has begun and not ended well: memory and store differ.
    is_torn: bool,
}

impl<S, T, C, P> Drive<S, T, C, P>
where
    S: Source,
    T: StateStore,
    C: Committer,
    P: Predictor,
{
    /// Restores the task from the store, sends what may not have left, plays back what the journal
    /// has beyond the state, and asks again for every sealed window without an answer. `clock` is
    /// the wall clock of the envelopes.
    pub fn open(
        ports: Ports<S, T, C, P>,
        mut task: Task,
        codec: Codec,
        options: DriveOptions,
        clock: fn() -> WallTime,
    ) -> Result<Self, DriveError> {
        let Ports { mut source, mut store, mut committer, predictor } = ports;
        let has_left = committer.open(&mut store)?;
        let opened = store.opened().clone();
        let (watermark, stays) = values::load(&store, task.config().feeds.len())?;
        task.restore(watermark, stays);
        let mut succession = Succession::open(&mut task, &store, options.partition)?;
        source.seek(&opened.positions)?;
        // A store that was lost, or lost its last commits, makes outputs again that have left.
        let is_behind = has_left > opened.last_output;
        let lost = is_behind || succession.may_repeat(&opened.positions);
        let held = if lost { committer.held()? } else { Held::default() };
        let read_to = held.newest_envelope.as_deref().map(envelope::read_to).unwrap_or_default();
        let read_to = if lost { succession.was_told(read_to) } else { read_to };
        let rehearsal = Rehearsal::open(&mut committer, &store, &opened.positions, read_to)?;
        if !rehearsal.is_over() {
            let (task, inputs) = (options.partition, rehearsal.len());
            tracing::info!(task, inputs, "journalled inputs are stepped again");
        }
        let backlog: VecDeque<Ticket> = task.unanswered().collect();
        let now = Instant::now();
        Ok(Drive {
            positions: opened
                .positions
                .iter()
                .map(|position| ((position.topic, position.partition), position.next))
                .collect(),
            commit_number: opened.commit,
            output_number: has_left.max(opened.last_output),
            pending: Commit::default(),
            sealed: Vec::new(),
            sealed_at: backlog.iter().map(|ticket| (*ticket, now)).collect(),
            backlog,
            answered_after: BTreeMap::new(),
            agreement: Agreement::default(),
            rejected: Vec::new(),
            films: FilmCache::new(options.film_cache_bytes),
            counts: Counts::restored(&store, options.partition)?,
            last_commit: now,
            effects: Vec::new(),
            records: Vec::new(),
            is_unlearned: false,
            rehearsal,
            sent_before: held.payloads,
            silence: options.feed_timeout.map(|timeout| {
                let has_wall = options.event_time_is_wall_time;
                Silence::new(&task.config().feeds, timeout, has_wall, now)
            }),
            derivation: Derivation::new(&task.config().feeds, &options, now),
            ahead: Ahead::default(),
            succession,
            newest_append: None,
            paused_since: None,
            watcher: None,
            is_torn: false,
            ports: Ports { source, store, committer, predictor },
            task,
            codec,
            options,
            clock,
            opened_at: clock(),
        })
    }

    /// One turn: reads, steps, and commits when it is time to.
    pub fn turn(&mut self) -> Result<Turn, DriveError> {
        self.ask()?;
        let n_records = self.read()?;
        let n_answers = self.take_answers(n_records == 0)?;
        if self.rehearsal.is_over() {
            self.enforce_deadlines()?;
            self.derive_marks_of_quiet_feeds()?;
            self.pass_silent_feeds()?;
        }
        let due = self.last_commit.elapsed() >= self.options.commit_every;
        // Questions go out after their commit, so reading that waits for them waits for it.
        let is_awaited = self.paused_since.is_some() && !self.sealed.is_empty();
        let is_wanted = is_awaited || (n_records == 0 && self.options.commit_when_idle);
        let may_commit = due || is_wanted;
        let committed = self.has_pending() && may_commit && self.commit()?;
        self.ports.committer.settle(&mut self.ports.store)?;
        let n_open = self.sealed_at.len() + self.rehearsal.len();
        let is_pending = self.has_pending();
        let is_held_back = self.ahead.is_holding();
        Ok(Turn { n_records, n_answers, committed, n_open, is_pending, is_held_back })
    }

    /// Commits what is pending, whatever the time. Call before stopping.
    pub fn finish(&mut self) -> Result<(), DriveError> {
        if self.has_pending() {
            self.commit()?;
        }
        Ok(())
    }

    /// Whether [`Drive::turn`] may be called again after it failed with [`PortError::Retry`]; if
    /// not, the task must be opened anew.
    pub fn is_whole(&self) -> bool {
        !self.is_torn
    }

    /// Shows `watcher` what becomes of every record from here on.
    pub fn watch(&mut self, watcher: Watcher) {
        self.watcher = Some(watcher);
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

    /// The store alone; nothing runs any more.
    pub fn into_store(self) -> T {
        self.ports.store
    }

    pub fn positions(&self) -> Vec<Position> {
        let position = |(&(topic, partition), &next)| Position { topic, partition, next };
        self.positions.iter().map(position).collect()
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
        let mut wait = match may_wait && self.ports.predictor.pending() > 0 {
            true if !self.has_pending() => self.options.idle_wait,
            // Reading has not waited, as it does otherwise, so that we would turn without rest.
            true if self.paused_since.is_some() => self.until_commit(),
            _ => Duration::ZERO,
        };
        while let Some(answer) = self.ports.predictor.poll(wait) {
            self.answer(answer)?;
            self.counts.answered += 1;
            n_answers += 1;
            wait = Duration::ZERO;
        }
        Ok(n_answers)
    }

    fn answer(&mut self, answer: Answer) -> Result<(), DriveError> {
        // An answer to an earlier owner of the task leaves the question open, and its deadline.
        let ours = answer.epoch == self.task.identity().epoch;
        let since = ours.then(|| self.sealed_at.remove(&answer.ticket)).flatten();
        let waited = since.map(|since| since.elapsed());
        if let Some(waited) = waited {
            self.answered_after.insert(answer.ticket, waited);
        }
        // Without a time of its own the answer comes after the deadline.
        let latency = waited.or(self.options.deadline).unwrap_or_default();
        PredictionAnswered::of(answer.ticket, &answer.outcome, latency).emit();
        if ours {
            self.compare(&answer);
        }
        self.journal(&JournalInput::Answer(answer.clone()))?;
        self.step(Input::Answer(answer))?;
        self.send_dead_letters(None)
    }

    /// Holds an answer against an earlier one to the same question. The epoch was that of this
    /// configuration and model.
    fn compare(&mut self, answer: &Answer) {
        let ticket = answer.ticket;
        let Some(input) = self.task.input_digest_of(ticket) else { return };
        if let Some(apart) = self.agreement.hear((ticket, input), &answer.outcome) {
            PredictionsDisagree { ticket, apart }.emit();
        }
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
            let (status, reason) = (PredictionStatus::Expired, "no answer before the deadline");
            PredictionAnswered { ticket, status, reason, latency: deadline }.emit();
            self.journal(&JournalInput::Deadline(ticket))?;
            self.step(Input::Deadline(ticket))?;
        }
        self.send_dead_letters(None)
    }

    fn journal(&mut self, input: &JournalInput) -> Result<(), DriveError> {
        let record = self.codec.encode_journal(&self.positions(), input)?;
        self.pending.journal.push(record);
        Ok(())
    }

    /// How long what is done may still wait for its commit, at most an idle wait.
    fn until_commit(&self) -> Duration {
        if self.options.commit_when_idle {
            return Duration::ZERO;
        }
        let until = self.options.commit_every.saturating_sub(self.last_commit.elapsed());
        until.min(self.options.idle_wait)
    }

    fn has_pending(&self) -> bool {
        let pending = &self.pending;
        let nothing = pending.outputs.is_empty()
            && pending.journal.is_empty()
            && pending.puts.is_empty()
            && self.sealed.is_empty();
        !nothing || self.succession.is_changed || self.task.has_changes()
    }

    /// Makes everything since the last commit durable, sends it, and lets the questions go.
    fn commit(&mut self) -> Result<bool, DriveError> {
        let started = Instant::now();
        self.is_torn = true;
        let mut commit = std::mem::take(&mut self.pending);
        commit.number = self.commit_number + 1;
        let trace_id = self.trace_id();
        commit.positions = self.positions();
        if self.rehearsal.is_over() {
            self.succession.is_told();
        }
        let partition = self.options.partition;
        values::put_changes(&mut self.task, partition, &self.ports.store, &mut commit)?;
        self.counts.put(partition, &mut commit)?;
        self.succession.put(self.task.identity().maker(), partition, &mut commit)?;
        let (puts, outputs) = (commit.puts.len(), commit.outputs.len());
        self.ports.committer.commit(&mut commit, &mut self.ports.store)?;
        self.commit_number = commit.number;
        self.is_torn = false;
        self.backlog.extend(self.sealed.drain(..));
        self.last_commit = Instant::now();
        Committed {
            task: partition,
            number: commit.number,
            puts,
            outputs,
            took: started.elapsed(),
            trace_id: &trace_id,
        }
        .emit();
        self.ask()?;
        Ok(true)
    }

    /// Deadlines count from now: before, nobody was to be asked.
    fn restart_waits(&mut self) {
        let now = Instant::now();
        self.sealed_at.values_mut().for_each(|since| *since = now);
    }

    /// Puts questions to the predictor until its queue is full. While the journal is played back it
    /// may hold their answers, and nobody is asked.
    fn ask(&mut self) -> Result<(), DriveError> {
        while let Some(&ticket) = self.backlog.front() {
            let open = self.task.is_open(ticket);
            let Some(mut request) = self.task.request(ticket).filter(|_| open) else {
                self.sealed_at.remove(&ticket);
                self.backlog.pop_front();
                continue;
            };
            if !self.rehearsal.is_over() {
                return Ok(());
            }
            if let Some(digest) = self.task.film_of(ticket) {
                request.film = self.films.get(&self.ports.store, ticket.stay, digest)?;
            }
            if self.ports.predictor.submit(request).is_err() {
                return Ok(());
            }
            let pending = self.ports.predictor.pending();
            PredictionRequested { ticket, pending }.emit();
            self.backlog.pop_front();
        }
        Ok(())
    }
}
