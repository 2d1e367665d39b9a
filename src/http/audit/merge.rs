//! A merge of patients (`identity.merged`) as a FHIR R4 AuditEvent, after the Patient Record event
//! of DICOM and IHE's ITI-30. It holds the edge's keyed hashes and no number of a hospital.

use serde_json::{Value, json};

use super::look::{DICOM, coding, role, stamp};
use crate::edge::Merged;
use crate::http::fhir::systems;
use crate::ids::StayId;
use crate::time::WallTime;

/// What the event is called.
const NAME: &str = "identity.merged";

/// The AuditEvent of a merge that the edge on `node` applied `at` this moment.
pub fn merge_event(merge: &Merged, at: WallTime, node: &str) -> Value {
    let details = json!([
        { "type": "operation", "valueString": format!("{:032x}", merge.operation.0) },
        { "type": "message", "valueString": merge.message.to_string() },
        { "type": "known_at", "valueString": merge.known_at.to_string() },
        { "type": "stays", "valueString": merge.n_stays.to_string() },
    ]);
    let mut survivor = person(merge.survivor.0, "goes on, and is the other number's patient, too");
    if let Some(fields) = survivor.as_object_mut() {
        fields.insert("detail".to_owned(), details);
    }
    let mut entities = vec![survivor, person(merge.prior.0, "leads to the other from here on")];
    entities.extend(merge.stays.iter().copied().map(told));
    json!({
        "resourceType": "AuditEvent",
        "type": { "system": DICOM, "code": "110110", "display": "Patient Record" },
        "subtype": [{ "system": systems::ACT, "code": NAME, "display": NAME }],
        "action": "U",
        "recorded": stamp(at),
        "outcome": "0",
        "outcomeDesc": "two numbers are one patient",
        "agent": [
            {
                "type": role("110153", "Source Role ID"),
                "who": { "display": "sender of the message" },
                "requestor": true,
            },
            {
                "type": role("110152", "Destination Role ID"),
                "who": { "display": "nowcxr edge" },
                "requestor": false,
                "network": { "address": node, "type": "1" },
            },
        ],
        "source": {
            "observer": { "display": node },
            "type": [coding("security-source-type", "4", "Application Server")],
        },
        "entity": entities,
    })
}

fn person(id: u128, what: &str) -> Value {
    json!({
        "what": { "identifier": { "system": systems::PERSON, "value": format!("{id:032x}") } },
        "type": coding("audit-entity-type", "1", "Person"),
        "role": coding("object-role", "1", "Patient"),
        "description": what,
    })
}

/// A stay that was told something on account of it.
fn told(stay: StayId) -> Value {
    json!({
        "what": {
            "type": "Encounter",
            "identifier": { "system": systems::STAY, "value": stay.to_string() },
        },
        "type": coding("audit-entity-type", "2", "System Object"),
        "role": coding("object-role", "4", "Domain Resource"),
    })
}
