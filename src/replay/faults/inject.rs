//! A goal of a replay with faults before it.

use std::collections::{BTreeMap, VecDeque};
use std::io::Write;

use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use sha2::{Digest as _, Sha256};

use super::alter::{Told, garbage};
use super::{Fault, FaultKind, FaultPlan};
use crate::event::dictionary::Dictionary;
use crate::ids::{Digest, StayId, Topic};
use crate::ports::PortError;
use crate::replay::item::RejectedRow;
use crate::replay::play::ReplaySink;
use crate::time::{EventTime, Span};
use crate::wire::Codec;
use crate::wire::records::MarkRecord;

/// A late record comes so long after it should have, at least and at most.
const LATE_BY_MINUTES: std::ops::Range<i64> = 60..360;
/// Records held back at once; while so many are, no more are made late or corrected.
const HELD_MAX: usize = 16_384;
/// Bytes held back at once; one record may come on top of it.
const HELD_BYTES_MAX: usize = 64 << 20;
/// Stays that a record may be misfiled under: the last ones heard of.
const STAYS_MAX: usize = 64;
/// Stays whose last film is kept, to be shown once more.
const FILMS_MAX: usize = 64;

/// `S` behind faults. The truth about each goes to `truth` as a line of JSON, and to `S`.
pub struct Faulty<'a, S> {
    inner: S,
    codec: &'a Codec,
    dictionary: &'a Dictionary,
    plan: FaultPlan,
    seed: u64,
    truth: Box<dyn Write + 'a>,
    injected: u64,
    surplus: BTreeMap<Topic, i64>,
    /// Records that come behind the next one of their topic.
    swapped: BTreeMap<Topic, Held>,
    /// Records that come later, by when.
    held: BTreeMap<(EventTime, u64), Held>,
    held_bytes: usize,
    n_held: u64,
    stays: VecDeque<StayId>,
    /// The last film record of each stay, the newest last.
    films: VecDeque<(StayId, Vec<u8>)>,
}

/// A record that is told later than it would have been.
struct Held {
    kind: FaultKind,
    topic: Topic,
    stay: StayId,
    available_at: EventTime,
    record: Vec<u8>,
}

impl<'a, S: ReplaySink> Faulty<'a, S> {
    pub fn new(
        inner: S,
        codec: &'a Codec,
        dictionary: &'a Dictionary,
        (plan, seed): (FaultPlan, u64),
        truth: Box<dyn Write + 'a>,
    ) -> Self {
        Faulty {
            inner,
            codec,
            dictionary,
            plan,
            seed,
            truth,
            injected: 0,
            surplus: BTreeMap::new(),
            swapped: BTreeMap::new(),
            held: BTreeMap::new(),
            held_bytes: 0,
            n_held: 0,
            stays: VecDeque::new(),
            films: VecDeque::new(),
        }
    }

    pub fn inner(&self) -> &S {
        &self.inner
    }

    pub fn inner_mut(&mut self) -> &mut S {
        &mut self.inner
    }

    /// Faults so far.
    pub fn injected(&self) -> u64 {
        self.injected
    }

    /// Of each topic how many more records were told than the recording has.
    pub fn surplus(&self) -> &BTreeMap<Topic, i64> {
        &self.surplus
    }

    /// Makes the truth durable that was told so far.
    pub fn flush_truth(&mut self) -> Result<(), PortError> {
        self.truth.flush().map_err(|error| truth_lost(&error))
    }

    /// What befalls this record, if anything does, and the dice for the rest of it.
    fn draw(&self, topic: Topic, record: &[u8]) -> Option<(FaultKind, ChaCha8Rng)> {
        let mut hash = Sha256::new();
        hash.update(self.seed.to_be_bytes());
        hash.update(record);
        let mut rng = ChaCha8Rng::from_seed(hash.finalize().into());
        if rng.random::<f64>() >= self.plan.rate {
            return None;
        }
        let befalls = |kind: &FaultKind| kind.befalls(topic);
        let kinds: Vec<FaultKind> = self.plan.kinds.iter().copied().filter(befalls).collect();
        let kind = *kinds.get(rng.random_range(0..kinds.len().max(1)))?;
        Some((kind, rng))
    }

