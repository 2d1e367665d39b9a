//! Samples from the synthetic ward, through the functions that serve: films pass the gate, values
//! the dictionary, grids are cut by the same spans, and nothing enters a window that was not
//! available by its end.

use std::ops::Range;
use std::thread;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::TrainError;
use super::sample::{FilmSample, PairSample, Samples, Splits, WindowFilm, WindowSample};
use crate::event::dictionary::{Dictionary, GRID_COLUMNS, Profile};
use crate::event::{FILM_SIDE, PreparedFilm, RawValue, ViewPosition};
use crate::film::{Declared, prepare};
use crate::model::config::N_FINDINGS;
use crate::series::{GridSpan, Row, StaticFacts, hourly};
use crate::synth::{self, RecordedFilm, StayRecord};
use crate::time::{EventTime, Span};

/// Time from exposure until a film can be seen: MIMIC tells none (`reference/clinical.md` 3.1).
const FILM_LAG: Span = Span::minutes(15);
/// Pairs must lie farther apart than this (`reference/ddl-cxr.md` 1.4).
const PAIR_GAP: Span = Span::hours(12);
/// Longest gap that the generation's encoder has positions for.
const PAIR_GAP_MAX: Span = Span::hours(70);
/// Hours with data that a pair's EHR must have.
const PAIR_BINS: usize = 6;
/// Pairs kept of one stay, so that a long stay does not outweigh ten short ones.
const PAIRS_PER_STAY: usize = 12;
/// Windows kept of one stay besides its landmark.
const WINDOWS_PER_STAY: usize = 4;
/// Hours after admission at which windows may close.
const WINDOW_HOURS: [i64; 9] = [6, 12, 18, 24, 36, 60, 72, 96, 120];
/// The published landmark.
pub(super) const LANDMARK: Span = Span::hours(48);

/// One of a stay's facts in the form of a series row, with its second clock.
struct Known {
    available_at: EventTime,
    row: Row,
}

/// A film that passed the gate.
struct Filmed {
    acquired_at: EventTime,
    index: usize,
}

/// Samples of `patients` stays of the ward of `seed`: 60 % to train on, 12 % to validate, the rest
/// to test.
///
/// # Errors
/// [`TrainError::Data`] when the dictionary cannot be read or a film cannot be drawn.
pub fn from_ward(
    seed: u64,
    patients: u64,
    report: &mut dyn FnMut(u64, u64),
) -> Result<Splits, TrainError> {
    let mut done = 0;
    let mut part = |range: Range<u64>| samples(seed, range, patients, &mut done, report);
    let [train, validate, test] = ranges(patients);
    Ok(Splits { train: part(train)?, validate: part(validate)?, test: part(test)? })
}

/// The validation part of [`from_ward`] alone.
///
/// # Errors
/// As [`from_ward`].
pub fn validation_of_ward(
    seed: u64,
    patients: u64,
    report: &mut dyn FnMut(u64, u64),
) -> Result<Samples, TrainError> {
    let [_, validate, _] = ranges(patients);
    let stays = validate.end - validate.start;
    samples(seed, validate, stays, &mut 0, report)
}

/// Numbers of the stays to train on, to validate and to test.
fn ranges(patients: u64) -> [Range<u64>; 3] {
    let (first, second) = (patients * 60 / 100, patients * 72 / 100);
    [0..first, first..second, second..patients]
}

fn samples(
    seed: u64,
    range: Range<u64>,
    patients: u64,
    done: &mut u64,
    report: &mut dyn FnMut(u64, u64),
) -> Result<Samples, TrainError> {
    let mut samples = Samples::default();
    each_stay(range, &|number, dictionary| one(seed, number, dictionary), &mut |part| {
        samples.append(part);
        *done += 1;
        report(*done, patients);
        Enough::No
    })?;
    Ok(samples)
}

/// Whether a list of stays is long enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Enough {
    Yes,
    No,
}

