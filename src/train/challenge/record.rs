//! One record: descriptors and a series of 48 hours, checked by the dictionary.

use std::collections::BTreeMap;

use super::read::RowCounts;
use crate::event::dictionary::Dictionary;
use crate::event::{RawValue, Reason, Sex};
use crate::ids::VariableId;
use crate::series::Row;
use crate::time::EventTime;

/// The first line of a record.
pub(super) const HEADER: &str = "Time,Parameter,Value";

/// Hours of a record; what lies later is rejected.
pub const HOURS: i64 = 48;

/// Rows of one record at most; the longest of set-a has 1,500.
const ROWS_MAX: usize = 100_000;

/// What the files write for a value that is not known.
const MISSING: f64 = -1.0;

/// What one stay is known by after 48 hours.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    pub id: u32,
    pub age_years: Option<u8>,
    pub sex: Option<Sex>,
    /// In the order of time; time counts from admission.
    pub rows: Vec<Row>,
}

impl Record {
    /// Reads a record's text and counts what became of its rows.
    ///
    /// # Errors
    /// In words, where there is no record id, or more rows than a stay may have.
    pub(super) fn parse(
        text: &str,
        dict: &Dictionary,
        counts: &mut RowCounts,
    ) -> Result<Self, String> {
        let by_name: BTreeMap<&str, VariableId> =
            dict.variables().iter().map(|variable| (variable.name.as_str(), variable.id)).collect();
        let (mut id, mut age_years, mut sex) = (None, None, None);
        let mut rows = Vec::new();
        for line in text.lines().skip(1).map(str::trim).filter(|line| !line.is_empty()) {
            let read = Line::parse(line);
            let used = match read {
                Err(reason) => Err(Some(reason)),
                Ok(Line { value, name: "RecordID", .. }) => {
                    id = whole(value);
                    continue;
                }
                Ok(Line { value, .. }) if value == MISSING => Err(None),
                Ok(Line { value, name: "Age", .. }) => {
                    age_years = age(value, dict);
                    age_years.map(|_| ()).ok_or(Some(Reason::Implausible))
                }
                Ok(Line { value, name: "Gender", .. }) => {
                    let sexes = [Sex::Female, Sex::Male];
                    sex = whole(value).and_then(|i| sexes.get(i as usize).copied());
                    sex.map(|_| ()).ok_or(Some(Reason::UnknownCategory))
                }
                Ok(line) => line.row(&by_name, dict).map(|row| rows.push(row)).map_err(Some),
            };
            match used {
                Ok(()) => counts.used += 1,
                Err(None) => counts.missing += 1,
                Err(Some(reason)) => *counts.rejected.entry(reason.code()).or_default() += 1,
            }
            if rows.len() > ROWS_MAX {
                return Err(format!("it has more than {ROWS_MAX} rows"));
            }
        }
        rows.sort_by_key(|row| row.at);
        let id = id.ok_or_else(|| "it has no RecordID".to_owned())?;
        Ok(Record { id, age_years, sex, rows })
    }
}

/// One row as it stands.
struct Line<'a> {
    at: EventTime,
    name: &'a str,
    value: f64,
}

impl<'a> Line<'a> {
    fn parse(line: &'a str) -> Result<Self, Reason> {
        let mut cells = line.split(',').map(str::trim);
        let (Some(time), Some(name), Some(value), None) =
            (cells.next(), cells.next(), cells.next(), cells.next())
        else {
            return Err(Reason::MalformedRow);
        };
        let at = elapsed(time).ok_or(Reason::MalformedRow)?;
        let value = value.parse::<f64>().ok().filter(|value| value.is_finite());
        Ok(Line { at, name, value: value.ok_or(Reason::NotANumber)? })
    }

    fn row(&self, by_name: &BTreeMap<&str, VariableId>, dict: &Dictionary) -> Result<Row, Reason> {
        if self.at.as_millis() > HOURS * HOUR_MS {
            return Err(Reason::AbsurdTime);
        }
        let &variable = by_name.get(self.name).ok_or(Reason::UnmappedCode)?;
        let seen = dict.observe(variable, &RawValue::Number(self.value), None);
        let value = seen.map_err(|rejection| rejection.reason)?.value();
        Ok(Row { at: self.at, variable, value })
    }
}

const MINUTE_MS: i64 = 60_000;
const HOUR_MS: i64 = 60 * MINUTE_MS;

/// "HH:MM" since admission.
fn elapsed(text: &str) -> Option<EventTime> {
    let (hours, minutes) = text.split_once(':')?;
    let (hours, minutes) = (hours.parse::<u16>().ok()?, minutes.parse::<u8>().ok()?);
    let ms = i64::from(hours) * HOUR_MS + i64::from(minutes) * MINUTE_MS;
    (minutes < 60).then_some(EventTime::from_millis(ms))
}

fn whole(value: f64) -> Option<u32> {
    (value >= 0.0 && value <= f64::from(u32::MAX) && value.fract() == 0.0).then_some(value as u32)
}

fn age(value: f64, dict: &Dictionary) -> Option<u8> {
    let (low, high) = dict.statics().age_plausible;
    (low..=high.min(255.0)).contains(&value).then_some(value.round() as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "Time,Parameter,Value\n00:00,RecordID,132539\n00:00,Age,54\n\
        00:00,Gender,0\n00:00,Height,-1\n00:00,ICUType,4\n00:00,Weight,-1\n00:07,GCS,15\n\
        00:07,HR,73\n00:07,pH,735\n47:37,Temp,-17.8\n48:01,HR,70\n01:00,HR,nan\n02:00,Shoe,1\n\
        00:61,HR,70\nnothing\n";

    #[test]
    fn a_record_is_read_and_every_row_counted() {
        let dict = Dictionary::physionet2012().unwrap();
        let mut counts = RowCounts::default();
        let record = Record::parse(TEXT, &dict, &mut counts).unwrap();
        assert_eq!(
            (record.id, record.age_years, record.sex),
            (132_539, Some(54), Some(Sex::Female))
        );
        let said: Vec<(&str, i64, f64)> = record
            .rows
            .iter()
            .map(|row| {
                let variable = dict.variable(row.variable).unwrap();
                let value = (row.value * 100.0).round() / 100.0;
                (variable.name.as_str(), row.at.as_millis() / MINUTE_MS, value)
            })
            .collect();
        assert_eq!(said, [("ICUType", 0, 3.0), ("GCS", 7, 15.0), ("HR", 7, 73.0), ("pH", 7, 7.35)]);
        assert_eq!((counts.used, counts.missing), (6, 2));
        let rejected: Vec<(&str, u64)> = counts.rejected.into_iter().collect();
        let wanted = [
            ("absurd_time", 1),
            ("implausible", 1),
            ("malformed_row", 2),
            ("not_a_number", 1),
            ("unmapped_code", 1),
        ];
        assert_eq!(rejected, wanted);
    }

    #[test]
    fn a_record_without_its_id_is_refused() {
        let dict = Dictionary::physionet2012().unwrap();
        let text = "Time,Parameter,Value\n00:07,HR,73\n";
        let fault = Record::parse(text, &dict, &mut RowCounts::default()).unwrap_err();
        assert!(fault.contains("RecordID"), "{fault}");
    }
}
