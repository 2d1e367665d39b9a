//! ORU^R01: results of laboratories, blood gas analysers and monitors.

use std::borrow::Cow;

use super::message::{Message, Piece, Segment};
use super::reader::Context;
use crate::edge::body::{Body, Measured};
use crate::edge::reader::{MAX_QUOTED, MAX_VALUE, MAX_WORD, Reading, written};
use crate::engine::resolve::{Act, Deed, PersonId, Status, VisitId};
use crate::event::{Reason, Rejection};
use crate::ids::{Topic, VariableId};
use crate::time::EventTime;
use crate::wire::records::{CodeSystem, RecordedValue};

/// Sections of OBR-24 (table 0074) whose results are a laboratory's.
const LABORATORY: [&str; 8] = ["LAB", "CH", "HM", "BG", "CP", "ICU", "TX", "SR"];

/// What stands above the results of one order.
struct Order<'a> {
    person: PersonId,
    visit: Option<VisitId>,
    obr: Option<Segment<'a>>,
    /// OBR-3, OBR-2 or the same of ORC.
    number: Cow<'a, str>,
    specimen: Option<String>,
}

pub(super) fn read(message: &Message<'_>, context: &Context<'_>) -> Result<Reading, Rejection> {
    let segments = message.segments();
    let (mut pid, mut pv1, mut orc, mut order) = (None, None, None, None);
    let mut reading = Reading::default();
    for (n, segment) in segments.iter().enumerate() {
        match segment.name {
            "PID" => (pid, pv1, orc, order) = (Some(*segment), None, None, None),
            "PV1" => (pv1, order) = (Some(*segment), None),
            "ORC" => (orc, order) = (Some(*segment), None),
            "OBR" => {
                let rest = segments.get(n + 1..).unwrap_or_default();
                order = Some(Order::of(context, (pid, pv1), orc, Some(*segment), rest)?);
            }
            "OBX" => {
                if order.is_none() {
                    order = Some(Order::of(context, (pid, pv1), orc, None, &[])?);
                }
                let Some(order) = &order else { continue };
                match result(context, order, *segment, n + 1) {
                    Ok(act) => reading.acts.push(act),
                    Err(rejection) => {
                        let place = u32::try_from(n + 1).unwrap_or(u32::MAX);
                        reading.refused.push((place, rejection));
                    }
                }
            }
            _ => {}
        }
    }
    if pid.is_none() {
        return Err(Rejection::new(Reason::MissingKey, "there is no PID segment"));
    }
    Ok(reading)
}

impl<'a> Order<'a> {
    fn of(
        context: &Context<'_>,
        (pid, pv1): (Option<Segment<'a>>, Option<Segment<'a>>),
        orc: Option<Segment<'a>>,
        obr: Option<Segment<'a>>,
        behind: &[Segment<'a>],
    ) -> Result<Self, Rejection> {
        let missing =
            || Rejection::new(Reason::MissingKey, "a result before the first PID segment");
        let person = context.person(pid.ok_or_else(missing)?)?;
        let numbers = [(obr, 3), (obr, 2), (orc, 3), (orc, 2)];
        let number = |&(segment, field): &(Option<Segment<'a>>, usize)| {
            let text = segment.map(|segment| segment.field(field).component(1).text())?;
            (!text.is_empty()).then_some(text)
        };
        let own = behind.iter().take_while(|segment| !["OBR", "PID"].contains(&segment.name));
        let spm = own.filter(|segment| segment.name == "SPM").map(|spm| spm.field(4));
        let obr_15 = obr.map(|obr| obr.field(15));
        let specimen = spm.chain(obr_15).find_map(word);
        Ok(Order {
            person,
            visit: context.visit(pid, pv1),
            obr,
            number: numbers.iter().find_map(number).unwrap_or_default(),
            specimen,
        })
    }

    fn field(&self, n: usize) -> Option<Piece<'a>> {
        self.obr.map(|obr| obr.field(n))
    }
}

