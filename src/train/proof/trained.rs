//! The models of one seed, trained one behind the other, and what they say of the stays.

use std::collections::BTreeMap;

use super::twin::{Ablation, Twin};
use super::{Fewer, Judged, SeedProof, Trial};
use crate::model::artifact::draw_noise;
use crate::model::config::Task;
use crate::model::{DdlCxrConfig, Fusion, Vae};
use crate::train::TrainError;
use crate::train::fusion::{Latent, Whose, Windows};
use crate::train::ldm::{Conditions, Generator, Ldm, LdmScore};
use crate::train::reader::Reader;
use crate::train::run::{Diffusion, Run};
use crate::train::sample::{FilmSample, Samples};
use crate::train::score::mean;
use crate::train::vae::{self, VaeScore};

const TASKS: [Task; 2] = [Task::Mortality, Task::Phenotype];

/// Who learns from fewer stays.
const ON_THE_CURVE: [Twin; 3] = [Twin::EhrOnly, Twin::CarryForward, Twin::Generated];

/// The first two stages of one seed.
pub(super) struct Trained<'a, 'h> {
    run: Run<'a, 'h>,
    config: DdlCxrConfig,
    vae: Vae,
    ldm: Ldm,
    noise: Vec<f32>,
    reader: Option<Reader>,
    /// Scaled latents of the films to learn from and to choose by.
    latents: Vec<Vec<Vec<f32>>>,
    scores: (VaeScore, LdmScore),
}

/// One set of windows with the two kinds of latents that may be shown as of now.
struct Shown<'a> {
    generated: Windows<'a>,
    oracle: Windows<'a>,
}

impl<'a, 'h> Trained<'a, 'h> {
    pub(super) fn new(mut run: Run<'a, 'h>) -> Result<Self, TrainError> {
        let mut config = run.options.recipe.sizes();
        config.check()?;
        let (vae, _, vae_score) = run.autoencoder(&config)?;
        let latents = run.latents(&mut config, &vae)?;
        let noise = draw_noise(&config, run.options.seed);
        let whole = Diffusion::whole(run.options);
        let (ldm, _, ldm_score) = run.diffusion(whole, &config, &vae, &latents, &noise)?;
        let reader = run.reader(&config, &latents)?;
        let scores = (vae_score, ldm_score);
        Ok(Trained { run, config, vae, ldm, noise, reader, latents, scores })
    }

    pub(super) fn judge(
        mut self,
        judged: &Samples,
        oracles: &[Vec<FilmSample>; 3],
        trial: &Trial,
    ) -> Result<SeedProof, TrainError> {
        let splits = self.run.splits;
        let seen = self.encoded(&judged.films)?;
        let [to_learn, to_choose, to_judge] = oracles;
        let train = self.shown(&splits.train, &self.latents[0], to_learn)?;
        let validate = self.shown(&splits.validate, &self.latents[1], to_choose)?;
        let test = self.shown(judged, &seen, to_judge)?;
        let mut windows = judged_windows(&test)?;
        let mut curve = Vec::with_capacity(trial.curve.len());
        // The whole ones come last, so that the pictures of their training are those that stay.
        for &labelled in &trial.curve {
            let mut windows = windows.clone();
            self.learn_from_fewer(labelled, [&train, &validate, &test], &mut windows)?;
            curve.push(Fewer { labelled, windows });
        }
        let generator = self.generator(&self.ldm, Conditions::ALL);
        let swapped = Windows::new(judged, &seen, &generator, Whose::Another)?;
        for twin in [Twin::EhrOnly, Twin::CarryForward, Twin::Generated, Twin::Oracle] {
            for task in TASKS {
                let model = self.twin((twin, task), [train.of(twin), validate.of(twin)])?;
                self.ask(&model, task, twin, test.of(twin), &mut windows)?;
                if twin == Twin::Generated {
                    self.ask(&model, task, Twin::Swapped, &swapped, &mut windows)?;
                }
            }
        }
        if trial.ablations {
            for ablation in Ablation::ALL {
                self.without(ablation, (judged, &seen), &mut windows)?;
            }
        }
        let (vae, ldm) = self.scores;
        Ok(SeedProof {
            key: String::new(),
            seed: self.run.options.seed,
            labelled: splits.train.windows.len(),
            pairs: splits.train.pairs.len(),
            seconds: 0.0,
            vae,
            ldm,
            windows,
            curve,
        })
    }

