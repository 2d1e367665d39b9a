//! How the outcome model of the Challenge learns: defaults with what a file sets otherwise.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::super::TrainError;
use super::super::learner::Optimiser;
use super::super::recipe::{optimiser_problem, overlay};

/// The default, with a word about each key; printed by `nowcxr train ehr --print-recipe`.
pub const DEFAULT: &str = include_str!("recipe.toml");

/// Networks of one model at most.
const MEMBERS_MAX: u64 = 100;

/// Which encoder reads a stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EncoderKind {
    /// The irregular series itself.
    Events,
    /// The reference's hourly grid.
    Grid,
}

/// A whole recipe.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EhrRecipe {
    pub encoder: EncoderKind,
    pub events: EventsRecipe,
    pub grid: GridRecipe,
}

/// The encoder of the irregular series; keys as in `recipe.toml`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EventsRecipe {
    pub members: u64,
    pub passes: u64,
    pub batch: usize,
    pub auxiliary: f64,
    pub drop_observations: f64,
    pub drop_variables: f64,
    pub statistics: usize,
    pub d_model: usize,
    pub squeeze: usize,
    pub dropout: f64,
    pub optimiser: Optimiser,
}

/// The hourly encoder.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GridRecipe {
    pub members: u64,
    pub passes: u64,
    pub batch: usize,
    pub auxiliary: f64,
    pub d_model: usize,
    pub n_heads: usize,
    pub num_layers: usize,
    pub dim_feedforward: usize,
    pub dropout: f64,
    pub optimiser: Optimiser,
}

/// What both encoders learn by.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Lesson {
    pub(super) members: u64,
    pub(super) passes: u64,
    pub(super) batch: usize,
    pub(super) auxiliary: f64,
    pub(super) optimiser: Optimiser,
}

impl EncoderKind {
    pub fn name(self) -> &'static str {
        match self {
            EncoderKind::Events => "events",
            EncoderKind::Grid => "grid",
        }
    }
}

impl EhrRecipe {
    /// The default with what `text` sets otherwise.
    ///
    /// # Errors
    /// [`TrainError::EhrRecipe`] for text that is no TOML, unknown keys and values out of range.
    pub fn parse(text: &str) -> Result<Self, TrainError> {
        let wrong = |error: toml::de::Error| TrainError::EhrRecipe(error.to_string());
        let mut whole: toml::Table = toml::from_str(DEFAULT).map_err(wrong)?;
        overlay(&mut whole, toml::from_str(text).map_err(wrong)?);
        let recipe: EhrRecipe = whole.try_into().map_err(wrong)?;
        match recipe.problems() {
            problems if problems.is_empty() => Ok(recipe),
            problems => Err(TrainError::EhrRecipe(problems.join("; "))),
        }
    }

    /// The recipe in a file.
    ///
    /// # Errors
    /// As [`EhrRecipe::parse`], and when the file cannot be read.
    pub fn read(path: &Path) -> Result<Self, TrainError> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| TrainError::EhrRecipe(format!("{}: {error}", path.display())))?;
        EhrRecipe::parse(&text)
    }

    pub(super) fn lesson(&self) -> Lesson {
        let EhrRecipe { events: e, grid: g, .. } = self;
        let (members, passes, batch, auxiliary, optimiser) = match self.encoder {
            EncoderKind::Events => (e.members, e.passes, e.batch, e.auxiliary, e.optimiser),
            EncoderKind::Grid => (g.members, g.passes, g.batch, g.auxiliary, g.optimiser),
        };
        Lesson { members, passes, batch, auxiliary, optimiser }
    }

    fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        for encoder in [EncoderKind::Events, EncoderKind::Grid] {
            let name = encoder.name();
            let lesson = EhrRecipe { encoder, ..self.clone() }.lesson();
            if !(1..=MEMBERS_MAX).contains(&lesson.members) {
                problems.push(format!("{name}: members must be in 1..={MEMBERS_MAX}"));
            }
            if lesson.passes == 0 || lesson.batch == 0 {
                problems.push(format!("{name}: passes and batch must be at least 1"));
            }
            if !(lesson.auxiliary >= 0.0 && lesson.auxiliary.is_finite()) {
                problems.push(format!("{name}: auxiliary must be at least 0"));
            }
            problems.extend(optimiser_problem(name, &lesson.optimiser));
        }
        let EventsRecipe { drop_observations, drop_variables, .. } = self.events;
        if [drop_observations, drop_variables].iter().any(|share| !(0.0..=1.0).contains(share)) {
            let what = "events: drop_observations and drop_variables must be shares, 0 to 1";
            problems.push(what.to_owned());
        }
        problems
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_readable_and_a_file_changes_what_it_names_only() {
        let default = EhrRecipe::parse("").unwrap();
        let other = EhrRecipe::parse("encoder = \"grid\"\n[grid]\nmembers = 2").unwrap();
        let mut wanted = default.clone();
        (wanted.encoder, wanted.grid.members) = (EncoderKind::Grid, 2);
        assert_eq!(other, wanted);
        assert_eq!((default.lesson().members, other.lesson().members), (default.events.members, 2));
    }

    #[test]
    fn faults_are_named() {
        let fault = |text: &str| EhrRecipe::parse(text).unwrap_err().to_string();
        assert!(fault("[events]\nmembrs = 2").contains("membrs"));
        assert!(fault("[events]\nmembers = 0").contains("events: members"));
        assert!(fault("[grid.optimiser]\nlearning_rate = 0.0").contains("grid: learning_rate"));
        assert!(fault("encoder = \"trees\"").contains("trees"));
    }
}
