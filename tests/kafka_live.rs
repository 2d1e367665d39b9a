//! The Kafka transport against a real broker. Runs when `NOWCXR_KAFKA` holds its address:
//!
//! ```sh
//! NOWCXR_KAFKA=$(.ci/kafka start) cargo test --release --test kafka_live; .ci/kafka stop
//! ```

#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use nowcxr::ids::{Position, Topic};
use nowcxr::ports::{PortError, Source, SourceRecord};
use nowcxr::time::WallTime;
use nowcxr::transport::kafka::{
    AppendClock, Hold, KafkaGroup, KafkaSettings, KafkaSink, KafkaSource, check_topics,
    ensure_topics,
};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::Message;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

/// Longer than an unanswered request takes to be sent again, with room for a slow machine.
const LONG: Duration = Duration::from_secs(90);
const SHORT: Duration = Duration::from_millis(200);

/// Settings with topics that no other test uses, or `None` where there is no broker.
fn settings(test: &str) -> Option<KafkaSettings> {
    let Ok(bootstrap) = std::env::var("NOWCXR_KAFKA") else {
        println!("skipped: NOWCXR_KAFKA is not set; start a broker with .ci/kafka start");
        return None;
    };
    Some(named(&bootstrap, test))
}

fn named(bootstrap: &str, test: &str) -> KafkaSettings {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
    let name = format!("{test}-{}-{now}", std::process::id());
    KafkaSettings {
        prefix: format!("{name}."),
        app: name,
        partitions: 4,
        clock: AppendClock::Replay,
        delivery_timeout_ms: 10_000,
        ..KafkaSettings::new(bootstrap)
    }
}

/// Fetches `n` records, passing over errors that pass.
fn fetch(source: &mut KafkaSource, n: usize) -> Vec<SourceRecord> {
    let start = Instant::now();
    let (mut records, mut passed) = (Vec::new(), Vec::new());
    while records.len() < n && start.elapsed() < LONG {
        match source.fetch(n - records.len(), SHORT, &mut records) {
            Ok(()) => {}
            Err(PortError::Retry(why)) => passed.push((start.elapsed(), why)),
            Err(other) => panic!("{other}"),
        }
    }
    assert_eq!(records.len(), n, "records within {LONG:?}; errors that passed: {passed:?}");
    records
}

/// Everything in a topic, as another program would read it.
fn dump(settings: &KafkaSettings, topic: &str) -> Vec<rdkafka::message::OwnedMessage> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", &settings.bootstrap)
        .set("group.id", "dump")
        .set("isolation.level", "read_committed")
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
    let (mut messages, mut ended, start) = (Vec::new(), 0, Instant::now());
    while ended < partitions && start.elapsed() < LONG {
        match consumer.poll(SHORT) {
            Some(Ok(message)) => messages.push(message.detach()),
            Some(Err(rdkafka::error::KafkaError::PartitionEOF(_))) => ended += 1,
            Some(Err(error)) => panic!("{error}"),
            None => {}
        }
    }
    assert_eq!(ended, partitions);
    messages
}

/// The position behind the last record of each topic and partition.
fn positions(records: &[SourceRecord]) -> Vec<Position> {
    let mut last = BTreeMap::new();
    for record in records {
        last.insert((record.origin.topic, record.origin.partition), record.origin.next());
    }
    last.into_values().collect()
}

/// By topic and partition, the offsets and values in the order of arrival.
type ByPartition = BTreeMap<(Topic, u32), Vec<(u64, Vec<u8>)>>;

fn by_partition(records: &[SourceRecord]) -> ByPartition {
    let mut lists: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for record in records {
        let place = (record.origin.topic, record.origin.partition);
        lists.entry(place).or_default().push((record.origin.offset, record.value.to_vec()));
    }
    lists
}

