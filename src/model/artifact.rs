//! A model directory: everything that a prediction depends on, under one digest.
//!
//! | file | holds |
//! |---|---|
//! | `config.json` | the sizes, [`DdlCxrConfig`] |
//! | `weights.safetensors` | all networks, under the field names of [`Networks`] |
//! | `noise.safetensors` | `x_T`, the noise that every sample starts from |
//! | `normalisers.json` | the LDM's and the prediction's |
//! | `calibration.json` | a recalibration for each output |
//! | `model_card.md` | what a reader must know; not covered by the digest |
//! | `manifest.json` | name, version, doubts, SHA-256 of each file |

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use burn::module::Module;
use burn::tensor::Device;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::calibration::Calibration;
use super::config::{ConfigError, DdlCxrConfig};
use super::ehr_encoder::EhrEncoder;
use super::fusion::Fusion;
use super::layers::{Init, gaussian};
use super::unet::Unet;
use super::vae::Vae;
use super::weights::{
    NamedTensor, Tensors, WeightsError, read_safetensors, tensors_of, with_tensors,
    write_safetensors,
};
use crate::event::dictionary::Profile;
use crate::event::risk::{Doubt, ModelName, N_PHENOTYPES};
use crate::ids::Digest;
use crate::series::Normaliser;

/// The version of this layout. A later one is refused, not guessed at.
pub const FORMAT: u32 = 1;

const CONFIG: &str = "config.json";
const WEIGHTS: &str = "weights.safetensors";
const NOISE: &str = "noise.safetensors";
const NORMALISERS: &str = "normalisers.json";
pub(super) const CALIBRATION: &str = "calibration.json";
pub(super) const CARD: &str = "model_card.md";
pub(super) const MANIFEST: &str = "manifest.json";

/// The files that the digest covers, in its order.
pub(super) const DIGESTED: [&str; 5] = [CONFIG, WEIGHTS, NOISE, NORMALISERS, CALIBRATION];

/// The name of the starting noise in its file.
const X_T: &str = "x_T";

/// A file of a model directory may not be larger: twice the paper's model in f32.
pub const MAX_FILE_BYTES: u64 = 4 << 30;

/// Why a model directory cannot be used, split by what the operator does.
#[derive(Debug, Error)]
pub enum ArtifactError {
    #[error("cannot read or write {path}: {error}; check the path and its permissions")]
    Io { path: PathBuf, error: std::io::Error },
    #[error("{file} of the model is larger than {MAX_FILE_BYTES} bytes; this is not a model")]
    TooLarge { file: String },
    #[error("{file} of the model does not have the digest in its manifest; copy the model again")]
    Altered { file: String },
    #[error("{file} of the model cannot be understood: {fault}; train or import the model again")]
    Content { file: String, fault: String },
    #[error("the model has format {0}, this program reads {FORMAT}; use a newer program")]
    Format(u32),
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Weights(#[from] WeightsError),
}

/// All networks. Field names are the prefixes of their tensors.
#[derive(Module, Debug)]
pub struct Networks {
    pub vae: Vae,
    pub unet: Unet,
    pub ehr: EhrEncoder,
    pub fusion_mortality: Fusion,
    pub fusion_phenotype: Fusion,
}

/// The two scalings of the EHR grid (`reference/ddl-cxr.md` 1.9).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Normalisers {
    /// For the LDM's EHR encoder.
    pub ldm: Normaliser,
    /// For the fusion models.
    pub prediction: Normaliser,
}

/// What the manifest says of the model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct About {
    pub name: String,
    pub version: String,
    /// The data that the weights come from, in one sentence.
    pub trained_on: String,
    /// Doubts that hold for every prediction of this model.
    pub doubts: Vec<Doubt>,
    /// The input that the model was trained on.
    pub profile: Profile,
    /// Whether the fusion models were trained on windows at any hour, not only at 48 h.
    pub any_hour: bool,
}

#[derive(Serialize, Deserialize)]
pub(super) struct Manifest {
    pub(super) format: u32,
    #[serde(flatten)]
    pub(super) about: About,
    /// SHA-256 of each file, in hexadecimal.
    pub(super) files: BTreeMap<String, String>,
}

/// A model, ready to predict.
#[derive(Clone, Debug)]
pub struct Artifact {
    pub config: DdlCxrConfig,
    pub networks: Networks,
    /// x_T, `z · h · w` numbers.
    pub noise: Vec<f32>,
    pub normalisers: Normalisers,
    pub calibration: Calibration,
    pub about: About,
    pub card: String,
    digest: Digest,
}

