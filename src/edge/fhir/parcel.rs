//! What came in one request: a resource, or a Bundle of them, opened.
//!
//! A Bundle is taken apart here, so that behind this each resource stands for itself: references to
//! other entries become references to what those are called, and an Encounter brings the Patient
//! along that its Bundle has. What is wrong with an entry is kept in its place, to be answered
//! there.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::names::best;
use super::resource::{Head, fields};
use crate::edge::dicom::Instance;
use crate::event::{Reason, Rejection};

/// Bytes of one request's body.
pub const MAX_BODY_BYTES: usize = 4 << 20;
/// Entries of one Bundle.
pub const MAX_ENTRIES: usize = 1_000;

/// The resources that are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Patient,
    Encounter,
    Observation,
    ImagingStudy,
}

/// How the answer is to look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    Single,
    /// Entries that stand each for itself.
    Batch,
    /// All or none: if one entry cannot be read, or a film of one not be fetched now, nothing is
    /// taken.
    Transaction,
}

/// One resource of a request.
#[derive(Clone, Debug)]
pub struct Item {
    /// The resource, or what stands in its place.
    pub content: Value,
    pub kind: Option<Kind>,
    /// The patient of an Encounter, where the request has it.
    pub patient: Option<Value>,
    /// Why it is refused whatever it says.
    pub fault: Option<Rejection>,
    /// Whether it was sent by PUT.
    pub is_update: bool,
    /// The films of an ImagingStudy, opened, each with its place in it.
    pub films: Vec<(String, Instance)>,
    /// Why it cannot be taken now, where it could be later.
    pub deferred: Option<String>,
}

/// One request.
#[derive(Clone, Debug)]
pub struct Parcel {
    /// Who sends, and the request's own id: how a person finds it.
    pub sender: String,
    pub request_id: String,
    pub form: Form,
    pub items: Vec<Item>,
}

/// Where a request was sent.
#[derive(Clone, Copy, Debug)]
pub enum Target<'a> {
    /// The base, for Bundles.
    Base,
    /// A type, by POST.
    Create(Kind),
    /// A resource, by PUT.
    Update(Kind, &'a str),
}

impl Kind {
    pub const ALL: [Kind; 4] =
        [Kind::Patient, Kind::Encounter, Kind::Observation, Kind::ImagingStudy];

