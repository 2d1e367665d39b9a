//! What labevents and chartevents have in common: a value by number or by text.

use super::value::parse_f64;
use crate::event::{Reason, Rejection};
use crate::replay::intake::Payload;

/// Longest text of a value that is kept; what is longer is no value of a variable.
const MAX_TEXT: usize = 200;

/// The value of a row. MIMIC blanks some texts to `___` while the number stands beside it, so the
/// number is trusted; but the text of a category (`prefer_text`) tells what its number cannot,
/// such as an intubated patient's verbal response. Text alone is passed on, for the dictionary
/// knows texts that are values (`120/80`, and the word `None`).
pub(in crate::replay) fn value_of<'a>(
    value: &'a [u8],
    valuenum: &[u8],
    unit: &'a [u8],
    prefer_text: bool,
) -> Result<Payload<'a>, Rejection> {
    let unit = std::str::from_utf8(unit).unwrap_or_default().trim();
    let text = std::str::from_utf8(value).map(str::trim).ok().filter(|t| *t != "___");
    let text = text.filter(|text| !text.is_empty());
    let number = match valuenum {
        b"" => text.and_then(|text| parse_f64(text.as_bytes())),
        digits => match parse_f64(digits) {
            Some(number) => Some(number),
            None => return Err(Rejection::new(Reason::NotANumber, "valuenum is no finite number")),
        },
    };
    let is_word = |text: &&str| parse_f64(text.as_bytes()).is_none();
    match (text.filter(is_word), number) {
        (Some(value), None) if value.len() <= MAX_TEXT => Ok(Payload::Text { value, unit }),
        (Some(value), Some(_)) if prefer_text && value.len() <= MAX_TEXT => {
            Ok(Payload::Text { value, unit })
        }
        (_, Some(value)) => Ok(Payload::Number { value, unit }),
        (Some(_), None) => Err(Rejection::new(Reason::NotANumber, "value is a long text")),
        (None, None) => {
            Err(Rejection::new(Reason::MalformedRow, "neither value nor valuenum is there"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(value: &str, valuenum: &str, prefer_text: bool) -> String {
        match value_of(value.as_bytes(), valuenum.as_bytes(), b"", prefer_text) {
            Ok(Payload::Number { value, .. }) => format!("number {value}"),
            Ok(Payload::Text { value, .. }) => format!("text {value}"),
            Ok(_) => "another payload".into(),
            Err(rejection) => rejection.reason.code().into(),
        }
    }

    #[test]
    fn the_number_is_trusted_and_the_text_of_a_category_preferred() {
        assert_eq!(value("___", "7.4", false), "number 7.4");
        assert_eq!(value("7.4", "", false), "number 7.4");
        assert_eq!(value("No Response-ETT", "1", true), "text No Response-ETT");
        assert_eq!(value("None", "1", true), "text None");
        assert_eq!(value("4", "4", true), "number 4");
        assert_eq!(value("low", "3", false), "number 3");
        assert_eq!(value("120/80", "", false), "text 120/80");
    }

    #[test]
    fn what_is_no_value_is_rejected() {
        assert_eq!(value("", "", false), "malformed_row");
        assert_eq!(value("___", "", false), "malformed_row");
        assert_eq!(value("5", "inf", false), "not_a_number");
        assert_eq!(value(&"x".repeat(201), "", true), "not_a_number");
    }
}
