//! The benchmarks give the exact answers, whatever the store, the wire and the shards.

use std::collections::BTreeMap;
use std::path::Path;

use super::*;
use crate::ports::StateStore;
use crate::series::Chunk;
use crate::store::codec::unframe;
use crate::store::keys::{Key, Kind};
use crate::store::sled::{SledStore, StoreOptions};
use crate::time::EventTime;

fn args(file: &Path) -> BenchArgs {
    BenchArgs {
        file: file.to_owned(),
        store: StoreChoice::Memory,
        wire: WireChoice::None,
        shards: 1,
        flush_ms: 2_000,
        restore_after: None,
        dir: None,
    }
}

fn stream(dir: &Path, rows: u64, seed: u64) -> PathBuf {
    let file = dir.join(format!("{rows}-{seed}.csv"));
    make_stream(&StreamArgs { file: file.clone(), rows, stays: 30, seed }).unwrap();
    file
}

/// late, outputs, accepted, sum_milli, reads.
type Answer = (u64, u64, u64, i64, u64);

fn answer(result: &BenchResult) -> Answer {
    let BenchResult { late, outputs, accepted, sum_milli, .. } = *result;
    (late, outputs, accepted, sum_milli, result.reads.unwrap_or(0))
}

/// One accepted event: time, variable, value.
type Seen = (i64, u32, f64);

/// The definition, event by event, with nothing shared with the code under test.
fn accepted(file: &Path) -> (u64, BTreeMap<u64, Vec<Seen>>) {
    let (mut newest, mut late) = (i64::MIN, 0);
    let mut stays: BTreeMap<u64, Vec<Seen>> = BTreeMap::new();
    for line in std::fs::read_to_string(file).unwrap().lines() {
        let fields: Vec<&str> = line.split(',').collect();
        let at: i64 = fields[2].parse().unwrap();
        newest = newest.max(at);
        if (at.div_euclid(3_600_000) + 1) * 3_600_000 <= newest - 300_000 {
            late += 1;
            continue;
        }
        let seen = (at, fields[1].parse().unwrap(), fields[3].parse().unwrap());
        stays.entry(fields[0].parse().unwrap()).or_default().push(seen);
    }
    (late, stays)
}

fn naive_window(file: &Path) -> Answer {
    let (late, stays) = accepted(file);
    let (mut outputs, mut n, mut sum) = (0, 0, 0);
    for events in stays.values() {
        let mut last: BTreeMap<(i64, u32), (i64, f64)> = BTreeMap::new();
        for &(at, variable, value) in events {
            n += 1;
            let held = last.entry((at.div_euclid(3_600_000), variable)).or_insert((at, value));
            if at >= held.0 {
                *held = (at, value);
            }
        }
        let hours: std::collections::BTreeSet<i64> = last.keys().map(|key| key.0).collect();
        outputs += hours.len() as u64;
        sum += last.values().map(|(_, value)| (value * 1000.0).round() as i64).sum::<i64>();
    }
    (late, outputs, n, sum, 0)
}

fn naive_series(file: &Path) -> Answer {
    let (late, stays) = accepted(file);
    let (mut outputs, mut n, mut sum, mut reads) = (0, 0, 0, 0);
    for events in stays.values() {
        n += events.len() as u64;
        let hours: std::collections::BTreeSet<i64> =
            events.iter().map(|event| event.0.div_euclid(3_600_000)).collect();
        for hour in hours {
            outputs += 1;
            let end = (hour + 1) * 3_600_000;
            let film = events
                .iter()
                .filter(|&&(at, variable, value)| variable == 16 && value >= 115.0 && at < end)
                .map(|event| event.0)
                .max()
                .unwrap_or(i64::MIN);
            let mut last: BTreeMap<u32, (i64, f64)> = BTreeMap::new();
            for &(at, variable, value) in events {
                if film < at && at < end {
                    reads += 1;
                    let held = last.entry(variable).or_insert((at, value));
                    if at >= held.0 {
                        *held = (at, value);
                    }
                }
            }
            sum += last.values().map(|(_, value)| (value * 1000.0).round() as i64).sum::<i64>();
        }
    }
    (late, outputs, n, sum, reads)
}

