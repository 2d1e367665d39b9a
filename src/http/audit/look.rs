//! A look at a stay as a FHIR R4 AuditEvent, after PatientRead of IHE's Basic Audit Log Patterns.
//!
//! It says only what is known. The service knows a stay by an opaque number and no patient, so the
//! patient is there with the reason why nothing more is, and no identifier is made up.

use std::net::IpAddr;

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Value, json};

use crate::http::access::Visitor;
use crate::ids::StayId;
use crate::time::WallTime;

/// The profile that events of what was shown follow.
pub const PROFILE: &str =
    "https://profiles.ihe.net/ITI/BALP/StructureDefinition/IHE.BasicAudit.PatientRead";
/// Characters kept of an address that was asked for.
const MAX_PATH: usize = 512;

pub(super) const DICOM: &str = "http://dicom.nema.org/resources/ontology/DCM";
const TERMINOLOGY: &str = "http://terminology.hl7.org/CodeSystem";

/// Somebody looked at a stay, or wanted to.
#[derive(Clone, Debug)]
pub struct Look {
    pub at: WallTime,
    pub visitor: Visitor,
    pub peer: IpAddr,
    pub stay: StayId,
    /// What it was: `stay page`, `film`, …
    pub what: &'static str,
    /// Address without the host.
    pub path: String,
    pub outcome: Outcome,
    /// Name of this node.
    pub node: String,
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Shown,
    /// The visitor's role does not go so far.
    Refused,
    /// There is no such thing.
    Missing,
    /// The service could not show it.
    Failed,
}

impl Outcome {
    /// Of `audit-event-outcome`: success, minor failure, serious failure.
    const fn code(self) -> &'static str {
        match self {
            Outcome::Shown => "0",
            Outcome::Refused | Outcome::Missing => "4",
            Outcome::Failed => "8",
        }
    }

    pub const fn words(self) -> &'static str {
        match self {
            Outcome::Shown => "shown",
            Outcome::Refused => "refused: the role does not go so far",
            Outcome::Missing => "there is no such thing",
            Outcome::Failed => "the service could not show it",
        }
    }
}

impl Look {
    /// The AuditEvent.
    pub fn event(&self) -> Value {
        let path: String = self.path.chars().take(MAX_PATH).collect();
        let mut event = json!({
            "resourceType": "AuditEvent",
            "type": coding("audit-event-type", "rest", "Restful Operation"),
            "subtype": [{
                "system": "http://hl7.org/fhir/restful-interaction",
                "code": "read", "display": "read",
            }],
            "action": "R",
            "recorded": stamp(self.at),
            "outcome": self.outcome.code(),
            "outcomeDesc": self.outcome.words(),
            "agent": self.agents(),
            "source": {
                "observer": { "display": self.node },
                "type": [coding("security-source-type", "4", "Application Server")],
            },
            "entity": [
                {
                    "what": {
                        "type": "Encounter",
                        "identifier": { "value": self.stay.to_string() },
                    },
                    "type": coding("audit-entity-type", "2", "System Object"),
                    "role": coding("object-role", "4", "Domain Resource"),
                    "description": self.what,
                    "detail": [{ "type": "path", "valueString": path }],
                },
                {
                    "what": { "extension": [{
                        "url": "http://hl7.org/fhir/StructureDefinition/data-absent-reason",
                        "valueCode": "unknown",
                    }] },
                    "type": coding("audit-entity-type", "1", "Person"),
                    "role": coding("object-role", "1", "Patient"),
                },
            ],
        });
        // The profile is of reads that succeed.
        if let (Outcome::Shown, Some(fields)) = (self.outcome, event.as_object_mut()) {
            fields.insert("meta".to_owned(), json!({ "profile": [PROFILE] }));
        }
        event
    }

    /// The browser or program, this service, and who sits before it.
    fn agents(&self) -> Value {
        let user = coding("v3-ParticipationType", "IRCP", "information recipient");
        json!([
            {
                "type": role("110152", "Destination Role ID"),
                "who": { "display": "browser or program" },
                "requestor": false,
                "network": { "address": self.peer.to_string(), "type": "2" },
            },
            {
                "type": role("110153", "Source Role ID"),
                "who": { "display": "nowcxr" },
                "requestor": false,
                // A machine's name, as its operator calls it.
                "network": { "address": self.node, "type": "1" },
            },
            {
                "type": { "coding": [user] },
                "who": { "identifier": { "value": &*self.visitor.name } },
                "name": &*self.visitor.name,
                "role": [{ "text": self.visitor.role.name() }],
                "requestor": true,
            },
        ])
    }
}

/// A moment of the machine's clock as FHIR writes it.
pub(super) fn stamp(at: WallTime) -> Option<String> {
    let at = DateTime::<Utc>::from_timestamp_millis(at.as_millis())?;
    Some(at.to_rfc3339_opts(SecondsFormat::Millis, true))
}

/// What an agent is in the exchange, in DICOM's words.
pub(super) fn role(code: &str, words: &str) -> Value {
    let coding = json!({ "system": DICOM, "code": code, "display": words });
    json!({ "coding": [coding] })
}

pub(super) fn coding(system: &str, code: &str, display: &str) -> Value {
    json!({ "system": format!("{TERMINOLOGY}/{system}"), "code": code, "display": display })
}

fn recorded(event: &Value) -> Option<WallTime> {
    let at = DateTime::parse_from_rfc3339(event.get("recorded")?.as_str()?).ok()?;
    Some(WallTime::from_millis(at.timestamp_millis()))
}

/// What a page shows of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    pub at: WallTime,
    pub who: String,
    pub role: String,
    pub from: String,
    pub stay: String,
    pub what: String,
    pub path: String,
    pub outcome: String,
}

impl Told {
    /// `None` for an event that [`Look::event`] has not made.
    pub fn of(event: &Value) -> Option<Self> {
        let text = |pointer: &str| Some(event.pointer(pointer)?.as_str()?.to_owned());
        Some(Told {
            at: recorded(event)?,
            who: text("/agent/2/who/identifier/value")?,
            role: text("/agent/2/role/0/text")?,
            from: text("/agent/0/network/address")?,
            stay: text("/entity/0/what/identifier/value")?,
            what: text("/entity/0/description")?,
            path: text("/entity/0/detail/0/valueString")?,
            outcome: text("/outcomeDesc")?,
        })
    }
}
