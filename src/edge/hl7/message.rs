//! The syntax of a message: segments, fields, repetitions, components and subcomponents, borrowed
//! from its text. Nothing is copied or unescaped before it is asked for.

use std::borrow::Cow;

use thiserror::Error;

use super::escape::unescape;

/// The longest message, in bytes.
pub const MAX_MESSAGE_BYTES: usize = 4 << 20;
/// The most segments of a message.
pub const MAX_SEGMENTS: usize = 8_192;
/// The most repetitions of a field that are looked at.
pub const MAX_REPETITIONS: usize = 64;
/// Characters of a segment's name.
const NAME_LEN: usize = 3;

/// Why bytes are no message. Words only: nothing of the message is repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum SyntaxError {
    #[error("{0} bytes; a message may have {MAX_MESSAGE_BYTES}")]
    TooLong(usize),
    #[error("does not begin with MSH and five different delimiters")]
    NoHeader,
    #[error("line {0} is no segment: it does not begin with three letters or digits and {1:?}")]
    NoSegment(usize, char),
    #[error("more than {MAX_SEGMENTS} segments")]
    TooManySegments,
}

/// The characters that structure a message, as its MSH segment says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delimiters {
    pub field: char,
    pub component: char,
    pub repetition: char,
    pub escape: char,
    pub subcomponent: char,
}

impl Default for Delimiters {
    fn default() -> Self {
        Delimiters { field: '|', component: '^', repetition: '~', escape: '\\', subcomponent: '&' }
    }
}

/// A message over its text.
#[derive(Clone, Debug, PartialEq)]
pub struct Message<'a> {
    delimiters: Delimiters,
    segments: Vec<Segment<'a>>,
}

/// One segment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Segment<'a> {
    pub name: &'a str,
    /// What follows the name and its field separator.
    rest: &'a str,
    delimiters: Delimiters,
}

/// A field, a repetition of one, a component or a subcomponent: a piece of the text and the
/// delimiters that divide it further.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Piece<'a> {
    raw: &'a str,
    delimiters: Delimiters,
}

impl Delimiters {
    /// From the text after `MSH`. Those that MSH-2 leaves out are the usual ones.
    fn read(after_msh: &str) -> Option<Self> {
        let mut characters = after_msh.chars();
        let field = characters.next()?;
        let usual = Delimiters::default();
        let mut given = characters.take_while(|&c| c != field && c != '\r' && c != '\n');
        let found = Delimiters {
            field,
            component: given.next()?,
            repetition: given.next().unwrap_or(usual.repetition),
            escape: given.next().unwrap_or(usual.escape),
            subcomponent: given.next().unwrap_or(usual.subcomponent),
        };
        found.are_sound().then_some(found)
    }

    fn all(self) -> [char; 5] {
        [self.field, self.component, self.repetition, self.escape, self.subcomponent]
    }

    fn are_sound(self) -> bool {
        let all = self.all();
        let plain = |c: &char| c.is_ascii_punctuation();
        let alone = |(n, c): (usize, &char)| all.iter().skip(n + 1).all(|other| other != c);
        all.iter().all(plain) && all.iter().enumerate().all(alone)
    }

    /// MSH-2.
    pub fn encoding(self) -> String {
        [self.component, self.repetition, self.escape, self.subcomponent].iter().collect()
    }

    /// The letter that stands for a delimiter in an escape sequence.
    pub(super) fn letter_of(self, c: char) -> Option<char> {
        let letters = ['F', 'S', 'R', 'E', 'T'];
        self.all().iter().zip(letters).find(|(own, _)| **own == c).map(|(_, letter)| letter)
    }

    /// The delimiter that a letter in an escape sequence stands for.
    pub(super) fn of_letter(self, letter: char) -> Option<char> {
        self.all().into_iter().find(|&c| self.letter_of(c) == Some(letter))
    }
}

