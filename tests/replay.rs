//! The replay on hand-made MIMIC trees, one trap of the format at a time, and on the open demo.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::PathBuf;

use nowcxr::config::EngineConfig;
use nowcxr::event::RawValue;
use nowcxr::event::dictionary::{Dictionary, Profile};
use nowcxr::ids::{StayId, Topic};
use nowcxr::ports::PortError;
use nowcxr::replay::{
    Anchor, Body, ChartClock, Checkpoint, Clock, Cohort, Encoder, ItemFilter, MimicTable, Player,
    RejectedRow, ReplayConfig, ReplayError, ReplayItem, ReplaySink, ReplaySource, Speed, Step,
};
use nowcxr::time::{EventTime, Span, WallTime};
use nowcxr::wire::Codec;

#[path = "replay/demo.rs"]
mod demo;

const PATIENTS: &str = "subject_id,gender,anchor_age,anchor_year,anchor_year_group,dod\n\
    11,F,64,2150,2011 - 2013,\n\
    12,M,91,2160,2011 - 2013,2160-05-04\n";
const ADMISSIONS: &str = "subject_id,hadm_id,admittime,dischtime,deathtime,hospital_expire_flag\n\
    11,101,2150-01-01 00:00:00,2150-01-20 00:00:00,,0\n\
    12,102,2160-05-01 00:00:00,2160-05-04 09:00:00,2160-05-04 09:00:00,1\n";
const STAYS: &str = "subject_id,hadm_id,stay_id,first_careunit,intime,outtime\n\
    12,102,3002,Coronary Care Unit (CCU),2160-05-02 00:00:00,2160-05-04 12:00:00\n\
    11,101,3001,Medical Intensive Care Unit (MICU),2150-01-02 00:00:00,2150-01-04 00:00:00\n";
const LABS: &str = "labevent_id,subject_id,hadm_id,specimen_id,itemid,charttime,storetime,value,\
    valuenum,valueuom,comments\n\
    1,11,,9,50931,2150-01-02 06:00:00,2150-01-02 07:00:00,___,140,mg/dL,\"a, \"\"quoted\"\" it\"\n\
    2,11,101,9,50931,2150-01-02 05:00:00,2150-01-02 05:40:00,120,120,mg/dL,\n\
    3,11,101,9,50931,2150-01-02 08:00:00,,130,130,mg/dL,\n\
    4,11,101,9,50820,2150-01-02 08:00:00,,7.31,7.31,units,\n\
    5,11,101,9,51277,2150-01-02 08:00:00,2150-01-02 09:00:00,15,15,%,\n\
    6,11,101,9,50931,2150-03-02 08:00:00,2150-03-02 09:00:00,99,99,mg/dL,\n\
    7,11,101,9,50931,2150-01-02 08:00:00,2150-01-02 09:00:00,___,,mg/dL,\n\
    8,11,101,9,50931,yesterday,2150-01-02 09:00:00,99,99,mg/dL,\n\
    9,11\n";
const CHARTS: &str = "subject_id,hadm_id,stay_id,charttime,storetime,itemid,value,valuenum,\
    valueuom\n\
    11,101,3001,2150-01-02 03:00:00,2150-01-02 04:10:00,220045,88,88,bpm\n\
    11,101,3001,2150-01-02 02:00:00,2150-01-02 01:30:00,223900,No Response-ETT,1,\n\
    11,101,3001,2150-01-02 03:00:00,2150-01-02 04:10:00,220045,88,88,bpm\n\
    11,101,3001,2150-01-02 03:00:00,,220739,None,1,\n\
    11,101,3001,2151-01-02 03:00:00,,220045,80,80,bpm\n\
    11,101,3001,2150-01-02 03:30:00,,220045,,inf,bpm\n\
    12,102,3002,2160-05-01 12:00:00,,226730,170,170,cm\n\
    12,102,3002,2160-05-01 12:00:00,,999999,170,170,cm\n";
