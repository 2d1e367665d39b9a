//! Which variables a prediction hangs on, by occlusion: the fusion is run again without one
//! variable at a time, as if it had never been observed. The latent stays as it is, so what a
//! variable does through the generated film is not in it.

use std::collections::BTreeSet;

use burn::tensor::{Tensor, TensorData};

use super::{FusionEhr, Pipeline};
use crate::event::risk::{Contribution, Probability};
use crate::ids::VariableId;
use crate::model::config::EHR_COLUMNS;
use crate::model::fusion::FusionInput;
use crate::ports::PredictionRequest;
use crate::series::grid::PREDICTION_BINS;

/// Contributions that a risk event carries.
const CONTRIBUTIONS_MAX: usize = 5;

/// What the fusion for mortality is shown besides the EHR, each with a batch of 1.
pub(super) struct Shown {
    pub latent: Tensor<4>,
    pub image_features: Tensor<2>,
    /// Whether the latent counts, and whether the film does.
    pub present: [f32; 2],
}

impl Pipeline {
    /// The variables without which `mortality` would differ most, strongest first.
    pub(super) fn attribution(
        &self,
        request: &PredictionRequest,
        ehr: &FusionEhr,
        shown: &Shown,
        mortality: Probability,
    ) -> Vec<Contribution> {
        let observed: BTreeSet<VariableId> = request.rows.iter().map(|row| row.variable).collect();
        let inputs = |id: &VariableId| {
            self.dictionary.variable(*id).is_some_and(|variable| variable.columns.is_some())
        };
        let observed: Vec<VariableId> = observed.into_iter().filter(inputs).collect();
        let logits = self.occluded(request, &observed, ehr, shown);
        let contribution = |(id, logit): (&VariableId, f32)| {
            let without = self.model.calibration.mortality.probability(logit);
            let variable = self.dictionary.variable(*id)?.code.clone();
            let change = mortality.get() - without;
            change.is_finite().then_some(Contribution { variable, change })
        };
        let mut all: Vec<Contribution> =
            observed.iter().zip(logits).filter_map(contribution).collect();
        // A stable sort: ties stay in the order of the dictionary.
        all.sort_by(|a, b| b.change.abs().total_cmp(&a.change.abs()));
        all.truncate(CONTRIBUTIONS_MAX);
        all
    }

    /// Logits of mortality, one for each variable left out.
    fn occluded(
        &self,
        request: &PredictionRequest,
        left_out: &[VariableId],
        ehr: &FusionEhr,
        shown: &Shown,
    ) -> Vec<f32> {
        if left_out.is_empty() {
            return Vec::new();
        }
        let batch = left_out.len();
        let grids = left_out.iter().map(|&variable| {
            let rows = request.rows.iter().filter(|row| row.variable != variable).copied();
            self.fusion_grid(&PredictionRequest { rows: rows.collect(), ..request.clone() })
        });
        let [_, z, h, w] = shown.latent.dims();
        let [_, width] = shown.image_features.dims();
        let present = TensorData::new(shown.present.repeat(batch), [batch, 2]);
        let input = FusionInput {
            ehr: Tensor::cat(grids.map(|grid| grid.values).collect(), 0),
            ehr_keep: Some(ehr.keep.clone().expand([batch, PREDICTION_BINS])),
            latent: shown.latent.clone().expand([batch, z, h, w]),
            image_features: shown.image_features.clone().expand([batch, width]),
            present: Some(Tensor::from_data(present, &self.device)),
        };
        debug_assert_eq!(input.ehr.dims(), [batch, PREDICTION_BINS, EHR_COLUMNS]);
        let logits = self.model.networks.fusion_mortality.forward(input);
        logits.into_data().try_into_vec().unwrap_or_default()
    }
}
