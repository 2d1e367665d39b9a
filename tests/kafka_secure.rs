//! The service on a broker that checks who is there and what he may do: SASL, TLS, tokens, least
//! rights.
//! Runs when `NOWCXR_KAFKA_SECURE_DIR` names the directory of a broker started like this:
//!
//! ```sh
//! export NOWCXR_KAFKA_SECURE_DIR=$(mktemp -d)
//! NOWCXR_KAFKA_SECURE=1 .ci/kafka start $NOWCXR_KAFKA_SECURE_DIR
//! cargo test --release --test kafka_secure; .ci/kafka wipe $NOWCXR_KAFKA_SECURE_DIR
//! ```
//!
//! SCRAM, tokens and TLS need a program with the cargo feature `tls`: this build's, or the one that
//! `NOWCXR_TLS_PROGRAM` names.

#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use nowcxr::synth::{WardOptions, write_ward};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

const LONG: Duration = Duration::from_secs(60);
/// What is wrong is told within so long, also on a machine that is busy. A question that goes
/// unanswered is given up after 10 s; loading the model comes on top.
const TOLD: Duration = Duration::from_secs(30);

/// The broker's directory and one test's names.
struct Place {
    program: PathBuf,
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
    let program = PathBuf::from(env!("CARGO_BIN_EXE_nowcxr"));
    Some(Place { program, dir, plain, prefix, work: tempfile::tempdir().unwrap() })
}

/// The same with a program that knows TLS.
fn tls_place(test: &str) -> Option<Place> {
    let place = place(test)?;
    if cfg!(feature = "tls") {
        return Some(place);
    }
    let Some(program) = std::env::var_os("NOWCXR_TLS_PROGRAM").map(PathBuf::from) else {
        println!("skipped: this build knows no TLS and NOWCXR_TLS_PROGRAM names none that does");
        return None;
    };
    Some(Place { program, ..place })
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
        let mut nowcxr = Command::new(&self.program);
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
        self.create();
        for user in ["User:service", "User:feeder"] {
            self.rights_of(user).iter().for_each(|line| self.acl(line));
        }
    }

    fn create(&self) {
        succeed(self.nowcxr("topics", None).arg("create").output().unwrap());
    }

    /// The lines that the command prints for a user, for Kafka's kafka-acls.sh.
    fn rights_of(&self, user: &str) -> Vec<String> {
        let mut acls = self.nowcxr("topics", None);
        acls.args(["acls", "--service", "User:service", "--feeder", "User:feeder"]);
        let printed = succeed(acls.output().unwrap());
        printed.lines().filter(|line| line.contains(user)).map(str::to_owned).collect()
    }

    fn acl(&self, line: &str) {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join(".ci/kafka");
        let mut tool = Command::new(script);
        tool.arg("tool").arg(&self.dir).args(["--", "org.apache.kafka.tools.AclCommand"]);
        tool.args(["--bootstrap-server", &self.plain]).args(line.split(' '));
        succeed(tool.output().unwrap());
    }

    fn replay(&self, to: &str, who: Option<(&str, &str)>) {
        let mut replay = self.nowcxr("replay", who);
        replay.args(["--mimic-iv", "ward/mimiciv", "--to", to, "--out", "local", "--json"]);
        succeed(replay.output().unwrap());
    }
}