const FILMS: &str = "dicom_id,subject_id,study_id,ViewPosition,StudyDate,StudyTime\n\
    f-1,11,501,AP,21500102,80556.875\n\
    f-2,11,502,,21500102,0.0\n\
    f-3,11,503,AP,21500102,120000.0\n\
    f-4,11,504,AP,21490102,120000.0\n";

/// A tree of the tables above; `change` may replace or add files by their relative names.
fn tree(change: &[(&str, &str)]) -> (tempfile::TempDir, ReplayConfig) {
    let dir = tempfile::tempdir().unwrap();
    let files = [
        ("hosp/patients.csv", PATIENTS),
        ("hosp/admissions.csv", ADMISSIONS),
        ("hosp/labevents.csv", LABS),
        ("icu/icustays.csv", STAYS),
        ("icu/chartevents.csv", CHARTS),
        ("cxr/mimic-cxr-2.0.0-metadata.csv", FILMS),
        ("cxr/files/p11/p11/s501/f-1.jpg", "jpeg bytes"),
        ("cxr/files/p11/p11/s502/f-2.dcm", "dicom bytes"),
    ];
    for (name, text) in files.iter().chain(change) {
        let path = dir.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text.replace("    ", "")).unwrap();
    }
    let config = ReplayConfig {
        mimic_iv: dir.path().to_owned(),
        mimic_cxr: Some(dir.path().join("cxr")),
        ..ReplayConfig::default()
    };
    (dir, config)
}

fn items() -> ItemFilter {
    ItemFilter::of(&Dictionary::builtin(Profile::Clinical).unwrap())
}

fn open(config: &ReplayConfig) -> ReplaySource {
    ReplaySource::open(config, &items(), &mut |_| {}).unwrap()
}

fn all(source: &mut ReplaySource) -> Vec<ReplayItem> {
    std::iter::from_fn(|| source.next_item().unwrap()).collect()
}

/// One line an event, in order: available, stay, observed if it differs, what.
fn lines(config: &ReplayConfig) -> Vec<String> {
    let mut lines = Vec::new();
    for item in all(&mut open(config)) {
        let ReplayItem::Event(event) = item else { continue };
        let what = match &event.body {
            Body::Admitted(admission) => format!("admitted {}", admission.age_years),
            Body::Transferred { unit } => format!("transferred {unit}"),
            Body::Discharged { disposition } => format!("discharged {disposition:?}"),
            Body::Filmed(film) => format!("filmed {:?} {}", film.view, film.dicom),
            Body::Lab(m) | Body::Chart(m) => match &m.value {
                RawValue::Number(n) => format!("{} = {n}", m.item),
                RawValue::Text(text) => format!("{} = {text}", m.item),
            },
        };
        let short = |at: EventTime| at.to_string()[..19].replace('T', " ");
        lines.push(format!(
            "{} | {} | {} | {what}",
            short(event.available_at),
            short(event.observed_at),
            event.stay
        ));
    }
    lines
}

#[test]
fn rows_come_in_order_of_availability_whatever_their_order_in_the_files() {
    let (_dir, config) = tree(&[]);
    let expected = "\
2150-01-02 00:00:00 | 2150-01-02 00:00:00 | 3001 | admitted 64
2150-01-02 00:15:00 | 2150-01-02 00:00:00 | 3001 | filmed Unknown f-2
2150-01-02 02:01:00 | 2150-01-02 02:00:00 | 3001 | 223900 = No Response-ETT
2150-01-02 03:01:00 | 2150-01-02 03:00:00 | 3001 | 220045 = 88
2150-01-02 03:01:00 | 2150-01-02 03:00:00 | 3001 | 220045 = 88
2150-01-02 03:01:00 | 2150-01-02 03:00:00 | 3001 | 220739 = None
2150-01-02 05:40:00 | 2150-01-02 05:00:00 | 3001 | 50931 = 120
2150-01-02 07:00:00 | 2150-01-02 06:00:00 | 3001 | 50931 = 140
2150-01-02 08:20:56 | 2150-01-02 08:05:56 | 3001 | filmed Ap f-1
2150-01-02 09:00:00 | 2150-01-02 08:00:00 | 3001 | 50931 = 130
2150-01-02 09:05:00 | 2150-01-02 08:00:00 | 3001 | 50820 = 7.31
2150-01-04 00:00:00 | 2150-01-04 00:00:00 | 3001 | discharged Alive
2160-05-01 12:01:00 | 2160-05-01 12:00:00 | 3002 | 226730 = 170
2160-05-02 00:00:00 | 2160-05-02 00:00:00 | 3002 | admitted 91
2160-05-04 09:00:00 | 2160-05-04 09:00:00 | 3002 | discharged Died";
    assert_eq!(lines(&config).join("\n"), expected);
}

