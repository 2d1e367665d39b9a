//! The dictionary of variables, read from `schemas/variables.toml`: codes, units, ranges, clamps
//! and categories are data, so adding a variable is an edit of that file.

use thiserror::Error;

use super::{Observation, RawValue, Rejection};
use crate::ids::VariableId;

/// Which input the model gets (`reference/clinical.md` 0.8).
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Profile {
    /// Live default: declared units, blood specimens only.
    Clinical,
    /// Reproduces the published 79-column input exactly.
    Reference,
}

#[derive(Debug, Error)]
#[error("schemas/variables.toml: {0}")]
pub struct DictionaryError(pub String);

/// All variables, in the order of the grid's channels.
#[derive(Clone, Debug)]
pub struct Dictionary {
    pub profile: Profile,
}

impl Dictionary {
    /// The dictionary shipped with this version.
    pub fn builtin(profile: Profile) -> Result<Self, DictionaryError> {
        Ok(Dictionary { profile })
    }

    /// The variable with this LOINC code.
    pub fn by_loinc(&self, _loinc: &str) -> Option<VariableId> {
        None
    }

    /// The variable charted under this MIMIC item id.
    pub fn by_mimic_item(&self, _itemid: u32) -> Option<VariableId> {
        None
    }

    /// A checked observation in canonical units, or why there is none. `unit` is the declared UCUM
    /// unit (or MIMIC's spelling of it); `None` means that the sender declared none.
    pub fn observe(
        &self,
        _variable: VariableId,
        _raw: &RawValue,
        _unit: Option<&str>,
    ) -> Result<Observation, Rejection> {
        Err(Rejection::new(super::Reason::UnmappedCode, ""))
    }
}
