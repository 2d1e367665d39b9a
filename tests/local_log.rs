//! The local log under damage, repetition, kill -9 and a full disk. Seeds are printed.

use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use nowcxr::ids::{Position, StayId, Topic};
use nowcxr::ports::{
    Journal, JournalRecord, Outlet, Output, OutputKind, PortError, Source, SourceRecord,
};
use nowcxr::time::WallTime;
use nowcxr::transport::local::{
    Clock, LocalJournal, LocalLog, LocalOutlet, LocalSource, LogError, LogOptions, NewRecord,
    Partition, Record, outputs,
};
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

const SMALL: LogOptions = LogOptions { segment_bytes: 2_000 };

fn at(ms: i64) -> WallTime {
    WallTime::from_millis(ms)
}

fn clock() -> Clock {
    Box::new(|| at(5))
}

fn below(rng: &mut ChaCha8Rng, n: u64) -> u64 {
    rng.next_u64() % n
}

fn seed() -> u64 {
    let seed = std::env::var("NOWCXR_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or(1);
    println!("seed {seed} (set NOWCXR_SEED to change it)");
    seed
}

fn open(dir: &Path) -> Arc<LocalLog> {
    LocalLog::open(dir, LogOptions::default()).expect("open")
}

/// Appends `sequence` of writer 1, whose value is a function of it.
fn append(partition: &Partition, sequences: std::ops::Range<u64>) {
    let values: Vec<Vec<u8>> = sequences.clone().map(value).collect();
    let records: Vec<NewRecord<'_>> =
        sequences.zip(&values).map(|(sequence, value)| record(sequence, value)).collect();
    partition.append_batch(&records, at(1)).expect("append");
}

fn value(sequence: u64) -> Vec<u8> {
    vec![sequence as u8; 10 + sequence as usize % 50]
}

fn record(sequence: u64, value: &[u8]) -> NewRecord<'_> {
    NewRecord { writer: 1, sequence, key: Some(b"7"), headers: b"", value }
}

fn read_all(partition: &Arc<Partition>) -> Result<Vec<Record>, LogError> {
    let mut reader = partition.reader(partition.start())?;
    let mut records = Vec::new();
    while let Some(record) = reader.read()? {
        records.push(record);
    }
    Ok(records)
}

/// Asserts that the records are those of sequences 1, 2, ... in order, and counts them.
fn count_right(records: &[Record]) -> u64 {
    for (i, record) in records.iter().enumerate() {
        assert_eq!((record.offset, record.sequence), (i as u64, i as u64 + 1));
        assert_eq!(record.value, value(record.sequence));
    }
    records.len() as u64
}

fn segments(dir: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).expect("dir").flatten().map(|entry| entry.path());
    let mut logs: Vec<PathBuf> =
        entries.filter(|path| path.extension().is_some_and(|e| e == "log")).collect();
    logs.sort();
    logs
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("mkdir");
    for entry in std::fs::read_dir(from).expect("dir").flatten() {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).expect("copy");
        }
    }
}

#[test]
fn what_is_synced_is_read_and_nothing_else() {
    let dir = tempfile::tempdir().expect("dir");
    let log = open(dir.path());
    let lab = log.partition("lab", 0).expect("partition");
    append(&lab, 1..11);
    assert_eq!(read_all(&lab).expect("read").len(), 0);
    lab.sync().expect("sync");
    assert_eq!(count_right(&read_all(&lab).expect("read")), 10);
    assert_eq!((lab.start(), lab.end()), (0, 10));
    assert_eq!(log.list().expect("list"), [("lab".to_owned(), 0)]);
    assert!(matches!(log.partition("../lab", 0), Err(LogError::Refused(_))));
}

