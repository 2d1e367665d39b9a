//! The shipped dictionary: every conversion and every trap of the real files.

use super::*;
use crate::event::{RawValue, Reason};
use crate::time::Span;

fn dictionary(profile: Profile) -> Dictionary {
    Dictionary::builtin(profile).unwrap()
}

fn see(profile: Profile, code: &str, raw: f64, unit: Option<&str>) -> Result<f64, Reason> {
    let dictionary = dictionary(profile);
    let variable = dictionary.by_code(code).unwrap();
    dictionary
        .observe(variable, &RawValue::Number(raw), unit)
        .map(|observation| observation.value())
        .map_err(|rejection| rejection.reason)
}

fn clinical(code: &str, raw: f64, unit: &str) -> Result<f64, Reason> {
    see(Profile::Clinical, code, raw, Some(unit))
}

fn text(profile: Profile, code: &str, raw: &str) -> Result<f64, Reason> {
    let dictionary = dictionary(profile);
    let variable = dictionary.by_code(code).unwrap();
    dictionary
        .observe(variable, &RawValue::Text(raw.to_owned()), None)
        .map(|observation| observation.value())
        .map_err(|rejection| rejection.reason)
}

fn near(got: Result<f64, Reason>, want: f64) {
    assert!((got.unwrap() - want).abs() < 1e-9, "{got:?} is not {want}");
}

#[test]
fn both_profiles_have_the_79_columns_of_the_paper() {
    for profile in [Profile::Clinical, Profile::Reference] {
        let dictionary = dictionary(profile);
        let first = |code: &str| {
            let id = dictionary.by_code(code).unwrap();
            dictionary.variable(id).unwrap().columns.unwrap()
        };
        assert_eq!(dictionary.variables().len(), 17);
        assert_eq!(first("capillary_refill"), Columns { first: 0, mask: 62 });
        assert_eq!(first("gcs_total"), Columns { first: 24, mask: 67 });
        assert_eq!(first("glucose"), Columns { first: 49, mask: 69 });
        assert_eq!(first("ph"), Columns { first: 58, mask: 78 });
        assert_eq!(dictionary.statics().sex_column, 59);
        assert_eq!(dictionary.statics().age_column, 61);
    }
}

#[test]
fn every_accepted_unit_converts() {
    near(clinical("temperature", 98.6, "[degF]"), 37.0);
    near(clinical("temperature", 98.6, "°F"), 37.0);
    near(clinical("temperature", 98.6, "?F"), 37.0);
    near(clinical("temperature", 37.0, "?C"), 37.0);
    near(clinical("glucose", 5.5, "mmol/L"), 99.088);
    near(clinical("glucose", 120.0, "MG/DL"), 120.0);
    near(clinical("fio2", 40.0, "%"), 0.4);
    near(clinical("fio2", 0.4, "1"), 0.4);
    near(clinical("spo2", 0.97, "1"), 97.0);
    near(clinical("sbp", 16.0, "kPa"), 120.00992);
    near(clinical("dbp", 10.0, "kPa"), 75.0062);
    near(clinical("mbp", 12.0, "kPa"), 90.00744);
    near(clinical("weight", 180.0, "lbs"), 81.6466266);
    near(clinical("weight", 81_000.0, "g"), 81.0);
    near(clinical("height", 70.0, "Inch"), 177.8);
    near(clinical("height", 1.75, "m"), 175.0);
    near(clinical("respiratory_rate", 18.0, "insp/min"), 18.0);
    near(clinical("heart_rate", 80.0, "bpm"), 80.0);
    near(clinical("ph", 7.4, "units"), 7.4);
}

#[test]
fn a_value_in_a_sibling_unit_is_suspect_and_never_repaired() {
    let suspects = [
        ("glucose", 6.1, "mg/dL"),
        ("glucose", 140.0, "mmol/L"),
        ("temperature", 98.6, "Cel"),
        ("temperature", 37.0, "[degF]"),
        ("fio2", 0.4, "%"),
        ("fio2", 40.0, "1"),
        ("spo2", 0.97, "%"),
        ("spo2", 97.0, "1"),
        ("sbp", 16.0, "mm[Hg]"),
        ("sbp", 120.0, "kPa"),
        ("height", 70.0, "cm"),
        ("height", 1.75, "cm"),
        ("weight", 81_000.0, "kg"),
    ];
    for (code, value, unit) in suspects {
        assert_eq!(clinical(code, value, unit), Err(Reason::UnitSuspect), "{code} {value} {unit}");
    }
}