impl<'a> Message<'a> {
    /// Reads a message whose character set is already decoded. Segments end with a carriage return;
    /// where the first one ends with a line feed, all do.
    pub fn parse(text: &'a str) -> Result<Self, SyntaxError> {
        if text.len() > MAX_MESSAGE_BYTES {
            return Err(SyntaxError::TooLong(text.len()));
        }
        let text = text.trim_start_matches(['\u{feff}', '\r', '\n', ' ']);
        let after = text.strip_prefix("MSH").ok_or(SyntaxError::NoHeader)?;
        let delimiters = Delimiters::read(after).ok_or(SyntaxError::NoHeader)?;
        let end = text.chars().find(|c| ['\r', '\n'].contains(c)).unwrap_or('\r');
        let mut segments = Vec::new();
        for (n, line) in text.split(end).enumerate() {
            let line = line.trim_matches(['\r', '\n']);
            if line.trim().is_empty() {
                continue;
            }
            if segments.len() >= MAX_SEGMENTS {
                return Err(SyntaxError::TooManySegments);
            }
            let segment = Segment::read(line, delimiters);
            segments.push(segment.ok_or(SyntaxError::NoSegment(n + 1, delimiters.field))?);
        }
        Ok(Message { delimiters, segments })
    }

    pub fn delimiters(&self) -> Delimiters {
        self.delimiters
    }

    pub fn segments(&self) -> &[Segment<'a>] {
        &self.segments
    }

    /// The first segment of this name.
    pub fn segment(&self, name: &str) -> Option<Segment<'a>> {
        self.segments.iter().find(|segment| segment.name == name).copied()
    }
}

impl<'a> Segment<'a> {
    fn read(line: &'a str, delimiters: Delimiters) -> Option<Self> {
        let name = line.get(..NAME_LEN)?;
        let plain = |c: u8| c.is_ascii_uppercase() || c.is_ascii_digit();
        if !name.bytes().all(plain) {
            return None;
        }
        let rest = line.get(NAME_LEN..)?;
        let rest = match rest.strip_prefix(delimiters.field) {
            Some(rest) => rest,
            None if rest.trim().is_empty() => "",
            None => return None,
        };
        Some(Segment { name, rest, delimiters })
    }

    /// Field `n`, counted from 1 as the standard does: MSH-1 is the field separator itself. A field
    /// that is not there is empty.
    pub fn field(&self, n: usize) -> Piece<'a> {
        let before = if self.name == "MSH" { 2 } else { 1 };
        let raw = match n.checked_sub(before) {
            Some(index) => self.rest.split(self.delimiters.field).nth(index).unwrap_or_default(),
            None => "",
        };
        Piece { raw, delimiters: self.delimiters }
    }
}

impl<'a> Piece<'a> {
    /// As it stands in the message.
    pub fn raw(&self) -> &'a str {
        self.raw
    }

    /// Its repetitions, at most [`MAX_REPETITIONS`]. An empty field has one, which is empty.
    pub fn repetitions(&self) -> impl Iterator<Item = Piece<'a>> + use<'a> {
        let delimiters = self.delimiters;
        let split = self.raw.split(delimiters.repetition).take(MAX_REPETITIONS);
        split.map(move |raw| Piece { raw, delimiters })
    }

    /// Component `n` of the first repetition, counted from 1; empty if it is not there.
    pub fn component(&self, n: usize) -> Piece<'a> {
        let first = self.raw.split(self.delimiters.repetition).next().unwrap_or_default();
        self.nth(first, self.delimiters.component, n)
    }

    /// Subcomponent `n`, counted from 1; empty if it is not there.
    pub fn subcomponent(&self, n: usize) -> Piece<'a> {
        self.nth(self.raw, self.delimiters.subcomponent, n)
    }

    fn nth(&self, raw: &'a str, separator: char, n: usize) -> Piece<'a> {
        let index = n.checked_sub(1);
        let raw = index.and_then(|index| raw.split(separator).nth(index)).unwrap_or_default();
        Piece { raw, delimiters: self.delimiters }
    }

    /// Its text, unescaped and without spaces around it. The null value `""` is empty.
    pub fn text(&self) -> Cow<'a, str> {
        match self.raw.trim() {
            "\"\"" => Cow::Borrowed(""),
            raw => unescape(raw, self.delimiters),
        }
    }

    pub fn is_empty(&self) -> bool {
        matches!(self.raw.trim(), "" | "\"\"")
    }
}

#[cfg(test)]
#[path = "message_tests.rs"]
mod tests;
