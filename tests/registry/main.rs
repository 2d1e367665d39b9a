//! Schemas over time: those of released versions can be read by this one, a registry gives ids and
//! texts, and producers older and newer than this version are both understood.

#![allow(clippy::unwrap_used)]

#[cfg(feature = "https")]
#[path = "../tls/certificates.rs"]
mod certificates;
#[cfg(feature = "https")]
#[path = "../tls/front.rs"]
mod front;
#[cfg(feature = "https")]
mod https;
mod server;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use apache_avro::Schema;
use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::schema_compatibility::SchemaCompatibility;
use apache_avro::types::Value as Datum;
use apache_avro::writer::datum::GenericDatumWriter;
use nowcxr::config::{EngineConfig, RegistryConfig, SubjectNames};
use nowcxr::event::dictionary::{Dictionary, Profile};
use nowcxr::event::{FactBody, Reason};
use nowcxr::ids::Topic;
use nowcxr::ports::PortError;
use nowcxr::transport::kafka::KafkaSettings;
use nowcxr::transport::registry::Registry as Client;
use nowcxr::wire::{Codec, Decoded, RecordKind};
use serde_json::{Value, json};

use server::Registry;

/// A look inside, and another program's hand.
impl Registry {
    fn subjects(&self) -> Vec<String> {
        self.held.lock().unwrap().subjects.keys().cloned().collect()
    }

    /// Registers a text as another program would.
    fn add(&self, subject: &str, text: &str) -> u32 {
        self.held.lock().unwrap().add(subject, text).unwrap()
    }
}

fn config() -> RegistryConfig {
    let subjects = SubjectNames::Record;
    RegistryConfig { url: None, register: true, subjects, credentials: None, ca: None }
}

fn ids(url: &str, config: &RegistryConfig) -> Result<BTreeMap<RecordKind, u32>, PortError> {
    let kafka = KafkaSettings::new("a:1");
    Client::open(url, config)?.ids(&|kind| kafka.topics_of(kind))
}

fn codec(registry: &Registry) -> Codec {
    let ids = ids(&registry.url, &config()).unwrap();
    let client = Arc::new(Client::open(&registry.url, &config()).unwrap());
    let dictionary = Dictionary::builtin(Profile::Clinical).unwrap();
    Codec::with_registry(&EngineConfig::default().feeds, dictionary, &ids, client).unwrap()
}

/// Directories of released versions, oldest first.
fn released() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas/released");
    let mut versions: Vec<PathBuf> =
        root.read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
    versions.sort();
    versions
}

#[test]
fn this_version_reads_what_every_released_one_has_written() {
    let versions = released();
    assert!(versions.iter().any(|dir| dir.ends_with("0.1.0")), "{versions:?}");
    for dir in versions {
        for kind in RecordKind::ALL {
            let path = dir.join(format!("{}.avsc", kind.name()));
            // A kind of record may be younger than that version.
            let Ok(text) = std::fs::read_to_string(&path) else { continue };
            let writer = Schema::parse_str(&text).unwrap();
            let reader = Schema::parse_str(kind.schema_text()).unwrap();
            let can_read = SchemaCompatibility::can_read(&writer, &reader);
            assert!(can_read.is_ok(), "{}: {can_read:?}", path.display());
        }
    }
}

/// The check above sees what it is there to see.
#[test]
fn a_field_without_a_default_is_no_compatible_change() {
    let lab = RecordKind::Lab.schema_text();
    let reader = with_field(lab, json!({ "name": "ward", "type": "string" }));
    let (old, new) = (Schema::parse_str(lab).unwrap(), Schema::parse_str(&reader).unwrap());
    assert!(SchemaCompatibility::can_read(&old, &new).is_err());
}

