//! Encounter: where the patient was, and when.

use serde_json::Value;

use super::context::{Context, Heeded};
use super::names::Name;
use super::patient;
use super::resource::{Encounter, EncounterLocation, Hospitalization, Reference, fields, said};
use crate::edge::reader::MAX_UNIT;
use crate::engine::resolve::{Cancelled, Deed, Move, Step};
use crate::event::{Disposition, Reason, Rejection};
use crate::time::EventTime;

/// Locations of one Encounter that are read.
const MAX_LOCATIONS: usize = 256;
/// Discharge dispositions that are a death: FHIR's own code, and those of HL7 v2's table 0112.
const DIED: [&str; 5] = ["exp", "20", "40", "41", "42"];

pub(super) fn read(resource: &Value, context: &Context<'_>) -> Result<Heeded, Rejection> {
    let encounter: Encounter = fields(resource, "Encounter")?;
    let mut heeded = Heeded::default();
    let person = context.person(encounter.subject.as_ref())?;
    let unnamed = || Rejection::new(Reason::MissingKey, "neither id nor identifier names it");
    let visit = Name::of(&context.head).ok_or_else(unnamed)?.visit(context.keys());
    let known_at = context.updated_at().unwrap_or(context.clock.arrived_at);
    let deed = match said(encounter.status.as_ref()) {
        Some("cancelled" | "entered-in-error") => {
            Deed::Cancel { visit, what: Cancelled::Admission }
        }
        Some("arrived" | "triaged" | "in-progress" | "onleave" | "finished") => {
            let moves = moves(&encounter, known_at, context)?;
            if moves.is_empty() {
                let detail = "location names no unit, so nobody knows whether it is intensive care";
                heeded.notes.push((0, Rejection::new(Reason::MissingKey, detail)));
            }
            let at = moves.first().map_or(known_at, |first| first.at);
            let about = context.patient.map(|patient| patient::about(patient, at)).transpose()?;
            Deed::Course { visit, moves, about: about.unwrap_or_default() }
        }
        Some("planned" | "unknown") => {
            let detail = "status says nothing of where the patient is";
            heeded.reading.refused.push((0, Rejection::new(Reason::Unsupported, detail)));
            return Ok(heeded);
        }
        Some(_) => {
            let detail = "status is no code of FHIR R4";
            return Err(Rejection::new(Reason::Undecodable, detail));
        }
        None => return Err(Rejection::new(Reason::MissingKey, "status is missing")),
    };
    heeded.reading.acts.push(context.act((0, 0), person, known_at, deed));
    Ok(heeded)
}

/// The moves that it tells, in the order of their time.
fn moves(
    encounter: &Encounter,
    known_at: EventTime,
    context: &Context<'_>,
) -> Result<Vec<Move>, Rejection> {
    if encounter.location.len() > MAX_LOCATIONS {
        let detail = format!("an Encounter may have {MAX_LOCATIONS} locations");
        return Err(Rejection::new(Reason::TooMany, detail));
    }
    let began = ("period.start", encounter.period.start.as_ref());
    let mut moves = Vec::new();
    for place in encounter.location.iter().filter(|place| place.has_begun()) {
        let Some(unit) = unit(&place.location, context) else { continue };
        let times = [("location.period.start", place.period.start.as_ref()), began];
        moves.push(Move { at: context.moment(&times)?, step: Step::Into(unit) });
    }
    moves.sort_by_key(|made| made.at);
    if said(encounter.status.as_ref()) == Some("finished") {
        let ended = ("period.end", encounter.period.end.as_ref());
        let at = if said(ended.1).is_some() { context.moment(&[ended])? } else { known_at };
        moves.push(Move { at, step: Step::Out(encounter.hospitalization.disposition()) });
    }
    Ok(moves)
}

impl EncounterLocation {
    fn has_begun(&self) -> bool {
        !matches!(said(self.status.as_ref()), Some("planned" | "reserved"))
    }
}

impl Hospitalization {
    fn disposition(&self) -> Disposition {
        let died = DIED.iter().any(|code| self.discharge_disposition.has(code));
        if died { Disposition::Died } else { Disposition::Alive }
    }
}

/// What a location is called: by the word that is one of `edge.units`, if any of its is.
fn unit(location: &Reference, context: &Context<'_>) -> Option<String> {
    let identifier = location.identifier.as_ref().and_then(|one| said(one.value.as_ref()));
    let id = said(location.reference.as_ref()).and_then(|text| text.rsplit('/').next());
    let words: Vec<&str> =
        [said(location.display.as_ref()), identifier, id].into_iter().flatten().collect();
    let units = &context.reader.config.units;
    let own = words.iter().find(|word| units.iter().any(|unit| unit == *word));
    let word = own.or(words.first())?;
    Some(word.chars().take(MAX_UNIT).collect())
}
