//! Films as PNG: real ones read from the imaging topic, generated ones drawn again from the view.
//!
//! A generated film leaves in one form only, with its mark burned in ([`mark_synthetic`]). Drawing
//! one takes the model a moment, so one is drawn at a time and few may wait.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use lru::LruCache;
use thiserror::Error;
use tokio::sync::Semaphore;

use super::feed::{Archive, FeedError, Place};
use crate::config::DeviceChoice;
use crate::drive::film_of;
use crate::event::{FILM_SIDE, PreparedFilm, Rejection};
use crate::film::{mark_synthetic, png, to_film_side};
use crate::ids::StayId;
use crate::predict::Pipeline;
use crate::time::EventTime;
use crate::wire::Codec;
use crate::wire::records::ImagingEvent;

/// Pictures kept, the least recently used leaving first; each has at most 600 KiB.
const MAX_KEPT: NonZeroUsize = NonZeroUsize::MIN.saturating_add(63);
/// Pictures that may be asked for at once; further ones are refused and asked again by a person.
const MAX_WAITING: usize = 16;
/// Bytes of film features that the model keeps.
const FEATURE_BYTES: usize = 16 << 20;

/// Why there is no picture, split by what the page says.
#[derive(Debug, Error)]
pub enum PictureError {
    #[error("there is no such picture")]
    None,
    #[error("the film cannot be shown: {0}")]
    Film(Rejection),
    #[error("the estimate was made by another model than the one in {0}; it cannot be drawn again")]
    OtherModel(PathBuf),
    #[error("the model cannot be used: {0}")]
    Model(String),
    #[error("too many pictures are being drawn; load the page again")]
    Busy,
    #[error(transparent)]
    Feed(#[from] FeedError),
}

/// Which picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Which {
    Film { stay: StayId, acquired_at: EventTime },
    Generated { stay: StayId, t: EventTime, revision: u32 },
}

/// Where its records stand.
#[derive(Clone, Copy, Debug)]
pub struct Found {
    pub film: Place,
    /// Of a generated picture.
    pub view: Option<Place>,
}

/// Draws and keeps pictures.
pub struct Studio {
    model: PathBuf,
    pipeline: Mutex<Option<Pipeline>>,
    kept: Mutex<LruCache<Which, Bytes>>,
    waiting: Arc<Semaphore>,
}

impl Studio {
    /// Generated films are drawn by the model in that directory, which is loaded when the first
    /// one is asked for.
    pub fn new(model: PathBuf) -> Self {
        Studio {
            model,
            pipeline: Mutex::new(None),
            kept: Mutex::new(LruCache::new(MAX_KEPT)),
            waiting: Arc::new(Semaphore::new(MAX_WAITING)),
        }
    }

    /// The picture as PNG. Runs for a while: not on a thread that others wait for.
    ///
    /// # Errors
    /// [`PictureError`].
    pub fn picture(
        &self,
        which: Which,
        found: Found,
        archive: &dyn Archive,
        codec: &Codec,
    ) -> Result<Bytes, PictureError> {
        if let Some(bytes) = self.kept().get(&which) {
            return Ok(bytes.clone());
        }
        let _place = self.waiting.try_acquire().map_err(|_| PictureError::Busy)?;
        let film = film(found.film, archive, codec)?;
        let bytes = match found.view {
            None => {
                let side = FILM_SIDE as u32;
                png::encode(film.pixels(), side, side).map_err(drawn)?
            }
            Some(view) => self.generated(view, film, archive, codec)?,
        };
        let bytes = Bytes::from(bytes);
        self.kept().put(which, bytes.clone());
        Ok(bytes)
    }

    fn generated(
        &self,
        place: Place,
        film: PreparedFilm,
        archive: &dyn Archive,
        codec: &Codec,
    ) -> Result<Vec<u8>, PictureError> {
        let bytes = archive.read(place)?.ok_or(PictureError::None)?;
        let view = codec.decode_view(&bytes).map_err(PictureError::Film)?;
        let used = view.event.film.map(|film| film.digest);
        let mut request = view.given.ok_or(PictureError::None)?;
        // The film that the imaging topic holds must be the one that the model was given.
        if used != Some(film.digest()) {
            return Err(PictureError::None);
        }
        request.film = Some(film);
        let mut pipeline = self.pipeline.lock().unwrap_or_else(PoisonError::into_inner);
        if pipeline.is_none() {
            let opened = Pipeline::open(&self.model, DeviceChoice::Auto, FEATURE_BYTES);
            *pipeline = Some(opened.map_err(|error| PictureError::Model(error.to_string()))?);
        }
        let Some(pipeline) = pipeline.as_mut() else { return Err(PictureError::None) };
        if pipeline.model().digest() != view.event.model.digest {
            return Err(PictureError::OtherModel(self.model.clone()));
        }
        let pictures = pipeline.pictures(&request).ok_or(PictureError::None)?;
        let grey = pictures.generated;
        let pixels = to_film_side(&grey.pixels, grey.side, grey.side).ok_or(PictureError::None)?;
        mark_synthetic(&pixels).map_err(drawn)
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, LruCache<Which, Bytes>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn drawn(error: png::PngError) -> PictureError {
    PictureError::Model(error.to_string())
}

/// The prepared film of an imaging record.
fn film(place: Place, archive: &dyn Archive, codec: &Codec) -> Result<PreparedFilm, PictureError> {
    let bytes = archive.read(place)?.ok_or(PictureError::None)?;
    let event = codec.decode::<ImagingEvent>(&bytes).map_err(PictureError::Film)?;
    film_of(event).map_err(PictureError::Film)?.ok_or(PictureError::None)
}
