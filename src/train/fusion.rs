//! Stage 3: the fusion models (`reference/ddl-cxr.md` 4.3): weighted cross-entropy, every stay
//! weighing the same, and dropout of whole modalities so that the paths without a film, and with
//! the last film's own latent, work.

use burn::tensor::{Device, Tensor};
use rand::RngExt;

use super::TrainError;
use super::batch;
use super::ldm::Generator;
use super::optimise::{scalar, tensor, values};
use super::recipe::{FusionWeights, ReaderWeights, Select, StageRecipe};
use super::sample::{FilmSample, Samples, Series, WindowSample};
use super::score::{auprc, auroc, auroc_half_width, mean};
use super::stage::{Moment, Noted, Order, Stage};
use crate::event::risk::N_PHENOTYPES;
use crate::model::config::{ImageFeatures, Task};
use crate::model::losses::binary_cross_entropy;
use crate::model::{DdlCxrConfig, Fusion, FusionInput};

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

/// Whose EHR the generation reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Whose {
    Own,
    /// That of the next window: what is generated then says how much the EHR mattered.
    Another,
}

/// One set of windows, ready to be shown to a fusion model.
pub(super) struct Windows<'a> {
    pub(super) samples: &'a Samples,
    generated: Vec<Option<Vec<f32>>>,
    carried: Vec<Option<Vec<f32>>>,
    /// Whether the model is shown the EHR; not in an ablation.
    with_ehr: bool,
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
        whose: Whose,
    ) -> Result<Self, TrainError> {
        let filmed: Vec<usize> =
            (0..samples.windows.len()).filter(|&i| samples.windows[i].film.is_some()).collect();
        let mut references: Vec<&[f32]> = Vec::with_capacity(filmed.len());
        let mut series: Vec<&Series> = Vec::with_capacity(filmed.len());
        for film in filmed.iter().filter_map(|&i| samples.windows[i].film.as_ref()) {
            references.push(&latents[film.film]);
            series.push(&film.ehr);
        }
        if whose == Whose::Another {
            series.rotate_left(1);
        }
        let mut generated = vec![None; samples.windows.len()];
        let mut carried = vec![None; samples.windows.len()];
        for ((&i, new), old) in
            filmed.iter().zip(generator.generate(&references, &series)?).zip(&references)
        {
            generated[i] = Some(new);
            carried[i] = Some(old.to_vec());
        }
        Ok(Windows { samples, generated, carried, with_ehr: true })
    }

    /// The first of these windows, which `samples` must be.
    pub(super) fn first_of<'s>(&self, samples: &'s Samples) -> Windows<'s> {
        let n = samples.windows.len();
        let first = |latents: &[Option<Vec<f32>>]| latents.iter().take(n).cloned().collect();
        let (generated, carried) = (first(&self.generated), first(&self.carried));
        Windows { samples, generated, carried, with_ehr: self.with_ehr }
    }

    /// The same windows without the EHR of the prediction.
    pub(super) fn without_ehr(self) -> Self {
        Windows { with_ehr: false, ..self }
    }

    /// The same windows with these latents for generated ones, one for each window.
    pub(super) fn with_latents(&self, latents: &[Vec<f32>]) -> Self {
        let generated = latents.iter().cloned().map(Some).collect();
        let (samples, carried) = (self.samples, self.carried.clone());
        Windows { samples, generated, carried, with_ehr: self.with_ehr }
    }

    /// The latent of window `i` of one kind.
    pub(super) fn latent(&self, i: usize, which: Latent) -> Option<&[f32]> {
        match which {
            Latent::Generated => self.generated.get(i)?.as_deref(),
            Latent::Carried => self.carried.get(i)?.as_deref(),
            Latent::None => None,
        }
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
        let latent: Vec<Option<&[f32]>> =
            picked.iter().map(|&(i, which)| self.latent(i, which)).collect();
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
        let ehr = if self.with_ehr { ehr } else { ehr.emptied() };
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

/// Negatives per positive of each output, held within `most` so that a rare phenotype does not
/// drown the rest.
fn positive_weights(samples: &Samples, task: Task, most: f64) -> Vec<f32> {
    let weights = samples.window_weights();
    let n: f64 = weights.iter().map(|&weight| f64::from(weight)).sum();
    (0..task.outputs())
        .map(|k| {
            let yes = samples.windows.iter().zip(&weights).filter(|(w, _)| targets(w, task)[k]);
            let p: f64 = yes.map(|(_, &weight)| f64::from(weight)).sum();
            ((n - p) / p.max(1.0)).clamp(1.0 / most, most) as f32
        })
        .collect()
}

/// The stage of one task's fusion model.
pub(super) struct FusionStage<'a> {
    config: &'a DdlCxrConfig,
    task: Task,
    weights: FusionWeights,
    train: &'a Windows<'a>,
    validate: &'a Windows<'a>,
    order: Order,
    /// `[1, outputs]`
    positive: Vec<f32>,
    /// 1/n of a stay with n windows.
    window_weights: Vec<f32>,
    /// How the parts that look at films were taught, if beforehand.
    taught: Option<StageRecipe<ReaderWeights>>,
    device: &'a Device,
    /// On which the network learns.
    autodiff: Device,
}

