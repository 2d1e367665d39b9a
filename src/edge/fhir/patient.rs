//! Patient: age, sex, and numbers that are one person. Names and addresses are not read.

use serde_json::Value;

use super::context::{Context, Heeded};
use super::names::Name;
use super::resource::{Patient, fields, said};
use crate::edge::age::age;
use crate::engine::resolve::{About, Deed, PersonId};
use crate::event::{Reason, Rejection, Sex};
use crate::time::EventTime;

/// Links of one Patient that are read.
const MAX_LINKS: usize = 32;
/// Numbers of one Patient that are read.
const MAX_NUMBERS: usize = 8;

pub(super) fn read(resource: &Value, context: &Context<'_>) -> Result<Heeded, Rejection> {
    let patient: Patient = fields(resource, "Patient")?;
    let unnamed = || Rejection::new(Reason::MissingKey, "neither id nor identifier names it");
    let person = Name::of(&context.head).ok_or_else(unnamed)?.person(context.keys());
    let known_at = context.updated_at().unwrap_or(context.clock.arrived_at);
    let mut deeds: Vec<(PersonId, Deed<_>)> = Vec::new();
    for link in patient.link.iter().take(MAX_LINKS) {
        let other = context.person(Some(&link.other));
        match said(link.kind.as_ref()) {
            Some("replaced-by") => {
                deeds.push((other?, Deed::Merge { prior: person, visits: None }))
            }
            Some("replaces") => deeds.push((person, Deed::Merge { prior: other?, visits: None })),
            _ => {}
        }
    }
    if said(context.head.id.as_ref()).is_some() {
        let numbers = context.keys().numbers(&context.head).take(MAX_NUMBERS);
        deeds.extend(numbers.map(|number| (person, Deed::Number { number })));
    }
    let about = told(&patient, context.clock.arrived_at);
    deeds.push((person, Deed::Know { about }));
    let mut heeded = Heeded::default();
    for (nth, (person, deed)) in deeds.into_iter().enumerate() {
        heeded.reading.acts.push(context.act((0, nth), person, known_at, deed));
    }
    Ok(heeded)
}

/// Age at `at` and sex of a patient.
pub(super) fn about(resource: &Value, at: EventTime) -> Result<About, Rejection> {
    Ok(told(&fields(resource, "Patient")?, at))
}

/// The model knows two sexes; another or none leaves it open.
fn told(patient: &Patient, at: EventTime) -> About {
    let sex = match said(patient.gender.as_ref()) {
        Some("female") => Some(Sex::Female),
        Some("male") => Some(Sex::Male),
        _ => None,
    };
    let born = said(patient.birth_date.as_ref()).map(|born| born.replace('-', ""));
    About { age_years: born.and_then(|born| age(&born, at)), sex }
}
