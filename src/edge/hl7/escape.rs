//! Escape sequences of text: delimiters, line breaks, hexadecimal bytes.

use std::borrow::Cow;

use super::message::Delimiters;

/// Characters between two escape characters, at most; more is no escape sequence.
const MAX_SEQUENCE: usize = 64;

/// The text that was meant. Sequences for highlighting, character sets and local use stand for
/// nothing; what is no sequence stays as it is.
pub fn unescape(raw: &str, delimiters: Delimiters) -> Cow<'_, str> {
    let escape = delimiters.escape;
    if !raw.contains(escape) {
        return Cow::Borrowed(raw);
    }
    let mut text = String::with_capacity(raw.len());
    let mut rest = raw;
    while let Some((before, after)) = rest.split_once(escape) {
        text.push_str(before);
        let sequence = after.split_once(escape).filter(|(body, _)| body.len() <= MAX_SEQUENCE);
        match sequence.and_then(|(body, after)| Some((meaning(body, delimiters)?, after))) {
            Some((meant, after)) => {
                text.push_str(&meant);
                rest = after;
            }
            None => {
                text.push(escape);
                rest = after;
            }
        }
    }
    text.push_str(rest);
    Cow::Owned(text)
}

/// What stands between two escape characters; `None` if it is no sequence.
fn meaning(body: &str, delimiters: Delimiters) -> Option<String> {
    let mut characters = body.chars();
    let first = characters.next()?;
    let rest = characters.as_str();
    match first {
        'F' | 'S' | 'T' | 'R' | 'E' if rest.is_empty() => {
            delimiters.of_letter(first).map(String::from)
        }
        'H' | 'N' if rest.is_empty() => Some(String::new()),
        'X' => bytes(rest).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()),
        'C' | 'M' | 'Z' if rest.chars().all(|c| c.is_ascii_alphanumeric()) => Some(String::new()),
        '.' => formatting(rest),
        _ => None,
    }
}

/// Formatting commands of FT: a line break, or nothing that a value needs.
fn formatting(command: &str) -> Option<String> {
    match command.get(..2)? {
        "br" | "sp" | "ce" => Some("\n".to_owned()),
        "fi" | "nf" | "in" | "ti" | "sk" => Some(String::new()),
        _ => None,
    }
}

/// Pairs of hexadecimal digits.
fn bytes(digits: &str) -> Option<Vec<u8>> {
    if digits.is_empty() || !digits.len().is_multiple_of(2) || !digits.is_ascii() {
        return None;
    }
    let pairs = digits.as_bytes().chunks(2);
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    pairs.map(byte).collect()
}

/// `text` as it may stand in a message: no delimiter and no control character is left in it.
pub fn escape(text: &str, delimiters: Delimiters) -> String {
    let mut raw = String::with_capacity(text.len());
    for c in text.chars() {
        match delimiters.letter_of(c) {
            Some(letter) => raw.extend([delimiters.escape, letter, delimiters.escape]),
            None if c.is_ascii_control() => {
                raw.push_str(&format!("{0}X{1:02X}{0}", delimiters.escape, u32::from(c)));
            }
            None => raw.push(c),
        }
    }
    raw
}
