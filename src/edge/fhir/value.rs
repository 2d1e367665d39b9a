//! `value[x]` and `code`: what was measured, and how much.

use serde_json::Value;

use super::resource::{CodeableConcept, Measure, Quantity, fields, said};
use crate::edge::reader::{MAX_QUOTED, MAX_VALUE, MAX_WORD, Reader, written};
use crate::event::{RawValue, Reason, Rejection};
use crate::ids::VariableId;
use crate::wire::records::{CodeSystem, RecordedValue};

const LOINC: &str = "http://loinc.org";
const UCUM: &str = "http://unitsofmeasure.org";
/// Codings of one code that are looked at.
const MAX_CODINGS: usize = 32;

/// LOINC by its system, local codes by the configuration, and LOINC whose sender forgot to say so.
pub(super) fn code(
    reader: &Reader,
    code: &CodeableConcept,
) -> Result<(CodeSystem, String, VariableId), Rejection> {
    let coded = || {
        let all = code.coding.iter().take(MAX_CODINGS);
        all.filter_map(|one| Some((said(one.code.as_ref())?, said(one.system.as_ref()))))
    };
    let is_loinc = |system: Option<&str>| system.is_none_or(|system| system == LOINC);
    let loinc = coded().filter(|(_, system)| is_loinc(*system));
    let found = loinc.into_iter().find_map(|(code, _)| reader.known(code, true));
    let local = || coded().find_map(|(code, _)| reader.known(code, false));
    found.or_else(local).ok_or_else(|| {
        let first = coded().next().map_or("", |(code, _)| code);
        let quoted: String = first.chars().take(MAX_QUOTED).collect();
        let detail =
            format!("code {quoted:?} is neither a LOINC code of the dictionary nor in edge.codes");
        Rejection::new(Reason::UnmappedCode, detail)
    })
}

/// The value and its unit. Nothing is guessed: a comparator, a range or a ratio is no value.
pub(super) fn value(of: &Value, place: &str) -> Result<(RecordedValue, Option<String>), Rejection> {
    let measure: Measure = fields(of, place)?;
    let unsupported = |detail: &str| Err(Rejection::new(Reason::Unsupported, detail));
    if let Some(quantity) = &measure.value_quantity {
        return quantified(quantity);
    }
    if let Some(number) = measure.value_integer {
        return Ok((RecordedValue::Number(number as f64), None));
    }
    let concept = measure.value_codeable_concept.as_ref();
    if let Some(text) = said(measure.value_string.as_ref()).or_else(|| concept.and_then(words)) {
        if text.chars().count() > MAX_VALUE {
            return unsupported("the value is a report and no value");
        }
        return Ok((written(text), None));
    }
    let is_other = |key: &String| key.starts_with("value") && key != "valueString";
    if of.as_object().is_some_and(|fields| fields.keys().any(is_other)) {
        return unsupported(
            "value[x] is of a type that is not read; send valueQuantity, valueInteger, \
             valueString or valueCodeableConcept",
        );
    }
    if measure.data_absent_reason.is_some() {
        return unsupported("dataAbsentReason says that there is no value");
    }
    Err(Rejection::new(Reason::NotANumber, "there is no value[x]"))
}

fn quantified(quantity: &Quantity) -> Result<(RecordedValue, Option<String>), Rejection> {
    let no_number = |detail: &str| Err(Rejection::new(Reason::NotANumber, detail));
    if said(quantity.comparator.as_ref()).is_some() {
        return no_number("valueQuantity is a comparison, and no value");
    }
    let Some(number) = quantity.value.filter(|number| number.is_finite()) else {
        return no_number("valueQuantity has no value");
    };
    let is_ucum = said(quantity.system.as_ref()).is_none_or(|system| system == UCUM);
    let code = said(quantity.code.as_ref()).filter(|_| is_ucum);
    let unit = code.or_else(|| said(quantity.unit.as_ref()));
    Ok((RecordedValue::Number(number), unit.map(short)))
}

/// A coded word: what it is called, else its code.
pub(super) fn words(concept: &CodeableConcept) -> Option<&str> {
    let displayed = || concept.coding.iter().find_map(|one| said(one.display.as_ref()));
    let coded = || concept.coding.iter().find_map(|one| said(one.code.as_ref()));
    displayed().or_else(|| said(concept.text.as_ref())).or_else(coded)
}

pub(super) fn short(text: &str) -> String {
    text.chars().take(MAX_WORD).collect()
}

/// Why a value that is passed on will not be used, as far as it can be told here.
pub(super) fn doubt(
    reader: &Reader,
    variable: VariableId,
    (value, unit): (&RecordedValue, Option<&str>),
) -> Option<Rejection> {
    let raw = match value {
        RecordedValue::Number(number) => RawValue::Number(*number),
        RecordedValue::Text(text) => RawValue::Text(text.clone()),
        RecordedValue::Missing => return None,
    };
    reader.dictionary.observe(variable, &raw, unit).err()
}
