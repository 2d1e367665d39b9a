//! The same facts by replay, by HL7 v2 and by FHIR give the same risk events.

use std::process::Command;
use std::sync::Arc;

use nowcxr::config::Config;
use nowcxr::edge::Message;
use nowcxr::edge::fhir::Fate;
use nowcxr::event::dictionary::Dictionary;
use nowcxr::event::{RawValue, Sex};
use nowcxr::ids::{StayId, Topic};
use nowcxr::ports::PortError;
use nowcxr::replay::{
    Body, Encoder, ItemFilter, Measured, Player, RejectedRow, ReplayConfig, ReplayEvent,
    ReplayItem, ReplaySink, ReplaySource, Speed,
};
use nowcxr::time::{EventTime, Span, WallTime};
use nowcxr::transport::local::{LocalLog, NewRecord, Partition};
use nowcxr::wire::RiskRecord;

use super::world::{LocalDesk, codec, config, desk, log, pass, risk_events, wall};
use super::{fhir_site, fhir_twin};

/// The encoder of the replay wants a feed of every topic; nothing comes by imaging here.
const ALL_FEEDS: &str = r#"feeds.list=[
    {name="stay",topic="stay"}, {name="imaging",topic="imaging"},
    {name="lab",topic="lab"}, {name="vital",topic="vital"},
]"#;

/// The replay's goal: a local log with the replay's clock.
struct ToLog {
    partitions: Vec<Arc<Partition>>,
    sequence: u64,
    now: WallTime,
}

impl ToLog {
    fn new(log: &LocalLog) -> Self {
        let partitions =
            Topic::ALL.iter().map(|topic| log.partition(topic.name(), 0).unwrap()).collect();
        ToLog { partitions, sequence: 0, now: WallTime::from_millis(0) }
    }

    fn put(&mut self, topic: Topic, key: Option<String>, value: &[u8]) {
        self.sequence += 1;
        let key = key.as_ref().map(|key| key.as_bytes());
        let record = NewRecord { writer: 1, sequence: self.sequence, key, headers: &[], value };
        self.partitions[topic as usize].append_batch(&[record], self.now).unwrap();
    }
}

impl ReplaySink for ToLog {
    fn tick(&mut self, now: EventTime) {
        self.now = wall(now);
    }

    fn append(&mut self, topic: Topic, stay: StayId, record: &[u8]) -> Result<(), PortError> {
        self.put(topic, Some(stay.to_string()), record);
        Ok(())
    }

    fn mark(&mut self, topic: Topic, record: &[u8]) -> Result<(), PortError> {
        self.put(topic, None, record);
        Ok(())
    }

    fn reject(&mut self, _: &RejectedRow) -> Result<(), PortError> {
        Ok(())
    }

    fn label(&mut self, _: StayId, _: &[u8]) -> Result<(), PortError> {
        Ok(())
    }
}

/// `20260301083000.000+0000`.
fn stamp(at: EventTime) -> String {
    let digits: String = at.to_string().chars().filter(char::is_ascii_digit).collect();
    format!("{}.{}+0000", &digits[..14], &digits[14..17])
}

