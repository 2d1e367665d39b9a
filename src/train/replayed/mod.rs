//! Data sets by replay: the recording runs through the one loop, and what the engine would ask
//! the model is written down. So what a sample may use is what was available then, by the code
//! that serves, and training and serving cannot differ.
//!
//! Two passes are made. In the first a film counts from the moment it was taken, and every film
//! closes a window: its rows are what was known when the later film of a pair was taken. In the
//! second everything is as it is served: a window's last film is the last one that had arrived.
//! Labels are read beside the engine, from the files that hold them.

mod collect;
mod pass;
mod phenotypes;
mod source;
mod truth;

use std::io::BufRead as _;
use std::path::{Path, PathBuf};

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::TrainError;
use super::sample::Splits;
use super::store::{Refusal, SampleFile, SampleWriter};
use crate::config::{EngineConfig, signals};
use crate::event::dictionary::{Dictionary, Profile};
use crate::ids::Digest;
use crate::replay::mimic::table::find;
use crate::replay::{Cohort, ItemFilter, ReplayConfig, ReplaySource};
use crate::time::Span;
use collect::Collector;
pub(crate) use phenotypes::Phenotypes;
use truth::Truth;

/// The published landmark, in hours: every stay that reaches it has a window there.
pub const LANDMARK_H: i64 = 48;
/// In the first pass windows close so often besides those of films, so that no row is missed.
const SWEEP: Span = Span::hours(12);
/// The first window of the first pass: it shows the last film from before admission.
const AT_ONCE: Span = Span::from_millis(1);
/// Changes when the same data and settings give other samples than before.
const SAMPLES_VERSION: u32 = 2;

/// Which stays of a recording are used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CohortRule {
    /// Every stay.
    All,
    /// With an AP film from 24 h before to 48 h after admission.
    #[default]
    Film,
    /// As published (`reference/ddl-cxr.md` 1.2 and 1.3): also adult, longer than 48 h, one care
    /// unit, the only such stay of its admission.
    Paper,
}

/// How samples are made of a recording.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataConfig {
    pub cohort: CohortRule,
    /// Hours after admission at which windows are drawn, besides 48.
    pub window_hours: Vec<i64>,
    /// Windows drawn of each stay, besides that at 48 h; 0 for the published landmark alone.
    pub windows_per_stay: usize,
    /// Pairs kept of one stay, spread evenly; 0 keeps all, as published.
    pub pairs_per_stay: usize,
    /// A pair's films lie farther apart than this.
    pub pair_gap_min_h: i64,
    /// The generation's encoder has positions for 70 h.
    pub pair_gap_max_h: i64,
    /// Hours with an observation that a pair's EHR must have.
    pub pair_bins_min: usize,
    /// Shares of the patients, drawn by the seed.
    pub validate_share: f64,
    pub test_share: f64,
    /// A list of splits instead: lines `id,train|validate|test` under a header `stay_id,split` or
    /// `subject_id,split`. What it does not name is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub splits: Option<PathBuf>,
    /// Of the splits and of the windows' hours.
    pub seed: u64,
}

/// A recording to learn from.
#[derive(Clone, Debug)]
pub struct Recording {
    pub replay: ReplayConfig,
    pub profile: Profile,
    pub data: DataConfig,
}

/// How the samples were come by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// An earlier run had made them of the same data and settings.
    Reused,
    Made,
    /// An earlier run's could not be used, for this reason.
    Remade(String),
}

impl Default for DataConfig {
    fn default() -> Self {
        DataConfig {
            cohort: CohortRule::Film,
            window_hours: vec![6, 12, 18, 24, 36, 60, 72, 96, 120],
            windows_per_stay: 4,
            pairs_per_stay: 12,
            pair_gap_min_h: 12,
            pair_gap_max_h: 70,
            pair_bins_min: 6,
            validate_share: 0.8 / 7.0,
            test_share: 0.2,
            splits: None,
            seed: 1,
        }
    }
}

