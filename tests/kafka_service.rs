//! The service over a real broker, by its binary: the same ward told through Kafka and through the
//! local log gives the same risk events, also across a kill and on a node without its state. Runs
//! when `NOWCXR_KAFKA` holds a broker's address:
//!
//! ```sh
//! NOWCXR_KAFKA=$(.ci/kafka start) cargo test --release --test kafka_service; .ci/kafka stop
//! ```

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use nowcxr::ports::OutputKind;
use nowcxr::synth::{WardOptions, write_ward};
use nowcxr::transport::kafka::KafkaSettings;
use nowcxr::transport::local::{LocalLog, LogOptions, outputs};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::Message;
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

const LONG: Duration = Duration::from_secs(120);

/// One test's names in the cluster, its directory and its ward.
struct Place {
    dir: tempfile::TempDir,
    broker: String,
    model: PathBuf,
    prefix: String,
}

/// `None`, with the reason printed, where there is no broker or no model.
fn place(test: &str, patients: u64) -> Option<Place> {
    let Ok(broker) = std::env::var("NOWCXR_KAFKA") else {
        println!("skipped: NOWCXR_KAFKA is not set; start a broker with .ci/kafka start");
        return None;
    };
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/demo");
    let model = std::env::var_os("NOWCXR_MODEL").map_or(shipped, PathBuf::from);
    if !model.exists() {
        println!("skipped: there is no model in {}", model.display());
        return None;
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
    let prefix = format!("{test}-{}-{now}.", std::process::id());
    let dir = tempfile::tempdir().unwrap();
    let options = WardOptions { patients, seed: 5, ..WardOptions::default() };
    write_ward(&options, &dir.path().join("ward"), &mut |_, _| {}).unwrap();
    Some(Place { dir, broker, model, prefix })
}

impl Place {
    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The binary with this test's settings; `node` names a state directory.
    fn nowcxr(&self, command: &str, node: &str) -> Command {
        let mut nowcxr = Command::new(env!("CARGO_BIN_EXE_nowcxr"));
        nowcxr.current_dir(self.dir.path()).arg(command);
        let group = self.prefix.trim_end_matches('.');
        for (key, value) in [
            ("kafka.brokers", self.broker.as_str()),
            ("kafka.prefix", &self.prefix),
            ("kafka.group", group),
            ("kafka.clock", "replay"),
            ("kafka.partitions", "2"),
            ("store.dir", &self.path(node).display().to_string()),
            ("predict.model", &self.model.display().to_string()),
            // Here a slow machine must not show in the payloads.
            ("predict.deadline", "1h"),
            ("http.listen", "off"),
        ] {
            nowcxr.args(["--set", &format!("{key}={value}")]);
        }
        nowcxr.stdout(Stdio::piped()).stderr(Stdio::piped());
        nowcxr
    }

    fn replay(&self, to: &str) {
        let mut replay = self.nowcxr("replay", "unused");
        replay.args(["--mimic-iv", "ward/mimiciv", "--mimic-cxr", "ward/mimic-cxr-jpg"]);
        succeed(replay.args(["--to", to, "--out", "local"]).output().unwrap());
    }

    fn run_to_idle(&self, node: &str) -> String {
        let output = self.nowcxr("run", node).args(["--until-idle", "3"]).output().unwrap();
        succeed(output)
    }

    /// Payloads of the risk events in the local log, sorted.
    fn local_risks(&self) -> Vec<Vec<u8>> {
        let log = LocalLog::open(self.path("local/log"), LogOptions::default()).unwrap();
        let stored = outputs(&log, OutputKind::Risk, 0).unwrap();
        let mut risks: Vec<Vec<u8>> =
            stored.map(|output| output.unwrap().payload.to_vec()).collect();
        risks.sort();
        risks
    }

    /// Payloads of the risk events in Kafka as they came.
    fn kafka_risks(&self) -> Vec<Vec<u8>> {
        Reader::of(&self.broker, &self.risk_topic()).to_end()
    }

    fn risk_topic(&self) -> String {
        let settings = KafkaSettings {
            prefix: self.prefix.clone(),
            ..KafkaSettings::new(self.broker.as_str())
        };
        settings.output(OutputKind::Risk)
    }

    fn sorted_kafka_risks(&self) -> Vec<Vec<u8>> {
        let mut risks = self.kafka_risks();
        risks.sort();
        risks
    }
}

fn succeed(output: Output) -> String {
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}\n{errors}", output.status);
    String::from_utf8(output.stdout).unwrap()
}