/// A replayed event as a hospital's systems would say it.
fn message(event: &ReplayEvent, number: u64, dictionary: &Dictionary) -> Option<String> {
    let (seen, known) = (stamp(event.observed_at), stamp(event.available_at));
    let visit = |unit: &str, tail: &str| {
        let gap = "|".repeat(16);
        format!("PV1||I|{unit}^1^A{gap}V{}{tail}\r", event.stay.0)
    };
    let pid =
        |born: &str, sex: &str| format!("PID|||P{}^^^H^MR||DOE^J||{born}|{sex}\r", event.stay.0);
    let msh = |kind: &str| format!("MSH|^~\\&|SYS|H|NCX|H|{known}||{kind}|C{number}|P|2.5\r");
    let adt = |trigger: &str, rest: String| {
        let evn = format!("EVN|{trigger}|{known}||||{seen}\r");
        Some(format!("{}{evn}{rest}", msh(&format!("ADT^{trigger}"))))
    };
    match &event.body {
        Body::Admitted(admission) => {
            let year: i64 = seen[..4].parse().unwrap();
            let born = format!("{}{}", year - i64::from(admission.age_years), &seen[4..8]);
            let sex = if admission.sex == Sex::Female { "F" } else { "M" };
            adt("A01", pid(&born, sex) + &visit(&admission.unit, ""))
        }
        Body::Transferred { unit } => adt("A02", pid("", "") + &visit(unit, "")),
        Body::Discharged { disposition } => {
            let died = *disposition == nowcxr::event::Disposition::Died;
            let code = if died { "20" } else { "01" };
            adt("A03", pid("", "") + &visit("MICU", &format!("{}{code}", "|".repeat(17))))
        }
        Body::Lab(measured) | Body::Chart(measured) => {
            let is_lab = matches!(event.body, Body::Lab(_));
            let obx = obx(measured, dictionary)?;
            let specimen = measured.specimen.as_deref().unwrap_or("");
            let obr = format!(
                "OBR|1||{}|X|||{seen}{}{specimen}{}{known}||{}\r",
                event.id.0,
                "|".repeat(8),
                "|".repeat(7),
                if is_lab { "LAB" } else { "VS" }
            );
            Some(msh("ORU^R01") + &pid("", "") + &visit("MICU", "") + &obr + &obx)
        }
        Body::Filmed(_) => None,
    }
}

fn obx(measured: &Measured, dictionary: &Dictionary) -> Option<String> {
    let item = dictionary.item(measured.item)?;
    let variable = dictionary.variable(item.variable)?;
    let loinc = variable.loinc.first()?;
    let unit = measured.unit.as_deref().or(item.unit.as_deref()).unwrap_or("");
    let (kind, value) = match &measured.value {
        RawValue::Number(number) => ("NM", format!("{number}")),
        RawValue::Text(text) => ("ST", text.clone()),
    };
    Some(format!("OBX|1|{kind}|{loinc}^x^LN||{value}|{unit}|||||F\r"))
}

/// What of an event does not depend on the ids of stay and facts. The digest of the input does:
/// they decide the order of rows of one moment. The score stands for the rows.
fn comparable(event: RiskRecord) -> String {
    let RiskRecord { t, revision, known_at, triggers, status, .. } = &event;
    let RiskRecord { scores, series, stay_end, .. } = &event;
    format!(
        "{t} r{revision} known {known_at} {triggers:?} {status:?} {scores:?} {series:?} \
         {stay_end:?}"
    )
}

/// The risk events of a replay.
fn by_replay(config: &Config, replay: &ReplayConfig, items: &ItemFilter) -> Vec<RiskRecord> {
    let dir = tempfile::tempdir().unwrap();
    let log = log(dir.path());
    let codec = codec(config);
    let encoder = Encoder::new(&codec, &config.engine.feeds, replay).unwrap();
    let mut sink = ToLog::new(&log);
    let source = ReplaySource::open(replay, items, &mut |_| {}).unwrap();
    Player::new(source, encoder, replay, Speed::Max).play(&mut sink).unwrap();
    sink.partitions.iter().for_each(|partition| partition.sync().unwrap());
    risk_events(config, &log)
}

