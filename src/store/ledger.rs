//! What a commit writes and what a store knows of itself, the same for every engine.
//!
//! The running digest is the wrapping sum of one hash per entry, so a put or a delete changes it
//! in constant time and the order of entries does not matter. An entry's hash covers its key and
//! the length and CRC of its value; the CRC in turn covers the value. Compared on open, it finds
//! values that are lost, stale or come from another commit, which no per-value checksum can.

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};

use super::codec::{self, CodecError, NEWEST_VERSION, Stamp};
use super::keys::{OWN_TAG, Own};
use super::outbox;
use crate::ids::{Digest, Position, Topic};
use crate::ports::{Commit, Opened, Output, PortError};

/// What a store knows of itself after a commit.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Ledger {
    pub(super) number: u64,
    pub(super) digest: u128,
    pub(super) entries: u64,
    pub(super) live_bytes: u64,
    config: Option<Digest>,
    positions: BTreeMap<(Topic, u32), u64>,
    /// Output number up to which the outlet has confirmed.
    sent: u64,
    last_output: u64,
    journal: u64,
    changelog: u64,
    /// The outbox values that stand in the store: number of the last output, and stamp.
    outbox: VecDeque<(u64, Stamp)>,
}

/// The ledger as it is stored. Fields are only ever added together with a new format version.
#[derive(Serialize, Deserialize)]
struct Record {
    number: u64,
    digest: u128,
    config: Option<Digest>,
    positions: Vec<Position>,
    sent: u64,
    last_output: u64,
    journal: u64,
    changelog: u64,
}

/// What to write for one commit: each key once, with its value or `None` to delete it.
pub(super) struct Plan<'a> {
    pub(super) values: BTreeMap<&'a [u8], Option<&'a [u8]>>,
    pub(super) own: Vec<(Vec<u8>, Option<Vec<u8>>)>,
    pub(super) next: Ledger,
}

/// Why a store's content is not to be used.
#[derive(Debug)]
pub(super) enum Fault {
    Damage(String),
    Future { found: u8 },
}

impl From<CodecError> for Fault {
    fn from(error: CodecError) -> Self {
        match error {
            CodecError::Corrupt => Fault::Damage("a value's checksum is wrong".to_owned()),
            CodecError::FutureVersion { found } => Fault::Future { found },
        }
    }
}

/// Tells the stamp of the value under a key, if there is one.
pub(super) type OldStamp<'a> = dyn FnMut(&[u8]) -> Result<Option<Stamp>, PortError> + 'a;

/// A key and its new value; none to delete it.
type Change = (Vec<u8>, Option<Vec<u8>>);

impl Ledger {
    /// What `commit` writes over this state. `old` tells the stamp of the value under a key.
    pub(super) fn plan<'a>(
        &self,
        commit: &'a Commit,
        old: &mut OldStamp<'_>,
    ) -> Result<Plan<'a>, PortError> {
        self.check(commit)?;
        self.plan_piece(commit, old)
    }

    /// As [`Ledger::plan`], for a piece of a changelog, whose numbers may leap.
    pub(super) fn plan_piece<'a>(
        &self,
        commit: &'a Commit,
        old: &mut OldStamp<'_>,
    ) -> Result<Plan<'a>, PortError> {
        let mut next = self.clone();
        let mut values: BTreeMap<&[u8], Option<&[u8]>> = BTreeMap::new();
        for (key, value) in &commit.puts {
            codec::unframe(value).map_err(|error| stop(key, &error.to_string()))?;
            values.insert(key, Some(value));
        }
        values.extend(commit.deletes.iter().map(|key| (key.as_slice(), None)));
        for (key, value) in &values {
            if key.first().is_none_or(|tag| *tag == OWN_TAG) {
                return Err(stop(key, "tag 0 is the store's own"));
            }
            next.replace(key, old(key)?, value.map(codec::stamp));
        }
        let own = next.plan_own(commit)?;
        Ok(Plan { values, own, next })
    }

    /// Numbers follow each other. An empty store takes any first commit, so that it can be filled
    /// from a changelog.
    fn check(&self, commit: &Commit) -> Result<(), PortError> {
        if self.number != 0 && commit.number != self.number + 1 || commit.number == 0 {
            return Err(PortError::Stop(format!(
                "commit {} does not follow commit {}; reopen the task and report this",
                commit.number, self.number
            )));
        }
        let mut last = self.last_output;
        for output in &commit.outputs {
            if output.number <= last {
                return Err(PortError::Stop(format!(
                    "output {} does not follow output {last}; reopen the task and report this",
                    output.number
                )));
            }
            last = output.number;
        }
        Ok(())
    }

    /// The store's own values: what is confirmed leaves the outbox, what is new enters it, and
    /// the record closes the commit.
    fn plan_own(&mut self, commit: &Commit) -> Result<Vec<Change>, PortError> {
        let mut own = Vec::new();
        while let Some(&(last, stamp)) = self.outbox.front()
            && last <= self.sent
        {
            self.outbox.pop_front();
            let key = Own::Outbox { last }.encode();
            self.replace(&key, Some(stamp), None);
            own.push((key, None));
        }
        for (last, bytes) in outbox::encode(&commit.outputs) {
            let key = Own::Outbox { last }.encode();
            let value = codec::frame(NEWEST_VERSION, &bytes);
            let stamp = codec::stamp(&value);
            self.replace(&key, None, Some(stamp));
            self.outbox.push_back((last, stamp));
            self.last_output = last;
            own.push((key, Some(value)));
        }
        self.number = self.number.max(commit.number);
        self.journal += commit.journal.len() as u64;
        if let Some(reached) = commit.reached {
            self.changelog = reached.changelog;
            self.last_output = reached.last_output;
            self.journal = reached.journal;
            self.config = reached.config;
        }
        self.positions.extend(commit.positions.iter().map(|p| ((p.topic, p.partition), p.next)));
        let record = postcard::to_stdvec(&self.record())
            .map_err(|error| PortError::Stop(format!("commit record: {error}; report this")))?;
        own.push((Own::Commit.encode(), Some(codec::frame(NEWEST_VERSION, &record))));
        Ok(own)
    }

    fn replace(&mut self, key: &[u8], old: Option<Stamp>, new: Option<Stamp>) {
        if let Some(stamp) = old {
            self.digest = self.digest.wrapping_sub(entry_hash(key, stamp));
            self.entries = self.entries.saturating_sub(1);
            self.live_bytes = self.live_bytes.saturating_sub(stamp.len + key.len() as u64);
        }
        if let Some(stamp) = new {
            self.digest = self.digest.wrapping_add(entry_hash(key, stamp));
            self.entries += 1;
            self.live_bytes += stamp.len + key.len() as u64;
        }
    }

    /// The outlet has outputs up to `number`; they leave with the next commit.
    pub(super) fn sent(&mut self, number: u64) {
        self.sent = self.sent.max(number);
    }

    /// The next commit records `digest` as the config under which the state is made.
    pub(super) fn set_config(&mut self, digest: Digest) {
        self.config = Some(digest);
    }

    fn record(&self) -> Record {
        Record {
            number: self.number,
            digest: self.digest,
            config: self.config,
            positions: self.positions(),
            sent: self.sent,
            last_output: self.last_output,
            journal: self.journal,
            changelog: self.changelog,
        }
    }

    fn positions(&self) -> Vec<Position> {
        self.positions
            .iter()
            .map(|(&(topic, partition), &next)| Position { topic, partition, next })
            .collect()
    }

    /// What to tell the driver of a state with `outbox`.
    pub(super) fn opened(&self, outbox: Vec<Output>) -> Opened {
        Opened {
            commit: self.number,
            positions: self.positions(),
            outbox,
            last_output: self.last_output,
            config_digest: self.config,
            journal: self.journal,
            changelog: self.changelog,
        }
    }
}

