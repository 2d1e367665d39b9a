//! What a run's directory holds: which recording, told how, under which configuration. A second
//! run of the same goes on where the first one stopped; one of something else is refused, because
//! the log would take its records for repeats.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};

use crate::config::Config;
use crate::ids::Digest;
use crate::replay::{Anchor, ReplayConfig};

const FILE: &str = "run.json";

/// Says in a data set that its films and stays do not belong together.
const PAIRING_FILE: &str = "PAIRING.csv";

/// Whether the films of this MIMIC-CXR directory were paired with their stays by lot.
pub fn is_pairing_simulated(mimic_cxr: &Path) -> bool {
    mimic_cxr.join(PAIRING_FILE).exists()
}

/// The contents of `run.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Held {
    /// Digest of the replay's settings.
    replay: String,
    /// Digest of the names and lengths of the recording's files, and of stays that a file lists.
    data: String,
    /// Digest of configuration and model.
    config: String,
    /// Where the recording stands in time: `now` means the first run's now.
    anchor: Anchor,
    /// Whoever shows a score of this run says so.
    simulated_pairing: bool,
}

impl Held {
    pub fn new(replay: &ReplayConfig, data: Digest, config: &Config, model: Digest) -> Self {
        Held {
            replay: replay.digest().to_string(),
            data: data.to_string(),
            config: config.digest(model).to_string(),
            anchor: replay.anchor,
            simulated_pairing: replay.mimic_cxr.as_deref().is_some_and(is_pairing_simulated),
        }
    }

    /// What an earlier run wrote into `out`, if there was one.
    pub fn read(out: &Path) -> Result<Option<Self>> {
        let path = out.join(FILE);
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            // A path through a file: whoever makes the directory says so.
            Err(error) if error.kind() == std::io::ErrorKind::NotADirectory => return Ok(None),
            Err(error) => {
                return Err(error).with_context(|| format!("cannot read {}", path.display()));
            }
        };
        let held = serde_json::from_str(&text);
        held.map(Some).with_context(|| {
            format!("{} is damaged; remove its directory or name another --out", path.display())
        })
    }

    /// The anchor of an earlier run.
    pub fn anchor(&self) -> Anchor {
        self.anchor
    }

    pub fn simulated_pairing(&self) -> bool {
        self.simulated_pairing
    }

    /// Claims `out` for this run.
    ///
    /// # Errors
    /// If the directory belongs to another recording or configuration, or cannot be written.
    pub fn claim(&self, out: &Path) -> Result<()> {
        let Some(earlier) = Held::read(out)? else { return self.write(out) };
        let what = if earlier.data != self.data {
            "another recording or other stays of it"
        } else if earlier.replay != self.replay {
            "the recording told with other flags or another [replay]"
        } else if earlier.config != self.config {
            "a run under another configuration or model"
        } else {
            return Ok(());
        };
        bail!("{} holds {what}; name another --out, or remove it to start over", out.display())
    }

    /// Whole or not at all.
    fn write(&self, out: &Path) -> Result<()> {
        let path = out.join(FILE);
        let new: PathBuf = out.join("run.json.new");
        let text = serde_json::to_string_pretty(self)?;
        std::fs::create_dir_all(out).with_context(|| format!("cannot make {}", out.display()))?;
        std::fs::write(&new, text)
            .and_then(|()| std::fs::rename(&new, &path))
            .with_context(|| format!("cannot write {}", path.display()))
    }
}
