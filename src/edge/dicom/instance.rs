//! A DICOM file at the desk: whose film it is or which films it takes back, and what becomes of it.

use super::uid::{Uid, is_uid};
use crate::edge::body::{Body, Film};
use crate::edge::clock::{Clock, first_moment};
use crate::edge::desk::{Desk, Message};
use crate::edge::language::Language;
use crate::edge::reader::{Reader, Reading};
use crate::edge::register::Taken;
use crate::edge::scribe::Letterhead;
use crate::edge::sink::Sink;
use crate::engine::resolve::{Act, Deed, Heard, Status};
use crate::event::{FILM_SIDE, Reason, Rejection, ViewPosition};
use crate::film::{Declared, NOTE_CLASS, Origin, Prepared, origin, png, prepare, rejected};
use crate::ids::Digest;
use crate::ports::StateStore;
use crate::telemetry::{MessageTaken, MessageVerdict};
use crate::time::{EventTime, WallTime};

/// A file on its way to the desk, decoded and judged.
#[derive(Clone, Debug)]
pub struct Instance {
    /// Who sent it: an AE title or the name of an account.
    sender: String,
    digest: Digest,
    origin: Origin,
    content: Result<Content, Rejection>,
}

/// What a file says.
#[derive(Clone, Debug)]
enum Content {
    Film(Picture),
    /// The films that do not hold.
    Rejected(Vec<Uid>),
}

/// What is kept of the pixels.
#[derive(Clone, Debug)]
struct Picture {
    view: ViewPosition,
    png: Vec<u8>,
}

/// What the sender of a file is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stored {
    /// It is durable.
    Taken,
    /// The same file was taken before.
    Known,
    /// It is as it should be, and there is no use for it here; it is a dead letter.
    OfNoUse(Rejection),
    /// It cannot be taken; it is a dead letter.
    Refused(Rejection),
}

impl Instance {
    /// Decodes and judges a DICOM file (PS3.10). May take a second of processor time.
    pub fn open(sender: String, file: &[u8]) -> Self {
        let (origin, content) = match origin(file) {
            Err(rejection) => (Origin::default(), Err(rejection)),
            Ok(origin) => {
                let content = match origin.class.as_deref() {
                    Some(NOTE_CLASS) => note(file).map(Content::Rejected),
                    _ => picture(&origin, file).map(Content::Film),
                };
                (origin, content)
            }
        };
        Instance { sender, digest: Digest::of(file), origin, content }
    }

    /// A film that was announced, and cannot be had.
    pub fn missing(sender: String, instance: &Uid, why: Rejection) -> Self {
        let origin = Origin { instance: Some(instance.to_string()), ..Origin::default() };
        Instance { sender, digest: Digest::of(&[]), origin, content: Err(why) }
    }

    /// The film if it is the one that was asked for; else one that is missing, and why.
    pub fn only_as(self, asked: &Uid) -> Self {
        if self.uids().1 == asked.as_str() {
            return self;
        }
        let why = match self.content {
            // It could not be read as far as its UID.
            Err(why) if self.origin.instance.is_none() => why,
            _ => {
                let detail = "the archive gave another SOP instance than the one asked for";
                Rejection::new(Reason::FilmUnavailable, detail)
            }
        };
        Instance::missing(self.sender, asked, why)
    }

    /// SOP Class UID and SOP Instance UID; empty where the file says none, or something else.
    pub fn uids(&self) -> (&str, &str) {
        let Origin { class, instance, .. } = &self.origin;
        (checked(class.as_deref()), checked(instance.as_deref()))
    }

    fn read(
        &self,
        reader: &Reader,
        (number, pseudonym): (u64, u128),
        now: WallTime,
    ) -> Result<Reading, Rejection> {
        let content = self.content.as_ref().map_err(Clone::clone)?;
        let origin = &self.origin;
        let missing = |what: &str| Rejection::new(Reason::MissingKey, format!("{what} is missing"));
        let known_at = EventTime::from_millis(now.as_millis());
        let (_, instance) = self.uids();
        if instance.is_empty() {
            return Err(missing("SOP Instance UID"));
        }
        let names = &reader.pseudonyms;
        let ours = &reader.config.authority;
        let of = |issuer: &Option<String>| issuer.clone().unwrap_or_else(|| ours.clone());
        let patient = origin.patient.as_deref().ok_or_else(|| missing("Patient ID"))?;
        let person = names.person(&of(&origin.patient_issuer), patient);
        let whole = pseudonym.to_string();
        let act = |(nth, operation), deed| Act {
            heard: Heard { message: number, segment: nth },
            operation,
            person,
            known_at,
            deed,
        };
        let acts = match content {
            Content::Film(Picture { view, png }) => {
                let clock = Clock::new(reader.config.time_zone, known_at);
                let times = origin.taken.iter().map(|(name, text)| (*name, clock.read(text)));
                let observed_at = first_moment(times)?;
                let modality = origin.modality.clone();
                let visit = origin.visit.as_deref();
                let deed = Deed::Report {
                    visit: visit.map(|visit| names.visit(&of(&origin.visit_issuer), visit)),
                    result: names.film(instance),
                    is_sole: true,
                    observed_at,
                    status: Status::Final,
                    body: Body::Film(Film { view: *view, modality, png: png.clone() }),
                };
                vec![act((0, names.operation(&[&whole])), deed)]
            }
            Content::Rejected(films) => {
                let end = |(nth, film): (u32, &Uid)| {
                    let operation = names.operation(&[&whole, &nth.to_string()]);
                    act((nth, operation), Film::end(names.film(film.as_str()), known_at))
                };
                (1..).zip(films).map(end).collect()
            }
        };
        Ok(Reading { acts, refused: Vec::new() })
    }
}

