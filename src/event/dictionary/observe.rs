//! From a value as its sender wrote it to a checked observation in canonical units.

use super::{BySize, Dictionary, Kind, Profile, Variable};
use crate::event::{Observation, RawValue, Reason, Rejection};
use crate::ids::VariableId;

impl Dictionary {
    /// A checked observation in canonical units, or why there is none. `unit` is the declared UCUM
    /// unit (or MIMIC's spelling of it); `None` means that the sender declared none.
    ///
    /// In `clinical` the declared unit is believed and the result must be plausible: a value that
    /// is impossible as declared but possible in a sibling unit is `unit_suspect` and is never
    /// repaired. In `reference` nothing is judged by range and the published re-readings apply.
    pub fn observe(
        &self,
        variable: VariableId,
        raw: &RawValue,
        unit: Option<&str>,
    ) -> Result<Observation, Rejection> {
        let known = self.variable(variable).ok_or_else(|| {
            Rejection::new(Reason::UnmappedCode, format!("variable {} is unknown", variable.0))
        })?;
        let unit = unit.map(str::trim).filter(|unit| !unit.is_empty());
        let value = match &known.kind {
            Kind::Numeric { plausible, .. } => self.measure(known, raw, unit, *plausible)?,
            Kind::Categorical { categories, scores, .. } => {
                known.categorise(raw, unit, categories, scores)? as f64
            }
        };
        Observation::new(variable, value).ok_or_else(|| {
            Rejection::new(Reason::NotANumber, format!("{}: not finite", known.code))
        })
    }

    /// As [`Dictionary::observe`] for a MIMIC item: where the file declares no unit, the item's
    /// own unit is meant.
    pub fn observe_item(
        &self,
        itemid: u32,
        raw: &RawValue,
        unit: Option<&str>,
    ) -> Result<Observation, Rejection> {
        let Some(item) = self.item(itemid) else {
            let reason = match self.refused_item(itemid) {
                Some(_) => Reason::WrongSpecimen,
                None => Reason::UnmappedCode,
            };
            return Err(Rejection::new(reason, format!("item {itemid}")));
        };
        let declared = unit.map(str::trim).filter(|unit| !unit.is_empty());
        self.observe(item.variable, raw, declared.or(item.unit.as_deref()))
    }

    fn measure(
        &self,
        variable: &Variable,
        raw: &RawValue,
        unit: Option<&str>,
        plausible: (f64, f64),
    ) -> Result<f64, Rejection> {
        let value = variable.number(raw)?;
        let declared = match unit {
            Some(spelling) => Some(variable.unit_index(spelling).ok_or_else(|| {
                let detail = format!("{}: unit {spelling:?}", variable.code);
                Rejection::new(Reason::UnknownUnit, detail)
            })?),
            None => None,
        };
        let by_size = variable.by_size.as_ref();
        let index = match (declared, by_size) {
            (Some(i), Some(by))
                if self.profile == Profile::Reference && by.rereads.contains(&i) =>
            {
                by.reference_unit(raw, value)
            }
            (Some(i), _) => i,
            (None, Some(by)) if self.profile == Profile::Reference => by.reference_unit(raw, value),
            (None, Some(by)) => by.unit(value),
            (None, None) => variable.unit_index(&variable.unit).unwrap_or(0),
        };
        let canonical = variable.units[index].canonical(value);
        if self.profile == Profile::Reference || variable.believes(index, value, plausible) {
            return Ok(canonical);
        }
        Err(variable.disbelieve(index, value, plausible))
    }
}

impl BySize {
    pub(super) fn unit(&self, value: f64) -> usize {
        if value <= self.limit { self.upto } else { self.above }
    }

    /// The published FiO2 rule divides whatever it read as a text.
    fn reference_unit(&self, raw: &RawValue, value: f64) -> usize {
        match (raw, self.reference_text) {
            (RawValue::Text(_), Some(unit)) => unit,
            _ => self.unit(value),
        }
    }
}

impl Variable {
    /// The number in a value; of a blood pressure "120/80" the half that is meant.
    fn number(&self, raw: &RawValue) -> Result<f64, Rejection> {
        let number = match raw {
            RawValue::Number(number) => Some(*number),
            RawValue::Text(text) => match (self.pair, text.split_once('/')) {
                (Some(0), Some((first, second))) if parse(second).is_some() => parse(first),
                (Some(_), Some((first, second))) if parse(first).is_some() => parse(second),
                _ => parse(text),
            },
        };
        number.filter(|number| number.is_finite()).ok_or_else(|| {
            Rejection::new(Reason::NotANumber, format!("{}: not a finite number", self.code))
        })
    }

    fn believes(&self, unit: usize, value: f64, plausible: (f64, f64)) -> bool {
        let unit = &self.units[unit];
        let own = unit.plausible.is_none_or(|(low, high)| (low..=high).contains(&value));
        own && (plausible.0..=plausible.1).contains(&unit.canonical(value))
    }

    fn disbelieve(&self, unit: usize, value: f64, plausible: (f64, f64)) -> Rejection {
        let sibling =
            (0..self.units.len()).find(|&i| i != unit && self.believes(i, value, plausible));
        let (code, declared) = (&self.code, &self.units[unit].ucum);
        match sibling {
            Some(i) => Rejection::new(
                Reason::UnitSuspect,
                format!(
                    "{code}: {value:?} {declared} is impossible, {} would be plausible",
                    self.units[i].ucum
                ),
            ),
            None => Rejection::new(
                Reason::Implausible,
                format!("{code}: {value:?} {declared} is outside the plausible range"),
            ),
        }
    }

    fn categorise(
        &self,
        raw: &RawValue,
        unit: Option<&str>,
        categories: &[String],
        scores: &[(f64, usize)],
    ) -> Result<usize, Rejection> {
        let text = match raw {
            RawValue::Text(text) => Some(text.trim()),
            RawValue::Number(_) => None,
        };
        let exact = text.and_then(|text| categories.iter().position(|known| known == text));
        let loose = || {
            let same = |text: &str| categories.iter().position(|k| k.eq_ignore_ascii_case(text));
            text.and_then(same)
        };
        let number = match raw {
            RawValue::Number(number) => Some(*number),
            RawValue::Text(text) => parse(text),
        };
        if let (Some(cut), Some(number), Some(unit)) = (&self.cut, number, unit)
            && unit == cut.unit
            && number.is_finite()
        {
            return Ok(if number > cut.limit { cut.then } else { cut.otherwise });
        }
        let scored = || {
            let number = number?;
            scores.iter().find(|(score, _)| *score == number).map(|(_, index)| *index)
        };
        exact.or_else(loose).or_else(scored).ok_or_else(|| match raw {
            RawValue::Number(number) if !number.is_finite() => {
                Rejection::new(Reason::NotANumber, format!("{}: not a finite number", self.code))
            }
            _ => Rejection::new(
                Reason::UnknownCategory,
                format!("{}: the dictionary has no such category or score", self.code),
            ),
        })
    }
}

/// A plain decimal number. Rust's words for infinity and not-a-number are not numbers here.
fn parse(text: &str) -> Option<f64> {
    let text = text.trim();
    let plain = text.bytes().all(|b| b.is_ascii_digit() || b"+-.eE".contains(&b));
    if plain { text.parse().ok() } else { None }
}
