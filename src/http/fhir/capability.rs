//! CapabilityStatement: what is there, and nothing else.

use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use serde_json::{Value, json};

use super::{BASE, answer};
use crate::edge::fhir::Kind;
use crate::edge::fhir::parcel::{MAX_BODY_BYTES, MAX_ENTRIES};
use crate::ids::program;

/// When what is said here was last changed.
const CHANGED: &str = "2026-11-28";

/// Which halves of the service a process has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Offer {
    /// Resources are taken.
    pub takes: bool,
    /// Risks are served.
    pub serves: bool,
    /// Looks at stays are served.
    pub audits: bool,
}

/// `GET [base]/metadata`, for everybody.
pub fn metadata<S: Clone + Send + Sync + 'static>(offer: Offer) -> Router<S> {
    let statement = statement(offer);
    let answer = move || {
        let answer = answer::resource(StatusCode::OK, &statement);
        async move { answer }
    };
    Router::new().route(&format!("{BASE}/metadata"), get(answer))
}

fn statement(offer: Offer) -> Value {
    let mut resources = Vec::new();
    if offer.takes {
        resources.extend(Kind::ALL.into_iter().map(taken));
    }
    if offer.serves {
        resources.extend([risk_assessment(), provenance()]);
    }
    if offer.audits {
        resources.push(searched("AuditEvent", "The newest looks at stays, for the role admin."));
    }
    let mut rest = json!({
        "mode": "server",
        "security": { "description": "A bearer token where http.tokens is set: the role admin \
            sends and reads AuditEvent, clinician reads the rest. This statement is for \
            everybody." },
        "resource": resources,
    });
    if let (true, Some(rest)) = (offer.takes, rest.as_object_mut()) {
        let documentation = format!(
            "POST [base] takes a Bundle of at most {MAX_ENTRIES} entries and {MAX_BODY_BYTES} \
             bytes, each POST or PUT. A transaction is refused as a whole if one entry cannot be \
             read, or a film of it not be fetched now."
        );
        rest.insert(
            "interaction".to_owned(),
            json!([{ "code": "transaction" }, { "code": "batch" }]),
        );
        rest.insert("documentation".to_owned(), json!(documentation));
    }
    json!({
        "resourceType": "CapabilityStatement",
        "status": "active",
        "experimental": true,
        "date": CHANGED,
        "kind": "instance",
        "software": { "name": "nowcxr", "version": program().replacen("nowcxr ", "", 1) },
        "implementation": { "description": "nowcxr, for research only: what it says has not been \
            validated for clinical use." },
        "fhirVersion": "4.0.1",
        "format": ["json"],
        "rest": [rest],
    })
}

/// A type whose resources are taken.
fn taken(kind: Kind) -> Value {
    let documentation = match kind {
        Kind::ImagingStudy => {
            "The films of its series of CR and DX are fetched by WADO-RS from the archive of this \
            service (edge.wado), whatever its endpoints are; what the DICOM files say of them \
            counts. While the archive does not answer it is refused with 503. Cancelled or \
            entered-in-error takes back the films of the instances that it names."
        }
        Kind::Patient => {
            "Age (birthDate), sex (gender), and link replaced-by or replaces. Names and \
            addresses are not read."
        }
        Kind::Encounter => {
            "Units are location.location.display, identifier or id, each from \
            location.period.start on; a finished Encounter ends at period.end."
        }
        Kind::Observation => {
            "Codes are LOINC or those of edge.codes, units UCUM; effective[x] needs a \
            time of day, issued says when it could be known. Codes without a use are counted and \
            answered with a warning."
        }
    };
    json!({
        "type": kind.name(),
        "documentation": format!("{documentation} An id that POST brings is kept."),
        "interaction": [{ "code": "create" }, { "code": "update" }],
        "versioning": "no-version",
        "readHistory": false,
        "updateCreate": true,
        "conditionalCreate": false,
        "conditionalUpdate": false,
    })
}

fn provenance() -> Value {
    json!({
        "type": "Provenance",
        "documentation": "Has the id of its RiskAssessment, and contains the Device: the model.",
        "interaction": [{ "code": "read" }],
        "versioning": "no-version",
    })
}

fn searched(kind: &str, documentation: &str) -> Value {
    json!({
        "type": kind,
        "documentation": documentation,
        "interaction": [{ "code": "search-type" }],
        "versioning": "no-version",
    })
}

fn risk_assessment() -> Value {
    json!({
        "type": "RiskAssessment",
        "documentation": "One for each window of a stay, newest first, each in its newest \
            revision.",
        "interaction": [{ "code": "read" }, { "code": "search-type" }],
        "versioning": "no-version",
        "searchParam": [{
            "name": "encounter",
            "type": "reference",
            "documentation": "Needed: a stay by its number, or an Encounter as its sender names it \
                where edge.secret is set.",
        }],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_says_what_is_there_and_nothing_else() {
        let types = |offer: Offer| -> Vec<String> {
            let said = statement(offer);
            let all = said["rest"][0]["resource"].as_array().expect("a list").clone();
            all.iter().map(|one| one["type"].as_str().expect("a type").to_owned()).collect()
        };
        let takes = Offer { takes: true, ..Offer::default() };
        assert_eq!(types(takes), ["Patient", "Encounter", "Observation", "ImagingStudy"]);
        let serves = Offer { serves: true, ..Offer::default() };
        assert_eq!(types(serves), ["RiskAssessment", "Provenance"]);
        assert!(statement(serves)["rest"][0].get("interaction").is_none());
        let audits = Offer { audits: true, ..Offer::default() };
        assert_eq!(types(audits), ["AuditEvent"]);
    }
}
