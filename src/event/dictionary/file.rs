//! What `schemas/variables.toml` may say, key for key. Unknown keys are refused, so that a
//! misspelt one cannot silently change what a model sees. Meaning is checked in `check`.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::Profile;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    pub(super) version: u32,
    /// Width of the hourly grid; 79, which the DDL-CXR models read, if not given.
    pub(super) columns: Option<usize>,
    pub(super) variable: Vec<Entry>,
    pub(super) sex: SexEntry,
    pub(super) age: AgeEntry,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Entry {
    pub(super) code: String,
    pub(super) name: String,
    pub(super) channel: Option<usize>,
    #[serde(default = "yes")]
    pub(super) trained: bool,
    pub(super) kind: KindEntry,
    pub(super) loinc: Vec<String>,
    #[serde(default)]
    pub(super) refused_loinc: Vec<String>,
    pub(super) unit: String,
    #[serde(default)]
    pub(super) units: Vec<UnitEntry>,
    pub(super) plausible: Option<[f64; 2]>,
    pub(super) clamp: Option<[f64; 2]>,
    pub(super) normal: NormalEntry,
    pub(super) pair: Option<PairHalf>,
    pub(super) by_size: Option<BySizeEntry>,
    #[serde(default)]
    pub(super) categories: Vec<String>,
    #[serde(default)]
    pub(super) scores: BTreeMap<String, String>,
    pub(super) cut: Option<CutEntry>,
    pub(super) stuck: Option<StuckEntry>,
    pub(super) max_change: Option<f64>,
    pub(super) copied_within: Option<f64>,
    #[serde(default)]
    pub(super) items: Vec<ItemEntry>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum KindEntry {
    Numeric,
    Categorical,
}

/// Which half of a blood pressure written "120/80" is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum PairHalf {
    First,
    Second,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum NormalEntry {
    Number(f64),
    Text(String),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct UnitEntry {
    pub(super) ucum: String,
    #[serde(default)]
    pub(super) also: Vec<String>,
    #[serde(default = "one")]
    pub(super) factor: f64,
    #[serde(default)]
    pub(super) offset: f64,
    pub(super) reference_factor: Option<f64>,
    pub(super) plausible: Option<[f64; 2]>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct BySizeEntry {
    pub(super) limit: f64,
    pub(super) upto: String,
    pub(super) above: String,
    #[serde(default)]
    pub(super) rereads: Vec<String>,
    pub(super) reference_text: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CutEntry {
    pub(super) unit: String,
    pub(super) limit: f64,
    pub(super) then: String,
    pub(super) otherwise: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct StuckEntry {
    pub(super) times: usize,
    pub(super) hours: f64,
    pub(super) below: Option<f64>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ItemEntry {
    pub(super) id: u32,
    pub(super) label: String,
    pub(super) unit: Option<String>,
    pub(super) profile: Option<Profile>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SexEntry {
    pub(super) loinc: Vec<String>,
    pub(super) categories: Vec<String>,
    pub(super) normal: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AgeEntry {
    pub(super) loinc: Vec<String>,
    pub(super) unit: String,
    pub(super) plausible: [f64; 2],
    pub(super) clamp: [f64; 2],
    pub(super) normal: f64,
}

fn yes() -> bool {
    true
}

fn one() -> f64 {
    1.0
}