#[test]
fn what_goes_in_comes_out_in_order_and_again_from_a_position() {
    let Some(settings) = settings("round") else { return };
    let mut sink = KafkaSink::open(&settings).unwrap();
    assert_eq!(sink.partitions(), 4);
    // A replay's clock: MIMIC's shifted dates lie far beyond the broker's own.
    let at = WallTime::from_millis(5_000_000_000_000);
    for i in 0..1_000u32 {
        let key = (i % 50).to_string();
        for topic in [Topic::Vital, Topic::Lab] {
            sink.append(topic, Some(key.as_bytes()), &i.to_be_bytes(), Some(at)).unwrap();
        }
    }
    sink.mark(Topic::Vital, b"mark", Some(at)).unwrap();
    sink.flush().unwrap();

    let mut source = KafkaSource::open(&settings, 0..4).unwrap();
    let all = fetch(&mut source, 2_004);
    let lists = by_partition(&all);
    for (place, list) in &lists {
        let offsets: Vec<u64> = list.iter().map(|(offset, _)| *offset).collect();
        assert_eq!(offsets, (0..list.len() as u64).collect::<Vec<_>>(), "{place:?}");
        let values: Vec<&[u8]> = list.iter().map(|(_, value)| &value[..]).collect();
        let n = values.len() - usize::from(place.0 == Topic::Vital);
        assert!(values[..n].is_sorted(), "{place:?}");
        assert!(n == values.len() || values[n] == b"mark", "the mark is the last");
    }
    assert!(all.iter().all(|record| record.appended_at == Some(at)));
    // A stay's facts meet in one partition, whatever their topic.
    let partition_of = |topic| -> BTreeMap<_, _> {
        let keyed = all.iter().filter(|r| r.origin.topic == topic && r.key.is_some());
        keyed.map(|r| (r.key.clone(), r.origin.partition)).collect()
    };
    assert_eq!(partition_of(Topic::Vital), partition_of(Topic::Lab));

    let half = positions(&all[..1_000]);
    source.seek(&half).unwrap();
    let rest = fetch(&mut source, 1_004);
    let mut joined = by_partition(&all[..1_000]);
    for (place, list) in by_partition(&rest) {
        joined.entry(place).or_default().extend(list);
    }
    assert_eq!(joined, lists, "state up to a position and the records behind it are the whole");
}

/// More than the lane between the reader's thread and the task's holds.
#[test]
fn a_topic_that_is_held_back_does_not_stand_in_the_way_of_the_others() {
    let Some(settings) = settings("held") else { return };
    let mut sink = KafkaSink::open(&settings).unwrap();
    let at = Some(WallTime::from_millis(5_000_000_000_000));
    for (topic, n) in [(Topic::Vital, 20_000u32), (Topic::Lab, 500)] {
        (0..n).for_each(|i| sink.append(topic, Some(b"7"), &i.to_be_bytes(), at).unwrap());
    }
    sink.flush().unwrap();
    let mut source = KafkaSource::open(&settings, 0..4).unwrap();
    let mut all = fetch(&mut source, 50);
    let is_lab = |record: &&SourceRecord| record.origin.topic == Topic::Lab;
    for _ in 0..2 {
        source.pause(&BTreeSet::from([Topic::Vital])).unwrap();
        let left = 500 - all.iter().filter(is_lab).count();
        let labs = fetch(&mut source, left);
        assert_eq!(labs.iter().filter(is_lab).count(), left);
        let before = all.len();
        source.fetch(1, SHORT * 5, &mut all).unwrap();
        assert_eq!(all.len(), before);
        source.pause(&BTreeSet::new()).unwrap();
        all.extend(labs.into_iter().chain(fetch(&mut source, 6_000)));
    }
    all.extend(fetch(&mut source, 20_500 - all.len()));
    assert!(by_partition(&all).values().all(|l| (0..).zip(l).all(|(n, (at, _))| *at == n)));
    source.pause(&BTreeSet::from([Topic::Lab, Topic::Vital])).unwrap();
    source.seek(&[]).unwrap();
    assert!(by_partition(&fetch(&mut source, 20_500)) == by_partition(&all), "a seek ends a pause");
}

#[test]
fn a_film_of_16_mib_passes() {
    let Some(settings) = settings("film") else { return };
    let mut sink = KafkaSink::open(&settings).unwrap();
    // Noise does not compress, so the record is as large on the wire.
    let mut state = 1u64;
    let film: Vec<u8> = (0..16 << 20)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 56) as u8
        })
        .collect();
    for _ in 0..3 {
        sink.append(Topic::Imaging, Some(b"1"), &film, None).unwrap();
    }
    sink.flush().unwrap();
    let mut source = KafkaSource::open(&settings, 0..4).unwrap();
    let records = fetch(&mut source, 3);
    assert!(records.iter().all(|record| record.value[..] == film[..]));
}

