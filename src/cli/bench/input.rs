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

const WHOLE_POWERS_OF_TEN: [u64; 9] =
    [1, 10, 100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000, 100_000_000];

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

    /// Moves the unparsed rest to the front and reads on.
    fn refill(&mut self) -> anyhow::Result<()> {
        self.block.copy_within(self.from..self.to, 0);
        self.to -= self.from;
        self.from = 0;
        let n = self
            .file
            .read(&mut self.block[self.to..])
            .with_context(|| format!("cannot read {}", self.name))?;
        self.to += n;
        self.ended = n == 0;
        Ok(())
    }

    /// Parses rows that are whole in the block; stops at `max` events or where more must be read.
    fn parse(&mut self, into: &mut Vec<Event>, max: usize) -> anyhow::Result<()> {
        while into.len() < max {
            let rest = &self.block[self.from..self.to];
            // A row may be cut off by the block's end: only then is its end searched for.
            let whole = rest.len() >= ROW_BYTES_MAX || self.ended || rest.contains(&b'\n');
            if rest.is_empty() || !whole {
                return Ok(());
            }
            let Some((event, used)) = parse_row(rest) else {
                let (name, line) = (&self.name, self.line + 1);
                anyhow::bail!(
                    "{name} line {line}: not stay,variable,event_time_ms,value; \
                     correct or remove the row"
                );
            };
            self.from += used;
            self.line += 1;
            into.push(event);
        }
        Ok(())
    }
}

impl Input for CsvFile {
    fn read(&mut self, into: &mut Vec<Event>, max: usize) -> anyhow::Result<()> {
        let max = into.len() + max;
        loop {
            self.parse(into, max)?;
            if into.len() == max || self.ended && self.from == self.to {
                return Ok(());
            }
            self.refill()?;
        }
    }
}

/// One row at the front of `bytes` and how many bytes it took, its line end included.
///
/// Every part takes what it knows from the front and hands on the rest: slice patterns leave one
/// comparison a byte where indices would leave a bounds check more.
#[inline(always)]
fn parse_row(bytes: &[u8]) -> Option<(Event, usize)> {
    let (stay, rest) = unsigned(bytes)?;
    let (variable, rest) = unsigned(comma(rest)?)?;
    let (time, rest) = signed(comma(rest)?)?;
    let (value, rest) = decimal(comma(rest)?)?;
    let rest = match rest {
        [] | [b'\r'] => &[],
        [b'\n', rest @ ..] | [b'\r', b'\n', rest @ ..] => rest,
        _ => return None,
    };
    let event = Event {
        stay: StayId(stay),
        at: EventTime::from_millis(time),
        variable: VariableId(u8::try_from(variable).ok()?),
        value,
    };
    Some((event, bytes.len() - rest.len()))
}

#[inline(always)]
fn comma(bytes: &[u8]) -> Option<&[u8]> {
    match bytes {
        [b',', rest @ ..] => Some(rest),
        _ => None,
    }
}

/// Appends leading digits to `number`, wrapping; the caller knows how many are too many.
#[inline(always)]
fn digits(mut number: u64, mut bytes: &[u8]) -> (u64, &[u8]) {
    while let Some((eight, rest)) = bytes.split_first_chunk() {
        let (value, n) = up_to_eight_digits(u64::from_le_bytes(*eight));
        number = number.wrapping_mul(WHOLE_POWERS_OF_TEN[n]).wrapping_add(value);
        if n < 8 {
            return (number, &bytes[n..]);
        }
        bytes = rest;
    }
    last_digits(number, bytes)
}

/// As [`digits`] for the last seven bytes of the input. Kept apart: unrolled in place it would
/// double the work of the usual case.
#[cold]
#[inline(never)]
fn last_digits(mut number: u64, mut bytes: &[u8]) -> (u64, &[u8]) {
    while let [byte @ b'0'..=b'9', rest @ ..] = bytes {
        number = number.wrapping_mul(10).wrapping_add(u64::from(byte - b'0'));
        bytes = rest;
    }
    (number, bytes)
}

