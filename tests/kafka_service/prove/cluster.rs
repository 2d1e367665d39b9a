//! Two brokers and two copies of everything: the one that leads goes while the other stays, and
//! takes the coordinators with it; then both go.

use std::thread;
use std::time::{Duration, Instant};

use rand::RngExt as _;
use rdkafka::ClientConfig;
use rdkafka::TopicPartitionList;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::producer::{BaseProducer, Producer};

use super::super::place::{LONG, Place, succeed};
use super::trial::{Nodes, Trial, outages};
use super::{WARD, seed};

const GROUPS: &str = "__consumer_offsets";
const TRANSACTIONS: &str = "__transaction_state";
/// The number of the second broker, which is no controller.
const SECOND: i32 = 2;

/// The brokers that coordinate the group and the transactions of its first two tasks.
fn coordinators(brokers: &str, group: &str) -> [i32; 3] {
    let consumer: BaseConsumer =
        ClientConfig::new().set("bootstrap.servers", brokers).create().unwrap();
    let of = |topic: &str, id: &str| {
        let metadata = consumer.fetch_metadata(Some(topic), LONG).unwrap();
        let partitions = metadata.topics()[0].partitions();
        let at = java_hash(id) as usize % partitions.len();
        partitions.iter().find(|partition| partition.id() as usize == at).unwrap().leader()
    };
    let [first, second] = [0, 1].map(|task| of(TRANSACTIONS, &format!("{group}-{task}")));
    [of(GROUPS, group), first, second]
}

/// `String.hashCode` of Java without its sign, by which Kafka chooses a coordinator.
fn java_hash(text: &str) -> u32 {
    let add = |hash: u32, byte: u8| hash.wrapping_mul(31).wrapping_add(u32::from(byte));
    text.bytes().fold(0, add) & 0x7fff_ffff
}

/// Kafka makes its own topics when somebody first asks for a coordinator.
fn make_coordinators(brokers: &str) {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", brokers).set("group.id", "probe");
    let consumer: BaseConsumer = config.create().unwrap();
    let mut nothing = TopicPartitionList::new();
    nothing.add_partition("none", 0);
    drop(consumer.committed_offsets(nothing, LONG));
    let producer: BaseProducer = config.set("transactional.id", "probe").create().unwrap();
    producer.init_transactions(LONG).unwrap();
}

fn group(place: &Place) -> &str {
    place.prefix.trim_end_matches('.')
}

/// Names under which the second broker coordinates the group and the first task.
fn led_by_the_second(ward: &Place, brokers: &str) -> Place {
    make_coordinators(brokers);
    let mut names = (0..).map(|n| ward.named(&format!("cluster{n}"), brokers));
    let is_led = |place: &Place| coordinators(brokers, group(place))[..2] == [SECOND; 2];
    names.find(is_led).unwrap()
}

#[test]
fn a_leader_that_dies_beside_another_changes_nothing() {
    let Some((ward, expected)) = &*WARD else { return };
    let (nodes, mut rng) = (Nodes::new(), seed("cluster"));
    let (first, second) = (nodes.first(), nodes.second());
    let brokers = nodes.run("start", &first, &["2"]);
    let place = led_by_the_second(ward, &brokers);
    let mut topics = place.nowcxr("topics", "unused");
    succeed(topics.args(["--set", "kafka.replication=2", "create"]).output().unwrap());
    place.replay("kafka");
    let mut trial = Trial::begin("cluster", &place, &place);
    for seconds in outages(u64::MAX) {
        thread::sleep(Duration::from_millis(rng.random_range(500..3_000)));
        let before = coordinators(&brokers, group(&place));
        // In an orderly way, which hands leadership on, or by death, which leaves it to be missed.
        let how = if rng.random() { "-KILL" } else { "-TERM" };
        let gone = Instant::now();
        nodes.signal(&second, how);
        trial.resumes(&format!("{how} of the leader"), gone);
        let after = coordinators(&brokers, group(&place));
        println!("cluster: coordinators {before:?} before, {after:?} after");
        assert!(before.contains(&SECOND) && !after.contains(&SECOND), "none was moved");
        thread::sleep(Duration::from_secs(seconds).saturating_sub(gone.elapsed()));
        nodes.run("stop", &second, &[]);
        nodes.run("start", &second, &[]);
        trial.resumes(&format!("back after {seconds} s"), Instant::now());
        await_lead(&brokers, group(&place));
    }
    for dir in [&second, &first] {
        nodes.signal(dir, "-KILL");
    }
    thread::sleep(Duration::from_secs(outages(10).into_iter().max().unwrap_or(1)));
    for (command, dir) in
        [("stop", &first), ("stop", &second), ("start", &first), ("start", &second)]
    {
        nodes.run(command, dir, &[]);
    }
    trial.resumes("-KILL of both", Instant::now());
    trial.end(expected);
}

/// Waits until the second broker leads again what it led.
fn await_lead(brokers: &str, group: &str) {
    let started = Instant::now();
    while coordinators(brokers, group)[..2] != [SECOND; 2] {
        assert!(started.elapsed() < LONG, "the second broker never led again");
        thread::sleep(Duration::from_millis(200));
    }
}