#[test]
fn schemas_are_registered_once_and_looked_up_after() {
    let registry = Registry::start();
    let lookup = RegistryConfig { register: false, ..config() };
    let absent = ids(&registry.url, &lookup).unwrap_err();
    assert!(absent.to_string().contains("org.nowcxr.LabEvent"), "{absent}");
    let first = ids(&registry.url, &config()).unwrap();
    assert_eq!(first.values().collect::<BTreeSet<_>>().len(), RecordKind::ALL.len());
    assert_eq!(ids(&registry.url, &config()).unwrap(), first);
    assert_eq!(ids(&registry.url, &lookup).unwrap(), first);
    assert_eq!(registry.subjects().len(), RecordKind::ALL.len());
    // By topic and name a mark has four subjects and one id.
    let both = RegistryConfig { subjects: SubjectNames::TopicRecord, ..config() };
    assert_eq!(ids(&registry.url, &both).unwrap(), first);
    let subjects = registry.subjects();
    for subject in ["lab-org.nowcxr.LabEvent", "lab-org.nowcxr.Mark", "vital-org.nowcxr.Mark"] {
        assert!(subjects.iter().any(|held| held == subject), "{subject} in {subjects:?}");
    }
}

#[test]
fn an_incompatible_subject_a_wrong_password_and_a_silent_registry_say_what_to_do() {
    let registry = Registry::start();
    let clash = r#"{"type":"record","name":"LabEvent","namespace":"org.nowcxr","fields":[]}"#;
    let clash = with_field(clash, json!({ "name": "code", "type": "int" }));
    registry.add("org.nowcxr.LabEvent", &clash);
    let refused = ids(&registry.url, &config()).unwrap_err();
    assert!(matches!(refused, PortError::Stop(_)) && refused.to_string().contains("incompatible"));

    registry.held.lock().unwrap().demands = Some("Basic dXNlcjpodW50ZXIy".to_owned());
    let refused = ids(&registry.url, &config()).unwrap_err().to_string();
    assert!(refused.contains("registry.credentials"), "{refused}");
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "user:hunter2\n").unwrap();
    let known = RegistryConfig { credentials: Some(file.path().to_owned()), ..config() };
    let refused = ids(&registry.url, &known).unwrap_err().to_string();
    assert!(refused.contains("incompatible") && !refused.contains("hunter2"), "{refused}");

    registry.held.lock().unwrap().ill = Some(503);
    assert!(matches!(ids(&registry.url, &known), Err(PortError::Retry(_))));
    let nobody = ids("http://127.0.0.1:9", &config()).unwrap_err();
    assert!(matches!(nobody, PortError::Retry(_)), "{nobody}");
}