#[test]
fn mixed_up_units_are_caught_in_99_of_100() {
    let recall = |code: &str, unit: &str, values: &[f64]| {
        let caught = values.iter().filter(|&&v| clinical(code, v, unit).is_err()).count();
        assert!(caught * 100 >= values.len() * 99, "{code} as {unit}: {caught}");
    };
    let celsius: Vec<f64> = (340..=410).map(|t| f64::from(t) / 10.0).collect();
    let fahrenheit: Vec<f64> = celsius.iter().map(|c| c * 1.8 + 32.0).collect();
    recall("temperature", "[degF]", &celsius);
    recall("temperature", "Cel", &fahrenheit);
    let mg_dl: Vec<f64> = (56..=500).map(f64::from).collect();
    let mmol_l: Vec<f64> = mg_dl.iter().map(|v| v / 18.016).collect();
    recall("glucose", "mmol/L", &mg_dl);
    recall("glucose", "mg/dL", &mmol_l);
    let percent: Vec<f64> = (21..=100).map(f64::from).collect();
    let fraction: Vec<f64> = percent.iter().map(|v| v / 100.0).collect();
    recall("fio2", "1", &percent);
    recall("fio2", "%", &fraction);
}

#[test]
fn garbage_is_implausible_and_never_a_number() {
    assert_eq!(clinical("heart_rate", 1e7, "bpm"), Err(Reason::Implausible));
    assert_eq!(clinical("mbp", -23.0, "mmHg"), Err(Reason::Implausible));
    assert_eq!(clinical("heart_rate", f64::NAN, "bpm"), Err(Reason::NotANumber));
    assert_eq!(clinical("heart_rate", f64::INFINITY, "bpm"), Err(Reason::NotANumber));
    assert_eq!(clinical("heart_rate", 80.0, "furlong"), Err(Reason::UnknownUnit));
    for raw in ["", "___", "NEG", "inf", "NaN", "<5", "1e999", "0x10"] {
        assert_eq!(text(Profile::Clinical, "glucose", raw), Err(Reason::NotANumber), "{raw}");
    }
    let unknown =
        dictionary(Profile::Clinical).observe(VariableId(200), &RawValue::Number(1.0), None);
    assert_eq!(unknown.unwrap_err().reason, Reason::UnmappedCode);
}

#[test]
fn a_number_without_unit_is_read_by_its_size() {
    near(see(Profile::Clinical, "fio2", 50.0, None), 0.5);
    near(see(Profile::Clinical, "fio2", 0.5, Some(" ")), 0.5);
    near(see(Profile::Clinical, "spo2", 0.97, None), 97.0);
    near(see(Profile::Clinical, "temperature", 98.6, None), 37.0);
    near(see(Profile::Clinical, "glucose", 120.0, None), 120.0);
}

#[test]
fn a_pressure_written_as_a_pair_is_split() {
    near(text(Profile::Clinical, "sbp", "120/80"), 120.0);
    near(text(Profile::Clinical, "dbp", "120 / 80"), 80.0);
    assert_eq!(text(Profile::Clinical, "mbp", "120/80"), Err(Reason::NotANumber));
    assert_eq!(text(Profile::Clinical, "sbp", "120/eighty"), Err(Reason::NotANumber));
    near(text(Profile::Clinical, "sbp", "120"), 120.0);
}

