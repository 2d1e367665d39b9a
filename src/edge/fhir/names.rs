//! Who is meant: resources and references by their names, and names by their keyed hashes.

use std::collections::BTreeMap;

use super::resource::{Head, Identifier, Reference, said};
use crate::config::HashKey;
use crate::edge::pseudonym::Pseudonyms;
use crate::engine::resolve::{PersonId, VisitId};
use crate::event::{Reason, Rejection};
use crate::ids::StayId;

/// What ids of ours begin with; 32 hexadecimal digits of a keyed hash follow.
const OURS: &str = "ncx-";
/// Identifier types that are the patient's or visit's own number, best first (table 0203).
const TYPES: [&str; 6] = ["MR", "MRN", "PI", "PT", "VN", "AN"];

/// Stays of one encounter that are looked for.
const MAX_STAYS: usize = 32;

/// How a resource is called.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Name<'a> {
    Id(&'a str),
    Business { system: &'a str, value: &'a str },
}

impl<'a> Name<'a> {
    /// The name of a resource: its id, else its best business identifier.
    pub fn of(head: &'a Head) -> Option<Self> {
        match said(head.id.as_ref()) {
            Some(id) => Some(Name::Id(id)),
            None => best(&head.identifier).and_then(Name::business),
        }
    }

    fn business(identifier: &'a Identifier) -> Option<Self> {
        let value = said(identifier.value.as_ref())?;
        let system = said(identifier.system.as_ref()).unwrap_or_default();
        Some(Name::Business { system, value })
    }

    /// The name that a reference to a `kind` gives; `None` if it gives none.
    ///
    /// # Errors
    /// If it names something else, or something that is not there.
    pub fn meant(reference: &'a Reference, kind: &str) -> Result<Option<Self>, Rejection> {
        let wrong = |detail: String| Err(Rejection::new(Reason::MissingKey, detail));
        let Some(text) = said(reference.reference.as_ref()) else {
            return Ok(reference.identifier.as_ref().and_then(Name::business));
        };
        if text.starts_with("urn:") || text.starts_with('#') {
            return wrong(format!(
                "a reference to a {kind} leads to nothing that was sent with it"
            ));
        }
        if let Some((path, asked)) = text.split_once('?') {
            let (system, value) = match asked.strip_prefix("identifier=") {
                Some(token) => token.split_once('|').unwrap_or(("", token)),
                None => return wrong(format!("a search for a {kind} may ask for identifier only")),
            };
            let meant = path.rsplit('/').next() == Some(kind) && !value.is_empty();
            let named = meant.then_some(Name::Business { system, value });
            return named.map_or_else(
                || wrong(format!("a search does not name a {kind}")),
                |n| Ok(Some(n)),
            );
        }
        let whole = text.split_once("/_history/").map_or(text, |(whole, _)| whole);
        let mut parts = whole.rsplit('/');
        match (parts.next(), parts.next()) {
            (Some(id), Some(named)) if named == kind && !id.is_empty() => Ok(Some(Name::Id(id))),
            _ => wrong(format!("a reference that should name a {kind} has another form")),
        }
    }

    /// A patient.
    pub fn person(self, keys: Keys<'_>) -> PersonId {
        match self {
            Name::Id(id) => assigned(id)
                .map_or_else(|| keys.pseudonyms.person("urn:fhir:Patient", id), PersonId),
            Name::Business { system, value } => {
                keys.pseudonyms.person(keys.authority(system), value)
            }
        }
    }

    /// An encounter.
    pub fn visit(self, keys: Keys<'_>) -> VisitId {
        match self {
            Name::Id(id) => assigned(id)
                .map_or_else(|| keys.pseudonyms.visit("urn:fhir:Encounter", id), VisitId),
            Name::Business { system, value } => {
                keys.pseudonyms.visit(keys.authority(system), value)
            }
        }
    }

    /// The id of a resource: its own, or one that leads back to its other name.
    pub fn id(self, kind: &str, keys: Keys<'_>) -> String {
        match (self, kind) {
            (Name::Id(id), _) => id.to_owned(),
            (name, "Patient") => ours(name.person(keys).0),
            (name, "Encounter") => ours(name.visit(keys).0),
            (Name::Business { system, value }, kind) => {
                ours(keys.pseudonyms.result(&[kind, "identifier", system, value]).0)
            }
        }
    }
}

/// What names become keyed hashes with.
#[derive(Clone, Copy)]
pub(super) struct Keys<'a> {
    pub pseudonyms: &'a Pseudonyms,
    /// Of identifiers without a system.
    pub authority: &'a str,
    /// What authorities are called in other languages.
    pub systems: &'a BTreeMap<String, String>,
}

