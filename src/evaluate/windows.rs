//! Windows of a run, as the model was given them: the views of its log and the films they name.

use std::collections::BTreeMap;

use crate::drive::film_of;
use crate::event::PreparedFilm;
use crate::event::risk::FilmUsed;
use crate::ids::StayId;
use crate::ports::{OutputKind, PredictionRequest};
use crate::time::EventTime;
use crate::transport::local::{LocalLog, LogError, outputs};
use crate::wire::Codec;
use crate::wire::records::ImagingEvent;

use super::EvaluateError;

/// Windows held at once, at most: each has its rows, and each film 50 KiB.
pub const WINDOWS_MOST: usize = 5_000;

/// The imaging topic of a local log.
const IMAGING: &str = "imaging";

/// A window with a film, and what the model was given of it.
#[derive(Clone, Debug)]
pub struct GivenWindow {
    /// With the film's pixels.
    pub request: PredictionRequest,
    /// When the film was taken.
    pub film_at: EventTime,
}

impl GivenWindow {
    pub fn stay(&self) -> StayId {
        self.request.ticket.stay
    }

    /// Hours since the film.
    pub fn film_age_h(&self) -> f64 {
        self.request.ticket.t.since(self.film_at).as_hours()
    }

    /// Time since ICU admission.
    pub fn since_admission(&self) -> EventTime {
        let since = self.request.ticket.t.since(self.request.admitted_at);
        EventTime::from_millis(since.as_millis())
    }
}

fn unreadable(error: LogError) -> EvaluateError {
    EvaluateError::Log(error.to_string())
}

/// At most `most` windows of the run in `log`, spread evenly over those that had a film and are
/// first revisions, in order of (stay, t).
///
/// # Errors
/// [`EvaluateError::Log`] for a log that cannot be read, [`EvaluateError::Nothing`] if it has no
/// such window.
pub fn given_windows(
    log: &LocalLog,
    codec: &Codec,
    most: usize,
) -> Result<Vec<GivenWindow>, EvaluateError> {
    let mut all = Vec::new();
    each(log, codec, &mut |request, _| all.push((request.ticket.stay, request.ticket.t)))?;
    all.sort();
    all.dedup();
    let most = most.clamp(1, WINDOWS_MOST).min(all.len());
    let chosen: Vec<_> = (0..most).map(|i| all[i * all.len() / most]).collect();
    let mut found: BTreeMap<(StayId, EventTime), (PredictionRequest, FilmUsed)> = BTreeMap::new();
    each(log, codec, &mut |request, film| {
        let place = (request.ticket.stay, request.ticket.t);
        if chosen.binary_search(&place).is_ok() {
            found.entry(place).or_insert((request, film));
        }
    })?;
    let films =
        films(log, codec, found.values().map(|(request, film)| (request.ticket.stay, film)))?;
    let window = |(mut request, film): (PredictionRequest, FilmUsed)| {
        let pixels = films.get(&(request.ticket.stay, film.acquired_at))?;
        // Of a film that was replaced later the log holds another picture.
        request.film = (pixels.digest() == film.digest).then(|| pixels.clone());
        request.film.is_some().then_some(GivenWindow { request, film_at: film.acquired_at })
    };
    let windows: Vec<GivenWindow> = found.into_values().filter_map(window).collect();
    if windows.is_empty() {
        let why = "the run's log has no window with a film; finish the run, or name another";
        return Err(EvaluateError::Nothing(why.to_owned()));
    }
    Ok(windows)
}

/// Hands over every first revision that the model answered with a film.
fn each(
    log: &LocalLog,
    codec: &Codec,
    take: &mut dyn FnMut(PredictionRequest, FilmUsed),
) -> Result<(), EvaluateError> {
    for stored in outputs(log, OutputKind::View, 0).map_err(unreadable)? {
        let payload = stored.map_err(unreadable)?.payload;
        let view =
            codec.decode_view(&payload).map_err(|why| EvaluateError::Log(why.to_string()))?;
        if let (0, Some(given), Some(film)) = (view.event.revision, view.given, view.event.film) {
            take(given, film);
        }
    }
    Ok(())
}

/// The prepared films that are wanted, by stay and time of exposure. One that cannot be read any
/// more is left out.
fn films<'a>(
    log: &LocalLog,
    codec: &Codec,
    wanted: impl Iterator<Item = (StayId, &'a FilmUsed)>,
) -> Result<BTreeMap<(StayId, EventTime), PreparedFilm>, EvaluateError> {
    let wanted: BTreeMap<(StayId, EventTime), &FilmUsed> =
        wanted.map(|(stay, film)| ((stay, film.acquired_at), film)).collect();
    let mut films = BTreeMap::new();
    for (name, number) in log.list().map_err(unreadable)? {
        if name != IMAGING {
            continue;
        }
        let partition = log.partition(&name, number).map_err(unreadable)?;
        if partition.end() == 0 {
            continue;
        }
        let mut reader = partition.reader(partition.start()).map_err(unreadable)?;
        while let Some(record) = reader.read().map_err(unreadable)? {
            // Marks stand in the same topic.
            let Ok(event) = codec.decode::<ImagingEvent>(&record.value) else { continue };
            let place = (event.stay_id, event.observed_at);
            let Some(used) = wanted.get(&place) else { continue };
            if let Ok(Some(film)) = film_of(event)
                && film.digest() == used.digest
            {
                films.insert(place, film);
            }
        }
    }
    Ok(films)
}
