//! What the tests of the service share: a ward, the names of one test in the cluster, the binary,
//! and another program's look at the risk events.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use nowcxr::ports::OutputKind;
use nowcxr::synth::{WardOptions, write_ward};
use nowcxr::transport::kafka::KafkaSettings;
use nowcxr::transport::local::{LocalLog, LogOptions, outputs};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::Message;
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

pub const LONG: Duration = Duration::from_secs(120);

/// One test's names in the cluster, its directory and its ward.
#[derive(Clone)]
pub struct Place {
    pub dir: Arc<tempfile::TempDir>,
    pub broker: String,
    /// The binary that is tested.
    program: PathBuf,
    model: PathBuf,
    pub prefix: String,
}

/// `None`, with the reason printed, where there is no broker or no model.
pub fn place(test: &str, patients: u64) -> Option<Place> {
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
    let dir = Arc::new(tempfile::tempdir().unwrap());
    let options = WardOptions { patients, seed: 5, ..WardOptions::default() };
    write_ward(&options, &dir.path().join("ward"), &mut |_, _| {}).unwrap();
    let program = PathBuf::from(env!("CARGO_BIN_EXE_nowcxr"));
    Some(Place { dir, broker, program, model, prefix })
}

impl Place {
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn model(&self) -> &Path {
        &self.model
    }

    /// The binary with this test's settings; `node` names a state directory.
    pub fn nowcxr(&self, command: &str, node: &str) -> Command {
        let mut nowcxr = Command::new(&self.program);
        nowcxr.current_dir(self.dir.path()).arg(command);
        let group = self.group();
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

    pub fn group(&self) -> &str {
        self.prefix.trim_end_matches('.')
    }

    /// The same ward under other names, on the cluster at `broker`.
    pub fn named(&self, test: &str, broker: &str) -> Place {
        let prefix = format!("{test}-{}", self.prefix);
        Place { broker: broker.to_owned(), prefix, ..self.clone() }
    }

    /// The same under another program.
    pub fn by(&self, program: PathBuf) -> Place {
        Place { program, ..self.clone() }
    }

    /// The service on `node`, its log lines added to those of its earlier runs.
    pub fn service(&self, node: &str) -> Command {
        let log = format!("{}{node}.log", self.prefix);
        let log = File::options().create(true).append(true).open(self.path(&log)).unwrap();
        let mut run = self.nowcxr("run", &format!("{}{node}", self.prefix));
        run.stdout(Stdio::null()).stderr(log);
        run
    }

    pub fn replay(&self, to: &str) {
        let mut replay = self.nowcxr("replay", "unused");
        replay.args(["--mimic-iv", "ward/mimiciv", "--mimic-cxr", "ward/mimic-cxr-jpg"]);
        succeed(replay.args(["--to", to, "--out", "local"]).output().unwrap());
    }

    pub fn run_to_idle(&self, node: &str) -> String {
        let output = self.nowcxr("run", node).args(["--until-idle", "3"]).output().unwrap();
        succeed(output)
    }

    /// Payloads of the risk events in the local log, sorted.
    pub fn local_risks(&self) -> Vec<Vec<u8>> {
        let log = LocalLog::open(self.path("local/log"), LogOptions::default()).unwrap();
        let stored = outputs(&log, OutputKind::Risk, 0).unwrap();
        let mut risks: Vec<Vec<u8>> =
            stored.map(|output| output.unwrap().payload.to_vec()).collect();
        risks.sort();
        risks
    }

    /// Payloads of the risk events that are committed in Kafka now, as they came.
    pub fn kafka_risks(&self) -> Vec<Vec<u8>> {
        Reader::of(&self.broker, &self.risk_topic()).all()
    }

    pub fn risk_topic(&self) -> String {
        let settings = KafkaSettings {
            prefix: self.prefix.clone(),
            ..KafkaSettings::new(self.broker.as_str())
        };
        settings.output(OutputKind::Risk)
    }

    /// The same, sorted, when nobody is about to commit more.
    pub fn sorted_kafka_risks(&self) -> Vec<Vec<u8>> {
        let mut risks = Reader::of(&self.broker, &self.risk_topic()).all_settled();
        risks.sort();
        risks
    }
}

pub fn succeed(output: Output) -> String {
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}\n{errors}", output.status);
    String::from_utf8(output.stdout).unwrap()
}

