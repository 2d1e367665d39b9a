//! The syntax: round trips, deviations and garbage.

use proptest::prelude::*;

use super::*;
use crate::edge::hl7::charset::decode;
use crate::edge::hl7::escape::escape;

const ORU: &str = "MSH|^~\\&|LAB|H|NCX|H|20260301080000||ORU^R01^ORU_R01|1|P|2.5\r\
    PID|1||42^^^H^MR~43^^^H&1.2&ISO^PI||DOE^J\r\
    OBX|1|ST|X^a\\T\\b^L&M||5\\F\\6 \\X41\\\\.br\\z||\"\"\r";

#[test]
fn fields_are_counted_as_the_standard_counts() {
    let message = Message::parse(ORU).unwrap();
    let msh = message.segment("MSH").unwrap();
    assert_eq!(msh.field(3).text(), "LAB");
    assert_eq!(msh.field(9).component(2).text(), "R01");
    assert_eq!((msh.field(12).text(), msh.field(99).text()), ("2.5".into(), "".into()));
    let ids = message.segment("PID").unwrap().field(3);
    let numbers: Vec<_> = ids.repetitions().map(|id| id.component(1).text()).collect();
    assert_eq!(numbers, ["42", "43"]);
    let second = ids.repetitions().nth(1).unwrap();
    assert_eq!(second.component(4).subcomponent(2).text(), "1.2");
    let obx = message.segment("OBX").unwrap();
    assert_eq!(obx.field(3).component(2).text(), "a&b");
    assert_eq!(obx.field(3).component(3).subcomponent(2).text(), "M");
    assert_eq!(obx.field(5).text(), "5|6 A\nz");
    assert!(obx.field(7).is_empty() && obx.field(7).text().is_empty());
    assert_eq!(obx.field(0).text(), "");
}

#[test]
fn line_ends_may_deviate() {
    let parts = |text: &str| {
        let message = Message::parse(text).unwrap();
        message.segments().iter().map(|s| s.name.to_owned()).collect::<Vec<_>>()
    };
    for text in [ORU.to_owned(), ORU.replace('\r', "\n"), ORU.replace('\r', "\r\n")] {
        assert_eq!(parts(&text), ["MSH", "PID", "OBX"]);
        assert_eq!(parts(&format!("\u{feff}\r\n{text}\r\r")), ["MSH", "PID", "OBX"]);
    }
    // A line feed inside a text, where segments end with carriage returns.
    let text = "MSH|^~\\&|A\rOBX|1|TX|A||two\nlines\r";
    let message = Message::parse(text).unwrap();
    assert_eq!(message.segment("OBX").unwrap().field(5).text(), "two\nlines");
}

#[test]
fn delimiters_are_the_messages_own() {
    let message = Message::parse("MSH#:/!*#LAB:X#\rPID#1##a!F!b:c/d\r").unwrap();
    assert_eq!(message.segment("MSH").unwrap().field(3).component(2).text(), "X");
    let field = message.segment("PID").unwrap().field(3);
    assert_eq!(field.component(1).text(), "a#b");
    assert_eq!(field.repetitions().count(), 2);
    // MSH-2 with the truncation character of 2.7, and with less than four.
    assert!(Message::parse("MSH|^~\\&#|A\r").is_ok());
    assert_eq!(Message::parse("MSH|^|A\r").unwrap().delimiters(), Delimiters::default());
}

#[test]
fn what_is_no_message_is_refused_with_a_reason() {
    let refuse = |text: &str| Message::parse(text).unwrap_err();
    for text in ["", "MSH", "MSH|", "MSH||", "MSHA^~\\&|", "MSH|^^\\&|", "PID|1\r"] {
        assert_eq!(refuse(text), SyntaxError::NoHeader, "{text:?}");
    }
    assert_eq!(refuse("MSH|^~\\&|A\rpid|1\r"), SyntaxError::NoSegment(2, '|'));
    assert_eq!(refuse("MSH|^~\\&|A\rPIDX|1\r"), SyntaxError::NoSegment(2, '|'));
    let many = format!("MSH|^~\\&|A\r{}", "NTE|\r".repeat(MAX_SEGMENTS));
    assert_eq!(refuse(&many), SyntaxError::TooManySegments);
    let long = format!("MSH|^~\\&|{}", "x".repeat(MAX_MESSAGE_BYTES));
    assert!(matches!(refuse(&long), SyntaxError::TooLong(_)));
}

/// Five different delimiters.
fn delimiters() -> impl Strategy<Value = Delimiters> {
    let all: Vec<char> = (33u8..127).map(char::from).filter(char::is_ascii_punctuation).collect();
    Just(all).prop_shuffle().prop_map(|all| Delimiters {
        field: all[0],
        component: all[1],
        repetition: all[2],
        escape: all[3],
        subcomponent: all[4],
    })
}

/// A component: any printable text, or what must be escaped.
fn part() -> impl Strategy<Value = String> {
    "\\PC{0,12}|[\\r\\n\\\\|^~&]{0,5}"
}

proptest! {
    #[test]
    fn what_is_escaped_and_written_is_read_again(
        delimiters in delimiters(),
        texts in prop::collection::vec(prop::collection::vec(part(), 1..4), 1..6),
    ) {
        let join = |parts: &[String], c: char| parts.join(&c.to_string());
        let fields: Vec<String> = texts
            .iter()
            .map(|parts| {
                let escaped: Vec<String> = parts.iter().map(|t| escape(t, delimiters)).collect();
                join(&escaped, delimiters.component)
            })
            .collect();
        let f = delimiters.field;
        let text = format!("MSH{f}{}{f}A\rZZZ{f}{}\r", delimiters.encoding(), join(&fields, f));
        let message = Message::parse(&text).unwrap();
        prop_assert_eq!(message.delimiters(), delimiters);
        let segment = message.segment("ZZZ").unwrap();
        for (n, parts) in texts.iter().enumerate() {
            for (m, part) in parts.iter().enumerate() {
                let piece = segment.field(n + 1).component(m + 1);
                let meant = if part.trim() == "\"\"" { "" } else { part.as_str() };
                // Spaces around a text mean nothing; escaped ones do.
                let text = piece.text().into_owned();
                prop_assert_eq!(text.trim(), meant.trim());
            }
        }
    }

    #[test]
    fn garbage_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        exercise(&bytes);
    }

    /// As a fuzzer would: a good message with bytes overwritten, cut out and put in.
    #[test]
    fn damaged_messages_never_panic(
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0u8..3), 1..30),
    ) {
        let mut bytes = ORU.as_bytes().to_vec();
        for (place, byte, how) in edits {
            let at = place.index(bytes.len().max(1));
            match how {
                0 => bytes.insert(at.min(bytes.len()), byte),
                1 if at < bytes.len() => bytes[at] = byte,
                _ if at < bytes.len() => drop(bytes.remove(at)),
                _ => {}
            }
        }
        exercise(&bytes);
    }
}

/// Reads all there is to read.
fn exercise(bytes: &[u8]) {
    let Ok(text) = decode(bytes) else { return };
    let Ok(message) = Message::parse(&text) else { return };
    for segment in message.segments() {
        for n in 0..6 {
            for piece in segment.field(n).repetitions() {
                let _ = (piece.text(), piece.component(n).text(), piece.subcomponent(n).text());
            }
        }
    }
}
