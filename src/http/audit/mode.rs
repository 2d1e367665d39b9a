//! A switch of `alerts.mode` as a FHIR R4 AuditEvent, after the Application Activity event of
//! DICOM: from when on alerts may disturb people, or no longer may.

use serde_json::{Value, json};

use super::look::{DICOM, coding, role, stamp};
use crate::event::risk::Mode;
use crate::http::fhir::systems;
use crate::time::WallTime;

/// What the event is called.
const NAME: &str = "alerts.mode";

/// The AuditEvent of a service on `node` that was started in the mode `to`, `at` this moment.
pub fn mode_event(from: &str, to: Mode, at: WallTime, node: &str) -> Value {
    json!({
        "resourceType": "AuditEvent",
        "type": { "system": DICOM, "code": "110100", "display": "Application Activity" },
        "subtype": [
            { "system": DICOM, "code": "110120", "display": "Application Start" },
            { "system": systems::ACT, "code": NAME, "display": NAME },
        ],
        "action": "E",
        "recorded": stamp(at),
        "outcome": "0",
        "outcomeDesc": format!("the mode of alerts was {from} and is {}", to.name()),
        "agent": [
            {
                "type": role("110151", "Application Launcher"),
                "who": { "display": "operator of the service" },
                "requestor": true,
            },
            {
                "type": role("110150", "Application"),
                "who": { "display": "nowcxr" },
                "requestor": false,
                "network": { "address": node, "type": "1" },
            },
        ],
        "source": {
            "observer": { "display": node },
            "type": [coding("security-source-type", "4", "Application Server")],
        },
        "entity": [{
            "type": coding("audit-entity-type", "2", "System Object"),
            "name": NAME,
            "detail": [
                { "type": "from", "valueString": from },
                { "type": "to", "valueString": to.name() },
            ],
        }],
    })
}

/// The mode that an event of [`mode_event`] says; `None` for another event.
pub fn mode_told(event: &Value) -> Option<&str> {
    let is_it = event.pointer("/subtype/1/code")?.as_str()? == NAME;
    event.pointer("/entity/0/detail/1/valueString")?.as_str().filter(|_| is_it)
}
