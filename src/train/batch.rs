//! Batches: films, latents and EHR of several samples as tensors.

use burn::tensor::{Device, Tensor, TensorData};

use super::TrainError;
use super::sample::FilmSample;
use crate::model::config::{EHR_COLUMNS, N_FINDINGS, ResNetConfig, VaeConfig};
use crate::model::film_input::{for_resnet, for_vae};

/// Hourly EHR of a batch, padded at the end to the longest.
#[derive(Clone, Debug)]
pub(super) struct EhrBatch {
    /// `[batch, bins, 79]`
    pub(super) values: Tensor<3>,
    /// `[batch, bins]`: 1 for bins that count, 0 for padding.
    pub(super) keep: Tensor<2>,
}

impl EhrBatch {
    /// The same hours with nothing in them, none of which counts.
    pub(super) fn emptied(self) -> Self {
        EhrBatch { values: self.values.zeros_like(), keep: self.keep.zeros_like() }
    }
}

/// Films for the autoencoder, `[batch, channels, side, side]` in −1..=1.
pub(super) fn films(
    films: &[&FilmSample],
    config: &VaeConfig,
    device: &Device,
) -> Result<Tensor<4>, TrainError> {
    let one = |film: &&FilmSample| Ok(for_vae(film.film()?.pixels(), config, device));
    Ok(Tensor::cat(films.iter().map(one).collect::<Result<_, TrainError>>()?, 0))
}

/// Films for the fusion model's image branch; black where there is none.
pub(super) fn branch(
    films: &[Option<&FilmSample>],
    config: &ResNetConfig,
    device: &Device,
) -> Result<Tensor<4>, TrainError> {
    let one = |film: &Option<&FilmSample>| {
        let film = film.map(FilmSample::film).transpose()?;
        let pixels = film.as_ref().map_or(&[][..], |film| film.pixels());
        Ok(for_resnet(pixels, config, device))
    };
    Ok(Tensor::cat(films.iter().map(one).collect::<Result<_, TrainError>>()?, 0))
}

/// Findings `[batch, 14]`.
pub(super) fn findings(films: &[&FilmSample], device: &Device) -> Tensor<2> {
    let values: Vec<f32> = films.iter().flat_map(|film| film.findings).collect();
    Tensor::from_data(TensorData::new(values, [films.len(), N_FINDINGS]), device)
}

/// Latents `[batch, z, side, side]`; zeros where there is none.
pub(super) fn latents(values: &[Option<&[f32]>], config: &VaeConfig, device: &Device) -> Tensor<4> {
    let (z, side) = (config.z_channels, config.latent_side());
    let mut all = Vec::with_capacity(values.len() * config.latent_len());
    for latent in values {
        match latent {
            Some(latent) => all.extend_from_slice(latent),
            None => all.resize(all.len() + config.latent_len(), 0.0),
        }
    }
    Tensor::from_data(TensorData::new(all, [values.len(), z, side, side]), device)
}

/// Normalised grids, each row by row with 79 columns.
pub(super) fn ehr(grids: &[Vec<f32>], device: &Device) -> EhrBatch {
    let bins = |grid: &[f32]| grid.len() / EHR_COLUMNS;
    let longest = grids.iter().map(|grid| bins(grid)).max().unwrap_or(0).max(1);
    let mut values = vec![0.0; grids.len() * longest * EHR_COLUMNS];
    let mut keep = vec![0.0; grids.len() * longest];
    for (i, grid) in grids.iter().enumerate() {
        let from = i * longest;
        values[from * EHR_COLUMNS..][..grid.len()].copy_from_slice(grid);
        keep[from..from + bins(grid)].fill(1.0);
    }
    let shape = [grids.len(), longest, EHR_COLUMNS];
    EhrBatch {
        values: Tensor::from_data(TensorData::new(values, shape), device),
        keep: Tensor::from_data(TensorData::new(keep, [grids.len(), longest]), device),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_grids_are_padded_and_masked() {
        let (short, long) = (vec![1.0; EHR_COLUMNS], vec![2.0; 3 * EHR_COLUMNS]);
        let batch = ehr(&[short, long], &Device::flex());
        assert_eq!(batch.values.dims(), [2, 3, EHR_COLUMNS]);
        let keep = batch.keep.into_data().try_to_vec::<f32>().expect("f32");
        assert_eq!(keep, [1.0, 0.0, 0.0, 1.0, 1.0, 1.0]);
    }
}
