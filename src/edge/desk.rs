//! The desk: takes messages, resolves them, makes what follows durable, and only then answers.
//!
//! One commit of the store holds the state and the records that go out; it is flushed, the records
//! are appended to their topics and made durable, and the next commit forgets them. So a crash
//! loses nothing that was answered, and sends again what may not have been sent.

use std::collections::BTreeMap;

use thiserror::Error;

use super::body::Body;
use super::language::Language;
use super::memory::{self, Counters};
use super::merged::{Merged, Witness};
use super::pseudonym::Pseudonyms;
use super::reader::{Reader, Reading};
use super::register::{Register, Taken};
use super::scribe::{Letterhead, Scribe};
use super::sink::{Outgoing, Sink};
use crate::engine::resolve::{Effect, Fate, Heard, Resolver};
use crate::event::Rejection;
use crate::event::dictionary::DictionaryError;
use crate::ids::Topic;
use crate::ports::{PortError, StateStore};
use crate::telemetry::{EdgeAct, EdgeFact, EdgeFate};
use crate::time::{EventTime, Span, WallTime};
use crate::wire::WireError;

/// Refused messages that are remembered: a sender that sends one again and again gets the same
/// answer, and no further dead letter. All are forgotten when there are more.
const MAX_REFUSED: usize = 10_000;