#[test]
fn segments_follow_each_other_across_reopening_and_retention() {
    let dir = tempfile::tempdir().expect("dir");
    for round in 0..5 {
        let log = LocalLog::open(dir.path(), SMALL).expect("open");
        let lab = log.partition("lab", 0).expect("partition");
        assert_eq!(lab.torn_tail(), None);
        for i in 0..20 {
            let first = round * 100 + i * 5 + 1;
            append(&lab, first..first + 5);
            lab.sync().expect("sync");
        }
        assert_eq!(count_right(&read_all(&lab).expect("read")), (round + 1) * 100);
    }
    let log = LocalLog::open(dir.path(), SMALL).expect("open");
    let lab = log.partition("lab", 0).expect("partition");
    let before = segments(&dir.path().join("lab-0")).len();
    assert!(before > 10);
    for position in [0, 1, 123, 499] {
        let mut reader = lab.reader(position).expect("reader");
        assert_eq!(reader.read().expect("read").map(|r| r.offset), Some(position));
    }
    let mut slow = lab.reader(0).expect("reader");
    let deleted = lab.delete_before(250).expect("delete");
    assert!(deleted > 3 && lab.start() <= 250 && lab.start() > 200);
    assert_eq!(segments(&dir.path().join("lab-0")).len(), before - deleted);
    assert!(matches!(lab.reader(0), Err(LogError::Deleted { position: 0, .. })));
    assert!(matches!(lab.reader(501), Err(LogError::Beyond { end: 500, .. })));
    let error = loop {
        match slow.read() {
            Ok(record) => assert!(record.is_some()),
            Err(error) => break error,
        }
    };
    assert!(matches!(error, LogError::Deleted { .. }), "{error}");
    drop((slow, lab, log));
    let log = LocalLog::open(dir.path(), SMALL).expect("open");
    let lab = log.partition("lab", 0).expect("partition");
    let records = read_all(&lab).expect("read");
    assert_eq!(records.last().map(|r| r.offset), Some(499));
    assert_eq!(lab.last_sequence(1), Some(500));
}

#[test]
fn a_repeated_sequence_is_appended_once_also_after_reopening() {
    let dir = tempfile::tempdir().expect("dir");
    for round in 0..4u64 {
        let log = LocalLog::open(dir.path(), SMALL).expect("open");
        let lab = log.partition("lab", 0).expect("partition");
        // Everything from the first record on is sent again, in batches, and twice.
        for _ in 0..2 {
            for batch in 0..=round {
                append(&lab, batch * 40 + 1..batch * 40 + 41);
            }
        }
        lab.sync().expect("sync");
        assert_eq!(count_right(&read_all(&lab).expect("read")), round * 40 + 40);
        assert!(matches!(LocalLog::open(dir.path(), SMALL), Err(LogError::Locked(_))));
    }
    assert!(segments(&dir.path().join("lab-0")).len() > 3);
}

#[test]
fn each_writer_counts_for_itself() {
    let dir = tempfile::tempdir().expect("dir");
    let log = open(dir.path());
    let lab = log.partition("lab", 0).expect("partition");
    let of = |writer, sequence| NewRecord { writer, ..record(sequence, b"x") };
    let batch = [of(1, 5), of(2, 5), of(1, 5), of(1, 4), of(2, 6)];
    let appended = lab.append_batch(&batch, at(1)).expect("append");
    assert_eq!((appended.first, appended.next, appended.repeated), (0, 3, 2));
    assert_eq!((lab.last_sequence(1), lab.last_sequence(3)), (Some(5), None));
    let many: Vec<NewRecord<'_>> = (10..5_000).map(|writer| of(writer, 1)).collect();
    let refused = lab.append_batch(&many, at(1)).expect_err("too many writers");
    assert!(matches!(refused, LogError::Refused(_)), "{refused}");
    lab.sync().expect("sync");
    assert_eq!(read_all(&lab).expect("read").len(), 3);
}

/// A log that was closed by a crash: without the note of an orderly close.
fn crashed(dir: &Path) {
    std::fs::remove_file(dir.join("lab-0/end")).expect("remove");
}

/// Twelve records, of which the last five were synced together.
fn twelve(dir: &Path) -> PathBuf {
    let log = open(dir);
    let lab = log.partition("lab", 0).expect("partition");
    for batch in [1..4, 4..8, 8..13] {
        append(&lab, batch);
        lab.sync().expect("sync");
    }
    drop((lab, log));
    segments(&dir.join("lab-0")).pop().expect("segment")
}