fn result(
    context: &Context<'_>,
    order: &Order<'_>,
    obx: Segment<'_>,
    place: usize,
) -> Result<Act<Body>, Rejection> {
    let status = status(obx, order)?;
    let (code_system, code, variable) = code(context, obx.field(3))?;
    let value = match status {
        Status::Withdrawn | Status::Confirmed => RecordedValue::Missing,
        _ => value(obx)?,
    };
    let times: Vec<(&str, Piece<'_>)> =
        [("OBX-14", Some(obx.field(14))), ("OBR-7", order.field(7))]
            .into_iter()
            .filter_map(|(name, field)| Some((name, field?)))
            .collect();
    let observed_at = context.moment(&times)?;
    let known_at = known_at(context, order);
    let specimen = order.specimen.clone();
    let topic = topic(context, order, variable, specimen.is_some());
    let sub_id = obx.field(4).text();
    let result =
        context.reader.pseudonyms.result(&[order.number.as_ref(), code.as_str(), sub_id.as_ref()]);
    let body = Body::Measured(Measured {
        topic,
        code_system,
        code,
        value,
        unit: word(obx.field(6)),
        specimen,
    });
    let visit = order.visit;
    // One order may repeat a code, at other times.
    let deed = Deed::Report { visit, result, is_sole: false, observed_at, status, body };
    Ok(context.act((place, place), order.person, known_at, deed))
}

/// OBR-22, when the result was reported or changed; else when the message was made.
fn known_at(context: &Context<'_>, order: &Order<'_>) -> EventTime {
    let reported = order.field(22).map(|field| field.component(1).text()).unwrap_or_default();
    context.clock.read(&reported).unwrap_or(context.sent_at)
}

/// OBX-11 (table 0085); where it is empty, OBR-25; where that is too, final.
fn status(obx: Segment<'_>, order: &Order<'_>) -> Result<Status, Rejection> {
    let of_order = order.field(25).map(|field| field.text()).unwrap_or_default();
    let code = match obx.field(11).text() {
        empty if empty.is_empty() => of_order,
        code => code,
    };
    match code.as_ref() {
        "" | "F" | "B" | "V" => Ok(Status::Final),
        "P" | "R" | "S" => Ok(Status::Preliminary),
        "C" | "A" => Ok(Status::Corrected),
        "D" | "W" | "X" => Ok(Status::Withdrawn),
        "U" => Ok(Status::Confirmed),
        "I" | "N" | "O" => {
            Err(Rejection::new(Reason::Unsupported, "OBX-11 says that there is no result"))
        }
        _ => Err(Rejection::new(Reason::Unsupported, "OBX-11 is not in table 0085")),
    }
}

/// OBX-3: LOINC by its name, local codes by the configuration, and LOINC whose sender forgot to
/// say so.
fn code(
    context: &Context<'_>,
    field: Piece<'_>,
) -> Result<(CodeSystem, String, VariableId), Rejection> {
    let part = |n: usize| field.component(n).text();
    let coded = [(part(1), part(3)), (part(4), part(6))];
    let mut loinc = coded.iter().filter(|(_, system)| system == "LN" || system.is_empty());
    let found = loinc.find_map(|(code, _)| context.reader.known(code, true));
    let local = || coded.iter().find_map(|(code, _)| context.reader.known(code, false));
    if let Some(known) = found.or_else(local) {
        return Ok(known);
    }
    let quoted: String = part(1).chars().take(MAX_QUOTED).collect();
    let detail =
        format!("OBX-3 {quoted:?} is neither a LOINC code of the dictionary nor in edge.codes");
    Err(Rejection::new(Reason::UnmappedCode, detail))
}

/// OBX-5 by its type in OBX-2. Nothing is guessed: a comparator, a range or a list is no value.
fn value(obx: Segment<'_>) -> Result<RecordedValue, Rejection> {
    let field = obx.field(5);
    let no_number = |detail: &str| Rejection::new(Reason::NotANumber, detail);
    if field.is_empty() {
        return Err(no_number("OBX-5 is empty"));
    }
    if field.repetitions().count() > 1 {
        return Err(Rejection::new(Reason::Unsupported, "OBX-5 holds several values"));
    }
    let text = match obx.field(2).text().as_ref() {
        "NM" | "ST" | "TX" | "FT" | "" => field.text(),
        "SN" => {
            let part = |n: usize| field.component(n).text();
            let plain = ["", "="].contains(&part(1).as_ref()) && part(3).is_empty();
            if !plain {
                return Err(no_number("OBX-5 is a comparison, a range or a ratio, and no value"));
            }
            part(2)
        }
        "CE" | "CWE" | "CNE" | "CF" | "IS" | "ID" => match field.component(2).text() {
            empty if empty.is_empty() => field.component(1).text(),
            text => text,
        },
        _ => {
            return Err(Rejection::new(Reason::Unsupported, "OBX-2 names a type that is not read"));
        }
    };
    if text.chars().count() > MAX_VALUE {
        return Err(Rejection::new(Reason::Unsupported, "OBX-5 is a report and no value"));
    }
    Ok(written(&text))
}

fn topic(
    context: &Context<'_>,
    order: &Order<'_>,
    variable: VariableId,
    has_specimen: bool,
) -> Topic {
    let section = order.field(24).map(|field| field.text()).unwrap_or_default();
    // What only a laboratory measures, another section has charted.
    let unsaid = section.is_empty() && context.reader.is_of_lab(variable);
    let of_lab = LABORATORY.contains(&section.as_ref()) || unsaid;
    if of_lab || has_specimen { Topic::Lab } else { Topic::Vital }
}

/// A coded word: its code, or its text where that is empty.
fn word(field: Piece<'_>) -> Option<String> {
    let code = field.component(1).subcomponent(1).text();
    let text = if code.is_empty() { field.component(2).text() } else { code };
    let short: String = text.chars().take(MAX_WORD).collect();
    (!short.is_empty()).then_some(short)
}