/// The number that leading digits of eight characters make, and how many they are. All eight are
/// looked at together: a byte less '0' plus 0x76 has its top bit set unless it is a digit, and
/// three multiplications join digits to pairs, pairs to fours, and fours to eight.
#[inline]
fn up_to_eight_digits(chars: u64) -> (u64, usize) {
    let values = chars ^ 0x3030_3030_3030_3030;
    let strange = (values.wrapping_add(0x7676_7676_7676_7676) | values) & 0x8080_8080_8080_8080;
    let n = (strange.trailing_zeros() / 8) as usize;
    if n == 0 {
        return (0, 0);
    }
    let aligned = values << (64 - 8 * n);
    let pairs = aligned.wrapping_mul(10).wrapping_add(aligned >> 8);
    const EVERY_OTHER_PAIR: u64 = 0x0000_00ff_0000_00ff;
    let high = (pairs & EVERY_OTHER_PAIR).wrapping_mul(100 + (1_000_000 << 32));
    let low = ((pairs >> 16) & EVERY_OTHER_PAIR).wrapping_mul(1 + (10_000 << 32));
    (high.wrapping_add(low) >> 32, n)
}

/// An unsigned number of at most 18 digits, which cannot overflow, or a longer one by the book.
#[inline(always)]
fn unsigned(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let (number, rest) = digits(0, bytes);
    match bytes.len() - rest.len() {
        0 => None,
        1..=18 => Some((number, rest)),
        n => Some((std::str::from_utf8(&bytes[..n]).ok()?.parse().ok()?, rest)),
    }
}

#[inline(always)]
fn signed(bytes: &[u8]) -> Option<(i64, &[u8])> {
    if let [b'-', rest @ ..] = bytes {
        let (number, rest) = unsigned(rest)?;
        return Some((0i64.checked_sub_unsigned(number)?, rest));
    }
    let (number, rest) = unsigned(bytes)?;
    Some((i64::try_from(number).ok()?, rest))
}

/// A decimal number, rounded as `str::parse` rounds it: up to 15 digits make an exact integer over
/// an exact power of ten, so one division rounds once; everything else is left to `str::parse`.
#[inline(always)]
fn decimal(bytes: &[u8]) -> Option<(f64, &[u8])> {
    let start = match bytes {
        [b'-', rest @ ..] => rest,
        _ => bytes,
    };
    let (number, rest) = digits(0, start);
    let whole = start.len() - rest.len();
    let (number, rest, decimals) = match rest {
        [b'.', fraction @ ..] => {
            let (number, rest) = digits(number, fraction);
            (number, rest, fraction.len() - rest.len())
        }
        _ => (number, rest, 0),
    };
    let ends = matches!(rest, [] | [b'\n' | b'\r', ..]);
    if !ends || whole + decimals == 0 || whole + decimals > EXACT_DIGITS {
        return slow_decimal(bytes);
    }
    let value = number as f64 / POWERS_OF_TEN[decimals];
    Some((if start.len() < bytes.len() { -value } else { value }, rest))
}

#[cold]
fn slow_decimal(bytes: &[u8]) -> Option<(f64, &[u8])> {
    let len = bytes.iter().position(|b| matches!(b, b'\n' | b'\r')).unwrap_or(bytes.len());
    let value: f64 = std::str::from_utf8(&bytes[..len]).ok()?.parse().ok()?;
    value.is_finite().then_some((value, &bytes[len..]))
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
            let (value, rest) = decimal(text.as_bytes()).unwrap();
            prop_assert_eq!(value.to_bits(), text.parse::<f64>().unwrap().to_bits());
            prop_assert!(rest.is_empty());
        }

        #[test]
        fn digits_end_where_they_end(text in r"[0-9]{0,17}[ -~]{0,9}") {
            let n = text.bytes().take_while(u8::is_ascii_digit).count();
            let (number, rest) = digits(0, text.as_bytes());
            prop_assert_eq!(rest, &text.as_bytes()[n..]);
            if n <= 18 {
                prop_assert_eq!(number, text[..n].parse().unwrap_or(0));
            }
        }

        #[test]
        fn unsigned_numbers_never_wrap(text in "[0-9]{1,22}") {
            let read = unsigned(text.as_bytes()).map(|(number, _)| number);
            prop_assert_eq!(read, text.parse::<u64>().ok());
        }
    }
}
