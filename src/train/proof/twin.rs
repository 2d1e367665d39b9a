//! Who is asked: the twins, which differ in what they are shown, and the ablations of the paper,
//! which differ in what the diffusion model had.

use serde::{Deserialize, Serialize};

use crate::model::config::Task;
use crate::train::fusion::Latent;
use crate::train::ldm::Conditions;
use crate::train::recipe::{FusionWeights, LdmWeights};

/// One way to predict.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Twin {
    /// Shown neither film nor latent.
    EhrOnly,
    /// Shown the last film and its own latent.
    CarryForward,
    /// Shown the last film and the latent generated from it and the EHR since.
    Generated,
    /// The same model, shown a latent that was generated from another patient's EHR.
    Swapped,
    /// Shown the last film and the latent of the film that would have been taken now.
    Oracle,
    /// As generated, by a diffusion model that is shown no reference film.
    NoReference,
    /// As generated, by a diffusion model that is shown no EHR.
    NoEhr,
    /// As generated, by a diffusion model without the contrastive term.
    NoContrastive,
    /// As generated, by a diffusion model without the auxiliary findings.
    NoAuxiliary,
    /// Neither the diffusion model nor the prediction is shown the EHR.
    NoEhrAtAll,
}

/// A diffusion model that lacks something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ablation {
    Reference,
    Ehr,
    Contrastive,
    Auxiliary,
}

impl Twin {
    pub const ALL: [Twin; 10] = [
        Twin::EhrOnly,
        Twin::CarryForward,
        Twin::Generated,
        Twin::Swapped,
        Twin::Oracle,
        Twin::NoReference,
        Twin::NoEhr,
        Twin::NoContrastive,
        Twin::NoAuxiliary,
        Twin::NoEhrAtAll,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Twin::EhrOnly => "EHR only",
            Twin::CarryForward => "last film carried forward",
            Twin::Generated => "generated",
            Twin::Swapped => "generated from another's EHR",
            Twin::Oracle => "oracle",
            Twin::NoReference => "generated without last film",
            Twin::NoEhr => "generated without EHR",
            Twin::NoContrastive => "without contrastive term",
            Twin::NoAuxiliary => "without auxiliary findings",
            Twin::NoEhrAtAll => "without EHR in both stages",
        }
    }

    /// The stage of its fusion model, by which its state goes.
    pub(super) const fn stage(self, task: Task) -> &'static str {
        macro_rules! of {
            ($name:literal) => {
                match task {
                    Task::Mortality => concat!("mortality_", $name),
                    Task::Phenotype => concat!("phenotype_", $name),
                }
            };
        }
        match self {
            Twin::EhrOnly => of!("ehr_only"),
            Twin::CarryForward => of!("carry_forward"),
            Twin::Generated | Twin::Swapped => of!("generated"),
            Twin::Oracle => of!("oracle"),
            Twin::NoReference => of!("no_reference"),
            Twin::NoEhr => of!("no_ehr"),
            Twin::NoContrastive => of!("no_contrastive"),
            Twin::NoAuxiliary => of!("no_auxiliary"),
            Twin::NoEhrAtAll => of!("no_ehr_at_all"),
        }
    }

    pub(super) const fn latent(self) -> Latent {
        match self {
            Twin::EhrOnly => Latent::None,
            Twin::CarryForward => Latent::Carried,
            _ => Latent::Generated,
        }
    }

    /// How its fusion model's windows are shown: as it will be asked, and in no other way.
    pub(super) fn shown(self, recipe: FusionWeights) -> FusionWeights {
        FusionWeights {
            without_film: f64::from(u8::from(self == Twin::EhrOnly)),
            carried: f64::from(u8::from(self == Twin::CarryForward)),
            ..recipe
        }
    }
}

impl Ablation {
    pub(super) const ALL: [Ablation; 4] =
        [Ablation::Reference, Ablation::Ehr, Ablation::Contrastive, Ablation::Auxiliary];

    /// The stage of its diffusion model.
    pub(super) const fn stage(self) -> &'static str {
        match self {
            Ablation::Reference => "ldm_no_reference",
            Ablation::Ehr => "ldm_no_ehr",
            Ablation::Contrastive => "ldm_no_contrastive",
            Ablation::Auxiliary => "ldm_no_auxiliary",
        }
    }

    /// The twins that are shown what it generates.
    pub(super) const fn twins(self) -> &'static [Twin] {
        match self {
            Ablation::Reference => &[Twin::NoReference],
            Ablation::Ehr => &[Twin::NoEhr, Twin::NoEhrAtAll],
            Ablation::Contrastive => &[Twin::NoContrastive],
            Ablation::Auxiliary => &[Twin::NoAuxiliary],
        }
    }

    pub(super) const fn conditions(self) -> Conditions {
        Conditions {
            reference: !matches!(self, Ablation::Reference),
            ehr: !matches!(self, Ablation::Ehr),
        }
    }

    /// The terms of the loss that are left; without EHR neither of the two terms that are about it.
    pub(super) fn weights(self, recipe: LdmWeights) -> LdmWeights {
        let drops = |one| self == one || self == Ablation::Ehr;
        LdmWeights {
            contrastive: if drops(Ablation::Contrastive) { 0.0 } else { recipe.contrastive },
            auxiliary: if drops(Ablation::Auxiliary) { 0.0 } else { recipe.auxiliary },
            ..recipe
        }
    }
}