/// What a model is made of before it has a digest.
#[derive(Clone, Debug)]
pub struct Parts {
    pub config: DdlCxrConfig,
    pub networks: Networks,
    pub noise: Vec<f32>,
    pub normalisers: Normalisers,
    pub calibration: Calibration,
    pub about: About,
    pub card: String,
}

impl Networks {
    /// Networks of these sizes; `config` must have passed its check.
    pub fn new(config: &DdlCxrConfig, init: &mut Init) -> Self {
        Networks {
            vae: Vae::new(&config.vae, init),
            unet: Unet::new(&config.unet, init),
            ehr: EhrEncoder::new(&config.ehr_encoder, init),
            fusion_mortality: Fusion::new(&config.fusion_mortality, init),
            fusion_phenotype: Fusion::new(&config.fusion_phenotype, init),
        }
    }
}

/// The starting noise of a model of these sizes, drawn from `seed`. It is stored in the model and
/// shared by all samples, because the reference's own was never saved (defect B9).
pub fn draw_noise(config: &DdlCxrConfig, seed: u64) -> Vec<f32> {
    gaussian(seed, config.vae.latent_len())
}

impl Artifact {
    /// A model of these parts. Fails if they do not fit each other.
    pub fn new(parts: Parts) -> Result<Self, ArtifactError> {
        parts.config.check()?;
        let contents = parts.contents()?;
        let digest = digest_of(&contents);
        let Parts { config, networks, noise, normalisers, calibration, about, card } = parts;
        let artifact =
            Artifact { config, networks, noise, normalisers, calibration, about, card, digest };
        artifact.check()?;
        Ok(artifact)
    }

    /// Reads a model directory and puts the networks on `device`. Every file must have the digest
    /// that the manifest says, and the weights must fit the config.
    pub fn load(dir: &Path, device: &Device) -> Result<Self, ArtifactError> {
        let manifest: Manifest = parse(MANIFEST, &read(dir, MANIFEST)?)?;
        if manifest.format != FORMAT {
            return Err(ArtifactError::Format(manifest.format));
        }
        let mut contents = BTreeMap::new();
        for file in DIGESTED.into_iter().chain([CARD]) {
            let bytes = read(dir, file)?;
            let digest = Digest::of(&bytes).to_string();
            if manifest.files.get(file) != Some(&digest) {
                return Err(ArtifactError::Altered { file: file.to_owned() });
            }
            contents.insert(file, bytes);
        }
        let bytes = |file: &str| contents.get(file).map_or(&[][..], Vec::as_slice);
        let config: DdlCxrConfig = parse(CONFIG, bytes(CONFIG))?;
        config.check()?;
        let empty = Networks::new(&config, &mut Init::zeros(device));
        let networks = with_tensors(empty, &read_safetensors(bytes(WEIGHTS), true)?)?;
        let mut noise = read_safetensors(bytes(NOISE), true)?;
        let artifact = Artifact {
            networks,
            noise: noise.remove(X_T).map(|tensor| tensor.values).unwrap_or_default(),
            normalisers: parse(NORMALISERS, bytes(NORMALISERS))?,
            calibration: parse(CALIBRATION, bytes(CALIBRATION))?,
            about: manifest.about,
            card: String::from_utf8_lossy(bytes(CARD)).into_owned(),
            digest: digest_of(&contents),
            config,
        };
        artifact.check()?;
        Ok(artifact)
    }

    /// The same on the CPU, for those who only look at a model.
    pub fn load_on_cpu(dir: &Path) -> Result<Self, ArtifactError> {
        Artifact::load(dir, &Device::flex())
    }

    /// Writes the model directory. Files are written one by one and the manifest last, so that a
    /// directory that was cut short does not load.
    pub fn save(&self, dir: &Path) -> Result<(), ArtifactError> {
        let io = |error| ArtifactError::Io { path: dir.to_path_buf(), error };
        std::fs::create_dir_all(dir).map_err(io)?;
        let mut contents = self.parts().contents()?;
        contents.insert(CARD, self.card.clone().into_bytes());
        let hex = |bytes: &Vec<u8>| Digest::of(bytes).to_string();
        let files = contents.iter().map(|(file, bytes)| ((*file).to_owned(), hex(bytes))).collect();
        let manifest = Manifest { format: FORMAT, about: self.about.clone(), files };
        for (file, bytes) in &contents {
            write(dir, file, bytes)?;
        }
        write(dir, MANIFEST, &json(MANIFEST, &manifest)?)
    }

