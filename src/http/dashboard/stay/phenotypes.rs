//! The 25 phenotypes: codes of the whole stay, which have no onset and are no finding of now.

use maud::{Markup, html};

use super::StayPage;
use crate::event::risk::N_PHENOTYPES;
use crate::http::dashboard::format;

/// Below this a condition is folded away.
const FOLDED: f32 = 0.05;

/// Name, organ system, and share of the published training stays that had it
/// (`reference/ddl-cxr.md` 1.7), in the order of the model's outputs.
const PHENOTYPES: [(&str, &str, f32); N_PHENOTYPES] = [
    ("Acute and unspecified renal failure", "renal", 0.376),
    ("Acute cerebrovascular disease", "neurological", 0.091),
    ("Acute myocardial infarction", "cardiac", 0.087),
    ("Cardiac dysrhythmias", "cardiac", 0.399),
    ("Chronic kidney disease", "renal", 0.245),
    ("COPD and bronchiectasis", "respiratory", 0.167),
    ("Complications of surgical or medical care", "other", 0.237),
    ("Conduction disorders", "cardiac", 0.113),
    ("Congestive heart failure, nonhypertensive", "cardiac", 0.326),
    ("Coronary atherosclerosis and other heart disease", "cardiac", 0.312),
    ("Diabetes with complications", "metabolic", 0.126),
    ("Diabetes without complication", "metabolic", 0.208),
    ("Disorders of lipid metabolism", "metabolic", 0.398),
    ("Essential hypertension", "cardiac", 0.439),
    ("Fluid and electrolyte disorders", "metabolic", 0.522),
    ("Gastrointestinal haemorrhage", "digestive", 0.069),
    ("Hypertension with complications", "cardiac", 0.220),
    ("Other liver diseases", "digestive", 0.175),
    ("Other lower respiratory disease", "respiratory", 0.140),
    ("Other upper respiratory disease", "respiratory", 0.073),
    ("Pleurisy, pneumothorax, pulmonary collapse", "respiratory", 0.108),
    ("Pneumonia", "respiratory", 0.224),
    ("Respiratory failure, insufficiency, arrest", "respiratory", 0.339),
    ("Septicaemia", "systemic", 0.270),
    ("Shock", "systemic", 0.225),
];

impl StayPage<'_> {
    /// Sorted by probability, each with a dot on its line and a tick at its usual share.
    pub fn phenotypes(&self) -> Markup {
        let scores = self.risk.and_then(|risk| risk.scores.as_ref());
        let mut all: Vec<(f32, &(&str, &str, f32))> = scores
            .map(|scores| scores.phenotypes.iter().copied().zip(&PHENOTYPES).collect())
            .unwrap_or_default();
        all.sort_by(|(a, _), (b, _)| b.total_cmp(a));
        let (shown, folded): (Vec<_>, Vec<_>) = all.into_iter().partition(|(p, _)| *p >= FOLDED);
        html! {
            section.card.phenotypes-card aria-labelledby="phenotypes-title" {
                h2 #phenotypes-title { "Likely coded conditions this stay" }
                p.faint { "Diagnosis codes that the whole stay may end with. They have no onset: \
                    none of them says what the patient has now." }
                @if shown.is_empty() && folded.is_empty() {
                    p { "No score at this moment." }
                } @else {
                    (list(&shown))
                    @if !folded.is_empty() {
                        details #phenotypes-rare {
                            summary { (folded.len()) " below 5 %" }
                            (list(&folded))
                        }
                    }
                    p.legend {
                        span.key { span.dot aria-hidden="true" {} "this stay" }
                        span.key { span.tick aria-hidden="true" {} "share in the published \
                            training stays" }
                    }
                }
            }
        }
    }
}

fn list(rows: &[(f32, &(&str, &str, f32))]) -> Markup {
    html! {
        table.dots {
            thead.hidden { tr { th scope="col" { "Condition" } th scope="col" { "Line" }
                th scope="col" { "Probability" } } }
            tbody { @for (p, (name, system, usual)) in rows { tr {
                th scope="row" { (name) " " span.faint { (system) } }
                td.plot { (dot(*p, *usual)) }
                td.number { (format::percent(*p)) }
            } } }
        }
    }
}

fn dot(p: f32, usual: f32) -> Markup {
    let x = |p: f32| (40.0 + p * 1_920.0).round() / 10.0;
    html! {
        svg viewBox="0 0 200 16" aria-hidden="true" preserveAspectRatio="none" {
            line.rail x1="4" x2="196" y1="8" y2="8" {}
            line.usual x1=(x(usual)) x2=(x(usual)) y1="2" y2="14" {}
            line.reach x1="4" x2=(x(p)) y1="8" y2="8" {}
            circle.dot cx=(x(p)) cy="8" r="4" {}
        }
    }
}
