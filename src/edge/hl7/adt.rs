//! ADT: where patients are, and who they are.

use super::message::{Message, Piece, Segment};
use super::reader::{Context, unsupported_message};
use crate::edge::age::age;
use crate::edge::reader::{MAX_UNIT, Reading};
use crate::engine::resolve::{About, Cancelled, Deed, VisitId};
use crate::event::{Disposition, Reason, Rejection, Sex};
use crate::time::EventTime;

/// Discharge dispositions of table 0112 that are a death.
const DIED: [&str; 4] = ["20", "40", "41", "42"];

/// One patient of a message: most have one, a swap has two, and a merge one for each pair.
struct Subject<'a> {
    /// Number of the segment that begins it.
    place: usize,
    pid: Segment<'a>,
    pv1: Option<Segment<'a>>,
    mrg: Option<Segment<'a>>,
}

/// The times of an event.
struct Times {
    at: EventTime,
    known_at: EventTime,
}

pub(super) fn read(
    message: &Message<'_>,
    trigger: &str,
    context: &Context<'_>,
) -> Result<Reading, Rejection> {
    let subjects = subjects(message);
    if subjects.is_empty() {
        return Err(Rejection::new(Reason::MissingKey, "there is no PID segment"));
    }
    let mut reading = Reading::default();
    let first = subjects.first().map_or(0, |subject| subject.place);
    for subject in &subjects {
        let person = context.person(subject.pid)?;
        let times = times(message, trigger, subject, context)?;
        let deed = deed(trigger, subject, times.at, context)?;
        // A swap is one act on two stays.
        let operation = if trigger == "A17" { first } else { subject.place };
        let act = context.act((subject.place, operation), person, times.known_at, deed);
        reading.acts.push(act);
    }
    Ok(reading)
}

fn subjects<'a>(message: &Message<'a>) -> Vec<Subject<'a>> {
    let mut subjects: Vec<Subject<'a>> = Vec::new();
    for (n, segment) in message.segments().iter().enumerate() {
        match (segment.name, subjects.last_mut()) {
            ("PID", _) => {
                subjects.push(Subject { place: n + 1, pid: *segment, pv1: None, mrg: None });
            }
            ("PV1", Some(subject)) if subject.pv1.is_none() => subject.pv1 = Some(*segment),
            ("MRG", Some(subject)) if subject.mrg.is_none() => subject.mrg = Some(*segment),
            _ => {}
        }
    }
    subjects
}

/// EVN-6 says when it happened; an admission and a discharge have a field of their own. EVN-2 says
/// when it was recorded, and so known.
fn times(
    message: &Message<'_>,
    trigger: &str,
    subject: &Subject<'_>,
    context: &Context<'_>,
) -> Result<Times, Rejection> {
    let evn = message.segment("EVN");
    let evn_2 = evn.map(|evn| ("EVN-2", evn.field(2)));
    let own = subject.pv1.and_then(|pv1| match trigger {
        "A01" | "A04" | "A08" => Some(("PV1-44", pv1.field(44))),
        "A03" => Some(("PV1-45", pv1.field(45))),
        _ => None,
    });
    let happened = [own, evn.map(|evn| ("EVN-6", evn.field(6))), evn_2];
    let fields: Vec<(&str, Piece<'_>)> = happened.into_iter().flatten().collect();
    let known_at = evn_2.and_then(|field| context.moment(&[field]).ok());
    let known_at = known_at.unwrap_or(context.sent_at);
    let is_silent = fields.iter().all(|(_, field)| field.is_empty());
    let at = if is_silent { known_at } else { context.moment(&fields)? };
    Ok(Times { at, known_at })
}

fn deed<B>(
    trigger: &str,
    subject: &Subject<'_>,
    at: EventTime,
    context: &Context<'_>,
) -> Result<Deed<B>, Rejection> {
    let about = about(subject.pid, at);
    let visit = || visit(subject, context);
    match trigger {
        "A01" | "A02" | "A04" | "A17" => {
            let unit = unit(subject)
                .ok_or_else(|| Rejection::new(Reason::MissingKey, "PV1-3 names no unit"))?;
            Ok(Deed::Arrive { visit: visit()?, at, unit, about })
        }
        "A03" => {
            let disposition = disposition(subject);
            Ok(Deed::Leave { visit: visit()?, at, disposition, about })
        }
        "A08" => {
            let unit = unit(subject).unwrap_or_default();
            Ok(Deed::Describe { visit: visit()?, at, unit, about })
        }
        "A11" => Ok(Deed::Cancel { visit: visit()?, what: Cancelled::Admission }),
        "A12" => Ok(Deed::Cancel { visit: visit()?, what: Cancelled::Transfer }),
        "A13" => Ok(Deed::Cancel { visit: visit()?, what: Cancelled::Discharge }),
        "A40" => merge(subject, context),
        _ => Err(unsupported_message("ADT", trigger)),
    }
}

/// MRG-1 is the number that ends; MRG-5 the visit that does, where the message names one.
fn merge<B>(subject: &Subject<'_>, context: &Context<'_>) -> Result<Deed<B>, Rejection> {
    let missing = || Rejection::new(Reason::MissingKey, "MRG-1 names no patient");
    let mrg = subject.mrg.ok_or_else(missing)?;
    let numbers = [mrg.field(1), mrg.field(4)];
    let prior = numbers.iter().find(|id| !id.component(1).is_empty()).ok_or_else(missing)?;
    let ended = mrg.field(5);
    let survivor = context.visit(Some(subject.pid), subject.pv1);
    let visits = survivor
        .filter(|_| !ended.component(1).is_empty())
        .map(|survivor| (context.visit_of(ended), survivor));
    Ok(Deed::Merge { prior: context.patient(*prior), visits })
}

fn visit(subject: &Subject<'_>, context: &Context<'_>) -> Result<VisitId, Rejection> {
    context.visit(Some(subject.pid), subject.pv1).ok_or_else(|| {
        Rejection::new(Reason::MissingKey, "neither PV1-19 nor PID-18 names a visit")
    })
}

/// PV1-3.1.
fn unit(subject: &Subject<'_>) -> Option<String> {
    let text = subject.pv1?.field(3).component(1).text();
    let unit: String = text.chars().take(MAX_UNIT).collect();
    (!unit.is_empty()).then_some(unit)
}

fn disposition(subject: &Subject<'_>) -> Disposition {
    let code = subject.pv1.map(|pv1| pv1.field(36).component(1).text()).unwrap_or_default();
    let is_dead = subject.pid.field(30).text() == "Y";
    if is_dead || DIED.contains(&code.as_ref()) { Disposition::Died } else { Disposition::Alive }
}

/// Age and sex. The model knows two sexes; another or none leaves it open.
fn about(pid: Segment<'_>, at: EventTime) -> About {
    let sex = match pid.field(8).component(1).text().as_ref() {
        "F" => Some(Sex::Female),
        "M" => Some(Sex::Male),
        _ => None,
    };
    About { age_years: age(&pid.field(7).component(1).text(), at), sex }
}
