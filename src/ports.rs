//! What the one loop (`drive`) needs from outside, as small synchronous traits. The loop knows
//! these and no implementation of them.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use thiserror::Error;

pub use crate::engine::{Answer, Outcome, PredictionRequest};
use crate::ids::{Digest, Origin, Position, StayId, Topic};
use crate::time::WallTime;

/// Why something outside failed, split by what the loop does about it.
#[derive(Debug, Error)]
pub enum PortError {
    /// Nothing was changed, and the same may work in a while. Whoever tries again says so.
    #[error("{0}")]
    Retry(String),
    /// The outcome is unknown or the state is damaged: reopen the task and recover.
    #[error("{0}")]
    Reopen(String),
    /// A person must act; the message says how.
    #[error("{0}")]
    Stop(String),
}

/// One record as it stands in an input topic.
#[derive(Clone, Debug)]
pub struct SourceRecord {
    pub origin: Origin,
    /// The stay id in decimal; marks have none.
    pub key: Option<Bytes>,
    /// Confluent-framed Avro.
    pub value: Bytes,
    /// When the log or broker appended it.
    pub appended_at: Option<WallTime>,
}

/// An input: records in log order within each partition.
pub trait Source {
    /// Appends up to `max` records to `into`, waiting up to `wait` for the first.
    fn fetch(
        &mut self,
        max: usize,
        wait: Duration,
        into: &mut Vec<SourceRecord>,
    ) -> Result<(), PortError>;

    /// Reads on from `positions`; partitions that are not named start at their first record.
    /// It also ends every pause.
    fn seek(&mut self, positions: &[Position]) -> Result<(), PortError>;

    /// Hands out no records of `topics` from here on, and those of all others again. None is lost,
    /// and each topic stays in log order. A source that makes its records itself, in the order of
    /// time, has none that runs ahead and need not listen.
    fn pause(&mut self, topics: &BTreeSet<Topic>) -> Result<(), PortError> {
        let _ = topics;
        Ok(())
    }
}

/// Everything that one step batch changes, atomic in the store.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Commit {
    /// One more than the commit before; the first is 1.
    pub number: u64,
    /// Whole values by store key.
    pub puts: Vec<(Vec<u8>, Vec<u8>)>,
    pub deletes: Vec<Vec<u8>>,
    pub positions: Vec<Position>,
    /// What must leave. The local transport keeps it until the outlet has it durably.
    pub outputs: Vec<Output>,
    /// What entered `step` and came from no input topic.
    pub journal: Vec<JournalRecord>,
    /// What a transport with a changelog knows of this commit.
    pub reached: Option<Reached>,
}

/// Where a changelog and what was written beside it stand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reached {
    /// The changelog position to read next.
    pub changelog: u64,
    /// The highest output number that has left.
    pub last_output: u64,
    /// Records in the journal.
    pub journal: u64,
    /// The configuration and model under which the state is made.
    pub config: Option<Digest>,
}

/// One record that leaves the engine.
#[derive(Clone, Debug, PartialEq)]
pub struct Output {
    /// Counts the outputs of a task from 1; the outlet drops numbers it already has.
    pub number: u64,
    pub kind: OutputKind,
    pub stay: Option<StayId>,
    /// Confluent-framed Avro of the payload; equal in every run.
    pub payload: Vec<u8>,
    /// JSON of what differs between runs: computed_at, positions, latency.
    pub envelope: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum OutputKind {
    Risk,
    Alert,
    DeadLetter,
    View,
}

/// A journalled input and the positions after which it was stepped.
#[derive(Clone, Debug, PartialEq)]
pub struct JournalRecord {
    pub after: Vec<Position>,
    /// Confluent-framed Avro of schema `journal`.
    pub input: Vec<u8>,
}

/// What a store knew when it was opened.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Opened {
    /// Number of the last commit; 0 for a new store.
    pub commit: u64,
    pub positions: Vec<Position>,
    /// Outputs that may not have left yet, in order.
    pub outbox: Vec<Output>,
    /// The highest output number of the commits so far; 0 if there was none.
    pub last_output: u64,
    /// Digest of the config under which the state was made; `None` for a new store.
    pub config_digest: Option<Digest>,
    /// Journal records that the commits so far have carried. Those that the journal holds beyond
    /// this number were appended before a crash and are stepped again.
    pub journal: u64,
    /// The changelog position that the state has reached; 0 where there is no changelog.
    pub changelog: u64,
}

/// Durable keyed values, one directory a task.
pub trait StateStore {
    /// As the store was found; after [`StateStore::restore`], as it is then.
    fn opened(&self) -> &Opened;

