//! How a model is made, as a file. The default stands in `recipe.toml`, with a word about each key;
//! `nowcxr train --print-recipe` prints it.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::TrainError;
use super::learner::Optimiser;
use super::replayed::DataConfig;
use super::stage::Course;
use crate::model::{DdlCxrConfig, Discriminator};

/// The default recipe, commented.
pub const DEFAULT: &str = include_str!("recipe.toml");

/// The recipe of `nowcxr train proof`: what it changes of the default.
pub const PROOF: &str = include_str!("proof.toml");

/// Sizes of the networks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sizes {
    /// For one CPU core.
    Demo,
    /// For the proof: 64 px, several models in hours.
    Proof,
    /// The paper's.
    Full,
}

/// A whole recipe.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    pub sizes: Sizes,
    pub data: DataConfig,
    pub checkpoint: Checkpoints,
    pub vae: StageRecipe<VaeWeights>,
    pub ldm: StageRecipe<LdmWeights>,
    pub reader: StageRecipe<ReaderWeights>,
    pub fusion: StageRecipe<FusionWeights>,
}

/// When states are written.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Checkpoints {
    pub steps: u64,
    pub seconds: f64,
}

/// One stage of a recipe.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StageRecipe<L> {
    pub course: Course,
    pub optimiser: Optimiser,
    pub loss: L,
}

/// Weights of the autoencoder's loss.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VaeWeights {
    pub perceptual: f64,
    pub kl: f64,
    pub findings: f64,
    pub adversarial: f64,
    /// Steps before the discriminator counts.
    pub adversarial_from: u64,
    /// Width of the discriminator's first convolution, and how many halve the side.
    pub discriminator_width: usize,
    pub discriminator_layers: usize,
    pub adaptive_every: u64,
}

/// Weights of the diffusion's loss.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LdmWeights {
    pub contrastive: f64,
    pub ramp: f64,
    pub margin: f64,
    pub perturbation: f64,
    pub auxiliary: f64,
}

/// How the fusion models are taught to see beforehand; off where both weights are 0.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReaderWeights {
    /// Of the findings told from a film's latent.
    pub latent: f64,
    /// Of the findings told from the film itself.
    pub film: f64,
    /// Standard deviation of what is added to the (scaled) latents.
    pub noise: f64,
}

/// How windows are shown to the fusion models, and weighed.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FusionWeights {
    pub without_film: f64,
    pub carried: f64,
    pub max_weight: f64,
    pub select: Select,
}

/// What makes one check on the validation set better than another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Select {
    /// Average precision (macro over the outputs that occur), with the generated latent.
    Auprc,
    /// The weighted cross-entropy over the three ways to show a window: steadier than average
    /// precision where only a few dozen stays ended in death.
    Loss,
}

impl Recipe {
    /// The default with what `text` sets otherwise.
    ///
    /// # Errors
    /// [`TrainError::Recipe`] for text that is no TOML, unknown keys and values out of range.
    pub fn parse(text: &str) -> Result<Self, TrainError> {
        let wrong = |error: toml::de::Error| TrainError::Recipe(error.to_string());
        let mut whole: toml::Table = toml::from_str(DEFAULT).map_err(wrong)?;
        overlay(&mut whole, toml::from_str(text).map_err(wrong)?);
        let recipe: Recipe = whole.try_into().map_err(wrong)?;
        match recipe.problems() {
            problems if problems.is_empty() => Ok(recipe),
            problems => Err(TrainError::Recipe(problems.join("; "))),
        }
    }

    /// The recipe in a file.
    ///
    /// # Errors
    /// As [`Recipe::parse`], and when the file cannot be read.
    pub fn read(path: &Path) -> Result<Self, TrainError> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| TrainError::Recipe(format!("{}: {error}", path.display())))?;
        Recipe::parse(&text)
    }

    pub fn sizes(&self) -> DdlCxrConfig {
        match self.sizes {
            Sizes::Demo => DdlCxrConfig::demo(),
            Sizes::Proof => DdlCxrConfig::proof(),
            Sizes::Full => DdlCxrConfig::full(),
        }
    }

    fn problems(&self) -> Vec<String> {
        let mut problems = self.data.problems();
        let stages = [
            ("vae", self.vae.course, self.vae.optimiser),
            ("ldm", self.ldm.course, self.ldm.optimiser),
            ("reader", self.reader.course, self.reader.optimiser),
            ("fusion", self.fusion.course, self.fusion.optimiser),
        ];
        for (name, course, optimiser) in stages {
            if course.batch == 0 || course.accumulate == 0 {
                problems.push(format!("{name}: batch and accumulate must be at least 1"));
            }
            if course.steps == 0 && !(course.seconds > 0.0 && course.seconds.is_finite()) {
                problems.push(format!("{name}: give steps, or seconds above 0"));
            }
            problems.extend(optimiser_problem(name, &optimiser));
        }
        problems.extend(self.vae.loss.problems(self.sizes().vae.resolution));
        let ReaderWeights { latent, film, noise } = self.reader.loss;
        if [latent, film, noise].iter().any(|weight| !(weight.is_finite() && *weight >= 0.0)) {
            problems.push("reader.loss: give numbers of at least 0".to_owned());
        }
        let reads_findings = self.sizes().fusion_mortality.findings_width.is_some();
        if reads_findings && (latent == 0.0 || film == 0.0) {
            problems.push(
                "reader.loss: fusion models of these sizes are shown findings, which nothing else \
                 teaches to read; set latent and film above 0"
                    .to_owned(),
            );
        }
        let FusionWeights { without_film, carried, max_weight, .. } = self.fusion.loss;
        let shown = [without_film, carried].iter().all(|share| (0.0..=1.0).contains(share));
        if !shown || max_weight < 1.0 {
            problems.push(
                "fusion: without_film and carried must be shares, max_weight at least 1".to_owned(),
            );
        }
        problems
    }
}

