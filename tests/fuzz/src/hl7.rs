//! HL7 v2 over MLLP: an input is what comes over a connection. Its syntax has a target of its own,
//! which is a hundred times as fast as the one that hears what is said.

use nowcxr::edge::Outgoing;
use nowcxr::edge::hl7::charset;
use nowcxr::edge::hl7::escape::{escape, unescape};
use nowcxr::edge::hl7::header::Header;
use nowcxr::edge::hl7::message::{MAX_REPETITIONS, Message};
use nowcxr::edge::hl7::mllp::{Deframer, FrameError, frame};

use crate::edge::heard;
use crate::memory::bounded;

#[path = "../../edge/morning.rs"]
pub mod morning;

/// Messages of one input that are heard; the rest would only take time.
const MAX_HEARD: usize = 12;
/// Bytes that one input may need: the desk's answers and state for a few thousand bytes.
const MEMORY: usize = 32 << 20;
/// Characters of a patient's number that is looked for in what goes out: a shorter one may be
/// there by chance.
const TELLING: usize = 8;

/// Holds of the syntax of whatever comes over a connection.
pub fn check_syntax(stream: &[u8]) {
    bounded(MEMORY, || {
        let whole = cut_out(&[stream]);
        assert_eq!(whole, cut_out(&pieces(stream)), "other messages where the stream is cut");
        whole.0.iter().for_each(|message| syntax(message));
    });
}

/// Holds of what is said over a connection.
pub fn check(stream: &[u8]) {
    bounded(MEMORY, || {
        let (mut messages, _) = cut_out(&[stream]);
        messages.truncate(MAX_HEARD);
        let (answers, sent) = heard(&messages);
        messages.iter().zip(&answers).for_each(|(message, answers)| answered(message, answers));
        private(&messages, &sent);
    });
}

/// The messages of a stream that comes in pieces, and what is wrong with it.
fn cut_out(pieces: &[&[u8]]) -> (Vec<Vec<u8>>, Option<FrameError>) {
    let (mut deframer, mut found) = (Deframer::default(), Vec::new());
    for piece in pieces {
        deframer.push(piece);
        loop {
            match deframer.next_message() {
                Ok(Some(message)) => found.push(message),
                Ok(None) => break,
                Err(error) => return (found, Some(error)),
            }
        }
    }
    (found, None)
}

/// The stream in pieces whose lengths its own bytes say.
fn pieces(mut stream: &[u8]) -> Vec<&[u8]> {
    let mut found = Vec::new();
    while let Some(first) = stream.first() {
        let length = (1 + usize::from(first % 61)).min(stream.len());
        let (piece, rest) = stream.split_at(length);
        found.push(piece);
        stream = rest;
    }
    found
}

/// What the syntax promises of any message: what is escaped is read as it was, and lists end.
fn syntax(bytes: &[u8]) {
    let Ok(text) = charset::decode(bytes) else { return };
    let (found, _) = cut_out(&[&frame(&text)]);
    assert_eq!(found, [text.as_bytes()], "a frame loses its message");
    let Ok(message) = Message::parse(&text) else { return };
    let delimiters = message.delimiters();
    for field in message.segments().iter().flat_map(|segment| (0..24).map(|n| segment.field(n))) {
        let meant = unescape(field.raw(), delimiters);
        assert_eq!(unescape(&escape(&meant, delimiters), delimiters), meant, "escaping loses text");
        assert!(field.repetitions().count() <= MAX_REPETITIONS);
    }
}

/// Every answer is a message that names what it answers.
fn answered(message: &[u8], answers: &[String]) {
    assert!(answers.len() <= 2);
    let text = charset::decode(message);
    let asked = text.as_ref().ok().and_then(|text| Message::parse(text).ok());
    for answer in answers {
        let read = Message::parse(answer).expect("an answer is a message");
        let msa = read.segment("MSA").expect("an answer has an MSA segment");
        let code = msa.field(1).text();
        assert!(["AA", "AE", "AR", "CA", "CE", "CR"].contains(&code.as_ref()), "{answer}");
        let refuses = !code.ends_with('A');
        assert_eq!(read.segment("ERR").is_some(), refuses, "a reason where there is one: {answer}");
        if let Some(asked) = &asked {
            assert_eq!(msa.field(2).text(), Header::read(asked).control_id, "{answer}");
        }
        let cut = cut_out(&[&frame(answer)]);
        assert_eq!(cut, (vec![answer.clone().into_bytes()], None), "an answer breaks its frame");
    }
}