impl DataConfig {
    /// What cannot be meant, in words that say what to do.
    pub fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let shares = [self.validate_share, self.test_share];
        if shares.iter().any(|share| !(0.0..1.0).contains(share)) || shares[0] + shares[1] >= 1.0 {
            problems.push("the shares must be at least 0 and together below 1".to_owned());
        }
        if self.window_hours.iter().any(|hour| !(1..=24 * 90).contains(hour)) {
            problems.push("window_hours must lie between 1 and 2160".to_owned());
        }
        if !(0..=70).contains(&self.pair_gap_min_h) || !(1..=70).contains(&self.pair_gap_max_h) {
            problems.push("a pair's gap must lie between 0 and 70 h".to_owned());
        }
        problems
    }
}

/// The hours at which a stay has windows: some drawn by seed and stay, and 48 always.
pub(super) fn window_hours(config: &DataConfig, stay: u64) -> Vec<i64> {
    let mut rng = ChaCha8Rng::seed_from_u64(stay ^ config.seed.rotate_left(32));
    let mut hours = config.window_hours.clone();
    hours.retain(|&hour| hour != LANDMARK_H);
    while hours.len() > config.windows_per_stay {
        hours.remove(rng.random_range(0..hours.len()));
    }
    hours.push(LANDMARK_H);
    hours.sort_unstable();
    hours.dedup();
    hours
}

/// The samples of a recording: from the file at `path` if it was made of the same data by the same
/// settings and is whole, else made now and written there.
///
/// `report` is told how many bytes of how many were read, twice over.
///
/// # Errors
/// [`TrainError::Data`] when the recording cannot be read, [`TrainError::Write`] for the file.
pub fn samples(
    recording: &Recording,
    path: &Path,
    report: &mut dyn FnMut(u64, u64),
) -> Result<(Splits, Origin), TrainError> {
    let problems = recording.data.problems();
    if !problems.is_empty() {
        return Err(TrainError::Data(problems.join("; ")));
    }
    let key = key(recording)?;
    let why = match SampleFile::open(path, key) {
        Ok(splits) => return Ok((splits, Origin::Reused)),
        Err(Refusal::Absent) => None,
        Err(Refusal::Other) => Some("it was made from other data or settings".to_owned()),
        Err(Refusal::Damaged(why)) => Some(format!("it is damaged: {why}")),
    };
    make(recording, path, key, report)?;
    match SampleFile::open(path, key) {
        Ok(splits) => Ok((splits, why.map_or(Origin::Made, Origin::Remade))),
        Err(refusal) => Err(TrainError::Samples {
            path: path.display().to_string(),
            fault: format!("it was just written and cannot be read: {refusal:?}"),
        }),
    }
}

fn make(
    recording: &Recording,
    path: &Path,
    key: Digest,
    report: &mut dyn FnMut(u64, u64),
) -> Result<(), TrainError> {
    let said = |error: &dyn std::fmt::Display| TrainError::Data(error.to_string());
    let dictionary = Dictionary::builtin(recording.profile).map_err(|error| said(&error))?;
    let items = ItemFilter::of(&dictionary);
    let mut open = |replay: &ReplayConfig, before: u64| {
        ReplaySource::open(replay, &items, &mut |at| {
            report(before * at.bytes_in_all + at.bytes_read_in_all, 2 * at.bytes_in_all);
        })
        .map_err(|error| said(&error))
    };
    let served = replay_of(recording);
    let taken = ReplayConfig { cxr_lag: Span::ZERO, cxr_jitter: Span::ZERO, ..served.clone() };
    let source = open(&taken, 0)?;
    let truth = Truth::read(&source, &recording.data)?;
    let out = SampleWriter::create(path, key)?;
    let mut collector = Collector::new(&truth, &recording.data, &dictionary, out);
    pass::drive(source, &taken, &film_windows(recording.profile), &dictionary, &mut |it| {
        collector.film(it)
    })?;
    collector.end_films()?;
    let source = open(&served, 1)?;
    let engine = served_windows(recording);
    pass::drive(source, &served, &engine, &dictionary, &mut |it| collector.window(it))?;
    if collector.pairs_left_out > 0 {
        tracing::warn!(pairs = collector.pairs_left_out, "pairs of very long stays were left out");
    }
    collector.finish()
}

