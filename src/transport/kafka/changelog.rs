//! The task's changelog: a compacted topic, `<app>-changelog`, whose partition n holds the state
//! of task n. One record per changed store key with its whole value, a tombstone per delete, and
//! with every commit one record of progress; the newest record of each key is the state.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rdkafka::message::Message;
use serde::{Deserialize, Serialize};

use super::delivery::Outgoing;
use super::settings::KafkaSettings;
use super::stretch::Stretch;
use crate::ids::{Digest, Position};
use crate::ports::{Commit, PortError, Reached, StateStore};
use crate::store::codec::{NEWEST_VERSION, frame, unframe};

/// The key of the progress record. Its tag is the store's own, so no value of the state has it.
const PROGRESS: [u8; 2] = [0, 1];
/// A piece of a restore is applied at so many records, or so many bytes.
const PIECE_RECORDS: usize = 4_096;
const PIECE_BYTES: usize = 8 << 20;
/// How often a restore says how far it is.
const TELL_EVERY: Duration = Duration::from_secs(2);

/// What the state's positions and counters were after a commit.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Progress {
    pub number: u64,
    pub positions: Vec<Position>,
    pub last_output: u64,
    pub journal: u64,
    pub config: Option<Digest>,
}

/// What a copy of the state lacks of the changelog.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tail {
    /// The changelog position that the copy has reached.
    pub from: u64,
    /// The changelog's last stable offset.
    pub end: u64,
}

/// What a restore has done.
pub(super) struct Restored {
    pub records: u64,
    pub reached: Reached,
}

impl Progress {
    pub fn encode(&self) -> Result<Vec<u8>, PortError> {
        postcard::to_stdvec(self)
            .map(|payload| frame(NEWEST_VERSION, &payload))
            .map_err(|e| PortError::Stop(format!("progress cannot be written: {e}; report this")))
    }

    fn decode(bytes: &[u8]) -> Result<Self, PortError> {
        let (_, payload) = unframe(bytes).map_err(|e| PortError::Stop(e.to_string()))?;
        postcard::from_bytes(payload)
            .map_err(|e| PortError::Stop(format!("progress in the changelog is damaged: {e}")))
    }
}

/// The changelog's records of a commit, `progress` last.
pub(super) fn records<'a>(
    topic: &'a str,
    partition: u32,
    commit: &'a Commit,
    progress: &'a [u8],
) -> impl Iterator<Item = Outgoing<'a>> {
    let puts = commit.puts.iter().map(|(key, value)| (key.as_slice(), Some(value.as_slice())));
    let deletes = commit.deletes.iter().map(|key| (key.as_slice(), None));
    let all = puts.chain(deletes).chain([(&PROGRESS[..], Some(progress))]);
    all.map(move |(key, value)| Outgoing {
        topic,
        partition: Some(partition),
        key: Some(key),
        value,
        at: None,
        headers: None,
    })
}

/// A part of the changelog on its way into the store.
struct Piece {
    values: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    bytes: usize,
    progress: Progress,
    reached: Reached,
}

impl Piece {
    fn take(&mut self, message: &impl Message) -> Result<(), PortError> {
        let key = message.key().unwrap_or_default();
        if key == PROGRESS {
            self.progress = Progress::decode(message.payload().unwrap_or_default())?;
            self.reached.last_output = self.progress.last_output;
            self.reached.journal = self.progress.journal;
            self.reached.config = self.progress.config;
        } else {
            self.bytes += key.len() + message.payload().map_or(0, <[u8]>::len);
            self.values.insert(key.to_vec(), message.payload().map(<[u8]>::to_vec));
        }
        self.reached.changelog = u64::try_from(message.offset()).unwrap_or(0) + 1;
        Ok(())
    }

    fn apply(&mut self, store: &mut impl StateStore) -> Result<(), PortError> {
        let mut commit = Commit {
            number: self.progress.number,
            positions: self.progress.positions.clone(),
            reached: Some(self.reached),
            ..Commit::default()
        };
        for (key, value) in std::mem::take(&mut self.values) {
            match value {
                Some(value) => commit.puts.push((key, value)),
                None => commit.deletes.push(key),
            }
        }
        self.bytes = 0;
        store.restore(&commit)
    }
}

/// What `store` lacks as of now.
///
/// # Errors
/// `Stop` when state and changelog do not belong together.
pub(super) fn tail(
    settings: &KafkaSettings,
    partition: u32,
    stretch: &Stretch<'_>,
    store: &impl StateStore,
) -> Result<Tail, PortError> {
    let opened = store.opened();
    let from = opened.changelog;
    let end = stretch.stable_end()?;
    if from > end || (from == 0 && opened.commit > 0) {
        return Err(PortError::Stop(format!(
            "the state of task {partition} does not belong to kafka topic {}: it has read up to \
             {from} of {end}; name another store.dir to restore it from the topic, or another \
             kafka.group to compute everything anew",
            settings.changelog()
        )));
    }
    Ok(Tail { from, end })
}

/// Brings `store` to the end of its `tail`. Nothing may be read from the inputs before that. Gives
/// up when `unwanted` says so; what has been read until then is in the store.
///
/// # Errors
/// `Reopen` when it was unwanted.
pub(super) fn restore(
    partition: u32,
    stretch: &Stretch<'_>,
    tail: Tail,
    store: &mut impl StateStore,
    unwanted: &dyn Fn() -> bool,
) -> Result<Restored, PortError> {
    let Tail { from, end } = tail;
    let opened = store.opened();
    let reached = Reached {
        changelog: from,
        last_output: opened.last_output,
        journal: opened.journal,
        config: opened.config_digest,
    };
    let (values, progress) = (BTreeMap::new(), Progress::default());
    let mut piece = Piece { values, bytes: 0, progress, reached };
    let (mut records, mut told) = (0u64, Instant::now());
    stretch.read_unless(unwanted, from, end, &mut |message| {
        piece.take(message)?;
        records += 1;
        if piece.values.len() >= PIECE_RECORDS || piece.bytes >= PIECE_BYTES {
            piece.apply(store)?;
            if unwanted() {
                return Err(PortError::Reopen("the task is not wanted any more".to_owned()));
            }
        }
        if told.elapsed() >= TELL_EVERY {
            told = Instant::now();
            let at = piece.reached.changelog;
            tracing::info!(task = partition, records, at, end, "restoring from the changelog");
        }
        Ok(())
    })?;
    // What lies between the last record and the end are the marks of transactions.
    piece.reached.changelog = end.max(from);
    if records > 0 {
        piece.apply(store)?;
    }
    store.caught_up()?;
    Ok(Restored { records, reached: piece.reached })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Topic;

    #[test]
    fn progress_round_trips_and_damage_is_refused() {
        let progress = Progress {
            number: 7,
            positions: vec![Position { topic: Topic::Lab, partition: 3, next: 9 }],
            last_output: 12,
            journal: 4,
            config: Some(Digest([1; 32])),
        };
        let mut bytes = progress.encode().unwrap();
        assert_eq!(Progress::decode(&bytes).unwrap(), progress);
        bytes[3] ^= 1;
        assert!(matches!(Progress::decode(&bytes), Err(PortError::Stop(_))));
    }
}