/// Makes what `one` makes of the stays of a range, a block at a time on all cores, and hands it
/// over in the order of the range.
pub(super) fn each_stay<T: Send>(
    range: Range<u64>,
    one: &(dyn Fn(u64, &Dictionary) -> Result<T, TrainError> + Sync),
    take: &mut dyn FnMut(T) -> Enough,
) -> Result<(), TrainError> {
    let dictionary = Dictionary::builtin(Profile::Clinical)
        .map_err(|error| TrainError::Data(error.to_string()))?;
    let cores = thread::available_parallelism().map_or(1, |n| n.get().min(16)) as u64;
    let mut next = range.start;
    while next < range.end {
        let block: Vec<u64> = (next..range.end.min(next + cores)).collect();
        next += block.len() as u64;
        let parts: Vec<Result<T, TrainError>> = thread::scope(|scope| {
            let dictionary = &dictionary;
            let workers: Vec<_> =
                block.iter().map(|&number| scope.spawn(move || one(number, dictionary))).collect();
            workers
                .into_iter()
                .map(|worker| worker.join().unwrap_or_else(|_| Err(panicked())))
                .collect()
        });
        for part in parts {
            if take(part?) == Enough::Yes {
                return Ok(());
            }
        }
    }
    Ok(())
}

fn panicked() -> TrainError {
    TrainError::Data("drawing a stay panicked; report this with the seed".to_owned())
}

fn one(seed: u64, number: u64, dictionary: &Dictionary) -> Result<Samples, TrainError> {
    let stay = synth::stay(seed, number, FILM_SIDE)
        .map_err(|error| TrainError::Data(format!("a film could not be drawn: {error}")))?;
    Ok(of_stay(&stay, dictionary))
}

/// All samples of one stay; windows only where the outcome may be used.
pub(super) fn of_stay(stay: &StayRecord, dictionary: &Dictionary) -> Samples {
    let mut samples = Samples { stays: 1, ..Samples::default() };
    let known = rows(stay, dictionary, &mut samples.refused);
    let mut films = Vec::new();
    for recorded in &stay.films {
        match prepared(recorded) {
            Some(film) => {
                let index = samples.films.len();
                samples.films.push(FilmSample::new(film, findings(recorded)));
                films.push(Filmed { acquired_at: recorded.acquired_at, index });
            }
            None => samples.refused += 1,
        }
    }
    films.sort_by_key(|film| film.acquired_at);
    let statics = StaticFacts { age_years: stay.age_years, sex: stay.sex };
    samples.pairs = pairs(&films, &known, statics, dictionary);
    if stay.labelled {
        samples.windows = windows(stay, &films, &known, statics, dictionary);
    }
    samples
}

fn prepared(recorded: &RecordedFilm) -> Option<PreparedFilm> {
    film_of(&recorded.jpeg, recorded.view)
}

/// What the gate makes of a picture.
pub(super) fn film_of(jpeg: &[u8], view: Option<ViewPosition>) -> Option<PreparedFilm> {
    prepare(jpeg, Declared { view, ..Declared::default() }).ok().map(|prepared| prepared.film)
}

fn findings(recorded: &RecordedFilm) -> [f32; N_FINDINGS] {
    recorded.labels.map(|label| if label == "1.0" { 1.0 } else { 0.0 })
}

/// The series of the stay, in order of observation; what the dictionary refuses is counted.
fn rows(stay: &StayRecord, dictionary: &Dictionary, refused: &mut u64) -> Vec<Known> {
    let mut known = Vec::new();
    for value in &stay.values {
        let raw: &RawValue = &value.raw;
        match dictionary.observe_item(value.item, raw, Some(value.unit)) {
            Ok(observation) => known.push(Known {
                available_at: value.available_at,
                row: Row {
                    at: value.observed_at,
                    variable: observation.variable(),
                    value: observation.value(),
                },
            }),
            Err(_) => *refused += 1,
        }
    }
    known.sort_by_key(|known| (known.row.at, known.available_at));
    known
}

