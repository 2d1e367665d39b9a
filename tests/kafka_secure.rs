//! The service on a broker that checks who is there and what he may do: SASL, TLS, least rights.
//! Runs when `NOWCXR_KAFKA_SECURE_DIR` names the directory of a broker started like this:
//!
//! ```sh
//! export NOWCXR_KAFKA_SECURE_DIR=$(mktemp -d)
//! NOWCXR_KAFKA_SECURE=1 .ci/kafka start $NOWCXR_KAFKA_SECURE_DIR
//! cargo test --release --test kafka_secure; .ci/kafka wipe $NOWCXR_KAFKA_SECURE_DIR
//! ```
//!
//! SCRAM and TLS need the cargo feature `tls`.

#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use nowcxr::synth::{WardOptions, write_ward};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

const LONG: Duration = Duration::from_secs(60);

/// The broker's directory and one test's names.
struct Place {
    dir: PathBuf,
    /// The plain listener, by which one may do everything.
    plain: String,
    prefix: String,
    work: tempfile::TempDir,
}

fn place(test: &str) -> Option<Place> {
    let Some(dir) = std::env::var_os("NOWCXR_KAFKA_SECURE_DIR").map(PathBuf::from) else {
        println!("skipped: NOWCXR_KAFKA_SECURE_DIR is not set; see the head of this file");
        return None;
    };
    let properties = std::fs::read_to_string(dir.join("server.properties")).unwrap();
    let listeners = properties.lines().find_map(|line| line.strip_prefix("advertised.listeners="));
    let plain = listeners.unwrap().split(',').next().unwrap();
    let plain = plain.strip_prefix("PLAINTEXT://").unwrap().to_owned();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
    let prefix = format!("{test}-{}-{now}.", std::process::id());
    Some(Place { dir, plain, prefix, work: tempfile::tempdir().unwrap() })
}

impl Place {
    fn secret(&self, name: &str) -> PathBuf {
        self.dir.join("secure").join(name)
    }

    fn address(&self, listener: &str) -> String {
        std::fs::read_to_string(self.secret(listener)).unwrap().trim().to_owned()
    }

    fn group(&self) -> &str {
        self.prefix.trim_end_matches('.')
    }

    /// The binary as a user who comes by `listener`, or by the plain one as nobody.
    fn nowcxr(&self, command: &str, who: Option<(&str, &str)>) -> Command {
        let mut nowcxr = Command::new(env!("CARGO_BIN_EXE_nowcxr"));
        nowcxr.current_dir(self.work.path()).arg(command);
        let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/demo");
        let broker = who.map_or_else(|| self.plain.clone(), |(_, listener)| self.address(listener));
        for (key, value) in [
            ("kafka.brokers", broker.as_str()),
            ("kafka.prefix", &self.prefix),
            ("kafka.group", self.group()),
            ("kafka.clock", "replay"),
            ("kafka.partitions", "2"),
            ("predict.model", &model.display().to_string()),
            ("engine.every", "6h"),
            ("http.listen", "off"),
        ] {
            nowcxr.args(["--set", &format!("{key}={value}")]);
        }
        if let Some((user, listener)) = who {
            let set = |path: String| ["--set".to_owned(), path];
            let properties = self.properties(user, listener);
            nowcxr.args(set(format!("kafka.properties={properties}")));
            let secret = self.secret(user).display().to_string();
            nowcxr.args(set(format!("kafka.secrets={{ \"sasl.password\" = \"{secret}\" }}")));
            nowcxr.args(["--set", "kafka.create_topics=false"]);
        }
        nowcxr
    }

    fn properties(&self, user: &str, listener: &str) -> String {
        let name = format!("\"sasl.username\" = \"{user}\"");
        match listener {
            "sasl" => format!(
                "{{ \"security.protocol\" = \"sasl_plaintext\", \"sasl.mechanism\" = \"PLAIN\", \
                 {name} }}"
            ),
            _ => format!(
                "{{ \"security.protocol\" = \"sasl_ssl\", \"sasl.mechanism\" = \
                 \"SCRAM-SHA-512\", \"ssl.ca.location\" = \"{}\", {name} }}",
                self.secret("ca.pem").display()
            ),
        }
    }

    /// Creates the topics and gives service and feeder their rights, as the command prints them.
    fn prepare(&self) {
        succeed(self.nowcxr("topics", None).arg("create").output().unwrap());
        let mut acls = self.nowcxr("topics", None);
        acls.args(["acls", "--service", "User:service", "--feeder", "User:feeder"]);
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join(".ci/kafka");
        for line in succeed(acls.output().unwrap()).lines() {
            if !line.contains("User:service") && !line.contains("User:feeder") {
                continue;
            }
            let mut tool = Command::new(&script);
            tool.arg("tool").arg(&self.dir).args(["--", "org.apache.kafka.tools.AclCommand"]);
            tool.args(["--bootstrap-server", &self.plain]).args(line.split(' '));
            succeed(tool.output().unwrap());
        }
    }

