//! RiskAssessment: one sealed answer to one window of a stay.

use serde_json::{Value, json};

use super::device::{self, contained};
use super::systems;
use crate::event::risk::Mode;
use crate::http::phenotypes::PHENOTYPES;
use crate::ids::StayId;
use crate::time::EventTime;
use crate::wire::{FilmRecord, RiskRecord, RiskStatus, ScoresRecord};

/// Names one revision of one window: `STAY-MILLISECONDS-REVISION`.
pub fn id(stay: StayId, t: EventTime, revision: u32) -> String {
    format!("{stay}-{}-{revision}", t.as_millis())
}

/// What [`id`] was made of.
pub fn named(id: &str) -> Option<(StayId, EventTime, u32)> {
    let mut parts = id.split('-');
    let (stay, t, revision) = (parts.next()?, parts.next()?, parts.next()?);
    let t = EventTime::from_millis(t.parse().ok()?);
    let whole = parts.next().is_none();
    whole.then_some((StayId(stay.parse().ok()?), t, revision.parse().ok()?))
}

/// The resource. `provenance` says in a sentence what is shown, such as that the ward is made up.
///
/// `probabilityDecimal` is a percentage, as FHIR R4 says of it; every `rationale` repeats it in
/// words.
pub fn risk_assessment(risk: &RiskRecord, provenance: &str) -> Value {
    let mut resource = json!({
        "resourceType": "RiskAssessment",
        "id": id(risk.stay_id, risk.t, risk.revision),
        "contained": [contained(&risk.model)],
        "identifier": [{
            "system": "urn:ietf:rfc3986",
            "value": format!("urn:uuid:{}", risk.event_id),
        }],
        "status": status(risk),
        "method": { "text": "DDL-CXR: a latent chest film as of now, generated from the last film \
            and what was measured since, fused with both" },
        "code": { "text": "Death in hospital, and conditions that the stay may be coded with" },
        "subject": systems::unknown_patient(),
        "encounter": systems::encounter(risk.stay_id),
        "occurrenceDateTime": risk.t.to_string(),
        "performer": { "reference": format!("#{}", device::ID) },
        "note": notes(risk, provenance),
    });
    let basis = basis(risk);
    let predictions = risk.scores.as_ref().map(|scores| predictions(scores, risk.film.as_ref()));
    if let Some(fields) = resource.as_object_mut() {
        if !basis.is_empty() {
            fields.insert("basis".to_owned(), json!(basis));
        }
        if let Some(predictions) = predictions {
            fields.insert("prediction".to_owned(), json!(predictions));
        }
    }
    resource
}

/// While nobody is to be disturbed, a result is preliminary.
fn status(risk: &RiskRecord) -> &'static str {
    match (risk.status, risk.revision, risk.mode) {
        (RiskStatus::Retracted, ..) => "entered-in-error",
        (RiskStatus::Unscored, ..) => "cancelled",
        (_, 1.., _) => "corrected",
        (_, 0, Mode::Silent) => "preliminary",
        (_, 0, _) => "final",
    }
}

fn predictions(scores: &ScoresRecord, film: Option<&FilmRecord>) -> Vec<Value> {
    let mut said = vec![percent(scores.mortality)];
    if let Some(interval) = scores.mortality_interval {
        let (low, high) = (percent(interval.low), percent(interval.high));
        said.push(format!("95 % interval of the calibration {low} to {high}"));
    }
    said.extend(scores.carry_forward.map(|p| format!("{} with the last film itself", percent(p))));
    said.extend(scores.ehr_only.map(|p| format!("{} without a film", percent(p))));
    said.push(match film {
        Some(film) => format!("the film was {:.1} h old", film.age_hours),
        None => "there was no film".to_owned(),
    });
    let outcome = |code: &str, text: &str| {
        let coding = json!([{ "system": systems::OUTCOME, "code": code }]);
        json!({ "coding": coding, "text": text })
    };
    let mortality = json!({
        "outcome": outcome("in_hospital_death", "Death in hospital"),
        "probabilityDecimal": decimal(scores.mortality),
        "rationale": said.join("; "),
    });
    let phenotype = |((name, _, _), p): (&(&str, &str, f32), &f32)| {
        let text =
            format!("{}; a code that the whole stay may end with, no finding of now", percent(*p));
        json!({
            "outcome": outcome(&code(name), name),
            "probabilityDecimal": decimal(*p),
            "rationale": text,
        })
    };
    let phenotypes = PHENOTYPES.iter().zip(&scores.phenotypes).map(phenotype);
    std::iter::once(mortality).chain(phenotypes).collect()
}

