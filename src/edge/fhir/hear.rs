//! A request at the desk: what becomes of each of its resources, and what its sender is told.

use serde_json::Value;

use super::context::{Context, Heeded};
use super::outcome::{Issue, Severity};
use super::parcel::{Form, Item, Kind, Parcel};
use super::resource::{Head, fields};
use super::{encounter, imaging_study, observation, patient};
use crate::edge::desk::{Desk, Message};
use crate::edge::dicom::Stored;
use crate::edge::language::Language;
use crate::edge::pseudonym::Pseudonyms;
use crate::edge::register::Taken;
use crate::edge::scribe::Letterhead;
use crate::edge::sink::Sink;
use crate::event::{Reason, Rejection};
use crate::ports::StateStore;
use crate::telemetry::{MessageTaken, MessageVerdict};
use crate::time::WallTime;

/// What became of a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is durable, parts that became dead letters included.
    Taken,
    /// The same content was taken before.
    Known,
    /// Nothing of it was taken.
    Refused,
    /// Nothing of it was taken, and the sender should come again.
    Deferred,
}

/// What the sender of a resource is told.
#[derive(Clone, Debug, PartialEq)]
pub struct Told {
    pub fate: Fate,
    pub kind: Option<Kind>,
    /// Under which it may be changed; empty where it was refused.
    pub id: String,
    pub is_update: bool,
    pub issues: Vec<Issue>,
}

/// A resource that has been read.
struct Read {
    number: u64,
    pseudonym: u128,
    id: String,
    known: bool,
    heeded: Result<Heeded, Rejection>,
}

impl Message for Parcel {
    /// In the order of the items.
    type Answer = Vec<Told>;

    fn hear<S: StateStore, K: Sink>(&self, desk: &mut Desk<S, K>, now: WallTime) -> Vec<Told> {
        let all: Vec<Read> = self.items.iter().map(|item| read(desk, item, now)).collect();
        let fails = |read: &Read| read.heeded.is_err();
        let is_whole = self.form == Form::Transaction;
        let is_off = is_whole && all.iter().any(fails);
        let waits = self.items.iter().find_map(|item| item.deferred.as_ref());
        let waits = waits.filter(|_| is_whole);
        let told = |(item, read): (&Item, Read)| match (read.heeded.is_err(), &item.deferred) {
            (false, _) if is_off => {
                let text = "not taken: another entry of this transaction is refused";
                item.untaken(Fate::Refused, "processing", text, read.number)
            }
            (false, own) => match own.as_ref().or(waits) {
                Some(why) => item.untaken(Fate::Deferred, "transient", why, read.number),
                None => self.settle(desk, item, read, now),
            },
            (true, _) => self.settle(desk, item, read, now),
        };
        self.items.iter().zip(all).map(told).collect()
    }
}

impl Parcel {
    /// Takes a resource or refuses it.
    fn settle<S: StateStore, K: Sink>(
        &self,
        desk: &mut Desk<S, K>,
        item: &Item,
        read: Read,
        now: WallTime,
    ) -> Told {
        let Read { number, pseudonym, id, known, heeded } = read;
        let (sender, control_id) = (self.sender.clone(), self.request_id.clone());
        let head = Letterhead { language: Some(Language::Fhir), sender, control_id };
        match heeded {
            Err(rejection) => {
                count(number, if known { MessageVerdict::Known } else { MessageVerdict::Error });
                let issue = Issue::of(Severity::Error, &rejection);
                if !known {
                    desk.refuse((number, pseudonym), head, rejection);
                }
                item.told(Fate::Refused, String::new(), vec![issue])
            }
            Ok(_) if known => {
                count(number, MessageVerdict::Known);
                let (is_new, mut issues) = item.tell_films(desk, pseudonym, now);
                if is_new {
                    return item.told(Fate::Taken, id, issues);
                }
                let text = "the same content was taken before";
                issues.insert(0, Issue::new(Severity::Information, "duplicate", text));
                item.told(Fate::Known, id, issues)
            }
            Ok(Heeded { reading, notes, parts }) => {
                count(number, MessageVerdict::Accepted);
                let mut said = notes;
                said.extend(reading.refused.iter().cloned());
                let taken = Taken { pseudonym, at_ms: now.as_millis(), head };
                said.extend(desk.accept(number, taken, reading));
                let issues = said.iter().map(|(place, rejection)| {
                    let nth = usize::try_from(*place).ok().and_then(|place| place.checked_sub(1));
                    let expression = nth.and_then(|nth| parts.get(nth)).cloned();
                    Issue { expression, ..Issue::of(Severity::Warning, rejection) }
                });
                let mut issues: Vec<Issue> = issues.collect();
                issues.extend(item.tell_films(desk, pseudonym, now).1);
                item.told(Fate::Taken, id, issues)
            }
        }
    }
}

