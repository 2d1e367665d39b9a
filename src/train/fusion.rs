//! Stage 3: the fusion models (`reference/ddl-cxr.md` 4.3): weighted cross-entropy, and dropout of
//! whole modalities so that the paths without a film, and with the last film's own latent, work.

use burn::module::Module;
use burn::optim::AdamWConfig;
use burn::tensor::{Device, Tensor};
use rand::RngExt;

use super::batch;
use super::ldm::Generator;
use super::optimise::{Order, cross_entropy, learning_rate, scalar, step, tensor, values};
use super::pace::Pace;
use super::sample::{FilmSample, Samples, Series, WindowSample};
use super::score::{auprc, auroc, auroc_half_width, mean};
use super::{TrainError, TrainOptions};
use crate::event::risk::N_PHENOTYPES;
use crate::model::config::{ImageFeatures, Task};
use crate::model::weights::{tensors_of, with_tensors};
use crate::model::{DdlCxrConfig, Fusion, FusionInput, Init};

const BATCH: usize = 24;
const RATE: f64 = 1.2e-3;
/// Share of windows shown without film and latent, so that the EHR-only path works.
const WITHOUT_FILM: f64 = 0.25;
/// Share of the others shown with the last film's own latent instead of the generated one.
const CARRIED: f64 = 0.3;
/// Positive weights are held within this, so that a rare phenotype does not drown the rest.
const MAX_WEIGHT: f64 = 15.0;
/// How often the validation set is asked whether to keep the weights.
const CHECKS: u64 = 12;
/// Windows scored at once.
const SCORE: usize = 48;

/// Which latent a window is scored with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Latent {
    Generated,
    /// The last film's own.
    Carried,
    /// Neither latent nor film.
    None,
}

/// One set of windows, ready to be shown to a fusion model.
pub(super) struct Windows<'a> {
    pub(super) samples: &'a Samples,
    generated: Vec<Option<Vec<f32>>>,
    carried: Vec<Option<Vec<f32>>>,
}

/// Scores of one way to predict.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Discrimination {
    pub auroc: f64,
    pub auroc_half_width: f64,
    pub auprc: f64,
}

/// Mortality on one set of windows, three ways.
#[derive(Clone, Debug, serde::Serialize)]
pub struct FusionScore {
    pub windows: usize,
    pub deaths: usize,
    pub generated: Discrimination,
    pub carry_forward: Discrimination,
    pub ehr_only: Discrimination,
}

impl<'a> Windows<'a> {
    /// Generates a latent for every window with a film.
    pub(super) fn new(
        samples: &'a Samples,
        latents: &[Vec<f32>],
        generator: &Generator<'_>,
    ) -> Result<Self, TrainError> {
        let filmed: Vec<usize> =
            (0..samples.windows.len()).filter(|&i| samples.windows[i].film.is_some()).collect();
        let mut references: Vec<&[f32]> = Vec::with_capacity(filmed.len());
        let mut series: Vec<&Series> = Vec::with_capacity(filmed.len());
        for film in filmed.iter().filter_map(|&i| samples.windows[i].film.as_ref()) {
            references.push(&latents[film.film]);
            series.push(&film.ehr);
        }
        let mut generated = vec![None; samples.windows.len()];
        let mut carried = vec![None; samples.windows.len()];
        for ((&i, new), old) in
            filmed.iter().zip(generator.generate(&references, &series)?).zip(&references)
        {
            generated[i] = Some(new);
            carried[i] = Some(old.to_vec());
        }
        Ok(Windows { samples, generated, carried })
    }

    fn input(
        &self,
        picked: &[(usize, Latent)],
        model: &Fusion,
        config: &DdlCxrConfig,
        task: Task,
        device: &Device,
    ) -> Result<FusionInput, TrainError> {
        let grids: Vec<Vec<f32>> = picked
            .iter()
            .map(|&(i, _)| self.samples.windows[i].ehr.values())
            .collect::<Result<_, TrainError>>()?;
        let latent: Vec<Option<&[f32]>> = picked
            .iter()
            .map(|&(i, which)| match which {
                Latent::Generated => self.generated[i].as_deref(),
                Latent::Carried => self.carried[i].as_deref(),
                Latent::None => None,
            })
            .collect();
        // A film that does not count is shown all the same, so that the batch statistics of the
        // image branch are those of films; where a window has none, any other one stands in.
        let films: Vec<Option<&FilmSample>> = picked
            .iter()
            .map(|&(i, _)| self.samples.windows[i].film.as_ref())
            .map(|film| {
                film.map(|film| &self.samples.films[film.film]).or(self.samples.films.first())
            })
            .collect();
        let present: Vec<f32> =
            latent.iter().flat_map(|z| [f32::from(u8::from(z.is_some())); 2]).collect();
        let n = picked.len();
        let ehr = batch::ehr(&grids, device);
        let sizes = config.fusion(task);
        let image_features = match &sizes.image_features {
            ImageFeatures::ResNet(resnet) => {
                model.image_features(batch::branch(&films, resnet, device)?)
            }
            ImageFeatures::Given(_) => None,
        };
        Ok(FusionInput {
            ehr: ehr.values,
            ehr_keep: Some(ehr.keep),
            latent: batch::latents(&latent, &config.vae, device),
            image_features: image_features
                .unwrap_or_else(|| Tensor::zeros([n, sizes.image_width()], device)),
            present: Some(tensor(present, [n, 2], device)),
        })
    }

