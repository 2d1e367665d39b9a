//! ImagingStudy: which films there are, and which do not hold.
//!
//! It has no pixels, and what it says of them is not believed: view, moment and patient are those
//! of the DICOM file. What is read are the UIDs of instances in series of CR and DX, to fetch or to
//! take back. The addresses that a study names (`endpoint`) are not read.

use std::collections::BTreeSet;

use serde_json::Value;

use super::context::{Context, Heeded};
use super::parcel::{Item, Kind};
use super::resource::{Identifier, ImagingStudy, fields, said};
use crate::edge::body::Film;
use crate::edge::dicom::Uid;
use crate::event::{Reason, Rejection};

/// Instances of one study that are fetched or taken back. One of the chest has one to four.
pub const MAX_INSTANCES: usize = 16;
/// Modalities of series that may hold a chest film.
const MODALITIES: [&str; 2] = ["CR", "DX"];
/// The system of UIDs, and what stands before one.
const UIDS: &str = "urn:dicom:uid";
const OID: &str = "urn:oid:";

/// A film that a study names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// FHIRPath of its instance.
    pub place: String,
    pub study: Uid,
    pub series: Uid,
    pub instance: Uid,
}

/// What is to be done with the films of a study.
#[derive(Debug, PartialEq)]
enum Plan {
    Fetch(Vec<Named>),
    TakeBack(Vec<Named>),
}

impl Item {
    /// The films that are to be fetched before the desk is asked: none where the resource is no
    /// study, is of no use, or will be refused.
    pub fn announced(&self) -> Vec<Named> {
        let is_study = self.kind == Some(Kind::ImagingStudy) && self.fault.is_none();
        match is_study.then(|| plan(&self.content)) {
            Some(Ok(Plan::Fetch(films))) => films,
            _ => Vec::new(),
        }
    }
}

/// What is to be done: nothing here for films that are fetched, since they come with the item.
pub(super) fn read(resource: &Value, context: &Context<'_>) -> Result<Heeded, Rejection> {
    let mut heeded = Heeded::default();
    let Plan::TakeBack(films) = plan(resource)? else { return Ok(heeded) };
    let study: ImagingStudy = fields(resource, "ImagingStudy")?;
    let person = context.person(study.subject.as_ref())?;
    let at = context.clock.arrived_at;
    for (nth, (place, film)) in (1u32..).zip(films).enumerate() {
        let result = context.reader.pseudonyms.film(film.instance.as_str());
        heeded.reading.acts.push(context.act((place, nth), person, at, Film::end(result, at)));
        heeded.parts.push(film.place);
    }
    Ok(heeded)
}

fn plan(resource: &Value) -> Result<Plan, Rejection> {
    let study: ImagingStudy = fields(resource, "ImagingStudy")?;
    let unsupported = |detail: &str| Err(Rejection::new(Reason::Unsupported, detail));
    match said(study.status.as_ref()) {
        Some("available") => named(&study).map(Plan::Fetch),
        Some("cancelled" | "entered-in-error") => named(&study).map(Plan::TakeBack),
        Some("registered" | "unknown") => unsupported("status says that there are no films yet"),
        Some(_) => Err(undecodable("status is no code of FHIR R4")),
        None => Err(missing("status")),
    }
}

/// The films of a study, each once, in its order.
fn named(study: &ImagingStudy) -> Result<Vec<Named>, Rejection> {
    let of_use = |modality: &str| MODALITIES.contains(&modality);
    let mut is_of_use = false;
    let (mut films, mut seen) = (Vec::new(), BTreeSet::new());
    for (n, series) in study.series.iter().enumerate() {
        if !said(series.modality.code.as_ref()).is_some_and(of_use) {
            continue;
        }
        is_of_use = true;
        for (m, instance) in series.instance.iter().enumerate() {
            let of_series = format!("series[{n}]");
            let of_instance = format!("{of_series}.instance[{m}]");
            let film = Named {
                study: study_uid(&study.identifier)?,
                series: uid(said(series.uid.as_ref()), &of_series)?,
                instance: uid(said(instance.uid.as_ref()), &of_instance)?,
                place: format!("ImagingStudy.{of_instance}"),
            };
            if seen.insert(film.instance.clone()) {
                films.push(film);
            }
            if films.len() > MAX_INSTANCES {
                let detail = format!(
                    "a study may have {MAX_INSTANCES} instances of CR or DX; send those of the \
                     chest alone"
                );
                return Err(Rejection::new(Reason::TooMany, detail));
            }
        }
    }
    let nothing = |detail: &str| Err(Rejection::new(Reason::Unsupported, detail));
    match (is_of_use, films.is_empty()) {
        (false, _) => nothing("no series of the modality CR or DX"),
        (true, true) => nothing("its series of CR or DX name no instance"),
        (true, false) => Ok(films),
    }
}

