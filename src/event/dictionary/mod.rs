//! The dictionary of variables, read from `schemas/variables.toml`: codes, units, ranges, clamps
//! and categories are data, so adding a variable is an edit of that file.
//!
//! Two profiles read the same file. `clinical` converts from the declared unit, refuses what is
//! not believable and takes blood only. `reference` repeats what the published pipeline does with
//! MIMIC, its unit slips included (`reference/ddl-cxr.md` 1.8, `reference/clinical.md` 0.5-0.10).

mod check;
mod file;
mod observe;
mod signal;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use thiserror::Error;

pub use signal::{Signal, Stuck};

use crate::ids::VariableId;

/// Columns of the DDL-CXR models' grid: 62 values and 17 observation masks
/// (`reference/ddl-cxr.md` 1.8).
pub const GRID_COLUMNS: usize = 79;

/// Which input the model gets (`reference/clinical.md` 0.8).
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Profile {
    /// Live default: declared units, blood specimens only.
    Clinical,
    /// Reproduces the published 79-column input exactly.
    Reference,
}

/// Everything that is wrong with the file, one complaint a line.
#[derive(Debug, Error)]
#[error("the dictionary of variables (schemas): {0}")]
pub struct DictionaryError(pub String);

/// All variables, indexed by [`VariableId`].
#[derive(Clone, Debug)]
pub struct Dictionary {
    pub profile: Profile,
    columns: usize,
    variables: Vec<Variable>,
    statics: StaticRules,
    by_code: BTreeMap<String, VariableId>,
    by_loinc: BTreeMap<String, VariableId>,
    by_item: BTreeMap<u32, Item>,
    refused_loinc: BTreeMap<String, VariableId>,
    refused_items: BTreeMap<u32, VariableId>,
}

/// One dynamic variable.
#[derive(Clone, Debug, PartialEq)]
pub struct Variable {
    pub id: VariableId,
    pub code: String,
    /// The benchmark's column name.
    pub name: String,
    pub kind: Kind,
    /// Canonical UCUM unit of every stored value.
    pub unit: String,
    pub loinc: Vec<String>,
    /// Where it stands in the grid; `None` if it is not a model input.
    pub columns: Option<Columns>,
    /// False where published data never held it, so a model knows nothing of it.
    pub trained: bool,
    pub signal: Signal,
    units: Vec<Unit>,
    by_size: Option<BySize>,
    pair: Option<usize>,
    cut: Option<Cut>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Kind {
    Numeric {
        /// Believable values, canonical unit, both ends included.
        plausible: (f64, f64),
        /// What the model can see: values are held inside before normalisation.
        clamp: (f64, f64),
        /// Stands in before the first observation.
        normal: f64,
    },
    Categorical {
        /// Texts in column order; a value is an index into it.
        categories: Vec<String>,
        /// Index of the category that stands in before the first observation.
        normal: usize,
        /// Category index by numeric score, for senders that have only the number.
        scores: Vec<(f64, usize)>,
    },
}

/// Columns of one variable in the grid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Columns {
    /// First value column; a categorical has one for each category.
    pub first: usize,
    /// Its 0/1 observation mask.
    pub mask: usize,
}

/// One accepted unit: canonical = (value + offset) × factor.
#[derive(Clone, Debug, PartialEq)]
struct Unit {
    ucum: String,
    also: Vec<String>,
    factor: f64,
    offset: f64,
    /// Believable values in this unit.
    plausible: Option<(f64, f64)>,
}

/// How a number without a unit is read: by its size. Units are indices into `units`.
#[derive(Clone, Debug, PartialEq)]
struct BySize {
    limit: f64,
    upto: usize,
    above: usize,
    rereads: Vec<usize>,
    reference_text: Option<usize>,
}

/// A measured number that stands for one of two categories.
#[derive(Clone, Debug, PartialEq)]
struct Cut {
    unit: String,
    limit: f64,
    then: usize,
    otherwise: usize,
}

/// A MIMIC-IV item and what it measures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    pub variable: VariableId,
    pub label: String,
    /// The unit that is meant where the file declares none.
    pub unit: Option<String>,
}

/// Age and sex: columns of the grid that come with the admission.
#[derive(Clone, Debug, PartialEq)]
pub struct StaticRules {
    /// First of the two one-hot columns, female before male.
    pub sex_column: usize,
    /// What stands in before the first row: 0 female, 1 male.
    pub sex_normal: usize,
    pub age_column: usize,
    pub age_plausible: (f64, f64),
    pub age_clamp: (f64, f64),
    pub age_normal: f64,
    pub age_loinc: Vec<String>,
    pub sex_loinc: Vec<String>,
}

