//! Calibration: what weighted training does to probabilities, undone on validation windows, with
//! the covariance that an interval needs; at the end of a training, or later for a model that
//! exists.

use std::path::Path;

use burn::tensor::Device;
use serde::Serialize;

use super::fusion::{self, Latent, Whose, Windows};
use super::ldm::{Conditions, Generator};
use super::sample::Samples;
use super::{TrainError, score, vae};
use crate::model::config::Task;
use crate::model::{Artifact, Calibration, Recalibration};
use crate::model::{DdlCxrConfig, Fusion};

/// The card's section on the calibration begins so, and ends with the card.
const SECTION: &str = "## Calibration\n";

/// What a refit found.
#[derive(Clone, Debug, Serialize)]
pub struct Recalibrated {
    pub windows: usize,
    pub stays: usize,
    /// Windows of stays that ended in death.
    pub deaths: usize,
    pub mortality_before: Recalibration,
    pub mortality: Recalibration,
    /// Mean logarithmic loss of the mortality probabilities on these windows, before and after.
    pub log_loss: [f64; 2],
    /// The model's digest afterwards, in hexadecimal.
    pub digest: String,
}

/// Fits a and b of each output by the greatest likelihood on the windows with a film, and their
/// covariance over stays.
pub(super) fn fit(
    config: &DdlCxrConfig,
    windows: &Windows<'_>,
    [mortality, phenotype]: [&Fusion; 2],
    whose: &str,
    device: &Device,
) -> Result<Calibration, TrainError> {
    let picked = windows.filmed(|_| true);
    let stays: Vec<u64> = picked.iter().map(|&i| windows.samples.windows[i].stay).collect();
    let fit = |model, task: Task| -> Result<Vec<Recalibration>, TrainError> {
        let logits = windows.logits(model, config, task, &picked, Latent::Generated, device)?;
        Ok((0..task.outputs())
            .map(|k| {
                let scores: Vec<f32> =
                    logits.iter().skip(k).step_by(task.outputs()).copied().collect();
                let truth = truth(windows, &picked, task, k);
                let (a, b) = score::platt(&scores, &truth);
                let covariance = score::clustered_covariance(&scores, &truth, &stays, (a, b));
                Recalibration { a, b, covariance }
            })
            .collect())
    };
    let mortality = fit(mortality, Task::Mortality)?;
    Ok(Calibration {
        fitted_on: format!("{} validation windows of {whose}", picked.len()),
        mortality: mortality.first().copied().unwrap_or(Recalibration::IDENTITY),
        phenotypes: fit(phenotype, Task::Phenotype)?,
    })
}

fn truth(windows: &Windows<'_>, picked: &[usize], task: Task, output: usize) -> Vec<bool> {
    let target = |&i: &usize| fusion::targets(&windows.samples.windows[i], task)[output];
    picked.iter().map(target).collect()
}

/// Fits the calibration of the model in `dir` anew on `samples` (as they come, not normalised),
/// and writes the model back with a section of its card that says so. The networks stay as they
/// are. `whose` names the data, `command` is what a reader would repeat.
///
/// # Errors
/// [`TrainError::TooFew`] without a window with a film or with one outcome only,
/// [`TrainError::Artifact`] when the model cannot be read or written.
pub fn recalibrate(
    dir: &Path,
    mut samples: Samples,
    whose: &str,
    command: &str,
) -> Result<Recalibrated, TrainError> {
    let device = Device::flex();
    let model = Artifact::load(dir, &device)?;
    samples.normalise(&model.normalisers.ldm, &model.normalisers.prediction);
    let networks = &model.networks;
    let mut latents = vae::encode(&networks.vae, &model.config, &samples.films, &device)?;
    let scale = model.config.diffusion.scale_factor as f32;
    latents.iter_mut().flatten().for_each(|x| *x *= scale);
    let generator = Generator {
        config: &model.config,
        unet: &networks.unet,
        ehr: &networks.ehr,
        noise: &model.noise,
        conditions: Conditions::ALL,
        device: &device,
    };
    let windows = Windows::new(&samples, &latents, &generator, Whose::Own)?;
    let picked = windows.filmed(|_| true);
    let died = truth(&windows, &picked, Task::Mortality, 0);
    let deaths = died.iter().filter(|&&died| died).count();
    if deaths == 0 || deaths == died.len() {
        return Err(TrainError::TooFew(
            "the validation windows with a film all ended the same way",
        ));
    }
    let fusions = [&networks.fusion_mortality, &networks.fusion_phenotype];
    let calibration = fit(&model.config, &windows, fusions, whose, &device)?;
    let fusion = &networks.fusion_mortality;
    let logits = windows.logits(
        fusion,
        &model.config,
        Task::Mortality,
        &picked,
        Latent::Generated,
        &device,
    )?;
    let (before, after) = (model.calibration.mortality, calibration.mortality);
    let mut stays: Vec<u64> = picked.iter().map(|&i| samples.windows[i].stay).collect();
    stays.dedup();
    let mut found = Recalibrated {
        windows: picked.len(),
        stays: stays.len(),
        deaths,
        mortality_before: before,
        mortality: after,
        log_loss: [before, after].map(|map| log_loss(map, &logits, &died)),
        digest: String::new(),
    };
    let card = with_section(&model.card, &found, whose, command);
    found.digest = Artifact::replace_calibration(dir, &calibration, &card)?.to_string();
    Ok(found)
}

