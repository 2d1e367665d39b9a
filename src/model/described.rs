//! A model directory as its files describe it, without its networks: what a page or a listing
//! shows, in milliseconds and whatever the size of the weights.

use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

use super::artifact::{
    About, ArtifactError, CALIBRATION, CARD, DIGESTED, FORMAT, MANIFEST, Manifest, digest_over,
    parse,
};
use super::calibration::Calibration;
use crate::ids::Digest;
use crate::wire::form;

/// A larger file is not looked into here; whoever loads the model checks it.
const READ_BYTES_MAX: u64 = 1 << 20;

/// What there is to say of a model.
#[derive(Clone, Debug, PartialEq)]
pub struct Described {
    pub about: About,
    /// As risk events name the model, from the digests of the manifest.
    pub digest: Digest,
    /// What the probabilities were recalibrated on, in a sentence.
    pub calibrated_on: String,
    /// Markdown; empty where there is no card.
    pub card: String,
    pub files: Vec<DescribedFile>,
}

/// One file of the manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DescribedFile {
    pub name: String,
    /// `None` where it is not there.
    pub bytes: Option<u64>,
    /// By the manifest.
    pub sha256: String,
    pub state: FileState,
}

/// A file against the manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileState {
    Whole,
    /// Its bytes are others than the manifest says.
    Altered,
    /// Too large to be read for a description.
    Unread,
    Absent,
}

#[derive(Deserialize)]
#[serde(transparent)]
struct Hexadecimal(#[serde(with = "form")] Digest);

impl Described {
    /// Reads the manifest and the small files of a model directory.
    ///
    /// # Errors
    /// [`ArtifactError`] where there is no manifest, or one that cannot be understood.
    pub fn read(dir: &Path) -> Result<Self, ArtifactError> {
        let bytes = small(dir, MANIFEST).map_err(|error| {
            let path = dir.join(MANIFEST);
            ArtifactError::Io { path, error }
        })?;
        let manifest: Manifest = parse(MANIFEST, &bytes)?;
        if manifest.format != FORMAT {
            return Err(ArtifactError::Format(manifest.format));
        }
        let digest = |file: &str| -> Option<Digest> {
            let text = Value::from(manifest.files.get(file)?.as_str());
            serde_json::from_value::<Hexadecimal>(text).ok().map(|hexadecimal| hexadecimal.0)
        };
        if let Some(file) = DIGESTED.into_iter().find(|file| digest(file).is_none()) {
            let fault = format!("it has no digest of {file}");
            return Err(ArtifactError::Content { file: MANIFEST.to_owned(), fault });
        }
        let calibration = small(dir, CALIBRATION).ok();
        let calibration: Option<Calibration> =
            calibration.and_then(|bytes| parse(CALIBRATION, &bytes).ok());
        let card = small(dir, CARD).unwrap_or_default();
        Ok(Described {
            digest: digest_over(|file| digest(file).unwrap_or(Digest::of(&[]))),
            calibrated_on: calibration.map_or_else(
                || "unknown: calibration.json cannot be read".to_owned(),
                |calibration| calibration.fitted_on,
            ),
            card: String::from_utf8_lossy(&card).into_owned(),
            files: manifest
                .files
                .iter()
                .map(|(name, sha256)| looked_at(dir, name, sha256))
                .collect(),
            about: manifest.about,
        })
    }
}

/// The bytes of a file that is not too large.
fn small(dir: &Path, name: &str) -> std::io::Result<Vec<u8>> {
    let path = dir.join(name);
    if std::fs::metadata(&path)?.len() > READ_BYTES_MAX {
        let why = format!("it is larger than {READ_BYTES_MAX} bytes");
        return Err(std::io::Error::other(why));
    }
    std::fs::read(path)
}

fn looked_at(dir: &Path, name: &str, sha256: &str) -> DescribedFile {
    // A name with a way out of the directory is none of a model's.
    let is_plain = Path::new(name).file_name().is_some_and(|own| own == name);
    let bytes = std::fs::metadata(dir.join(name)).ok().filter(|_| is_plain).map(|of| of.len());
    let state = match bytes {
        None => FileState::Absent,
        Some(bytes) if bytes > READ_BYTES_MAX => FileState::Unread,
        Some(_) => match small(dir, name) {
            Ok(read) if Digest::of(&read).to_string() == sha256 => FileState::Whole,
            Ok(_) => FileState::Altered,
            Err(_) => FileState::Absent,
        },
    };
    DescribedFile { name: name.to_owned(), bytes, sha256: sha256.to_owned(), state }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::artifact::tests::random;

    #[test]
    fn a_description_is_that_of_the_loaded_model_and_sees_a_changed_file() {
        let dir = tempfile::tempdir().unwrap();
        let model = random(3);
        model.save(dir.path()).unwrap();
        let told = Described::read(dir.path()).unwrap();
        assert_eq!((told.digest, &told.about), (model.digest(), &model.about));
        assert_eq!((&told.card, &told.calibrated_on), (&model.card, &model.calibration.fitted_on));
        let state = |told: &Described, name: &str| {
            told.files.iter().find(|file| file.name == name).map(|file| file.state)
        };
        assert_eq!(told.files.len(), 6);
        assert_eq!(state(&told, "weights.safetensors"), Some(FileState::Unread));
        assert_eq!(state(&told, "calibration.json"), Some(FileState::Whole));
        std::fs::write(dir.path().join("calibration.json"), "{}").unwrap();
        std::fs::remove_file(dir.path().join("model_card.md")).unwrap();
        let told = Described::read(dir.path()).unwrap();
        assert_eq!(state(&told, "calibration.json"), Some(FileState::Altered));
        assert_eq!(
            (state(&told, "model_card.md"), told.card.as_str()),
            (Some(FileState::Absent), "")
        );
        assert!(told.calibrated_on.contains("cannot be read"));
    }

    #[test]
    fn a_hostile_manifest_is_an_error_or_leads_nowhere() {
        let dir = tempfile::tempdir().unwrap();
        assert!(Described::read(dir.path()).is_err());
        random(3).save(dir.path()).unwrap();
        let path = dir.path().join("manifest.json");
        let text = std::fs::read_to_string(&path).unwrap();
        let mut manifest: Value = serde_json::from_str(&text).unwrap();
        manifest["files"]["../../etc/passwd"] = "00".into();
        std::fs::write(&path, manifest.to_string()).unwrap();
        let told = Described::read(dir.path()).unwrap();
        assert_eq!(told.files[0].state, FileState::Absent);
        manifest["files"]["config.json"] = "no digest".into();
        std::fs::write(&path, manifest.to_string()).unwrap();
        assert!(Described::read(dir.path()).is_err());
        std::fs::write(&path, "[]").unwrap();
        assert!(Described::read(dir.path()).is_err());
    }
}