#[test]
fn a_tail_torn_at_any_byte_is_cut_to_the_last_whole_record() {
    let whole = tempfile::tempdir().expect("dir");
    let file = twelve(whole.path());
    crashed(whole.path());
    let good = std::fs::read(&file).expect("read");
    let name = file.strip_prefix(whole.path()).expect("inside").to_path_buf();
    let mut kept_before = 0;
    for cut in 0..good.len() {
        let dir = tempfile::tempdir().expect("dir");
        copy(whole.path(), dir.path());
        std::fs::write(dir.path().join(&name), &good[..cut]).expect("cut");
        let log = open(dir.path());
        let lab = log.partition("lab", 0).expect("partition");
        let kept = count_right(&read_all(&lab).expect("read"));
        assert!(kept == kept_before || kept == kept_before + 1, "cut {cut}");
        kept_before = kept;
        let boundary = lab.torn_tail().is_none();
        assert!(boundary || lab.torn_tail().expect("torn").at <= cut as u64);
        if cut % 7 != 0 {
            continue;
        }
        // The log goes on where it was cut, and what is sent again is not doubled.
        append(&lab, 1..14);
        lab.sync().expect("sync");
        drop((lab, log));
        let log = open(dir.path());
        let lab = log.partition("lab", 0).expect("partition");
        assert_eq!(lab.torn_tail(), None, "cut {cut}");
        assert_eq!(count_right(&read_all(&lab).expect("read")), 13, "cut {cut}");
    }
    assert_eq!(kept_before, 11);
}

#[test]
fn a_tail_lost_after_an_orderly_close_is_refused() {
    let dir = tempfile::tempdir().expect("dir");
    let file = twelve(dir.path());
    let good = std::fs::read(&file).expect("read");
    for cut in [good.len() - 1, good.len() / 2, 0] {
        std::fs::write(&file, &good[..cut]).expect("cut");
        let refused = open(dir.path()).partition("lab", 0).expect_err("lost");
        assert!(matches!(refused, LogError::Damaged { .. }), "cut {cut}: {refused}");
        std::fs::write(&file, &good).expect("restore");
    }
    let log = open(dir.path());
    assert_eq!(read_all(&log.partition("lab", 0).expect("whole")).expect("read").len(), 12);
}

#[test]
fn no_flipped_bit_gives_a_wrong_record_or_loses_an_acknowledged_one() {
    let whole = tempfile::tempdir().expect("dir");
    let file = twelve(whole.path());
    crashed(whole.path());
    let name = file.strip_prefix(whole.path()).expect("inside").to_path_buf();
    let good = std::fs::read(&file).expect("read");
    let (mut refused, mut cut) = (0, 0);
    // The frame's own tests flip every bit; here one of each byte goes through the files.
    for bit in (0..good.len()).map(|byte| byte * 8 + byte % 8) {
        let mut bad = good.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        std::fs::write(&file, &bad).expect("write");
        let log = LocalLog::open_read_only(whole.path()).expect("open");
        match log.partition("lab", 0) {
            Err(LogError::Damaged { .. } | LogError::FutureVersion { .. }) => refused += 1,
            Err(other) => panic!("bit {bit}: {other}"),
            Ok(lab) => {
                // Only the last group has nothing behind it that shows it was acknowledged.
                let kept = count_right(&read_all(&lab).expect("read"));
                assert!((7..12).contains(&kept), "bit {bit} of {name:?}: {kept} kept");
                cut += 1;
            }
        }
    }
    println!("refused {refused}, cut {cut} of {}", good.len());
    assert!(refused > cut && cut > 0);
}