/// The risk events of the same, said by an edge's senders as `speak` has it.
fn by_edge<M: Message>(
    config: &Config,
    (replay, items): (&ReplayConfig, &ItemFilter),
    (mut desk, log): (LocalDesk, Arc<LocalLog>),
    speak: impl Fn(&ReplayEvent, u64) -> Option<M>,
    check: impl Fn(M::Answer),
) -> Vec<RiskRecord> {
    let codec = codec(config);
    let imaging = log.partition(Topic::Imaging.name(), 0).unwrap();
    let mut source = ReplaySource::open(replay, items, &mut |_| {}).unwrap();
    let (mut number, mut waiting) = (0, Vec::new());
    while let Some(item) = source.next_item().unwrap() {
        match item {
            ReplayItem::Event(event) => {
                number += 1;
                waiting.extend(speak(&event, number));
            }
            ReplayItem::Mark(time) => {
                // A mark of the edge is its clock less the lateness. One batch, one clock: later
                // than all of them, and earlier than the mark.
                let messages: Vec<M> = std::mem::take(&mut waiting);
                let now = if time == EventTime::MAX { far(&source) } else { time };
                desk.take(&messages, wall(now)).unwrap().into_iter().for_each(&check);
                let now = now + config.edge.lateness;
                pass(&mut desk, wall(now));
                mark_imaging(&codec, &imaging, now - config.edge.lateness, now);
            }
            ReplayItem::Rejected(_) => {}
        }
    }
    risk_events(config, &log)
}

/// Where time ends for the edge, which never says that a feed has ended.
fn far(source: &ReplaySource) -> EventTime {
    let last = source.labels().iter().map(|label| label.known_at).max();
    last.unwrap_or(EventTime::from_millis(0)) + Span::hours(24 * 30)
}

/// The edge of HL7 promises nothing of films.
fn mark_imaging(codec: &nowcxr::wire::Codec, to: &Partition, time: EventTime, now: EventTime) {
    let mark = nowcxr::wire::records::MarkRecord { feed: "imaging".into(), time };
    let value = codec.encode(&mark).unwrap();
    let sequence = time.as_millis() as u64;
    let record = NewRecord { writer: 9, sequence, key: None, headers: &[], value: &value };
    to.append_durable(&[record], wall(now)).unwrap();
}

#[test]
fn a_replay_and_the_edges_say_the_same_of_a_synthetic_ward() {
    let dir = tempfile::tempdir().unwrap();
    let mut synth = Command::new(env!("CARGO_BIN_EXE_nowcxr"));
    synth.args(["synth", "--patients", "3", "--seed", "4", "--out"]).arg(dir.path().join("ward"));
    assert!(synth.output().unwrap().status.success());
    let config = config(&[ALL_FEEDS, "edge.units=[]"]);
    let replay =
        ReplayConfig { mimic_iv: dir.path().join("ward/mimiciv"), ..ReplayConfig::default() };
    let dictionary = Dictionary::builtin(config.profile).unwrap();
    let items = ItemFilter::of(&dictionary);
    // The stays have other ids, so each way is sorted by what it says.
    let lines = |events: Vec<RiskRecord>| {
        let mut lines: Vec<String> = events.into_iter().map(comparable).collect();
        lines.sort();
        lines
    };
    let replayed = lines(by_replay(&config, &replay, &items));
    let place = |language: &str| {
        let dir = dir.path().join(language);
        let log = log(&dir);
        (dir, log)
    };
    let (home, log) = place("hl7");
    let hl7 = by_edge(
        &config,
        (&replay, &items),
        (desk(&config, &home, &log), log),
        |event, number| message(event, number, &dictionary).map(String::into_bytes),
        |answers| assert!(answers[0].contains("MSA|AA|"), "{answers:?}"),
    );
    let (home, log) = place("fhir");
    let fhir = by_edge(
        &config,
        (&replay, &items),
        (fhir_site::desk(&config, &home, &log), log),
        |event, _| fhir_twin::parcel(event, &dictionary),
        |told| {
            let all = told.iter().all(|told| told.fate == Fate::Taken || told.fate == Fate::Known);
            assert!(all, "{told:?}");
        },
    );
    println!("{} risk events by replay", replayed.len());
    assert!(replayed.len() > 100);
    for (language, said) in [("HL7", lines(hl7)), ("FHIR", lines(fhir))] {
        let differing = replayed.iter().zip(&said).find(|(a, b)| a != b);
        assert_eq!(differing, None, "by {language}");
        assert_eq!(replayed.len(), said.len(), "by {language}");
    }
}
