//! What a run leaves so that it can go on: the state of the stage under way, and the networks of
//! the stages that are done. A state is written beside its place and renamed when it is whole, so
//! a kill leaves the one before.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::TrainError;
use super::recipe::Checkpoints;
use crate::ids::Digest;
use crate::model::weights::{Tensors, read_safetensors, write_safetensors};

const STATE: &str = "state.json";
const TENSORS: &str = "tensors.safetensors";

/// Where a run keeps its states, and how often.
pub(super) struct Keeper {
    folder: PathBuf,
    every: Checkpoints,
    /// Of settings and data; a state of another key is refused.
    key: Digest,
    resume: bool,
}

/// How far a stage had come.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct State {
    pub(super) key: String,
    /// The stage's recipe; a stage under way goes on with the same one only.
    pub(super) recipe: String,
    /// Steps made; the place in the data follows from it.
    pub(super) step: u64,
    /// Of the optimiser, and updates of the average.
    pub(super) counts: [u64; 2],
    pub(super) elapsed_s: f64,
    pub(super) checked: u64,
    pub(super) since_best: u64,
    pub(super) best: Option<f64>,
    /// Numbers that the stage carries from step to step.
    pub(super) carried: Vec<f64>,
    /// The stage is over; the tensors are the network's.
    pub(super) done: bool,
}

/// When the last state was written.
pub(super) struct Rhythm {
    step: u64,
    at: Instant,
}

impl Keeper {
    pub(super) fn new(folder: PathBuf, every: Checkpoints, key: Digest, resume: bool) -> Self {
        Keeper { folder, every, key, resume }
    }

    /// One of its own below this one.
    pub(super) fn within(&self, name: &str) -> Self {
        Keeper {
            folder: self.folder.join(name),
            every: self.every,
            key: self.key,
            resume: self.resume,
        }
    }

    pub(super) fn begin(&self, step: u64) -> Rhythm {
        Rhythm { step, at: Instant::now() }
    }

    /// Whether it is time for a state at `step`.
    pub(super) fn is_due(&self, rhythm: &Rhythm, step: u64) -> bool {
        let by_steps = self.every.steps > 0 && step >= rhythm.step + self.every.steps;
        let limit = Duration::try_from_secs_f64(self.every.seconds).unwrap_or(Duration::MAX);
        by_steps || (self.every.seconds > 0.0 && rhythm.at.elapsed() >= limit)
    }

    /// Writes the state of `stage`.
    pub(super) fn save(
        &self,
        stage: &str,
        mut state: State,
        tensors: &Tensors,
    ) -> Result<(), TrainError> {
        state.key = self.key.to_string();
        let place = self.folder.join(stage);
        let part = self.folder.join(format!("{stage}.part"));
        let weights = write_safetensors(tensors)?;
        let text = serde_json::to_vec_pretty(&state)
            .map_err(|error| TrainError::Data(error.to_string()))?;
        let write = || -> std::io::Result<()> {
            remove(&part)?;
            std::fs::create_dir_all(&part)?;
            sync(&part.join(TENSORS), &weights)?;
            sync(&part.join(STATE), &text)?;
            remove(&place)?;
            std::fs::rename(&part, &place)
        };
        write().map_err(|error| TrainError::write(&place, error))
    }

    /// The state of a stage under way or done, if this run is to go on from it.
    pub(super) fn resumed(
        &self,
        stage: &str,
        recipe: &str,
    ) -> Result<Option<(State, Tensors)>, TrainError> {
        let found = if self.resume { self.read(stage)? } else { None };
        match found {
            Some((state, _)) if !state.done && state.recipe != recipe => {
                Err(self.other(&self.folder.join(stage)))
            }
            found => Ok(found),
        }
    }

    fn other(&self, place: &Path) -> TrainError {
        TrainError::Data(format!(
            "{} was made by other settings or data; give the same ones, or another --out",
            place.display()
        ))
    }