#[test]
fn topics_that_cannot_work_are_refused_with_advice() {
    let Some(settings) = settings("topics") else { return };
    let absent = check_topics(&settings).unwrap_err();
    assert!(matches!(&absent, PortError::Stop(why) if why.contains("kafka.create_topics")));
    assert_eq!(ensure_topics(&settings).unwrap(), 4);
    // What exists decides; the setting is for topics that are created.
    let other = KafkaSettings { partitions: 9, ..settings.clone() };
    assert_eq!(ensure_topics(&other).unwrap(), 4);
    // Another application on the same inputs gets a journal that fits them.
    let app = KafkaSettings { app: format!("{}-b", settings.app), ..other };
    assert_eq!(ensure_topics(&app).unwrap(), 4);
    // One of another size cannot be joined to them.
    let elsewhere = KafkaSettings { prefix: format!("{}x.", settings.prefix), ..app };
    let inputs = KafkaSettings { app: format!("{}-c", settings.app), ..elsewhere.clone() };
    assert_eq!(ensure_topics(&inputs).unwrap(), 9);
    let unequal = ensure_topics(&elsewhere).unwrap_err();
    assert!(matches!(&unequal, PortError::Stop(why) if why.contains("has 4")), "{unequal}");
    let beyond = KafkaSource::open(&settings, [4]).err().unwrap();
    assert!(matches!(&beyond, PortError::Stop(why) if why.contains("0 to 3")), "{beyond}");
    let copies = KafkaSettings { replication: 3, ..named(&settings.bootstrap, "copies") };
    let refused = ensure_topics(&copies).unwrap_err();
    assert!(refused.to_string().contains("kafka.replication"), "{refused}");
}

#[test]
fn a_position_that_retention_has_passed_is_an_error_and_no_leap() {
    let Some(settings) = settings("range") else { return };
    let mut sink = KafkaSink::open(&settings).unwrap();
    sink.append(Topic::Lab, Some(b"1"), b"x", None).unwrap();
    sink.flush().unwrap();
    let mut source = KafkaSource::open(&settings, 0..4).unwrap();
    let beyond: Vec<Position> =
        (0..4).map(|partition| Position { topic: Topic::Lab, partition, next: 77 }).collect();
    source.seek(&beyond).unwrap();
    let start = Instant::now();
    let error = loop {
        let mut records = Vec::new();
        if let Err(error) = source.fetch(1, SHORT, &mut records) {
            break error;
        }
        assert!(records.is_empty() && start.elapsed() < LONG);
    };
    assert!(matches!(&error, PortError::Stop(why) if why.contains("a new kafka.group")), "{error}");
}

/// Waits until the group's member owns `n` partitions, ending tasks whose partition has gone.
fn await_owned(
    group: &mut KafkaGroup,
    tasks: &mut BTreeMap<u32, KafkaSource>,
    n: usize,
) -> BTreeSet<u32> {
    let start = Instant::now();
    loop {
        let owned = match group.owned(&BTreeSet::new(), SHORT) {
            Ok(owned) => owned,
            Err(PortError::Retry(_)) => BTreeSet::new(),
            Err(error) => panic!("{error}"),
        };
        tasks.retain(|_, source| source.ownership().hold() == Hold::Ours);
        if owned.len() == n {
            return owned;
        }
        assert!(start.elapsed() < LONG, "{n} partitions, not {owned:?}, within {LONG:?}");
    }
}

/// One stay event and one vital for each of `values`, spread over the partitions.
fn send_to_all(sink: &mut KafkaSink, values: std::ops::Range<u32>) {
    for i in values {
        let key = i.to_string();
        for topic in [Topic::Stay, Topic::Vital] {
            sink.append(topic, Some(key.as_bytes()), &i.to_be_bytes(), None).unwrap();
        }
    }
    sink.flush().unwrap();
}

