//! What an import took, left and lacked.

use std::path::{Path, PathBuf};

use serde::Serialize;

/// Where the starting noise comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Noise {
    Seed(u64),
    /// A file with the tensor `x_T`, or with one tensor only.
    File(PathBuf),
}

/// One checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SourceReport {
    /// Without its folders.
    pub file: String,
    pub sha256: String,
    pub stage: String,
    /// Tensors in the file.
    pub tensors: usize,
    pub used: usize,
    /// Of those used, moving averages that stand for a parameter.
    pub averages: usize,
    /// Names of tensors that the model does not need.
    pub unused: Vec<String>,
    /// Entries that are no tensors, such as the optimiser's state; none was looked into.
    pub others: Vec<String>,
}

/// The whole import.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    pub sources: Vec<SourceReport>,
    pub scale_factor: f64,
    pub scale_factor_from: String,
    pub noise: String,
    pub normalisers: String,
    pub remarks: Vec<String>,
    /// Of the model that was made.
    pub digest: String,
}

/// Why the reference saves a tensor that no prediction needs.
const REASONS: [(&str, &str); 8] = [
    ("num_batches_tracked", "counters of batch normalisation"),
    ("mlp_head.", "inner heads that the method never uses"),
    ("pos_weight", "class weights of a loss"),
    ("loss.", "networks of a loss"),
    ("model_ema.", "the average's own counters, and averages of unused parameters"),
    ("alphas_cumprod", "tables of the noise schedule"),
    ("betas", "tables of the noise schedule"),
    ("posterior_", "tables of the noise schedule"),
];

/// Tables whose names have nothing in common with the others.
const TABLES: [&str; 4] =
    ["sqrt_recip_alphas_cumprod", "sqrt_recipm1_alphas_cumprod", "triplet_loss_weight", "logvar"];

impl SourceReport {
    /// Unused tensors counted by reason, unknown ones by name.
    pub fn reasons(&self) -> Vec<(String, usize)> {
        let mut counts: Vec<(String, usize)> = Vec::new();
        for name in &self.unused {
            let known = REASONS.iter().find(|(part, _)| name.contains(part));
            let table = TABLES.contains(&name.as_str());
            let reason = match known {
                Some((_, reason)) => (*reason).to_owned(),
                None if table => "tables of the noise schedule".to_owned(),
                None => name.clone(),
            };
            match counts.iter_mut().find(|(known, _)| *known == reason) {
                Some((_, count)) => *count += 1,
                None => counts.push((reason, 1)),
            }
        }
        counts
    }
}

/// The first entries and how many more there are.
pub fn listed(entries: &[String]) -> String {
    const SHOWN: usize = 8;
    match entries.len() {
        n if n <= SHOWN => entries.join(", "),
        n => format!("{} and {} more", entries[..SHOWN].join(", "), n - SHOWN),
    }
}

/// A file's own name.
pub fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}