    /// Logits of these windows, row by row.
    pub(super) fn logits(
        &self,
        model: &Fusion,
        config: &DdlCxrConfig,
        task: Task,
        picked: &[usize],
        which: Latent,
        device: &Device,
    ) -> Result<Vec<f32>, TrainError> {
        let mut logits = Vec::with_capacity(picked.len() * task.outputs());
        for block in picked.chunks(SCORE) {
            let rows: Vec<(usize, Latent)> = block.iter().map(|&i| (i, which)).collect();
            let input = self.input(&rows, model, config, task, device)?;
            logits.extend(values(model.forward(input)));
        }
        Ok(logits)
    }

    /// Windows with a film that `keep` accepts.
    pub(super) fn filmed(&self, keep: impl Fn(&WindowSample) -> bool) -> Vec<usize> {
        let windows = self.samples.windows.iter().enumerate();
        windows.filter(|(_, w)| w.film.is_some() && keep(w)).map(|(i, _)| i).collect()
    }
}

/// What a window's stay came to, as the task asks it.
pub(super) fn targets(window: &WindowSample, task: Task) -> Vec<bool> {
    match task {
        Task::Mortality => vec![window.died],
        Task::Phenotype => window.phenotypes.to_vec(),
    }
}

/// Negatives per positive of each output.
fn positive_weights(windows: &[WindowSample], task: Task) -> Vec<f32> {
    let n = windows.len() as f64;
    (0..task.outputs())
        .map(|k| {
            let p = windows.iter().filter(|window| targets(window, task)[k]).count() as f64;
            ((n - p) / p.max(1.0)).clamp(1.0 / MAX_WEIGHT, MAX_WEIGHT) as f32
        })
        .collect()
}

/// Trains the fusion model of one task and keeps the weights that validated best.
#[allow(clippy::too_many_arguments)]
pub(super) fn train(
    config: &DdlCxrConfig,
    options: &TrainOptions,
    task: Task,
    train: &Windows<'_>,
    validate: &Windows<'_>,
    device: &Device,
    mut pace: Pace<'_>,
) -> Result<(Fusion, u64), TrainError> {
    let autodiff = device.clone().autodiff();
    let seed = options.seed.wrapping_add(match task {
        Task::Mortality => 11,
        Task::Phenotype => 12,
    });
    let mut model = Fusion::new(config.fusion(task), &mut Init::seeded(seed, &autodiff));
    let mut optimiser = AdamWConfig::new().with_epsilon(1e-8).with_weight_decay(0.02).init();
    let windows = &train.samples.windows;
    let outputs = task.outputs();
    let weight = tensor(positive_weights(windows, task), [1, outputs], &autodiff);
    let mut order = Order::new(seed, windows.len());
    let mut best: Option<(f64, _)> = None;
    let mut checked = 0;
    while pace.next().is_some() {
        let picked: Vec<(usize, Latent)> = order
            .batch(BATCH)
            .into_iter()
            .map(|i| (i, modality(order.rng().random(), order.rng().random())))
            .collect();
        let input = train.input(&picked, &model, config, task, &autodiff)?;
        let truth: Vec<f32> = picked
            .iter()
            .flat_map(|&(i, _)| targets(&windows[i], task))
            .map(|yes| f32::from(u8::from(yes)))
            .collect();
        let truth = tensor(truth, [picked.len(), outputs], &autodiff);
        let loss = cross_entropy(model.forward(input), truth, Some(weight.clone())).mean();
        let noted = [("bce", scalar(loss.clone().detach()))];
        model = step(model, &loss, &mut optimiser, learning_rate(RATE, pace.share()));
        pace.note(&noted)?;
        let due = (pace.share() * CHECKS as f64) as u64;
        if due > checked && due >= 2 {
            checked = due;
            // The loss, not the AUROC: with a few dozen deaths the latter is chance.
            let score = validation_loss(&model.valid(), config, task, validate, &weight, device)?;
            pace.add("validation_bce", score);
            if best.as_ref().is_none_or(|(before, _)| score < *before) {
                best = Some((score, tensors_of(&model)));
            }
        }
    }
    let model = model.valid();
    let model = match best {
        Some((_, tensors)) => with_tensors(model, &tensors)?,
        None => model,
    };
    Ok((model, pace.steps()))
}