    /// Does to the record what befalls it; false if the fault does not fit it after all.
    fn hit(
        &mut self,
        kind: FaultKind,
        rng: &mut ChaCha8Rng,
        topic: Topic,
        stay: StayId,
        record: &[u8],
    ) -> Result<bool, PortError> {
        let Some(told) = Told::read(self.codec, topic, record) else { return Ok(false) };
        let available_at = told.available_at();
        let held = |kind, record: Vec<u8>| Held { kind, topic, stay, available_at, record };
        match kind {
            FaultKind::Duplicate => {
                self.inner.append(topic, stay, record)?;
                self.tell(&held(kind, record.to_vec()), stay, String::new())?;
            }
            FaultKind::Drop => self.note(&held(kind, record.to_vec()), String::new())?,
            FaultKind::Reorder => {
                if self.swapped.contains_key(&topic) {
                    return Ok(false);
                }
                self.swapped.insert(topic, held(kind, record.to_vec()));
            }
            FaultKind::Late => {
                let by = Span::minutes(rng.random_range(LATE_BY_MINUTES));
                return Ok(self.hold(available_at + by, held(kind, record.to_vec())));
            }
            FaultKind::Correct => {
                let corrected = told.corrected(Digest::of(record));
                let Some(corrected) = corrected else { return Ok(false) };
                let available_at = corrected.available_at();
                let Some(bytes) = corrected.write(self.codec) else { return Ok(false) };
                let correction = Held { available_at, ..held(kind, bytes) };
                if !self.hold(available_at, correction) {
                    return Ok(false);
                }
                self.inner.append(topic, stay, record)?;
            }
            FaultKind::WrongPatient => return self.misfile(told, rng, held(kind, Vec::new())),
            FaultKind::Garbage
            | FaultKind::UnitSwap
            | FaultKind::StaleFilm
            | FaultKind::InvertedFilm => {
                let replaced = self.replaced(kind, rng, stay, told, record);
                let Some((bytes, detail)) = replaced else { return Ok(false) };
                self.tell(&held(kind, bytes), stay, detail)?;
            }
        }
        Ok(true)
    }

    /// What is told in the place of the record; `None` where it would be the same, or nothing.
    fn replaced(
        &self,
        kind: FaultKind,
        rng: &mut ChaCha8Rng,
        stay: StayId,
        told: Told,
        record: &[u8],
    ) -> Option<(Vec<u8>, String)> {
        let (told, detail) = match kind {
            FaultKind::Garbage => return Some((garbage(record, rng), String::new())),
            FaultKind::UnitSwap => told.in_another_unit(self.dictionary, rng)?,
            FaultKind::StaleFilm => {
                let (_, film) = self.films.iter().find(|(of, _)| *of == stay)?;
                let earlier = Told::read(self.codec, Topic::Imaging, film)?;
                (told.with_picture_of(earlier)?, String::new())
            }
            FaultKind::InvertedFilm => (told.inverted()?, String::new()),
            _ => return None,
        };
        let bytes = told.write(self.codec)?;
        (bytes != record).then_some((bytes, detail))
    }

    fn misfile(&mut self, told: Told, rng: &mut ChaCha8Rng, held: Held) -> Result<bool, PortError> {
        let others: Vec<StayId> = self.stays.iter().copied().filter(|s| *s != held.stay).collect();
        let Some(&other) = others.get(rng.random_range(0..others.len().max(1))) else {
            return Ok(false);
        };
        let Some(record) = told.of_stay(other).write(self.codec) else { return Ok(false) };
        self.tell(&Held { record, ..held }, other, format!("filed under {other}"))?;
        Ok(true)
    }

    /// Holds a record back until `due`; false if there is no room.
    fn hold(&mut self, due: EventTime, held: Held) -> bool {
        if self.held.len() >= HELD_MAX || self.held_bytes >= HELD_BYTES_MAX {
            return false;
        }
        self.n_held += 1;
        self.held_bytes += held.record.len();
        self.held.insert((due, self.n_held), held);
        true
    }

    /// Those due by `now` that `which` names, in the order of their times.
    fn due(&mut self, now: EventTime, which: impl Fn(&Held) -> bool) -> Vec<Held> {
        let due: Vec<_> = self
            .held
            .range(..=(now, u64::MAX))
            .filter(|(_, held)| which(held))
            .map(|(key, _)| *key)
            .collect();
        let taken: Vec<Held> = due.iter().filter_map(|key| self.held.remove(key)).collect();
        self.held_bytes -= taken.iter().map(|held| held.record.len()).sum::<usize>();
        taken
    }