#[test]
fn every_row_ends_as_exactly_one_thing() {
    let (_dir, config) = tree(&[]);
    let mut source = open(&config);
    let all = all(&mut source);
    let counts = source.counts();
    assert!(counts.differences().is_empty(), "{:?}", counts.differences());
    let labs = counts.of(MimicTable::LabEvents);
    assert_eq!((labs.rows, labs.not_a_model_variable, labs.out_of_scope), (9, 1, 1));
    assert_eq!((labs.rejected_rows(), labs.emitted), (3, 4));
    let charts = counts.of(MimicTable::ChartEvents);
    assert_eq!((charts.rows, charts.not_a_model_variable, charts.out_of_scope), (8, 1, 1));
    assert_eq!((charts.rejected_rows(), charts.emitted), (1, 5));
    let films = counts.of(MimicTable::CxrMetadata);
    assert_eq!(
        (films.rows, films.out_of_scope, films.rejected_rows(), films.emitted),
        (4, 1, 1, 2)
    );
    let rejected: Vec<String> = all
        .iter()
        .filter_map(|item| match item {
            ReplayItem::Rejected(row) => Some(row.to_string()),
            _ => None,
        })
        .collect();
    assert_eq!(
        rejected,
        [
            "hosp/labevents:9 malformed_row: charttime cannot be read",
            "hosp/labevents:10 malformed_row: too few fields, or a quote that is not closed",
            "icu/chartevents:7 not_a_number: valuenum is no finite number",
            "hosp/labevents:8 malformed_row: neither value nor valuenum is there",
            "cxr/metadata:4 film_unavailable: neither a .jpg nor a .dcm file is there",
        ]
    );
}

#[test]
fn equal_rows_have_equal_ids_and_others_do_not() {
    let (_dir, config) = tree(&[]);
    let mut ids: Vec<_> = all(&mut open(&config))
        .into_iter()
        .filter_map(|item| match item {
            ReplayItem::Event(event) => Some(event.id),
            _ => None,
        })
        .collect();
    let rows = ids.len();
    ids.sort();
    ids.dedup();
    assert_eq!((rows, ids.len()), (15, 14), "one chart row stands twice in the file");
}

#[test]
fn validated_charts_wait_for_storetime_and_parity_uses_charttime() {
    let (_dir, mut config) = tree(&[]);
    config.charts = ChartClock::Validated;
    let validated = lines(&config);
    assert!(validated.iter().any(|l| l.starts_with("2150-01-02 04:10:00 | 2150-01-02 03:00:00")));
    assert!(validated.iter().any(|l| l.starts_with("2150-01-02 02:00:00") && l.contains("ETT")));
    config.clock = Clock::Charttime;
    for line in lines(&config) {
        assert_eq!(line[..19], line[22..41], "{line}");
    }
}

