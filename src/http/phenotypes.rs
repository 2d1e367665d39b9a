//! What the 25 phenotypes are called, for everything that people or programs read over HTTP.

use crate::event::risk::N_PHENOTYPES;

/// Name, organ system, and share of the published training stays that had it
/// (`reference/ddl-cxr.md` 1.7), in the order of the model's outputs.
pub const PHENOTYPES: [(&str, &str, f32); N_PHENOTYPES] = [
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
