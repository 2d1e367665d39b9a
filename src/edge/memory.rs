//! The edge's state as values of a store.

use std::collections::{BTreeMap, BTreeSet};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::body::Body;
use super::desk::EdgeError;
use super::language::Language;
use super::register::{Register, Taken};
use super::scribe::Letterhead;
use super::sink::Outgoing;
use crate::engine::resolve::{Changes, Hour, Person, PersonId, Resolver};
use crate::ports::{Commit, PortError, StateStore};
use crate::store::codec::{NEWEST_VERSION, frame, unframe};
use crate::store::keys::{Key, Kind};

/// The edge has one state, and so one partition.
const PARTITION: u32 = 0;

/// What an edge counts.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Counters {
    /// Messages that came.
    pub messages: u64,
    /// Records that went out.
    pub records: u64,
    /// The number of the first record that may not be in its topic, as stored.
    sending: Option<u64>,
    /// What was ever spoken here, and is so expected.
    pub(super) spoken: BTreeSet<Language>,
    /// A pseudonym that tells one secret from another.
    secret: u128,
    /// Number of the last commit.
    #[serde(skip)]
    commit: u64,
    /// `messages` as stored.
    #[serde(skip)]
    stored: u64,
}

/// What a store held, beside the resolver's part.
pub struct Held {
    pub register: Register,
    pub counters: Counters,
    pub unsent: Vec<Outgoing>,
}

/// What one commit adds, beside the resolver's changes.
pub struct Batch<'a> {
    pub taken: &'a [(u64, Taken)],
    pub gone: &'a [u64],
    pub records: &'a [Outgoing],
}

impl Counters {
    /// Whether the state was made under the secret of this pseudonym, or is new.
    ///
    /// # Errors
    /// If it was made under another: every patient would get a second stay.
    pub fn claim(&mut self, secret: u128) -> Result<(), EdgeError> {
        if self.commit > 0 && self.secret != secret {
            let why = "edge.secret is not the one under which the state of the edge was made; \
                       give that one, or another directory for a new beginning";
            return Err(EdgeError::Config(why.to_owned()));
        }
        self.secret = secret;
        Ok(())
    }
}

/// Takes up the state: the resolver is restored, the rest returned.
pub fn load(store: &impl StateStore, resolver: &mut Resolver<Body>) -> Result<Held, EdgeError> {
    let mut people: BTreeMap<PersonId, Person<Body>> = BTreeMap::new();
    each::<Person<Body>>(store, Kind::Person, |_, person| {
        people.insert(person.id, person);
    })?;
    each::<Hour<Body>>(store, Kind::Reports, |key, reports| {
        if let Key::Reports { person, hour } = key
            && let Some(person) = people.get_mut(&PersonId(person))
        {
            person.restore_hour(hour, reports);
        }
    })?;
    let mut aliases = BTreeMap::new();
    each::<PersonId>(store, Kind::Alias, |key, to| {
        if let Key::Alias { person } = key {
            aliases.insert(PersonId(person), to);
        }
    })?;
    resolver.restore(people.into_values(), aliases);
    let mut register = Register::default();
    each::<Taken>(store, Kind::Message, |key, taken| {
        if let Key::Message { number } = key {
            register.add(number, &taken);
        }
    })?;
    let mut unsent = Vec::new();
    each::<Vec<Outgoing>>(store, Kind::Sending, |_, records| unsent.extend(records))?;
    let counters = store.get(&Key::Counts { partition: PARTITION }.encode())?;
    let stored: Option<Counters> = counters.map(|bytes| decode(&bytes)).transpose()?;
    let mut counters = stored.unwrap_or_default();
    counters.commit = store.opened().commit;
    counters.stored = counters.messages;
    Ok(Held { register, counters, unsent })
}

/// Commits what changed, and flushes. What was sent before is forgotten with it.
pub fn save(
    store: &mut impl StateStore,
    resolver: &mut Resolver<Body>,
    counters: &mut Counters,
    batch: &Batch<'_>,
) -> Result<(), EdgeError> {
    let Changes { people, hours, aliases } = resolver.take_changes();
    let nothing = people.is_empty() && hours.is_empty() && aliases.is_empty();
    let no_batch = batch.taken.is_empty() && batch.gone.is_empty() && batch.records.is_empty();
    if nothing && no_batch && counters.stored == counters.messages {
        return Ok(());
    }
    let commit = &mut Commit { number: counters.commit + 1, ..Commit::default() };
    for (PersonId(person), state) in people {
        put(commit, Key::Person { person }, state)?;
    }
    for (PersonId(person), hour, reports) in hours {
        put(commit, Key::Reports { person, hour }, reports)?;
    }
    for (PersonId(person), to) in aliases {
        put(commit, Key::Alias { person }, to.as_ref())?;
    }
    for (number, taken) in batch.taken {
        put(commit, Key::Message { number: *number }, Some(taken))?;
    }
    for number in batch.gone {
        put(commit, Key::Message { number: *number }, None::<&Taken>)?;
    }
    if let Some(number) = counters.sending.take() {
        put(commit, Key::Sending { number }, None::<&Vec<Outgoing>>)?;
    }
    if let Some(first) = batch.records.first() {
        counters.sending = Some(first.number);
        put(commit, Key::Sending { number: first.number }, Some(&batch.records))?;
    }
    put(commit, Key::Counts { partition: PARTITION }, Some(&*counters))?;
    store.commit(commit)?;
    store.flush()?;
    counters.commit = commit.number;
    counters.stored = counters.messages;
    Ok(())
}

/// From whom a message that was taken came; nobody, if it is forgotten.
pub fn letterhead(store: &impl StateStore, number: u64) -> Result<Letterhead, EdgeError> {
    let found = store.get(&Key::Message { number }.encode())?;
    let taken: Option<Taken> = found.map(|bytes| decode(&bytes)).transpose()?;
    Ok(taken.map(|taken| taken.head).unwrap_or_default())
}

/// Puts a value, or deletes it if there is none.
fn put<T: Serialize>(commit: &mut Commit, key: Key, value: Option<&T>) -> Result<(), EdgeError> {
    match value {
        Some(value) => {
            let bytes = postcard::to_stdvec(value).map_err(|error| {
                PortError::Stop(format!("a value of the edge's state: {error}; report this"))
            })?;
            commit.puts.push((key.encode(), frame(NEWEST_VERSION, &bytes)));
        }
        None => commit.deletes.push(key.encode()),
    }
    Ok(())
}

fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, EdgeError> {
    let damaged = |error: &dyn std::fmt::Display| EdgeError::Damaged(error.to_string());
    let (_, payload) = unframe(bytes).map_err(|error| damaged(&error))?;
    postcard::from_bytes(payload).map_err(|error| damaged(&error))
}

/// Calls `visit` with every value of one kind.
fn each<T: DeserializeOwned>(
    store: &impl StateStore,
    kind: Kind,
    mut visit: impl FnMut(Key, T),
) -> Result<(), EdgeError> {
    let mut first = Ok(());
    store.scan(&kind.prefix(), &mut |key, bytes| {
        let read = decode(bytes).and_then(|value| match Key::decode(key) {
            Some(key) => Ok((key, value)),
            None => Err(EdgeError::Damaged("a key is of no known form".to_owned())),
        });
        match read {
            Ok((key, value)) => visit(key, value),
            Err(error) if first.is_ok() => first = Err(error),
            Err(_) => {}
        }
    })?;
    first
}
