//! Device: the model that made a prediction.

use serde_json::{Value, json};

use super::systems;
use crate::ids::program;
use crate::wire::ModelRecord;

/// Its id inside the resource that contains it.
pub const ID: &str = "model";

/// The resource, to be contained in what the model made.
pub fn contained(model: &ModelRecord) -> Value {
    json!({
        "resourceType": "Device",
        "id": ID,
        "identifier": [{ "system": systems::MODEL, "value": model.digest.to_string() }],
        "status": "active",
        "deviceName": [{ "name": model.name, "type": "model-name" }],
        "type": { "text": "Risk model; software, for research only" },
        "version": [
            { "type": { "text": "model" }, "value": model.version },
            { "type": { "text": "program" }, "value": program() },
        ],
        "note": [{ "text": "Not validated for clinical use. The digest covers weights, noise, \
            normalisers and calibration." }],
    })
}