#[test]
fn marks_promise_the_truth_and_end_with_the_end() {
    let (_dir, config) = tree(&[]);
    let all = all(&mut open(&config));
    let mut promised = EventTime::MIN;
    for item in &all {
        match item {
            ReplayItem::Mark(time) => {
                assert!(*time > promised);
                promised = *time;
            }
            ReplayItem::Event(event) => assert!(event.available_at > promised),
            ReplayItem::Rejected(_) => {}
        }
    }
    assert_eq!(all.last(), Some(&ReplayItem::Mark(promised)));
    assert!(promised > EventTime::MIN);
}

#[test]
fn transfers_inside_a_stay_are_events() {
    let transfers = "subject_id,hadm_id,transfer_id,eventtype,careunit,intime,outtime\n\
        11,101,71,admit,MICU,2150-01-02 00:00:00,2150-01-03 00:00:00\n\
        11,101,72,transfer,SICU,2150-01-03 00:00:00,2150-01-04 00:00:00\n\
        11,101,73,discharge,,2150-01-04 00:00:00,\n";
    let (_dir, config) = tree(&[("hosp/transfers.csv", transfers)]);
    let moved: Vec<String> =
        lines(&config).into_iter().filter(|line| line.contains("transferred")).collect();
    let expected = "2150-01-03 00:00:00 | 2150-01-03 00:00:00 | 3001 | transferred SICU";
    assert_eq!(moved, [expected]);
}

#[test]
fn cohorts_choose_stays_and_count_the_rest() {
    let (dir, config) = tree(&[("ids.txt", "stay_id\n3002\n")]);
    let stays = |cohort: Cohort| {
        let source = open(&ReplayConfig { cohort, ..config.clone() });
        assert!(source.counts().differences().is_empty());
        source.stays().chosen().map(|stay| stay.id.0).collect::<Vec<_>>()
    };
    assert_eq!(stays(Cohort::default()), [3001, 3002]);
    let file = Some(dir.path().join("ids.txt"));
    let listed = Cohort { stays_file: file, ..Cohort::default() };
    assert_eq!(stays(listed.clone()), [3002]);
    // The same file with another list is another recording, for whoever would go on with it.
    let digest = || open(&ReplayConfig { cohort: listed.clone(), ..config.clone() }).data_digest();
    let before = digest();
    assert_eq!(digest(), before);
    std::fs::write(dir.path().join("ids.txt"), "stay_id\n3001\n").unwrap();
    assert_ne!(digest(), before);
    let unit = Some("Coronary".to_owned());
    assert_eq!(stays(Cohort { care_unit: unit, ..Cohort::default() }), [3002]);
    assert_eq!(stays(Cohort { min_stay: Some(Span::hours(50)), ..Cohort::default() }), [3002]);
    assert_eq!(stays(Cohort { with_film: true, ..Cohort::default() }), [3001]);
    assert_eq!(stays(Cohort { limit: Some(1), ..Cohort::default() }), [3001]);
    let none = Cohort { min_stay: Some(Span::hours(900)), ..Cohort::default() };
    let mut source = open(&ReplayConfig { cohort: none, ..config.clone() });
    assert!(!all(&mut source).iter().any(|item| matches!(item, ReplayItem::Event(_))));
    assert_eq!(source.counts().of(MimicTable::ChartEvents).not_in_cohort, 6);
}

#[test]
fn anchors_shift_all_stays_or_each() {
    let (_dir, mut config) = tree(&[]);
    let now = WallTime::from_millis(1_800_000_000_000);
    let admissions = |config: &ReplayConfig| {
        let at = |item| match item {
            ReplayItem::Event(e) if matches!(e.body, Body::Admitted(_)) => Some(e.available_at),
            _ => None,
        };
        all(&mut open(config)).into_iter().filter_map(at).collect::<Vec<_>>()
    };
    let original = admissions(&config);
    config.anchor = Anchor::First(now);
    let first = admissions(&config);
    assert_eq!(first[0].as_millis(), now.as_millis());
    assert_eq!(first[1].since(first[0]), original[1].since(original[0]));
    config.anchor = Anchor::Each(now);
    assert!(admissions(&config).iter().all(|at| at.as_millis() == now.as_millis()));
    let labels = open(&config).labels().to_vec();
    assert_eq!(labels[0].stay, StayId(3002), "death 57 h after admission, the other on day 18");
    assert!(labels[0].died_in_hospital && !labels[1].died_in_hospital);
}