    /// The twins of the learning curve, taught by the first `labelled` stays.
    fn learn_from_fewer(
        &mut self,
        labelled: usize,
        [train, validate, test]: [&Shown<'_>; 3],
        windows: &mut [Judged],
    ) -> Result<(), TrainError> {
        let mut fewer = self.run.splits.train.clone();
        fewer.windows.truncate(labelled);
        let train = train.generated.first_of(&fewer);
        let keeper = self.run.keeper.within(&format!("labelled-{labelled}"));
        let whole = std::mem::replace(&mut self.run.keeper, keeper);
        for twin in ON_THE_CURVE {
            for task in TASKS {
                let model = self.twin((twin, task), [&train, &validate.generated])?;
                self.ask(&model, task, twin, &test.generated, windows)?;
            }
        }
        self.run.keeper = whole;
        Ok(())
    }

    /// The twins that are shown what a diffusion model generates that lacks something.
    fn without(
        &mut self,
        ablation: Ablation,
        (judged, seen): (&Samples, &[Vec<f32>]),
        windows: &mut [Judged],
    ) -> Result<(), TrainError> {
        let (splits, conditions) = (self.run.splits, ablation.conditions());
        let weights = ablation.weights(self.run.options.recipe.ldm.loss);
        let lacking = Diffusion { name: ablation.stage(), conditions, weights };
        let (ldm, ..) =
            self.run.diffusion(lacking, &self.config, &self.vae, &self.latents, &self.noise)?;
        for &twin in ablation.twins() {
            let generator = self.generator(&ldm, conditions);
            let [train, validate, test] = [
                (&splits.train, &self.latents[0][..]),
                (&splits.validate, &self.latents[1][..]),
                (judged, seen),
            ]
            .map(|(samples, latents)| {
                let windows = Windows::new(samples, latents, &generator, Whose::Own)?;
                let blind = twin == Twin::NoEhrAtAll;
                Ok::<_, TrainError>(if blind { windows.without_ehr() } else { windows })
            });
            let (train, validate, test) = (train?, validate?, test?);
            for task in TASKS {
                let model = self.twin((twin, task), [&train, &validate])?;
                self.ask(&model, task, twin, &test, windows)?;
            }
        }
        Ok(())
    }

    fn encoded(&self, films: &[FilmSample]) -> Result<Vec<Vec<f32>>, TrainError> {
        let mut latents = vae::encode(&self.vae, &self.config, films, &self.run.device)?;
        let scale = self.config.diffusion.scale_factor as f32;
        latents.iter_mut().flatten().for_each(|x| *x *= scale);
        Ok(latents)
    }

    fn generator<'g>(&'g self, ldm: &'g Ldm, conditions: Conditions) -> Generator<'g> {
        Generator {
            config: &self.config,
            unet: &ldm.unet,
            ehr: &ldm.ehr,
            noise: &self.noise,
            conditions,
            device: &self.run.device,
        }
    }

    fn shown<'s>(
        &self,
        samples: &'s Samples,
        latents: &[Vec<f32>],
        oracle: &[FilmSample],
    ) -> Result<Shown<'s>, TrainError> {
        let generator = self.generator(&self.ldm, Conditions::ALL);
        let generated = Windows::new(samples, latents, &generator, Whose::Own)?;
        let oracle = generated.with_latents(&self.encoded(oracle)?);
        Ok(Shown { generated, oracle })
    }

    fn twin(
        &mut self,
        (twin, task): (Twin, Task),
        both: [&Windows<'_>; 2],
    ) -> Result<Fusion, TrainError> {
        let shown = twin.shown(self.run.options.recipe.fusion.loss);
        let (name, reader) = (twin.stage(task), self.reader.as_ref());
        Ok(self.run.fusion((name, task), &self.config, reader, both, shown)?.0)
    }

    fn ask(
        &self,
        model: &Fusion,
        task: Task,
        twin: Twin,
        shown: &Windows<'_>,
        windows: &mut [Judged],
    ) -> Result<(), TrainError> {
        let picked: Vec<usize> = (0..windows.len()).collect();
        let (config, device) = (&self.config, &self.run.device);
        let logits = shown.logits(model, config, task, &picked, twin.latent(), device)?;
        for (window, logits) in windows.iter_mut().zip(logits.chunks(task.outputs())) {
            match task {
                Task::Mortality => drop(window.mortality.insert(twin, logits[0])),
                Task::Phenotype => drop(window.phenotype.insert(twin, logits.to_vec())),
            }
        }
        Ok(())
    }
}

impl<'a> Shown<'a> {
    fn of(&self, twin: Twin) -> &Windows<'a> {
        if twin == Twin::Oracle { &self.oracle } else { &self.generated }
    }
}

fn judged_windows(shown: &Shown<'_>) -> Result<Vec<Judged>, TrainError> {
    let lacks = || TrainError::TooFew("a window to be judged has no film");
    let windows = shown.generated.samples.windows.iter().enumerate();
    windows
        .map(|(i, window)| {
            let now = shown.oracle.latent(i, Latent::Generated).ok_or_else(lacks)?;
            let far = |which| {
                let latent = shown.generated.latent(i, which).ok_or_else(lacks)?;
                let squares = latent.iter().zip(now).map(|(a, b)| f64::from(a - b).powi(2));
                Ok::<f64, TrainError>(mean(squares))
            };
            Ok(Judged {
                stay: window.stay,
                age_h: window.film.as_ref().ok_or_else(lacks)?.age_h,
                died: window.died,
                phenotypes: window.phenotypes.to_vec(),
                mortality: BTreeMap::new(),
                phenotype: BTreeMap::new(),
                generated_mse: far(Latent::Generated)?,
                carried_mse: far(Latent::Carried)?,
            })
        })
        .collect()
}