/// Reads a whole store in any order and checks it.
#[derive(Default)]
pub(super) struct Audit {
    seen: Ledger,
    record: Option<Record>,
    outbox: BTreeMap<u64, Vec<Output>>,
}

impl Audit {
    /// Takes one entry, and fails on the first that is damaged or of the future.
    pub(super) fn entry(&mut self, key: &[u8], value: &[u8]) -> Result<(), Fault> {
        let (_, payload) = codec::unframe(value)?;
        if key.first() != Some(&OWN_TAG) {
            self.seen.replace(key, None, Some(codec::stamp(value)));
            return Ok(());
        }
        match Own::decode(key) {
            Some(Own::Commit) => {
                let record = postcard::from_bytes(payload);
                self.record = Some(record.map_err(|e| Fault::Damage(format!("commit: {e}")))?);
            }
            Some(Own::Outbox { last }) => {
                self.seen.replace(key, None, Some(codec::stamp(value)));
                self.seen.outbox.push_back((last, codec::stamp(value)));
                let outputs = outbox::decode(payload);
                let damage = || Fault::Damage(format!("outbox {last} cannot be read"));
                self.outbox.insert(last, outputs.ok_or_else(damage)?);
            }
            None => return Err(Fault::Damage("an unknown key of the store's own".to_owned())),
        }
        Ok(())
    }

    /// The ledger and what to tell the driver, if the digest of the last commit holds.
    pub(super) fn finish(self) -> Result<(Ledger, Opened), Fault> {
        let Some(record) = self.record else {
            if self.seen.entries == 0 {
                return Ok(Default::default());
            }
            return Err(Fault::Damage("it has values but no commit".to_owned()));
        };
        if record.digest != self.seen.digest {
            let why = format!("its digest differs from that of commit {}", record.number);
            return Err(Fault::Damage(why));
        }
        let mut ledger = self.seen;
        ledger.outbox.make_contiguous().sort_by_key(|(last, _)| *last);
        ledger.number = record.number;
        ledger.config = record.config;
        ledger.sent = record.sent;
        ledger.last_output = record.last_output;
        ledger.journal = record.journal;
        ledger.changelog = record.changelog;
        ledger.positions =
            record.positions.iter().map(|p| ((p.topic, p.partition), p.next)).collect();
        let waiting = self.outbox.into_values().flatten().filter(|o| o.number > record.sent);
        let opened = ledger.opened(waiting.collect());
        Ok((ledger, opened))
    }
}

fn entry_hash(key: &[u8], stamp: Stamp) -> u128 {
    let mut bytes = Vec::with_capacity(12 + key.len());
    bytes.extend_from_slice(&stamp.len.to_le_bytes());
    bytes.extend_from_slice(&stamp.crc.to_le_bytes());
    bytes.extend_from_slice(key);
    let hash = Digest::of(&bytes).0;
    hash.first_chunk::<16>().map_or(0, |half| u128::from_le_bytes(*half))
}

fn stop(key: &[u8], why: &str) -> PortError {
    let key: String = key.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    PortError::Stop(format!("cannot commit key {key}: {why}; report this"))
}
