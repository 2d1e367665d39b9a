//! The view: what a dashboard shows of the newest window of a stay, and enough to draw its
//! generated film again on any node (design decision 15).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::codec::{Codec, Record, does_not_hold};
use super::form;
use super::risk::RiskRecord;
use super::schemas::{RecordKind, WireError};
use crate::engine::{PredictionRequest, View};
use crate::event::dictionary::Dictionary;
use crate::event::risk::RiskEvent;
use crate::event::{Rejection, Sex};
use crate::ids::{StayId, Ticket, VariableId};
use crate::series::{Row, StaticFacts};
use crate::time::EventTime;

/// `schemas/view.avsc`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StayView {
    #[serde(with = "form")]
    pub stay_id: StayId,
    pub risk: RiskRecord,
    #[serde(default)]
    pub given: Option<GivenRecord>,
}

/// What the model was given, besides the film.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename = "Given")]
pub struct GivenRecord {
    #[serde(with = "form")]
    pub admitted_at: EventTime,
    pub age_years: u8,
    pub sex: Sex,
    #[serde(with = "form")]
    pub generation_start: EventTime,
    #[serde(with = "form")]
    pub seed: u64,
    pub series: Vec<VariableSeries>,
}

/// The observations of one variable, in order of observation.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct VariableSeries {
    /// Code of the variable in the dictionary.
    pub variable: String,
    #[serde(with = "form::list")]
    pub at: Vec<EventTime>,
    /// Canonical unit, or category index; as many as times.
    pub values: Vec<f64>,
}

impl Record for StayView {
    const KIND: RecordKind = RecordKind::View;
}

impl Codec {
    /// The payload as Confluent-framed Avro; equal views give equal bytes.
    pub fn encode_view(&self, view: &View) -> Result<Vec<u8>, WireError> {
        let given = view.given.as_ref();
        self.encode(&StayView {
            stay_id: view.event.stay,
            risk: RiskRecord::from(&view.event),
            given: given.map(|given| GivenRecord::new(given, &self.dictionary)),
        })
    }

    pub fn decode_view(&self, bytes: &[u8]) -> Result<View, Rejection> {
        let view = self.decode::<StayView>(bytes)?;
        let event = RiskEvent::try_from(view.risk)?;
        let ticket = Ticket { stay: event.stay, t: event.t, revision: event.revision };
        let given = view.given.map(|given| given.request(ticket, &self.dictionary)).transpose()?;
        Ok(View { event, given })
    }
}

impl GivenRecord {
    fn new(given: &PredictionRequest, dictionary: &Dictionary) -> Self {
        let mut series: BTreeMap<VariableId, VariableSeries> = BTreeMap::new();
        for row in given.rows.iter() {
            let one = series.entry(row.variable).or_default();
            one.at.push(row.at);
            one.values.push(row.value);
        }
        let named = |(id, one)| {
            let variable = dictionary.variable(id)?.code.clone();
            Some(VariableSeries { variable, ..one })
        };
        GivenRecord {
            admitted_at: given.admitted_at,
            age_years: given.static_facts.age_years,
            sex: given.static_facts.sex,
            generation_start: given.generation_start,
            seed: given.seed,
            series: series.into_iter().filter_map(named).collect(),
        }
    }

    /// The question as it was asked, but for the film and the asker's epoch. Rows of one moment
    /// come in the order of their variables, which changes no number.
    fn request(
        self,
        ticket: Ticket,
        dictionary: &Dictionary,
    ) -> Result<PredictionRequest, Rejection> {
        let mut rows = Vec::new();
        for VariableSeries { variable, at, values } in self.series {
            let Some(variable) = dictionary.by_code(&variable) else {
                return Err(does_not_hold(format!("no variable {variable} in the dictionary")));
            };
            if at.len() != values.len() {
                return Err(does_not_hold("a series has more times than values, or fewer".into()));
            }
            rows.extend(at.into_iter().zip(values).map(|(at, value)| Row { at, variable, value }));
        }
        // Stable: rows of one variable at one moment keep their order, of which the last counts.
        rows.sort_by_key(|row| row.at);
        Ok(PredictionRequest {
            ticket,
            epoch: 0,
            seed: self.seed,
            admitted_at: self.admitted_at,
            generation_start: self.generation_start,
            rows: rows.into(),
            static_facts: StaticFacts { age_years: self.age_years, sex: self.sex },
            film: None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::EngineConfig;
    use crate::event::Reason;
    use crate::event::dictionary::Profile;

    fn codec() -> Codec {
        let dictionary = Dictionary::builtin(Profile::Clinical).expect("dictionary");
        Codec::new(&EngineConfig::default().feeds, dictionary).expect("codec")
    }

    fn example() -> StayView {
        let text = include_str!("../../schemas/examples/view.json");
        serde_json::from_str(text).expect("example")
    }

    #[test]
    fn a_view_gives_back_what_the_model_was_given() {
        let codec = codec();
        let bytes = codec.encode(&example()).expect("encodes");
        let view = codec.decode_view(&bytes).expect("decodes");
        let given = view.given.as_ref().expect("given");
        assert_eq!(given.rows.len(), 2);
        assert_eq!(given.seed, 18_446_742_839_141_661_493);
        assert_eq!(codec.encode_view(&view).expect("encodes"), bytes);
    }

    #[test]
    fn a_series_that_does_not_hold_together_is_rejected() {
        let codec = codec();
        let broken = [
            |series: &mut VariableSeries| series.values.push(1.0),
            |series: &mut VariableSeries| series.variable = "no such variable".into(),
        ];
        for spoil in broken {
            let mut view = example();
            spoil(&mut view.given.as_mut().expect("given").series[0]);
            let bytes = codec.encode(&view).expect("encodes");
            assert_eq!(codec.decode_view(&bytes).expect_err("spoilt").reason, Reason::Undecodable);
        }
    }
}
