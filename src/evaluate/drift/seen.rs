//! What the model saw of each window, as far as drift asks.

use std::collections::BTreeMap;

use crate::evaluate::EvaluateError;
use crate::event::risk::FilmAge;
use crate::ids::StayId;
use crate::ports::OutputKind;
use crate::time::EventTime;
use crate::transport::local::{LocalLog, outputs};
use crate::wire::{Codec, RiskRecord, RiskStatus, StayView};

/// Windows of one comparison, at most; a longer run is to be compared in parts.
pub const WINDOWS_MAX: usize = 2_000_000;

/// The newest value of each variable by window; codes as in the dictionary.
pub type Values = BTreeMap<(StayId, EventTime), BTreeMap<String, f64>>;

/// One window.
#[derive(Clone, Debug, PartialEq)]
pub struct Seen {
    pub stay: StayId,
    /// Hours since the newest observation of each variable that was observed at all.
    pub ages: BTreeMap<String, f64>,
    /// In canonical units, or the index of a category; `None` where no view is at hand.
    pub values: Option<BTreeMap<String, f64>>,
    /// `None` without a film.
    pub film_age: Option<FilmAge>,
    /// Observations in the series.
    pub facts: f64,
    /// Probability of in-hospital death.
    pub score: f64,
}

/// The windows of the first revisions with a score, in order of stay.
///
/// # Errors
/// [`EvaluateError::Nothing`] if there is none, or more than [`WINDOWS_MAX`].
pub fn seen(events: &[RiskRecord], values: &Values) -> Result<Vec<Seen>, EvaluateError> {
    let mut all: Vec<Seen> = events.iter().filter_map(|event| one(event, values)).collect();
    if all.is_empty() {
        let why = "the run has no scored risk event, so nothing can be compared; finish it first";
        return Err(EvaluateError::Nothing(why.to_owned()));
    }
    if all.len() > WINDOWS_MAX {
        return Err(EvaluateError::Nothing(format!(
            "{} windows are more than {WINDOWS_MAX}; replay less at once, with --limit",
            all.len()
        )));
    }
    all.sort_by_key(|window| window.stay);
    Ok(all)
}

fn one(event: &RiskRecord, values: &Values) -> Option<Seen> {
    if event.revision > 0 || event.status == RiskStatus::Retracted {
        return None;
    }
    let score = event.scores.as_ref()?.mortality;
    let observed = event.series.last_observed.iter();
    let ages = observed.map(|one| (one.variable.clone(), event.t.since(one.at).as_hours()));
    Some(Seen {
        stay: event.stay_id,
        ages: ages.collect(),
        values: values.get(&(event.stay_id, event.t)).cloned(),
        film_age: event.film.map(|film| FilmAge::of(event.t.since(film.acquired_at))),
        facts: f64::from(event.series.n_facts),
        score: f64::from(score),
    })
}

/// The newest values of every first revision, from the views of a run's log.
///
/// # Errors
/// [`EvaluateError::Log`] for a log that cannot be read.
pub fn values_of(log: &LocalLog, codec: &Codec) -> Result<Values, EvaluateError> {
    let unreadable = |why: String| EvaluateError::Log(why);
    let mut values = Values::new();
    for stored in outputs(log, OutputKind::View, 0).map_err(|why| unreadable(why.to_string()))? {
        let stored = stored.map_err(|why| unreadable(why.to_string()))?;
        let view: StayView =
            codec.decode(&stored.payload).map_err(|why| unreadable(why.to_string()))?;
        let Some(given) = view.given.filter(|_| view.risk.revision == 0) else { continue };
        let newest = given.series.into_iter().filter_map(|series| {
            // Of equal times the last counts.
            let rows = series.at.iter().zip(&series.values);
            let (_, value) = rows.max_by_key(|(at, _)| **at)?;
            Some((series.variable, *value))
        });
        if values.len() < WINDOWS_MAX {
            values.insert((view.stay_id, view.risk.t), newest.collect());
        }
    }
    Ok(values)
}