    pub const fn name(self) -> &'static str {
        match self {
            Kind::Patient => "Patient",
            Kind::Encounter => "Encounter",
            Kind::Observation => "Observation",
            Kind::ImagingStudy => "ImagingStudy",
        }
    }

    pub fn from_name(name: &str) -> Option<Self> {
        Kind::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

impl Parcel {
    /// Opens a request's body. Nothing fails here: what is wrong stands in the items.
    pub fn open(target: Target<'_>, body: &[u8], sender: String, request_id: String) -> Self {
        let (form, items) = match (target, serde_json::from_slice::<Value>(body)) {
            (_, Err(_)) => {
                let fault = undecodable("the body is no JSON, or is cut off");
                // Named by its bytes, so that the same again is known.
                let content = Value::String(String::from_utf8_lossy(body).into_owned());
                (Form::Single, vec![Item { fault: Some(fault), ..Item::new(content) }])
            }
            (Target::Base, Ok(bundle)) => opened(bundle),
            (target, Ok(resource)) => (Form::Single, vec![addressed(resource, target)]),
        };
        Parcel { sender, request_id, form, items }
    }
}

impl Item {
    fn new(content: Value) -> Self {
        let name = content.get("resourceType").and_then(Value::as_str);
        let kind = name.and_then(Kind::from_name);
        let fault = match (name, kind) {
            (_, Some(_)) => None,
            (None, _) => Some(undecodable("resourceType is missing")),
            (Some(_), None) => Some(Rejection::new(
                Reason::Undecodable,
                "only Patient, Encounter, Observation and ImagingStudy are taken",
            )),
        };
        let (films, deferred) = (Vec::new(), None);
        Item { content, kind, patient: None, fault, is_update: false, films, deferred }
    }
}

/// A resource that was sent to its type, or to its own address.
fn addressed(mut resource: Value, target: Target<'_>) -> Item {
    let (kind, id) = match target {
        Target::Base => (None, None),
        Target::Create(kind) => (Some(kind), None),
        Target::Update(kind, id) => (Some(kind), Some(id)),
    };
    let own = resource.get("id").and_then(Value::as_str);
    let mismatch = match (id, own) {
        (Some(id), Some(own)) if id != own => Some("its id is not that of its address"),
        _ => None,
    };
    let is_unnamed = own.is_none();
    if let (Some(id), true, Some(fields)) = (id, is_unnamed, resource.as_object_mut()) {
        fields.insert("id".to_owned(), json!(id));
    }
    let mut item = Item { is_update: id.is_some(), ..Item::new(resource) };
    let is_other = kind.is_some() && item.kind.is_some() && item.kind != kind;
    let mismatch = mismatch.or(is_other.then_some("its resourceType is not that of its address"));
    item.fault = item.fault.or(mismatch.map(undecodable));
    contain(&mut item);
    item
}

/// A Bundle's entries.
fn opened(bundle: Value) -> (Form, Vec<Item>) {
    let refused = |rejection: Rejection, bundle: Value| {
        let item = Item { fault: Some(rejection), ..Item::new(bundle) };
        (Form::Single, vec![item])
    };
    let text = |key: &str| bundle.get(key).and_then(Value::as_str);
    let form = match (text("resourceType"), text("type")) {
        (Some("Bundle"), Some("batch")) => Form::Batch,
        (Some("Bundle"), Some("transaction")) => Form::Transaction,
        (Some("Bundle"), _) => {
            return refused(undecodable("a Bundle must be a batch or a transaction"), bundle);
        }
        _ => return refused(undecodable("the base takes a Bundle"), bundle),
    };
    let entries = match bundle.get("entry").map(Value::as_array) {
        None => return (form, Vec::new()),
        Some(None) => return refused(undecodable("Bundle.entry is no list"), bundle),
        Some(Some(entries)) if entries.len() > MAX_ENTRIES => {
            let detail = format!("a Bundle may have {MAX_ENTRIES} entries; send it in parts");
            return refused(Rejection::new(Reason::TooMany, detail), bundle);
        }
        Some(Some(entries)) => entries,
    };
    let table = called(entries);
    let mut items: Vec<Item> = entries.iter().map(|entry| entered(entry, &table)).collect();
    let patients: BTreeMap<String, Value> = items
        .iter()
        .filter(|item| item.kind == Some(Kind::Patient))
        .filter_map(|item| Some((pointer(&item.content)?.to_string(), item.content.clone())))
        .collect();
    for item in items.iter_mut().filter(|item| item.kind == Some(Kind::Encounter)) {
        let subject = item.content.get("subject").and_then(bare).map(|subject| subject.to_string());
        let brought = subject.and_then(|subject| patients.get(&subject).cloned());
        item.patient = item.patient.take().or(brought);
    }
    (form, items)
}

/// One entry: its resource by its request.
fn entered(entry: &Value, table: &BTreeMap<String, Value>) -> Item {
    let text = |pointer: &str| entry.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let mut resource = entry.get("resource").cloned().unwrap_or_default();
    redirect(&mut resource, table);
    let (method, url) = (text("/request/method"), text("/request/url"));
    let mut parts = url.trim_start_matches('/').splitn(2, '/');
    let (kind, id) = (parts.next().and_then(Kind::from_name), parts.next());
    let fault = |detail: &str, resource: Value| {
        let fault = Some(undecodable(detail));
        Item { fault, ..Item::new(resource) }
    };
    match (method, kind, id) {
        ("POST", Some(kind), None) => addressed(resource, Target::Create(kind)),
        ("PUT", Some(kind), Some(id)) if !id.contains(['/', '?']) => {
            addressed(resource, Target::Update(kind, id))
        }
        ("POST" | "PUT", ..) => {
            fault("request.url must be a type for POST, and a type and an id for PUT", resource)
        }
        _ => fault("request.method must be POST or PUT", resource),
    }
}

/// What the entries are called, by their `fullUrl`.
fn called(entries: &[Value]) -> BTreeMap<String, Value> {
    let named = |entry: &Value| {
        let url = entry.get("fullUrl")?.as_str()?.to_owned();
        Some((url, pointer(entry.get("resource")?)?))
    };
    entries.iter().filter_map(named).collect()
}

/// A reference to a resource: by its id, else by its best identifier.
fn pointer(resource: &Value) -> Option<Value> {
    let kind = resource.get("resourceType")?.as_str()?;
    let head: Head = fields(resource, kind).ok()?;
    if let Some(id) = head.id {
        return Some(json!({ "reference": format!("{kind}/{id}") }));
    }
    let identifier = best(&head.identifier)?;
    Some(json!({ "identifier": { "system": identifier.system, "value": identifier.value } }))
}

/// A reference without what is not its name.
fn bare(reference: &Value) -> Option<Value> {
    match (reference.get("reference"), reference.get("identifier")) {
        (Some(text), _) => Some(json!({ "reference": text })),
        (None, Some(one)) => {
            let (system, value) = (one.get("system"), one.get("value"));
            Some(json!({ "identifier": { "system": system, "value": value } }))
        }
        (None, None) => None,
    }
}

/// Makes every reference to an entry one to what it is called.
fn redirect(value: &mut Value, table: &BTreeMap<String, Value>) {
    match value {
        Value::Array(all) => all.iter_mut().for_each(|one| redirect(one, table)),
        Value::Object(object) => {
            let text = object.get("reference").and_then(Value::as_str);
            if let Some(Value::Object(to)) = text.and_then(|text| table.get(text)) {
                object.remove("reference");
                object.extend(to.clone());
            }
            object.values_mut().for_each(|one| redirect(one, table));
        }
        _ => {}
    }
}

/// Makes the contained Patient of an Encounter its subject by name, and brings it along.
fn contain(item: &mut Item) {
    let subject = item.content.pointer("/subject/reference").and_then(Value::as_str);
    let Some(own) = subject.and_then(|text| text.strip_prefix('#')) else { return };
    let contained = item.content.get("contained").and_then(Value::as_array).into_iter().flatten();
    let is_it = |one: &&Value| one.get("id").and_then(Value::as_str) == Some(own);
    let Some(mut patient) = contained.into_iter().find(is_it).cloned() else { return };
    // An id within the resource names nothing outside of it.
    patient.as_object_mut().map(|fields| fields.remove("id"));
    let Some(Value::Object(to)) = pointer(&patient) else { return };
    let subject = item.content.get_mut("subject").and_then(Value::as_object_mut);
    if let Some(subject) = subject {
        *subject = Map::from_iter(to);
        item.patient = Some(patient);
    }
}

fn undecodable(detail: &str) -> Rejection {
    Rejection::new(Reason::Undecodable, detail)
}

#[cfg(test)]
#[path = "parcel_tests.rs"]
mod tests;
