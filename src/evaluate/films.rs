//! The quality of generated films: how they lie to real ones as a set, whether the chest in them is
//! the patient's own, whether they follow the EHR, and, where a synthetic ward knows the truth, how
//! near they come to the film that would have been taken.
//!
//! Everything is set beside the last film carried forward, as the autoencoder shows it: what both
//! lose is the autoencoder's, what the generated film loses more is the generation's.

use serde::Serialize;

use super::figures::Figure;
use super::look::{Look, look};
use super::oracle::Oracle;
use super::signatures::{Signature, signatures};
use super::team::{Open, shared};
use super::truth::{AgainstTruth, against_truth};
use super::windows::GivenWindow;
use super::{EvaluateError, EvaluateOptions};
use crate::metrics::{Features, Patients, Undefined, frechet_distance, mean_wasserstein};
use crate::predict::Pipeline;
use crate::train::symptoms::OVERLAP_LEAST;

/// All figures.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FilmQuality {
    pub model: String,
    pub model_digest: String,
    pub windows: usize,
    pub stays: usize,
    pub sets: SetDistances,
    /// Dice overlap of the lung fields of the generated film with those of the last one.
    pub lung_overlap: Figure,
    /// Windows whose lung fields overlap by less than 0.8.
    pub lungs_lost: Figure,
    /// Squared steps between neighbouring pixels, of those of the last film.
    pub sharpness: Figure,
    /// Change of the latent when the EHR is another stay's, of the latent's own size.
    pub ehr_effect: Figure,
    /// Change of the latent from the last film's.
    pub change: Figure,
    /// Step of the latent from a window to the stay's next with the same last film.
    pub step: Figure,
    /// Only on a synthetic ward.
    pub truth: Option<AgainstTruth>,
    pub signatures: Vec<Signature>,
}

/// How far generated and carried films lie from real ones as sets of feature vectors.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SetDistances {
    /// Of the features; without it the figures mean nothing.
    pub extractor: String,
    /// How many they are of each film.
    pub features: usize,
    pub real: String,
    pub real_films: usize,
    /// Fréchet distance of the fitted Gaussians (FD).
    pub generated_frechet: Option<f64>,
    pub carried_frechet: Option<f64>,
    /// Mean of the one-dimensional Wasserstein distances (WD).
    pub generated_wasserstein: Option<f64>,
    pub carried_wasserstein: Option<f64>,
}

/// Measures the films of `windows`, with networks that `open` opens for each thread. `died` says
/// what became of a stay.
///
/// # Errors
/// [`EvaluateError::Model`] if the networks cannot be opened, [`EvaluateError::Nothing`] if no
/// window gave a film.
pub fn film_quality(
    windows: &[GivenWindow],
    oracle: Option<&Oracle>,
    died: &[Option<bool>],
    open: &Open<'_>,
    options: EvaluateOptions,
    report: &mut dyn FnMut(u64, u64),
) -> Result<FilmQuality, EvaluateError> {
    let work = |pipeline: &mut Pipeline, i: usize| look(pipeline, windows, i, oracle);
    let mut looks = shared(windows.len(), open, &work, report)?;
    for one in &mut looks {
        one.died = died.get(one.window).copied().flatten();
    }
    if looks.is_empty() {
        let why = "the model drew no film of any window; try another model";
        return Err(EvaluateError::Nothing(why.to_owned()));
    }
    let pipeline = open().map_err(EvaluateError::Model)?;
    let (about, digest) = (&pipeline.model().about, pipeline.model().digest());
    let names = [format!("{} {}", about.name, about.version), digest.to_string()];
    quality(&looks, names, oracle.is_some(), options)
}

/// The figures of what was seen; `model` is its name and digest.
pub(super) fn quality(
    looks: &[Look],
    [model, model_digest]: [String; 2],
    synthetic: bool,
    options: EvaluateOptions,
) -> Result<FilmQuality, EvaluateError> {
    let drawn = patients(looks, options)?;
    let mean = |of: &dyn Fn(&Look) -> Option<f64>| mean_of(&drawn, looks, of);
    let truth = match synthetic {
        true => against_truth(looks, options)?,
        false => None,
    };
    let mut quality = FilmQuality {
        model,
        model_digest,
        windows: looks.len(),
        stays: drawn.len(),
        sets: set_distances(looks, synthetic),
        lung_overlap: mean(&|one| Some(one.lung_overlap)),
        lungs_lost: mean(&|one| Some(f64::from(u8::from(one.lung_overlap < OVERLAP_LEAST)))),
        sharpness: mean(&|one| Some(one.sharpness)),
        ehr_effect: mean(&|one| one.ehr_effect),
        change: mean(&|one| Some(one.change)),
        step: mean(&|one| one.step),
        truth,
        signatures: Vec::new(),
    };
    quality.signatures = signatures(&quality);
    Ok(quality)
}

/// The windows by stay, each window weighing the same.
pub(super) fn patients(looks: &[Look], options: EvaluateOptions) -> Result<Patients, Undefined> {
    let ids: Vec<u64> = looks.iter().map(|one| one.stay.0).collect();
    Patients::new(&ids, vec![1.0; looks.len()], options.replicates, options.seed)
}

/// The mean of what is known, with its interval over stays.
pub(super) fn mean_of(
    drawn: &Patients,
    looks: &[Look],
    of: &dyn Fn(&Look) -> Option<f64>,
) -> Figure {
    let values: Vec<Option<f64>> = looks.iter().map(of).collect();
    let mean = |weights: &[f64]| {
        let known = values.iter().zip(weights).filter_map(|(value, w)| Some(((*value)?, *w)));
        let (sum, all) = known.fold((0.0, 0.0), |(sum, all), (v, w)| (sum + v * w, all + w));
        if all > 0.0 { Ok(sum / all) } else { Err(Undefined::Empty) }
    };
    drawn.estimate(mean).into()
}

fn set_distances(looks: &[Look], synthetic: bool) -> SetDistances {
    let rows = |of: &dyn Fn(&Look) -> &[f64]| -> (Vec<f64>, usize) {
        let all: Vec<&[f64]> = looks.iter().map(of).filter(|row| !row.is_empty()).collect();
        (all.concat(), all.first().map_or(0, |row| row.len()))
    };
    let (real, width) = rows(&|one| &one.real_features);
    let (generated, _) = rows(&|one| &one.generated.features);
    let (carried, _) = rows(&|one| &one.carried.features);
    let apart =
        |values: &[f64], measure: fn(Features<'_>, Features<'_>) -> Result<f64, Undefined>| {
            measure(Features::new(values, width).ok()?, Features::new(&real, width).ok()?).ok()
        };
    let real_name = match synthetic {
        true => "the oracle's films of the same moments",
        false => "the last films of the same windows, as they were taken",
    };
    SetDistances {
        extractor: format!(
            "the image branch of the evaluated model's own mortality network, {width} features"
        ),
        features: width,
        real: real_name.to_owned(),
        real_films: real.len().checked_div(width).unwrap_or(0),
        generated_frechet: apart(&generated, frechet_distance),
        carried_frechet: apart(&carried, frechet_distance),
        generated_wasserstein: apart(&generated, mean_wasserstein),
        carried_wasserstein: apart(&carried, mean_wasserstein),
    }
}
