//! Import of checkpoints that PyTorch itself wrote (`tests/peers/checkpoints.py`): every number
//! arrives, moving averages come first, what is hostile or damaged is refused in words.

mod cli;
mod hostile;
mod whole;

use std::path::PathBuf;

use nowcxr::event::dictionary::Profile;
use nowcxr::model::DdlCxrConfig;
use nowcxr::model::import::{Noise, Request};

/// A file under `tests/peers/fixtures`.
pub fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/peers/fixtures").join(name)
}

/// The sizes that the checkpoints were made for.
pub fn config() -> DdlCxrConfig {
    let text = std::fs::read(fixture("tiny_config.json")).expect("a config");
    serde_json::from_slice(&text).expect("a config")
}

/// An import of these files.
pub fn request(files: &[&str]) -> Request {
    Request {
        checkpoints: files.iter().map(|file| fixture(file)).collect(),
        config: config(),
        noise: Noise::Seed(7),
        normalisers: None,
        name: "tiny".to_owned(),
        version: "0".to_owned(),
        profile: Profile::Reference,
    }
}

/// All stages.
pub const ALL: [&str; 4] =
    ["tiny_ldm.ckpt", "tiny_vae.ckpt", "tiny_mortality.pt", "tiny_phenotype.safetensors"];