impl<'a> FusionStage<'a> {
    pub(super) fn new(
        config: &'a DdlCxrConfig,
        recipe: &StageRecipe<FusionWeights>,
        task: Task,
        [train, validate]: [&'a Windows<'a>; 2],
        seed: u64,
        device: &'a Device,
    ) -> Self {
        FusionStage {
            config,
            task,
            weights: recipe.loss,
            train,
            validate,
            order: Order::new(seed, train.samples.windows.len(), recipe.course.batch),
            positive: positive_weights(train.samples, task, recipe.loss.max_weight),
            window_weights: train.samples.window_weights(),
            taught: None,
            device,
            autodiff: device.clone().autodiff(),
        }
    }

    /// Says how the parts that look at films were taught.
    pub(super) fn sees_by(&mut self, taught: Option<StageRecipe<ReaderWeights>>) {
        self.taught = taught;
    }

    /// How a window is shown in this step.
    fn modality(&self, first: f64, second: f64) -> Latent {
        match (first < self.weights.without_film, second < self.weights.carried) {
            (true, _) => Latent::None,
            (false, true) => Latent::Carried,
            (false, false) => Latent::Generated,
        }
    }

    /// The ways in which windows are shown at all; the first is what counts.
    fn ways(&self) -> &'static [Latent] {
        match (self.weights.without_film, self.weights.carried) {
            (none, _) if none >= 1.0 => &[Latent::None],
            (_, carried) if carried >= 1.0 => &[Latent::Carried],
            (0.0, 0.0) => &[Latent::Generated],
            _ => &[Latent::Generated, Latent::Carried, Latent::None],
        }
    }

    fn truth(&self, windows: &Windows<'_>, picked: &[usize]) -> Vec<bool> {
        let of = |&i: &usize| targets(&windows.samples.windows[i], self.task);
        picked.iter().flat_map(of).collect()
    }

    /// Mean loss over the validation windows with a film, shown in all ways that are learnt.
    fn validation_loss(&self, net: &Fusion, picked: &[usize]) -> Result<f64, TrainError> {
        let shape = [picked.len(), self.task.outputs()];
        let truth = numbers(&self.truth(self.validate, picked));
        let mut losses = Vec::new();
        for &which in self.ways() {
            let logits =
                self.validate.logits(net, self.config, self.task, picked, which, self.device)?;
            let logits = tensor(logits, shape, self.device);
            let truth = tensor(truth.clone(), shape, self.device);
            let positive = tensor(self.positive.clone(), [1, shape[1]], self.device);
            losses.push(scalar(binary_cross_entropy(logits, truth, Some(positive)).mean()));
        }
        Ok(mean(losses.into_iter()))
    }

    /// Average precision in the way that counts, macro over the outputs that occur.
    fn validation_auprc(&self, net: &Fusion, picked: &[usize]) -> Result<f64, TrainError> {
        let which = self.ways()[0];
        let logits =
            self.validate.logits(net, self.config, self.task, picked, which, self.device)?;
        let (truth, n) = (self.truth(self.validate, picked), self.task.outputs());
        let column = |k: usize| {
            let scores: Vec<f32> = logits.iter().skip(k).step_by(n).copied().collect();
            let truth: Vec<bool> = truth.iter().skip(k).step_by(n).copied().collect();
            auprc(&scores, &truth)
        };
        Ok(mean((0..n).filter_map(column)))
    }
}

fn numbers(truth: &[bool]) -> Vec<f32> {
    truth.iter().map(|&yes| f32::from(u8::from(yes))).collect()
}

impl Stage<Fusion> for FusionStage<'_> {
    fn loss(&mut self, net: &Fusion, at: Moment) -> Result<(Tensor<1>, Noted), TrainError> {
        let indices = self.order.batch(at.batch).to_vec();
        let mut rng = self.order.rng(at.batch);
        let picked: Vec<(usize, Latent)> =
            indices.iter().map(|&i| (i, self.modality(rng.random(), rng.random()))).collect();
        let input = self.train.input(&picked, net, self.config, self.task, &self.autodiff)?;
        let (n, outputs) = (picked.len(), self.task.outputs());
        let truth =
            tensor(numbers(&self.truth(self.train, &indices)), [n, outputs], &self.autodiff);
        let positive = tensor(self.positive.clone(), [1, outputs], &self.autodiff);
        let weights = indices.iter().map(|&i| self.window_weights[i]).collect();
        let weights: Tensor<2> = tensor(weights, [n, 1], &self.autodiff);
        let losses = binary_cross_entropy(net.forward(input), truth, Some(positive));
        let loss = losses.mul(weights).mean();
        let noted = vec![("bce", scalar(loss.clone().detach()))];
        Ok((loss, noted))
    }

    fn besides(&self) -> String {
        let taught = self.taught.map_or_else(String::new, |taught| format!(" {taught:?}"));
        let blind = if self.train.with_ehr { "" } else { " without EHR" };
        taught + blind
    }

    fn check(&mut self, net: &Fusion) -> Result<Option<(f64, Noted)>, TrainError> {
        let picked = self.validate.filmed(|_| true);
        if picked.is_empty() {
            return Ok(None);
        }
        let loss = self.validation_loss(net, &picked)?;
        let auprc = self.validation_auprc(net, &picked)?;
        let score = match self.weights.select {
            // Without a positive there is no precision to go by.
            Select::Auprc if auprc.is_finite() => auprc,
            _ => -loss,
        };
        let mut noted = vec![("validation_bce", loss)];
        noted.extend(auprc.is_finite().then_some(("validation_auprc", auprc)));
        Ok(Some((score, noted)))
    }
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