impl<'a> Keys<'a> {
    fn authority(self, system: &'a str) -> &'a str {
        match self.systems.get(system) {
            Some(authority) => authority,
            None if system.is_empty() => self.authority,
            None => system,
        }
    }

    /// The patient numbers of a resource that go by another name elsewhere.
    pub fn numbers(self, head: &Head) -> impl Iterator<Item = PersonId> {
        let shared = head.identifier.iter().filter(move |identifier| {
            let system = said(identifier.system.as_ref()).unwrap_or_default();
            self.systems.contains_key(system)
        });
        shared.filter_map(Name::business).map(move |name| name.person(self))
    }
}

/// Which stays an encounter has had, for those who know it by its sender's name. Nothing is looked
/// up: ids of stays are made of the name and the secret.
#[derive(Clone, Debug)]
pub struct Stays {
    pseudonyms: Pseudonyms,
    authority: String,
    systems: BTreeMap<String, String>,
}

impl Stays {
    /// `authority` and `systems` as the edge has them.
    pub fn new(secret: &HashKey, authority: &str, systems: &BTreeMap<String, String>) -> Self {
        let (authority, systems) = (authority.to_owned(), systems.clone());
        Stays { pseudonyms: Pseudonyms::new(secret), authority, systems }
    }

    /// Of the Encounter with this id, in the order in which they began.
    pub fn of_id(&self, id: &str) -> impl Iterator<Item = StayId> {
        self.of(Name::Id(id))
    }

    /// Of the visit with this number, as HL7 v2 and business identifiers name it.
    pub fn of_number(&self, system: &str, value: &str) -> impl Iterator<Item = StayId> {
        self.of(Name::Business { system, value })
    }

    fn of(&self, name: Name<'_>) -> impl Iterator<Item = StayId> + use<> {
        let (pseudonyms, systems) = (&self.pseudonyms, &self.systems);
        let keys = Keys { pseudonyms, authority: &self.authority, systems };
        let visit = name.visit(keys);
        (0..MAX_STAYS).map(move |n| visit.stay(n))
    }
}

/// The identifier by which a resource without an id is known.
pub(super) fn best(identifiers: &[Identifier]) -> Option<&Identifier> {
    let usable = || identifiers.iter().filter(|one| said(one.value.as_ref()).is_some());
    let of_type = |kind: &&str| usable().find(|one| one.kind.has(kind));
    TYPES.iter().find_map(of_type).or_else(|| usable().next())
}

/// An id made of a keyed hash.
pub(super) fn ours(number: u128) -> String {
    format!("{OURS}{number:032x}")
}

/// The keyed hash of an id that was made here.
fn assigned(id: &str) -> Option<u128> {
    let digits = id.strip_prefix(OURS).filter(|digits| digits.len() == 32)?;
    u128::from_str_radix(digits, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reference(text: &str) -> Reference {
        Reference { reference: Some(text.to_owned()), ..Reference::default() }
    }

    #[test]
    fn a_reference_names_an_id_or_an_identifier_of_its_kind() {
        let meant = |text: &str| match Name::meant(&reference(text), "Patient") {
            Ok(Some(Name::Id(id))) => format!("id {id}"),
            Ok(Some(Name::Business { system, value })) => format!("{system}|{value}"),
            Ok(None) => "nothing".to_owned(),
            Err(rejection) => rejection.reason.code().to_owned(),
        };
        assert_eq!(meant("Patient/7"), "id 7");
        assert_eq!(meant("https://a.example/fhir/Patient/7/_history/3"), "id 7");
        assert_eq!(meant("Patient?identifier=urn:h|42"), "urn:h|42");
        assert_eq!(meant("Patient?identifier=42"), "|42");
        assert_eq!(meant(" "), "nothing");
        for wrong in ["Group/7", "7", "Patient/", "Patient?name=x", "Patient?identifier=", "#p"] {
            assert_eq!(meant(wrong), "missing_key", "{wrong}");
        }
        assert_eq!(meant("urn:uuid:0c3151bd-1cbf-4d64-b04d-cd9187a4c6e0"), "missing_key");
    }

    #[test]
    fn an_id_of_ours_leads_back() {
        assert_eq!(assigned(&ours(7)), Some(7));
        assert_eq!(assigned("ncx-7"), None);
        assert_eq!(assigned(&"7".repeat(36)), None);
    }
}