#[test]
fn both_benchmarks_give_the_naive_answer_on_any_stream() {
    let dir = tempfile::tempdir().unwrap();
    for seed in 1..=6 {
        let file = stream(dir.path(), 20_000, seed);
        let args = args(&file);
        assert_eq!(answer(&window(&args).unwrap()), naive_window(&file), "seed {seed}");
        assert_eq!(answer(&series(&args).unwrap()), naive_series(&file), "seed {seed}");
    }
}

#[test]
fn the_answer_does_not_depend_on_shards_store_or_wire() {
    let dir = tempfile::tempdir().unwrap();
    let file = stream(dir.path(), 20_000, 9);
    let want = (naive_window(&file), naive_series(&file));
    assert!(want.0.0 > 0 && want.1.4 > 0);
    let ways = [
        (StoreChoice::Memory, WireChoice::None, 2),
        (StoreChoice::Memory, WireChoice::None, 8),
        (StoreChoice::Memory, WireChoice::Avro, 8),
        (StoreChoice::Sled, WireChoice::None, 1),
        (StoreChoice::Sled, WireChoice::Avro, 1),
        (StoreChoice::Sled, WireChoice::Avro, 2),
        (StoreChoice::Sled, WireChoice::None, 8),
    ];
    for (store, wire, shards) in ways {
        let args = BenchArgs { store, wire, shards, flush_ms: 0, ..args(&file) };
        let result = window(&args).unwrap();
        assert_eq!(answer(&result), want.0, "{store:?} {wire:?} {shards}");
        assert_eq!(result.commits.is_some_and(|n| n > 2), store == StoreChoice::Sled);
        assert_eq!(answer(&series(&args).unwrap()), want.1, "{store:?} {wire:?} {shards}");
    }
}

#[test]
fn a_run_that_goes_on_from_its_store_gives_the_naive_answer() {
    let dir = tempfile::tempdir().unwrap();
    let file = stream(dir.path(), 20_000, 11);
    let want = (naive_window(&file), naive_series(&file));
    // At the start, anywhere, between two events of one hour's closing, and after the end.
    for (after, shards) in [(0, 1), (1, 2), (7_000, 1), (13_331, 2), (13_331, 8), (30_000, 1)] {
        let args = BenchArgs {
            store: StoreChoice::Sled,
            restore_after: Some(after),
            shards,
            ..args(&file)
        };
        for (result, want) in [(window(&args).unwrap(), want.0), (series(&args).unwrap(), want.1)] {
            assert_eq!(answer(&result), want, "{} after {after} in {shards}", result.bench);
            let restored = result.restore.unwrap();
            assert_eq!(restored.after_events, after.min(20_000));
            assert_eq!(restored.held.stays > 0, after > 0, "{restored:?}");
            assert!(restored.held.observations >= restored.held.chunks);
            assert!(restored.wall_s > 0.0 && restored.cpu_s <= restored.wall_s * 64.0);
        }
    }
    let memory = BenchArgs { restore_after: Some(5), ..args(&file) };
    assert!(window(&memory).unwrap_err().to_string().contains("--store sled"));
}

#[test]
fn the_cost_of_the_emission_is_a_part_of_the_whole() {
    let dir = tempfile::tempdir().unwrap();
    let file = stream(dir.path(), 60_000, 12);
    let result = series(&args(&file)).unwrap();
    let emission = result.emission_cpu_s.unwrap();
    assert!(emission > 0.0 && emission < result.cpu_s, "{result:?}");
    let beside = result.us_per_event_beside_emission.unwrap();
    let both = beside + emission * 1e6 / result.rows as f64;
    assert!((both - result.us_per_event).abs() < 1e-9);
    assert!(result.start_s > 0.0);
    assert_eq!(window(&args(&file)).unwrap().emission_cpu_s, None);
}

