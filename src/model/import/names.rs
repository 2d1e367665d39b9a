//! Which tensor of which checkpoint becomes which of ours.

use std::collections::{BTreeMap, BTreeSet};

use super::ImportError;
use super::checkpoint::Checkpoint;
use super::report::{SourceReport, listed};
use crate::model::config::Task;

/// Shapes by name.
type Shapes = BTreeMap<String, Vec<usize>>;

/// What a checkpoint is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    Autoencoder,
    Diffusion,
    Mortality,
    Phenotypes,
}

/// The checkpoint of each stage, by its place among the sources.
#[derive(Debug, Default)]
pub struct Stages(BTreeMap<Stage, usize>);

/// Where one of our tensors is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    pub source: usize,
    pub name: String,
    /// The parameter whose moving average this is.
    pub average_of: Option<String>,
}

/// Where all of our tensors are read, by our names.
#[derive(Debug)]
pub struct Plan {
    pub steps: BTreeMap<String, Step>,
}

impl Stage {
    pub fn name(self) -> &'static str {
        match self {
            Stage::Autoencoder => "autoencoder",
            Stage::Diffusion => "diffusion model",
            Stage::Mortality => "fusion model of mortality",
            Stage::Phenotypes => "fusion model of phenotypes",
        }
    }

    /// By what only this stage's checkpoint holds; a fusion model by its number of outputs.
    fn of(checkpoint: &Checkpoint) -> Option<Stage> {
        if checkpoint.names().any(|name| name.starts_with("model.diffusion_model.")) {
            return Some(Stage::Diffusion);
        }
        if checkpoint.has("fusion_tf.cls_token") {
            let outputs = *checkpoint.shape("mlp_head.2.weight")?.first()?;
            return match outputs {
                n if n == Task::Mortality.outputs() => Some(Stage::Mortality),
                n if n == Task::Phenotype.outputs() => Some(Stage::Phenotypes),
                _ => None,
            };
        }
        let both = ["encoder.conv_in.weight", "decoder.conv_in.weight"];
        both.iter().all(|name| checkpoint.has(name)).then_some(Stage::Autoencoder)
    }
}

impl Stages {
    pub fn of(&self, stage: Stage) -> Option<usize> {
        self.0.get(&stage).copied()
    }

    fn at(&self, source: usize) -> Option<Stage> {
        self.0.iter().find(|(_, at)| **at == source).map(|(stage, _)| *stage)
    }
}

/// Which source is of which stage.
pub fn stages(sources: &[Checkpoint]) -> Result<Stages, ImportError> {
    let mut stages = Stages::default();
    for (at, source) in sources.iter().enumerate() {
        let Some(stage) = Stage::of(source) else {
            return Err(ImportError::Stage { file: source.name.clone() });
        };
        if let Some(first) = stages.0.insert(stage, at) {
            let (first, second) = (sources[first].name.clone(), source.name.clone());
            return Err(ImportError::Twice { stage: stage.name(), first, second });
        }
    }
    Ok(stages)
}

/// Places where our tensor may stand, best first: a stage and the name in its checkpoint.
fn places(ours: &str) -> Vec<(Stage, String)> {
    let below = |prefix: &str| ours.strip_prefix(prefix);
    if let Some(rest) = below("vae.") {
        return vec![
            (Stage::Autoencoder, rest.to_owned()),
            (Stage::Diffusion, format!("first_stage_model.{rest}")),
        ];
    }
    if let Some(rest) = below("unet.") {
        return vec![(Stage::Diffusion, format!("model.diffusion_model.{rest}"))];
    }
    if let Some(rest) = below("ehr.") {
        // The head stands beside the encoder in the checkpoint, and inside ours.
        let name = match rest.starts_with("label_head.") {
            true => rest.to_owned(),
            false => format!("cond_stage_model.{rest}"),
        };
        return vec![(Stage::Diffusion, name)];
    }
    let fusions =
        [("fusion_mortality.", Stage::Mortality), ("fusion_phenotype.", Stage::Phenotypes)];
    let of = |(prefix, stage): (&str, Stage)| Some((stage, below(prefix)?.to_owned()));
    fusions.into_iter().filter_map(of).collect()
}

/// The name of a parameter's moving average: without the wrapper's prefix and without dots.
fn average_name(name: &str) -> Option<String> {
    Some(format!("model_ema.{}", name.strip_prefix("model.")?.replace('.', "")))
}

