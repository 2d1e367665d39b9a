//! Films on their way: the bytes an imaging event carries or refers to, and the prepared films
//! that questions need, kept within a bound.

use std::borrow::Cow;
use std::io::Read;

use lru::LruCache;

use crate::event::{PreparedFilm, Reason, Rejection};
use crate::film::{Declared, MAX_ENCODED_BYTES, UnknownView, prepare};
use crate::ids::{Digest, StayId};
use crate::ports::{PortError, StateStore};
use crate::store::values;
use crate::wire::Picture;
use crate::wire::records::{ImagingEvent, PictureField};

/// Prepared films in memory, the least recently used leaving first. One for a node.
pub struct FilmCache {
    films: LruCache<Digest, PreparedFilm>,
    bytes: usize,
    max_bytes: usize,
}

impl FilmCache {
    pub fn new(max_bytes: usize) -> Self {
        FilmCache { films: LruCache::unbounded(), bytes: 0, max_bytes }
    }

    pub fn put(&mut self, film: PreparedFilm) {
        self.bytes += film.pixels().len();
        if let Some((_, before)) = self.films.push(film.digest(), film) {
            self.bytes -= before.pixels().len();
        }
        while self.bytes > self.max_bytes
            && let Some((_, film)) = self.films.pop_lru()
        {
            self.bytes -= film.pixels().len();
        }
    }

    /// The film from memory or from the store; `None` if neither has it.
    pub fn get(
        &mut self,
        store: &impl StateStore,
        stay: StayId,
        digest: Digest,
    ) -> Result<Option<PreparedFilm>, PortError> {
        if let Some(film) = self.films.get(&digest) {
            return Ok(Some(film.clone()));
        }
        let film = values::film(store, stay, digest)?;
        if let Some(film) = &film {
            self.put(film.clone());
        }
        Ok(film)
    }
}

/// The prepared film of an imaging record, for showing it: whether the model took it was decided
/// when it came. `None` for a record that takes a film back.
///
/// # Errors
/// A [`Rejection`] for a picture that cannot be read or decoded.
pub fn film_of(event: ImagingEvent) -> Result<Option<PreparedFilm>, Rejection> {
    let picture = match event.picture {
        PictureField::Missing => return Ok(None),
        PictureField::Inline(inline) => {
            Picture::Inline { media_type: inline.media_type, bytes: inline.content }
        }
        PictureField::Reference(file) => Picture::Reference {
            uri: file.uri,
            sha256: file.sha256,
            size: u64::try_from(file.size).unwrap_or(u64::MAX),
        },
    };
    let content = bytes_of(&picture)?;
    let declared = Declared { view: Some(event.view), unknown_view: UnknownView::default() };
    Ok(Some(prepare(&content, declared)?.film))
}

/// The encoded picture. A reference is read from its file and must match its digest.
pub fn bytes_of(picture: &Picture) -> Result<Cow<'_, [u8]>, Rejection> {
    match picture {
        Picture::Inline { bytes, .. } => Ok(Cow::Borrowed(bytes)),
        Picture::Reference { uri, sha256, size } => fetch(uri, *sha256, *size).map(Cow::Owned),
    }
}

fn fetch(uri: &str, sha256: Digest, size: u64) -> Result<Vec<u8>, Rejection> {
    if size > MAX_ENCODED_BYTES as u64 {
        let detail = format!("{size} bytes, at most {MAX_ENCODED_BYTES} are read");
        return Err(Rejection::new(Reason::FilmTooLarge, detail));
    }
    let Some(path) = uri.strip_prefix("file://") else {
        let detail = "only file:// references can be read; send the picture inline";
        return Err(Rejection::new(Reason::FilmUnavailable, detail));
    };
    let unavailable = |error: std::io::Error| {
        Rejection::new(Reason::FilmUnavailable, format!("the file cannot be read: {error}"))
    };
    // Opening a pipe would wait for whoever writes it.
    if !std::fs::metadata(path).map_err(unavailable)?.is_file() {
        let detail = "the reference names no regular file";
        return Err(Rejection::new(Reason::FilmUnavailable, detail));
    }
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(unavailable)?;
    file.take(size + 1).read_to_end(&mut bytes).map_err(unavailable)?;
    if Digest::of(&bytes) != sha256 {
        let detail = "the file's SHA-256 is not the one in the event";
        return Err(Rejection::new(Reason::FilmUnavailable, detail));
    }
    Ok(bytes)
}