/// Study Instance UID: the identifier of the system that R4 gives it.
fn study_uid(identifiers: &[Identifier]) -> Result<Uid, Rejection> {
    let is_uid = |one: &&Identifier| said(one.system.as_ref()) == Some(UIDS);
    let found = identifiers.iter().find(is_uid).and_then(|one| said(one.value.as_ref()));
    match found {
        Some(text) => uid(Some(text), "identifier"),
        None => Err(missing("an identifier of the system urn:dicom:uid")),
    }
}

fn uid(text: Option<&str>, place: &str) -> Result<Uid, Rejection> {
    let text = text.ok_or_else(|| missing(&format!("the UID of {place}")))?;
    let bare = text.strip_prefix(OID).unwrap_or(text);
    let wrong = || undecodable(&format!("the UID of {place} is none: up to 64 digits and dots"));
    Uid::new(bare).ok_or_else(wrong)
}

fn missing(what: &str) -> Rejection {
    Rejection::new(Reason::MissingKey, format!("{what} is missing"))
}

fn undecodable(detail: &str) -> Rejection {
    Rejection::new(Reason::Undecodable, detail)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn study(status: &str, series: Value) -> Value {
        json!({
            "resourceType": "ImagingStudy", "status": status, "series": series,
            "identifier": [
                { "value": "ACC-1" }, { "system": "urn:dicom:uid", "value": "urn:oid:1.2" },
            ],
        })
    }

    fn series(modality: &str, instances: &[&str]) -> Value {
        let instances: Vec<Value> = instances.iter().map(|uid| json!({ "uid": uid })).collect();
        json!({ "uid": "1.3", "modality": { "code": modality }, "instance": instances })
    }

    fn reason(resource: &Value) -> &'static str {
        plan(resource).expect_err("refused").reason.code()
    }

    #[test]
    fn films_of_radiographs_are_named_once_each_with_their_place() {
        let all = json!([
            series("CT", &["1.4.0"]),
            series("DX", &["1.4.1", "urn:oid:1.4.2", "1.4.1"]),
            series("CR", &["1.4.3"]),
        ]);
        let Ok(Plan::Fetch(films)) = plan(&study("available", all.clone())) else { panic!() };
        let named: Vec<String> =
            films.iter().map(|one| format!("{} {}", one.place, one.instance)).collect();
        assert_eq!(
            named,
            [
                "ImagingStudy.series[1].instance[0] 1.4.1",
                "ImagingStudy.series[1].instance[1] 1.4.2",
                "ImagingStudy.series[2].instance[0] 1.4.3",
            ]
        );
        assert!(
            films.iter().all(|one| one.study.as_str() == "1.2" && one.series.as_str() == "1.3")
        );
        for status in ["cancelled", "entered-in-error"] {
            let back = plan(&study(status, all.clone()));
            assert_eq!(back, Ok(Plan::TakeBack(films.clone())));
        }
    }

    #[test]
    fn what_names_no_film_says_why() {
        let one = json!([series("DX", &["1.4.1"])]);
        for status in ["registered", "unknown"] {
            assert_eq!(reason(&study(status, one.clone())), "unsupported");
        }
        assert_eq!(reason(&study("done", one.clone())), "undecodable");
        assert_eq!(reason(&json!({ "series": one })), "missing_key");
        assert_eq!(reason(&study("available", json!([series("CT", &["1.4.1"])]))), "unsupported");
        assert_eq!(reason(&study("available", json!([series("DX", &[])]))), "unsupported");
        assert_eq!(reason(&study("available", json!([]))), "unsupported");
        for wrong in ["..", "1.2/../..", "1.2?x", "http://elsewhere/", ""] {
            let found = reason(&study("available", json!([series("DX", &[wrong])])));
            assert!(["undecodable", "missing_key"].contains(&found), "{wrong}: {found}");
        }
        let mut nameless = study("available", one);
        nameless["identifier"] = json!([{ "value": "urn:oid:1.2" }]);
        assert_eq!(reason(&nameless), "missing_key");
        let uids: Vec<String> = (0..=MAX_INSTANCES).map(|n| format!("1.4.{n}")).collect();
        let uids: Vec<&str> = uids.iter().map(String::as_str).collect();
        let (_, least) = uids.split_last().expect("some");
        assert!(plan(&study("available", json!([series("DX", least)]))).is_ok());
        assert_eq!(reason(&study("available", json!([series("DX", &uids)]))), "too_many");
    }
}
