//! One measured value of one variable.

use serde::{Deserialize, Serialize};

use crate::ids::VariableId;

/// A value in the dictionary's canonical unit; for a categorical variable the index of its
/// category. Finite; made by [`super::dictionary::Dictionary::observe`] it is in range too.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Observation {
    variable: VariableId,
    value: f64,
}

/// A value as its sender wrote it, before units, categories and ranges are checked.
#[derive(Clone, Debug, PartialEq)]
pub enum RawValue {
    Number(f64),
    Text(String),
}

impl Observation {
    /// `None` unless finite. Ranges and units are the dictionary's business: see
    /// [`super::dictionary::Dictionary::observe`].
    pub fn new(variable: VariableId, value: f64) -> Option<Self> {
        value.is_finite().then_some(Observation { variable, value })
    }

    pub fn variable(self) -> VariableId {
        self.variable
    }

    /// Canonical unit, or category index.
    pub fn value(self) -> f64 {
        self.value
    }
}