fn example(kind: RecordKind) -> Value {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let path = root.join(format!("schemas/examples/{}.json", kind.name()));
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn with_field(schema: &str, field: Value) -> String {
    let mut schema: Value = serde_json::from_str(schema).unwrap();
    schema["fields"].as_array_mut().unwrap().push(field);
    schema.to_string()
}

/// The schema of a version that knew of nothing but what is measured: no other field with a
/// default was there yet.
fn before_defaults(schema: &str) -> String {
    let mut schema: Value = serde_json::from_str(schema).unwrap();
    let is_old = |field: &Value| {
        field.get("default").is_none() || field["name"] == "value" || field["name"] == "picture"
    };
    schema["fields"].as_array_mut().unwrap().retain(is_old);
    schema.to_string()
}

/// A record of our version, as another version with the schema `text` would write it.
fn written_as(codec: &Codec, kind: RecordKind, text: &str, id: u32) -> Vec<u8> {
    let ours = Schema::parse_str(kind.schema_text()).unwrap();
    let theirs = Schema::parse_str(text).unwrap();
    let bytes = encoded(codec, kind);
    let reader = GenericDatumReader::builder(&ours).build().unwrap();
    let datum = reader.read_value(&mut &bytes[5..]).unwrap();
    let Datum::Record(fields) = datum else { panic!("no record") };
    let Schema::Record(record) = &theirs else { panic!("no record") };
    let fields = record.fields.iter().map(|field| {
        let held = fields.iter().find(|(name, _)| *name == field.name).cloned();
        let added = || (field.name.clone(), Datum::Union(1, Box::new("new".to_owned().into())));
        held.unwrap_or_else(added)
    });
    let mut record = vec![0];
    record.extend(id.to_be_bytes());
    let fields = Datum::Record(fields.collect());
    let writer = GenericDatumWriter::builder(&theirs).build().unwrap();
    writer.write_value(&mut record, fields).unwrap();
    record
}

fn encoded(codec: &Codec, kind: RecordKind) -> Vec<u8> {
    use nowcxr::wire::records::{ImagingEvent, LabEvent, MarkRecord, StayEventRecord, VitalEvent};
    let json = example(kind);
    match kind {
        RecordKind::Lab => codec.encode(&serde_json::from_value::<LabEvent>(json).unwrap()),
        RecordKind::Vital => codec.encode(&serde_json::from_value::<VitalEvent>(json).unwrap()),
        RecordKind::Imaging => codec.encode(&serde_json::from_value::<ImagingEvent>(json).unwrap()),
        RecordKind::Stay => codec.encode(&serde_json::from_value::<StayEventRecord>(json).unwrap()),
        _ => codec.encode(&serde_json::from_value::<MarkRecord>(json).unwrap()),
    }
    .unwrap()
}

#[test]
fn an_older_and_a_newer_producer_are_both_understood() {
    let registry = Registry::start();
    let codec = codec(&registry);
    let inputs = [
        (RecordKind::Lab, Topic::Lab),
        (RecordKind::Vital, Topic::Vital),
        (RecordKind::Imaging, Topic::Imaging),
        (RecordKind::Stay, Topic::Stay),
        (RecordKind::Mark, Topic::Lab),
    ];
    for (kind, topic) in inputs {
        let ours = encoded(&codec, kind);
        let decode = |record: &[u8]| codec.decode_input(topic, Some(b"30000001"), record);
        let said = decode(&ours).unwrap();
        let field = json!({ "name": "added_later", "type": ["null", "string"], "default": null });
        let newer = with_field(kind.schema_text(), field);
        let newer_id = registry.add(&format!("newer {}", kind.name()), &newer);
        let newer = written_as(&codec, kind, &newer, newer_id);
        let unknown = decode(&newer).unwrap_err();
        assert_eq!(unknown.reason, Reason::Undecodable, "nobody was asked yet");
        codec.learn(&newer).unwrap();
        assert_eq!(decode(&newer).unwrap(), said, "{}: a newer producer", kind.name());

        let older = before_defaults(kind.schema_text());
        let older_id = registry.add(&format!("older {}", kind.name()), &older);
        let older = written_as(&codec, kind, &older, older_id);
        codec.learn(&older).unwrap();
        let old = decode(&older).unwrap();
        assert!(same_but_for_defaults(&old, &said), "{old:?} is not {said:?}");
    }
    // Ids are asked for once, and one that nobody has is not asked for again at once.
    let asked = registry.asked();
    let foreign = registry.add("other", r#"{"type":"record","name":"Else","fields":[]}"#);
    for id in [foreign, foreign, 9_999, 9_999] {
        let mut record = vec![0];
        record.extend(id.to_be_bytes());
        codec.learn(&record).unwrap();
        assert!(decode_lab(&codec, &record).contains("unknown"));
    }
    assert_eq!(registry.asked(), asked + 2);
    // While the registry is away, nothing is refused for want of its answer.
    registry.held.lock().unwrap().ill = Some(500);
    let away = codec.learn(&[0, 0, 0, 0x7f, 0xff, 0]).unwrap_err();
    assert!(matches!(away, PortError::Retry(_)), "{away}");
    assert!(codec.learn(&encoded(&codec, RecordKind::Lab)).is_ok());
}

fn decode_lab(codec: &Codec, record: &[u8]) -> String {
    codec.decode_input(Topic::Lab, Some(b"30000001"), record).unwrap_err().detail
}

/// An older lab says nothing of its unit or specimen; what it measured is the same.
fn same_but_for_defaults(old: &Decoded, said: &Decoded) -> bool {
    match (old, said) {
        (Decoded::Fact(old), Decoded::Fact(said)) => {
            let variable = |body: &FactBody| match body {
                FactBody::Observed(observation) => Some(observation.variable()),
                _ => None,
            };
            (old.id, old.stay, old.observed_at) == (said.id, said.stay, said.observed_at)
                && variable(&old.body) == variable(&said.body)
        }
        (Decoded::Film { meta: old, .. }, Decoded::Film { meta: said, .. }) => {
            (old.id, old.view, old.observed_at) == (said.id, said.view, said.observed_at)
        }
        (old, said) => old == said,
    }
}