#[test]
fn a_group_shares_partitions_out_and_takes_them_over() {
    let Some(settings) = settings("group") else { return };
    let mut sink = KafkaSink::open(&settings).unwrap();
    send_to_all(&mut sink, 0..100);

    let mut a = KafkaGroup::join(&settings).unwrap();
    let mut a_tasks = BTreeMap::new();
    assert_eq!(await_owned(&mut a, &mut a_tasks, 4), BTreeSet::from([0, 1, 2, 3]));
    for partition in 0..4 {
        a_tasks.insert(partition, a.source(partition).unwrap());
    }
    let mut state: BTreeMap<u32, Vec<SourceRecord>> = BTreeMap::new();
    let mut seen = 0;
    let start = Instant::now();
    while seen < 200 && start.elapsed() < LONG {
        for (&partition, source) in &mut a_tasks {
            let records = state.entry(partition).or_default();
            let before = records.len();
            source.fetch(1_000, Duration::from_millis(20), records).unwrap();
            seen += records.len() - before;
            assert!(records.iter().all(|r| r.origin.partition == partition));
        }
    }
    assert_eq!(seen, 200);

    // A second member takes half; the first one's tasks see it and let go.
    let b = std::thread::spawn({
        let settings = settings.clone();
        move || {
            let mut b = KafkaGroup::join(&settings).unwrap();
            let owned = await_owned(&mut b, &mut BTreeMap::new(), 2);
            (b, owned)
        }
    });
    let a_owned = await_owned(&mut a, &mut a_tasks, 2);
    let kept: BTreeSet<u32> = a_tasks.keys().copied().collect();
    assert_eq!(kept, a_owned, "a task that stays is not stopped");
    a_tasks.clear();
    let (mut b, b_owned) = b.join().unwrap();
    assert!(a_owned.is_disjoint(&b_owned));
    let foreign = *b_owned.first().unwrap();
    assert!(matches!(a.source(foreign), Err(PortError::Reopen(_))));

    // The new owner goes on where the state that it has got stands.
    send_to_all(&mut sink, 100..200);
    let mut new = Vec::new();
    for (group, owned) in [(&mut a, a_owned), (&mut b, b_owned)] {
        for partition in owned {
            let mut source = group.source(partition).unwrap();
            source.seek(&positions(&state[&partition])).unwrap();
            let quiet = Instant::now();
            let before = new.len();
            while quiet.elapsed() < Duration::from_secs(3) {
                source.fetch(1_000, SHORT, &mut new).unwrap();
            }
            assert!(new.len() > before);
        }
    }
    assert_eq!(new.len(), 200);
    let old: u32 = 100;
    assert!(new.iter().all(|r| u32::from_be_bytes(r.value[..].try_into().unwrap()) >= old));

    drop(b);
    await_owned(&mut a, &mut BTreeMap::new(), 4);
}

fn transactional(settings: &KafkaSettings) -> BaseProducer {
    ClientConfig::new()
        .set("bootstrap.servers", &settings.bootstrap)
        .set("transactional.id", &settings.app)
        .create()
        .unwrap()
}

/// One record in a transaction of its own.
fn transact(producer: &BaseProducer, topic: &str, value: &str, is_committed: bool) {
    producer.begin_transaction().unwrap();
    send(producer, topic, value);
    producer.flush(LONG).unwrap();
    match is_committed {
        true => producer.commit_transaction(LONG).unwrap(),
        false => producer.abort_transaction(LONG).unwrap(),
    }
}

fn send(producer: &BaseProducer, topic: &str, value: &str) {
    let record: BaseRecord<'_, str, str> = BaseRecord::to(topic).partition(0).payload(value);
    producer.send(record).map_err(|(error, _)| error).unwrap();
}

/// The broker itself, as the next form of this transport will rely on it.
#[test]
fn the_broker_hides_aborted_records_and_fences_an_old_producer() {
    let Some(settings) = settings("txn") else { return };
    ensure_topics(&settings).unwrap();
    let topic = settings.journal();
    let old = transactional(&settings);
    old.init_transactions(LONG).unwrap();
    transact(&old, &topic, "aborted", false);
    transact(&old, &topic, "committed", true);
    old.begin_transaction().unwrap();
    send(&old, &topic, "of a zombie");
    old.flush(LONG).unwrap();
    let new = transactional(&settings);
    new.init_transactions(LONG).unwrap();
    assert!(old.commit_transaction(LONG).is_err(), "the old producer is fenced");
    transact(&new, &topic, "of the new owner", true);
    let messages = dump(&settings, &topic);
    let values: Vec<&[u8]> = messages.iter().filter_map(|m| m.payload()).collect();
    assert_eq!(values, [&b"committed"[..], b"of the new owner"]);
}