impl Item {
    /// Tells the desk of the films that came with a study; whether one is new, and what is to be
    /// said of those that are not used.
    fn tell_films<S: StateStore, K: Sink>(
        &self,
        desk: &mut Desk<S, K>,
        study: u128,
        now: WallTime,
    ) -> (bool, Vec<Issue>) {
        let (mut is_new, mut issues) = (false, Vec::new());
        for (place, film) in &self.films {
            match film.tell(desk, now, Some(study)) {
                Stored::Taken => is_new = true,
                Stored::Known => {}
                Stored::OfNoUse(rejection) | Stored::Refused(rejection) => {
                    let expression = Some(place.clone());
                    issues.push(Issue { expression, ..Issue::of(Severity::Warning, &rejection) });
                }
            }
        }
        (is_new, issues)
    }

    fn untaken(&self, fate: Fate, code: &'static str, text: &str, number: u64) -> Told {
        count(number, MessageVerdict::Error);
        self.told(fate, String::new(), vec![Issue::new(Severity::Error, code, text)])
    }

    fn told(&self, fate: Fate, id: String, issues: Vec<Issue>) -> Told {
        Told { fate, kind: self.kind, id, is_update: self.is_update, issues }
    }
}

/// Reads a resource; takes nothing yet.
fn read<S: StateStore, K: Sink>(desk: &mut Desk<S, K>, item: &Item, now: WallTime) -> Read {
    let number = desk.next_number();
    let parts = desk.parts();
    let pseudonym = pseudonym(item, &parts.pseudonyms);
    let head = item.kind.map_or_else(Head::default, |kind| {
        // What is wrong with it is said once the resource is read.
        fields(&item.content, kind.name()).unwrap_or_default()
    });
    let patient = item.patient.as_ref();
    let context = Context::new(&parts.reader, head, patient, (number, pseudonym), now);
    let id = item.kind.map_or_else(String::new, |kind| context.id(kind.name()));
    let known = desk.known(pseudonym);
    let heeded = match &known {
        Some(Ok(())) => Ok(Heeded::default()),
        Some(Err(rejection)) => Err(rejection.clone()),
        None => heed(item, &context),
    };
    Read { number, pseudonym, id, known: known.is_some(), heeded }
}

fn heed(item: &Item, context: &Context<'_>) -> Result<Heeded, Rejection> {
    if let Some(fault) = &item.fault {
        return Err(fault.clone());
    }
    let read = match item.kind {
        Some(Kind::Patient) => patient::read,
        Some(Kind::Encounter) => encounter::read,
        Some(Kind::Observation) => observation::read,
        Some(Kind::ImagingStudy) => imaging_study::read,
        None => return Err(Rejection::new(Reason::Undecodable, "resourceType is missing")),
    };
    fields::<Head>(&item.content, item.kind.map_or("", Kind::name))?;
    match read(&item.content, context) {
        // It is as it should be, and there is no use for it here: the sender need not mend it.
        Err(rejection) if is_of_no_use(rejection.reason) => {
            let mut heeded = Heeded::default();
            heeded.reading.refused.push((0, rejection));
            Ok(heeded)
        }
        done => done,
    }
}

const fn is_of_no_use(reason: Reason) -> bool {
    matches!(reason, Reason::UnmappedCode | Reason::Unsupported)
}

/// What a resource is known by when it comes again: its content, and what else its verdict depends
/// on. What was refused for its address, or for the patient whom it brought along, is another
/// message without that.
fn pseudonym(item: &Item, pseudonyms: &Pseudonyms) -> u128 {
    let content = content(&item.content);
    let fault = item.fault.as_ref().map(|fault| fault.detail.clone());
    let patient = item.patient.as_ref().map(Value::to_string);
    if fault.is_none() && patient.is_none() {
        return pseudonyms.message(&["fhir", &content]);
    }
    let [fault, patient] = [fault, patient].map(Option::unwrap_or_default);
    pseudonyms.message(&["fhir", &content, &fault, &patient])
}

/// What makes the content of a resource: all but its narrative. `meta` counts: a result that goes
/// back to what it said at first differs in nothing else.
fn content(resource: &Value) -> String {
    let mut content = resource.clone();
    if let Some(fields) = content.as_object_mut() {
        fields.remove("text");
    }
    content.to_string()
}

fn count(number: u64, verdict: MessageVerdict) {
    MessageTaken { number, verdict }.emit();
}
