//! The benchmark's event file, read in blocks. The parser is tuned for this one format: it makes
//! no string and looks at each byte once, because parsing is part of the measured cost.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use anyhow::Context;

use crate::ids::{StayId, VariableId};
use crate::time::EventTime;

/// Bytes read at once.
const BLOCK_BYTES: usize = 256 * 1024;

/// No row is longer; a file without line ends is refused instead of being read into memory.
const ROW_BYTES_MAX: usize = 512;

/// Decimal digits whose integer is exact in an f64.
const EXACT_DIGITS: usize = 15;

const POWERS_OF_TEN: [f64; EXACT_DIGITS + 1] =
    [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15];

/// One event of the benchmark.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Event {
    pub(super) stay: StayId,
    pub(super) at: EventTime,
    pub(super) variable: VariableId,
    pub(super) value: f64,
}

/// Where events come from, in arrival order.
pub(super) trait Input {
    /// Appends up to `max` events; none at the end.
    fn read(&mut self, into: &mut Vec<Event>, max: usize) -> anyhow::Result<()>;
}

/// A CSV file without header.
pub(super) struct CsvFile {
    file: File,
    name: String,
    block: Vec<u8>,
    /// The part of `block` that is read and not yet parsed.
    from: usize,
    to: usize,
    ended: bool,
    line: u64,
}

impl CsvFile {
    pub(super) fn open(path: &Path) -> anyhow::Result<Self> {
        let name = path.display().to_string();
        let file = File::open(path).with_context(|| format!("cannot open {name}"))?;
        let block = vec![0; BLOCK_BYTES];
        Ok(CsvFile { file, name, block, from: 0, to: 0, ended: false, line: 0 })
    }

    /// Moves the unparsed rest to the front and reads on; false at the end of the file.
    fn refill(&mut self) -> anyhow::Result<bool> {
        self.block.copy_within(self.from..self.to, 0);
        self.to -= self.from;
        self.from = 0;
        let n = self
            .file
            .read(&mut self.block[self.to..])
            .with_context(|| format!("cannot read {}", self.name))?;
        self.to += n;
        self.ended = n == 0;
        Ok(!self.ended)
    }

    /// The next row without its line end; `None` if more must be read first.
    fn parse_one(&mut self) -> anyhow::Result<Option<Event>> {
        let rest = &self.block[self.from..self.to];
        // A row may be cut off by the block's end: only then is its end searched for.
        let whole = self.ended || rest.len() >= ROW_BYTES_MAX || rest.contains(&b'\n');
        if rest.is_empty() || !whole {
            return Ok(None);
        }
        match parse_row(rest) {
            Some((event, used)) => {
                self.from += used;
                self.line += 1;
                Ok(Some(event))
            }
            None => anyhow::bail!(
                "{} line {}: not stay,variable,event_time_ms,value; correct or remove the row",
                self.name,
                self.line + 1
            ),
        }
    }
}

impl Input for CsvFile {
    fn read(&mut self, into: &mut Vec<Event>, max: usize) -> anyhow::Result<()> {
        for _ in 0..max {
            let event = loop {
                if let Some(event) = self.parse_one()? {
                    break event;
                }
                if self.ended || !self.refill()? && self.from == self.to {
                    return Ok(());
                }
            };
            into.push(event);
        }
        Ok(())
    }
}

/// One row at the front of `bytes` and how many bytes it took, its line end included.
fn parse_row(bytes: &[u8]) -> Option<(Event, usize)> {
    let (stay, at) = unsigned(bytes, 0)?;
    let (variable, at) = unsigned(bytes, after(bytes, at, b',')?)?;
    let (time, at) = signed(bytes, after(bytes, at, b',')?)?;
    let (value, at) = decimal(bytes, after(bytes, at, b',')?)?;
    let at = if bytes.get(at) == Some(&b'\r') { at + 1 } else { at };
    let used = match bytes.get(at) {
        None => at,
        Some(b'\n') => at + 1,
        Some(_) => return None,
    };
    let event = Event {
        stay: StayId(stay),
        at: EventTime::from_millis(time),
        variable: VariableId(u8::try_from(variable).ok()?),
        value,
    };
    Some((event, used))
}

fn after(bytes: &[u8], at: usize, expected: u8) -> Option<usize> {
    (bytes.get(at) == Some(&expected)).then_some(at + 1)
}