#[test]
fn categories_are_known_by_text_and_by_score() {
    let dictionary = dictionary(Profile::Clinical);
    let name = |code: &str, raw: RawValue| {
        let variable = dictionary.variable(dictionary.by_code(code).unwrap()).unwrap();
        let seen = dictionary.observe(variable.id, &raw, None).unwrap();
        variable.category(seen.value()).unwrap().to_owned()
    };
    let t = |text: &str| RawValue::Text(text.to_owned());
    assert_eq!(name("gcs_eye", t("To Speech")), "To Speech");
    assert_eq!(name("gcs_eye", t("3 To speech")), "3 To speech");
    assert_eq!(name("gcs_eye", t("to speech")), "To Speech");
    assert_eq!(name("gcs_eye", t("4")), "Spontaneously");
    assert_eq!(name("gcs_eye", RawValue::Number(1.0)), "None");
    assert_eq!(name("gcs_motor", RawValue::Number(3.0)), "Abnormal Flexion");
    assert_eq!(name("gcs_verbal", RawValue::Number(1.0)), "No Response");
    assert_eq!(name("gcs_total", RawValue::Number(15.0)), "15");
    assert_eq!(name("capillary_refill", t("1.0")), "1.0");
    assert_eq!(text(Profile::Clinical, "gcs_eye", "Sometimes"), Err(Reason::UnknownCategory));
    assert_eq!(see(Profile::Clinical, "gcs_eye", 5.0, None), Err(Reason::UnknownCategory));
    assert_eq!(see(Profile::Clinical, "gcs_eye", f64::NAN, None), Err(Reason::NotANumber));
}

#[test]
fn capillary_refill_in_seconds_is_cut_at_3() {
    near(clinical("capillary_refill", 2.5, "s"), 0.0);
    near(clinical("capillary_refill", 4.0, "s"), 1.0);
}

#[test]
fn only_the_reference_takes_urine_for_blood() {
    let (ours, theirs) = (dictionary(Profile::Clinical), dictionary(Profile::Reference));
    for item in [51491, 51094, 50831, 51478] {
        assert_eq!(ours.by_mimic_item(item), None);
        assert!(ours.refused_item(item).is_some());
        assert!(theirs.by_mimic_item(item).is_some());
        let refused = ours.observe_item(item, &RawValue::Number(6.5), Some("units"));
        assert_eq!(refused.unwrap_err().reason, Reason::WrongSpecimen);
    }
    assert_eq!(ours.by_mimic_item(50816), ours.by_code("fio2"));
    assert_eq!(theirs.by_mimic_item(50816), None);
    assert_eq!(ours.by_loinc("2756-5"), None);
    assert_eq!(ours.refused_loinc("2756-5"), ours.by_code("ph"));
    assert_eq!(ours.by_loinc("2744-1"), ours.by_code("ph"));
    assert_eq!(ours.by_mimic_item(1), None);
}

#[test]
fn an_item_means_its_own_unit_where_none_is_declared() {
    let ours = dictionary(Profile::Clinical);
    let value = |item: u32, raw: f64, unit: Option<&str>| {
        ours.observe_item(item, &RawValue::Number(raw), unit).map(|o| o.value()).unwrap()
    };
    assert!((value(226531, 180.0, Some("")) - 81.6466266).abs() < 1e-9);
    assert!((value(223835, 50.0, None) - 0.5).abs() < 1e-12);
    assert!((value(50816, 50.0, Some("%")) - 0.5).abs() < 1e-12);
    assert!((value(226707, 67.0, None) - 170.18).abs() < 1e-9);
}

#[test]
fn the_reference_repeats_the_published_readings() {
    let reference =
        |code: &str, raw: f64, unit: &str| see(Profile::Reference, code, raw, Some(unit));
    near(reference("temperature", 99.0, "°C"), 37.22222222222222);
    near(reference("temperature", 70.0, "°F"), 21.11111111111111);
    near(reference("spo2", 0.97, "%"), 97.0);
    near(reference("fio2", 50.0, "1"), 0.5);
    near(reference("fio2", 0.5, "%"), 0.5);
    near(text(Profile::Reference, "fio2", "0.5"), 0.005);
    near(reference("height", 67.0, "Inch"), 67.0);
    near(reference("weight", 180.0, "lb"), 81.64656);
    near(reference("heart_rate", 1e7, "bpm"), 1e7);
    near(reference("ph", 5.0, "units"), 5.0);
}

#[test]
fn values_are_clamped_to_what_the_model_can_see() {
    let dictionary = dictionary(Profile::Clinical);
    let heart = dictionary.variable(dictionary.by_code("heart_rate").unwrap()).unwrap();
    assert_eq!(heart.clamped(180.0), 143.61);
    assert_eq!(heart.clamped(80.0), 80.0);
    assert_eq!(heart.category(1.0), None);
}