    /// Gives the model in `dir` another calibration and card, and leaves every other file as it is,
    /// byte for byte. The new digest.
    pub fn replace_calibration(
        dir: &Path,
        calibration: &Calibration,
        card: &str,
    ) -> Result<Digest, ArtifactError> {
        let mut manifest: Manifest = parse(MANIFEST, &read(dir, MANIFEST)?)?;
        let mut contents = BTreeMap::new();
        for file in DIGESTED {
            contents.insert(file, read(dir, file)?);
        }
        let bytes = json(CALIBRATION, calibration)?;
        contents.insert(CALIBRATION, bytes.clone());
        let digest = digest_of(&contents);
        for (file, bytes) in [(CALIBRATION, &bytes[..]), (CARD, card.as_bytes())] {
            manifest.files.insert(file.to_owned(), Digest::of(bytes).to_string());
            write(dir, file, bytes)?;
        }
        write(dir, MANIFEST, &json(MANIFEST, &manifest)?)?;
        Ok(digest)
    }

    /// Covers config, weights, noise, normalisers and calibration.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// As risk events name the model.
    pub fn name(&self) -> ModelName {
        ModelName {
            name: self.about.name.clone(),
            version: self.about.version.clone(),
            digest: self.digest,
        }
    }

    fn parts(&self) -> Parts {
        Parts {
            config: self.config.clone(),
            networks: self.networks.clone(),
            noise: self.noise.clone(),
            normalisers: self.normalisers.clone(),
            calibration: self.calibration.clone(),
            about: self.about.clone(),
            card: self.card.clone(),
        }
    }

    fn check(&self) -> Result<(), ArtifactError> {
        let fault = |file: &str, fault: String| {
            Err(ArtifactError::Content { file: file.to_owned(), fault })
        };
        let wanted = self.config.vae.latent_len();
        if self.noise.len() != wanted || !self.noise.iter().all(|x| x.is_finite()) {
            return fault(NOISE, format!("{X_T} must be {wanted} finite numbers"));
        }
        if !self.calibration.is_sound() {
            let wanted = format!("mortality and {N_PHENOTYPES} phenotypes need a sound a, b");
            return fault(CALIBRATION, wanted);
        }
        Ok(())
    }
}

impl Parts {
    /// The bytes of the digested files.
    fn contents(&self) -> Result<BTreeMap<&'static str, Vec<u8>>, ArtifactError> {
        let (side, z) = (self.config.vae.latent_side(), self.config.vae.z_channels);
        let x_t = NamedTensor { shape: vec![z, side, side], values: self.noise.clone() };
        let noise = Tensors::from([(X_T.to_owned(), x_t)]);
        Ok(BTreeMap::from([
            (CONFIG, json(CONFIG, &self.config)?),
            (WEIGHTS, write_safetensors(&tensors_of(&self.networks))?),
            (NOISE, write_safetensors(&noise)?),
            (NORMALISERS, json(NORMALISERS, &self.normalisers)?),
            (CALIBRATION, json(CALIBRATION, &self.calibration)?),
        ]))
    }
}

/// The digest of the digested files' digests, each behind its name.
fn digest_of(contents: &BTreeMap<&'static str, Vec<u8>>) -> Digest {
    digest_over(|file| Digest::of(contents.get(file).map_or(&[][..], Vec::as_slice)))
}

/// The same from what `of` says of each file.
pub(super) fn digest_over(of: impl Fn(&str) -> Digest) -> Digest {
    let mut all = Vec::new();
    for file in DIGESTED {
        all.extend_from_slice(file.as_bytes());
        all.extend_from_slice(&of(file).0);
    }
    Digest::of(&all)
}

fn read(dir: &Path, file: &str) -> Result<Vec<u8>, ArtifactError> {
    let path = dir.join(file);
    let io = |error| ArtifactError::Io { path: path.clone(), error };
    if std::fs::metadata(&path).map_err(io)?.len() > MAX_FILE_BYTES {
        return Err(ArtifactError::TooLarge { file: file.to_owned() });
    }
    std::fs::read(&path).map_err(io)
}

fn write(dir: &Path, file: &str, bytes: &[u8]) -> Result<(), ArtifactError> {
    let path = dir.join(file);
    std::fs::write(&path, bytes).map_err(|error| ArtifactError::Io { path, error })
}