    fn replay(&self, to: &str, who: Option<(&str, &str)>) {
        let mut replay = self.nowcxr("replay", who);
        replay.args(["--mimic-iv", "ward/mimiciv", "--to", to, "--out", "local", "--json"]);
        succeed(replay.output().unwrap());
    }
}

fn succeed(output: Output) -> String {
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}\n{errors}", output.status);
    String::from_utf8(output.stdout).unwrap()
}

/// What becomes of an attempt to read a topic's first record as `user`.
fn read_as(place: &Place, user: &str, topic: &str) -> Result<(), RDKafkaErrorCode> {
    let password = std::fs::read_to_string(place.secret(user)).unwrap();
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", place.address("sasl"))
        .set("security.protocol", "sasl_plaintext")
        .set("sasl.mechanism", "PLAIN")
        .set("sasl.username", user)
        .set("sasl.password", password.trim())
        .set("group.id", place.group())
        .create()
        .unwrap();
    let mut list = TopicPartitionList::new();
    for partition in 0..2 {
        list.add_partition_offset(topic, partition, Offset::Beginning).unwrap();
    }
    consumer.assign(&list).unwrap();
    let started = Instant::now();
    while started.elapsed() < LONG {
        match consumer.poll(Duration::from_millis(200)) {
            Some(Ok(_)) => return Ok(()),
            Some(Err(error)) => return Err(error.rdkafka_error_code().unwrap()),
            None => {}
        }
    }
    panic!("neither a record of {topic} nor a refusal came within {LONG:?}");
}

#[test]
fn the_service_runs_with_the_least_rights_and_cannot_read_a_label() {
    let Some(place) = place("rights") else { return };
    let options = WardOptions { patients: 2, seed: 5, ..WardOptions::default() };
    write_ward(&options, &place.work.path().join("ward"), &mut |_, _| {}).unwrap();
    place.prepare();
    place.replay("kafka", Some(("feeder", "sasl")));
    place.replay("local", None);
    let mut run = place.nowcxr("run", Some(("service", "sasl")));
    let summary = succeed(run.args(["--until-idle", "3"]).output().unwrap());
    let summary: serde_json::Value = serde_json::from_str(&summary).unwrap();
    let local = std::fs::read_to_string(place.work.path().join("local/risk.jsonl")).unwrap();
    let events = summary["risk_events"].as_object().unwrap().values();
    let events: u64 = events.map(|n| n.as_u64().unwrap()).sum();
    assert_eq!(events, local.lines().count() as u64);

    let refused = Err(RDKafkaErrorCode::TopicAuthorizationFailed);
    let name = |topic: &str| format!("{}{topic}", place.prefix);
    assert_eq!(read_as(&place, "service", &name("lab")), Ok(()));
    assert_eq!(read_as(&place, "service", &name("label")), refused, "labels reach the service");
    assert_eq!(read_as(&place, "feeder", &name("label")), refused, "who writes need not read");
    assert_eq!(read_as(&place, "service", &name("risk")), refused);
}

#[test]
fn a_wrong_password_says_what_to_do_and_is_not_printed() {
    let Some(place) = place("wrong") else { return };
    let wrong = place.work.path().join("password");
    std::fs::write(&wrong, "hunter2\n").unwrap();
    let mut topics = place.nowcxr("topics", Some(("service", "sasl")));
    let secrets = format!("kafka.secrets={{ \"sasl.password\" = \"{}\" }}", wrong.display());
    let output = topics.args(["--set", &secrets, "check"]).output().unwrap();
    let said = [&output.stderr[..], &output.stdout].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(!output.status.success());
    assert!(said.contains("check user, secret and certificates"), "{said}");
    assert!(!said.contains("hunter2"), "{said}");
}

#[test]
fn scram_over_tls_opens_the_same_doors() {
    let Some(place) = place("tls") else { return };
    if !cfg!(feature = "tls") {
        println!("skipped: this build knows no TLS; give cargo --features tls");
        return;
    }
    place.prepare();
    let mut topics = place.nowcxr("topics", Some(("service", "tls")));
    let said = succeed(topics.args(["check", "--json"]).output().unwrap());
    assert!(said.lines().count() >= 10, "{said}");
    // A certificate that nobody has signed for is not believed.
    let mut topics = place.nowcxr("topics", Some(("service", "tls")));
    let properties = place.properties("service", "tls").replace("ca.pem", "service");
    topics.args(["--set", &format!("kafka.properties={properties}"), "check"]);
    assert!(!topics.output().unwrap().status.success());
}