#[test]
fn damage_in_an_older_segment_stops_the_reader() {
    let seed = seed();
    let rng = &mut ChaCha8Rng::seed_from_u64(seed);
    let dir = tempfile::tempdir().expect("dir");
    let log = LocalLog::open(dir.path(), SMALL).expect("open");
    let lab = log.partition("lab", 0).expect("partition");
    for i in 0..30 {
        append(&lab, i * 5 + 1..i * 5 + 6);
        lab.sync().expect("sync");
    }
    drop((lab, log));
    let files = segments(&dir.path().join("lab-0"));
    for trial in 0..100 {
        let path = &files[below(rng, files.len() as u64 - 1) as usize];
        let good = std::fs::read(path).expect("read");
        let mut bad = good.clone();
        let byte = below(rng, good.len() as u64) as usize;
        match trial % 3 {
            0 => bad.truncate(byte),
            1 => bad[byte..].fill(0),
            _ => bad[byte] ^= 1 << below(rng, 8),
        }
        if bad == good {
            continue;
        }
        std::fs::write(path, &bad).expect("write");
        let log = LocalLog::open(dir.path(), SMALL).expect("open");
        let read = log.partition("lab", 0).and_then(|lab| read_all(&lab));
        let what = format!("seed {seed} trial {trial} byte {byte} of {path:?}: {read:?}");
        assert!(
            matches!(read, Err(LogError::Damaged { .. } | LogError::FutureVersion { .. })),
            "{what}"
        );
        drop(log);
        std::fs::write(path, &good).expect("restore");
    }
    std::fs::remove_file(&files[1]).expect("remove");
    let missing = LocalLog::open(dir.path(), SMALL).expect("open").partition("lab", 0);
    assert!(matches!(missing, Err(LogError::Damaged { .. })));
}

#[test]
fn a_segment_that_was_being_made_is_made_again() {
    let dir = tempfile::tempdir().expect("dir");
    twelve(dir.path());
    for length in [0, 7, 15] {
        let path = dir.path().join("lab-0/00000000000000000012.log");
        std::fs::write(&path, vec![0u8; length]).expect("write");
        let log = open(dir.path());
        let lab = log.partition("lab", 0).expect("partition");
        assert_eq!(lab.torn_tail().map(|torn| torn.path.clone()), Some(path));
        assert_eq!(count_right(&read_all(&lab).expect("read")), 12);
    }
}

fn output(number: u64, kind: OutputKind) -> Output {
    Output {
        number,
        kind,
        stay: (number % 2 == 0).then_some(StayId(number)),
        payload: format!("payload {number}").into_bytes(),
        envelope: format!("{{\"n\":{number}}}").into_bytes(),
    }
}

const KINDS: [OutputKind; 4] =
    [OutputKind::Risk, OutputKind::Alert, OutputKind::DeadLetter, OutputKind::View];

fn random_outputs(rng: &mut ChaCha8Rng, first: u64) -> Vec<Output> {
    let count = below(rng, 6);
    (first..first + count).map(|n| output(n, KINDS[below(rng, 4) as usize])).collect()
}

/// What stands in all topics, by number; every number once.
fn stored(log: &LocalLog) -> Vec<Output> {
    let mut all = Vec::new();
    for kind in KINDS {
        let mut last = 0;
        for stored in outputs(log, kind, 4).expect("topic") {
            let stored = stored.expect("output");
            assert!(stored.number > last);
            last = stored.number;
            let (number, stay) = (stored.number, stored.stay);
            let (payload, envelope) = (stored.payload.to_vec(), stored.envelope.to_vec());
            all.push(Output { number, kind, stay, payload, envelope });
        }
    }
    all.sort_by_key(|output| output.number);
    all
}

