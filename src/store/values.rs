//! The engine's state as store values, and back: stay head, alerts, hour chunks, sealed windows,
//! feed marks. Whole values, never deltas, so that the newest record of each key is the state.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::codec::{NEWEST_VERSION, frame, unframe};
use super::keys::{Key, Kind};
use super::lineage::Lineage;
use crate::engine::{Alerting, Heritage, Stay, Task, Watermark, Window};
use crate::event::{Mark, PreparedFilm};
use crate::ids::{Digest, StayId};
use crate::ports::{Commit, PortError, StateStore};
use crate::series::{Chunk, History};
use crate::time::EventTime;

/// The first format in which the alerts of a stay are a value of their own.
const ALERTING_APART: u8 = 4;

/// A feed's mark as it is stored: its time, and whether the driver made it. Where the driver passed
/// the feed over follows, if it did ([`Watermark::passed`]).
type StoredMark = (EventTime, bool);

/// Adds to `commit` every value of `task` that changed since the last commit.
pub fn put_changes(
    task: &mut Task,
    partition: u32,
    store: &impl StateStore,
    commit: &mut Commit,
) -> Result<(), PortError> {
    let (dirty, expired) = task.take_dirty();
    // A film is stored for as long as its stay holds it or a waiting fact speaks of it, and what
    // came within this commit may be nobody's any more.
    let films_of = |stay| task.stays().get(&stay).map(Stay::film_digests).unwrap_or_default();
    commit.puts.retain(|(key, _)| match Key::decode(key) {
        Some(Key::Film { stay, digest }) => films_of(stay).contains(&digest),
        _ => true,
    });
    for stay in expired {
        delete_stay(stay, &films_of(stay), store, commit)?;
    }
    for id in dirty {
        if let Some(stay) = task.stay_mut(id) {
            put_stay(stay, store, commit)?;
        }
    }
    // A stay may expire and begin again within one commit: what is put is not deleted.
    let put: BTreeSet<&[u8]> = commit.puts.iter().map(|(key, _)| key.as_slice()).collect();
    commit.deletes.retain(|key| !put.contains(key.as_slice()));
    put_marks(task, partition, commit)
}

/// Adds the prepared film of a stay.
pub fn put_film(stay: StayId, film: &PreparedFilm, commit: &mut Commit) {
    let key = Key::Film { stay, digest: film.digest() }.encode();
    commit.puts.push((key, frame(NEWEST_VERSION, film.pixels())));
}

/// The prepared film of a stay, if the store has it.
pub fn film(
    store: &impl StateStore,
    stay: StayId,
    digest: Digest,
) -> Result<Option<PreparedFilm>, PortError> {
    let Some(bytes) = store.get(&Key::Film { stay, digest }.encode())? else { return Ok(None) };
    let pixels = payload(&bytes)?;
    Ok(PreparedFilm::new(pixels.to_vec()).filter(|film| film.digest() == digest))
}

/// The whole state of a task: what [`Task::restore`] takes.
pub fn load(store: &impl StateStore, n_feeds: usize) -> Result<(Watermark, Vec<Stay>), PortError> {
    let heads = decoded(store, Kind::Head, head)?;
    let mut histories: BTreeMap<StayId, History> = BTreeMap::new();
    for (key, chunk) in values::<Chunk>(store, Kind::Chunk)? {
        if let Key::Chunk { stay, .. } = key {
            histories.entry(stay).or_default().restore(chunk);
        }
    }
    let mut windows: BTreeMap<StayId, Vec<Window>> = BTreeMap::new();
    for (key, window) in values::<Window>(store, Kind::Window)? {
        if let Key::Window { stay, .. } = key {
            windows.entry(stay).or_default().push(window);
        }
    }
    let mut alerting: BTreeMap<StayId, Alerting> = BTreeMap::new();
    for (key, told) in values::<Alerting>(store, Kind::Alerting)? {
        if let Key::Alerting { stay } = key {
            alerting.insert(stay, told);
        }
    }
    let stays = heads.into_iter().map(|(_, mut head)| {
        let history = histories.remove(&head.id).unwrap_or_default();
        let windows = windows.remove(&head.id).unwrap_or_default();
        if let Some(alerting) = alerting.remove(&head.id) {
            head.restore_alerting(alerting);
        }
        head.restore(windows, history)
    });
    Ok((load_marks(store, n_feeds)?, stays.collect()))
}