/// A percentage to two places.
fn decimal(p: f32) -> f64 {
    (f64::from(p) * 10_000.0).round() / 100.0
}

fn percent(p: f32) -> String {
    format!("{} %", decimal(p))
}

/// `Acute and unspecified renal failure` → `acute_and_unspecified_renal_failure`.
fn code(name: &str) -> String {
    let words = name.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    words.map(str::to_ascii_lowercase).collect::<Vec<_>>().join("_")
}

/// The film, and when each variable was last observed.
fn basis(risk: &RiskRecord) -> Vec<Value> {
    let film = risk.film.as_ref().map(|film| {
        let (at, known) = (film.acquired_at, film.available_at);
        json!({
            "type": "ImagingStudy",
            "identifier": { "system": systems::FILM, "value": film.digest.to_string() },
            "display": format!("chest film acquired {at}, available {known}"),
        })
    });
    let observed = risk.series.last_observed.iter().map(|last| {
        let display = format!("{}, last observed {}", last.variable, last.at);
        json!({ "type": "Observation", "display": display })
    });
    film.into_iter().chain(observed).collect()
}

/// Why nobody may rely on it.
fn notes(risk: &RiskRecord, provenance: &str) -> Vec<Value> {
    let doubts: Vec<&str> = risk.validity.iter().map(|doubt| doubt.code()).collect();
    let mut notes = vec!["Not validated for clinical use; for research only.".to_owned()];
    if !provenance.is_empty() {
        notes.push(provenance.to_owned());
    }
    if !doubts.is_empty() {
        notes.push(format!("Why this may not hold: {}.", doubts.join(", ")));
    }
    if !risk.feed_missing.is_empty() {
        notes.push(format!("Nothing came by: {}.", risk.feed_missing.join(", ")));
    }
    if let Some(reason) = &risk.status_reason {
        notes.push(reason.clone());
    }
    notes.push(format!("Mode of the alert policy: {}.", risk.mode.name()));
    notes.into_iter().map(|text| json!({ "text": text })).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> RiskRecord {
        serde_json::from_str(include_str!("../../../schemas/examples/risk.json")).expect("example")
    }

    #[test]
    fn probabilities_are_percentages_and_every_outcome_is_there() {
        let said = risk_assessment(&example(), "A made-up ward.");
        let all = said["prediction"].as_array().expect("predictions");
        assert_eq!(all.len(), 26);
        assert_eq!(all[0]["probabilityDecimal"], 12.5);
        assert_eq!(all[2]["probabilityDecimal"], 2.0);
        let rationale = all[0]["rationale"].as_str().expect("a text");
        assert!(rationale.contains("12.5 %; 95 % interval of the calibration 6.25 % to 21.88 %"));
        assert!(rationale.contains("the film was 2.5 h old"), "{rationale}");
        let codes: std::collections::BTreeSet<String> =
            all.iter().map(|one| one["outcome"]["coding"][0]["code"].to_string()).collect();
        assert_eq!(codes.len(), 26);
        let notes = said["note"].to_string();
        for word in ["Not validated", "A made-up ward", "not_at_48h", "silent"] {
            assert!(notes.contains(word), "{notes}");
        }
    }

    #[test]
    fn the_status_says_what_a_revision_is() {
        let status = |change: fn(&mut RiskRecord)| {
            let mut risk = example();
            change(&mut risk);
            status(&risk)
        };
        assert_eq!(status(|_| {}), "preliminary");
        assert_eq!(status(|risk| risk.mode = Mode::Passive), "final");
        assert_eq!(status(|risk| risk.revision = 1), "corrected");
        assert_eq!(status(|risk| risk.status = RiskStatus::Unscored), "cancelled");
        assert_eq!(status(|risk| risk.status = RiskStatus::Retracted), "entered-in-error");
    }

    #[test]
    fn an_id_leads_back() {
        let one = (StayId(30_000_001), EventTime::from_millis(1_772_352_000_000), 2);
        assert_eq!(named(&id(one.0, one.1, one.2)), Some(one));
        for wrong in ["", "1-2", "1-2-3-4", "a-2-3"] {
            assert_eq!(named(wrong), None);
        }
    }
}