    /// Calls `visit(key, value)` for every value, in key order.
    fn scan(&self, prefix: &[u8], visit: &mut dyn FnMut(&[u8], &[u8])) -> Result<(), PortError>;

    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, PortError>;

    /// Applies `commit` whole or not at all. Durable only after [`StateStore::flush`].
    fn commit(&mut self, commit: &Commit) -> Result<(), PortError>;

    /// Applies a piece of the state's changelog: numbers may leap, and a piece without a number
    /// leaves it. Until the whole changelog is in, the state is of no use.
    fn restore(&mut self, piece: &Commit) -> Result<(), PortError>;

    fn flush(&mut self) -> Result<(), PortError>;

    /// The whole changelog is in, as of now: flushes, and dates the state where a store keeps a
    /// date. One that lags for too long may miss deletions which the changelog has forgotten.
    fn caught_up(&mut self) -> Result<(), PortError> {
        self.flush()
    }

    /// Forgets outbox records up to and including `number` with the next commit.
    fn sent(&mut self, number: u64);
}

/// What has left, to a task that has lost its store and makes its outputs again.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Held {
    /// SHA-256 of every payload. None of them is sent again.
    pub payloads: BTreeSet<Digest>,
    /// The envelope of the output with the highest number.
    pub newest_envelope: Option<Vec<u8>>,
}

/// Where outputs go.
pub trait Outlet {
    /// The highest output number that this outlet holds durably; 0 if none.
    fn last_number(&self) -> u64;

    /// What this outlet holds. Nothing where it cannot tell: then outputs leave twice, with equal
    /// ids.
    fn held(&self) -> Result<Held, PortError>;

    /// Appends the outputs and makes them durable. Numbers up to `last_number` are skipped.
    fn send(&mut self, outputs: &[Output]) -> Result<(), PortError>;
}

/// The task's journal.
pub trait Journal {
    fn append(&mut self, records: &[JournalRecord]) -> Result<(), PortError>;

    /// Reads the whole journal from its start.
    fn read(&mut self, visit: &mut dyn FnMut(JournalRecord)) -> Result<(), PortError>;
}

/// How a commit becomes durable, and how what is in it leaves: the one thing that the transports
/// do each in their own way. State, positions, outputs and journal come to be together or not at
/// all, whatever happens meanwhile.
pub trait Committer {
    /// Brings `store` to the last commit that has come to be, lets out what may not have left
    /// yet, and returns the highest output number that has left.
    fn open(&mut self, store: &mut impl StateStore) -> Result<u64, PortError>;

    /// As [`Outlet::held`].
    fn held(&self) -> Result<Held, PortError>;

    /// Reads what the journal may hold beyond the state in `store`.
    fn read_journal(
        &mut self,
        store: &impl StateStore,
        visit: &mut dyn FnMut(JournalRecord),
    ) -> Result<(), PortError>;

    /// # Errors
    /// After any of them memory is ahead of the store, and the task must be opened anew.
    fn commit(&mut self, commit: &mut Commit, store: &mut impl StateStore)
    -> Result<(), PortError>;

    /// Does what can wait, such as a flush. Called once a turn.
    fn settle(&mut self, store: &mut impl StateStore) -> Result<(), PortError>;
}

/// Answers requests, off the engine's thread, batched across stays.
pub trait Predictor {
    /// Takes the request, or gives it back when the queue is full.
    fn submit(&mut self, request: PredictionRequest) -> Result<(), Box<PredictionRequest>>;

    /// The next answer, waiting up to `wait`.
    fn poll(&mut self, wait: Duration) -> Option<Answer>;

    /// Requests taken and not yet answered.
    fn pending(&self) -> usize;
}

/// Where a record stands in the topic of alerts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct AlertPlace {
    pub partition: u32,
    pub offset: u64,
}

/// One record of the topic of alerts.
#[derive(Clone, Debug)]
pub struct AlertStored {
    pub place: AlertPlace,
    /// Confluent-framed Avro of schema `alert`.
    pub value: Bytes,
}

/// The topic of alerts, as a consumer of its own follows it. It stands still until told to go on:
/// after a restart the feed begins at the positions that were committed last.
pub trait AlertFeed {
    /// Appends up to `max` records to `into`, waiting up to `wait` for the first.
    fn fetch(
        &mut self,
        max: usize,
        wait: Duration,
        into: &mut Vec<AlertStored>,
    ) -> Result<(), PortError>;

    /// Everything before these places was dealt with.
    fn commit(&mut self, next: &[AlertPlace]) -> Result<(), PortError>;
}