#[test]
fn labels_carry_the_codes_with_their_version() {
    let codes = "subject_id,hadm_id,seq_num,icd_code,icd_version\n\
        11,101,2,V707,9\n11,101,1,0389,9\n11,101,3,I10,10\n12,102,1,I10,11\n";
    let (_dir, config) = tree(&[("hosp/diagnoses_icd.csv", codes)]);
    let labels = open(&config).labels().to_vec();
    let text: Vec<String> =
        labels[0].diagnoses.iter().map(|icd| format!("{} {}", icd.version, icd.code)).collect();
    assert_eq!(text, ["9 0389", "9 V707", "10 I10"]);
    assert!(labels[1].diagnoses.is_empty());
}

#[test]
fn missing_columns_directories_and_settings_are_clear_errors() {
    let (_dir, config) = tree(&[("icu/chartevents.csv", "subject_id,charttime\n1,2\n")]);
    let error = |config: &ReplayConfig| {
        ReplaySource::open(config, &items(), &mut |_| {}).err().unwrap().to_string()
    };
    let text = error(&config);
    assert!(text.contains("icu/chartevents.csv: missing columns [\"itemid\""), "{text}");
    let nowhere = ReplayConfig { mimic_iv: PathBuf::from("/nonexistent"), ..config.clone() };
    assert!(error(&nowhere).contains("/nonexistent: "), "{}", error(&nowhere));
    let no_films =
        ReplayConfig { mimic_cxr: Some(PathBuf::from("/nonexistent")), ..config.clone() };
    assert!(error(&no_films).contains("/nonexistent: "));
    let bad = ReplayConfig { mark_every: Span::ZERO, ..config };
    assert!(error(&bad).contains("`mark_every`"));
}

#[derive(Default)]
struct Tape {
    bytes: Vec<u8>,
    records: u64,
    labels: u64,
    rejected: Vec<String>,
}

impl Tape {
    fn write(&mut self, parts: &[&[u8]]) {
        for part in parts {
            self.bytes.extend_from_slice(&(part.len() as u32).to_le_bytes());
            self.bytes.extend_from_slice(part);
        }
    }
}

impl ReplaySink for Tape {
    fn append(&mut self, topic: Topic, stay: StayId, record: &[u8]) -> Result<(), PortError> {
        self.records += 1;
        self.write(&[topic.name().as_bytes(), &stay.0.to_le_bytes(), record]);
        Ok(())
    }

    fn mark(&mut self, topic: Topic, record: &[u8]) -> Result<(), PortError> {
        self.write(&[topic.name().as_bytes(), record]);
        Ok(())
    }

    fn reject(&mut self, row: &RejectedRow) -> Result<(), PortError> {
        self.rejected.push(row.dead_letter().reason);
        self.write(&[row.to_string().as_bytes()]);
        Ok(())
    }

    fn label(&mut self, stay: StayId, record: &[u8]) -> Result<(), PortError> {
        self.labels += 1;
        self.write(&[&stay.0.to_le_bytes(), record]);
        Ok(())
    }
}

fn codec() -> Codec {
    let dictionary = Dictionary::builtin(Profile::Clinical).unwrap();
    Codec::new(&EngineConfig::default().feeds, dictionary).unwrap()
}

fn player<'a>(config: &ReplayConfig, codec: &'a Codec) -> Player<'a> {
    let encoder = Encoder::new(codec, &EngineConfig::default().feeds, config).unwrap();
    Player::new(open(config), encoder, config, Speed::Max)
}