fn log_loss(map: Recalibration, logits: &[f32], died: &[bool]) -> f64 {
    score::mean(logits.iter().zip(died).map(|(&logit, &died)| {
        let p = f64::from(map.probability(logit)).clamp(1e-7, 1.0 - 1e-7);
        if died { -p.ln() } else { -(1.0 - p).ln() }
    }))
}

/// The card with its section on the calibration replaced, or added.
fn with_section(card: &str, found: &Recalibrated, whose: &str, command: &str) -> String {
    let before = card.split(SECTION).next().unwrap_or_default().trim_end();
    let Recalibration { a, b, covariance } = found.mortality;
    let spread = match covariance {
        Some([[aa, ab], [_, bb]]) => format!(
            "Standard errors over stays (sandwich, stays as clusters): a {:.3}, b {:.3}, \
             correlation {:.2}. They describe the spread of the calibration only, not that of the \
             networks' weights.",
            aa.sqrt(),
            bb.sqrt(),
            ab / (aa * bb).sqrt()
        ),
        None => "There were too few stays for standard errors.".to_owned(),
    };
    format!(
        "{before}\n\n{SECTION}\n```\n{command}\n```\n\nThe probability of death is \
         1 / (1 + exp(−(a x + b))) of the logit x, with a = {a:.4} and b = {b:.4}, fitted on {} \
         windows of {} stays of {whose} ({} windows of stays that ended in death), none of them \
         trained on. {spread} Each phenotype has its own a and b, fitted on the same windows.\n",
        found.windows, found.stays, found.deaths
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::dataset;

    #[test]
    fn a_refit_changes_the_calibration_only_and_tells_of_it() {
        let dir = tempfile::tempdir().unwrap();
        let model = crate::model::artifact::tests::random(3);
        model.save(dir.path()).unwrap();
        let (seed, patients) = (12, 120);
        let samples = dataset::validation_of_ward(seed, patients, &mut |_, _| {}).unwrap();
        let found = recalibrate(dir.path(), samples.clone(), "a test", "the command").unwrap();
        assert!(found.log_loss[1] <= found.log_loss[0] + 1e-9, "{:?}", found.log_loss);
        let after = Artifact::load(dir.path(), &Device::flex()).unwrap();
        assert_eq!(after.digest().to_string(), found.digest);
        assert_ne!(after.digest(), model.digest());
        // Numbers read back from JSON may differ in the last bit.
        let (said, read) = (found.mortality, after.calibration.mortality);
        assert!((said.a - read.a).abs() < 1e-12 && (said.b - read.b).abs() < 1e-12);
        assert!(said.covariance.is_some() && read.covariance.is_some());
        let tensors = crate::model::weights::tensors_of;
        assert_eq!(tensors(&after.networks), tensors(&model.networks));
        assert!(after.card.contains("the command") && after.card.contains("Standard errors"));
        // A second refit on the same data finds the same, and the card does not grow.
        let again = recalibrate(dir.path(), samples, "a test", "the command").unwrap();
        assert_eq!(again.digest, found.digest);
        let twice = Artifact::load(dir.path(), &Device::flex()).unwrap();
        assert_eq!(twice.card, after.card);
    }

    #[test]
    fn nothing_is_fitted_without_both_outcomes() {
        let dir = tempfile::tempdir().unwrap();
        crate::model::artifact::tests::random(3).save(dir.path()).unwrap();
        let refused = recalibrate(dir.path(), Samples::default(), "a test", "");
        assert!(matches!(refused, Err(TrainError::TooFew(_))));
    }
}