/// The service, which does not outlive a test that fails.
pub struct Service(pub Child);

impl Drop for Service {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// A port of this machine that nobody listens on.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// The status and the text of a page of the service at `port`; 0 where nobody answers.
pub fn page(port: u16, path: &str) -> (u16, String) {
    let mut answer = String::new();
    let asked = TcpStream::connect(("127.0.0.1", port)).and_then(|mut stream| {
        stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n").as_bytes())?;
        stream.read_to_string(&mut answer)
    });
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok());
    (asked.ok().and(status).unwrap_or(0), answer)
}

/// Another program that reads a topic from its start.
pub struct Reader {
    consumer: BaseConsumer,
    /// Sees records of transactions that have not ended, too.
    uncommitted: BaseConsumer,
    topic: String,
    partitions: i32,
}

/// What a poll has brought.
enum Heard {
    Payload(i32, Vec<u8>),
    End(i32),
}

impl Reader {
    pub fn of(broker: &str, topic: &str) -> Self {
        let open = |isolation: &str| -> BaseConsumer {
            ClientConfig::new()
                .set("bootstrap.servers", broker)
                .set("group.id", "reader")
                .set("enable.partition.eof", "true")
                .set("isolation.level", isolation)
                .set("reconnect.backoff.max.ms", "500")
                .create()
                .unwrap()
        };
        let (consumer, uncommitted) = (open("read_committed"), open("read_uncommitted"));
        let metadata = consumer.fetch_metadata(Some(topic), LONG).unwrap();
        let partitions = metadata.topics()[0].partitions().len() as i32;
        let mut list = TopicPartitionList::new();
        for partition in 0..partitions {
            list.add_partition_offset(topic, partition, Offset::Beginning).unwrap();
        }
        consumer.assign(&list).unwrap();
        Reader { consumer, uncommitted, topic: topic.to_owned(), partitions }
    }

    /// The next payload and its partition; `None` when nothing came for a while.
    pub fn next(&self) -> Option<(i32, Vec<u8>)> {
        match self.poll()? {
            Heard::Payload(partition, payload) => Some((partition, payload)),
            Heard::End(_) => None,
        }
    }

    /// A broker that is away is waited for.
    fn poll(&self) -> Option<Heard> {
        match self.consumer.poll(Duration::from_millis(100))? {
            Ok(message) => {
                Some(Heard::Payload(message.partition(), message.payload().unwrap().to_vec()))
            }
            Err(KafkaError::PartitionEOF(partition)) => Some(Heard::End(partition)),
            Err(error) => {
                println!("the reader waits: {error}");
                None
            }
        }
    }

    /// All that is committed now. A partition may tell of more than one end while it grows.
    pub fn all(self) -> Vec<Vec<u8>> {
        let (mut payloads, mut ended, start) = (Vec::new(), BTreeSet::new(), Instant::now());
        while ended.len() < self.partitions as usize {
            assert!(start.elapsed() < LONG, "{}: only {ended:?} have ended", self.topic);
            match self.poll() {
                Some(Heard::Payload(_, payload)) => payloads.push(payload),
                Some(Heard::End(partition)) if !ended.insert(partition) => {
                    println!("{}: partition {partition} has ended once more", self.topic);
                }
                Some(Heard::End(_)) => {}
                None => {}
            }
        }
        payloads
    }

    /// As [`Reader::all`] once no transaction is open: a producer is told of its commit before
    /// the partitions are, so that a program may end with its last records not yet to be seen.
    pub fn all_settled(self) -> Vec<Vec<u8>> {
        let end = |consumer: &BaseConsumer, partition: i32| {
            consumer.fetch_watermarks(&self.topic, partition, LONG).unwrap().1
        };
        let start = Instant::now();
        while (0..self.partitions).any(|p| end(&self.consumer, p) < end(&self.uncommitted, p)) {
            assert!(start.elapsed() < LONG, "{}: a transaction stays open", self.topic);
        }
        println!("{}: its transactions had ended after {:.1?}", self.topic, start.elapsed());
        self.all()
    }
}
