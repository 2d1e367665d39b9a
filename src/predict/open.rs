//! From a model directory to a pipeline, and from a window to its pictures.

use std::path::Path;

use burn::tensor::Device;
use thiserror::Error;

use super::pipeline::{Pipeline, PredictError};
use crate::model::film_input::GreyImage;
use crate::model::{Artifact, ArtifactError};
use crate::ports::PredictionRequest;

/// Sets how many threads the networks use, 0 for one a core; no outcome depends on it. Holds from
/// the first call on, for the whole process.
pub fn set_threads(threads: usize) {
    let built = rayon::ThreadPoolBuilder::new().num_threads(threads).build_global();
    if let Err(error) = built {
        tracing::debug!("the threads of the networks stay as they are: {error}");
    }
}

/// Why a model directory gives no pipeline.
#[derive(Debug, Error)]
pub enum OpenError {
    #[error(transparent)]
    Artifact(#[from] ArtifactError),
    #[error(transparent)]
    Predict(#[from] PredictError),
}

/// A window's film as the autoencoder sees it, and the one generated for the window's end.
pub struct Pictures {
    pub reference: GreyImage,
    pub generated: GreyImage,
}

impl Pipeline {
    /// Loads the model in `dir` for the CPU. `cache_bytes` bounds the films' features kept.
    pub fn open(dir: &Path, cache_bytes: usize) -> Result<Self, OpenError> {
        let device = Device::flex();
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