/// What a command says that is to fail, and soon.
fn refused(command: &mut Command) -> String {
    let started = Instant::now();
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    while child.try_wait().unwrap().is_none() {
        if started.elapsed() > TOLD {
            child.kill().unwrap();
            let said = child.wait_with_output().unwrap();
            panic!("it still runs: {}", String::from_utf8_lossy(&said.stderr));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let output = child.wait_with_output().unwrap();
    let said = [&output.stderr[..], &output.stdout].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    assert!(!output.status.success(), "{said}");
    println!("told after {:?}: {}", started.elapsed(), said.lines().last().unwrap_or_default());
    said
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
    // Of a topic that is hidden from its user an assigned consumer hears nothing for ever.
    let metadata = consumer.fetch_metadata(Some(topic), LONG).unwrap();
    if let Some(error) = metadata.topics()[0].error() {
        return Err(error.into());
    }
    consumer.assign(&list).unwrap();
    let started = Instant::now();
    while started.elapsed() < LONG {
        let polled = consumer.poll(Duration::from_millis(200));
        match polled.map(|result| result.map_err(|error| error.rdkafka_error_code().unwrap())) {
            Some(Ok(_)) => return Ok(()),
            // That of the group, to which it does not belong.
            Some(Err(RDKafkaErrorCode::GroupAuthorizationFailed)) | None => {}
            Some(Err(code)) => return Err(code),
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
fn each_right_that_is_missing_is_named() {
    let Some(place) = place("missing") else { return };
    let options = WardOptions { patients: 1, seed: 6, ..WardOptions::default() };
    write_ward(&options, &place.work.path().join("ward"), &mut |_, _| {}).unwrap();
    place.create();
    place.replay("kafka", None);
    let rights = place.rights_of("User:service");
    let right = |what: &str| rights.iter().find(|line| line.contains(what)).unwrap();
    let (inputs, outputs) = (right(&format!("{}lab", place.prefix)), right(".risk"));
    let remove = |line: &str| place.acl(&line.replace("--add", "--remove --force"));
    let run = || {
        let mut run = place.nowcxr("run", Some(("service", "sasl")));
        run.args(["--until-idle", "5"]);
        run
    };
    let missing = |words: [&str; 2]| {
        let said = refused(&mut run());
        let told = words.iter().all(|word| said.contains(word));
        assert!(told && said.contains("`nowcxr topics acls` prints"), "{words:?}: {said}");
    };

    missing(["hidden from this user", &format!("{}lab", place.prefix)]);
    rights.iter().filter(|line| line.contains("--topic")).for_each(|line| place.acl(line));
    missing(["GroupAuthorizationFailed", "kafka.group"]);
    place.acl(right("--group"));
    missing(["TransactionalIdAuthorizationFailed", "transactional ids"]);
    place.acl(right("--transactional-id"));
    // Who may see a topic need not be allowed to read or write it.
    for (line, operation, doing) in [
        (inputs, "--operation Read", "reading kafka topics"),
        (outputs, "--operation Write", "a transaction failed"),
    ] {
        remove(line);
        place.acl(&line.replace(operation, "--operation Describe"));
        missing(["TopicAuthorizationFailed", doing]);
        place.acl(line);
    }
    succeed(run().output().unwrap());
}

#[test]
fn a_wrong_password_says_what_to_do_and_is_not_printed() {
    let Some(place) = place("wrong") else { return };
    let wrong = place.work.path().join("password");
    std::fs::write(&wrong, "hunter2\n").unwrap();
    let secrets = format!("kafka.secrets={{ \"sasl.password\" = \"{}\" }}", wrong.display());
    for user in ["service", "nobody"] {
        for words in [&["topics", "check"][..], &["run"]] {
            let mut command = place.nowcxr(words[0], Some((user, "sasl")));
            let said = refused(command.args(["--set", &secrets]).args(&words[1..]));
            assert!(said.contains("Invalid username or password"), "{said}");
            assert!(said.contains("check sasl.mechanism, sasl.username"), "{said}");
            assert!(!said.contains("hunter2"), "{said}");
        }
    }
}

#[test]
fn the_wrong_listener_is_guessed_at() {
    let Some(place) = place("listener") else { return };
    let mut topics = place.nowcxr("topics", Some(("service", "sasl")));
    topics.args(["--set", &format!("kafka.brokers={}", place.address("tls")), "check"]);
    let said = refused(&mut topics);
    assert!(said.contains("security.protocol under kafka.properties"), "{said}");
}

#[test]
fn scram_over_tls_opens_the_same_doors() {
    let Some(place) = tls_place("tls") else { return };
    place.prepare();
    let mut topics = place.nowcxr("topics", Some(("service", "tls")));
    let said = succeed(topics.args(["check", "--json"]).output().unwrap());
    assert!(said.lines().count() >= 10, "{said}");
    // The service sees the settings of its own topics alone, and nothing of the labels.
    assert_eq!(said.matches("does not show this user its settings").count(), 9, "{said}");
    assert!(said.lines().any(|line| line.contains(".label") && line.contains(r#""findings":[]"#)));
    let mut run = place.nowcxr("run", Some(("service", "tls")));
    succeed(run.args(["--until-idle", "1"]).output().unwrap());

    let wrong = place.work.path().join("password");
    std::fs::write(&wrong, "hunter2\n").unwrap();
    let secrets = format!("kafka.secrets={{ \"sasl.password\" = \"{}\" }}", wrong.display());
    let mut topics = place.nowcxr("topics", Some(("service", "tls")));
    let said = refused(topics.args(["--set", &secrets, "check"]));
    assert!(said.contains("check sasl.mechanism, sasl.username"), "{said}");
    assert!(!said.contains("hunter2"), "{said}");
}

/// A token as the broker of these tests takes it, which looks at no signature.
fn token(user: &str, expires: i64) -> String {
    let part = |claims: String| URL_SAFE_NO_PAD.encode(claims);
    let head = part(r#"{"alg":"none"}"#.to_owned());
    format!("{head}.{}.", part(format!(r#"{{"sub":"{user}","exp":{expires}}}"#)))
}

impl Place {
    /// The binary as a user who comes with a token, which lies in a file or in the environment.
    fn with_token(&self, command: &str, user: &str, expires: i64) -> Command {
        let mut nowcxr = self.nowcxr(command, None);
        let token = token(user, expires);
        let place = match user {
            "service" => {
                let file = self.work.path().join("token");
                std::fs::write(&file, format!("{token}\n")).unwrap();
                file.display().to_string()
            }
            _ => {
                nowcxr.env("NOWCXR_TEST_TOKEN", token);
                "env:NOWCXR_TEST_TOKEN".to_owned()
            }
        };
        nowcxr.args(["--set", &format!("kafka.token={place}")]);
        nowcxr.args(["--set", &format!("kafka.brokers={}", self.address("sasl"))]);
        let properties = "kafka.properties={ \"security.protocol\" = \"sasl_plaintext\" }";
        nowcxr.args(["--set", properties, "--set", "kafka.create_topics=false"]);
        nowcxr
    }
}

#[test]
fn a_token_opens_the_same_doors() {
    let Some(place) = tls_place("token") else { return };
    let options = WardOptions { patients: 1, seed: 7, ..WardOptions::default() };
    write_ward(&options, &place.work.path().join("ward"), &mut |_, _| {}).unwrap();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() as i64;
    let later = now + 3_600;
    // What a token cannot do is said: topics are made and looked into by others.
    let said = refused(place.with_token("topics", "service", later).arg("create"));
    assert!(said.contains("kafka.token") && said.contains("as a user with a password"), "{said}");
    place.prepare();
    let mut replay = place.with_token("replay", "feeder", later);
    replay.args(["--mimic-iv", "ward/mimiciv", "--to", "kafka", "--out", "local", "--json"]);
    succeed(replay.output().unwrap());
    place.replay("local", None);
    let run = |expires: i64| {
        let mut run = place.with_token("run", "service", expires);
        run.args(["--until-idle", "8"]).stdout(Stdio::piped()).stderr(Stdio::piped());
        run
    };
    // Its first token expires while it runs, and another has come in its place by then.
    let first = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() as i64 + 8;
    let service = run(first).spawn().unwrap();
    std::thread::sleep(Duration::from_secs(3));
    drop(run(later));
    let summary = succeed(service.wait_with_output().unwrap());
    let summary: serde_json::Value = serde_json::from_str(&summary).unwrap();
    let events = summary["risk_events"].as_object().unwrap().values();
    let local = std::fs::read_to_string(place.work.path().join("local/risk.jsonl")).unwrap();
    assert_eq!(events.map(|n| n.as_u64().unwrap()).sum::<u64>(), local.lines().count() as u64);
    // It restores itself by a token as well, and `topics check` says what it could not see.
    std::fs::remove_dir_all(place.work.path().join("nowcxr-data/store")).unwrap();
    succeed(run(later).output().unwrap());
    let mut check = place.with_token("topics", "service", later);
    let said = succeed(check.args(["check", "--json"]).output().unwrap());
    assert!(said.contains("does not show this user its settings"), "{said}");

    let said = refused(&mut run(now - 1));
    assert!(said.contains("the token of kafka.token has expired"), "{said}");
    assert!(!said.contains(&token("service", now - 1)), "{said}");
    let said = refused(&mut place.with_token("run", "nobody", later));
    assert!(said.contains("`nowcxr topics acls` prints"), "{said}");
}

#[test]
fn a_broker_that_may_be_another_is_not_believed() {
    let Some(place) = tls_place("doubt") else { return };
    let advice = "ssl.ca.location under kafka.properties";
    // A certificate that somebody else has signed.
    let other = place.work.path().join("other.p12");
    let keytool = |words: &str| {
        let mut keytool = Command::new("keytool");
        keytool.args(words.split(' ')).arg("-keystore").arg(&other);
        succeed(keytool.args(["-storepass", "changeit"]).output().unwrap())
    };
    keytool("-genkeypair -alias other -keyalg RSA -storetype PKCS12 -dname CN=other");
    let certificate = place.work.path().join("other.pem");
    std::fs::write(&certificate, keytool("-exportcert -rfc -alias other")).unwrap();
    let mut topics = place.nowcxr("topics", Some(("service", "tls")));
    let ours = place.secret("ca.pem").display().to_string();
    let properties = place.properties("service", "tls");
    let properties = properties.replace(&ours, &certificate.display().to_string());
    topics.args(["--set", &format!("kafka.properties={properties}"), "check"]);
    let said = refused(&mut topics);
    assert!(said.contains("its issuer is unknown") && said.contains(advice), "{said}");

    // Another spelling of the address, which the certificate does not know.
    let mut topics = place.nowcxr("topics", Some(("service", "tls")));
    let address = place.address("tls").replace("127.0.0.1", "127.1");
    topics.args(["--set", &format!("kafka.brokers={address}"), "check"]);
    let said = refused(&mut topics);
    assert!(said.contains("its names are not the one") && said.contains(advice), "{said}");
}
