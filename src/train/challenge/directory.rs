//! The directory of a trained outcome model.
//!
//! | file | holds |
//! |---|---|
//! | `config.json` | the encoder's sizes, and how the model came about |
//! | `scaling.json` | value axes, or means and deviations of the grid |
//! | `weights.safetensors` | every member, under `member.N.` |
//! | `model_card.md` | what a reader must know |
//! | `manifest.json` | SHA-256 of each file |

use std::collections::BTreeMap;
use std::path::Path;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::super::TrainError;
use super::fit::{OutcomeModel, empty};
use super::inputs::Scaling;
use super::recipe::EhrRecipe;
use crate::ids::Digest;
use crate::model::config::SeriesEncoderConfig;
use crate::model::weights::{
    Tensors, prefixed, read_safetensors, tensors_of, under, with_tensors, write_safetensors,
};

/// The version of this layout.
const FORMAT: u32 = 1;

const CONFIG: &str = "config.json";
const SCALING: &str = "scaling.json";
const WEIGHTS: &str = "weights.safetensors";
const CARD: &str = "model_card.md";
const MANIFEST: &str = "manifest.json";

/// Networks that a directory may hold.
const MEMBERS_MAX: usize = 100;

/// How a model came about.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct About {
    pub format: u32,
    /// The dictionary that its inputs are read by.
    pub dictionary: String,
    /// Hours after admission at which it predicts.
    pub hours: i64,
    pub encoder: SeriesEncoderConfig,
    pub members: usize,
    pub seed: u64,
    pub recipe: EhrRecipe,
    /// Stays that it was trained on, and how many of them ended in death.
    pub stays: usize,
    pub died: usize,
    /// The command that a reader would repeat.
    pub command: String,
}

/// A model with its story.
#[derive(Clone, Debug)]
pub struct Trained {
    pub model: OutcomeModel,
    pub about: About,
}

impl Trained {
    /// `stays` and `died` are those that `model` was trained on.
    pub fn new(
        model: OutcomeModel,
        recipe: &EhrRecipe,
        seed: u64,
        (stays, died): (usize, usize),
        command: &str,
    ) -> Self {
        let about = About {
            format: FORMAT,
            dictionary: "physionet2012".to_owned(),
            hours: super::HOURS,
            encoder: model.encoder.clone(),
            members: model.members.len(),
            seed,
            recipe: recipe.clone(),
            stays,
            died,
            command: command.to_owned(),
        };
        Trained { model, about }
    }

    /// Writes the directory, the manifest last.
    ///
    /// # Errors
    /// [`TrainError::Write`].
    pub fn save(&self, dir: &Path) -> Result<(), TrainError> {
        std::fs::create_dir_all(dir).map_err(|error| TrainError::write(dir, error))?;
        let mut tensors = Tensors::new();
        for (i, member) in self.model.members.iter().enumerate() {
            tensors.extend(prefixed(tensors_of(member), &format!("member.{i}.")));
        }
        let files = [
            (CONFIG, json(&self.about)?),
            (SCALING, json(&self.model.scaling)?),
            (WEIGHTS, write_safetensors(&tensors)?),
            (CARD, self.card().into_bytes()),
        ];
        let mut digests = BTreeMap::new();
        for (name, bytes) in &files {
            digests.insert(*name, Digest::of(bytes).to_string());
            write(&dir.join(name), bytes)?;
        }
        write(&dir.join(MANIFEST), &json(&digests)?)
    }

    /// Reads a directory; every file must have the digest of the manifest.
    ///
    /// # Errors
    /// [`TrainError::Data`] for a file that is missing, altered or of another format;
    /// [`TrainError::Weights`] where weights do not fit the config.
    pub fn load(dir: &Path) -> Result<Self, TrainError> {
        let manifest: BTreeMap<String, String> = parse(dir, MANIFEST, &read(dir, MANIFEST)?)?;
        let checked = |name: &str| -> Result<Vec<u8>, TrainError> {
            let bytes = read(dir, name)?;
            match manifest.get(name) == Some(&Digest::of(&bytes).to_string()) {
                true => Ok(bytes),
                false => Err(fault(dir, name, &"it was altered; copy the model again")),
            }
        };
        let about: About = parse(dir, CONFIG, &checked(CONFIG)?)?;
        if about.format != FORMAT || !(1..=MEMBERS_MAX).contains(&about.members) {
            return Err(fault(dir, CONFIG, &"its format is not known; use a newer program"));
        }
        about.encoder.check()?;
        let scaling: Scaling = parse(dir, SCALING, &checked(SCALING)?)?;
        let fits = matches!(
            (&scaling, &about.encoder),
            (Scaling::Events(_), SeriesEncoderConfig::Events(_))
                | (Scaling::Grid(_), SeriesEncoderConfig::Grid(_))
        );
        if !fits {
            return Err(fault(dir, SCALING, &"it belongs to the other encoder"));
        }
        let tensors = read_safetensors(&checked(WEIGHTS)?, true)?;
        let mut members = Vec::with_capacity(about.members);
        for i in 0..about.members {
            let own = under(&tensors, &format!("member.{i}."));
            members.push(with_tensors(empty(&about.encoder), &own)?);
        }
        let model = OutcomeModel { scaling, encoder: about.encoder.clone(), members };
        Ok(Trained { model, about })
    }

    fn card(&self) -> String {
        let About { stays, died, members, seed, command, .. } = &self.about;
        format!(
            "# Death in hospital from the first 48 hours, {} encoder\n\nResearch use only. Not \
             validated on anybody: trained on {stays} stays of the PhysioNet/CinC Challenge 2012 \
             ({died} deaths), ICUs of one hospital between 2001 and 2008. {members} networks of \
             other seeds, whose probabilities are averaged; how well they do on stays not seen is \
             what `nowcxr train ehr --folds 5` measures.\n\n```\n{command}\n```\n\nSeed {seed}. \
             The data are under the Open Data Commons Attribution License v1.0: Predicting \
             Mortality of ICU Patients: the PhysioNet/CinC Challenge 2012 v1.0.0, I. Silva, \
             G. Moody, R. Mark, L.A. Celi.\n",
            self.about.recipe.encoder.name(),
        )
    }
}

fn fault(dir: &Path, name: &str, why: &dyn std::fmt::Display) -> TrainError {
    TrainError::Data(format!("{} of the model cannot be used: {why}", dir.join(name).display()))
}

fn read(dir: &Path, name: &str) -> Result<Vec<u8>, TrainError> {
    std::fs::read(dir.join(name)).map_err(|error| fault(dir, name, &error))
}

fn parse<T: DeserializeOwned>(dir: &Path, name: &str, bytes: &[u8]) -> Result<T, TrainError> {
    serde_json::from_slice(bytes).map_err(|error| fault(dir, name, &error))
}

fn json(value: &impl Serialize) -> Result<Vec<u8>, TrainError> {
    let mut bytes =
        serde_json::to_vec_pretty(value).map_err(|error| TrainError::Data(error.to_string()))?;
    bytes.push(b'\n');
    Ok(bytes)
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), TrainError> {
    std::fs::write(path, bytes).map_err(|error| TrainError::write(path, error))
}