fn digit(bytes: &[u8], at: usize) -> Option<u64> {
    let digit = bytes.get(at)?.wrapping_sub(b'0');
    (digit < 10).then_some(u64::from(digit))
}

/// An unsigned number and where it ends.
fn unsigned(bytes: &[u8], from: usize) -> Option<(u64, usize)> {
    let mut number = digit(bytes, from)?;
    let mut at = from + 1;
    while let Some(digit) = digit(bytes, at) {
        // 18 digits cannot overflow; more are checked one by one.
        number = match at - from < 18 {
            true => number * 10 + digit,
            false => number.checked_mul(10)?.checked_add(digit)?,
        };
        at += 1;
    }
    Some((number, at))
}

fn signed(bytes: &[u8], from: usize) -> Option<(i64, usize)> {
    if bytes.get(from) == Some(&b'-') {
        let (number, at) = unsigned(bytes, from + 1)?;
        return Some((0i64.checked_sub_unsigned(number)?, at));
    }
    let (number, at) = unsigned(bytes, from)?;
    Some((i64::try_from(number).ok()?, at))
}

/// A decimal number, rounded as `str::parse` rounds it: up to 15 digits make an exact integer over
/// an exact power of ten, so one division rounds once; everything else is left to `str::parse`.
fn decimal(bytes: &[u8], from: usize) -> Option<(f64, usize)> {
    let negative = bytes.get(from) == Some(&b'-');
    let start = from + usize::from(negative);
    let (mut number, mut at, mut digits, mut decimals) = (0u64, start, 0, 0);
    while let Some(digit) = digit(bytes, at) {
        number = number.wrapping_mul(10).wrapping_add(digit);
        (at, digits) = (at + 1, digits + 1);
    }
    if bytes.get(at) == Some(&b'.') {
        at += 1;
        while let Some(digit) = digit(bytes, at) {
            number = number.wrapping_mul(10).wrapping_add(digit);
            (at, digits, decimals) = (at + 1, digits + 1, decimals + 1);
        }
    }
    let ends = matches!(bytes.get(at), None | Some(b'\n' | b'\r'));
    if !ends || digits == 0 || digits > EXACT_DIGITS {
        return slow_decimal(bytes, from);
    }
    let value = number as f64 / POWERS_OF_TEN[decimals];
    Some((if negative { -value } else { value }, at))
}

fn slow_decimal(bytes: &[u8], from: usize) -> Option<(f64, usize)> {
    let rest = bytes.get(from..)?;
    let len = rest.iter().position(|b| matches!(b, b'\n' | b'\r')).unwrap_or(rest.len());
    let value: f64 = std::str::from_utf8(&rest[..len]).ok()?.parse().ok()?;
    value.is_finite().then_some((value, from + len))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn row(text: &str) -> Option<(u64, u8, i64, f64, usize)> {
        let (event, used) = parse_row(text.as_bytes())?;
        Some((event.stay.0, event.variable.0, event.at.as_millis(), event.value, used))
    }

    #[test]
    fn rows_are_read_or_refused() {
        assert_eq!(row("9,10,1700013546716,96.350\nx"), Some((9, 10, 1700013546716, 96.35, 26)));
        assert_eq!(row("9,10,-5,-0.5\r\n"), Some((9, 10, -5, -0.5, 14)));
        assert_eq!(row("9,10,5,1e3"), Some((9, 10, 5, 1000.0, 10)));
        for bad in [
            "",
            "9,10,5",
            "9,10,5,",
            "9,256,5,1.0",
            "-1,1,5,1.0",
            "1,1,5,nan",
            "1,1,5,inf",
            "1,1,5,1.0,2",
            "1,1,99999999999999999999,1",
            "99999999999999999999,1,1,1",
            "a,1,1,1",
        ] {
            assert_eq!(row(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn decimals_round_as_the_standard_library(text in r"-?[0-9]{1,17}(\.[0-9]{0,9})?") {
            let (value, used) = decimal(text.as_bytes(), 0).unwrap();
            prop_assert_eq!(value.to_bits(), text.parse::<f64>().unwrap().to_bits());
            prop_assert_eq!(used, text.len());
        }

        #[test]
        fn unsigned_numbers_never_wrap(text in "[0-9]{1,22}") {
            let read = unsigned(text.as_bytes(), 0).map(|(number, _)| number);
            prop_assert_eq!(read, text.parse::<u64>().ok());
        }
    }
}