impl Dictionary {
    /// The dictionary shipped with this version.
    pub fn builtin(profile: Profile) -> Result<Self, DictionaryError> {
        Self::parse(include_str!("../../../schemas/variables.toml"), profile)
    }

    /// The variables of the PhysioNet/CinC Challenge 2012.
    pub fn physionet2012() -> Result<Self, DictionaryError> {
        let text = include_str!("../../../schemas/physionet2012.toml");
        Self::parse(text, Profile::Clinical)
    }

    /// A dictionary from the text of a file like `schemas/variables.toml`. The error names
    /// everything that is wrong, not only the first.
    pub fn parse(text: &str, profile: Profile) -> Result<Self, DictionaryError> {
        let file: file::File =
            toml::from_str(text).map_err(|error| DictionaryError(error.to_string()))?;
        check::dictionary(file, profile)
    }

    /// Columns of the hourly grid: values, sex, age, masks.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// All variables; the index of each is its [`VariableId`].
    pub fn variables(&self) -> &[Variable] {
        &self.variables
    }

    /// `None` for an id that this dictionary does not have, such as one from a newer version.
    pub fn variable(&self, id: VariableId) -> Option<&Variable> {
        self.variables.get(usize::from(id.0))
    }

    pub fn by_code(&self, code: &str) -> Option<VariableId> {
        self.by_code.get(code).copied()
    }

    /// The variable with this LOINC code.
    pub fn by_loinc(&self, loinc: &str) -> Option<VariableId> {
        self.by_loinc.get(loinc).copied()
    }

    /// The variable charted under this MIMIC item id.
    pub fn by_mimic_item(&self, itemid: u32) -> Option<VariableId> {
        self.by_item.get(&itemid).map(|item| item.variable)
    }

    /// The item with its label and the unit that it means where the file declares none.
    pub fn item(&self, itemid: u32) -> Option<&Item> {
        self.by_item.get(&itemid)
    }

    /// The variable whose analyte this LOINC code measures in a specimen that must not be used,
    /// such as urine: reject it as `wrong_specimen` rather than `unmapped_code`.
    pub fn refused_loinc(&self, loinc: &str) -> Option<VariableId> {
        self.refused_loinc.get(loinc).copied()
    }

    /// As [`Dictionary::refused_loinc`], for items of the other profile.
    pub fn refused_item(&self, itemid: u32) -> Option<VariableId> {
        self.refused_items.get(&itemid).copied()
    }

    /// Age and sex.
    pub fn statics(&self) -> &StaticRules {
        &self.statics
    }
}

impl Variable {
    /// The name for people: the benchmark's columns misspell Glasgow.
    pub fn label(&self) -> String {
        self.name.replace("Glascow", "Glasgow")
    }

    /// The category text of a value, `None` for a numeric variable or an index out of range.
    pub fn category(&self, value: f64) -> Option<&str> {
        let Kind::Categorical { categories, .. } = &self.kind else { return None };
        let index = (value >= 0.0 && value.fract() == 0.0).then_some(value as usize)?;
        categories.get(index).map(String::as_str)
    }

    /// What the model sees of a value: held inside the clamp.
    pub fn clamped(&self, value: f64) -> f64 {
        match self.kind {
            Kind::Numeric { clamp, .. } => value.clamp(clamp.0, clamp.1),
            Kind::Categorical { .. } => value,
        }
    }

    /// Canonical UCUM spelling of an accepted unit.
    pub fn ucum(&self, spelling: &str) -> Option<&str> {
        self.unit_index(spelling).map(|i| self.units[i].ucum.as_str())
    }

    /// The unit that a number without one is read in.
    pub fn bare_unit(&self, value: f64) -> &str {
        let unit = self.by_size.as_ref().and_then(|by| self.units.get(by.unit(value)));
        unit.map_or(self.unit.as_str(), |unit| unit.ucum.as_str())
    }

    /// UCUM units that observations of this variable may be declared in.
    pub fn units(&self) -> impl Iterator<Item = &str> {
        self.units.iter().map(|unit| unit.ucum.as_str())
    }

    /// Converts from an accepted unit to the canonical one, without judging the result.
    pub fn convert(&self, value: f64, unit: &str) -> Option<f64> {
        self.unit_index(unit).map(|i| self.units[i].canonical(value))
    }

    fn unit_index(&self, spelling: &str) -> Option<usize> {
        let spelling = spelling.trim();
        let same = |text: &String| text.eq_ignore_ascii_case(spelling);
        self.units.iter().position(|unit| same(&unit.ucum) || unit.also.iter().any(same))
    }
}

impl Unit {
    fn canonical(&self, value: f64) -> f64 {
        (value + self.offset) * self.factor
    }
}
