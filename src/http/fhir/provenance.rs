//! Provenance: what a RiskAssessment was made from, and by which model.

use serde_json::{Value, json};

use super::device::{self, contained};
use super::risk_assessment::id;
use super::systems;
use crate::wire::RiskRecord;

const TERMINOLOGY: &str = "http://terminology.hl7.org/CodeSystem";

/// The resource; it has the id of its target.
///
/// `recorded` is the moment up to which was known what was used. When and on which node it was
/// computed differs between runs that say the same, and stands in the envelope of the event.
pub fn provenance(risk: &RiskRecord) -> Value {
    let id = id(risk.stay_id, risk.t, risk.revision);
    let activity = if risk.supersedes.is_none() { "CREATE" } else { "UPDATE" };
    json!({
        "resourceType": "Provenance",
        "id": id,
        "contained": [contained(&risk.model)],
        "target": [{ "reference": format!("RiskAssessment/{id}") }],
        "occurredDateTime": risk.t.to_string(),
        "recorded": risk.known_at.to_string(),
        "activity": { "coding": [{
            "system": format!("{TERMINOLOGY}/v3-DataOperation"), "code": activity,
        }] },
        "agent": [{
            "type": { "coding": [{
                "system": format!("{TERMINOLOGY}/provenance-participant-type"),
                "code": "assembler",
            }] },
            "who": { "reference": format!("#{}", device::ID) },
        }],
        "entity": entities(risk),
    })
}

fn entities(risk: &RiskRecord) -> Vec<Value> {
    let entity = |role: &str, system: &str, value: String, display: &str| {
        let identifier = json!({ "system": system, "value": value });
        json!({ "role": role, "what": { "identifier": identifier, "display": display } })
    };
    let series = &risk.series;
    let given = format!(
        "what the model was given: {} facts since {}, {:.0} % of the hourly grid imputed",
        series.n_facts,
        series.from,
        series.imputed * 100.0
    );
    let (input, config) = (risk.input_digest.to_string(), risk.config_digest.to_string());
    let mut entities = vec![
        entity("source", systems::INPUT, input, &given),
        entity("source", systems::CONFIG, config, "the configuration"),
    ];
    if let Some(film) = &risk.film {
        let display = format!("the last chest film, acquired {}", film.acquired_at);
        entities.push(entity("source", systems::FILM, film.digest.to_string(), &display));
    }
    if let Some(old) = &risk.supersedes {
        let display = "the RiskAssessment that this one takes the place of";
        let name = format!("urn:uuid:{old}");
        entities.push(entity("revision", "urn:ietf:rfc3986", name, display));
    }
    entities
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::EventId;

    #[test]
    fn a_revision_names_what_it_supersedes_and_everything_it_was_made_from() {
        let text = include_str!("../../../schemas/examples/risk.json");
        let mut risk: RiskRecord = serde_json::from_str(text).expect("example");
        assert_eq!(provenance(&risk)["entity"].as_array().map(Vec::len), Some(3));
        let old: EventId = risk.event_id;
        risk.supersedes = Some(old);
        risk.revision = 1;
        let said = provenance(&risk);
        assert_eq!(said["activity"]["coding"][0]["code"], "UPDATE");
        assert_eq!(said["entity"][3]["role"], "revision");
        assert_eq!(
            said["target"][0]["reference"],
            format!("RiskAssessment/{}", said["id"].as_str().expect("id"))
        );
        for digest in [risk.input_digest, risk.config_digest, risk.model.digest] {
            assert!(said.to_string().contains(&digest.to_string()));
        }
    }
}