/// Rows available by `t`.
fn available(known: &[Known], t: EventTime) -> Vec<Row> {
    known.iter().filter(|known| known.available_at <= t).map(|known| known.row).collect()
}

fn pairs(
    films: &[Filmed],
    known: &[Known],
    statics: StaticFacts,
    dictionary: &Dictionary,
) -> Vec<PairSample> {
    let mut pairs = Vec::new();
    for (i, reference) in films.iter().enumerate() {
        for target in &films[i + 1..] {
            let (from, to) = (reference.acquired_at, target.acquired_at);
            let gap = to.since(from);
            if gap <= PAIR_GAP || gap > PAIR_GAP_MAX || to < EventTime::from_millis(0) {
                continue;
            }
            let rows = available(known, to);
            let ehr = hourly(&rows, GridSpan::generation(from, to), statics, dictionary);
            let filled = ehr.values.chunks_exact(GRID_COLUMNS);
            let filled = filled.filter(|bin| bin[GRID_COLUMNS - 17..].contains(&1.0)).count();
            if filled >= PAIR_BINS {
                let gap_h = gap.as_hours();
                let (reference, target) = (reference.index, target.index);
                pairs.push(PairSample { reference, target, ehr: ehr.into(), gap_h });
            }
        }
    }
    thin(&mut pairs, PAIRS_PER_STAY);
    pairs
}

/// Keeps at most `most`, spread evenly over the list.
pub(super) fn thin<T>(items: &mut Vec<T>, most: usize) {
    let n = items.len();
    if n > most {
        let mut index = 0;
        items.retain(|_| {
            index += 1;
            index * most / n > (index - 1) * most / n
        });
    }
}

fn windows(
    stay: &StayRecord,
    films: &[Filmed],
    known: &[Known],
    statics: StaticFacts,
    dictionary: &Dictionary,
) -> Vec<WindowSample> {
    let mut rng = ChaCha8Rng::seed_from_u64(stay.stay_id);
    let admitted = EventTime::from_millis(0);
    let mut times: Vec<Span> = WINDOW_HOURS.map(Span::hours).to_vec();
    while times.len() > WINDOWS_PER_STAY {
        times.remove(rng.random_range(0..times.len()));
    }
    times.push(LANDMARK);
    times.sort();
    let inside = |t: &Span| admitted + *t < stay.discharged_at;
    times
        .into_iter()
        .filter(inside)
        .map(|since| {
            let t = admitted + since;
            let rows = available(known, t);
            let ehr = hourly(&rows, GridSpan::prediction(admitted, t), statics, dictionary);
            let seen = films.iter().rev().find(|film| film.acquired_at + FILM_LAG <= t);
            let film = seen.map(|film| {
                // At least the last twelve hours (`reference/clinical.md` 0.4).
                let from = film.acquired_at.min(t - Span::hours(12));
                WindowFilm {
                    film: film.index,
                    age_h: t.since(film.acquired_at).as_hours(),
                    ehr: hourly(&rows, GridSpan::generation(from, t), statics, dictionary).into(),
                }
            });
            WindowSample {
                stay: stay.stay_id,
                t_h: since.as_hours(),
                film,
                ehr: ehr.into(),
                died: stay.died,
                phenotypes: stay.phenotypes,
            }
        })
        .collect()
}

