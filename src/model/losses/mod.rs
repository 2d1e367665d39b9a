//! The loss terms of the three stages, as functions from tensors to tensors
//! (`reference/ddl-cxr.md` 2.2, 3.4, 4.3). No term knows a network, an optimiser or a weight
//! schedule: the training loops put them together.
//!
//! | stage | terms | where |
//! |---|---|---|
//! | autoencoder | pixels, perceptual, KL, adversarial, findings, weights | [`vae`] |
//! | diffusion | denoising (1), contrastive (2), auxiliary (3), their sum (4) | [`ldm`] |
//! | fusion | weighted binary cross-entropy (5) | [`entropy`] |
//!
//! All means are taken as PyTorch takes them: over every entry at once, so a batch of other size
//! needs no other weight. Tensors are f32; every function keeps the autodiff graph.

pub mod entropy;
pub mod ldm;
pub mod vae;

pub use entropy::{binary_cross_entropy, weighted_binary_cross_entropy};
pub use ldm::{Ldm, LdmTerms};