    /// The network of a stage that is done.
    pub(super) fn finished(&self, stage: &str) -> Result<Option<(State, Tensors)>, TrainError> {
        Ok(self.read(stage)?.filter(|(state, _)| state.done))
    }

    fn read(&self, stage: &str) -> Result<Option<(State, Tensors)>, TrainError> {
        // A kill between the last two acts of a save leaves the new state under its first name.
        let names = [stage.to_owned(), format!("{stage}.part")];
        let place = names.iter().map(|name| self.folder.join(name));
        let Some(place) = place.into_iter().find(|place| place.join(STATE).is_file()) else {
            return Ok(None);
        };
        let state: State = parse(&place.join(STATE))?;
        if state.key != self.key.to_string() {
            return Err(self.other(&place));
        }
        let path = place.join(TENSORS);
        let bytes = std::fs::read(&path).map_err(|error| unreadable(&path, &error))?;
        Ok(Some((state, read_safetensors(&bytes, true)?)))
    }
}

fn parse<T: DeserializeOwned>(path: &Path) -> Result<T, TrainError> {
    let bytes = std::fs::read(path).map_err(|error| unreadable(path, &error))?;
    serde_json::from_slice(&bytes).map_err(|error| unreadable(path, &error))
}

fn unreadable(path: &Path, error: &dyn std::fmt::Display) -> TrainError {
    TrainError::Data(format!(
        "{} cannot be read: {error}; run again without --resume",
        path.display()
    ))
}

fn sync(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    use std::io::Write as _;
    let mut file = std::fs::File::create(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn remove(dir: &Path) -> std::io::Result<()> {
    match std::fs::remove_dir_all(dir) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::weights::NamedTensor;

    fn keeper(dir: &Path, key: u8) -> Keeper {
        let every = Checkpoints { steps: 10, seconds: 0.0 };
        Keeper::new(dir.to_owned(), every, Digest([key; 32]), true)
    }

    fn tensors(value: f32) -> Tensors {
        let tensor = NamedTensor { shape: vec![2], values: vec![value, 1.0] };
        Tensors::from([("a".to_owned(), tensor)])
    }

    #[test]
    fn a_state_comes_back_and_another_key_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let ours = keeper(dir.path(), 1);
        assert!(ours.resumed("vae", "r").unwrap().is_none());
        let recipe = "r".to_owned();
        let state = State { step: 7, best: Some(0.1 + 0.2), recipe, ..State::default() };
        ours.save("vae", state.clone(), &tensors(3.0)).unwrap();
        let (read, weights) = ours.resumed("vae", "r").unwrap().unwrap();
        assert_eq!((read.step, read.best, weights), (7, state.best, tensors(3.0)));
        assert!(ours.finished("vae").unwrap().is_none(), "it is not done");
        let error = keeper(dir.path(), 2).resumed("vae", "r").unwrap_err().to_string();
        assert!(error.contains("other settings"), "{error}");
        assert!(ours.resumed("vae", "another recipe").is_err());
        ours.save("vae", State { done: true, ..state }, &tensors(4.0)).unwrap();
        assert_eq!(ours.finished("vae").unwrap().unwrap().1, tensors(4.0));
        std::fs::write(dir.path().join("vae").join(TENSORS), b"short").unwrap();
        assert!(ours.resumed("vae", "r").is_err());
    }

    #[test]
    fn states_come_by_steps_or_by_seconds() {
        let dir = tempfile::tempdir().unwrap();
        let ours = keeper(dir.path(), 1);
        let rhythm = ours.begin(5);
        assert!(!ours.is_due(&rhythm, 14) && ours.is_due(&rhythm, 15));
        let never = Checkpoints { steps: 0, seconds: 0.0 };
        let never = Keeper::new(dir.path().to_owned(), never, Digest([1; 32]), false);
        assert!(!never.is_due(&rhythm, 1_000));
    }
}