pub(super) fn parse<T: DeserializeOwned>(file: &str, bytes: &[u8]) -> Result<T, ArtifactError> {
    serde_json::from_slice(bytes).map_err(|e| content(file, &e))
}

fn json<T: Serialize>(file: &str, value: &T) -> Result<Vec<u8>, ArtifactError> {
    let mut bytes = serde_json::to_vec_pretty(value).map_err(|e| content(file, &e))?;
    bytes.push(b'\n');
    Ok(bytes)
}

fn content(file: &str, error: &serde_json::Error) -> ArtifactError {
    ArtifactError::Content { file: file.to_owned(), fault: error.to_string() }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::model::config::EHR_COLUMNS;

    /// A model with random weights, for tests.
    pub(crate) fn random(seed: u64) -> Artifact {
        let config = DdlCxrConfig::demo();
        let device = Device::flex();
        let networks = Networks::new(&config, &mut Init::seeded(seed, &device));
        // Convolutions that start as zero would hide most of the network from a test.
        let mut tensors = tensors_of(&networks);
        for (name, tensor) in &mut tensors {
            if name.starts_with("unet.") && tensor.values.iter().all(|value| *value == 0.0) {
                tensor.values = gaussian(seed, tensor.values.len());
                tensor.values.iter_mut().for_each(|value| *value *= 0.05);
            }
        }
        let networks = with_tensors(networks, &tensors).expect("fits");
        let normaliser = |mean: f64| {
            Normaliser::new(&[mean; EHR_COLUMNS], &[50.0 / 3.0; EHR_COLUMNS]).expect("sound")
        };
        let parts = Parts {
            noise: draw_noise(&config, seed),
            networks,
            normalisers: Normalisers { ldm: normaliser(70.1), prediction: normaliser(200.0 / 3.0) },
            calibration: Calibration::identity(),
            about: About {
                name: "random".to_owned(),
                version: "0".to_owned(),
                trained_on: "nothing".to_owned(),
                doubts: vec![Doubt::NotValidated, Doubt::SyntheticTraining],
                profile: Profile::Clinical,
                any_hour: false,
            },
            card: "# Random weights\n".to_owned(),
            config,
        };
        Artifact::new(parts).expect("fits")
    }

    #[test]
    fn a_model_survives_its_directory_bit_for_bit() {
        let dir = tempfile::tempdir().expect("dir");
        let model = random(3);
        model.save(dir.path()).expect("saved");
        let loaded = Artifact::load(dir.path(), &Device::flex()).expect("loaded");
        assert_eq!(loaded.digest(), model.digest());
        assert_eq!(loaded.config, model.config);
        assert_eq!(loaded.noise, model.noise);
        assert_eq!(loaded.calibration, model.calibration);
        assert_eq!(loaded.about, model.about);
        assert_eq!(loaded.normalisers, model.normalisers);
        assert_eq!(tensors_of(&loaded.networks), tensors_of(&model.networks));
        let again = tempfile::tempdir().expect("dir");
        loaded.save(again.path()).expect("saved");
        for file in DIGESTED.into_iter().chain([CARD, MANIFEST]) {
            assert_eq!(read(dir.path(), file).expect("a"), read(again.path(), file).expect("b"));
        }
    }

    #[test]
    fn another_weight_is_another_digest() {
        assert_ne!(random(3).digest(), random(4).digest());
        let mut parts = random(3).parts();
        parts.calibration.mortality.b = 0.1;
        assert_ne!(Artifact::new(parts).expect("fits").digest(), random(3).digest());
    }

    #[test]
    fn an_altered_or_cut_file_is_refused() {
        let dir = tempfile::tempdir().expect("dir");
        random(3).save(dir.path()).expect("saved");
        let load = || Artifact::load(dir.path(), &Device::flex());
        let path = dir.path().join(CALIBRATION);
        let good = std::fs::read(&path).expect("read");
        std::fs::write(&path, &good[..good.len() - 9]).expect("write");
        assert!(matches!(load(), Err(ArtifactError::Altered { file }) if file == CALIBRATION));
        std::fs::write(&path, good).expect("write");
        assert!(load().is_ok());
        std::fs::remove_file(dir.path().join(MANIFEST)).expect("remove");
        assert!(matches!(load(), Err(ArtifactError::Io { .. })));
    }
}
