//! Single values: what a duration, a size, a list or a choice looks like, and what to write
//! instead when it looks otherwise.

use std::net::SocketAddr;
use std::time::Duration;

use serde::de::IntoDeserializer;
use serde::de::value::{Error as WordError, StrDeserializer};
use toml::Value;

use super::Problem;
use super::raw::Written;
use crate::time::Span;

/// Longer times than this are slips of the pen.
const MAX_SPAN: Span = Span::hours(24 * 3660);

/// Takes values out of what was written and gathers every complaint on the way.
pub struct Reader {
    written: Written,
}

impl Reader {
    pub fn new(written: Written) -> Self {
        Reader { written }
    }

    /// All complaints, in the order in which they were found.
    pub fn into_problems(self) -> Vec<Problem> {
        self.written.problems
    }

    /// The value of `path` by `parse`; `fallback` after a complaint, which nobody gets to see.
    pub fn read<T>(
        &mut self,
        path: &str,
        fallback: T,
        parse: impl FnOnce(&Value) -> Result<T, String>,
    ) -> T {
        match self.written.get(path).map(|(value, _)| parse(value)) {
            Some(Ok(value)) => value,
            Some(Err(what)) => {
                self.complain(path, what);
                fallback
            }
            None => {
                self.complain(path, "is missing from the table of keys".to_owned());
                fallback
            }
        }
    }

    /// A complaint about the value of a key, or about how it goes with another.
    pub fn complain(&mut self, path: &str, what: String) {
        let place = self.written.get(path).map_or(super::raw::Place::Default, |(_, p)| p.clone());
        self.written.problems.push(Problem::new(path, &place, what));
    }

    pub fn text(&mut self, path: &str) -> String {
        self.read(path, String::new(), |value| text(value).map(str::to_owned))
    }

    pub fn flag(&mut self, path: &str) -> bool {
        self.read(path, false, |value| value.as_bool().ok_or("is not true or false".into()))
    }

    /// A whole number within `low..=high`.
    pub fn count(&mut self, path: &str, low: usize, high: usize) -> usize {
        self.read(path, low, |value| {
            let count = value.as_integer().and_then(|n| usize::try_from(n).ok());
            count
                .filter(|n| (low..=high).contains(n))
                .ok_or_else(|| format!("is not a whole number from {low} to {high}"))
        })
    }

    /// A number within `low..=high`; a whole one needs no point.
    pub fn number(&mut self, path: &str, low: f64, high: f64) -> f64 {
        self.read(path, low, |value| {
            let number = value.as_float().or_else(|| value.as_integer().map(|n| n as f64));
            number
                .filter(|n| (low..=high).contains(n))
                .ok_or_else(|| format!("is not a number from {low} to {high}"))
        })
    }

    /// Bytes within `low..=high`.
    pub fn size(&mut self, path: &str, low: u64, high: u64) -> u64 {
        self.read(path, low, |value| {
            let bytes = match value {
                Value::Integer(n) => u64::try_from(*n).ok(),
                Value::String(text) => parse_size(text),
                _ => None,
            };
            let wrong = "is not a size; write bytes, or a number and KiB, MiB or GiB";
            let bytes = bytes.ok_or_else(|| wrong.to_owned())?;
            match (low..=high).contains(&bytes) {
                true => Ok(bytes),
                false => Err(format!("is not from {low} to {high} bytes")),
            }
        })
    }

    /// A time of the patient's clock, at least `low`.
    pub fn span(&mut self, path: &str, low: Span) -> Span {
        self.read(path, low, |value| span(value, low))
    }

    /// As [`Reader::span`], where `off` means none.
    pub fn span_or_off(&mut self, path: &str, low: Span) -> Option<Span> {
        self.read(path, None, |value| match value.as_str() {
            Some("off") => Ok(None),
            _ => span(value, low).map(Some).map_err(|what| format!("{what}, or off")),
        })
    }