impl Samples {
    /// Puts `other` behind; indices of films move along.
    pub(super) fn append(&mut self, mut other: Samples) {
        let shift = self.films.len();
        for pair in &mut other.pairs {
            pair.reference += shift;
            pair.target += shift;
        }
        for film in other.windows.iter_mut().filter_map(|window| window.film.as_mut()) {
            film.film += shift;
        }
        self.films.append(&mut other.films);
        self.pairs.append(&mut other.pairs);
        self.windows.append(&mut other.windows);
        self.stays += other.stays;
        self.refused += other.refused;
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::ids::{StayId, Ticket};
    use crate::ports::PredictionRequest;

    /// The samples of one stay, and its window at 48 h as the engine would ask for it.
    pub(crate) fn served(seed: u64, number: u64) -> (Samples, PredictionRequest) {
        let dictionary = Dictionary::builtin(Profile::Clinical).unwrap();
        let stay = synth::stay(seed, number, FILM_SIDE).unwrap();
        let mut samples = of_stay(&stay, &dictionary);
        samples.windows.retain(|window| window.t_h == 48.0);
        let film = samples.windows[0].film.as_ref().unwrap();
        let admitted_at = EventTime::from_millis(0);
        let t = admitted_at + LANDMARK;
        let acquired_at = t - Span::from_millis((film.age_h * 3_600_000.0).round() as i64);
        let request = PredictionRequest {
            ticket: Ticket { stay: StayId(stay.stay_id), t, revision: 0 },
            epoch: 1,
            seed: 9,
            admitted_at,
            generation_start: acquired_at.min(t - Span::hours(12)),
            rows: available(&rows(&stay, &dictionary, &mut 0), t).into(),
            static_facts: StaticFacts { age_years: stay.age_years, sex: stay.sex },
            film: Some(samples.films[film.film].film().unwrap()),
        };
        (samples, request)
    }

    #[test]
    fn nothing_from_after_a_window_enters_it() {
        let dictionary = Dictionary::builtin(Profile::Clinical).unwrap();
        let mut stay = synth::stay(11, 3, FILM_SIDE).unwrap();
        let before = of_stay(&stay, &dictionary);
        assert!(before.windows.iter().any(|window| window.film.is_some()));
        let last = before.windows.last().unwrap().t_h;
        let end = EventTime::from_millis((last * 3_600_000.0) as i64);
        for value in stay.values.iter_mut().filter(|value| value.available_at > end) {
            value.raw = RawValue::Number(55.0);
        }
        stay.films.retain(|film| film.acquired_at + FILM_LAG <= end);
        let after = of_stay(&stay, &dictionary);
        for (a, b) in before.windows.iter().zip(&after.windows) {
            assert_eq!(a.ehr.raw().unwrap(), b.ehr.raw().unwrap());
            let grid = |w: &WindowSample| w.film.as_ref().map(|f| (f.film, f.ehr.raw().unwrap()));
            assert_eq!(grid(a), grid(b));
        }
    }

    #[test]
    fn the_gate_lets_drawn_films_pass_and_turns_the_other_views_away() {
        let (mut ap, mut accepted, mut others) = (0, 0, 0);
        for number in 0..16 {
            for film in synth::stay(6, number, FILM_SIDE).unwrap().films {
                let passes = prepared(&film).is_some();
                match film.view {
                    Some(ViewPosition::Ap) => {
                        (ap, accepted) = (ap + 1, accepted + i32::from(passes))
                    }
                    _ => others += i32::from(passes),
                }
            }
        }
        assert!(ap > 40 && accepted * 100 >= ap * 95, "{accepted} of {ap} AP films");
        assert_eq!(others, 0, "films of other or unknown views passed");
    }

    #[test]
    fn samples_obey_the_published_rules() {
        let splits = from_ward(5, 24, &mut |_, _| {}).unwrap();
        let train = &splits.train;
        assert!(train.films.len() > 30 && train.pairs.len() > 10, "{}", train.pairs.len());
        assert!(train.pairs.iter().all(|pair| pair.gap_h > 12.0 && pair.ehr.bins().unwrap() <= 70));
        assert!(train.windows.iter().all(|window| window.ehr.bins().unwrap() <= 48));
        assert!(train.windows.iter().any(|window| window.t_h == 48.0));
        let test: Vec<u64> = splits.test.windows.iter().map(|window| window.stay).collect();
        assert!(train.windows.iter().all(|window| !test.contains(&window.stay)));
        // Some films are of another view, inverted or unnamed, and some values absurd.
        assert!(train.refused > 0);
    }
}
