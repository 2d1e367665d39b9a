//! Stays of a synthetic ward at the published landmark, each with the film that would have been
//! taken at that moment: what only a ward can give, and what the proof ([`super::proof`]) needs.

use std::ops::Range;

use super::TrainError;
use super::dataset::{Enough, LANDMARK, each_stay, film_of, of_stay};
use super::sample::{FilmSample, Samples};
use crate::event::dictionary::Dictionary;
use crate::event::{FILM_SIDE, ViewPosition};
use crate::model::config::N_FINDINGS;
use crate::synth::{self, Films, Hospital, Truth};
use crate::time::EventTime;

/// Windows at the landmark with a film to see, and the films of that moment, one for each window.
#[derive(Default)]
pub(super) struct Landmarks {
    pub(super) samples: Samples,
    pub(super) oracle: Vec<FilmSample>,
}

/// What the stays are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Films and pairs of every stay; windows of those whose outcome may be used.
    Learning,
    /// A window of every stay, with the film that it sees and nothing else.
    Predicting,
}

/// The stays of `range` in the ward of `seed`, or as many of them as give `most` windows. `report`
/// is told how many stays were drawn, and how many windows they gave.
pub(super) fn draw(
    (hospital, seed): (Hospital, u64),
    range: Range<u64>,
    (purpose, most): (Purpose, usize),
    report: &mut dyn FnMut(u64, u64),
) -> Result<Landmarks, TrainError> {
    let mut all = Landmarks::default();
    let mut drawn = 0;
    let one = |number: u64, dictionary: &Dictionary| {
        of_number((hospital, seed), number, purpose, dictionary)
    };
    each_stay(range, &one, &mut |one: Landmarks| {
        all.samples.append(one.samples);
        all.oracle.extend(one.oracle);
        drawn += 1;
        report(drawn, all.oracle.len() as u64);
        if all.oracle.len() >= most { Enough::Yes } else { Enough::No }
    })?;
    Ok(all)
}

fn of_number(
    (hospital, seed): (Hospital, u64),
    number: u64,
    purpose: Purpose,
    dictionary: &Dictionary,
) -> Result<Landmarks, TrainError> {
    let undrawn = |error| TrainError::Data(format!("a film could not be drawn: {error}"));
    let at = EventTime::from_millis(0) + LANDMARK;
    let until = if purpose == Purpose::Learning { EventTime::MAX } else { at };
    let films = Films { rows: FILM_SIDE, until };
    let mut stay = synth::stay_in(hospital, seed, number, films).map_err(undrawn)?;
    // The outcome of a stay that is only predicted is asked for by nobody but the judge.
    stay.labelled |= purpose == Purpose::Predicting;
    let mut samples = of_stay(&stay, dictionary);
    samples.windows.retain(|window| window.t_h == LANDMARK.as_hours() && window.film.is_some());
    if purpose == Purpose::Predicting {
        keep_what_windows_see(&mut samples);
    }
    let mut oracle = Vec::new();
    if !samples.windows.is_empty() {
        let drawn = Truth::new(hospital, seed, number).film(at, FILM_SIDE).map_err(undrawn)?;
        match film_of(&drawn.jpeg, Some(ViewPosition::Ap)) {
            Some(film) => oracle.push(FilmSample::new(film, [0.0; N_FINDINGS])),
            None => samples.windows.clear(),
        }
    }
    Ok(Landmarks { samples, oracle })
}

fn keep_what_windows_see(samples: &mut Samples) {
    samples.pairs.clear();
    let all = std::mem::take(&mut samples.films);
    for film in samples.windows.iter_mut().filter_map(|window| window.film.as_mut()) {
        samples.films.extend(all.get(film.film).cloned());
        film.film = samples.films.len() - 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn learners_get_pairs_of_all_and_outcomes_of_some_and_judges_every_window() {
        let ward = (Hospital::proof(), 3);
        let learning = (Purpose::Learning, usize::MAX);
        let learn = draw(ward, 0..18, learning, &mut |_, _| {}).unwrap();
        let predict = draw(ward, 0..18, (Purpose::Predicting, usize::MAX), &mut |_, _| {}).unwrap();
        let few = draw(ward, 0..18, (Purpose::Predicting, 2), &mut |_, _| {}).unwrap();
        for set in [&learn, &predict, &few] {
            assert_eq!(set.samples.windows.len(), set.oracle.len());
            assert!(set.samples.windows.iter().all(|window| window.t_h == 48.0));
        }
        assert_eq!((learn.samples.stays, few.oracle.len()), (18, 2));
        assert!(learn.samples.pairs.len() > 20, "{}", learn.samples.pairs.len());
        assert!(!learn.oracle.is_empty() && learn.oracle.len() < predict.oracle.len());
        assert!(predict.samples.pairs.is_empty());
        assert_eq!(predict.samples.films.len(), predict.samples.windows.len());
        // Of the same stay both see the same.
        for window in &learn.samples.windows {
            let same = predict.samples.windows.iter().position(|w| w.stay == window.stay).unwrap();
            let same = &predict.samples.windows[same];
            let (a, b) = (window.film.as_ref().unwrap(), same.film.as_ref().unwrap());
            assert_eq!(window.ehr.raw().unwrap(), same.ehr.raw().unwrap());
            assert_eq!((a.age_h, a.ehr.raw().unwrap()), (b.age_h, b.ehr.raw().unwrap()));
            let pixels = |samples: &Samples, i: usize| samples.films[i].film().unwrap().digest();
            assert_eq!(pixels(&learn.samples, a.film), pixels(&predict.samples, b.film));
        }
    }
}