/// Another program that reads a topic from its start.
struct Reader {
    consumer: BaseConsumer,
    partitions: usize,
}

impl Reader {
    fn of(broker: &str, topic: &str) -> Self {
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", broker)
            .set("group.id", "reader")
            .set("enable.partition.eof", "true")
            .create()
            .unwrap();
        let metadata = consumer.fetch_metadata(Some(topic), LONG).unwrap();
        let partitions = metadata.topics()[0].partitions().len();
        let mut list = TopicPartitionList::new();
        for partition in 0..partitions {
            list.add_partition_offset(topic, partition as i32, Offset::Beginning).unwrap();
        }
        consumer.assign(&list).unwrap();
        Reader { consumer, partitions }
    }

    /// The next payload; `None` when nothing came for a while or a partition's end was reached.
    fn next(&self, ended: &mut usize) -> Option<Vec<u8>> {
        match self.consumer.poll(Duration::from_millis(100))? {
            Ok(message) => Some(message.payload().unwrap().to_vec()),
            Err(KafkaError::PartitionEOF(_)) => {
                *ended += 1;
                None
            }
            Err(error) => panic!("{error}"),
        }
    }

    fn to_end(&self) -> Vec<Vec<u8>> {
        let (mut payloads, mut ended, start) = (Vec::new(), 0, Instant::now());
        while ended < self.partitions && start.elapsed() < LONG {
            payloads.extend(self.next(&mut ended));
        }
        assert_eq!(ended, self.partitions);
        payloads
    }
}

/// The counts of a summary, which are a part of the state.
fn counted(summary: &str) -> serde_json::Value {
    let mut summary: serde_json::Value = serde_json::from_str(summary).unwrap();
    summary.as_object_mut().unwrap().remove("wall_s");
    summary
}

/// Waits until `some` different risk events have left, then sends the signal.
fn signal_after(place: &Place, mut service: Child, signal: &str, some: usize) -> Output {
    let reader = Reader::of(&place.broker, &place.risk_topic());
    let (mut seen, start) = (BTreeSet::new(), Instant::now());
    while seen.len() < some {
        assert!(start.elapsed() < LONG, "{some} risk events within {LONG:?}");
        let ended = service.try_wait().unwrap();
        assert!(ended.is_none(), "the service ended by itself: {ended:?}");
        seen.extend(reader.next(&mut 0));
    }
    let pid = service.id().to_string();
    assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
    service.wait_with_output().unwrap()
}

#[test]
fn kafka_and_the_local_log_give_the_same_risk_events() {
    let Some(place) = place("same", 3) else { return };
    place.replay("local");
    let expected = place.local_risks();
    assert!(expected.len() > 100, "only {} risk events", expected.len());
    place.replay("kafka");
    let summary = place.run_to_idle("a");
    assert!(summary.contains(r#""windows":"#), "{summary}");
    let told = place.sorted_kafka_risks();
    assert!(told == expected, "{} risk events, not {}", told.len(), expected.len());

    // Another node that takes over without the state: it has all of it from the changelog, and
    // nothing is left to say.
    let begun = Instant::now();
    let again = place.run_to_idle("b");
    println!("restored and idle in {:?}: {}", begun.elapsed(), again.trim());
    assert_eq!(place.kafka_risks().len(), expected.len());
    assert_eq!(counted(&again), counted(&summary));
}

#[test]
fn a_stop_and_a_kill_change_no_risk_event() {
    let Some(place) = place("kill", 6) else { return };
    place.replay("local");
    let expected = place.local_risks();
    place.replay("kafka");

    // A name that survives a kill: without it the group waits for the session's end.
    let run = || {
        let mut run = place.nowcxr("run", "a");
        run.args(["--set", "kafka.instance=a"]);
        run
    };
    let service = run().spawn().unwrap();
    let stopped = signal_after(&place, service, "-TERM", 10);
    assert!(stopped.status.success(), "{}", String::from_utf8_lossy(&stopped.stderr));
    let n_stopped = place.sorted_kafka_risks().len();
    assert!(n_stopped < expected.len(), "it was stopped too late to tell");

    let service = run().spawn().unwrap();
    let killed = signal_after(&place, service, "-KILL", n_stopped + 10);
    assert!(!killed.status.success());
    let n_killed = place.sorted_kafka_risks().len();
    assert!(n_killed < expected.len(), "it was killed too late to tell");

    succeed(run().args(["--until-idle", "3"]).output().unwrap());
    assert!(place.sorted_kafka_risks() == expected);
}