/// What `run --until-idle` asks before it believes that nothing is left.
#[test]
fn what_was_aborted_and_what_ends_a_transaction_is_nothing_to_read() {
    let Some(settings) = settings("unread") else { return };
    ensure_topics(&settings).unwrap();
    // Partitions that are new have no leader for a while.
    let unread_of = |partition: u32, next: u64| {
        let (read, start) = ([Position { topic: Topic::Lab, partition, next }], Instant::now());
        loop {
            match KafkaSource::has_unread(&settings, partition, &read) {
                Err(PortError::Retry(_)) if start.elapsed() < LONG => std::thread::sleep(SHORT),
                other => return other.unwrap(),
            }
        }
    };
    let unread = |next: u64| unread_of(0, next);
    assert!(!unread(0), "nothing was sent yet");
    let producer = transactional(&settings);
    producer.init_transactions(LONG).unwrap();
    transact(&producer, &settings.input(Topic::Lab), "told", true);
    transact(&producer, &settings.input(Topic::Lab), "taken back", false);
    // The broker tells the producer before it tells the partition.
    let start = Instant::now();
    while !unread(0) {
        assert!(start.elapsed() < LONG);
    }
    assert!(!unread(1));
    assert!(!unread_of(1, 0), "the other partitions are empty");
}

/// Runs `.ci/kafka` on a node of this test's own.
fn node(command: &str, dir: &Path) -> String {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join(".ci/kafka");
    let output = Command::new(script).arg(command).arg(dir).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// Ends the test's own node, also when the test fails.
struct Stopped<'a>(&'a Path);

impl Drop for Stopped<'_> {
    fn drop(&mut self) {
        node("stop", self.0);
    }
}

#[test]
fn a_broker_that_is_killed_and_comes_back_loses_nothing_acknowledged() {
    if settings("kill").is_none() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let settings = named(&node("start", dir.path()), "kill");
    let _stopped = Stopped(dir.path());
    let mut sink = KafkaSink::open(&settings).unwrap();
    let mut send = |values: std::ops::Range<u32>| -> Result<(), PortError> {
        for i in values {
            sink.append(Topic::Stay, Some(b"1"), &i.to_be_bytes(), None)?;
        }
        sink.flush()
    };
    send(0..100).unwrap();
    let mut source = KafkaSource::open(&settings, 0..4).unwrap();
    fetch(&mut source, 100);

    let pid = std::fs::read_to_string(dir.path().join("kafka.pid")).unwrap();
    assert!(Command::new("kill").args(["-KILL", pid.trim()]).status().unwrap().success());
    let start = Instant::now();
    let error = loop {
        if let Err(error) = source.fetch(1, SHORT, &mut Vec::new()) {
            break error;
        }
        assert!(start.elapsed() < LONG, "a dead broker is told of");
    };
    assert!(matches!(error, PortError::Retry(_)), "{error}");
    let unsent = send(1_000..1_001).unwrap_err();
    assert!(matches!(unsent, PortError::Retry(_)), "{unsent}");

    assert_eq!(node("start", dir.path()), settings.bootstrap, "a restart keeps the address");
    // The first attempts may still meet a node that is finding its feet.
    while let Err(error) = send(100..200) {
        assert!(matches!(error, PortError::Retry(_)) && start.elapsed() < LONG, "{error}");
    }
    let mut values = Vec::new();
    while values.last() != Some(&199) {
        let record = fetch(&mut source, 1).remove(0);
        values.push(u32::from_be_bytes(record.value[..].try_into().unwrap()));
    }
    values.dedup();
    let first_try = values.len() - 100;
    assert_eq!(values[first_try..], (100..200).collect::<Vec<_>>());
    source.seek(&[]).unwrap();
    let all = fetch(&mut source, 200);
    assert_eq!(all[..100].iter().map(|r| r.origin.offset).max(), Some(99));
}