impl Plan {
    /// Finds every tensor of ours, in its shape.
    pub fn new(
        wanted: &Shapes,
        sources: &[Checkpoint],
        stages: &Stages,
    ) -> Result<Plan, ImportError> {
        let (mut steps, mut missing, mut misfits) = (BTreeMap::new(), Vec::new(), Vec::new());
        for (ours, shape) in wanted {
            let places = places(ours);
            let found = places.iter().find_map(|(stage, name)| {
                let source = stages.of(*stage)?;
                let held = sources.get(source)?;
                let average = average_name(name).filter(|average| held.has(average));
                match average {
                    Some(average) => {
                        let average_of = Some(name.clone());
                        Some(Step { source, name: average, average_of })
                    }
                    None => held.has(name).then(|| Step {
                        source,
                        name: name.clone(),
                        average_of: None,
                    }),
                }
            });
            let Some(step) = found else {
                missing.push(lacking(&places, stages));
                continue;
            };
            let theirs = sources[step.source].shape(&step.name).unwrap_or_default();
            if theirs != shape.as_slice() {
                misfits.push(format!("{} is {theirs:?} and not {shape:?}", step.name));
            }
            steps.insert(ours.clone(), step);
        }
        missing.dedup();
        if !missing.is_empty() {
            return Err(ImportError::Missing(listed(&missing)));
        }
        if !misfits.is_empty() {
            return Err(ImportError::Shapes(listed(&misfits)));
        }
        Ok(Plan { steps })
    }

    /// What an operator must know of the choice.
    pub fn remarks(
        &self,
        sources: &mut [Checkpoint],
        stages: &Stages,
    ) -> Result<Vec<String>, ImportError> {
        let mut remarks = Vec::new();
        let averaged = self.steps.values().any(|step| step.average_of.is_some());
        if stages.of(Stage::Diffusion).is_some() && !averaged {
            remarks.push(
                "the diffusion model has no moving average; its last weights are used".to_owned(),
            );
        }
        let (own, diffusion) = (stages.of(Stage::Autoencoder), stages.of(Stage::Diffusion));
        let (Some(own), Some(diffusion)) = (own, diffusion) else { return Ok(remarks) };
        let mut off = 0;
        for step in self.steps.values().filter(|step| step.source == own) {
            let copy = format!("first_stage_model.{}", step.name);
            if sources[diffusion].has(&copy) {
                let same = sources[diffusion].read(&copy)? == sources[own].read(&step.name)?;
                off += usize::from(!same);
            }
        }
        if off > 0 {
            remarks.push(format!(
                "{off} tensors of the autoencoder in {} differ from the copy in {}, on whose \
                 latents the diffusion model was trained; leave {} out to use the copy",
                sources[own].name, sources[diffusion].name, sources[own].name
            ));
        }
        Ok(remarks)
    }

    /// What was taken from each source and what was not.
    pub fn describe(&self, sources: &[Checkpoint], stages: &Stages) -> Vec<SourceReport> {
        let one = |(at, source): (usize, &Checkpoint)| {
            let taken = || self.steps.values().filter(move |step| step.source == at);
            let used: BTreeSet<&str> = taken().map(|step| step.name.as_str()).collect();
            let replaced: BTreeSet<&str> =
                taken().filter_map(|step| step.average_of.as_deref()).collect();
            let unused = source
                .names()
                .filter(|name| !used.contains(name) && !replaced.contains(name))
                .filter(|name| *name != super::SCALE)
                .map(str::to_owned)
                .collect();
            SourceReport {
                file: source.name.clone(),
                sha256: source.digest.to_string(),
                stage: stages.at(at).map_or("", Stage::name).to_owned(),
                tensors: source.names().count(),
                used: used.len(),
                averages: replaced.len(),
                unused,
                others: source.others.clone(),
            }
        };
        sources.iter().enumerate().map(one).collect()
    }
}

/// What to say of a tensor that was not found: the checkpoint that should be given, or the name in
/// the one that was.
fn lacking(places: &[(Stage, String)], stages: &Stages) -> String {
    let given = places.iter().find(|(stage, _)| stages.of(*stage).is_some());
    match given.or(places.first()) {
        Some((stage, name)) if stages.of(*stage).is_some() => name.clone(),
        Some((stage, _)) => format!("the checkpoint of the {}", stage.name()),
        None => "a tensor of no known stage".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn averages_are_named_without_dots() {
        let name = "model.diffusion_model.input_blocks.1.0.in_layers.0.weight";
        let average = "model_ema.diffusion_modelinput_blocks10in_layers0weight";
        assert_eq!(average_name(name).as_deref(), Some(average));
        assert_eq!(average_name("cond_stage_model.cls_token"), None);
    }

    #[test]
    fn every_network_has_its_place() {
        let first = |ours: &str| places(ours).first().cloned().expect("a place");
        let at = |stage, name: &str| (stage, name.to_owned());
        assert_eq!(first("ehr.label_head.bias"), at(Stage::Diffusion, "label_head.bias"));
        let head = at(Stage::Autoencoder, "label_head.0.bias");
        assert_eq!(first("vae.label_head.0.bias"), head);
        let cls = at(Stage::Diffusion, "cond_stage_model.cls_token");
        assert_eq!(first("ehr.cls_token"), cls);
        let head = at(Stage::Phenotypes, "mlp_head.0.weight");
        assert_eq!(first("fusion_phenotype.mlp_head.0.weight"), head);
        assert!(places("elsewhere.weight").is_empty());
    }
}