/// Decodes and judges a film, and keeps its pixels.
fn picture(origin: &Origin, file: &[u8]) -> Result<Picture, Rejection> {
    if origin.is_burned_in {
        let detail = "Burned In Annotation is YES: its pixels may name the patient";
        return Err(Rejection::new(Reason::FilmBurnedIn, detail));
    }
    let Prepared { film, view, .. } = prepare(file, Declared::default())?;
    let side = FILM_SIDE as u32;
    let png = png::encode(film.pixels(), side, side)
        .map_err(|error| Rejection::new(Reason::FilmUndecodable, error.to_string()))?;
    Ok(Picture { view, png })
}

/// The films that a rejection note names.
fn note(file: &[u8]) -> Result<Vec<Uid>, Rejection> {
    let wrong = || Rejection::new(Reason::Undecodable, "the rejection note names what is no UID");
    rejected(file)?.iter().map(|film| Uid::new(film).ok_or_else(wrong)).collect()
}

/// The UID, if it is one.
fn checked(uid: Option<&str>) -> &str {
    uid.filter(|uid| is_uid(uid)).unwrap_or_default()
}

/// Reasons for which a sender has nothing to mend.
const fn is_of_no_use(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::FilmView | Reason::FilmNotChest | Reason::FilmBurnedIn | Reason::Unsupported
    )
}

impl Message for Instance {
    type Answer = Stored;

    fn hear<S: StateStore, K: Sink>(&self, desk: &mut Desk<S, K>, now: WallTime) -> Stored {
        self.tell(desk, now, None)
    }
}

impl Instance {
    /// Tells the desk of the film. `study` is the pseudonym of what announced it, if anything did:
    /// a film that was taken back comes again with a new version of its study.
    pub(in crate::edge) fn tell<S: StateStore, K: Sink>(
        &self,
        desk: &mut Desk<S, K>,
        now: WallTime,
        study: Option<u128>,
    ) -> Stored {
        let number = desk.next_number();
        let (_, instance) = self.uids();
        let (digest, study) = (self.digest.to_string(), study.map(|study| study.to_string()));
        let mut parts = vec![Language::Dicom.name(), instance, &digest];
        parts.extend(study.as_deref());
        let pseudonym = desk.parts().pseudonyms.message(&parts);
        let (sender, control_id) = (self.sender.clone(), instance.to_owned());
        let head = Letterhead { language: Some(Language::Dicom), sender, control_id };
        let (told, verdict) = match desk.known(pseudonym) {
            Some(Ok(())) => (Stored::Known, MessageVerdict::Known),
            Some(Err(rejection)) => (refused(rejection), MessageVerdict::Known),
            None => match self.read(&desk.parts().reader, (number, pseudonym), now) {
                Ok(reading) => {
                    let taken = Taken { pseudonym, at_ms: now.as_millis(), head };
                    // What the resolver will not take is a dead letter, and nothing to mend.
                    match desk.accept(number, taken, reading).into_iter().next() {
                        Some((_, rejection)) => {
                            (Stored::OfNoUse(rejection), MessageVerdict::Accepted)
                        }
                        None => (Stored::Taken, MessageVerdict::Accepted),
                    }
                }
                Err(rejection) => {
                    desk.refuse((number, pseudonym), head, rejection.clone());
                    (refused(rejection), MessageVerdict::Error)
                }
            },
        };
        MessageTaken { number, verdict }.emit();
        told
    }
}

fn refused(rejection: Rejection) -> Stored {
    match is_of_no_use(rejection.reason) {
        true => Stored::OfNoUse(rejection),
        false => Stored::Refused(rejection),
    }
}