    pub fn spans(&mut self, path: &str, low: Span) -> Vec<Span> {
        self.read(path, Vec::new(), |value| {
            let list = value.as_array().ok_or("is not a list such as [\"48h\"]")?;
            list.iter().map(|item| span(item, low)).collect()
        })
    }

    /// A time of the machine's clock, at least `low`.
    pub fn duration(&mut self, path: &str, low: Duration) -> Duration {
        let low_ms = i64::try_from(low.as_millis()).unwrap_or(i64::MAX);
        let span = self.span(path, Span::from_millis(low_ms));
        Duration::from_millis(u64::try_from(span.as_millis()).unwrap_or(0))
    }

    /// One of the words of an enum.
    pub fn choice<T: serde::de::DeserializeOwned>(&mut self, path: &str, fallback: T) -> T {
        self.read(path, fallback, |value| {
            let word: StrDeserializer<'_, WordError> = text(value)?.into_deserializer();
            T::deserialize(word).map_err(|error| format!("has an {error}"))
        })
    }

    /// `host:port`, where `off` means none.
    pub fn address(&mut self, path: &str) -> Option<SocketAddr> {
        self.read(path, None, |value| match text(value)? {
            "off" => Ok(None),
            address => address
                .parse()
                .map(Some)
                .map_err(|_| "is not an address such as 127.0.0.1:8080, or off".to_owned()),
        })
    }
}

fn text(value: &Value) -> Result<&str, String> {
    value.as_str().ok_or_else(|| "is not a text; put it in quotes".to_owned())
}

pub(super) fn span(value: &Value, low: Span) -> Result<Span, String> {
    let parsed = value.as_str().and_then(parse_span);
    let wrong = "is not a time; write a number and ms, s, m, h or d, such as \"15m\" or \"1h30m\"";
    let span = parsed.ok_or_else(|| wrong.to_owned())?;
    match (low..=MAX_SPAN).contains(&span) {
        true => Ok(span),
        false => Err(format!("is not from {} to {}", show(low), show(MAX_SPAN))),
    }
}

/// `1h30m` as a span.
pub fn parse_span(text: &str) -> Option<Span> {
    let mut rest = text.trim();
    let mut total = 0i64;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let (number, tail) = rest.split_at(digits);
        let letters = tail.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(letters);
        let ms = match unit {
            "ms" => 1,
            "s" => 1_000,
            "m" | "min" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return None,
        };
        total = total.checked_add(number.parse::<i64>().ok()?.checked_mul(ms)?)?;
        rest = tail;
    }
    (!text.trim().is_empty()).then(|| Span::from_millis(total))
}

/// A span in the largest unit that divides it.
pub fn show(span: Span) -> String {
    let ms = span.as_millis();
    let units = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000)];
    match units.iter().find(|(_, unit)| ms != 0 && ms % unit == 0) {
        Some((name, unit)) => format!("{}{name}", ms / unit),
        None => format!("{ms}ms"),
    }
}

fn parse_size(text: &str) -> Option<u64> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let factor: u64 = match unit.trim() {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_sizes_are_read_as_people_write_them() {
        assert_eq!(parse_span("1h30m"), Some(Span::minutes(90)));
        assert_eq!(parse_span("250ms"), Some(Span::from_millis(250)));
        assert_eq!(parse_span("90d"), Some(Span::hours(2160)));
        for wrong in ["", "1", "h", "1 h", "-1h", "99999999999999999999d", "1w", "ä"] {
            assert_eq!(parse_span(wrong), None, "{wrong}");
        }
        assert_eq!(parse_size("64KiB"), Some(65_536));
        assert_eq!(parse_size("4096"), Some(4096));
        assert_eq!(parse_size("1MB"), None);
        assert_eq!(show(Span::minutes(90)), "90m");
        assert_eq!(show(Span::ZERO), "0ms");
    }
}
