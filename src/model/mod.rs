//! The networks of DDL-CXR (`reference/ddl-cxr.md`): autoencoder, denoising network, EHR encoder,
//! fusion models, the noise schedule and its samplers, and the model directory that holds them.
//! Nets only: no queue, no thread, no clock.

pub mod artifact;
mod check;
pub mod config;
pub mod ehr_encoder;
pub mod film_input;
pub mod fusion;
pub mod layers;
pub mod resnet;
pub mod sampler;
pub mod schedule;
pub mod unet;
pub mod vae;
pub mod weights;

pub use artifact::{Artifact, ArtifactError, Networks};
pub use config::DdlCxrConfig;
pub use ehr_encoder::EhrEncoder;
pub use fusion::{Fusion, FusionInput};
pub use layers::Init;
pub use sampler::Sampler;
pub use schedule::Schedule;
pub use unet::Unet;
pub use vae::Vae;