#[test]
fn a_bad_file_is_refused_with_all_its_errors() {
    let good = include_str!("../../../schemas/variables.toml");
    let bad = good
        .replace("clamp = [33.21, 143.61]", "clamp = [143.61, 33.21]")
        .replace("loinc = [\"8302-2\"]", "loinc = [\"8302-3\"]")
        .replace("normal = \"4 Spontaneously\"", "normal = \"4 spontaneous\"")
        .replace("channel = 16", "channel = 15");
    let error = Dictionary::parse(&bad, Profile::Clinical).unwrap_err().to_string();
    for part in ["heart_rate: clamp", "height: loinc", "gcs_eye: ", "channel: 15", "channel: no"] {
        assert!(error.contains(part), "{part} is not in: {error}");
    }
    let unknown = good.replacen("trained = false", "trainde = false", 1);
    let error = Dictionary::parse(&unknown, Profile::Clinical).unwrap_err().to_string();
    assert!(error.contains("trainde"), "{error}");
}

#[test]
fn the_challenges_dictionary_has_its_37_series_and_its_own_grid() {
    let dictionary = Dictionary::physionet2012().unwrap();
    assert_eq!((dictionary.variables().len(), dictionary.columns()), (39, 84));
    let series = dictionary.variables().iter().map(|variable| variable.name.as_str());
    let series: Vec<&str> = series.take(37).collect();
    for name in ["ALP", "MechVent", "NISysABP", "Urine", "Weight", "pH"] {
        assert!(series.contains(&name), "{name}");
    }
    let observe = |name: &str, value: f64| {
        let variable = dictionary.variables().iter().find(|v| v.name == name).unwrap().id;
        dictionary.observe(variable, &RawValue::Number(value), None).map(|seen| seen.value())
    };
    assert!((observe("pH", 735.0).unwrap() - 7.35).abs() < 1e-12);
    assert_eq!(observe("ICUType", 4.0).unwrap(), 3.0);
    assert!(observe("ICUType", 5.0).is_err() && observe("Temp", -17.8).is_err());
    assert_eq!(dictionary.by_loinc("2160-0"), dictionary.by_code("creatinine"));
}

#[test]
fn a_grid_of_another_width_must_be_meant() {
    let file = include_str!("../../../schemas/physionet2012.toml");
    let error = Dictionary::parse(&file.replace("columns = 84", ""), Profile::Clinical);
    let error = error.unwrap_err().to_string();
    assert!(error.contains("84 columns, models read 79"), "{error}");
}

#[test]
fn signals_are_those_of_the_file_and_copies_a_matter_of_clinical() {
    let signal = |profile, code: &str| {
        let dictionary = Dictionary::builtin(profile).unwrap();
        dictionary.variable(dictionary.by_code(code).unwrap()).unwrap().signal
    };
    let spo2 = signal(Profile::Clinical, "spo2").stuck.unwrap();
    assert_eq!((spo2.times, spo2.over, spo2.below), (10, Span::hours(9), Some(97.0)));
    assert_eq!(signal(Profile::Clinical, "glucose").copied_within, Some(0.5));
    assert_eq!(signal(Profile::Reference, "glucose").copied_within, None);
    // A ventilator's rate may stand still, a leap of it is suspect in either profile.
    let breath = signal(Profile::Reference, "respiratory_rate");
    assert_eq!((breath.stuck, breath.max_change), (None, Some(30.0)));
    let good = include_str!("../../../schemas/variables.toml");
    let bad = good
        .replacen("times = 6", "times = 1", 1)
        .replacen("max_change = 15.0", "max_change = 0.0", 1)
        .replacen("copied_within = 0.5", "copied_within = -1.0", 1)
        .replacen("unit = \"{score}\"", "unit = \"{score}\"\nmax_change = 1.0", 1);
    let error = Dictionary::parse(&bad, Profile::Clinical).unwrap_err().to_string();
    for part in ["dbp: stuck", "spo2: max_change", "glucose: copied_within", "gcs_eye: a categ"] {
        assert!(error.contains(part), "{part} is not in: {error}");
    }
}

#[test]
fn names_for_people_are_spelled_as_people_spell_them() {
    let dictionary = Dictionary::builtin(Profile::Clinical).unwrap();
    let labels: Vec<String> = dictionary.variables().iter().map(Variable::label).collect();
    assert_eq!(labels.iter().filter(|label| label.starts_with("Glasgow coma scale")).count(), 4);
    assert!(labels.iter().all(|label| !label.contains("Glascow")), "{labels:?}");
}
