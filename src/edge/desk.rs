//! The desk: takes messages, resolves them, makes what follows durable, and only then answers.
//!
//! One commit of the store holds the state and the records that go out; it is flushed, the records
//! are appended to their topics and made durable, and the next commit forgets them. So a crash
//! loses nothing that was answered, and sends again what may not have been sent.

use std::borrow::Cow;
use std::collections::BTreeMap;

use thiserror::Error;

use super::hl7::ack::{Verdict, answers};
use super::hl7::charset;
use super::hl7::header::Header;
use super::hl7::message::{MAX_MESSAGE_BYTES, Message};
use super::hl7::reader::{Reader, Reading};
use super::measured::Measured;
use super::memory::{self, Counters};
use super::pseudonym::Pseudonyms;
use super::register::{Register, Taken};
use super::scribe::{Letterhead, Scribe};
use super::sink::{Outgoing, Sink};
use crate::engine::resolve::{Effect, Fate, Heard, Resolver};
use crate::event::dictionary::DictionaryError;
use crate::event::{Reason, Rejection};
use crate::ports::{PortError, StateStore};
use crate::telemetry::{EdgeFact, EdgeFate, MessageTaken, MessageVerdict};
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

/// What the desk works with.
pub struct Parts<S, K> {
    pub reader: Reader,
    pub resolver: Resolver<Measured>,
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
    effects: Vec<Effect<Measured>>,
    letters: Vec<(Heard, Letterhead, Rejection)>,
    taken: Vec<(u64, Taken)>,
    refused: BTreeMap<u128, Verdict>,
    marked: EventTime,
}