/// How a window is shown in this step.
fn modality(first: f64, second: f64) -> Latent {
    match (first < WITHOUT_FILM, second < CARRIED) {
        (true, _) => Latent::None,
        (false, true) => Latent::Carried,
        (false, false) => Latent::Generated,
    }
}

/// Mean loss over all windows with a film, shown in all three ways.
fn validation_loss(
    model: &Fusion,
    config: &DdlCxrConfig,
    task: Task,
    windows: &Windows<'_>,
    weight: &Tensor<2>,
    device: &Device,
) -> Result<f64, TrainError> {
    let picked = windows.filmed(|_| true);
    let truth: Vec<f32> = picked
        .iter()
        .flat_map(|&i| targets(&windows.samples.windows[i], task))
        .map(|yes| f32::from(u8::from(yes)))
        .collect();
    let shape = [picked.len(), task.outputs()];
    let weight = weight.clone().inner();
    let mut losses = Vec::new();
    for which in [Latent::Generated, Latent::Carried, Latent::None] {
        let logits = windows.logits(model, config, task, &picked, which, device)?;
        let (logits, truth) = (tensor(logits, shape, device), tensor(truth.clone(), shape, device));
        losses.push(scalar(cross_entropy(logits, truth, Some(weight.clone())).mean()));
    }
    Ok(mean(losses.into_iter()))
}

fn macro_auroc(logits: &[f32], picked: &[usize], windows: &Windows<'_>, task: Task) -> f64 {
    let n = task.outputs();
    let column = |k: usize| {
        let scores: Vec<f32> = logits.iter().skip(k).step_by(n).copied().collect();
        let truth: Vec<bool> =
            picked.iter().map(|&i| targets(&windows.samples.windows[i], task)[k]).collect();
        auroc(&scores, &truth)
    };
    mean((0..n).filter_map(column))
}

/// Mortality on the windows with a film that `keep` accepts: with the generated latent, with the
/// last film's own, and from the EHR alone. `None` unless some died and some lived.
pub(super) fn score_mortality(
    model: &Fusion,
    config: &DdlCxrConfig,
    windows: &Windows<'_>,
    device: &Device,
    keep: impl Fn(&WindowSample) -> bool,
) -> Result<Option<FusionScore>, TrainError> {
    let picked = windows.filmed(keep);
    let truth: Vec<bool> = picked.iter().map(|&i| windows.samples.windows[i].died).collect();
    let deaths = truth.iter().filter(|&&died| died).count();
    let way = |which| -> Result<Option<Discrimination>, TrainError> {
        let logits = windows.logits(model, config, Task::Mortality, &picked, which, device)?;
        let scores = auroc(&logits, &truth).zip(auprc(&logits, &truth));
        Ok(scores.map(|(auroc, auprc)| Discrimination {
            auroc,
            auroc_half_width: auroc_half_width(auroc, deaths, truth.len() - deaths),
            auprc,
        }))
    };
    let [generated, carried, none] = [Latent::Generated, Latent::Carried, Latent::None].map(way);
    let score = |((generated, carry_forward), ehr_only)| FusionScore {
        windows: picked.len(),
        deaths,
        generated,
        carry_forward,
        ehr_only,
    };
    Ok(generated?.zip(carried?).zip(none?).map(score))
}

/// Macro AUROC of the phenotypes that occur, on the windows that `keep` accepts.
pub(super) fn score_phenotypes(
    model: &Fusion,
    config: &DdlCxrConfig,
    windows: &Windows<'_>,
    device: &Device,
    keep: impl Fn(&WindowSample) -> bool,
) -> Result<f64, TrainError> {
    let picked = windows.filmed(keep);
    debug_assert_eq!(Task::Phenotype.outputs(), N_PHENOTYPES);
    let task = Task::Phenotype;
    let logits = windows.logits(model, config, task, &picked, Latent::Generated, device)?;
    Ok(macro_auroc(&logits, &picked, windows, task))
}