    /// Appends the record under `stay`, and notes the fault.
    fn tell(&mut self, held: &Held, stay: StayId, detail: String) -> Result<(), PortError> {
        self.inner.append(held.topic, stay, &held.record)?;
        self.note(held, detail)
    }

    fn note(&mut self, held: &Held, detail: String) -> Result<(), PortError> {
        self.injected += 1;
        *self.surplus.entry(held.topic).or_default() += held.kind.surplus();
        let fault = Fault {
            number: self.injected,
            kind: held.kind,
            topic: held.topic,
            stay: held.stay,
            available_at: held.available_at,
            record: Digest::of(&held.record),
            detail,
        };
        let line = serde_json::to_vec(&fault)
            .map_err(|error| PortError::Stop(format!("a fault cannot be written: {error}")))?;
        self.truth
            .write_all(&line)
            .and_then(|()| self.truth.write_all(b"\n"))
            .map_err(|error| truth_lost(&error))?;
        self.inner.fault(fault.stay, &line)
    }

    fn let_go_swapped(&mut self, topic: Topic) -> Result<(), PortError> {
        match self.swapped.remove(&topic) {
            Some(held) => self.tell(&held, held.stay, String::new()),
            None => Ok(()),
        }
    }

    fn remember(&mut self, topic: Topic, stay: StayId, record: &[u8]) {
        if self.stays.back() != Some(&stay) {
            self.stays.retain(|known| *known != stay);
            self.stays.push_back(stay);
            let surplus = self.stays.len().saturating_sub(STAYS_MAX);
            self.stays.drain(..surplus);
        }
        if topic == Topic::Imaging {
            self.films.retain(|(of, _)| *of != stay);
            self.films.push_back((stay, record.to_vec()));
            let surplus = self.films.len().saturating_sub(FILMS_MAX);
            self.films.drain(..surplus);
        }
    }
}

impl<S: ReplaySink> ReplaySink for Faulty<'_, S> {
    fn tick(&mut self, now: EventTime) {
        self.inner.tick(now);
    }

    fn append(&mut self, topic: Topic, stay: StayId, record: &[u8]) -> Result<(), PortError> {
        let swapped = self.swapped.contains_key(&topic);
        let drawn = self.draw(topic, record).filter(|(kind, _)| {
            // Only a sound record lets the one before it go behind itself.
            !swapped || matches!(kind, FaultKind::Duplicate | FaultKind::Garbage)
        });
        let is_hit = match drawn {
            Some((kind, mut rng)) => self.hit(kind, &mut rng, topic, stay, record)?,
            None => false,
        };
        if !is_hit {
            self.inner.append(topic, stay, record)?;
        }
        if swapped {
            self.let_go_swapped(topic)?;
        }
        self.remember(topic, stay, record);
        Ok(())
    }

    /// A correction is told before the mark that would make it late, a late record behind it.
    fn mark(&mut self, topic: Topic, record: &[u8]) -> Result<(), PortError> {
        self.let_go_swapped(topic)?;
        let mark = self.codec.decode::<MarkRecord>(record);
        let Ok(MarkRecord { time, .. }) = mark else { return self.inner.mark(topic, record) };
        for held in self.due(time, |held| held.topic == topic && held.kind != FaultKind::Late) {
            self.tell(&held, held.stay, String::new())?;
        }
        self.inner.mark(topic, record)?;
        for held in self.due(time, |held| held.topic == topic) {
            self.tell(&held, held.stay, String::new())?;
        }
        Ok(())
    }

    fn reject(&mut self, row: &RejectedRow) -> Result<(), PortError> {
        self.inner.reject(row)
    }

    fn label(&mut self, stay: StayId, record: &[u8]) -> Result<(), PortError> {
        self.inner.label(stay, record)
    }

    /// What is later than the recording's end never comes.
    fn ending(&mut self) -> Result<(), PortError> {
        for held in self.due(EventTime::MAX, |held| held.kind == FaultKind::Late) {
            let held = Held { kind: FaultKind::Drop, ..held };
            self.note(&held, "late, and the recording ended first".to_owned())?;
        }
        self.inner.ending()
    }
}

fn truth_lost(error: &std::io::Error) -> PortError {
    PortError::Stop(format!("the truth about the faults cannot be written: {error}"))
}