/// What became of a message, and what the sender is told.
struct Judged {
    verdict: Verdict,
    is_known: bool,
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
            marked: EventTime::MIN,
        })
    }

    /// Takes messages and makes what follows durable. The answers to each may go out once
    /// [`Desk::settle`] has succeeded.
    ///
    /// # Errors
    /// After any the state in memory is ahead of the store, and the desk must be opened anew.
    pub fn take(
        &mut self,
        messages: &[Vec<u8>],
        now: WallTime,
    ) -> Result<Vec<Vec<String>>, EdgeError> {
        self.settle(now)?;
        let all = messages.iter().map(|bytes| self.hear(bytes, now)).collect();
        self.commit(now)?;
        Ok(all)
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

    /// Lets time pass: what waited too long is given up, and the feeds are promised complete up to
    /// the configured lateness ago.
    ///
    /// # Errors
    /// As [`Desk::take`].
    pub fn mark(&mut self, now: WallTime) -> Result<(), EdgeError> {
        let time = EventTime::from_millis(now.as_millis());
        self.settle(now)?;
        self.parts.resolver.tick(time, &mut self.effects);
        self.commit(now)?;
        self.settle(now)?;
        let time = time - self.parts.lateness;
        if time > self.marked {
            let marks = self.parts.scribe.marks(time)?;
            self.parts.sink.mark(time, &marks, now)?;
            self.marked = time;
        }
        Ok(())
    }

    pub fn counts(&self) -> &Counters {
        &self.counters
    }

    pub fn parts(&self) -> &Parts<S, K> {
        &self.parts
    }

    /// Ends the edge; gives back its store, which must be opened anew for another desk, and its
    /// topics.
    pub fn into_ports(self) -> (S, K) {
        (self.parts.store, self.parts.sink)
    }

    /// One message, and its answers.
    fn hear(&mut self, bytes: &[u8], now: WallTime) -> Vec<String> {
        self.counters.messages += 1;
        let number = self.counters.messages;
        let (header, text) = opened(bytes);
        let judged = self.judge(&header, text, bytes, (number, now));
        let verdict = match (&judged.verdict, judged.is_known) {
            (_, true) => MessageVerdict::Known,
            (Verdict::Accepted, _) => MessageVerdict::Accepted,
            (Verdict::Error(_), _) => MessageVerdict::Error,
            (Verdict::Rejected(_), _) => MessageVerdict::Rejected,
        };
        MessageTaken { number, verdict }.emit();
        answers(&header, &judged.verdict, number, now)
    }

    fn judge(
        &mut self,
        header: &Header,
        text: Result<Cow<'_, str>, String>,
        bytes: &[u8],
        (number, now): (u64, WallTime),
    ) -> Judged {
        let [application, facility] = &header.sender;
        let whole = String::from_utf8_lossy(bytes);
        let parts = [application.as_str(), facility.as_str(), header.control_id.as_str(), &whole];
        let pseudonym = self.parts.pseudonyms.message(&parts);
        let is_taken = self.register.knows(pseudonym).then_some(Verdict::Accepted);
        if let Some(verdict) = is_taken.or_else(|| self.refused.get(&pseudonym).cloned()) {
            return Judged { verdict, is_known: true };
        }
        let verdict = match self.read(header, text, (number, pseudonym), now) {
            Ok(reading) => {
                self.follow(header, number, reading);
                let at_ms = now.as_millis();
                let taken = Taken { pseudonym, at_ms, head: Letterhead::of(header) };
                self.register.add(number, &taken);
                self.taken.push((number, taken));
                Verdict::Accepted
            }
            Err(rejection) => self.refuse((number, pseudonym), header, rejection),
        };
        Judged { verdict, is_known: false }
    }

    fn read(
        &self,
        header: &Header,
        text: Result<Cow<'_, str>, String>,
        names: (u64, u128),
        now: WallTime,
    ) -> Result<Reading, Rejection> {
        let undecodable = |detail: String| Rejection::new(Reason::Undecodable, detail);
        let text = text.map_err(undecodable)?;
        header.check().map_err(|error| Rejection::new(Reason::Unsupported, error.to_string()))?;
        let message = Message::parse(&text).map_err(|error| undecodable(error.to_string()))?;
        self.parts.reader.read(&message, header, names, now)
    }

    /// Does what a message says.
    fn follow(&mut self, header: &Header, number: u64, reading: Reading) {
        for (segment, rejection) in reading.refused {
            let heard = Heard { message: number, segment };
            self.letters.push((heard, Letterhead::of(header), rejection));
        }
        for act in reading.acts {
            self.parts.resolver.step(act, &mut self.effects);
        }
    }

    /// A message that is not used becomes a dead letter as a whole.
    fn refuse(
        &mut self,
        (number, pseudonym): (u64, u128),
        header: &Header,
        rejection: Rejection,
    ) -> Verdict {
        let reason = rejection.to_string();
        let verdict = match rejection.reason {
            Reason::Undecodable | Reason::Unsupported => Verdict::Rejected(reason),
            _ => Verdict::Error(reason),
        };
        let heard = Heard { message: number, segment: 0 };
        self.letters.push((heard, Letterhead::of(header), rejection));
        if self.refused.len() >= MAX_REFUSED {
            self.refused.clear();
        }
        self.refused.insert(pseudonym, verdict.clone());
        verdict
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

impl Letterhead {
    fn of(header: &Header) -> Self {
        let [application, facility] = &header.sender;
        let sender = format!("{application}|{facility}");
        Letterhead { sender, control_id: header.control_id.clone() }
    }
}

/// What of a message's header can be read, so that it can be answered; and its text, or what is
/// wrong with it.
fn opened(bytes: &[u8]) -> (Header, Result<Cow<'_, str>, String>) {
    if bytes.len() > MAX_MESSAGE_BYTES {
        let detail = format!("a message may have {MAX_MESSAGE_BYTES} bytes");
        return (Header::default(), Err(detail));
    }
    let (text, charset) = match charset::decode(bytes) {
        Ok(text) => (text, None),
        // Enough of it can be read for an answer.
        Err(error) => (String::from_utf8_lossy(bytes), Some(error)),
    };
    // The first segment alone: what follows may be broken, and the sender is answered all the same.
    let first = text.trim_start_matches(['\u{feff}', '\r', '\n', ' ']);
    let first = first.split(['\r', '\n']).next().unwrap_or_default();
    match (Message::parse(&text).or_else(|_| Message::parse(first)), charset) {
        (Err(error), _) => (Header::default(), Err(error.to_string())),
        (Ok(message), Some(error)) => (Header::read(&message), Err(error.to_string())),
        (Ok(message), None) => (Header::read(&message), Ok(text)),
    }
}