/// A crash in the middle of a send leaves some topics with it and some without. What is then
/// sent again must fill the gaps and double nothing.
#[test]
fn an_interrupted_send_is_completed_and_not_doubled() {
    for seed in seed()..seed() + 40 {
        println!("seed {seed}");
        let rng = &mut ChaCha8Rng::seed_from_u64(seed);
        let dir = tempfile::tempdir().expect("dir");
        let options = LogOptions { segment_bytes: 1 + below(rng, 3_000) };
        let mut sent: Vec<Output> = Vec::new();
        let mut last_send = 1;
        {
            let log = LocalLog::open(dir.path(), options.clone()).expect("open");
            let mut outlet = LocalOutlet::open(&log, 4, clock()).expect("outlet");
            for _ in 0..below(rng, 40) {
                let next = random_outputs(rng, sent.len() as u64 + 1);
                last_send = sent.len() as u64 + 1;
                outlet.send(&next).expect("send");
                sent.extend(next);
                assert_eq!(outlet.last_number(), sent.len() as u64);
            }
        }
        {
            let log = LocalLog::open(dir.path(), options.clone()).expect("open");
            let outlet = LocalOutlet::open(&log, 4, clock()).expect("outlet");
            assert_eq!(outlet.last_number(), sent.len() as u64, "seed {seed}: clean close");
            assert_eq!(stored(&log), sent);
        }
        // Tear the last send out of one topic, as if its sync had never come.
        let torn = KINDS[below(rng, 4) as usize];
        let gone = |o: &Output| o.kind == torn && o.number >= last_send;
        let complete = sent.iter().find(|o| gone(o)).map_or(sent.len() as u64, |o| o.number - 1);
        tear(dir.path(), torn, sent.iter().filter(|o| gone(o)).count());
        let log = LocalLog::open(dir.path(), options).expect("open");
        let mut outlet = LocalOutlet::open(&log, 4, clock()).expect("outlet");
        assert_eq!(outlet.last_number(), complete, "seed {seed}: {torn:?} torn");
        let rest: Vec<Output> =
            sent.iter().filter(|o| o.number > outlet.last_number()).cloned().collect();
        outlet.send(&rest).expect("send");
        assert_eq!(stored(&log), sent, "seed {seed}");
        assert_eq!(outlet.last_number(), sent.len() as u64);
    }
}

/// Cuts the last `count` records off a topic's newest segments.
fn tear(dir: &Path, kind: OutputKind, count: usize) {
    let dir = dir.join(format!("{}-4", nowcxr::transport::local::topic_of_kind(kind)));
    std::fs::remove_file(dir.join("end")).expect("remove");
    for _ in 0..count {
        loop {
            let newest = segments(&dir).pop().expect("segment");
            let bytes = std::fs::read(&newest).expect("read");
            let frames = frame_starts(&bytes);
            match frames.last() {
                Some(start) => {
                    let file = OpenOptions::new().write(true).open(&newest).expect("open");
                    file.set_len(*start as u64).expect("cut");
                    break;
                }
                None => std::fs::remove_file(&newest).expect("remove"),
            }
        }
    }
}

/// Where the frames of a whole segment begin.
fn frame_starts(bytes: &[u8]) -> Vec<usize> {
    let word =
        |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes")) as usize;
    let mut at = 16 + word(8);
    let mut starts = Vec::new();
    while at < bytes.len() {
        starts.push(at);
        at += 8 + word(at + 4);
    }
    starts
}

#[test]
fn the_journal_keeps_inputs_and_positions() {
    let dir = tempfile::tempdir().expect("dir");
    let position = |next| Position { topic: Topic::Vital, partition: 2, next };
    let records: Vec<JournalRecord> = (0..10)
        .map(|i| JournalRecord {
            after: (0..i % 4).map(position).collect(),
            input: vec![i as u8; i as usize],
        })
        .collect();
    for (round, chunk) in records.chunks(3).enumerate() {
        let log = open(dir.path());
        let mut journal = LocalJournal::open(&log, 2, clock()).expect("journal");
        assert_eq!((journal.len(), journal.is_empty()), (round as u64 * 3, round == 0));
        journal.append(chunk).expect("append");
        let mut back = Vec::new();
        journal.read(&mut |record| back.push(record)).expect("read");
        assert_eq!(back, records[..(round * 3 + chunk.len())]);
    }
}

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

const CHILD: &str = "NOWCXR_TEST_LOG_CHILD";

/// Not a test of its own: the process that the next two tests kill or starve.
#[test]
fn child_that_appends() {
    let Ok(dir) = std::env::var(CHILD) else { return };
    let log = LocalLog::open(&dir, LogOptions { segment_bytes: 100_000 }).expect("open");
    let lab = log.partition("lab", 0).expect("partition");
    let mut next = lab.last_sequence(1).unwrap_or(0) + 1;
    for round in 0..2_000_000u64 {
        let count = 1 + round % 37;
        let values: Vec<Vec<u8>> = (next..next + count).map(value).collect();
        let records: Vec<NewRecord<'_>> =
            (next..).zip(&values).map(|(sequence, value)| record(sequence, value)).collect();
        let appended = lab.append_batch(&records, at(1)).map(|_| ());
        let done = appended.and_then(|()| if round % 3 == 0 { lab.sync() } else { Ok(()) });
        if let Err(error) = done {
            assert!(matches!(error, LogError::Full { .. }), "{error:?}");
            assert!(matches!(PortError::from(error), PortError::Retry(_)));
            let again = lab.sync().expect_err("still full");
            assert!(matches!(again, LogError::Full { .. }), "{again:?}");
            journal_without_space(&log);
            println!("\nfull");
            return;
        }
        next += count;
        if round % 3 == 0 {
            println!("\nsynced {}", next - 1);
        }
    }
}

