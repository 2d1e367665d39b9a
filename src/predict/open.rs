//! From a model directory to a pipeline, and from a window to its pictures.

use std::path::Path;

use thiserror::Error;

use super::device::{DeviceError, device};
use super::pipeline::{Pipeline, PredictError};
use crate::config::DeviceChoice;
use crate::model::film_input::GreyImage;
use crate::model::{Artifact, ArtifactError};
use crate::ports::PredictionRequest;

/// Why a model directory gives no pipeline.
#[derive(Debug, Error)]
pub enum OpenError {
    #[error(transparent)]
    Artifact(#[from] ArtifactError),
    #[error("predict.device: {0}")]
    Device(#[from] DeviceError),
    #[error(transparent)]
    Predict(#[from] PredictError),
}

/// A window's film as the autoencoder sees it, and the one generated for the window's end.
pub struct Pictures {
    pub reference: GreyImage,
    pub generated: GreyImage,
}

impl Pipeline {
    /// Loads the model in `dir`. `cache_bytes` bounds the films' features kept.
    pub fn open(dir: &Path, on: DeviceChoice, cache_bytes: usize) -> Result<Self, OpenError> {
        let device = device(on)?;
        let model = Artifact::load(dir, &device)?;
        Ok(Pipeline::new(model, device, cache_bytes)?)
    }

    /// The pictures of a window; `None` without a film.
    pub fn pictures(&mut self, request: &PredictionRequest) -> Option<Pictures> {
        let generated = self.generate(request)?;
        Some(Pictures {
            reference: self.decode(generated.reference),
            generated: self.decode(generated.now),
        })
    }
}