/// Why the desk cannot go on.
#[derive(Debug, Error)]
pub enum EdgeError {
    #[error(transparent)]
    Port(#[from] PortError),
    #[error("a record cannot be written: {0}; this is a fault of nowcxr, please report it")]
    Wire(#[from] WireError),
    #[error("the state of the edge cannot be read: {0}; restore its directory from a backup")]
    Damaged(String),
    #[error(transparent)]
    Dictionary(#[from] DictionaryError),
    /// The configuration does not go with an edge.
    #[error("{0}")]
    Config(String),
}

/// A message in one of the languages that hospitals speak.
pub trait Message {
    /// What its sender is told.
    type Answer;

    /// Tells the desk what it says. Nothing of it is durable before the desk has committed.
    fn hear<S: StateStore, K: Sink>(&self, desk: &mut Desk<S, K>, now: WallTime) -> Self::Answer;
}

/// What the desk works with.
pub struct Parts<S, K> {
    pub reader: Reader,
    pub resolver: Resolver<Body>,
    pub pseudonyms: Pseudonyms,
    pub scribe: Scribe,
    pub store: S,
    pub sink: K,
    /// How far marks stay behind the clock.
    pub lateness: Span,
}

/// One edge.
pub struct Desk<S, K> {
    parts: Parts<S, K>,
    register: Register,
    counters: Counters,
    /// Durable, and not in their topics yet.
    unsent: Vec<Outgoing>,
    /// What is to be committed.
    effects: Vec<Effect<Body>>,
    letters: Vec<(Heard, Letterhead, Rejection)>,
    taken: Vec<(u64, Taken)>,
    refused: BTreeMap<u128, Rejection>,
    /// Up to where each topic was promised complete.
    marked: BTreeMap<Topic, EventTime>,
    /// Merges of the commit to come, for the witness.
    merges: Vec<Merged>,
    witness: Option<Witness>,
}

impl<S: StateStore, K: Sink> Desk<S, K> {
    /// Takes up the state in the store. What may not have been sent waits for [`Desk::settle`].
    ///
    /// # Errors
    /// If the state cannot be read, or was made under another secret.
    pub fn open(mut parts: Parts<S, K>) -> Result<Self, EdgeError> {
        let mut held = memory::load(&parts.store, &mut parts.resolver)?;
        held.counters.claim(parts.pseudonyms.check())?;
        Ok(Desk {
            parts,
            register: held.register,
            counters: held.counters,
            unsent: held.unsent,
            effects: Vec::new(),
            letters: Vec::new(),
            taken: Vec::new(),
            refused: BTreeMap::new(),
            marked: BTreeMap::new(),
            merges: Vec::new(),
            witness: None,
        })
    }

    /// Tells `witness` of every merge of patients from here on.
    #[must_use]
    pub fn witnessed(self, witness: Witness) -> Self {
        Desk { witness: Some(witness), ..self }
    }

    /// Takes messages and makes what follows durable. The answers to each may go out once
    /// [`Desk::settle`] has succeeded.
    ///
    /// # Errors
    /// After any the state in memory is ahead of the store, and the desk must be opened anew.
    pub fn take<M: Message>(
        &mut self,
        messages: &[M],
        now: WallTime,
    ) -> Result<Vec<M::Answer>, EdgeError> {
        self.together(now, |desk| messages.iter().map(|message| message.hear(desk, now)).collect())
    }

    /// As [`Desk::take`], for messages of several languages: makes what `hear` tells the desk one
    /// commit.
    ///
    /// # Errors
    /// As [`Desk::take`].
    pub fn together<T>(
        &mut self,
        now: WallTime,
        hear: impl FnOnce(&mut Self) -> T,
    ) -> Result<T, EdgeError> {
        self.settle(now)?;
        let answers = hear(self);
        self.commit(now)?;
        Ok(answers)
    }

    /// Sends what is durable and not sent yet.
    ///
    /// # Errors
    /// If the topics cannot take it now; call it again.
    pub fn settle(&mut self, now: WallTime) -> Result<(), PortError> {
        if !self.unsent.is_empty() {
            self.parts.sink.send(&self.unsent, now)?;
            self.unsent.clear();
        }
        Ok(())
    }

    /// Lets time pass: what waited too long is given up.
    ///
    /// # Errors
    /// As [`Desk::take`].
    pub fn tick(&mut self, now: WallTime) -> Result<(), EdgeError> {
        let time = EventTime::from_millis(now.as_millis());
        self.together(now, |desk| desk.parts.resolver.tick(time, &mut desk.effects))?;
        Ok(self.settle(now)?)
    }

    /// Promises that the feeds of these topics are complete up to the configured lateness ago.
    ///
    /// # Errors
    /// As [`Desk::take`].
    pub fn mark(&mut self, topics: &[Topic], now: WallTime) -> Result<(), EdgeError> {
        self.settle(now)?;
        let time = EventTime::from_millis(now.as_millis()) - self.parts.lateness;
        let is_due = |topic: &Topic| self.marked.get(topic).is_none_or(|marked| time > *marked);
        let due: Vec<Topic> = topics.iter().copied().filter(is_due).collect();
        if due.is_empty() {
            return Ok(());
        }
        let marks = self.parts.scribe.marks(&due, time)?;
        self.parts.sink.mark(time, &marks, now)?;
        self.marked.extend(due.into_iter().map(|topic| (topic, time)));
        Ok(())
    }

    pub fn counts(&self) -> &Counters {
        &self.counters
    }

    /// Whether a message in this language was ever taken.
    pub(super) fn expects(&self, language: Language) -> bool {
        self.counters.spoken.contains(&language)
    }

    pub fn parts(&self) -> &Parts<S, K> {
        &self.parts
    }

    /// Ends the edge; gives back what it worked with. Another desk needs the store opened anew, and
    /// a resolver that knows nothing yet.
    pub fn into_parts(self) -> Parts<S, K> {
        self.parts
    }

    /// The number of the message that has just come.
    pub(super) fn next_number(&mut self) -> u64 {
        self.counters.messages += 1;
        self.counters.messages
    }

    /// What became of this message when it came before: taken, or refused for the same reason.
    /// `None` if it never came, or long ago.
    pub(super) fn known(&self, pseudonym: u128) -> Option<Result<(), Rejection>> {
        if self.register.knows(pseudonym) {
            return Some(Ok(()));
        }
        self.refused.get(&pseudonym).cloned().map(Err)
    }

    /// Does what a message says. Gives what the resolver would not take, by the number of the
    /// segment; all of it becomes dead letters.
    pub(super) fn accept(
        &mut self,
        number: u64,
        taken: Taken,
        reading: Reading,
    ) -> Vec<(u32, Rejection)> {
        for (segment, rejection) in reading.refused {
            let heard = Heard { message: number, segment };
            self.letters.push((heard, taken.head.clone(), rejection));
        }
        let before = self.effects.len();
        for act in reading.acts {
            EdgeAct { act: act.deed.name() }.emit();
            let merge = Merged::said_by(&act);
            let before = self.effects.len();
            self.parts.resolver.step(act, &mut self.effects);
            let new = self.effects.iter().skip(before);
            self.merges.extend(merge.and_then(|merge| merge.with_effects(new)));
        }
        self.counters.spoken.extend(taken.head.language);
        self.register.add(number, &taken);
        self.taken.push((number, taken));
        let new = self.effects.iter().skip(before);
        let rejected = |effect: &Effect<Body>| match effect {
            Effect::Decided { heard, fate: Fate::Rejected(why) } if heard.message == number => {
                Some((heard.segment, why.clone()))
            }
            _ => None,
        };
        new.filter_map(rejected).collect()
    }

    /// Makes a message that is not used a dead letter as a whole.
    pub(super) fn refuse(
        &mut self,
        (number, pseudonym): (u64, u128),
        head: Letterhead,
        rejection: Rejection,
    ) {
        let heard = Heard { message: number, segment: 0 };
        self.letters.push((heard, head, rejection.clone()));
        if self.refused.len() >= MAX_REFUSED {
            self.refused.clear();
        }
        self.refused.insert(pseudonym, rejection);
    }

    fn commit(&mut self, now: WallTime) -> Result<(), EdgeError> {
        let mut records = Vec::new();
        for effect in std::mem::take(&mut self.effects) {
            match effect {
                Effect::Tell(telling) => records.push(self.parts.scribe.fact(telling)?),
                Effect::Decided { heard, fate } => self.decide(heard, fate)?,
            }
        }
        for (heard, head, rejection) in std::mem::take(&mut self.letters) {
            EdgeFact { fate: EdgeFate::Rejected(rejection.reason) }.emit();
            records.push(self.parts.scribe.dead_letter(heard, &head, &rejection)?);
        }
        for record in &mut records {
            self.counters.records += 1;
            record.number = self.counters.records;
        }
        let merges = std::mem::take(&mut self.merges);
        if let Some(witness) = &mut self.witness {
            merges.iter().try_for_each(|merge| witness(merge, now))?;
        }
        let gone = self.register.forget(now);
        let taken = std::mem::take(&mut self.taken);
        let batch = memory::Batch { taken: &taken, gone: &gone, records: &records };
        memory::save(&mut self.parts.store, &mut self.parts.resolver, &mut self.counters, &batch)?;
        self.unsent.extend(records);
        Ok(())
    }

    fn decide(&mut self, heard: Heard, fate: Fate) -> Result<(), EdgeError> {
        let counted = match fate {
            Fate::Told => EdgeFate::Told,
            Fate::Kept => EdgeFate::Kept,
            Fate::Known => EdgeFate::Known,
            Fate::Rejected(rejection) => {
                let head = match self.taken.iter().find(|(number, _)| *number == heard.message) {
                    Some((_, taken)) => taken.head.clone(),
                    None => memory::letterhead(&self.parts.store, heard.message)?,
                };
                self.letters.push((heard, head, rejection));
                return Ok(());
            }
        };
        EdgeFact { fate: counted }.emit();
        Ok(())
    }
}