/// A journal append that fails for want of space has changed nothing, so it can be tried again.
fn journal_without_space(log: &LocalLog) {
    let mut journal = LocalJournal::open(log, 0, clock()).expect("journal");
    let fits = JournalRecord { after: vec![], input: vec![1; 1_000] };
    let large = JournalRecord { after: vec![], input: vec![2; 1_000_000] };
    journal.append(&[fits.clone()]).expect("fits");
    for _ in 0..2 {
        let full = journal.append(&[fits.clone(), large.clone()]).expect_err("full");
        assert!(matches!(full, PortError::Retry(_)), "{full:?}");
        assert_eq!(journal.len(), 1);
    }
    journal.append(&[fits.clone()]).expect("fits");
    let mut back = Vec::new();
    journal.read(&mut |record| back.push(record)).expect("read");
    assert_eq!(back, [fits.clone(), fits]);
}

fn child(dir: &Path, limit: &str) -> std::process::Child {
    Command::new("sh")
        .args(["-c", &format!("trap '' XFSZ; {limit} exec \"$0\" \"$@\"")])
        .arg(std::env::current_exe().expect("self"))
        .args(["child_that_appends", "--exact", "--nocapture"])
        .env(CHILD, dir)
        .stdout(Stdio::piped())
        .spawn()
        .expect("child")
}

fn synced_by(stdout: &[u8]) -> u64 {
    let text = String::from_utf8_lossy(stdout).into_owned();
    // The last line may be cut in its middle.
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    whole.lines().filter_map(|l| l.strip_prefix("synced ")?.parse().ok()).max().unwrap_or(0)
}

#[test]
fn kill_loses_nothing_acknowledged() {
    let rng = &mut ChaCha8Rng::seed_from_u64(seed());
    let dir = tempfile::tempdir().expect("dir");
    let mut acknowledged = 0;
    for round in 0..12 {
        let mut running = child(dir.path(), "");
        std::thread::sleep(Duration::from_millis(20 + below(rng, 150)));
        running.kill().expect("kill");
        let out = running.wait_with_output().expect("wait");
        acknowledged = synced_by(&out.stdout).max(acknowledged);
        let log = LocalLog::open_read_only(dir.path()).expect("open");
        let lab = log.partition("lab", 0).expect("partition");
        let found = count_right(&read_all(&lab).expect("read"));
        println!("round {round}: synced {acknowledged}, found {found}, {:?}", lab.torn_tail());
        assert!(found >= acknowledged, "round {round}");
    }
    assert!(acknowledged > 0 && segments(&dir.path().join("lab-0")).len() > 1);
}

/// The limit on file size stands for a full disk: both make writes fail in their middle.
#[test]
fn a_full_disk_is_an_error_and_the_log_goes_on_when_there_is_space() {
    let dir = tempfile::tempdir().expect("dir");
    let out = child(dir.path(), "ulimit -f 150;").wait_with_output().expect("wait");
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    assert!(out.status.success() && text.contains("\nfull\n"), "{text}");
    let acknowledged = synced_by(&out.stdout);
    let log = open(dir.path());
    let lab = log.partition("lab", 0).expect("partition");
    let found = count_right(&read_all(&lab).expect("read"));
    println!("synced {acknowledged}, found {found}");
    assert!(acknowledged > 0 && found >= acknowledged);
    append(&lab, found + 1..found + 50);
    lab.sync().expect("sync");
    assert_eq!(count_right(&read_all(&lab).expect("read")), found + 49);
}

/// Run by hand: `cargo test --release --test local_log speed -- --ignored --nocapture`.
#[test]
#[ignore = "a measurement"]
fn speed() {
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