/// The recording's replay with the conditions of the cohort that a replay can apply itself.
fn replay_of(recording: &Recording) -> ReplayConfig {
    let rule = recording.data.cohort;
    let replay = recording.replay.clone();
    let with_film = rule != CohortRule::All && replay.mimic_cxr.is_some();
    let min_stay = match rule {
        CohortRule::Paper => Some(Span::hours(48)),
        _ => replay.cohort.min_stay,
    };
    let cohort = Cohort { with_film, min_stay, ..replay.cohort.clone() };
    ReplayConfig { cohort, ..replay }
}

/// A window for every film, and some in between.
fn film_windows(profile: Profile) -> EngineConfig {
    EngineConfig {
        signals: signals(profile),
        every: Some(SWEEP),
        landmarks: vec![AT_ONCE],
        on_film: true,
        ..EngineConfig::default()
    }
}

/// Windows at the hours that any stay may have. What is in a window does not depend on which
/// others there are.
fn served_windows(recording: &Recording) -> EngineConfig {
    let hours = recording.data.window_hours.iter().copied().chain([LANDMARK_H]);
    EngineConfig {
        every: None,
        landmarks: hours.map(Span::hours).collect(),
        signals: signals(recording.profile),
        on_film: false,
        ..EngineConfig::default()
    }
}

/// Digest of whatever the samples depend on: the settings, the tables of stays and labels whole,
/// and the names and lengths of the large tables.
fn key(recording: &Recording) -> Result<Digest, TrainError> {
    let replay = replay_of(recording);
    let data = serde_json::to_string(&recording.data)
        .map_err(|error| TrainError::Data(error.to_string()))?;
    let profile = recording.profile;
    let mut text = format!("{SAMPLES_VERSION} {} {profile:?} {data}\n", replay.digest());
    let dictionary = Dictionary::builtin(profile).map_err(|e| TrainError::Data(e.to_string()))?;
    text.push_str(&format!("{:?}\n", Digest::of(format!("{dictionary:?}").as_bytes())));
    let listed = [&recording.data.splits, &replay.cohort.stays_file];
    for path in listed.into_iter().flatten() {
        text.push_str(&contents(path));
    }
    let iv = Some(replay.mimic_iv.as_path());
    let cxr = replay.mimic_cxr.as_deref();
    let whole = [
        (iv, "hosp/patients"),
        (iv, "hosp/admissions"),
        (iv, "hosp/diagnoses_icd"),
        (iv, "icu/icustays"),
        (cxr, "mimic-cxr-2.0.0-metadata"),
        (cxr, "mimic-cxr-2.0.0-chexpert"),
    ];
    for (root, table) in whole {
        let path = root.and_then(|root| find(root, table).ok());
        text.push_str(&format!("{table} {}\n", path.map_or(String::new(), |p| contents(&p))));
    }
    for table in ["hosp/labevents", "icu/chartevents", "hosp/transfers"] {
        let length = iv.and_then(|root| find(root, table).ok());
        let length = length.and_then(|path| std::fs::metadata(path).ok()).map(|meta| meta.len());
        text.push_str(&format!("{table} {length:?}\n"));
    }
    Ok(Digest::of(text.as_bytes()))
}

/// Digest of a file's bytes, read a piece at a time; nothing for one that cannot be read, which
/// the replay will complain of.
fn contents(path: &Path) -> String {
    let digest = || -> std::io::Result<String> {
        let mut file = std::io::BufReader::with_capacity(1 << 16, std::fs::File::open(path)?);
        let mut hash = Sha256::new();
        loop {
            let piece = file.fill_buf()?;
            if piece.is_empty() {
                return Ok(Digest(hash.finalize().into()).to_string());
            }
            hash.update(piece);
            let n = piece.len();
            file.consume(n);
        }
    };
    digest().unwrap_or_default()
}

#[cfg(test)]
mod tests;