/// A patient's number that stands in one place of the stream is in nothing that goes out.
fn private(messages: &[Vec<u8>], sent: &[Outgoing]) {
    let texts: Vec<_> = messages.iter().filter_map(|bytes| charset::decode(bytes).ok()).collect();
    let all = texts.concat();
    for message in texts.iter().filter_map(|text| Message::parse(text).ok()) {
        // What an escape sequence stands for may be the number in another place.
        let escape = message.delimiters().escape;
        if all.matches(escape).count() != messages.len() {
            continue;
        }
        let Some(number) = message.segment("PID").map(|pid| pid.field(3).component(1).text())
        else {
            continue;
        };
        let is_plain = number.len() >= TELLING && number.bytes().all(|b| b.is_ascii_alphanumeric());
        let is_mixed = number.bytes().any(|b| b.is_ascii_digit())
            && number.bytes().any(|b| b.is_ascii_alphabetic());
        if is_plain && is_mixed && all.matches(number.as_ref()).count() == 1 {
            let names = |record: &Outgoing| {
                record.value.windows(number.len()).any(|part| part == number.as_bytes())
            };
            assert!(!sent.iter().any(names), "the patient's number {number} went out");
        }
    }
}

/// The words that messages are made of.
pub const WORDS: [&str; 47] = [
    "\x0b",
    "\x1c\r",
    "\rMSH|^~\\&|",
    "\rPID|",
    "\rPV1|",
    "\rOBR|",
    "\rOBX|",
    "\rEVN|",
    "\rMRG|",
    "\rORC|",
    "\rSPM|",
    "ORU^R01",
    "ADT^A01",
    "ADT^A02",
    "ADT^A03",
    "ADT^A04",
    "ADT^A08",
    "ADT^A11",
    "ADT^A12",
    "ADT^A13",
    "ADT^A17",
    "ADT^A40",
    "\\F\\",
    "\\X0D\\",
    "\\.br\\",
    "\"\"",
    "AL|NE",
    "UNICODE UTF-8",
    "8859/1",
    "^MR",
    "^PI",
    "MICU^1^A",
    "SICU",
    "GLU",
    "2345-7",
    "8867-4",
    "LN",
    "mg/dL",
    "mmol/L",
    "NM",
    "SN",
    "20260301080000",
    "20260301080000.1234+0100",
    "00010101",
    "99991231235959-1400",
    "|20|",
    "P12345678",
];

/// The morning of the ordinary tests as one connection, each of its messages as one, and what it
/// has none of: cancelled moves, merged numbers, swapped beds.
pub fn seeds() -> Vec<Vec<u8>> {
    let framed = |text: &[u8]| [b"\x0b", text, b"\x1c\r"].concat();
    let morning: Vec<Vec<u8>> =
        morning::morning().into_iter().map(|sent| framed(&sent.text)).collect();
    let mut all: Vec<Vec<u8>> = morning.chunks(6).map(<[Vec<u8>]>::concat).collect();
    all.extend(morning);
    let gap = "|".repeat(16);
    let pid = |who: &str| format!("PID|1||{who}^^^H^MR||MUSTER^ERIKA||19570301|F\r");
    let pv1 = |who: &str, unit: &str| format!("PV1||I|{unit}^1^A{gap}V{who}\r");
    let adt = |n: usize, trigger: &str, rest: String| {
        let msh = format!("MSH|^~\\&|ADT|H|NCX|H|202603010{n}00||ADT^{trigger}|B{n}|P|2.5\r");
        framed(format!("{msh}EVN|{trigger}|202603010{n}00\r{rest}").as_bytes())
    };
    let a = |unit: &str| pid("A0000001") + &pv1("1", unit);
    let b = |unit: &str| pid("B0000002") + &pv1("2", unit);
    let merge = pid("A0000001") + "MRG|B0000002^^^H^MR\r";
    all.extend([
        [adt(1, "A01", a("MICU")), adt(2, "A02", a("SICU")), adt(3, "A12", a("MICU"))].concat(),
        [adt(1, "A01", a("MICU")), adt(2, "A03", a("MICU")), adt(3, "A13", a("MICU"))].concat(),
        [adt(1, "A01", a("MICU")), adt(2, "A11", a("MICU")), adt(3, "A08", a("SICU"))].concat(),
        [adt(1, "A01", a("MICU")), adt(2, "A01", b("SICU")), adt(3, "A40", merge)].concat(),
        [adt(1, "A01", a("MICU")), adt(2, "A01", b("SICU")), adt(3, "A17", a("SICU") + &b("MICU"))]
            .concat(),
    ]);
    all
}