#[test]
fn an_event_that_the_service_would_refuse_is_an_error_and_not_left_out() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("odd.csv");
    for (row, reason) in [("1,2,-5,4.0", "1990"), ("1,255,1700000000000,4.0", "variable 255")] {
        std::fs::write(&file, format!("1,2,1700000000000,4.0\n{row}\n")).unwrap();
        let avro = BenchArgs { wire: WireChoice::Avro, ..args(&file) };
        let error = window(&avro).unwrap_err().to_string();
        assert!(error.contains(reason), "{error}");
        assert_eq!(window(&args(&file)).unwrap().rows, 2);
    }
}

#[test]
fn what_is_in_the_store_is_what_is_in_memory() {
    let dir = tempfile::tempdir().unwrap();
    let mut shard = shard::Shard::new(Emission::SinceFilm, EventTime::MIN);
    let how = Durability { dir: dir.path().to_owned(), every: Duration::ZERO };
    let mut keeper = durable::Keeper::open(&how, 0, Start::Cold, &mut shard).unwrap();
    let file = stream(dir.path(), 5_000, 3);
    let (mut input, mut watermark) =
        (CsvFile::open(&file).unwrap(), BoundedDisorder::new(Tumbling::HOURLY, DISORDER));
    let mut events = Vec::new();
    input.read(&mut events, 5_000).unwrap();
    for part in events.chunks(97) {
        for event in part {
            if let Some(now) = watermark.observe(event.at) {
                shard.advance(now).unwrap();
            }
            shard.take(std::slice::from_ref(event));
        }
        keeper.took(part.len(), &mut shard).unwrap();
    }
    keeper.commit(&mut shard).unwrap();
    drop(keeper);
    let (store, _) = SledStore::open(dir.path().join("0"), &StoreOptions::default()).unwrap();
    let mut stored = BTreeMap::new();
    store
        .scan(&Kind::Chunk.prefix(), &mut |key, value| {
            let (_, bytes) = unframe(value).unwrap();
            stored.insert(Key::decode(key).unwrap(), postcard::from_bytes(bytes).unwrap());
        })
        .unwrap();
    let mut held: BTreeMap<Key, Chunk> = BTreeMap::new();
    for stay in &shard.stays {
        for chunk in stay.history.chunks() {
            held.insert(Key::Chunk { stay: stay.id, hour: chunk.hour() }, chunk.clone());
        }
    }
    assert!(held.len() > 100 && stored == held);
    assert_eq!(store.opened().positions[0].next, 5_000);
}

#[test]
fn the_same_seed_makes_the_same_file() {
    let dir = tempfile::tempdir().unwrap();
    let read = |seed| std::fs::read(stream(dir.path(), 2_000, seed)).unwrap();
    let first = read(4);
    assert_eq!(first, read(4));
    assert_ne!(first, read(5));
}

#[test]
fn a_bad_row_is_named_and_a_missing_file_too() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("bad.csv");
    std::fs::write(&file, "1,2,3,4.0\n1,2,x,4.0\n").unwrap();
    let error = window(&args(&file)).unwrap_err().to_string();
    assert!(error.contains("line 2"), "{error}");
    assert!(window(&args(&dir.path().join("none.csv"))).is_err());
    std::fs::write(&file, "").unwrap();
    let error = window(&args(&file)).unwrap_err().to_string();
    assert!(error.contains("holds no events") && error.contains("make-stream"), "{error}");
    std::fs::write(&file, "1,2,3,4.0").unwrap();
    assert_eq!(answer(&window(&args(&file)).unwrap()), (0, 1, 1, 4_000, 0));
}

#[test]
fn a_median_is_the_middle() {
    assert_eq!(median(vec![3.0, 1.0, 2.0]), 2.0);
    assert_eq!(median(vec![1.0, 2.0]), 2.0);
}