/// Adds what the driver has counted in a partition: a value like any other, so that it is never
/// ahead of the state or behind it.
pub fn put_counts<T: Serialize>(
    partition: u32,
    counts: &T,
    commit: &mut Commit,
) -> Result<(), PortError> {
    commit.puts.push((Key::Counts { partition }.encode(), value(counts)?));
    Ok(())
}

/// What the driver had counted in a partition, if the store has it.
pub fn counts<T: DeserializeOwned>(
    store: &impl StateStore,
    partition: u32,
) -> Result<Option<T>, PortError> {
    let Some(bytes) = store.get(&Key::Counts { partition }.encode())? else { return Ok(None) };
    let counts = postcard::from_bytes(payload(&bytes)?);
    counts.map(Some).map_err(|error| unreadable(&error.to_string()))
}

/// Adds who makes the state of a partition.
pub fn put_lineage(
    partition: u32,
    lineage: &Lineage,
    commit: &mut Commit,
) -> Result<(), PortError> {
    let stored = match lineage.told_to.as_slice() {
        [] => value(lineage)?,
        told_to => value(&(lineage, told_to))?,
    };
    commit.puts.push((Key::Lineage { partition }.encode(), stored));
    Ok(())
}

/// Who makes the state of a partition, if the store says so.
pub fn lineage(store: &impl StateStore, partition: u32) -> Result<Option<Lineage>, PortError> {
    let Some(bytes) = store.get(&Key::Lineage { partition }.encode())? else { return Ok(None) };
    let payload = payload(&bytes)?;
    let decoded = || {
        let (mut lineage, rest) = postcard::take_from_bytes::<Lineage>(payload)?;
        if !rest.is_empty() {
            lineage.told_to = postcard::from_bytes(rest)?;
        }
        Ok(lineage)
    };
    decoded().map(Some).map_err(|error: postcard::Error| unreadable(&error.to_string()))
}

/// A head, and behind it what earlier makers have said of the stay, if there were any. Before
/// [`ALERTING_APART`] its alerts stand between the two.
fn head(version: u8, payload: &[u8]) -> postcard::Result<Stay> {
    let (mut stay, mut rest) = postcard::take_from_bytes::<Stay>(payload)?;
    if version < ALERTING_APART {
        let (alerting, behind) = postcard::take_from_bytes::<Alerting>(rest)?;
        stay.restore_alerting(alerting.changed());
        rest = behind;
    }
    if !rest.is_empty() {
        stay.inherit(postcard::from_bytes::<Heritage>(rest)?);
    }
    Ok(stay)
}

fn put_stay(
    stay: &mut Stay,
    store: &impl StateStore,
    commit: &mut Commit,
) -> Result<(), PortError> {
    let id = stay.id;
    let head = match stay.heritage() {
        Some(heritage) => value(&(&*stay, heritage))?,
        None => value(&*stay)?,
    };
    commit.puts.push((Key::Head { stay: id }.encode(), head));
    let changes = stay.take_changes();
    if let Some(alerting) = changes.alerting {
        commit.puts.push((Key::Alerting { stay: id }.encode(), value(alerting)?));
    }
    for window in changes.windows {
        let key = Key::Window { stay: id, t: window.t, revision: window.revision };
        commit.puts.push((key.encode(), value(window)?));
    }
    for hour in changes.hours {
        let key = Key::Chunk { stay: id, hour }.encode();
        match changes.history.chunk(hour) {
            Some(chunk) => commit.puts.push((key, value(chunk)?)),
            None => commit.deletes.push(key),
        }
    }
    for digest in changes.films_unused {
        let key = Key::Film { stay: id, digest }.encode();
        if store.get(&key)?.is_some() {
            commit.deletes.push(key);
        }
    }
    Ok(())
}

