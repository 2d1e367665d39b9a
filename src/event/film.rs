//! A chest film as the engine knows it: its digest, its view and when it was taken. The pixels
//! are a value of the store, named by the digest.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::ids::Digest;

/// Side of a prepared film in pixels (`reference/ddl-cxr.md` 1.10).
pub const FILM_SIDE: usize = 224;

/// DICOM ViewPosition, as far as the gate tells views apart. The model knows AP films only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ViewPosition {
    Ap,
    Pa,
    Lateral,
    Unknown,
}

/// A film that passed the gate. `digest` is that of the prepared pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Film {
    pub digest: Digest,
    pub view: ViewPosition,
}

/// 224 × 224 grey pixels, row by row, 0 black and 255 white, bone bright.
#[derive(Clone, PartialEq, Eq)]
pub struct PreparedFilm {
    pixels: Arc<[u8]>,
    digest: Digest,
}

impl PreparedFilm {
    /// `None` unless there are exactly 224 × 224 pixels.
    pub fn new(pixels: Vec<u8>) -> Option<Self> {
        let digest = Digest::of(&pixels);
        (pixels.len() == FILM_SIDE * FILM_SIDE)
            .then(|| PreparedFilm { pixels: pixels.into(), digest })
    }

    pub fn pixels(&self) -> &[u8] {
        &self.pixels
    }

    pub fn digest(&self) -> Digest {
        self.digest
    }
}

impl fmt::Debug for PreparedFilm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PreparedFilm({})", self.digest)
    }
}
