//! An HL7 message at the desk: what of it can be read, what becomes of it, and its answers.

use std::borrow::Cow;

use super::ack::{Verdict, answers};
use super::charset;
use super::header::Header;
use super::message::{MAX_MESSAGE_BYTES, Message};
use crate::edge::desk::{Desk, Message as Heard};
use crate::edge::language::Language;
use crate::edge::reader::{Reader, Reading};
use crate::edge::register::Taken;
use crate::edge::scribe::Letterhead;
use crate::edge::sink::Sink;
use crate::event::{Reason, Rejection};
use crate::ports::StateStore;
use crate::telemetry::{MessageTaken, MessageVerdict};
use crate::time::WallTime;

/// The bytes of an HL7 message, without its frame.
impl Heard for Vec<u8> {
    type Answer = Vec<String>;

    fn hear<S: StateStore, K: Sink>(&self, desk: &mut Desk<S, K>, now: WallTime) -> Vec<String> {
        let number = desk.next_number();
        let (header, text) = opened(self);
        let (verdict, is_known) = judge(desk, &header, text, self, (number, now));
        let counted = match (&verdict, is_known) {
            (_, true) => MessageVerdict::Known,
            (Verdict::Accepted, _) => MessageVerdict::Accepted,
            (Verdict::Error(_), _) => MessageVerdict::Error,
            (Verdict::Rejected(_), _) => MessageVerdict::Rejected,
        };
        MessageTaken { number, verdict: counted }.emit();
        answers(&header, &verdict, number, now)
    }
}

/// What becomes of a message, and whether that was known.
fn judge<S: StateStore, K: Sink>(
    desk: &mut Desk<S, K>,
    header: &Header,
    text: Result<Cow<'_, str>, String>,
    bytes: &[u8],
    (number, now): (u64, WallTime),
) -> (Verdict, bool) {
    let [application, facility] = &header.sender;
    let whole = String::from_utf8_lossy(bytes);
    let parts = [application.as_str(), facility.as_str(), header.control_id.as_str(), &whole];
    let pseudonym = desk.parts().pseudonyms.message(&parts);
    match desk.known(pseudonym) {
        Some(Ok(())) => return (Verdict::Accepted, true),
        Some(Err(rejection)) => return (verdict(&rejection), true),
        None => {}
    }
    let head = letterhead(header);
    match read(&desk.parts().reader, header, text, (number, pseudonym), now) {
        Ok(reading) => {
            let taken = Taken { pseudonym, at_ms: now.as_millis(), head };
            desk.accept(number, taken, reading);
            (Verdict::Accepted, false)
        }
        Err(rejection) => {
            let verdict = verdict(&rejection);
            desk.refuse((number, pseudonym), head, rejection);
            (verdict, false)
        }
    }
}

fn read(
    reader: &Reader,
    header: &Header,
    text: Result<Cow<'_, str>, String>,
    names: (u64, u128),
    now: WallTime,
) -> Result<Reading, Rejection> {
    let undecodable = |detail: String| Rejection::new(Reason::Undecodable, detail);
    let text = text.map_err(undecodable)?;
    header.check().map_err(|error| Rejection::new(Reason::Unsupported, error.to_string()))?;
    let message = Message::parse(&text).map_err(|error| undecodable(error.to_string()))?;
    reader.read(&message, header, names, now)
}

fn verdict(rejection: &Rejection) -> Verdict {
    let reason = rejection.to_string();
    match rejection.reason {
        Reason::Undecodable | Reason::Unsupported => Verdict::Rejected(reason),
        _ => Verdict::Error(reason),
    }
}

fn letterhead(header: &Header) -> Letterhead {
    let [application, facility] = &header.sender;
    let sender = format!("{application}|{facility}");
    let language = Some(Language::Hl7);
    Letterhead { language, sender, control_id: header.control_id.clone() }
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
