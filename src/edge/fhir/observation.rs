//! Observation: results of laboratories, blood gas analysers and monitors.

use serde_json::Value;

use super::context::{Context, Heeded};
use super::resource::{CodeableConcept, Component, Observation, Reference, Specimen, fields, said};
use super::value::{code, doubt, short, value, words};
use crate::edge::body::{Body, Measured};
use crate::engine::resolve::{Deed, PersonId, Status, VisitId};
use crate::event::{Reason, Rejection};
use crate::ids::{Topic, VariableId};
use crate::time::EventTime;
use crate::wire::records::{CodeSystem, RecordedValue};

/// Components of one Observation. A panel of vital signs has a handful.
const MAX_COMPONENTS: usize = 64;
/// The panel of a blood pressure, and the codes of its components: what is taken back of one that
/// comes without them.
const PRESSURE: (&str, [&str; 2]) = ("85354-9", ["8480-6", "8462-4"]);
/// `category` of results of a laboratory.
const LABORATORY: &str = "laboratory";

/// What all parts of one Observation share.
struct Shared<'a> {
    context: &'a Context<'a>,
    id: String,
    person: PersonId,
    visit: Option<VisitId>,
    /// When it was observed, and when it could be known.
    times: (EventTime, EventTime),
    status: Status,
    specimen: Option<String>,
    of_lab: bool,
    /// Of another category than the laboratory's.
    charted: bool,
}

/// What was measured: as it is passed on, and in the dictionary.
type Coded = (CodeSystem, String, VariableId);

pub(super) fn read(resource: &Value, context: &Context<'_>) -> Result<Heeded, Rejection> {
    let observation: Observation = fields(resource, "Observation")?;
    let shared = Shared::of(&observation, context)?;
    if observation.component.len() > MAX_COMPONENTS {
        let detail = format!("an Observation may have {MAX_COMPONENTS} components");
        return Err(Rejection::new(Reason::TooMany, detail));
    }
    let mut heeded = Heeded::default();
    let own = code(context.reader, &observation.code);
    let is_bare = observation.component.is_empty();
    if let Ok(own) = &own {
        match shared.part(&mut heeded, 0, own.clone(), resource, "Observation") {
            Err(rejection) if is_bare => return Err(rejection),
            Err(rejection) => heeded.reading.refused.push((0, rejection)),
            Ok(()) => {}
        }
    }
    for (place, component) in (1u32..).zip(&observation.component) {
        let path = format!("Observation.component[{}]", place - 1);
        let coded =
            fields::<Component>(component, &path).and_then(|part| code(context.reader, &part.code));
        let taken =
            coded.and_then(|coded| shared.part(&mut heeded, place, coded, component, &path));
        if let Err(rejection) = taken {
            heeded.reading.refused.push((place, rejection));
        }
        heeded.parts.push(path);
    }
    match own {
        Err(_) if is_bare && shared.takes_back_pressure(&observation.code, &mut heeded) => {}
        // The code of a panel need not be known; that of a single result must.
        Err(rejection) if is_bare => heeded.reading.refused.push((0, rejection)),
        _ => {}
    }
    Ok(heeded)
}

impl<'a> Shared<'a> {
    fn of(observation: &Observation, context: &'a Context<'a>) -> Result<Self, Rejection> {
        let status = status(observation.status.as_ref())?;
        let person = context.person(observation.subject.as_ref())?;
        let visit = context.visit(observation.encounter.as_ref())?;
        let known_at = known_at(observation, status, context);
        let period = observation.effective_period.as_ref();
        let times = [
            ("effectiveDateTime", observation.effective_date_time.as_ref()),
            ("effectiveInstant", observation.effective_instant.as_ref()),
            ("effectivePeriod.end", period.and_then(|period| period.end.as_ref())),
            ("effectivePeriod.start", period.and_then(|period| period.start.as_ref())),
        ];
        let observed_at = match (context.moment(&times), status) {
            // What is taken back is found by its id.
            (Err(_), Status::Withdrawn) => known_at,
            (observed_at, _) => observed_at?,
        };
        let specimen = observation.specimen.as_ref().and_then(|one| specimen(one, context));
        let of_lab = observation.category.iter().any(|category| category.has(LABORATORY));
        let id = context.id("Observation");
        let of_lab = of_lab || specimen.is_some();
        let charted = !of_lab && !observation.category.is_empty();
        let times = (observed_at, known_at);
        Ok(Shared { context, id, person, visit, times, status, specimen, of_lab, charted })
    }