fn tape(config: &ReplayConfig) -> Tape {
    let codec = codec();
    let mut tape = Tape::default();
    player(config, &codec).play(&mut tape).unwrap();
    tape
}

#[test]
fn two_replays_and_any_memory_give_the_same_bytes() {
    let (_dir, mut config) = tree(&[]);
    let first = tape(&config);
    assert_eq!((first.records, first.labels, first.rejected.len()), (15, 2, 5));
    assert!(tape(&config).bytes == first.bytes);
    config.sort_bytes = 1;
    assert!(tape(&config).bytes == first.bytes);
}

#[test]
fn a_film_that_vanishes_becomes_a_dead_letter_and_nothing_else_changes() {
    let (dir, config) = tree(&[]);
    let codec = codec();
    let mut player = player(&config, &codec);
    fs::remove_file(dir.path().join("cxr/files/p11/p11/s501/f-1.jpg")).unwrap();
    let mut tape = Tape::default();
    player.play(&mut tape).unwrap();
    assert_eq!(tape.records, 14);
    assert_eq!(tape.rejected.iter().filter(|reason| *reason == "film_unavailable").count(), 2);
    let told = String::from_utf8_lossy(&tape.bytes).into_owned();
    assert!(told.contains("cxr/metadata:2 film_unavailable: the file is gone"));
    assert!(player.source().counts().differences().is_empty());
}

#[test]
fn a_resumed_replay_tells_the_rest_and_refuses_other_settings() {
    let (dir, config) = tree(&[]);
    let whole = tape(&config);
    let codec = codec();
    let path = dir.path().join("checkpoint.json");
    for stop in [0, 1, 7, 20, 40] {
        let mut first = player(&config, &codec);
        let mut tape = Tape::default();
        for _ in 0..stop {
            if first.step(&mut tape, std::time::Duration::ZERO).unwrap() == Step::Done {
                break;
            }
        }
        first.checkpoint().write(&path).unwrap();
        let checkpoint = Checkpoint::read(&path).unwrap().unwrap();
        assert_eq!(checkpoint, first.checkpoint());
        let mut second = player(&config, &codec);
        second.resume(&checkpoint).unwrap();
        second.play(&mut tape).unwrap();
        assert!(tape.bytes == whole.bytes, "stopped after {stop} items");
    }
    let checkpoint = Checkpoint::read(&path).unwrap().unwrap();
    let other = ReplayConfig { cxr_lag: Span::minutes(1), ..config.clone() };
    let refused = player(&other, &codec).resume(&checkpoint).unwrap_err().to_string();
    assert!(refused.contains("settings differ"), "{refused}");
    let forged = Checkpoint { last_id: None, ..checkpoint };
    let refused = player(&config, &codec).resume(&forged).unwrap_err().to_string();
    assert!(refused.contains("has changed under the checkpoint"), "{refused}");
    fs::write(&path, "{").unwrap();
    assert!(Checkpoint::read(&path).unwrap_err().to_string().contains("remove the file"));
    assert_eq!(Checkpoint::read(&dir.path().join("none")).unwrap(), None);
}

#[test]
fn a_full_sink_stops_the_replay_with_its_own_words() {
    struct Full;
    impl ReplaySink for Full {
        fn append(&mut self, _: Topic, _: StayId, _: &[u8]) -> Result<(), PortError> {
            Err(PortError::Stop("the disk is full".into()))
        }
        fn mark(&mut self, _: Topic, _: &[u8]) -> Result<(), PortError> {
            Ok(())
        }
        fn reject(&mut self, _: &RejectedRow) -> Result<(), PortError> {
            Ok(())
        }
        fn label(&mut self, _: StayId, _: &[u8]) -> Result<(), PortError> {
            Ok(())
        }
    }
    let (_dir, config) = tree(&[]);
    let codec = codec();
    let error = player(&config, &codec).play(&mut Full).unwrap_err();
    assert!(matches!(&error, ReplayError::Sink(PortError::Stop(_))), "{error}");
}
