//! Topics as one stream; and a measurement.

use super::*;

fn feed(log: &LocalLog, topic: Topic, sequence: u64, ms: i64) {
    let partition = log.partition(topic.name(), 1).expect("partition");
    let value = format!("{}{sequence}", topic.name());
    partition.append_batch(&[record(sequence, value.as_bytes())], at(ms)).expect("append");
    partition.sync().expect("sync");
}

fn fetch(source: &mut LocalSource, max: usize) -> Vec<SourceRecord> {
    let mut records = Vec::new();
    source.fetch(max, Duration::ZERO, &mut records).expect("fetch");
    records
}

#[test]
fn the_source_follows_the_append_time_over_topics() {
    let dir = tempfile::tempdir().expect("dir");
    let log = LocalLog::open(dir.path(), SMALL).expect("open");
    for i in 0..200 {
        feed(&log, Topic::Lab, i + 1, 10 * i as i64);
        feed(&log, Topic::Vital, i + 1, 5 * i as i64);
    }
    let mut source =
        LocalSource::open(&log, &[Topic::Stay, Topic::Lab, Topic::Vital], 1).expect("source");
    let all = fetch(&mut source, 10_000);
    assert_eq!(all.len(), 400);
    assert!(all.windows(2).all(|pair| pair[0].appended_at <= pair[1].appended_at));
    let lab: Vec<u64> =
        all.iter().filter(|r| r.origin.topic == Topic::Lab).map(|r| r.origin.offset).collect();
    assert_eq!(lab, (0..200).collect::<Vec<_>>());
    assert_eq!(all[0].key.as_deref(), Some(&b"7"[..]));
    assert!(fetch(&mut source, 10).is_empty());

    let seek = [Position { topic: Topic::Lab, partition: 1, next: 150 }];
    source.seek(&seek).expect("seek");
    let again = fetch(&mut source, 10_000);
    assert_eq!(again.len(), 250);
    assert!(again.iter().all(|r| r.origin.topic == Topic::Vital || r.origin.offset >= 150));
    let beyond = [Position { topic: Topic::Lab, partition: 1, next: 201 }];
    assert!(matches!(source.seek(&beyond), Err(PortError::Stop(_))));
    source.seek(&[]).expect("seek");
    assert_eq!(fetch(&mut source, 7).len(), 7);
    assert_eq!(source.positions().iter().map(|p| p.next).sum::<u64>(), 7);
}

#[test]
fn a_paused_topic_is_read_on_later_from_where_it_stood() {
    let dir = tempfile::tempdir().expect("dir");
    let log = open(dir.path());
    for i in 0..100 {
        feed(&log, Topic::Lab, i + 1, 10 * i as i64);
        feed(&log, Topic::Vital, i + 1, 5 * i as i64);
    }
    let mut source = LocalSource::open(&log, &[Topic::Lab, Topic::Vital], 1).expect("source");
    let mut all = fetch(&mut source, 30);
    source.pause(&[Topic::Vital].into()).expect("pause");
    let labs = fetch(&mut source, 1_000);
    assert!(labs.iter().all(|record| record.origin.topic == Topic::Lab));
    assert!(fetch(&mut source, 1_000).is_empty(), "the laboratory's topic is read out");
    source.pause(&Default::default()).expect("pause");
    all.extend(labs.into_iter().chain(fetch(&mut source, 1_000)));
    for topic in [Topic::Lab, Topic::Vital] {
        let offsets = all.iter().filter(|r| r.origin.topic == topic).map(|r| r.origin.offset);
        assert!(offsets.eq(0..100), "{topic:?}");
    }
    source.pause(&[Topic::Lab, Topic::Vital].into()).expect("pause");
    source.seek(&[]).expect("seek");
    assert_eq!(fetch(&mut source, 1_000).len(), 200, "a seek ends every pause");
}

#[test]
fn topics_appended_at_one_moment_take_turns() {
    let dir = tempfile::tempdir().expect("dir");
    let log = open(dir.path());
    for topic in [Topic::Lab, Topic::Vital] {
        let partition = log.partition(topic.name(), 1).expect("partition");
        let records: Vec<NewRecord<'_>> = (1..1_001).map(|i| record(i, b"x")).collect();
        partition.append_batch(&records, at(1)).expect("append");
        partition.sync().expect("sync");
    }
    let mut source = LocalSource::open(&log, &[Topic::Lab, Topic::Vital], 1).expect("source");
    let half = fetch(&mut source, 1_000);
    let lab = half.iter().filter(|r| r.origin.topic == Topic::Lab).count();
    assert!((400..600).contains(&lab), "{lab} of 1000");
}

#[test]
fn a_waiting_source_wakes_when_something_is_synced() {
    let dir = tempfile::tempdir().expect("dir");
    let log = open(dir.path());
    let mut source = LocalSource::open(&log, &[Topic::Lab], 1).expect("source");
    let writer = Arc::clone(&log);
    let thread = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(50));
        feed(&writer, Topic::Lab, 1, 1);
    });
    let began = std::time::Instant::now();
    let mut records = Vec::new();
    source.fetch(10, Duration::from_secs(60), &mut records).expect("fetch");
    thread.join().expect("writer");
    assert!(records.len() == 1 && began.elapsed() < Duration::from_secs(30));
}

/// By hand: `NOWCXR_MEASURE=1 cargo test --release --test local_log speed -- --nocapture`.
#[test]
fn speed() {
    if std::env::var_os("NOWCXR_MEASURE").is_none() {
        println!("skipped: a measurement; set NOWCXR_MEASURE=1");
        return;
    }
    const N: u64 = 4_000_000;
    let dir = tempfile::tempdir().expect("dir");
    let log = open(dir.path());
    let lab = log.partition("lab", 1).expect("partition");
    let value = [7u8; 100];
    let began = std::time::Instant::now();
    for first in (1..=N).step_by(1_000) {
        let records: Vec<NewRecord<'_>> =
            (first..first + 1_000).map(|sequence| record(sequence, &value)).collect();
        lab.append_batch(&records, at(1)).expect("append");
    }
    let appended = began.elapsed().as_secs_f64();
    lab.sync().expect("sync");
    let synced = began.elapsed().as_secs_f64();
    println!("append {:.2} M/s, with sync {:.2} M/s", 4.0 / appended, 4.0 / synced);
    let mut source = LocalSource::open(&log, &[Topic::Lab], 1).expect("source");
    let began = std::time::Instant::now();
    let (mut records, mut total) = (Vec::new(), 0);
    loop {
        records.clear();
        source.fetch(1_000, Duration::ZERO, &mut records).expect("fetch");
        total += records.len() as u64;
        if records.is_empty() {
            break;
        }
    }
    println!("fetch {:.2} M/s", 4.0 / began.elapsed().as_secs_f64());
    assert_eq!(total, N);
    drop((source, lab, log));
    let began = std::time::Instant::now();
    let log = open(dir.path());
    assert_eq!(log.partition("lab", 1).expect("partition").end(), N);
    println!("open {:.3} s", began.elapsed().as_secs_f64());
}
