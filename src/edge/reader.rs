//! What messages are read with, and what one says, whatever language it is in.

use super::body::Body;
use super::pseudonym::Pseudonyms;
use crate::config::EdgeConfig;
use crate::engine::resolve::Act;
use crate::event::Rejection;
use crate::event::dictionary::Dictionary;
use crate::ids::VariableId;
use crate::wire::records::{CodeSystem, RecordedValue};

/// Characters of a sender's own words that a rejection may repeat. Only codes are repeated.
pub(super) const MAX_QUOTED: usize = 40;
/// Variables that only a laboratory measures, whatever the sender calls its report.
pub(super) const LAB_VARIABLES: [&str; 2] = ["glucose", "ph"];
/// Characters of a value that is a text. Numbers and categories are shorter; reports are no values.
pub(super) const MAX_VALUE: usize = 256;
/// Characters of a unit of measure or a specimen.
pub(super) const MAX_WORD: usize = 80;
/// Characters of a care unit's name.
pub(super) const MAX_UNIT: usize = 80;

/// Turns messages into acts.
pub struct Reader {
    pub(super) dictionary: Dictionary,
    pub(super) config: EdgeConfig,
    pub(super) pseudonyms: Pseudonyms,
}

/// What a message says.
#[derive(Debug, Default)]
pub struct Reading {
    pub acts: Vec<Act<Body>>,
    /// What of it cannot be used, by the number of the segment.
    pub refused: Vec<(u32, Rejection)>,
}

impl Reader {
    pub fn new(config: EdgeConfig, dictionary: Dictionary, pseudonyms: Pseudonyms) -> Self {
        Reader { dictionary, config, pseudonyms }
    }

    /// What a code means, LOINC or a local one. The specimen of a LOINC code that must not be used
    /// is judged where the record is read.
    pub(super) fn known(
        &self,
        code: &str,
        loinc: bool,
    ) -> Option<(CodeSystem, String, VariableId)> {
        let dictionary = &self.dictionary;
        if loinc {
            let found = dictionary.by_loinc(code).or_else(|| dictionary.refused_loinc(code))?;
            return Some((CodeSystem::Loinc, code.to_owned(), found));
        }
        let ours = self.config.codes.get(code)?;
        Some((CodeSystem::Local, ours.clone(), dictionary.by_code(ours)?))
    }

    /// Whether only a laboratory measures it.
    pub(super) fn is_of_lab(&self, variable: VariableId) -> bool {
        let code = self.dictionary.variable(variable).map(|known| known.code.as_str());
        code.is_some_and(|code| LAB_VARIABLES.contains(&code))
    }
}

/// A text as a number, if it is a plain decimal one: a comma may part thousands or decimals, so it
/// makes no number.
pub(super) fn written(text: &str) -> RecordedValue {
    let plain = text.bytes().all(|b| b.is_ascii_digit() || b"+-.".contains(&b));
    match text.parse().ok().filter(|number: &f64| plain && number.is_finite()) {
        Some(number) => RecordedValue::Number(number),
        None => RecordedValue::Text(text.to_owned()),
    }
}