/// Deletes all of a stay but the films in `kept`: one that has begun anew may wait for them.
fn delete_stay(
    stay: StayId,
    kept: &BTreeSet<Digest>,
    store: &impl StateStore,
    commit: &mut Commit,
) -> Result<(), PortError> {
    let is_kept = |key: &[u8]| match Key::decode(key) {
        Some(Key::Film { digest, .. }) => kept.contains(&digest),
        _ => false,
    };
    for kind in [Kind::Head, Kind::Alerting, Kind::Chunk, Kind::Film, Kind::Window] {
        store.scan(&kind.prefix_of(stay), &mut |key, _| {
            if !is_kept(key) {
                commit.deletes.push(key.to_vec());
            }
        })?;
    }
    Ok(())
}

fn put_marks(task: &Task, partition: u32, commit: &mut Commit) -> Result<(), PortError> {
    for (feed, time, derived) in task.watermark().entries() {
        let topic = task.config().feeds.get(usize::from(feed.0)).map(|feed| feed.topic);
        if let (Some(topic), true) = (topic, time > EventTime::MIN) {
            let key = Key::FeedMark { topic, partition, feed }.encode();
            let mark: StoredMark = (time, derived);
            let passed = task.watermark().passed(feed);
            let stored = if passed.is_empty() { value(&mark)? } else { value(&(mark, passed))? };
            commit.puts.push((key, stored));
        }
    }
    Ok(())
}

fn load_marks(store: &impl StateStore, n_feeds: usize) -> Result<Watermark, PortError> {
    let mut watermark = Watermark::new(n_feeds);
    let decode = |_, payload: &[u8]| {
        let ((time, derived), rest) = postcard::take_from_bytes::<StoredMark>(payload)?;
        let passed = if rest.is_empty() { Vec::new() } else { postcard::from_bytes(rest)? };
        Ok((time, derived, passed))
    };
    for (key, (time, derived, passed)) in decoded(store, Kind::FeedMark, decode)? {
        let Key::FeedMark { feed, .. } = key else { continue };
        watermark.restore(Mark { feed, time }, derived, passed);
    }
    Ok(watermark)
}

fn values<T: DeserializeOwned>(
    store: &impl StateStore,
    kind: Kind,
) -> Result<Vec<(Key, T)>, PortError> {
    decoded(store, kind, |_, payload| postcard::from_bytes::<T>(payload))
}

/// Every value of a kind, in the order of their keys; `decode` is told their format.
fn decoded<T>(
    store: &impl StateStore,
    kind: Kind,
    decode: impl Fn(u8, &[u8]) -> postcard::Result<T>,
) -> Result<Vec<(Key, T)>, PortError> {
    let mut found = Vec::new();
    let mut damaged = None;
    store.scan(&kind.prefix(), &mut |key, bytes| {
        let decoded = unframe(bytes).map_err(|error| unreadable(&error.to_string()));
        let decoded = decoded.and_then(|(version, payload)| {
            decode(version, payload).map_err(|error| unreadable(&error.to_string()))
        });
        match (Key::decode(key), decoded) {
            (Some(key), Ok(value)) => found.push((key, value)),
            (None, _) => damaged = Some(unreadable("a key of no known kind")),
            (_, Err(error)) => damaged = Some(error),
        }
    })?;
    damaged.map_or(Ok(found), Err)
}

fn value<T: Serialize>(value: &T) -> Result<Vec<u8>, PortError> {
    postcard::to_stdvec(value)
        .map(|payload| frame(NEWEST_VERSION, &payload))
        .map_err(|error| PortError::Stop(format!("a value cannot be written: {error}")))
}

fn payload(bytes: &[u8]) -> Result<&[u8], PortError> {
    unframe(bytes).map(|(_, payload)| payload).map_err(|error| unreadable(&error.to_string()))
}

fn unreadable(cause: &str) -> PortError {
    PortError::Reopen(format!("a stored value cannot be read: {cause}"))
}