    /// Takes the value of the Observation or of one component.
    fn part(
        &self,
        heeded: &mut Heeded,
        place: u32,
        (code_system, code, variable): Coded,
        of: &Value,
        path: &str,
    ) -> Result<(), Rejection> {
        let (value, unit) = match self.status {
            Status::Withdrawn => (RecordedValue::Missing, None),
            _ => value(of, path)?,
        };
        let reader = self.context.reader;
        if let Some(rejection) = doubt(reader, variable, (&value, unit.as_deref())) {
            heeded.notes.push((place, rejection));
        }
        let is_lab = self.of_lab || (!self.charted && reader.is_of_lab(variable));
        let topic = if is_lab { Topic::Lab } else { Topic::Vital };
        let result = reader.pseudonyms.result(&["Observation", &self.id, &code]);
        let specimen = self.specimen.clone();
        let body = Body::Measured(Measured { topic, code_system, code, value, unit, specimen });
        let (visit, (observed_at, known_at), status) = (self.visit, self.times, self.status);
        // Its id names it, whatever its time.
        let deed = Deed::Report { visit, result, is_sole: true, observed_at, status, body };
        let nth = heeded.reading.acts.len();
        let act = self.context.act((place, nth), self.person, known_at, deed);
        heeded.reading.acts.push(act);
        Ok(())
    }

    /// The two pressures of a panel that is taken back and has lost its components.
    fn takes_back_pressure(&self, panel: &CodeableConcept, heeded: &mut Heeded) -> bool {
        if self.status != Status::Withdrawn || !panel.has(PRESSURE.0) {
            return false;
        }
        for loinc in PRESSURE.1 {
            if let Some(coded) = self.context.reader.known(loinc, true) {
                // A part that is taken back has no value that could be wrong.
                self.part(heeded, 0, coded, &Value::Null, "Observation").ok();
            }
        }
        true
    }
}

fn status(code: Option<&String>) -> Result<Status, Rejection> {
    match said(code) {
        Some("preliminary") => Ok(Status::Preliminary),
        Some("final") => Ok(Status::Final),
        Some("amended" | "corrected") => Ok(Status::Corrected),
        Some("cancelled" | "entered-in-error") => Ok(Status::Withdrawn),
        Some("registered" | "unknown") => {
            Err(Rejection::new(Reason::Unsupported, "status says that there is no result"))
        }
        Some(_) => Err(Rejection::new(Reason::Undecodable, "status is no code of FHIR R4")),
        None => Err(Rejection::new(Reason::MissingKey, "status is missing")),
    }
}

/// `issued` says when this version could be known. A system that takes a result back or corrects it
/// often leaves `issued` as it was; then it is known since the record was changed.
fn known_at(observation: &Observation, status: Status, context: &Context<'_>) -> EventTime {
    let issued = context.moment(&[("issued", observation.issued.as_ref())]).ok();
    let updated = context.updated_at();
    let changes = matches!(status, Status::Withdrawn | Status::Corrected);
    let known_at = if changes { issued.max(updated) } else { issued.or(updated) };
    known_at.unwrap_or(context.clock.arrived_at)
}

/// What a specimen is, as far as the Observation says it.
fn specimen(reference: &Reference, context: &Context<'_>) -> Option<String> {
    let own = said(reference.reference.as_ref()).and_then(|text| text.strip_prefix('#'));
    let contained = context
        .head
        .contained
        .iter()
        .find(|one| own.is_some() && one.get("id").and_then(Value::as_str) == own);
    let kind = contained.and_then(|one| fields::<Specimen>(one, "Specimen").ok());
    let named = kind.as_ref().and_then(|specimen| words(&specimen.kind)).map(short);
    named.or_else(|| said(reference.display.as_ref()).map(short))
}