impl ReaderWeights {
    /// Whether anything is taught beforehand.
    pub(super) fn is_on(&self) -> bool {
        self.latent > 0.0 || self.film > 0.0
    }
}

impl VaeWeights {
    /// What is wrong for films of `side` pixels.
    fn problems(&self, side: usize) -> Vec<String> {
        let mut problems = Vec::new();
        let weights = [self.perceptual, self.kl, self.findings, self.adversarial];
        if weights.iter().any(|weight| !(weight.is_finite() && *weight >= 0.0)) {
            problems.push("vae.loss: weights must be numbers of at least 0".to_owned());
        }
        let least = Discriminator::side_least(self.discriminator_layers);
        if self.adversarial > 0.0 && (self.discriminator_width == 0 || side < least) {
            problems.push(format!(
                "vae.loss: the discriminator needs a width of at least 1 and, with {} layers, \
                 films of {least} pixels; these have {side}",
                self.discriminator_layers
            ));
        }
        problems
    }
}

/// What is wrong with an optimiser, behind the name of its part.
pub(super) fn optimiser_problem(name: &str, optimiser: &Optimiser) -> Option<String> {
    let Optimiser { learning_rate, warm_up, beta_1, beta_2, average, .. } = *optimiser;
    let shares = [warm_up, beta_1, beta_2, average];
    let wrong = shares.iter().any(|share| !(0.0..1.0).contains(share)) || learning_rate <= 0.0;
    wrong.then(|| {
        format!(
            "{name}: learning_rate must be above 0, and warm_up, the betas and average at least 0 \
             and below 1"
        )
    })
}

/// Tables are joined, everything else is replaced.
pub(super) fn overlay(whole: &mut toml::Table, with: toml::Table) {
    for (key, value) in with {
        match (whole.get_mut(&key), value) {
            (Some(toml::Value::Table(inner)), toml::Value::Table(with)) => overlay(inner, with),
            (_, value) => {
                whole.insert(key, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_readable_and_the_printed_one_is_it() {
        let default = Recipe::parse("").unwrap();
        assert_eq!(Recipe::parse(DEFAULT).unwrap(), default);
        assert_eq!(default.data, DataConfig::default());
    }

    #[test]
    fn a_file_changes_what_it_names_only() {
        let recipe = Recipe::parse("[ldm.loss]\nmargin = 0.5\n[data]\ncohort = \"paper\"").unwrap();
        let mut wanted = Recipe::parse("").unwrap();
        wanted.ldm.loss.margin = 0.5;
        wanted.data.cohort = super::super::replayed::CohortRule::Paper;
        assert_eq!(recipe, wanted);
    }

    #[test]
    fn faults_are_named() {
        let fault = |text: &str| Recipe::parse(text).unwrap_err().to_string();
        assert!(fault("[vae.course]\nbatchs = 2").contains("batchs"));
        let both = fault("[vae.course]\nbatch = 0\n[fusion.loss]\ncarried = 2.0");
        assert!(both.contains("vae: batch") && both.contains("shares"), "{both}");
        assert!(fault("sizes = ").contains("recipe"));
        assert!(fault("[vae.loss]\nperceptual = -1.0").contains("at least 0"));
        let deep = fault("[vae.loss]\nadversarial = 0.5\ndiscriminator_layers = 7");
        assert!(deep.contains("384 pixels"), "{deep}");
        let blind = fault("sizes = \"proof\"\n[reader.loss]\nlatent = 1.0");
        assert!(blind.contains("nothing else teaches"), "{blind}");
        assert!(Recipe::parse(PROOF).is_ok());
    }
}
